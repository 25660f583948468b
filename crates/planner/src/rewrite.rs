//! Rewrites syntax whose meaning in DataFusion is not PostgreSQL's into forms that have one meaning: casts and operators
//! become our functions, numbers get PostgreSQL's types, session functions become their values.

use std::ops::ControlFlow;

use belvedere_functions::CastTarget;
use datafusion_sql::sqlparser::ast::{
    Array, BinaryOperator, CastKind, CeilFloorKind, DataType as SqlType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, LimitClause, ObjectName, ObjectNamePart, OrderByKind, Query,
    Select, Statement, TrimWhereField, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut, WindowFrameBound,
    WindowType,
};

use crate::error::{PlanError, Result};
use crate::gate::place_of;
use crate::name::unprotect;
use crate::session::SessionFacts;
use crate::types;

/// Functions that stand for a cast are called `::` and the number of their target in this list.
#[derive(Debug, Default, Clone)]
pub struct Casts {
    pub targets: Vec<CastTarget>,
}

impl Casts {
    /// The target of a cast function, by its name.
    #[must_use]
    pub fn target(&self, function: &str) -> Option<&CastTarget> {
        self.targets.get(function.strip_prefix("::")?.parse::<usize>().ok()?)
    }

    fn name_for(&mut self, sql_type: &SqlType) -> Result<String> {
        let target = types::cast_target(sql_type)?;
        let index = self.targets.iter().position(|known| *known == target).unwrap_or_else(|| {
            self.targets.push(target);
            self.targets.len() - 1
        });
        Ok(format!("::{index}"))
    }
}

/// Rewrites a whole query in place.
///
/// # Errors
/// Types, functions and forms that are not known, each with its place.
pub fn rewrite(query: &mut Query, session: &SessionFacts, casts: &mut Casts) -> Result<()> {
    run(query, session, casts)
}

/// Rewrites a single expression, such as a calculated measure's.
///
/// # Errors
/// As [`rewrite`].
pub fn rewrite_expr(expr: &mut Expr, session: &SessionFacts, casts: &mut Casts) -> Result<()> {
    run(expr, session, casts)
}

fn run(node: &mut impl VisitMut, session: &SessionFacts, casts: &mut Casts) -> Result<()> {
    match node.visit(&mut Rewriter { session, casts }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriter<'a> {
    session: &'a SessionFacts,
    casts: &'a mut Casts,
}

impl VisitorMut for Rewriter<'_> {
    type Break = PlanError;

    fn pre_visit_statement(&mut self, _statement: &mut Statement) -> ControlFlow<PlanError> {
        ControlFlow::Continue(())
    }

    /// Counts and ordinals were protected while naming; they are not values.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<PlanError> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
            if let Some(limit) = limit {
                unprotect(limit);
            }
            if let Some(offset) = offset {
                unprotect(&mut offset.value);
            }
        }
        // FETCH FIRST n ROWS ONLY is LIMIT n.
        if let Some(mut fetch) = query.fetch.take() {
            let mut quantity = fetch.quantity.take().unwrap_or_else(|| number("1"));
            unprotect(&mut quantity);
            match &mut query.limit_clause {
                Some(LimitClause::LimitOffset { limit, .. }) => *limit = Some(quantity),
                _ => {
                    query.limit_clause =
                        Some(LimitClause::LimitOffset { limit: Some(quantity), offset: None, limit_by: vec![] });
                }
            }
        }
        if let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(items) = &mut order_by.kind
        {
            for item in items {
                unprotect(&mut item.expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<PlanError> {
        if let datafusion_sql::sqlparser::ast::GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            for expr in exprs {
                unprotect(expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<PlanError> {
        // PostgreSQL's sign binds tighter than ^: -2 ^ 2 is 4. The parser's does not.
        if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = expr
            && matches!(inner.as_ref(), Expr::BinaryOp { op: BinaryOperator::PGExp, .. })
        {
            let mut power = std::mem::replace(inner.as_mut(), Expr::Value(Value::Null.into()));
            let mut base = &mut power;
            while let Expr::BinaryOp { left, op: BinaryOperator::PGExp, .. } = base {
                base = left;
            }
            let unsigned = std::mem::replace(base, Expr::Value(Value::Null.into()));
            *base = Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(unsigned) };
            *expr = power;
        }
        // A minus sign belongs to the number, so that the smallest integers can be written.
        if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = expr
            && let Expr::Value(ValueWithSpan { value: Value::Number(digits, false), .. }) = inner.as_mut()
            && !digits.starts_with('-')
        {
            digits.insert(0, '-');
            let inner = std::mem::replace(inner.as_mut(), Expr::Value(Value::Null.into()));
            *expr = inner;
        }
        // The parser takes all that follows for the right side; PostgreSQL stops at AND and OR.
        if let Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) = &*expr
            && matches!(right.as_ref(), Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. })
        {
            return fail(
                PlanError::unsupported("IS DISTINCT FROM with AND or OR after it is not supported")
                    .hint("Put the comparison in brackets, as in (a IS DISTINCT FROM b) AND …."),
                expr,
            );
        }
        // The sign of INTERVAL '1' DAY, and the text of a typed literal, are not values of their own.
        if let Expr::Interval(interval) = expr {
            let Expr::Value(ValueWithSpan { value, .. }) = interval.value.as_ref() else {
                return fail(PlanError::syntax("INTERVAL needs a quoted string"), expr);
            };
            let mut text = match value {
                Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text.clone(),
                Value::Number(digits, _) => digits.clone(),
                _ => return fail(PlanError::syntax("INTERVAL needs a quoted string"), expr),
            };
            if interval.last_field.is_some() {
                return fail(PlanError::unsupported("INTERVAL … TO … is not supported"), expr);
            }
            if let Some(unit) = &interval.leading_field {
                text = format!("{text} {unit}");
            }
            *expr = Expr::Cast {
                kind: CastKind::DoubleColon,
                expr: Box::new(string(&text)),
                data_type: SqlType::Interval { fields: None, precision: None },
                array: false,
                format: None,
            };
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<PlanError> {
        let taken = std::mem::replace(expr, Expr::Value(Value::Null.into()));
        match self.rewritten(taken) {
            Ok(new) => {
                *expr = new;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn fail(error: PlanError, node: &Expr) -> ControlFlow<PlanError> {
    ControlFlow::Break(error.at(place_of(node)))
}

impl Rewriter<'_> {
    fn rewritten(&mut self, expr: Expr) -> Result<Expr> {
        Ok(match expr {
            Expr::Value(value) => self.value(value)?,
            Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => *inner,
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => *expr,
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => call("pg_neg", vec![*expr]),
            Expr::IsUnknown(inner) => Expr::IsNull(inner),
            Expr::IsNotUnknown(inner) => Expr::IsNotNull(inner),
            Expr::Between { expr, negated, low, high } => {
                let within = Expr::BinaryOp {
                    left: Box::new(binary(*expr.clone(), BinaryOperator::GtEq, *low)),
                    op: BinaryOperator::And,
                    right: Box::new(binary(*expr, BinaryOperator::LtEq, *high)),
                };
                negate(within, negated)
            }
            Expr::InList { expr, list, negated } => self.in_list(*expr, list, negated)?,
            Expr::BinaryOp { left, op, right } => self.binary_op(*left, op, *right)?,
            Expr::SimilarTo { negated, expr, pattern, escape_char: None } => {
                negate(call("pg_similar_to", vec![*expr, *pattern]), negated)
            }
            Expr::Like { negated, any, expr, pattern, escape_char: Some(escape) } => {
                let pattern = Box::new(backslash_pattern(*pattern, escape)?);
                Expr::Like { negated, any, expr, pattern, escape_char: None }
            }
            Expr::ILike { negated, any, expr, pattern, escape_char: Some(escape) } => {
                let pattern = Box::new(backslash_pattern(*pattern, escape)?);
                Expr::ILike { negated, any, expr, pattern, escape_char: None }
            }
            Expr::AnyOp { left, compare_op, right, .. } => any_or_all(*left, compare_op, *right, Quantifier::Any)?,
            Expr::AllOp { left, compare_op, right } => any_or_all(*left, compare_op, *right, Quantifier::All)?,
            Expr::Case { case_token, end_token, operand: Some(operand), conditions, else_result } => Expr::Case {
                case_token,
                end_token,
                operand: None,
                conditions: conditions
                    .into_iter()
                    .map(|mut when| {
                        when.condition = binary((*operand).clone(), BinaryOperator::Eq, when.condition);
                        when
                    })
                    .collect(),
                else_result,
            },
            Expr::Cast { expr, data_type, kind, .. } => {
                // A number that `value` typed: the only casts that stay casts.
                if matches!(kind, CastKind::Cast) && is_typed_number(&expr, &data_type) {
                    return Ok(Expr::Cast { kind, expr, data_type, array: false, format: None });
                }
                let name = self.casts.name_for(&data_type)?;
                call(&name, vec![*expr])
            }
            Expr::TypedString(typed) => {
                let name = self.casts.name_for(&typed.data_type)?;
                let place = place_of(&typed.value);
                let text = typed
                    .value
                    .into_string()
                    .ok_or_else(|| PlanError::syntax("a typed literal needs a quoted string").at(place))?;
                call(&name, vec![string(&text)])
            }
            Expr::AtTimeZone { timestamp, time_zone } => call("timezone", vec![*time_zone, *timestamp]),
            Expr::Extract { field, expr, .. } => {
                call("extract", vec![string(&field.to_string().to_lowercase()), *expr])
            }
            Expr::Ceil { expr, field } => round_call("ceil", *expr, field)?,
            Expr::Floor { expr, field } => round_call("floor", *expr, field)?,
            Expr::Position { expr, r#in } => call("strpos", vec![*r#in, *expr]),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let mut args = vec![*expr];
                match (substring_from, substring_for) {
                    (Some(from), Some(length)) => args.extend([*from, *length]),
                    (Some(from), None) => args.push(*from),
                    (None, Some(length)) => args.extend([typed_number("1", SqlType::Int(None)), *length]),
                    (None, None) => {}
                }
                call("substring", args)
            }
            Expr::Trim { expr, trim_where, trim_what, trim_characters } => {
                let name = match trim_where {
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                    Some(TrimWhereField::Both) | None => "btrim",
                };
                let mut args = vec![*expr];
                args.extend(trim_what.map(|what| *what));
                args.extend(trim_characters.into_iter().flatten());
                call(name, args)
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args = vec![*expr, *overlay_what, *overlay_from];
                args.extend(overlay_for.map(|length| *length));
                call("overlay", args)
            }
            Expr::Function(function) => self.function(function)?,
            // The only one of its kind that the parser takes for a column.
            Expr::Identifier(ident)
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("current_schema") =>
            {
                let name = self.casts.name_for(&SqlType::Text)?;
                call(&name, vec![string("public")])
            }
            other => other,
        })
    }

    fn value(&self, value: ValueWithSpan) -> Result<Expr> {
        let span = value.span;
        Ok(match value.value {
            Value::Number(digits, long) => {
                if let Ok(small) = digits.parse::<i64>() {
                    let sql_type =
                        if i32::try_from(small).is_ok() { SqlType::Int(None) } else { SqlType::BigInt(None) };
                    return Ok(typed_number(&digits, sql_type));
                }
                let plain = plain_decimal(&digits)
                    .ok_or_else(|| PlanError::syntax(format!("\"{digits}\" is not a number that can be read")))?;
                Expr::Value(ValueWithSpan { value: Value::Number(plain, long), span })
            }
            Value::DollarQuotedString(text) => {
                Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text.value), span })
            }
            Value::EscapedStringLiteral(text) | Value::UnicodeStringLiteral(text) => {
                Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span })
            }
            other => Expr::Value(ValueWithSpan { value: other, span }),
        })
    }

    fn in_list(&self, expr: Expr, list: Vec<Expr>, negated: bool) -> Result<Expr> {
        // (a, b) IN ((1, 2), …): comparisons of the parts.
        if let Expr::Tuple(_) = expr {
            let mut any: Option<Expr> = None;
            for item in list {
                let equal = self.binary_op(expr.clone(), BinaryOperator::Eq, item)?;
                any = Some(match any {
                    None => equal,
                    Some(before) => binary(before, BinaryOperator::Or, equal),
                });
            }
            let any = any.ok_or_else(|| PlanError::syntax("IN needs at least one value"))?;
            return Ok(negate(any, negated));
        }
        Ok(Expr::InList { expr: Box::new(expr), list, negated })
    }

    fn binary_op(&self, left: Expr, op: BinaryOperator, right: Expr) -> Result<Expr> {
        match (&left, &op, &right) {
            (Expr::Tuple(lefts), BinaryOperator::Eq | BinaryOperator::NotEq, Expr::Tuple(rights)) => {
                if lefts.len() != rights.len() {
                    return Err(PlanError::new("42601", "unequal number of entries in row expressions"));
                }
                let mut all: Option<Expr> = None;
                for (one, other) in lefts.iter().zip(rights) {
                    let equal = binary(one.clone(), BinaryOperator::Eq, other.clone());
                    all = Some(match all {
                        None => equal,
                        Some(before) => binary(before, BinaryOperator::And, equal),
                    });
                }
                let all = all.ok_or_else(|| PlanError::syntax("a row needs at least one entry"))?;
                Ok(negate(all, op == BinaryOperator::NotEq))
            }
            (Expr::Tuple(_), ..) | (.., Expr::Tuple(_)) => {
                Err(PlanError::unsupported(format!("row comparison with {op} is not supported")))
            }
            _ => Ok(binary(left, op, right)),
        }
    }

    fn function(&mut self, mut function: Function) -> Result<Expr> {
        if let Some(WindowType::WindowSpec(spec)) = &mut function.over
            && let Some(frame) = &mut spec.window_frame
        {
            for bound in std::iter::once(&mut frame.start_bound).chain(frame.end_bound.as_mut()) {
                if let WindowFrameBound::Preceding(Some(amount)) | WindowFrameBound::Following(Some(amount)) = bound {
                    unprotect(amount);
                }
            }
        }
        // pg_catalog.lower is lower.
        if function.name.0.len() == 2
            && function.name.0[0].as_ident().is_some_and(|schema| schema.value.eq_ignore_ascii_case("pg_catalog"))
        {
            function.name.0.remove(0);
        }
        let Some(name) =
            function.name.0.last().and_then(ObjectNamePart::as_ident).filter(|_| function.name.0.len() == 1)
        else {
            return Ok(Expr::Function(function));
        };
        let lower = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
        let no_arguments = match &function.args {
            FunctionArguments::None => true,
            FunctionArguments::List(list) => list.args.is_empty(),
            FunctionArguments::Subquery(_) => false,
        };
        if no_arguments && function.over.is_none() {
            let local = self.session.local_now();
            let instant = self.session.now.naive_utc();
            let (text, sql_type) = match lower.as_str() {
                "now" | "current_timestamp" | "transaction_timestamp" | "statement_timestamp" => (
                    instant.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string(),
                    SqlType::Timestamp(None, datafusion_sql::sqlparser::ast::TimezoneInfo::Tz),
                ),
                "localtimestamp" => (
                    local.format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
                    SqlType::Timestamp(None, datafusion_sql::sqlparser::ast::TimezoneInfo::None),
                ),
                "current_date" => (local.format("%Y-%m-%d").to_string(), SqlType::Date),
                "current_user" | "user" | "session_user" | "current_role" => (self.session.user.clone(), SqlType::Text),
                "current_database" | "current_catalog" => (self.session.database.clone(), SqlType::Text),
                "current_schema" => ("public".to_owned(), SqlType::Text),
                _ => return Ok(Expr::Function(function)),
            };
            let name = self.casts.name_for(&sql_type)?;
            return Ok(call(&name, vec![string(&text)]));
        }
        if let FunctionArguments::List(list) = &mut function.args {
            if lower == "count"
                && list.duplicate_treatment.is_none()
                && let [FunctionArg::Unnamed(argument)] = list.args.as_mut_slice()
                && matches!(argument, FunctionArgExpr::Expr(constant) if is_constant(constant))
            {
                // count(1) counts rows: one form, so that a statement may have both.
                *argument = FunctionArgExpr::Wildcard;
            }
            if lower == "date_trunc"
                && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(unit)))) = list.args.first()
                && let Value::SingleQuotedString(unit) = &unit.value
                && !PREDEFINED_UNITS.contains(&unit.to_lowercase().as_str())
            {
                // Perhaps one that the model defines for the dimension.
                function.name =
                    ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', CUSTOM_GRANULARITY))]);
            }
            // A parameter that names a unit, a format or a text has no other operand to take its type from.
            let texts = TEXT_ARGUMENTS.iter().filter(|(name, _)| *name == lower).map(|(_, position)| *position);
            for position in texts {
                if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) = list.args.get_mut(position)
                    && matches!(argument, Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. }))
                {
                    let name = self.casts.name_for(&SqlType::Text)?;
                    let placeholder = std::mem::replace(argument, Expr::Value(Value::Null.into()));
                    *argument = call(&name, vec![placeholder]);
                }
            }
        }
        Ok(Expr::Function(function))
    }
}

/// Stands for `DATE_TRUNC` with a granularity that the model defines, until the dimension is known.
pub const CUSTOM_GRANULARITY: &str = "belvedere_granularity";

const PREDEFINED_UNITS: &[&str] = &[
    "microsecond",
    "microseconds",
    "millisecond",
    "milliseconds",
    "second",
    "seconds",
    "minute",
    "minutes",
    "hour",
    "hours",
    "day",
    "days",
    "week",
    "weeks",
    "month",
    "months",
    "quarter",
    "qtr",
    "year",
    "years",
    "decade",
    "decades",
    "century",
    "centuries",
    "millennium",
];

/// Arguments that are text whatever the others are.
const TEXT_ARGUMENTS: &[(&str, usize)] = &[
    ("date_trunc", 0),
    ("date_part", 0),
    ("extract", 0),
    ("timezone", 0),
    ("lower", 0),
    ("upper", 0),
    ("initcap", 0),
    ("length", 0),
    ("char_length", 0),
    ("btrim", 0),
    ("ltrim", 0),
    ("rtrim", 0),
    ("left", 0),
    ("right", 0),
    ("substring", 0),
    ("substr", 0),
    ("replace", 0),
    ("replace", 1),
    ("replace", 2),
    ("strpos", 0),
    ("strpos", 1),
    ("starts_with", 0),
    ("starts_with", 1),
    ("split_part", 0),
    ("split_part", 1),
    ("to_char", 1),
    ("to_date", 0),
    ("to_date", 1),
    ("to_timestamp", 1),
    ("md5", 0),
];

/// A pattern with an escape character of its own, as one with the backslash.
fn backslash_pattern(pattern: Expr, escape: ValueWithSpan) -> Result<Expr> {
    let Value::SingleQuotedString(escape) = escape.value else {
        return Err(PlanError::unsupported("ESCAPE with anything but a quoted character is not supported"));
    };
    let mut characters = escape.chars();
    let escape = match (characters.next(), characters.next()) {
        (Some('\\'), None) => return Ok(pattern),
        (Some(one), None) => Some(one),
        (None, None) => None,
        _ => {
            return Err(
                PlanError::new("22025", "invalid escape string").hint("Escape string must be empty or one character.")
            );
        }
    };
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span }) = pattern else {
        return Err(PlanError::unsupported("ESCAPE with a pattern that is not a quoted string is not supported"));
    };
    let mut rewritten = String::with_capacity(text.len() + 8);
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if Some(character) == escape {
            let escaped = rest
                .next()
                .ok_or_else(|| PlanError::new("22025", "LIKE pattern must not end with escape character"))?;
            rewritten.push('\\');
            rewritten.push(escaped);
        } else if character == '\\' {
            rewritten.push_str("\\\\");
        } else {
            rewritten.push(character);
        }
    }
    Ok(Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(rewritten), span }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    Any,
    All,
}

/// `x = ANY (…)` over an array, a list or a sub-query.
fn any_or_all(left: Expr, op: BinaryOperator, right: Expr, quantifier: Quantifier) -> Result<Expr> {
    let negated = match (&op, quantifier) {
        (BinaryOperator::Eq, Quantifier::Any) => false,
        (BinaryOperator::NotEq, Quantifier::All) => true,
        (op, _) => {
            let word = if quantifier == Quantifier::Any { "ANY" } else { "ALL" };
            return Err(PlanError::unsupported(format!("{op} {word} (…) is not supported"))
                .hint("= ANY (…) and <> ALL (…) are."));
        }
    };
    Ok(match right {
        Expr::Array(Array { elem, .. }) => Expr::InList { expr: Box::new(left), list: elem, negated },
        Expr::Subquery(subquery) => Expr::InSubquery { expr: Box::new(left), subquery, negated },
        other => negate(call("pg_eq_any", vec![left, other]), negated),
    })
}

fn round_call(name: &str, expr: Expr, field: CeilFloorKind) -> Result<Expr> {
    match field {
        CeilFloorKind::DateTimeField(datafusion_sql::sqlparser::ast::DateTimeField::NoDateTime) => {
            Ok(call(name, vec![expr]))
        }
        _ => Err(PlanError::unsupported(format!("{name} (… TO …) is not supported"))),
    }
}

fn is_typed_number(expr: &Expr, data_type: &SqlType) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::Number(..), .. }))
        && matches!(data_type, SqlType::Int(None) | SqlType::BigInt(None))
}

/// A literal that is not NULL.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Cast { expr, data_type, .. } => is_typed_number(expr, data_type),
        Expr::Value(value) => {
            matches!(value.value, Value::Number(..) | Value::SingleQuotedString(_) | Value::Boolean(_))
        }
        _ => false,
    }
}

fn typed_number(digits: &str, data_type: SqlType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(number(digits)), data_type, array: false, format: None }
}

fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.to_owned(), false).into())
}

fn string(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn negate(expr: Expr, negated: bool) -> Expr {
    // In brackets, so that the text reads as the tree means.
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(expr))) } } else { expr }
}

/// A call of one of our functions, by its exact name.
fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// `1.5e3` as `1500`: DataFusion reads exponents as floats or with a negative scale, PostgreSQL as numeric.
fn plain_decimal(digits: &str) -> Option<String> {
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    if exponent.unsigned_abs() > 76 {
        return None;
    }
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let point = whole.len() as i32 + exponent;
    // A decimal point makes it a numeric, whatever its digits are.
    let plain = if point <= 0 {
        format!("0.{}{all}", "0".repeat(point.unsigned_abs() as usize))
    } else if point as usize >= all.len() {
        format!("{all}{}.0", "0".repeat(point as usize - all.len()))
    } else {
        format!("{}.{}", &all[..point as usize], &all[point as usize..])
    };
    Some(format!("{sign}{plain}"))
}
