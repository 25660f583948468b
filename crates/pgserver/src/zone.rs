//! The session's time zone, as far as showing an instant needs it.

use chrono::{NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

use belvedere_engine::SqlError;

use crate::calendar::{DAY_US, civil_from_days, days_from_civil, days_in_month};

/// 400 Gregorian years: the calendar and the days of the week repeat after them.
const ERA_DAYS: i64 = 146_097;

/// What the setting `TimeZone` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Zone {
    Utc,
    Named(Tz),
    /// Seconds east of Greenwich.
    Fixed(i32),
    /// A name that we do not know; showing an instant fails then.
    Unknown(String),
}

impl Zone {
    pub(crate) fn from_setting(name: &str) -> Self {
        if matches!(name.to_ascii_uppercase().as_str(), "UTC" | "GMT" | "Z" | "ETC/UTC" | "ZULU") {
            return Self::Utc;
        }
        if let Ok(zone) = name.parse::<Tz>() {
            return Self::Named(zone);
        }
        if let Some(zone) = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name)) {
            return Self::Named(*zone);
        }
        posix(name).map_or_else(|| Self::Unknown(name.to_owned()), Self::Fixed)
    }

    /// Seconds to add to the instant (µs since 1970 UTC) for the clock on the wall.
    ///
    /// # Errors
    /// XX000 for an unknown zone.
    pub(crate) fn offset_at(&self, utc_us: i64) -> Result<i32, SqlError> {
        match self {
            Self::Utc => Ok(0),
            Self::Fixed(seconds) => Ok(*seconds),
            Self::Named(zone) => {
                let instant = within_chrono(utc_us);
                Ok(zone.offset_from_utc_datetime(&instant).fix().local_minus_utc())
            }
            Self::Unknown(name) => {
                Err(SqlError::new("XX000", format!("the session's time zone \"{name}\" is not known to the server")))
            }
        }
    }

    /// The instant at which the wall shows `local_us`. Of a repeated hour the second (standard time) is meant; a skipped one is taken with the
    /// offset from before the gap, as in PostgreSQL.
    pub(crate) fn to_utc(&self, local_us: i64) -> Result<i64, SqlError> {
        let seconds = match self {
            Self::Named(zone) => {
                let local = within_chrono(local_us);
                match zone.offset_from_local_datetime(&local).latest() {
                    Some(offset) => offset.fix().local_minus_utc(),
                    None => {
                        let day_before = local.checked_sub_signed(TimeDelta::hours(24)).unwrap_or(local);
                        let before = zone.offset_from_local_datetime(&day_before).latest();
                        before.map_or(0, |offset| offset.fix().local_minus_utc())
                    }
                }
            }
            other => other.offset_at(local_us)?,
        };
        local_us
            .checked_sub(i64::from(seconds) * 1_000_000)
            .ok_or_else(|| SqlError::new("22008", "timestamp out of range"))
    }
}

/// The last year of which chrono-tz knows the transitions of every zone that still changes its clocks.
const LAST_KNOWN_YEAR: i64 = 2087;

/// A moment that has the same offset and that chrono-tz knows. Beyond its tables a year goes by the rules of the last known year
/// that has the same calendar; years too far back for chrono are moved by whole eras.
fn within_chrono(us: i64) -> NaiveDateTime {
    const REACH_US: u64 = 8_000_000_000_000_000_000;
    let days = us.div_euclid(DAY_US);
    let (year, ..) = civil_from_days(days);
    let us = if year > LAST_KNOWN_YEAR {
        let first = days_from_civil(year, 1, 1);
        // Any 28 years in a row without a skipped leap year have all fourteen calendars.
        let twin = (LAST_KNOWN_YEAR - 27..=LAST_KNOWN_YEAR)
            .map(|twin| (days_from_civil(twin, 1, 1), days_in_month(twin, 2)))
            .find(|(day, february)| (day - first) % 7 == 0 && *february == days_in_month(year, 2))
            .map_or(first, |(day, _)| day);
        us - (first - twin) * DAY_US
    } else if us.unsigned_abs() > REACH_US {
        us % (ERA_DAYS * DAY_US) - ERA_DAYS * DAY_US
    } else {
        us
    };
    chrono::DateTime::from_timestamp_micros(us).map_or(NaiveDateTime::MIN, |instant| instant.naive_utc())
}

/// `<+02>-02`, as PostgreSQL reports SET TIME ZONE 2, `UTC+3`, `+03:00`: POSIX's form, whose sign is west positive. Seconds east.
fn posix(name: &str) -> Option<i32> {
    let offset = match name.strip_prefix('<') {
        Some(rest) => rest.split_once('>')?.1,
        None => &name[name.find(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'))?..],
    };
    let (sign, digits) = match offset.as_bytes().first()? {
        b'+' => (-1, &offset[1..]),
        b'-' => (1, &offset[1..]),
        _ => (-1, offset),
    };
    let mut parts = digits.split(':').map(|part| part.parse::<i32>().ok().filter(|n| (0..60).contains(n)));
    let hours = parts.next()??;
    let minutes = parts.next().unwrap_or(Some(0))?;
    let seconds = parts.next().unwrap_or(Some(0))?;
    (hours < 24 && parts.next().is_none()).then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}
