//! Top-level `view_groups`: a tree of views for tools (V12).

use crate::definitions::name_of;
use crate::problems::Problems;
use crate::read::fields::{Fields, Vocabulary};
use crate::symbols::Symbols;
use crate::yaml::Node;
use crate::{ViewGroup, did_you_mean};

pub(crate) fn view_group(node: &Node, symbols: &Symbols, problems: &mut Problems) -> Option<ViewGroup> {
    const GROUP: Vocabulary =
        Vocabulary { keys: &["name", "title", "description", "includes", "views", "meta", "public"], legacy: &[] };
    let (name, place) = name_of(node, "a view group", problems)?;
    let what = format!("view group \"{name}\"");
    let fields = Fields::read(node, &what, GROUP, problems)?;
    if let (Some(views), Some(_)) = (fields.get("views"), fields.get("includes")) {
        problems.error(
            &views.key_place,
            format!("{what} has both `views` and `includes`"),
            "",
            "write all as `includes`",
        );
    }
    let mut group = ViewGroup {
        name,
        title: fields.text("title", problems),
        description: fields.text("description", problems),
        views: Vec::new(),
        groups: Vec::new(),
        place,
    };
    for key in ["views", "includes"] {
        for item in fields.list(key, problems) {
            if item.as_map().is_some() {
                group.groups.extend(view_group(item, symbols, problems));
            } else if let Some(view) = item.scalar_text() {
                if !symbols.views.contains(view) {
                    let mut names: Vec<&str> = symbols.views.iter().map(String::as_str).collect();
                    names.sort_unstable();
                    let help = match did_you_mean::best(view, names) {
                        Some(close) => format!("did you mean `{close}`?"),
                        None => "name a view that is defined in some file".to_owned(),
                    };
                    problems.error(
                        &item.place,
                        format!("{what} names view \"{view}\", which does not exist"),
                        "",
                        help,
                    );
                }
                group.views.push(view.to_owned());
            }
        }
    }
    Some(group)
}
