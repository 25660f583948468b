//! What access policies do to rows: filters above each cube's scan and above joined rows, and masks in the place of values.
//!
//! A cube's row filter stands directly above its scan, in every leg and whatever joins it: the same as if the table held only the rows
//! that may be seen, so that a LEFT JOIN to it stays one. It would be wrong above the join: customers without a visible order would be
//! gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use belvedere_functions::Zone;
use belvedere_model::{DimensionKind, Mask, MeasureKind, MemberKind, Model};
use datafusion_common::{Column, NullEquality, ScalarValue, TableReference};
use datafusion_expr::{Case, Expr, Join, JoinConstraint, JoinType, LogicalPlan, LogicalPlanBuilder, lit};

use crate::bind::operators;
use crate::catalog::MemberColumn;
use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::{JoinTree, choose_join_tree, cube_of};
use crate::expand::hints::Hints;
use crate::members;
use crate::nodes::fact_leg::{HiddenRows, LeafOrigin};
use crate::nodes::row_barrier::RowBarrier;
use crate::policy::condition::Condition;
use crate::policy::grants::Rows;
use crate::policy::{Guard, MaskKind, Restrictions};

use super::calculated::{ExtraFilter, Leaves};
use super::joined_rows::{JoinedRows, Scope, internal};

impl JoinedRows<'_> {
    /// The joined rows that a query may read: see [`JoinedRows::build`].
    ///
    /// # Errors
    /// As [`JoinedRows::build`], and what a filter of the model says that cannot be done.
    pub fn build_guarded(mut self, restrictions: &Restrictions) -> Result<LogicalPlan> {
        self.asked = Arc::clone(&restrictions.asked);
        let mut policies = Vec::new();
        let mut defaults = Vec::new();
        let mut closes = false;
        for Guard { condition, zone, is_policy } in &restrictions.guards {
            let holds = self.condition(condition, *zone)?;
            if *is_policy {
                closes |= *condition != Condition::Never;
                policies.push(holds);
            } else {
                defaults.push(holds);
            }
        }
        let mut plan = filtered(self.build()?, policies)?;
        if closes {
            plan = RowBarrier::above(plan);
        }
        filtered(plan, defaults)
    }

    /// The scan at a node with the rows that the user may see, and the measures that its sub-query dimensions have on them.
    pub(super) fn guarded_scan(&mut self, node: &str) -> Result<LogicalPlan> {
        let keys = self.sub_query_key(node)?;
        let rows = self.visible_rows(node)?;
        self.with_measures(rows, node, &keys)
    }

    fn visible_rows(&mut self, node: &str) -> Result<LogicalPlan> {
        let cube = self.cube(cube_of(node))?;
        let nothing = BTreeSet::new();
        let rows = match self.planning.is_trusted {
            true => Rows::All,
            false => {
                let asked = self.asked.get(&cube.naming.name).unwrap_or(&nothing);
                self.planning.catalog.policies.rows(cube, asked)?
            }
        };
        match rows {
            // What its own SQL lets through for this user is as good as a policy's.
            Rows::All if members::reads_context(self.model(), cube) => Ok(RowBarrier::above(self.scan(node)?)),
            Rows::All => self.scan(node),
            // Without a row there is nothing to keep anything from.
            Rows::Where(Condition::Never) => filtered(self.scan(node)?, vec![lit(false)]),
            Rows::Where(condition) => self.scan_where(node, &condition),
        }
    }

    /// Reads on its own what the filter tests: all rows of the cubes that it reaches, whatever their policies are, because it is the
    /// model's author who compares with them.
    fn scan_where(&mut self, node: &str, condition: &Condition) -> Result<LogicalPlan> {
        let name = cube_of(node);
        let mut hints = Hints::new(self.model());
        hints.add(vec![name.to_owned()]);
        hints.condition(condition)?;
        let tree = choose_join_tree(self.model(), &hints.paths)?;
        if tree.root != name {
            return Err(PlanError::unsupported(format!(
                "the row filter of cube \"{name}\" reads other cubes in a way that is not supported"
            ))
            .detail("It may read cubes that joins lead to from this one."));
        }
        let meets_several = tree.multiplies(self.model(), name);
        let mut inner =
            JoinedRows::new(self.planning.trusted(), if meets_several { JoinTree::of(name) } else { tree.clone() });
        inner.conditions.clone_from(&self.conditions);
        inner.take_columns(self, node);
        let wanted = inner.columns_of(name);
        let plan = if meets_several {
            self.rows_with_a_match(inner, tree, condition)?
        } else {
            let holds = inner.condition(condition, self.planning.catalog.policies.zone())?;
            filtered(inner.build()?, vec![holds])?
        };
        let columns = wanted.into_iter().map(|column| {
            let value = Expr::Column(Column::new(Some(TableReference::bare(name)), column.clone()));
            value.alias_qualified(Some(TableReference::bare(node)), column)
        });
        let plan =
            LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build).map_err(internal)?;
        Ok(RowBarrier::above(plan))
    }

    /// The rows of a tree's root that meet one row, of those that are joined to them, for which the condition holds: each once.
    ///
    /// Conditions of the query are not put into the SQL of cubes here: the row that lets another one pass need not be one that is asked for.
    fn rows_with_a_match(
        &self,
        mut rows: JoinedRows<'_>,
        tree: JoinTree,
        condition: &Condition,
    ) -> Result<LogicalPlan> {
        let name = tree.root.clone();
        let zone = rows.planning.catalog.policies.zone();
        let cube = rows.cube(&name)?;
        if cube.primary_key().next().is_none() {
            return Err(PlanError::unsupported(format!(
                "the row filter of cube \"{name}\" reads a cube of which a row may have several, and \"{name}\" has no primary key"
            ))
            .detail("A row passes where one of them does, and is told apart from others by its key."));
        }
        let mut joined = JoinedRows::new(rows.planning, tree);
        let keys = rows.primary_key(&name)?;
        joined.names_after(&rows);
        let passing = joined.primary_key(&name)?;
        let holds = joined.condition(condition, zone)?;
        let relation = TableReference::bare(format!("{name}:passing"));
        let named = |index: usize| format!("p{index}");
        let columns = passing
            .into_iter()
            .enumerate()
            .map(|(index, key)| key.alias_qualified(Some(relation.clone()), named(index)));
        let right = LogicalPlanBuilder::from(filtered(joined.build()?, vec![holds])?)
            .project(columns)
            .and_then(LogicalPlanBuilder::build)
            .map_err(internal)?;
        let on = keys
            .into_iter()
            .enumerate()
            .map(|(index, key)| (key, Expr::Column(Column::new(Some(relation.clone()), named(index)))));
        let on: Vec<(Expr, Expr)> = on.collect();
        let join = Join::try_new(
            Arc::new(rows.build()?),
            Arc::new(right),
            on,
            None,
            JoinType::LeftSemi,
            JoinConstraint::On,
            NullEquality::NullEqualsNothing,
            false,
        );
        Ok(LogicalPlan::Join(join.map_err(internal)?))
    }

    /// A masked member's value on a row.
    ///
    /// # Errors
    /// 0A000 for a mask that is not of the member's type.
    pub(super) fn masked_row_member(&mut self, column: &MemberColumn, shown_where: Option<&Condition>) -> Result<Expr> {
        let Some(condition) = shown_where else {
            return self.mask(column, &column.field.data_type().clone());
        };
        let own = MemberColumn { mask: None, ..column.clone() };
        let value = self.row_member(&own)?;
        let data_type = self.type_of(&value)?;
        let holds = self.condition(condition, self.planning.catalog.policies.zone())?;
        let mask = self.mask(column, &data_type)?;
        Ok(Expr::Case(Case::new(None, vec![(Box::new(holds), Box::new(value))], Some(Box::new(mask)))))
    }

    fn mask(&mut self, column: &MemberColumn, data_type: &DataType) -> Result<Expr> {
        let model = self.model();
        let name = &column.member;
        match column.mask_of(model) {
            None => literal_mask(self.planning.catalog.policies.default_mask(kind_of(column, model)), data_type, name),
            Some(Mask::Literal(value)) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                literal_mask((!value.is_null()).then_some(text.as_str()), data_type, name)
            }
            Some(Mask::Sql(template)) => {
                let (None, Some(dimension)) = (&column.view, column.dimension(model)) else {
                    return Err(PlanError::unsupported(format!("the mask of \"{name}\" by SQL is not supported here"))
                        .hint("Write a value as the mask, or a mask in the cube."));
                };
                let role = self.role(&column.path)?;
                let boolean = dimension.kind == DimensionKind::Boolean;
                let stored = self.scoped_value(&Scope::Cube(role), template, boolean, 0)?;
                let shown = self.shown(dimension, stored)?;
                let found = self.type_of(&shown)?;
                self.mask_of_type(shown, &found, data_type, name)
            }
        }
    }

    /// A mask by SQL as a value of its member's type.
    fn mask_of_type(&self, value: Expr, found: &DataType, wanted: &DataType, name: &str) -> Result<Expr> {
        if found == wanted {
            return Ok(value);
        }
        if belvedere_functions::comparison_type(found, wanted).is_none_or(|common| common != *wanted) {
            return Err(PlanError::unsupported(format!(
                "the mask of \"{name}\" is of type {}, and the member is of type {}",
                operators::pg_name(found),
                operators::pg_name(wanted)
            ))
            .hint("Cast the mask's sql."));
        }
        operators::cast_exactly(value, found, wanted, &self.planning.session.in_utc()).map_err(internal)
    }

    /// What a user sees in the place of a masked measure: a value, or, by SQL, another calculated measure over `leaves`.
    ///
    /// # Errors
    /// 0A000 for a mask that is not of the measure's type; as [`JoinedRows::member_measure`].
    pub(crate) fn measure_mask(
        &mut self,
        column: &MemberColumn,
        extra: Option<&ExtraFilter>,
        leaves: &mut Leaves,
    ) -> Result<Expr> {
        let model = self.model();
        let data_type = column.field.data_type().clone();
        let (Some(Mask::Sql(template)), Some(measure)) = (column.mask_of(model), column.measure(model)) else {
            return self.mask(column, &data_type);
        };
        if let Some(value) = constant(&template.text) {
            return literal_mask(value, &data_type, &column.member);
        }
        let scope = self.scope_of(column)?;
        let value = self.calculated(&scope, (&measure.naming.name, LeafOrigin::Mask), template, extra, leaves, 0)?;
        let found = self.measure_type(&value, leaves)?;
        self.mask_of_type(value, &found, &data_type, &column.member)
    }

    /// What a user sees of a masked measure on one row, as if the row were its own group.
    ///
    /// # Errors
    /// As [`JoinedRows::measure_of_row`] and [`JoinedRows::measure_mask`].
    pub(super) fn masked_measure_of_row(
        &mut self,
        column: &MemberColumn,
        shown_where: Option<&Condition>,
    ) -> Result<Expr> {
        let mut leaves = Leaves::default();
        let mask = self.measure_mask(column, None, &mut leaves)?;
        let mask = self.on_row(mask, &leaves)?;
        let Some(condition) = shown_where else { return Ok(mask) };
        let own = MemberColumn { mask: None, ..column.clone() };
        let value = self.measure_of_row(&own)?;
        let holds = self.condition(condition, self.planning.catalog.policies.zone())?;
        Ok(Expr::Case(Case::new(None, vec![(Box::new(holds), Box::new(value))], Some(Box::new(mask)))))
    }

    /// 1 on a row of a cube that a masked measure is not shown for; `filter` is its own over these rows.
    ///
    /// # Errors
    /// As [`JoinedRows::condition`].
    pub(super) fn hidden_row(&mut self, hidden: &HiddenRows, filter: Option<Expr>) -> Result<Expr> {
        let role = self.role(&hidden.path)?;
        let is_there = Expr::IsNotNull(Box::new(self.presence(&role.node)));
        let shown = self.condition(&hidden.shown_where, self.planning.catalog.policies.zone())?;
        let mut is_hidden = is_there.and(Expr::IsNotTrue(Box::new(shown)));
        if let Some(filter) = filter {
            is_hidden = is_hidden.and(filter);
        }
        Ok(Expr::Case(Case::new(None, vec![(Box::new(is_hidden), Box::new(lit(1_i64)))], None)))
    }
}

/// Which of the masks that a configuration gives is a member's.
fn kind_of(column: &MemberColumn, model: &Model) -> MaskKind {
    match column.kind {
        MemberKind::Segment => MaskKind::Boolean,
        MemberKind::Dimension => match column.dimension(model).map(|dimension| dimension.kind) {
            Some(DimensionKind::Number) => MaskKind::Number,
            Some(DimensionKind::Boolean) => MaskKind::Boolean,
            Some(DimensionKind::Time) => MaskKind::Time,
            Some(DimensionKind::String | DimensionKind::Geo | DimensionKind::Switch) | None => MaskKind::String,
        },
        MemberKind::Measure => match column.measure(model).map(|measure| measure.kind) {
            Some(MeasureKind::String) => MaskKind::String,
            Some(MeasureKind::Time) => MaskKind::Time,
            Some(MeasureKind::Boolean) => MaskKind::Boolean,
            Some(
                MeasureKind::Count
                | MeasureKind::CountDistinct
                | MeasureKind::CountDistinctApprox
                | MeasureKind::Sum
                | MeasureKind::Avg
                | MeasureKind::Min
                | MeasureKind::Max
                | MeasureKind::Number
                | MeasureKind::NumberAgg
                | MeasureKind::Rank
                | MeasureKind::RunningTotal,
            )
            | None => MaskKind::Number,
        },
    }
}

/// The text of `-1`, `'hidden'` or `NULL`, written as SQL; `None` for other SQL.
fn constant(sql: &str) -> Option<Option<&str>> {
    let sql = sql.trim();
    if sql.eq_ignore_ascii_case("null") {
        return Some(None);
    }
    if let Some(text) = sql.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return (!text.contains(['\'', '\\'])).then_some(Some(text));
    }
    let digits = sql.strip_prefix('-').unwrap_or(sql);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
        && digits.matches('.').count() <= 1;
    is_number.then_some(Some(sql))
}

fn literal_mask(text: Option<&str>, data_type: &DataType, name: &str) -> Result<Expr> {
    let value = match text {
        None => ScalarValue::try_from(data_type).map_err(internal)?,
        Some(text) => belvedere_functions::parse_literal(text, data_type, None, &Zone::UTC).map_err(|_| {
            PlanError::unsupported(format!("the mask of \"{name}\" is no {}", operators::pg_name(data_type)))
                .hint("Give it a mask of its own type.")
        })?,
    };
    Ok(Expr::Literal(value, None))
}

fn filtered(plan: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    let mut builder = LogicalPlanBuilder::from(plan);
    for condition in conditions {
        builder = builder.filter(condition).map_err(internal)?;
    }
    builder.build().map_err(internal)
}
