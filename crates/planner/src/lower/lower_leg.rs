//! One leg as plain relational algebra: join the rows, filter them, group them, compute above the groups.

use std::sync::Arc;

use belvedere_model::{MemberKind, MemberRef, Model, SqlTemplate, TemplatePart};
use datafusion_common::Column;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery};

use crate::catalog::MemberColumn;
use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::{JoinTree, choose_join_tree};
use crate::members;
use crate::nodes::fact_leg::{FactLeg, LegAggregate, LegScan};

use super::calculated::{Leaves, leaf_name};
use super::joined_rows::{JoinedRows, Planning, internal, missing};

/// Replaces every leg of a plan.
///
/// # Errors
/// 0A000 for what is not executed yet, among it every query that would count a measure's rows more than once.
pub fn lower_legs(plan: LogicalPlan, planning: Planning<'_>) -> datafusion_common::Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<FactLeg>() {
            Some(leg) => Ok(Transformed::yes(lower_leg(leg, planning)?)),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

/// A leg's join tree: measures' cubes first, then dimensions, segments, filters (reference J10).
///
/// # Errors
/// 0A000 when no tree connects them.
pub fn leg_tree(leg: &FactLeg, model: &Model) -> Result<JoinTree> {
    let mut hints = Hints { model, paths: Vec::new() };
    for aggregate in &leg.aggregates {
        if let LegAggregate::Measure { column, .. } = aggregate {
            hints.member(member(&leg.scans, column)?)?;
        }
    }
    for aggregate in &leg.aggregates {
        match aggregate {
            LegAggregate::OverRows(expr) => hints.expr(&leg.scans, expr)?,
            LegAggregate::Measure { filter: Some(filter), .. } | LegAggregate::CountRows { filter: Some(filter) } => {
                hints.expr(&leg.scans, filter)?;
            }
            LegAggregate::Measure { filter: None, .. } | LegAggregate::CountRows { filter: None } => {}
        }
    }
    for column in listed_in_order(leg) {
        hints.member(column)?;
    }
    for expr in leg.group.iter().chain(&leg.filters) {
        hints.expr(&leg.scans, expr)?;
    }
    // Nothing is named (`SELECT COUNT(*) FROM view`), or cubes were joined only to be there.
    for scan in &leg.scans {
        if hints.paths.is_empty() || leg.scans.len() > 1 {
            hints.default_of(scan);
        }
    }
    choose_join_tree(model, &hints.paths)
}

/// The columns of a counted sub-query, measures first as in a query of its own, so that it has the same rows.
fn listed_in_order(leg: &FactLeg) -> Vec<&MemberColumn> {
    let members: Vec<&MemberColumn> = leg.listed.iter().filter_map(|column| member(&leg.scans, column).ok()).collect();
    [MemberKind::Measure, MemberKind::Dimension, MemberKind::Segment]
        .into_iter()
        .flat_map(|kind| members.iter().copied().filter(move |member| member.kind == kind))
        .collect()
}

/// The cubes that members need, in order of appearance.
pub(crate) struct Hints<'a> {
    pub model: &'a Model,
    pub paths: Vec<Vec<String>>,
}

impl Hints<'_> {
    fn add(&mut self, path: Vec<String>) {
        if !path.is_empty() && !self.paths.contains(&path) {
            self.paths.push(path);
        }
    }

    pub(crate) fn member(&mut self, column: &MemberColumn) -> Result<()> {
        self.add(column.path.clone());
        let owner = column.path.last().cloned().unwrap_or_default();
        self.references(&column.path, &owner, &column.member, 0)
    }

    /// The view's first root, or the cube itself.
    pub(crate) fn default_of(&mut self, scan: &LegScan) {
        let root = scan.table.columns.values().next().and_then(|column| column.path.first().cloned());
        if let Some(root) = root
            && !self.paths.iter().any(|path| path.first() == Some(&root))
        {
            self.add(vec![root]);
        }
    }

    pub(crate) fn expr(&mut self, scans: &[LegScan], expr: &Expr) -> Result<()> {
        let mut failure = None;
        expr.apply(|node| {
            if let Expr::Column(column) = node {
                let result = member(scans, column).and_then(|member| self.member(member));
                if let Err(error) = result {
                    failure = Some(error);
                    return Ok(TreeNodeRecursion::Stop);
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(internal)?;
        failure.map_or(Ok(()), Err)
    }

    /// The cubes that a member's SQL reaches, through the members that it names.
    fn references(&mut self, path: &[String], cube: &str, name: &str, depth: usize) -> Result<()> {
        if depth > 64 {
            return Err(PlanError::new("54001", "members refer to members too deeply"));
        }
        let owner = members::cube_named(self.model, cube)?;
        let mut templates: Vec<&SqlTemplate> = Vec::new();
        if let Some(dimension) = owner.dimensions.get(name) {
            templates.extend(dimension_templates(dimension));
        } else if let Some(measure) = owner.measures.get(name) {
            templates.extend(&measure.sql);
            templates.extend(&measure.filters);
        } else if let Some(segment) = owner.segments.get(name) {
            templates.push(&segment.sql);
        } else {
            return Err(missing(cube, name));
        }
        for template in templates {
            for part in &template.parts {
                let TemplatePart::Member(MemberRef { path: reference, member, .. }) = part else { continue };
                let target = reference.last().map_or(cube, String::as_str);
                let full: Vec<String> = if target == cube && reference.len() <= 1 {
                    path.to_vec()
                } else if reference.first().map(String::as_str) == Some(cube) {
                    path.iter().cloned().chain(reference.iter().skip(1).cloned()).collect()
                } else {
                    path.iter().cloned().chain(reference.iter().cloned()).collect()
                };
                if target != cube {
                    self.add(full.clone());
                }
                self.references(&full, target, member, depth + 1)?;
            }
        }
        Ok(())
    }
}

fn dimension_templates(dimension: &belvedere_model::Dimension) -> Vec<&SqlTemplate> {
    use belvedere_model::DimensionValue;
    match &dimension.value {
        DimensionValue::Sql(template) => vec![template],
        DimensionValue::Case { whens, otherwise } => whens
            .iter()
            .flat_map(|(condition, label)| std::iter::once(condition).chain(label_template(label)))
            .chain(otherwise.iter().filter_map(label_template))
            .collect(),
        DimensionValue::Geo { latitude, longitude } => vec![latitude, longitude],
        DimensionValue::Switch { .. } => vec![],
    }
}

fn label_template(label: &belvedere_model::CaseLabel) -> Option<&SqlTemplate> {
    match label {
        belvedere_model::CaseLabel::Sql(template) => Some(template),
        belvedere_model::CaseLabel::Text(_) => None,
    }
}

/// The member that a column of a leg's expressions means.
pub(crate) fn member<'s>(scans: &'s [LegScan], column: &Column) -> Result<&'s MemberColumn> {
    scans
        .iter()
        .find(|scan| column.relation.as_ref().is_none_or(|relation| *relation == scan.reference))
        .and_then(|scan| scan.table.columns.get(&column.name))
        .ok_or_else(|| PlanError::internal(format!("{column} is not a column of the views below")))
}

impl JoinedRows<'_> {
    /// An expression over view columns, over base columns.
    pub(crate) fn over_rows(&mut self, scans: &[LegScan], expr: &Expr) -> Result<Expr> {
        let mut failure = None;
        let replaced = expr
            .clone()
            .transform_up(|node| {
                let node = match node {
                    Expr::InSubquery(mut within) => {
                        within.subquery = self.lowered(within.subquery)?;
                        return Ok(Transformed::yes(Expr::InSubquery(within)));
                    }
                    Expr::Exists(mut exists) => {
                        exists.subquery = self.lowered(exists.subquery)?;
                        return Ok(Transformed::yes(Expr::Exists(exists)));
                    }
                    Expr::ScalarSubquery(subquery) => {
                        return Ok(Transformed::yes(Expr::ScalarSubquery(self.lowered(subquery)?)));
                    }
                    node => node,
                };
                let Expr::Column(column) = &node else { return Ok(Transformed::no(node)) };
                match self.column_value(scans, column) {
                    Ok(value) => Ok(Transformed::yes(value)),
                    Err(error) => {
                        failure = failure.take().or(Some(error));
                        Ok(Transformed::no(node))
                    }
                }
            })
            .map_err(internal)?
            .data;
        failure.map_or(Ok(replaced), Err)
    }

    /// A sub-query inside a leg's filter is hidden from the walk over the plan: it is lowered here.
    fn lowered(&self, subquery: Subquery) -> datafusion_common::Result<Subquery> {
        let plan = super::lower(subquery.subquery.as_ref().clone(), self.planning)?;
        Ok(subquery.with_plan(Arc::new(plan)))
    }

    fn column_value(&mut self, scans: &[LegScan], column: &Column) -> Result<Expr> {
        let member = member(scans, column)?;
        let owner = member.path.last().ok_or_else(|| PlanError::internal("a member without a cube"))?;
        match member.kind {
            MemberKind::Dimension => self.dimension(owner, &member.member),
            MemberKind::Segment => self.segment(owner, &member.member),
            MemberKind::Measure => Err(PlanError::new(
                "42803",
                format!("measure \"{}\" cannot be used as a value of a row here", column.name),
            )),
        }
    }
}

/// Lowers one leg.
///
/// # Errors
/// As [`lower_legs`].
pub fn lower_leg(leg: &FactLeg, planning: Planning<'_>) -> Result<LogicalPlan> {
    let model = &planning.catalog.model;
    let tree = leg_tree(leg, model)?;
    let mut rows = JoinedRows::new(planning, tree.clone());
    let group = leg.group.iter().map(|expr| rows.over_rows(&leg.scans, expr)).collect::<Result<Vec<_>>>()?;
    let filters = leg.filters.iter().map(|expr| rows.over_rows(&leg.scans, expr)).collect::<Result<Vec<_>>>()?;

    let mut leaves = Leaves::default();
    // Aggregates over rows become columns of the aggregate too, after the leaves.
    let mut over_rows: Vec<Expr> = Vec::new();
    let mut outputs: Vec<Output> = Vec::new();
    for aggregate in &leg.aggregates {
        match aggregate {
            LegAggregate::Measure { column, filter } => {
                let member = member(&leg.scans, column)?;
                let owner = rows.cube(member.path.last().map_or("", String::as_str))?;
                let measure =
                    owner.measures.get(&member.member).ok_or_else(|| missing(&owner.naming.name, &member.member))?;
                let filter = filter.as_ref().map(|filter| rows.over_rows(&leg.scans, filter)).transpose()?;
                outputs.push(Output::OverLeaves(rows.measure(owner, measure, filter.as_ref(), &mut leaves, 0)?));
            }
            LegAggregate::OverRows(expr) => {
                guard_dimension_aggregate(leg, expr, &tree, model)?;
                let over = rows.over_rows(&leg.scans, expr)?;
                outputs.push(Output::Aggregate(over_rows.len()));
                over_rows.push(over);
            }
            LegAggregate::CountRows { filter } => {
                if leg.listed.is_empty() {
                    guard_count_rows(&tree, planning)?;
                } else {
                    super::read_rows::refuse_several_facts(listed_in_order(leg), &tree, planning)?;
                }
                let filter = filter.as_ref().map(|filter| rows.over_rows(&leg.scans, filter)).transpose()?;
                let one = datafusion_expr::lit(1_i64);
                let input = match filter {
                    None => one,
                    Some(filter) => {
                        Expr::Case(datafusion_expr::Case::new(None, vec![(Box::new(filter), Box::new(one))], None))
                    }
                };
                outputs.push(Output::Aggregate(over_rows.len()));
                over_rows.push(rows.leaf_aggregate(super::calculated::LeafKind::Count, input)?);
            }
        }
    }
    guard_fan_trap(leg, &outputs, &leaves, &tree, model)?;

    // Inputs of aggregates become columns first: the aggregate itself then reads plain columns, as sources want it.
    let mut inputs: Vec<Expr> = Vec::new();
    for (index, expr) in group.iter().enumerate() {
        inputs.push(expr.clone().alias(format!("g{index}")));
    }
    let mut aggregates: Vec<Expr> = Vec::new();
    for (index, leaf) in leaves.leaves.iter().enumerate() {
        let input = format!("i{index}");
        inputs.push(leaf.input.clone().alias(&input));
        let column = Expr::Column(Column::new_unqualified(input));
        aggregates.push(rows.leaf_aggregate(leaf.kind, column)?.alias(leaf_name(index)));
    }
    for (index, aggregate) in over_rows.into_iter().enumerate() {
        let aggregate = arguments_as_columns(aggregate, index, &mut inputs)?;
        aggregates.push(aggregate.alias(format!("r{index}")));
    }
    let group_columns: Vec<Expr> =
        (0..group.len()).map(|index| Expr::Column(Column::new_unqualified(format!("g{index}")))).collect();

    let mut builder = LogicalPlanBuilder::from(rows.build()?);
    for filter in filters {
        builder = builder.filter(filter).map_err(internal)?;
    }
    if inputs.is_empty() {
        inputs.push(datafusion_expr::lit(1_i64).alias("one"));
    }
    builder = builder.project(inputs).map_err(internal)?;
    builder = builder.aggregate(group_columns, aggregates).map_err(internal)?;

    let mut projection: Vec<Expr> = Vec::new();
    for (index, column) in leg.schema.columns().into_iter().enumerate() {
        let value = if index < group.len() {
            Expr::Column(Column::new_unqualified(format!("g{index}")))
        } else {
            match &outputs[index - group.len()] {
                Output::OverLeaves(value) => value.clone(),
                Output::Aggregate(number) => Expr::Column(Column::new_unqualified(format!("r{number}"))),
            }
        };
        projection.push(
            typed_as(value, builder.schema(), leg.schema.field(index).data_type())?
                .alias_qualified(column.relation, column.name),
        );
    }
    builder.project(projection).and_then(LogicalPlanBuilder::build).map_err(internal)
}

enum Output {
    OverLeaves(Expr),
    Aggregate(usize),
}

fn typed_as(value: Expr, schema: &datafusion_common::DFSchemaRef, wanted: &arrow::datatypes::DataType) -> Result<Expr> {
    use datafusion_expr::ExprSchemable;
    let found = value.get_type(schema).map_err(internal)?;
    if found == *wanted {
        return Ok(value);
    }
    Err(PlanError::internal(format!("a measure was promised as {wanted} and came as {found}")))
}

/// `sum(a + b)` as `sum(x)` over a column `x`.
fn arguments_as_columns(aggregate: Expr, number: usize, inputs: &mut Vec<Expr>) -> Result<Expr> {
    let Expr::AggregateFunction(mut call) = aggregate else {
        return Err(PlanError::internal("an aggregate over rows is not a function call"));
    };
    let first = inputs.len();
    let column_for = |expr: Expr, inputs: &mut Vec<Expr>| -> Expr {
        if matches!(expr, Expr::Literal(..)) {
            return expr;
        }
        // The same expression is the same column: `string_agg(DISTINCT x, ', ' ORDER BY x)` asks for that.
        let known = inputs[first..].iter().find_map(|input| match input {
            Expr::Alias(alias) if *alias.expr == expr => Some(alias.name.clone()),
            _ => None,
        });
        if let Some(name) = known {
            return Expr::Column(Column::new_unqualified(name));
        }
        let name = format!("a{number}_{}", inputs.len());
        inputs.push(expr.alias(&name));
        Expr::Column(Column::new_unqualified(name))
    };
    call.params.args = call.params.args.into_iter().map(|arg| column_for(arg, inputs)).collect();
    call.params.filter = call.params.filter.map(|filter| Box::new(column_for(*filter, inputs)));
    for sort in &mut call.params.order_by {
        sort.expr = column_for(sort.expr.clone(), inputs);
    }
    Ok(Expr::AggregateFunction(call))
}

/// Refuses a leaf whose cube's rows the join tree repeats, unless repetition leaves it as it is.
fn guard_fan_trap(leg: &FactLeg, outputs: &[Output], leaves: &Leaves, tree: &JoinTree, model: &Model) -> Result<()> {
    let facts: std::collections::BTreeSet<&str> = leaves.leaves.iter().map(|leaf| leaf.cube.as_str()).collect();
    for (aggregate, output) in leg.aggregates.iter().zip(outputs) {
        let (LegAggregate::Measure { column, .. }, Output::OverLeaves(value)) = (aggregate, output) else { continue };
        let used = value.column_refs();
        for (index, leaf) in leaves.leaves.iter().enumerate() {
            if !used.iter().any(|column| column.name == leaf_name(index))
                || leaf.kind.ignores_repetition()
                || !tree.multiplies(model, &leaf.cube)
            {
                continue;
            }
            let cube = &leaf.cube;
            let error = PlanError::unsupported(format!(
                "measure \"{}\" would count rows of \"{cube}\" more than once",
                column.name
            ))
            .detail(format!(
                "The query joins \"{cube}\" to cubes with several rows for each of its own, so each row is repeated."
            ));
            return Err(if facts.len() > 1 {
                error.hint(
                    "Measures of several facts in one query are not supported yet: ask for each fact's measures in a \
                     sub-query of its own, and join those.",
                )
            } else {
                error.hint("Ask for the measure without members of those cubes, or in a sub-query of its own.")
            });
        }
    }
    Ok(())
}

/// `COUNT(*)` counts the root's rows where the root has a plain count: those must not be repeated.
fn guard_count_rows(tree: &JoinTree, planning: Planning<'_>) -> Result<()> {
    let model = &planning.catalog.model;
    let root = members::cube_named(model, &tree.root)?;
    let has_count = root.measures.values().any(|measure| {
        measure.kind == belvedere_model::MeasureKind::Count && measure.sql.is_none() && measure.filters.is_empty()
    });
    if has_count && tree.multiplies(model, &tree.root) {
        return Err(PlanError::unsupported(format!("COUNT(*) would count rows of \"{}\" more than once", tree.root))
            .detail(format!("The query joins \"{}\" to cubes with several rows for each of its own.", tree.root))
            .hint("Leave out the members of those cubes, or count in a sub-query of its own."));
    }
    Ok(())
}

/// An aggregate over dimensions belongs to the cube that owns them (reference MM19).
fn guard_dimension_aggregate(leg: &FactLeg, expr: &Expr, tree: &JoinTree, model: &Model) -> Result<()> {
    let Expr::AggregateFunction(call) = expr else { return Ok(()) };
    let immune = call.params.distinct
        || matches!(call.func.name(), "min" | "max" | "bool_and" | "bool_or" | "every" | "any_value");
    if immune {
        return Ok(());
    }
    let mut failure = None;
    expr.apply(|node| {
        if let Expr::Column(column) = node
            && let Ok(member) = member(&leg.scans, column)
            && let Some(cube) = member.path.last()
            && tree.multiplies(model, cube)
        {
            failure = Some(
                PlanError::unsupported(format!(
                    "{}({}) would count rows of \"{cube}\" more than once",
                    call.func.name(),
                    column.name
                ))
                .detail(format!("The query joins \"{cube}\" to cubes with several rows for each of its own."))
                .hint("Leave out the members of those cubes, or aggregate in a sub-query of its own."),
            );
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(internal)?;
    failure.map_or(Ok(()), Err)
}
