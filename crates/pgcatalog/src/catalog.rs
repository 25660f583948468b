//! The catalog of one snapshot: which relations and objects there are, and their rows, built when first asked for and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::data;
use crate::error::{CatalogError, Result};
use crate::own::{OWN_RELATIONS, OWN_SCHEMA};
use crate::pg_types::{self as ty, Oid, TypeTable};
use crate::snapshot::{CatalogSnapshot, RelationKind, SessionFacts};
use crate::tables;
use crate::value::Value;
use belvedere_functions::identifiers::quote_ident;

/// One row; the values stand in the order of [`Table::columns`].
pub type Row = Arc<[Value]>;

/// OIDs that PostgreSQL fixes, and the ones that we fix.
pub const PG_CATALOG: Oid = 11;
pub const PG_TOAST: Oid = 99;
pub const PUBLIC: Oid = 2200;
/// The schema of our own system tables.
pub const BELVEDERE: Oid = 13_900;
pub const INFORMATION_SCHEMA: Oid = 13_207;
pub const OWNER: Oid = 10;
pub const OWNER_NAME: &str = "belvedere";
pub const HEAP: Oid = 2;

/// Objects of a model get OIDs from here on; PostgreSQL keeps what is below 16384 for itself.
const FIRST_MODEL_OID: u32 = 20_000;
const MODEL_OIDS: u32 = 1_000_000_000;

/// A column of a system relation.
#[derive(Debug, Clone)]
pub struct SystemColumn {
    pub name: String,
    /// As declared, possibly a domain of `information_schema`.
    pub declared: Oid,
    /// The type behind a domain.
    pub pg_type: Oid,
    pub typmod: i32,
    pub not_null: bool,
    pub collation: Oid,
}

/// A relation of `pg_catalog` or `information_schema`.
#[derive(Debug)]
pub struct SystemRelation {
    pub oid: Oid,
    pub namespace: Oid,
    pub name: String,
    pub kind: char,
    pub has_index: bool,
    pub columns: Vec<SystemColumn>,
}

/// A relation of the model, with its OID and its types looked up.
#[derive(Debug)]
pub struct ModelRelation {
    pub oid: Oid,
    pub name: String,
    pub kind: char,
    pub comment: Option<String>,
    pub columns: Vec<ModelColumn>,
}

#[derive(Debug)]
pub struct ModelColumn {
    pub name: String,
    pub pg_type: Oid,
    pub typmod: i32,
    pub nullable: bool,
    pub comment: Option<String>,
}

/// The rows of one relation, with hash indexes made when a statement can use them.
#[derive(Debug)]
pub struct Table {
    pub rows: Vec<Row>,
    indexes: Mutex<HashMap<usize, Arc<Index>>>,
}

/// Row numbers by the value of one column.
pub type Index = HashMap<Value, Vec<u32>>;

impl Table {
    pub fn new(rows: Vec<Row>) -> Self {
        Self { rows, indexes: Mutex::new(HashMap::new()) }
    }

    /// The index on a column, built the first time.
    pub fn index(&self, column: usize) -> Arc<Index> {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let index = indexes.entry(column).or_insert_with(|| {
            let mut index = Index::new();
            for (at, row) in self.rows.iter().enumerate() {
                index.entry(row[column].clone()).or_default().push(at as u32);
            }
            Arc::new(index)
        });
        Arc::clone(index)
    }
}

/// Tables whose rows name the session's database or user, by relation.
type OfPrincipal = HashMap<usize, Arc<Table>>;

/// At most this many principals' tables are kept: the database's name is whatever a client sends.
const PRINCIPALS_MAX: usize = 16;

/// The system catalogs over one [`CatalogSnapshot`]. Build it once per snapshot and share it.
#[derive(Debug)]
pub struct Catalog {
    pub(crate) snapshot: CatalogSnapshot,
    pub(crate) types: TypeTable,
    pub(crate) system: Vec<SystemRelation>,
    pub(crate) model: Vec<ModelRelation>,
    pub(crate) roles: Vec<(Oid, String)>,
    system_by_name: HashMap<String, usize>,
    /// (namespace, name, relkind) of every relation.
    classes: HashMap<Oid, (Oid, String, char)>,
    classes_by_name: HashMap<(Oid, String), Oid>,
    tables: Mutex<HashMap<usize, Arc<Table>>>,
    tables_of: Mutex<HashMap<(String, String), OfPrincipal>>,
}

impl Catalog {
    /// Gives every object of the snapshot its OID and type. Rows are built later, table by table.
    #[must_use]
    pub fn new(snapshot: CatalogSnapshot) -> Self {
        let types = TypeTable::load();
        let system = read_system_relations(&types);
        let mut oids = OidGiver::default();
        let mut relations: Vec<_> = snapshot.relations.iter().collect();
        relations.sort_by(|a, b| a.name.cmp(&b.name));
        let model: Vec<ModelRelation> = relations
            .into_iter()
            .map(|relation| ModelRelation {
                oid: oids.give("relation", &relation.name),
                name: relation.name.clone(),
                kind: match relation.kind {
                    RelationKind::View => 'v',
                    RelationKind::Table => 'r',
                },
                comment: relation.comment.clone(),
                columns: relation
                    .columns
                    .iter()
                    .map(|column| {
                        let (pg_type, typmod) = types.parse(&column.pg_type).unwrap_or((ty::TEXT, -1));
                        let typmod = if column.typmod >= 0 { column.typmod } else { typmod };
                        ModelColumn {
                            name: column.name.clone(),
                            pg_type,
                            typmod,
                            nullable: column.nullable,
                            comment: column.comment.clone(),
                        }
                    })
                    .collect(),
            })
            .collect();
        let mut users = snapshot.users.clone();
        users.sort();
        users.dedup();
        users.retain(|user| user != OWNER_NAME);
        let mut roles = vec![(OWNER, OWNER_NAME.to_owned())];
        roles.extend(users.into_iter().map(|user| (oids.give("role", &user), user)));
        let mut classes = HashMap::new();
        for relation in &system {
            classes.insert(relation.oid, (relation.namespace, relation.name.clone(), relation.kind));
        }
        for relation in &model {
            classes.insert(relation.oid, (PUBLIC, relation.name.clone(), relation.kind));
        }
        let classes_by_name =
            classes.iter().map(|(oid, (namespace, name, _))| ((*namespace, name.clone()), *oid)).collect();
        let system_by_name = system
            .iter()
            .enumerate()
            .map(|(at, relation)| (format!("{}.{}", namespace_name(relation.namespace), relation.name), at))
            .collect();
        Self {
            snapshot,
            types,
            system,
            model,
            roles,
            system_by_name,
            classes,
            classes_by_name,
            tables: Mutex::default(),
            tables_of: Mutex::default(),
        }
    }

    /// Finds a system relation. Without a schema only `pg_catalog` and what the search path names are looked through.
    pub(crate) fn find(&self, schema: Option<&str>, name: &str, session: &SessionFacts) -> Option<usize> {
        match schema {
            Some(schema) => self.system_by_name.get(&format!("{schema}.{name}")).copied(),
            None => self.find(Some("pg_catalog"), name, session).or_else(|| {
                let listed = session.search_path.iter().any(|schema| schema == "information_schema");
                listed.then(|| self.find(Some("information_schema"), name, session)).flatten()
            }),
        }
    }

    /// The rows of a system relation as this session sees them.
    pub(crate) fn table(&self, at: usize, session: &SessionFacts) -> Result<Arc<Table>> {
        let relation = &self.system[at];
        if matches!(relation.name.as_str(), "pg_authid" | "pg_shadow") {
            return Err(CatalogError::new("42501", format!("permission denied for table {}", relation.name)));
        }
        match tables::scope(relation) {
            tables::Scope::Snapshot => {
                if let Some(table) = self.tables.lock().unwrap_or_else(PoisonError::into_inner).get(&at) {
                    return Ok(Arc::clone(table));
                }
                // Built outside the lock: one table's rows may be made from another's.
                let table = Arc::new(Table::new(tables::rows(self, relation, session)));
                let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(Arc::clone(tables.entry(at).or_insert(table)))
            }
            tables::Scope::Principal => {
                let key = (session.database.clone(), session.user.clone());
                let mut kept = self.tables_of.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() >= PRINCIPALS_MAX && !kept.contains_key(&key) {
                    kept.clear();
                }
                let table = kept
                    .entry(key)
                    .or_default()
                    .entry(at)
                    .or_insert_with(|| Arc::new(Table::new(tables::rows(self, relation, session))));
                Ok(Arc::clone(table))
            }
            tables::Scope::Session => Ok(Arc::new(Table::new(tables::rows(self, relation, session)))),
        }
    }

    pub(crate) fn class(&self, oid: Oid) -> Option<&(Oid, String, char)> {
        self.classes.get(&oid)
    }

    pub(crate) fn model_relation(&self, oid: Oid) -> Option<&ModelRelation> {
        self.model.iter().find(|relation| relation.oid == oid)
    }

    pub(crate) fn class_named(&self, namespace: Oid, name: &str) -> Option<Oid> {
        self.classes_by_name.get(&(namespace, name.to_owned())).copied()
    }

    /// Every role, the session's own included.
    pub(crate) fn roles_of(&self, session: &SessionFacts) -> Vec<(Oid, String)> {
        let mut roles = self.roles.clone();
        if !roles.iter().any(|(_, name)| *name == session.user) {
            let mut oids = OidGiver { taken: roles.iter().map(|(oid, _)| *oid).collect() };
            roles.push((oids.give("role", &session.user), session.user.clone()));
        }
        roles
    }

    /// Every database, the session's own included.
    pub(crate) fn databases_of(&self, session: &SessionFacts) -> Vec<(Oid, String)> {
        let mut names = self.snapshot.databases.clone();
        names.push(session.database.clone());
        names.sort();
        names.dedup();
        let mut oids = OidGiver::default();
        names.into_iter().map(|name| (oids.give("database", &name), name)).collect()
    }

    /// Whether objects of a namespace are found without naming it.
    pub(crate) fn on_path(&self, namespace: Oid, session: &SessionFacts) -> bool {
        namespace == PG_CATALOG || session.search_path.iter().any(|schema| schema == namespace_name(namespace))
    }

    /// Reads a relation's name, quoted and qualified as in SQL, and finds its OID.
    pub(crate) fn relation_named(&self, text: &str, session: &SessionFacts) -> Result<Option<Oid>> {
        let parts =
            split_name(text).ok_or_else(|| CatalogError::new("42602", format!("invalid name syntax: \"{text}\"")))?;
        Ok(match parts.as_slice() {
            [name] => {
                let path = session.search_path.iter().filter_map(|schema| namespace_oid(schema));
                [PG_CATALOG].into_iter().chain(path).find_map(|namespace| self.class_named(namespace, name))
            }
            [schema, name] | [_, schema, name] => {
                namespace_oid(schema).and_then(|namespace| self.class_named(namespace, name))
            }
            _ => None,
        })
    }

    /// A relation's name as `regclass` shows it: qualified where it would not be found otherwise.
    pub(crate) fn relation_shown(&self, oid: Oid, session: &SessionFacts) -> String {
        match self.class(oid) {
            _ if oid == 0 => "-".to_owned(),
            None => oid.to_string(),
            Some((namespace, name, _)) if self.on_path(*namespace, session) => quote_ident(name),
            Some((namespace, name, _)) => format!("{}.{}", quote_ident(namespace_name(*namespace)), quote_ident(name)),
        }
    }

    /// A setting's value in this session.
    pub(crate) fn setting(&self, name: &str, session: &SessionFacts) -> Option<String> {
        let own = session.settings.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = own.or_else(|| {
            let known = self.snapshot.settings.iter().find(|setting| setting.name.eq_ignore_ascii_case(name));
            known.map(|setting| &setting.value)
        });
        value.cloned().or_else(|| {
            tables::FIXED_SETTINGS
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| (*value).to_owned())
        })
    }
}

/// The name of one of our five namespaces.
pub fn namespace_name(oid: Oid) -> &'static str {
    match oid {
        PG_CATALOG => "pg_catalog",
        PG_TOAST => "pg_toast",
        PUBLIC => "public",
        INFORMATION_SCHEMA => "information_schema",
        BELVEDERE => OWN_SCHEMA,
        _ => "",
    }
}

pub fn namespace_oid(name: &str) -> Option<Oid> {
    [PG_CATALOG, PG_TOAST, PUBLIC, INFORMATION_SCHEMA, BELVEDERE].into_iter().find(|oid| namespace_name(*oid) == name)
}

/// Splits `schema."Name"` into its parts, unquoted ones in lower case; `None` for text that is no name.
pub fn split_name(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut part = String::new();
            let mut chars = quoted.char_indices().peekable();
            loop {
                match chars.next()? {
                    (_, '"') if chars.peek().is_some_and(|(_, c)| *c == '"') => {
                        chars.next();
                        part.push('"');
                    }
                    (at, '"') => {
                        rest = quoted[at + 1..].trim_start();
                        break;
                    }
                    (_, c) => part.push(c),
                }
            }
            parts.push(part);
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let part = rest[..end].trim();
            if part.is_empty() {
                return None;
            }
            parts.push(part.to_lowercase());
            rest = &rest[end..];
        }
        match rest.strip_prefix('.') {
            Some(more) => rest = more.trim_start(),
            None => return rest.is_empty().then_some(parts),
        }
    }
}

/// Gives OIDs that depend on an object's name alone (unless two names collide), so that they survive a reload of the model.
#[derive(Default)]
struct OidGiver {
    taken: std::collections::HashSet<Oid>,
}

impl OidGiver {
    fn give(&mut self, class: &str, name: &str) -> Oid {
        // FNV-1a.
        let hash = class
            .bytes()
            .chain([0])
            .chain(name.bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut oid = FIRST_MODEL_OID + (hash % u64::from(MODEL_OIDS)) as u32;
        while !self.taken.insert(oid) {
            oid += 1;
        }
        oid
    }
}

fn read_system_relations(types: &TypeTable) -> Vec<SystemRelation> {
    let mut relations: Vec<SystemRelation> = Vec::new();
    for line in data::RELATIONS.lines().chain(OWN_RELATIONS.lines()) {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        if field(0) == "R" {
            relations.push(SystemRelation {
                oid: number(1) as Oid,
                namespace: namespace_oid(field(2)).unwrap_or(INFORMATION_SCHEMA),
                name: field(3).to_owned(),
                kind: field(4).chars().next().unwrap_or('r'),
                has_index: field(6) == "t",
                columns: Vec::new(),
            });
        } else if let Some(relation) = relations.last_mut() {
            let declared = number(2) as Oid;
            let (pg_type, typmod) = types.base(declared, number(3) as i32);
            relation.columns.push(SystemColumn {
                name: field(1).to_owned(),
                declared,
                pg_type,
                typmod,
                not_null: field(4) == "t",
                collation: number(5) as Oid,
            });
        }
    }
    relations
}
