//! A session's open transaction. Nothing is ever written, but settings live and die with it, and `now()` stands still.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use crate::SqlError;
use crate::settings::Settings;

/// A session keeps no more; each holds its settings.
const SAVEPOINTS_MAX: usize = 1000;

/// What BEGIN opened. The session holds the settings in force; here are those to go back to.
#[derive(Debug)]
pub struct Transaction {
    /// What `now()` gives until the end.
    pub start: DateTime<Utc>,
    /// An error happened: only the end, or ROLLBACK TO, goes on from here.
    pub failed: bool,
    before: Settings,
    /// After COMMIT: without what SET LOCAL set.
    lasting: Settings,
    savepoints: Vec<Savepoint>,
}

#[derive(Debug)]
struct Savepoint {
    name: String,
    current: Settings,
    lasting: Settings,
    /// The cursors that were open: ROLLBACK TO closes the others.
    cursors: HashSet<String>,
}

impl Transaction {
    #[must_use]
    pub fn begin(start: DateTime<Utc>, settings: &Settings) -> Self {
        Self { start, failed: false, before: settings.clone(), lasting: settings.clone(), savepoints: Vec::new() }
    }

    /// SET and RESET reach beyond the end of the transaction, SET LOCAL does not come here.
    ///
    /// # Errors
    /// As the change itself.
    pub fn lastingly<T>(&mut self, change: impl FnOnce(&mut Settings) -> Result<T, SqlError>) -> Result<T, SqlError> {
        change(&mut self.lasting)
    }

    #[must_use]
    pub fn committed(self) -> Settings {
        self.lasting
    }

    #[must_use]
    pub fn rolled_back(self) -> Settings {
        self.before
    }

    /// # Errors
    /// 53400 where too many are open.
    pub fn savepoint(&mut self, name: &str, current: &Settings, cursors: HashSet<String>) -> Result<(), SqlError> {
        if self.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(SqlError::new("53400", format!("more than {SAVEPOINTS_MAX} savepoints are open"))
                .hint("RELEASE those that are not needed any more."));
        }
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            current: current.clone(),
            lasting: self.lasting.clone(),
            cursors,
        });
        Ok(())
    }

    /// Goes back to a savepoint, which stays; gives the settings there and the names of the cursors that were open.
    ///
    /// # Errors
    /// 3B001 for a name that is not there.
    pub fn rollback_to(&mut self, name: &str) -> Result<(Settings, HashSet<String>), SqlError> {
        let index = self.index_of(name)?;
        self.savepoints.truncate(index + 1);
        self.failed = false;
        let savepoint = &self.savepoints[index];
        self.lasting = savepoint.lasting.clone();
        Ok((savepoint.current.clone(), savepoint.cursors.clone()))
    }

    /// Forgets a savepoint and those after it.
    ///
    /// # Errors
    /// 3B001 for a name that is not there.
    pub fn release(&mut self, name: &str) -> Result<(), SqlError> {
        let index = self.index_of(name)?;
        self.savepoints.truncate(index);
        Ok(())
    }

    /// The last of a name hides those before it.
    fn index_of(&self, name: &str) -> Result<usize, SqlError> {
        self.savepoints
            .iter()
            .rposition(|savepoint| savepoint.name == name)
            .ok_or_else(|| SqlError::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }
}
