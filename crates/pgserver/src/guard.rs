//! The frame guard: cuts the input into messages and lets a decoder see only bodies that are exactly well-formed.
//!
//! Each state of a connection has its own list of message types with a largest length for each. A body is handed on as a slice
//! of its own, so that no decoder can read into the next message. Every string in it ends inside it and is UTF-8, every count
//! fits the bytes that are there, and nothing is left over. No number that a client sent sizes an allocation.

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::extendedquery::{Bind, Parse};
use pgwire::messages::{DecodeContext, Message, ProtocolVersion};

use belvedere_engine::{Severity, SqlError};

use crate::config::Limits;

const HEADER_BYTES: usize = 5;
/// Largest message of the types that hold at most a name. PostgreSQL's `PQ_SMALL_MESSAGE_LIMIT`.
const SMALL_MESSAGE_BYTES: usize = 10_000;
/// Beyond this a length is taken for garbage, not for a long message. PostgreSQL's own limit.
const LARGEST_LENGTH: usize = 0x3fff_ffff;

/// Where a connection stands, as far as the guard is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A password exchange is under way: nothing but `p` is read, and of all others only the type.
    Authentication,
    /// Logged in.
    Ready,
    /// An error in an extended-query batch: bodies are dropped unread up to the Sync.
    SkipToSync,
}

/// A message whose length was right; its body has not been looked at.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) body: BytesMut,
}

/// What stands at the start of the input.
#[derive(Debug)]
pub(crate) enum Step {
    Frame(Frame),
    /// Read more.
    Incomplete,
    /// A message that was over-long, all of it dropped by now; the stream goes on behind it.
    TooLong {
        kind: u8,
        error: SqlError,
    },
}

/// Cuts one connection's input. It has state only while it drops the body of an over-long message.
#[derive(Debug, Default)]
pub(crate) struct FrameGuard {
    dropping: Option<Dropping>,
}

#[derive(Debug)]
struct Dropping {
    kind: u8,
    bytes_left: usize,
    error: SqlError,
}

impl FrameGuard {
    /// Takes the next message from `input`.
    ///
    /// # Errors
    /// FATAL 08P01 where no next message can be found: an unknown type, a length that cannot be.
    pub(crate) fn next(&mut self, phase: Phase, limits: &Limits, input: &mut BytesMut) -> Result<Step, SqlError> {
        if let Some(dropping) = &mut self.dropping {
            let n = dropping.bytes_left.min(input.len());
            input.advance(n);
            dropping.bytes_left -= n;
            if dropping.bytes_left > 0 {
                return Ok(Step::Incomplete);
            }
            if let Some(Dropping { kind, error, .. }) = self.dropping.take() {
                return Ok(Step::TooLong { kind, error });
            }
        }
        let Some(&kind) = input.first() else { return Ok(Step::Incomplete) };
        let allowed = allowed(phase, kind, limits)?;
        let Some(length) = input.get(1..HEADER_BYTES).map(|mut bytes| bytes.get_u32() as usize) else {
            return Ok(Step::Incomplete);
        };
        if !(4..=LARGEST_LENGTH).contains(&length) {
            return Err(fatal("invalid message length"));
        }
        if length > allowed.bytes {
            if !allowed.droppable {
                return Err(fatal("invalid message length"));
            }
            let error = SqlError::new("08P01", "message is too long")
                .detail(format!("The message has {length} bytes, the limit is {} bytes.", allowed.bytes));
            input.advance(HEADER_BYTES);
            self.dropping = Some(Dropping { kind, bytes_left: length - 4, error });
            return self.next(phase, limits, input);
        }
        if input.len() < 1 + length {
            return Ok(Step::Incomplete);
        }
        input.advance(HEADER_BYTES);
        Ok(Step::Frame(Frame { kind, body: input.split_to(length - 4) }))
    }
}

struct Allowed {
    /// Of the whole message without its type, as its length field counts.
    bytes: usize,
    /// A longer one is dropped and reported; otherwise the connection ends.
    droppable: bool,
}

fn allowed(phase: Phase, kind: u8, limits: &Limits) -> Result<Allowed, SqlError> {
    match (phase, kind) {
        (Phase::Authentication, b'p') => Ok(Allowed { bytes: limits.auth_message_bytes, droppable: false }),
        (Phase::Authentication, _) => Err(fatal(format!("expected SASL response, got message type {kind}"))),
        (Phase::Ready | Phase::SkipToSync, b'Q' | b'P' | b'B' | b'F' | b'd') => {
            Ok(Allowed { bytes: limits.message_bytes, droppable: true })
        }
        (Phase::Ready | Phase::SkipToSync, b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f') => {
            Ok(Allowed { bytes: SMALL_MESSAGE_BYTES.min(limits.message_bytes), droppable: false })
        }
        (Phase::Ready | Phase::SkipToSync, _) => Err(fatal(format!("invalid frontend message type {kind}"))),
    }
}

fn fatal(message: impl Into<String>) -> SqlError {
    SqlError::new("08P01", message).severity(Severity::Fatal)
}

/// A message after login that is known to be well-formed.
#[derive(Debug)]
pub(crate) enum Request {
    Query(String),
    Parse(Parse),
    Bind(Bind),
    Describe(Target),
    Execute {
        portal: String,
        /// 0 means all.
        rows_max: usize,
    },
    Close(Target),
    Flush,
    Sync,
    Terminate,
    /// What is left of a COPY that we refused; PostgreSQL ignores it too.
    CopyRemains,
    FunctionCall,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Statement(String),
    Portal(String),
}

/// Checks and decodes a message that came after login.
///
/// # Errors
/// 08P01 for a body that does not have the shape of its type, 22021 for text that is not UTF-8.
pub(crate) fn decode(frame: Frame) -> Result<Request, SqlError> {
    let Frame { kind, mut body } = frame;
    let mut reader = Reader { rest: &body };
    match kind {
        b'Q' => {
            let sql = reader.text()?.to_owned();
            reader.end()?;
            Ok(Request::Query(sql))
        }
        b'P' => {
            reader.text()?;
            reader.text()?;
            let types = reader.count()?;
            reader.skip(types * 4)?;
            reader.end()?;
            Parse::decode_body(&mut body, 0, &context()).map(Request::Parse).map_err(|_| invalid_format())
        }
        b'B' => {
            reader.text()?;
            reader.text()?;
            let formats = reader.count()?;
            reader.skip(formats * 2)?;
            for _ in 0..reader.count()? {
                reader.value()?;
            }
            let formats = reader.count()?;
            reader.skip(formats * 2)?;
            reader.end()?;
            Bind::decode_body(&mut body, 0, &context()).map(Request::Bind).map_err(|_| invalid_format())
        }
        b'D' | b'C' => {
            let of = reader.byte()?;
            let name = reader.text()?.to_owned();
            reader.end()?;
            let target = match of {
                b'S' => Target::Statement(name),
                b'P' => Target::Portal(name),
                other => {
                    let message = if kind == b'D' { "DESCRIBE" } else { "CLOSE" };
                    return Err(SqlError::new("08P01", format!("invalid {message} message subtype {other}")));
                }
            };
            Ok(if kind == b'D' { Request::Describe(target) } else { Request::Close(target) })
        }
        b'E' => {
            let portal = reader.text()?.to_owned();
            let rows_max = reader.int()?;
            reader.end()?;
            // Negative means all, as in PostgreSQL.
            Ok(Request::Execute { portal, rows_max: usize::try_from(rows_max).unwrap_or(0) })
        }
        b'H' => reader.end().map(|()| Request::Flush),
        b'S' => reader.end().map(|()| Request::Sync),
        b'X' => Ok(Request::Terminate),
        b'd' | b'c' | b'f' => Ok(Request::CopyRemains),
        b'F' => Ok(Request::FunctionCall),
        other => Err(fatal(format!("invalid frontend message type {other}"))),
    }
}

fn context() -> DecodeContext {
    DecodeContext::new(ProtocolVersion::PROTOCOL3_0)
}

fn invalid_format() -> SqlError {
    SqlError::new("08P01", "invalid message format")
}

/// The first message of a login exchange: the mechanism that the client chose and its first data.
///
/// # Errors
/// FATAL 08P01 for any other shape.
pub(crate) fn sasl_initial_response(body: &Bytes) -> Result<(String, Bytes), SqlError> {
    let to_fatal = |error: SqlError| error.severity(Severity::Fatal);
    let mut reader = Reader { rest: body };
    let mechanism = reader.text().map_err(to_fatal)?.to_owned();
    let data = reader.value().map_err(to_fatal)?.unwrap_or_default();
    let data = body.slice_ref(data);
    reader.end().map_err(to_fatal)?;
    Ok((mechanism, data))
}

/// The pairs of a start-up packet, in its order. `body` starts behind the protocol version.
///
/// # Errors
/// FATAL 08P01 where the list does not end with the packet, FATAL 22021 for text that is not UTF-8.
pub(crate) fn startup_parameters(body: &[u8]) -> Result<Vec<(String, String)>, SqlError> {
    let layout = || fatal("invalid startup packet layout: expected terminator as last byte");
    let to_fatal = |error: SqlError| if error.sqlstate == "22021" { error.severity(Severity::Fatal) } else { layout() };
    let mut reader = Reader { rest: body };
    let mut parameters = Vec::new();
    loop {
        let name = reader.text().map_err(to_fatal)?;
        if name.is_empty() {
            reader.end().map_err(to_fatal)?;
            return Ok(parameters);
        }
        let value = reader.text().map_err(to_fatal)?;
        parameters.push((name.to_owned(), value.to_owned()));
    }
}

/// Reads a body front to back; each step takes what it names or fails.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn skip(&mut self, n: usize) -> Result<&'a [u8], SqlError> {
        let (taken, rest) =
            self.rest.split_at_checked(n).ok_or_else(|| SqlError::new("08P01", "insufficient data left in message"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, SqlError> {
        self.skip(1).map(|bytes| bytes[0])
    }

    fn count(&mut self) -> Result<usize, SqlError> {
        self.skip(2).map(|mut bytes| bytes.get_u16() as usize)
    }

    fn int(&mut self) -> Result<i32, SqlError> {
        self.skip(4).map(|mut bytes| bytes.get_i32())
    }

    /// A length and so many bytes; -1 stands for NULL and no other negative length for anything.
    fn value(&mut self) -> Result<Option<&'a [u8]>, SqlError> {
        match self.int()? {
            -1 => Ok(None),
            n => {
                let n = usize::try_from(n).map_err(|_| invalid_format())?;
                self.skip(n).map(Some)
            }
        }
    }

    /// A string up to its NUL.
    fn text(&mut self) -> Result<&'a str, SqlError> {
        let end = self
            .rest
            .iter()
            .position(|&byte| byte == 0)
            .ok_or_else(|| SqlError::new("08P01", "invalid string in message"))?;
        let bytes = self.skip(end)?;
        self.skip(1)?;
        utf8(bytes)
    }

    fn end(&self) -> Result<(), SqlError> {
        if self.rest.is_empty() { Ok(()) } else { Err(invalid_format()) }
    }
}

/// # Errors
/// 22021 naming the first bytes that are not UTF-8.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, SqlError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        // As many bytes as the first of them promises, as PostgreSQL shows them.
        let n = match bytes[at] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        let shown: Vec<String> = bytes[at..].iter().take(n).map(|byte| format!("0x{byte:02x}")).collect();
        SqlError::new("22021", format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")))
    })
}
