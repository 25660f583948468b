//! The keys of one object of a model file: spelled either way, each known, each once.

use crate::problems::Problems;
use crate::spelling::{one_of, snake_case};
use crate::yaml::{Entry, Node, Value};
use crate::{Place, did_you_mean};

/// The known keys of a kind of object, and the old spellings of some.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vocabulary {
    pub(crate) keys: &'static [&'static str],
    /// Old spelling in snake_case, current one.
    pub(crate) legacy: &'static [(&'static str, &'static str)],
}

/// An object's entries under their current snake_case keys.
#[derive(Debug)]
pub(crate) struct Fields<'n> {
    /// `dimension "status" of cube "orders"`, for messages.
    pub(crate) what: String,
    /// Where the object begins.
    pub(crate) place: Place,
    entries: Vec<(String, &'n Entry)>,
    /// Keys that an unknown one was most likely meant to be: that they are missing need not be said as well.
    mistyped: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// `None`, and a problem, if `node` is not a map.
    pub(crate) fn read(node: &'n Node, what: &str, vocabulary: Vocabulary, problems: &mut Problems) -> Option<Self> {
        let Some(entries) = node.as_map() else {
            problems.error(
                &node.place,
                format!("{what} must be a map of keys and values, not {}", node.kind()),
                "",
                match vocabulary.keys {
                    [only] => format!("write `{only}: …`"),
                    keys => format!("write keys such as {}", one_of(keys.iter().copied().take(4))),
                },
            );
            return None;
        };
        let mut fields =
            Self { what: what.to_owned(), place: node.place.clone(), entries: Vec::new(), mistyped: Vec::new() };
        for entry in entries {
            let snake = snake_case(&entry.key);
            let current =
                vocabulary.legacy.iter().find(|(old, _)| *old == snake).map_or(snake.as_str(), |(_, new)| new);
            if !vocabulary.keys.contains(&current) {
                let close = did_you_mean::best(&snake, vocabulary.keys.iter().copied());
                let help = match close {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => format!("known keys: {}", vocabulary.keys.join(", ")),
                };
                fields.mistyped.extend(vocabulary.keys.iter().filter(|key| Some(**key) == close));
                problems.error(&entry.key_place, format!("unknown key `{}` in {what}", entry.key), "", help);
                continue;
            }
            if let Some((_, first)) = fields.entries.iter().find(|(key, _)| key == current) {
                problems.error(
                    &entry.key_place,
                    format!("`{}` and `{}` in {what} are the same key", first.key, entry.key),
                    format!("first on line {}", first.key_place.line),
                    "delete one of them",
                );
                continue;
            }
            fields.entries.push((current.to_owned(), entry));
        }
        Some(fields)
    }

    /// The entry `key`, if it is there and not null.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Entry> {
        let entry = self.entries.iter().find(|(known, _)| known == key).map(|(_, entry)| *entry)?;
        (!entry.value.is_null()).then_some(entry)
    }

    pub(crate) fn node(&self, key: &str) -> Option<&'n Node> {
        self.get(key).map(|entry| &entry.value)
    }

    /// Says that `key` is missing at `place`, unless a mistyped key was meant to be it.
    pub(crate) fn missing(
        &self,
        key: &str,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
        problems: &mut Problems,
    ) {
        if !self.mistyped.contains(&key) {
            problems.error(place, message, format!("no `{key}` here"), help);
        }
    }

    pub(crate) fn is_mistyped(&self, key: &str) -> bool {
        self.mistyped.contains(&key)
    }

    /// The parent's entries whose keys are not there, where `wanted` says so.
    pub(crate) fn inherited_from(&self, parent: &Self, wanted: impl Fn(&str) -> bool) -> Vec<(String, &'n Entry)> {
        let missing = |key: &str| self.entries.iter().all(|(own, _)| own != key);
        parent.entries.iter().filter(|(key, _)| missing(key) && wanted(key)).cloned().collect()
    }

    pub(crate) fn extend(&mut self, inherited: Vec<(String, &'n Entry)>) {
        self.entries.extend(inherited);
    }

    /// The text of a scalar.
    pub(crate) fn text(&self, key: &str, problems: &mut Problems) -> Option<String> {
        let node = self.node(key)?;
        text_of(node, &format!("`{key}` of {}", self.what), problems).map(str::to_owned)
    }

    pub(crate) fn boolean(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        let node = self.node(key)?;
        let value = node.as_bool();
        if value.is_none() {
            let help = match node.scalar_text().map(str::to_lowercase).as_deref() {
                Some("no" | "off" | "n") => {
                    format!("write `{key}: false`: in YAML 1.2 only `true` and `false` are not text")
                }
                Some("yes" | "on" | "y") => {
                    format!("write `{key}: true`: in YAML 1.2 only `true` and `false` are not text")
                }
                _ => format!("write `{key}: true` or `{key}: false`"),
            };
            problems.error(
                &node.place,
                format!("`{key}` of {} must be true or false, not {}", self.what, node.kind()),
                "",
                help,
            );
        }
        value
    }

    /// One of the named values, in either spelling; `legacy` names more spellings.
    pub(crate) fn one_of<T: Copy>(
        &self,
        key: &str,
        values: &[(&'static str, T)],
        legacy: &[(&'static str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let node = self.node(key)?;
        let text = text_of(node, &format!("`{key}` of {}", self.what), problems)?;
        let snake = snake_case(text);
        let found = values.iter().chain(legacy).find(|(name, _)| *name == snake).map(|(_, value)| *value);
        if found.is_none() {
            let names = values.iter().map(|(name, _)| *name);
            let spellings = values.iter().chain(legacy).map(|(name, _)| *name);
            let help = match did_you_mean::best(&snake, spellings) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("write {}", one_of(names)),
            };
            problems.error(&node.place, format!("unknown {key} `{text}` of {}", self.what), "", help);
        }
        found
    }

    /// The items of a list; a problem and nothing if it is something else.
    pub(crate) fn list(&self, key: &str, problems: &mut Problems) -> &'n [Node] {
        let Some(entry) = self.get(key) else { return &[] };
        if let Some(items) = entry.value.as_list() {
            return items;
        }
        let help = if entry.value.as_map().is_some() {
            format!("begin each item of `{key}` with `- name: …`")
        } else {
            "begin each item with `- `".to_owned()
        };
        problems.error(
            &entry.key_place,
            format!("`{key}` of {} must be a list, not {}", self.what, entry.value.kind()),
            "",
            help,
        );
        &[]
    }

    /// A list of texts; one text alone counts as a list of one.
    pub(crate) fn texts(&self, key: &str, problems: &mut Problems) -> Vec<&'n Node> {
        let Some(entry) = self.get(key) else { return Vec::new() };
        let items = match &entry.value.value {
            Value::List(items) => items.iter().collect(),
            _ => vec![&entry.value],
        };
        let what = format!("each item of `{key}` of {}", self.what);
        items.into_iter().filter(|item| text_of(item, &what, problems).is_some()).collect()
    }

    pub(crate) fn strings(&self, key: &str, problems: &mut Problems) -> Vec<String> {
        self.texts(key, problems).into_iter().filter_map(|node| node.scalar_text().map(str::to_owned)).collect()
    }
}

/// The text of a scalar, or a problem that says what is there instead.
pub(crate) fn text_of<'n>(node: &'n Node, what: &str, problems: &mut Problems) -> Option<&'n str> {
    let text = node.scalar_text();
    if text.is_none() {
        let help = match &node.value {
            Value::Map(entries) if entries.len() == 1 && entries[0].value.is_null() => {
                format!("put it in quotes: `\"{{{}}}\"`", entries[0].key)
            }
            Value::Map(_) => "text that begins with `{` needs quotes".to_owned(),
            _ => "write text".to_owned(),
        };
        problems.error(&node.place, format!("{what} must be text, not {}", node.kind()), "", help);
    }
    text
}
