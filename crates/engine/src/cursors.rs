//! Cursors of SQL: `DECLARE`, `FETCH`, `MOVE` and `CLOSE`, as psql's FETCH_COUNT, psycopg's named cursors, psqlODBC and postgres_fdw
//! send them.
//!
//! A cursor is the stream of its query and what is left of the last batch: nothing is read before it is fetched, and nothing is kept
//! after. It only goes forward. While it is open it holds its connections at the sources.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use belvedere_planner::parse;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use futures::{StreamExt, stream};
use tokio::sync::Mutex;

use crate::streaming::Stop;
use crate::{Column, RowStream, SqlError};

/// Each may hold a connection at every source.
const CURSORS_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CursorStatement {
    Declare {
        name: String,
        /// `WITH HOLD`: it outlives its transaction.
        hold: bool,
        /// The query, with blanks for what stood before it, so that positions stay true.
        query: String,
    },
    Fetch {
        name: String,
        count: Count,
    },
    /// The same without the rows.
    Move {
        name: String,
        count: Count,
    },
    /// `None` is ALL.
    Close {
        name: Option<String>,
    },
}

/// How many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Rows(u64),
    All,
}

/// Reads a statement about cursors; `None` for anything else.
///
/// # Errors
/// 42601 for one that begins like one and goes on otherwise, 0A000 for SCROLL and BINARY, 55000 for a way back.
pub fn parse_cursor(sql: &str) -> Result<Option<CursorStatement>, SqlError> {
    let begins = |word: &str| {
        let text = sql.trim_start();
        text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    // A comment may stand before the word, but no statement pays for tokens that it does not need.
    if !begins("--") && !begins("/*") && !["DECLARE", "FETCH", "MOVE", "CLOSE"].into_iter().any(begins) {
        return Ok(None);
    }
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location() else { return Ok(None) };
    let tokens: Vec<TokenWithSpan> = tokens
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::SemiColon | Token::EOF))
        .collect();
    let mut words = Words { tokens: &tokens, at: 1 };
    Ok(Some(match upper(tokens.first()).as_str() {
        "DECLARE" => declare(sql, &mut words)?,
        "FETCH" => {
            let count = words.count()?;
            CursorStatement::Fetch { name: words.last_name()?, count }
        }
        "MOVE" => {
            let count = words.count()?;
            CursorStatement::Move { name: words.last_name()?, count }
        }
        "CLOSE" if words.next_is("ALL") => {
            words.end()?;
            CursorStatement::Close { name: None }
        }
        "CLOSE" => CursorStatement::Close { name: Some(words.last_name()?) },
        _ => return Ok(None),
    }))
}

fn declare(sql: &str, words: &mut Words<'_>) -> Result<CursorStatement, SqlError> {
    let name = words.name()?;
    loop {
        if words.next_is("CURSOR") {
            break;
        }
        if words.next_is("NO") {
            if !words.next_is("SCROLL") {
                return Err(words.syntax());
            }
        } else if words.next_is("BINARY") {
            return Err(SqlError::new("0A000", "binary cursors are not supported")
                .hint("Ask for binary results by the extended query protocol."));
        } else if words.next_is("SCROLL") {
            return Err(SqlError::new("0A000", "scrollable cursors are not supported")
                .hint("Declare the cursor with NO SCROLL, and run its query again to start over."));
        } else if !words.next_is("INSENSITIVE") && !words.next_is("ASENSITIVE") {
            return Err(words.syntax());
        }
    }
    let mut hold = false;
    if words.next_is("WITH") {
        hold = words.next_is("HOLD");
        if !hold {
            return Err(words.syntax());
        }
    } else if words.next_is("WITHOUT") && !words.next_is("HOLD") {
        return Err(words.syntax());
    }
    if !words.next_is("FOR") {
        return Err(words.syntax());
    }
    let Some(first) = words.tokens.get(words.at) else { return Err(words.syntax()) };
    let query = parse::blanked_before(sql, first.span.start.line, first.span.start.column);
    Ok(CursorStatement::Declare { name, hold, query })
}

struct Words<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
}

/// A word without quotes in upper case, empty for anything else.
fn upper(token: Option<&TokenWithSpan>) -> String {
    match token.map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_uppercase(),
        _ => String::new(),
    }
}

impl Words<'_> {
    fn next_is(&mut self, word: &str) -> bool {
        let is = upper(self.tokens.get(self.at)) == word;
        self.at += usize::from(is);
        is
    }

    fn name(&mut self) -> Result<String, SqlError> {
        let Some(Token::Word(word)) = self.tokens.get(self.at).map(|token| &token.token) else {
            return Err(self.syntax());
        };
        self.at += 1;
        Ok(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() })
    }

    fn last_name(&mut self) -> Result<String, SqlError> {
        let name = self.name()?;
        self.end().map(|()| name)
    }

    fn end(&self) -> Result<(), SqlError> {
        if self.at < self.tokens.len() { Err(self.syntax()) } else { Ok(()) }
    }

    /// The direction, and FROM or IN behind it.
    fn count(&mut self) -> Result<Count, SqlError> {
        let before = self.at;
        let count = if self.next_is("NEXT") {
            Count::Rows(1)
        } else if self.next_is("FORWARD") {
            match self.number()? {
                Some(count) => Count::Rows(count),
                None if self.next_is("ALL") => Count::All,
                None => Count::Rows(1),
            }
        } else if self.next_is("RELATIVE") {
            match self.number()? {
                // The rows between are not asked for.
                Some(1) => Count::Rows(1),
                Some(_) => return Err(forward_only()),
                None => return Err(self.syntax()),
            }
        } else if self.next_is("ALL") {
            Count::All
        } else if ["PRIOR", "FIRST", "LAST", "ABSOLUTE", "BACKWARD"].into_iter().any(|word| self.next_is(word)) {
            // A cursor may have such a name.
            if self.at == self.tokens.len() {
                self.at = before;
                return Ok(Count::Rows(1));
            }
            return Err(forward_only());
        } else {
            self.number()?.map_or(Count::Rows(1), Count::Rows)
        };
        if !self.next_is("FROM") {
            self.next_is("IN");
        }
        Ok(count)
    }

    fn number(&mut self) -> Result<Option<u64>, SqlError> {
        let token = |at: usize| self.tokens.get(at).map(|token| &token.token);
        match (token(self.at), token(self.at + 1)) {
            (Some(Token::Minus), Some(Token::Number(..))) => Err(forward_only()),
            (Some(Token::Plus), Some(Token::Number(digits, _))) => {
                let number = digits.parse().map_err(|_| self.syntax())?;
                self.at += 2;
                Ok(Some(number))
            }
            (Some(Token::Number(digits, _)), _) => {
                let number: u64 = digits.parse().map_err(|_| self.syntax())?;
                if number == 0 {
                    // The row where it stands, once more.
                    return Err(forward_only());
                }
                self.at += 1;
                Ok(Some(number))
            }
            _ => Ok(None),
        }
    }

    fn syntax(&self) -> SqlError {
        match self.tokens.get(self.at) {
            Some(token) => SqlError::new("42601", format!("syntax error at or near \"{}\"", token.token)),
            None => SqlError::new("42601", "syntax error at end of input"),
        }
    }
}

fn forward_only() -> SqlError {
    SqlError::new("55000", "cursor can only scan forward").hint("Run its query again to start over.")
}

/// An open cursor.
#[derive(Clone)]
pub struct Cursor {
    pub columns: Vec<Column>,
    pub schema: SchemaRef,
    hold: bool,
    /// Declared in the transaction that is open: a ROLLBACK takes it away, held or not.
    is_new: bool,
    rest: Arc<Mutex<Rest>>,
}

/// What was not fetched yet.
struct Rest {
    batch: Option<RecordBatch>,
    rows: Option<RowStream>,
    /// A fetch ended before its rows were all there: nobody knows where the cursor stands.
    failed: bool,
}

impl Cursor {
    pub fn new(columns: Vec<Column>, schema: SchemaRef, rows: RowStream, hold: bool, is_new: bool) -> Self {
        let rest = Rest { batch: None, rows: Some(rows), failed: false };
        Self { columns, schema, hold, is_new, rest: Arc::new(Mutex::new(rest)) }
    }

    /// The next rows. They come from the cursor as they are polled.
    pub fn fetch(&self, name: &str, count: Count, stop: Stop) -> RowStream {
        let left = match count {
            Count::Rows(rows) => rows,
            Count::All => u64::MAX,
        };
        let fetching = Fetching { rest: Arc::clone(&self.rest), name: name.to_owned(), left, is_over: false, stop };
        Box::pin(stream::unfold(fetching, |mut fetching| async move {
            let next = fetching.next().await?;
            Some((next, fetching))
        }))
    }
}

struct Fetching {
    rest: Arc<Mutex<Rest>>,
    name: String,
    left: u64,
    is_over: bool,
    stop: Stop,
}

impl Fetching {
    async fn next(&mut self) -> Option<Result<RecordBatch, SqlError>> {
        if self.left == 0 || self.is_over {
            self.is_over = true;
            return None;
        }
        let mut rest = self.rest.lock().await;
        if rest.failed {
            self.is_over = true;
            return Some(Err(SqlError::new("55000", format!("portal \"{}\" cannot be run", self.name))));
        }
        let batch = loop {
            if let Some(batch) = rest.batch.take() {
                break batch;
            }
            let Some(rows) = rest.rows.as_mut() else {
                self.is_over = true;
                return None;
            };
            let next = tokio::select! {
                biased;
                why = self.stop.stopped() => Some(Err(why)),
                next = rows.next() => next,
            };
            match next {
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => rest.batch = Some(batch),
                Some(Err(error)) => {
                    (rest.rows, rest.failed, self.is_over) = (None, true, true);
                    return Some(Err(error));
                }
                None => rest.rows = None,
            }
        };
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
        let given = if batch.num_rows() > wanted {
            rest.batch = Some(batch.slice(wanted, batch.num_rows() - wanted));
            batch.slice(0, wanted)
        } else {
            batch
        };
        self.left -= given.num_rows() as u64;
        self.is_over = self.left == 0;
        Some(Ok(given))
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if !self.is_over
            && let Ok(mut rest) = self.rest.try_lock()
        {
            (rest.rows, rest.batch, rest.failed) = (None, None, true);
        }
    }
}

/// The cursors of a session by name.
#[derive(Default)]
pub struct Cursors(HashMap<String, Cursor>);

impl Cursors {
    /// # Errors
    /// 34000.
    pub fn get(&self, name: &str) -> Result<&Cursor, SqlError> {
        self.0.get(name).ok_or_else(|| SqlError::new("34000", format!("cursor \"{name}\" does not exist")))
    }

    /// Whether a cursor may be declared now.
    ///
    /// # Errors
    /// 25P01 outside a transaction, 42P03 for a name that is taken, 53400 where too many are open.
    pub fn check_new(&self, name: &str, hold: bool, in_transaction: bool) -> Result<(), SqlError> {
        if !hold && !in_transaction {
            return Err(SqlError::new("25P01", "DECLARE CURSOR can only be used in transaction blocks"));
        }
        if self.0.contains_key(name) {
            return Err(SqlError::new("42P03", format!("cursor \"{name}\" already exists")));
        }
        if self.0.len() >= CURSORS_MAX {
            return Err(SqlError::new("53400", format!("more than {CURSORS_MAX} cursors are open"))
                .hint("CLOSE those that are not needed any more."));
        }
        Ok(())
    }

    pub fn insert(&mut self, name: String, cursor: Cursor) {
        self.0.insert(name, cursor);
    }

    /// # Errors
    /// 34000.
    pub fn close(&mut self, name: Option<&str>) -> Result<(), SqlError> {
        match name {
            None => self.0.clear(),
            Some(name) => {
                self.get(name)?;
                self.0.remove(name);
            }
        }
        Ok(())
    }

    pub fn names(&self) -> HashSet<String> {
        self.0.keys().cloned().collect()
    }

    /// Closes those that a ROLLBACK TO takes away: all but `names`.
    pub fn retain(&mut self, names: &HashSet<String>) {
        self.0.retain(|name, cursor| !cursor.is_new || names.contains(name));
    }

    /// The end of a transaction.
    pub fn transaction_ended(&mut self, committed: bool) {
        self.0.retain(|_, cursor| cursor.hold && (committed || !cursor.is_new));
        for cursor in self.0.values_mut() {
            cursor.is_new = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sql: &str) -> CursorStatement {
        parse_cursor(sql).expect("it is well-formed").expect("it is about cursors")
    }

    #[test]
    fn what_clients_send_is_read() {
        let declared = |name: &str, hold, query: &str| CursorStatement::Declare {
            name: name.to_owned(),
            hold,
            query: query.to_owned(),
        };
        let psql = "DECLARE _psql_cursor NO SCROLL CURSOR FOR\nSELECT 1";
        assert_eq!(parsed(psql), declared("_psql_cursor", false, &format!("{}\nSELECT 1", " ".repeat(41))));
        let odbc = "declare \"SQL_CUR0x1\" cursor with hold for SELECT 'for'";
        assert_eq!(parsed(odbc), declared("SQL_CUR0x1", true, &format!("{}SELECT 'for'", " ".repeat(42))));
        let fetch = |name: &str, count| CursorStatement::Fetch { name: name.to_owned(), count };
        for (sql, expected) in [
            ("FETCH FORWARD 100 FROM _psql_cursor", fetch("_psql_cursor", Count::Rows(100))),
            ("fetch 100 in \"SQL_CUR0x1\"", fetch("SQL_CUR0x1", Count::Rows(100))),
            ("FETCH FORWARD ALL FROM \"x\"", fetch("x", Count::All)),
            ("FETCH ALL c1", fetch("c1", Count::All)),
            ("FETCH NEXT c", fetch("c", Count::Rows(1))),
            ("FETCH FORWARD FROM c", fetch("c", Count::Rows(1))),
            ("FETCH C", fetch("c", Count::Rows(1))),
            ("fetch first", fetch("first", Count::Rows(1))),
            ("/* a */ MOVE 5 c", CursorStatement::Move { name: "c".to_owned(), count: Count::Rows(5) }),
            ("CLOSE ALL", CursorStatement::Close { name: None }),
            ("CLOSE _psql_cursor;", CursorStatement::Close { name: Some("_psql_cursor".to_owned()) }),
        ] {
            assert_eq!(parsed(sql), expected, "{sql}");
        }
        assert_eq!(parse_cursor("SELECT 1"), Ok(None));
    }

    #[test]
    fn the_way_back_and_what_is_no_cursor_statement_is_refused() {
        for (sql, state) in [
            ("FETCH BACKWARD 1 FROM c", "55000"),
            ("FETCH PRIOR c", "55000"),
            ("FETCH -1 FROM c", "55000"),
            ("FETCH ABSOLUTE 1 c", "55000"),
            ("DECLARE c SCROLL CURSOR FOR SELECT 1", "0A000"),
            ("DECLARE c BINARY CURSOR FOR SELECT 1", "0A000"),
            ("DECLARE c CURSOR", "42601"),
            ("DECLARE c CURSOR FOR", "42601"),
            ("DECLARE CURSOR FOR SELECT 1", "42601"),
            ("FETCH", "42601"),
            ("CLOSE", "42601"),
            ("CLOSE a b", "42601"),
        ] {
            assert_eq!(parse_cursor(sql).err().map(|error| error.sqlstate), Some(state), "{sql}");
        }
    }
}
