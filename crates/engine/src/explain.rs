//! `EXPLAIN`: the plan, and what goes to each source, as text or as JSON of the documented shape.

use std::borrow::Cow;

use belvedere_planner::parse;
use belvedere_planner::pipeline::Step;
use belvedere_planner::substitute::{Report, UsedRollup};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::SqlError;
use crate::run::statements_of;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// What an EXPLAIN asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub format: Format,
    /// `STAGES`: the statement after each stage of planning too.
    pub stages: bool,
}

/// A statement after one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageText {
    pub stage: &'static str,
    /// The rules of the stage that changed it, in order.
    pub rules: Vec<&'static str>,
    /// SQL in the first stages, then a plan.
    pub text: String,
}

/// Takes `EXPLAIN` and its options off a statement's front: blanks stand in their place, so that positions stay true.
///
/// # Errors
/// 0A000 for ANALYZE and formats other than text and JSON, 42601 for options that cannot be read.
pub fn split(sql: &str) -> std::result::Result<(Option<Options>, Cow<'_, str>), SqlError> {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location() else {
        return Ok((None, Cow::Borrowed(sql)));
    };
    let tokens: Vec<_> =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).collect();
    let word = |at: usize| match tokens.get(at).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_uppercase(),
        _ => String::new(),
    };
    if word(0) != "EXPLAIN" {
        return Ok((None, Cow::Borrowed(sql)));
    }
    let mut options = Options { format: Format::Text, stages: false };
    let mut at = 1;
    if tokens.get(1).is_some_and(|token| token.token == Token::LParen) {
        at = 2;
        loop {
            let option = word(at).to_lowercase();
            let value = tokens.get(at + 1).and_then(|token| option_value(&token.token));
            match (option.as_str(), value.as_deref()) {
                ("format", Some("json")) => options.format = Format::Json,
                ("format", Some("text")) => options.format = Format::Text,
                ("format", Some(other @ ("yaml" | "xml"))) => {
                    return Err(SqlError::new("0A000", format!("EXPLAIN in format {other} is not supported"))
                        .hint("FORMAT is TEXT or JSON."));
                }
                ("format", other) => {
                    let other = other.unwrap_or_default();
                    let message = format!("unrecognized value for EXPLAIN option \"format\": \"{other}\"");
                    return Err(SqlError::new("22023", message).hint("FORMAT is TEXT or JSON."));
                }
                (
                    "stages" | "analyze" | "verbose" | "costs" | "buffers" | "timing" | "summary" | "settings" | "wal",
                    value,
                ) => {
                    let on = match value {
                        None | Some("true" | "on" | "1") => true,
                        Some("false" | "off" | "0") => false,
                        Some(_) => return Err(SqlError::new("42601", format!("{option} requires a Boolean value"))),
                    };
                    if option == "stages" {
                        options.stages = on;
                    }
                    if on && option == "analyze" {
                        return Err(SqlError::new("0A000", "EXPLAIN ANALYZE is not supported yet"));
                    }
                }
                _ => return Err(SqlError::new("42601", format!("unrecognized EXPLAIN option \"{option}\""))),
            }
            while !matches!(tokens.get(at).map(|token| &token.token), None | Some(Token::Comma | Token::RParen)) {
                at += 1;
            }
            match tokens.get(at).map(|token| &token.token) {
                Some(Token::Comma) => at += 1,
                Some(_) => break,
                None => return Err(SqlError::new("42601", "the options of EXPLAIN are not closed")),
            }
        }
        at += 1;
    } else {
        loop {
            match word(at).as_str() {
                "ANALYZE" => return Err(SqlError::new("0A000", "EXPLAIN ANALYZE is not supported yet")),
                "VERBOSE" => at += 1,
                _ => break,
            }
        }
    }
    let Some(first) = tokens.get(at) else {
        return Err(SqlError::new("42601", "EXPLAIN needs a query"));
    };
    let query = parse::blanked_before(sql, first.span.start.line, first.span.start.column);
    Ok((Some(options), Cow::Owned(query)))
}

/// What stands after an option's name, in lower case; nothing before a comma or the closing bracket.
fn option_value(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) => Some(word.value.to_lowercase()),
        Token::SingleQuotedString(text) => Some(text.to_lowercase()),
        Token::Number(digits, _) => Some(digits.clone()),
        _ => None,
    }
}

/// The indentation and the kind of a node.
fn outline(line: &str) -> &str {
    let blanks = line.len() - line.trim_start().len();
    let end = line[blanks..].find([':', ' ']).map_or(line.len(), |at| blanks + at);
    &line[..end]
}

/// How much of a plan somebody may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    All,
    /// Kinds of nodes and names of sources: the rest would tell what access policies compare with, and what they hide.
    Outline,
}

/// The planner's stages, one after the other, from what each of its rules made of a statement.
#[must_use]
pub fn planner_stages(steps: &[Step]) -> Vec<StageText> {
    steps
        .chunk_by(|one, next| one.rule.stage() == next.rule.stage())
        .filter_map(|stage| {
            let last = stage.last()?;
            Some(StageText {
                stage: last.rule.stage().name(),
                rules: stage.iter().filter(|step| step.changed).map(|step| step.rule.name()).collect(),
                text: shown(&last.text),
            })
        })
        .collect()
}

/// A stage of one step, between two plans.
#[must_use]
pub fn plan_stage(name: &'static str, before: &LogicalPlan, after: &LogicalPlan) -> StageText {
    StageText {
        stage: name,
        rules: if before == after { vec![] } else { vec![name] },
        text: shown(&after.display_indent().to_string()),
    }
}

/// The mark that keeps equal output names apart inside a plan is no character to print.
fn shown(plan: &str) -> String {
    plan.replace(belvedere_planner::name::UNIQUE_MARK, "~")
}

/// The lines of the answer: one for JSON. With stages, the last of them is the plan.
///
/// # Errors
/// Only the walk's over the plan.
pub fn render(
    logical: &LogicalPlan,
    rollups: &Report,
    stages: &[StageText],
    format: Format,
    depth: Shown,
) -> Result<Vec<String>> {
    // What does not answer tells what others may see.
    let refused = if depth == Shown::All { rollups.refused.as_slice() } else { &[] };
    let mut statements = statements_of(logical)?;
    let mut plan = shown(&logical.display_indent().to_string());
    if depth == Shown::Outline {
        plan = plan.lines().map(outline).collect::<Vec<_>>().join("\n");
        for (_, statement) in &mut statements {
            "-- not shown: an access policy applies".clone_into(&mut statement.sql);
        }
    }
    match format {
        Format::Json => {
            let sources: Vec<serde_json::Value> = statements
                .iter()
                .map(|(source, statement)| serde_json::json!({ "source": source, "sql": statement.sql }))
                .collect();
            let mut answer = serde_json::json!({
                "rollups": rollups.used.iter().map(|used| serde_json::json!({
                    "rollup": used.rollup.to_string(),
                    "index": used.index,
                    "partitions_read": used.partitions_read,
                    "partitions": used.partitions,
                })).collect::<Vec<_>>(),
                "refusals": refused.iter().map(|refused| serde_json::json!({
                    "rollup": refused.rollup.to_string(),
                    "reason": refused.reason.to_string(),
                })).collect::<Vec<_>>(),
                "sources": sources,
                "plan": plan,
            });
            if !stages.is_empty() {
                answer["stages"] = stages
                    .iter()
                    .map(|stage| serde_json::json!({ "stage": stage.stage, "rules": stage.rules, "plan": stage.text }))
                    .collect();
            }
            Ok(vec![answer.to_string()])
        }
        Format::Text => {
            let mut lines = Vec::new();
            for stage in stages {
                let rules = if stage.rules.is_empty() { "no change".to_owned() } else { stage.rules.join(", ") };
                lines.push(format!("Stage {}: {rules}", stage.stage));
                // What a stage left as it was has been shown already.
                if !stage.rules.is_empty() {
                    lines.extend(stage.text.lines().map(|line| format!("  {line}")));
                }
            }
            if stages.is_empty() {
                lines.extend(plan.lines().map(str::to_owned));
            }
            for used in &rollups.used {
                let UsedRollup { rollup, index, partitions_read, partitions } = used;
                let index = index.iter().map(|index| format!(", index {index}")).collect::<String>();
                lines.push(format!("Rollup {rollup}{index}: {partitions_read} of {partitions} partitions"));
            }
            for refused in refused {
                lines.push(format!("Not from rollup {}: {}", refused.rollup, refused.reason));
            }
            for (source, statement) in statements {
                lines.push(format!("Source {source}:"));
                lines.extend(statement.sql.lines().map(|line| format!("  {line}")));
            }
            Ok(lines)
        }
    }
}
