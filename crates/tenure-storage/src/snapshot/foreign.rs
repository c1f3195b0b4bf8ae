//! Telling a data directory that belongs to etcd, without changing anything in it.

use super::SnapshotError;
use super::content::{KEY_BUCKET, main_revision};
use crate::bolt::{BoltError, BoltFile, Bucket};
use prost::Message;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tenure_api::{etcdserverpb, walpb};
use tenure_core::types::{ClusterId, LogIndex, MemberId, Revision};

/// A data directory that belongs to etcd.
#[derive(Debug)]
pub struct ForeignDataDir {
    /// The directory.
    pub path: PathBuf,
    /// What its database says, or why it says nothing.
    pub database: Result<ForeignDatabase, SnapshotError>,
    /// Whose write-ahead log is in it, if it is readable.
    pub member: Option<(ClusterId, MemberId)>,
}

/// What the database of an etcd says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignDatabase {
    /// The version of its schema, `X.Y.0`: what it says (3.6 and later), or what follows from its fields: `3.5.0`,
    /// `3.4.0` for 3.4 and before.
    pub storage_version: String,
    /// The current revision.
    pub revision: Revision,
    /// Versions of keys, deletions among them.
    pub records: u64,
    /// The last applied index.
    pub consistent_index: LogIndex,
}

/// What is in `dir`, if it is the data directory of an etcd: the directory has `member/snap/db`. Reads only, and
/// takes no lock: beside a running etcd the database can be in flux, which [`ForeignDataDir::database`] then says.
#[must_use]
pub fn foreign_data_dir(dir: &Path) -> Option<ForeignDataDir> {
    let member = dir.join("member");
    let database = member.join("snap").join("db");
    if !database.is_file() {
        return None;
    }
    Some(ForeignDataDir {
        path: dir.to_owned(),
        database: File::open(database).map_err(SnapshotError::from).and_then(read_database),
        member: wal_owner(&member.join("wal")).ok().flatten(),
    })
}

fn read_database(file: File) -> Result<ForeignDatabase, SnapshotError> {
    let file = BoltFile::open(file)?;
    let meta = file.bucket(b"meta")?;
    let keys = file.bucket(KEY_BUCKET.as_bytes())?;
    let number = |name| Ok::<_, BoltError>(meta_value(&meta, name)?.and_then(|value| main_revision(&value)));
    let last = keys.as_ref().map(Bucket::last).transpose()?.flatten();
    let newest = last.and_then(|(key, _)| main_revision(&key));
    // A compaction may have removed the newest records; an empty store is at revision 1.
    let compacted = [number("scheduledCompactRev")?, number("finishedCompactRev")?];
    let revision = compacted.into_iter().chain([newest, Some(Revision::FIRST)]).flatten().max();
    Ok(ForeignDatabase {
        storage_version: storage_version(&meta)?,
        revision: revision.unwrap_or(Revision::FIRST),
        records: keys.as_ref().map(Bucket::count).transpose()?.unwrap_or(0),
        consistent_index: LogIndex(number("consistent_index")?.map_or(0, |index| index.0 as u64)),
    })
}

fn meta_value(meta: &Option<Bucket<'_, File>>, name: &str) -> Result<Option<bytes::Bytes>, BoltError> {
    meta.as_ref().map_or(Ok(None), |meta| meta.value(name.as_bytes()))
}

/// The rule by which etcd itself tells the schema of a database.
fn storage_version(meta: &Option<Bucket<'_, File>>) -> Result<String, BoltError> {
    if let Some(version) = meta_value(meta, "storageVersion")? {
        return Ok(String::from_utf8_lossy(&version).into_owned());
    }
    let since_3_5 = meta_value(meta, "term")?.is_some() && meta_value(meta, "confState")?.is_some();
    Ok(if since_3_5 { "3.5.0" } else { "3.4.0" }.to_owned())
}

/// Cluster and member in the metadata record at the head of the newest segment of a write-ahead log.
fn wal_owner(dir: &Path) -> io::Result<Option<(ClusterId, MemberId)>> {
    let mut newest = None;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            newest = newest.max(Some(path));
        }
    }
    let Some(newest) = newest else { return Ok(None) };
    let mut head = Vec::new();
    File::open(newest)?.take(64 * 1024).read_to_end(&mut head)?;
    Ok(owner_in(&head))
}

/// Looks through the first records of a segment: a checksum, then the metadata.
fn owner_in(mut head: &[u8]) -> Option<(ClusterId, MemberId)> {
    const METADATA: i64 = 1;
    for _ in 0..4 {
        let (field, rest) = head.split_at_checked(8)?;
        let field = u64::from_le_bytes(field.try_into().ok()?);
        // The lowest 56 bits are the size; of the highest byte, if its first bit is set, three are the padding.
        let size = usize::try_from(field & 0x00ff_ffff_ffff_ffff).ok()?;
        let padding = if field >> 63 == 1 { (field >> 56 & 7) as usize } else { 0 };
        let record = walpb::Record::decode(rest.get(..size)?).ok()?;
        if record.r#type == Some(METADATA) {
            let metadata = etcdserverpb::Metadata::decode(record.data?).ok()?;
            return Some((ClusterId(metadata.cluster_id?), MemberId(metadata.node_id?)));
        }
        head = rest.get(size.checked_add(padding)?..)?;
    }
    None
}

impl fmt::Display for ForeignDataDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is the data directory of an etcd", self.path.display())?;
        if let Some((cluster, member)) = self.member {
            write!(f, " (cluster {:x}, member {:x})", cluster.0, member.0)?;
        }
        match &self.database {
            Ok(database) => write!(
                f,
                ": storage version {}, revision {}, {} records, consistent index {}",
                database.storage_version, database.revision, database.records, database.consistent_index
            )?,
            Err(error) => write!(f, "; its database cannot be read ({error})")?,
        }
        write!(f, ". Tenure cannot use it and has changed nothing: start with another data directory")
    }
}
