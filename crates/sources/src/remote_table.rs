//! A table whose rows are the result of one statement at one source.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use belvedere_functions::PG_TYPE;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;

use crate::push_down::fragment::Fragment;
use crate::push_down::rules::{SqlType, rules, travels};
use crate::push_down::select::{Base, Output, RelationPiece, Select};
use crate::{Dialect, RemoteSource, Statement};

/// One column that a base relation offers.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseColumn {
    /// A row expression in the source's dialect, opaque to us; it refers to the relation by the alias given with it.
    pub sql: String,
    /// Name, type, nullability and metadata of the column here.
    pub field: Field,
    /// See [`SourceColumn::compares_by_code_point`](crate::SourceColumn::compares_by_code_point).
    pub compares_by_code_point: bool,
}

impl BaseColumn {
    /// What stands in the base scan, and whether that is compared by code point.
    ///
    /// Text that PostgreSQL would compare otherwise (`character(n)`, `citext`, enums, nondeterministic collations) becomes what
    /// its cast to text says, under the collation "C": every operation there and here then sees the same value. An index on
    /// the bare column does not help any longer.
    fn as_sent(&self, dialect: Dialect) -> (String, bool) {
        let is_text = self.field.data_type() == &DataType::Utf8 && !self.field.metadata().contains_key(PG_TYPE);
        match dialect {
            Dialect::Postgres if is_text && !self.compares_by_code_point => {
                (format!("(({})::pg_catalog.text COLLATE pg_catalog.\"C\")", self.sql), true)
            }
            Dialect::Postgres | Dialect::MySql => (self.sql.clone(), self.compares_by_code_point),
        }
    }
}

/// A part of the SQL of a base relation.
#[derive(Debug, Clone, PartialEq)]
pub enum RelationPart {
    /// As the model's author wrote it.
    Text(String),
    Value(ScalarValue),
}

/// One statement at one source, as a table. [`push_down`](crate::push_down::push_down) makes larger ones out of smaller ones.
#[derive(Debug, Clone)]
pub struct RemoteTable {
    source: Arc<dyn RemoteSource>,
    select: Select,
    schema: SchemaRef,
}

impl RemoteTable {
    /// The rows of a relation as the model's author wrote it: `schema.table`, or `(SELECT …)`.
    ///
    /// `relation_sql`, `relation_alias` and the columns' texts are sent as they are, in the source's dialect; only the
    /// columns in use are asked for.
    pub fn base(
        source: Arc<dyn RemoteSource>,
        relation_sql: String,
        columns: Vec<BaseColumn>,
        relation_alias: String,
    ) -> Self {
        Self::over(source, vec![RelationPiece::Text(relation_sql.into())], columns, relation_alias)
    }

    /// As [`RemoteTable::base`], with values between the texts of the relation; they are bound.
    ///
    /// # Errors
    /// An internal one for a value that cannot travel to the source.
    pub fn base_with_values(
        source: Arc<dyn RemoteSource>,
        relation: Vec<RelationPart>,
        columns: Vec<BaseColumn>,
        relation_alias: String,
    ) -> Result<Self> {
        let rules = rules(source.dialect());
        let pieces = relation.into_iter().map(|part| match part {
            RelationPart::Text(text) => Ok(RelationPiece::Text(text.into())),
            RelationPart::Value(value) => rules
                .parameter(&value, SqlType::of_arrow(&value.data_type()))
                .filter(|_| travels(&value))
                .map(RelationPiece::Value)
                .ok_or_else(|| DataFusionError::Internal(format!("{value} cannot be bound in a cube's SQL"))),
        });
        let pieces = pieces.collect::<Result<Vec<_>>>()?;
        Ok(Self::over(source, pieces, columns, relation_alias))
    }

    fn over(
        source: Arc<dyn RemoteSource>,
        relation: Vec<RelationPiece>,
        columns: Vec<BaseColumn>,
        relation_alias: String,
    ) -> Self {
        let schema = Arc::new(Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>()));
        let mut texts = Vec::with_capacity(columns.len());
        let mut outputs = Vec::with_capacity(columns.len());
        for (index, column) in columns.into_iter().enumerate() {
            let (sql, code_point) = column.as_sent(source.dialect());
            texts.push(sql.into());
            outputs.push(Output { sql: Fragment::column(0, index), field: Arc::new(column.field), code_point });
        }
        let base = Base { relation, alias: relation_alias.into(), columns: texts };
        Self { source, select: Select::base(Arc::new(base), outputs), schema }
    }

    /// The result of `select`, its columns named `c0`, `c1`, ….
    pub(crate) fn folded(source: Arc<dyn RemoteSource>, select: Select) -> Self {
        let schema = select.arrow_schema();
        Self { source, select, schema }
    }

    pub fn source(&self) -> &Arc<dyn RemoteSource> {
        &self.source
    }

    pub(crate) fn select(&self) -> &Select {
        &self.select
    }

    /// What a scan of the columns at `projection` (all of them where it is `None`) sends.
    pub fn statement(&self, projection: Option<&[usize]>, limit: Option<usize>) -> Statement {
        statement(self.source.as_ref(), &self.narrowed(projection, limit))
    }

    fn narrowed(&self, projection: Option<&[usize]>, limit: Option<usize>) -> Select {
        let mut select = match projection {
            Some(positions) => self.select.clone().picked(positions),
            None => self.select.clone(),
        };
        if limit.is_some() {
            select.limit(0, limit);
        }
        select
    }
}

fn statement(source: &dyn RemoteSource, select: &Select) -> Statement {
    select.statement(source.dialect(), source.binary_collation())
}

#[async_trait]
impl TableProvider for RemoteTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // Filters: DataFusion would drop a filter that we call exact before we know whether it can go down. `push_down` does it.
    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let select = self.narrowed(projection.map(Vec::as_slice), limit);
        let schema = match projection {
            Some(positions) => Arc::new(self.schema.project(positions)?),
            None => Arc::clone(&self.schema),
        };
        Ok(Arc::new(RemoteExec::new(Arc::clone(&self.source), &select, schema)))
    }
}

/// Sends one statement and streams its rows. One partition, in the order that the statement asks for.
#[derive(Debug)]
pub struct RemoteExec {
    source: Arc<dyn RemoteSource>,
    statement: Statement,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl RemoteExec {
    fn new(source: Arc<dyn RemoteSource>, select: &Select, schema: SchemaRef) -> Self {
        // Order keys that are not read end what can be said about the order.
        let order = select.order_by.iter().map_while(|key| {
            let index = select.outputs.iter().position(|output| output.sql == key.value.sql)?;
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(schema.field(index).name(), index));
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
            Some(PhysicalSortExpr::new(column, options))
        });
        let order: Vec<PhysicalSortExpr> = order.collect();
        let equivalences = if order.is_empty() {
            EquivalenceProperties::new(Arc::clone(&schema))
        } else {
            EquivalenceProperties::new_with_orderings(Arc::clone(&schema), [order])
        };
        let properties = PlanProperties::new(
            equivalences,
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let statement = statement(source.as_ref(), select);
        Self { source, statement, limit: select.limit, properties: Arc::new(properties) }
    }

    pub fn source(&self) -> &Arc<dyn RemoteSource> {
        &self.source
    }

    pub fn statement(&self) -> &Statement {
        &self.statement
    }
}

impl DisplayAs for RemoteExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "RemoteExec: source={}, sql={}", self.source.name(), self.statement.sql)
            }
            DisplayFormatType::TreeRender => write!(f, "{}", self.source.name()),
        }
    }
}

impl ExecutionPlan for RemoteExec {
    fn name(&self) -> &'static str {
        "RemoteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!(
                "a remote statement has one partition, {partition} was asked for"
            )));
        }
        let source = Arc::clone(&self.source);
        let schema = self.schema();
        if !schema.fields().is_empty() {
            return Ok(source.read(self.statement.clone(), schema));
        }
        // Only the number of rows matters: the statement gives the constant 1 for each.
        let ones = Arc::new(Schema::new(vec![Field::new("c0", DataType::Int32, false)]));
        let wanted = Arc::clone(&schema);
        let rows = source.read(self.statement.clone(), ones).map(move |batch| {
            let options = RecordBatchOptions::new().with_row_count(Some(batch?.num_rows()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&wanted), vec![], &options)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// The remote statement behind a node, if it is one.
pub(crate) fn as_remote(exec: &dyn ExecutionPlan) -> Option<&RemoteExec> {
    (exec as &dyn Any).downcast_ref()
}
