//! SQL over views to relational plans: every planning rule of ours.
//!
//! Pure: no I/O, no async, no clock. [`pipeline`] lists the stages in order.

pub mod bind;
pub mod calendar;
pub mod catalog;
pub mod error;
pub mod expand;
pub mod files;
pub mod functions;
pub mod gate;
mod granularity;
pub mod lower;
pub mod member_types;
pub mod members;
pub mod name;
pub mod nodes;
pub mod parse;
pub mod pipeline;
pub mod planning;
pub mod policy;
pub mod refresh_sql;
pub mod rewrite;
pub mod rollups;
pub mod session;
pub mod substitute;
pub mod tables;
pub mod types;

pub use files::bind_text;
