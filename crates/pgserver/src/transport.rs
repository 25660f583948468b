//! One client's bytes: a plain, encrypted or in-memory stream with its input and output buffers.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::ServerConfig;
use crate::metrics::{Metrics, add};

/// How much is read at a time.
const READ_BYTES: usize = 8 << 10;
/// A buffer that grew beyond this is given back when it is empty.
const KEPT_BYTES: usize = 256 << 10;
/// How often a client is looked at whose pipelined input fills the read-ahead.
const VANISHED_CHECK: Duration = Duration::from_millis(300);

pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Memory(DuplexStream),
    /// Between two of the others, and after a failed handshake.
    Closed,
}

impl Transport {
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(stream) => Some(stream.get_ref().0),
            Self::Memory(_) | Self::Closed => None,
        }
    }

    /// `None` in memory.
    pub(crate) fn peer_address(&self) -> Option<IpAddr> {
        self.socket().and_then(|socket| socket.peer_addr().ok()).map(|address| address.ip())
    }

    /// Whether the peer has closed its side, even though there is still unread input.
    async fn peer_closed(&self) -> bool {
        match self.socket() {
            Some(socket) => match socket.ready(Interest::READABLE).await {
                Ok(ready) => ready.is_read_closed(),
                Err(_) => true,
            },
            None => false,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Self::Memory(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
            Self::Memory(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Self::Memory(stream) => Pin::new(stream).poll_flush(cx),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Self::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }
}

/// A client's stream and what is buffered on this side of it.
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    /// Received and not yet consumed.
    pub(crate) input: BytesMut,
    /// Complete messages that wait to be sent.
    pub(crate) output: BytesMut,
    pub(crate) metrics: Arc<Metrics>,
    input_ended: bool,
    write_stall_timeout: Duration,
}

impl Connection {
    pub(crate) fn new(transport: Transport, config: &ServerConfig) -> Self {
        Self {
            transport,
            input: BytesMut::new(),
            output: BytesMut::new(),
            metrics: Arc::clone(&config.metrics),
            input_ended: false,
            write_stall_timeout: config.limits.write_stall_timeout,
        }
    }

    /// Reads some more input; `false` at its end. May be dropped at any time without losing bytes.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        if self.input_ended {
            return Ok(false);
        }
        if self.input.is_empty() && self.input.capacity() > KEPT_BYTES {
            self.input = BytesMut::new();
        }
        self.input.reserve(READ_BYTES);
        let n = self.transport.read_buf(&mut self.input).await?;
        add(&self.metrics.bytes_received_total, n as u64);
        self.input_ended = n == 0;
        Ok(n > 0)
    }

    /// Sends everything in the output buffer. May be dropped at any time: what was sent is gone from the buffer.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            while !self.output.is_empty() {
                let write = self.transport.write_buf(&mut self.output);
                let n = tokio::time::timeout(self.write_stall_timeout, write).await??;
                if n == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                add(&self.metrics.bytes_sent_total, n as u64);
            }
            if self.output.capacity() > KEPT_BYTES {
                self.output = BytesMut::new();
            }
        }
        self.transport.flush().await
    }

    /// Ends when the client is gone. Until then it reads ahead, at most to `read_ahead_bytes`.
    pub(crate) async fn vanished(&mut self, read_ahead_bytes: usize) {
        loop {
            if self.input.len() < read_ahead_bytes {
                if !matches!(self.fill().await, Ok(true)) {
                    return;
                }
            } else {
                // Unread input hides the end of the stream from a read, but not from the socket's own state.
                tokio::time::sleep(VANISHED_CHECK).await;
                if self.transport.peer_closed().await {
                    return;
                }
            }
        }
    }

    /// Sends what is left and closes. Input that comes meanwhile is read and dropped for a moment: closing a socket with unread
    /// input resets it, and the client would lose the last message.
    pub(crate) async fn close(mut self) {
        const LINGER: Duration = Duration::from_millis(500);
        const LINGER_BYTES: usize = 1 << 20;
        let farewell = async {
            if self.flush().await.is_err() || self.transport.shutdown().await.is_err() {
                return;
            }
            let mut dropped = 0;
            while dropped < LINGER_BYTES {
                self.input.clear();
                if !matches!(self.fill().await, Ok(true)) {
                    return;
                }
                dropped += self.input.len();
            }
        };
        // A client that does not read its last message must not hold the task.
        let _ = tokio::time::timeout(LINGER, farewell).await;
    }
}
