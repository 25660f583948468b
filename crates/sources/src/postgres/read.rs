//! Runs one statement and decodes its rows: binary COPY without parameters, binary rows with them.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures::{StreamExt, TryFutureExt, pin_mut};
use tokio_postgres::Column;
use tokio_postgres::types::{FromSql, Type};

use super::bind::{Bound, type_of};
use super::connect::PostgresConnector;
use super::decode::reader;
use super::types::{Wire, describe as describe_column, wire_of};
use crate::batch_stream::{BatchBuilder, Batches, column_count_differs, no_reader};
use crate::pool::{Pool, Pooled, Prefer};
use crate::statement_end::{Ended, within_limit};
use crate::{SourceColumn, SourceError, Statement};

/// What begins every binary COPY.
const COPY_SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

pub(super) async fn describe(
    pool: &Pool<PostgresConnector>,
    connection: &Pooled<PostgresConnector>,
    sql: &str,
) -> Result<Vec<SourceColumn>, SourceError> {
    let preparing = connection.client.prepare(sql).map_err(|error| pool.connector.error(&error));
    let statement = within_limit(&pool.connector.source_name, pool.connector.statement_timeout, preparing).await?;
    let mut columns: Vec<SourceColumn> = statement.columns().iter().map(describe_column).collect();
    let texts: Vec<usize> =
        (0..columns.len()).filter(|index| is_collated(statement.columns()[*index].type_())).collect();
    if !texts.is_empty() {
        let asking = loosely_collated(connection, sql, columns.len(), &texts);
        let loose = within_limit(
            &pool.connector.source_name,
            pool.connector.statement_timeout,
            asking.map_err(|error| pool.connector.error(&error)),
        )
        .await?;
        for (index, loose) in texts.into_iter().zip(loose) {
            columns[index].compares_by_code_point &= !loose;
        }
    }
    Ok(columns)
}

fn is_collated(of: &Type) -> bool {
    matches!(*of, Type::TEXT | Type::VARCHAR)
}

/// Which of the columns `texts` of `sql`, which has `width` columns, have a collation to which different strings are equal.
///
/// The protocol does not tell the collation of a column, `pg_collation_for` does; it looks at the type of its argument, so that
/// one row of NULLs is enough and nothing is read. Such collations exist from PostgreSQL 12 on and are rare: mostly the first
/// question is the last.
async fn loosely_collated(
    connection: &Pooled<PostgresConnector>,
    sql: &str,
    width: usize,
    texts: &[usize],
) -> Result<Vec<bool>, tokio_postgres::Error> {
    // Older servers have no such column: to them the JSON has no such key.
    const LOOSE: &str = "pg_catalog.to_jsonb(k) ->> 'collisdeterministic' = 'false'";
    let exists = format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_collation k WHERE {LOOSE})");
    if !connection.client.query_one(&exists, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(vec![false; texts.len()]);
    }
    let sql = sql.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    let names: Vec<String> = (0..width).map(|index| format!("c{index}")).collect();
    let questions: Vec<String> = texts
        .iter()
        .map(|index| {
            format!(
                "EXISTS (SELECT FROM pg_catalog.pg_collation k JOIN pg_catalog.pg_namespace n ON n.oid = k.collnamespace \
                 WHERE {LOOSE} AND pg_catalog.pg_collation_for(t.c{index}) COLLATE pg_catalog.\"C\" IN (pg_catalog.quote_ident(k.collname), \
                 pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(k.collname)))"
            )
        })
        .collect();
    let question = format!(
        "SELECT {} FROM (SELECT 1) AS one LEFT JOIN (SELECT * FROM ({sql}\n) AS s LIMIT 0) AS t ({}) ON true",
        questions.join(", "),
        names.join(", ")
    );
    let row = connection.client.query_one(&question, &[]).await?;
    (0..texts.len()).map(|index| row.try_get(index)).collect()
}

/// Feeds `batches` until the statement ends, fails, takes too long, or the stream is dropped.
pub(super) async fn read(
    pool: Arc<Pool<PostgresConnector>>,
    statement: Statement,
    batches: Batches,
) -> Result<(), SourceError> {
    let mut prefer = Prefer::Reused;
    loop {
        let connection = tokio::select! {
            () = batches.abandoned() => return Ok(()),
            connection = pool.checkout(prefer) => connection?,
        };
        let mut reading =
            Reading { pool: &pool, connection: &connection, batches: batches.clone_handle(), sent: false };
        let outcome = tokio::select! {
            biased;
            () = batches.abandoned() => Err(Ended::Abandoned),
            outcome = within_limit(&pool.connector.source_name, pool.connector.statement_timeout, reading.run(&statement)) => outcome,
        };
        let sent = reading.sent;
        match outcome {
            Ok(()) => {
                connection.give_back();
                return Ok(());
            }
            Err(Ended::Abandoned) => {
                pool.connector.cancel(connection.client.cancel_token()).await;
                return Ok(());
            }
            // The server closed a connection that lay in the pool; no row has left, so another may try.
            Err(Ended::Failed(SourceError::Lost { .. })) if connection.reused && !sent && prefer == Prefer::Reused => {
                prefer = Prefer::New;
            }
            Err(Ended::Failed(error)) => {
                if !connection.client.is_closed() && !matches!(error, SourceError::Refused { .. }) {
                    pool.connector.cancel(connection.client.cancel_token()).await;
                }
                return Err(error);
            }
        }
    }
}

struct Reading<'a> {
    pool: &'a Pool<PostgresConnector>,
    connection: &'a Pooled<PostgresConnector>,
    batches: Batches,
    /// Whether a batch has left; the statement cannot be tried again then.
    sent: bool,
}

impl Reading<'_> {
    async fn run(&mut self, statement: &Statement) -> Result<(), Ended> {
        // A semicolon would end the COPY around the statement.
        let sql = statement.sql.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        if statement.parameters.is_empty() { self.copy(sql).await } else { self.rows(sql, statement).await }
    }

    fn failed(&self, error: &tokio_postgres::Error) -> Ended {
        Ended::Failed(self.pool.connector.error(error))
    }

    /// What the server sent is not what its protocol says.
    fn garbled(&self, what: &str) -> Ended {
        let source_name = self.pool.connector.source_name.clone();
        Ended::Failed(SourceError::Lost { source_name, reason: format!("the server sent {what}") })
    }

    async fn send(&mut self, batch: datafusion::arrow::array::RecordBatch) -> Result<(), Ended> {
        self.sent = true;
        Ok(self.batches.send(batch).await?)
    }

    /// The readers for columns of these types.
    fn builder(&self, columns: &[Column]) -> Result<BatchBuilder<[u8]>, Ended> {
        let (source_name, schema) = (&self.pool.connector.source_name, &self.batches.schema);
        if columns.len() != schema.fields().len() {
            return Err(column_count_differs(source_name, columns.len(), schema.fields().len()).into());
        }
        let readers = columns.iter().zip(schema.fields()).enumerate().map(|(index, (column, field))| {
            reader(&wire_of(column.type_(), column.type_modifier()), field.data_type())
                .ok_or_else(|| no_reader(source_name, schema, index, &describe_column(column)))
        });
        let readers = readers.collect::<Result<Vec<_>, _>>()?;
        Ok(BatchBuilder::new(source_name, Arc::clone(schema), readers))
    }

    async fn copy(&mut self, sql: &str) -> Result<(), Ended> {
        let client = &self.connection.client;
        // COPY sends no types. Inside one transaction the tables stay locked from the look at the types to the last row, so
        // that nobody changes a column in between.
        let (begun, prepared) = futures::join!(client.batch_execute("BEGIN READ ONLY"), client.prepare(sql));
        begun.map_err(|error| self.failed(&error))?;
        let prepared = prepared.map_err(|error| self.failed(&error))?;
        let mut builder = self.builder(prepared.columns())?;
        let copy = format!("COPY ({}\n) TO STDOUT (FORMAT BINARY)", readable(sql, prepared.columns()));
        // The position of an error inside the COPY is not one in the statement; none is better than a wrong one.
        let stream = client.copy_out(&copy).await.map_err(|error| match self.failed(&error) {
            Ended::Failed(SourceError::Refused { source_name, message, sqlstate, .. }) => {
                Ended::Failed(SourceError::Refused { source_name, message, sqlstate, position: None })
            }
            other => other,
        })?;
        pin_mut!(stream);

        let mut rows = CopyRows::default();
        while let Some(piece) = stream.next().await {
            rows.push(piece.map_err(|error| self.failed(&error))?);
            while let Some(row) = rows.next_row().map_err(|what| self.garbled(what))? {
                let mut rest = &row[..];
                for column in 0..builder.columns() {
                    let (value, after) = split_value(rest).ok_or_else(|| self.garbled("a row with too few values"))?;
                    builder.append(column, value, value.map_or(1, <[u8]>::len))?;
                    rest = after;
                }
                if !rest.is_empty() {
                    return Err(self.garbled("a row with too many values"));
                }
                if let Some(batch) = builder.end_row() {
                    self.send(batch?).await?;
                }
            }
        }
        if !rows.ended {
            return Err(self.garbled("no end after the last row"));
        }
        if let Some(batch) = builder.end() {
            self.send(batch?).await?;
        }
        Ok(())
    }

    async fn rows(&mut self, sql: &str, statement: &Statement) -> Result<(), Ended> {
        let mut parameters = Vec::with_capacity(statement.parameters.len());
        for (index, value) in statement.parameters.iter().enumerate() {
            let Some(of) = type_of(value) else {
                return Err(Ended::Failed(SourceError::Refused {
                    source_name: self.pool.connector.source_name.clone(),
                    message: format!(
                        "parameter ${} has type {}, which has no PostgreSQL type",
                        index + 1,
                        value.data_type()
                    ),
                    sqlstate: Some("0A000".to_owned()),
                    position: None,
                }));
            };
            parameters.push((Bound(value), of));
        }
        let client = &self.connection.client;
        let types: Vec<Type> = parameters.iter().map(|(_, of)| of.clone()).collect();
        let prepared = client.prepare_typed(sql, &types).await.map_err(|error| self.failed(&error))?;
        let has_others = prepared.columns().iter().any(is_other);
        let mut builder = self.builder(prepared.columns())?;
        let values = parameters.into_iter().map(|(value, _)| value);
        let stream = if has_others {
            let sql = readable(sql, prepared.columns());
            let prepared = client.prepare_typed(&sql, &types).await.map_err(|error| self.failed(&error))?;
            client.query_raw(&prepared, values).await
        } else {
            client.query_raw(&prepared, values).await
        };
        let stream = stream.map_err(|error| self.failed(&error))?;
        pin_mut!(stream);
        while let Some(row) = stream.next().await {
            let row = row.map_err(|error| self.failed(&error))?;
            if row.len() != builder.columns() {
                return Err(self.garbled("a row with another number of values"));
            }
            for column in 0..builder.columns() {
                let value: Option<Raw<'_>> = row.try_get(column).map_err(|error| self.failed(&error))?;
                builder.append(column, value.as_ref().map(|raw| raw.0), value.as_ref().map_or(1, |raw| raw.0.len()))?;
            }
            if let Some(batch) = builder.end_row() {
                self.send(batch?).await?;
            }
        }
        if let Some(batch) = builder.end() {
            self.send(batch?).await?;
        }
        Ok(())
    }
}

fn is_other(column: &Column) -> bool {
    wire_of(column.type_(), column.type_modifier()) == Wire::Other
}

/// The statement with every column that we do not decode as its text form.
fn readable(sql: &str, columns: &[Column]) -> String {
    if !columns.iter().any(is_other) {
        return sql.to_owned();
    }
    let outer: Vec<String> = (columns.iter().enumerate())
        .map(|(index, column)| format!("c{index}{}", if is_other(column) { "::pg_catalog.text" } else { "" }))
        .collect();
    let names: Vec<String> = (0..columns.len()).map(|index| format!("c{index}")).collect();
    format!("SELECT {} FROM ({sql}\n) AS t ({})", outer.join(", "), names.join(", "))
}

/// The undecoded bytes of a value.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Cuts the pieces of a binary COPY into rows. The server sends one row a piece, but the protocol does not promise that.
#[derive(Default)]
struct CopyRows {
    pending: BytesMut,
    piece: Bytes,
    header_read: bool,
    ended: bool,
}

impl CopyRows {
    fn push(&mut self, piece: Bytes) {
        if self.piece.is_empty() && self.pending.is_empty() {
            self.piece = piece;
        } else {
            let rest = std::mem::take(&mut self.piece);
            self.pending.extend_from_slice(&rest);
            self.pending.extend_from_slice(&piece);
            self.piece = std::mem::take(&mut self.pending).freeze();
        }
    }

    /// The values of the next row that is whole; None when more bytes are needed or the end has come.
    fn next_row(&mut self) -> Result<Option<Bytes>, &'static str> {
        if !self.header_read {
            let Some((head, rest)) = self.piece.split_first_chunk::<19>() else { return Ok(None) };
            if head[..11] != COPY_SIGNATURE[..] {
                return Err("something other than a binary copy");
            }
            let [.., f0, f1, f2, f3, e0, e1, e2, e3] = *head;
            // Bits 16 and up say that the format is one that we do not know.
            if u32::from_be_bytes([f0, f1, f2, f3]) >> 16 != 0 {
                return Err("a binary copy of an unknown format");
            }
            let extension = u32::from_be_bytes([e0, e1, e2, e3]) as usize;
            if rest.len() < extension {
                return Ok(None);
            }
            self.piece.advance(19 + extension);
            self.header_read = true;
        }
        let Some((count, mut rest)) = self.piece.split_first_chunk::<2>() else { return Ok(None) };
        if self.ended {
            return Err("rows after the last");
        }
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            self.ended = true;
            self.piece.advance(2);
            return Ok(None);
        }
        for _ in 0..count {
            let Some((size, after)) = rest.split_first_chunk::<4>() else { return Ok(None) };
            let size = usize::try_from(i32::from_be_bytes(*size)).unwrap_or(0);
            let Some(after) = after.get(size..) else { return Ok(None) };
            rest = after;
        }
        let length = self.piece.len() - rest.len();
        let mut row = self.piece.split_to(length);
        row.advance(2);
        Ok(Some(row))
    }
}

/// One value, None for NULL, and what follows it.
fn split_value(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    match usize::try_from(i32::from_be_bytes(*size)) {
        Ok(size) => rest.split_at_checked(size).map(|(value, rest)| (Some(value), rest)),
        Err(_) => Some((None, rest)),
    }
}
