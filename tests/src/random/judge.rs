//! Asks both sides one question and says what came of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::AnyError;

/// Messages with which a query may be refused that has an answer by the rules. This list only gets shorter.
const REFUSALS: [(&str, &str); 0] = [];

/// How a query is refused that the rules do not answer: no tree joins a measure and the dimensions, or a condition is of no fact.
const RIGHT_REFUSALS: [&str; 3] = ["no join path connects", "has no join to", "restricts none of the facts"];

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
    /// Equal but for that, and for digits of fractions after the sixteenth: PostgreSQL rounds quotients by the scales of its operands.
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
/// Rows as text, or SQLSTATE and message.
type Answer = Result<Rows, (String, String)>;

pub struct Sides {
    pub ours: Client,
    /// The same program, told to read no rollup.
    pub without_rollups: Client,
    pub reference: Client,
    /// What each side took so far, in microseconds: us, the reference, us without rollups.
    pub took: [AtomicU64; 3],
}

/// Where an answer came from, as EXPLAIN says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Stored rows of cubes do not count.
    pub from_rollups: bool,
    /// One part of the query is answered by several rollups, or by one that is joined with cubes at their sources.
    pub from_joined: bool,
    /// A coarser copy of a rollup is read.
    pub from_index: bool,
    pub from_sources: bool,
    /// A rollup answers every part of the query, and a source a range that it does not hold.
    pub has_live_part: bool,
    /// Why rollups were not used, without names.
    pub refusals: Vec<String>,
}

impl Sides {
    /// # Errors
    /// A side that is gone; what a side says against the statement is a verdict.
    pub async fn judge(&self, query: &str, references: &[String], ordered: bool) -> Result<Verdict, AnyError> {
        let ours = rows(&self.ours, query, &self.took[0]).await?;
        let without = rows(&self.without_rollups, query, &self.took[2]).await?;
        let comparable = |answer: &Answer| answer.clone().map(|rows| if ordered { rows } else { sorted(rows) });
        if comparable(&ours) == comparable(&without) {
            return self.compare(query, ours, references, ordered).await;
        }
        let said = |answer: &Answer| match answer {
            Ok(rows) => shown(rows),
            Err((state, message)) => format!("  error {state}: {message}\n"),
        };
        let plan = self.plan(query).await?;
        let apart = format!("with rollups:\n{}without:\n{}{plan}", said(&ours), said(&without));
        Ok(Verdict::Wrong(match self.compare(query, ours, references, ordered).await? {
            Verdict::Wrong(text) => format!("{text}\n{apart}"),
            _ => apart,
        }))
    }

    /// What EXPLAIN says of a query.
    ///
    /// # Errors
    /// As [`Sides::judge`]; and an answer that is no JSON.
    pub async fn origin(&self, query: &str) -> Result<Option<Origin>, AnyError> {
        let explain = format!("EXPLAIN (FORMAT JSON) {query}");
        let Ok(lines) = rows(&self.ours, &explain, &self.took[0]).await? else { return Ok(None) };
        let text: String = lines.into_iter().flatten().flatten().collect();
        let plan: serde_json::Value = serde_json::from_str(&text)?;
        let of = |key: &str| plan[key].as_array().map(Vec::as_slice).unwrap_or_default().to_vec();
        let is_rollup = |used: &serde_json::Value| used["rollup"].as_str().is_some_and(|name| !name.ends_with(".base"));
        let (from_rollups, from_sources) = (of("rollups").iter().any(is_rollup), !of("sources").is_empty());
        let stages = rows(&self.ours, &format!("EXPLAIN (STAGES) {query}"), &self.took[0]).await?.unwrap_or_default();
        let from_index = stages.iter().flatten().flatten().any(|line| line.contains(" of index "));
        let from_joined = stages.into_iter().flatten().flatten().any(|line| {
            let scan = line.split_once("RollupScan: ").and_then(|(_, scan)| scan.split_once(", group="));
            scan.is_some_and(|(scan, _)| {
                scan.contains("joined") || scan.matches(" of ").count() > 1 + scan.matches(" of index ").count()
            })
        });
        let mut has_live_part = false;
        if from_rollups && from_sources {
            self.ours.batch_execute("SET rollups = 'required'").await?;
            has_live_part = rows(&self.ours, &explain, &self.took[0]).await?.is_ok();
            self.ours.batch_execute("SET rollups = 'preferred'").await?;
        }
        let refusals = of("refusals").iter().filter_map(|refused| refused["reason"].as_str()).map(nameless).collect();
        Ok(Some(Origin { from_rollups, from_joined, from_index, from_sources, has_live_part, refusals }))
    }

    /// How the columns of a query differ with rollups, without, and in a reference: name and type of each. Where MariaDB or a file
    /// computes a member its type is that one's, and there is no reference of it.
    ///
    /// # Errors
    /// A query that a side refuses.
    pub async fn column_differences(&self, query: &str, reference: Option<&str>) -> Result<Option<String>, AnyError> {
        let mut seen: Vec<Vec<(String, String)>> = Vec::new();
        let theirs = reference.map(|reference| (&self.reference, reference));
        for (client, sql) in [(&self.ours, query), (&self.without_rollups, query)].into_iter().chain(theirs) {
            let statement = client.prepare(sql).await.map_err(|error| format!("{sql}: {error:?}"))?;
            let columns = statement.columns().iter();
            seen.push(columns.map(|column| (column.name().to_owned(), column.type_().to_string())).collect());
        }
        // Kept references name their columns as they like.
        let types = |columns: &[(String, String)]| columns.iter().map(|(_, kind)| kind.clone()).collect::<Vec<_>>();
        let differ = seen[0] != seen[1] || seen.iter().any(|columns| types(columns) != types(&seen[0]));
        Ok(differ.then(|| format!("columns with rollups, without, in the reference: {seen:?}")))
    }

    async fn compare(
        &self,
        query: &str,
        ours: Answer,
        references: &[String],
        ordered: bool,
    ) -> Result<Verdict, AnyError> {
        let ours = match ours {
            Ok(rows) => rows,
            Err((state, message)) => {
                if references.is_empty() {
                    return Ok(match state == "0A000" && RIGHT_REFUSALS.iter().any(|words| message.contains(words)) {
                        true => Verdict::NoPath,
                        false => Verdict::Wrong(format!("must be refused, but not so: {state} {message}")),
                    });
                }
                let expected = REFUSALS.iter().find(|(_, words)| state == "0A000" && message.contains(words));
                if let Some((name, _)) = expected {
                    return Ok(Verdict::Refused(name));
                }
                let plan = if state == "XX000" { self.plan(query).await? } else { String::new() };
                return Ok(Verdict::Wrong(format!("error {state}: {message}\n{plan}")));
            }
        };
        let mut differences = String::new();
        if references.is_empty() {
            differences = format!("must be refused, for no join tree has all that it names; ours: {}", shown(&ours));
        }
        let ours = if ordered { ours } else { sorted(ours) };
        for (place, reference) in references.iter().enumerate() {
            let theirs = match rows(&self.reference, reference, &self.took[1]).await? {
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
                        && ours.iter().zip(theirs).all(|(one, other)| one == other || nearly_equal(one, other))
                });
            if close {
                return Ok(Verdict::EqualButDigits { reference: place });
            }
            differences = format!("{differences}ours:\n{}reference:\n{}", shown(&ours), shown(&theirs));
        }
        Ok(Verdict::Wrong(differences))
    }
}

impl Sides {
    async fn plan(&self, query: &str) -> Result<String, AnyError> {
        let plan = rows(&self.ours, &format!("EXPLAIN {query}"), &self.took[0]).await?;
        Ok(plan.map_or_else(|(state, message)| format!("EXPLAIN fails: {state}: {message}"), |rows| shown(&rows)))
    }

    /// Whether two statements have different rows where the reference runs.
    ///
    /// # Errors
    /// As [`Sides::judge`].
    pub async fn references_differ(&self, one: &str, other: &str) -> Result<bool, AnyError> {
        let (one, other) =
            (rows(&self.reference, one, &self.took[1]).await?, rows(&self.reference, other, &self.took[1]).await?);
        Ok(one.map(sorted) != other.map(sorted))
    }
}

/// A sentence without the names in it.
fn nameless(sentence: &str) -> String {
    sentence
        .split('"')
        .enumerate()
        .filter(|(place, _)| place % 2 == 0)
        .map(|(_, part)| part)
        .collect::<Vec<_>>()
        .join("…")
}

/// Minus zero is zero here, on purpose: see the architecture.
fn value(text: &str) -> String {
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
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

/// Whether two fractions agree in about fifteen digits: by value, as `49.00…01` and `48.99…99` share none.
fn nearly_equal(one: &Option<String>, other: &Option<String>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return false };
    // Sums of stored decimals are exact and have fewer digits: only quotients are this long.
    let is_quotient = |text: &str| {
        text.contains('.')
            && text.trim_start_matches(['-', '0', '.']).chars().filter(char::is_ascii_digit).count() >= 16
    };
    let (Ok(first), Ok(second)) = (one.parse::<f64>(), other.parse::<f64>()) else { return false };
    // Larger ones have fewer digits of their fractions in a double.
    is_quotient(one)
        && is_quotient(other)
        && first.abs() < 1e6
        && (first - second).abs() <= 1e-15 * first.abs().max(second.abs())
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

async fn rows(client: &Client, sql: &str, took: &AtomicU64) -> Result<Answer, AnyError> {
    let started = Instant::now();
    let outcome = client.simple_query(sql).await;
    took.fetch_add(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    match outcome {
        Ok(messages) => Ok(Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|column| row.get(column).map(value)).collect()),
                _ => None,
            })
            .collect())),
        Err(error) => match error.as_db_error() {
            Some(refused) => Ok(Err((refused.code().code().to_owned(), refused.message().to_owned()))),
            None => Err(format!("{sql}: {error:?}").into()),
        },
    }
}
