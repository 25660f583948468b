//! Gives types to literals and parameters that stand where no operator is: IN lists, CASE branches, function arguments,
//! set operations, LIMIT.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use belvedere_functions::{CastTarget, PG_TYPMOD, PgType, Zone};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, NullEquality, Result, ScalarValue};
use datafusion_expr::expr::{InList, Placeholder, ScalarFunction};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Case, Cast, Expr, ExprSchemable, Limit, LogicalPlan, Operator, lit};

use crate::error::PlanError;
use crate::session::SessionFacts;

use super::operators::{
    cast_exactly, check_comparable, compare, fold_number, is_unknown, narrowed, spanned, type_of, typed_beside,
    typed_like, uuid_like,
};

/// Resolves what is still open in every expression of the plan.
///
/// # Errors
/// As PostgreSQL's for a literal that is not of the type that its place asks for.
pub fn resolve_unknowns(plan: LogicalPlan, session: &SessionFacts) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            return Ok(Transformed::yes(LogicalPlan::Limit(Limit {
                skip: limit.skip.map(|count| limit_count(*count).map(Box::new)).transpose()?,
                fetch: limit.fetch.map(|count| limit_count(*count).map(Box::new)).transpose()?,
                input: limit.input,
            })));
        }
        let schema = input_schema(&node);
        check_intervals(&node, &schema)?;
        let is_sort = matches!(node, LogicalPlan::Sort(_));
        let is_projection = matches!(node, LogicalPlan::Projection(_));
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let saved = names.save(&expr);
            let mut resolved = resolve_in_expr(expr, &schema, session)?;
            if is_sort {
                check_comparable(&resolved, &schema)?;
                let data_type = resolved.get_type(&schema)?;
                resolved = spanned(resolved, &data_type);
            }
            if is_projection {
                resolved = with_typmod(resolved, &schema);
            }
            Ok(Transformed::yes(saved.restore(resolved)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })
    .data()
}

/// Refuses to find equal intervals: a month equals 30 days and a day 24 hours, and which of them is shown would be left to chance.
fn check_intervals(node: &LogicalPlan, schema: &DFSchema) -> Result<()> {
    let is_interval = |data_type: &DataType| matches!(data_type, DataType::Interval(_));
    let of = |expr: &Expr| expr.get_type(schema).is_ok_and(|data_type| is_interval(&data_type));
    let any_column = || schema.fields().iter().any(|field| is_interval(field.data_type()));
    let found = match node {
        LogicalPlan::Distinct(_) => any_column(),
        LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull => any_column(),
        // USING and NATURAL; other conditions are compared by length.
        LogicalPlan::Join(join) => join.on.iter().any(|(left, right)| of(left) || of(right)),
        LogicalPlan::Aggregate(aggregate) => {
            let is_distinct = |expr: &Expr| match expr {
                Expr::AggregateFunction(call) => call.params.distinct && call.params.args.iter().any(of),
                _ => false,
            };
            aggregate.group_expr.iter().any(of)
                || aggregate.aggr_expr.iter().any(|expr| expr.exists(|inner| Ok(is_distinct(inner))).unwrap_or(true))
        }
        LogicalPlan::Window(window) => {
            let is_ordered = |expr: &Expr| match expr {
                Expr::WindowFunction(call) => {
                    call.params.partition_by.iter().any(of) || call.params.order_by.iter().any(|key| of(&key.expr))
                }
                _ => false,
            };
            window.window_expr.iter().any(|expr| expr.exists(|inner| Ok(is_ordered(inner))).unwrap_or(true))
        }
        _ => false,
    };
    if found {
        return Err(PlanError::unsupported("grouping, joining and windows by intervals are not supported")
            .hint("Use EXTRACT(EPOCH FROM …), or the interval as text.")
            .into());
    }
    Ok(())
}

/// The columns that a node's expressions can name.
#[must_use]
pub fn input_schema(node: &LogicalPlan) -> DFSchema {
    let mut merged = DFSchema::empty();
    for input in node.inputs() {
        merged.merge(input.schema());
    }
    if node.inputs().is_empty() {
        merged.merge(node.schema());
    }
    merged
}

/// LIMIT and OFFSET are int8, parameters too.
fn limit_count(expr: Expr) -> Result<Expr> {
    Ok(match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            Expr::Placeholder(Placeholder { id, field: Some(Arc::new(Field::new("parameter", DataType::Int64, true))) })
        }
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => lit(text
            .trim()
            .parse::<i64>()
            .map_err(|_| PlanError::new("22P02", format!("invalid input syntax for type bigint: \"{text}\"")))?),
        Expr::Literal(ScalarValue::Null, _) => lit(ScalarValue::Int64(None)),
        other => fold_number(other),
    })
}

/// What chooses among values has their type modifier where they have the same one; DataFusion forgets it.
fn with_typmod(expr: Expr, schema: &DFSchema) -> Expr {
    let expr = match expr {
        Expr::Alias(mut alias) => {
            alias.expr = Box::new(with_typmod(*alias.expr, schema));
            return Expr::Alias(alias);
        }
        other => other,
    };
    let chosen: Vec<&Expr> = match &expr {
        Expr::Case(Case { when_then_expr, else_expr: Some(otherwise), .. }) => {
            when_then_expr.iter().map(|(_, then)| then.as_ref()).chain([otherwise.as_ref()]).collect()
        }
        Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
            ("coalesce" | "greatest" | "least", arguments) => arguments.iter().collect(),
            ("nullif", [value, _]) => vec![value],
            _ => return expr,
        },
        _ => return expr,
    };
    let Some((first, rest)) = chosen.split_first() else { return expr };
    let found = typmod(first, schema);
    let found = found.filter(|found| rest.iter().all(|other| typmod(other, schema) == Some(*found)));
    carrying(expr, found, schema)
}

fn typmod(expr: &Expr, schema: &DFSchema) -> Option<u32> {
    let (_, field) = expr.to_field(schema).ok()?;
    field.metadata().get(PG_TYPMOD)?.parse().ok()
}

/// The value cast to the type that it has, for the sake of its modifier.
fn carrying(expr: Expr, typmod: Option<u32>, schema: &DFSchema) -> Expr {
    let target = expr.get_type(schema).ok().and_then(|data_type| CastTarget::of(&data_type));
    match (typmod, target) {
        (Some(typmod), Some(target)) => Expr::ScalarFunction(ScalarFunction::new_udf(
            belvedere_functions::pg_cast(target.with_modifier(typmod)),
            vec![expr],
        )),
        _ => expr,
    }
}

/// Resolves one expression, from the leaves up.
///
/// # Errors
/// As [`resolve_unknowns`].
pub fn resolve_in_expr(expr: Expr, schema: &DFSchema, session: &SessionFacts) -> Result<Expr> {
    expr.transform_up(|node| {
        Ok(Transformed::yes(match fold_number(node) {
            Expr::InList(InList { expr, list, negated }) => in_list(*expr, list, negated, schema, session)?,
            Expr::Case(case) => Expr::Case(case_branches(case, schema, session)?),
            Expr::ScalarFunction(call) if call.func.name() == "pg_eq_any" => eq_any(call, schema, session)?,
            Expr::ScalarFunction(call) if call.func.name() == "pg_typeof" => {
                let known = match call.args.as_slice() {
                    [argument] if !is_unknown(argument) => type_of(argument, schema),
                    [_] => Some(PgType::Unknown),
                    _ => None,
                };
                match known {
                    Some(known) => lit(known.name()),
                    None => Expr::ScalarFunction(call),
                }
            }
            Expr::ScalarFunction(mut call) => {
                if let [Expr::Placeholder(Placeholder { id, field: None })] = call.args.as_slice()
                    && call.func.name().starts_with("pg_cast")
                    && let Ok(wanted) = Expr::ScalarFunction(call.clone()).to_field(schema)
                {
                    // `$1::date` makes the parameter a date, as PostgreSQL does.
                    let field = wanted.1.as_ref().clone().with_name("parameter").with_nullable(true);
                    return Ok(Transformed::yes(Expr::Placeholder(Placeholder {
                        id: id.clone(),
                        field: Some(Arc::new(field)),
                    })));
                }
                // The type is the first one's, which DataFusion would widen to hold the second.
                if call.func.name() == "nullif"
                    && let [value, other] = call.args.as_slice()
                    && !is_unknown(value)
                    && !is_unknown(other)
                    && (value.get_type(schema)? != other.get_type(schema)?
                        || matches!(value.get_type(schema)?, DataType::Interval(_)))
                {
                    let equal = compare(Operator::Eq, value.clone(), other.clone(), schema, session)?;
                    let null = Expr::Literal(ScalarValue::try_from(&value.get_type(schema)?)?, None);
                    let branches = vec![(Box::new(equal), Box::new(null))];
                    let otherwise = Some(Box::new(value.clone()));
                    let chosen = Expr::Case(Case::new(None, branches, otherwise));
                    return Ok(Transformed::yes(carrying(chosen, typmod(value, schema), schema)));
                }
                if matches!(call.func.name(), "coalesce" | "nullif" | "greatest" | "least") {
                    call.args = in_common_type(call.args, schema, session)?;
                    return Ok(Transformed::yes(Expr::ScalarFunction(call)));
                }
                call.args = call.args.into_iter().map(open_to_text).collect();
                Expr::ScalarFunction(truncated_date(call, schema)?)
            }
            Expr::BinaryExpr(binary) if matches!(binary.op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) => {
                compare(binary.op, *binary.left, *binary.right, schema, session)?
            }
            Expr::InSubquery(within) => {
                check_comparable(&within.expr, schema)?;
                if matches!(within.expr.get_type(schema)?, DataType::Interval(_)) {
                    return Err(PlanError::unsupported("IN (SELECT …) over intervals is not supported")
                        .hint("Compare EXTRACT(EPOCH FROM …).")
                        .into());
                }
                Expr::InSubquery(within)
            }
            Expr::Like(mut like) => {
                like.expr = Box::new(typed_like(*like.expr, &DataType::Utf8, session)?);
                like.pattern = Box::new(typed_like(*like.pattern, &DataType::Utf8, session)?);
                if let Expr::Literal(ScalarValue::Utf8(Some(pattern)), _) = like.pattern.as_ref()
                    && pattern.chars().rev().take_while(|character| *character == '\\').count() % 2 == 1
                {
                    // PostgreSQL says so when a row reaches the end of the pattern, DataFusion never.
                    return Err(PlanError::new("22025", "LIKE pattern must not end with escape character").into());
                }
                let found = like.expr.get_type(schema)?;
                if found != DataType::Utf8 {
                    return Err(PlanError::new(
                        "42883",
                        format!("operator does not exist: {} ~~ text", super::operators::pg_name(&found)),
                    )
                    .hint("LIKE works on text; cast the left side, as in x::text LIKE '…'.")
                    .into());
                }
                Expr::Like(like)
            }
            // Only VALUES gets such casts: ours are functions.
            Expr::Cast(Cast { expr: inner, field }) if matches!(*inner, Expr::Literal(ScalarValue::Utf8(_), None)) => {
                typed_like(*inner, field.data_type(), session)?
            }
            Expr::IsNull(inner) => Expr::IsNull(Box::new(open_to_text(*inner))),
            Expr::IsNotNull(inner) => Expr::IsNotNull(Box::new(open_to_text(*inner))),
            Expr::Alias(mut alias) => {
                // The last resort of PostgreSQL for an output column: text.
                alias.expr = Box::new(open_to_text(*alias.expr));
                Expr::Alias(alias)
            }
            other => other,
        }))
    })
    .data()
}

/// `DATE_TRUNC` of a date. A date has no zone and never shifts: truncated it is a timestamp without one, not PostgreSQL's timestamptz.
fn truncated_date(mut call: ScalarFunction, schema: &DFSchema) -> Result<ScalarFunction> {
    if call.func.name() == "date_trunc"
        && let Some(truncated) = call.args.get_mut(1)
        && truncated.get_type(schema)? == DataType::Date32
    {
        *truncated = datafusion_expr::cast(truncated.clone(), crate::types::timestamp());
    }
    Ok(call)
}

/// The operand of an operator with the types that its parts end up with: what it meets is typed after it.
///
/// # Errors
/// Only DataFusion's, for an expression without a type.
pub fn with_truncated_dates(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|node| {
        Ok(match node {
            Expr::ScalarFunction(call) if call.func.name() == "date_trunc" => {
                Transformed::yes(Expr::ScalarFunction(truncated_date(call, schema)?))
            }
            other => Transformed::no(other),
        })
    })
    .data()
}

fn open_to_text(expr: Expr) -> Expr {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            Expr::Placeholder(Placeholder { id, field: Some(Arc::new(Field::new("parameter", DataType::Utf8, true))) })
        }
        Expr::Literal(ScalarValue::Null, metadata) => Expr::Literal(ScalarValue::Utf8(None), metadata),
        other => other,
    }
}

/// `x IN (a, b)`: all in one common type.
fn in_list(expr: Expr, list: Vec<Expr>, negated: bool, schema: &DFSchema, session: &SessionFacts) -> Result<Expr> {
    let expr = fold_number(expr);
    let list: Vec<Expr> = list.into_iter().map(fold_number).collect();
    check_comparable(&expr, schema)?;
    let list: Vec<Expr> =
        list.into_iter().map(|item| uuid_like(item, &expr, schema, session)).collect::<Result<_>>()?;
    // Literals without type take the left side's, or that of the first value that has one.
    let anchor = std::iter::once(&expr).chain(&list).find(|item| !is_unknown(item)).cloned();
    let typed = |item: Expr| match &anchor {
        Some(known) if is_unknown(&item) => typed_beside(item, known, schema, session),
        Some(_) => Ok(item),
        None => typed_like(item, &DataType::Utf8, session),
    };
    let expr = typed(expr)?;
    let left_type = expr.get_type(schema)?;
    let items = list
        .into_iter()
        .map(|item| {
            let item = typed(item)?;
            Ok(narrowed(&item, &left_type).unwrap_or(item))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut common = left_type;
    for item in &items {
        let next = item.get_type(schema)?;
        if next != common {
            common = belvedere_functions::comparison_type(&common, &next).ok_or_else(|| {
                PlanError::new(
                    "42883",
                    format!(
                        "operator does not exist: {} = {}",
                        super::operators::pg_name(&common),
                        super::operators::pg_name(&next)
                    ),
                )
                .hint("Give the values of IN (…) the type of its left side.")
            })?;
        }
    }
    let place = |item: Expr| -> Result<Expr> {
        let found = item.get_type(schema)?;
        Ok(spanned(cast_exactly(item, &found, &common, session)?, &common))
    };
    let list = items.into_iter().map(place).collect::<Result<Vec<_>>>()?;
    Ok(Expr::InList(InList { expr: Box::new(place(expr)?), list, negated }))
}

/// All results of a CASE in PostgreSQL's common type.
fn case_branches(mut case: Case, schema: &DFSchema, session: &SessionFacts) -> Result<Case> {
    let results: Vec<Expr> = case
        .when_then_expr
        .iter()
        .map(|(_, then)| then.as_ref().clone())
        .chain(case.else_expr.iter().map(|other| other.as_ref().clone()))
        .map(fold_number)
        .collect();
    let known: Vec<DataType> =
        results.iter().filter(|item| !is_unknown(item)).map(|item| item.get_type(schema)).collect::<Result<_>>()?;
    let common = if known.is_empty() {
        DataType::Utf8
    } else {
        belvedere_functions::common_type(&known).ok_or_else(|| {
            let names: Vec<String> = known.iter().map(super::operators::pg_name).collect();
            PlanError::new("42804", format!("CASE types {} cannot be matched", names.join(" and ")))
        })?
    };
    // An open literal or parameter may have more digits than the others.
    let common = widened(common, &results, schema, session)?;
    let place = |item: Expr| -> Result<Expr> {
        let item = typed_like(fold_number(item), &common, session)?;
        let found = item.get_type(schema)?;
        cast_exactly(item, &found, &common, session)
    };
    for (when, then) in &mut case.when_then_expr {
        **when = typed_like(when.as_ref().clone(), &DataType::Boolean, session)?;
        let found = when.get_type(schema)?;
        if found != DataType::Boolean {
            let found = super::operators::pg_name(&found);
            return Err(PlanError::new(
                "42804",
                format!("argument of CASE/WHEN must be type boolean, not type {found}"),
            )
            .into());
        }
        **then = place(then.as_ref().clone())?;
    }
    case.else_expr = case.else_expr.map(|other| place(*other).map(Box::new)).transpose()?;
    Ok(case)
}

/// The common type once open items have `common`: a literal beside `numeric(12,2)` keeps its own digits.
fn widened(common: DataType, items: &[Expr], schema: &DFSchema, session: &SessionFacts) -> Result<DataType> {
    let mut all = vec![common.clone()];
    for item in items.iter().filter(|item| is_unknown(item)) {
        all.push(typed_like(item.clone(), &common, session)?.get_type(schema)?);
    }
    Ok(belvedere_functions::common_type(&all).unwrap_or(common))
}

/// The arguments of a function that chooses among them, in PostgreSQL's common type.
fn in_common_type(arguments: Vec<Expr>, schema: &DFSchema, session: &SessionFacts) -> Result<Vec<Expr>> {
    let arguments: Vec<Expr> = arguments.into_iter().map(fold_number).collect();
    let known: Vec<DataType> =
        arguments.iter().filter(|item| !is_unknown(item)).map(|item| item.get_type(schema)).collect::<Result<_>>()?;
    let common = belvedere_functions::common_type(&known).ok_or_else(|| {
        let names: Vec<String> = known.iter().map(super::operators::pg_name).collect();
        PlanError::new("42804", format!("types {} cannot be matched", names.join(" and ")))
    })?;
    let common = widened(common, &arguments, schema, session)?;
    arguments
        .into_iter()
        .map(|item| {
            let item = typed_like(item, &common, session)?;
            let found = item.get_type(schema)?;
            cast_exactly(item, &found, &common, session)
        })
        .collect()
}

/// `x = ANY (array)`: a list of values once the array is known, a typed parameter before.
fn eq_any(mut call: datafusion_expr::expr::ScalarFunction, schema: &DFSchema, session: &SessionFacts) -> Result<Expr> {
    let [left, right] = call.args.as_slice() else {
        return Err(PlanError::internal("= ANY needs two operands").into());
    };
    let left_type = left.get_type(schema)?;
    let element = if left_type.is_null() { DataType::Utf8 } else { left_type };
    match right {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let list = DataType::List(Arc::new(Field::new("item", element, true)));
            call.args[1] = Expr::Placeholder(Placeholder {
                id: id.clone(),
                field: Some(Arc::new(Field::new("parameter", list, true))),
            });
            Ok(Expr::ScalarFunction(call))
        }
        Expr::Literal(ScalarValue::Utf8(Some(text)), None) => {
            let list = DataType::List(Arc::new(Field::new("item", element, true)));
            let value = belvedere_functions::parse_literal(text, &list, None, &session.zone)
                .map_err(super::operators::pg_error)?;
            in_values(left.clone(), &value, schema, session)
        }
        Expr::Literal(value @ ScalarValue::List(_), _) => in_values(left.clone(), value, schema, session),
        _ => Ok(Expr::ScalarFunction(call)),
    }
}

fn in_values(left: Expr, list: &ScalarValue, schema: &DFSchema, session: &SessionFacts) -> Result<Expr> {
    let ScalarValue::List(array) = list else { return Ok(lit(ScalarValue::Boolean(None))) };
    if list.is_null() {
        return Ok(lit(ScalarValue::Boolean(None)));
    }
    let values = array.value(0);
    let items: Vec<Expr> = (0..values.len())
        .map(|row| ScalarValue::try_from_array(&values, row).map(|value| Expr::Literal(value, None)))
        .collect::<Result<_>>()?;
    if items.is_empty() {
        return Ok(lit(false));
    }
    in_list(left, items, false, schema, session)
}

/// After parameters got their values: `x = ANY ($1)` becomes a list.
///
/// # Errors
/// 42883 where element and left side do not compare.
pub fn fold_any(plan: LogicalPlan) -> Result<LogicalPlan> {
    let session = SessionFacts {
        user: String::new(),
        database: String::new(),
        zone: Zone::UTC,
        now: chrono::DateTime::UNIX_EPOCH,
        rollups: crate::session::RollupSettings::default(),
    };
    plan.transform_up_with_subqueries(|node| {
        let schema = input_schema(&node);
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let saved = names.save(&expr);
            let folded = expr.transform_up(|inner| {
                Ok(match inner {
                    Expr::ScalarFunction(call) if call.func.name() == "pg_eq_any" => {
                        Transformed::yes(eq_any(call, &schema, &session)?)
                    }
                    other => Transformed::no(other),
                })
            })?;
            Ok(folded.update_data(|expr| saved.restore(expr)))
        })
    })
    .data()
}
