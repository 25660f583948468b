//! Puts conditions where their columns are known, and FROM items in an order in which indexes can be used.

use crate::exec::key_of;
use crate::plan::{Expr, From, Source};

pub(super) fn split_and(condition: Expr, out: &mut Vec<Expr>) {
    match condition {
        Expr::And(list) => list.into_iter().for_each(|part| split_and(part, out)),
        other => out.push(other),
    }
}

pub(super) fn left_join(left: From, mut right: From, on: Vec<Expr>) -> From {
    for condition in on {
        push_down(&mut right, condition);
    }
    From::Left { left: Box::new(left), right: Box::new(right), filter: Vec::new() }
}

/// Gives a condition to the first part of FROM where all that it reads is known.
///
/// Not into the right side of an outer join that makes its NULLs: `a LEFT JOIN b ON … WHERE b.x IS NULL` asks about rows
/// that only exist above the join.
fn push_down(from: &mut From, condition: Expr) {
    let reads = condition.slots() & from.slots();
    match from {
        From::Scan { filter, .. } | From::Full { filter, .. } => filter.push(condition),
        From::Inner { left, right, .. } => {
            let side = if reads & !left.slots() == 0 { left } else { right };
            push_down(side, condition);
        }
        From::Left { left, filter, .. } => {
            if reads != 0 && reads & !left.slots() == 0 {
                push_down(left, condition);
            } else {
                filter.push(condition);
            }
        }
    }
}

/// Orders the inner joins so that each next item can be found by an equality, and hands out the conditions.
pub(super) fn arrange(from: From, mut conditions: Vec<Expr>) -> From {
    let mut items = Vec::new();
    flatten(from, &mut items, &mut conditions);
    let mut bound = 0_u64;
    let all = items.iter().fold(0, |all, item| all | item.slots());
    let mut result: Option<From> = None;
    while !items.is_empty() {
        let best = (0..items.len())
            .filter(|at| reads(&items[*at]) & all & !bound == 0)
            .min_by_key(|at| (reach(&items[*at], &conditions, bound), *at))
            .unwrap_or(0);
        let item = items.remove(best);
        bound |= item.slots();
        result = Some(match result {
            None => item,
            Some(left) => From::Inner { left: Box::new(left), right: Box::new(item), filter: Vec::new() },
        });
    }
    let mut result = result.expect("FROM has at least one item");
    for condition in conditions {
        push_down(&mut result, condition);
    }
    result
}

fn flatten(from: From, items: &mut Vec<From>, conditions: &mut Vec<Expr>) {
    match from {
        From::Inner { left, right, filter } => {
            conditions.extend(filter);
            flatten(*left, items, conditions);
            flatten(*right, items, conditions);
        }
        From::Left { left, right, filter } => {
            // What only the left side is asked for may come before the join.
            let (own, rest): (Vec<Expr>, Vec<Expr>) = std::mem::take(conditions)
                .into_iter()
                .partition(|condition| condition.slots() != 0 && condition.slots() & !left.slots() == 0);
            *conditions = rest;
            let (left, right) = (arrange(*left, own), arrange(*right, Vec::new()));
            items.push(From::Left { left: Box::new(left), right: Box::new(right), filter });
        }
        From::Full { left, right, on, filter } => {
            let (left, right) = (arrange(*left, Vec::new()), arrange(*right, Vec::new()));
            items.push(From::Full { left: Box::new(left), right: Box::new(right), on, filter });
        }
        other => items.push(other),
    }
}

/// The slots outside an item that its sources and filters read: it must come after them.
fn reads(from: &From) -> u64 {
    let of = |list: &[Expr]| list.iter().fold(0, |all, expr| all | expr.slots());
    let all = match from {
        From::Scan { source, filter, .. } => {
            of(filter)
                | match source {
                    Source::Function { args, .. } => of(args),
                    Source::Scalar(expr) => expr.slots(),
                    Source::Derived(plan) => {
                        plan.outer.iter().filter(|(up, ..)| *up == 0).fold(0, |all, (_, slot, _)| all | 1 << slot)
                    }
                    Source::Table(_) | Source::Cte(_) => 0,
                }
        }
        From::Inner { left, right, filter } | From::Left { left, right, filter } => {
            reads(left) | reads(right) | of(filter)
        }
        From::Full { left, right, on, filter } => reads(left) | reads(right) | of(on) | of(filter),
    };
    all & !from.slots()
}

/// How an item is reached from what is bound: 0 by a constant key, 1 by a key from bound items, 2 by reading it whole.
fn reach(from: &From, conditions: &[Expr], bound: u64) -> u8 {
    match from {
        From::Scan { slot, filter, .. } => {
            let keys =
                filter.iter().chain(conditions).filter_map(|condition| key_of(condition, *slot)).map(|(_, key)| key);
            let reach = keys.filter(|key| key.slots() & !bound == 0).map(|key| u8::from(key.slots() != 0)).min();
            reach.unwrap_or(2)
        }
        From::Left { left, .. } | From::Inner { left, .. } => reach(left, conditions, bound),
        From::Full { .. } => 2,
    }
}
