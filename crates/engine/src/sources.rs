//! The configured data sources, and what the planner may ask of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use belvedere_functions::Zone;
use belvedere_planner::catalog::{BaseColumn, SourceDialect, Sources, SqlPiece, TypedExpr};
use belvedere_sources::{Dialect, RelationPart, RemoteSource, RemoteTable};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::TableSource;

/// One configured data source.
#[derive(Debug, Clone)]
pub struct DataSource {
    pub kind: DataSourceKind,
    /// The zone whose wall clock its `timestamp` columns show.
    pub zone: Zone,
}

#[derive(Debug, Clone)]
pub enum DataSourceKind {
    Remote(Arc<dyn RemoteSource>),
    /// Tables by name, read in-process.
    Files(HashMap<String, Arc<dyn TableProvider>>),
}

/// All data sources by name.
pub type DataSources = HashMap<String, DataSource>;

/// The planner's view of the data sources: their dialects, and the types found when the model was loaded.
#[derive(Debug, Clone, Default)]
pub struct TypedSources {
    pub sources: Arc<DataSources>,
    /// By cube, then by row expression.
    pub types: HashMap<String, HashMap<String, TypedExpr>>,
    /// The sources that could not be asked.
    pub untyped: HashSet<String>,
}

impl Sources for TypedSources {
    fn dialect(&self, data_source: &str) -> Option<SourceDialect> {
        Some(match &self.sources.get(data_source)?.kind {
            DataSourceKind::Remote(source) => match source.dialect() {
                Dialect::Postgres => SourceDialect::Postgres,
                Dialect::MySql => SourceDialect::MySql,
            },
            DataSourceKind::Files(_) => SourceDialect::Files,
        })
    }

    fn zone(&self, data_source: &str) -> Zone {
        self.sources.get(data_source).map_or(Zone::UTC, |source| source.zone)
    }

    fn is_untyped(&self, data_source: &str) -> bool {
        self.untyped.contains(data_source)
    }

    fn typed(&self, cube: &str, sql: &str) -> Option<TypedExpr> {
        self.types.get(cube)?.get(sql).cloned()
    }

    fn base_table(
        &self,
        data_source: &str,
        relation: &[SqlPiece],
        alias: &str,
        columns: Vec<BaseColumn>,
    ) -> datafusion::common::Result<Arc<dyn TableSource>> {
        let Some(DataSourceKind::Remote(source)) = self.sources.get(data_source).map(|source| &source.kind) else {
            return datafusion::common::internal_err!("data source {data_source} is not a database");
        };
        let dialect = self.dialect(data_source).unwrap_or(SourceDialect::Postgres);
        let columns = columns
            .into_iter()
            .map(|column| belvedere_sources::BaseColumn {
                sql: column.sql,
                field: column.field,
                compares_by_code_point: column.compares_by_code_point,
            })
            .collect();
        let relation = relation
            .iter()
            .map(|piece| match piece {
                SqlPiece::Text(text) => RelationPart::Text(text.clone()),
                SqlPiece::Value(value) => RelationPart::Value(value.clone()),
            })
            .collect();
        let table = RemoteTable::base_with_values(Arc::clone(source), relation, columns, dialect.quoted(alias))?;
        Ok(provider_as_source(Arc::new(table)))
    }

    fn file_table(&self, data_source: &str, table: &TableReference) -> Option<Arc<dyn TableSource>> {
        let DataSourceKind::Files(tables) = &self.sources.get(data_source)?.kind else { return None };
        let exact = tables.get(table.table());
        let provider = exact.or_else(|| {
            let mut matching = tables.iter().filter(|(name, _)| name.eq_ignore_ascii_case(table.table()));
            match (matching.next(), matching.next()) {
                (Some((_, provider)), None) => Some(provider),
                _ => None,
            }
        })?;
        Some(provider_as_source(Arc::clone(provider)))
    }
}
