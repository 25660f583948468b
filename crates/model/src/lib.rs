//! Model files (Cube's language, in YAML) read into one checked [`Model`], with diagnostics that point at file, line and
//! column.
//!
//! Pure: no network, no clock, no DataFusion. The same check runs in the command line, in CI and in the server.
//!
//! The way of a file: [`yaml`] gives a tree with places; `definitions` finds cubes and views; `extends` merges parents into
//! children; `symbols` lists the names that exist; `read` makes the model's types, and `references` resolves the SQL in them;
//! `check` looks at the whole; `unsupported` marks what is not executed yet.

mod access_policy;
mod context;
mod cube;
mod details;
mod diagnostic;
mod pre_aggregation;
mod sql_parameter;
mod template;
mod time_unit;
mod view;

mod load;
pub mod yaml;

mod check;
mod definitions;
mod did_you_mean;
mod extends;
mod inline;
mod interval;
mod pieces;
mod problems;
mod read;
mod references;
mod source_text;
mod spelling;
mod symbols;
mod unsupported;
mod walk;

pub use access_policy::*;
pub use context::{ContextCondition, ContextPath, ContextValue, ValuePart, parse_condition, parse_value};
pub use cube::*;
pub use details::*;
pub use diagnostic::*;
pub use did_you_mean::best as did_you_mean;
pub use interval::{PREDEFINED_GRANULARITIES, parse_interval};
pub use load::{Loaded, ModelFile, load};
pub use pre_aggregation::*;
pub use source_text::SourceText;
pub use sql_parameter::{CallPart, FilterColumn, FilterParameter, SqlParameter};
pub use template::*;
pub use time_unit::TimeUnit;
pub use view::*;
pub use walk::{dimension_templates, measure_templates};

#[cfg(test)]
mod tests;
