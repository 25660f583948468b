//! A value of an access policy's filter, or of a default filter, that nobody can resolve.

use crate::problems::Problems;
use crate::{FilterCondition, ModelFilter, parse_value};

pub(crate) fn check(filters: &[ModelFilter], problems: &mut Problems) {
    for filter in filters {
        match &filter.condition {
            FilterCondition::And(inner) | FilterCondition::Or(inner) => check(inner, problems),
            FilterCondition::Member { values, .. } => {
                for reason in values.iter().flatten().filter_map(|value| parse_value(value).err()) {
                    problems.error(
                        &filter.place,
                        format!("a value of this filter cannot be read: {reason}"),
                        "",
                        "a literal brace is written `\\{` or `\\}`",
                    );
                }
            }
        }
    }
}
