//! Aggregates against values that PostgreSQL 15 gave for the same rows, in one stage and in two.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::AggregateUDF;
use datafusion_expr::function::AccumulatorArgs;

use crate::value::Value;
use crate::{PgType, Zone, aggregate_functions, format_value, pg_error_of};

/// The text of an aggregate over a column: computed row by row, through partial states, and in groups; all three must agree.
fn aggregate(name: &str, column: &ArrayRef) -> Result<(DataType, String)> {
    let udf: Arc<AggregateUDF> =
        aggregate_functions().into_iter().find(|f| f.name() == name).expect("a known aggregate");
    let field: FieldRef = Arc::new(Field::new("x", column.data_type().clone(), true));
    let ret = udf.return_field(&[Arc::clone(&field)])?;
    let schema = Schema::new(vec![Arc::clone(&field)]);
    let fields = [field];
    let args = || AccumulatorArgs {
        return_field: Arc::clone(&ret),
        schema: &schema,
        ignore_nulls: false,
        order_bys: &[],
        is_reversed: false,
        name,
        is_distinct: false,
        exprs: &[],
        expr_fields: &fields,
    };
    let mut whole = udf.accumulator(args())?;
    whole.update_batch(&[Arc::clone(column)])?;
    let result = whole.evaluate()?;
    let mut merged = udf.accumulator(args())?;
    for row in 0..column.len() {
        let mut part = udf.accumulator(args())?;
        part.update_batch(&[column.slice(row, 1)])?;
        let state = part.state()?.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
        merged.merge_batch(&state)?;
    }
    assert_eq!(merged.evaluate()?, result, "{name}: merged partial states");
    let mut grouped = udf.create_groups_accumulator(args())?;
    let groups = vec![0; column.len()];
    grouped.update_batch(&[Arc::clone(column)], &groups, None, 1)?;
    let both = grouped.evaluate(datafusion_expr::EmitTo::All)?;
    assert_eq!(ScalarValue::try_from_array(&both, 0)?, result, "{name}: groups");
    assert_eq!(result.data_type(), *ret.data_type(), "{name}: promised type");
    let pg = PgType::of(ret.data_type()).expect("a PostgreSQL type");
    let text = format_value(&Value::of(&result)?, &pg, &Zone::UTC)?.unwrap_or_else(|| "NULL".into());
    Ok((ret.data_type().clone(), text))
}

#[test]
fn sum_of_bigint_is_numeric_and_does_not_wrap() -> Result<()> {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
    assert_eq!(aggregate("sum", &column)?, (DataType::Decimal128(38, 0), "9223372036854775808".into()));
    assert_eq!(aggregate("avg", &column)?.1, "4611686018427387904");
    Ok(())
}

#[test]
fn sum_of_integer_is_bigint_and_skips_nulls() -> Result<()> {
    let column: ArrayRef = Arc::new(Int32Array::from(vec![Some(i32::MAX), Some(1), None]));
    assert_eq!(aggregate("sum", &column)?, (DataType::Int64, "2147483648".into()));
    assert_eq!(aggregate("avg", &column)?.1, "1073741824.00000000");
    Ok(())
}

#[test]
fn average_of_numeric_is_rounded_as_postgresql_rounds_it() -> Result<()> {
    let column: ArrayRef = Arc::new(Decimal128Array::from(vec![110, 225, 300]).with_precision_and_scale(10, 2)?);
    assert_eq!(aggregate("sum", &column)?, (DataType::Decimal128(38, 2), "6.35".into()));
    assert_eq!(aggregate("avg", &column)?.1, "2.1166666666666667");
    Ok(())
}

#[test]
fn float_sums_overflow_as_errors_and_nan_is_the_largest() -> Result<()> {
    let huge: ArrayRef = Arc::new(Float64Array::from(vec![f64::MAX, f64::MAX]));
    let error = aggregate("sum", &huge).expect_err("an overflow");
    assert_eq!(pg_error_of(&error).map(|e| e.sqlstate), Some("22003"));
    let nan: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 1.0]));
    assert_eq!(aggregate("sum", &nan)?.1, "NaN");
    assert_eq!(aggregate("max", &nan)?.1, "NaN");
    assert_eq!(aggregate("min", &nan)?.1, "1");
    Ok(())
}

#[test]
fn sum_of_nothing_is_null() -> Result<()> {
    let column: ArrayRef = Arc::new(Int32Array::from(vec![None::<i32>]));
    assert_eq!(aggregate("sum", &column)?.1, "NULL");
    assert_eq!(aggregate("avg", &column)?.1, "NULL");
    Ok(())
}
