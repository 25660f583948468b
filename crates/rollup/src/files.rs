//! The files of a store: in a folder, in a bucket, or in memory.
//!
//! Everything goes through `object_store`, except writing to a folder: its version 0.13 never calls fsync, so a power cut could
//! leave a manifest without the files that it names. There the order is: bytes, fsync of the file, its name, fsync of the folder.

use std::collections::hash_map::RandomState;
use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::parquet::arrow::async_writer::AsyncFileWriter;
use datafusion::parquet::errors::ParquetError;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use object_store::buffered::BufWriter;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::io::AsyncWriteExt;

use crate::StoreError;
use crate::error::is_full;
use crate::manifest::Digest;

/// Names of files that are being written begin with it; they are no files of the store yet.
const UNFINISHED: &str = ".unfinished-";

/// No file of ours besides the rows is larger: manifests, leases, and so on.
pub(crate) const SMALL_FILE_BYTES: u64 = 256 << 20;

/// The files of one store. Paths are relative to it, with `/`.
#[derive(Debug)]
pub(crate) struct Files {
    /// Rooted at the store, except for `prefix`.
    objects: Arc<dyn ObjectStore>,
    /// The part of a bucket that the store is in, without slashes at its ends.
    prefix: String,
    /// The folder, if it is one.
    local: Option<PathBuf>,
    /// Makes names of unfinished files different: a number that only this object has, and a count. Not the process's number, which
    /// two containers that share a volume may both have.
    unfinished: (u64, AtomicU64),
}

/// How a file could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Missing,
    /// The storage has it and cannot read it.
    Unreadable(String),
    /// The storage is away or overloaded.
    Unavailable(StoreError),
}

/// Whether a file was created.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Created {
    New,
    /// There is one of this name, and it was left as it is.
    Exists,
}

impl Files {
    pub(crate) fn over(objects: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self {
            objects,
            prefix: prefix.trim_matches('/').to_owned(),
            local: None,
            unfinished: (random(), AtomicU64::new(0)),
        }
    }

    pub(crate) fn in_folder(folder: &FilePath) -> io::Result<Self> {
        make_folder(folder)?;
        let folder = folder.canonicalize()?;
        let objects = object_store::local::LocalFileSystem::new_with_prefix(&folder).map_err(io::Error::other)?;
        Ok(Self { local: Some(folder), ..Self::over(Arc::new(objects), "") })
    }

    /// The folder, if the store is one.
    pub(crate) fn folder(&self) -> Option<&FilePath> {
        self.local.as_deref()
    }

    /// For readers of Parquet that ask for ranges.
    pub(crate) fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.objects)
    }

    pub(crate) fn object_path(&self, path: &str) -> ObjectPath {
        match self.prefix.is_empty() {
            true => ObjectPath::from(path),
            false => ObjectPath::from(format!("{}/{path}", self.prefix)),
        }
    }

    /// All bytes of a file of at most this size; a larger one is not read.
    pub(crate) async fn read(&self, path: &str, at_most: u64) -> Result<Bytes, ReadError> {
        let too_large =
            |bytes: u64| ReadError::Unreadable(format!("it has {bytes} bytes, and at most {at_most} are expected"));
        if let Some(root) = &self.local {
            let place = root.join(path);
            let read = blocking(move || {
                let mut file = File::open(place)?;
                let size = file.metadata()?.len();
                if size > at_most {
                    return Ok(Err(size));
                }
                let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
                file.read_to_end(&mut bytes)?;
                Ok(Ok(bytes))
            });
            let read = match read.await {
                Ok(Err(size)) => return Err(too_large(size)),
                Ok(Ok(bytes)) => Ok(bytes),
                Err(error) => Err(error),
            };
            return match read {
                Ok(bytes) => Ok(bytes.into()),
                Err(error) => Err(match error.kind() {
                    io::ErrorKind::NotFound => ReadError::Missing,
                    // Of the file, where others can be of the process (no descriptors left) or of the moment. EIO has no kind.
                    io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory | io::ErrorKind::InvalidData => {
                        ReadError::Unreadable(error.to_string())
                    }
                    _ if error.raw_os_error() == Some(5) => ReadError::Unreadable(error.to_string()),
                    _ => ReadError::Unavailable(unavailable("read", path, error)),
                }),
            };
        }
        let failed = |error| match error {
            object_store::Error::NotFound { .. } => ReadError::Missing,
            other => ReadError::Unavailable(unavailable("read", path, io::Error::other(other))),
        };
        let found = self.objects.get(&self.object_path(path)).await.map_err(failed)?;
        if found.meta.size > at_most {
            return Err(too_large(found.meta.size));
        }
        found.bytes().await.map_err(failed)
    }

    /// The size of a file; None if it is not there.
    pub(crate) async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        match self.objects.head(&self.object_path(path)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(unavailable("look at", path, io::Error::other(error))),
        }
    }

    /// Makes a file that is there with all its bytes or not at all, and is there after a power cut once this returns. Never
    /// replaces one.
    pub(crate) async fn create(&self, path: &str, bytes: Vec<u8>) -> Result<Created, StoreError> {
        if let Some(root) = &self.local {
            let (place, unfinished) = (root.join(path), self.unfinished_name());
            let made = blocking(move || {
                let written = write_unfinished(&place, &unfinished, &bytes)?;
                // A link is made only if the name is free, also between processes.
                let linked = std::fs::hard_link(&written, &place);
                let _ = std::fs::remove_file(&written);
                match linked {
                    Ok(()) => sync_folder_of(&place).map(|()| Created::New),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Exists),
                    Err(error) => Err(error),
                }
            });
            return made.await.map_err(|error| not_written(path, error));
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(&self.object_path(path), bytes.into(), options).await {
            Ok(_) => Ok(Created::New),
            // S3 answers a race of two that both create with a conflict; object_store calls that a precondition.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Created::Exists)
            }
            Err(error) => Err(not_written(path, io::Error::other(error))),
        }
    }

    /// Makes a file or replaces it; readers see the old bytes or the new ones.
    pub(crate) async fn replace(&self, path: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        if let Some(root) = &self.local {
            let (place, unfinished) = (root.join(path), self.unfinished_name());
            let made = blocking(move || {
                let written = write_unfinished(&place, &unfinished, &bytes)?;
                std::fs::rename(&written, &place)?;
                sync_folder_of(&place)
            });
            return made.await.map_err(|error| not_written(path, error));
        }
        match self.objects.put(&self.object_path(path), bytes.into()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(not_written(path, io::Error::other(error))),
        }
    }

    /// Deletes a file; that it is gone already is as good.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), StoreError> {
        match self.objects.delete(&self.object_path(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable("delete", path, io::Error::other(error))),
        }
    }

    /// The names of the files in a folder, without those that are being written. Empty if there is no such folder.
    pub(crate) async fn names(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let mut names = self.all_names(folder).await?;
        names.retain(|name| !name.starts_with('.'));
        Ok(names)
    }

    async fn all_names(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        if let Some(root) = &self.local {
            let place = root.join(folder);
            // Not object_store's listing, which asks for the size of each: this one is made every second.
            let listed = blocking(move || entries(&place, false));
            return listed.await.map_err(|error| unavailable("list", folder, error));
        }
        let prefix = self.object_path(folder);
        let listed = self.objects.list(Some(&prefix)).map_ok(|meta| meta.location).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|error| unavailable("list", folder, io::Error::other(error)))?;
        let name = |path: &ObjectPath| {
            let mut rest = path.prefix_match(&prefix)?;
            let name = rest.next()?.as_ref().to_owned();
            rest.next().is_none().then_some(name)
        };
        Ok(listed.iter().filter_map(name).collect())
    }

    /// The names of the folders in a folder.
    pub(crate) async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        if let Some(root) = &self.local {
            let place = root.join(folder);
            let listed = blocking(move || entries(&place, true));
            return listed.await.map_err(|error| unavailable("list", folder, error));
        }
        let listed = self.objects.list_with_delimiter(Some(&self.object_path(folder))).await;
        let listed = listed.map_err(|error| unavailable("list", folder, io::Error::other(error)))?;
        Ok(listed.common_prefixes.iter().filter_map(|prefix| prefix.filename().map(str::to_owned)).collect())
    }

    /// Deletes what processes that died while writing have left in a folder, if nobody has touched it for this long.
    pub(crate) async fn delete_unfinished(
        &self,
        folder: &str,
        untouched: std::time::Duration,
    ) -> Result<u64, StoreError> {
        let Some(root) = &self.local else { return Ok(0) };
        let place = root.join(folder);
        let deleted = blocking(move || {
            let mut deleted = 0;
            for name in entries(&place, false)?.into_iter().filter(|name| name.starts_with(UNFINISHED)) {
                let file = place.join(name);
                let age = file.metadata().and_then(|meta| meta.modified()).map(|at| at.elapsed().unwrap_or_default());
                if age.is_ok_and(|age| age >= untouched) {
                    std::fs::remove_file(&file)?;
                    deleted += 1;
                }
            }
            Ok(deleted)
        });
        deleted.await.map_err(|error| unavailable("clean", folder, error))
    }

    /// Deletes a folder that is on this machine, with all that is in it.
    pub(crate) async fn delete_folder(&self, folder: &str) -> Result<(), StoreError> {
        let Some(root) = &self.local else { return Ok(()) };
        let place = root.join(folder);
        match blocking(move || std::fs::remove_dir_all(place)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unavailable("delete", folder, error)),
            _ => Ok(()),
        }
    }

    /// A new file that is written piece by piece. It is no part of any version until a manifest names it.
    pub(crate) async fn sink(&self, path: &str) -> Result<Sink, StoreError> {
        let target = match &self.local {
            Some(root) => {
                let place = root.join(path);
                let at = place.clone();
                let opened = blocking(move || {
                    make_folder(at.parent().expect("a file of the store is in a folder"))?;
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&at)
                });
                let file = opened.await.map_err(|error| not_written(path, error))?;
                Target::Local { file: tokio::fs::File::from_std(file), place }
            }
            None => Target::Remote(BufWriter::new(self.objects(), self.object_path(path))),
        };
        Ok(Sink { target: Some(target), hasher: blake3::Hasher::new(), bytes: 0 })
    }

    fn unfinished_name(&self) -> String {
        let (own, count) = &self.unfinished;
        format!("{UNFINISHED}{own:016x}-{}", count.fetch_add(1, Ordering::Relaxed))
    }
}

/// A file that is being written; deleted again unless it is finished.
pub(crate) struct Sink {
    /// None once it is finished or given up.
    target: Option<Target>,
    hasher: blake3::Hasher,
    bytes: u64,
}

enum Target {
    Local { file: tokio::fs::File, place: PathBuf },
    Remote(BufWriter),
}

impl Sink {
    /// The size and the digest of what was written.
    pub(crate) fn written(&self) -> (u64, Digest) {
        (self.bytes, Digest::finish(&self.hasher))
    }

    async fn put(&mut self, bytes: Bytes) -> io::Result<()> {
        self.hasher.update(&bytes);
        self.bytes += bytes.len() as u64;
        match self.target.as_mut().expect("nothing is written after the end") {
            Target::Local { file, .. } => file.write_all(&bytes).await,
            Target::Remote(writer) => writer.put(bytes).await.map_err(io::Error::other),
        }
    }

    async fn finish(&mut self) -> io::Result<()> {
        match self.target.as_mut().expect("a file ends once") {
            Target::Local { file, place } => {
                file.flush().await?;
                file.sync_all().await?;
                let place = place.clone();
                blocking(move || sync_folder_of(&place)).await?;
            }
            Target::Remote(writer) => writer.shutdown().await?,
        }
        self.target = None;
        Ok(())
    }
}

impl AsyncFileWriter for Sink {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ParquetError>> {
        Box::pin(async move { self.put(bytes).await.map_err(|error| ParquetError::External(Box::new(error))) })
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<(), ParquetError>> {
        Box::pin(async move { self.finish().await.map_err(|error| ParquetError::External(Box::new(error))) })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        match self.target.take() {
            Some(Target::Local { place, .. }) => {
                // What cannot be deleted now is collected later: no manifest names it.
                let _ = std::fs::remove_file(place);
            }
            Some(Target::Remote(mut writer)) => {
                // Else the parts of an upload would stay in the bucket, unseen and paid for.
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move {
                        let _ = writer.abort().await;
                    });
                }
            }
            None => {}
        }
    }
}

/// A number that nobody else has: the keys of hash maps come from the system's randomness.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

pub(crate) fn unavailable(action: &'static str, path: &str, source: io::Error) -> StoreError {
    StoreError::Unavailable { action, path: path.to_owned(), source }
}

pub(crate) fn not_written(path: &str, source: io::Error) -> StoreError {
    match is_full(&source) {
        true => StoreError::Full { path: path.to_owned(), message: source.to_string() },
        false => unavailable("write", path, source),
    }
}

/// Runs blocking work on tokio's threads for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Makes a folder that only this user can read: rollups hold what the sources' permissions protect.
pub(crate) fn make_folder(folder: &FilePath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // Its own name must last as well.
        _ => sync_folder_of(folder),
    }
}

fn write_unfinished(place: &FilePath, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let folder = place.parent().expect("a file of the store is in a folder");
    make_folder(folder)?;
    let unfinished = folder.join(name);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    match write() {
        Ok(()) => Ok(unfinished),
        Err(error) => {
            let _ = std::fs::remove_file(&unfinished);
            Err(error)
        }
    }
}

fn sync_folder_of(place: &FilePath) -> io::Result<()> {
    match place.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn entries(folder: &FilePath, folders: bool) -> io::Result<Vec<String>> {
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in listed {
        let entry = entry?;
        if entry.file_type()?.is_dir() == folders
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}
