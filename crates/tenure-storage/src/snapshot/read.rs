//! etcd's database read as the state of a member: what another member sends.

use super::SnapshotError;
use super::content::{KEY_BUCKET, TOMBSTONE_KEY_BYTES, main_revision};
use crate::bolt::{BoltFile, Entries, ReadAt};
use crate::store::StoredRecord;
use bytes::Bytes;
use prost::Message;
use tenure_api::{etcdserverpb, leasepb};
use tenure_core::command::AlarmType;
use tenure_core::membership::{Downgrade, Member, conf_state_from_json};
use tenure_core::state::{AlarmEntry, AuthRole, AuthUser, LeaseEntry, TableChange};
use tenure_core::types::{KvBytes, LeaseId, LogIndex, MemberId, RecordRevision, Revision};

/// A database of etcd's buckets. It is read in pieces: memory does not grow with it.
#[derive(Debug)]
pub struct SnapshotContent<S> {
    file: BoltFile<S>,
}

impl<S: ReadAt> SnapshotContent<S> {
    /// Opens a database.
    ///
    /// # Errors
    /// [`SnapshotError::Database`] if it is none.
    pub fn open(source: S) -> Result<Self, SnapshotError> {
        Ok(Self { file: BoltFile::open(source)? })
    }

    /// The index of the last entry of the log whose effects it holds.
    ///
    /// # Errors
    /// As [`SnapshotContent::tables`].
    pub fn applied(&self) -> Result<LogIndex, SnapshotError> {
        let Some(meta) = self.file.bucket(b"meta")? else { return Ok(LogIndex(0)) };
        let value = meta.value(b"consistent_index")?;
        let number = value.as_deref().map(|value| number(value).ok_or_else(|| foreign("meta", value)));
        Ok(LogIndex(number.transpose()?.unwrap_or(0)))
    }

    /// All tables but the keys, as the changes that make them out of nothing.
    ///
    /// # Errors
    /// [`SnapshotError::Database`] if the database is malformed or cannot be read, [`SnapshotError::Foreign`] if a bucket holds what
    /// etcd does not put there.
    pub fn tables(&self) -> Result<Vec<TableChange>, SnapshotError> {
        let mut tables = Vec::new();
        for name in TABLES {
            let Some(bucket) = self.file.bucket(name.as_bytes())? else { continue };
            for pair in bucket.entries() {
                let (key, value) = pair?;
                match row(name, &key, &value) {
                    Ok(row) => tables.extend(row),
                    Err(Unreadable) => return Err(foreign(name, &key)),
                }
            }
        }
        Ok(tables)
    }

    /// All records, in ascending order.
    ///
    /// # Errors
    /// [`SnapshotError::Database`]; the records themselves can fail too.
    pub fn records(&self) -> Result<Records<'_, S>, SnapshotError> {
        let bucket = self.file.bucket(KEY_BUCKET.as_bytes())?;
        Ok(Records { entries: bucket.map(|bucket| bucket.entries()) })
    }
}

/// The records of a database.
#[derive(Debug)]
pub struct Records<'a, S> {
    entries: Option<Entries<'a, S>>,
}

impl<S: ReadAt> Iterator for Records<'_, S> {
    type Item = Result<StoredRecord, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.entries.as_mut()?.next()?;
        Some(pair.map_err(SnapshotError::from).and_then(|(key, value)| record(&key, value)))
    }
}

fn record(key: &[u8], value: Bytes) -> Result<StoredRecord, SnapshotError> {
    let at = record_revision(key).ok_or_else(|| foreign(KEY_BUCKET, key))?;
    let kv = KvBytes(value);
    kv.view()?;
    Ok(StoredRecord { at, tombstone: key.len() == TOMBSTONE_KEY_BYTES, kv })
}

fn record_revision(key: &[u8]) -> Option<RecordRevision> {
    let sub = u32::try_from(number(key.get(9..17)?)?).ok()?;
    let is_whole = key.len() == 17 || (key.len() == TOMBSTONE_KEY_BYTES && key[17] == b't');
    let main = main_revision(key).filter(|main| main.0 > 0)?;
    (is_whole && key[8] == b'_').then_some(RecordRevision { main, sub })
}

/// The buckets beside that of the keys.
const TABLES: [&str; 9] =
    ["alarm", "auth", "authRoles", "authUsers", "cluster", "lease", "members", "members_removed", "meta"];

/// It is not what etcd puts there.
struct Unreadable;

impl<E: std::error::Error> From<E> for Unreadable {
    fn from(_: E) -> Self {
        Self
    }
}

/// The change that makes a row; nothing for one that is told elsewhere or that no member needs.
fn row(bucket: &str, key: &[u8], value: &[u8]) -> Result<Option<TableChange>, Unreadable> {
    let shared = || Bytes::copy_from_slice(value);
    Ok(Some(match (bucket, key) {
        ("alarm", _) => match alarm(key)? {
            Some(alarm) => TableChange::AlarmPut(alarm),
            None => return Ok(None),
        },
        ("auth", b"authEnabled") => TableChange::AuthEnabled(value == [1]),
        ("auth", b"authRevision") => TableChange::AuthRevision(number(value).ok_or(Unreadable)?),
        ("authRoles", _) => TableChange::AuthRolePut(AuthRole::decode(shared()).ok_or(Unreadable)?),
        ("authUsers", _) => TableChange::AuthUserPut(AuthUser::decode(shared()).ok_or(Unreadable)?),
        ("cluster", b"clusterVersion") => TableChange::ClusterVersion(text(value)?),
        ("cluster", b"downgrade") => {
            Downgrade::from_json(value)?;
            TableChange::Downgrade(shared())
        }
        ("lease", _) => {
            let lease = leasepb::Lease::decode(value)?;
            TableChange::LeasePut(LeaseEntry {
                id: LeaseId(lease.id),
                ttl_seconds: lease.ttl,
                remaining_ttl_seconds: lease.remaining_ttl,
            })
        }
        ("members", _) => {
            Member::from_json(value)?;
            TableChange::MemberPut(member_id(key)?, shared())
        }
        ("members_removed", _) => TableChange::MemberRemove(member_id(key)?),
        ("meta", b"confState") => {
            conf_state_from_json(value)?;
            TableChange::ConfState(shared())
        }
        ("meta", b"storageVersion") => TableChange::StorageVersion(text(value)?),
        ("meta", b"scheduledCompactRev") => TableChange::CompactRevision(
            main_revision(value).filter(|main| *main >= Revision(0)).ok_or(Unreadable)?,
        ),
        _ => return Ok(None),
    }))
}

fn alarm(key: &[u8]) -> Result<Option<AlarmEntry>, Unreadable> {
    let row = etcdserverpb::AlarmMember::decode(key)?;
    let alarm = match row.alarm() {
        etcdserverpb::AlarmType::None => return Ok(None),
        etcdserverpb::AlarmType::Nospace => AlarmType::NoSpace,
        etcdserverpb::AlarmType::Corrupt => AlarmType::Corrupt,
    };
    Ok(Some(AlarmEntry { member: MemberId(row.member_id), alarm }))
}

fn member_id(key: &[u8]) -> Result<MemberId, Unreadable> {
    let text = std::str::from_utf8(key)?;
    Ok(MemberId(u64::from_str_radix(text, 16)?))
}

fn text(value: &[u8]) -> Result<String, Unreadable> {
    Ok(std::str::from_utf8(value)?.to_owned())
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

fn foreign(bucket: &'static str, key: &[u8]) -> SnapshotError {
    SnapshotError::Foreign { bucket, key: key.escape_ascii().to_string() }
}
