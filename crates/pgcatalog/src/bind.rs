//! Resolves the names and types of a query: syntax in, plan out.
//!
//! Expressions are in `bind_expr`; here are queries: WITH, FROM, the select list, grouping and ordering. [`arrange_joins`] decides where
//! conditions go, so that joins can use indexes.

mod arrange_joins;

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    self, Distinct, GroupByExpr, Ident, JoinConstraint, JoinOperator, LimitClause, ObjectName, OrderByExpr,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier,
    TableAlias, TableFactor, TableWithJoins,
};

use crate::catalog::{Catalog, namespace_name};
use crate::error::{CatalogError, Result};
use crate::pg_types::{self as ty, Oid};
use crate::plan::{
    AggregateCall, Body, Comparison, Cte, DistinctBy, Expr, From, OutputColumn, QueryPlan, SelectPlan, SetFunction,
    SetKind, SortKey, Source, SubPlan, WindowCall,
};
use crate::snapshot::SessionFacts;

use arrange_joins::{arrange, left_join, split_and};

/// Columns that every system relation has behind its own: name, type.
pub const SYSTEM_COLUMNS: [(&str, Oid); 3] = [("tableoid", ty::OID), ("xmin", ty::XID), ("ctid", 27)];

/// FROM items of one query level; their slots are bits of a `u64`.
const SLOTS_MAX: usize = 60;

/// An expression with its type.
#[derive(Debug, Clone)]
pub struct Typed {
    pub expr: Expr,
    pub pg_type: Oid,
    pub typmod: i32,
    /// The fields of a record.
    pub fields: Vec<(String, Oid)>,
}

impl Typed {
    pub fn new(expr: Expr, pg_type: Oid) -> Self {
        Self { expr, pg_type, typmod: -1, fields: Vec::new() }
    }
}

/// One item of FROM as names see it.
#[derive(Debug)]
pub struct Slot {
    pub alias: String,
    /// The schema of a relation that was not renamed.
    pub schema: Option<&'static str>,
    pub columns: Vec<OutputColumn>,
    /// The first columns, the ones that `*` means; system columns follow.
    pub shown: usize,
    /// Columns that USING or NATURAL joined with one further left.
    pub merged: BTreeSet<usize>,
    /// Not to be seen from a derived table beside it that is not LATERAL.
    pub hidden: bool,
    /// The model relation's `oid` column makes grouping by it cover the whole row.
    pub has_oid: Option<usize>,
}

/// One query level while it is bound.
#[derive(Debug, Default)]
pub struct Level {
    pub slots: Vec<Slot>,
    pub aggregates: Vec<AggregateCall>,
    pub windows: Vec<WindowCall>,
    pub srfs: Vec<(SetFunction, Vec<Expr>)>,
    /// Which calls the clause at hand may hold.
    pub allows_aggregates: bool,
    pub allows_srfs: bool,
}

struct CteName {
    name: String,
    id: usize,
    columns: Vec<OutputColumn>,
    /// Inside its own recursive term: its rows change while the statement runs.
    recursing: bool,
    /// How many sub-queries it is defined inside of: its rows may depend on their outer rows.
    depth: usize,
}

/// A sub-query while it is bound: which outer columns it turned out to use.
struct Frame {
    base: usize,
    outer: BTreeSet<(usize, usize, usize)>,
    volatile: bool,
}

pub struct Binder<'a> {
    pub catalog: &'a Catalog,
    pub session: &'a SessionFacts,
    /// The types of `$1`, `$2`, …; `None` where neither the client nor the use has said it yet.
    pub parameters: Vec<Option<Oid>>,
    pub levels: Vec<Level>,
    ctes: Vec<CteName>,
    frames: Vec<Frame>,
    ids: usize,
}

impl<'a> Binder<'a> {
    pub fn new(catalog: &'a Catalog, session: &'a SessionFacts, parameters: Vec<Option<Oid>>) -> Self {
        Self { catalog, session, parameters, levels: Vec::new(), ctes: Vec::new(), frames: Vec::new(), ids: 0 }
    }

    fn next_id(&mut self) -> usize {
        self.ids += 1;
        self.ids
    }

    /// Binds a whole statement; columns of unknown type become text.
    pub fn statement(&mut self, query: &Query) -> Result<QueryPlan> {
        let mut plan = self.query(query)?;
        settle(&mut plan.columns);
        Ok(plan)
    }

    /// Binds a query inside an expression or FROM.
    pub fn sub_query(&mut self, query: &Query) -> Result<SubPlan> {
        let base = self.levels.len();
        self.frames.push(Frame { base, outer: BTreeSet::new(), volatile: false });
        let plan = self.query(query);
        let frame = self.frames.pop().expect("pushed above");
        let mut plan = plan?;
        settle(&mut plan.columns);
        if let Some(parent) = self.frames.last_mut() {
            parent.volatile |= frame.volatile;
        }
        let outer: Vec<(usize, usize, usize)> =
            frame.outer.iter().map(|(level, slot, column)| (base - 1 - level, *slot, *column)).collect();
        let constant = outer.is_empty() && !frame.volatile;
        Ok(SubPlan { id: self.next_id(), query: Arc::new(plan), outer, constant })
    }

    /// Notes that a column of an outer level is used; `usize::MAX` for the whole row.
    pub fn used(&mut self, level: usize, slot: usize, column: usize) {
        for frame in &mut self.frames {
            if level < frame.base {
                frame.outer.insert((level, slot, column));
            }
        }
    }

    fn query(&mut self, query: &Query) -> Result<QueryPlan> {
        let names = self.ctes.len();
        let plan = self.query_with(query);
        self.ctes.truncate(names);
        plan
    }

    fn query_with(&mut self, query: &Query) -> Result<QueryPlan> {
        if !query.locks.is_empty() || query.for_clause.is_some() || !query.pipe_operators.is_empty() {
            return Err(CatalogError::unsupported("a locking clause"));
        }
        let mut ctes = Vec::new();
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                ctes.push(self.cte(cte, with.recursive)?);
            }
        }
        let order: &[OrderByExpr] = match query.order_by.as_ref().map(|order| &order.kind) {
            None => &[],
            Some(OrderByKind::Expressions(order)) => order,
            Some(OrderByKind::All(_)) => return Err(CatalogError::unsupported("ORDER BY ALL")),
        };
        let mut plan = self.set_expr(&query.body, order)?;
        let (mut limit, mut offset) = match &query.limit_clause {
            None => (None, None),
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(LimitClause::OffsetCommaLimit { .. } | LimitClause::LimitOffset { .. }) => {
                return Err(CatalogError::new("42601", "LIMIT #,# syntax is not supported"));
            }
        };
        if let Some(fetch) = &query.fetch {
            if fetch.with_ties || fetch.percent {
                return Err(CatalogError::unsupported("FETCH WITH TIES"));
            }
            limit = fetch.quantity.as_ref();
        }
        if matches!(limit, Some(ast::Expr::Value(value)) if matches!(value.value, ast::Value::Null)) {
            limit = None;
        }
        self.levels.push(Level::default());
        let bound = [limit.take(), offset.take()].map(|count| {
            count.map(|count| self.expr(count).and_then(|count| self.coerce(count, ty::INT8))).transpose()
        });
        self.levels.pop();
        let [limit, offset] = bound;
        plan.limit = limit?;
        plan.offset = offset?;
        plan.ctes = ctes;
        Ok(plan)
    }

    fn cte(&mut self, cte: &ast::Cte, recursive: bool) -> Result<Cte> {
        let id = self.next_id();
        let name = ident(&cte.alias.name);
        let names: Vec<String> = cte.alias.columns.iter().map(|column| ident(&column.name)).collect();
        let rename = |columns: &[OutputColumn]| {
            let mut columns = columns.to_vec();
            settle(&mut columns);
            for (column, name) in columns.iter_mut().zip(&names) {
                column.name.clone_from(name);
            }
            columns
        };
        if recursive
            && let SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } = &*cte.query.body
            && cte.query.order_by.is_none()
            && cte.query.limit_clause.is_none()
        {
            let names = self.ctes.len();
            let mut inner = Vec::new();
            if let Some(with) = &cte.query.with {
                for cte in &with.cte_tables {
                    inner.push(self.cte(cte, with.recursive)?);
                }
            }
            let mut base = self.set_expr(left, &[])?;
            settle(&mut base.columns);
            let columns = rename(&base.columns);
            self.ctes.push(CteName { name, id, columns, recursing: true, depth: self.frames.len() });
            let at = self.ctes.len() - 1;
            let step = self.set_expr(right, &[])?;
            self.ctes[at].recursing = false;
            self.ctes.drain(names..at);
            if step.columns.len() != base.columns.len() {
                return Err(CatalogError::new("42601", "each UNION query must have the same number of columns"));
            }
            let all = matches!(set_quantifier, SetQuantifier::All);
            return Ok(Cte { id, inner, query: Arc::new(base), step: Some((Arc::new(step), all)) });
        }
        let mut query = self.query(&cte.query)?;
        settle(&mut query.columns);
        let columns = rename(&query.columns);
        self.ctes.push(CteName { name, id, columns, recursing: false, depth: self.frames.len() });
        Ok(Cte { id, inner: Vec::new(), query: Arc::new(query), step: None })
    }

    fn set_expr(&mut self, body: &SetExpr, order: &[OrderByExpr]) -> Result<QueryPlan> {
        match body {
            SetExpr::Select(select) => self.select(select, order),
            SetExpr::Query(query) => {
                let mut plan = self.query(query)?;
                if !order.is_empty() {
                    if !plan.order.is_empty() || plan.limit.is_some() {
                        return Err(CatalogError::unsupported(
                            "ORDER BY around a query in parentheses that is ordered itself",
                        ));
                    }
                    plan.order = output_order(&plan.columns, order)?;
                }
                Ok(plan)
            }
            SetExpr::Values(values) => {
                self.levels.push(Level::default());
                let rows = self.values(values);
                self.levels.pop();
                let (rows, columns) = rows?;
                let order = output_order(&columns, order)?;
                Ok(plain(Body::Values(rows), columns, order))
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let left = self.set_expr(left, &[])?;
                let right = self.set_expr(right, &[])?;
                let kind = match op {
                    SetOperator::Union => SetKind::Union,
                    SetOperator::Intersect => SetKind::Intersect,
                    SetOperator::Except | SetOperator::Minus => SetKind::Except,
                };
                let all = match set_quantifier {
                    SetQuantifier::All => true,
                    SetQuantifier::None | SetQuantifier::Distinct => false,
                    _ => return Err(CatalogError::unsupported("UNION BY NAME")),
                };
                if left.columns.len() != right.columns.len() {
                    return Err(CatalogError::new(
                        "42601",
                        format!("each {op} query must have the same number of columns"),
                    ));
                }
                let mut columns = Vec::new();
                let mut casts = Vec::new();
                for (a, b) in left.columns.iter().zip(&right.columns) {
                    let (x, y) = (a.pg_type, b.pg_type);
                    let common = match (x, y) {
                        (ty::UNKNOWN, ty::UNKNOWN) => ty::UNKNOWN,
                        _ => self.catalog.types.common(&[x, y]).ok_or_else(|| {
                            let shown = |oid| self.catalog.types.format(oid, None);
                            CatalogError::new(
                                "42804",
                                format!("{op} types {} and {} cannot be matched", shown(x), shown(y)),
                            )
                        })?,
                    };
                    casts.push([(x, common), (y, common)]);
                    let typmod = if x == y && a.typmod == b.typmod { a.typmod } else { -1 };
                    columns.push(OutputColumn {
                        name: a.name.clone(),
                        pg_type: common,
                        typmod,
                        fields: a.fields.clone(),
                    });
                }
                let order = output_order(&columns, order)?;
                let body = Body::SetOperation { kind, all, left: Box::new(left), right: Box::new(right), casts };
                Ok(plain(body, columns, order))
            }
            SetExpr::Table(table) => {
                let name = [table.schema_name.as_deref(), table.table_name.as_deref()];
                let parts: Vec<Ident> = name.into_iter().flatten().map(Ident::new).collect();
                let text = parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
                Err(CatalogError::unsupported(format!("TABLE {text}")))
            }
            _ => Err(CatalogError::new("42501", "the system catalogs cannot be written to")),
        }
    }

    fn values(&mut self, values: &ast::Values) -> Result<(Vec<Vec<Expr>>, Vec<OutputColumn>)> {
        let mut rows: Vec<Vec<Typed>> = Vec::new();
        for row in &values.rows {
            rows.push(row.content.iter().map(|expr| self.expr(expr)).collect::<Result<_>>()?);
        }
        let width = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|row| row.len() != width) {
            return Err(CatalogError::new("42601", "VALUES lists must all be the same length"));
        }
        let mut columns = Vec::new();
        for at in 0..width {
            let types: Vec<Oid> = rows.iter().map(|row| row[at].pg_type).collect();
            let pg_type = self
                .catalog
                .types
                .common(&types)
                .ok_or_else(|| CatalogError::new("42804", "VALUES types cannot be matched"))?;
            columns.push(OutputColumn { name: format!("column{}", at + 1), pg_type, typmod: -1, fields: Vec::new() });
        }
        let mut out = Vec::new();
        for row in rows {
            let row = row.into_iter().zip(&columns).map(|(value, column)| self.coerce(value, column.pg_type));
            out.push(row.collect::<Result<_>>()?);
        }
        Ok((out, columns))
    }

    fn select(&mut self, select: &Select, order: &[OrderByExpr]) -> Result<QueryPlan> {
        for (present, what) in [
            (select.into.is_some(), "SELECT INTO"),
            (select.qualify.is_some(), "QUALIFY"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (!select.named_window.is_empty(), "WINDOW"),
            (select.top.is_some(), "TOP"),
        ] {
            if present {
                return Err(CatalogError::unsupported(what));
            }
        }
        self.levels.push(Level::default());
        let plan = self.select_inner(select, order);
        self.levels.pop();
        plan
    }

    fn select_inner(&mut self, select: &Select, order: &[OrderByExpr]) -> Result<QueryPlan> {
        let mut from: Option<From> = None;
        for item in &select.from {
            let next = self.table_with_joins(item)?;
            from = Some(match from {
                None => next,
                Some(left) => From::Inner { left: Box::new(left), right: Box::new(next), filter: Vec::new() },
            });
        }
        let mut conditions = Vec::new();
        if let Some(selection) = &select.selection {
            let condition = self.condition(selection, "WHERE")?;
            split_and(condition, &mut conditions);
        }

        // The select list, `*` written out; what stands for each item in GROUP BY 1 and ORDER BY 1.
        let mut items: Vec<(ItemSource<'_>, String)> = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    items.push((ItemSource::Ast(expr), crate::bind_expr::column_name(expr)))
                }
                SelectItem::ExprWithAlias { expr, alias } => items.push((ItemSource::Ast(expr), ident(alias))),
                SelectItem::Wildcard(_) => {
                    if self.level().slots.is_empty() {
                        return Err(CatalogError::new("42601", "SELECT * with no tables specified is not valid"));
                    }
                    for slot in 0..self.level().slots.len() {
                        self.star(slot, &mut items);
                    }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let (_, table) = object_name(name)?;
                    let slot = self.level().slots.iter().position(|slot| slot.alias == table).ok_or_else(|| {
                        CatalogError::new("42P01", format!("missing FROM-clause entry for table \"{table}\""))
                    })?;
                    self.star(slot, &mut items);
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), _) => {
                    let record = self.expr(expr)?;
                    for (at, (name, pg_type)) in record.fields.iter().enumerate() {
                        let field = Expr::Field { expr: Box::new(record.expr.clone()), at };
                        items.push((ItemSource::Bound(Typed::new(field, *pg_type)), name.clone()));
                    }
                }
                SelectItem::ExprWithAliases { .. } => return Err(CatalogError::unsupported("a list of aliases")),
            }
        }

        let mut keys = Vec::new();
        match &select.group_by {
            GroupByExpr::Expressions(list, modifiers) if modifiers.is_empty() => {
                for key in list {
                    keys.push(self.group_key(key, &items)?.expr);
                }
            }
            _ => return Err(CatalogError::unsupported("GROUP BY ALL, ROLLUP or CUBE")),
        }
        let mut columns = Vec::new();
        let mut output = Vec::new();
        self.level_mut().allows_aggregates = true;
        self.level_mut().allows_srfs = true;
        for (source, name) in &items {
            let typed = self.item(source)?;
            columns.push(OutputColumn {
                name: name.clone(),
                pg_type: typed.pg_type,
                typmod: typed.typmod,
                fields: typed.fields,
            });
            output.push(typed.expr);
        }
        self.level_mut().allows_srfs = false;
        let having = match &select.having {
            Some(having) => Some(self.condition(having, "HAVING")?),
            None => None,
        };

        let mut sort = Vec::new();
        for key in order {
            let column = match self.output_position(&key.expr, &columns)? {
                Some(column) => column,
                None => {
                    let typed = self.expr(&key.expr)?;
                    match output.iter().position(|expr| *expr == typed.expr) {
                        Some(column) => column,
                        None => {
                            output.push(typed.expr);
                            output.len() - 1
                        }
                    }
                }
            };
            sort.push(sort_key(column, key));
        }
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => None,
            Some(Distinct::Distinct) => {
                if output.len() > columns.len() {
                    return Err(CatalogError::new(
                        "42P10",
                        "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                    ));
                }
                Some(DistinctBy::Row)
            }
            Some(Distinct::On(list)) => {
                let mut by = Vec::new();
                for key in list {
                    by.push(match self.output_position(key, &columns)? {
                        Some(column) => column,
                        None => {
                            output.push(self.expr(key)?.expr);
                            output.len() - 1
                        }
                    });
                }
                Some(DistinctBy::Columns(by))
            }
        };

        let level = std::mem::take(self.level_mut());
        let grouped = !keys.is_empty() || !level.aggregates.is_empty() || having.is_some();
        if grouped {
            let in_windows = level
                .windows
                .iter()
                .flat_map(|call| call.partition.iter().chain(call.order.iter().map(|(key, ..)| key)));
            for expr in output.iter().chain(&having).chain(in_windows) {
                check_grouped(expr, &keys, &level.slots)?;
            }
        }
        let (constant, conditions): (Vec<Expr>, Vec<Expr>) =
            conditions.into_iter().partition(|condition| condition.slots() == 0);
        let from = from.map(|from| arrange(from, conditions));
        let plan = SelectPlan {
            slots: level.slots.len(),
            from,
            filter: constant,
            grouped,
            keys,
            aggregates: level.aggregates,
            having,
            windows: level.windows,
            srfs: level.srfs,
            output,
        };
        let mut plan = plain(Body::Select(Box::new(plan)), columns, sort);
        plan.distinct = distinct;
        Ok(plan)
    }

    pub fn level(&self) -> &Level {
        self.levels.last().expect("expressions are bound inside a query level")
    }

    pub fn level_mut(&mut self) -> &mut Level {
        self.levels.last_mut().expect("expressions are bound inside a query level")
    }

    fn star(&self, slot: usize, items: &mut Vec<(ItemSource<'_>, String)>) {
        let from = &self.level().slots[slot];
        for (column, output) in from.columns.iter().enumerate().take(from.shown) {
            if !from.merged.contains(&column) {
                let typed = Typed {
                    expr: Expr::Column { up: 0, slot, column },
                    pg_type: output.pg_type,
                    typmod: output.typmod,
                    fields: output.fields.clone(),
                };
                items.push((ItemSource::Bound(typed), output.name.clone()));
            }
        }
    }

    fn item(&mut self, source: &ItemSource<'_>) -> Result<Typed> {
        match source {
            ItemSource::Ast(expr) => self.expr(expr),
            ItemSource::Bound(typed) => Ok(typed.clone()),
        }
    }

    /// GROUP BY: a number, an input column, or else an output name.
    fn group_key(&mut self, key: &ast::Expr, items: &[(ItemSource<'_>, String)]) -> Result<Typed> {
        if let Some(number) = ordinal(key) {
            let (source, _) = number.checked_sub(1).and_then(|at| items.get(at)).ok_or_else(|| {
                CatalogError::new("42P10", format!("GROUP BY position {number} is not in select list"))
            })?;
            return self.item(source);
        }
        let bound = self.expr(key);
        match (&bound, key) {
            (Err(error), ast::Expr::Identifier(name)) if error.sqlstate == "42703" => {
                let name = ident(name);
                match items.iter().find(|(_, item)| *item == name) {
                    Some((source, _)) => self.item(source),
                    None => bound,
                }
            }
            _ => bound,
        }
    }

    /// ORDER BY: a number or an output name means that column.
    fn output_position(&self, key: &ast::Expr, columns: &[OutputColumn]) -> Result<Option<usize>> {
        if let Some(number) = ordinal(key) {
            return match number.checked_sub(1).filter(|at| *at < columns.len()) {
                Some(at) => Ok(Some(at)),
                None => Err(CatalogError::new("42P10", format!("ORDER BY position {number} is not in select list"))),
            };
        }
        let ast::Expr::Identifier(name) = key else { return Ok(None) };
        let name = ident(name);
        Ok(columns.iter().position(|column| column.name == name))
    }

    fn condition(&mut self, expr: &ast::Expr, clause: &str) -> Result<Expr> {
        let typed = self.expr(expr)?;
        if !matches!(typed.pg_type, ty::BOOL | ty::UNKNOWN) {
            let shown = self.catalog.types.format(typed.pg_type, None);
            return Err(CatalogError::new(
                "42804",
                format!("argument of {clause} must be type boolean, not type {shown}"),
            ));
        }
        self.coerce(typed, ty::BOOL)
    }

    fn table_with_joins(&mut self, item: &TableWithJoins) -> Result<From> {
        let first = self.level().slots.len();
        let mut left = self.table_factor(&item.relation)?;
        for join in &item.joins {
            let middle = self.level().slots.len();
            let right = self.table_factor(&join.relation)?;
            let (kind, constraint) = match &join.join_operator {
                JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => ('i', constraint),
                JoinOperator::CrossJoin(constraint) => ('i', constraint),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => ('l', constraint),
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => ('r', constraint),
                JoinOperator::FullOuter(constraint) => ('f', constraint),
                _ => return Err(CatalogError::unsupported("this kind of join")),
            };
            let mut on = Vec::new();
            match constraint {
                JoinConstraint::None => {}
                JoinConstraint::On(condition) => {
                    let condition = self.condition(condition, "JOIN/ON")?;
                    split_and(condition, &mut on);
                }
                JoinConstraint::Using(names) => {
                    for name in names {
                        let (_, name) = object_name(name)?;
                        on.push(self.merge(&name, first, middle)?);
                    }
                }
                JoinConstraint::Natural => {
                    let slots = &self.level().slots;
                    let names = |from: &[Slot]| -> Vec<String> {
                        let shown = from.iter().flat_map(|slot| slot.columns.iter().take(slot.shown));
                        shown.map(|column| column.name.clone()).collect()
                    };
                    let (before, after) = (names(&slots[first..middle]), names(&slots[middle..]));
                    for name in before.iter().filter(|name| after.contains(name)) {
                        on.push(self.merge(name, first, middle)?);
                    }
                }
            }
            left = match kind {
                'i' => From::Inner { left: Box::new(left), right: Box::new(right), filter: on },
                'l' => left_join(left, right, on),
                'r' => left_join(right, left, on),
                _ => From::Full { left: Box::new(left), right: Box::new(right), on, filter: Vec::new() },
            };
        }
        Ok(left)
    }

    /// USING: the condition for one name, and the right column hidden behind the left.
    fn merge(&mut self, name: &str, first: usize, middle: usize) -> Result<Expr> {
        let find = |slots: &[Slot], from: usize| {
            slots.iter().enumerate().skip(from).find_map(|(at, slot)| {
                let column = slot.columns.iter().take(slot.shown).position(|column| column.name == name)?;
                (!slot.merged.contains(&column)).then_some((at, column, slot.columns[column].pg_type))
            })
        };
        let missing =
            || CatalogError::new("42703", format!("column \"{name}\" specified in USING clause does not exist"));
        let slots = &self.level().slots;
        let (ls, lc, lt) = find(&slots[..middle], first).ok_or_else(missing)?;
        let (rs, rc, rt) = find(slots, middle).ok_or_else(missing)?;
        self.level_mut().slots[rs].merged.insert(rc);
        let column = |slot, column, pg_type| Typed::new(Expr::Column { up: 0, slot, column }, pg_type);
        let (left, right) = self.comparable(column(ls, lc, lt), column(rs, rc, rt), "=")?;
        Ok(Expr::Compare { op: Comparison::Eq, left: Box::new(left), right: Box::new(right) })
    }

    fn add_slot(&mut self, slot: Slot) -> Result<usize> {
        let slots = &mut self.level_mut().slots;
        if slots.len() >= SLOTS_MAX {
            return Err(CatalogError::new("54000", format!("more than {SLOTS_MAX} relations in one FROM")));
        }
        if slots.iter().any(|other| other.alias == slot.alias && other.schema == slot.schema) {
            return Err(CatalogError::new("42712", format!("table name \"{}\" specified more than once", slot.alias)));
        }
        slots.push(slot);
        Ok(slots.len() - 1)
    }

    fn table_factor(&mut self, factor: &TableFactor) -> Result<From> {
        match factor {
            TableFactor::Table { name, alias, args: None, sample: None, .. } => self.table(name, alias.as_ref()),
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                self.function_table(name, &args.args, *with_ordinality, alias.as_ref())
            }
            TableFactor::Function { name, args, with_ordinality, alias, .. } => {
                self.function_table(name, args, *with_ordinality, alias.as_ref())
            }
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } => {
                let args = array_exprs.iter().map(|expr| self.expr(expr)).collect::<Result<Vec<_>>>()?;
                self.set_function("unnest", args, *with_ordinality, alias.as_ref())
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let shown: Vec<bool> = self.level().slots.iter().map(|slot| slot.hidden).collect();
                if !lateral {
                    self.level_mut().slots.iter_mut().for_each(|slot| slot.hidden = true);
                }
                let plan = self.sub_query(subquery);
                for (slot, hidden) in self.level_mut().slots.iter_mut().zip(shown) {
                    slot.hidden = hidden;
                }
                let plan = plan?;
                let columns = plan.query.columns.clone();
                let alias_name =
                    alias.as_ref().map_or_else(|| format!("unnamed {}", plan.id), |alias| ident(&alias.name));
                self.scan(alias_name, None, columns, alias.as_ref(), Source::Derived(plan))
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.table_with_joins(table_with_joins),
            _ => Err(CatalogError::unsupported("this kind of FROM item")),
        }
    }

    fn table(&mut self, name: &ObjectName, alias: Option<&TableAlias>) -> Result<From> {
        let (schema, table) = object_name(name)?;
        let shown = alias.map_or_else(|| table.clone(), |alias| ident(&alias.name));
        if schema.is_none()
            && let Some(cte) = self.ctes.iter().rev().find(|cte| cte.name == table)
        {
            let (id, columns, recursing, depth) = (cte.id, cte.columns.clone(), cte.recursing, cte.depth);
            if recursing || depth > 0 {
                self.frames.iter_mut().for_each(|frame| frame.volatile = true);
            }
            return self.scan(shown, None, columns, alias, Source::Cte(id));
        }
        let found = self.catalog.find(schema.as_deref(), &table, self.session);
        let Some(at) = found else {
            let full = schema.map_or_else(|| table.clone(), |schema| format!("{schema}.{table}"));
            return Err(CatalogError::new("42P01", format!("relation \"{full}\" does not exist")));
        };
        let relation = &self.catalog.system[at];
        let columns = relation.columns.iter().map(|column| OutputColumn {
            name: column.name.clone(),
            pg_type: column.pg_type,
            typmod: column.typmod,
            fields: Vec::new(),
        });
        let hidden = SYSTEM_COLUMNS.iter().map(|(name, pg_type)| OutputColumn {
            name: (*name).to_owned(),
            pg_type: *pg_type,
            typmod: -1,
            fields: Vec::new(),
        });
        let columns: Vec<OutputColumn> = columns.chain(hidden).collect();
        let schema = alias.is_none().then(|| namespace_name(relation.namespace));
        self.scan(shown, schema, columns, alias, Source::Table(at))
    }

    fn scan(
        &mut self,
        name: String,
        schema: Option<&'static str>,
        mut columns: Vec<OutputColumn>,
        alias: Option<&TableAlias>,
        source: Source,
    ) -> Result<From> {
        let width = columns.len();
        let shown = if matches!(source, Source::Table(_)) { width - SYSTEM_COLUMNS.len() } else { width };
        if let Some(alias) = alias {
            if alias.columns.len() > shown {
                let text = format!(
                    "table \"{name}\" has {shown} columns available but {} columns specified",
                    alias.columns.len()
                );
                return Err(CatalogError::new("42P10", text));
            }
            for (column, renamed) in columns.iter_mut().zip(&alias.columns) {
                column.name = ident(&renamed.name);
            }
        }
        let has_oid = match source {
            Source::Table(_) => columns.iter().position(|column| column.name == "oid"),
            _ => None,
        };
        let slot = self.add_slot(Slot {
            alias: name,
            schema,
            columns,
            shown,
            merged: BTreeSet::new(),
            hidden: false,
            has_oid,
        })?;
        Ok(From::Scan { slot, width, source, filter: Vec::new() })
    }

    fn function_table(
        &mut self,
        name: &ObjectName,
        args: &[ast::FunctionArg],
        ordinality: bool,
        alias: Option<&TableAlias>,
    ) -> Result<From> {
        let (_, function) = object_name(name)?;
        let mut bound = Vec::new();
        for arg in args {
            bound.push(match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => self.expr(expr)?,
                _ => return Err(CatalogError::unsupported("a named argument")),
            });
        }
        self.set_function(&function, bound, ordinality, alias)
    }

    fn set_function(
        &mut self,
        function: &str,
        args: Vec<Typed>,
        ordinality: bool,
        alias: Option<&TableAlias>,
    ) -> Result<From> {
        let name = alias.map_or_else(|| function.to_owned(), |alias| ident(&alias.name));
        let column =
            |name: &str, pg_type| OutputColumn { name: name.to_owned(), pg_type, typmod: -1, fields: Vec::new() };
        let Some(set) = self.set_function_named(function, args.clone())? else {
            let call = self.call(function, args)?;
            let columns = vec![column(&name, call.pg_type)];
            return self.scan(name, None, columns, alias, Source::Scalar(call.expr));
        };
        // A function of one unnamed column gives that column its own or its alias's name.
        let mut columns: Vec<OutputColumn> = match set.columns.as_slice() {
            [(field, pg_type)] if field.is_empty() => vec![column(&name, *pg_type)],
            fields => fields.iter().map(|(field, pg_type)| column(field, *pg_type)).collect(),
        };
        if ordinality {
            columns.push(column("ordinality", ty::INT8));
        }
        self.scan(name, None, columns, alias, Source::Function { function: set.function, args: set.args, ordinality })
    }
}

/// Where an item of the select list comes from.
enum ItemSource<'a> {
    Ast(&'a ast::Expr),
    Bound(Typed),
}

fn plain(body: Body, columns: Vec<OutputColumn>, order: Vec<SortKey>) -> QueryPlan {
    QueryPlan { ctes: Vec::new(), body, columns, order, distinct: None, limit: None, offset: None }
}

/// What is still of unknown type becomes text.
fn settle(columns: &mut [OutputColumn]) {
    for column in columns.iter_mut().filter(|column| column.pg_type == ty::UNKNOWN) {
        column.pg_type = ty::TEXT;
    }
}

/// An identifier as PostgreSQL reads it: in lower case unless quoted.
pub fn ident(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Schema and name; a database name before them is left out.
pub fn object_name(name: &ObjectName) -> Result<(Option<String>, String)> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident().map(ident)).collect();
    match parts.as_slice() {
        [name] => Ok((None, name.clone())),
        [schema, name] | [_, schema, name] => Ok((Some(schema.clone()), name.clone())),
        _ => Err(CatalogError::new("42601", format!("improper qualified name (too many dotted names): {name}"))),
    }
}

fn ordinal(expr: &ast::Expr) -> Option<usize> {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(number, _) => number.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn sort_key(column: usize, key: &OrderByExpr) -> SortKey {
    let descending = key.options.asc == Some(false);
    SortKey { column, descending, nulls_first: key.options.nulls_first.unwrap_or(descending) }
}

/// ORDER BY above a set operation or VALUES: only numbers and names of output columns.
fn output_order(columns: &[OutputColumn], order: &[OrderByExpr]) -> Result<Vec<SortKey>> {
    order
        .iter()
        .map(|key| {
            let column = match (ordinal(&key.expr), &key.expr) {
                (Some(number), _) => number.checked_sub(1).filter(|at| *at < columns.len()).ok_or_else(|| {
                    CatalogError::new("42P10", format!("ORDER BY position {number} is not in select list"))
                })?,
                (None, ast::Expr::Identifier(name)) => {
                    let name = ident(name);
                    columns
                        .iter()
                        .position(|column| column.name == name)
                        .ok_or_else(|| CatalogError::new("42703", format!("column \"{name}\" does not exist")))?
                }
                _ => {
                    let mut error = CatalogError::new("0A000", "invalid UNION/INTERSECT/EXCEPT ORDER BY clause");
                    error.hint = Some("Only result column names can be used, not expressions or functions.".to_owned());
                    return Err(error);
                }
            };
            Ok(sort_key(column, key))
        })
        .collect()
}

/// Refuses a column that is neither grouped by nor inside an aggregate; grouping by a relation's `oid` covers its columns.
fn check_grouped(expr: &Expr, keys: &[Expr], slots: &[Slot]) -> Result<()> {
    let grouped = |slot: usize, column: usize| {
        let key = |column| keys.contains(&Expr::Column { up: 0, slot, column });
        key(column) || slots[slot].has_oid.is_some_and(key)
    };
    let mut fault = None;
    expr.walk(&mut |part| {
        if fault.is_some() || keys.contains(part) {
            return false;
        }
        let own = match part {
            Expr::Column { up: 0, slot, column } => Some((*slot, *column)),
            Expr::WholeRow { up: 0, slot, .. } => Some((*slot, usize::MAX)),
            _ => None,
        };
        let inside = part.sub_plan().into_iter().flat_map(|plan| &plan.outer).filter(|(up, ..)| *up == 0);
        let columns = inside.map(|(_, slot, column)| (*slot, *column)).chain(own);
        fault = columns.into_iter().find(|(slot, column)| !grouped(*slot, *column));
        true
    });
    let Some((slot, column)) = fault else { return Ok(()) };
    let from = &slots[slot];
    let name = from.columns.get(column).map_or("*", |column| column.name.as_str());
    let alias = &from.alias;
    let text =
        format!("column \"{alias}.{name}\" must appear in the GROUP BY clause or be used in an aggregate function");
    Err(CatalogError::new("42803", text))
}
