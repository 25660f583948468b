//! Values of every type, in and out, in text and binary, as PostgreSQL 15 writes them.

use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use datafusion::arrow::array::{
    Array, ArrayRef, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, LargeStringArray, ListArray, NullArray, StringArray, StringViewArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt32Array,
};
use datafusion::arrow::datatypes::{Int32Type, IntervalMonthDayNano};
use datafusion::arrow::record_batch::RecordBatch;
use postgres_types::Type;

use belvedere_engine::Column;

use super::fake_engine::scalar;
use super::harness::{Message, Outcome, Server, bind, execute, frame, parse, sync};
use crate::encode::EncodedBatch;
use crate::messages::Format;
use crate::parameters;
use crate::zone::Zone;

/// Written by PostgreSQL 15 in the time zone Europe/Berlin: type, text given, `=` and the text that came back or `!` and the
/// SQLSTATE, the binary form in hexadecimal. `numeric` went through `trim_scale`.
const FROM_POSTGRESQL: &str = include_str!("values.tsv");

struct Case {
    pg_type: Type,
    given: String,
    expected: Result<(String, Vec<u8>), String>,
}

fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::BOOL,
        "int2" => Type::INT2,
        "int4" => Type::INT4,
        "int8" => Type::INT8,
        "oid" => Type::OID,
        "float4" => Type::FLOAT4,
        "float8" => Type::FLOAT8,
        "numeric" => Type::NUMERIC,
        "text" => Type::TEXT,
        "varchar" => Type::VARCHAR,
        "name" => Type::NAME,
        "\"char\"" => Type::CHAR,
        "bytea" => Type::BYTEA,
        "date" => Type::DATE,
        "time" => Type::TIME,
        "timestamp" => Type::TIMESTAMP,
        "timestamptz" => Type::TIMESTAMPTZ,
        "interval" => Type::INTERVAL,
        "uuid" => Type::UUID,
        "json" => Type::JSON,
        "jsonb" => Type::JSONB,
        "varbit" => Type::VARBIT,
        "bool[]" => Type::BOOL_ARRAY,
        "int2[]" => Type::INT2_ARRAY,
        "int4[]" => Type::INT4_ARRAY,
        "int8[]" => Type::INT8_ARRAY,
        "float4[]" => Type::FLOAT4_ARRAY,
        "float8[]" => Type::FLOAT8_ARRAY,
        "numeric[]" => Type::NUMERIC_ARRAY,
        "text[]" => Type::TEXT_ARRAY,
        "bytea[]" => Type::BYTEA_ARRAY,
        "date[]" => Type::DATE_ARRAY,
        "time[]" => Type::TIME_ARRAY,
        "timestamp[]" => Type::TIMESTAMP_ARRAY,
        "timestamptz[]" => Type::TIMESTAMPTZ_ARRAY,
        "interval[]" => Type::INTERVAL_ARRAY,
        "uuid[]" => Type::UUID_ARRAY,
        "jsonb[]" => Type::JSONB_ARRAY,
        "varbit[]" => Type::VARBIT_ARRAY,
        _ => return None,
    })
}

fn cases() -> Vec<Case> {
    let hex = |text: &str| -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| {
                let digit = |byte: u8| (byte as char).to_digit(16).expect("the file has hexadecimal") as u8;
                digit(pair[0]) << 4 | digit(pair[1])
            })
            .collect()
    };
    FROM_POSTGRESQL
        .lines()
        .map(|line| {
            let mut fields = line.split('\t').map(|field| field.replace("\\\\", "\\"));
            let mut field = || fields.next().expect("the file has four columns");
            let (name, given, expected, binary) = (field(), field(), field(), field());
            let expected = match expected.strip_prefix('=') {
                Some(text) => Ok((text.to_owned(), hex(&binary))),
                None => Err(expected[1..].to_owned()),
            };
            Case { pg_type: type_named(&name).expect("the file has known types"), given, expected }
        })
        .collect()
}

fn berlin() -> Zone {
    Zone::from_setting("Europe/Berlin")
}

fn encoded(array: ArrayRef, pg_type: Type, format: Format) -> Result<Vec<Option<Vec<u8>>>, String> {
    let column = Column { name: "c".to_owned(), pg_type, typmod: -1 };
    let batch = RecordBatch::try_from_iter_with_nullable([("c", array, true)]).map_err(|error| error.to_string())?;
    let rows = EncodedBatch::new(&batch, &[column], &[format], &berlin()).map_err(|error| error.to_string())?;
    let mut output = BytesMut::new();
    (0..rows.rows())
        .map(|row| {
            output.clear();
            rows.put_row(row, &mut output).map_err(|error| error.to_string())?;
            let mut message = &output[..];
            assert_eq!(message.get_u8(), b'D');
            assert_eq!(message.get_u32() as usize, output.len() - 1);
            assert_eq!(message.get_u16(), 1);
            let length = message.get_i32();
            if length == -1 {
                return Ok(None);
            }
            assert_eq!(length as usize, message.len());
            Ok(Some(message.to_vec()))
        })
        .collect()
}

fn text_of(array: ArrayRef, pg_type: Type) -> Result<Vec<Option<String>>, String> {
    let values = encoded(array, pg_type, Format::Text)?;
    Ok(values.into_iter().map(|value| value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())).collect())
}

#[test]
fn every_value_goes_in_and_out_as_in_postgresql() -> Outcome {
    let mut wrong = Vec::new();
    for Case { pg_type, given, expected } in cases() {
        let name = format!("{pg_type} {given:?}");
        let value = parameters::decode(Some(given.as_bytes()), Format::Text, &pg_type, &berlin());
        match (value, expected) {
            (Ok(value), Ok((text, binary))) => {
                let array = value.to_array_of_size(1)?;
                let shown = text_of(Arc::clone(&array), pg_type.clone());
                if shown.as_ref().ok() != Some(&vec![Some(text.clone())]) {
                    wrong.push(format!("{name}: text is {shown:?} instead of {text:?}"));
                }
                let sent = encoded(array, pg_type.clone(), Format::Binary);
                if sent.as_ref().ok() != Some(&vec![Some(binary.clone())]) {
                    wrong.push(format!("{name}: binary is {sent:02x?} instead of {binary:02x?}"));
                }
                let back = parameters::decode(Some(&binary), Format::Binary, &pg_type, &berlin());
                if back.as_ref().ok() != Some(&value) {
                    wrong.push(format!("{name}: binary parameter is {back:?} instead of {value:?}"));
                }
            }
            (Err(error), Err(sqlstate)) if error.sqlstate == sqlstate => {}
            (value, expected) => wrong.push(format!("{name}: {value:?} instead of {expected:?}")),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_null_of_every_type_is_null_in_both_formats() -> Outcome {
    for Case { pg_type, .. } in cases() {
        for format in [Format::Text, Format::Binary] {
            let value = parameters::decode(None, format, &pg_type, &Zone::Utc)?;
            assert_eq!(encoded(value.to_array_of_size(2)?, pg_type.clone(), format)?, vec![None, None]);
        }
        assert_eq!(encoded(Arc::new(NullArray::new(1)), pg_type, Format::Binary)?, vec![None]);
    }
    Ok(())
}

#[test]
fn binary_values_of_a_wrong_length_are_22p03() {
    let fixed = [
        Type::BOOL,
        Type::INT2,
        Type::INT4,
        Type::INT8,
        Type::OID,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::NUMERIC,
        Type::CHAR,
        Type::DATE,
        Type::TIME,
        Type::TIMESTAMP,
        Type::TIMESTAMPTZ,
        Type::INTERVAL,
        Type::UUID,
        Type::VARBIT,
        Type::INT4_ARRAY,
        Type::TEXT_ARRAY,
    ];
    for pg_type in fixed {
        for bytes in [&b""[..], b"\x01\x02\x03"] {
            let error =
                parameters::decode(Some(bytes), Format::Binary, &pg_type, &Zone::Utc).expect_err("is too short");
            assert_eq!(error.sqlstate, "22P03", "{pg_type}");
        }
    }
}

#[test]
fn binary_values_that_lie_about_their_contents_are_refused() {
    let sqlstate = |pg_type: &Type, bytes: &[u8]| {
        parameters::decode(Some(bytes), Format::Binary, pg_type, &Zone::Utc).map_err(|error| error.sqlstate)
    };
    // Numeric: more groups than bytes, a group beyond 9999, NaN.
    assert_eq!(sqlstate(&Type::NUMERIC, &[0xff, 0xff, 0, 0, 0, 0, 0, 0]), Err("22P03"));
    assert_eq!(sqlstate(&Type::NUMERIC, &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10]), Err("22P03"));
    assert_eq!(sqlstate(&Type::NUMERIC, &[0, 0, 0, 0, 0xc0, 0, 0, 0]), Err("0A000"));
    assert_eq!(sqlstate(&Type::NUMERIC, &[0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1]), Err("22003"));
    // Array: two thousand million elements in eight bytes, and elements of another type.
    let mut array = Vec::new();
    array.put_i32(1);
    array.put_i32(0);
    array.put_u32(Type::INT4.oid());
    array.put_i32(i32::MAX);
    array.put_i32(1);
    array.put_i32(-1);
    assert_eq!(sqlstate(&Type::INT4_ARRAY, &array), Err("22P03"));
    assert_eq!(sqlstate(&Type::INT8_ARRAY, &array), Err("22P03"));
    // Bits: a length that the bytes do not have.
    assert_eq!(sqlstate(&Type::VARBIT, &[0x7f, 0xff, 0xff, 0xff, 0]), Err("22P03"));
    // JSON in a version that does not exist.
    assert_eq!(sqlstate(&Type::JSONB, b"\x02{}"), Err("22P03"));
    assert_eq!(sqlstate(&Type::JSONB, b""), Err("22P03"));
    // Text: not UTF-8, and a NUL.
    assert_eq!(sqlstate(&Type::TEXT, &[0xc3, 0x28]), Err("22021"));
    assert_eq!(sqlstate(&Type::TEXT, &[b'a', 0, b'b']), Err("22021"));
    // Infinities are not values yet.
    assert_eq!(sqlstate(&Type::DATE, &i32::MAX.to_be_bytes()), Err("0A000"));
    assert_eq!(sqlstate(&Type::TIMESTAMPTZ, &i64::MIN.to_be_bytes()), Err("0A000"));
    assert_eq!(sqlstate(&Type::TIMESTAMP, &(i64::MAX - 1).to_be_bytes()), Err("22008"));
}

#[test]
fn numeric_parameters_hold_76_digits_or_fail() -> Outcome {
    let largest = format!("{}.{}", "9".repeat(56), "9".repeat(20));
    let value = scalar(&largest, &Type::NUMERIC)?;
    assert_eq!(text_of(value.to_array_of_size(1)?, Type::NUMERIC)?, vec![Some(largest)]);
    for text in ["1".repeat(57), format!("0.{}1", "0".repeat(20)), "1e57".to_owned(), "1e-21".to_owned()] {
        assert_eq!(scalar(&text, &Type::NUMERIC).expect_err("does not fit").sqlstate, "22003", "{text}");
    }
    // Zeros beyond the limit say nothing.
    assert_eq!(scalar(&format!("1.5{}", "0".repeat(80)), &Type::NUMERIC)?, scalar("1.5", &Type::NUMERIC)?);
    Ok(())
}

#[test]
fn decimals_with_a_declared_scale_keep_their_zeros() -> Outcome {
    let decimals = |scale: i8, values: Vec<i128>| -> Result<ArrayRef, Box<dyn std::error::Error>> {
        Ok(Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, scale)?))
    };
    let values = vec![0, 5, -5, 100, -12_345, i128::pow(10, 38) - 1];
    let shown = text_of(decimals(2, values)?, Type::NUMERIC)?;
    let expected = ["0.00", "0.05", "-0.05", "1.00", "-123.45", "999999999999999999999999999999999999.99"]
        .map(|v| Some(v.to_owned()));
    assert_eq!(shown, expected);
    assert_eq!(text_of(decimals(0, vec![0, -7])?, Type::NUMERIC)?, [Some("0".to_owned()), Some("-7".to_owned())]);
    assert_eq!(text_of(decimals(-2, vec![7])?, Type::NUMERIC)?, [Some("700".to_owned())]);
    let binary = encoded(decimals(-2, vec![7])?, Type::NUMERIC, Format::Binary)?;
    assert_eq!(binary, [Some(vec![0, 1, 0, 0, 0, 0, 0, 0, 0x02, 0xbc])]);
    // 16 places, as avg gives them.
    assert_eq!(
        text_of(decimals(16, vec![20_000_000_000_000_000])?, Type::NUMERIC)?,
        [Some("2.0000000000000000".to_owned())]
    );
    Ok(())
}

#[test]
fn arrays_of_related_arrow_types_are_sent_as_the_promised_type() -> Outcome {
    let some = |text: &str| vec![Some(text.to_owned())];
    assert_eq!(text_of(Arc::new(Int32Array::from(vec![7])), Type::INT8)?, some("7"));
    assert_eq!(text_of(Arc::new(Int64Array::from(vec![7])), Type::NUMERIC)?, some("7"));
    assert_eq!(text_of(Arc::new(UInt32Array::from(vec![u32::MAX])), Type::OID)?, some("4294967295"));
    assert_eq!(text_of(Arc::new(Int32Array::from(vec![1259])), Type::REGCLASS)?, some("1259"));
    assert_eq!(text_of(Arc::new(StringArray::from(vec!["pg_class"])), Type::REGCLASS)?, some("pg_class"));
    assert_eq!(text_of(Arc::new(LargeStringArray::from(vec!["a"])), Type::TEXT)?, some("a"));
    assert_eq!(text_of(Arc::new(StringViewArray::from(vec!["a"])), Type::TEXT)?, some("a"));
    let dictionary: DictionaryArray<Int32Type> = ["a"].into_iter().collect();
    assert_eq!(text_of(Arc::new(dictionary), Type::TEXT)?, some("a"));
    let nanos = TimestampNanosecondArray::from(vec![1_500]).with_timezone("America/New_York");
    assert_eq!(text_of(Arc::new(nanos), Type::TIMESTAMPTZ)?, some("1970-01-01 01:00:00.000001+01"));
    Ok(())
}

#[test]
fn arrays_of_other_types_are_an_error_that_names_the_column() {
    let mismatches: [(ArrayRef, Type, &str); 5] = [
        (Arc::new(StringArray::from(vec!["1"])), Type::INT4, "its values are Utf8"),
        (Arc::new(Int64Array::from(vec![1_i64 << 40])), Type::INT4, "a value does not fit Int32"),
        (Arc::new(Int32Array::from(vec![1])), Type::TEXT, "its values are Int32"),
        (Arc::new(Float64Array::from(vec![1.0])), Type::FLOAT4, "its values are Float64"),
        (Arc::new(TimestampMicrosecondArray::from(vec![1])), Type::TIMESTAMPTZ, "its values are Timestamp(µs)"),
    ];
    for (array, pg_type, reason) in mismatches {
        let expected = format!("XX000: column \"c\" of type {pg_type} cannot be sent: {reason}");
        assert_eq!(encoded(array, pg_type, Format::Text), Err(expected));
    }
}

#[test]
fn text_is_never_sent_in_place_of_a_binary_form() -> Outcome {
    for pg_type in [Type::INET, Type::TIMETZ, Type::MONEY, Type::REGCLASS, Type::POINT, Type::INET_ARRAY] {
        let texts: ArrayRef = match pg_type {
            Type::INET_ARRAY => {
                let texts = StringArray::from(vec!["x"]);
                let field =
                    Arc::new(datafusion::arrow::datatypes::Field::new_list_field(texts.data_type().clone(), true));
                let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths([1]);
                Arc::new(ListArray::try_new(field, offsets, Arc::new(texts), None)?)
            }
            _ => Arc::new(StringArray::from(vec!["x"])),
        };
        let reason = "it has no binary form here, ask for text";
        let expected = format!("0A000: column \"c\" of type {pg_type} cannot be sent: {reason}");
        assert_eq!(encoded(Arc::clone(&texts), pg_type.clone(), Format::Binary), Err(expected));
        assert_eq!(text_of(texts, pg_type)?[0].as_deref().map(|text| text.trim_matches(['{', '}'])), Some("x"));
    }
    Ok(())
}

#[test]
fn catalog_vectors_have_no_braces_and_count_from_zero() -> Outcome {
    let vector: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some([Some(1), Some(2)]),
        Some([Some(3), Some(4)]),
    ]));
    let shown = text_of(Arc::clone(&vector), Type::INT2_VECTOR)?;
    assert_eq!(shown, [Some("1 2".to_owned()), Some("3 4".to_owned())]);
    let mut expected = Vec::new();
    for n in [1, 0, 26, 2, 0, 4, 1, 4, 2] {
        expected.put_i32(n);
    }
    assert_eq!(encoded(vector, Type::OID_VECTOR, Format::Binary)?[0], Some(expected));
    Ok(())
}

#[test]
fn text_with_a_nul_is_an_error_not_a_shorter_text() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["whole", "cut\0off"]));
    let expected = Err("22021: invalid byte sequence for encoding \"UTF8\": 0x00".to_owned());
    assert_eq!(encoded(texts, Type::TEXT, Format::Text), expected);
}

#[test]
fn nested_lists_are_arrays_of_more_dimensions_and_ragged_ones_an_error() -> Outcome {
    let nested = |inner: Vec<Vec<Option<i32>>>| -> Result<ArrayRef, Box<dyn std::error::Error>> {
        let values = ListArray::from_iter_primitive::<Int32Type, _, _>(inner.into_iter().map(Some));
        let field = Arc::new(datafusion::arrow::datatypes::Field::new_list_field(values.data_type().clone(), true));
        let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths([values.len()]);
        Ok(Arc::new(ListArray::try_new(field, offsets, Arc::new(values), None)?))
    };
    let square = nested(vec![vec![Some(1), None], vec![Some(3), Some(4)]])?;
    assert_eq!(text_of(Arc::clone(&square), Type::INT4_ARRAY)?, [Some("{{1,NULL},{3,4}}".to_owned())]);
    let mut expected = Vec::new();
    for n in [2, 1, 23, 2, 1, 2, 1, 4, 1, -1, 4, 3, 4, 4] {
        expected.put_i32(n);
    }
    assert_eq!(encoded(square, Type::INT4_ARRAY, Format::Binary)?, [Some(expected)]);
    let ragged = nested(vec![vec![Some(1)], vec![]])?;
    let error = text_of(ragged, Type::INT4_ARRAY).expect_err("is ragged");
    assert_eq!(error, "2202E: an array whose inner arrays differ in length cannot be sent");
    let empty = nested(vec![vec![], vec![]])?;
    assert_eq!(text_of(empty, Type::INT4_ARRAY)?, [Some("{}".to_owned())]);
    Ok(())
}

#[test]
fn extreme_dates_and_intervals_are_shown_whole() -> Outcome {
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![i32::MAX, i32::MIN]));
    let shown = text_of(dates, Type::DATE)?;
    assert_eq!(shown, [Some("5881580-07-11".to_owned()), Some("5877642-06-23 BC".to_owned())]);
    let stamps: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX, i64::MIN]).with_timezone("UTC"));
    let shown = text_of(stamps, Type::TIMESTAMPTZ)?;
    let expected = ["294247-01-10 05:00:54.775807+01", "290309-12-21 20:52:33.224192+00:53:28 BC"];
    assert_eq!(shown, expected.map(|text| Some(text.to_owned())));
    let longest = IntervalMonthDayNano::new(i32::MIN, i32::MIN, i64::MIN);
    let shown = text_of(Arc::new(IntervalMonthDayNanoArray::from(vec![longest])), Type::INTERVAL)?;
    assert_eq!(shown, [Some("-178956970 years -8 mons -2147483648 days -2562047:47:16.854775".to_owned())]);
    Ok(())
}

#[tokio::test]
async fn the_session_zone_changes_how_an_instant_is_shown() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    let instant = |zone: &str| {
        [
            super::harness::query(&format!("set_zone {zone}")),
            parse("", "echo $1", &[Type::TIMESTAMPTZ.oid()]),
            bind("", "", &[Some("2024-07-01 12:00:00Z")]),
            execute("", 0),
            sync(),
        ]
        .concat()
    };
    for (zone, shown) in [
        ("UTC", "2024-07-01 12:00:00+00"),
        ("Asia/Kathmandu", "2024-07-01 17:45:00+05:45"),
        ("america/new_york", "2024-07-01 08:00:00-04"),
        ("<+02>-02", "2024-07-01 14:00:00+02"),
    ] {
        client.send(&instant(zone)).await?;
        let set = client.until('Z').await?;
        assert_eq!(super::harness::kinds(&set), "CSZ");
        assert_eq!(set[1].body, format!("TimeZone\0{zone}\0").into_bytes());
        let row = client.until('Z').await?;
        assert_eq!(row.iter().find(|m| m.kind == 'D').map(Message::values), Some(vec![Some(shown.to_owned())]));
    }
    // A zone that we do not know is no reason to show UTC instead.
    client.send(&instant("Mars/Base")).await?;
    client.until('Z').await?;
    assert_eq!(super::harness::errors(&client.until('Z').await?), ["XX000"]);
    Ok(())
}

#[tokio::test]
async fn a_driver_reads_and_binds_binary_values() -> Outcome {
    let server = Server::start().await?;
    let settings = format!("host=127.0.0.1 port={} user=analyst password=secret", server.address.port());
    let (client, connection) = tokio_postgres::connect(&settings, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let types = [Type::INT4, Type::INT8, Type::FLOAT8, Type::TEXT, Type::BOOL, Type::BYTEA, Type::TEXT_ARRAY];
    let statement = client.prepare_typed("echo $1 $2 $3 $4 $5 $6 $7", &types).await?;
    let texts = vec![Some("a,b".to_owned()), None];
    let row = client
        .query_one(&statement, &[&7_i32, &Some(i64::MIN), &0.1_f64, &"Ü😀", &true, &vec![0_u8, 255], &texts])
        .await?;
    assert_eq!(row.get::<_, i32>(0), 7);
    assert_eq!(row.get::<_, Option<i64>>(1), Some(i64::MIN));
    assert_eq!(row.get::<_, f64>(2), 0.1);
    assert_eq!(row.get::<_, &str>(3), "Ü😀");
    assert!(row.get::<_, bool>(4));
    assert_eq!(row.get::<_, Vec<u8>>(5), [0, 255]);
    assert_eq!(row.get::<_, Vec<Option<String>>>(6), texts);
    let rows = client.query("rows 3 10", &[]).await?;
    assert_eq!(rows.len(), 3_000);
    assert_eq!(rows[2_999].get::<_, i64>(0), 2_999);
    drop(client);
    connection.await??;
    Ok(())
}

#[tokio::test]
async fn result_formats_may_be_none_one_or_one_for_each_column() -> Outcome {
    let server = Server::start().await?;
    let mut client = server.session().await?;
    let bound = |codes: &[i16]| {
        let mut body = b"\0\0\0\0".to_vec();
        body.put_u16(2);
        for value in ["1", "2"] {
            body.put_i32(1);
            body.put_slice(value.as_bytes());
        }
        body.put_u16(codes.len() as u16);
        codes.iter().for_each(|code| body.put_i16(*code));
        let int4 = Type::INT4.oid();
        [parse("", "echo $1 $2", &[int4, int4]), frame('B', &body), execute("", 0), sync()].concat()
    };
    let text = |n: &str| Some(n.to_owned());
    for (codes, expected) in [
        (&[][..], vec![text("1"), text("2")]),
        (&[0], vec![text("1"), text("2")]),
        (&[1], vec![text("\0\0\0\u{1}"), text("\0\0\0\u{2}")]),
        (&[0, 1], vec![text("1"), text("\0\0\0\u{2}")]),
    ] {
        client.send(&bound(codes)).await?;
        let messages = client.until('Z').await?;
        assert_eq!(messages.iter().find(|m| m.kind == 'D').map(Message::values), Some(expected));
    }
    for (codes, sqlstate) in [(&[0, 1, 0][..], "08P01"), (&[2], "22023")] {
        client.send(&bound(codes)).await?;
        assert_eq!(super::harness::errors(&client.until('Z').await?), [sqlstate]);
    }
    Ok(())
}

#[test]
fn random_values_come_back_as_they_went_out_in_both_formats() -> Outcome {
    use datafusion::arrow::datatypes::i256;
    use datafusion::scalar::ScalarValue;

    let mut state = 7_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..5_000 {
        // Magnitudes of all sizes.
        let small = random() as i64 >> (random() % 64);
        let large = i256::from_parts(u128::from(random()), 0)
            .wrapping_mul(i256::from_i128(i128::from(random() as i64)))
            .wrapping_mul(i256::from_i128(10).wrapping_pow((random() % 38) as u32));
        let text: String =
            (0..random() % 6).filter_map(|_| "ab\"\\{},\n\t NULL'é😀".chars().nth((random() % 17) as usize)).collect();
        let interval = IntervalMonthDayNano::new(small as i32 / 1_000, small as i32, small % 1_000_000_000 * 1_000);
        let texts = [ScalarValue::Utf8(Some(text.clone())), ScalarValue::Utf8(None)];
        let array = ScalarValue::List(ScalarValue::new_list(&texts, &parameters::arrow_type(&Type::TEXT), true));
        let float = f64::from_bits(random());
        for (value, pg_type) in [
            (ScalarValue::Int64(Some(small)), Type::INT8),
            (ScalarValue::Decimal256(Some(large), 76, 20), Type::NUMERIC),
            (ScalarValue::Float64(Some(if float.is_nan() || float == 0.0 { 0.5 } else { float })), Type::FLOAT8),
            (ScalarValue::TimestampMicrosecond(Some(small / 64), Some("UTC".into())), Type::TIMESTAMPTZ),
            (ScalarValue::TimestampMicrosecond(Some(small / 64), None), Type::TIMESTAMP),
            (ScalarValue::Date32(Some(small as i32 / 4)), Type::DATE),
            (ScalarValue::IntervalMonthDayNano(Some(interval)), Type::INTERVAL),
            (ScalarValue::Binary(Some(text.clone().into_bytes())), Type::BYTEA),
            (array, Type::TEXT_ARRAY),
        ] {
            for format in [Format::Text, Format::Binary] {
                let sent = encoded(value.to_array_of_size(1)?, pg_type.clone(), format)?.remove(0);
                let back = parameters::decode(sent.as_deref(), format, &pg_type, &berlin());
                assert_eq!(back.as_ref().ok(), Some(&value), "{pg_type} {format:?} {sent:02x?} {back:?}");
            }
        }
    }
    Ok(())
}
