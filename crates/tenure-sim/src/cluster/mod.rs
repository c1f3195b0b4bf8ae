//! A cluster of members, its clients, its network and what goes wrong with all of them.
//!
//! Time is true time in microseconds; each host has a clock of its own that runs fast or slow. A queue of events says what
//! happens next: a message arrives, a thread of a member has its turn, a client calls, a fault begins or ends. Whoever takes an
//! event carries out what follows in the order that the server's driver keeps (`core::node`), and everything that is noticed
//! of a member is compared with what members agree on (`agreed.rs`) at once, and with what clients saw at the end ([`tenure_check`]).

mod agreed;
mod clients;
mod faults;
mod finale;
mod host;
mod network;
mod run;

use crate::bug::Bug;
use crate::check::{Bounds, Watch};
use crate::member::{ELECTION_TICKS, Failure, MemberOptions, NodeBounds, TICK};
use crate::promises::Turns;
use crate::random::Random;
use crate::trace::Trace;
use crate::workload::{USERS, Workload};
use agreed::Agreed;
use clients::{Client, Operation, Rush, watched};
use host::{Host, Place, description};
use network::{HostAt, Network, Packet, Quality};
use std::collections::BTreeMap;
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_core::node::Input;
use tenure_core::state::Outcome;
use tenure_core::types::{ClusterId, MemberId};

/// How exact leases are in a cluster whose clocks run at most 3 % fast or slow. A renewal that was answered is kept by whoever leads
/// next, since a leader renews only while nobody else can have been elected for longer than what the next one adds to every life.
/// So what is left on the early side is the difference of the clocks over a life; on the late side it is that, what a new leader
/// adds, the rounding of noted lives, the search for expired ones twice a second, and their way through the log.
pub const LEASE_BOUNDS: Bounds = Bounds { early: Duration::from_millis(450), late: Duration::from_secs(5) };

/// Hosts that there can be, with those that join and replace others.
const HOSTS_MAX: usize = 12;
const CLIENTS: usize = 5;
/// So long a cluster is frail, if it is.
const FRAIL_MICROS: u64 = 4_000_000;
const WATCHERS: usize = 4;

/// Something that happens.
#[derive(Debug)]
enum Event {
    Arrives(Box<Packet>),
    /// A client's call reaches a member.
    Call {
        host: HostAt,
        run: u64,
        op: usize,
    },
    Turn {
        host: HostAt,
        run: u64,
        thread: usize,
    },
    Tick {
        host: HostAt,
        run: u64,
    },
    Boot(HostAt),
    /// The power fails soon after a start.
    PowerFails {
        host: HostAt,
        run: u64,
    },
    /// A host that is no member yet is to become one.
    Join(HostAt),
    /// A leader whose driver is busy is to lead no more.
    Depose {
        host: HostAt,
        run: u64,
    },
    Retire(HostAt),
    /// A sender hears whether a snapshot arrived, which he always does unless he ends.
    SnapshotSent {
        host: HostAt,
        run: u64,
        to: MemberId,
        arrived: bool,
    },
    /// A read that was let in is answered.
    Tell {
        host: HostAt,
        run: u64,
        op: usize,
        auth_revision: u64,
    },
    /// A client has nothing to do.
    Client(usize),
    GiveUp(usize),
    Watch(usize),
    Fault,
    Heal(u64),
    Worsen,
}

/// A watcher: a cursor that any member serves.
#[derive(Debug)]
struct Watcher {
    host: HostAt,
    next: i64,
    seen: Watch,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// The hash of everything that happened.
    pub trace: u64,
    /// Entries that were applied.
    pub entries: u64,
    /// Operations that were answered.
    pub answered: u64,
    /// Snapshots that were installed.
    pub installed: u64,
    /// Elections that were won.
    pub elections: u64,
    /// Members that were added, promoted, updated or removed.
    pub changes: u64,
    /// What was refused because of who asked.
    pub forbidden: u64,
    /// What was refused because of an alarm.
    pub alarmed: u64,
    /// What met in single turns.
    pub turns: Turns,
}

impl Story {
    fn note(&mut self, outcome: &Outcome) {
        match outcome {
            Err(EtcdError::AuthOldRevision | EtcdError::PermissionDenied | EtcdError::UserEmpty) => {
                self.forbidden += 1;
            }
            Err(EtcdError::NoSpace | EtcdError::Corrupt) => self.alarmed += 1,
            _ => {}
        }
    }

    /// Adds what another run came to.
    pub fn add(&mut self, other: &Story) {
        self.trace ^= other.trace;
        self.entries += other.entries;
        self.answered += other.answered;
        self.installed += other.installed;
        self.elections += other.elections;
        self.changes += other.changes;
        self.forbidden += other.forbidden;
        self.alarmed += other.alarmed;
        self.turns.add(other.turns);
    }
}

/// Everything.
pub struct Cluster {
    random: Random,
    /// What happened.
    pub trace: Trace,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    hosts: Vec<Host>,
    network: Network,
    agreed: Agreed,
    workload: Workload,
    clients: Vec<Client>,
    operations: BTreeMap<usize, Operation>,
    next_operation: usize,
    watchers: Vec<Watcher>,
    /// Numbers the calls and answers of operations.
    moment: u64,
    /// Nothing goes wrong any more.
    is_calm: bool,
    /// Clients call nothing any more.
    is_quiet: bool,
    slow_disks: u64,
    /// Until then members seldom run for long.
    frail_until: u64,
    rush: Rush,
    /// Whether users and roles are used, and what a store may hold.
    has_auth: bool,
    quota_bytes: Option<u64>,
    bug: Option<Bug>,
    story: Story,
}

impl Cluster {
    /// A cluster of `members` empty hosts. Sometimes only one or two of them are founders, and the others join as learners.
    #[must_use]
    pub fn new(seed: u64, members: usize, bug: Option<Bug>, trace: Trace) -> Self {
        let mut random = Random::new(seed ^ (members as u64) << 56);
        let founders = match random.below(6) {
            0 | 1 => 1,
            2 => 2.min(members),
            _ => members,
        };
        let options = MemberOptions {
            member: host::id_of(0),
            cluster: ClusterId(0xc1),
            founders: (0..founders).map(description).collect(),
            wal_segment_bytes: *random.pick(&[3_000, 8 << 10, 32 << 10]),
            store_segment_bytes_max: *random.pick(&[2 << 10, 8 << 10, 64 << 10]),
            catchup_entries_max: *random.pick(&[0, 3, 20, 200]),
            bounds: NodeBounds {
                message_bytes_max: *random.pick(&[0, 300, 4_000, 1 << 20]),
                inflight_messages_max: *random.pick(&[1, 3, 512]),
                unapplied_entries_max: *random.pick(&[4, 5_000, 5_000]),
                waiting_max: *random.pick(&[2, 5_000, 5_000]),
            },
            seed: 0,
            unix_millis: 0,
            bug,
        };
        let host = |at| match at < founders {
            true => Host::new(at, options.clone(), Place::Inside, &mut random),
            false => Host::to_join(at, &options, &mut random),
        };
        let hosts = (0..members).map(host).collect();
        let mut workload = Workload::new(random.fork());
        workload.grant_new_ids();
        let has_auth = random.chance(40);
        if has_auth {
            workload.use_auth();
        }
        Self {
            network: Network::new(random.fork()),
            slow_disks: *random.pick(&[1, 1, 1, 10]),
            rush: Rush::default(),
            frail_until: if founders == 1 || random.chance(15) { FRAIL_MICROS } else { 0 },
            has_auth,
            quota_bytes: random.chance(20).then(|| random.between(4_000, 40_000) as u64),
            random,
            trace,
            now: 0,
            events: BTreeMap::new(),
            next_event: 0,
            hosts,
            agreed: Agreed::default(),
            workload,
            clients: Vec::new(),
            operations: BTreeMap::new(),
            next_operation: 0,
            watchers: Vec::new(),
            moment: 0,
            is_calm: false,
            is_quiet: false,
            bug,
            story: Story::default(),
        }
    }

    /// A time in which everything goes wrong, then one in which everything must come right.
    ///
    /// # Errors
    /// What was wrong.
    pub fn run(&mut self) -> Result<Story, Failure> {
        self.begin();
        let end = self.random.between(8, 30) as u64 * 1_000_000;
        self.run_until(end)?;
        self.calm_down();
        self.come_right()?;
        self.outlive_leases()?;
        self.come_right()?;
        self.judge()?;
        self.story.trace = self.trace.hash();
        self.story.entries = self.agreed.last().0;
        Ok(self.story)
    }

    fn begin(&mut self) {
        for at in 0..self.hosts.len() {
            let delay = self.random.below(400_000);
            self.schedule(delay, Event::Boot(at));
            self.schedule(2 * delay, Event::Join(at));
        }
        for at in 0..CLIENTS {
            let host = self.random.place(self.hosts.len());
            let keeps_leases = at % 3 == 0;
            let thinks =
                if keeps_leases { [100_000, 1_000_000, 4_000_000] } else { [20_000, 100_000, 600_000] };
            let think_micros_max = *self.random.pick(&thinks);
            self.clients.push(Client {
                host,
                think_micros_max,
                keeps_leases,
                administers: at == 1,
                user: USERS[[1, 0, 2, 1, 3][at % 5]],
                has_signed_token: self.random.chance(40),
                known_since: None,
            });
            self.schedule(0, Event::Client(at));
        }
        for at in 0..WATCHERS {
            let range = watched(self.workload.range());
            let next = self.random.between(2, 40);
            let seen = Watch { range, from: next, steps: Vec::new(), is_complete: false };
            self.watchers.push(Watcher { host: self.random.place(self.hosts.len()), next, seen });
            self.schedule(0, Event::Watch(at));
        }
        self.schedule(1_000_000, Event::Fault);
        self.schedule(100_000, Event::Worsen);
    }

    fn schedule(&mut self, delay_micros: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((self.now + delay_micros, self.next_event), event);
    }

    fn run_until(&mut self, end: u64) -> Result<(), Failure> {
        while let Some(next) = self.events.first_entry().filter(|next| next.key().0 <= end) {
            let ((at, _), event) = next.remove_entry();
            self.now = at;
            self.take(event)?;
        }
        self.now = end;
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<(), Failure> {
        // A host that is frozen takes nothing; what it was to take it finds when it goes on, in some order.
        let host = match &event {
            Event::Arrives(packet) => Some(packet.to),
            Event::Call { host, .. }
            | Event::Turn { host, .. }
            | Event::Tick { host, .. }
            | Event::Depose { host, .. }
            | Event::Tell { host, .. }
            | Event::SnapshotSent { host, .. } => Some(*host),
            _ => None,
        };
        if let Some(until) = host.map(|host| self.hosts[host].frozen_until).filter(|until| *until > self.now)
        {
            let delay = until - self.now + self.random.below(3_000);
            self.schedule(delay, event);
            return Ok(());
        }
        match event {
            Event::Arrives(packet) => self.arrives(*packet),
            Event::Call { host, run, op } => self.called(host, run, op),
            Event::Turn { host, run, thread } => self.turn(host, run, thread),
            Event::Tick { host, run } => self.tick(host, run),
            Event::SnapshotSent { host, run, to, arrived } => {
                self.report(host, run, Input::SnapshotSent { to, arrived })
            }
            Event::Boot(host) => self.boot(host),
            Event::PowerFails { host, run } => {
                self.power_fails(host, run);
                Ok(())
            }
            Event::Join(host) => self.join(host),
            Event::Depose { host, run } => self.depose(host, run),
            Event::Retire(host) => self.retire(host),
            Event::Tell { host, run, op, auth_revision } => self.told(host, run, op, auth_revision),
            Event::Client(client) => self.client_calls(client),
            Event::GiveUp(op) => self.give_up(op),
            Event::Watch(watcher) => self.watch(watcher),
            Event::Fault => self.fault(),
            Event::Heal(cut) => {
                self.network.heal(cut);
                Ok(())
            }
            Event::Worsen => {
                if !self.is_calm {
                    self.network.quality = Quality::bad(&mut self.random);
                    let delay = self.random.below(6_000_000);
                    self.schedule(delay, Event::Worsen);
                }
                Ok(())
            }
        }
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        let millis = self.now / 1_000;
        self.trace.note(format!("{millis:>6} {}", text()));
    }

    fn next_moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    fn true_time(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    /// Hosts on which a member runs.
    fn running(&self) -> Vec<HostAt> {
        (0..self.hosts.len()).filter(|at| self.hosts[*at].member.is_some()).collect()
    }
}

/// The least time without a leader after which others elect another one, on a clock that is right.
fn election_micros() -> u64 {
    (TICK * ELECTION_TICKS).as_micros() as u64
}
