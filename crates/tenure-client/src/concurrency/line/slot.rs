//! One place at a time under a key.
//!
//! Keys that are named for the lease are the same for everybody who shares the session: without more, two of them would hold
//! the same lock. So they first stand in line here.

use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio::sync::OwnedMutexGuard;

type Slot = Arc<tokio::sync::Mutex<()>>;

/// The keys that a session uses.
#[derive(Debug, Default)]
pub(in crate::concurrency) struct Slots {
    slots: Mutex<HashMap<Bytes, Weak<tokio::sync::Mutex<()>>>>,
}

/// Permission to use a key, given back when it is dropped.
#[derive(Debug)]
pub(in crate::concurrency) struct Permit {
    slot: Slot,
    _held: OwnedMutexGuard<()>,
}

impl Slots {
    fn slot(&self, key: &Bytes) -> Slot {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(key).and_then(Weak::upgrade) {
            return slot;
        }
        // Now and then those that nobody uses any more are forgotten; the work for it is in proportion to what was added.
        if slots.len().is_power_of_two() {
            slots.retain(|_, slot| slot.strong_count() > 0);
        }
        let slot = Slot::default();
        slots.insert(key.clone(), Arc::downgrade(&slot));
        slot
    }

    /// Waits until nobody else of this session uses the key; in the order of asking.
    pub(in crate::concurrency) async fn permit(&self, key: &Bytes) -> Permit {
        let slot = self.slot(key);
        Permit { _held: slot.clone().lock_owned().await, slot }
    }

    /// Nothing if somebody of this session uses the key.
    pub(in crate::concurrency) fn try_permit(&self, key: &Bytes) -> Option<Permit> {
        Permit::of(self.slot(key))
    }
}

impl Permit {
    fn of(slot: Slot) -> Option<Self> {
        Some(Permit { _held: slot.clone().try_lock_owned().ok()?, slot })
    }

    /// Gives it back. What is left can take it again later if nobody else has it then.
    pub(super) fn given_back(self) -> impl Fn() -> Option<Permit> {
        let slot = self.slot.clone();
        move || Permit::of(slot.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_used_by_one_at_a_time() {
        let slots = Slots::default();
        let permit = slots.permit(&"a".into()).await;
        assert!(slots.try_permit(&"a".into()).is_none());
        assert!(slots.try_permit(&"b".into()).is_some());
        drop(permit);
        let again = slots.try_permit(&"a".into()).unwrap().given_back();
        let taken = slots.try_permit(&"a".into()).unwrap();
        assert!(again().is_none());
        drop(taken);
        assert!(again().is_some());
    }

    #[test]
    fn keys_that_nobody_uses_are_forgotten() {
        let slots = Slots::default();
        let used: Vec<Permit> =
            (0..3).map(|number| slots.try_permit(&format!("used {number}").into()).unwrap()).collect();
        for number in 0..10_000 {
            drop(slots.try_permit(&format!("{number}").into()));
        }
        assert!(slots.slots.lock().len() <= 8);
        assert!(used.iter().all(|permit| slots.try_permit(&"used 1".into()).is_none() && permit.slot.try_lock().is_err()));
    }
}
