//! Quoting, `format`, arrays as text, characters by number.

use arrow::datatypes::DataType;
use datafusion_expr::Volatility;

use crate::error::{PgError, PgResult};
use crate::function::{Context, Definition, Plan, no_function};
use crate::identifiers::quote_ident;
use crate::library::{fixed, shown};
use crate::types::PgType as T;
use crate::value::Value;

fn text(value: &Value) -> &str {
    if let Value::Text(t) = value { t } else { "" }
}

fn quote_literal(value: &str) -> String {
    let body = value.replace('\'', "''");
    if body.contains('\\') { format!("E'{}'", body.replace('\\', "\\\\")) } else { format!("'{body}'") }
}

fn format(context: &Context<'_>, row: &[Value]) -> PgResult<Value> {
    let Some(Value::Text(pattern)) = row.first() else { return Ok(Value::Null) };
    let mut rest = row[1..].iter();
    let mut out = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let kind = chars.next().ok_or_else(|| {
            PgError::new("22023", "unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\".")
        })?;
        if kind == '%' {
            out.push('%');
            continue;
        }
        if kind.is_ascii_digit() || kind == '-' || kind == '*' {
            return Err(PgError::unsupported("format() with positions or widths is not supported"));
        }
        if !matches!(kind, 's' | 'I' | 'L') {
            return Err(PgError::new("22023", format!("unrecognized format() type specifier \"{kind}\""))
                .with_hint("For a single \"%\" use \"%%\"."));
        }
        let value = rest.next().ok_or_else(|| PgError::new("22023", "too few arguments for format()"))?;
        let value = shown(context, value)?;
        match (kind, value) {
            ('s', value) => out.push_str(&value.unwrap_or_default()),
            ('I', Some(value)) => out.push_str(&quote_ident(&value)),
            ('I', None) => {
                return Err(PgError::new("22004", "null values cannot be formatted as an SQL identifier"));
            }
            (_, Some(value)) => out.push_str(&quote_literal(&value)),
            (_, None) => out.push_str("NULL"),
        }
    }
    Ok(Value::Text(out))
}

fn string_to_array(row: &[Value]) -> Value {
    let Value::Text(source) = &row[0] else { return Value::Null };
    if source.is_empty() {
        return Value::List(Vec::new());
    }
    let parts: Vec<String> = match &row[1] {
        Value::Text(separator) if separator.is_empty() => vec![source.clone()],
        Value::Text(separator) => source.split(separator.as_str()).map(str::to_owned).collect(),
        _ => source.chars().map(String::from).collect(),
    };
    let null = row.get(2);
    let item =
        |part: String| if matches!(null, Some(Value::Text(n)) if *n == part) { Value::Null } else { Value::Text(part) };
    Value::List(parts.into_iter().map(item).collect())
}

fn array_to_string(context: &Context<'_>, row: &[Value]) -> PgResult<Value> {
    let (Value::List(items), Value::Text(separator)) = (&row[0], &row[1]) else { return Ok(Value::Null) };
    let mut parts = Vec::new();
    for item in items {
        match (shown(context, item)?, row.get(2)) {
            (Some(part), _) => parts.push(part),
            (None, Some(Value::Text(null))) => parts.push(null.clone()),
            (None, _) => {}
        }
    }
    Ok(Value::Text(parts.join(separator)))
}

fn overlay(row: &[Value]) -> PgResult<Value> {
    let source: Vec<char> = text(&row[0]).chars().collect();
    let placed = text(&row[1]);
    let start = row[2].as_i64().unwrap_or(0);
    let length = match row.get(3) {
        Some(n) => n.as_i64().unwrap_or(0),
        None => i64::try_from(placed.chars().count()).unwrap_or(i64::MAX),
    };
    if start <= 0 {
        return Err(PgError::new("22011", "negative substring length not allowed"));
    }
    let after = i32::try_from(start + length).map_err(|_| PgError::out_of_range("integer"))?;
    let before = usize::try_from(start - 1).unwrap_or(usize::MAX).min(source.len());
    let skip = usize::try_from((after - 1).max(0)).unwrap_or(usize::MAX).min(source.len());
    let mut out: String = source[..before].iter().collect();
    out.push_str(placed);
    out.extend(&source[skip..]);
    Ok(Value::Text(out))
}

pub(crate) fn definitions() -> Vec<Definition> {
    let strict = |name, plan| Definition { name, volatility: Volatility::Immutable, strict: true, plan };
    vec![
        strict("quote_ident", |n, c| {
            fixed(n, c, &[T::Text], T::Text, |_, r| Ok(Value::Text(quote_ident(text(&r[0])))))
        }),
        strict("quote_literal", |n, c| {
            fixed(n, c, &[T::Text], T::Text, |_, r| Ok(Value::Text(quote_literal(text(&r[0])))))
        }),
        Definition {
            name: "quote_nullable",
            volatility: Volatility::Immutable,
            strict: false,
            plan: |n, c| {
                fixed(n, c, &[T::Text], T::Text, |_, r| {
                    Ok(Value::Text(if r[0].is_null() { "NULL".into() } else { quote_literal(text(&r[0])) }))
                })
            },
        },
        Definition {
            name: "format",
            volatility: Volatility::Stable,
            strict: false,
            plan: |n, c| match c.types.first() {
                Some(T::Text | T::Unknown) => Ok(Plan::new(DataType::Utf8, format).makes_null()),
                _ => Err(no_function(n, &c.types)),
            },
        },
        Definition {
            name: "string_to_array",
            volatility: Volatility::Immutable,
            strict: false,
            plan: |n, c| {
                if !(2..=3).contains(&c.types.len()) || !c.types.iter().all(|t| t.converts_implicitly_to(&T::Text)) {
                    return Err(no_function(n, &c.types));
                }
                Ok(Plan::new(DataType::new_list(DataType::Utf8, true), |_, r| Ok(string_to_array(r)))
                    .taking(vec![T::Text; c.types.len()])
                    .makes_null())
            },
        },
        Definition {
            name: "array_to_string",
            volatility: Volatility::Stable,
            strict: false,
            plan: |n, c| match c.types.as_slice() {
                [T::List(_), T::Text | T::Unknown] | [T::List(_), T::Text | T::Unknown, T::Text | T::Unknown] => {
                    Ok(Plan::new(DataType::Utf8, array_to_string).makes_null())
                }
                types => Err(no_function(n, types)),
            },
        },
        strict("overlay", |n, c| {
            if c.types.len() == 4 {
                fixed(n, c, &[T::Text, T::Text, T::Int4, T::Int4], T::Text, |_, r| overlay(r))
            } else {
                fixed(n, c, &[T::Text, T::Text, T::Int4], T::Text, |_, r| overlay(r))
            }
        }),
        strict("chr", |n, c| {
            fixed(n, c, &[T::Int4], T::Text, |_, r| {
                let code = r[0].as_i64().unwrap_or(0);
                if code == 0 {
                    return Err(PgError::new("54000", "null character not permitted"));
                }
                if code < 0 {
                    return Err(PgError::new("22023", "character number must be positive"));
                }
                let known = u32::try_from(code).ok().and_then(char::from_u32);
                known.map(|ch| Value::Text(ch.into())).ok_or_else(|| {
                    if code > 0x0010_ffff {
                        PgError::new("54000", format!("requested character too large for encoding: {code}"))
                    } else {
                        PgError::new("54000", format!("requested character not valid for encoding: {code}"))
                    }
                })
            })
        }),
    ]
}
