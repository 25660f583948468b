//! Asks both sides one question and says what came of it.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::AnyError;

/// Messages with which a query may be refused that has an answer by the rules. This list only gets shorter.
const REFUSALS: [(&str, &str); 2] = [("multiplied", "more than once"), ("no join path", "no join path connects")];

/// The refusal of a query that names what no tree joins.
const NO_PATH: &str = "no join path connects";

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// As the reference (by place) says.
    Equal {
        reference: usize,
        rows: usize,
    },
    /// Equal but for trailing zeros of numbers.
    EqualButScale {
        reference: usize,
    },
    /// Equal but for that, and for where numbers with more than sixteen digits are rounded: PostgreSQL carries the scale of each
    /// intermediate value.
    EqualButDigits {
        reference: usize,
    },
    Refused(&'static str),
    /// As it must be.
    NoPath,
    /// What differs, for people.
    Wrong(String),
}

impl Verdict {
    pub fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong(_))
    }
}

type Rows = Vec<Vec<Option<String>>>;

pub struct Sides {
    pub ours: Client,
    pub reference: Client,
}

impl Sides {
    /// # Errors
    /// A side that is gone; what a side says against the statement is a verdict.
    pub async fn judge(&self, query: &str, references: &[String], ordered: bool) -> Result<Verdict, AnyError> {
        let ours = rows(&self.ours, query).await?;
        let ours = match ours {
            Ok(rows) => rows,
            Err((state, message)) => {
                if references.is_empty() {
                    return Ok(match state == "0A000" && message.contains(NO_PATH) {
                        true => Verdict::NoPath,
                        false => Verdict::Wrong(format!("must be refused, but not so: {state} {message}")),
                    });
                }
                let expected = REFUSALS.iter().find(|(_, words)| state == "0A000" && message.contains(words));
                return Ok(expected.map_or_else(
                    || Verdict::Wrong(format!("error {state}: {message}")),
                    |(name, _)| Verdict::Refused(name),
                ));
            }
        };
        let mut differences = String::new();
        if references.is_empty() {
            differences = format!("must be refused, for no join tree has all that it names; ours: {}", shown(&ours));
        }
        let ours = if ordered { ours } else { sorted(ours) };
        for (place, reference) in references.iter().enumerate() {
            let theirs = match rows(&self.reference, reference).await? {
                Ok(rows) if ordered => rows,
                Ok(rows) => sorted(rows),
                Err((state, message)) => {
                    return Ok(Verdict::Wrong(format!("the reference fails: {state}: {message}\n{reference}")));
                }
            };
            if ours == theirs {
                return Ok(Verdict::Equal { reference: place, rows: ours.len() });
            }
            let normal = |rows: &Rows| {
                let rows: Rows =
                    rows.iter().map(|row| row.iter().map(|value| value.as_deref().map(plain)).collect()).collect();
                if ordered { rows } else { sorted(rows) }
            };
            if normal(&ours) == normal(&theirs) {
                return Ok(Verdict::EqualButScale { reference: place });
            }
            let (normal_ours, normal_theirs) = (normal(&ours), normal(&theirs));
            let close = normal_ours.len() == normal_theirs.len()
                && normal_ours.iter().zip(&normal_theirs).all(|(ours, theirs)| {
                    ours.len() == theirs.len()
                        && ours.iter().zip(theirs).all(|(one, other)| one == other || one_rounded(one, other))
                });
            if close {
                return Ok(Verdict::EqualButDigits { reference: place });
            }
            differences = format!("{differences}ours:\n{}reference:\n{}", shown(&ours), shown(&theirs));
        }
        Ok(Verdict::Wrong(differences))
    }
}

/// A number without trailing zeros; other text as it is.
fn plain(text: &str) -> String {
    let is_number =
        text.contains('.') && text.strip_prefix('-').unwrap_or(text).chars().all(|c| c.is_ascii_digit() || c == '.');
    if !is_number {
        return text.to_owned();
    }
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

/// Whether one number is the other with fewer digits after the point, and both have sixteen that count.
fn one_rounded(one: &Option<String>, other: &Option<String>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return false };
    let (long, short) = if one.len() > other.len() { (one, other) } else { (other, one) };
    let digits = |text: &str| text.trim_start_matches(['-', '0', '.']).chars().filter(char::is_ascii_digit).count();
    // All but the last digit of the shorter one, which may have been rounded up.
    short.contains('.') && digits(short) >= 16 && long.starts_with(&short[..short.len() - 1]) && plain(long) == *long
}

fn sorted(mut rows: Rows) -> Rows {
    rows.sort();
    rows
}

fn shown(rows: &Rows) -> String {
    let line = |row: &Vec<Option<String>>| {
        let values: Vec<&str> = row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
        format!("  {}\n", values.join(" | "))
    };
    if rows.is_empty() { "  (no rows)\n".to_owned() } else { rows.iter().map(line).collect() }
}

/// Rows as text, or SQLSTATE and message.
async fn rows(client: &Client, sql: &str) -> Result<Result<Rows, (String, String)>, AnyError> {
    match client.simple_query(sql).await {
        Ok(messages) => Ok(Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
                }
                _ => None,
            })
            .collect())),
        Err(error) => match error.as_db_error() {
            Some(refused) => Ok(Err((refused.code().code().to_owned(), refused.message().to_owned()))),
            None => Err(format!("{sql}: {error:?}").into()),
        },
    }
}
