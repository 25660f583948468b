//! Turns values of one type into another, and into and from text.

use crate::catalog::{PG_CATALOG, namespace_name, namespace_oid, split_name};
use crate::error::{CatalogError, Result};
use crate::exec::Ctx;
use crate::pg_types::{self as ty, Oid, TypeTable};
use crate::value::{ArrayValue, Value, parse_array, write_array, write_time};
use belvedere_functions::identifiers::quote_ident;

fn invalid(types: &TypeTable, to: Oid, text: &str) -> CatalogError {
    CatalogError::new("22P02", format!("invalid input syntax for type {}: \"{text}\"", types.format(to, None)))
}

/// Reads text as a value of a type that needs no look-up of names.
pub fn parse(types: &TypeTable, text: &str, to: Oid) -> Result<Value> {
    let trimmed = text.trim();
    match to {
        ty::BOOL => {
            let lower = trimmed.to_ascii_lowercase();
            let starts = |word: &str| !lower.is_empty() && word.starts_with(&lower);
            if starts("true") || starts("yes") || lower == "on" || lower == "1" {
                Ok(Value::Bool(true))
            } else if starts("false") || starts("no") || lower == "off" || lower == "of" || lower == "0" {
                Ok(Value::Bool(false))
            } else {
                Err(invalid(types, to, text))
            }
        }
        ty::FLOAT4 | ty::FLOAT8 => trimmed.parse().map(Value::Float).map_err(|_| invalid(types, to, text)),
        ty::INT2VECTOR | ty::OIDVECTOR => {
            let items: std::result::Result<Vec<Value>, _> =
                trimmed.split_whitespace().map(|item| item.parse().map(Value::Int)).collect();
            let items = items.map_err(|_| invalid(types, to, text))?;
            Ok(Value::Array(ArrayValue { lower: 0, items }.into()))
        }
        ty::NAME => Ok(Value::text(cut(text, 63))),
        ty::CHAR => Ok(Value::text(text.get(..1).unwrap_or(text))),
        ty::TIMESTAMP | ty::TIMESTAMPTZ | ty::INTERVAL | ty::NUMERIC | 1082 | 1083 | 1266 => {
            Err(CatalogError::unsupported(format!("a {} from text", types.format(to, None))))
        }
        _ if ty::is_integer(to) => {
            let number = trimmed.parse().map_err(|_| invalid(types, to, text))?;
            check_range(types, number, to)
        }
        _ => match types.element_of(to) {
            Some(element) if to != ty::ANYARRAY => {
                let items = parse_array(text)
                    .ok_or_else(|| CatalogError::new("22P02", format!("malformed array literal: \"{text}\"")))?;
                let items = items.into_iter().map(|item| match item {
                    None => Ok(Value::Null),
                    Some(item) => parse(types, &item, element),
                });
                Ok(Value::array(items.collect::<Result<_>>()?))
            }
            _ => Ok(Value::text(text)),
        },
    }
}

/// The first `bytes` bytes of a text, cut at a character.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn check_range(types: &TypeTable, number: i64, to: Oid) -> Result<Value> {
    let (low, high) = match to {
        ty::INT2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        ty::INT4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        ty::INT8 => (i64::MIN, i64::MAX),
        _ => (0, i64::from(u32::MAX)),
    };
    // oid takes a negative number as the unsigned one of the same bits.
    let number = if low == 0 && (i64::from(i32::MIN)..0).contains(&number) { number + (1 << 32) } else { number };
    if number < low || number > high {
        let shown = if ty::is_reg(to) { "oid".to_owned() } else { types.format(to, None) };
        return Err(CatalogError::new("22003", format!("{shown} out of range")));
    }
    Ok(Value::Int(number))
}

/// Whether PostgreSQL has a cast between the types.
pub fn exists(types: &TypeTable, from: Oid, to: Oid) -> bool {
    let number = |oid| matches!(oid, ty::INT2 | ty::INT4 | ty::INT8 | ty::FLOAT4 | ty::FLOAT8 | ty::NUMERIC);
    let identity = |oid| matches!(oid, ty::OID) || ty::is_reg(oid);
    if from == to || from == ty::UNKNOWN || ty::is_text(from) || ty::is_text(to) {
        return true;
    }
    if matches!(to, ty::NUMERIC) || matches!(from, ty::NUMERIC) {
        return number(from) && number(to);
    }
    match (types.element_of(from), types.element_of(to)) {
        (Some(a), Some(b)) => return exists(types, a, b),
        (None, None) => {}
        _ => return false,
    }
    (number(from) && number(to))
        || (identity(from) && (identity(to) || matches!(to, ty::INT4 | ty::INT8)))
        || (identity(to) && matches!(from, ty::INT2 | ty::INT4 | ty::INT8))
        || matches!((from, to), (ty::BOOL, ty::INT4) | (ty::INT4, ty::BOOL))
        || matches!((from, to), (ty::TIMESTAMP, ty::TIMESTAMPTZ) | (ty::TIMESTAMPTZ, ty::TIMESTAMP))
        || matches!((from, to), (ty::JSON, 3802) | (3802, ty::JSON))
}

/// Casts a value. To `unknown` means: its text, as a client would see it.
pub fn cast(ctx: &Ctx<'_>, value: Value, from: Oid, to: Oid, typmod: i32) -> Result<Value> {
    let types = &ctx.catalog.types;
    if value.is_null() || to == ty::ANY {
        return Ok(value);
    }
    if to == ty::UNKNOWN {
        return Ok(Value::text(show(ctx, &value, from)?));
    }
    if ty::is_text(to) {
        let text = match &value {
            Value::Bool(value) => value.to_string(),
            Value::Text(text) if typmod < 0 && matches!(to, ty::TEXT | ty::VARCHAR) => {
                return Ok(value);
            }
            other => show(ctx, other, from)?,
        };
        return Ok(match to {
            ty::NAME | ty::CHAR => parse(types, &text, to)?,
            ty::VARCHAR | ty::BPCHAR if typmod >= 4 => {
                Value::text(text.chars().take((typmod - 4) as usize).collect::<String>())
            }
            _ => Value::text(text),
        });
    }
    match &value {
        Value::Text(text) if ty::is_text(from) => {
            if ty::is_reg(to) {
                find_object(ctx, text, to)
            } else {
                parse(types, text, to)
            }
        }
        Value::Array(array) => {
            let (Some(a), Some(b)) = (types.element_of(from), types.element_of(to)) else { return Ok(value) };
            let items = array.items.iter().map(|item| cast(ctx, item.clone(), a, b, -1)).collect::<Result<_>>()?;
            Ok(Value::Array(ArrayValue { lower: array.lower, items }.into()))
        }
        Value::Int(number) => match to {
            ty::BOOL => Ok(Value::Bool(*number != 0)),
            ty::FLOAT4 | ty::FLOAT8 => Ok(Value::Float(*number as f64)),
            ty::NUMERIC => Ok(value),
            _ if ty::is_integer(to) => check_range(types, *number, to),
            _ => Ok(value),
        },
        Value::Float(number) if ty::is_integer(to) => {
            let rounded = number.round_ties_even();
            if !rounded.is_finite() || rounded.abs() > 9.2e18 {
                return Err(CatalogError::new("22003", format!("{} out of range", types.format(to, None))));
            }
            check_range(types, rounded as i64, to)
        }
        Value::Bool(flag) if ty::is_integer(to) => Ok(Value::Int(i64::from(*flag))),
        _ => Ok(value),
    }
}

/// A value as PostgreSQL's output function writes it.
pub fn show(ctx: &Ctx<'_>, value: &Value, pg_type: Oid) -> Result<String> {
    Ok(match value {
        Value::Null => String::new(),
        Value::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
        Value::Int(number) if ty::is_reg(pg_type) => show_object(ctx, *number as Oid, pg_type)?,
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Time(us) if pg_type == ty::TIMESTAMP => write_time(*us),
        Value::Time(us) => format!("{}+00", write_time(*us)),
        Value::Array(array) => {
            let element = ctx.catalog.types.element_of(pg_type).unwrap_or(ty::TEXT);
            let mut items = Vec::new();
            for item in &array.items {
                items.push(if item.is_null() { None } else { Some(show(ctx, item, element)?) });
            }
            if matches!(pg_type, ty::INT2VECTOR | ty::OIDVECTOR) {
                items.into_iter().flatten().collect::<Vec<_>>().join(" ")
            } else {
                // Bounds are written where they are not the usual 1.
                let upper = array.lower + items.len() as i64 - 1;
                let bounds = if array.lower == 1 || items.is_empty() {
                    String::new()
                } else {
                    format!("[{}:{upper}]=", array.lower)
                };
                bounds + &write_array(items.into_iter())
            }
        }
        Value::Record(items) => {
            let mut out = Vec::new();
            for item in items.iter() {
                let text = show(ctx, item, ty::TEXT)?;
                let special = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | '"' | '\\');
                let quote = !item.is_null() && (text.is_empty() || text.contains(special));
                out.push(if quote { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\"")) } else { text });
            }
            format!("({})", out.join(","))
        }
    })
}

fn show_object(ctx: &Ctx<'_>, oid: Oid, pg_type: Oid) -> Result<String> {
    if oid == 0 {
        return Ok("-".to_owned());
    }
    Ok(match pg_type {
        ty::REGCLASS => ctx.catalog.relation_shown(oid, ctx.session),
        ty::REGTYPE => match ctx.catalog.types.get(oid) {
            Some(_) => ctx.catalog.types.format(oid, None),
            None => oid.to_string(),
        },
        ty::REGNAMESPACE => match namespace_name(oid) {
            "" => oid.to_string(),
            name => quote_ident(name),
        },
        ty::REGROLE => {
            let role = ctx.catalog.roles_of(ctx.session).into_iter().find(|(id, _)| *id == oid);
            role.map_or_else(|| oid.to_string(), |(_, name)| quote_ident(&name))
        }
        ty::REGPROC | ty::REGPROCEDURE => {
            let functions = Functions::of(ctx)?;
            let Some(row) = functions.by_oid(oid) else { return Ok(oid.to_string()) };
            let name = row[functions.name].as_str();
            if pg_type == ty::REGPROCEDURE {
                let types: Vec<String> = row[functions.args]
                    .items()
                    .iter()
                    .map(|arg| ctx.catalog.types.format(arg.as_int().unwrap_or(0) as Oid, None))
                    .collect();
                return Ok(format!("{}({})", quote_ident(name), types.join(",")));
            }
            // A name that several functions have would not be read back as this one.
            match functions.named(name).len() {
                1 => quote_ident(name),
                _ => format!("pg_catalog.{}", quote_ident(name)),
            }
        }
        _ => oid.to_string(),
    })
}

/// `pg_proc` with the columns that names need.
struct Functions {
    table: std::sync::Arc<crate::catalog::Table>,
    oid: usize,
    name: usize,
    args: usize,
}

impl Functions {
    fn of(ctx: &Ctx<'_>) -> Result<Self> {
        let at = ctx.catalog.find(Some("pg_catalog"), "pg_proc", ctx.session).expect("the catalog has pg_proc");
        let columns = &ctx.catalog.system[at].columns;
        let position = |name: &str| columns.iter().position(|c| c.name == name).expect("pg_proc has this column");
        let (oid, name, args) = (position("oid"), position("proname"), position("proargtypes"));
        Ok(Self { table: ctx.catalog.table(at, ctx.session)?, oid, name, args })
    }

    fn by_oid(&self, oid: Oid) -> Option<&[Value]> {
        let index = self.table.index(self.oid);
        index.get(&Value::Int(i64::from(oid))).map(|rows| &*self.table.rows[rows[0] as usize])
    }

    fn named(&self, name: &str) -> Vec<&[Value]> {
        let index = self.table.index(self.name);
        let rows = index.get(&Value::text(name)).map_or(&[][..], |rows| rows.as_slice());
        rows.iter().map(|row| &*self.table.rows[*row as usize]).collect()
    }
}

/// Reads the name of an object: `'pg_class'::regclass`.
fn find_object(ctx: &Ctx<'_>, text: &str, to: Oid) -> Result<Value> {
    let trimmed = text.trim();
    if trimmed == "-" {
        return Ok(Value::Int(0));
    }
    if let Ok(number) = trimmed.parse::<i64>() {
        return check_range(&ctx.catalog.types, number, to);
    }
    let name =
        || split_name(trimmed).ok_or_else(|| CatalogError::new("42602", format!("invalid name syntax: \"{text}\"")));
    let found = match to {
        ty::REGCLASS => match ctx.catalog.relation_named(trimmed, ctx.session)? {
            Some(oid) => Ok(oid),
            None => Err(("42P01", format!("relation \"{}\" does not exist", name()?.join(".")))),
        },
        ty::REGTYPE => match ctx.catalog.types.parse(trimmed) {
            Some((oid, _)) => Ok(oid),
            None => Err(("42704", format!("type \"{trimmed}\" does not exist"))),
        },
        ty::REGNAMESPACE => {
            let name = name()?.join(".");
            namespace_oid(&name).ok_or_else(|| ("3F000", format!("schema \"{name}\" does not exist")))
        }
        ty::REGROLE => {
            let name = name()?.join(".");
            let role = ctx.catalog.roles_of(ctx.session).into_iter().find(|(_, role)| *role == name);
            role.map(|(oid, _)| oid).ok_or_else(|| ("42704", format!("role \"{name}\" does not exist")))
        }
        ty::REGPROC | ty::REGPROCEDURE => return find_function(ctx, trimmed, to),
        _ => return Err(CatalogError::unsupported("the name of an operator")),
    };
    found.map(|oid| Value::Int(i64::from(oid))).map_err(|(state, message)| CatalogError::new(state, message))
}

fn find_function(ctx: &Ctx<'_>, text: &str, to: Oid) -> Result<Value> {
    let (head, types) = match text.split_once('(') {
        Some((head, types)) if to == ty::REGPROCEDURE => (head, Some(types.trim_end_matches(')'))),
        _ if to == ty::REGPROCEDURE => return Err(CatalogError::new("22P02", "expected a left parenthesis")),
        _ => (text, None),
    };
    let parts =
        split_name(head).ok_or_else(|| CatalogError::new("42602", format!("invalid name syntax: \"{text}\"")))?;
    let missing = || CatalogError::new("42883", format!("function \"{text}\" does not exist"));
    let (schema, name) = match parts.as_slice() {
        [name] => (namespace_name(PG_CATALOG), name),
        [schema, name] => (schema.as_str(), name),
        _ => return Err(missing()),
    };
    if schema != namespace_name(PG_CATALOG) {
        return Err(missing());
    }
    let functions = Functions::of(ctx)?;
    let mut rows = functions.named(name);
    if let Some(types) = types {
        let wanted: Option<Vec<Value>> = types
            .split(',')
            .filter(|part| !part.trim().is_empty())
            .map(|part| ctx.catalog.types.parse(part).map(|(oid, _)| Value::Int(i64::from(oid))))
            .collect();
        let wanted = wanted.ok_or_else(missing)?;
        rows.retain(|row| row[functions.args].items() == wanted.as_slice());
    }
    match rows.as_slice() {
        [row] => Ok(row[functions.oid].clone()),
        [] => Err(missing()),
        _ => Err(CatalogError::new("42725", format!("more than one function named \"{text}\""))),
    }
}
