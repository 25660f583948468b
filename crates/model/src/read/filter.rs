//! Filters written as `{member, operator, values}` with `and` and `or` (semantics 1.22).

use crate::problems::Problems;
use crate::read::fields::{Fields, Vocabulary, text_of};
use crate::yaml::{Node, Value};
use crate::{FilterCondition, FilterOperator, ModelFilter};

const FILTER: Vocabulary =
    Vocabulary { keys: &["member", "operator", "values", "unless", "and", "or"], legacy: &[("dimension", "member")] };

const OPERATORS: &[(&str, FilterOperator)] = &[
    ("equals", FilterOperator::Equals),
    ("not_equals", FilterOperator::NotEquals),
    ("contains", FilterOperator::Contains),
    ("not_contains", FilterOperator::NotContains),
    ("starts_with", FilterOperator::StartsWith),
    ("not_starts_with", FilterOperator::NotStartsWith),
    ("ends_with", FilterOperator::EndsWith),
    ("not_ends_with", FilterOperator::NotEndsWith),
    ("gt", FilterOperator::Gt),
    ("gte", FilterOperator::Gte),
    ("lt", FilterOperator::Lt),
    ("lte", FilterOperator::Lte),
    ("set", FilterOperator::Set),
    ("not_set", FilterOperator::NotSet),
    ("in_date_range", FilterOperator::InDateRange),
    ("not_in_date_range", FilterOperator::NotInDateRange),
    ("on_the_date", FilterOperator::OnTheDate),
    ("before_date", FilterOperator::BeforeDate),
    ("before_or_on_date", FilterOperator::BeforeOrOnDate),
    ("after_date", FilterOperator::AfterDate),
    ("after_or_on_date", FilterOperator::AfterOrOnDate),
    ("measure_filter", FilterOperator::MeasureFilter),
];

/// The filters of a list under `key`.
pub(crate) fn filters(fields: &Fields<'_>, key: &str, problems: &mut Problems) -> Vec<ModelFilter> {
    let what = format!("a filter of {}", fields.what);
    fields.list(key, problems).iter().filter_map(|node| filter(node, &what, problems)).collect()
}

pub(crate) fn filter(node: &Node, what: &str, problems: &mut Problems) -> Option<ModelFilter> {
    let fields = Fields::read(node, what, FILTER, problems)?;
    let nested = |key: &str, problems: &mut Problems| {
        fields.list(key, problems).iter().filter_map(|inner| filter(inner, what, problems)).collect()
    };
    let condition = if fields.get("and").is_some() {
        FilterCondition::And(nested("and", problems))
    } else if fields.get("or").is_some() {
        FilterCondition::Or(nested("or", problems))
    } else {
        member_condition(&fields, node, what, problems)?
    };
    Some(ModelFilter { condition, place: node.place.clone() })
}

fn member_condition(fields: &Fields<'_>, node: &Node, what: &str, problems: &mut Problems) -> Option<FilterCondition> {
    for key in ["member", "operator"] {
        if fields.get(key).is_none() {
            problems.error(
                &node.place,
                format!("{what} has no `{key}`"),
                "",
                "write `member`, `operator` and `values`, or `and` or `or`",
            );
        }
    }
    let operator = fields.one_of(
        "operator",
        OPERATORS,
        &[("in", FilterOperator::Equals), ("not_in", FilterOperator::NotEquals)],
        problems,
    );
    let values = match fields.node("values") {
        None => Vec::new(),
        Some(node) => {
            let items: Vec<&Node> = match &node.value {
                Value::List(items) => items.iter().collect(),
                _ => vec![node],
            };
            items.into_iter().filter_map(|item| value(item, what, problems)).collect()
        }
    };
    let (member, operator) = (fields.text("member", problems)?, operator?);
    let needs_values =
        !matches!(operator, FilterOperator::Set | FilterOperator::NotSet | FilterOperator::MeasureFilter);
    if needs_values && values.is_empty() {
        problems.error(
            &node.place,
            format!("{what} has no values"),
            "",
            "add `values:` with a list; only `set` and `not_set` need none",
        );
    }
    let member = crate::references::bare(&member).to_owned();
    let unless = fields.strings("unless", problems);
    Some(FilterCondition::Member { member, operator, values, unless })
}

fn value(node: &Node, what: &str, problems: &mut Problems) -> Option<Option<String>> {
    if node.is_null() {
        return Some(None);
    }
    text_of(node, &format!("a value of {what}"), problems).map(|text| Some(text.to_owned()))
}
