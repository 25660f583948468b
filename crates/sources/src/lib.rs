//! PostgreSQL, MySQL/MariaDB and files: introspect them, push work down to them, stream their rows as Arrow.

mod api;
mod error;

pub use api::*;
pub use error::*;
