//! Backups without a server: makes the backup of a made-up member, and says what is in a database of etcd.
//!
//! * `snapshot write DIR` writes `DIR/snapshot.db` as `snapshot save` would, and beside it what has to be read back from it:
//!   `kvs`, `status`, `leases`.
//! * `snapshot status DB` says what `etcdutl snapshot status -w json` 3.5 says.
//! * `snapshot kvs DB` lists the newest pairs: key, create revision, mod revision, version, lease and value, in hexadecimal
//!   what is bytes.
//! * `snapshot foreign DIR` says what is in the data directory of an etcd.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use tenure_core::command::AlarmType;
use tenure_core::state::{AlarmEntry, LeaseEntry, TableChange};
use tenure_core::types::{
    KvBytes, KvView, LeaseId, LogIndex, MemberId, RecordRevision, Revision, Term, Version,
};
use tenure_storage::bolt::BoltFile;
use tenure_storage::disk::OsDisk;
use tenure_storage::snapshot::{SnapshotFile, SnapshotStatus, SnapshotView, foreign_data_dir};
use tenure_storage::store::StoredRecord;

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["write", dir] => write(Path::new(dir)),
        ["status", database] => status(database).map(|line| println!("{line}")),
        ["kvs", database] => kvs(database).map(|lines| print!("{lines}")),
        ["foreign", dir] => match foreign_data_dir(Path::new(dir)) {
            Some(found) => {
                println!("{found}");
                Ok(())
            }
            None => Err(format!("{dir} is not the data directory of an etcd").into()),
        },
        _ => Err("usage: snapshot write DIR | status DB | kvs DB | foreign DIR".into()),
    };
    if let Err(error) = done {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A member that never was: the history of its keys, and what is newest.
#[derive(Default)]
struct Story {
    revision: i64,
    sub: u32,
    records: Vec<StoredRecord>,
    newest: BTreeMap<Vec<u8>, KvView>,
}

impl Story {
    /// Begins the next revision.
    fn next(&mut self) -> &mut Self {
        self.revision += 1;
        self.sub = 0;
        self
    }

    fn at(&mut self) -> RecordRevision {
        self.sub += 1;
        RecordRevision { main: Revision(self.revision), sub: self.sub - 1 }
    }

    fn put(&mut self, key: &[u8], value: &[u8], lease: Option<LeaseId>) -> &mut Self {
        let at = self.at();
        let old = self.newest.get(key);
        let version = Version {
            at,
            created: old.map_or(at.main, |old| Revision(old.create_revision)),
            version: old.map_or(0, |old| old.version) + 1,
        };
        let kv = KvBytes::encode(key, &version, value, lease);
        self.newest.insert(key.to_vec(), kv.view().unwrap_or_default());
        self.records.push(StoredRecord { at, tombstone: false, kv });
        self
    }

    fn delete(&mut self, key: &[u8]) -> &mut Self {
        let at = self.at();
        self.newest.remove(key);
        self.records.push(StoredRecord { at, tombstone: true, kv: KvBytes::encode_tombstone(key) });
        self
    }

    /// Leaves out what a compaction at `revision` removes.
    fn compact(&mut self, revision: i64) {
        let key = |record: &StoredRecord| record.kv.view().unwrap_or_default().key;
        let mut kept: BTreeMap<Bytes, RecordRevision> = BTreeMap::new();
        for record in self.records.iter().filter(|record| record.at.main.0 <= revision) {
            if record.tombstone && record.at.main.0 < revision {
                kept.remove(&key(record));
            } else {
                kept.insert(key(record), record.at);
            }
        }
        let stays =
            |record: &StoredRecord| record.at.main.0 > revision || kept.get(&key(record)) == Some(&record.at);
        self.records.retain(stays);
    }
}

const LEASES: [(i64, i64); 2] = [(0x1234_5678_9abc_def0, 100_000), (77, 200_000)];
/// A compaction to one revision is over; one to another has been asked for, and who takes the backup has to do it.
const DONE: i64 = 300;
const COMPACTED: i64 = 700;

fn story() -> Story {
    let mut story = Story { revision: 1, ..Story::default() };
    for round in 0..4 {
        for number in 0..400 {
            let key = format!("key/{number:05}");
            let lease = (number % 50 == 7).then_some(LeaseId(LEASES[number / 50 % 2].0));
            story.next().put(key.as_bytes(), format!("{round}:{}", "x".repeat(number)).as_bytes(), lease);
        }
    }
    for number in (0..400).step_by(9) {
        story.next().delete(format!("key/{number:05}").as_bytes());
    }
    story.next().put(b"key/00009", b"again", None);
    // A transaction: several records of one revision, one key both written and deleted.
    story.next().put(b"txn/a", b"1", None).put(b"txn/b", b"2", None).delete(b"key/00001");
    story.next().put(b"txn/c", b"3", None).delete(b"txn/c");
    story.next().put(b"bytes\0\xff\x01", b"\0\xff", None).put(b"empty", b"", None);
    story.next().put(b"long", &vec![b'L'; 1_500_000], None);
    story.next().put("k".repeat(5000).as_bytes(), b"long key", None);
    story.compact(DONE);
    story
}

fn tables() -> Vec<TableChange> {
    let json = |text: &'static str| Bytes::from_static(text.as_bytes());
    let member = r#"{"id":171,"peerURLs":["http://127.0.0.1:2380"],"name":"m0","clientURLs":["http://127.0.0.1:2379"]}"#;
    let mut tables = vec![
        TableChange::CompactRevision(Revision(COMPACTED)),
        TableChange::AlarmPut(AlarmEntry { member: MemberId(171), alarm: AlarmType::NoSpace }),
        TableChange::MemberPut(MemberId(171), json(member)),
        TableChange::MemberRemove(MemberId(205)),
        TableChange::ClusterVersion("3.7.0".into()),
        TableChange::ConfState(json(r#"{"voters":[171],"auto_leave":false}"#)),
        TableChange::StorageVersion("3.7.0".into()),
    ];
    for (id, ttl_seconds) in LEASES {
        let lease = LeaseEntry { id: LeaseId(id), ttl_seconds, remaining_ttl_seconds: 0 };
        tables.push(TableChange::LeasePut(lease));
    }
    tables
}

fn write(dir: &Path) -> Result<(), Failure> {
    let story = story();
    let mut leases = String::new();
    for (id, ttl_seconds) in LEASES {
        let attached = story.newest.iter().filter(|(_, kv)| kv.lease == id);
        let keys: Vec<_> = attached.map(|(key, _)| key.escape_ascii().to_string()).collect();
        writeln!(leases, "{id:x} {ttl_seconds} {}", keys.join(" "))?;
    }
    std::fs::write(dir.join("leases"), leases)?;
    std::fs::write(dir.join("kvs"), lines(&story.newest)?)?;
    let view = SnapshotView {
        applied: LogIndex(5000),
        term: Term(7),
        tables: tables(),
        finished_compaction: None,
        records: story.records.into_iter().map(Ok::<_, Infallible>),
    };
    let snapshot = SnapshotFile::write(&OsDisk::new(dir), Path::new("snapshot.tmp"), view)?;
    let database = dir.join("snapshot.db");
    let mut file = BufWriter::new(File::create(&database)?);
    for blob in snapshot.blobs() {
        file.write_all(&blob?.blob)?;
    }
    file.flush()?;
    std::fs::write(dir.join("status"), status(database)? + "\n")?;
    Ok(())
}

fn status(database: impl AsRef<Path>) -> Result<String, Failure> {
    let status = SnapshotStatus::read(&BoltFile::open(File::open(database)?)?)?;
    let SnapshotStatus { hash, revision, pairs, total_bytes, .. } = status;
    Ok(format!(r#"{{"hash":{hash},"revision":{revision},"totalKey":{pairs},"totalSize":{total_bytes}}}"#))
}

fn kvs(database: &str) -> Result<String, Failure> {
    let file = BoltFile::open(File::open(database)?)?;
    let mut newest = BTreeMap::new();
    for pair in file.bucket(b"key")?.ok_or("no bucket called key")?.entries() {
        let (at, kv) = pair?;
        let kv = KvBytes(kv).view()?;
        if at.len() == 18 {
            newest.remove(&kv.key[..]);
        } else {
            newest.insert(kv.key.to_vec(), kv);
        }
    }
    lines(&newest)
}

fn lines(pairs: &BTreeMap<Vec<u8>, KvView>) -> Result<String, Failure> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut lines = String::new();
    for (key, kv) in pairs {
        let KvView { create_revision, mod_revision, version, lease, .. } = kv;
        let value = hex(&kv.value);
        writeln!(lines, "{} {create_revision} {mod_revision} {version} {lease} {value}", hex(key))?;
    }
    Ok(lines)
}
