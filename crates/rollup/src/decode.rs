//! From the bytes of a file to Arrow, only ever after its digest was found right.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use crate::hot::HotColumn;
use crate::manifest::Digest;
use crate::write::{BATCH_ROWS, unpacked_bytes};
use crate::zone_map::ZoneMap;
use crate::{Damage, StoredFile};

/// Bytes that are those that were written.
#[derive(Debug, Clone)]
pub(crate) struct Verified(Bytes);

impl Verified {
    pub(crate) fn new(bytes: Bytes, file: &StoredFile) -> Result<Self, Damage> {
        match bytes.len() as u64 == file.bytes && Digest::of(&bytes) == file.digest {
            true => Ok(Self(bytes)),
            false => Err(Damage::Digest),
        }
    }

    /// Decodes whole columns; `columns` is rising.
    pub(crate) fn columns(
        &self,
        file: &StoredFile,
        schema: &SchemaRef,
        columns: &[usize],
    ) -> Result<Vec<HotColumn>, Damage> {
        let mut decoded: Vec<Vec<ArrayRef>> = vec![Vec::new(); columns.len()];
        self.batches(file, schema, columns, |_, batch| {
            for (arrays, array) in decoded.iter_mut().zip(batch.columns()) {
                arrays.push(Arc::clone(array));
            }
            ControlFlow::Continue(())
        })?;
        let hot = columns.iter().zip(decoded).map(|(column, batches)| {
            let zones = ZoneMap::of(&batches, schema.field(*column).data_type());
            let bytes = batches.iter().map(|batch| batch.get_array_memory_size() as u64).sum::<u64>();
            let bytes = bytes + zones.as_ref().map_or(0, ZoneMap::memory);
            HotColumn { batches, zones, bytes }
        });
        Ok(hot.collect())
    }

    /// Decodes batch by batch, in the order of the file; each comes with the number of its first row. `columns` is rising.
    pub(crate) fn batches(
        &self,
        file: &StoredFile,
        schema: &SchemaRef,
        columns: &[usize],
        each: impl FnMut(u64, RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), Damage> {
        // The digest speaks for the bytes, not for the decoder: one that panics costs a partition, not the process.
        let decoded = catch_unwind(AssertUnwindSafe(|| self.decode(file, schema, columns, each)));
        decoded.unwrap_or_else(|_| Err(Damage::Content("the decoder panicked".to_owned())))
    }

    fn decode(
        &self,
        file: &StoredFile,
        schema: &SchemaRef,
        columns: &[usize],
        mut each: impl FnMut(u64, RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), Damage> {
        let wrong = |message: String| Damage::Content(message);
        let metadata = ArrowReaderMetadata::load(&self.0, ArrowReaderOptions::new());
        let metadata = metadata.map_err(|error| wrong(error.to_string()))?;
        let parquet = metadata.metadata();
        let rows = parquet.file_metadata().num_rows();
        if u64::try_from(rows) != Ok(file.rows) {
            return Err(wrong(format!("it has {rows} rows, and the manifest says {}", file.rows)));
        }
        let unpacked = unpacked_bytes(parquet);
        if unpacked != file.unpacked_bytes {
            return Err(wrong(format!(
                "it unpacks to {unpacked} bytes, and the manifest says {}",
                file.unpacked_bytes
            )));
        }
        let found = metadata.schema().fields();
        let same = found.len() == schema.fields().len()
            && found.iter().zip(schema.fields()).all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
        if !same {
            return Err(wrong("it has other columns than the manifest says".to_owned()));
        }
        let projected = schema.project(columns).map_err(|error| wrong(error.to_string()))?;
        let projected = Arc::new(projected);
        let mask = ProjectionMask::roots(parquet.file_metadata().schema_descr(), columns.iter().copied());
        let mut row = 0;
        // Row group by row group, so that batches begin at the same rows whichever columns are asked for.
        for group in 0..parquet.num_row_groups() {
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.0.clone(), metadata.clone())
                .with_row_groups(vec![group])
                .with_projection(mask.clone())
                .with_batch_size(BATCH_ROWS)
                .build()
                .map_err(|error| wrong(error.to_string()))?;
            for batch in reader {
                let batch = batch.and_then(|batch| batch.with_schema(Arc::clone(&projected)));
                let batch = batch.map_err(|error| wrong(error.to_string()))?;
                let rows = batch.num_rows() as u64;
                if each(row, batch).is_break() {
                    return Ok(());
                }
                row += rows;
            }
        }
        match row == file.rows {
            true => Ok(()),
            false => Err(wrong(format!("{row} rows were read of {}", file.rows))),
        }
    }
}
