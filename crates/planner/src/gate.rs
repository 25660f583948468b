//! Lets only those SQL constructs through that we know to mean what PostgreSQL means; everything else is refused by name.
//!
//! DataFusion reads some clauses and ignores them (`TABLESAMPLE`, `FOR UPDATE`, `WITH ORDINALITY`): an ignored clause is a
//! silently wrong answer, so this is a list of what is allowed, not of what is forbidden.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    BinaryOperator, CastKind, Expr, FunctionArgumentClause, FunctionArguments, GroupByExpr, JoinConstraint,
    JoinOperator, LimitClause, OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr, SetOperator,
    SetQuantifier, Spanned, TableFactor, UnaryOperator, Value, Visit, Visitor,
};

use crate::error::{PlanError, Result, TextPlace};

/// Checks a whole query.
///
/// # Errors
/// 0A000 naming the first construct that is not on the list.
pub fn gate(query: &Query) -> Result<()> {
    match query.visit(&mut Gate) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Gate;

fn refuse(what: &str) -> ControlFlow<PlanError> {
    ControlFlow::Break(PlanError::unsupported(format!("{what} is not supported")))
}

fn refuse_at(what: &str, node: &impl Spanned) -> ControlFlow<PlanError> {
    ControlFlow::Break(PlanError::unsupported(format!("{what} is not supported")).at(place_of(node)))
}

/// Where a syntax node starts, if the parser kept it.
pub(crate) fn place_of(node: &impl Spanned) -> Option<TextPlace> {
    let start = node.span().start;
    (start.line > 0).then_some(TextPlace { line: start.line, column: start.column })
}

macro_rules! absent {
    ($condition:expr, $what:expr) => {
        if $condition {
            return refuse($what);
        }
    };
}

impl Visitor for Gate {
    type Break = PlanError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<PlanError> {
        absent!(!query.locks.is_empty(), "FOR UPDATE or FOR SHARE");
        absent!(query.for_clause.is_some(), "FOR XML or FOR JSON");
        absent!(query.settings.is_some(), "SETTINGS");
        absent!(query.format_clause.is_some(), "FORMAT");
        absent!(!query.pipe_operators.is_empty(), "the pipe operator |>");
        if let Some(with) = &query.with {
            absent!(with.recursive, "WITH RECURSIVE");
            for cte in &with.cte_tables {
                absent!(cte.from.is_some(), "FROM in a WITH item");
            }
        }
        if let Some(order_by) = &query.order_by {
            absent!(order_by.interpolate.is_some(), "INTERPOLATE");
            match &order_by.kind {
                OrderByKind::All(_) => return refuse("ORDER BY ALL"),
                OrderByKind::Expressions(items) => {
                    absent!(items.iter().any(|item| item.with_fill.is_some()), "WITH FILL");
                }
            }
        }
        if let Some(LimitClause::LimitOffset { limit_by, .. }) = &query.limit_clause {
            absent!(!limit_by.is_empty(), "LIMIT BY");
        }
        if let Some(LimitClause::OffsetCommaLimit { .. }) = &query.limit_clause {
            return refuse("LIMIT a, b");
        }
        if let Some(fetch) = &query.fetch {
            absent!(fetch.with_ties || fetch.percent, "FETCH … WITH TIES or PERCENT");
        }
        match query.body.as_ref() {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                return ControlFlow::Break(
                    PlanError::new("0A000", "cannot change data").detail("Belvedere only ever reads its data sources."),
                );
            }
            SetExpr::Table(_) => return refuse("TABLE name"),
            SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::SetOperation { .. } | SetExpr::Values(_) => {}
        }
        gate_set_expr(&query.body)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<PlanError> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            if limit.as_ref().is_some_and(is_negative) {
                return ControlFlow::Break(PlanError::new("2201W", "LIMIT must not be negative"));
            }
            if offset.as_ref().is_some_and(|offset| is_negative(&offset.value)) {
                return ControlFlow::Break(PlanError::new("2201X", "OFFSET must not be negative"));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<PlanError> {
        absent!(select.select_modifiers.is_some_and_set(), "a SELECT modifier");
        absent!(select.top.is_some(), "TOP");
        absent!(select.exclude.is_some(), "EXCLUDE");
        absent!(select.into.is_some(), "SELECT INTO");
        absent!(!select.lateral_views.is_empty(), "LATERAL VIEW");
        absent!(select.prewhere.is_some(), "PREWHERE");
        absent!(!select.connect_by.is_empty(), "CONNECT BY");
        absent!(!select.cluster_by.is_empty(), "CLUSTER BY");
        absent!(!select.distribute_by.is_empty(), "DISTRIBUTE BY");
        absent!(!select.sort_by.is_empty(), "SORT BY");
        absent!(select.qualify.is_some(), "QUALIFY");
        absent!(select.value_table_mode.is_some(), "SELECT AS VALUE");
        absent!(!matches!(select.flavor, SelectFlavor::Standard), "FROM before SELECT");
        match &select.group_by {
            GroupByExpr::All(_) => return refuse("GROUP BY ALL"),
            GroupByExpr::Expressions(_, modifiers) => absent!(!modifiers.is_empty(), "GROUP BY … WITH"),
        }
        // DataFusion would make it a column with the value 1.
        absent!(select.projection.is_empty(), "SELECT without columns");
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => {}
                SelectItem::ExprWithAliases { .. } => return refuse("AS (…)"),
                SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => {
                    absent!(
                        options.opt_ilike.is_some()
                            || options.opt_exclude.is_some()
                            || options.opt_except.is_some()
                            || options.opt_replace.is_some()
                            || options.opt_rename.is_some(),
                        "* with EXCLUDE, EXCEPT, REPLACE or RENAME"
                    );
                }
            }
        }
        for from in &select.from {
            for join in &from.joins {
                absent!(join.global, "GLOBAL JOIN");
                match &join.join_operator {
                    JoinOperator::Join(constraint)
                    | JoinOperator::Inner(constraint)
                    | JoinOperator::Left(constraint)
                    | JoinOperator::LeftOuter(constraint)
                    | JoinOperator::Right(constraint)
                    | JoinOperator::RightOuter(constraint)
                    | JoinOperator::FullOuter(constraint)
                    | JoinOperator::CrossJoin(constraint) => {
                        absent!(matches!(constraint, JoinConstraint::Natural), "NATURAL JOIN");
                    }
                    _ => return refuse("this kind of join"),
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<PlanError> {
        match factor {
            TableFactor::Table {
                name,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                alias: _,
            } => {
                if args.is_some() {
                    return refuse_at("a function in FROM", name);
                }
                absent!(!with_hints.is_empty() || !index_hints.is_empty(), "a table hint");
                absent!(version.is_some(), "a table version");
                absent!(*with_ordinality, "WITH ORDINALITY");
                absent!(!partitions.is_empty(), "PARTITION");
                absent!(json_path.is_some(), "a JSON path");
                absent!(sample.is_some(), "TABLESAMPLE");
                ControlFlow::Continue(())
            }
            TableFactor::Derived { lateral, sample, .. } => {
                absent!(*lateral, "LATERAL");
                absent!(sample.is_some(), "TABLESAMPLE");
                ControlFlow::Continue(())
            }
            TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            _ => refuse_at("this kind of table expression", factor),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<PlanError> {
        gate_expr(expr)
    }
}

/// The modifiers are a struct of flags behind an option.
trait IsSomeAndSet {
    fn is_some_and_set(&self) -> bool;
}

impl IsSomeAndSet for Option<datafusion_sql::sqlparser::ast::SelectModifiers> {
    fn is_some_and_set(&self) -> bool {
        self.as_ref().is_some_and(datafusion_sql::sqlparser::ast::SelectModifiers::is_any_set)
    }
}

fn is_negative(expr: &Expr) -> bool {
    matches!(expr, Expr::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(expr.as_ref(), Expr::Value(_)))
}

fn gate_set_expr(body: &SetExpr) -> ControlFlow<PlanError> {
    if let SetExpr::SetOperation { op, set_quantifier, left, right } = body {
        absent!(matches!(op, SetOperator::Minus), "MINUS");
        absent!(
            matches!(set_quantifier, SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName),
            "BY NAME"
        );
        for side in [left, right] {
            absent!(matches!(side.as_ref(), SetExpr::Table(_)), "TABLE name");
            gate_set_expr(side)?;
        }
    }
    ControlFlow::Continue(())
}

fn gate_expr(expr: &Expr) -> ControlFlow<PlanError> {
    match expr {
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::Between { .. }
        | Expr::SimilarTo { .. }
        | Expr::AnyOp { .. }
        | Expr::AllOp { .. }
        | Expr::AtTimeZone { .. }
        | Expr::Extract { .. }
        | Expr::Ceil { .. }
        | Expr::Floor { .. }
        | Expr::Position { .. }
        | Expr::Substring { .. }
        | Expr::Trim { .. }
        | Expr::Overlay { .. }
        | Expr::Nested(_)
        | Expr::TypedString(_)
        | Expr::Case { .. }
        | Expr::Exists { .. }
        | Expr::Subquery(_)
        | Expr::GroupingSets(_)
        | Expr::Cube(_)
        | Expr::Rollup(_)
        | Expr::Tuple(_)
        | Expr::Array(_)
        | Expr::Interval(_) => ControlFlow::Continue(()),
        Expr::Like { any, .. } | Expr::ILike { any, .. } => {
            absent!(*any, "LIKE ANY");
            ControlFlow::Continue(())
        }
        Expr::Collate { collation, .. } => {
            let name = collation.to_string().replace('"', "").to_lowercase();
            let known = ["c", "posix", "default", "ucs_basic", "pg_catalog.c", "pg_catalog.default"];
            if known.contains(&name.as_str()) {
                return ControlFlow::Continue(());
            }
            ControlFlow::Break(
                PlanError::new("42704", format!("collation \"{name}\" does not exist"))
                    .hint("Strings compare by code point here; COLLATE \"C\" says the same."),
            )
        }
        Expr::BinaryOp { op, .. } => match op {
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::StringConcat
            | BinaryOperator::Gt
            | BinaryOperator::Lt
            | BinaryOperator::GtEq
            | BinaryOperator::LtEq
            | BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::And
            | BinaryOperator::Or
            | BinaryOperator::PGExp
            | BinaryOperator::PGRegexMatch
            | BinaryOperator::PGRegexIMatch
            | BinaryOperator::PGRegexNotMatch
            | BinaryOperator::PGRegexNotIMatch
            | BinaryOperator::PGLikeMatch
            | BinaryOperator::PGILikeMatch
            | BinaryOperator::PGNotLikeMatch
            | BinaryOperator::PGNotILikeMatch => ControlFlow::Continue(()),
            _ => refuse_at(&format!("operator {op}"), expr),
        },
        Expr::UnaryOp { op, .. } => match op {
            UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not => ControlFlow::Continue(()),
            _ => refuse_at(&format!("operator {op}"), expr),
        },
        Expr::Cast { kind, array, format, .. } => {
            absent!(*array || format.is_some(), "this form of CAST");
            absent!(!matches!(kind, CastKind::Cast | CastKind::DoubleColon), "TRY_CAST");
            ControlFlow::Continue(())
        }
        Expr::Value(value) => match &value.value {
            Value::Number(_, false)
            | Value::SingleQuotedString(_)
            | Value::DollarQuotedString(_)
            | Value::EscapedStringLiteral(_)
            | Value::UnicodeStringLiteral(_)
            | Value::Boolean(_)
            | Value::Null => ControlFlow::Continue(()),
            Value::Placeholder(name) if name.strip_prefix('$').is_some_and(|n| n.parse::<u16>().is_ok()) => {
                ControlFlow::Continue(())
            }
            _ => refuse_at("this kind of literal", expr),
        },
        Expr::Function(function) => {
            absent!(!matches!(function.parameters, FunctionArguments::None), "a parametric function");
            absent!(function.uses_odbc_syntax, "{fn …}");
            absent!(function.null_treatment.is_some(), "IGNORE NULLS");
            if !function.within_group.is_empty() {
                return refuse_at("WITHIN GROUP", expr);
            }
            match &function.args {
                FunctionArguments::None => {}
                FunctionArguments::Subquery(_) => return refuse_at("a sub-query as function argument", expr),
                FunctionArguments::List(list) => {
                    for clause in &list.clauses {
                        absent!(
                            !matches!(clause, FunctionArgumentClause::OrderBy(_)),
                            "this clause of a function call"
                        );
                    }
                }
            }
            ControlFlow::Continue(())
        }
        _ => refuse_at("this kind of expression", expr),
    }
}
