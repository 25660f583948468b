//! Model files (Cube's language, in YAML) read into one checked [`Model`], with diagnostics that point at file, line and
//! column.
//!
//! Pure: no network, no clock, no DataFusion. The same check runs in the command line, in CI and in the server.

mod access_policy;
mod cube;
mod diagnostic;
mod pre_aggregation;
mod template;
mod view;

pub use access_policy::*;
pub use cube::*;
pub use diagnostic::*;
pub use pre_aggregation::*;
pub use template::*;
pub use view::*;
