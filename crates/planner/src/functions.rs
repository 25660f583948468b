//! The functions that a statement may call, by name: ours from `belvedere_functions`, nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};

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
        for function in belvedere_functions::scalar_functions() {
            for alias in function.aliases() {
                scalar.insert(alias.clone(), Arc::clone(&function));
            }
            scalar.insert(function.name().to_owned(), function);
        }
        let mut aggregate = HashMap::new();
        for function in belvedere_functions::aggregate_functions() {
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
