//! Giving back the room of dead records.

use super::copy::Copy;
use super::dead::DeadSet;
use super::format::HEADER_BYTES;
use super::scan::Part;
use super::segment::Segment;
use super::tables::Commit;
use super::{Maintenance, Shared, Store, StoreError};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tenure_core::types::RecordRevision;

/// So many neighbours whose live records fit in one segment become one, so the number of files stays in
/// proportion to what lives.
const NEIGHBOURS_JOINED: usize = 8;

/// What a step of [`Store::reclaim_step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReclaimProgress {
    /// There is nothing that is worth a step. Records that were marked dead after the last checkpoint began
    /// wait for the next.
    Idle,
    /// The files are so many bytes shorter, and there may be more to do.
    Reclaimed {
        /// Bytes given back to the file system.
        bytes: u64,
    },
}

/// A sealed segment that is in the manifest as it is.
struct Candidate {
    /// Bytes of its records.
    bytes: u64,
    /// Those of them that are not durably dead.
    live_bytes: u64,
    first: RecordRevision,
    last: RecordRevision,
}

impl Candidate {
    fn of(segment: &Segment) -> Option<Self> {
        let marks = segment.marks();
        let row = marks.manifest.filter(|row| row.sealed)?;
        let bytes = row.end_of_records - HEADER_BYTES as u64;
        let live_bytes = bytes - marks.dead_durable.bytes();
        Some(Self { bytes, live_bytes, first: row.first, last: row.last })
    }

    fn is_half_dead(&self) -> bool {
        self.live_bytes * 2 < self.bytes
    }

    fn has_dead(&self) -> bool {
        self.live_bytes < self.bytes
    }
}

/// Whether the live records of neighbours fit in one segment.
fn fit_in_one(neighbours: &[Option<Candidate>], segment_bytes_max: u32) -> bool {
    let mut bytes = HEADER_BYTES as u64;
    for candidate in neighbours {
        match candidate {
            Some(candidate) => bytes += candidate.live_bytes,
            None => return false,
        }
    }
    let ends = neighbours.first().and_then(Option::as_ref).zip(neighbours.last().and_then(Option::as_ref));
    let span = ends.map_or(i64::MAX, |(first, last)| last.last.main.0.saturating_sub(first.first.main.0));
    bytes <= u64::from(segment_bytes_max) && span <= i64::from(u32::MAX)
}

/// The segments of which one step makes one (or none).
fn choose(candidates: &[Option<Candidate>], segment_bytes_max: u32) -> Option<Range<usize>> {
    let half_dead = candidates.iter().enumerate().filter_map(|(at, candidate)| {
        let candidate = candidate.as_ref().filter(|candidate| candidate.is_half_dead())?;
        // Thousandths of the segment that live: the least first, those without any before all.
        Some((candidate.live_bytes.saturating_mul(1000) / candidate.bytes.max(1), candidate.live_bytes, at))
    });
    if let Some((_, _, at)) = half_dead.min() {
        return Some(at..at + 1);
    }
    let mut windows = candidates.windows(NEIGHBOURS_JOINED);
    let at = windows.position(|neighbours| fit_in_one(neighbours, segment_bytes_max))?;
    Some(at..at + NEIGHBOURS_JOINED)
}

impl Shared {
    fn candidates(&self) -> Vec<Option<Candidate>> {
        self.list().iter().map(|segment| Candidate::of(segment)).collect()
    }

    /// Makes one segment (or none) of the live records of those at `run` in the list. Returns how many bytes
    /// that gave back.
    fn rewrite(&self, maintenance: &mut Maintenance, run: Range<usize>) -> Result<u64, StoreError> {
        let old = self.list()[run.clone()].to_vec();
        let new = self.copy_live(&old)?;
        if new.is_some() {
            self.disk.sync_dir(&self.dir).map_err(StoreError::io("sync", &self.dir))?;
        }
        let row = new.as_ref().map(Segment::manifest_row);
        maintenance.tables.commit(&Commit {
            segments: row.into_iter().collect(),
            segments_removed: old.iter().map(|segment| segment.sequence).collect(),
            ..Commit::default()
        })?;
        if let Some(new) = &new {
            new.marks().manifest = row;
        }
        let new_bytes = new.as_ref().map_or(0, Segment::file_bytes);
        self.swap(run, &old, new.map(Arc::new));
        let old_bytes: u64 = old.iter().map(|segment| segment.file_bytes()).sum();
        self.segments_bytes.fetch_add(new_bytes, Ordering::Relaxed);
        self.segments_bytes.fetch_sub(old_bytes, Ordering::Relaxed);
        for segment in &old {
            self.disk.remove(&segment.path).map_err(StoreError::io("remove", &segment.path))?;
        }
        Ok(old_bytes.saturating_sub(new_bytes))
    }

    fn copy_live(&self, old: &[Arc<Segment>]) -> Result<Option<Segment>, StoreError> {
        let mut copy: Option<Copy> = None;
        for segment in old {
            let dead = segment.marks().dead_durable.clone();
            let mut part = Part { segment: segment.clone(), range: 0..segment.records(), dead };
            loop {
                let records = part.next_chunk()?;
                let Some(first) = records.first() else { break };
                let copy = match &mut copy {
                    Some(copy) => copy,
                    none => none.insert(Copy::begin(self, first.at)?),
                };
                records.iter().try_for_each(|record| copy.push(record))?;
            }
        }
        copy.map(Copy::finish).transpose()
    }

    /// Lets readers find `new` at the place of `old`, with the marks that came while it was made.
    fn swap(&self, run: Range<usize>, old: &[Arc<Segment>], new: Option<Arc<Segment>>) {
        let _marking = self.marking.lock();
        let mut gone_bytes = 0;
        let mut dead = DeadSet::default();
        for segment in old {
            let marks = segment.marks();
            gone_bytes += marks.dead.bytes();
            let Some(new) = &new else { continue };
            for index in DeadSet::places(&marks.dead.encode()) {
                if marks.dead_durable.contains(index) {
                    continue;
                }
                if let Some(place) = segment.address_of(index).and_then(|at| new.find(at)) {
                    dead.insert(place.index, place.bytes as u64);
                }
            }
        }
        self.dead_bytes.fetch_add(dead.bytes(), Ordering::Relaxed);
        self.dead_bytes.fetch_sub(gone_bytes, Ordering::Relaxed);
        if let Some(new) = &new
            && !dead.is_empty()
        {
            new.marks().dead = Arc::new(dead);
        }
        Arc::make_mut(&mut self.segments.write()).splice(run, new);
    }
}

impl Store {
    /// Marks records that no read can ask for any more: a scan does not return them, and their room is given
    /// back by steps after the next checkpoint. What is not there or marked already is passed over.
    ///
    /// The records of one key must be marked oldest first or in one call: what is left of a key after a crash
    /// must not begin with a put whose tombstone is gone. The compaction that makes them dead must have been
    /// appended before.
    pub fn mark_dead(&self, records: &[RecordRevision]) {
        let shared = &self.shared;
        let mut ordered = records.to_vec();
        ordered.sort_unstable();
        let _marking = shared.marking.lock();
        let list = shared.list();
        let mut rest = &ordered[..];
        while let Some(first) = rest.first() {
            let after = list.partition_point(|segment| segment.first <= *first);
            let end = list.get(after).map_or(rest.len(), |next| rest.partition_point(|at| *at < next.first));
            if let Some(segment) = after.checked_sub(1).and_then(|at| list.get(at)) {
                let dead_bytes = segment.mark(&rest[..end]);
                shared.dead_bytes.fetch_add(dead_bytes, Ordering::Relaxed);
            }
            rest = &rest[end..];
        }
    }

    /// Gives back the room of dead records in one step: drops a segment in which nothing lives, or rewrites
    /// one that is more than half dead, or joins neighbours in which little lives. Readers and appends wait
    /// for no more than the exchange of a pointer; a checkpoint that runs at the same time waits for the
    /// step.
    ///
    /// # Errors
    /// If the disk fails or is full, or if the store has stopped. The store has stopped after any of these.
    pub fn reclaim_step(&self) -> Result<ReclaimProgress, StoreError> {
        let shared = &self.shared;
        let mut maintenance = shared.maintenance.lock();
        shared.check()?;
        match choose(&shared.candidates(), shared.options.segment_bytes_max) {
            None => Ok(ReclaimProgress::Idle),
            Some(run) => {
                let bytes = shared.guard(shared.rewrite(&mut maintenance, run))?;
                Ok(ReclaimProgress::Reclaimed { bytes })
            }
        }
    }

    /// Gives back the room of every record that is dead now, and what the tables do not use: makes a
    /// checkpoint, rewrites each segment that has dead records, and compacts the tables. Reads and appends go
    /// on meanwhile. Returns how many bytes it gave back, the growth by appends meanwhile not counted.
    ///
    /// # Errors
    /// As [`Store::reclaim_step`].
    pub fn defragment(&self) -> Result<u64, StoreError> {
        let shared = &self.shared;
        shared.check()?;
        shared.guard(shared.writer.lock().seal_if_dead(shared))?;
        self.checkpoint_begin().run()?;
        let mut given_back = 0;
        loop {
            let mut maintenance = shared.maintenance.lock();
            shared.check()?;
            let with_dead =
                |candidate: &Option<Candidate>| candidate.as_ref().is_some_and(Candidate::has_dead);
            let Some(at) = shared.candidates().iter().position(with_dead) else { break };
            given_back += shared.guard(shared.rewrite(&mut maintenance, at..at + 1))?;
        }
        while let ReclaimProgress::Reclaimed { bytes } = self.reclaim_step()? {
            given_back += bytes;
        }
        let before = shared.tables_bytes.load(Ordering::Relaxed);
        shared.guard(shared.maintenance.lock().tables.compact())?;
        Ok(given_back + before.saturating_sub(shared.tables_bytes.load(Ordering::Relaxed)))
    }
}
