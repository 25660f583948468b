//! What a catalog statement becomes: expressions with their types resolved, and the steps that compute its rows.

use std::sync::Arc;

use crate::functions::Builtin;
use crate::pg_types::Oid;
use crate::value::Value;

/// An expression. Columns are found by counting: `up` query levels outwards, then a slot of that level's FROM, then a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Const(Value),
    Param(usize),
    Column {
        up: usize,
        slot: usize,
        column: usize,
    },
    /// All columns of a slot, as one record.
    WholeRow {
        up: usize,
        slot: usize,
        width: usize,
    },
    Call {
        function: &'static Builtin,
        args: Vec<Expr>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Compare {
        op: Comparison,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Arithmetic {
        op: char,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Concat {
        left: Box<Expr>,
        right: Box<Expr>,
    },
    IsDistinct {
        left: Box<Expr>,
        right: Box<Expr>,
        negated: bool,
    },
    IsNull {
        expr: Box<Expr>,
        negated: bool,
    },
    /// `IS [NOT] TRUE`, `IS [NOT] FALSE`.
    IsBool {
        expr: Box<Expr>,
        value: bool,
        negated: bool,
    },
    Cast {
        expr: Box<Expr>,
        from: Oid,
        to: Oid,
        typmod: i32,
    },
    Case {
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Coalesce(Vec<Expr>),
    NullIf {
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Extreme {
        args: Vec<Expr>,
        greatest: bool,
    },
    InList {
        expr: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    /// `left op ANY (array)`, or ALL.
    Any {
        op: Operator,
        left: Box<Expr>,
        array: Box<Expr>,
        all: bool,
    },
    Match {
        pattern_kind: Matching,
        expr: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<char>,
        insensitive: bool,
        negated: bool,
    },
    Array(Vec<Expr>),
    Row(Vec<Expr>),
    Index {
        array: Box<Expr>,
        index: Box<Expr>,
    },
    Slice {
        array: Box<Expr>,
        lower: Option<Box<Expr>>,
        upper: Option<Box<Expr>>,
    },
    Field {
        expr: Box<Expr>,
        at: usize,
    },
    Scalar(SubPlan),
    Exists {
        plan: SubPlan,
        negated: bool,
    },
    ArrayOf(SubPlan),
    /// `left op ANY (subquery)`, or ALL; `IN` is `= ANY`.
    AnySub {
        op: Operator,
        left: Box<Expr>,
        plan: SubPlan,
        all: bool,
    },
    /// The value of an aggregate, a window function, a set-returning function of the select list.
    Aggregate(usize),
    Window(usize),
    Srf(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
}

/// An operator that may stand before ANY and ALL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Compare(Comparison),
    Match { kind: Matching, insensitive: bool, negated: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    Like,
    Regex,
}

/// A query inside an expression.
#[derive(Debug, Clone)]
pub struct SubPlan {
    /// Where its rows are kept when they do not depend on an outer row.
    pub id: usize,
    pub query: Arc<QueryPlan>,
    /// (`up`, slot, column) of outer columns in use, counted from the expression; empty for a query that stands alone.
    pub outer: Vec<(usize, usize, usize)>,
    /// Whether its rows may be kept for the whole statement.
    pub constant: bool,
}

impl PartialEq for SubPlan {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// One column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    pub name: String,
    pub pg_type: Oid,
    pub typmod: i32,
    /// The fields of a record.
    pub fields: Vec<(String, Oid)>,
}

#[derive(Debug)]
pub struct QueryPlan {
    pub ctes: Vec<Cte>,
    pub body: Body,
    pub columns: Vec<OutputColumn>,
    /// By position in the body's rows, which may be wider than `columns`.
    pub order: Vec<SortKey>,
    pub distinct: Option<DistinctBy>,
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
}

#[derive(Debug, Clone, Copy)]
pub struct SortKey {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Debug)]
pub enum DistinctBy {
    Row,
    Columns(Vec<usize>),
}

#[derive(Debug)]
pub struct Cte {
    pub id: usize,
    /// The WITH of its own that both terms of a recursive one see.
    pub inner: Vec<Cte>,
    pub query: Arc<QueryPlan>,
    /// For a recursive one: the term that is repeated over its own last rows, and whether duplicates stay (UNION ALL).
    pub step: Option<(Arc<QueryPlan>, bool)>,
}

#[derive(Debug)]
pub enum Body {
    Select(Box<SelectPlan>),
    Values(Vec<Vec<Expr>>),
    SetOperation { kind: SetKind, all: bool, left: Box<QueryPlan>, right: Box<QueryPlan>, casts: SetCasts },
}

/// For each column of the left and of the right side, the cast that brings it to the common type.
pub type SetCasts = Vec<[(Oid, Oid); 2]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    Union,
    Intersect,
    Except,
}

#[derive(Debug)]
pub struct SelectPlan {
    pub slots: usize,
    pub from: Option<From>,
    /// Conditions that no part of FROM could take.
    pub filter: Vec<Expr>,
    pub grouped: bool,
    pub keys: Vec<Expr>,
    pub aggregates: Vec<AggregateCall>,
    pub having: Option<Expr>,
    pub windows: Vec<WindowCall>,
    pub srfs: Vec<(SetFunction, Vec<Expr>)>,
    pub output: Vec<Expr>,
}

#[derive(Debug)]
pub enum From {
    Scan {
        slot: usize,
        width: usize,
        source: Source,
        filter: Vec<Expr>,
    },
    Inner {
        left: Box<From>,
        right: Box<From>,
        filter: Vec<Expr>,
    },
    /// `on` was pushed into `right`; `filter` is what holds above the join.
    Left {
        left: Box<From>,
        right: Box<From>,
        filter: Vec<Expr>,
    },
    Full {
        left: Box<From>,
        right: Box<From>,
        on: Vec<Expr>,
        filter: Vec<Expr>,
    },
}

#[derive(Debug)]
pub enum Source {
    /// A system relation, by its place in the catalog.
    Table(usize),
    Cte(usize),
    Derived(SubPlan),
    Function {
        function: SetFunction,
        args: Vec<Expr>,
        ordinality: bool,
    },
    /// A scalar function in FROM: one row.
    Scalar(Expr),
}

/// The functions that return sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetFunction {
    GenerateSeries,
    GenerateSubscripts,
    Unnest,
    ExpandArray,
    Keywords,
    TimezoneNames,
    OptionsToTable,
    AclExplode,
    /// Functions over things that do not exist here: partitions, locks, replication slots.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateKind {
    CountRows,
    Count,
    Sum,
    Min,
    Max,
    BoolAnd,
    BoolOr,
    StringAgg,
    ArrayAgg,
}

#[derive(Debug)]
pub struct AggregateCall {
    pub kind: AggregateKind,
    pub args: Vec<Expr>,
    pub distinct: bool,
    pub filter: Option<Expr>,
    /// Expression, descending, nulls first.
    pub order: Vec<(Expr, bool, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    RowNumber,
    Rank,
    DenseRank,
    CountRows,
}

#[derive(Debug)]
pub struct WindowCall {
    pub kind: WindowKind,
    pub partition: Vec<Expr>,
    pub order: Vec<(Expr, bool, bool)>,
}

impl Expr {
    /// Calls `visit` for the expression and everything in it, sub-plans' insides left out.
    pub fn walk(&self, visit: &mut dyn FnMut(&Expr) -> bool) {
        if !visit(self) {
            return;
        }
        for child in self.children() {
            child.walk(visit);
        }
    }

    /// The direct parts.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Self::Const(_) | Self::Param(_) | Self::Column { .. } | Self::WholeRow { .. } => Vec::new(),
            Self::Scalar(_) | Self::Exists { .. } | Self::ArrayOf(_) => Vec::new(),
            Self::Aggregate(_) | Self::Window(_) | Self::Srf(_) => Vec::new(),
            Self::Call { args, .. } | Self::Extreme { args, .. } => args.iter().collect(),
            Self::And(list) | Self::Or(list) | Self::Coalesce(list) | Self::Array(list) | Self::Row(list) => {
                list.iter().collect()
            }
            Self::Not(expr)
            | Self::IsNull { expr, .. }
            | Self::IsBool { expr, .. }
            | Self::Cast { expr, .. }
            | Self::Field { expr, .. }
            | Self::AnySub { left: expr, .. } => vec![expr],
            Self::Compare { left, right, .. }
            | Self::Arithmetic { left, right, .. }
            | Self::Concat { left, right }
            | Self::IsDistinct { left, right, .. }
            | Self::NullIf { left, right }
            | Self::Any { left, array: right, .. }
            | Self::Match { expr: left, pattern: right, .. }
            | Self::Index { array: left, index: right } => vec![left, right],
            Self::Slice { array, lower, upper } => {
                [Some(array), lower.as_ref(), upper.as_ref()].into_iter().flatten().map(|expr| &**expr).collect()
            }
            Self::InList { expr, list, .. } => std::iter::once(&**expr).chain(list).collect(),
            Self::Case { branches, otherwise } => {
                let branches = branches.iter().flat_map(|(condition, result)| [condition, result]);
                branches.chain(otherwise.as_deref()).collect()
            }
        }
    }

    /// The query inside, for the expressions that have one.
    pub fn sub_plan(&self) -> Option<&SubPlan> {
        match self {
            Self::Scalar(plan) | Self::ArrayOf(plan) | Self::Exists { plan, .. } | Self::AnySub { plan, .. } => {
                Some(plan)
            }
            _ => None,
        }
    }

    /// The slots of its own query level that it reads, as a bit set.
    pub fn slots(&self) -> u64 {
        let mut slots = 0_u64;
        self.walk(&mut |expr| {
            match expr {
                Self::Column { up: 0, slot, .. } | Self::WholeRow { up: 0, slot, .. } => slots |= 1 << slot,
                _ => {}
            }
            if let Some(plan) = expr.sub_plan() {
                for (_, slot, _) in plan.outer.iter().filter(|(up, ..)| *up == 0) {
                    slots |= 1 << slot;
                }
            }
            true
        });
        slots
    }
}

impl From {
    /// The slots that it fills, as a bit set.
    pub fn slots(&self) -> u64 {
        match self {
            Self::Scan { slot, .. } => 1 << slot,
            Self::Inner { left, right, .. } | Self::Left { left, right, .. } | Self::Full { left, right, .. } => {
                left.slots() | right.slots()
            }
        }
    }
}
