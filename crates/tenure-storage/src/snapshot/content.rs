//! What is in which bucket of etcd's database.

use super::SnapshotError;
use crate::store::{RecordScan, Store, StoredRecord};
use prost::Message;
use std::collections::BTreeMap;
use std::error::Error;
use tenure_api::{etcdserverpb, leasepb};
use tenure_core::auth::Auth;
use tenure_core::command::AlarmType;
use tenure_core::state::{AlarmEntry, LeaseEntry, StateMachine, TableChange};
use tenure_core::types::{LogIndex, RecordRevision, Revision, Term};

/// The state of a member at one applied index.
#[derive(Clone, Debug)]
pub struct SnapshotView<R> {
    /// The index of the last entry whose effects are in the view.
    pub applied: LogIndex,
    /// The term of that entry.
    pub term: Term,
    /// The tables, as the changes that make them out of nothing, in order.
    pub tables: Vec<TableChange>,
    /// The revision up to which a compaction has removed everything that it may remove (`finishedCompactRev`). If it is `None` or
    /// older than the table's revision, an etcd that takes the snapshot runs the compaction to its end.
    pub finished_compaction: Option<Revision>,
    /// The records in ascending order, up to the revision of the view. Of a key whose deletion is left out the
    /// older records must be left out too.
    pub records: R,
}

impl SnapshotView<RecordScan> {
    /// The state of a member as it is now. `state` is borrowed, so it cannot change meanwhile; as its records are
    /// marked dead only after it has changed, none that it knows is missing. What comes later changes nothing in the
    /// view, and the view holds no lock.
    #[must_use]
    pub fn capture(state: &StateMachine, store: &Store) -> Self {
        Self {
            applied: state.applied(),
            term: state.applied_term(),
            tables: state.tables(),
            finished_compaction: None,
            records: store.scan(RecordRevision::default(), state.mvcc.revision()),
        }
    }
}

/// Takes buckets and their pairs, both in ascending order.
pub(super) trait BucketSink {
    /// All pairs of the bucket `name`.
    fn bucket(
        &mut self,
        name: &[u8],
        pairs: &mut dyn FnMut(&mut PairSink<'_>) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError>;
}

/// Takes the pairs of one bucket: key, value.
pub(super) type PairSink<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), SnapshotError> + 'a;

/// All buckets of etcd's database but `key`.
#[derive(Debug, Default)]
struct Tables(BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>);

/// Every bucket that etcd 3.5 and later make, `key` too.
const BUCKETS: [&str; 10] = [
    "alarm",
    "auth",
    "authRoles",
    "authUsers",
    "cluster",
    KEY_BUCKET,
    "lease",
    "members",
    "members_removed",
    "meta",
];
pub(super) const KEY_BUCKET: &str = "key";

/// The size of a record's key in the bucket `key`.
const PUT_KEY_BYTES: usize = 17;
pub(super) const TOMBSTONE_KEY_BYTES: usize = 18;

/// Keys of `meta` that members with the same data may hold different values for: the hash skips them.
const UNHASHED: [&[u8]; 3] = [b"consistent_index", b"term", b"storageVersion"];

/// Gives all buckets of a view to `sink`, in the order of the file.
pub(super) fn write_buckets<E: Error + Send + Sync + 'static>(
    view: SnapshotView<impl IntoIterator<Item = Result<StoredRecord, E>>>,
    sink: &mut impl BucketSink,
) -> Result<(), SnapshotError> {
    let tables = Tables::of(&view);
    let mut records = Some(view.records);
    for name in BUCKETS {
        sink.bucket(name.as_bytes(), &mut |put| match name {
            KEY_BUCKET => write_records(records.take().into_iter().flatten(), put),
            _ => tables.0.get(name).into_iter().flatten().try_for_each(|(key, value)| put(key, value)),
        })?;
    }
    Ok(())
}

fn write_records<E: Error + Send + Sync + 'static>(
    records: impl Iterator<Item = Result<StoredRecord, E>>,
    put: &mut PairSink<'_>,
) -> Result<(), SnapshotError> {
    for record in records {
        let record = record.map_err(|error| SnapshotError::Record(error.into()))?;
        let key = revision_key(record.at, record.tombstone);
        put(&key[..if record.tombstone { TOMBSTONE_KEY_BYTES } else { PUT_KEY_BYTES }], &record.kv.0)?;
    }
    Ok(())
}

/// The key of a record: main revision, `_`, sub, and for a deletion `t` behind it.
fn revision_key(at: RecordRevision, tombstone: bool) -> [u8; TOMBSTONE_KEY_BYTES] {
    let mut key = [b'_'; TOMBSTONE_KEY_BYTES];
    key[..8].copy_from_slice(&at.main.0.to_be_bytes());
    key[9..17].copy_from_slice(&u64::from(at.sub).to_be_bytes());
    key[17] = if tombstone { b't' } else { 0 };
    key
}

/// The main revision in a key of the bucket `key`, or in a revision of `meta`.
pub(super) fn main_revision(key: &[u8]) -> Option<Revision> {
    Some(Revision(i64::from_be_bytes(key.get(..8)?.try_into().ok()?)))
}

impl Tables {
    fn of<R>(view: &SnapshotView<R>) -> Self {
        let mut tables = Self::default();
        tables.put("meta", "consistent_index", view.applied.0.to_be_bytes());
        tables.put("meta", "term", view.term.0.to_be_bytes());
        // What a store has on which authentication was never touched.
        tables.put("auth", "authRevision", Auth::REVISION_FIRST.to_be_bytes());
        if let Some(revision) = view.finished_compaction {
            tables.put("meta", "finishedCompactRev", compaction_value(revision));
        }
        view.tables.iter().for_each(|change| tables.change(change));
        tables
    }

    fn put(&mut self, bucket: &'static str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.0.entry(bucket).or_default().insert(key.as_ref().to_vec(), value.as_ref().to_vec());
    }

    fn remove(&mut self, bucket: &'static str, key: impl AsRef<[u8]>) {
        if let Some(table) = self.0.get_mut(bucket) {
            table.remove(key.as_ref());
        }
    }

    fn change(&mut self, change: &TableChange) {
        match change {
            TableChange::LeasePut(lease) => self.put("lease", lease.id.0.to_be_bytes(), lease_value(lease)),
            TableChange::LeaseDelete(id) => self.remove("lease", id.0.to_be_bytes()),
            TableChange::AlarmPut(alarm) => self.put("alarm", alarm_key(alarm), b""),
            TableChange::AlarmDelete(alarm) => self.remove("alarm", alarm_key(alarm)),
            TableChange::CompactRevision(revision) => {
                self.put("meta", "scheduledCompactRev", compaction_value(*revision));
            }
            TableChange::MemberPut(id, json) => self.put("members", format!("{:x}", id.0), json),
            TableChange::MemberRemove(id) => {
                self.remove("members", format!("{:x}", id.0));
                self.put("members_removed", format!("{:x}", id.0), "removed");
            }
            TableChange::ClusterVersion(version) => self.put("cluster", "clusterVersion", version),
            TableChange::Downgrade(json) => self.put("cluster", "downgrade", json),
            TableChange::ConfState(json) => self.put("meta", "confState", json),
            TableChange::StorageVersion(version) => self.put("meta", "storageVersion", version),
            TableChange::AuthEnabled(enabled) => self.put("auth", "authEnabled", [u8::from(*enabled)]),
            TableChange::AuthRevision(revision) => self.put("auth", "authRevision", revision.to_be_bytes()),
            TableChange::AuthUserPut(user) => self.put("authUsers", &user.name, user.encode()),
            TableChange::AuthUserDelete(name) => self.remove("authUsers", name),
            TableChange::AuthRolePut(role) => self.put("authRoles", &role.name, role.encode()),
            TableChange::AuthRoleDelete(name) => self.remove("authRoles", name),
        }
    }
}

fn compaction_value(revision: Revision) -> Vec<u8> {
    revision_key(RecordRevision::first_of(revision), false)[..PUT_KEY_BYTES].to_vec()
}

fn lease_value(lease: &LeaseEntry) -> Vec<u8> {
    let lease =
        leasepb::Lease { id: lease.id.0, ttl: lease.ttl_seconds, remaining_ttl: lease.remaining_ttl_seconds };
    lease.encode_to_vec()
}

fn alarm_key(alarm: &AlarmEntry) -> Vec<u8> {
    let kind = match alarm.alarm {
        AlarmType::NoSpace => etcdserverpb::AlarmType::Nospace,
        AlarmType::Corrupt => etcdserverpb::AlarmType::Corrupt,
    };
    etcdserverpb::AlarmMember { member_id: alarm.member.0, alarm: kind.into() }.encode_to_vec()
}

/// The hash of all that is in the database of a view, as etcd's `Hash` call answers it (N2): the CRC-32C of every bucket's name
/// and then its keys and values, without the keys of `meta` that differ between members with the same data.
///
/// # Errors
/// [`SnapshotError::Record`] if a record cannot be read.
pub fn content_hash<E: Error + Send + Sync + 'static>(
    view: SnapshotView<impl IntoIterator<Item = Result<StoredRecord, E>>>,
) -> Result<u32, SnapshotError> {
    let mut hash = Hash { crc: 0 };
    write_buckets(view, &mut hash)?;
    Ok(hash.crc)
}

struct Hash {
    crc: u32,
}

impl BucketSink for Hash {
    fn bucket(
        &mut self,
        name: &[u8],
        pairs: &mut dyn FnMut(&mut PairSink<'_>) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        self.crc = crc32c::crc32c_append(self.crc, name);
        pairs(&mut |key, value| {
            if name != b"meta" || !UNHASHED.contains(&key) {
                self.crc = crc32c::crc32c_append(crc32c::crc32c_append(self.crc, key), value);
            }
            Ok(())
        })
    }
}
