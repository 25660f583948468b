//! Multi-stage members, `case: switch`, time shifts and rolling windows (semantics 1.8, 1.9, DP5, K2): read and kept.

use crate::interval::PREDEFINED_GRANULARITIES;
use crate::read::dimension::SORT;
use crate::read::fields::{Fields, Vocabulary};
use crate::read::{filter, shared};
use crate::references::References;
use crate::spelling::one_of;
use crate::yaml::Node;
use crate::{
    CaseSwitch, MemberRef, MultiStage, RollingWindow, ShiftDirection, SortDirection, StageFilter, TimeShift,
    WindowBound,
};

/// The keys that mean something only together with `multi_stage: true`.
const NEEDS_MULTI_STAGE: [&str; 6] = ["group_by", "reduce_by", "add_group_by", "grain", "filter", "order_by"];

/// `None` unless `multi_stage: true`; keys that need it and stand without it are a problem.
pub(crate) fn multi_stage(fields: &Fields<'_>, references: &mut References<'_>) -> Option<MultiStage> {
    if !fields.boolean("multi_stage", references.problems).unwrap_or(false) {
        for key in NEEDS_MULTI_STAGE {
            if let Some(entry) = fields.get(key) {
                references.problems.error(
                    &entry.key_place,
                    format!("`{key}` of {} needs `multi_stage: true`", fields.what),
                    "",
                    format!("add `multi_stage: true`, or delete `{key}`"),
                );
            }
        }
        return None;
    }
    let mut stage = MultiStage {
        keep_only: list(fields, "group_by", references),
        exclude: list(fields, "reduce_by", references),
        include: list(fields, "add_group_by", references),
        time_shifts: time_shifts(fields, references),
        filter: stage_filter(fields, references),
        order_by: order_by(fields, references),
    };
    if let Some(node) = fields.node("grain") {
        const GRAIN: Vocabulary = Vocabulary { keys: &["keep_only", "exclude", "include"], legacy: &[] };
        if let Some(grain) = Fields::read(node, &format!("`grain` of {}", fields.what), GRAIN, references.problems) {
            stage.keep_only = list(&grain, "keep_only", references).or(stage.keep_only);
            stage.exclude = list(&grain, "exclude", references).or(stage.exclude);
            stage.include = list(&grain, "include", references).or(stage.include);
        }
    }
    if stage.keep_only.is_some() && stage.exclude.is_some() {
        references.problems.error(
            &fields.place,
            format!("{} says both which dimensions to keep and which to leave out", fields.what),
            "",
            "use `group_by` (`grain.keep_only`) or `reduce_by` (`grain.exclude`), not both",
        );
    }
    Some(stage)
}

fn list(fields: &Fields<'_>, key: &str, references: &mut References<'_>) -> Option<Vec<MemberRef>> {
    let node = fields.node(key)?;
    Some(references.members(node, &format!("`{key}` of {}", fields.what), &["dimension"]))
}

fn order_by(fields: &Fields<'_>, references: &mut References<'_>) -> Vec<(crate::SqlTemplate, SortDirection)> {
    const ORDER: Vocabulary = Vocabulary { keys: &["sql", "dir"], legacy: &[] };
    let what = format!("`order_by` of {}", fields.what);
    let mut order = Vec::new();
    for node in fields.list("order_by", references.problems) {
        let Some(inner) = Fields::read(node, &what, ORDER, references.problems) else { continue };
        let direction = inner.one_of("dir", SORT, &[], references.problems).unwrap_or(SortDirection::Ascending);
        order.extend(shared::required_sql(&inner, "sql", &what, references).map(|sql| (sql, direction)));
    }
    order
}

fn stage_filter(fields: &Fields<'_>, references: &mut References<'_>) -> Option<StageFilter> {
    const FILTER: Vocabulary = Vocabulary { keys: &["mode", "exclude", "keep_only", "include"], legacy: &[] };
    let node = fields.node("filter")?;
    let inner = Fields::read(node, &format!("`filter` of {}", fields.what), FILTER, references.problems)?;
    let any = |key: &str, references: &mut References<'_>| {
        let node = inner.node(key)?;
        Some(references.members(node, &format!("`{key}` of {}", inner.what), &["dimension", "measure", "segment"]))
    };
    let exclude = any("exclude", references);
    let keep_only = any("keep_only", references);
    if exclude.is_some() && keep_only.is_some() {
        references.problems.error(
            &node.place,
            format!("{} has both `exclude` and `keep_only`", inner.what),
            "",
            "delete one of them",
        );
    }
    Some(StageFilter {
        fixed: inner.one_of("mode", &[("relative", false), ("fixed", true)], &[], references.problems).unwrap_or(false),
        exclude,
        keep_only,
        include: filter::filters(&inner, "include", references.problems),
    })
}

pub(crate) fn time_shifts(fields: &Fields<'_>, references: &mut References<'_>) -> Vec<TimeShift> {
    const SHIFT: Vocabulary = Vocabulary { keys: &["name", "time_dimension", "interval", "type", "sql"], legacy: &[] };
    let what = format!("a time shift of {}", fields.what);
    let mut shifts = Vec::new();
    for node in fields.list("time_shift", references.problems) {
        let Some(inner) = Fields::read(node, &what, SHIFT, references.problems) else { continue };
        let interval = inner.node("interval").and_then(|node| {
            let text = inner.text("interval", references.problems)?;
            shared::interval(node, &text, &format!("`interval` of {what}"), references.problems)
        });
        let shift = TimeShift {
            name: inner.text("name", references.problems),
            time_dimension: inner.node("time_dimension").and_then(|node| {
                references.member_of_kind(node, &format!("`time_dimension` of {what}"), &["dimension"])
            }),
            interval,
            direction: inner.one_of(
                "type",
                &[("prior", ShiftDirection::Prior), ("next", ShiftDirection::Next)],
                &[],
                references.problems,
            ),
            sql: inner.node("sql").and_then(|node| references.template(node, &format!("`sql` of {what}"))),
            place: node.place.clone(),
        };
        if shift.name.is_none() && inner.get("interval").is_none() {
            references.problems.error(
                &node.place,
                format!("{what} says neither `interval` nor `name`"),
                "",
                "add `interval: 1 year` and `type: prior`, or the name of a calendar's shift",
            );
        } else if inner.get("interval").is_some() && inner.get("type").is_none() {
            references.problems.error(
                &node.place,
                format!("{what} has no type"),
                "",
                "add `type: prior` or `type: next`",
            );
        }
        shifts.push(shift);
    }
    shifts
}

/// `case: {switch: …, when: [{value, sql}], else: {sql}}`; `None` for the `when`/`label` form.
pub(crate) fn case_switch(fields: &Fields<'_>, references: &mut References<'_>) -> Option<CaseSwitch> {
    const CASE: Vocabulary = Vocabulary { keys: &["switch", "when", "else"], legacy: &[] };
    const WHEN: Vocabulary = Vocabulary { keys: &["value", "sql"], legacy: &[] };
    const ELSE: Vocabulary = Vocabulary { keys: &["sql"], legacy: &[] };
    let node = fields.node("case")?;
    node.get("switch")?;
    let what = format!("`case` of {}", fields.what);
    let inner = Fields::read(node, &what, CASE, references.problems)?;
    let switch = references.member_of_kind(inner.node("switch")?, &format!("`switch` of {what}"), &["dimension"])?;
    let mut whens = Vec::new();
    for when in inner.list("when", references.problems) {
        let when_what = format!("`when` of {}", fields.what);
        let Some(branch) = Fields::read(when, &when_what, WHEN, references.problems) else { continue };
        let value = branch.text("value", references.problems);
        let sql = shared::required_sql(&branch, "sql", &when_what, references);
        whens.extend(value.zip(sql));
    }
    let otherwise = inner.node("else").and_then(|node| {
        let else_what = format!("`else` of {}", fields.what);
        let branch = Fields::read(node, &else_what, ELSE, references.problems)?;
        shared::required_sql(&branch, "sql", &else_what, references)
    });
    Some(CaseSwitch { switch, whens, otherwise })
}

pub(crate) fn rolling_window(fields: &Fields<'_>, references: &mut References<'_>) -> Option<RollingWindow> {
    const WINDOW: Vocabulary =
        Vocabulary { keys: &["type", "trailing", "leading", "offset", "granularity"], legacy: &[] };
    #[derive(Clone, Copy)]
    enum Kind {
        Fixed,
        ToDate(Option<&'static str>),
    }
    let node = fields.node("rolling_window")?;
    let what = format!("`rolling_window` of {}", fields.what);
    let inner = Fields::read(node, &what, WINDOW, references.problems)?;
    let kind = inner
        .one_of(
            "type",
            &[("fixed", Kind::Fixed), ("to_date", Kind::ToDate(None))],
            &[
                ("year_to_date", Kind::ToDate(Some("year"))),
                ("quarter_to_date", Kind::ToDate(Some("quarter"))),
                ("month_to_date", Kind::ToDate(Some("month"))),
            ],
            references.problems,
        )
        .unwrap_or(Kind::Fixed);
    match kind {
        Kind::ToDate(Some(granularity)) => Some(RollingWindow::ToDate { granularity: granularity.to_owned() }),
        Kind::ToDate(None) => {
            let granularity = inner.text("granularity", references.problems);
            if granularity.is_none() {
                references.problems.error(
                    &node.place,
                    format!("{what} has no granularity"),
                    "",
                    "add `granularity: year`, or another one",
                );
            }
            Some(RollingWindow::ToDate { granularity: granularity? })
        }
        Kind::Fixed => {
            let trailing = bound(&inner, "trailing", references);
            let leading = bound(&inner, "leading", references);
            if inner.get("trailing").is_none() && inner.get("leading").is_none() {
                references.problems.error(
                    &node.place,
                    format!("{what} says neither `trailing` nor `leading`"),
                    "",
                    "add `trailing: unbounded`, or an interval such as `7 day`",
                );
            }
            let from_start =
                inner.one_of("offset", &[("start", true), ("end", false)], &[], references.problems).unwrap_or(false);
            Some(RollingWindow::Fixed { trailing, leading, from_start })
        }
    }
}

fn bound(fields: &Fields<'_>, key: &str, references: &mut References<'_>) -> Option<WindowBound> {
    let node: &Node = fields.node(key)?;
    let text = fields.text(key, references.problems)?;
    if text == "unbounded" {
        return Some(WindowBound::Unbounded);
    }
    let what = format!("`{key}` of {}", fields.what);
    shared::interval(node, &text, &what, references.problems).map(WindowBound::Interval)
}

/// A granularity that every time dimension has.
pub(crate) fn predefined_granularity(
    fields: &Fields<'_>,
    key: &str,
    allowed: &[&str],
    references: &mut References<'_>,
) -> Option<String> {
    let node = fields.node(key)?;
    let text = fields.text(key, references.problems)?;
    debug_assert!(allowed.iter().all(|name| PREDEFINED_GRANULARITIES.contains(name)));
    if !allowed.contains(&text.as_str()) {
        let help = match crate::did_you_mean::best(&text, allowed.iter().copied()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("write {}", one_of(allowed.iter().copied())),
        };
        references.problems.error(&node.place, format!("unknown {key} `{text}` of {}", fields.what), "", help);
        return None;
    }
    Some(text)
}
