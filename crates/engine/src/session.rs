//! One client's session: its settings, its transaction, and the path of each statement.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use belvedere_planner::pipeline;
use belvedere_planner::policy::Identity;
use belvedere_planner::session::{RollupSettings, SessionFacts};
use belvedere_planner::substitute::Report;
use belvedere_rollup::StoreError;
use belvedere_sources::push_down;
use chrono::{DateTime, Datelike, Utc};
use dashmap::DashMap;
use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Query, Statement};
use futures::{StreamExt, stream};
use postgres_types::Type;
use tokio_util::sync::CancellationToken;

use crate::cursors::{Count, Cursor, CursorStatement, Cursors, parse_cursor};
use crate::engine::{Engine, Snapshot};
use crate::errors::{from_datafusion, from_plan};
use crate::explain::{self, Shown, StageText};
use crate::refresh_statement::parse_refresh;
use crate::rollup_tables::own_tables;
use crate::run::keeps_no_state;
use crate::settings::Settings;
use crate::streaming::{Stop, guarded};
use crate::transaction::Transaction;
use crate::utility::{Utility, parse_utility};
use crate::{
    Column, Deallocate, Effects, Login, Outcome, Prepared, RowStream, Session, Severity, SqlError, TransactionStatus,
    columns,
};

/// A session of the [`Engine`].
pub struct EngineSession {
    engine: Arc<Engine>,
    login: Login,
    /// As the configuration says; no statement changes it.
    identity: Arc<Identity>,
    /// Who runs the program sees plans whole; access policies hold all the same.
    pub(crate) is_operator: bool,
    settings: Settings,
    transaction: Option<Transaction>,
    cursors: Cursors,
    /// Keeps the place among the allowed connections.
    _place: tokio::sync::OwnedSemaphorePermit,
}

/// What `prepare` found out, and `execute` goes on with.
enum Plan {
    Empty,
    Utility(Utility),
    Cursor(CursorPlan),
    Query {
        query: Box<Query>,
        declared: Vec<Option<FieldRef>>,
        bound: Box<pipeline::Bound>,
        version: u64,
        settings: PlanSettings,
        /// `now()` or one of its kin may be in the text.
        mentions_moment: bool,
        /// What planning made of it, where that depends on nothing else: no parameters, no `now()`.
        planned: OnceLock<Arc<Planned>>,
    },
    Explain {
        query: Box<Query>,
        declared: Vec<Option<FieldRef>>,
        options: explain::Options,
    },
    Catalog(Box<belvedere_pgcatalog::CatalogStatement>),
    /// `REFRESH MATERIALIZED VIEW`, by the name as written.
    Refresh(String),
}

enum CursorPlan {
    Declare { name: String, hold: bool, query: Arc<Prepared> },
    Fetch { name: String, count: Count },
    Move { name: String, count: Count },
    Close { name: Option<String> },
}

/// The session that a bound plan depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PlanSettings {
    zone: belvedere_functions::Zone,
    /// Custom granularities are counted from the start of the year where the model gives no origin.
    year: i32,
    user: String,
    database: String,
    /// Policies are in the plan.
    identity: Arc<Identity>,
    rollups: RollupSettings,
}

/// An optimized plan with its push-down, ready to be started any number of times.
struct Planned {
    logical: LogicalPlan,
    notices: Vec<String>,
    rollups: Report,
    /// Another moment has another plan.
    of_moment: bool,
    /// Where its operators keep nothing from one run to the next.
    physical: OnceLock<Arc<dyn ExecutionPlan>>,
}

/// Statements that were prepared before: dashboards send the same text again and again.
#[derive(Default)]
pub(crate) struct KnownStatements(DashMap<KnownKey, Arc<Prepared>>);

#[derive(PartialEq, Eq, Hash)]
struct KnownKey {
    sql: String,
    declared: Vec<Option<Type>>,
    version: u64,
    settings: PlanSettings,
}

impl KnownStatements {
    /// Statements kept; beyond it all are forgotten, which costs each one planning.
    const STATEMENTS_MAX: usize = 1024;
    /// Longer texts are rarely sent twice, and would fill the memory.
    const SQL_BYTES_MAX: usize = 16 << 10;

    fn get(&self, key: &KnownKey) -> Option<Arc<Prepared>> {
        self.0.get(key).map(|known| Arc::clone(&known))
    }

    /// Forgets what was planned against other snapshots: it would hold versions of rollups that nobody reads any more.
    pub(crate) fn keep_only(&self, version: u64) {
        self.0.retain(|key, _| key.version == version);
    }

    fn add(&self, key: KnownKey, prepared: &Arc<Prepared>) {
        if key.sql.len() > Self::SQL_BYTES_MAX || mentions_moment(&key.sql) {
            return;
        }
        if self.0.len() >= Self::STATEMENTS_MAX {
            self.0.clear();
        }
        self.0.insert(key, Arc::clone(prepared));
    }
}

impl std::fmt::Debug for KnownStatements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KnownStatements({})", self.0.len())
    }
}

impl EngineSession {
    pub(crate) fn new(
        engine: Arc<Engine>,
        login: Login,
        identity: Arc<Identity>,
        settings: Settings,
        place: tokio::sync::OwnedSemaphorePermit,
    ) -> Self {
        Self {
            engine,
            login,
            identity,
            is_operator: false,
            settings,
            transaction: None,
            cursors: Cursors::default(),
            _place: place,
        }
    }

    fn facts(&self) -> SessionFacts {
        SessionFacts {
            user: self.login.user.clone(),
            database: self.login.database.clone(),
            zone: self.settings.zone(),
            now: self.now(),
            rollups: self.settings.rollups(),
        }
    }

    /// The same through a transaction.
    fn now(&self) -> DateTime<Utc> {
        self.transaction.as_ref().map_or_else(|| self.engine.clock().now(), |transaction| transaction.start)
    }

    fn plan_settings(&self) -> PlanSettings {
        let zone = self.settings.zone();
        PlanSettings {
            year: self.facts().local_now().year(),
            zone,
            user: self.login.user.clone(),
            database: self.login.database.clone(),
            identity: Arc::clone(&self.identity),
            rollups: self.settings.rollups(),
        }
    }

    async fn bind(
        &self,
        query: Query,
        declared: Vec<Option<FieldRef>>,
        snapshot: &Arc<Snapshot>,
        sql: &str,
        stop: &Stop,
    ) -> Result<pipeline::Bound, SqlError> {
        let facts = self.facts();
        let functions = Arc::clone(self.engine.functions());
        let seen = snapshot.seen_by(&self.identity);
        let work = move || pipeline::prepare(query, &seen.catalog, &functions, &facts, &declared);
        self.on_planning_pool(work, stop).await?.map_err(|error| from_plan(&error, sql))
    }

    async fn on_planning_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        stop: &Stop,
    ) -> Result<T, SqlError> {
        tokio::select! {
            why = stop.stopped() => Err(why),
            planned = self.engine.planning().run(work) => planned.ok_or_else(|| {
                SqlError::new("53000", "the statement could not be planned")
                    .detail("Too many statements are being planned, or planning failed; the log says more.")
            }),
        }
    }

    /// Plans, optimizes and starts a bound query; `planned` keeps the plan for the next time, where it is the same then.
    async fn run_query(
        &self,
        sql: &str,
        bound: &pipeline::Bound,
        parameters: Vec<ScalarValue>,
        planned: Option<&OnceLock<Arc<Planned>>>,
        snapshot: &Arc<Snapshot>,
        stop: Stop,
    ) -> Result<Outcome, SqlError> {
        // How old a rollup may be is asked anew each time.
        let planned = planned.filter(|_| self.settings.rollups().max_staleness.is_none());
        let planned = match planned.and_then(OnceLock::get) {
            Some(known) => Arc::clone(known),
            None => {
                let keeps = parameters.is_empty();
                let fresh = Arc::new(self.planned(sql, bound, parameters.clone(), snapshot, &stop).await?);
                if let Some(cell) = planned.filter(|_| keeps && !fresh.of_moment) {
                    // Another session may have been first with the same plan.
                    let _: Result<(), Arc<Planned>> = cell.set(Arc::clone(&fresh));
                }
                fresh
            }
        };
        let (planned, stream) = self.started(planned, sql, bound, parameters, &stop).await?;
        let schema: SchemaRef = Arc::clone(planned.logical.schema().inner());
        // A modifier is the one that Describe promised: what a column is computed from below may have another.
        let described = bound.plan.schema().fields().iter();
        let columns: Vec<Column> = schema
            .fields()
            .iter()
            .zip(described)
            .map(|(field, described)| Column {
                typmod: columns::column_of(described).typmod,
                ..columns::column_of(field)
            })
            .collect();
        let rows = guarded(stream, stop);
        let notices = planned
            .notices
            .iter()
            .map(|sentence| SqlError::new("00000", sentence.clone()).severity(Severity::Notice))
            .collect();
        Ok(Outcome::Rows {
            columns,
            schema,
            rows,
            tag: "SELECT".to_owned(),
            effects: Effects { notices, ..Effects::default() },
        })
    }

    /// Starts a plan. Where that finds that a stored partition is damaged before there is any row, the statement is planned again without it.
    async fn started(
        &self,
        mut planned: Arc<Planned>,
        sql: &str,
        bound: &pipeline::Bound,
        parameters: Vec<ScalarValue>,
        stop: &Stop,
    ) -> Result<(Arc<Planned>, SendableRecordBatchStream), SqlError> {
        loop {
            let physical = self.physical(&planned).await?;
            let mut rows = self.engine.runner().start(physical).map_err(|error| from_datafusion(&error))?;
            if planned.rollups.used.is_empty() {
                return Ok((planned, rows));
            }
            let first = tokio::select! {
                why = stop.stopped() => return Err(why),
                first = rows.next() => first,
            };
            let damaged = match &first {
                Some(Err(error)) => StoreError::find_in(error).map(ToString::to_string),
                Some(Ok(_)) | None => None,
            };
            if let Some(damage) = damaged {
                tracing::warn!(%damage, "a rollup cannot be read, the query is answered without the partition");
                // Quarantined now. Each time there is one less, so this ends.
                if self.engine.see_rollups().await.unwrap_or(false) {
                    let snapshot = self.engine.snapshot();
                    planned = Arc::new(self.planned(sql, bound, parameters.clone(), &snapshot, stop).await?);
                    continue;
                }
            }
            let schema = rows.schema();
            let rows = RecordBatchStreamAdapter::new(schema, stream::iter(first).chain(rows));
            return Ok((planned, Box::pin(rows)));
        }
    }

    async fn physical(&self, planned: &Planned) -> Result<Arc<dyn ExecutionPlan>, SqlError> {
        if let Some(known) = planned.physical.get() {
            return Ok(Arc::clone(known));
        }
        let zone = self.settings.zone();
        let plan = self.engine.runner().physical(&planned.logical, zone).await.map_err(|error| {
            let in_words = belvedere_planner::bind::subqueries::refused_correlation(&planned.logical);
            in_words.map_or_else(|| from_datafusion(&error), |refused| from_plan(&refused, ""))
        })?;
        if keeps_no_state(&plan) {
            // Another session may have been first with the same plan.
            let _: Result<(), Arc<dyn ExecutionPlan>> = planned.physical.set(Arc::clone(&plan));
        }
        Ok(plan)
    }

    async fn planned(
        &self,
        sql: &str,
        bound: &pipeline::Bound,
        parameters: Vec<ScalarValue>,
        snapshot: &Arc<Snapshot>,
        stop: &Stop,
    ) -> Result<Planned, SqlError> {
        let facts = self.facts();
        let functions = Arc::clone(self.engine.functions());
        let runner = self.engine.runner().clone();
        let bound = bound.clone();
        let seen = snapshot.seen_by(&self.identity);
        let work = move || {
            let planned = pipeline::plan(&bound, parameters, &seen.catalog, &functions, &facts)?;
            let logical = runner.logical(planned.plan.clone(), facts.zone).map_err(|error| {
                let in_words = belvedere_planner::bind::subqueries::refused_correlation(&planned.plan);
                in_words.unwrap_or_else(|| belvedere_planner::bind::errors::plan_error(error, &[]))
            })?;
            Ok::<_, belvedere_planner::error::PlanError>(Planned {
                logical,
                notices: planned.notices,
                rollups: planned.rollups,
                of_moment: planned.of_moment,
                physical: OnceLock::new(),
            })
        };
        self.on_planning_pool(work, stop).await?.map_err(|error| from_plan(&error, sql))
    }

    fn catalog_facts(&self) -> belvedere_pgcatalog::SessionFacts {
        let mut facts = crate::catalog::session_facts(
            &self.login,
            &self.settings,
            self.now().timestamp_micros(),
            self.engine.started().timestamp_micros(),
        );
        let seen = self.engine.snapshot().seen_by(&self.identity);
        let is_hidden = move |cube: &str| seen.catalog.hidden.contains(cube);
        facts.own_tables = own_tables(&self.engine, is_hidden, self.may_build());
        facts
    }

    fn may_build(&self) -> bool {
        self.is_operator || self.engine.may_build(&self.login.user)
    }

    /// Builds a rollup, in all its zones, whether or not it is due.
    async fn refresh(&self, name: &str, stop: &Stop) -> Result<Outcome, SqlError> {
        if !self.may_build() {
            return Err(SqlError::new("42501", format!("permission denied for materialized view \"{name}\""))
                .hint("Only users with `build: true` in the configuration have rollups built."));
        }
        let all = self.engine.rollups();
        let Some(rollup) = all.iter().find(|rollup| rollup.name.to_string() == name) else {
            let names: Vec<String> = all.iter().map(|rollup| rollup.name.to_string()).collect();
            let error = SqlError::new("42P01", format!("materialized view \"{name}\" does not exist"));
            let close = belvedere_model::did_you_mean(name, names.iter().map(String::as_str));
            return Err(match close {
                Some(close) => error.hint(format!("Perhaps you meant the rollup \"{close}\".")),
                None => error,
            });
        };
        let Some(builder) = self.engine.rollup_builder() else {
            return Err(SqlError::new("55000", "this process builds no rollups")
                .hint("Use `belvedere build`, which a running server sees within seconds."));
        };
        tokio::select! {
            why = stop.stopped() => Err(why),
            built = builder.build_now(&rollup.name) => built.map(|()| Outcome::Command {
                tag: "REFRESH MATERIALIZED VIEW".to_owned(),
                effects: Effects::default(),
            }),
        }
    }

    async fn run_catalog(
        &self,
        statement: belvedere_pgcatalog::CatalogStatement,
        parameters: Vec<ScalarValue>,
        stop: Stop,
    ) -> Result<Outcome, SqlError> {
        let seen = self.engine.snapshot().seen_by(&self.identity);
        let facts = self.catalog_facts();
        let columns = statement.columns.iter().map(catalog_column).collect();
        let schema = Arc::clone(&statement.schema);
        let stopping = stop.clone();
        let work = move || statement.run(&seen.pg_catalog, &facts, &parameters, &|| stopping.is_stopped());
        let batch = self.on_planning_pool(work, &stop).await?.map_err(catalog_error)?;
        let rows: RowStream = Box::pin(stream::iter([Ok(batch)]));
        Ok(Outcome::Rows { columns, schema, rows, tag: "SELECT".to_owned(), effects: Effects::default() })
    }

    /// A change that COMMIT keeps.
    fn change(&mut self, change: impl Fn(&mut Settings) -> Result<(), SqlError>) -> Result<(), SqlError> {
        change(&mut self.settings)?;
        match &mut self.transaction {
            Some(transaction) => transaction.lastingly(change),
            None => {
                self.settings.end_transaction();
                Ok(())
            }
        }
    }

    /// A change that the end of the transaction takes back; outside of one the value is only checked.
    fn set_locally(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        match self.transaction {
            Some(_) => self.settings.set(name, value),
            None => self.settings.clone().set(name, value),
        }
    }

    fn begin(&mut self, isolation: Option<&str>) {
        self.transaction = Some(Transaction::begin(self.engine.clock().now(), &self.settings));
        self.settings.begin_at(isolation);
    }

    fn utility(&mut self, utility: &Utility) -> Result<Outcome, SqlError> {
        let before = self.settings.clone();
        let mut effects = Effects::default();
        let mut tag = utility.tag();
        let mut set_config = None;
        let warning = |sqlstate: &'static str, message: &str| {
            SqlError::new(sqlstate, message.to_owned()).severity(Severity::Warning)
        };
        let only_inside = |what: &str| SqlError::new("25P01", format!("{what} can only be used in transaction blocks"));
        match utility {
            Utility::Set { name, value, local: false } => self.change(|settings| settings.set(name, value))?,
            Utility::Set { name, value, local: true } => {
                self.set_locally(name, value)?;
                if self.transaction.is_none() {
                    effects.notices.push(warning("25P01", "SET LOCAL can only be used in transaction blocks"));
                }
            }
            Utility::Reset { name } => self.change(|settings| settings.reset(name))?,
            Utility::ResetAll => self.change(|settings| {
                settings.reset_all();
                Ok(())
            })?,
            Utility::SetTransaction { isolation } => {
                if self.transaction.is_none() {
                    effects.notices.push(warning("25P01", "SET TRANSACTION can only be used in transaction blocks"));
                } else if isolation.is_some() {
                    self.settings.begin_at(*isolation);
                }
            }
            Utility::SessionCharacteristics { isolation } => {
                if let Some(level) = isolation {
                    self.change(|settings| settings.set("default_transaction_isolation", level))?;
                }
            }
            Utility::SetConfig { name, value, local } => {
                if *local {
                    self.set_locally(name, value)?;
                } else {
                    self.change(|settings| settings.set(name, value))?;
                }
                set_config = Some(self.settings.show(name)?.1);
            }
            Utility::Show { name } => {
                let (name, value) = self.settings.show(name)?;
                return Ok(one_row(&[(name.as_str(), value.as_str())], "SHOW"));
            }
            Utility::ShowAll => return Ok(self.show_all()),
            Utility::Begin { isolation, .. } => {
                if self.transaction.is_none() {
                    self.begin(*isolation);
                } else {
                    effects.notices.push(warning("25001", "there is already a transaction in progress"));
                    if isolation.is_some() {
                        self.settings.begin_at(*isolation);
                    }
                }
            }
            Utility::Commit { chain } | Utility::Rollback { chain } => match self.transaction.take() {
                None if *chain => return Err(only_inside(&format!("{tag} AND CHAIN"))),
                None => effects.notices.push(warning("25P01", "there is no transaction in progress")),
                Some(transaction) => {
                    if transaction.failed {
                        tag = "ROLLBACK";
                    }
                    self.cursors.transaction_ended(tag != "ROLLBACK");
                    let isolation = self.settings.show("transaction_isolation")?.1;
                    self.settings = if tag == "ROLLBACK" { transaction.rolled_back() } else { transaction.committed() };
                    self.settings.end_transaction();
                    if *chain {
                        self.begin(Some(&isolation));
                    }
                }
            },
            Utility::Savepoint { name } => match &mut self.transaction {
                None => return Err(only_inside("SAVEPOINT")),
                Some(transaction) => transaction.savepoint(name, &self.settings, self.cursors.names())?,
            },
            Utility::Release { name } => match &mut self.transaction {
                None => return Err(only_inside("RELEASE SAVEPOINT")),
                Some(transaction) => transaction.release(name)?,
            },
            Utility::RollbackTo { name } => match &mut self.transaction {
                None => return Err(only_inside("ROLLBACK TO SAVEPOINT")),
                Some(transaction) => {
                    let (settings, cursors) = transaction.rollback_to(name)?;
                    self.settings = settings;
                    self.cursors.retain(&cursors);
                }
            },
            Utility::Nothing { .. } => {}
            Utility::Deallocate { name } => {
                effects.deallocate = Some(name.clone().map_or(Deallocate::All, Deallocate::One));
            }
            Utility::DiscardAll => {
                if self.transaction.is_some() {
                    return Err(SqlError::new("25001", "DISCARD ALL cannot run inside a transaction block"));
                }
                self.change(|settings| {
                    settings.reset_all();
                    Ok(())
                })?;
                effects.deallocate = Some(Deallocate::All);
                self.cursors.close(None)?;
            }
        }
        effects.changed_settings = self.settings.reported_since(&before);
        if let Some(value) = set_config {
            return Ok(match one_row(&[("set_config", value.as_str())], tag) {
                Outcome::Rows { columns, schema, rows, tag, .. } => {
                    Outcome::Rows { columns, schema, rows, tag, effects }
                }
                other => other,
            });
        }
        Ok(Outcome::Command { tag: tag.to_owned(), effects })
    }

    /// After an error only the end of the transaction, or going back to a savepoint, is left.
    fn refuse_after_error(&self, utility: &Utility) -> Result<(), SqlError> {
        let goes_on = matches!(utility, Utility::Commit { .. } | Utility::Rollback { .. } | Utility::RollbackTo { .. });
        if self.transaction_status() == TransactionStatus::Failed && !goes_on { Err(aborted()) } else { Ok(()) }
    }

    fn show_all(&self) -> Outcome {
        let (names, values): (Vec<&str>, Vec<&str>) = self.settings.all().unzip();
        let descriptions = vec![""; names.len()];
        text_rows(&[("name", names), ("setting", values), ("description", descriptions)], "SHOW")
    }
}

/// One row of text columns.
fn one_row(columns: &[(&str, &str)], tag: &str) -> Outcome {
    let columns: Vec<(&str, Vec<&str>)> = columns.iter().map(|(name, value)| (*name, vec![*value])).collect();
    text_rows(&columns, tag)
}

fn text_rows(columns: &[(&str, Vec<&str>)], tag: &str) -> Outcome {
    let fields: Vec<Field> = columns.iter().map(|(name, _)| Field::new(*name, DataType::Utf8, true)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let arrays: Vec<ArrayRef> =
        columns.iter().map(|(_, values)| Arc::new(StringArray::from(values.clone())) as ArrayRef).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)
        .map_err(|error| SqlError::new("XX000", "a small result could not be built").detail(error.to_string()));
    let rows: RowStream = Box::pin(stream::iter([batch]));
    Outcome::Rows {
        columns: columns
            .iter()
            .map(|(name, _)| Column { name: (*name).to_owned(), pg_type: Type::TEXT, typmod: -1 })
            .collect(),
        schema,
        rows,
        tag: tag.to_owned(),
        effects: Effects::default(),
    }
}

#[async_trait]
impl Session for EngineSession {
    fn reported_settings(&self) -> Vec<(String, String)> {
        self.settings.reported()
    }

    fn split(&self, sql: &str) -> Result<Vec<String>, SqlError> {
        belvedere_planner::parse::split(sql).map_err(|error| from_plan(&error, sql))
    }

    async fn prepare(
        &mut self,
        sql: &str,
        declared: &[Option<Type>],
        cancel: &CancellationToken,
    ) -> Result<Arc<Prepared>, SqlError> {
        let prepared = |parameters: Vec<Type>, columns: Option<Vec<Column>>, plan: Plan| {
            Arc::new(Prepared { sql: sql.to_owned(), parameters, columns, plan: Box::new(plan) })
        };
        let known = KnownKey {
            sql: sql.to_owned(),
            declared: declared.to_vec(),
            version: self.engine.snapshot().version,
            settings: self.plan_settings(),
        };
        if self.transaction_status() != TransactionStatus::Failed
            && let Some(prepared) = self.engine.known_statements().get(&known)
        {
            return Ok(prepared);
        }
        if self.split(sql)?.is_empty() {
            return Ok(prepared(vec![], None, Plan::Empty));
        }
        if let Some(name) = parse_refresh(sql)? {
            return Ok(prepared(vec![], None, Plan::Refresh(name)));
        }
        if let Some(utility) = parse_utility(sql)? {
            self.refuse_after_error(&utility)?;
            let text = |name: &str| Column { name: name.to_owned(), pg_type: Type::TEXT, typmod: -1 };
            let columns = match &utility {
                Utility::Show { name } => Some(vec![text(&self.settings.show(name)?.0)]),
                Utility::SetConfig { .. } => Some(vec![text("set_config")]),
                Utility::ShowAll => Some(vec![text("name"), text("setting"), text("description")]),
                _ => None,
            };
            return Ok(prepared(vec![], columns, Plan::Utility(utility)));
        }
        if self.transaction_status() == TransactionStatus::Failed {
            return Err(aborted());
        }
        if let Some(statement) = parse_cursor(sql)? {
            return self.prepare_cursor(sql, statement, declared, cancel).await;
        }
        let (explained, rest) = explain::split(sql)?;
        let rest = rest.as_ref();
        let statement = belvedere_planner::parse::parse_one(rest).map_err(|error| from_plan(&error, rest))?;
        if explained.is_none() && belvedere_pgcatalog::is_catalog_statement(&statement) {
            let stop = Stop::new(cancel.clone(), self.settings.statement_timeout());
            let seen = self.engine.snapshot().seen_by(&self.identity);
            let facts = self.catalog_facts();
            let declared = declared.to_vec();
            let work = move || belvedere_pgcatalog::prepare(&statement, &seen.pg_catalog, &facts, &declared);
            let statement = self.on_planning_pool(work, &stop).await?.map_err(catalog_error)?;
            let columns = statement.columns.iter().map(catalog_column).collect();
            return Ok(prepared(statement.parameters.clone(), Some(columns), Plan::Catalog(Box::new(statement))));
        }
        let Statement::Query(query) = statement else {
            return Err(SqlError::new("0A000", "this kind of statement is not supported")
                .detail("Belvedere answers queries; it only ever reads its data sources."));
        };
        let declared: Vec<Option<FieldRef>> =
            declared.iter().map(|declared| declared.as_ref().and_then(columns::field_of).map(Arc::new)).collect();
        let snapshot = self.engine.snapshot();
        let stop = Stop::new(cancel.clone(), self.settings.statement_timeout());
        let bound = self.bind(query.as_ref().clone(), declared.clone(), &snapshot, rest, &stop).await?;
        let parameters = bound.parameters.iter().map(|field| columns::pg_type_of(field).0).collect();
        let bound = Box::new(bound);
        Ok(match explained {
            Some(options) => {
                let column = Column { name: "QUERY PLAN".to_owned(), pg_type: Type::TEXT, typmod: -1 };
                prepared(parameters, Some(vec![column]), Plan::Explain { query, declared, options })
            }
            None => {
                let columns = bound.plan.schema().fields().iter().map(|field| columns::column_of(field)).collect();
                let settings = self.plan_settings();
                let version = snapshot.version;
                let plan = Plan::Query {
                    query,
                    declared,
                    bound,
                    version,
                    settings,
                    mentions_moment: mentions_moment(sql),
                    planned: OnceLock::new(),
                };
                let prepared = prepared(parameters, Some(columns), plan);
                if known.version == version {
                    self.engine.known_statements().add(known, &prepared);
                }
                prepared
            }
        })
    }

    async fn execute(
        &mut self,
        statement: &Prepared,
        parameters: Vec<ScalarValue>,
        cancel: CancellationToken,
    ) -> Result<Outcome, SqlError> {
        let Some(plan) = statement.plan.downcast_ref::<Plan>() else {
            return Err(SqlError::new("XX000", "a statement of another engine was executed"));
        };
        if let Plan::Utility(utility) = plan {
            self.refuse_after_error(utility)?;
            return self.utility(utility);
        }
        if self.transaction_status() == TransactionStatus::Failed {
            return Err(aborted());
        }
        let stop = Stop::new(cancel, self.settings.statement_timeout());
        match plan {
            Plan::Cursor(cursor) => self.cursor(cursor, parameters, stop).await,
            plan => self.run(statement, plan, parameters, stop).await,
        }
    }

    fn statement_failed(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
        }
    }

    fn transaction_status(&self) -> TransactionStatus {
        match &self.transaction {
            None => TransactionStatus::Idle,
            Some(transaction) if transaction.failed => TransactionStatus::Failed,
            Some(_) => TransactionStatus::InTransaction,
        }
    }
}

impl EngineSession {
    /// Starts a query, a catalog statement or an EXPLAIN.
    async fn run(
        &self,
        statement: &Prepared,
        plan: &Plan,
        parameters: Vec<ScalarValue>,
        stop: Stop,
    ) -> Result<Outcome, SqlError> {
        match plan {
            Plan::Empty => Ok(Outcome::Empty),
            Plan::Utility(_) | Plan::Cursor(_) => {
                Err(SqlError::new("XX000", "a utility statement was taken for a query"))
            }
            Plan::Refresh(name) => self.refresh(name, &stop).await,
            Plan::Catalog(statement) => self.run_catalog(statement.as_ref().clone(), parameters, stop).await,
            Plan::Query { query, declared, bound, version, settings, mentions_moment, planned } => {
                let snapshot = self.engine.snapshot();
                // Values such as now() are in the plan: it is bound again where they, the model or the zone may differ.
                if snapshot.version == *version && !mentions_moment && *settings == self.plan_settings() {
                    return self.run_query(&statement.sql, bound, parameters, Some(planned), &snapshot, stop).await;
                }
                let again =
                    self.bind(query.as_ref().clone(), declared.clone(), &snapshot, &statement.sql, &stop).await?;
                let now: Vec<Column> =
                    again.plan.schema().fields().iter().map(|field| columns::column_of(field)).collect();
                if statement.columns.as_ref().is_some_and(|before| *before != now) {
                    return Err(SqlError::new("0A000", "cached plan must not change result type"));
                }
                self.run_query(&statement.sql, &again, parameters, None, &snapshot, stop).await
            }
            Plan::Explain { query, declared, options } => {
                let snapshot = self.engine.snapshot();
                let bound =
                    self.bind(query.as_ref().clone(), declared.clone(), &snapshot, &statement.sql, &stop).await?;
                let planned = self.planned(&statement.sql, &bound, parameters.clone(), &snapshot, &stop).await?;
                let depth = if bound.is_restricted && !self.is_operator { Shown::Outline } else { Shown::All };
                // What could not run is not explained as if it could.
                self.physical(&planned).await?;
                let stages = if options.stages && depth == Shown::All {
                    self.stages(query.as_ref().clone(), declared.clone(), parameters, &snapshot, &statement.sql, &stop)
                        .await?
                } else {
                    vec![]
                };
                let lines = explain::render(&planned.logical, &planned.rollups, &stages, options.format, depth)
                    .map_err(|error| from_datafusion(&error))?;
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                let mut outcome = text_rows(&[("QUERY PLAN", lines)], "EXPLAIN");
                if let Outcome::Rows { columns, .. } = &mut outcome {
                    columns.clone_from(statement.columns.as_ref().unwrap_or(&vec![]));
                }
                Ok(outcome)
            }
        }
    }

    /// What each stage makes of a query.
    async fn stages(
        &self,
        query: Query,
        declared: Vec<Option<FieldRef>>,
        parameters: Vec<ScalarValue>,
        snapshot: &Arc<Snapshot>,
        sql: &str,
        stop: &Stop,
    ) -> Result<Vec<StageText>, SqlError> {
        let facts = self.facts();
        let functions = Arc::clone(self.engine.functions());
        let runner = self.engine.runner().clone();
        let seen = snapshot.seen_by(&self.identity);
        let work = move || {
            let trace = pipeline::trace(query, &seen.catalog, &functions, &facts, &declared, |_| Ok(parameters));
            let mut stages = explain::planner_stages(&trace.steps);
            let (_, planned) = trace.result?;
            let to_error = |error| belvedere_planner::bind::errors::plan_error(error, &[]);
            let optimized = runner.optimized(planned.plan.clone(), facts.zone).map_err(to_error)?;
            stages.push(explain::plan_stage("optimize", &planned.plan, &optimized));
            let pushed = push_down(optimized.clone()).map_err(to_error)?;
            stages.push(explain::plan_stage("push_down", &optimized, &pushed));
            Ok::<_, belvedere_planner::error::PlanError>(stages)
        };
        self.on_planning_pool(work, stop).await?.map_err(|error| from_plan(&error, sql))
    }

    async fn prepare_cursor(
        &mut self,
        sql: &str,
        statement: CursorStatement,
        declared: &[Option<Type>],
        cancel: &CancellationToken,
    ) -> Result<Arc<Prepared>, SqlError> {
        let (parameters, columns, plan) = match statement {
            CursorStatement::Declare { name, hold, query } => {
                let query = self.prepare(&query, declared, cancel).await?;
                match query.plan.downcast_ref::<Plan>() {
                    Some(Plan::Query { .. } | Plan::Catalog(_)) => {}
                    _ => return Err(SqlError::new("42601", "a cursor can only be declared for a query")),
                }
                (query.parameters.clone(), None, CursorPlan::Declare { name, hold, query })
            }
            CursorStatement::Fetch { name, count } => {
                let columns = self.cursors.get(&name)?.columns.clone();
                (vec![], Some(columns), CursorPlan::Fetch { name, count })
            }
            CursorStatement::Move { name, count } => (vec![], None, CursorPlan::Move { name, count }),
            CursorStatement::Close { name } => (vec![], None, CursorPlan::Close { name }),
        };
        Ok(Arc::new(Prepared { sql: sql.to_owned(), parameters, columns, plan: Box::new(Plan::Cursor(plan)) }))
    }

    async fn cursor(
        &mut self,
        plan: &CursorPlan,
        parameters: Vec<ScalarValue>,
        stop: Stop,
    ) -> Result<Outcome, SqlError> {
        let tag = match plan {
            CursorPlan::Declare { name, hold, query } => {
                let in_transaction = self.transaction.is_some();
                self.cursors.check_new(name, *hold, in_transaction)?;
                let Some(inner) = query.plan.downcast_ref::<Plan>() else {
                    return Err(SqlError::new("XX000", "a statement of another engine was declared"));
                };
                // The cursor outlives this statement, its cancel and its timeout; each FETCH has its own.
                let own = Stop::new(CancellationToken::new(), None);
                let started = tokio::select! {
                    biased;
                    why = stop.stopped() => return Err(why),
                    started = self.run(query, inner, parameters, own) => started?,
                };
                let Outcome::Rows { columns, schema, rows, effects, .. } = started else {
                    return Err(SqlError::new("42601", "a cursor can only be declared for a query"));
                };
                self.cursors.insert(name.clone(), Cursor::new(columns, schema, rows, *hold, in_transaction));
                return Ok(Outcome::Command { tag: "DECLARE CURSOR".to_owned(), effects });
            }
            CursorPlan::Fetch { name, count } => {
                let cursor = self.cursors.get(name)?;
                return Ok(Outcome::Rows {
                    columns: cursor.columns.clone(),
                    schema: Arc::clone(&cursor.schema),
                    rows: cursor.fetch(name, *count, stop),
                    tag: "FETCH".to_owned(),
                    effects: Effects::default(),
                });
            }
            CursorPlan::Move { name, count } => {
                let mut rows = self.cursors.get(name)?.fetch(name, *count, stop);
                let mut passed = 0;
                while let Some(batch) = rows.next().await {
                    passed += batch?.num_rows();
                }
                format!("MOVE {passed}")
            }
            CursorPlan::Close { name } => {
                self.cursors.close(name.as_deref())?;
                if name.is_some() { "CLOSE CURSOR" } else { "CLOSE CURSOR ALL" }.to_owned()
            }
        };
        Ok(Outcome::Command { tag, effects: Effects::default() })
    }
}

fn catalog_error(error: belvedere_pgcatalog::CatalogError) -> SqlError {
    let mut own = SqlError::new(error.sqlstate, error.message);
    own.hint = error.hint;
    own
}

fn catalog_column(column: &belvedere_pgcatalog::CatalogOutput) -> Column {
    Column { name: column.name.clone(), pg_type: column.pg_type.clone(), typmod: column.typmod }
}

fn aborted() -> SqlError {
    SqlError::new("25P02", "current transaction is aborted, commands ignored until end of transaction block")
}

/// Whether a text may contain `now()` or one of its kin. Too often yes is right, only slower.
fn mentions_moment(sql: &str) -> bool {
    let lower = sql.to_lowercase();
    ["now", "current_", "localtime", "timestamp", "today", "tomorrow", "yesterday"]
        .iter()
        .any(|word| lower.contains(word))
        // age(x) counts from today; "average" and "page" do not.
        || lower.split(|part: char| !part.is_alphanumeric() && part != '_').any(|word| word == "age")
}

#[cfg(test)]
mod tests {
    use super::mentions_moment;

    #[test]
    fn a_statement_that_the_clock_changes_is_known_by_its_words() {
        for sql in ["SELECT now()", "SELECT CURRENT_DATE", "SELECT AGE (created) FROM t", "SELECT date 'today'"] {
            assert!(mentions_moment(sql), "{sql}");
        }
        for sql in ["SELECT average, page FROM t", "SELECT agent FROM t"] {
            assert!(!mentions_moment(sql), "{sql}");
        }
    }
}
