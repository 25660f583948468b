//! Reads comma-separated records: RFC 4180, with the line of each record, and with quoted cells told from unquoted ones.

use std::io::{self, BufRead};

/// Longer records are taken for a quote that nobody closed.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// One record. Its cells are ranges of `bytes`.
#[derive(Debug, Default)]
pub(super) struct Record {
    bytes: Vec<u8>,
    /// End of each cell in `bytes`, and whether the cell was quoted.
    cells: Vec<(usize, bool)>,
    /// The line that the record begins on; the first is 1.
    pub(super) line: u64,
}

impl Record {
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The cells; None is NULL, which is an empty cell without quotes, as in PostgreSQL's COPY.
    pub(super) fn cells(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut start = 0;
        self.cells.iter().map(move |(end, quoted)| {
            let cell = &self.bytes[start..*end];
            start = *end;
            if cell.is_empty() && !quoted { None } else { Some(cell) }
        })
    }
}

/// Reads records one by one.
pub(super) struct Records<R> {
    input: R,
    line: u64,
    text: Vec<u8>,
    /// What ended the line in `text`; inside quotes it belongs to the cell.
    line_end: &'static [u8],
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, line: 0, text: Vec::new(), line_end: b"" }
    }

    /// Reads the next record into `record`; false at the end of the file. Empty lines are skipped.
    ///
    /// # Errors
    /// In words, when the file cannot be read or a quote stands or ends where none may.
    pub(super) fn next(&mut self, record: &mut Record) -> Result<bool, String> {
        loop {
            record.bytes.clear();
            record.cells.clear();
            record.line = self.line + 1;
            if !self.read_line().map_err(|error| error.to_string())? {
                return Ok(false);
            }
            if record.line == 1 && self.text.starts_with(b"\xef\xbb\xbf") {
                self.text.drain(..3);
            }
            if self.text.is_empty() {
                continue;
            }
            self.split(record)?;
            return Ok(true);
        }
    }

    /// Reads one line, without its end, onto the end of `text` cleared; false where there is none.
    fn read_line(&mut self) -> io::Result<bool> {
        self.text.clear();
        if self.input.read_until(b'\n', &mut self.text)? == 0 {
            return Ok(false);
        }
        self.line += 1;
        self.line_end = match self.text.as_slice() {
            [.., b'\r', b'\n'] => b"\r\n",
            [.., b'\n'] => b"\n",
            _ => b"",
        };
        self.text.truncate(self.text.len() - self.line_end.len());
        Ok(true)
    }

    fn split(&mut self, record: &mut Record) -> Result<(), String> {
        let mut at = 0;
        loop {
            if self.text.get(at) == Some(&b'"') {
                at = self.quoted(at + 1, record)?;
                record.cells.push((record.bytes.len(), true));
            } else {
                let end =
                    self.text[at..].iter().position(|byte| *byte == b',').map_or(self.text.len(), |found| at + found);
                if self.text[at..end].contains(&b'"') {
                    return Err("a quote inside a cell that does not begin with one".to_owned());
                }
                record.bytes.extend_from_slice(&self.text[at..end]);
                record.cells.push((record.bytes.len(), false));
                at = end;
            }
            match self.text.get(at) {
                None => return Ok(()),
                Some(b',') => at += 1,
                Some(_) => return Err("text after a closing quote".to_owned()),
            }
        }
    }

    /// Reads a quoted cell from behind its first quote, over line ends where it must; gives the place behind its last quote.
    fn quoted(&mut self, mut at: usize, record: &mut Record) -> Result<usize, String> {
        loop {
            let Some(found) = self.text[at..].iter().position(|byte| *byte == b'"') else {
                record.bytes.extend_from_slice(&self.text[at..]);
                record.bytes.extend_from_slice(self.line_end);
                if record.bytes.len() > RECORD_BYTES_MAX || !self.read_line().map_err(|error| error.to_string())? {
                    return Err("a quote that is never closed".to_owned());
                }
                at = 0;
                continue;
            };
            record.bytes.extend_from_slice(&self.text[at..at + found]);
            at += found + 1;
            if self.text.get(at) != Some(&b'"') {
                return Ok(at);
            }
            record.bytes.push(b'"');
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Record, Records};

    /// The line of a record and its cells.
    type Read = (u64, Vec<Option<String>>);

    fn read(text: &str) -> Result<Vec<Read>, String> {
        let (mut records, mut record, mut all) = (Records::new(text.as_bytes()), Record::default(), Vec::new());
        while records.next(&mut record)? {
            let cells = record.cells().map(|cell| cell.map(|cell| String::from_utf8_lossy(cell).into_owned()));
            all.push((record.line, cells.collect()));
        }
        Ok(all)
    }

    fn cells(cells: &[Option<&str>]) -> Vec<Option<String>> {
        cells.iter().map(|cell| cell.map(str::to_owned)).collect()
    }

    #[test]
    fn empty_cells_are_null_unless_quoted() {
        assert_eq!(read("a,,\"\"\n"), Ok(vec![(1, cells(&[Some("a"), None, Some("")]))]));
        assert_eq!(read(",\n"), Ok(vec![(1, cells(&[None, None]))]));
    }

    #[test]
    fn quotes_keep_commas_quotes_and_lines_and_lines_are_counted() {
        let text = "\u{feff}\"a,\"\"b\",1\r\n\n\"x\r\ny\",2\n3,4";
        assert_eq!(
            read(text),
            Ok(vec![
                (1, cells(&[Some("a,\"b"), Some("1")])),
                (3, cells(&[Some("x\r\ny"), Some("2")])),
                (5, cells(&[Some("3"), Some("4")])),
            ])
        );
    }

    #[test]
    fn quotes_in_wrong_places_are_refused() {
        assert_eq!(read("a\"b,1\n"), Err("a quote inside a cell that does not begin with one".to_owned()));
        assert_eq!(read("\"a\"b,1\n"), Err("text after a closing quote".to_owned()));
        assert_eq!(read("\"a,1\n2,3\n"), Err("a quote that is never closed".to_owned()));
    }
}
