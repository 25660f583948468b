//! Collects what is wrong in all files, so that everything is reported at once.

use std::collections::{HashMap, HashSet};

use crate::source_text::SourceText;
use crate::{Diagnostic, Place, Severity};

/// More problems than this are counted, not kept: nobody reads them, and each holds a line of text.
const KEPT_MAX: usize = 1_000;
/// Bytes of the lines that the kept ones show.
const LINE_BYTES_MAX: usize = 16 << 20;

/// The diagnostics found so far, and the texts they point into.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    sources: HashMap<String, SourceText>,
    found: Vec<(Diagnostic, Origin)>,
    line_bytes: usize,
    /// Errors among all, and how many of all were not kept.
    errors: usize,
    left_out: usize,
    /// While true, what is read was inherited: it is reported only if its own definition does not report it already.
    pub(crate) inherited: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Own,
    Inherited,
}

impl Problems {
    pub(crate) fn add_source(&mut self, source: SourceText) {
        self.sources.insert(source.file().to_owned(), source);
    }

    pub(crate) fn source(&self, file: &str) -> Option<&SourceText> {
        self.sources.get(file)
    }

    pub(crate) fn add(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.is_error());
        if self.is_full() {
            self.left_out += 1;
            return;
        }
        self.line_bytes += diagnostic.source_line.len();
        let origin = if self.inherited { Origin::Inherited } else { Origin::Own };
        self.found.push((diagnostic, origin));
    }

    /// An error at `place`; `label` may be empty.
    pub(crate) fn error(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Severity::Error, place, message.into(), label.into(), help.into());
    }

    pub(crate) fn warning(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Severity::Warning, place, message.into(), label.into(), help.into());
    }

    fn report(&mut self, severity: Severity, place: &Place, message: String, label: String, help: String) {
        if self.is_full() {
            self.errors += usize::from(severity == Severity::Error);
            self.left_out += 1;
            return;
        }
        let source_line = self.source(&place.file).map_or(String::new(), |source| source.line(place.line).to_owned());
        self.add(Diagnostic { severity, message, place: place.clone(), label, help: Some(help), source_line });
    }

    fn is_full(&self) -> bool {
        self.found.len() >= KEPT_MAX || self.line_bytes >= LINE_BYTES_MAX
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// All problems by file, line and column; what a parent reports is not repeated for its children.
    pub(crate) fn into_sorted(self) -> Vec<Diagnostic> {
        let own: HashSet<(String, u32, u32)> =
            self.found.iter().filter(|(_, origin)| *origin == Origin::Own).map(|(d, _)| key(d)).collect();
        let mut seen = HashSet::new();
        let mut said = HashSet::new();
        let mut all = Vec::new();
        for (diagnostic, origin) in self.found {
            let key = key(&diagnostic);
            let keep = match origin {
                Origin::Own => said.insert((key, diagnostic.message.clone())),
                Origin::Inherited => !own.contains(&key) && seen.insert(key),
            };
            if keep {
                all.push(diagnostic);
            }
        }
        all.sort_by(|a, b| {
            (&a.place.file, a.place.line, a.place.column, &a.message).cmp(&(
                &b.place.file,
                b.place.line,
                b.place.column,
                &b.message,
            ))
        });
        if self.left_out > 0
            && let Some(help) = all.last_mut().and_then(|last: &mut Diagnostic| last.help.as_mut())
        {
            help.push_str(&format!(" (and {} more problems that are not shown: solve these first)", self.left_out));
        }
        all
    }
}

fn key(diagnostic: &Diagnostic) -> (String, u32, u32) {
    (diagnostic.place.file.to_string(), diagnostic.place.line, diagnostic.place.column)
}
