//! `/livez`, `/readyz` and `/metrics` over HTTP/1.1: GET and HEAD, one request a connection.
//!
//! Written out because it is this little: no request has a body, and every answer closes the connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// A request's head; longer ones are refused.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// For the whole exchange.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 64;

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

/// What stands at a path; `None` is 404.
pub type Pages = Arc<dyn Fn(&str) -> Option<Answer> + Send + Sync>;

/// Answers until `shutdown`, by what `page` gives for a path.
pub async fn serve(listener: TcpListener, page: Pages, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                let page = Arc::clone(&page);
                tokio::spawn(async move {
                    // A client that fails or dawdles loses its answer, and nobody else notices.
                    let _ = tokio::time::timeout(PATIENCE, exchange(socket, page)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "no HTTP socket can be accepted for now");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn exchange(mut socket: TcpStream, page: Pages) -> std::io::Result<()> {
    let mut head = Vec::new();
    let complete = loop {
        if head.windows(4).any(|window| window == b"\r\n\r\n") {
            break true;
        }
        if head.len() > HEAD_BYTES_MAX || socket.read_buf(&mut head).await? == 0 {
            break false;
        }
    };
    let head = String::from_utf8_lossy(&head);
    let first = head.lines().next().unwrap_or_default();
    let (answer, with_body) = if complete { answer(first, page.as_ref()) } else { (text(400, "bad request\n"), true) };
    let reason = match answer.status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Service Unavailable",
    };
    let mut out = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        answer.status,
        answer.content_type,
        answer.body.len(),
    );
    if with_body {
        out += &answer.body;
    }
    socket.write_all(out.as_bytes()).await?;
    socket.shutdown().await
}

/// For a request's first line; the flag says whether the body is sent.
fn answer(request: &str, page: &(dyn Fn(&str) -> Option<Answer> + Send + Sync)) -> (Answer, bool) {
    let parts: Vec<&str> = request.split(' ').collect();
    let [method, target, version] = parts[..] else { return (text(400, "bad request\n"), true) };
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return (text(400, "bad request\n"), true);
    }
    if !matches!(method, "GET" | "HEAD") {
        return (text(405, "only GET and HEAD are answered\n"), true);
    }
    let path = target.split('?').next().unwrap_or_default();
    let answer = page(path).unwrap_or_else(|| text(404, "there are /livez, /readyz and /metrics\n"));
    (answer, method == "GET")
}

pub fn text(status: u16, body: &str) -> Answer {
    Answer { status, content_type: "text/plain; charset=utf-8", body: body.to_owned() }
}

#[cfg(test)]
mod tests;
