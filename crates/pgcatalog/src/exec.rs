//! Computes the rows of a plan.
//!
//! Everything is small and in memory, so rows are plain vectors; what keeps it quick is that every equality on a column of
//! a relation uses an index, in joins and in correlated sub-queries alike.

mod eval;

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::casts;
use crate::catalog::{Catalog, Index, Row, Table};
use crate::error::{CatalogError, Result};
use crate::functions;
use crate::pg_types as ty;
use crate::plan::{
    AggregateCall, AggregateKind, Body, Comparison, Cte, DistinctBy, Expr, From, QueryPlan, SelectPlan, SetFunction,
    SetKind, Source, SubPlan, WindowCall, WindowKind,
};
use crate::snapshot::SessionFacts;
use crate::value::Value;

use eval::eval;

/// Rows looked at before a statement is refused: a cross join of large relations is a mistake or an attack.
const WORK_MAX: u64 = 30_000_000;
/// Rows that one step may hold.
const ROWS_MAX: usize = 500_000;

/// What a running statement sees and keeps.
pub struct Ctx<'a> {
    pub catalog: &'a Catalog,
    pub session: &'a SessionFacts,
    parameters: &'a [Value],
    interrupted: &'a dyn Fn() -> bool,
    work: Cell<u64>,
    /// Rows of sub-queries that stand alone, by their id.
    kept: RefCell<HashMap<usize, Arc<Vec<Row>>>>,
    ctes: RefCell<HashMap<usize, Arc<Vec<Row>>>>,
    tables: RefCell<HashMap<usize, Arc<Table>>>,
    /// Indexes over rows that are no relation's, by their address and column; the rows are held, so that the address stays theirs.
    indexes: RefCell<HashMap<(usize, usize), HeldIndex>>,
    regexes: RefCell<HashMap<(String, bool), Rc<Regex>>>,
}

type HeldIndex = (Arc<Vec<Row>>, Arc<Index>);

/// One row of each FROM item; items not reached yet have an empty one.
type Tuple = Vec<Row>;

/// Where expressions find columns and computed values, for one query level.
#[derive(Clone, Copy)]
pub struct Env<'e> {
    tuple: &'e [Row],
    aggregates: &'e [Value],
    windows: &'e [Value],
    srfs: &'e [Value],
    parent: Option<&'e Env<'e>>,
}

impl<'e> Env<'e> {
    fn of(tuple: &'e [Row], parent: Option<&'e Env<'e>>) -> Self {
        Self { tuple, aggregates: &[], windows: &[], srfs: &[], parent }
    }
}

impl<'a> Ctx<'a> {
    pub fn new(
        catalog: &'a Catalog,
        session: &'a SessionFacts,
        parameters: &'a [Value],
        interrupted: &'a dyn Fn() -> bool,
    ) -> Self {
        Self {
            catalog,
            session,
            parameters,
            interrupted,
            work: Cell::new(0),
            kept: RefCell::default(),
            ctes: RefCell::default(),
            tables: RefCell::default(),
            indexes: RefCell::default(),
            regexes: RefCell::default(),
        }
    }

    /// How many rows were looked at.
    #[cfg(test)]
    pub fn work(&self) -> u64 {
        self.work.get()
    }

    /// Counts one row of work.
    fn tick(&self) -> Result<()> {
        let work = self.work.get() + 1;
        self.work.set(work);
        if work.is_multiple_of(1024) && (self.interrupted)() {
            return Err(CatalogError::new("57014", "canceling statement due to user request"));
        }
        if work > WORK_MAX {
            return Err(CatalogError::new("54000", "statement over the system catalogs looks at too many rows"));
        }
        Ok(())
    }

    fn regex(&self, pattern: &str, insensitive: bool) -> Result<Rc<Regex>> {
        let key = (pattern.to_owned(), insensitive);
        if let Some(regex) = self.regexes.borrow().get(&key) {
            return Ok(Rc::clone(regex));
        }
        let regex = RegexBuilder::new(pattern)
            .case_insensitive(insensitive)
            .dot_matches_new_line(true)
            .build()
            .map_err(|_| CatalogError::new("2201B", format!("invalid regular expression: \"{pattern}\"")))?;
        let regex = Rc::new(regex);
        self.regexes.borrow_mut().insert(key, Rc::clone(&regex));
        Ok(regex)
    }

    fn table(&self, at: usize) -> Result<Arc<Table>> {
        if let Some(table) = self.tables.borrow().get(&at) {
            return Ok(Arc::clone(table));
        }
        let table = self.catalog.table(at, self.session)?;
        self.tables.borrow_mut().insert(at, Arc::clone(&table));
        Ok(table)
    }

    fn sub_rows(&self, plan: &SubPlan, env: &Env<'_>) -> Result<Arc<Vec<Row>>> {
        if !plan.constant {
            return run(self, &plan.query, Some(env)).map(Arc::new);
        }
        if let Some(rows) = self.kept.borrow().get(&plan.id) {
            return Ok(Arc::clone(rows));
        }
        let rows = Arc::new(run(self, &plan.query, Some(env))?);
        self.kept.borrow_mut().insert(plan.id, Arc::clone(&rows));
        Ok(rows)
    }
}

/// Runs a query; `parent` is the level around it.
pub fn run(ctx: &Ctx<'_>, plan: &QueryPlan, parent: Option<&Env<'_>>) -> Result<Vec<Row>> {
    run_ctes(ctx, &plan.ctes, parent)?;
    let mut rows = match &plan.body {
        Body::Select(select) => run_select(ctx, select, parent)?,
        Body::Values(values) => {
            let env = Env::of(&[], parent);
            let row = |row: &Vec<Expr>| row.iter().map(|expr| eval(ctx, expr, &env)).collect::<Result<Row>>();
            values.iter().map(row).collect::<Result<_>>()?
        }
        Body::SetOperation { kind, all, left, right, casts } => {
            let side = |plan: &QueryPlan, side: usize| -> Result<Vec<Row>> {
                let mut rows = run(ctx, plan, parent)?;
                if casts.iter().any(|cast| cast[side].0 != cast[side].1) {
                    for row in &mut rows {
                        let values = row.iter().zip(casts).map(|(value, cast)| {
                            let (from, to) = cast[side];
                            if from == to { Ok(value.clone()) } else { casts::cast(ctx, value.clone(), from, to, -1) }
                        });
                        *row = values.collect::<Result<Row>>()?;
                    }
                }
                Ok(rows)
            };
            combine(*kind, *all, side(left, 0)?, side(right, 1)?)
        }
    };
    check_size(&rows)?;
    if matches!(plan.distinct, Some(DistinctBy::Row)) {
        let mut seen = HashSet::new();
        rows.retain(|row| seen.insert(Arc::clone(row)));
    }
    if !plan.order.is_empty() {
        rows.sort_by(|a, b| {
            let keys = plan.order.iter();
            let mut orders = keys.map(|key| order(&a[key.column], &b[key.column], key.descending, key.nulls_first));
            orders.find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
        });
    }
    if let Some(DistinctBy::Columns(columns)) = &plan.distinct {
        let mut seen = HashSet::new();
        rows.retain(|row| seen.insert(columns.iter().map(|column| row[*column].clone()).collect::<Vec<_>>()));
    }
    let env = Env::of(&[], parent);
    let count = |expr: &Option<Expr>, what: &str, state: &'static str| -> Result<Option<usize>> {
        let Some(expr) = expr else { return Ok(None) };
        match eval(ctx, expr, &env)? {
            Value::Int(count) => usize::try_from(count)
                .map(Some)
                .map_err(|_| CatalogError::new(state, format!("{what} must not be negative"))),
            _ => Ok(None),
        }
    };
    if let Some(offset) = count(&plan.offset, "OFFSET", "2201X")? {
        rows.drain(..offset.min(rows.len()));
    }
    if let Some(limit) = count(&plan.limit, "LIMIT", "2201W")? {
        rows.truncate(limit);
    }
    let width = plan.columns.len();
    for row in &mut rows {
        if row.len() > width {
            *row = row[..width].into();
        }
    }
    Ok(rows)
}

/// Computes the rows of WITH queries, in order.
fn run_ctes(ctx: &Ctx<'_>, ctes: &[Cte], parent: Option<&Env<'_>>) -> Result<()> {
    for cte in ctes {
        run_ctes(ctx, &cte.inner, parent)?;
        let mut rows = run(ctx, &cte.query, parent)?;
        if let Some((step, all)) = &cte.step {
            let mut seen: HashSet<Row> = HashSet::new();
            if !all {
                rows.retain(|row| seen.insert(Arc::clone(row)));
            }
            let mut last = rows.clone();
            while !last.is_empty() {
                ctx.tick()?;
                ctx.ctes.borrow_mut().insert(cte.id, Arc::new(last));
                last = run(ctx, step, parent)?;
                if !all {
                    last.retain(|row| seen.insert(Arc::clone(row)));
                }
                rows.extend(last.iter().cloned());
                check_size(&rows)?;
            }
        }
        ctx.ctes.borrow_mut().insert(cte.id, Arc::new(rows));
    }
    Ok(())
}

fn check_size<T>(rows: &[T]) -> Result<()> {
    if rows.len() > ROWS_MAX {
        return Err(CatalogError::new("53200", "statement over the system catalogs makes too many rows"));
    }
    Ok(())
}

fn order(a: &Value, b: &Value, descending: bool, nulls_first: bool) -> Ordering {
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) => {
            if nulls_first {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (false, true) => {
            if nulls_first {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (false, false) => {
            if descending {
                b.cmp(a)
            } else {
                a.cmp(b)
            }
        }
    }
}

fn combine(kind: SetKind, all: bool, left: Vec<Row>, right: Vec<Row>) -> Vec<Row> {
    let mut rows = left;
    match kind {
        SetKind::Union => rows.extend(right),
        SetKind::Intersect | SetKind::Except => {
            let mut counts: HashMap<Row, usize> = HashMap::new();
            for row in right {
                *counts.entry(row).or_default() += 1;
            }
            rows.retain(|row| match counts.get_mut(row) {
                Some(count) if all && *count > 0 => {
                    *count -= 1;
                    kind == SetKind::Intersect
                }
                Some(_) if !all => kind == SetKind::Intersect,
                _ => kind == SetKind::Except,
            });
        }
    }
    if !all {
        let mut seen = HashSet::new();
        rows.retain(|row| seen.insert(Arc::clone(row)));
    }
    rows
}

fn run_select(ctx: &Ctx<'_>, plan: &SelectPlan, parent: Option<&Env<'_>>) -> Result<Vec<Row>> {
    let unset: Row = Arc::new([]);
    let blank: Tuple = vec![unset; plan.slots];
    let mut tuples = if holds(ctx, &plan.filter, &Env::of(&blank, parent))? {
        match &plan.from {
            None => vec![blank.clone()],
            Some(from) => extend(ctx, from, &blank, parent)?,
        }
    } else {
        Vec::new()
    };
    let mut aggregates: Vec<Vec<Value>> = Vec::new();
    if plan.grouped {
        let mut groups: HashMap<Vec<Value>, usize> = HashMap::new();
        let mut members: Vec<Vec<Tuple>> = Vec::new();
        for tuple in tuples {
            ctx.tick()?;
            let env = Env::of(&tuple, parent);
            let key = plan.keys.iter().map(|key| eval(ctx, key, &env)).collect::<Result<Vec<_>>>()?;
            let at = *groups.entry(key).or_insert(members.len());
            match members.get_mut(at) {
                Some(group) => group.push(tuple),
                None => members.push(vec![tuple]),
            }
        }
        if plan.keys.is_empty() && members.is_empty() {
            members.push(Vec::new());
        }
        tuples = Vec::new();
        for group in members {
            let calls = plan.aggregates.iter().map(|call| aggregate(ctx, call, &group, parent));
            let values = calls.collect::<Result<Vec<_>>>()?;
            let first = group.into_iter().next().unwrap_or_else(|| blank.clone());
            let keep = match &plan.having {
                None => true,
                Some(having) => {
                    let env = Env { aggregates: &values, ..Env::of(&first, parent) };
                    eval(ctx, having, &env)?.is_true()
                }
            };
            if keep {
                tuples.push(first);
                aggregates.push(values);
            }
        }
    }
    let windows = windows(ctx, &plan.windows, &tuples, &aggregates, parent)?;
    let mut rows = Vec::with_capacity(tuples.len());
    for (at, tuple) in tuples.iter().enumerate() {
        ctx.tick()?;
        let env = Env {
            aggregates: aggregates.get(at).map_or(&[], Vec::as_slice),
            windows: windows.get(at).map_or(&[], Vec::as_slice),
            ..Env::of(tuple, parent)
        };
        if plan.srfs.is_empty() {
            rows.push(plan.output.iter().map(|expr| eval(ctx, expr, &env)).collect::<Result<Row>>()?);
            continue;
        }
        // Set-returning functions of a select list go in step; the shorter ones are filled up with NULL.
        let mut sets = Vec::new();
        for (function, args) in &plan.srfs {
            let args = args.iter().map(|arg| eval(ctx, arg, &env)).collect::<Result<Vec<_>>>()?;
            sets.push(call_set(ctx, *function, &args)?);
        }
        for step in 0..sets.iter().map(Vec::len).max().unwrap_or(0) {
            ctx.tick()?;
            let values: Vec<Value> = sets
                .iter()
                .map(|set| match set.get(step) {
                    None => Value::Null,
                    Some(row) if row.len() == 1 => row[0].clone(),
                    Some(row) => Value::Record(row.clone().into()),
                })
                .collect();
            let env = Env { srfs: &values, ..env };
            rows.push(plan.output.iter().map(|expr| eval(ctx, expr, &env)).collect::<Result<Row>>()?);
        }
        check_size(&rows)?;
    }
    Ok(rows)
}

fn aggregate(ctx: &Ctx<'_>, call: &AggregateCall, group: &[Tuple], parent: Option<&Env<'_>>) -> Result<Value> {
    let mut rows: Vec<(Vec<Value>, Vec<Value>)> = Vec::new();
    for tuple in group {
        ctx.tick()?;
        let env = Env::of(tuple, parent);
        if let Some(filter) = &call.filter
            && !eval(ctx, filter, &env)?.is_true()
        {
            continue;
        }
        let args = call.args.iter().map(|arg| eval(ctx, arg, &env)).collect::<Result<Vec<_>>>()?;
        let keys = call.order.iter().map(|(key, ..)| eval(ctx, key, &env)).collect::<Result<Vec<_>>>()?;
        rows.push((args, keys));
    }
    if call.distinct {
        let mut seen = HashSet::new();
        rows.retain(|(args, _)| seen.insert(args.clone()));
        if call.order.is_empty() {
            rows.sort();
        }
    }
    if !call.order.is_empty() {
        rows.sort_by(|(_, a), (_, b)| {
            let keys = call.order.iter().zip(a.iter().zip(b));
            let mut orders = keys.map(|((_, descending, nulls_first), (a, b))| order(a, b, *descending, *nulls_first));
            orders.find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
        });
    }
    let values = || rows.iter().map(|(args, _)| &args[0]).filter(|value| !value.is_null());
    Ok(match call.kind {
        AggregateKind::CountRows => Value::Int(rows.len() as i64),
        AggregateKind::Count => Value::Int(values().count() as i64),
        AggregateKind::Sum => {
            let mut sum: Option<Value> = None;
            for value in values() {
                sum = Some(match (sum, value) {
                    (None, value) => value.clone(),
                    (Some(Value::Int(a)), Value::Int(b)) => {
                        Value::Int(a.checked_add(*b).ok_or_else(|| CatalogError::new("22003", "bigint out of range"))?)
                    }
                    (Some(Value::Float(a)), Value::Float(b)) => Value::Float(a + b),
                    (Some(other), _) => other,
                });
            }
            sum.unwrap_or(Value::Null)
        }
        AggregateKind::Min => values().min().cloned().unwrap_or(Value::Null),
        AggregateKind::Max => values().max().cloned().unwrap_or(Value::Null),
        AggregateKind::BoolAnd => match values().next() {
            None => Value::Null,
            Some(_) => Value::Bool(values().all(Value::is_true)),
        },
        AggregateKind::BoolOr => match values().next() {
            None => Value::Null,
            Some(_) => Value::Bool(values().any(Value::is_true)),
        },
        AggregateKind::StringAgg => {
            let mut out: Option<String> = None;
            for (args, _) in rows.iter().filter(|(args, _)| !args[0].is_null()) {
                match &mut out {
                    None => out = Some(args[0].as_str().to_owned()),
                    Some(out) => {
                        out.push_str(args[1].as_str());
                        out.push_str(args[0].as_str());
                    }
                }
            }
            out.map_or(Value::Null, Value::text)
        }
        AggregateKind::ArrayAgg if rows.is_empty() => Value::Null,
        AggregateKind::ArrayAgg => Value::array(rows.iter().map(|(args, _)| args[0].clone()).collect()),
    })
}

/// The window values of every row, or nothing when there are no window functions.
fn windows(
    ctx: &Ctx<'_>,
    calls: &[WindowCall],
    tuples: &[Tuple],
    aggregates: &[Vec<Value>],
    parent: Option<&Env<'_>>,
) -> Result<Vec<Vec<Value>>> {
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let mut out = vec![Vec::with_capacity(calls.len()); tuples.len()];
    for call in calls {
        let mut keyed = Vec::with_capacity(tuples.len());
        for (at, tuple) in tuples.iter().enumerate() {
            let env = Env { aggregates: aggregates.get(at).map_or(&[], Vec::as_slice), ..Env::of(tuple, parent) };
            let part = call.partition.iter().map(|key| eval(ctx, key, &env)).collect::<Result<Vec<_>>>()?;
            let keys = call.order.iter().map(|(key, ..)| eval(ctx, key, &env)).collect::<Result<Vec<_>>>()?;
            keyed.push((part, keys, at));
        }
        keyed.sort_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| {
                let keys = call.order.iter().zip(a.1.iter().zip(&b.1));
                let mut orders =
                    keys.map(|((_, descending, nulls_first), (a, b))| order(a, b, *descending, *nulls_first));
                orders.find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
            })
        });
        let mut sizes: HashMap<&Vec<Value>, i64> = HashMap::new();
        for (part, ..) in &keyed {
            *sizes.entry(part).or_default() += 1;
        }
        let (mut number, mut rank, mut dense) = (0, 0, 0);
        for (place, (part, keys, at)) in keyed.iter().enumerate() {
            let before = place.checked_sub(1).map(|before| &keyed[before]).filter(|before| before.0 == *part);
            if before.is_none() {
                (number, rank, dense) = (0, 0, 0);
            }
            number += 1;
            if before.is_none_or(|before| before.1 != *keys) {
                rank = number;
                dense += 1;
            }
            out[*at].push(Value::Int(match call.kind {
                WindowKind::RowNumber => number,
                WindowKind::Rank => rank,
                WindowKind::DenseRank => dense,
                WindowKind::CountRows => sizes[part],
            }));
        }
    }
    Ok(out)
}

/// All ways to add the rows of `from` to a tuple.
fn extend(ctx: &Ctx<'_>, from: &From, tuple: &Tuple, parent: Option<&Env<'_>>) -> Result<Vec<Tuple>> {
    let mut out = Vec::new();
    match from {
        From::Scan { slot, source, filter, .. } => scan(ctx, *slot, source, filter, tuple, parent, &mut out)?,
        From::Inner { left, right, filter } => {
            for tuple in extend(ctx, left, tuple, parent)? {
                for tuple in extend(ctx, right, &tuple, parent)? {
                    if holds(ctx, filter, &Env::of(&tuple, parent))? {
                        out.push(tuple);
                    }
                }
                check_size(&out)?;
            }
        }
        From::Left { left, right, filter } => {
            let nulls = null_rows(right);
            for tuple in extend(ctx, left, tuple, parent)? {
                let mut matches = extend(ctx, right, &tuple, parent)?;
                if matches.is_empty() {
                    matches.push(with_nulls(&tuple, &nulls));
                }
                for tuple in matches {
                    if holds(ctx, filter, &Env::of(&tuple, parent))? {
                        out.push(tuple);
                    }
                }
                check_size(&out)?;
            }
        }
        From::Full { left, right, on, filter } => {
            let lefts = extend(ctx, left, tuple, parent)?;
            let rights = extend(ctx, right, tuple, parent)?;
            let right_slots: Vec<usize> = null_rows(right).into_iter().map(|(slot, _)| slot).collect();
            let mut matched = vec![false; rights.len()];
            let mut all = Vec::new();
            for left in &lefts {
                let mut found = false;
                for (at, right) in rights.iter().enumerate() {
                    ctx.tick()?;
                    let mut both = left.clone();
                    for slot in &right_slots {
                        both[*slot] = Arc::clone(&right[*slot]);
                    }
                    if holds(ctx, on, &Env::of(&both, parent))? {
                        found = true;
                        matched[at] = true;
                        all.push(both);
                    }
                }
                if !found {
                    all.push(with_nulls(left, &null_rows(right)));
                }
                check_size(&all)?;
            }
            for (right, _) in rights.iter().zip(&matched).filter(|(_, matched)| !**matched) {
                all.push(with_nulls(right, &null_rows(left)));
            }
            for tuple in all {
                if holds(ctx, filter, &Env::of(&tuple, parent))? {
                    out.push(tuple);
                }
            }
        }
    }
    Ok(out)
}

/// The slots of a part of FROM, each with a row of NULLs.
fn null_rows(from: &From) -> Vec<(usize, Row)> {
    match from {
        From::Scan { slot, width, .. } => vec![(*slot, vec![Value::Null; *width].into())],
        From::Inner { left, right, .. } | From::Left { left, right, .. } | From::Full { left, right, .. } => {
            let mut rows = null_rows(left);
            rows.extend(null_rows(right));
            rows
        }
    }
}

fn with_nulls(tuple: &Tuple, nulls: &[(usize, Row)]) -> Tuple {
    let mut tuple = tuple.clone();
    for (slot, row) in nulls {
        tuple[*slot] = Arc::clone(row);
    }
    tuple
}

fn holds(ctx: &Ctx<'_>, conditions: &[Expr], env: &Env<'_>) -> Result<bool> {
    for condition in conditions {
        if !eval(ctx, condition, env)?.is_true() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The rows behind a FROM item.
enum Rows {
    Table(Arc<Table>),
    Plain(Arc<Vec<Row>>),
}

impl Rows {
    fn all(&self) -> &[Row] {
        match self {
            Self::Table(table) => &table.rows,
            Self::Plain(rows) => rows,
        }
    }

    fn index(&self, ctx: &Ctx<'_>, column: usize) -> Arc<Index> {
        match self {
            Self::Table(table) => table.index(column),
            Self::Plain(rows) => {
                let key = (Arc::as_ptr(rows) as usize, column);
                if let Some((_, index)) = ctx.indexes.borrow().get(&key) {
                    return Arc::clone(index);
                }
                let mut index = Index::new();
                for (at, row) in rows.iter().enumerate() {
                    index.entry(row[column].clone()).or_default().push(at as u32);
                }
                let index = Arc::new(index);
                ctx.indexes.borrow_mut().insert(key, (Arc::clone(rows), Arc::clone(&index)));
                index
            }
        }
    }
}

/// Below this many rows looking at each is quicker than an index.
const INDEX_ROWS_MIN: usize = 16;

fn scan(
    ctx: &Ctx<'_>,
    slot: usize,
    source: &Source,
    filter: &[Expr],
    tuple: &Tuple,
    parent: Option<&Env<'_>>,
    out: &mut Vec<Tuple>,
) -> Result<()> {
    let env = Env::of(tuple, parent);
    let mut lasting = true;
    let rows = match source {
        Source::Table(at) => Rows::Table(ctx.table(*at)?),
        Source::Cte(id) => Rows::Plain(ctx.ctes.borrow().get(id).map(Arc::clone).unwrap_or_default()),
        Source::Derived(plan) => {
            lasting = plan.constant;
            Rows::Plain(ctx.sub_rows(plan, &env)?)
        }
        Source::Function { function, args, ordinality } => {
            lasting = false;
            let args = args.iter().map(|arg| eval(ctx, arg, &env)).collect::<Result<Vec<_>>>()?;
            let mut rows = call_set(ctx, *function, &args)?;
            if *ordinality {
                rows.iter_mut().enumerate().for_each(|(at, row)| row.push(Value::Int(at as i64 + 1)));
            }
            Rows::Plain(Arc::new(rows.into_iter().map(Into::into).collect()))
        }
        Source::Scalar(expr) => {
            lasting = false;
            let value = eval(ctx, expr, &env)?;
            Rows::Plain(Arc::new(vec![Arc::new([value])]))
        }
    };
    // One tuple is tried with row after row, and copied only when it is kept.
    let mut tried = tuple.clone();
    let mut keep = |row: &Row| -> Result<()> {
        ctx.tick()?;
        tried[slot] = Arc::clone(row);
        if holds(ctx, filter, &Env::of(&tried, parent))? {
            out.push(tried.clone());
        }
        Ok(())
    };
    let all = rows.all();
    let mut keys = filter.iter().filter_map(|condition| key_of(condition, slot)).peekable();
    if !lasting || all.len() < INDEX_ROWS_MIN || keys.peek().is_none() {
        all.iter().try_for_each(&mut keep)?;
        return check_size(out);
    }
    // Of several keys, the one with the fewest rows; the first short list will do.
    let mut best: Option<(Arc<Index>, Value, usize)> = None;
    for (column, key) in keys {
        let value = eval(ctx, key, &env)?;
        if value.is_null() {
            return Ok(());
        }
        let index = rows.index(ctx, column);
        let count = index.get(&value).map_or(0, Vec::len);
        if best.as_ref().is_none_or(|(_, _, fewest)| count < *fewest) {
            best = Some((index, value, count));
        }
        if count < INDEX_ROWS_MIN {
            break;
        }
    }
    if let Some((index, value, _)) = best {
        for at in index.get(&value).map_or(&[][..], Vec::as_slice) {
            keep(&all[*at as usize])?;
        }
    }
    check_size(out)
}

/// For `column of slot = key`: the column, and the key when it does not read the slot itself.
pub fn key_of(condition: &Expr, slot: usize) -> Option<(usize, &Expr)> {
    let Expr::Compare { op: Comparison::Eq, left, right } = condition else { return None };
    let column = |expr: &Expr| match expr {
        Expr::Column { up: 0, slot: at, column } if *at == slot => Some(*column),
        _ => None,
    };
    let free = |expr: &Expr| expr.slots() & (1 << slot) == 0;
    match (column(left), column(right)) {
        (Some(column), _) if free(right) => Some((column, right)),
        (_, Some(column)) if free(left) => Some((column, left)),
        _ => None,
    }
}

fn call_set(ctx: &Ctx<'_>, function: SetFunction, args: &[Value]) -> Result<Vec<Vec<Value>>> {
    let absent = args.iter().any(Value::is_null);
    Ok(match function {
        _ if absent => Vec::new(),
        SetFunction::GenerateSeries => {
            let number = |at: usize| args.get(at).and_then(Value::as_int);
            let (from, to, step) = (number(0).unwrap_or(0), number(1).unwrap_or(0), number(2).unwrap_or(1));
            if step == 0 {
                return Err(CatalogError::new("22023", "step size cannot equal zero"));
            }
            let mut rows = Vec::new();
            let mut next = Some(from);
            while let Some(value) = next.filter(|value| if step > 0 { *value <= to } else { *value >= to }) {
                ctx.tick()?;
                rows.push(vec![Value::Int(value)]);
                check_size(&rows)?;
                next = value.checked_add(step);
            }
            rows
        }
        SetFunction::GenerateSubscripts => match &args[0] {
            Value::Array(array) if args[1].as_int() == Some(1) => {
                let mut rows: Vec<Vec<Value>> =
                    (array.lower..array.lower + array.items.len() as i64).map(|at| vec![Value::Int(at)]).collect();
                if args.get(2).is_some_and(Value::is_true) {
                    rows.reverse();
                }
                rows
            }
            _ => Vec::new(),
        },
        SetFunction::Unnest => args[0].items().iter().map(|item| vec![item.clone()]).collect(),
        SetFunction::ExpandArray => {
            let items = args[0].items().iter().enumerate();
            items.map(|(at, item)| vec![item.clone(), Value::Int(at as i64 + 1)]).collect()
        }
        SetFunction::Keywords => functions::keywords(),
        SetFunction::TimezoneNames => {
            let at = ctx.catalog.find(Some("pg_catalog"), "pg_timezone_names", ctx.session);
            match at {
                Some(at) => ctx.table(at)?.rows.iter().map(|row| row[..4].to_vec()).collect(),
                None => Vec::new(),
            }
        }
        SetFunction::OptionsToTable => {
            let split = |item: &Value| match item.as_str().split_once('=') {
                Some((name, value)) => vec![Value::text(name), Value::text(value)],
                None => vec![item.clone(), Value::Null],
            };
            args[0].items().iter().map(split).collect()
        }
        SetFunction::AclExplode | SetFunction::Nothing => Vec::new(),
    })
}

/// The value of a parameter that the client gave as text, as the type that the statement wants.
pub fn parameter(ctx: &Ctx<'_>, text: &str, to: ty::Oid) -> Result<Value> {
    casts::cast(ctx, Value::text(text), ty::TEXT, to, -1)
}
