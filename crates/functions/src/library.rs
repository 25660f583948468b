//! The named scalar functions. Each was compared with PostgreSQL 15 (see `golden.txt`); a function that is not here is not known.

mod numbers;
mod times;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_expr::{ScalarUDF, Volatility};

use crate::bins;
use crate::cast::{CastTarget, cast_value, to_f64, to_numeric};
use crate::datetime::{Zone, days_from_civil, to_local};
use crate::error::{PgError, PgResult};
use crate::function::{Call, Context, Definition, Eval, PgFunction, Plan, no_function};
use crate::numeric::Numeric;
use crate::output::format_value;
use crate::types::{PgType as T, common_type, decimal_parts, decimal_type};
use crate::value::Value;

use numbers::{
    FLOAT_FUNCTIONS, TRIGONOMETRIC, plan_abs, plan_ceil, plan_float_function, plan_floor, plan_mod, plan_power,
    plan_round, plan_sign, plan_to_char_of_number, plan_trigonometric, plan_trunc, whole_number_functions,
};
use times::{
    plan_date_part, plan_date_trunc, plan_extract, plan_floor_minutes, plan_from_local, plan_timezone, plan_to_local,
};

const I: Volatility = Volatility::Immutable;
const S: Volatility = Volatility::Stable;

/// All named scalar functions, to register.
///
/// Zone dependent, hence STABLE: `date_trunc`, `extract`/`date_part` and `concat`/`concat_ws`/`format` where they meet a timestamptz.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    definitions().iter().map(PgFunction::udf).collect()
}

/// The length by which PostgreSQL compares intervals, in microseconds: 30 days a month, 24 hours a day. Not for users' SQL.
pub fn interval_span() -> Arc<ScalarUDF> {
    PgFunction::udf(&strict("pg_interval_span", I, |n, c| {
        fixed(n, c, &[T::Interval], T::Numeric, |_, r| {
            Ok(match &r[0] {
                Value::Interval(interval) => Value::Numeric(Numeric::new(interval.comparison_micros(), 0)),
                _ => Value::Null,
            })
        })
    }))
}

const FLOOR_MINUTES: &str = "belvedere_floor_minutes";

/// `belvedere_floor_minutes(n, ts)`: the last multiple of n minutes since 1970 that is not after `ts`; n divides 60.
#[must_use]
pub fn floor_minutes() -> Arc<ScalarUDF> {
    PgFunction::udf(&strict(FLOOR_MINUTES, I, plan_floor_minutes))
}

fn strict(name: &'static str, volatility: Volatility, plan: fn(&str, &Call<'_>) -> PgResult<Plan>) -> Definition {
    Definition { name, volatility, strict: true, plan }
}

fn definitions() -> Vec<Definition> {
    let mut all = vec![
        strict("date_trunc", S, plan_date_trunc),
        strict("date_part", S, plan_date_part),
        strict("extract", S, plan_extract),
        strict("to_local", I, plan_to_local),
        strict("from_local", I, plan_from_local),
        strict("timezone", I, plan_timezone),
        strict("belvedere_bin", I, bins::plan_bin),
        strict("belvedere_bin_end", I, bins::plan_bin_end),
        strict("belvedere_axis", I, bins::plan_axis),
        strict(FLOOR_MINUTES, I, plan_floor_minutes),
        strict("make_date", I, |n, c| {
            fixed(n, c, &[T::Int4, T::Int4, T::Int4], T::Date, |_, r| {
                let (y, m, d) = (int(&r[0]), int(&r[1]), int(&r[2]));
                let bad = || PgError::datetime_overflow(format!("date field value out of range: {y}-{m:02}-{d:02}"));
                if y < 1 || !(1..=12).contains(&m) || d < 1 || d > crate::datetime::days_in_month(y, m) {
                    return Err(bad());
                }
                Ok(Value::Date(crate::datetime::check_date(days_from_civil(y, m, d))?))
            })
        }),
        strict("justify_hours", I, |n, c| {
            fixed(n, c, &[T::Interval], T::Interval, |_, r| match &r[0] {
                Value::Interval(i) => Ok(Value::Interval(i.justify_hours()?)),
                _ => Ok(Value::Null),
            })
        }),
        strict("justify_days", I, |n, c| {
            fixed(n, c, &[T::Interval], T::Interval, |_, r| match &r[0] {
                Value::Interval(i) => Ok(Value::Interval(i.justify_days()?)),
                _ => Ok(Value::Null),
            })
        }),
        strict("justify_interval", I, |n, c| {
            fixed(n, c, &[T::Interval], T::Interval, |_, r| match &r[0] {
                Value::Interval(i) => Ok(Value::Interval(i.justify()?)),
                _ => Ok(Value::Null),
            })
        }),
        strict("abs", I, plan_abs),
        strict("ceil", I, plan_ceil),
        strict("ceiling", I, plan_ceil),
        strict("floor", I, plan_floor),
        strict("round", I, plan_round),
        strict("trunc", I, plan_trunc),
        strict("sign", I, plan_sign),
        strict("mod", I, plan_mod),
        strict("div", I, |n, c| {
            if !c.types.iter().all(|t| t.is_integer() || matches!(t, T::Numeric | T::Unknown)) || c.types.len() != 2 {
                return Err(no_function(n, &c.types));
            }
            let (p, s) = decimal_parts(&c.data[0]).ok_or_else(|| no_function(n, &c.types))?;
            let (_, s2) = decimal_parts(&c.data[1]).ok_or_else(|| no_function(n, &c.types))?;
            Ok(Plan::new(decimal_type(i32::from(p) - i32::from(s) + i32::from(s2), 0), |_, r| {
                Ok(Value::Numeric(to_numeric(&r[0])?.div_whole(&to_numeric(&r[1])?)?))
            }))
        }),
        strict("power", I, plan_power),
        strict("pow", I, plan_power),
        strict("sqrt", I, |n, c| {
            if c.types.first() == Some(&T::Numeric) && c.types.len() == 1 {
                Ok(Plan::new(crate::types::QUOTIENT, |_, r| Ok(Value::Numeric(to_numeric(&r[0])?.sqrt()?))))
            } else {
                float1(n, c, |_, r| {
                    let x = f(&r[0]);
                    if x < 0.0 {
                        Err(PgError::new("2201F", "cannot take square root of a negative number"))
                    } else {
                        Ok(Value::Float8(x.sqrt()))
                    }
                })
            }
        }),
        strict("pi", I, |n, c| fixed(n, c, &[], T::Float8, |_, _| Ok(Value::Float8(std::f64::consts::PI)))),
        strict("degrees", I, |n, c| float1(n, c, |_, r| Ok(Value::Float8(f(&r[0]) / (std::f64::consts::PI / 180.0))))),
        strict("radians", I, |n, c| float1(n, c, |_, r| Ok(Value::Float8(f(&r[0]) * (std::f64::consts::PI / 180.0))))),
        Definition { name: "greatest", volatility: I, strict: false, plan: |n, c| plan_extreme(n, c, true) },
        Definition { name: "least", volatility: I, strict: false, plan: |n, c| plan_extreme(n, c, false) },
        strict("left", I, |n, c| {
            fixed(n, c, &[T::Text, T::Int4], T::Text, |_, r| {
                let t = text(&r[0]);
                let len = count(t);
                let k = int(&r[1]);
                let take = if k >= 0 { k } else { (len + k).max(0) };
                Ok(Value::Text(t.chars().take(size(take)).collect()))
            })
        }),
        strict("right", I, |n, c| {
            fixed(n, c, &[T::Text, T::Int4], T::Text, |_, r| {
                let t = text(&r[0]);
                let len = count(t);
                let k = int(&r[1]);
                let skip = if k >= 0 { (len - k).max(0) } else { -k };
                Ok(Value::Text(t.chars().skip(size(skip)).collect()))
            })
        }),
        strict("substr", I, plan_substr),
        strict("substring", I, plan_substr),
        strict("length", I, |n, c| fixed(n, c, &[T::Text], T::Int4, |_, r| len4(text(&r[0]).chars().count()))),
        strict("char_length", I, |n, c| fixed(n, c, &[T::Text], T::Int4, |_, r| len4(text(&r[0]).chars().count()))),
        strict("character_length", I, |n, c| {
            fixed(n, c, &[T::Text], T::Int4, |_, r| len4(text(&r[0]).chars().count()))
        }),
        strict("octet_length", I, |n, c| fixed(n, c, &[T::Text], T::Int4, |_, r| len4(text(&r[0]).len()))),
        strict("lower", I, |n, c| {
            fixed(n, c, &[T::Text], T::Text, |_, r| Ok(Value::Text(text(&r[0]).chars().map(lower1).collect())))
        }),
        strict("upper", I, |n, c| {
            fixed(n, c, &[T::Text], T::Text, |_, r| Ok(Value::Text(text(&r[0]).chars().map(upper1).collect())))
        }),
        strict("initcap", I, |n, c| {
            fixed(n, c, &[T::Text], T::Text, |_, r| {
                let mut inside = false;
                Ok(Value::Text(
                    text(&r[0])
                        .chars()
                        .map(|ch| {
                            let out = if inside { lower1(ch) } else { upper1(ch) };
                            inside = ch.is_alphanumeric();
                            out
                        })
                        .collect(),
                ))
            })
        }),
        strict("btrim", I, |n, c| {
            trim(n, c, |_, r| {
                let set = trim_set(r);
                Ok(Value::Text(text(&r[0]).trim_matches(|ch: char| set.contains(&ch)).to_owned()))
            })
        }),
        strict("ltrim", I, |n, c| {
            trim(n, c, |_, r| {
                let set = trim_set(r);
                Ok(Value::Text(text(&r[0]).trim_start_matches(|ch: char| set.contains(&ch)).to_owned()))
            })
        }),
        strict("rtrim", I, |n, c| {
            trim(n, c, |_, r| {
                let set = trim_set(r);
                Ok(Value::Text(text(&r[0]).trim_end_matches(|ch: char| set.contains(&ch)).to_owned()))
            })
        }),
        strict("replace", I, |n, c| {
            fixed(n, c, &[T::Text, T::Text, T::Text], T::Text, |_, r| {
                let from = text(&r[1]);
                if from.is_empty() {
                    return Ok(r[0].clone());
                }
                limited(text(&r[0]).matches(from).count().saturating_mul(text(&r[2]).len()))?;
                Ok(Value::Text(text(&r[0]).replace(from, text(&r[2]))))
            })
        }),
        strict("repeat", I, |n, c| {
            fixed(n, c, &[T::Text, T::Int4], T::Text, |_, r| {
                let k = size(int(&r[1]));
                limited(text(&r[0]).len().saturating_mul(k))?;
                Ok(Value::Text(text(&r[0]).repeat(k)))
            })
        }),
        strict("reverse", I, |n, c| {
            fixed(n, c, &[T::Text], T::Text, |_, r| Ok(Value::Text(text(&r[0]).chars().rev().collect())))
        }),
        strict("strpos", I, |n, c| {
            fixed(n, c, &[T::Text, T::Text], T::Int4, |_, r| match text(&r[0]).find(text(&r[1])) {
                Some(at) => len4(text(&r[0])[..at].chars().count() + 1),
                None => Ok(Value::Int4(0)),
            })
        }),
        // POSITION(x IN y) is strpos with the arguments turned.
        strict("position", I, |n, c| {
            fixed(n, c, &[T::Text, T::Text], T::Int4, |_, r| match text(&r[0]).find(text(&r[1])) {
                Some(at) => len4(text(&r[0])[..at].chars().count() + 1),
                None => Ok(Value::Int4(0)),
            })
        }),
        strict("split_part", I, |n, c| {
            fixed(n, c, &[T::Text, T::Text, T::Int4], T::Text, |_, r| {
                let (t, sep, k) = (text(&r[0]), text(&r[1]), int(&r[2]));
                if k == 0 {
                    return Err(PgError::new("22023", "field position must not be zero"));
                }
                let parts: Vec<&str> = if sep.is_empty() { vec![t] } else { t.split(sep).collect() };
                let at = if k > 0 { k - 1 } else { i64::try_from(parts.len()).unwrap_or(0) + k };
                Ok(Value::Text(
                    usize::try_from(at).ok().and_then(|at| parts.get(at)).map(|p| (*p).to_owned()).unwrap_or_default(),
                ))
            })
        }),
        strict("lpad", I, |n, c| pad(n, c, |_, r| pad_value(r, true))),
        strict("rpad", I, |n, c| pad(n, c, |_, r| pad_value(r, false))),
        strict("starts_with", I, |n, c| {
            fixed(n, c, &[T::Text, T::Text], T::Bool, |_, r| Ok(Value::Bool(text(&r[0]).starts_with(text(&r[1])))))
        }),
        strict("ascii", I, |n, c| {
            fixed(n, c, &[T::Text], T::Int4, |_, r| {
                Ok(Value::Int4(text(&r[0]).chars().next().map_or(0, |ch| i32::try_from(u32::from(ch)).unwrap_or(0))))
            })
        }),
        strict("md5", I, |n, c| {
            fixed(n, c, &[T::Text], T::Text, |_, r| {
                use md5::Digest;
                Ok(Value::Text(format_hex(&md5::Md5::digest(text(&r[0]).as_bytes()))))
            })
        }),
        strict("translate", I, |n, c| {
            fixed(n, c, &[T::Text, T::Text, T::Text], T::Text, |_, r| {
                let from: Vec<char> = text(&r[1]).chars().collect();
                let to: Vec<char> = text(&r[2]).chars().collect();
                Ok(Value::Text(
                    text(&r[0])
                        .chars()
                        .filter_map(|ch| match from.iter().position(|x| *x == ch) {
                            Some(at) => to.get(at).copied(),
                            None => Some(ch),
                        })
                        .collect(),
                ))
            })
        }),
        Definition {
            name: "concat",
            volatility: S,
            strict: false,
            plan: |_, _| {
                Ok(Plan::new(DataType::Utf8, |c, r| {
                    let mut out = String::new();
                    for v in r {
                        out.push_str(&shown(c, v)?.unwrap_or_default());
                    }
                    Ok(Value::Text(out))
                }))
            },
        },
        Definition {
            name: "concat_ws",
            volatility: S,
            strict: false,
            plan: |n, c| {
                if c.types.len() < 2 {
                    Err(no_function(n, &c.types))
                } else {
                    Ok(Plan::new(DataType::Utf8, |c, r| {
                        let Value::Text(sep) = &r[0] else { return Ok(Value::Null) };
                        let mut parts = Vec::new();
                        for v in &r[1..] {
                            if let Some(t) = shown(c, v)? {
                                parts.push(t);
                            }
                        }
                        Ok(Value::Text(parts.join(sep)))
                    })
                    .makes_null())
                }
            },
        },
        strict("isfinite", I, |n, c| {
            if c.types.len() == 1 && matches!(c.types[0], T::Date | T::Timestamp | T::Timestamptz | T::Interval) {
                Ok(Plan::new(DataType::Boolean, |_, _| Ok(Value::Bool(true))))
            } else {
                Err(no_function(n, &c.types))
            }
        }),
        strict("to_hex", I, |n, c| {
            if c.types.len() == 1 && c.types[0].is_integer() {
                Ok(Plan::new(DataType::Utf8, |_, r| {
                    Ok(Value::Text(match &r[0] {
                        Value::Int8(v) => format!("{v:x}"),
                        Value::Int2(v) => format!("{:x}", i32::from(*v)),
                        Value::Int4(v) => format!("{v:x}"),
                        _ => String::new(),
                    }))
                }))
            } else {
                Err(no_function(n, &c.types))
            }
        }),
        // The scalar half of avg: the planner splits avg(x) into sum(x) and count(x).
        strict("pg_avg_of", I, |n, c| match c.types.as_slice() {
            [sum, count] if count.is_integer() && sum.is_float() => Ok(Plan::new(DataType::Float64, |_, r| {
                let k = f(&r[1]);
                if k == 0.0 { Ok(Value::Null) } else { Ok(Value::Float8(f(&r[0]) / k)) }
            })
            .makes_null()),
            [sum, count] if count.is_integer() && (sum.is_integer() || *sum == T::Numeric) => {
                Ok(Plan::new(crate::types::QUOTIENT, |_, r| {
                    let k = to_numeric(&r[1])?;
                    if k.is_zero() { Ok(Value::Null) } else { Ok(Value::Numeric(to_numeric(&r[0])?.div(&k)?)) }
                })
                .makes_null())
            }
            [T::Interval, count] if count.is_integer() => Ok(Plan::new(T::Interval.arrow(), |_, r| match &r[0] {
                Value::Interval(i) if int(&r[1]) != 0 => Ok(Value::Interval(i.div(f(&r[1]))?)),
                _ => Ok(Value::Null),
            })
            .makes_null()),
            types => Err(no_function(n, types)),
        }),
    ];
    all.push(strict("to_char", S, |n, c| {
        if let [number, T::Text | T::Unknown] = c.types.as_slice()
            && number.is_number()
        {
            return plan_to_char_of_number(number);
        }
        if !matches!(c.types.as_slice(), [T::Date | T::Timestamp | T::Timestamptz, T::Text]) {
            return Err(no_function(n, &c.types));
        }
        let takes = vec![if c.types[0] == T::Date { T::Timestamp } else { c.types[0].clone() }, T::Text];
        Ok(Plan::new(DataType::Utf8, |c, r| {
            let local = match &r[0] {
                Value::Timestamp(t) => *t,
                Value::Timestamptz(t) => to_local(*t, &c.zone)?,
                _ => return Ok(Value::Null),
            };
            if text(&r[1]).is_empty() {
                return Ok(Value::Null);
            }
            Ok(Value::Text(crate::to_char::to_char(local, text(&r[1]))?))
        })
        .taking(takes)
        .makes_null())
    }));
    all.extend(FLOAT_FUNCTIONS.iter().map(|(name, _)| strict(name, I, plan_float_function)));
    all.extend(crate::mysql::definitions());
    all.extend(crate::pattern::definitions());
    all.extend(crate::text::definitions());
    all.extend(crate::calendar::definitions());
    all.extend(TRIGONOMETRIC.iter().map(|(name, _)| strict(name, I, plan_trigonometric)));
    all.extend(whole_number_functions());
    all
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}
fn f(value: &Value) -> f64 {
    to_f64(value).unwrap_or(f64::NAN)
}
fn text(value: &Value) -> &str {
    if let Value::Text(t) = value { t } else { "" }
}
fn count(t: &str) -> i64 {
    i64::try_from(t.chars().count()).unwrap_or(i64::MAX)
}
fn size(n: i64) -> usize {
    usize::try_from(n.max(0)).unwrap_or(usize::MAX)
}
fn len4(n: usize) -> PgResult<Value> {
    Ok(Value::Int4(i32::try_from(n).map_err(|_| PgError::out_of_range("integer"))?))
}
fn format_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// One character to one, as the C library's case tables do.
fn lower1(c: char) -> char {
    let mut l = c.to_lowercase();
    match (l.next(), l.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}
fn upper1(c: char) -> char {
    let mut l = c.to_uppercase();
    match (l.next(), l.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// A row may not grow beyond 16 MiB by a function of the client's choosing.
fn limited(bytes: usize) -> PgResult<()> {
    if bytes > 16 << 20 { Err(PgError::new("54000", "requested length too large")) } else { Ok(()) }
}

/// The text of any value, in `concat`'s way (booleans are t and f).
pub(crate) fn shown(context: &Context<'_>, value: &Value) -> PgResult<Option<String>> {
    match value {
        Value::Bool(b) => Ok(Some(if *b { "t" } else { "f" }.to_owned())),
        other => format_value(other, &T::Text, &context.zone),
    }
}

/// A function of fixed argument types; arguments that convert implicitly are converted.
pub(crate) fn fixed(name: &str, call: &Call<'_>, takes: &[T], ret: T, eval: Eval) -> PgResult<Plan> {
    let fits = call.types.len() == takes.len()
        && call.types.iter().zip(takes).all(|(from, to)| from.converts_implicitly_to(to));
    if !fits {
        return Err(no_function(name, &call.types));
    }
    Ok(Plan::new(ret.arrow(), eval).taking(takes.to_vec()))
}

fn float1(name: &str, call: &Call<'_>, eval: Eval) -> PgResult<Plan> {
    fixed(name, call, &[T::Float8], T::Float8, eval)
}

fn trim(name: &str, call: &Call<'_>, eval: Eval) -> PgResult<Plan> {
    if call.types.len() == 2 {
        fixed(name, call, &[T::Text, T::Text], T::Text, eval)
    } else {
        fixed(name, call, &[T::Text], T::Text, eval)
    }
}

fn trim_set(row: &[Value]) -> Vec<char> {
    row.get(1).map_or_else(|| vec![' '], |set| text(set).chars().collect())
}

fn pad(name: &str, call: &Call<'_>, eval: Eval) -> PgResult<Plan> {
    if call.types.len() == 3 {
        fixed(name, call, &[T::Text, T::Int4, T::Text], T::Text, eval)
    } else {
        fixed(name, call, &[T::Text, T::Int4], T::Text, eval)
    }
}

fn pad_value(row: &[Value], before: bool) -> PgResult<Value> {
    let t = text(&row[0]);
    let width = size(int(&row[1]));
    limited(width)?;
    let fill: Vec<char> = row.get(2).map_or_else(|| vec![' '], |p| text(p).chars().collect());
    let have = t.chars().count();
    if have >= width || fill.is_empty() {
        return Ok(Value::Text(t.chars().take(width).collect()));
    }
    let padding: String = fill.iter().cycle().take(width - have).collect();
    Ok(Value::Text(if before { format!("{padding}{t}") } else { format!("{t}{padding}") }))
}

fn plan_substr(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let eval: Eval = |_, r| {
        let start = int(&r[1]);
        let end = match r.get(2) {
            Some(len) => {
                if int(len) < 0 {
                    return Err(PgError::new("22011", "negative substring length not allowed"));
                }
                start.saturating_add(int(len))
            }
            None => i64::MAX,
        };
        let first = start.max(1);
        Ok(Value::Text(text(&r[0]).chars().skip(size(first - 1)).take(size(end.saturating_sub(first))).collect()))
    };
    if name == "substring" && call.types == [T::Text, T::Text] {
        return Ok(Plan::new(DataType::Utf8, |_, r| crate::pattern::substring(r)).makes_null());
    }
    if call.types.len() == 3 {
        fixed(name, call, &[T::Text, T::Int4, T::Int4], T::Text, eval)
    } else {
        fixed(name, call, &[T::Text, T::Int4], T::Text, eval)
    }
}

pub(crate) fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    use std::cmp::Ordering as O;
    let float = |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
        (true, true) => O::Equal,
        (true, false) => O::Greater,
        (false, true) => O::Less,
        _ => a.partial_cmp(&b).unwrap_or(O::Equal),
    };
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Numeric(a), Value::Numeric(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Bytea(a), Value::Bytea(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Time(a), Value::Time(b))
        | (Value::Timestamp(a), Value::Timestamp(b))
        | (Value::Timestamptz(a), Value::Timestamptz(b)) => a.cmp(b),
        (Value::Interval(a), Value::Interval(b)) => a.comparison_micros().cmp(&b.comparison_micros()),
        (Value::List(a), Value::List(b)) => {
            a.iter().zip(b).map(|(x, y)| compare(x, y)).find(|o| *o != O::Equal).unwrap_or(a.len().cmp(&b.len()))
        }
        _ => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => float(f(a), f(b)),
        },
    }
}

fn plan_extreme(name: &str, call: &Call<'_>, greatest: bool) -> PgResult<Plan> {
    if call.types.is_empty() {
        return Err(no_function(name, &call.types));
    }
    let ret = common_type(&call.data).ok_or_else(|| {
        let first = call.types.first().map(T::name).unwrap_or_default();
        let last = call.types.last().map(T::name).unwrap_or_default();
        PgError::new("42804", format!("{} types {first} and {last} cannot be matched", name.to_uppercase()))
    })?;
    let pg = T::of(&ret).ok_or_else(|| no_function(name, &call.types))?;
    let eval: Eval = if greatest {
        |_, r| Ok(extreme(r, std::cmp::Ordering::Greater))
    } else {
        |_, r| Ok(extreme(r, std::cmp::Ordering::Less))
    };
    Ok(Plan::new(ret, eval).taking(vec![pg; call.types.len()]).makes_null())
}

fn extreme(row: &[Value], wanted: std::cmp::Ordering) -> Value {
    let mut best: Option<&Value> = None;
    for value in row.iter().filter(|v| !v.is_null()) {
        if best.is_none_or(|b| compare(value, b) == wanted) {
            best = Some(value);
        }
    }
    best.cloned().unwrap_or(Value::Null)
}

/// For tests and folding: converts a value to a type.
///
/// # Errors
/// As [`cast_value`].
pub fn convert(value: Value, from: &T, to: &T, zone: &Zone) -> PgResult<Value> {
    cast_value(value, from, &CastTarget::from_type(to.clone()), zone)
}
