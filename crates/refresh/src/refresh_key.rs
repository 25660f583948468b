//! When rows that are stored do not hold any more: the value of a refresh key is another one (reference PR8 to PR13).

use std::time::Duration;

use belvedere_engine::rollups::{IMMUTABLE, SETTLED};
use belvedere_engine::{Engine, SqlError, Zone};
use belvedere_model::{Cube, Interval, Model, PreAggregation, RefreshKey, SqlTemplate, parse_interval};
use belvedere_planner::rollups::{PartitionRange, RollupLayout};
use chrono::{DateTime, Months, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::cron::Cron;
use crate::partitions::Wanted;

/// What a rollup is refreshed by that says nothing (PR13).
const DEFAULT_EVERY: i64 = 3600;

/// Something that happens again and again.
#[derive(Debug, Clone, PartialEq)]
pub enum Every {
    /// So many seconds, counted from midnight of 1970 on the wall clock of a zone.
    Seconds { seconds: i64, zone: Tz },
    /// Whenever a cron line ticks.
    Cron { cron: Cron, zone: Tz },
}

/// What decides whether stored rows still hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Key {
    /// They always do.
    Immutable,
    Every(Every),
    /// While these give the same, each asked at its cube's source; and no more often than `every`.
    Sql {
        queries: Vec<(String, SqlTemplate)>,
        every: Option<Every>,
    },
}

/// A rollup's refresh key, the defaults worked out.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPlan {
    pub key: Key,
    /// Partitions that ended longer ago than the update window are left alone.
    pub incremental: bool,
    pub update_window: Option<Interval>,
}

impl Every {
    /// Reads an interval or a cron line.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, String> {
        let zone = match zone {
            None => Tz::UTC,
            Some(name) => Tz::from_str_insensitive(name).map_err(|_| format!("there is no time zone \"{name}\""))?,
        };
        if let Ok(interval) = parse_interval(text) {
            let seconds = i64::from(interval.months) * 30 * 86_400
                + i64::from(interval.days) * 86_400
                + interval.microseconds / 1_000_000;
            if seconds < 1 {
                return Err(format!("`{text}` is no time at all"));
            }
            return Ok(Self::Seconds { seconds, zone });
        }
        Cron::parse(text).map(|cron| Self::Cron { cron, zone })
    }

    /// Another value after each tick.
    #[must_use]
    pub fn value(&self, now: DateTime<Utc>) -> String {
        match self {
            Self::Seconds { seconds, zone } => {
                let offset = i64::from(zone.offset_from_utc_datetime(&now.naive_utc()).fix().local_minus_utc());
                format!("every {seconds} s: {}", (now.timestamp() + offset).div_euclid(*seconds))
            }
            Self::Cron { cron, zone } => match cron.last_tick(now, *zone) {
                Some(tick) => format!("cron: {}", tick.timestamp()),
                None => "cron: never".to_owned(),
            },
        }
    }

    /// How often to look whether it has ticked (PR10).
    #[must_use]
    pub fn look_every(&self, now: DateTime<Utc>) -> Duration {
        let between = match self {
            Self::Seconds { seconds, .. } => *seconds,
            Self::Cron { cron, zone } => {
                let last = cron.last_tick(now, *zone);
                let before = last.and_then(|last| cron.last_tick(last - TimeDelta::seconds(1), *zone));
                last.zip(before).map_or(DEFAULT_EVERY, |(last, before)| (last - before).num_seconds())
            }
        };
        Duration::from_secs((between / 10).clamp(1, 300).unsigned_abs())
    }

    fn seconds(&self, now: DateTime<Utc>) -> Duration {
        match self {
            Self::Seconds { seconds, .. } => Duration::from_secs(seconds.unsigned_abs()),
            Self::Cron { .. } => self.look_every(now),
        }
    }
}

impl KeyPlan {
    /// The key of a rollup: its own, else the SQL of the cubes that it reads, else a cube's `every`, else each hour.
    ///
    /// # Errors
    /// A cron line or zone that cannot be read; `incremental` without partitions.
    pub fn of(model: &Model, rollup: &PreAggregation, layout: &RollupLayout) -> Result<Self, String> {
        let own_cube = &layout.name.cube;
        if let Some(given) = &rollup.refresh_key {
            if given.incremental && layout.partitioned_by.is_none() {
                return Err("its refresh key is incremental, and it has no partitions".to_owned());
            }
            let key = match &given.key {
                RefreshKey::Immutable => Key::Immutable,
                RefreshKey::Every { every, timezone } => Key::Every(Every::parse(every, timezone.as_deref())?),
                RefreshKey::Sql { sql, every } => Key::Sql {
                    queries: vec![(own_cube.clone(), sql.clone())],
                    every: every.as_ref().map(|every| Every::parse(every, None)).transpose()?,
                },
            };
            return Ok(Self { key, incremental: given.incremental, update_window: given.update_window });
        }
        let cubes: Vec<&Cube> = layout.cubes.iter().filter_map(|cube| model.cubes.get(cube)).collect();
        let mut queries = Vec::new();
        let mut every: Option<Every> = None;
        let mut plain: Vec<Every> = Vec::new();
        for cube in cubes {
            match &cube.refresh_key {
                Some(RefreshKey::Sql { sql, every: of_sql }) => {
                    queries.push((cube.naming.name.clone(), sql.clone()));
                    if let (None, Some(given)) = (&every, of_sql) {
                        every = Some(Every::parse(given, None)?);
                    }
                }
                Some(RefreshKey::Every { every, timezone }) => {
                    plain.push(Every::parse(every, timezone.as_deref())?);
                }
                Some(RefreshKey::Immutable) | None => {}
            }
        }
        let key = if queries.is_empty() {
            Key::Every(plain.into_iter().next().unwrap_or(Every::Seconds { seconds: DEFAULT_EVERY, zone: Tz::UTC }))
        } else {
            Key::Sql { queries, every }
        };
        Ok(Self { key, incremental: false, update_window: None })
    }

    /// The key's value now.
    ///
    /// # Errors
    /// A source's.
    pub async fn value(&self, engine: &Engine, now: DateTime<Utc>) -> Result<String, SqlError> {
        match &self.key {
            Key::Immutable => Ok(IMMUTABLE.to_owned()),
            Key::Every(every) => Ok(every.value(now)),
            Key::Sql { queries, every: _ } => {
                let mut values = Vec::new();
                for (cube, sql) in queries {
                    values.push(engine.refresh_key_value(cube, sql).await?.unwrap_or_else(|| "NULL".to_owned()));
                }
                Ok(format!("sql: {}", values.join("; ")))
            }
        }
    }

    /// How long a value holds before it is asked for again (PR10).
    #[must_use]
    pub fn look_every(&self, now: DateTime<Utc>) -> Duration {
        match &self.key {
            Key::Immutable => Duration::from_secs(300),
            Key::Every(every) => every.look_every(now),
            Key::Sql { every: Some(every), .. } => every.seconds(now),
            Key::Sql { every: None, .. } => Duration::from_secs(10),
        }
    }

    /// The value that a partition is stored with: that of the key, or one that never changes once it is older than the update window.
    #[must_use]
    pub fn of_partition(&self, value: &str, partition: &Wanted, now: DateTime<Utc>, zone: Zone) -> String {
        match (partition.range, partition.unit_end) {
            (PartitionRange::Between { .. }, Some(end)) if self.incremental && self.is_settled(end, now, zone) => {
                SETTLED.to_owned()
            }
            _ => value.to_owned(),
        }
    }

    fn is_settled(&self, end: i64, now: DateTime<Utc>, zone: Zone) -> bool {
        let Some(end) = DateTime::from_timestamp_micros(end).map(|at| at.naive_utc()) else { return false };
        let last = match self.update_window {
            Some(window) => add(end, window),
            None => Some(end),
        };
        let now = wall_clock(now, zone);
        last.is_some_and(|last| now >= last)
    }
}

fn add(at: NaiveDateTime, interval: Interval) -> Option<NaiveDateTime> {
    let months = u32::try_from(interval.months).ok()?;
    at.checked_add_months(Months::new(months))?
        .checked_add_signed(TimeDelta::days(i64::from(interval.days)))?
        .checked_add_signed(TimeDelta::microseconds(interval.microseconds))
}

fn wall_clock(now: DateTime<Utc>, zone: Zone) -> NaiveDateTime {
    match zone {
        Zone::Named(zone) => now.with_timezone(&zone).naive_local(),
        Zone::Fixed(seconds) => now.naive_utc() + TimeDelta::seconds(i64::from(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a test's time")
    }

    #[test]
    fn an_interval_ticks_on_the_wall_clock_of_its_zone() {
        let every = Every::parse("1 day", Some("Europe/Berlin")).expect("an interval");
        let value = |text: &str| every.value(at(text));
        assert_eq!(value("2024-01-09T23:00:00Z"), value("2024-01-10T22:59:59Z"));
        assert_ne!(value("2024-01-09T22:59:59Z"), value("2024-01-09T23:00:00Z"));
        let now = at("2024-01-10T00:00:00Z");
        let looks = |text: &str| Every::parse(text, None).expect("readable").look_every(now).as_secs();
        assert_eq!([looks("2 second"), looks("10 minute"), looks("1 day"), looks("0 * * * *")], [1, 60, 300, 300]);
        assert!(Every::parse("1 hour", Some("Mars")).is_err());
        assert!(Every::parse("0 seconds", None).is_err());
    }

    #[test]
    fn old_partitions_of_an_incremental_key_settle_after_the_update_window() {
        let day = 86_400_000_000_i64;
        let end = at("2024-03-01T00:00:00Z").timestamp_micros();
        let partition = Wanted { range: PartitionRange::Between { start: end - 29 * day, end }, unit_end: Some(end) };
        let window = parse_interval("7 days").expect("an interval");
        let plan = |incremental, update_window| KeyPlan { key: Key::Immutable, incremental, update_window };
        let berlin = Zone::Named(Tz::Europe__Berlin);
        let value = |plan: KeyPlan, now: &str, zone| plan.of_partition("v", &partition, at(now), zone);
        for (plan, now, zone, wanted) in [
            (plan(true, None), "2024-02-29T23:59:59Z", Zone::UTC, "v"),
            (plan(true, None), "2024-03-01T00:00:00Z", Zone::UTC, SETTLED),
            (plan(true, None), "2024-02-29T23:00:00Z", berlin, SETTLED),
            (plan(true, Some(window)), "2024-03-07T23:59:59Z", Zone::UTC, "v"),
            (plan(true, Some(window)), "2024-03-08T00:00:00Z", Zone::UTC, SETTLED),
            (plan(false, None), "2030-01-01T00:00:00Z", Zone::UTC, "v"),
        ] {
            assert_eq!(value(plan, now, zone), wanted, "{now}");
        }
        let without_time = Wanted { range: PartitionRange::NoTime, unit_end: None };
        let late = at("2030-01-01T00:00:00Z");
        assert_eq!(plan(true, None).of_partition("v", &without_time, late, Zone::UTC), "v");
    }
}
