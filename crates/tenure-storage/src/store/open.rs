//! Opening a store, and taking up what is in it.

use super::append::Writer;
use super::dead::DeadSet;
use super::format::{ManifestRow, segment_file_name, segment_sequence};
use super::recent::Recent;
use super::segment::Segment;
use super::tables::{TABLES_FILE_NAME, TABLES_NEW_FILE_NAME, Tables, TablesContent};
use super::{Maintenance, Shared, Store, StoreError, StoreOptions};
use crate::disk::Disk;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use tenure_core::state::TableChange;
use tenure_core::types::{LogIndex, RecordRevision, Term};

/// What the last checkpoint made durable, beside the records.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The index of the last entry whose effects are in the store, 0 in a fresh store. The log goes on after
    /// it.
    pub applied: LogIndex,
    /// The term of that entry.
    pub term: Term,
    /// Whether all of it came from another member ([`Installation`](super::Installation)) and no checkpoint was
    /// made since. The log may know nothing of it then:
    /// [`Wal::open_installed`](crate::wal::Wal::open_installed).
    pub is_installed: bool,
    /// The tables, as the changes that make them.
    pub tables: Vec<TableChange>,
    /// How many records there are that are not dead.
    pub records: u64,
    /// The address of the last record, dead or not, if there is one.
    pub last: Option<RecordRevision>,
}

impl Store {
    /// Opens the store in the directory `dir` of `disk`, which nobody else may use meanwhile, and makes it if
    /// there is none. What was appended after the last checkpoint is not there: it comes back from the WAL.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the files are not what a checkpoint left; then nothing was changed beyond
    /// files and bytes that the checkpoint does not know. [`StoreError::Io`] if the disk fails.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: StoreOptions,
    ) -> Result<(Self, Restored), StoreError> {
        let names = prepare(disk.as_ref(), dir, &options)?;
        let tables = Tables::open(disk.as_ref(), dir, options.tables_cache_bytes_max)?;
        let content = tables.load()?;
        check_manifest(dir, &content.segments)?;
        let segments = open_segments(disk.as_ref(), dir, &content)?;
        let next_sequence = remove_unknown(disk.as_ref(), dir, &names, &content.segments)?;
        let dead_records: u64 =
            segments.iter().map(|segment| u64::from(segment.marks().dead.records())).sum();
        let records: u64 = content.segments.iter().map(|row| u64::from(row.records)).sum();
        let last = content.segments.last().map(|row| row.last);
        let restored = Restored {
            applied: content.applied,
            term: content.term,
            is_installed: content.is_installed,
            tables: content.changes,
            records: records - dead_records,
            last,
        };
        let active = content.segments.last().filter(|row| !row.sealed).and(segments.last()).cloned();
        let writer = Writer::new(active, last.unwrap_or_default(), content.applied, content.term);
        let dead_bytes = segments.iter().map(|segment| segment.marks().dead.bytes()).sum();
        let segments_bytes = segments.iter().map(|segment| segment.file_bytes()).sum();
        let shared = Shared {
            disk,
            dir: dir.to_path_buf(),
            segments: RwLock::new(Arc::new(segments)),
            recent: RwLock::new(Recent::new(options.recent_bytes_max)),
            options,
            writer: Mutex::new(writer),
            marking: Mutex::new(()),
            started: Mutex::new(VecDeque::new()),
            next_sequence: AtomicU64::new(next_sequence),
            segments_bytes: AtomicU64::new(segments_bytes),
            dead_bytes: AtomicU64::new(dead_bytes),
            tables_bytes: tables.file_bytes(),
            maintenance: Mutex::new(Maintenance { tables, durable: content.applied, checkpoint: 0 }),
            stopped: OnceLock::new(),
        };
        Ok((Self { shared: Arc::new(shared) }, restored))
    }
}

/// Makes directory and tables if there is no store, durably, and returns the names that were in the
/// directory.
fn prepare(disk: &dyn Disk, dir: &Path, options: &StoreOptions) -> Result<BTreeSet<String>, StoreError> {
    disk.create_dir_all(dir).map_err(StoreError::io("create", dir))?;
    let names: BTreeSet<String> = disk.list(dir).map_err(StoreError::io("list", dir))?.into_iter().collect();
    if names.contains(TABLES_NEW_FILE_NAME) {
        remove(disk, &dir.join(TABLES_NEW_FILE_NAME))?;
    }
    if !names.contains(TABLES_FILE_NAME) {
        if let Some(name) = names.iter().find(|name| segment_sequence(name).is_some()) {
            let fault = format!("the file is missing, but there are segments, such as {name}");
            return Err(StoreError::damaged(&dir.join(TABLES_FILE_NAME), 0, fault));
        }
        Tables::create(disk, dir, options.tables_cache_bytes_max)?;
    }
    // Whoever gave the database its name may have been killed before the name was durable.
    disk.sync_dir(dir).map_err(StoreError::io("sync", dir))?;
    Ok(names)
}

/// Segments partition the revision space, and only the last one can be open.
fn check_manifest(dir: &Path, rows: &[ManifestRow]) -> Result<(), StoreError> {
    let path = dir.join(TABLES_FILE_NAME);
    for (at, row) in rows.iter().enumerate() {
        let next = rows.get(at + 1);
        let overlaps = next.is_some_and(|next| row.last >= next.first);
        let open_within = next.is_some() && !row.sealed;
        if row.records == 0 || row.first > row.last || overlaps || open_within {
            let fault = format!("the manifest row of {} is impossible", segment_file_name(row.sequence));
            return Err(StoreError::damaged(&path, 0, fault));
        }
    }
    Ok(())
}

fn open_segments(
    disk: &dyn Disk,
    dir: &Path,
    content: &TablesContent,
) -> Result<Vec<Arc<Segment>>, StoreError> {
    let dead_of: BTreeMap<u64, &[u8]> =
        content.dead.iter().map(|(sequence, bits)| (*sequence, bits.as_slice())).collect();
    let mut segments = Vec::with_capacity(content.segments.len());
    for row in &content.segments {
        let segment = Segment::open(disk, dir, row)?;
        if let Some(bits) = dead_of.get(&row.sequence) {
            let mut dead = DeadSet::default();
            for index in DeadSet::places(bits) {
                let place = segment.place(index).ok_or_else(|| {
                    let fault = format!("dead record {index} of {} does not exist", segment.path.display());
                    StoreError::damaged(&dir.join(TABLES_FILE_NAME), 0, fault)
                })?;
                dead.insert(index, place.bytes as u64);
            }
            let dead = Arc::new(dead);
            let mut marks = segment.marks();
            marks.dead_durable = dead.clone();
            marks.dead = dead;
        }
        segments.push(Arc::new(segment));
    }
    Ok(segments)
}

/// Removes segments that no checkpoint knows. Returns the first sequence number that is free.
fn remove_unknown(
    disk: &dyn Disk,
    dir: &Path,
    names: &BTreeSet<String>,
    rows: &[ManifestRow],
) -> Result<u64, StoreError> {
    let known: BTreeSet<u64> = rows.iter().map(|row| row.sequence).collect();
    let mut next_sequence = known.last().map_or(0, |last| last + 1);
    for sequence in names.iter().filter_map(|name| segment_sequence(name)) {
        next_sequence = next_sequence.max(sequence.saturating_add(1));
        if !known.contains(&sequence) {
            remove(disk, &dir.join(segment_file_name(sequence)))?;
        }
    }
    Ok(next_sequence)
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    disk.remove(path).map_err(StoreError::io("remove", path))
}
