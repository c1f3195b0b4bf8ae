//! How watchers that are behind read history: all of a stream in one pass, in bounded steps.

use super::event::{EventSource, Filters, HistoryBounds, HistoryPart, RevisionEvents};
use bytes::Bytes;
use std::sync::Arc;
use tenure_core::state::Halt;
use tenure_core::types::{KeyRange, Revision};

/// A watcher that is behind.
#[derive(Clone, Debug)]
pub struct Straggler {
    /// Its id on the stream.
    pub watch_id: i64,
    /// Tells it from others that had the same id before.
    pub serial: u64,
    /// Which keys.
    pub range: KeyRange,
    /// What not to deliver.
    pub filters: Filters,
    /// Whether it wants the pair before.
    pub prev_kv: bool,
    /// What it needs next.
    pub next: Revision,
}

/// What one step found for one watcher.
#[derive(Debug)]
pub struct Catch {
    /// Whose.
    pub watch_id: i64,
    /// The straggler's serial.
    pub serial: u64,
    /// How it went.
    pub found: Found,
}

/// How a step went for one watcher.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Events of whole revisions, each revision's number with its encoded event, and what it needs next.
    Events {
        /// In order.
        events: Vec<(Revision, Bytes)>,
        /// What it needs next.
        next: Revision,
    },
    /// A compaction took what it needs.
    Compacted(Revision),
}

/// The outcome of a step.
#[derive(Debug)]
pub struct Step {
    /// One for every straggler that the step looked at.
    pub catches: Vec<Catch>,
    /// The visible revision when the step began.
    pub visible: Revision,
}

/// Reads one part of history for everybody who needs it.
///
/// # Errors
/// [`Halt`] if history cannot be read.
pub fn step(source: &dyn EventSource, stragglers: &[Straggler], bounds: HistoryBounds) -> Result<Step, Halt> {
    let visible = source.revision();
    let compacted = source.compacted();
    let lost = |straggler: &Straggler| compacted.filter(|compacted| straggler.next < *compacted);
    let from = stragglers.iter().filter(|one| lost(one).is_none()).map(|one| one.next).min();
    let part = match from {
        Some(from) if from <= visible => source.history(from, visible, bounds)?,
        _ => HistoryPart { revisions: Vec::new(), through: visible },
    };
    let mut catches = Vec::with_capacity(stragglers.len());
    for straggler in stragglers {
        let found = match lost(straggler) {
            Some(compacted) => Found::Compacted(compacted),
            None => Found::Events {
                events: select(source, straggler, &part.revisions)?,
                next: straggler.next.max(part.through.next()),
            },
        };
        catches.push(Catch { watch_id: straggler.watch_id, serial: straggler.serial, found });
    }
    // A compaction that ran meanwhile may have taken records out of what was read: look again.
    if source.compacted() == compacted {
        Ok(Step { catches, visible })
    } else {
        step(source, stragglers, bounds)
    }
}

fn select(
    source: &dyn EventSource,
    straggler: &Straggler,
    revisions: &[Arc<RevisionEvents>],
) -> Result<Vec<(Revision, Bytes)>, Halt> {
    let mut events = Vec::new();
    for revision in revisions.iter().filter(|revision| straggler.next <= revision.revision) {
        for event in &revision.events {
            if straggler.range.contains(event.key.as_slice()) && straggler.filters.pass(event) {
                let bytes = if straggler.prev_kv { event.wire_with_prev(source)? } else { event.wire() };
                events.push((revision.revision, bytes));
            }
        }
    }
    Ok(events)
}
