//! `sum`, `avg`, `min`, `max`, `count` with PostgreSQL's types and checks, and the placeholder `measure`.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, i256,
};
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::format_state_name;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};

use crate::error::{PgError, PgResult};
use crate::gather::{Finish, Gathered, IntervalTotal, row_states};
use crate::numeric::Numeric;
use crate::types::{PgType, QUOTIENT};
use crate::value::{Value, build};

/// `sum avg min max count bool_and bool_or every string_agg array_agg`, the variances and `measure`.
///
/// `count`, `bool_and` and `bool_or` are DataFusion's own; so are `min` and `max` except for floats (DataFusion's grouped max loses NaN) and intervals (it compares them
/// field by field, PostgreSQL by length). `min` and `max` of booleans are refused as in PostgreSQL.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut all = vec![
        Arc::new(AggregateUDF::from(Total { name: "sum", signature: Signature::user_defined(Volatility::Immutable) })),
        Arc::new(AggregateUDF::from(Total { name: "avg", signature: Signature::user_defined(Volatility::Immutable) })),
        extreme(datafusion_functions_aggregate::min_max::min_udaf(), Ordering::Less),
        extreme(datafusion_functions_aggregate::min_max::max_udaf(), Ordering::Greater),
        datafusion_functions_aggregate::count::count_udaf(),
        datafusion_functions_aggregate::bool_and_or::bool_or_udaf(),
        Arc::new(datafusion_functions_aggregate::bool_and_or::bool_and_udaf().as_ref().clone().with_aliases(["every"])),
        measure(),
    ];
    all.extend(crate::gather::gather_functions());
    all.extend(crate::spread::spread_functions());
    all
}

/// The sum of sums, of their own type. Not for users' SQL, where the sum of a `bigint` is a `numeric`.
///
/// 22003 where the sum of all would not have been of that type either.
#[must_use]
pub fn sum_again() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Total { name: SUM_AGAIN, signature: Signature::user_defined(Volatility::Immutable) }))
}

const SUM_AGAIN: &str = "belvedere_sum_again";

/// The placeholder for a measure of a view: its result is its argument's field. Executing it is an error, because the planner has to replace it.
pub fn measure() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Measure { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Measure {
    signature: Signature,
}

impl AggregateUDFImpl for Measure {
    fn name(&self) -> &'static str {
        "measure"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        match arg_fields {
            [field] => Ok(Arc::new(field.as_ref().clone().with_name("measure").with_nullable(true))),
            _ => Err(PgError::new("42883", "measure takes one argument").into()),
        }
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        internal_err!("measure(…) reached execution: the planner has to replace it")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Total {
    name: &'static str,
    signature: Signature,
}

/// The result of `sum` over a type.
fn sum_type(of: &DataType) -> Option<DataType> {
    Some(match of {
        DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::Int64 => DataType::Decimal128(38, 0),
        DataType::Decimal128(p, s) if *p <= 28 => DataType::Decimal128(38, *s),
        DataType::Decimal128(_, s) | DataType::Decimal256(_, s) => DataType::Decimal256(76, *s),
        DataType::Float32 => DataType::Float32,
        DataType::Float64 => DataType::Float64,
        DataType::Interval(_) => of.clone(),
        _ => return None,
    })
}

/// The result of `avg` over a type: [`QUOTIENT`] for exact numbers, float8 for floats.
fn avg_type(of: &DataType) -> Option<DataType> {
    Some(match sum_type(of)? {
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Interval(unit) => DataType::Interval(unit),
        _ => QUOTIENT,
    })
}

/// The type in which sums are kept and passed between stages.
fn running_type(name: &str, of: &DataType) -> DataType {
    let is_sum = name != "avg";
    match of {
        DataType::Decimal128(_, s) if name == SUM_AGAIN => DataType::Decimal128(38, *s),
        DataType::Decimal128(_, s) => match sum_type(of) {
            Some(DataType::Decimal128(..)) => DataType::Decimal128(38, *s),
            _ => DataType::Decimal256(76, *s),
        },
        DataType::Decimal256(_, s) => DataType::Decimal256(76, *s),
        DataType::Float32 if is_sum => DataType::Float32,
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Interval(_) => of.clone(),
        _ => DataType::Decimal128(38, 0),
    }
}

impl Total {
    fn result(&self, of: &DataType) -> Result<DataType> {
        let found = match self.name {
            SUM_AGAIN => sum_type(of).map(|_| of.clone()),
            "sum" => sum_type(of),
            _ => avg_type(of),
        };
        found.ok_or_else(|| {
            let shown = PgType::of(of).map_or_else(|| of.to_string(), |t| t.name());
            PgError::new("42883", format!("function {}({shown}) does not exist", self.name))
                .with_hint(
                    "No function matches the given name and argument types. You might need to add explicit type casts.",
                )
                .into()
        })
    }

    fn totals(&self, args: &AccumulatorArgs) -> Result<Totals> {
        let of = args.expr_fields[0].data_type().clone();
        let is_sum = self.name != "avg";
        let running = running_type(self.name, &of);
        let sums = match &running {
            DataType::Decimal128(..) => Sums::Narrow(Vec::new()),
            DataType::Decimal256(..) => Sums::Wide(Vec::new()),
            DataType::Float32 => Sums::Real(Vec::new()),
            _ => Sums::Double(Vec::new()),
        };
        Ok(Totals { is_sum, ret: self.result(&of)?, of, running, sums, counts: Vec::new() })
    }
}

impl AggregateUDFImpl for Total {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [of] => self.result(of).map(|_| arg_types.to_vec()),
            _ => Err(PgError::new("42883", format!("function {} takes one argument", self.name)).into()),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.result(arg_types.first().unwrap_or(&DataType::Null))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if args.is_distinct {
            return Ok(row_states(&args));
        }
        let running = running_type(self.name, args.input_fields[0].data_type());
        Ok(vec![
            Arc::new(Field::new(format_state_name(args.name, "sum"), running, true)),
            Arc::new(Field::new(format_state_name(args.name, "count"), DataType::Int64, true)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if matches!(args.expr_fields[0].data_type(), DataType::Interval(_)) {
            if args.is_distinct {
                // 24 hours equal a day: which of the two counts would be left to chance.
                return Err(PgError::unsupported(format!("{}(DISTINCT interval) is not supported", self.name)).into());
            }
            return Ok(Box::new(IntervalTotal { is_sum: self.name != "avg", ..IntervalTotal::default() }));
        }
        let mut totals = self.totals(&args)?;
        if args.is_distinct {
            return Ok(Box::new(Gathered::new(&args, Finish::Total(totals))?));
        }
        totals.grow(1);
        Ok(Box::new(OneTotal(totals)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct && !matches!(args.expr_fields[0].data_type(), DataType::Interval(_))
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.totals(&args)?))
    }
}

/// Sums, by how they are kept.
#[derive(Debug)]
enum Sums {
    Narrow(Vec<i128>),
    Wide(Vec<i256>),
    Real(Vec<f32>),
    Double(Vec<f64>),
}

/// One sum and one count of values per group.
#[derive(Debug)]
pub(crate) struct Totals {
    is_sum: bool,
    of: DataType,
    ret: DataType,
    running: DataType,
    sums: Sums,
    counts: Vec<i64>,
}

fn overflow() -> PgError {
    PgError::new("22003", "value overflows numeric format")
}

fn float_overflow() -> PgError {
    PgError::new("22003", "value out of range: overflow")
}

/// Calls `add(group, row)` for every row that counts.
fn each_row(
    values: &dyn Array,
    groups: Option<&[usize]>,
    filter: Option<&BooleanArray>,
    mut add: impl FnMut(usize, usize) -> PgResult<()>,
) -> PgResult<()> {
    let nulls = values.logical_nulls();
    for row in 0..values.len() {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) || filter.is_some_and(|f| f.is_null(row) || !f.value(row)) {
            continue;
        }
        add(groups.map_or(0, |g| g[row]), row)?;
    }
    Ok(())
}

impl Totals {
    fn grow(&mut self, groups: usize) {
        match &mut self.sums {
            Sums::Narrow(v) => v.resize(groups, 0),
            Sums::Wide(v) => v.resize(groups, i256::ZERO),
            Sums::Real(v) => v.resize(groups, 0.0),
            Sums::Double(v) => v.resize(groups, 0.0),
        }
        self.counts.resize(groups, 0);
    }

    /// Adds the values of a column; `counts` are the counts that come with partial sums, else each value counts one.
    fn add(
        &mut self,
        values: &ArrayRef,
        counts: Option<&Int64Array>,
        groups: Option<&[usize]>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let kept = &mut self.counts;
        let mut count = |group: usize, row: usize| kept[group] += counts.map_or(1, |c| c.value(row));
        let array = values.as_ref();
        match (&mut self.sums, array.data_type()) {
            (Sums::Narrow(sums), data_type) => {
                let mut put = |group: usize, row: usize, value: i128| -> PgResult<()> {
                    sums[group] = sums[group].checked_add(value).ok_or_else(overflow)?;
                    count(group, row);
                    Ok(())
                };
                match data_type {
                    DataType::Int16 => {
                        let v = array.as_primitive::<Int16Type>().values();
                        each_row(array, groups, filter, |g, row| put(g, row, i128::from(v[row])))
                    }
                    DataType::Int32 => {
                        let v = array.as_primitive::<Int32Type>().values();
                        each_row(array, groups, filter, |g, row| put(g, row, i128::from(v[row])))
                    }
                    DataType::Int64 => {
                        let v = array.as_primitive::<Int64Type>().values();
                        each_row(array, groups, filter, |g, row| put(g, row, i128::from(v[row])))
                    }
                    DataType::Decimal128(..) => {
                        let v = array.as_primitive::<Decimal128Type>().values();
                        each_row(array, groups, filter, |g, row| put(g, row, v[row]))
                    }
                    other => return internal_err!("cannot sum {other}"),
                }
            }
            (Sums::Wide(sums), data_type) => {
                let mut put = |group: usize, row: usize, value: i256| -> PgResult<()> {
                    sums[group] = sums[group].checked_add(value).ok_or_else(overflow)?;
                    count(group, row);
                    Ok(())
                };
                match data_type {
                    DataType::Decimal128(..) => {
                        let v = array.as_primitive::<Decimal128Type>().values();
                        each_row(array, groups, filter, |g, row| put(g, row, i256::from_i128(v[row])))
                    }
                    DataType::Decimal256(..) => {
                        let v = array.as_primitive::<Decimal256Type>().values();
                        each_row(array, groups, filter, |g, row| put(g, row, v[row]))
                    }
                    other => return internal_err!("cannot sum {other}"),
                }
            }
            (Sums::Real(sums), DataType::Float32) => {
                let v = array.as_primitive::<Float32Type>().values();
                each_row(array, groups, filter, |g, row| {
                    let total = sums[g] + v[row];
                    if total.is_infinite() && sums[g].is_finite() && v[row].is_finite() {
                        return Err(float_overflow());
                    }
                    sums[g] = total;
                    count(g, row);
                    Ok(())
                })
            }
            (Sums::Double(sums), data_type) => {
                let mut put = |group: usize, row: usize, value: f64| -> PgResult<()> {
                    let total = sums[group] + value;
                    if total.is_infinite() && sums[group].is_finite() && value.is_finite() {
                        return Err(float_overflow());
                    }
                    sums[group] = total;
                    count(group, row);
                    Ok(())
                };
                match data_type {
                    DataType::Float32 => {
                        let v = array.as_primitive::<Float32Type>().values();
                        each_row(array, groups, filter, |g, row| put(g, row, f64::from(v[row])))
                    }
                    DataType::Float64 => {
                        let v = array.as_primitive::<Float64Type>().values();
                        each_row(array, groups, filter, |g, row| put(g, row, v[row]))
                    }
                    other => return internal_err!("cannot sum {other}"),
                }
            }
            (_, other) => return internal_err!("cannot sum {other}"),
        }?;
        Ok(())
    }

    /// The sum of one group as a value of the result type.
    fn finish(&self, sum: &Running, count: i64) -> PgResult<Value> {
        if count == 0 {
            return Ok(Value::Null);
        }
        let scale = match self.running {
            DataType::Decimal128(_, s) | DataType::Decimal256(_, s) => s,
            _ => 0,
        };
        let exact = match sum {
            Running::Narrow(v) => Numeric::from_i128(*v, scale),
            Running::Wide(v) => Numeric::from_i256(*v, scale),
            Running::Real(v) => return Ok(Value::Float4(*v)),
            #[expect(clippy::cast_precision_loss, reason = "PostgreSQL counts in double here too")]
            Running::Double(v) => return Ok(Value::Float8(if self.is_sum { *v } else { v / count as f64 })),
        };
        if !self.is_sum {
            // The scale of a numeric column's values matters to the division: read as PostgreSQL would have stored them.
            let shown = crate::value::carried_as(exact, &self.of);
            return Ok(Value::Numeric(shown.div(&Numeric::from(count))?));
        }
        if self.ret == DataType::Int64 {
            return exact.to_i64_rounded().map(Value::Int8).ok_or_else(|| PgError::out_of_range("bigint"));
        }
        Ok(Value::Numeric(exact))
    }

    fn take(&mut self, emit: EmitTo) -> (Vec<Running>, Vec<i64>) {
        let counts = emit.take_needed(&mut self.counts);
        let sums = match &mut self.sums {
            Sums::Narrow(v) => emit.take_needed(v).into_iter().map(Running::Narrow).collect(),
            Sums::Wide(v) => emit.take_needed(v).into_iter().map(Running::Wide).collect(),
            Sums::Real(v) => emit.take_needed(v).into_iter().map(Running::Real).collect(),
            Sums::Double(v) => emit.take_needed(v).into_iter().map(Running::Double).collect(),
        };
        (sums, counts)
    }

    fn states(&self, sums: &[Running], counts: Vec<i64>) -> Result<Vec<ArrayRef>> {
        let valid = |i: usize| counts[i] != 0;
        let sum: ArrayRef = match &self.running {
            DataType::Decimal128(p, s) => Arc::new(
                PrimitiveArray::<Decimal128Type>::from_iter(sums.iter().enumerate().map(|(i, v)| match v {
                    Running::Narrow(v) if valid(i) => Some(*v),
                    _ => None,
                }))
                .with_precision_and_scale(*p, *s)?,
            ),
            DataType::Decimal256(p, s) => Arc::new(
                PrimitiveArray::<Decimal256Type>::from_iter(sums.iter().enumerate().map(|(i, v)| match v {
                    Running::Wide(v) if valid(i) => Some(*v),
                    _ => None,
                }))
                .with_precision_and_scale(*p, *s)?,
            ),
            DataType::Float32 => {
                Arc::new(PrimitiveArray::<Float32Type>::from_iter(sums.iter().enumerate().map(|(i, v)| match v {
                    Running::Real(v) if valid(i) => Some(*v),
                    _ => None,
                })))
            }
            _ => Arc::new(PrimitiveArray::<Float64Type>::from_iter(sums.iter().enumerate().map(|(i, v)| match v {
                Running::Double(v) if valid(i) => Some(*v),
                _ => None,
            }))),
        };
        Ok(vec![sum, Arc::new(Int64Array::from(counts))])
    }
}

#[derive(Debug, Clone, Copy)]
enum Running {
    Narrow(i128),
    Wide(i256),
    Real(f32),
    Double(f64),
}

impl GroupsAccumulator for Totals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        self.add(&values[0], None, Some(groups), filter)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) = self.take(emit_to);
        let values = sums.iter().zip(counts).map(|(s, c)| self.finish(s, c)).collect::<PgResult<Vec<_>>>()?;
        build(&self.ret, &values)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, counts) = self.take(emit_to);
        self.states(&sums, counts)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        self.add(&values[0], Some(values[1].as_primitive::<Int64Type>()), Some(groups), None)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let groups: Vec<usize> = (0..rows).collect();
        let mut single = self.empty();
        single.grow(rows);
        single.add(&values[0], None, Some(&groups), filter)?;
        single.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        let each = match &self.sums {
            Sums::Narrow(v) => v.capacity() * 16,
            Sums::Wide(v) => v.capacity() * 32,
            Sums::Real(v) => v.capacity() * 4,
            Sums::Double(v) => v.capacity() * 8,
        };
        each + self.counts.capacity() * 8
    }
}

impl Totals {
    /// The result over one column.
    pub fn of_column(&self, values: &ArrayRef) -> Result<ScalarValue> {
        let mut single = self.empty();
        single.grow(1);
        single.add(values, None, None, None)?;
        single.finish(&single.first(), single.counts[0])?.into_scalar(&self.ret)
    }

    fn empty(&self) -> Self {
        let sums = match &self.sums {
            Sums::Narrow(_) => Sums::Narrow(Vec::new()),
            Sums::Wide(_) => Sums::Wide(Vec::new()),
            Sums::Real(_) => Sums::Real(Vec::new()),
            Sums::Double(_) => Sums::Double(Vec::new()),
        };
        Self {
            is_sum: self.is_sum,
            of: self.of.clone(),
            ret: self.ret.clone(),
            running: self.running.clone(),
            sums,
            counts: Vec::new(),
        }
    }

    fn first(&self) -> Running {
        match &self.sums {
            Sums::Narrow(v) => Running::Narrow(v[0]),
            Sums::Wide(v) => Running::Wide(v[0]),
            Sums::Real(v) => Running::Real(v[0]),
            Sums::Double(v) => Running::Double(v[0]),
        }
    }
}

/// One group, for aggregates without GROUP BY and for windows.
#[derive(Debug)]
struct OneTotal(Totals);

impl Accumulator for OneTotal {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.add(&values[0], None, None, None)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.finish(&self.0.first(), self.0.counts[0])?.into_scalar(&self.0.ret)
    }

    fn size(&self) -> usize {
        size_of_val(self) + GroupsAccumulator::size(&self.0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = self.0.states(&[self.0.first()], vec![self.0.counts[0]])?;
        columns.iter().map(|c| ScalarValue::try_from_array(c, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.add(&states[0], Some(states[1].as_primitive::<Int64Type>()), None, None)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        // Exact sums only: subtracting what was added gives the rest exactly.
        let mut leaving = self.0.empty();
        leaving.grow(1);
        leaving.add(&values[0], None, None, None)?;
        self.0.counts[0] -= leaving.counts[0];
        match (&mut self.0.sums, leaving.sums) {
            (Sums::Narrow(a), Sums::Narrow(b)) => a[0] -= b[0],
            (Sums::Wide(a), Sums::Wide(b)) => a[0] = a[0].wrapping_sub(b[0]),
            _ => {
                return Err(
                    PgError::unsupported("sum and avg of floats over a moving window frame are not supported").into()
                );
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        matches!(self.0.sums, Sums::Narrow(_) | Sums::Wide(_))
    }
}

fn extreme(inner: Arc<AggregateUDF>, wanted: Ordering) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Extreme { inner, wanted, signature: Signature::user_defined(Volatility::Immutable) }))
}

/// `min` and `max`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Extreme {
    inner: Arc<AggregateUDF>,
    wanted: Ordering,
    signature: Signature,
}

impl Extreme {
    fn is_own(args: &AccumulatorArgs) -> bool {
        matches!(args.expr_fields[0].data_type(), DataType::Float32 | DataType::Float64 | DataType::Interval(_))
    }

    fn best(&self, args: &AccumulatorArgs) -> Best {
        Best { ret: args.return_field.data_type().clone(), wanted: self.wanted, best: Vec::new() }
    }
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let known = match arg_types {
            [of] => PgType::of(of),
            _ => None,
        };
        match known {
            Some(PgType::Bool | PgType::Bytea | PgType::List(_)) | None => {
                let shown = known.map(|t| t.name()).unwrap_or_default();
                Err(PgError::new("42883", format!("function {}({shown}) does not exist", self.name())).into())
            }
            Some(_) => Ok(arg_types.to_vec()),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        let of = arg_fields.first().and_then(|field| PgType::of_field(field));
        match &of {
            // Its text is not ordered as its values are.
            Some(PgType::Other(name)) => {
                return Err(PgError::unsupported(format!("{} of type {name} is not supported", self.name()))
                    .with_hint("Cast the column to a type that Belvedere knows.")
                    .into());
            }
            Some(PgType::Uuid | PgType::Json | PgType::Jsonb) => {
                let shown = of.map(|of| of.name()).unwrap_or_default();
                return Err(PgError::new("42883", format!("function {}({shown}) does not exist", self.name())).into());
            }
            _ => {}
        }
        let types: Vec<DataType> = arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, self.is_nullable())))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if Self::is_own(&args) {
            let mut best = self.best(&args);
            best.best.push(Value::Null);
            return Ok(Box::new(best));
        }
        self.inner.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        Self::is_own(&args) || self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        if Self::is_own(&args) { Ok(Box::new(self.best(&args))) } else { self.inner.create_groups_accumulator(args) }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if Self::is_own(&args) { self.accumulator(args) } else { self.inner.create_sliding_accumulator(args) }
    }
}

/// The best value of each group in PostgreSQL's order.
#[derive(Debug)]
struct Best {
    ret: DataType,
    wanted: Ordering,
    best: Vec<Value>,
}

impl Best {
    fn add(&mut self, values: &ArrayRef, groups: Option<&[usize]>, filter: Option<&BooleanArray>) -> Result<()> {
        for row in 0..values.len() {
            if filter.is_some_and(|f| f.is_null(row) || !f.value(row)) {
                continue;
            }
            let value = Value::read(values.as_ref(), row)?;
            let best = &mut self.best[groups.map_or(0, |g| g[row])];
            if !value.is_null() && (best.is_null() || crate::library::compare(&value, best) == self.wanted) {
                *best = value;
            }
        }
        Ok(())
    }
}

impl GroupsAccumulator for Best {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.best.resize(total, Value::Null);
        self.add(&values[0], Some(groups), filter)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        build(&self.ret, &emit_to.take_needed(&mut self.best))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![GroupsAccumulator::evaluate(self, emit_to)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        GroupsAccumulator::update_batch(self, values, groups, None, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows: Vec<usize> = (0..values[0].len()).collect();
        let mut single = Self { ret: self.ret.clone(), wanted: self.wanted, best: vec![Value::Null; rows.len()] };
        single.add(&values[0], Some(&rows), filter)?;
        GroupsAccumulator::state(&mut single, EmitTo::All)
    }

    fn size(&self) -> usize {
        self.best.capacity() * size_of::<Value>()
    }
}

impl Accumulator for Best {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0], None, None)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.best[0].clone().into_scalar(&self.ret)
    }

    fn size(&self) -> usize {
        size_of_val(self) + GroupsAccumulator::size(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![Accumulator::evaluate(self)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(&states[0], None, None)
    }
}
