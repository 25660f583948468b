//! The SQL of a cube refers to members or aliases, which exist only once the cube is there.

use crate::references::References;
use crate::{Relation, TemplatePart};

pub(crate) fn check(relation: &Relation, what: &str, references: &mut References<'_>) {
    let (Relation::Table(sql) | Relation::Query(sql)) = relation;
    for part in &sql.parts {
        let (place, written) = match part {
            TemplatePart::Text(_)
            | TemplatePart::CubeSql(_)
            | TemplatePart::Context(_)
            | TemplatePart::Parameter(_) => continue,
            TemplatePart::ThisCube => (&sql.place, "its own alias".to_owned()),
            TemplatePart::Cube(cube) => (&sql.place, format!("the alias of cube \"{cube}\"")),
            TemplatePart::Member(member) => {
                (&member.place, format!("the member \"{}.{}\"", member.cube(), member.member))
            }
        };
        references.problems.error(
            place,
            format!("the SQL of {what} uses {written}"),
            "",
            "name tables and columns of the database here; another cube's SQL is written `{cube.sql()}`",
        );
    }
}
