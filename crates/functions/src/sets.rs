//! Exact sets of values: what a rollup stores of a distinct count so that it can be added up.
//!
//! A set is a list of different values, none of them NULL; NULL is the set of nothing.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::utils::SingleRowListArrayBuilder;
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::format_state_name;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

/// The set of values.
#[must_use]
pub fn set_of_values() -> Arc<AggregateUDF> {
    Sets::udf("belvedere_set", Form::Values, Form::Set)
}

/// The union of sets.
#[must_use]
pub fn set_union() -> Arc<AggregateUDF> {
    Sets::udf("belvedere_set_union", Form::Set, Form::Set)
}

/// The size of the union of sets, as `bigint`: what `count(DISTINCT …)` gives for all their values.
#[must_use]
pub fn set_count() -> Arc<AggregateUDF> {
    Sets::udf("belvedere_set_count", Form::Set, Form::Count)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    Values,
    Set,
    Count,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sets {
    name: &'static str,
    from: Form,
    to: Form,
    signature: Signature,
}

impl Sets {
    fn udf(name: &'static str, from: Form, to: Form) -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::from(Self { name, from, to, signature: Signature::any(1, Volatility::Immutable) }))
    }

    /// The type of the values.
    fn value_type(&self, input: &DataType) -> Result<DataType> {
        match (self.from, input) {
            (Form::Values, _) => Ok(input.clone()),
            (Form::Set | Form::Count, DataType::List(item)) => Ok(item.data_type().clone()),
            (Form::Set | Form::Count, other) => internal_err!("{other} is no set"),
        }
    }
}

fn list_of(values: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(values, true)))
}

impl AggregateUDFImpl for Sets {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match (self.to, arguments.first()) {
            (Form::Count, _) => Ok(DataType::Int64),
            (Form::Values | Form::Set, Some(input)) => Ok(list_of(self.value_type(input)?)),
            (Form::Values | Form::Set, None) => internal_err!("a set of nothing"),
        }
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        if self.to == Form::Count { Ok(ScalarValue::Int64(Some(0))) } else { ScalarValue::try_from(data_type) }
    }

    fn is_nullable(&self) -> bool {
        self.to != Form::Count
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let values = self.value_type(args.input_fields[0].data_type())?;
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "set"), list_of(values), true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let value_type = self.value_type(args.expr_fields[0].data_type())?;
        Ok(Box::new(Set { from: self.from, to: self.to, value_type, values: HashSet::new() }))
    }
}

#[derive(Debug)]
struct Set {
    from: Form,
    to: Form,
    value_type: DataType,
    values: HashSet<ScalarValue>,
}

impl Set {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        for row in 0..values.len() {
            if !values.is_null(row) {
                self.values.insert(ScalarValue::try_from_array(values, row)?.compacted());
            }
        }
        Ok(())
    }

    fn list(&self) -> Result<ScalarValue> {
        if self.values.is_empty() {
            return ScalarValue::try_from(&list_of(self.value_type.clone()));
        }
        let array = ScalarValue::iter_to_array(self.values.iter().cloned())?;
        Ok(SingleRowListArrayBuilder::new(array).build_list_scalar())
    }
}

impl Accumulator for Set {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if self.from == Form::Values { self.add(&values[0]) } else { self.merge_batch(values) }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.to == Form::Count {
            return Ok(ScalarValue::Int64(Some(i64::try_from(self.values.len()).unwrap_or(i64::MAX))));
        }
        self.list()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.iter().map(ScalarValue::size).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.list()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sets = states[0].as_list::<i32>();
        for row in 0..sets.len() {
            if !sets.is_null(row) {
                self.add(&sets.value(row))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    fn set(from: Form, to: Form) -> Set {
        Set { from, to, value_type: DataType::Utf8, values: HashSet::new() }
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn sets_of_parts_count_as_the_whole() {
        let mut count = set(Form::Set, Form::Count);
        for part in [vec![Some("a"), Some("b"), None, Some("a")], vec![Some("b"), Some("c")], vec![None], vec![]] {
            let mut values = set(Form::Values, Form::Set);
            values.update_batch(&[texts(&part)]).expect("text has sets");
            let list = values.evaluate().expect("a list").to_array().expect("a value");
            assert_eq!(list.is_null(0), part.iter().all(Option::is_none), "{part:?}");
            count.update_batch(&[list]).expect("sets have a union");
        }
        assert_eq!(count.evaluate().expect("a count"), ScalarValue::Int64(Some(3)));
    }
}
