//! One SQL statement in, an Arrow stream out: sessions, snapshots, limits, and the path of a query through planner and sources.

mod api;
mod catalog;
pub mod columns;
mod cursors;
pub mod engine;
mod error;
mod errors;
mod explain;
mod guc_duration;
pub mod load;
mod planning_pool;
mod refresh_statement;
mod refresh_values;
mod rollup_tables;
pub mod rollups;
mod run;
mod session;
mod settings;
pub mod sources;
mod streaming;
mod transaction;
mod utility;

pub use api::*;
pub use belvedere_functions::Zone;
pub use belvedere_planner::policy::DefaultMasks;
pub use engine::{Clock, Engine, EngineBackend, EngineConfig, Snapshot, User};
pub use error::*;
pub use errors::from_datafusion as sql_error_of;
pub use refresh_statement::RollupBuilder;
pub use settings::{SERVER_VERSION, parse_zone};
