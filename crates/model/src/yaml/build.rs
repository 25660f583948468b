//! Builds the tree from the parser's events, and stops at the first one that breaks a budget.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::{ALIAS_BYTES_MAX, DEPTH_MAX, Entry, FILE_BYTES_MAX, NODES_MAX, Node, Style, Value};
use crate::source_text::SourceText;
use crate::{Diagnostic, Place};

pub(crate) fn parse_source(source: &SourceText, text: &str) -> Result<Node, Box<Diagnostic>> {
    if text.len() > FILE_BYTES_MAX {
        return Err(source
            .error(source.start(), format!("the file has {} bytes, more than the {FILE_BYTES_MAX} allowed", text.len()))
            .with_help("split it into several files")
            .into());
    }
    if let Some(place) = source.find_control_character() {
        return Err(source
            .error(place, "a control character that YAML does not allow")
            .with_help("delete it, or write it as an escape such as \"\\0\" in double quotes")
            .into());
    }
    let mut builder =
        Builder { source, stack: Vec::new(), anchors: HashMap::new(), nodes: 0, alias_bytes: 0, document: None };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => builder.event(event, span)?,
            Err(error) => return Err(syntax_error(source, &error).into()),
        }
    }
    Ok(builder.document.unwrap_or_else(|| Node::empty(source.start())))
}

struct Builder<'s> {
    source: &'s SourceText,
    /// The lists and maps that are open, outermost first.
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    alias_bytes: usize,
    document: Option<Node>,
}

struct Open {
    place: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashSet<String>, key: Option<(String, Place)>, merges: Vec<Node> },
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Diagnostic>> {
        match event {
            Event::DocumentStart(_) => {
                if self.document.is_some() {
                    return Err(self
                        .source
                        .error(self.source.place_of(span), "a second YAML document in one file")
                        .with_help("put each document into its own file, or merge them")
                        .into());
                }
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref(), span),
            Event::SequenceStart(anchor, tag) => {
                self.open(span, anchor, tag.as_deref(), "tag:yaml.org,2002:seq", Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => self.open(
                span,
                anchor,
                tag.as_deref(),
                "tag:yaml.org,2002:map",
                Content::Map { entries: Vec::new(), seen: HashSet::new(), key: None, merges: Vec::new() },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let place = self.source.place_of(span);
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(self
                        .source
                        .error(place, "this alias stands inside the value that it repeats")
                        .with_help("write the value out")
                        .into());
                };
                let (nodes, bytes) = node.weight();
                self.alias_bytes += bytes;
                if self.alias_bytes > ALIAS_BYTES_MAX {
                    return Err(self
                        .source
                        .error(place, format!("aliases repeat more than {ALIAS_BYTES_MAX} bytes of text"))
                        .with_help("write the values out, or use `extends`")
                        .into());
                }
                self.count(nodes, &place)?;
                self.add(node, place)
            }
        }
    }

    fn count(&mut self, nodes: usize, place: &Place) -> Result<(), Box<Diagnostic>> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(self
                .source
                .error(place.clone(), format!("the file has more than the {NODES_MAX} keys and values allowed"))
                .with_help("split it into several files, and use fewer aliases")
                .into());
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), Box<Diagnostic>> {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::SingleQuoted,
            ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        let place = self.source.place_of(span);
        self.count(1, &place)?;
        let value = match tag {
            None if style == Style::Plain => core_value(text),
            None => Value::Text(text.to_owned()),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Value::Text(text.to_owned()),
            Some(_) => return Err(self.custom_tag(place).into()),
        };
        let node = Node { value, place: place.clone(), text: text.to_owned(), style };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.add(node, place)
    }

    fn custom_tag(&self, place: Place) -> Diagnostic {
        self.source.error(place, "a YAML tag (`!…`) is not allowed").with_help("delete the tag")
    }

    fn open(
        &mut self,
        span: Span,
        anchor: usize,
        tag: Option<&Tag>,
        own_tag: &str,
        content: Content,
    ) -> Result<(), Box<Diagnostic>> {
        let mut place = self.source.place_of(span);
        place.length = 1;
        if let Some(tag) = tag
            && format!("{}{}", tag.handle, tag.suffix) != own_tag
        {
            return Err(self.custom_tag(place).into());
        }
        if self.stack.len() >= DEPTH_MAX {
            return Err(self
                .source
                .error(place, format!("lists and maps lie more than {DEPTH_MAX} deep inside each other"))
                .with_help("check the indentation and the brackets")
                .into());
        }
        self.count(1, &place)?;
        if let Some(Open { content: Content::Map { key: None, .. }, .. }) = self.stack.last() {
            return Err(self
                .source
                .error(place, "a key must be text")
                .with_help("put quotes around text that begins with `{` or `[`")
                .into());
        }
        self.stack.push(Open { place, anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Box<Diagnostic>> {
        let Some(open) = self.stack.pop() else { return Ok(()) };
        let place = open.place.clone();
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { mut entries, mut seen, merges, .. } => {
                for merged in merges {
                    self.merge(&mut entries, &mut seen, merged)?;
                }
                Value::Map(entries)
            }
        };
        let mut node = Node { value, place: open.place, text: String::new(), style: Style::NotAScalar };
        if let Some(first) = node.as_map().and_then(<[Entry]>::first)
            && (first.key_place.line, first.key_place.column) == (place.line, place.column)
        {
            // A map in block style begins with its first key: underline that.
            node.place = first.key_place.clone();
        }
        if open.anchor > 0 {
            let weight = node.weight();
            self.alias_bytes += weight.1;
            self.count(weight.0, &place)?;
            self.anchors.insert(open.anchor, node.clone());
        }
        self.add(node, place)
    }

    /// `<<: *base` and `<<: [*a, *b]`: adds what is not there yet.
    fn merge(&self, entries: &mut Vec<Entry>, seen: &mut HashSet<String>, merged: Node) -> Result<(), Box<Diagnostic>> {
        let place = merged.place.clone();
        match merged.value {
            Value::Map(others) => {
                for other in others {
                    if seen.insert(other.key.clone()) {
                        entries.push(other);
                    }
                }
                Ok(())
            }
            Value::List(items) => items.into_iter().try_for_each(|item| self.merge(entries, seen, item)),
            _ => {
                let problem = self.source.error(place, "`<<` merges maps only");
                Err(problem.with_help("write `<<: *name_of_a_map`").into())
            }
        }
    }

    /// Hands a finished value, written at `place` (for aliases: the alias), to the list or map around it.
    fn add(&mut self, node: Node, place: Place) -> Result<(), Box<Diagnostic>> {
        let source = self.source;
        let Some(open) = self.stack.last_mut() else {
            self.document = Some(node);
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, seen, key, merges } => match key.take() {
                None => {
                    let Some(text) = node.scalar_text().or(node.is_null().then_some(node.text.as_str())) else {
                        return Err(source.error(place, "a key must be text").with_help("give the key a name").into());
                    };
                    if text != "<<" && !seen.insert(text.to_owned()) {
                        let first = entries
                            .iter()
                            .find(|entry| entry.key == text)
                            .map_or(String::new(), |entry| format!(", first on line {}", entry.key_place.line));
                        return Err(source
                            .error(place, format!("the key `{text}` is there twice"))
                            .with_label(format!("again here{first}"))
                            .with_help("delete one of them")
                            .into());
                    }
                    *key = Some((text.to_owned(), place));
                }
                Some((key, _)) if key == "<<" => merges.push(node),
                Some((key, key_place)) => entries.push(Entry { key, key_place, value: node }),
            },
        }
        Ok(())
    }
}

/// The type of a plain scalar by YAML 1.2's core schema.
fn core_value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let radix =
        |prefix: &str, radix| text.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok());
    if let Some(value) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Value::Int(value);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number_like = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if number_like {
        if let Ok(value) = text.parse::<i64>() {
            return Value::Int(value);
        }
        if let Ok(value) = text.parse::<f64>() {
            return Value::Float(value);
        }
    }
    Value::Text(text.to_owned())
}

/// What the parser said, with the advice that most often helps.
fn syntax_error(source: &SourceText, error: &saphyr_parser::ScanError) -> Diagnostic {
    let marker = error.marker();
    let place = source.place_at(marker.line(), marker.col());
    let line = source.line(place.line).trim_start();
    let info = error.info().trim().trim_end_matches('.');
    let value = line.split_once(": ").map_or(line, |(_, value)| value).trim_start_matches("- ").trim();
    let help = if line.contains("{%") || line.contains("{{") {
        "Jinja templates are not read yet: write the model out as plain YAML"
    } else if info.contains("escape") {
        "in double quotes a backslash is written `\\\\`; in single quotes it needs no escape"
    } else if info.contains("tab") || line.starts_with('\t') {
        "indent with spaces, not with tabs"
    } else if value.starts_with('{') || value.starts_with('[') || value.starts_with('%') || value.starts_with('@') {
        "put quotes around text that begins with a special character: `sql: \"{CUBE}.id\"`"
    } else if value.starts_with('"') || value.starts_with('\'') {
        "text in quotes must end with the same quote, and nothing may follow it"
    } else if value.contains(": ") || info.contains("mapping values") {
        "put quotes around text that has `: ` in it, or check the indentation"
    } else {
        "check the indentation, quotes and brackets here and on the lines above"
    };
    source.error(place, "this is not valid YAML").with_label(info).with_help(help)
}
