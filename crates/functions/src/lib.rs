//! PostgreSQL's operators, functions, casts and aggregates as DataFusion functions: checked, and typed as PostgreSQL types them.

/// Key of the field metadata that says which PostgreSQL type a column has where its Arrow type alone does not: `uuid`, `json`,
/// `jsonb`, `bit`, `name`, `oid`, ….
pub const PG_TYPE: &str = "belvedere.pg_type";

/// Key of the field metadata with PostgreSQL's type modifier, as its protocol writes it. Columns that were declared as
/// `numeric(p,s)` and casts to it have one; what is computed has none, as in PostgreSQL.
pub const PG_TYPMOD: &str = "belvedere.pg_typmod";

pub mod aggregate;
pub mod bins;
mod calendar;
pub mod cast;
pub mod datetime;
pub mod error;
mod function;
mod gather;
pub mod identifiers;
pub mod input;
pub mod library;
mod math;
mod mysql;
pub mod numeric;
pub mod operator;
pub mod output;
mod pattern;
pub mod sets;
pub mod sketch;
mod spread;
mod text;
mod to_char;
mod to_char_number;
pub mod types;
mod unknown;
pub mod value;
mod window;
mod zone;

pub use aggregate::{aggregate_functions, measure, sum_again};
pub use cast::{CastTarget, cast_target, pg_cast};
pub use datetime::Zone;
pub use error::{PgError, pg_error_of};
pub use input::{numeric_literal, parse_literal};
pub use library::{interval_span, scalar_functions};
pub use operator::{BinaryOperator, binary_operator, binary_type, operator_functions, pg_neg, unknown_operand_type};
pub use output::format_value;
pub use types::{BARE_NUMERIC, PgType, QUOTIENT, common_type, comparison_type, numeric_typmod};
pub use unknown::unknown_argument_type;
pub use window::window_functions;

#[cfg(test)]
mod aggregate_test;
#[cfg(test)]
mod golden_test;
#[cfg(test)]
mod query_test;
