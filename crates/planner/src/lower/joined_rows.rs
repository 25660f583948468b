//! The rows of one join tree: base scans of its cubes, left-joined from the root, and member values as expressions over them.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use belvedere_functions::{CastTarget, PgType, Zone};
use belvedere_model::{
    CaseLabel, Cube, Dimension, DimensionKind, DimensionValue, MemberRef, Model, SqlTemplate, TemplatePart,
};
use datafusion_common::{Column, DFSchema, JoinType, NullEquality, TableReference};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{Case, Expr, LogicalPlan, LogicalPlanBuilder, TableScanBuilder, TableSource, lit};
use datafusion_sql::sqlparser::ast::Expr as SqlExpr;
use datafusion_sql::sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect};
use datafusion_sql::sqlparser::parser::Parser;
use indexmap::IndexMap;

use crate::bind;
use crate::catalog::{BaseColumn, Catalog, SourceDialect, TypedExpr};
use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::{JoinTree, join_between};
use crate::files;
use crate::functions::Functions;
use crate::members::{self, JoinTerm, Marked};
use crate::session::SessionFacts;
use crate::types;

/// Member values refer to each other no deeper than this; loading refuses cycles.
const REFERENCE_DEPTH_MAX: usize = 64;

/// The wall clock of a zone at an instant, and back.
const TO_LOCAL: &str = "to_local";
const FROM_LOCAL: &str = "from_local";

/// What lowering needs everywhere.
#[derive(Clone, Copy)]
pub struct Planning<'a> {
    pub catalog: &'a Catalog,
    pub functions: &'a Arc<Functions>,
    pub session: &'a SessionFacts,
    /// Lower-case names in the statement's text; see [`read_rows`](super::read_rows::read_rows).
    pub mentioned: &'a HashSet<String>,
    /// Sentences for NOTICE, added while lowering.
    pub notices: &'a RefCell<Vec<String>>,
}

/// Collects the base columns that member values need, then builds the joined scans.
pub struct JoinedRows<'a> {
    pub planning: Planning<'a>,
    pub tree: JoinTree,
    columns: IndexMap<String, Vec<BaseColumn>>,
}

impl<'a> JoinedRows<'a> {
    #[must_use]
    pub fn new(planning: Planning<'a>, tree: JoinTree) -> Self {
        Self { planning, tree, columns: IndexMap::new() }
    }

    fn model(&self) -> &'a Model {
        &self.planning.catalog.model
    }

    pub(crate) fn cube(&self, name: &str) -> Result<&'a Cube> {
        members::cube_named(self.model(), name)
    }

    pub(crate) fn dialect(&self, cube: &Cube) -> Result<SourceDialect> {
        dialect_of(self.planning.catalog, cube)
    }

    /// The value of a dimension as a query sees it: time dimensions in the session's zone.
    ///
    /// # Errors
    /// 0A000 naming what is not executed yet; XX000 for our own contradictions.
    pub fn dimension(&mut self, cube: &str, member: &str) -> Result<Expr> {
        let cube = self.cube(cube)?;
        let dimension = dimension_named(cube, member)?;
        let stored = self.stored_dimension(cube, dimension, 0)?;
        if dimension.kind == DimensionKind::Time {
            let data_type = self.type_of(&stored)?;
            return self.local(stored, &data_type);
        }
        Ok(stored)
    }

    /// Wall-clock time in the session's zone.
    fn local(&self, value: Expr, data_type: &DataType) -> Result<Expr> {
        let zone = self.planning.session.zone;
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
    pub(crate) fn stored_dimension(&mut self, cube: &'a Cube, dimension: &'a Dimension, depth: usize) -> Result<Expr> {
        if depth > REFERENCE_DEPTH_MAX {
            return Err(PlanError::new("54001", "members refer to members too deeply"));
        }
        if let Some(unsupported) = &dimension.unsupported {
            return Err(not_yet(&cube.naming.name, &dimension.naming.name, &unsupported.feature));
        }
        let boolean = dimension.kind == DimensionKind::Boolean;
        match &dimension.value {
            DimensionValue::Sql(template) => self.row_value(cube, template, boolean, depth),
            DimensionValue::Case { whens, otherwise } => {
                let mut branches = Vec::with_capacity(whens.len());
                for (condition, label) in whens {
                    let condition = self.row_value(cube, condition, true, depth)?;
                    branches.push((Box::new(condition), Box::new(self.label(cube, label, depth)?)));
                }
                let otherwise = match otherwise {
                    Some(label) => Some(Box::new(self.label(cube, label, depth)?)),
                    None => None,
                };
                Ok(Expr::Case(Case::new(None, branches, otherwise)))
            }
            DimensionValue::Geo { latitude, longitude } => {
                let latitude = self.row_value(cube, latitude, false, depth)?;
                let longitude = self.row_value(cube, longitude, false, depth)?;
                let text = |value: Expr| {
                    let target = CastTarget::from_type(PgType::Text);
                    Expr::ScalarFunction(ScalarFunction::new_udf(belvedere_functions::pg_cast(target), vec![value]))
                };
                let concat = self.planning.functions.needed_scalar("pg_concat").map_err(internal)?;
                let left =
                    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&concat), vec![text(latitude), lit(",")]));
                Ok(Expr::ScalarFunction(ScalarFunction::new_udf(concat, vec![left, text(longitude)])))
            }
            DimensionValue::Switch { .. } => Err(not_yet(&cube.naming.name, &dimension.naming.name, "switch")),
        }
    }

    fn label(&mut self, cube: &'a Cube, label: &'a CaseLabel, depth: usize) -> Result<Expr> {
        match label {
            CaseLabel::Text(text) => Ok(lit(text.clone())),
            CaseLabel::Sql(template) => self.row_value(cube, template, false, depth),
        }
    }

    /// A segment: a boolean.
    ///
    /// # Errors
    /// As [`JoinedRows::dimension`].
    pub fn segment(&mut self, cube: &str, member: &str) -> Result<Expr> {
        let cube = self.cube(cube)?;
        let segment = cube.segments.get(member).ok_or_else(|| missing(&cube.naming.name, member))?;
        if let Some(unsupported) = &segment.unsupported {
            return Err(not_yet(&cube.naming.name, member, &unsupported.feature));
        }
        self.row_value(cube, &segment.sql, true, 0)
    }

    /// A row expression of a cube. What lies wholly in the cube runs at its source, whatever it is; what reaches other cubes
    /// is put together here, and must be in our expression table.
    ///
    /// # Errors
    /// As [`JoinedRows::dimension`].
    pub fn row_value(
        &mut self,
        cube: &'a Cube,
        template: &'a SqlTemplate,
        boolean: bool,
        depth: usize,
    ) -> Result<Expr> {
        if let Some(reference) = members::sole_reference(template)
            && reference.cube() != cube.naming.name
        {
            return self.referenced(reference, depth);
        }
        let dialect = self.dialect(cube)?;
        if let Some(sql) = members::own_sql(self.model(), cube, template, dialect)? {
            return self.base_column(cube, &sql, boolean);
        }
        let marked = Marked::new(template);
        self.mixed_value(cube, &marked, depth)
    }

    fn referenced(&mut self, reference: &MemberRef, depth: usize) -> Result<Expr> {
        let owner = self.cube(reference.cube())?;
        if reference.granularity.is_some() {
            return Err(PlanError::unsupported(format!(
                "the reference {{{}.{}.{}}} is not supported yet",
                reference.cube(),
                reference.member,
                reference.granularity.as_deref().unwrap_or_default()
            )));
        }
        if let Some(dimension) = owner.dimensions.get(&reference.member) {
            return self.stored_dimension(owner, dimension, depth + 1);
        }
        if let Some(segment) = owner.segments.get(&reference.member) {
            return self.row_value(owner, &segment.sql, true, depth + 1);
        }
        Err(PlanError::unsupported(format!(
            "a row expression refers to the measure \"{}.{}\"",
            reference.cube(),
            reference.member
        ))
        .hint("Only dimensions and segments have a value on each row."))
    }

    /// An expression that reaches several cubes, over the base columns of each.
    fn mixed_value(&mut self, cube: &'a Cube, marked: &Marked, depth: usize) -> Result<Expr> {
        let dialect = self.dialect(cube)?;
        let ast = parse_member(&marked.text, dialect, cube)?;
        let mut values: HashMap<String, Expr> = HashMap::new();
        let mut ast = ast;
        let mut failure = None;
        replace_identifiers(&mut ast, &mut |idents| {
            let key = format!("v{}", values.len());
            match self.identifier_value(cube, marked, idents, depth) {
                Ok(value) => {
                    values.insert(key.clone(), value);
                }
                Err(error) => failure = failure.take().or(Some(error)),
            }
            key
        });
        if let Some(error) = failure {
            return Err(error);
        }
        let fields = values
            .iter()
            .map(|(name, value)| self.type_of(value).map(|data_type| Field::new(name, data_type, true)))
            .collect::<Result<Vec<_>>>()?;
        let schema = DFSchema::try_from(arrow::datatypes::Schema::new(fields)).map_err(internal)?;
        let planning = self.planning;
        // The model's own SQL sees stored values: UTC.
        let session = planning.session.in_utc();
        let expr = bind::bind_expr(ast, &schema, planning.catalog, planning.functions, &session, dialect)?;
        substitute(expr, &values)
    }

    /// `__r0`, `__r0.column`, or a plain column of the cube.
    fn identifier_value(&mut self, cube: &'a Cube, marked: &Marked, idents: &[String], depth: usize) -> Result<Expr> {
        let dialect = self.dialect(cube)?;
        match idents {
            [only] => match marked.reference(only).cloned() {
                Some(TemplatePart::Member(reference)) => self.referenced(&reference, depth),
                Some(_) => Err(PlanError::unsupported(format!(
                    "a member of cube \"{}\" uses a whole cube as a value",
                    cube.naming.name
                ))),
                None => {
                    let sql = format!("{}.{}", dialect.quoted(members::alias_of(cube)), plain(only, dialect));
                    self.base_column(cube, &sql, false)
                }
            },
            [table, column] => match marked.reference(table).cloned() {
                Some(TemplatePart::ThisCube) => {
                    let sql = format!("{}.{}", dialect.quoted(members::alias_of(cube)), plain(column, dialect));
                    self.base_column(cube, &sql, false)
                }
                Some(TemplatePart::Cube(other)) => {
                    let other = self.cube(&other)?;
                    let dialect = self.dialect(other)?;
                    let sql = format!("{}.{}", dialect.quoted(members::alias_of(other)), plain(column, dialect));
                    self.base_column(other, &sql, false)
                }
                _ => Err(PlanError::unsupported(format!("\"{table}.{column}\" in a member's SQL cannot be resolved"))),
            },
            _ => Err(PlanError::unsupported("a name of more than two parts in a member's SQL")),
        }
    }

    /// A column of the cube's base scan, added once. A `timestamp` is UTC whatever its source's zone is.
    pub(crate) fn base_column(&mut self, cube: &'a Cube, sql: &str, boolean: bool) -> Result<Expr> {
        let dialect = self.dialect(cube)?;
        let (sql, typed) = typed_base(self.planning.catalog, cube, sql, boolean, dialect);
        let columns = self.columns.entry(cube.naming.name.clone()).or_default();
        let index = match columns.iter().position(|known| known.sql == sql) {
            Some(index) => index,
            None => {
                columns.push(BaseColumn {
                    field: typed.field.with_name(format!("c{}", columns.len())).with_nullable(true),
                    compares_by_code_point: typed.compares_by_code_point,
                    sql,
                });
                columns.len() - 1
            }
        };
        let is_wall_clock = columns[index].field.data_type() == &DataType::Timestamp(TimeUnit::Microsecond, None);
        let column =
            Expr::Column(Column::new(Some(TableReference::bare(cube.naming.name.clone())), format!("c{index}")));
        let zone = self.planning.catalog.sources.zone(&cube.data_source);
        if is_wall_clock && zone != Zone::UTC { self.utc(column, zone) } else { Ok(column) }
    }

    /// A column that is not null on every row of the cube, and null where a LEFT JOIN found none.
    pub(crate) fn presence(&mut self, cube: &'a Cube) -> Result<Expr> {
        let name = cube.naming.name.clone();
        let columns = self.columns.entry(name.clone()).or_default();
        let index = match columns.iter().position(|known| known.sql == "1") {
            Some(index) => index,
            None => {
                columns.push(BaseColumn {
                    sql: "1".to_owned(),
                    field: Field::new(format!("c{}", columns.len()), DataType::Int32, true),
                    compares_by_code_point: true,
                });
                columns.len() - 1
            }
        };
        Ok(Expr::Column(Column::new(Some(TableReference::bare(name)), format!("c{index}"))))
    }

    /// The type of an expression over the columns collected so far.
    pub(crate) fn type_of(&self, expr: &Expr) -> Result<DataType> {
        use datafusion_expr::ExprSchemable;
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
        DFSchema::new_with_metadata(fields, HashMap::new()).map_err(internal)
    }

    /// The SQL of all base columns collected so far, by cube.
    pub(crate) fn base_sql(&self) -> Vec<(String, String)> {
        self.columns
            .iter()
            .flat_map(|(cube, columns)| columns.iter().map(move |column| (cube.clone(), column.sql.clone())))
            .collect()
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
        let edges = self.tree.edges.clone();
        let mut joins = Vec::with_capacity(edges.len());
        for edge in edges {
            let condition = self.join_condition(&edge.from, &edge.to)?;
            joins.push(TreeJoin { from: edge.from, to: edge.to, condition });
        }
        let root = self.tree.root.clone();
        if joins.iter().all(TreeJoin::can_nest) {
            return self.nested(&root, &joins);
        }
        let mut plan = self.scan(&root)?;
        for join in joins {
            let right = self.scan(&join.to)?;
            plan = left_join(plan, right, join.condition)?;
        }
        Ok(plan)
    }

    /// A cube with all that hangs below it, cubes of its own source first: what one source holds of a branch stays together, and
    /// goes to that source as one statement.
    ///
    /// `(a ⟕ b) ⟕ c` on `b = c` is `a ⟕ (b ⟕ c)`, because the equality never holds for the NULLs of a `b` that was not found. It
    /// would be wrong for a condition without an equality, or one that reads a third cube; see [`TreeJoin::can_nest`].
    fn nested(&mut self, cube: &str, joins: &[TreeJoin]) -> Result<LogicalPlan> {
        let source = self.cube(cube)?.data_source.clone();
        let mut plan = self.scan(cube)?;
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for join in joins.iter().filter(|join| join.from == cube) {
            if self.cube(&join.to)?.data_source == source { near.push(join) } else { far.push(join) }
        }
        for join in near.into_iter().chain(far) {
            let right = self.nested(&join.to, joins)?;
            plan = left_join(plan, right, join.condition.clone())?;
        }
        Ok(plan)
    }

    /// Cubes and joins that need what is not executed yet; access policies above all.
    fn refuse_unusable(&self) -> Result<()> {
        let cubes = std::iter::once(&self.tree.root).chain(self.tree.edges.iter().map(|edge| &edge.to));
        for name in cubes {
            let cube = self.cube(name)?;
            if !cube.access_policies.is_empty() {
                return Err(PlanError::unsupported(format!(
                    "cube \"{name}\" uses access_policy, which is not supported yet"
                )));
            }
            if let Some(unsupported) = &cube.unsupported {
                return Err(PlanError::unsupported(format!(
                    "cube \"{name}\" uses {}, which is not supported yet",
                    unsupported.feature
                )));
            }
        }
        for edge in &self.tree.edges {
            if let Some(unsupported) =
                join_between(self.model(), &edge.from, &edge.to).and_then(|join| join.unsupported.as_ref())
            {
                return Err(PlanError::unsupported(format!(
                    "the join from \"{}\" to \"{}\" uses {}, which is not supported yet",
                    edge.from, edge.to, unsupported.feature
                )));
            }
        }
        Ok(())
    }

    fn scan(&mut self, cube: &str) -> Result<LogicalPlan> {
        let cube = self.cube(cube)?;
        let dialect = self.dialect(cube)?;
        if self.columns.get(&cube.naming.name).is_none_or(Vec::is_empty) {
            self.presence(cube)?;
        }
        let columns = self.columns.get(&cube.naming.name).cloned().unwrap_or_default();
        let relation = members::relation_sql(self.model(), cube)?;
        let alias = members::alias_of(cube);
        let name = TableReference::bare(cube.naming.name.clone());
        if dialect == SourceDialect::Files {
            return files::base_plan(self.planning, cube, &relation, alias, &columns, &name);
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

    fn join_condition(&mut self, from: &str, to: &str) -> Result<Condition> {
        let join = join_between(self.model(), from, to)
            .ok_or_else(|| PlanError::internal(format!("no join from \"{from}\" to \"{to}\"")))?;
        let from = self.cube(from)?;
        let dialect = self.dialect(from)?;
        let mut condition = Condition { on: Vec::new(), filter: Vec::new() };
        for term in members::join_terms(&join.sql, dialect)? {
            match term {
                JoinTerm::Equal(one, other) => {
                    let (one_cube, one_value) = self.join_side(from, to, &one)?;
                    let (other_cube, other_value) = self.join_side(from, to, &other)?;
                    let (one_value, other_value) = self.same_type(one_value, other_value)?;
                    if one_cube != to && other_cube == to {
                        condition.on.push((one_value, other_value));
                    } else if one_cube == to && other_cube != to {
                        condition.on.push((other_value, one_value));
                    } else {
                        condition.filter.push(one_value.eq(other_value));
                    }
                }
                JoinTerm::Other(template) => {
                    let marked = Marked::new(&template);
                    let value = self.mixed_value(from, &marked, 0)?;
                    condition.filter.push(value);
                }
            }
        }
        if condition.on.is_empty() && condition.filter.is_empty() {
            return Err(PlanError::internal("a join condition is empty"));
        }
        Ok(condition)
    }

    /// One side of an equality, with the cube that it belongs to.
    fn join_side(&mut self, from: &'a Cube, to: &str, template: &SqlTemplate) -> Result<(String, Expr)> {
        let mut cubes: Vec<String> = Vec::new();
        for part in &template.parts {
            let cube = match part {
                TemplatePart::ThisCube => from.naming.name.clone(),
                TemplatePart::Cube(other) => other.clone(),
                TemplatePart::Member(reference) => reference.cube().to_owned(),
                TemplatePart::Text(_) | TemplatePart::CubeSql(_) | TemplatePart::Context(_) => continue,
            };
            if !cubes.contains(&cube) {
                cubes.push(cube);
            }
        }
        match cubes.as_slice() {
            // All of one cube: rendered as that cube's own SQL, so that anything its source computes may stand there.
            [only] => {
                let owner = self.cube(only)?;
                let own = owned_by(template, &owner.naming.name);
                let dialect = self.dialect(owner)?;
                if let Some(reference) = members::sole_reference(&own)
                    && let Some(dimension) = owner.dimensions.get(&reference.member)
                {
                    return Ok((only.clone(), self.stored_dimension(owner, dimension, 0)?));
                }
                match members::own_sql(self.model(), owner, &own, dialect)? {
                    Some(sql) => Ok((only.clone(), self.base_column(owner, &sql, false)?)),
                    None => {
                        let marked = Marked::new(&own);
                        Ok((only.clone(), self.mixed_value(owner, &marked, 0)?))
                    }
                }
            }
            [] => {
                // A constant, or a bare column of the declaring cube.
                let dialect = self.dialect(from)?;
                match members::own_sql(self.model(), from, template, dialect)? {
                    Some(sql) => Ok((from.naming.name.clone(), self.base_column(from, &sql, false)?)),
                    None => Err(PlanError::internal("a join side without references is not own SQL")),
                }
            }
            _ => {
                let marked = Marked::new(template);
                let value = self.mixed_value(from, &marked, 0)?;
                Ok((if cubes.iter().any(|cube| cube == to) { "" } else { from.naming.name.as_str() }.to_owned(), value))
            }
        }
    }

    fn same_type(&self, one: Expr, other: Expr) -> Result<(Expr, Expr)> {
        let (one_type, other_type) = (self.type_of(&one)?, self.type_of(&other)?);
        if one_type == other_type {
            return Ok((one, other));
        }
        let common = belvedere_functions::comparison_type(&one_type, &other_type).ok_or_else(|| {
            PlanError::new(
                "42883",
                format!(
                    "a join compares {} with {}",
                    bind::operators::pg_name(&one_type),
                    bind::operators::pg_name(&other_type)
                ),
            )
            .hint("Cast one side in the join's sql.")
        })?;
        let session = &self.planning.session.in_utc();
        let one = bind::operators::cast_exactly(one, &one_type, &common, session).map_err(internal)?;
        let other = bind::operators::cast_exactly(other, &other_type, &common, session).map_err(internal)?;
        Ok((one, other))
    }
}

#[derive(Clone)]
struct Condition {
    /// Equalities: the left side's expression, the right side's.
    on: Vec<(Expr, Expr)>,
    filter: Vec<Expr>,
}

/// One edge of the tree with its condition.
struct TreeJoin {
    from: String,
    to: String,
    condition: Condition,
}

impl TreeJoin {
    /// Whether the right side may be joined with what hangs below it first.
    fn can_nest(&self) -> bool {
        let own = |expr: &Expr, cubes: &[&str]| {
            expr.column_refs()
                .iter()
                .all(|column| column.relation.as_ref().is_some_and(|relation| cubes.contains(&relation.table())))
        };
        let both = [self.from.as_str(), self.to.as_str()];
        // A key that no NULL equals must read the left cube itself.
        let rejects_nulls =
            self.condition.on.iter().any(|(left, _)| matches!(left, Expr::Column(_)) && own(left, &both[..1]));
        rejects_nulls
            && self.condition.on.iter().all(|(left, right)| own(left, &both[..1]) && own(right, &both[1..]))
            && self.condition.filter.iter().all(|filter| own(filter, &both))
    }
}

fn left_join(left: LogicalPlan, right: LogicalPlan, condition: Condition) -> Result<LogicalPlan> {
    let builder = LogicalPlanBuilder::from(left);
    let joined = if condition.on.is_empty() {
        builder.join_on(right, JoinType::Left, condition.filter)
    } else {
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = condition.on.into_iter().unzip();
        join_with_keys(builder, right, left_keys, right_keys, condition.filter)
    };
    joined.and_then(LogicalPlanBuilder::build).map_err(|error| bind::errors::plan_error(error, &[]))
}

/// LEFT JOIN on expressions of each side.
fn join_with_keys(
    builder: LogicalPlanBuilder,
    right: LogicalPlan,
    left_keys: Vec<Expr>,
    right_keys: Vec<Expr>,
    filter: Vec<Expr>,
) -> datafusion_common::Result<LogicalPlanBuilder> {
    let left = builder.build()?;
    let on = left_keys.into_iter().zip(right_keys).collect();
    let filter = datafusion_expr::utils::conjunction(filter);
    let join = datafusion_expr::Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        filter,
        JoinType::Left,
        datafusion_expr::JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    )?;
    Ok(LogicalPlanBuilder::from(LogicalPlan::Join(join)))
}

/// The template as if `cube` had written it: its own alias and members.
fn owned_by(template: &SqlTemplate, cube: &str) -> SqlTemplate {
    let parts = template
        .parts
        .iter()
        .map(|part| match part {
            TemplatePart::Cube(other) if other == cube => TemplatePart::ThisCube,
            TemplatePart::Member(reference) => {
                TemplatePart::Member(MemberRef { path: vec![cube.to_owned()], ..reference.clone() })
            }
            other => other.clone(),
        })
        .collect();
    SqlTemplate { parts, ..template.clone() }
}

pub(crate) fn internal(error: datafusion_common::DataFusionError) -> PlanError {
    bind::errors::plan_error(error, &[])
}

pub(crate) fn not_yet(cube: &str, member: &str, feature: &str) -> PlanError {
    PlanError::unsupported(format!("\"{cube}.{member}\" uses {feature}, which is not supported yet"))
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

fn plain(identifier: &str, dialect: SourceDialect) -> String {
    let simple = identifier.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !identifier.starts_with(|c: char| c.is_ascii_digit());
    if simple { identifier.to_owned() } else { dialect.quoted(identifier) }
}

/// Parses member SQL as one expression.
pub(crate) fn parse_member(text: &str, dialect: SourceDialect, cube: &Cube) -> Result<SqlExpr> {
    let sql_dialect: &dyn Dialect = match dialect {
        SourceDialect::MySql => &MySqlDialect {},
        SourceDialect::Postgres | SourceDialect::Files => &PostgreSqlDialect {},
    };
    let unreadable = |reason: String| {
        PlanError::unsupported(format!("the SQL of a member of cube \"{}\" cannot be read: {reason}", cube.naming.name))
            .detail(
                "It reaches several cubes or measures, so it is computed here and must be an expression that we know.",
            )
    };
    let mut parser = Parser::new(sql_dialect)
        .with_recursion_limit(crate::parse::DEPTH_MAX)
        .try_with_sql(text)
        .map_err(|error| unreadable(error.to_string()))?;
    let expr = parser.parse_expr().map_err(|error| unreadable(error.to_string()))?;
    let rest = parser.peek_token();
    if rest.token != datafusion_sql::sqlparser::tokenizer::Token::EOF {
        return Err(unreadable(format!("unexpected \"{rest}\"")));
    }
    Ok(expr)
}

/// Puts a name of our own in the place of each identifier.
pub(crate) fn replace_identifiers(expr: &mut SqlExpr, name_for: &mut dyn FnMut(&[String]) -> String) {
    use datafusion_sql::sqlparser::ast::{Ident, VisitMut, VisitorMut};
    struct Replacer<'f>(&'f mut dyn FnMut(&[String]) -> String);
    impl VisitorMut for Replacer<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> std::ops::ControlFlow<()> {
            let idents: Vec<String> = match expr {
                SqlExpr::Identifier(ident) => vec![ident.value.clone()],
                SqlExpr::CompoundIdentifier(idents) => idents.iter().map(|ident| ident.value.clone()).collect(),
                _ => return std::ops::ControlFlow::Continue(()),
            };
            *expr = SqlExpr::Identifier(Ident::with_quote('"', (self.0)(&idents)));
            std::ops::ControlFlow::Continue(())
        }
    }
    let _: std::ops::ControlFlow<()> = expr.visit(&mut Replacer(name_for));
}

/// Puts values in the place of columns, by name.
pub(crate) fn substitute(expr: Expr, values: &HashMap<String, Expr>) -> Result<Expr> {
    use datafusion_common::tree_node::{Transformed, TreeNode};
    expr.transform_up(|node| {
        Ok(match node {
            Expr::Column(column) => match values.get(&column.name) {
                Some(value) => Transformed::yes(value.clone()),
                None => Transformed::no(Expr::Column(column)),
            },
            other => Transformed::no(other),
        })
    })
    .map(|transformed| transformed.data)
    .map_err(internal)
}
