//! Start-up and login, byte by byte. Names in brackets are the cases of the reliability reference.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BufMut;
use tokio::net::TcpStream;

use belvedere_engine::Severity;

use super::harness::{
    CANCEL, Client, GSS_REQUEST, Message, Outcome, PROTOCOL, SSL_REQUEST, Server, crooked, errors, frame, kinds,
    packet, pairs, query, startup,
};
use crate::scram::{Exchange, MockSecret, scram_verifier, verifier_with};
use crate::startup::split_options;
use crate::{Limits, ServerConfig};

#[tokio::test]
async fn a_trusted_user_is_greeted_in_one_go() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.socket().await?;
    let messages = client.log_in().await?;
    assert_eq!(kinds(&messages), "RSSSSKZ");
    let logins = server.engine.logins.lock().map_err(|_| "poisoned")?;
    assert_eq!(logins[0].process_id, client.key.0);
    Ok(())
}

/// The client's first SCRAM message in its frame.
fn client_first(mechanism: &str, data: &str) -> Vec<u8> {
    let mut body = format!("{mechanism}\0").into_bytes();
    body.put_i32(data.len() as i32);
    body.put_slice(data.as_bytes());
    frame('p', &body)
}

async fn asked_for_password(server: &Server, user: &str) -> Result<Client<TcpStream>, Box<dyn std::error::Error>> {
    let mut client = server.socket().await?;
    client.send(&startup(&[("user", user)])).await?;
    let asked = client.receive().await?.ok_or("closed")?;
    assert_eq!((asked.kind, asked.body.as_slice()), ('R', &b"\0\0\0\x0aSCRAM-SHA-256\0\0"[..]));
    Ok(client)
}

fn fatal(messages: &[Message]) -> Option<(String, String)> {
    match messages {
        [message] if message.kind == 'E' && message.field('S').as_deref() == Some("FATAL") => {
            Some((message.field('C')?, message.field('M')?))
        }
        _ => None,
    }
}

#[tokio::test]
async fn an_error_while_a_session_is_opened_is_fatal_and_never_ready_z3() -> Outcome {
    let server = Server::start().await?;
    let settings = format!("host=127.0.0.1 port={} user=closed password=secret", server.address.port());
    let error = tokio_postgres::connect(&settings, tokio_postgres::NoTls).await.err().ok_or("was let in")?;
    let error = error.as_db_error().ok_or("no server error")?;
    assert_eq!((error.severity(), error.code().code()), ("FATAL", "28000"));
    Ok(())
}

#[tokio::test]
async fn a_query_piped_behind_a_wrong_password_is_not_executed_z4() -> Outcome {
    let server = Server::start().await?;
    let mut client = asked_for_password(&server, "analyst").await?;
    client.send(&client_first("SCRAM-SHA-256", "n,,n=,r=abcdef")).await?;
    let challenge = client.receive().await?.ok_or("closed")?;
    let text = String::from_utf8_lossy(&challenge.body[4..]).into_owned();
    let nonce = text.split(',').next().ok_or("no nonce")?;
    let proof = "A".repeat(43) + "=";
    let piped = [frame('p', format!("c=biws,{nonce},p={proof}").as_bytes()), query("one"), query("one")].concat();
    client.send(&piped).await?;
    let messages = client.rest().await?;
    let expected = ("28P01".to_owned(), "password authentication failed for user \"analyst\"".to_owned());
    assert_eq!(fatal(&messages), Some(expected));
    assert_eq!(server.engine.executed.load(Ordering::SeqCst), 0);
    assert_eq!(server.metrics.statements_total.load(Ordering::SeqCst), 0);
    assert_eq!(server.metrics.errors_by_sqlstate(), [("28P01", 1)]);
    Ok(())
}

#[tokio::test]
async fn known_and_unknown_users_see_the_same_exchange_p10() -> Outcome {
    let server = Server::start().await?;
    let mut salts = Vec::new();
    for user in ["analyst", "nobody", "nobody", "somebody"] {
        let mut client = asked_for_password(&server, user).await?;
        client.send(&client_first("SCRAM-SHA-256", "n,,n=,r=abcdef")).await?;
        let challenge = client.receive().await?.ok_or("closed")?;
        let text = String::from_utf8_lossy(&challenge.body[4..]).into_owned();
        let parts: Vec<&str> = text.split(',').collect();
        assert_eq!((parts.len(), parts[0].len(), parts[1].len(), parts[2]), (3, 2 + 6 + 24, 2 + 24, "i=4096"));
        salts.push(parts[1].to_owned());
        let proof = "A".repeat(43) + "=";
        client.send(&frame('p', format!("c=biws,{},p={proof}", parts[0]).as_bytes())).await?;
        let (sqlstate, message) = fatal(&client.rest().await?).ok_or("not one FATAL")?;
        assert_eq!(sqlstate, "28P01");
        assert_eq!(message, format!("password authentication failed for user \"{user}\""));
    }
    assert_eq!(salts[1], salts[2], "asking twice must show the same salt");
    assert_ne!(salts[1], salts[3]);
    Ok(())
}

#[tokio::test]
async fn scram_messages_that_ask_for_more_or_are_broken_end_the_connection_p9() -> Outcome {
    let server = Server::start().await?;
    let first = |data: &str| client_first("SCRAM-SHA-256", data);
    let broken = [
        client_first("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc"),
        client_first("PLAIN", "n,,n=,r=abc"),
        client_first("", ""),
        first(""),
        first("n,,"),
        first("n,,n=,r="),
        first("n,a=admin,n=,r=abc"),
        first("n,,m=ext,n=,r=abc"),
        first("n,,n=,r=abc,x=y"),
        first("n,,n=,r=a\u{7f}c"),
        first("p=tls-server-end-point,,n=,r=abc"),
        frame('p', b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
        frame('p', b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=abc"),
        frame('p', b"SCRAM-SHA-256\0\0\0\0\x0bn,,n=,r=abcdef trailing"),
        frame('p', b"SCRAM-SHA-256"),
        frame('p', b""),
        frame('p', b"\xff\xfe\0\0\0\0\0"),
    ];
    for bytes in broken {
        let mut client = asked_for_password(&server, "analyst").await?;
        client.send(&bytes).await?;
        let (sqlstate, _) = fatal(&client.rest().await?).ok_or_else(|| format!("not one FATAL for {bytes:?}"))?;
        assert!(matches!(sqlstate.as_str(), "08P01" | "22021"), "{sqlstate} for {bytes:?}");
    }
    // The last message: nonce of another exchange, proof of a wrong length, junk.
    let proof = "A".repeat(43) + "=";
    for last in [
        format!("c=biws,r=other,p={proof}"),
        "c=biws,NONCE,p=AAAA".to_owned(),
        "c=biws,NONCE,p=***".to_owned(),
        format!("c=eSws,NONCE,p={proof}"),
        "c=biws,NONCE".to_owned(),
        String::new(),
        "\0".to_owned(),
        ",,,,".to_owned(),
    ] {
        let mut client = asked_for_password(&server, "analyst").await?;
        client.send(&first("n,,n=,r=abcdef")).await?;
        let challenge = client.receive().await?.ok_or("closed")?;
        let text = String::from_utf8_lossy(&challenge.body[4..]).into_owned();
        let nonce = text.split(',').next().ok_or("no nonce")?;
        client.send(&frame('p', last.replace("NONCE", nonce).as_bytes())).await?;
        let (sqlstate, _) = fatal(&client.rest().await?).ok_or_else(|| format!("not one FATAL for {last:?}"))?;
        assert_eq!(sqlstate, "08P01", "for {last:?}");
    }
    assert_eq!(server.metrics.connections_total.load(Ordering::SeqCst), 0);
    Ok(())
}

#[tokio::test]
async fn before_the_password_nothing_else_is_read_p3_z13() -> Outcome {
    let server = Server::start().await?;
    // A header that announces a gigabyte is refused by its type alone.
    for kind in "QPBDECSHXFdcf\0\u{1}".chars() {
        let mut client = asked_for_password(&server, "analyst").await?;
        client.send(&crooked(kind, 1 << 30, b"")).await?;
        let (sqlstate, _) = fatal(&client.rest().await?).ok_or_else(|| format!("not one FATAL for {kind:?}"))?;
        assert_eq!(sqlstate, "08P01");
    }
    // And so is a password message beyond PostgreSQL's limit, before its body is here.
    for length in [0, 3, 65_536, 1 << 30, u32::MAX] {
        let mut client = asked_for_password(&server, "analyst").await?;
        client.send(&crooked('p', length, b"")).await?;
        assert!(fatal(&client.rest().await?).is_some(), "{length}");
    }
    Ok(())
}

#[tokio::test]
async fn packets_that_are_no_packets_are_closed_without_a_word_p1() -> Outcome {
    let server = Server::start().await?;
    for length in [0_u32, 1, 4, 7, 10_001, 1 << 30, u32::MAX] {
        let mut client = server.socket().await?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.put_u32(PROTOCOL);
        client.send(&bytes).await?;
        assert_eq!(client.rest().await?, [], "{length}");
    }
    let mut client = server.socket().await?;
    client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    assert_eq!(client.rest().await?, []);
    Ok(())
}

#[tokio::test]
async fn startup_packets_that_cannot_be_meant_are_fatal_p13_p14_p16() -> Outcome {
    let server = Server::start().await?;
    let anyone = ("user", "anyone");
    let cases = [
        (packet(0x0002_0000, &pairs(&[anyone])), "0A000"),
        (packet(0x0004_0000, &pairs(&[anyone])), "0A000"),
        (startup(&[]), "28000"),
        (startup(&[("user", "")]), "28000"),
        (startup(&[anyone, ("user", "analyst")]), "08P01"),
        (startup(&[anyone, ("options", "-c a=b"), ("options", "-c a=c")]), "08P01"),
        (startup(&[anyone, ("replication", "true")]), "0A000"),
        (startup(&[anyone, ("replication", "database")]), "0A000"),
        (startup(&[anyone, ("options", "-c")]), "42601"),
        (startup(&[anyone, ("options", "-c novalue")]), "42601"),
        (startup(&[anyone, ("options", "-x y")]), "42601"),
        (packet(PROTOCOL, b"user\0anyone\0"), "08P01"),
        (packet(PROTOCOL, b"user\0anyone"), "08P01"),
        (packet(PROTOCOL, b"user\0anyone\0\0more"), "08P01"),
        (packet(PROTOCOL, b""), "08P01"),
        (packet(PROTOCOL, b"user\0\xff\xfe\0\0"), "22021"),
    ];
    for (bytes, expected) in cases {
        let mut client = server.socket().await?;
        client.send(&bytes).await?;
        let (sqlstate, message) = fatal(&client.rest().await?).ok_or_else(|| format!("not one FATAL for {bytes:?}"))?;
        assert_eq!(sqlstate, expected, "{message} for {bytes:?}");
    }
    assert_eq!(server.metrics.connections_total.load(Ordering::SeqCst), 0);
    Ok(())
}

#[tokio::test]
async fn newer_minor_versions_and_protocol_options_are_negotiated_down_p13() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.socket().await?;
    client.send(&packet(0x0003_270f, &pairs(&[("user", "anyone"), ("_pq_.strange", "1")]))).await?;
    let messages = client.until('Z').await?;
    assert_eq!(kinds(&messages), "vRSSSSKZ");
    assert_eq!(messages[0].body, b"\0\x03\0\0\0\0\0\x01_pq_.strange\0");
    Ok(())
}

#[tokio::test]
async fn options_become_single_settings_and_the_rest_is_passed_on() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.socket().await?;
    let options = r"-c rollups=off --time-zone=Europe/Berlin  -capplication_name=a\ b\\c";
    client
        .send(&startup(&[("user", "anyone"), ("options", options), ("DateStyle", "ISO"), ("replication", "off")]))
        .await?;
    client.until('Z').await?;
    let logins = server.engine.logins.lock().map_err(|_| "poisoned")?;
    let settings: Vec<_> = logins[0].parameters.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(settings, ["rollups=off", "time_zone=Europe/Berlin", r"application_name=a b\c", "DateStyle=ISO"]);
    assert_eq!((logins[0].user.as_str(), logins[0].database.as_str()), ("anyone", "anyone"));
    Ok(())
}

#[test]
fn option_words_are_split_as_postgresql_splits_them() {
    let split = |text| split_options(text).map_err(|error| error.sqlstate);
    assert_eq!(split(""), Ok(vec![]));
    assert_eq!(split(" \t "), Ok(vec![]));
    assert_eq!(split(r"-c a=x\"), Ok(vec![("a".to_owned(), "x".to_owned())]));
    assert_eq!(split("-c a=b=c"), Ok(vec![("a".to_owned(), "b=c".to_owned())]));
    assert_eq!(split("-c =b"), Err("42601"));
    assert_eq!(split("a=b"), Err("42601"));
}

#[tokio::test]
async fn without_tls_the_answer_is_n_and_the_login_goes_on() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.socket().await?;
    client.send(&packet(SSL_REQUEST, b"")).await?;
    assert_eq!(client.receive_byte().await?, b'N');
    client.send(&packet(GSS_REQUEST, b"")).await?;
    assert_eq!(client.receive_byte().await?, b'N');
    client.log_in().await?;
    // A second request of the same kind is not a negotiation any more.
    let mut client = server.socket().await?;
    client.send(&packet(SSL_REQUEST, b"")).await?;
    assert_eq!(client.receive_byte().await?, b'N');
    client.send(&packet(SSL_REQUEST, b"")).await?;
    assert!(fatal(&client.rest().await?).is_some());
    Ok(())
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_closed_in_time_p2() -> Outcome {
    let limits = Limits { authentication_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = Server::with(ServerConfig { limits, ..ServerConfig::default() }).await?;
    let begun = Instant::now();
    let mut silent = server.socket().await?;
    let mut slow = server.socket().await?;
    slow.send(&startup(&[("user", "anyone")])[..9]).await?;
    let mut asked = asked_for_password(&server, "analyst").await?;
    let mut logged_in = server.session().await?;
    for client in [&mut silent, &mut slow, &mut asked] {
        assert_eq!(client.rest().await?, []);
    }
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(kinds(&logged_in.query("one").await?), "TDCZ");
    Ok(())
}

#[tokio::test]
async fn sockets_and_sessions_beyond_the_limits_are_refused() -> Outcome {
    let limits = Limits { unauthenticated_sockets: 2, connections: 1, ..Limits::default() };
    let server = Server::with(ServerConfig { limits, ..ServerConfig::default() }).await?;
    let mut first = server.session().await?;
    let mut second = server.socket().await?;
    second.send(&startup(&[("user", "anyone")])).await?;
    let refused = fatal(&second.rest().await?).ok_or("not one FATAL")?;
    assert_eq!(refused, ("53300".to_owned(), "sorry, too many clients already".to_owned()));
    assert_eq!(kinds(&first.query("one").await?), "TDCZ");
    drop(second);
    while server.metrics.sockets_unauthenticated_open.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let waiting = [asked_for_password(&server, "analyst").await?, asked_for_password(&server, "analyst").await?];
    assert_eq!(server.socket().await?.rest().await?, []);
    drop(waiting);
    drop(first);
    // The places are free again.
    for _ in 0..100 {
        if server.session().await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err("the places are not given back".into())
}

#[tokio::test]
async fn guessing_one_users_password_gets_slower_and_slows_nobody_else_p11() -> Outcome {
    let server = Server::start().await?;
    let attempt = async |user: &str, password: &str| {
        let settings = format!("host=127.0.0.1 port={} user={user} password={password}", server.address.port());
        let begun = Instant::now();
        let let_in = tokio_postgres::connect(&settings, tokio_postgres::NoTls).await.is_ok();
        (let_in, begun.elapsed())
    };
    for _ in 0..6 {
        assert!(!attempt("analyst", "guess").await.0);
    }
    // The fifth failure waits 100 ms, the seventh 400 ms.
    let (let_in, slow) = attempt("analyst", "guess").await;
    assert!(!let_in && slow >= Duration::from_millis(400), "{slow:?}");
    let (_, other) = attempt("nobody", "guess").await;
    assert!(other < Duration::from_millis(400), "{other:?}");
    // The right password waits as long, once.
    let (let_in, slow) = attempt("analyst", "secret").await;
    assert!(let_in && slow >= Duration::from_millis(800), "{slow:?}");
    let (let_in, quick) = attempt("analyst", "secret").await;
    assert!(let_in && quick < Duration::from_millis(800), "{quick:?}");
    Ok(())
}

#[tokio::test]
async fn a_cancel_request_with_a_wrong_key_or_length_is_met_with_silence_p12() -> Outcome {
    let server = Server::start().await?;
    let mut session = server.session().await?;
    let (process_id, secret) = session.key;
    session.send(&query("sleep 3")).await?;
    let request =
        |process_id: i32, secret: i32| packet(CANCEL, &[process_id.to_be_bytes(), secret.to_be_bytes()].concat());
    for bytes in [
        request(process_id, secret.wrapping_add(1)),
        request(process_id.wrapping_add(1), secret),
        request(0, 0),
        packet(CANCEL, &process_id.to_be_bytes()),
        packet(CANCEL, &[0; 264]),
        packet(CANCEL, b""),
    ] {
        let mut other = server.socket().await?;
        other.send(&bytes).await?;
        assert_eq!(other.rest().await?, []);
    }
    assert_eq!(kinds(&session.until('Z').await?), "TDDDCZ");
    assert_eq!(server.metrics.cancels_total.load(Ordering::SeqCst), 0);
    Ok(())
}

#[test]
fn a_verifier_is_what_postgresql_would_store_and_is_kept_as_it_is() -> Outcome {
    // Password and salt are those of the example in RFC 7677.
    let salt = [0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
    let verifier = verifier_with("pencil", &salt, 4096);
    let expected = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    assert_eq!(verifier, expected);
    assert_eq!(scram_verifier(&verifier)?, verifier);
    assert_ne!(scram_verifier("pencil")?, scram_verifier("pencil")?);
    assert!(scram_verifier("").is_err());
    // What only looks like one is a password.
    assert_ne!(scram_verifier("SCRAM-SHA-256$4096:x$y:z")?, "SCRAM-SHA-256$4096:x$y:z");
    Ok(())
}

#[test]
fn mutated_scram_messages_never_succeed_or_panic() -> Outcome {
    let mock = MockSecret::new()?;
    let verifier = verifier_with("secret", b"0123456789abcdef", 16);
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut mutate = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..1 + random() % 3 {
            let at = random() % bytes.len().max(1);
            match random() % 4 {
                0 if !bytes.is_empty() => bytes[at] = random() as u8,
                1 => bytes.truncate(at),
                2 => bytes.insert(at, b",=\0\xff"[random() % 4]),
                _ => bytes.extend_from_slice(b",p=AAAA"),
            }
        }
        bytes
    };
    let mut begun = 0;
    for _ in 0..20_000 {
        let first = mutate("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
        let Ok((challenge, exchange)) = Exchange::begin("user", Some(&verifier), &mock, &first) else { continue };
        begun += 1;
        let challenge = String::from_utf8_lossy(&challenge).into_owned();
        let nonce = challenge.split(',').next().unwrap_or_default();
        let last = mutate(&format!("c=biws,{nonce},p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts0C6ZQjkqlCUJvPXc="));
        let error = exchange.finish(&last).expect_err("nobody knows the password");
        assert_eq!(error.severity, Severity::Fatal);
    }
    assert!(begun > 500, "too few exchanges came to their second message: {begun}");
    Ok(())
}

mod tls {
    //! With a certificate that is made for the test.

    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig as TlsConfig};

    use super::*;

    /// A self-signed certificate for `localhost`, from the command line tool; its files live as long as the test.
    fn certificate() -> Result<(TlsConfig, RootCertStore), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output()?;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let certificate = CertificateDer::from_pem_file(&certificate)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = TlsConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::from_pem_file(&key)?)?;
        Ok((server, roots))
    }

    struct Encrypted {
        server: Server,
        roots: RootCertStore,
    }

    async fn start(tls_required: bool) -> Result<Encrypted, Box<dyn std::error::Error>> {
        let (tls, roots) = certificate()?;
        let config = ServerConfig { tls: Some(Arc::new(tls)), tls_required, ..ServerConfig::default() };
        Ok(Encrypted { server: Server::with(config).await?, roots })
    }

    impl Encrypted {
        async fn handshake(
            &self,
            socket: TcpStream,
            protocols: &[&str],
        ) -> Result<Client<TlsStream<TcpStream>>, Box<dyn std::error::Error>> {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(self.roots.clone())
                .with_no_client_auth();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            let connector = TlsConnector::from(Arc::new(config));
            Ok(Client::new(connector.connect(ServerName::try_from("localhost")?, socket).await?))
        }
    }

    #[tokio::test]
    async fn a_login_inside_tls_works() -> Outcome {
        let encrypted = start(true).await?;
        let mut plain = encrypted.server.socket().await?;
        plain.send(&packet(SSL_REQUEST, b"")).await?;
        assert_eq!(plain.receive_byte().await?, b'S');
        let mut client = encrypted.handshake(plain.stream, &[]).await?;
        client.log_in().await?;
        assert_eq!(kinds(&client.query("one").await?), "TDCZ");
        // More than TLS holds in one record.
        assert_eq!(client.query("rows 3 100").await?.len(), 3_003);
        Ok(())
    }

    #[tokio::test]
    async fn plaintext_sent_along_with_an_ssl_request_is_never_used_z5_p6() -> Outcome {
        let encrypted = start(false).await?;
        let mut plain = encrypted.server.socket().await?;
        plain.send(&[packet(SSL_REQUEST, b""), startup(&[("user", "anyone")])].concat()).await?;
        assert_eq!(plain.rest().await?, []);
        assert_eq!(encrypted.server.metrics.connections_total.load(Ordering::SeqCst), 0);
        Ok(())
    }

    #[tokio::test]
    async fn a_client_that_goes_on_without_required_tls_is_refused_before_anything_is_asked_p7() -> Outcome {
        let encrypted = start(true).await?;
        let mut plain = encrypted.server.socket().await?;
        plain.send(&startup(&[("user", "analyst")])).await?;
        assert_eq!(fatal(&plain.rest().await?).map(|(sqlstate, _)| sqlstate), Some("28000".to_owned()));
        let mut gss = encrypted.server.socket().await?;
        gss.send(&packet(GSS_REQUEST, b"")).await?;
        assert_eq!(gss.receive_byte().await?, b'N');
        gss.send(&startup(&[("user", "analyst")])).await?;
        assert_eq!(errors(&gss.rest().await?), ["28000"]);
        Ok(())
    }

    #[tokio::test]
    async fn tls_without_a_request_needs_the_protocol_name_p8() -> Outcome {
        let encrypted = start(true).await?;
        let mut client = encrypted.handshake(encrypted.server.socket().await?.stream, &["postgresql"]).await?;
        client.log_in().await?;
        assert_eq!(kinds(&client.query("one").await?), "TDCZ");
        // Without a name the handshake may succeed; the connection ends all the same.
        if let Ok(mut nameless) = encrypted.handshake(encrypted.server.socket().await?.stream, &[]).await {
            assert!(nameless.log_in().await.is_err());
        }
        if let Ok(mut other) = encrypted.handshake(encrypted.server.socket().await?.stream, &["h2"]).await {
            assert!(other.log_in().await.is_err());
        }
        assert_eq!(encrypted.server.metrics.connections_total.load(Ordering::SeqCst), 1);
        Ok(())
    }

    #[tokio::test]
    async fn psql_logs_in_through_tls() -> Outcome {
        let encrypted = start(true).await?;
        let address = format!("host=localhost hostaddr=127.0.0.1 port={}", encrypted.server.address.port());
        let output = tokio::process::Command::new("psql")
            .args(["-X", "-At", "-c", "one", "-c", "\\conninfo"])
            .arg(format!("{address} user=analyst password=secret dbname=shop sslmode=require"))
            .kill_on_drop(true)
            .output()
            .await?;
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.starts_with("1\n") && shown.contains("SSL connection (protocol: TLSv1.3"), "{shown}");
        Ok(())
    }
}
