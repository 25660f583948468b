//! Which of the sorted copies of some partitions is read for some conditions.
//!
//! All copies have the same rows, so this decides how much can be skipped and nothing else. Sorted by columns that the conditions set equal to
//! values, matching rows lie beside each other (reference IX1).

use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, Operator};

use crate::StoredTable;

/// How well an order suits conditions; more is better. Without any suiting column it is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Suits {
    /// How many of the first columns are set equal to values.
    equal: usize,
    /// Whether the next one has a range.
    then_range: bool,
}

/// How well rows that are sorted by these columns suit all of the filters.
pub(crate) fn suits(sorted_by: &[String], filters: &[Expr]) -> Suits {
    let conditions: Vec<&Expr> = filters.iter().flat_map(split_conjunction).collect();
    let has = |name: &String, kind: Condition| {
        conditions.iter().any(|condition| condition_on(condition).is_some_and(|(on, of)| on == name && of == kind))
    };
    let equal = sorted_by.iter().take_while(|name| has(name, Condition::Equal)).count();
    let then_range = sorted_by.get(equal).is_some_and(|name| has(name, Condition::Range));
    Suits { equal, then_range }
}

/// The best of some tables, each with the columns that it is sorted by; the first of several that are as good.
pub(crate) fn best<'t>(
    tables: impl IntoIterator<Item = (&'t StoredTable, &'t [String])>,
    filters: &[Expr],
) -> Option<&'t StoredTable> {
    let mut best: Option<(Suits, &StoredTable)> = None;
    for (table, sorted_by) in tables {
        let own = suits(sorted_by, filters);
        if best.is_none_or(|(known, _)| own > known) {
            best = Some((own, table));
        }
    }
    best.map(|(_, table)| table)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Equal,
    Range,
}

/// The column that a condition restricts by values, and how.
fn condition_on(condition: &Expr) -> Option<(&String, Condition)> {
    match condition {
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::Eq => of_column(&binary.left, &binary.right).map(|name| (name, Condition::Equal)),
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                of_column(&binary.left, &binary.right).map(|name| (name, Condition::Range))
            }
            // A short list of values.
            Operator::Or => {
                let (left, right) = (condition_on(&binary.left)?, condition_on(&binary.right)?);
                (left == right).then_some(left)
            }
            _ => None,
        },
        Expr::InList(list) if !list.negated => match list.expr.as_ref() {
            Expr::Column(column) => Some((&column.name, Condition::Equal)),
            _ => None,
        },
        Expr::Between(between) if !between.negated => match between.expr.as_ref() {
            Expr::Column(column) => Some((&column.name, Condition::Range)),
            _ => None,
        },
        Expr::Column(column) => Some((&column.name, Condition::Equal)),
        Expr::Not(inner) | Expr::IsTrue(inner) | Expr::IsFalse(inner) | Expr::IsNull(inner) => match inner.as_ref() {
            Expr::Column(column) => Some((&column.name, Condition::Equal)),
            _ => None,
        },
        _ => None,
    }
}

/// The column, where the other side is a value.
fn of_column<'e>(left: &'e Expr, right: &'e Expr) -> Option<&'e String> {
    match (left, right) {
        (Expr::Column(column), Expr::Literal(..)) | (Expr::Literal(..), Expr::Column(column)) => Some(&column.name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn names(columns: &[&str]) -> Vec<String> {
        columns.iter().map(|column| (*column).to_owned()).collect()
    }

    #[test]
    fn columns_that_are_set_equal_come_first_and_then_a_range() {
        let by_day = names(&["day", "nation", "flag"]);
        let by_nation = names(&["nation", "day", "flag"]);
        let (main, copy) = (StoredTable::Main, StoredTable::Index("by nation".to_owned()));
        let chosen = |filters: &[Expr]| {
            best([(&main, by_day.as_slice()), (&copy, by_nation.as_slice())], filters).cloned().expect("there are two")
        };
        let range = col("day").gt_eq(lit(1)).and(col("day").lt(lit(2)));
        assert_eq!(chosen(&[]), main);
        assert_eq!(chosen(std::slice::from_ref(&range)), main);
        assert_eq!(chosen(&[col("nation").eq(lit("DE"))]), copy);
        assert_eq!(chosen(&[range.clone(), lit("DE").eq(col("nation"))]), copy);
        assert_eq!(chosen(&[col("nation").eq(lit("DE")).or(col("nation").eq(lit("NO"))).and(range.clone())]), copy);
        assert_eq!(chosen(&[col("nation").in_list(vec![lit("DE"), lit("NO")], false)]), copy);
        // As good: the rows themselves.
        assert_eq!(chosen(&[col("nation").eq(lit("DE")), col("day").eq(lit(1))]), main);
        // These keep almost all rows, wherever they lie.
        assert_eq!(chosen(&[col("nation").not_eq(lit("DE"))]), main);
        assert_eq!(chosen(&[col("nation").in_list(vec![lit("DE")], true)]), main);
        assert_eq!(chosen(&[col("nation").eq(lit("DE")).or(col("flag").eq(lit("x")))]), main);
        assert_eq!(chosen(&[col("nation").eq(col("flag"))]), main);
    }
}
