//! The write-ahead log, in etcd's record format: what a member must not forget is here before anyone hears of it.
//!
//! [`Wal`] is a log that is open for writing, [`Replay`] what was in it. `docs/format/wal.md` says byte by byte what is in the files;
//! etcd's own package reads them and this one reads etcd's.
//!
//! Where this reader is stricter than etcd's: a record that fails its check is taken for the torn end of a write only if a
//! sector of it was never written or the file ends within it, and never for more than it can be: nor if later records show that it
//! had been synced. Anything else is an error, and nothing is changed.

mod proof;
mod record;
mod replay;
mod segment;
#[cfg(test)]
mod tests;

use crate::disk::{Disk, DiskFile};
use record::{Broken, Encoder, Scan};
use replay::Collector;
use segment::Segment;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenure_core::types::{ClusterId, ConfState, HardState, LogEntry, LogIndex, LogPosition, MemberId, Term};
use thiserror::Error;

/// Size that a segment is preallocated with, and cut at.
pub const SEGMENT_BYTES: u64 = 64 * 1000 * 1000;

/// Why a log cannot be opened or written.
#[derive(Debug, Error)]
pub enum WalError {
    /// The disk failed.
    #[error("write-ahead log {}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// A write failed before: what is on the disk is not known any more, so the log takes no more writes.
    #[error("the write-ahead log takes no more writes since one failed: {0}")]
    Poisoned(String),
    /// Something in a segment was changed after it was written, or is missing.
    #[error(
        "write-ahead log {} is damaged at offset {offset}: {reason}. Nothing was changed. Restore this member from a snapshot, \
         or remove it from its cluster and add it again with an empty data directory",
        file.display()
    )]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Offset of the record in bytes.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Segments are missing.
    #[error(
        "write-ahead log {} has a gap: {reason}. Nothing was changed. Put the missing files back, or restore this member from a snapshot",
        dir.display()
    )]
    Gap {
        /// The directory.
        dir: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// Another process has the log open.
    #[error("write-ahead log {} is in use by another process", file.display())]
    Locked {
        /// The segment.
        file: PathBuf,
    },
    /// There is no log in the directory.
    #[error("there is no write-ahead log in {}", dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// There is a log in the directory already.
    #[error("there is a write-ahead log in {} already", dir.display())]
    Exists {
        /// The directory.
        dir: PathBuf,
    },
}

/// Who writes the log. Each segment starts with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The member.
    pub member: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
}

/// How a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// Preallocated size of a segment; the first save that ends behind it begins another.
    pub segment_bytes: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES }
    }
}

/// A place in the log that a snapshot stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// The last entry that the snapshot has.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// Who took part in Raft then. Logs of etcd 3.4 do not say, nor does the first record of any log.
    pub conf_state: Option<ConfState>,
}

/// What a log held when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Who wrote it.
    pub metadata: Metadata,
    /// The last hard state, all zero if there is none.
    pub hard_state: HardState,
    /// Snapshots up to the commit index of the hard state, in order.
    pub snapshots: Vec<SnapshotRecord>,
    /// The entries behind the index that was asked for, without gap. Those behind the commit index can still be replaced.
    pub entries: Vec<LogEntry>,
    /// The last entry of the log, or the snapshot that stands for it.
    pub last_index: LogIndex,
    /// What had to be cut off.
    pub repair: Option<Repair>,
}

/// The end of a log was torn: a crash interrupted a write that nobody had been told about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The segment.
    pub file: PathBuf,
    /// Where the torn record started: the segment ends there now.
    pub offset: u64,
    /// A copy of the segment as it was. `None` where nothing was changed ([`read`]).
    pub broken: Option<PathBuf>,
}

/// A log that is open for writing.
///
/// After an error of the disk nothing is known about what reached it, so that every later call fails with
/// [`WalError::Poisoned`]: the process has to stop, and the next start reads what is there.
#[derive(Debug)]
pub struct Wal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: WalOptions,
    metadata: Metadata,
    /// In order; the last one is written to.
    segments: Vec<Segment>,
    tail: Arc<dyn DiskFile>,
    /// Where the next record goes.
    offset: u64,
    encoder: Encoder,
    hard_state: HardState,
    last_index: LogIndex,
    bytes_written: u64,
    failure: Option<String>,
}

/// Whether there is a log in `dir`.
///
/// # Errors
/// [`WalError::Io`].
pub fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, WalError> {
    match segment::list(disk, dir) {
        Ok(_) => Ok(true),
        Err(WalError::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a log without locking, repairing or changing anything: also one that another process writes. A torn end is only noted.
///
/// `after` is as in [`Wal::open`].
///
/// # Errors
/// Those of [`Wal::open`] without [`WalError::Locked`].
pub fn read(disk: &dyn Disk, dir: &Path, after: LogIndex) -> Result<Replay, WalError> {
    let segments = segment::list(disk, dir)?;
    let start = segment::first_needed(&segments, dir, after)?;
    Ok(scan(disk, dir, &segments[start..], Start { after, installed: None }, false)?.replay)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> WalError + '_ {
    move |source| WalError::Io { path: path.to_path_buf(), source }
}

/// Where a reader begins.
#[derive(Clone, Copy)]
struct Start {
    /// Entries behind this one are wanted.
    after: LogIndex,
    /// The term of that one, if its effects came from another member: the log can be another up to there.
    installed: Option<Term>,
}

/// What reading the segments gave, and what writing on needs.
struct Scanned {
    replay: Replay,
    /// Where the last segment ends.
    end: u64,
    crc: u32,
    /// Whether the last segment is as long as it was preallocated and has only zeros behind its end.
    clean: bool,
    /// Whether the log does not lead to what was installed.
    is_overtaken: bool,
}

fn scan(
    disk: &dyn Disk,
    dir: &Path,
    segments: &[Segment],
    Start { after, installed }: Start,
    locked: bool,
) -> Result<Scanned, WalError> {
    let first = segments.first().map_or(LogIndex(0), |segment| segment.first);
    let mut collector = Collector::new(after, first);
    // The first segment of all continues nothing; of one whose predecessors are released nothing is known.
    let mut crc = segments.first().filter(|segment| segment.sequence == 0).map(|_| 0);
    let mut repair = None;
    let mut last = (dir.to_path_buf(), 0, false);
    for (place, segment) in segments.iter().enumerate() {
        let file = segment::path(dir, segment);
        let bytes = disk.open(&file).and_then(|file| read_whole(&*file)).map_err(io_error(&file))?;
        collector.segment(crc);
        let (end, end_crc, torn) = scan_segment(&bytes, &file, &mut collector)?;
        let damaged =
            |reason: &str| WalError::Damaged { file: file.clone(), offset: end, reason: reason.into() };
        if torn && place + 1 < segments.len() {
            return Err(damaged("the segment ends within a record, though another follows it"));
        }
        if !collector.has_header() {
            return Err(damaged("the segment does not have the records that every segment starts with"));
        }
        crc = Some(end_crc);
        if torn {
            repair = Some(Repair { file: file.clone(), offset: end, broken: None });
        }
        let end_at = usize::try_from(end).unwrap_or(bytes.len());
        let zeros_follow = record::is_zero(&bytes[end_at..]);
        // Of a log that is written meanwhile the read can have missed what is in front of what it saw.
        let proof = (locked && place + 1 == segments.len() && !zeros_follow)
            .then(|| proof::synced_behind(&bytes, end_at, collector.last()));
        if let Some(later) = proof.flatten() {
            return Err(damaged(&format!(
                "the records end here, but the one at offset {later} was only written after what is missing here was durable"
            )));
        }
        last = (file, end, !torn && zeros_follow);
    }
    let (file, end, clean) = last;
    let is_overtaken = installed.is_some_and(|term| collector.after_term() != Some(term));
    let mut replay = collector.finish().map_err(|reason| WalError::Damaged { file, offset: end, reason })?;
    if is_overtaken {
        replay.entries.clear();
        replay.last_index = after;
    }
    if replay.last_index < after {
        let reason = format!("it ends at entry {}, but entry {after} is applied already", replay.last_index);
        return Err(WalError::Gap { dir: dir.to_path_buf(), reason });
    }
    replay.repair = repair;
    Ok(Scanned { replay, end, crc: crc.unwrap_or(0), clean, is_overtaken })
}

/// Gives the records of a segment to `collector`; returns where they end, the checksum there, and whether the end is torn.
fn scan_segment(bytes: &[u8], file: &Path, collector: &mut Collector) -> Result<(u64, u32, bool), WalError> {
    let mut scan = Scan::new(bytes);
    loop {
        let offset = scan.at as u64;
        let damaged = |reason| WalError::Damaged { file: file.to_path_buf(), offset, reason };
        match scan.next() {
            Ok(Some(record)) => collector.take(&record).map_err(damaged)?,
            Ok(None) => return Ok((offset, scan.crc, false)),
            Err(Broken::Torn) => return Ok((offset, scan.crc, true)),
            Err(Broken::Damaged(reason)) => return Err(damaged(reason)),
        }
    }
}

fn read_whole(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn lock(disk: &dyn Disk, dir: &Path, segment: &mut Segment) -> Result<(), WalError> {
    let file = segment::path(dir, segment);
    match disk.lock(&file) {
        Ok(lock) => segment.lock = Some(lock),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(WalError::Locked { file }),
        Err(source) => return Err(WalError::Io { path: file, source }),
    }
    Ok(())
}

/// Copies a torn segment aside, as etcd does, and cuts it where the torn record starts.
fn repair(disk: &dyn Disk, dir: &Path, repair: &mut Repair) -> io::Result<()> {
    let mut broken = OsString::from(&repair.file);
    broken.push(".broken");
    let broken = PathBuf::from(broken);
    if disk.exists(&broken)? {
        disk.remove(&broken)?;
    }
    let torn = disk.open(&repair.file)?;
    let copy = disk.create(&broken)?;
    for (place, chunk) in read_whole(&*torn)?.chunks(1 << 20).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            copy.write_all_at(chunk, (place << 20) as u64)?;
        }
    }
    copy.set_len(torn.len()?)?;
    copy.sync_data()?;
    disk.sync_dir(dir)?;
    torn.set_len(repair.offset)?;
    torn.sync_data()?;
    repair.broken = Some(broken);
    Ok(())
}

/// Removes preallocated files that never became segments.
fn remove_leftovers(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    for name in disk.list(dir)?.iter().filter(|name| name.ends_with(".tmp")) {
        disk.remove(&dir.join(name))?;
    }
    Ok(())
}

/// Makes a file with the whole length of a segment.
fn preallocate(disk: &dyn Disk, path: &Path, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.create(path)?;
    file.allocate(bytes)?;
    Ok(file)
}

impl Wal {
    /// Begins a log in `dir`, which must not have one. It is made under another name and renamed when it is complete and
    /// durable, so that a crash leaves a whole log or none. `dir` itself need not exist; if it does it must be empty.
    ///
    /// # Errors
    /// [`WalError::Exists`], [`WalError::Io`].
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: impl Into<PathBuf>,
        metadata: Metadata,
        options: WalOptions,
    ) -> Result<Self, WalError> {
        let dir = dir.into();
        if exists(&*disk, &dir)? {
            return Err(WalError::Exists { dir });
        }
        let mut encoder = Encoder::default();
        encoder.crc_record();
        encoder.metadata(metadata.member, metadata.cluster);
        encoder.snapshot(LogIndex(0), Term(0), None);
        let mut segment = Segment { sequence: 0, first: LogIndex(0), lock: None };
        let tail = create_files(&*disk, &dir, &segment, &encoder.buffer, options).map_err(io_error(&dir))?;
        lock(&*disk, &dir, &mut segment)?;
        let offset = encoder.buffer.len() as u64;
        encoder.clear();
        Ok(Self {
            disk,
            dir,
            options,
            metadata,
            segments: vec![segment],
            tail,
            offset,
            encoder,
            hard_state: HardState::default(),
            last_index: LogIndex(0),
            bytes_written: offset,
            failure: None,
        })
    }

    /// Opens the log in `dir` for writing and reads what is in it.
    ///
    /// Entries behind `after` are replayed: 0 for all there are, or the index up to which their effects are durable elsewhere.
    /// A torn end is cut off after a copy of the segment is put beside it, `*.broken`.
    ///
    /// # Errors
    /// [`WalError::Missing`]; [`WalError::Locked`]; [`WalError::Gap`] if the log does not reach from `after` on, or not up to it;
    /// [`WalError::Damaged`]; [`WalError::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: impl Into<PathBuf>,
        after: LogIndex,
        options: WalOptions,
    ) -> Result<(Self, Replay), WalError> {
        let (wal, replay, _) = Self::open_at(disk, dir.into(), Start { after, installed: None }, options)?;
        Ok((wal, replay))
    }

    /// [`Wal::open`] behind `position`, up to which the store has its content from another member and has made no checkpoint
    /// since ([`Restored::is_installed`](crate::store::Restored::is_installed)). A log that does not lead there was overtaken:
    /// the process ended between the installation and [`Wal::save_installed`]. What it has is of no use any more then, and
    /// it is made up for.
    ///
    /// # Errors
    /// Those of [`Wal::open`].
    pub fn open_installed(
        disk: Arc<dyn Disk>,
        dir: impl Into<PathBuf>,
        position: LogPosition,
        conf_state: &ConfState,
        options: WalOptions,
    ) -> Result<(Self, Replay), WalError> {
        let LogPosition { index, term } = position;
        let start = Start { after: index, installed: Some(term) };
        let (mut wal, mut replay, is_overtaken) = Self::open_at(disk, dir.into(), start, options)?;
        if is_overtaken {
            wal.save_installed(position, conf_state)?;
            replay.hard_state = wal.hard_state;
            replay.snapshots.push(SnapshotRecord { index, term, conf_state: Some(conf_state.clone()) });
        }
        Ok((wal, replay))
    }

    fn open_at(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        from: Start,
        options: WalOptions,
    ) -> Result<(Self, Replay, bool), WalError> {
        let mut segments = segment::list(&*disk, &dir)?;
        let start = segment::first_needed(&segments, &dir, from.after)?;
        for segment in &mut segments[start..] {
            lock(&*disk, &dir, segment)?;
        }
        let Scanned { mut replay, end, crc, clean, is_overtaken } =
            scan(&*disk, &dir, &segments[start..], from, true)?;
        if let Some(torn) = &mut replay.repair {
            repair(&*disk, &dir, torn).map_err(io_error(&dir))?;
        }
        remove_leftovers(&*disk, &dir).map_err(io_error(&dir))?;
        let path = segments.last().map_or_else(|| dir.clone(), |segment| segment::path(&dir, segment));
        let tail = open_tail(&*disk, &dir, &path, end, clean, options).map_err(io_error(&path))?;
        let wal = Self {
            disk,
            dir,
            options,
            metadata: replay.metadata,
            segments,
            tail,
            offset: end,
            encoder: Encoder { buffer: Vec::new(), crc },
            hard_state: replay.hard_state,
            last_index: replay.last_index,
            bytes_written: 0,
            failure: None,
        };
        Ok((wal, replay, is_overtaken))
    }

    /// Appends entries and then a hard state, with one write; with `sync`, they are durable when this returns.
    ///
    /// Raft asks for `sync` when there are entries or when term or vote change. Without it a crash can take the hard state back.
    /// Nothing to write is nothing written, and nothing synced.
    ///
    /// # Errors
    /// [`WalError::Io`], and from then on [`WalError::Poisoned`].
    pub fn save(
        &mut self,
        hard_state: Option<HardState>,
        entries: &[LogEntry],
        sync: bool,
    ) -> Result<(), WalError> {
        self.check()?;
        let hard_state = hard_state.filter(|state| *state != HardState::default());
        if hard_state.is_none() && entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            self.encoder.entry(entry);
            self.last_index = entry.index;
        }
        if let Some(state) = hard_state {
            self.encoder.state(&state);
            self.hard_state = state;
        }
        let done = self.write(sync && self.room_left()).and_then(|()| match self.room_left() {
            true => Ok(()),
            false => self.cut(),
        });
        self.poison_on_error(done)
    }

    /// Notes that a snapshot stands for the log up to `index`. Durable when this returns.
    ///
    /// # Errors
    /// [`WalError::Io`], and from then on [`WalError::Poisoned`].
    pub fn save_snapshot(
        &mut self,
        index: LogIndex,
        term: Term,
        conf_state: &ConfState,
    ) -> Result<(), WalError> {
        self.check()?;
        self.encoder.snapshot(index, term, Some(conf_state));
        self.last_index = self.last_index.max(index);
        let done = self.write(true);
        self.poison_on_error(done)
    }

    /// Notes that the state of another member, which is durable already, stands for the log up to `position`. Of the log as it was
    /// nothing counts any more, also where it was longer. What is at `position` is committed, and the hard state says so.
    /// Durable when this returns.
    ///
    /// # Errors
    /// [`WalError::Io`], and from then on [`WalError::Poisoned`].
    pub fn save_installed(&mut self, position: LogPosition, conf_state: &ConfState) -> Result<(), WalError> {
        self.check()?;
        let LogPosition { index, term } = position;
        self.encoder.snapshot(index, term, Some(conf_state));
        let known = self.hard_state;
        let vote = known.vote.filter(|_| known.term >= term);
        let state = HardState { term: known.term.max(term), vote, commit: known.commit.max(index) };
        self.encoder.state(&state);
        self.hard_state = state;
        self.last_index = index;
        let done = self.write(true);
        self.poison_on_error(done)
    }

    /// Deletes the segments that hold no entry from `index` on. The snapshot record of `index`, if there is one, stays too.
    /// Returns how many were deleted.
    ///
    /// # Errors
    /// [`WalError::Io`], and from then on [`WalError::Poisoned`].
    pub fn release_to(&mut self, index: LogIndex) -> Result<usize, WalError> {
        self.check()?;
        let behind = self.segments.iter().rposition(|segment| segment.first <= index).unwrap_or(0);
        if behind == 0 {
            return Ok(0);
        }
        let released: Vec<Segment> = self.segments.drain(..behind).collect();
        let done = released
            .iter()
            .try_for_each(|segment| self.disk.remove(&segment::path(&self.dir, segment)))
            .and_then(|()| self.disk.sync_dir(&self.dir));
        self.poison_on_error(done)?;
        Ok(released.len())
    }

    /// Who writes this log.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.metadata
    }

    /// The last entry that was saved, or the snapshot that stands for it.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        self.last_index
    }

    /// The last hard state that was saved, all zero if there is none.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// How many segments there are.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Bytes written through this handle (`etcd_disk_wal_write_bytes_total`).
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    fn check(&self) -> Result<(), WalError> {
        self.failure.as_ref().map_or(Ok(()), |failure| Err(WalError::Poisoned(failure.clone())))
    }

    fn poison_on_error(&mut self, done: io::Result<()>) -> Result<(), WalError> {
        done.map_err(|source| {
            let path =
                self.segments.last().map_or(self.dir.clone(), |segment| segment::path(&self.dir, segment));
            let error = WalError::Io { path, source };
            self.failure = Some(error.to_string());
            error
        })
    }

    fn room_left(&self) -> bool {
        self.offset + (self.encoder.buffer.len() as u64) < self.options.segment_bytes
    }

    /// Writes what the encoder has.
    fn write(&mut self, sync: bool) -> io::Result<()> {
        let bytes = self.encoder.buffer.len() as u64;
        self.tail.write_all_at(&self.encoder.buffer, self.offset)?;
        self.encoder.clear();
        self.offset += bytes;
        self.bytes_written += bytes;
        if sync { self.tail.sync_data() } else { Ok(()) }
    }

    /// Ends the segment and begins the next. It has its head, durably, before it gets its name.
    fn cut(&mut self) -> io::Result<()> {
        self.tail.set_len(self.offset)?;
        self.tail.sync_data()?;
        let sequence = self.segments.last().map_or(0, |segment| segment.sequence + 1);
        let mut segment = Segment { sequence, first: self.last_index.next(), lock: None };
        let temporary = self.dir.join(format!("{}.tmp", sequence % 2));
        self.tail = preallocate(&*self.disk, &temporary, self.options.segment_bytes)?;
        self.offset = 0;
        self.encoder.crc_record();
        self.encoder.metadata(self.metadata.member, self.metadata.cluster);
        if self.hard_state != HardState::default() {
            self.encoder.state(&self.hard_state);
        }
        self.write(true)?;
        segment.lock = Some(self.disk.lock(&temporary)?);
        self.disk.rename(&temporary, &segment::path(&self.dir, &segment))?;
        self.disk.sync_dir(&self.dir)?;
        self.segments.push(segment);
        Ok(())
    }
}

/// The directory of a new log with its first segment, under its final name and durable.
fn create_files(
    disk: &dyn Disk,
    dir: &Path,
    segment: &Segment,
    head: &[u8],
    options: WalOptions,
) -> io::Result<Arc<dyn DiskFile>> {
    let mut temporary = OsString::from(dir);
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    if disk.exists(&temporary)? {
        disk.remove_dir_all(&temporary)?;
    }
    disk.create_dir_all(&temporary)?;
    let file = preallocate(disk, &segment::path(&temporary, segment), options.segment_bytes)?;
    file.write_all_at(head, 0)?;
    file.sync_data()?;
    disk.sync_dir(&temporary)?;
    disk.rename(&temporary, dir)?;
    disk.sync_dir(dir.parent().unwrap_or(Path::new("")))?;
    Ok(file)
}

/// The last segment, ready to be written from `end` on: preallocated again, and with nothing but zeros behind `end`. A torn write
/// can have left sectors there, and what comes next must not run into them.
///
/// What was read may be in memory only, written by a process that was killed before it synced. It will be built upon, so it is made
/// durable here, with the names that lead to it.
fn open_tail(
    disk: &dyn Disk,
    dir: &Path,
    path: &Path,
    end: u64,
    clean: bool,
    options: WalOptions,
) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.open(path)?;
    if !clean {
        file.set_len(end)?;
    }
    if !clean || file.len()? < options.segment_bytes {
        file.allocate(options.segment_bytes)?;
    }
    file.sync_data()?;
    disk.sync_dir(dir)?;
    disk.create_dir_all(dir)?;
    Ok(file)
}
