//! Our own plan nodes.

pub mod fact_leg;
pub mod row_barrier;
