//! The config: precedence, expansion, units, what is refused and how it reads. `UPDATE_GOLDEN=1` writes `broken/*.err` anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use belvedere_sources::{Address, TlsMode};

use super::expand::{ExpandError, expand};
use super::{Config, DataSourceKind, Environment, Flags, mask_secrets, read, units};

const FILES: &str = "data_sources: { default: { type: files, path: data } }\n";

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read_with(text: &str, variables: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Config, String> {
    let flags = Flags(flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect());
    read(Path::new("conf/belvedere.yaml"), text, &environment(variables), &flags).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        texts.join("\n")
    })
}

#[test]
fn a_config_with_only_a_source_has_the_documented_defaults() -> Result<(), String> {
    let config = read_with(FILES, &[], &[])?;
    assert_eq!(config.listen.iter().map(|listen| listen.value.as_str()).collect::<Vec<_>>(), ["127.0.0.1:15432"]);
    assert!(config.http.is_none() && config.tls.is_none() && config.users.is_empty());
    assert_eq!(config.models.iter().map(|path| path.value.clone()).collect::<Vec<_>>(), [PathBuf::from("conf/models")]);
    assert_eq!(config.storage, "conf/.belvedere");
    assert_eq!(config.time_zone, chrono_tz::UTC);
    assert_eq!(config.limits.statement_timeout, Some(Duration::from_secs(120)));
    assert_eq!((config.limits.memory_bytes, config.limits.connections), (4 << 30, 1024));
    assert_eq!((config.refresh.enabled, config.refresh.every), (true, Duration::from_secs(30)));
    Ok(())
}

#[test]
fn flags_override_the_environment_which_overrides_the_file() -> Result<(), String> {
    let text = format!("{FILES}listen: 127.0.0.1:1\nlimits: {{ connections: 1 }}\ntime_zone: Europe/Berlin\n");
    let listen = |config: Config| config.listen[0].value.clone();
    let variables = [("BELVEDERE_LISTEN", "127.0.0.1:2"), ("BELVEDERE_CONNECTIONS", "2")];
    assert_eq!(listen(read_with(&text, &[], &[])?), "127.0.0.1:1");
    assert_eq!(listen(read_with(&text, &variables, &[])?), "127.0.0.1:2");
    assert_eq!(listen(read_with(&text, &variables, &[("listen", "127.0.0.1:3")])?), "127.0.0.1:3");
    let config = read_with(&text, &variables, &[])?;
    assert_eq!(config.limits.connections, 2);
    assert_eq!(config.time_zone, chrono_tz::Europe::Berlin);
    Ok(())
}

#[test]
fn masks_come_from_flags_then_our_variables_then_cubes_then_the_file() -> Result<(), String> {
    let text = format!("{FILES}masks: {{ string: '***', number: -1, boolean: false, time: 1970-01-01 }}\n");
    let masks = |config: Config| [config.masks.string, config.masks.number].map(Option::unwrap_or_default);
    assert_eq!(masks(read_with(FILES, &[], &[])?), ["", ""]);
    assert_eq!(masks(read_with(&text, &[], &[])?), ["***", "-1"]);
    let cubes = ("CUBEJS_ACCESS_POLICY_MASK_NUMBER", "-2");
    assert_eq!(masks(read_with(&text, &[cubes], &[])?), ["***", "-2"]);
    let both = [cubes, ("BELVEDERE_MASK_NUMBER", "-3")];
    assert_eq!(masks(read_with(&text, &both, &[])?), ["***", "-3"]);
    assert_eq!(masks(read_with(&text, &both, &[("mask_number", "-4")])?), ["***", "-4"]);
    let error = read_with(&text, &[("CUBEJS_ACCESS_POLICY_MASK_TIME", "never")], &[]).expect_err("this is no time");
    assert!(error.contains("this mask is no time") && error.contains("CUBEJS_ACCESS_POLICY_MASK_TIME"), "{error}");
    Ok(())
}

#[test]
fn an_empty_variable_overrides_nothing() -> Result<(), String> {
    let config = read_with(FILES, &[("BELVEDERE_LISTEN", "")], &[])?;
    assert_eq!(config.listen[0].value, "127.0.0.1:15432");
    Ok(())
}

#[test]
fn paths_of_the_file_start_at_its_folder_and_those_of_flags_at_the_current_one() -> Result<(), String> {
    let text = format!("{FILES}models: [./cubes, /abs]\n");
    let models = |config: Config| config.models.into_iter().map(|path| path.value).collect::<Vec<_>>();
    assert_eq!(models(read_with(&text, &[], &[])?), [PathBuf::from("conf/cubes"), PathBuf::from("/abs")]);
    assert_eq!(models(read_with(&text, &[], &[("models", "a, b")])?), [PathBuf::from("a"), PathBuf::from("b")]);
    Ok(())
}

#[test]
fn a_wrong_flag_is_drawn_with_its_name() {
    let error = read_with(FILES, &[], &[("time_zone", "Europe/Berln")]).expect_err("there is no such zone");
    assert_eq!(
        error,
        "error: `time_zone`: there is no time zone \"Europe/Berln\"\n --> --time-zone:1:1\n  |\n1 | Europe/Berln\n  \
         | ^^^^^^^^^^^^\n  = help: did you mean `Europe/Berlin`?\n"
    );
}

#[test]
fn references_are_replaced_once() {
    let variables = environment(&[("A", "1"), ("EMPTY", ""), ("NESTED", "${A}")]);
    let expanded = |text: &str| expand(text, &variables);
    assert_eq!(expanded("x${A}y${A}"), Ok("x1y1".to_owned()));
    assert_eq!(expanded("${EMPTY}"), Ok(String::new()));
    assert_eq!(expanded("${EMPTY:-d}|${MISSING:-a:-b}|${A:-d}"), Ok("d|a:-b|1".to_owned()));
    assert_eq!(expanded("${NESTED}"), Ok("${A}".to_owned()));
    assert_eq!(expanded("$${A} $A $$ $"), Ok("${A} $A $$ $".to_owned()));
    assert_eq!(expanded("a ${MISSING}"), Err(ExpandError::Missing("MISSING".to_owned())));
    assert!(matches!(expanded("${A"), Err(ExpandError::Malformed(_))));
    assert!(matches!(expanded("${A-b}"), Err(ExpandError::Malformed(_))));
    assert!(matches!(expanded("${}"), Err(ExpandError::Malformed(_))));
}

#[test]
fn an_expanded_value_is_read_by_its_new_text() -> Result<(), String> {
    let text = "data_sources: { default: { type: postgres, url: \"postgres://u:${P}@h/d\", pool: \"${POOL:-3}\" } }\n";
    let config = read_with(text, &[("P", "s3cret")], &[])?;
    let DataSourceKind::Postgres(remote) = &config.data_sources[0].kind else { panic!("not a PostgreSQL source") };
    assert_eq!(remote.pool, 3);
    assert!(matches!(&remote.address, Address::Url(url) if url == "postgres://u:s3cret@h/d"));
    Ok(())
}

#[test]
fn a_source_may_be_given_in_parts_with_everything() -> Result<(), String> {
    let text = "data_sources:\n  crm:\n    type: mariadb\n    host: db\n    user: app\n    password: \"${P}\"\n    database: crm\n    \
                pool: 2\n    connect_timeout: 500ms\n    pool_timeout: 1m\n    statement_timeout: 1h30m\n    \
                time_zone: utc\n    tls: { mode: verify-full, root_cert: ca.crt }\n";
    let config = read_with(text, &[("P", "p")], &[])?;
    let DataSourceKind::MySql(remote) = &config.data_sources[0].kind else { panic!("not a MySQL source") };
    assert!(
        matches!(&remote.address, Address::Parts { host, port: 3306, password, .. } if host == "db" && password == "p")
    );
    assert_eq!(
        (remote.pool, remote.connect_timeout, remote.pool_timeout),
        (2, Duration::from_millis(500), Duration::from_secs(60))
    );
    assert_eq!(remote.statement_timeout, Some(Duration::from_secs(5400)));
    assert_eq!(
        (remote.tls, remote.tls_root_cert.clone()),
        (Some(TlsMode::VerifyFull), Some(PathBuf::from("conf/ca.crt")))
    );
    Ok(())
}

#[test]
fn units_are_read_exactly_or_not_at_all() {
    assert_eq!(units::duration("1h30m"), Some(Duration::from_secs(5400)));
    assert_eq!(units::duration("1.5 s"), Some(Duration::from_millis(1500)));
    for wrong in ["", "30", "s", "30 parsecs", "-1s", "1e99d"] {
        assert_eq!(units::duration(wrong), None, "{wrong}");
    }
    assert_eq!(units::bytes("4GiB"), Some(4 << 30));
    assert_eq!(units::bytes("1.5 kB"), Some(1500));
    for wrong in ["", "4", "4G", "-1B", "9999999TB"] {
        assert_eq!(units::bytes(wrong), None, "{wrong}");
    }
}

#[test]
fn secrets_in_lines_are_stars_of_the_same_length() {
    for (line, masked) in [
        ("url: postgres://app:secret@db:5432/shop", "url: postgres://app:******@db:5432/shop"),
        ("url: \"mysql://app:a b@c@crm/crm\", pool: 3", "url: \"mysql://app:*****@crm/crm\", pool: 3"),
        ("- { name: a, password: hunter2, groups: [x] }", "- { name: a, password: *******, groups: [x] }"),
        ("- { name: a, \"password\": \"a, b}\", groups: [x] }", "- { name: a, \"password\": \"*****\", groups: [x] }"),
        ("password: it's: all # secret", "password: ******************"),
        ("password: \"never closed", "password: \"************"),
        ("password: ${PASSWORD}", "password: ${PASSWORD}"),
        ("password: ${PASSWORD:-hunter2}", "password: ********************"),
        ("listen: 127.0.0.1:15432", "listen: 127.0.0.1:15432"),
    ] {
        assert_eq!(mask_secrets(line), masked);
        assert_eq!(masked.chars().count(), line.chars().count());
    }
}

#[test]
fn no_problem_and_no_debug_text_shows_a_password() {
    let text = "users:\n  - { name: a, password: planted1, grups: [x] }\n  - { name: a, password: planted1 }\n\
                data_sources:\n  one: { type: postgres, url: \"postgres://u:planted1@h/d\", pol: 3 }\n  \
                two: { type: mysql, url: \"ftp://u:planted1@h/d\" }\n  \
                three: { type: mysql, host: h, user: u, password: planted1, database: d, tls: maybe }\n";
    let error = read_with(text, &[], &[]).expect_err("there are mistakes");
    assert!(error.matches("error: ").count() >= 5, "{error}");
    assert!(!error.contains("planted1"), "{error}");
    let broken = read_with("password: planted1\n  x: [\n", &[], &[]).expect_err("this is no YAML");
    assert!(!broken.contains("planted1"), "{broken}");
    let good = "users: [{ name: a, password: planted1 }]\ndata_sources:\n  one: { type: postgres, url: \"postgres://u:planted1@h/d\" }\n";
    let config = read_with(good, &[], &[]).expect("nothing is wrong with it");
    let shown = format!("{:?}", config.data_sources) + &format!("{:?}", config.users);
    assert!(!shown.contains("planted1"), "{shown}");
}

#[test]
fn every_broken_config_says_what_its_golden_text_says() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/broken");
    let mut failures = String::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of broken configs is there")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "only {} broken configs were found", files.len());
    for path in files {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a broken config can be read");
        let found = match read(Path::new(&name), &text, &Environment::new(), &Flags::default()) {
            Ok(_) => panic!("{name} is broken, and it was read"),
            Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        };
        let golden = path.with_extension("err");
        if update {
            std::fs::write(&golden, &found).expect("the golden text can be written");
        }
        let wanted = std::fs::read_to_string(&golden).unwrap_or_default();
        if wanted != found {
            failures += &format!("{name}\n--- wanted\n{wanted}--- found\n{found}\n");
        }
    }
    assert_eq!(failures, "");
}
