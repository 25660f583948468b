//! All SQL of a member, and all members that it uses.

use crate::{CaseLabel, Dimension, DimensionValue, Measure, MemberRef, Segment, SqlTemplate, TemplatePart};

/// The SQL that decides a dimension's values, in the order of the file; masks and time shifts are not among it.
#[must_use]
pub fn dimension_templates(dimension: &Dimension) -> Vec<&SqlTemplate> {
    let mut templates = Vec::new();
    match &dimension.value {
        DimensionValue::Sql(sql) => templates.push(sql),
        DimensionValue::Case { whens, otherwise } => {
            for (when, then) in whens {
                templates.push(when);
                templates.extend(label_template(then));
            }
            templates.extend(otherwise.iter().filter_map(label_template));
        }
        DimensionValue::Geo { latitude, longitude } => templates.extend([latitude, longitude]),
        DimensionValue::Switch { .. } => {}
    }
    if let Some(case) = &dimension.details.case_switch {
        templates.extend(case.whens.iter().map(|(_, sql)| sql).chain(&case.otherwise));
    }
    templates
}

fn label_template(label: &CaseLabel) -> Option<&SqlTemplate> {
    match label {
        CaseLabel::Sql(sql) => Some(sql),
        CaseLabel::Text(_) => None,
    }
}

/// The SQL that decides a measure's values, filters included.
pub(crate) fn measure_templates(measure: &Measure) -> Vec<&SqlTemplate> {
    let mut templates: Vec<&SqlTemplate> = measure.sql.iter().chain(&measure.filters).collect();
    if let Some(case) = &measure.details.case_switch {
        templates.extend(case.whens.iter().map(|(_, sql)| sql).chain(&case.otherwise));
    }
    if let Some(stage) = &measure.details.multi_stage {
        templates.extend(stage.order_by.iter().map(|(sql, _)| sql));
    }
    templates
}

pub(crate) fn segment_templates(segment: &Segment) -> Vec<&SqlTemplate> {
    vec![&segment.sql]
}

/// The members that a template refers to.
pub(crate) fn member_refs(template: &SqlTemplate) -> impl Iterator<Item = &MemberRef> {
    template.parts.iter().filter_map(|part| if let TemplatePart::Member(member) = part { Some(member) } else { None })
}
