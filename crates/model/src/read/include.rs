//! One entry of a view's `cubes`: its join path, and which members of the last cube it takes under which names (V1 to V5).

use crate::Place;
use crate::did_you_mean;
use crate::read::fields::{Fields, Vocabulary, text_of};
use crate::references::{References, bare};
use crate::spelling::{is_identifier, one_of};
use crate::yaml::Node;

/// An entry of `cubes`, its names resolved.
#[derive(Debug)]
pub(crate) struct Include {
    /// The cubes of the join path, the first is the root.
    pub(crate) path: Vec<String>,
    pub(crate) members: Vec<IncludedMember>,
    /// Names of `excludes`: hierarchies do not bring them back.
    pub(crate) excluded: Vec<String>,
    pub(crate) split: bool,
    /// From a parent view, which reports what is wrong with it.
    pub(crate) inherited: bool,
}

/// A member of the last cube, and what the view says differently.
#[derive(Debug)]
pub(crate) struct IncludedMember {
    pub(crate) member: String,
    /// With prefix or alias.
    pub(crate) name: String,
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) format: Option<serde_json::Value>,
    pub(crate) meta: Option<serde_json::Value>,
    /// Of the name in `includes`, or of `*`.
    pub(crate) place: Place,
}

pub(crate) fn include(node: &Node, view: &str, references: &mut References<'_>) -> Option<Include> {
    const INCLUDE: Vocabulary =
        Vocabulary { keys: &["join_path", "includes", "excludes", "prefix", "alias", "split"], legacy: &[] };
    let what = format!("an entry of `cubes` of view \"{view}\"");
    let fields = Fields::read(node, &what, INCLUDE, references.problems)?;
    let Some(path_node) = fields.node("join_path") else {
        references.problems.error(
            &node.place,
            format!("{what} has no join path"),
            "no `join_path` here",
            "add `join_path: cube`, or `join_path: cube.joined_cube`",
        );
        return None;
    };
    let path = path(path_node, &what, references)?;
    let cube = path.last()?.clone();
    let prefix = fields.boolean("prefix", references.problems).unwrap_or(false);
    let split = fields.boolean("split", references.problems).unwrap_or(false);
    if let Some(entry) = fields.get("split")
        && split
        && prefix
    {
        references.problems.error(
            &entry.key_place,
            format!("{what} has both `prefix` and `split`"),
            "",
            "delete one of them",
        );
    }
    let alias = fields.text("alias", references.problems);
    if let (Some(node), Some(alias)) = (fields.node("alias"), &alias)
        && !is_identifier(alias)
    {
        references.problems.error(
            &node.place,
            format!("\"{alias}\" cannot be an alias"),
            "",
            "an alias begins with a letter or `_`, and goes on with letters, digits and `_`",
        );
        return None;
    }
    let prefix = prefix.then(|| format!("{}_", alias.as_deref().unwrap_or(&cube)));
    let excluded = excluded(&fields, &cube, references);
    let mut members = selected(&fields, &cube, &what, references);
    members.retain(|member| !excluded.contains(&member.member));
    if let Some(prefix) = prefix {
        for member in &mut members {
            member.name = format!("{prefix}{}", member.name);
        }
    }
    Some(Include { path, members, excluded, split, inherited: false })
}

/// Each cube exists, and each joins the next.
pub(crate) fn path(node: &Node, what: &str, references: &mut References<'_>) -> Option<Vec<String>> {
    let text = text_of(node, &format!("`join_path` of {what}"), references.problems)?;
    let names: Vec<String> = bare(text).split('.').map(|name| name.trim().to_owned()).collect();
    for name in &names {
        if !references.symbols.cubes.contains_key(name) {
            references.unknown_cube(name, &node.place);
            return None;
        }
    }
    for hop in names.windows(2) {
        let [from, to] = hop else { continue };
        if !references.symbols.cubes.get(from).is_some_and(|cube| cube.joins.contains(to)) {
            references.no_such_join(from, to, &node.place);
            return None;
        }
    }
    Some(names)
}

fn excluded(fields: &Fields<'_>, cube: &str, references: &mut References<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for node in fields.texts("excludes", references.problems) {
        let name = node.scalar_text().unwrap_or_default();
        if references.symbols.member(cube, name).is_none() {
            unknown(name, cube, &node.place, references);
        }
        names.push(name.to_owned());
    }
    names
}

fn selected(fields: &Fields<'_>, cube: &str, what: &str, references: &mut References<'_>) -> Vec<IncludedMember> {
    let symbols = references.symbols;
    let all = |place: &Place| -> Vec<IncludedMember> {
        let members = symbols.cubes.get(cube).into_iter().flat_map(|cube| cube.members.keys());
        members.map(|member| plain(member, place)).collect()
    };
    let Some(entry) = fields.get("includes") else {
        references.problems.error(
            &fields.place,
            format!("{what} does not say which members to include"),
            "no `includes` here",
            "add `includes: '*'`, or a list of members",
        );
        return Vec::new();
    };
    if entry.value.scalar_text() == Some("*") {
        return all(&entry.value.place);
    }
    let mut members = Vec::new();
    for node in fields.list("includes", references.problems) {
        if node.scalar_text() == Some("*") {
            members.extend(all(&node.place));
            continue;
        }
        let Some(member) = included(node, cube, what, references) else { continue };
        match symbols.member(cube, &member.member) {
            None => unknown(&member.member, cube, &member.place, references),
            _ => members.push(member),
        }
    }
    members
}

fn plain(member: &str, place: &Place) -> IncludedMember {
    IncludedMember {
        member: member.to_owned(),
        name: member.to_owned(),
        title: None,
        description: None,
        format: None,
        meta: None,
        place: place.clone(),
    }
}

/// A name, or `{name, alias, title, description, format, meta}`.
fn included(node: &Node, cube: &str, what: &str, references: &mut References<'_>) -> Option<IncludedMember> {
    const MEMBER: Vocabulary =
        Vocabulary { keys: &["name", "alias", "title", "description", "format", "meta"], legacy: &[] };
    if node.as_map().is_none() {
        let name = text_of(node, &format!("a member included by {what}"), references.problems)?;
        if name.contains('.') {
            let last = name.rsplit('.').next().unwrap_or(name);
            references.problems.error(
                &node.place,
                format!("`includes` of {what} has a path, \"{name}\""),
                "",
                format!("write `{last}`, and its cube in `join_path`"),
            );
            return None;
        }
        return Some(plain(name, &node.place));
    }
    let fields = Fields::read(node, &format!("a member included from cube \"{cube}\""), MEMBER, references.problems)?;
    let Some(name) = fields.node("name") else {
        references.problems.error(&node.place, format!("{} has no name", fields.what), "", "add `name: …`");
        return None;
    };
    let member = fields.text("name", references.problems)?;
    let alias = fields.text("alias", references.problems);
    if let (Some(node), Some(alias)) = (fields.node("alias"), &alias)
        && !is_identifier(alias)
    {
        references.problems.error(
            &node.place,
            format!("\"{alias}\" cannot be the name of a member"),
            "",
            "a name begins with a letter or `_`, and goes on with letters, digits and `_`",
        );
        return None;
    }
    Some(IncludedMember {
        name: alias.unwrap_or_else(|| member.clone()),
        member,
        title: fields.text("title", references.problems),
        description: fields.text("description", references.problems),
        format: crate::read::shared::format(&fields, references.problems),
        meta: fields.node("meta").map(Node::to_json),
        place: name.place.clone(),
    })
}

fn unknown(name: &str, cube: &str, place: &Place, references: &mut References<'_>) {
    if references.symbols.cubes.get(cube).is_some_and(|cube| cube.incomplete) {
        return;
    }
    let members =
        || references.symbols.cubes.get(cube).into_iter().flat_map(|cube| cube.members.keys()).map(String::as_str);
    let help = match did_you_mean::best(name, members()) {
        Some(close) => format!("did you mean `{close}`?"),
        None => format!("cube \"{cube}\" has {}", one_of(members())),
    };
    references.problems.error(place, format!("cube \"{cube}\" has no member \"{name}\""), "", help);
}
