//! A member reads a column of another cube (R4): `{other}.column` instead of `{other.member}`.

use crate::references::References;

/// Reports each use of another cube's alias in the SQL of `what`.
pub(crate) fn check(what: &str, references: &mut References<'_>) {
    for (cube, place) in std::mem::take(&mut references.aliases) {
        references.problems.error(
            &place,
            format!("{what} reads columns of cube \"{cube}\""),
            "",
            format!("define a dimension in \"{cube}\" and write `{{{cube}.dimension}}`; for this cube's own columns write `{{CUBE}}`"),
        );
    }
}
