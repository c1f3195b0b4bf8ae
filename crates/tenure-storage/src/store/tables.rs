//! The small tables, the applied index and the manifest: a `redb` database with one durable transaction a
//! checkpoint.

use super::StoreError;
use super::dead::DeadSet;
use super::format::ManifestRow;
use crate::disk::{Disk, DiskFile};
use bytes::Bytes;
use redb::{
    Database, Durability, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, Table,
    TableDefinition, TableError, Value, WriteTransaction,
};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tenure_core::command::AlarmType;
use tenure_core::state::{AlarmEntry, AuthRole, AuthUser, LeaseEntry, TableChange};
use tenure_core::types::{LeaseId, LogIndex, MemberId, RecordRevision, Revision, Term};

/// The name of the database in the directory of the store.
pub(super) const TABLES_FILE_NAME: &str = "tables.redb";
/// Its name while it is being made.
pub(super) const TABLES_NEW_FILE_NAME: &str = "tables.redb.new";

const TABLES_FORMAT: u64 = 1;

const POSITION: TableDefinition<&str, u64> = TableDefinition::new("position");
const COMPACTION: TableDefinition<&str, i64> = TableDefinition::new("compaction");
const CLUSTER: TableDefinition<&str, &[u8]> = TableDefinition::new("cluster");
const LEASE: TableDefinition<i64, (i64, i64)> = TableDefinition::new("lease");
const ALARM: TableDefinition<(u64, u32), ()> = TableDefinition::new("alarm");
const MEMBERS: TableDefinition<u64, &[u8]> = TableDefinition::new("members");
const MEMBERS_REMOVED: TableDefinition<u64, ()> = TableDefinition::new("members_removed");
const AUTH: TableDefinition<&str, u64> = TableDefinition::new("auth");
const AUTH_ROLES: TableDefinition<&str, &[u8]> = TableDefinition::new("auth_roles");
const AUTH_USERS: TableDefinition<&str, &[u8]> = TableDefinition::new("auth_users");
/// Sealed, end of records, records, first main, first sub, last main, last sub.
type SegmentColumns = (bool, u64, u32, i64, u32, i64, u32);
const SEGMENTS: TableDefinition<u64, SegmentColumns> = TableDefinition::new("segments");
const DEAD: TableDefinition<u64, &[u8]> = TableDefinition::new("dead");

/// The file of the database, as `redb` wants it.
#[derive(Debug)]
struct TablesFile {
    file: Arc<dyn DiskFile>,
    bytes: Arc<AtomicU64>,
}

impl redb::StorageBackend for TablesFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.bytes.store(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}

/// What one durable transaction changes.
#[derive(Debug, Default)]
pub(super) struct Commit<'a> {
    /// Whether everything that is there goes first: another member's content takes its place.
    pub replaces_all: bool,
    /// The position from now on, if it moves.
    pub position: Option<(LogIndex, Term)>,
    /// Changes of the tables, in order.
    pub changes: Vec<TableChange>,
    /// Rows of the manifest that are new or other than before.
    pub segments: Vec<ManifestRow>,
    /// Segments that are gone, with their dead.
    pub segments_removed: Vec<u64>,
    /// Dead records of segments, all of a segment each.
    pub dead: Vec<(u64, &'a DeadSet)>,
}

/// What the database holds.
#[derive(Debug, Default)]
pub(super) struct TablesContent {
    pub applied: LogIndex,
    pub term: Term,
    /// Whether all of it came from another member, and no checkpoint was made since.
    pub is_installed: bool,
    pub changes: Vec<TableChange>,
    /// In the order of the revisions.
    pub segments: Vec<ManifestRow>,
    /// The bits of [`DeadSet::encode`], by segment.
    pub dead: Vec<(u64, Vec<u8>)>,
}

/// The open database. One user at a time.
#[derive(Debug)]
pub(super) struct Tables {
    database: Database,
    path: PathBuf,
    bytes: Arc<AtomicU64>,
}

impl Tables {
    /// Makes the database in `dir`, durable under its final name once the directory is synced.
    pub fn create(disk: &dyn Disk, dir: &Path, cache_bytes_max: usize) -> Result<(), StoreError> {
        let path = dir.join(TABLES_NEW_FILE_NAME);
        let file = disk.create(&path).map_err(StoreError::io("create", &path))?;
        let tables = Self::with_file(file, path.clone(), cache_bytes_max)?;
        tables.commit(&Commit { position: Some((LogIndex(0), Term(0))), ..Commit::default() })?;
        let Self { database, .. } = tables;
        database.close().map_err(|error| failure(&path, error.into()))?;
        let final_path = dir.join(TABLES_FILE_NAME);
        disk.rename(&path, &final_path).map_err(StoreError::io("rename", &path))
    }

    /// Opens the database in `dir`.
    pub fn open(disk: &dyn Disk, dir: &Path, cache_bytes_max: usize) -> Result<Self, StoreError> {
        let path = dir.join(TABLES_FILE_NAME);
        let file = disk.open(&path).map_err(StoreError::io("open", &path))?;
        if file.is_empty().map_err(StoreError::io("stat", &path))? {
            return Err(StoreError::damaged(&path, 0, "the file is empty"));
        }
        // The last transaction may be in the page cache only, if its process was killed before the sync.
        // Files that it does not name are about to be removed, and the log may be cut behind it.
        file.sync_data().map_err(StoreError::io("sync", &path))?;
        Self::with_file(file, path, cache_bytes_max)
    }

    fn with_file(file: Arc<dyn DiskFile>, path: PathBuf, cache_bytes_max: usize) -> Result<Self, StoreError> {
        let bytes = Arc::new(AtomicU64::new(file.len().map_err(StoreError::io("stat", &path))?));
        let backend = TablesFile { file, bytes: bytes.clone() };
        // The file is small, so every page of it is verified: `redb` trusts what it does not verify.
        let database = Database::builder()
            .set_cache_size(cache_bytes_max)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map_err(|error| failure(&path, error.into()))?;
        Ok(Self { database, path, bytes })
    }

    /// The length of the file, kept up to date.
    pub fn file_bytes(&self) -> Arc<AtomicU64> {
        self.bytes.clone()
    }

    /// Makes all of a commit durable, or nothing.
    pub fn commit(&self, commit: &Commit<'_>) -> Result<(), StoreError> {
        self.transact(commit).map_err(|error| failure(&self.path, error))
    }

    fn transact(&self, commit: &Commit<'_>) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(true);
        OpenTables::open(&transaction)?.write(commit)?;
        Ok(transaction.commit()?)
    }

    /// Gives room that the database does not use back to the file system, if there is some.
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.database.compact().map(drop).map_err(|error| failure(&self.path, error.into()))
    }

    /// Everything that is in the database.
    pub fn load(&self) -> Result<TablesContent, StoreError> {
        let content = self.read().map_err(|error| failure(&self.path, error))?;
        content.map_err(|fault| StoreError::damaged(&self.path, 0, fault))
    }

    fn read(&self) -> Result<Result<TablesContent, String>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let mut content = TablesContent::default();
        let position = transaction.open_table(POSITION)?;
        let value = |name| Ok::<_, redb::Error>(position.get(name)?.map_or(0, |value| value.value()));
        let format = value("format")?;
        if format != TABLES_FORMAT {
            return Ok(Err(format!(
                "the tables have format {format}, and this version knows {TABLES_FORMAT}"
            )));
        }
        content.applied = LogIndex(value("applied")?);
        content.term = Term(value("term")?);
        content.is_installed = content.applied.0 > 0 && value("installed")? == content.applied.0;
        let segments = transaction.open_table(SEGMENTS)?;
        for row in segments.iter()? {
            let (sequence, columns) = row?;
            content.segments.push(manifest_row(sequence.value(), columns.value()));
        }
        content.segments.sort_by_key(|row| row.first);
        for row in transaction.open_table(DEAD)?.iter()? {
            let (sequence, bits) = row?;
            content.dead.push((sequence.value(), bits.value().to_vec()));
        }
        Ok(read_changes(&transaction, &mut content.changes)?.map(|()| content))
    }
}

fn manifest_row(sequence: u64, columns: SegmentColumns) -> ManifestRow {
    let (sealed, end_of_records, records, first_main, first_sub, last_main, last_sub) = columns;
    ManifestRow {
        sequence,
        sealed,
        end_of_records,
        records,
        first: RecordRevision { main: Revision(first_main), sub: first_sub },
        last: RecordRevision { main: Revision(last_main), sub: last_sub },
    }
}

/// Every table, open in a transaction; the first commit makes them by opening them.
struct OpenTables<'a> {
    position: Table<'a, &'static str, u64>,
    compaction: Table<'a, &'static str, i64>,
    cluster: Table<'a, &'static str, &'static [u8]>,
    lease: Table<'a, i64, (i64, i64)>,
    alarm: Table<'a, (u64, u32), ()>,
    members: Table<'a, u64, &'static [u8]>,
    members_removed: Table<'a, u64, ()>,
    auth: Table<'a, &'static str, u64>,
    auth_roles: Table<'a, &'static str, &'static [u8]>,
    auth_users: Table<'a, &'static str, &'static [u8]>,
    segments: Table<'a, u64, SegmentColumns>,
    dead: Table<'a, u64, &'static [u8]>,
}

impl<'a> OpenTables<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            position: transaction.open_table(POSITION)?,
            compaction: transaction.open_table(COMPACTION)?,
            cluster: transaction.open_table(CLUSTER)?,
            lease: transaction.open_table(LEASE)?,
            alarm: transaction.open_table(ALARM)?,
            members: transaction.open_table(MEMBERS)?,
            members_removed: transaction.open_table(MEMBERS_REMOVED)?,
            auth: transaction.open_table(AUTH)?,
            auth_roles: transaction.open_table(AUTH_ROLES)?,
            auth_users: transaction.open_table(AUTH_USERS)?,
            segments: transaction.open_table(SEGMENTS)?,
            dead: transaction.open_table(DEAD)?,
        })
    }

    fn write(&mut self, commit: &Commit<'_>) -> Result<(), redb::Error> {
        if commit.replaces_all {
            self.clear()?;
            self.position.insert("installed", commit.position.map_or(0, |(applied, _)| applied.0))?;
        }
        if let Some((applied, term)) = commit.position {
            self.position.insert("format", TABLES_FORMAT)?;
            self.position.insert("applied", applied.0)?;
            self.position.insert("term", term.0)?;
        }
        for change in &commit.changes {
            self.write_change(change)?;
        }
        for sequence in &commit.segments_removed {
            self.segments.remove(sequence)?;
            self.dead.remove(sequence)?;
        }
        for row in &commit.segments {
            self.segments.insert(row.sequence, segment_columns(row))?;
        }
        for (sequence, set) in &commit.dead {
            self.dead.insert(sequence, set.encode().as_slice())?;
        }
        Ok(())
    }

    /// Names every table, so that one that is added is not forgotten here: what is left in it would come back at a restart.
    fn clear(&mut self) -> Result<(), redb::Error> {
        let Self {
            position: _,
            compaction,
            cluster,
            lease,
            alarm,
            members,
            members_removed,
            auth,
            auth_roles,
            auth_users,
            segments,
            dead,
        } = self;
        compaction.retain(|_, _| false)?;
        cluster.retain(|_, _| false)?;
        lease.retain(|_, _| false)?;
        alarm.retain(|_, _| false)?;
        members.retain(|_, _| false)?;
        members_removed.retain(|_, _| false)?;
        auth.retain(|_, _| false)?;
        auth_roles.retain(|_, _| false)?;
        auth_users.retain(|_, _| false)?;
        segments.retain(|_, _| false)?;
        Ok(dead.retain(|_, _| false)?)
    }

    fn write_change(&mut self, change: &TableChange) -> Result<(), redb::Error> {
        match change {
            TableChange::LeasePut(lease) => {
                let life = (lease.ttl_seconds, lease.remaining_ttl_seconds);
                self.lease.insert(lease.id.0, life)?;
            }
            TableChange::LeaseDelete(id) => drop(self.lease.remove(id.0)?),
            TableChange::AlarmPut(alarm) => drop(self.alarm.insert(alarm_key(alarm), ())?),
            TableChange::AlarmDelete(alarm) => drop(self.alarm.remove(alarm_key(alarm))?),
            TableChange::CompactRevision(revision) => {
                self.compaction.insert("revision", revision.0)?;
            }
            TableChange::MemberPut(id, json) => drop(self.members.insert(id.0, json.as_ref())?),
            TableChange::MemberRemove(id) => {
                self.members.remove(id.0)?;
                self.members_removed.insert(id.0, ())?;
            }
            TableChange::ClusterVersion(version) => {
                self.cluster.insert("clusterVersion", version.as_bytes())?;
            }
            TableChange::Downgrade(json) => drop(self.cluster.insert("downgrade", json.as_ref())?),
            TableChange::ConfState(json) => drop(self.cluster.insert("confState", json.as_ref())?),
            TableChange::StorageVersion(version) => {
                self.cluster.insert("storageVersion", version.as_bytes())?;
            }
            TableChange::AuthEnabled(enabled) => drop(self.auth.insert("enabled", u64::from(*enabled))?),
            TableChange::AuthRevision(revision) => drop(self.auth.insert("revision", revision)?),
            TableChange::AuthUserPut(user) => {
                self.auth_users.insert(user.name.as_str(), user.encode().as_slice())?;
            }
            TableChange::AuthUserDelete(name) => drop(self.auth_users.remove(name.as_str())?),
            TableChange::AuthRolePut(role) => {
                self.auth_roles.insert(role.name.as_str(), role.encode().as_slice())?;
            }
            TableChange::AuthRoleDelete(name) => drop(self.auth_roles.remove(name.as_str())?),
        }
        Ok(())
    }
}

fn segment_columns(row: &ManifestRow) -> SegmentColumns {
    let (first, last) = (row.first, row.last);
    (row.sealed, row.end_of_records, row.records, first.main.0, first.sub, last.main.0, last.sub)
}

/// etcd's numbers of the alarms.
fn alarm_key(alarm: &AlarmEntry) -> (u64, u32) {
    let number = match alarm.alarm {
        AlarmType::NoSpace => 1,
        AlarmType::Corrupt => 2,
    };
    (alarm.member.0, number)
}

/// The tables as the changes that make them out of nothing.
fn read_changes(
    transaction: &ReadTransaction,
    changes: &mut Vec<TableChange>,
) -> Result<Result<(), String>, redb::Error> {
    if let Some(revision) = transaction.open_table(COMPACTION)?.get("revision")? {
        changes.push(TableChange::CompactRevision(Revision(revision.value())));
    }
    for row in transaction.open_table(CLUSTER)?.iter()? {
        let (name, value) = row?;
        match cluster_change(name.value(), value.value()) {
            Ok(change) => changes.push(change),
            Err(fault) => return Ok(Err(fault)),
        }
    }
    for row in transaction.open_table(MEMBERS)?.iter()? {
        let (id, json) = row?;
        changes.push(TableChange::MemberPut(MemberId(id.value()), Bytes::copy_from_slice(json.value())));
    }
    for row in transaction.open_table(MEMBERS_REMOVED)?.iter()? {
        changes.push(TableChange::MemberRemove(MemberId(row?.0.value())));
    }
    for row in transaction.open_table(LEASE)?.iter()? {
        let (id, life) = row?;
        let (ttl_seconds, remaining_ttl_seconds) = life.value();
        let id = LeaseId(id.value());
        changes.push(TableChange::LeasePut(LeaseEntry { id, ttl_seconds, remaining_ttl_seconds }));
    }
    for row in transaction.open_table(ALARM)?.iter()? {
        let (member, number) = row?.0.value();
        let alarm = match number {
            1 => AlarmType::NoSpace,
            2 => AlarmType::Corrupt,
            _ => return Ok(Err(format!("alarm {number} is not known"))),
        };
        changes.push(TableChange::AlarmPut(AlarmEntry { member: MemberId(member), alarm }));
    }
    read_auth(transaction, changes)
}

/// Roles come before the users that have them.
fn read_auth(
    transaction: &ReadTransaction,
    changes: &mut Vec<TableChange>,
) -> Result<Result<(), String>, redb::Error> {
    if let Some(auth) = open_if_there(transaction, AUTH)? {
        if let Some(enabled) = auth.get("enabled")? {
            changes.push(TableChange::AuthEnabled(enabled.value() != 0));
        }
        if let Some(revision) = auth.get("revision")? {
            changes.push(TableChange::AuthRevision(revision.value()));
        }
    }
    if let Some(roles) = open_if_there(transaction, AUTH_ROLES)? {
        for row in roles.iter()? {
            let (name, bytes) = row?;
            match AuthRole::decode(Bytes::copy_from_slice(bytes.value())) {
                Some(role) => changes.push(TableChange::AuthRolePut(role)),
                None => return Ok(Err(format!("the role {} cannot be read", name.value()))),
            }
        }
    }
    if let Some(users) = open_if_there(transaction, AUTH_USERS)? {
        for row in users.iter()? {
            let (name, bytes) = row?;
            match AuthUser::decode(Bytes::copy_from_slice(bytes.value())) {
                Some(user) => changes.push(TableChange::AuthUserPut(user)),
                None => return Ok(Err(format!("the user {} cannot be read", name.value()))),
            }
        }
    }
    Ok(Ok(()))
}

/// A table that a database of an older version has not.
fn open_if_there<K: Key + 'static, V: Value + 'static>(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<Option<ReadOnlyTable<K, V>>, redb::Error> {
    match transaction.open_table(table) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn cluster_change(name: &str, value: &[u8]) -> Result<TableChange, String> {
    let text = || String::from_utf8(value.to_vec()).map_err(|_| format!("{name} is not text"));
    let bytes = || Bytes::copy_from_slice(value);
    match name {
        "clusterVersion" => Ok(TableChange::ClusterVersion(text()?)),
        "storageVersion" => Ok(TableChange::StorageVersion(text()?)),
        "downgrade" => Ok(TableChange::Downgrade(bytes())),
        "confState" => Ok(TableChange::ConfState(bytes())),
        _ => Err(format!("the cluster value {name} is not known")),
    }
}

/// An error of `redb` in our words.
fn failure(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(source) => StoreError::io("use", path)(source),
        other => StoreError::damaged(path, 0, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn a_database_of_before_authentication_has_no_users_and_gets_its_tables() {
        let (disk, dir) = (MemoryDisk::new(), Path::new(""));
        Tables::create(&disk, dir, 1 << 20).expect("made");
        let tables = Tables::open(&disk, dir, 1 << 20).expect("opened");
        let transaction = tables.database.begin_write().expect("a transaction");
        assert!(transaction.delete_table(AUTH).expect("deleted"));
        assert!(transaction.delete_table(AUTH_ROLES).expect("deleted"));
        assert!(transaction.delete_table(AUTH_USERS).expect("deleted"));
        transaction.commit().expect("committed");
        assert_eq!(tables.load().expect("loaded").changes, []);
        let changes = vec![TableChange::AuthEnabled(true), TableChange::AuthRevision(7)];
        tables.commit(&Commit { changes: changes.clone(), ..Commit::default() }).expect("committed");
        assert_eq!(tables.load().expect("loaded").changes, changes);
    }
}
