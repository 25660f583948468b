//! Folds a logical plan from its leaves up: as long as a node can run at the source of its inputs, it becomes part of their `SELECT`.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType, NullEquality, TableReference};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, FetchType, Filter, Join, Limit, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    SkipType, Sort, SortExpr, TableScan,
};

use super::Grouping;
use super::fragment::Fragment;
use super::group_early::group_early;
use super::group_local::group_local;
use super::rules::{Comparison, Rules, SqlType, Term, rules};
use super::select::{Input, JoinKind, OrderKey, Output, Relation, Select};
use super::translate::Scope;
use crate::fence::Fence;
use crate::{Dialect, RemoteSource, RemoteTable};

/// A subtree after folding.
enum Folded {
    /// All of it is one statement so far.
    Remote(Remote),
    /// One statement, and the conditions above it that must stay here.
    Filtered(Remote, Expr),
    Local(LogicalPlan),
}

/// `select` gives the rows of a subtree whose schema is `schema`, column by column.
struct Remote {
    source: Arc<dyn RemoteSource>,
    select: Select,
    schema: DFSchemaRef,
}

/// The plan with every part that one source can compute in its place as one scan of one [`RemoteTable`].
pub(super) fn fold_plan(plan: LogicalPlan, grouping: Grouping) -> Result<LogicalPlan> {
    fold(plan, grouping)?.into_plan(grouping)
}

fn fold(plan: LogicalPlan, grouping: Grouping) -> Result<Folded> {
    if let LogicalPlan::TableScan(scan) = &plan {
        return Ok(match scan_of_remote(scan)? {
            Some(remote) => Folded::Remote(remote),
            None => Folded::Local(plan),
        });
    }
    if let Some((below, schema)) = Fence::closed(&plan) {
        return Ok(match fold(below.as_ref().clone(), grouping)? {
            Folded::Remote(remote) => {
                let select = with_fields_of(remote.select.fenced(), schema)?;
                Folded::Remote(Remote { select, schema: Arc::clone(schema), source: remote.source })
            }
            local @ (Folded::Filtered(..) | Folded::Local(_)) => {
                Folded::Local(Fence::opened(local.into_plan(grouping)?, Arc::clone(schema)))
            }
        });
    }
    let mut inputs = Vec::with_capacity(plan.inputs().len());
    for input in plan.inputs() {
        inputs.push(fold(input.clone(), grouping)?);
    }

    let remotes: Option<Vec<&Remote>> = inputs
        .iter()
        .map(|input| match input {
            Folded::Remote(remote) => Some(remote),
            Folded::Filtered(..) | Folded::Local(_) => None,
        })
        .collect();
    if let Some(remotes) = remotes
        && let Some((first, rest)) = remotes.split_first()
        && rest.iter().all(|other| same_source(&first.source, &other.source))
        && !stays_by(grouping, &plan, first)
        && let Some((select, staying)) = fold_node(&plan, &remotes)
    {
        let (source, schema) = (Arc::clone(&first.source), Arc::clone(plan.schema()));
        let remote = Remote { source, select: with_fields_of(select, &schema)?, schema };
        return Ok(match conjunction(staying) {
            None => Folded::Remote(remote),
            Some(predicate) => Folded::Filtered(remote, predicate),
        });
    }

    // A group over a join that stays here: one side may go down as groups.
    if let LogicalPlan::Aggregate(aggregate) = &plan {
        for (early, grouped_side) in group_early(aggregate) {
            if matches!(fold(grouped_side, grouping)?, Folded::Remote(_)) {
                return fold(early, grouping);
            }
        }
        // Or groups by local time: stored time goes down in steps.
        if let Some((over, steps)) = group_local(aggregate)?
            && matches!(fold(steps, grouping)?, Folded::Remote(_))
        {
            return fold(over, grouping);
        }
    }

    // The node stays. What it does not need from its input is not asked for.
    if let LogicalPlan::Projection(projection) = &plan {
        match inputs.as_mut_slice() {
            [Folded::Remote(remote)] => remote.keep_only(projection.expr.iter()),
            [Folded::Filtered(remote, predicate)] => {
                remote.keep_only(projection.expr.iter().chain([&*predicate]));
            }
            _ => {}
        }
    }
    let mut inputs = inputs.into_iter();
    let plan = plan.map_children(|child| match inputs.next() {
        Some(input) => Ok(Transformed::yes(input.into_plan(grouping)?)),
        None => Ok(Transformed::no(child)),
    })?;
    let plan = plan.data.map_subqueries(|subquery| Ok(Transformed::yes(fold_plan(subquery, grouping)?)))?;
    Ok(Folded::Local(plan.data))
}

/// Whether the node's rows are grouped here, though its source could.
fn stays_by(grouping: Grouping, plan: &LogicalPlan, input: &Remote) -> bool {
    match (grouping, plan) {
        (Grouping::WhereFastest, LogicalPlan::Aggregate(node)) => {
            !node.group_expr.is_empty() && input.source.dialect() == Dialect::MySql
        }
        (Grouping::AtSource | Grouping::WhereFastest, _) => false,
    }
}

fn same_source(one: &Arc<dyn RemoteSource>, other: &Arc<dyn RemoteSource>) -> bool {
    Arc::ptr_eq(one, other) || one.name() == other.name()
}

fn scan_of_remote(scan: &TableScan) -> Result<Option<Remote>> {
    let Ok(provider) = source_as_provider(&scan.source) else { return Ok(None) };
    let Some(table) = provider.downcast_ref::<RemoteTable>() else { return Ok(None) };
    if !scan.filters.is_empty() {
        return Ok(None);
    }
    let mut select = table.select().clone();
    if let Some(positions) = &scan.projection {
        select = select.picked(positions);
    }
    if scan.fetch.is_some() {
        select.limit(0, scan.fetch);
    }
    let schema = Arc::clone(&scan.projected_schema);
    let select = with_fields_of(select, &schema)?;
    Ok(Some(Remote { source: Arc::clone(table.source()), select, schema }))
}

/// Gives the outputs the types that DataFusion computed; the source's values are decoded into exactly these, or it is an error.
fn with_fields_of(mut select: Select, schema: &DFSchema) -> Result<Select> {
    if select.outputs.len() != schema.fields().len() {
        return Err(DataFusionError::Internal(format!(
            "push-down gives {} columns where {} were planned",
            select.outputs.len(),
            schema.fields().len()
        )));
    }
    for (output, field) in select.outputs.iter_mut().zip(schema.fields()) {
        output.field = Arc::clone(field);
    }
    Ok(select)
}

/// The inputs and `plan` above them as one select, with the conditions that must be tested above it; `None` where `plan` must stay.
fn fold_node(plan: &LogicalPlan, inputs: &[&Remote]) -> Option<(Select, Vec<Expr>)> {
    let select = match (plan, inputs) {
        (LogicalPlan::Filter(node), [input]) => return Some(fold_filter(node, input)),
        (LogicalPlan::Join(node), [left, right]) => return fold_join(node, left, right),
        (LogicalPlan::Projection(node), [input]) => fold_projection(node, input),
        (LogicalPlan::SubqueryAlias(_), [input]) => Some(input.select.clone()),
        (LogicalPlan::Aggregate(node), [input]) => fold_aggregate(node, input),
        (LogicalPlan::Distinct(Distinct::All(_)), [input]) => fold_distinct(input),
        (LogicalPlan::Sort(node), [input]) => fold_sort(node, input),
        (LogicalPlan::Limit(node), [input]) => fold_limit(node, input),
        // Windows, set operations, unnesting, recursion and everything else stay.
        _ => None,
    };
    Some((select?, vec![]))
}

impl Folded {
    fn into_plan(self, grouping: Grouping) -> Result<LogicalPlan> {
        match self {
            Self::Remote(remote) => remote.into_plan(),
            Self::Filtered(remote, predicate) => {
                let input = Arc::new(remote.into_plan()?);
                let plan = LogicalPlan::Filter(Filter::try_new(predicate, input)?);
                Ok(plan.map_subqueries(|subquery| Ok(Transformed::yes(fold_plan(subquery, grouping)?)))?.data)
            }
            Self::Local(plan) => Ok(plan),
        }
    }
}

impl Remote {
    fn rules(&self) -> &'static dyn Rules {
        rules(self.source.dialect())
    }

    fn scope<'a>(&'a self, select: &'a Select) -> Scope<'a> {
        Scope { rules: self.rules(), schema: &self.schema, columns: &select.outputs }
    }

    /// Forgets the columns that none of `exprs` refers to.
    fn keep_only<'a>(&mut self, exprs: impl Iterator<Item = &'a Expr> + Clone) {
        let mut used = vec![false; self.select.outputs.len()];
        for column in exprs.clone().flat_map(|expr| expr.column_refs().into_iter()) {
            match self.schema.maybe_index_of_column(column) {
                Some(index) => used[index] = true,
                None => return,
            }
        }
        // An outer reference of a sub-query in there may need any of them.
        if self.select.distinct || exprs.clone().any(has_subquery) {
            return;
        }
        let positions: Vec<usize> = (0..used.len()).filter(|index| used[*index]).collect();
        let fields = positions
            .iter()
            .map(|index| {
                let (qualifier, field) = self.schema.qualified_field(*index);
                (qualifier.cloned(), Arc::clone(field))
            })
            .collect();
        if let Ok(schema) = DFSchema::new_with_metadata(fields, self.schema.metadata().clone()) {
            self.schema = Arc::new(schema);
            self.select = self.select.clone().picked(&positions);
        }
    }

    /// A scan of the statement, under the names that the plan above knows.
    fn into_plan(self) -> Result<LogicalPlan> {
        let Self { source, mut select, schema } = self;
        let width = select.outputs.len();

        // The order is stated once more above the scan: DataFusion drops that sort because the scan declares its order, and keeps
        // the rows in order on the way up, which it would not do for an order that nobody asks for.
        let mut order = vec![];
        for key in select.order_by.clone() {
            let index = select.outputs.iter().position(|output| output.sql == key.value.sql).unwrap_or_else(|| {
                select.outputs.push(key.value.clone());
                select.outputs.len() - 1
            });
            let column = Expr::Column(Column::new_unqualified(format!("c{index}")));
            order.push(SortExpr::new(column, !key.descending, key.nulls_first));
        }

        let name = TableReference::bare(source.name().to_owned());
        let fetch = select.limit;
        let table = RemoteTable::folded(source, select);
        let mut scan = LogicalPlanBuilder::scan(name.clone(), provider_as_source(Arc::new(table)), None)?.build()?;
        if !order.is_empty() {
            scan = LogicalPlan::Sort(Sort { expr: order, input: Arc::new(scan), fetch });
        }
        let columns = (0..width)
            .map(|index| {
                let (qualifier, field) = schema.qualified_field(index);
                Expr::Column(Column::new(Some(name.clone()), format!("c{index}")))
                    .alias_qualified(qualifier.cloned(), field.name())
            })
            .collect::<Vec<Expr>>();
        let projection = Projection::try_new(columns.clone(), Arc::new(scan))?;
        same_columns(&schema, &projection.schema)?;
        Ok(LogicalPlan::Projection(Projection::try_new_with_schema(columns, projection.input, schema)?))
    }
}

fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|expr| {
        Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)))
    })
    .unwrap_or(true)
}

/// Names, qualifiers, exact types, nullability and metadata.
fn same_columns(planned: &DFSchema, pushed: &DFSchema) -> Result<()> {
    let same = planned.fields().len() == pushed.fields().len()
        && planned.iter().zip(pushed.iter()).all(|(one, other)| one == other);
    if same {
        return Ok(());
    }
    Err(DataFusionError::Internal(format!("push-down would change {planned:?} into {pushed:?}")))
}

/// A select to compute expressions in: its outputs are bare columns and nothing is grouped, made distinct or cut off yet.
fn rows_of(select: Select) -> Select {
    if select.is_rows() && select.has_bare_outputs() { select } else { select.wrapped() }
}

fn output(term: Term, like: &Output) -> Output {
    // The field is set from the plan's schema once the node has folded.
    Output { sql: term.sql, field: Arc::clone(&like.field), code_point: term.code_point }
}

fn fold_projection(node: &Projection, input: &Remote) -> Option<Select> {
    let positions: Option<Vec<usize>> = node
        .expr
        .iter()
        .map(|expr| match expr.clone().unalias_nested().data {
            Expr::Column(column) => input.schema.maybe_index_of_column(&column),
            _ => None,
        })
        .collect();
    if let Some(positions) = positions {
        // Leaving a column out of DISTINCT changes what is distinct: `picked` wraps.
        return Some(input.select.clone().picked(&positions));
    }
    let mut select = input.select.clone();
    if select.group_by.is_some() || select.distinct || !select.has_bare_outputs() {
        if !select.order_by.is_empty() {
            return None;
        }
        select = select.wrapped();
    }
    let scope = input.scope(&select);
    let outputs: Option<Vec<Output>> = node
        .expr
        .iter()
        .zip(node.schema.fields())
        .map(|(expr, field)| {
            let term = scope.term(expr)?;
            // An untyped NULL would have a type of the source's choice.
            if term.sql == Fragment::keyword("NULL") {
                return None;
            }
            Some(Output { sql: term.sql, field: Arc::clone(field), code_point: term.code_point })
        })
        .collect();
    select.outputs = outputs?;
    Some(select)
}

/// A condition that may stand beside those of a fenced select, in any order: it fails on no value, so that it tells nothing of the rows
/// that the others leave out. Only then can the source use an index for it.
fn behind_fence(conjunct: &Expr, select: &Select, input: &Remote) -> Option<Fragment> {
    let is_only_fenced = select.is_fenced
        && select.limit.is_none()
        && select.offset == 0
        && select.group_by.is_none()
        && !select.distinct
        && select.order_by.is_empty();
    if !is_only_fenced {
        return None;
    }
    let never_fails = |expr: &Expr| match expr {
        Expr::Column(column) => input
            .schema
            .maybe_index_of_column(column)
            .and_then(|index| select.outputs[index].sql.as_column())
            .is_some_and(|id| select.inputs[id.input].is_bare_column(id.column)),
        Expr::BinaryExpr(binary) => matches!(
            binary.op,
            Operator::And
                | Operator::Or
                | Operator::Eq
                | Operator::NotEq
                | Operator::Lt
                | Operator::LtEq
                | Operator::Gt
                | Operator::GtEq
        ),
        Expr::Literal(..) | Expr::Not(_) | Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::InList(_) => true,
        _ => false,
    };
    let may_fail = conjunct.exists(|expr| Ok(!never_fails(expr))).unwrap_or(true);
    if may_fail { None } else { input.scope(select).condition(conjunct) }
}

/// The conjuncts that the source can test go down, the others stay above.
fn fold_filter(node: &Filter, input: &Remote) -> (Select, Vec<Expr>) {
    let mut conjuncts = split_conjunction_owned(node.predicate.clone());
    let mut inner = input.select.clone();
    conjuncts.retain(|conjunct| match behind_fence(conjunct, &inner, input) {
        Some(condition) => {
            inner.filter.push(condition);
            false
        }
        None => true,
    });
    if conjuncts.is_empty() {
        return (inner, vec![]);
    }
    let mut select = rows_of(inner);
    let mut staying = vec![];
    for conjunct in conjuncts {
        match input.scope(&select).condition(&conjunct) {
            Some(condition) => select.filter.push(condition),
            None => staying.push(conjunct),
        }
    }
    (select, staying)
}

fn fold_aggregate(node: &Aggregate, input: &Remote) -> Option<Select> {
    if node.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
        return None;
    }
    let mut select = rows_of(input.select.clone());
    select.order_by.clear();
    let scope = input.scope(&select);
    let distinct = node.aggr_expr.iter().any(is_distinct);
    let mut keys = Vec::with_capacity(node.group_expr.len());
    for (expr, field) in node.group_expr.iter().zip(node.schema.fields()) {
        let term = scope.term(expr)?;
        let sql = scope.rules.key(&term)?;
        if distinct && !scope.rules.can_group_distinct_by(&term) {
            return None;
        }
        if sql == Fragment::keyword("NULL") {
            return None;
        }
        keys.push(Output { sql, field: Arc::clone(field), code_point: true });
    }

    // Keys that are computed become columns of an inner select, so that their parameters occur once.
    if keys.iter().any(|key| key.sql.as_column().is_none()) {
        let count = keys.len();
        keys.append(&mut select.outputs);
        select.outputs = keys;
        select = select.wrapped();
        keys = select.outputs.drain(..count).collect();
    }

    let scope = input.scope(&select);
    let mut outputs = keys.clone();
    let fields = node.schema.fields().iter().skip(keys.len());
    for (expr, field) in node.aggr_expr.iter().zip(fields) {
        let term = scope.aggregate(expr, SqlType::of(field))?;
        outputs.push(Output { sql: term.sql, field: Arc::clone(field), code_point: term.code_point });
    }
    select.group_by = Some(keys.into_iter().map(|key| key.sql).collect());
    select.outputs = outputs;
    Some(select)
}

fn is_distinct(aggregate: &Expr) -> bool {
    match aggregate {
        Expr::Alias(alias) => is_distinct(&alias.expr),
        Expr::AggregateFunction(function) => function.params.distinct,
        _ => false,
    }
}

fn fold_distinct(input: &Remote) -> Option<Select> {
    let mut select = rows_of(input.select.clone());
    select.order_by.clear();
    let rules = input.rules();
    for column in &mut select.outputs {
        let ty = SqlType::of(&column.field);
        let term = Term { sql: column.sql.clone(), ty, code_point: column.code_point };
        let key = Term { sql: rules.key(&term)?, ty, code_point: true };
        *column = output(key, column);
    }
    select.distinct = true;
    Some(select)
}

fn fold_sort(node: &Sort, input: &Remote) -> Option<Select> {
    let mut select = rows_of(input.select.clone());
    let scope = input.scope(&select);
    let rules = input.rules();
    let mut keys = Vec::with_capacity(node.expr.len());
    for sort in &node.expr {
        let term = scope.term(&sort.expr)?;
        if !rules.can_order_by(&term) {
            return None;
        }
        let (_, field) = datafusion::logical_expr::ExprSchemable::to_field(&sort.expr, input.schema.as_ref()).ok()?;
        keys.push(Output { sql: term.sql, field, code_point: term.code_point });
    }
    if keys.iter().any(|key| key.sql.as_column().is_none()) {
        let width = select.outputs.len();
        select.outputs.append(&mut keys);
        select = select.wrapped();
        keys = select.outputs.split_off(width);
    }
    select.order_by = keys
        .into_iter()
        .zip(&node.expr)
        .map(|(value, sort)| OrderKey { value, descending: !sort.asc, nulls_first: sort.nulls_first })
        .collect();
    select.limit(0, node.fetch);
    Some(select)
}

fn fold_limit(node: &Limit, input: &Remote) -> Option<Select> {
    let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) = (node.get_skip_type(), node.get_fetch_type())
    else {
        return None;
    };
    let mut select = input.select.clone();
    select.limit(skip, fetch);
    Some(select)
}

fn fold_join(node: &Join, left: &Remote, right: &Remote) -> Option<(Select, Vec<Expr>)> {
    if node.null_aware || (node.on.is_empty() && node.filter.is_none()) {
        // NOT IN has a meaning of its own, and a cross product is smaller as two reads than as one.
        return None;
    }
    let rules = left.rules();
    // The side that is kept comes first.
    let (kind, swapped) = match node.join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Left, true),
        JoinType::LeftSemi => (JoinKind::Semi, false),
        JoinType::RightSemi => (JoinKind::Semi, true),
        JoinType::LeftAnti => (JoinKind::Anti, false),
        JoinType::RightAnti => (JoinKind::Anti, true),
        // PostgreSQL joins FULL on plain equalities only.
        JoinType::Full
            if rules.has_full_join()
                && node.filter.is_none()
                && node.null_equality == NullEquality::NullEqualsNothing =>
        {
            (JoinKind::Full, false)
        }
        JoinType::Full | JoinType::LeftMark | JoinType::RightMark => return None,
    };
    let (first, second) = if swapped { (right, left) } else { (left, right) };

    let mut select = first.select.clone();
    if kind == JoinKind::Full || !select.is_rows() || !select.has_bare_outputs() {
        select = select.wrapped();
    }
    select.order_by.clear();
    let (relation, second_outputs, second_filter) = joined_relation(&second.select, kind);
    let position = select.inputs.len();
    let shift = |sql: Fragment| sql.shifted(position);
    let second_outputs: Vec<Output> =
        second_outputs.into_iter().map(|output| Output { sql: shift(output.sql), ..output }).collect();

    let first_outputs = std::mem::take(&mut select.outputs);
    let (left_outputs, right_outputs) =
        if swapped { (&second_outputs, &first_outputs) } else { (&first_outputs, &second_outputs) };
    let both: Vec<Output> = left_outputs.iter().chain(right_outputs).cloned().collect();
    let schema = left.schema.join(&right.schema).ok()?;
    let scope = Scope { rules, schema: &schema, columns: &both };
    let left_scope = Scope { rules, schema: &left.schema, columns: left_outputs };
    let right_scope = Scope { rules, schema: &right.schema, columns: right_outputs };

    let equality = match node.null_equality {
        NullEquality::NullEqualsNothing => Comparison::Eq,
        NullEquality::NullEqualsNull => Comparison::NotDistinctFrom,
    };
    // Above an inner join, a condition means what it means in ON, so that it may stay.
    let may_stay = kind == JoinKind::Inner && equality == Comparison::Eq;
    let (mut on, mut staying) = (vec![], vec![]);
    for (one, other) in &node.on {
        let condition = left_scope
            .term(one)
            .zip(right_scope.term(other))
            .and_then(|(left, right)| rules.compare(equality, &left, &right));
        match condition {
            Some(condition) => on.push(condition),
            None if may_stay => staying.push(one.clone().eq(other.clone())),
            None => return None,
        }
    }
    for conjunct in node.filter.clone().map(split_conjunction_owned).unwrap_or_default() {
        match scope.condition(&conjunct) {
            Some(condition) => on.push(condition),
            None if may_stay => staying.push(conjunct),
            None => return None,
        }
    }
    if on.is_empty() {
        return None;
    }
    if matches!(kind, JoinKind::Semi | JoinKind::Anti) {
        let outer = on.iter().flat_map(Fragment::columns).filter(|id| id.input != position);
        for id in outer {
            let output = first_outputs.iter().find(|output| output.sql.as_column() == Some(id))?;
            let ty = SqlType::of(&output.field);
            if !rules.may_correlate(&Term { sql: output.sql.clone(), ty, code_point: output.code_point }) {
                return None;
            }
        }
    }
    on.extend(second_filter.into_iter().map(shift));

    select.outputs = match kind {
        JoinKind::Semi | JoinKind::Anti => first_outputs,
        JoinKind::First | JoinKind::Inner | JoinKind::Left | JoinKind::Full => both,
    };
    select.inputs.push(Input { relation, join: kind, on });
    Some((select, staying))
}

/// A joined side as one relation, its columns there, and its conditions where they can stand in ON.
fn joined_relation(select: &Select, kind: JoinKind) -> (Relation, Vec<Output>, Vec<Fragment>) {
    if select.is_rows()
        && select.has_bare_outputs()
        && (kind != JoinKind::Full || select.filter.is_empty())
        && let [only] = select.inputs.as_slice()
    {
        return (only.relation.clone(), select.outputs.clone(), select.filter.clone());
    }
    let mut wrapped = select.clone().wrapped();
    let outputs = std::mem::take(&mut wrapped.outputs);
    let [only] = wrapped.inputs.as_slice() else {
        unreachable!("a wrapped select has one input");
    };
    (only.relation.clone(), outputs, vec![])
}
