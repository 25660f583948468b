//! The partitions that a rollup is made of: whole units of wall-clock time between its first and its last row, or between the ends of its
//! build range.

use belvedere_model::TimeUnit;
use belvedere_planner::calendar;
use belvedere_planner::rollups::{Cover, PartitionRange};
use chrono::{DateTime, NaiveDateTime};

/// More are refused (reference PR7).
pub const PARTITIONS_MAX: usize = 10_000;

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

/// The start of the unit that holds `at`; microseconds of a wall clock, as everywhere here.
fn floor(unit: TimeUnit, at: i64) -> Result<i64, PartitionError> {
    let start = time(at).and_then(|at| calendar::start_of(unit, at)).ok_or(PartitionError::OutOfRange)?;
    Ok(start.and_utc().timestamp_micros())
}

/// The start of the unit after the one that begins at `start`.
fn next(unit: TimeUnit, start: i64) -> Result<i64, PartitionError> {
    let next = time(start).and_then(|start| calendar::after(unit, start, 1)).ok_or(PartitionError::OutOfRange)?;
    Ok(next.and_utc().timestamp_micros())
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
    let down = |at: Option<i64>| at.map(|at| floor(bucket, at)).transpose();
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
        (None, Some((_, last))) => Some(next(unit, floor(unit, last)?)?),
        (None, None) => None,
    };
    let mut found = Vec::new();
    if let (Some(first), Some(after_last)) = (first, after_last) {
        let mut start = floor(unit, first)?;
        // A range that ends where it begins has no partition, though its unit of time begins before.
        while start < after_last && first < after_last {
            if found.len() == PARTITIONS_MAX {
                return Err(PartitionError::TooMany { first: shown(first), last: shown(after_last) });
            }
            let end = next(unit, start)?;
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
