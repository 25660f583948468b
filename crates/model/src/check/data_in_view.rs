//! A view's own member reads data itself instead of using members (V7).

use crate::problems::Problems;
use crate::walk::{dimension_templates, measure_templates};
use crate::{MeasureKind, SqlTemplate, TemplatePart, View, ViewMemberValue};

pub(crate) fn check(view: &View, problems: &mut Problems) {
    for (name, member) in &view.members {
        let (templates, needs_reference): (Vec<&SqlTemplate>, bool) = match &member.value {
            ViewMemberValue::Included { .. } => continue,
            ViewMemberValue::OwnDimension(dimension) => (dimension_templates(dimension), true),
            ViewMemberValue::OwnMeasure(measure) => {
                let calculated = matches!(
                    measure.kind,
                    MeasureKind::Number | MeasureKind::String | MeasureKind::Time | MeasureKind::Boolean
                );
                if !calculated && measure.details.multi_stage.is_none() {
                    problems.error(
                        &member.naming.place,
                        format!("measure \"{name}\" of view \"{}\" aggregates data itself", view.naming.name),
                        "",
                        "define it in a cube and include it; a view's own measures are calculated from others (`type: number`)",
                    );
                    continue;
                }
                (measure_templates(measure), measure.details.case_switch.is_none() && measure.sql.is_some())
            }
        };
        let has_reference =
            templates.iter().flat_map(|template| &template.parts).any(|part| matches!(part, TemplatePart::Member(_)));
        // A reference that could not be resolved is reported already.
        let has_broken_one = templates.iter().any(|template| template.text.contains('{'));
        if needs_reference && !has_reference && !has_broken_one {
            problems.error(
                &member.naming.place,
                format!("\"{name}\" of view \"{}\" uses no member", view.naming.name),
                "",
                "a view has no columns of its own: write `{member}` or `{cube.member}`",
            );
        }
    }
}
