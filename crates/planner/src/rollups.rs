//! Rollups: what each one stores, the question that builds it, and which of its rows are there.
//!
//! A rollup stores one row for each group of its dimensions, its segments and its times cut to a granularity, and for each of its
//! measures the *leaves* that it is made of: an average is a sum and a count, a distinct count by estimate is a sketch. The question that
//! builds it is split by the same rules as any other, so that multiplied rows count once in it.
//!
//! Members are told apart by their place: the cubes walked from the root of the join tree. A dimension that another join reaches is
//! another dimension.

mod base_rows;
mod indexes;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use belvedere_functions::Zone;
use belvedere_model::{
    Cube, DimensionKind, GranularityValue, MemberKind, MemberRef, Model, PreAggregation, PreAggregationKind,
};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, ScalarValue, TableReference};
use datafusion_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion_expr::{Expr, LogicalPlan, TableSource, lit};
use indexmap::IndexMap;

use crate::catalog::{Catalog, MemberColumn, ViewTable};
use crate::error::{PlanError, Result};
use crate::expand::build_legs::{Asked, Question, Within};
use crate::expand::choose_join_tree::{JoinTree, cube_of};
use crate::expand::split_facts::split_facts;
use crate::expand::time_range::Unit;
use crate::functions::Functions;
use crate::granularity;
use crate::lower::asked_members::asks_for_conditions;
use crate::lower::calculated::{Leaves, composed_path, leaf_name};
use crate::lower::joined_rows::{JoinedRows, internal};
use crate::members;
use crate::nodes::fact_leg::{FactLeg, LeafKind, LeafOrigin, LegAggregate, LegLeaf, LegScan};
use crate::planning::{Findings, Planning};
use crate::rewrite::CUSTOM_GRANULARITY;
use crate::session::SessionFacts;
use crate::substitute::cover_members::seen_through;
use crate::tables;

use base_rows::BaseRows;
pub(crate) use base_rows::stored_rows;
pub use indexes::{Coarser, RollupIndex};

/// The cubes walked from the root of a tree, the root first.
pub type Walk = Vec<String>;

/// The walk to a node of a tree.
#[must_use]
pub fn walk_to(tree: &JoinTree, node: &str) -> Walk {
    let mut walk = vec![cube_of(node).to_owned()];
    let mut at = node;
    while let Some(edge) = tree.edges.iter().find(|edge| edge.to == at) {
        walk.insert(0, cube_of(&edge.from).to_owned());
        at = &edge.from;
    }
    walk
}

/// The walks to all nodes of a tree.
#[must_use]
pub fn walks_of(tree: &JoinTree) -> BTreeSet<Walk> {
    tree.nodes().map(|node| walk_to(tree, node)).collect()
}

/// A rollup of a cube.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RollupName {
    pub cube: String,
    pub name: String,
}

impl fmt::Display for RollupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.cube, self.name)
    }
}

/// All rollups of a model, by cube in the order of definition.
#[derive(Debug, Default)]
pub struct Rollups {
    pub of_cubes: IndexMap<String, Vec<Arc<Rollup>>>,
}

impl Rollups {
    /// What a model defines, nothing of it built. Times are cut in the zone of the session.
    #[must_use]
    pub fn of_model(catalog: &Catalog, functions: &Arc<Functions>, session: &SessionFacts) -> Self {
        let findings = Findings::default();
        let planning = findings.planning(catalog, functions, session).trusted();
        let mut of_cubes = IndexMap::new();
        let mut all = catalog.model.cubes.values().flat_map(|cube| cube.pre_aggregations.values());
        let has_base_rows = all.any(|definition| definition.kind == PreAggregationKind::OriginalSql);
        let expressions = if has_base_rows { tables::base_expressions(catalog, functions) } else { HashMap::new() };
        for cube in catalog.model.cubes.values() {
            let rollups: Vec<Arc<Rollup>> = cube
                .pre_aggregations
                .values()
                .map(|definition| {
                    let layout = match definition.kind {
                        PreAggregationKind::Rollup => layout(cube, definition, planning),
                        PreAggregationKind::OriginalSql => {
                            let own = expressions.get(&cube.naming.name).map_or(&[][..], Vec::as_slice);
                            base_rows::layout(cube, definition, own, planning)
                        }
                        PreAggregationKind::RollupJoin | PreAggregationKind::RollupLambda => {
                            Err(PlanError::unsupported("it stores nothing of its own"))
                        }
                    };
                    let layout = layout.and_then(|layout| with_indexes(layout, definition, functions));
                    Arc::new(Rollup {
                        name: RollupName { cube: cube.naming.name.clone(), name: definition.naming.name.clone() },
                        kind: definition.kind,
                        reads_base_rows: definition.use_original_sql_pre_aggregations,
                        layout,
                        stored: Vec::new(),
                    })
                })
                .collect();
            if !rollups.is_empty() {
                of_cubes.insert(cube.naming.name.clone(), rollups);
            }
        }
        Self { of_cubes }
    }

    /// The same with what is built of each.
    #[must_use]
    pub fn with_stored(&self, mut stored: impl FnMut(&Rollup) -> Vec<StoredRollup>) -> Self {
        let mut of_cubes = IndexMap::new();
        for (cube, rollups) in &self.of_cubes {
            let rollups: Vec<Arc<Rollup>> = rollups
                .iter()
                .map(|rollup| Arc::new(Rollup { stored: stored(rollup), ..rollup.as_ref().clone() }))
                .collect();
            of_cubes.insert(cube.clone(), rollups);
        }
        Self { of_cubes }
    }

    /// All of them, in the order of definition.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rollup>> {
        self.of_cubes.values().flatten()
    }

    #[must_use]
    pub fn get(&self, name: &RollupName) -> Option<&Arc<Rollup>> {
        self.of_cubes.get(&name.cube)?.iter().find(|rollup| rollup.name == *name)
    }
}

/// One rollup: its definition, and its rows where it has been built.
#[derive(Debug, Clone)]
pub struct Rollup {
    pub name: RollupName,
    pub kind: PreAggregationKind,
    /// It is built from the stored rows of its cubes, where there are some (`use_original_sql_pre_aggregations`).
    pub reads_base_rows: bool,
    /// Why it can never be built, in words.
    pub layout: std::result::Result<Arc<RollupLayout>, PlanError>,
    /// By the zone that its times are cut in.
    pub stored: Vec<StoredRollup>,
}

/// The rows of a rollup.
#[derive(Debug, Clone)]
pub struct StoredRollup {
    pub zone: Zone,
    /// When the reading of the oldest partition began that gets old, in microseconds since 1970 UTC; `None` where the refresh key lets none.
    pub built_at: Option<i64>,
    pub partitions: Vec<StoredPartition>,
    /// Times outside of this were left out of the build: `[from, to)` on the wall clock of the zone, open where the model says nothing.
    pub covers: Cover,
    /// No partition of those that were built is missing.
    pub is_whole: bool,
    /// By the name of an index that aggregates, the rows of its copy of each partition. One that a partition lacks is left out.
    pub coarser: HashMap<String, Vec<u64>>,
    pub rows: Arc<dyn StoredRows>,
}

/// `[from, to)` in microseconds on a wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cover {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPartition {
    pub range: PartitionRange,
    pub rows: u64,
}

/// Which rows a partition holds, by the time that partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PartitionRange {
    /// All of them.
    Whole,
    /// `[start, end)` in microseconds on the wall clock of the zone.
    Between { start: i64, end: i64 },
    /// Those without a time.
    NoTime,
}

/// Gives the rows of a rollup to a plan.
pub trait StoredRows: fmt::Debug + Send + Sync {
    /// The table of some partitions, by position; its columns are those of [`RollupLayout::schema`], or of a [`Coarser`] copy by the name of
    /// its index.
    ///
    /// # Errors
    /// A partition or a copy that is not there.
    fn table(&self, partitions: &[usize], index: Option<&str>) -> datafusion_common::Result<Arc<dyn TableSource>>;
}

/// What one column of a rollup holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Stores {
    Dimension {
        at: Walk,
        member: String,
    },
    Segment {
        at: Walk,
        member: String,
    },
    Time {
        at: Walk,
        member: String,
        granularity: String,
        unit: Option<Unit>,
    },
    Leaf(StoredLeaf),
    /// An expression over the rows of a cube, in the words of its source.
    Base {
        sql: String,
    },
}

impl Stores {
    /// Where the cube is whose member this holds; nowhere for an expression over one cube's rows.
    #[must_use]
    pub fn at(&self) -> Option<&Walk> {
        match self {
            Self::Dimension { at, .. } | Self::Segment { at, .. } | Self::Time { at, .. } => Some(at),
            Self::Leaf(leaf) => Some(&leaf.at),
            Self::Base { .. } => None,
        }
    }

    /// The joins over which it was computed.
    pub fn walks(&self) -> impl Iterator<Item = &Walk> {
        let (one, all) = match self {
            Self::Leaf(leaf) => (None, Some(&leaf.walks)),
            Self::Dimension { .. } | Self::Segment { .. } | Self::Time { .. } | Self::Base { .. } => (self.at(), None),
        };
        one.into_iter().chain(all.into_iter().flatten())
    }
}

/// The aggregate of a leaf over the rows of each group.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLeaf {
    pub kind: LeafKind,
    pub at: Walk,
    pub measure: String,
    pub origin: LeafOrigin,
    pub within: Vec<(Walk, String)>,
    /// The joins over which it was computed.
    pub walks: BTreeSet<Walk>,
    /// One row counts in several groups: groups cannot be added up.
    pub is_repeated: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RollupColumn {
    pub name: String,
    pub field: Field,
    pub stores: Stores,
}

/// The columns of a rollup, and the question that fills them.
#[derive(Debug, Clone)]
pub struct RollupLayout {
    pub name: RollupName,
    /// The root of the joined rows.
    pub root: String,
    pub columns: Vec<RollupColumn>,
    /// The column that partitions, and the granularity of partitions.
    pub partitioned_by: Option<(usize, String)>,
    /// The cubes that it reads.
    pub cubes: BTreeSet<String>,
    /// Copies of the rows.
    pub indexes: Vec<RollupIndex>,
    reads: Reads,
}

/// What fills a rollup.
#[derive(Debug, Clone)]
enum Reads {
    Groups(Box<GroupedRows>),
    Base(BaseRows),
}

/// The question whose answer is stored.
#[derive(Debug, Clone)]
struct GroupedRows {
    question: Question,
    /// The time that partitions, among the question's scan columns.
    partition_time: Option<Column>,
}

impl RollupLayout {
    /// The columns as stored.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> =
            self.columns.iter().map(|column| column.field.clone().with_name(&column.name)).collect();
        Arc::new(Schema::new(fields))
    }

    /// Whether these are rows of a cube, which no aggregate made.
    #[must_use]
    pub fn is_base(&self) -> bool {
        matches!(self.reads, Reads::Base(_))
    }

    /// The columns of groups.
    pub fn groups(&self) -> impl Iterator<Item = &RollupColumn> {
        self.columns.iter().filter(|column| !matches!(column.stores, Stores::Leaf(_) | Stores::Base { .. }))
    }

    /// The plan that gives the rows of a partition, its legs not lowered yet.
    ///
    /// # Errors
    /// As for any question.
    pub fn build_plan(&self, range: PartitionRange, planning: Planning<'_>) -> Result<LogicalPlan> {
        match &self.reads {
            Reads::Groups(rows) => rows.build_plan(range, planning),
            Reads::Base(rows) => rows.build_plan(range, planning),
        }
    }

    /// The plan that gives the first and the last time that there is to partition; `None` without partitions.
    ///
    /// # Errors
    /// As for any question.
    pub fn range_plan(&self, planning: Planning<'_>) -> Result<Option<LogicalPlan>> {
        match &self.reads {
            Reads::Groups(rows) => rows.range_plan(planning),
            Reads::Base(rows) => rows.range_plan(planning),
        }
    }
}

impl GroupedRows {
    fn build_plan(&self, range: PartitionRange, planning: Planning<'_>) -> Result<LogicalPlan> {
        let mut question = self.question.clone();
        match (range, &self.partition_time) {
            (PartitionRange::Whole, _) => {}
            (PartitionRange::Between { start, end }, Some(time)) => {
                let bound = |at: i64| lit(ScalarValue::TimestampMicrosecond(Some(at), None));
                let time = self.as_timestamp(time);
                question.filters.push(time.clone().gt_eq(bound(start)));
                question.filters.push(time.lt(bound(end)));
            }
            (PartitionRange::NoTime, Some(time)) => {
                question.filters.push(Expr::IsNull(Box::new(Expr::Column(time.clone()))));
            }
            (PartitionRange::Between { .. } | PartitionRange::NoTime, None) => {
                return Err(PlanError::internal("a rollup without a time has partitions"));
            }
        }
        split_facts(&question, planning)
    }

    fn range_plan(&self, planning: Planning<'_>) -> Result<Option<LogicalPlan>> {
        let Some(time) = &self.partition_time else { return Ok(None) };
        let time = self.as_timestamp(time);
        let extreme = |name: &str| {
            let function = planning.functions.needed_aggregate(name).map_err(internal)?;
            Ok::<_, PlanError>(Asked::OverRows(Expr::AggregateFunction(AggregateFunction::new_udf(
                function,
                vec![time.clone()],
                false,
                None,
                vec![],
                None,
            ))))
        };
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        let fields = vec![Field::new("first", timestamp.clone(), true), Field::new("last", timestamp, true)];
        let schema = DFSchema::try_from(Schema::new(fields)).map_err(internal)?;
        let question = Question {
            group: Vec::new(),
            // The same joined rows as the rollup's.
            joined: self.question.group.clone(),
            aggregates: vec![extreme("min")?, extreme("max")?],
            schema: Arc::new(schema),
            ..self.question.clone()
        };
        split_facts(&question, planning).map(Some)
    }

    fn as_timestamp(&self, time: &Column) -> Expr {
        let is_date = self
            .question
            .scans
            .iter()
            .filter_map(|scan| scan.table.columns.get(&time.name))
            .any(|column| column.field.data_type() == &DataType::Date32);
        let time = Expr::Column(time.clone());
        if is_date { datafusion_expr::cast(time, DataType::Timestamp(TimeUnit::Microsecond, None)) } else { time }
    }
}

/// The name of the relation that a rollup's columns belong to inside plans.
pub(crate) const SCAN: &str = "rollup";

/// Finds out what a `rollup` stores.
///
/// # Errors
/// Why it cannot be built, as for a query that asks the same.
pub fn layout(cube: &Cube, rollup: &PreAggregation, planning: Planning<'_>) -> Result<RollupLayout> {
    let model = &planning.catalog.model;
    let name = RollupName { cube: cube.naming.name.clone(), name: rollup.naming.name.clone() };
    let mut columns: IndexMap<String, MemberColumn> = IndexMap::new();
    let mut groups: Vec<(String, Expr, Grouped)> = Vec::new();
    let mut raw_times: Vec<(usize, Column)> = Vec::new();
    let time_members = rollup.time_dimensions.iter().map(|time| (MemberKind::Dimension, time, true));
    let members = rollup
        .dimensions
        .iter()
        .map(|dimension| (MemberKind::Dimension, dimension, false))
        .chain(rollup.segments.iter().map(|segment| (MemberKind::Segment, segment, false)))
        .chain(time_members);
    let own = [cube.naming.name.clone()];
    for (kind, reference, is_cut) in members {
        let path = composed_path(model, &own, &reference.path);
        let owner = members::cube_named(model, reference.cube())?;
        let column = tables::column(planning, owner, kind, path, &reference.member);
        refuse_followers(model, &column)?;
        let granularity = reference.granularity.as_deref().filter(|_| is_cut);
        let grouped = match granularity {
            Some(granularity) => Grouped::Time { column: column.clone(), granularity: granularity.to_owned() },
            None if kind == MemberKind::Segment => Grouped::Segment(column.clone()),
            None => Grouped::Dimension(column.clone()),
        };
        if groups.iter().any(|(_, _, known)| *known == grouped) {
            continue;
        }
        let scan_name = format!("c{}", columns.len());
        let place = Column::new(Some(TableReference::bare(SCAN)), &scan_name);
        let mut stored = stored_name(reference);
        let mut expr = Expr::Column(place.clone());
        if let Some(granularity) = granularity {
            stored = format!("{stored}_{granularity}");
            let cut = planning.functions.needed_scalar(CUSTOM_GRANULARITY).map_err(internal)?;
            expr = Expr::ScalarFunction(ScalarFunction::new_udf(cut, vec![lit(granularity), expr]));
            raw_times.push((groups.len(), place));
        }
        columns.insert(scan_name.clone(), MemberColumn { field: column.field.clone().with_name(&scan_name), ..column });
        groups.push((unique(stored, groups.iter().map(|(name, _, _)| name), reference), expr, grouped));
    }
    let mut leaves = Leaves::default();
    let mut rows = JoinedRows::new(planning, JoinTree::of(""));
    for reference in &rollup.measures {
        let path = composed_path(model, &own, &reference.path);
        let owner = members::cube_named(model, reference.cube())?;
        let column = tables::column(planning, owner, MemberKind::Measure, path, &reference.member);
        refuse_followers(model, &column)?;
        add_leaves(&column, &mut rows, &mut leaves, 0)?;
    }
    let schema_of_leaves = rows.leaf_schema(&leaves)?;
    let mut aggregates = Vec::new();
    let mut fields = Vec::new();
    for (_, _, grouped) in &groups {
        fields.push(Field::new(format!("g{}", fields.len()), grouped.data_type(), true));
    }
    for (index, leaf) in leaves.leaves.iter().enumerate() {
        let kind = stored_kind(leaf.of.kind, rollup);
        let data_type = match kind {
            LeafKind::Sketch => DataType::Binary,
            LeafKind::Set => {
                rows.leaf_aggregate(LeafKind::Set, leaf.input.clone()).and_then(|set| rows.type_of(&set))?
            }
            LeafKind::Count
            | LeafKind::CountDistinct
            | LeafKind::CountDistinctApprox
            | LeafKind::Sum
            | LeafKind::Min
            | LeafKind::Max => schema_of_leaves.field(index).data_type().clone(),
        };
        fields.push(Field::new(leaf_name(index), data_type, true));
        aggregates.push(Asked::Leaf(LegLeaf { kind, ..leaf.of.clone() }));
    }
    let schema = DFSchema::try_from(Schema::new(fields)).map_err(internal)?;
    let mut table = ViewTable::new(SCAN.to_owned(), columns, None);
    table.root = Some(cube.naming.name.clone());
    let question = Question {
        scans: vec![LegScan { reference: TableReference::bare(SCAN), table: Arc::new(table), defaults: Vec::new() }],
        group: groups.iter().map(|(_, expr, _)| expr.clone()).collect(),
        joined: Vec::new(),
        aggregates,
        filters: Vec::new(),
        listed: Vec::new(),
        schema: Arc::new(schema),
        within: Within::default(),
    };
    let legs = legs_of(&split_facts(&question, planning)?)?;
    let roots: BTreeSet<&str> = legs.iter().map(|leg| leg.tree.root.as_str()).collect();
    let root = match roots.iter().collect::<Vec<_>>().as_slice() {
        [only] => (**only).to_owned(),
        several => {
            let names: Vec<String> = several.iter().map(|root| format!("\"{root}\"")).collect();
            return Err(PlanError::unsupported(format!(
                "the measures of the rollup \"{name}\" count rows of {}, which no join tree holds together",
                names.join(" and ")
            ))
            .hint("Define one rollup for each fact: a query over several facts uses one for each."));
        }
    };
    let mut stored = Vec::new();
    for (index, (column_name, _, grouped)) in groups.into_iter().enumerate() {
        // Under the name of what it really is: a query may name either.
        let place = |column: &MemberColumn| {
            let (path, member) = seen_through(model, column)
                .ok_or_else(|| PlanError::internal(format!("\"{}\" is no cube's member", column.member)))?;
            Ok::<_, PlanError>((place_in(&legs, model, &path)?, member))
        };
        let field = question.schema.field(index).as_ref().clone();
        let stores = match &grouped {
            Grouped::Dimension(column) => {
                let (at, member) = place(column)?;
                Stores::Dimension { at, member }
            }
            Grouped::Segment(column) => {
                Stores::Segment { at: place_in(&legs, model, &column.path)?, member: column.member.clone() }
            }
            Grouped::Time { column, granularity } => {
                let (at, member) = place(column)?;
                let unit = unit_of(column, granularity, planning)?;
                Stores::Time { at, member, granularity: granularity.clone(), unit }
            }
        };
        stored.push(RollupColumn { name: column_name, field, stores });
    }
    let mut cubes = BTreeSet::new();
    let mut leaf_columns: Vec<(usize, RollupColumn)> = Vec::new();
    let groups = stored.len();
    for leg in &legs {
        cubes.extend(leg.tree.nodes().map(|node| cube_of(node).to_owned()));
        for (position, aggregate) in leg.aggregates.iter().enumerate() {
            let LegAggregate::Leaf(leaf) = aggregate else { continue };
            let field = leg.schema.field(groups + position);
            let index = (0..leaves.leaves.len()).find(|index| leaf_name(*index) == *field.name());
            let index = index.ok_or_else(|| PlanError::internal("a leaf of a rollup that was not asked for"))?;
            let node = leg.tree.node_at(model, &leaf.path).unwrap_or(&leg.tree.root);
            let within = leaf
                .within
                .iter()
                .map(|(path, measure)| Ok((place_in(&legs, model, path)?, measure.clone())))
                .collect::<Result<Vec<_>>>()?;
            leaf_columns.push((
                index,
                RollupColumn {
                    name: leaf_column_name(leaf),
                    field: Field::new(field.name(), field.data_type().clone(), true),
                    stores: Stores::Leaf(StoredLeaf {
                        kind: leaf.kind,
                        at: walk_to(&leg.tree, node),
                        measure: leaf.measure.clone(),
                        origin: leaf.origin,
                        within,
                        walks: walks_of(&leg.tree),
                        is_repeated: !leaf.kind.ignores_repetition() && leg.tree.multiplies(model, node),
                    }),
                },
            ));
        }
    }
    leaf_columns.sort_by_key(|(index, _)| *index);
    for (index, mut column) in leaf_columns {
        if stored.iter().any(|known| known.name == column.name) {
            column.name = format!("{}_{index}", column.name);
        }
        stored.push(column);
    }
    let partitioned_by = match (&rollup.partition_granularity, raw_times.first()) {
        (Some(granularity), Some((position, _))) => Some((*position, granularity.clone())),
        _ => None,
    };
    let partition_time = partitioned_by.as_ref().and_then(|_| raw_times.into_iter().next()).map(|(_, column)| column);
    let reads = Reads::Groups(Box::new(GroupedRows { question, partition_time }));
    let layout = RollupLayout { name, root, columns: stored, partitioned_by, cubes, indexes: Vec::new(), reads };
    layout.check_partitions()?;
    Ok(layout)
}

fn with_indexes(layout: RollupLayout, definition: &PreAggregation, functions: &Functions) -> Result<Arc<RollupLayout>> {
    let indexes = indexes::indexes(&layout, definition, functions)?;
    Ok(Arc::new(RollupLayout { indexes, ..layout }))
}

/// What is grouped by.
#[derive(Debug, Clone, PartialEq)]
enum Grouped {
    Dimension(MemberColumn),
    Segment(MemberColumn),
    Time { column: MemberColumn, granularity: String },
}

impl Grouped {
    fn data_type(&self) -> DataType {
        match self {
            Self::Dimension(column) | Self::Segment(column) => column.field.data_type().clone(),
            Self::Time { .. } => DataType::Timestamp(TimeUnit::Microsecond, None),
        }
    }
}

impl RollupLayout {
    /// A partition holds whole buckets.
    fn check_partitions(&self) -> Result<()> {
        let Some((position, granularity)) = &self.partitioned_by else { return Ok(()) };
        let Stores::Time { unit, granularity: stored, .. } = &self.columns[*position].stores else {
            return Err(PlanError::internal("a rollup is partitioned by no time"));
        };
        let nests = match (unit, Unit::named(granularity)) {
            (Some(unit), Some(partition)) => unit.nests_in(&partition),
            _ => false,
        };
        if nests {
            return Ok(());
        }
        Err(PlanError::unsupported(format!(
            "the rollup \"{}\" stores its time by {stored} in partitions by {granularity}, which would cut through",
            self.name
        ))
        .hint(
            "Make a partition of whole units: days make weeks, months, quarters and years; weeks make none of these.",
        ))
    }
}

/// A member that depends on the conditions of a query has no value of its own.
fn refuse_followers(model: &Model, column: &MemberColumn) -> Result<()> {
    let dimension = column.dimension(model).filter(|_| column.kind == MemberKind::Dimension);
    let follows = dimension.is_some_and(|dimension| dimension.details.propagate_filters_to_sub_query);
    if follows || asks_for_conditions(model, column) {
        return Err(PlanError::unsupported(format!(
            "\"{}\" has other values under other conditions, so that it cannot be stored",
            column.member
        )));
    }
    Ok(())
}

/// What is stored of a leaf.
fn stored_kind(kind: LeafKind, rollup: &PreAggregation) -> LeafKind {
    match kind {
        LeafKind::CountDistinctApprox => LeafKind::Sketch,
        LeafKind::CountDistinct if rollup.exact_distinct => LeafKind::Set,
        other => other,
    }
}

/// The leaves of a measure, down through its windows and stages.
fn add_leaves(column: &MemberColumn, rows: &mut JoinedRows<'_>, leaves: &mut Leaves, depth: usize) -> Result<()> {
    if depth > members::REFERENCE_DEPTH_MAX {
        return Err(PlanError::new("54001", "measures refer to measures too deeply"));
    }
    let mut own = Leaves::default();
    rows.member_measure(column, None, &mut own)?;
    let stages = std::mem::take(&mut own.stages);
    leaves.take(own);
    for stage in stages {
        let (of_stage, measures) = rows.stage_reads(&stage)?;
        leaves.take(of_stage);
        for measure in &measures {
            add_leaves(measure, rows, leaves, depth + 1)?;
        }
    }
    Ok(())
}

/// The legs of a plan.
fn legs_of(plan: &LogicalPlan) -> Result<Vec<FactLeg>> {
    let mut legs = Vec::new();
    plan.apply(|node| {
        if let LogicalPlan::Extension(extension) = node
            && let Some(leg) = extension.node.as_any().downcast_ref::<FactLeg>()
        {
            legs.push(leg.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(internal)?;
    if legs.is_empty() {
        return Err(PlanError::internal("a rollup without legs"));
    }
    Ok(legs)
}

/// Where a path leads to in the first leg that has it.
fn place_in(legs: &[FactLeg], model: &Model, path: &[String]) -> Result<Walk> {
    legs.iter()
        .find_map(|leg| leg.tree.node_at(model, path).map(|node| walk_to(&leg.tree, node)))
        .ok_or_else(|| PlanError::internal(format!("{} is in no leg of the rollup", path.join("."))))
}

/// The bins of a stored time; `None` where a calendar defines them.
fn unit_of(column: &MemberColumn, granularity: &str, planning: Planning<'_>) -> Result<Option<Unit>> {
    let model = &planning.catalog.model;
    let Some(dimension) = column.dimension(model) else { return Ok(None) };
    if dimension.kind != DimensionKind::Time {
        return Err(PlanError::unsupported(format!("\"{}\" is no time dimension", column.member)));
    }
    match granularity::granularity_of(model, &column.path, dimension, granularity) {
        Some((_, GranularityValue::Sql(_))) => Ok(None),
        // Years are the only unit of which the model takes several without an origin.
        Some((_, GranularityValue::Bins { interval, origin: None, .. })) if interval.months > 12 => {
            Err(PlanError::unsupported(format!(
                "the granularity \"{granularity}\" of \"{}\" is counted from the current year, so that next year its bins are others than \
                 those that are stored",
                column.member
            ))
            .hint("Give the granularity an `origin`."))
        }
        Some((_, GranularityValue::Bins { interval, offset, origin })) => {
            let parts = (*interval, *offset, origin.as_deref());
            let origin = granularity::origin_of(parts, planning.functions, planning.session)?;
            Ok(Some(Unit { name: None, interval: *interval, origin }))
        }
        None => Ok(Unit::named(granularity)),
    }
}

/// `orders__status`.
fn stored_name(reference: &MemberRef) -> String {
    format!("{}__{}", reference.cube(), reference.member)
}

fn leaf_column_name(leaf: &LegLeaf) -> String {
    let part = match leaf.kind {
        LeafKind::Count => "count",
        LeafKind::CountDistinct | LeafKind::CountDistinctApprox => "distinct",
        LeafKind::Sum => "sum",
        LeafKind::Min => "min",
        LeafKind::Max => "max",
        LeafKind::Sketch => "sketch",
        LeafKind::Set => "set",
    };
    match leaf.origin {
        LeafOrigin::Value => format!("{}__{}__{part}", leaf.cube(), leaf.measure),
        LeafOrigin::Mask(index) => format!("{}__{}__mask_{part}{index}", leaf.cube(), leaf.measure),
        LeafOrigin::Raw(index) => format!("{}__{}__{part}{index}", leaf.cube(), leaf.measure),
    }
}

/// The name, or the whole path where another column has it.
fn unique<'n>(name: String, mut taken: impl Iterator<Item = &'n String>, reference: &MemberRef) -> String {
    if taken.any(|known| *known == name) { format!("{}__{name}", reference.path.join("__")) } else { name }
}
