//! `${NAME}` and `${NAME:-default}` in values of the config file.

use super::Environment;

/// Why a text could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpandError {
    /// The variable is not set, and there is no default.
    Missing(String),
    /// `${` without `}`, or something between them that is no name.
    Malformed(String),
}

/// Replaces each reference by the variable's value.
///
/// The default stands in for a variable that is unset or empty, as in a shell. `$${` is a plain `${`; any other `$` is a
/// plain `$`. What comes out is not expanded again.
///
/// # Errors
/// The first reference that cannot be replaced.
pub fn expand(text: &str, environment: &Environment) -> Result<String, ExpandError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find("${") {
        if let Some(before) = rest[..dollar].strip_suffix('$') {
            expanded += before;
            expanded += "${";
            rest = &rest[dollar + 2..];
            continue;
        }
        expanded += &rest[..dollar];
        let Some(length) = rest[dollar..].find('}') else {
            return Err(ExpandError::Malformed(rest[dollar..].chars().take(20).collect()));
        };
        let inside = &rest[dollar + 2..dollar + length];
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let is_name = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
        if !is_name {
            return Err(ExpandError::Malformed(format!("${{{name}}}")));
        }
        match (environment.get(name).map(String::as_str), default) {
            (None | Some(""), Some(default)) => expanded += default,
            (Some(value), _) => expanded += value,
            (None, None) => return Err(ExpandError::Missing(name.to_owned())),
        }
        rest = &rest[dollar + length + 1..];
    }
    expanded += rest;
    Ok(expanded)
}
