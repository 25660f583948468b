//! CSV and NDJSON files as a table: every cell read exactly into its column's type, or an error with file, line and column.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::streaming::PartitionStream;
use indexmap::IndexMap;

use super::csv::{Record, Records};
use super::declared_type::{DeclaredType, bytea};
use super::ndjson::{Json, Lines};
use super::{Format, Place};
use crate::SourceError;
use crate::batch_stream::{BatchBuilder, Batches, stream_of};

/// How many records of each file are looked at for the types of columns that are not declared. A later cell that does not fit is
/// an error, never a NULL.
const SAMPLE_RECORDS: usize = 20_000;

/// Files that are read side by side.
const PARTITIONS_MAX: usize = 8;

/// A table's columns in order.
type Columns = IndexMap<String, DeclaredType>;

pub(super) fn open_csv(
    place: &Place,
    files: &[PathBuf],
    declared: &IndexMap<String, DeclaredType>,
) -> Result<Arc<dyn TableProvider>, SourceError> {
    let mut samples: IndexMap<String, Vec<String>> = IndexMap::new();
    for (index, file) in files.iter().enumerate() {
        let mut records = open_records(place, file)?;
        let names = header(place, file, &mut records)?;
        if index == 0 {
            samples = names.iter().map(|name| (name.clone(), Vec::new())).collect();
        }
        check_header(place, file, &names, samples.keys())?;
        let mut record = Record::default();
        for _ in 0..SAMPLE_RECORDS {
            if !records.next(&mut record).map_err(|what| broken(place, file, record.line, &what))? {
                break;
            }
            for (name, cell) in names.iter().zip(record.cells()) {
                if let (Some(cell), Some(sample)) = (cell, samples.get_mut(name)) {
                    sample.push(String::from_utf8_lossy(cell).into_owned());
                }
            }
        }
    }
    let columns = samples.into_iter().map(|(name, cells)| {
        let inferred = || DeclaredType::of_cells(cells.iter().map(String::as_str));
        let of = declared.get(&name).copied().unwrap_or_else(inferred);
        (name, of)
    });
    table(place, Format::Csv, files, columns.collect())
}

pub(super) fn open_ndjson(
    place: &Place,
    files: &[PathBuf],
    declared: &IndexMap<String, DeclaredType>,
) -> Result<Arc<dyn TableProvider>, SourceError> {
    #[derive(Default)]
    struct Seen {
        plain: Vec<String>,
        text: Vec<String>,
        nested: bool,
    }
    let mut samples: IndexMap<String, Seen> = IndexMap::new();
    for file in files {
        let mut lines = Lines::new(BufReader::new(File::open(file).map_err(|error| place.unreadable(file, error))?));
        for line in 1..=SAMPLE_RECORDS as u64 {
            let Some(members) = lines.next().map_err(|what| broken(place, file, line, &what))? else { break };
            for (name, value) in members {
                let seen = samples.entry(name.into_owned()).or_default();
                match value {
                    Json::Null => {}
                    Json::Plain(text) => seen.plain.push(text.to_owned()),
                    Json::Text(text) => seen.text.push(text.into_owned()),
                    Json::Nested(_) => seen.nested = true,
                }
            }
        }
    }
    // A declared column that no sampled line has may still come.
    for name in declared.keys() {
        samples.entry(name.clone()).or_default();
    }
    let columns = samples.into_iter().map(|(name, seen)| {
        let inferred = || match (seen.plain.is_empty(), seen.text.is_empty(), seen.nested) {
            (false, true, false) => DeclaredType::of_cells(seen.plain.iter().map(String::as_str)),
            (true, _, false) => match DeclaredType::of_cells(seen.text.iter().map(String::as_str)) {
                // A quoted number is meant as text.
                found @ (DeclaredType::Date | DeclaredType::Timestamp | DeclaredType::Timestamptz) => found,
                _ => DeclaredType::Text,
            },
            (true, true, true) => DeclaredType::Json,
            (false, ..) | (true, false, true) => DeclaredType::Text,
        };
        let of = declared.get(&name).copied().unwrap_or_else(inferred);
        (name, of)
    });
    table(place, Format::NdJson, files, columns.collect())
}

fn table(
    place: &Place,
    format: Format,
    files: &[PathBuf],
    columns: Columns,
) -> Result<Arc<dyn TableProvider>, SourceError> {
    let schema: SchemaRef = Arc::new(Schema::new(columns.iter().map(|(name, of)| of.field(name)).collect::<Vec<_>>()));
    let columns = Arc::new(columns);
    let partitions = files.chunks(files.len().div_ceil(PARTITIONS_MAX)).map(|files| {
        let (place, schema, columns) = (place.clone(), Arc::clone(&schema), Arc::clone(&columns));
        Arc::new(TextFiles { place, format, files: files.to_vec(), schema, columns }) as Arc<dyn PartitionStream>
    });
    let table = StreamingTable::try_new(Arc::clone(&schema), partitions.collect());
    Ok(Arc::new(table.expect("all partitions have the table's schema")))
}

/// Files that are read one after the other.
#[derive(Debug, Clone)]
struct TextFiles {
    place: Place,
    format: Format,
    files: Vec<PathBuf>,
    schema: SchemaRef,
    columns: Arc<Columns>,
}

impl PartitionStream for TextFiles {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let files = self.clone();
        stream_of(Arc::clone(&self.schema), move |batches| async move {
            let reading = tokio::task::spawn_blocking(move || files.read(&batches));
            match reading.await {
                Ok(outcome) => outcome,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            }
        })
    }
}

/// Whether somebody still waits for rows.
enum Wanted {
    Yes,
    No,
}

impl TextFiles {
    fn read(&self, batches: &Batches) -> Result<(), SourceError> {
        let readers = self.columns.values().map(|of| of.reader()).collect();
        let mut builder = BatchBuilder::new(&self.place.source_name, Arc::clone(&self.schema), readers);
        for file in &self.files {
            let wanted = match self.format {
                Format::Csv => self.read_csv(file, &mut builder, batches)?,
                Format::NdJson => self.read_ndjson(file, &mut builder, batches)?,
                Format::Parquet => unreachable!("Parquet files are no text"),
            };
            if matches!(wanted, Wanted::No) {
                return Ok(());
            }
        }
        if let Some(batch) = builder.end() {
            // Whether the reader is gone makes no difference after the last row.
            let _ = batches.blocking_send(batch?);
        }
        Ok(())
    }

    fn read_csv(&self, file: &Path, rows: &mut BatchBuilder<[u8]>, batches: &Batches) -> Result<Wanted, SourceError> {
        let mut records = open_records(&self.place, file)?;
        let names = header(&self.place, file, &mut records)?;
        check_header(&self.place, file, &names, self.columns.keys())?;
        let positions: Vec<usize> = names.iter().filter_map(|name| self.columns.get_index_of(name)).collect();
        let mut record = Record::default();
        while records.next(&mut record).map_err(|what| broken(&self.place, file, record.line, &what))? {
            if record.len() != positions.len() {
                let what = format!("{} cells where the header has {}", record.len(), positions.len());
                return Err(broken(&self.place, file, record.line, &what));
            }
            for (column, cell) in positions.iter().zip(record.cells()) {
                self.append(rows, *column, cell, file, record.line)?;
            }
            if let Wanted::No = self.end_row(rows, batches)? {
                return Ok(Wanted::No);
            }
        }
        Ok(Wanted::Yes)
    }

    fn read_ndjson(
        &self,
        file: &Path,
        rows: &mut BatchBuilder<[u8]>,
        batches: &Batches,
    ) -> Result<Wanted, SourceError> {
        let opened = File::open(file).map_err(|error| self.place.unreadable(file, error))?;
        let mut lines = Lines::new(BufReader::with_capacity(1 << 17, opened));
        loop {
            let line = lines.line + 1;
            let Some(members) = lines.next().map_err(|what| broken(&self.place, file, line, &what))? else {
                return Ok(Wanted::Yes);
            };
            let mut values: Vec<Option<Json<'_>>> = vec![None; self.columns.len()];
            for (name, value) in members {
                let Some(column) = self.columns.get_index_of(name.as_ref()) else {
                    let what =
                        format!("a member \"{name}\" that the table's first lines do not have; declare its type");
                    return Err(broken(&self.place, file, line, &what));
                };
                if values[column].replace(value).is_some() {
                    return Err(broken(&self.place, file, line, &format!("the member \"{name}\" twice")));
                }
            }
            for (column, value) in values.iter().enumerate() {
                let (_, of) = self.columns.get_index(column).expect("one value per column");
                let json = matches!(of, DeclaredType::Json | DeclaredType::Jsonb);
                match value {
                    // In a json column a string is a json string, quotes and all.
                    Some(Json::Text(text)) if json => {
                        let quoted = serde_json::Value::String(text.as_ref().to_owned()).to_string();
                        self.append(rows, column, Some(quoted.as_bytes()), file, line)?;
                    }
                    value => {
                        let cell = value.as_ref().and_then(Json::cell);
                        self.append(rows, column, cell, file, line)?;
                    }
                }
            }
            if let Wanted::No = self.end_row(rows, batches)? {
                return Ok(Wanted::No);
            }
        }
    }

    /// Appends a cell; an error names table, column, file and line.
    fn append(
        &self,
        rows: &mut BatchBuilder<[u8]>,
        column: usize,
        cell: Option<&[u8]>,
        file: &Path,
        line: u64,
    ) -> Result<(), SourceError> {
        let (name, of) = self.columns.get_index(column).expect("the position is one of the columns");
        let decoded = match (of, cell) {
            (DeclaredType::Bytea, Some(cell)) => {
                Some(bytea(cell).map_err(|bad| self.place.value(name, &bad.kind, line, file, "bytea"))?)
            }
            _ => None,
        };
        let cell = decoded.as_deref().or(cell);
        rows.append(column, cell, cell.map_or(1, <[u8]>::len)).map_err(|error| match error {
            SourceError::Value { kind, wanted, .. } => self.place.value(name, &kind, line, file, &wanted),
            other => other,
        })
    }

    fn end_row(&self, rows: &mut BatchBuilder<[u8]>, batches: &Batches) -> Result<Wanted, SourceError> {
        match rows.end_row() {
            None => Ok(Wanted::Yes),
            Some(batch) => Ok(if batches.blocking_send(batch?).is_ok() { Wanted::Yes } else { Wanted::No }),
        }
    }
}

fn open_records(place: &Place, file: &Path) -> Result<Records<BufReader<File>>, SourceError> {
    let opened = File::open(file).map_err(|error| place.unreadable(file, error))?;
    Ok(Records::new(BufReader::with_capacity(1 << 17, opened)))
}

/// The names in the first record.
fn header(place: &Place, file: &Path, records: &mut Records<BufReader<File>>) -> Result<Vec<String>, SourceError> {
    let mut record = Record::default();
    if !records.next(&mut record).map_err(|what| broken(place, file, record.line, &what))? {
        return Err(place.unreadable(file, "the file is empty, not even a header"));
    }
    let names: Vec<String> =
        record.cells().map(|cell| String::from_utf8_lossy(cell.unwrap_or_default()).into_owned()).collect();
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || names[..index].contains(name) {
            return Err(place.unreadable(file, format!("its header has the name \"{name}\" twice or not at all")));
        }
    }
    Ok(names)
}

/// The files of a table have the same columns, in any order.
fn check_header<'a>(
    place: &Place,
    file: &Path,
    names: &[String],
    columns: impl Iterator<Item = &'a String>,
) -> Result<(), SourceError> {
    let mut columns: Vec<&String> = columns.collect();
    let mut found: Vec<&String> = names.iter().collect();
    columns.sort();
    found.sort();
    if columns == found {
        return Ok(());
    }
    Err(place.unreadable(file, format!("its columns are {found:?}, those of the table are {columns:?}")))
}

fn broken(place: &Place, file: &Path, line: u64, what: &str) -> SourceError {
    place.unreadable(file, format!("line {line} has {what}"))
}
