//! Joined rows that are a rollup's: its columns stand in the place of the members that it stores.
//!
//! Member SQL is evaluated as always, so that what is computed of stored members is computed. What needs anything else is refused, which is no
//! error of the query: whoever asks goes on to another rollup.

use arrow::datatypes::{DataType, Field};
use belvedere_model::DimensionValue;
use datafusion_expr::Expr;

use crate::error::{PlanError, Result};
use crate::members;
use crate::substitute::cover_members::stored_column;

use super::{JoinedRows, Role};

/// A member that a rollup stores as a column of [`STORED`].
#[derive(Debug, Clone)]
pub(crate) struct StoredColumn {
    pub node: String,
    pub member: String,
    pub is_segment: bool,
    pub field: Field,
}

/// All that the rows of a rollup have.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) columns: Vec<StoredColumn>,
    /// Columns beside those of members.
    pub(super) others: Vec<Field>,
}

impl<'a> JoinedRows<'a> {
    /// Values come from the columns of a rollup from here on; what they do not give is refused.
    pub(crate) fn reads_only(&mut self, columns: Vec<StoredColumn>, others: Vec<Field>) {
        self.stored = Some(Stored { columns, others });
    }

    /// A member that the rollup stores; `None` where these rows are no rollup's, or it has no such member.
    pub(super) fn stored_member(&self, node: &str, member: &str, is_segment: bool) -> Option<(Expr, &Field)> {
        let columns = &self.stored.as_ref()?.columns;
        let column = columns
            .iter()
            .find(|column| column.node == node && column.member == member && column.is_segment == is_segment)?;
        Some((stored_column(column.field.name()), &column.field))
    }

    /// The stored dimension that stands for a column: its SQL is that very column (reference RJ3).
    pub(super) fn stored_by_sql(&self, role: &Role<'a>, sql: &str) -> Result<Option<Expr>> {
        let Some(stored) = &self.stored else { return Ok(None) };
        let dialect = self.dialect(role.cube)?;
        let alias = members::alias_of(role.cube);
        let (quoted, plain) = (format!("{}.", dialect.quoted(alias)), format!("{alias}."));
        let bare = |sql: &str| {
            let sql = without_parentheses(sql);
            sql.strip_prefix(&quoted).or_else(|| sql.strip_prefix(&plain)).unwrap_or(sql).to_owned()
        };
        for column in stored.columns.iter().filter(|column| column.node == role.node && !column.is_segment) {
            let Some(dimension) = role.cube.dimensions.get(&column.member) else { continue };
            let DimensionValue::Sql(template) = &dimension.value else { continue };
            let own = members::own_sql(self.model(), role.cube, template, dialect)?;
            if own.is_some_and(|own| bare(&own) == bare(sql))
                && !matches!(column.field.data_type(), DataType::Timestamp(..))
            {
                return Ok(Some(stored_column(column.field.name())));
            }
        }
        Ok(None)
    }

    /// What a rollup does not have is no error of the query: whoever asks goes on to another one.
    pub(super) fn refuse_in_rollup(&self, what: &str) -> Result<()> {
        match self.stored {
            None => Ok(()),
            Some(_) => Err(PlanError::unsupported(format!("the rollup does not store {what}"))),
        }
    }
}

/// SQL without the parentheses that enclose all of it, as a reference to another member has them.
fn without_parentheses(sql: &str) -> &str {
    let mut sql = sql.trim();
    while let Some(inner) = sql.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        // In `(a) || (b)` they do not, and a quoted one may be no parenthesis.
        if inner.contains(['(', ')', '\'', '"', '`']) && !is_enclosed(inner) {
            break;
        }
        sql = inner.trim();
    }
    sql
}

/// Whether every parenthesis is closed where it was opened, and none is quoted.
fn is_enclosed(sql: &str) -> bool {
    let mut depth = 0_usize;
    for character in sql.chars() {
        match character {
            '(' => depth += 1,
            ')' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            '\'' | '"' | '`' => return false,
            _ => {}
        }
    }
    depth == 0
}

#[cfg(test)]
mod tests {
    use super::without_parentheses;

    #[test]
    fn only_parentheses_around_all_of_it_go() {
        for (sql, bare) in [
            ("status", "status"),
            (" ( (status) ) ", "status"),
            ("(a) || (b)", "(a) || (b)"),
            ("(lower(a))", "lower(a)"),
            ("('(' || a)", "('(' || a)"),
            ("()", ""),
        ] {
            assert_eq!(without_parentheses(sql), bare);
        }
    }
}
