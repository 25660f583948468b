//! Rollup definitions (semantics 4.1, 1.19).

use crate::definitions::{Item, name_of};
use crate::read::fields::{Fields, Vocabulary, text_of};
use crate::read::naming::naming;
use crate::read::refresh_key::{RefreshKeyOwner, refresh_key};
use crate::read::{shared, stage};
use crate::references::{References, bare};
use crate::spelling::{one_of, snake_case};
use crate::yaml::Node;
use crate::{
    Index, IndexColumn, IndexKind, IndexValue, MemberRef, PreAggregation, PreAggregationKind, RollupRef, SqlTemplate,
    StreamOffset, did_you_mean,
};

const ROLLUP: Vocabulary = Vocabulary {
    keys: &[
        "name",
        "type",
        "measures",
        "dimensions",
        "segments",
        "time_dimension",
        "time_dimensions",
        "granularity",
        "partition_granularity",
        "refresh_key",
        "build_range_start",
        "build_range_end",
        "allow_non_strict_date_range_match",
        "external",
        "scheduled_refresh",
        "indexes",
        "use_original_sql_pre_aggregations",
        "unique_key_columns",
        "output_column_types",
        "read_only",
        "stream_offset",
        "rollups",
        "union_with_source_data",
        "exact_distinct",
        "sql_alias",
        "max_pre_aggregations",
        "public",
        "title",
        "description",
        "meta",
        "aliases",
        "internal",
        "measure_reference",
    ],
    legacy: &[
        ("shown", "public"),
        ("visible", "public"),
        ("measure_references", "measures"),
        ("dimension_references", "dimensions"),
        ("segment_references", "segments"),
        ("time_dimension_reference", "time_dimension"),
        ("rollup_references", "rollups"),
        ("refresh_range_start", "build_range_start"),
        ("refresh_range_end", "build_range_end"),
    ],
};

const LEGACY_FAMILY: [&str; 5] = [
    "measure_references",
    "dimension_references",
    "segment_references",
    "time_dimension_reference",
    "rollup_references",
];
const CURRENT_FAMILY: [&str; 6] =
    ["measures", "dimensions", "segments", "time_dimension", "time_dimensions", "rollups"];
const PARTITIONS: [&str; 6] = ["hour", "day", "week", "month", "quarter", "year"];

const KINDS: &[(&str, Option<PreAggregationKind>)] = &[
    ("rollup", Some(PreAggregationKind::Rollup)),
    ("original_sql", Some(PreAggregationKind::OriginalSql)),
    ("rollup_join", Some(PreAggregationKind::RollupJoin)),
    ("rollup_lambda", Some(PreAggregationKind::RollupLambda)),
];

pub(crate) fn pre_aggregation(item: &Item<'_>, references: &mut References<'_>) -> Option<PreAggregation> {
    let what = format!("pre-aggregation \"{}\" of {}", item.name, references.owner());
    check_families(item, &what, references);
    let fields = Fields::read(item.node, &what, ROLLUP, references.problems)?;
    let kind = match fields.get("type") {
        None => Some(PreAggregationKind::Rollup),
        Some(entry) => {
            let kind = fields.one_of("type", KINDS, &[("auto_rollup", None)], references.problems)?;
            if kind.is_none() {
                references.problems.error(
                    &entry.value.place,
                    format!("{what} is an `auto_rollup`"),
                    "",
                    "write a `rollup` with its measures and dimensions",
                );
            }
            kind
        }
    }?;
    let (naming, _) = naming(&fields, &item.name, &item.place, true, references.problems);
    let measures = measures(&fields, references);
    let dimensions = list(&fields, "dimensions", &["dimension"], references);
    let segments = list(&fields, "segments", &["segment"], references);
    let time_dimensions = time_dimensions(&fields, kind, references);
    let rollups = rollups(&fields, kind, item, references);
    let partition_granularity =
        stage::predefined_granularity(&fields, "partition_granularity", &PARTITIONS, references);
    if let Some(entry) = fields.get("partition_granularity")
        && time_dimensions.is_empty()
        && matches!(kind, PreAggregationKind::Rollup | PreAggregationKind::OriginalSql)
        && fields.get("time_dimension").is_none()
        && fields.get("time_dimensions").is_none()
    {
        references.problems.error(
            &entry.key_place,
            format!("{what} has partitions and no time dimension"),
            "",
            "add `time_dimension: …`, or delete `partition_granularity`",
        );
    }
    let has_members =
        !(measures.is_empty() && dimensions.is_empty() && segments.is_empty() && time_dimensions.is_empty());
    let says_members = ["measures", "dimensions", "segments", "time_dimension", "time_dimensions", "measure_reference"]
        .iter()
        .any(|key| fields.get(key).is_some());
    if kind == PreAggregationKind::Rollup && !has_members && !says_members {
        references.problems.error(
            &item.place,
            format!("{what} stores nothing"),
            "",
            "add `measures`, `dimensions` or a `time_dimension`",
        );
    }
    let refresh_key = refresh_key(&fields, RefreshKeyOwner::Rollup, references);
    if refresh_key.as_ref().is_some_and(|key| key.incremental) && fields.get("partition_granularity").is_none() {
        references.problems.error(
            fields.get("refresh_key").map_or(&item.place, |entry| &entry.key_place),
            format!("{what} is refreshed incrementally and has no partitions"),
            "",
            "add `partition_granularity: day`, or another one",
        );
    }
    if let Some(entry) = fields.get("scheduled_refresh")
        && kind == PreAggregationKind::RollupJoin
        && entry.value.as_bool() == Some(true)
    {
        references.problems.error(
            &entry.key_place,
            format!("{what} is a `rollup_join`, which stores nothing to refresh"),
            "",
            "delete `scheduled_refresh`",
        );
    }
    let flag = |key: &str, references: &mut References<'_>| fields.boolean(key, references.problems);
    let internal = flag("internal", references);
    let external = flag("external", references).or(internal.map(|internal| !internal));
    fields.text("max_pre_aggregations", references.problems);
    Some(PreAggregation {
        naming,
        kind,
        measures,
        dimensions,
        segments,
        time_dimensions,
        partition_granularity,
        refresh_key,
        build_range_start: range_end(&fields, "build_range_start", references),
        build_range_end: range_end(&fields, "build_range_end", references),
        allow_non_strict_date_range_match: flag("allow_non_strict_date_range_match", references),
        external,
        scheduled_refresh: flag("scheduled_refresh", references),
        indexes: indexes(&fields, kind, references),
        use_original_sql_pre_aggregations: flag("use_original_sql_pre_aggregations", references).unwrap_or(false),
        unique_key_columns: fields.strings("unique_key_columns", references.problems),
        output_column_types: output_column_types(&fields, references),
        read_only: flag("read_only", references),
        stream_offset: fields.one_of(
            "stream_offset",
            &[("earliest", StreamOffset::Earliest), ("latest", StreamOffset::Latest)],
            &[],
            references.problems,
        ),
        rollups,
        union_with_source_data: flag("union_with_source_data", references).unwrap_or(false),
        exact_distinct: flag("exact_distinct", references).unwrap_or(false),
        sql_alias: fields.text("sql_alias", references.problems),
    })
}

/// Old (`measureReferences`) and current (`measures`) names may not stand side by side.
fn check_families(item: &Item<'_>, what: &str, references: &mut References<'_>) {
    let entries = item.node.as_map().unwrap_or_default();
    let find = |family: &[&str]| entries.iter().find(|entry| family.contains(&snake_case(&entry.key).as_str()));
    if let (Some(old), Some(current)) = (find(&LEGACY_FAMILY), find(&CURRENT_FAMILY)) {
        references.problems.error(
            &old.key_place,
            format!("{what} mixes the old key `{}` with the current key `{}`", old.key, current.key),
            "",
            "write all as `measures`, `dimensions`, `segments`, `time_dimension`, `rollups`",
        );
    }
}

fn list(fields: &Fields<'_>, key: &str, allowed: &[&str], references: &mut References<'_>) -> Vec<MemberRef> {
    let what = format!("`{key}` of {}", fields.what);
    fields.node(key).map(|node| references.members(node, &what, allowed)).unwrap_or_default()
}

fn measures(fields: &Fields<'_>, references: &mut References<'_>) -> Vec<MemberRef> {
    if let Some(entry) = fields.get("measure_reference") {
        references.problems.warning(
            &entry.key_place,
            format!("`{}` of {} is an old spelling", entry.key, fields.what),
            "",
            "write `measures`",
        );
        return list(fields, "measure_reference", &["measure"], references);
    }
    list(fields, "measures", &["measure"], references)
}

fn time_dimensions(fields: &Fields<'_>, kind: PreAggregationKind, references: &mut References<'_>) -> Vec<MemberRef> {
    const TIME: Vocabulary = Vocabulary { keys: &["dimension", "granularity"], legacy: &[] };
    let mut found = Vec::new();
    if let Some(entry) = fields.get("time_dimension") {
        found.extend(time_dimension(&entry.value, fields, kind, references));
    } else if let Some(entry) = fields.get("granularity")
        && fields.get("time_dimensions").is_none()
    {
        references.problems.error(
            &entry.key_place,
            format!("{} has a granularity and no time dimension", fields.what),
            "",
            "add `time_dimension: …`",
        );
    }
    for node in fields.list("time_dimensions", references.problems) {
        let what = format!("a time dimension of {}", fields.what);
        let Some(inner) = Fields::read(node, &what, TIME, references.problems) else { continue };
        let Some(dimension) = inner.node("dimension") else {
            references.problems.error(&node.place, format!("{what} has no `dimension`"), "", "add `dimension: …`");
            continue;
        };
        found.extend(time_dimension(dimension, &inner, kind, references));
    }
    found
}

/// The reference with its granularity, either `{created_at.day}` or by the key `granularity`.
fn time_dimension(
    node: &Node,
    fields: &Fields<'_>,
    kind: PreAggregationKind,
    references: &mut References<'_>,
) -> Option<MemberRef> {
    let what = format!("the time dimension of {}", fields.what);
    let Some(granularity) = fields.node("granularity") else {
        let member = references.member_of_kind(node, &what, &["dimension"])?;
        if member.granularity.is_none() && kind != PreAggregationKind::OriginalSql {
            references.problems.error(
                &node.place,
                format!("{what} has no granularity"),
                "",
                "add `granularity: day`, or another one",
            );
        }
        return Some(member);
    };
    let name = text_of(granularity, &format!("`granularity` of {}", fields.what), references.problems)?;
    let dimension = text_of(node, &what, references.problems)?;
    // Without its granularity first, so that each of the two is underlined on its own.
    references.member_of_kind(node, &what, &["dimension"])?;
    let with_granularity = format!("{}.{name}", bare(dimension));
    references.member(&granularity.with_text(&with_granularity), &what)
}

fn range_end(fields: &Fields<'_>, key: &'static str, references: &mut References<'_>) -> Option<SqlTemplate> {
    const SQL: Vocabulary = Vocabulary { keys: &["sql"], legacy: &[] };
    let node = fields.node(key)?;
    let what = format!("`{key}` of {}", fields.what);
    let inner = Fields::read(node, &what, SQL, references.problems)?;
    shared::required_sql(&inner, "sql", &what, references)
}

/// `[CUBE.daily, other.daily]`.
fn rollups(
    fields: &Fields<'_>,
    kind: PreAggregationKind,
    item: &Item<'_>,
    references: &mut References<'_>,
) -> Vec<RollupRef> {
    let mut found = Vec::new();
    let needs = matches!(kind, PreAggregationKind::RollupJoin | PreAggregationKind::RollupLambda);
    if needs && fields.get("rollups").is_none() {
        fields.missing(
            "rollups",
            &item.head,
            format!("{} names no rollups", fields.what),
            "add `rollups:` with a list such as `[CUBE.daily, customers.all]`",
            references.problems,
        );
    }
    if let Some(entry) = fields.get("rollups")
        && !needs
    {
        references.problems.error(
            &entry.key_place,
            format!("{} names rollups, and is not made of any", fields.what),
            "",
            "write `type: rollup_join` or `type: rollup_lambda`, or delete `rollups`",
        );
    }
    for node in fields.texts("rollups", references.problems) {
        let name = bare(node.scalar_text().unwrap_or_default());
        found.extend(rollup(name, node, &fields.what, references));
    }
    found
}

fn rollup(written: &str, node: &Node, what: &str, references: &mut References<'_>) -> Option<RollupRef> {
    let crate::references::Scope::Cube(own) = references.scope else { return None };
    let (cube, name) = written.rsplit_once('.').unwrap_or(("CUBE", written));
    let (cube, name) = (cube.trim(), name.trim());
    // A path of cubes ends with the one that owns the rollup.
    let cube = cube.rsplit('.').next().unwrap_or(cube);
    let cube = if matches!(cube, "CUBE" | "TABLE") { own } else { cube };
    let Some(symbols) = references.symbols.cubes.get(cube) else {
        references.unknown_cube(cube, &node.place);
        return None;
    };
    if !symbols.pre_aggregations.contains(name) {
        let mut names: Vec<&str> = symbols.pre_aggregations.iter().map(String::as_str).collect();
        names.sort_unstable();
        let help = match did_you_mean::best(name, names.iter().copied()) {
            Some(close) => format!("did you mean `{close}`?"),
            None if names.is_empty() => format!("cube \"{cube}\" has none: add a `rollup` to it"),
            None => format!("cube \"{cube}\" has {}", one_of(names.iter().copied())),
        };
        references.problems.error(
            &node.place,
            format!("{what} needs \"{cube}.{name}\", which is not a pre-aggregation"),
            "",
            help,
        );
        return None;
    }
    Some(RollupRef { cube: cube.to_owned(), name: name.to_owned(), place: node.place.clone() })
}

/// A list of `{name, columns, type}`, or the old map from name to the rest.
fn indexes(fields: &Fields<'_>, kind: PreAggregationKind, references: &mut References<'_>) -> Vec<Index> {
    let mut found: Vec<Index> = Vec::new();
    let Some(node) = fields.node("indexes") else { return found };
    let what = format!("an index of {}", fields.what);
    if let Some(entries) = node.as_map() {
        for entry in entries {
            found.extend(index(entry.key.clone(), &entry.key_place, &entry.value, &fields.what, kind, references));
        }
        return found;
    }
    for item in fields.list("indexes", references.problems) {
        let Some((name, place)) = name_of(item, &what, references.problems) else { continue };
        if found.iter().any(|index| index.name == name) {
            references.problems.error(
                &place,
                format!("index \"{name}\" is defined more than once in {}", fields.what),
                "",
                "rename one",
            );
            continue;
        }
        found.extend(index(name, &place, item, &fields.what, kind, references));
    }
    found
}

fn index(
    name: String,
    place: &crate::Place,
    node: &Node,
    owner: &str,
    kind: PreAggregationKind,
    references: &mut References<'_>,
) -> Option<Index> {
    const INDEX: Vocabulary = Vocabulary { keys: &["name", "columns", "sql", "type"], legacy: &[] };
    let what = format!("index \"{name}\" of {owner}");
    let fields = Fields::read(node, &what, INDEX, references.problems)?;
    let value = if let Some(sql) = fields.node("sql") {
        IndexValue::Sql(references.template(sql, &format!("`sql` of {what}"))?)
    } else if fields.get("columns").is_some() {
        let columns = fields.texts("columns", references.problems).into_iter();
        let raw = kind == PreAggregationKind::OriginalSql;
        let column = |node: &Node, references: &mut References<'_>| {
            let text = node.scalar_text()?;
            if raw {
                return Some(IndexColumn::Raw(bare(text).to_owned()));
            }
            references
                .member_of_kind(node, &format!("a column of {what}"), &["dimension", "measure", "segment"])
                .map(IndexColumn::Member)
        };
        IndexValue::Columns(columns.filter_map(|node| column(node, references)).collect())
    } else {
        references.problems.error(
            place,
            format!("{what} has no columns"),
            "no `columns` here",
            "add `columns:` with a list of dimensions",
        );
        return None;
    };
    let kind = fields
        .one_of(
            "type",
            &[("regular", IndexKind::Regular), ("aggregate", IndexKind::Aggregate)],
            &[],
            references.problems,
        )
        .unwrap_or(IndexKind::Regular);
    Some(Index { name, value, kind, place: place.clone() })
}

fn output_column_types(fields: &Fields<'_>, references: &mut References<'_>) -> Vec<(MemberRef, String)> {
    const COLUMN: Vocabulary = Vocabulary { keys: &["member", "type"], legacy: &[] };
    let what = format!("`output_column_types` of {}", fields.what);
    let mut found = Vec::new();
    for node in fields.list("output_column_types", references.problems) {
        let Some(inner) = Fields::read(node, &what, COLUMN, references.problems) else { continue };
        let member = inner.node("member").and_then(|node| references.member(node, &what));
        found.extend(member.zip(inner.text("type", references.problems)));
    }
    found
}
