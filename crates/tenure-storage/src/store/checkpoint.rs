//! Making durable what was appended.

use super::dead::DeadSet;
use super::format::ManifestRow;
use super::segment::Segment;
use super::tables::Commit;
use super::{Maintenance, Shared, Store, StoreError};
use std::sync::Arc;
use tenure_core::state::TableChange;
use tenure_core::types::{LogIndex, Term};

/// A checkpoint that has begun: it knows what has to become durable. One that is dropped without
/// [`Checkpoint::run`] changes nothing; the next one makes up for it.
#[derive(Debug)]
#[must_use = "nothing is durable before it has run"]
pub struct Checkpoint {
    shared: Arc<Shared>,
    /// Checkpoints are numbered in the order in which they begin.
    number: u64,
    applied: LogIndex,
    term: Term,
    /// Segments of which something is not durable.
    captured: Vec<Captured>,
}

#[derive(Debug)]
struct Captured {
    segment: Arc<Segment>,
    /// The row of the manifest, if it differs from the durable one.
    row: Option<ManifestRow>,
    /// The file is not known to the manifest yet.
    is_new: bool,
    /// The dead, if there are more than the durable ones.
    dead: Option<Arc<DeadSet>>,
}

impl Captured {
    fn of(segment: &Arc<Segment>) -> Option<Self> {
        let row = segment.manifest_row();
        let marks = segment.marks();
        let grown = marks.manifest != Some(row);
        let died = !Arc::ptr_eq(&marks.dead, &marks.dead_durable);
        (grown || died).then(|| Self {
            segment: segment.clone(),
            row: grown.then_some(row),
            is_new: marks.manifest.is_none(),
            dead: died.then(|| marks.dead.clone()),
        })
    }

    /// Remembers that it is durable.
    fn done(&self) {
        let mut marks = self.segment.marks();
        if let Some(row) = self.row {
            marks.manifest = Some(row);
        }
        if let Some(dead) = &self.dead {
            marks.dead_durable = dead.clone();
        }
    }
}

impl Store {
    /// Begins a checkpoint at the last entry that was appended. Cheap: it takes no time that depends on how
    /// much has to be written, so the thread that appends can call it. The slow part is [`Checkpoint::run`],
    /// on any thread, while appends go on.
    pub fn checkpoint_begin(&self) -> Checkpoint {
        let shared = &self.shared;
        let mut writer = shared.writer.lock();
        let _marking = shared.marking.lock();
        let position = writer.begin_checkpoint(&mut shared.started.lock());
        Checkpoint {
            shared: shared.clone(),
            number: position.checkpoint,
            applied: position.applied,
            term: position.term,
            captured: shared.list().iter().filter_map(Captured::of).collect(),
        }
    }
}

impl Checkpoint {
    /// The index that will be durable: that of the last entry appended when the checkpoint began.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Syncs the segments and commits the tables and the manifest. Returns the index up to which everything
    /// is durable now, which can be a newer one than that of this checkpoint if a later one has run already:
    /// WAL segments that hold only entries up to it can go.
    ///
    /// # Errors
    /// If the disk fails or is full, or if the store has stopped. The store has stopped after any of these.
    pub fn run(self) -> Result<LogIndex, StoreError> {
        let shared = &self.shared;
        let mut maintenance = shared.maintenance.lock();
        shared.check()?;
        if self.number > maintenance.checkpoint {
            shared.guard(self.commit(&mut maintenance))?;
        }
        Ok(maintenance.durable)
    }

    fn commit(&self, maintenance: &mut Maintenance) -> Result<(), StoreError> {
        maintenance.checkpoint = self.number;
        let shared = &self.shared;
        // A segment that was rewritten in between is durable where it is now, and its marks come with the
        // next checkpoint.
        let list = shared.list();
        let listed = |captured: &&Captured| list.iter().any(|other| Arc::ptr_eq(other, &captured.segment));
        let captured: Vec<&Captured> = self.captured.iter().filter(listed).collect();
        for one in captured.iter().filter(|one| one.row.is_some()) {
            one.segment.sync()?;
        }
        if captured.iter().any(|one| one.is_new) {
            shared.disk.sync_dir(&shared.dir).map_err(StoreError::io("sync", &shared.dir))?;
        }
        let changes = self.changes();
        let idle = captured.is_empty() && changes.is_empty() && self.applied == maintenance.durable;
        if !idle {
            maintenance.tables.commit(&Commit {
                position: Some((self.applied, self.term)),
                changes,
                segments: captured.iter().filter_map(|one| one.row).collect(),
                dead: captured
                    .iter()
                    .filter_map(|one| Some((one.segment.sequence, one.dead.as_deref()?)))
                    .collect(),
                ..Commit::default()
            })?;
        }
        captured.iter().for_each(|one| one.done());
        maintenance.durable = self.applied;
        Ok(())
    }

    /// Takes the changes of tables up to the index of this checkpoint. If they cannot be committed the store
    /// stops, so nobody misses them.
    fn changes(&self) -> Vec<TableChange> {
        let mut started = self.shared.started.lock();
        let count = started.partition_point(|(index, _)| *index <= self.applied);
        started.drain(..count).map(|(_, change)| change).collect()
    }
}
