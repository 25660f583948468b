//! Gives view tables their meaning: what an aggregate over a view asks becomes a [`FactLeg`](crate::nodes::fact_leg::FactLeg).

pub mod absorb;
pub mod build_legs;
pub mod choose_join_tree;
pub mod combine_legs;
pub mod default_filters;
mod grouping_sets;
mod guard_fan_trap;
pub(crate) mod hints;
pub mod split_facts;

#[cfg(test)]
mod choose_join_tree_tests;
