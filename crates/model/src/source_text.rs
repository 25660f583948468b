//! The lines of a file, to point at: places of YAML values, and of characters inside a value.

use saphyr_parser::Span;

use crate::yaml::{FileName, Node, Style};
use crate::{Diagnostic, Place, Severity};

/// The text of one file, split into lines.
#[derive(Debug)]
pub struct SourceText {
    file: FileName,
    lines: Vec<String>,
}

impl SourceText {
    #[must_use]
    pub fn new(file: &str, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
        Self { file: file.into(), lines: text.split(['\n', '\r']).map(str::to_owned).collect() }
    }

    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The text of line `number`, counted from 1; empty beyond the last one.
    #[must_use]
    pub fn line(&self, number: u32) -> &str {
        (number as usize).checked_sub(1).and_then(|index| self.lines.get(index)).map_or("", String::as_str)
    }

    /// The first character of the file.
    #[must_use]
    pub fn start(&self) -> Place {
        self.place_at(1, 0)
    }

    /// An error at `place`, with its line.
    #[must_use]
    pub fn error(&self, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            message: message.into(),
            source_line: self.line(place.line).to_owned(),
            place,
            label: String::new(),
            help: None,
        }
    }

    /// One character; the line is counted from 1, the column from 0, as the parser does. Beyond the end: the last line.
    pub(crate) fn place_at(&self, line: usize, column: usize) -> Place {
        let last = self.lines.len().max(1);
        let (line, column) = if line > last { (last, usize::MAX) } else { (line.max(1), column) };
        let width = self.lines.get(line - 1).map_or(0, |text| text.chars().count());
        Place {
            file: FileName::clone(&self.file),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column.min(width) + 1).unwrap_or(u32::MAX),
            length: 1,
        }
    }

    /// What `span` covers of its first line.
    pub(crate) fn place_of(&self, span: Span) -> Place {
        let mut place = self.place_at(span.start.line(), span.start.col());
        let line = self.line(place.line);
        let rest = line.chars().skip(place.column as usize - 1);
        let length = if span.end.line() == span.start.line() {
            span.end.col().saturating_sub(span.start.col())
        } else {
            // Up to the end of the line, without a comment's or line break's blanks.
            rest.collect::<String>().trim_end().chars().count()
        };
        let room = line.chars().count().saturating_sub(place.column as usize - 1);
        place.length = u32::try_from(length.min(room).max(1)).unwrap_or(u32::MAX);
        place
    }

    /// Where each character of a scalar's text stands in the file.
    ///
    /// Walks the scalar's text and the file side by side: blanks and line breaks may differ (folding), escapes in quotes
    /// are several characters of the file, all others are the same. Where the walk fails, the scalar's own place counts.
    pub(crate) fn marks(&self, node: &Node) -> Marks {
        let text = node.scalar_text().unwrap_or_default();
        let mut cursor = Cursor::new(&self.lines, node.place.line as usize - 1, node.place.column as usize - 1);
        let style = node.style();
        match style {
            Style::SingleQuoted | Style::DoubleQuoted => cursor.column += 1,
            // The parser says where the text begins; if it ever says where `|` or `>` stands, the text is on the next line.
            Style::Block
                if matches!(cursor.current(), Some('|' | '>'))
                    && text.trim_start().chars().next() != cursor.current() =>
            {
                cursor.next_line();
            }
            Style::Block => {}
            Style::Plain | Style::NotAScalar => {}
        }
        let mut marks = Marks { whole: node.place.clone(), characters: Vec::with_capacity(text.len()) };
        for wanted in text.chars() {
            if wanted.is_whitespace() && !(style == Style::DoubleQuoted && cursor.current() == Some('\\')) {
                // Which blank of the file it is does not matter to anyone.
                marks.characters.push(None);
                continue;
            }
            cursor.skip_blanks(style);
            let (line, start) = (cursor.line, cursor.column);
            if !cursor.consume(wanted, style) {
                break;
            }
            marks.characters.push(Some((line, start, cursor.column)));
        }
        marks
    }

    /// The place of a NUL or another character that YAML forbids.
    pub(crate) fn find_control_character(&self) -> Option<Place> {
        self.lines.iter().enumerate().find_map(|(line, text)| {
            let column =
                text.chars().position(|c| (c.is_control() && c != '\t' && c != '\u{85}') || c == '\u{feff}')?;
            Some(self.place_at(line + 1, column))
        })
    }
}

/// Where the characters of one scalar stand.
pub(crate) struct Marks {
    whole: Place,
    /// Line, first and behind-the-last column, all from 0; `None` for blanks. May be shorter than the text.
    characters: Vec<Option<(usize, usize, usize)>>,
}

impl Marks {
    /// The place of `length` characters from the character `offset` on, as far as they stand on one line.
    pub(crate) fn place(&self, offset: usize, length: usize) -> Place {
        let mut found = self.characters.iter().skip(offset).take(length.max(1)).flatten();
        let Some(&(line, start, mut end)) = found.next() else { return self.whole.clone() };
        for &(_, _, behind) in found.take_while(|(other, _, _)| *other == line) {
            end = behind;
        }
        Place {
            file: FileName::clone(&self.whole.file),
            line: u32::try_from(line + 1).unwrap_or(u32::MAX),
            column: u32::try_from(start + 1).unwrap_or(u32::MAX),
            length: u32::try_from(end.saturating_sub(start).max(1)).unwrap_or(u32::MAX),
        }
    }
}

/// A position in the file, both counted from 0.
struct Cursor<'l> {
    lines: &'l [String],
    characters: Vec<char>,
    line: usize,
    column: usize,
}

impl<'l> Cursor<'l> {
    fn new(lines: &'l [String], line: usize, column: usize) -> Self {
        let mut cursor = Self { lines, characters: Vec::new(), line, column };
        cursor.load();
        cursor
    }

    fn load(&mut self) {
        self.characters.clear();
        self.characters.extend(self.lines.get(self.line).into_iter().flat_map(|line| line.chars()));
    }

    fn current(&self) -> Option<char> {
        self.characters.get(self.column).copied()
    }

    fn next_line(&mut self) {
        self.line += 1;
        self.column = 0;
        self.load();
    }

    fn skip_blanks(&mut self, style: Style) {
        while self.line < self.lines.len() {
            match self.current() {
                Some(c) if c.is_whitespace() => self.column += 1,
                None => self.next_line(),
                // A backslash at the end of a line in double quotes joins the lines.
                Some('\\') if style == Style::DoubleQuoted && self.column + 1 == self.characters.len() => {
                    self.next_line()
                }
                Some(_) => return,
            }
        }
    }

    /// Steps over `wanted`, however it is escaped; false if something else stands here.
    fn consume(&mut self, wanted: char, style: Style) -> bool {
        let Some(found) = self.current() else { return false };
        self.column += 1;
        match (style, found) {
            (Style::DoubleQuoted, '\\') => {
                let digits = match self.current() {
                    Some('x') => 2,
                    Some('u') => 4,
                    Some('U') => 8,
                    _ => 0,
                };
                self.column = (self.column + 1 + digits).min(self.characters.len());
                true
            }
            (Style::SingleQuoted, '\'') => {
                self.column = (self.column + 1).min(self.characters.len());
                wanted == '\''
            }
            _ => found == wanted,
        }
    }
}
