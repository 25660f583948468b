//! Takes single values out of the config's tree, and notes what is wrong with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use belvedere_model::yaml::{Keys, Node};
use belvedere_model::{Diagnostic, Place, SourceText, did_you_mean};
use chrono_tz::Tz;

use super::expand::{ExpandError, expand};
use super::{At, Environment, Placed, units};

/// The text of a value, expanded, and where it was given.
pub(super) type Given = Placed<String>;

pub(super) struct Reader<'a> {
    pub(super) source: SourceText,
    pub(super) environment: &'a Environment,
    /// Of the config file; relative paths start there.
    pub(super) folder: &'a Path,
    pub(super) problems: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    pub(super) fn at(&self, place: &Place) -> At {
        At { place: place.clone(), source_line: super::mask_secrets(self.source.line(place.line)) }
    }

    pub(super) fn error(&mut self, at: &At, message: impl Into<String>, label: &str, help: impl Into<String>) {
        self.problems.push(at.error(message).with_label(label).with_help(help));
    }

    /// The keys of a map; anything else is a problem.
    pub(super) fn keys<'n>(&mut self, node: &'n Node, what: &str) -> Option<Keys<'n>> {
        let keys = Keys::of(node);
        if keys.is_none() {
            let help = format!("write `{what}` as keys with values below it");
            self.error(&self.at(&node.place), format!("`{what}` must be a map, not {}", node.kind()), "", help);
        }
        keys
    }

    /// Complains about the keys that nobody took.
    pub(super) fn finish(&mut self, keys: Keys<'_>) {
        let mut unknown = keys.unknown(&self.source);
        for diagnostic in &mut unknown {
            diagnostic.source_line = super::mask_secrets(&diagnostic.source_line);
        }
        self.problems.extend(unknown);
    }

    /// A scalar, with `${…}` replaced.
    pub(super) fn scalar(&mut self, node: &Node, key: &str, wanted: &str) -> Option<Given> {
        let at = self.at(&node.place);
        let Some(text) = node.scalar_text() else {
            self.error(&at, format!("`{key}` must be {wanted}, not {}", node.kind()), "", format!("write {wanted}"));
            return None;
        };
        match expand(text, self.environment) {
            Ok(text) => Some(Given { value: text, at }),
            Err(ExpandError::Missing(name)) => {
                let help = format!("set it, or give a default: `${{{name}:-…}}`");
                self.error(&at, format!("the environment variable {name} is not set"), "needed here", help);
                None
            }
            Err(ExpandError::Malformed(_)) => {
                let help = "write `${NAME}` or `${NAME:-default}`; a plain `${` is written `$${`";
                self.error(&at, "this is not a reference to an environment variable", "", help);
                None
            }
        }
    }

    /// Text that is not empty.
    pub(super) fn text(&mut self, node: &Node, key: &str) -> Option<Given> {
        let given = self.scalar(node, key, "text")?;
        if given.value.is_empty() {
            self.error(&given.at, format!("`{key}` is empty"), "", "give it a value, or delete the key");
            return None;
        }
        Some(given)
    }

    /// A list of texts, or one text.
    pub(super) fn texts(&mut self, node: &Node, key: &str) -> Vec<Given> {
        match node.as_list() {
            Some(items) => items.iter().filter_map(|item| self.text(item, key)).collect(),
            None => self.text(node, key).into_iter().collect(),
        }
    }

    pub(super) fn boolean(&mut self, node: &Node, key: &str) -> Option<bool> {
        let given = self.scalar(node, key, "true or false")?;
        match given.value.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.error(&given.at, format!("`{key}` must be true or false"), "", "write `true` or `false`");
                None
            }
        }
    }

    pub(super) fn count(&mut self, given: Given, key: &str, max: usize) -> Option<usize> {
        match given.value.parse::<usize>() {
            Ok(count) if (1..=max).contains(&count) => Some(count),
            _ => {
                let message = format!("`{key}` must be a whole number from 1 to {max}");
                self.error(&given.at, message, "", "write digits only");
                None
            }
        }
    }

    pub(super) fn duration(&mut self, given: &Given, key: &str) -> Option<Duration> {
        let duration = units::duration(&given.value).filter(|duration| !duration.is_zero());
        if duration.is_none() {
            let help = "write a number with `ms`, `s`, `m`, `h` or `d`, such as `30s`";
            self.error(&given.at, format!("`{key}` must be a duration"), "", help);
        }
        duration
    }

    /// A duration, or `off` (outer `None`: neither).
    pub(super) fn duration_or_off(&mut self, given: &Given, key: &str) -> Option<Option<Duration>> {
        if matches!(given.value.as_str(), "off" | "0" | "none") {
            return Some(None);
        }
        let duration = units::duration(&given.value).filter(|duration| !duration.is_zero());
        if duration.is_none() {
            let help = "write a number with `ms`, `s`, `m`, `h` or `d`, such as `30s`, or `off` for no limit";
            self.error(&given.at, format!("`{key}` must be a duration"), "", help);
        }
        duration.map(Some)
    }

    pub(super) fn bytes(&mut self, given: &Given, key: &str) -> Option<usize> {
        let bytes = units::bytes(&given.value).filter(|bytes| *bytes > 0);
        if bytes.is_none() {
            let help = "write a number with `MiB`, `GiB`, `MB` or `GB`, such as `4GiB`";
            self.error(&given.at, format!("`{key}` must be a size in bytes"), "", help);
        }
        bytes
    }

    pub(super) fn zone(&mut self, given: &Given, key: &str) -> Option<Tz> {
        let zone = belvedere_engine::parse_zone(&given.value);
        if zone.is_none() {
            let message = format!("`{key}`: there is no time zone \"{}\"", given.value);
            let close = did_you_mean(&given.value, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
            let help = close.map_or("write a name of the tz database, such as `Europe/Berlin`".to_owned(), |close| {
                format!("did you mean `{close}`?")
            });
            self.error(&given.at, message, "", help);
        }
        zone
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, given: &Given, key: &str, choices: &[(&str, T)]) -> Option<T> {
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == given.value) {
            return Some(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let help = match did_you_mean(&given.value, words.iter().copied()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("one of: {}", words.join(", ")),
        };
        self.error(&given.at, format!("`{key}` cannot be \"{}\"", given.value), "", help);
        None
    }

    /// `host:port`; an IPv6 address stands in brackets.
    pub(super) fn address(&mut self, given: Given, key: &str) -> Option<Given> {
        let parts = given.value.rsplit_once(':').filter(|(host, port)| {
            let host_fits =
                host.starts_with('[') == host.ends_with(']') && (host.starts_with('[') || !host.contains(':'));
            !host.is_empty() && host_fits && port.parse::<u16>().is_ok()
        });
        if parts.is_some() {
            return Some(given);
        }
        let message = format!("`{key}` must be an address with a port, not \"{}\"", given.value);
        self.error(&given.at, message, "", "write `127.0.0.1:15432`, or `[::1]:15432` for IPv6");
        None
    }

    /// Relative paths are meant from the file's folder; those of flags and the environment from the current one.
    pub(super) fn path(&self, given: Given) -> Placed<PathBuf> {
        let path = Path::new(&given.value);
        let from_file = given.at.place.file.as_ref() == self.source.file();
        let value = if from_file { joined(self.folder, path) } else { path.to_owned() };
        Placed { value, at: given.at }
    }
}

/// `folder/path` without a `./` in front, as people would write it.
fn joined(folder: &Path, path: &Path) -> PathBuf {
    let joined = folder.join(path);
    joined.components().filter(|component| *component != std::path::Component::CurDir).collect()
}
