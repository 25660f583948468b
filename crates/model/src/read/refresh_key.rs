//! Refresh keys of cubes and rollups (C6, PP9).

use crate::interval::{is_cron, parse_interval};
use crate::read::fields::{Fields, Vocabulary};
use crate::read::shared;
use crate::references::References;
use crate::{PreAggregationRefreshKey, RefreshKey};

/// Reads `refresh_key` of a cube or a rollup; the rollup's keys (`incremental`, `update_window`) only where `for_rollup`.
pub(crate) fn refresh_key(
    fields: &Fields<'_>,
    owner: RefreshKeyOwner,
    references: &mut References<'_>,
) -> Option<PreAggregationRefreshKey> {
    const OF_CUBE: Vocabulary = Vocabulary { keys: &["sql", "every", "timezone", "immutable"], legacy: &[] };
    const OF_ROLLUP: Vocabulary =
        Vocabulary { keys: &["sql", "every", "timezone", "immutable", "incremental", "update_window"], legacy: &[] };
    let node = fields.node("refresh_key")?;
    let what = format!("`refresh_key` of {}", fields.what);
    let vocabulary = match owner {
        RefreshKeyOwner::Cube => OF_CUBE,
        RefreshKeyOwner::Rollup => OF_ROLLUP,
    };
    let inner = Fields::read(node, &what, vocabulary, references.problems)?;
    // A context variable in a refresh key concerns nobody who queries.
    let before = references.context.take();
    let sql = inner.node("sql").and_then(|node| references.template(node, &format!("`sql` of {what}")));
    references.context = before;
    let every = every(&inner, &what, references);
    let timezone = inner.text("timezone", references.problems);
    let immutable = inner.boolean("immutable", references.problems).unwrap_or(false);
    if let (Some(entry), Some(text)) = (inner.get("every"), &every)
        && inner.get("sql").is_some()
        && is_cron(text)
    {
        references.problems.error(
            &entry.value.place,
            format!("{what} has `sql` and a cron line"),
            "",
            "with `sql`, write `every` as an interval such as `10 minute`",
        );
    }
    if immutable && (inner.get("sql").is_some() || inner.get("every").is_some()) {
        references.problems.error(
            &node.place,
            format!("{what} is immutable and says when to refresh"),
            "",
            "keep `immutable: true` alone, or delete it",
        );
    }
    let update_window = inner.node("update_window").and_then(|node| {
        let text = inner.text("update_window", references.problems)?;
        shared::interval(node, &text, &format!("`update_window` of {what}"), references.problems)
    });
    let key = if immutable {
        RefreshKey::Immutable
    } else if let Some(sql) = sql {
        RefreshKey::Sql { sql, every }
    } else if let Some(every) = every {
        RefreshKey::Every { every, timezone }
    } else {
        if inner.get("sql").is_none() && inner.get("every").is_none() {
            references.problems.error(
                &node.place,
                format!("{what} says nothing"),
                "",
                "add `every: 1 hour`, `sql: …` or `immutable: true`",
            );
        }
        return None;
    };
    let incremental = inner.boolean("incremental", references.problems).unwrap_or(false);
    Some(PreAggregationRefreshKey { key, incremental, update_window })
}

/// Whose refresh key it is: rollups have two keys more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshKeyOwner {
    Cube,
    Rollup,
}

fn every(fields: &Fields<'_>, what: &str, references: &mut References<'_>) -> Option<String> {
    let node = fields.node("every")?;
    let text = fields.text("every", references.problems)?;
    if !is_cron(&text)
        && let Err(why) = parse_interval(&text)
    {
        references.problems.error(
            &node.place,
            format!("`every` of {what} is neither an interval nor a cron line"),
            why,
            "write `1 hour`, or `30 5 * * *`",
        );
        return None;
    }
    Some(text)
}
