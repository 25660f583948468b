//! Maps whose keys are known beforehand, as in a config file.

use super::{Entry, Node};
use crate::source_text::SourceText;
use crate::{Diagnostic, did_you_mean};

/// A map whose keys are known beforehand, as in a config file: finds each key, then complains about the rest.
#[derive(Debug)]
pub struct Keys<'n> {
    entries: Vec<&'n Entry>,
    asked: Vec<&'static str>,
}

impl<'n> Keys<'n> {
    /// `None` if `node` is not a map.
    #[must_use]
    pub fn of(node: &'n Node) -> Option<Self> {
        Some(Self { entries: node.as_map()?.iter().collect(), asked: Vec::new() })
    }

    /// The entry `key`, if it is there and not null.
    pub fn take(&mut self, key: &'static str) -> Option<&'n Entry> {
        self.asked.push(key);
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        let entry = self.entries.remove(index);
        (!entry.value.is_null()).then_some(entry)
    }

    /// One problem for each key that nobody asked for.
    #[must_use]
    pub fn unknown(self, source: &SourceText) -> Vec<Diagnostic> {
        let help = |key: &str| match did_you_mean::best(key, self.asked.iter().copied()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("known keys: {}", self.asked.join(", ")),
        };
        self.entries
            .iter()
            .map(|entry| {
                source
                    .error(entry.key_place.clone(), format!("unknown key `{}`", entry.key))
                    .with_label("nothing reads this")
                    .with_help(help(&entry.key))
            })
            .collect()
    }
}
