//! The scalar functions of catalog statements.

use crate::catalog::PUBLIC;
use crate::error::{CatalogError, Result};
use crate::exec::Ctx;
use crate::pg_types::{self as ty, Oid, TypeTable};
use crate::tables;
use crate::value::{Value, write_time};
use belvedere_functions::identifiers::{KEYWORDS, quote_ident};

/// Stands in an argument list for "any type, as its text".
pub const AS_TEXT: Oid = ty::UNKNOWN;
/// Stands in an argument list for "any array, its elements as text".
pub const ARRAY_AS_TEXT: Oid = u32::MAX;

/// Functions that are called without parentheses.
pub const BARE: &[&str] =
    &["current_user", "session_user", "user", "current_role", "current_catalog", "current_schema", "current_timestamp"];

/// One function: its name, the types it takes, and how it is computed.
pub struct Builtin {
    pub name: &'static str,
    args: &'static [Oid],
    /// How many of the last arguments may be left out.
    optional: usize,
    /// Whether the last argument may be repeated.
    variadic: bool,
    /// `ANYELEMENT` and `ANYARRAY` follow the arguments declared so.
    pub returns: Oid,
    /// NULL when any argument is.
    pub strict: bool,
    pub eval: fn(&Ctx<'_>, &[Value]) -> Result<Value>,
}

impl std::fmt::Debug for Builtin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Builtin {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.args == other.args
    }
}

impl Builtin {
    /// The declared type of an argument.
    pub fn argument(&self, at: usize) -> Oid {
        self.args.get(at).or(self.args.last()).copied().unwrap_or(ty::TEXT)
    }

    fn takes(&self, types: &TypeTable, given: &[Oid]) -> bool {
        let most = if self.variadic { usize::MAX } else { self.args.len() };
        if given.len() > most || given.len() + self.optional < self.args.len() {
            return false;
        }
        given.iter().enumerate().all(|(at, given)| match self.argument(at) {
            AS_TEXT => true,
            ARRAY_AS_TEXT => *given == ty::UNKNOWN || types.element_of(*given).is_some(),
            wanted => types.implicit(*given, wanted),
        })
    }
}

/// Finds the first function of a name that takes the given types.
pub fn find(types: &TypeTable, name: &str, given: &[Oid]) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name && builtin.takes(types, given))
}

/// Whether a call of the function makes a statement a catalog statement: it tells about the server, the session or an object.
pub fn tells_about_catalog(name: &str) -> bool {
    BARE.contains(&name) && name != "current_timestamp"
        || (BUILTINS.iter().any(|builtin| builtin.name == name) && !ORDINARY.contains(&name))
        || matches!(
            name,
            "pg_get_keywords"
                | "pg_timezone_names"
                | "pg_options_to_table"
                | "aclexplode"
                | "_pg_expandarray"
                | "pg_listening_channels"
        )
}

/// Functions that any query may call; they do not make a statement a catalog statement.
const ORDINARY: &[&str] = &[
    "lower",
    "upper",
    "length",
    "char_length",
    "btrim",
    "ltrim",
    "rtrim",
    "substring",
    "substr",
    "strpos",
    "replace",
    "concat",
    "left",
    "right",
    "split_part",
    "position",
    "quote_literal",
    "quote_nullable",
    "format",
    "now",
    "array_to_string",
    "string_to_array",
    "array_upper",
    "array_lower",
    "array_length",
    "cardinality",
    "array_position",
    "array_remove",
    "array_append",
    "array_contains_all",
    "array_overlaps",
    "current_timestamp",
    "clock_timestamp",
    "json_build_object",
    "starts_with",
    "abs",
    "repeat",
    "regexp_replace",
    "to_char",
    "md5",
    "ascii",
    "chr",
];

const fn plain(
    name: &'static str,
    args: &'static [Oid],
    returns: Oid,
    eval: fn(&Ctx<'_>, &[Value]) -> Result<Value>,
) -> Builtin {
    Builtin { name, args, optional: 0, variadic: false, returns, strict: true, eval }
}

impl Builtin {
    const fn optional(mut self, optional: usize) -> Self {
        self.optional = optional;
        self
    }

    const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }

    const fn lenient(mut self) -> Self {
        self.strict = false;
        self
    }
}

fn int(value: &Value) -> i64 {
    value.as_int().unwrap_or(0)
}

fn oid(value: &Value) -> Oid {
    Oid::try_from(int(value)).unwrap_or(0)
}

fn text(value: impl AsRef<str>) -> Result<Value> {
    Ok(Value::text(value))
}

fn yes(_: &Ctx<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Bool(true))
}

fn no(_: &Ctx<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Bool(false))
}

fn null(_: &Ctx<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Null)
}

fn zero(_: &Ctx<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Int(0))
}

fn void(_: &Ctx<'_>, _: &[Value]) -> Result<Value> {
    text("")
}

fn user(ctx: &Ctx<'_>, _: &[Value]) -> Result<Value> {
    text(&ctx.session.user)
}

fn database(ctx: &Ctx<'_>, _: &[Value]) -> Result<Value> {
    text(&ctx.session.database)
}

/// The column of the row with that oid in a system relation; NULL when there is none.
fn column_of(ctx: &Ctx<'_>, relation: &str, oid: Oid, column: &str) -> Result<Value> {
    let Some(at) = ctx.catalog.find(Some("pg_catalog"), relation, ctx.session) else { return Ok(Value::Null) };
    let columns = &ctx.catalog.system[at].columns;
    let position = |name: &str| columns.iter().position(|column| column.name == name);
    let (Some(key), Some(column)) = (position("oid"), position(column)) else { return Ok(Value::Null) };
    let table = ctx.catalog.table(at, ctx.session)?;
    let index = table.index(key);
    let row = index.get(&Value::Int(i64::from(oid))).and_then(|rows| rows.first());
    Ok(row.map_or(Value::Null, |row| table.rows[*row as usize][column].clone()))
}

/// `pg_…_is_visible` for objects of a relation: whether their namespace is on the search path; NULL when there is none.
fn visible(ctx: &Ctx<'_>, relation: &str, oid: Oid, column: &str) -> Result<Value> {
    Ok(match column_of(ctx, relation, oid, column)? {
        Value::Int(namespace) => Value::Bool(ctx.catalog.on_path(namespace as Oid, ctx.session)),
        _ => Value::Null,
    })
}

fn comment(ctx: &Ctx<'_>, object: Oid, column: i64) -> Value {
    let Some(relation) = ctx.catalog.model_relation(object) else { return Value::Null };
    let comment = match usize::try_from(column) {
        Ok(0) => relation.comment.as_ref(),
        Ok(number) => relation.columns.get(number - 1).and_then(|column| column.comment.as_ref()),
        Err(_) => None,
    };
    comment.map_or(Value::Null, Value::text)
}

/// What `has_…_privilege` answers: everyone may read and use what they see, and nothing is written.
fn privilege(_: &Ctx<'_>, args: &[Value]) -> Result<Value> {
    let asked = args.last().map_or("", Value::as_str);
    let mut any = false;
    for one in asked.split(',') {
        match one.trim().to_ascii_uppercase().as_str() {
            "SELECT" | "USAGE" | "CONNECT" | "TEMP" | "TEMPORARY" | "EXECUTE" | "MEMBER" | "SET" => any = true,
            "INSERT" | "UPDATE" | "DELETE" | "TRUNCATE" | "REFERENCES" | "TRIGGER" | "CREATE" | "MAINTAIN" => {}
            grant if grant.ends_with(" WITH GRANT OPTION") || grant.ends_with(" WITH ADMIN OPTION") => {}
            _ => return Err(CatalogError::new("22023", format!("unrecognized privilege type: \"{}\"", one.trim()))),
        }
    }
    Ok(Value::Bool(any))
}

fn format_type(ctx: &Ctx<'_>, args: &[Value]) -> Result<Value> {
    let Value::Int(pg_type) = args[0] else { return Ok(Value::Null) };
    let typmod = args.get(1).and_then(Value::as_int).map(|typmod| typmod as i32);
    text(ctx.catalog.types.format(pg_type as Oid, typmod))
}

fn arguments(ctx: &Ctx<'_>, args: &[Value], with_names: bool) -> Result<Value> {
    let function = oid(&args[0]);
    let types = match column_of(ctx, "pg_proc", function, "proallargtypes")? {
        Value::Null => column_of(ctx, "pg_proc", function, "proargtypes")?,
        all => all,
    };
    if types.is_null() {
        return Ok(Value::Null);
    }
    let modes = column_of(ctx, "pg_proc", function, "proargmodes")?;
    let names = column_of(ctx, "pg_proc", function, "proargnames")?;
    let mut out = Vec::new();
    for (at, pg_type) in types.items().iter().enumerate() {
        let mode = modes.items().get(at).map_or("i", Value::as_str);
        let name = names.items().get(at).map_or("", Value::as_str);
        // A table function's columns belong to its result.
        if mode == "t" || (!with_names && mode == "o") {
            continue;
        }
        let mut part = match mode {
            "o" => "OUT ".to_owned(),
            "b" => "INOUT ".to_owned(),
            "v" => "VARIADIC ".to_owned(),
            _ => String::new(),
        };
        if !name.is_empty() {
            part.push_str(&quote_ident(name));
            part.push(' ');
        }
        part.push_str(&ctx.catalog.types.format(oid(pg_type), None));
        out.push(part);
    }
    text(out.join(", "))
}

fn function_result(ctx: &Ctx<'_>, args: &[Value]) -> Result<Value> {
    let function = oid(&args[0]);
    let Value::Int(result) = column_of(ctx, "pg_proc", function, "prorettype")? else { return Ok(Value::Null) };
    let modes = column_of(ctx, "pg_proc", function, "proargmodes")?;
    let shown = ctx.catalog.types.format(result as Oid, None);
    if modes.items().iter().any(|mode| mode.as_str() == "t") {
        let types = column_of(ctx, "pg_proc", function, "proallargtypes")?;
        let names = column_of(ctx, "pg_proc", function, "proargnames")?;
        let columns = modes.items().iter().enumerate().filter(|(_, mode)| mode.as_str() == "t").map(|(at, _)| {
            let name = names.items().get(at).map_or("", Value::as_str);
            let pg_type = types.items().get(at).map_or(0, oid);
            format!("{} {}", quote_ident(name), ctx.catalog.types.format(pg_type, None))
        });
        return text(format!("TABLE({})", columns.collect::<Vec<_>>().join(", ")));
    }
    let set = column_of(ctx, "pg_proc", function, "proretset")?.is_true();
    text(if set { format!("SETOF {shown}") } else { shown })
}

fn array_to_string(_: &Ctx<'_>, args: &[Value]) -> Result<Value> {
    if args[0].is_null() || args[1].is_null() {
        return Ok(Value::Null);
    }
    let absent = args.get(2).filter(|absent| !absent.is_null());
    let parts: Vec<&str> = args[0]
        .items()
        .iter()
        .filter_map(|item| if item.is_null() { absent.map(Value::as_str) } else { Some(item.as_str()) })
        .collect();
    text(parts.join(args[1].as_str()))
}

fn format(_: &Ctx<'_>, args: &[Value]) -> Result<Value> {
    if args[0].is_null() {
        return Ok(Value::Null);
    }
    let mut out = String::new();
    let mut chars = args[0].as_str().chars().peekable();
    let mut next = 1;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut digits = String::new();
        while let Some(digit) = chars.peek().copied().filter(char::is_ascii_digit) {
            digits.push(digit);
            chars.next();
        }
        if chars.peek() == Some(&'$') {
            chars.next();
            next = digits.parse().unwrap_or(usize::MAX);
        } else if !digits.is_empty() {
            return Err(CatalogError::unsupported("a width in format()"));
        }
        let kind = chars.next();
        if kind == Some('%') {
            out.push('%');
            continue;
        }
        let arg = args.get(next).ok_or_else(|| CatalogError::new("22023", "too few arguments for format()"))?;
        next += 1;
        match (kind, arg) {
            (Some('s'), Value::Null) => {}
            (Some('s'), arg) => out.push_str(arg.as_str()),
            (Some('I'), Value::Null) => {
                return Err(CatalogError::new("22004", "null values cannot be formatted as an SQL identifier"));
            }
            (Some('I'), arg) => out.push_str(&quote_ident(arg.as_str())),
            (Some('L'), Value::Null) => out.push_str("NULL"),
            (Some('L'), arg) => out.push_str(&quote_literal(arg.as_str())),
            _ => return Err(CatalogError::new("22023", "unrecognized format() type specifier")),
        }
    }
    text(out)
}

/// Quotes text as a literal; with a backslash inside, as an escape string.
fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

fn substring(_: &Ctx<'_>, args: &[Value]) -> Result<Value> {
    let (from, length) = (int(&args[1]), args.get(2).map(int));
    if length.is_some_and(|length| length < 0) {
        return Err(CatalogError::new("22011", "negative substring length not allowed"));
    }
    let end = length.map_or(i64::MAX, |length| from.saturating_add(length));
    let chars = (1_i64..).zip(args[0].as_str().chars());
    text(chars.filter(|(at, _)| *at >= from && *at < end).map(|(_, c)| c).collect::<String>())
}

fn trimmed(args: &[Value], left: bool, right: bool) -> Result<Value> {
    let set: Vec<char> = args.get(1).map_or(vec![' '], |set| set.as_str().chars().collect());
    let mut out = args[0].as_str();
    if left {
        out = out.trim_start_matches(|c| set.contains(&c));
    }
    if right {
        out = out.trim_end_matches(|c| set.contains(&c));
    }
    text(out)
}

fn string_to_array(_: &Ctx<'_>, args: &[Value]) -> Result<Value> {
    if args[0].is_null() {
        return Ok(Value::Null);
    }
    let source = args[0].as_str();
    let absent = args.get(2).filter(|absent| !absent.is_null()).map(Value::as_str);
    let item = |part: &str| if absent == Some(part) { Value::Null } else { Value::text(part) };
    Ok(Value::array(match (&args[1], source) {
        (_, "") => Vec::new(),
        (Value::Null, _) => source.chars().map(|c| item(c.encode_utf8(&mut [0; 4]))).collect(),
        (separator, _) if separator.as_str().is_empty() => vec![item(source)],
        (separator, _) => source.split(separator.as_str()).map(item).collect(),
    }))
}

fn bounds(args: &[Value]) -> Option<(i64, i64)> {
    match &args[0] {
        Value::Array(array) if int(&args[1]) == 1 && !array.items.is_empty() => {
            Some((array.lower, array.lower + array.items.len() as i64 - 1))
        }
        _ => None,
    }
}

fn current_setting(ctx: &Ctx<'_>, args: &[Value]) -> Result<Value> {
    let name = args[0].as_str();
    match ctx.catalog.setting(name, ctx.session) {
        Some(value) => text(value),
        None if args.get(1).is_some_and(Value::is_true) => Ok(Value::Null),
        None => Err(CatalogError::new("42704", format!("unrecognized configuration parameter \"{name}\""))),
    }
}

fn schemas(ctx: &Ctx<'_>, implicit: bool) -> Vec<Value> {
    let path = ctx.session.search_path.iter().filter(|name| crate::catalog::namespace_oid(name).is_some());
    let listed: Vec<Value> = path.map(Value::text).collect();
    let named = listed.iter().any(|name| name.as_str() == "pg_catalog");
    let first = (implicit && !named).then(|| Value::text("pg_catalog"));
    first.into_iter().chain(listed).collect()
}

fn user_by_id(ctx: &Ctx<'_>, args: &[Value]) -> Result<Value> {
    let role = ctx.catalog.roles_of(ctx.session).into_iter().find(|(id, _)| *id == oid(&args[0]));
    text(role.map_or_else(|| format!("unknown (OID={})", int(&args[0])), |(_, name)| name))
}

fn size_pretty(_: &Ctx<'_>, args: &[Value]) -> Result<Value> {
    let mut size = int(&args[0]);
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if size.abs() < 10 * 1024 {
            return text(format!("{size} {unit}"));
        }
        size = (size + 512) / 1024;
    }
    text(format!("{size} PB"))
}

fn no_function_definition(_: &Ctx<'_>, args: &[Value]) -> Result<Value> {
    Err(CatalogError::new("42809", format!("function with OID {} is built in and has no source text", int(&args[0]))))
}

fn json_text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Time(value) => format!("\"{}\"", write_time(*value).replace(' ', "T")),
        Value::Array(array) => {
            let items: Vec<String> = array.items.iter().map(json_text).collect();
            format!("[{}]", items.join(","))
        }
        Value::Record(items) => {
            let items: Vec<String> =
                (1..).zip(&**items).map(|(at, item)| format!("\"f{at}\":{}", json_text(item))).collect();
            format!("{{{}}}", items.join(","))
        }
        Value::Text(text) => {
            let mut out = String::from("\"");
            for c in text.chars() {
                match c {
                    '"' => out.push_str("\\\""),
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
                    c => out.push(c),
                }
            }
            out.push('"');
            out
        }
    }
}

fn json_build_object(_: &Ctx<'_>, args: &[Value]) -> Result<Value> {
    if !args.len().is_multiple_of(2) {
        return Err(CatalogError::new("22023", "argument list must have even number of elements"));
    }
    let mut parts = Vec::new();
    for pair in args.chunks(2) {
        let key = match &pair[0] {
            Value::Null => return Err(CatalogError::new("22004", "argument 1: key must not be null")),
            Value::Text(_) => json_text(&pair[0]),
            other => format!("\"{}\"", json_text(other)),
        };
        parts.push(format!("{key} : {}", json_text(&pair[1])));
    }
    text(format!("{{{}}}", parts.join(", ")))
}

fn to_reg(ctx: &Ctx<'_>, args: &[Value], to: Oid) -> Result<Value> {
    match crate::casts::cast(ctx, args[0].clone(), ty::TEXT, to, -1) {
        Err(error) if matches!(error.sqlstate, "42P01" | "42704" | "42883" | "42725" | "3F000" | "42602") => {
            Ok(Value::Null)
        }
        other => other,
    }
}

/// `information_schema._pg_numeric_precision` and its like take a type and its modifier.
fn numeric_parts(args: &[Value]) -> Option<(i64, i64)> {
    let typmod = int(&args[1]);
    (oid(&args[0]) == ty::NUMERIC && typmod >= 4).then(|| (((typmod - 4) >> 16) & 0xffff, (typmod - 4) & 0x7ff))
}

const T: Oid = ty::TEXT;
const O: Oid = ty::OID;
const I: Oid = ty::INT4;
const B: Oid = ty::BOOL;

static BUILTINS: &[Builtin] = &[
    // Who and where.
    plain("version", &[], T, |ctx, _| text(&ctx.catalog.snapshot.version)),
    plain("current_database", &[], ty::NAME, database),
    plain("current_catalog", &[], ty::NAME, database),
    plain("current_user", &[], ty::NAME, user),
    plain("session_user", &[], ty::NAME, user),
    plain("current_role", &[], ty::NAME, user),
    plain("user", &[], ty::NAME, user),
    plain("current_schema", &[], ty::NAME, |ctx, _| Ok(schemas(ctx, false).into_iter().next().unwrap_or(Value::Null))),
    plain("current_schemas", &[B], ty::NAME_ARRAY, |ctx, args| Ok(Value::array(schemas(ctx, args[0].is_true())))),
    plain("pg_backend_pid", &[], I, |ctx, _| Ok(Value::Int(i64::from(ctx.session.backend_pid)))),
    plain("inet_server_addr", &[], ty::INET, |ctx, _| {
        Ok(ctx.session.server.map_or(Value::Null, |(address, _)| Value::text(address.to_string())))
    }),
    plain("inet_server_port", &[], I, |ctx, _| {
        Ok(ctx.session.server.map_or(Value::Null, |(_, port)| Value::Int(i64::from(port))))
    }),
    plain("inet_client_addr", &[], ty::INET, |ctx, _| {
        Ok(ctx.session.client.map_or(Value::Null, |(address, _)| Value::text(address.to_string())))
    }),
    plain("inet_client_port", &[], I, |ctx, _| {
        Ok(ctx.session.client.map_or(Value::Null, |(_, port)| Value::Int(i64::from(port))))
    }),
    plain("current_setting", &[T, B], T, current_setting).optional(1),
    plain("pg_is_in_recovery", &[], B, no),
    plain("pg_is_wal_replay_paused", &[], B, no),
    plain("pg_postmaster_start_time", &[], ty::TIMESTAMPTZ, |ctx, _| Ok(Value::Time(ctx.session.server_started_us))),
    plain("pg_conf_load_time", &[], ty::TIMESTAMPTZ, |ctx, _| Ok(Value::Time(ctx.session.server_started_us))),
    plain("now", &[], ty::TIMESTAMPTZ, |ctx, _| Ok(Value::Time(ctx.session.now_us))),
    plain("current_timestamp", &[], ty::TIMESTAMPTZ, |ctx, _| Ok(Value::Time(ctx.session.now_us))),
    plain("getdatabaseencoding", &[], ty::NAME, |_, _| text("UTF8")),
    plain("pg_client_encoding", &[], ty::NAME, |_, _| text("UTF8")),
    plain("pg_my_temp_schema", &[], O, zero),
    plain("pg_is_other_temp_schema", &[O], B, no),
    plain("pg_current_xact_id_if_assigned", &[], T, null),
    plain("pg_encoding_to_char", &[I], ty::NAME, |_, args| {
        let encodings = [
            (0, "SQL_ASCII"),
            (1, "EUC_JP"),
            (2, "EUC_CN"),
            (3, "EUC_KR"),
            (4, "EUC_TW"),
            (5, "EUC_JIS_2004"),
            (6, "UTF8"),
            (7, "MULE_INTERNAL"),
            (8, "LATIN1"),
            (9, "LATIN2"),
            (10, "LATIN3"),
            (11, "LATIN4"),
            (12, "LATIN5"),
            (13, "LATIN6"),
            (14, "LATIN7"),
            (15, "LATIN8"),
            (16, "LATIN9"),
            (17, "LATIN10"),
            (18, "WIN1256"),
            (19, "WIN1258"),
            (20, "WIN866"),
            (21, "WIN874"),
            (22, "KOI8R"),
            (23, "WIN1251"),
            (24, "WIN1252"),
            (25, "ISO_8859_5"),
            (26, "ISO_8859_6"),
            (27, "ISO_8859_7"),
            (28, "ISO_8859_8"),
            (29, "WIN1250"),
            (30, "WIN1253"),
            (31, "WIN1254"),
            (32, "WIN1255"),
            (33, "WIN1257"),
            (34, "KOI8U"),
            (35, "SJIS"),
            (36, "BIG5"),
            (37, "GBK"),
            (38, "UHC"),
            (39, "GB18030"),
            (40, "JOHAB"),
            (41, "SHIFT_JIS_2004"),
        ];
        text(encodings.iter().find(|(number, _)| *number == int(&args[0])).map_or("", |(_, name)| *name))
    }),
    plain("pg_char_to_encoding", &[T], I, |_, args| {
        let name: String = args[0].as_str().chars().filter(char::is_ascii_alphanumeric).collect();
        Ok(Value::Int(if name.eq_ignore_ascii_case("utf8") || name.eq_ignore_ascii_case("unicode") { 6 } else { -1 }))
    }),
    // Names of things.
    plain("format_type", &[O, I], T, format_type).lenient(),
    plain("pg_get_userbyid", &[O], ty::NAME, user_by_id),
    plain("pg_table_is_visible", &[O], B, |ctx, args| {
        Ok(match ctx.catalog.class(oid(&args[0])) {
            Some((namespace, ..)) => Value::Bool(ctx.catalog.on_path(*namespace, ctx.session)),
            None => Value::Null,
        })
    }),
    plain("pg_type_is_visible", &[O], B, |ctx, args| visible(ctx, "pg_type", oid(&args[0]), "typnamespace")),
    plain("pg_function_is_visible", &[O], B, |ctx, args| visible(ctx, "pg_proc", oid(&args[0]), "pronamespace")),
    plain("pg_operator_is_visible", &[O], B, |ctx, args| visible(ctx, "pg_operator", oid(&args[0]), "oprnamespace")),
    plain("pg_opclass_is_visible", &[O], B, |ctx, args| visible(ctx, "pg_opclass", oid(&args[0]), "opcnamespace")),
    plain("pg_opfamily_is_visible", &[O], B, |ctx, args| visible(ctx, "pg_opfamily", oid(&args[0]), "opfnamespace")),
    plain("pg_collation_is_visible", &[O], B, |ctx, args| visible(ctx, "pg_collation", oid(&args[0]), "collnamespace")),
    plain("pg_conversion_is_visible", &[O], B, |ctx, args| {
        visible(ctx, "pg_conversion", oid(&args[0]), "connamespace")
    }),
    plain("pg_ts_config_is_visible", &[O], B, |ctx, args| visible(ctx, "pg_ts_config", oid(&args[0]), "cfgnamespace")),
    plain("pg_ts_dict_is_visible", &[O], B, |ctx, args| visible(ctx, "pg_ts_dict", oid(&args[0]), "dictnamespace")),
    plain("pg_ts_parser_is_visible", &[O], B, |ctx, args| visible(ctx, "pg_ts_parser", oid(&args[0]), "prsnamespace")),
    plain("pg_ts_template_is_visible", &[O], B, |ctx, args| {
        visible(ctx, "pg_ts_template", oid(&args[0]), "tmplnamespace")
    }),
    plain("pg_statistics_obj_is_visible", &[O], B, null),
    plain("to_regclass", &[T], ty::REGCLASS, |ctx, args| to_reg(ctx, args, ty::REGCLASS)),
    plain("to_regtype", &[T], ty::REGTYPE, |ctx, args| to_reg(ctx, args, ty::REGTYPE)),
    plain("to_regproc", &[T], ty::REGPROC, |ctx, args| to_reg(ctx, args, ty::REGPROC)),
    plain("to_regprocedure", &[T], ty::REGPROCEDURE, |ctx, args| to_reg(ctx, args, ty::REGPROCEDURE)),
    plain("to_regnamespace", &[T], ty::REGNAMESPACE, |ctx, args| to_reg(ctx, args, ty::REGNAMESPACE)),
    plain("to_regrole", &[T], ty::REGROLE, |ctx, args| to_reg(ctx, args, ty::REGROLE)),
    plain("pg_describe_object", &[O, O, I], T, null),
    plain("pg_identify_object", &[O, O, I], T, null),
    // Comments.
    plain("obj_description", &[O, ty::NAME], T, |ctx, args| {
        Ok(match args[1].as_str() {
            "pg_class" => comment(ctx, oid(&args[0]), 0),
            _ => Value::Null,
        })
    }),
    plain("obj_description", &[O], T, |ctx, args| Ok(comment(ctx, oid(&args[0]), 0))),
    plain("col_description", &[O, I], T, |ctx, args| {
        Ok(match int(&args[1]) {
            0 => Value::Null,
            column => comment(ctx, oid(&args[0]), column),
        })
    }),
    plain("shobj_description", &[O, ty::NAME], T, null),
    // Definitions. Nothing here has a default, an index, a rule, a trigger or a constraint.
    plain("pg_get_expr", &[T, O, B], T, |_, args| Ok(args[0].clone())).optional(1),
    plain("pg_get_viewdef", &[O, AS_TEXT], T, |ctx, args| Ok(tables::view_definition(ctx.catalog, oid(&args[0]))))
        .optional(1),
    plain("pg_get_viewdef", &[T, AS_TEXT], T, |ctx, args| {
        let relation = ctx.catalog.relation_named(args[0].as_str(), ctx.session)?;
        Ok(relation.map_or(Value::Null, |oid| tables::view_definition(ctx.catalog, oid)))
    })
    .optional(1),
    plain("pg_get_indexdef", &[O, I, B], T, null).optional(2),
    plain("pg_get_constraintdef", &[O, B], T, null).optional(1),
    plain("pg_get_ruledef", &[O, B], T, null).optional(1),
    plain("pg_get_triggerdef", &[O, B], T, null).optional(1),
    plain("pg_get_statisticsobjdef", &[O], T, null),
    plain("pg_get_statisticsobjdef_columns", &[O], T, null),
    plain("pg_get_partkeydef", &[O], T, null),
    plain("pg_get_partition_constraintdef", &[O], T, null),
    plain("pg_get_serial_sequence", &[T, T], T, null),
    plain("pg_get_functiondef", &[O], T, no_function_definition),
    plain("pg_get_function_sqlbody", &[O], T, null),
    plain("pg_get_function_result", &[O], T, function_result),
    plain("pg_get_function_arguments", &[O], T, |ctx, args| arguments(ctx, args, true)),
    plain("pg_get_function_identity_arguments", &[O], T, |ctx, args| arguments(ctx, args, false)),
    plain("pg_index_column_has_property", &[O, I, T], B, null),
    plain("pg_indexam_has_property", &[O, T], B, null),
    plain("pg_index_has_property", &[O, T], B, null),
    plain("pg_relation_is_publishable", &[ty::REGCLASS], B, |ctx, args| {
        let class = ctx.catalog.class(oid(&args[0]));
        Ok(class.map_or(Value::Null, |(namespace, _, kind)| Value::Bool(*namespace == PUBLIC && *kind == 'r')))
    }),
    plain("pg_relation_is_updatable", &[ty::REGCLASS, B], I, zero),
    plain("pg_column_is_updatable", &[ty::REGCLASS, ty::INT2, B], B, no),
    // Sizes and places: nothing is stored here.
    plain("pg_relation_size", &[ty::REGCLASS, T], ty::INT8, zero).optional(1),
    plain("pg_table_size", &[ty::REGCLASS], ty::INT8, zero),
    plain("pg_indexes_size", &[ty::REGCLASS], ty::INT8, zero),
    plain("pg_total_relation_size", &[ty::REGCLASS], ty::INT8, zero),
    plain("pg_database_size", &[O], ty::INT8, zero),
    plain("pg_database_size", &[ty::NAME], ty::INT8, zero),
    plain("pg_tablespace_size", &[O], ty::INT8, zero),
    plain("pg_tablespace_size", &[ty::NAME], ty::INT8, zero),
    plain("pg_size_pretty", &[ty::INT8], T, size_pretty),
    plain("pg_tablespace_location", &[O], T, void),
    plain("pg_relation_filenode", &[ty::REGCLASS], O, null),
    plain("pg_stat_get_numscans", &[O], ty::INT8, zero),
    plain("pg_stat_get_live_tuples", &[O], ty::INT8, zero),
    // Rights.
    plain("has_table_privilege", &[AS_TEXT, AS_TEXT, T], B, privilege),
    plain("has_table_privilege", &[AS_TEXT, T], B, privilege),
    plain("has_any_column_privilege", &[AS_TEXT, AS_TEXT, T], B, privilege),
    plain("has_any_column_privilege", &[AS_TEXT, T], B, privilege),
    plain("has_column_privilege", &[AS_TEXT, AS_TEXT, AS_TEXT, T], B, privilege),
    plain("has_column_privilege", &[AS_TEXT, AS_TEXT, T], B, privilege),
    plain("has_schema_privilege", &[AS_TEXT, AS_TEXT, T], B, privilege),
    plain("has_schema_privilege", &[AS_TEXT, T], B, privilege),
    plain("has_database_privilege", &[AS_TEXT, AS_TEXT, T], B, privilege),
    plain("has_database_privilege", &[AS_TEXT, T], B, privilege),
    plain("has_function_privilege", &[AS_TEXT, AS_TEXT, T], B, privilege),
    plain("has_function_privilege", &[AS_TEXT, T], B, privilege),
    plain("has_sequence_privilege", &[AS_TEXT, AS_TEXT, T], B, privilege),
    plain("has_sequence_privilege", &[AS_TEXT, T], B, privilege),
    plain("has_tablespace_privilege", &[AS_TEXT, AS_TEXT, T], B, privilege),
    plain("has_tablespace_privilege", &[AS_TEXT, T], B, privilege),
    plain("has_type_privilege", &[AS_TEXT, AS_TEXT, T], B, privilege),
    plain("has_type_privilege", &[AS_TEXT, T], B, privilege),
    plain("has_language_privilege", &[AS_TEXT, AS_TEXT, T], B, privilege),
    plain("has_language_privilege", &[AS_TEXT, T], B, privilege),
    plain("pg_has_role", &[AS_TEXT, AS_TEXT, T], B, yes),
    plain("pg_has_role", &[AS_TEXT, T], B, yes),
    plain("row_security_active", &[AS_TEXT], B, no),
    // Types as information_schema tells them.
    plain("_pg_truetypid", &[ty::ANY, ty::ANY], O, null),
    plain("_pg_char_max_length", &[O, I], I, |_, args| {
        let known = matches!(oid(&args[0]), ty::VARCHAR | ty::BPCHAR) && int(&args[1]) >= 4;
        Ok(if known { Value::Int(int(&args[1]) - 4) } else { Value::Null })
    }),
    plain("_pg_numeric_precision", &[O, I], I, |_, args| {
        Ok(match oid(&args[0]) {
            ty::INT2 => Value::Int(16),
            ty::INT4 => Value::Int(32),
            ty::INT8 => Value::Int(64),
            ty::FLOAT4 => Value::Int(24),
            ty::FLOAT8 => Value::Int(53),
            _ => numeric_parts(args).map_or(Value::Null, |(precision, _)| Value::Int(precision)),
        })
    }),
    plain("_pg_numeric_scale", &[O, I], I, |_, args| {
        Ok(match oid(&args[0]) {
            ty::INT2 | ty::INT4 | ty::INT8 => Value::Int(0),
            _ => numeric_parts(args).map_or(Value::Null, |(_, scale)| Value::Int(scale)),
        })
    }),
    // Text.
    plain("quote_ident", &[T], T, |_, args| text(quote_ident(args[0].as_str()))),
    plain("quote_literal", &[AS_TEXT], T, |_, args| text(quote_literal(args[0].as_str()))),
    plain("quote_nullable", &[AS_TEXT], T, |_, args| match &args[0] {
        Value::Null => text("NULL"),
        value => text(quote_literal(value.as_str())),
    })
    .lenient(),
    plain("format", &[T, AS_TEXT], T, format).optional(1).variadic().lenient(),
    plain("concat", &[AS_TEXT], T, |_, args| text(args.iter().map(Value::as_str).collect::<String>()))
        .variadic()
        .lenient(),
    plain("lower", &[T], T, |_, args| text(args[0].as_str().to_lowercase())),
    plain("upper", &[T], T, |_, args| text(args[0].as_str().to_uppercase())),
    plain("length", &[T], I, |_, args| Ok(Value::Int(args[0].as_str().chars().count() as i64))),
    plain("char_length", &[T], I, |_, args| Ok(Value::Int(args[0].as_str().chars().count() as i64))),
    plain("btrim", &[T, T], T, |_, args| trimmed(args, true, true)).optional(1),
    plain("ltrim", &[T, T], T, |_, args| trimmed(args, true, false)).optional(1),
    plain("rtrim", &[T, T], T, |_, args| trimmed(args, false, true)).optional(1),
    plain("substring", &[T, I, I], T, substring).optional(1),
    plain("substr", &[T, I, I], T, substring).optional(1),
    plain("left", &[T, I], T, |_, args| {
        let chars: Vec<char> = args[0].as_str().chars().collect();
        let count = int(&args[1]);
        let end = if count < 0 { (chars.len() as i64 + count).max(0) } else { count.min(chars.len() as i64) };
        text(chars[..end as usize].iter().collect::<String>())
    }),
    plain("strpos", &[T, T], I, |_, args| {
        let (whole, part) = (args[0].as_str(), args[1].as_str());
        Ok(Value::Int(whole.find(part).map_or(0, |at| whole[..at].chars().count() as i64 + 1)))
    }),
    plain("starts_with", &[T, T], B, |_, args| Ok(Value::Bool(args[0].as_str().starts_with(args[1].as_str())))),
    plain("replace", &[T, T, T], T, |_, args| {
        let (from, to) = (args[1].as_str(), args[2].as_str());
        text(if from.is_empty() { args[0].as_str().to_owned() } else { args[0].as_str().replace(from, to) })
    }),
    plain("split_part", &[T, T, I], T, |_, args| {
        let parts: Vec<&str> = match args[1].as_str() {
            "" => vec![args[0].as_str()],
            separator => args[0].as_str().split(separator).collect(),
        };
        let at = match int(&args[2]) {
            0 => return Err(CatalogError::new("22023", "field position must not be zero")),
            at if at < 0 => parts.len() as i64 + at,
            at => at - 1,
        };
        text(usize::try_from(at).ok().and_then(|at| parts.get(at)).copied().unwrap_or(""))
    }),
    plain("json_build_object", &[ty::ANY], ty::JSON, json_build_object).optional(1).variadic().lenient(),
    // Arrays.
    plain("array_to_string", &[ARRAY_AS_TEXT, T, T], T, array_to_string).optional(1).lenient(),
    plain("string_to_array", &[T, T, T], ty::TEXT_ARRAY, string_to_array).optional(1).lenient(),
    plain("array_upper", &[ty::ANYARRAY, I], I, |_, args| {
        Ok(bounds(args).map_or(Value::Null, |(_, upper)| Value::Int(upper)))
    }),
    plain("array_lower", &[ty::ANYARRAY, I], I, |_, args| {
        Ok(bounds(args).map_or(Value::Null, |(lower, _)| Value::Int(lower)))
    }),
    plain("array_length", &[ty::ANYARRAY, I], I, |_, args| {
        Ok(bounds(args).map_or(Value::Null, |(lower, upper)| Value::Int(upper - lower + 1)))
    }),
    plain("cardinality", &[ty::ANYARRAY], I, |_, args| Ok(Value::Int(args[0].items().len() as i64))),
    plain("array_position", &[ty::ANYARRAY, ty::ANYELEMENT], I, |_, args| {
        let Value::Array(array) = &args[0] else { return Ok(Value::Null) };
        let at = array.items.iter().position(|item| *item == args[1]);
        Ok(at.map_or(Value::Null, |at| Value::Int(array.lower + at as i64)))
    })
    .lenient(),
    plain("array_append", &[ty::ANYARRAY, ty::ANYELEMENT], ty::ANYARRAY, |_, args| {
        Ok(Value::array(args[0].items().iter().chain(&args[1..]).cloned().collect()))
    })
    .lenient(),
    plain("array_remove", &[ty::ANYARRAY, ty::ANYELEMENT], ty::ANYARRAY, |_, args| {
        if args[0].is_null() {
            return Ok(Value::Null);
        }
        Ok(Value::array(args[0].items().iter().filter(|item| **item != args[1]).cloned().collect()))
    })
    .lenient(),
    plain("array_contains_all", &[ty::ANYARRAY, ty::ANYARRAY], B, |_, args| {
        Ok(Value::Bool(args[1].items().iter().all(|item| !item.is_null() && args[0].items().contains(item))))
    }),
    plain("array_overlaps", &[ty::ANYARRAY, ty::ANYARRAY], B, |_, args| {
        Ok(Value::Bool(args[1].items().iter().any(|item| !item.is_null() && args[0].items().contains(item))))
    }),
];

/// The rows of `pg_get_keywords()`: the words that are reserved in some place.
pub fn keywords() -> Vec<Vec<Value>> {
    KEYWORDS
        .iter()
        .map(|word| {
            vec![
                Value::text(word),
                Value::text("R"),
                Value::Bool(true),
                Value::text("reserved"),
                Value::text("can be bare label"),
            ]
        })
        .collect()
}
