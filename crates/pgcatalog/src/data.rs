//! The rows that are the same in every PostgreSQL 15: taken from a fresh server, without descriptions and source text.

pub const RELATIONS: &str = include_str!("../data/relations.tsv");
pub const PG_TYPE: &str = include_str!("../data/pg_type.tsv");

/// The tables of `pg_catalog` whose rows are fixed. Columns that a file leaves out get the defaults of
/// [`crate::tables::default_value`].
pub const FIXED: &[(&str, &str)] = &[
    ("pg_type", PG_TYPE),
    ("pg_proc", include_str!("../data/pg_proc.tsv")),
    ("pg_operator", include_str!("../data/pg_operator.tsv")),
    ("pg_cast", include_str!("../data/pg_cast.tsv")),
    ("pg_collation", include_str!("../data/pg_collation.tsv")),
    ("pg_language", include_str!("../data/pg_language.tsv")),
    ("pg_am", include_str!("../data/pg_am.tsv")),
    ("pg_opclass", include_str!("../data/pg_opclass.tsv")),
    ("pg_opfamily", include_str!("../data/pg_opfamily.tsv")),
    ("pg_range", include_str!("../data/pg_range.tsv")),
    ("pg_aggregate", include_str!("../data/pg_aggregate.tsv")),
    ("pg_conversion", include_str!("../data/pg_conversion.tsv")),
    ("pg_ts_config", include_str!("../data/pg_ts_config.tsv")),
    ("pg_ts_dict", include_str!("../data/pg_ts_dict.tsv")),
    ("pg_ts_parser", include_str!("../data/pg_ts_parser.tsv")),
    ("pg_ts_template", include_str!("../data/pg_ts_template.tsv")),
    ("pg_tablespace", include_str!("../data/pg_tablespace.tsv")),
];

/// A table in the text format of COPY, with a header line.
pub struct Tsv {
    pub columns: Vec<&'static str>,
    lines: std::str::Lines<'static>,
}

/// One line of a [`Tsv`].
pub struct TsvRow<'a> {
    columns: &'a [&'static str],
    fields: Vec<&'static str>,
}

impl Tsv {
    pub fn read(text: &'static str) -> Self {
        let mut lines = text.lines();
        let columns = lines.next().unwrap_or_default().split('\t').collect();
        Self { columns, lines }
    }

    pub fn rows(&self) -> impl Iterator<Item = TsvRow<'_>> {
        self.lines.clone().map(|line| TsvRow { columns: &self.columns, fields: line.split('\t').collect() })
    }
}

impl TsvRow<'_> {
    /// The field of a column; `None` for NULL and for a column that is not in the file.
    pub fn get(&self, column: &str) -> Option<String> {
        self.columns.iter().position(|name| *name == column).and_then(|at| self.at(at))
    }

    /// The field at a position; `None` for NULL.
    pub fn at(&self, at: usize) -> Option<String> {
        let field = *self.fields.get(at)?;
        if field == "\\N" {
            return None;
        }
        if !field.contains('\\') {
            return Some(field.to_owned());
        }
        let mut out = String::with_capacity(field.len());
        let mut chars = field.chars();
        while let Some(c) = chars.next() {
            match (c, c == '\\') {
                (_, true) => match chars.next() {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(other) => out.push(other),
                    None => {}
                },
                (other, false) => out.push(other),
            }
        }
        Some(out)
    }
}
