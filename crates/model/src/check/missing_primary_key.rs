//! A cube is joined, has measures that joins may repeat, and no primary key to count each row once by (J6); or a sub-query dimension
//! and no key to compute it for (SQ2).

use std::collections::HashMap;

use crate::check::Checked;
use crate::problems::Problems;
use crate::{MeasureKind, Model};

const ADD_KEY: &str = "add `primary_key: true` to the dimension, or the dimensions, that identify a row";

pub(crate) fn check(model: &Model, checked: &Checked<'_>, problems: &mut Problems) {
    let mut joined_by: HashMap<&str, &str> = HashMap::new();
    for (name, cube) in &model.cubes {
        for join in &cube.joins {
            joined_by.entry(&join.target).or_insert(name);
        }
    }
    for (name, cube) in &model.cubes {
        let has_key = cube.primary_key().next().is_some();
        // A dimension that could not be read may be the key.
        if has_key || checked.has_unread_dimensions(cube) {
            continue;
        }
        if let Some(dimension) = cube.dimensions.values().find(|dimension| dimension.details.sub_query) {
            problems.error(
                &dimension.naming.place,
                format!("cube \"{name}\" has a `sub_query` dimension and no primary key"),
                "its value is computed for each key",
                ADD_KEY,
            );
            continue;
        }
        let partner = cube.joins.first().map(|join| join.target.as_str());
        let partner = partner.or_else(|| joined_by.get(name.as_str()).copied());
        let Some(partner) = partner else { continue };
        let needs_key =
            |kind| matches!(kind, MeasureKind::Sum | MeasureKind::Avg | MeasureKind::Count | MeasureKind::Number);
        let Some(measure) = cube.measures.values().find(|measure| needs_key(measure.kind)) else { continue };
        problems.error(
            &cube.naming.place,
            format!("cube \"{name}\" is joined with \"{partner}\" and has no primary key"),
            format!("measure \"{}\" could count a row more than once", measure.naming.name),
            ADD_KEY,
        );
    }
}
