//! Taking up the content of another member's store.

use super::copy::Copy;
use super::segment::Segment;
use super::tables::Commit;
use super::{Restored, Shared, Store, StoreError, StoredRecord};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tenure_core::state::TableChange;
use tenure_core::types::{LogPosition, RecordRevision};

/// The content of another member's store on its way into this one: a snapshot that is being received. Its records
/// go into segments that nobody reads, so the store is used meanwhile as ever; [`Installation::finish`] puts
/// them in the place of what is there, in one durable step. What is dropped before has changed nothing.
#[derive(Debug)]
pub struct Installation {
    shared: Arc<Shared>,
    finished: Vec<Segment>,
    current: Option<Copy>,
    records: u64,
    last: Option<RecordRevision>,
}

impl Store {
    /// Begins to take up another member's content. Several can be on their way at once.
    #[must_use]
    pub fn install_begin(&self) -> Installation {
        let shared = self.shared.clone();
        Installation { shared, finished: Vec::new(), current: None, records: 0, last: None }
    }
}

impl Installation {
    /// Adds a record of the other store. They come in ascending order, without its dead ones.
    ///
    /// # Errors
    /// [`StoreError::RecordOutOfOrder`], or if the disk fails or is full: then the installation is of no use, but the
    /// store is what it was.
    pub fn push(&mut self, record: &StoredRecord) -> Result<(), StoreError> {
        let at = record.at;
        if let Some(last) = self.last.filter(|last| at <= *last) {
            return Err(StoreError::RecordOutOfOrder { at, last });
        }
        let bytes_max = self.shared.options.segment_bytes_max;
        let pair_bytes = record.kv.0.len();
        let current = match self.current.take_if(|full| !full.has_room_for(at, pair_bytes, bytes_max)) {
            Some(full) => {
                self.finished.push(full.finish()?);
                self.current.insert(Copy::begin(&self.shared, at)?)
            }
            None => match &mut self.current {
                Some(current) => current,
                none => none.insert(Copy::begin(&self.shared, at)?),
            },
        };
        current.push(record)?;
        self.records += 1;
        self.last = Some(at);
        Ok(())
    }

    /// Puts what was received in the place of everything that the store holds: `tables` are the changes that make the other
    /// member's tables out of nothing, `position` is its last applied entry. Durable when this returns; before, a crash
    /// leaves what was there. Whatever was appended before is gone, and a checkpoint that has begun has nothing to do any
    /// more. Returns what [`restore`](super::restore) needs to make the state machine that belongs to it; until that is in
    /// its place, reads find records gone.
    ///
    /// Nothing may be appended meanwhile. The log must say the same before an entry behind `position` is written to it
    /// ([`Wal::save_installed`](crate::wal::Wal::save_installed)); a start after a crash in between makes up for it
    /// ([`Restored::is_installed`]).
    ///
    /// # Errors
    /// [`StoreError::BatchOutOfOrder`] if the store holds that entry already; then nothing was changed. If the disk fails or is
    /// full, or if the store has stopped; the store has stopped after these.
    pub fn finish(mut self, position: LogPosition, tables: Vec<TableChange>) -> Result<Restored, StoreError> {
        let shared = self.shared.clone();
        let mut maintenance = shared.maintenance.lock();
        shared.check()?;
        let mut writer = shared.writer.lock();
        if position.index <= writer.applied() {
            return Err(StoreError::BatchOutOfOrder { applied: position.index, last: writer.applied() });
        }
        shared.guard(self.seal())?;
        // Taken out first: when the transaction fails nobody knows whether it names them.
        let segments = std::mem::take(&mut self.finished);
        let commit = Commit {
            replaces_all: true,
            position: Some((position.index, position.term)),
            changes: tables.clone(),
            segments: segments.iter().map(Segment::manifest_row).collect(),
            ..Commit::default()
        };
        shared.guard(maintenance.tables.commit(&commit))?;
        let last = self.last;
        maintenance.checkpoint = writer.replace(last.unwrap_or_default(), position.index, position.term);
        maintenance.durable = position.index;
        let old = shared.replace_segments(segments);
        for segment in old {
            shared
                .guard(shared.disk.remove(&segment.path).map_err(StoreError::io("remove", &segment.path)))?;
        }
        Ok(Restored {
            applied: position.index,
            term: position.term,
            is_installed: true,
            tables,
            records: self.records,
            last,
        })
    }

    /// Makes the segments durable, with their names.
    fn seal(&mut self) -> Result<(), StoreError> {
        if let Some(current) = self.current.take() {
            self.finished.push(current.finish()?);
        }
        let dir = &self.shared.dir;
        self.shared.disk.sync_dir(dir).map_err(StoreError::io("sync", dir))
    }
}

impl Drop for Installation {
    /// What was not installed goes; what cannot be removed now is removed when the store is opened next.
    fn drop(&mut self) {
        let mut paths: Vec<PathBuf> = self.finished.drain(..).map(|segment| segment.path).collect();
        paths.extend(self.current.take().map(|current| current.path().to_path_buf()));
        for path in paths {
            self.shared.disk.remove(&path).ok();
        }
    }
}

impl Shared {
    /// Lets readers find `segments`, which the manifest names, and nothing else. Returns what they found before.
    fn replace_segments(&self, segments: Vec<Segment>) -> Vec<Arc<Segment>> {
        let _marking = self.marking.lock();
        let segments: Vec<Arc<Segment>> = segments.into_iter().map(Arc::new).collect();
        for segment in &segments {
            let row = segment.manifest_row();
            segment.marks().manifest = Some(row);
        }
        let bytes = segments.iter().map(|segment| segment.file_bytes()).sum();
        self.segments_bytes.store(bytes, Ordering::Relaxed);
        self.dead_bytes.store(0, Ordering::Relaxed);
        let old = std::mem::replace(&mut *self.segments.write(), Arc::new(segments));
        self.recent.write().clear();
        self.started.lock().clear();
        Arc::unwrap_or_clone(old)
    }
}
