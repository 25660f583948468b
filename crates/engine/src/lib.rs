//! One SQL statement in, an Arrow stream out: sessions, snapshots, limits, and the path of a query through planner and sources.

mod api;
mod error;

pub use api::*;
pub use error::*;
