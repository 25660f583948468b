//! A measure aggregates another measure, which is aggregated already.

use crate::check::Checked;
use crate::problems::Problems;
use crate::walk::member_refs;
use crate::{Cube, MeasureKind};

pub(crate) fn check(cube: &Cube, checked: &Checked<'_>, problems: &mut Problems) {
    let name = &cube.naming.name;
    for (measure_name, measure) in &cube.measures {
        let word = match measure.kind {
            MeasureKind::Count => "count",
            MeasureKind::CountDistinct => "count_distinct",
            MeasureKind::CountDistinctApprox => "count_distinct_approx",
            MeasureKind::Sum => "sum",
            MeasureKind::Avg => "avg",
            MeasureKind::Min => "min",
            MeasureKind::Max => "max",
            MeasureKind::RunningTotal => "running_total",
            MeasureKind::Number
            | MeasureKind::String
            | MeasureKind::Time
            | MeasureKind::Boolean
            | MeasureKind::NumberAgg
            | MeasureKind::Rank => continue,
        };
        if measure.details.multi_stage.is_some() {
            continue;
        }
        problems.inherited = checked.is_inherited(name, measure_name);
        for member in measure.sql.iter().flat_map(member_refs).filter(|member| checked.is_measure(member)) {
            problems.error(
                &member.place,
                format!(
                    "measure \"{measure_name}\" of cube \"{name}\" is a `{word}` of the measure \"{}.{}\"",
                    member.cube(),
                    member.member
                ),
                "this is aggregated already",
                "write `type: number` to calculate with measures, or name a dimension or column to aggregate",
            );
        }
    }
    problems.inherited = false;
}
