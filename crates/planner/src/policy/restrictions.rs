//! What a query over view tables is restricted by, beside its own conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use belvedere_functions::Zone;
use datafusion_common::Column;

use crate::catalog::MemberColumn;
use crate::error::Result;
use crate::expand::hints::member;
use crate::lower::joined_rows::Planning;
use crate::nodes::fact_leg::LegScan;

use super::condition::Condition;
use super::grants::Rows;

/// A condition on joined rows that the statement does not have.
#[derive(Debug, Clone, PartialEq)]
pub struct Guard {
    pub condition: Condition,
    /// The zone that its dates are days of.
    pub zone: Zone,
    /// A row filter: it must restrict everything that is read, and nothing else is evaluated before it. Else a default filter of a view,
    /// which is one condition among others.
    pub is_policy: bool,
}

/// Of one question, or of one list of rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restrictions {
    /// The members that are asked for, by cube: they decide which policies of a cube count.
    pub asked: Arc<BTreeMap<String, BTreeSet<String>>>,
    pub guards: Vec<Guard>,
}

impl Restrictions {
    /// Those of a question that names `columns` of `scans`.
    ///
    /// # Errors
    /// XX000 for a column of none of them.
    pub fn of<'c>(
        scans: &[LegScan],
        columns: impl IntoIterator<Item = &'c Column>,
        planning: Planning<'_>,
    ) -> Result<Self> {
        let mut asked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut named: Vec<BTreeSet<String>> = vec![BTreeSet::new(); scans.len()];
        for column in columns {
            let found = member(scans, column)?;
            if let (None, Some(cube)) = (&found.view, found.path.last()) {
                asked.entry(cube.clone()).or_default().insert(found.member.clone());
            }
            let of = |scan: &LegScan| column.relation.as_ref().is_none_or(|relation| *relation == scan.reference);
            if let Some(place) = scans.iter().position(of) {
                named[place].insert(column.name.clone());
            }
        }
        let mut guards: Vec<Guard> = Vec::new();
        let mut add = |guard: Guard| {
            if !guards.contains(&guard) {
                guards.push(guard);
            }
        };
        for (scan, named) in scans.iter().zip(&named) {
            if let Some(Rows::Where(condition)) = scan.table.grants.as_ref().map(|grants| grants.rows(named)) {
                add(Guard { condition, zone: planning.catalog.policies.zone(), is_policy: true });
            }
            for default in &scan.defaults {
                if let Some(filter) = scan.table.default_filters.get(*default) {
                    add(Guard { condition: filter.condition.clone(), zone: planning.session.zone, is_policy: false });
                }
            }
        }
        Ok(Self { asked: Arc::new(asked), guards })
    }

    /// The members that default filters test.
    pub fn members_by_default(&self) -> impl Iterator<Item = &MemberColumn> {
        self.guards.iter().filter(|guard| !guard.is_policy).flat_map(|guard| guard.condition.members())
    }

    /// All of it as text, by which two can be told apart.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{:?}", self.asked);
        for guard in &self.guards {
            let _ = write!(text, " {} {:?} {}", guard.condition, guard.zone, guard.is_policy);
        }
        text
    }
}
