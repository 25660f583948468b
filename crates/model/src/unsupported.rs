//! Marks every member whose SQL leads to something that is not executed yet, however far away.

use std::collections::{HashMap, HashSet};

use crate::walk::{dimension_templates, measure_templates, segment_templates};
use crate::{Cube, Model, Relation, SqlTemplate, TemplatePart, Unsupported, ViewMemberValue};

/// Cube and member.
type Key = (String, String);

pub(crate) fn spread(model: &mut Model) {
    spread_cubes(model);
    let cubes: HashMap<String, Unsupported> =
        model.cubes.iter().filter_map(|(name, cube)| Some((name.clone(), cube.unsupported.clone()?))).collect();
    let members = members(model, &cubes);
    for cube in model.cubes.values_mut() {
        let name = cube.naming.name.clone();
        let found = |member: &str| members.get(&(name.clone(), member.to_owned())).cloned();
        for (member, dimension) in &mut cube.dimensions {
            dimension.unsupported = dimension.unsupported.take().or_else(|| found(member));
        }
        for (member, measure) in &mut cube.measures {
            measure.unsupported = measure.unsupported.take().or_else(|| found(member));
        }
        for (member, segment) in &mut cube.segments {
            segment.unsupported = segment.unsupported.take().or_else(|| found(member));
        }
        for join in &mut cube.joins {
            join.unsupported = join.unsupported.take().or_else(|| of_template(&join.sql, &name, &members, &cubes));
        }
    }
    for view in model.views.values_mut() {
        for member in view.members.values_mut() {
            match &mut member.value {
                ViewMemberValue::Included { .. } => {}
                ViewMemberValue::OwnDimension(dimension) => {
                    let found = dimension_templates(dimension)
                        .into_iter()
                        .find_map(|sql| of_template(sql, "", &members, &cubes));
                    dimension.unsupported = dimension.unsupported.take().or(found);
                }
                ViewMemberValue::OwnMeasure(measure) => {
                    let found =
                        measure_templates(measure).into_iter().find_map(|sql| of_template(sql, "", &members, &cubes));
                    measure.unsupported = measure.unsupported.take().or(found);
                }
            }
        }
    }
}

/// A cube whose SQL embeds another cube's is as little served as that one.
fn spread_cubes(model: &mut Model) {
    loop {
        let found: Vec<(String, Unsupported)> = model
            .cubes
            .values()
            .filter(|cube| cube.unsupported.is_none())
            .filter_map(|cube| {
                let (Relation::Table(sql) | Relation::Query(sql)) = &cube.relation;
                let embedded = sql.parts.iter().find_map(|part| match part {
                    TemplatePart::CubeSql(other) => {
                        let other = model.cubes.get(other)?;
                        // Its policies do not come along with its text: whoever embeds it says who may see that.
                        let unguarded = other.access_policies.first().filter(|_| cube.access_policies.is_empty());
                        let unguarded = unguarded.map(|policy| Unsupported {
                            feature: format!(
                                "the SQL of cube \"{}\", which has an access_policy, without one of its own",
                                other.naming.name
                            ),
                            place: policy.place.clone(),
                        });
                        other.unsupported.clone().or(unguarded)
                    }
                    _ => None,
                });
                Some((cube.naming.name.clone(), embedded?))
            })
            .collect();
        if found.is_empty() {
            return;
        }
        for (name, unsupported) in found {
            if let Some(cube) = model.cubes.get_mut(&name) {
                cube.unsupported = Some(unsupported);
            }
        }
    }
}

/// Every member that is not executed, or leads to one that is not.
fn members(model: &Model, cubes: &HashMap<String, Unsupported>) -> HashMap<Key, Unsupported> {
    let mut found: HashMap<Key, Unsupported> = HashMap::new();
    let mut users: HashMap<Key, HashSet<Key>> = HashMap::new();
    for cube in model.cubes.values() {
        for (name, templates, own) in members_of(cube) {
            let key = (cube.naming.name.clone(), name.to_owned());
            let nothing = HashMap::new();
            let direct =
                own.or_else(|| templates.iter().find_map(|sql| of_template(sql, &cube.naming.name, &nothing, cubes)));
            if let Some(unsupported) = direct {
                found.insert(key.clone(), unsupported);
            }
            for member in templates.iter().flat_map(|sql| crate::walk::member_refs(sql)) {
                users.entry((member.cube().to_owned(), member.member.clone())).or_default().insert(key.clone());
            }
        }
    }
    let mut todo: Vec<Key> = found.keys().cloned().collect();
    while let Some(key) = todo.pop() {
        let Some(unsupported) = found.get(&key).cloned() else { continue };
        for user in users.get(&key).into_iter().flatten() {
            if !found.contains_key(user) {
                found.insert(user.clone(), unsupported.clone());
                todo.push(user.clone());
            }
        }
    }
    found
}

type MemberParts<'c> = (&'c str, Vec<&'c SqlTemplate>, Option<Unsupported>);

fn members_of(cube: &Cube) -> Vec<MemberParts<'_>> {
    let dimensions =
        cube.dimensions.iter().map(|(name, d)| (name.as_str(), dimension_templates(d), d.unsupported.clone()));
    let measures = cube.measures.iter().map(|(name, m)| (name.as_str(), measure_templates(m), m.unsupported.clone()));
    let segments = cube.segments.iter().map(|(name, s)| (name.as_str(), segment_templates(s), s.unsupported.clone()));
    dimensions.chain(measures).chain(segments).collect()
}

/// What a template of cube `own` leads to, one step away.
fn of_template(
    sql: &SqlTemplate,
    own: &str,
    members: &HashMap<Key, Unsupported>,
    cubes: &HashMap<String, Unsupported>,
) -> Option<Unsupported> {
    sql.parts.iter().find_map(|part| match part {
        TemplatePart::Text(_) | TemplatePart::ThisCube | TemplatePart::Context(_) | TemplatePart::Parameter(_) => None,
        TemplatePart::Cube(cube) | TemplatePart::CubeSql(cube) => cubes.get(cube).cloned(),
        TemplatePart::Member(member) => {
            let path = member.path.iter().filter(|cube| *cube != own).find_map(|cube| cubes.get(cube));
            let member = || members.get(&(member.cube().to_owned(), member.member.clone()));
            path.or_else(member).cloned()
        }
    })
}
