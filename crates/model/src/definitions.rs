//! Cubes and views before their members are read: names, sections, and what each extends.

use std::collections::HashMap;

use crate::Place;
use crate::problems::Problems;
use crate::read::fields::{Fields, Vocabulary, text_of};
use crate::spelling::{is_identifier, snake_case};
use crate::yaml::{Entry, Node, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefinitionKind {
    Cube,
    View,
}

impl DefinitionKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Cube => "cube",
            Self::View => "view",
        }
    }
}

/// A cube or a view of the files; after [`crate::extends::resolve`] with what it inherits.
#[derive(Debug)]
pub(crate) struct Definition<'n> {
    pub(crate) kind: DefinitionKind,
    pub(crate) name: String,
    /// Of the name.
    pub(crate) place: Place,
    /// All keys but those of the sections.
    pub(crate) fields: Fields<'n>,
    /// The sections that are lists of named things, by their key.
    pub(crate) sections: HashMap<&'static str, Vec<Item<'n>>>,
    /// The sections whose items have no name (`access_policy`, a view's `cubes` and `folders`).
    pub(crate) lists: HashMap<&'static str, Vec<Unnamed<'n>>>,
    /// Set where a parent or a section could not be read: then a missing name proves nothing.
    pub(crate) incomplete: bool,
}

/// A dimension, a measure, a join, …: its name, and the rest unread.
#[derive(Debug, Clone)]
pub(crate) struct Item<'n> {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// From the key `name` to the end of the name: what is underlined where something is missing.
    pub(crate) head: Place,
    pub(crate) node: &'n Node,
    pub(crate) inherited: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Unnamed<'n> {
    pub(crate) node: &'n Node,
    pub(crate) inherited: bool,
}

const CUBE: Vocabulary = Vocabulary {
    keys: &[
        "name",
        "sql",
        "sql_table",
        "sql_alias",
        "data_source",
        "extends",
        "refresh_key",
        "public",
        "title",
        "description",
        "meta",
        "aliases",
        "calendar",
        "access_policy",
        "rewrite_queries",
        "joins",
        "dimensions",
        "measures",
        "segments",
        "hierarchies",
        "pre_aggregations",
    ],
    legacy: &[("shown", "public"), ("visible", "public")],
};

const VIEW: Vocabulary = Vocabulary {
    keys: &[
        "name",
        "cubes",
        "extends",
        "public",
        "title",
        "description",
        "meta",
        "aliases",
        "folders",
        "dimensions",
        "measures",
        "default_filters",
        "access_policy",
        "view_group",
        "view_groups",
    ],
    legacy: &[("shown", "public"), ("visible", "public")],
};

const CUBE_SECTIONS: [&str; 6] = ["joins", "dimensions", "measures", "segments", "hierarchies", "pre_aggregations"];
const VIEW_SECTIONS: [&str; 2] = ["dimensions", "measures"];
/// These share one namespace in a cube (F5).
const MEMBER_SECTIONS: [&str; 5] = ["measures", "dimensions", "segments", "hierarchies", "pre_aggregations"];

impl<'n> Definition<'n> {
    /// The items of a section, in order.
    pub(crate) fn section(&self, key: &str) -> &[Item<'n>] {
        self.sections.get(key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn list(&self, key: &str) -> &[Unnamed<'n>] {
        self.lists.get(key).map_or(&[], Vec::as_slice)
    }

    /// `cube "orders"`.
    pub(crate) fn what(&self) -> String {
        format!("{} \"{}\"", self.kind.word(), self.name)
    }

    /// Reads name and sections; `None` if there is no usable name.
    pub(crate) fn read(node: &'n Node, kind: DefinitionKind, problems: &mut Problems) -> Option<Self> {
        let word = kind.word();
        let (name, place) = name_of(node, &format!("a {word}"), problems)?;
        let (vocabulary, section_keys, list_keys): (_, &[&'static str], &[&'static str]) = match kind {
            DefinitionKind::Cube => (CUBE, &CUBE_SECTIONS, &["access_policy"]),
            DefinitionKind::View => (VIEW, &VIEW_SECTIONS, &["cubes", "folders", "access_policy", "default_filters"]),
        };
        let fields = Fields::read(node, &format!("{word} \"{name}\""), vocabulary, problems)?;
        let mut definition =
            Self { kind, name, place, fields, sections: HashMap::new(), lists: HashMap::new(), incomplete: false };
        for key in section_keys {
            let items = definition.read_section(key, problems);
            definition.sections.insert(key, items);
        }
        for key in list_keys {
            let nodes = definition.fields.list(key, problems);
            definition.lists.insert(key, nodes.iter().map(|node| Unnamed { node, inherited: false }).collect());
        }
        definition.check_member_names(problems);
        Some(definition)
    }

    fn read_section(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Item<'n>> {
        let singular = singular(key);
        self.incomplete |= self.fields.get(key).is_some_and(|entry| entry.value.as_list().is_none());
        self.incomplete |= self.fields.is_mistyped(key);
        let mut items = Vec::new();
        for node in self.fields.list(key, problems) {
            match Item::read(node, &format!("a {singular} of {}", self.what()), problems) {
                Some(item) => items.push(item),
                None => self.incomplete = true,
            }
        }
        items
    }

    /// F5: members of a cube share one namespace. Joins are checked on their own (J5).
    fn check_member_names(&self, problems: &mut Problems) {
        let items =
            MEMBER_SECTIONS.iter().flat_map(|key| self.section(key).iter().map(move |item| (singular(key), item)));
        let mut items: Vec<(&'static str, &Item<'_>)> = items.collect();
        items.sort_by_key(|(_, item)| (item.place.line, item.place.column));
        let mut seen: HashMap<&str, (&'static str, u32)> = HashMap::new();
        for (kind, item) in items {
            if let Some((first_kind, line)) = seen.get(item.name.as_str()) {
                problems.error(
                    &item.place,
                    format!("\"{}\" is defined more than once in {}", item.name, self.what()),
                    format!("the first is a {first_kind} on line {line}"),
                    "measures, dimensions, segments, hierarchies and pre-aggregations of a cube share one set of names: rename one",
                );
            } else {
                seen.insert(&item.name, (kind, item.place.line));
            }
        }
    }
}

impl<'n> Item<'n> {
    /// Its name, checked; the rest is read later.
    pub(crate) fn read(node: &'n Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let (name, place) = name_of(node, what, problems)?;
        let key = node.as_map()?.iter().find(|entry| snake_case(&entry.key) == "name").map(|entry| &entry.key_place)?;
        let head = if key.line == place.line && key.column < place.column {
            Place { length: place.column - key.column + place.length, ..key.clone() }
        } else {
            place.clone()
        };
        Some(Self { name, place, head, node, inherited: false })
    }
}

/// The word for one item of a section.
pub(crate) fn singular(section: &str) -> &'static str {
    match section {
        "joins" => "join",
        "dimensions" => "dimension",
        "measures" => "measure",
        "segments" => "segment",
        "hierarchies" => "hierarchy",
        "granularities" => "granularity",
        _ => "pre-aggregation",
    }
}

/// The value and place of `name`, checked against the identifier rule.
pub(crate) fn name_of(node: &Node, what: &str, problems: &mut Problems) -> Option<(String, Place)> {
    let Value::Map(entries) = &node.value else {
        problems.error(
            &node.place,
            format!("{what} must be a map with a `name`, not {}", node.kind()),
            "",
            "write `- name: …` and its other keys below",
        );
        return None;
    };
    let is_name = |entry: &&Entry| snake_case(&entry.key) == "name" && !entry.value.is_null();
    let Some(entry) = entries.iter().find(is_name) else {
        let place = entries.first().map_or(&node.place, |entry| &entry.key_place);
        problems.error(place, format!("{what} has no name"), "no `name` here", "add `name: …`");
        return None;
    };
    let name = text_of(&entry.value, &format!("the name of {what}"), problems)?;
    if !is_identifier(name) {
        problems.error(
            &entry.value.place,
            format!("\"{name}\" cannot be the name of {what}"),
            "",
            "a name begins with a letter or `_`, and goes on with letters, digits and `_`",
        );
        return None;
    }
    Some((name.to_owned(), entry.value.place.clone()))
}
