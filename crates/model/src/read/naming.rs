//! Title, description, visibility and the other keys that all named things share.

use crate::problems::Problems;
use crate::read::fields::Fields;
use crate::references::References;
use crate::{Naming, Place, Unsupported};

/// The keys that [`naming`] reads, `name` included.
pub(crate) const NAMING_LEGACY: &[(&str, &str)] = &[("shown", "public"), ("visible", "public")];

/// Reads them; `public_by_default` holds where the file says nothing.
///
/// `public` may be computed from a context variable: then it counts as public and the second value is set, so that use is
/// refused rather than allowed or denied by chance.
pub(crate) fn naming(
    fields: &Fields<'_>,
    name: &str,
    place: &Place,
    public_by_default: bool,
    problems: &mut Problems,
) -> (Naming, Option<Unsupported>) {
    let (public, unsupported) = public(fields, public_by_default, problems);
    let naming = Naming {
        name: name.to_owned(),
        title: fields.text("title", problems),
        description: fields.text("description", problems),
        public,
        meta: fields.node("meta").map_or(serde_json::Value::Null, crate::yaml::Node::to_json),
        aliases: fields.strings("aliases", problems),
        place: place.clone(),
    };
    (naming, unsupported)
}

fn public(fields: &Fields<'_>, by_default: bool, problems: &mut Problems) -> (bool, Option<Unsupported>) {
    if let Some(node) = fields.node("public")
        && let Some(text) = node.scalar_text()
        && text.contains('{')
    {
        let feature = if text.contains("COMPILE_CONTEXT") { "COMPILE_CONTEXT" } else { "public: {…}" };
        return (true, Some(Unsupported { feature: feature.to_owned(), place: node.place.clone() }));
    }
    (fields.boolean("public", problems).unwrap_or(by_default), None)
}

/// Takes the context variable that was met since the last call, else `other`.
pub(crate) fn first_unsupported(
    candidates: impl IntoIterator<Item = Option<Unsupported>>,
    references: &mut References<'_>,
) -> Option<Unsupported> {
    let context = references.context.take();
    candidates.into_iter().flatten().next().or(context)
}
