//! The catalog as one user has it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use belvedere_model::{Cube, FilterCondition, MemberKind, Model, ModelFilter, View, ViewMemberValue};
use indexmap::IndexMap;

use crate::catalog::{Catalog, DefaultFilter, MaskedMember, MemberColumn, ViewTable};
use crate::expand::choose_join_tree::join_between;

use super::condition::all_of;
use super::grants::{Access, Grants};
use super::{Identity, Policies};

/// The tables and columns that `identity` is granted; a table without any column is not there. Reading them is restricted to the
/// rows that its policies allow.
#[must_use]
pub fn seen_by(catalog: &Catalog, identity: &Identity) -> Catalog {
    let model = &catalog.model;
    let cubes: HashMap<String, Grants> = model
        .cubes
        .values()
        .filter(|cube| !cube.access_policies.is_empty())
        .map(|cube| {
            let member = |name: &str| cube_member(model, cube, name);
            (cube.naming.name.clone(), Grants::of(&cube.access_policies, identity, &member))
        })
        .collect();
    let mut tables = IndexMap::new();
    let mut hidden: Vec<String> = Vec::new();
    for (name, table) in &catalog.tables {
        let seen = match (model.views.get(name), cubes.get(name)) {
            (Some(view), _) => view_table(table, view, identity),
            (None, Some(grants)) => granted(table, Some(grants), None),
            (None, None) => Some(Arc::clone(table)),
        };
        let columns = seen.as_ref().map(|seen| &seen.columns);
        hidden.extend(
            table.columns.keys().filter(|column| columns.is_none_or(|columns| !columns.contains_key(*column))).cloned(),
        );
        match seen {
            Some(seen) => {
                tables.insert(name.clone(), seen);
            }
            None => hidden.push(name.clone()),
        }
    }
    // What is seen anywhere is no secret.
    hidden.retain(|name| {
        !tables.contains_key(name) && !tables.values().any(|table: &Arc<ViewTable>| table.columns.contains_key(name))
    });
    Catalog {
        model: Arc::clone(model),
        tables,
        sources: Arc::clone(&catalog.sources),
        policies: Arc::new(Policies::Of { identity: identity.clone(), cubes }),
        hidden: Arc::new(hidden.into_iter().collect()),
        rollups: Arc::clone(&catalog.rollups),
    }
}

fn view_table(table: &Arc<ViewTable>, view: &View, identity: &Identity) -> Option<Arc<ViewTable>> {
    let member = |name: &str| view_member(view, name);
    let grants = (!view.access_policies.is_empty()).then(|| Grants::of(&view.access_policies, identity, &member));
    let defaults = view.default_filters.iter().map(|filter| default_filter(filter, view, identity)).collect::<Vec<_>>();
    if grants.is_none() && defaults.is_empty() {
        return Some(Arc::clone(table));
    }
    let seen = granted(table, grants.as_ref(), grants.clone().map(Arc::new))?;
    if defaults.is_empty() {
        return Some(seen);
    }
    let mut seen = ViewTable::new(seen.name.clone(), seen.columns.clone(), seen.unsupported.clone());
    seen.root.clone_from(&table.root);
    seen.grants = grants.map(Arc::new);
    seen.default_filters = defaults;
    Some(Arc::new(seen))
}

/// The table with the members that are granted; `None` without any.
fn granted(table: &Arc<ViewTable>, grants: Option<&Grants>, of_view: Option<Arc<Grants>>) -> Option<Arc<ViewTable>> {
    let Some(grants) = grants else { return Some(Arc::clone(table)) };
    let mut columns = IndexMap::new();
    for (name, column) in &table.columns {
        let mask = match grants.access(name) {
            Access::Hidden => continue,
            Access::Shown => None,
            Access::Masked(shown_where) => Some(Arc::new(MaskedMember { shown_where })),
        };
        columns.insert(name.clone(), MemberColumn { mask, ..column.clone() });
    }
    if columns.is_empty() {
        return None;
    }
    let mut seen = ViewTable::new(table.name.clone(), columns, table.unsupported.clone());
    seen.root.clone_from(&table.root);
    seen.grants = of_view;
    Some(Arc::new(seen))
}

fn default_filter(filter: &ModelFilter, view: &View, identity: &Identity) -> DefaultFilter {
    let mut switched_off_by = Vec::new();
    names_in(filter, &mut switched_off_by);
    let member = |name: &str| view_member(view, name);
    DefaultFilter {
        condition: all_of(std::slice::from_ref(filter), identity, &member),
        switched_off_by: switched_off_by.iter().map(|name| own_name(&view.naming.name, name).to_owned()).collect(),
    }
}

fn names_in(filter: &ModelFilter, into: &mut Vec<String>) {
    match &filter.condition {
        FilterCondition::And(inner) | FilterCondition::Or(inner) => {
            inner.iter().for_each(|filter| names_in(filter, into));
        }
        FilterCondition::Member { member, unless, .. } => {
            into.push(member.clone());
            into.extend(unless.iter().cloned());
        }
    }
}

/// `status` of `CUBE.status`, `{CUBE}.status`, `orders.status`.
fn own_name<'n>(owner: &str, written: &'n str) -> &'n str {
    match written.split_once('.') {
        Some((first, name)) if [owner, "CUBE", "TABLE"].contains(&first.trim_matches(['{', '}', '$'])) => name,
        _ => written,
    }
}

/// The member that a filter of a view names.
fn view_member(view: &View, written: &str) -> Result<MemberColumn, String> {
    let name = own_name(&view.naming.name, written);
    let unknown = || format!("a filter of view \"{}\" names \"{written}\", which is no member of it", view.naming.name);
    let member = view.members.get(name).ok_or_else(unknown)?;
    rows_only(member.kind, &view.naming.name, name)?;
    Ok(match &member.value {
        ViewMemberValue::Included { path, member: included } => tested(member.kind, path.clone(), included, None),
        ViewMemberValue::OwnDimension(_) | ViewMemberValue::OwnMeasure(_) => {
            tested(member.kind, Vec::new(), name, Some(view.naming.name.clone()))
        }
    })
}

/// The member that a filter of a cube names: its own, or one of a cube that it is joined to.
fn cube_member(model: &Model, cube: &Cube, written: &str) -> Result<MemberColumn, String> {
    let owner = &cube.naming.name;
    let mut path = vec![owner.clone()];
    let name = own_name(owner, written);
    let mut names: Vec<&str> = name.split('.').collect();
    let member = names.pop().unwrap_or_default();
    let unknown = || format!("a filter of cube \"{owner}\" names \"{written}\", which it cannot reach");
    for step in names {
        let from = path.last().map_or("", String::as_str);
        join_between(model, from, step).ok_or_else(unknown)?;
        path.push(step.to_owned());
    }
    let last = path.last().and_then(|cube| model.cubes.get(cube)).ok_or_else(unknown)?;
    let kind = if last.dimensions.contains_key(member) {
        MemberKind::Dimension
    } else if last.segments.contains_key(member) {
        MemberKind::Segment
    } else if last.measures.contains_key(member) {
        MemberKind::Measure
    } else {
        return Err(unknown());
    };
    rows_only(kind, owner, member)?;
    Ok(tested(kind, path, member, None))
}

fn rows_only(kind: MemberKind, owner: &str, member: &str) -> Result<(), String> {
    match kind {
        MemberKind::Dimension | MemberKind::Segment => Ok(()),
        MemberKind::Measure => Err(format!(
            "a filter of \"{owner}\" names the measure \"{member}\", and filters of rows by measures are not supported"
        )),
    }
}

fn tested(kind: MemberKind, path: Vec<String>, member: &str, view: Option<String>) -> MemberColumn {
    let field = Field::new(member, DataType::Null, true);
    MemberColumn { kind, path, member: member.to_owned(), view, values_of: None, field, mask: None }
}
