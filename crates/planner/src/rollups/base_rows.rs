//! `original_sql`: the rows of a cube, stored as its source gives them (reference 4.8).
//!
//! Stored is a column for each row expression that a query may ask of the cube, computed by its source: member SQL is the source's, and a
//! query over stored rows then has the very values that it would have read there. It would be wrong to store the table's columns and to
//! compute members of them here, in another dialect.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, TimeUnit};
use belvedere_model::{Cube, MemberRef, PreAggregation, Relation, TemplatePart};
use datafusion_common::{Column, ScalarValue, TableReference};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};

use crate::catalog::BaseColumn;
use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::JoinTree;
use crate::expand::time_range::Unit;
use crate::lower::calculated::aggregate_call;
use crate::lower::joined_rows::{JoinedRows, Planning, internal};
use crate::members;
use crate::session::RollupUsage;
use crate::substitute::UsedRollup;
use crate::substitute::cover_members::stored_column;
use crate::substitute::match_rollup::{readable, scan_of};
use crate::substitute::refusal::{Refusal, Refused};
use crate::tables::BaseExpression;

use super::{Cover, PartitionRange, Reads, RollupColumn, RollupLayout, RollupName, Stores};

/// The rows of one cube.
#[derive(Debug, Clone)]
pub(super) struct BaseRows {
    cube: String,
    /// The time dimension that partitions, with the granularity of partitions.
    time: Option<(String, String)>,
    columns: Vec<BaseColumn>,
}

/// What an `original_sql` of `cube` stores, of `expressions`, which are all of the cube's.
///
/// # Errors
/// 0A000 where the cube's SQL gives other rows to other queries or users, or its time does not partition.
pub(super) fn layout(
    cube: &Cube,
    definition: &PreAggregation,
    expressions: &[BaseExpression],
    planning: Planning<'_>,
) -> Result<RollupLayout> {
    let name = RollupName { cube: cube.naming.name.clone(), name: definition.naming.name.clone() };
    if asks(planning, cube)? {
        return Err(PlanError::unsupported(format!(
            "the SQL of cube \"{}\" asks for something of the query or its user, so that its rows cannot be stored for all",
            name.cube
        )));
    }
    let mut stored: Vec<RollupColumn> = Vec::new();
    let partition = definition.time_dimensions.first().zip(definition.partition_granularity.as_ref());
    let time = partition.map(|(time, granularity)| partition_time(cube, time, granularity)).transpose()?;
    if let Some((member, granularity)) = &time {
        stored.push(RollupColumn {
            name: format!("{}__{member}_{granularity}", name.cube),
            field: Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            stores: Stores::Time {
                at: vec![name.cube.clone()],
                member: member.clone(),
                granularity: granularity.clone(),
                unit: Unit::named(granularity),
            },
        });
    }
    let mut columns: Vec<BaseColumn> = Vec::new();
    for expression in expressions.iter().filter(|expression| is_storable(expression.column.field.data_type())) {
        let known = |column: &BaseColumn| {
            column.sql == expression.column.sql && column.field.data_type() == expression.column.field.data_type()
        };
        if columns.iter().any(known) {
            continue;
        }
        let column = column_name(cube, &expression.column.sql, &stored);
        stored.push(RollupColumn {
            name: column,
            field: expression.column.field.clone().with_nullable(true),
            stores: Stores::Base { sql: expression.column.sql.clone() },
        });
        columns.push(expression.column.clone());
    }
    if columns.is_empty() {
        return Err(PlanError::unsupported(format!(
            "the rollup \"{name}\" would store no column: no member reads one"
        )));
    }
    let partitioned_by = time.as_ref().map(|(_, granularity)| (0, granularity.clone()));
    let cubes = BTreeSet::from([name.cube.clone()]);
    let root = name.cube.clone();
    let reads = Reads::Base(BaseRows { cube: name.cube.clone(), time, columns });
    Ok(RollupLayout { name, root, columns: stored, partitioned_by, cubes, indexes: Vec::new(), reads })
}

/// Whether the rows of a cube depend on the query, by `FILTER_PARAMS`, or on its user.
fn asks(planning: Planning<'_>, cube: &Cube) -> Result<bool> {
    let (Relation::Table(template) | Relation::Query(template)) = &cube.relation;
    for part in &template.parts {
        let asks = match part {
            TemplatePart::Parameter(_) | TemplatePart::Context(_) => true,
            TemplatePart::CubeSql(other) => asks(planning, members::cube_named(&planning.catalog.model, other)?)?,
            TemplatePart::Text(_) | TemplatePart::ThisCube | TemplatePart::Cube(_) | TemplatePart::Member(_) => false,
        };
        if asks {
            return Ok(true);
        }
    }
    Ok(false)
}

fn partition_time(cube: &Cube, time: &MemberRef, granularity: &str) -> Result<(String, String)> {
    if time.cube() != cube.naming.name {
        return Err(PlanError::unsupported(format!(
            "rows of cube \"{}\" are partitioned by a time of cube \"{}\"",
            cube.naming.name,
            time.cube()
        ))
        .hint("Name a time dimension of the cube itself."));
    }
    Ok((time.member.clone(), granularity.to_owned()))
}

/// Types that Parquet files give back as they were.
fn is_storable(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Null | DataType::Interval(_) | DataType::Duration(_))
}

/// The name of a table's column, where the expression is one; else a number.
fn column_name(cube: &Cube, sql: &str, taken: &[RollupColumn]) -> String {
    let alias = members::alias_of(cube);
    let bare = [format!("\"{alias}\"."), format!("`{alias}`."), format!("{alias}.")]
        .iter()
        .find_map(|prefix| sql.strip_prefix(prefix.as_str()))
        .unwrap_or(sql);
    let is_name = !bare.is_empty()
        && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !bare.starts_with(|c: char| c.is_ascii_digit());
    let is_taken = |name: &str| taken.iter().any(|column| column.name == name);
    if is_name && !is_taken(bare) { bare.to_owned() } else { format!("expression_{}", taken.len()) }
}

impl BaseRows {
    /// The plan of the rows of a partition: the columns of the layout, in order.
    pub(super) fn build_plan(&self, range: PartitionRange, planning: Planning<'_>) -> Result<LogicalPlan> {
        let mut rows = JoinedRows::new(planning, JoinTree::of(&self.cube));
        let mut output = Vec::new();
        let mut time = None;
        if let Some((member, granularity)) = &self.time {
            let role = rows.role(std::slice::from_ref(&self.cube))?;
            output.push(rows.truncated(&role, member, granularity, 0)?);
            time = Some(self.shown_time(&mut rows, member)?);
        }
        for column in &self.columns {
            output.push(rows.raw_column(&self.cube, column)?);
        }
        let conditions = match (range, time) {
            (PartitionRange::Whole, _) => Vec::new(),
            (PartitionRange::Between { start, end }, Some(time)) => {
                let bound = |at: i64| lit(ScalarValue::TimestampMicrosecond(Some(at), None));
                vec![time.clone().gt_eq(bound(start)), time.lt(bound(end))]
            }
            (PartitionRange::NoTime, Some(time)) => vec![Expr::IsNull(Box::new(time))],
            (PartitionRange::Between { .. } | PartitionRange::NoTime, None) => {
                return Err(PlanError::internal("rows without a time have partitions"));
            }
        };
        let mut builder = LogicalPlanBuilder::from(rows.build()?);
        for condition in conditions {
            builder = builder.filter(condition).map_err(internal)?;
        }
        let named = output.into_iter().enumerate().map(|(index, expr)| expr.alias(format!("b{index}")));
        builder.project(named).and_then(LogicalPlanBuilder::build).map_err(internal)
    }

    /// The plan of the first and the last time; `None` without partitions.
    pub(super) fn range_plan(&self, planning: Planning<'_>) -> Result<Option<LogicalPlan>> {
        let Some((member, _)) = &self.time else { return Ok(None) };
        let mut rows = JoinedRows::new(planning, JoinTree::of(&self.cube));
        let time = self.shown_time(&mut rows, member)?;
        let extreme = |name: &str| {
            let function = planning.functions.needed_aggregate(name).map_err(internal)?;
            Ok::<_, PlanError>(aggregate_call(function, Expr::Column(Column::new_unqualified("time"))).alias(name))
        };
        let extremes = vec![extreme("min")?, extreme("max")?];
        LogicalPlanBuilder::from(rows.build()?)
            .project([time.alias("time")])
            .and_then(|builder| builder.aggregate(Vec::<Expr>::new(), extremes))
            .and_then(LogicalPlanBuilder::build)
            .map(Some)
            .map_err(internal)
    }

    /// The time that partitions, on the wall clock of the zone.
    fn shown_time(&self, rows: &mut JoinedRows<'_>, member: &str) -> Result<Expr> {
        let time = rows.dimension(std::slice::from_ref(&self.cube), member)?;
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        Ok(if rows.type_of(&time)? == timestamp { time } else { cast(time, timestamp) })
    }
}

/// The scan of a cube's stored rows, with `columns` under their names in the relation `node`; `None` where the source is to be asked.
///
/// # Errors
/// Our own contradictions.
pub(crate) fn stored_rows(
    cube: &Cube,
    node: &str,
    columns: &[BaseColumn],
    planning: Planning<'_>,
) -> Result<Option<LogicalPlan>> {
    match planning.session.rollups.usage {
        RollupUsage::Off => return Ok(None),
        // Who may see what is decided by what the source says now.
        RollupUsage::Preferred | RollupUsage::Required if planning.is_trusted => return Ok(None),
        RollupUsage::Preferred | RollupUsage::Required | RollupUsage::BaseRows => {}
    }
    let of_cube = planning.catalog.rollups.of_cubes.get(&cube.naming.name);
    // The first one stands for the cube (reference OS2).
    let first = of_cube.and_then(|all| all.iter().find(|rollup| rollup.layout.as_ref().is_ok_and(|l| l.is_base())));
    let Some(rollup) = first else { return Ok(None) };
    let Ok(layout) = &rollup.layout else { return Ok(None) };
    let refuse = |reason: Refusal| {
        planning.report.borrow_mut().note_refused(Refused { rollup: rollup.name.clone(), reason });
        Ok(None)
    };
    let stored = match readable(rollup, planning) {
        // What the source has in each row depends on no zone: rows of any zone's build are the same.
        Ok((stored, _)) => stored,
        Err(reason) => return refuse(reason),
    };
    if !stored.is_whole || stored.covers != Cover::default() {
        return refuse(Refusal::PartNotWhole { rollup: rollup.name.clone() });
    }
    let relation = TableReference::bare(node);
    let mut named = Vec::new();
    for wanted in columns {
        let found = layout.columns.iter().find(|column| {
            matches!(&column.stores, Stores::Base { sql } if *sql == wanted.sql)
                && column.field.data_type() == wanted.field.data_type()
        });
        let Some(found) = found else {
            return refuse(Refusal::MemberMissing { member: wanted.sql.clone() });
        };
        named.push(stored_column(&found.name).alias_qualified(Some(relation.clone()), wanted.field.name()));
    }
    let all: Vec<usize> = (0..stored.partitions.len()).collect();
    let plan = LogicalPlanBuilder::from(scan_of(stored, &all, None)?)
        .project(named)
        .and_then(LogicalPlanBuilder::build)
        .map_err(internal)?;
    let used =
        UsedRollup { rollup: rollup.name.clone(), index: None, partitions_read: all.len(), partitions: all.len() };
    planning.report.borrow_mut().note_used(&used);
    Ok(Some(plan))
}
