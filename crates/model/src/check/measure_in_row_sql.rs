//! SQL that is computed for each row refers to a measure (R9).

use crate::check::Checked;
use crate::problems::Problems;
use crate::walk::{dimension_templates, member_refs, segment_templates};
use crate::{Cube, SqlTemplate};

pub(crate) fn check(cube: &Cube, checked: &Checked<'_>, problems: &mut Problems) {
    let name = &cube.naming.name;
    for (dimension_name, dimension) in &cube.dimensions {
        if dimension.details.sub_query || dimension.details.multi_stage.is_some() {
            continue;
        }
        problems.inherited = checked.is_inherited(name, dimension_name);
        let what = format!("dimension \"{dimension_name}\" of cube \"{name}\"");
        for sql in dimension_templates(dimension) {
            report(sql, &what, "add `sub_query: true` to compute the measure for each row", checked, problems);
        }
    }
    for (segment_name, segment) in &cube.segments {
        problems.inherited = checked.is_inherited(name, segment_name);
        let what = format!("segment \"{segment_name}\" of cube \"{name}\"");
        for sql in segment_templates(segment) {
            report(sql, &what, "use dimensions only, or filter the measure in the query (HAVING)", checked, problems);
        }
    }
    for (measure_name, measure) in &cube.measures {
        problems.inherited = checked.is_inherited(name, measure_name);
        let what = format!("a filter of measure \"{measure_name}\" of cube \"{name}\"");
        for sql in &measure.filters {
            report(sql, &what, "filters choose rows: use dimensions only", checked, problems);
        }
    }
    for join in &cube.joins {
        problems.inherited = checked.is_inherited_join(name, &join.target);
        let what = format!("the join from \"{name}\" to \"{}\"", join.target);
        report(&join.sql, &what, "join on dimensions or columns", checked, problems);
    }
    problems.inherited = false;
}

fn report(sql: &SqlTemplate, what: &str, help: &str, checked: &Checked<'_>, problems: &mut Problems) {
    for member in member_refs(sql).filter(|member| checked.is_measure(member)) {
        problems.error(
            &member.place,
            format!("{what} uses the measure \"{}.{}\"", member.cube(), member.member),
            "",
            help,
        );
    }
}
