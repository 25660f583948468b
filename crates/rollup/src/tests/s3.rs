//! The same over S3: `moto_server` of PyPI's `moto[server]`, if it is installed, else skipped.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::shop::*;
use crate::files::Created;
use crate::{CollectOptions, ManifestProblem, PublishError, S3Access, Store, StoreError, StoreOptions, StoredTable};

/// The program, if it is not on the path.
const MOTO: &str = "BELVEDERE_MOTO_SERVER";

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// None if it is not installed.
    async fn start() -> Option<Server> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let program = std::env::var(MOTO).unwrap_or_else(|_| "moto_server".to_owned());
        let started = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut server = Server { process: started.ok()?, port };
        for _ in 0..300 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Some(server);
            }
            assert!(server.process.try_wait().expect("a process").is_none(), "moto_server ended");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("moto_server does not listen");
    }

    /// One request with a signature that this server does not check, enough to make a bucket or to change an object.
    async fn put(&self, path: &str, body: &[u8]) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, \
             Signature=none\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn open(&self, clock: &Clock) -> Store {
        let s3 = S3Access {
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            keys: Some(("key".to_owned(), "secret".to_owned())),
            allow_http: true,
            ..S3Access::default()
        };
        Store::open_with("s3://bucket/some/prefix", StoreOptions { s3: Some(s3), ..clock.options() }).expect("a store")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_a_store_like_a_folder() {
    let Some(server) = Server::start().await else {
        eprintln!("SKIPPED: moto_server is not installed (pip install 'moto[server]', or name it in {MOTO})");
        return;
    };
    server.put("/bucket", b"").await;
    let clock = Clock::new();
    let (a, b) = (server.open(&clock), server.open(&clock));
    assert!(a.manifests().await.expect("an empty store").manifests.is_empty());
    let create = |bytes: &[u8]| a.inner.files.create("others/file", bytes.to_vec());
    assert_eq!(create(b"first").await.expect("created"), Created::New);
    assert_eq!(create(b"second").await.expect("there is one"), Created::Exists);
    let first = lease(&a, "a").await;
    assert!(b.lease(&key(), "b", LEASE, b.now()).await.expect("an answer").is_none());
    // More than one part of an upload.
    build(&a, &first, 0..700_000, "c1").await.expect("published");
    let manifest = b.manifests().await.expect("manifests").manifests.remove(0);
    let range = days_of(&(0..700_000));
    let read = b.read(&manifest, &range, &StoredTable::Main, None).await.expect("rows");
    assert_eq!(totals(&read), totals(&[batch(0..700_000)]));
    // Who slept cannot publish over the next one.
    clock.advance(LEASE);
    let second = lease(&b, "b").await;
    let slept = StoreOptions { clock: std::sync::Arc::new(|| 0), s3: None, ..StoreOptions::default() };
    assert!(matches!(Store::open_with("s3://bucket/some/prefix", slept), Err(StoreError::Location { .. })));
    let refused = build(&a, &first, 700_000..707_000, "late").await;
    assert!(matches!(refused, Err(PublishError::LeaseExpired { .. } | PublishError::Superseded { .. })), "{refused:?}");
    // Both create the same version: one is told that it is there.
    let (left, right) =
        tokio::join!(build(&b, &second, 700_000..700_700, "left"), build(&b, &second, 700_700..701_400, "right"));
    let mut versions = [left.expect("published").version, right.expect("published").version];
    versions.sort_unstable();
    assert_eq!(versions[1] - versions[0], 1);
    build(&b, &second, 0..700_000, "c2").await.expect("published");
    b.release(second).await.expect("given back");
    drop(manifest);
    // Both processes forget the old versions.
    a.manifests().await.expect("manifests");
    let collected = b.collect(CollectOptions { grace: Duration::ZERO }).await.expect("collected");
    // The first content, and what came too late.
    assert_eq!(collected.files, 2);
    let manifest = a.manifests().await.expect("manifests").manifests.remove(0);
    let path = &manifest.partition(&range).expect("the partition").files[0].path;
    server.put(&format!("/bucket/some/prefix/{path}"), b"PAR1").await;
    let damaged = server.open(&clock).read(&manifest, &range, &StoredTable::Main, None).await;
    assert!(matches!(damaged, Err(StoreError::Damaged { .. })), "{damaged:?}");
    let newest = format!("/bucket/some/prefix/manifests/{}.{:020}.json", key().folder(), manifest.version);
    server.put(&newest, b"{}").await;
    let problems = server.open(&clock).manifests().await.expect("manifests").problems;
    assert!(matches!(problems[..], [ManifestProblem::Damaged { .. }]), "{problems:?}");
}
