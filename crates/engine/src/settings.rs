//! A session's settings, as `SET`, `SHOW` and start-up parameters see them.

use std::collections::BTreeMap;
use std::time::Duration;

use belvedere_functions::{Zone, parse_literal};
use belvedere_planner::session::{RollupChoice, RollupSettings, RollupUsage};
use chrono_tz::Tz;
use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::scalar::ScalarValue;

use crate::SqlError;
use crate::guc_duration::{self, Invalid};

/// PostgreSQL's version that we report: clients choose their catalog queries by it.
pub const SERVER_VERSION: &str = "15.0";

/// Settings that are reported to the client whenever they change.
const REPORTED: &[&str] = &[
    "server_version",
    "server_encoding",
    "client_encoding",
    "application_name",
    "default_transaction_read_only",
    "in_hot_standby",
    "is_superuser",
    "session_authorization",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
];

const ISOLATION_LEVELS: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];

/// Name, value at start, and whether a client may set it.
const KNOWN: &[(&str, &str, Settable)] = &[
    ("application_name", "", Settable::Any),
    ("bytea_output", "hex", Settable::Only(&["hex"])),
    ("client_encoding", "UTF8", Settable::Encoding),
    ("client_min_messages", "notice", Settable::Any),
    ("DateStyle", "ISO, MDY", Settable::DateStyle),
    ("default_transaction_isolation", "read committed", Settable::Only(ISOLATION_LEVELS)),
    ("default_transaction_read_only", "on", Settable::Any),
    ("extra_float_digits", "1", Settable::Only(&["1", "2", "3"])),
    ("idle_in_transaction_session_timeout", "0", Settable::Duration),
    ("in_hot_standby", "off", Settable::No),
    ("integer_datetimes", "on", Settable::No),
    ("IntervalStyle", "postgres", Settable::Only(&["postgres"])),
    ("is_superuser", "off", Settable::No),
    ("lc_collate", "C", Settable::No),
    ("lc_ctype", "C.UTF-8", Settable::No),
    ("lc_messages", "C", Settable::Any),
    ("lc_monetary", "C", Settable::Any),
    ("lc_numeric", "C", Settable::Any),
    ("lc_time", "C", Settable::Any),
    ("lock_timeout", "0", Settable::Duration),
    ("max_identifier_length", "63", Settable::No),
    ("max_index_keys", "32", Settable::No),
    ("max_staleness", "", Settable::Interval),
    ("rollup_choice", "smallest", Settable::Only(&["smallest", "first"])),
    ("rollups", "preferred", Settable::Only(&["preferred", "off", "required"])),
    ("row_security", "on", Settable::Any),
    ("search_path", "\"$user\", public", Settable::Any),
    ("server_encoding", "UTF8", Settable::No),
    ("server_version", SERVER_VERSION, Settable::No),
    ("server_version_num", "150000", Settable::No),
    ("session_authorization", "", Settable::No),
    ("standard_conforming_strings", "on", Settable::Only(&["on"])),
    ("statement_timeout", "0", Settable::Duration),
    ("synchronize_seqscans", "on", Settable::Any),
    ("TimeZone", "UTC", Settable::Zone),
    ("transaction_isolation", "read committed", Settable::Only(ISOLATION_LEVELS)),
    ("transaction_read_only", "on", Settable::Any),
    ("work_mem", "4MB", Settable::Any),
];

const ZONE_HINT: &str =
    "Name a zone of the tz database, such as Europe/Berlin, or give hours east of Greenwich, such as 2 or -3.5.";

#[derive(Debug, Clone, Copy)]
enum Settable {
    /// Kept and shown; nothing depends on the value.
    Any,
    /// These values, in lower case; others are refused rather than ignored.
    Only(&'static [&'static str]),
    Encoding,
    DateStyle,
    Zone,
    Duration,
    /// An interval of PostgreSQL, or nothing.
    Interval,
    No,
}

/// The values of one session.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<String, String>,
    /// What RESET goes back to.
    start: BTreeMap<String, String>,
    zone: Zone,
    statement_timeout: Option<Duration>,
    /// A user with `time_zone: fixed` keeps the configured zone.
    zone_fixed: bool,
}

impl Settings {
    /// The settings at the start of a session.
    #[must_use]
    pub fn new(user: &str, zone: Tz, statement_timeout: Option<Duration>, zone_fixed: bool) -> Self {
        let mut values: BTreeMap<String, String> =
            KNOWN.iter().map(|(name, value, _)| ((*name).to_owned(), (*value).to_owned())).collect();
        values.insert("session_authorization".to_owned(), user.to_owned());
        values.insert("TimeZone".to_owned(), zone.name().to_owned());
        if let Some(timeout) = statement_timeout {
            let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
            values.insert("statement_timeout".to_owned(), guc_duration::shown(milliseconds));
        }
        Self { start: values.clone(), values, zone: Zone::from(zone), statement_timeout, zone_fixed }
    }

    /// What RESET goes back to from now on: the settings of login.
    pub fn start_here(&mut self) {
        self.start.clone_from(&self.values);
    }

    #[must_use]
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// Which rollups queries may read.
    #[must_use]
    pub fn rollups(&self) -> RollupSettings {
        let value = |name: &str| self.values.get(name).map_or("", String::as_str);
        RollupSettings {
            usage: match value("rollups") {
                "off" => RollupUsage::Off,
                "required" => RollupUsage::Required,
                _ => RollupUsage::Preferred,
            },
            choice: if value("rollup_choice") == "first" { RollupChoice::First } else { RollupChoice::Smallest },
            max_staleness: interval_microseconds(value("max_staleness")),
        }
    }

    #[must_use]
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.statement_timeout
    }

    /// The name as PostgreSQL spells it.
    fn spelled(name: &str) -> Option<(&'static str, Settable)> {
        let name = match name.to_lowercase().as_str() {
            "time zone" => "TimeZone",
            "transaction isolation level" => "transaction_isolation",
            _ => name,
        };
        KNOWN
            .iter()
            .find(|(known, ..)| known.eq_ignore_ascii_case(name))
            .map(|(known, _, settable)| (*known, *settable))
    }

    /// The level that BEGIN opens a transaction with: the one asked for, or the default.
    pub fn begin_at(&mut self, isolation: Option<&str>) {
        let level = isolation.map(str::to_owned).or_else(|| self.values.get("default_transaction_isolation").cloned());
        if let Some(level) = level {
            self.values.insert("transaction_isolation".to_owned(), level);
        }
    }

    /// Outside a transaction the level shown is the default.
    pub fn end_transaction(&mut self) {
        self.begin_at(None);
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for a value that would not be honoured, 55P02 for a setting that cannot change.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let Some((name, settable)) = Self::spelled(name) else {
            if name.contains('.') {
                // As in PostgreSQL, names with a dot belong to whoever makes them up.
                self.values.insert(name.to_lowercase(), value.to_owned());
                return Ok(());
            }
            return Err(unknown(name));
        };
        let invalid = || SqlError::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""));
        let value = match settable {
            Settable::Any => value.to_owned(),
            Settable::No => {
                return Err(SqlError::new("55P02", format!("parameter \"{name}\" cannot be changed")));
            }
            Settable::Interval => {
                if !value.trim().is_empty() && interval_microseconds(value).is_none_or(|length| length < 0) {
                    return Err(invalid().hint("Give an interval such as '5 minutes', or '' for none."));
                }
                value.trim().to_owned()
            }
            Settable::Only(allowed) => {
                let lower = value.to_lowercase();
                if !allowed.contains(&lower.as_str()) {
                    return Err(invalid().hint(format!("Available values: {}.", allowed.join(", "))));
                }
                lower
            }
            Settable::Encoding => {
                let plain: String =
                    value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_uppercase();
                match plain.as_str() {
                    "UTF8" | "UNICODE" => "UTF8".to_owned(),
                    "SQLASCII" => "SQL_ASCII".to_owned(),
                    _ => return Err(invalid().hint("Only UTF8 is spoken.")),
                }
            }
            Settable::DateStyle => {
                if value
                    .split(',')
                    .map(|part| part.trim().to_uppercase())
                    .any(|part| !matches!(part.as_str(), "ISO" | "MDY" | "US" | "NONEURO" | "DEFAULT"))
                {
                    return Err(
                        invalid().hint("Dates are shown in the ISO style, and read month before day: ISO, MDY.")
                    );
                }
                "ISO, MDY".to_owned()
            }
            Settable::Zone => {
                let (zone, shown) = Zone::set(value).map_err(|error| {
                    let hint = error.hint.unwrap_or_else(|| ZONE_HINT.to_owned());
                    SqlError::new(error.sqlstate, error.message).hint(hint)
                })?;
                if self.zone_fixed && zone != self.zone {
                    return Err(SqlError::new("42501", "the time zone of this user is fixed"));
                }
                self.zone = zone;
                shown
            }
            Settable::Duration => {
                let milliseconds = guc_duration::parse(value).map_err(|why| match why {
                    Invalid::NoNumber => invalid(),
                    Invalid::UnknownUnit => invalid()
                        .hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\"."),
                    Invalid::TooLarge => invalid().hint("Value exceeds integer range."),
                    Invalid::Negative { milliseconds } => SqlError::new(
                        "22023",
                        format!(
                            "{milliseconds} ms is outside the valid range for parameter \"{name}\" (0 .. 2147483647)"
                        ),
                    ),
                })?;
                if name == "statement_timeout" {
                    let limit = u64::try_from(milliseconds).ok().filter(|limit| *limit > 0);
                    self.statement_timeout = limit.map(Duration::from_millis);
                }
                guc_duration::shown(milliseconds)
            }
        };
        self.values.insert(name.to_owned(), value);
        Ok(())
    }

    /// Puts one setting back to its value at the start.
    ///
    /// # Errors
    /// 42704 for an unknown name, 55P02 for a setting that cannot change.
    pub fn reset(&mut self, name: &str) -> Result<(), SqlError> {
        let Some((known, settable)) = Self::spelled(name) else {
            if !name.contains('.') {
                return Err(unknown(name));
            }
            // PostgreSQL keeps a name that was made up, without its value.
            if let Some(value) = self.values.get_mut(&name.to_lowercase()) {
                value.clear();
            }
            return Ok(());
        };
        if matches!(settable, Settable::No) {
            return Err(SqlError::new("55P02", format!("parameter \"{known}\" cannot be changed")));
        }
        let value = self.start.get(known).cloned().unwrap_or_default();
        self.set(known, &value)
    }

    /// Puts all settings back.
    pub fn reset_all(&mut self) {
        let names: Vec<String> = self.values.keys().cloned().collect();
        for name in names {
            // Those that cannot change are as they were.
            let _: Result<_, _> = self.reset(&name);
        }
    }

    /// A setting's value.
    ///
    /// # Errors
    /// 42704 for an unknown name.
    pub fn show(&self, name: &str) -> Result<(String, String), SqlError> {
        match Self::spelled(name) {
            Some((known, _)) => Ok((known.to_owned(), self.values.get(known).cloned().unwrap_or_default())),
            None => {
                let lower = name.to_lowercase();
                let value = self.values.get(&lower).cloned().ok_or_else(|| unknown(name))?;
                Ok((lower, value))
            }
        }
    }

    /// All settings, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What a client is told after login.
    #[must_use]
    pub fn reported(&self) -> Vec<(String, String)> {
        REPORTED
            .iter()
            .filter_map(|name| self.values.get(*name).map(|value| ((*name).to_owned(), value.clone())))
            .collect()
    }

    /// Of those, the ones that are not as they were.
    #[must_use]
    pub fn reported_since(&self, before: &Self) -> Vec<(String, String)> {
        let old = before.reported();
        self.reported().into_iter().filter(|entry| !old.contains(entry)).collect()
    }
}

/// The length of an interval in microseconds, a month as 30 days; `None` for what is no interval.
fn interval_microseconds(text: &str) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    let data_type = DataType::Interval(IntervalUnit::MonthDayNano);
    match parse_literal(text, &data_type, None, &Zone::UTC).ok()? {
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            let days = i64::from(interval.months) * 30 + i64::from(interval.days);
            days.checked_mul(86_400_000_000)?.checked_add(interval.nanoseconds / 1000)
        }
        _ => None,
    }
}

fn unknown(name: &str) -> SqlError {
    SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

/// A zone by its name in the tz database, in any case.
#[must_use]
pub fn parse_zone(text: &str) -> Option<Tz> {
    let text = text.trim().trim_matches('\'');
    match text.to_uppercase().as_str() {
        "UTC" | "GMT" | "Z" | "ZULU" | "UCT" | "0" | "+00" | "+00:00" | "ETC/UTC" => {
            return Some(Tz::UTC);
        }
        _ => {}
    }
    Tz::from_str_insensitive(text).ok()
}
