//! Values that several kinds of members have: format, currency, mask, links, intervals.

use crate::interval::parse_interval;
use crate::problems::Problems;
use crate::read::fields::{Fields, Vocabulary, text_of};
use crate::references::References;
use crate::yaml::Node;
use crate::{Interval, Link, LinkTarget, Mask, SqlTemplate};

/// SQL that must be there.
pub(crate) fn required_sql(
    fields: &Fields<'_>,
    key: &str,
    what: &str,
    references: &mut References<'_>,
) -> Option<SqlTemplate> {
    let Some(node) = fields.node(key) else {
        references.problems.error(&fields.place, format!("{what} has no `{key}`"), "", format!("add `{key}: …`"));
        return None;
    };
    references.template(node, &format!("`{key}` of {what}"))
}

pub(crate) fn interval(node: &Node, text: &str, what: &str, problems: &mut Problems) -> Option<Interval> {
    parse_interval(text)
        .map_err(|why| {
            problems.error(
                &node.place,
                format!("{what} is not an interval"),
                why,
                "write an interval such as `1 month` or `-2 weeks 3 days`",
            )
        })
        .ok()
}

/// Any text, or `{type: link, label: …}`: a hint for tools, kept as it is.
pub(crate) fn format(fields: &Fields<'_>, problems: &mut Problems) -> Option<serde_json::Value> {
    let node = fields.node("format")?;
    if node.as_map().is_some() {
        const FORMAT: Vocabulary = Vocabulary { keys: &["type", "label", "value"], legacy: &[] };
        Fields::read(node, &format!("`format` of {}", fields.what), FORMAT, problems)?;
    } else {
        text_of(node, &format!("`format` of {}", fields.what), problems)?;
        if let Some(text) = node.scalar_text() {
            // `imageUrl` is an enum value; a d3 or strftime text has no place for a lower-to-upper step.
            let named = ["imageUrl"].contains(&text);
            return Some(if named { crate::spelling::snake_case(text) } else { text.to_owned() }.into());
        }
    }
    Some(node.to_json())
}

pub(crate) fn currency(fields: &Fields<'_>, numeric: bool, problems: &mut Problems) -> Option<String> {
    let node = fields.node("currency")?;
    let text = fields.text("currency", problems)?;
    if !numeric {
        problems.error(
            &node.place,
            format!("{} has a currency, and is not a number", fields.what),
            "",
            "delete `currency`",
        );
    } else if text.len() != 3 || !text.bytes().all(|b| b.is_ascii_alphabetic()) {
        problems.error(
            &node.place,
            format!("\"{text}\" is not a currency code"),
            "",
            "write three letters, such as `EUR`",
        );
    }
    Some(text.to_uppercase())
}

pub(crate) fn mask(fields: &Fields<'_>, references: &mut References<'_>) -> Option<Mask> {
    let node = fields.node("mask")?;
    if node.as_map().is_some() {
        const MASK: Vocabulary = Vocabulary { keys: &["sql"], legacy: &[] };
        let what = format!("`mask` of {}", fields.what);
        let inner = Fields::read(node, &what, MASK, references.problems)?;
        // A context variable in a mask matters only to access policies, and those are refused on their own.
        let before = references.context.take();
        let sql = required_sql(&inner, "sql", &what, references).map(Mask::Sql);
        references.context = before;
        return sql;
    }
    text_of(node, &format!("`mask` of {}", fields.what), references.problems)?;
    Some(Mask::Literal(node.to_json()))
}

pub(crate) fn links(fields: &Fields<'_>, problems: &mut Problems) -> Vec<Link> {
    const LINK: Vocabulary =
        Vocabulary { keys: &["name", "label", "url", "dashboard", "icon", "target", "primary", "params"], legacy: &[] };
    let mut links: Vec<Link> = Vec::new();
    for node in fields.list("links", problems) {
        let what = format!("a link of {}", fields.what);
        let Some((name, place)) = crate::definitions::name_of(node, &what, problems) else { continue };
        let what = format!("link \"{name}\" of {}", fields.what);
        let Some(inner) = Fields::read(node, &what, LINK, problems) else { continue };
        if links.iter().any(|link| link.name == name) {
            problems.error(&place, format!("{what} is defined more than once"), "", "rename one");
        }
        let target = match (inner.text("url", problems), inner.text("dashboard", problems)) {
            (Some(url), None) => LinkTarget::Url(url),
            (None, Some(dashboard)) => LinkTarget::Dashboard(dashboard),
            _ => {
                problems.error(
                    &place,
                    format!("{what} must have one of `url` and `dashboard`"),
                    "",
                    "give it exactly one target",
                );
                continue;
            }
        };
        let primary = inner.boolean("primary", problems).unwrap_or(false);
        if primary && links.iter().any(|link| link.primary) {
            problems.error(
                &place,
                format!("{} has two primary links", fields.what),
                "",
                "only one link may be primary",
            );
        }
        links.push(Link {
            name,
            label: inner.text("label", problems),
            target,
            icon: inner.text("icon", problems),
            opens_blank: inner.one_of("target", &[("blank", true), ("self", false)], &[], problems).unwrap_or(true),
            primary,
            params: params(&inner, problems),
        });
    }
    links
}

fn params(link: &Fields<'_>, problems: &mut Problems) -> Vec<(String, String)> {
    const PARAM: Vocabulary = Vocabulary { keys: &["key", "value"], legacy: &[] };
    let what = format!("a parameter of {}", link.what);
    let mut params = Vec::new();
    for node in link.list("params", problems) {
        let Some(inner) = Fields::read(node, &what, PARAM, problems) else { continue };
        params.extend(inner.text("key", problems).zip(inner.text("value", problems)));
    }
    params
}
