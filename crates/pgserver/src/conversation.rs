//! A logged-in session's messages, one after another: simple queries, extended queries, and what follows an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pgwire::messages::extendedquery::{Bind, Parse};
use postgres_types::Type;
use tokio_util::sync::CancellationToken;

use belvedere_engine::{Deallocate, Effects, Outcome, Prepared, Session, Severity, SqlError, TransactionStatus};

use crate::ServerConfig;
use crate::cancel::CancelKey;
use crate::guard::{Frame, FrameGuard, Phase, Request, Step, Target, decode};
use crate::messages::{
    BIND_COMPLETE, CLOSE_COMPLETE, EMPTY_QUERY, Format, FormatsOf, NO_DATA, PARSE_COMPLETE, PORTAL_SUSPENDED, formats,
    put_complete, put_error, put_parameter_description, put_parameter_status, put_ready, put_row_description,
    put_rows_complete,
};
use crate::metrics::{Metrics, add};
use crate::parameters;
use crate::serve::{Signals, shutting_down};
use crate::statements::{Portal, PortalState, Portals, Statements};
use crate::streaming::{Progress, RunningRows, Stop, Wire, panicked};
use crate::transport::Connection;
use crate::zone::Zone;

pub(crate) struct Conversation<'a> {
    wire: Wire<'a>,
    session: Box<dyn Session>,
    key: &'a CancelKey,
    metrics: &'a Metrics,
    guard: FrameGuard,
    phase: Phase,
    /// Between the first message of an extended-query batch and its Sync.
    in_batch: bool,
    /// The client waits for what is in the output buffer.
    flush_due: bool,
    statements: Statements,
    portals: Portals,
    /// Settings to report before the next ReadyForQuery.
    changed_settings: Vec<(String, String)>,
    zone: Zone,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(
        connection: &'a mut Connection,
        session: Box<dyn Session>,
        key: &'a CancelKey,
        config: &'a ServerConfig,
        signals: &'a Signals,
    ) -> Self {
        let zone = session
            .reported_settings()
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("TimeZone"))
            .map_or(Zone::Utc, |(_, zone)| Zone::from_setting(zone));
        Self {
            wire: Wire { connection, signals, limits: &config.limits },
            session,
            key,
            metrics: &config.metrics,
            guard: FrameGuard::default(),
            phase: Phase::Ready,
            in_batch: false,
            // The end of the login.
            flush_due: true,
            statements: Statements::default(),
            portals: Portals::default(),
            changed_settings: Vec::new(),
            zone,
        }
    }

    /// Runs until the client leaves or something FATAL happens, which the caller tells the client.
    pub(crate) async fn run(mut self) -> Option<SqlError> {
        loop {
            let handled = match self.next_frame().await {
                Ok(Some(step)) => self.handle(step).await,
                Ok(None) => return None,
                Err(stop) => Err(stop),
            };
            match handled {
                Ok(true) => {}
                Ok(false) | Err(Stop::Gone) => return None,
                Err(Stop::Error(error)) => return Some(error.severity(Severity::Fatal)),
            }
            if self.wire.connection.output.len() >= self.wire.limits.output_buffer_bytes
                && let Err(stop) = self.wire.flush().await
            {
                return match stop {
                    Stop::Error(error) => Some(error),
                    Stop::Gone => None,
                };
            }
        }
    }

    /// The next message, or `None` when the client has gone.
    async fn next_frame(&mut self) -> Result<Option<Step>, Stop> {
        loop {
            match self.guard.next(self.phase, self.wire.limits, &mut self.wire.connection.input)? {
                Step::Incomplete => {}
                step => return Ok(Some(step)),
            }
            if std::mem::take(&mut self.flush_due) {
                self.wire.flush().await?;
            }
            let signals = self.wire.signals;
            let idle = !self.in_batch && self.wire.connection.input.is_empty();
            let more = tokio::select! {
                biased;
                () = signals.kill.cancelled() => return Err(shutting_down().into()),
                () = signals.drain.cancelled(), if idle => return Err(shutting_down().into()),
                more = self.wire.connection.fill() => more,
            };
            if !matches!(more, Ok(true)) {
                return Ok(None);
            }
        }
    }

    /// Answers one message; `false` ends the session without a word. An error here is FATAL.
    async fn handle(&mut self, step: Step) -> Result<bool, Stop> {
        let (kind, request) = match step {
            // What is left of a COPY is ignored, whatever its length.
            Step::Incomplete | Step::TooLong { kind: b'd', .. } => return Ok(true),
            Step::TooLong { kind, error } => (kind, Err(error)),
            // Nothing but the end of the batch is looked at.
            Step::Frame(frame) if self.phase == Phase::SkipToSync && !matches!(frame.kind, b'S' | b'X') => {
                return Ok(true);
            }
            Step::Frame(frame) => {
                let Frame { kind, .. } = frame;
                (kind, decode(frame))
            }
        };
        if self.phase == Phase::SkipToSync && !matches!(kind, b'S' | b'X') {
            return Ok(true);
        }
        let extended = matches!(kind, b'P' | b'B' | b'D' | b'E' | b'C' | b'H');
        self.in_batch |= extended;
        let answered = match request {
            Ok(Request::Terminate) => return Ok(false),
            Ok(request) => self.answer(request).await,
            Err(error) => Err(Stop::Error(error)),
        };
        match answered {
            Ok(()) => {}
            Err(Stop::Error(error)) => {
                if error.severity == Severity::Fatal {
                    return Err(Stop::Error(error));
                }
                self.fail(&error);
                if extended {
                    self.phase = Phase::SkipToSync;
                }
            }
            Err(Stop::Gone) => return Err(Stop::Gone),
        }
        match kind {
            b'Q' | b'F' | b'S' => self.ready(),
            b'H' => self.flush_due = true,
            _ => {}
        }
        Ok(true)
    }

    fn fail(&mut self, error: &SqlError) {
        self.metrics.count_error(error.sqlstate);
        self.session.statement_failed();
        // What was suspended in the transaction cannot go on; its sources need not wait for the ROLLBACK.
        if self.session.transaction_status() == TransactionStatus::Failed {
            self.portals.clear();
        }
        put_error(&mut self.wire.connection.output, error);
    }

    /// The end of a batch or simple query.
    fn ready(&mut self) {
        self.phase = Phase::Ready;
        self.in_batch = false;
        self.flush_due = true;
        let status = self.session.transaction_status();
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
        for (name, value) in self.changed_settings.drain(..) {
            put_parameter_status(&mut self.wire.connection.output, &name, &value);
        }
        put_ready(&mut self.wire.connection.output, status);
    }

    async fn answer(&mut self, request: Request) -> Result<(), Stop> {
        match request {
            Request::Query(sql) => self.simple_query(&sql).await,
            Request::Parse(parse) => self.parse(parse).await,
            Request::Bind(bind) => self.bind(bind),
            Request::Describe(target) => self.describe(target),
            Request::Execute { portal, rows_max } => self.execute(portal, rows_max).await,
            Request::Close(target) => {
                match target {
                    Target::Statement(name) => self.statements.remove(&name),
                    Target::Portal(name) => self.portals.remove(&name),
                }
                self.say(CLOSE_COMPLETE);
                Ok(())
            }
            Request::FunctionCall => Err(SqlError::new("0A000", "fastpath function calls are not supported").into()),
            Request::Flush | Request::Sync | Request::CopyRemains | Request::Terminate => Ok(()),
        }
    }

    fn say(&mut self, message: &[u8]) {
        self.wire.connection.output.extend_from_slice(message);
    }

    async fn simple_query(&mut self, sql: &str) -> Result<(), Stop> {
        self.statements.remove("");
        self.portals.remove("");
        let split = catch_unwind(AssertUnwindSafe(|| self.session.split(sql)));
        let statements = split.map_err(|_| panicked(self.wire.connection))??;
        if statements.is_empty() {
            self.say(EMPTY_QUERY);
            return Ok(());
        }
        // Positions count from the start of the whole text.
        let mut behind = 0;
        for statement in &statements {
            let start = sql[behind..].find(statement.as_str()).map(|at| behind + at);
            behind = start.map_or(behind, |start| start + statement.len());
            self.simple_statement(statement).await.map_err(|stop| match (stop, start) {
                (Stop::Error(mut error), Some(start)) => {
                    let before = sql[..start].chars().count();
                    error.position = error.position.map(|position| position + before);
                    Stop::Error(error)
                }
                (stop, _) => stop,
            })?;
        }
        Ok(())
    }

    async fn simple_statement(&mut self, sql: &str) -> Result<(), Stop> {
        let token = CancellationToken::new();
        let _running = self.key.running(&token);
        add(&self.metrics.statements_total, 1);
        let prepared = self.wire.run(&token, self.session.prepare(sql, &[], &token)).await?;
        if !prepared.parameters.is_empty() {
            return Err(SqlError::new("42P02", "there is no parameter $1").into());
        }
        match self.start(&prepared, Vec::new(), &token).await? {
            Outcome::Empty => self.say(EMPTY_QUERY),
            Outcome::Command { tag, .. } => put_complete(&mut self.wire.connection.output, &tag),
            Outcome::Rows { columns, rows, tag, .. } => {
                let formats = vec![Format::Text; columns.len()];
                put_row_description(&mut self.wire.connection.output, &columns, &formats);
                let mut rows = RunningRows::new(rows, columns, formats, tag);
                if let Progress::Finished { rows: n } = rows.send(&mut self.wire, &token, &self.zone, 0).await? {
                    put_rows_complete(&mut self.wire.connection.output, &rows.tag, n);
                }
            }
        }
        add(&self.metrics.statements_succeeded_total, 1);
        Ok(())
    }

    /// Starts a statement and applies what it does beside its rows.
    async fn start(
        &mut self,
        prepared: &Prepared,
        parameters: Vec<datafusion::scalar::ScalarValue>,
        token: &CancellationToken,
    ) -> Result<Outcome, Stop> {
        let before = self.session.transaction_status();
        let mut outcome = self.wire.run(token, self.session.execute(prepared, parameters, token.clone())).await?;
        if before != TransactionStatus::Idle && self.session.transaction_status() == TransactionStatus::Idle {
            self.portals.clear();
        }
        let effects = match &mut outcome {
            Outcome::Empty => Effects::default(),
            Outcome::Command { effects, .. } | Outcome::Rows { effects, .. } => std::mem::take(effects),
        };
        for notice in &effects.notices {
            put_error(&mut self.wire.connection.output, notice);
        }
        for (name, value) in &effects.changed_settings {
            if name.eq_ignore_ascii_case("TimeZone") {
                self.zone = Zone::from_setting(value);
            }
        }
        self.changed_settings.extend(effects.changed_settings);
        match effects.deallocate {
            Some(Deallocate::One(name)) => self.statements.remove(&name),
            Some(Deallocate::All) => self.statements.clear(),
            None => {}
        }
        Ok(outcome)
    }

    async fn parse(&mut self, parse: Parse) -> Result<(), Stop> {
        let name = parse.name.unwrap_or_default();
        let sql = parse.query;
        self.statements.make_room(&name, &sql, self.wire.limits)?;
        let declared = parse.type_oids.into_iter().map(|oid| match oid {
            0 => Ok(None),
            oid => match Type::from_oid(oid) {
                Some(Type::UNKNOWN) => Ok(None),
                Some(known) => Ok(Some(known)),
                None => Err(SqlError::new("42704", format!("type with OID {oid} does not exist"))),
            },
        });
        let declared = declared.collect::<Result<Vec<_>, _>>()?;
        let token = CancellationToken::new();
        let _running = self.key.running(&token);
        let prepared = self.wire.run(&token, self.session.prepare(&sql, &declared, &token)).await?;
        self.statements.insert(name, prepared, &sql);
        self.say(PARSE_COMPLETE);
        Ok(())
    }

    fn bind(&mut self, bind: Bind) -> Result<(), Stop> {
        let portal_name = bind.portal_name.unwrap_or_default();
        let statement_name = bind.statement_name.unwrap_or_default();
        let statement = self.statements.get(&statement_name)?;
        let values = bind.parameters;
        let parameter_formats = formats(&bind.parameter_format_codes, values.len(), FormatsOf::Parameters)?;
        if values.len() != statement.parameters.len() {
            let message = format!(
                "bind message supplies {} parameters, but prepared statement \"{statement_name}\" requires {}",
                values.len(),
                statement.parameters.len()
            );
            return Err(SqlError::new("08P01", message).into());
        }
        let formats = match &statement.columns {
            Some(columns) => formats(&bind.result_column_format_codes, columns.len(), FormatsOf::Results)?,
            None => Vec::new(),
        };
        let value_bytes = values.iter().flatten().map(bytes::Bytes::len).sum();
        self.portals.make_room(&portal_name, value_bytes, self.wire.limits)?;
        let parameters = values
            .iter()
            .zip(&parameter_formats)
            .zip(&statement.parameters)
            .map(|((value, format), pg_type)| parameters::decode(value.as_deref(), *format, pg_type, &self.zone))
            .collect::<Result<Vec<_>, _>>()?;
        let portal = Portal {
            statement,
            parameters,
            formats,
            state: PortalState::Bound,
            token: CancellationToken::new(),
            value_bytes,
        };
        self.portals.insert(portal_name, portal);
        self.say(BIND_COMPLETE);
        Ok(())
    }

    fn describe(&mut self, target: Target) -> Result<(), Stop> {
        let output = &mut self.wire.connection.output;
        match target {
            Target::Statement(name) => {
                let statement = self.statements.get(&name)?;
                put_parameter_description(output, &statement.parameters);
                match &statement.columns {
                    Some(columns) => put_row_description(output, columns, &[]),
                    None => output.extend_from_slice(NO_DATA),
                }
            }
            Target::Portal(name) => {
                let portal = self.portals.get(&name)?;
                match &portal.statement.columns {
                    Some(columns) => put_row_description(output, columns, &portal.formats),
                    None => output.extend_from_slice(NO_DATA),
                }
            }
        }
        Ok(())
    }

    async fn execute(&mut self, name: String, rows_max: usize) -> Result<(), Stop> {
        let mut portal = self.portals.take(&name).map_err(|missing| match self.session.transaction_status() {
            TransactionStatus::Failed => SqlError::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ),
            TransactionStatus::Idle | TransactionStatus::InTransaction => missing,
        })?;
        let token = portal.token.clone();
        let _running = self.key.running(&token);
        let mut rows = match std::mem::replace(&mut portal.state, PortalState::CommandDone) {
            PortalState::Bound => {
                add(&self.metrics.statements_total, 1);
                let statement = Arc::clone(&portal.statement);
                let parameters = std::mem::take(&mut portal.parameters);
                match self.start(&statement, parameters, &token).await? {
                    Outcome::Rows { columns, rows, tag, .. } => {
                        let promised = statement.columns.as_deref().unwrap_or_default();
                        let same_types = promised.len() == columns.len()
                            && promised
                                .iter()
                                .zip(&columns)
                                .all(|(promised, column)| promised.pg_type == column.pg_type);
                        if !same_types {
                            return Err(SqlError::new("0A000", "cached plan must not change result type").into());
                        }
                        Box::new(RunningRows::new(rows, columns, portal.formats.clone(), tag))
                    }
                    Outcome::Empty => {
                        self.say(EMPTY_QUERY);
                        add(&self.metrics.statements_succeeded_total, 1);
                        portal.state = PortalState::EmptyDone;
                        self.portals.insert(name, portal);
                        return Ok(());
                    }
                    Outcome::Command { tag, .. } => {
                        put_complete(&mut self.wire.connection.output, &tag);
                        add(&self.metrics.statements_succeeded_total, 1);
                        self.portals.insert(name, portal);
                        return Ok(());
                    }
                }
            }
            PortalState::Suspended(rows) => rows,
            PortalState::RowsDone { tag } => {
                put_rows_complete(&mut self.wire.connection.output, &tag, 0);
                portal.state = PortalState::RowsDone { tag };
                self.portals.insert(name, portal);
                return Ok(());
            }
            PortalState::EmptyDone => {
                self.say(EMPTY_QUERY);
                portal.state = PortalState::EmptyDone;
                self.portals.insert(name, portal);
                return Ok(());
            }
            PortalState::CommandDone => {
                return Err(SqlError::new("55000", format!("portal \"{name}\" cannot be run")).into());
            }
        };
        portal.state = match rows.send(&mut self.wire, &token, &self.zone, rows_max).await? {
            Progress::Finished { rows: n } => {
                put_rows_complete(&mut self.wire.connection.output, &rows.tag, n);
                add(&self.metrics.statements_succeeded_total, 1);
                PortalState::RowsDone { tag: rows.tag }
            }
            Progress::Suspended => {
                self.say(PORTAL_SUSPENDED);
                PortalState::Suspended(rows)
            }
        };
        self.portals.insert(name, portal);
        Ok(())
    }
}
