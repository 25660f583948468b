//! The names that references may use: every cube's members, granularities, rollups and join targets.

use std::collections::HashSet;

use indexmap::IndexMap;

use crate::definitions::{Definition, DefinitionKind};
use crate::spelling::snake_case;
use crate::yaml::Node;

#[derive(Debug, Default)]
pub(crate) struct Symbols {
    pub(crate) cubes: IndexMap<String, CubeSymbols>,
    pub(crate) views: HashSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct CubeSymbols {
    pub(crate) members: IndexMap<String, MemberSymbol>,
    pub(crate) pre_aggregations: HashSet<String>,
    /// Targets of its joins, whether they exist or not.
    pub(crate) joins: Vec<String>,
    /// Something of it could not be read, so a name that is not here may still be meant well.
    pub(crate) incomplete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberSymbol {
    /// `granularities` are its own ones; only a time dimension has any.
    Dimension {
        time: bool,
        granularities: Vec<String>,
    },
    Measure,
    Segment,
    Hierarchy,
}

impl MemberSymbol {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Dimension { .. } => "dimension",
            Self::Measure => "measure",
            Self::Segment => "segment",
            Self::Hierarchy => "hierarchy",
        }
    }
}

impl Symbols {
    pub(crate) fn of(definitions: &[Definition<'_>]) -> Self {
        let mut symbols = Self::default();
        for definition in definitions {
            match definition.kind {
                DefinitionKind::View => {
                    symbols.views.insert(definition.name.clone());
                }
                DefinitionKind::Cube => {
                    symbols.cubes.entry(definition.name.clone()).or_insert_with(|| cube_symbols(definition));
                }
            }
        }
        symbols
    }

    pub(crate) fn member(&self, cube: &str, member: &str) -> Option<&MemberSymbol> {
        self.cubes.get(cube)?.members.get(member)
    }
}

fn cube_symbols(definition: &Definition<'_>) -> CubeSymbols {
    let mut members = IndexMap::new();
    for item in definition.section("dimensions") {
        members.entry(item.name.clone()).or_insert_with(|| dimension_symbol(item.node));
    }
    for (section, symbol) in [
        ("measures", MemberSymbol::Measure),
        ("segments", MemberSymbol::Segment),
        ("hierarchies", MemberSymbol::Hierarchy),
    ] {
        for item in definition.section(section) {
            members.entry(item.name.clone()).or_insert_with(|| symbol.clone());
        }
    }
    CubeSymbols {
        members,
        pre_aggregations: definition.section("pre_aggregations").iter().map(|item| item.name.clone()).collect(),
        joins: definition.section("joins").iter().map(|item| item.name.clone()).collect(),
        incomplete: definition.incomplete,
    }
}

/// Looks no further than references need; what is malformed is reported when the dimension is read.
fn dimension_symbol(node: &Node) -> MemberSymbol {
    let get = |key: &str| node.as_map()?.iter().find(|entry| snake_case(&entry.key) == key).map(|entry| &entry.value);
    let time = get("type").and_then(Node::scalar_text).is_some_and(|kind| kind == "time");
    let granularities = get("granularities").and_then(Node::as_list).unwrap_or_default();
    let granularities =
        granularities.iter().filter_map(|item| item.get("name")?.scalar_text().map(str::to_owned)).collect();
    MemberSymbol::Dimension { time, granularities }
}
