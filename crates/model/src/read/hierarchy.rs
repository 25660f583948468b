//! Hierarchies of a cube: ordered dimensions, for tools (semantics 1.14).

use crate::Hierarchy;
use crate::definitions::Item;
use crate::read::fields::{Fields, Vocabulary};
use crate::read::naming::{NAMING_LEGACY, naming};
use crate::references::References;

pub(crate) fn hierarchy(item: &Item<'_>, references: &mut References<'_>) -> Option<Hierarchy> {
    const HIERARCHY: Vocabulary = Vocabulary {
        keys: &["name", "title", "description", "public", "meta", "aliases", "levels"],
        legacy: NAMING_LEGACY,
    };
    let what = format!("hierarchy \"{}\" of {}", item.name, references.owner());
    let fields = Fields::read(item.node, &what, HIERARCHY, references.problems)?;
    let (naming, _) = naming(&fields, &item.name, &item.place, true, references.problems);
    let Some(node) = fields.node("levels") else {
        fields.missing(
            "levels",
            &item.head,
            format!("{what} has no levels"),
            "add `levels:` with a list of dimensions",
            references.problems,
        );
        return None;
    };
    let levels = references.members(node, &format!("`levels` of {what}"), &["dimension"]);
    Some(Hierarchy { naming, levels })
}
