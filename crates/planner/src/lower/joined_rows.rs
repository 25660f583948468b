//! The rows of one join tree: base scans of its cubes, left-joined from the root, and member values as expressions over them.

mod mixed_sql;
mod stored_columns;
mod switches;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use belvedere_functions::{CastTarget, PgType, Zone};
use belvedere_model::{
    CaseLabel, Cube, Dimension, DimensionKind, DimensionValue, GranularityValue, MemberKind, MemberRef, Model,
    SqlTemplate, View, ViewMemberValue,
};
use datafusion_common::{Column, DFSchema, TableReference};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{Case, Expr, ExprSchemable, LogicalPlan, TableScanBuilder, TableSource, lit};
use indexmap::IndexMap;

use crate::bind;
use crate::catalog::{BaseColumn, Catalog, MemberColumn, SourceDialect, TypedExpr};
use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::{JoinTree, cube_of, join_between};

use super::asked_conditions::AskedCondition;
use super::calculated::composed_path;
use super::join_conditions::{TreeJoin, left_join};
use super::sub_queries::{Restriction, SubQuery};
use crate::files;
use crate::granularity;
use crate::members::{self, Marked, REFERENCE_DEPTH_MAX};
use crate::nodes::fact_leg::{MappedTime, Switch};
pub use crate::planning::Planning;
use crate::rollups::stored_rows;
use crate::substitute::cover_members::STORED;
use crate::types;

use stored_columns::Stored;
pub(crate) use stored_columns::StoredColumn;

/// The wall clock of a zone at an instant, and back.
const TO_LOCAL: &str = "to_local";
const FROM_LOCAL: &str = "from_local";

/// A cube where a path of the question reaches it: it may be joined several times.
#[derive(Debug, Clone)]
pub(crate) struct Role<'a> {
    pub cube: &'a Cube,
    /// The cubes walked, this one last.
    pub path: Vec<String>,
    /// The relation of its columns in the joined rows; see [`cube_of`].
    pub node: String,
}

impl Role<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.cube.naming.name
    }
}

/// Whose SQL a template is: a cube's, which may name its columns, or a view's, over members only.
#[derive(Clone)]
pub(crate) enum Scope<'a> {
    Cube(Role<'a>),
    View(&'a View),
}

impl Scope<'_> {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Cube(role) => role.name(),
            Self::View(view) => &view.naming.name,
        }
    }

    /// The path of a member that its SQL refers to.
    pub(crate) fn path_of(&self, model: &Model, reference: &MemberRef) -> Vec<String> {
        match self {
            Self::Cube(role) => composed_path(model, &role.path, &reference.path),
            Self::View(_) => reference.path.clone(),
        }
    }

    /// Whether a reference stays in the very row that the SQL is of.
    fn owns(&self, reference: &MemberRef) -> bool {
        matches!(self, Self::Cube(role) if reference.path.as_slice() == [role.name()])
    }
}

/// Collects the base columns that member values need, then builds the joined scans.
pub struct JoinedRows<'a> {
    pub planning: Planning<'a>,
    pub tree: JoinTree,
    /// By node of the tree.
    columns: IndexMap<String, Vec<BaseColumn>>,
    /// By the relation of their columns.
    pub(super) sub_queries: IndexMap<String, SubQuery>,
    /// The conditions on these rows, for sub-queries that follow them.
    pub(crate) restriction: Restriction,
    /// What switches are here; `None` while only types are asked for.
    pub(crate) switches: Option<Vec<Switch>>,
    /// The switches that the rows are crossed with, by the column that has their value.
    crossed: IndexMap<String, Switch>,
    /// The calculated measures with filters that are being evaluated, by path and name.
    pub(super) within: Vec<(Vec<String>, String)>,
    /// While a sub-query dimension is evaluated: whether it follows the conditions.
    sub_query: Option<bool>,
    /// See [`Restrictions::asked`](crate::policy::Restrictions::asked).
    pub(super) asked: Arc<BTreeMap<String, BTreeSet<String>>>,
    /// What the query asks, for the places in the SQL of cubes that ask for it.
    pub(super) conditions: Vec<AskedCondition>,
    /// Calendars whose joins are those of another time.
    pub(crate) mapped: Vec<MappedTime>,
    /// The one whose join is being evaluated, and whether its time was met there.
    pub(super) joining: Option<(MappedTime, bool)>,
    /// Names of base columns count from here.
    names_from: usize,
    /// Where these rows are a rollup's: all that they have.
    stored: Option<Stored>,
}

impl<'a> JoinedRows<'a> {
    #[must_use]
    pub fn new(planning: Planning<'a>, tree: JoinTree) -> Self {
        Self {
            planning,
            tree,
            columns: IndexMap::new(),
            sub_queries: IndexMap::new(),
            restriction: Restriction::default(),
            switches: None,
            crossed: IndexMap::new(),
            within: Vec::new(),
            sub_query: None,
            asked: Arc::default(),
            conditions: Vec::new(),
            mapped: Vec::new(),
            joining: None,
            names_from: 0,
            stored: None,
        }
    }

    pub(super) fn model(&self) -> &'a Model {
        &self.planning.catalog.model
    }

    pub(crate) fn cube(&self, name: &str) -> Result<&'a Cube> {
        members::cube_named(self.model(), name)
    }

    /// The cube that a path leads to, where the tree has it. While only types are asked for there is no tree: any place will do.
    pub(crate) fn role(&self, path: &[String]) -> Result<Role<'a>> {
        let cube = self.cube(path.last().map_or("", String::as_str))?;
        let node = self.tree.node_at(self.model(), path).filter(|node| cube_of(node) == cube.naming.name);
        let node = node.unwrap_or(&cube.naming.name).to_owned();
        Ok(Role { cube, path: path.to_vec(), node })
    }

    /// The cube at a node, as the joins lead to it.
    pub(super) fn role_at(&self, node: &str) -> Result<Role<'a>> {
        let mut path = vec![cube_of(node).to_owned()];
        let mut at = node;
        while let Some(edge) = self.tree.edges.iter().find(|edge| edge.to == at) {
            path.insert(0, cube_of(&edge.from).to_owned());
            at = &edge.from;
        }
        Ok(Role { cube: self.cube(cube_of(node))?, path, node: node.to_owned() })
    }

    pub(crate) fn dialect(&self, cube: &Cube) -> Result<SourceDialect> {
        dialect_of(self.planning.catalog, cube)
    }

    /// The value that a dimension or segment column has on each row.
    ///
    /// # Errors
    /// 42803 for a measure; as [`JoinedRows::dimension`].
    pub fn row_member(&mut self, column: &MemberColumn) -> Result<Expr> {
        if let Some(mask) = column.mask.as_ref().filter(|_| column.kind != MemberKind::Measure) {
            return self.masked_row_member(column, mask.shown_where.as_ref());
        }
        match (column.kind, &column.view) {
            (MemberKind::Dimension, None) => self.dimension(&column.path, &column.member),
            (MemberKind::Dimension, Some(view)) => self.view_dimension(view, &column.member),
            (MemberKind::Segment, _) => self.segment(&column.path, &column.member),
            (MemberKind::Measure, None) if let Some(leaf) = &column.values_of => self.leaf_value(leaf, None),
            (MemberKind::Measure, _) => Err(PlanError::new(
                "42803",
                format!("measure \"{}\" cannot be used as a value of a row here", column.member),
            )),
        }
    }

    /// The value of a dimension of the cube that `path` leads to, as a query sees it: time dimensions in the session's zone.
    ///
    /// # Errors
    /// 0A000 naming what is not executed yet; XX000 for our own contradictions.
    pub fn dimension(&mut self, path: &[String], member: &str) -> Result<Expr> {
        let role = self.role(path)?;
        let dimension = dimension_named(role.cube, member)?;
        // As it was shown when the rollup was built, in the same zone.
        if let Some((value, _)) = self.stored_member(&role.node, member, false) {
            return Ok(value);
        }
        let stored = self.stored_dimension(&role, dimension, 0)?;
        self.shown(dimension, stored)
    }

    /// A dimension that a view defines over the members that it includes (reference V7).
    ///
    /// # Errors
    /// As [`JoinedRows::dimension`].
    pub fn view_dimension(&mut self, view: &str, member: &str) -> Result<Expr> {
        let view = view_named(self.model(), view)?;
        let Some(ViewMemberValue::OwnDimension(dimension)) = view.members.get(member).map(|member| &member.value)
        else {
            return Err(PlanError::internal(format!("view \"{}\" has no dimension \"{member}\"", view.naming.name)));
        };
        let stored = self.dimension_value(&Scope::View(view), dimension, 0)?;
        self.shown(dimension, stored)
    }

    /// A time dimension's column cut to a granularity.
    ///
    /// # Errors
    /// As [`JoinedRows::truncated`].
    pub(crate) fn column_at_granularity(&mut self, column: &MemberColumn, granularity: &str) -> Result<Expr> {
        let role = self.role(&column.path)?;
        self.truncated(&role, &column.member, granularity, 0)
    }

    pub(super) fn shown(&self, dimension: &Dimension, stored: Expr) -> Result<Expr> {
        self.shown_in(dimension, stored, self.planning.session.zone)
    }

    pub(super) fn shown_in(&self, dimension: &Dimension, stored: Expr, zone: Zone) -> Result<Expr> {
        if dimension.kind == DimensionKind::Time && !granularity::is_wall_clock(self.model(), dimension) {
            let data_type = self.type_of(&stored)?;
            return self.local(stored, &data_type, zone);
        }
        Ok(stored)
    }

    /// Wall-clock time in a zone.
    pub(super) fn local(&self, value: Expr, data_type: &DataType, zone: Zone) -> Result<Expr> {
        match data_type {
            DataType::Timestamp(TimeUnit::Microsecond, None) if zone == Zone::UTC => Ok(value),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let instant = match &value {
                    // UTC, made by `instant` below of a wall clock elsewhere: the instant itself serves.
                    Expr::ScalarFunction(utc) if utc.name() == TO_LOCAL => match utc.args.first() {
                        Some(inner @ Expr::ScalarFunction(made)) if made.name() == FROM_LOCAL => inner.clone(),
                        _ => value,
                    },
                    _ => value,
                };
                self.zoned(TO_LOCAL, instant, zone)
            }
            _ => Ok(value),
        }
    }

    /// UTC of a `timestamp` that a source stores as the wall clock of `zone`.
    ///
    /// As in PostgreSQL's `(x AT TIME ZONE zone) AT TIME ZONE 'UTC'`: a time that the clock skips is read with the offset before the gap,
    /// one that it shows twice with the offset after the change.
    fn utc(&self, stored: Expr, zone: Zone) -> Result<Expr> {
        let instant = self.zoned(FROM_LOCAL, stored, zone)?;
        self.zoned(TO_LOCAL, instant, Zone::UTC)
    }

    fn zoned(&self, function: &str, time: Expr, zone: Zone) -> Result<Expr> {
        let function = self.planning.functions.needed_scalar(function).map_err(internal)?;
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![time, lit(zone.sql_name())])))
    }

    /// The value as the source stores it, for joins and for other members' SQL.
    pub(crate) fn stored_dimension(&mut self, role: &Role<'a>, dimension: &'a Dimension, depth: usize) -> Result<Expr> {
        if let Some((value, field)) = self.stored_member(&role.node, &dimension.naming.name, false) {
            // A rollup has times as they are shown: those of another zone than UTC are not what the source stores.
            let is_shown =
                matches!(field.data_type(), DataType::Timestamp(..)) && self.planning.session.zone != Zone::UTC;
            if !is_shown || granularity::is_wall_clock(self.model(), dimension) {
                return Ok(value);
            }
        }
        self.dimension_value(&Scope::Cube(role.clone()), dimension, depth)
    }

    pub(super) fn dimension_value(
        &mut self,
        scope: &Scope<'a>,
        dimension: &'a Dimension,
        depth: usize,
    ) -> Result<Expr> {
        if depth > REFERENCE_DEPTH_MAX {
            return Err(PlanError::new("54001", "members refer to members too deeply"));
        }
        if let Some(unsupported) = &dimension.unsupported {
            return Err(not_yet(scope.name(), &dimension.naming.name, &unsupported.feature));
        }
        if let Some(mapped) = self.mapped_value(scope, dimension, depth)? {
            return Ok(mapped);
        }
        let details = &dimension.details;
        let outer = self.sub_query;
        self.sub_query = details.sub_query.then_some(details.propagate_filters_to_sub_query);
        let value = self.defined_value(scope, dimension, depth);
        self.sub_query = outer;
        value
    }

    fn defined_value(&mut self, scope: &Scope<'a>, dimension: &'a Dimension, depth: usize) -> Result<Expr> {
        let boolean = dimension.kind == DimensionKind::Boolean;
        match &dimension.value {
            DimensionValue::Sql(template) => self.scoped_value(scope, template, boolean, depth),
            DimensionValue::Case { whens, otherwise } => {
                let mut branches = Vec::with_capacity(whens.len());
                for (condition, label) in whens {
                    let condition = self.scoped_value(scope, condition, true, depth)?;
                    branches.push((Box::new(condition), Box::new(self.label(scope, label, depth)?)));
                }
                let otherwise = match otherwise {
                    Some(label) => Some(Box::new(self.label(scope, label, depth)?)),
                    None => None,
                };
                Ok(Expr::Case(Case::new(None, branches, otherwise)))
            }
            DimensionValue::Geo { latitude, longitude } => {
                let latitude = self.scoped_value(scope, latitude, false, depth)?;
                let longitude = self.scoped_value(scope, longitude, false, depth)?;
                let text = |value: Expr| {
                    let target = CastTarget::from_type(PgType::Text);
                    Expr::ScalarFunction(ScalarFunction::new_udf(belvedere_functions::pg_cast(target), vec![value]))
                };
                let concat = self.planning.functions.needed_scalar("pg_concat").map_err(internal)?;
                let left =
                    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&concat), vec![text(latitude), lit(",")]));
                Ok(Expr::ScalarFunction(ScalarFunction::new_udf(concat, vec![left, text(longitude)])))
            }
            DimensionValue::Switch { values } => match &dimension.details.case_switch {
                Some(case) => {
                    let switch = self.referenced(scope, &case.switch, depth)?;
                    let mut branches = Vec::with_capacity(case.whens.len());
                    for (value, template) in &case.whens {
                        branches.push((value.as_str(), self.scoped_value(scope, template, boolean, depth)?));
                    }
                    let otherwise = case.otherwise.as_ref();
                    let otherwise =
                        otherwise.map(|template| self.scoped_value(scope, template, boolean, depth)).transpose()?;
                    let schema = self.schema()?;
                    self.case_of_switch(switch, branches, otherwise, &schema)
                }
                None => self.switch_value(scope, &dimension.naming.name, values),
            },
        }
    }

    fn label(&mut self, scope: &Scope<'a>, label: &'a CaseLabel, depth: usize) -> Result<Expr> {
        match label {
            CaseLabel::Text(text) => Ok(lit(text.clone())),
            CaseLabel::Sql(template) => self.scoped_value(scope, template, false, depth),
        }
    }

    /// A segment: a boolean.
    ///
    /// # Errors
    /// As [`JoinedRows::dimension`].
    pub fn segment(&mut self, path: &[String], member: &str) -> Result<Expr> {
        let role = self.role(path)?;
        let segment = role.cube.segments.get(member).ok_or_else(|| missing(role.name(), member))?;
        if let Some((value, _)) = self.stored_member(&role.node, member, true) {
            return Ok(value);
        }
        if let Some(unsupported) = &segment.unsupported {
            return Err(not_yet(role.name(), member, &unsupported.feature));
        }
        self.row_value(&role, &segment.sql, true, 0)
    }

    /// A row expression of a cube. What lies wholly in the cube runs at its source, whatever it is; what reaches other cubes
    /// is put together here, and must be in our expression table.
    ///
    /// # Errors
    /// As [`JoinedRows::dimension`].
    pub(crate) fn row_value(
        &mut self,
        role: &Role<'a>,
        template: &SqlTemplate,
        boolean: bool,
        depth: usize,
    ) -> Result<Expr> {
        self.scoped_value(&Scope::Cube(role.clone()), template, boolean, depth)
    }

    pub(super) fn scoped_value(
        &mut self,
        scope: &Scope<'a>,
        template: &SqlTemplate,
        boolean: bool,
        depth: usize,
    ) -> Result<Expr> {
        if let Some(reference) = members::sole_reference(template)
            && !scope.owns(reference)
        {
            return self.referenced(scope, reference, depth);
        }
        if let Scope::Cube(role) = scope {
            let dialect = self.dialect(role.cube)?;
            if let Some(sql) = members::own_sql(self.model(), role.cube, template, dialect)? {
                return self.base_column(role, &sql, boolean);
            }
        }
        let marked = Marked::new(template);
        self.mixed_value(scope, &marked, depth)
    }

    /// The dialect that a template's operators have the meaning of. A view's SQL is read as its cubes' dialect where they agree.
    pub(super) fn scope_dialect(&self, scope: &Scope<'a>, marked: &Marked) -> Result<SourceDialect> {
        match scope {
            Scope::Cube(role) => self.dialect(role.cube),
            Scope::View(_) => {
                let mut dialects = Vec::new();
                for reference in marked.members() {
                    dialects.push(self.dialect(self.cube(reference.cube())?)?);
                }
                Ok(match dialects.split_first() {
                    Some((first, rest)) if rest.iter().all(|other| other == first) => *first,
                    _ => SourceDialect::Postgres,
                })
            }
        }
    }

    pub(super) fn referenced(&mut self, scope: &Scope<'a>, reference: &MemberRef, depth: usize) -> Result<Expr> {
        let owner = self.role(&scope.path_of(self.model(), reference))?;
        if let Some(granularity) = &reference.granularity {
            return self.truncated(&owner, &reference.member, granularity, depth + 1);
        }
        if let Some(dimension) = owner.cube.dimensions.get(&reference.member) {
            return self.stored_dimension(&owner, dimension, depth + 1);
        }
        if let Some((value, _)) = self.stored_member(&owner.node, &reference.member, true) {
            return Ok(value);
        }
        if let Some(segment) = owner.cube.segments.get(&reference.member) {
            return self.row_value(&owner, &segment.sql, true, depth + 1);
        }
        self.refuse_in_rollup(&reference.member)?;
        if let (Some(is_restricted), Scope::Cube(role)) = (self.sub_query, scope) {
            return self.measure_of_owner(role, reference, is_restricted, depth);
        }
        Err(PlanError::unsupported(format!(
            "a row expression refers to the measure \"{}.{}\"",
            reference.cube(),
            reference.member
        ))
        .hint("Only dimensions and segments have a value on each row."))
    }

    /// A time dimension cut to a granularity, on the wall clock of the session's zone (reference G7).
    ///
    /// # Errors
    /// As [`JoinedRows::dimension`]; 0A000 for what is no time.
    pub(crate) fn truncated(&mut self, role: &Role<'a>, member: &str, granularity: &str, depth: usize) -> Result<Expr> {
        let dimension = dimension_named(role.cube, member)?;
        let shown = format!("\"{}.{member}\"", role.name());
        let defined = granularity::granularity_of(self.model(), &role.path, dimension, granularity);
        if let Some((path, GranularityValue::Sql(template))) = &defined {
            let owner = self.role(path)?;
            let stored = self.row_value(&owner, template, false, depth)?;
            let data_type = self.type_of(&stored)?;
            let value = self.local(stored, &data_type, self.planning.session.zone)?;
            let shown = format!("granularity \"{granularity}\" of {shown}");
            return granularity::as_timestamp(value.clone(), &self.type_of(&value)?, &shown);
        }
        let stored = self.stored_dimension(role, dimension, depth)?;
        let value = self.shown(dimension, stored)?;
        let value = granularity::as_timestamp(value.clone(), &self.type_of(&value)?, &shown)?;
        let (functions, session) = (self.planning.functions, self.planning.session);
        match defined {
            Some((_, GranularityValue::Bins { interval, offset, origin })) => {
                granularity::bins((*interval, *offset, origin.as_deref()), value, functions, session)
            }
            Some((_, GranularityValue::Sql(_))) | None => granularity::truncated(granularity, value, functions),
        }
    }

    /// A name that no base column has. DataFusion's rules may tell columns apart by their bare names: with a `c0` in each cube, a
    /// common expression above a filter above a join was looked for in the wrong place.
    fn next_column(&self) -> String {
        format!("c{}", self.names_from + self.columns.values().map(Vec::len).sum::<usize>())
    }

    /// A column of the cube's base scan, added once. A `timestamp` is UTC whatever its source's zone is.
    pub(crate) fn base_column(&mut self, role: &Role<'a>, sql: &str, boolean: bool) -> Result<Expr> {
        let cube = role.cube;
        if let Some(stored) = self.stored_by_sql(role, sql)? {
            return Ok(stored);
        }
        self.refuse_in_rollup(sql)?;
        let dialect = self.dialect(cube)?;
        let (sql, typed) = typed_base(self.planning.catalog, cube, sql, boolean, dialect);
        let next = self.next_column();
        let columns = self.columns.entry(role.node.clone()).or_default();
        let index = match columns.iter().position(|known| known.sql == sql) {
            Some(index) => index,
            None => {
                columns.push(BaseColumn {
                    field: typed.field.with_name(next).with_nullable(true),
                    compares_by_code_point: typed.compares_by_code_point,
                    sql,
                });
                columns.len() - 1
            }
        };
        let is_wall_clock = columns[index].field.data_type() == &DataType::Timestamp(TimeUnit::Microsecond, None);
        let column =
            Expr::Column(Column::new(Some(TableReference::bare(role.node.clone())), columns[index].field.name()));
        let zone = self.planning.catalog.sources.zone(&cube.data_source);
        if is_wall_clock && zone != Zone::UTC { self.utc(column, zone) } else { Ok(column) }
    }

    /// Whether a value is a column that the cube's own query selects as nothing but NULL.
    pub(super) fn is_bare_null(&self, value: &Expr) -> bool {
        let Expr::Column(column) = value else { return false };
        let Some(relation) = &column.relation else { return false };
        let Some(base) = self
            .columns
            .get(relation.table())
            .and_then(|columns| columns.iter().find(|base| *base.field.name() == column.name))
        else {
            return false;
        };
        self.cube(cube_of(relation.table())).is_ok_and(|cube| members::selects_bare_null(cube, &base.sql))
    }

    /// A column that is not null on every row of the cube, and null where a LEFT JOIN found none.
    pub(crate) fn presence(&mut self, node: &str) -> Expr {
        let name = node.to_owned();
        let next = self.next_column();
        let columns = self.columns.entry(name.clone()).or_default();
        let index = match columns.iter().position(|known| known.sql == "1") {
            Some(index) => index,
            None => {
                columns.push(BaseColumn {
                    sql: "1".to_owned(),
                    field: Field::new(next, DataType::Int32, true),
                    compares_by_code_point: true,
                });
                columns.len() - 1
            }
        };
        let column = columns[index].field.name().clone();
        Expr::Column(Column::new(Some(TableReference::bare(name)), column))
    }

    /// The type of an expression over the columns collected so far.
    pub(crate) fn type_of(&self, expr: &Expr) -> Result<DataType> {
        expr.get_type(&self.schema()?).map_err(|error| bind::errors::plan_error(error, &[]))
    }

    /// All base columns collected so far.
    pub(crate) fn schema(&self) -> Result<DFSchema> {
        let mut fields = Vec::new();
        for (cube, columns) in &self.columns {
            for column in columns {
                fields.push((Some(TableReference::bare(cube.clone())), Arc::new(column.field.clone())));
            }
        }
        if let Some(stored) = &self.stored {
            let stored = stored.columns.iter().map(|column| &column.field).chain(&stored.others);
            fields.extend(stored.map(|field| (Some(TableReference::bare(STORED)), Arc::new(field.clone()))));
        }
        fields.extend(self.sub_query_fields());
        for (name, switch) in &self.crossed {
            let relation = TableReference::bare(format!("{}:{}", switch.cube, switch.member));
            fields.push((Some(relation), Arc::new(Field::new(name, DataType::Utf8, true))));
        }
        DFSchema::new_with_metadata(fields, HashMap::new()).map_err(internal)
    }

    /// The base columns collected so far, by cube.
    pub(crate) fn base_columns(&self) -> impl Iterator<Item = (&str, &BaseColumn)> {
        self.columns.iter().flat_map(|(node, columns)| columns.iter().map(|column| (cube_of(node), column)))
    }

    /// A base column as the source gives it, whatever it means.
    pub(crate) fn raw_column(&mut self, node: &str, column: &BaseColumn) -> Result<Expr> {
        let next = self.next_column();
        let columns = self.columns.entry(node.to_owned()).or_default();
        let known = columns
            .iter()
            .find(|known| known.sql == column.sql && known.field.data_type() == column.field.data_type())
            .map(|known| known.field.name().clone());
        let name = known.unwrap_or_else(|| {
            let field = column.field.clone().with_name(&next).with_nullable(true);
            columns.push(BaseColumn { field, ..column.clone() });
            next
        });
        Ok(Expr::Column(Column::new(Some(TableReference::bare(node)), name)))
    }

    /// The base columns of a join's condition.
    pub(crate) fn add_join_columns(&mut self, from: &str, to: &str) -> Result<()> {
        self.join_condition(from, to).map(|_| ())
    }

    /// The joined scans, as a plan. Call it last: it holds the columns asked for until now and those of the joins.
    ///
    /// # Errors
    /// As [`JoinedRows::dimension`], for join conditions.
    pub fn build(mut self) -> Result<LogicalPlan> {
        self.refuse_unusable()?;
        self.refuse_unmapped()?;
        let edges = self.tree.edges.clone();
        let mut joins = Vec::with_capacity(edges.len());
        for edge in edges {
            let condition = self.join_condition(&edge.from, &edge.to)?;
            joins.push(TreeJoin { from: edge.from, to: edge.to, condition });
        }
        let root = self.tree.root.clone();
        if joins.iter().all(TreeJoin::can_nest) {
            let plan = self.nested(&root, &joins)?;
            return self.with_switches(plan);
        }
        let mut plan = self.guarded_scan(&root)?;
        for join in joins {
            let right = self.guarded_scan(&join.to)?;
            plan = left_join(plan, right, join.condition)?;
        }
        self.with_switches(plan)
    }

    /// A cube with all that hangs below it, cubes of its own source first: what one source holds of a branch stays together, and
    /// goes to that source as one statement.
    ///
    /// `(a ⟕ b) ⟕ c` on `b = c` is `a ⟕ (b ⟕ c)`, because the equality never holds for the NULLs of a `b` that was not found. It
    /// would be wrong for a condition without an equality, or one that reads a third cube; see [`TreeJoin::can_nest`].
    fn nested(&mut self, node: &str, joins: &[TreeJoin]) -> Result<LogicalPlan> {
        let source = self.cube(cube_of(node))?.data_source.clone();
        let mut plan = self.guarded_scan(node)?;
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for join in joins.iter().filter(|join| join.from == node) {
            if self.cube(cube_of(&join.to))?.data_source == source { near.push(join) } else { far.push(join) }
        }
        for join in near.into_iter().chain(far) {
            let right = self.nested(&join.to, joins)?;
            plan = left_join(plan, right, join.condition.clone())?;
        }
        Ok(plan)
    }

    /// Cubes and joins that need what is not executed yet.
    fn refuse_unusable(&self) -> Result<()> {
        for name in self.tree.nodes().map(cube_of) {
            let cube = self.cube(name)?;
            if let Some(unsupported) = &cube.unsupported {
                return Err(PlanError::unsupported(format!(
                    "cube \"{name}\" uses {}, which is not supported yet",
                    unsupported.feature
                )));
            }
        }
        for edge in &self.tree.edges {
            if let Some(unsupported) = join_between(self.model(), cube_of(&edge.from), cube_of(&edge.to))
                .and_then(|join| join.unsupported.as_ref())
            {
                return Err(PlanError::unsupported(format!(
                    "the join from \"{}\" to \"{}\" uses {}, which is not supported yet",
                    cube_of(&edge.from),
                    cube_of(&edge.to),
                    unsupported.feature
                )));
            }
        }
        Ok(())
    }

    /// Begins with the base columns that another collected at a node, which is a cube's own here, under their names there.
    pub(super) fn take_columns(&mut self, other: &mut Self, node: &str) {
        other.needs_column(node);
        if let Some(columns) = other.columns.get(node) {
            self.columns.insert(cube_of(node).to_owned(), columns.clone());
        }
        // Names that the other has, of whatever cube, are not taken again.
        self.names_from = other.columns.values().map(Vec::len).sum();
    }

    /// Takes no name that another has for its columns.
    pub(super) fn names_after(&mut self, other: &JoinedRows<'_>) {
        self.names_from = other.names_from + other.columns.values().map(Vec::len).sum::<usize>();
    }

    /// The names of a node's base columns collected so far.
    pub(super) fn columns_of(&self, node: &str) -> Vec<String> {
        let columns = self.columns.get(node).into_iter().flatten();
        columns.map(|column| column.field.name().clone()).collect()
    }

    /// A scan without any column would have no rows to count.
    fn needs_column(&mut self, node: &str) {
        if self.columns.get(node).is_none_or(Vec::is_empty) {
            self.presence(node);
        }
    }

    /// All rows of a node's cube, without the measures of its sub-query dimensions: what a user may see of them is
    /// [`JoinedRows::guarded_scan`].
    pub(super) fn scan(&mut self, node: &str) -> Result<LogicalPlan> {
        let cube = self.cube(cube_of(node))?;
        let dialect = self.dialect(cube)?;
        self.needs_column(node);
        let columns = self.columns.get(node).cloned().unwrap_or_default();
        if let Some(stored) = stored_rows(cube, node, &columns, self.planning)? {
            return Ok(stored);
        }
        self.planning.report.borrow_mut().from_sources += 1;
        let relation = self.relation(cube)?;
        let alias = members::alias_of(cube);
        let name = TableReference::bare(node);
        if dialect == SourceDialect::Files {
            let relation = members::relation_sql(self.model(), cube)?;
            return files::base_plan(self.planning, cube, &relation, alias, &columns, &name);
        }
        // Read by the types that the model declares, a value may be another one than the source's.
        if self.planning.catalog.sources.is_untyped(&cube.data_source) {
            return Err(PlanError::new("08001", format!("data source \"{}\" cannot be reached", cube.data_source))
                .hint(
                    "It was away when the model was loaded, and is asked again every few seconds. The log says why.",
                ));
        }
        let source: Arc<dyn TableSource> = self
            .planning
            .catalog
            .sources
            .base_table(&cube.data_source, &relation, alias, columns)
            .map_err(|error| bind::errors::plan_error(error, &[]))?;
        TableScanBuilder::new(name, source)
            .build()
            .map(LogicalPlan::TableScan)
            .map_err(|error| bind::errors::plan_error(error, &[]))
    }
}

pub(crate) fn internal(error: datafusion_common::DataFusionError) -> PlanError {
    bind::errors::plan_error(error, &[])
}

pub(crate) fn not_yet(cube: &str, member: &str, feature: &str) -> PlanError {
    PlanError::unsupported(format!("\"{cube}.{member}\" uses {feature}, which is not supported yet"))
}

pub(crate) fn view_named<'m>(model: &'m Model, name: &str) -> Result<&'m View> {
    model.views.get(name).ok_or_else(|| PlanError::internal(format!("view \"{name}\" is not in the model")))
}

pub(crate) fn missing(cube: &str, member: &str) -> PlanError {
    PlanError::internal(format!("cube \"{cube}\" has no member \"{member}\""))
}

pub(crate) fn dimension_named<'m>(cube: &'m Cube, member: &str) -> Result<&'m Dimension> {
    cube.dimensions.get(member).ok_or_else(|| missing(&cube.naming.name, member))
}

/// The dialect of a cube's data source.
///
/// # Errors
/// 0A000 when the source is not configured.
pub fn dialect_of(catalog: &Catalog, cube: &Cube) -> Result<SourceDialect> {
    catalog.sources.dialect(&cube.data_source).ok_or_else(|| {
        PlanError::unsupported(format!(
            "cube \"{}\" is in data source \"{}\", which is not configured",
            cube.naming.name, cube.data_source
        ))
        .hint("Add it under data_sources in the configuration.")
    })
}

/// The text and type of a base column. MySQL's booleans are numbers: what must be a boolean is compared with 0.
#[must_use]
pub fn typed_base(
    catalog: &Catalog,
    cube: &Cube,
    sql: &str,
    boolean: bool,
    dialect: SourceDialect,
) -> (String, TypedExpr) {
    let known = catalog.sources.typed(&cube.naming.name, sql);
    let is_boolean = known.as_ref().is_some_and(|typed| typed.field.data_type() == &DataType::Boolean);
    if boolean && !is_boolean {
        let field = Field::new("c", DataType::Boolean, true);
        let sql = if dialect == SourceDialect::MySql { format!("({sql}) <> 0") } else { sql.to_owned() };
        return (sql, TypedExpr { field, compares_by_code_point: true });
    }
    let typed =
        known.unwrap_or(TypedExpr { field: Field::new("c", types::BARE_NUMERIC, true), compares_by_code_point: true });
    (sql.to_owned(), typed)
}
