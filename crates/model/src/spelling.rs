//! One spelling for keys and enum values: snake_case, whether the file says `sql_table` or `sqlTable`.

/// `sqlTable` → `sql_table`; what is snake_case already stays.
pub(crate) fn snake_case(written: &str) -> String {
    let mut snake = String::with_capacity(written.len() + 4);
    for (index, c) in written.chars().enumerate() {
        if c.is_ascii_uppercase() && index > 0 {
            if !snake.ends_with('_') {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        } else {
            snake.push(c);
        }
    }
    snake
}

/// `^[_a-zA-Z][_a-zA-Z0-9]*$`, at most as long as anybody can read.
pub(crate) fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic())
        && chars.all(|c| c == '_' || c.is_ascii_alphanumeric())
        && name.len() <= 512
}

/// `a, b or c`, in backticks; at most a dozen.
pub(crate) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names.into_iter().take(13).map(|name| format!("`{name}`")).collect();
    if names.len() == 13 {
        names.pop();
        return format!("{}, …", names.join(", "));
    }
    match names.pop() {
        None => "nothing".to_owned(),
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} or {last}", names.join(", ")),
    }
}
