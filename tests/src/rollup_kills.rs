//! `belvedere build` killed at random moments: each partition is the version that was there or the new one, and a running server answers from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use belvedere_testkit::PrivatePostgres;
use tokio_postgres::Client;

use crate::AnyError;
use crate::random::dice::Dice;
use crate::rollups::{build, rows};
use crate::server::kill_program_after;
use crate::servers::{Servers, Site, load, source};

/// Each kill has a rollup of its own, because a build waits half a minute for the lease of one that was killed.
const KILLS: usize = 16;

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, amount int, at timestamp);
INSERT INTO orders SELECT n, 1, timestamp '2024-01-01' + n * interval '5 hours' FROM generate_series(0, 1999) AS n;";

fn model() -> String {
    let mut dimensions = String::new();
    let mut rollups = String::new();
    for number in 0..KILLS {
        dimensions += &format!("      - {{ name: d{number}, sql: id % {}, type: number }}\n", number + 2);
        rollups += &format!(
            "      - {{ name: r{number}, measures: [total, count], dimensions: [d{number}], time_dimension: at, granularity: day, partition_granularity: month }}\n"
        );
    }
    format!(
        "cubes:
  - name: orders
    sql_table: orders
    data_source: shop
    dimensions:
      - {{ name: id, sql: id, type: number, primary_key: true }}
      - {{ name: at, sql: at, type: time }}
{dimensions}    measures:
      - {{ name: count, type: count }}
      - {{ name: total, type: sum, sql: amount }}
    pre_aggregations:
{rollups}"
    )
}

/// What a rollup has, by month and its dimension.
fn asked(number: usize) -> String {
    format!(
        "SELECT DATE_TRUNC('month', at), d{number}, MEASURE(total), MEASURE(count) FROM orders GROUP BY 1, 2 ORDER BY 1, 2"
    )
}

/// The rows of each month.
async fn months(client: &Client, number: usize) -> Result<BTreeMap<String, Vec<String>>, AnyError> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows(client, &asked(number)).await? {
        let month = row.split('|').next().unwrap_or_default().to_owned();
        found.entry(month).or_default().push(row);
    }
    Ok(found)
}

async fn both(client: &Client, number: usize) -> Result<[BTreeMap<String, Vec<String>>; 2], AnyError> {
    client.batch_execute("SET rollups = 'required'").await?;
    let stored = months(client, number).await?;
    client.batch_execute("SET rollups = 'off'").await?;
    Ok([stored, months(client, number).await?])
}

#[tokio::test]
async fn a_killed_build_leaves_the_old_or_the_new_rows_of_each_partition() -> Result<(), AnyError> {
    let servers = Servers::start()?;
    let shop = servers.postgres.fresh_database()?;
    load(&shop, ORDERS, PrivatePostgres::run_file)?;
    let config = "storage: store\nrefresh: { enabled: false }";
    let site = Site::start(&[source("shop", &shop)], config, &model())?;
    let (went_well, out, complaints) = build(&site, &[])?;
    assert!(went_well, "{out}{complaints}");
    load(&shop, "UPDATE orders SET amount = amount + 1;", PrivatePostgres::run_file)?;
    let begun = Instant::now();
    let (went_well, out, complaints) = build(&site, &["orders.r0", "--force"])?;
    assert!(went_well, "{out}{complaints}");
    let one_takes = begun.elapsed();
    load(&shop, "UPDATE orders SET amount = amount + 1;", PrivatePostgres::run_file)?;

    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
    eprintln!("seed {seed}, a build takes {one_takes:?}");
    let mut dice = Dice::new(seed.into());
    let file = site.folder.path().join("belvedere.yaml").display().to_string();
    let mut killed = 0;
    for number in 0..KILLS {
        let after = one_takes.mul_f64(f64::from(u32::try_from(dice.below(1100))?) / 1000.0);
        let name = format!("orders.r{number}");
        killed += usize::from(kill_program_after(&["build", "--config", &file, &name, "--force"], after)?);
    }
    assert!(killed >= KILLS / 2, "only {killed} of {KILLS} builds were still running");

    let client = site.connect().await?;
    // A server looks every few seconds at what others have built.
    let quiet = Instant::now();
    let mut seen = BTreeSet::new();
    while quiet.elapsed() < Duration::from_secs(6) {
        for number in 0..KILLS {
            let [stored, now] = both(&client, number).await?;
            let before = if number == 0 { 2 } else { 1 };
            assert!(!now.is_empty() && stored.keys().eq(now.keys()), "r{number}: {stored:?}");
            for (month, rows) in &now {
                // One less, or two, for each row: what the amounts were.
                let old: Vec<String> = rows.iter().map(|row| with_amount(row, before)).collect::<Result<_, _>>()?;
                let is_new = stored[month] == *rows;
                assert!(
                    is_new || stored[month] == old,
                    "r{number}, {month}: {:?} is neither {rows:?} nor {old:?}",
                    stored[month]
                );
                seen.insert(is_new);
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    eprintln!("{killed} of {KILLS} killed, old and new seen: {seen:?}");

    // The next build makes all of it new, and nothing is left in the way.
    let (went_well, out, complaints) = build(&site, &["--force"])?;
    assert!(went_well, "{out}{complaints}");
    let begun = Instant::now();
    for number in 0..KILLS {
        loop {
            let [stored, now] = both(&client, number).await?;
            if stored == now {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "r{number} is not read anew: {stored:?} {now:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

/// The row as it was when all amounts were `amount`; now they are 3.
fn with_amount(row: &str, amount: i64) -> Result<String, AnyError> {
    let mut parts: Vec<String> = row.split('|').map(str::to_owned).collect();
    let [_, _, total, count] = parts.as_mut_slice() else { return Err(format!("{row} has other columns").into()) };
    assert_eq!(total.parse::<i64>()?, 3 * count.parse::<i64>()?, "{row}");
    *total = (amount * count.parse::<i64>()?).to_string();
    Ok(parts.join("|"))
}
