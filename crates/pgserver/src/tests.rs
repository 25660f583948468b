//! Tests of the wire against a fake engine: real clients, raw bytes, and mutated bytes.

mod fake_engine;
mod harness;

mod logins;
mod psql;

mod extended_queries;
mod frames;
mod fuzz;
mod streams;
mod values;
