//! Views (semantics 1.13): join paths, the members they take, members of their own, folders.

use indexmap::IndexMap;

use crate::check;
use crate::definitions::Definition;
use crate::did_you_mean;
use crate::problems::Problems;
use crate::read::access_policy::access_policies;
use crate::read::dimension::dimension;
use crate::read::fields::{Fields, Vocabulary};
use crate::read::filter;
use crate::read::include::{Include, IncludedMember, include};
use crate::read::measure::measure;
use crate::read::naming::naming;
use crate::references::{References, Scope};
use crate::symbols::{MemberSymbol, Symbols};
use crate::yaml::Node;
use crate::{
    Cube, Folder, MemberKind, ModelFilter, Naming, Place, Unsupported, View, ViewHierarchy, ViewMember, ViewMemberValue,
};

/// Reads a view, and the views that `split: true` makes of it.
pub(crate) fn view(
    definition: &Definition<'_>,
    cubes: &IndexMap<String, Cube>,
    symbols: &Symbols,
    problems: &mut Problems,
) -> Vec<View> {
    let name = &definition.name;
    let fields = &definition.fields;
    let (naming, computed_public) = naming(fields, name, &definition.place, true, problems);
    if definition.list("cubes").is_empty() && fields.get("cubes").is_none() {
        problems.error(
            &definition.place,
            format!("view \"{name}\" has no cubes"),
            "no `cubes` here",
            "add `cubes:` with a list of `join_path` and `includes`",
        );
    }
    let mut includes = Vec::new();
    for unnamed in definition.list("cubes") {
        problems.inherited = unnamed.inherited;
        let mut references = References::new(symbols, problems, Scope::Cube(name));
        let found = include(unnamed.node, name, &mut references);
        includes.extend(found.map(|include| Include { inherited: unnamed.inherited, ..include }));
        problems.inherited = false;
    }

    let mut main = View {
        naming,
        members: IndexMap::new(),
        join_paths: Vec::new(),
        folders: Vec::new(),
        default_filters: Vec::new(),
        access_policies: Vec::new(),
        hierarchies: Vec::new(),
        groups: fields.strings("view_group", problems),
        unsupported: None,
    };
    main.groups.extend(fields.strings("view_groups", problems));
    let mut split: IndexMap<String, View> = IndexMap::new();
    for include in &includes {
        let target = if include.split {
            let split_name = format!("{name}_{}", include.path.last().map_or("", String::as_str));
            split.entry(split_name.clone()).or_insert_with(|| View {
                naming: Naming { name: split_name, title: None, ..main.naming.clone() },
                members: IndexMap::new(),
                join_paths: Vec::new(),
                folders: Vec::new(),
                default_filters: Vec::new(),
                access_policies: Vec::new(),
                hierarchies: Vec::new(),
                groups: main.groups.clone(),
                unsupported: None,
            })
        } else {
            &mut main
        };
        problems.inherited = include.inherited;
        add_members(target, include, cubes, symbols, problems);
        problems.inherited = false;
    }
    for view in std::iter::once(&mut main).chain(split.values_mut()) {
        add_hierarchies(view, &includes, cubes, symbols);
    }
    add_own_members(&mut main, definition, symbols, problems);

    main.folders = folders(definition, &main, &includes, problems);
    main.default_filters = default_filters(definition, problems);
    let names: Vec<&str> = main.members.keys().map(String::as_str).collect();
    check::unknown_filter_member::check(&main.default_filters, name, &names, problems);
    check::filter_value::check(&main.default_filters, problems);
    let members: Vec<&str> = main.members.keys().map(String::as_str).collect();
    let policies = access_policies(definition, &members, problems);
    // What a part of a view is filtered by may not be among its members.
    let policy = policies.first().map(|policy| feature("access_policy", &policy.place));
    let default_filter = main.default_filters.first().map(|filter| feature("default_filters", &filter.place));
    let of_parts = policy
        .or(default_filter)
        .map(|feature| Unsupported { feature: format!("{} together with `split`", feature.feature), ..feature });
    main.access_policies = policies;
    let mut views = vec![main];
    views.extend(split.into_values().map(|part| View { unsupported: of_parts.clone(), ..part }));
    for view in &mut views {
        view.unsupported = view.unsupported.take().or_else(|| computed_public.clone());
        view.members.sort_by(|_, a, _, b| a.kind.cmp(&b.kind));
    }
    views
}

/// A child cannot take back what its parent filters: both hold.
fn default_filters(definition: &Definition<'_>, problems: &mut Problems) -> Vec<ModelFilter> {
    let what = format!("a default filter of view \"{}\"", definition.name);
    let mut filters = Vec::new();
    for unnamed in definition.list("default_filters") {
        problems.inherited = unnamed.inherited;
        filters.extend(filter::filter(unnamed.node, &what, problems));
        problems.inherited = false;
    }
    filters
}

fn feature(name: &str, place: &Place) -> Unsupported {
    Unsupported { feature: name.to_owned(), place: place.clone() }
}

fn add_members(
    view: &mut View,
    include: &Include,
    cubes: &IndexMap<String, Cube>,
    symbols: &Symbols,
    problems: &mut Problems,
) {
    let Some(cube) = include.path.last().and_then(|name| cubes.get(name)) else { return };
    view.join_paths.push(include.path.clone());
    for included in &include.members {
        if symbols.member(&cube.naming.name, &included.member) == Some(&MemberSymbol::Hierarchy) {
            add_levels(view, include, included, cube);
            continue;
        }
        // A member that was too broken to be read is reported already.
        let Some(member) = member(included, &include.path, cube) else { continue };
        check::name_collision::insert(view, included.name.clone(), member, problems);
    }
}

fn member(included: &IncludedMember, path: &[String], cube: &Cube) -> Option<ViewMember> {
    let (source, kind, format) = if let Some(dimension) = cube.dimensions.get(&included.member) {
        (&dimension.naming, MemberKind::Dimension, dimension.format.clone())
    } else if let Some(measure) = cube.measures.get(&included.member) {
        (&measure.naming, MemberKind::Measure, measure.format.clone())
    } else {
        (&cube.segments.get(&included.member)?.naming, MemberKind::Segment, None)
    };
    Some(ViewMember {
        naming: Naming {
            name: included.name.clone(),
            title: included.title.clone().or_else(|| source.title.clone()),
            description: included.description.clone().or_else(|| source.description.clone()),
            // V2: neither `public` nor `primary_key` comes along.
            public: true,
            meta: included.meta.clone().unwrap_or_else(|| source.meta.clone()),
            aliases: source.aliases.clone(),
            place: included.place.clone(),
        },
        kind,
        value: ViewMemberValue::Included { path: path.to_vec(), member: included.member.clone() },
        format: included.format.clone().or(format),
    })
}

/// V16: a hierarchy brings the dimensions of its own cube along.
fn add_levels(view: &mut View, include: &Include, hierarchy: &IncludedMember, cube: &Cube) {
    let Some(found) = cube.hierarchies.iter().find(|other| other.naming.name == hierarchy.member) else { return };
    for level in found.levels.iter().filter(|level| level.cube() == cube.naming.name) {
        let is_there = include.members.iter().any(|member| member.member == level.member);
        if is_there || include.excluded.contains(&level.member) {
            continue;
        }
        let prefix = hierarchy.name.strip_suffix(&hierarchy.member).unwrap_or_default();
        let included = IncludedMember {
            member: level.member.clone(),
            name: format!("{prefix}{}", level.member),
            title: None,
            description: None,
            format: None,
            meta: None,
            place: hierarchy.place.clone(),
        };
        if let Some(member) = member(&included, &include.path, cube) {
            view.members.entry(included.name).or_insert(member);
        }
    }
}

fn add_hierarchies(view: &mut View, includes: &[Include], cubes: &IndexMap<String, Cube>, symbols: &Symbols) {
    let mut found = Vec::new();
    for include in includes.iter().filter(|include| view.join_paths.contains(&include.path)) {
        let Some(cube) = include.path.last().and_then(|name| cubes.get(name)) else { continue };
        for included in &include.members {
            if symbols.member(&cube.naming.name, &included.member) != Some(&MemberSymbol::Hierarchy) {
                continue;
            }
            let Some(hierarchy) = cube.hierarchies.iter().find(|h| h.naming.name == included.member) else { continue };
            let name_of_level = |level: &crate::MemberRef| {
                let same = |member: &ViewMember| match &member.value {
                    ViewMemberValue::Included { path, member } => {
                        path.last() == level.path.last() && *member == level.member
                    }
                    _ => false,
                };
                view.members.iter().find(|(_, member)| same(member)).map(|(name, _)| name.clone())
            };
            found.push(ViewHierarchy {
                naming: Naming { name: included.name.clone(), ..hierarchy.naming.clone() },
                levels: hierarchy.levels.iter().filter_map(name_of_level).collect(),
            });
        }
    }
    view.hierarchies = found;
}

/// V7: members of the view itself, over members that it includes or that other cubes have.
fn add_own_members(view: &mut View, definition: &Definition<'_>, symbols: &Symbols, problems: &mut Problems) {
    let own: Vec<String> = ["dimensions", "measures"]
        .iter()
        .flat_map(|key| definition.section(key))
        .map(|item| item.name.clone())
        .collect();
    let included = view.members.clone();
    let mut found = Vec::new();
    for key in ["dimensions", "measures"] {
        for item in definition.section(key) {
            problems.inherited = item.inherited;
            let scope = Scope::View { name: &definition.name, included: &included, own: &own };
            let mut references = References::new(symbols, problems, scope);
            let member = if key == "dimensions" {
                dimension(item, false, &mut references).map(|dimension| ViewMember {
                    naming: dimension.naming.clone(),
                    kind: MemberKind::Dimension,
                    format: dimension.format.clone(),
                    value: ViewMemberValue::OwnDimension(Box::new(dimension)),
                })
            } else {
                measure(item, &mut references).map(|measure| ViewMember {
                    naming: measure.naming.clone(),
                    kind: MemberKind::Measure,
                    format: measure.format.clone(),
                    value: ViewMemberValue::OwnMeasure(Box::new(measure)),
                })
            };
            problems.inherited = false;
            found.extend(member.map(|member| (item.name.clone(), member)));
        }
    }
    for (name, member) in found {
        check::name_collision::insert(view, name, member, problems);
    }
    check::data_in_view::check(view, problems);
    crate::inline::inline_own_members(view, problems);
}

fn folders(definition: &Definition<'_>, view: &View, includes: &[Include], problems: &mut Problems) -> Vec<Folder> {
    let mut folders: Vec<Folder> = Vec::new();
    for unnamed in definition.list("folders") {
        problems.inherited = unnamed.inherited;
        if let Some(folder) = folder(unnamed.node, view, includes, problems) {
            if !unnamed.inherited
                && folders.iter().any(|other| other.name == folder.name && other.place != folder.place)
            {
                problems.error(
                    &folder.place,
                    format!("folder \"{}\" is defined more than once in view \"{}\"", folder.name, view.naming.name),
                    "",
                    "rename one",
                );
            }
            folders.push(folder);
        }
        problems.inherited = false;
    }
    folders
}

fn folder(node: &Node, view: &View, includes: &[Include], problems: &mut Problems) -> Option<Folder> {
    const FOLDER: Vocabulary = Vocabulary { keys: &["name", "includes", "title", "description", "meta"], legacy: &[] };
    const PATH: Vocabulary = Vocabulary { keys: &["join_path", "includes"], legacy: &[] };
    let what = format!("a folder of view \"{}\"", view.naming.name);
    let fields = Fields::read(node, &what, FOLDER, problems)?;
    let Some(name) = fields.text("name", problems) else {
        if fields.get("name").is_none() {
            problems.error(&node.place, format!("{what} has no name"), "", "add `name: …`");
        }
        return None;
    };
    let place = fields.node("name").map_or_else(|| node.place.clone(), |node| node.place.clone());
    let mut folder = Folder { name, members: Vec::new(), folders: Vec::new(), place };
    if fields.node("includes").and_then(Node::scalar_text) == Some("*") {
        folder.members = view.members.keys().cloned().collect();
        return Some(folder);
    }
    for item in fields.list("includes", problems) {
        if item.get("name").is_some() {
            folder.folders.extend(self::folder(item, view, includes, problems));
        } else if item.as_map().is_some() {
            let Some(inner) = Fields::read(item, &what, PATH, problems) else { continue };
            let Some(path_node) = inner.node("join_path") else { continue };
            let Some(path) = inner.text("join_path", problems) else { continue };
            let found: Vec<&Include> = includes.iter().filter(|include| include.path.join(".") == path).collect();
            if found.is_empty() {
                problems.error(
                    &path_node.place,
                    format!("view \"{}\" has no join path \"{path}\"", view.naming.name),
                    "",
                    "write a `join_path` of the view's `cubes`",
                );
            }
            let names = found.iter().flat_map(|include| &include.members).map(|member| &member.name);
            folder.members.extend(names.filter(|name| view.members.contains_key(*name)).cloned());
        } else if let Some(member) = item.scalar_text() {
            let is_hierarchy = view.hierarchies.iter().any(|hierarchy| hierarchy.naming.name == member);
            if !view.members.contains_key(member) && !is_hierarchy {
                let help = match did_you_mean::best(member, view.members.keys().map(String::as_str)) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => "name a member of the view as the view calls it".to_owned(),
                };
                problems.error(
                    &item.place,
                    format!("view \"{}\" has no member \"{member}\"", view.naming.name),
                    "",
                    help,
                );
            }
            folder.members.push(member.to_owned());
        }
    }
    Some(folder)
}
