//! What psql shows.

use std::process::Stdio;

use tokio::process::Command;

use super::harness::{Outcome, Server};

struct Shown {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

async fn psql(server: &Server, user: &str, password: &str, arguments: &[&str]) -> std::io::Result<Shown> {
    let output = Command::new("psql")
        .args(["-X", "-h", "127.0.0.1", "-p", &server.address.port().to_string(), "-U", user, "-d", "shop"])
        .args(arguments)
        .env("PGPASSWORD", password)
        .env("PGSSLMODE", "prefer")
        .env("PGCONNECT_TIMEOUT", "10")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    Ok(Shown {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[tokio::test]
async fn psql_logs_in_with_a_password_and_reads_a_row() -> Outcome {
    let server = Server::start().await?;
    let shown = psql(&server, "analyst", "secret", &["-c", "one"]).await?;
    assert_eq!(shown.stderr, "");
    assert_eq!(shown.stdout, " ?column? \n----------\n        1\n(1 row)\n\n");
    assert_eq!(shown.status, Some(0));
    Ok(())
}

#[tokio::test]
async fn psql_is_told_of_a_wrong_password_as_postgresql_tells_it() -> Outcome {
    let server = Server::start().await?;
    for user in ["analyst", "nobody", "broken"] {
        let shown = psql(&server, user, "wrong", &["-c", "one"]).await?;
        let place = format!("psql: error: connection to server at \"127.0.0.1\", port {}", server.address.port());
        let expected = format!("{place} failed: FATAL:  password authentication failed for user \"{user}\"\n");
        assert_eq!(shown.stderr, expected);
        assert_eq!(shown.status, Some(2));
    }
    assert_eq!(server.engine.executed.load(std::sync::atomic::Ordering::SeqCst), 0);
    Ok(())
}

#[tokio::test]
async fn psql_shows_an_error_with_its_position_detail_and_hint() -> Outcome {
    let server = Server::start().await?;
    let shown = psql(&server, "analyst", "secret", &["-v", "VERBOSITY=verbose", "-c", "one; nonsense"]).await?;
    let expected = "ERROR:  42601: syntax error at or near \"nonsense\"\n\
                    LINE 1: one; nonsense\n             ^\n\
                    DETAIL:  The fake engine knows few words.\n\
                    HINT:  Use another word.\n";
    assert_eq!(shown.stderr, expected);
    assert_eq!(shown.stdout, " ?column? \n----------\n        1\n(1 row)\n\n");
    Ok(())
}
