//! Measures that are the answer to a question of their own: what their SQL asks of the stage below, and its value over that answer.
//!
//! A multi-stage measure (reference 1.9) reads other measures, and dimensions of its grain; a rolling window (1.8) is a plain measure over
//! other rows. Both stand beside leaves in the expressions of calculated measures, as columns that
//! `expand::stages` computes.

use arrow::datatypes::Field;
use belvedere_model::{
    Measure, MeasureKind, MemberKind, MemberRef, MultiStage, SortDirection, SqlTemplate, TemplatePart, ViewMemberValue,
};
use datafusion_common::DFSchema;
use datafusion_expr::{Expr, ExprSchemable};

use crate::bind;
use crate::catalog::MemberColumn;
use crate::error::{PlanError, Result};
use crate::members::{self, Marked, REFERENCE_DEPTH_MAX};
use crate::nodes::fact_leg::LeafKind;

use super::calculated::Leaves;
use super::joined_rows::{JoinedRows, Scope, internal, missing, not_yet};
use super::member_sql::{parse_member, replace_identifiers};

/// The SQL of a multi-stage measure over the stage below.
#[derive(Debug, Clone)]
pub struct StageSql {
    /// What it reads: measures of the stage below, and dimensions of its grain. Expressions have them as [`input_name`]s.
    pub inputs: Vec<MemberColumn>,
    /// `None` for a rank.
    pub value: Option<Expr>,
    pub order_by: Vec<(Expr, SortDirection)>,
}

/// The column of an input of a stage.
#[must_use]
pub fn input_name(index: usize) -> String {
    format!("v{index}")
}

/// Whether the grain, the filters and the time of the stage below are those of the query.
#[must_use]
pub fn keeps_the_question(stage: &MultiStage) -> bool {
    stage.keep_only.is_none()
        && stage.exclude.is_none()
        && stage.include.is_none()
        && stage.time_shifts.is_empty()
        && stage.filter.is_none()
}

/// Whether a measure is computed above its inputs, row by row of the answer.
#[must_use]
pub fn is_calculated(kind: MeasureKind) -> bool {
    match kind {
        MeasureKind::Number | MeasureKind::String | MeasureKind::Time | MeasureKind::Boolean => true,
        MeasureKind::Count
        | MeasureKind::CountDistinct
        | MeasureKind::CountDistinctApprox
        | MeasureKind::Sum
        | MeasureKind::Avg
        | MeasureKind::Min
        | MeasureKind::Max
        | MeasureKind::NumberAgg
        | MeasureKind::Rank
        | MeasureKind::RunningTotal => false,
    }
}

/// The leaf that aggregates values of the stage below.
#[must_use]
pub fn stage_leaf(kind: MeasureKind) -> Option<LeafKind> {
    match kind {
        MeasureKind::Count => Some(LeafKind::Count),
        MeasureKind::CountDistinct => Some(LeafKind::CountDistinct),
        MeasureKind::Sum | MeasureKind::RunningTotal => Some(LeafKind::Sum),
        MeasureKind::Min => Some(LeafKind::Min),
        MeasureKind::Max => Some(LeafKind::Max),
        MeasureKind::Avg
        | MeasureKind::CountDistinctApprox
        | MeasureKind::Number
        | MeasureKind::String
        | MeasureKind::Time
        | MeasureKind::Boolean
        | MeasureKind::NumberAgg
        | MeasureKind::Rank => None,
    }
}

impl<'a> JoinedRows<'a> {
    /// Whether a measure needs a question of its own. A calculated one that changes nothing about the question does not: a ratio of two
    /// facts is computed above their legs (reference MF15).
    pub(super) fn is_staged(&self, scope: &Scope<'a>, measure: &Measure) -> Result<bool> {
        if measure.details.rolling_window.is_some() {
            return Ok(true);
        }
        let Some(stage) = &measure.details.multi_stage else { return Ok(false) };
        if !keeps_the_question(stage) || !is_calculated(measure.kind) {
            return Ok(true);
        }
        for part in measure.sql.iter().flat_map(|sql| &sql.parts) {
            let TemplatePart::Member(reference) = part else { continue };
            if self.kind_of(scope, reference)? != MemberKind::Measure {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn kind_of(&self, scope: &Scope<'a>, reference: &MemberRef) -> Result<MemberKind> {
        if let Some(view) = self.model().views.get(reference.cube()) {
            return match view.members.get(&reference.member).map(|member| &member.value) {
                Some(ViewMemberValue::OwnDimension(_)) => Ok(MemberKind::Dimension),
                Some(ViewMemberValue::OwnMeasure(_)) => Ok(MemberKind::Measure),
                Some(ViewMemberValue::Included { .. }) | None => Err(missing(scope.name(), &reference.member)),
            };
        }
        let owner = self.cube(reference.cube())?;
        if owner.measures.contains_key(&reference.member) {
            Ok(MemberKind::Measure)
        } else if owner.segments.contains_key(&reference.member) {
            Ok(MemberKind::Segment)
        } else {
            Ok(MemberKind::Dimension)
        }
    }

    /// A staged measure as a column, with the type of its value.
    pub(super) fn stage_column(
        &mut self,
        scope: &Scope<'a>,
        measure: &'a Measure,
        depth: usize,
    ) -> Result<MemberColumn> {
        if depth > REFERENCE_DEPTH_MAX {
            return Err(PlanError::new("54001", "measures refer to measures too deeply"));
        }
        let name = &measure.naming.name;
        let data_type = if measure.details.rolling_window.is_some() {
            let mut leaves = Leaves::default();
            let value = self.windowless(scope, measure, &mut leaves, depth)?;
            self.measure_type(&value, &leaves)?
        } else {
            let sql = self.stage_sql(scope, measure, depth)?;
            let schema = input_schema(&sql.inputs)?;
            match (sql.value, measure.kind) {
                (None, _) => arrow::datatypes::DataType::Int64,
                (Some(value), MeasureKind::Avg) => self.average_of(value)?.get_type(&schema).map_err(internal)?,
                (Some(value), kind) => match stage_leaf(kind) {
                    Some(leaf) => self.leaf_aggregate(leaf, value)?.get_type(&schema).map_err(internal)?,
                    None => value.get_type(&schema).map_err(internal)?,
                },
            }
        };
        let (path, view) = match scope {
            Scope::Cube(role) => (role.path.clone(), None),
            Scope::View(view) => (Vec::new(), Some(view.naming.name.clone())),
        };
        Ok(MemberColumn {
            kind: MemberKind::Measure,
            path,
            member: name.clone(),
            view,
            values_of: None,
            field: Field::new(name, data_type, true),
            mask: None,
        })
    }

    /// `avg` of the values of the stage below, as of rows.
    pub(crate) fn average_of(&self, value: Expr) -> Result<Expr> {
        let average = self.planning.functions.needed_aggregate("avg").map_err(internal)?;
        Ok(Expr::AggregateFunction(datafusion_expr::expr::AggregateFunction::new_udf(
            average,
            vec![value],
            false,
            None,
            vec![],
            None,
        )))
    }

    /// A rolling measure's value over the rows of its window, as an expression over leaves.
    ///
    /// # Errors
    /// 0A000 where the window stands over another stage.
    pub(crate) fn windowless_of(&mut self, stage: &MemberColumn, leaves: &mut Leaves) -> Result<Expr> {
        let scope = self.scope_of(stage)?;
        let measure = stage.measure(self.model()).ok_or_else(|| missing(scope.name(), &stage.member))?;
        self.windowless(&scope, measure, leaves, 0)
    }

    /// What a staged measure is made of: leaves that it aggregates over other rows, and measures that it asks.
    ///
    /// # Errors
    /// As [`JoinedRows::member_measure`].
    pub(crate) fn stage_reads(&mut self, stage: &MemberColumn) -> Result<(Leaves, Vec<MemberColumn>)> {
        let mut leaves = Leaves::default();
        let is_rolling = stage.measure(self.model()).is_some_and(|measure| measure.details.rolling_window.is_some());
        if is_rolling {
            self.windowless_of(stage, &mut leaves)?;
            return Ok((leaves, Vec::new()));
        }
        let mut inputs = self.stage_sql_of(stage)?.inputs;
        inputs.retain(|input| input.kind == MemberKind::Measure);
        Ok((leaves, inputs))
    }

    fn windowless(
        &mut self,
        scope: &Scope<'a>,
        measure: &'a Measure,
        leaves: &mut Leaves,
        depth: usize,
    ) -> Result<Expr> {
        let name = &measure.naming.name;
        let refused = |what: &str| {
            PlanError::unsupported(format!("\"{}.{name}\" has a rolling window {what}", scope.name()))
                .hint("Give the window to the measure below, and write a multi-stage measure over that.")
        };
        let value = match &measure.details.multi_stage {
            None => self.plain_measure(scope, measure, None, leaves, depth)?,
            Some(stage) if !keeps_the_question(stage) => {
                return Err(refused("and changes the grain, the filters or the time of its query"));
            }
            Some(_) if is_calculated(measure.kind) => self.plain_measure(scope, measure, None, leaves, depth)?,
            Some(_) => {
                // `type: sum, sql: "{revenue}"`: the sum over more rows is the measure itself over them.
                let reference = measure.sql.as_ref().and_then(members::sole_reference);
                let input = reference.map(|reference| self.stage_input(scope, reference, depth)).transpose()?;
                let inner = input.as_ref().and_then(|input| Some((input, input.measure(self.model())?)));
                match inner {
                    Some((input, inner)) if adds_up(measure.kind, inner.kind) => {
                        let inner_scope = self.scope_of(input)?;
                        self.measure(&inner_scope, inner, None, leaves, depth + 1)?
                    }
                    _ => return Err(refused("over measures that its type does not add up")),
                }
            }
        };
        if leaves.stages.is_empty() { Ok(value) } else { Err(refused("over a multi-stage or rolling measure")) }
    }

    /// The SQL of a multi-stage measure.
    ///
    /// # Errors
    /// 0A000 where it uses anything but members; those of binding.
    pub(crate) fn stage_sql_of(&mut self, stage: &MemberColumn) -> Result<StageSql> {
        let scope = self.scope_of(stage)?;
        let measure = stage.measure(self.model()).ok_or_else(|| missing(scope.name(), &stage.member))?;
        self.stage_sql(&scope, measure, 0)
    }

    fn stage_sql(&mut self, scope: &Scope<'a>, measure: &'a Measure, depth: usize) -> Result<StageSql> {
        let name = &measure.naming.name;
        if measure.kind == MeasureKind::CountDistinctApprox {
            return Err(not_yet(scope.name(), name, "an approximate distinct count of another stage"));
        }
        if !measure.filters.is_empty() {
            return Err(not_yet(scope.name(), name, "filters on a multi-stage measure"));
        }
        let stage = measure.details.multi_stage.as_ref();
        let mut inputs = Vec::new();
        let mut bound = |rows: &mut Self, template: &SqlTemplate| {
            rows.over_stage(scope, template, &mut inputs, depth).map_err(|mut error| {
                error.message = format!("measure \"{}.{name}\": {}", scope.name(), error.message);
                error.place = None;
                error
            })
        };
        let value = match (&measure.sql, measure.kind) {
            (_, MeasureKind::Rank) => None,
            (Some(sql), _) => Some(bound(self, sql)?),
            (None, _) => return Err(not_yet(scope.name(), name, "a multi-stage count without sql")),
        };
        let mut order_by = Vec::new();
        for (sql, direction) in stage.into_iter().flat_map(|stage| &stage.order_by) {
            order_by.push((bound(self, sql)?, *direction));
        }
        if measure.kind == MeasureKind::Rank && order_by.is_empty() {
            return Err(not_yet(scope.name(), name, "a rank without order_by"));
        }
        Ok(StageSql { inputs, value, order_by })
    }

    /// A template over members as an expression over the columns of inputs.
    fn over_stage(
        &mut self,
        scope: &Scope<'a>,
        template: &SqlTemplate,
        inputs: &mut Vec<MemberColumn>,
        depth: usize,
    ) -> Result<Expr> {
        let marked = Marked::new(template);
        let dialect = self.scope_dialect(scope, &marked)?;
        let mut ast = parse_member(&marked.text, dialect, scope.name())?;
        let mut failure = None;
        replace_identifiers(&mut ast, &mut |idents| {
            let reference = match idents {
                [only] => marked.reference(only).cloned(),
                _ => None,
            };
            let input = match reference {
                Some(TemplatePart::Member(reference)) => self.stage_input(scope, &reference, depth),
                _ => Err(PlanError::unsupported(format!("\"{}\" is no member", idents.join(".")))
                    .detail(
                        "A multi-stage measure reads the answer of another question, which has no columns of tables.",
                    )
                    .hint("Refer to members, as in {measure} or {cube.measure}.")),
            };
            match input {
                Ok(input) => {
                    let index = inputs.iter().position(|known| *known == input).unwrap_or_else(|| {
                        inputs.push(input);
                        inputs.len() - 1
                    });
                    input_name(index)
                }
                Err(error) => {
                    failure = failure.take().or(Some(error));
                    input_name(0)
                }
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        let schema = input_schema(inputs)?;
        let planning = self.planning;
        bind::bind_expr(ast, &schema, planning.catalog, planning.functions, planning.session, dialect)
    }

    /// A member that a multi-stage measure names, with its type.
    pub(crate) fn stage_input(
        &mut self,
        scope: &Scope<'a>,
        reference: &MemberRef,
        depth: usize,
    ) -> Result<MemberColumn> {
        if let Some(granularity) = &reference.granularity {
            return Err(PlanError::unsupported(format!(
                "the reference {{{}.{}.{granularity}}} is not supported yet",
                reference.cube(),
                reference.member
            )));
        }
        let kind = self.kind_of(scope, reference)?;
        let (path, view) = match self.model().views.contains_key(reference.cube()) {
            true => (Vec::new(), Some(reference.cube().to_owned())),
            false => (scope.path_of(self.model(), reference), None),
        };
        let mut column = MemberColumn {
            kind,
            path,
            member: reference.member.clone(),
            view,
            values_of: None,
            field: Field::new(&reference.member, arrow::datatypes::DataType::Boolean, true),
            mask: None,
        };
        let data_type = match kind {
            MemberKind::Segment => return Ok(column),
            MemberKind::Dimension => {
                let value = self.row_member(&column)?;
                self.type_of(&value)?
            }
            MemberKind::Measure => {
                let mut leaves = Leaves::default();
                let scope = self.scope_of(&column)?;
                let measure = column.measure(self.model()).ok_or_else(|| missing(scope.name(), &column.member))?;
                let value = self.measure(&scope, measure, None, &mut leaves, depth + 1)?;
                self.measure_type(&value, &leaves)?
            }
        };
        column.field = column.field.with_data_type(data_type);
        Ok(column)
    }

    /// A member that a column's `group_by`, `filter` and the like name.
    pub(crate) fn named_by(&mut self, stage: &MemberColumn, reference: &MemberRef) -> Result<MemberColumn> {
        let scope = self.scope_of(stage)?;
        self.stage_input(&scope, reference, 0)
    }
}

/// Whether a measure over more rows is what a stage of type `outer` makes of it over fewer.
fn adds_up(outer: MeasureKind, inner: MeasureKind) -> bool {
    match outer {
        MeasureKind::Sum | MeasureKind::RunningTotal => matches!(inner, MeasureKind::Sum | MeasureKind::Count),
        MeasureKind::Min => inner == MeasureKind::Min,
        MeasureKind::Max => inner == MeasureKind::Max,
        MeasureKind::Count
        | MeasureKind::CountDistinct
        | MeasureKind::CountDistinctApprox
        | MeasureKind::Avg
        | MeasureKind::Number
        | MeasureKind::String
        | MeasureKind::Time
        | MeasureKind::Boolean
        | MeasureKind::NumberAgg
        | MeasureKind::Rank => false,
    }
}

/// The inputs as columns.
pub(crate) fn input_schema(inputs: &[MemberColumn]) -> Result<DFSchema> {
    let fields: Vec<Field> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| input.field.clone().with_name(input_name(index)).with_nullable(true))
        .collect();
    DFSchema::try_from(arrow::datatypes::Schema::new(fields)).map_err(internal)
}
