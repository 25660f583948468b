//! Approximate distinct counts: HyperLogLog with 2^14 registers, DataFusion's accumulators, over keys that do not depend on the source.
//!
//! The standard error is 1.04 / sqrt(2^14) = 0.81 %. A count is always the sketch's estimate, never a source's own or an exact one, and
//! merging the sketches of parts gives the sketch of the whole: so parts put together agree with the whole to the digit. Groups with
//! few values keep a list of hashes, so that many groups cost little; their estimate is that of the same registers.
//!
//! Whoever stores sketches must store DataFusion's version with them: its hash is fixed by a seed, but not promised to stay.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, new_null_array};
use arrow::compute::{and, cast, filter, is_not_null, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue, internal_err};
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
    Sketched::udf("count_distinct_approx", Form::Keys, Form::Estimate)
}

/// The sketch of keys, as bytes that [`sketch_estimate`] and [`sketch_union`] read; NULL for no rows.
#[must_use]
pub fn sketch_of_keys() -> Arc<AggregateUDF> {
    Sketched::udf("belvedere_sketch", Form::Keys, Form::Sketch)
}

/// The estimate of the union of sketches: to the digit what [`count_distinct_approx`] gives for all their keys.
#[must_use]
pub fn sketch_estimate() -> Arc<AggregateUDF> {
    Sketched::udf("belvedere_sketch_estimate", Form::Sketch, Form::Estimate)
}

/// The union of sketches; NULL for none.
#[must_use]
pub fn sketch_union() -> Arc<AggregateUDF> {
    Sketched::udf("belvedere_sketch_union", Form::Sketch, Form::Sketch)
}

/// What a sketch is made of, or shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    Keys,
    Sketch,
    Estimate,
}

/// DataFusion's `approx_distinct`, whose result is unsigned, from keys or sketches to a sketch or an estimate.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sketched {
    name: &'static str,
    from: Form,
    to: Form,
    sketch: ApproxDistinct,
    signature: Signature,
}

impl Sketched {
    fn udf(name: &'static str, from: Form, to: Form) -> Arc<AggregateUDF> {
        let input = if from == Form::Keys { DataType::Utf8 } else { DataType::Binary };
        let signature = Signature::exact(vec![input], Volatility::Immutable);
        Arc::new(AggregateUDF::from(Self { name, from, to, sketch: ApproxDistinct::new(), signature }))
    }
}

/// DataFusion chooses the sketch by the type of what is counted, which is a key whatever comes in here.
fn over_keys<T>(args: &AccumulatorArgs, make: impl FnOnce(AccumulatorArgs) -> Result<T>) -> Result<T> {
    let key: FieldRef = Arc::new(Field::new("key", DataType::Utf8, true));
    make(AccumulatorArgs {
        return_field: Arc::clone(&args.return_field),
        schema: args.schema,
        ignore_nulls: args.ignore_nulls,
        order_bys: args.order_bys,
        is_reversed: args.is_reversed,
        name: args.name,
        is_distinct: args.is_distinct,
        exprs: args.exprs,
        expr_fields: &[key],
    })
}

impl AggregateUDFImpl for Sketched {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.to == Form::Estimate { DataType::Int64 } else { DataType::Binary })
    }

    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ok(if self.to == Form::Estimate { ScalarValue::Int64(Some(0)) } else { ScalarValue::Binary(None) })
    }

    fn is_nullable(&self) -> bool {
        self.to != Form::Estimate
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.sketch.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let sketch = over_keys(&args, |args| self.sketch.accumulator(args))?;
        Ok(Box::new(One { sketch, from: self.from, to: self.to, is_empty: true }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        // A sketch as the result of a group without rows would be one of nothing, not NULL.
        self.to == Form::Estimate
            && over_keys(&args, |args| Ok(self.sketch.groups_accumulator_supported(args))).unwrap_or(false)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let sketch = over_keys(&args, |args| self.sketch.create_groups_accumulator(args))?;
        Ok(Box::new(Groups { sketch, from: self.from }))
    }
}

#[derive(Debug)]
struct One {
    sketch: Box<dyn Accumulator>,
    from: Form,
    to: Form,
    is_empty: bool,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.is_empty &= values.iter().all(|array| array.null_count() == array.len());
        if self.from == Form::Sketch {
            return self.sketch.merge_batch(&[without_nulls(&values[0])?]);
        }
        self.sketch.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.to {
            Form::Estimate => self.sketch.evaluate()?.cast_to(&DataType::Int64),
            Form::Keys | Form::Sketch if self.is_empty => Ok(ScalarValue::Binary(None)),
            Form::Keys | Form::Sketch => match self.sketch.state()?.into_iter().next() {
                Some(state) => state.cast_to(&DataType::Binary),
                None => internal_err!("a sketch without a state"),
            },
        }
    }

    fn size(&self) -> usize {
        self.sketch.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.sketch.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        // A part without values has a sketch of nothing; that of a part with some is what counts here.
        self.is_empty = false;
        self.sketch.merge_batch(states)
    }
}

/// Sketches that are there.
fn without_nulls(sketches: &ArrayRef) -> Result<ArrayRef> {
    if sketches.null_count() == 0 {
        return Ok(Arc::clone(sketches));
    }
    Ok(filter(sketches, &is_not_null(sketches)?)?)
}

struct Groups {
    sketch: Box<dyn GroupsAccumulator>,
    from: Form,
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        keep: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        if self.from == Form::Keys {
            return self.sketch.update_batch(values, groups, keep, total);
        }
        let mut kept = is_not_null(&values[0])?;
        if let Some(keep) = keep {
            kept = and(&kept, &prep_null_mask_filter(keep))?;
        }
        if kept.true_count() == kept.len() {
            return self.sketch.merge_batch(values, groups, total);
        }
        let groups: Vec<usize> =
            groups.iter().zip(kept.values()).filter_map(|(group, kept)| kept.then_some(*group)).collect();
        self.sketch.merge_batch(&[filter(&values[0], &kept)?], &groups, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(cast(&self.sketch.evaluate(emit_to)?, &DataType::Int64)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.sketch.state(emit_to)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.sketch.merge_batch(states, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        if self.from == Form::Keys {
            return self.sketch.convert_to_state(values, filter);
        }
        // A sketch is its own state; one that is not there, or not wanted, is that of nothing.
        let nothing = self.sketch.convert_to_state(&[new_null_array(&DataType::Utf8, 1)], None)?;
        let nothing = cast(&nothing[0], &DataType::Binary)?;
        let nothing = nothing.as_binary::<i32>().value(0);
        let sketches = values[0].as_binary::<i32>();
        let is_wanted = |row: usize| filter.is_none_or(|keep| keep.is_valid(row) && keep.value(row));
        let states: BinaryArray = (0..sketches.len())
            .map(|row| Some(if sketches.is_valid(row) && is_wanted(row) { sketches.value(row) } else { nothing }))
            .collect();
        Ok(vec![Arc::new(states)])
    }

    fn size(&self) -> usize {
        self.sketch.size()
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
