//! Granularities of time dimensions: bins of an interval, or SQL in calendar cubes (semantics 1.5).

use indexmap::IndexMap;

use crate::definitions::Item;
use crate::interval::{self, PREDEFINED_GRANULARITIES};
use crate::read::fields::{Fields, Vocabulary};
use crate::read::naming::{NAMING_LEGACY, naming};
use crate::read::shared;
use crate::references::References;
use crate::{DimensionKind, Granularity, GranularityValue, Interval};

pub(crate) fn granularities(
    fields: &Fields<'_>,
    kind: Option<DimensionKind>,
    calendar: bool,
    references: &mut References<'_>,
) -> IndexMap<String, Granularity> {
    let mut found: IndexMap<String, Granularity> = IndexMap::new();
    let Some(entry) = fields.get("granularities") else { return found };
    if kind.is_some_and(|kind| kind != DimensionKind::Time) {
        references.problems.error(
            &entry.key_place,
            format!("{} has granularities, and its type is not `time`", fields.what),
            "",
            "delete `granularities`, or write `type: time`",
        );
        return found;
    }
    for node in fields.list("granularities", references.problems) {
        let Some(item) = Item::read(node, &format!("a granularity of {}", fields.what), references.problems) else {
            continue;
        };
        if let Some(first) = found.get(&item.name) {
            references.problems.error(
                &item.place,
                format!("granularity \"{}\" is defined more than once in {}", item.name, fields.what),
                format!("the first is on line {}", first.naming.place.line),
                "rename one",
            );
            continue;
        }
        if let Some(granularity) = granularity(&item, &fields.what, calendar, references) {
            found.insert(item.name, granularity);
        }
    }
    found
}

fn granularity(
    item: &Item<'_>,
    dimension: &str,
    calendar: bool,
    references: &mut References<'_>,
) -> Option<Granularity> {
    const GRANULARITY: Vocabulary = Vocabulary {
        keys: &[
            "name",
            "title",
            "description",
            "interval",
            "offset",
            "origin",
            "sql",
            "public",
            "meta",
            "aliases",
            "format",
        ],
        legacy: NAMING_LEGACY,
    };
    let what = format!("granularity \"{}\" of {dimension}", item.name);
    let fields = Fields::read(item.node, &what, GRANULARITY, references.problems)?;
    let (naming, _) = naming(&fields, &item.name, &item.place, true, references.problems);
    if let Some(entry) = fields.get("sql") {
        let mut wrong = |message: String, help: &str| references.problems.error(&entry.key_place, message, "", help);
        if !PREDEFINED_GRANULARITIES.contains(&item.name.as_str()) {
            wrong(
                format!("{what} has `sql` under a name of its own"),
                "only second, minute, hour, day, week, month, quarter and year can be redefined by SQL; else use `interval`",
            );
            return None;
        }
        if !calendar {
            wrong(
                format!("{what} has `sql`, and the cube is not a calendar"),
                "add `calendar: true` to the cube, or use `interval`",
            );
            return None;
        }
        if let Some(interval) = fields.get("interval") {
            references.problems.error(
                &interval.key_place,
                format!("{what} has both `sql` and `interval`"),
                "",
                "delete one of them",
            );
        }
        let sql = references.template(&entry.value, &format!("`sql` of {what}"))?;
        return Some(Granularity { naming, value: GranularityValue::Sql(sql) });
    }
    bins(item, &what, &fields, references).map(|value| Granularity { naming, value })
}

fn bins(item: &Item<'_>, what: &str, fields: &Fields<'_>, references: &mut References<'_>) -> Option<GranularityValue> {
    if PREDEFINED_GRANULARITIES.contains(&item.name.as_str()) {
        references.problems.error(
            &item.place,
            format!("{what} has the name of a predefined one"),
            "",
            "give it another name, or in a calendar cube define it by `sql`",
        );
        return None;
    }
    let Some(node) = fields.node("interval") else {
        fields.missing(
            "interval",
            &item.head,
            format!("{what} has no interval"),
            "add `interval: 1 month`, or another `N unit`",
            references.problems,
        );
        return None;
    };
    let text = fields.text("interval", references.problems)?;
    let terms = match interval::terms(&text) {
        Ok(terms) => terms,
        Err(why) => {
            references.problems.error(
                &node.place,
                format!("`interval` of {what} is not an interval"),
                why,
                "write an interval such as `2 weeks`",
            );
            return None;
        }
    };
    let origin_node = fields.node("origin");
    let origin = fields.text("origin", references.problems);
    if let (Some(node), Some(origin)) = (origin_node, &origin)
        && !interval::is_timestamp(origin)
    {
        references.problems.error(
            &node.place,
            format!("`origin` of {what} is not a point in time"),
            "",
            "write it like `2024-01-31` or `2024-01-31 06:00:00`",
        );
        return None;
    }
    if origin.is_none() && !interval::is_aligned(&terms) {
        references.problems.error(
            &node.place,
            format!("{what} does not divide its parent unit evenly, so it needs an origin"),
            "where do these bins begin?",
            "add `origin: 2024-01-01`, or use years, 1, 2, 3, 4, 6 or 12 months, 1, 2 or 4 quarters, 1 week, 1 day, or hours, minutes or seconds that divide 24 or 60",
        );
        return None;
    }
    let interval = shared::interval(node, &text, &format!("`interval` of {what}"), references.problems)?;
    if terms.iter().any(|term| term.count <= 0) || interval == (Interval { months: 0, days: 0, microseconds: 0 }) {
        references.problems.error(
            &node.place,
            format!("`interval` of {what} must be positive"),
            "",
            "only `offset` may be negative",
        );
        return None;
    }
    let offset = match (fields.node("offset"), fields.text("offset", references.problems)) {
        (Some(node), Some(text)) => {
            if origin.is_some() {
                references.problems.error(
                    &node.place,
                    format!("{what} has both `origin` and `offset`"),
                    "",
                    "move the origin, and delete `offset`",
                );
            }
            Some(shared::interval(node, &text, &format!("`offset` of {what}"), references.problems)?)
        }
        _ => None,
    };
    Some(GranularityValue::Bins { interval, offset, origin })
}
