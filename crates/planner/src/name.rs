//! Names output columns as PostgreSQL does, makes ordinals explicit, and gives unquoted names the spelling of the model.
//!
//! Output names follow PostgreSQL's `FigureColname`. Names are made unique inside by a suffix that begins with
//! [`UNIQUE_MARK`]; [`shown`] strips it where columns reach the user.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, LimitClause, OrderByKind, Query, Select, SelectItem, SetExpr, Statement, TableAlias,
    TableFactor, TableWithJoins, Value, Visit, VisitMut, Visitor, VisitorMut, WindowFrameBound, WindowType,
};

use crate::error::{PlanError, Result};
use crate::gate::place_of;
use crate::parse::parse_one;

/// Starts the suffix that keeps equal output names apart; no client can send it in an identifier that matters.
pub const UNIQUE_MARK: char = '\u{1}';

/// The name as the user sees it.
#[must_use]
pub fn shown(name: &str) -> &str {
    name.split(UNIQUE_MARK).next().unwrap_or(name)
}

/// Applies all naming rules to a query. `spellings` maps lower-case names to the model's own spelling, for those names whose
/// spelling has capitals and is unambiguous in the tables that the query uses; `columns` are the names of those tables' columns.
///
/// # Errors
/// 42P10 for an ordinal that is not in the select list, 0A000 for a name that DataFusion would take for another column.
pub fn name(query: &mut Query, spellings: &HashMap<String, String>, columns: &HashSet<String>) -> Result<()> {
    let mut namer = Namer { spellings, columns: columns.clone(), depth: 0 };
    match query.visit(&mut namer) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Namer<'a> {
    spellings: &'a HashMap<String, String>,
    /// Names that input columns may have: of the tables in use, and of the queries inside that were seen so far.
    columns: HashSet<String>,
    /// Queries around the one that is visited, itself counted.
    depth: usize,
}

impl Namer<'_> {
    fn respell(&self, ident: &mut Ident) {
        if ident.quote_style.is_none()
            && let Some(actual) = self.spellings.get(&ident.value.to_lowercase())
        {
            ident.value.clone_from(actual);
            ident.quote_style = Some('"');
        }
    }

    fn respell_alias(&mut self, alias: &mut TableAlias) {
        for column in &mut alias.columns {
            self.respell(&mut column.name);
            self.columns.insert(normalized(&column.name));
        }
    }
}

impl VisitorMut for Namer<'_> {
    type Break = PlanError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<PlanError> {
        self.depth += 1;
        if let Some(with) = &mut query.with {
            for cte in &mut with.cte_tables {
                self.respell_alias(&mut cte.alias);
            }
        }
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                if let Some(limit) = limit {
                    protect(limit);
                }
                if let Some(offset) = offset {
                    protect(&mut offset.value);
                }
            }
            Some(LimitClause::OffsetCommaLimit { .. }) | None => {}
        }
        if let Some(fetch) = &mut query.fetch
            && let Some(quantity) = &mut fetch.quantity
        {
            protect(quantity);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<PlanError> {
        self.depth -= 1;
        self.free_captured(query)?;
        name_order_by(query)?;
        if let SetExpr::Select(select) = query.body.as_ref() {
            self.columns.extend(outputs(select).map(|(_, alias)| shown(&alias.value).to_owned()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<PlanError> {
        name_select(select, self)
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<PlanError> {
        match factor {
            TableFactor::Derived { alias: Some(alias), .. } | TableFactor::Table { alias: Some(alias), .. } => {
                self.respell_alias(alias);
            }
            // PostgreSQL 16 lets a derived table go without an alias; DataFusion needs none either.
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<PlanError> {
        match expr {
            Expr::Identifier(ident) => self.respell(ident),
            Expr::CompoundIdentifier(idents) => {
                if let Some(last) = idents.last_mut() {
                    self.respell(last);
                }
            }
            Expr::Function(function) => {
                if let Some(WindowType::WindowSpec(spec)) = &mut function.over
                    && let Some(frame) = &mut spec.window_frame
                {
                    protect_bound(&mut frame.start_bound);
                    if let Some(end) = &mut frame.end_bound {
                        protect_bound(end);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Namer<'_> {
    /// In HAVING and in an expression of ORDER BY a name is an input column; DataFusion would take the output column of that name. So
    /// the output column gets another name inside, and a sub-query a query around it that gives the name back.
    fn free_captured(&self, query: &mut Query) -> ControlFlow<PlanError> {
        let mut order = match &mut query.order_by {
            Some(order_by) => match &mut order_by.kind {
                OrderByKind::Expressions(items) => items.iter_mut().map(|item| &mut item.expr).collect(),
                OrderByKind::All(_) => Vec::new(),
            },
            None => Vec::new(),
        };
        let SetExpr::Select(select) = query.body.as_mut() else { return ControlFlow::Continue(()) };
        let mut named = HashSet::new();
        for expr in order.iter().filter(|expr| !matches!(expr, Expr::Identifier(_))) {
            names_in(expr, &mut named);
        }
        if let Some(having) = &select.having {
            names_in(having, &mut named);
        }
        let captured: Vec<String> = outputs(select)
            .filter(|(expr, alias)| {
                named.contains(&alias.value) && self.columns.contains(&alias.value) && !is_column(expr, &alias.value)
            })
            .map(|(_, alias)| alias.value.clone())
            .collect();
        let Some(first) = captured.first() else { return ControlFlow::Continue(()) };
        let before: Vec<Ident> = outputs(select).map(|(_, alias)| alias.clone()).collect();
        if self.depth > 0 && before.len() < select.projection.len() {
            return ControlFlow::Break(
                PlanError::unsupported(format!("\"{first}\" is an input column and an output column beside *"))
                    .hint("Give the output column another name."),
            );
        }
        let mut taken: HashSet<String> = before.iter().map(|alias| alias.value.clone()).collect();
        for name in captured {
            let renamed = Ident::with_quote('"', make_unique(&name, &mut taken));
            for item in &mut select.projection {
                if let SelectItem::ExprWithAlias { alias, .. } = item
                    && alias.value == name
                {
                    *alias = renamed.clone();
                }
            }
            // A bare name in ORDER BY is the output column.
            for expr in &mut order {
                if matches!(expr, Expr::Identifier(ident) if normalized(ident) == name) {
                    **expr = Expr::Identifier(renamed.clone());
                }
            }
        }
        if self.depth > 0 {
            let inside: Vec<Ident> = outputs(select).map(|(_, alias)| alias.clone()).collect();
            return rename_outputs(query, inside.into_iter().zip(before));
        }
        ControlFlow::Continue(())
    }
}

/// `SELECT inside AS outside, … FROM (query)`.
fn rename_outputs(query: &mut Query, names: impl Iterator<Item = (Ident, Ident)>) -> ControlFlow<PlanError> {
    if let Ok(Statement::Query(mut outer)) = parse_one("SELECT 1 FROM (SELECT 1) AS renamed")
        && let SetExpr::Select(select) = outer.body.as_mut()
        && let [TableWithJoins { relation: TableFactor::Derived { subquery, .. }, .. }] = select.from.as_mut_slice()
    {
        select.projection = names
            .map(|(inside, outside)| SelectItem::ExprWithAlias { expr: Expr::Identifier(inside), alias: outside })
            .collect();
        std::mem::swap(query, subquery.as_mut());
        std::mem::swap(query, outer.as_mut());
        return ControlFlow::Continue(());
    }
    ControlFlow::Break(PlanError::internal("the query around a sub-query cannot be read"))
}

/// The items of a select list that have a name by now.
fn outputs(select: &Select) -> impl Iterator<Item = (&Expr, &Ident)> {
    select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => Some((expr, alias)),
        SelectItem::UnnamedExpr(_)
        | SelectItem::ExprWithAliases { .. }
        | SelectItem::Wildcard(_)
        | SelectItem::QualifiedWildcard(..) => None,
    })
}

fn is_column(expr: &Expr, name: &str) -> bool {
    match expr {
        Expr::Identifier(ident) => normalized(ident) == name,
        Expr::CompoundIdentifier(idents) => idents.last().is_some_and(|last| normalized(last) == name),
        Expr::Nested(inner) => is_column(inner, name),
        _ => false,
    }
}

fn names_in(expr: &Expr, names: &mut HashSet<String>) {
    struct Names<'n>(&'n mut HashSet<String>);
    impl Visitor for Names<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(ident) => {
                    self.0.insert(normalized(ident));
                }
                // DataFusion calls `t.x` ambiguous beside an output column `x`.
                Expr::CompoundIdentifier(idents) => self.0.extend(idents.last().map(normalized)),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let _: ControlFlow<()> = expr.visit(&mut Names(names));
}

/// Marks a number that is a count or an ordinal, not a value: typing leaves it alone, [`unprotect`] gives it back.
fn protect(expr: &mut Expr) {
    if let Expr::Value(value) = expr
        && let Value::Number(digits, false) = &value.value
    {
        value.value = Value::NationalStringLiteral(digits.clone());
    }
}

fn protect_bound(bound: &mut WindowFrameBound) {
    match bound {
        WindowFrameBound::Preceding(Some(expr)) | WindowFrameBound::Following(Some(expr)) => protect(expr),
        _ => {}
    }
}

/// Undoes [`protect`].
pub(crate) fn unprotect(expr: &mut Expr) {
    if let Expr::Value(value) = expr
        && let Value::NationalStringLiteral(digits) = &value.value
    {
        value.value = Value::Number(digits.clone(), false);
    }
}

fn name_select(select: &mut Select, namer: &Namer<'_>) -> ControlFlow<PlanError> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut has_wildcard = false;
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let plain = match &expr {
                    Expr::Identifier(ident) => Some(ident.clone()),
                    Expr::CompoundIdentifier(idents) => idents.last().cloned(),
                    _ => None,
                };
                let name = match plain {
                    Some(mut ident) => {
                        namer.respell(&mut ident);
                        normalized(&ident)
                    }
                    None => figure_name(expr).unwrap_or_else(|| "?column?".to_owned()),
                };
                let unique = make_unique(&name, &mut taken);
                *item = SelectItem::ExprWithAlias {
                    expr: std::mem::replace(expr, Expr::Value(Value::Null.into())),
                    alias: Ident::with_quote('"', unique),
                };
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                namer.respell(alias);
                let unique = make_unique(&normalized(alias), &mut taken);
                *alias = Ident::with_quote('"', unique);
            }
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => has_wildcard = true,
            SelectItem::ExprWithAliases { .. } => {}
        }
    }
    if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
        for expr in exprs {
            match expr {
                Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => {
                    for key in sets.iter_mut().flatten() {
                        if has_wildcard && ordinal_of(key).is_some() {
                            return ControlFlow::Break(
                                PlanError::unsupported(
                                    "a number in GROUPING SETS, ROLLUP or CUBE beside * is not supported",
                                )
                                .hint("Write the grouped expression out.")
                                .at(place_of(key)),
                            );
                        }
                        replace_ordinal(key, &select.projection, has_wildcard, "GROUP BY")?;
                    }
                }
                expr => replace_ordinal(expr, &select.projection, has_wildcard, "GROUP BY")?,
            }
        }
    }
    ControlFlow::Continue(())
}

fn normalized(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn make_unique(name: &str, taken: &mut HashSet<String>) -> String {
    if taken.insert(name.to_owned()) {
        return name.to_owned();
    }
    let mut number = 2;
    loop {
        let candidate = format!("{name}{UNIQUE_MARK}{number}");
        if taken.insert(candidate.clone()) {
            return candidate;
        }
        number += 1;
    }
}

/// `GROUP BY 2` means the second item's expression.
fn replace_ordinal(
    expr: &mut Expr,
    projection: &[SelectItem],
    has_wildcard: bool,
    clause: &str,
) -> ControlFlow<PlanError> {
    let Some(ordinal) = ordinal_of(expr) else { return ControlFlow::Continue(()) };
    if has_wildcard {
        protect(expr);
        return ControlFlow::Continue(());
    }
    match ordinal.checked_sub(1).and_then(|index| projection.get(index)) {
        Some(SelectItem::ExprWithAlias { expr: item, .. }) => {
            *expr = item.clone();
            ControlFlow::Continue(())
        }
        _ => ControlFlow::Break(
            PlanError::new("42P10", format!("{clause} position {ordinal} is not in select list")).at(place_of(expr)),
        ),
    }
}

fn ordinal_of(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) | Value::NationalStringLiteral(digits) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// ORDER BY: an ordinal becomes the output column that it counts; a bare name is an output column first.
fn name_order_by(query: &mut Query) -> ControlFlow<PlanError> {
    let Some(order_by) = &mut query.order_by else { return ControlFlow::Continue(()) };
    let OrderByKind::Expressions(items) = &mut order_by.kind else { return ControlFlow::Continue(()) };
    let select = match query.body.as_mut() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    };
    let Some(select) = select else {
        // A set operation: only output names and ordinals are allowed, and DataFusion means the same by them.
        for item in items {
            protect(&mut item.expr);
        }
        return ControlFlow::Continue(());
    };
    let has_wildcard = select
        .projection
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    for item in items.iter_mut() {
        if let Some(ordinal) = ordinal_of(&item.expr) {
            if has_wildcard {
                protect(&mut item.expr);
                continue;
            }
            match ordinal.checked_sub(1).and_then(|index| select.projection.get(index)) {
                Some(SelectItem::ExprWithAlias { alias, .. }) => item.expr = Expr::Identifier(alias.clone()),
                _ => {
                    return ControlFlow::Break(
                        PlanError::new("42P10", format!("ORDER BY position {ordinal} is not in select list"))
                            .at(place_of(&item.expr)),
                    );
                }
            }
        }
    }
    ControlFlow::Continue(())
}

/// PostgreSQL's name for an expression without alias; `None` stands for `?column?`.
fn figure_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(normalized(ident)),
        Expr::CompoundIdentifier(idents) => idents.last().map(normalized),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure_name(inner),
        Expr::Function(function) => {
            let name = function.name.0.last()?.as_ident().map(normalized)?;
            Some(name)
        }
        Expr::Cast { expr, data_type, .. } => {
            figure_strong_name(expr).or_else(|| Some(type_name(&data_type.to_string())))
        }
        Expr::TypedString(typed) => Some(type_name(&typed.data_type.to_string())),
        Expr::Interval(_) => Some("interval".to_owned()),
        Expr::Case { else_result, .. } => {
            Some(else_result.as_deref().and_then(figure_strong_name).unwrap_or_else(|| "case".to_owned()))
        }
        Expr::Extract { .. } => Some("extract".to_owned()),
        Expr::Ceil { .. } => Some("ceil".to_owned()),
        Expr::Floor { .. } => Some("floor".to_owned()),
        Expr::Position { .. } => Some("position".to_owned()),
        Expr::Substring { .. } => Some("substring".to_owned()),
        Expr::Overlay { .. } => Some("overlay".to_owned()),
        Expr::Trim { trim_where, .. } => Some(
            match trim_where.as_ref().map(ToString::to_string).as_deref() {
                Some("LEADING") => "ltrim",
                Some("TRAILING") => "rtrim",
                _ => "btrim",
            }
            .to_owned(),
        ),
        Expr::AtTimeZone { .. } => Some("timezone".to_owned()),
        Expr::Exists { .. } => Some("exists".to_owned()),
        Expr::Array(_) => Some("array".to_owned()),
        Expr::Tuple(_) => Some("row".to_owned()),
        Expr::Value(value) => match &value.value {
            Value::Boolean(_) => Some("bool".to_owned()),
            _ => None,
        },
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::ExprWithAlias { alias, .. }) => Some(alias.value.clone()),
                Some(SelectItem::UnnamedExpr(expr)) => figure_name(expr),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// A name that wins over `case`: that of a column or function, not of a type.
fn figure_strong_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Cast { expr, .. } => figure_strong_name(expr),
        Expr::Value(_) | Expr::TypedString(_) | Expr::Interval(_) => None,
        other => figure_name(other),
    }
}

/// PostgreSQL's internal name of a type, which names an unnamed cast.
fn type_name(written: &str) -> String {
    let lower = written.to_lowercase();
    let base = lower.split('(').next().unwrap_or(&lower).trim();
    match base {
        "int" | "integer" | "int4" => "int4",
        "bigint" | "int8" => "int8",
        "smallint" | "int2" => "int2",
        "double precision" | "float8" | "double" | "float" => "float8",
        "real" | "float4" => "float4",
        "decimal" | "numeric" | "dec" => "numeric",
        "boolean" | "bool" => "bool",
        "character varying" | "varchar" => "varchar",
        "character" | "char" => "bpchar",
        "timestamp" | "timestamp without time zone" => "timestamp",
        "timestamp with time zone" | "timestamptz" => "timestamptz",
        other => other,
    }
    .to_owned()
}
