//! Approximate distinct counts: HyperLogLog with 2^14 registers, DataFusion's accumulators, over keys that do not depend on the source.
//!
//! The standard error is 1.04 / sqrt(2^14) = 0.81 %. A count is always the sketch's estimate, never a source's own or an exact one, and
//! merging the sketches of parts gives the sketch of the whole: so parts put together agree with the whole to the digit. Groups with
//! few values keep a list of hashes, so that many groups cost little; their estimate is that of the same registers.
//!
//! Sketches live as long as a statement. Whoever stores them must store DataFusion's version with them: its hash is fixed by a seed, but
//! not promised to stay.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ScalarUDF, Signature, Volatility,
};
use datafusion_functions_aggregate::approx_distinct::ApproxDistinct;

use crate::datetime::DAY;
use crate::error::PgResult;
use crate::function::{Call, Definition, Eval, PgFunction, Plan};
use crate::types::PgType;
use crate::value::Value;

/// The text under which a value is counted: equal values have equal keys, whatever width or scale their type has. Not for users' SQL.
///
/// Numbers are written without exponent and trailing zeros, dates and timestamps as microseconds since 1970.
#[must_use]
pub fn sketch_key() -> Arc<ScalarUDF> {
    PgFunction::udf(&Definition {
        name: "belvedere_sketch_key",
        volatility: Volatility::Immutable,
        strict: true,
        plan: plan_sketch_key,
    })
}

fn plan_sketch_key(_: &str, _: &Call<'_>) -> PgResult<Plan> {
    let eval: Eval = |_, row| Ok(Value::Text(row.first().map_or_else(String::new, key_of)));
    Ok(Plan::new(PgType::Text.arrow(), eval))
}

fn key_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(v) => v.to_string(),
        Value::Int2(v) => v.to_string(),
        Value::Int4(v) => v.to_string(),
        Value::Int8(v) => v.to_string(),
        Value::Numeric(v) => trimmed(v.to_string()),
        // Zero has two signs.
        Value::Float4(v) if *v == 0.0 => "0".to_owned(),
        Value::Float8(v) if *v == 0.0 => "0".to_owned(),
        Value::Float4(v) => v.to_string(),
        Value::Float8(v) => v.to_string(),
        Value::Text(v) => v.clone(),
        Value::Bytea(v) => v.iter().map(|byte| format!("{byte:02x}")).collect(),
        Value::Date(days) => (i128::from(*days) * i128::from(DAY)).to_string(),
        Value::Time(micros) | Value::Timestamp(micros) | Value::Timestamptz(micros) => micros.to_string(),
        Value::Interval(interval) => interval.comparison_micros().to_string(),
        Value::List(items) => items
            .iter()
            .map(|item| match item {
                Value::Null => "-,".to_owned(),
                item => {
                    let key = key_of(item);
                    format!("{}:{key},", key.len())
                }
            })
            .collect(),
    }
}

fn trimmed(number: String) -> String {
    if !number.contains('.') {
        return number;
    }
    let trimmed = number.trim_end_matches('0').trim_end_matches('.');
    if trimmed == "-0" { "0".to_owned() } else { trimmed.to_owned() }
}

/// The estimated number of distinct keys, as `bigint`; 0 for no rows.
#[must_use]
pub fn count_distinct_approx() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Estimate {
        sketch: ApproxDistinct::new(),
        signature: Signature::exact(vec![DataType::Utf8], Volatility::Immutable),
    }))
}

/// DataFusion's `approx_distinct`, whose result is unsigned.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Estimate {
    sketch: ApproxDistinct,
    signature: Signature,
}

impl AggregateUDFImpl for Estimate {
    fn name(&self) -> &'static str {
        "count_distinct_approx"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.sketch.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Signed(self.sketch.accumulator(args)?)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.sketch.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(SignedGroups(self.sketch.create_groups_accumulator(args)?)))
    }
}

#[derive(Debug)]
struct Signed(Box<dyn Accumulator>);

impl Accumulator for Signed {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.evaluate()?.cast_to(&DataType::Int64)
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }
}

struct SignedGroups(Box<dyn GroupsAccumulator>);

impl GroupsAccumulator for SignedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.0.update_batch(values, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(cast(&self.0.evaluate(emit_to)?, &DataType::Int64)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.0.state(emit_to)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.0.merge_batch(states, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.0.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use arrow::datatypes::{Field, Schema};
    use datafusion_physical_expr::expressions::col;

    use super::*;
    use crate::datetime::Interval;
    use crate::numeric::Numeric;

    fn accumulator() -> Box<dyn Accumulator> {
        let schema = Schema::new(vec![Field::new("key", DataType::Utf8, true)]);
        let field = Arc::new(schema.field(0).clone());
        let exprs = [col("key", &schema).expect("the column is there")];
        let args = AccumulatorArgs {
            return_field: Arc::new(Field::new("n", DataType::Int64, false)),
            schema: &schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: "n",
            is_distinct: false,
            exprs: &exprs,
            expr_fields: &[field],
        };
        count_distinct_approx().accumulator(args).expect("text is supported")
    }

    fn keys(range: std::ops::Range<i64>) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(range.map(|n| key_of(&Value::Int8(n * 7919)))))
    }

    fn estimate(sketch: &mut Box<dyn Accumulator>) -> i64 {
        match sketch.evaluate().expect("a sketch has an estimate") {
            ScalarValue::Int64(Some(estimate)) => estimate,
            other => panic!("{other} is no count"),
        }
    }

    #[test]
    fn estimates_stay_within_three_standard_errors() {
        for exact in [0_i64, 1, 10, 500, 5_000, 20_000, 50_000, 200_000, 1_000_000] {
            let mut sketch = accumulator();
            sketch.update_batch(&[keys(0..exact)]).expect("text can be counted");
            sketch.update_batch(&[keys(0..exact / 2)]).expect("again, which changes nothing");
            let off = (estimate(&mut sketch) - exact).abs();
            assert!(off * 10_000 <= exact * 3 * 81, "{exact} was off by {off}");
        }
    }

    #[test]
    fn merged_parts_are_the_whole() {
        let mut whole = accumulator();
        whole.update_batch(&[keys(0..30_000)]).expect("text can be counted");
        let mut merged = accumulator();
        for part in [0..10_000, 5_000..20_000, 20_000..30_000, 0..0] {
            let mut sketch = accumulator();
            sketch.update_batch(&[keys(part)]).expect("text can be counted");
            let states: Vec<ArrayRef> = sketch
                .state()
                .expect("a sketch has a state")
                .iter()
                .map(|state| state.to_array().expect("a state is a value"))
                .collect();
            merged.merge_batch(&states).expect("states can be merged");
        }
        assert_eq!(estimate(&mut merged), estimate(&mut whole));
        assert_eq!(merged.state().expect("a state"), whole.state().expect("a state"));
    }

    #[test]
    fn equal_values_have_one_key_whatever_their_type() {
        let number = |text: &str| Value::Numeric(Numeric::parse(text).expect("a number"));
        let same = [
            vec![
                Value::Int2(5),
                Value::Int4(5),
                Value::Int8(5),
                number("5.00"),
                Value::Float4(5.0),
                Value::Float8(5.0),
            ],
            vec![number("-0.0"), number("0.000"), Value::Float8(-0.0), Value::Int4(0)],
            vec![number("1.50"), number("1.5"), Value::Float8(1.5)],
            vec![number("100"), number("100.0"), Value::Int8(100)],
            vec![Value::Date(1), Value::Timestamp(DAY), Value::Timestamptz(DAY)],
            vec![
                Value::Interval(Interval { months: 1, days: 0, micros: 0 }),
                Value::Interval(Interval { months: 0, days: 30, micros: 0 }),
            ],
        ];
        for values in same {
            let keys: Vec<String> = values.iter().map(key_of).collect();
            assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        }
        assert_ne!(key_of(&number("10")), key_of(&number("1")));
        let list = |items: &[&str]| Value::List(items.iter().map(|item| Value::Text((*item).to_owned())).collect());
        assert_ne!(key_of(&list(&["a,", "b"])), key_of(&list(&["a", ",b"])));
    }
}
