//! What a model must hold beyond the shape of each item; one file a fault.

use std::collections::HashSet;

use crate::definitions::{Definition, DefinitionKind};
use crate::problems::Problems;
use crate::symbols::{MemberSymbol, Symbols};
use crate::{Cube, MemberRef, Model};

pub(crate) mod aggregate_of_measure;
pub(crate) mod data_in_view;
pub(crate) mod filter_value;
pub(crate) mod foreign_column;
pub(crate) mod foreign_join_column;
pub(crate) mod join_twice;
pub(crate) mod key_of_dimension;
pub(crate) mod measure_in_row_sql;
pub(crate) mod member_in_cube_sql;
pub(crate) mod missing_primary_key;
pub(crate) mod name_collision;
pub(crate) mod reference_cycle;
pub(crate) mod unknown_filter_member;

/// What the checks of a whole model need to know besides it.
pub(crate) struct Checked<'a> {
    symbols: &'a Symbols,
    /// Cube and member, or cube and `→ target` of a join.
    inherited: HashSet<(String, String)>,
}

impl<'a> Checked<'a> {
    pub(crate) fn new(definitions: &'a [Definition<'_>], symbols: &'a Symbols) -> Self {
        let cubes = definitions.iter().filter(|definition| definition.kind == DefinitionKind::Cube);
        let items = cubes.flat_map(|cube| {
            cube.sections.iter().flat_map(move |(section, items)| {
                items.iter().filter(|item| item.inherited).map(move |item| {
                    let name = if *section == "joins" { format!("→ {}", item.name) } else { item.name.clone() };
                    (cube.name.clone(), name)
                })
            })
        });
        Self { symbols, inherited: items.collect() }
    }

    /// What its definition reports already need not be reported again.
    pub(crate) fn is_inherited(&self, cube: &str, member: &str) -> bool {
        self.inherited.contains(&(cube.to_owned(), member.to_owned()))
    }

    pub(crate) fn is_inherited_join(&self, cube: &str, target: &str) -> bool {
        self.is_inherited(cube, &format!("→ {target}"))
    }

    pub(crate) fn is_measure(&self, member: &MemberRef) -> bool {
        self.symbols.member(member.cube(), &member.member) == Some(&MemberSymbol::Measure)
    }

    pub(crate) fn has_unread_dimensions(&self, cube: &Cube) -> bool {
        let symbols =
            self.symbols.cubes.get(&cube.naming.name).into_iter().flat_map(|symbols| symbols.members.values());
        symbols.filter(|symbol| matches!(symbol, MemberSymbol::Dimension { .. })).count() != cube.dimensions.len()
    }
}

/// Runs the checks that look at the whole model.
pub(crate) fn check(model: &Model, checked: &Checked<'_>, problems: &mut Problems) {
    missing_primary_key::check(model, checked, problems);
    for cube in model.cubes.values() {
        measure_in_row_sql::check(cube, checked, problems);
        aggregate_of_measure::check(cube, checked, problems);
        key_of_dimension::check(cube, checked, problems);
    }
    reference_cycle::check(model, checked, problems);
}
