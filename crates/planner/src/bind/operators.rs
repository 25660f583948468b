//! Chooses PostgreSQL's operator for two operands while the plan is built.
//!
//! DataFusion would compare int with text as text, wrap integer overflow, divide by zero to infinity, and coerce timestamps to
//! nanoseconds; so no operator reaches its own rules: arithmetic becomes our checked functions, comparisons get both sides in
//! PostgreSQL's common type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use belvedere_functions::{CastTarget, PG_TYPE, PgType, Zone};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{Placeholder, ScalarFunction};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator, lit};
use datafusion_sql::sqlparser::ast::BinaryOperator;

use crate::catalog::SourceDialect;
use crate::error::PlanError;
use crate::functions::Functions;
use crate::session::SessionFacts;
use crate::types;

#[derive(Debug)]
pub struct Operators {
    pub functions: Arc<Functions>,
    pub session: SessionFacts,
    pub dialect: SourceDialect,
}

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = raw;
        let typed = |operand: Expr| match op {
            BinaryOperator::And | BinaryOperator::Or => Ok(fold_number(operand)),
            _ => super::unknown::with_truncated_dates(fold_number(operand), schema),
        };
        let (left, right) = (typed(left)?, typed(right)?);
        let planned = match op {
            BinaryOperator::Plus => self.arithmetic("pg_add", "+", left, right, schema)?,
            BinaryOperator::Minus => self.arithmetic("pg_sub", "-", left, right, schema)?,
            BinaryOperator::Multiply => self.arithmetic("pg_mul", "*", left, right, schema)?,
            BinaryOperator::Divide => self.arithmetic("pg_div", "/", left, right, schema)?,
            BinaryOperator::Modulo => self.arithmetic("pg_mod", "%", left, right, schema)?,
            BinaryOperator::PGExp => self.arithmetic("pg_pow", "^", left, right, schema)?,
            BinaryOperator::StringConcat => {
                let left = default_to_text(left);
                let right = default_to_text(right);
                self.call("pg_concat", vec![left, right])?
            }
            BinaryOperator::Eq => self.comparison(Operator::Eq, left, right, schema)?,
            BinaryOperator::NotEq => self.comparison(Operator::NotEq, left, right, schema)?,
            BinaryOperator::Lt => self.comparison(Operator::Lt, left, right, schema)?,
            BinaryOperator::LtEq => self.comparison(Operator::LtEq, left, right, schema)?,
            BinaryOperator::Gt => self.comparison(Operator::Gt, left, right, schema)?,
            BinaryOperator::GtEq => self.comparison(Operator::GtEq, left, right, schema)?,
            BinaryOperator::And => logical(Operator::And, left, right, schema)?,
            BinaryOperator::Or => logical(Operator::Or, left, right, schema)?,
            BinaryOperator::PGRegexMatch => self.text_match("pg_regex_match", left, right)?,
            BinaryOperator::PGRegexIMatch => self.text_match("pg_regex_imatch", left, right)?,
            BinaryOperator::PGRegexNotMatch => Expr::Not(Box::new(self.text_match("pg_regex_match", left, right)?)),
            BinaryOperator::PGRegexNotIMatch => Expr::Not(Box::new(self.text_match("pg_regex_imatch", left, right)?)),
            BinaryOperator::PGLikeMatch => datafusion_expr::Expr::Like(like(left, right, false, false)),
            BinaryOperator::PGNotLikeMatch => datafusion_expr::Expr::Like(like(left, right, true, false)),
            BinaryOperator::PGILikeMatch => datafusion_expr::Expr::Like(like(left, right, false, true)),
            BinaryOperator::PGNotILikeMatch => datafusion_expr::Expr::Like(like(left, right, true, true)),
            other => return Err(PlanError::unsupported(format!("operator {other} is not supported")).into()),
        };
        Ok(PlannerResult::Planned(planned))
    }

    fn plan_array_literal(&self, exprs: Vec<Expr>, _schema: &DFSchema) -> Result<PlannerResult<Vec<Expr>>> {
        // Constant arrays only: they stand in ANY (…) and IN (…).
        let mut values = Vec::with_capacity(exprs.len());
        for expr in &exprs {
            match fold_number(expr.clone()) {
                Expr::Literal(value, _) => values.push(value),
                _ => {
                    return Err(PlanError::unsupported(
                        "an ARRAY with elements that are not constants is not supported",
                    )
                    .into());
                }
            }
        }
        let element = values.iter().map(ScalarValue::data_type).find(|t| !t.is_null()).unwrap_or(DataType::Utf8);
        let values: Vec<ScalarValue> = values
            .into_iter()
            .map(|value| if value.is_null() { ScalarValue::try_from(&element) } else { value.cast_to(&element) })
            .collect::<Result<_>>()?;
        let list = ScalarValue::new_list(&values, &element, true);
        Ok(PlannerResult::Planned(Expr::Literal(ScalarValue::List(list), None)))
    }
}

fn like(left: Expr, right: Expr, negated: bool, case_insensitive: bool) -> datafusion_expr::Like {
    datafusion_expr::Like::new(negated, Box::new(left), Box::new(right), None, case_insensitive)
}

impl Operators {
    fn call(&self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let Some(function) = self.functions.scalar(name).cloned() else {
            return Err(PlanError::unsupported(format!("the operator behind {name} is not supported yet")).into());
        };
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
    }

    fn text_match(&self, name: &str, left: Expr, right: Expr) -> Result<Expr> {
        let left = typed_like(left, &DataType::Utf8, &self.session)?;
        let right = typed_like(right, &DataType::Utf8, &self.session)?;
        self.call(name, vec![left, right])
    }

    fn arithmetic(&self, name: &str, sign: &str, left: Expr, right: Expr, schema: &DFSchema) -> Result<Expr> {
        let (left, right) = match (is_unknown(&left), is_unknown(&right)) {
            (false, true) => {
                let wanted = other_operand(&left.get_type(schema)?, sign);
                let right = typed_like(right, &wanted, &self.session)?;
                (left, right)
            }
            (true, false) => {
                let wanted = other_operand(&right.get_type(schema)?, sign);
                let left = typed_like(left, &wanted, &self.session)?;
                (left, right)
            }
            (true, true) => {
                return Err(PlanError::new("42725", format!("operator is not unique: unknown {sign} unknown"))
                    .hint("Could not choose a best candidate operator. You might need to add explicit type casts.")
                    .into());
            }
            (false, false) => (left, right),
        };
        let call = self.call(name, vec![left.clone(), right.clone()])?;
        if call.get_type(schema).is_err() {
            return Err(no_operator(&left.get_type(schema)?, sign, &right.get_type(schema)?).into());
        }
        Ok(call)
    }

    fn comparison(&self, op: Operator, left: Expr, right: Expr, schema: &DFSchema) -> Result<Expr> {
        compare(op, left, right, schema, &self.session)
    }
}

/// `left op right` with both sides in PostgreSQL's common type.
///
/// # Errors
/// 42883 where the types do not compare, 22P02 and its kin for a literal that is not of the other side's type.
pub fn compare(op: Operator, left: Expr, right: Expr, schema: &DFSchema, session: &SessionFacts) -> Result<Expr> {
    let left = uuid_like(left, &right, schema, session)?;
    let right = uuid_like(right, &left, schema, session)?;
    check_comparable(&left, schema)?;
    check_comparable(&right, schema)?;
    let (left, right) = match (is_unknown(&left), is_unknown(&right)) {
        (false, true) => {
            let right = typed_beside(right, &left, schema, session)?;
            (left, right)
        }
        (true, false) => {
            let left = typed_beside(left, &right, schema, session)?;
            (left, right)
        }
        (true, true) => (default_to_text(left), default_to_text(right)),
        (false, false) => (left, right),
    };
    let (left_type, right_type) = (left.get_type(schema)?, right.get_type(schema)?);
    let common = if left_type == right_type {
        left_type.clone()
    } else if let Some(narrowed) = narrowed(&right, &left_type) {
        return Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(narrowed))));
    } else if let Some(narrowed) = narrowed(&left, &right_type) {
        return Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(narrowed), op, Box::new(right))));
    } else if left_type.is_null() {
        right_type.clone()
    } else if right_type.is_null() {
        left_type.clone()
    } else {
        belvedere_functions::comparison_type(&left_type, &right_type)
            .ok_or_else(|| no_operator(&left_type, &op.to_string(), &right_type))?
    };
    let left = spanned(cast_exactly(left, &left_type, &common, session)?, &common);
    let right = spanned(cast_exactly(right, &right_type, &common, session)?, &common);
    Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
}

/// An interval as the length that PostgreSQL compares: a month is 30 days. Arrow compares months, days and time one after the other.
/// Everything else stays as it is.
#[must_use]
pub fn spanned(expr: Expr, data_type: &DataType) -> Expr {
    match data_type {
        DataType::Interval(_) => {
            Expr::ScalarFunction(ScalarFunction::new_udf(belvedere_functions::interval_span(), vec![expr]))
        }
        _ => expr,
    }
}

/// A literal beside a uuid, in the form in which its text is compared.
///
/// # Errors
/// 22P02 for a text that is no uuid.
pub fn uuid_like(literal: Expr, other: &Expr, schema: &DFSchema, session: &SessionFacts) -> Result<Expr> {
    match &literal {
        Expr::Literal(ScalarValue::Utf8(Some(text)), None) if type_of(other, schema) == Some(PgType::Uuid) => {
            belvedere_functions::parse_literal(text, &DataType::Utf8, Some("uuid"), &session.zone)
                .map(|value| Expr::Literal(value, None))
                .map_err(pg_error)
        }
        _ => Ok(literal),
    }
}

/// The PostgreSQL type of an expression.
#[must_use]
pub fn type_of(expr: &Expr, schema: &DFSchema) -> Option<PgType> {
    expr.to_field(schema).ok().and_then(|(_, field)| PgType::of_field(&field))
}

/// Refuses a value that is text here and is ordered, or equal, otherwise than its text: money, inet, ranges, json, ….
///
/// # Errors
/// 0A000, with a hint.
pub fn check_comparable(expr: &Expr, schema: &DFSchema) -> Result<()> {
    match type_of(expr, schema) {
        Some(found @ (PgType::Json | PgType::Jsonb | PgType::Other(_))) => {
            let name = found.name();
            if matches!(name.as_str(), "bit" | "varbit") {
                return Ok(());
            }
            Err(PlanError::unsupported(format!("comparing values of type {name} is not supported"))
                .hint("Cast it to a type that Belvedere knows, or to text, in the model.")
                .into())
        }
        _ => Ok(()),
    }
}

/// A constant in the type of the other side, where that loses nothing: the column stays as it is, so that a source can use its
/// index.
#[must_use]
pub fn narrowed(expr: &Expr, to: &DataType) -> Option<Expr> {
    let Expr::Literal(value, metadata) = expr else { return None };
    let exact = |data_type: &DataType| {
        matches!(
            data_type,
            DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) | DataType::Decimal256(..)
        )
    };
    let from = value.data_type();
    let both_numbers = exact(&from) && exact(to);
    let date_as_timestamp = from == DataType::Date32 && *to == types::timestamp();
    if value.is_null() || !(both_numbers || date_as_timestamp) {
        return None;
    }
    let narrow = value.cast_to(to).ok().filter(|narrow| !narrow.is_null())?;
    let back = narrow.cast_to(&from).ok()?;
    (back == *value).then(|| Expr::Literal(narrow, metadata.clone()))
}

fn no_operator(left: &DataType, sign: &str, right: &DataType) -> PlanError {
    PlanError::new("42883", format!("operator does not exist: {} {sign} {}", pg_name(left), pg_name(right)))
        .hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

/// PostgreSQL's name for an Arrow type, for messages.
#[must_use]
pub fn pg_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal128(..) | DataType::Decimal256(..) => "numeric".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".into(),
        DataType::Date32 => "date".into(),
        DataType::Time64(_) => "time without time zone".into(),
        DataType::Timestamp(_, None) => "timestamp without time zone".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".into(),
        DataType::Interval(_) => "interval".into(),
        DataType::Null => "unknown".into(),
        DataType::List(field) => format!("{}[]", pg_name(field.data_type())),
        other => other.to_string(),
    }
}

fn logical(op: Operator, left: Expr, right: Expr, schema: &DFSchema) -> Result<Expr> {
    let boolean = |expr: Expr| -> Result<Expr> {
        let expr = match expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
                let value =
                    belvedere_functions::parse_literal(&text, &DataType::Boolean, None, &Zone::Named(chrono_tz::UTC))
                        .map_err(pg_error)?;
                Expr::Literal(value, None)
            }
            other => other,
        };
        let found = expr.get_type(schema)?;
        if found != DataType::Boolean && !found.is_null() {
            return Err(PlanError::new(
                "42804",
                format!("argument of {op} must be type boolean, not type {}", pg_name(&found)),
            )
            .into());
        }
        Ok(expr)
    };
    Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(boolean(left)?), op, Box::new(boolean(right)?))))
}

/// The type that an operand without type gets beside `known`: the same, but `timestamp + '1 day'` means an interval.
fn other_operand(known: &DataType, sign: &str) -> DataType {
    match known {
        DataType::Timestamp(..) if sign == "+" => DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
        other => other.clone(),
    }
}

/// A quoted literal, NULL or an untyped parameter: its type is still open.
#[must_use]
pub fn is_unknown(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, metadata) => metadata.is_none(),
        Expr::Placeholder(placeholder) => placeholder.field.is_none(),
        _ => false,
    }
}

fn default_to_text(expr: Expr) -> Expr {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            Expr::Placeholder(Placeholder { id, field: Some(Arc::new(Field::new("parameter", DataType::Utf8, true))) })
        }
        Expr::Literal(ScalarValue::Null, _) => lit(ScalarValue::Utf8(None)),
        other => other,
    }
}

/// Gives an expression without type the type `wanted`, by PostgreSQL's input syntax; typed ones stay as they are.
///
/// # Errors
/// 22P02, 22007, 22008, 22003 for text that is not of that type.
pub fn typed_like(expr: Expr, wanted: &DataType, session: &SessionFacts) -> Result<Expr> {
    if wanted.is_null() {
        return Ok(default_to_text(expr));
    }
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), None) if *wanted != DataType::Utf8 => {
            let wanted = unbounded(wanted);
            let value = belvedere_functions::parse_literal(&text, &wanted, None, &session.zone).map_err(pg_error)?;
            Ok(Expr::Literal(value, None))
        }
        Expr::Literal(ScalarValue::Null | ScalarValue::Utf8(None), None) => {
            Ok(Expr::Literal(ScalarValue::try_from(wanted)?, None))
        }
        Expr::Placeholder(Placeholder { id, field: None }) => Ok(Expr::Placeholder(Placeholder {
            id,
            field: Some(Arc::new(Field::new("parameter", unbounded(wanted), true))),
        })),
        other => Ok(other),
    }
}

/// Gives an expression without type that of `known`, which it is compared with: a uuid in its own spelling.
///
/// # Errors
/// As [`typed_like`].
pub fn typed_beside(expr: Expr, known: &Expr, schema: &DFSchema, session: &SessionFacts) -> Result<Expr> {
    let field = known.to_field(schema)?.1;
    match (expr, field.metadata().get(PG_TYPE).map(String::as_str)) {
        (Expr::Literal(ScalarValue::Utf8(Some(text)), None), Some("uuid")) => {
            let value = belvedere_functions::parse_literal(&text, field.data_type(), Some("uuid"), &session.zone)
                .map_err(pg_error)?;
            Ok(Expr::Literal(value, None))
        }
        (Expr::Placeholder(Placeholder { id, field: None }), Some("uuid")) => Ok(Expr::Placeholder(Placeholder {
            id,
            field: Some(Arc::new(field.as_ref().clone().with_name("parameter").with_nullable(true))),
        })),
        (expr, _) => typed_like(expr, field.data_type(), session),
    }
}

/// A literal beside `numeric(12,2)` is a bare numeric: its own digits count, not the column's.
fn unbounded(wanted: &DataType) -> DataType {
    match wanted {
        DataType::Decimal128(..) | DataType::Decimal256(..) => types::BARE_NUMERIC,
        other => other.clone(),
    }
}

pub(crate) fn pg_error(error: belvedere_functions::PgError) -> datafusion_common::DataFusionError {
    datafusion_common::DataFusionError::External(Box::new(error))
}

/// An implicit cast. They are all exact, except that a `timestamp` beside a `timestamptz` is read in the session's zone.
///
/// # Errors
/// Only DataFusion's, for a literal that does not fit.
pub fn cast_exactly(expr: Expr, from: &DataType, to: &DataType, session: &SessionFacts) -> Result<Expr> {
    if from == to {
        return Ok(expr);
    }
    if let (
        DataType::Timestamp(TimeUnit::Microsecond, None) | DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)),
    ) = (from, to)
        && session.zone != Zone::UTC
    {
        // The function reads the session's zone when it runs.
        let Some(target) = CastTarget::of(to) else { return Ok(cast(expr, to)) };
        return Ok(Expr::ScalarFunction(ScalarFunction::new_udf(belvedere_functions::pg_cast(target), vec![expr])));
    }
    if let Expr::Literal(value, metadata) = &expr
        && let Ok(folded) = value.cast_to(to)
        && (value.is_null() || !folded.is_null())
    {
        return Ok(Expr::Literal(folded, metadata.clone()));
    }
    Ok(cast(expr, to))
}

fn cast(expr: Expr, to: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), to.clone()))
}

/// `CAST(1 AS INT)` is how the rewriter says that a number is an int4: a literal again.
#[must_use]
pub fn fold_number(expr: Expr) -> Expr {
    match expr {
        // `'1.50'::numeric` has the digits that are written, as `1.50` has.
        Expr::ScalarFunction(call) if belvedere_functions::cast_target(&call.func).is_some_and(is_bare_numeric) => {
            match call.args.as_slice() {
                [Expr::Literal(ScalarValue::Utf8(Some(text)), _)] => match belvedere_functions::numeric_literal(text) {
                    Some(value) => Expr::Literal(value, None),
                    None => Expr::ScalarFunction(call),
                },
                _ => Expr::ScalarFunction(call),
            }
        }
        Expr::Cast(Cast { expr: inner, field }) => match (*inner, field.data_type()) {
            (Expr::Literal(ScalarValue::Int64(Some(value)), metadata), DataType::Int32) => match i32::try_from(value) {
                Ok(small) => Expr::Literal(ScalarValue::Int32(Some(small)), metadata),
                Err(_) => Expr::Literal(ScalarValue::Int64(Some(value)), metadata),
            },
            (literal @ Expr::Literal(ScalarValue::Int64(Some(_)), _), DataType::Int64) => literal,
            (inner, _) => Expr::Cast(Cast { expr: Box::new(inner), field }),
        },
        other => other,
    }
}

fn is_bare_numeric(target: &CastTarget) -> bool {
    *target == CastTarget::from_type(PgType::Numeric)
}

/// MySQL's operators, for calculated measures of MySQL cubes: `/` divides as decimals and gives NULL for a zero divisor.
#[derive(Debug)]
pub struct MySqlOperators {
    pub functions: Arc<Functions>,
}

impl ExprPlanner for MySqlOperators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = raw;
        let name = match op {
            BinaryOperator::Divide => "my_div",
            BinaryOperator::Modulo => "my_mod",
            op => {
                // The other operators mean the same on the exact types that measures have; what does not compare is refused.
                let operators = Operators {
                    functions: Arc::clone(&self.functions),
                    session: SessionFacts {
                        user: String::new(),
                        database: String::new(),
                        zone: Zone::UTC,
                        now: chrono::DateTime::UNIX_EPOCH,
                        rollups: crate::session::RollupSettings::default(),
                    },
                    dialect: SourceDialect::MySql,
                };
                return operators.plan_binary_op(RawBinaryExpr { op, left, right }, schema);
            }
        };
        let function = self.functions.needed_scalar(name)?;
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(
            function,
            vec![fold_number(left), fold_number(right)],
        ))))
    }
}
