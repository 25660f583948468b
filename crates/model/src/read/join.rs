//! Joins (semantics 1.12).

use crate::check;
use crate::definitions::Item;
use crate::read::fields::{Fields, Vocabulary};
use crate::references::References;
use crate::{Join, Relationship};

const RELATIONSHIPS: &[(&str, Relationship)] = &[
    ("one_to_one", Relationship::OneToOne),
    ("one_to_many", Relationship::OneToMany),
    ("many_to_one", Relationship::ManyToOne),
];

const OLD_RELATIONSHIPS: &[(&str, Relationship)] = &[
    ("has_one", Relationship::OneToOne),
    ("has_many", Relationship::OneToMany),
    ("belongs_to", Relationship::ManyToOne),
];

pub(crate) fn join(item: &Item<'_>, cube: &str, references: &mut References<'_>) -> Option<Join> {
    const JOIN: Vocabulary = Vocabulary { keys: &["name", "relationship", "sql"], legacy: &[] };
    let what = format!("join from \"{cube}\" to \"{}\"", item.name);
    let fields = Fields::read(item.node, &what, JOIN, references.problems)?;
    references.begin();
    let many_to_many = fields
        .node("relationship")
        .filter(|node| node.scalar_text().is_some_and(|text| crate::spelling::snake_case(text) == "many_to_many"));
    let relationship = if let Some(node) = many_to_many {
        references.problems.error(
            &node.place,
            format!("{what} is many to many"),
            "",
            "join through a cube over the table that connects them: `one_to_many` to it, `many_to_one` from it",
        );
        None
    } else {
        fields.one_of("relationship", RELATIONSHIPS, OLD_RELATIONSHIPS, references.problems)
    };
    if fields.get("relationship").is_none() {
        fields.missing(
            "relationship",
            &item.head,
            format!("{what} does not say how many rows match"),
            "add `relationship: many_to_one`, or `one_to_many` or `one_to_one`",
            references.problems,
        );
    }
    if !references.symbols.cubes.contains_key(&item.name) {
        // References to the same name in the condition would only say it again.
        references.unknown_cube(&item.name, &item.place);
        return None;
    }
    let Some(node) = fields.node("sql") else {
        fields.missing(
            "sql",
            &item.head,
            format!("{what} has no condition"),
            format!("add `sql: \"{{CUBE.…}} = {{{}.…}}\"`", item.name),
            references.problems,
        );
        return None;
    };
    let sql = references.template(node, &format!("`sql` of the {what}"));
    check::foreign_join_column::check(&what, &item.name, references);
    let unsupported = references.context.take();
    Some(Join {
        target: item.name.clone(),
        relationship: relationship?,
        sql: sql?,
        place: item.place.clone(),
        unsupported,
    })
}
