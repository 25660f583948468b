//! Mutated and random bytes against the frame guard, the start-up and a whole session.
//!
//! Two seconds each, or as long as BELVEDERE_FUZZ_SECONDS says. Not a libFuzzer target: this crate links the engine's types and
//! with them DataFusion, which takes many minutes to build with coverage instrumentation; the transcripts below reach every
//! branch of the guard without it. A failure prints the seed that repeats it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::fake_engine::FakeEngine;
use super::harness::{
    CANCEL, GSS_REQUEST, Outcome, SSL_REQUEST, bind, close, describe, execute, frame, packet, parse, query, startup,
    sync,
};
use crate::guard::{FrameGuard, Phase, Step, decode};
use crate::{Limits, ServerConfig, serve_in_memory};

fn duration() -> Duration {
    let seconds = std::env::var("BELVEDERE_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// Small, fast and repeatable.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Messages of the start-up of a user with a password that the fuzzer does not know.
fn startups() -> Vec<Vec<u8>> {
    vec![
        startup(&[("user", "analyst"), ("database", "shop"), ("options", "-c a=b --c-d=e")]),
        startup(&[("user", "nobody")]),
        packet(0x0003_0002, b"user\0analyst\0_pq_.x\0y\0\0"),
        packet(SSL_REQUEST, b""),
        packet(GSS_REQUEST, b""),
        packet(CANCEL, &[0; 8]),
        frame('p', b"SCRAM-SHA-256\0\0\0\0\x12n,,n=user,r=abcdef"),
        frame('p', b"c=biws,r=abcdef,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        query("one"),
        frame('p', b"secret\0"),
        sync(),
    ]
}

/// Messages of a session.
fn requests() -> Vec<Vec<u8>> {
    let mut requests = vec![
        query("one; echo; begin"),
        query("commit"),
        parse("s", "echo $1 $2 $3 $4", &[23, 1700, 1184, 1007]),
        bind("p", "s", &[Some("7"), Some("-12.50"), Some("2024-02-29 12:00:00+02"), Some("{1,NULL}")]),
        frame(
            'B',
            b"\0s\0\0\x01\0\x01\0\x04\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\x01\0\x01",
        ),
        describe('S', "s"),
        describe('P', "p"),
        execute("p", 1),
        execute("", 0),
        close('S', "s"),
        close('P', "p"),
        frame('H', b""),
        frame('d', b"copy"),
        frame('c', b""),
        frame('F', b"\0\0\0\0"),
        frame('X', b""),
        sync(),
        sync(),
    ];
    // One parameter of each type whose binary form has a structure.
    for oid in [17, 1082, 1083, 1114, 1186, 2950, 3802, 1562, 1009, 1231] {
        requests.push(parse("", "echo $1", &[oid]));
        requests.push(frame(
            'B',
            b"\0\0\0\x01\0\x01\0\x01\0\0\0\x14\0\0\0\x01\0\0\0\0\0\0\0\x19\0\0\0\x01\0\0\0\x01\0\x01\0\x01",
        ));
    }
    requests
}

/// Some messages one behind another, and something done to them.
fn transcript(random: &mut Random, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if random.below(20) == 0 {
        return (0..random.below(200)).map(|_| random.next() as u8).collect();
    }
    for _ in 0..1 + random.below(8) {
        let mut message = messages[random.below(messages.len())].clone();
        for _ in 0..[0, 0, 1, 1, 2, 5][random.below(6)] {
            mutate(random, &mut message);
        }
        bytes.extend(message);
    }
    if random.below(10) == 0 {
        bytes.truncate(random.below(bytes.len()));
    }
    bytes
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    const ODD: [u8; 8] = [0, 1, 4, 0x7f, 0x80, 0xc3, 0xfe, 0xff];
    if bytes.is_empty() {
        bytes.push(random.next() as u8);
        return;
    }
    let at = random.below(bytes.len());
    match random.below(9) {
        0 => bytes[at] = random.next() as u8,
        1 => bytes[at] = ODD[random.below(ODD.len())],
        2 => bytes[at] ^= 1 << random.below(8),
        3 => {
            bytes.remove(at);
        }
        4 => bytes.insert(at, ODD[random.below(ODD.len())]),
        5 => bytes.truncate(at),
        6 => {
            let piece = bytes[at..].to_vec();
            bytes.extend(piece);
        }
        // The length, made wrong or right again.
        7 if bytes.len() >= 5 => {
            let length =
                if random.below(2) == 0 { bytes.len() as u32 - 1 } else { random.next() as u32 >> random.below(32) };
            bytes[1..5].copy_from_slice(&length.to_be_bytes());
        }
        _ => {
            let end = (at + 4).min(bytes.len());
            bytes[at..end].fill(0xff);
        }
    }
}

#[test]
fn the_frame_guard_takes_any_bytes_without_a_panic() {
    let limits = Limits { message_bytes: 1 << 16, ..Limits::default() };
    let messages = [startups(), requests()].concat();
    let end = Instant::now() + duration();
    let mut runs = 0_u64;
    let mut decoded = 0_u64;
    while Instant::now() < end {
        for _ in 0..1_000 {
            runs += 1;
            let mut random = Random(runs | 1 << 40);
            let bytes = transcript(&mut random, &messages);
            let phase = [Phase::Authentication, Phase::Ready, Phase::SkipToSync][random.below(3)];
            let mut guard = FrameGuard::default();
            let mut input = BytesMut::new();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(1 + random.below(rest.len()));
                input.extend_from_slice(piece);
                rest = tail;
                loop {
                    let before = input.len();
                    match guard.next(phase, &limits, &mut input) {
                        Ok(Step::Frame(frame)) => {
                            assert_eq!(before - input.len(), 5 + frame.body.len(), "run {runs}");
                            decoded += u64::from(decode(frame).is_ok());
                        }
                        Ok(Step::TooLong { .. }) => {}
                        Ok(Step::Incomplete) => break,
                        Err(_) => {
                            rest = &[];
                            break;
                        }
                    }
                }
                assert!(input.capacity() < 1 << 20, "run {runs}: no client number sizes an allocation");
            }
        }
    }
    assert!(runs > 5_000 && decoded > runs / 10, "{runs} runs, {decoded} messages understood");
}

/// Feeds bytes to a server and gives back all it says, as message types. `None` where it is no sequence of messages.
async fn answers(
    bytes: &[u8],
    engine: &Arc<FakeEngine>,
    config: &ServerConfig,
) -> Result<Option<Vec<(u8, Vec<u8>)>>, String> {
    let (client, server) = tokio::io::duplex(32 << 10);
    let backend = Arc::clone(engine);
    let task = tokio::spawn(serve_in_memory(server, backend, config.clone(), CancellationToken::new()));
    let (mut reader, mut writer) = tokio::io::split(client);
    let exchange = async {
        let write = async {
            // The server may close before it has read everything.
            let _ = writer.write_all(bytes).await;
            let _ = writer.shutdown().await;
        };
        let mut said = Vec::new();
        let read = async { reader.read_to_end(&mut said).await };
        let (_, read) = tokio::join!(write, read);
        read.map_err(|error| error.to_string())?;
        Ok::<_, String>(said)
    };
    let said = tokio::time::timeout(Duration::from_secs(5), exchange).await.map_err(|_| "it hangs".to_owned())??;
    task.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;

    let mut rest = said.as_slice();
    // Answers to TLS and GSS requests have no frame. No message that a start-up begins with has this type without a length.
    let mut messages = Vec::new();
    while let Some(&kind) = rest.first() {
        if kind == b'N' && messages.is_empty() {
            rest = &rest[1..];
            continue;
        }
        let Some(length) = rest.get(1..5) else { return Ok(None) };
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let Some(body) = rest.get(5..1 + length) else { return Ok(None) };
        messages.push((kind, body.to_vec()));
        rest = &rest[1 + length..];
    }
    Ok(Some(messages))
}

fn config() -> ServerConfig {
    let limits = Limits { message_bytes: 1 << 16, ..Limits::default() };
    ServerConfig { limits, ..ServerConfig::default() }
}

#[tokio::test]
async fn no_bytes_before_a_password_lead_to_a_session() -> Outcome {
    let (engine, config, messages) = (Arc::new(FakeEngine::default()), config(), startups());
    let end = Instant::now() + duration();
    let mut asked = 0;
    let mut runs = 0_u64;
    while Instant::now() < end {
        runs += 1;
        let mut random = Random(runs | 1 << 41);
        // Half of them get as far as the password.
        let mut bytes = if random.below(2) == 0 { messages[0].clone() } else { Vec::new() };
        bytes.extend(transcript(&mut random, &messages));
        let said = answers(&bytes, &engine, &config).await.map_err(|error| format!("run {runs}: {error}"))?;
        let said = said.ok_or_else(|| format!("run {runs}: no messages"))?;
        for (kind, body) in &said {
            assert!(matches!(kind, b'R' | b'E' | b'v'), "run {runs}: {}", *kind as char);
            assert!(*kind != b'R' || body[..4] != [0; 4], "run {runs}: logged in");
            asked += u32::from(*kind == b'R');
        }
    }
    assert!(asked > 100, "too few runs came to the password: {asked}");
    assert_eq!(engine.executed.load(Ordering::SeqCst), 0);
    assert_eq!(config.metrics.panics_total.load(Ordering::SeqCst), 0);
    Ok(())
}

#[tokio::test]
async fn a_session_answers_any_bytes_with_messages_and_no_panic() -> Outcome {
    let (engine, config, messages) = (Arc::new(FakeEngine::default()), config(), requests());
    let end = Instant::now() + duration();
    let mut runs = 0_u64;
    while Instant::now() < end {
        runs += 1;
        let mut random = Random(runs | 1 << 42);
        let mut bytes = startup(&[("user", "anyone")]);
        bytes.extend(transcript(&mut random, &messages));
        let said = answers(&bytes, &engine, &config).await.map_err(|error| format!("run {runs}: {error}"))?;
        let said = said.ok_or_else(|| format!("run {runs}: no messages"))?;
        assert_eq!(said.first().map(|(kind, _)| *kind), Some(b'R'), "run {runs}");
        // Between two ReadyForQuery there is at most one ERROR, and one more if the Sync itself is malformed. A FATAL may follow.
        for batch in said.split(|(kind, _)| *kind == b'Z') {
            let errors = batch.iter().filter(|(kind, body)| *kind == b'E' && body.starts_with(b"SERROR\0"));
            let errors: Vec<_> = errors.map(|(_, body)| String::from_utf8_lossy(body)).collect();
            let malformed = errors.last().is_some_and(|error| error.contains("Minvalid message format"));
            assert!(errors.len() <= 1 + usize::from(malformed), "run {runs}: {errors:?} for {bytes:?}");
        }
    }
    assert!(engine.executed.load(Ordering::SeqCst) > 100);
    assert_eq!(config.metrics.panics_total.load(Ordering::SeqCst), 0);
    Ok(())
}
