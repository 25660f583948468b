//! The rows of each system relation.
//!
//! A relation that is not named here is empty, with PostgreSQL's columns.

use chrono::{DateTime, Offset, TimeZone, Utc};
use chrono_tz::{OffsetComponents, OffsetName, TZ_VARIANTS, Tz};

use crate::catalog::{
    BELVEDERE, Catalog, HEAP, INFORMATION_SCHEMA, OWNER, OWNER_NAME, PG_CATALOG, PG_TOAST, PUBLIC, Row, SystemRelation,
    namespace_name,
};
use crate::data::{FIXED, Tsv};
use crate::pg_types::{self as ty, Oid};
use crate::snapshot::SessionFacts;
use crate::value::{ArrayValue, Value, parse_array};

/// What the rows of a relation depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On the snapshot alone.
    Snapshot,
    /// Also on the session's database and user.
    Principal,
    /// On the session's present state.
    Session,
}

pub fn scope(relation: &SystemRelation) -> Scope {
    match relation.name.as_str() {
        "pg_settings" | "pg_stat_activity" | "pg_timezone_names" => Scope::Session,
        "pg_database" | "pg_roles" | "pg_user" | "pg_stat_database" => Scope::Principal,
        _ if relation.namespace == INFORMATION_SCHEMA => Scope::Principal,
        _ if relation.namespace == BELVEDERE => Scope::Session,
        _ => Scope::Snapshot,
    }
}

/// Settings that PostgreSQL fixes when it is compiled; drivers compute with them.
pub const FIXED_SETTINGS: &[(&str, &str)] = &[
    ("block_size", "8192"),
    ("integer_datetimes", "on"),
    ("max_function_args", "100"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("server_encoding", "UTF8"),
];

/// Encoding number of UTF8.
const UTF8: i64 = 6;

/// Fills rows of one relation; columns that are not named keep their default.
struct Rows<'a> {
    template: Vec<Value>,
    relation: &'a SystemRelation,
    rows: Vec<Row>,
}

impl<'a> Rows<'a> {
    fn new(relation: &'a SystemRelation) -> Self {
        let mut template: Vec<Value> = relation.columns.iter().map(|c| default_value(c.pg_type, c.not_null)).collect();
        // The system columns tableoid, xmin and ctid follow the visible ones, see `bind::SYSTEM_COLUMNS`.
        template.extend([Value::Int(i64::from(relation.oid)), Value::Int(1), Value::text("(0,1)")]);
        Self { template, relation, rows: Vec::new() }
    }

    fn positions(&self, names: &[&str]) -> Vec<usize> {
        names
            .iter()
            .map(|name| {
                let at = self.relation.columns.iter().position(|column| column.name == *name);
                at.unwrap_or_else(|| unreachable!("{} has no column {name}", self.relation.name))
            })
            .collect()
    }

    /// Sets a column for all rows to come.
    fn always(&mut self, name: &str, value: Value) {
        let at = self.positions(&[name])[0];
        self.template[at] = value;
    }

    fn push<const N: usize>(&mut self, at: &[usize], values: [Value; N]) {
        let mut row = self.template.clone();
        for (at, value) in at.iter().zip(values) {
            row[*at] = value;
        }
        self.rows.push(row.into());
    }
}

/// What a column holds that nobody filled: NULL, or the zero of its type where NULL is not allowed.
pub fn default_value(pg_type: Oid, not_null: bool) -> Value {
    match pg_type {
        _ if !not_null => Value::Null,
        ty::BOOL => Value::Bool(false),
        ty::FLOAT4 | ty::FLOAT8 => Value::Float(0.0),
        ty::INT2VECTOR | ty::OIDVECTOR => Value::Array(ArrayValue { lower: 0, items: Vec::new() }.into()),
        ty::TIMESTAMPTZ => Value::Time(0),
        other if ty::is_integer(other) => Value::Int(0),
        _ => Value::text(""),
    }
}

fn int(value: impl Into<i64>) -> Value {
    Value::Int(value.into())
}

fn text(value: impl AsRef<str>) -> Value {
    Value::text(value)
}

fn letter(value: char) -> Value {
    Value::text(value.encode_utf8(&mut [0; 4]))
}

fn optional(value: Option<&str>) -> Value {
    value.map_or(Value::Null, Value::text)
}

fn yes(value: bool) -> Value {
    Value::text(if value { "YES" } else { "NO" })
}

/// A relation of either kind, as the lists of relations need it.
struct Listed<'a> {
    oid: Oid,
    namespace: Oid,
    name: &'a str,
    kind: char,
    columns: Vec<ListedColumn<'a>>,
}

struct ListedColumn<'a> {
    name: &'a str,
    /// As declared, possibly a domain.
    declared: Oid,
    pg_type: Oid,
    typmod: i32,
    not_null: bool,
    collation: Oid,
}

fn listed(catalog: &Catalog) -> impl Iterator<Item = Listed<'_>> {
    let system = catalog.system.iter().map(|relation| Listed {
        oid: relation.oid,
        namespace: relation.namespace,
        name: &relation.name,
        kind: relation.kind,
        columns: relation
            .columns
            .iter()
            .map(|c| ListedColumn {
                name: &c.name,
                declared: c.declared,
                pg_type: c.pg_type,
                typmod: if c.declared == c.pg_type { c.typmod } else { -1 },
                not_null: c.not_null,
                collation: c.collation,
            })
            .collect(),
    });
    let model = catalog.model.iter().map(|relation| Listed {
        oid: relation.oid,
        namespace: PUBLIC,
        name: &relation.name,
        kind: relation.kind,
        columns: relation
            .columns
            .iter()
            .map(|c| ListedColumn {
                name: &c.name,
                declared: c.pg_type,
                pg_type: c.pg_type,
                typmod: c.typmod,
                not_null: !c.nullable,
                collation: catalog.types.get(c.pg_type).map_or(0, |ty| ty.collation),
            })
            .collect(),
    });
    system.chain(model)
}

/// Makes the rows of a relation.
pub fn rows(catalog: &Catalog, relation: &SystemRelation, session: &SessionFacts) -> Vec<Row> {
    if relation.namespace == BELVEDERE {
        return crate::own::rows(relation, &session.own_tables);
    }
    let mut rows = Rows::new(relation);
    if relation.namespace == INFORMATION_SCHEMA {
        information_schema(catalog, relation, session, &mut rows);
        return rows.rows;
    }
    if let Some((_, file)) = FIXED.iter().find(|(name, _)| *name == relation.name) {
        fixed(relation, file, &mut rows);
        return rows.rows;
    }
    match relation.name.as_str() {
        "pg_namespace" => {
            let at = rows.positions(&["oid", "nspname", "nspowner"]);
            for oid in [PG_CATALOG, PG_TOAST, PUBLIC, INFORMATION_SCHEMA, BELVEDERE] {
                rows.push(&at, [int(oid), text(namespace_name(oid)), int(OWNER)]);
            }
        }
        "pg_class" => pg_class(catalog, &mut rows),
        "pg_attribute" => pg_attribute(catalog, &mut rows),
        "pg_description" => {
            let at = rows.positions(&["objoid", "classoid", "objsubid", "description"]);
            let class = i64::from(catalog.class_named(PG_CATALOG, "pg_class").unwrap_or(0));
            for relation in &catalog.model {
                if let Some(comment) = &relation.comment {
                    rows.push(&at, [int(relation.oid), int(class), int(0), text(comment)]);
                }
                for (number, column) in (1_i64..).zip(&relation.columns) {
                    if let Some(comment) = &column.comment {
                        rows.push(&at, [int(relation.oid), int(class), int(number), text(comment)]);
                    }
                }
            }
        }
        "pg_database" => {
            rows.always("datdba", int(OWNER));
            rows.always("encoding", int(UTF8));
            rows.always("datlocprovider", text("c"));
            rows.always("datallowconn", Value::Bool(true));
            rows.always("datconnlimit", int(-1));
            rows.always("dattablespace", int(1663));
            rows.always("datcollate", text("C"));
            // As SHOW lc_ctype says: letters have case as Unicode says, and are sorted by code point.
            rows.always("datctype", text("C.UTF-8"));
            let at = rows.positions(&["oid", "datname"]);
            for (oid, name) in catalog.databases_of(session) {
                rows.push(&at, [int(oid), text(name)]);
            }
        }
        "pg_stat_database" => {
            let at = rows.positions(&["datid", "datname"]);
            for (oid, name) in catalog.databases_of(session) {
                rows.push(&at, [int(oid), text(name)]);
            }
        }
        "pg_roles" => {
            rows.always("rolinherit", Value::Bool(true));
            rows.always("rolconnlimit", int(-1));
            rows.always("rolpassword", text("********"));
            for name in ["rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls"] {
                rows.always(name, Value::Bool(false));
            }
            let at = rows.positions(&["oid", "rolname", "rolsuper", "rolcanlogin"]);
            for (oid, name) in catalog.roles_of(session) {
                let owner = oid == OWNER;
                let login = !owner || name == session.user;
                rows.push(&at, [int(oid), text(name), Value::Bool(owner), Value::Bool(login)]);
            }
        }
        "pg_user" => {
            rows.always("passwd", text("********"));
            for name in ["usecreatedb", "userepl", "usebypassrls"] {
                rows.always(name, Value::Bool(false));
            }
            let at = rows.positions(&["usesysid", "usename", "usesuper"]);
            for (oid, name) in catalog.roles_of(session) {
                rows.push(&at, [int(oid), text(name), Value::Bool(oid == OWNER)]);
            }
        }
        "pg_settings" => pg_settings(catalog, session, &mut rows),
        "pg_stat_activity" => {
            let user = catalog.roles_of(session).into_iter().find(|(_, name)| *name == session.user);
            let database = catalog.databases_of(session).into_iter().find(|(_, name)| *name == session.database);
            rows.always("backend_type", text("client backend"));
            rows.always("state", text("active"));
            let names =
                ["datid", "datname", "pid", "usesysid", "usename", "application_name", "client_addr", "client_port"];
            let at = rows.positions(&names);
            let client = session.client;
            rows.push(
                &at,
                [
                    database.map_or(Value::Null, |(oid, _)| int(oid)),
                    text(&session.database),
                    int(session.backend_pid),
                    user.map_or(Value::Null, |(oid, _)| int(oid)),
                    text(&session.user),
                    text(&session.application_name),
                    client.map_or(Value::Null, |(address, _)| text(address.to_string())),
                    client.map_or(Value::Null, |(_, port)| int(port)),
                ],
            );
        }
        "pg_tables" => {
            for name in ["hasrules", "hastriggers", "rowsecurity"] {
                rows.always(name, Value::Bool(false));
            }
            let at = rows.positions(&["schemaname", "tablename", "tableowner", "hasindexes"]);
            for relation in listed(catalog).filter(|relation| relation.kind == 'r') {
                let system = catalog.system.iter().find(|system| system.oid == relation.oid);
                let indexed = system.is_some_and(|system| system.has_index);
                let values = [
                    text(namespace_name(relation.namespace)),
                    text(relation.name),
                    text(OWNER_NAME),
                    Value::Bool(indexed),
                ];
                rows.push(&at, values);
            }
        }
        "pg_views" => {
            let at = rows.positions(&["schemaname", "viewname", "viewowner", "definition"]);
            for relation in listed(catalog).filter(|relation| relation.kind == 'v') {
                let definition = view_definition(catalog, relation.oid);
                let values =
                    [text(namespace_name(relation.namespace)), text(relation.name), text(OWNER_NAME), definition];
                rows.push(&at, values);
            }
        }
        "pg_timezone_names" => {
            let at = rows.positions(&["name", "abbrev", "utc_offset", "is_dst"]);
            for zone in time_zones(session.now_us) {
                rows.push(&at, [text(zone.name), text(zone.abbreviation), int(zone.offset_us), Value::Bool(zone.dst)]);
            }
        }
        _ => {}
    }
    rows.rows
}

/// What stands for a view's SQL: a view of the model has none that a client could run elsewhere.
pub fn view_definition(catalog: &Catalog, oid: Oid) -> Value {
    match catalog.model_relation(oid) {
        Some(relation) if relation.kind == 'v' => text("-- defined in the data model"),
        _ => Value::Null,
    }
}

/// One time zone at one moment.
struct Zone {
    name: &'static str,
    abbreviation: String,
    offset_us: i64,
    dst: bool,
}

fn time_zones(now_us: i64) -> Vec<Zone> {
    let now: DateTime<Utc> = DateTime::from_timestamp_micros(now_us).unwrap_or_default();
    let zone = |zone: &Tz| {
        let offset = zone.offset_from_utc_datetime(&now.naive_utc());
        Zone {
            name: zone.name(),
            abbreviation: offset.abbreviation().unwrap_or_default().to_owned(),
            offset_us: i64::from(offset.fix().local_minus_utc()) * 1_000_000,
            dst: !offset.dst_offset().is_zero(),
        }
    };
    TZ_VARIANTS.iter().map(zone).collect()
}

fn fixed(relation: &SystemRelation, file: &'static str, rows: &mut Rows<'_>) {
    if relation.name == "pg_proc" {
        rows.always("pronamespace", int(PG_CATALOG));
        rows.always("proowner", int(OWNER));
        rows.always("prolang", int(12));
        rows.always("procost", Value::Float(1.0));
        rows.always("proparallel", text("s"));
    }
    let file = Tsv::read(file);
    let at: Vec<usize> = rows.positions(&file.columns);
    for line in file.rows() {
        let mut row = rows.template.clone();
        for (field, column) in at.iter().enumerate() {
            row[*column] =
                line.at(field).map_or(Value::Null, |text| read_field(&text, relation.columns[*column].pg_type));
        }
        rows.rows.push(row.into());
    }
}

/// Reads a field as PostgreSQL's output function wrote it.
fn read_field(field: &str, pg_type: Oid) -> Value {
    let number = |text: &str| text.parse().map_or(Value::Null, Value::Int);
    match pg_type {
        ty::BOOL => Value::Bool(field == "t"),
        ty::FLOAT4 | ty::FLOAT8 => field.parse().map_or(Value::Null, Value::Float),
        ty::INT2VECTOR | ty::OIDVECTOR => {
            let items = field.split_whitespace().map(number).collect();
            Value::Array(ArrayValue { lower: 0, items }.into())
        }
        ty::OID_ARRAY => {
            let items = parse_array(field).unwrap_or_default();
            Value::array(items.iter().map(|item| item.as_deref().map_or(Value::Null, number)).collect())
        }
        ty::TEXT_ARRAY | 1002 => {
            let items = parse_array(field).unwrap_or_default();
            Value::array(items.iter().map(|item| item.as_deref().map_or(Value::Null, Value::text)).collect())
        }
        other if ty::is_integer(other) => number(field),
        _ => Value::text(field),
    }
}

fn pg_class(catalog: &Catalog, rows: &mut Rows<'_>) {
    rows.always("relowner", int(OWNER));
    rows.always("reltuples", Value::Float(-1.0));
    rows.always("relpersistence", text("p"));
    rows.always("relispopulated", Value::Bool(true));
    let names = [
        "oid",
        "relname",
        "relnamespace",
        "relkind",
        "relam",
        "relnatts",
        "relhasindex",
        "relhasrules",
        "relreplident",
    ];
    let at = rows.positions(&names);
    for relation in listed(catalog) {
        let table = relation.kind == 'r';
        let system = catalog.system.iter().find(|system| system.oid == relation.oid);
        rows.push(
            &at,
            [
                int(relation.oid),
                text(relation.name),
                int(relation.namespace),
                letter(relation.kind),
                int(if table { HEAP } else { 0 }),
                int(relation.columns.len() as i64),
                // The indexes of system tables are not listed, so they are not announced either.
                Value::Bool(false),
                Value::Bool(relation.kind == 'v'),
                text(if table && system.is_none() { "d" } else { "n" }),
            ],
        );
    }
}

fn pg_attribute(catalog: &Catalog, rows: &mut Rows<'_>) {
    rows.always("attstattarget", int(-1));
    rows.always("attcacheoff", int(-1));
    rows.always("attislocal", Value::Bool(true));
    let names = [
        "attrelid",
        "attname",
        "atttypid",
        "attlen",
        "attnum",
        "attndims",
        "atttypmod",
        "attbyval",
        "attalign",
        "attstorage",
        "attnotnull",
        "attcollation",
    ];
    let at = rows.positions(&names);
    for relation in listed(catalog) {
        for (number, column) in (1_i64..).zip(&relation.columns) {
            let Some(pg_type) = catalog.types.get(column.declared) else { continue };
            let values = [
                int(relation.oid),
                text(column.name),
                int(column.declared),
                int(pg_type.len),
                int(number),
                int(pg_type.name.starts_with('_')),
                int(column.typmod),
                Value::Bool(pg_type.by_value),
                letter(pg_type.align),
                letter(pg_type.storage),
                Value::Bool(column.not_null),
                int(column.collation),
            ];
            rows.push(&at, values);
        }
    }
}

fn pg_settings(catalog: &Catalog, session: &SessionFacts, rows: &mut Rows<'_>) {
    rows.always("pending_restart", Value::Bool(false));
    let names = ["name", "setting", "short_desc", "context", "vartype", "source", "boot_val", "reset_val"];
    let at = rows.positions(&names);
    let mut settings: Vec<(String, String, String, &str)> = catalog
        .snapshot
        .settings
        .iter()
        .map(|setting| (setting.name.clone(), setting.value.clone(), setting.description.clone(), "user"))
        .collect();
    for (name, value) in FIXED_SETTINGS {
        if !settings.iter().any(|(known, ..)| known.eq_ignore_ascii_case(name)) {
            settings.push(((*name).to_owned(), (*value).to_owned(), String::new(), "internal"));
        }
    }
    settings.sort_by_key(|(name, ..)| name.to_lowercase());
    for (name, boot, description, context) in settings {
        let value = catalog.setting(&name, session).unwrap_or_else(|| boot.clone());
        let vartype = match boot.as_str() {
            "on" | "off" => "bool",
            number if number.parse::<i64>().is_ok() => "integer",
            number if number.parse::<f64>().is_ok() => "real",
            _ => "string",
        };
        let source = if value == boot { "default" } else { "session" };
        let values = [
            text(name),
            text(&value),
            text(description),
            text(context),
            text(vartype),
            text(source),
            text(&boot),
            text(&boot),
        ];
        rows.push(&at, values);
    }
}

fn information_schema(catalog: &Catalog, relation: &SystemRelation, session: &SessionFacts, rows: &mut Rows<'_>) {
    let database = || text(&session.database);
    let schema = |oid: Oid| text(namespace_name(oid));
    match relation.name.as_str() {
        "information_schema_catalog_name" => {
            let at = rows.positions(&["catalog_name"]);
            rows.push(&at, [database()]);
        }
        "schemata" => {
            rows.always("catalog_name", database());
            rows.always("schema_owner", text(OWNER_NAME));
            let at = rows.positions(&["schema_name"]);
            for oid in [PUBLIC, INFORMATION_SCHEMA, PG_CATALOG, PG_TOAST] {
                rows.push(&at, [schema(oid)]);
            }
        }
        "character_sets" => {
            rows.always("default_collate_catalog", database());
            rows.always("default_collate_schema", text("pg_catalog"));
            rows.always("default_collate_name", text("C"));
            let at = rows.positions(&["character_set_name", "character_repertoire", "form_of_use"]);
            rows.push(&at, [text("UTF8"), text("UCS"), text("UTF8")]);
        }
        "enabled_roles" => {
            let at = rows.positions(&["role_name"]);
            rows.push(&at, [text(&session.user)]);
        }
        "tables" => {
            rows.always("table_catalog", database());
            rows.always("is_insertable_into", yes(false));
            rows.always("is_typed", yes(false));
            let at = rows.positions(&["table_schema", "table_name", "table_type"]);
            for relation in listed(catalog) {
                let kind = if relation.kind == 'r' { "BASE TABLE" } else { "VIEW" };
                rows.push(&at, [schema(relation.namespace), text(relation.name), text(kind)]);
            }
        }
        "views" => {
            rows.always("table_catalog", database());
            rows.always("check_option", text("NONE"));
            for name in [
                "is_updatable",
                "is_insertable_into",
                "is_trigger_updatable",
                "is_trigger_deletable",
                "is_trigger_insertable_into",
            ] {
                rows.always(name, yes(false));
            }
            let at = rows.positions(&["table_schema", "table_name", "view_definition"]);
            for relation in listed(catalog).filter(|relation| relation.kind == 'v') {
                let definition = view_definition(catalog, relation.oid);
                rows.push(&at, [schema(relation.namespace), text(relation.name), definition]);
            }
        }
        "columns" => columns(catalog, session, rows),
        "table_privileges" | "role_table_grants" => {
            rows.always("grantor", text(OWNER_NAME));
            rows.always("grantee", text(&session.user));
            rows.always("table_catalog", database());
            rows.always("privilege_type", text("SELECT"));
            rows.always("is_grantable", yes(false));
            rows.always("with_hierarchy", yes(true));
            let at = rows.positions(&["table_schema", "table_name"]);
            for relation in listed(catalog) {
                rows.push(&at, [schema(relation.namespace), text(relation.name)]);
            }
        }
        "column_privileges" => {
            rows.always("grantor", text(OWNER_NAME));
            rows.always("grantee", text(&session.user));
            rows.always("table_catalog", database());
            rows.always("privilege_type", text("SELECT"));
            rows.always("is_grantable", yes(false));
            let at = rows.positions(&["table_schema", "table_name", "column_name"]);
            for relation in listed(catalog) {
                for column in &relation.columns {
                    rows.push(&at, [schema(relation.namespace), text(relation.name), text(column.name)]);
                }
            }
        }
        _ => {}
    }
}

fn columns(catalog: &Catalog, session: &SessionFacts, rows: &mut Rows<'_>) {
    for name in ["table_catalog", "udt_catalog"] {
        rows.always(name, text(&session.database));
    }
    for name in ["is_self_referencing", "is_identity", "identity_cycle", "is_updatable"] {
        rows.always(name, yes(false));
    }
    rows.always("is_generated", text("NEVER"));
    let names = [
        "table_schema",
        "table_name",
        "column_name",
        "ordinal_position",
        "is_nullable",
        "data_type",
        "character_maximum_length",
        "character_octet_length",
        "numeric_precision",
        "numeric_precision_radix",
        "numeric_scale",
        "datetime_precision",
        "domain_catalog",
        "domain_schema",
        "domain_name",
        "udt_schema",
        "udt_name",
        "dtd_identifier",
        "collation_catalog",
        "collation_schema",
        "collation_name",
    ];
    let at = rows.positions(&names);
    for relation in listed(catalog) {
        for (number, column) in (1_i64..).zip(&relation.columns) {
            let Some(base) = catalog.types.get(column.pg_type) else { continue };
            let domain = column.declared != column.pg_type;
            let typmod = if domain { catalog.types.base(column.declared, -1).1 } else { column.typmod };
            let modifier = (typmod >= 4).then(|| i64::from(typmod - 4));
            let data_type = match base.category {
                'A' if base.name.starts_with('_') => "ARRAY".to_owned(),
                _ if base.namespace == PG_CATALOG => catalog.types.format(base.oid, None),
                _ => "USER-DEFINED".to_owned(),
            };
            let length = modifier.filter(|_| matches!(base.oid, ty::VARCHAR | ty::BPCHAR));
            let octets = match base.oid {
                ty::TEXT | ty::VARCHAR | ty::BPCHAR => Some(length.map_or(1 << 30, |length| length * 4)),
                _ => None,
            };
            let (precision, radix, scale) = match base.oid {
                ty::INT2 => (Some(16), Some(2), Some(0)),
                ty::INT4 => (Some(32), Some(2), Some(0)),
                ty::INT8 => (Some(64), Some(2), Some(0)),
                ty::FLOAT4 => (Some(24), Some(2), None),
                ty::FLOAT8 => (Some(53), Some(2), None),
                ty::NUMERIC => (modifier.map(|m| (m >> 16) & 0xffff), Some(10), modifier.map(|m| m & 0x7ff)),
                _ => (None, None, None),
            };
            let time_precision = match base.oid {
                1082 => Some(0),
                1083 | ty::TIMESTAMP | ty::TIMESTAMPTZ | 1266 => Some(if typmod < 0 { 6 } else { i64::from(typmod) }),
                ty::INTERVAL => Some(6),
                _ => None,
            };
            let number_or_null = |value: Option<i64>| value.map_or(Value::Null, Value::Int);
            let collation = (column.collation == 950).then_some("C");
            let declared = catalog.types.get(column.declared);
            rows.push(
                &at,
                [
                    text(namespace_name(relation.namespace)),
                    text(relation.name),
                    text(column.name),
                    int(number),
                    yes(!column.not_null),
                    text(data_type),
                    number_or_null(length),
                    number_or_null(octets),
                    number_or_null(precision),
                    number_or_null(radix),
                    number_or_null(scale),
                    number_or_null(time_precision),
                    optional(domain.then_some(session.database.as_str())),
                    optional(domain.then_some("information_schema")),
                    optional(declared.filter(|_| domain).map(|ty| ty.name.as_str())),
                    text(namespace_name(if base.namespace == PG_CATALOG { PG_CATALOG } else { INFORMATION_SCHEMA })),
                    text(&base.name),
                    text(number.to_string()),
                    optional(collation.map(|_| session.database.as_str())),
                    optional(collation.map(|_| "pg_catalog")),
                    optional(collation),
                ],
            );
        }
    }
}
