//! Statements that are not queries: settings, transactions, clearing up. Read from their tokens, because clients write forms that
//! the SQL parser does not know.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::SqlError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Utility {
    Set {
        name: String,
        value: String,
        local: bool,
    },
    /// `SET name TO DEFAULT`, `RESET name`.
    Reset {
        name: String,
    },
    ResetAll,
    Show {
        name: String,
    },
    ShowAll,
    Begin,
    Commit,
    Rollback,
    Savepoint {
        name: String,
    },
    Release {
        name: String,
    },
    RollbackTo {
        name: String,
    },
    /// `None` is ALL.
    Deallocate {
        name: Option<String>,
    },
    DiscardAll,
    /// Statements that clients send to set themselves up and that have nothing to do here; the tag to answer with.
    Nothing {
        tag: &'static str,
    },
}

impl Utility {
    /// The tag that PostgreSQL answers with.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Set { .. } => "SET",
            Self::Reset { .. } | Self::ResetAll => "RESET",
            Self::Show { .. } | Self::ShowAll => "SHOW",
            Self::Begin => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Rollback | Self::RollbackTo { .. } => "ROLLBACK",
            Self::Savepoint { .. } => "SAVEPOINT",
            Self::Release { .. } => "RELEASE",
            Self::Deallocate { name: None } => "DEALLOCATE ALL",
            Self::Deallocate { .. } => "DEALLOCATE",
            Self::DiscardAll => "DISCARD ALL",
            Self::Nothing { tag } => tag,
        }
    }
}

/// Reads a utility statement; `None` for anything else.
///
/// # Errors
/// 42601 for a statement that begins like one and goes on otherwise; 0A000 for one that is not supported.
pub fn parse_utility(sql: &str) -> Result<Option<Utility>, SqlError> {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() else { return Ok(None) };
    let words: Vec<Word> = tokens
        .into_iter()
        .filter_map(|token| match token {
            Token::Whitespace(_) | Token::SemiColon | Token::EOF => None,
            Token::Word(word) => Some(Word {
                upper: if word.quote_style.is_some() { String::new() } else { word.value.to_uppercase() },
                text: word.value,
            }),
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => {
                Some(Word { upper: String::new(), text })
            }
            other => Some(Word { upper: other.to_string(), text: other.to_string() }),
        })
        .collect();
    let upper: Vec<&str> = words.iter().map(|word| word.upper.as_str()).collect();
    let text_of = |from: usize| -> String { join(&words[from.min(words.len())..]) };
    let name_at = |at: usize| -> Result<String, SqlError> {
        // Without quotes, names are lower case.
        let name = |word: &Word| if word.upper.is_empty() { word.text.clone() } else { word.text.to_lowercase() };
        words.get(at).map(name).ok_or_else(|| syntax("a name is missing"))
    };
    Ok(Some(match upper.as_slice() {
        ["SET", "SESSION", "CHARACTERISTICS", ..] | ["SET", "TRANSACTION", ..] => Utility::Nothing { tag: "SET" },
        ["SET", "SESSION", "AUTHORIZATION", "DEFAULT"] => Utility::Nothing { tag: "SET" },
        ["SET", "SESSION", "AUTHORIZATION", ..] | ["SET", "ROLE", ..] => {
            return Err(SqlError::new("0A000", "changing the user of a session is not supported"));
        }
        ["SET", "CONSTRAINTS", ..] => Utility::Nothing { tag: "SET CONSTRAINTS" },
        ["SET", scope @ ("SESSION" | "LOCAL"), ..] => set(&words[2..], *scope == "LOCAL")?,
        ["SET", ..] => set(&words[1..], false)?,
        ["RESET", "ALL"] => Utility::ResetAll,
        ["RESET", "SESSION", "AUTHORIZATION"] => Utility::Nothing { tag: "RESET" },
        ["RESET", "TIME", "ZONE"] => Utility::Reset { name: "TimeZone".to_owned() },
        ["RESET", ..] => Utility::Reset { name: text_of(1) },
        ["SHOW", "ALL"] => Utility::ShowAll,
        ["SHOW", "TIME", "ZONE"] => Utility::Show { name: "TimeZone".to_owned() },
        ["SHOW", "TRANSACTION", "ISOLATION", "LEVEL"] => {
            Utility::Show { name: "transaction isolation level".to_owned() }
        }
        ["SHOW", "SESSION", "AUTHORIZATION"] => Utility::Show { name: "session_authorization".to_owned() },
        ["SHOW", ..] => Utility::Show { name: text_of(1) },
        ["BEGIN", ..] | ["START", "TRANSACTION", ..] => Utility::Begin,
        ["COMMIT", "PREPARED", ..] | ["ROLLBACK", "PREPARED", ..] | ["PREPARE", "TRANSACTION", ..] => {
            return Err(SqlError::new("0A000", "prepared transactions are not supported"));
        }
        ["COMMIT", ..] | ["END", ..] => Utility::Commit,
        ["ROLLBACK", "TO", "SAVEPOINT", _] | ["ROLLBACK", _, "TO", "SAVEPOINT", _] => {
            Utility::RollbackTo { name: name_at(words.len() - 1)? }
        }
        ["ROLLBACK", "TO", _] => Utility::RollbackTo { name: name_at(2)? },
        ["ROLLBACK", ..] | ["ABORT", ..] => Utility::Rollback,
        ["SAVEPOINT", _] => Utility::Savepoint { name: name_at(1)? },
        ["RELEASE", "SAVEPOINT", _] => Utility::Release { name: name_at(2)? },
        ["RELEASE", _] => Utility::Release { name: name_at(1)? },
        ["DEALLOCATE", "PREPARE", "ALL"] | ["DEALLOCATE", "ALL"] => Utility::Deallocate { name: None },
        ["DEALLOCATE", "PREPARE", _] => Utility::Deallocate { name: Some(name_at(2)?) },
        ["DEALLOCATE", _] => Utility::Deallocate { name: Some(name_at(1)?) },
        ["DISCARD", "ALL"] => Utility::DiscardAll,
        ["DISCARD", "PLANS"] => Utility::Nothing { tag: "DISCARD PLANS" },
        ["DISCARD", "SEQUENCES"] => Utility::Nothing { tag: "DISCARD SEQUENCES" },
        ["DISCARD", "TEMP" | "TEMPORARY"] => Utility::Nothing { tag: "DISCARD TEMP" },
        ["UNLISTEN", ..] => Utility::Nothing { tag: "UNLISTEN" },
        ["LISTEN", ..] => Utility::Nothing { tag: "LISTEN" },
        [
            word @ ("INSERT" | "UPDATE" | "DELETE" | "MERGE" | "CREATE" | "ALTER" | "DROP" | "TRUNCATE" | "GRANT"
            | "REVOKE" | "COMMENT" | "VACUUM" | "ANALYZE" | "REINDEX" | "CLUSTER" | "LOCK" | "CALL" | "DO"
            | "SECURITY" | "REASSIGN" | "IMPORT" | "REFRESH" | "CHECKPOINT" | "LOAD" | "NOTIFY"),
            ..,
        ] => {
            let what = upper.get(1).filter(|_| matches!(*word, "CREATE" | "ALTER" | "DROP" | "REFRESH"));
            let named = what.map_or_else(|| (*word).to_owned(), |second| format!("{word} {second}"));
            return Err(SqlError::new("0A000", format!("{named} is not supported"))
                .detail("Belvedere only ever reads its data sources; the model's files define what can be queried."));
        }
        ["COPY", ..] => return Err(SqlError::new("0A000", "COPY is not supported yet")),
        [word @ ("PREPARE" | "EXECUTE"), ..] => {
            return Err(SqlError::new("0A000", format!("{word} is not supported yet"))
                .hint("Use the extended query protocol, as drivers do by themselves."));
        }
        _ => return Ok(None),
    }))
}

struct Word {
    /// Empty for quoted text: it is never a keyword.
    upper: String,
    text: String,
}

fn syntax(message: &str) -> SqlError {
    SqlError::new("42601", message.to_owned())
}

/// `name { = | TO } value`, or `TIME ZONE value`.
fn set(words: &[Word], local: bool) -> Result<Utility, SqlError> {
    let upper: Vec<&str> = words.iter().map(|word| word.upper.as_str()).collect();
    let (name, value) = match upper.as_slice() {
        ["TIME", "ZONE", ..] => ("TimeZone".to_owned(), &words[2..]),
        ["NAMES", ..] => ("client_encoding".to_owned(), &words[1..]),
        _ => {
            let at = upper
                .iter()
                .position(|word| matches!(*word, "=" | "TO"))
                .ok_or_else(|| syntax("syntax error: SET needs a name, = or TO, and a value"))?;
            (join(&words[..at]), &words[at + 1..])
        }
    };
    if value.is_empty() || name.is_empty() {
        return Err(syntax("syntax error: SET needs a name, = or TO, and a value"));
    }
    let is_local = name == "TimeZone" && value.len() == 1 && value[0].upper == "LOCAL";
    if is_local || value.len() == 1 && value[0].upper == "DEFAULT" {
        return Ok(Utility::Reset { name });
    }
    let value = match upper.get(upper.len() - value.len()..) {
        Some(["INTERVAL", ..]) if name == "TimeZone" => interval(&value[1..]),
        _ => join(value),
    };
    Ok(Utility::Set { name, value, local })
}

/// `INTERVAL '3' HOUR` as the setting reads it; the fields only give a bare number its unit.
fn interval(words: &[Word]) -> String {
    let Some((literal, fields)) = words.split_first() else { return "INTERVAL".to_owned() };
    let is_number = literal.text.trim().parse::<f64>().is_ok();
    match fields {
        [unit] if is_number => format!("INTERVAL '{} {}'", literal.text, unit.upper),
        _ => format!("INTERVAL '{}'", literal.text),
    }
}

/// `a . b` and `- 5` without blanks, lists with `, `.
fn join(words: &[Word]) -> String {
    let mut text = String::new();
    for word in words {
        if word.upper == "," {
            text.push_str(", ");
        } else {
            text.push_str(&word.text);
        }
    }
    text
}
