//! Publishing: the next version of a rollup, or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};

use crate::files::{Created, SMALL_FILE_BYTES};
use crate::lease::Lease;
use crate::manifest::Format;
use crate::store::{Newest, manifest_path};
use crate::{Manifest, PartitionRange, PublishError, RollupKey, RollupPartition, Store};

/// How often a publisher that lost a race tries again. Only one holds the lease, so that more than a few are a mistake.
const TRIES: usize = 100;

/// What the next version has that the last one had not. Partitions that it does not mention stay as they are.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// The digest of the definition. Another one than before starts anew: none of the old partitions stays.
    pub structure: String,
    /// The columns.
    pub schema: SchemaRef,
    /// The columns of index copies that have others, from [`NewPartition::index_schemas`](crate::NewPartition).
    pub index_schemas: BTreeMap<String, SchemaRef>,
    /// See [`Manifest::covers`].
    pub covers: Option<(Option<i64>, Option<i64>)>,
    /// See [`Manifest::checked_at`].
    pub checked_at: i64,
    /// Partitions that take the place of those with the same range, or are new.
    pub replace: Vec<RollupPartition>,
    /// Partitions that are dropped.
    pub remove: Vec<PartitionRange>,
    /// The right to do it.
    pub lease: &'a Lease,
}

/// What becomes of a rollup.
pub(crate) enum Advance<'a> {
    /// The same again, under another lease.
    Barrier,
    /// Nothing.
    Retire,
    Change(&'a Change<'a>),
}

impl Store {
    /// Makes a change the newest version of a rollup.
    ///
    /// Once this returns, the version is there after a power cut too, and every process sees it at its next look. If it fails or the
    /// process dies, the version before stays.
    ///
    /// # Errors
    /// [`PublishError::Superseded`] and [`PublishError::LeaseExpired`] if the right to publish is gone; [`PublishError::Invalid`] if
    /// partitions would overlap or their files are not there; [`PublishError::Store`] if the storage fails.
    pub async fn publish(&self, key: &RollupKey, change: Change<'_>) -> Result<Arc<Manifest>, PublishError> {
        if change.lease.key() != key {
            let message = format!("the lease is one of {}", change.lease.key());
            return Err(PublishError::Invalid { key: key.clone(), message });
        }
        for file in change.replace.iter().flat_map(|partition| &partition.files) {
            if self.inner.files.size(&file.path).await? != Some(file.bytes) {
                let message = format!("the file {:?} is not there as it was written", file.path);
                return Err(PublishError::Invalid { key: key.clone(), message });
            }
        }
        let manifest = self.advance(change.lease, &Advance::Change(&change)).await?;
        self.clear_quarantine(&manifest).await;
        Ok(manifest)
    }

    /// Makes a rollup have nothing any more, as one that the model does not declare; a collection then deletes its files.
    ///
    /// # Errors
    /// As [`Store::publish`].
    pub async fn retire(&self, lease: &Lease) -> Result<(), PublishError> {
        let manifest = self.advance(lease, &Advance::Retire).await?;
        self.clear_quarantine(&manifest).await;
        Ok(())
    }

    pub(crate) async fn advance(&self, lease: &Lease, what: &Advance<'_>) -> Result<Arc<Manifest>, PublishError> {
        let key = lease.key();
        let folder = key.folder();
        let mut first: Option<Newest> = None;
        for _ in 0..TRIES {
            // Not a number that was used before an old state was put back: somebody may still hold that version. Asked before the
            // look, which then finds whatever was seen: a version seen later must be met by this one as by any other.
            let seen = self.highest_seen(key);
            let newest = self.newest(&folder).await?;
            let superseded =
                |newest: u64| PublishError::Superseded { key: key.clone(), fencing: lease.fencing(), newest };
            if let Some(manifest) = &newest.manifest {
                if manifest.fencing > lease.fencing() {
                    return Err(superseded(manifest.fencing));
                }
                if matches!(what, Advance::Barrier) && manifest.fencing == lease.fencing() {
                    return Ok(Arc::clone(manifest));
                }
                if let (Some(first), Advance::Change(change)) = (&first, what)
                    && manifest.fencing == lease.fencing()
                    && touched(first.manifest.as_deref(), manifest, change)
                {
                    return Err(superseded(manifest.fencing));
                }
            }
            if self.now() >= lease.until() {
                return Err(PublishError::LeaseExpired { key: key.clone() });
            }
            let next = self.next(lease, seen, &newest, what)?;
            let bytes = next.to_bytes();
            let path = manifest_path(&folder, next.version);
            let made = match self.inner.files.create(&path, bytes.clone()).await? {
                Created::New => true,
                // A request that S3 has carried out and that was sent again meets its own result.
                Created::Exists => {
                    self.inner.files.read(&path, SMALL_FILE_BYTES).await.is_ok_and(|there| there == bytes)
                }
            };
            if made {
                let manifest = self.remember(next);
                self.tell_holds(std::slice::from_ref(&manifest)).await?;
                return Ok(manifest);
            }
            first.get_or_insert(newest);
        }
        Err(crate::files::unavailable("publish", &folder, std::io::Error::other("others were faster too often")).into())
    }

    fn next(&self, lease: &Lease, seen: u64, newest: &Newest, what: &Advance<'_>) -> Result<Manifest, PublishError> {
        let key = lease.key().clone();
        let invalid = |message: String| PublishError::Invalid { key: key.clone(), message };
        let empty = Manifest {
            format: Format::ours(),
            key: key.clone(),
            version: newest.highest.max(seen) + 1,
            structure: String::new(),
            schema: Arc::new(Schema::empty()),
            index_schemas: BTreeMap::new(),
            covers: None,
            checked_at: 0,
            published_at: self.now(),
            fencing: lease.fencing(),
            partitions: Vec::new(),
        };
        let (version, published_at, fencing) = (empty.version, empty.published_at, empty.fencing);
        let next = match what {
            Advance::Retire => empty,
            Advance::Barrier => match newest.manifest.as_deref() {
                Some(manifest) => Manifest { version, published_at, fencing, ..manifest.clone() },
                None => empty,
            },
            Advance::Change(change) => {
                if change.structure.is_empty() {
                    return Err(invalid("the structure has no digest".to_owned()));
                }
                let before = newest.manifest.as_deref().filter(|manifest| manifest.structure == change.structure);
                let mut partitions = Vec::new();
                let mut index_schemas = change.index_schemas.clone();
                if let Some(before) = before {
                    if before.schema != change.schema {
                        return Err(invalid("one structure has one schema".to_owned()));
                    }
                    let gone = |range: &PartitionRange| {
                        change.remove.contains(range)
                            || change.replace.iter().any(|partition| &partition.range == range)
                    };
                    partitions.extend(before.partitions.iter().filter(|partition| !gone(&partition.range)).cloned());
                    for (name, schema) in &before.index_schemas {
                        if index_schemas.entry(name.clone()).or_insert_with(|| Arc::clone(schema)) != schema {
                            return Err(invalid(format!("one structure has one schema of the index {name}")));
                        }
                    }
                }
                partitions.extend(change.replace.iter().cloned());
                partitions.sort_by(|a, b| a.range.cmp(&b.range));
                Manifest {
                    structure: change.structure.clone(),
                    schema: Arc::clone(&change.schema),
                    index_schemas,
                    covers: change.covers,
                    checked_at: change.checked_at,
                    partitions,
                    ..empty
                }
            }
        };
        next.check().map_err(invalid)?;
        Ok(next)
    }
}

/// Whether somebody under the same lease has changed what this change touches, between two looks.
fn touched(first: Option<&Manifest>, now: &Manifest, change: &Change<'_>) -> bool {
    let structure_changed = first.is_some_and(|first| first.structure != now.structure);
    let ranges = change.replace.iter().map(|partition| &partition.range).chain(&change.remove);
    let partition_changed =
        ranges.into_iter().any(|range| first.and_then(|first| first.partition(range)) != now.partition(range));
    structure_changed || partition_changed
}
