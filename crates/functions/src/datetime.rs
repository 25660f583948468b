//! Calendar and clock: days, microseconds, time zones and intervals, over the whole range that Arrow's microseconds hold.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::error::{PgError, PgResult};
use crate::zone::posix;
use arrow::datatypes::IntervalMonthDayNano;

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Microseconds in an hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day.
pub const DAY: i64 = 24 * HOUR;

/// An interval as PostgreSQL stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interval {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

#[expect(clippy::should_implement_trait, reason = "the operator traits cannot fail, these do")]
impl Interval {
    /// From Arrow's form.
    ///
    /// # Errors
    /// 22008 if it has nanoseconds: rounding would be silent.
    pub fn from_arrow(value: IntervalMonthDayNano) -> PgResult<Self> {
        if value.nanoseconds % 1000 != 0 {
            return Err(PgError::datetime_overflow("interval is finer than a microsecond"));
        }
        Ok(Self { months: value.months, days: value.days, micros: value.nanoseconds / 1000 })
    }

    /// To Arrow's form.
    ///
    /// # Errors
    /// 22008 beyond 2 562 047 hours, where Arrow's nanoseconds end (PostgreSQL's microseconds reach further).
    pub fn to_arrow(self) -> PgResult<IntervalMonthDayNano> {
        let nanoseconds =
            self.micros.checked_mul(1000).ok_or_else(|| PgError::datetime_overflow("interval out of range"))?;
        Ok(IntervalMonthDayNano { months: self.months, days: self.days, nanoseconds })
    }

    /// The length that PostgreSQL compares by: 30 days a month, 24 hours a day.
    pub fn comparison_micros(self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * i128::from(DAY) + i128::from(self.micros)
    }

    /// Field by field sum.
    ///
    /// # Errors
    /// 22008.
    pub fn add(self, other: Self) -> PgResult<Self> {
        let out = || PgError::datetime_overflow("interval out of range");
        Ok(Self {
            months: self.months.checked_add(other.months).ok_or_else(out)?,
            days: self.days.checked_add(other.days).ok_or_else(out)?,
            micros: self.micros.checked_add(other.micros).ok_or_else(out)?,
        })
    }

    /// Field by field negation.
    ///
    /// # Errors
    /// 22008.
    pub fn neg(self) -> PgResult<Self> {
        let out = || PgError::datetime_overflow("interval out of range");
        Ok(Self {
            months: self.months.checked_neg().ok_or_else(out)?,
            days: self.days.checked_neg().ok_or_else(out)?,
            micros: self.micros.checked_neg().ok_or_else(out)?,
        })
    }

    /// Times a number, fractions cascading from months to days to microseconds as in PostgreSQL.
    ///
    /// # Errors
    /// 22008.
    pub fn mul(self, factor: f64) -> PgResult<Self> {
        let out = || PgError::datetime_overflow("interval out of range");
        let whole = |v: f64| -> PgResult<i32> {
            #[expect(clippy::cast_possible_truncation, reason = "checked just before")]
            if v.is_nan() || v > f64::from(i32::MAX) || v < f64::from(i32::MIN) { Err(out()) } else { Ok(v as i32) }
        };
        let months_f = f64::from(self.months) * factor;
        let days_f = f64::from(self.days) * factor;
        let months = whole(months_f)?;
        let mut days = whole(days_f)?;
        let settle = |v: f64| (v * 1e6).round_ties_even() / 1e6;
        let mut month_days = settle((months_f - f64::from(months)) * 30.0);
        let mut seconds = settle((days_f - f64::from(days) + month_days - month_days.trunc()) * 86_400.0);
        if seconds.abs() >= 86_400.0 {
            let carry = (seconds / 86_400.0).trunc();
            days = days.checked_add(whole(carry)?).ok_or_else(out)?;
            seconds -= carry * 86_400.0;
        }
        month_days = month_days.trunc();
        days = days.checked_add(whole(month_days)?).ok_or_else(out)?;
        #[expect(clippy::cast_precision_loss, reason = "PostgreSQL computes in double here too")]
        let micros = (self.micros as f64 * factor + seconds * 1e6).round_ties_even();
        Ok(Self { months, days, micros: f64_to_i64(micros).ok_or_else(out)? })
    }

    /// Divided by a number.
    ///
    /// # Errors
    /// 22012, 22008.
    pub fn div(self, divisor: f64) -> PgResult<Self> {
        if divisor == 0.0 {
            return Err(PgError::division_by_zero());
        }
        let out = || PgError::datetime_overflow("interval out of range");
        let whole = |v: f64| -> PgResult<i32> {
            #[expect(clippy::cast_possible_truncation, reason = "checked just before")]
            if v.is_nan() || v > f64::from(i32::MAX) || v < f64::from(i32::MIN) { Err(out()) } else { Ok(v as i32) }
        };
        let months_f = f64::from(self.months) / divisor;
        let days_f = f64::from(self.days) / divisor;
        let months = whole(months_f)?;
        let mut days = whole(days_f)?;
        let settle = |v: f64| (v * 1e6).round_ties_even() / 1e6;
        let month_days = settle((months_f - f64::from(months)) * 30.0);
        let mut seconds = settle((days_f - f64::from(days) + month_days - month_days.trunc()) * 86_400.0);
        if seconds.abs() >= 86_400.0 {
            let carry = (seconds / 86_400.0).trunc();
            days = days.checked_add(whole(carry)?).ok_or_else(out)?;
            seconds -= carry * 86_400.0;
        }
        days = days.checked_add(whole(month_days.trunc())?).ok_or_else(out)?;
        #[expect(clippy::cast_precision_loss, reason = "PostgreSQL computes in double here too")]
        let micros = (self.micros as f64 / divisor + seconds * 1e6).round_ties_even();
        Ok(Self { months, days, micros: f64_to_i64(micros).ok_or_else(out)? })
    }

    /// `justify_hours`: 24 hours become a day.
    ///
    /// # Errors
    /// 22008.
    pub fn justify_hours(self) -> PgResult<Self> {
        let out = || PgError::datetime_overflow("interval out of range");
        let extra = self.micros / DAY;
        let mut micros = self.micros - extra * DAY;
        let mut days = i64::from(self.days) + extra;
        if days > 0 && micros < 0 {
            micros += DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= DAY;
            days += 1;
        }
        Ok(Self { months: self.months, days: i32::try_from(days).map_err(|_| out())?, micros })
    }

    /// `justify_days`: 30 days become a month.
    ///
    /// # Errors
    /// 22008.
    pub fn justify_days(self) -> PgResult<Self> {
        let out = || PgError::datetime_overflow("interval out of range");
        let extra = self.days / 30;
        let mut days = self.days - extra * 30;
        let mut months = self.months.checked_add(extra).ok_or_else(out)?;
        if months > 0 && days < 0 {
            days += 30;
            months -= 1;
        } else if months < 0 && days > 0 {
            days -= 30;
            months += 1;
        }
        Ok(Self { months, days, micros: self.micros })
    }

    /// `justify_interval`: both, with one sign for all fields.
    ///
    /// # Errors
    /// 22008.
    pub fn justify(self) -> PgResult<Self> {
        let out = || PgError::datetime_overflow("interval out of range");
        let mut days = i64::from(self.days) + self.micros / DAY;
        let mut micros = self.micros % DAY;
        let mut months = i64::from(self.months) + days / 30;
        days %= 30;
        if months > 0 && (days < 0 || (days == 0 && micros < 0)) {
            days += 30;
            months -= 1;
        } else if months < 0 && (days > 0 || (days == 0 && micros > 0)) {
            days -= 30;
            months += 1;
        }
        if days > 0 && micros < 0 {
            micros += DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= DAY;
            days += 1;
        }
        Ok(Self {
            months: i32::try_from(months).map_err(|_| out())?,
            days: i32::try_from(days).map_err(|_| out())?,
            micros,
        })
    }
}

/// A double as an integer, `None` outside its range or for NaN.
pub fn f64_to_i64(value: f64) -> Option<i64> {
    // 2^63 is the first double that does not fit.
    #[expect(clippy::cast_possible_truncation, reason = "checked by the guard")]
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) { Some(value as i64) } else { None }
}

/// Days since 1970-01-01 of a proleptic Gregorian date. Year 0 is 1 BC.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// Year, month and day of a day number.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// 28 to 31.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Day of the week, Monday 0.
pub fn weekday_from_monday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

/// ISO year and week of a day.
pub fn iso_week(days: i64) -> (i64, i64) {
    // The Thursday of the week decides the year.
    let thursday = days - weekday_from_monday(days) + 3;
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// Microseconds from a date and a time of day.
///
/// # Errors
/// 22008.
pub fn timestamp_from(days: i64, micros: i64) -> PgResult<i64> {
    days.checked_mul(DAY)
        .and_then(|v| v.checked_add(micros))
        .ok_or_else(|| PgError::datetime_overflow("timestamp out of range"))
        .and_then(check_timestamp)
}

/// Start of PostgreSQL's range, 4714-11-24 BC.
pub const MIN_TIMESTAMP: i64 = -210_866_803_200 * SECOND;

/// Refuses what lies before 4714-11-24 BC; the far end is where 64-bit microseconds end, in the year 294247 (PostgreSQL: 294276).
///
/// # Errors
/// 22008.
pub fn check_timestamp(micros: i64) -> PgResult<i64> {
    if micros < MIN_TIMESTAMP { Err(PgError::datetime_overflow("timestamp out of range")) } else { Ok(micros) }
}

/// A date as days, checked against PostgreSQL's range.
///
/// # Errors
/// 22008.
pub fn check_date(days: i64) -> PgResult<i32> {
    if !(-2_440_588..=2_145_042_540).contains(&days) {
        return Err(PgError::datetime_overflow("date out of range"));
    }
    i32::try_from(days).map_err(|_| PgError::datetime_overflow("date out of range"))
}

/// Adds months to a day number, the day of the month clipped to the month's length.
///
/// # Errors
/// 22008.
pub fn add_months(days: i64, months: i64) -> i64 {
    let (year, month, day) = civil_from_days(days);
    let index = year * 12 + (month - 1) + months;
    let (year, month) = (index.div_euclid(12), index.rem_euclid(12) + 1);
    days_from_civil(year, month, day.min(days_in_month(year, month)))
}

/// `timestamp + interval` on a wall clock.
///
/// # Errors
/// 22008.
pub fn add_interval(ts: i64, interval: Interval) -> PgResult<i64> {
    let out = || PgError::datetime_overflow("timestamp out of range");
    let mut days = ts.div_euclid(DAY);
    let time = ts.rem_euclid(DAY);
    if interval.months != 0 {
        days = add_months(days, i64::from(interval.months));
    }
    days += i64::from(interval.days);
    let base = days.checked_mul(DAY).and_then(|v| v.checked_add(time)).ok_or_else(out)?;
    base.checked_add(interval.micros).ok_or_else(out).and_then(check_timestamp)
}

/// `timestamptz + interval`: months and days move the wall clock of the zone, the rest moves the instant.
///
/// # Errors
/// 22008.
pub fn add_interval_in_zone(utc: i64, interval: Interval, zone: &Zone) -> PgResult<i64> {
    let mut at = utc;
    if interval.months != 0 {
        let local = to_local(at, zone)?;
        at = from_local(add_interval(local, Interval { months: interval.months, ..Interval::default() })?, zone)?;
    }
    if interval.days != 0 {
        let local = to_local(at, zone)?;
        at = from_local(add_interval(local, Interval { days: interval.days, ..Interval::default() })?, zone)?;
    }
    at.checked_add(interval.micros)
        .ok_or_else(|| PgError::datetime_overflow("timestamp out of range"))
        .and_then(check_timestamp)
}

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Zone {
    /// A fixed offset, seconds east of Greenwich.
    Fixed(i32),
    /// A zone of the tz database.
    Named(Tz),
}

/// Abbreviations of PostgreSQL's default set that people write, seconds east.
const ABBREVIATIONS: &[(&str, i32)] = &[
    ("utc", 0),
    ("gmt", 0),
    ("z", 0),
    ("zulu", 0),
    ("uct", 0),
    ("ut", 0),
    ("wet", 0),
    ("west", 3600),
    ("bst", 3600),
    ("cet", 3600),
    ("cest", 7200),
    ("met", 3600),
    ("mest", 7200),
    ("eet", 7200),
    ("eest", 10800),
    ("msk", 10800),
    ("est", -18000),
    ("edt", -14400),
    ("cst", -21600),
    ("cdt", -18000),
    ("mst", -25200),
    ("mdt", -21600),
    ("pst", -28800),
    ("pdt", -25200),
    ("akst", -32400),
    ("akdt", -28800),
    ("hst", -36000),
    ("jst", 32400),
    ("kst", 32400),
    ("ist", 7200),
    ("aest", 36000),
    ("aedt", 39600),
    ("awst", 28800),
    ("nzst", 43200),
    ("nzdt", 46800),
    ("sast", 7200),
];

impl Zone {
    /// UTC.
    pub const UTC: Self = Self::Fixed(0);

    /// A zone by the name that SQL gives in a literal or AT TIME ZONE: abbreviation, tz database name in any case, or a POSIX offset such
    /// as `+02` (west positive, as in PostgreSQL).
    ///
    /// # Errors
    /// 22023 `time zone "x" not recognized`.
    pub fn parse(name: &str) -> PgResult<Self> {
        let trimmed = name.trim();
        let lower = trimmed.to_ascii_lowercase();
        if let Some((_, offset)) = ABBREVIATIONS.iter().find(|(n, _)| *n == lower) {
            return Ok(Self::Fixed(*offset));
        }
        let zone = trimmed.parse::<Tz>().ok().or_else(|| Tz::from_str_insensitive(trimmed).ok());
        match (zone, posix(trimmed)) {
            (Some(zone), _) => Ok(Self::from(zone)),
            (None, Some(offset)) => Ok(Self::Fixed(offset?)),
            (None, None) => Err(PgError::new("22023", format!("time zone \"{name}\" not recognized"))),
        }
    }

    /// Offset in seconds east of Greenwich at an instant.
    ///
    /// # Errors
    /// 22008 where the calendar library ends.
    pub fn offset_at(&self, utc_micros: i64) -> PgResult<i32> {
        match self {
            Self::Fixed(offset) => Ok(*offset),
            Self::Named(zone) => {
                let seconds = within_table(utc_micros.div_euclid(SECOND));
                let naive = DateTime::from_timestamp(seconds, 0)
                    .ok_or_else(|| PgError::datetime_overflow("timestamp out of range"))?
                    .naive_utc();
                Ok(zone.offset_from_utc_datetime(&naive).fix().local_minus_utc())
            }
        }
    }
}

/// First second of the year 2100 and of 2072: the zone table ends at 2100, its rules do not. Later years are looked up in the year of
/// 2072..2099 with the same calendar.
fn within_table(seconds: i64) -> i64 {
    const DAY_S: i64 = 86_400;
    let days = seconds.div_euclid(DAY_S);
    let (year, month, day) = civil_from_days(days);
    if year < 2100 {
        // Before the table every zone has its first (local mean) offset.
        return seconds.max(days_from_civil(1000, 1, 1) * DAY_S);
    }
    let first_weekday = weekday_from_monday(days_from_civil(year, 1, 1));
    let leap = days_in_month(year, 2);
    for candidate in 2072..2100 {
        if weekday_from_monday(days_from_civil(candidate, 1, 1)) == first_weekday && days_in_month(candidate, 2) == leap
        {
            return days_from_civil(candidate, month, day) * DAY_S + seconds.rem_euclid(DAY_S);
        }
    }
    seconds
}

/// `+02`, `-05:30`, `+0530`, `+05:30:15` as seconds with the written sign.
pub fn parse_offset(text: &str) -> Option<i32> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let body = &text[1..];
    if body.is_empty() || !body.bytes().all(|b| b.is_ascii_digit() || b == b':') {
        return None;
    }
    let (h, m, s): (i32, i32, i32) = if body.contains(':') {
        let mut parts = body.split(':');
        (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next().map_or(Some(0), |p| p.parse().ok())?)
    } else {
        match body.len() {
            1 | 2 => (body.parse().ok()?, 0, 0),
            3 => (body[..1].parse().ok()?, body[1..].parse().ok()?, 0),
            4 => (body[..2].parse().ok()?, body[2..].parse().ok()?, 0),
            6 => (body[..2].parse().ok()?, body[2..4].parse().ok()?, body[4..].parse().ok()?),
            _ => return None,
        }
    };
    if h > 15 || m > 59 || s > 59 {
        return None;
    }
    Some(sign * (h * 3600 + m * 60 + s))
}

/// The wall clock of a zone at an instant.
///
/// # Errors
/// 22008.
pub fn to_local(utc: i64, zone: &Zone) -> PgResult<i64> {
    utc.checked_add(i64::from(zone.offset_at(utc)?) * SECOND)
        .ok_or_else(|| PgError::datetime_overflow("timestamp out of range"))
}

/// The instant at which the wall clock of a zone shows `local`. As in PostgreSQL, a time that the clock skips is read with the offset before
/// the gap, a time that it shows twice is the later one (with the offset after the change).
///
/// # Errors
/// 22008.
pub fn from_local(local: i64, zone: &Zone) -> PgResult<i64> {
    let out = || PgError::datetime_overflow("timestamp out of range");
    if let Zone::Fixed(offset) = zone {
        return local.checked_sub(i64::from(*offset) * SECOND).ok_or_else(out).and_then(check_timestamp);
    }
    let before = i64::from(zone.offset_at(local.saturating_sub(DAY))?) * SECOND;
    let after = i64::from(zone.offset_at(local.saturating_add(DAY))?) * SECOND;
    let at_before = local.checked_sub(before).ok_or_else(out)?;
    let at_after = local.checked_sub(after).ok_or_else(out)?;
    let shows = |utc: i64, offset: i64| Ok::<bool, PgError>(i64::from(zone.offset_at(utc)?) * SECOND == offset);
    let utc = match (shows(at_before, before)?, shows(at_after, after)?) {
        (_, true) => at_after,
        (true, false) | (false, false) => at_before,
    };
    check_timestamp(utc)
}

/// Rounds microseconds to `digits` fractional digits of a second, half away from zero.
pub fn round_fraction(micros: i64, digits: u32) -> i64 {
    if digits >= 6 {
        return micros;
    }
    let step = 10i64.pow(6 - digits);
    let half = step / 2;
    if micros >= 0 { (micros + half) / step * step } else { -((half - micros) / step * step) }
}

/// Truncates a wall clock to a unit.
///
/// # Errors
/// 22023 for a unit that PostgreSQL does not know.
pub fn date_trunc(unit: &str, ts: i64, type_name: &str) -> PgResult<i64> {
    let days = ts.div_euclid(DAY);
    let (year, month, _) = civil_from_days(days);
    let at = |y: i64, m: i64| timestamp_from(days_from_civil(y, m, 1), 0);
    // Years before 1 AD count 1 BC as 0 here.
    let group = |n: i64| {
        if year > 0 { (year + n - 1) / n * n - n + 1 } else { -((n - 1 - (year - 1)) / n) * n + 1 }
    };
    match unit_of(unit) {
        Some(Unit::Microsecond) => Ok(ts),
        Some(Unit::Millisecond) => Ok(ts - ts.rem_euclid(1000)),
        Some(Unit::Second) => Ok(ts - ts.rem_euclid(SECOND)),
        Some(Unit::Minute) => Ok(ts - ts.rem_euclid(MINUTE)),
        Some(Unit::Hour) => Ok(ts - ts.rem_euclid(HOUR)),
        Some(Unit::Day) => timestamp_from(days, 0),
        Some(Unit::Week) => timestamp_from(days - weekday_from_monday(days), 0),
        Some(Unit::Month) => at(year, month),
        Some(Unit::Quarter) => at(year, (month - 1) / 3 * 3 + 1),
        Some(Unit::Year) => at(year, 1),
        Some(Unit::Decade) => at(year.div_euclid(10) * 10, 1),
        Some(Unit::Century) => at(group(100), 1),
        Some(Unit::Millennium) => at(group(1000), 1),
        Some(Unit::Timezone | Unit::TimezoneHour | Unit::TimezoneMinute) => {
            Err(PgError::new("0A000", format!("unit \"{unit}\" not supported for type {type_name}")))
        }
        _ => Err(PgError::new("22023", format!("unit \"{unit}\" not recognized for type {type_name}"))),
    }
}

/// `date_trunc` of a timestamptz: on the wall clock of `zone` and back. Units below a day are cut on the instant, so that the second of two
/// equal hours stays what it is.
///
/// # Errors
/// As [`date_trunc`].
pub fn date_trunc_in_zone(unit: &str, utc: i64, zone: &Zone) -> PgResult<i64> {
    let name = "timestamp with time zone";
    let offset = i64::from(zone.offset_at(utc)?) * SECOND;
    let local = to_local(utc, zone)?;
    let cut = date_trunc(unit, local, name)?;
    match unit_of(unit) {
        Some(Unit::Microsecond | Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour) => {
            cut.checked_sub(offset).ok_or_else(|| PgError::datetime_overflow("timestamp out of range"))
        }
        _ => from_local(cut, zone),
    }
}

/// Units of `extract`, `date_trunc` and interval input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// microseconds
    Microsecond,
    /// milliseconds
    Millisecond,
    /// seconds
    Second,
    /// minutes
    Minute,
    /// hours
    Hour,
    /// days
    Day,
    /// weeks, from Monday
    Week,
    /// months
    Month,
    /// quarters
    Quarter,
    /// years
    Year,
    /// decades
    Decade,
    /// centuries
    Century,
    /// millennia
    Millennium,
    /// day of week, Sunday 0
    Dow,
    /// day of week, Monday 1
    Isodow,
    /// day of year
    Doy,
    /// ISO year
    Isoyear,
    /// seconds since 1970
    Epoch,
    /// Julian day
    Julian,
    /// offset of the zone
    Timezone,
    /// its hours
    TimezoneHour,
    /// its minutes
    TimezoneMinute,
}

/// A unit by any of its names.
pub fn unit_of(name: &str) -> Option<Unit> {
    Some(match name.trim().to_ascii_lowercase().as_str() {
        "microseconds" | "microsecond" | "us" | "usec" | "usecs" | "microsecon" | "usecond" | "useconds" => {
            Unit::Microsecond
        }
        "milliseconds" | "millisecond" | "ms" | "msec" | "msecs" | "mseconds" | "msecond" => Unit::Millisecond,
        "second" | "seconds" | "sec" | "secs" | "s" => Unit::Second,
        "minute" | "minutes" | "min" | "mins" | "m" => Unit::Minute,
        "hour" | "hours" | "hr" | "hrs" | "h" => Unit::Hour,
        "day" | "days" | "d" => Unit::Day,
        "week" | "weeks" | "w" => Unit::Week,
        "month" | "months" | "mon" | "mons" => Unit::Month,
        "quarter" | "qtr" => Unit::Quarter,
        "year" | "years" | "yr" | "yrs" | "y" => Unit::Year,
        "decade" | "decades" | "dec" | "decs" => Unit::Decade,
        "century" | "centuries" | "cent" | "c" => Unit::Century,
        "millennium" | "millennia" | "mil" | "mils" => Unit::Millennium,
        "dow" => Unit::Dow,
        "isodow" => Unit::Isodow,
        "doy" => Unit::Doy,
        "isoyear" => Unit::Isoyear,
        "epoch" => Unit::Epoch,
        "julian" => Unit::Julian,
        "timezone" => Unit::Timezone,
        "timezone_hour" | "timezone_h" => Unit::TimezoneHour,
        "timezone_minute" | "timezone_m" => Unit::TimezoneMinute,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{HOUR, Interval, Zone, days_from_civil, timestamp_from};
    use crate::bins::bin;
    use crate::error::PgResult;

    fn months_days(months: i32, days: i32, origin: i64, ts: i64) -> PgResult<i64> {
        bin(Interval { months, days, micros: 0 }, origin, ts)
    }

    #[test]
    fn cet_has_summer_time_as_session_zone_and_none_as_abbreviation() -> PgResult<()> {
        let july = timestamp_from(days_from_civil(2024, 7, 1), 12 * HOUR)?;
        assert_eq!(Zone::set("CET")?.0.offset_at(july)?, 7200);
        assert_eq!(Zone::parse("CET")?.offset_at(july)?, 3600);
        Ok(())
    }

    #[test]
    fn bins_of_months_follow_the_calendar_and_bins_of_weeks_the_origin() -> PgResult<()> {
        let day = |y, m, d| timestamp_from(days_from_civil(y, m, d), 0);
        assert_eq!(months_days(5, 0, day(2020, 1, 1)?, day(2024, 5, 17)?)?, day(2024, 3, 1)?);
        assert_eq!(months_days(5, 0, day(2020, 1, 1)?, day(2019, 12, 31)?)?, day(2019, 8, 1)?);
        assert_eq!(months_days(0, 14, day(2024, 1, 1)?, day(2023, 12, 31)?)?, day(2023, 12, 18)?);
        assert_eq!(months_days(12, 0, day(2024, 4, 1)?, day(9999, 3, 31)?)?, day(9998, 4, 1)?);
        assert_eq!(months_days(1, 0, day(2024, 1, 31)?, day(2024, 2, 29)?)?, day(2024, 2, 29)?);
        Ok(())
    }
}
