//! A folder of Parquet, CSV and NDJSON files as a source: one table per file, or per folder of files.

mod csv;
mod declared_type;
mod ndjson;
mod parquet_table;
mod text_table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use indexmap::IndexMap;

use crate::SourceError;
use declared_type::DeclaredType;

/// A data source of type `files`.
#[derive(Debug, Clone, Default)]
pub struct FilesConfig {
    /// A folder. A file `orders.csv` in it is the table `orders`; so is a folder `orders` of such files.
    pub path: PathBuf,
    /// Types by table and column, as PostgreSQL writes them: `orders` → `amount` → `numeric(12,2)`.
    pub columns: BTreeMap<String, BTreeMap<String, String>>,
}

/// The tables of a folder. Their schemas are those of the moment when the source was opened; a file that no longer fits is an
/// error when it is read.
#[derive(Debug)]
pub struct FilesSource {
    tables: IndexMap<String, Arc<dyn TableProvider>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Parquet,
    Csv,
    NdJson,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "parquet" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" | "json" => Some(Self::NdJson),
            _ => None,
        }
    }
}

/// What every error of a table names.
#[derive(Debug, Clone)]
struct Place {
    source_name: String,
    table: String,
}

impl Place {
    fn wrong(&self, reason: impl std::fmt::Display) -> SourceError {
        let reason = format!("table \"{}\": {reason}", self.table);
        SourceError::Config { source_name: self.source_name.clone(), reason }
    }

    /// `kind` as the object of "holds".
    fn value(&self, column: &str, kind: &str, line: u64, file: &Path, wanted: &str) -> SourceError {
        SourceError::Value {
            source_name: self.source_name.clone(),
            column: format!("{}.{column}", self.table),
            kind: format!("{kind} (line {line} of {})", file.display()),
            wanted: wanted.to_owned(),
        }
    }

    fn unreadable(&self, file: &Path, reason: impl std::fmt::Display) -> SourceError {
        let reason = format!("table \"{}\": cannot read {}: {reason}", self.table, file.display());
        SourceError::Unreachable { source_name: self.source_name.clone(), reason }
    }
}

impl FilesSource {
    /// Looks at the folder and at the beginning of its files.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`] when the folder or a file cannot be read, [`SourceError::Config`] when a declaration names no
    /// type, table or column, or when the files of a table do not fit together.
    pub async fn open(name: &str, config: &FilesConfig) -> Result<Self, SourceError> {
        let (name, config) = (name.to_owned(), config.clone());
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(&name, &config));
        opening.await.expect("opening files does not panic")
    }

    fn open_blocking(name: &str, config: &FilesConfig) -> Result<Self, SourceError> {
        let wrong = |reason: String| SourceError::Config { source_name: name.to_owned(), reason };
        let mut tables = IndexMap::new();
        for (table, format, files) in find_tables(name, &config.path)? {
            let place = Place { source_name: name.to_owned(), table: table.clone() };
            let mut declared = IndexMap::new();
            for (column, text) in config.columns.get(&table).into_iter().flatten() {
                let parsed = DeclaredType::parse(text).ok_or_else(|| {
                    place.wrong(format!("column \"{column}\" is declared as \"{text}\", which is not a type"))
                })?;
                declared.insert(column.clone(), parsed);
            }
            let provider: Arc<dyn TableProvider> = match format {
                Format::Parquet => parquet_table::open(&place, &files, &declared)?,
                Format::Csv => text_table::open_csv(&place, &files, &declared)?,
                Format::NdJson => text_table::open_ndjson(&place, &files, &declared)?,
            };
            if let Some(unknown) = declared.keys().find(|column| provider.schema().field_with_name(column).is_err()) {
                return Err(place.wrong(format!("column \"{unknown}\" is declared, but the files do not have it")));
            }
            tables.insert(table, provider);
        }
        match config.columns.keys().find(|table| !tables.contains_key(*table)) {
            Some(unknown) => {
                Err(wrong(format!("columns of table \"{unknown}\" are declared, but there is no such table")))
            }
            None => Ok(Self { tables }),
        }
    }

    /// The names of the tables, sorted.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    pub fn table(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        self.tables.get(name).map(Arc::clone)
    }
}

/// Tables by name, each with its files by name.
fn find_tables(name: &str, folder: &Path) -> Result<Vec<(String, Format, Vec<PathBuf>)>, SourceError> {
    let mut tables: Vec<(String, Format, Vec<PathBuf>)> = Vec::new();
    for entry in entries(name, folder)? {
        let found = if entry.is_dir() {
            let files: Vec<PathBuf> = entries(name, &entry)?
                .into_iter()
                .filter(|file| file.is_file() && Format::of(file).is_some())
                .collect();
            files.first().and_then(|first| Format::of(first)).map(|format| (entry.file_name(), format, files))
        } else {
            Format::of(&entry).map(|format| (entry.file_stem(), format, vec![entry.clone()]))
        };
        let Some((Some(table), format, files)) = found else { continue };
        let table = table.to_string_lossy().into_owned();
        let wrong = |reason: &str| SourceError::Config {
            source_name: name.to_owned(),
            reason: format!("table \"{table}\": {reason} in {}", folder.display()),
        };
        if files.iter().any(|file| Format::of(file) != Some(format)) {
            return Err(wrong("the files of a folder have different formats"));
        }
        if tables.iter().any(|(other, ..)| *other == table) {
            return Err(wrong("two files or folders have this name"));
        }
        tables.push((table, format, files));
    }
    Ok(tables)
}

/// What a folder holds, sorted; hidden files are not ours.
fn entries(name: &str, folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let unreachable = |error: std::io::Error| SourceError::Unreachable {
        source_name: name.to_owned(),
        reason: format!("cannot read the folder {}: {error}", folder.display()),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreachable)? {
        let entry = entry.map_err(unreachable)?;
        if !entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
