//! What tests and benches share: private PostgreSQL and MariaDB servers on free loopback ports, started from the Debian packages.
//!
//! A test that only needs *a* database takes `PrivatePostgres::shared()?.fresh_database()?`: the first test of a run starts the
//! server, the others (threads or processes, as under nextest) find it, and it stops by itself a few seconds after the last one.
//! A test that stops, reconfigures or counts the connections of a server takes `PrivatePostgres::start()`.

mod keeper;
mod mariadb;
mod postgres;
mod server_error;

pub use mariadb::PrivateMariaDb;
pub use postgres::PrivatePostgres;
pub use server_error::ServerError;
