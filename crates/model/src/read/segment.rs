//! Segments: named conditions (semantics 1.11).

use crate::Segment;
use crate::check;
use crate::definitions::Item;
use crate::read::fields::{Fields, Vocabulary};
use crate::read::naming::{NAMING_LEGACY, first_unsupported, naming};
use crate::references::References;

pub(crate) fn segment(item: &Item<'_>, references: &mut References<'_>) -> Option<Segment> {
    const SEGMENT: Vocabulary = Vocabulary {
        keys: &["name", "sql", "public", "title", "description", "meta", "aliases"],
        legacy: NAMING_LEGACY,
    };
    let what = format!("segment \"{}\" of {}", item.name, references.owner());
    let fields = Fields::read(item.node, &what, SEGMENT, references.problems)?;
    references.begin();
    let (naming, computed_public) = naming(&fields, &item.name, &item.place, true, references.problems);
    let Some(node) = fields.node("sql") else {
        fields.missing(
            "sql",
            &item.head,
            format!("{what} has no SQL"),
            "add `sql:` with a condition",
            references.problems,
        );
        return None;
    };
    let sql = references.member_template(node, &format!("`sql` of {what}"));
    check::foreign_column::check(&what, references);
    let unsupported = first_unsupported([computed_public], references);
    Some(Segment { naming, sql: sql?, unsupported })
}
