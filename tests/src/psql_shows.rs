//! What psql's own commands show of the shop, compared whole with golden texts.

use std::fmt::Write as _;

use tempfile::TempDir;

use crate::AnyError;
use crate::server::{Belvedere, free_port};
use crate::servers::{assert_golden, psql};
use crate::shop::{Variant, write_variant};

const COMMANDS: [&str; 15] = [
    r"\conninfo",
    r"\l",
    r"\dn",
    r"\dt",
    r"\dt+",
    r"\dv",
    r"\dv+",
    r"\d",
    r"\d catalog",
    r"\d+ orders_view",
    r"\d orders",
    r"\d nothing",
    r"\du",
    r"\df",
    "SELECT status, MEASURE(count) AS n FROM orders_view GROUP BY 1 ORDER BY 1",
];

#[tokio::test]
async fn psql_shows_views_columns_and_comments_of_the_shop() -> Result<(), AnyError> {
    let folder = TempDir::new()?;
    let port = free_port()?;
    let config = write_variant(&Variant::Files, port, folder.path())?;
    let server = Belvedere::start(&config, port)?;
    let mut shown = String::new();
    for command in COMMANDS {
        let printed = psql(&server.login(), &["-c", command]).await?.replace(&port.to_string(), "PORT");
        // Trailing blanks are psql's; editors would take them away from the golden file.
        let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
        let _ = writeln!(shown, "## {command}\n\n{}\n", lines.join("\n").trim_end());
    }
    assert_golden("psql_shows.txt", &shown)
}
