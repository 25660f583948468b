//! The recipe of two databases, `models/recipe`: suppliers in PostgreSQL, products in MariaDB; answered live, then from two rollups.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use belvedere_testkit::{PrivateMariaDb, PrivatePostgres};

use crate::AnyError;
use crate::server::{Belvedere, free_port, run_program};
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
    // Until they are built by hand there are no rollups.
    config.push_str("\nrefresh: { enabled: false }\n");
    let path = folder.path().join("belvedere.yaml");
    fs::write(&path, config)?;

    let server = Belvedere::start(&path, port)?;
    let query = recipe.join("query.sql").display().to_string();
    assert_eq!(psql(&server.login(), &["-f", &query]).await?, SHOWN);
    let text = fs::read_to_string(recipe.join("query.sql"))?;
    let missing = psql(&server.login(), &["-c", "SET rollups = 'required'", "-c", &text]).await?;
    assert!(missing.contains("Products.combinedRollup: it has not been built yet."), "{missing}");

    let (built, _, said) = run_program(&["build", "--config", &path.display().to_string()])?;
    assert!(built, "{said}");
    let explain = format!("EXPLAIN (FORMAT JSON) {text}");
    let begun = Instant::now();
    let plan: serde_json::Value = loop {
        let plan = serde_json::from_str(&psql(&server.login(), &["-At", "-c", &explain]).await?)?;
        match &plan {
            serde_json::Value::Object(found) if found["rollups"] != serde_json::json!([]) => break plan,
            plan => assert!(begun.elapsed() < Duration::from_secs(5), "the rollups are not seen: {plan}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let mut used: Vec<&str> =
        plan["rollups"].as_array().into_iter().flatten().filter_map(|used| used["rollup"].as_str()).collect();
    used.sort_unstable();
    assert_eq!(used, ["Products.productsRollup", "Suppliers.suppliersRollup"]);
    assert_eq!(plan["sources"], serde_json::json!([]));
    assert_eq!(psql(&server.login(), &["-f", &query]).await?, SHOWN);
    let required = psql(&server.login(), &["-c", "SET rollups = 'required'", "-c", &text]).await?;
    assert_eq!(required, format!("SET\n{SHOWN}"));
    Ok(())
}
