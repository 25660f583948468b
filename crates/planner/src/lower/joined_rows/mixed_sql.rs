//! Member SQL that reaches several cubes: no source can run it, so it is put together here, over the base columns of each cube.

use std::collections::HashMap;

use belvedere_model::TemplatePart;
use datafusion_expr::Expr;

use crate::catalog::SourceDialect;
use crate::error::{PlanError, Result};
use crate::granularity;
use crate::lower::calculated::composed_path;
use crate::lower::member_sql::{bind_over, name_values, parse_member};
use crate::members::{self, Marked};
use crate::planning::Planning;

use super::{JoinedRows, Role, Scope};

impl<'a> JoinedRows<'a> {
    /// An expression that reaches several cubes, over the base columns of each.
    ///
    /// Where it names a granularity, all time in it is the wall clock of the session's zone: it would be wrong to compare that with
    /// stored time.
    pub(in crate::lower) fn mixed_value(&mut self, scope: &Scope<'a>, marked: &Marked, depth: usize) -> Result<Expr> {
        self.mixed_value_with(scope, marked, &HashMap::new(), depth)
    }

    /// As [`JoinedRows::mixed_value`]; `given` are the values of identifiers that are no columns.
    pub(in crate::lower) fn mixed_value_with(
        &mut self,
        scope: &Scope<'a>,
        marked: &Marked,
        given: &HashMap<String, Expr>,
        depth: usize,
    ) -> Result<Expr> {
        let dialect = self.scope_dialect(scope, marked)?;
        let mut ast = parse_member(&marked.text, dialect, scope.name())?;
        let cuts_time = granularity::names_granularity(self.model(), &[marked.template()], depth);
        let values = name_values(&mut ast, &mut |idents| {
            let value = match idents {
                [only] if let Some(value) = given.get(only) => value.clone(),
                idents => self.identifier_value(scope, marked, idents, depth)?,
            };
            if cuts_time { self.on_wall_clock(marked, idents, value) } else { Ok(value) }
        })?;
        // The model's own SQL sees stored values: UTC.
        let session = self.planning.session.in_utc();
        bind_over(ast, &values, &self.schema()?, dialect, Planning { session: &session, ..self.planning })
    }

    /// Stored time on the wall clock; what names a granularity is there already.
    fn on_wall_clock(&self, marked: &Marked, idents: &[String], value: Expr) -> Result<Expr> {
        if let [only] = idents
            && let Some(TemplatePart::Parameter(_)) = marked.reference(only)
        {
            return Ok(value);
        }
        if let [only] = idents
            && let Some(TemplatePart::Member(reference)) = marked.reference(only)
        {
            let dimension = self.cube(reference.cube())?.dimensions.get(&reference.member);
            let is_cut = dimension.is_some_and(|dimension| granularity::is_wall_clock(self.model(), dimension));
            if reference.granularity.is_some() || is_cut {
                return Ok(value);
            }
        }
        let data_type = self.type_of(&value)?;
        self.local(value, &data_type, self.planning.session.zone)
    }

    /// `__r0`, `__r0.column`, or a plain column of the cube.
    fn identifier_value(
        &mut self,
        scope: &Scope<'a>,
        marked: &Marked,
        idents: &[String],
        depth: usize,
    ) -> Result<Expr> {
        let column_of = |rows: &mut Self, role: &Role<'a>, column: &str| {
            let dialect = rows.dialect(role.cube)?;
            let sql = format!("{}.{}", dialect.quoted(members::alias_of(role.cube)), plain(column, dialect));
            rows.base_column(role, &sql, false)
        };
        match (idents, scope) {
            ([only], scope) => match (marked.reference(only).cloned(), scope) {
                (Some(TemplatePart::Member(reference)), _) => self.referenced(scope, &reference, depth),
                (Some(TemplatePart::Parameter(parameter)), Scope::Cube(role)) => {
                    self.parameter_value(role, &parameter, depth)
                }
                (Some(_), _) => Err(PlanError::unsupported(format!(
                    "a member of \"{}\" uses a whole cube as a value",
                    scope.name()
                ))),
                (None, Scope::Cube(role)) => column_of(self, role, only),
                (None, Scope::View(view)) => Err(PlanError::unsupported(format!(
                    "a member of view \"{}\" names the column \"{only}\"",
                    view.naming.name
                ))
                .hint("A view has no columns of its own: refer to members as {member}.")),
            },
            ([table, column], scope) => match (marked.reference(table).cloned(), scope) {
                (Some(TemplatePart::ThisCube), Scope::Cube(role)) => column_of(self, role, column),
                (Some(TemplatePart::Cube(other)), Scope::Cube(role)) => {
                    let path = composed_path(self.model(), &role.path, &[other]);
                    let other = self.role(&path)?;
                    column_of(self, &other, column)
                }
                (Some(TemplatePart::Cube(other)), Scope::View(_)) => {
                    let other = self.role(&[other])?;
                    column_of(self, &other, column)
                }
                _ => Err(PlanError::unsupported(format!("\"{table}.{column}\" in a member's SQL cannot be resolved"))),
            },
            _ => Err(PlanError::unsupported("a name of more than two parts in a member's SQL")),
        }
    }
}

/// An identifier as it is written in the SQL of a source.
fn plain(identifier: &str, dialect: SourceDialect) -> String {
    let simple = identifier.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !identifier.starts_with(|c: char| c.is_ascii_digit());
    if simple { identifier.to_owned() } else { dialect.quoted(identifier) }
}
