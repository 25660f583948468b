//! Text to SQL syntax tree, within limits that hold before the recursive parser runs.

use datafusion_sql::sqlparser::ast::Statement;
use datafusion_sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::error::{PlanError, Result, TextPlace};

/// Longest text of one message, in bytes.
pub const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// Most tokens in one statement.
pub const TOKENS_MAX: usize = 200_000;
/// Deepest nesting of brackets, and longest chain of operators without a comma between them. Both become recursion.
pub const DEPTH_MAX: usize = 500;

/// Reads exactly one statement; a closing semicolon is allowed.
///
/// # Errors
/// 42601 for text that is not one statement, 54000 and 54001 beyond the limits.
pub fn parse_one(sql: &str) -> Result<Statement> {
    let mut tokens = tokenize(sql)?;
    check_limits(&tokens)?;
    write_out_table(&mut tokens);
    let mut parser =
        Parser::new(&PostgreSqlDialect {}).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens);
    let statement = parser.parse_statement().map_err(parser_error)?;
    while parser.consume_token(&Token::SemiColon) {}
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(PlanError::syntax(format!("syntax error at or near \"{}\"", rest.token)).at(place_of(&rest)));
    }
    Ok(statement)
}

/// `TABLE name` at a statement's beginning is short for `SELECT * FROM name`.
fn write_out_table(tokens: &mut Vec<TokenWithSpan>) {
    let Some(first) = tokens.iter().position(|token| !matches!(token.token, Token::Whitespace(_))) else { return };
    if matches!(&tokens[first].token, Token::Word(word) if word.keyword == Keyword::TABLE && word.quote_style.is_none())
    {
        let span = tokens[first].span;
        let written = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
        tokens.splice(first..=first, written.map(|token| TokenWithSpan::new(token, span)));
    }
}

/// Splits a text at its top-level semicolons; pieces without a token are left out.
///
/// # Errors
/// As [`parse_one`], for the text's tokens; the pieces are not parsed yet.
pub fn split(sql: &str) -> Result<Vec<String>> {
    if sql.len() > STATEMENT_BYTES_MAX {
        return Err(too_long());
    }
    let tokens = tokenize(sql)?;
    let offsets = line_offsets(sql);
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut has_token = false;
    for token in &tokens {
        match token.token {
            Token::SemiColon => {
                let end = byte_offset(sql, &offsets, token.span.start.line, token.span.start.column);
                if has_token {
                    pieces.push(sql[start..end].to_owned());
                }
                start = end + 1;
                has_token = false;
            }
            Token::Whitespace(_) | Token::EOF => {}
            _ => has_token = true,
        }
    }
    if has_token {
        pieces.push(sql[start..].to_owned());
    }
    Ok(pieces)
}

pub(crate) fn tokenize(sql: &str) -> Result<Vec<TokenWithSpan>> {
    if sql.len() > STATEMENT_BYTES_MAX {
        return Err(too_long());
    }
    Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().map_err(|error| {
        let message = match error.message.as_str() {
            "Unterminated string literal" => "unterminated quoted string".to_owned(),
            other => other.to_owned(),
        };
        PlanError::syntax(message).at(Some(TextPlace { line: error.location.line, column: error.location.column }))
    })
}

fn too_long() -> PlanError {
    PlanError::new("54000", format!("statement is longer than {STATEMENT_BYTES_MAX} bytes"))
}

/// The byte at which each line starts.
pub(crate) fn line_offsets(sql: &str) -> Vec<usize> {
    std::iter::once(0).chain(sql.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// `sql` from a place on, with blanks for what stands before it: positions in it stay true.
#[must_use]
pub fn blanked_before(sql: &str, line: u64, column: u64) -> String {
    let start = byte_offset(sql, &line_offsets(sql), line, column);
    let mut text: String = sql[..start].chars().map(|character| if character == '\n' { '\n' } else { ' ' }).collect();
    text.push_str(&sql[start..]);
    text
}

/// Line and column (from 1, in characters) to a byte of `sql`.
pub(crate) fn byte_offset(sql: &str, offsets: &[usize], line: u64, column: u64) -> usize {
    let start = offsets.get((line as usize).saturating_sub(1)).copied().unwrap_or(sql.len());
    sql[start..].char_indices().nth((column as usize).saturating_sub(1)).map_or(sql.len(), |(at, _)| start + at)
}

/// Counts what turns into recursion, on the flat token stream.
fn check_limits(tokens: &[TokenWithSpan]) -> Result<()> {
    if tokens.len() > TOKENS_MAX {
        return Err(PlanError::new("54000", format!("statement has more than {TOKENS_MAX} words and signs")));
    }
    // One chain counter for each open bracket.
    let mut chains = vec![0_usize];
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => {
                chains.push(0);
                if chains.len() > DEPTH_MAX {
                    return Err(too_deep(token));
                }
            }
            Token::RParen | Token::RBracket => {
                if chains.len() > 1 {
                    chains.pop();
                }
                // `x[1][2]…`, `f(a)(b)…`: a chain of its own.
                bump(&mut chains, token)?;
            }
            Token::Comma | Token::SemiColon => {
                if let Some(chain) = chains.last_mut() {
                    *chain = 0;
                }
            }
            Token::Word(word) => match word.keyword {
                Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::BETWEEN
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::CASE
                | Keyword::WHEN
                | Keyword::JOIN => bump(&mut chains, token)?,
                _ => {}
            },
            Token::Whitespace(_)
            | Token::EOF
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::Placeholder(_)
            | Token::Period => {}
            _ => bump(&mut chains, token)?,
        }
    }
    Ok(())
}

fn bump(chains: &mut [usize], token: &TokenWithSpan) -> Result<()> {
    if let Some(chain) = chains.last_mut() {
        *chain += 1;
        if *chain > DEPTH_MAX {
            return Err(too_deep(token));
        }
    }
    Ok(())
}

fn too_deep(token: &TokenWithSpan) -> PlanError {
    PlanError::new("54001", "statement is nested too deeply")
        .detail(format!("More than {DEPTH_MAX} operators follow each other, or brackets are inside each other, here."))
        .hint("Split the statement, or use IN (…) in place of many ORs.")
        .at(place_of(token))
}

fn place_of(token: &TokenWithSpan) -> Option<TextPlace> {
    (token.span.start.line > 0).then_some(TextPlace { line: token.span.start.line, column: token.span.start.column })
}

/// The parser says its place only in words: `… at Line: 1, Column: 5`.
fn parser_error(error: ParserError) -> PlanError {
    match error {
        ParserError::RecursionLimitExceeded => PlanError::new("54001", "statement is nested too deeply"),
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
            let (message, place) = match text.rsplit_once(" at Line: ") {
                Some((message, place)) => (message.to_owned(), read_place(place)),
                None => (text, None),
            };
            let message = match message.split_once(", found: ") {
                Some((_, "EOF")) => "syntax error at end of input".to_owned(),
                Some((expected, found)) => {
                    return PlanError::syntax(format!("syntax error at or near \"{found}\""))
                        .detail(format!("{expected} here."))
                        .at(place);
                }
                None => message,
            };
            PlanError::syntax(message).at(place)
        }
    }
}

fn read_place(text: &str) -> Option<TextPlace> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(TextPlace { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}
