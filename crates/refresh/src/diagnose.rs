//! What of a model's rollups can never be built or refreshed, found without asking anyone.

use belvedere_model::{IndexKind, IndexValue, Model, Place, RefreshKey};

use crate::refresh_key::Every;

/// What is wrong with a rollup's definition.
#[derive(Debug, Clone, PartialEq)]
pub struct RollupProblem {
    pub place: Place,
    pub message: String,
    pub help: String,
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
            problems.push(RollupProblem { place: cube.naming.place.clone(), message, help });
        }
        for rollup in cube.pre_aggregations.values() {
            let name = format!("{}.{}", cube.naming.name, rollup.naming.name);
            let mut problem = |place: &Place, message: String, help: &str| {
                problems.push(RollupProblem { place: place.clone(), message, help: help.to_owned() });
            };
            for index in rollup.indexes.iter().filter(|_| rollup.kind.stores_rows()) {
                if index.kind == IndexKind::Aggregate {
                    let message =
                        format!("the index \"{}\" of \"{name}\" aggregates, which is not supported yet", index.name);
                    problem(&index.place, message, "make it a regular index, or define a coarser rollup");
                }
                if let IndexValue::Sql(_) = index.value {
                    let message =
                        format!("the index \"{}\" of \"{name}\" is given by SQL, which is not supported", index.name);
                    problem(&index.place, message, "name its `columns`");
                }
            }
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
