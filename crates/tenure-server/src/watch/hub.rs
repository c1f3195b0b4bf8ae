//! The watch hub: one cursor over history that hands each new revision to the watchers it touches.
//!
//! A watcher is *live* while the hub delivers to it, *behind* once it did not fit into its stream's mailbox or asked for history. One
//! that is behind reads history at its own pace (`catch_up.rs`) and rejoins when it has reached the hub. So nothing is lost, nothing is
//! repeated, and the memory of a slow reader is bounded by its mailbox.

use super::event::{EventSource, Filters, HistoryBounds, HistoryPart, RevisionEvents};
use super::index::{RangeIndex, Slot};
use super::mailbox::{Delivery, Mailbox};
use parking_lot::Mutex;
use std::sync::Arc;
use tenure_core::state::Halt;
use tenure_core::types::{KeyRange, Revision};

/// What a stream asks the hub to watch for it.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The id on the stream.
    pub watch_id: i64,
    /// Which keys.
    pub range: KeyRange,
    /// What not to deliver.
    pub filters: Filters,
}

/// Where a watcher stands after it asked to be live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The hub delivers to it.
    Live,
    /// It must read history from its next revision first.
    Behind,
}

/// The hub.
pub struct Hub {
    desk: Mutex<Desk>,
}

struct Desk {
    /// Everything below has been handed out.
    next: Revision,
    watchers: Vec<Option<Watcher>>,
    free: Vec<Slot>,
    index: RangeIndex,
    progress: Vec<PendingProgress>,
    closed: bool,
    /// Reused between revisions.
    found: Vec<Slot>,
    picks: Vec<(Slot, u32)>,
}

struct Watcher {
    subscription: Subscription,
    mailbox: Arc<Mailbox>,
    /// Revisions below are not for it.
    next: Revision,
    live: bool,
}

struct PendingProgress {
    mailbox: Arc<Mailbox>,
    watch_id: i64,
    target: Revision,
}

impl Hub {
    /// A hub whose watchers see what comes after `revision`.
    #[must_use]
    pub fn new(revision: Revision) -> Self {
        Self {
            desk: Mutex::new(Desk {
                next: revision.next(),
                watchers: Vec::new(),
                free: Vec::new(),
                index: RangeIndex::default(),
                progress: Vec::new(),
                closed: false,
                found: Vec::new(),
                picks: Vec::new(),
            }),
        }
    }

    /// Watches for a stream from `next` on. What is at or below `visible`, the revision when the watcher was asked for, it must read by
    /// itself, even if the hub has yet to come there: then it is told if a compaction took it (W5).
    pub fn subscribe(
        &self,
        mailbox: &Arc<Mailbox>,
        subscription: Subscription,
        next: Revision,
        visible: Revision,
    ) -> (Slot, Standing) {
        let mut desk = self.desk.lock();
        let live = next >= desk.next && next > visible;
        let slot = desk.free.pop().unwrap_or_else(|| {
            desk.watchers.push(None);
            desk.watchers.len() - 1
        });
        desk.index.insert(&subscription.range, slot);
        desk.watchers[slot] = Some(Watcher { subscription, mailbox: mailbox.clone(), next, live });
        (slot, if live { Standing::Live } else { Standing::Behind })
    }

    /// Makes a watcher live again if it has reached the hub; `next` is what it needs next.
    pub fn rejoin(&self, slot: Slot, next: Revision) -> Standing {
        let mut desk = self.desk.lock();
        let reached = next >= desk.next;
        match desk.watchers.get_mut(slot) {
            Some(Some(watcher)) if reached => {
                watcher.next = next;
                watcher.live = true;
                Standing::Live
            }
            _ => Standing::Behind,
        }
    }

    /// Forgets a watcher.
    pub fn unsubscribe(&self, slot: Slot) {
        let mut desk = self.desk.lock();
        if let Some(watcher) = desk.watchers.get_mut(slot).and_then(Option::take) {
            desk.index.remove(&watcher.subscription.range, slot);
            desk.free.push(slot);
        }
    }

    /// Puts a progress into the mailbox once everything up to `target` has been handed out. It tells the revision that is reached then:
    /// what is behind `target` may have been handed out with it, and who has seen that must not be told less.
    pub fn progress(&self, mailbox: &Arc<Mailbox>, watch_id: i64, target: Revision) {
        let mut desk = self.desk.lock();
        desk.progress.push(PendingProgress { mailbox: mailbox.clone(), watch_id, target });
        desk.answer_progress();
    }

    /// Everything up to here has been handed out.
    #[must_use]
    pub fn reached(&self) -> Revision {
        self.desk.lock().reached()
    }

    /// Hands out all of history up to the visible revision.
    ///
    /// # Errors
    /// [`Halt`] if history cannot be read.
    pub fn follow(&self, source: &dyn EventSource, bounds: HistoryBounds) -> Result<(), Halt> {
        loop {
            let visible = source.revision();
            let next = self.desk.lock().next;
            if next > visible {
                return Ok(());
            }
            let Some(part) = self.read(source, next, visible, bounds)? else { continue };
            let mut desk = self.desk.lock();
            for revision in &part.revisions {
                desk.hand_out(revision);
            }
            desk.next = part.through.next();
            desk.answer_progress();
        }
    }

    /// What comes next. Nothing: it has to be looked for anew. A compaction takes nothing from who is up to date, though it was applied
    /// together with the writes before it: those are still in memory.
    fn read(
        &self,
        source: &dyn EventSource,
        next: Revision,
        visible: Revision,
        bounds: HistoryBounds,
    ) -> Result<Option<HistoryPart>, Halt> {
        if let Some(part) = source.recent(next, visible, bounds) {
            return Ok(Some(part));
        }
        let is_lost = || source.compacted().is_some_and(|compacted| next < compacted);
        if is_lost() {
            // Too slow for a compaction: everybody reads on their own, and learns of the compaction there.
            self.desk.lock().leave_behind(visible);
            return Ok(None);
        }
        let part = source.history(next, visible, bounds)?;
        // It may have come meanwhile, with another member's state or without, and may have taken records out of what was read.
        Ok((!is_lost()).then_some(part))
    }

    /// Whether anybody would notice a new revision.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let desk = self.desk.lock();
        desk.watchers.len() > desk.free.len() || !desk.progress.is_empty()
    }

    /// No more deliveries: every stream learns that the member stops.
    pub fn close(&self) {
        let mut desk = self.desk.lock();
        desk.closed = true;
        for watcher in desk.watchers.iter().flatten() {
            watcher.mailbox.close();
        }
    }

    /// Watchers of all streams, and how many of them are behind.
    #[must_use]
    pub fn census(&self) -> (usize, usize) {
        let desk = self.desk.lock();
        let all = desk.watchers.iter().flatten();
        all.fold((0, 0), |(total, behind), watcher| (total + 1, behind + usize::from(!watcher.live)))
    }
}

impl Desk {
    fn hand_out(&mut self, revision: &Arc<RevisionEvents>) {
        let mut picks = std::mem::take(&mut self.picks);
        for (at, event) in (0u32..).zip(&revision.events) {
            self.found.clear();
            self.index.matches(event.key.as_slice(), &mut self.found);
            for slot in &self.found {
                let wanted = self.watchers[*slot].as_ref().is_some_and(|watcher| {
                    watcher.live
                        && watcher.next <= revision.revision
                        && watcher.subscription.filters.pass(event)
                });
                if wanted {
                    picks.push((*slot, at));
                }
            }
        }
        if revision.events.len() > 1 {
            picks.sort_unstable();
        }
        for group in picks.chunk_by(|a, b| a.0 == b.0) {
            let Some(watcher) = self.watchers[group[0].0].as_mut() else { continue };
            let delivery = Delivery::Events {
                watch_id: watcher.subscription.watch_id,
                revision: revision.clone(),
                picked: group.iter().map(|(_, at)| *at).collect(),
            };
            if !watcher.mailbox.offer(delivery) {
                watcher.live = false;
                watcher.mailbox.fall_behind(watcher.subscription.watch_id, revision.revision);
            }
        }
        picks.clear();
        self.picks = picks;
    }

    fn leave_behind(&mut self, visible: Revision) {
        for watcher in self.watchers.iter_mut().flatten().filter(|watcher| watcher.live) {
            let from = watcher.next.max(self.next);
            if from <= visible {
                watcher.live = false;
                watcher.mailbox.fall_behind(watcher.subscription.watch_id, from);
            }
        }
        self.next = visible.next();
    }

    fn reached(&self) -> Revision {
        Revision(self.next.0 - 1)
    }

    fn answer_progress(&mut self) {
        let revision = self.reached();
        self.progress.retain(|pending| {
            if pending.target > revision {
                return true;
            }
            // A full mailbox means that the stream is not up to date: no answer, the client asks again (W12).
            pending.mailbox.offer(Delivery::Progress { watch_id: pending.watch_id, revision });
            false
        });
    }
}
