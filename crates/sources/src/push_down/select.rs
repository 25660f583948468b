//! The closed tree of what can be asked of a source, and its one way into text.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;

use super::fragment::{Fragment, Piece};
use super::rules::{Rules, rules};
use crate::{Dialect, Statement};

/// One `SELECT`.
///
/// Expressions refer to columns of `inputs` only, never to `outputs`: keys of GROUP BY and ORDER BY that are computed are
/// columns of an inner select.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Select {
    /// Joined from left to right; the first has [`JoinKind::First`].
    pub inputs: Vec<Input>,
    /// All of them must hold.
    pub filter: Vec<Fragment>,
    /// `None`: rows as they are; `Some` of nothing: one row for all.
    pub group_by: Option<Vec<Fragment>>,
    /// The columns, named `c0`, `c1`, … for whoever reads them.
    pub outputs: Vec<Output>,
    pub distinct: bool,
    pub order_by: Vec<OrderKey>,
    pub offset: usize,
    pub limit: Option<usize>,
    /// Nothing of an outer select may be computed before the conditions of this one.
    pub is_fenced: bool,
}

/// A relation in FROM, or in an EXISTS for semi and anti joins, as `t{position}`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Input {
    pub relation: Relation,
    pub join: JoinKind,
    /// All of them must hold. Empty for the first.
    pub on: Vec<Fragment>,
}

impl Input {
    /// Whether a column is one of the relation's, by its name alone: to read it cannot fail.
    pub fn is_bare_column(&self, column: usize) -> bool {
        match &self.relation {
            Relation::Base(base) => {
                base.columns[column].chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '`'))
            }
            Relation::Select(_) => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinKind {
    First,
    Inner,
    Left,
    Full,
    Semi,
    Anti,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Relation {
    Base(Arc<Base>),
    Select(Box<Select>),
}

/// A relation as the model's author wrote it, and the row expressions over it.
#[derive(Debug, PartialEq)]
pub(crate) struct Base {
    pub relation: Vec<RelationPiece>,
    pub alias: Arc<str>,
    pub columns: Vec<Arc<str>>,
}

/// A piece of a relation's SQL.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RelationPiece {
    /// The author's text.
    Text(Arc<str>),
    /// A value, bound.
    Value(Fragment),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Output {
    pub sql: Fragment,
    /// Type, nullability and metadata; the name does not matter.
    pub field: FieldRef,
    /// See [`SourceColumn::compares_by_code_point`](crate::SourceColumn::compares_by_code_point).
    pub code_point: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OrderKey {
    /// Always a bare column of an input.
    pub value: Output,
    pub descending: bool,
    pub nulls_first: bool,
}

impl Select {
    pub fn base(base: Arc<Base>, outputs: Vec<Output>) -> Self {
        Self::over(Relation::Base(base), outputs)
    }

    fn over(relation: Relation, outputs: Vec<Output>) -> Self {
        Self {
            inputs: vec![Input { relation, join: JoinKind::First, on: vec![] }],
            filter: vec![],
            group_by: None,
            outputs,
            distinct: false,
            order_by: vec![],
            offset: 0,
            limit: None,
            is_fenced: false,
        }
    }

    /// The same rows as a sub-select of an outer one, whose outputs are bare columns. An order without limit is lost.
    pub fn wrapped(mut self) -> Self {
        if !self.is_limited() {
            self.order_by.clear();
        }
        let outputs = self
            .outputs
            .iter()
            .enumerate()
            .map(|(index, output)| Output { sql: Fragment::column(0, index), ..output.clone() })
            .collect();
        Self::over(Relation::Select(Box::new(self)), outputs)
    }

    /// Cut off, or fenced, which a source takes for the same.
    pub fn is_limited(&self) -> bool {
        self.offset > 0 || self.limit.is_some() || self.is_fenced
    }

    /// Whether this is only a join of inputs with a filter: nothing grouped, made distinct or cut off.
    pub fn is_rows(&self) -> bool {
        self.group_by.is_none() && !self.distinct && !self.is_limited()
    }

    pub fn has_bare_outputs(&self) -> bool {
        self.outputs.iter().all(|output| output.sql.as_column().is_some())
    }

    /// The same rows, of which an outer select sees nothing before its own conditions hold: sources do not merge a select that is cut off
    /// with an outer one, nor move a condition into it.
    pub fn fenced(self) -> Self {
        let rows = if self.is_rows() { self } else { self.wrapped() };
        Self { is_fenced: true, ..rows }
    }

    /// Skips `skip` rows of what this gives, then ends after `fetch`.
    pub fn limit(&mut self, skip: usize, fetch: Option<usize>) {
        self.offset = self.offset.saturating_add(skip);
        let left = self.limit.map(|limit| limit.saturating_sub(skip));
        self.limit = match (left, fetch) {
            (Some(left), Some(fetch)) => Some(left.min(fetch)),
            (left, fetch) => left.or(fetch),
        };
    }

    /// Keeps the outputs at `positions`, in that order. Only for a select that is not DISTINCT, or when none is left out.
    pub fn picked(mut self, positions: &[usize]) -> Self {
        if self.distinct {
            self = self.wrapped();
        }
        self.outputs = positions.iter().map(|position| self.outputs[*position].clone()).collect();
        self
    }

    /// The Arrow schema of the result, columns named `c0`, `c1`, ….
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .outputs
            .iter()
            .enumerate()
            .map(|(index, output)| output.field.as_ref().clone().with_name(format!("c{index}")))
            .collect();
        Arc::new(Schema::new(fields))
    }

    /// The one way into text.
    pub fn statement(&self, dialect: Dialect, binary_collation: &'static str) -> Statement {
        let mut writer =
            Writer { dialect, rules: rules(dialect), binary_collation, sql: String::new(), parameters: vec![] };
        let all: BTreeSet<usize> = (0..self.outputs.len()).collect();
        writer.select(self, &all);
        Statement { sql: writer.sql, parameters: writer.parameters }
    }

    fn is_plain_base(&self) -> Option<&Base> {
        match self.inputs.as_slice() {
            [Input { relation: Relation::Base(base), .. }]
                if self.is_rows() && self.filter.is_empty() && self.order_by.is_empty() && self.has_bare_outputs() =>
            {
                Some(base)
            }
            _ => None,
        }
    }
}

struct Writer {
    dialect: Dialect,
    rules: &'static dyn Rules,
    binary_collation: &'static str,
    sql: String,
    parameters: Vec<ScalarValue>,
}

impl Writer {
    /// Writes `select` with those of its outputs that are in `used`.
    fn select(&mut self, select: &Select, used: &BTreeSet<usize>) {
        if let Some(base) = select.is_plain_base() {
            let columns = used.iter().map(|index| {
                let id = select.outputs[*index].sql.as_column().expect("outputs are bare columns");
                (*index, id.column)
            });
            return self.base(base, columns);
        }
        // What DISTINCT compares must not change with what the reader needs.
        let written: Vec<usize> =
            if select.distinct { (0..select.outputs.len()).collect() } else { used.iter().copied().collect() };

        self.text(if select.distinct { "SELECT DISTINCT " } else { "SELECT " });
        for (position, index) in written.iter().enumerate() {
            if position > 0 {
                self.text(", ");
            }
            self.fragment(&select.outputs[*index].sql);
            self.text(" AS c");
            self.number(*index);
        }
        if written.is_empty() {
            self.text("1 AS c0");
        }

        let mut in_use: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); select.inputs.len()];
        let expressions = written
            .iter()
            .map(|index| &select.outputs[*index].sql)
            .chain(&select.filter)
            .chain(select.group_by.iter().flatten())
            .chain(select.order_by.iter().map(|key| &key.value.sql))
            .chain(select.inputs.iter().flat_map(|input| &input.on));
        for id in expressions.flat_map(Fragment::columns) {
            in_use[id.input].insert(id.column);
        }

        let in_from = |input: &&Input| !matches!(input.join, JoinKind::Semi | JoinKind::Anti);
        for (index, input) in select.inputs.iter().enumerate() {
            match input.join {
                JoinKind::First => self.text(" FROM "),
                JoinKind::Inner => self.text(" INNER JOIN "),
                JoinKind::Left => self.text(" LEFT JOIN "),
                JoinKind::Full => self.text(" FULL JOIN "),
                JoinKind::Semi | JoinKind::Anti => continue,
            }
            self.input(index, input, &in_use[index]);
            if input.join != JoinKind::First {
                self.text(" ON ");
                self.conjunction(&input.on);
            }
        }

        let mut lead = " WHERE ";
        for condition in &select.filter {
            self.text(lead);
            self.fragment(condition);
            lead = " AND ";
        }
        for (index, input) in select.inputs.iter().enumerate().filter(|(_, input)| !in_from(input)) {
            self.text(lead);
            self.text(if input.join == JoinKind::Anti {
                "NOT EXISTS (SELECT 1 FROM "
            } else {
                "EXISTS (SELECT 1 FROM "
            });
            self.input(index, input, &in_use[index]);
            self.text(" WHERE ");
            self.conjunction(&input.on);
            self.text(")");
            lead = " AND ";
        }

        if let Some(keys) = &select.group_by {
            self.separated(" GROUP BY ", keys);
        }
        let keys: Vec<Fragment> = select.order_by.iter().flat_map(|key| self.rules.order_key(key)).collect();
        self.separated(" ORDER BY ", &keys);
        if let Some(limit) = select.limit {
            self.text(" LIMIT ");
            self.number(limit);
        } else if select.offset > 0 && self.dialect == Dialect::MySql {
            // MySQL has no OFFSET without LIMIT; its manual names this number.
            self.text(" LIMIT 18446744073709551615");
        }
        if select.offset > 0 {
            self.text(" OFFSET ");
            self.number(select.offset);
        }
        if select.is_fenced && select.limit.is_none() && select.offset == 0 {
            self.text(match self.dialect {
                Dialect::Postgres => " OFFSET 0",
                Dialect::MySql => " LIMIT 18446744073709551615",
            });
        }
    }

    fn input(&mut self, index: usize, input: &Input, used: &BTreeSet<usize>) {
        self.text("(");
        match &input.relation {
            Relation::Base(base) => self.base(base, used.iter().map(|column| (*column, *column))),
            Relation::Select(select) => self.select(select, used),
        }
        self.text(") AS t");
        self.number(index);
    }

    /// `columns`: the number in the name, and the position in the base.
    fn base(&mut self, base: &Base, columns: impl Iterator<Item = (usize, usize)>) {
        let mut lead = "SELECT ";
        for (name, column) in columns {
            self.text(lead);
            self.sql.push_str(&base.columns[column]);
            self.text(" AS c");
            self.number(name);
            lead = ", ";
        }
        if lead == "SELECT " {
            self.text("SELECT 1 AS c0");
        }
        self.text(" FROM ");
        for piece in &base.relation {
            match piece {
                RelationPiece::Text(text) => self.sql.push_str(text),
                RelationPiece::Value(value) => self.fragment(value),
            }
        }
        self.text(" AS ");
        self.sql.push_str(&base.alias);
    }

    fn conjunction(&mut self, conditions: &[Fragment]) {
        let mut lead = "";
        for condition in conditions {
            self.text(lead);
            self.fragment(condition);
            lead = " AND ";
        }
    }

    fn separated(&mut self, lead: &'static str, items: &[Fragment]) {
        let mut lead = lead;
        for item in items {
            self.text(lead);
            self.fragment(item);
            lead = ", ";
        }
    }

    fn fragment(&mut self, fragment: &Fragment) {
        for piece in fragment.pieces() {
            match piece {
                Piece::Sql(text) => self.text(text),
                Piece::Number(number) => self.number(*number),
                Piece::Column(id) => {
                    self.text("t");
                    self.number(id.input);
                    self.text(".c");
                    self.number(id.column);
                }
                Piece::Parameter(value) => {
                    self.parameters.push(value.clone());
                    match self.dialect {
                        Dialect::Postgres => {
                            self.text("$");
                            self.number(self.parameters.len());
                        }
                        Dialect::MySql => self.text("?"),
                    }
                }
                Piece::BinaryCollation => self.text(self.binary_collation),
            }
        }
    }

    fn text(&mut self, text: &'static str) {
        self.sql.push_str(text);
    }

    fn number(&mut self, number: usize) {
        self.sql.push_str(&number.to_string());
    }
}
