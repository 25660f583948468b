//! PostgreSQL's regular expressions on the regex crate: rewritten where only the spelling differs, refused where the meaning would.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_expr::Volatility;
use regex::{Captures, Regex, RegexBuilder};
use regex_automata::{Anchored, Input, MatchKind, meta};

use crate::error::{PgError, PgResult};
use crate::function::{Call, Definition, Eval, Plan, no_function};
use crate::types::PgType as T;
use crate::value::Value;

fn invalid(why: &str) -> PgError {
    PgError::new("2201B", format!("invalid regular expression: {why}"))
}

fn unsupported(what: &str) -> PgError {
    PgError::unsupported(format!("regular expressions with {what} are not supported"))
}

/// A pattern that was rewritten and compiled.
struct Compiled {
    first: Regex,
    /// Finds the longest match from a given start.
    longest: meta::Regex,
    /// `*?` and its kin: their extent follows other rules in PostgreSQL.
    is_lazy: bool,
    has_alternatives: bool,
}

/// A pattern in the regex crate's syntax.
#[derive(Default)]
struct Rewritten {
    text: String,
    is_lazy: bool,
    has_alternatives: bool,
    ignores_case: bool,
}

fn literal(out: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(c);
}

/// A bracket expression, after its `[`.
fn bracket(chars: &mut Peekable<Chars<'_>>, out: &mut String, escapes: bool) -> PgResult<()> {
    let open = || invalid("brackets [] not balanced");
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut is_first = true;
    loop {
        let c = chars.next().ok_or_else(open)?;
        match c {
            ']' if !is_first => break,
            '[' if matches!(chars.peek(), Some(':')) => {
                chars.next();
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| *c != ':') {
                    name.push(c);
                }
                if chars.next() != Some(':') || chars.next() != Some(']') {
                    return Err(open());
                }
                out.push_str(match name.as_str() {
                    "alpha" => r"\p{Alphabetic}",
                    "digit" => "0-9",
                    "alnum" => r"\p{Alphabetic}0-9",
                    "upper" => r"\p{Uppercase}",
                    "lower" => r"\p{Lowercase}",
                    "space" => r"\s",
                    "blank" => r" \t",
                    "xdigit" => "0-9A-Fa-f",
                    "word" => r"\w",
                    "punct" | "cntrl" | "graph" | "print" | "ascii" => return Err(unsupported("this character class")),
                    _ => return Err(invalid("invalid character class")),
                });
            }
            '[' if matches!(chars.peek(), Some('.' | '=')) => return Err(unsupported("collating elements")),
            '\\' if escapes => match chars.next().ok_or_else(|| invalid("invalid escape \\ sequence"))? {
                'd' => out.push_str("0-9"),
                c @ ('w' | 's' | 'n' | 't' | 'r' | 'f' | 'v') => {
                    out.push('\\');
                    out.push(c);
                }
                c if c.is_alphanumeric() => return Err(unsupported(&format!("the escape \\{c} in brackets"))),
                c => literal(out, c),
            },
            // A range; at either end of the brackets the sign itself.
            '-' if !is_first && chars.peek() != Some(&']') => out.push('-'),
            c => literal(out, c),
        }
        is_first = false;
    }
    out.push(']');
    Ok(())
}

/// `*`, `+`, `?` or `{m,n}`, if one comes; true where it is lazy.
fn quantifier(chars: &mut Peekable<Chars<'_>>, out: &mut String) -> PgResult<Option<bool>> {
    match chars.peek() {
        Some(c @ ('*' | '+' | '?')) => {
            out.push(*c);
            chars.next();
        }
        Some('{') => {
            let mut ahead = chars.clone();
            ahead.next();
            if !ahead.peek().is_some_and(char::is_ascii_digit) {
                return Ok(None);
            }
            let mut bounds = String::new();
            loop {
                match ahead.next() {
                    Some('}') => break,
                    Some(c) if c.is_ascii_digit() || c == ',' => bounds.push(c),
                    _ => return Err(invalid("invalid repetition count(s)")),
                }
            }
            let mut numbers = bounds.split(',').filter(|n| !n.is_empty()).map(|n| n.parse::<u32>().unwrap_or(u32::MAX));
            if numbers.any(|n| n > 255) || bounds.matches(',').count() > 1 {
                return Err(invalid("invalid repetition count(s)"));
            }
            let _ = write!(out, "{{{bounds}}}");
            *chars = ahead;
        }
        _ => return Ok(None),
    }
    let is_lazy = chars.next_if_eq(&'?').is_some();
    if is_lazy {
        out.push('?');
    }
    if matches!(chars.peek(), Some('*' | '+' | '?')) {
        return Err(invalid("quantifier operand invalid"));
    }
    Ok(Some(is_lazy))
}

/// Rewrites an advanced regular expression.
fn rewrite(pattern: &str) -> PgResult<Rewritten> {
    let mut all = Rewritten::default();
    let mut body = pattern;
    if body.starts_with("***") {
        return Err(unsupported("a *** director"));
    }
    if let Some(rest) = body.strip_prefix("(?i)") {
        all.ignores_case = true;
        body = rest;
    }
    let mut chars = body.chars().peekable();
    let mut quantifiable = false;
    while let Some(c) = chars.next() {
        let out = &mut all.text;
        quantifiable = match c {
            '(' => {
                out.push('(');
                if chars.next_if_eq(&'?').is_some() {
                    if chars.next_if_eq(&':').is_none() {
                        return Err(unsupported("(?…) other than (?:…)"));
                    }
                    out.push_str("?:");
                }
                false
            }
            '|' => {
                all.has_alternatives = true;
                out.push('|');
                false
            }
            '^' => {
                out.push('^');
                false
            }
            '[' => {
                bracket(&mut chars, out, true)?;
                true
            }
            '\\' => match chars.next().ok_or_else(|| invalid("invalid escape \\ sequence"))? {
                'd' => {
                    out.push_str("[0-9]");
                    true
                }
                'D' => {
                    out.push_str("[^0-9]");
                    true
                }
                c @ ('w' | 'W' | 's' | 'S' | 'n' | 't' | 'r' | 'f' | 'v') => {
                    out.push('\\');
                    out.push(c);
                    true
                }
                'y' => {
                    out.push_str(r"\b");
                    false
                }
                'Y' => {
                    out.push_str(r"\B");
                    false
                }
                'm' => {
                    out.push_str(r"\b{start}");
                    false
                }
                'M' => {
                    out.push_str(r"\b{end}");
                    false
                }
                'A' => {
                    out.push_str(r"\A");
                    false
                }
                'Z' => {
                    out.push_str(r"\z");
                    false
                }
                c if c.is_ascii_digit() => return Err(unsupported("back references")),
                c if c.is_alphanumeric() => return Err(unsupported(&format!("the escape \\{c}"))),
                c => {
                    literal(out, c);
                    true
                }
            },
            ')' | '.' => {
                out.push(c);
                true
            }
            '$' => {
                out.push('$');
                false
            }
            '*' | '+' | '?' => return Err(invalid("quantifier operand invalid")),
            '{' if chars.peek().is_some_and(char::is_ascii_digit) => {
                return Err(invalid("quantifier operand invalid"));
            }
            c => {
                literal(out, c);
                true
            }
        };
        if quantifiable && let Some(is_lazy) = quantifier(&mut chars, &mut all.text)? {
            all.is_lazy |= is_lazy;
        }
    }
    let _ = quantifiable;
    Ok(all)
}

/// Rewrites a `SIMILAR TO` pattern: the whole text has to match.
fn rewrite_similar(pattern: &str) -> PgResult<Rewritten> {
    let mut all = Rewritten { has_alternatives: true, ..Rewritten::default() };
    all.text.push_str(r"\A(?:");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let out = &mut all.text;
        match c {
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '[' => bracket(&mut chars, out, false)?,
            '(' => out.push_str("(?:"),
            '|' | ')' | '*' | '+' | '?' => out.push(c),
            '{' if chars.peek().is_some_and(char::is_ascii_digit) => {
                out.push('{');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == '}' {
                        break;
                    }
                }
            }
            '\\' => match chars.next() {
                Some('"') => return Err(unsupported("\\\" separators")),
                Some(c) => literal(out, c),
                None => return Err(PgError::new("22025", "invalid escape sequence")),
            },
            c => literal(out, c),
        }
    }
    all.text.push_str(r")\z");
    Ok(all)
}

fn compile(all: &Rewritten, ignore_case: bool) -> PgResult<Compiled> {
    let ignore_case = ignore_case || all.ignores_case;
    let first = RegexBuilder::new(&all.text)
        .dot_matches_new_line(true)
        .case_insensitive(ignore_case)
        .size_limit(4 << 20)
        .build()
        .map_err(|e| match e {
            regex::Error::CompiledTooBig(_) => PgError::new("54000", "regular expression is too complex"),
            _ => invalid("syntax error"),
        })?;
    let longest = meta::Builder::new()
        .configure(meta::Config::new().match_kind(MatchKind::All))
        .syntax(regex_automata::util::syntax::Config::new().dot_matches_new_line(true).case_insensitive(ignore_case))
        .build(&all.text)
        .map_err(|_| invalid("syntax error"))?;
    Ok(Compiled { first, longest, is_lazy: all.is_lazy, has_alternatives: all.has_alternatives })
}

#[derive(PartialEq, Eq, Hash, Clone, Copy)]
enum Kind {
    Regex { ignore_case: bool },
    Similar,
}

thread_local! {
    /// The patterns that this thread used last: a pattern is nearly always the same for all rows.
    static COMPILED: RefCell<HashMap<(String, Kind), Arc<Compiled>>> = RefCell::default();
}

fn compiled(pattern: &str, kind: Kind) -> PgResult<Arc<Compiled>> {
    let key = (pattern.to_owned(), kind);
    if let Some(found) = COMPILED.with_borrow(|map| map.get(&key).cloned()) {
        return Ok(found);
    }
    let built = Arc::new(match kind {
        Kind::Regex { ignore_case } => compile(&rewrite(pattern)?, ignore_case)?,
        Kind::Similar => compile(&rewrite_similar(pattern)?, false)?,
    });
    COMPILED.with_borrow_mut(|map| {
        if map.len() >= 64 {
            map.clear();
        }
        map.insert(key, Arc::clone(&built));
    });
    Ok(built)
}

impl Compiled {
    /// The match from `start`, where PostgreSQL's rule (the longest) and the regex crate's (the first) agree.
    fn captures<'t>(&self, text: &'t str, start: usize, groups: bool) -> PgResult<Option<Captures<'t>>> {
        if self.is_lazy {
            return Err(unsupported("lazy quantifiers, where the extent of the match matters,"));
        }
        if groups && self.has_alternatives {
            return Err(unsupported("alternatives, where the extent of groups matters,"));
        }
        let Some(found) = self.first.captures_at(text, start) else { return Ok(None) };
        let whole = found.get_match();
        let input = Input::new(text).range(whole.start()..).anchored(Anchored::Yes);
        if self.longest.search(&input).is_none_or(|longest| longest.end() != whole.end()) {
            return Err(unsupported("alternatives of which a later one matches more"));
        }
        Ok(Some(found))
    }
}

fn text(value: &Value) -> &str {
    if let Value::Text(t) = value { t } else { "" }
}

/// Flags: whether case is ignored, and whether all matches are meant.
fn flags(row: &[Value], at: usize, allows_all: bool) -> PgResult<(bool, bool)> {
    let (mut ignore_case, mut all) = (false, false);
    for c in row.get(at).map_or("", text).chars() {
        match c {
            'i' => ignore_case = true,
            'c' => ignore_case = false,
            's' | 't' => {}
            'g' if allows_all => all = true,
            'b' | 'e' | 'm' | 'n' | 'p' | 'q' | 'w' | 'x' => {
                return Err(PgError::unsupported(format!("regular expression option \"{c}\" is not supported")));
            }
            c => return Err(PgError::new("22023", format!("invalid regular expression option: \"{c}\""))),
        }
    }
    Ok((ignore_case, all))
}

fn matches(row: &[Value], ignore_case: bool) -> PgResult<Value> {
    Ok(Value::Bool(compiled(text(&row[1]), Kind::Regex { ignore_case })?.first.is_match(text(&row[0]))))
}

fn replace(row: &[Value]) -> PgResult<Value> {
    let (ignore_case, all) = flags(row, 3, true)?;
    let pattern = compiled(text(&row[1]), Kind::Regex { ignore_case })?;
    let (source, replacement) = (text(&row[0]), text(&row[2]));
    let groups = replacement.as_bytes().windows(2).any(|w| w[0] == b'\\' && w[1].is_ascii_digit());
    let mut out = String::new();
    let mut at = 0;
    while let Some(found) = pattern.captures(source, at, groups)? {
        let whole = found.get_match();
        if all && whole.is_empty() {
            return Err(PgError::unsupported("regexp_replace of all matches where one is empty is not supported"));
        }
        out.push_str(&source[at..whole.start()]);
        let mut chars = replacement.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('&') => out.push_str(whole.as_str()),
                Some(digit @ '1'..='9') => {
                    let group = usize::try_from(digit.to_digit(10).unwrap_or(0)).unwrap_or(0);
                    out.push_str(found.get(group).map_or("", |m| m.as_str()));
                }
                Some('\\') | None => out.push('\\'),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
            }
        }
        at = whole.end();
        if !all || at >= source.len() || out.len() > 16 << 20 {
            break;
        }
    }
    if out.len() > 16 << 20 {
        return Err(PgError::new("54000", "requested length too large"));
    }
    out.push_str(&source[at..]);
    Ok(Value::Text(out))
}

/// `substring(text from pattern)`: the first group where there is one, else the whole match.
pub(crate) fn substring(row: &[Value]) -> PgResult<Value> {
    let pattern = compiled(text(&row[1]), Kind::Regex { ignore_case: false })?;
    let group = usize::from(pattern.first.captures_len() > 1);
    let found = pattern.captures(text(&row[0]), 0, group > 0)?;
    Ok(found.and_then(|f| f.get(group)).map_or(Value::Null, |m| Value::Text(m.as_str().to_owned())))
}

fn planned(name: &str, call: &Call<'_>, counts: &[usize], ret: DataType, eval: Eval) -> PgResult<Plan> {
    if !counts.contains(&call.types.len()) || !call.types.iter().all(|t| t.converts_implicitly_to(&T::Text)) {
        return Err(no_function(name, &call.types));
    }
    Ok(Plan::new(ret, eval).taking(vec![T::Text; call.types.len()]))
}

pub(crate) fn definitions() -> Vec<Definition> {
    let strict = |name, plan| Definition { name, volatility: Volatility::Immutable, strict: true, plan };
    vec![
        strict("pg_regex_match", |n, c| planned(n, c, &[2], DataType::Boolean, |_, r| matches(r, false))),
        strict("pg_regex_imatch", |n, c| planned(n, c, &[2], DataType::Boolean, |_, r| matches(r, true))),
        strict("pg_similar_to", |n, c| {
            planned(n, c, &[2], DataType::Boolean, |_, r| {
                Ok(Value::Bool(compiled(text(&r[1]), Kind::Similar)?.first.is_match(text(&r[0]))))
            })
        }),
        strict("regexp_like", |n, c| {
            planned(n, c, &[2, 3], DataType::Boolean, |_, r| matches(r, flags(r, 2, false)?.0))
        }),
        strict("regexp_replace", |n, c| planned(n, c, &[3, 4], DataType::Utf8, |_, r| replace(r))),
        strict("regexp_substr", |n, c| {
            Ok(planned(n, c, &[2], DataType::Utf8, |_, r| {
                let found =
                    compiled(text(&r[1]), Kind::Regex { ignore_case: false })?.captures(text(&r[0]), 0, false)?;
                Ok(found.map_or(Value::Null, |f| Value::Text(f.get_match().as_str().to_owned())))
            })?
            .makes_null())
        }),
        strict("regexp_match", |n, c| {
            Ok(planned(n, c, &[2, 3], DataType::new_list(DataType::Utf8, true), |_, r| {
                let (ignore_case, _) = flags(r, 2, false)?;
                let pattern = compiled(text(&r[1]), Kind::Regex { ignore_case })?;
                let has_groups = pattern.first.captures_len() > 1;
                let Some(found) = pattern.captures(text(&r[0]), 0, has_groups)? else { return Ok(Value::Null) };
                let skip = usize::from(has_groups);
                let items =
                    found.iter().skip(skip).map(|m| m.map_or(Value::Null, |m| Value::Text(m.as_str().to_owned())));
                Ok(Value::List(items.collect()))
            })?
            .makes_null())
        }),
    ]
}
