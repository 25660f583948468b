//! A join's condition reads columns of a cube that is on neither side; members of third cubes are fine (J4).

use crate::references::References;

pub(crate) fn check(what: &str, target: &str, references: &mut References<'_>) {
    for (cube, place) in std::mem::take(&mut references.aliases) {
        if cube != target {
            references.problems.error(
                &place,
                format!("the {what} reads columns of cube \"{cube}\", which is on neither side"),
                "",
                format!("use `{{CUBE}}` and `{{{target}}}`; in a cube that others extend, `{{CUBE}}` means the child"),
            );
        }
    }
}
