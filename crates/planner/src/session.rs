//! What planning needs to know of the session and of the moment. Both are parameters: the planner has no clock.

use belvedere_functions::Zone;
use belvedere_functions::datetime::to_local;
use chrono::{DateTime, NaiveDateTime, Utc};

#[derive(Debug, Clone)]
pub struct SessionFacts {
    pub user: String,
    pub database: String,
    /// Time dimensions are shown and truncated in this zone.
    pub zone: Zone,
    /// The start of the transaction: what `now()` gives.
    pub now: DateTime<Utc>,
    pub rollups: RollupSettings,
}

/// Which rollups a session's queries may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RollupSettings {
    pub usage: RollupUsage,
    pub choice: RollupChoice,
    /// Rollups that were built longer ago, in microseconds, are not read; `None`: as old as their refresh keys let them be.
    pub max_staleness: Option<i64>,
}

/// `SET rollups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RollupUsage {
    /// Where one fits.
    #[default]
    Preferred,
    Off,
    /// A query that none fits is an error that says why.
    Required,
    /// Of stored rows of cubes only: how rollups are built that say so.
    BaseRows,
}

/// `SET rollup_choice`: which of several that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RollupChoice {
    /// The one with the fewest rows in the partitions that would be read; the first defined among equals.
    #[default]
    Smallest,
    /// The first defined.
    First,
}

impl SessionFacts {
    /// The wall clock of the session's zone.
    #[must_use]
    pub fn local_now(&self) -> NaiveDateTime {
        let local = to_local(self.now.timestamp_micros(), &self.zone).ok();
        local.and_then(DateTime::from_timestamp_micros).unwrap_or(self.now).naive_utc()
    }

    /// The same session in UTC: what a model's own SQL means does not depend on who asks.
    #[must_use]
    pub fn in_utc(&self) -> Self {
        Self { zone: Zone::UTC, ..self.clone() }
    }
}
