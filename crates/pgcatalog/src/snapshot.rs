//! What the catalog is made from: the relations, users and settings that one principal may see, in neutral words.

use std::net::IpAddr;

/// Everything visible that does not change from session to session.
///
/// It is the caller's task to put in only what the principal may see: the catalog shows all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogSnapshot {
    /// The relations of schema `public`, in any order; names must be unique.
    pub relations: Vec<CatalogRelation>,
    /// Databases beside the session's own, which is always listed.
    pub databases: Vec<String>,
    /// Login roles beside the session's own, which is always listed. The owner `belvedere` is added.
    pub users: Vec<String>,
    /// Settings with their default values, for `pg_settings` and `current_setting`.
    pub settings: Vec<CatalogSetting>,
    /// What `version()` answers, for example `PostgreSQL 15.0 (Belvedere 0.1.0)`.
    pub version: String,
}

/// One relation of schema `public`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogRelation {
    pub name: String,
    pub kind: RelationKind,
    pub comment: Option<String>,
    pub columns: Vec<CatalogColumn>,
}

/// How a relation is listed.
///
/// Views of the model are `View` (relkind `v`, `\dv`), cubes are `Table` (relkind `r`, `\dt`): tools that list only one of
/// the two kinds still find something to query, and the list shows which is which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    View,
    Table,
}

/// One column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogColumn {
    pub name: String,
    /// PostgreSQL's name of the type, internal or SQL: `int8`, `bigint`, `timestamp`, `numeric(12,2)`, `text[]`. A modifier
    /// written here counts when `typmod` is -1. An unknown name shows as `text`.
    pub pg_type: String,
    /// PostgreSQL's type modifier, -1 for none.
    pub typmod: i32,
    pub nullable: bool,
    pub comment: Option<String>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogSetting {
    pub name: String,
    pub value: String,
    pub description: String,
}

/// What is true of one session only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFacts {
    pub user: String,
    pub database: String,
    pub backend_pid: i32,
    pub client: Option<(IpAddr, u16)>,
    pub server: Option<(IpAddr, u16)>,
    pub application_name: String,
    /// Schemas searched for unqualified names after `pg_catalog`, `$user` already resolved or left out.
    pub search_path: Vec<String>,
    /// Settings whose value in this session differs from the snapshot's.
    pub settings: Vec<(String, String)>,
    /// Now, in microseconds since 1970-01-01 UTC: the clock is the caller's.
    pub now_us: i64,
    /// When the server started, in microseconds since 1970-01-01 UTC.
    pub server_started_us: i64,
    /// The rows of our own tables.
    pub own_tables: crate::OwnTables,
}

impl SessionFacts {
    /// A session of `user` in `database` with PostgreSQL's defaults for the rest; times are zero.
    #[must_use]
    pub fn new(user: impl Into<String>, database: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            database: database.into(),
            backend_pid: 0,
            client: None,
            server: None,
            application_name: String::new(),
            search_path: vec!["public".to_owned()],
            settings: Vec::new(),
            now_us: 0,
            server_started_us: 0,
            own_tables: crate::OwnTables::default(),
        }
    }
}
