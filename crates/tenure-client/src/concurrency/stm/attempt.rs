//! What one run of a transaction has read and is going to write.

use super::Isolation;
use crate::{Compare, KeyValue, LeaseId, Op, Revision, kv::Txn};
use bytes::Bytes;
use std::collections::BTreeMap;

/// One run.
#[derive(Debug)]
pub(super) struct Attempt {
    isolation: Isolation,
    /// The revision of all reads; 0 while there is none.
    snapshot: Revision,
    /// What was fetched and has not been asked for.
    ahead: BTreeMap<Bytes, Option<KeyValue>>,
    reads: BTreeMap<Bytes, Option<KeyValue>>,
    writes: BTreeMap<Bytes, Write>,
}

#[derive(Debug)]
enum Write {
    Put { value: Bytes, lease: LeaseId },
    Delete,
}

impl Attempt {
    pub(super) fn new(isolation: Isolation) -> Self {
        Attempt {
            isolation,
            snapshot: 0,
            ahead: BTreeMap::new(),
            reads: BTreeMap::new(),
            writes: BTreeMap::new(),
        }
    }

    pub(super) fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// Nothing has been fetched yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.ahead.is_empty() && self.reads.is_empty()
    }

    /// The revision to read at; 0 for the newest.
    pub(super) fn snapshot(&self) -> Revision {
        self.snapshot
    }

    /// Keys were read at a revision.
    pub(super) fn fetched(
        &mut self,
        revision: Revision,
        pairs: impl IntoIterator<Item = (Bytes, Option<KeyValue>)>,
    ) {
        if self.isolation.has_snapshot() && self.snapshot == 0 {
            self.snapshot = revision;
        }
        self.ahead.extend(pairs);
    }

    /// What this run has written to a key: its value, or nothing if it deletes it.
    pub(super) fn written(&self, key: &Bytes) -> Option<Option<Bytes>> {
        self.writes.get(key).map(|write| match write {
            Write::Put { value, .. } => Some(value.clone()),
            Write::Delete => None,
        })
    }

    /// Reads a key that has been fetched. From now on it counts as read.
    pub(super) fn read(&mut self, key: &Bytes) -> Option<Option<KeyValue>> {
        if let Some((key, pair)) = self.ahead.remove_entry(key) {
            // What was read first stays.
            self.reads.entry(key).or_insert(pair);
        }
        self.reads.get(key).cloned()
    }

    pub(super) fn put(&mut self, key: Bytes, value: Bytes, lease: LeaseId) {
        self.writes.insert(key, Write::Put { value, lease });
    }

    pub(super) fn del(&mut self, key: Bytes) {
        self.writes.insert(key, Write::Delete);
    }

    /// The transaction: if the conditions hold, the writes; else the reads of the next run.
    pub(super) fn commit(&self) -> Txn {
        let ops = self.writes.iter().map(|(key, write)| match write {
            Write::Put { value, lease } => Op::Put(Op::put(key, value).lease(*lease)),
            Write::Delete => Op::Delete(Op::delete(key)),
        });
        Txn::new().when(self.conditions()).and_then(ops).or_else(self.keys_of_refusal().map(Op::get))
    }

    /// The keys that a refusal of the commit brings: all that was read. None if nothing is written, for then the commit would be a
    /// transaction that only reads, and etcd before 3.5.5 ends if the connection breaks while it carries one out.
    pub(super) fn keys_of_refusal(&self) -> impl Iterator<Item = &Bytes> {
        let count =
            if self.writes.is_empty() || self.isolation == Isolation::ReadCommitted { 0 } else { usize::MAX };
        self.reads.keys().take(count)
    }

    fn conditions(&self) -> Vec<Compare> {
        if self.isolation == Isolation::ReadCommitted {
            return Vec::new();
        }
        let unchanged = self.reads.iter().map(|(key, pair)| {
            Compare::mod_revision(key).equal(pair.as_ref().map_or(0, |pair| pair.mod_revision))
        });
        let mut conditions: Vec<Compare> = unchanged.collect();
        if self.isolation == Isolation::SerializableSnapshot && self.snapshot != 0 {
            // Keys that were read as well have a stricter condition already.
            let blind = self.writes.keys().filter(|key| !self.reads.contains_key(*key));
            conditions.extend(blind.map(|key| Compare::mod_revision(key).less(self.snapshot + 1)));
        }
        conditions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &'static str, mod_revision: Revision) -> (Bytes, Option<KeyValue>) {
        let key = Bytes::from(key);
        (key.clone(), Some(KeyValue { key, value: "v".into(), mod_revision, ..KeyValue::default() }))
    }

    /// Has read `a` (of revision 3) and `gone` at revision 7, writes `a` and `b`, deletes `c`.
    fn attempt(isolation: Isolation) -> Attempt {
        let mut attempt = Attempt::new(isolation);
        attempt.fetched(7, [pair("a", 3), ("gone".into(), None), pair("unread", 5)]);
        attempt.read(&"a".into()).unwrap().unwrap();
        assert_eq!(attempt.read(&"gone".into()), Some(None));
        assert_eq!(attempt.read(&"other".into()), None);
        attempt.put("a".into(), "1".into(), LeaseId(0));
        attempt.put("b".into(), "2".into(), LeaseId(9));
        attempt.del("c".into());
        attempt
    }

    #[test]
    fn conditions_are_those_of_the_level() {
        let reads = [Compare::mod_revision("a").equal(3), Compare::mod_revision("gone").equal(0)];
        let blind = [Compare::mod_revision("b").less(8), Compare::mod_revision("c").less(8)];
        assert_eq!(attempt(Isolation::SerializableSnapshot).conditions(), [&reads[..], &blind[..]].concat());
        assert_eq!(attempt(Isolation::Serializable).conditions(), reads);
        assert_eq!(attempt(Isolation::RepeatableReads).conditions(), reads);
        assert_eq!(attempt(Isolation::ReadCommitted).conditions(), []);
    }

    #[test]
    fn a_refusal_brings_what_was_read() {
        let txn = attempt(Isolation::Serializable).commit();
        assert_eq!(txn.failure, [Op::from(Op::get("a")), Op::get("gone").into()]);
        let writes =
            [Op::from(Op::put("a", "1")), Op::put("b", "2").lease(LeaseId(9)).into(), Op::delete("c").into()];
        assert_eq!(txn.success, writes);
    }

    #[test]
    fn nothing_that_only_reads_is_a_transaction_with_reads() {
        let mut attempt = Attempt::new(Isolation::Serializable);
        attempt.fetched(7, [pair("a", 3)]);
        attempt.read(&"a".into()).unwrap();
        let txn = attempt.commit();
        assert_eq!(txn.conditions, [Compare::mod_revision("a").equal(3)]);
        assert!(txn.success.is_empty() && txn.failure.is_empty());
    }

    #[test]
    fn what_was_read_first_stays() {
        let mut attempt = Attempt::new(Isolation::RepeatableReads);
        attempt.fetched(7, [pair("a", 3)]);
        attempt.read(&"a".into()).unwrap();
        attempt.fetched(9, [pair("a", 8)]);
        assert_eq!(attempt.read(&"a".into()).unwrap().unwrap().mod_revision, 3);
        assert_eq!(attempt.snapshot(), 0);
    }

    #[test]
    fn the_first_fetch_is_the_snapshot() {
        let mut attempt = Attempt::new(Isolation::Serializable);
        assert_eq!(attempt.snapshot(), 0);
        attempt.fetched(7, [pair("a", 3)]);
        attempt.fetched(9, [pair("b", 3)]);
        assert_eq!(attempt.snapshot(), 7);
    }

    #[test]
    fn own_writes_are_seen() {
        let attempt = attempt(Isolation::default());
        assert_eq!(attempt.written(&"b".into()), Some(Some("2".into())));
        assert_eq!(attempt.written(&"c".into()), Some(None));
        assert_eq!(attempt.written(&"unread".into()), None);
    }
}
