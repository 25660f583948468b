//! Member SQL of the model as row expressions of one cube: rendering, splitting, and what to ask the source about.

use std::ops::Range;

use belvedere_model::{
    CaseLabel, Cube, Dimension, DimensionValue, MemberRef, Model, Relation, SqlParameter, SqlTemplate, TemplatePart,
};
use datafusion_sql::sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect};
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::catalog::{SourceDialect, SqlPiece};
use crate::error::{PlanError, Result};
use crate::parse::{byte_offset, line_offsets};

/// Deepest chain of members that refer to members; loading refuses cycles, so this only bounds the stack.
pub(crate) const REFERENCE_DEPTH_MAX: usize = 64;

/// The alias of a cube in its own base scan.
#[must_use]
pub fn alias_of(cube: &Cube) -> &str {
    cube.sql_alias.as_deref().unwrap_or(&cube.naming.name)
}

/// The FROM text of a cube: its table, or its query in brackets; conditions of a query in it all hold.
///
/// # Errors
/// Where the SQL needs something that is not executed yet.
pub fn relation_sql(model: &Model, cube: &Cube) -> Result<String> {
    let pieces = relation_pieces(model, cube, &mut |_| Ok(vec![SqlPiece::Text(ALWAYS.to_owned())]))?;
    let text = pieces.into_iter().map(|piece| match piece {
        SqlPiece::Text(text) => text,
        SqlPiece::Value(_) => String::new(),
    });
    Ok(text.collect())
}

/// What stands in the place of a condition that a query does not have.
pub(crate) const ALWAYS: &str = "1 = 1";

/// What stands in the place of a parameter of a cube's SQL.
pub(crate) type PutParameter<'p> = dyn FnMut(&SqlParameter) -> Result<Vec<SqlPiece>> + 'p;

/// As [`relation_sql`], with what `put` makes of each parameter.
pub(crate) fn relation_pieces(model: &Model, cube: &Cube, put: &mut PutParameter<'_>) -> Result<Vec<SqlPiece>> {
    let (template, is_query) = match &cube.relation {
        Relation::Table(template) => (template, false),
        Relation::Query(template) => (template, true),
    };
    let mut pieces: Vec<SqlPiece> = Vec::new();
    for part in &template.parts {
        match part {
            TemplatePart::Text(text) => pieces.push(SqlPiece::Text(text.clone())),
            TemplatePart::Parameter(parameter) => {
                pieces.push(SqlPiece::Text("(".to_owned()));
                pieces.extend(put(parameter)?);
                pieces.push(SqlPiece::Text(")".to_owned()));
            }
            TemplatePart::CubeSql(other) => {
                let other = cube_named(model, other)?;
                if other.data_source != cube.data_source {
                    return Err(PlanError::unsupported(format!(
                        "the SQL of cube \"{}\" uses cube \"{}\" of another data source",
                        cube.naming.name, other.naming.name
                    )));
                }
                if let Relation::Table(_) = other.relation {
                    pieces.push(SqlPiece::Text("SELECT * FROM ".to_owned()));
                }
                pieces.extend(relation_pieces(model, other, put)?);
            }
            TemplatePart::Context(text) => return Err(context_error(text, &format!("cube \"{}\"", cube.naming.name))),
            TemplatePart::ThisCube | TemplatePart::Cube(_) | TemplatePart::Member(_) => {
                return Err(PlanError::unsupported(format!(
                    "the SQL of cube \"{}\" refers to a cube or member other than by {{cube.sql()}}",
                    cube.naming.name
                )));
            }
        }
    }
    if let Some(SqlPiece::Text(first)) = pieces.first_mut() {
        *first = first.trim_start().to_owned();
    }
    if let Some(SqlPiece::Text(last)) = pieces.last_mut() {
        *last = last.trim_end().trim_end_matches(';').trim_end().to_owned();
    }
    let is_bracketed = matches!(pieces.first(), Some(SqlPiece::Text(first)) if first.starts_with('('));
    if is_query && !is_bracketed {
        pieces.insert(0, SqlPiece::Text("(".to_owned()));
        pieces.push(SqlPiece::Text(")".to_owned()));
    }
    Ok(pieces)
}

/// Whether the rows of a cube's SQL, or of one that it embeds, depend on who asks.
#[must_use]
pub fn reads_context(model: &Model, cube: &Cube) -> bool {
    let mut found = false;
    let _: Result<_> = relation_pieces(model, cube, &mut |parameter| {
        found |= matches!(parameter, SqlParameter::Context { .. });
        Ok(Vec::new())
    });
    found
}

/// Whether a base column's SQL is a plain column that the cube's query gives as `NULL AS column`.
pub(crate) fn selects_bare_null(cube: &Cube, sql: &str) -> bool {
    let Relation::Query(template) = &cube.relation else { return false };
    let name = sql.rsplit('.').next().unwrap_or(sql).trim_matches(['"', '`']);
    let words: Vec<&str> =
        template.text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()).collect();
    words.windows(3).any(|three| {
        three[0].eq_ignore_ascii_case("null")
            && three[1].eq_ignore_ascii_case("as")
            && three[2].trim_matches(['"', '`']).eq_ignore_ascii_case(name)
    })
}

pub(crate) fn cube_named<'a>(model: &'a Model, name: &str) -> Result<&'a Cube> {
    model.cubes.get(name).ok_or_else(|| PlanError::internal(format!("cube \"{name}\" is not in the model")))
}

fn context_error(text: &str, owner: &str) -> PlanError {
    PlanError::unsupported(format!("{owner} uses {text}, which is not supported yet"))
}

/// A row expression over one cube, in its source's dialect; `None` when the SQL reaches beyond the cube.
///
/// References to own dimensions are written out in brackets, so that no operator binds across them.
///
/// # Errors
/// Where the SQL needs something that is not executed yet.
pub fn own_sql(model: &Model, cube: &Cube, template: &SqlTemplate, dialect: SourceDialect) -> Result<Option<String>> {
    let mut sql = String::new();
    Ok(render_own(model, cube, template, dialect, &mut sql, 0)?.then(|| sql.trim().to_owned()))
}

fn render_own(
    model: &Model,
    cube: &Cube,
    template: &SqlTemplate,
    dialect: SourceDialect,
    sql: &mut String,
    depth: usize,
) -> Result<bool> {
    if depth > REFERENCE_DEPTH_MAX {
        return Err(PlanError::new("54001", "members refer to members too deeply"));
    }
    for part in &template.parts {
        match part {
            TemplatePart::Text(text) => sql.push_str(text),
            TemplatePart::ThisCube => sql.push_str(&dialect.quoted(alias_of(cube))),
            TemplatePart::Cube(_) => return Ok(false),
            TemplatePart::Member(reference) => {
                if reference.cube() != cube.naming.name || reference.granularity.is_some() {
                    return Ok(false);
                }
                let Some(dimension) = cube.dimensions.get(&reference.member) else {
                    if let Some(segment) = cube.segments.get(&reference.member) {
                        sql.push('(');
                        if !render_own(model, cube, &segment.sql, dialect, sql, depth + 1)? {
                            return Ok(false);
                        }
                        sql.push(')');
                        continue;
                    }
                    return Ok(false);
                };
                sql.push('(');
                if !render_dimension(model, cube, dimension, dialect, sql, depth + 1)? {
                    return Ok(false);
                }
                sql.push(')');
            }
            TemplatePart::CubeSql(_) => {
                return Err(PlanError::unsupported("{cube.sql()} inside a member is not supported"));
            }
            TemplatePart::Context(text) => {
                return Err(context_error(text, &format!("a member of cube \"{}\"", cube.naming.name)));
            }
            // It is computed here, with what the query asks.
            TemplatePart::Parameter(_) => return Ok(false),
        }
    }
    Ok(true)
}

fn render_dimension(
    model: &Model,
    cube: &Cube,
    dimension: &Dimension,
    dialect: SourceDialect,
    sql: &mut String,
    depth: usize,
) -> Result<bool> {
    match &dimension.value {
        DimensionValue::Sql(template) => render_own(model, cube, template, dialect, sql, depth),
        DimensionValue::Case { whens, otherwise } => {
            sql.push_str("CASE");
            for (condition, label) in whens {
                sql.push_str(" WHEN (");
                if !render_own(model, cube, condition, dialect, sql, depth)? {
                    return Ok(false);
                }
                sql.push_str(") THEN ");
                if !render_label(model, cube, label, dialect, sql, depth)? {
                    return Ok(false);
                }
            }
            if let Some(label) = otherwise {
                sql.push_str(" ELSE ");
                if !render_label(model, cube, label, dialect, sql, depth)? {
                    return Ok(false);
                }
            }
            sql.push_str(" END");
            Ok(true)
        }
        DimensionValue::Geo { .. } | DimensionValue::Switch { .. } => Ok(false),
    }
}

fn render_label(
    model: &Model,
    cube: &Cube,
    label: &CaseLabel,
    dialect: SourceDialect,
    sql: &mut String,
    depth: usize,
) -> Result<bool> {
    match label {
        CaseLabel::Text(text) => {
            // Sessions pin standard_conforming_strings and NO_BACKSLASH_ESCAPES, so that doubling quotes is injective.
            sql.push_str(&format!("'{}'", text.replace('\'', "''")));
            Ok(true)
        }
        CaseLabel::Sql(template) => {
            sql.push('(');
            let own = render_own(model, cube, template, dialect, sql, depth)?;
            sql.push(')');
            Ok(own)
        }
    }
}

/// The only reference of a template that is nothing but one reference.
#[must_use]
pub fn sole_reference(template: &SqlTemplate) -> Option<&MemberRef> {
    let mut found = None;
    for part in &template.parts {
        match part {
            TemplatePart::Text(text) if text.trim().is_empty() => {}
            TemplatePart::Member(reference) if found.is_none() => found = Some(reference),
            _ => return None,
        }
    }
    found
}

/// A template as text that a SQL tokenizer reads, each reference standing as the identifier `__rN`.
#[derive(Debug, Clone)]
pub struct Marked {
    pub text: String,
    references: Vec<TemplatePart>,
    template: SqlTemplate,
}

const MARK: &str = "__r";

impl Marked {
    #[must_use]
    pub fn new(template: &SqlTemplate) -> Self {
        let mut text = String::new();
        let mut references = Vec::new();
        for part in &template.parts {
            if let TemplatePart::Text(literal) = part {
                text.push_str(literal);
            } else {
                text.push_str(&format!("{MARK}{}", references.len()));
                references.push(part.clone());
            }
        }
        Self { text, references, template: template.clone() }
    }

    /// The reference that an identifier of the text stands for.
    #[must_use]
    pub fn reference(&self, identifier: &str) -> Option<&TemplatePart> {
        self.references.get(identifier.strip_prefix(MARK)?.parse::<usize>().ok()?)
    }

    /// What the text was made of.
    #[must_use]
    pub fn template(&self) -> &SqlTemplate {
        &self.template
    }

    /// The members that the text refers to.
    pub fn members(&self) -> impl Iterator<Item = &MemberRef> {
        self.references.iter().filter_map(|part| match part {
            TemplatePart::Member(reference) => Some(reference),
            _ => None,
        })
    }

    /// A part of the text as a template again.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> SqlTemplate {
        let mut parts = Vec::new();
        let mut rest = &self.text[range];
        while let Some(at) = rest.find(MARK) {
            let digits: String = rest[at + MARK.len()..].chars().take_while(char::is_ascii_digit).collect();
            let end = at + MARK.len() + digits.len();
            match digits.parse::<usize>().ok().and_then(|index| self.references.get(index)) {
                Some(reference) => {
                    parts.push(TemplatePart::Text(rest[..at].to_owned()));
                    parts.push(reference.clone());
                }
                None => parts.push(TemplatePart::Text(rest[..end].to_owned())),
            }
            rest = &rest[end..];
        }
        parts.push(TemplatePart::Text(rest.to_owned()));
        parts.retain(|part| !matches!(part, TemplatePart::Text(text) if text.is_empty()));
        SqlTemplate { parts, place: self.template.place.clone(), text: self.template.text.clone() }
    }

    /// The tokens with the bytes that they cover, white space and comments left out.
    ///
    /// # Errors
    /// 42601 with the tokenizer's words.
    pub fn tokens(&self, dialect: SourceDialect) -> Result<Vec<(Token, Range<usize>)>> {
        let dialect: &dyn Dialect = match dialect {
            SourceDialect::MySql => &MySqlDialect {},
            SourceDialect::Postgres | SourceDialect::Files => &PostgreSqlDialect {},
        };
        let tokens: Vec<TokenWithSpan> = Tokenizer::new(dialect, &self.text)
            .tokenize_with_location()
            .map_err(|error| PlanError::syntax(format!("member SQL cannot be read: {}", error.message)))?;
        let offsets = line_offsets(&self.text);
        Ok(tokens
            .into_iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))
            .map(|token| {
                let start = byte_offset(&self.text, &offsets, token.span.start.line, token.span.start.column);
                let end = byte_offset(&self.text, &offsets, token.span.end.line, token.span.end.column);
                (token.token, start..end)
            })
            .collect())
    }
}

/// One conjunct of a join condition.
#[derive(Debug, Clone)]
pub enum JoinTerm {
    /// `left = right`, each side over one cube.
    Equal(SqlTemplate, SqlTemplate),
    Other(SqlTemplate),
}

/// Splits a join condition at its top-level ANDs, and each conjunct at its only top-level `=`.
///
/// # Errors
/// 42601 where the text cannot be read.
pub fn join_terms(condition: &SqlTemplate, dialect: SourceDialect) -> Result<Vec<JoinTerm>> {
    let marked = Marked::new(condition);
    let tokens = marked.tokens(dialect)?;
    // OR binds looser than AND, and CASE … END holds ANDs of its own: such a condition stays whole.
    let mut level = 0_i32;
    let stays_whole = tokens.iter().any(|(token, _)| match token {
        Token::LParen | Token::LBracket => {
            level += 1;
            false
        }
        Token::RParen | Token::RBracket => {
            level -= 1;
            false
        }
        Token::StringConcat => level == 0 && dialect == SourceDialect::MySql,
        Token::Word(word) => level == 0 && matches!(word.keyword, Keyword::OR | Keyword::XOR | Keyword::CASE),
        _ => false,
    });
    if stays_whole {
        return Ok(vec![JoinTerm::Other(condition.clone())]);
    }
    let mut terms = Vec::new();
    let mut start = 0;
    let mut depth = 0_i32;
    let mut betweens = 0;
    let mut equals: Vec<usize> = Vec::new();
    let mut plain = true;
    let finish = |range: Range<usize>, equals: &[usize], plain: bool, terms: &mut Vec<JoinTerm>| {
        if marked.text[range.clone()].trim().is_empty() {
            return Ok(());
        }
        match equals {
            [at] if plain => {
                terms.push(JoinTerm::Equal(marked.slice(range.start..*at), marked.slice(at + 1..range.end)));
            }
            _ => {
                let inner = marked.text[range.clone()].trim();
                // (a = b AND c = d) in brackets of its own.
                if let Some(unwrapped) = unwrapped(inner) {
                    let offset = range.start + marked.text[range.clone()].find(unwrapped).unwrap_or(0);
                    let nested = marked.slice(offset..offset + unwrapped.len());
                    terms.extend(join_terms(&nested, dialect)?);
                } else {
                    terms.push(JoinTerm::Other(marked.slice(range)));
                }
            }
        }
        Ok::<(), PlanError>(())
    };
    for (token, range) in &tokens {
        match token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth -= 1,
            Token::Eq if depth == 0 => equals.push(range.start),
            Token::Word(word) if depth == 0 => match word.keyword {
                Keyword::BETWEEN => {
                    betweens += 1;
                    plain = false;
                }
                Keyword::AND if betweens > 0 => betweens -= 1,
                Keyword::AND => {
                    finish(start..range.start, &equals, plain, &mut terms)?;
                    start = range.end;
                    equals.clear();
                    plain = true;
                }
                Keyword::OR | Keyword::NOT | Keyword::CASE | Keyword::IS | Keyword::IN | Keyword::LIKE => plain = false,
                _ => {}
            },
            _ => {}
        }
    }
    finish(start..marked.text.len(), &equals, plain, &mut terms)?;
    Ok(terms)
}

/// The text inside, when the first bracket is closed by the last character.
fn unwrapped(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let mut depth = 0_i32;
    for character in inner.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            // Quoted brackets would need a tokenizer: such a condition stays whole.
            '\'' | '"' | '`' => return None,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    (depth == 0).then_some(inner)
}

#[cfg(test)]
mod tests {
    use belvedere_model::{Place, SqlTemplate, TemplatePart};

    use super::{JoinTerm, join_terms};
    use crate::catalog::SourceDialect;

    fn template(text: &str) -> SqlTemplate {
        let place = Place { file: "m.yml".into(), line: 1, column: 1, length: 1 };
        SqlTemplate { parts: vec![TemplatePart::Text(text.to_owned())], place, text: text.to_owned() }
    }

    /// Equalities as `left|right`, the rest as it is.
    fn terms(text: &str) -> Vec<String> {
        let plain = |template: &SqlTemplate| {
            template
                .parts
                .iter()
                .map(|part| match part {
                    TemplatePart::Text(text) => text.trim(),
                    _ => "{}",
                })
                .collect::<String>()
        };
        join_terms(&template(text), SourceDialect::Postgres)
            .expect("the text can be read")
            .iter()
            .map(|term| match term {
                JoinTerm::Equal(left, right) => format!("{}|{}", plain(left), plain(right)),
                JoinTerm::Other(whole) => plain(whole),
            })
            .collect()
    }

    #[test]
    fn a_conjunction_of_equalities_is_split() {
        assert_eq!(terms("a = b AND c = d"), ["a|b", "c|d"]);
        assert_eq!(terms("(a = b AND c = d)"), ["a|b", "c|d"]);
        assert_eq!(terms("a = b AND c > d"), ["a|b", "c > d"]);
    }

    #[test]
    fn what_binds_looser_than_and_stays_whole() {
        assert_eq!(terms("a = b OR c = d AND e = f"), ["a = b OR c = d AND e = f"]);
        assert_eq!(terms("a = b AND c = d OR e = f"), ["a = b AND c = d OR e = f"]);
        assert_eq!(terms("CASE WHEN p AND q THEN 1 END = x"), ["CASE WHEN p AND q THEN 1 END = x"]);
    }

    #[test]
    fn and_inside_between_brackets_and_quotes_does_not_split() {
        assert_eq!(terms("a BETWEEN b AND c AND d = e"), ["a BETWEEN b AND c", "d|e"]);
        assert_eq!(terms("f(a AND b) = c"), ["f(a AND b)|c"]);
        assert_eq!(terms("a = 'x AND y = z'"), ["a|'x AND y = z'"]);
        assert_eq!(terms("(a = b OR c = d) AND e = f"), ["a = b OR c = d", "e|f"]);
    }
}
