//! The one shell around every scalar function: types in, type out, NULLs, constants, rows.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::PG_TYPE;
use crate::cast::{self, CastTarget};
use crate::datetime::Zone;
use crate::error::{PgError, PgResult};
use crate::types::PgType;
use crate::value::{Value, build};

/// What an evaluation may look at beside its values.
pub(crate) struct Context<'a> {
    /// The session's zone: `datafusion.execution.time_zone`, UTC where it is not set.
    pub zone: Zone,
    /// The declared result.
    pub ret: &'a FieldRef,
}

/// One row.
pub(crate) type Eval = fn(&Context<'_>, &[Value]) -> PgResult<Value>;
/// Whole arrays; `None` where it does not apply and the rows have to be walked.
pub(crate) type Fast = fn(&ScalarFunctionArgs) -> Result<Option<ColumnarValue>>;

/// A call as far as types go.
pub(crate) struct Call<'a> {
    pub types: Vec<PgType>,
    pub data: Vec<DataType>,
    pub scalars: &'a [Option<&'a ScalarValue>],
}

/// How a call is carried out.
pub(crate) struct Plan {
    pub ret: DataType,
    /// For results carried as text that are not text.
    pub pg_type: Option<&'static str>,
    /// The types that the arguments are converted to first.
    pub takes: Option<Vec<PgType>>,
    pub eval: Eval,
    pub fast: Option<Fast>,
    /// NULL from arguments that are not NULL.
    pub makes_null: bool,
}

impl Plan {
    pub fn new(ret: DataType, eval: Eval) -> Self {
        Self { ret, pg_type: None, takes: None, eval, fast: None, makes_null: false }
    }

    pub fn taking(mut self, takes: Vec<PgType>) -> Self {
        self.takes = Some(takes);
        self
    }

    pub fn fast(mut self, fast: Fast) -> Self {
        self.fast = Some(fast);
        self
    }

    pub fn makes_null(mut self) -> Self {
        self.makes_null = true;
        self
    }
}

/// A function: its name and how a call of it is planned.
pub(crate) struct Definition {
    pub name: &'static str,
    pub volatility: Volatility,
    /// NULL for any NULL argument.
    pub strict: bool,
    pub plan: fn(&str, &Call<'_>) -> PgResult<Plan>,
}

/// The error for a call that no signature takes.
pub(crate) fn no_function(name: &str, types: &[PgType]) -> PgError {
    let list: Vec<String> = types.iter().map(PgType::name).collect();
    PgError::new("42883", format!("function {name}({}) does not exist", list.join(", ")))
        .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

/// A [`Definition`] as DataFusion sees it.
#[derive(Debug, Clone)]
pub(crate) struct PgFunction {
    name: &'static str,
    signature: Signature,
    strict: bool,
    plan: fn(&str, &Call<'_>) -> PgResult<Plan>,
}

impl PartialEq for PgFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for PgFunction {}
impl Hash for PgFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl PgFunction {
    pub fn udf(definition: &Definition) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Self {
            name: definition.name,
            signature: signature(definition.volatility),
            strict: definition.strict,
            plan: definition.plan,
        }))
    }

    fn plan_call(&self, fields: &[FieldRef], scalars: &[Option<&ScalarValue>]) -> Result<Plan> {
        let types = pg_types(fields)?;
        let data = fields.iter().map(|f| f.data_type().clone()).collect();
        Ok((self.plan)(self.name, &Call { types, data, scalars })?)
    }
}

/// Any argument types, including none: the functions choose.
pub(crate) fn signature(volatility: Volatility) -> Signature {
    Signature::one_of(vec![TypeSignature::UserDefined, TypeSignature::Nullary], volatility)
}

pub(crate) fn pg_types(fields: &[FieldRef]) -> Result<Vec<PgType>> {
    fields
        .iter()
        .map(|f| {
            PgType::of_field(f).ok_or_else(|| {
                DataFusionError::Internal(format!("no PostgreSQL type for {} of {}", f.data_type(), f.name()))
            })
        })
        .collect()
}

/// The session's zone as DataFusion carries it.
pub(crate) fn session_zone(config: &ConfigOptions) -> PgResult<Zone> {
    config.execution.time_zone.as_deref().map_or(Ok(Zone::UTC), Zone::of_session)
}

/// A result field with its PostgreSQL type.
pub(crate) fn result_field(name: &str, data_type: DataType, pg_type: Option<&str>, nullable: bool) -> FieldRef {
    let mut field = Field::new(name, data_type, nullable);
    if let Some(pg) = pg_type {
        field = field.with_metadata([(PG_TYPE.to_owned(), pg.to_owned())].into());
    }
    Arc::new(field)
}

impl ScalarUDFImpl for PgFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let fields: Vec<FieldRef> = arg_types.iter().map(|t| Arc::new(Field::new("", t.clone(), true))).collect();
        self.plan_call(&fields, &vec![None; fields.len()])?;
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let fields: Vec<FieldRef> = arg_types.iter().map(|t| Arc::new(Field::new("", t.clone(), true))).collect();
        Ok(self.plan_call(&fields, &vec![None; fields.len()])?.ret)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let plan = self.plan_call(args.arg_fields, args.scalar_arguments)?;
        let nullable = plan.makes_null
            || (self.strict && args.arg_fields.iter().any(|f| f.is_nullable() || f.data_type().is_null()));
        Ok(result_field(self.name, plan.ret, plan.pg_type, nullable))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalars: Vec<Option<&ScalarValue>> = args
            .args
            .iter()
            .map(|a| match a {
                ColumnarValue::Scalar(s) => Some(s),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        let plan = self.plan_call(&args.arg_fields, &scalars)?;
        if let Some(fast) = plan.fast
            && let Some(result) = fast(&args)?
        {
            return Ok(result);
        }
        let context = Context { zone: session_zone(&args.config_options)?, ret: &args.return_field };
        let from = pg_types(&args.arg_fields)?;
        let takes: Option<Vec<CastTarget>> = plan.takes.map(|t| t.into_iter().map(CastTarget::from_type).collect());
        let volatile = self.signature.volatility == Volatility::Volatile;
        run_rows(&args, volatile, |row| {
            if self.strict && row.iter().any(Value::is_null) {
                return Ok(Value::Null);
            }
            match &takes {
                None => (plan.eval)(&context, row),
                Some(targets) => {
                    let mut converted = Vec::with_capacity(row.len());
                    for (i, value) in row.iter().enumerate() {
                        let target = targets.get(i).or(targets.last());
                        converted.push(match target {
                            Some(target) if target.pg != from[i] && !value.is_null() => {
                                cast::cast_value(value.clone(), &from[i], target, &context.zone)?
                            }
                            _ => value.clone(),
                        });
                    }
                    (plan.eval)(&context, &converted)
                }
            }
        })
    }
}

/// Evaluates row by row; constants give a constant (unless every row must be computed anew).
pub(crate) fn run_rows(
    args: &ScalarFunctionArgs,
    every_row: bool,
    mut eval: impl FnMut(&[Value]) -> PgResult<Value>,
) -> Result<ColumnarValue> {
    let data_type = args.return_field.data_type();
    let mut row = Vec::with_capacity(args.args.len());
    let mut arrays: Vec<(usize, &ArrayRef)> = Vec::new();
    for (i, arg) in args.args.iter().enumerate() {
        match arg {
            ColumnarValue::Scalar(s) => row.push(Value::of(s)?),
            ColumnarValue::Array(a) => {
                arrays.push((i, a));
                row.push(Value::Null);
            }
        }
    }
    if arrays.is_empty() && !every_row {
        return Ok(ColumnarValue::Scalar(eval(&row)?.into_scalar(data_type)?));
    }
    let mut out = Vec::with_capacity(args.number_rows);
    for at in 0..args.number_rows {
        for (i, array) in &arrays {
            row[*i] = Value::read(array.as_ref(), at)?;
        }
        out.push(eval(&row)?);
    }
    Ok(ColumnarValue::Array(build(data_type, &out)?))
}
