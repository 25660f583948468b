//! Both query protocols with well-formed messages: what is answered, in which order, and what is kept.

use std::sync::atomic::Ordering;

use super::harness::{
    Client, Message, Outcome, Server, bind, close, describe, errors, execute, frame, kinds, parse, query, sync,
};
use crate::{Limits, ServerConfig};

async fn answer(
    client: &mut Client<tokio::net::TcpStream>,
    messages: &[Vec<u8>],
) -> Result<Vec<Message>, std::io::Error> {
    client.send(&[messages.concat(), sync()].concat()).await?;
    client.until('Z').await
}

fn tag(messages: &[Message]) -> String {
    let complete = messages.iter().find(|message| message.kind == 'C');
    complete.map(|message| String::from_utf8_lossy(&message.body).trim_end_matches('\0').to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn several_statements_in_one_query_stop_at_the_first_error() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    assert_eq!(kinds(&client.query("one; notice ;one").await?), "TDCNCTDCZ");
    assert_eq!(kinds(&client.query("").await?), "IZ");
    assert_eq!(kinds(&client.query(" ; ").await?), "IZ");
    let messages = client.query("one; fail_after 1; one").await?;
    assert_eq!(kinds(&messages).replace('D', ""), "TCTEZ");
    assert_eq!(errors(&messages), ["22012"]);
    let messages = client.query("one;  bad ").await?;
    assert_eq!(messages.iter().find_map(|m| m.field('P').filter(|_| m.kind == 'E')), Some("7".to_owned()));
    assert_eq!(errors(&client.query("echo $1").await?), ["42P02"]);
    Ok(())
}

#[tokio::test]
async fn a_whole_extended_query_is_answered_in_order() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    let steps = [
        parse("s", "echo $1 $2", &[23, 0]),
        describe('S', "s"),
        bind("p", "s", &[Some("7"), None]),
        describe('P', "p"),
        execute("p", 0),
        close('P', "p"),
        close('S', "s"),
        close('S', "never existed"),
    ];
    let messages = answer(&mut client, &steps).await?;
    assert_eq!(kinds(&messages), "1tT2TDC333Z");
    assert_eq!(messages[1].body, [0, 2, 0, 0, 0, 23, 0, 0, 0, 25]);
    // Name, table 0, column 0, type, length, modifier, format.
    let first = b"\0\x02c0\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
    let second = b"c1\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
    assert_eq!(messages[2].body, [&first[..], second].concat());
    assert_eq!(messages[5].values(), [Some("7".to_owned()), None]);
    assert_eq!(tag(&messages), "SELECT 1");
    let empty = [parse("", "", &[]), describe('S', ""), bind("", "", &[]), execute("", 0), execute("", 0)];
    assert_eq!(kinds(&answer(&mut client, &empty).await?), "1tn2IIZ");
    let begin = [parse("", "begin", &[]), bind("", "", &[]), describe('P', ""), execute("", 0)];
    assert_eq!(kinds(&answer(&mut client, &begin).await?), "12nCZ");
    Ok(())
}

#[tokio::test]
async fn a_flush_answers_without_a_sync() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    client.send(&[parse("", "one", &[]), describe('S', ""), frame('H', b"")].concat()).await?;
    assert_eq!(kinds(&client.until('T').await?), "1tT");
    assert_eq!(kinds(&answer(&mut client, &[bind("", "", &[]), execute("", 0)]).await?), "2DCZ");
    Ok(())
}

#[tokio::test]
async fn portals_are_suspended_and_go_on_where_they_were() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    client.query("begin").await?;
    let steps = [parse("", "rows 2 1", &[]), bind("p", "", &[]), execute("p", 3)];
    let messages = answer(&mut client, &steps).await?;
    assert_eq!(kinds(&messages), "12DDDsZ");
    assert_eq!(messages[4].values()[0].as_deref(), Some("2"));
    // Across a Sync, and across the border of two batches.
    let messages = answer(&mut client, &[execute("p", 1_000)]).await?;
    assert_eq!(messages[0].values()[0].as_deref(), Some("3"));
    assert_eq!(messages[999].values()[0].as_deref(), Some("1002"));
    assert_eq!(messages[1_000].kind, 's');
    let messages = answer(&mut client, &[execute("p", 997), execute("p", 5), execute("p", 0)]).await?;
    // As in PostgreSQL a portal that gave its last row as asked is suspended, and its end comes with the next call.
    assert_eq!(kinds(&messages[996..]), "DsCCZ");
    assert_eq!(messages[996].values()[0].as_deref(), Some("1999"));
    assert_eq!(tag(&messages), "SELECT 0");
    Ok(())
}

#[tokio::test]
async fn a_portal_ends_with_its_transaction() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    // Without BEGIN the Sync is the end.
    let steps = [parse("s", "rows 1 1", &[]), bind("p", "s", &[]), execute("p", 1)];
    assert_eq!(kinds(&answer(&mut client, &steps).await?), "12DsZ");
    assert_eq!(errors(&answer(&mut client, &[execute("p", 1)]).await?), ["34000"]);
    // With it, COMMIT is, in the middle of a batch too.
    client.query("begin").await?;
    answer(&mut client, &[bind("p", "s", &[]), execute("p", 1)]).await?;
    let steps = [parse("", "commit", &[]), bind("", "", &[]), execute("", 0), execute("p", 1)];
    let messages = answer(&mut client, &steps).await?;
    assert_eq!((kinds(&messages), errors(&messages)), ("12CEZ".to_owned(), vec!["34000".to_owned()]));
    assert_eq!(server.engine.working.load(Ordering::SeqCst), 0, "a dropped portal stops its work");
    Ok(())
}

#[tokio::test]
async fn an_error_skips_to_the_sync_and_aborts_the_transaction_w8() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    let begun = client.query("begin").await?;
    assert_eq!(begun.last().map(|m| m.body.clone()), Some(b"T".to_vec()));
    let steps = [
        parse("", "nonsense", &[]),
        bind("", "", &[]),
        describe('P', ""),
        execute("", 0),
        query("one"),
        parse("", "one", &[]),
    ];
    let messages = answer(&mut client, &steps).await?;
    assert_eq!(kinds(&messages), "EZ");
    assert_eq!(messages[1].body, b"E");
    assert_eq!(errors(&client.query("one").await?), ["25P02"]);
    let messages = client.query("rollback").await?;
    assert_eq!((kinds(&messages), messages[1].body.as_slice()), ("CZ".to_owned(), &b"I"[..]));
    Ok(())
}

#[tokio::test]
async fn a_failed_transaction_stops_its_suspended_portals() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    client.query("begin").await?;
    answer(&mut client, &[parse("", "rows 9 1", &[]), bind("p", "", &[]), execute("p", 1)]).await?;
    assert_eq!(server.engine.working.load(Ordering::SeqCst), 1);
    client.query("nonsense").await?;
    assert_eq!(server.engine.working.load(Ordering::SeqCst), 0);
    assert_eq!(errors(&answer(&mut client, &[execute("p", 1)]).await?), ["25P02"]);
    let steps = [parse("", "rollback", &[]), bind("", "", &[]), execute("", 0)];
    assert_eq!(kinds(&answer(&mut client, &steps).await?), "12CZ");
    Ok(())
}

#[tokio::test]
async fn names_must_exist_and_must_be_free() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    let one = || parse("s", "one", &[]);
    assert_eq!(kinds(&answer(&mut client, &[one()]).await?), "1Z");
    for (steps, sqlstate) in [
        (vec![one()], "42P05"),
        (vec![bind("", "none", &[])], "26000"),
        (vec![bind("", "", &[])], "26000"),
        (vec![describe('S', "none")], "26000"),
        (vec![describe('P', "none")], "34000"),
        (vec![execute("none", 0)], "34000"),
        (vec![bind("p", "s", &[]), bind("p", "s", &[])], "42P03"),
        (vec![bind("p", "s", &[Some("1")])], "08P01"),
        (vec![parse("", "echo $1", &[23]), bind("", "", &[])], "08P01"),
        (vec![parse("", "echo $1", &[23]), bind("", "", &[Some("x")])], "22P02"),
        (vec![parse("", "echo $1", &[999_999])], "42704"),
        (vec![parse("", "changing", &[]), bind("", "", &[]), execute("", 0)], "0A000"),
        (vec![parse("", "notice", &[]), bind("p", "", &[]), execute("p", 0), execute("p", 0)], "55000"),
    ] {
        let messages = answer(&mut client, &steps).await?;
        assert_eq!(errors(&messages), [sqlstate], "{messages:?}");
    }
    // The unnamed ones are replaced without a word; a simple query forgets the statement.
    let steps = [parse("", "one", &[]), parse("", "one", &[]), bind("", "", &[]), bind("", "", &[]), execute("", 0)];
    assert_eq!(kinds(&answer(&mut client, &steps).await?), "1122DCZ");
    client.query("one").await?;
    assert_eq!(errors(&answer(&mut client, &[bind("", "", &[])]).await?), ["26000"]);
    Ok(())
}

#[tokio::test]
async fn deallocate_reaches_protocol_statements() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    answer(&mut client, &[parse("a", "one", &[]), parse("b", "one", &[]), parse("c", "one", &[])]).await?;
    client.query("deallocate a").await?;
    assert_eq!(errors(&answer(&mut client, &[describe('S', "a")]).await?), ["26000"]);
    assert_eq!(kinds(&answer(&mut client, &[describe('S', "b")]).await?), "tTZ");
    client.query("deallocate_all").await?;
    assert_eq!(errors(&answer(&mut client, &[describe('S', "b")]).await?), ["26000"]);
    Ok(())
}

#[tokio::test]
async fn statements_and_portals_are_limited_in_number_and_size_z14_w4() -> Outcome {
    let limits = Limits {
        prepared_statements: 3,
        prepared_statement_bytes: 1 << 20,
        portals: 2,
        portal_bytes: 10_000,
        ..Limits::default()
    };
    let server = Server::with(ServerConfig { limits, ..ServerConfig::default() }).await?;
    let mut client = server.session().await?;
    let many: Vec<_> = (0..10).map(|i| parse(&format!("s{i}"), "one", &[])).collect();
    let messages = answer(&mut client, &many).await?;
    assert_eq!((kinds(&messages), errors(&messages)), ("111EZ".to_owned(), vec!["53000".to_owned()]));
    answer(&mut client, &[close('S', "s0"), close('S', "s1"), close('S', "s2")]).await?;
    let long = format!("echo {}", "x".repeat(600_000));
    let messages = answer(&mut client, &[parse("l1", &long, &[]), parse("l2", &long, &[])]).await?;
    assert_eq!((kinds(&messages), errors(&messages)), ("1EZ".to_owned(), vec!["53000".to_owned()]));

    answer(&mut client, &[parse("e", "echo $1", &[])]).await?;
    let portals = [bind("a", "e", &[None]), bind("b", "e", &[None]), bind("c", "e", &[None])];
    let messages = answer(&mut client, &portals).await?;
    assert_eq!((kinds(&messages), errors(&messages)), ("22EZ".to_owned(), vec!["53000".to_owned()]));
    let messages = answer(&mut client, &[bind("a", "e", &[Some(&"x".repeat(20_000))])]).await?;
    assert_eq!(errors(&messages), ["53000"]);
    Ok(())
}

#[tokio::test]
async fn a_million_pipelined_messages_are_answered_with_bounded_memory_w4() -> Outcome {
    use tokio::io::AsyncWriteExt;
    let server = Server::start().await?;
    let mut client = server.session().await?;
    answer(&mut client, &[parse("s", "echo $1 $2 $3 $4", &[])]).await?;
    let batch = [describe('S', "s").repeat(10_000), sync()].concat();
    // Nothing is read while the socket takes any: the server must stop reading, not gather answers.
    let mut taken = 0;
    let stalled = loop {
        let write = client.stream.write(&batch[taken % batch.len()..]);
        match tokio::time::timeout(std::time::Duration::from_millis(500), write).await {
            Ok(written) => taken += written?,
            Err(_) => break true,
        }
        if taken > 64 << 20 {
            break false;
        }
    };
    assert!(stalled, "64 MiB of requests were taken without one answer being read");
    Ok(())
}

#[tokio::test]
async fn a_panic_below_ends_its_session_and_no_other() -> Outcome {
    let server = Server::start().await?;
    let mut bystander = server.session().await?;
    for sql in ["panic", "plan_panic", "panic_split", "fatal"] {
        let mut client = server.session().await?;
        client.send(&query(sql)).await?;
        let messages = client.rest().await?;
        let last = messages.last().ok_or("no message")?;
        assert_eq!((last.kind, last.field('S').as_deref()), ('E', Some("FATAL")), "{sql}");
        assert_eq!(last.field('C').as_deref(), Some("XX000"));
        assert!(!last.body.windows(5).any(|bytes| bytes == b"asked"), "the panic's text is not the client's business");
    }
    assert_eq!(server.metrics.panics_total.load(Ordering::SeqCst), 3);
    assert_eq!(kinds(&bystander.query("one").await?), "TDCZ");
    Ok(())
}

#[tokio::test]
async fn rows_that_break_their_promise_are_an_error() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    let messages = client.query("wrong").await?;
    assert_eq!((kinds(&messages), errors(&messages)), ("TEZ".to_owned(), vec!["XX000".to_owned()]));
    Ok(())
}
