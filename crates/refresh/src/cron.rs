//! Cron lines: when one ticked last.

use chrono::{DateTime, Datelike, NaiveDate, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// How far back a tick is looked for; a line may name the 29th of February.
const DAYS_BACK_MAX: usize = 366 * 9;

/// A cron line of five fields (minute, hour, day of month, month, day of week), or six with seconds first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    seconds: Vec<u32>,
    minutes: Vec<u32>,
    hours: Vec<u32>,
    days: Vec<u32>,
    months: Vec<u32>,
    weekdays: Vec<u32>,
    /// Where both name days, either will do; so it is since Version 7.
    either_day: bool,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Cron {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(line: &str) -> Result<Self, String> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (seconds, fields) = match fields.as_slice() {
            [seconds, rest @ ..] if rest.len() == 5 => (list(seconds, 0, 59, &[])?, rest),
            rest if rest.len() == 5 => (vec![0], rest),
            other => return Err(format!("a cron line has five fields, or six with seconds, not {}", other.len())),
        };
        let is_all = |field: &str| field == "*" || field == "?";
        let mut weekdays = list(fields[4], 0, 7, &WEEKDAYS)?;
        // Sunday is 0 and 7.
        for day in &mut weekdays {
            *day %= 7;
        }
        Ok(Self {
            seconds,
            minutes: list(fields[0], 0, 59, &[])?,
            hours: list(fields[1], 0, 23, &[])?,
            days: list(fields[2], 1, 31, &[])?,
            months: list(fields[3], 1, 12, &MONTHS)?,
            weekdays,
            either_day: !is_all(fields[2]) && !is_all(fields[4]),
        })
    }

    fn is_on(&self, date: NaiveDate) -> bool {
        let day = self.days.contains(&date.day());
        let weekday = self.weekdays.contains(&date.weekday().num_days_from_sunday());
        self.months.contains(&date.month()) && if self.either_day { day || weekday } else { day && weekday }
    }

    /// The last tick that is not after `now`, on the wall clock of `zone`; `None` if there was none in nine years.
    #[must_use]
    pub fn last_tick(&self, now: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let today = now.with_timezone(&zone).date_naive();
        let dates = std::iter::successors(Some(today), NaiveDate::pred_opt).take(DAYS_BACK_MAX);
        for date in dates.filter(|date| self.is_on(*date)) {
            // The wall clock may go back, so that its order is not that of moments.
            let mut last: Option<DateTime<Utc>> = None;
            for hour in &self.hours {
                for minute in &self.minutes {
                    for second in &self.seconds {
                        let Some(local) = date.and_hms_opt(*hour, *minute, *second) else { continue };
                        let moments = zone.from_local_datetime(&local);
                        let moments = [moments.earliest(), moments.latest()];
                        for moment in moments.into_iter().flatten().map(|at| at.with_timezone(&Utc)) {
                            if moment <= now {
                                last = last.max(Some(moment));
                            }
                        }
                    }
                }
            }
            if last.is_some() {
                return last.map(|at| at.with_nanosecond(0).unwrap_or(at));
            }
        }
        None
    }
}

/// `*`, `5`, `1-5`, `*/15`, `10-50/20`, `mon-fri`, and several of them with commas; rising.
fn list(field: &str, min: u32, max: u32, names: &[&str]) -> Result<Vec<u32>, String> {
    let number = |text: &str| -> Result<u32, String> {
        let lower = text.to_lowercase();
        if let Some(place) = names.iter().position(|name| *name == lower) {
            // Months are counted from 1, days of the week from 0.
            return Ok(u32::try_from(place).unwrap_or(0) + min);
        }
        let number: u32 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
        if (min..=max).contains(&number) { Ok(number) } else { Err(format!("{number} is not from {min} to {max}")) }
    };
    let mut found = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step: u32 = step.parse().ok().filter(|step| *step > 0).ok_or(format!("`{step}` is no step"))?;
                (range, Some(step))
            }
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (min, max),
            Some((from, to)) => (number(from)?, number(to)?),
            None => {
                let from = number(range)?;
                (from, if step.is_some() { max } else { from })
            }
        };
        if from > to {
            return Err(format!("`{range}` ends before it begins"));
        }
        found.extend((from..=to).step_by(usize::try_from(step.unwrap_or(1)).unwrap_or(1)));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(line: &str, now: &str, zone: Tz) -> String {
        let now: DateTime<Utc> = now.parse().expect("a test's time");
        let cron = Cron::parse(line).expect("a test's cron line");
        cron.last_tick(now, zone).map_or_else(|| "never".to_owned(), |at| at.format("%FT%TZ").to_string())
    }

    #[test]
    fn the_last_tick_is_found_on_the_wall_clock_of_the_zone() {
        let berlin = Tz::Europe__Berlin;
        for (line, now, zone, tick) in [
            ("30 5 * * *", "2024-06-10T05:29:59Z", Tz::UTC, "2024-06-09T05:30:00Z"),
            ("30 5 * * *", "2024-06-10T05:30:00Z", Tz::UTC, "2024-06-10T05:30:00Z"),
            ("30 5 * * *", "2024-06-10T05:30:00Z", berlin, "2024-06-10T03:30:00Z"),
            ("30 5 * * *", "2024-01-10T05:30:00Z", berlin, "2024-01-10T04:30:00Z"),
            ("*/15 * * * *", "2024-06-10T05:29:59Z", Tz::UTC, "2024-06-10T05:15:00Z"),
            ("0 0 1 */3 *", "2024-06-10T00:00:00Z", Tz::UTC, "2024-04-01T00:00:00Z"),
            ("0 8 * * mon-fri", "2024-06-09T12:00:00Z", Tz::UTC, "2024-06-07T08:00:00Z"),
            ("0 8 * * 7", "2024-06-10T12:00:00Z", Tz::UTC, "2024-06-09T08:00:00Z"),
            ("0 0 29 feb *", "2027-06-10T12:00:00Z", Tz::UTC, "2024-02-29T00:00:00Z"),
            ("10 0 0 * * *", "2024-06-10T00:00:09Z", Tz::UTC, "2024-06-09T00:00:10Z"),
            // 02:30 was skipped that night.
            ("30 2 * * *", "2024-03-31T12:00:00Z", berlin, "2024-03-30T01:30:00Z"),
        ] {
            assert_eq!(last(line, now, zone), tick, "{line} at {now} in {zone}");
        }
    }

    #[test]
    fn what_is_no_cron_line_is_said() {
        for (line, wrong) in [
            ("* * *", "not 3"),
            ("60 * * * *", "60 is not from 0 to 59"),
            ("x * * * *", "`x` is no number"),
            ("5-1 * * * *", "ends before it begins"),
            ("*/0 * * * *", "`0` is no step"),
        ] {
            let error = Cron::parse(line).expect_err(line);
            assert!(error.contains(wrong), "{line}: {error}");
        }
    }
}
