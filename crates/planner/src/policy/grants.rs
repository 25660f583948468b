//! What the policies of one cube or view grant one user.

use std::collections::BTreeSet;

use belvedere_model::{AccessPolicy, MemberSelection, RowLevel, Selected, parse_condition};

use crate::catalog::MemberColumn;

use super::Identity;
use super::condition::{Condition, all_of};

/// The policies that match a user; without any, nothing is granted.
#[derive(Debug, Clone, PartialEq)]
pub struct Grants {
    policies: Vec<Grant>,
}

#[derive(Debug, Clone, PartialEq)]
struct Grant {
    /// `None`: all members.
    shown: Option<MemberSelection>,
    /// Of the members that are not shown.
    masked: Option<MemberSelection>,
    rows: Rows,
}

/// The rows that may be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows {
    All,
    Where(Condition),
}

impl Rows {
    /// No row at all.
    #[must_use]
    pub fn none() -> Self {
        Self::Where(Condition::Never)
    }
}

/// How a user sees a member.
#[derive(Debug, Clone, PartialEq)]
pub enum Access {
    Hidden,
    Shown,
    /// Its mask, but for the rows of which the condition holds.
    Masked(Option<Condition>),
}

impl Grants {
    /// Those of `policies` that match. `member` is [`all_of`]'s.
    pub fn of(
        policies: &[AccessPolicy],
        identity: &Identity,
        member: &impl Fn(&str) -> Result<MemberColumn, String>,
    ) -> Self {
        let matching = policies.iter().filter(|policy| matches(policy, identity));
        let grants = matching.map(|policy| Grant {
            shown: policy.member_level.clone(),
            masked: policy.member_masking.clone(),
            rows: match &policy.row_level {
                None | Some(RowLevel::AllowAll) => Rows::All,
                Some(RowLevel::Filters(filters)) => Rows::Where(all_of(filters, identity, member)),
            },
        });
        Self { policies: grants.collect() }
    }

    #[must_use]
    pub fn access(&self, member: &str) -> Access {
        let shown: Vec<&Grant> = self.policies.iter().filter(|grant| grant.shows(member)).collect();
        let masks = self.policies.iter().any(|grant| grant.masks(member));
        match (shown.is_empty(), masks) {
            (true, true) => Access::Masked(None),
            (true, false) => Access::Hidden,
            (false, false) => Access::Shown,
            (false, true) => match any(shown.into_iter()) {
                Rows::All => Access::Shown,
                Rows::Where(condition) => Access::Masked(Some(condition)),
            },
        }
    }

    /// The rows for a query that asks for `members`: each member those of any policy that has it, all of them together those that
    /// each one has. A member that no policy has came through a view, whose own policies grant it: here every policy counts for it.
    #[must_use]
    pub fn rows(&self, members: &BTreeSet<String>) -> Rows {
        let of_member = |member: &String| {
            let has = |grant: &&Grant| grant.shows(member) || grant.masks(member);
            if self.policies.iter().any(|grant| has(&grant)) {
                any(self.policies.iter().filter(has))
            } else {
                any(self.policies.iter())
            }
        };
        let mut conditions: Vec<Condition> = Vec::new();
        let each: Vec<Rows> =
            if members.is_empty() { vec![any(self.policies.iter())] } else { members.iter().map(of_member).collect() };
        for rows in each {
            match rows {
                Rows::Where(condition) if !conditions.contains(&condition) => conditions.push(condition),
                Rows::Where(_) | Rows::All => {}
            }
        }
        match conditions.len() {
            0 => Rows::All,
            1 => Rows::Where(conditions.remove(0)),
            _ => Rows::Where(Condition::And(conditions)),
        }
    }
}

impl Grant {
    fn shows(&self, member: &str) -> bool {
        self.shown.as_ref().is_none_or(|selection| selects(selection, member))
    }

    fn masks(&self, member: &str) -> bool {
        !self.shows(member) && self.masked.as_ref().is_some_and(|selection| selects(selection, member))
    }
}

fn selects(selection: &MemberSelection, member: &str) -> bool {
    let among = |names: &[String]| names.iter().any(|name| name == member);
    let included = match &selection.includes {
        Selected::All => true,
        Selected::Names(names) => among(names),
    };
    included && !among(&selection.excludes) && !selection.excludes.iter().any(|name| name == "*")
}

fn any<'g>(grants: impl Iterator<Item = &'g Grant>) -> Rows {
    let mut conditions: Vec<Condition> = Vec::new();
    for grant in grants {
        match &grant.rows {
            Rows::All => return Rows::All,
            Rows::Where(Condition::Never) => {}
            Rows::Where(condition) if conditions.contains(condition) => {}
            Rows::Where(condition) => conditions.push(condition.clone()),
        }
    }
    match conditions.len() {
        0 => Rows::none(),
        1 => Rows::Where(conditions.remove(0)),
        _ => Rows::Where(Condition::Or(conditions)),
    }
}

fn matches(policy: &AccessPolicy, identity: &Identity) -> bool {
    let is_member = policy.groups.iter().any(|group| group == "*" || identity.groups.contains(group));
    // What cannot be read was refused when the model was loaded.
    let holds = |text: &String| {
        parse_condition(text).ok().and_then(|condition| condition.holds(&|path| identity.known(path))) == Some(true)
    };
    is_member && policy.conditions.iter().all(holds)
}
