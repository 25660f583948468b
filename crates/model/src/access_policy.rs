//! Access policies and model-level filters, as read from the files. Nothing executes them yet.

use crate::Place;

#[derive(Debug, Clone, PartialEq)]
pub struct AccessPolicy {
    pub groups: Vec<String>,
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ModelFilter {
    pub place: Place,
}
