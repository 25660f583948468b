//! Reads SQL texts of model files: `{references}` become names that exist, or a problem at their place.
//!
//! The forms are R1 to R9 of the semantics: `{CUBE}`, `{TABLE}`, `{member}`, `{CUBE.member}`, `{cube}`, `{cube.member}`,
//! `{a.b.c.member}`, `{time.month}`, `{cube.sql()}`, the escapes `\{` and `\}`, and the context variables. `${…}` is the same as
//! `{…}`.

use indexmap::IndexMap;

use crate::interval::PREDEFINED_GRANULARITIES;
use crate::pieces::{Piece, split};
use crate::problems::Problems;
use crate::read::fields::text_of;
use crate::source_text::Marks;
use crate::spelling::{is_identifier, one_of};
use crate::sql_parameter::{SqlParameter, parse_sql_parameter};
use crate::symbols::{MemberSymbol, Symbols};
use crate::yaml::{Node, Value};
use crate::{MemberRef, Place, SqlTemplate, TemplatePart, Unsupported, ViewMember, ViewMemberValue, did_you_mean};

/// Whose SQL is read, which decides what names without a dot mean.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    Cube(&'a str),
    /// A view's own members: they see what the view includes, and each other.
    View {
        name: &'a str,
        included: &'a IndexMap<String, ViewMember>,
        own: &'a [String],
    },
}

impl Scope<'_> {
    fn what(self) -> String {
        match self {
            Scope::Cube(name) => format!("cube \"{name}\""),
            Scope::View { name, .. } => format!("view \"{name}\""),
        }
    }
}

/// Reads templates for one cube or view.
pub(crate) struct References<'a> {
    pub(crate) symbols: &'a Symbols,
    pub(crate) problems: &'a mut Problems,
    pub(crate) scope: Scope<'a>,
    /// The first context variable since somebody last took it.
    pub(crate) context: Option<Unsupported>,
    /// The SQL is a cube's own, between whose tables conditions of the query may stand.
    pub(crate) in_relation: bool,
    /// The SQL is a member's own, whose value may depend on what the query asks.
    pub(crate) in_member: bool,
    /// Other cubes whose alias was used since somebody last took them.
    pub(crate) aliases: Vec<(String, Place)>,
}

/// The names that make an expression a context variable, with nothing else to resolve.
const CONTEXT_NAMES: [&str; 8] = [
    "FILTER_PARAMS",
    "FILTER_GROUP",
    "SECURITY_CONTEXT",
    "security_context",
    "COMPILE_CONTEXT",
    "SQL_UTILS",
    "USER_CONTEXT",
    "lambda",
];

impl<'a> References<'a> {
    pub(crate) fn new(symbols: &'a Symbols, problems: &'a mut Problems, scope: Scope<'a>) -> Self {
        Self { symbols, problems, scope, context: None, in_relation: false, in_member: false, aliases: Vec::new() }
    }

    /// Forgets what was met before: the next item begins.
    pub(crate) fn begin(&mut self) {
        self.context = None;
        self.aliases.clear();
    }

    /// The SQL of a scalar with its references resolved; `None` if it is not text. References that are wrong are left out.
    pub(crate) fn template(&mut self, node: &Node, what: &str) -> Option<SqlTemplate> {
        let text = text_of(node, what, self.problems)?;
        if text.trim().is_empty() {
            self.problems.error(&node.place, format!("{what} is empty"), "", "write SQL, or delete the key");
            return None;
        }
        let mut parts = Vec::new();
        if text.contains(['{', '}', '\\']) {
            let file = std::sync::Arc::clone(&node.place.file);
            let marks = self.problems.source(&file).map(|source| source.marks(node));
            let place = |offset: usize, length: usize| {
                marks.as_ref().map_or_else(|| node.place.clone(), |marks: &Marks| marks.place(offset, length))
            };
            for piece in split(text) {
                match piece {
                    Piece::Text(text) => parts.push(TemplatePart::Text(text)),
                    Piece::Reference { expression, offset, length } => {
                        parts.extend(self.expression(&expression, &place(offset, length)));
                    }
                    Piece::Jinja { offset } => self.problems.error(
                        &place(offset, 2),
                        format!("{what} has a Jinja template"),
                        "",
                        "Jinja is not read yet: write the SQL out; a literal brace is written `\\{`",
                    ),
                    Piece::Stray { offset } => self.problems.error(
                        &place(offset, 1),
                        format!("a brace without its partner in {what}"),
                        "",
                        "references are written `{name}`, a literal brace `\\{` or `\\}`",
                    ),
                }
            }
        } else {
            parts.push(TemplatePart::Text(text.to_owned()));
        }
        Some(SqlTemplate { parts, place: node.place.clone(), text: text.to_owned() })
    }

    /// As [`Self::template`], of SQL that is a member's value.
    pub(crate) fn member_template(&mut self, node: &Node, what: &str) -> Option<SqlTemplate> {
        self.in_member = matches!(self.scope, Scope::Cube(_));
        let template = self.template(node, what);
        self.in_member = false;
        template
    }

    /// A member named outside SQL, as in `drill_members` or a rollup's `dimensions`; braces around it are allowed.
    pub(crate) fn member(&mut self, node: &Node, what: &str) -> Option<MemberRef> {
        let written = text_of(node, what, self.problems)?;
        let name = bare(written);
        match self.path(name, &node.place)? {
            TemplatePart::Member(member) => Some(member),
            _ => {
                self.problems.error(
                    &node.place,
                    format!("{what} must be a member, and \"{name}\" is a cube"),
                    "",
                    "write `cube.member`",
                );
                None
            }
        }
    }

    /// Like [`Self::member`] for each item of a list, or for one item alone; `word` says which kind they must be.
    pub(crate) fn members(&mut self, node: &Node, what: &str, allowed: &[&str]) -> Vec<MemberRef> {
        let items: Vec<&Node> = match &node.value {
            Value::List(items) => items.iter().collect(),
            _ => vec![node],
        };
        items.into_iter().filter_map(|item| self.member_of_kind(item, what, allowed)).collect()
    }

    pub(crate) fn member_of_kind(&mut self, node: &Node, what: &str, allowed: &[&str]) -> Option<MemberRef> {
        let member = self.member(node, what)?;
        let word = self.symbols.member(member.cube(), &member.member).map(MemberSymbol::word);
        if let Some(word) = word
            && !allowed.contains(&word)
        {
            self.problems.error(
                &node.place,
                format!("{what} names the {word} \"{}.{}\"", member.cube(), member.member),
                "",
                format!("name a {} here", allowed.join(" or a ")),
            );
            return None;
        }
        Some(member)
    }

    /// What stands between braces.
    fn expression(&mut self, expression: &str, place: &Place) -> Option<TemplatePart> {
        let trimmed = expression.trim();
        let first_word: &str = trimmed.split(|c: char| !(c == '_' || c.is_ascii_alphanumeric())).next().unwrap_or("");
        if let Some(parameter) = parse_sql_parameter(trimmed)
            && match &parameter {
                SqlParameter::Filters(_) => self.in_relation || self.in_member,
                SqlParameter::Context { .. } => self.in_relation,
                SqlParameter::LocalTime(_) => self.in_member,
            }
        {
            self.check_parameter(&parameter, place);
            return Some(TemplatePart::Parameter(parameter));
        }
        if CONTEXT_NAMES.contains(&first_word) && trimmed != "lambda" {
            let feature = match trimmed.split('(').next().unwrap_or(first_word) {
                call if call.trim().ends_with(".unsafeValue") => {
                    "unsafeValue() (it puts what is known of a user into SQL as text, which is open to SQL injection: write .filter('column'))"
                }
                call if first_word == "SQL_UTILS" => call.trim(),
                _ => first_word,
            };
            self.context.get_or_insert_with(|| Unsupported { feature: feature.to_owned(), place: place.clone() });
            return Some(TemplatePart::Context(trimmed.to_owned()));
        }
        if let Some(cube) = trimmed.strip_suffix(')').and_then(|rest| rest.trim_end().strip_suffix('(')) {
            let cube = cube.trim_end().strip_suffix("sql").and_then(|rest| rest.trim_end().strip_suffix('.'));
            return self.cube_sql(cube.map(str::trim), trimmed, place);
        }
        self.path(trimmed, place)
    }

    /// A name that does not exist would never be filtered by, and nobody would notice.
    fn check_parameter(&mut self, parameter: &SqlParameter, place: &Place) {
        let SqlParameter::Filters(filters) = parameter else { return };
        for filter in filters {
            if !self.symbols.cubes.contains_key(&filter.cube) {
                self.unknown_cube(&filter.cube, place);
            } else if self.symbols.member(&filter.cube, &filter.member).is_none() {
                self.unknown_member(&filter.cube, &filter.member, place, false);
            }
        }
    }

    fn cube_sql(&mut self, cube: Option<&str>, written: &str, place: &Place) -> Option<TemplatePart> {
        let Some(cube) = cube else {
            self.not_a_reference(written, place);
            return None;
        };
        let cube = match self.scope {
            Scope::Cube(own) if is_own_name(cube) => own,
            _ => cube,
        };
        if self.symbols.cubes.contains_key(cube) {
            return Some(TemplatePart::CubeSql(cube.to_owned()));
        }
        self.unknown_cube(cube, place);
        None
    }

    /// A dotted path of names.
    fn path(&mut self, written: &str, place: &Place) -> Option<TemplatePart> {
        let names: Vec<&str> = written.split('.').map(str::trim).collect();
        if names.is_empty() || names.len() > 32 || !names.iter().all(|name| is_identifier(name)) {
            self.not_a_reference(written, place);
            return None;
        }
        match self.scope {
            Scope::Cube(own) => self.path_in_cube(own, &names, place),
            Scope::View { .. } => self.path_in_view(&names, place),
        }
    }

    fn path_in_cube(&mut self, own: &str, names: &[&str], place: &Place) -> Option<TemplatePart> {
        let symbols = self.symbols;
        let first = names[0];
        let is_cube = is_own_name(first) || symbols.cubes.contains_key(first);
        if !is_cube {
            if symbols.member(own, first).is_some() {
                return self.member_at_end(vec![own.to_owned()], names, place);
            }
            if names.len() == 1 || names.len() == 2 && PREDEFINED_GRANULARITIES.contains(&names[1]) {
                self.unknown_member(own, first, place, true);
            } else {
                self.unknown_cube(first, place);
            }
            return None;
        }
        let first = if is_own_name(first) { own } else { first };
        if names.len() == 1 {
            if first == own {
                return Some(TemplatePart::ThisCube);
            }
            self.aliases.push((first.to_owned(), place.clone()));
            return Some(TemplatePart::Cube(first.to_owned()));
        }
        self.walk(first, &names[1..], place)
    }

    fn path_in_view(&mut self, names: &[&str], place: &Place) -> Option<TemplatePart> {
        let Scope::View { name, included, own } = self.scope else { return None };
        let (first, rest) = match names {
            [first, second, rest @ ..] if is_own_name(first) || *first == name => (*second, rest),
            [first, rest @ ..] => (*first, rest),
            [] => return None,
        };
        if own.iter().any(|member| member == first) {
            if !rest.is_empty() {
                self.problems.error(
                    place,
                    format!("\"{first}\" of view \"{name}\" is the view's own, and only its name can be used here"),
                    "",
                    "refer to the cube's time dimension and its granularity",
                );
                return None;
            }
            return Some(TemplatePart::Member(MemberRef {
                path: vec![name.to_owned()],
                member: first.to_owned(),
                granularity: None,
                place: place.clone(),
            }));
        }
        if let Some(ViewMember { value: ViewMemberValue::Included { path, member }, .. }) = included.get(first) {
            let mut names = vec![member.as_str()];
            names.extend(rest);
            return self.member_at_end(path.clone(), &names, place);
        }
        if self.symbols.cubes.contains_key(first) {
            if rest.is_empty() {
                self.problems.error(
                    place,
                    format!("view \"{name}\" uses cube \"{first}\" itself"),
                    "",
                    "a view's own members are made of members only: write `{cube.member}`",
                );
                return None;
            }
            return self.walk(first, rest, place);
        }
        let candidates =
            included.keys().chain(own).map(String::as_str).chain(self.symbols.cubes.keys().map(String::as_str));
        let help = match did_you_mean::best(first, candidates) {
            Some(close) => format!("did you mean `{close}`?"),
            None => "name a member that the view includes, or `cube.member`".to_owned(),
        };
        self.problems.error(place, format!("view \"{name}\" has no member \"{first}\""), "", help);
        None
    }

    /// From `cube` through joined cubes to a member; `names` has at least one name.
    fn walk(&mut self, cube: &str, names: &[&str], place: &Place) -> Option<TemplatePart> {
        let symbols = self.symbols;
        let mut path = vec![cube.to_owned()];
        let mut names = names;
        loop {
            let current = path.last().map_or("", String::as_str).to_owned();
            let next = names[0];
            // A name may be both a member and a joined cube; with more behind it, it is the cube unless that is a granularity.
            let joins_next = symbols.cubes.get(&current).is_some_and(|cube| cube.joins.iter().any(|join| join == next));
            let is_path = joins_next && names.len() > 1 && !self.has_granularity(&current, next, names[1]);
            if symbols.member(&current, next).is_some() && !is_path {
                return self.member_at_end(path, names, place);
            }
            if !symbols.cubes.contains_key(next) {
                if names.len() == 1
                    || symbols.cubes.get(&current).is_some_and(|c| !c.joins.iter().any(|join| join == next))
                {
                    self.unknown_member(&current, next, place, false);
                } else {
                    self.unknown_cube(next, place);
                }
                return None;
            }
            if !symbols.cubes.get(&current).is_some_and(|cube| cube.joins.iter().any(|join| join == next)) {
                self.no_such_join(&current, next, place);
                return None;
            }
            path.push(next.to_owned());
            names = &names[1..];
            if names.is_empty() {
                self.aliases.push((next.to_owned(), place.clone()));
                return Some(TemplatePart::Cube(next.to_owned()));
            }
        }
    }

    fn has_granularity(&self, cube: &str, member: &str, granularity: &str) -> bool {
        match self.symbols.member(cube, member) {
            Some(MemberSymbol::Dimension { time: true, granularities }) => {
                PREDEFINED_GRANULARITIES.contains(&granularity) || granularities.iter().any(|own| own == granularity)
            }
            _ => false,
        }
    }

    /// `names` is a member of the last cube of `path`, and maybe a granularity.
    fn member_at_end(&mut self, path: Vec<String>, names: &[&str], place: &Place) -> Option<TemplatePart> {
        let cube = path.last().map_or("", String::as_str);
        let member = names[0];
        let granularity = match names {
            [_] => None,
            [_, granularity] => {
                let known: &[String] = match self.symbols.member(cube, member) {
                    Some(MemberSymbol::Dimension { time: true, granularities }) => granularities,
                    _ => {
                        self.problems.error(
                            place,
                            format!("\"{cube}.{member}\" has no granularities"),
                            "",
                            "only dimensions of type `time` have granularities",
                        );
                        return None;
                    }
                };
                let names = || PREDEFINED_GRANULARITIES.into_iter().chain(known.iter().map(String::as_str));
                if !names().any(|name| name == *granularity) {
                    let help = match did_you_mean::best(granularity, names()) {
                        Some(close) => format!("did you mean `{close}`?"),
                        None => format!("write {}", one_of(names())),
                    };
                    self.problems.error(
                        place,
                        format!("time dimension \"{cube}.{member}\" has no granularity \"{granularity}\""),
                        "",
                        help,
                    );
                    return None;
                }
                Some((*granularity).to_owned())
            }
            _ => {
                self.problems.error(
                    place,
                    format!("nothing can stand behind \"{cube}.{member}\" but one granularity"),
                    "",
                    "write `cube.member` or `cube.time_dimension.granularity`",
                );
                return None;
            }
        };
        let member = member.to_owned();
        Some(TemplatePart::Member(MemberRef { path, member, granularity, place: place.clone() }))
    }

    fn not_a_reference(&mut self, written: &str, place: &Place) {
        let shown: String = written.chars().take(60).collect();
        self.problems.error(
            place,
            format!("`{shown}` is not a reference"),
            "",
            "braces hold the name of a cube or member; a literal brace is written `\\{` or `\\}`",
        );
    }

    pub(crate) fn unknown_cube(&mut self, cube: &str, place: &Place) {
        let help = match did_you_mean::best(cube, self.symbols.cubes.keys().map(String::as_str)) {
            _ if self.symbols.views.contains(cube) => {
                "this is a view: name the cube that it takes the member from".to_owned()
            }
            Some(close) => format!("did you mean `{close}`?"),
            None => "name a cube that is defined in some file".to_owned(),
        };
        self.problems.error(place, format!("cube \"{cube}\" does not exist"), "", help);
    }

    fn unknown_member(&mut self, cube: &str, member: &str, place: &Place, cubes_too: bool) {
        if self.symbols.cubes.get(cube).is_some_and(|cube| cube.incomplete) {
            return;
        }
        let members = self.symbols.cubes.get(cube).into_iter().flat_map(|c| c.members.keys()).map(String::as_str);
        let cubes = self.symbols.cubes.keys().map(String::as_str).filter(|_| cubes_too);
        let help = match did_you_mean::best(member, members.chain(cubes)) {
            Some(close) => format!("did you mean `{close}`?"),
            None if self.scope_is(cube) => format!("for a column of the table write `{{CUBE}}.{member}`"),
            None => format!("add \"{member}\" to cube \"{cube}\", or name another member"),
        };
        self.problems.error(place, format!("cube \"{cube}\" has no member \"{member}\""), "", help);
    }

    fn scope_is(&self, cube: &str) -> bool {
        matches!(self.scope, Scope::Cube(own) if own == cube)
    }

    pub(crate) fn no_such_join(&mut self, from: &str, to: &str, place: &Place) {
        if self.symbols.cubes.get(from).is_some_and(|cube| cube.incomplete) {
            return;
        }
        let joins = self.symbols.cubes.get(from).map(|cube| cube.joins.as_slice()).unwrap_or_default();
        let help = if joins.is_empty() {
            format!("add a join to \"{to}\" to cube \"{from}\"")
        } else {
            format!("\"{from}\" joins {}; add a join to \"{to}\" there", one_of(joins.iter().map(String::as_str)))
        };
        self.problems.error(place, format!("cube \"{from}\" has no join to \"{to}\""), "", help);
    }

    /// What a message calls the owner of the SQL.
    pub(crate) fn owner(&self) -> String {
        self.scope.what()
    }
}

fn is_own_name(name: &str) -> bool {
    matches!(name, "CUBE" | "TABLE")
}

/// The name inside `{…}` or `${…}`, or the text itself.
pub(crate) fn bare(written: &str) -> &str {
    let trimmed = written.trim();
    let inner = trimmed.strip_prefix('$').unwrap_or(trimmed);
    inner.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).map_or(trimmed, str::trim)
}
