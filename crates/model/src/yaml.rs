//! YAML as a tree in which every key and value knows its place, within budgets that no hostile file can exceed.
//!
//! The scalars are those of YAML 1.2's core schema: `yes`, `no`, `on` and `off` are text. Merge keys (`<<: *base`) work.
//! Used for model files and for the config file.

mod build;
mod keys;

use std::sync::Arc;

use crate::source_text::SourceText;
use crate::{Diagnostic, Place};

pub(crate) use build::parse_source;
pub use keys::Keys;

/// Bytes of one file.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Lists and maps inside each other.
pub const DEPTH_MAX: usize = 64;
/// Keys and values of one file, those that aliases repeat included.
pub const NODES_MAX: usize = 250_000;
/// Bytes of text that aliases may repeat, in one file.
pub const ALIAS_BYTES_MAX: usize = 4 << 20;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub value: Value,
    /// Of a scalar: its text, up to the end of the first line. Of a map in block style: its first key; of
    /// other lists and maps: their first character.
    pub place: Place,
    /// Of a scalar: its text before it was given a type (`007` stays `007`); else empty.
    text: String,
    style: Style,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value` of a map. Keys are text; a map has each key once.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_place: Place,
    pub value: Node,
}

/// How a scalar was written, which decides where its characters stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Block,
    NotAScalar,
}

impl Node {
    /// The text of a scalar as written, whatever its type; `None` for lists, maps and null.
    #[must_use]
    pub fn scalar_text(&self) -> Option<&str> {
        match self.value {
            Value::Text(_) | Value::Bool(_) | Value::Int(_) | Value::Float(_) => Some(&self.text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self.value { Some(value) } else { None }
    }

    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        if let Value::Int(value) = self.value { Some(value) } else { None }
    }

    #[must_use]
    pub fn as_list(&self) -> Option<&[Node]> {
        if let Value::List(items) = &self.value { Some(items) } else { None }
    }

    #[must_use]
    pub fn as_map(&self) -> Option<&[Entry]> {
        if let Value::Map(entries) = &self.value { Some(entries) } else { None }
    }

    /// The value under `key`, exactly as written.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    #[must_use]
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// `a list`, `a map`, `text`, … for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The same value without places. Numbers that JSON cannot say (`.nan`, `.inf`) become text.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Float(value) => {
                serde_json::Number::from_f64(*value).map_or_else(|| self.text.clone().into(), serde_json::Value::Number)
            }
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => {
                serde_json::Value::Object(entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect())
            }
        }
    }

    /// The same place with another text.
    pub(crate) fn with_text(&self, text: &str) -> Self {
        Self {
            value: Value::Text(text.to_owned()),
            place: self.place.clone(),
            text: text.to_owned(),
            style: Style::NotAScalar,
        }
    }

    pub(crate) fn style(&self) -> Style {
        self.style
    }

    /// Keys and values in it, itself included, and the bytes of their texts.
    fn weight(&self) -> (usize, usize) {
        match &self.value {
            Value::List(items) => items.iter().map(Node::weight).fold((1, 0), add),
            Value::Map(entries) => entries.iter().map(|e| add((1, e.key.len()), e.value.weight())).fold((1, 0), add),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => (1, self.text.len()),
        }
    }

    fn empty(place: Place) -> Self {
        Self { value: Value::Null, place, text: String::new(), style: Style::Plain }
    }
}

fn add(a: (usize, usize), b: (usize, usize)) -> (usize, usize) {
    (a.0.saturating_add(b.0), a.1.saturating_add(b.1))
}

/// Reads one YAML document. An empty file is null.
///
/// # Errors
/// The first problem: bad syntax, a key twice in one map, a custom tag, more than one document, a budget exceeded.
pub fn parse(file: &str, text: &str) -> Result<Node, Box<Diagnostic>> {
    parse_source(&SourceText::new(file, text), text)
}

/// The file name shared by all places of one file.
pub(crate) type FileName = Arc<str>;
