//! System tests: statements over the shop's views, each compared with plain SQL that PostgreSQL runs over the same tables.
//!
//! In reading order: [`script`] is the format of the `.slt` files, [`rows`] what is compared and how, [`runner`] runs a file,
//! [`shop`] loads the sample's data into servers and writes the variants of its model, [`server`] starts the program itself.
//! `tests/slt/README.md` is for those who write statements.

pub mod rows;
pub mod runner;
pub mod script;
pub mod server;
pub mod shop;

/// What a test function gives back when it cannot go on; the message says what was attempted.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod servers;
#[cfg(test)]
mod system_tests;

#[cfg(test)]
mod cursors;
#[cfg(test)]
mod dimensions;
#[cfg(test)]
mod facts;
#[cfg(test)]
mod hostile_strings;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod process_life;
#[cfg(test)]
mod psql_shows;
#[cfg(test)]
mod pushed_statements;
#[cfg(test)]
mod random;
#[cfg(test)]
mod recipe;
#[cfg(test)]
mod rollup_kills;
#[cfg(test)]
mod rollups;
#[cfg(test)]
mod values_and_types;
#[cfg(test)]
mod zones;
