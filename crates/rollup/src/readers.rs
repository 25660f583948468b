//! Processes that read a store tell the others which versions they read, so that those are not collected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::files::{ReadError, SMALL_FILE_BYTES};
use crate::lease::micros;
use crate::manifest::Digest;
use crate::{Manifest, Store, StoreError};

/// Microseconds after which the file of a reader that says nothing any more is deleted.
const FORGOTTEN_AFTER: i64 = 3_600_000_000;

/// What this process has told.
#[derive(Debug)]
pub(crate) struct Reader {
    name: String,
    lasts: Duration,
    /// By folder, as last written.
    told: BTreeMap<String, BTreeSet<u64>>,
    written_at: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct ReaderFile {
    /// UTC microseconds; a process that died is forgotten then.
    until: i64,
    /// By folder.
    holds: BTreeMap<String, BTreeSet<u64>>,
}

impl Store {
    /// Registers this process as one that reads the store, for as long as it looks at the manifests ([`Store::manifests`]) several
    /// times in `lasts`. `name` is different for each process.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Full`] if the storage fails.
    pub async fn register_reader(&self, name: &str, lasts: Duration) -> Result<(), StoreError> {
        let name = format!("readers/{}.json", &Digest::of(name.as_bytes()).to_string()[..32]);
        *self.inner.reader.lock().await = Some(Reader { name, lasts, told: BTreeMap::new(), written_at: i64::MIN });
        self.tell_holds(&[]).await.map(|_| ())
    }

    /// Says that this process has stopped reading.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if that cannot be said; it is forgotten later then.
    pub async fn unregister_reader(&self) -> Result<(), StoreError> {
        match self.inner.reader.lock().await.take() {
            Some(reader) => self.inner.files.delete(&reader.name).await,
            None => Ok(()),
        }
    }

    /// Tells other processes what this one holds, and these versions, if they do not know it or must soon hear again. Whether there
    /// was something new.
    pub(crate) async fn tell_holds(&self, also: &[Arc<Manifest>]) -> Result<bool, StoreError> {
        let mut reader = self.inner.reader.lock().await;
        let Some(reader) = reader.as_mut() else { return Ok(false) };
        let now = self.now();
        let mut holds: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for (folder, versions) in self.held() {
            holds.entry(folder).or_default().extend(versions);
        }
        for manifest in also {
            holds.entry(manifest.key.folder()).or_default().insert(manifest.version);
        }
        let told = |folder: &String, version: &u64| reader.told.get(folder).is_some_and(|told| told.contains(version));
        let new = holds.iter().any(|(folder, versions)| versions.iter().any(|version| !told(folder, version)));
        let due = now >= reader.written_at.saturating_add(micros(reader.lasts / 4));
        if new || due {
            let file = ReaderFile { until: now.saturating_add(micros(reader.lasts)), holds };
            let bytes = serde_json::to_vec(&file).expect("a reader has only values that JSON has");
            self.inner.files.replace(&reader.name, bytes).await?;
            reader.told = file.holds;
            reader.written_at = now;
        }
        Ok(new)
    }

    /// What other processes hold at `now`, by folder; who has said nothing for too long is forgotten.
    pub(crate) async fn held_elsewhere(&self, now: i64) -> Result<BTreeMap<String, BTreeSet<u64>>, StoreError> {
        let mut held: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for name in self.inner.files.names("readers").await? {
            let path = format!("readers/{name}");
            let bytes = match self.inner.files.read(&path, SMALL_FILE_BYTES).await {
                Ok(bytes) => bytes,
                Err(ReadError::Missing | ReadError::Unreadable(_)) => continue,
                Err(ReadError::Unavailable(error)) => return Err(error),
            };
            match serde_json::from_slice::<ReaderFile>(&bytes) {
                Ok(file) if now < file.until => {
                    for (folder, versions) in file.holds {
                        held.entry(folder).or_default().extend(versions);
                    }
                }
                // Not at once: one that slept may be about to tell again.
                Ok(file) if now > file.until.saturating_add(FORGOTTEN_AFTER) => self.inner.files.delete(&path).await?,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, path, "what a reader of the rollup store holds cannot be read"),
            }
        }
        Ok(held)
    }
}
