//! Computes one expression on one row.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::casts;
use crate::error::{CatalogError, Result};
use crate::plan::{Comparison, Expr, Matching, Operator};
use crate::value::{ArrayValue, Value};

use super::{Ctx, Env, INDEX_ROWS_MIN, Rows};

fn compare(op: Comparison, left: &Value, right: &Value) -> Value {
    if left.is_null() || right.is_null() {
        return Value::Null;
    }
    let order = left.cmp(right);
    Value::Bool(match op {
        Comparison::Eq => order == Ordering::Equal,
        Comparison::NotEq => order != Ordering::Equal,
        Comparison::Lt => order == Ordering::Less,
        Comparison::LtEq => order != Ordering::Greater,
        Comparison::Gt => order == Ordering::Greater,
        Comparison::GtEq => order != Ordering::Less,
    })
}

fn apply(ctx: &Ctx<'_>, op: Operator, left: &Value, right: &Value) -> Result<Value> {
    match op {
        Operator::Compare(op) => Ok(compare(op, left, right)),
        Operator::Match { kind, insensitive, negated } => {
            matches(ctx, kind, left, right, Some('\\'), insensitive, negated)
        }
    }
}

pub(super) fn matches(
    ctx: &Ctx<'_>,
    kind: Matching,
    text: &Value,
    pattern: &Value,
    escape: Option<char>,
    insensitive: bool,
    negated: bool,
) -> Result<Value> {
    if text.is_null() || pattern.is_null() {
        return Ok(Value::Null);
    }
    let (text, pattern) = (text.as_str(), pattern.as_str());
    let found = match kind {
        Matching::Regex => ctx.regex(pattern, insensitive)?.is_match(text),
        Matching::Like if insensitive => like(&text.to_lowercase(), &pattern.to_lowercase(), escape)?,
        Matching::Like => like(text, pattern, escape)?,
    };
    Ok(Value::Bool(found != negated))
}

/// SQL's LIKE. A star is tried greedily from its last place only, so the time is at most the product of the lengths.
fn like(text: &str, pattern: &str, escape: Option<char>) -> Result<bool> {
    enum Part {
        Char(char),
        Any,
        Many,
    }
    let mut parts = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        parts.push(match c {
            c if Some(c) == escape => Part::Char(
                chars
                    .next()
                    .ok_or_else(|| CatalogError::new("22025", "LIKE pattern must not end with escape character"))?,
            ),
            '%' => Part::Many,
            '_' => Part::Any,
            c => Part::Char(c),
        });
    }
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut part) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match parts.get(part) {
            Some(Part::Many) => {
                star = Some((part, at));
                part += 1;
            }
            Some(Part::Any) => {
                at += 1;
                part += 1;
            }
            Some(Part::Char(c)) if *c == text[at] => {
                at += 1;
                part += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    at = from + 1;
                    part = after + 1;
                }
                None => return Ok(false),
            },
        }
    }
    Ok(parts[part..].iter().all(|part| matches!(part, Part::Many)))
}

/// ANY (or ALL) over values: true if one holds (all hold), NULL if that hangs on a NULL.
fn quantified(
    ctx: &Ctx<'_>,
    op: Operator,
    left: &Value,
    items: &mut dyn Iterator<Item = &Value>,
    all: bool,
) -> Result<Value> {
    let mut unknown = false;
    for item in items {
        match apply(ctx, op, left, item)? {
            Value::Bool(result) if result != all => return Ok(Value::Bool(!all)),
            Value::Bool(_) => {}
            _ => unknown = true,
        }
    }
    Ok(if unknown { Value::Null } else { Value::Bool(all) })
}

pub(super) fn not(value: Value) -> Value {
    match value {
        Value::Bool(value) => Value::Bool(!value),
        _ => Value::Null,
    }
}

/// Computes an expression.
pub(super) fn eval(ctx: &Ctx<'_>, expr: &Expr, env: &Env<'_>) -> Result<Value> {
    let all = |list: &[Expr]| list.iter().map(|expr| eval(ctx, expr, env)).collect::<Result<Vec<Value>>>();
    let level = |up: usize| {
        let mut level = Some(env);
        for _ in 0..up {
            level = level.and_then(|level| level.parent);
        }
        level
    };
    Ok(match expr {
        Expr::Const(value) => value.clone(),
        Expr::Param(at) => ctx.parameters.get(*at).cloned().unwrap_or(Value::Null),
        Expr::Column { up, slot, column } => {
            let row = level(*up).and_then(|level| level.tuple.get(*slot));
            row.and_then(|row| row.get(*column)).cloned().unwrap_or(Value::Null)
        }
        Expr::WholeRow { up, slot, width } => match level(*up).and_then(|level| level.tuple.get(*slot)) {
            Some(row) if row.len() >= *width => Value::Record(row[..*width].into()),
            _ => Value::Null,
        },
        Expr::Call { function, args } => {
            let args = all(args)?;
            if function.strict && args.iter().any(Value::is_null) {
                return Ok(Value::Null);
            }
            (function.eval)(ctx, &args)?
        }
        Expr::And(list) | Expr::Or(list) => {
            let stop = matches!(expr, Expr::Or(_));
            let mut unknown = false;
            for part in list {
                match eval(ctx, part, env)? {
                    Value::Bool(value) if value == stop => return Ok(Value::Bool(stop)),
                    Value::Bool(_) => {}
                    _ => unknown = true,
                }
            }
            if unknown { Value::Null } else { Value::Bool(!stop) }
        }
        Expr::Not(inner) => not(eval(ctx, inner, env)?),
        Expr::Compare { op, left, right } => compare(*op, &eval(ctx, left, env)?, &eval(ctx, right, env)?),
        Expr::Arithmetic { op, left, right } => arithmetic(*op, &eval(ctx, left, env)?, &eval(ctx, right, env)?)?,
        Expr::Concat { left, right } => match (eval(ctx, left, env)?, eval(ctx, right, env)?) {
            (Value::Text(a), Value::Text(b)) => Value::text(format!("{a}{b}")),
            (Value::Array(a), Value::Array(b)) => {
                let items = a.items.iter().chain(&b.items).cloned().collect();
                Value::Array(ArrayValue { lower: a.lower, items }.into())
            }
            // NULL adds nothing to an array, but makes text NULL.
            (Value::Array(a), Value::Null) | (Value::Null, Value::Array(a)) => Value::Array(a),
            (Value::Array(a), item) => Value::array(a.items.iter().cloned().chain([item]).collect()),
            (item, Value::Array(a)) => Value::array(std::iter::once(item).chain(a.items.iter().cloned()).collect()),
            _ => Value::Null,
        },
        Expr::IsDistinct { left, right, negated } => {
            Value::Bool((eval(ctx, left, env)? != eval(ctx, right, env)?) != *negated)
        }
        Expr::IsNull { expr, negated } => Value::Bool(eval(ctx, expr, env)?.is_null() != *negated),
        Expr::IsBool { expr, value, negated } => {
            let is = matches!(eval(ctx, expr, env)?, Value::Bool(found) if found == *value);
            Value::Bool(is != *negated)
        }
        Expr::Cast { expr, from, to, typmod } => casts::cast(ctx, eval(ctx, expr, env)?, *from, *to, *typmod)?,
        Expr::Case { branches, otherwise } => {
            for (condition, result) in branches {
                if eval(ctx, condition, env)?.is_true() {
                    return eval(ctx, result, env);
                }
            }
            match otherwise {
                Some(otherwise) => eval(ctx, otherwise, env)?,
                None => Value::Null,
            }
        }
        Expr::Coalesce(list) => {
            for part in list {
                let value = eval(ctx, part, env)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            Value::Null
        }
        Expr::NullIf { left, right } => {
            let left = eval(ctx, left, env)?;
            let same = compare(Comparison::Eq, &left, &eval(ctx, right, env)?).is_true();
            if same { Value::Null } else { left }
        }
        Expr::Extreme { args, greatest } => {
            let values = all(args)?.into_iter().filter(|value| !value.is_null());
            if *greatest { values.max() } else { values.min() }.unwrap_or(Value::Null)
        }
        Expr::InList { expr, list, negated } => {
            let left = eval(ctx, expr, env)?;
            let items = all(list)?;
            let found = quantified(ctx, Operator::Compare(Comparison::Eq), &left, &mut items.iter(), false)?;
            if *negated { not(found) } else { found }
        }
        Expr::Any { op, left, array, all } => {
            let left = eval(ctx, left, env)?;
            match eval(ctx, array, env)? {
                Value::Array(array) => quantified(ctx, *op, &left, &mut array.items.iter(), *all)?,
                _ => Value::Null,
            }
        }
        Expr::Match { pattern_kind, expr, pattern, escape, insensitive, negated } => {
            let (text, pattern) = (eval(ctx, expr, env)?, eval(ctx, pattern, env)?);
            matches(ctx, *pattern_kind, &text, &pattern, *escape, *insensitive, *negated)?
        }
        Expr::Array(items) => Value::array(all(items)?),
        Expr::Row(items) => Value::Record(all(items)?.into()),
        Expr::Index { array, index } => match (eval(ctx, array, env)?, eval(ctx, index, env)?) {
            (Value::Array(array), Value::Int(index)) => {
                let at = usize::try_from(index - array.lower).ok();
                at.and_then(|at| array.items.get(at)).cloned().unwrap_or(Value::Null)
            }
            _ => Value::Null,
        },
        Expr::Slice { array, lower, upper } => {
            let bound = |bound: &Option<Box<Expr>>| bound.as_ref().map(|bound| eval(ctx, bound, env)).transpose();
            let (low, high) = (bound(lower)?, bound(upper)?);
            match eval(ctx, array, env)? {
                Value::Array(array) if ![&low, &high].into_iter().flatten().any(Value::is_null) => {
                    let low = low.and_then(|low| low.as_int()).unwrap_or(array.lower);
                    let high = high.and_then(|high| high.as_int()).unwrap_or(i64::MAX);
                    let items = (array.lower..).zip(&array.items);
                    let inside = items.filter(|(at, _)| *at >= low && *at <= high);
                    Value::array(inside.map(|(_, item)| item.clone()).collect())
                }
                _ => Value::Null,
            }
        }
        Expr::Field { expr, at } => match eval(ctx, expr, env)? {
            Value::Record(items) => items.get(*at).cloned().unwrap_or(Value::Null),
            _ => Value::Null,
        },
        Expr::Scalar(plan) => {
            let rows = ctx.sub_rows(plan, env)?;
            match rows.as_slice() {
                [] => Value::Null,
                [row] => row[0].clone(),
                _ => {
                    let text = "more than one row returned by a subquery used as an expression";
                    return Err(CatalogError::new("21000", text));
                }
            }
        }
        Expr::Exists { plan, negated } => Value::Bool(ctx.sub_rows(plan, env)?.is_empty() == *negated),
        Expr::ArrayOf(plan) => Value::array(ctx.sub_rows(plan, env)?.iter().map(|row| row[0].clone()).collect()),
        Expr::AnySub { op, left, plan, all } => {
            let left = eval(ctx, left, env)?;
            let rows = ctx.sub_rows(plan, env)?;
            if plan.constant
                && !*all
                && *op == Operator::Compare(Comparison::Eq)
                && rows.len() >= INDEX_ROWS_MIN
                && !left.is_null()
            {
                let index = Rows::Plain(Arc::clone(&rows)).index(ctx, 0);
                return Ok(if index.contains_key(&left) {
                    Value::Bool(true)
                } else if index.contains_key(&Value::Null) {
                    Value::Null
                } else {
                    Value::Bool(false)
                });
            }
            quantified(ctx, *op, &left, &mut rows.iter().map(|row| &row[0]), *all)?
        }
        Expr::Aggregate(at) => env.aggregates.get(*at).cloned().unwrap_or(Value::Null),
        Expr::Window(at) => env.windows.get(*at).cloned().unwrap_or(Value::Null),
        Expr::Srf(at) => env.srfs.get(*at).cloned().unwrap_or(Value::Null),
    })
}

fn arithmetic(op: char, left: &Value, right: &Value) -> Result<Value> {
    let range = || CatalogError::new("22003", "bigint out of range");
    let zero = || CatalogError::new("22012", "division by zero");
    Ok(match (left, right) {
        (Value::Null, _) | (_, Value::Null) => Value::Null,
        (Value::Int(a), Value::Int(b)) => Value::Int(match op {
            '+' => a.checked_add(*b).ok_or_else(range)?,
            '-' => a.checked_sub(*b).ok_or_else(range)?,
            '*' => a.checked_mul(*b).ok_or_else(range)?,
            '/' | '%' if *b == 0 => return Err(zero()),
            '/' => a.checked_div(*b).ok_or_else(range)?,
            '%' => a.wrapping_rem(*b),
            '&' => a & b,
            '|' => a | b,
            _ => return Err(CatalogError::unsupported(format!("the operator {op}"))),
        }),
        _ => {
            let float = |value: &Value| match value {
                Value::Float(value) => *value,
                other => other.as_int().unwrap_or(0) as f64,
            };
            let (a, b) = (float(left), float(right));
            let result = match op {
                '+' => a + b,
                '-' => a - b,
                '*' => a * b,
                '/' if b == 0.0 => return Err(zero()),
                '/' => a / b,
                _ => return Err(CatalogError::unsupported(format!("the operator {op}"))),
            };
            if result.is_infinite() && a.is_finite() && b.is_finite() {
                return Err(CatalogError::new("22003", "value out of range: overflow"));
            }
            Value::Float(result)
        }
    })
}
