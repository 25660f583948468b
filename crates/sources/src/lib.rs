//! PostgreSQL, MySQL/MariaDB and files: introspect them, push work down to them, stream their rows as Arrow.

mod api;
mod error;
mod fence;
mod push_down;
mod remote_table;

pub use api::*;
pub use error::*;
pub use fence::{Fence, FenceExec, FencePlanner, is_fence};
pub use push_down::{
    ConditionsOnStoredTime, push_down, push_down_to_build, remote_statements, remote_statements_of_exec,
};
pub use remote_table::{BaseColumn, RelationPart, RemoteExec, RemoteTable};
mod remote_config;

mod files;
mod mysql;
mod postgres;

mod batch_stream;
mod calendar;
mod column_reader;
mod exact;
#[cfg(test)]
mod hostile_strings;
mod pool;
#[cfg(test)]
mod reading_in_tests;
mod statement_end;

pub use files::{FilesConfig, FilesSource};
pub use mysql::MySqlSource;
pub use postgres::PostgresSource;
pub use remote_config::{Address, RemoteConfig, TlsMode};
