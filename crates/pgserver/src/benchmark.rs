//! What the benchmarks call: encoding alone, without a socket.

use bytes::BytesMut;
use datafusion::arrow::record_batch::RecordBatch;

use belvedere_engine::{Column, SqlError};

use crate::encode::EncodedBatch;
use crate::messages::Format;
use crate::zone::Zone;

/// Encodes a batch as DataRow messages, all columns as text or all in binary, in the time zone UTC. `output` is what a
/// connection's buffer would be; it is emptied first. Gives the number of bytes.
///
/// # Errors
/// As for a client: arrays that are not of their columns' types, values without a form.
pub fn encode_rows(
    batch: &RecordBatch,
    columns: &[Column],
    in_binary: bool,
    output: &mut BytesMut,
) -> Result<usize, SqlError> {
    let format = if in_binary { Format::Binary } else { Format::Text };
    let formats = vec![format; columns.len()];
    let rows = EncodedBatch::new(batch, columns, &formats, &Zone::Utc)?;
    output.clear();
    for row in 0..rows.rows() {
        rows.put_row(row, output)?;
    }
    Ok(output.len())
}
