//! The functions that a statement may call, by name: ours from `belvedere_functions`, nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{
    AggregateUDF, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, WindowUDF,
};

use crate::error::PlanError;

/// Built once for the process: building the maps costs more than planning a small statement.
#[derive(Debug)]
pub struct Functions {
    scalar: HashMap<String, Arc<ScalarUDF>>,
    aggregate: HashMap<String, Arc<AggregateUDF>>,
    window: HashMap<String, Arc<WindowUDF>>,
}

impl Functions {
    #[must_use]
    pub fn new() -> Self {
        let mut scalar = HashMap::new();
        let ours = belvedere_functions::scalar_functions()
            .into_iter()
            .chain(belvedere_functions::operator_functions())
            // DataFusion's own mean the same: they only choose among values.
            .chain([datafusion_functions::core::coalesce(), datafusion_functions::core::nullif()])
            .chain([
                Arc::new(ScalarUDF::from(Placeholder::eq_any())),
                Arc::new(ScalarUDF::from(Placeholder::granularity())),
                Arc::new(ScalarUDF::from(Placeholder::type_of())),
            ]);
        for function in ours {
            for alias in function.aliases() {
                scalar.insert(alias.clone(), Arc::clone(&function));
            }
            scalar.insert(function.name().to_owned(), function);
        }
        let mut aggregate = HashMap::new();
        let ours = belvedere_functions::aggregate_functions()
            .into_iter()
            // GROUPING(…) is no aggregate of values: binding turns it into bits of the grouping id.
            .chain([datafusion_functions_aggregate::grouping::grouping_udaf()]);
        for function in ours {
            for alias in function.aliases() {
                aggregate.insert(alias.clone(), Arc::clone(&function));
            }
            aggregate.insert(function.name().to_owned(), function);
        }
        let mut window = HashMap::new();
        for function in belvedere_functions::window_functions() {
            for alias in function.aliases() {
                window.insert(alias.clone(), Arc::clone(&function));
            }
            window.insert(function.name().to_owned(), function);
        }
        Self { scalar, aggregate, window }
    }

    #[must_use]
    pub fn scalar(&self, name: &str) -> Option<&Arc<ScalarUDF>> {
        self.scalar.get(name)
    }

    #[must_use]
    pub fn aggregate(&self, name: &str) -> Option<&Arc<AggregateUDF>> {
        self.aggregate.get(name)
    }

    #[must_use]
    pub fn window(&self, name: &str) -> Option<&Arc<WindowUDF>> {
        self.window.get(name)
    }

    /// A function that the planner itself needs.
    ///
    /// # Errors
    /// Our own contradiction, when the name is not registered.
    pub fn needed_scalar(&self, name: &str) -> Result<Arc<ScalarUDF>> {
        self.scalar.get(name).cloned().ok_or_else(|| {
            datafusion_common::DataFusionError::Internal(format!("the function {name} is not registered"))
        })
    }

    /// As [`Functions::needed_scalar`], for aggregates.
    ///
    /// # Errors
    /// Our own contradiction, when the name is not registered.
    pub fn needed_aggregate(&self, name: &str) -> Result<Arc<AggregateUDF>> {
        self.aggregate.get(name).cloned().ok_or_else(|| {
            datafusion_common::DataFusionError::Internal(format!("the aggregate {name} is not registered"))
        })
    }

    #[must_use]
    pub fn scalar_names(&self) -> Vec<String> {
        self.scalar.keys().cloned().collect()
    }

    #[must_use]
    pub fn aggregate_names(&self) -> Vec<String> {
        self.aggregate.keys().cloned().collect()
    }

    #[must_use]
    pub fn window_names(&self) -> Vec<String> {
        self.window.keys().cloned().collect()
    }
}

impl Default for Functions {
    fn default() -> Self {
        Self::new()
    }
}

/// A function that binding replaces by what it means; what is left when a statement runs has no meaning.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Placeholder {
    name: &'static str,
    result: DataType,
    left_over: &'static str,
    signature: Signature,
}

impl Placeholder {
    /// `x = ANY (array)` while the array is not known yet; an IN list when it is.
    fn eq_any() -> Self {
        Self {
            name: "pg_eq_any",
            result: DataType::Boolean,
            left_over: "= ANY over an array that differs from row to row is not supported",
            signature: Signature::any(2, Volatility::Immutable),
        }
    }

    /// `pg_typeof(x)`; the name of the type when it is known.
    fn type_of() -> Self {
        Self {
            name: "pg_typeof",
            result: DataType::Utf8,
            left_over: "pg_typeof of a value whose type is not known is not supported",
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    /// `DATE_TRUNC` with a granularity that the model may define; bins when the dimension is known.
    fn granularity() -> Self {
        Self {
            name: crate::rewrite::CUSTOM_GRANULARITY,
            result: crate::types::timestamp(),
            left_over: "the unit of DATE_TRUNC is not recognized",
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Placeholder {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(PlanError::unsupported(self.left_over).into())
    }
}
