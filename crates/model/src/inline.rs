//! Writes a view's own members out, so that they refer to cubes' members only.
//!
//! `{margin}` in another member of the same view becomes the SQL of `margin` in parentheses.

use std::collections::HashMap;

use crate::problems::Problems;
use crate::{DimensionValue, Place, SqlTemplate, TemplatePart, Unsupported, View, ViewMember, ViewMemberValue};

/// Members inside each other.
const DEPTH_MAX: usize = 32;
/// Parts of one member, written out: doubling chains must not fill the memory.
const PARTS_MAX: usize = 10_000;

pub(crate) fn inline_own_members(view: &mut View, problems: &mut Problems) {
    let view_name = view.naming.name.clone();
    let mut done: HashMap<String, Written> = HashMap::new();
    let names: Vec<String> = view.members.keys().cloned().collect();
    for name in &names {
        let mut open = Vec::new();
        write_out(name, &view_name, &view.members, &mut open, &mut done, problems);
    }
    for (name, written) in done {
        match view.members.get_mut(&name).map(|member| &mut member.value) {
            Some(ViewMemberValue::OwnMeasure(measure)) => {
                measure.sql = measure.sql.take().map(|sql| SqlTemplate { parts: written.parts, ..sql });
                measure.unsupported = measure.unsupported.take().or(written.unsupported);
            }
            Some(ViewMemberValue::OwnDimension(dimension)) => {
                if let DimensionValue::Sql(sql) = &mut dimension.value {
                    sql.parts = written.parts;
                }
                dimension.unsupported = dimension.unsupported.take().or(written.unsupported);
            }
            Some(ViewMemberValue::Included { .. }) | None => {}
        }
    }
}

#[derive(Debug, Clone)]
struct Written {
    parts: Vec<TemplatePart>,
    unsupported: Option<Unsupported>,
}

/// The SQL of an own member, with the own members in it written out; `None` for included ones and after a problem.
fn write_out(
    name: &str,
    view: &str,
    members: &indexmap::IndexMap<String, ViewMember>,
    open: &mut Vec<String>,
    done: &mut HashMap<String, Written>,
    problems: &mut Problems,
) -> Option<Written> {
    if let Some(written) = done.get(name) {
        return Some(written.clone());
    }
    let member = members.get(name)?;
    let (sql, unsupported): (Option<&SqlTemplate>, _) = match &member.value {
        ViewMemberValue::Included { .. } => return None,
        ViewMemberValue::OwnMeasure(measure) => (measure.sql.as_ref(), measure.unsupported.clone()),
        ViewMemberValue::OwnDimension(dimension) => {
            let sql = if let DimensionValue::Sql(sql) = &dimension.value { Some(sql) } else { None };
            (sql, dimension.unsupported.clone())
        }
    };
    let mut written = Written { parts: Vec::new(), unsupported };
    let Some(sql) = sql else {
        // `case` and the like are not SQL that could be put into other SQL.
        let place = member.naming.place.clone();
        let case = Unsupported { feature: format!("the view's own member \"{name}\" inside another"), place };
        return Some(Written { unsupported: written.unsupported.or(Some(case)), ..written });
    };
    open.push(name.to_owned());
    for part in &sql.parts {
        match part {
            TemplatePart::Member(member) if member.path == [view] => {
                if !can_open(&member.member, &member.place, view, open, problems) {
                    continue;
                }
                let Some(inner) = write_out(&member.member, view, members, open, done, problems) else { continue };
                written.unsupported = written.unsupported.or(inner.unsupported);
                written.parts.push(TemplatePart::Text("(".to_owned()));
                written.parts.extend(inner.parts);
                written.parts.push(TemplatePart::Text(")".to_owned()));
            }
            other => written.parts.push(other.clone()),
        }
        if written.parts.len() > PARTS_MAX {
            problems.error(
                &sql.place,
                format!("\"{name}\" of view \"{view}\" is too large when written out"),
                "",
                "define its parts in a cube",
            );
            break;
        }
    }
    open.pop();
    done.insert(name.to_owned(), written.clone());
    Some(written)
}

fn can_open(name: &str, place: &Place, view: &str, open: &[String], problems: &mut Problems) -> bool {
    if let Some(from) = open.iter().position(|other| other == name) {
        let circle = open[from..].join(" → ");
        problems.error(
            place,
            format!("members of view \"{view}\" refer to each other in a circle: {circle} → {name}"),
            "",
            "compute one of them from cubes' members",
        );
        return false;
    }
    if open.len() >= DEPTH_MAX {
        problems.error(
            place,
            format!("more than {DEPTH_MAX} members of view \"{view}\" inside each other"),
            "",
            "define some of them in a cube",
        );
        return false;
    }
    true
}
