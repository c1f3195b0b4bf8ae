use super::*;
use crate::bolt::BoltFile;
use crate::disk::{Disk, MemoryDisk};
use crate::store::{RecordScan, Store, StoreOptions, StoredRecord};
use bytes::Bytes;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use tenure_core::command::{
    AlarmAction, AlarmCommand, AlarmType, Command, Compact, DeleteRange, LeaseGrant, LeaseRevoke, Permission,
    PermissionKind, Put, Request, RequestHeader,
};
use tenure_core::state::{AlarmEntry, AuthRole, AuthUser, LeaseEntry, StateMachine, TableChange};
use tenure_core::types::{
    KeyRange, KvBytes, LeaseId, LogIndex, MemberId, RecordRevision, Revision, Secret, Term, Version,
};

type Records = Vec<Result<StoredRecord, Infallible>>;

const ETCD_DB: &[u8] = include_bytes!("../bolt/testdata/etcd-3.5.1.db");

fn at(main: i64, sub: u32) -> RecordRevision {
    RecordRevision { main: Revision(main), sub }
}

fn put(at: RecordRevision, key: &str, value: &str) -> StoredRecord {
    let version = Version { at, created: at.main, version: 1 };
    let kv = KvBytes::encode(key.as_bytes(), &version, value.as_bytes(), None);
    StoredRecord { at, tombstone: false, kv }
}

fn delete(at: RecordRevision, key: &str) -> StoredRecord {
    StoredRecord { at, tombstone: true, kv: KvBytes::encode_tombstone(key.as_bytes()) }
}

fn records(records: Vec<StoredRecord>) -> Records {
    records.into_iter().map(Ok).collect()
}

fn view(tables: Vec<TableChange>, records: Records) -> SnapshotView<Records> {
    SnapshotView { applied: LogIndex(9), term: Term(2), tables, finished_compaction: None, records }
}

fn lease(id: i64, ttl_seconds: i64, remaining_ttl_seconds: i64) -> TableChange {
    TableChange::LeasePut(LeaseEntry { id: LeaseId(id), ttl_seconds, remaining_ttl_seconds })
}

fn alarm(member: u64, alarm: AlarmType) -> AlarmEntry {
    AlarmEntry { member: MemberId(member), alarm }
}

/// A view with something in every bucket that can have something.
fn full_view() -> SnapshotView<Records> {
    let everything = Permission { kind: PermissionKind::Read, range: KeyRange::everything() };
    let user = |name: &str, role: &str| AuthUser {
        name: name.into(),
        password_hash: Secret(Bytes::from_static(b"$2a$")),
        roles: vec![role.into()],
        no_password: false,
    };
    let tables = vec![
        lease(7, 100, 0),
        lease(-2, 60, 30),
        lease(9, 1, 1),
        TableChange::LeaseDelete(LeaseId(9)),
        TableChange::AlarmPut(alarm(300, AlarmType::NoSpace)),
        TableChange::AlarmPut(alarm(4, AlarmType::Corrupt)),
        TableChange::AlarmDelete(alarm(4, AlarmType::Corrupt)),
        TableChange::CompactRevision(Revision(2)),
        TableChange::MemberPut(MemberId(0xab), Bytes::from_static(br#"{"id":171}"#)),
        TableChange::MemberPut(MemberId(0xcd), Bytes::from_static(br#"{"id":205}"#)),
        TableChange::MemberRemove(MemberId(0xcd)),
        TableChange::ClusterVersion("3.7.0".into()),
        TableChange::Downgrade(Bytes::from_static(br#"{"enabled":false}"#)),
        TableChange::ConfState(Bytes::from_static(br#"{"voters":[171],"auto_leave":false}"#)),
        TableChange::StorageVersion("3.7.0".into()),
        TableChange::AuthEnabled(true),
        TableChange::AuthRevision(300),
        TableChange::AuthRolePut(AuthRole { name: "gone".into(), permissions: vec![] }),
        TableChange::AuthRolePut(AuthRole { name: "reader".into(), permissions: vec![everything] }),
        TableChange::AuthRoleDelete("gone".into()),
        TableChange::AuthUserPut(user("root", "root")),
        TableChange::AuthUserPut(user("gone", "reader")),
        TableChange::AuthUserDelete("gone".into()),
    ];
    let records = records(vec![
        put(at(2, 0), "a", "1"),
        put(at(3, 0), "b", "2"),
        delete(at(3, 1), "a"),
        put(at(4, 0), "c", ""),
    ]);
    SnapshotView { finished_compaction: Some(Revision(2)), ..view(tables, records) }
}

fn snapshot(view: SnapshotView<Records>) -> SnapshotFile {
    let disk = MemoryDisk::new();
    disk.create(Path::new("snapshot.tmp")).unwrap().write_all_at(b"left by a crash", 0).unwrap();
    let file = SnapshotFile::write(&disk, Path::new("snapshot.tmp"), view).unwrap();
    assert_eq!(disk.list(Path::new("")).unwrap(), [""; 0], "the file has no name any more");
    file
}

/// The file that `snapshot save` would make: database, SHA-256.
fn saved(file: &SnapshotFile) -> Vec<u8> {
    file.blobs().flat_map(|blob| blob.unwrap().blob).collect()
}

/// Every pair as `bucket key -> value`, in the order of the file.
fn dump(file: &[u8]) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let file = BoltFile::open(file).unwrap();
    let mut pairs = Vec::new();
    for name in file.bucket_names().unwrap() {
        let text = String::from_utf8(name.to_vec()).unwrap();
        for pair in file.bucket(&name).unwrap().unwrap().entries() {
            let (key, value) = pair.unwrap();
            pairs.push((text.clone(), key.to_vec(), value.to_vec()));
        }
    }
    pairs
}

#[test]
fn n1_buckets_keys_and_values() {
    let file = saved(&snapshot(full_view()));
    let names = "alarm auth authRoles authUsers cluster key lease members members_removed meta";
    let buckets = BoltFile::open(&file[..]).unwrap().bucket_names().unwrap();
    assert_eq!(buckets, names.split(' ').collect::<Vec<_>>());
    let lines: Vec<String> = dump(&file)
        .into_iter()
        .map(|(bucket, key, value)| format!("{bucket} {} = {}", key.escape_ascii(), value.escape_ascii()))
        .collect();
    assert_eq!(lines.join("\n") + "\n", include_str!("testdata/full.txt"));
}

#[test]
fn n1_blobs_of_32_kib_then_the_sha256() {
    let values = records((0..400).map(|n| put(at(n + 2, 0), "key", &"v".repeat(1000))).collect());
    let file = snapshot(view(vec![TableChange::StorageVersion("3.7.0".into())], values));
    assert_eq!(file.storage_version(), "3.7.0");
    let bytes = file.database_bytes();
    assert!(bytes > 400_000 && !bytes.is_multiple_of(BLOB_BYTES as u64), "{bytes}");
    let mut blobs: Vec<SnapshotBlob> = file.blobs().map(Result::unwrap).collect();
    let sha = blobs.pop().unwrap();
    let mut database = Vec::new();
    for blob in &blobs {
        database.extend_from_slice(&blob.blob);
        assert_eq!(blob.remaining_bytes, bytes - database.len() as u64);
        assert!(blob.blob.len() == BLOB_BYTES || blob.remaining_bytes == 0);
    }
    assert_eq!(
        sha,
        SnapshotBlob { blob: Bytes::copy_from_slice(&Sha256::digest(&database)), remaining_bytes: 0 }
    );
    assert_eq!(dump(&database).iter().filter(|(bucket, ..)| bucket == "key").count(), 400);
    assert_eq!(saved(&file).len() % 512, 32, "how etcd's tools tell that there is a checksum");
}

/// CRC-32C of names, keys and values, one behind the other, as the reference says it.
fn hash_of(file: &[u8], skipped: &[&str]) -> u32 {
    let pairs = dump(file);
    let mut bytes = Vec::new();
    for name in BoltFile::open(file).unwrap().bucket_names().unwrap() {
        bytes.extend_from_slice(&name);
        for (_, key, value) in pairs.iter().filter(|(bucket, ..)| *bucket == name) {
            if name != "meta" || !skipped.iter().any(|skipped| skipped.as_bytes() == key) {
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(value);
            }
        }
    }
    crc32c::crc32c(&bytes)
}

#[test]
fn n2_hash_of_all_that_members_share() {
    let file = saved(&snapshot(full_view()));
    let hash = content_hash(full_view()).unwrap();
    assert_eq!(hash, hash_of(&file, &["consistent_index", "term", "storageVersion"]));
    let other = SnapshotView { applied: LogIndex(77), term: Term(8), ..full_view() };
    assert_eq!(content_hash(other).unwrap(), hash);
    let mut other = full_view();
    other.tables.retain(|row| !matches!(row, TableChange::StorageVersion(_)));
    assert_eq!(content_hash(other).unwrap(), hash, "without a storage version");
    let mut other = full_view();
    other.tables.remove(0);
    assert_ne!(content_hash(other).unwrap(), hash, "without a lease");
    let mut other = full_view();
    other.records.pop();
    assert_ne!(content_hash(other).unwrap(), hash, "without a record");
}

#[test]
fn status_says_what_etcdutl_says() {
    // `etcdutl snapshot status` 3.5.1 on this file: {"hash":1522202120,"revision":4,"totalKey":10,"totalSize":20480}
    let status = SnapshotStatus::read(&BoltFile::open(ETCD_DB).unwrap()).unwrap();
    let expected = SnapshotStatus {
        hash: 1_522_202_120,
        revision: Revision(4),
        live_keys: 1,
        pairs: 10,
        total_bytes: 20_480,
        version: String::new(),
    };
    assert_eq!(status, expected);
    let file = saved(&snapshot(full_view()));
    let status = SnapshotStatus::read(&BoltFile::open(&file[..]).unwrap()).unwrap();
    assert_eq!((status.hash, status.live_keys, status.pairs), (hash_of(&file, &[]), 2, 21));
    assert_eq!((status.version.as_str(), status.total_bytes), ("3.7.0", file.len() as u64 - 32));
}

#[test]
fn a_record_that_cannot_be_read_fails_the_snapshot_alone() {
    let disk = MemoryDisk::new();
    let failing = vec![Ok(put(at(2, 0), "a", "1")), Err(std::io::Error::other("sector 7"))];
    let view = SnapshotView {
        applied: LogIndex(1),
        term: Term(1),
        tables: Vec::new(),
        finished_compaction: None,
        records: failing,
    };
    let error = SnapshotFile::write(&disk, Path::new("snapshot.tmp"), view).unwrap_err();
    assert_eq!(error.to_string(), "reading a record for the snapshot: sector 7");
    assert_eq!(disk.list(Path::new("")).unwrap(), [""; 0]);
}

#[test]
fn records_out_of_order_are_refused() {
    let wrong = view(Vec::new(), records(vec![put(at(3, 0), "a", "1"), put(at(2, 0), "a", "1")]));
    let error = SnapshotFile::write(&MemoryDisk::new(), Path::new("snapshot.tmp"), wrong).unwrap_err();
    assert!(matches!(error, SnapshotError::Database(_)), "{error}");
}

const ADVICE: &str = ". Tenure cannot use it and has changed nothing: start with another data directory";

fn etcd_data_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("member/snap")).unwrap();
    std::fs::create_dir_all(dir.path().join("member/wal")).unwrap();
    std::fs::write(dir.path().join("member/snap/db"), ETCD_DB).unwrap();
    let wal = dir.path().join("member/wal/0000000000000000-0000000000000000.wal");
    std::fs::write(wal, include_bytes!("testdata/etcd-3.5.1-wal-head.bin")).unwrap();
    dir
}

fn files(dir: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    files
}

#[test]
fn a_data_directory_of_etcd_is_told_and_left_alone() {
    let dir = etcd_data_dir();
    let before = files(dir.path());
    let found = foreign_data_dir(dir.path()).unwrap();
    let database = ForeignDatabase {
        storage_version: "3.5.0".into(),
        revision: Revision(4),
        records: 3,
        consistent_index: LogIndex(8),
    };
    assert_eq!(found.database.as_ref().unwrap(), &database);
    assert_eq!(
        found.to_string(),
        format!(
            "{} is the data directory of an etcd (cluster 5b1ac8c6cf43aaa6, member 5e3803ccffc1b2ad): \
             storage version 3.5.0, revision 4, 3 records, consistent index 8{ADVICE}",
            dir.path().display()
        )
    );
    assert_eq!(files(dir.path()), before);
}

#[test]
fn a_damaged_data_directory_of_etcd_is_told_too() {
    let dir = etcd_data_dir();
    std::fs::write(dir.path().join("member/snap/db"), &ETCD_DB[..9000]).unwrap();
    std::fs::write(dir.path().join("member/wal/0000000000000001-0000000000000009.wal"), b"\x09").unwrap();
    let found = foreign_data_dir(dir.path()).unwrap().to_string();
    let said = "its database cannot be read (snapshot database: malformed bbolt database: page 2: it is outside the file)";
    assert_eq!(found, format!("{} is the data directory of an etcd; {said}{ADVICE}", dir.path().display()));
}

#[test]
fn other_directories_are_not_foreign() {
    let dir = tempfile::tempdir().unwrap();
    assert!(foreign_data_dir(dir.path()).is_none());
    assert!(foreign_data_dir(&dir.path().join("missing")).is_none());
    std::fs::create_dir_all(dir.path().join("member/wal")).unwrap();
    std::fs::create_dir_all(dir.path().join("member/store")).unwrap();
    assert!(foreign_data_dir(dir.path()).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_in_the_file(
        changes in prop::collection::btree_map(
            (1i64..i64::MAX, 0u32..4),
            (any::<bool>(), prop::collection::vec(any::<u8>(), 0..6000)),
            0..60,
        ),
    ) {
        let all: Vec<StoredRecord> = changes
            .into_iter()
            .map(|((main, sub), (tombstone, kv))| {
                StoredRecord { at: at(main, sub), tombstone, kv: KvBytes(kv.into()) }
            })
            .collect();
        let file = saved(&snapshot(view(Vec::new(), records(all.clone()))));
        let pairs: Vec<_> = dump(&file).into_iter().filter(|(bucket, ..)| bucket == "key").collect();
        prop_assert_eq!(pairs.len(), all.len());
        for ((_, key, value), record) in pairs.iter().zip(&all) {
            prop_assert_eq!(key.len(), if record.tombstone { 18 } else { 17 });
            prop_assert_eq!(&key[..8], &record.at.main.0.to_be_bytes()[..]);
            prop_assert_eq!(&key[9..17], &u64::from(record.at.sub).to_be_bytes()[..]);
            prop_assert_eq!(value, &record.kv.0);
        }
    }
}

/// A member without Raft: what is applied is in the store and in the state.
struct Member {
    state: StateMachine,
    store: Store,
}

impl Member {
    fn new() -> Self {
        let disk = std::sync::Arc::new(MemoryDisk::new());
        let (store, _) = Store::open(disk, Path::new("store"), StoreOptions::default()).unwrap();
        Self { state: StateMachine::default(), store }
    }

    fn apply(&mut self, command: Command) {
        let request = Request { header: RequestHeader::default(), command };
        let effects = self.state.apply(&self.store, self.state.applied().next(), Term(3), &request).unwrap();
        effects.outcome.unwrap();
        self.store.append(&effects.batch).unwrap();
        self.state.install(&effects.batch);
    }

    fn put(&mut self, key: &'static str, value: &'static str, lease: i64) {
        let (key, value) = (Bytes::from_static(key.as_bytes()), Bytes::from_static(value.as_bytes()));
        self.apply(Command::Put(Put { key, value, lease, ..Put::default() }));
    }

    fn compact(&mut self, revision: i64) {
        self.apply(Command::Compact(Compact { revision: Revision(revision), physical: false }));
        let step = self.state.mvcc.compact_step(None, usize::MAX);
        self.store.mark_dead(&step.removed);
    }

    fn capture(&self) -> SnapshotView<RecordScan> {
        SnapshotView::capture(&self.state, &self.store)
    }
}

#[test]
fn a_captured_view_stays_as_it_was() {
    let mut member = Member::new();
    member.apply(Command::LeaseGrant(LeaseGrant { id: LeaseId(5), ttl_seconds: 60 }));
    member.put("a", "1", 5);
    member.put("a", "2", 0);
    member.put("b", "1", 5);
    member.apply(Command::DeleteRange(DeleteRange::single("a".into())));
    member.compact(3);
    let of_space = |action| AlarmCommand { action, member: MemberId(1), alarm: Some(AlarmType::NoSpace) };
    member.apply(Command::Alarm(of_space(AlarmAction::Activate)));
    let view = member.capture();
    let hash = content_hash(member.capture()).unwrap();
    member.apply(Command::Alarm(of_space(AlarmAction::Deactivate)));
    member.put("c", "1", 0);
    member.apply(Command::LeaseRevoke(LeaseRevoke { id: LeaseId(5) }));
    member.put("d", "1", 0);
    member.compact(8);
    assert_ne!(content_hash(member.capture()).unwrap(), hash);
    let disk = MemoryDisk::new();
    let file = saved(&SnapshotFile::write(&disk, Path::new("snapshot.tmp"), view).unwrap());
    assert_eq!(hash_of(&file, &["consistent_index", "term", "storageVersion"]), hash);
    let keys: Vec<(u8, usize)> = dump(&file)
        .iter()
        .filter(|(bucket, ..)| bucket == "key")
        .map(|(_, key, _)| (key[7], key.len()))
        .collect();
    assert_eq!(
        keys,
        [(3, 17), (4, 17), (5, 18)],
        "revision 2 fell to the compaction before, 6 to 8 came later"
    );
    let lines: Vec<String> = dump(&file)
        .into_iter()
        .filter(|(bucket, ..)| bucket != "key" && bucket != "auth")
        .map(|(bucket, key, value)| format!("{bucket} {} = {}", key.escape_ascii(), value.escape_ascii()))
        .collect();
    let expected = [
        "alarm \\x08\\x01\\x10\\x01 = ",
        "lease \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x05 = \\x08\\x05\\x10<",
        "meta consistent_index = \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x07",
        "meta scheduledCompactRev = \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x03_\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00",
        "meta term = \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x03",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_rows_of_a_state_make_the_same_state() {
    let state_of = |rows: &[TableChange]| {
        let mut state = StateMachine::default();
        rows.iter().for_each(|row| state.load_table(row));
        state
    };
    let rows = state_of(&full_view().tables).tables();
    // 2 leases, 1 alarm, compaction, 1 member, 1 that has left, cluster and storage version,
    // configuration, the switch of authentication and its revision, 1 role, 1 user; a downgrade that is not under way is no row.
    assert_eq!(rows.len(), 13, "{rows:?}");
    let again = state_of(&rows);
    assert_eq!(again.tables(), rows);
    assert_eq!(again.mvcc.compacted(), Revision(2));
}

#[test]
fn a_database_comes_back_as_tables_and_records() {
    let file = saved(&snapshot(full_view()));
    let content = SnapshotContent::open(&file[..file.len() - 32]).unwrap();
    assert_eq!(content.applied().unwrap(), LogIndex(9));
    let gone = [
        TableChange::LeaseDelete(LeaseId(9)),
        TableChange::AlarmDelete(alarm(4, AlarmType::Corrupt)),
        TableChange::AlarmPut(alarm(4, AlarmType::Corrupt)),
        TableChange::MemberPut(MemberId(0xcd), Bytes::from_static(br#"{"id":205}"#)),
        lease(9, 1, 1),
    ];
    let outlives = |row: &TableChange| match row {
        TableChange::AuthRolePut(role) => role.name != *"gone",
        TableChange::AuthUserPut(user) => user.name != *"gone",
        TableChange::AuthRoleDelete(_) | TableChange::AuthUserDelete(_) => false,
        row => !gone.contains(row),
    };
    let text = |rows: Vec<TableChange>| {
        let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        rows.sort();
        rows
    };
    let expected = full_view().tables.into_iter().filter(outlives).collect();
    assert_eq!(text(content.tables().unwrap()), text(expected));
    let records: Vec<StoredRecord> = content.records().unwrap().map(Result::unwrap).collect();
    let expected: Vec<StoredRecord> = full_view().records.into_iter().map(Result::unwrap).collect();
    assert_eq!(records, expected);
}

#[test]
fn the_database_of_a_real_etcd_is_read() {
    let content = SnapshotContent::open(ETCD_DB).unwrap();
    assert!(content.applied().unwrap() > LogIndex(0));
    let tables = content.tables().unwrap();
    assert!(tables.iter().any(|row| matches!(row, TableChange::MemberPut(..))));
    assert!(tables.iter().any(|row| matches!(row, TableChange::ConfState(_))));
    let mut records = content.records().unwrap().map(Result::unwrap);
    let first = records.next().unwrap();
    assert!(first.at.main >= Revision(2));
    assert!(records.is_sorted_by_key(|record| record.at));
}

#[test]
fn a_compaction_at_revision_0_comes_back() {
    let rows = || vec![TableChange::CompactRevision(Revision(0))];
    let finished =
        SnapshotView { finished_compaction: Some(Revision(0)), ..view(rows(), records(Vec::new())) };
    let file = saved(&snapshot(finished));
    assert!(dump(&file).iter().any(|(_, key, value)| key == b"finishedCompactRev" && value[..8] == [0; 8]));
    let tables = SnapshotContent::open(&file[..file.len() - 32]).unwrap().tables().unwrap();
    assert!(tables.contains(&rows()[0]), "{tables:?}");
}

#[test]
fn what_etcd_does_not_write_is_refused() {
    for (table, bucket) in [
        (TableChange::MemberPut(MemberId(1), Bytes::from_static(b"{")), "members"),
        (TableChange::ConfState(Bytes::from_static(b"{")), "meta"),
        (TableChange::Downgrade(Bytes::from_static(b"1")), "cluster"),
        (TableChange::CompactRevision(Revision(-1)), "meta"),
    ] {
        let file = saved(&snapshot(view(vec![table], records(Vec::new()))));
        let content = SnapshotContent::open(&file[..file.len() - 32]).unwrap();
        match content.tables() {
            Err(SnapshotError::Foreign { bucket: found, .. }) => assert_eq!(found, bucket),
            other => panic!("{other:?}"),
        }
    }
}
