//! What planning needs to know of the session and of the moment. Both are parameters: the planner has no clock.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

#[derive(Debug, Clone)]
pub struct SessionFacts {
    pub user: String,
    pub database: String,
    /// Time dimensions are shown and truncated in this zone.
    pub zone: Tz,
    /// The start of the transaction: what `now()` gives.
    pub now: DateTime<Utc>,
}
