//! Measures as leaves and the expressions above them.
//!
//! A leaf is one aggregate over one row expression. A calculated measure (`number`, `string`, `time`, `boolean`) is an expression
//! over leaves: those of the measures that it names, and those of the raw aggregates in its SQL. It is always evaluated above
//! its leaves, with the meaning of its cube's dialect, so that leaves may come from anywhere.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use belvedere_model::{
    CaseSwitch, Dimension, DimensionValue, Mask, Measure, MeasureKind, Model, SqlTemplate, TemplatePart,
    ViewMemberValue,
};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion_expr::{AggregateUDF, Case, Expr, ExprSchemable, lit};
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::Token;

use crate::catalog::{MemberColumn, SourceDialect};
use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::is_reachable;
use crate::members::{Marked, REFERENCE_DEPTH_MAX};
use crate::nodes::fact_leg::{LeafKind, LeafOrigin, LegLeaf};

use super::joined_rows::{JoinedRows, Role, Scope, internal, missing, not_yet, view_named};
use super::member_sql::{bind_over, name_values, parse_member, substitute};
use super::stage_sql::is_calculated;

/// One aggregate over one row expression of one cube.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    pub of: LegLeaf,
    /// The values that it aggregates.
    pub input: Expr,
}

/// Collects the leaves of the measures of one query.
#[derive(Debug, Default)]
pub struct Leaves {
    pub leaves: Vec<Leaf>,
    /// Measures that are the answer to a question of their own: multi-stage measures and rolling windows.
    pub stages: Vec<MemberColumn>,
}

impl Leaves {
    /// Adds the leaves of another, each once.
    pub(crate) fn take(&mut self, other: Self) {
        for leaf in other.leaves {
            self.add(leaf);
        }
    }

    fn add(&mut self, leaf: Leaf) -> Expr {
        let index = self.leaves.iter().position(|known| known.of == leaf.of).unwrap_or_else(|| {
            self.leaves.push(leaf);
            self.leaves.len() - 1
        });
        Expr::Column(datafusion_common::Column::new_unqualified(leaf_name(index)))
    }

    pub(super) fn add_stage(&mut self, stage: MemberColumn) -> Expr {
        let index = self.stages.iter().position(|known| *known == stage).unwrap_or_else(|| {
            self.stages.push(stage);
            self.stages.len() - 1
        });
        Expr::Column(datafusion_common::Column::new_unqualified(stage_name(index)))
    }
}

/// The column of a leaf above the aggregate.
#[must_use]
pub fn leaf_name(index: usize) -> String {
    format!("m{index}")
}

/// The column of a measure that is the answer to a question of its own.
#[must_use]
pub fn stage_name(index: usize) -> String {
    format!("s{index}")
}

/// The condition of `FILTER (WHERE …)`: as the statement has it, and over the joined rows.
#[derive(Debug, Clone)]
pub struct ExtraFilter {
    pub asked: Expr,
    pub over_rows: Expr,
}

/// The path of a member that is referred to from a member at `path`, whose cube is `path`'s last: further along where joins
/// lead there, else from the cube that the reference names.
#[must_use]
pub fn composed_path(model: &Model, path: &[String], reference: &[String]) -> Vec<String> {
    let own = path.last();
    let (Some(from), Some(first)) = (own, reference.first()) else { return path.to_vec() };
    if reference.len() == 1 && own == Some(first) {
        path.to_vec()
    } else if own == Some(first) {
        path.iter().cloned().chain(reference.iter().skip(1).cloned()).collect()
    } else if is_reachable(model, from, first) {
        path.iter().cloned().chain(reference.iter().cloned()).collect()
    } else {
        reference.to_vec()
    }
}

impl<'a> JoinedRows<'a> {
    /// The measure of a column as an expression over leaf columns, with the extra condition of `FILTER (WHERE …)`.
    ///
    /// # Errors
    /// 0A000 naming what is not executed yet.
    pub fn member_measure(
        &mut self,
        column: &MemberColumn,
        extra: Option<&ExtraFilter>,
        leaves: &mut Leaves,
    ) -> Result<Expr> {
        let model = self.model();
        let scope = self.scope_of(column)?;
        let measure = column.measure(model).ok_or_else(|| missing(scope.name(), &column.member))?;
        self.measure(&scope, measure, extra, leaves, 0)
    }

    /// Whose SQL a column's is.
    pub(super) fn scope_of(&self, column: &MemberColumn) -> Result<Scope<'a>> {
        Ok(match &column.view {
            None => Scope::Cube(self.role(&column.path)?),
            Some(view) => Scope::View(view_named(self.model(), view)?),
        })
    }

    /// A measure of `scope`.
    pub(crate) fn measure(
        &mut self,
        scope: &Scope<'a>,
        measure: &'a Measure,
        extra: Option<&ExtraFilter>,
        leaves: &mut Leaves,
        depth: usize,
    ) -> Result<Expr> {
        let name = &measure.naming.name;
        if depth > REFERENCE_DEPTH_MAX {
            return Err(PlanError::new("54001", "measures refer to measures too deeply"));
        }
        if let Some(unsupported) = &measure.unsupported {
            return Err(not_yet(scope.name(), name, &unsupported.feature));
        }
        if let Some(case) = &measure.details.case_switch {
            if measure.details.rolling_window.is_some() {
                return Err(not_yet(scope.name(), name, "a rolling window over case"));
            }
            return self.case_of_measures(scope, measure, case, extra, leaves, depth);
        }
        if self.is_staged(scope, measure)? {
            let refused = |what: &str| {
                PlanError::unsupported(format!(
                    "{what} \"{}.{name}\" is not supported: it is the answer to a question of its own",
                    scope.name()
                ))
                .hint("Filter the measures that it is made of, or use WHERE.")
            };
            if extra.is_some() {
                return Err(refused("FILTER (WHERE …) on"));
            }
            if !self.within.is_empty() {
                return Err(refused("a filter of a calculated measure over"));
            }
            let stage = self.stage_column(scope, measure, depth)?;
            return Ok(leaves.add_stage(stage));
        }
        self.plain_measure(scope, measure, extra, leaves, depth)
    }

    /// A measure without its window, and without stages of its own.
    pub(super) fn plain_measure(
        &mut self,
        scope: &Scope<'a>,
        measure: &'a Measure,
        extra: Option<&ExtraFilter>,
        leaves: &mut Leaves,
        depth: usize,
    ) -> Result<Expr> {
        let name = &measure.naming.name;
        let kind = match measure.kind {
            MeasureKind::Count => LeafKind::Count,
            MeasureKind::CountDistinct => LeafKind::CountDistinct,
            MeasureKind::CountDistinctApprox => LeafKind::CountDistinctApprox,
            MeasureKind::Sum => LeafKind::Sum,
            MeasureKind::Min => LeafKind::Min,
            MeasureKind::Max => LeafKind::Max,
            MeasureKind::Avg => {
                let Scope::Cube(role) = scope else { return Err(aggregates_in_view(scope, name)) };
                let condition = self.condition_within(extra.map(|extra| extra.over_rows.clone()))?;
                let input = self.leaf_input(role, measure, condition)?;
                return self.average(&role.path, name, LeafOrigin::Value, extra, input, leaves);
            }
            MeasureKind::Number | MeasureKind::String | MeasureKind::Time | MeasureKind::Boolean => {
                let template = measure.sql.as_ref().ok_or_else(|| {
                    PlanError::internal(format!("the calculated measure \"{}.{name}\" has no sql", scope.name()))
                })?;
                // Its value over the rows for which they hold: every leaf is restricted by them.
                let own = match scope {
                    Scope::Cube(role) if !measure.filters.is_empty() => Some((role.path.clone(), name.clone())),
                    Scope::View(_) if !measure.filters.is_empty() => {
                        return Err(not_yet(scope.name(), name, "filters on a view's own measure"));
                    }
                    Scope::Cube(_) | Scope::View(_) => None,
                };
                let outside = self.within.len();
                self.within.extend(own);
                let value = self.calculated(scope, (name, LeafOrigin::Raw), template, extra, leaves, depth);
                self.within.truncate(outside);
                return value;
            }
            MeasureKind::NumberAgg | MeasureKind::Rank => {
                return Err(PlanError::internal(format!("\"{}.{name}\" has no stage of its own", scope.name())));
            }
            MeasureKind::RunningTotal if measure.sql.is_some() => LeafKind::Sum,
            MeasureKind::RunningTotal => return Err(not_yet(scope.name(), name, "running_total without sql")),
        };
        let Scope::Cube(role) = scope else { return Err(aggregates_in_view(scope, name)) };
        let condition = self.condition_within(extra.map(|extra| extra.over_rows.clone()))?;
        let input = self.leaf_input(role, measure, condition)?;
        let of = LegLeaf {
            kind,
            path: role.path.clone(),
            measure: name.clone(),
            origin: LeafOrigin::Value,
            filter: extra.map(|extra| extra.asked.clone()),
            within: self.within.clone(),
        };
        Ok(leaves.add(Leaf { of, input }))
    }

    /// The values of a leaf over these joined rows; `extra` is its filter over them.
    ///
    /// # Errors
    /// As [`JoinedRows::member_measure`].
    pub fn leaf_value(&mut self, leaf: &LegLeaf, extra: Option<Expr>) -> Result<Expr> {
        let role = self.role(&leaf.path)?;
        let measure = role.cube.measures.get(&leaf.measure).ok_or_else(|| missing(leaf.cube(), &leaf.measure))?;
        self.within.clone_from(&leaf.within);
        let extra = self.condition_within(extra)?;
        match leaf.origin {
            LeafOrigin::Value => self.leaf_input(&role, measure, extra),
            LeafOrigin::Raw(index) | LeafOrigin::Mask(index) => {
                let dialect = self.dialect(role.cube)?;
                let template = match (leaf.origin, &measure.details.mask) {
                    (LeafOrigin::Mask(_), Some(Mask::Sql(template))) => Some(template),
                    (LeafOrigin::Mask(_), _) => None,
                    (LeafOrigin::Value | LeafOrigin::Raw(_), _) => measure.sql.as_ref(),
                };
                let template = template.ok_or_else(|| missing(leaf.cube(), &leaf.measure))?;
                let (_, raw) = cut_aggregates(&Marked::new(template), dialect)?;
                let aggregate =
                    raw.get(index).ok_or_else(|| PlanError::internal("a raw aggregate that is not there"))?;
                let value = self.raw_input(&role, &leaf.measure, aggregate)?;
                Ok(where_holds(value, extra))
            }
        }
    }

    /// A leaf's condition and the filters of the calculated measures that it is part of.
    fn condition_within(&mut self, extra: Option<Expr>) -> Result<Option<Expr>> {
        let mut condition = extra;
        for (path, name) in self.within.clone() {
            let role = self.role(&path)?;
            let measure = role.cube.measures.get(&name).ok_or_else(|| missing(role.name(), &name))?;
            for filter in &measure.filters {
                let holds = self.row_value(&role, filter, true, 0)?;
                condition = Some(both(condition, holds));
            }
        }
        Ok(condition)
    }

    /// Sum and count of the same values; the division follows PostgreSQL's rule for `avg`.
    fn average(
        &mut self,
        path: &[String],
        measure: &str,
        origin: LeafOrigin,
        extra: Option<&ExtraFilter>,
        input: Expr,
        leaves: &mut Leaves,
    ) -> Result<Expr> {
        let leaf = |kind: LeafKind| LegLeaf {
            kind,
            path: path.to_vec(),
            measure: measure.to_owned(),
            origin,
            filter: extra.map(|extra| extra.asked.clone()),
            within: self.within.clone(),
        };
        let sum = leaves.add(Leaf { of: leaf(LeafKind::Sum), input: input.clone() });
        let count = leaves.add(Leaf { of: leaf(LeafKind::Count), input });
        let divide = self.planning.functions.needed_scalar("pg_avg_of").map_err(internal)?;
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(divide, vec![sum, count])))
    }

    /// The values that a measure aggregates: its SQL, or its key for a plain count, where its filters hold.
    fn leaf_input(&mut self, role: &Role<'a>, measure: &'a Measure, extra: Option<Expr>) -> Result<Expr> {
        let value = match &measure.sql {
            Some(template) => self.row_value(role, template, false, 0)?,
            None => self.key_presence(role)?,
        };
        let value = match measure.kind {
            MeasureKind::CountDistinctApprox => {
                Expr::ScalarFunction(ScalarFunction::new_udf(belvedere_functions::sketch::sketch_key(), vec![value]))
            }
            MeasureKind::Count
            | MeasureKind::CountDistinct
            | MeasureKind::Sum
            | MeasureKind::Avg
            | MeasureKind::Min
            | MeasureKind::Max
            | MeasureKind::Number
            | MeasureKind::String
            | MeasureKind::Time
            | MeasureKind::Boolean
            | MeasureKind::NumberAgg
            | MeasureKind::Rank
            | MeasureKind::RunningTotal => value,
        };
        let mut condition: Option<Expr> = extra;
        for filter in &measure.filters {
            let holds = self.row_value(role, filter, true, 0)?;
            condition = Some(both(condition, holds));
        }
        Ok(where_holds(value, condition))
    }

    /// The primary key where it is one dimension; else a column that is there on every row.
    fn key_presence(&mut self, role: &Role<'a>) -> Result<Expr> {
        let keys: Vec<&Dimension> = role.cube.primary_key().collect();
        match keys.as_slice() {
            [only] => self.stored_dimension(role, only, 0),
            _ => Ok(self.presence(&role.node)),
        }
    }

    /// `case: {switch: …}` of a calculated measure: one of several expressions over measures.
    fn case_of_measures(
        &mut self,
        scope: &Scope<'a>,
        measure: &'a Measure,
        case: &'a CaseSwitch,
        extra: Option<&ExtraFilter>,
        leaves: &mut Leaves,
        depth: usize,
    ) -> Result<Expr> {
        let name = &measure.naming.name;
        if !is_calculated(measure.kind) {
            return Err(not_yet(scope.name(), name, "case on a measure that aggregates"));
        }
        if !measure.filters.is_empty() {
            return Err(not_yet(scope.name(), name, "filters on a measure with case"));
        }
        let switched = self.role(&scope.path_of(self.model(), &case.switch))?.cube.dimensions.get(&case.switch.member);
        if !switched.is_some_and(|dimension| matches!(dimension.value, DimensionValue::Switch { .. })) {
            return Err(PlanError::unsupported(format!(
                "the case of measure \"{}.{name}\" is over \"{}\", which is not of type switch",
                scope.name(),
                case.switch.member
            )));
        }
        let switch = self.referenced(scope, &case.switch, depth)?;
        let mut branches = Vec::with_capacity(case.whens.len());
        for (value, template) in &case.whens {
            branches.push((
                value.as_str(),
                self.calculated(scope, (name, LeafOrigin::Raw), template, extra, leaves, depth)?,
            ));
        }
        let otherwise = case.otherwise.as_ref();
        let otherwise = otherwise
            .map(|sql| self.calculated(scope, (name, LeafOrigin::Raw), sql, extra, leaves, depth))
            .transpose()?;
        let schema = self.leaf_schema(leaves)?;
        self.case_of_switch(switch, branches, otherwise, &schema)
    }

    /// SQL of the measure `name` over measures and raw aggregates, whose leaves are of `origin`: its own, or that of its mask, which is another
    /// calculated measure with aggregates of its own.
    pub(crate) fn calculated(
        &mut self,
        scope: &Scope<'a>,
        (name, origin): (&'a str, fn(usize) -> LeafOrigin),
        template: &'a SqlTemplate,
        extra: Option<&ExtraFilter>,
        leaves: &mut Leaves,
        depth: usize,
    ) -> Result<Expr> {
        let marked = Marked::new(template);
        let dialect = self.scope_dialect(scope, &marked)?;
        let (text, raw) = cut_aggregates(&marked, dialect)?;
        let mut ast = parse_member(&text, dialect, scope.name())?;
        let sql = CalculatedSql { scope, extra, measure: name, origin, marked: &marked, raw: &raw };
        let values = name_values(&mut ast, &mut |idents| self.calculated_value(sql, idents, leaves, depth))?;
        bind_over(ast, &values, &self.leaf_schema(leaves)?, dialect, self.planning).map_err(|mut error| {
            error.message = format!("measure \"{}.{name}\": {}", scope.name(), error.message);
            error.place = None;
            error
        })
    }

    fn calculated_value(
        &mut self,
        sql: CalculatedSql<'a, '_>,
        idents: &[String],
        leaves: &mut Leaves,
        depth: usize,
    ) -> Result<Expr> {
        let CalculatedSql { scope, extra, measure, origin, marked, raw } = sql;
        let outside = || {
            PlanError::unsupported(format!(
                "measure \"{}.{measure}\" uses a row's value outside an aggregate",
                scope.name()
            ))
            .hint("Refer to measures, or put the column into sum(…), count(…), avg(…), min(…) or max(…).")
        };
        let [only] = idents else { return Err(outside()) };
        if let Some(index) = only.strip_prefix("__a").and_then(|digits| digits.parse::<usize>().ok())
            && let Some(aggregate) = raw.get(index)
        {
            let Scope::Cube(role) = scope else { return Err(aggregates_in_view(scope, measure)) };
            return self.raw_leaf(role, measure, (origin(index), aggregate), extra, leaves);
        }
        let Some(TemplatePart::Member(reference)) = marked.reference(only).cloned() else { return Err(outside()) };
        if let Some(view) = self.model().views.get(reference.cube()) {
            let Some(ViewMemberValue::OwnMeasure(inner)) =
                view.members.get(&reference.member).map(|member| &member.value)
            else {
                return Err(outside());
            };
            return self.measure(&Scope::View(view), inner, extra, leaves, depth + 1);
        }
        let owner = self.role(&scope.path_of(self.model(), &reference))?;
        match owner.cube.measures.get(&reference.member) {
            Some(inner) => self.measure(&Scope::Cube(owner), inner, extra, leaves, depth + 1),
            None => Err(outside()),
        }
    }

    fn raw_leaf(
        &mut self,
        role: &Role<'a>,
        measure: &str,
        (origin, raw): (LeafOrigin, &RawAggregate),
        extra: Option<&ExtraFilter>,
        leaves: &mut Leaves,
    ) -> Result<Expr> {
        let condition = self.condition_within(extra.map(|extra| extra.over_rows.clone()))?;
        let input = where_holds(self.raw_input(role, measure, raw)?, condition);
        let kind = match raw.function {
            RawFunction::Avg => return self.average(&role.path, measure, origin, extra, input, leaves),
            RawFunction::Count if raw.distinct => LeafKind::CountDistinct,
            RawFunction::Count => LeafKind::Count,
            RawFunction::Sum => LeafKind::Sum,
            RawFunction::Min => LeafKind::Min,
            RawFunction::Max => LeafKind::Max,
        };
        let of = LegLeaf {
            kind,
            path: role.path.clone(),
            measure: measure.to_owned(),
            origin,
            filter: extra.map(|extra| extra.asked.clone()),
            within: self.within.clone(),
        };
        Ok(leaves.add(Leaf { of, input }))
    }

    fn raw_input(&mut self, role: &Role<'a>, measure: &str, raw: &RawAggregate) -> Result<Expr> {
        if raw.distinct && !matches!(raw.function, RawFunction::Count | RawFunction::Min | RawFunction::Max) {
            return Err(not_yet(role.name(), measure, "a DISTINCT aggregate other than count"));
        }
        let Some(template) = &raw.argument else { return Ok(self.presence(&role.node)) };
        self.row_value(role, template, false, 0)
    }

    /// The aggregate of a leaf over the joined rows.
    ///
    /// # Errors
    /// Our own contradiction, when an aggregate is not registered.
    pub fn leaf_aggregate(&self, kind: LeafKind, input: Expr) -> Result<Expr> {
        let (name, distinct) = match kind {
            LeafKind::Count => ("count", false),
            LeafKind::CountDistinct => ("count", true),
            LeafKind::CountDistinctApprox => {
                return Ok(aggregate_call(belvedere_functions::sketch::count_distinct_approx(), input));
            }
            LeafKind::Sketch => return Ok(aggregate_call(belvedere_functions::sketch::sketch_of_keys(), input)),
            LeafKind::Set => return Ok(aggregate_call(belvedere_functions::sets::set_of_values(), input)),
            LeafKind::Sum => ("sum", false),
            LeafKind::Min => ("min", false),
            LeafKind::Max => ("max", false),
        };
        let function = self.planning.functions.needed_aggregate(name).map_err(internal)?;
        Ok(Expr::AggregateFunction(AggregateFunction::new_udf(function, vec![input], distinct, None, vec![], None)))
    }

    /// The leaves as columns, typed.
    pub(crate) fn leaf_schema(&self, leaves: &Leaves) -> Result<DFSchema> {
        let rows = self.schema()?;
        let fields = leaves
            .leaves
            .iter()
            .enumerate()
            .map(|(index, leaf)| {
                let aggregate = self.leaf_aggregate(leaf.of.kind, leaf.input.clone())?;
                let data_type = aggregate.get_type(&rows).map_err(internal)?;
                Ok(Field::new(leaf_name(index), data_type, true))
            })
            .chain(
                leaves
                    .stages
                    .iter()
                    .enumerate()
                    .map(|(index, stage)| Ok(stage.field.clone().with_name(stage_name(index)).with_nullable(true))),
            )
            .collect::<Result<Vec<_>>>()?;
        DFSchema::try_from(arrow::datatypes::Schema::new(fields)).map_err(internal)
    }

    /// The type of an expression over leaves.
    ///
    /// # Errors
    /// XX000 for our own contradictions.
    pub fn measure_type(&self, value: &Expr, leaves: &Leaves) -> Result<DataType> {
        value.get_type(&self.leaf_schema(leaves)?).map_err(internal)
    }

    /// A measure on one row, as if the row were its own group (reference AG7); `None` where that has no meaning.
    ///
    /// # Errors
    /// As [`JoinedRows::member_measure`].
    pub fn measure_of_row(&mut self, column: &MemberColumn) -> Result<Expr> {
        let mut leaves = Leaves::default();
        let over_leaves = self.member_measure(column, None, &mut leaves)?;
        self.on_row(over_leaves, &leaves)
    }

    /// An expression over leaves on one row.
    pub(super) fn on_row(&self, over_leaves: Expr, leaves: &Leaves) -> Result<Expr> {
        if let Some(stage) = leaves.stages.first() {
            return Err(PlanError::unsupported(format!(
                "the measure \"{}\" has no value on a single row: it is computed over groups",
                stage.member
            ))
            .hint("Group the query, as in SELECT …, MEASURE(…) … GROUP BY …"));
        }
        let rows = self.schema()?;
        let mut values = HashMap::new();
        for (index, leaf) in leaves.leaves.iter().enumerate() {
            let wanted = self.leaf_aggregate(leaf.of.kind, leaf.input.clone())?.get_type(&rows).map_err(internal)?;
            let value = match leaf.of.kind {
                LeafKind::Count | LeafKind::CountDistinct | LeafKind::CountDistinctApprox => Expr::Case(Case::new(
                    None,
                    vec![(
                        Box::new(Expr::IsNotNull(Box::new(leaf.input.clone()))),
                        Box::new(lit(ScalarValue::Int64(Some(1)))),
                    )],
                    Some(Box::new(lit(ScalarValue::Int64(Some(0))))),
                )),
                LeafKind::Sum | LeafKind::Min | LeafKind::Max | LeafKind::Sketch | LeafKind::Set => {
                    let found = leaf.input.get_type(&rows).map_err(internal)?;
                    if found == wanted { leaf.input.clone() } else { datafusion_expr::cast(leaf.input.clone(), wanted) }
                }
            };
            values.insert(leaf_name(index), value);
        }
        substitute(over_leaves, &values)
    }
}

/// An aggregate of one argument.
pub(crate) fn aggregate_call(function: Arc<AggregateUDF>, input: Expr) -> Expr {
    Expr::AggregateFunction(AggregateFunction::new_udf(function, vec![input], false, None, vec![], None))
}

/// The SQL of a calculated measure: whose it is, where it was reached, and its parts.
#[derive(Clone, Copy)]
struct CalculatedSql<'a, 's> {
    scope: &'s Scope<'a>,
    extra: Option<&'s ExtraFilter>,
    measure: &'s str,
    /// Of the leaves of its raw aggregates, by position.
    origin: fn(usize) -> LeafOrigin,
    marked: &'s Marked,
    raw: &'s [RawAggregate],
}

fn both(condition: Option<Expr>, holds: Expr) -> Expr {
    match condition {
        None => holds,
        Some(before) => before.and(holds),
    }
}

/// A value where a condition holds, else NULL.
fn where_holds(value: Expr, condition: Option<Expr>) -> Expr {
    match condition {
        None => value,
        Some(condition) => Expr::Case(Case::new(None, vec![(Box::new(condition), Box::new(value))], None)),
    }
}

fn aggregates_in_view(scope: &Scope<'_>, measure: &str) -> PlanError {
    PlanError::unsupported(format!("measure \"{measure}\" of view \"{}\" aggregates rows itself", scope.name()))
        .hint("Define the aggregate in a cube, and calculate with it here.")
}

/// A raw aggregate in the SQL of a calculated measure.
#[derive(Debug)]
struct RawAggregate {
    function: RawFunction,
    distinct: bool,
    /// `None` for `count(*)`.
    argument: Option<SqlTemplate>,
}

#[derive(Debug, Clone, Copy)]
enum RawFunction {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

/// Replaces `sum(…)` and its like by the identifiers `__a0`, `__a1`, …, and gives what stood there.
fn cut_aggregates(marked: &Marked, dialect: SourceDialect) -> Result<(String, Vec<RawAggregate>)> {
    let tokens = marked.tokens(dialect)?;
    let mut text = String::new();
    let mut copied = 0;
    let mut raw = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (token, range) = &tokens[at];
        let function = match token {
            Token::Word(word) if word.quote_style.is_none() => match word.value.to_lowercase().as_str() {
                "count" => Some(RawFunction::Count),
                "sum" => Some(RawFunction::Sum),
                "avg" => Some(RawFunction::Avg),
                "min" => Some(RawFunction::Min),
                "max" => Some(RawFunction::Max),
                _ => None,
            },
            _ => None,
        };
        let (Some(function), Some((Token::LParen, open))) = (function, tokens.get(at + 1)) else {
            at += 1;
            continue;
        };
        let mut depth = 0_i32;
        let close = tokens[at + 1..].iter().position(|(token, _)| {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let Some(close) = close.map(|offset| at + 1 + offset) else {
            return Err(PlanError::syntax("a bracket is not closed in a measure's SQL"));
        };
        let mut inner_start = open.end;
        let mut first = at + 2;
        let distinct = matches!(&tokens[first].0, Token::Word(word) if word.keyword == Keyword::DISTINCT);
        if distinct {
            inner_start = tokens[first].1.end;
            first += 1;
        }
        let star = first + 1 == close && tokens[first].0 == Token::Mul;
        let argument = (!star).then(|| marked.slice(inner_start..tokens[close].1.start));
        text.push_str(&marked.text[copied..range.start]);
        text.push_str(&format!("__a{}", raw.len()));
        copied = tokens[close].1.end;
        raw.push(RawAggregate { function, distinct, argument });
        at = close + 1;
    }
    text.push_str(&marked.text[copied..]);
    Ok((text, raw))
}
