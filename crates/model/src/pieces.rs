//! Cuts SQL texts of model files at their braces, before anyone asks what stands between them.

/// A stretch of SQL text; offsets and lengths count characters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Reference { expression: String, offset: usize, length: usize },
    Jinja { offset: usize },
    Stray { offset: usize },
}

/// Cuts a text at its braces.
pub(crate) fn split(text: &str) -> Vec<Piece> {
    let chars: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut index = 0;
    while index < chars.len() {
        let next = chars.get(index + 1).copied();
        match chars[index] {
            '\\' if matches!(next, Some('{' | '}')) => {
                literal.extend(next);
                index += 2;
            }
            '{' if matches!(next, Some('{' | '%')) => {
                pieces.push(Piece::Jinja { offset: index });
                index = chars.len();
            }
            '{' | '$' if chars[index] == '{' || next == Some('{') => {
                let open = if chars[index] == '$' { index + 1 } else { index };
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                if let Some(close) = closing_brace(&chars, open) {
                    pieces.push(Piece::Reference {
                        expression: chars[open + 1..close].iter().collect(),
                        offset: index,
                        length: close + 1 - index,
                    });
                    index = close + 1;
                } else {
                    pieces.push(Piece::Stray { offset: open });
                    index = chars.len();
                }
            }
            '}' => {
                pieces.push(Piece::Stray { offset: index });
                index += 1;
            }
            c => {
                literal.push(c);
                index += 1;
            }
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    pieces
}

/// The brace that closes the one at `open`; braces inside quoted strings do not count.
fn closing_brace(chars: &[char], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote: Option<char> = None;
    let mut index = open;
    while index < chars.len() {
        let c = chars[index];
        match quote {
            Some(_) if c == '\\' => index += 1,
            Some(end) if c == end => quote = None,
            Some(_) => {}
            None => match c {
                '"' | '\'' | '`' => quote = Some(c),
                '{' => depth += 1,
                '}' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(index);
                    }
                }
                _ => {}
            },
        }
        index += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(expression: &str, offset: usize, length: usize) -> Piece {
        Piece::Reference { expression: expression.to_owned(), offset, length }
    }

    #[test]
    fn text_is_cut_at_braces_and_escapes_become_braces() {
        assert_eq!(
            split(r"\{{a}\} + ${b.c} é"),
            vec![
                Piece::Text("{".to_owned()),
                reference("a", 2, 3),
                Piece::Text("} + ".to_owned()),
                reference("b.c", 10, 6),
                Piece::Text(" é".to_owned()),
            ]
        );
    }

    #[test]
    fn a_lambda_with_an_f_string_is_one_expression() {
        let expression = r#"FILTER_PARAMS.orders.created_at.filter(lambda x, y: f"{x} <= a AND a < {y} }")"#;
        let text = format!("WHERE {{{expression}}}");
        assert_eq!(
            split(&text),
            vec![Piece::Text("WHERE ".to_owned()), reference(expression, 6, expression.chars().count() + 2)]
        );
    }

    #[test]
    fn braces_without_partner_and_jinja_are_told_apart() {
        assert_eq!(split("a }"), vec![Piece::Stray { offset: 2 }, Piece::Text("a ".to_owned())]);
        assert_eq!(split("{a"), vec![Piece::Stray { offset: 0 }]);
        assert_eq!(split("{{ x }}"), vec![Piece::Jinja { offset: 0 }]);
    }
}
