//! What the server says: engine errors, columns and states as messages. No string leaves with a NUL in it.

use bytes::{BufMut, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::data::{FieldDescription, ParameterDescription, RowDescription};
use pgwire::messages::response::{
    CommandComplete, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus as WireStatus,
};
use pgwire::messages::startup::ParameterStatus;
use postgres_types::Type;

use belvedere_engine::{Column, Severity, SqlError, TransactionStatus};

pub(crate) const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
pub(crate) const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";
pub(crate) const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";
pub(crate) const NO_DATA: &[u8] = b"n\0\0\0\x04";
pub(crate) const EMPTY_QUERY: &[u8] = b"I\0\0\0\x04";
pub(crate) const PORTAL_SUSPENDED: &[u8] = b"s\0\0\0\x04";

/// Appends a message of pgwire's. One that its codec refuses (longer than the protocol allows) is left out whole.
pub(crate) fn put<M: Message>(output: &mut BytesMut, message: &M) {
    let start = output.len();
    if let Err(error) = message.encode(output) {
        output.truncate(start);
        tracing::error!(%error, "a message could not be written");
    }
}

/// An ErrorResponse, or a NoticeResponse for the severities below ERROR.
pub(crate) fn put_error(output: &mut BytesMut, error: &SqlError) {
    let severity = match error.severity {
        Severity::Notice => "NOTICE",
        Severity::Warning => "WARNING",
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', error.sqlstate.to_owned()),
        (b'M', without_nul(&error.message)),
    ];
    fields.extend(error.detail.as_deref().map(|detail| (b'D', without_nul(detail))));
    fields.extend(error.hint.as_deref().map(|hint| (b'H', without_nul(hint))));
    fields.extend(error.position.map(|position| (b'P', position.to_string())));
    match error.severity {
        Severity::Notice | Severity::Warning => put(output, &NoticeResponse::new(fields)),
        Severity::Error | Severity::Fatal => put(output, &ErrorResponse::new(fields)),
    }
}

pub(crate) fn put_parameter_status(output: &mut BytesMut, name: &str, value: &str) {
    put(output, &ParameterStatus::new(without_nul(name), without_nul(value)));
}

pub(crate) fn put_ready(output: &mut BytesMut, status: TransactionStatus) {
    let status = match status {
        TransactionStatus::Idle => WireStatus::Idle,
        TransactionStatus::InTransaction => WireStatus::Transaction,
        TransactionStatus::Failed => WireStatus::Error,
    };
    put(output, &ReadyForQuery::new(status));
}

pub(crate) fn put_complete(output: &mut BytesMut, tag: &str) {
    put(output, &CommandComplete::new(without_nul(tag)));
}

/// Tag and row count as PostgreSQL writes them: only SELECT and FETCH (and the like) have a count.
pub(crate) fn put_rows_complete(output: &mut BytesMut, tag: &str, rows: u64) {
    if matches!(tag, "SELECT" | "FETCH" | "MOVE") {
        let tag_start = output.len();
        output.put_u8(b'C');
        output.put_i32(0);
        output.put_slice(tag.as_bytes());
        output.put_u8(b' ');
        output.put_slice(itoa::Buffer::new().format(rows).as_bytes());
        output.put_u8(0);
        let length = i32::try_from(output.len() - tag_start - 1).unwrap_or(i32::MAX);
        output[tag_start + 1..tag_start + 5].copy_from_slice(&length.to_be_bytes());
    } else {
        put_complete(output, tag);
    }
}

pub(crate) fn put_parameter_description(output: &mut BytesMut, types: &[Type]) {
    put(output, &ParameterDescription::new(types.iter().map(Type::oid).collect()));
}

/// `formats` has one code for each column, or is empty where they are not known yet (text).
pub(crate) fn put_row_description(output: &mut BytesMut, columns: &[Column], formats: &[Format]) {
    let fields = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            FieldDescription::new(
                without_nul(&column.name),
                0,
                0,
                column.pg_type.oid(),
                type_length(&column.pg_type),
                column.typmod,
                formats.get(i).copied().unwrap_or(Format::Text) as i16,
            )
        })
        .collect();
    put(output, &RowDescription::new(fields));
}

/// How a value travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text = 0,
    Binary = 1,
}

/// The codes of a Bind message as one format for each of `n` values: none means text, one means the same for all.
///
/// # Errors
/// 08P01 for a wrong number of codes, 22023 for an unknown code. `what` completes the message.
pub(crate) fn formats(codes: &[i16], n: usize, what: FormatsOf) -> Result<Vec<Format>, SqlError> {
    let one = |code: i16| match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        other => Err(SqlError::new("22023", format!("unsupported format code: {other}"))),
    };
    match codes {
        [] => Ok(vec![Format::Text; n]),
        [code] => Ok(vec![one(*code)?; n]),
        codes if codes.len() == n => codes.iter().map(|code| one(*code)).collect(),
        codes => Err(SqlError::new(
            "08P01",
            match what {
                FormatsOf::Parameters => {
                    format!("bind message has {} parameter formats but {n} parameters", codes.len())
                }
                FormatsOf::Results => {
                    format!("bind message has {} result formats but query has {n} columns", codes.len())
                }
            },
        )),
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum FormatsOf {
    Parameters,
    Results,
}

fn without_nul(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').collect()
}

/// `pg_type.typlen`.
fn type_length(pg_type: &Type) -> i16 {
    match *pg_type {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID | Type::XID | Type::CID => 4,
        Type::REGCLASS
        | Type::REGTYPE
        | Type::REGPROC
        | Type::REGPROCEDURE
        | Type::REGOPER
        | Type::REGOPERATOR
        | Type::REGROLE
        | Type::REGNAMESPACE
        | Type::REGCOLLATION
        | Type::REGCONFIG
        | Type::REGDICTIONARY
        | Type::VOID => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::MONEY => 8,
        Type::TIMETZ => 12,
        Type::INTERVAL | Type::UUID => 16,
        Type::NAME => 64,
        _ => -1,
    }
}
