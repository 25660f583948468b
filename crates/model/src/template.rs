//! SQL as model files write it: text with `{references}` in it, resolved when the model is loaded.

use crate::{Place, SqlParameter};

/// A piece of SQL in the dialect of its cube's data source, with its references resolved.
///
/// The references are names of cubes and members that exist: loading refuses everything else.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlTemplate {
    pub parts: Vec<TemplatePart>,
    /// Where the text starts.
    pub place: Place,
    /// The text as the user wrote it, for messages.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum TemplatePart {
    /// Literal SQL, braces already unescaped.
    Text(String),
    /// `{CUBE}`, or the cube's own name: the alias of the cube that owns this SQL (after `extends`: of the child).
    ThisCube,
    /// `{other}`: the alias of another cube.
    Cube(String),
    /// `{member}`, `{CUBE.member}`, `{other.member}`, `{a.b.c.member}`, each with an optional granularity.
    Member(MemberRef),
    /// `{other.sql()}`: the other cube's SQL text, as a sub-query.
    CubeSql(String),
    /// In their documented forms: `FILTER_PARAMS` and `FILTER_GROUP` in the SQL of cubes and members, `SECURITY_CONTEXT` in that of cubes,
    /// `SQL_UTILS.convertTz` in that of members.
    Parameter(SqlParameter),
    /// `FILTER_PARAMS`, `FILTER_GROUP`, `SECURITY_CONTEXT`, `COMPILE_CONTEXT`, `SQL_UTILS`, lambdas: read, not executed yet.
    /// Using a member or cube that contains one is an error that quotes this text.
    Context(String),
}

/// A reference to a member of some cube.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberRef {
    /// The cubes to walk, the last one owns the member. A reference to an own member has just this cube.
    pub path: Vec<String>,
    pub member: String,
    /// `{time_dim.month}`.
    pub granularity: Option<String>,
    pub place: Place,
}

impl MemberRef {
    /// The cube that owns the member.
    #[must_use]
    pub fn cube(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }
}
