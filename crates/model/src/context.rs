//! What access policies say about the user: `{ security_context.region }` in a filter's value, and the expressions of `conditions.if`.
//!
//! Nothing of it ever becomes SQL text: a value is bound, a condition is decided before a query is planned. A thing that the user
//! does not have is neither true nor equal to anything, so that a condition on it does not hold.

use crate::pieces::{Piece, split};

/// Something that is known of the user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ContextPath {
    /// An attribute of the user.
    Attribute(String),
    /// The names of the user's groups.
    Groups,
    /// The name that the user logged in with.
    User,
}

/// What a path leads to for some user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextValue {
    Missing,
    One(String),
    Many(Vec<String>),
}

/// A piece of a filter's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValuePart {
    Text(String),
    Context(ContextPath),
}

/// An expression of `conditions.if`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextCondition {
    /// A path alone: there, and not empty, `0` or `false`.
    Holds(Operand),
    Equal(Operand, Operand),
    /// The left one is among the right ones.
    In(Operand, Operand),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    Literal(String),
    List(Vec<String>),
    Path(ContextPath),
}

/// Names that stand before what is known of the user, and say nothing by themselves.
const CONTEXT_NAMES: [&str; 4] = ["security_context", "securityContext", "SECURITY_CONTEXT", "USER_CONTEXT"];
const CLOUD_NAMES: [&str; 2] = ["cubeCloud", "cube_cloud"];
const ATTRIBUTE_NAMES: [&str; 3] = ["user_attributes", "userAttributes", "attributes"];
/// Deepest nesting of brackets and negations.
const DEPTH_MAX: usize = 32;

/// Reads a filter's value: text with `{ … }` in it.
///
/// # Errors
/// What cannot be read, as a sentence.
pub fn parse_value(text: &str) -> Result<Vec<ValuePart>, String> {
    split(text)
        .into_iter()
        .map(|piece| match piece {
            Piece::Text(text) => Ok(ValuePart::Text(text)),
            Piece::Reference { expression, .. } => parse_path(&expression).map(ValuePart::Context),
            Piece::Jinja { .. } => Err("a Jinja template is not read in a filter's value".to_owned()),
            Piece::Stray { .. } => Err("a brace without its partner".to_owned()),
        })
        .collect()
}

/// `security_context.region`, `user_attributes.region`, `security_context.cubeCloud.userAttributes.region`, `groups`, ….
pub(crate) fn parse_path(written: &str) -> Result<ContextPath, String> {
    let unreadable = || {
        format!(
            "`{}` is nothing that is known of a user: write `security_context.NAME` for an attribute, \
             `security_context.groups` or `security_context.user`",
            written.trim()
        )
    };
    let names: Vec<&str> = written.split('.').map(|name| name.trim().trim_end_matches('?')).collect();
    if names.iter().any(|name| !crate::spelling::is_identifier(name)) {
        return Err(unreadable());
    }
    let mut rest = names.as_slice();
    let mut skip = |known: &[&str]| match rest.split_first() {
        Some((first, behind)) if known.contains(first) => {
            rest = behind;
            true
        }
        _ => false,
    };
    let (in_context, _) = (skip(&CONTEXT_NAMES), skip(&CLOUD_NAMES));
    let in_attributes = skip(&ATTRIBUTE_NAMES);
    match rest {
        ["groups"] if !in_attributes => Ok(ContextPath::Groups),
        ["user"] if in_context && !in_attributes => Ok(ContextPath::User),
        [name] if in_context || in_attributes => Ok(ContextPath::Attribute((*name).to_owned())),
        _ => Err(unreadable()),
    }
}

/// Reads an expression of `conditions.if`: paths, texts, `==`, `!=`, `in`, `and`, `or`, `not` and their spellings in JavaScript.
///
/// # Errors
/// What cannot be read, as a sentence.
pub fn parse_condition(text: &str) -> Result<ContextCondition, String> {
    let trimmed = text.trim();
    let inner = trimmed.strip_prefix('$').unwrap_or(trimmed);
    let inner = inner.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(trimmed);
    let mut reader = Reader { tokens: tokens(inner)?, at: 0, depth: 0 };
    let condition = reader.either()?;
    match reader.peek() {
        None => Ok(condition),
        Some(token) => Err(format!("unexpected `{}`", token.shown())),
    }
}

impl ContextCondition {
    /// Whether it holds. `None`: it asks for what the user does not have, so that neither it nor its opposite holds.
    pub fn holds(&self, known: &impl Fn(&ContextPath) -> ContextValue) -> Option<bool> {
        let value = |operand: &Operand| match operand {
            Operand::Literal(text) => ContextValue::One(text.clone()),
            Operand::List(texts) => ContextValue::Many(texts.clone()),
            Operand::Path(path) => known(path),
        };
        match self {
            Self::Holds(operand) => match value(operand) {
                ContextValue::Missing => None,
                ContextValue::One(text) => Some(!matches!(text.as_str(), "" | "0" | "false" | "False")),
                ContextValue::Many(texts) => Some(!texts.is_empty()),
            },
            Self::Equal(one, other) => match (value(one), value(other)) {
                (ContextValue::One(one), ContextValue::One(other)) => Some(one == other),
                (ContextValue::Missing, _) | (_, ContextValue::Missing) => None,
                (ContextValue::Many(one), ContextValue::Many(other)) => Some(one == other),
                (ContextValue::Many(_), _) | (_, ContextValue::Many(_)) => Some(false),
            },
            Self::In(one, others) => match (value(one), value(others)) {
                (ContextValue::One(one), ContextValue::Many(others)) => Some(others.contains(&one)),
                (ContextValue::Missing, _) | (_, ContextValue::Missing) => None,
                // A text is no list: what is meant is not known.
                (_, ContextValue::One(_)) | (ContextValue::Many(_), _) => None,
            },
            Self::Not(inner) => inner.holds(known).map(|holds| !holds),
            Self::And(one, other) => match (one.holds(known), other.holds(known)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                (None, _) | (_, None) => None,
            },
            Self::Or(one, other) => match (one.holds(known), other.holds(known)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                (None, _) | (_, None) => None,
            },
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A name, or names with dots between them.
    Words(String),
    Text(String),
    Sign(&'static str),
}

impl Token {
    fn shown(&self) -> &str {
        match self {
            Self::Words(text) | Self::Text(text) => text,
            Self::Sign(sign) => sign,
        }
    }
}

const SIGNS: [&str; 14] = ["===", "!==", "==", "!=", "&&", "||", "!", "(", ")", "[", "]", ",", "<", ">"];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if matches!(first, '\'' | '"') {
            let inner = &rest[1..];
            let Some(end) = inner.find(first) else { return Err("a quote without its partner".to_owned()) };
            if inner[..end].contains('\\') {
                return Err("a text with a backslash is not read".to_owned());
            }
            found.push(Token::Text(inner[..end].to_owned()));
            rest = &inner[end + 1..];
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            found.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '?' | '-');
            let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!("unexpected `{first}`"));
            }
            found.push(Token::Words(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(found)
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// Takes the next token if it is one of these.
    fn takes(&mut self, words: &[&str]) -> bool {
        let found = match self.peek() {
            Some(Token::Words(word)) => words.contains(&word.as_str()),
            Some(Token::Sign(sign)) => words.contains(sign),
            Some(Token::Text(_)) | None => false,
        };
        self.at += usize::from(found);
        found
    }

    fn either(&mut self) -> Result<ContextCondition, String> {
        let mut left = self.both()?;
        while self.takes(&["or", "||"]) {
            left = ContextCondition::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<ContextCondition, String> {
        let mut left = self.negated()?;
        while self.takes(&["and", "&&"]) {
            left = ContextCondition::And(Box::new(left), Box::new(self.negated()?));
        }
        Ok(left)
    }

    fn negated(&mut self) -> Result<ContextCondition, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("it is nested too deeply".to_owned());
        }
        let read = if self.takes(&["not", "!"]) {
            self.negated().map(|inner| ContextCondition::Not(Box::new(inner)))
        } else {
            self.comparison()
        };
        self.depth -= 1;
        read
    }

    fn comparison(&mut self) -> Result<ContextCondition, String> {
        if self.takes(&["("]) {
            let inner = self.either()?;
            return if self.takes(&[")"]) { Ok(inner) } else { Err("a bracket without its partner".to_owned()) };
        }
        let left = self.operand()?;
        if self.takes(&["==", "==="]) {
            return Ok(ContextCondition::Equal(left, self.operand()?));
        }
        if self.takes(&["!=", "!=="]) {
            return Ok(ContextCondition::Not(Box::new(ContextCondition::Equal(left, self.operand()?))));
        }
        if self.takes(&["in"]) {
            return Ok(ContextCondition::In(left, self.operand()?));
        }
        if self.takes(&["not"]) {
            if !self.takes(&["in"]) {
                return Err("`in` is missing behind `not`".to_owned());
            }
            return Ok(ContextCondition::Not(Box::new(ContextCondition::In(left, self.operand()?))));
        }
        Ok(ContextCondition::Holds(left))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        if self.takes(&["["]) {
            let mut texts = Vec::new();
            while !self.takes(&["]"]) {
                match self.operand()? {
                    Operand::Literal(text) => texts.push(text),
                    Operand::List(_) | Operand::Path(_) => return Err("a list holds texts and numbers".to_owned()),
                }
                if !self.takes(&[","]) && !matches!(self.peek(), Some(Token::Sign("]"))) {
                    return Err("a list without its end".to_owned());
                }
            }
            return Ok(Operand::List(texts));
        }
        let token = self.peek().cloned().ok_or_else(|| "it ends too early".to_owned())?;
        self.at += 1;
        match token {
            Token::Text(text) => Ok(Operand::Literal(text)),
            Token::Words(word) if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                Ok(Operand::Literal(word))
            }
            Token::Words(word) => match word.as_str() {
                "true" | "True" => Ok(Operand::Literal("true".to_owned())),
                "false" | "False" => Ok(Operand::Literal("false".to_owned())),
                _ => parse_path(&word).map(Operand::Path),
            },
            Token::Sign(sign) => Err(format!("unexpected `{sign}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ContextPath, ContextValue, ValuePart, parse_condition, parse_value};

    fn known(path: &ContextPath) -> ContextValue {
        match path {
            ContextPath::Attribute(name) => match name.as_str() {
                "region" => ContextValue::One("EU".to_owned()),
                "admin" => ContextValue::One("false".to_owned()),
                _ => ContextValue::Missing,
            },
            ContextPath::Groups => ContextValue::Many(vec!["sales".to_owned(), "eu".to_owned()]),
            ContextPath::User => ContextValue::One("ada".to_owned()),
        }
    }

    fn holds(text: &str) -> Option<bool> {
        parse_condition(text).expect("the condition can be read").holds(&known)
    }

    #[test]
    fn conditions_are_decided_by_what_is_known() {
        assert_eq!(holds("{ security_context.region == 'EU' }"), Some(true));
        assert_eq!(holds("{ user_attributes.region != 'EU' }"), Some(false));
        assert_eq!(
            holds("securityContext.cubeCloud.userAttributes.region === \"EU\" && !securityContext.admin"),
            Some(true)
        );
        assert_eq!(holds("{ 'sales' in security_context.groups and security_context.user == 'ada' }"), Some(true));
        assert_eq!(holds("{ security_context.region in ['US', 'EU'] }"), Some(true));
        assert_eq!(holds("{ security_context.region not in ['US', 'EU'] }"), Some(false));
        assert_eq!(holds("{ (security_context.admin or security_context.region == 'US') }"), Some(false));
    }

    #[test]
    fn what_a_user_does_not_have_makes_neither_a_condition_nor_its_opposite_hold() {
        for text in ["security_context.team", "not security_context.team", "security_context.team != 'a'"] {
            assert_eq!(holds(text), None, "{text}");
        }
        assert_eq!(holds("security_context.team == 'a' and security_context.region == 'US'"), Some(false));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in
            ["", "region == 'EU'", "security_context.a.b", "security_context.a > 1", "f(security_context.a)", "(("]
        {
            assert!(parse_condition(text).is_err(), "{text}");
        }
        for text in [
            "{ region }",
            "{{ security_context.region }}",
            "{ security_context.region",
            "{ security_context.a || 'x' }",
        ] {
            assert!(parse_value(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_is_text_with_paths_in_it() {
        let region = || ValuePart::Context(ContextPath::Attribute("region".to_owned()));
        assert_eq!(parse_value("EU"), Ok(vec![ValuePart::Text("EU".to_owned())]));
        assert_eq!(parse_value("{ security_context.region }"), Ok(vec![region()]));
        assert_eq!(parse_value("x-{userAttributes.region}"), Ok(vec![ValuePart::Text("x-".to_owned()), region()]));
    }
}
