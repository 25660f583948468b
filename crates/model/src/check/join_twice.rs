//! A cube declares two joins to the same cube (J5).

use std::collections::HashMap;

use crate::definitions::Definition;
use crate::problems::Problems;

pub(crate) fn check(definition: &Definition<'_>, problems: &mut Problems) {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for item in definition.section("joins").iter().filter(|item| !item.inherited) {
        if let Some(line) = seen.get(item.name.as_str()) {
            problems.error(
                &item.place,
                format!("cube \"{}\" joins \"{}\" more than once", definition.name, item.name),
                format!("the first join is on line {line}"),
                format!("to join it twice, define a cube that `extends: {}` and join that", item.name),
            );
        } else {
            seen.insert(&item.name, item.place.line);
        }
    }
}
