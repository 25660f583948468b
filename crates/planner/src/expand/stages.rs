//! Measures that are the answer to a question of their own: another grain, other filters, another time, or a window of time.
//!
//! A multi-stage measure (reference 1.9) asks its inputs at an inner grain, as a question like any other: it is split into legs by the
//! same rules, so that multiplied rows count once there too, and it may have stages of its own. Its answer comes back in one of two ways:
//!
//! - a stage of the query's own grain and filters (shifted in time, ranked, aggregated again from a finer grain) is rows that stand beside
//!   the legs: its groups are groups of the query;
//! - a stage of a coarser grain, or of other filters, gives a value to the groups that are there: those of its inputs at the query's own
//!   grain and filters, and those of the other measures. NULL keys meet there too.
//!
//! It would be wrong to join the second kind like the first: `WHERE status = 'paid' GROUP BY status` would show the groups that the filter
//! removed, because the stage ignores it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::Field;
use belvedere_model::{Measure, MeasureKind, MemberKind, MemberRef, MultiStage, SortDirection, StageFilter};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, TableReference};
use datafusion_expr::expr::{Sort, WindowFunction, WindowFunctionParams};
use datafusion_expr::utils::find_aggregate_exprs;
use datafusion_expr::{
    Expr, ExprFunctionExt, ExprSchemable, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition,
};

use crate::catalog::MemberColumn;
use crate::error::{PlanError, Result};
use crate::lower::calculated::stage_name;
use crate::lower::joined_rows::{JoinedRows, Planning, internal, missing};
use crate::lower::stage_sql::{StageSql, input_name, stage_leaf};
use crate::nodes::fact_leg::{LegScan, MappedTime};

use super::build_legs::{Asked, Question, Within};
use super::hints::member;
use super::rolling::Rolling;
use super::split_facts::{group_name, split_facts, typed_as};
use super::stage_filters::condition;
use super::time_shift::{Identity, Shift, identity_of, identity_of_ref, refuse_roles, shifts_of};

/// Stages ask stages no deeper than this.
const STAGES_MAX: usize = 32;

/// What a staged measure asks, in terms of the question that it is part of.
pub(crate) enum Stage {
    Rolling(Box<Rolling>),
    Multi(Box<Multi>),
}

/// The answer to a stage; the value is [`stage_name`].
pub(crate) enum StageAnswer {
    /// Rows with all groups' columns: they stand beside the legs.
    Beside(LogicalPlan),
    /// A value for each of the keys, which are positions of groups.
    Onto { values: LogicalPlan, keys: Vec<usize>, groups: Option<LogicalPlan> },
}

/// A multi-stage measure.
pub(crate) struct Multi {
    of: MemberColumn,
    kind: MeasureKind,
    sql: StageSql,
    /// Positions of the groups that the value depends on; of a rank, those that it starts anew for.
    kept: Vec<usize>,
    /// The grain of the inner question, beside the kept groups (of a rank: beside all groups).
    include: Vec<MemberColumn>,
    /// Of the inner question.
    filters: Vec<Expr>,
    /// They differ from the query's in more than the time.
    refiltered: bool,
    /// The last filters, which are the stage's own.
    included: usize,
    shifts: Vec<Shift>,
    /// Shifts by joins, which leave groups and filters as they are.
    mapped: Vec<MappedTime>,
    scans: Vec<LegScan>,
}

impl Stage {
    /// What the measure asks within `question`.
    ///
    /// # Errors
    /// 0A000 naming what cannot be asked.
    pub(crate) fn of<'a>(
        question: &Question,
        stage: &MemberColumn,
        rows: &mut JoinedRows<'a>,
        planning: Planning<'a>,
    ) -> Result<Self> {
        if question.within.depth > STAGES_MAX {
            return Err(PlanError::new("54001", "multi-stage measures refer to each other too deeply"));
        }
        let measure = stage
            .measure(&planning.catalog.model)
            .ok_or_else(|| missing(stage.view.as_deref().unwrap_or_default(), &stage.member))?;
        if measure.details.rolling_window.is_some() {
            return Rolling::of(question, stage, rows, planning).map(|rolling| Self::Rolling(Box::new(rolling)));
        }
        let details = measure.details.multi_stage.as_ref().ok_or_else(|| PlanError::internal("a stage of no kind"))?;
        Multi::of(question, stage, measure, details, rows, planning).map(|multi| Self::Multi(Box::new(multi)))
    }

    /// Measures that the question must ask too: their groups are those that the stage's value is for.
    pub(crate) fn gives_groups(&self, question: &Question) -> Vec<MemberColumn> {
        match self {
            Self::Rolling(_) => Vec::new(),
            Self::Multi(multi) if !multi.is_shifted() && multi.is_onto(question) => multi.measures().cloned().collect(),
            Self::Multi(_) => Vec::new(),
        }
    }

    /// Whether the answer stands beside the legs.
    pub(crate) fn is_beside(&self, question: &Question) -> bool {
        match self {
            Self::Rolling(_) => true,
            Self::Multi(multi) => !multi.is_onto(question) || multi.is_shifted(),
        }
    }

    /// Whether a group without a value has 0.
    pub(crate) fn counts(&self) -> bool {
        match self {
            Self::Rolling(rolling) => rolling.counts(),
            Self::Multi(multi) => stage_leaf(multi.kind).is_some_and(|leaf| leaf.counts()),
        }
    }

    /// `facts` are those of the whole question.
    pub(crate) fn answer(
        &self,
        question: &Question,
        number: usize,
        facts: &BTreeSet<Vec<String>>,
        planning: Planning<'_>,
    ) -> Result<StageAnswer> {
        match self {
            Self::Rolling(rolling) => rolling.answer(question, number, facts, planning).map(StageAnswer::Beside),
            Self::Multi(multi) => multi.answer(question, number, facts, planning),
        }
    }
}

impl Multi {
    fn of<'a>(
        question: &Question,
        stage: &MemberColumn,
        measure: &Measure,
        details: &MultiStage,
        rows: &mut JoinedRows<'a>,
        planning: Planning<'a>,
    ) -> Result<Self> {
        let shown = format!("\"{}\"", stage.member);
        let kept = kept_groups(question, stage, details, rows)?;
        let mut include = Vec::new();
        for reference in details.include.iter().flatten() {
            let member = rows.named_by(stage, reference)?;
            // A dimension that the query groups by as it is adds nothing.
            let grouped = question.group.iter().any(|expr| match expr {
                Expr::Column(column) => super::hints::member(&question.scans, column)
                    .is_ok_and(|known| identity_of(planning, known) == identity_of(planning, &member)),
                _ => false,
            });
            let is_kept = kept.iter().any(|index| is_member(question, &question.group[*index], &member, planning));
            if !(grouped && is_kept) {
                include.push(member);
            }
        }
        let aggregates =
            stage_leaf(measure.kind).is_some() || matches!(measure.kind, MeasureKind::Avg | MeasureKind::NumberAgg);
        if !include.is_empty() && !aggregates {
            return Err(PlanError::unsupported(format!(
                "the multi-stage measure {shown} adds dimensions to its grain, and its type does not aggregate them away"
            ))
            .hint("Use a type such as sum, avg, min, max or number_agg, or leave out `add_group_by`."));
        }
        let sql = rows.stage_sql_of(stage)?;
        if !sql.inputs.iter().any(|input| input.kind == MemberKind::Measure) {
            return Err(PlanError::unsupported(format!("the multi-stage measure {shown} reads no measure")).hint(
                "A multi-stage measure is computed over other measures; without `multi_stage` it aggregates rows.",
            ));
        }
        let (shifts, mapped) = shifts_of(question, stage, &details.time_shifts, rows, planning)?;
        let mut multi = Self {
            of: stage.clone(),
            kind: measure.kind,
            sql,
            kept,
            include,
            filters: question.filters.clone(),
            refiltered: false,
            included: 0,
            shifts,
            mapped,
            scans: question.scans.clone(),
        };
        if let Some(filter) = &details.filter {
            multi.refilter(question, filter, rows, planning)?;
        }
        Ok(multi)
    }

    /// The filters of the inner question (reference MS7).
    fn refilter<'a>(
        &mut self,
        question: &Question,
        filter: &StageFilter,
        rows: &mut JoinedRows<'a>,
        planning: Planning<'a>,
    ) -> Result<()> {
        let mut kept = Vec::new();
        let named = |list: &Option<Vec<MemberRef>>| {
            list.as_ref()
                .map(|list| list.iter().map(|reference| identity_of_ref(planning, reference)).collect::<Vec<_>>())
        };
        let (exclude, keep_only) = (named(&filter.exclude), named(&filter.keep_only));
        for list in [&exclude, &keep_only].into_iter().flatten() {
            refuse_roles(question, &self.of, list, planning)?;
        }
        for expr in question.filters.iter().filter(|_| !filter.fixed) {
            let listed = match (&exclude, &keep_only) {
                (Some(list), _) | (None, Some(list)) => listed(question, expr, list, planning)?,
                (None, None) => Listed::None,
            };
            let stays = match (listed, exclude.is_some()) {
                (Listed::Mixed, _) => {
                    return Err(PlanError::unsupported(format!(
                        "one condition of the query names members that the filter of \"{}\" drops and members that it keeps",
                        self.of.member
                    ))
                    .hint("Write the conditions joined by AND."));
                }
                (Listed::All, true) => false,
                (Listed::All, false) => true,
                (Listed::None, _) => exclude.is_some() || keep_only.is_none(),
            };
            if stays {
                kept.push(expr.clone());
            }
        }
        self.refiltered = kept.len() != question.filters.len() || !filter.include.is_empty();
        for include in &filter.include {
            let (scans, expr) = condition(include, &self.of, &self.scans, rows, planning)?;
            self.scans = scans;
            kept.push(expr);
            self.included += 1;
        }
        self.filters = kept;
        Ok(())
    }

    fn measures(&self) -> impl Iterator<Item = &MemberColumn> {
        self.sql.inputs.iter().filter(|input| input.kind == MemberKind::Measure)
    }

    /// Whether the value is put onto groups that others give.
    fn is_onto(&self, question: &Question) -> bool {
        self.refiltered || (self.kind != MeasureKind::Rank && self.kept.len() < question.group.len())
    }

    /// The positions of groups that the inner question has.
    fn inner_groups(&self, question: &Question) -> Vec<usize> {
        match self.kind {
            MeasureKind::Rank => (0..question.group.len()).collect(),
            _ => self.kept.clone(),
        }
    }

    /// The inner question over `groups`, under `filters`, all of it moved in time.
    fn inner(
        &self,
        question: &Question,
        groups: &[usize],
        include: &[MemberColumn],
        filters: &[Expr],
        facts: &BTreeSet<Vec<String>>,
        planning: Planning<'_>,
    ) -> Result<Question> {
        let (scans, added) = with_members(&self.scans, self.measures().chain(include));
        let (asked, included) = added.split_at(self.measures().count());
        let mut group = Vec::new();
        for index in groups {
            group.push(self.moved(&question.group[*index], &scans, planning)?);
        }
        group.extend(included.iter().cloned().map(Expr::Column));
        // The query's own conditions are checked where the query is.
        let inherited =
            if filters == question.filters.as_slice() { filters.len() } else { filters.len() - self.included };
        let filters = filters.iter().map(|filter| self.moved(filter, &scans, planning)).collect::<Result<Vec<_>>>()?;
        let asked: Vec<(Asked, Field)> = asked
            .iter()
            .zip(self.measures())
            .map(|(column, input)| (Asked::Measure { column: column.clone(), filter: None }, input.field.clone()))
            .collect();
        let mut within = within(question, facts, inherited);
        within.mapped.extend(self.mapped.iter().cloned());
        asking(question, scans, group, asked, filters, within)
    }

    fn is_shifted(&self) -> bool {
        !self.shifts.is_empty() || !self.mapped.is_empty()
    }

    fn moved(&self, expr: &Expr, scans: &[LegScan], planning: Planning<'_>) -> Result<Expr> {
        self.shifts.iter().try_fold(expr.clone(), |expr, shift| shift.applied(&expr, scans, &self.of, planning))
    }

    fn answer(
        &self,
        question: &Question,
        number: usize,
        facts: &BTreeSet<Vec<String>>,
        planning: Planning<'_>,
    ) -> Result<StageAnswer> {
        let groups = self.inner_groups(question);
        let inner = self.inner(question, &groups, &self.include, &self.filters, facts, planning)?;
        let below = split_facts(&inner, planning)?;
        // The groups under the names that they have in the question, and the inputs of the SQL.
        let mut columns: Vec<Expr> = Vec::new();
        for (position, index) in groups.iter().enumerate() {
            columns.push(key_column(position).alias(group_name(*index)));
        }
        let mut measure = 0;
        for (index, input) in self.sql.inputs.iter().enumerate() {
            columns.push(match input.kind {
                MemberKind::Measure => {
                    measure += 1;
                    value_column(measure - 1).alias(input_name(index))
                }
                MemberKind::Dimension | MemberKind::Segment => {
                    let position = inner.group.iter().position(|expr| is_member(&inner, expr, input, planning));
                    let position = position.ok_or_else(|| {
                        PlanError::unsupported(format!(
                            "the multi-stage measure \"{}\" reads the dimension \"{}\", which is not in its grain",
                            self.of.member, input.member
                        ))
                        .hint("Add it to `add_group_by`, or group the query by it.")
                    })?;
                    key_column(position).alias(input_name(index))
                }
            });
        }
        let below =
            LogicalPlanBuilder::from(below).project(columns).and_then(LogicalPlanBuilder::build).map_err(internal)?;
        let values = self.values(below, number, planning)?;
        if !self.is_onto(question) {
            return Ok(StageAnswer::Beside(values));
        }
        let groups = if !self.is_shifted() {
            None
        } else {
            let all: Vec<usize> = (0..question.group.len()).collect();
            let asked = self.inner(question, &all, &[], &question.filters, facts, planning)?;
            let keys = all.iter().map(|index| key_column(*index).alias(group_name(*index))).collect::<Vec<_>>();
            let plan = split_facts(&asked, planning)?;
            Some(LogicalPlanBuilder::from(plan).project(keys).and_then(LogicalPlanBuilder::build).map_err(internal)?)
        };
        let keys = self.inner_groups(question);
        Ok(StageAnswer::Onto { values, keys, groups })
    }

    /// The value over the rows of the stage below: the keys, and the value.
    fn values(&self, below: LogicalPlan, number: usize, planning: Planning<'_>) -> Result<LogicalPlan> {
        let key = |index: &usize| Expr::Column(Column::new_unqualified(group_name(*index)));
        let named: Vec<Expr> = self.kept.iter().map(key).collect();
        let builder = LogicalPlanBuilder::from(below);
        let rows = JoinedRows::new(planning, super::choose_join_tree::JoinTree::of(""));
        let value = self.sql.value.clone();
        let (builder, keys, value) = match (self.kind, value) {
            (MeasureKind::Rank, _) => {
                let rank = planning
                    .functions
                    .window("rank")
                    .ok_or_else(|| PlanError::internal("the window function rank is not registered"))?;
                let order_by = self
                    .sql
                    .order_by
                    .iter()
                    .map(|(expr, direction)| match direction {
                        // As PostgreSQL places NULLs.
                        SortDirection::Ascending => Sort::new(expr.clone(), true, false),
                        SortDirection::Descending => Sort::new(expr.clone(), false, true),
                    })
                    .collect();
                let function = WindowFunctionDefinition::WindowUDF(Arc::clone(rank));
                let call = Expr::WindowFunction(Box::new(WindowFunction {
                    fun: function,
                    params: WindowFunctionParams {
                        args: vec![],
                        ..WindowFunction::new(WindowFunctionDefinition::WindowUDF(Arc::clone(rank)), vec![]).params
                    },
                }))
                .partition_by(named)
                .order_by(order_by)
                .build()
                .map_err(internal)?
                .alias("value");
                let all: Vec<Expr> = builder
                    .schema()
                    .columns()
                    .into_iter()
                    .filter(|column| column.name.starts_with('g'))
                    .map(Expr::Column)
                    .collect();
                let builder = builder.window(vec![call]).map_err(internal)?;
                (builder, all, Expr::Column(Column::new_unqualified("value")))
            }
            (_, None) => return Err(PlanError::internal("a multi-stage measure without a value")),
            (MeasureKind::NumberAgg, Some(value)) => {
                let aggregates = find_aggregate_exprs([&value]);
                if aggregates.is_empty() {
                    return Err(PlanError::unsupported(format!(
                        "the number_agg measure \"{}\" has no aggregate in its SQL",
                        self.of.member
                    ))
                    .hint("Write one, such as percentile_cont(0.5) WITHIN GROUP (ORDER BY {measure})."));
                }
                let aliased = aggregates
                    .iter()
                    .enumerate()
                    .map(|(index, call)| call.clone().alias(format!("a{index}")))
                    .collect::<Vec<_>>();
                let builder = builder.aggregate(named.clone(), aliased).map_err(internal)?;
                let value = value
                    .transform_down(|expr| {
                        Ok(match aggregates.iter().position(|known| *known == expr) {
                            Some(index) => Transformed::yes(Expr::Column(Column::new_unqualified(format!("a{index}")))),
                            None => Transformed::no(expr),
                        })
                    })
                    .map_err(internal)?
                    .data;
                (builder, named, value)
            }
            (kind, Some(value)) => {
                let call = match (kind, stage_leaf(kind)) {
                    (MeasureKind::Avg, _) => Some(rows.average_of(Expr::Column(Column::new_unqualified("value")))?),
                    (_, Some(leaf)) => Some(rows.leaf_aggregate(leaf, Expr::Column(Column::new_unqualified("value")))?),
                    (_, None) => None,
                };
                match call {
                    None => (builder, named, value),
                    Some(call) => {
                        let mut columns = named.clone();
                        columns.push(value.alias("value"));
                        let builder = builder
                            .project(columns)
                            .and_then(|builder| builder.aggregate(named.clone(), [call.alias("total")]))
                            .map_err(internal)?;
                        (builder, named, Expr::Column(Column::new_unqualified("total")))
                    }
                }
            }
        };
        let value = typed_as(value, builder.schema(), self.of.field.data_type())?;
        let mut columns = keys;
        columns.push(value.alias(stage_name(number)));
        builder.project(columns).and_then(LogicalPlanBuilder::build).map_err(internal)
    }
}

/// The grouped positions that stay in the inner grain (reference MS2, MS3).
fn kept_groups(
    question: &Question,
    stage: &MemberColumn,
    details: &MultiStage,
    rows: &mut JoinedRows<'_>,
) -> Result<Vec<usize>> {
    let planning = rows.planning;
    let (list, keeps) = match (&details.keep_only, &details.exclude) {
        (Some(list), _) => (list, true),
        (None, Some(list)) => (list, false),
        (None, None) => return Ok((0..question.group.len()).collect()),
    };
    let mut named = Vec::new();
    for reference in list {
        rows.named_by(stage, reference)?;
        named.push(identity_of_ref(planning, reference));
    }
    refuse_roles(question, stage, &named, planning)?;
    let mut kept = Vec::new();
    for (index, expr) in question.group.iter().enumerate() {
        let stays = match listed(question, expr, &named, planning)? {
            // A constant is in every grain.
            _ if expr.column_refs().is_empty() => true,
            Listed::All => keeps,
            Listed::None => !keeps,
            Listed::Mixed => {
                return Err(PlanError::unsupported(format!(
                    "the grain of the multi-stage measure \"{}\" keeps one member of a grouped expression and not another",
                    stage.member
                ))
                .hint("Group by the members themselves."));
            }
        };
        if stays {
            kept.push(index);
        }
    }
    Ok(kept)
}

/// How many of the members of an expression a list has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    All,
    None,
    Mixed,
}

fn listed(question: &Question, expr: &Expr, list: &[Identity], planning: Planning<'_>) -> Result<Listed> {
    let (mut inside, mut outside) = (0, 0);
    for column in expr.column_refs() {
        if list.contains(&identity_of(planning, member(&question.scans, column)?)) {
            inside += 1;
        } else {
            outside += 1;
        }
    }
    Ok(match (inside, outside) {
        (0, _) => Listed::None,
        (_, 0) => Listed::All,
        (_, _) => Listed::Mixed,
    })
}

fn is_member(question: &Question, expr: &Expr, wanted: &MemberColumn, planning: Planning<'_>) -> bool {
    match expr {
        Expr::Column(column) => member(&question.scans, column)
            .is_ok_and(|known| identity_of(planning, known) == identity_of(planning, wanted)),
        _ => false,
    }
}

/// The scans with columns for members that the statement's tables may not have, and those columns in order.
///
/// They are added to the first table, behind its own columns: a second table would be a join of the statement.
pub(crate) fn with_members<'m>(
    scans: &[LegScan],
    members: impl Iterator<Item = &'m MemberColumn>,
) -> (Vec<LegScan>, Vec<Column>) {
    let mut scans = scans.to_vec();
    let mut columns = Vec::new();
    let Some(first) = scans.first_mut() else { return (scans, columns) };
    let mut table = first.table.columns.clone();
    let before = table.len();
    for wanted in members {
        let same = |known: &MemberColumn| {
            known.kind == wanted.kind
                && known.path == wanted.path
                && known.member == wanted.member
                && known.view == wanted.view
                && known.values_of == wanted.values_of
        };
        let known = table.iter().find(|(_, column)| same(column)).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| {
            // Names of columns have no dots.
            let owner = wanted.view.clone().unwrap_or_else(|| wanted.path.join("."));
            let marked = if wanted.values_of.is_some() { " values" } else { "" };
            let mut name = format!("{owner}.{}{marked}", wanted.member);
            while table.contains_key(&name) {
                name.push('\'');
            }
            table.insert(name.clone(), wanted.clone());
            name
        });
        columns.push(Column::new(Some(first.reference.clone()), name));
    }
    if table.len() > before {
        first.table = Arc::new(first.table.with_columns(table));
    }
    (scans, columns)
}

/// A question that `question` asks, whose columns are [`key_column`]s, then [`value_column`]s.
pub(crate) fn asking(
    question: &Question,
    scans: Vec<LegScan>,
    group: Vec<Expr>,
    asked: Vec<(Asked, Field)>,
    filters: Vec<Expr>,
    within: Within,
) -> Result<Question> {
    let below = scan_schema(&scans)?;
    let mut fields = Vec::new();
    for (index, expr) in group.iter().enumerate() {
        let (_, field) = expr.to_field(&below).map_err(internal)?;
        fields.push(field.as_ref().clone().with_name(format!("k{index}")).with_nullable(true));
    }
    let mut aggregates = Vec::new();
    for (index, (asked, field)) in asked.into_iter().enumerate() {
        fields.push(field.with_name(input_name(index)).with_nullable(true));
        aggregates.push(asked);
    }
    let schema = DFSchema::try_from(arrow::datatypes::Schema::new(fields)).map_err(internal)?;
    Ok(Question {
        scans,
        group,
        aggregates,
        filters,
        listed: Vec::new(),
        joined: question.joined.clone(),
        schema: Arc::new(schema),
        within,
    })
}

/// A question that `question` asks; all facts are those of the whole.
pub(crate) fn within(question: &Question, facts: &BTreeSet<Vec<String>>, inherited: usize) -> Within {
    let restrictions = question.within.restrictions.clone();
    let mapped = question.within.mapped.clone();
    Within { depth: question.within.depth + 1, facts: facts.clone(), inherited, restrictions, mapped }
}

/// The columns of the scans.
pub(crate) fn scan_schema(scans: &[LegScan]) -> Result<DFSchema> {
    let mut fields: Vec<(Option<TableReference>, _)> = Vec::new();
    for scan in scans {
        for field in scan.table.schema.fields() {
            fields.push((Some(scan.reference.clone()), Arc::clone(field)));
        }
    }
    DFSchema::new_with_metadata(fields, HashMap::new()).map_err(internal)
}

/// A group of an inner question.
pub(crate) fn key_column(index: usize) -> Expr {
    Expr::Column(Column::new_unqualified(format!("k{index}")))
}

/// An aggregate of an inner question.
pub(crate) fn value_column(index: usize) -> Expr {
    Expr::Column(Column::new_unqualified(input_name(index)))
}
