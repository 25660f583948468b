//! SQL of members as expressions of ours: parsed, and bound over values that stand in the place of its identifiers.

use std::collections::HashMap;

use arrow::datatypes::{Field, Schema};
use datafusion_common::DFSchema;
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_sql::sqlparser::ast::Expr as SqlExpr;
use datafusion_sql::sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect};
use datafusion_sql::sqlparser::parser::Parser;

use crate::bind;
use crate::catalog::SourceDialect;
use crate::error::{PlanError, Result};
use crate::planning::Planning;

use super::joined_rows::internal;

/// Parses member SQL as one expression.
pub(crate) fn parse_member(text: &str, dialect: SourceDialect, owner: &str) -> Result<SqlExpr> {
    let sql_dialect: &dyn Dialect = match dialect {
        SourceDialect::MySql => &MySqlDialect {},
        SourceDialect::Postgres | SourceDialect::Files => &PostgreSqlDialect {},
    };
    let unreadable = |reason: String| {
        PlanError::unsupported(format!("the SQL of a member of \"{owner}\" cannot be read: {reason}")).detail(
            "It reaches several cubes or measures, so it is computed here and must be an expression that we know.",
        )
    };
    let mut parser = Parser::new(sql_dialect)
        .with_recursion_limit(crate::parse::DEPTH_MAX)
        .try_with_sql(text)
        .map_err(|error| unreadable(error.to_string()))?;
    let expr = parser.parse_expr().map_err(|error| unreadable(error.to_string()))?;
    let rest = parser.peek_token();
    if rest.token != datafusion_sql::sqlparser::tokenizer::Token::EOF {
        return Err(unreadable(format!("unexpected \"{rest}\"")));
    }
    Ok(expr)
}

/// Puts a name of our own in the place of each identifier.
pub(crate) fn replace_identifiers(expr: &mut SqlExpr, name_for: &mut dyn FnMut(&[String]) -> String) {
    use datafusion_sql::sqlparser::ast::{Ident, VisitMut, VisitorMut};
    struct Replacer<'f>(&'f mut dyn FnMut(&[String]) -> String);
    impl VisitorMut for Replacer<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> std::ops::ControlFlow<()> {
            let idents: Vec<String> = match expr {
                SqlExpr::Identifier(ident) => vec![ident.value.clone()],
                SqlExpr::CompoundIdentifier(idents) => idents.iter().map(|ident| ident.value.clone()).collect(),
                _ => return std::ops::ControlFlow::Continue(()),
            };
            *expr = SqlExpr::Identifier(Ident::with_quote('"', (self.0)(&idents)));
            std::ops::ControlFlow::Continue(())
        }
    }
    let _: std::ops::ControlFlow<()> = expr.visit(&mut Replacer(name_for));
}

/// Puts a name of our own in the place of each identifier, and gives the values by these names.
///
/// # Errors
/// The first that `value_of` gives.
pub(super) fn name_values(
    expr: &mut SqlExpr,
    value_of: &mut dyn FnMut(&[String]) -> Result<Expr>,
) -> Result<HashMap<String, Expr>> {
    let mut values: HashMap<String, Expr> = HashMap::new();
    let mut failure = None;
    replace_identifiers(expr, &mut |idents| {
        let key = format!("v{}", values.len());
        match value_of(idents) {
            Ok(value) => {
                values.insert(key.clone(), value);
            }
            Err(error) => failure = failure.take().or(Some(error)),
        }
        key
    });
    failure.map_or(Ok(values), Err)
}

/// Binds SQL whose identifiers are names of values; `schema` has the columns of the values.
///
/// # Errors
/// What is not in our tables of operators and functions.
pub(super) fn bind_over(
    expr: SqlExpr,
    values: &HashMap<String, Expr>,
    schema: &DFSchema,
    dialect: SourceDialect,
    planning: Planning<'_>,
) -> Result<Expr> {
    let fields = values
        .iter()
        .map(|(name, value)| Ok(Field::new(name, value.get_type(schema).map_err(internal)?, true)))
        .collect::<Result<Vec<_>>>()?;
    let names = DFSchema::try_from(Schema::new(fields)).map_err(internal)?;
    let Planning { catalog, functions, session, .. } = planning;
    substitute(bind::bind_expr(expr, &names, catalog, functions, session, dialect)?, values)
}

/// Puts values in the place of columns, by name.
pub(crate) fn substitute(expr: Expr, values: &HashMap<String, Expr>) -> Result<Expr> {
    use datafusion_common::tree_node::{Transformed, TreeNode};
    expr.transform_up(|node| {
        Ok(match node {
            Expr::Column(column) => match values.get(&column.name) {
                Some(value) => Transformed::yes(value.clone()),
                None => Transformed::no(Expr::Column(column)),
            },
            other => Transformed::no(other),
        })
    })
    .map(|transformed| transformed.data)
    .map_err(internal)
}
