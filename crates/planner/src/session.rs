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
