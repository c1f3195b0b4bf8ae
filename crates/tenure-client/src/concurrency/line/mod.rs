//! Those who stand in line: what locks and elections have in common.
//!
//! Whoever wants something puts a key, with the lease of his session. The oldest key is first in line. Everybody else waits
//! for the key just before his own to go, so a change wakes one, not all. Key layout and order are etcd's, so that programs
//! in all languages stand in the same line.
//!
//! * `slot`: a key that is named for the lease can be used by one at a time in a session.
//! * `place`: taking a place, and leaving it, whatever becomes of answers and futures.
//! * `hold`: a place that is first, watched.

mod hold;
mod place;
mod slot;

pub use hold::Hold;
pub(super) use place::{Ask, Place, Terms};
pub(super) use slot::{Permit, Slots};

use super::Session;
use crate::{Client, Error, EventKind, IntoBytes, LeaseId, Result, Revision};
use bytes::{BufMut, Bytes, BytesMut};
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

/// What the keys of a line begin with.
pub(super) fn prefix_of(name: impl IntoBytes) -> Bytes {
    joined(&name.into_bytes(), "/")
}

pub(super) fn joined(prefix: &[u8], rest: &str) -> Bytes {
    let mut key = BytesMut::with_capacity(prefix.len() + rest.len());
    key.put_slice(prefix);
    key.put_slice(rest.as_bytes());
    key.freeze()
}

/// The key of a session in a line, as etcd's clients name it: a lease with a negative number has a minus sign.
pub(super) fn key_of(prefix: &[u8], lease: LeaseId) -> Bytes {
    let sign = if lease.0 < 0 { "-" } else { "" };
    joined(prefix, &format!("{sign}{:x}", lease.0.unsigned_abs()))
}

/// A key that nobody else uses, named for the time in nanoseconds as in etcd's recipes. In this process it is the only one of
/// its name; with others it is all but certain, and found out by whoever creates the key.
pub(super) fn unique_key(prefix: &[u8]) -> Bytes {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX - 1);
    let later = |last: i64| Some(now.max(last.saturating_add(1)));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later).unwrap_or_default();
    joined(prefix, &now.max(last.saturating_add(1)).to_string())
}

/// A value that nobody else writes, to know one's own by.
pub(super) fn unique_value() -> Bytes {
    // Each state is random.
    let part = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", part(), part()).into()
}

/// Waits until a key is deleted at `from` or later. False if that cannot be said, because the history is compacted: then the
/// key is to be looked at again.
pub(crate) async fn deleted(client: &Client, key: &Bytes, from: Revision) -> Result<bool> {
    let mut changes = client.watch(key).start_revision(from).filter_put().await?;
    while let Some(response) = changes.next().await {
        match response {
            Ok(response) if response.events.iter().any(|event| event.kind == EventKind::Delete) => {
                return Ok(true);
            }
            Ok(_) => {}
            Err(Error::Compacted { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Err(Error::Closed)
}

/// Goes on after failures that pass by themselves, for as long as there is a point in it.
pub(super) struct Patience {
    pauses: Box<dyn Iterator<Item = Duration> + Send>,
    session: Option<Session>,
    /// How often more; without end if nothing.
    left: Option<u32>,
}

/// How often is tried again without a session whose end would end it.
const TRIES_MAX: u32 = 30;

impl Patience {
    /// Until the session ends.
    pub(super) fn of(session: &Session) -> Self {
        Patience { session: Some(session.clone()), ..Self::without_end(session.client()) }
    }

    /// Until the one who waits has enough.
    pub(super) fn without_end(client: &Client) -> Self {
        Patience { pauses: Box::new(client.rpc().backoff()), session: None, left: None }
    }

    /// For a bounded number of times.
    pub(super) fn bounded(client: &Client) -> Self {
        Patience { left: Some(TRIES_MAX), ..Self::without_end(client) }
    }

    /// Pauses after a failure that passes by itself.
    ///
    /// # Errors
    /// The failure, if it does not; [`Error::SessionExpired`] once the session has ended.
    pub(super) async fn after(&mut self, error: Error) -> Result<()> {
        if !passes(&error) {
            return Err(error);
        }
        if let Some(left) = &mut self.left {
            *left = match left.checked_sub(1) {
                Some(left) => left,
                None => return Err(error),
            };
        }
        let pause = tokio::time::sleep(self.pauses.next().unwrap_or_default());
        match &self.session {
            None => pause.await,
            Some(session) => tokio::select! {
                () = pause => {}
                _ = session.expired() => return Err(Error::SessionExpired),
            },
        }
        Ok(())
    }
}

/// Whether a failure is of the kind that passes by itself.
fn passes(error: &Error) -> bool {
    error.may_have_taken_effect()
        || error.code() == crate::Code::Unavailable
        || error.is(crate::EtcdError::RequestTooManyRequests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_are_named_as_in_etcd() {
        assert_eq!(key_of(b"lock/", LeaseId(0x694d_7e5a)), "lock/694d7e5a");
        assert_eq!(key_of(b"lock/", LeaseId(-7)), "lock/-7");
        assert_eq!(key_of(b"lock/", LeaseId(i64::MIN)), "lock/-8000000000000000");
        assert_eq!(prefix_of("lock"), "lock/");
    }

    #[test]
    fn unique_keys_differ_and_grow() {
        let keys: Vec<Bytes> = (0..10_000).map(|_| unique_key(b"q/")).collect();
        assert!(keys.is_sorted());
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    }
}
