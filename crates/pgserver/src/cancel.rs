//! Who may cancel what: the keys of the sessions, and for each the one statement that runs now.
//!
//! Every statement has its own token. A cancel request that comes late finds no token, or that of a later statement only if
//! that one already runs: as in PostgreSQL, it is the running statement that is meant.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

/// All sessions of one server.
#[derive(Debug, Default)]
pub(crate) struct CancelKeys {
    sessions: DashMap<i32, Arc<Slot>>,
    last_process_id: AtomicI32,
}

#[derive(Debug)]
struct Slot {
    secret: u32,
    running: Mutex<Option<CancellationToken>>,
}

impl CancelKeys {
    /// A new session's identity; it can be cancelled until the result is dropped.
    pub(crate) fn register(self: &Arc<Self>, secret: u32) -> CancelKey {
        let slot = Arc::new(Slot { secret, running: Mutex::new(None) });
        loop {
            let process_id = self.last_process_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & i32::MAX;
            if process_id == 0 {
                continue;
            }
            // Only after 2³¹ sessions can the number still be in use.
            if let dashmap::Entry::Vacant(entry) = self.sessions.entry(process_id) {
                entry.insert(Arc::clone(&slot));
                return CancelKey { process_id, slot, keys: Arc::clone(self) };
            }
        }
    }

    /// Cancels what the session runs now; `false` for a wrong key and for an idle session, which the client cannot tell apart.
    pub(crate) fn cancel(&self, process_id: i32, secret: u32) -> bool {
        let slot = self.sessions.get(&process_id).map(|entry| Arc::clone(entry.value()));
        // The comparison happens for unknown sessions too and does not stop at the first byte that differs.
        let expected = slot.as_ref().map_or(!secret, |slot| slot.secret);
        let same = std::hint::black_box(expected ^ secret) == 0;
        let Some(slot) = slot.filter(|_| same) else { return false };
        let running = slot.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.as_ref() {
            Some(token) => {
                token.cancel();
                true
            }
            None => false,
        }
    }
}

/// One session's place among the [`CancelKeys`].
#[derive(Debug)]
pub(crate) struct CancelKey {
    pub(crate) process_id: i32,
    slot: Arc<Slot>,
    keys: Arc<CancelKeys>,
}

impl CancelKey {
    pub(crate) fn secret(&self) -> u32 {
        self.slot.secret
    }

    /// While the result lives, a cancel request for this session cancels `token`.
    pub(crate) fn running(&self, token: &CancellationToken) -> Running {
        *self.slot.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Running { slot: Arc::clone(&self.slot) }
    }
}

impl Drop for CancelKey {
    fn drop(&mut self) {
        self.keys.sessions.remove(&self.process_id);
    }
}

pub(crate) struct Running {
    slot: Arc<Slot>,
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.slot.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
