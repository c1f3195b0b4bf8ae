//! How members run: their threads, their messages, what is noticed of them.

use super::agreed::News;
use super::host::{Asker, DRIVER, Host, Place, THREADS, UPKEEP};
use super::network::{Cargo, HostAt, Packet};
use super::{Cluster, Event};
use crate::bug::Bug;
use crate::disk::Crash;
use crate::member::{ELECTION_TICKS, Failure, LEASE_CHECKPOINT_INTERVAL, Member, Seen, TICK};
use std::sync::Arc;
use tenure_core::command::{Command, Identity, LeaseRevoke, MemberAttributesSet, Request, RequestHeader};
use tenure_core::lease::LeaseClock;
use tenure_core::node::{Input, LeaseRefusal, LeaseTicket, Message, MessageKind, Proposal};
use tenure_core::state::{Outcome, WriteBatch};
use tenure_core::types::{ConfChange, ConfChangeKind, EntryKind, LeaseId, LogEntry, MemberId, Moment};

impl Cluster {
    /// Lets a member do something, if it runs, and takes up what follows. A member whose disk fails it ends.
    pub(super) fn with<T>(
        &mut self,
        at: HostAt,
        work: impl FnOnce(&mut Member, Moment) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let host = &mut self.hosts[at];
        let clock = host.clock(self.now);
        let Some(member) = &mut host.member else { return Ok(None) };
        match work(member, clock) {
            Ok(done) => {
                self.take_up(at)?;
                Ok(Some(done))
            }
            Err(failure) => self.ends(at, &failure).map(|()| None),
        }
    }

    /// Hands something in to a member, if it runs.
    pub(super) fn hand_in(&mut self, at: HostAt, input: Input) -> Result<(), Failure> {
        let hand_in = |member: &mut Member, _| {
            member.hand_in(input);
            Ok(())
        };
        self.with(at, hand_in).map(drop)
    }

    /// A member ends because of its disk, or because something is wrong.
    pub(super) fn ends(&mut self, at: HostAt, failure: &str) -> Result<(), Failure> {
        if !crate::world::is_of_the_disk(failure) {
            return Err(format!("m{}: {failure}", at + 1));
        }
        self.note(|| format!("m{} ends: {failure}", at + 1));
        let host = &mut self.hosts[at];
        host.sync_failed |= failure.contains("input/output");
        let is_machine = host.disk.is_off() || host.sync_failed;
        let crashes =
            if is_machine { &[Crash::LosesAll, Crash::Tears] } else { &[Crash::Process, Crash::Tears] };
        let crash = *self.random.pick(crashes);
        self.crash(at, crash);
        Ok(())
    }

    /// Ends the run of a member, which comes back later.
    pub(super) fn crash(&mut self, at: HostAt, crash: Crash) {
        if self.hosts[at].member.is_some() {
            self.note(|| format!("m{} {crash:?} crash", at + 1));
        }
        for op in self.hosts[at].crash(crash) {
            self.break_off(op);
        }
        if self.hosts[at].place.comes_back() {
            let range = match self.is_calm {
                true => 500_000,
                false if self.is_frail() => 100_000,
                false => *self.random.pick(&[200_000, 2_000_000, 8_000_000]),
            };
            let delay = 1_000 + self.random.below(range);
            self.schedule(delay, Event::Boot(at));
        }
    }

    pub(super) fn boot(&mut self, at: HostAt) -> Result<(), Failure> {
        let host = &mut self.hosts[at];
        if host.member.is_some() || !host.place.comes_back() {
            return Ok(());
        }
        host.begin(self.now, &mut self.random);
        let clock = host.clock(self.now);
        match Member::boot(Arc::new(host.disk.clone()), clock, &host.options) {
            Err(failure) => self.ends(at, &failure),
            Ok((member, booted)) => {
                let (restored, replay) = (booted.restored, booted.replay);
                let (commit, run) = (replay.hard_state.commit, host.run);
                host.member = Some(member);
                self.note(|| {
                    let installed = if restored.is_installed { ", installed" } else { "" };
                    format!(
                        "m{} boots: checkpoint {}{installed}, log up to {}, commit {commit}",
                        at + 1,
                        restored.applied,
                        replay.last_index
                    )
                });
                if restored.applied > self.agreed.last() {
                    return Err(format!(
                        "the store holds entry {}, which nobody has applied",
                        restored.applied
                    ));
                }
                let committed = replay.entries.iter().filter(|entry| entry.index <= commit);
                committed.into_iter().try_for_each(|entry| self.agreed.check_logged(entry))?;
                self.schedule(0, Event::Tick { host: at, run });
                self.wake(at, UPKEEP);
                self.begin_frail(at);
                self.take_up(at)?;
                if self.random.chance(50) { self.publish(at) } else { Ok(()) }
            }
        }
    }

    /// A member says its name and where clients find it.
    fn publish(&mut self, at: HostAt) -> Result<(), Failure> {
        let Host { id: member, run, .. } = self.hosts[at];
        let (name, client_urls) = (format!("m{}", at + 1), vec![format!("http://m{}:{run}", at + 1)]);
        self.propose_by_member(
            at,
            Command::MemberAttributesSet(MemberAttributesSet { member, name, client_urls }),
        )
    }

    /// A member that was removed is taken away. Whoever stays has to get on without it.
    pub(super) fn retire(&mut self, at: HostAt) -> Result<(), Failure> {
        if self.hosts[at].place == Place::Leaving {
            self.note(|| format!("m{} is taken away", at + 1));
            self.hosts[at].place = Place::Gone;
            self.crash(at, Crash::LosesAll);
        }
        Ok(())
    }

    pub(super) fn tick(&mut self, at: HostAt, run: u64) -> Result<(), Failure> {
        let host = &self.hosts[at];
        if host.run != run || host.member.is_none() {
            return Ok(());
        }
        let delay = host.true_micros(TICK);
        self.schedule(delay, Event::Tick { host: at, run });
        if self.hosts[at].stray_clock.is_some() {
            self.revoke_by_stray_clock(at)?;
        }
        // The server's driver gives ticks by themselves; the node does not insist on it. One that is busy has not come to it.
        match self.random.chance(30) || self.hosts[at].late_micros(DRIVER, self.now) > 0 {
            true => self.hand_in(at, Input::Tick),
            false => self.with(at, |member, clock| member.handle(clock, [Input::Tick])).map(drop),
        }
    }

    /// Lets a thread run soon.
    pub(super) fn wake(&mut self, at: HostAt, thread: usize) {
        let host = &mut self.hosts[at];
        if std::mem::replace(&mut host.scheduled[thread], true) {
            return;
        }
        let run = host.run;
        let range = [3_000 * self.slow_disks, 200, 800, 15_000][thread] + host.late_micros(thread, self.now);
        let delay = 20 + self.random.below(range);
        self.schedule(delay, Event::Turn { host: at, run, thread });
    }

    pub(super) fn turn(&mut self, at: HostAt, run: u64, thread: usize) -> Result<(), Failure> {
        if self.hosts[at].run != run {
            return Ok(());
        }
        self.hosts[at].scheduled[thread] = false;
        let some = *self.random.pick(&[1, 3, 20, 1_000]);
        let moved = self.with(at, |member, clock| match thread {
            0 => member.wal_turn(some),
            1 => member.driver_turn(clock, some),
            2 => member.apply_turn(some),
            _ => member.upkeep_turn(some),
        })?;
        if moved == Some(true) && thread >= 2 {
            self.wake(at, UPKEEP);
        }
        Ok(())
    }

    /// Takes up what a member has said and what was noticed of it, and lets its threads do the rest.
    pub(super) fn take_up(&mut self, at: HostAt) -> Result<(), Failure> {
        loop {
            let Some(member) = &mut self.hosts[at].member else { return Ok(()) };
            self.story.turns.add(std::mem::take(&mut member.promises.turns));
            let messages = std::mem::take(&mut member.outbox);
            let seen = std::mem::take(&mut member.seen);
            if messages.is_empty() && seen.is_empty() {
                break;
            }
            for message in messages {
                self.send_message(at, message)?;
            }
            for seen in seen {
                self.see(at, seen)?;
            }
        }
        let host = &mut self.hosts[at];
        let Some(member) = &mut host.member else { return Ok(()) };
        if host.since_checkpoint >= host.checkpoint_entries {
            host.since_checkpoint = 0;
            member.checkpoint_begin();
        }
        let work = member.has_work();
        for thread in (0..THREADS.min(work.len())).filter(|thread| work[*thread]) {
            self.wake(at, thread);
        }
        Ok(())
    }

    fn send_message(&mut self, at: HostAt, mut message: Message) -> Result<(), Failure> {
        let Some(to) = self.host_of(message.to) else { return Ok(()) };
        let cargo = if message.kind == MessageKind::InstallSnapshot {
            let Some(member) = &self.hosts[at].member else { return Ok(()) };
            let (body, hash, tables) = (member.capture()?, member.hash()?, member.state.tables());
            let position = body.snapshot.position;
            self.note(|| format!("m{} sends its state at {} to m{}", at + 1, position.index, to + 1));
            self.agreed.check_state(position.index, hash.hash, tables)?;
            message.snapshot = Some(body.snapshot.clone());
            Cargo::Snapshot(message, Arc::new(body))
        } else {
            Cargo::Raft(message)
        };
        self.send(at, to, cargo);
        Ok(())
    }

    pub(super) fn host_of(&self, id: MemberId) -> Option<HostAt> {
        self.hosts.iter().position(|host| host.id == id)
    }

    pub(super) fn send(&mut self, from: HostAt, to: HostAt, cargo: Cargo) {
        let packet = Packet { from, from_run: self.hosts[from].run, to, cargo };
        let arrivals = self.network.arrivals(&packet);
        if arrivals.is_empty() {
            // Sometimes it is noticed.
            let notices = self.random.chance(50) || matches!(packet.cargo, Cargo::Snapshot(..));
            if notices {
                self.schedule_failure(packet);
            }
            return;
        }
        for delay in arrivals {
            self.schedule(delay, Event::Arrives(Box::new(packet.clone())));
        }
    }

    /// The sender hears that a packet did not arrive: it comes back to him.
    fn schedule_failure(&mut self, packet: Packet) {
        let back = Packet { to: packet.from, from: packet.to, ..packet };
        let delay = self.random.below(20_000);
        self.schedule(delay, Event::Arrives(Box::new(back)));
    }

    pub(super) fn arrives(&mut self, packet: Packet) -> Result<(), Failure> {
        let Packet { from, from_run, to, cargo } = packet;
        let id = self.hosts[to].id;
        match cargo {
            Cargo::Raft(message) if message.from == id => {
                self.report(to, from_run, Input::PeerUnreachable(message.to))
            }
            Cargo::Snapshot(message, _) if message.from == id => {
                self.report(to, from_run, Input::SnapshotSent { to: message.to, arrived: false })
            }
            Cargo::Raft(message) => {
                let message = Message::from_wire(message.to_wire()).map_err(|error| error.to_string())?;
                self.hand_in(to, Input::Receive(Box::new(message)))
            }
            Cargo::Snapshot(message, body) => {
                let sender = message.from;
                let taken = self.with(to, |member, clock| {
                    member.receive_snapshot(clock, message, Arc::unwrap_or_clone(body))
                })?;
                let arrived = taken.is_some();
                if let Some(host) = self.host_of(sender) {
                    self.schedule(500, Event::SnapshotSent { host, run: from_run, to: id, arrived });
                }
                Ok(())
            }
            Cargo::Renew { ticket, lease } => {
                self.renew(to, lease, Asker::Peer { host: from, run: from_run, ticket, lease })
            }
            Cargo::Renewed { run, ticket, ttl_seconds } => {
                if self.hosts[to].run == run {
                    self.renewed(to, ticket, ttl_seconds)?;
                }
                Ok(())
            }
        }
    }

    /// A sender hears what became of what it sent, if it is still the same run.
    pub(super) fn report(&mut self, at: HostAt, run: u64, input: Input) -> Result<(), Failure> {
        if self.hosts[at].run != run {
            return Ok(());
        }
        self.hand_in(at, input)
    }

    fn see(&mut self, at: HostAt, seen: Seen) -> Result<(), Failure> {
        match seen {
            Seen::Applied { entry, request, outcome, batch } => {
                self.applied(at, entry, request.map(|request| *request), outcome, &batch)?;
            }
            Seen::Installed(position) => {
                self.note(|| format!("m{} has another's state at {}", at + 1, position.index));
                self.story.installed += 1;
                self.wake(at, UPKEEP);
                self.check_state(at)?;
            }
            Seen::Readable(tickets) => {
                for ticket in tickets {
                    if let Some(op) = self.hosts[at].reads.remove(&ticket) {
                        self.serve(at, op)?;
                    }
                }
            }
            Seen::ReadDropped(tickets) => {
                for ticket in tickets {
                    if let Some(op) = self.hosts[at].reads.remove(&ticket) {
                        self.break_off(op);
                    }
                }
            }
            Seen::Dropped(id, reason) => {
                self.note(|| format!("m{} drops {id:x?}: {reason:?}", at + 1));
                self.agreed.refuse(id)?;
                if let Some(op) = self.hosts[at].proposals.remove(&id) {
                    self.refused(op);
                }
            }
            Seen::LeaseRenewed(ticket, ttl_seconds, _) => self.renewed(at, ticket, ttl_seconds)?,
            Seen::Leader(leader, term) => {
                self.note(|| format!("m{} follows {leader:?} in term {term}", at + 1));
                if leader == Some(self.hosts[at].id) {
                    self.story.elections += 1;
                    self.start_stray_clock(at);
                }
            }
            Seen::StopReady => {
                self.note(|| format!("m{} stops", at + 1));
                if self.hosts[at].is_stopping {
                    self.crash(at, Crash::Process);
                }
            }
            Seen::LeaseLogged(..) => {}
        }
        Ok(())
    }

    fn applied(
        &mut self,
        at: HostAt,
        entry: LogEntry,
        request: Option<Request>,
        outcome: Outcome,
        batch: &WriteBatch,
    ) -> Result<(), Failure> {
        let id = request.as_ref().map(|request| request.header.id);
        let (index, is_change) = (entry.index, entry.kind == EntryKind::ConfChange);
        let is_first = index > self.agreed.last();
        if is_first {
            self.note(|| format!("m{} applied {index} {id:x?} {outcome:?}", at + 1));
        }
        if is_first {
            if let Some(Request { command: Command::Auth(command), .. }) = &request {
                self.workload.note_applied(command);
            }
            self.story.note(&outcome);
        }
        let answer = outcome.clone();
        let removed = is_change.then(|| ConfChange::decode(entry.data.clone()).ok()).flatten();
        let removed = removed.filter(|change| change.kind == ConfChangeKind::Remove && answer.is_ok());
        let now = self.true_time();
        let news = self.agreed.applied(now, entry, request, outcome, batch);
        match news.map_err(|failure| format!("m{}: {failure}", at + 1))? {
            News::Nothing => {}
            News::Added(member) => self.added(member),
            News::Removed(_) => {}
        }
        self.tell_removal(at, removed);
        self.story.changes += u64::from(is_change && is_first);
        let host = &mut self.hosts[at];
        host.since_checkpoint += 1;
        let clock = host.clock(self.now);
        for event in host.stray_clock.iter().flat_map(|_| batch.lease_events()).collect::<Vec<_>>() {
            host.stray_clock.iter_mut().for_each(|stray| stray.note(clock, event));
        }
        if let Some(op) = id.and_then(|id| self.hosts[at].proposals.remove(&id)) {
            self.answered(op, &answer);
        }
        Ok(())
    }

    /// Who is removed goes once anybody can have been answered, which a learner does not do.
    fn tell_removal(&mut self, at: HostAt, removed: Option<ConfChange>) {
        let is_learner = self.hosts[at].member.as_ref().is_none_or(|member| member.status().is_learner);
        let Some(change) = removed.filter(|_| !is_learner) else { return };
        if self.host_of(change.member).is_some_and(|host| self.hosts[host].place == Place::Inside) {
            self.removed(change.member);
        }
    }

    /// Compares the state of a member with that of all who were at the same entry.
    pub(super) fn check_state(&mut self, at: HostAt) -> Result<(), Failure> {
        let Some(member) = &self.hosts[at].member else { return Ok(()) };
        let index = member.state.applied();
        let (hash, tables) = (member.hash()?, member.state.tables());
        let checked = self.agreed.check_state(index, hash.hash, tables);
        checked.map_err(|failure| format!("m{}: {failure}", at + 1))
    }

    /// Asks a member to renew a lease.
    pub(super) fn renew(&mut self, at: HostAt, lease: LeaseId, asker: Asker) -> Result<(), Failure> {
        let ticket = LeaseTicket(self.hosts[at].ticket());
        self.hosts[at].renewals.insert(ticket, asker);
        self.hand_in(at, Input::RenewLease { lease, ticket })
    }

    fn renewed(
        &mut self,
        at: HostAt,
        ticket: LeaseTicket,
        ttl_seconds: Result<i64, LeaseRefusal>,
    ) -> Result<(), Failure> {
        let asker = self.hosts[at].renewals.remove(&ticket);
        if let (Some(Asker::Peer { lease, .. } | Asker::Client { lease, passed_on: false, .. }), Ok(_)) =
            (asker, ttl_seconds)
        {
            let host = &mut self.hosts[at];
            let clock = host.clock(self.now);
            if let Some(stray) = &mut host.stray_clock {
                stray.renew(clock, lease);
            }
        }
        match asker {
            Some(Asker::Peer { host, run, ticket, .. }) => {
                self.send(at, host, Cargo::Renewed { run, ticket, ttl_seconds });
            }
            Some(Asker::Client { op, lease, passed_on: false })
                if ttl_seconds == Err(LeaseRefusal::NotPrimary) =>
            {
                let leader = self.hosts[at].member.as_ref().and_then(|member| member.status().leader);
                let leader = leader.and_then(|leader| self.host_of(leader)).filter(|leader| *leader != at);
                let Some(leader) = leader else { return self.lease_answered(op, ttl_seconds) };
                let ticket = LeaseTicket(self.hosts[at].ticket());
                self.hosts[at].renewals.insert(ticket, Asker::Client { op, lease, passed_on: true });
                self.send(at, leader, Cargo::Renew { ticket, lease });
            }
            Some(Asker::Client { op, .. }) => return self.lease_answered(op, ttl_seconds),
            None => {}
        }
        Ok(())
    }

    /// [`Bug::OldLeaderRevokes`]: starts the clock of who leads.
    fn start_stray_clock(&mut self, at: HostAt) {
        let host = &mut self.hosts[at];
        if let Some(member) = host.member.as_ref().filter(|_| self.bug == Some(Bug::OldLeaderRevokes)) {
            let mut clock = LeaseClock::new(LEASE_CHECKPOINT_INTERVAL, member.state.leases.iter());
            clock.promote(host.clock(self.now), TICK * ELECTION_TICKS);
            host.stray_clock = Some(clock);
        }
    }

    /// [`Bug::OldLeaderRevokes`]: revokes what the clock says is over, whether it leads or not.
    fn revoke_by_stray_clock(&mut self, at: HostAt) -> Result<(), Failure> {
        let host = &mut self.hosts[at];
        let now = host.clock(self.now);
        let (Some(clock), Some(member)) = (&mut host.stray_clock, &mut host.member) else { return Ok(()) };
        let proposals = clock.expired(now, 100).into_iter().map(|id| {
            let header = RequestHeader { id: member.request_ids.next_id(), identity: Identity::of_cluster() };
            let command = Command::LeaseRevoke(LeaseRevoke { id });
            Proposal { id: header.id, data: Request { header, command }.encode() }
        });
        let proposals: Vec<Proposal> = proposals.collect();
        self.hand_in(at, Input::Propose(proposals))
    }
}
