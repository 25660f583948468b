//! `REFRESH MATERIALIZED VIEW "orders.daily"`: builds one rollup now.

use async_trait::async_trait;
use belvedere_planner::rollups::RollupName;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::SqlError;

/// Builds rollups for sessions. Who gives the engine one decides how.
#[async_trait]
pub trait RollupBuilder: Send + Sync + std::fmt::Debug {
    /// Builds all partitions of a rollup, whether or not they are due. Dropping the future gives up.
    async fn build_now(&self, name: &RollupName) -> Result<(), SqlError>;
}

/// The name in a `REFRESH MATERIALIZED VIEW`, in one piece or with its cube before a dot; `None` for any other statement.
///
/// # Errors
/// 42601 for one that goes on otherwise, 0A000 for `WITH NO DATA`.
pub fn parse_refresh(sql: &str) -> Result<Option<String>, SqlError> {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() else { return Ok(None) };
    let mut tokens = tokens
        .into_iter()
        .filter(|token| !matches!(token, Token::Whitespace(_) | Token::SemiColon | Token::EOF))
        .peekable();
    let is_word = |token: Option<&Token>, word: &str| matches!(token, Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word));
    if !is_word(tokens.next().as_ref(), "REFRESH") || !is_word(tokens.next().as_ref(), "MATERIALIZED") {
        return Ok(None);
    }
    let wrong = |token: Option<Token>| match token {
        Some(token) => SqlError::new("42601", format!("syntax error at or near \"{token}\"")),
        None => SqlError::new("42601", "syntax error at end of input"),
    };
    let view = tokens.next();
    if !is_word(view.as_ref(), "VIEW") {
        return Err(wrong(view));
    }
    // Queries go on during any build.
    if is_word(tokens.peek(), "CONCURRENTLY") {
        tokens.next();
    }
    let mut name = String::new();
    loop {
        match tokens.next() {
            Some(Token::Word(word)) => name.push_str(&word.value),
            other => return Err(wrong(other)),
        }
        match tokens.next() {
            None => return Ok(Some(name)),
            Some(Token::Period) => name.push('.'),
            Some(with) if is_word(Some(&with), "WITH") => break,
            other => return Err(wrong(other)),
        }
    }
    let data = tokens.next();
    if is_word(data.as_ref(), "NO") {
        return Err(SqlError::new("0A000", "REFRESH MATERIALIZED VIEW … WITH NO DATA is not supported"));
    }
    match (is_word(data.as_ref(), "DATA"), tokens.next()) {
        (true, None) => Ok(Some(name)),
        (true, rest) => Err(wrong(rest)),
        (false, _) => Err(wrong(data)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_read_in_one_piece_or_two() {
        for (sql, name) in [
            ("REFRESH MATERIALIZED VIEW \"orders.daily\"", "orders.daily"),
            ("refresh materialized view orders.daily;", "orders.daily"),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY \"Orders\".\"byDay\" WITH DATA", "Orders.byDay"),
        ] {
            assert_eq!(parse_refresh(sql), Ok(Some(name.to_owned())), "{sql}");
        }
        assert_eq!(parse_refresh("SELECT 1"), Ok(None));
        for (sql, state) in [
            ("REFRESH MATERIALIZED VIEW", "42601"),
            ("REFRESH MATERIALIZED VIEW a b", "42601"),
            ("REFRESH MATERIALIZED VIEW a WITH NO DATA", "0A000"),
        ] {
            assert_eq!(parse_refresh(sql).expect_err(sql).sqlstate, state, "{sql}");
        }
    }
}
