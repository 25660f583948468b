//! `FILTER_PARAMS`, `FILTER_GROUP`, `SECURITY_CONTEXT` and `SQL_UTILS` in SQL (semantics 1.17), as read from the files.

use crate::context::{ContextPath, parse_path};
use crate::spelling::is_identifier;

/// A place in SQL where a condition of the query stands, or something that is known of the user or of the session.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlParameter {
    /// `FILTER_PARAMS.cube.member.filter(…)`, or several of them in `FILTER_GROUP(…)`: what the query asks of these members.
    Filters(Vec<FilterParameter>),
    /// `SECURITY_CONTEXT.path.filter(…)`, `.requiredFilter(…)`: equal to what the user has.
    Context { path: ContextPath, column: FilterColumn, required: bool },
    /// `SQL_UTILS.convertTz(…)`: SQL of the cube, `{CUBE}` in it, as wall-clock time of the session's zone.
    LocalTime(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct FilterParameter {
    pub cube: String,
    pub member: String,
    pub column: FilterColumn,
}

/// What the values are put into.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterColumn {
    /// SQL that is compared with the values.
    Sql(String),
    /// SQL with the values in it: `lambda from, to: f"…"`.
    Call { arity: usize, parts: Vec<CallPart> },
}

#[derive(Debug, Clone, PartialEq)]
pub enum CallPart {
    Text(String),
    /// The n-th value, from 0.
    Value(usize),
}

/// Reads what stands between braces; `None` for another form, which is not executed.
#[must_use]
pub fn parse_sql_parameter(expression: &str) -> Option<SqlParameter> {
    let text = expression.trim();
    if let Some(rest) = text.strip_prefix("FILTER_GROUP") {
        let inner = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
        let filters = split_arguments(inner)?.into_iter().map(filter_parameter).collect::<Option<Vec<_>>>()?;
        return (!filters.is_empty()).then_some(SqlParameter::Filters(filters));
    }
    if text.starts_with("FILTER_PARAMS") {
        return Some(SqlParameter::Filters(vec![filter_parameter(text)?]));
    }
    let (path, method, argument) = method_call(text)?;
    if path == "SQL_UTILS" {
        let sql = quoted(argument.strip_prefix('f').unwrap_or(argument))?;
        let is_given = matches!(method, "convertTz" | "convert_tz") && !sql.trim().is_empty();
        return is_given.then(|| SqlParameter::LocalTime(sql.to_owned()));
    }
    // Only the context's own names: a user's attribute is no SQL.
    if !path.starts_with("SECURITY_CONTEXT") && !path.starts_with("USER_CONTEXT") {
        return None;
    }
    let path = parse_path(path).ok()?;
    match method {
        "filter" | "requiredFilter" | "required_filter" => {
            Some(SqlParameter::Context { path, column: filter_column(argument)?, required: method != "filter" })
        }
        // `unsafeValue()` may stand inside quotes, where nothing can be bound.
        _ => None,
    }
}

/// `FILTER_PARAMS.cube.member.filter(…)`
fn filter_parameter(text: &str) -> Option<FilterParameter> {
    let (path, method, argument) = method_call(text.trim())?;
    let names: Vec<&str> = path.split('.').map(str::trim).collect();
    let ["FILTER_PARAMS", cube, member] = names.as_slice() else { return None };
    if method != "filter" || !is_identifier(cube) || !is_identifier(member) {
        return None;
    }
    Some(FilterParameter { cube: (*cube).to_owned(), member: (*member).to_owned(), column: filter_column(argument)? })
}

/// `a.b.method(argument)`
fn method_call(text: &str) -> Option<(&str, &str, &str)> {
    let open = text.find('(')?;
    let argument = text[open + 1..].strip_suffix(')')?;
    let (path, method) = text[..open].trim().rsplit_once('.')?;
    Some((path.trim(), method.trim(), argument.trim()))
}

fn filter_column(argument: &str) -> Option<FilterColumn> {
    if let Some(text) = quoted(argument) {
        return (!text.trim().is_empty()).then(|| FilterColumn::Sql(text.to_owned()));
    }
    let (names, body) = match argument.strip_prefix("lambda") {
        Some(rest) => rest.split_once(':')?,
        None => {
            let (names, body) = argument.split_once("=>")?;
            (names.trim().trim_start_matches('(').trim_end_matches(')'), body)
        }
    };
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    if !names.iter().all(|name| is_identifier(name)) {
        return None;
    }
    let body = body.trim();
    let text = quoted(body.strip_prefix('f').unwrap_or(body))?;
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let close = open + rest[open..].find('}')?;
        let name = rest[open + 1..close].trim();
        let before = rest[..open].strip_suffix('$').unwrap_or(&rest[..open]);
        parts.push(CallPart::Text(before.to_owned()));
        parts.push(CallPart::Value(names.iter().position(|known| *known == name)?));
        rest = &rest[close + 1..];
    }
    parts.push(CallPart::Text(rest.to_owned()));
    Some(FilterColumn::Call { arity: names.len(), parts })
}

/// The text between quotes of one kind, in which that quote does not stand.
fn quoted(text: &str) -> Option<&str> {
    ["\"\"\"", "'''", "\"", "'", "`"].into_iter().find_map(|quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains(quote) && !inner.contains('\\')).then_some(inner)
    })
}

/// The arguments between commas that stand in no bracket and no quotes.
fn split_arguments(text: &str) -> Option<Vec<&str>> {
    let (mut depth, mut quote, mut start) = (0_i32, None, 0);
    let mut found = Vec::new();
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (Some(end), _) if character == end => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(character),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                found.push(text[start..index].trim());
                start = index + 1;
            }
            (None, _) => {}
        }
    }
    found.push(text[start..].trim());
    (depth == 0 && quote.is_none()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::{CallPart, FilterColumn, FilterParameter, SqlParameter, parse_sql_parameter};
    use crate::ContextPath;

    #[test]
    fn the_documented_forms_are_read() {
        let status = FilterParameter {
            cube: "orders".to_owned(),
            member: "status".to_owned(),
            column: FilterColumn::Sql("o.status".to_owned()),
        };
        assert_eq!(
            parse_sql_parameter("FILTER_PARAMS.orders.status.filter('o.status')"),
            Some(SqlParameter::Filters(vec![status.clone()]))
        );
        let between = FilterColumn::Call {
            arity: 2,
            parts: vec![
                CallPart::Text("at >= ".to_owned()),
                CallPart::Value(0),
                CallPart::Text(" AND at <= ".to_owned()),
                CallPart::Value(1),
                CallPart::Text(String::new()),
            ],
        };
        let at = FilterParameter { cube: "orders".to_owned(), member: "at".to_owned(), column: between };
        assert_eq!(
            parse_sql_parameter(
                "FILTER_GROUP(FILTER_PARAMS.orders.status.filter(\"o.status\"), \
                 FILTER_PARAMS.orders.at.filter(lambda x, y: f'at >= {x} AND at <= {y}'))"
            ),
            Some(SqlParameter::Filters(vec![status, at.clone()]))
        );
        assert_eq!(
            parse_sql_parameter("FILTER_PARAMS.orders.at.filter((x, y) => `at >= ${x} AND at <= ${y}`)"),
            Some(SqlParameter::Filters(vec![at]))
        );
        assert_eq!(
            parse_sql_parameter("SECURITY_CONTEXT.region.requiredFilter('region')"),
            Some(SqlParameter::Context {
                path: ContextPath::Attribute("region".to_owned()),
                column: FilterColumn::Sql("region".to_owned()),
                required: true
            })
        );
    }

    #[test]
    fn the_session_s_time_is_asked_for_by_one_text() {
        let local = Some(SqlParameter::LocalTime("{CUBE}.at".to_owned()));
        assert_eq!(parse_sql_parameter("SQL_UTILS.convertTz(f\"{CUBE}.at\")"), local);
        assert_eq!(parse_sql_parameter("SQL_UTILS.convertTz(`{CUBE}.at`)"), local);
    }

    #[test]
    fn other_forms_are_not() {
        for text in [
            "FILTER_PARAMS.orders.status.filter(status)",
            "FILTER_PARAMS.orders.filter('x')",
            "FILTER_PARAMS.orders.status.filter('a' + 'b')",
            "FILTER_PARAMS.orders.status.filter(lambda x: f\"{y}\")",
            "FILTER_PARAMS.orders.status.filter('')",
            "FILTER_GROUP()",
            "SECURITY_CONTEXT.a.b.filter('x')",
            "SECURITY_CONTEXT.a",
            "SECURITY_CONTEXT.a.unsafeValue()",
            "SQL_UTILS.convertTz('')",
            "SQL_UTILS.urlEncode('x')",
            "COMPILE_CONTEXT.x",
        ] {
            assert_eq!(parse_sql_parameter(text), None, "{text}");
        }
    }
}
