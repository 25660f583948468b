//! Switches: dimensions without rows of their own, whose value a condition pins or the rows are crossed with.

use arrow::datatypes::{DataType, Field};
use datafusion_common::{Column, DFSchema, TableReference};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ident, lit};

use crate::bind;
use crate::catalog::SourceDialect;
use crate::error::{PlanError, Result};
use crate::lower::member_sql::{parse_member, substitute};
use crate::nodes::fact_leg::{Switch, SwitchValue};
use crate::planning::Planning;

use super::{JoinedRows, Scope, internal};

impl<'a> JoinedRows<'a> {
    /// `CASE switch WHEN 'a' THEN … END` over values that are there; their common type is PostgreSQL's.
    pub(crate) fn case_of_switch(
        &self,
        switch: Expr,
        branches: Vec<(&str, Expr)>,
        otherwise: Option<Expr>,
        schema: &DFSchema,
    ) -> Result<Expr> {
        let mut text = "CASE v0".to_owned();
        let mut values = vec![switch];
        for (value, branch) in branches {
            text.push_str(&format!(" WHEN '{}' THEN v{}", value.replace('\'', "''"), values.len()));
            values.push(branch);
        }
        if let Some(otherwise) = otherwise {
            text.push_str(&format!(" ELSE v{}", values.len()));
            values.push(otherwise);
        }
        text.push_str(" END");
        let ast = parse_member(&text, SourceDialect::Postgres, "case")?;
        // The column of a switch is not among those that the branches are over.
        let mut fields = vec![Field::new("v0", DataType::Utf8, true)];
        for (index, value) in values.iter().enumerate().skip(1) {
            fields.push(Field::new(format!("v{index}"), value.get_type(schema).map_err(internal)?, true));
        }
        let fields = DFSchema::try_from(arrow::datatypes::Schema::new(fields)).map_err(internal)?;
        let Planning { catalog, functions, session, .. } = self.planning;
        let expr = bind::bind_expr(ast, &fields, catalog, functions, session, SourceDialect::Postgres)?;
        let values = values.into_iter().enumerate().map(|(index, value)| (format!("v{index}"), value)).collect();
        substitute(expr, &values)
    }

    /// The value of a switch: the one that a condition pins, or a column that the rows are crossed with.
    pub(super) fn switch_value(&mut self, scope: &Scope<'a>, member: &str, values: &[String]) -> Result<Expr> {
        let all = Switch {
            cube: scope.name().to_owned(),
            member: member.to_owned(),
            value: SwitchValue::Crossed(values.to_vec()),
        };
        let switch = match &self.switches {
            None => all,
            Some(known) => known.iter().find(|known| known.is(&all)).cloned().ok_or_else(|| {
                PlanError::unsupported(format!("what the query asks for depends on the switch \"{member}\"")).hint(
                    format!(
                        "Pin it by a condition such as {member} = '{}', or group by it.",
                        values.first().map_or("", String::as_str)
                    ),
                )
            })?,
        };
        Ok(match &switch.value {
            SwitchValue::Pinned(value) => lit(value.clone()),
            SwitchValue::Crossed(_) => {
                let known = self.crossed.iter().find(|(_, known)| known.is(&switch)).map(|(name, _)| name.clone());
                let name = known.unwrap_or_else(|| format!("s{}", self.crossed.len()));
                let relation = TableReference::bare(format!("{}:{}", switch.cube, switch.member));
                self.crossed.insert(name.clone(), switch);
                Expr::Column(Column::new(Some(relation), name))
            }
        })
    }

    /// The columns of the switches that the rows are crossed with.
    pub(crate) fn crossed_columns(&self) -> impl Iterator<Item = (&String, &Switch)> {
        self.crossed.iter()
    }

    /// The rows, each once for each value of the switches.
    pub(super) fn with_switches(&self, rows: LogicalPlan) -> Result<LogicalPlan> {
        let mut builder = LogicalPlanBuilder::from(rows);
        for (name, switch) in &self.crossed {
            let relation = TableReference::bare(format!("{}:{}", switch.cube, switch.member));
            let rows = switch.values().iter().map(|value| vec![lit(value.clone())]).collect::<Vec<_>>();
            let nothing = LogicalPlanBuilder::empty(false);
            let values = if rows.is_empty() {
                nothing.project(vec![lit("").alias_qualified(Some(relation), name)])
            } else {
                LogicalPlanBuilder::values(rows)
                    .and_then(|values| values.project(vec![ident("column1").alias_qualified(Some(relation), name)]))
            };
            let values = values.and_then(LogicalPlanBuilder::build).map_err(internal)?;
            builder = builder.cross_join(values).map_err(internal)?;
        }
        builder.build().map_err(internal)
    }
}
