//! What can go wrong in the store, so that a caller can tell a damaged partition from a store that is away.

use std::io;

use datafusion::error::DataFusionError;
use thiserror::Error;

use crate::{PartitionRange, RollupKey};

/// Why the store could not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file of this partition is not what was written. The partition is quarantined; answer from the source and build it again.
    #[error("a file of the rollup {key} is damaged ({path}): {damage}")]
    Damaged {
        /// The rollup.
        key: Box<RollupKey>,
        /// The partition of it.
        partition: PartitionRange,
        /// The version of the partition's content.
        content: String,
        /// The file, inside the store.
        path: String,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The storage did not answer; nothing is known about the files.
    #[error("could not {action} {path} of the rollup store: {source}")]
    Unavailable {
        /// What was attempted.
        action: &'static str,
        /// With which file or folder, inside the store.
        path: String,
        /// What the storage said.
        source: io::Error,
    },
    /// No space is left for files or for sorting.
    #[error("no space is left in the rollup store, while writing {path}: {message}")]
    Full {
        /// The file, inside the store.
        path: String,
        /// What the storage said.
        message: String,
    },
    /// The rows to be stored could not be read; the message is the source's.
    #[error("{0}")]
    Input(DataFusionError),
    /// The rows to be stored cannot be: their columns are not the declared ones, or of a type that Parquet does not have.
    #[error("cannot store the rows of the rollup {key}: {message}")]
    Unstorable {
        /// The rollup.
        key: RollupKey,
        /// What does not fit.
        message: String,
    },
    /// The place for a store cannot be used.
    #[error("cannot open a rollup store at {location}: {message}")]
    Location {
        /// As it was given.
        location: String,
        /// Why not.
        message: String,
    },
    /// What was asked for is not in this version of the rollup.
    #[error("the rollup {key} has no {what} in version {version}")]
    NotThere {
        /// The rollup.
        key: RollupKey,
        /// The version of its manifest.
        version: u64,
        /// What was asked for.
        what: String,
    },
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    /// It is not there.
    #[error("it is not there")]
    Missing,
    /// The storage cannot read it.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// Its bytes are not those that were written.
    #[error("its digest is not that of the bytes that were written")]
    Digest,
    /// Its bytes are those that the manifest names, but not a file that this program has written.
    #[error("its content is not what the manifest says: {0}")]
    Content(String),
    /// It was found damaged before, maybe by another process.
    #[error("it was found damaged before")]
    Quarantined,
}

impl StoreError {
    /// The store's error inside an error of a query, if that is what stopped it.
    pub fn find_in(error: &DataFusionError) -> Option<&StoreError> {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<StoreError>() {
                return Some(found);
            }
            // A boxed or shared error is not its own source in every wrapper.
            if let Some(DataFusionError::External(inner)) = error.downcast_ref::<DataFusionError>() {
                next = Some(inner.as_ref());
                continue;
            }
            if let Some(DataFusionError::Shared(inner)) = error.downcast_ref::<DataFusionError>() {
                next = Some(inner.as_ref());
                continue;
            }
            next = error.source();
        }
        None
    }
}

impl From<StoreError> for DataFusionError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Input(inner) => inner,
            other => DataFusionError::External(Box::new(other)),
        }
    }
}

/// Why a new version was not published. The old one stays as it is.
#[derive(Debug, Error)]
pub enum PublishError {
    /// Another worker took over this rollup, or published the same partitions meanwhile.
    #[error(
        "another worker has taken over the rollup {key}: this one held lease {fencing}, the newest version was published under {newest}"
    )]
    Superseded {
        /// The rollup.
        key: RollupKey,
        /// The lease of the one who was refused.
        fencing: u64,
        /// The lease of the newest version.
        newest: u64,
    },
    /// The lease ran out before the new version was ready.
    #[error("the lease on the rollup {key} ran out before it was published")]
    LeaseExpired {
        /// The rollup.
        key: RollupKey,
    },
    /// The change contradicts itself or the version that it changes.
    #[error("cannot publish the rollup {key}: {message}")]
    Invalid {
        /// The rollup.
        key: RollupKey,
        /// The contradiction.
        message: String,
    },
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Something that is wrong with the manifests of a store. Older versions serve meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestProblem {
    /// A manifest is not what was written; the one before it is used.
    #[error("version {version} of the manifest of {folder} is damaged: {damage}")]
    Damaged {
        /// The rollup's folder.
        folder: String,
        /// The version that cannot be used.
        version: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// A manifest was written by another version of this program.
    #[error("version {version} of the manifest of {folder} has another format: {format}")]
    OtherFormat {
        /// The rollup's folder.
        folder: String,
        /// The version that cannot be used.
        version: u64,
        /// The format that it has.
        format: String,
    },
    /// The store has an older version than it had: somebody has put an old state back, or deleted files.
    #[error("the newest manifest of {folder} was version {seen}, and is {found:?} now")]
    RolledBack {
        /// The rollup's folder.
        folder: String,
        /// The highest version that this process has seen.
        seen: u64,
        /// The highest that is there, none if all are gone.
        found: Option<u64>,
    },
}

/// Whether this error, or one that it wraps, says that the disk is full.
pub(crate) fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && matches!(
                io.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            )
        {
            return true;
        }
        next = error.source();
    }
    // Arrow and Parquet keep some errors of the system as text only.
    error.to_string().contains("No space left on device")
}
