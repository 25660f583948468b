//! Our own plan nodes.

pub mod fact_leg;
