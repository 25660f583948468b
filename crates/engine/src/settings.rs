//! A session's settings, as `SET`, `SHOW` and start-up parameters see them.

use std::collections::BTreeMap;
use std::time::Duration;

use belvedere_functions::Zone;
use chrono_tz::Tz;

use crate::SqlError;

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

/// Name, value at start, and whether a client may set it.
const KNOWN: &[(&str, &str, Settable)] = &[
    ("application_name", "", Settable::Any),
    ("bytea_output", "hex", Settable::Only(&["hex"])),
    ("client_encoding", "UTF8", Settable::Encoding),
    ("client_min_messages", "notice", Settable::Any),
    ("DateStyle", "ISO, MDY", Settable::DateStyle),
    ("default_transaction_isolation", "read committed", Settable::Any),
    ("default_transaction_read_only", "on", Settable::Any),
    ("extra_float_digits", "1", Settable::Any),
    ("idle_in_transaction_session_timeout", "0", Settable::Any),
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
    ("lock_timeout", "0", Settable::Any),
    ("max_identifier_length", "63", Settable::No),
    ("max_index_keys", "32", Settable::No),
    ("max_staleness", "", Settable::Any),
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
    ("transaction_isolation", "read committed", Settable::Any),
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
            values.insert("statement_timeout".to_owned(), format!("{}ms", timeout.as_millis()));
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

    #[must_use]
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.statement_timeout
    }

    /// The name as PostgreSQL spells it.
    fn spelled(name: &str) -> Option<(&'static str, Settable)> {
        let name = if name.eq_ignore_ascii_case("time zone") { "TimeZone" } else { name };
        KNOWN
            .iter()
            .find(|(known, ..)| known.eq_ignore_ascii_case(name))
            .map(|(known, _, settable)| (*known, *settable))
    }

    /// Changes a setting. Gives the name and value to report, where clients want to know.
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for a value that would not be honoured, 55P02 for a setting that cannot change.
    pub fn set(&mut self, name: &str, value: &str) -> Result<Option<(String, String)>, SqlError> {
        let Some((name, settable)) = Self::spelled(name) else {
            if name.contains('.') {
                // As in PostgreSQL, names with a dot belong to whoever makes them up.
                self.values.insert(name.to_lowercase(), value.to_owned());
                return Ok(None);
            }
            return Err(unknown(name));
        };
        let invalid = || SqlError::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""));
        let value = match settable {
            Settable::Any => value.to_owned(),
            Settable::No => {
                return Err(SqlError::new("55P02", format!("parameter \"{name}\" cannot be changed")));
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
                self.statement_timeout = parse_timeout(value).ok_or_else(invalid)?;
                value.to_owned()
            }
        };
        self.values.insert(name.to_owned(), value.clone());
        Ok(REPORTED.contains(&name).then(|| (name.to_owned(), value)))
    }

    /// Puts one setting back to its value at the start.
    ///
    /// # Errors
    /// 42704 for an unknown name.
    pub fn reset(&mut self, name: &str) -> Result<Option<(String, String)>, SqlError> {
        let Some((known, settable)) = Self::spelled(name) else {
            return match self.values.remove(&name.to_lowercase()) {
                Some(_) => Ok(None),
                None => Err(unknown(name)),
            };
        };
        if matches!(settable, Settable::No) {
            return Ok(None);
        }
        let value = self.start.get(known).cloned().unwrap_or_default();
        self.set(known, &value)
    }

    /// Puts all settings back; gives those to report.
    pub fn reset_all(&mut self) -> Vec<(String, String)> {
        let names: Vec<String> = self.values.keys().cloned().collect();
        let mut changed = Vec::new();
        for name in names {
            let before = self.values.get(&name).cloned();
            if let Ok(Some(report)) = self.reset(&name)
                && Some(&report.1) != before.as_ref()
            {
                changed.push(report);
            }
        }
        changed
    }

    /// A setting's value.
    ///
    /// # Errors
    /// 42704 for an unknown name.
    pub fn show(&self, name: &str) -> Result<(String, String), SqlError> {
        if name.eq_ignore_ascii_case("transaction isolation level") {
            return Ok(("transaction_isolation".to_owned(), "read committed".to_owned()));
        }
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

/// Milliseconds, or a number with ms, s, min, h, d; `Some(None)` is no limit.
#[must_use]
pub fn parse_timeout(text: &str) -> Option<Option<Duration>> {
    let text = text.trim().trim_matches('\'').trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..split].parse().ok()?;
    let factor = match text[split..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let milliseconds = number.checked_mul(factor)?;
    Some((milliseconds > 0).then(|| Duration::from_millis(milliseconds)))
}
