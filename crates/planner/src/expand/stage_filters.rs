//! Static filters of multi-stage measures (`filter.include`), with the operators of reference 1.22.
//!
//! Each is written as SQL over one column and bound like a user's: values are text whose type is that of the member.

use arrow::datatypes::Field;
use belvedere_model::{FilterCondition, FilterOperator, MemberKind, MemberRef, ModelFilter};
use datafusion_common::DFSchema;
use datafusion_expr::Expr;

use crate::bind;
use crate::catalog::{MemberColumn, SourceDialect};
use crate::error::{PlanError, Result};
use crate::lower::joined_rows::{JoinedRows, Planning, internal};
use crate::lower::member_sql::{parse_member, substitute};
use crate::nodes::fact_leg::LegScan;

use super::stages::with_members;

/// The condition over the columns of scans, and those scans.
///
/// # Errors
/// 0A000 for measures, relative dates and context variables; those of binding a value that is not of the member's type.
pub(crate) fn condition<'a>(
    filter: &ModelFilter,
    stage: &MemberColumn,
    scans: &[LegScan],
    rows: &mut JoinedRows<'a>,
    planning: Planning<'a>,
) -> Result<(Vec<LegScan>, Expr)> {
    match &filter.condition {
        FilterCondition::And(all) => joined(all, stage, scans, rows, planning, Expr::and),
        FilterCondition::Or(any) => joined(any, stage, scans, rows, planning, Expr::or),
        FilterCondition::Member { member, operator, values, unless: _ } => {
            let reference = reference_to(member, stage, planning, filter)?;
            let column = rows.named_by(stage, &reference)?;
            if column.kind == MemberKind::Measure {
                return Err(PlanError::unsupported(format!(
                    "the filter of \"{}\" names the measure \"{member}\"",
                    stage.member
                ))
                .hint("Name dimensions and segments, or use HAVING in the query."));
            }
            let text = sql(*operator, values, stage)?;
            let field = Field::new("v0", column.field.data_type().clone(), true);
            let schema = DFSchema::try_from(arrow::datatypes::Schema::new(vec![field])).map_err(internal)?;
            let ast = parse_member(&text, SourceDialect::Postgres, &stage.member)?;
            let bound = bind::bind_expr(
                ast,
                &schema,
                planning.catalog,
                planning.functions,
                planning.session,
                SourceDialect::Postgres,
            )
            .map_err(|mut error| {
                error.message = format!("a filter of measure \"{}\" on \"{member}\": {}", stage.member, error.message);
                error.place = None;
                error
            })?;
            let (scans, columns) = with_members(scans, std::iter::once(&column));
            let value = columns.into_iter().next().ok_or_else(|| PlanError::internal("a filter without a table"))?;
            let expr = substitute(bound, &[("v0".to_owned(), Expr::Column(value))].into())?;
            Ok((scans, expr))
        }
    }
}

fn joined<'a>(
    filters: &[ModelFilter],
    stage: &MemberColumn,
    scans: &[LegScan],
    rows: &mut JoinedRows<'a>,
    planning: Planning<'a>,
    both: fn(Expr, Expr) -> Expr,
) -> Result<(Vec<LegScan>, Expr)> {
    let mut scans = scans.to_vec();
    let mut found: Option<Expr> = None;
    for filter in filters {
        let (with, expr) = condition(filter, stage, &scans, rows, planning)?;
        scans = with;
        found = Some(match found {
            None => expr,
            Some(before) => both(before, expr),
        });
    }
    let found = found.ok_or_else(|| {
        PlanError::unsupported(format!("a filter of \"{}\" has an empty list of conditions", stage.member))
    })?;
    Ok((scans, found))
}

/// `member`, `cube.member` or `a.b.member`, from where the measure is.
fn reference_to(
    written: &str,
    stage: &MemberColumn,
    planning: Planning<'_>,
    filter: &ModelFilter,
) -> Result<MemberRef> {
    let unknown = || {
        PlanError::unsupported(format!("the filter of \"{}\" names \"{written}\", which is no member", stage.member))
    };
    let mut names: Vec<String> = written.split('.').map(|name| name.trim().to_owned()).collect();
    let member = names.pop().ok_or_else(unknown)?;
    if names.first().is_some_and(|first| first == "CUBE") {
        names[0] = stage.path.last().cloned().or_else(|| stage.view.clone()).ok_or_else(unknown)?;
    }
    let model = &planning.catalog.model;
    let in_view = |view: &str| match &model.views.get(view)?.members.get(&member)?.value {
        belvedere_model::ViewMemberValue::Included { path, member } => Some((path.clone(), member.clone())),
        belvedere_model::ViewMemberValue::OwnDimension(_) | belvedere_model::ViewMemberValue::OwnMeasure(_) => {
            Some((vec![view.to_owned()], member.clone()))
        }
    };
    let (path, member) = match (names.as_slice(), &stage.view) {
        ([], Some(view)) => in_view(view).ok_or_else(unknown)?,
        ([], None) => (vec![stage.path.last().cloned().ok_or_else(unknown)?], member.clone()),
        ([one], _) if model.views.contains_key(one) => in_view(one).ok_or_else(unknown)?,
        (path, _) => (path.to_vec(), member.clone()),
    };
    let is_there = path.last().is_some_and(|cube| match model.cubes.get(cube) {
        Some(cube) => {
            cube.dimensions.contains_key(&member)
                || cube.segments.contains_key(&member)
                || cube.measures.contains_key(&member)
        }
        None => model.views.contains_key(cube),
    });
    if !is_there {
        return Err(unknown());
    }
    Ok(MemberRef { path, member, granularity: None, place: filter.place.clone() })
}

/// The condition as SQL over `v0`.
fn sql(operator: FilterOperator, values: &[Option<String>], stage: &MemberColumn) -> Result<String> {
    let refused = |what: &str| {
        Err(PlanError::unsupported(format!("a filter of \"{}\" uses {what}, which is not supported yet", stage.member)))
    };
    if values.iter().flatten().any(|value| value.contains('{')) {
        return refused("a context variable");
    }
    let has_null = values.iter().any(Option::is_none);
    let texts: Vec<&str> = values.iter().flatten().map(String::as_str).collect();
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let list = texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ");
    let first = texts.first().copied();
    let pattern = |before: &str, text: &str, after: &str| {
        let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        quoted(&format!("{before}{escaped}{after}"))
    };
    let like = |before: &str, after: &str| {
        let mut any: Vec<String> =
            texts.iter().map(|text| format!("v0 ILIKE {}", pattern(before, text, after))).collect();
        if has_null {
            any.push("v0 IS NULL".to_owned());
        }
        any.join(" OR ")
    };
    let unlike = |before: &str, after: &str| {
        let all: Vec<String> =
            texts.iter().map(|text| format!("v0 NOT ILIKE {}", pattern(before, text, after))).collect();
        format!("({}) OR v0 IS NULL", all.join(" AND "))
    };
    let compare = |sign: &str| match first {
        Some(text) => Ok(format!("v0 {sign} {}", quoted(text))),
        None => refused("a comparison without a value"),
    };
    Ok(match operator {
        FilterOperator::Equals => match (texts.is_empty(), has_null) {
            (true, _) => "v0 IS NULL".to_owned(),
            (false, true) => format!("v0 IN ({list}) OR v0 IS NULL"),
            (false, false) => format!("v0 IN ({list})"),
        },
        FilterOperator::NotEquals => match (texts.is_empty(), has_null) {
            (true, _) => "v0 IS NOT NULL".to_owned(),
            (false, true) => format!("v0 NOT IN ({list})"),
            (false, false) => format!("v0 NOT IN ({list}) OR v0 IS NULL"),
        },
        FilterOperator::Contains => like("%", "%"),
        FilterOperator::StartsWith => like("", "%"),
        FilterOperator::EndsWith => like("%", ""),
        FilterOperator::NotContains => unlike("%", "%"),
        FilterOperator::NotStartsWith => unlike("", "%"),
        FilterOperator::NotEndsWith => unlike("%", ""),
        FilterOperator::Gt => compare(">")?,
        FilterOperator::Gte => compare(">=")?,
        FilterOperator::Lt => compare("<")?,
        FilterOperator::Lte => compare("<=")?,
        FilterOperator::Set => "v0 IS NOT NULL".to_owned(),
        FilterOperator::NotSet => "v0 IS NULL".to_owned(),
        FilterOperator::InDateRange
        | FilterOperator::NotInDateRange
        | FilterOperator::OnTheDate
        | FilterOperator::BeforeDate
        | FilterOperator::BeforeOrOnDate
        | FilterOperator::AfterDate
        | FilterOperator::AfterOrOnDate => {
            let dates: Option<Vec<Day>> = texts.iter().map(|text| Day::parse(text)).collect();
            let (Some(dates), false) = (dates, has_null) else { return refused("a date that is relative") };
            let (Some(from), Some(to)) = (dates.first(), dates.last()) else { return refused("an empty date range") };
            match operator {
                FilterOperator::InDateRange | FilterOperator::OnTheDate => {
                    format!("v0 >= {} AND {}", from.start(), to.up_to())
                }
                FilterOperator::NotInDateRange => format!("v0 < {} OR NOT ({})", from.start(), to.up_to()),
                FilterOperator::BeforeDate => format!("v0 < {}", from.start()),
                FilterOperator::AfterOrOnDate => format!("v0 >= {}", from.start()),
                FilterOperator::BeforeOrOnDate => from.up_to(),
                _ => format!("NOT ({})", from.up_to()),
            }
        }
        FilterOperator::MeasureFilter => return refused("measure_filter"),
    })
}

/// A date as a filter writes it: a whole day, or a time.
struct Day<'t> {
    text: &'t str,
    is_whole: bool,
}

impl<'t> Day<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let is_whole = text.len() == 10;
        let shape = text.chars().take(10).enumerate().all(|(index, c)| match index {
            4 | 7 => c == '-',
            _ => c.is_ascii_digit(),
        });
        let rest = text.get(10..)?;
        let is_time = rest.is_empty()
            || rest.starts_with([' ', 'T']) && rest[1..].chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.'));
        (shape && is_time).then_some(Self { text, is_whole })
    }

    fn start(&self) -> String {
        format!("TIMESTAMP '{}'", self.text)
    }

    /// Up to its end: of a bare date, the whole day.
    fn up_to(&self) -> String {
        if self.is_whole {
            format!("v0 < TIMESTAMP '{}' + INTERVAL '1 day'", self.text)
        } else {
            format!("v0 <= TIMESTAMP '{}'", self.text)
        }
    }
}
