//! The digits of a numeric row expression, from the digits of its columns.
//!
//! A database types `price * quantity` as a numeric without precision. Read as that, a value could have too many digits for us, and
//! would lose the zeros that PostgreSQL shows behind the point; so the expression is bound here too, and only its type is used.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, Schema};
use belvedere_model::Cube;
use datafusion_common::DFSchema;
use datafusion_expr::ExprSchemable;

use crate::lower::joined_rows::dialect_of;
use crate::lower::member_sql::{parse_member, replace_identifiers};
use crate::members;
use crate::planning::Planning;
use crate::{bind, types};

/// The decimal type of `sql`, a row expression over the relation of `cube`, whose columns are `columns`.
///
/// `None` where it is no numeric, or has something that is not in our tables. A value that does not fit the type is an error when
/// it is read, as with every type.
#[must_use]
pub fn numeric_type(planning: Planning<'_>, cube: &Cube, sql: &str, columns: &[Field]) -> Option<DataType> {
    let dialect = dialect_of(planning.catalog, cube).ok()?;
    let mut ast = parse_member(sql, dialect, &cube.naming.name).ok()?;
    let alias = members::alias_of(cube);
    let column = |name: &str| {
        let mut named = columns.iter().filter(|column| column.name() == name);
        // A name that occurs twice is refused by the source, unless it is not this one.
        named.next().filter(|_| named.next().is_none())
    };
    let mut fields: HashMap<String, Field> = HashMap::new();
    let mut is_known = true;
    replace_identifiers(&mut ast, &mut |idents| {
        let name = match idents {
            [name] => Some(name),
            [table, name] if table == alias || *table == alias.to_lowercase() => Some(name),
            _ => None,
        };
        let key = format!("v{}", fields.len());
        match name.and_then(|name| column(name).or_else(|| column(&name.to_lowercase()))) {
            Some(field) => {
                fields.insert(key.clone(), field.clone().with_name(&key));
            }
            None => is_known = false,
        }
        key
    });
    // A bare numeric has its digits value by value, and what is computed of it, too.
    if !is_known || fields.values().any(|field| *field.data_type() == types::BARE_NUMERIC) {
        return None;
    }
    let schema = DFSchema::try_from(Schema::new(fields.into_values().collect::<Vec<_>>())).ok()?;
    let expr = bind::bind_expr(ast, &schema, planning.catalog, planning.functions, planning.session, dialect).ok()?;
    match expr.get_type(&schema).ok()? {
        decimal @ (DataType::Decimal128(..) | DataType::Decimal256(..)) => Some(decimal),
        _ => None,
    }
}
