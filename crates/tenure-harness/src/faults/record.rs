//! What clients saw, written down while it happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tenure_check::{Lease, LeaseEvent, Operation, Stream, Watch, What};

/// Where clients find the members.
#[derive(Debug, Default)]
pub(super) struct Endpoints(Mutex<Vec<Endpoint>>);

/// One member as a client sees it.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub url: String,
    /// Counts its processes and its disks: what one has shown, the same one shows again.
    pub run: u64,
    /// Whether clients should ask it.
    pub is_there: bool,
}

impl Endpoints {
    fn lock(&self) -> MutexGuard<'_, Vec<Endpoint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, url: String) {
        self.lock().push(Endpoint { url, run: 0, is_there: true });
    }

    /// Another process answers at this place from now on, or none.
    pub fn changed(&self, at: usize, is_there: bool) {
        let mut all = self.lock();
        all[at].run += 1;
        all[at].is_there = is_there;
    }

    pub fn at(&self, at: usize) -> Endpoint {
        self.lock()[at].clone()
    }

    /// The places of members that can be asked.
    pub fn there(&self) -> Vec<usize> {
        let all = self.lock();
        (0..all.len()).filter(|at| all[*at].is_there).collect()
    }
}

/// What clients saw.
#[derive(Debug)]
pub(super) struct Record {
    begin: Instant,
    moment: AtomicU64,
    next_id: AtomicU64,
    seen: Mutex<Seen>,
    acknowledged: Mutex<Gap>,
}

#[derive(Debug, Default)]
struct Seen {
    operations: Vec<Operation>,
    leases: BTreeMap<i64, Lease>,
    watches: Vec<Watch>,
    streams: Vec<Stream>,
    errors: BTreeMap<String, u64>,
    wrong: Vec<String>,
}

/// The longest time without an acknowledged write since somebody began to look.
#[derive(Clone, Copy, Debug)]
struct Gap {
    last: Instant,
    longest: Duration,
    count: u64,
}

impl Gap {
    fn new(now: Instant) -> Self {
        Self { last: now, longest: Duration::ZERO, count: 0 }
    }

    /// What was under way ends here, and another one begins.
    fn cut(&mut self, now: Instant) {
        self.longest = self.longest(now);
        self.last = now;
    }

    /// The longest, one that goes on included.
    fn longest(&self, now: Instant) -> Duration {
        self.longest.max(now - self.last)
    }
}

/// All that was seen, at the end.
#[derive(Debug)]
pub(super) struct Story {
    pub operations: Vec<Operation>,
    pub leases: Vec<Lease>,
    pub watches: Vec<Watch>,
    pub streams: Vec<Stream>,
    pub errors: BTreeMap<String, u64>,
}

impl Record {
    pub fn new() -> Self {
        let begin = Instant::now();
        Self {
            begin,
            moment: AtomicU64::new(1),
            next_id: AtomicU64::new(1),
            seen: Mutex::default(),
            acknowledged: Mutex::new(Gap::new(begin)),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gap(&self) -> MutexGuard<'_, Gap> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that orders what happens; none is given out twice.
    pub fn moment(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    /// Names a request.
    pub fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::SeqCst)
    }

    /// The time since the begin.
    pub fn time(&self) -> Duration {
        self.begin.elapsed()
    }

    pub fn operation(&self, called: u64, returned: Option<u64>, what: What) {
        self.seen().operations.push(Operation { called, returned, what });
    }

    /// A write was acknowledged just now.
    pub fn acknowledged(&self) {
        let mut gap = self.gap();
        gap.cut(Instant::now());
        gap.count += 1;
    }

    /// Begins to look for the longest gap.
    pub fn begin_gap(&self) {
        self.gap().longest = Duration::ZERO;
    }

    /// Something happens just now: what was acknowledged before says nothing of how long it keeps writes back.
    pub fn strike(&self) {
        self.gap().cut(Instant::now());
    }

    /// The longest gap since the last look began, one that goes on included.
    pub fn longest_gap(&self) -> Duration {
        self.gap().longest(Instant::now())
    }

    /// Acknowledged writes so far.
    pub fn writes(&self) -> u64 {
        self.gap().count
    }

    pub fn lease(&self, id: i64, event: LeaseEvent) {
        let mut seen = self.seen();
        let lease = seen.leases.entry(id).or_insert_with(|| Lease { id, ..Lease::default() });
        lease.events.push(event);
    }

    pub fn watch(&self, watch: Watch) {
        self.seen().watches.push(watch);
    }

    pub fn stream(&self, stream: Stream) {
        self.seen().streams.push(stream);
    }

    /// Counts how often a request failed, and why.
    pub fn error(&self, status: &tonic::Status) {
        self.failure(format!("{:?}: {}", status.code(), status.message()));
    }

    /// Counts how often something failed that may.
    pub fn failure(&self, what: String) {
        let text = what.chars().take(120).collect();
        *self.seen().errors.entry(text).or_default() += 1;
    }

    /// Something that cannot be was seen.
    pub fn wrong(&self, what: String) {
        self.seen().wrong.push(what);
    }

    /// The first thing that was seen and cannot be.
    pub fn first_wrong(&self) -> Option<String> {
        self.seen().wrong.first().cloned()
    }

    /// Takes everything that was written down.
    pub fn take(&self) -> Story {
        let seen = std::mem::take(&mut *self.seen());
        Story {
            operations: seen.operations,
            leases: seen.leases.into_values().collect(),
            watches: seen.watches,
            streams: seen.streams,
            errors: seen.errors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_begins_anew_with_what_happens_and_the_one_before_still_counts() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let millis = |gap: Gap, now| gap.longest(at(now)).as_millis();
        let mut gap = Gap::new(begin);
        gap.cut(at(40));
        assert_eq!(millis(gap, 45), 40, "nobody wrote before it happened");
        assert_eq!(millis(gap, 90), 50, "and it goes on for longer");
        gap.longest = Duration::ZERO;
        assert_eq!(millis(gap, 60), 20, "it counts from what happened");
    }
}
