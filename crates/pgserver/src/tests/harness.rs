//! A server on a free port with the fake engine behind it, and a client that speaks in bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fake_engine::FakeEngine;
use crate::{Drained, Metrics, ServerConfig, serve};

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<std::io::Result<Drained>>,
}

impl Server {
    pub(crate) async fn start() -> Result<Self, std::io::Error> {
        Self::with(ServerConfig::default()).await
    }

    pub(crate) async fn with(config: ServerConfig) -> Result<Self, std::io::Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let engine = Arc::new(FakeEngine::default());
        let metrics = Arc::clone(&config.metrics);
        let shutdown = CancellationToken::new();
        let backend = Arc::clone(&engine);
        let task = tokio::spawn(serve(listener, backend, config, shutdown.clone()));
        Ok(Self { address, engine, metrics, shutdown, task })
    }

    /// A socket without a word said.
    pub(crate) async fn socket(&self) -> Result<Client<TcpStream>, std::io::Error> {
        Ok(Client::new(TcpStream::connect(self.address).await?))
    }

    /// A session of the user who needs no password.
    pub(crate) async fn session(&self) -> Result<Client<TcpStream>, Box<dyn std::error::Error>> {
        let mut client = self.socket().await?;
        client.log_in().await?;
        Ok(client)
    }
}

/// One message of the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: char,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// An error's or notice's field.
    pub(crate) fn field(&self, code: char) -> Option<String> {
        self.body
            .split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&(code as u8)))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
    }

    /// The values of a row as text.
    pub(crate) fn values(&self) -> Vec<Option<String>> {
        let mut body = self.body.as_slice();
        let n = body.get_u16();
        (0..n)
            .map(|_| {
                let length = usize::try_from(body.get_i32()).ok()?;
                Some(String::from_utf8_lossy(&body.copy_to_bytes(length)).into_owned())
            })
            .collect()
    }
}

pub(crate) struct Client<S> {
    pub(crate) stream: S,
    input: BytesMut,
    /// Process and key, from the login.
    pub(crate) key: (i32, i32),
}

const PATIENCE: Duration = Duration::from_secs(10);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new(), key: (0, 0) }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The next message; `None` when the server has closed.
    pub(crate) async fn receive(&mut self) -> std::io::Result<Option<Message>> {
        let read = async {
            loop {
                if self.input.len() >= 5 {
                    let length = (&self.input[1..5]).get_u32() as usize;
                    if self.input.len() > length {
                        let mut message = self.input.split_to(1 + length);
                        let kind = message.get_u8() as char;
                        message.advance(4);
                        return Ok(Some(Message { kind, body: message.to_vec() }));
                    }
                }
                match self.stream.read_buf(&mut self.input).await {
                    Ok(0) => return Ok(None),
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                    Ok(_) => {}
                    Err(error) => return Err(error),
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.map_err(std::io::Error::other)?
    }

    /// A single byte, as TLS negotiation answers.
    pub(crate) async fn receive_byte(&mut self) -> std::io::Result<u8> {
        assert!(self.input.is_empty(), "nothing may be buffered");
        tokio::time::timeout(PATIENCE, self.stream.read_u8()).await.map_err(std::io::Error::other)?
    }

    /// Messages up to one of this kind, or to the end.
    pub(crate) async fn until(&mut self, kind: char) -> std::io::Result<Vec<Message>> {
        let mut messages = Vec::new();
        while let Some(message) = self.receive().await? {
            let last = message.kind == kind;
            messages.push(message);
            if last {
                break;
            }
        }
        Ok(messages)
    }

    /// Everything up to the server's closing.
    pub(crate) async fn rest(&mut self) -> std::io::Result<Vec<Message>> {
        self.until('\0').await
    }

    pub(crate) async fn log_in(&mut self) -> Result<Vec<Message>, Box<dyn std::error::Error>> {
        self.send(&startup(&[("user", "anyone")])).await?;
        let messages = self.until('Z').await?;
        let key = messages.iter().find(|message| message.kind == 'K').ok_or("no key")?;
        let mut body = key.body.as_slice();
        self.key = (body.get_i32(), body.get_i32());
        Ok(messages)
    }

    /// A simple query's answer.
    pub(crate) async fn query(&mut self, sql: &str) -> std::io::Result<Vec<Message>> {
        self.send(&query(sql)).await?;
        self.until('Z').await
    }
}

pub(crate) fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|message| message.kind).collect()
}

/// The SQLSTATEs of all errors.
pub(crate) fn errors(messages: &[Message]) -> Vec<String> {
    messages.iter().filter(|message| message.kind == 'E').filter_map(|message| message.field('C')).collect()
}

/// A message with a type.
pub(crate) fn frame(kind: char, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind as u8];
    bytes.put_u32(body.len() as u32 + 4);
    bytes.put_slice(body);
    bytes
}

/// A message with a length that need not be right.
pub(crate) fn crooked(kind: char, length: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind as u8];
    bytes.put_u32(length);
    bytes.put_slice(body);
    bytes
}

pub(crate) fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u32(body.len() as u32 + 8);
    bytes.put_u32(code);
    bytes.put_slice(body);
    bytes
}

pub(crate) const PROTOCOL: u32 = 196_608;
pub(crate) const SSL_REQUEST: u32 = 80_877_103;
pub(crate) const GSS_REQUEST: u32 = 80_877_104;
pub(crate) const CANCEL: u32 = 80_877_102;

pub(crate) fn pairs(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in parameters {
        body.put_slice(name.as_bytes());
        body.put_u8(0);
        body.put_slice(value.as_bytes());
        body.put_u8(0);
    }
    body.put_u8(0);
    body
}

pub(crate) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    packet(PROTOCOL, &pairs(parameters))
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    frame('Q', format!("{sql}\0").as_bytes())
}

pub(crate) fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = format!("{name}\0{sql}\0").into_bytes();
    body.put_u16(types.len() as u16);
    types.iter().for_each(|oid| body.put_u32(*oid));
    frame('P', &body)
}

/// All values as text.
pub(crate) fn bind(portal: &str, statement: &str, values: &[Option<&str>]) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0\0\0").into_bytes();
    body.put_u16(values.len() as u16);
    for value in values {
        match value {
            Some(value) => {
                body.put_i32(value.len() as i32);
                body.put_slice(value.as_bytes());
            }
            None => body.put_i32(-1),
        }
    }
    body.put_u16(0);
    frame('B', &body)
}

pub(crate) fn describe(what: char, name: &str) -> Vec<u8> {
    frame('D', format!("{what}{name}\0").as_bytes())
}

pub(crate) fn execute(portal: &str, rows_max: i32) -> Vec<u8> {
    let mut body = format!("{portal}\0").into_bytes();
    body.put_i32(rows_max);
    frame('E', &body)
}

pub(crate) fn close(what: char, name: &str) -> Vec<u8> {
    frame('C', format!("{what}{name}\0").as_bytes())
}

pub(crate) fn sync() -> Vec<u8> {
    frame('S', b"")
}
