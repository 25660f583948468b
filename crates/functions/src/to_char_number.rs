//! `to_char` of numbers, as PostgreSQL walks a pattern: digits (9, 0), the point (. D), group marks (, G), signs (S, MI), FM and text.
//!
//! What a pattern would take from the locale's currency (L), and PR, PL, SG, TH, V, B, RN and EEEE, is refused.

use crate::error::{PgError, PgResult};

/// A pattern, read once.
#[derive(Debug, Default)]
pub(crate) struct Pattern {
    nodes: Vec<Node>,
    /// Digits before the point, and behind it.
    before: usize,
    pub(crate) behind: usize,
    has_point: bool,
    /// FM: no blanks, no trailing zeros.
    is_tight: bool,
    /// Which digit the first 0 is.
    first_zero: Option<usize>,
    /// Digits up to the last 0.
    last_zero: usize,
    has_minus: bool,
    sign: Sign,
}

/// Where S stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Sign {
    #[default]
    None,
    Before,
    Behind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Nine,
    Zero,
    Point,
    Group,
    Minus,
    /// S: written by the digits beside it.
    Sign,
    Text(String),
}

impl Pattern {
    /// # Errors
    /// 0A000 for what is not implemented, 42601 for what PostgreSQL refuses.
    pub(crate) fn read(pattern: &str) -> PgResult<Self> {
        let unsupported = || PgError::unsupported(format!("to_char pattern \"{pattern}\" is not supported"));
        let mut read = Self::default();
        let mut digits_before_sign = None;
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            let (node, length) = match first {
                '"' => {
                    let end = rest[1..].find('"').ok_or_else(unsupported)?;
                    let text = &rest[1..=end];
                    if text.contains('\\') {
                        return Err(unsupported());
                    }
                    (Node::Text(text.to_owned()), end + 2)
                }
                'F' if rest.starts_with("FM") => {
                    read.is_tight = true;
                    rest = &rest[2..];
                    continue;
                }
                '9' | '0' => {
                    if read.has_point {
                        read.behind += 1;
                    } else {
                        read.before += 1;
                    }
                    if first == '0' {
                        if !read.has_point && read.first_zero.is_none() {
                            read.first_zero = Some(read.before - 1);
                        }
                        read.last_zero = read.before + read.behind;
                    }
                    (if first == '9' { Node::Nine } else { Node::Zero }, 1)
                }
                '.' | 'D' => {
                    if read.has_point {
                        return Err(PgError::new("42601", "multiple decimal points"));
                    }
                    read.has_point = true;
                    (Node::Point, 1)
                }
                ',' | 'G' => (Node::Group, 1),
                'M' if rest.starts_with("MI") => {
                    if read.sign != Sign::None {
                        return Err(PgError::new("42601", "cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
                    }
                    read.has_minus = true;
                    (Node::Minus, 2)
                }
                'S' if !rest.starts_with("SG") && !rest.starts_with("SP") => {
                    if read.sign != Sign::None {
                        return Err(PgError::new("42601", "cannot use \"S\" twice"));
                    }
                    if read.has_minus {
                        return Err(PgError::new("42601", "cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
                    }
                    read.sign = if read.has_point { Sign::Behind } else { Sign::Before };
                    digits_before_sign = Some(read.before).filter(|_| !read.has_point);
                    (Node::Sign, 1)
                }
                other if other.is_alphanumeric() || other == '\\' => return Err(unsupported()),
                other => (Node::Text(other.to_string()), other.len_utf8()),
            };
            read.nodes.push(node);
            rest = &rest[length..];
        }
        // An S after all digits before the point is one behind.
        if read.sign == Sign::Before && digits_before_sign == Some(read.before) {
            read.sign = Sign::Behind;
        }
        Ok(read)
    }

    /// The text of a number: its sign, and its digits, rounded to `behind` digits behind the point. That are
    /// [`Pattern::behind`], or fewer for a double that has no more.
    pub(crate) fn write(&self, is_negative: bool, digits: &str, behind: usize) -> String {
        let whole = digits.find('.').unwrap_or(digits.len());
        let (blanks, digits) = if whole > self.before {
            (0, format!("{}.{}", "#".repeat(self.before), "#".repeat(behind)))
        } else {
            (self.before - whole, digits.to_owned())
        };
        Writer::new(self, is_negative, blanks, digits.into_bytes(), behind).text()
    }
}

/// One walk over a pattern, with PostgreSQL's own bookkeeping.
struct Writer<'p> {
    pattern: &'p Pattern,
    is_negative: bool,
    blanks: usize,
    behind: usize,
    digits: Vec<u8>,
    /// The next of `digits`.
    at: usize,
    /// Under FM, the last one behind the point that is not a zero, or the point itself.
    last_relevant: Option<usize>,
    position: usize,
    last_position: usize,
    sign_written: bool,
    in_number: bool,
    out: String,
}

impl<'p> Writer<'p> {
    fn new(pattern: &'p Pattern, is_negative: bool, blanks: usize, digits: Vec<u8>, behind: usize) -> Self {
        let sign_written =
            if pattern.has_minus { true } else { !is_negative && pattern.is_tight && pattern.sign == Sign::None };
        let mut last_relevant = None;
        if pattern.is_tight
            && pattern.has_point
            && let Some(point) = digits.iter().position(|digit| *digit == b'.')
        {
            let mut last = (point..digits.len()).rev().find(|at| digits[*at] != b'0').unwrap_or(point).max(point);
            if pattern.last_zero > blanks {
                last = last.max((digits.len() - 1).min(pattern.last_zero - blanks));
            }
            last_relevant = Some(last);
        }
        let mut last_position = (behind + pattern.before).wrapping_sub(1);
        if !sign_written && blanks == 0 {
            last_position = last_position.wrapping_add(1);
        }
        Self {
            pattern,
            is_negative,
            blanks,
            behind,
            digits,
            at: 0,
            last_relevant,
            position: 0,
            last_position,
            sign_written,
            in_number: false,
            out: String::new(),
        }
    }

    fn text(mut self) -> String {
        let pattern = self.pattern;
        for node in &pattern.nodes {
            match node {
                Node::Nine | Node::Zero | Node::Point => self.digit(node),
                Node::Group => {
                    if self.in_number {
                        self.out.push(',');
                    } else if !pattern.is_tight {
                        self.out.push(' ');
                    }
                }
                Node::Minus => {
                    if self.is_negative {
                        self.out.push('-');
                    } else if !pattern.is_tight {
                        self.out.push(' ');
                    }
                }
                Node::Sign => {}
                Node::Text(text) => self.out.push_str(text),
            }
        }
        self.out
    }

    fn is_point_last(&self) -> bool {
        self.last_relevant.is_some_and(|last| self.digits.get(last) == Some(&b'.'))
    }

    /// A zero before the point that a 9 does not show.
    fn is_blank_zero(&self) -> bool {
        self.pattern.first_zero.is_none() && self.at == 0 && self.digits.first() == Some(&b'0') && self.behind != 0
    }

    fn digit(&mut self, node: &Node) {
        let pattern = self.pattern;
        let zeros_begun = pattern.first_zero.is_some_and(|first| first <= self.position);
        self.in_number = false;
        if !self.sign_written
            && (self.position >= self.blanks || pattern.first_zero == Some(self.position))
            && (!self.is_blank_zero() || self.is_point_last())
        {
            match pattern.sign {
                Sign::Before => {
                    self.out.push(if self.is_negative { '-' } else { '+' });
                    self.sign_written = true;
                }
                Sign::Behind => {}
                Sign::None => {
                    if self.is_negative {
                        self.out.push('-');
                    } else if !pattern.is_tight {
                        self.out.push(' ');
                    }
                    self.sign_written = true;
                }
            }
        }
        if self.position < self.blanks && !zeros_begun {
            if !pattern.is_tight {
                self.out.push(' ');
            }
        } else if self.position < self.blanks {
            self.out.push('0');
            self.in_number = true;
        } else {
            match self.digits.get(self.at) {
                Some(b'.') => {
                    if !self.is_point_last() || pattern.is_tight {
                        self.out.push('.');
                    }
                }
                next => {
                    if self.last_relevant.is_some_and(|last| self.at > last) && *node != Node::Zero {
                        // A trailing zero under FM.
                    } else if self.is_blank_zero() {
                        if !pattern.is_tight {
                            self.out.push(' ');
                        } else if self.is_point_last() {
                            self.out.push('0');
                        }
                    } else if let Some(digit) = next {
                        self.out.push(char::from(*digit));
                        self.in_number = true;
                    }
                }
            }
            if self.at < self.digits.len() {
                self.at += 1;
            }
        }
        let mut end =
            self.last_position.wrapping_add(usize::from(self.blanks > 0)).wrapping_add(usize::from(pattern.has_point));
        if self.last_relevant == Some(self.at) {
            end = self.position;
        }
        if self.position + 1 == end && pattern.sign == Sign::Behind {
            self.out.push(if self.is_negative { '-' } else { '+' });
        }
        self.position += 1;
    }
}
