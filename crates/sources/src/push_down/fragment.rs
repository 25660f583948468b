//! Pieces of SQL text for a source, put together so that no value can ever be part of the text.
//!
//! Text is ours and known at compile time, or a number that we count ourselves (the model author's text stands in base relations
//! only). A value has one way in: [`Piece::Parameter`].

use datafusion::scalar::ScalarValue;

/// One column of one input of a [`Select`](super::select::Select): `t{input}.c{column}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ColumnId {
    pub input: usize,
    pub column: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    /// Text of ours.
    Sql(&'static str),
    /// A precision, a scale, a count: never a value of the user.
    Number(usize),
    Column(ColumnId),
    Parameter(ScalarValue),
    /// The collation of a MySQL server that compares by code point and does not ignore trailing blanks.
    BinaryCollation,
}

/// An expression: atomic, so that it can stand beside any operator without further parentheses.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Fragment {
    pieces: Vec<Piece>,
}

impl Fragment {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn column(input: usize, column: usize) -> Self {
        Self { pieces: vec![Piece::Column(ColumnId { input, column })] }
    }

    pub fn keyword(text: &'static str) -> Self {
        Self::new().sql(text)
    }

    pub fn sql(mut self, text: &'static str) -> Self {
        self.pieces.push(Piece::Sql(text));
        self
    }

    pub fn number(mut self, number: usize) -> Self {
        self.pieces.push(Piece::Number(number));
        self
    }

    pub fn parameter(mut self, value: ScalarValue) -> Self {
        self.pieces.push(Piece::Parameter(value));
        self
    }

    pub fn binary_collation(mut self) -> Self {
        self.pieces.push(Piece::BinaryCollation);
        self
    }

    pub fn then(mut self, other: &Fragment) -> Self {
        self.pieces.extend(other.pieces.iter().cloned());
        self
    }

    /// `(left operator right)`; the operator brings its own blanks.
    pub fn infix(left: &Fragment, operator: &'static str, right: &Fragment) -> Self {
        Self::new().sql("(").then(left).sql(operator).then(right).sql(")")
    }

    /// `function(a, b)`; the name comes without the parenthesis.
    pub fn call<'a>(function: &'static str, arguments: impl IntoIterator<Item = &'a Fragment>) -> Self {
        Self::new().sql(function).sql("(").list(arguments, ", ").sql(")")
    }

    pub fn list<'a>(mut self, items: impl IntoIterator<Item = &'a Fragment>, separator: &'static str) -> Self {
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self = self.sql(separator);
            }
            self = self.then(item);
        }
        self
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The column, if this is nothing but a column.
    pub fn as_column(&self) -> Option<ColumnId> {
        match self.pieces.as_slice() {
            [Piece::Column(id)] => Some(*id),
            _ => None,
        }
    }

    /// Whether it could stand in a statement twice without a value being bound twice.
    pub fn is_without_parameters(&self) -> bool {
        !self.pieces.iter().any(|piece| matches!(piece, Piece::Parameter(_)))
    }

    pub fn columns(&self) -> impl Iterator<Item = ColumnId> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Column(id) => Some(*id),
            Piece::Sql(_) | Piece::Number(_) | Piece::Parameter(_) | Piece::BinaryCollation => None,
        })
    }

    /// The same expression where the columns come `by` inputs later.
    pub fn shifted(mut self, by: usize) -> Self {
        for piece in &mut self.pieces {
            if let Piece::Column(id) = piece {
                id.input += by;
            }
        }
        self
    }
}
