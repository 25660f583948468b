//! Slows down guessing: who fails to log in as one user from one address waits longer each time; nobody else does.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

/// Failures that cost nothing: people mistype.
const FREE_FAILURES: u32 = 4;
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The delay doubles so often; the longest stays well below the time for a login.
const DOUBLINGS_MAX: u32 = 5;
/// Failures are forgotten so long after the last of them.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Addresses and users that are remembered at most; beyond, new ones are not slowed down.
const REMEMBERED_MAX: usize = 10_000;

/// Recent failures by address and user. Users are kept as hashes: their names are as long as a stranger likes.
#[derive(Default)]
pub(crate) struct Backoff {
    hasher: RandomState,
    failures: DashMap<(IpAddr, u64), (u32, Instant)>,
}

impl Backoff {
    /// Counts a failure; gives how long its answer is to wait.
    pub(crate) fn failed(&self, address: IpAddr, user: &str) -> Duration {
        let now = Instant::now();
        if self.failures.len() >= REMEMBERED_MAX {
            self.failures.retain(|_, (_, last)| now - *last < FORGOTTEN_AFTER);
            if self.failures.len() >= REMEMBERED_MAX {
                return Duration::ZERO;
            }
        }
        let mut entry = self.failures.entry((address, self.hasher.hash_one(user))).or_insert((0, now));
        let (count, last) = *entry;
        let count = if now - last < FORGOTTEN_AFTER { count.saturating_add(1) } else { 1 };
        *entry = (count, now);
        Self::delay(count)
    }

    /// How long a right password is to wait: as long as a wrong one, or an attacker would not wait for the answer. Forgets.
    pub(crate) fn succeeded(&self, address: IpAddr, user: &str) -> Duration {
        match self.failures.remove(&(address, self.hasher.hash_one(user))) {
            Some((_, (count, last))) if last.elapsed() < FORGOTTEN_AFTER => Self::delay(count.saturating_add(1)),
            _ => Duration::ZERO,
        }
    }

    fn delay(count: u32) -> Duration {
        match count.checked_sub(FREE_FAILURES + 1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST_DELAY * 2_u32.pow(doublings.min(DOUBLINGS_MAX)),
        }
    }
}
