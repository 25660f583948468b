//! Access policies of cubes and views (semantics 1.20), read and checked.

use crate::check;
use crate::definitions::Definition;
use crate::did_you_mean;
use crate::problems::Problems;
use crate::read::fields::{Fields, Vocabulary};
use crate::read::filter;
use crate::{AccessPolicy, MemberSelection, RowLevel, Selected, parse_condition};

const POLICY: Vocabulary = Vocabulary {
    keys: &["group", "groups", "conditions", "member_level", "member_masking", "row_level"],
    legacy: &[("role", "group")],
};

/// Reads the policies of a cube or view whose members have the names `members`.
pub(crate) fn access_policies(
    definition: &Definition<'_>,
    members: &[&str],
    problems: &mut Problems,
) -> Vec<AccessPolicy> {
    let mut policies = Vec::new();
    for unnamed in definition.list("access_policy") {
        problems.inherited = unnamed.inherited;
        let what = format!("an access policy of {}", definition.what());
        let Some(fields) = Fields::read(unnamed.node, &what, POLICY, problems) else { continue };
        let groups = match (fields.get("group"), fields.get("groups")) {
            (Some(_), None) => fields.strings("group", problems),
            (None, Some(_)) => fields.strings("groups", problems),
            (both, _) => {
                let message =
                    if both.is_some() { "has both `group` and `groups`" } else { "does not say for which group it is" };
                problems.error(
                    &unnamed.node.place,
                    format!("{what} {message}"),
                    "",
                    "write `group: …` or `groups: […]`; `'*'` is everyone",
                );
                Vec::new()
            }
        };
        let member_level = selection(&fields, "member_level", members, definition.incomplete, problems);
        let member_masking = selection(&fields, "member_masking", members, definition.incomplete, problems);
        if let Some(entry) = fields.get("member_masking")
            && fields.get("member_level").is_none()
        {
            problems.error(
                &entry.key_place,
                format!("{what} masks members and has no `member_level`"),
                "",
                "add `member_level:` with what is shown unmasked",
            );
        }
        let row_level = row_level(&fields, problems);
        if let Some(RowLevel::Filters(filters)) = &row_level
            && !definition.incomplete
        {
            check::unknown_filter_member::check(filters, &definition.name, members, problems);
        }
        if let Some(RowLevel::Filters(filters)) = &row_level {
            check::filter_value::check(filters, problems);
        }
        policies.push(AccessPolicy {
            groups,
            conditions: conditions(&fields, problems),
            member_level,
            member_masking,
            row_level,
            place: unnamed.node.place.clone(),
        });
    }
    problems.inherited = false;
    policies
}

const CONDITION_HELP: &str =
    "compare attributes of the user with texts, as in `\"{ security_context.team == 'sales' }\"`";

fn conditions(fields: &Fields<'_>, problems: &mut Problems) -> Vec<String> {
    const CONDITION: Vocabulary = Vocabulary { keys: &["if"], legacy: &[] };
    let what = format!("a condition of {}", fields.what);
    let mut found = Vec::new();
    for node in fields.list("conditions", problems) {
        let Some(inner) = Fields::read(node, &what, CONDITION, problems) else { continue };
        let Some(text) = inner.text("if", problems) else { continue };
        if let Err(reason) = parse_condition(&text) {
            let place = inner.node("if").map_or_else(|| node.place.clone(), |node| node.place.clone());
            problems.error(&place, format!("{what} cannot be read: {reason}"), "", CONDITION_HELP);
        }
        found.push(text);
    }
    found
}

fn selection(
    fields: &Fields<'_>,
    key: &str,
    members: &[&str],
    incomplete: bool,
    problems: &mut Problems,
) -> Option<MemberSelection> {
    const SELECTION: Vocabulary = Vocabulary { keys: &["includes", "excludes"], legacy: &[] };
    let node = fields.node(key)?;
    let inner = Fields::read(node, &format!("`{key}` of {}", fields.what), SELECTION, problems)?;
    let names = |key: &str, problems: &mut Problems| -> Vec<String> {
        let nodes = inner.texts(key, problems);
        for node in &nodes {
            let name = node.scalar_text().unwrap_or_default();
            if name != "*" && !members.contains(&name) && !incomplete {
                let help = match did_you_mean::best(name, members.iter().copied()) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => "name a dimension, measure or segment".to_owned(),
                };
                problems.error(&node.place, format!("{} names \"{name}\", which does not exist", inner.what), "", help);
            }
        }
        nodes.iter().filter_map(|node| node.scalar_text().map(str::to_owned)).collect()
    };
    let includes = names("includes", problems);
    let all = inner.get("includes").is_none() || includes.iter().any(|name| name == "*");
    let includes = if all { Selected::All } else { Selected::Names(includes) };
    Some(MemberSelection { includes, excludes: names("excludes", problems) })
}

fn row_level(fields: &Fields<'_>, problems: &mut Problems) -> Option<RowLevel> {
    const ROW_LEVEL: Vocabulary = Vocabulary { keys: &["filters", "allow_all"], legacy: &[] };
    let node = fields.node("row_level")?;
    let inner = Fields::read(node, &format!("`row_level` of {}", fields.what), ROW_LEVEL, problems)?;
    let allow_all = inner.boolean("allow_all", problems).unwrap_or(false);
    if allow_all && inner.get("filters").is_some() {
        problems.error(
            &node.place,
            format!("{} allows all rows and has filters", inner.what),
            "",
            "delete one of them",
        );
    }
    if allow_all {
        return Some(RowLevel::AllowAll);
    }
    if inner.get("filters").is_none() {
        problems.error(
            &node.place,
            format!("{} has no filters", inner.what),
            "",
            "add `filters:`, or `allow_all: true`",
        );
    }
    Some(RowLevel::Filters(filter::filters(&inner, "filters", problems)))
}
