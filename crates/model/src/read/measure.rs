//! Measures (semantics 1.6 and 1.7).

use crate::check;
use crate::definitions::Item;
use crate::read::fields::{Fields, Vocabulary};
use crate::read::naming::{first_unsupported, naming};
use crate::read::{shared, stage};
use crate::references::{References, Scope};
use crate::spelling::one_of;
use crate::{Measure, MeasureDetails, MeasureKind, MultiStage, RollingWindow, SqlTemplate, Unsupported, WindowBound};

const MEASURE: Vocabulary = Vocabulary {
    keys: &[
        "name",
        "sql",
        "type",
        "filters",
        "public",
        "title",
        "description",
        "meta",
        "aliases",
        "format",
        "currency",
        "rolling_window",
        "multi_stage",
        "group_by",
        "reduce_by",
        "add_group_by",
        "grain",
        "filter",
        "time_shift",
        "order_by",
        "case",
        "drill_members",
        "drill_filters",
        "cumulative",
        "mask",
    ],
    legacy: &[("shown", "public"), ("visible", "public"), ("drill_member_references", "drill_members")],
};

const KINDS: &[(&str, MeasureKind)] = &[
    ("count", MeasureKind::Count),
    ("count_distinct", MeasureKind::CountDistinct),
    ("count_distinct_approx", MeasureKind::CountDistinctApprox),
    ("sum", MeasureKind::Sum),
    ("avg", MeasureKind::Avg),
    ("min", MeasureKind::Min),
    ("max", MeasureKind::Max),
    ("number", MeasureKind::Number),
    ("string", MeasureKind::String),
    ("time", MeasureKind::Time),
    ("boolean", MeasureKind::Boolean),
    ("number_agg", MeasureKind::NumberAgg),
    ("rank", MeasureKind::Rank),
    ("running_total", MeasureKind::RunningTotal),
];

/// Reads one measure of a cube or view; `None` if it is too broken to be used.
pub(crate) fn measure(item: &Item<'_>, references: &mut References<'_>) -> Option<Measure> {
    let what = format!("measure \"{}\" of {}", item.name, references.owner());
    let fields = Fields::read(item.node, &what, MEASURE, references.problems)?;
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
    let (naming, computed_public) = naming(&fields, &item.name, &item.place, true, references.problems);
    let (details, feature) = details(&fields, kind, references);
    let sql = sql(item, &fields, kind, &details, references);
    references.in_member = matches!(references.scope, Scope::Cube(_));
    let filters = templates(&fields, "filters", references);
    references.in_member = false;
    let format = shared::format(&fields, references.problems);
    check::foreign_column::check(&what, references);
    let unsupported = first_unsupported([feature, computed_public], references);
    Some(Measure { naming, kind: kind?, sql: sql?, filters, format, unsupported, details })
}

/// The SQL if there is any; the outer `None` if it is missing or wrong.
fn sql(
    item: &Item<'_>,
    fields: &Fields<'_>,
    kind: Option<MeasureKind>,
    details: &MeasureDetails,
    references: &mut References<'_>,
) -> Option<Option<SqlTemplate>> {
    let what = &fields.what;
    if let Some(node) = fields.node("sql") {
        if let Some(case) = fields.get("case") {
            references.problems.error(
                &case.key_place,
                format!("{what} has both `sql` and `case`"),
                "",
                "delete one of them",
            );
        }
        return references.member_template(node, &format!("`sql` of {what}")).map(Some);
    }
    let may_lack_sql = matches!(kind, Some(MeasureKind::Count | MeasureKind::Rank | MeasureKind::RunningTotal));
    if may_lack_sql || fields.get("case").is_some() && details.multi_stage.is_some() {
        return Some(None);
    }
    kind?;
    let help = match kind {
        Some(MeasureKind::Number | MeasureKind::String | MeasureKind::Time | MeasureKind::Boolean) => {
            "add `sql:` with an expression over other measures, such as `{total} / {count}`"
        }
        _ => "add `sql:` with the column or expression to aggregate; only `count` needs none",
    };
    fields.missing("sql", &item.head, format!("{what} has no SQL"), help, references.problems);
    None
}

/// A list of `{sql: …}`.
fn templates(fields: &Fields<'_>, key: &'static str, references: &mut References<'_>) -> Vec<SqlTemplate> {
    const SQL: Vocabulary = Vocabulary { keys: &["sql"], legacy: &[] };
    let what = format!("an item of `{key}` of {}", fields.what);
    let mut found = Vec::new();
    for node in fields.list(key, references.problems) {
        let Some(inner) = Fields::read(node, &what, SQL, references.problems) else { continue };
        found.extend(shared::required_sql(&inner, "sql", &what, references));
    }
    found
}

fn details(
    fields: &Fields<'_>,
    kind: Option<MeasureKind>,
    references: &mut References<'_>,
) -> (MeasureDetails, Option<Unsupported>) {
    let multi_stage = stage::multi_stage(fields, references);
    let rolling_window = stage::rolling_window(fields, references).or_else(|| {
        // The legacy type is the sum of all that was before.
        let trailing = Some(WindowBound::Unbounded);
        (kind == Some(MeasureKind::RunningTotal)).then_some(RollingWindow::Fixed {
            trailing,
            leading: None,
            from_start: false,
        })
    });
    let case_switch = stage::case_switch(fields, references);
    if multi_stage.is_none() {
        check_needs_multi_stage(fields, kind, references);
    }
    let numeric = !matches!(kind, Some(MeasureKind::String | MeasureKind::Time | MeasureKind::Boolean));
    fields.boolean("cumulative", references.problems);
    let at = |key: &str, feature: &str| {
        let place = fields.get(key).map(|entry| entry.key_place.clone())?;
        Some(Unsupported { feature: feature.to_owned(), place })
    };
    // A case over measures needs no stage of its own: it is evaluated on the query's groups.
    let is_case = case_switch.is_some() && multi_stage.as_ref().is_some_and(|stage| *stage == MultiStage::default());
    let unsupported = at("case", "case").filter(|_| !is_case);
    let drill_filters = {
        // Drill filters are applied by one filter operator only; a context variable there refuses nothing else.
        let before = references.context.take();
        let filters = templates(fields, "drill_filters", references);
        references.context = before;
        filters
    };
    let drill_what = format!("`drill_members` of {}", fields.what);
    let details = MeasureDetails {
        multi_stage,
        rolling_window,
        case_switch,
        drill_members: fields
            .node("drill_members")
            .map(|node| references.members(node, &drill_what, &["dimension", "measure", "segment", "hierarchy"]))
            .unwrap_or_default(),
        drill_filters,
        mask: shared::mask(fields, references),
        currency: shared::currency(fields, numeric, references.problems),
    };
    (details, unsupported)
}

fn check_needs_multi_stage(fields: &Fields<'_>, kind: Option<MeasureKind>, references: &mut References<'_>) {
    let mut needs = |key: &str, feature: &str| {
        if let Some(entry) = fields.get(key) {
            references.problems.error(
                &entry.key_place,
                format!("{feature} of {} needs `multi_stage: true`", fields.what),
                "",
                "add `multi_stage: true`",
            );
        }
    };
    match kind {
        Some(MeasureKind::NumberAgg) => needs("type", "`type: number_agg`"),
        Some(MeasureKind::Rank) => needs("type", "`type: rank`"),
        _ => {}
    }
    needs("time_shift", "`time_shift`");
    needs("case", "`case`");
}
