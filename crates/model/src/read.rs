//! From YAML nodes to the model's types, one file a kind of thing.

pub(crate) mod fields;

pub(crate) mod cube;
pub(crate) mod view;

pub(crate) mod access_policy;
pub(crate) mod dimension;
pub(crate) mod filter;
pub(crate) mod granularity;
pub(crate) mod hierarchy;
pub(crate) mod include;
pub(crate) mod join;
pub(crate) mod measure;
pub(crate) mod naming;
pub(crate) mod pre_aggregation;
pub(crate) mod refresh_key;
pub(crate) mod segment;
pub(crate) mod shared;
pub(crate) mod stage;
pub(crate) mod view_group;
