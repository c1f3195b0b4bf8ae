//! A machine of the cluster: its disk, its clock, and the member that runs on it, if one does.

use super::network::HostAt;
use crate::disk::{Crash, SimDisk};
use crate::member::{Member, MemberOptions};
use crate::random::Random;
use std::collections::BTreeMap;
use std::time::Duration;
use tenure_core::lease::LeaseClock;
use tenure_core::membership;
use tenure_core::node::{LeaseTicket, ReadTicket};
use tenure_core::types::{LeaseId, MemberId, Moment, RequestId};

/// A clock that should run for a second runs for this many microseconds.
const CLOCK_MICROS_MIN: i64 = 970_000;
const CLOCK_MICROS_MAX: i64 = 1_030_000;

/// What a host is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It will be a member, if somebody adds it.
    Outside,
    /// It is a member, as far as anybody knows.
    Inside,
    /// It was removed, and runs on until it is taken away.
    Leaving,
    /// It is no more.
    Gone,
}

/// Threads of a member.
pub const THREADS: usize = 4;
/// Of these, the one that writes the log, the driver, the one that applies, and the one that does upkeep.
pub const WAL: usize = 0;
pub const DRIVER: usize = 1;
pub const APPLY: usize = 2;
pub const UPKEEP: usize = 3;

/// Who wants a lease to be renewed.
#[derive(Clone, Copy, Debug)]
pub enum Asker {
    /// A client, by this operation.
    Client { op: usize, lease: LeaseId, passed_on: bool },
    /// Another member.
    Peer { host: HostAt, run: u64, ticket: LeaseTicket, lease: LeaseId },
}

/// The machine.
pub struct Host {
    pub id: MemberId,
    pub disk: SimDisk,
    pub options: MemberOptions,
    pub member: Option<Member>,
    pub place: Place,
    /// Counts the starts of the member.
    pub run: u64,
    /// True time of the start.
    booted: u64,
    /// How fast the clock is: microseconds for a true second.
    clock_micros: u64,
    pub frozen_until: u64,
    pub scheduled: [bool; THREADS],
    /// Until then each thread is up to so many microseconds late, if it is busy with something else.
    pub busy_until: u64,
    pub busy_micros: [u64; THREADS],
    pub sync_failed: bool,
    pub is_stopping: bool,
    /// Entries between two checkpoints, and since the last.
    pub checkpoint_entries: u64,
    pub since_checkpoint: u64,
    next_ticket: u64,
    pub proposals: BTreeMap<RequestId, usize>,
    pub reads: BTreeMap<ReadTicket, usize>,
    pub renewals: BTreeMap<LeaseTicket, Asker>,
    /// For a planted bug: a clock of leases that nobody stops.
    pub stray_clock: Option<LeaseClock>,
}

/// How a member is described in the log.
pub fn description(at: HostAt) -> membership::Member {
    let name = format!("m{}", at + 1);
    let peer_urls = vec![format!("http://{name}:2380")];
    membership::Member { id: id_of(at), name, peer_urls, ..membership::Member::default() }
}

/// The id of the member at a place.
pub fn id_of(at: HostAt) -> MemberId {
    MemberId(at as u64 + 1)
}

impl Place {
    /// Whether the member that ends there comes back.
    pub fn comes_back(self) -> bool {
        matches!(self, Place::Inside | Place::Leaving)
    }
}

impl Host {
    pub fn new(at: HostAt, options: MemberOptions, place: Place, random: &mut Random) -> Self {
        Self {
            id: id_of(at),
            disk: SimDisk::new(random.fork()),
            options: MemberOptions { member: id_of(at), ..options },
            member: None,
            place,
            run: 0,
            booted: 0,
            clock_micros: match random.below(4) {
                0 => CLOCK_MICROS_MIN as u64,
                1 => CLOCK_MICROS_MAX as u64,
                _ => random.between(CLOCK_MICROS_MIN, CLOCK_MICROS_MAX) as u64,
            },
            frozen_until: 0,
            scheduled: [false; THREADS],
            busy_until: 0,
            busy_micros: [0; THREADS],
            sync_failed: false,
            is_stopping: false,
            checkpoint_entries: *random.pick(&[4, 15, 60, 300]),
            since_checkpoint: 0,
            next_ticket: 0,
            proposals: BTreeMap::new(),
            reads: BTreeMap::new(),
            renewals: BTreeMap::new(),
            stray_clock: None,
        }
    }

    /// One that is no member yet.
    pub fn to_join(at: HostAt, options: &MemberOptions, random: &mut Random) -> Self {
        let options = MemberOptions { founders: Vec::new(), ..options.clone() };
        Self::new(at, options, Place::Outside, random)
    }

    /// What its clock shows at the true time `now`.
    pub fn clock(&self, now: u64) -> Moment {
        Moment(Duration::from_micros((now - self.booted) * self.clock_micros / 1_000_000))
    }

    /// The true time that passes while its clock runs for `duration`.
    pub fn true_micros(&self, duration: Duration) -> u64 {
        duration.as_micros() as u64 * 1_000_000 / self.clock_micros
    }

    /// Lets a thread be late until the true time `until`.
    pub fn keep_busy(&mut self, thread: usize, micros: u64, until: u64) {
        if self.busy_until < until {
            self.busy_micros = [0; THREADS];
            self.busy_until = until;
        }
        self.busy_micros[thread] = micros;
    }

    /// What comes to how late a thread is anyway.
    pub fn late_micros(&self, thread: usize, now: u64) -> u64 {
        if now < self.busy_until { self.busy_micros[thread] } else { 0 }
    }

    pub fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// A run begins.
    pub fn begin(&mut self, now: u64, random: &mut Random) {
        self.run += 1;
        self.booted = now;
        self.options.seed = random.next_u64();
        self.options.unix_millis = 1_700_000_000_000 + now / 1_000 + self.run;
        self.scheduled = [false; THREADS];
        self.is_stopping = false;
        self.since_checkpoint = 0;
    }

    /// The run ends, and the disk loses what `crash` loses. Returns the operations that nobody answers any more.
    pub fn crash(&mut self, crash: Crash) -> Vec<usize> {
        self.sync_failed &= crash == Crash::Process;
        // The disk first: what the parts of a member do when they are dropped, a killed process does not do.
        self.disk = self.disk.crash(crash);
        self.member = None;
        self.stray_clock = None;
        let reads = std::mem::take(&mut self.reads).into_values();
        let mut left: Vec<usize> = std::mem::take(&mut self.proposals).into_values().chain(reads).collect();
        for asker in std::mem::take(&mut self.renewals).into_values() {
            if let Asker::Client { op, .. } = asker {
                left.push(op);
            }
        }
        left
    }
}
