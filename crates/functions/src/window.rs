//! The window functions with PostgreSQL's result types and argument checks, around DataFusion's evaluators.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::window_state::WindowAggState;
use datafusion_expr::{
    LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, TypeSignature, Volatility, WindowUDF, WindowUDFImpl,
};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::error::{PgError, PgResult};
use crate::types::{PgType, common_type};
use crate::value::Value;

/// `row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value`.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    datafusion_functions_window::all_default_window_functions()
        .into_iter()
        .map(|f| Arc::new(WindowUDF::from(Typed::new(f))))
        .collect()
}

/// A DataFusion window function whose counts are PostgreSQL's integers.
#[derive(Debug, Clone)]
struct Typed {
    inner: Arc<WindowUDF>,
    signature: Signature,
}

impl PartialEq for Typed {
    fn eq(&self, other: &Self) -> bool {
        self.inner.name() == other.inner.name()
    }
}
impl Eq for Typed {}
impl Hash for Typed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.name().hash(state);
    }
}

impl Typed {
    fn new(inner: Arc<WindowUDF>) -> Self {
        // Not one_of: it would bury our errors in its own.
        let kind = match inner.name() {
            "row_number" | "rank" | "dense_rank" | "percent_rank" | "cume_dist" => TypeSignature::Nullary,
            _ => TypeSignature::UserDefined,
        };
        let signature = Signature::new(kind, Volatility::Immutable);
        Self { inner, signature }
    }

    /// The integer type that replaces DataFusion's UInt64.
    fn counts(&self) -> Option<DataType> {
        match self.inner.name() {
            "row_number" | "rank" | "dense_rank" => Some(DataType::Int64),
            "ntile" => Some(DataType::Int32),
            _ => None,
        }
    }

    fn no_function(&self, types: &[DataType]) -> PgError {
        let types: Vec<PgType> = types.iter().map(|t| PgType::of(t).unwrap_or(PgType::Unknown)).collect();
        crate::function::no_function(self.inner.name(), &types)
    }

    /// The argument types that the call needs; an error where PostgreSQL has no such function.
    fn arguments(&self, types: &[DataType]) -> PgResult<Vec<DataType>> {
        // Literals may come as bigint; PostgreSQL takes integer only.
        let whole = |t: &DataType| matches!(t, DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Null);
        match (self.inner.name(), types) {
            ("row_number" | "rank" | "dense_rank" | "percent_rank" | "cume_dist", [])
            | ("first_value" | "last_value" | "lag" | "lead", [_]) => Ok(types.to_vec()),
            ("ntile", [n]) if whole(n) => Ok(types.to_vec()),
            ("nth_value" | "lag" | "lead", [_, n]) if whole(n) => Ok(types.to_vec()),
            ("lag" | "lead", [value, n, default]) if whole(n) => {
                let common = common_type(&[value.clone(), default.clone()]).ok_or_else(|| self.no_function(types))?;
                // DataFusion would convert the default to the value's type, and lose its fraction.
                if *value != common && !value.is_null() {
                    return Err(PgError::unsupported(format!(
                        "{} with a default of another type than its value is not supported",
                        self.inner.name()
                    ))
                    .with_hint("Cast the value or the default."));
                }
                Ok(vec![value.clone(), n.clone(), common])
            }
            _ => Err(self.no_function(types)),
        }
    }
}

/// A constant argument; `None` where it is missing or differs from row to row.
fn constant(args: &[Arc<dyn PhysicalExpr>], index: usize) -> Option<ScalarValue> {
    let literal = args.get(index)?.downcast_ref::<datafusion_physical_expr::expressions::Literal>()?;
    Some(literal.value().clone())
}

impl WindowUDFImpl for Typed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(self.arguments(types)?)
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(args)
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.input_fields().iter().map(|f| f.data_type().clone()).collect();
        self.arguments(&types)?;
        let nullable = self.inner.name() == "ntile";
        let field = self.inner.field(args)?;
        Ok(match self.counts() {
            Some(data_type) => Arc::new(
                field.as_ref().clone().with_data_type(data_type).with_nullable(field.is_nullable() || nullable),
            ),
            None => field,
        })
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let name = self.inner.name();
        let at = match name {
            "ntile" => Some(0),
            "lag" | "lead" | "nth_value" => Some(1),
            _ => None,
        };
        if let Some(at) = at
            && args.input_exprs().len() > at
        {
            let Some(n) = constant(args.input_exprs(), at) else {
                return Err(PgError::unsupported(format!(
                    "{name} with a count that is not a constant is not supported"
                ))
                .into());
            };
            let n = Value::of(&n)?;
            match (name, n.as_i64()) {
                (_, None) => {
                    return Err(
                        PgError::unsupported(format!("{name} with a count that is NULL is not supported")).into()
                    );
                }
                ("ntile", Some(n)) if n <= 0 => {
                    return Err(PgError::new("22014", "argument of ntile must be greater than zero").into());
                }
                ("nth_value", Some(n)) if n <= 0 => {
                    return Err(PgError::new("22016", "argument of nth_value must be greater than zero").into());
                }
                _ => {}
            }
        }
        if args.input_exprs().len() > 2 && constant(args.input_exprs(), 2).is_none() {
            return Err(
                PgError::unsupported(format!("{name} with a default that is not a constant is not supported")).into()
            );
        }
        let inner = self.inner.inner().partition_evaluator(args)?;
        Ok(match self.counts() {
            Some(to) => Box::new(Counted { inner, to }),
            None => inner,
        })
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.sort_options()
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.inner.reverse_expr() {
            ReversedUDWF::Identical => ReversedUDWF::Identical,
            ReversedUDWF::NotSupported => ReversedUDWF::NotSupported,
            ReversedUDWF::Reversed(other) => ReversedUDWF::Reversed(Arc::new(WindowUDF::from(Self::new(other)))),
        }
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        match self.inner.name() {
            // DataFusion knows how far lead looks only where its offset is a bigint, and not where lag looks ahead (a negative offset).
            "lag" | "lead" if args.len() > 1 => LimitEffect::Unknown,
            _ => self.inner.inner().limit_effect(args),
        }
    }
}

/// Turns the counts of an evaluator into a signed type.
#[derive(Debug)]
struct Counted {
    inner: Box<dyn PartitionEvaluator>,
    to: DataType,
}

impl PartitionEvaluator for Counted {
    fn memoize(&mut self, state: &mut WindowAggState) -> Result<()> {
        self.inner.memoize(state)
    }

    fn get_range(&self, index: usize, rows: usize) -> Result<Range<usize>> {
        self.inner.get_range(index, rows)
    }

    fn is_causal(&self) -> bool {
        self.inner.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        signed(&self.inner.evaluate_all(values, rows)?, &self.to)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        let array = self.inner.evaluate(values, range)?.to_array()?;
        ScalarValue::try_from_array(&signed(&array, &self.to)?, 0)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        signed(&self.inner.evaluate_all_with_rank(rows, ranks)?, &self.to)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.inner.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}

/// A count in a signed type; one that does not fit is an error.
fn signed(counts: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let strict = arrow::compute::CastOptions { safe: false, ..Default::default() };
    Ok(arrow::compute::cast_with_options(counts, to, &strict)?)
}
