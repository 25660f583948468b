//! Collection: deletes what nobody can read any more.
//!
//! In this order, so that nothing is deleted that a version names which somebody may still begin to read: old manifests first, then
//! another look at who reads what, then the files that no manifest names that is left. A file that no manifest ever named may be one of
//! a build; it is deleted only when its lease's number is smaller than that of the newest version: then it can never be published
//! (see `lease.rs`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use crate::files::SMALL_FILE_BYTES;
use crate::lease::{lease_path, micros, numbered};
use crate::store::manifest_path;
use crate::write::fencing_of;
use crate::{Manifest, Quarantined, RollupKey, Store, StoreError};

/// How long a collection may hold the lease of a rollup that it cleans.
const LEASE: Duration = Duration::from_secs(60);

/// What a collection may delete.
#[derive(Debug, Clone, Copy)]
pub struct CollectOptions {
    /// Old versions are kept this long after they were published, and files that are being written this long after the last byte,
    /// whoever reads them: for what begins to read while the collection runs.
    pub grace: Duration,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self { grace: Duration::from_secs(60) }
    }
}

/// What a collection has deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Old versions of manifests.
    pub manifests: u64,
    /// Files with rows.
    pub files: u64,
    /// Files of leases, of damage that is no more, and what dead processes have left half written.
    pub others: u64,
}

impl Store {
    /// Deletes what no version names that somebody may still read: old versions that nobody holds, files of builds that failed, and
    /// what dead processes have left. May run in several processes at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Full`] if the storage fails; what is left is deleted the next time.
    pub async fn collect(&self, options: CollectOptions) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        // Before anything else: what appears later is left alone.
        let mut data: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for folder in self.inner.files.folders("data").await? {
            let names = self.inner.files.names(&format!("data/{folder}")).await?;
            data.insert(folder, names);
        }
        let mut spills: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if self.inner.options.spill_folder.is_none() {
            for name in self.inner.files.folders("spill").await? {
                if let Some((folder, _)) = name.split_once('.') {
                    spills.entry(folder.to_owned()).or_default().push(name.clone());
                }
            }
        }
        let listed = self.listed().await?;
        let folders: BTreeSet<&String> = data.keys().chain(spills.keys()).chain(listed.keys()).collect();
        for folder in folders {
            let none = Vec::new();
            let names = data.get(folder).unwrap_or(&none);
            let spills = spills.get(folder).unwrap_or(&none);
            if spills.is_empty() && self.is_clean(folder, listed.get(folder), names).await? {
                continue;
            }
            self.collect_rollup(folder, names, spills, options, &mut collected).await?;
        }
        self.collect_leases(&mut collected).await?;
        self.collect_quarantine(&mut collected).await?;
        for folder in ["manifests", "leases", "readers", "quarantine"] {
            collected.others += self.inner.files.delete_unfinished(folder, options.grace).await?;
        }
        Ok(collected)
    }

    /// Whether there is one version and nothing but its files, as of rollups that nobody has built since the last collection. Asks
    /// the storage for nothing that this process knows.
    async fn is_clean(&self, folder: &str, versions: Option<&Vec<u64>>, data: &[String]) -> Result<bool, StoreError> {
        let Some([version]) = versions.map(Vec::as_slice) else { return Ok(false) };
        let Some(manifest) = self.load_for_collection(folder, *version).await? else { return Ok(false) };
        let named: HashSet<String> = files_of(&manifest).collect();
        Ok(data.iter().all(|name| named.contains(&format!("data/{folder}/{name}"))))
    }

    async fn collect_rollup(
        &self,
        folder: &str,
        data: &[String],
        spills: &[String],
        options: CollectOptions,
        collected: &mut Collected,
    ) -> Result<(), StoreError> {
        let newest = self.newest(folder).await?;
        let newest_version = newest.manifest.as_ref().map_or(0, |manifest| manifest.version);
        if newest.highest > newest_version {
            // The newest version cannot be read, so that nobody knows what it names.
            return Ok(());
        }
        let old = self.old_versions(folder, newest_version, options.grace).await?;
        let mut was_named = HashSet::new();
        for version in &old {
            if let Some(manifest) = self.load_for_collection(folder, *version).await? {
                was_named.extend(files_of(&manifest));
            }
            self.inner.files.delete(&manifest_path(folder, *version)).await?;
            collected.manifests += 1;
        }
        // Who has begun to read one of them meanwhile has said so before.
        let Some(mut in_use) = self.files_in_use(folder).await? else { return Ok(()) };
        let path = |name: &String| format!("data/{folder}/{name}");
        let of_builds = data.iter().filter(|name| !in_use.contains(&path(name)) && !was_named.contains(&path(name)));
        let numbers = of_builds.filter_map(|name| fencing_of(name));
        let numbers = numbers.chain(spills.iter().filter_map(|name| spill_fencing(name)));
        let mut published = newest.manifest.as_ref().map_or(0, |manifest| manifest.fencing);
        if numbers.max().is_some_and(|number| number >= published) {
            let key = newest.manifest.as_ref().map(|manifest| &manifest.key);
            if let Some(raised) = self.end_dead_builds(folder, key).await? {
                published = raised;
                // One that was thought dead may have published until the very moment of the barrier.
                let Some(still_in_use) = self.files_in_use(folder).await? else { return Ok(()) };
                in_use = still_in_use;
            }
        }
        let unused = || data.iter().filter(|name| !in_use.contains(&path(name)) && fencing_of(name).is_some());
        let mut deleted = Vec::new();
        let over = |name: &String| fencing_of(name).is_some_and(|number| number < published);
        for name in unused().filter(|name| was_named.contains(&path(name)) || over(name)) {
            self.inner.files.delete(&path(name)).await?;
            deleted.push(path(name));
        }
        collected.files += deleted.len() as u64;
        self.inner.hot.forget(&deleted);
        for name in spills.iter().filter(|name| spill_fencing(name).is_some_and(|number| number < published)) {
            self.inner.files.delete_folder(&format!("spill/{name}")).await?;
            collected.others += 1;
        }
        Ok(())
    }

    /// The versions before the newest that nobody reads.
    async fn old_versions(&self, folder: &str, newest: u64, grace: Duration) -> Result<Vec<u64>, StoreError> {
        let now = self.now();
        let elsewhere = self.held_elsewhere(now).await?.remove(folder).unwrap_or_default();
        let here = self.held().remove(folder).unwrap_or_default();
        let listed = self.listed().await?.remove(folder).unwrap_or_default();
        let mut old = Vec::new();
        for version in listed.into_iter().filter(|version| *version < newest) {
            if here.contains(&version) || elsewhere.contains(&version) {
                continue;
            }
            // One that cannot be read is of no use to anybody.
            let manifest = self.load_for_collection(folder, version).await?;
            if manifest.is_none_or(|manifest| now.saturating_sub(manifest.published_at) >= micros(grace)) {
                old.push(version);
            }
        }
        Ok(old)
    }

    /// The files that some version names that is left or held; None if that cannot be known.
    async fn files_in_use(&self, folder: &str) -> Result<Option<HashSet<String>>, StoreError> {
        let elsewhere = self.held_elsewhere(self.now()).await?.remove(folder).unwrap_or_default();
        let listed = self.listed().await?.remove(folder).unwrap_or_default();
        if elsewhere.iter().any(|version| !listed.contains(version)) {
            return Ok(None);
        }
        let mut in_use = HashSet::new();
        for version in listed {
            let Some(manifest) = self.load_for_collection(folder, version).await? else { return Ok(None) };
            in_use.extend(
                manifest.partitions.iter().flat_map(|partition| &partition.files).map(|file| file.path.clone()),
            );
        }
        for manifest in self.held_manifests(folder) {
            in_use.extend(
                manifest.partitions.iter().flat_map(|partition| &partition.files).map(|file| file.path.clone()),
            );
        }
        Ok(Some(in_use))
    }

    /// Makes sure that no build which is not running can publish; the number below which none can. None while one is running.
    async fn end_dead_builds(&self, folder: &str, key: Option<&RollupKey>) -> Result<Option<u64>, StoreError> {
        let now = self.now();
        if self.newest_lease(folder, now).await?.is_some_and(|(_, held)| held) {
            return Ok(None);
        }
        let key = match key {
            Some(key) => key.clone(),
            // A first build that never ended.
            None => match self.key_of_lease(folder).await? {
                Some(key) => key,
                None => return Ok(None),
            },
        };
        let Some(lease) = self.lease(&key, "collection", LEASE, now).await? else { return Ok(None) };
        let raised = self.raise_barrier(&lease).await?.then_some(lease.fencing());
        self.release(lease).await?;
        Ok(raised)
    }

    async fn key_of_lease(&self, folder: &str) -> Result<Option<RollupKey>, StoreError> {
        let Some(number) = self.lease_numbers(folder).await?.last().copied() else { return Ok(None) };
        let file = self.lease_file(folder, number).await?;
        Ok(file.map(|file| file.key).filter(|key| key.folder() == folder))
    }

    /// All but the newest of each rollup: numbers only grow.
    async fn collect_leases(&self, collected: &mut Collected) -> Result<(), StoreError> {
        let mut numbers: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for name in self.inner.files.names("leases").await? {
            if let Some((folder, _)) = name.split_once('.')
                && let Some(number) = numbered(&name, folder)
            {
                numbers.entry(folder.to_owned()).or_default().insert(number);
            }
        }
        for (folder, mut numbers) in numbers {
            numbers.pop_last();
            for number in numbers {
                self.inner.files.delete(&lease_path(&folder, number)).await?;
                collected.others += 1;
            }
        }
        Ok(())
    }

    /// Records of damaged files that no newest version names.
    async fn collect_quarantine(&self, collected: &mut Collected) -> Result<(), StoreError> {
        for name in self.inner.files.names("quarantine").await? {
            let path = format!("quarantine/{name}");
            let Ok(bytes) = self.inner.files.read(&path, SMALL_FILE_BYTES).await else { continue };
            let Ok(found) = serde_json::from_slice::<Quarantined>(&bytes) else { continue };
            let newest = self.newest(&found.key.folder()).await?;
            let used = newest.manifest.as_ref().is_some_and(|manifest| {
                manifest.partitions.iter().flat_map(|partition| &partition.files).any(|file| file.path == found.path)
            });
            if !used && newest.problems.is_empty() {
                self.inner.files.delete(&path).await?;
                collected.others += 1;
            }
        }
        Ok(())
    }
}

fn files_of(manifest: &Manifest) -> impl Iterator<Item = String> {
    manifest.partitions.iter().flat_map(|partition| &partition.files).map(|file| file.path.clone())
}

/// The number of the lease in the name of a folder for sorting.
fn spill_fencing(name: &str) -> Option<u64> {
    fencing_of(name.split_once('.')?.1)
}
