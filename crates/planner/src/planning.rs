//! What every rule needs while one statement is planned, and who owns what the rules find out beside the plan.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::error::{PlanError, Result};
use crate::functions::Functions;
use crate::session::SessionFacts;
use crate::substitute::Report;

/// A join's SQL may use a sub-query dimension whose measure needs that join.
const SUB_QUERIES_MAX: usize = 16;

/// What rules find out beside the plan of one statement. It lends [`Planning`] to them, which is made nowhere else.
///
/// Work that no user asked for, such as finding the types of members, has one of its own by `default()`.
#[derive(Debug, Default)]
pub struct Findings {
    pub(crate) mentioned: Arc<HashSet<String>>,
    pub(crate) notices: RefCell<Vec<String>>,
    pub(crate) report: RefCell<Report>,
    pub(crate) of_moment: Cell<bool>,
}

impl Findings {
    /// Nothing yet, for a statement whose text has these lower-case names.
    #[must_use]
    pub fn of_text(mentioned: Arc<HashSet<String>>) -> Self {
        Self { mentioned, ..Self::default() }
    }

    /// What rules are given.
    #[must_use]
    pub fn planning<'a>(
        &'a self,
        catalog: &'a Catalog,
        functions: &'a Arc<Functions>,
        session: &'a SessionFacts,
    ) -> Planning<'a> {
        Planning {
            catalog,
            functions,
            session,
            mentioned: &self.mentioned,
            notices: &self.notices,
            report: &self.report,
            of_moment: &self.of_moment,
            depth: 0,
            is_trusted: false,
        }
    }
}

/// What planning needs everywhere; see [`Findings::planning`].
#[derive(Clone, Copy)]
pub struct Planning<'a> {
    pub catalog: &'a Catalog,
    pub functions: &'a Arc<Functions>,
    pub session: &'a SessionFacts,
    /// Lower-case names in the statement's text; see [`read_rows`](crate::lower::read_rows::read_rows).
    pub mentioned: &'a HashSet<String>,
    /// Sentences for NOTICE, added while lowering.
    pub notices: &'a RefCell<Vec<String>>,
    /// What became of legs, added while substituting.
    pub report: &'a RefCell<Report>,
    /// Set where the plan holds for this moment only: a date relative to now is in it.
    pub of_moment: &'a Cell<bool>,
    /// How many sub-query dimensions this is inside of.
    pub depth: usize,
    /// Inside a row filter or the building of a rollup: it reads all rows, because it is the model's author who asks.
    pub is_trusted: bool,
}

impl Planning<'_> {
    /// The same with all rows, whoever the user is.
    #[must_use]
    pub fn trusted(self) -> Self {
        Self { is_trusted: true, ..self }
    }

    /// Plans what completes a rollup: its scans of sources are no misses.
    pub(crate) fn completing_a_rollup<T>(self, work: impl FnOnce() -> T) -> T {
        let before = self.report.borrow().from_sources;
        let done = work();
        self.report.borrow_mut().from_sources = before;
        done
    }

    /// Inside one more sub-query dimension.
    ///
    /// # Errors
    /// 54001 where they are inside each other without end.
    pub(crate) fn deeper(self) -> Result<Self> {
        if self.depth >= SUB_QUERIES_MAX {
            return Err(PlanError::new("54001", "sub-query dimensions are inside each other too deeply")
                .hint("Perhaps a join uses a sub-query dimension whose measure needs that join."));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}
