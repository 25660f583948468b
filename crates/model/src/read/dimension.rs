//! Dimensions (semantics 1.3 and 1.4).

use crate::check;
use crate::definitions::Item;
use crate::read::fields::{Fields, Vocabulary, text_of};
use crate::read::granularity::granularities;
use crate::read::naming::{NAMING_LEGACY, first_unsupported, naming};
use crate::read::{shared, stage};
use crate::references::References;
use crate::spelling::one_of;
use crate::yaml::Node;
use crate::{CaseLabel, Dimension, DimensionDetails, DimensionKind, DimensionValue, SortDirection, Unsupported};

const DIMENSION: Vocabulary = Vocabulary {
    keys: &[
        "name",
        "sql",
        "type",
        "primary_key",
        "public",
        "title",
        "description",
        "meta",
        "aliases",
        "format",
        "currency",
        "order",
        "key",
        "case",
        "latitude",
        "longitude",
        "values",
        "granularities",
        "sub_query",
        "propagate_filters_to_sub_query",
        "multi_stage",
        "add_group_by",
        "grain",
        "filter",
        "time_shift",
        "mask",
        "links",
        "suggest_filter_values",
        "enable_suggestions",
        "values_as_segments",
        "field_type",
    ],
    legacy: NAMING_LEGACY,
};

const KINDS: &[(&str, DimensionKind)] = &[
    ("string", DimensionKind::String),
    ("number", DimensionKind::Number),
    ("boolean", DimensionKind::Boolean),
    ("time", DimensionKind::Time),
    ("geo", DimensionKind::Geo),
    ("switch", DimensionKind::Switch),
];

/// Reads one dimension of a cube or view; `None` if it is too broken to be used.
pub(crate) fn dimension(item: &Item<'_>, calendar: bool, references: &mut References<'_>) -> Option<Dimension> {
    let what = format!("dimension \"{}\" of {}", item.name, references.owner());
    let fields = Fields::read(item.node, &what, DIMENSION, references.problems)?;
    references.begin();
    let kind = fields.one_of("type", KINDS, &[], references.problems);
    if fields.get("type").is_none() {
        fields.missing(
            "type",
            &item.head,
            format!("{what} has no type"),
            format!("add `type:` with {}", one_of(KINDS.iter().map(|(name, _)| *name))),
            references.problems,
        );
    }
    let primary_key = fields.boolean("primary_key", references.problems).unwrap_or(false);
    let (naming, computed_public) = naming(&fields, &item.name, &item.place, !primary_key, references.problems);
    let (details, feature) = details(&fields, kind, references);
    let value = value(item, &fields, kind, details.case_switch.is_some(), references);
    let granularities = granularities(&fields, kind, calendar, references);
    let format = shared::format(&fields, references.problems);
    if !details.sub_query {
        check::foreign_column::check(&what, references);
    }
    let unsupported = first_unsupported([feature, computed_public], references);
    Some(Dimension { naming, kind: kind?, value: value?, primary_key, granularities, format, unsupported, details })
}

/// The rest of the keys, and the first feature among them that is not executed yet.
fn details(
    fields: &Fields<'_>,
    kind: Option<DimensionKind>,
    references: &mut References<'_>,
) -> (DimensionDetails, Option<Unsupported>) {
    let multi_stage = stage::multi_stage(fields, references);
    let case_switch = stage::case_switch(fields, references);
    let sub_query = fields.boolean("sub_query", references.problems).unwrap_or(false);
    let feature = |key: &str, is_used: bool| {
        let entry = fields.get(key).filter(|_| is_used)?;
        Some(Unsupported { feature: key.to_owned(), place: entry.key_place.clone() })
    };
    let unsupported = feature("multi_stage", multi_stage.is_some());
    let numeric = matches!(kind, None | Some(DimensionKind::Number));
    let key_what = format!("`key` of {}", fields.what);
    fields.boolean("enable_suggestions", references.problems);
    let details = DimensionDetails {
        sub_query,
        propagate_filters_to_sub_query: fields
            .boolean("propagate_filters_to_sub_query", references.problems)
            .unwrap_or(false),
        multi_stage,
        case_switch,
        time_shifts: match fields.get("multi_stage") {
            None => stage::time_shifts(fields, references),
            Some(_) => Vec::new(),
        },
        mask: shared::mask(fields, references),
        links: shared::links(fields, references.problems),
        key: fields.node("key").and_then(|node| references.member_of_kind(node, &key_what, &["dimension"])),
        order: fields.one_of("order", SORT, &[], references.problems),
        currency: shared::currency(fields, numeric, references.problems),
        suggest_filter_values: fields.boolean("suggest_filter_values", references.problems),
    };
    (details, unsupported)
}

pub(crate) const SORT: &[(&str, SortDirection)] =
    &[("asc", SortDirection::Ascending), ("desc", SortDirection::Descending)];

fn value(
    item: &Item<'_>,
    fields: &Fields<'_>,
    kind: Option<DimensionKind>,
    has_case_switch: bool,
    references: &mut References<'_>,
) -> Option<DimensionValue> {
    let what = &fields.what;
    let mut refuse = |key: &str, why: &str| {
        if let Some(entry) = fields.get(key) {
            references.problems.error(&entry.key_place, format!("{what} {why}"), "", format!("delete `{key}`"));
        }
    };
    if kind != Some(DimensionKind::Geo) && kind.is_some() {
        for key in ["latitude", "longitude"] {
            refuse(key, "has coordinates, and its type is not `geo`");
        }
    }
    if kind != Some(DimensionKind::Switch) && kind.is_some() {
        refuse("values", "has `values`, and its type is not `switch`");
    }
    match kind {
        Some(DimensionKind::Geo) => {
            refuse("sql", "is of type `geo`, and has `sql` besides its coordinates");
            let latitude = coordinate("latitude", item, fields, references);
            let longitude = coordinate("longitude", item, fields, references);
            return Some(DimensionValue::Geo { latitude: latitude?, longitude: longitude? });
        }
        Some(DimensionKind::Switch) => {
            refuse("sql", "is of type `switch`, which has no SQL");
            let values = fields.strings("values", references.problems);
            if values.is_empty() {
                fields.missing(
                    "values",
                    &item.head,
                    format!("{what} has no values"),
                    "add `values:` with a list of at least one text",
                    references.problems,
                );
            }
            return Some(DimensionValue::Switch { values });
        }
        _ => {}
    }
    if let Some(case) = fields.get("case") {
        if fields.get("sql").is_some() {
            references.problems.error(
                &case.key_place,
                format!("{what} has both `sql` and `case`"),
                "",
                "delete one of them",
            );
        }
        if has_case_switch || case.value.get("switch").is_some() {
            return Some(DimensionValue::Switch { values: Vec::new() });
        }
        return case_when(&case.value, what, references);
    }
    let Some(node) = fields.node("sql") else {
        fields.missing(
            "sql",
            &item.head,
            format!("{what} has no SQL"),
            "add `sql:` with a column or an expression",
            references.problems,
        );
        return None;
    };
    references.member_template(node, &format!("`sql` of {what}")).map(DimensionValue::Sql)
}

fn coordinate(
    key: &'static str,
    item: &Item<'_>,
    fields: &Fields<'_>,
    references: &mut References<'_>,
) -> Option<crate::SqlTemplate> {
    let Some(entry) = fields.get(key) else {
        fields.missing(
            key,
            &item.head,
            format!("{} is of type `geo` and has no {key}", fields.what),
            format!("add `{key}: {{sql: …}}`"),
            references.problems,
        );
        return None;
    };
    const COORDINATE: Vocabulary = Vocabulary { keys: &["sql"], legacy: &[] };
    let inner = Fields::read(&entry.value, &format!("`{key}` of {}", fields.what), COORDINATE, references.problems)?;
    let Some(node) = inner.node("sql") else {
        references.problems.error(
            &entry.key_place,
            format!("`{key}` of {} has no SQL", fields.what),
            "",
            "add `sql: …`",
        );
        return None;
    };
    references.template(node, &format!("`{key}` of {}", fields.what))
}

/// `case: {when: [{sql, label}], else: {label}}`.
fn case_when(node: &Node, what: &str, references: &mut References<'_>) -> Option<DimensionValue> {
    const CASE: Vocabulary = Vocabulary { keys: &["when", "else"], legacy: &[] };
    const WHEN: Vocabulary = Vocabulary { keys: &["sql", "label"], legacy: &[] };
    const ELSE: Vocabulary = Vocabulary { keys: &["label"], legacy: &[] };
    let fields = Fields::read(node, &format!("`case` of {what}"), CASE, references.problems)?;
    let mut whens = Vec::new();
    for when in fields.list("when", references.problems) {
        let when_what = format!("`when` of {what}");
        let Some(inner) = Fields::read(when, &when_what, WHEN, references.problems) else { continue };
        let condition = shared::required_sql(&inner, "sql", &when_what, references);
        let label = label(&inner, &when_what, references);
        whens.extend(condition.zip(label));
    }
    if fields.get("when").is_none() {
        references.problems.error(
            &node.place,
            format!("`case` of {what} has no `when`"),
            "",
            "add `when:` with a list of `sql` and `label`",
        );
    }
    let otherwise = fields.node("else").and_then(|node| {
        let else_what = format!("`else` of {what}");
        let inner = Fields::read(node, &else_what, ELSE, references.problems)?;
        label(&inner, &else_what, references)
    });
    Some(DimensionValue::Case { whens, otherwise })
}

fn label(fields: &Fields<'_>, what: &str, references: &mut References<'_>) -> Option<CaseLabel> {
    let Some(node) = fields.node("label") else {
        references.problems.error(
            &fields.place,
            format!("{what} has no label"),
            "",
            "add `label:` with a text, or `label: {sql: …}`",
        );
        return None;
    };
    if node.as_map().is_some() {
        const LABEL: Vocabulary = Vocabulary { keys: &["sql"], legacy: &[] };
        let inner = Fields::read(node, &format!("the label of {what}"), LABEL, references.problems)?;
        return shared::required_sql(&inner, "sql", &format!("the label of {what}"), references).map(CaseLabel::Sql);
    }
    text_of(node, &format!("the label of {what}"), references.problems).map(|text| CaseLabel::Text(text.to_owned()))
}
