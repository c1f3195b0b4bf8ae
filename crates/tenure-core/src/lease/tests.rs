use super::*;
use crate::types::{Key, KvBytes, RecordRevision, Revision, Version};
use proptest::collection::vec;
use proptest::prelude::*;

fn grant(leases: &mut Leases, id: i64, ttl_seconds: i64) {
    let entry = LeaseEntry { id: LeaseId(id), ttl_seconds, remaining_ttl_seconds: 0 };
    leases.install_table(&TableChange::LeasePut(entry));
}

fn record(key: &'static str, change: Change) -> Record {
    let version = Version { at: RecordRevision::first_of(Revision(2)), created: Revision(2), version: 1 };
    Record { key: Key::from(key), version, change, kv: KvBytes::default() }
}

fn put(leases: &mut Leases, key: &'static str, lease: i64) {
    let lease = (lease != 0).then_some(LeaseId(lease));
    leases.install_record(&record(key, Change::Put { lease }));
}

fn keys(leases: &Leases, id: i64) -> Vec<&[u8]> {
    leases.keys_of(LeaseId(id)).collect()
}

#[test]
fn p3_a_put_moves_its_key_to_the_new_lease_and_lease_0_detaches() {
    let mut leases = Leases::default();
    grant(&mut leases, 1, 10);
    grant(&mut leases, -7, 10);
    put(&mut leases, "b", 1);
    put(&mut leases, "a", 1);
    assert_eq!(keys(&leases, 1), [b"a", b"b"], "ascending");
    put(&mut leases, "a", -7);
    assert_eq!((keys(&leases, 1), keys(&leases, -7)), (vec![&b"b"[..]], vec![&b"a"[..]]));
    assert_eq!(leases.lease_of(b"a"), Some(LeaseId(-7)));
    put(&mut leases, "a", 0);
    assert_eq!((keys(&leases, -7).len(), leases.lease_of(b"a")), (0, None));
}

#[test]
fn d2_a_delete_detaches() {
    let mut leases = Leases::default();
    grant(&mut leases, 1, 10);
    put(&mut leases, "a", 1);
    leases.install_record(&record("a", Change::Delete));
    assert_eq!((keys(&leases, 1).len(), leases.lease_of(b"a")), (0, None));
}

#[test]
fn a_checkpoint_keeps_the_keys() {
    let mut leases = Leases::default();
    grant(&mut leases, 1, 10);
    put(&mut leases, "a", 1);
    let checkpoint = LeaseRemaining { id: LeaseId(1), remaining_ttl_seconds: 4 };
    let entry = leases.checkpointed(checkpoint).expect("changes it");
    leases.install_table(&TableChange::LeasePut(entry));
    assert_eq!(leases.lease(LeaseId(1)), Some(entry));
    assert_eq!((entry.ttl_seconds, entry.remaining_ttl_seconds), (10, 4));
    assert_eq!(keys(&leases, 1), [b"a"]);
    assert_eq!(leases.checkpointed(checkpoint), None, "a second time changes nothing");
    let unknown = LeaseRemaining { id: LeaseId(2), remaining_ttl_seconds: 4 };
    assert_eq!(leases.checkpointed(unknown), None);
}

#[test]
fn versions_that_name_a_lease_long_gone_attach_nothing() {
    let mut leases = Leases::default();
    put(&mut leases, "a", 1);
    assert_eq!(leases, Leases::default());
}

proptest! {
    /// However it came about, a key is attached to the lease that its newest version names, if that exists.
    #[test]
    fn attachments_follow_the_newest_version(steps in vec((0..4i64, 0..6usize, 0..3u8), 0..60)) {
        const KEYS: [&str; 6] = ["a", "aa", "b", "c", "d", "e"];
        let mut leases = Leases::default();
        let mut alive = BTreeSet::new();
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for (id, key, step) in steps {
            match step {
                0 if id != 0 => {
                    grant(&mut leases, id, 5);
                    alive.insert(id);
                }
                1 if id != 0 => {
                    leases.install_table(&TableChange::LeaseDelete(LeaseId(id)));
                    alive.remove(&id);
                    newest.retain(|_, lease| *lease != id);
                }
                _ if id == 0 || alive.contains(&id) => {
                    put(&mut leases, KEYS[key], id);
                    newest.insert(KEYS[key], id);
                }
                _ => {}
            }
            for key in KEYS {
                let expected = newest.get(key).copied().filter(|id| *id != 0).map(LeaseId);
                prop_assert_eq!(leases.lease_of(key.as_bytes()), expected);
            }
            for id in 1..4 {
                let mut expected: Vec<_> = newest.iter().filter(|(_, lease)| **lease == id).collect();
                expected.sort();
                let expected: Vec<_> = expected.into_iter().map(|(key, _)| key.as_bytes()).collect();
                prop_assert_eq!(keys(&leases, id), expected);
            }
        }
    }
}
