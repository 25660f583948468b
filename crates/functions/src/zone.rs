//! Names of time zones: as `SET timezone` reads them, as it shows them, and as `AT TIME ZONE` reads them. They differ.

use chrono_tz::Tz;

use crate::datetime::{DAY, HOUR, SECOND, Zone, parse_offset};
use crate::error::{PgError, PgResult};
use crate::input::parse_interval;

/// Zones of the tz database whose names `AT TIME ZONE` takes for fixed abbreviations, and the zones that they are links to.
const SHADOWED: &[(&str, &str)] =
    &[("CET", "Europe/Brussels"), ("MET", "Europe/Brussels"), ("EET", "Europe/Athens"), ("WET", "Europe/Lisbon")];

impl From<Tz> for Zone {
    fn from(zone: Tz) -> Self {
        if matches!(zone, Tz::UTC | Tz::Etc__UTC) { Self::UTC } else { Self::Named(zone) }
    }
}

impl Zone {
    /// The zone that `SET timezone` makes of `text`, and how SHOW shows it from then on.
    ///
    /// As in PostgreSQL: a number is hours east of Greenwich (`+3` is shown as `<+03>-03`), so is an `INTERVAL '…'`; then names of the tz
    /// database in any case; then POSIX's `UTC+3` and `+03:00`, whose sign is the other way round: three hours *west*.
    ///
    /// # Errors
    /// 22023 for what PostgreSQL refuses too, for offsets of a day or more, and for POSIX zones with summer time.
    pub fn set(text: &str) -> PgResult<(Self, String)> {
        let invalid = || PgError::new("22023", format!("invalid value for parameter \"TimeZone\": \"{text}\""));
        let trimmed = text.trim();
        let lower = trimmed.to_ascii_lowercase();
        if let Some(interval) = lower.strip_prefix("interval") {
            let interval = parse_interval(interval.trim().trim_matches('\''))?;
            if interval.months != 0 || interval.days != 0 {
                return Err(PgError::new("22023", "a time zone interval cannot have months or days"));
            }
            return east(interval.micros).ok_or_else(invalid);
        }
        // Not "inf" or "nan", which Rust reads as numbers.
        if lower.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
            && let Ok(hours) = lower.parse::<f64>()
        {
            if !hours.is_finite() || hours.abs() >= 24.0 {
                return Err(out_of_range(text));
            }
            // As in PostgreSQL: whole seconds, cut.
            #[expect(clippy::cast_possible_truncation, reason = "less than a day of seconds")]
            let seconds = (hours * 3600.0) as i64;
            return east(seconds * SECOND).ok_or_else(invalid);
        }
        if let Ok(zone) = Tz::from_str_insensitive(trimmed) {
            return Ok((Self::from(zone), zone.name().to_owned()));
        }
        match posix(trimmed) {
            Some(offset) => Ok((Self::Fixed(offset?), trimmed.to_uppercase())),
            None => Err(invalid()),
        }
    }

    /// The name that [`Zone::of_session`] reads: of the tz database, or an offset as Arrow writes it (`+05:45`, east positive).
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Fixed(0) => "UTC".to_owned(),
            Self::Fixed(seconds) => {
                let sign = if *seconds < 0 { '-' } else { '+' };
                let minutes = seconds.unsigned_abs() / 60;
                format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
            Self::Named(zone) => zone.name().to_owned(),
        }
    }

    /// A zone by the name that [`Zone::name`] gave.
    ///
    /// # Errors
    /// 22023 for any other text.
    pub fn of_session(name: &str) -> PgResult<Self> {
        if let Some(seconds) = parse_offset(name) {
            return Ok(Self::Fixed(seconds));
        }
        Tz::from_str_insensitive(name.trim())
            .map(Self::from)
            .map_err(|_| PgError::new("22023", format!("time zone \"{name}\" not recognized")))
    }

    /// The name by which [`Zone::parse`], and PostgreSQL's `AT TIME ZONE`, mean this zone.
    #[must_use]
    pub fn sql_name(&self) -> String {
        match self {
            Self::Fixed(0) => "UTC".to_owned(),
            Self::Fixed(seconds) => shown(*seconds),
            Self::Named(zone) => {
                let link = SHADOWED.iter().find(|(name, _)| *name == zone.name());
                link.map_or(zone.name(), |(_, link)| link).to_owned()
            }
        }
    }
}

fn east(micros: i64) -> Option<(Zone, String)> {
    if micros.abs() >= DAY || micros % (60 * SECOND) != 0 {
        return None;
    }
    let seconds = i32::try_from(micros / SECOND).ok()?;
    Some((Zone::Fixed(seconds), shown(seconds)))
}

/// `<+03>-03`: POSIX's form, where the name has the sign that people expect.
fn shown(seconds: i32) -> String {
    let (east, west) = if seconds < 0 { ('-', '+') } else { ('+', '-') };
    let minutes = seconds.unsigned_abs() / 60;
    let clock = if minutes.is_multiple_of(60) {
        format!("{:02}", minutes / 60)
    } else {
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    };
    format!("<{east}{clock}>{west}{clock}")
}

fn out_of_range(text: &str) -> PgError {
    PgError::new("22023", format!("time zone \"{text}\": UTC offset is out of range"))
}

/// POSIX's `name offset`: seconds east. `None` where there is no offset, hence no such text.
pub(crate) fn posix(text: &str) -> Option<PgResult<i32>> {
    let rest = match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => &text[text.find(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | ','))?..],
    };
    let (west, rest) = match rest.as_bytes().first()? {
        b'+' => (1, &rest[1..]),
        b'-' => (-1, &rest[1..]),
        _ => (1, rest),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(rest.len());
    let (clock, behind) = rest.split_at(end);
    let mut parts = clock.split(':').map(|part| part.parse::<i64>().ok());
    let hours = parts.next()??;
    let minutes = parts.next().unwrap_or(Some(0))?;
    let seconds = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() || minutes > 59 || seconds > 59 {
        return None;
    }
    if hours > 23 {
        return Some(Err(out_of_range(text)));
    }
    if !behind.is_empty() {
        let message = format!("time zone \"{text}\": a POSIX zone with summer time is not supported");
        return Some(Err(PgError::new("22023", message)));
    }
    if seconds != 0 {
        return Some(Err(PgError::new("22023", format!("time zone \"{text}\" appears to use leap seconds"))));
    }
    i32::try_from(-west * (hours * (HOUR / SECOND) + minutes * 60)).ok().map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 15 made of the same texts.
    #[test]
    fn set_timezone_reads_and_shows_what_postgresql_does() -> PgResult<()> {
        let cases = [
            ("+3", 10_800, "<+03>-03"),
            ("-3", -10_800, "<-03>+03"),
            ("3", 10_800, "<+03>-03"),
            ("-3.5", -12_600, "<-03:30>+03:30"),
            ("5.75", 20_700, "<+05:45>-05:45"),
            ("INTERVAL '3 hour'", 10_800, "<+03>-03"),
            ("INTERVAL '-03:30'", -12_600, "<-03:30>+03:30"),
            ("UTC+3", -10_800, "UTC+3"),
            ("utc+3", -10_800, "UTC+3"),
            ("GMT-02:00", 7_200, "GMT-02:00"),
            ("+02:00", -7_200, "+02:00"),
            ("<+03>-03", 10_800, "<+03>-03"),
            ("AB3", -10_800, "AB3"),
            ("utc", 0, "UTC"),
            ("Etc/UTC", 0, "Etc/UTC"),
        ];
        for (text, seconds, shown) in cases {
            assert_eq!(Zone::set(text)?, (Zone::Fixed(seconds), shown.to_owned()), "{text}");
        }
        assert_eq!(Zone::set("europe/oslo")?, (Zone::Named(Tz::Europe__Oslo), "Europe/Oslo".to_owned()));
        for text in [
            "cest",
            "PST",
            "Z",
            "+200",
            "UTC+3:30:15",
            "+0530",
            "",
            "nonsense",
            "UTC+",
            "INTERVAL '1 month'",
            "FOO3BAR",
            "inf",
        ] {
            assert_eq!(Zone::set(text).err().map(|error| error.sqlstate), Some("22023"), "{text}");
        }
        Ok(())
    }

    #[test]
    fn a_zone_is_found_again_by_both_of_its_names() -> PgResult<()> {
        let fixed = [0, 3 * 3600, -3600 * 3 - 1800, 5 * 3600 + 45 * 60].map(Zone::Fixed);
        for zone in chrono_tz::TZ_VARIANTS.iter().map(|zone| Zone::from(*zone)).chain(fixed) {
            assert_eq!(Zone::of_session(&zone.name())?, zone, "{zone:?}");
            let again = Zone::parse(&zone.sql_name())?;
            for year in (1980..2090).step_by(3) {
                for day in [15, 100, 200, 300] {
                    let at = (crate::datetime::days_from_civil(year, 1, 1) + day) * DAY;
                    assert_eq!(again.offset_at(at)?, zone.offset_at(at)?, "{zone:?} in {year}");
                }
            }
        }
        Ok(())
    }
}
