//! Turns a task that reads a source into a stream of record batches that cannot end early without an error.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::column_reader::{BadValue, ColumnReader};
use crate::{SourceColumn, SourceError};

/// A batch is complete at so many rows …
const ROWS_MAX: usize = 8192;

/// … or so many bytes as the source sent them.
const BYTES_MAX: usize = 1 << 20;

/// Batches that may wait for the reader of the stream: one, beside the one being filled.
const WAITING_MAX: usize = 1;

/// Where the reading task puts its batches.
pub(crate) struct Batches {
    sender: mpsc::Sender<RecordBatch>,
    pub(crate) schema: SchemaRef,
}

/// The stream was dropped; nobody waits for more.
#[derive(Debug)]
pub(crate) struct Abandoned;

impl Batches {
    /// Waits until the stream is dropped.
    pub(crate) async fn abandoned(&self) {
        self.sender.closed().await;
    }

    pub(crate) async fn send(&self, batch: RecordBatch) -> Result<(), Abandoned> {
        self.sender.send(batch).await.map_err(|_| Abandoned)
    }

    /// As [`Batches::send`] on a thread that may block.
    pub(crate) fn blocking_send(&self, batch: RecordBatch) -> Result<(), Abandoned> {
        self.sender.blocking_send(batch).map_err(|_| Abandoned)
    }

    /// Another handle for the part of the task that sends while the task waits for [`Batches::abandoned`].
    pub(crate) fn clone_handle(&self) -> Self {
        Self { sender: self.sender.clone(), schema: Arc::clone(&self.schema) }
    }
}

/// The stream that `read` feeds. Nothing runs before the stream is first polled.
///
/// The stream ends well only when `read` returned `Ok`; a task that failed or panicked ends it with an error.
pub(crate) fn stream_of<Read, Reading>(schema: SchemaRef, read: Read) -> SendableRecordBatchStream
where
    Read: FnOnce(Batches) -> Reading + Send + 'static,
    Reading: Future<Output = Result<(), SourceError>> + Send + 'static,
{
    let of_stream = Arc::clone(&schema);
    let stream = futures::stream::once(async move {
        let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
        let mut task = Some(tokio::spawn(read(Batches { sender, schema })));
        futures::stream::poll_fn(move |context| {
            use std::task::{Poll, ready};
            if let Some(batch) = ready!(receiver.poll_recv(context)) {
                return Poll::Ready(Some(Ok(batch)));
            }
            let Some(running) = task.as_mut() else { return Poll::Ready(None) };
            let ended = ready!(Future::poll(std::pin::Pin::new(running), context));
            task = None;
            match ended {
                Ok(Ok(())) => Poll::Ready(None),
                Ok(Err(error)) => Poll::Ready(Some(Err(error.into()))),
                Err(error) => Poll::Ready(Some(Err(DataFusionError::ExecutionJoin(Box::new(error))))),
            }
        })
    })
    .flatten();
    Box::pin(RecordBatchStreamAdapter::new(of_stream, stream))
}

/// Collects values of all columns until a batch is complete.
pub(crate) struct BatchBuilder<V: ?Sized> {
    source_name: String,
    schema: SchemaRef,
    readers: Vec<Box<dyn ColumnReader<V>>>,
    rows: usize,
    bytes: usize,
}

impl<V: ?Sized> BatchBuilder<V> {
    /// `readers` are in the order of the schema's fields.
    pub(crate) fn new(source_name: &str, schema: SchemaRef, readers: Vec<Box<dyn ColumnReader<V>>>) -> Self {
        Self { source_name: source_name.to_owned(), schema, readers, rows: 0, bytes: 0 }
    }

    pub(crate) fn columns(&self) -> usize {
        self.readers.len()
    }

    /// Appends one value to a column. `bytes` is its size at the source.
    ///
    /// # Errors
    /// [`SourceError::Value`] when the column's type cannot hold it exactly.
    pub(crate) fn append(&mut self, column: usize, value: Option<&V>, bytes: usize) -> Result<(), SourceError> {
        self.bytes += bytes;
        let outcome = match value {
            Some(value) => self.readers[column].append(value),
            None if self.schema.field(column).is_nullable() => {
                self.readers[column].append_null();
                Ok(())
            }
            None => Err(BadValue::new("NULL")),
        };
        outcome.map_err(|bad| SourceError::Value {
            source_name: self.source_name.clone(),
            column: self.schema.field(column).name().clone(),
            kind: bad.kind.into_owned(),
            wanted: wanted(self.schema.field(column)),
        })
    }

    /// Says that all columns of one row have their value; gives the batch when it is complete.
    pub(crate) fn end_row(&mut self) -> Option<Result<RecordBatch, SourceError>> {
        self.rows += 1;
        (self.rows >= ROWS_MAX || self.bytes >= BYTES_MAX).then(|| self.finish())
    }

    /// The rows that are left.
    pub(crate) fn end(&mut self) -> Option<Result<RecordBatch, SourceError>> {
        (self.rows > 0).then(|| self.finish())
    }

    fn finish(&mut self) -> Result<RecordBatch, SourceError> {
        let arrays: Vec<ArrayRef> = self.readers.iter_mut().map(|reader| reader.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map_err(|error| {
            SourceError::Lost {
                source_name: self.source_name.clone(),
                reason: format!("its rows make no batch: {error}"),
            }
        })
    }
}

/// What to say when the statement's columns and the schema asked for do not even pair.
pub(crate) fn column_count_differs(source_name: &str, found: usize, wanted: usize) -> SourceError {
    SourceError::Refused {
        source_name: source_name.to_owned(),
        message: format!("the statement gives {found} columns where {wanted} are expected"),
        sqlstate: Some("42804".to_owned()),
        position: None,
    }
}

/// What to say when no value of a native type can become the Arrow type asked for.
pub(crate) fn no_reader(source_name: &str, schema: &SchemaRef, column: usize, native: &SourceColumn) -> SourceError {
    SourceError::Value {
        source_name: source_name.to_owned(),
        column: schema.field(column).name().clone(),
        kind: format!("values of type {}", native.native_type),
        wanted: schema.field(column).data_type().to_string(),
    }
}

fn wanted(field: &Field) -> String {
    let nullability = if field.is_nullable() { "" } else { " not null" };
    format!("{}{nullability}", field.data_type())
}
