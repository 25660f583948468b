//! The parts of the config that are maps of their own: TLS, users, data sources, refresh.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use belvedere_engine::Zone;
use belvedere_model::yaml::{Entry, Keys, Node};
use belvedere_sources::{Address, FilesConfig, RemoteConfig, TlsMode};
use chrono_tz::Tz;

use super::reader::{Given, Reader};
use super::{DataSourceConfig, DataSourceKind, Placed, Refresh, Tls, User};

/// The most connections that one pool may hold; a server allows fewer.
const POOL_MAX: usize = 1000;
const TLS_MODES: [(&str, TlsMode); 4] = [
    ("disable", TlsMode::Disable),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-full", TlsMode::VerifyFull),
];

/// A folder, or an object store's URL.
pub(super) fn storage(reader: &mut Reader<'_>, given: Given) -> Option<String> {
    match given.value.split_once("://") {
        Some(("s3", bucket)) if !bucket.is_empty() => Some(given.value),
        Some(_) => {
            let help = "write a folder, or `s3://bucket/prefix`";
            reader.error(&given.at, "`storage` is neither a folder nor an s3:// URL", "", help);
            None
        }
        None => Some(reader.path(given).value.display().to_string()),
    }
}

pub(super) fn tls(reader: &mut Reader<'_>, node: &Node) -> Option<Tls> {
    let mut keys = reader.keys(node, "tls")?;
    let mut file = |reader: &mut Reader<'_>, key: &'static str| {
        let given = match keys.take(key) {
            Some(entry) => reader.text(&entry.value, key),
            None => {
                let at = reader.at(&node.place);
                reader.error(
                    &at,
                    format!("`tls` needs `{key}`"),
                    "",
                    "name the PEM files of a certificate and its key",
                );
                None
            }
        };
        given.map(|given| reader.path(given))
    };
    let (cert, key) = (file(reader, "cert"), file(reader, "key"));
    let require = keys.take("require").and_then(|entry| reader.boolean(&entry.value, "require")).unwrap_or(false);
    reader.finish(keys);
    Some(Tls { cert: cert?, key: key?, require })
}

pub(super) fn users(reader: &mut Reader<'_>, node: &Node) -> Vec<User> {
    let Some(items) = node.as_list() else {
        let at = reader.at(&node.place);
        let help = "write a list: `- { name: analyst, password: \"${ANALYST_PASSWORD}\" }`";
        reader.error(&at, format!("`users` must be a list, not {}", node.kind()), "", help);
        return Vec::new();
    };
    if items.is_empty() {
        let at = reader.at(&node.place);
        // Nobody can mean to open the door by emptying the list of those who may come in.
        reader.error(
            &at,
            "`users` is an empty list",
            "",
            "name a user, or delete the key to let anyone on this machine in",
        );
    }
    let mut seen = HashSet::new();
    items.iter().filter_map(|item| user(reader, item, &mut seen)).collect()
}

fn user(reader: &mut Reader<'_>, node: &Node, seen: &mut HashSet<String>) -> Option<User> {
    let mut keys = reader.keys(node, "users")?;
    let name = required(reader, &mut keys, node, "name", "a user");
    let password = required(reader, &mut keys, node, "password", "a user");
    if let Some(name) = &name
        && !seen.insert(name.value.clone())
    {
        reader.error(&name.at, format!("the user \"{}\" is there twice", name.value), "again here", "delete one");
    }
    if let Some(password) = &password {
        check_password(reader, password);
    }
    let groups = keys.take("groups").map(|entry| reader.texts(&entry.value, "groups")).unwrap_or_default();
    let attributes = keys.take("attributes").map(|entry| attributes(reader, &entry.value)).unwrap_or_default();
    let time_zone_fixed = keys
        .take("time_zone")
        .and_then(|entry| reader.text(&entry.value, "time_zone"))
        .and_then(|given| reader.choice(&given, "time_zone", &[("fixed", true)]))
        .unwrap_or(false);
    let may_build = keys.take("build").and_then(|entry| reader.boolean(&entry.value, "build")).unwrap_or(false);
    reader.finish(keys);
    Some(User {
        name: name?.value,
        password: password?,
        groups: groups.into_iter().map(|given| given.value).collect(),
        attributes,
        time_zone_fixed,
        may_build,
    })
}

/// What looks like a stored password but is none would become a password that nobody types.
fn check_password(reader: &mut Reader<'_>, password: &Given) {
    let text = &password.value;
    let is_md5 = text.len() == 35 && text.starts_with("md5") && text[3..].bytes().all(|b| b.is_ascii_hexdigit());
    if is_md5 {
        let help = "give the password itself, or its SCRAM-SHA-256 verifier from PostgreSQL's pg_authid";
        reader.error(&password.at, "md5 passwords are not supported", "", help);
    }
    if text.starts_with("SCRAM-SHA-256$")
        && !belvedere_pgserver::scram_verifier(text).is_ok_and(|verifier| verifier == *text)
    {
        let help = "the form is `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`";
        reader.error(&password.at, "this SCRAM-SHA-256 verifier cannot be read", "", help);
    }
}

fn attributes(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, String> {
    if reader.keys(node, "attributes").is_none() {
        return BTreeMap::new();
    }
    let entries = node.as_map().unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| {
            let given = reader.scalar(&entry.value, &entry.key, "text, a number, true or false")?;
            Some((entry.key.clone(), given.value))
        })
        .collect()
}

pub(super) fn data_sources(reader: &mut Reader<'_>, node: &Node) -> Vec<DataSourceConfig> {
    if reader.keys(node, "data_sources").is_none() {
        return Vec::new();
    }
    let entries = node.as_map().unwrap_or_default();
    entries.iter().filter_map(|entry| data_source(reader, entry)).collect()
}

#[derive(Clone, Copy)]
enum Kind {
    Postgres,
    MySql,
    Files,
}

fn data_source(reader: &mut Reader<'_>, entry: &Entry) -> Option<DataSourceConfig> {
    let node = &entry.value;
    let mut keys = reader.keys(node, &format!("data_sources.{}", entry.key))?;
    let kind = required(reader, &mut keys, node, "type", "a data source")?;
    let kinds =
        [("postgres", Kind::Postgres), ("mysql", Kind::MySql), ("mariadb", Kind::MySql), ("files", Kind::Files)];
    let kind = reader.choice(&kind, "type", &kinds)?;
    let kind = match kind {
        Kind::Files => files(reader, &mut keys, node).map(DataSourceKind::Files),
        Kind::Postgres => remote(reader, &mut keys, node, ["postgres", "postgresql"], 5432)
            .map(|remote| DataSourceKind::Postgres(Box::new(remote))),
        Kind::MySql => remote(reader, &mut keys, node, ["mysql", "mariadb"], 3306)
            .map(|remote| DataSourceKind::MySql(Box::new(remote))),
    };
    let zone = time_zone(reader, &mut keys);
    reader.finish(keys);
    Some(DataSourceConfig { name: entry.key.clone(), at: reader.at(&entry.key_place), kind: kind?, zone: zone? })
}

fn files(reader: &mut Reader<'_>, keys: &mut Keys<'_>, node: &Node) -> Option<FilesConfig> {
    let path = required(reader, keys, node, "path", "a data source of type files");
    let mut columns = BTreeMap::new();
    if let Some(entry) = keys.take("columns")
        && reader.keys(&entry.value, "columns").is_some()
    {
        for table in entry.value.as_map().unwrap_or_default() {
            if reader.keys(&table.value, &format!("columns.{}", table.key)).is_none() {
                continue;
            }
            let declared = table.value.as_map().unwrap_or_default().iter().filter_map(|column| {
                let given = reader.text(&column.value, &column.key)?;
                Some((column.key.clone(), given.value))
            });
            columns.insert(table.key.clone(), declared.collect());
        }
    }
    let path = reader.path(path?).value;
    Some(FilesConfig { path, columns })
}

fn remote(
    reader: &mut Reader<'_>,
    keys: &mut Keys<'_>,
    node: &Node,
    schemes: [&str; 2],
    port: u16,
) -> Option<RemoteConfig> {
    let url = keys.take("url").map(|entry| reader.text(&entry.value, "url"));
    let parts = parts(reader, keys, node, url.is_some(), port);
    let address = match url {
        Some(url) => url.and_then(|url| checked_url(reader, url, schemes)),
        None => parts,
    };
    let mut config = RemoteConfig::at(address.unwrap_or(Address::Url(String::new())));
    let problems_before = reader.problems.len();
    if let Some(pool) = keys.take("pool").and_then(|entry| reader.text(&entry.value, "pool")) {
        config.pool = reader.count(pool, "pool", POOL_MAX).unwrap_or(config.pool);
    }
    let mut duration = |reader: &mut Reader<'_>, key: &'static str| {
        let given = keys.take(key).and_then(|entry| reader.text(&entry.value, key))?;
        reader.duration(&given, key)
    };
    config.connect_timeout = duration(reader, "connect_timeout").unwrap_or(config.connect_timeout);
    config.pool_timeout = duration(reader, "pool_timeout").unwrap_or(config.pool_timeout);
    config.statement_timeout = keys
        .take("statement_timeout")
        .and_then(|entry| reader.text(&entry.value, "statement_timeout"))
        .and_then(|given| reader.duration_or_off(&given, "statement_timeout"))
        .flatten();
    if let Some(entry) = keys.take("tls") {
        source_tls(reader, &entry.value, &mut config);
    }
    let fits =
        reader.problems.len() == problems_before && !matches!(&config.address, Address::Url(url) if url.is_empty());
    fits.then_some(config)
}

/// `host`, `port`, `user`, `password` and `database`, which stand in for `url`.
fn parts(reader: &mut Reader<'_>, keys: &mut Keys<'_>, node: &Node, has_url: bool, port: u16) -> Option<Address> {
    let mut given = Vec::new();
    for key in ["host", "port", "user", "password", "database"] {
        given.push(keys.take(key));
    }
    if has_url {
        if let Some(entry) = given.into_iter().flatten().next() {
            let at = reader.at(&entry.key_place);
            let message = format!("`{}` and `url` are both there", entry.key);
            reader.error(&at, message, "the URL says this already", "delete one of them");
        }
        return None;
    }
    if given.iter().all(Option::is_none) {
        let at = reader.at(&node.place);
        let help =
            "write `url: \"postgres://user:${PASSWORD}@host:5432/database\"`, or host, user, password and database";
        reader.error(
            &at,
            "this data source has no address",
            "",
            help.replace("postgres://", if port == 3306 { "mysql://" } else { "postgres://" })
                .replace("5432", &port.to_string()),
        );
        return None;
    }
    let mut text = |index: usize, key: &str| {
        let Some(entry) = given[index] else {
            let at = reader.at(&node.place);
            reader.error(&at, format!("this data source has no `{key}`"), "", "give it, or use `url`");
            return None;
        };
        // A password may be empty.
        reader.scalar(&entry.value, key, "text").map(|given| given.value)
    };
    let (host, user, database) = (text(0, "host"), text(2, "user"), text(4, "database"));
    let password = if given[3].is_some() { text(3, "password") } else { Some(String::new()) };
    let port = match given[1] {
        Some(entry) => {
            let port = reader.text(&entry.value, "port").and_then(|given| reader.count(given, "port", 65_535));
            port.and_then(|port| u16::try_from(port).ok())
        }
        None => Some(port),
    };
    Some(Address::Parts { host: host?, port: port?, user: user?, password: password?, database: database? })
}

fn checked_url(reader: &mut Reader<'_>, url: Given, schemes: [&str; 2]) -> Option<Address> {
    let scheme = url.value.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        // The driver knows one spelling only.
        Some("mariadb") if schemes.contains(&"mariadb") => {
            Some(Address::Url(url.value.replacen("mariadb://", "mysql://", 1)))
        }
        Some(scheme) if schemes.contains(&scheme) => Some(Address::Url(url.value)),
        _ => {
            let message = format!("`url` must begin with {}://", schemes[0]);
            let help = format!("write `{}://user:${{PASSWORD}}@host/database`", schemes[0]);
            reader.error(&url.at, message, "", help);
            None
        }
    }
}

/// `tls: require`, or `tls: { mode: verify-full, root_cert: ca.crt }`.
fn source_tls(reader: &mut Reader<'_>, node: &Node, config: &mut RemoteConfig) {
    if node.as_map().is_none() {
        let mode = reader.text(node, "tls");
        config.tls = mode.and_then(|mode| reader.choice(&mode, "tls", &TLS_MODES));
        return;
    }
    let Some(mut keys) = reader.keys(node, "tls") else { return };
    let mode = keys.take("mode").and_then(|entry| reader.text(&entry.value, "mode"));
    config.tls = mode.and_then(|mode| reader.choice(&mode, "mode", &TLS_MODES));
    let root_cert = keys.take("root_cert").and_then(|entry| reader.text(&entry.value, "root_cert"));
    if let Some(given) = root_cert {
        if config.tls != Some(TlsMode::VerifyFull) {
            let help = "add `mode: verify-full`, the only one that looks at it";
            reader.error(&given.at, "`root_cert` has no effect with this mode", "", help);
        }
        config.tls_root_cert = Some(reader.path(given).value);
    }
    reader.finish(keys);
}

/// The zone of a source's `timestamp` columns; `None` after a problem was reported.
fn time_zone(reader: &mut Reader<'_>, keys: &mut Keys<'_>) -> Option<Zone> {
    let Some(entry) = keys.take("time_zone") else { return Some(Zone::UTC) };
    let given = reader.text(&entry.value, "time_zone")?;
    reader.zone(&given, "time_zone").map(Zone::from)
}

pub(super) fn refresh(reader: &mut Reader<'_>, node: Option<&Node>, zone: Tz) -> Refresh {
    let mut refresh = Refresh {
        enabled: true,
        every: Duration::from_secs(30),
        concurrency: 2,
        per_source: 2,
        time_zones: vec![zone],
    };
    let Some(mut keys) = node.and_then(|node| reader.keys(node, "refresh")) else { return refresh };
    if let Some(entry) = keys.take("enabled") {
        refresh.enabled = reader.boolean(&entry.value, "enabled").unwrap_or(true);
    }
    if let Some(given) = keys.take("every").and_then(|entry| reader.text(&entry.value, "every")) {
        refresh.every = reader.duration(&given, "every").unwrap_or(refresh.every);
    }
    if let Some(given) = keys.take("concurrency").and_then(|entry| reader.text(&entry.value, "concurrency")) {
        refresh.concurrency = reader.count(given, "concurrency", 64).unwrap_or(refresh.concurrency);
    }
    refresh.per_source = refresh.concurrency;
    if let Some(given) = keys.take("per_source").and_then(|entry| reader.text(&entry.value, "per_source")) {
        refresh.per_source = reader.count(given, "per_source", 64).unwrap_or(refresh.per_source);
    }
    if let Some(entry) = keys.take("time_zones") {
        let given = reader.texts(&entry.value, "time_zones");
        refresh.time_zones = given.iter().filter_map(|given| reader.zone(given, "time_zones")).collect();
    }
    reader.finish(keys);
    refresh
}

fn required(
    reader: &mut Reader<'_>,
    keys: &mut Keys<'_>,
    node: &Node,
    key: &'static str,
    what: &str,
) -> Option<Placed<String>> {
    match keys.take(key) {
        Some(entry) => reader.text(&entry.value, key),
        None => {
            let at = reader.at(&node.place);
            reader.error(&at, format!("{what} needs `{key}`"), "", format!("add `{key}: …`"));
            None
        }
    }
}
