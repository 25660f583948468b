//! Leases: who may publish a rollup.
//!
//! A lease has a number that only ever grows, and each version of a manifest carries the number under which it was published. A
//! version is never published under a smaller number than the newest one has. Who takes over a lease that was not given back
//! publishes the newest version again under the new number (a *barrier*): from then on the one who slept cannot publish, whatever
//! its clock says. The times in a lease only decide when it may be taken over.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::files::{Created, SMALL_FILE_BYTES};
use crate::publish::Advance;
use crate::{PublishError, RollupKey, Store, StoreError};

/// The right to publish one rollup, for a while.
#[derive(Debug)]
pub struct Lease {
    key: RollupKey,
    holder: String,
    fencing: u64,
    /// UTC microseconds.
    until: AtomicI64,
}

impl Lease {
    /// The rollup.
    pub fn key(&self) -> &RollupKey {
        &self.key
    }

    /// The number under which this lease publishes.
    pub fn fencing(&self) -> u64 {
        self.fencing
    }

    /// When it runs out, UTC microseconds.
    pub fn until(&self) -> i64 {
        self.until.load(Ordering::Relaxed)
    }
}

/// What is in the file of a lease.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LeaseFile {
    pub(crate) key: RollupKey,
    holder: String,
    until: i64,
    /// Given back: its holder will not publish any more.
    released: bool,
}

impl Store {
    /// Takes the lease of a rollup, until `now` plus `lasts`; None while somebody else, or an earlier run of this holder, has it.
    ///
    /// `now` is in UTC microseconds, by the store's clock ([`Store::now`]), which the workers of one store roughly share.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Full`] if the lease cannot be written.
    pub async fn lease(
        &self,
        key: &RollupKey,
        holder: &str,
        lasts: Duration,
        now: i64,
    ) -> Result<Option<Lease>, StoreError> {
        let folder = key.folder();
        let newest_file = self.lease_numbers(&folder).await?.last().copied();
        let mut given_back = true;
        if let Some(number) = newest_file
            && let Some(file) = self.lease_file(&folder, number).await?
        {
            if !file.released && now < file.until {
                return Ok(None);
            }
            given_back = file.released;
        } else if newest_file.is_some() {
            // Unreadable: its holder may be there.
            given_back = false;
        }
        let published = self.newest_fencing(key).await?;
        let fencing = newest_file.unwrap_or(0).max(published) + 1;
        let until = now.saturating_add(micros(lasts));
        let file = LeaseFile { key: key.clone(), holder: holder.to_owned(), until, released: false };
        match self.inner.files.create(&lease_path(&folder, fencing), to_bytes(&file)).await? {
            Created::Exists => return Ok(None),
            Created::New => {}
        }
        // Between the listing and this file a later lease may have come and gone.
        if self.lease_numbers(&folder).await?.last().is_some_and(|last| *last > fencing) {
            return Ok(None);
        }
        let lease = Lease { key: key.clone(), holder: holder.to_owned(), fencing, until: AtomicI64::new(until) };
        if !given_back && !self.raise_barrier(&lease).await? {
            return Ok(None);
        }
        Ok(Some(lease))
    }

    /// Prolongs a lease to `now` plus `lasts`. False if it has run out or somebody has taken over: then nothing can be published under
    /// it any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Full`] if the lease cannot be written.
    pub async fn renew(&self, lease: &Lease, lasts: Duration, now: i64) -> Result<bool, StoreError> {
        if now >= lease.until() || !self.is_newest(lease).await? {
            return Ok(false);
        }
        let until = now.saturating_add(micros(lasts));
        self.write_lease(lease, until, false).await?;
        lease.until.store(until, Ordering::Relaxed);
        Ok(true)
    }

    /// Gives a lease back, so that the next one need not wait.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Full`] if that cannot be written; it runs out by itself then.
    pub async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        if self.is_newest(&lease).await? {
            self.write_lease(&lease, lease.until(), true).await?;
        }
        Ok(())
    }

    async fn is_newest(&self, lease: &Lease) -> Result<bool, StoreError> {
        let numbers = self.lease_numbers(&lease.key.folder()).await?;
        Ok(numbers.last() == Some(&lease.fencing))
    }

    async fn write_lease(&self, lease: &Lease, until: i64, released: bool) -> Result<(), StoreError> {
        let file = LeaseFile { key: lease.key.clone(), holder: lease.holder.clone(), until, released };
        self.inner.files.replace(&lease_path(&lease.key.folder(), lease.fencing), to_bytes(&file)).await
    }

    /// From here on no smaller number publishes. False if somebody with a larger one was faster.
    pub(crate) async fn raise_barrier(&self, lease: &Lease) -> Result<bool, StoreError> {
        match self.advance(lease, &Advance::Barrier).await {
            Ok(_) => Ok(true),
            Err(PublishError::Superseded { .. } | PublishError::LeaseExpired { .. }) => Ok(false),
            Err(PublishError::Store(error)) => Err(error),
            Err(PublishError::Invalid { key, message }) => Err(StoreError::Unstorable { key, message }),
        }
    }

    /// The numbers of the leases that have files, rising.
    pub(crate) async fn lease_numbers(&self, folder: &str) -> Result<Vec<u64>, StoreError> {
        let names = self.inner.files.names("leases").await?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| numbered(name, folder)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Whether the newest lease of a rollup is held by somebody at `now`, and its number.
    pub(crate) async fn newest_lease(&self, folder: &str, now: i64) -> Result<Option<(u64, bool)>, StoreError> {
        let Some(number) = self.lease_numbers(folder).await?.last().copied() else { return Ok(None) };
        let file = self.lease_file(folder, number).await?;
        Ok(Some((number, file.is_some_and(|file| !file.released && now < file.until))))
    }

    /// None if it is not there any more or damaged.
    pub(crate) async fn lease_file(&self, folder: &str, number: u64) -> Result<Option<LeaseFile>, StoreError> {
        match self.inner.files.read(&lease_path(folder, number), SMALL_FILE_BYTES).await {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(crate::files::ReadError::Unavailable(error)) => Err(error),
            Err(crate::files::ReadError::Missing | crate::files::ReadError::Unreadable(_)) => Ok(None),
        }
    }
}

pub(crate) fn lease_path(folder: &str, number: u64) -> String {
    format!("leases/{folder}.{number:020}.json")
}

/// The number in the name of a numbered file of this rollup.
pub(crate) fn numbered(name: &str, folder: &str) -> Option<u64> {
    let digits = name.strip_prefix(folder)?.strip_prefix('.')?.strip_suffix(".json")?;
    (digits.len() == 20 && digits.bytes().all(|c| c.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn to_bytes(file: &LeaseFile) -> Vec<u8> {
    serde_json::to_vec_pretty(file).expect("a lease has only values that JSON has")
}
