//! The recipe of two databases, `models/recipe`, answered live: suppliers in PostgreSQL, products in MariaDB.

use std::fs;
use std::path::Path;

use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};

use crate::AnyError;
use crate::server::{Belvedere, free_port};
use crate::servers::{Servers, psql};

/// The three rows that the recipe's own text shows, as psql prints them.
const SHOWN: &str = "          name           |           company            |              email               
-------------------------+------------------------------+----------------------------------
 Awesome Cotton Sausages | Justo Eu Arcu Inc.           | id.risus@luctuslobortisClass.net
 Awesome Fresh Keyboard  | Quisque Purus Sapien Limited | Cras@consectetuercursuset.co.uk
 Awesome Rubber Soap     | Tortor Inc.                  | Mauris@ac.com
(3 rows)

";

#[tokio::test]
async fn psql_shows_the_recipes_three_rows_out_of_two_databases() -> Result<(), AnyError> {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/recipe");
    let servers = Servers::start()?;
    let suppliers = servers.postgres.fresh_database()?;
    PrivatePostgres::run_file(&suppliers, &recipe.join("suppliers.sql"))?;
    let products = servers.mariadb.fresh_database()?;
    PrivateMariaDb::run_file(&products, &recipe.join("products.sql"))?;

    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    fs::create_dir(folder.path().join("models"))?;
    fs::copy(recipe.join("models/recipe.yml"), folder.path().join("models/recipe.yml"))?;
    let mut config = fs::read_to_string(recipe.join("belvedere.yaml"))?;
    for (old, new) in [
        ("127.0.0.1:15432", format!("127.0.0.1:{port}")),
        ("${SUPPLIERS_URL}", suppliers),
        ("${PRODUCTS_URL}", products),
    ] {
        assert!(config.contains(old), "the recipe's config says {old}");
        config = config.replace(old, &new);
    }
    let path = folder.path().join("belvedere.yaml");
    fs::write(&path, config)?;

    let server = Belvedere::start(&path, port)?;
    let query = recipe.join("query.sql").display().to_string();
    assert_eq!(psql(&server.login(), &["-f", &query]).await?, SHOWN);
    Ok(())
}
