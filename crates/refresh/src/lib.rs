//! Rollups are built here: which of their rows are due, reading them, and publishing them.
//!
//! It knows nothing of clients and their wire. What rows mean is the planner's business, reading them the engine's, keeping them the
//! store's. Here is decided which partitions there are ([`partitions`]), whether a stored one still holds ([`refresh_key`]), in which
//! order they are built and published ([`build`]), and when all of that is looked at again ([`schedule`]).

pub mod build;
pub mod cron;
pub mod diagnose;
pub mod on_demand;
pub mod partitions;
pub mod refresh_key;
pub mod schedule;

pub use build::{BuildError, BuildEvent, Built, Force, OnBuild, Refresher, did_you_mean};
pub use on_demand::OnDemand;
pub use schedule::{ScheduleOptions, run};

#[cfg(test)]
mod tests;
