//! The engine: what all sessions share, and how a new model takes the old one's place.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use belvedere_model::Model;
use belvedere_planner::catalog::Catalog;
use belvedere_planner::functions::Functions;
use belvedere_planner::policy::{self, DefaultMasks, Identity};
use belvedere_planner::rollups::{RollupName, StoredRollup};
use belvedere_rollup::StoreError;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use dashmap::DashMap;
use tokio::sync::{Semaphore, watch};

use crate::load::{SourceProblem, load_catalog};
use crate::planning_pool::PlanningPool;
use crate::rollups::{Defined, RollupKeeper};
use crate::run::Runner;
use crate::session::{EngineSession, KnownStatements};
use crate::settings::Settings;
use crate::sources::DataSources;
use crate::{Backend, Credentials, Login, RollupBuilder, Session, SqlError};

/// Tells the time; tests have their own.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    fn now(&self) -> DateTime<Utc>;
}

/// What one statement is planned against. Replaced whole, never changed.
#[derive(Debug)]
pub struct Snapshot {
    /// Of all tables; only what a user has of it can be queried.
    all: Catalog,
    /// Names of users, for pg_catalog.
    users: Vec<String>,
    defaults: Settings,
    seen: DashMap<Identity, Arc<Seen>>,
    /// What the model defines; what is built of it is in the catalog.
    defined: Arc<Defined>,
    /// Counts up with every model that is taken in.
    pub version: u64,
}

/// What one user has of a snapshot.
#[derive(Debug)]
pub struct Seen {
    pub catalog: Catalog,
    /// The same for clients that look around: pg_catalog and information_schema.
    pub pg_catalog: belvedere_pgcatalog::Catalog,
}

impl Snapshot {
    fn new(all: Catalog, defined: Arc<Defined>, config: &EngineConfig, version: u64) -> Self {
        Self {
            all,
            defined,
            users: config.users.iter().map(|user| user.name.clone()).collect(),
            defaults: Settings::new("", config.time_zone, config.statement_timeout, false),
            seen: DashMap::new(),
            version,
        }
    }

    /// All of the model, with the rollups that are built. Not for users' statements.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.all
    }

    pub(crate) fn defined(&self) -> &Arc<Defined> {
        &self.defined
    }

    /// The tables, columns and rows that access policies grant. There are as many identities as users in the configuration.
    #[must_use]
    pub fn seen_by(&self, identity: &Identity) -> Arc<Seen> {
        if let Some(seen) = self.seen.get(identity) {
            return Arc::clone(&seen);
        }
        let catalog = policy::seen_by(&self.all, identity);
        let pg_catalog = crate::catalog::describe(&catalog, self.users.clone(), &self.defaults);
        let seen = Arc::new(Seen { catalog, pg_catalog });
        self.seen.insert(identity.clone(), Arc::clone(&seen));
        seen
    }
}

/// A user as configured.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    /// In PostgreSQL's own form; see [`Credentials::Scram`].
    pub verifier: String,
    pub groups: Vec<String>,
    /// What access policies may ask of the user beside the groups.
    pub attributes: BTreeMap<String, String>,
    /// `time_zone: fixed`: the client cannot set another.
    pub time_zone_fixed: bool,
    /// `build: true`: may have rollups built.
    pub may_build: bool,
}

/// Limits and defaults for all sessions.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The zone of a session until the client sets one.
    pub time_zone: Tz,
    pub statement_timeout: Option<Duration>,
    /// For joins, sorts and groups of all running statements.
    pub memory_bytes: usize,
    pub connections_max: usize,
    /// Empty: anyone may log in.
    pub users: Vec<User>,
    /// What masked members show that have no mask of their own.
    pub masks: Arc<DefaultMasks>,
    pub planning_threads: usize,
}

/// What all sessions share.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    functions: Arc<Functions>,
    runner: Runner,
    planning: PlanningPool,
    clock: Arc<dyn Clock>,
    started: DateTime<Utc>,
    sources: Arc<DataSources>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    places: Arc<Semaphore>,
    users: DashMap<String, User>,
    known_statements: KnownStatements,
    /// Empty: no rollups are read.
    keeper: OnceLock<Arc<RollupKeeper>>,
    /// Empty: no statement builds rollups.
    builder: OnceLock<Box<dyn RollupBuilder>>,
    /// Held while a snapshot is made from the one before.
    changing: tokio::sync::Mutex<()>,
}

impl Engine {
    /// An engine without a model: nothing can be queried until [`Engine::load_model`].
    ///
    /// # Errors
    /// When the system gives no threads or memory.
    pub fn new(config: EngineConfig, sources: DataSources, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let functions = Arc::new(Functions::new());
        let sources = Arc::new(sources);
        let empty = Catalog {
            model: Arc::new(Model::default()),
            tables: indexmap::IndexMap::new(),
            sources: Arc::new(crate::sources::TypedSources::default()),
            policies: Arc::default(),
            hidden: Arc::default(),
            rollups: Arc::default(),
        };
        let (snapshot, _) = watch::channel(Arc::new(Snapshot::new(empty, Arc::default(), &config, 0)));
        let started = clock.now();
        Ok(Self {
            functions,
            runner: Runner::new(config.memory_bytes).map_err(std::io::Error::other)?,
            planning: PlanningPool::new(config.planning_threads)?,
            clock,
            started,
            sources,
            snapshot,
            places: Arc::new(Semaphore::new(config.connections_max)),
            users: config.users.iter().map(|user| (user.name.clone(), user.clone())).collect(),
            config,
            known_statements: KnownStatements::default(),
            keeper: OnceLock::new(),
            builder: OnceLock::new(),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// The same engine with a store of rollups; before the first model is loaded.
    #[must_use]
    pub fn with_rollups(self, keeper: RollupKeeper) -> Self {
        self.keep_rollups(keeper);
        self
    }

    /// Reads rollups of this store from the next model on. The first store stays.
    pub fn keep_rollups(&self, keeper: RollupKeeper) {
        let _first_stays: Result<(), Arc<RollupKeeper>> = self.keeper.set(Arc::new(keeper));
    }

    /// Lets statements build rollups. The first builder stays.
    pub fn build_rollups_by(&self, builder: Box<dyn RollupBuilder>) {
        let _first_stays: Result<(), Box<dyn RollupBuilder>> = self.builder.set(builder);
    }

    pub(crate) fn rollup_builder(&self) -> Option<&dyn RollupBuilder> {
        self.builder.get().map(AsRef::as_ref)
    }

    /// Whether a user may have rollups built: anyone where nobody is configured.
    pub(crate) fn may_build(&self, user: &str) -> bool {
        self.users.is_empty() || self.users.get(user).is_some_and(|user| user.may_build)
    }

    /// Where rollups are kept.
    #[must_use]
    pub fn rollup_keeper(&self) -> Option<&Arc<RollupKeeper>> {
        self.keeper.get()
    }

    /// Takes in what the store has of the model's rollups; whether anything changed.
    ///
    /// # Errors
    /// The store's, when it cannot be read: what was known stays.
    pub async fn see_rollups(&self) -> Result<bool, StoreError> {
        let _changing = self.changing.lock().await;
        let Some(keeper) = self.keeper.get() else { return Ok(false) };
        let snapshot = self.snapshot();
        let Some(stored) = keeper.stored(snapshot.defined(), false).await? else { return Ok(false) };
        let catalog = with_stored(snapshot.all.clone(), snapshot.defined(), stored);
        let next = Snapshot::new(catalog, Arc::clone(snapshot.defined()), &self.config, snapshot.version + 1);
        let version = next.version;
        self.snapshot.send_replace(Arc::new(next));
        self.known_statements.keep_only(version);
        Ok(true)
    }

    /// Types a model at its sources and puts it in the place of the one before. Running statements keep theirs.
    pub async fn load_model(&self, model: Arc<Model>) -> Vec<SourceProblem> {
        let loaded = load_catalog(model, Arc::clone(&self.sources), &self.functions).await;
        let _changing = self.changing.lock().await;
        let mut catalog = loaded.catalog;
        let zones = self.keeper.get().map_or_else(Vec::new, |keeper| keeper.zones.clone());
        let defined = Arc::new(self.define_rollups(&catalog, &zones));
        let stored = match self.keeper.get() {
            None => Vec::new(),
            Some(keeper) => {
                keeper.stored(&defined, true).await.map(Option::unwrap_or_default).unwrap_or_else(|error| {
                    tracing::warn!(%error, "the rollups cannot be read: queries are answered from the sources");
                    Vec::new()
                })
            }
        };
        catalog = with_stored(catalog, &defined, stored);
        let version = self.snapshot.borrow().version + 1;
        self.snapshot.send_replace(Arc::new(Snapshot::new(catalog, defined, &self.config, version)));
        self.known_statements.keep_only(version);
        loaded.problems
    }

    /// The data sources that could not be asked when the model was loaded.
    #[must_use]
    pub fn untyped_sources(&self) -> Vec<String> {
        let snapshot = self.snapshot();
        self.sources.keys().filter(|name| snapshot.all.sources.is_untyped(name)).cloned().collect()
    }

    /// Types a model at its sources without taking it in.
    pub async fn check_model(&self, model: Arc<Model>) -> Vec<SourceProblem> {
        load_catalog(model, Arc::clone(&self.sources), &self.functions).await.problems
    }

    /// The model that queries see now.
    #[must_use]
    pub fn model(&self) -> Arc<Model> {
        Arc::clone(&self.snapshot().all.model)
    }

    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// What access policies know of a user. A name that no password stood for is nobody's.
    fn identity(&self, user: &str) -> Identity {
        let zone = self.config.time_zone.into();
        let masks = Arc::clone(&self.config.masks);
        match self.users.get(user) {
            None => Identity { masks, ..Identity::nobody(zone) },
            Some(known) => Identity {
                user: Some(known.name.clone()),
                groups: known.groups.iter().cloned().collect(),
                attributes: known.attributes.clone(),
                zone,
                masks,
            },
        }
    }

    pub(crate) fn sources(&self) -> &DataSources {
        &self.sources
    }

    pub(crate) fn functions(&self) -> &Arc<Functions> {
        &self.functions
    }

    pub(crate) fn known_statements(&self) -> &KnownStatements {
        &self.known_statements
    }

    pub(crate) fn runner(&self) -> &Runner {
        &self.runner
    }

    pub(crate) fn planning(&self) -> &PlanningPool {
        &self.planning
    }

    pub(crate) fn started(&self) -> DateTime<Utc> {
        self.started
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }
}

/// A catalog with the rollups that are built.
fn with_stored(catalog: Catalog, defined: &Defined, stored: Vec<(RollupName, StoredRollup)>) -> Catalog {
    let rollups = defined.rollups.with_stored(|rollup| {
        stored.iter().filter(|(name, _)| *name == rollup.name).map(|(_, stored)| stored.clone()).collect()
    });
    Catalog { rollups: Arc::new(rollups), ..catalog }
}

/// The engine behind a shared handle, as front ends want it.
#[derive(Debug, Clone)]
pub struct EngineBackend(pub Arc<Engine>);

impl Backend for EngineBackend {
    fn credentials(&self, user: &str) -> Credentials {
        if self.0.users.is_empty() {
            return Credentials::Trust;
        }
        match self.0.users.get(user) {
            Some(known) => Credentials::Scram(known.verifier.clone()),
            None => Credentials::Unknown,
        }
    }

    fn open_session(&self, login: Login) -> Result<Box<dyn Session>, SqlError> {
        Ok(Box::new(self.open(login)?))
    }
}

impl EngineBackend {
    /// A session of who runs the program, as the user that `login` names: without a password, and EXPLAIN shows all.
    ///
    /// # Errors
    /// As [`Backend::open_session`].
    pub fn open_operator_session(&self, login: Login) -> Result<Box<dyn Session>, SqlError> {
        let mut session = self.open(login)?;
        session.is_operator = true;
        Ok(Box::new(session))
    }

    fn open(&self, login: Login) -> Result<EngineSession, SqlError> {
        let engine = &self.0;
        let place = Arc::clone(&engine.places)
            .try_acquire_owned()
            .map_err(|_| SqlError::new("53300", "sorry, too many clients already"))?;
        let fixed = engine.users.get(&login.user).is_some_and(|user| user.time_zone_fixed);
        let mut settings = Settings::new(&login.user, engine.config.time_zone, engine.config.statement_timeout, fixed);
        for (name, value) in &login.parameters {
            match settings.set(name, value) {
                Ok(_) => {}
                // Drivers send settings of newer servers; PostgreSQL refuses them, and so do we.
                Err(error) => return Err(error),
            }
        }
        settings.start_here();
        let identity = Arc::new(engine.identity(&login.user));
        Ok(EngineSession::new(Arc::clone(engine), login, identity, settings, place))
    }
}
