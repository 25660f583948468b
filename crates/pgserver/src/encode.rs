//! Arrow arrays as rows on the wire: text or binary, straight into the output buffer, with no allocation for a value.
//!
//! A column's array must have the type that its PostgreSQL type stands for, or one that converts to it without loss; anything else
//! is an error that names the column, never a guess.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, downcast_array,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use postgres_types::{Kind, Type};

use belvedere_engine::{Column, SqlError};

use crate::calendar::{
    POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_US, put_date, put_interval, put_time, put_timestamp, put_timestamptz,
};
use crate::messages::Format;
use crate::numbers::{Digits, Scale, put_float4, put_float8, put_numeric_binary, put_numeric_text};
use crate::parameters::is_textual;
use crate::zone::Zone;

/// The scale of the decimal that stands for a bare `numeric`.
pub(crate) const BARE_NUMERIC: DataType = DataType::Decimal256(76, 20);

/// The carrier of quotients and averages, whose scale PostgreSQL chooses value by value.
const QUOTIENT: DataType = DataType::Decimal256(76, 44);

/// A batch that is ready to be written row by row.
pub(crate) struct EncodedBatch {
    columns: Vec<Encoder>,
    rows: usize,
}

impl EncodedBatch {
    /// # Errors
    /// XX000 naming the column whose array does not have the promised type or number.
    pub(crate) fn new(
        batch: &RecordBatch,
        columns: &[Column],
        formats: &[Format],
        zone: &Zone,
    ) -> Result<Self, SqlError> {
        if batch.num_columns() != columns.len() || formats.len() != columns.len() {
            let message = format!("the result has {} columns instead of {}", batch.num_columns(), columns.len());
            return Err(SqlError::new("XX000", message));
        }
        let encoders = columns.iter().zip(batch.columns()).zip(formats).map(|((column, array), format)| {
            Encoder::new(array, &column.pg_type, column.typmod, *format, zone).map_err(|mismatch| {
                let Mismatch { sqlstate, reason } = mismatch;
                SqlError::new(
                    sqlstate,
                    format!("column \"{}\" of type {} cannot be sent: {reason}", column.name, column.pg_type),
                )
            })
        });
        Ok(Self { columns: encoders.collect::<Result<_, _>>()?, rows: batch.num_rows() })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Appends one DataRow; on an error nothing is appended.
    ///
    /// # Errors
    /// A value that has no form on the wire: 22021 for text with a NUL, 22P02 for a value that is not of its type, 54000 for a
    /// row beyond the protocol's 2 GiB.
    pub(crate) fn put_row(&self, row: usize, output: &mut BytesMut) -> Result<(), SqlError> {
        let start = output.len();
        let written = self.put_row_unguarded(row, output, start);
        if written.is_err() {
            output.truncate(start);
        }
        written
    }

    fn put_row_unguarded(&self, row: usize, output: &mut BytesMut, start: usize) -> Result<(), SqlError> {
        output.put_u8(b'D');
        output.put_u32(0);
        output.put_u16(self.columns.len() as u16);
        for column in &self.columns {
            put_sized(column, row, output)?;
        }
        set_length(output, start + 1, output.len() - start - 1)
    }
}

/// Why a column cannot be sent.
struct Mismatch {
    sqlstate: &'static str,
    reason: String,
}

impl From<String> for Mismatch {
    /// An array that is not what its column promised: our mistake.
    fn from(reason: String) -> Self {
        Self { sqlstate: "XX000", reason }
    }
}

/// A value with its length before it.
fn put_sized(encoder: &Encoder, row: usize, output: &mut BytesMut) -> Result<(), SqlError> {
    if encoder.is_null(row) {
        output.put_i32(-1);
        return Ok(());
    }
    let start = output.len();
    output.put_u32(0);
    encoder.put(row, output)?;
    set_length(output, start, output.len() - start - 4)
}

fn set_length(output: &mut BytesMut, at: usize, length: usize) -> Result<(), SqlError> {
    let length = i32::try_from(length)
        .map_err(|_| SqlError::new("54000", "a value or row is too long for the protocol (2 GiB)"))?;
    output[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// One column (or the elements of one array column) with its form chosen.
struct Encoder {
    values: Values,
    format: Format,
}

enum Values {
    /// Every value is NULL.
    Null,
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    /// An unsigned 32-bit identity.
    Oid(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Numeric128(Decimal128Array, i8, Scale),
    Numeric256(Decimal256Array, i8, Scale),
    Text(Strings),
    Bytea(BinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp(TimestampMicrosecondArray),
    TimestampTz(TimestampMicrosecondArray, Zone),
    Interval(IntervalMonthDayNanoArray),
    Uuid(Strings),
    Jsonb(Strings),
    Bit(Strings),
    /// `"char"`: one byte, or nothing.
    Char(Strings),
    List(Box<List>),
}

struct Strings {
    array: StringArray,
    /// Some value holds a NUL; then each is looked at.
    has_nul: bool,
}

struct List {
    array: ListArray,
    elements: Encoder,
    element_oid: u32,
    /// `int2vector` and `oidvector` of the catalog: text without braces, counted from 0.
    is_vector: bool,
}

impl Encoder {
    fn new(array: &ArrayRef, pg_type: &Type, typmod: i32, format: Format, zone: &Zone) -> Result<Self, Mismatch> {
        if array.data_type() == &DataType::Null {
            return Ok(Self { values: Values::Null, format });
        }
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let values = match *pg_type {
            Type::BOOL => Values::Bool(downcast_array(&to(array, &DataType::Boolean)?)),
            Type::INT2 => Values::Int2(downcast_array(&to(array, &DataType::Int16)?)),
            Type::INT4 => Values::Int4(downcast_array(&to(array, &DataType::Int32)?)),
            Type::INT8 => Values::Int8(downcast_array(&to(array, &DataType::Int64)?)),
            Type::OID | Type::XID | Type::CID | Type::REGCLASS | Type::REGTYPE | Type::REGPROC | Type::REGNAMESPACE
            | Type::REGROLE
                // A reg… column may also be shown by its name.
                if array.data_type().is_integer() =>
            {
                Values::Oid(downcast_array(&to(array, &DataType::Int64)?))
            }
            Type::FLOAT4 => Values::Float4(downcast_array(&to(array, &DataType::Float32)?)),
            Type::FLOAT8 => Values::Float8(downcast_array(&to(array, &DataType::Float64)?)),
            Type::NUMERIC => numeric(array, typmod)?,
            Type::BYTEA => Values::Bytea(downcast_array(&to(array, &DataType::Binary)?)),
            Type::DATE => Values::Date(downcast_array(&to(array, &DataType::Date32)?)),
            Type::TIME => Values::Time(downcast_array(&to(array, &DataType::Time64(TimeUnit::Microsecond))?)),
            Type::TIMESTAMP => match array.data_type() {
                DataType::Timestamp(_, None) => Values::Timestamp(downcast_array(&to(array, &micros)?)),
                other => return Err(format!("its values are {other}").into()),
            },
            Type::TIMESTAMPTZ => match array.data_type() {
                // Whatever the zone's name, the values are instants counted in UTC.
                DataType::Timestamp(_, Some(name)) => {
                    let target = DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(name)));
                    Values::TimestampTz(downcast_array(&cast(array, &target)?), zone.clone())
                }
                other => return Err(format!("its values are {other}").into()),
            },
            Type::INTERVAL => match array.data_type() {
                DataType::Interval(_) => Values::Interval(downcast_array(&cast(
                    array,
                    &DataType::Interval(datafusion::arrow::datatypes::IntervalUnit::MonthDayNano),
                )?)),
                other => return Err(format!("its values are {other}").into()),
            },
            Type::UUID => Values::Uuid(strings(array)?),
            Type::JSONB => Values::Jsonb(strings(array)?),
            Type::BIT | Type::VARBIT => Values::Bit(strings(array)?),
            Type::CHAR => Values::Char(strings(array)?),
            _ => match pg_type.kind() {
                Kind::Array(element) => list(array, pg_type, element, format, zone)?,
                // Text in place of a binary form would be read as something else.
                _ if format == Format::Binary && !is_textual(pg_type) => {
                    let reason = "it has no binary form here, ask for text".to_owned();
                    return Err(Mismatch { sqlstate: "0A000", reason });
                }
                _ => Values::Text(strings(array)?),
            },
        };
        Ok(Self { values, format })
    }

    fn is_null(&self, row: usize) -> bool {
        match &self.values {
            Values::Null => true,
            Values::Bool(array) => array.is_null(row),
            Values::Int2(array) => array.is_null(row),
            Values::Int4(array) => array.is_null(row),
            Values::Int8(array) | Values::Oid(array) => array.is_null(row),
            Values::Float4(array) => array.is_null(row),
            Values::Float8(array) => array.is_null(row),
            Values::Numeric128(array, ..) => array.is_null(row),
            Values::Numeric256(array, ..) => array.is_null(row),
            Values::Text(strings)
            | Values::Uuid(strings)
            | Values::Jsonb(strings)
            | Values::Bit(strings)
            | Values::Char(strings) => strings.array.is_null(row),
            Values::Bytea(array) => array.is_null(row),
            Values::Date(array) => array.is_null(row),
            Values::Time(array) => array.is_null(row),
            Values::Timestamp(array) | Values::TimestampTz(array, _) => array.is_null(row),
            Values::Interval(array) => array.is_null(row),
            Values::List(list) => list.array.is_null(row),
        }
    }

    /// Appends a value that is not NULL, without its length.
    fn put(&self, row: usize, output: &mut BytesMut) -> Result<(), SqlError> {
        match self.format {
            Format::Text => self.put_text(row, output),
            Format::Binary => self.put_binary(row, output),
        }
    }

    fn put_text(&self, row: usize, output: &mut BytesMut) -> Result<(), SqlError> {
        match &self.values {
            Values::Null => {}
            Values::Bool(array) => output.put_u8(if array.value(row) { b't' } else { b'f' }),
            Values::Int2(array) => put_integer(output, array.value(row)),
            Values::Int4(array) => put_integer(output, array.value(row)),
            Values::Int8(array) => put_integer(output, array.value(row)),
            Values::Oid(array) => put_integer(output, oid(array.value(row))?),
            Values::Float4(array) => put_float4(output, array.value(row)),
            Values::Float8(array) => put_float8(output, array.value(row)),
            Values::Numeric128(array, scale, shown) => {
                put_numeric_text(output, &Digits::of_i128(array.value(row)), *scale, *shown);
            }
            Values::Numeric256(array, scale, shown) => {
                put_numeric_text(output, &Digits::of_i256(array.value(row)), *scale, *shown);
            }
            Values::Text(strings)
            | Values::Uuid(strings)
            | Values::Jsonb(strings)
            | Values::Bit(strings)
            | Values::Char(strings) => {
                output.put_slice(strings.value(row)?.as_bytes());
            }
            Values::Bytea(array) => put_hex(output, array.value(row)),
            Values::Date(array) => put_date(output, i64::from(array.value(row))),
            Values::Time(array) => put_time(output, array.value(row)),
            Values::Timestamp(array) => put_timestamp(output, array.value(row)),
            Values::TimestampTz(array, zone) => {
                let instant = array.value(row);
                put_timestamptz(output, instant, zone.offset_at(instant)?);
            }
            Values::Interval(array) => {
                let value = array.value(row);
                put_interval(output, value.months, value.days, value.nanoseconds / 1_000);
            }
            Values::List(list) => list.put_text(row, output)?,
        }
        Ok(())
    }

    fn put_binary(&self, row: usize, output: &mut BytesMut) -> Result<(), SqlError> {
        match &self.values {
            Values::Null => {}
            Values::Bool(array) => output.put_u8(u8::from(array.value(row))),
            Values::Int2(array) => output.put_i16(array.value(row)),
            Values::Int4(array) => output.put_i32(array.value(row)),
            Values::Int8(array) => output.put_i64(array.value(row)),
            Values::Oid(array) => output.put_u32(oid(array.value(row))?),
            Values::Float4(array) => output.put_f32(array.value(row)),
            Values::Float8(array) => output.put_f64(array.value(row)),
            Values::Numeric128(array, scale, shown) => {
                put_numeric_binary(output, &Digits::of_i128(array.value(row)), *scale, *shown);
            }
            Values::Numeric256(array, scale, shown) => {
                put_numeric_binary(output, &Digits::of_i256(array.value(row)), *scale, *shown);
            }
            Values::Text(strings) => output.put_slice(strings.value(row)?.as_bytes()),
            Values::Uuid(strings) => {
                let text = strings.value(row)?;
                let bytes = crate::parameters::uuid_bytes(text).ok_or_else(|| not_a("uuid", text))?;
                output.put_slice(&bytes);
            }
            Values::Jsonb(strings) => {
                output.put_u8(1);
                output.put_slice(strings.value(row)?.as_bytes());
            }
            Values::Bit(strings) => put_bits(output, strings.value(row)?)?,
            Values::Char(strings) => match strings.value(row)?.as_bytes() {
                [] => output.put_u8(0),
                [byte] => output.put_u8(*byte),
                _ => return Err(not_a("\"char\"", strings.value(row)?)),
            },
            Values::Bytea(array) => output.put_slice(array.value(row)),
            Values::Date(array) => {
                let days = i64::from(array.value(row)) - POSTGRES_EPOCH_DAYS;
                output.put_i32(i32::try_from(days).map_err(|_| SqlError::new("22008", "date out of range"))?);
            }
            Values::Time(array) => output.put_i64(array.value(row)),
            Values::Timestamp(array) | Values::TimestampTz(array, _) => {
                let us = array.value(row).checked_sub(POSTGRES_EPOCH_US);
                output.put_i64(us.ok_or_else(|| SqlError::new("22008", "timestamp out of range"))?);
            }
            Values::Interval(array) => {
                let value = array.value(row);
                output.put_i64(value.nanoseconds / 1_000);
                output.put_i32(value.days);
                output.put_i32(value.months);
            }
            Values::List(list) => list.put_binary(row, output)?,
        }
        Ok(())
    }
}

impl Strings {
    fn value(&self, row: usize) -> Result<&str, SqlError> {
        let text = self.array.value(row);
        // A text value ends at a NUL for many clients; PostgreSQL cannot hold one either.
        if self.has_nul && text.as_bytes().contains(&0) {
            return Err(SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"));
        }
        Ok(text)
    }
}

fn not_a(type_name: &str, text: &str) -> SqlError {
    SqlError::new("22P02", format!("invalid input syntax for type {type_name}: \"{text}\""))
}

fn oid(value: i64) -> Result<u32, SqlError> {
    u32::try_from(value).map_err(|_| SqlError::new("22003", "OID out of range"))
}

fn put_integer(output: &mut BytesMut, value: impl itoa::Integer) {
    output.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn put_hex(output: &mut BytesMut, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    output.reserve(2 + bytes.len() * 2);
    output.put_slice(b"\\x");
    for byte in bytes {
        output.put_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// The number of bits, then the bits, the first in the highest place.
fn put_bits(output: &mut BytesMut, text: &str) -> Result<(), SqlError> {
    output.put_i32(i32::try_from(text.len()).map_err(|_| not_a("bit", "…"))?);
    for group in text.as_bytes().chunks(8) {
        let mut byte = 0_u8;
        for (i, bit) in group.iter().enumerate() {
            match bit {
                b'0' => {}
                b'1' => byte |= 0x80 >> i,
                _ => return Err(not_a("bit", text)),
            }
        }
        output.put_u8(byte);
    }
    Ok(())
}

fn numeric(array: &ArrayRef, typmod: i32) -> Result<Values, String> {
    match array.data_type() {
        DataType::Decimal128(_, scale) => {
            Ok(Values::Numeric128(downcast_array(array.as_ref()), *scale, Scale::Declared))
        }
        DataType::Decimal256(_, scale) => {
            let shown = match array.data_type() {
                quotient if typmod == -1 && *quotient == QUOTIENT => Scale::Quotient,
                // A bare numeric, or what was computed of one.
                DataType::Decimal256(76, 20..) if typmod == -1 => Scale::Shortest,
                _ => Scale::Declared,
            };
            Ok(Values::Numeric256(downcast_array(array.as_ref()), *scale, shown))
        }
        integer if integer.is_integer() => {
            let decimals = cast(array, &DataType::Decimal128(38, 0))?;
            Ok(Values::Numeric128(downcast_array(&decimals), 0, Scale::Declared))
        }
        other => Err(format!("its values are {other}")),
    }
}

fn strings(array: &ArrayRef) -> Result<Strings, String> {
    let array: StringArray = match array.data_type() {
        DataType::Utf8 => downcast_array(array.as_ref()),
        DataType::LargeUtf8 | DataType::Utf8View => downcast_array(&cast(array, &DataType::Utf8)?),
        DataType::Dictionary(_, value) if matches!(**value, DataType::Utf8 | DataType::LargeUtf8) => {
            downcast_array(&cast(array, &DataType::Utf8)?)
        }
        other => return Err(format!("its values are {other}")),
    };
    let has_nul = array.value_data().contains(&0);
    Ok(Strings { array, has_nul })
}

fn list(array: &ArrayRef, pg_type: &Type, element: &Type, format: Format, zone: &Zone) -> Result<Values, Mismatch> {
    let array: ListArray = match array.data_type() {
        DataType::List(_) => downcast_array(array.as_ref()),
        DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            downcast_array(&cast(array, &DataType::List(Arc::clone(field)))?)
        }
        other => return Err(format!("its values are {other}").into()),
    };
    let elements = match array.values().data_type() {
        // PostgreSQL's arrays have one type for any number of dimensions.
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            Encoder { values: self::list(array.values(), pg_type, element, format, zone)?, format }
        }
        _ => Encoder::new(array.values(), element, -1, format, zone)?,
    };
    let is_vector = matches!(*pg_type, Type::INT2_VECTOR | Type::OID_VECTOR);
    Ok(Values::List(Box::new(List { array, elements, element_oid: element.oid(), is_vector })))
}

impl List {
    /// The places of one value's elements among all elements.
    fn range(&self, row: usize) -> std::ops::Range<usize> {
        let offsets = self.array.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }

    /// The lengths of the dimensions; none for an empty array.
    ///
    /// # Errors
    /// 2202E where inner arrays differ in length or are NULL: PostgreSQL's arrays are rectangular.
    fn dimensions(&self, row: usize) -> Result<Vec<usize>, SqlError> {
        let ragged = || SqlError::new("2202E", "an array whose inner arrays differ in length cannot be sent");
        let range = self.range(row);
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut dimensions = vec![range.len()];
        if let Values::List(inner) = &self.elements.values {
            let mut inner_dimensions: Option<Vec<usize>> = None;
            for element in range {
                if inner.array.is_null(element) {
                    return Err(ragged());
                }
                let these = inner.dimensions(element)?;
                if inner_dimensions.get_or_insert_with(|| these.clone()) != &these {
                    return Err(ragged());
                }
            }
            let inner_dimensions = inner_dimensions.unwrap_or_default();
            if inner_dimensions.is_empty() {
                return Ok(Vec::new());
            }
            dimensions.extend(inner_dimensions);
        }
        Ok(dimensions)
    }

    fn put_text(&self, row: usize, output: &mut BytesMut) -> Result<(), SqlError> {
        if self.is_vector {
            for (i, element) in self.range(row).enumerate() {
                if i > 0 {
                    output.put_u8(b' ');
                }
                self.elements.put_text(element, output)?;
            }
            return Ok(());
        }
        if self.dimensions(row)?.is_empty() {
            output.put_slice(b"{}");
            return Ok(());
        }
        output.put_u8(b'{');
        for (i, element) in self.range(row).enumerate() {
            if i > 0 {
                output.put_u8(b',');
            }
            if self.elements.is_null(element) {
                output.put_slice(b"NULL");
                continue;
            }
            let start = output.len();
            self.elements.put_text(element, output)?;
            if !matches!(self.elements.values, Values::List(_)) {
                quote_element(output, start);
            }
        }
        output.put_u8(b'}');
        Ok(())
    }

    fn put_binary(&self, row: usize, output: &mut BytesMut) -> Result<(), SqlError> {
        let dimensions = self.dimensions(row)?;
        output.put_i32(dimensions.len() as i32);
        let has_null_at = output.len();
        output.put_i32(0);
        output.put_u32(self.element_oid);
        for length in &dimensions {
            output.put_i32(i32::try_from(*length).map_err(|_| SqlError::new("54000", "array is too long"))?);
            output.put_i32(i32::from(!self.is_vector));
        }
        if !dimensions.is_empty() && self.put_elements(row, output)? {
            output[has_null_at + 3] = 1;
        }
        Ok(())
    }

    /// Returns whether there was a NULL.
    fn put_elements(&self, row: usize, output: &mut BytesMut) -> Result<bool, SqlError> {
        let mut has_null = false;
        for element in self.range(row) {
            if let Values::List(inner) = &self.elements.values {
                has_null |= inner.put_elements(element, output)?;
            } else {
                has_null |= self.elements.is_null(element);
                put_sized(&self.elements, element, output)?;
            }
        }
        Ok(has_null)
    }
}

/// Puts quotes around the element that was written from `start` on, where array text needs them.
fn quote_element(output: &mut BytesMut, start: usize) {
    let element = &output[start..];
    let special = |byte: &u8| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\' | b' ' | b'\t'..=b'\r');
    if !element.is_empty() && !element.eq_ignore_ascii_case(b"NULL") && !element.iter().any(special) {
        return;
    }
    let element = output.split_off(start);
    output.put_u8(b'"');
    for byte in element {
        if matches!(byte, b'"' | b'\\') {
            output.put_u8(b'\\');
        }
        output.put_u8(byte);
    }
    output.put_u8(b'"');
}

/// Converts between types of one family: integers, floats, binaries, times. Every value must fit.
fn to(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, String> {
    let from = match array.data_type() {
        DataType::Dictionary(_, value) => value.as_ref(),
        other => other,
    };
    let same_family = from == target
        || (from.is_integer() && target.is_integer())
        || (from.is_floating() && target.is_floating() && from.primitive_width() <= target.primitive_width())
        || matches!(
            (from, target),
            (DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_), DataType::Binary)
                | (DataType::Date64, DataType::Date32)
                | (DataType::Time32(_) | DataType::Time64(_), DataType::Time64(_))
                | (DataType::Timestamp(_, None), DataType::Timestamp(_, None))
        );
    if same_family { cast(array, target) } else { Err(format!("its values are {from}")) }
}

fn cast(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, String> {
    if array.data_type() == target {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, target, &options).map_err(|_| format!("a value does not fit {target}"))
}
