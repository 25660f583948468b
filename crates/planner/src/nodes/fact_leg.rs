//! One fact's share of a query: one join tree, one grain, its measures and filters.
//!
//! A leaf without visible expressions: DataFusion's own rules neither prune its columns nor push filters into it.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion_common::{Column, DFSchemaRef, Result, TableReference};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::catalog::ViewTable;

/// A view table under the name that the leg's expressions use for it.
#[derive(Debug, Clone)]
pub struct LegScan {
    pub reference: TableReference,
    pub table: Arc<ViewTable>,
}

/// What a leg computes for each group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub enum LegAggregate {
    /// A measure by its own definition, with the extra condition of `FILTER (WHERE …)`.
    Measure { column: Column, filter: Option<Expr> },
    /// An aggregate over dimensions, attached to the joined rows.
    OverRows(Expr),
    /// `COUNT(*)` where the root has no plain count: the joined rows.
    CountRows { filter: Option<Expr> },
}

#[derive(Debug, Clone)]
pub struct FactLeg {
    pub scans: Vec<LegScan>,
    /// Over dimensions and segments of the scans.
    pub group: Vec<Expr>,
    pub aggregates: Vec<LegAggregate>,
    /// All must hold; over dimensions and segments of the scans.
    pub filters: Vec<Expr>,
    /// The columns of the sub-query that `COUNT(*)` counts the rows of; empty where there is none.
    pub listed: Vec<Column>,
    /// The groups' columns, then the aggregates'.
    pub schema: DFSchemaRef,
}

type Parts<'a> = (Vec<&'a TableReference>, &'a Vec<Expr>, &'a Vec<LegAggregate>, &'a Vec<Expr>);

impl FactLeg {
    fn parts(&self) -> Parts<'_> {
        (self.scans.iter().map(|scan| &scan.reference).collect(), &self.group, &self.aggregates, &self.filters)
    }
}

impl PartialEq for FactLeg {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts() && self.schema == other.schema
    }
}

impl Eq for FactLeg {}

impl Hash for FactLeg {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialOrd for FactLeg {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.parts().partial_cmp(&other.parts())
    }
}

impl UserDefinedLogicalNodeCore for FactLeg {
    fn name(&self) -> &'static str {
        "FactLeg"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |exprs: &[Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let aggregates: Vec<String> = self
            .aggregates
            .iter()
            .map(|aggregate| match aggregate {
                LegAggregate::Measure { column, filter: None } => format!("MEASURE({column})"),
                LegAggregate::Measure { column, filter: Some(filter) } => format!("MEASURE({column}) WHERE {filter}"),
                LegAggregate::OverRows(expr) => expr.to_string(),
                LegAggregate::CountRows { filter: None } => "COUNT(rows)".to_owned(),
                LegAggregate::CountRows { filter: Some(filter) } => format!("COUNT(rows) WHERE {filter}"),
            })
            .collect();
        let scans: Vec<String> = self.scans.iter().map(|scan| scan.reference.to_string()).collect();
        write!(
            f,
            "FactLeg: views=[{}], group=[{}], aggregates=[{}], filters=[{}]",
            scans.join(", "),
            list(&self.group),
            aggregates.join(", "),
            list(&self.filters)
        )
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(self.clone())
    }
}
