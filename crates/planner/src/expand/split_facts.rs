//! Splits a question into one leg per fact, so that no row counts twice and no fact hides another's groups.
//!
//! Every measure gets the join tree of its own members and the grouped dimensions (reference MF1): adding a measure to a query
//! never changes another one. A calculated measure whose members no tree holds is taken apart into leaves with a tree each (MF15).
//! What has one tree shares a leg. Where the tree repeats the rows of a leaf's cube, the leaf is computed over distinct rows of
//! that cube, in a leg of its own (MM3, MM5).
//! [`combine_legs`](super::combine_legs) puts the legs together, and calculated measures are evaluated above that.
//!
//! It would be wrong to put two facts into one tree: `SELECT c.name, SUM(o.total), SUM(r.refund)` over both joined to customers
//! counts every order once for each return.

mod count_rows_once;
mod group_items;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use belvedere_model::{MeasureKind, Model};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::{Case, Expr, ExprSchemable, Extension, LogicalPlan, ident};

use crate::catalog::{JOIN_FIELD, MemberColumn};
use crate::error::{PlanError, Result};
use crate::lower::calculated::{ExtraFilter, Leaves, leaf_name, stage_name};
use crate::lower::joined_rows::{JoinedRows, Planning, Scope, internal};
use crate::lower::member_sql::substitute;
use crate::members::{self, REFERENCE_DEPTH_MAX};
use crate::nodes::fact_leg::{FactLeg, HiddenRows, LeafKind, LeafOrigin, LegAggregate, LegLeaf, Switch};
use crate::policy::Restrictions;

use super::build_legs::{Asked, Question, Within};
use super::choose_join_tree::{JoinTree, choose_join_tree};
use super::combine_legs::{Answer, Onto, SideColumn, combine_legs};
use super::hints::{Hints, in_hint_order, member};
use super::pin_switches::{Pinned, as_switch, pin_switches};
use super::stages::{Stage, StageAnswer};

/// One aggregate of a leg: a leaf of a measure, an aggregate over dimensions, or a count of rows.
struct Item<'a> {
    aggregate: LegAggregate,
    field: FieldRef,
    hints: Hints<'a>,
    /// The path to the cube whose rows are aggregated; `None` where it is all the joined rows.
    fact: Option<Vec<String>>,
    /// The paths to the cubes that its values come from.
    reads: Vec<Vec<String>>,
    /// The condition of `FILTER (WHERE …)`.
    condition: Option<Expr>,
    /// Repeating rows leaves it as it is.
    immune: bool,
    /// It counts the single primary key, so that a distinct count of it does as well.
    counts_key: bool,
    /// As in the statement, for messages.
    shown: String,
}

/// Where the parts of measures are collected.
struct Found<'f, 'a> {
    items: &'f mut Vec<Item<'a>>,
    staged: &'f mut Vec<MemberColumn>,
}

impl Item<'_> {
    /// The cube whose rows are aggregated.
    fn fact_cube(&self) -> Option<&str> {
        self.fact.as_ref()?.last().map(String::as_str)
    }

    /// Where that cube is in a tree that holds it.
    fn fact_in<'t>(&self, model: &Model, tree: &'t JoinTree) -> Option<&'t str> {
        Some(tree.node_at(model, self.fact.as_ref()?).unwrap_or(&tree.root))
    }

    /// The first cube that its values come from of which a row of `fact` may meet several.
    fn reads_several_of(&self, model: &Model, fact: &str, tree: &JoinTree) -> Option<&str> {
        let determined = tree.determined_by(model, fact);
        let met = |path: &&Vec<String>| tree.node_at(model, path).is_none_or(|node| !determined.contains(node));
        self.reads.iter().find(met)?.last().map(String::as_str)
    }
}

/// Items that one join tree answers under the same conditions.
struct Group {
    tree: JoinTree,
    /// Positions in the question's filters, then, behind these, in its guards.
    filters: Vec<usize>,
    items: Vec<usize>,
}

/// The legs that answer a question, and what is computed above them.
///
/// # Errors
/// 0A000 for what the model cannot answer, each with its reason.
pub fn split_facts(question: &Question, planning: Planning<'_>) -> Result<LogicalPlan> {
    let model = &planning.catalog.model;
    let restrictions = match &question.within.restrictions {
        Some(of_the_whole) => of_the_whole.clone(),
        None => restrictions(question, planning)?,
    };
    let within = Within { restrictions: Some(restrictions.clone()), ..question.within.clone() };
    // A stage is asked under the conditions as they were: those that pin a switch too.
    let whole = &Question { within, ..question.clone() };
    let Pinned { filters, switches } = pin_switches(whole, model)?;
    let question = &Question { filters, ..whole.clone() };
    let splitter =
        Splitter { question, whole, restrictions, planning, model, base: base_of(question, model)?, switches };
    let Parts { items, stages, below, outputs } = splitter.items()?;
    let groups = splitter.groups(&items, &below)?;
    let mut facts = question.within.facts.clone();
    facts.extend(items.iter().chain(&below).filter_map(|item| item.fact.clone()));
    let mut sides = Vec::new();
    for group in groups {
        sides.extend(splitter.legs(&items, &group)?.into_iter().map(leg_plan));
    }
    let mut columns: Vec<SideColumn> = items
        .iter()
        .enumerate()
        .map(|(index, item)| SideColumn {
            name: item_name(index),
            field: Arc::clone(&item.field),
            counts: counts(item),
        })
        .collect();
    let mut onto = Vec::new();
    for (number, (column, stage)) in stages.iter().enumerate() {
        let counts = stage.counts();
        let name = stage_name(number);
        match stage.answer(whole, number, &facts, planning)? {
            StageAnswer::Beside(side) => {
                sides.push(side);
                columns.push(SideColumn { name, field: Arc::new(column.field.clone()), counts });
            }
            StageAnswer::Onto { values, keys, groups } => {
                sides.extend(groups);
                onto.push(Onto { name, values, keys, counts });
            }
        }
    }
    combine_legs(&Answer { question, columns, outputs }, sides, onto, planning)
}

/// Whether an item is 0, not NULL, for a group that its leg does not have (reference MF8).
fn counts(item: &Item<'_>) -> bool {
    match &item.aggregate {
        LegAggregate::Leaf(leaf) => leaf.kind.counts(),
        LegAggregate::CountRows { .. } => true,
        LegAggregate::OverRows(Expr::AggregateFunction(call)) => call.func.name() == "count",
        LegAggregate::OverRows(_) | LegAggregate::HiddenRows(_) => false,
    }
}

/// What a question is taken apart into.
struct Parts<'a> {
    items: Vec<Item<'a>>,
    /// Measures that ask a question of their own; the n-th is the column [`stage_name`]`(n)`.
    stages: Vec<(MemberColumn, Stage)>,
    /// The leaves that the stages read, each of which a leg of another question will have.
    below: Vec<Item<'a>>,
    /// The question's aggregates over the columns of items and stages.
    outputs: Vec<Expr>,
}

/// What the policies and default filters of the tables make of a question.
pub(crate) fn restrictions(question: &Question, planning: Planning<'_>) -> Result<Restrictions> {
    let mut exprs: Vec<&Expr> = question.group.iter().chain(&question.joined).chain(&question.filters).collect();
    let mut columns: Vec<&Column> = question.listed.iter().collect();
    for asked in &question.aggregates {
        match asked {
            Asked::Measure { column, filter } => {
                columns.push(column);
                exprs.extend(filter);
            }
            // Only a question that another one asks has leaves, and that is restricted as the other one is.
            Asked::Leaf(leaf) => exprs.extend(&leaf.filter),
            Asked::OverRows(expr) => exprs.push(expr),
            Asked::CountRows { filter } => exprs.extend(filter),
        }
    }
    columns.extend(exprs.into_iter().flat_map(Expr::column_refs));
    columns.retain(|column| column.name != JOIN_FIELD);
    Restrictions::of(&question.scans, columns, planning)
}

struct Splitter<'a> {
    question: &'a Question,
    /// The question with the conditions that pin switches, for the questions that it asks.
    whole: &'a Question,
    restrictions: Restrictions,
    planning: Planning<'a>,
    model: &'a Model,
    base: Hints<'a>,
    switches: Vec<Switch>,
}

/// What every leg is grouped by; cubes that the statement joins are there for every leg too.
fn base_of<'a>(question: &Question, model: &'a Model) -> Result<Hints<'a>> {
    let mut base = Hints::new(model);
    for expr in question.group.iter().chain(&question.joined) {
        base.expr(&question.scans, expr)?;
    }
    if question.scans.len() > 1 {
        for scan in &question.scans {
            base.default_of(scan);
        }
    }
    Ok(base)
}

impl<'a> Splitter<'a> {
    fn hints_of(&self, expr: &Expr) -> Result<Hints<'a>> {
        let mut hints = Hints::new(self.model);
        hints.expr(&self.question.scans, expr)?;
        Ok(hints)
    }

    /// The tree of rows that no measure chooses: that of the groups and of what restricts the rows, else of the view itself.
    fn tree_of_rows(&self, filters: &[Hints<'a>], guards: &[Hints<'a>]) -> Result<JoinTree> {
        let mut all = self.base.clone();
        for filter in filters {
            all = all.and(filter);
        }
        if all.paths.is_empty() {
            self.question.scans.iter().for_each(|scan| all.default_of(scan));
        }
        for guard in guards {
            all = all.and(guard);
        }
        choose_join_tree(self.model, &all.paths)
    }

    /// All items and stages, each once, and the question's aggregates as expressions over their columns.
    fn items(&self) -> Result<Parts<'a>> {
        let mut rows = JoinedRows::new(self.planning, JoinTree::of(""));
        rows.switches = Some(self.switches.clone());
        let mut items: Vec<Item<'a>> = Vec::new();
        let mut staged: Vec<MemberColumn> = Vec::new();
        let mut outputs: Vec<Option<Expr>> = Vec::new();
        for asked in &self.question.aggregates {
            outputs.push(match asked {
                Asked::Measure { column, filter } => {
                    let member = member(&self.question.scans, column)?;
                    let shown = format!("measure \"{}\"", column.name);
                    let to = &mut Found { items: &mut items, staged: &mut staged };
                    Some(self.add_measure(member, filter.as_ref(), &mut rows, &shown, to)?)
                }
                Asked::Leaf(leaf) => {
                    let field = self.output_field(outputs.len());
                    items.push(self.leaf_item(leaf, field, format!("measure \"{}\"", leaf.measure))?);
                    Some(ident(item_name(items.len() - 1)))
                }
                Asked::OverRows(expr) => {
                    let field = self.output_field(outputs.len());
                    items.push(self.over_rows_item(expr, field)?);
                    Some(ident(item_name(items.len() - 1)))
                }
                Asked::CountRows { .. } => None,
            });
        }
        let mut stages: Vec<(MemberColumn, Stage)> = Vec::new();
        let mut below = Vec::new();
        let mut without_groups: Vec<MemberColumn> = Vec::new();
        // A stage's measures may be staged themselves.
        while let Some(column) = staged.get(stages.len()).cloned() {
            let stage = Stage::of(self.whole, &column, &mut rows, self.planning)?;
            self.add_below(&column, &mut rows, &mut below, 0)?;
            for input in stage.gives_groups(self.whole) {
                if self.is_apart(&input)? {
                    without_groups.push(input);
                    continue;
                }
                let shown = format!("measure \"{}\"", input.member);
                let to = &mut Found { items: &mut items, staged: &mut staged };
                self.add_measure(&input, None, &mut rows, &shown, to)?;
            }
            stages.push((column, stage));
        }
        if items.is_empty() && !stages.iter().any(|(_, stage)| stage.is_beside(self.whole)) {
            for input in without_groups {
                let shown = format!("measure \"{}\"", input.member);
                let to = &mut Found { items: &mut items, staged: &mut staged };
                self.add_measure(&input, None, &mut rows, &shown, to)?;
            }
        }
        let counts_bare_rows = outputs.iter().any(Option::is_none) && self.question.listed.is_empty();
        let root = if counts_bare_rows { Some(self.counted_root(&items)?) } else { None };
        let mut finished = Vec::new();
        for (index, (asked, output)) in self.question.aggregates.iter().zip(outputs).enumerate() {
            finished.push(match (asked, output) {
                (_, Some(value)) => value,
                (Asked::CountRows { filter }, None) => {
                    self.count_rows(filter.as_ref(), root.as_deref(), index, &mut rows, &mut items)?
                }
                (Asked::Measure { .. } | Asked::Leaf(_) | Asked::OverRows(_), None) => {
                    return Err(PlanError::internal("an aggregate without a value"));
                }
            });
        }
        for item in &mut items {
            if item.hints.paths.is_empty() && self.base.paths.is_empty() {
                self.question.scans.iter().for_each(|scan| item.hints.default_of(scan));
            }
        }
        Ok(Parts { items, stages, below, outputs: finished })
    }

    /// Whether a measure has no value for the question's groups: other measures then say which groups there are.
    fn is_apart(&self, measure: &MemberColumn) -> Result<bool> {
        let mut hints = Hints::new(self.model);
        hints.member(measure)?;
        let alone = choose_join_tree(self.model, &hints.paths).is_ok();
        Ok(alone && choose_join_tree(self.model, &hints.and(&self.base).paths).is_err())
    }

    /// The leaves that a stage reads, down to the last stage.
    fn add_below(
        &self,
        stage: &MemberColumn,
        rows: &mut JoinedRows<'a>,
        below: &mut Vec<Item<'a>>,
        depth: usize,
    ) -> Result<()> {
        if depth > REFERENCE_DEPTH_MAX {
            return Err(PlanError::new("54001", "measures refer to measures too deeply"));
        }
        let (own, measures) = rows.stage_reads(stage)?;
        let mut found: Vec<LegLeaf> = own.leaves.into_iter().map(|leaf| leaf.of).collect();
        for measure in &measures {
            let mut leaves = Leaves::default();
            rows.member_measure(measure, None, &mut leaves)?;
            found.extend(leaves.leaves.into_iter().map(|leaf| leaf.of));
            for inner in &leaves.stages {
                self.add_below(inner, rows, below, depth + 1)?;
            }
        }
        for leaf in found {
            let field = Arc::new(Field::new(&leaf.measure, DataType::Null, true));
            let shown = format!("measure \"{}\"", leaf.measure);
            below.push(self.leaf_item(&leaf, field, shown)?);
        }
        Ok(())
    }

    /// Adds what a measure is made of, and gives its value over the columns of that.
    fn add_measure(
        &self,
        member: &MemberColumn,
        filter: Option<&Expr>,
        rows: &mut JoinedRows<'a>,
        shown: &str,
        to: &mut Found<'_, 'a>,
    ) -> Result<Expr> {
        let mut hints = Hints::new(self.model);
        hints.member(member)?;
        let extra = self.extra_filter(filter, rows, &mut hints)?;
        let mut leaves = Leaves::default();
        let value = rows.member_measure(member, extra.as_ref(), &mut leaves)?;
        // Where one tree holds all of a calculated measure it is computed there, as Cube does; else leaf by leaf. A stage has trees of its
        // own.
        let whole = (leaves.stages.is_empty() && choose_join_tree(self.model, &hints.and(&self.base).paths).is_ok())
            .then_some(hints);
        let value = self.add_leaves(value, &leaves, rows, whole.as_ref(), shown, to)?;
        let Some(mask) = &member.mask else { return Ok(value) };
        // A masked measure has the groups that it would have unmasked, though nothing reads its leaves.
        let mut of_mask = Leaves::default();
        let masked = rows.measure_mask(member, extra.as_ref(), &mut of_mask)?;
        let masked = self.add_leaves(masked, &of_mask, rows, whole.as_ref(), shown, to)?;
        let Some(shown_where) = &mask.shown_where else { return Ok(masked) };
        if let Some(stage) = leaves.stages.first() {
            return Err(PlanError::unsupported(format!(
                "{shown} is masked for some rows and shown for others, and \"{}\" is the answer to a question of its own",
                stage.member
            ))
            .detail("One access policy shows it under a row filter, another one masks it."));
        }
        let mut of_shown_rows: Option<Expr> = None;
        for path in leaves.leaves.iter().map(|leaf| &leaf.of.path).collect::<BTreeSet<_>>() {
            let hidden = HiddenRows { path: path.clone(), shown_where: shown_where.clone(), filter: filter.cloned() };
            let none = Expr::IsNull(Box::new(self.add_hidden(hidden, whole.as_ref(), shown, to)?));
            of_shown_rows = Some(match of_shown_rows {
                None => none,
                Some(others) => others.and(none),
            });
        }
        let Some(of_shown_rows) = of_shown_rows else { return Ok(value) };
        let shown = vec![(Box::new(of_shown_rows), Box::new(value))];
        Ok(Expr::Case(Case::new(None, shown, Some(Box::new(masked)))))
    }

    /// Whether a group has rows that a masked measure is not shown for: a column that is NULL where it has none.
    ///
    /// It would be wrong to aggregate the shown rows alone: their sum would look like that of all.
    fn add_hidden(
        &self,
        hidden: HiddenRows,
        whole: Option<&Hints<'a>>,
        shown: &str,
        to: &mut Found<'_, 'a>,
    ) -> Result<Expr> {
        let mut own = Hints::new(self.model);
        own.add(hidden.path.clone());
        own.condition(&hidden.shown_where)?;
        let reads = own.paths.clone();
        if let Some(filter) = &hidden.filter {
            own.expr(&self.question.scans, filter)?;
        }
        let item = Item {
            fact: Some(hidden.path.clone()),
            condition: hidden.filter.clone(),
            aggregate: LegAggregate::HiddenRows(hidden),
            field: Arc::new(Field::new("hidden", DataType::Int64, true)),
            hints: whole.cloned().unwrap_or(own),
            reads,
            immune: true,
            counts_key: false,
            shown: shown.to_owned(),
        };
        let known = |known: &Item<'a>| known.aggregate == item.aggregate && known.hints.paths == item.hints.paths;
        let position = to.items.iter().position(known).unwrap_or(to.items.len());
        if position == to.items.len() {
            to.items.push(item);
        }
        Ok(ident(item_name(position)))
    }

    fn output_field(&self, aggregate: usize) -> FieldRef {
        Arc::clone(self.question.schema.field(self.question.group.len() + aggregate))
    }

    fn extra_filter(
        &self,
        filter: Option<&Expr>,
        rows: &mut JoinedRows<'a>,
        hints: &mut Hints<'a>,
    ) -> Result<Option<ExtraFilter>> {
        let Some(filter) = filter else { return Ok(None) };
        hints.expr(&self.question.scans, filter)?;
        let over_rows = rows.over_rows(&self.question.scans, filter)?;
        Ok(Some(ExtraFilter { asked: filter.clone(), over_rows }))
    }

    /// Adds a measure's leaves, those that are there already excepted, and gives its value over the items' columns.
    fn add_leaves(
        &self,
        value: Expr,
        leaves: &Leaves,
        rows: &JoinedRows<'a>,
        whole: Option<&Hints<'a>>,
        shown: &str,
        to: &mut Found<'_, 'a>,
    ) -> Result<Expr> {
        let Found { items, staged } = to;
        let schema = rows.leaf_schema(leaves)?;
        let mut columns = HashMap::new();
        // Above the legs a switch that the rows are crossed with is a group's column.
        for (name, switch) in rows.crossed_columns() {
            for (index, expr) in self.question.group.iter().enumerate() {
                let Expr::Column(column) = expr else { continue };
                if as_switch(member(&self.question.scans, column)?, self.model).is_some_and(|found| found.is(switch)) {
                    columns.insert(name.clone(), ident(group_name(index)));
                }
            }
        }
        for (index, leaf) in leaves.leaves.iter().enumerate() {
            let field = Arc::clone(&schema.fields()[index]);
            let mut item = self.leaf_item(&leaf.of, field, shown.to_owned())?;
            if let Some(whole) = whole {
                item.hints = whole.clone();
            }
            let known = items
                .iter()
                .position(|known| known.aggregate == item.aggregate && known.hints.paths == item.hints.paths);
            let position = known.unwrap_or_else(|| {
                items.push(item);
                items.len() - 1
            });
            columns.insert(leaf_name(index), ident(item_name(position)));
        }
        for (index, stage) in leaves.stages.iter().enumerate() {
            let position = staged.iter().position(|known| known == stage).unwrap_or_else(|| {
                staged.push(stage.clone());
                staged.len() - 1
            });
            columns.insert(stage_name(index), ident(stage_name(position)));
        }
        substitute(value, &columns)
    }

    /// `COUNT(*)`: the root's first plain count, or the rows.
    fn count_rows(
        &self,
        filter: Option<&Expr>,
        root: Option<&str>,
        aggregate: usize,
        rows: &mut JoinedRows<'a>,
        items: &mut Vec<Item<'a>>,
    ) -> Result<Expr> {
        if let Some(root) = root {
            let cube = members::cube_named(self.model, root)?;
            let count = cube.measures.values().find(|measure| {
                measure.kind == MeasureKind::Count && measure.sql.is_none() && measure.filters.is_empty()
            });
            if let Some(count) = count {
                let mut hints = Hints::new(self.model);
                let path = [root.to_owned()];
                hints.add(path.to_vec());
                let extra = self.extra_filter(filter, rows, &mut hints)?;
                let mut leaves = Leaves::default();
                let scope = Scope::Cube(rows.role(&path)?);
                let value = rows.measure(&scope, count, extra.as_ref(), &mut leaves, 0)?;
                let to = &mut Found { items, staged: &mut Vec::new() };
                return self.add_leaves(value, &leaves, rows, Some(&hints), "COUNT(*)", to);
            }
        }
        items.push(self.count_rows_item(filter, root, self.output_field(aggregate))?);
        Ok(ident(item_name(items.len() - 1)))
    }

    fn leaf_item(&self, leaf: &LegLeaf, field: FieldRef, shown: String) -> Result<Item<'a>> {
        let mut own = Hints::new(self.model);
        own.leaf(&[], &LegLeaf { filter: None, ..leaf.clone() })?;
        let reads = own.paths.clone();
        let mut hints = own;
        hints.leaf(&self.question.scans, leaf)?;
        let cube = members::cube_named(self.model, leaf.cube())?;
        let one_key = cube.primary_key().count() == 1;
        let counts_key = leaf.kind == LeafKind::Count
            && leaf.origin == LeafOrigin::Value
            && one_key
            && cube
                .measures
                .get(&leaf.measure)
                .is_some_and(|measure| measure.kind == MeasureKind::Count && measure.sql.is_none());
        Ok(Item {
            fact: Some(leaf.path.clone()),
            immune: leaf.kind.ignores_repetition(),
            aggregate: LegAggregate::Leaf(leaf.clone()),
            field,
            hints,
            reads,
            condition: leaf.filter.clone(),
            counts_key,
            shown,
        })
    }

    /// An aggregate over dimensions belongs to the cube that owns them (reference MM19).
    fn over_rows_item(&self, expr: &Expr, field: FieldRef) -> Result<Item<'a>> {
        let Expr::AggregateFunction(call) = expr else {
            return Err(PlanError::internal("an aggregate over rows is not a function call"));
        };
        let mut hints = Hints::new(self.model);
        let mut owners: Vec<Vec<String>> = Vec::new();
        for argument in call.params.args.iter().chain(call.params.order_by.iter().map(|sort| &sort.expr)) {
            hints.expr(&self.question.scans, argument)?;
            for column in self.columns_in(argument)? {
                let mut own = Hints::new(self.model);
                own.member(column)?;
                // The cube of the member itself, not those that its SQL reads.
                match &column.view {
                    None => owners.push(column.path.clone()),
                    Some(_) => owners.extend(own.paths),
                }
            }
        }
        // Several paths may lead to one and the same place.
        let tree = choose_join_tree(self.model, &hints.paths).ok();
        let mut places: Vec<&str> = Vec::new();
        for path in &owners {
            let place =
                tree.as_ref().and_then(|tree| tree.node_at(self.model, path)).or(path.last().map(String::as_str));
            places.extend(place.filter(|place| !places.contains(place)));
        }
        let fact = owners.first().filter(|_| places.len() == 1).cloned();
        let reads = hints.paths.clone();
        if let Some(filter) = &call.params.filter {
            hints.expr(&self.question.scans, filter)?;
        }
        let immune = ignores_repetition(call);
        Ok(Item {
            fact,
            immune,
            aggregate: LegAggregate::OverRows(expr.clone()),
            field,
            hints,
            reads,
            condition: call.params.filter.as_deref().cloned(),
            counts_key: false,
            shown: format!("{}(…)", call.func.name()),
        })
    }

    fn columns_in<'s>(&'s self, expr: &Expr) -> Result<Vec<&'s MemberColumn>> {
        let mut found = Vec::new();
        expr.apply(|node| {
            if let Expr::Column(column) = node {
                found.push(member(&self.question.scans, column)?);
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(internal)?;
        Ok(found)
    }

    fn count_rows_item(&self, filter: Option<&Expr>, root: Option<&str>, field: FieldRef) -> Result<Item<'a>> {
        let mut hints = Hints::new(self.model);
        for column in self.listed_in_order() {
            hints.member(column)?;
        }
        if let Some(root) = root {
            hints.add(vec![root.to_owned()]);
        }
        if let Some(filter) = filter {
            hints.expr(&self.question.scans, filter)?;
        }
        Ok(Item {
            aggregate: LegAggregate::CountRows { filter: filter.cloned() },
            field,
            hints,
            fact: None,
            reads: Vec::new(),
            condition: filter.cloned(),
            immune: false,
            counts_key: false,
            shown: "COUNT(*)".to_owned(),
        })
    }

    /// The columns of a counted sub-query, measures first as in a query of its own, so that it has the same rows.
    fn listed_in_order(&self) -> Vec<&'a MemberColumn> {
        let question = self.question;
        in_hint_order(question.listed.iter().filter_map(|column| member(&question.scans, column).ok()))
    }

    /// The cube whose rows a bare `COUNT(*)` counts: the root of the only tree there is.
    fn counted_root(&self, items: &[Item<'a>]) -> Result<String> {
        if items.is_empty() {
            let own = self.question.aggregates.iter().filter_map(|asked| match asked {
                Asked::CountRows { filter } => filter.as_ref(),
                Asked::Measure { .. } | Asked::Leaf(_) | Asked::OverRows(_) => None,
            });
            let filters =
                own.chain(&self.question.filters).map(|filter| self.hints_of(filter)).collect::<Result<Vec<_>>>()?;
            return Ok(self.tree_of_rows(&filters, &[])?.root);
        }
        let mut roots = BTreeSet::new();
        for item in items {
            roots.insert(choose_join_tree(self.model, &item.hints.and(&self.base).paths)?.root);
        }
        let mut roots = roots.into_iter();
        match (roots.next(), roots.next()) {
            (Some(only), None) => Ok(only),
            (first, second) => Err(PlanError::unsupported(format!(
                "COUNT(*) could count the rows of \"{}\" or of \"{}\"",
                first.unwrap_or_default(),
                second.unwrap_or_default()
            ))
            .hint("Ask for a count measure of one of them by name.")),
        }
    }
}

/// Whether repeating its rows leaves an aggregate as it is.
#[must_use]
pub fn ignores_repetition(call: &AggregateFunction) -> bool {
    call.params.distinct || matches!(call.func.name(), "min" | "max" | "bool_and" | "bool_or" | "every" | "any_value")
}

/// The column of a grouped expression in every leg.
#[must_use]
pub fn group_name(index: usize) -> String {
    format!("g{index}")
}

/// The column of an item in its leg; those of leaves are what calculated measures refer to.
#[must_use]
pub fn item_name(index: usize) -> String {
    leaf_name(index)
}

/// The plan node of a leg.
#[must_use]
pub fn leg_plan(leg: FactLeg) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(leg) })
}

/// The value with the type that was promised for it, or our own contradiction.
pub(crate) fn typed_as(value: Expr, schema: &DFSchema, wanted: &DataType) -> Result<Expr> {
    let found = value.get_type(schema).map_err(internal)?;
    if found == *wanted {
        return Ok(value);
    }
    Err(PlanError::internal(format!("a measure was promised as {wanted} and came as {found}")))
}
