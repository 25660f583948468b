//! Decoded columns in memory, the least recently used file going first when the budget is spent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::SchemaRef;
use tokio::sync::Semaphore;

use crate::decode::Verified;
use crate::files::ReadError;
use crate::zone_map::ZoneMap;
use crate::{Damage, Manifest, RollupPartition, Store, StoreError, StoredFile};

/// How many files are read and decoded at once, so that a cold start does not hold all of them twice.
const LOADS: usize = 4;

/// One column of one file.
#[derive(Debug)]
pub(crate) struct HotColumn {
    /// All columns of a file have the same lengths here.
    pub(crate) batches: Vec<ArrayRef>,
    pub(crate) zones: Option<ZoneMap>,
    /// What it takes in memory.
    pub(crate) bytes: u64,
}

/// A file of a manifest that a query reads.
#[derive(Debug, Clone)]
pub(crate) struct FileAt {
    pub(crate) manifest: Arc<Manifest>,
    /// The place of the partition in the manifest.
    pub(crate) partition: usize,
    /// The place of the file in the partition.
    pub(crate) file: usize,
}

impl FileAt {
    pub(crate) fn partition(&self) -> &RollupPartition {
        &self.manifest.partitions[self.partition]
    }

    pub(crate) fn file(&self) -> &StoredFile {
        &self.partition().files[self.file]
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.manifest.table_schema(&self.file().table)
    }
}

/// The columns in memory of all files.
#[derive(Debug)]
pub(crate) struct Hot {
    state: Mutex<State>,
    /// One of these for each load.
    loads: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    budget: u64,
    used: u64,
    /// Counts readings, so that files can be compared by their last one.
    clock: u64,
    /// By path; a path has one content for ever.
    files: HashMap<String, HotFile>,
    /// Files that are being decoded, so that two queries do not decode one twice.
    loading: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
}

#[derive(Debug)]
struct HotFile {
    columns: Vec<Option<Arc<HotColumn>>>,
    bytes: u64,
    used_at: u64,
}

impl Hot {
    pub(crate) fn new(budget: u64) -> Self {
        Self { state: Mutex::new(State { budget, ..State::default() }), loads: Semaphore::new(LOADS) }
    }

    pub(crate) fn set_budget(&self, budget: u64) {
        let mut state = self.state();
        state.budget = budget;
        state.evict(None);
    }

    pub(crate) fn budget(&self) -> u64 {
        self.state().budget
    }

    pub(crate) fn used(&self) -> u64 {
        self.state().used
    }

    /// All of these columns, or None if one is missing.
    fn get(&self, path: &str, columns: &[usize]) -> Option<Vec<Arc<HotColumn>>> {
        let mut state = self.state();
        state.clock += 1;
        let now = state.clock;
        let file = state.files.get_mut(path)?;
        file.used_at = now;
        columns.iter().map(|column| file.columns.get(*column)?.as_ref().map(Arc::clone)).collect()
    }

    fn missing(&self, path: &str, columns: &[usize]) -> Vec<usize> {
        let state = self.state();
        let there = |column: usize| {
            state.files.get(path).is_some_and(|file| file.columns.get(column).is_some_and(Option::is_some))
        };
        columns.iter().copied().filter(|column| !there(*column)).collect()
    }

    fn put(&self, path: &str, width: usize, columns: &[(usize, Arc<HotColumn>)]) {
        let mut state = self.state();
        state.clock += 1;
        let now = state.clock;
        let empty = || HotFile { columns: vec![None; width], bytes: 0, used_at: now };
        let file = state.files.entry(path.to_owned()).or_insert_with(empty);
        file.used_at = now;
        let mut added = 0;
        for (at, column) in columns {
            if file.columns[*at].is_none() {
                file.columns[*at] = Some(Arc::clone(column));
                added += column.bytes;
            }
        }
        file.bytes += added;
        state.used += added;
        state.evict(Some(path));
    }

    /// Forgets files that no manifest names any more.
    pub(crate) fn forget(&self, paths: &[String]) {
        let mut state = self.state();
        for path in paths {
            if let Some(file) = state.files.remove(path) {
                state.used -= file.bytes;
            }
        }
    }

    fn loading(&self, path: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.state().loading.entry(path.to_owned()).or_default())
    }

    fn loaded(&self, path: &str) {
        let mut state = self.state();
        // The map and the one who asks.
        if state.loading.get(path).is_some_and(|lock| Arc::strong_count(lock) <= 2) {
            state.loading.remove(path);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops files until the rest fits; `newest` goes last, and goes too if it is too large alone.
    fn evict(&mut self, newest: Option<&str>) {
        while self.used > self.budget {
            let oldest = self.files.iter().min_by_key(|(path, file)| (Some(path.as_str()) == newest, file.used_at));
            let Some(path) = oldest.map(|(path, _)| path.clone()) else { return };
            if let Some(file) = self.files.remove(&path) {
                self.used -= file.bytes;
            }
        }
    }
}

impl Store {
    /// Whether these columns of a file would take more than the memory is for, so that they are better streamed.
    pub(crate) fn is_too_large(&self, at: &FileAt, columns: &[usize]) -> bool {
        let bytes: u64 = columns.iter().filter_map(|column| at.file().column_bytes.get(*column)).sum();
        bytes > self.inner.hot.budget() / 2
    }

    /// Columns of a file, from memory or decoded now; `columns` is rising and not empty.
    pub(crate) async fn columns(&self, at: &FileAt, columns: &[usize]) -> Result<Vec<Arc<HotColumn>>, StoreError> {
        let path = at.file().path.as_str();
        // What is in memory was found right when it was read.
        if let Some(found) = self.inner.hot.get(path, columns) {
            return Ok(found);
        }
        let lock = self.inner.hot.loading(path);
        let guard = lock.lock().await;
        let found = self.load_columns(at, columns).await;
        drop(guard);
        self.inner.hot.loaded(path);
        found
    }

    async fn load_columns(&self, at: &FileAt, columns: &[usize]) -> Result<Vec<Arc<HotColumn>>, StoreError> {
        let path = at.file().path.as_str();
        let mut found: Vec<(usize, Arc<HotColumn>)> = Vec::new();
        let missing = self.inner.hot.missing(path, columns);
        for column in columns.iter().filter(|column| !missing.contains(column)) {
            // Nobody but an eviction changes the file meanwhile; then it is decoded with the others.
            if let Some(hot) = self.inner.hot.get(path, &[*column]) {
                found.extend(hot.into_iter().map(|hot| (*column, hot)));
            }
        }
        let missing: Vec<usize> =
            columns.iter().copied().filter(|column| !found.iter().any(|(at, _)| at == column)).collect();
        if !missing.is_empty() {
            let verified = self.verified(at).await?;
            let (file, schema, wanted) = (at.file().clone(), Arc::clone(at.schema()), missing.clone());
            let decoded = tokio::task::spawn_blocking(move || verified.columns(&file, &schema, &wanted)).await;
            let decoded = match decoded {
                Ok(Ok(decoded)) => decoded,
                Ok(Err(damage)) => return Err(self.damaged(at, damage).await),
                Err(error) => return Err(crate::files::unavailable("decode", path, std::io::Error::other(error))),
            };
            let new: Vec<(usize, Arc<HotColumn>)> =
                missing.into_iter().zip(decoded.into_iter().map(Arc::new)).collect();
            self.inner.hot.put(path, at.schema().fields().len(), &new);
            found.extend(new);
        }
        found.sort_by_key(|(column, _)| *column);
        let columns: Vec<Arc<HotColumn>> = found.into_iter().map(|(_, column)| column).collect();
        let lengths = |column: &HotColumn| column.batches.iter().map(|batch| batch.len()).collect::<Vec<_>>();
        if let Some((first, rest)) = columns.split_first()
            && rest.iter().any(|column| lengths(column) != lengths(first))
        {
            return Err(self.damaged(at, Damage::Content("its columns have different lengths".to_owned())).await);
        }
        Ok(columns)
    }

    /// The bytes of a file, if they are those that were written.
    pub(crate) async fn verified(&self, at: &FileAt) -> Result<Verified, StoreError> {
        let file = at.file();
        if self.is_quarantined(&file.path) {
            return Err(damaged_error(at, Damage::Quarantined));
        }
        let _load = self.inner.hot.loads.acquire().await;
        let bytes = match self.inner.files.read(&file.path, file.bytes).await {
            Ok(bytes) => bytes,
            Err(ReadError::Missing) => return Err(self.damaged(at, Damage::Missing).await),
            Err(ReadError::Unreadable(message)) => return Err(self.damaged(at, Damage::Unreadable(message)).await),
            Err(ReadError::Unavailable(error)) => return Err(error),
        };
        let expected = file.clone();
        match tokio::task::spawn_blocking(move || Verified::new(bytes, &expected)).await {
            Ok(Ok(verified)) => Ok(verified),
            Ok(Err(damage)) => Err(self.damaged(at, damage).await),
            Err(error) => Err(crate::files::unavailable("read", &file.path, std::io::Error::other(error))),
        }
    }

    /// Quarantines the partition and says so.
    pub(crate) async fn damaged(&self, at: &FileAt, damage: Damage) -> StoreError {
        let error = damaged_error(at, damage);
        tracing::error!(%error, "a partition of a rollup is damaged and will not be read");
        self.put_in_quarantine(&at.manifest, at.partition(), at.file()).await;
        error
    }
}

fn damaged_error(at: &FileAt, damage: Damage) -> StoreError {
    StoreError::Damaged {
        key: Box::new(at.manifest.key.clone()),
        partition: at.partition().range.clone(),
        content: at.partition().content.clone(),
        path: at.file().path.clone(),
        damage,
    }
}
