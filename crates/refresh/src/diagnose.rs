//! What of a model's rollups can never be built or refreshed, found without asking anyone.

use belvedere_model::{IndexValue, Model, Place, RefreshKey};

use crate::refresh_key::Every;

/// What is wrong with a rollup's definition.
#[derive(Debug, Clone, PartialEq)]
pub struct RollupProblem {
    pub place: Place,
    pub message: String,
    pub help: String,
    /// It is built all the same.
    pub is_warning: bool,
}

/// All that is wrong, in the order of definition.
#[must_use]
pub fn rollup_problems(model: &Model) -> Vec<RollupProblem> {
    let mut problems = Vec::new();
    for cube in model.cubes.values() {
        if let Some(RefreshKey::Every { every, timezone }) = &cube.refresh_key
            && let Err(why) = Every::parse(every, timezone.as_deref())
        {
            let message = format!("the refresh key of cube \"{}\" cannot be used: {why}", cube.naming.name);
            let help = "write `every: 1 hour`, or a cron line such as `30 5 * * *`".to_owned();
            problems.push(RollupProblem { place: cube.naming.place.clone(), message, help, is_warning: false });
        }
        for rollup in cube.pre_aggregations.values() {
            let name = format!("{}.{}", cube.naming.name, rollup.naming.name);
            for index in rollup.indexes.iter().filter(|_| rollup.kind.stores_rows()) {
                if let IndexValue::Sql(_) = index.value {
                    problems.push(RollupProblem {
                        place: index.place.clone(),
                        message: format!(
                            "the index \"{}\" of \"{name}\" is SQL for a database, and is left out: rollups are kept as files",
                            index.name
                        ),
                        help: "name its `columns`, for a copy of the rows in that order".to_owned(),
                        is_warning: true,
                    });
                }
            }
            let mut problem = |place: &Place, message: String, help: &str| {
                let (place, help) = (place.clone(), help.to_owned());
                problems.push(RollupProblem { place, message, help, is_warning: false });
            };
            let Some(key) = &rollup.refresh_key else { continue };
            if let RefreshKey::Every { every, timezone } = &key.key
                && let Err(why) = Every::parse(every, timezone.as_deref())
            {
                let message = format!("the refresh key of \"{name}\" cannot be used: {why}");
                problem(&rollup.naming.place, message, "write `every: 1 hour`, or a cron line such as `30 5 * * *`");
            }
            if key.incremental && rollup.partition_granularity.is_none() {
                let message = format!("the refresh key of \"{name}\" is incremental, and it has no partitions");
                problem(&rollup.naming.place, message, "add `partition_granularity: month`, or delete `incremental`");
            }
        }
    }
    problems
}
