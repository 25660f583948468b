//! Takes the names that a user may not see out of what planning says.
//!
//! The tables and columns of a refusal are those of the user's own catalog; but a join, a fact or a member's SQL may lead to others.

use std::collections::HashSet;

use crate::error::PlanError;

const INSTEAD: &str = "\"(hidden)\"";

/// The error without the names in `hidden`: in quotes they are replaced, a sentence of advice that has one is left out.
#[must_use]
pub fn without_names(error: PlanError, hidden: &HashSet<String>) -> PlanError {
    if hidden.is_empty() {
        return error;
    }
    let mentions =
        |text: &String| text.split(|c: char| !(c == '_' || c.is_alphanumeric())).any(|word| hidden.contains(word));
    PlanError {
        message: sentence_without_names(&error.message, hidden),
        detail: error.detail.map(|detail| sentence_without_names(&detail, hidden)),
        hint: error.hint.filter(|hint| !mentions(hint)),
        ..error
    }
}

/// Without `"name"` and `"a.name"`, where any of the names is hidden.
#[must_use]
pub fn sentence_without_names(text: &str, hidden: &HashSet<String>) -> String {
    let mut result = String::new();
    for (index, part) in text.split('"').enumerate() {
        let is_quoted = index % 2 == 1;
        if is_quoted && part.split('.').any(|name| hidden.contains(name)) {
            result.push_str(INSTEAD);
        } else if is_quoted {
            result.push_str(&format!("\"{part}\""));
        } else {
            result.push_str(part);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::without_names;
    use crate::error::PlanError;

    #[test]
    fn hidden_names_do_not_come_out_of_errors() {
        let hidden = ["salaries".to_owned(), "bonus".to_owned()].into();
        let error = PlanError::new("0A000", "no join path connects the cubes \"orders\", \"salaries\"")
            .detail("\"salaries.bonus\" is in the way of \"orders.bonus\".")
            .hint("Declare a join from \"orders\" to salaries_id, or to salaries.");
        let shown = without_names(error, &hidden);
        assert_eq!(shown.message, "no join path connects the cubes \"orders\", \"(hidden)\"");
        assert_eq!(shown.detail.as_deref(), Some("\"(hidden)\" is in the way of \"(hidden)\"."));
        assert_eq!(shown.hint, None);
    }
}
