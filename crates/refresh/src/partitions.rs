//! The partitions that a rollup is made of: whole units of wall-clock time between its first and its last row, or between the ends of its
//! build range.

use belvedere_planner::rollups::{Cover, PartitionRange};
use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, TimeDelta, Timelike};

/// More are refused (reference PR7).
pub const PARTITIONS_MAX: usize = 10_000;

/// Units that times are cut to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// Why there are no partitions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    #[error(
        "it would have more than {PARTITIONS_MAX} partitions, from {first} to {last}; make them longer, or give `build_range_start` and `build_range_end`"
    )]
    TooMany { first: String, last: String },
    #[error("its times reach beyond those that a calendar has")]
    OutOfRange,
}

impl TimeUnit {
    /// By the name that models use, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().trim_end_matches('s') {
            "second" => Self::Second,
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "quarter" => Self::Quarter,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// The start of the unit that holds `at`; microseconds of a wall clock, as everywhere here. Weeks begin on Monday.
    #[must_use]
    pub fn floor(self, at: i64) -> Option<i64> {
        let moment = time(at)?;
        let day = moment.date();
        let floor = match self {
            Self::Second => moment.with_nanosecond(0)?,
            Self::Minute => day.and_hms_opt(moment.hour(), moment.minute(), 0)?,
            Self::Hour => day.and_hms_opt(moment.hour(), 0, 0)?,
            Self::Day => midnight(day)?,
            Self::Week => midnight(day.checked_sub_days(Days::new(u64::from(day.weekday().num_days_from_monday())))?)?,
            Self::Month => midnight(day.with_day(1)?)?,
            Self::Quarter => midnight(NaiveDate::from_ymd_opt(day.year(), day.month0() / 3 * 3 + 1, 1)?)?,
            Self::Year => midnight(NaiveDate::from_ymd_opt(day.year(), 1, 1)?)?,
        };
        Some(floor.and_utc().timestamp_micros())
    }

    /// The start of the unit after the one that begins at `start`.
    #[must_use]
    pub fn next(self, start: i64) -> Option<i64> {
        let moment = time(start)?;
        let next = match self {
            Self::Second => moment.checked_add_signed(TimeDelta::seconds(1)),
            Self::Minute => moment.checked_add_signed(TimeDelta::minutes(1)),
            Self::Hour => moment.checked_add_signed(TimeDelta::hours(1)),
            Self::Day => moment.checked_add_days(Days::new(1)),
            Self::Week => moment.checked_add_days(Days::new(7)),
            Self::Month => moment.checked_add_months(Months::new(1)),
            Self::Quarter => moment.checked_add_months(Months::new(3)),
            Self::Year => moment.checked_add_months(Months::new(12)),
        };
        Some(next?.and_utc().timestamp_micros())
    }
}

fn midnight(day: NaiveDate) -> Option<NaiveDateTime> {
    day.and_hms_opt(0, 0, 0)
}

fn time(at: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(at).map(|at| at.naive_utc())
}

/// A wall clock as people read it.
#[must_use]
pub fn shown(at: i64) -> String {
    time(at).map_or_else(|| at.to_string(), |at| at.format("%Y-%m-%d %H:%M").to_string())
}

/// One partition of those that there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The rows in it.
    pub range: PartitionRange,
    /// The end of the unit of time, which a build range may cut short; `None` for rows without a time, and for all rows.
    pub unit_end: Option<i64>,
}

/// The ends of a build range as `[from, to)` of whole stored buckets: both are clipped down, so that no bucket is stored in part.
///
/// # Errors
/// A time that no calendar has.
pub fn covers(start: Option<i64>, end: Option<i64>, bucket: TimeUnit) -> Result<Cover, PartitionError> {
    let down = |at: Option<i64>| at.map(|at| bucket.floor(at).ok_or(PartitionError::OutOfRange)).transpose();
    Ok(Cover { from: down(start)?, to: down(end)? })
}

/// The partitions by `unit` of rows whose times are `data` (first and last), as far as `covers` reaches, the newest first; then the one of
/// rows without a time.
///
/// # Errors
/// More than [`PARTITIONS_MAX`], or a time that no calendar has.
pub fn partitions(unit: TimeUnit, data: Option<(i64, i64)>, covers: Cover) -> Result<Vec<Wanted>, PartitionError> {
    let first = covers.from.or(data.map(|(first, _)| first));
    let after_last = match (covers.to, data) {
        (Some(to), _) => Some(to),
        (None, Some((_, last))) => {
            let start = unit.floor(last).ok_or(PartitionError::OutOfRange)?;
            Some(unit.next(start).ok_or(PartitionError::OutOfRange)?)
        }
        (None, None) => None,
    };
    let mut found = Vec::new();
    if let (Some(first), Some(after_last)) = (first, after_last) {
        let mut start = unit.floor(first).ok_or(PartitionError::OutOfRange)?;
        // A range that ends where it begins has no partition, though its unit of time begins before.
        while start < after_last && first < after_last {
            if found.len() == PARTITIONS_MAX {
                return Err(PartitionError::TooMany { first: shown(first), last: shown(after_last) });
            }
            let end = unit.next(start).ok_or(PartitionError::OutOfRange)?;
            let range = PartitionRange::Between {
                start: covers.from.map_or(start, |from| from.max(start)),
                end: covers.to.map_or(end, |to| to.min(end)),
            };
            found.push(Wanted { range, unit_end: Some(end) });
            start = end;
        }
    }
    found.reverse();
    found.push(Wanted { range: PartitionRange::NoTime, unit_end: None });
    Ok(found)
}

/// What may be said of the range that is covered while only some of the wanted partitions are there: from the newest one back, as far as
/// none is missing.
#[must_use]
pub fn covered_so_far(wanted: &[Wanted], covers: Cover, is_there: impl Fn(&PartitionRange) -> bool) -> Cover {
    let mut from = None;
    for partition in wanted {
        let PartitionRange::Between { start, .. } = partition.range else { continue };
        if !is_there(&partition.range) {
            return Cover { from: from.or(covers.to).or(Some(i64::MAX)), to: covers.to };
        }
        from = Some(start);
    }
    covers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        let form = "%Y-%m-%d %H:%M:%S";
        NaiveDateTime::parse_from_str(text, form).expect("a test's time").and_utc().timestamp_micros()
    }

    #[test]
    fn units_are_cut_where_the_calendar_has_them() {
        let moment = at("2024-08-14 13:45:59");
        for (name, start, next) in [
            ("hour", "2024-08-14 13:00:00", "2024-08-14 14:00:00"),
            ("day", "2024-08-14 00:00:00", "2024-08-15 00:00:00"),
            ("week", "2024-08-12 00:00:00", "2024-08-19 00:00:00"),
            ("month", "2024-08-01 00:00:00", "2024-09-01 00:00:00"),
            ("quarter", "2024-07-01 00:00:00", "2024-10-01 00:00:00"),
            ("year", "2024-01-01 00:00:00", "2025-01-01 00:00:00"),
        ] {
            let unit = TimeUnit::named(name).expect("a known unit");
            assert_eq!(unit.floor(moment), Some(at(start)), "{name}");
            assert_eq!(unit.next(at(start)), Some(at(next)), "{name}");
        }
    }

    #[test]
    fn partitions_hold_all_times_and_those_without_one() {
        let data = Some((at("2024-01-31 23:59:59"), at("2024-03-01 00:00:00")));
        let found = partitions(TimeUnit::Month, data, Cover::default()).expect("three months");
        let between = |start, end| PartitionRange::Between { start: at(start), end: at(end) };
        let ranges: Vec<PartitionRange> = found.iter().map(|wanted| wanted.range).collect();
        assert_eq!(
            ranges,
            [
                between("2024-03-01 00:00:00", "2024-04-01 00:00:00"),
                between("2024-02-01 00:00:00", "2024-03-01 00:00:00"),
                between("2024-01-01 00:00:00", "2024-02-01 00:00:00"),
                PartitionRange::NoTime
            ]
        );
        let empty = partitions(TimeUnit::Month, None, Cover::default()).expect("nothing");
        assert_eq!(empty.iter().map(|wanted| wanted.range).collect::<Vec<_>>(), [PartitionRange::NoTime]);
    }

    #[test]
    fn a_build_range_is_clipped_down_to_stored_buckets_and_cuts_partitions_short() {
        let covers = covers(Some(at("2024-01-10 07:00:00")), Some(at("2024-02-20 18:30:00")), TimeUnit::Day)
            .expect("times of a calendar");
        assert_eq!(covers, Cover { from: Some(at("2024-01-10 00:00:00")), to: Some(at("2024-02-20 00:00:00")) });
        let found = partitions(TimeUnit::Month, None, covers).expect("two months");
        let between = |start, end| PartitionRange::Between { start: at(start), end: at(end) };
        assert_eq!(
            found[0],
            Wanted {
                range: between("2024-02-01 00:00:00", "2024-02-20 00:00:00"),
                unit_end: Some(at("2024-03-01 00:00:00"))
            }
        );
        assert_eq!(found[1].range, between("2024-01-10 00:00:00", "2024-02-01 00:00:00"));
        assert_eq!(found.len(), 3);
        let nothing = Cover { from: covers.to, to: covers.from };
        assert_eq!(partitions(TimeUnit::Month, None, nothing).map(|found| found.len()), Ok(1));
        let no_day = Cover { from: covers.from, to: covers.from };
        assert_eq!(partitions(TimeUnit::Month, None, no_day).map(|found| found.len()), Ok(1));
    }

    #[test]
    fn ten_thousand_partitions_are_the_most() {
        let day = |days: i64| days * 86_400_000_000;
        assert!(partitions(TimeUnit::Day, Some((0, day(9_999))), Cover::default()).is_ok());
        let error = partitions(TimeUnit::Day, Some((0, day(10_000))), Cover::default()).expect_err("one too many");
        assert!(error.to_string().contains("more than 10000 partitions, from 1970-01-01 00:00"), "{error}");
    }

    #[test]
    fn what_is_covered_ends_at_the_first_partition_that_is_missing() {
        let data = Some((at("2024-01-05 00:00:00"), at("2024-03-05 00:00:00")));
        let wanted = partitions(TimeUnit::Month, data, Cover::default()).expect("three months");
        let so_far = |count: usize| {
            let there: Vec<PartitionRange> = wanted.iter().take(count).map(|wanted| wanted.range).collect();
            covered_so_far(&wanted, Cover::default(), |range| there.contains(range))
        };
        assert_eq!(so_far(2), Cover { from: Some(at("2024-02-01 00:00:00")), to: None });
        assert_eq!(so_far(3), Cover::default());
        assert_ne!(so_far(0), Cover::default());
    }
}
