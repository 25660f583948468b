//! The system catalogs of PostgreSQL over a data model: `pg_catalog`, `information_schema`, and the statements that client
//! tools read them with.
//!
//! ```text
//! CatalogSnapshot ── Catalog::new ──▶ Catalog ──┐
//! sqlparser Statement ── prepare ──▶ CatalogStatement ── run ──▶ RecordBatch
//! ```
//!
//! A statement goes through its own small evaluator, not through DataFusion: catalog statements are made of what DataFusion
//! cannot plan (correlated sub-queries anywhere, `ARRAY(SELECT …)`, functions that return sets inside expressions, arrays
//! that start at 0, oids that show as names, two columns of one name), over tables that fit in the processor's cache.
//! `bind` turns syntax into a typed `plan`, `exec` runs it. Nothing knows any
//! client's statements: what PostgreSQL 15 has as a relation is here with the same columns, filled where there is
//! something to tell and empty elsewhere.
//!
//! How the model shows: schema `public` holds cubes as tables (relkind `r`, `\dt`) and views as views (relkind `v`,
//! `\dv`); their descriptions are comments; everything belongs to the role `belvedere`. OIDs depend on names alone, so that
//! they stay the same when the model is loaded again.

mod bind;
mod bind_expr;
mod casts;
mod catalog;
mod data;
mod error;
mod exec;
mod functions;
mod output;
mod own;
mod pg_types;
mod plan;
mod snapshot;
mod statement;
mod tables;
mod value;

#[cfg(test)]
mod psql_tests;

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Statement;
use postgres_types::Type;

pub use catalog::Catalog;
pub use error::CatalogError;
pub use output::PG_TYPE;
pub use own::{OWN_SCHEMA, OwnRow, OwnTables, OwnValue};
pub use snapshot::{CatalogColumn, CatalogRelation, CatalogSetting, CatalogSnapshot, RelationKind, SessionFacts};
pub use statement::is_catalog_statement;

use crate::bind::Binder;
use crate::exec::Ctx;
use crate::plan::QueryPlan;
use crate::value::Value;

/// One column that a statement gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogOutput {
    /// As PostgreSQL names it; names may repeat.
    pub name: String,
    pub pg_type: Type,
    /// PostgreSQL's type modifier, -1 for none.
    pub typmod: i32,
}

/// A catalog statement with its names and types resolved. It may run more than once, and on a later snapshot.
#[derive(Debug, Clone)]
pub struct CatalogStatement {
    plan: Arc<QueryPlan>,
    parameter_oids: Vec<pg_types::Oid>,
    /// The types of `$1`, `$2`, …: declared by the client, or else what their use asks for.
    pub parameters: Vec<Type>,
    pub columns: Vec<CatalogOutput>,
    /// What [`CatalogStatement::run`] gives: `oid` and `xid` as Int64, the reg* types, int2vector and every type without an
    /// Arrow equal as Utf8 in PostgreSQL's text form, arrays as lists.
    pub schema: SchemaRef,
}

/// Resolves the names and types of a catalog statement. `declared` holds the parameter types that the client gave.
///
/// # Errors
/// PostgreSQL's own for unknown relations, columns, functions and types; 0A000 for syntax that catalog statements cannot have.
pub fn prepare(
    statement: &Statement,
    catalog: &Catalog,
    session: &SessionFacts,
    declared: &[Option<Type>],
) -> Result<CatalogStatement, CatalogError> {
    let Statement::Query(query) = statement else {
        return Err(CatalogError::unsupported("anything but a query"));
    };
    let declared = declared.iter().map(|pg_type| pg_type.as_ref().map(Type::oid).filter(|oid| *oid != 0)).collect();
    let mut binder = Binder::new(catalog, session, declared);
    let plan = binder.statement(query)?;
    let parameter_oids: Vec<pg_types::Oid> = binder
        .parameters
        .iter()
        .map(|oid| oid.filter(|oid| *oid != pg_types::UNKNOWN).unwrap_or(pg_types::TEXT))
        .collect();
    let pg_type = |oid: pg_types::Oid| Type::from_oid(oid).unwrap_or(Type::TEXT);
    let columns = plan.columns.iter().map(|column| CatalogOutput {
        name: column.name.clone(),
        pg_type: pg_type(column.pg_type),
        typmod: column.typmod,
    });
    Ok(CatalogStatement {
        parameters: parameter_oids.iter().map(|oid| pg_type(*oid)).collect(),
        columns: columns.collect(),
        schema: output::schema(&catalog.types, &plan.columns),
        plan: Arc::new(plan),
        parameter_oids,
    })
}

impl CatalogStatement {
    /// Computes all rows, as one batch. This takes milliseconds and does not wait for anything; `interrupted` is asked now
    /// and then whether to stop.
    ///
    /// # Errors
    /// What PostgreSQL's functions and casts raise; 57014 when interrupted, 54000 and 53200 for a statement that looks at or
    /// makes too many rows, 08P01 for too few parameters.
    pub fn run(
        &self,
        catalog: &Catalog,
        session: &SessionFacts,
        parameters: &[ScalarValue],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<RecordBatch, CatalogError> {
        if parameters.len() < self.parameter_oids.len() {
            let text = format!(
                "bind message supplies {} parameters, but the statement requires {}",
                parameters.len(),
                self.parameter_oids.len()
            );
            return Err(CatalogError::new("08P01", text));
        }
        let reader = Ctx::new(catalog, session, &[], interrupted);
        let values = self.parameter_oids.iter().zip(parameters).map(|(oid, value)| parameter(&reader, value, *oid));
        let values = values.collect::<Result<Vec<Value>, CatalogError>>()?;
        let ctx = Ctx::new(catalog, session, &values, interrupted);
        let rows = exec::run(&ctx, &self.plan, None)?;
        output::batch(&ctx, &self.schema, &self.plan.columns, &rows)
    }
}

/// Prepares and runs a statement without parameters.
///
/// # Errors
/// Those of [`prepare`] and [`CatalogStatement::run`].
pub fn run(
    statement: &Statement,
    catalog: &Catalog,
    session: &SessionFacts,
) -> Result<(Vec<CatalogOutput>, RecordBatch), CatalogError> {
    let prepared = prepare(statement, catalog, session, &[])?;
    let batch = prepared.run(catalog, session, &[], &|| false)?;
    Ok((prepared.columns, batch))
}

fn parameter(ctx: &Ctx<'_>, value: &ScalarValue, oid: pg_types::Oid) -> Result<Value, CatalogError> {
    let unsupported = || CatalogError::unsupported(format!("a parameter of type {}", value.data_type()));
    if value.is_null() {
        return Ok(Value::Null);
    }
    Ok(match value {
        ScalarValue::Boolean(Some(value)) => Value::Bool(*value),
        ScalarValue::Int16(Some(value)) => Value::Int(i64::from(*value)),
        ScalarValue::Int32(Some(value)) => Value::Int(i64::from(*value)),
        ScalarValue::Int64(Some(value)) => Value::Int(*value),
        ScalarValue::UInt32(Some(value)) => Value::Int(i64::from(*value)),
        ScalarValue::Float32(Some(value)) => Value::Float(f64::from(*value)),
        ScalarValue::Float64(Some(value)) => Value::Float(*value),
        ScalarValue::TimestampMicrosecond(Some(value), _) => Value::Time(*value),
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            exec::parameter(ctx, text, oid)?
        }
        ScalarValue::List(list) => {
            let element = ctx.catalog.types.element_of(oid).ok_or_else(unsupported)?;
            let items = list.value(0);
            let mut values = Vec::new();
            for at in 0..items.len() {
                let item = ScalarValue::try_from_array(&items, at).map_err(|_| unsupported())?;
                values.push(parameter(ctx, &item, element)?);
            }
            Value::array(values)
        }
        _ => return Err(unsupported()),
    })
}
