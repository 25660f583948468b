//! Access policies, resolved for one user (reference 1.20): which members are there, which are masked, which rows.
//!
//! [`seen_by`] makes of a whole catalog the one that a user has: what is not granted is not in it, so that no name, hint or
//! error can tell of it. Row filters of cubes stay with [`Policies`] and stand directly above each cube's scan; those of views stand
//! above the joined rows ([`Restrictions`]). Both end in a [`RowBarrier`](crate::nodes::row_barrier::RowBarrier): nothing that a user
//! writes is evaluated on a row that the user may not see.
//!
//! When it would be wrong to leave the barrier out: `WHERE 1 / (amount - 7) > 0` beside the row filter, in either order, would tell by its
//! error whether a hidden row has the amount 7.

pub mod condition;
pub mod grants;
pub mod hide;
mod restrictions;
mod seen_by;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use belvedere_functions::Zone;
use belvedere_model::{ContextPath, ContextValue, Cube};

use crate::catalog::{Catalog, ViewTable};
use crate::error::{PlanError, Result};
use crate::members;

pub use restrictions::{Guard, Restrictions};
pub use seen_by::seen_by;

use grants::{Grants, Rows};

/// All that policies may ask of a user. It comes from the configuration, and nothing that a client says changes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// `None` where nobody was asked for a password: any name could be claimed.
    pub user: Option<String>,
    pub groups: BTreeSet<String>,
    pub attributes: BTreeMap<String, String>,
    /// Dates in row filters are days of this zone: a session's own zone must not move the border.
    pub zone: Zone,
    /// What members show that are masked and say nothing of how.
    pub masks: Arc<DefaultMasks>,
}

/// The masks of members that have none of their own (reference A6), as text; NULL where there is none either.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct DefaultMasks {
    pub string: Option<String>,
    pub number: Option<String>,
    pub boolean: Option<String>,
    pub time: Option<String>,
}

/// Which of the [`DefaultMasks`] is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskKind {
    String,
    Number,
    Boolean,
    Time,
}

impl Identity {
    /// Nobody in particular, in no group.
    #[must_use]
    pub fn nobody(zone: Zone) -> Self {
        Self { user: None, groups: BTreeSet::new(), attributes: BTreeMap::new(), zone, masks: Arc::default() }
    }

    /// What a path of the model leads to.
    #[must_use]
    pub fn known(&self, path: &ContextPath) -> ContextValue {
        match path {
            ContextPath::Attribute(name) => {
                self.attributes.get(name).cloned().map_or(ContextValue::Missing, ContextValue::One)
            }
            ContextPath::Groups => ContextValue::Many(self.groups.iter().cloned().collect()),
            ContextPath::User => self.user.clone().map_or(ContextValue::Missing, ContextValue::One),
        }
    }
}

/// The row filters of a catalog's cubes.
#[derive(Debug, Default)]
pub enum Policies {
    /// Of nobody yet: a cube with policies cannot be read.
    #[default]
    Unresolved,
    Of {
        /// Whose they are.
        identity: Identity,
        /// Of the cubes that have policies, by name.
        cubes: HashMap<String, Grants>,
    },
}

impl Policies {
    /// Which rows of `cube` a query may read that asks for `members` of it.
    ///
    /// # Errors
    /// XX000 where the catalog is no user's.
    pub fn rows(&self, cube: &Cube, members: &BTreeSet<String>) -> Result<Rows> {
        if cube.access_policies.is_empty() {
            return Ok(Rows::All);
        }
        match self {
            Self::Unresolved => Err(PlanError::internal(format!(
                "cube \"{}\" with access policies is read for nobody",
                cube.naming.name
            ))),
            Self::Of { cubes, .. } => {
                Ok(cubes.get(&cube.naming.name).map_or(Rows::none(), |grants| grants.rows(members)))
            }
        }
    }

    /// The zone of dates in row filters.
    #[must_use]
    pub fn zone(&self) -> Zone {
        match self {
            Self::Unresolved => Zone::UTC,
            Self::Of { identity, .. } => identity.zone,
        }
    }

    /// What a masked member shows that has no mask of its own.
    #[must_use]
    pub fn default_mask(&self, kind: MaskKind) -> Option<&str> {
        let Self::Of { identity: Identity { masks, .. }, .. } = self else { return None };
        match kind {
            MaskKind::String => masks.string.as_deref(),
            MaskKind::Number => masks.number.as_deref(),
            MaskKind::Boolean => masks.boolean.as_deref(),
            MaskKind::Time => masks.time.as_deref(),
        }
    }

    /// What is known of the user; nothing of nobody.
    #[must_use]
    pub fn known(&self, path: &ContextPath) -> ContextValue {
        match self {
            Self::Unresolved => ContextValue::Missing,
            Self::Of { identity, .. } => identity.known(path),
        }
    }
}

/// Whether a policy restricts the table, or a cube that it may be joined to.
#[must_use]
pub fn restricts(catalog: &Catalog, table: &ViewTable) -> bool {
    let model = &catalog.model;
    if model.views.get(&table.name).is_some_and(|view| !view.access_policies.is_empty()) {
        return true;
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut todo: Vec<&str> = match model.views.get(&table.name) {
        Some(view) => view.join_paths.iter().flatten().map(String::as_str).collect(),
        None => vec![table.name.as_str()],
    };
    todo.extend(table.columns.values().flat_map(|column| &column.path).map(String::as_str));
    while let Some(name) = todo.pop() {
        let Some(cube) = model.cubes.get(name).filter(|_| seen.insert(name)) else { continue };
        if !cube.access_policies.is_empty() || members::reads_context(model, cube) {
            return true;
        }
        todo.extend(cube.joins.iter().map(|join| join.target.as_str()));
    }
    false
}
