//! Leases: what exists, which keys are attached, and the leader's clock of them.
//!
//! [`Leases`] is replicated state, the same on every member, and knows no time: a lease exists from its grant to
//! its revocation. When that is due is known to the leader's clock alone.

mod clock;

pub use clock::{LEASE_EXPIRIES_PER_SECOND_MAX, LeaseClock, Renewal};

use crate::command::LeaseRemaining;
use crate::effects::{LeaseEntry, TableChange};
use crate::types::{Change, LeaseId, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The longest life that can be granted, in seconds (L2).
pub const LEASE_TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// Leases and what is attached to them.
///
/// Attachments are not stored anywhere: the newest version of a key says them, so they come back with the
/// records at a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    leases: BTreeMap<LeaseId, Lease>,
    /// The lease that each attached key is attached to. Its keys are those of all `Lease::keys`, the same allocations.
    attached: BTreeMap<Arc<[u8]>, LeaseId>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lease {
    ttl_seconds: i64,
    remaining_ttl_seconds: i64,
    keys: BTreeSet<Arc<[u8]>>,
}

impl Leases {
    /// Whether `id` exists.
    #[must_use]
    pub fn contains(&self, id: LeaseId) -> bool {
        self.leases.contains_key(&id)
    }

    /// The lease `id` with its granted and checkpointed life.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<LeaseEntry> {
        self.leases.get(&id).map(|lease| lease.entry(id))
    }

    /// The lease that `key` is attached to.
    #[must_use]
    pub fn lease_of(&self, key: &[u8]) -> Option<LeaseId> {
        self.attached.get(key).copied()
    }

    /// The keys attached to `id`, ascending; none if it does not exist.
    pub fn keys_of(&self, id: LeaseId) -> impl Iterator<Item = &[u8]> + '_ {
        self.leases.get(&id).into_iter().flat_map(|lease| lease.keys.iter().map(|key| &key[..]))
    }

    /// All leases by ascending id. The order that clients see (L10, by expiry) is the clock's to know.
    pub fn iter(&self) -> impl Iterator<Item = LeaseEntry> + '_ {
        self.leases.iter().map(|(id, lease)| lease.entry(*id))
    }

    /// How many leases there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there is no lease.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// The entry that a checkpoint makes of a lease, if it exists and the checkpoint changes it (L8).
    pub(crate) fn checkpointed(&self, checkpoint: LeaseRemaining) -> Option<LeaseEntry> {
        let entry = self.lease(checkpoint.id)?;
        let remaining_ttl_seconds = checkpoint.remaining_ttl_seconds;
        (entry.remaining_ttl_seconds != remaining_ttl_seconds)
            .then_some(LeaseEntry { remaining_ttl_seconds, ..entry })
    }

    pub(crate) fn install_record(&mut self, record: &Record) {
        let lease = match record.change {
            Change::Put { lease } => lease,
            Change::Delete => None,
        };
        self.take_up(record.key.as_slice(), lease);
    }

    /// The newest record of `key` says that it is attached to `lease`, or to none.
    pub(crate) fn take_up(&mut self, key: &[u8], lease: Option<LeaseId>) {
        if self.attached.is_empty() && lease.is_none() {
            return;
        }
        if self.lease_of(key) != lease {
            self.detach(key);
            if let Some(id) = lease {
                self.attach(id, key);
            }
        }
    }

    pub(crate) fn install_table(&mut self, change: &TableChange) {
        match change {
            TableChange::LeasePut(entry) => {
                let lease = self.leases.entry(entry.id).or_default();
                lease.ttl_seconds = entry.ttl_seconds;
                lease.remaining_ttl_seconds = entry.remaining_ttl_seconds;
            }
            TableChange::LeaseDelete(id) => {
                for key in self.leases.remove(id).into_iter().flat_map(|lease| lease.keys) {
                    self.attached.remove(&key);
                }
            }
            _ => {}
        }
    }

    /// A lease that does not exist gets no keys: at a restart old versions name leases that are long gone.
    fn attach(&mut self, id: LeaseId, key: &[u8]) {
        if let Some(lease) = self.leases.get_mut(&id) {
            let key: Arc<[u8]> = key.into();
            lease.keys.insert(Arc::clone(&key));
            self.attached.insert(key, id);
        }
    }

    fn detach(&mut self, key: &[u8]) {
        if let Some(lease) = self.attached.remove(key).and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.remove(key);
        }
    }
}

impl Lease {
    fn entry(&self, id: LeaseId) -> LeaseEntry {
        let Lease { ttl_seconds, remaining_ttl_seconds, .. } = *self;
        LeaseEntry { id, ttl_seconds, remaining_ttl_seconds }
    }
}

#[cfg(test)]
mod tests;
