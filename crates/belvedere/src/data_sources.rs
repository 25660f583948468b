//! Opens one configured data source.

use std::collections::HashMap;
use std::sync::Arc;

use belvedere_engine::sources::{DataSource, DataSourceKind as Opened};
use belvedere_model::Diagnostic;
use belvedere_sources::{FilesSource, MySqlSource, PostgresSource, RemoteSource, SourceError};

use crate::config::{DataSourceConfig, DataSourceKind};
use crate::observe::{Observations, ObservedSource};
use crate::source_problems::what_to_do;

/// Databases are connected to by their first statement; files are looked at now.
///
/// # Errors
/// A configuration that cannot be used, or files that cannot be read: both are for the administrator to mend before a start.
pub async fn open(source: &DataSourceConfig, observations: &Observations) -> Result<DataSource, Box<Diagnostic>> {
    let name = source.name.as_str();
    let remote: Result<Arc<dyn RemoteSource>, SourceError> = match &source.kind {
        DataSourceKind::Postgres(config) => PostgresSource::new(name, config).map(|source| Arc::new(source) as _),
        DataSourceKind::MySql(config) => MySqlSource::new(name, config).map(|source| Arc::new(source) as _),
        DataSourceKind::Files(config) => {
            let files = FilesSource::open(name, config).await.map_err(|error| about(source, &error))?;
            let tables: HashMap<_, _> =
                files.tables().filter_map(|table| Some((table.to_owned(), files.table(table)?))).collect();
            return Ok(DataSource { kind: Opened::Files(tables), zone: source.zone });
        }
    };
    let remote = remote.map_err(|error| about(source, &error))?;
    let kind = Opened::Remote(Arc::new(ObservedSource::new(remote, observations.source(name))));
    Ok(DataSource { kind, zone: source.zone })
}

fn about(source: &DataSourceConfig, error: &SourceError) -> Box<Diagnostic> {
    let help = match (error, &source.kind) {
        (SourceError::Config { .. }, DataSourceKind::Postgres(_) | DataSourceKind::MySql(_)) => {
            "special characters of a user name or password must be percent-encoded in a URL; \
             or give host, user, password and database one by one"
                .to_owned()
        }
        (SourceError::Config { .. }, DataSourceKind::Files(_)) => {
            "`columns` names tables (files without their ending) and columns that exist, with PostgreSQL's types"
                .to_owned()
        }
        (_, kind) => what_to_do(kind),
    };
    Box::new(source.at.error(error.to_string()).with_help(help))
}
