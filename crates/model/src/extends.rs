//! `extends`: gives every cube and view what it inherits (semantics 1.15, V11).

use std::collections::HashMap;

use crate::definitions::{Definition, DefinitionKind, Item, Unnamed};
use crate::did_you_mean;
use crate::problems::Problems;
use crate::yaml::Node;

/// Parents above each other.
const PARENTS_MAX: usize = 32;

/// Merges every parent into its children; a missing parent, a circle or another kind is a problem.
pub(crate) fn resolve(definitions: &mut [Definition<'_>], problems: &mut Problems) {
    let by_name: HashMap<String, usize> =
        definitions.iter().enumerate().rev().map(|(index, definition)| (definition.name.clone(), index)).collect();
    let mut parents = Vec::with_capacity(definitions.len());
    for child in 0..definitions.len() {
        let parent = parent_of(child, definitions, &by_name, problems);
        definitions[child].incomplete |= parent.is_none() && definitions[child].fields.get("extends").is_some();
        parents.push(parent);
    }
    let mut done = vec![false; definitions.len()];
    for start in 0..definitions.len() {
        // From `start` up to the first one that is finished, or has no parent.
        let mut chain = vec![start];
        let mut broken = false;
        while let Some(parent) = chain.last().and_then(|child| parents[*child]) {
            // One more than allowed is enough to know; a longer walk would cost the square of the file.
            if done[*chain.last().unwrap_or(&start)] || chain.len() > PARENTS_MAX {
                break;
            }
            if let Some(position) = chain.iter().position(|seen| *seen == parent) {
                if chain[position..].iter().min() == Some(&start) {
                    report_circle(&chain[position..], definitions, problems);
                }
                broken = true;
                break;
            }
            chain.push(parent);
        }
        if broken {
            definitions[start].incomplete = true;
            continue;
        }
        if chain.len() > PARENTS_MAX {
            let definition = &definitions[start];
            problems.error(
                &definition.place,
                format!("{} has more than {PARENTS_MAX} parents above each other", definition.what()),
                "",
                "extend a base directly",
            );
            definitions[start].incomplete = true;
            continue;
        }
        for child in chain.into_iter().rev() {
            if done[child] {
                continue;
            }
            done[child] = true;
            if let Some(parent) = parents[child] {
                merge(child, parent, definitions, problems);
            }
        }
    }
}

fn parent_of(
    child: usize,
    definitions: &[Definition<'_>],
    by_name: &HashMap<String, usize>,
    problems: &mut Problems,
) -> Option<usize> {
    let definition = &definitions[child];
    let node: &Node = definition.fields.node("extends")?;
    let written = definition.fields.text("extends", problems)?;
    let name = written.trim().trim_start_matches('$').trim_start_matches('{').trim_end_matches('}').trim();
    let word = definition.kind.word();
    let Some(&parent) = by_name.get(name) else {
        let names = definitions.iter().filter(|other| other.kind == definition.kind).map(|other| other.name.as_str());
        let help = match did_you_mean::best(name, names) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("define a {word} \"{name}\", or delete `extends`"),
        };
        problems.error(
            &node.place,
            format!("{} extends \"{name}\", which does not exist", definition.what()),
            "",
            help,
        );
        return None;
    };
    if definitions[parent].kind != definition.kind {
        problems.error(
            &node.place,
            format!("{} extends {}", definition.what(), definitions[parent].what()),
            "",
            format!("a {word} can only extend a {word}"),
        );
        return None;
    }
    Some(parent)
}

fn report_circle(circle: &[usize], definitions: &[Definition<'_>], problems: &mut Problems) {
    let mut names: Vec<&str> = circle.iter().map(|index| definitions[*index].name.as_str()).collect();
    names.extend(names.first().copied());
    let first = &definitions[circle[0]];
    let place = first.fields.node("extends").map_or(&first.place, |node| &node.place);
    problems.error(
        place,
        format!("{} extends itself: {}", first.what(), names.join(" → ")),
        "",
        "delete one `extends` of this circle",
    );
}

/// Own things first; the parent's are added where the child has none of that name.
fn merge(child: usize, parent: usize, definitions: &mut [Definition<'_>], problems: &mut Problems) {
    let inherit = |items: &[Item<'_>], own: &[Item<'_>]| -> Vec<usize> {
        (0..items.len()).filter(|index| own.iter().all(|item| item.name != items[*index].name)).collect()
    };
    let Ok([child, parent]) = definitions.get_disjoint_mut([child, parent]) else { return };
    for (key, inherited) in &parent.sections {
        let own = child.sections.entry(key).or_default();
        let taken = inherit(inherited, own);
        let taken: Vec<Item<'_>> =
            taken.into_iter().map(|index| Item { inherited: true, ..inherited[index].clone() }).collect();
        match *key {
            // E2, E3: the order of joins and pre-aggregations decides, and own ones come first.
            "joins" | "pre_aggregations" => own.extend(taken),
            // Members read best in the parent's order, with the child's version in the place of what it replaces.
            _ => {
                let mut merged: Vec<Item<'_>> = Vec::with_capacity(own.len() + taken.len());
                for item in inherited {
                    match own.iter().find(|own| own.name == item.name) {
                        Some(replacement) => merged.push(replacement.clone()),
                        None => merged.push(Item { inherited: true, ..item.clone() }),
                    }
                }
                merged.extend(own.iter().filter(|item| inherited.iter().all(|other| other.name != item.name)).cloned());
                *own = merged;
            }
        }
    }
    child.incomplete |= parent.incomplete;
    remove_replaced_kinds(child);
    for (key, inherited) in &parent.lists {
        let inherited: Vec<Unnamed<'_>> =
            inherited.iter().map(|unnamed| Unnamed { node: unnamed.node, inherited: true }).collect();
        if *key == "folders" && child.kind == DefinitionKind::View {
            report_folder_twice(child, &inherited, problems);
        }
        let own = child.lists.entry(key).or_default();
        own.splice(0..0, inherited);
    }
    let inherited = child.fields.inherited_from(&parent.fields, |key| match key {
        "name" | "extends" => false,
        "sql" | "sql_table" => child.fields.get("sql").is_none() && child.fields.get("sql_table").is_none(),
        _ => true,
    });
    child.fields.extend(inherited);
}

/// A child may turn an inherited dimension into a measure: the child's kind of a name wins.
fn remove_replaced_kinds(child: &mut Definition<'_>) {
    let own: Vec<(&'static str, String)> = child
        .sections
        .iter()
        .filter(|(key, _)| **key != "joins")
        .flat_map(|(key, items)| items.iter().filter(|item| !item.inherited).map(|item| (*key, item.name.clone())))
        .collect();
    for (key, items) in &mut child.sections {
        if *key != "joins" {
            items.retain(|item| !item.inherited || !own.iter().any(|(other, name)| other != key && *name == item.name));
        }
    }
}

fn report_folder_twice(child: &Definition<'_>, inherited: &[Unnamed<'_>], problems: &mut Problems) {
    let name = |node: &Node| node.get("name").and_then(Node::scalar_text).map(str::to_owned);
    for own in child.list("folders") {
        let Some(own_name) = name(own.node) else { continue };
        if inherited.iter().any(|parent| name(parent.node).as_ref() == Some(&own_name)) {
            let place = own.node.get("name").map_or(&own.node.place, |node| &node.place);
            problems.error(
                place,
                format!("{} inherits a folder \"{own_name}\" already", child.what()),
                "",
                "give this folder another name",
            );
        }
    }
}
