//! Parquet files as a table: read by DataFusion, with types outside of ours converted exactly or refused.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use belvedere_functions::{PG_TYPMOD, numeric_typmod};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{ScalarValue, not_impl_err};
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TableProviderFilterPushDown,
    TableType, Volatility,
};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::expressions::Column;
use datafusion::physical_plan::projection::ProjectionExec;
use indexmap::IndexMap;

use super::Place;
use super::declared_type::DeclaredType;
use crate::SourceError;
use crate::exact::{exact_f32, exact_f64};

/// The files as DataFusion reads them, under our types.
#[derive(Debug)]
struct ParquetTable {
    place: Place,
    inner: ListingTable,
    schema: SchemaRef,
}

pub(super) fn open(
    place: &Place,
    files: &[PathBuf],
    declared: &IndexMap<String, DeclaredType>,
) -> Result<Arc<dyn TableProvider>, SourceError> {
    let mut of_files: Option<SchemaRef> = None;
    let mut urls = Vec::new();
    for file in files {
        let opened = File::open(file).map_err(|error| place.unreadable(file, error))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(|error| place.unreadable(file, error))?;
        let fields = reader.schema().fields();
        let plain: SchemaRef = Arc::new(Schema::new(fields.clone()));
        match &of_files {
            None => of_files = Some(plain),
            Some(first) if *first == plain => {}
            Some(_) => return Err(place.unreadable(file, "its columns are not those of the table's first file")),
        }
        let path = file.canonicalize().map_err(|error| place.unreadable(file, error))?;
        urls.push(ListingTableUrl::parse(path.to_string_lossy()).map_err(|error| place.unreadable(file, error))?);
    }
    let of_files = of_files.expect("a table has at least one file");
    let fields = of_files.fields().iter().map(|field| {
        let ours = match declared.get(field.name()) {
            Some(of) => return Ok(of.field(field.name())),
            None => our_type(field.data_type()),
        };
        let ours = ours.ok_or_else(|| {
            place.wrong(format!("column \"{}\" has type {}, which is not supported", field.name(), field.data_type()))
        })?;
        let typmod = match &ours {
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                u8::try_from(*scale).ok().map(|scale| numeric_typmod(*precision, scale))
            }
            _ => None,
        };
        let metadata = typmod.map(|typmod| (PG_TYPMOD.to_owned(), typmod.to_string())).into_iter().collect();
        Ok(Field::new(field.name(), ours, field.is_nullable()).with_metadata(metadata))
    });
    let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<_>, SourceError>>()?));
    let format = ParquetFormat::default().with_force_view_types(false);
    let options = ListingOptions::new(Arc::new(format)).with_file_extension("");
    let config = ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options).with_schema(of_files);
    let inner = ListingTable::try_new(config).map_err(|error| place.wrong(error))?;
    Ok(Arc::new(ParquetTable { place: place.clone(), inner, schema }))
}

/// The type that a column has for us; None for what PostgreSQL has no type for.
fn our_type(of: &DataType) -> Option<DataType> {
    Some(match of {
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32 => of.clone(),
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) if *scale >= 0 => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) if *scale >= 0 => of.clone(),
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Dictionary(_, value) => our_type(value)?,
        DataType::Date64 | DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::List(item) if our_type(item.data_type()).as_ref() == Some(item.data_type()) => of.clone(),
        _ => return None,
    })
}

impl ParquetTable {
    /// Whether a column's values are the same in the file and under our type.
    fn is_unchanged(&self, column: usize) -> bool {
        let (theirs, ours) = (self.inner.schema(), self.schema.field(column));
        theirs.field(column).data_type() == ours.data_type() && !ours.data_type().is_floating()
    }
}

#[async_trait]
impl TableProvider for ParquetTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters over columns that need no conversion may skip row groups; the rows are still filtered above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let usable = |filter: &&Expr| {
            filter
                .column_refs()
                .iter()
                .all(|column| self.schema.index_of(column.name()).is_ok_and(|column| self.is_unchanged(column)))
        };
        let answer = |filter: &&Expr| match usable(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = self.inner.scan(state, projection, filters, limit).await?;
        let columns: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let exprs = columns.iter().enumerate().map(|(position, column)| {
            let field = Arc::clone(&self.schema.fields()[*column]);
            let read: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), position));
            if self.is_unchanged(*column) && field.metadata().is_empty() {
                return (read, field.name().clone());
            }
            let exactly = ReadExactly {
                source_name: self.place.source_name.clone(),
                column: format!("{}.{}", self.place.table, field.name()),
                signature: Signature::any(1, Volatility::Immutable),
            };
            let name = field.name().clone();
            let function = Arc::new(ScalarUDF::from(exactly));
            let options = Arc::new(state.config_options().clone());
            let expr = ScalarFunctionExpr::new("read_exactly", function, vec![read], field, options);
            (Arc::new(expr) as Arc<dyn PhysicalExpr>, name)
        });
        Ok(Arc::new(ProjectionExec::try_new(exprs.collect::<Vec<_>>(), scan)?))
    }
}

/// Converts a column to the type of its field; a value that would change is an error.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ReadExactly {
    source_name: String,
    /// With its table.
    column: String,
    signature: Signature,
}

impl ScalarUDFImpl for ReadExactly {
    fn name(&self) -> &str {
        "read_exactly"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        not_impl_err!("read_exactly is given its type where it is made")
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values] = ColumnarValue::values_to_arrays(&args.args)?.try_into().expect("made with one argument");
        let target = args.return_field.data_type();
        let bad = |kind: &str| SourceError::Value {
            source_name: self.source_name.clone(),
            column: self.column.clone(),
            kind: kind.to_owned(),
            wanted: target.to_string(),
        };
        if args.return_field.is_nullable() || values.null_count() == 0 {
            let read = exactly(&values, target).map_err(|kind| bad(&kind))?;
            Ok(ColumnarValue::Array(read))
        } else {
            Err(bad("NULL").into())
        }
    }
}

/// The same values as `target`, or the kind of value that has none there.
fn exactly(values: &ArrayRef, target: &DataType) -> Result<ArrayRef, String> {
    if values.data_type() == target && matches!(target, DataType::Decimal128(..) | DataType::Decimal256(..)) {
        return Ok(Arc::clone(values));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let converted = cast_with_options(values, target, &options)
        .map_err(|_| format!("a value of type {} that does not fit", values.data_type()))?;
    // Casts round and cut without a word; the way back shows it.
    let back = cast_with_options(&converted, values.data_type(), &options)
        .map_err(|_| format!("a value of type {} that does not fit", values.data_type()))?;
    if *values.data_type() != DataType::Null && !same(&back, values) {
        return Err(format!("a value of type {} that would be rounded", values.data_type()));
    }
    Ok(match target {
        DataType::Float64 => {
            Arc::new(converted.as_primitive::<Float64Type>().unary::<_, Float64Type>(exact_f64)) as Arc<Float64Array>
        }
        DataType::Float32 => {
            let one_zero = |value: f32| exact_f32(f64::from(value)).unwrap_or(value);
            Arc::new(converted.as_primitive::<Float32Type>().unary::<_, Float32Type>(one_zero)) as Arc<Float32Array>
        }
        _ => converted,
    })
}

/// Whether two arrays of one type hold the same values; NaN is itself.
fn same(left: &ArrayRef, right: &ArrayRef) -> bool {
    if left.to_data() == right.to_data() {
        return true;
    }
    (0..left.len()).all(|row| match (ScalarValue::try_from_array(left, row), ScalarValue::try_from_array(right, row)) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    })
}
