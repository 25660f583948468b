//! Messages of every wrong shape after login: each gets its error, and what comes behind it is understood.

use std::sync::atomic::Ordering;

use super::harness::{
    Outcome, Server, bind, close, crooked, describe, errors, execute, frame, kinds, parse, query, sync,
};
use crate::{Limits, ServerConfig};

/// Sends extended-query messages with a Sync behind them; the error and the state after it.
async fn refused_until_sync(bytes: Vec<u8>) -> Result<String, Box<dyn std::error::Error>> {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    // The Execute behind the error must be skipped, and only one error told.
    client.send(&[bytes, parse("", "one", &[]), bind("", "", &[]), execute("", 0), sync()].concat()).await?;
    let messages = client.until('Z').await?;
    assert_eq!(kinds(&messages), "EZ", "{messages:?}");
    assert_eq!(messages[0].field('S').as_deref(), Some("ERROR"));
    assert_eq!(server.engine.executed.load(Ordering::SeqCst), 0);
    assert_eq!(kinds(&client.query("one").await?), "TDCZ");
    assert_eq!(server.metrics.panics_total.load(Ordering::SeqCst), 0);
    Ok(errors(&messages).concat())
}

#[tokio::test]
async fn truncated_parse_messages_are_08p01_z8() -> Outcome {
    for body in [
        &b""[..],
        b"\0",
        b"\0\0",
        b"\0\0\0",
        b"name",
        b"name\0one",
        b"name\0one\0",
        b"\0one\0\0\x01",
        b"\0one\0\0\x01\0\0\0",
        b"\0one\0\xff\xff",
        b"\0one\0\xff\xff\0\0\0\x17",
    ] {
        assert_eq!(refused_until_sync(frame('P', body)).await?, "08P01", "{body:?}");
    }
    Ok(())
}

#[tokio::test]
async fn truncated_bind_messages_are_08p01_z8() -> Outcome {
    for body in [
        &b""[..],
        b"\0",
        b"\0\0",
        b"\0\0\0",
        b"\0\0\0\x01",
        b"\0\0\0\x01\0\0",
        b"\0\0\0\0\0\x01",
        b"\0\0\0\0\0\x01\0\0\0\x05a",
        b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0",
        b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0",
        b"\0\0\0\0\0\x01\x80\0\0\0\0\0",
        b"\0\0\0\0\xff\xff\xff\xff\xff\xff",
        b"\0\0\xff\xff\0\0\0\0",
        b"\0\0\0\0\0\0",
        b"\0\0\0\0\0\0\xff\xff",
        b"\0\0\0\0\0\0\0\x01\0",
        b"portal\0statement",
    ] {
        assert_eq!(refused_until_sync(frame('B', body)).await?, "08P01", "{body:?}");
    }
    Ok(())
}

#[tokio::test]
async fn truncated_execute_describe_and_close_messages_are_08p01_z8() -> Outcome {
    for (kind, body) in [
        ('E', &b""[..]),
        ('E', b"\0"),
        ('E', b"\0\0\0\0"),
        ('E', b"portal"),
        ('D', b""),
        ('D', b"S"),
        ('D', b"Sname"),
        ('D', b"Xname\0"),
        ('C', b""),
        ('C', b"P"),
        ('C', b"Pname"),
        ('C', b"\0\0"),
    ] {
        assert_eq!(refused_until_sync(frame(kind, body)).await?, "08P01", "{kind} {body:?}");
    }
    Ok(())
}

#[tokio::test]
async fn messages_with_something_left_over_are_08p01_w1() -> Outcome {
    let with_more = |mut bytes: Vec<u8>| {
        let body = bytes.split_off(5);
        frame(bytes[0] as char, &[&body[..], b"\0"].concat())
    };
    for bytes in [
        parse("", "one", &[23]),
        bind("", "", &[Some("1"), None]),
        execute("", 1),
        describe('S', "a"),
        close('P', "a"),
        frame('H', b""),
    ] {
        assert_eq!(refused_until_sync(with_more(bytes.clone())).await?, "08P01", "{bytes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn texts_that_are_not_utf8_are_22021_z10_w5() -> Outcome {
    for bytes in [
        frame('P', b"\xff\0one\0\0\0"),
        frame('P', b"\0one\xc3\0\0\0"),
        frame('B', b"\0\xed\xa0\x80\0\0\0\0\0\0\0"),
        frame('D', b"S\xc0\x80\0"),
        frame('E', b"\x80\0\0\0\0\0"),
    ] {
        assert_eq!(refused_until_sync(bytes.clone()).await?, "22021", "{bytes:?}");
    }
    let server = Server::start().await?;
    let mut client = server.session().await?;
    client.send(&frame('Q', b"one '\xc3\x28'\0")).await?;
    let messages = client.until('Z').await?;
    assert_eq!(kinds(&messages), "EZ");
    assert_eq!(messages[0].field('C').as_deref(), Some("22021"));
    let expected = "invalid byte sequence for encoding \"UTF8\": 0xc3 0x28";
    assert_eq!(messages[0].field('M').as_deref(), Some(expected));
    Ok(())
}

#[tokio::test]
async fn a_query_without_its_nul_takes_nothing_from_the_next_message_z9() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    client.send(&[frame('Q', b"one"), query("one"), frame('Q', b"one\0one\0"), frame('Q', b"")].concat()).await?;
    assert_eq!(errors(&client.until('Z').await?), ["08P01"]);
    assert_eq!(kinds(&client.until('Z').await?), "TDCZ");
    assert_eq!(errors(&client.until('Z').await?), ["08P01"]);
    assert_eq!(errors(&client.until('Z').await?), ["08P01"]);
    assert_eq!(server.engine.executed.load(Ordering::SeqCst), 1);
    Ok(())
}

#[tokio::test]
async fn lengths_that_cannot_be_end_the_connection() -> Outcome {
    let server = Server::start().await?;
    for bytes in [
        crooked('Q', 0, b""),
        crooked('P', 3, b""),
        crooked('Q', 0x4000_0000, b""),
        crooked('B', u32::MAX, b""),
        crooked('S', 10_001, b""),
        crooked('E', 1 << 20, b""),
        crooked('D', 1 << 29, b""),
        crooked('p', 8, b"abcd"),
        crooked('\0', 4, b""),
        crooked('Z', 5, b"I"),
        crooked('R', 8, b"\0\0\0\0"),
    ] {
        let mut client = server.session().await?;
        client.send(&[bytes.clone(), query("one")].concat()).await?;
        let messages = client.rest().await?;
        assert_eq!(kinds(&messages), "E", "{bytes:?}");
        assert_eq!(messages[0].field('S').as_deref(), Some("FATAL"));
        assert_eq!(messages[0].field('C').as_deref(), Some("08P01"));
    }
    assert_eq!(server.engine.executed.load(Ordering::SeqCst), 0);
    Ok(())
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_dropped_and_told_w2() -> Outcome {
    let limits = Limits { message_bytes: 100_000, ..Limits::default() };
    let server = Server::with(ServerConfig { limits, ..ServerConfig::default() }).await?;
    let mut client = server.session().await?;
    client.send(&query(&"x".repeat(1_000_000))).await?;
    let messages = client.until('Z').await?;
    assert_eq!((kinds(&messages), errors(&messages)), ("EZ".to_owned(), vec!["08P01".to_owned()]));
    let batch = [parse("", &"x".repeat(1_000_000), &[]), bind("", "", &[]), execute("", 0), sync()].concat();
    client.send(&batch).await?;
    assert_eq!(kinds(&client.until('Z').await?), "EZ");
    assert_eq!(kinds(&client.query("one").await?), "TDCZ");
    Ok(())
}

#[tokio::test]
async fn row_counts_of_any_size_are_only_numbers_z6_w3() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    for rows_max in [i32::MAX, -1, i32::MIN, 0, 1_000_000] {
        client.send(&[parse("", "one", &[]), bind("", "", &[]), execute("", rows_max), sync()].concat()).await?;
        assert_eq!(kinds(&client.until('Z').await?), "12DCZ", "{rows_max}");
    }
    Ok(())
}

#[tokio::test]
async fn function_calls_are_refused_and_remains_of_copies_ignored_p14() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    client.send(&frame('F', b"anything")).await?;
    let messages = client.until('Z').await?;
    assert_eq!((kinds(&messages), errors(&messages)), ("EZ".to_owned(), vec!["0A000".to_owned()]));
    client.send(&[frame('d', b"data"), frame('c', b""), frame('f', b"why\0"), query("one")].concat()).await?;
    assert_eq!(kinds(&client.until('Z').await?), "TDCZ");
    Ok(())
}

#[tokio::test]
async fn no_nul_leaves_in_an_error() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    let messages = client.query("nul").await?;
    assert_eq!(kinds(&messages), "EZ");
    let field = |code| messages[0].field(code);
    assert_eq!((field('M'), field('D'), field('H')), (Some("ab".into()), Some("cd".into()), Some("ef".into())));
    Ok(())
}

#[tokio::test]
async fn input_may_come_byte_by_byte() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    for byte in [parse("", "one", &[]), bind("", "", &[]), execute("", 0), sync()].concat() {
        client.send(&[byte]).await?;
        tokio::task::yield_now().await;
    }
    assert_eq!(kinds(&client.until('Z').await?), "12DCZ");
    Ok(())
}
