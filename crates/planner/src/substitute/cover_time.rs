//! Ranges of time as numbers: which whole buckets lie in one, and what is left at its edges.

use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::Expr;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_optimizer::simplify_expressions::ExprSimplifier;

use crate::error::{PlanError, Result};
use crate::expand::time_range::{Unit, timestamp};
use crate::lower::joined_rows::{Planning, internal};

/// `[from, to)` in microseconds on a wall clock; open where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

impl Span {
    pub const ALL: Self = Self { from: None, to: None };

    #[must_use]
    pub fn new(from: i64, to: i64) -> Self {
        Self { from: Some(from), to: Some(to) }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!((self.from, self.to), (Some(from), Some(to)) if from >= to)
    }

    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let later = |one: Option<i64>, other: Option<i64>| one.max(other);
        let earlier = |one: Option<i64>, other: Option<i64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { from: later(self.from, other.from), to: earlier(self.to, other.to) }
    }

    /// In microseconds; without an end it is as long as any.
    #[must_use]
    pub fn length(&self) -> u64 {
        match (self.from, self.to) {
            (Some(from), Some(to)) => u64::try_from(to.saturating_sub(from)).unwrap_or(0),
            _ => u64::MAX / 4,
        }
    }

    /// What of this is in none of `parts`, in order.
    #[must_use]
    pub fn minus(&self, parts: &[Self]) -> Vec<Self> {
        let mut left = vec![*self];
        for part in parts.iter().filter(|part| !part.is_empty()) {
            left = left
                .into_iter()
                .flat_map(|span| {
                    let before = part.from.map(|from| span.and(&Self { from: None, to: Some(from) }));
                    let after = part.to.map(|to| span.and(&Self { from: Some(to), to: None }));
                    let apart = span.and(part).is_empty();
                    if apart { vec![span] } else { before.into_iter().chain(after).collect() }
                })
                .filter(|span| !span.is_empty())
                .collect();
        }
        left.sort_by_key(|span| span.from);
        left
    }
}

/// The whole buckets of a span: from the first that begins in it to the last that ends in it. Empty where there is none.
///
/// # Errors
/// 22008 for times out of range.
pub fn whole_buckets(span: Span, unit: &Unit, planning: Planning<'_>) -> Result<Span> {
    let from = span.from.map(|at| bucket_from(at, unit, planning)).transpose()?;
    let to = span.to.map(|at| start_of(at, unit, planning)).transpose()?;
    Ok(Span { from, to })
}

/// The first start of a bucket at or after a time.
fn bucket_from(at: i64, unit: &Unit, planning: Planning<'_>) -> Result<i64> {
    let start = start_of(at, unit, planning)?;
    if start == at { Ok(at) } else { needed(unit.end_of(timestamp(at), planning)?, planning) }
}

/// The start of the bucket that holds a time.
pub(crate) fn start_of(at: i64, unit: &Unit, planning: Planning<'_>) -> Result<i64> {
    needed(unit.start_of(timestamp(at), planning)?, planning)
}

fn needed(expr: Expr, planning: Planning<'_>) -> Result<i64> {
    match constant(expr, planning)? {
        Some(Some(at)) => Ok(at),
        Some(None) | None => Err(PlanError::internal("a bucket without a start")),
    }
}

/// The value of a timestamp without columns: `None` where it is not known before the statement runs, `Some(None)` for NULL.
///
/// # Errors
/// What computing it says.
pub(crate) fn constant(expr: Expr, planning: Planning<'_>) -> Result<Option<Option<i64>>> {
    Ok(match value_of(expr, planning)? {
        Some(ScalarValue::TimestampMicrosecond(at, None)) => Some(at),
        Some(ScalarValue::Null) => Some(None),
        _ => None,
    })
}

/// The value of an expression without columns, as the session has it: `CAST(now() AS date)` is another day in another zone. `None` where it is not
/// known before the statement runs.
///
/// # Errors
/// What computing it says.
pub(crate) fn value_of(expr: Expr, planning: Planning<'_>) -> Result<Option<ScalarValue>> {
    let mut options = ConfigOptions::default();
    options.execution.time_zone = Some(planning.session.zone.name());
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(DFSchema::empty()))
        .with_config_options(Arc::new(options))
        .build();
    Ok(match ExprSimplifier::new(context).simplify(expr).map_err(internal)? {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, to: i64) -> Span {
        Span::new(from, to)
    }

    #[test]
    fn what_is_left_of_a_span_has_no_gap_and_no_overlap() {
        let cases = [
            (span(0, 10), vec![], vec![span(0, 10)]),
            (span(0, 10), vec![span(0, 10)], vec![]),
            (span(0, 10), vec![span(2, 4), span(4, 6)], vec![span(0, 2), span(6, 10)]),
            (span(0, 10), vec![span(6, 20), span(-5, 3)], vec![span(3, 6)]),
            (span(0, 10), vec![span(20, 30)], vec![span(0, 10)]),
            (span(0, 10), vec![span(5, 5)], vec![span(0, 10)]),
            (Span::ALL, vec![span(1, 2)], vec![Span { from: None, to: Some(1) }, Span { from: Some(2), to: None }]),
            (Span::ALL, vec![Span::ALL], vec![]),
            (
                Span { from: Some(3), to: None },
                vec![Span { from: None, to: Some(5) }],
                vec![Span { from: Some(5), to: None }],
            ),
        ];
        for (whole, parts, left) in cases {
            assert_eq!(whole.minus(&parts), left, "{whole:?} minus {parts:?}");
        }
    }
}
