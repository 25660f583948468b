//! `CAST`, with PostgreSQL's rounding, range checks and texts.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::Result;
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use num_traits::ToPrimitive;

use crate::PG_TYPMOD;
use crate::datetime::{DAY, Zone, check_date, f64_to_i64, from_local, round_fraction, timestamp_from, to_local};
use crate::error::{PgError, PgResult};
use crate::function::{pg_types, result_field, run_rows, session_zone, signature};
use crate::input::parse_value;
use crate::numeric::Numeric;
use crate::output::format_value;
use crate::types::{BARE_NUMERIC, PgType, decimal_parts, decimal_type};
use crate::value::Value;

/// What a cast goes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CastTarget {
    /// The PostgreSQL type.
    pub pg: PgType,
    /// Precision and scale of `numeric(p,s)`; `None` is `numeric` alone, whose digits depend on what is cast.
    pub numeric: Option<(u8, i8)>,
    /// Of numeric: [`crate::numeric_typmod`], where a user wrote `numeric(p,s)`; nothing is done with it but to show it.
    /// `varchar(n)`: characters kept. `timestamp(n)`, `time(n)`, `interval(n)`: fractional digits kept.
    pub modifier: Option<u32>,
}

impl CastTarget {
    /// A type without modifier; numeric without precision.
    pub fn from_type(pg: PgType) -> Self {
        Self { pg, numeric: None, modifier: None }
    }

    /// The type of a field: its Arrow type and [`crate::PG_TYPE`] metadata. A decimal keeps its precision and scale; [`BARE_NUMERIC`] too.
    pub fn of_field(field: &Field) -> Option<Self> {
        let numeric = match field.data_type() {
            DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => Some((*p, *s)),
            _ => None,
        };
        Some(Self { pg: PgType::of_field(field)?, numeric, modifier: None })
    }

    /// An Arrow type.
    pub fn of(data_type: &DataType) -> Option<Self> {
        Self::of_field(&Field::new("", data_type.clone(), true))
    }

    /// With a length or a number of fractional digits.
    #[must_use]
    pub fn with_modifier(mut self, modifier: u32) -> Self {
        self.modifier = Some(modifier);
        self
    }

    /// The Arrow type of the result for an argument type.
    pub fn arrow(&self, from: &DataType) -> DataType {
        match (&self.pg, self.numeric) {
            (PgType::Numeric, Some((p, s))) if p > 38 => DataType::Decimal256(p, s),
            (PgType::Numeric, Some((p, s))) => DataType::Decimal128(p, s),
            (PgType::Numeric, None) => match decimal_parts(from) {
                Some(_) if from.is_null() => BARE_NUMERIC,
                Some((p, s)) => match from {
                    DataType::Decimal128(..) | DataType::Decimal256(..) => from.clone(),
                    _ => decimal_type(i32::from(p) - i32::from(s), i32::from(s)),
                },
                None => BARE_NUMERIC,
            },
            (pg, _) => pg.arrow(),
        }
    }
}

/// The cast to a target as a function of one argument, named `pg_cast`. Casts between timestamptz and the rest, and to or from its text, use the
/// session's zone (`datafusion.execution.time_zone`) at execution: they are STABLE.
pub fn pg_cast(target: CastTarget) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(PgCast { target, signature: signature(Volatility::Stable) }))
}

/// The target of a `pg_cast` function, for planner rules that look at one.
pub fn cast_target(udf: &ScalarUDF) -> Option<&CastTarget> {
    (udf.inner().as_ref() as &dyn std::any::Any).downcast_ref::<PgCast>().map(|c| &c.target)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PgCast {
    target: CastTarget,
    signature: Signature,
}

impl PgCast {
    fn field(&self, from: &Field) -> Result<FieldRef> {
        let types = pg_types(&[Arc::new(from.clone())])?;
        if !cast_exists(&types[0], &self.target.pg) {
            return Err(PgError::new(
                "42846",
                format!("cannot cast type {} to {}", types[0].name(), self.target.pg.name()),
            )
            .into());
        }
        let nullable = from.is_nullable() || from.data_type().is_null();
        let field =
            result_field("pg_cast", self.target.arrow(from.data_type()), self.target.pg.metadata_name(), nullable);
        Ok(match (&self.target.pg, self.target.modifier) {
            (PgType::Numeric, Some(typmod)) => {
                let metadata = [(PG_TYPMOD.to_owned(), typmod.to_string())].into();
                Arc::new(field.as_ref().clone().with_metadata(metadata))
            }
            _ => field,
        })
    }
}

impl ScalarUDFImpl for PgCast {
    fn name(&self) -> &'static str {
        "pg_cast"
    }

    fn schema_name(&self, args: &[datafusion_expr::Expr]) -> Result<String> {
        let arg = args.first().map(|a| a.schema_name().to_string()).unwrap_or_default();
        let digits = self.target.numeric.map(|(p, s)| format!("({p},{s})")).unwrap_or_default();
        let modifier = match self.target.numeric {
            Some(_) => String::new(),
            None => self.target.modifier.map(|m| format!("({m})")).unwrap_or_default(),
        };
        Ok(format!("{arg}::{}{digits}{modifier}", self.target.pg.name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.target.arrow(arg_types.first().unwrap_or(&DataType::Null)))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields {
            [from] => self.field(from),
            _ => Err(PgError::new("XX000", "pg_cast takes one argument").into()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let from = pg_types(&args.arg_fields)?;
        let source = args.arg_fields[0].data_type();
        if source == args.return_field.data_type()
            && from[0] == self.target.pg
            && (self.target.modifier.is_none() || self.target.pg == PgType::Numeric)
            && !source.is_nested()
        {
            // Same type, same digits: nothing to do.
            return Ok(args.args[0].clone());
        }
        let zone = session_zone(&args.config_options)?;
        let mut target = self.target.clone();
        if target.pg == PgType::Numeric && target.numeric.is_none() {
            target.numeric = None;
        }
        run_rows(&args, false, |row| cast_value(row[0].clone(), &from[0], &target, &zone))
    }
}

/// Whether PostgreSQL has an explicit cast.
pub fn cast_exists(from: &PgType, to: &PgType) -> bool {
    use PgType as T;
    if from == to || *from == T::Unknown {
        return true;
    }
    match (from, to) {
        (_, T::Text) | (T::Text, _) => true,
        (T::Other(_), _) | (_, T::Other(_)) => true,
        (a, b) if a.is_number() && b.is_number() => true,
        (T::Bool, T::Int4) | (T::Int4, T::Bool) => true,
        (T::Date, T::Timestamp | T::Timestamptz) => true,
        (T::Timestamp, T::Date | T::Timestamptz | T::Time) => true,
        (T::Timestamptz, T::Date | T::Timestamp | T::Time) => true,
        (T::Time, T::Interval) | (T::Interval, T::Time) => true,
        (T::Json, T::Jsonb) | (T::Jsonb, T::Json) => true,
        (T::List(a), T::List(b)) => cast_exists(a, b),
        _ => false,
    }
}

fn integer<TInt: TryFrom<i64>>(value: Option<i64>, name: &str) -> PgResult<TInt> {
    value.and_then(|v| TInt::try_from(v).ok()).ok_or_else(|| PgError::out_of_range(name))
}

/// The value of a number as an integer by the rule of its type: numeric half away from zero, float half to even. `None`: beyond 64 bits.
fn rounded(value: &Value) -> Option<i64> {
    match value {
        Value::Numeric(n) => n.to_i64_rounded(),
        Value::Float4(f) => f64_to_i64(f64::from(*f).round_ties_even()),
        Value::Float8(f) => f64_to_i64(f.round_ties_even()),
        other => other.as_i64(),
    }
}

/// Any number as a double.
pub(crate) fn to_f64(value: &Value) -> Option<f64> {
    Some(match value {
        Value::Int2(v) => f64::from(*v),
        Value::Int4(v) => f64::from(*v),
        #[expect(clippy::cast_precision_loss, reason = "PostgreSQL rounds here too")]
        Value::Int8(v) => *v as f64,
        Value::Float4(v) => f64::from(*v),
        Value::Float8(v) => *v,
        Value::Numeric(v) => v.to_f64(),
        _ => return None,
    })
}

/// Any number as a numeric.
///
/// # Errors
/// 0A000 for NaN and infinity.
pub(crate) fn to_numeric(value: &Value) -> PgResult<Numeric> {
    match value {
        Value::Numeric(n) => Ok(n.clone()),
        Value::Float8(f) => Numeric::from_f64(*f, 15),
        Value::Float4(f) => Numeric::from_f64(f64::from(*f), 6),
        other => Ok(Numeric::from(other.as_i64().unwrap_or(0))),
    }
}

/// Converts a value.
///
/// # Errors
/// 22003, 22P02, 22007, 22008 and 42846 with PostgreSQL's words.
pub fn cast_value(value: Value, from: &PgType, to: &CastTarget, zone: &Zone) -> PgResult<Value> {
    use PgType as T;
    if value.is_null() {
        return Ok(Value::Null);
    }
    let result = match (&value, &to.pg) {
        (Value::Text(text), target) if from.is_text_carried() || *from == T::Unknown => match target {
            T::Text | T::Other(_) => value,
            T::Json if *from == T::Jsonb => value,
            target => parse_value(text, target, zone)?,
        },
        (_, T::Text | T::Other(_)) => Value::Text(format_value(&value, from, zone)?.unwrap_or_default()),
        (Value::Bool(b), T::Int4) => Value::Int4(i32::from(*b)),
        (Value::Int4(v), T::Bool) => Value::Bool(*v != 0),
        (_, T::Int2) if from.is_number() => Value::Int2(integer(rounded(&value), "smallint")?),
        (_, T::Int4) if from.is_number() => Value::Int4(integer(rounded(&value), "integer")?),
        (_, T::Int8) if from.is_number() => Value::Int8(integer(rounded(&value), "bigint")?),
        (_, T::Float8) if from.is_number() => Value::Float8(to_f64(&value).unwrap_or(f64::NAN)),
        (_, T::Float4) if from.is_number() => Value::Float4(to_f32(&value)?),
        (_, T::Numeric) if from.is_number() => Value::Numeric(to_numeric(&value)?),
        (Value::Date(d), T::Timestamp) => Value::Timestamp(
            timestamp_from(i64::from(*d), 0)
                .map_err(|_| PgError::datetime_overflow("date out of range for timestamp"))?,
        ),
        (Value::Date(d), T::Timestamptz) => {
            let local = timestamp_from(i64::from(*d), 0)
                .map_err(|_| PgError::datetime_overflow("date out of range for timestamp"))?;
            Value::Timestamptz(from_local(local, zone)?)
        }
        (Value::Timestamp(t), T::Date) => Value::Date(check_date(t.div_euclid(DAY))?),
        (Value::Timestamp(t), T::Time) => Value::Time(t.rem_euclid(DAY)),
        (Value::Timestamp(t), T::Timestamptz) => Value::Timestamptz(from_local(*t, zone)?),
        (Value::Timestamptz(t), T::Date) => Value::Date(check_date(to_local(*t, zone)?.div_euclid(DAY))?),
        (Value::Timestamptz(t), T::Time) => Value::Time(to_local(*t, zone)?.rem_euclid(DAY)),
        (Value::Timestamptz(t), T::Timestamp) => Value::Timestamp(to_local(*t, zone)?),
        (Value::Time(t), T::Interval) => Value::Interval(crate::datetime::Interval { months: 0, days: 0, micros: *t }),
        (Value::Interval(i), T::Time) => Value::Time(i.micros.rem_euclid(DAY)),
        (Value::List(items), T::List(element)) => {
            let inner_from = match from {
                T::List(inner) => inner.as_ref(),
                other => other,
            };
            let inner = CastTarget::from_type(element.as_ref().clone());
            Value::List(items.iter().map(|i| cast_value(i.clone(), inner_from, &inner, zone)).collect::<PgResult<_>>()?)
        }
        _ if *from == to.pg => value,
        _ => return Err(PgError::new("42846", format!("cannot cast type {} to {}", from.name(), to.pg.name()))),
    };
    apply_modifiers(result, to)
}

fn apply_modifiers(value: Value, to: &CastTarget) -> PgResult<Value> {
    Ok(match (value, to.modifier, to.numeric) {
        (Value::Numeric(n), _, Some((p, s))) => Value::Numeric(n.to_precision(p, s)?),
        (Value::Text(t), Some(length), _) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            Value::Text(match t.char_indices().nth(length) {
                Some((at, _)) => t[..at].to_owned(),
                None => t,
            })
        }
        (Value::Timestamp(t), Some(digits), _) => Value::Timestamp(round_fraction(t, digits)),
        (Value::Timestamptz(t), Some(digits), _) => Value::Timestamptz(round_fraction(t, digits)),
        (Value::Time(t), Some(digits), _) => Value::Time(round_fraction(t, digits)),
        (Value::Interval(i), Some(digits), _) => {
            Value::Interval(crate::datetime::Interval { micros: round_fraction(i.micros, digits), ..i })
        }
        (value, _, _) => value,
    })
}

fn to_f32(value: &Value) -> PgResult<f32> {
    match value {
        Value::Float4(f) => Ok(*f),
        Value::Numeric(n) => {
            let narrow: f32 = n.to_string().parse().unwrap_or(f32::NAN);
            if narrow.is_infinite() {
                return Err(PgError::new("22003", format!("\"{n}\" is out of range for type real")));
            }
            Ok(narrow)
        }
        Value::Float8(wide) => {
            let narrow = wide.to_f32().unwrap_or(f32::NAN);
            #[expect(clippy::cast_possible_truncation, reason = "the rounding conversion is what is meant")]
            let narrow = if narrow.is_nan() && !wide.is_nan() { *wide as f32 } else { narrow };
            if narrow.is_infinite() && wide.is_finite() {
                return Err(PgError::new("22003", "value out of range: overflow"));
            }
            if narrow == 0.0 && *wide != 0.0 {
                return Err(PgError::new("22003", "value out of range: underflow"));
            }
            Ok(narrow)
        }
        #[expect(clippy::cast_precision_loss, reason = "PostgreSQL rounds here too")]
        other => Ok(other.as_i64().unwrap_or(0) as f32),
    }
}
