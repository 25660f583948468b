//! Our own plan nodes.

pub mod fact_leg;
pub mod rollup_scan;
pub mod row_barrier;
