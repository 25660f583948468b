//! Why a rollup does not answer a leg: one variant a reason, each a sentence that a person can act on.

use std::fmt;

use crate::rollups::{RollupName, Walk};

/// A rollup that was looked at and not used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refused {
    pub rollup: RollupName,
    pub reason: Refusal,
}

/// The reason why a rollup was not used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It can never be built, or never read on its own.
    Unusable {
        reason: String,
    },
    NotBuilt,
    /// None of its partitions holds what is asked for, or the rest cannot be asked for on its own.
    RangeNotBuilt,
    /// It has no times of this zone.
    OtherZone {
        zone: String,
        built: Vec<String>,
    },
    Stale {
        seconds: i64,
        allowed: i64,
    },
    /// The joined rows begin at another cube, so that other rows are there.
    OtherRoot {
        wanted: String,
        stored: String,
    },
    JoinMissing {
        cubes: Walk,
    },
    MeasureMissing {
        measure: String,
    },
    /// Stored under other filters or over other joins.
    MeasureDiffers {
        measure: String,
    },
    /// A value for each stored group that says nothing about larger ones.
    NotAdditive {
        measure: String,
    },
    /// One row counts in several stored groups.
    Multiplied {
        measure: String,
    },
    MemberMissing {
        member: String,
    },
    /// The query needs a time more exactly than the rollup has it.
    TooCoarse {
        member: String,
        stored: String,
    },
    /// The range's borders leave no whole bucket.
    NoWholeBucket {
        member: String,
        stored: String,
    },
    /// A part of the range would come from the source, and the parts cannot be put together.
    CannotCombine {
        aggregate: String,
    },
    /// An aggregate over single rows, which a rollup does not have.
    RowsNeeded {
        aggregate: String,
    },
    RowFilter {
        cube: String,
    },
    DefaultFilter,
    /// A rollup_join is for queries over the cubes that it joins.
    NothingToJoin,
    TooManyJoins {
        joins: usize,
    },
    /// None of its rollups begins at a part of the query's joins and holds it.
    NoRollupForPart,
    /// Measures of several parts.
    SeveralFacts,
    KeyMissing {
        from: String,
        to: String,
    },
    KeyNotUnique {
        cube: String,
    },
    PartNotWhole {
        rollup: RollupName,
    },
    Switch {
        member: String,
    },
    /// A time shift that a calendar maps by SQL.
    TimeMapped {
        cube: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable { reason } => write!(f, "it cannot be used: {reason}"),
            Self::RangeNotBuilt => f.write_str("it does not hold the times that the query asks for"),
            Self::NotBuilt => f.write_str("it has not been built yet"),
            Self::OtherZone { zone, built } => write!(
                f,
                "its times are cut in {}, the session's zone is {zone}; add the zone to refresh.time_zones in the configuration",
                built.join(" and ")
            ),
            Self::Stale { seconds, allowed } => {
                write!(f, "it was built {seconds} s ago, and max_staleness allows {allowed} s")
            }
            Self::OtherRoot { wanted, stored } => write!(
                f,
                "its joins begin at \"{stored}\" and those of the query at \"{wanted}\", so that it has other rows"
            ),
            Self::JoinMissing { cubes } => {
                write!(f, "the query joins {}, and it was built without that join", cubes.join(" → "))
            }
            Self::MeasureMissing { measure } => write!(f, "it does not store the measure \"{measure}\""),
            Self::MeasureDiffers { measure } => {
                write!(f, "it stores the measure \"{measure}\" over other joins or under other filters")
            }
            Self::NotAdditive { measure } => write!(
                f,
                "measure \"{measure}\" is a distinct count and cannot be added up over what the query does not group by; \
                 exact_distinct: true would store what can"
            ),
            Self::Multiplied { measure } => write!(
                f,
                "rows of measure \"{measure}\" count in several of its groups, so that it only answers queries that group by all of \
                 its dimensions"
            ),
            Self::MemberMissing { member } => write!(f, "it does not store \"{member}\""),
            Self::TooCoarse { member, stored } => {
                write!(f, "it stores \"{member}\" by {stored}, and the query needs it more exactly")
            }
            Self::NoWholeBucket { member, stored } => {
                write!(f, "the range of \"{member}\" holds no whole {stored}, which is how it stores that time")
            }
            Self::CannotCombine { aggregate } => write!(
                f,
                "a part of the range is not in it, and {aggregate} of the rest cannot be put together with what it stores"
            ),
            Self::RowsNeeded { aggregate } => {
                write!(f, "{aggregate} is over single rows, and it only has groups of them")
            }
            Self::RowFilter { cube } => {
                write!(
                    f,
                    "an access policy filters the rows of \"{cube}\", and it does not store what tells them apart"
                )
            }
            Self::NothingToJoin => f.write_str("the query reads a single cube, and it joins several"),
            Self::TooManyJoins { joins } => write!(f, "the query has {joins} joins, and rollups are joined up to six"),
            Self::NoRollupForPart => f.write_str("it joins no rollup for one of the cubes that the query reads"),
            Self::SeveralFacts => f.write_str("the query has measures of several cubes that are in different rollups"),
            Self::KeyMissing { from, to } => write!(
                f,
                "the columns of the join from \"{from}\" to \"{to}\" are not stored as dimensions on both sides"
            ),
            Self::KeyNotUnique { cube } => write!(
                f,
                "the join is not on the primary key of \"{cube}\", so that its rollup may have several rows for one key"
            ),
            Self::PartNotWhole { rollup } => {
                write!(f, "the rollup {rollup}, which would be joined, does not hold all rows")
            }
            Self::DefaultFilter => f.write_str("a default filter of the view tests what it does not store"),
            Self::TimeMapped { cube } => {
                write!(f, "the query shifts a time by the SQL of the calendar \"{cube}\", which it does not store")
            }
            Self::Switch { member } => write!(f, "the query is grouped by the switch \"{member}\""),
        }
    }
}
