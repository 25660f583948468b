//! Two members of a view have the same name (V4).

use crate::problems::Problems;
use crate::{View, ViewMember, ViewMemberValue};

/// Adds `member` under `name`, or says what is there already.
pub(crate) fn insert(view: &mut View, name: String, member: ViewMember, problems: &mut Problems) {
    let Some(first) = view.members.get(&name) else {
        view.members.insert(name, member);
        return;
    };
    if same_source(&first.value, &member.value) {
        return;
    }
    let help = match &member.value {
        ViewMemberValue::Included { path, .. } => {
            let cube = path.last().map_or("", String::as_str);
            format!(
                "add `prefix: true` to name it \"{cube}_{name}\", give it an `alias`, or leave it out by `excludes`"
            )
        }
        ViewMemberValue::OwnDimension(_) | ViewMemberValue::OwnMeasure(_) => "rename it".to_owned(),
    };
    problems.error(
        &member.naming.place,
        format!("view \"{}\" has a member \"{name}\" already", view.naming.name),
        format!("this is {}, the other is {}", origin(&member.value), origin(&first.value)),
        help,
    );
}

/// The same member twice by the same path is no contradiction.
fn same_source(first: &ViewMemberValue, second: &ViewMemberValue) -> bool {
    matches!((first, second), (ViewMemberValue::Included { .. }, ViewMemberValue::Included { .. })) && first == second
}

fn origin(value: &ViewMemberValue) -> String {
    match value {
        ViewMemberValue::Included { path, member } => format!("`{}.{member}`", path.join(".")),
        ViewMemberValue::OwnDimension(_) | ViewMemberValue::OwnMeasure(_) => "the view's own".to_owned(),
    }
}
