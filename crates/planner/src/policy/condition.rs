//! A filter of the model with the values of one user (reference 1.22), before it is an expression over rows.

use std::fmt;

use belvedere_model::{ContextValue, FilterCondition, FilterOperator, ModelFilter, ValuePart, parse_value};

use crate::catalog::MemberColumn;

use super::Identity;

/// What must hold of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Holds of no row.
    Never,
    /// The model says something that cannot be done, as a sentence: reading is refused.
    Broken(String),
    And(Vec<Self>),
    Or(Vec<Self>),
    Test(Box<Test>),
}

/// `member operator values`.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// Never masked.
    pub member: MemberColumn,
    pub operator: FilterOperator,
    pub values: Vec<Option<String>>,
}

/// Filters that must all hold. `member` finds what a name means; a sentence says why it means nothing.
///
/// A value that the user does not have makes all of it [`Condition::Never`]: left out, a `notEquals` would let every row through.
pub fn all_of(
    filters: &[ModelFilter],
    identity: &Identity,
    member: &impl Fn(&str) -> Result<MemberColumn, String>,
) -> Condition {
    let conditions = filters.iter().map(|filter| condition(filter, identity, member));
    match conditions.collect::<Option<Vec<_>>>() {
        Some(conditions) => Condition::And(conditions),
        None => Condition::Never,
    }
}

fn condition(
    filter: &ModelFilter,
    identity: &Identity,
    member: &impl Fn(&str) -> Result<MemberColumn, String>,
) -> Option<Condition> {
    let several = |filters: &[ModelFilter]| {
        filters.iter().map(|filter| condition(filter, identity, member)).collect::<Option<Vec<_>>>()
    };
    Some(match &filter.condition {
        FilterCondition::And(filters) => Condition::And(several(filters)?),
        FilterCondition::Or(filters) => Condition::Or(several(filters)?),
        FilterCondition::Member { member: name, operator, values, .. } => {
            let values = match resolved(values, identity) {
                Ok(values) => values?,
                Err(reason) => return Some(Condition::Broken(reason)),
            };
            match member(name) {
                Ok(member) => Condition::Test(Box::new(Test { member, operator: *operator, values })),
                Err(reason) => Condition::Broken(reason),
            }
        }
    })
}

/// The values of a user; `None` where the user does not have one of them.
fn resolved(values: &[Option<String>], identity: &Identity) -> Result<Option<Vec<Option<String>>>, String> {
    let mut found = Vec::new();
    for value in values {
        let Some(text) = value else {
            found.push(None);
            continue;
        };
        let parts = parse_value(text)?;
        if let [ValuePart::Context(path)] = parts.as_slice()
            && let ContextValue::Many(several) = identity.known(path)
        {
            // No group at all is no value at all.
            if several.is_empty() {
                return Ok(None);
            }
            found.extend(several.into_iter().map(Some));
            continue;
        }
        let mut whole = String::new();
        for part in parts {
            match part {
                ValuePart::Text(text) => whole.push_str(&text),
                ValuePart::Context(path) => match identity.known(&path) {
                    ContextValue::One(text) => whole.push_str(&text),
                    ContextValue::Missing => return Ok(None),
                    ContextValue::Many(_) => return Err("a list of groups is a value of its own".to_owned()),
                },
            }
        }
        found.push(Some(whole));
    }
    Ok(Some(found))
}

impl Condition {
    /// The members that it tests.
    pub fn members(&self) -> Vec<&MemberColumn> {
        match self {
            Self::Never | Self::Broken(_) => Vec::new(),
            Self::And(inner) | Self::Or(inner) => inner.iter().flat_map(Self::members).collect(),
            Self::Test(test) => vec![&test.member],
        }
    }
}

/// For plans in tests; nobody is shown it whom it restricts.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, inner: &[Self], between: &str| {
            f.write_str("(")?;
            for (index, condition) in inner.iter().enumerate() {
                if index > 0 {
                    f.write_str(between)?;
                }
                write!(f, "{condition}")?;
            }
            f.write_str(")")
        };
        match self {
            Self::Never => f.write_str("never"),
            Self::Broken(reason) => write!(f, "broken: {reason}"),
            Self::And(inner) => list(f, inner, " and "),
            Self::Or(inner) => list(f, inner, " or "),
            Self::Test(test) => {
                let Test { member, operator, values } = test.as_ref();
                write!(f, "{}.{} {operator:?} {values:?}", member.path.join("."), member.member)
            }
        }
    }
}
