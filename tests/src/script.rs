//! Reads `.slt` files: records of a query to us and the reference that PostgreSQL runs; `tests/slt/README.md` describes the format.

use std::fmt;

/// One record, or a line that changes a setting for the records after it.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Setting(Setting),
    Record(Record),
}

/// `setting NAME = VALUE`; without a value (`default`) the session's own one comes back.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub name: String,
    pub value: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Of the `query` line, from 1.
    pub line: usize,
    pub query: String,
    /// Absent only where an error is expected.
    pub reference: Option<String>,
    pub expected: Expected,
    /// Values of `$1`, `$2`, … as text, untyped; `None` is NULL. With any, only the extended protocol runs.
    pub bind: Vec<Option<String>>,
    /// Off by `names-differ`.
    pub compares_names: bool,
    /// Off by `types-differ`.
    pub compares_types: bool,
    /// `psql`: the statement runs through that program too.
    pub through_psql: bool,
    /// `only=…`: the variants of the model that it is for; empty means all.
    pub only: Vec<String>,
}

impl Record {
    /// Rows are compared in order where the statement orders its result, else as multisets.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        orders_its_result(&self.query)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// At least one row, so that a statement whose filter fits nothing does not pass for a test.
    Rows,
    /// `empty`: none.
    NoRows,
    /// `error SQLSTATE TEXT`: one of the states (`42803/0A000`), and the text somewhere in message, detail or hint, in any case.
    Error { sqlstates: Vec<String>, text: String },
}

/// A file that does not follow the format.
#[derive(Debug, PartialEq)]
pub struct FormatError {
    pub line: usize,
    pub message: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for FormatError {}

/// Splits a file into its items.
///
/// # Errors
/// The first line that does not follow the format. A record without `reference` that expects rows, and one that is ordered on
/// one side only, are such faults: they would compare nothing, or by chance.
pub fn parse(text: &str) -> Result<Vec<Item>, FormatError> {
    let mut items = Vec::new();
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line)).peekable();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(setting) = line.strip_prefix("setting ") {
            items.push(Item::Setting(parse_setting(number, setting)?));
            continue;
        }
        let Some(options) = line.strip_prefix("query").filter(|rest| rest.is_empty() || rest.starts_with(' ')) else {
            return Err(FormatError {
                line: number,
                message: format!("expected `query`, `setting` or a comment, found: {line}"),
            });
        };
        let mut record = parse_options(number, options)?;
        let mut query = Vec::new();
        let mut reference: Option<Vec<&str>> = None;
        while let Some((number, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
            match (line.trim_end(), &mut reference) {
                ("reference", None) => reference = Some(Vec::new()),
                ("reference", Some(_)) => {
                    return Err(FormatError { line: number, message: "a second `reference` in one record".to_owned() });
                }
                (line, None) => match line.strip_prefix("bind ") {
                    Some(values) if query.is_empty() => record.bind = parse_bind(values),
                    _ => query.push(line),
                },
                (line, Some(reference)) => reference.push(line),
            }
        }
        record.query = query.join("\n");
        record.reference = reference.map(|lines| lines.join("\n"));
        check(&record)?;
        items.push(Item::Record(record));
    }
    Ok(items)
}

fn check(record: &Record) -> Result<(), FormatError> {
    let fault = |message: &str| Err(FormatError { line: record.line, message: message.to_owned() });
    if record.query.trim().is_empty() {
        return fault("the record has no statement");
    }
    match &record.reference {
        Some(reference) if reference.trim().is_empty() => fault("the reference is empty"),
        Some(reference) if orders_its_result(reference) != record.is_ordered() => {
            fault("only one of query and reference has an ORDER BY of its own")
        }
        None if !matches!(record.expected, Expected::Error { .. }) => {
            fault("rows are expected, but there is no reference")
        }
        _ => Ok(()),
    }
}

fn parse_setting(line: usize, text: &str) -> Result<Setting, FormatError> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| FormatError { line, message: "expected `setting NAME = VALUE`".to_owned() })?;
    let value = value.trim();
    Ok(Setting { name: name.trim().to_owned(), value: (value != "default").then(|| value.to_owned()) })
}

fn parse_options(line: usize, options: &str) -> Result<Record, FormatError> {
    let mut record = Record {
        line,
        query: String::new(),
        reference: None,
        expected: Expected::Rows,
        bind: Vec::new(),
        compares_names: true,
        compares_types: true,
        through_psql: false,
        only: Vec::new(),
    };
    let mut rest = options.trim();
    while !rest.is_empty() {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after.trim_start();
        match word {
            "empty" => record.expected = Expected::NoRows,
            "names-differ" => record.compares_names = false,
            "types-differ" => record.compares_types = false,
            "psql" => record.through_psql = true,
            "error" => {
                let (sqlstates, text) = rest.split_once(' ').unwrap_or((rest, ""));
                let sqlstates: Vec<String> = sqlstates.split('/').map(str::to_owned).collect();
                if sqlstates.iter().any(|state| state.len() != 5) {
                    return Err(FormatError { line, message: "expected `error SQLSTATE TEXT`".to_owned() });
                }
                record.expected = Expected::Error { sqlstates, text: text.to_owned() };
                rest = "";
            }
            _ => match word.strip_prefix("only=") {
                Some(variants) => record.only = variants.split(',').map(str::to_owned).collect(),
                None => return Err(FormatError { line, message: format!("unknown option `{word}`") }),
            },
        }
    }
    Ok(record)
}

/// `a | b | \N`: text values, trimmed of the blanks around the bars.
fn parse_bind(values: &str) -> Vec<Option<String>> {
    values.split('|').map(str::trim).map(|value| (value != "\\N").then(|| value.to_owned())).collect()
}

/// Whether the statement has an ORDER BY outside of all parentheses and quotes.
fn orders_its_result(sql: &str) -> bool {
    let mut depth = 0_i32;
    let mut outside = String::with_capacity(sql.len());
    let mut characters = sql.chars();
    while let Some(character) = characters.next() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\'' | '"' => {
                characters.by_ref().find(|closing| *closing == character);
            }
            other if depth == 0 => outside.push(other.to_ascii_uppercase()),
            _ => {}
        }
    }
    let words: Vec<&str> = outside.split_whitespace().collect();
    words.windows(2).any(|pair| pair == ["ORDER", "BY"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only_record(text: &str) -> Result<Record, FormatError> {
        match parse(text)?.into_iter().next() {
            Some(Item::Record(record)) => Ok(record),
            other => panic!("one record was written, not {other:?}"),
        }
    }

    #[test]
    fn a_record_has_a_query_and_a_reference() -> Result<(), FormatError> {
        let record = only_record(
            "# why\n\nquery psql only=files,split\nSELECT 1\n  ORDER BY 1\nreference\nSELECT 1 ORDER BY 1\n",
        )?;
        assert_eq!(record.line, 3);
        assert_eq!(record.query, "SELECT 1\n  ORDER BY 1");
        assert_eq!(record.reference.as_deref(), Some("SELECT 1 ORDER BY 1"));
        assert!(record.is_ordered() && record.through_psql);
        assert_eq!(record.only, ["files", "split"]);
        Ok(())
    }

    #[test]
    fn an_expected_error_needs_no_reference() -> Result<(), FormatError> {
        let record = only_record("query error 42703/42P01 column \"x y\"\nSELECT x\n")?;
        let Expected::Error { sqlstates, text } = record.expected else { panic!("an error was asked for") };
        assert_eq!((sqlstates.join(","), text.as_str()), ("42703,42P01".to_owned(), "column \"x y\""));
        Ok(())
    }

    #[test]
    fn rows_need_a_reference() {
        let error = parse("query\nSELECT 1\n").expect_err("nothing to compare with");
        assert_eq!(error.to_string(), "line 1: rows are expected, but there is no reference");
    }

    #[test]
    fn both_sides_are_ordered_or_none() {
        let error = parse("query\nSELECT 1 ORDER BY 1\nreference\nSELECT 1\n").expect_err("ordered on one side");
        assert_eq!(error.line, 1);
    }

    #[test]
    fn an_order_inside_a_window_or_a_string_does_not_order_the_result() {
        assert!(!orders_its_result("SELECT rank() OVER (ORDER BY x), ' ORDER BY ' FROM t"));
        assert!(orders_its_result("SELECT x FROM t\norder\n by x"));
    }

    #[test]
    fn bound_values_are_text_or_null() -> Result<(), FormatError> {
        let record = only_record("query\nbind 3 | Oslo | \\N\nSELECT $1\nreference\nSELECT $1\n")?;
        assert_eq!(record.bind, [Some("3".to_owned()), Some("Oslo".to_owned()), None]);
        Ok(())
    }

    #[test]
    fn an_unknown_option_is_an_error() {
        assert!(parse("query sorted\nSELECT 1\nreference\nSELECT 1\n").is_err());
    }
}
