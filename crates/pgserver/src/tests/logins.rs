//! Start-up and login, byte by byte.

use super::harness::{Outcome, Server, kinds};

#[tokio::test]
async fn a_trusted_user_is_greeted_in_one_go() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.socket().await?;
    let messages = client.log_in().await?;
    assert_eq!(kinds(&messages), "RSSSSKZ");
    Ok(())
}
