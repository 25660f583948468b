//! Rows that an access policy has let through: nothing from above is evaluated before it.
//!
//! A leaf for DataFusion's rules, so that none moves a condition below it or two filters together; the engine optimizes what is
//! below on its own, and closes it at the source too.

use std::fmt;
use std::sync::Arc;

use datafusion_common::{DFSchemaRef, Result};
use datafusion_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct RowBarrier {
    pub below: Arc<LogicalPlan>,
}

impl RowBarrier {
    /// A barrier above `below`.
    #[must_use]
    pub fn above(below: LogicalPlan) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(Self { below: Arc::new(below) }) })
    }

    /// What is below, if `plan` is a barrier.
    #[must_use]
    pub fn below(plan: &LogicalPlan) -> Option<&Arc<LogicalPlan>> {
        match plan {
            LogicalPlan::Extension(extension) => {
                extension.node.as_any().downcast_ref::<Self>().map(|barrier| &barrier.below)
            }
            _ => None,
        }
    }
}

impl UserDefinedLogicalNodeCore for RowBarrier {
    fn name(&self) -> &'static str {
        "RowBarrier"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.below.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = self.below.display_indent().to_string();
        let nodes: Vec<&str> = below.lines().map(str::trim_start).collect();
        write!(f, "RowBarrier over {}", nodes.join(" ← "))
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(self.clone())
    }
}
