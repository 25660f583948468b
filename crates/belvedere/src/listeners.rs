//! Binds the addresses; without users, only those that other machines cannot reach.

use std::net::SocketAddr;

use belvedere_model::Diagnostic;
use tokio::net::TcpListener;

use crate::config::{Config, Placed};
use crate::model_files::plain;

/// The listeners for PostgreSQL clients, and warnings about addresses that were left out.
///
/// # Errors
/// An address that cannot be bound, or none that is left.
pub async fn bind_all(config: &Config) -> Result<(Vec<TcpListener>, Vec<Diagnostic>), Box<Diagnostic>> {
    let mut listeners = Vec::new();
    let mut warnings = Vec::new();
    for listen in &config.listen {
        let addresses = resolve(listen).await?;
        if config.users.is_empty() && !addresses.iter().all(|address| address.ip().is_loopback()) {
            let message = format!("no `users` are configured, so {} is not opened to other machines", listen.value);
            warnings.push(
                listen
                    .at
                    .warning(message)
                    .with_help("name `users` with passwords, or listen on 127.0.0.1 or [::1] only"),
            );
            continue;
        }
        listeners.push(bind(listen, &addresses).await?);
    }
    match config.listen.first() {
        Some(first) if listeners.is_empty() => {
            let message = "no address is left to listen on: without `users`, only loopback addresses are opened";
            let help = "name `users` with passwords, or listen on 127.0.0.1 or [::1]";
            Err(Box::new(first.at.error(message).with_help(help)))
        }
        _ => Ok((listeners, warnings)),
    }
}

/// One listener; of several addresses of a name, the first that works.
///
/// # Errors
/// When none works.
pub async fn bind_one(listen: &Placed<String>) -> Result<TcpListener, Box<Diagnostic>> {
    let addresses = resolve(listen).await?;
    bind(listen, &addresses).await
}

async fn resolve(listen: &Placed<String>) -> Result<Vec<SocketAddr>, Box<Diagnostic>> {
    let problem = |reason: &str| {
        let message = format!("the address {} cannot be found: {reason}", listen.value);
        Box::new(listen.at.error(message).with_help("write an IP address of this machine, or `localhost`"))
    };
    match tokio::net::lookup_host(&listen.value).await {
        Ok(found) => {
            let addresses: Vec<SocketAddr> = found.collect();
            if addresses.is_empty() { Err(problem("the name has no address")) } else { Ok(addresses) }
        }
        Err(error) => Err(problem(&plain(&error))),
    }
}

async fn bind(listen: &Placed<String>, addresses: &[SocketAddr]) -> Result<TcpListener, Box<Diagnostic>> {
    TcpListener::bind(addresses).await.map_err(|error| {
        let message = format!("cannot listen on {}: {}", listen.value, plain(&error));
        let help = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another process has this port: stop it, or choose another port",
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose one above",
            _ => "write an IP address of this machine and a free port",
        };
        Box::new(listen.at.error(message).with_help(help))
    })
}
