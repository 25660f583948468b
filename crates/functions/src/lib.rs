//! PostgreSQL's operators, functions, casts and aggregates as DataFusion functions: checked, and typed as PostgreSQL types them.

/// Key of the field metadata that says which PostgreSQL type a column has where its Arrow type alone does not: `uuid`, `json`,
/// `jsonb`, `bit`, `name`, `oid`, ….
pub const PG_TYPE: &str = "belvedere.pg_type";
