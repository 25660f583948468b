//! Sees through the projections, filters and aliases between an aggregate and the view tables below it.
//!
//! `SELECT city, SUM(total) FROM (SELECT * FROM sales WHERE vip) AS q GROUP BY 1` is one question to `sales`: a measure column
//! that passes through unchanged is still that measure. It would be wrong to see through LIMIT, DISTINCT, a window or a join
//! that is not the model's own: those decide which rows there are.

use std::collections::{HashMap, HashSet};

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, Result, TableReference};
use datafusion_expr::{Expr, JoinType, LogicalPlan, Operator};

use crate::catalog::{JOIN_FIELD, ViewTableSource};
use crate::nodes::fact_leg::LegScan;

/// View tables with the filters above them, and what each output column is in their terms.
#[derive(Debug, Clone)]
pub struct Absorbed {
    pub scans: Vec<LegScan>,
    pub filters: Vec<Expr>,
    /// The columns that a sub-query in between names, for `COUNT(*)` over it: they decide which rows it has.
    pub listed: Vec<Column>,
    /// Some tables stand beside each other without a condition (`CROSS JOIN`): the model's join is meant.
    pub crossed: bool,
    columns: HashMap<Column, Expr>,
}

impl Absorbed {
    /// `FROM a, b WHERE a.x = b.y` is a join of the statement's own: plain SQL is meant, not the model's join.
    ///
    /// # Errors
    /// Only DataFusion's, for an expression that cannot be walked.
    pub fn is_joined_by(&self, predicate: &Expr) -> Result<bool> {
        let conditions = datafusion_expr::utils::split_conjunction_owned(self.resolved(predicate)?);
        Ok(self.crossed && conditions.iter().any(|condition| tables_in(condition).len() > 1))
    }

    /// An expression over the output of the chain, in terms of the view tables' columns.
    ///
    /// # Errors
    /// Only DataFusion's, for an expression that cannot be walked.
    pub fn resolved(&self, expr: &Expr) -> Result<Expr> {
        expr.clone()
            .transform_up(|node| {
                Ok(match node {
                    Expr::Column(column) => match self.columns.get(&column) {
                        Some(known) => Transformed::yes(known.clone()),
                        None => Transformed::no(Expr::Column(column)),
                    },
                    other => Transformed::no(other),
                })
            })
            .map(|transformed| transformed.data)
    }
}

/// The chain that ends in view tables, or `None` where something else lies in between.
///
/// # Errors
/// Only DataFusion's, for an expression that cannot be walked.
pub fn absorb(plan: &LogicalPlan) -> Result<Option<Absorbed>> {
    absorb_from(plan, Correlated::Stops)
}

/// As [`absorb`], through conditions that refer to an outer query too: what the rows below are, not what they are asked for.
///
/// # Errors
/// As [`absorb`].
pub fn absorb_correlated(plan: &LogicalPlan) -> Result<Option<Absorbed>> {
    absorb_from(plan, Correlated::Passes)
}

/// What to do with a condition that refers to an outer query.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Correlated {
    /// A leg could not see what it means.
    Stops,
    Passes,
}

fn absorb_from(plan: &LogicalPlan, correlated: Correlated) -> Result<Option<Absorbed>> {
    Ok(match plan {
        LogicalPlan::TableScan(scan) => {
            let Some(source) = scan.source.downcast_ref::<ViewTableSource>() else { return Ok(None) };
            let columns = scan
                .projected_schema
                .columns()
                .into_iter()
                .map(|column| (column.clone(), Expr::Column(column)))
                .collect();
            Some(Absorbed {
                scans: vec![LegScan {
                    reference: scan.table_name.clone(),
                    table: std::sync::Arc::clone(&source.table),
                    defaults: source.defaults.clone(),
                }],
                filters: scan.filters.clone(),
                listed: Vec::new(),
                crossed: false,
                columns,
            })
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let Some(mut inner) = absorb_from(&alias.input, correlated)? else { return Ok(None) };
            let before: Vec<Column> = alias.input.schema().columns();
            let after: Vec<Column> = alias.schema.columns();
            inner.columns = before
                .iter()
                .zip(after)
                .filter_map(|(old, new)| inner.columns.get(old).cloned().map(|expr| (new, expr)))
                .collect();
            Some(inner)
        }
        LogicalPlan::Filter(filter) => {
            let Some(mut inner) = absorb_from(&filter.input, correlated)? else { return Ok(None) };
            if correlated == Correlated::Stops && is_correlated(&filter.predicate)? {
                return Ok(None);
            }
            if inner.is_joined_by(&filter.predicate)? {
                return Ok(None);
            }
            let predicate = inner.resolved(&filter.predicate)?;
            inner.filters.extend(datafusion_expr::utils::split_conjunction_owned(predicate));
            Some(inner)
        }
        LogicalPlan::Projection(projection) => {
            let Some(mut inner) = absorb_from(&projection.input, correlated)? else { return Ok(None) };
            let mut columns = HashMap::new();
            for (expr, column) in projection.expr.iter().zip(projection.schema.columns()) {
                if is_correlated(expr)? || expr.is_volatile() {
                    return Ok(None);
                }
                columns.insert(column, inner.resolved(expr)?.unalias_nested().data);
            }
            let mut listed: Vec<Column> = Vec::new();
            for column in projection.schema.columns().iter().filter_map(|column| columns.get(column)) {
                for used in column.column_refs() {
                    if !listed.contains(used) {
                        listed.push(used.clone());
                    }
                }
            }
            inner.listed = listed;
            inner.columns = columns;
            Some(inner)
        }
        LogicalPlan::Join(join) => {
            let only_join_fields = join.on.iter().all(|(left, right)| is_join_field(left) && is_join_field(right))
                && join.filter.as_ref().is_none_or(is_join_field_equality);
            let is_cross = join.on.is_empty() && join.filter.is_none() && join.join_type == JoinType::Inner;
            let is_model_join = !is_cross
                && only_join_fields
                && matches!(join.join_type, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
            if !is_cross && !is_model_join {
                return Ok(None);
            }
            let (Some(left), Some(right)) =
                (absorb_from(&join.left, correlated)?, absorb_from(&join.right, correlated)?)
            else {
                return Ok(None);
            };
            // The same table twice is a real self join, not one row of the model.
            if left.scans.iter().any(|one| right.scans.iter().any(|other| one.reference == other.reference)) {
                return Ok(None);
            }
            let mut both = left;
            both.listed.extend(right.listed);
            both.crossed |= right.crossed || is_cross;
            both.scans.extend(right.scans);
            both.filters.extend(right.filters);
            both.columns.extend(right.columns);
            Some(both)
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => absorb_from(&sort.input, correlated)?,
        _ => None,
    })
}

fn tables_in(expr: &Expr) -> HashSet<&TableReference> {
    expr.column_refs().into_iter().filter_map(|column| column.relation.as_ref()).collect()
}

fn is_join_field(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == JOIN_FIELD)
}

fn is_join_field_equality(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(binary) if binary.op == Operator::And => {
            is_join_field_equality(&binary.left) && is_join_field_equality(&binary.right)
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::Eq => {
            is_join_field(&binary.left) && is_join_field(&binary.right)
        }
        _ => false,
    }
}

/// Predicates with a correlated sub-query or an outer reference are never absorbed: the leg could not see what they mean.
fn is_correlated(expr: &Expr) -> Result<bool> {
    expr.exists(|node| {
        Ok(match node {
            Expr::Exists(exists) => !exists.subquery.outer_ref_columns.is_empty(),
            Expr::InSubquery(within) => !within.subquery.outer_ref_columns.is_empty(),
            Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
            Expr::SetComparison(_) | Expr::OuterReferenceColumn(..) => true,
            _ => false,
        })
    })
}
