//! Conditions of a query in the SQL of cubes, where `FILTER_PARAMS` and `FILTER_GROUP` ask for them (reference X1 to X4).
//!
//! They only spare a source work: every condition is tested above the rows as well, so that a query has the same rows as if `1 = 1` stood
//! in each place. So what is put there may let more rows through than the query asks for, and never fewer: texts are compared for
//! equality alone, because a source's collation may find more equal than we do, and orders otherwise; local times get a margin.
//! It would be wrong to put a condition that holds for NULL into a cube that is joined: without its rows, the row that met them would be
//! one that met none, and pass.
//!
//! `SECURITY_CONTEXT` is compared exactly as the source compares; without a value no row is let through.
//!
//! Values are bound, never text. Where an access policy restricts a cube, only plain columns are compared: the author's own expressions could
//! fail on a hidden row.

use belvedere_functions::Zone;
use belvedere_functions::datetime::{DAY, from_local};
use belvedere_model::{
    CallPart, ContextValue, Cube, DimensionKind, FilterColumn, FilterParameter, MemberKind, SqlParameter,
};
use datafusion_common::ScalarValue;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, Operator};

use crate::catalog::{SourceDialect, SqlPiece};
use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::cube_of;
use crate::expand::hints::member;
use crate::members::{self, ALWAYS};
use crate::nodes::fact_leg::LegScan;

use super::joined_rows::JoinedRows;

/// The years 0002 to 9998 as days since 1970.
const DAYS: std::ops::Range<i64> = -718_797..2_932_532;
/// No change of a clock is larger.
const MARGIN_US: i64 = 4 * 3_600_000_000;

/// A condition on members of cubes that can be put into a source's SQL.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AskedCondition {
    And(Vec<Self>),
    Or(Vec<Self>),
    Test { cube: String, member: String, is_time: bool, test: Test },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    Compare(Operator, ScalarValue),
    In(Vec<ScalarValue>),
    IsNull,
    IsNotNull,
}

impl JoinedRows<'_> {
    /// Takes down what a query asks of these rows: `filters` must all hold, over columns of `scans`.
    ///
    /// # Errors
    /// XX000 for a column of none of them.
    pub(crate) fn asks(&mut self, scans: &[LegScan], filters: &[Expr]) -> Result<()> {
        for filter in filters.iter().flat_map(split_conjunction) {
            let found = self.asked(scans, filter)?;
            self.conditions.extend(found);
        }
        Ok(())
    }

    pub(super) fn asked(&self, scans: &[LegScan], expr: &Expr) -> Result<Option<AskedCondition>> {
        let test = |column: &Expr, test: Test| -> Result<Option<AskedCondition>> {
            let Expr::Column(column) = column else { return Ok(None) };
            let found = member(scans, column)?;
            let (MemberKind::Dimension, None, None) = (found.kind, &found.view, &found.mask) else { return Ok(None) };
            // What holds of a cube in one role says nothing of it in another.
            if self.has_roles(found.cube()?) {
                return Ok(None);
            }
            let kind = found.dimension(self.model()).map(|dimension| dimension.kind);
            let is_time = kind == Some(DimensionKind::Time);
            Ok(Some(AskedCondition::Test {
                cube: found.cube()?.to_owned(),
                member: found.member.clone(),
                is_time,
                test,
            }))
        };
        let each = |one: &Expr, other: &Expr| -> Result<Option<Vec<AskedCondition>>> {
            Ok(self.asked(scans, one)?.zip(self.asked(scans, other)?).map(|(one, other)| vec![one, other]))
        };
        match expr {
            Expr::BinaryExpr(binary) if binary.op == Operator::And => {
                Ok(each(&binary.left, &binary.right)?.map(AskedCondition::And))
            }
            Expr::BinaryExpr(binary) if binary.op == Operator::Or => {
                Ok(each(&binary.left, &binary.right)?.map(AskedCondition::Or))
            }
            Expr::BinaryExpr(binary) => match (binary.left.as_ref(), binary.right.as_ref()) {
                (column, Expr::Literal(value, _)) => test(column, Test::Compare(binary.op, value.clone())),
                (Expr::Literal(value, _), column) => match binary.op.swap() {
                    Some(op) => test(column, Test::Compare(op, value.clone())),
                    None => Ok(None),
                },
                _ => Ok(None),
            },
            Expr::Between(between) if !between.negated => match (between.low.as_ref(), between.high.as_ref()) {
                (Expr::Literal(low, _), Expr::Literal(high, _)) => {
                    let from = test(&between.expr, Test::Compare(Operator::GtEq, low.clone()))?;
                    let to = test(&between.expr, Test::Compare(Operator::LtEq, high.clone()))?;
                    Ok(from.zip(to).map(|(from, to)| AskedCondition::And(vec![from, to])))
                }
                _ => Ok(None),
            },
            Expr::InList(list) if !list.negated => {
                let values = list.list.iter().map(|item| match item {
                    Expr::Literal(value, _) => Some(value.clone()),
                    _ => None,
                });
                match values.collect::<Option<Vec<_>>>() {
                    Some(values) => test(&list.expr, Test::In(values)),
                    None => Ok(None),
                }
            }
            Expr::IsNull(inner) => test(inner, Test::IsNull),
            Expr::IsNotNull(inner) => test(inner, Test::IsNotNull),
            column @ Expr::Column(_) => test(column, Test::Compare(Operator::Eq, ScalarValue::Boolean(Some(true)))),
            _ => Ok(None),
        }
    }

    /// Whether a cube is joined more than once.
    pub(super) fn has_roles(&self, cube: &str) -> bool {
        self.tree.nodes().filter(|node| cube_of(node) == cube).count() > 1
    }

    /// The FROM of a cube with what this query asks.
    pub(super) fn relation(&self, cube: &Cube) -> Result<Vec<SqlPiece>> {
        let mut put = |parameter: &SqlParameter| match parameter {
            SqlParameter::Filters(_) if self.has_roles(&cube.naming.name) => Ok(vec![text(ALWAYS)]),
            SqlParameter::Filters(filters) => Ok(self.filters(cube, filters)),
            SqlParameter::LocalTime(_) => Err(PlanError::internal(format!(
                "the SQL of cube \"{}\" asks for the session's time",
                cube.naming.name
            ))),
            SqlParameter::Context { path, column, required } => {
                if self.dialect(cube)? == SourceDialect::Files {
                    return Err(PlanError::unsupported(format!(
                        "SECURITY_CONTEXT in the SQL of cube \"{}\", which is in files, is not supported",
                        cube.naming.name
                    ))
                    .hint("Write an access policy with a row filter."));
                }
                let values = match self.planning.catalog.policies.known(path) {
                    ContextValue::One(value) => vec![value],
                    ContextValue::Many(values) => values,
                    ContextValue::Missing => Vec::new(),
                };
                if values.is_empty() && *required {
                    return Err(PlanError::new(
                        "42501",
                        format!("cube \"{}\" needs to know something of the user that is not known", cube.naming.name),
                    )
                    .hint("Ask for an attribute of that name in the configuration."));
                }
                let values: Vec<SqlPiece> =
                    values.into_iter().map(|value| SqlPiece::Value(ScalarValue::Utf8(Some(value)))).collect();
                let within = |sql: &str| {
                    let mut pieces = vec![text(format!("({sql}) IN ("))];
                    pieces.extend(listed(values.iter().map(|value| vec![value.clone()]), ", "));
                    pieces.push(text(")"));
                    pieces
                };
                Ok(match column {
                    _ if values.is_empty() => vec![text("1 = 0")],
                    FilterColumn::Sql(sql) => within(sql),
                    FilterColumn::Call { arity, parts } if *arity == values.len() => called(parts, &values),
                    FilterColumn::Call { .. } => {
                        return Err(PlanError::unsupported(format!(
                            "SECURITY_CONTEXT in the SQL of cube \"{}\" has another number of values than its function takes",
                            cube.naming.name
                        )));
                    }
                })
            }
        };
        members::relation_pieces(self.model(), cube, &mut put)
    }

    /// All conditions on these members alone.
    fn filters(&self, cube: &Cube, filters: &[FilterParameter]) -> Vec<SqlPiece> {
        let is_guarded = !cube.access_policies.is_empty() || members::reads_context(self.model(), cube);
        let filters: Vec<&FilterParameter> =
            filters.iter().filter(|filter| !is_guarded || is_plain(&filter.column)).collect();
        let putter = Putter { rows: self, cube, filters: &filters };
        let found: Vec<Vec<SqlPiece>> = self
            .conditions
            .iter()
            .filter_map(|condition| putter.compared(condition))
            .chain(filters.iter().copied().filter_map(|filter| putter.called(filter)))
            .collect();
        if found.is_empty() { vec![text(ALWAYS)] } else { listed(found.into_iter(), " AND ") }
    }
}

/// Puts conditions into one place of a cube's SQL.
struct Putter<'r, 'a> {
    rows: &'r JoinedRows<'a>,
    cube: &'r Cube,
    filters: &'r [&'r FilterParameter],
}

impl Putter<'_, '_> {
    /// The condition over the columns that stand for its members; `None` where it cannot be said.
    fn compared(&self, condition: &AskedCondition) -> Option<Vec<SqlPiece>> {
        let several = |inner: &[AskedCondition], between| {
            let inner = inner.iter().map(|condition| self.compared(condition)).collect::<Option<Vec<_>>>()?;
            let mut pieces = vec![text("(")];
            pieces.extend(listed(inner.into_iter(), between));
            pieces.push(text(")"));
            Some(pieces)
        };
        match condition {
            AskedCondition::And(inner) => several(inner, " AND "),
            AskedCondition::Or(inner) => several(inner, " OR "),
            AskedCondition::Test { cube, member, is_time, test } => {
                let filter = self.filters.iter().find(|filter| filter.cube == *cube && filter.member == *member)?;
                let FilterColumn::Sql(sql) = &filter.column else { return None };
                let column = format!("({sql})");
                let compared = |op: &'static str, value: SqlPiece| vec![text(format!("{column} {op} ")), value];
                match test {
                    Test::Compare(op, value) => Some(compared(sign(*op, value)?, self.stored(value, *is_time, *op)?)),
                    Test::In(values) => {
                        let values = values.iter().map(|value| {
                            let value = self.stored(value, *is_time, Operator::Eq)?;
                            Some(vec![value])
                        });
                        let mut pieces = vec![text(format!("{column} IN ("))];
                        pieces.extend(listed(values.collect::<Option<Vec<_>>>()?.into_iter(), ", "));
                        pieces.push(text(")"));
                        Some(pieces)
                    }
                    // See the top: only rows that no join can make up.
                    Test::IsNull if self.rows.tree.root == *cube && *cube == self.cube.naming.name => {
                        Some(vec![text(format!("{column} IS NULL"))])
                    }
                    Test::IsNull => None,
                    Test::IsNotNull => Some(vec![text(format!("{column} IS NOT NULL"))]),
                }
            }
        }
    }

    /// `lambda from, to`, and `lambda value`: the bounds, or the values, that all conditions on a member together give.
    fn called(&self, filter: &FilterParameter) -> Option<Vec<SqlPiece>> {
        let FilterColumn::Call { arity, parts } = &filter.column else { return None };
        let mut tests: Vec<(&Test, bool)> = Vec::new();
        let mut todo: Vec<&AskedCondition> = self.rows.conditions.iter().collect();
        while let Some(condition) = todo.pop() {
            match condition {
                AskedCondition::And(inner) => todo.extend(inner),
                AskedCondition::Or(_) => {}
                AskedCondition::Test { cube, member, is_time, test } => {
                    if *cube == filter.cube && *member == filter.member {
                        tests.push((test, *is_time));
                    }
                }
            }
        }
        let bound = |wanted: [Operator; 3]| {
            tests.iter().find_map(|(test, is_time)| match test {
                Test::Compare(op, value) if wanted.contains(op) && sign(*op, value).is_some() => {
                    self.stored(value, *is_time, *op)
                }
                _ => None,
            })
        };
        let from = bound([Operator::GtEq, Operator::Gt, Operator::Eq]);
        let to = bound([Operator::LtEq, Operator::Lt, Operator::Eq]);
        if *arity == 2
            && let (Some(from), Some(to)) = (&from, &to)
        {
            return Some(called(parts, &[from.clone(), to.clone()]));
        }
        let values = tests.iter().find_map(|(test, is_time)| {
            let values: Vec<&ScalarValue> = match test {
                Test::Compare(Operator::Eq, value) => vec![value],
                Test::In(values) => values.iter().collect(),
                _ => return None,
            };
            values.into_iter().map(|value| self.stored(value, *is_time, Operator::Eq)).collect::<Option<Vec<_>>>()
        })?;
        (values.len() == *arity).then(|| called(parts, &values))
    }

    /// The value as the source stores it; local times a little before or after, where zones differ.
    fn stored(&self, value: &ScalarValue, is_time: bool, op: Operator) -> Option<SqlPiece> {
        if value.is_null() {
            return None;
        }
        let zone = self.rows.planning.session.zone;
        let source = self.rows.planning.catalog.sources.zone(&self.cube.data_source);
        match value {
            ScalarValue::TimestampMicrosecond(Some(local), None)
                if is_time && (zone != Zone::UTC || source != Zone::UTC) =>
            {
                if source != Zone::UTC {
                    return None;
                }
                let stored = from_local(*local, &zone).ok()?;
                let stored = match op {
                    Operator::Gt | Operator::GtEq => stored - MARGIN_US,
                    Operator::Lt | Operator::LtEq => stored + MARGIN_US,
                    _ => return None,
                };
                Some(SqlPiece::Value(ScalarValue::TimestampMicrosecond(Some(stored), None)))
            }
            // What cannot be bound everywhere stays above.
            ScalarValue::Utf8(Some(text)) if text.contains('\0') => None,
            ScalarValue::Date32(Some(days)) if !DAYS.contains(&i64::from(*days)) => None,
            ScalarValue::TimestampMicrosecond(Some(time), None) if !DAYS.contains(&time.div_euclid(DAY)) => None,
            ScalarValue::Utf8(_)
            | ScalarValue::Boolean(_)
            | ScalarValue::Int16(_)
            | ScalarValue::Int32(_)
            | ScalarValue::Int64(_)
            | ScalarValue::Decimal128(..)
            | ScalarValue::Date32(_)
            | ScalarValue::TimestampMicrosecond(_, None) => Some(SqlPiece::Value(value.clone())),
            _ => None,
        }
    }
}

/// The operator, where a source's meaning lets no fewer rows through than ours.
fn sign(op: Operator, value: &ScalarValue) -> Option<&'static str> {
    let is_text = matches!(value, ScalarValue::Utf8(_));
    match op {
        Operator::Eq => Some("="),
        Operator::NotEq if !is_text => Some("<>"),
        Operator::Lt if !is_text => Some("<"),
        Operator::LtEq if !is_text => Some("<="),
        Operator::Gt if !is_text => Some(">"),
        Operator::GtEq if !is_text => Some(">="),
        _ => None,
    }
}

/// A column by its name alone.
fn is_plain(column: &FilterColumn) -> bool {
    match column {
        FilterColumn::Sql(sql) => sql.trim().chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '`')),
        FilterColumn::Call { .. } => false,
    }
}

fn text(sql: impl Into<String>) -> SqlPiece {
    SqlPiece::Text(sql.into())
}

fn listed(items: impl Iterator<Item = Vec<SqlPiece>>, between: &str) -> Vec<SqlPiece> {
    let mut pieces = Vec::new();
    for (index, item) in items.enumerate() {
        if index > 0 {
            pieces.push(text(between));
        }
        pieces.extend(item);
    }
    pieces
}

fn called(parts: &[CallPart], values: &[SqlPiece]) -> Vec<SqlPiece> {
    let mut pieces = vec![text("(")];
    pieces.extend(parts.iter().filter_map(|part| match part {
        CallPart::Text(sql) => Some(text(sql.clone())),
        CallPart::Value(index) => values.get(*index).cloned(),
    }));
    pieces.push(text(")"));
    pieces
}
