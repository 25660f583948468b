//! A filter of a view or an access policy names a member that is not there.

use crate::did_you_mean;
use crate::problems::Problems;
use crate::{FilterCondition, ModelFilter};

/// `names` are the members of the cube or view `owner`. Paths through other cubes are left to those who execute filters.
pub(crate) fn check(filters: &[ModelFilter], owner: &str, names: &[&str], problems: &mut Problems) {
    for filter in filters {
        match &filter.condition {
            FilterCondition::And(inner) | FilterCondition::Or(inner) => check(inner, owner, names, problems),
            FilterCondition::Member { member, unless, .. } => {
                for written in std::iter::once(member).chain(unless) {
                    let name = match written.split_once('.') {
                        None => written,
                        Some((first, name)) if [owner, "CUBE", "TABLE"].contains(&crate::references::bare(first)) => {
                            name
                        }
                        Some(_) => continue,
                    };
                    if names.contains(&name) {
                        continue;
                    }
                    let help = match did_you_mean::best(name, names.iter().copied()) {
                        Some(close) => format!("did you mean `{close}`?"),
                        None => format!("name a member of \"{owner}\""),
                    };
                    problems.error(
                        &filter.place,
                        format!("a filter names \"{name}\", which \"{owner}\" does not have"),
                        "",
                        help,
                    );
                }
            }
        }
    }
}
