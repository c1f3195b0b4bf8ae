//! One member, its clients, its disk and its clock, and what must be true of them.

use crate::disk::{Crash, Fault, SimDisk};
use crate::member::{Booted, Failure, Member, MemberOptions, Seen};
use crate::model::Model;
use crate::random::Random;
use crate::trace::Trace;
use crate::workload::{Current, TTL_SECONDS_MAX, Workload};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tenure_core::command::{Command, LeaseRemaining, RangeQuery, Request, RequestHeader, Txn};
use tenure_core::mvcc::{self, RangeScan, ReadError, ScanProgress};
use tenure_core::node::{Input, LeaseTicket, Proposal, ReadTicket};
use tenure_core::state::{Outcome, RangeOutcome, Response, read_txn};
use tenure_core::types::{KeyRange, LeaseId, LogEntry, LogIndex, Moment, RequestId, Revision};

/// How long a member may take to answer everything.
const ANSWER_SECONDS_MAX: u64 = 30;
/// Operations of one transaction.
const TXN_OPS_MAX: usize = 128;
/// A read waits so long for a leader: that of [`tenure_core::node::NodeConfig`].
const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);

/// An entry that was applied, with its answer: it must never be anything else again.
#[derive(Debug)]
struct Done {
    entry: LogEntry,
    outcome: Outcome,
}

/// A read that waits for its turn.
#[derive(Debug)]
struct Read {
    what: ReadKind,
    /// It must see at least this, since it was answered before the read began.
    sees: LogIndex,
    began: Moment,
}

#[derive(Debug)]
enum ReadKind {
    Range(RangeQuery),
    Txn(Txn),
    Hash,
}

/// A read that is made in steps, with what it must come to.
#[derive(Debug)]
struct Scan {
    scan: RangeScan,
    query: RangeQuery,
    expected: RangeOutcome,
    compacted: i64,
}

/// Everything.
pub struct World {
    random: Random,
    workload: Workload,
    disk: SimDisk,
    options: MemberOptions,
    member: Option<Member>,
    now: Moment,
    model: Model,
    /// Entry n is at place n-1.
    history: Vec<Done>,
    /// Every command that a client has asked for and that is not applied, refused ones apart.
    issued: BTreeMap<RequestId, Command>,
    refused: BTreeSet<RequestId>,
    /// Of this life of the member.
    reads: BTreeMap<ReadTicket, Read>,
    renewals: BTreeMap<LeaseTicket, LeaseId>,
    scans: Vec<Scan>,
    next_ticket: u64,
    /// Before this a lease, granted by this entry, must not end by itself.
    lives_until: BTreeMap<LeaseId, (Moment, LogIndex)>,
    /// What the node knew to be applied when it logged a revocation or a checkpoint.
    lease_entries: BTreeMap<RequestId, LogIndex>,
    sync_failed: bool,
    /// What happened.
    pub trace: Trace,
}

impl World {
    /// A world with an empty disk.
    ///
    /// # Errors
    /// None that can happen.
    pub fn new(seed: u64, trace: Trace) -> Result<Self, Failure> {
        let mut random = Random::new(seed);
        let options = MemberOptions {
            wal_segment_bytes: *random.pick(&[3_000, 8 << 10, 32 << 10]),
            store_segment_bytes_max: *random.pick(&[2 << 10, 8 << 10, 64 << 10]),
            ..MemberOptions::alone()?
        };
        Ok(Self {
            workload: Workload::new(random.fork()),
            disk: SimDisk::new(random.fork()),
            random,
            options,
            member: None,
            now: Moment::ORIGIN,
            model: Model::default(),
            history: Vec::new(),
            issued: BTreeMap::new(),
            refused: BTreeSet::new(),
            reads: BTreeMap::new(),
            renewals: BTreeMap::new(),
            scans: Vec::new(),
            next_ticket: 0,
            lives_until: BTreeMap::new(),
            lease_entries: BTreeMap::new(),
            sync_failed: false,
            trace,
        })
    }

    /// Some lives of a member, each ended by what the seed chooses, then one in which everything must come right.
    ///
    /// # Errors
    /// What was wrong.
    pub fn run(&mut self) -> Result<(), Failure> {
        for _ in 0..2 + self.random.below(4) {
            self.life()?;
        }
        self.disk.heal();
        self.boot()?;
        self.settle()?;
        self.verify()?;
        self.outlive_leases()?;
        self.verify()
    }

    /// A life of the member, from a start that may fail to an end that loses something.
    fn life(&mut self) -> Result<(), Failure> {
        let fault = match self.random.below(10) {
            0..3 => None,
            3..6 => Some(Fault::PowerFails),
            6..8 => Some(Fault::PowerFailsInSync),
            8 => Some(Fault::SyncFails),
            _ => Some(Fault::Full),
        };
        if let Some(fault) = fault {
            let range = *self.random.pick(&[10, 30, 200, 500]);
            let after = self.random.below(range);
            self.trace.note(format!("{fault:?} after {after} changes"));
            self.disk.inject(fault, after);
        }
        let lived = self.boot().and_then(|()| {
            // Sometimes the member has caught up and is looked at first, sometimes not.
            if self.random.chance(50) {
                self.settle()?;
                self.verify()?;
            }
            let range = *self.random.pick(&[50, 400]);
            let steps = self.random.below(range);
            (0..steps).try_for_each(|_| self.step())?;
            match self.random.below(10) {
                0 => self.stop(),
                1..4 => self.last_write(),
                _ => Ok(()),
            }
        });
        match lived {
            Ok(()) => {}
            Err(failure) if is_of_the_disk(&failure) => {
                self.trace.note(format!("the member ends: {failure}"));
                self.sync_failed |= fault == Some(Fault::SyncFails);
            }
            Err(failure) => return Err(failure),
        }
        self.crash();
        Ok(())
    }

    fn crash(&mut self) {
        let mut crashes = vec![Crash::LosesAll, Crash::Tears, Crash::Tears];
        if !self.sync_failed {
            crashes.push(Crash::Process);
        }
        let crash = *self.random.pick(&crashes);
        self.sync_failed &= crash == Crash::Process;
        self.trace.note(format!("{crash:?} crash after {} changes", self.disk.changes()));
        // What was logged is logged, whether or not anybody has looked.
        for seen in self.member.iter_mut().flat_map(|member| member.seen.drain(..)) {
            if let Seen::LeaseLogged(id, known) = seen {
                self.lease_entries.insert(id, known);
            }
        }
        // The disk first: what the parts of a member do when they are dropped, a killed process does not do.
        self.disk = self.disk.crash(crash);
        self.member = None;
        self.reads.clear();
        self.renewals.clear();
        self.scans.clear();
        self.now += Duration::from_millis(1_000 + self.random.below(5_000));
    }

    fn boot(&mut self) -> Result<(), Failure> {
        self.options.seed = self.random.next_u64();
        self.options.unix_millis = 1_700_000_000_000 + self.now.0.as_millis() as u64;
        let (member, booted) = Member::boot(Arc::new(self.disk.clone()), self.now, &self.options)?;
        self.member = Some(member);
        self.check_boot(&booted)
    }

    /// What the disk holds is what was acknowledged, and more only at the end.
    fn check_boot(&mut self, Booted { replay, restored }: &Booted) -> Result<(), Failure> {
        let acknowledged = LogIndex(self.history.len() as u64);
        self.trace.note(format!(
            "boot at {}: checkpoint {}, log up to {}, {acknowledged} acknowledged, torn {}",
            self.now.0.as_millis(),
            restored.applied,
            replay.last_index,
            replay.repair.is_some()
        ));
        if replay.last_index < acknowledged {
            return Err(format!(
                "entry {acknowledged} was acknowledged, but the log ends at {}",
                replay.last_index
            ));
        }
        if restored.applied > acknowledged {
            return Err(format!("the store holds entry {}, which was never applied", restored.applied));
        }
        for entry in &replay.entries {
            if let Some(done) = self.history.get(entry.index.0 as usize - 1)
                && done.entry != *entry
            {
                return Err(format!("entry {} was {:?} and is {entry:?}", entry.index, done.entry));
            }
        }
        Ok(())
    }

    fn member(&mut self) -> Result<&mut Member, Failure> {
        self.member.as_mut().ok_or_else(|| "there is no member".into())
    }

    fn current(&self) -> Current {
        Current { revision: self.model.revision(), compacted: self.model.compacted() }
    }

    /// Somebody does something.
    fn step(&mut self) -> Result<(), Failure> {
        let now = self.now;
        let some = 1 + self.random.place(4);
        match self.random.below(100) {
            0..18 => self.propose()?,
            18..25 => self.begin_read()?,
            25..28 => self.renew()?,
            28..46 => drop(self.member()?.wal_turn(some)?),
            46..60 => drop(self.member()?.driver_turn(now, some)?),
            60..76 => drop(self.member()?.apply_turn(some)?),
            76..80 => self.member()?.checkpoint_begin(),
            80..88 => drop(self.member()?.upkeep_turn(some)?),
            88..91 => self.scan_step()?,
            91 => drop(self.member()?.store.defragment().map_err(|error| error.to_string())?),
            _ => {
                let millis = if self.random.chance(5) { 4_000 } else { 120 };
                self.now += Duration::from_millis(self.random.below(millis));
                let now = self.now;
                self.member()?.tick(now)?;
            }
        }
        self.look()
    }

    fn propose(&mut self) -> Result<(), Failure> {
        let mut proposals = Vec::new();
        let range = if self.random.chance(10) { 30 } else { 4 };
        for _ in 0..1 + self.random.below(range) {
            let command = self.workload.command(self.current());
            if let Command::Txn(txn) = &command
                && (mvcc::check::txn(txn, TXN_OPS_MAX).is_err() || tenure_core::state::txn_is_read_only(txn))
            {
                continue;
            }
            let id = self.member()?.request_ids.next_id();
            let header = RequestHeader { id, ..RequestHeader::default() };
            self.trace.note(format!("propose {id:x?} {command:?}"));
            proposals.push(Proposal { id, data: Request { header, command: command.clone() }.encode() });
            self.issued.insert(id, command);
        }
        self.member()?.hand_in(Input::Propose(proposals));
        Ok(())
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn begin_read(&mut self) -> Result<(), Failure> {
        let what = match self.random.below(10) {
            0..7 => ReadKind::Range(self.workload.query(self.current())),
            7..9 => ReadKind::Txn(self.workload.read_txn(self.current())),
            _ => ReadKind::Hash,
        };
        let ticket = ReadTicket(self.ticket());
        self.reads.insert(ticket, Read { what, sees: LogIndex(self.history.len() as u64), began: self.now });
        self.member()?.hand_in(Input::ReadIndex(ticket));
        Ok(())
    }

    fn renew(&mut self) -> Result<(), Failure> {
        let ticket = LeaseTicket(self.ticket());
        let lease = self.workload.lease();
        self.renewals.insert(ticket, lease);
        self.member()?.hand_in(Input::RenewLease { lease, ticket });
        Ok(())
    }

    /// A member that is alone refuses a read only if its disk took so long to make it a leader.
    fn reads_dropped(&mut self, tickets: &[ReadTicket]) -> Result<(), Failure> {
        for ticket in tickets {
            let began = self.reads.remove(ticket).map_or(self.now, |read| read.began);
            if self.now.since(began) <= REQUEST_TIMEOUT {
                return Err(format!("{ticket:?} is refused by a member that is alone"));
            }
        }
        Ok(())
    }

    /// Takes note of what the member shows, and checks it.
    fn look(&mut self) -> Result<(), Failure> {
        while let Some(seen) = self.member()?.seen.pop_front() {
            match seen {
                Seen::LeaseLogged(id, known) => {
                    self.trace.note(format!(
                        "logged {id:x?} at {} about leases, knowing entry {known}",
                        self.now.0.as_millis()
                    ));
                    self.lease_entries.insert(id, known);
                }
                Seen::Applied { entry, request, outcome, .. } => self.applied(entry, request, outcome)?,
                Seen::Readable(tickets) => {
                    for ticket in tickets {
                        self.serve(ticket)?;
                    }
                }
                Seen::ReadDropped(tickets) => self.reads_dropped(&tickets)?,
                Seen::Dropped(id, reason) => {
                    self.trace.note(format!("dropped {id:x?}: {reason:?}"));
                    self.issued
                        .remove(&id)
                        .ok_or_else(|| format!("{id:x?} is dropped, but was not proposed"))?;
                    self.refused.insert(id);
                }
                Seen::LeaseRenewed(ticket, ttl_seconds, known) => {
                    self.renewed(ticket, ttl_seconds.ok(), known)?
                }
                Seen::Leader(leader, term) => self.trace.note(format!("{leader:?} leads in {term}")),
                Seen::Installed(position) => return Err(format!("nobody sent the state at {position:?}")),
                Seen::StopReady => self.trace.note("ready to stop".into()),
            }
        }
        Ok(())
    }

    fn applied(
        &mut self,
        entry: LogEntry,
        request: Option<Box<Request>>,
        outcome: Outcome,
    ) -> Result<(), Failure> {
        let place = entry.index.0 as usize - 1;
        if let Some(done) = self.history.get(place) {
            // Applied again after a restart.
            return match done.entry == entry && done.outcome == outcome {
                true => Ok(()),
                false => Err(format!("{done:?} became {entry:?} with {outcome:?}")),
            };
        }
        if place != self.history.len() {
            return Err(format!("entry {} is applied after {} others", entry.index, self.history.len()));
        }
        self.trace.note(format!(
            "applied {} {:x?} {outcome:?}",
            entry.index,
            request.as_ref().map(|r| r.header.id)
        ));
        if let Some(request) = request {
            let Request { header, command } = *request;
            self.check_asked(header.id, &command)?;
            let expected = self.model.execute(&command);
            if outcome != expected {
                return Err(format!(
                    "{command:?} must be answered with {expected:?}, but is with {outcome:?}"
                ));
            }
            self.note_leases(entry.index, &outcome);
        }
        self.history.push(Done { entry, outcome });
        Ok(())
    }

    /// An entry is what a client asked for, once, or what a leader does by itself.
    fn check_asked(&mut self, id: RequestId, command: &Command) -> Result<(), Failure> {
        if self.refused.contains(&id) {
            return Err(format!("{command:?} was refused and is applied"));
        }
        match (self.issued.remove(&id), command) {
            (Some(issued), _) if issued == *command => Ok(()),
            (Some(issued), _) => Err(format!("{issued:?} became {command:?}")),
            (None, Command::LeaseRevoke(revoke)) => self.check_ended(id, revoke.id),
            (None, Command::LeaseCheckpoint(leases)) => self.take_checkpoint(id, leases),
            (None, Command::ClusterVersionSet(_)) => Ok(()),
            (None, _) => Err(format!("nobody asked for {command:?}, or it is applied twice")),
        }
    }

    /// A lease that ends by itself has had its life. A revocation that was logged before the lease was granted was meant for one
    /// that had the id before; it ends this one too, as in etcd.
    fn check_ended(&self, id: RequestId, lease: LeaseId) -> Result<(), Failure> {
        let known = self.lease_entries.get(&id).copied().ok_or("a revocation was never logged")?;
        match self.lives_until.get(&lease) {
            Some((until, granted)) if *until > self.now && known >= *granted => {
                Err(format!("lease {lease} ends at {:?}, but lives until {until:?}", self.now))
            }
            _ => Ok(()),
        }
    }

    /// The same of a checkpoint: one that was meant for an earlier lease shortens the life of this one.
    fn take_checkpoint(&mut self, id: RequestId, leases: &[LeaseRemaining]) -> Result<(), Failure> {
        self.trace.note(format!("{leases:?} at {}", self.now.0.as_millis()));
        let known = self.lease_entries.get(&id).copied().ok_or("a checkpoint was never logged")?;
        for LeaseRemaining { id, remaining_ttl_seconds } in leases {
            if let Some((until, granted)) = self.lives_until.get_mut(id)
                && known < *granted
                && *remaining_ttl_seconds > 0
            {
                *until = (self.now + Duration::from_secs(*remaining_ttl_seconds as u64)).min(*until);
            }
        }
        Ok(())
    }

    fn note_leases(&mut self, index: LogIndex, outcome: &Outcome) {
        if let Ok(Response::LeaseGrant { lease, .. }) = outcome {
            let until = self.now + Duration::from_secs(lease.ttl_seconds as u64);
            self.lives_until.insert(lease.id, (until, index));
        }
    }

    fn renewed(
        &mut self,
        ticket: LeaseTicket,
        ttl_seconds: Option<i64>,
        known: LogIndex,
    ) -> Result<(), Failure> {
        let lease = self.renewals.remove(&ticket).ok_or("a renewal is answered twice")?;
        self.trace.note(format!("renewed {lease} at {}: {ttl_seconds:?}", self.now.0.as_millis()));
        if let (Some(ttl_seconds), Some((until, granted))) = (ttl_seconds, self.lives_until.get_mut(&lease))
            && known >= *granted
        {
            *until = self.now + Duration::from_secs(ttl_seconds as u64);
        }
        Ok(())
    }

    /// Answers a read, and checks the answer.
    fn serve(&mut self, ticket: ReadTicket) -> Result<(), Failure> {
        let Read { what, sees, .. } = self.reads.remove(&ticket).ok_or("a read is answered twice")?;
        let applied = self.member()?.state.applied();
        if applied < sees || applied.0 != self.history.len() as u64 {
            return Err(format!(
                "a read that must see entry {sees} is served at {applied}, when {} were acknowledged",
                self.history.len()
            ));
        }
        match what {
            ReadKind::Range(query) if self.random.chance(30) => self.begin_scan(query),
            ReadKind::Range(query) => self.check_range(&query),
            ReadKind::Txn(txn) => {
                let expected = self.model.read_txn(&txn).map_err(|error| error.to_string());
                let Member { state, store, .. } = self.member()?;
                let found =
                    read_txn(&state.mvcc, &state.leases, store, &txn).map_err(|error| error.to_string());
                same("transaction", &txn, &expected, &found)
            }
            ReadKind::Hash => self.check_hash(),
        }
    }

    fn check_range(&mut self, query: &RangeQuery) -> Result<(), Failure> {
        let expected = self.model.range(query).map_err(|error| error.to_string());
        let Member { state, store, .. } = self.member()?;
        let found = mvcc::range(&state.mvcc, store, query).map_err(|error| error.to_string());
        same("range", query, &expected, &found)
    }

    fn check_hash(&mut self) -> Result<(), Failure> {
        let found = self.member()?.hash()?;
        let expected = self.model.hash();
        self.trace.note(format!("hash {expected:08x} at {}", self.model.revision()));
        if found.hash != expected || found.revision.0 != self.model.revision() {
            return Err(format!(
                "the hash at revision {} must be {expected:08x}, but is {:08x} at {}",
                self.model.revision(),
                found.hash,
                found.revision
            ));
        }
        Ok(())
    }

    fn begin_scan(&mut self, query: RangeQuery) -> Result<(), Failure> {
        let expected = self.model.range(&query);
        let found = RangeScan::new(&self.member()?.state.mvcc, &query);
        match (found, expected) {
            (Ok(scan), Ok(expected)) => {
                let compacted = self.model.compacted();
                self.scans.push(Scan { scan, query, expected, compacted });
                Ok(())
            }
            (Err(found), Err(expected)) if found == expected => Ok(()),
            (found, expected) => {
                Err(format!("range {query:?} must begin with {expected:?}, but does with {found:?}"))
            }
        }
    }

    /// The next step of a read that is under way.
    fn scan_step(&mut self) -> Result<(), Failure> {
        let place = self.random.place(self.scans.len());
        if self.scans.is_empty() {
            return Ok(());
        }
        let Scan { mut scan, query, expected, compacted } = self.scans.swap_remove(place);
        let keys_max = 1 + self.random.place(5);
        let now_compacted = self.model.compacted();
        let Member { state, store, .. } = self.member()?;
        match scan.step(&state.mvcc, keys_max) {
            Ok(ScanProgress::More) => {
                self.scans.push(Scan { scan, query, expected, compacted });
                Ok(())
            }
            Ok(ScanProgress::Done) => match scan.finish(store) {
                // A read of the newest revision begins again when a compaction overtakes it.
                Ok(found) if now_compacted > compacted && query.revision <= 0 => {
                    let at = RangeQuery { revision: found.revision.0, ..query.clone() };
                    let expected = self.model.range(&at).map_err(|error| error.to_string())?;
                    same(
                        "range in steps",
                        &query,
                        &RangeOutcome { revision: found.revision, ..expected },
                        &found,
                    )
                }
                Ok(found) => same("range in steps", &query, &expected, &found),
                Err(ReadError::Again | ReadError::Refused(_)) if now_compacted > compacted => Ok(()),
                Err(error) => Err(format!("range {query:?} in steps: {error}")),
            },
            Err(_) if now_compacted > compacted => Ok(()),
            Err(error) => Err(format!("range {query:?} in steps: {error}")),
        }
    }

    /// Lets everything run until nothing moves: then everything must be answered.
    fn settle(&mut self) -> Result<(), Failure> {
        let end = self.now + Duration::from_secs(ANSWER_SECONDS_MAX);
        loop {
            let now = self.now;
            let member = self.member()?;
            let mut moved = member.wal_turn(usize::MAX)?;
            moved |= member.driver_turn(now, usize::MAX)?;
            moved |= member.apply_turn(usize::MAX)?;
            moved |= member.upkeep_turn(usize::MAX)?;
            self.look()?;
            if moved {
                continue;
            }
            let applied = self.member()?.state.applied().0;
            let is_current = applied > 0 && applied == self.history.len() as u64;
            if is_current && self.reads.is_empty() && self.renewals.is_empty() {
                break;
            }
            if self.now > end {
                return Err(format!(
                    "after {ANSWER_SECONDS_MAX} s entry {applied} of {} is applied, and {} reads and {} renewals wait",
                    self.history.len(),
                    self.reads.len(),
                    self.renewals.len()
                ));
            }
            self.now += Duration::from_millis(100);
            let now = self.now;
            self.member()?.tick(now)?;
        }
        while !self.scans.is_empty() {
            self.scan_step()?;
        }
        Ok(())
    }

    /// Looks at everything.
    fn verify(&mut self) -> Result<(), Failure> {
        self.check_hash()?;
        self.check_range(&RangeQuery::of(KeyRange::everything()))?;
        for _ in 0..3 {
            let query = self.workload.query(self.current());
            self.check_range(&query)?;
        }
        let expected: Vec<_> = self.model.leases().collect();
        let attached: Vec<Vec<_>> = expected.iter().map(|lease| self.model.keys_of(lease.id.0)).collect();
        let (revision, compacted) = (self.model.revision(), self.model.compacted());
        let state = &self.member()?.state;
        let found: Vec<_> = state.leases.iter().collect();
        same("leases", &"", &expected, &found)?;
        for (lease, keys) in expected.iter().zip(attached) {
            let found: Vec<_> = state.leases.keys_of(lease.id).map(<[u8]>::to_vec).collect();
            same("keys of", lease, &keys, &found.into_iter().map(|key| key.into()).collect())?;
        }
        same(
            "revision",
            &"",
            &(Revision(revision), Revision(compacted)),
            &(state.mvcc.revision(), state.mvcc.compacted()),
        )
    }

    /// Power fails when a batch is written and not yet synced.
    fn last_write(&mut self) -> Result<(), Failure> {
        self.disk.inject(Fault::PowerFailsInSync, 0);
        for _ in 0..1 + self.random.below(6) {
            self.propose()?;
        }
        self.member()?.wal_turn(usize::MAX).map(drop)
    }

    /// A stop that a user asks for: everything is answered, and nothing is lost.
    fn stop(&mut self) -> Result<(), Failure> {
        self.member()?.hand_in(Input::Stop);
        self.settle()?;
        self.verify()
    }

    /// Nobody renews a lease any more: all of them end.
    fn outlive_leases(&mut self) -> Result<(), Failure> {
        let end = self.now + Duration::from_secs(TTL_SECONDS_MAX as u64 + ANSWER_SECONDS_MAX);
        while self.model.leases().next().is_some() {
            if self.now > end {
                return Err(format!(
                    "leases outlive their life: {:?}",
                    self.model.leases().collect::<Vec<_>>()
                ));
            }
            self.now += Duration::from_millis(500);
            let now = self.now;
            self.member()?.tick(now)?;
            self.settle()?;
        }
        Ok(())
    }
}

fn same<Q: std::fmt::Debug, T: std::fmt::Debug + PartialEq>(
    what: &str,
    about: &Q,
    expected: &T,
    found: &T,
) -> Result<(), Failure> {
    if expected == found {
        Ok(())
    } else {
        Err(format!("{what} {about:?} must be\n  {expected:?}\nbut is\n  {found:?}"))
    }
}

/// Whether a member ended because its disk failed it, and not because something else was wrong.
pub(crate) fn is_of_the_disk(failure: &str) -> bool {
    ["the power is off", "input/output error", "no space left on device"]
        .iter()
        .any(|text| failure.contains(text))
}
