//! Gives view tables their meaning: what an aggregate over a view asks becomes a [`FactLeg`](crate::nodes::fact_leg::FactLeg).

pub mod absorb;
pub mod build_legs;
pub mod choose_join_tree;
pub mod combine_legs;
pub mod default_filters;
mod grouping_sets;
mod guard_fan_trap;
pub(crate) mod hints;
pub(crate) mod pin_switches;
pub(crate) mod rolling;
pub mod split_facts;
pub(crate) mod stage_filters;
pub(crate) mod stages;
pub(crate) mod time_range;
pub(crate) mod time_shift;

#[cfg(test)]
mod choose_join_tree_tests;
