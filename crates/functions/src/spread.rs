//! Variances and standard deviations: of floats by the Youngs-Cramer recurrence that PostgreSQL uses, of exact numbers exactly.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::format_state_name;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use crate::cast::{to_f64, to_numeric};
use crate::error::{PgError, PgResult};
use crate::gather::{Finish, Gathered, row_states};
use crate::numeric::Numeric;
use crate::types::{PgType, QUOTIENT, decimal_parts};
use crate::value::Value;

/// `stddev stddev_samp stddev_pop variance var_samp var_pop`.
pub(crate) fn spread_functions() -> Vec<Arc<AggregateUDF>> {
    ["stddev", "stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop"]
        .into_iter()
        .map(|name| {
            Arc::new(AggregateUDF::from(Function { name, signature: Signature::user_defined(Volatility::Immutable) }))
        })
        .collect()
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    signature: Signature,
}

fn is_exact(of: &DataType) -> bool {
    !matches!(of, DataType::Float32 | DataType::Float64)
}

impl AggregateUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [of] if !is_exact(of) || (decimal_parts(of).is_some() && !of.is_null()) => Ok(types.to_vec()),
            _ => {
                let types: Vec<PgType> = types.iter().map(|t| PgType::of(t).unwrap_or(PgType::Unknown)).collect();
                Err(crate::function::no_function(self.name, &types).into())
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(if types.first().is_some_and(is_exact) { QUOTIENT } else { DataType::Float64 })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if args.is_distinct {
            return Ok(row_states(&args));
        }
        // Exact sums travel as text: they may have more digits than any column.
        let types = if is_exact(args.input_fields[0].data_type()) {
            [DataType::Int64, DataType::Utf8, DataType::Utf8]
        } else {
            [DataType::Float64, DataType::Float64, DataType::Float64]
        };
        Ok(["count", "sum", "squares"]
            .into_iter()
            .zip(types)
            .map(|(part, t)| Arc::new(Field::new(format_state_name(args.name, part), t, true)) as FieldRef)
            .collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let spread = Spread {
            is_root: self.name.starts_with("stddev"),
            is_sample: !self.name.ends_with("_pop"),
            moments: Moments::new(is_exact(args.expr_fields[0].data_type())),
        };
        if args.is_distinct {
            return Ok(Box::new(Gathered::new(&args, Finish::Spread(spread))?));
        }
        Ok(Box::new(spread))
    }
}

/// One group.
#[derive(Debug)]
pub(crate) struct Spread {
    is_root: bool,
    is_sample: bool,
    moments: Moments,
}

#[derive(Debug)]
enum Moments {
    /// Number of values, their sum, the sum of their squared distances from the mean.
    Float { n: f64, sum: f64, squares: f64 },
    /// Number of values, their sum, the sum of their squares.
    Exact { n: i64, sum: Numeric, squares: Numeric },
}

fn overflow() -> PgError {
    PgError::new("22003", "value out of range: overflow")
}

impl Moments {
    fn new(exact: bool) -> Self {
        if exact {
            Self::Exact { n: 0, sum: Numeric::new(0, 0), squares: Numeric::new(0, 0) }
        } else {
            Self::Float { n: 0.0, sum: 0.0, squares: 0.0 }
        }
    }

    fn add(&mut self, value: &Value) -> PgResult<()> {
        match self {
            Self::Float { n, sum, squares } => {
                let x = to_f64(value).unwrap_or(f64::NAN);
                let (before, sum_before) = (*n, *sum);
                *n += 1.0;
                *sum += x;
                if before > 0.0 {
                    let distance = x * *n - *sum;
                    *squares += distance * distance / (*n * before);
                    if sum.is_infinite() || squares.is_infinite() {
                        if !sum_before.is_infinite() && !x.is_infinite() {
                            return Err(overflow());
                        }
                        *squares = f64::NAN;
                    }
                } else if !x.is_finite() {
                    *squares = f64::NAN;
                }
            }
            Self::Exact { n, sum, squares } => {
                let x = to_numeric(value)?;
                *n += 1;
                *sum = sum.add(&x);
                *squares = squares.add(&x.mul(&x));
            }
        }
        Ok(())
    }

    fn merge(&mut self, n2: &Value, sum2: &Value, squares2: &Value) -> Result<()> {
        match (self, n2, sum2, squares2) {
            (Self::Float { n, sum, squares }, Value::Float8(n2), Value::Float8(sum2), Value::Float8(squares2)) => {
                if *n2 == 0.0 {
                    return Ok(());
                }
                if *n == 0.0 {
                    (*n, *sum, *squares) = (*n2, *sum2, *squares2);
                    return Ok(());
                }
                let total = *n + n2;
                let distance = *sum / *n - sum2 / n2;
                let (s, q) = (*sum + sum2, *squares + squares2 + *n * n2 * distance * distance / total);
                if (s.is_infinite() && sum.is_finite() && sum2.is_finite())
                    || (q.is_infinite() && squares.is_finite() && squares2.is_finite())
                {
                    return Err(overflow().into());
                }
                (*n, *sum, *squares) = (total, s, q);
            }
            (Self::Exact { n, sum, squares }, Value::Int8(n2), Value::Text(sum2), Value::Text(squares2)) => {
                let (Some(s), Some(q)) = (Numeric::parse(sum2), Numeric::parse(squares2)) else {
                    return internal_err!("a partial sum that is no number: {sum2}, {squares2}");
                };
                *n += n2;
                *sum = sum.add(&s);
                *squares = squares.add(&q);
            }
            (_, a, b, c) => return internal_err!("a partial variance of {a:?}, {b:?}, {c:?}"),
        }
        Ok(())
    }
}

impl Spread {
    /// The same function without values.
    pub fn fresh(&self) -> Self {
        Self {
            is_root: self.is_root,
            is_sample: self.is_sample,
            moments: Moments::new(matches!(self.moments, Moments::Exact { .. })),
        }
    }

    fn value(&self) -> PgResult<Value> {
        match &self.moments {
            Moments::Float { n, squares, .. } => {
                let divisor = if self.is_sample { n - 1.0 } else { *n };
                if divisor <= 0.0 {
                    return Ok(Value::Null);
                }
                let variance = squares / divisor;
                Ok(Value::Float8(if self.is_root { variance.sqrt() } else { variance }))
            }
            Moments::Exact { n, sum, squares } => {
                let below = if self.is_sample { n - 1 } else { *n };
                if below <= 0 {
                    return Ok(Value::Null);
                }
                let n = Numeric::from(*n);
                let numerator = n.mul(squares).sub(&sum.mul(sum));
                if numerator.signum() <= 0 {
                    return Ok(Value::Numeric(Numeric::new(0, 0)));
                }
                let variance = numerator.div(&n.mul(&Numeric::from(below)))?;
                Ok(Value::Numeric(if self.is_root { variance.sqrt_at(variance.scale) } else { variance }))
            }
        }
    }

    fn ret(&self) -> DataType {
        match self.moments {
            Moments::Float { .. } => DataType::Float64,
            Moments::Exact { .. } => QUOTIENT,
        }
    }
}

impl Accumulator for Spread {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for at in 0..values[0].len() {
            let value = Value::read(values[0].as_ref(), at)?;
            if !value.is_null() {
                self.moments.add(&value)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.value()?.into_scalar(&self.ret())
    }

    fn size(&self) -> usize {
        size_of_val(self) + 128
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(match &self.moments {
            Moments::Float { n, sum, squares } => [n, sum, squares].map(|v| ScalarValue::Float64(Some(*v))).to_vec(),
            Moments::Exact { n, sum, squares } => vec![
                ScalarValue::Int64(Some(*n)),
                ScalarValue::Utf8(Some(sum.to_string())),
                ScalarValue::Utf8(Some(squares.to_string())),
            ],
        })
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for at in 0..states[0].len() {
            let [n, sum, squares] = [0, 1, 2].map(|i| Value::read(states[i].as_ref(), at));
            self.moments.merge(&n?, &sum?, &squares?)?;
        }
        Ok(())
    }
}
