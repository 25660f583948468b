//! What can be queried: the tables that views and cubes are to SQL, and the typed row expressions below them.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use belvedere_functions::Zone;
use belvedere_model::{Dimension, Mask, Measure, MemberKind, Model, ViewMemberValue};
use datafusion_common::{ScalarValue, TableReference};
use datafusion_expr::TableSource;
use indexmap::IndexMap;

use crate::error::{PlanError, Result};
use crate::nodes::fact_leg::LegLeaf;
use crate::policy::Policies;
use crate::policy::condition::Condition;
use crate::policy::grants::Grants;
use crate::rollups::Rollups;

/// The dialect that a data source's SQL is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceDialect {
    Postgres,
    MySql,
    /// Files are read in-process; their SQL is ours.
    Files,
}

impl SourceDialect {
    /// Quotes an identifier. Names of cubes and our own aliases only: they have no quote in them.
    #[must_use]
    pub fn quoted(self, identifier: &str) -> String {
        match self {
            Self::Postgres | Self::Files => format!("\"{}\"", identifier.replace('"', "\"\"")),
            Self::MySql => format!("`{}`", identifier.replace('`', "``")),
        }
    }
}

/// A row expression of one cube, typed by its source.
#[derive(Debug, Clone, PartialEq)]
pub struct TypedExpr {
    pub field: Field,
    /// Whether the source compares this text by code point.
    pub compares_by_code_point: bool,
}

/// A column of a cube's base scan: `sql` over the cube's relation.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseColumn {
    pub sql: String,
    /// Named as the plan refers to it.
    pub field: Field,
    pub compares_by_code_point: bool,
}

/// A piece of the SQL of a relation: the model author's text, or a value to bind.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlPiece {
    Text(String),
    Value(ScalarValue),
}

/// What the planner asks about data sources. It never runs anything.
pub trait Sources: Debug + Send + Sync {
    /// `None` for a data source that is not configured.
    fn dialect(&self, data_source: &str) -> Option<SourceDialect>;

    /// The zone whose wall clock the `timestamp` columns of a data source show.
    fn zone(&self, data_source: &str) -> Zone;

    /// The type of `sql` over the relation of `cube`; `None` when the source could not be asked.
    fn typed(&self, cube: &str, sql: &str) -> Option<TypedExpr>;

    /// Whether a data source could not be asked when the model was loaded, so that no type of it is known.
    fn is_untyped(&self, data_source: &str) -> bool;

    /// A base scan at a database: `SELECT columns FROM relation AS alias`.
    fn base_table(
        &self,
        data_source: &str,
        relation: &[SqlPiece],
        alias: &str,
        columns: Vec<BaseColumn>,
    ) -> datafusion_common::Result<Arc<dyn TableSource>>;

    /// A table of a source of type `files`.
    fn file_table(&self, data_source: &str, table: &TableReference) -> Option<Arc<dyn TableSource>>;
}

/// Everything one statement is planned against.
#[derive(Debug, Clone)]
pub struct Catalog {
    pub model: Arc<Model>,
    /// Public views and cubes, by name as written.
    pub tables: IndexMap<String, Arc<ViewTable>>,
    pub sources: Arc<dyn Sources>,
    /// Until [`seen_by`](crate::policy::seen_by) they are nobody's, and nothing can be queried.
    pub policies: Arc<Policies>,
    /// Names of tables and columns that policies took away.
    pub hidden: Arc<HashSet<String>>,
    pub rollups: Arc<Rollups>,
}

impl Catalog {
    /// The table that a name in SQL means: the exact one, else the only one that differs just in case. A name with capitals was
    /// quoted, and is exact.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Arc<ViewTable>> {
        if let Some(exact) = self.tables.get(name) {
            return Some(exact);
        }
        if name.chars().any(char::is_uppercase) {
            return None;
        }
        let mut matching = self.tables.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        match (matching.next(), matching.next()) {
            (Some((_, table)), None) => Some(table),
            _ => None,
        }
    }
}

/// A view or cube as a table: dimensions, measures, segments, in that order as defined.
#[derive(Debug, Clone)]
pub struct ViewTable {
    pub name: String,
    pub columns: IndexMap<String, MemberColumn>,
    pub schema: SchemaRef,
    /// A feature that the whole view or cube needs and that is not executed yet.
    pub unsupported: Option<String>,
    /// The first cube that a query begins at which names no member: the first member's, whether a user sees that or not.
    pub root: Option<String>,
    /// Of a view with access policies.
    pub grants: Option<Arc<Grants>>,
    /// Of a view (reference V10).
    pub default_filters: Vec<DefaultFilter>,
}

/// A condition that a view adds to what is asked of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DefaultFilter {
    pub condition: Condition,
    /// Members whose own condition in a query takes its place.
    pub switched_off_by: Vec<String>,
}

/// One column of a view: a member of a cube, reached by a path.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberColumn {
    pub kind: MemberKind,
    /// The cubes to walk; the last one owns the member. Empty for a member of the view itself.
    pub path: Vec<String>,
    pub member: String,
    /// The view, where it defines the member itself.
    pub view: Option<String>,
    /// Set where not the measure is meant, but the values of a row that one of its leaves aggregates.
    pub values_of: Option<Arc<LegLeaf>>,
    pub field: Field,
    pub mask: Option<Arc<MaskedMember>>,
}

/// A member that a user sees masked.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedMember {
    /// The rows whose own value is shown; `None`: no row's.
    pub shown_where: Option<Condition>,
}

impl MemberColumn {
    /// The cube that owns the member.
    ///
    /// # Errors
    /// XX000 for a member that a view defines itself.
    pub fn cube(&self) -> Result<&str> {
        self.path
            .last()
            .map(String::as_str)
            .ok_or_else(|| PlanError::internal(format!("\"{}\" is no cube's member", self.member)))
    }

    /// What the model shows in the place of the member's value.
    #[must_use]
    pub fn mask_of<'m>(&self, model: &'m Model) -> Option<&'m Mask> {
        match self.kind {
            MemberKind::Dimension => self.dimension(model)?.details.mask.as_ref(),
            MemberKind::Measure => self.measure(model)?.details.mask.as_ref(),
            MemberKind::Segment => None,
        }
    }

    /// The definition of a measure.
    #[must_use]
    pub fn measure<'m>(&self, model: &'m Model) -> Option<&'m Measure> {
        match &self.view {
            None => model.cubes.get(self.path.last()?)?.measures.get(&self.member),
            Some(view) => match &model.views.get(view)?.members.get(&self.member)?.value {
                ViewMemberValue::OwnMeasure(measure) => Some(measure),
                ViewMemberValue::OwnDimension(_) | ViewMemberValue::Included { .. } => None,
            },
        }
    }

    /// The definition of a dimension.
    #[must_use]
    pub fn dimension<'m>(&self, model: &'m Model) -> Option<&'m Dimension> {
        match &self.view {
            None => model.cubes.get(self.path.last()?)?.dimensions.get(&self.member),
            Some(view) => match &model.views.get(view)?.members.get(&self.member)?.value {
                ViewMemberValue::OwnDimension(dimension) => Some(dimension),
                ViewMemberValue::OwnMeasure(_) | ViewMemberValue::Included { .. } => None,
            },
        }
    }
}

/// The text column that stands for "the model's own join" in `JOIN … ON a.__cubeJoinField = b.__cubeJoinField`.
pub const JOIN_FIELD: &str = "__cubeJoinField";

impl ViewTable {
    #[must_use]
    pub fn new(name: String, columns: IndexMap<String, MemberColumn>, unsupported: Option<String>) -> Self {
        let fields: Vec<Field> =
            columns.iter().map(|(column, member)| member.field.clone().with_name(column).with_nullable(true)).collect();
        Self {
            name,
            root: columns.values().find_map(|column| column.path.first().cloned()),
            columns,
            schema: Arc::new(Schema::new_with_metadata(fields, HashMap::new())),
            unsupported,
            grants: None,
            default_filters: Vec::new(),
        }
    }

    /// The same table with these columns: whatever else holds for the table still does.
    #[must_use]
    pub fn with_columns(&self, columns: IndexMap<String, MemberColumn>) -> Self {
        let Self { schema, .. } = Self::new(self.name.clone(), columns.clone(), None);
        Self { columns, schema, ..self.clone() }
    }
}

/// A view table inside a plan. `JOIN_FIELD` can be named, though `SELECT *` would show it: it is hidden from the schema of
/// [`ViewTable`] and added by [`ViewTableSource::with_join_field`] only where a statement names it.
#[derive(Debug, Clone)]
pub struct ViewTableSource {
    pub table: Arc<ViewTable>,
    /// The default filters of the table that the statement leaves in force, by position.
    pub defaults: Vec<usize>,
    schema: SchemaRef,
}

impl ViewTableSource {
    #[must_use]
    pub fn new(table: Arc<ViewTable>) -> Self {
        let schema = Arc::clone(&table.schema);
        Self { table, defaults: Vec::new(), schema }
    }

    /// The same table with other default filters in force.
    #[must_use]
    pub fn with_defaults(&self, defaults: Vec<usize>) -> Self {
        Self { defaults, ..self.clone() }
    }

    #[must_use]
    pub fn with_join_field(table: Arc<ViewTable>) -> Self {
        let mut fields: Vec<Field> = table.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.push(Field::new(JOIN_FIELD, arrow::datatypes::DataType::Utf8, true));
        Self { table, defaults: Vec::new(), schema: Arc::new(Schema::new(fields)) }
    }
}

impl TableSource for ViewTableSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
