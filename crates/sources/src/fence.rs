//! A border in a plan that no condition and no expression crosses downwards, here and at a source.
//!
//! Below it stand the rows that somebody may see. A condition above it may fail on a value (`1 / x`, a cast), and must not do so for a row
//! that is not let through. While DataFusion's rules run it is a leaf, so that none of them looks below; then either its rows come from one
//! source, whose planner is kept out by the form of the statement ([`Select`](crate::push_down)), or it runs as an operator that
//! lets no condition through.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fence {
    below: Arc<LogicalPlan>,
    schema: DFSchemaRef,
    /// What is below is an input like any other: no rule runs any longer.
    is_open: bool,
}

impl PartialOrd for Fence {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.below.partial_cmp(&other.below)
    }
}

impl Fence {
    /// A fence above `below`, which shows it with the columns of `schema`.
    #[must_use]
    pub fn above(below: LogicalPlan, schema: DFSchemaRef) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(Self { below: Arc::new(below), schema, is_open: false }) })
    }

    /// What is below a fence that no rule has looked behind, and the columns that it shows.
    pub(crate) fn closed(plan: &LogicalPlan) -> Option<(&Arc<LogicalPlan>, &DFSchemaRef)> {
        let LogicalPlan::Extension(extension) = plan else { return None };
        let fence = extension.node.as_any().downcast_ref::<Self>()?;
        (!fence.is_open).then_some((&fence.below, &fence.schema))
    }

    /// The fence above rows that are computed here.
    pub(crate) fn opened(below: LogicalPlan, schema: DFSchemaRef) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(Self { below: Arc::new(below), schema, is_open: true }) })
    }
}

impl UserDefinedLogicalNodeCore for Fence {
    fn name(&self) -> &'static str {
        "Fence"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        if self.is_open { vec![&self.below] } else { vec![] }
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_open {
            return f.write_str("Fence");
        }
        let below = self.below.display_indent().to_string();
        let nodes: Vec<&str> = below.lines().map(str::trim_start).collect();
        write!(f, "Fence over {}", nodes.join(" ← "))
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let below = inputs.into_iter().next().map_or_else(|| Arc::clone(&self.below), Arc::new);
        Ok(Self { below, ..self.clone() })
    }
}

/// Makes operators of fences.
#[derive(Debug)]
pub struct FencePlanner;

#[async_trait]
impl ExtensionPlanner for FencePlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if node.as_any().downcast_ref::<Fence>().is_none() {
            return Ok(None);
        }
        match physical_inputs {
            [only] => Ok(Some(Arc::new(FenceExec::new(Arc::clone(only))))),
            _ => Err(DataFusionError::Internal("a fence was not opened before it runs".to_owned())),
        }
    }
}

/// Hands the rows of its input through. Conditions from above stay above: it accepts none.
#[derive(Debug)]
pub struct FenceExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl FenceExec {
    fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = Arc::clone(input.properties());
        Self { input, properties }
    }
}

impl DisplayAs for FenceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("FenceExec")
    }
}

impl ExecutionPlan for FenceExec {
    fn name(&self) -> &'static str {
        "FenceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Self::new(input)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}

/// Whether an operator is a fence.
#[must_use]
pub fn is_fence(exec: &dyn ExecutionPlan) -> bool {
    (exec as &dyn Any).is::<FenceExec>()
}
