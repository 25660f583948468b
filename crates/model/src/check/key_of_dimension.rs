//! A dimension's `key` is in another cube, or has a key itself (DP10).

use crate::Cube;
use crate::check::Checked;
use crate::problems::Problems;

pub(crate) fn check(cube: &Cube, checked: &Checked<'_>, problems: &mut Problems) {
    let name = &cube.naming.name;
    for (dimension_name, dimension) in &cube.dimensions {
        let Some(key) = &dimension.details.key else { continue };
        problems.inherited = checked.is_inherited(name, dimension_name);
        let what = format!("the key of dimension \"{dimension_name}\" of cube \"{name}\"");
        if key.cube() != name {
            problems.error(
                &key.place,
                format!("{what} is in cube \"{}\"", key.cube()),
                "",
                "name a dimension of the same cube",
            );
        } else if cube.dimensions.get(&key.member).is_some_and(|target| target.details.key.is_some()) {
            problems.error(
                &key.place,
                format!("{what} has a key itself"),
                "",
                "name the dimension that identifies the value directly",
            );
        }
    }
    problems.inherited = false;
}
