//! Reads JSON objects, one a line, without losing a digit: numbers stay the text that they are.

use std::borrow::Cow;
use std::io::BufRead;

use serde::de::IgnoredAny;

/// A value of an object's member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json<'a> {
    Null,
    /// `true`, `false` or a number, as written.
    Plain(&'a str),
    /// A string, without its quotes and escapes.
    Text(Cow<'a, str>),
    /// An object or array, as written.
    Nested(&'a str),
}

impl Json<'_> {
    /// What a column of a declared type reads; None is NULL.
    pub(super) fn cell(&self) -> Option<&[u8]> {
        match self {
            Json::Null => None,
            Json::Plain(text) | Json::Nested(text) => Some(text.as_bytes()),
            Json::Text(text) => Some(text.as_bytes()),
        }
    }
}

/// The members of an object, in order.
pub(super) type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

/// Reads lines one by one.
pub(super) struct Lines<R> {
    input: R,
    /// The line that was read last; the first is 1.
    pub(super) line: u64,
    text: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, line: 0, text: Vec::new() }
    }

    /// The members of the next line's object; None at the end of the file. Empty lines are skipped.
    ///
    /// # Errors
    /// In words, when the file cannot be read or the line is not one JSON object.
    pub(super) fn next(&mut self) -> Result<Option<Members<'_>>, String> {
        loop {
            self.text.clear();
            if self.input.read_until(b'\n', &mut self.text).map_err(|error| error.to_string())? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if !self.text.trim_ascii().is_empty() {
                break;
            }
        }
        let text = std::str::from_utf8(&self.text).map_err(|_| "text that is not UTF-8".to_owned())?;
        // The whole line is checked once; the scan below may then trust its shape.
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("text that is not json ({error})"))?;
        members(text.trim()).map(Some).ok_or_else(|| "a line that is not a json object".to_owned())
    }
}

/// The members of an object that is known to be well formed; None where the text is something else.
fn members(text: &str) -> Option<Members<'_>> {
    let mut rest = text.strip_prefix('{')?.trim_start();
    let mut found = Vec::new();
    while !rest.starts_with('}') {
        let (name, after) = rest.split_at(value_end(rest)?);
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        let (value, after) = rest.split_at(value_end(rest)?);
        let value = match value.as_bytes().first()? {
            b'"' => Json::Text(unescaped(value)?),
            b'{' | b'[' => Json::Nested(value),
            b'n' => Json::Null,
            _ => Json::Plain(value),
        };
        found.push((unescaped(name)?, value));
        rest = after.trim_start();
        rest = rest.strip_prefix(',').map_or(rest, str::trim_start);
    }
    Some(found)
}

fn unescaped(quoted: &str) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(quoted).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// Where the value that `text` begins with ends.
fn value_end(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    in_string = false;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Json, Lines};

    #[test]
    fn members_are_split_and_numbers_keep_their_digits() {
        let text = "\n {\"a\" : 0.1000000000000000000001 , \"b,\\\"}\":\"x\\u00e9\\\\\",\"c\":[1,{\"d\":\"]\"}],\"e\":null,\"f\":true}\r\n{}\n";
        let mut lines = Lines::new(text.as_bytes());
        let members = lines.next().expect("an object").expect("a line");
        assert_eq!(
            members,
            vec![
                ("a".into(), Json::Plain("0.1000000000000000000001")),
                ("b,\"}".into(), Json::Text("xé\\".into())),
                ("c".into(), Json::Nested("[1,{\"d\":\"]\"}]")),
                ("e".into(), Json::Null),
                ("f".into(), Json::Plain("true")),
            ]
        );
        assert_eq!(lines.next(), Ok(Some(vec![])));
        assert_eq!((lines.line, lines.next()), (3, Ok(None)));
    }

    #[test]
    fn other_lines_are_refused() {
        for text in ["[1]", "1", "\"a\"", "{\"a\":1} {\"b\":2}", "{\"a\":}", "{", "{'a':1}"] {
            assert!(Lines::new(text.as_bytes()).next().is_err(), "{text}");
        }
    }
}
