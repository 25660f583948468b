//! The process: commands, configuration, signals, supervision.

fn main() {}
