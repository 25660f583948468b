//! Reads the whole config: the top-level keys, and what overrides them.

use std::path::Path;
use std::time::Duration;

use belvedere_engine::DefaultMasks;
use belvedere_model::yaml::{self, Keys};
use belvedere_model::{Diagnostic, Place, SourceText};

use super::reader::{Given, Reader};
use super::{At, Config, Environment, Flags, Limits, Log, LogFormat, LogLevel, mask_secrets, sections};

const LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Reads the config `text` of `file`; `flags` and the environment's `BELVEDERE_…` override it.
///
/// # Errors
/// All problems, by line. Passwords in the lines shown are hidden.
pub fn read(file: &Path, text: &str, environment: &Environment, flags: &Flags) -> Result<Config, Vec<Diagnostic>> {
    let shown = file.display().to_string();
    let root = yaml::parse(&shown, text).map_err(|mut problem| {
        problem.source_line = mask_secrets(&problem.source_line);
        vec![*problem]
    })?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut reader = Reader { source: SourceText::new(&shown, text), environment, folder, problems: Vec::new() };
    let reader = &mut reader;
    let no_keys = root.is_null().then(|| yaml::parse(&shown, "{}").ok()).flatten();
    let root = no_keys.unwrap_or(root);
    let Some(mut keys) = Keys::of(&root) else {
        let at = reader.at(&root.place);
        let message = format!("a config file must be a map, not {}", root.kind());
        reader.error(&at, message, "", "write keys such as `data_sources:` at the left edge");
        return Err(std::mem::take(&mut reader.problems));
    };

    let listen = settings(reader, &mut keys, flags, "listen").unwrap_or_else(|| vec![default("127.0.0.1:15432")]);
    let listen = listen.into_iter().filter_map(|given| reader.address(given, "listen")).collect();
    let http = setting(reader, keys.take("http"), flags, "http").and_then(|given| reader.address(given, "http"));
    let models = settings(reader, &mut keys, flags, "models")
        .unwrap_or_else(|| vec![Given { at: reader.at(&reader.source.start()), value: "models".to_owned() }]);
    let models = models.into_iter().map(|given| reader.path(given)).collect();
    let storage = setting(reader, keys.take("storage"), flags, "storage")
        .and_then(|given| sections::storage(reader, given))
        .unwrap_or_else(|| reader.folder.join(".belvedere").display().to_string());
    let time_zone = setting(reader, keys.take("time_zone"), flags, "time_zone")
        .and_then(|given| reader.zone(&given, "time_zone"))
        .unwrap_or(chrono_tz::UTC);
    let tls = keys.take("tls").and_then(|entry| sections::tls(reader, &entry.value));
    let users = keys.take("users").map(|entry| sections::users(reader, &entry.value)).unwrap_or_default();
    let masks = masks(reader, keys.take("masks").map(|entry| &entry.value), flags);
    let data_sources = match keys.take("data_sources") {
        Some(entry) => sections::data_sources(reader, &entry.value),
        None => {
            let at = reader.at(&reader.source.start());
            let help = "say where the data is: `data_sources: { default: { type: files, path: data/ } }`";
            reader.error(&at, "there are no `data_sources`", "", help);
            Vec::new()
        }
    };
    let refresh = sections::refresh(reader, keys.take("refresh").map(|entry| &entry.value), time_zone);
    let limits = limits(reader, keys.take("limits").map(|entry| &entry.value), flags);
    let log = log(reader, keys.take("log").map(|entry| &entry.value), flags);
    reader.finish(keys);

    let mut problems = std::mem::take(&mut reader.problems);
    if problems.is_empty() {
        return Ok(Config {
            listen,
            http,
            models,
            storage,
            time_zone,
            tls,
            users,
            masks,
            data_sources,
            refresh,
            limits,
            log,
        });
    }
    problems.sort_by_key(|problem| (problem.place.line, problem.place.column));
    Err(problems)
}

fn limits(reader: &mut Reader<'_>, node: Option<&yaml::Node>, flags: &Flags) -> Limits {
    let mut keys = node.and_then(|node| reader.keys(node, "limits"));
    let mut take = |key| keys.as_mut().and_then(|keys| keys.take(key));
    let (timeout, memory, connections) = (take("statement_timeout"), take("memory"), take("connections"));
    let drain = take("drain");
    let limits = Limits {
        statement_timeout: setting(reader, timeout, flags, "statement_timeout")
            .and_then(|given| reader.duration_or_off(&given, "statement_timeout"))
            .unwrap_or(Some(Duration::from_secs(120))),
        memory_bytes: setting(reader, memory, flags, "memory")
            .and_then(|given| reader.bytes(&given, "memory"))
            .unwrap_or(4 << 30),
        connections: setting(reader, connections, flags, "connections")
            .and_then(|given| reader.count(given, "connections", 1_000_000))
            .unwrap_or(1024),
        drain: setting(reader, drain, flags, "drain")
            .and_then(|given| reader.duration(&given, "drain"))
            .unwrap_or(Duration::from_secs(30)),
    };
    if let Some(keys) = keys {
        reader.finish(keys);
    }
    limits
}

/// What masked members show that say nothing of it themselves. Cube's own variables are read where ours are not set.
fn masks(reader: &mut Reader<'_>, node: Option<&yaml::Node>, flags: &Flags) -> DefaultMasks {
    let mut keys = node.and_then(|node| reader.keys(node, "masks"));
    let mut mask = |reader: &mut Reader<'_>, key: &'static str, name: &'static str, is_one: fn(&str) -> bool| {
        let entry = keys.as_mut().and_then(|keys| keys.take(key));
        let cubes = format!("CUBEJS_ACCESS_POLICY_{}", name.to_uppercase());
        let given = overriding(reader.environment, flags, name)
            .or_else(|| {
                let value = reader.environment.get(&cubes).filter(|value| !value.is_empty())?;
                Some(outside(cubes, value))
            })
            .or_else(|| {
                let entry = entry?;
                reader.scalar(&entry.value, &entry.key, "text, a number, true or false")
            })?;
        if is_one(&given.value) {
            return Some(given.value);
        }
        let help = "masks are text, a number, `true` or `false`, and a date or time such as 1970-01-01";
        reader.error(&given.at, format!("this mask is no {key}"), "", help);
        None
    };
    let is_number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
    let is_time = |text: &str| {
        let spaced = text.replacen('T', " ", 1);
        chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
            || chrono::NaiveDateTime::parse_from_str(&spaced, "%Y-%m-%d %H:%M:%S%.f").is_ok()
    };
    let masks = DefaultMasks {
        string: mask(reader, "string", "mask_string", |_| true),
        number: mask(reader, "number", "mask_number", is_number),
        boolean: mask(reader, "boolean", "mask_boolean", |text| matches!(text, "true" | "false")),
        time: mask(reader, "time", "mask_time", is_time),
    };
    if let Some(keys) = keys {
        reader.finish(keys);
    }
    masks
}

fn log(reader: &mut Reader<'_>, node: Option<&yaml::Node>, flags: &Flags) -> Log {
    let mut keys = node.and_then(|node| reader.keys(node, "log"));
    let mut take = |key| keys.as_mut().and_then(|keys| keys.take(key));
    let (level, format) = (take("level"), take("format"));
    let log = Log {
        level: setting(reader, level, flags, "log_level")
            .and_then(|given| reader.choice(&given, "level", &LEVELS))
            .unwrap_or(LogLevel::Info),
        format: setting(reader, format, flags, "log_format")
            .and_then(|given| reader.choice(&given, "format", &FORMATS))
            .unwrap_or(LogFormat::Text),
    };
    if let Some(keys) = keys {
        reader.finish(keys);
    }
    log
}

/// What is given for a setting: by the flag, else by the environment, else by the file.
fn setting(reader: &mut Reader<'_>, entry: Option<&yaml::Entry>, flags: &Flags, name: &'static str) -> Option<Given> {
    overriding(reader.environment, flags, name).or_else(|| {
        let entry = entry?;
        reader.text(&entry.value, &entry.key)
    })
}

/// The same for a list; flags and the environment separate its items by commas.
fn settings(reader: &mut Reader<'_>, keys: &mut Keys<'_>, flags: &Flags, name: &'static str) -> Option<Vec<Given>> {
    let entry = keys.take(name);
    if let Some(given) = overriding(reader.environment, flags, name) {
        let items = given.value.split(',').map(str::trim).filter(|item| !item.is_empty());
        return Some(items.map(|item| Given { value: item.to_owned(), at: given.at.clone() }).collect());
    }
    let entry = entry?;
    let texts = reader.texts(&entry.value, name);
    if texts.is_empty() && entry.value.as_list().is_some_and(<[yaml::Node]>::is_empty) {
        let at = reader.at(&entry.value.place);
        reader.error(&at, format!("`{name}` is an empty list"), "", "name at least one, or delete the key");
    }
    Some(texts)
}

/// An empty variable counts as unset.
fn overriding(environment: &Environment, flags: &Flags, name: &'static str) -> Option<Given> {
    if let Some(value) = flags.0.get(name) {
        return Some(outside(format!("--{}", name.replace('_', "-")), value));
    }
    let variable = format!("BELVEDERE_{}", name.to_uppercase());
    let value = environment.get(&variable).filter(|value| !value.is_empty())?;
    Some(outside(variable, value))
}

/// A value that stands in no file: errors show the flag or the variable in the file's place.
fn outside(origin: String, value: &str) -> Given {
    let length = u32::try_from(value.chars().count()).unwrap_or(u32::MAX).max(1);
    let place = Place { file: origin.into(), line: 1, column: 1, length };
    Given { value: value.to_owned(), at: At { place, source_line: value.to_owned() } }
}

fn default(value: &str) -> Given {
    outside("the default".to_owned(), value)
}
