//! Partitions that were found damaged: read by nobody until there is a new content.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::files::SMALL_FILE_BYTES;
use crate::manifest::Digest;
use crate::{Manifest, PartitionRange, RollupKey, RollupPartition, Store, StoreError, StoredFile};

/// A damaged file of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The rollup.
    pub key: RollupKey,
    /// The partition.
    pub range: PartitionRange,
    /// The version of its content.
    pub content: String,
    /// The file, inside the store.
    pub path: String,
    /// When it was found, UTC microseconds.
    pub found_at: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    /// By the path of the damaged file.
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    found: Quarantined,
    /// The name of the file that tells other processes; None if it could not be written.
    name: Option<String>,
}

impl Store {
    /// The partitions whose newest content is known to be damaged, as of the last look at the manifests.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        if self.quarantine().entries.is_empty() {
            return Vec::new();
        }
        let newest = self.newest_known();
        let in_use: HashSet<&str> = newest
            .iter()
            .flat_map(|manifest| manifest.partitions.iter().flat_map(|partition| partition.files.iter()))
            .map(|file| file.path.as_str())
            .collect();
        let quarantine = self.quarantine();
        let mut found: Vec<Quarantined> = quarantine
            .entries
            .values()
            .filter(|entry| in_use.contains(entry.found.path.as_str()))
            .map(|entry| entry.found.clone())
            .collect();
        found.sort_by(|a, b| (&a.key, &a.range, &a.path).cmp(&(&b.key, &b.range, &b.path)));
        found
    }

    pub(crate) fn is_quarantined(&self, path: &str) -> bool {
        let quarantine = self.quarantine();
        !quarantine.entries.is_empty() && quarantine.entries.contains_key(path)
    }

    /// Keeps everybody from reading this file again.
    pub(crate) async fn put_in_quarantine(&self, manifest: &Manifest, partition: &RollupPartition, file: &StoredFile) {
        let found = Quarantined {
            key: manifest.key.clone(),
            range: partition.range.clone(),
            content: partition.content.clone(),
            path: file.path.clone(),
            found_at: self.now(),
        };
        let bytes = serde_json::to_vec_pretty(&found).expect("a quarantined file has only values that JSON has");
        let digest = Digest::of(file.path.as_bytes()).to_string();
        let name = format!("{}.{}.json", manifest.key.folder(), &digest[..20]);
        self.quarantine().entries.insert(file.path.clone(), Entry { found, name: None });
        match self.inner.files.replace(&format!("quarantine/{name}"), bytes).await {
            Ok(()) => {
                if let Some(entry) = self.quarantine().entries.get_mut(&file.path) {
                    entry.name = Some(name);
                }
            }
            // This process knows; another one will find out by itself.
            Err(error) => tracing::warn!(%error, path = file.path, "could not record a damaged file"),
        }
    }

    /// Learns what other processes have found or cleared.
    pub(crate) async fn look_at_quarantine(&self) -> Result<(), StoreError> {
        let names: HashSet<String> = self.inner.files.names("quarantine").await?.into_iter().collect();
        let unknown: Vec<String> = {
            let mut quarantine = self.quarantine();
            quarantine.entries.retain(|_, entry| entry.name.as_ref().is_none_or(|name| names.contains(name)));
            let known: HashSet<&String> = quarantine.entries.values().filter_map(|entry| entry.name.as_ref()).collect();
            names.iter().filter(|name| !known.contains(name)).cloned().collect()
        };
        for name in unknown {
            let Ok(bytes) = self.inner.files.read(&format!("quarantine/{name}"), SMALL_FILE_BYTES).await else {
                continue;
            };
            let Ok(found) = serde_json::from_slice::<Quarantined>(&bytes) else { continue };
            tracing::warn!(rollup = %found.key, path = found.path, "another process has found a damaged file");
            self.quarantine().entries.insert(found.path.clone(), Entry { found, name: Some(name) });
        }
        Ok(())
    }

    /// Forgets what the new version of a rollup does not use any more.
    pub(crate) async fn clear_quarantine(&self, manifest: &Arc<Manifest>) {
        let in_use: HashSet<&str> = manifest
            .partitions
            .iter()
            .flat_map(|partition| partition.files.iter().map(|file| file.path.as_str()))
            .collect();
        let mut gone = Vec::new();
        self.quarantine().entries.retain(|path, entry| {
            let stays = entry.found.key != manifest.key || in_use.contains(path.as_str());
            if !stays {
                gone.extend(entry.name.take());
            }
            stays
        });
        for name in gone {
            if let Err(error) = self.inner.files.delete(&format!("quarantine/{name}")).await {
                tracing::warn!(%error, name, "could not clear a damaged file that is not used any more");
            }
        }
    }

    fn quarantine(&self) -> MutexGuard<'_, Quarantine> {
        self.inner.quarantine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
