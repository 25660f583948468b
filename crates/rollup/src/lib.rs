//! The rollup store: where the rows of rollups are kept, so that a crash, a full disk, a flipped bit or a second worker can cost time
//! and never a right answer.
//!
//! It knows nothing of SQL, of the planner, or of when something is to be built. `crates/README.md`, "How a rollup is stored", has the
//! whole picture; in short:
//!
//! - Rows are plain Parquet files ([`Store::write_partition`]) that nothing refers to until a manifest names them.
//! - A [`Manifest`] is one version of one rollup, in a file that is created if absent and never changed ([`Store::publish`]).
//! - Who may publish is decided by a [`Lease`] with a number that only grows.
//! - A file is read whole, compared with its digest, and only then decoded; what was decoded stays in memory within a budget
//!   ([`RollupTable`], [`Store::read`]).
//! - What no version that somebody may still read names is deleted ([`Store::collect`]).
//!
//! A store is a folder, a bucket (`s3://bucket/prefix`), or memory.

mod access_path;
mod collect;
mod decode;
mod error;
mod files;
mod hot;
mod key;
mod lease;
mod manifest;
mod publish;
mod quarantine;
mod readers;
mod store;
mod table;
mod write;
mod zone_map;

#[cfg(test)]
mod tests;

pub use collect::{CollectOptions, Collected};
pub use error::{Damage, ManifestProblem, PublishError, StoreError};
pub use key::RollupKey;
pub use lease::Lease;
pub use manifest::{Digest, Format, Manifest, PartitionRange, RollupPartition, StoredFile, StoredTable};
pub use publish::Change;
pub use quarantine::Quarantined;
pub use store::{Manifests, S3Access, Store, StoreOptions};
pub use table::RollupTable;
pub use write::{IndexAggregate, IndexCopy, NewPartition, OnProgress, SortOrder, WriteOptions, WriteProgress};
