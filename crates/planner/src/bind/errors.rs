//! DataFusion's planning errors in PostgreSQL's words, with places and hints.

use std::sync::Arc;

use belvedere_model::MemberKind;
use datafusion_common::{DataFusionError, SchemaError};

use crate::catalog::ViewTable;
use crate::error::{PlanError, TextPlace, plan_error_of};

use super::context::nearest;

/// Translates an error; `used` are the tables that the statement names, for hints.
#[must_use]
pub fn plan_error(error: DataFusionError, used: &[Arc<ViewTable>]) -> PlanError {
    let place = diagnostic_place(&error);
    if let Some(own) = plan_error_of(&error) {
        return own.clone().at(place);
    }
    if let Some(pg) = belvedere_functions::pg_error_of(&error) {
        let mut own = PlanError::new(pg.sqlstate, pg.message.clone()).at(place);
        own.hint.clone_from(&pg.hint);
        return own;
    }
    let translated = match error.find_root() {
        DataFusionError::SchemaError(schema_error, _) => schema_error_in_words(schema_error, used),
        DataFusionError::Plan(message) => plan_message(message, used),
        DataFusionError::NotImplemented(message) => {
            PlanError::unsupported(format!("this statement is not supported: {}", first_line(message)))
        }
        DataFusionError::ResourcesExhausted(message) => PlanError::new("53200", first_line(message)),
        DataFusionError::Internal(message) if message.contains("failed to match any signature") => {
            plan_message(message, used)
        }
        DataFusionError::ArrowError(inner, _) => PlanError::new("22000", first_line(&inner.to_string())),
        other => PlanError::internal(first_line(&other.strip_backtrace())),
    };
    translated.at(place)
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or(message).trim_end_matches('.').to_owned()
}

fn diagnostic_place(error: &DataFusionError) -> Option<TextPlace> {
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span).or_else(|| match error.find_root() {
        DataFusionError::SchemaError(schema_error, _) => match schema_error.as_ref() {
            SchemaError::FieldNotFound { field, .. } | SchemaError::AmbiguousReference { field } => {
                field.spans().first()
            }
            _ => None,
        },
        _ => None,
    })?;
    Some(TextPlace { line: span.start.line, column: span.start.column })
}

fn schema_error_in_words(error: &SchemaError, used: &[Arc<ViewTable>]) -> PlanError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let table = field.relation.as_ref().map(|relation| relation.table());
            let is_there = |table: &str| {
                valid_fields.iter().any(|known| known.relation.as_ref().is_some_and(|other| other.table() == table))
            };
            match table {
                // A table that FROM gives another name, or that is not in FROM at all.
                Some(table) if !valid_fields.is_empty() && !is_there(table) => unknown_table(table, used),
                _ => unknown_column(&field.name, table, used),
            }
        }
        SchemaError::AmbiguousReference { field } => {
            PlanError::new("42702", format!("column reference \"{}\" is ambiguous", crate::name::shown(&field.name)))
                .hint("Write the table's name before it, as in t.column.")
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            PlanError::new("42701", format!("column \"{}\" specified more than once", crate::name::shown(name)))
                .hint("Give one of them another name with AS.")
        }
    }
}

fn unknown_table(table: &str, used: &[Arc<ViewTable>]) -> PlanError {
    if used.iter().any(|known| known.name.eq_ignore_ascii_case(table)) {
        return PlanError::new("42P01", format!("invalid reference to FROM-clause entry for table \"{table}\""))
            .hint("Write the alias that FROM gives the table.");
    }
    PlanError::new("42P01", format!("missing FROM-clause entry for table \"{table}\""))
}

/// 42703, with the member that was probably meant.
#[must_use]
pub fn unknown_column(name: &str, qualifier: Option<&str>, used: &[Arc<ViewTable>]) -> PlanError {
    let shown = crate::name::shown(name);
    let candidates: Vec<&Arc<ViewTable>> = used
        .iter()
        .filter(|table| qualifier.is_none_or(|wanted| used.len() == 1 || table.name.eq_ignore_ascii_case(wanted)))
        .collect();
    let message = match candidates.as_slice() {
        [only] => format!("column \"{shown}\" does not exist in view \"{}\"", only.name),
        _ => format!("column \"{shown}\" does not exist"),
    };
    let mut error = PlanError::new("42703", message);
    let near = nearest(shown, candidates.iter().flat_map(|table| table.columns.keys()).map(String::as_str));
    if let Some(near) = near
        // There, but not where it stands: in LIMIT, or under an alias.
        && near != shown
        && let Some(table) = candidates.iter().find(|table| table.columns.contains_key(near))
        && let Some(member) = table.columns.get(near)
    {
        let kind = match member.kind {
            MemberKind::Dimension => "dimension",
            MemberKind::Measure => "measure",
            MemberKind::Segment => "segment",
        };
        error = error.hint(format!("Perhaps the {kind} \"{}.{near}\" is meant.", table.name));
    }
    error
}

/// DataFusion's plan errors carry their kind only in their words.
fn plan_message(message: &str, used: &[Arc<ViewTable>]) -> PlanError {
    let line = first_line(message);
    if let Some(rest) = line.strip_prefix("Invalid function '") {
        let name = rest.split('\'').next().unwrap_or_default();
        return PlanError::new("42883", format!("function {name}(…) does not exist"))
            .hint("No function of that name is supported. EXPLAIN and the documentation list those that are.");
    }
    if line.contains("to grouping function is not in grouping columns") {
        return PlanError::new(
            "42803",
            "arguments to GROUPING must be grouping expressions of the associated query level",
        );
    }
    if line.contains("must be in GROUP BY")
        || line.contains("must appear in the GROUP BY")
        || line.contains("references non-aggregate values")
        || line.contains("could not be resolved from available columns")
    {
        let column = column_in_quotes(&line, used);
        let mut error = match &column {
            Some((name, _)) => PlanError::new(
                "42803",
                format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"),
            ),
            None => PlanError::new(
                "42803",
                "a selected column must appear in the GROUP BY clause or be used in an aggregate function",
            ),
        };
        if let Some((name, MemberKind::Measure)) = &column {
            error = error.hint(format!("\"{name}\" is a measure: write MEASURE({name})."));
        }
        return error;
    }
    if let Some((_, parameter)) = line.split_once("Conflicting types for id ") {
        return PlanError::new("42P08", format!("inconsistent types deduced for parameter {parameter}"))
            .hint("Cast each use of the parameter, as in $1::text.");
    }
    if line.contains("queries have different number of columns") {
        let word = line.split(' ').next().unwrap_or("UNION");
        return PlanError::new("42601", format!("each {word} query must have the same number of columns"));
    }
    // Names that users give are made unique before: these are names that DataFusion gave while it took a sub-query apart.
    if line.starts_with("Projections require unique expression names") {
        return PlanError::unsupported("this form of sub-query is not supported")
            .hint("Compare the sub-query's columns with the outer ones by =, or join it.");
    }
    if let Some(rest) = line.strip_prefix("Order by column out of bounds, specified: ") {
        let position = rest.split(',').next().unwrap_or_default();
        return PlanError::new("42P10", format!("ORDER BY position {position} is not in select list"));
    }
    if line.contains("invalid digit found in string") {
        return PlanError::new("42601", "non-integer constant in ORDER BY or GROUP BY");
    }
    if let Some((clause, _)) = line.strip_prefix("Expected ").and_then(|rest| rest.split_once(" to be an integer")) {
        return PlanError::new("42804", format!("argument of {clause} must be type bigint"));
    }
    if line.starts_with("Source table contains") {
        return PlanError::unsupported(
            "a list of column aliases of another length than the table's columns is not supported",
        );
    }
    if line.starts_with("Inconsistent data type across values list") {
        return PlanError::new("42804", "VALUES types cannot be matched")
            .hint("Give each column one type in all rows.");
    }
    if line.contains("Cannot coerce")
        || line.contains("No function matches")
        || line.contains("Failed to coerce arguments")
    {
        return PlanError::new("42883", format!("no function matches these argument types: {line}"))
            .hint("You might need to add explicit type casts.");
    }
    if let Some(at) = line.find("function ")
        && let Some(end) = line[at..].find(" does not exist")
        && line.contains("failed to match any signature")
    {
        return PlanError::new("42883", format!("{} does not exist", &line[at..at + end]))
            .hint("No function matches the given name and argument types. You might need to add explicit type casts.");
    }
    if line.contains("failed to match any signature") {
        let name = line.split('\'').nth(1).unwrap_or_default();
        if name == "pg_neg" {
            return PlanError::new("42883", "operator does not exist: -").hint(
                "No operator matches the given name and argument types. You might need to add explicit type casts.",
            );
        }
        return PlanError::new("42883", format!("function {name}(…) does not take these arguments"))
            .hint("No function matches the given name and argument types. You might need to add explicit type casts.");
    }
    if line.contains("cannot be nested") {
        return PlanError::new("42803", "aggregate function calls cannot be nested")
            .hint("Aggregate in a sub-query, then aggregate its result.");
    }
    if line.contains("non-boolean predicate") {
        return PlanError::new("42804", "argument of WHERE or HAVING must be type boolean")
            .hint("Compare the value, as in amount <> 0.");
    }
    if line.contains("ggregate functions are not allowed in the WHERE")
        || line.contains("Aggregate functions are not allowed in WHERE")
        || line.contains("aggregate functions in WHERE")
    {
        return PlanError::new("42803", "aggregate functions are not allowed in WHERE").hint("Use HAVING.");
    }
    PlanError::new("42601", line)
}

/// The column that a message names, if it is one of ours.
fn column_in_quotes(line: &str, used: &[Arc<ViewTable>]) -> Option<(String, MemberKind)> {
    let mut found: Vec<(usize, String, MemberKind)> = Vec::new();
    for table in used {
        for (name, member) in &table.columns {
            for pattern in [format!("\"{}.{name}\"", table.name), format!("{}.{name}", table.name), format!("'{name}'")]
            {
                if let Some(at) = line.find(&pattern) {
                    found.push((at, name.clone(), member.kind));
                    break;
                }
            }
        }
    }
    // The longest name at the first place: `total` must not win over `total_paid`.
    found.sort_by_key(|(at, name, _)| (*at, std::cmp::Reverse(name.len())));
    found.into_iter().next().map(|(_, name, kind)| (name, kind))
}
