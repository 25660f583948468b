//! A store and what it knows of its rollups.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::memory::InMemory;

use crate::files::{Files, ReadError, SMALL_FILE_BYTES};
use crate::hot::Hot;
use crate::quarantine::Quarantine;
use crate::readers::Reader;
use crate::{Damage, Manifest, ManifestProblem, RollupKey, StoreError};

/// How often a reading that meets a collection or another publisher starts again.
const TRIES: usize = 100;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// What decoded partitions may take in memory, bytes.
    pub memory_bytes: u64,
    /// What one build may take for sorting and grouping before it goes to disk, bytes.
    pub sort_bytes: usize,
    /// Where builds sort what does not fit; a folder of the store itself by default, else the system's temporary folder.
    pub spill_folder: Option<PathBuf>,
    /// How to reach an `s3://` location.
    pub s3: Option<S3Access>,
    /// UTC microseconds.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            sort_bytes: 256 << 20,
            spill_folder: None,
            s3: None,
            clock: Arc::new(|| {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
            }),
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory_bytes, sort_bytes, spill_folder, s3, clock: _ } = self;
        f.debug_struct("StoreOptions")
            .field("memory_bytes", memory_bytes)
            .field("sort_bytes", sort_bytes)
            .field("spill_folder", spill_folder)
            .field("s3", s3)
            .finish_non_exhaustive()
    }
}

/// Who asks an S3 server, and where it is. Nothing is taken from the environment.
#[derive(Clone, Default)]
pub struct S3Access {
    /// The server, for those that are not Amazon's.
    pub endpoint: Option<String>,
    /// The region; `us-east-1` if there is none.
    pub region: Option<String>,
    /// The key and its secret; requests are not signed without.
    pub keys: Option<(String, String)>,
    /// A session's token beside the keys.
    pub session_token: Option<String>,
    /// Whether `http://` will do.
    pub allow_http: bool,
}

impl fmt::Debug for S3Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets stay out of logs.
        let Self { endpoint, region, keys, session_token: _, allow_http } = self;
        f.debug_struct("S3Access")
            .field("endpoint", endpoint)
            .field("region", region)
            .field("key", &keys.as_ref().map(|(key, _)| key))
            .field("allow_http", allow_http)
            .finish_non_exhaustive()
    }
}

/// A rollup store; clones are the same store.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) files: Files,
    pub(crate) options: StoreOptions,
    /// What manifests this process has read.
    known: Mutex<Known>,
    /// Decoded columns.
    pub(crate) hot: Hot,
    pub(crate) quarantine: Mutex<Quarantine>,
    /// What this process tells others that it reads.
    pub(crate) reader: tokio::sync::Mutex<Option<Reader>>,
}

#[derive(Debug, Default)]
struct Known {
    /// By folder: the newest version as of the last look.
    newest: HashMap<String, Arc<Manifest>>,
    /// By folder and version: all that somebody in this process may hold.
    all: HashMap<(String, u64), Weak<Manifest>>,
    /// By folder: the highest version ever seen.
    highest: HashMap<String, u64>,
}

/// What a look at all manifests has found.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The newest usable version of each rollup, by key.
    pub manifests: Vec<Arc<Manifest>>,
    /// What is wrong.
    pub problems: Vec<ManifestProblem>,
}

/// The newest usable manifest of one rollup.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    pub(crate) manifest: Option<Arc<Manifest>>,
    /// The highest version that has a file, usable or not; 0 if none has.
    pub(crate) highest: u64,
    pub(crate) problems: Vec<ManifestProblem>,
}

enum LoadError {
    Problem(ManifestProblem),
    Gone,
    Store(StoreError),
}

impl Store {
    /// Opens the store in a folder, making it if need be.
    ///
    /// # Errors
    /// [`StoreError::Location`] if the folder cannot be made or used.
    pub fn open(location: &str) -> Result<Store, StoreError> {
        Self::open_with(location, StoreOptions::default())
    }

    /// Opens the store at a folder, a `file://` url of one, or an `s3://bucket/prefix`.
    ///
    /// # Errors
    /// [`StoreError::Location`] if the folder cannot be made or used, or the bucket cannot be reached with what the options have.
    pub fn open_with(location: &str, options: StoreOptions) -> Result<Store, StoreError> {
        let wrong = |message: String| StoreError::Location { location: location.to_owned(), message };
        if let Some(rest) = location.strip_prefix("s3://") {
            let access = options.s3.clone().ok_or_else(|| wrong("no access to S3 is configured".to_owned()))?;
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let bucket = s3_bucket(bucket, &access).map_err(|error| wrong(error.to_string()))?;
            return Ok(Self::new(Files::over(bucket, prefix), options));
        }
        if let Some((scheme, _)) = location.split_once("://")
            && scheme != "file"
        {
            return Err(wrong(format!("{scheme}:// is not a folder and not an s3:// url")));
        }
        let folder = location.strip_prefix("file://").unwrap_or(location);
        let files = Files::in_folder(folder.as_ref()).map_err(|error| wrong(error.to_string()))?;
        Ok(Self::new(files, options))
    }

    /// A store that ends with the process.
    pub fn in_memory() -> Store {
        Self::over(Arc::new(InMemory::new()), StoreOptions::default())
    }

    /// A store in any storage that can create a file only if there is none.
    pub fn over(objects: Arc<dyn ObjectStore>, options: StoreOptions) -> Store {
        Self::new(Files::over(objects, ""), options)
    }

    fn new(files: Files, options: StoreOptions) -> Store {
        let hot = Hot::new(options.memory_bytes);
        let inner = Inner {
            files,
            options,
            known: Mutex::default(),
            hot,
            quarantine: Mutex::default(),
            reader: tokio::sync::Mutex::new(None),
        };
        Store { inner: Arc::new(inner) }
    }

    /// The same store with another budget for decoded partitions, bytes; what is over it is dropped.
    #[must_use]
    pub fn with_memory_budget(self, bytes: u64) -> Store {
        self.inner.hot.set_budget(bytes);
        self
    }

    /// What decoded partitions take in memory, bytes.
    pub fn memory_used(&self) -> u64 {
        self.inner.hot.used()
    }

    /// UTC microseconds by the store's clock.
    pub fn now(&self) -> i64 {
        (self.inner.options.clock)()
    }

    /// The newest usable version of every rollup.
    ///
    /// Cheap enough for each second: one listing, and a reading of the manifests that are new.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the storage does not answer.
    pub async fn manifests(&self) -> Result<Manifests, StoreError> {
        self.look_at_quarantine().await?;
        for _ in 0..TRIES {
            let listed = self.listed().await?;
            let Some(found) = self.newest_of_all(&listed).await? else { continue };
            // Others must know that these versions are read before anybody here begins to; and one that was collected before they
            // knew is none to begin with.
            if self.tell_holds(&found.manifests).await? {
                let again = self.listed().await?;
                let there = |manifest: &Arc<Manifest>| {
                    again.get(&manifest.key.folder()).is_some_and(|versions| versions.contains(&manifest.version))
                };
                if !found.manifests.iter().all(there) {
                    continue;
                }
            }
            return Ok(found);
        }
        Err(crate::files::unavailable(
            "list",
            "manifests",
            std::io::Error::other("they change faster than they can be read"),
        ))
    }

    /// None if a manifest was collected meanwhile.
    async fn newest_of_all(&self, listed: &BTreeMap<String, Vec<u64>>) -> Result<Option<Manifests>, StoreError> {
        let mut found = Manifests::default();
        for (folder, versions) in listed {
            let Some(newest) = self.newest_of(folder, versions).await? else { return Ok(None) };
            found.problems.extend(newest.problems);
            found.manifests.extend(newest.manifest);
        }
        let mut known = self.known();
        for (folder, seen) in &known.highest {
            let there = listed.get(folder).and_then(|versions| versions.last().copied());
            if there.is_none_or(|there| there < *seen) {
                found.problems.push(ManifestProblem::RolledBack { folder: folder.clone(), seen: *seen, found: there });
            }
        }
        known.newest = found.manifests.iter().map(|manifest| (manifest.key.folder(), Arc::clone(manifest))).collect();
        drop(known);
        found.manifests.retain(|manifest| !manifest.is_barrier_only());
        found.manifests.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Some(found))
    }

    /// The newest usable version of one rollup.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the storage does not answer.
    pub async fn manifest(&self, key: &RollupKey) -> Result<Option<Arc<Manifest>>, StoreError> {
        let newest = self.newest(&key.folder()).await?.manifest.filter(|manifest| !manifest.is_barrier_only());
        if let Some(manifest) = &newest {
            self.tell_holds(std::slice::from_ref(manifest)).await?;
        }
        Ok(newest)
    }

    pub(crate) async fn newest(&self, folder: &str) -> Result<Newest, StoreError> {
        for _ in 0..TRIES {
            let listed = self.listed().await?;
            let Some(versions) = listed.get(folder) else { return Ok(Newest::default()) };
            if let Some(newest) = self.newest_of(folder, versions).await? {
                return Ok(newest);
            }
        }
        Err(crate::files::unavailable(
            "read",
            folder,
            std::io::Error::other("its manifests change faster than they can be read"),
        ))
    }

    pub(crate) async fn newest_fencing(&self, key: &RollupKey) -> Result<u64, StoreError> {
        Ok(self.newest(&key.folder()).await?.manifest.map_or(0, |manifest| manifest.fencing))
    }

    /// The highest version of a rollup that this process has ever seen; 0 if none.
    pub(crate) fn highest_seen(&self, key: &RollupKey) -> u64 {
        self.known().highest.get(&key.folder()).copied().unwrap_or(0)
    }

    /// None if one was collected meanwhile, so that the listing is out of date.
    async fn newest_of(&self, folder: &str, versions: &[u64]) -> Result<Option<Newest>, StoreError> {
        let mut newest = Newest { highest: versions.last().copied().unwrap_or(0), ..Newest::default() };
        for version in versions.iter().rev() {
            match self.load(folder, *version).await {
                Ok(manifest) => {
                    newest.manifest = Some(manifest);
                    break;
                }
                Err(LoadError::Problem(problem)) => newest.problems.push(problem),
                Err(LoadError::Gone) => return Ok(None),
                Err(LoadError::Store(error)) => return Err(error),
            }
        }
        Ok(Some(newest))
    }

    /// One version, from memory if somebody here holds it.
    async fn load(&self, folder: &str, version: u64) -> Result<Arc<Manifest>, LoadError> {
        let at = (folder.to_owned(), version);
        if let Some(manifest) = self.known().all.get(&at).and_then(Weak::upgrade) {
            return Ok(manifest);
        }
        let damaged =
            |damage| LoadError::Problem(ManifestProblem::Damaged { folder: folder.to_owned(), version, damage });
        let bytes = match self.inner.files.read(&manifest_path(folder, version), SMALL_FILE_BYTES).await {
            Ok(bytes) => bytes,
            Err(ReadError::Missing) => return Err(LoadError::Gone),
            Err(ReadError::Unreadable(message)) => return Err(damaged(Damage::Unreadable(message))),
            Err(ReadError::Unavailable(error)) => return Err(LoadError::Store(error)),
        };
        let manifest = Manifest::from_bytes(&bytes, folder, version).map_err(LoadError::Problem)?;
        Ok(self.remember(manifest))
    }

    /// Whether a version that is not among the newest can be used, for a collection.
    pub(crate) async fn load_for_collection(
        &self,
        folder: &str,
        version: u64,
    ) -> Result<Option<Arc<Manifest>>, StoreError> {
        match self.load(folder, version).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(LoadError::Problem(_) | LoadError::Gone) => Ok(None),
            Err(LoadError::Store(error)) => Err(error),
        }
    }

    pub(crate) fn remember(&self, manifest: Manifest) -> Arc<Manifest> {
        let (folder, version) = (manifest.key.folder(), manifest.version);
        let mut known = self.known();
        // Two that read it at once share one, so that who holds it is counted once.
        if let Some(manifest) = known.all.get(&(folder.clone(), version)).and_then(Weak::upgrade) {
            return manifest;
        }
        let manifest = Arc::new(manifest);
        known.all.retain(|_, held| held.strong_count() > 0);
        known.all.insert((folder.clone(), version), Arc::downgrade(&manifest));
        let highest = known.highest.entry(folder.clone()).or_default();
        *highest = version.max(*highest);
        if known.newest.get(&folder).is_none_or(|newest| newest.version < version) {
            known.newest.insert(folder, Arc::clone(&manifest));
        }
        manifest
    }

    /// The versions that something in this process may be reading, and the newest known of each rollup.
    pub(crate) fn held(&self) -> BTreeMap<String, Vec<u64>> {
        let known = self.known();
        let mut held: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for ((folder, version), manifest) in &known.all {
            if manifest.strong_count() > 0 {
                held.entry(folder.clone()).or_default().push(*version);
            }
        }
        held
    }

    /// The versions of one rollup that something in this process may be reading.
    pub(crate) fn held_manifests(&self, folder: &str) -> Vec<Arc<Manifest>> {
        let known = self.known();
        known.all.iter().filter(|((of, _), _)| of == folder).filter_map(|(_, manifest)| manifest.upgrade()).collect()
    }

    /// The newest versions as of the last look, without asking the storage.
    pub(crate) fn newest_known(&self) -> Vec<Arc<Manifest>> {
        self.known().newest.values().map(Arc::clone).collect()
    }

    /// Versions by folder, rising.
    pub(crate) async fn listed(&self) -> Result<BTreeMap<String, Vec<u64>>, StoreError> {
        let mut listed: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for name in self.inner.files.names("manifests").await? {
            // Whatever else somebody has put there is not ours.
            if let Some((folder, _)) = name.split_once('.')
                && let Some(version) = crate::lease::numbered(&name, folder)
            {
                listed.entry(folder.to_owned()).or_default().push(version);
            }
        }
        listed.values_mut().for_each(|versions| versions.sort_unstable());
        Ok(listed)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn manifest_path(folder: &str, version: u64) -> String {
    format!("manifests/{folder}.{version:020}.json")
}

fn s3_bucket(bucket: &str, access: &S3Access) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(access.region.as_deref().unwrap_or("us-east-1"))
        .with_allow_http(access.allow_http);
    if let Some(endpoint) = &access.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder = match &access.keys {
        Some((key, secret)) => builder.with_access_key_id(key).with_secret_access_key(secret),
        None => builder.with_skip_signature(true),
    };
    if let Some(token) = &access.session_token {
        builder = builder.with_token(token);
    }
    Ok(Arc::new(builder.build()?))
}
