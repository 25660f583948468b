//! The named scalar functions. Each was compared with PostgreSQL 15 (see `golden.txt`); a function that is not here is not known.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_expr::{ScalarUDF, Volatility};

use crate::bins;
use crate::cast::{CastTarget, cast_value, to_f64, to_numeric};
use crate::datetime::{
    DAY, HOUR, Interval, MINUTE, SECOND, Unit, Zone, civil_from_days, date_trunc, date_trunc_in_zone, days_from_civil,
    from_local, iso_week, to_local, unit_of, weekday_from_monday,
};
use crate::error::{PgError, PgResult};
use crate::function::{Call, Context, Definition, Eval, PgFunction, Plan, no_function};
use crate::numeric::Numeric;
use crate::output::format_value;
use crate::types::{PgType as T, common_type, decimal_parts, decimal_type};
use crate::value::Value;

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

fn one_number<'a>(name: &str, call: &'a Call<'_>) -> PgResult<&'a T> {
    match call.types.as_slice() {
        [t] if t.is_number() => Ok(t),
        types => Err(no_function(name, types)),
    }
}

fn plan_abs(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    one_number(name, call)?;
    Ok(Plan::new(call.data[0].clone(), |_, r| {
        Ok(match &r[0] {
            Value::Int2(v) => Value::Int2(v.checked_abs().ok_or_else(|| PgError::out_of_range("smallint"))?),
            Value::Int4(v) => Value::Int4(v.checked_abs().ok_or_else(|| PgError::out_of_range("integer"))?),
            Value::Int8(v) => Value::Int8(v.checked_abs().ok_or_else(|| PgError::out_of_range("bigint"))?),
            Value::Float4(v) => Value::Float4(v.abs()),
            Value::Float8(v) => Value::Float8(v.abs()),
            Value::Numeric(v) => Value::Numeric(v.abs()),
            _ => Value::Null,
        })
    }))
}

fn whole_type(data: &DataType) -> DataType {
    let (p, s) = decimal_parts(data).unwrap_or((38, 0));
    decimal_type(i32::from(p) - i32::from(s) + 1, 0)
}

fn plan_ceil(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    if *one_number(name, call)? == T::Numeric {
        return Ok(Plan::new(whole_type(&call.data[0]), |_, r| Ok(Value::Numeric(to_numeric(&r[0])?.ceil()))));
    }
    float1(name, call, |_, r| Ok(Value::Float8(f(&r[0]).ceil())))
}

fn plan_floor(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    if *one_number(name, call)? == T::Numeric {
        return Ok(Plan::new(whole_type(&call.data[0]), |_, r| Ok(Value::Numeric(to_numeric(&r[0])?.floor()))));
    }
    float1(name, call, |_, r| Ok(Value::Float8(f(&r[0]).floor())))
}

/// `round(x)`, `round(x, n)`: the result has n digits where n is a constant, else as many as x has.
fn plan_rounding(name: &str, call: &Call<'_>, float: Eval, numeric: Eval) -> PgResult<Plan> {
    if let [t] = call.types.as_slice()
        && t.is_number()
        && *t != T::Numeric
    {
        return float1(name, call, float);
    }
    let exact = |t: &T| t.is_integer() || *t == T::Numeric;
    let fits = match call.types.as_slice() {
        [t] => exact(t),
        [t, n] => exact(t) && matches!(n, T::Int2 | T::Int4),
        _ => false,
    };
    if !fits {
        return Err(no_function(name, &call.types));
    }
    let (p, s) = decimal_parts(&call.data[0]).ok_or_else(|| no_function(name, &call.types))?;
    let digits = match call.scalars.get(1) {
        None if call.types.len() == 1 => Some(0),
        Some(Some(scalar)) => Value::of(scalar).ok().and_then(|v| v.as_i64()),
        _ => None,
    };
    let scale = digits.map_or(i32::from(s), |d| i32::try_from(d.clamp(0, 44)).unwrap_or(44));
    Ok(Plan::new(decimal_type(i32::from(p) - i32::from(s) + 1, scale), numeric))
}

fn position(row: &[Value]) -> i32 {
    row.get(1).map_or(0, |n| i32::try_from(int(n).clamp(-2000, 2000)).unwrap_or(0))
}

fn plan_round(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    plan_rounding(
        name,
        call,
        |_, r| Ok(Value::Float8(f(&r[0]).round_ties_even())),
        |_, r| Ok(Value::Numeric(shorten(&to_numeric(&r[0])?, position(r), false))),
    )
}

fn plan_trunc(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    plan_rounding(
        name,
        call,
        |_, r| Ok(Value::Float8(f(&r[0]).trunc())),
        |_, r| Ok(Value::Numeric(shorten(&to_numeric(&r[0])?, position(r), true))),
    )
}

/// Rounds or cuts; never adds zeros, so that a long `n` does not overflow the column.
fn shorten(number: &Numeric, position: i32, cut: bool) -> Numeric {
    if position >= i32::try_from(number.scale).unwrap_or(i32::MAX) {
        return number.clone();
    }
    if cut { number.trunc_at(position) } else { number.round_at(position) }
}

fn plan_sign(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    if *one_number(name, call)? == T::Numeric {
        return Ok(Plan::new(DataType::Decimal128(1, 0), |_, r| {
            Ok(Value::Numeric(Numeric::from(to_numeric(&r[0])?.signum())))
        }));
    }
    float1(name, call, |_, r| {
        let x = f(&r[0]);
        Ok(Value::Float8(if x > 0.0 {
            1.0
        } else if x < 0.0 {
            -1.0
        } else {
            x
        }))
    })
}

fn plan_mod(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let exact = |t: &T| t.is_integer() || matches!(t, T::Numeric | T::Unknown);
    if call.types.len() != 2 || !call.types.iter().all(exact) {
        return Err(no_function(name, &call.types));
    }
    crate::operator::plan_modulo(call)
}

fn plan_power(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    if call.types.len() != 2 || !call.types.iter().all(|t| t.is_number() || *t == T::Unknown) {
        return Err(no_function(name, &call.types));
    }
    crate::operator::plan_power(call)
}

/// PostgreSQL's order of two values of one type: NaN equal to itself and above all, text by code point, intervals by length.
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

fn plan_date_trunc(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    match call.types.as_slice() {
        [T::Text, T::Timestamp] => Ok(Plan::new(T::Timestamp.arrow(), |_, r| match &r[1] {
            Value::Timestamp(t) => Ok(Value::Timestamp(date_trunc(text(&r[0]), *t, "timestamp without time zone")?)),
            _ => Ok(Value::Null),
        })),
        // A date becomes a timestamptz, as in PostgreSQL.
        [T::Text, T::Date | T::Timestamptz] => Ok(Plan::new(T::Timestamptz.arrow(), |c, r| match &r[1] {
            Value::Timestamptz(t) => Ok(Value::Timestamptz(date_trunc_in_zone(text(&r[0]), *t, &c.zone)?)),
            _ => Ok(Value::Null),
        })
        .taking(vec![T::Text, T::Timestamptz])),
        [T::Text, T::Date | T::Timestamptz, T::Text] => Ok(Plan::new(T::Timestamptz.arrow(), |_, r| match &r[1] {
            Value::Timestamptz(t) => {
                Ok(Value::Timestamptz(date_trunc_in_zone(text(&r[0]), *t, &Zone::parse(text(&r[2]))?)?))
            }
            _ => Ok(Value::Null),
        })
        .taking(vec![T::Text, T::Timestamptz, T::Text])),
        [T::Text, T::Interval] => Ok(Plan::new(T::Interval.arrow(), |_, r| match &r[1] {
            Value::Interval(i) => Ok(Value::Interval(trunc_interval(text(&r[0]), *i)?)),
            _ => Ok(Value::Null),
        })),
        types => Err(no_function(name, types)),
    }
}

fn trunc_interval(unit: &str, i: Interval) -> PgResult<Interval> {
    let months = |n: i32| Interval { months: i.months / n * n, days: 0, micros: 0 };
    let micros = |n: i64| Interval { micros: i.micros / n * n, ..i };
    Ok(match unit_of(unit) {
        Some(Unit::Microsecond) => i,
        Some(Unit::Millisecond) => micros(1000),
        Some(Unit::Second) => micros(SECOND),
        Some(Unit::Minute) => micros(MINUTE),
        Some(Unit::Hour) => micros(HOUR),
        Some(Unit::Day) => Interval { micros: 0, ..i },
        Some(Unit::Month) => months(1),
        Some(Unit::Quarter) => months(3),
        Some(Unit::Year) => months(12),
        Some(Unit::Decade) => months(120),
        Some(Unit::Century) => months(1200),
        Some(Unit::Millennium) => months(12_000),
        Some(Unit::Week) => {
            return Err(PgError::unsupported(format!("unit \"{unit}\" not supported for type interval")));
        }
        _ => return Err(PgError::new("22023", format!("unit \"{unit}\" not recognized for type interval"))),
    })
}

/// A field of a date or time as PostgreSQL's numeric.
fn field(unit_name: &str, value: &Value, zone: &Zone) -> PgResult<Numeric> {
    let type_name = match value {
        Value::Date(_) => "date",
        Value::Time(_) => "time without time zone",
        Value::Timestamp(_) => "timestamp without time zone",
        Value::Timestamptz(_) => "timestamp with time zone",
        _ => "interval",
    };
    let unit = unit_of(unit_name)
        .ok_or_else(|| PgError::new("22023", format!("unit \"{unit_name}\" not recognized for type {type_name}")))?;
    let unsupported = || PgError::unsupported(format!("unit \"{unit_name}\" not supported for type {type_name}"));
    let whole = |n: i64| Ok(Numeric::from(n));
    if let Value::Interval(i) = value {
        return match unit {
            Unit::Microsecond => whole(i.micros % MINUTE),
            Unit::Millisecond => Ok(Numeric::new(i.micros % MINUTE, 3)),
            Unit::Second => Ok(Numeric::new(i.micros % MINUTE, 6)),
            Unit::Minute => whole(i.micros / MINUTE % 60),
            Unit::Hour => whole(i.micros / HOUR),
            Unit::Day => whole(i64::from(i.days)),
            Unit::Month => whole(i64::from(i.months % 12)),
            Unit::Quarter => whole(i64::from(i.months % 12 / 3 + 1)),
            Unit::Year => whole(i64::from(i.months / 12)),
            Unit::Decade => whole(i64::from(i.months / 120)),
            Unit::Century => whole(i64::from(i.months / 1200)),
            Unit::Millennium => whole(i64::from(i.months / 12_000)),
            Unit::Epoch => {
                // A year is 365.25 days here, the rest of the months 30 days each.
                let quarter_days =
                    i128::from(i.months / 12) * 1461 + i128::from(i.months % 12) * 120 + i128::from(i.days) * 4;
                Ok(Numeric::new(quarter_days * i128::from(DAY / 4) + i128::from(i.micros), 6))
            }
            _ => Err(unsupported()),
        };
    }
    let is_date = matches!(value, Value::Date(_));
    let (local, offset) = match value {
        Value::Date(d) => {
            (i64::from(*d).checked_mul(DAY).ok_or_else(|| PgError::datetime_overflow("date out of range"))?, None)
        }
        Value::Time(t) => (*t, None),
        Value::Timestamp(t) => (*t, None),
        Value::Timestamptz(t) => (to_local(*t, zone)?, Some(i64::from(zone.offset_at(*t)?))),
        _ => return Err(unsupported()),
    };
    let time = local.rem_euclid(DAY);
    let clock = match unit {
        Unit::Microsecond => Some(Numeric::from(time % MINUTE)),
        Unit::Millisecond => Some(Numeric::new(time % MINUTE, 3)),
        Unit::Second => Some(Numeric::new(time % MINUTE, 6)),
        Unit::Minute => Some(Numeric::from(time / MINUTE % 60)),
        Unit::Hour => Some(Numeric::from(time / HOUR)),
        _ => None,
    };
    if let Some(found) = clock {
        return if is_date { Err(unsupported()) } else { Ok(found) };
    }
    if matches!(value, Value::Time(_)) {
        return if unit == Unit::Epoch { Ok(Numeric::new(time, 6)) } else { Err(unsupported()) };
    }
    let days = local.div_euclid(DAY);
    let (year, month, day) = civil_from_days(days);
    let shown_year = if year > 0 { year } else { year - 1 };
    let group = |n: i64| if year > 0 { (year + n - 1) / n } else { -((n - 1 - (year - 1)) / n) };
    match unit {
        Unit::Day => whole(day),
        Unit::Month => whole(month),
        Unit::Quarter => whole((month - 1) / 3 + 1),
        Unit::Year => whole(shown_year),
        Unit::Week => whole(iso_week(days).1),
        Unit::Isoyear => {
            let y = iso_week(days).0;
            whole(if y > 0 { y } else { y - 1 })
        }
        Unit::Decade => whole(year.div_euclid(10)),
        Unit::Century => whole(group(100)),
        Unit::Millennium => whole(group(1000)),
        Unit::Dow => whole((weekday_from_monday(days) + 1) % 7),
        Unit::Isodow => whole(weekday_from_monday(days) + 1),
        Unit::Doy => whole(days - days_from_civil(year, 1, 1) + 1),
        Unit::Epoch => match value {
            Value::Date(_) => whole(days * 86_400),
            Value::Timestamptz(t) => Ok(Numeric::new(*t, 6)),
            _ => Ok(Numeric::new(local, 6)),
        },
        Unit::Julian if is_date => whole(days + 2_440_588),
        Unit::Timezone => offset.map(Numeric::from).ok_or_else(unsupported),
        Unit::TimezoneHour => offset.map(|o| Numeric::from(o / 3600)).ok_or_else(unsupported),
        Unit::TimezoneMinute => offset.map(|o| Numeric::from(o / 60 % 60)).ok_or_else(unsupported),
        _ => Err(unsupported()),
    }
}

fn dated(t: &T) -> bool {
    matches!(t, T::Date | T::Time | T::Timestamp | T::Timestamptz | T::Interval)
}

/// `extract(field from x)`: numeric. Its scale is the field's where the field is a constant (6 for seconds and epoch, 3 for milliseconds), else 6.
fn plan_extract(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let [T::Text, of] = call.types.as_slice() else { return Err(no_function(name, &call.types)) };
    if !dated(of) {
        return Err(no_function(name, &call.types));
    }
    let unit = call.scalars.first().copied().flatten().and_then(|s| Value::of(s).ok()).and_then(|v| unit_of(text(&v)));
    let scale = match unit {
        Some(Unit::Epoch) if *of == T::Date => 0,
        Some(Unit::Second | Unit::Epoch) | None => 6,
        Some(Unit::Millisecond) => 3,
        Some(_) => 0,
    };
    Ok(Plan::new(DataType::Decimal128(32, scale), |c, r| Ok(Value::Numeric(field(text(&r[0]), &r[1], &c.zone)?))))
}

fn plan_date_part(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let [T::Text, of] = call.types.as_slice() else { return Err(no_function(name, &call.types)) };
    if !dated(of) {
        return Err(no_function(name, &call.types));
    }
    let eval: Eval = |c, r| Ok(Value::Float8(field(text(&r[0]), &r[1], &c.zone)?.to_f64()));
    let plan = Plan::new(DataType::Float64, eval);
    // date_part reads a date as a timestamp.
    Ok(if *of == T::Date { plan.taking(vec![T::Text, T::Timestamp]) } else { plan })
}

/// `to_local(timestamptz or UTC timestamp, zone)`: the wall clock of a zone.
fn plan_to_local(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    match call.types.as_slice() {
        [T::Timestamptz | T::Timestamp, T::Text] => Ok(Plan::new(T::Timestamp.arrow(), |_, r| match &r[0] {
            Value::Timestamptz(t) | Value::Timestamp(t) => {
                Ok(Value::Timestamp(to_local(*t, &Zone::parse(text(&r[1]))?)?))
            }
            _ => Ok(Value::Null),
        })),
        types => Err(no_function(name, types)),
    }
}

/// `from_local(wall clock, zone)`: the instant.
fn plan_from_local(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    match call.types.as_slice() {
        [T::Timestamp, T::Text] => Ok(Plan::new(T::Timestamptz.arrow(), |_, r| match &r[0] {
            Value::Timestamp(t) => Ok(Value::Timestamptz(from_local(*t, &Zone::parse(text(&r[1]))?)?)),
            _ => Ok(Value::Null),
        })),
        types => Err(no_function(name, types)),
    }
}

fn plan_floor_minutes(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let eval: Eval = |_, r| {
        let minutes = int(&r[0]);
        if minutes < 1 || 60 % minutes != 0 {
            return Err(PgError::new("22023", format!("{minutes} minutes do not divide an hour")));
        }
        let floor = |time: i64| time - time.rem_euclid(minutes * MINUTE);
        Ok(match &r[1] {
            Value::Timestamp(t) => Value::Timestamp(floor(*t)),
            Value::Timestamptz(t) => Value::Timestamptz(floor(*t)),
            _ => Value::Null,
        })
    };
    match call.types.as_slice() {
        [T::Int4, time @ (T::Timestamp | T::Timestamptz)] => Ok(Plan::new(time.arrow(), eval)),
        types => Err(no_function(name, types)),
    }
}

/// `timezone(zone, x)`: `x AT TIME ZONE zone`, both ways.
fn plan_timezone(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let eval: Eval = |_, r| match &r[1] {
        Value::Timestamptz(t) => Ok(Value::Timestamp(to_local(*t, &Zone::parse(text(&r[0]))?)?)),
        Value::Timestamp(t) => Ok(Value::Timestamptz(from_local(*t, &Zone::parse(text(&r[0]))?)?)),
        _ => Ok(Value::Null),
    };
    match call.types.as_slice() {
        [T::Text, T::Timestamptz] => Ok(Plan::new(T::Timestamp.arrow(), eval)),
        [T::Text, T::Timestamp] => Ok(Plan::new(T::Timestamptz.arrow(), eval)),
        types => Err(no_function(name, types)),
    }
}

/// For tests and folding: converts a value to a type.
///
/// # Errors
/// As [`cast_value`].
pub fn convert(value: Value, from: &T, to: &T, zone: &Zone) -> PgResult<Value> {
    cast_value(value, from, &CastTarget::from_type(to.clone()), zone)
}

/// Functions of one double. Of numerics PostgreSQL computes them in numeric: refused.
const FLOAT_FUNCTIONS: &[(&str, Eval)] = &[
    ("exp", |_, r| {
        let (x, y) = (f(&r[0]), f(&r[0]).exp());
        if y.is_infinite() && x.is_finite() {
            return Err(PgError::new("22003", "value out of range: overflow"));
        }
        if y == 0.0 && x.is_finite() {
            return Err(PgError::new("22003", "value out of range: underflow"));
        }
        Ok(Value::Float8(y))
    }),
    ("ln", |_, r| logarithm(f(&r[0]), f64::ln)),
    ("log", |_, r| logarithm(f(&r[0]), f64::log10)),
    ("log10", |_, r| logarithm(f(&r[0]), f64::log10)),
    ("sin", |_, r| trigonometric(f(&r[0]), f64::sin)),
    ("cos", |_, r| trigonometric(f(&r[0]), f64::cos)),
    ("tan", |_, r| trigonometric(f(&r[0]), f64::tan)),
    ("atan", |_, r| Ok(Value::Float8(f(&r[0]).atan()))),
];

fn plan_to_char_of_number(of: &T) -> PgResult<Plan> {
    let takes = match of {
        T::Float4 | T::Float8 => T::Float8,
        T::Numeric => T::Numeric,
        _ => T::Int8,
    };
    let eval: Eval = |_, r| {
        let pattern = crate::to_char_number::Pattern::read(text(&r[1]))?;
        let number = match &r[0] {
            Value::Float8(x) => {
                if !x.is_finite() {
                    return Err(PgError::unsupported("to_char of NaN and infinity is not supported"));
                }
                // No digits beyond those that a double has.
                let whole = format!("{:.0}", x.abs()).len();
                let behind = pattern.behind.min(15_usize.saturating_sub(whole));
                let shown = format!("{:.behind$}", x.abs());
                return Ok(Value::Text(pattern.write(x.is_sign_negative() && *x != 0.0, &shown, behind)));
            }
            number => to_numeric(number)?.round(u32::try_from(pattern.behind).unwrap_or(u32::MAX)),
        };
        Ok(Value::Text(pattern.write(number.signum() < 0, &number.abs().to_string(), pattern.behind)))
    };
    Ok(Plan::new(DataType::Utf8, eval).taking(vec![takes, T::Text]))
}

fn logarithm(x: f64, of: fn(f64) -> f64) -> PgResult<Value> {
    if x == 0.0 {
        return Err(PgError::new("2201E", "cannot take logarithm of zero"));
    }
    if x < 0.0 {
        return Err(PgError::new("2201E", "cannot take logarithm of a negative number"));
    }
    Ok(Value::Float8(of(x)))
}

fn trigonometric(x: f64, of: fn(f64) -> f64) -> PgResult<Value> {
    if x.is_infinite() {
        return Err(PgError::new("22003", "input is out of range"));
    }
    Ok(Value::Float8(of(x)))
}

fn plan_float_function(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    let of_numeric = matches!(name, "exp" | "ln" | "log" | "log10") && call.types.first() == Some(&T::Numeric);
    if of_numeric {
        return Err(
            PgError::unsupported(format!("{name} of numeric is not supported")).with_hint("Cast to double precision.")
        );
    }
    let eval = FLOAT_FUNCTIONS
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, e)| *e)
        .ok_or_else(|| no_function(name, &call.types))?;
    float1(name, call, eval)
}

/// Functions of one double that PostgreSQL has for doubles only: numerics convert.
const TRIGONOMETRIC: &[(&str, Eval)] = &[
    ("asin", |_, r| within_one(f(&r[0]), f64::asin)),
    ("acos", |_, r| within_one(f(&r[0]), f64::acos)),
    ("tanh", |_, r| Ok(Value::Float8(f(&r[0]).tanh()))),
];

fn within_one(x: f64, of: fn(f64) -> f64) -> PgResult<Value> {
    if x.is_nan() || (-1.0..=1.0).contains(&x) {
        Ok(Value::Float8(of(x)))
    } else {
        Err(PgError::new("22003", "input is out of range"))
    }
}

fn plan_trigonometric(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    match TRIGONOMETRIC.iter().find(|(known, _)| *known == name) {
        Some((_, eval)) => float1(name, call, *eval),
        None => Err(no_function(name, &call.types)),
    }
}

/// `gcd lcm` of integers, `atan2`, `width_bucket` of exact numbers.
fn whole_number_functions() -> Vec<Definition> {
    vec![
        strict("atan2", I, |n, c| {
            fixed(n, c, &[T::Float8, T::Float8], T::Float8, |_, r| Ok(Value::Float8(f(&r[0]).atan2(f(&r[1])))))
        }),
        strict("gcd", I, |n, c| plan_divisor(n, c, |_, r| divisor(r, false))),
        strict("lcm", I, |n, c| plan_divisor(n, c, |_, r| divisor(r, true))),
        strict("width_bucket", I, |n, c| {
            let exact = |t: &T| t.is_integer() || *t == T::Numeric;
            match c.types.as_slice() {
                [x, low, high, count]
                    if [x, low, high].into_iter().all(exact) && matches!(count, T::Int2 | T::Int4) =>
                {
                    Ok(Plan::new(DataType::Int32, |_, r| {
                        let (x, low, high) = (to_numeric(&r[0])?, to_numeric(&r[1])?, to_numeric(&r[2])?);
                        bucket(&x, &low, &high, int(&r[3]))
                    }))
                }
                types if types.iter().any(T::is_float) => {
                    Err(PgError::unsupported("width_bucket of double precision is not supported")
                        .with_hint("Cast to numeric."))
                }
                types => Err(no_function(n, types)),
            }
        }),
    ]
}

fn plan_divisor(name: &str, call: &Call<'_>, eval: Eval) -> PgResult<Plan> {
    match call.types.as_slice() {
        [a, b] if a.is_integer() && b.is_integer() => {
            let wide = if *a == T::Int8 || *b == T::Int8 { T::Int8 } else { T::Int4 };
            Ok(Plan::new(wide.arrow(), eval).taking(vec![wide.clone(), wide]))
        }
        types if types.contains(&T::Numeric) => {
            Err(PgError::unsupported(format!("{name} of numeric is not supported")).with_hint("Cast to bigint."))
        }
        types => Err(no_function(name, types)),
    }
}

fn divisor(row: &[Value], is_multiple: bool) -> PgResult<Value> {
    let (a, b) = (i128::from(int(&row[0])), i128::from(int(&row[1])));
    let (mut x, mut y) = (a.abs(), b.abs());
    while y != 0 {
        (x, y) = (y, x % y);
    }
    let result = if !is_multiple {
        x
    } else if x == 0 {
        0
    } else {
        (a / x * b).abs()
    };
    if matches!(row[0], Value::Int8(_)) {
        i64::try_from(result).map(Value::Int8).map_err(|_| PgError::out_of_range("bigint"))
    } else {
        i32::try_from(result).map(Value::Int4).map_err(|_| PgError::out_of_range("integer"))
    }
}

fn bucket(x: &Numeric, low: &Numeric, high: &Numeric, count: i64) -> PgResult<Value> {
    if count <= 0 {
        return Err(PgError::new("2201G", "count must be greater than zero"));
    }
    if low == high {
        return Err(PgError::new("2201G", "lower bound cannot equal upper bound"));
    }
    let (x, low, high) =
        if low < high { (x.clone(), low.clone(), high.clone()) } else { (x.neg(), low.neg(), high.neg()) };
    let bucket = if x < low {
        0
    } else if x >= high {
        count + 1
    } else {
        let part = x.sub(&low).mul(&Numeric::from(count)).div_whole(&high.sub(&low))?;
        part.to_i64_rounded().unwrap_or(0) + 1
    };
    i32::try_from(bucket).map(Value::Int4).map_err(|_| PgError::out_of_range("integer"))
}
