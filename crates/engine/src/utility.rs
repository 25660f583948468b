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
    /// `BEGIN`, `START TRANSACTION`.
    Begin {
        tag: &'static str,
        isolation: Option<&'static str>,
    },
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    /// `SET TRANSACTION …`
    SetTransaction {
        isolation: Option<&'static str>,
    },
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION …`
    SessionCharacteristics {
        isolation: Option<&'static str>,
    },
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
            Self::Set { .. } | Self::SetTransaction { .. } | Self::SessionCharacteristics { .. } => "SET",
            Self::Reset { .. } | Self::ResetAll => "RESET",
            Self::Show { .. } | Self::ShowAll => "SHOW",
            Self::Begin { tag, .. } => tag,
            Self::Commit { .. } => "COMMIT",
            Self::Rollback { .. } | Self::RollbackTo { .. } => "ROLLBACK",
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
    let last_name = || words.last().map(identifier).unwrap_or_default();
    Ok(Some(match upper.as_slice() {
        ["SET", "SESSION", "CHARACTERISTICS", "AS", "TRANSACTION", ..] => {
            Utility::SessionCharacteristics { isolation: transaction_modes(&words[5..])? }
        }
        ["SET", "TRANSACTION", "SNAPSHOT", ..] => {
            return Err(SqlError::new("0A000", "SET TRANSACTION SNAPSHOT is not supported"));
        }
        ["SET", "TRANSACTION", ..] => Utility::SetTransaction { isolation: transaction_modes(&words[2..])? },
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
        ["RESET"] | ["SHOW"] => return Err(syntax("syntax error at end of input")),
        ["RESET", ..] => Utility::Reset { name: text_of(1) },
        ["SHOW", "ALL"] => Utility::ShowAll,
        ["SHOW", "TIME", "ZONE"] => Utility::Show { name: "TimeZone".to_owned() },
        ["SHOW", "TRANSACTION", "ISOLATION", "LEVEL"] => {
            Utility::Show { name: "transaction isolation level".to_owned() }
        }
        ["SHOW", "SESSION", "AUTHORIZATION"] => Utility::Show { name: "session_authorization".to_owned() },
        ["SHOW", ..] => Utility::Show { name: text_of(1) },
        ["BEGIN", "WORK" | "TRANSACTION", ..] => {
            Utility::Begin { tag: "BEGIN", isolation: transaction_modes(&words[2..])? }
        }
        ["BEGIN", ..] => Utility::Begin { tag: "BEGIN", isolation: transaction_modes(&words[1..])? },
        ["START", "TRANSACTION", ..] => {
            Utility::Begin { tag: "START TRANSACTION", isolation: transaction_modes(&words[2..])? }
        }
        ["COMMIT", "PREPARED", ..] | ["ROLLBACK", "PREPARED", ..] | ["PREPARE", "TRANSACTION", ..] => {
            return Err(SqlError::new("0A000", "prepared transactions are not supported"));
        }
        ["COMMIT" | "END", "WORK" | "TRANSACTION", ..] => Utility::Commit { chain: chain(&words[2..])? },
        ["COMMIT" | "END", ..] => Utility::Commit { chain: chain(&words[1..])? },
        ["ROLLBACK", "TO", "SAVEPOINT", _]
        | ["ROLLBACK", "TO", _]
        | ["ROLLBACK", "WORK" | "TRANSACTION", "TO", "SAVEPOINT", _]
        | ["ROLLBACK", "WORK" | "TRANSACTION", "TO", _] => Utility::RollbackTo { name: last_name() },
        ["ROLLBACK" | "ABORT", "WORK" | "TRANSACTION", ..] => Utility::Rollback { chain: chain(&words[2..])? },
        ["ROLLBACK" | "ABORT", ..] => Utility::Rollback { chain: chain(&words[1..])? },
        ["SAVEPOINT", _] => Utility::Savepoint { name: last_name() },
        ["RELEASE", "SAVEPOINT", _] | ["RELEASE", _] => Utility::Release { name: last_name() },
        ["DEALLOCATE", "PREPARE", "ALL"] | ["DEALLOCATE", "ALL"] => Utility::Deallocate { name: None },
        ["DEALLOCATE", "PREPARE", _] | ["DEALLOCATE", _] => Utility::Deallocate { name: Some(last_name()) },
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

/// A name as PostgreSQL folds it: lower case unless it is quoted.
fn identifier(word: &Word) -> String {
    if word.upper.is_empty() { word.text.clone() } else { word.text.to_lowercase() }
}

/// `ISOLATION LEVEL …, READ ONLY, NOT DEFERRABLE`: the level. The rest changes nothing where nothing is written.
fn transaction_modes(words: &[Word]) -> Result<Option<&'static str>, SqlError> {
    let upper: Vec<&str> = words.iter().map(|word| word.upper.as_str()).collect();
    let mut rest = upper.as_slice();
    let mut isolation = None;
    loop {
        rest = match rest {
            [] => return Ok(isolation),
            ["ISOLATION", "LEVEL", "SERIALIZABLE", rest @ ..] => {
                isolation = Some("serializable");
                rest
            }
            ["ISOLATION", "LEVEL", "REPEATABLE", "READ", rest @ ..] => {
                isolation = Some("repeatable read");
                rest
            }
            ["ISOLATION", "LEVEL", "READ", "COMMITTED", rest @ ..] => {
                isolation = Some("read committed");
                rest
            }
            ["ISOLATION", "LEVEL", "READ", "UNCOMMITTED", rest @ ..] => {
                isolation = Some("read uncommitted");
                rest
            }
            ["READ", "ONLY" | "WRITE", rest @ ..] | ["NOT", "DEFERRABLE", rest @ ..] | ["DEFERRABLE", rest @ ..] => {
                rest
            }
            ["ISOLATION", "LEVEL", rest @ ..] | rest => return Err(syntax_at(&words[words.len() - rest.len()..])),
        };
        if let [",", after @ ..] = rest {
            if after.is_empty() {
                return Err(syntax("syntax error at end of input"));
            }
            rest = after;
        }
    }
}

/// `[AND [NO] CHAIN]` at the end of COMMIT and ROLLBACK.
fn chain(words: &[Word]) -> Result<bool, SqlError> {
    let upper: Vec<&str> = words.iter().map(|word| word.upper.as_str()).collect();
    match upper.as_slice() {
        [] | ["AND", "NO", "CHAIN"] => Ok(false),
        ["AND", "CHAIN"] => Ok(true),
        _ => Err(syntax_at(words)),
    }
}

fn syntax_at(rest: &[Word]) -> SqlError {
    match rest.first() {
        Some(word) => syntax(&format!("syntax error at or near \"{}\"", word.text)),
        None => syntax("syntax error at end of input"),
    }
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
