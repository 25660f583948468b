//! Functions of times: what is cut, taken out of, or moved to another zone.

use std::sync::Arc;

use arrow::array::{Array, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs};

use crate::datetime::{
    DAY, HOUR, Interval, MINUTE, SECOND, Unit, Zone, civil_from_days, date_trunc, date_trunc_in_zone, days_from_civil,
    from_local, iso_week, to_local, unit_of, weekday_from_monday,
};
use crate::error::{PgError, PgResult};
use crate::function::{Call, Eval, Plan, no_function};
use crate::numeric::Numeric;
use crate::types::PgType as T;
use crate::value::Value;

use super::{int, text};

pub(super) fn plan_date_trunc(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    match call.types.as_slice() {
        [T::Text, T::Timestamp] => Ok(Plan::new(T::Timestamp.arrow(), |_, r| match &r[1] {
            Value::Timestamp(t) => Ok(Value::Timestamp(date_trunc(text(&r[0]), *t, WITHOUT_ZONE)?)),
            _ => Ok(Value::Null),
        })
        .fast(date_trunc_of_array)),
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

const WITHOUT_ZONE: &str = "timestamp without time zone";

/// `date_trunc` of many timestamps by one unit. Times of one bucket mostly stand beside each other, above all in rollups: most rows cost a comparison.
fn date_trunc_of_array(args: &ScalarFunctionArgs) -> Result<Option<ColumnarValue>> {
    let [ColumnarValue::Scalar(ScalarValue::Utf8(Some(unit))), ColumnarValue::Array(times)] = args.args.as_slice()
    else {
        return Ok(None);
    };
    let Some(times) = times.as_primitive_opt::<TimestampMicrosecondType>() else { return Ok(None) };
    let shortest = shortest_bucket(unit);
    // The bucket found last begins at `start`, and all of `start..end` is in it.
    let (mut start, mut end) = (0, 0);
    let mut cut = Vec::with_capacity(times.len());
    for (at, time) in times.values().iter().enumerate() {
        if times.is_null(at) {
            cut.push(0);
            continue;
        }
        if *time < start || *time >= end {
            start = date_trunc(unit, *time, WITHOUT_ZONE)?;
            end = start.saturating_add(shortest).max(time.saturating_add(1));
        }
        cut.push(start);
    }
    let cut = TimestampMicrosecondArray::new(cut.into(), times.nulls().cloned());
    Ok(Some(ColumnarValue::Array(Arc::new(cut))))
}

/// How long the buckets of a unit are at least, in microseconds.
fn shortest_bucket(unit: &str) -> i64 {
    match unit_of(unit) {
        Some(Unit::Millisecond) => 1000,
        Some(Unit::Second) => SECOND,
        Some(Unit::Minute) => MINUTE,
        Some(Unit::Hour) => HOUR,
        Some(Unit::Day) => DAY,
        Some(Unit::Week) => 7 * DAY,
        Some(Unit::Month) => 28 * DAY,
        Some(Unit::Quarter) => 90 * DAY,
        Some(Unit::Year) => 365 * DAY,
        Some(Unit::Decade) => 3652 * DAY,
        Some(Unit::Century) => 36_524 * DAY,
        Some(Unit::Millennium) => 365_242 * DAY,
        // Microseconds, and units that nothing is cut to.
        _ => 1,
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
pub(super) fn plan_extract(name: &str, call: &Call<'_>) -> PgResult<Plan> {
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

pub(super) fn plan_date_part(name: &str, call: &Call<'_>) -> PgResult<Plan> {
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
pub(super) fn plan_to_local(name: &str, call: &Call<'_>) -> PgResult<Plan> {
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
pub(super) fn plan_from_local(name: &str, call: &Call<'_>) -> PgResult<Plan> {
    match call.types.as_slice() {
        [T::Timestamp, T::Text] => Ok(Plan::new(T::Timestamptz.arrow(), |_, r| match &r[0] {
            Value::Timestamp(t) => Ok(Value::Timestamptz(from_local(*t, &Zone::parse(text(&r[1]))?)?)),
            _ => Ok(Value::Null),
        })),
        types => Err(no_function(name, types)),
    }
}

pub(super) fn plan_floor_minutes(name: &str, call: &Call<'_>) -> PgResult<Plan> {
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
pub(super) fn plan_timezone(name: &str, call: &Call<'_>) -> PgResult<Plan> {
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

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;
    use datafusion_common::config::ConfigOptions;

    use super::*;

    /// As a column, and time by time.
    #[test]
    fn times_of_an_array_are_cut_as_each_by_itself() {
        // Around starts of years, leap days, centuries and millennia, before and after our era and 1970.
        let starts = [
            (-1999, 1),
            (-99, 1),
            (0, 1),
            (1, 1),
            (101, 1),
            (1001, 1),
            (1582, 10),
            (1900, 2),
            (1970, 1),
            (2000, 2),
            (2001, 1),
        ];
        let mut times = Vec::new();
        for (year, month) in starts {
            let first = days_from_civil(year, month, 1) * DAY;
            for days in [-1, 0, 1, 6, 27, 28, 29, 30, 31, 58, 59, 60, 89, 90, 91, 92, 364, 365, 366, 3651, 3652, 3653] {
                for rest in [0, 0, 1, 999, 1000, SECOND - 1, SECOND, MINUTE, HOUR - 1, HOUR, DAY - 1] {
                    times.push(Some(first + days * DAY + rest));
                }
            }
            times.push(None);
        }
        let mut falling = times.clone();
        falling.sort_unstable_by(|a, b| b.cmp(a));
        for unit in [
            "microsecond",
            "milliseconds",
            "second",
            "minute",
            "HOUR",
            "day",
            "week",
            "month",
            "quarter",
            "year",
            "decade",
            "century",
            "millennium",
        ] {
            for times in [&times, &falling] {
                let array = TimestampMicrosecondArray::from(times.clone());
                let args = ScalarFunctionArgs {
                    args: vec![
                        ColumnarValue::Scalar(ScalarValue::Utf8(Some(unit.to_owned()))),
                        ColumnarValue::Array(Arc::new(array)),
                    ],
                    arg_fields: Vec::new(),
                    number_rows: times.len(),
                    return_field: Arc::new(Field::new("cut", T::Timestamp.arrow(), true)),
                    config_options: Arc::new(ConfigOptions::default()),
                };
                let cut = date_trunc_of_array(&args).expect("known units").expect("an array");
                let ColumnarValue::Array(cut) = cut else { panic!("a constant of an array") };
                let one =
                    |time: &Option<i64>| time.map(|time| date_trunc(unit, time, WITHOUT_ZONE).expect("a known unit"));
                let expected = TimestampMicrosecondArray::from(times.iter().map(one).collect::<Vec<_>>());
                assert_eq!(cut.as_primitive::<TimestampMicrosecondType>(), &expected, "{unit}");
            }
        }
    }
}
