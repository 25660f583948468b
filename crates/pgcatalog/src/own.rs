//! Our own system tables, schema `belvedere`: columns here, rows from whoever opens the session.

use std::fmt;
use std::sync::Arc;

use crate::catalog::{Row, SystemRelation};
use crate::value::Value;

/// The schema of our own system tables.
pub const OWN_SCHEMA: &str = "belvedere";

/// As `data/relations.tsv`: relations with their columns' type, modifier, whether it is never NULL, and collation.
pub const OWN_RELATIONS: &str = "R\t13901\tbelvedere\trollups\tv\t0\tf
C\tcube\t25\t-1\tf\t100
C\tname\t25\t-1\tf\t100
C\ttype\t25\t-1\tf\t100
C\tstate\t25\t-1\tf\t100
C\trows\t20\t-1\tf\t0
C\tbytes\t20\t-1\tf\t0
C\tpartitions\t20\t-1\tf\t0
C\tbuilt_at\t1184\t-1\tf\t0
C\trefresh_key\t25\t-1\tf\t100
C\tlast_error\t25\t-1\tf\t100
C\ttime_zone\t25\t-1\tf\t100
R\t13902\tbelvedere\trollup_partitions\tv\t0\tf
C\tcube\t25\t-1\tf\t100
C\tname\t25\t-1\tf\t100
C\ttime_zone\t25\t-1\tf\t100
C\tfrom_time\t1114\t-1\tf\t0
C\tto_time\t1114\t-1\tf\t0
C\tstate\t25\t-1\tf\t100
C\trows\t20\t-1\tf\t0
C\tbytes\t20\t-1\tf\t0
C\tbuilt_at\t1184\t-1\tf\t0
C\trefresh_key\t25\t-1\tf\t100
";

/// A value of our own tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnValue {
    Null,
    Text(String),
    Int(i64),
    /// Microseconds since 1970.
    Time(i64),
}

/// A row of them, in the order of the columns.
pub type OwnRow = Vec<OwnValue>;

/// Gives the rows of a table by its name.
type RowsOf = dyn Fn(&str) -> Vec<OwnRow> + Send + Sync;

/// Gives the rows of one of our own tables by its name, when a statement reads it.
#[derive(Clone)]
pub struct OwnTables(pub Arc<RowsOf>);

impl Default for OwnTables {
    fn default() -> Self {
        Self(Arc::new(|_| Vec::new()))
    }
}

impl fmt::Debug for OwnTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnTables")
    }
}

impl PartialEq for OwnTables {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OwnTables {}

/// The rows of a relation of ours; the system columns follow.
pub fn rows(relation: &SystemRelation, tables: &OwnTables) -> Vec<Row> {
    (tables.0)(&relation.name)
        .into_iter()
        .map(|row| {
            let values = row.into_iter().map(|value| match value {
                OwnValue::Null => Value::Null,
                OwnValue::Text(text) => Value::text(text),
                OwnValue::Int(number) => Value::Int(number),
                OwnValue::Time(at) => Value::Time(at),
            });
            let system = [Value::Int(i64::from(relation.oid)), Value::Int(1), Value::text("(0,1)")];
            values.chain(system).collect::<Vec<_>>().into()
        })
        .collect()
}
