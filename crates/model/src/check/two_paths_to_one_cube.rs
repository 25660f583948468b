//! Under one root, a view reaches one cube by two paths (V6); different roots may reach it differently.

use std::collections::HashMap;

use crate::problems::Problems;
use crate::read::include::Include;

pub(crate) fn check(view: &str, includes: &[Include], problems: &mut Problems) {
    let mut seen: HashMap<(&str, &str), &[String]> = HashMap::new();
    for include in includes {
        let Some(root) = include.path.first() else { continue };
        for end in 1..=include.path.len() {
            let path = &include.path[..end];
            let Some(cube) = path.last() else { continue };
            let first = *seen.entry((root, cube)).or_insert(path);
            if first != path {
                problems.inherited = include.inherited;
                problems.error(
                    &include.path_place,
                    format!("view \"{view}\" reaches cube \"{cube}\" by two paths"),
                    format!("by `{}` here, by `{}` before", path.join("."), first.join(".")),
                    format!("keep one path, or define a cube that `extends: {cube}` and join that"),
                );
                problems.inherited = false;
                break;
            }
        }
    }
}
