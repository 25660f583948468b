//! Builds that a statement asks for.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use belvedere_engine::rollups::{BuildState, RollupKeeper};
use belvedere_engine::{Clock, Engine, RollupBuilder, SqlError};
use belvedere_planner::rollups::RollupName;

use crate::build::{BuildError, Force, Refresher};

/// Builds rollups of the engine that has it, as long as that is there.
#[derive(Debug)]
pub struct OnDemand {
    pub engine: Weak<Engine>,
    pub clock: Arc<dyn Clock>,
    /// See [`Refresher::new`].
    pub holder: String,
}

#[async_trait]
impl RollupBuilder for OnDemand {
    async fn build_now(&self, name: &RollupName) -> Result<(), SqlError> {
        let engine = self.engine.upgrade().ok_or_else(|| SqlError::new("57P01", "the server is shutting down"))?;
        let refresher = Refresher::new(engine, Arc::clone(&self.clock), self.holder.clone()).map_err(to_sql)?;
        for zone in refresher.zones().to_vec() {
            let key = RollupKeeper::key(name, zone);
            let outcome = refresher.build(name, zone, Force::All, Arc::new(|_| ())).await;
            let error = outcome.as_ref().err().map(ToString::to_string);
            refresher.keeper().report(&key, BuildState::Idle, Some(error));
            outcome.map_err(to_sql)?;
        }
        Ok(())
    }
}

/// As a client reads it: a source's error stays what it is.
fn to_sql(error: BuildError) -> SqlError {
    match error {
        BuildError::Sql { error, .. } => *error,
        BuildError::Unknown(name) => SqlError::new("42P01", format!("materialized view \"{name}\" does not exist")),
        BuildError::Definition { .. } | BuildError::Partitions { .. } => SqlError::new("0A000", error.to_string()),
        BuildError::Changed(_) => SqlError::new("40001", error.to_string()).hint("Try again."),
        BuildError::Store(_) | BuildError::Publish(_) | BuildError::NoStore => {
            SqlError::new("58030", error.to_string())
        }
    }
}
