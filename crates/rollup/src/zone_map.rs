//! What the values of each batch of a column lie between, so that batches without matching rows are skipped.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::Column;
use datafusion::common::pruning::PruningStatistics;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use crate::hot::HotColumn;

/// The bounds of the batches of one column, one value a batch.
#[derive(Debug)]
pub(crate) struct ZoneMap {
    smallest: ArrayRef,
    largest: ArrayRef,
    nulls: ArrayRef,
}

impl ZoneMap {
    /// None for types whose order is not one that conditions are compared by, or that is not known to be: floats, because a NaN
    /// lies outside of the bounds of all others.
    pub(crate) fn of(batches: &[ArrayRef], data_type: &DataType) -> Option<ZoneMap> {
        let ordered = matches!(
            data_type,
            DataType::Boolean
                | DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::UInt8
                | DataType::UInt16
                | DataType::UInt32
                | DataType::UInt64
                | DataType::Date32
                | DataType::Timestamp(_, _)
                | DataType::Decimal128(_, _)
                | DataType::Decimal256(_, _)
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
        );
        if !ordered || batches.is_empty() {
            return None;
        }
        bounds(batches, data_type).ok()
    }

    pub(crate) fn memory(&self) -> u64 {
        [&self.smallest, &self.largest, &self.nulls].into_iter().map(crate::write::memory_of).sum()
    }
}

fn bounds(batches: &[ArrayRef], data_type: &DataType) -> Result<ZoneMap, DataFusionError> {
    let (mut smallest, mut largest) = (Vec::new(), Vec::new());
    for batch in batches {
        let values = [Arc::clone(batch)];
        let mut accumulator = MinAccumulator::try_new(data_type)?;
        accumulator.update_batch(&values)?;
        smallest.push(accumulator.evaluate()?);
        let mut accumulator = MaxAccumulator::try_new(data_type)?;
        accumulator.update_batch(&values)?;
        largest.push(accumulator.evaluate()?);
    }
    let nulls: UInt64Array = batches.iter().map(|batch| Some(batch.null_count() as u64)).collect();
    Ok(ZoneMap {
        smallest: ScalarValue::iter_to_array(smallest)?,
        largest: ScalarValue::iter_to_array(largest)?,
        nulls: Arc::new(nulls),
    })
}

/// The zone maps of the columns that a query has read of one file.
pub(crate) struct Zones<'a> {
    /// Of the table.
    pub(crate) schema: &'a Schema,
    /// Columns by their place in the schema.
    pub(crate) columns: &'a [(usize, Arc<HotColumn>)],
    /// How many batches.
    pub(crate) batches: usize,
}

impl Zones<'_> {
    fn zone_map(&self, column: &Column) -> Option<&ZoneMap> {
        let at = self.schema.index_of(&column.name).ok()?;
        self.columns.iter().find(|(place, _)| *place == at)?.1.zones.as_ref()
    }
}

impl PruningStatistics for Zones<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.zone_map(column)?.smallest))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.zone_map(column)?.largest))
    }

    fn num_containers(&self) -> usize {
        self.batches
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.zone_map(column)?.nulls))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let (_, first) = self.columns.first()?;
        let rows: UInt64Array = first.batches.iter().map(|batch| Some(batch.len() as u64)).collect();
        Some(Arc::new(rows))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
