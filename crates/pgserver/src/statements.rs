//! What a session keeps between messages: prepared statements and portals, both within limits.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

use belvedere_engine::{Prepared, SqlError};

use crate::config::Limits;
use crate::messages::Format;
use crate::streaming::RunningRows;

/// What a prepared statement or portal costs beside its text or values.
const FIXED_BYTES: usize = 512;

/// Things with names, limited in number and in bytes. The empty name is that of the unnamed one, which can be replaced.
struct Kept<T> {
    by_name: HashMap<String, (T, usize)>,
    bytes: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { by_name: HashMap::new(), bytes: 0 }
    }
}

impl<T> Kept<T> {
    fn remove(&mut self, name: &str) -> Option<T> {
        let (thing, bytes) = self.by_name.remove(name)?;
        self.bytes -= bytes;
        Some(thing)
    }

    /// The number is checked by the caller, who knows the words for it.
    fn fits(&self, bytes: usize, count_max: usize, bytes_max: usize) -> bool {
        self.by_name.len() < count_max && self.bytes.saturating_add(bytes) <= bytes_max
    }

    fn insert(&mut self, name: String, thing: T, bytes: usize) {
        self.bytes += bytes;
        if let Some((_, old)) = self.by_name.insert(name, (thing, bytes)) {
            self.bytes -= old;
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[derive(Default)]
pub(crate) struct Statements(Kept<Arc<Prepared>>);

impl Statements {
    /// Before planning: whether `name` may be given to a statement of this length. Forgets the unnamed one.
    ///
    /// # Errors
    /// 42P05 for a name in use, 53000 beyond the limits.
    pub(crate) fn make_room(&mut self, name: &str, sql: &str, limits: &Limits) -> Result<(), SqlError> {
        if name.is_empty() {
            self.0.remove(name);
        } else if self.0.by_name.contains_key(name) {
            return Err(SqlError::new("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        if self.0.fits(Self::bytes(name, sql), limits.prepared_statements, limits.prepared_statement_bytes) {
            Ok(())
        } else {
            Err(SqlError::new("53000", "too many prepared statements in this session")
                .detail(format!(
                    "A session may have {} prepared statements with {} bytes together.",
                    limits.prepared_statements, limits.prepared_statement_bytes
                ))
                .hint("Close or DEALLOCATE statements that are no longer needed."))
        }
    }

    fn bytes(name: &str, sql: &str) -> usize {
        FIXED_BYTES + name.len() + sql.len()
    }

    pub(crate) fn insert(&mut self, name: String, statement: Arc<Prepared>, sql: &str) {
        let bytes = Self::bytes(&name, sql);
        self.0.insert(name, statement, bytes);
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<Prepared>, SqlError> {
        self.0.by_name.get(name).map(|(statement, _)| Arc::clone(statement)).ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            SqlError::new("26000", message)
        })
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A statement with its values, and how far it has run.
pub(crate) struct Portal {
    pub(crate) statement: Arc<Prepared>,
    pub(crate) parameters: Vec<ScalarValue>,
    /// One for each column.
    pub(crate) formats: Vec<Format>,
    pub(crate) state: PortalState,
    pub(crate) token: CancellationToken,
    /// Of the bound values as they were sent.
    pub(crate) value_bytes: usize,
}

pub(crate) enum PortalState {
    Bound,
    Suspended(Box<RunningRows>),
    /// All rows were sent; running it again gives none.
    RowsDone {
        tag: String,
    },
    /// The empty statement; it can be run again and again.
    EmptyDone,
    CommandDone,
}

#[derive(Default)]
pub(crate) struct Portals(Kept<Portal>);

impl Portals {
    /// # Errors
    /// 42P03 for a name in use, 53000 beyond the limits. Forgets the unnamed one.
    pub(crate) fn make_room(&mut self, name: &str, value_bytes: usize, limits: &Limits) -> Result<(), SqlError> {
        if name.is_empty() {
            self.0.remove(name);
        } else if self.0.by_name.contains_key(name) {
            return Err(SqlError::new("42P03", format!("cursor \"{name}\" already exists")));
        }
        if self.0.fits(FIXED_BYTES + value_bytes, limits.portals, limits.portal_bytes) {
            Ok(())
        } else {
            Err(SqlError::new("53000", "too many portals in this session").detail(format!(
                "A session may have {} portals with {} bytes of values together.",
                limits.portals, limits.portal_bytes
            )))
        }
    }

    pub(crate) fn insert(&mut self, name: String, portal: Portal) {
        let bytes = FIXED_BYTES + portal.value_bytes;
        self.0.insert(name, portal, bytes);
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Portal, SqlError> {
        self.0.by_name.get(name).map(|(portal, _)| portal).ok_or_else(|| Self::missing(name))
    }

    /// Takes it out, to be put back if it is to be run again.
    pub(crate) fn take(&mut self, name: &str) -> Result<Portal, SqlError> {
        self.0.remove(name).ok_or_else(|| Self::missing(name))
    }

    fn missing(name: &str) -> SqlError {
        SqlError::new("34000", format!("portal \"{name}\" does not exist"))
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
