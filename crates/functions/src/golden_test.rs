//! Compares every expression of `golden.txt` with what PostgreSQL 15 said: value, type and error, over constants and over columns.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};
use datafusion_sql::sqlparser::ast::{self, Expr};
use datafusion_sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion_sql::sqlparser::parser::Parser;

use crate::numeric::Numeric;
use crate::types::decimal_type;
use crate::value::Value;
use crate::{
    BinaryOperator, CastTarget, PgError, PgType, Zone, binary_operator, format_value, operator_functions,
    parse_literal, pg_cast, pg_error_of, scalar_functions, unknown_operand_type,
};

const ZONE: &str = "America/New_York";

/// A constant: untyped text, or a value with its field.
#[derive(Debug, Clone)]
enum Node {
    Unknown(String),
    Known(FieldRef, ScalarValue),
}

fn known(scalar: ScalarValue) -> Node {
    Node::Known(Arc::new(Field::new("c", scalar.data_type(), scalar.is_null())), scalar)
}

fn unsupported(what: &str) -> DataFusionError {
    DataFusionError::NotImplemented(format!("test binder: {what}"))
}

/// An untyped literal takes the type that the other side asks for.
fn typed(node: Node, to: &DataType) -> Result<(FieldRef, ScalarValue)> {
    match node {
        Node::Known(field, scalar) => Ok((field, scalar)),
        Node::Unknown(text) => {
            let scalar = parse_literal(&text, to, None, &Zone::parse(ZONE)?)?;
            Ok((Arc::new(Field::new("c", to.clone(), false)), scalar))
        }
    }
}

/// Calls a function over constants, and over columns of three rows whose middle row is the value and whose last is NULL.
fn call(udf: &ScalarUDF, args: Vec<(FieldRef, ScalarValue)>) -> Result<Node> {
    let mut config = ConfigOptions::new();
    config.execution.time_zone = Some(ZONE.to_owned());
    let config = Arc::new(config);
    let fields: Vec<FieldRef> = args.iter().map(|(f, _)| Arc::clone(f)).collect();
    let types: Vec<DataType> = fields.iter().map(|f| f.data_type().clone()).collect();
    if !types.is_empty() {
        assert_eq!(udf.coerce_types(&types)?, types, "{} changes its argument types", udf.name());
    }
    let scalars: Vec<Option<&ScalarValue>> = args.iter().map(|(_, s)| Some(s)).collect();
    let field = udf.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &scalars })?;
    let invoke = |columns: Vec<ColumnarValue>, rows: usize| {
        udf.invoke_with_args(ScalarFunctionArgs {
            args: columns,
            arg_fields: fields.clone(),
            number_rows: rows,
            return_field: Arc::clone(&field),
            config_options: Arc::clone(&config),
        })
    };
    let constant = invoke(args.iter().map(|(_, s)| ColumnarValue::Scalar(s.clone())).collect(), 1);
    let text_first = matches!(udf.name(), "extract" | "date_part" | "date_trunc");
    let digits_second = matches!(udf.name(), "round" | "trunc");
    let columns: Vec<ColumnarValue> = args
        .iter()
        .enumerate()
        .map(|(i, (_, s))| {
            if (text_first && i == 0) || (digits_second && i == 1) {
                return Ok(ColumnarValue::Scalar(s.clone()));
            }
            let null = ScalarValue::try_from(&s.data_type())?;
            Ok(ColumnarValue::Array(ScalarValue::iter_to_array([null.clone(), s.clone(), null])?))
        })
        .collect::<Result<_>>()?;
    let scalar = match constant {
        Ok(ColumnarValue::Scalar(s)) => s,
        Ok(ColumnarValue::Array(a)) => ScalarValue::try_from_array(&a, 0)?,
        Err(error) => {
            if !args.is_empty() {
                let over_columns = invoke(columns, 3).err().map(|e| pg_error_of(&e).cloned());
                assert_eq!(
                    over_columns,
                    Some(pg_error_of(&error).cloned()),
                    "{}: constants and columns differ",
                    udf.name()
                );
            }
            return Err(error);
        }
    };
    assert_eq!(scalar.data_type(), *field.data_type(), "{}: promised type", udf.name());
    assert!(field.is_nullable() || !scalar.is_null(), "{}: NULL from a field that is not nullable", udf.name());
    if !args.is_empty() {
        let ColumnarValue::Array(array) = invoke(columns, 3)? else {
            return Err(unsupported("columns gave a constant"));
        };
        assert_eq!(array.len(), 3, "{}: rows", udf.name());
        assert_eq!(ScalarValue::try_from_array(&array, 1)?, scalar, "{}: constants and columns differ", udf.name());
    }
    Ok(Node::Known(field, scalar))
}

fn named(name: &str) -> Result<Arc<ScalarUDF>> {
    scalar_functions()
        .into_iter()
        .chain(operator_functions())
        .find(|f| f.name() == name)
        .ok_or_else(|| unsupported(name))
}

fn number(text: &str, negative: bool) -> Result<Node> {
    let text = if negative { format!("-{text}") } else { text.to_owned() };
    if let Ok(v) = text.parse::<i32>() {
        return Ok(known(ScalarValue::Int32(Some(v))));
    }
    if let Ok(v) = text.parse::<i64>() {
        return Ok(known(ScalarValue::Int64(Some(v))));
    }
    let value = Numeric::parse(&text).ok_or_else(|| unsupported("number"))?;
    let digits = i32::try_from(value.integer_digits()).expect("short literals");
    let data_type = decimal_type(digits, i32::try_from(value.scale).expect("short literals"));
    Ok(known(Value::Numeric(value).into_scalar(&data_type)?))
}

fn target(sql: &ast::DataType) -> Result<CastTarget> {
    let name = sql.to_string().to_lowercase();
    let (base, digits) = match name.split_once('(') {
        Some((base, rest)) => (base.trim().to_owned(), rest.trim_end_matches(')').to_owned()),
        None => (name, String::new()),
    };
    let numbers: Vec<u32> = digits.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    let pg = match base.as_str() {
        "int" | "integer" | "int4" => PgType::Int4,
        "int2" | "smallint" => PgType::Int2,
        "int8" | "bigint" => PgType::Int8,
        "float8" | "double precision" => PgType::Float8,
        "float4" | "real" => PgType::Float4,
        "numeric" => PgType::Numeric,
        "text" | "varchar" => PgType::Text,
        "bool" | "boolean" => PgType::Bool,
        "date" => PgType::Date,
        "time" => PgType::Time,
        "timestamp" => PgType::Timestamp,
        "timestamptz" => PgType::Timestamptz,
        "interval" => PgType::Interval,
        "uuid" => PgType::Uuid,
        "json" => PgType::Json,
        other => return Err(unsupported(other)),
    };
    let mut target = CastTarget::from_type(pg);
    match (target.pg == PgType::Numeric, numbers.as_slice()) {
        (true, [p, s]) => {
            target.numeric = Some((u8::try_from(*p).expect("precision"), i8::try_from(*s).expect("scale")))
        }
        (false, [n]) => target.modifier = Some(*n),
        _ => {}
    }
    Ok(target)
}

fn binary(op: BinaryOperator, left: Node, right: Node) -> Result<Node> {
    let (left, right) = match (left, right) {
        (Node::Unknown(a), Node::Unknown(b)) => {
            (typed(Node::Unknown(a), &DataType::Utf8)?, typed(Node::Unknown(b), &DataType::Utf8)?)
        }
        (l @ Node::Unknown(_), Node::Known(f, s)) => {
            let to = unknown_operand_type(op, f.data_type()).ok_or_else(|| unsupported("unknown operand"))?;
            (typed(l, &to)?, (f, s))
        }
        (Node::Known(f, s), r @ Node::Unknown(_)) => {
            let to = unknown_operand_type(op, f.data_type()).ok_or_else(|| unsupported("unknown operand"))?;
            ((f, s), typed(r, &to)?)
        }
        (Node::Known(f, s), Node::Known(g, t)) => ((f, s), (g, t)),
    };
    let udf = binary_operator(op, left.0.data_type(), right.0.data_type())
        .ok_or_else(|| PgError::new("42883", format!("operator does not exist: {}", op.symbol())))?;
    call(&udf, vec![left, right])
}

fn function(name: &str, args: Vec<Node>) -> Result<Node> {
    let args = args.into_iter().map(|a| typed(a, &DataType::Utf8)).collect::<Result<Vec<_>>>()?;
    let udf = named(name)?;
    call(&udf, args)
}

fn evaluate(expr: &Expr) -> Result<Node> {
    use ast::BinaryOperator as B;
    Ok(match expr {
        Expr::Nested(inner) => evaluate(inner)?,
        Expr::Value(value) => match &value.value {
            ast::Value::Number(n, _) => number(&n.to_string(), false)?,
            ast::Value::SingleQuotedString(s) => Node::Unknown(s.clone()),
            ast::Value::Boolean(b) => known(ScalarValue::Boolean(Some(*b))),
            ast::Value::Null => known(ScalarValue::Null),
            other => return Err(unsupported(&other.to_string())),
        },
        Expr::UnaryOp { op, expr } => {
            if let (ast::UnaryOperator::Minus, Expr::Value(value)) = (op, expr.as_ref())
                && let ast::Value::Number(n, _) = &value.value
            {
                return number(&n.to_string(), true);
            }
            let name = match op {
                ast::UnaryOperator::Minus => "pg_neg",
                ast::UnaryOperator::BitwiseNot => "pg_bit_not",
                other => return Err(unsupported(&other.to_string())),
            };
            function(name, vec![evaluate(expr)?])?
        }
        Expr::BinaryOp { left, op, right } => {
            let op = match op {
                B::Plus => BinaryOperator::Add,
                B::Minus => BinaryOperator::Sub,
                B::Multiply => BinaryOperator::Mul,
                B::Divide => BinaryOperator::Div,
                B::Modulo => BinaryOperator::Mod,
                B::PGExp => BinaryOperator::Pow,
                B::StringConcat => BinaryOperator::Concat,
                B::BitwiseAnd => BinaryOperator::BitAnd,
                B::BitwiseOr => BinaryOperator::BitOr,
                B::PGBitwiseXor => BinaryOperator::BitXor,
                B::PGBitwiseShiftLeft => BinaryOperator::ShiftLeft,
                B::PGBitwiseShiftRight => BinaryOperator::ShiftRight,
                other => return Err(unsupported(&other.to_string())),
            };
            binary(op, evaluate(left)?, evaluate(right)?)?
        }
        Expr::Cast { expr, data_type, .. } => {
            let target = target(data_type)?;
            let arg = typed(evaluate(expr)?, &DataType::Utf8)?;
            call(&pg_cast(target), vec![arg])?
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            function("timezone", vec![evaluate(time_zone)?, evaluate(timestamp)?])?
        }
        Expr::Extract { field, expr, .. } => {
            function("extract", vec![Node::Unknown(field.to_string().to_lowercase()), evaluate(expr)?])?
        }
        Expr::Ceil { expr, .. } => function("ceil", vec![evaluate(expr)?])?,
        Expr::Floor { expr, .. } => function("floor", vec![evaluate(expr)?])?,
        Expr::Position { expr, r#in } => function("position", vec![evaluate(r#in)?, evaluate(expr)?])?,
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let parts = [Some(expr), substring_from.as_ref(), substring_for.as_ref()];
            function("substring", parts.into_iter().flatten().map(|e| evaluate(e)).collect::<Result<_>>()?)?
        }
        Expr::Trim { expr, trim_what, .. } => {
            let parts = [Some(expr), trim_what.as_ref()];
            function("btrim", parts.into_iter().flatten().map(|e| evaluate(e)).collect::<Result<_>>()?)?
        }
        Expr::Function(f) => {
            let ast::FunctionArguments::List(list) = &f.args else { return Err(unsupported("function form")) };
            let args = list
                .args
                .iter()
                .map(|a| match a {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => evaluate(e),
                    other => Err(unsupported(&other.to_string())),
                })
                .collect::<Result<Vec<_>>>()?;
            function(&f.name.to_string().to_lowercase(), args)?
        }
        other => return Err(unsupported(&other.to_string())),
    })
}

/// Type and text, or `ERROR` and SQLSTATE with message; numeric texts are compared as numbers.
fn ours(sql: &str) -> (String, String) {
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).and_then(|mut p| p.parse_expr());
    let result = match parsed {
        Ok(expr) => evaluate(&expr).and_then(|n| typed(n, &DataType::Utf8)),
        Err(error) => return ("UNREAD".into(), error.to_string()),
    };
    match result {
        Ok((field, scalar)) => {
            let pg = if scalar.data_type().is_null() {
                PgType::Text
            } else {
                PgType::of_field(&field).expect("a PostgreSQL type")
            };
            let text = Value::of(&scalar)
                .and_then(|v| Ok(format_value(&v, &pg, &Zone::parse(ZONE)?)?))
                .map_or_else(|e| e.to_string(), |t| t.unwrap_or_else(|| "NULL".into()));
            (pg.name(), text)
        }
        Err(error) => match pg_error_of(&error) {
            Some(pg) => ("ERROR".into(), format!("{} {}", pg.sqlstate, pg.message)),
            None => ("OTHER".into(), error.to_string()),
        },
    }
}

#[test]
fn every_expression_gives_what_postgresql_gives() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("golden.txt").lines() {
        let mut parts = line.splitn(3, '\t');
        let (sql, pg_type, text) =
            (parts.next().expect("an expression"), parts.next().expect("a type"), parts.next().expect("a value"));
        count += 1;
        let (our_type, our_text) = ours(sql);
        let same_number =
            pg_type == "numeric" && Numeric::parse(text).is_some() && Numeric::parse(text) == Numeric::parse(&our_text);
        // varchar(n) and the json family are carried as text.
        let same_type = our_type == pg_type || (pg_type == "character varying" && our_type == "text");
        if !same_type || (our_text != text && !same_number) {
            wrong.push(format!("{sql}\n    PostgreSQL {pg_type}: {text}\n    ours       {our_type}: {our_text}"));
        }
    }
    assert!(count > 300, "golden.txt is cut off: {count} lines");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}
