//! What the server must hold: the history, and what follows from it.

use anyhow::{Result, ensure};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tenure_api::mvccpb::KeyValue;

/// A put, or a deletion when there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub key: Bytes,
    pub value: Option<Bytes>,
    pub lease: i64,
}

type State = BTreeMap<Bytes, KeyValue>;

/// The history since the last compaction and the state it begins with.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    compacted: i64,
    base: State,
    log: BTreeMap<i64, Vec<Change>>,
    latest: State,
    leases: BTreeSet<i64>,
    revision: i64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            compacted: 0,
            base: State::new(),
            log: BTreeMap::new(),
            latest: State::new(),
            leases: BTreeSet::new(),
            revision: 1,
        }
    }
}

fn apply(state: &mut State, revision: i64, changes: &[Change]) {
    for change in changes {
        match &change.value {
            Some(value) => {
                let before = state.get(&change.key);
                let pair = KeyValue {
                    key: change.key.clone(),
                    create_revision: before.map_or(revision, |pair| pair.create_revision),
                    mod_revision: revision,
                    version: before.map_or(1, |pair| pair.version + 1),
                    value: value.clone(),
                    lease: change.lease,
                };
                state.insert(change.key.clone(), pair);
            }
            None => {
                state.remove(&change.key);
            }
        }
    }
}

impl Model {
    pub fn revision(&self) -> i64 {
        self.revision
    }

    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    pub fn append(&mut self, revision: i64, changes: Vec<Change>) {
        apply(&mut self.latest, revision, &changes);
        self.log.insert(revision, changes);
        self.revision = revision;
    }

    /// Only ever to a revision of the known history. Two clients may compact out of order: the higher one counts.
    pub fn compact(&mut self, revision: i64) {
        if revision <= self.compacted {
            return;
        }
        let rest = self.log.split_off(&(revision + 1));
        for (revision, changes) in std::mem::replace(&mut self.log, rest) {
            apply(&mut self.base, revision, &changes);
        }
        self.compacted = revision;
    }

    pub fn add_lease(&mut self, lease: i64) {
        self.leases.insert(lease);
    }

    pub fn forget_lease(&mut self, lease: i64) {
        self.leases.remove(&lease);
    }

    pub fn leases(&self) -> Vec<i64> {
        self.leases.iter().copied().collect()
    }

    /// Keys attached to a lease, in order.
    pub fn attached(&self, lease: i64) -> Vec<Bytes> {
        let pairs = self.latest.values().filter(|pair| pair.lease == lease);
        pairs.map(|pair| pair.key.clone()).collect()
    }

    /// The pair of a key now.
    pub fn get(&self, key: &Bytes) -> Option<&KeyValue> {
        self.latest.get(key)
    }

    /// What was known of the history from a revision on is still as it was.
    pub fn same_past(&self, from: i64, history: &BTreeMap<i64, Vec<Change>>) -> Result<()> {
        for (revision, changes) in self.log.range(from..) {
            let found = history.get(revision);
            ensure!(found == Some(changes), "revision {revision} was {changes:?} and is {found:?}");
        }
        Ok(())
    }

    /// The state at a revision is the one that follows from the history.
    pub fn same_state(&self, revision: i64, found: &[KeyValue]) -> Result<()> {
        let mut state = self.base.clone();
        for (&revision, changes) in self.log.range(..=revision) {
            apply(&mut state, revision, changes);
        }
        for (pair, expected) in found.iter().zip(state.values()) {
            ensure!(pair == expected, "at revision {revision}: {pair:?}, should be {expected:?}");
        }
        ensure!(
            found.len() == state.len(),
            "at revision {revision} there are {} keys, should be {}",
            found.len(),
            state.len()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, value: &'static str) -> Change {
        Change { key: key.into(), value: Some(value.into()), lease: 0 }
    }

    fn delete(key: &'static str) -> Change {
        Change { key: key.into(), value: None, lease: 0 }
    }

    fn model() -> Model {
        let mut model = Model::default();
        model.append(2, vec![put("a", "1"), put("b", "1")]);
        model.append(3, vec![put("a", "2")]);
        model.append(4, vec![delete("b")]);
        model
    }

    #[test]
    fn a_state_follows_from_the_history_also_after_a_compaction() {
        let mut model = model();
        let a = KeyValue {
            key: "a".into(),
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            value: "2".into(),
            lease: 0,
        };
        model.same_state(4, std::slice::from_ref(&a)).unwrap();
        model.compact(3);
        model.same_state(4, std::slice::from_ref(&a)).unwrap();
        assert!(model.same_state(3, std::slice::from_ref(&a)).is_err(), "b is missing");
        let stale = KeyValue { version: 1, ..a };
        assert!(model.same_state(4, &[stale]).is_err(), "another version");
    }

    #[test]
    fn a_changed_past_is_seen() {
        let model = model();
        let mut history = model.log.clone();
        model.same_past(2, &history).unwrap();
        history.remove(&3);
        assert!(model.same_past(2, &history).is_err());
    }
}
