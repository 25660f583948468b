//! Long results: slow readers, cancel, clients that vanish, shutdown.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::harness::{CANCEL, Client, Outcome, Server, bind, errors, execute, kinds, packet, parse, query, sync};
use crate::{Drained, Limits, ServerConfig};

/// A second, as promised, and half of one for a busy machine.
const AT_ONCE: Duration = Duration::from_millis(1_500);

/// Waits until the condition holds.
async fn soon(what: &str, condition: impl Fn() -> bool) -> Outcome {
    let begun = Instant::now();
    while !condition() {
        if begun.elapsed() > Duration::from_secs(5) {
            return Err(format!("not within five seconds: {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

impl Server {
    fn working(&self) -> u64 {
        self.engine.working.load(Ordering::SeqCst)
    }

    async fn cancel(&self, client: &Client<TcpStream>) -> Outcome {
        let (process_id, secret) = client.key;
        let mut other = self.socket().await?;
        other.send(&packet(CANCEL, &[process_id.to_be_bytes(), secret.to_be_bytes()].concat())).await?;
        assert_eq!(other.rest().await?, []);
        Ok(())
    }
}

fn extended(sql: &str) -> Vec<u8> {
    [parse("", sql, &[]), bind("", "", &[]), execute("", 0), sync()].concat()
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_back_the_rows_z7() -> Outcome {
    let server = Server::start().await?;
    // 1 000 batches of a megabyte each.
    for bytes in [query("rows 1000 1000"), extended("rows 1000 1000")] {
        let before = server.engine.batches.load(Ordering::SeqCst);
        let mut client = server.session().await?;
        client.send(&bytes).await?;
        soon("the first batch", || server.engine.batches.load(Ordering::SeqCst) > before).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        // What the kernel's socket buffers hold, and the batch under way.
        let made = server.engine.batches.load(Ordering::SeqCst) - before;
        assert!(made < 30, "{made} batches were made for a client that reads none");
        drop(client);
        soon("the stream is dropped", || server.working() == 0).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off_in_the_end() -> Outcome {
    let limits = Limits { write_stall_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = Server::with(ServerConfig { limits, ..ServerConfig::default() }).await?;
    let mut client = server.session().await?;
    client.send(&query("rows 1000 1000")).await?;
    soon("work begins", || server.working() == 1).await?;
    soon("the stream is dropped", || server.working() == 0).await?;
    soon("the session ends", || server.metrics.connections_open.load(Ordering::SeqCst) == 0).await
}

#[tokio::test]
async fn a_long_result_arrives_whole_in_both_protocols() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    for bytes in [query("rows 50 20"), extended("rows 50 20")] {
        client.send(&bytes).await?;
        let mut rows = 0_u64;
        loop {
            let message = client.receive().await?.ok_or("closed")?;
            match message.kind {
                'D' => {
                    assert_eq!(message.values()[0], Some(rows.to_string()));
                    rows += 1;
                }
                'C' => assert_eq!(message.body, b"SELECT 50000\0"),
                'Z' => break,
                _ => {}
            }
        }
        assert_eq!(rows, 50_000);
    }
    assert_eq!(server.metrics.rows_sent_total.load(Ordering::SeqCst), 100_000);
    Ok(())
}

#[tokio::test]
async fn cancel_stops_planning_running_waiting_and_streaming_z11() -> Outcome {
    let server = Server::start().await?;
    for sql in ["plan_forever", "stuck", "silent", "sleep 1000"] {
        for bytes in [query(sql), extended(sql)] {
            let mut client = server.session().await?;
            client.send(&bytes).await?;
            soon("work begins", || server.working() == 1).await?;
            let begun = Instant::now();
            server.cancel(&client).await?;
            let messages = client.until('Z').await?;
            assert_eq!(errors(&messages), ["57014"], "{sql}");
            assert!(begun.elapsed() < AT_ONCE, "{sql}");
            assert_eq!(server.working(), 0, "{sql}");
            // The session is as good as before.
            assert_eq!(kinds(&client.query("one").await?), "TDCZ");
        }
    }
    // Rows that the client does not read: the work stops at once, the error comes when it reads.
    let mut client = server.session().await?;
    client.send(&query("rows 1000 1000")).await?;
    soon("work begins", || server.working() == 1).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.cancel(&client).await?;
    soon("the stream is dropped", || server.working() == 0).await?;
    assert_eq!(errors(&client.until('Z').await?), ["57014"]);
    assert_eq!(kinds(&client.query("one").await?), "TDCZ");
    Ok(())
}

#[tokio::test]
async fn a_late_cancel_hits_nothing() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    for _ in 0..20 {
        client.query("one").await?;
        server.cancel(&client).await?;
        assert_eq!(kinds(&client.query("one").await?), "TDCZ");
    }
    assert_eq!(server.metrics.cancels_total.load(Ordering::SeqCst), 0);
    // A portal that is suspended is not running.
    client.query("begin").await?;
    client.send(&[parse("", "rows 2 1", &[]), bind("p", "", &[]), execute("p", 1), sync()].concat()).await?;
    client.until('Z').await?;
    server.cancel(&client).await?;
    client.send(&[execute("p", 1), sync()].concat()).await?;
    assert_eq!(kinds(&client.until('Z').await?), "DsZ");
    Ok(())
}

#[tokio::test]
async fn a_client_that_vanishes_stops_its_statement_within_a_second_z12_w9() -> Outcome {
    let server = Server::start().await?;
    for sql in ["plan_forever", "stuck", "silent", "sleep 1000"] {
        // Also behind more pipelined input than is read ahead.
        for more in [0, 100_000] {
            let mut client = server.session().await?;
            client.send(&[query(sql), query(&"x".repeat(more))].concat()).await?;
            soon("work begins", || server.working() == 1).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            let begun = Instant::now();
            drop(client);
            soon("work ends", || server.working() == 0).await?;
            assert!(begun.elapsed() < AT_ONCE, "{sql} {more}");
        }
    }
    let vanished = server.metrics.clients_vanished_total.load(Ordering::SeqCst);
    assert_eq!(vanished, 8);
    soon("sessions are freed", || server.metrics.connections_open.load(Ordering::SeqCst) == 0).await
}

#[tokio::test]
async fn rows_are_not_held_back_while_more_are_waited_for() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    client.send(&query("sleep 20")).await?;
    let begun = Instant::now();
    client.until('D').await?;
    assert!(begun.elapsed() < AT_ONCE, "twenty rows would take two seconds");
    Ok(())
}

#[tokio::test]
async fn an_error_behind_rows_ends_the_result_with_no_completion() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    for bytes in [query("fail_after 3"), extended("fail_after 3")] {
        client.send(&bytes).await?;
        let messages = client.until('Z').await?;
        assert_eq!(messages.iter().filter(|message| message.kind == 'D').count(), 3_000);
        assert!(kinds(&messages).ends_with("DEZ") && !kinds(&messages).contains('C'));
        assert_eq!(errors(&messages), ["22012"]);
    }
    assert_eq!(server.metrics.errors_by_sqlstate(), [("22012", 2)]);
    Ok(())
}

#[tokio::test]
async fn a_shutdown_ends_idle_sessions_and_lets_statements_finish() -> Outcome {
    let server = Server::start().await?;
    let mut idle = server.session().await?;
    let mut busy = server.session().await?;
    busy.send(&query("sleep 8")).await?;
    soon("work begins", || server.working() == 1).await?;
    server.shutdown.cancel();
    let messages = idle.rest().await?;
    assert_eq!((kinds(&messages), errors(&messages)), ("E".to_owned(), vec!["57P01".to_owned()]));
    let messages = busy.rest().await?;
    assert_eq!(kinds(&messages), "TDDDDDDDDCZE");
    assert_eq!(errors(&messages), ["57P01"]);
    drop((idle, busy));
    assert_eq!(server.task.await??, Drained::Completely);
    assert!(TcpStream::connect(server.address).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_statement_that_outlives_the_deadline_is_cut_off() -> Outcome {
    let config = ServerConfig { drain_deadline: Duration::from_millis(300), ..ServerConfig::default() };
    let server = Server::with(config).await?;
    let mut busy = server.session().await?;
    busy.send(&query("stuck")).await?;
    let mut slow = server.session().await?;
    slow.send(&query("rows 1000 1000")).await?;
    soon("work begins", || server.working() == 2).await?;
    server.shutdown.cancel();
    assert_eq!(errors(&busy.rest().await?), ["57P01"]);
    let begun = Instant::now();
    assert_eq!(server.task.await??, Drained::CutOff(2));
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(server.engine.working.load(Ordering::SeqCst), 0);
    Ok(())
}

#[tokio::test]
async fn a_small_answer_is_one_write() -> Outcome {
    use tokio::io::AsyncReadExt;
    let server = Server::start().await?;
    let mut client = server.session().await?;
    for bytes in [query("one"), extended("one")] {
        client.send(&bytes).await?;
        let mut answer = bytes::BytesMut::with_capacity(4_096);
        client.stream.read_buf(&mut answer).await?;
        assert_eq!(&answer[answer.len() - 6..], b"Z\0\0\0\x05I");
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_next_statement_in_the_packet() -> Outcome {
    let server = Server::start().await?;
    for slow in ["stuck", "plan_forever", "silent"] {
        let mut client = server.session().await?;
        client.send(&[query("one"), query(slow)].concat()).await?;
        assert_eq!(kinds(&client.until('Z').await?), "TDCZ", "{slow}");
    }
    Ok(())
}
