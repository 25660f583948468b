//! The scheduler of a server: looks at each rollup as often as its refresh key asks for, builds what is due, waits longer and longer after
//! failures, and collects old versions.
//!
//! Each rollup, in each zone, has one task at a time, so that whatever becomes due during a build is built once, after it. Builds wait
//! for a place among all, and for one at each data source that they read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use belvedere_engine::Zone;
use belvedere_engine::rollups::{BuildState, RollupKeeper};
use belvedere_planner::rollups::{Rollup, RollupName};
use belvedere_rollup::{CollectOptions, RollupKey};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::build::{BuildError, Refresher};

/// The longest pause after failures (reference PV9).
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// A rollup that another process builds is looked at again this soon.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// How a scheduler works.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleOptions {
    /// Between two looks at a rollup, or less where its key asks for that.
    pub every: Duration,
    /// Builds at once.
    pub concurrency: usize,
    /// Builds at once that read one data source.
    pub per_source: usize,
    /// Between two looks at all rollups for what is due.
    pub tick: Duration,
    /// Between two collections of old versions.
    pub collect_every: Duration,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            concurrency: 2,
            per_source: 2,
            tick: Duration::from_secs(1),
            collect_every: Duration::from_secs(60),
        }
    }
}

/// What the scheduler knows of one rollup in one zone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watched {
    /// `None`: at once.
    next_look: Option<DateTime<Utc>>,
    /// In a row.
    failures: u32,
    /// The key's value when everything was up to date.
    value: Option<String>,
    /// Until when that value is taken for true without asking again.
    holds_until: Option<DateTime<Utc>>,
    /// The structure that was up to date.
    structure: Option<String>,
}

/// How a look ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// Everything is up to date, under this value of the key and this structure.
    UpToDate {
        value: String,
        holds_until: DateTime<Utc>,
        structure: Option<String>,
    },
    /// Another process is at it.
    Busy,
    Failed,
}

impl Watched {
    /// Whether it is time to look.
    #[must_use]
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.next_look.is_none_or(|next| now >= next)
    }

    /// Notes how a look ended.
    pub fn note(&mut self, look: Look, now: DateTime<Utc>, every: Duration) {
        let pause = match look {
            Look::UpToDate { value, holds_until, structure } => {
                *self = Self {
                    next_look: None,
                    failures: 0,
                    value: Some(value),
                    holds_until: Some(holds_until),
                    structure,
                };
                // Something may be found damaged meanwhile.
                (holds_until - now).to_std().unwrap_or(Duration::ZERO).min(every)
            }
            Look::Busy => BUSY_PAUSE,
            Look::Failed => {
                self.failures = self.failures.saturating_add(1);
                self.value = None;
                pause_after(self.failures)
            }
        };
        self.next_look = TimeDelta::from_std(pause).ok().and_then(|pause| now.checked_add_signed(pause));
    }
}

/// 1, 2, 4 … seconds, ten minutes at most.
#[must_use]
pub fn pause_after(failures: u32) -> Duration {
    Duration::from_secs(1_u64 << failures.saturating_sub(1).min(20)).min(PAUSE_MAX)
}

type Place = (RollupName, String);

/// Keeps the rollups of an engine fresh until `shutdown`. A build that runs then is given up; what it had published stays.
pub async fn run(refresher: Refresher, options: ScheduleOptions, shutdown: CancellationToken) {
    let mut watched: HashMap<Place, Watched> = HashMap::new();
    let mut running: HashMap<task::Id, Place> = HashMap::new();
    let mut tasks: JoinSet<Look> = JoinSet::new();
    let places = Places::new(options);
    let mut ticks = tokio::time::interval(options.tick);
    let mut collections = tokio::time::interval(options.collect_every);
    for interval in [&mut ticks, &mut collections] {
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = tasks.join_next_with_id() => {
                let (id, look) = match &ended {
                    Ok((id, look)) => (*id, look.clone()),
                    Err(error) => (error.id(), Look::Failed),
                };
                let place = running.remove(&id).expect("a task is noted when it is begun");
                if let Err(error) = ended {
                    let key = RollupKey::new(&place.0.cube, &place.0.name, &place.1);
                    tracing::error!(%error, rollup = %key, "a build ended by a panic");
                    refresher.keeper().report(&key, BuildState::Idle, Some(Some("its build panicked".to_owned())));
                }
                watched.entry(place).or_default().note(look, refresher.now(), options.every);
            }
            _ = ticks.tick() => {
                let now = refresher.now();
                for rollup in refresher.buildable().into_iter().filter(|rollup| refresher.is_scheduled(&rollup.name)) {
                    for zone in refresher.zones() {
                        let place = (rollup.name.clone(), zone.name());
                        let known = watched.entry(place.clone()).or_default();
                        if !known.is_due(now) || running.values().any(|begun| *begun == place) {
                            continue;
                        }
                        let (refresher, places, known, rollup, zone) =
                            (refresher.clone(), places.clone(), known.clone(), Arc::clone(&rollup), *zone);
                        let task = tasks.spawn(async move { look(&refresher, &places, &known, &rollup, zone).await });
                        running.insert(task.id(), place);
                    }
                }
            }
            _ = collections.tick() => match refresher.store().collect(CollectOptions::default()).await {
                Ok(collected) => tracing::debug!(?collected, "old versions of rollups were collected"),
                Err(error) => tracing::warn!(%error, "old versions of rollups could not be collected"),
            },
        }
    }
    tasks.shutdown().await;
}

/// One look at one rollup, with the build that it may end in.
async fn look(refresher: &Refresher, places: &Places, known: &Watched, rollup: &Rollup, zone: Zone) -> Look {
    let name = &rollup.name;
    let key = RollupKeeper::key(name, zone);
    let outcome = Box::pin(try_look(refresher, places, known, rollup, zone)).await;
    match outcome {
        Ok(look) => {
            if let Look::UpToDate { .. } = look {
                refresher.keeper().report(&key, BuildState::Idle, Some(None));
            }
            look
        }
        Err(error) => {
            tracing::warn!(%error, rollup = %key, "a rollup could not be refreshed; its version before goes on");
            refresher.keeper().report(&key, BuildState::Idle, Some(Some(error.to_string())));
            Look::Failed
        }
    }
}

async fn try_look(
    refresher: &Refresher,
    places: &Places,
    known: &Watched,
    rollup: &Rollup,
    zone: Zone,
) -> Result<Look, BuildError> {
    let name = &rollup.name;
    let now = refresher.now();
    let plan = refresher.key_plan(name)?;
    let _place = places.take(refresher.sources_of(rollup)).await;
    let (value, holds_until) = match (&known.value, known.holds_until) {
        (Some(value), Some(until)) if now < until => (value.clone(), until),
        _ => {
            let value = plan.value(refresher.engine(), now).await;
            let value = value.map_err(|error| BuildError::Sql { name: name.clone(), error: Box::new(error) })?;
            (value, now + TimeDelta::from_std(plan.look_every(now)).unwrap_or(TimeDelta::minutes(5)))
        }
    };
    let structure = refresher.engine().rollup_structure(name, zone);
    let up_to_date = |value: String| Look::UpToDate { value, holds_until, structure: structure.clone() };
    let same = known.value.as_ref() == Some(&value) && structure.is_some() && known.structure == structure;
    if same && refresher.is_whole(name, zone).await? {
        return Ok(up_to_date(value));
    }
    let key = RollupKeeper::key(name, zone);
    refresher.keeper().report(&key, BuildState::Building, None);
    let built = refresher.try_build(name, zone, Arc::new(|_| ())).await;
    refresher.keeper().report(&key, BuildState::Idle, None);
    Ok(match built? {
        Some(built) => {
            if built.built > 0 {
                tracing::info!(rollup = %key, partitions = built.built, rows = built.rows, "a rollup was built");
            }
            up_to_date(value)
        }
        None => Look::Busy,
    })
}

/// Places for builds: among all, and at each data source.
#[derive(Debug, Clone)]
struct Places {
    all: Arc<Semaphore>,
    per_source: usize,
    of_sources: Arc<std::sync::Mutex<BTreeMap<String, Arc<Semaphore>>>>,
}

impl Places {
    fn new(options: ScheduleOptions) -> Self {
        Self {
            all: Arc::new(Semaphore::new(options.concurrency.max(1))),
            per_source: options.per_source.max(1),
            of_sources: Arc::default(),
        }
    }

    /// Waits for a place at each source, in the order of their names, so that nobody waits in a circle; then for one among all.
    async fn take(&self, sources: BTreeSet<String>) -> Vec<tokio::sync::OwnedSemaphorePermit> {
        let mut taken = Vec::new();
        for source in sources {
            let semaphore = {
                let mut of_sources = self.of_sources.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let new = || Arc::new(Semaphore::new(self.per_source));
                Arc::clone(of_sources.entry(source).or_insert_with(new))
            };
            taken.extend(semaphore.acquire_owned().await);
        }
        taken.extend(Arc::clone(&self.all).acquire_owned().await);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a test's time")
    }

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        let pauses: Vec<u64> = [1, 2, 3, 9, 10, 11, 1000].map(|failures| pause_after(failures).as_secs()).to_vec();
        assert_eq!(pauses, [1, 2, 4, 256, 512, 600, 600]);
    }

    #[test]
    fn what_failed_is_tried_again_later_and_later_and_forgotten_once_it_went_well() {
        let every = Duration::from_secs(30);
        let mut watched = Watched::default();
        assert!(watched.is_due(at(0)));
        watched.note(Look::Failed, at(0), every);
        assert!(!watched.is_due(at(0)) && watched.is_due(at(1)));
        watched.note(Look::Failed, at(1), every);
        assert!(!watched.is_due(at(2)) && watched.is_due(at(3)));
        let done = |until| Look::UpToDate { value: "1".to_owned(), structure: None, holds_until: at(until) };
        watched.note(done(13), at(3), every);
        assert!(!watched.is_due(at(12)) && watched.is_due(at(13)), "the key is asked again");
        watched.note(done(3600), at(13), every);
        assert!(!watched.is_due(at(42)) && watched.is_due(at(43)), "something may be damaged");
        watched.note(Look::Failed, at(43), every);
        assert!(watched.is_due(at(44)));
        assert_eq!(watched.value, None, "after a failure everything is looked at");
    }
}
