//! From a plan over base scans to a stream of rows: DataFusion's rules, push-down, execution.

use std::any::Any;
use std::sync::Arc;

use belvedere_functions::Zone;
use belvedere_planner::nodes::row_barrier::RowBarrier;
use belvedere_sources::{
    ConditionsOnStoredTime, Fence, FencePlanner, RemoteExec, is_fence, push_down, push_down_to_build, remote_statements,
};
use dashmap::DashMap;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;

/// What DataFusion needs to run a plan; shared by all sessions.
#[derive(Debug, Clone)]
pub struct Runner {
    state: Arc<SessionState>,
    /// The same with another session zone: functions that depend on it read it from the configuration.
    zoned: Arc<DashMap<Zone, Arc<SessionState>>>,
}

impl Runner {
    /// `memory_bytes` bounds what all running statements hold in joins, sorts and aggregates.
    ///
    /// # Errors
    /// DataFusion's, when the runtime cannot be built.
    pub fn new(memory_bytes: usize) -> datafusion::common::Result<Self> {
        let runtime: RuntimeEnv =
            RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(memory_bytes))).build()?;
        let mut config = SessionConfig::new().with_batch_size(8192);
        // Sources stream from one connection: more partitions would only shuffle rows between two cores.
        config = config.with_target_partitions(2);
        let options = config.options_mut();
        options.optimizer.skip_failed_rules = false;
        // Sorting each input of a UNION ALL by itself, DataFusion leaves out columns that are constant in each of them, also where
        // they differ, and its top-k then drops rows: `SELECT 1 AS a, b … UNION ALL SELECT 0, b … ORDER BY a, b LIMIT 2` lost the
        // second part. One sort above the union does not know of constants.
        options.optimizer.repartition_sorts = false;
        // The check compares nullability too, where logical and physical `IS TRUE` differ. Types are what we promise.
        options.execution.skip_physical_aggregate_schema_check = true;
        options.execution.parquet.schema_force_view_types = false;
        // A view type that a reader chose would no longer be the type that was promised.
        options.sql_parser.map_string_types_to_utf8view = false;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::new(runtime))
            .with_default_features()
            .build();
        Ok(Self { state: Arc::new(state), zoned: Arc::new(DashMap::new()) })
    }

    /// The physical plan of what [`Runner::logical`] gave.
    ///
    /// # Errors
    /// DataFusion's, for a plan that cannot run.
    pub async fn physical(&self, plan: &LogicalPlan, zone: Zone) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(FencePlanner)])
            .create_physical_plan(plan, self.state_in(zone).as_ref())
            .await
    }

    fn state_in(&self, zone: Zone) -> Arc<SessionState> {
        let known = self.zoned.get(&zone).map(|state| Arc::clone(&state));
        known.unwrap_or_else(|| {
            let mut state = self.state.as_ref().clone();
            state.config_mut().options_mut().execution.time_zone = Some(zone.name());
            // Functions get the options from here when they run: without them `created_at::timestamptz` read the clock of Greenwich.
            let options = Arc::clone(state.config_options());
            state.execution_props_mut().config_options = Some(options);
            let state = Arc::new(state);
            self.zoned.insert(zone, Arc::clone(&state));
            state
        })
    }

    /// Optimizes and pushes down.
    ///
    /// # Errors
    /// DataFusion's: a plan that one of its rules refuses.
    pub fn logical(&self, plan: LogicalPlan, zone: Zone) -> datafusion::common::Result<LogicalPlan> {
        push_down(self.optimized(plan, zone)?)
    }

    /// The same for the rows of a rollup.
    ///
    /// # Errors
    /// As [`Runner::logical`].
    pub fn logical_to_build(&self, plan: LogicalPlan, zone: Zone) -> datafusion::common::Result<LogicalPlan> {
        push_down_to_build(self.optimized(plan, zone)?)
    }

    /// The plan before push-down.
    ///
    /// # Errors
    /// As [`Runner::logical`].
    pub fn optimized(&self, plan: LogicalPlan, zone: Zone) -> datafusion::common::Result<LogicalPlan> {
        let plan = tell_subqueries_apart(plan)?;
        self.optimized_part(plan, zone)
    }

    /// What is below a barrier is optimized on its own, and stays there.
    fn optimized_part(&self, plan: LogicalPlan, zone: Zone) -> datafusion::common::Result<LogicalPlan> {
        let plan = plan
            .transform_up_with_subqueries(|node| match RowBarrier::below(&node) {
                None => Ok(Transformed::no(node)),
                Some(below) => {
                    let schema = Arc::clone(below.schema());
                    let below = self.optimized_part(below.as_ref().clone(), zone)?;
                    Ok(Transformed::yes(Fence::above(below, schema)))
                }
            })
            .data()?;
        Optimizer::with_rules(rules()).optimize(plan, self.state_in(zone).as_ref(), |_, _| {})
    }

    /// Starts a plan. Dropping the stream stops it, at the sources too.
    ///
    /// # Errors
    /// DataFusion's, when an operator cannot start.
    pub fn start(&self, plan: Arc<dyn ExecutionPlan>) -> datafusion::common::Result<SendableRecordBatchStream> {
        execute_stream(plan, self.state.task_ctx())
    }
}

/// Names the value of every sub-query differently.
///
/// DataFusion computes equal sub-queries once, and to it scans are equal when name and schema are, whatever they read:
/// `SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM t WHERE x)` gave the same number twice.
fn tell_subqueries_apart(plan: LogicalPlan) -> datafusion::common::Result<LogicalPlan> {
    let mut count = 0;
    plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let saved = names.save(&expr);
            let told = expr.transform_up(|expr| match expr {
                Expr::ScalarSubquery(query) if query.outer_ref_columns.is_empty() => {
                    let Some(value) = query.subquery.schema().columns().into_iter().next() else {
                        return Ok(Transformed::no(Expr::ScalarSubquery(query)));
                    };
                    count += 1;
                    let named = LogicalPlanBuilder::from(query.subquery.as_ref().clone())
                        .project([Expr::Column(value).alias(format!("__value_{count}"))])?
                        .build()?;
                    Ok(Transformed::yes(Expr::ScalarSubquery(query.with_plan(Arc::new(named)))))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(told.update_data(|expr| saved.restore(expr)))
        })
    })
    .data()
}

/// The statements that a plan sends, by source.
///
/// # Errors
/// Only the walk's.
pub fn statements_of(plan: &LogicalPlan) -> datafusion::common::Result<Vec<(String, belvedere_sources::Statement)>> {
    remote_statements(plan)
}

/// Whether a plan can be started again as it is. A join keeps the side that it built, a sort the bounds it found: those are made anew.
#[must_use]
pub fn keeps_no_state(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let node: &dyn Any = plan.as_ref();
    let stateless = node.is::<RemoteExec>()
        || node.is::<ProjectionExec>()
        || node.is::<PlaceholderRowExec>()
        || node.is::<EmptyExec>()
        || node.is::<CooperativeExec>()
        || is_fence(plan.as_ref());
    stateless && plan.children().into_iter().all(keeps_no_state)
}

/// DataFusion's rules that we run, in order.
///
/// `SingleDistinctToGroupBy` is left out: it would turn a distinct count that a source computes into two aggregates.
fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    use datafusion::optimizer as o;
    vec![
        Arc::new(o::rewrite_set_comparison::RewriteSetComparison::new()),
        Arc::new(o::simplify_expressions::SimplifyExpressions::new()),
        Arc::new(o::replace_distinct_aggregate::ReplaceDistinctWithAggregate::new()),
        Arc::new(o::eliminate_join::EliminateJoin::new()),
        Arc::new(o::decorrelate_predicate_subquery::DecorrelatePredicateSubquery::new()),
        Arc::new(o::scalar_subquery_to_join::ScalarSubqueryToJoin::new()),
        Arc::new(o::decorrelate_lateral_join::DecorrelateLateralJoin::new()),
        Arc::new(o::extract_equijoin_predicate::ExtractEquijoinPredicate::new()),
        Arc::new(o::eliminate_duplicated_expr::EliminateDuplicatedExpr::new()),
        Arc::new(o::eliminate_filter::EliminateFilter::new()),
        Arc::new(o::eliminate_cross_join::EliminateCrossJoin::new()),
        Arc::new(o::eliminate_limit::EliminateLimit::new()),
        Arc::new(o::propagate_empty_relation::PropagateEmptyRelation::new()),
        Arc::new(o::filter_null_join_keys::FilterNullJoinKeys::default()),
        Arc::new(o::eliminate_outer_join::EliminateOuterJoin::new()),
        Arc::new(o::push_down_limit::PushDownLimit::new()),
        Arc::new(o::push_down_filter::PushDownFilter::new()),
        Arc::new(ConditionsOnStoredTime),
        Arc::new(o::eliminate_group_by_constant::EliminateGroupByConstant::new()),
        Arc::new(o::common_subexpr_eliminate::CommonSubexprEliminate::new()),
        Arc::new(o::optimize_projections::OptimizeProjections::new()),
    ]
}
