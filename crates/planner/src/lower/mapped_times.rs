//! Time shifts that a calendar maps by SQL (reference K2): the mapped column takes the time's place in the joins to the calendar.
//!
//! Only there: what is joined to a calendar's rows further on belongs to the day itself, as do its members. It would be wrong to map the time
//! where it is shown: last year's row is to stand in this year's day.

use belvedere_model::{Dimension, Relationship, SqlTemplate, TemplatePart};
use datafusion_expr::Expr;

use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::{cube_of, join_between};
use crate::nodes::fact_leg::MappedTime;

use super::joined_rows::{JoinedRows, Scope};

impl<'a> JoinedRows<'a> {
    /// The calendar whose days a join gives to the rows of the other side.
    pub(super) fn mapped_by(&self, from: &str, to: &str) -> Option<&MappedTime> {
        let relationship = join_between(self.model(), cube_of(from), cube_of(to))?.relationship;
        let calendar = match relationship {
            Relationship::ManyToOne | Relationship::OneToOne => cube_of(to),
            Relationship::OneToMany => cube_of(from),
        };
        self.mapped.iter().find(|mapped| mapped.cube == calendar)
    }

    /// A shift that no join of the tree makes would shift nothing.
    pub(super) fn refuse_unmapped(&self) -> Result<()> {
        for mapped in &self.mapped {
            let is_made = |edge: &crate::expand::choose_join_tree::JoinEdge| {
                self.mapped_by(&edge.from, &edge.to).is_some_and(|found| found == mapped)
            };
            if !self.tree.edges.iter().any(is_made) {
                return Err(PlanError::unsupported(format!(
                    "a time shift by \"{}.{}\" moves what is joined to the calendar, and the measure's rows are not",
                    mapped.cube, mapped.dimension
                )));
            }
        }
        Ok(())
    }

    /// The mapped time in the place of a dimension, where a join to its calendar is evaluated.
    pub(super) fn mapped_value(
        &mut self,
        scope: &Scope<'a>,
        dimension: &'a Dimension,
        depth: usize,
    ) -> Result<Option<Expr>> {
        let (Scope::Cube(role), Some((mapped, _))) = (scope, &self.joining) else { return Ok(None) };
        if mapped.cube != role.name() || mapped.dimension != dimension.naming.name {
            return Ok(None);
        }
        let template = dimension.details.time_shifts.get(mapped.shift).and_then(|shift| shift.sql.as_ref());
        let template: &'a SqlTemplate = template.ok_or_else(|| PlanError::internal("a time shift without SQL"))?;
        let leaves_cube = template.parts.iter().any(|part| match part {
            TemplatePart::Member(reference) => reference.cube() != role.name(),
            TemplatePart::Cube(_) => true,
            TemplatePart::Text(_)
            | TemplatePart::ThisCube
            | TemplatePart::CubeSql(_)
            | TemplatePart::Context(_)
            | TemplatePart::Parameter(_) => false,
        });
        if leaves_cube {
            return Err(PlanError::unsupported(format!(
                "the time shift of \"{}.{}\" by SQL that reads another cube is not supported",
                role.name(),
                dimension.naming.name
            )));
        }
        // Its own SQL may name the time itself.
        let before = self.joining.take();
        let value = self.scoped_value(scope, template, false, depth + 1);
        self.joining = before.map(|(mapped, _)| (mapped, true));
        value.map(Some)
    }
}
