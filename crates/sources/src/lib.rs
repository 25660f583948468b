//! PostgreSQL, MySQL/MariaDB and files: introspect them, push work down to them, stream their rows as Arrow.

mod api;
mod error;
mod push_down;
mod remote_table;

pub use api::*;
pub use error::*;
pub use push_down::{push_down, remote_statements, remote_statements_of_exec};
pub use remote_table::{BaseColumn, RemoteExec, RemoteTable};
