//! Aggregates that keep their rows until the end: `string_agg`, `array_agg`, and any `DISTINCT` of ours.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use crate::aggregate::Totals;
use crate::error::{PgError, PgResult};
use crate::spread::Spread;
use crate::types::PgType;
use crate::value::{Value, build};

/// `string_agg` and `array_agg`.
pub(crate) fn gather_functions() -> Vec<Arc<AggregateUDF>> {
    ["string_agg", "array_agg"]
        .into_iter()
        .map(|name| {
            Arc::new(AggregateUDF::from(Gather { name, signature: Signature::user_defined(Volatility::Immutable) }))
        })
        .collect()
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Gather {
    name: &'static str,
    signature: Signature,
}

impl AggregateUDFImpl for Gather {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::Null);
        match (self.name, types) {
            ("string_agg", [value, separator]) if text(value) && text(separator) => {
                Ok(vec![DataType::Utf8, DataType::Utf8])
            }
            ("array_agg", [DataType::List(_)]) => {
                Err(PgError::unsupported("array_agg of arrays is not supported").into())
            }
            ("array_agg", [DataType::Null]) => Ok(vec![DataType::Utf8]),
            ("array_agg", [of]) if PgType::of(of).is_some() => Ok(types.to_vec()),
            _ => {
                let types: Vec<PgType> = types.iter().map(|t| PgType::of(t).unwrap_or(PgType::Unknown)).collect();
                Err(crate::function::no_function(self.name, &types).into())
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match (self.name, types.first()) {
            ("array_agg", Some(of)) => DataType::new_list(of.clone(), true),
            _ => DataType::Utf8,
        })
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let data_type = match (self.name, fields.first()) {
            // The element keeps its PostgreSQL type.
            ("array_agg", Some(of)) => DataType::List(Arc::new(
                of.as_ref().clone().with_name(Field::LIST_FIELD_DEFAULT_NAME).with_nullable(true),
            )),
            _ => DataType::Utf8,
        };
        Ok(Arc::new(Field::new(self.name, data_type, true)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(row_states(&args))
    }

    // The rows are sorted at the end: their order on the way in, and through partial states, does not matter.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::SoftRequirement
    }

    fn with_beneficial_ordering(self: Arc<Self>, _: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let finish = if self.name == "string_agg" { Finish::Text } else { Finish::List };
        Ok(Box::new(Gathered::new(&args, finish)?))
    }
}

/// The state of a [`Gathered`]: a list per argument and per sort key.
pub(crate) fn row_states(args: &StateFieldsArgs) -> Vec<FieldRef> {
    args.input_fields
        .iter()
        .chain(args.ordering_fields)
        .enumerate()
        .map(|(i, field)| {
            let list = DataType::new_list(field.data_type().clone(), true);
            Arc::new(Field::new(format_state_name(args.name, &format!("column_{i}")), list, true)) as FieldRef
        })
        .collect()
}

/// What becomes of the gathered rows.
#[derive(Debug)]
pub(crate) enum Finish {
    /// `string_agg`: each value but the first after its own separator.
    Text,
    /// `array_agg`
    List,
    /// `sum` and `avg`
    Total(Totals),
    /// `variance` and its kin
    Spread(Spread),
}

/// The rows of one group: arguments first, then sort keys.
#[derive(Debug)]
pub(crate) struct Gathered {
    finish: Finish,
    ret: DataType,
    types: Vec<DataType>,
    arguments: usize,
    sort: Vec<(usize, SortOptions)>,
    distinct: bool,
    rows: Vec<Vec<Value>>,
    /// Number of rows at which equal ones are removed the next time.
    compact_at: usize,
    bytes: usize,
}

const NULLS_LAST: SortOptions = SortOptions { descending: false, nulls_first: false };

impl Gathered {
    /// # Errors
    /// 42P10 where DISTINCT is sorted by something else than its arguments.
    pub fn new(args: &AccumulatorArgs, finish: Finish) -> Result<Self> {
        let mut types: Vec<DataType> = args.expr_fields.iter().map(|f| f.data_type().clone()).collect();
        let arguments = types.len();
        let mut sort = Vec::new();
        for (i, key) in args.order_bys.iter().enumerate() {
            types.push(key.expr.data_type(args.schema)?);
            let same = args.exprs.iter().position(|e| e.as_ref() == key.expr.as_ref());
            if args.is_distinct && same.is_none() {
                return Err(PgError::new(
                    "42P10",
                    "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list",
                )
                .into());
            }
            sort.push((same.unwrap_or(arguments + i), key.options));
        }
        if args.is_distinct {
            // As PostgreSQL: what is not sorted by comes last, in ascending order.
            for i in 0..arguments {
                if !sort.iter().any(|(at, _)| *at == i) {
                    sort.push((i, NULLS_LAST));
                }
            }
        }
        let ret = args.return_field.data_type().clone();
        Ok(Self {
            finish,
            ret,
            types,
            arguments,
            sort,
            distinct: args.is_distinct,
            rows: Vec::new(),
            compact_at: 1024,
            bytes: 0,
        })
    }

    fn push(&mut self, row: Vec<Value>) {
        // array_agg keeps NULLs, the others skip them.
        if !matches!(self.finish, Finish::List) && row.first().is_none_or(Value::is_null) {
            return;
        }
        self.bytes += row
            .iter()
            .map(|v| {
                size_of::<Value>()
                    + match v {
                        Value::Text(t) => t.len(),
                        Value::Bytea(b) => b.len(),
                        _ => 0,
                    }
            })
            .sum::<usize>();
        self.rows.push(row);
        if self.distinct && self.rows.len() >= self.compact_at {
            self.settle();
            self.compact_at = (self.rows.len() * 2).max(1024);
        }
    }

    /// Sorts the rows, and removes equal ones under DISTINCT.
    fn settle(&mut self) {
        if !self.sort.is_empty() {
            let sort = &self.sort;
            self.rows.sort_by(|a, b| {
                sort.iter()
                    .map(|(at, options)| order(&a[*at], &b[*at], *options))
                    .find(|o| *o != Ordering::Equal)
                    .unwrap_or(Ordering::Equal)
            });
        }
        if self.distinct {
            let arguments = self.arguments;
            self.rows.dedup_by(|a, b| (0..arguments).all(|i| order(&a[i], &b[i], NULLS_LAST) == Ordering::Equal));
        }
    }
}

/// The order of two sort keys.
fn order(a: &Value, b: &Value, options: SortOptions) -> Ordering {
    let nulls = |first: bool| if first { Ordering::Less } else { Ordering::Greater };
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) => nulls(options.nulls_first),
        (false, true) => nulls(!options.nulls_first),
        (false, false) => {
            let found = crate::library::compare(a, b);
            if options.descending { found.reverse() } else { found }
        }
    }
}

impl Accumulator for Gathered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values.len() < self.types.len() {
            return internal_err!("an ordered aggregate got {} columns of {}", values.len(), self.types.len());
        }
        for at in 0..values[0].len() {
            let row =
                values[..self.types.len()].iter().map(|c| Value::read(c.as_ref(), at)).collect::<Result<Vec<_>>>()?;
            self.push(row);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.settle();
        if self.rows.is_empty() {
            return ScalarValue::try_from(&self.ret);
        }
        let first = |rows: &[Vec<Value>]| rows.iter().map(|r| r[0].clone()).collect::<Vec<_>>();
        match &self.finish {
            Finish::Text => {
                let mut out = String::new();
                for (i, row) in self.rows.iter().enumerate() {
                    if i > 0
                        && let Value::Text(separator) = &row[1]
                    {
                        out.push_str(separator);
                    }
                    if let Value::Text(text) = &row[0] {
                        out.push_str(text);
                    }
                }
                Value::Text(out).into_scalar(&self.ret)
            }
            Finish::List => Value::List(first(&self.rows)).into_scalar(&self.ret),
            Finish::Total(totals) => totals.of_column(&build(&self.types[0], &first(&self.rows))?),
            Finish::Spread(spread) => {
                let mut all = spread.fresh();
                all.update_batch(&[build(&self.types[0], &first(&self.rows))?])?;
                all.evaluate()
            }
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes + self.rows.capacity() * size_of::<Vec<Value>>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        if self.distinct {
            self.settle();
        }
        self.types
            .iter()
            .enumerate()
            .map(|(i, data_type)| {
                let column = self.rows.iter().map(|r| r[i].clone()).collect();
                Value::List(column).into_scalar(&DataType::new_list(data_type.clone(), true))
            })
            .collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for at in 0..states[0].len() {
            let mut columns = Vec::with_capacity(states.len());
            for state in states {
                match Value::read(state.as_ref(), at)? {
                    Value::List(items) => columns.push(items.into_iter()),
                    Value::Null => {}
                    other => return internal_err!("a state {other:?} where a list was promised"),
                }
            }
            if columns.len() != states.len() {
                continue;
            }
            loop {
                let row: Vec<Value> = columns.iter_mut().filter_map(Iterator::next).collect();
                if row.len() != states.len() {
                    break;
                }
                self.push(row);
            }
        }
        Ok(())
    }
}

/// `sum`, `avg` of intervals: field by field.
#[derive(Debug, Default)]
pub(crate) struct IntervalTotal {
    pub is_sum: bool,
    pub sum: crate::datetime::Interval,
    pub count: i64,
}

impl IntervalTotal {
    fn value(&self) -> PgResult<Value> {
        if self.count == 0 {
            return Ok(Value::Null);
        }
        #[expect(clippy::cast_precision_loss, reason = "PostgreSQL divides by a double here too")]
        let result = if self.is_sum { self.sum } else { self.sum.div(self.count as f64)? };
        Ok(Value::Interval(result))
    }
}

impl Accumulator for IntervalTotal {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for at in 0..values[0].len() {
            if let Value::Interval(i) = Value::read(values[0].as_ref(), at)? {
                self.sum = self.sum.add(i)?;
                self.count += 1;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.value()?.into_scalar(&PgType::Interval.arrow())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            Value::Interval(self.sum).into_scalar(&PgType::Interval.arrow())?,
            ScalarValue::Int64(Some(self.count)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for at in 0..states[0].len() {
            if let (Value::Interval(i), Value::Int8(n)) =
                (Value::read(states[0].as_ref(), at)?, Value::read(states[1].as_ref(), at)?)
            {
                self.sum = self.sum.add(i)?;
                self.count += n;
            }
        }
        Ok(())
    }
}
