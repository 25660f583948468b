//! SQL of the model that is asked of a source by itself: refresh keys, and where the build of a rollup begins and ends.

use belvedere_model::{Cube, Model, SqlTemplate, TemplatePart};

use crate::error::{PlanError, Result};
use crate::members;

/// A query of the model's author as text. Conditions that a query would put in (`FILTER_PARAMS`) all hold.
///
/// # Errors
/// Where it names cubes or members other than by `{cube.sql()}`, or something of the session: there is none.
pub fn refresh_sql(model: &Model, cube: &Cube, template: &SqlTemplate) -> Result<String> {
    let mut text = String::new();
    for part in &template.parts {
        match part {
            TemplatePart::Text(piece) => text.push_str(piece),
            TemplatePart::Parameter(belvedere_model::SqlParameter::Filters(_)) => text.push_str("(1 = 1)"),
            TemplatePart::CubeSql(other) => {
                let other = members::cube_named(model, other)?;
                if other.data_source != cube.data_source {
                    return Err(PlanError::unsupported(format!(
                        "SQL of cube \"{}\" uses cube \"{}\" of another data source",
                        cube.naming.name, other.naming.name
                    )));
                }
                text.push_str("SELECT * FROM ");
                text.push_str(&members::relation_sql(model, other)?);
                // A query stands there in brackets, which MySQL wants a name for.
                if matches!(other.relation, belvedere_model::Relation::Query(_)) {
                    text.push_str(" AS belvedere_cube");
                }
            }
            TemplatePart::Parameter(_) | TemplatePart::Context(_) => {
                return Err(PlanError::unsupported(format!(
                    "SQL of cube \"{}\" asks for something of a user's session, and a rollup is built for all users",
                    cube.naming.name
                )));
            }
            TemplatePart::ThisCube | TemplatePart::Cube(_) | TemplatePart::Member(_) => {
                return Err(PlanError::unsupported(format!(
                    "SQL of cube \"{}\" that stands alone refers to a cube or member other than by {{cube.sql()}}",
                    cube.naming.name
                ))
                .hint("Name the table and its columns as the data source has them."));
            }
        }
    }
    Ok(text.trim().trim_end_matches(';').trim_end().to_owned())
}
