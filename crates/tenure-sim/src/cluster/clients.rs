//! What clients do, and what they are answered.

use super::host::Asker;
use super::network::HostAt;
use super::{Cluster, Event, Watcher};
use crate::bug::Bug;
use crate::check::{
    Answer, KeyRange as Watched, LeaseEvent, Operation as Seen, RangeEnd as WatchedEnd, Watch, WatchStep,
    What,
};
use crate::member::{Failure, Member};
use crate::workload::Current;
use std::time::Duration;
use tenure_core::command::{
    AlarmAction, AlarmCommand, AlarmType, Command, Identity, RangeQuery, Request, RequestHeader,
};
use tenure_core::mvcc;
use tenure_core::node::{Input, LeaseRefusal, Proposal, ReadTicket};
use tenure_core::state::{
    self, Access, AlarmEntry, OpOutcome, Outcome, Response, TxnOutcome, txn_is_read_only,
};
use tenure_core::types::{KeyRange, KvView, LeaseId, MemberId, RangeEnd, RecordRevision, Revision};

/// A client waits so long for an answer.
const PATIENCE_MICROS: u64 = 7_000_000;
/// Operations of one transaction.
const TXN_OPS_MAX: usize = 128;

/// A client: does one thing after the other.
#[derive(Debug)]
pub struct Client {
    /// Whom it calls.
    pub host: HostAt,
    pub think_micros_max: u64,
    /// Whether it keeps leases alive and does little else.
    pub keeps_leases: bool,
    /// Whether it is also who administers the cluster.
    pub administers: bool,
    /// Who it is, if anybody asks.
    pub user: &'static str,
    /// Whether its token says since when it is known, and if so, since which auth revision.
    pub has_signed_token: bool,
    pub known_since: Option<u64>,
}

/// A time in which clients ask one member without a pause.
#[derive(Debug, Default)]
pub struct Rush {
    pub host: HostAt,
    pub until: u64,
    /// Whether all of them renew leases. Otherwise most of them read.
    pub is_of_renewals: bool,
}

/// What a client waits for.
#[derive(Debug)]
pub struct Operation {
    client: usize,
    host: HostAt,
    run: u64,
    /// When it was called, as a number and as true time.
    called: u64,
    called_at: Duration,
    ask: Ask,
}

#[derive(Debug)]
enum Ask {
    Write { command: Command, place: Option<usize> },
    Read { query: RangeQuery, is_plain: bool, is_linearizable: bool },
    Renew(LeaseId),
}

impl Cluster {
    /// A client thinks of something to do.
    pub(super) fn client_calls(&mut self, at: usize) -> Result<(), Failure> {
        if self.is_quiet {
            return Ok(());
        }
        let is_held = self.is_in_rush(self.clients[at].host);
        if (!is_held && self.random.chance(15)) || self.hosts[self.clients[at].host].member.is_none() {
            let running = self.running();
            if running.is_empty() {
                self.schedule(100_000, Event::Client(at));
                return Ok(());
            }
            self.clients[at].host = *self.random.pick(&running);
        }
        let host = self.clients[at].host;
        let administers = self.clients[at].administers;
        let ask = if administers && (self.workload.is_setting_up() || self.random.chance(30)) {
            let members: Vec<MemberId> = self.hosts.iter().map(|host| host.id).collect();
            let command = self.workload.administer(self.has_auth, &members);
            Ask::Write { command, place: None }
        } else if self.is_in_rush(host) && self.random.chance(80) {
            match self.rush.is_of_renewals {
                true => Ask::Renew(self.workload.lease()),
                false => self.read(true),
            }
        } else if self.clients[at].keeps_leases && self.random.chance(80) {
            Ask::Renew(self.workload.lease())
        } else {
            self.ask()
        };
        let op = self.next_operation;
        self.next_operation += 1;
        let (called, run) = (self.next_moment(), self.hosts[host].run);
        let operation = Operation { client: at, host, run, called, called_at: self.true_time(), ask };
        self.operations.insert(op, operation);
        let delay = self.random.below(1_000);
        self.schedule(delay, Event::Call { host, run, op });
        self.schedule(PATIENCE_MICROS, Event::GiveUp(op));
        Ok(())
    }

    fn is_in_rush(&self, host: HostAt) -> bool {
        host == self.rush.host && self.now < self.rush.until
    }

    fn current(&self) -> Current {
        Current { revision: self.agreed.model.revision(), compacted: self.agreed.model.compacted() }
    }

    fn read(&mut self, is_linearizable: bool) -> Ask {
        let is_plain = self.random.chance(60);
        let query = match is_plain {
            true => RangeQuery::of(self.workload.range()),
            false => self.workload.query(self.current()),
        };
        Ask::Read { query, is_plain, is_linearizable }
    }

    fn ask(&mut self) -> Ask {
        let current = self.current();
        match self.random.below(100) {
            0..45 => loop {
                let command = self.workload.command(current);
                let is_refused = match &command {
                    Command::Txn(txn) => mvcc::check::txn(txn, TXN_OPS_MAX).is_err() || txn_is_read_only(txn),
                    _ => false,
                };
                if !is_refused {
                    break Ask::Write { command, place: None };
                }
            },
            45..80 => {
                let is_linearizable = self.random.chance(70);
                self.read(is_linearizable)
            }
            _ => Ask::Renew(self.workload.lease()),
        }
    }

    /// A call reaches its member.
    pub(super) fn called(&mut self, host: HostAt, run: u64, op: usize) -> Result<(), Failure> {
        let Some(operation) = self.operations.get(&op) else { return Ok(()) };
        if self.hosts[host].run != run || self.hosts[host].member.is_none() {
            self.break_off(op);
            return Ok(());
        }
        match &operation.ask {
            Ask::Write { command, .. } => {
                let command = command.clone();
                self.propose(host, op, command)
            }
            Ask::Read { is_linearizable: true, .. } if self.must_ask(host) => {
                let ticket = ReadTicket(self.hosts[host].ticket());
                self.hosts[host].reads.insert(ticket, op);
                self.hand_in(host, Input::ReadIndex(ticket))
            }
            Ask::Read { .. } => self.serve(host, op),
            Ask::Renew(lease) => {
                let lease = *lease;
                self.renew(host, lease, Asker::Client { op, lease, passed_on: false })
            }
        }
    }

    /// Whether a linearizable read has to wait for a ReadIndex.
    fn must_ask(&self, host: HostAt) -> bool {
        let leads_alone = self.hosts[host].member.as_ref().is_some_and(Member::leads_alone);
        !leads_alone && self.bug != Some(Bug::ReadsWithoutReadIndex)
    }

    /// In whose name a client asks a member.
    fn identify(&mut self, host: HostAt, client: usize) -> Identity {
        let auth = self.hosts[host].member.as_ref().map(|member| &member.state.auth);
        let Some(auth) = auth.filter(|auth| auth.is_enabled()) else { return Identity::default() };
        let client = &mut self.clients[client];
        let known_since = *client.known_since.get_or_insert(auth.revision());
        let auth_revision = if client.has_signed_token { known_since } else { auth.revision() };
        Identity { username: client.user.to_owned(), auth_revision }
    }

    fn propose(&mut self, host: HostAt, op: usize, command: Command) -> Result<(), Failure> {
        let Some(client) = self.operations.get(&op).map(|operation| operation.client) else { return Ok(()) };
        let identity = self.identify(host, client);
        let Some(member) = &mut self.hosts[host].member else { return Ok(()) };
        let cost = state::cost(&command);
        if cost > 0 && self.quota_bytes.is_some_and(|quota| member.store.sizes().live_bytes + cost >= quota) {
            self.end(op);
            return self.raise_quota_alarm(host);
        }
        let id = member.request_ids.next_id();
        self.hosts[host].proposals.insert(id, op);
        self.note(|| format!("m{} proposes {id:x?} {command:?}", host + 1));
        let place = self.agreed.history.operations.len();
        if let Some(Operation { called, ask: Ask::Write { place: known, .. }, .. }) =
            self.operations.get_mut(&op)
        {
            *known = Some(place);
            let what = What::Write { id: id.0, answer: Answer::Unknown };
            self.agreed.history.operations.push(Seen { called: *called, returned: None, what });
        }
        self.hand_in_command(host, RequestHeader { id, identity }, command)
    }

    /// Proposes something that nobody waits for, in the name of a member.
    pub(super) fn propose_by_member(&mut self, host: HostAt, command: Command) -> Result<(), Failure> {
        let Some(member) = &mut self.hosts[host].member else { return Ok(()) };
        let header = RequestHeader { id: member.request_ids.next_id(), identity: Identity::of_cluster() };
        self.hand_in_command(host, header, command)
    }

    fn hand_in_command(
        &mut self,
        host: HostAt,
        header: RequestHeader,
        command: Command,
    ) -> Result<(), Failure> {
        let id = header.id;
        self.agreed.issue(id, command.clone());
        let proposal = Proposal { id, data: Request { header, command }.encode() };
        self.hand_in(host, Input::Propose(vec![proposal]))
    }

    /// What a write would take over the quota is refused, and everybody hears of it (Q2).
    fn raise_quota_alarm(&mut self, host: HostAt) -> Result<(), Failure> {
        let Some(member) = &self.hosts[host].member else { return Ok(()) };
        let (member, alarms) = (self.hosts[host].id, &member.state.alarms);
        if alarms.contains(AlarmEntry { member, alarm: AlarmType::NoSpace }) {
            return Ok(());
        }
        let (action, alarm) = (AlarmAction::Activate, Some(AlarmType::NoSpace));
        self.propose_by_member(host, Command::Alarm(AlarmCommand { action, member, alarm }))
    }

    /// Ends an operation, whose client goes on.
    fn end(&mut self, op: usize) -> Option<Operation> {
        let operation = self.operations.remove(&op)?;
        let client = operation.client;
        let Client { administers, think_micros_max, host, .. } = self.clients[client];
        let think_micros_max = match administers && self.has_auth {
            _ if self.is_in_rush(host) => 10_000,
            true if self.workload.is_setting_up() => 10_000,
            true => think_micros_max.min(100_000),
            false => think_micros_max,
        };
        let delay = self.random.below(think_micros_max);
        self.schedule(delay, Event::Client(client));
        Some(operation)
    }

    /// An operation that nobody will answer.
    pub(super) fn break_off(&mut self, op: usize) {
        self.end(op);
    }

    pub(super) fn give_up(&mut self, op: usize) -> Result<(), Failure> {
        self.end(op);
        Ok(())
    }

    pub(super) fn refused(&mut self, op: usize) {
        self.write_ended(op, Answer::Refused);
    }

    /// A write is applied where its client has called.
    pub(super) fn answered(&mut self, op: usize, outcome: &Outcome) {
        self.write_ended(op, answer_of(outcome));
    }

    fn write_ended(&mut self, op: usize, answered: Answer) {
        let Some(Operation { client, ask: Ask::Write { place: Some(place), .. }, .. }) = self.end(op) else {
            return;
        };
        let returned = self.next_moment();
        self.story.answered += 1;
        if matches!(answered, Answer::Refused) {
            self.log_in_again(client);
        }
        let seen = &mut self.agreed.history.operations[place];
        seen.returned = Some(returned);
        if let What::Write { answer, .. } = &mut seen.what {
            *answer = answered;
        }
    }

    pub(super) fn lease_answered(
        &mut self,
        op: usize,
        ttl_seconds: Result<i64, LeaseRefusal>,
    ) -> Result<(), Failure> {
        let Some(Operation { called_at: called, ask: Ask::Renew(lease), .. }) = self.end(op) else {
            return Ok(());
        };
        self.note(|| format!("lease {lease} renewed: {ttl_seconds:?}, asked at {}", called.as_millis()));
        if let Ok(ttl_seconds) = ttl_seconds {
            self.story.answered += 1;
            let ttl = Duration::from_secs(ttl_seconds as u64);
            let returned = self.true_time();
            self.agreed.lease_event(lease.0, LeaseEvent::Renewed { called, returned, ttl });
        }
        Ok(())
    }

    /// A client that was refused gets another token, sometimes.
    fn log_in_again(&mut self, client: usize) {
        if self.random.chance(70) {
            self.clients[client].known_since = None;
        }
    }

    /// A read may be served from what the member has, if its client may read that.
    pub(super) fn serve(&mut self, at: HostAt, op: usize) -> Result<(), Failure> {
        let Some(Operation { client, run, ask: Ask::Read { query, .. }, .. }) = self.operations.get(&op)
        else {
            return Ok(());
        };
        let (client, run, range) = (*client, *run, query.range.clone());
        let identity = self.identify(at, client);
        let Some(Member { state, .. }) = &self.hosts[at].member else { return Ok(()) };
        let found = state.authorize(&identity, Access::Read(&range));
        let expected = self.agreed.auth_at(state.applied()).check_read(&identity, &range);
        if found != expected {
            return Err(format!("m{}: {identity:?} reads {range:?}: {found:?}, not {expected:?}", at + 1));
        }
        if found.is_err() {
            self.end(op);
            self.story.forbidden += 1;
            self.log_in_again(client);
            return Ok(());
        }
        let auth_revision = identity.auth_revision;
        if auth_revision == 0 {
            return self.tell(at, op, 0);
        }
        // Between the permission and the answer something can be applied.
        let range = *self.random.pick(&[1, 3_000, 60_000]);
        let delay = self.random.below(range);
        self.schedule(delay, Event::Tell { host: at, run, op, auth_revision });
        Ok(())
    }

    /// A read that was let in at an auth revision is answered. 0 is that of whom nobody asked who he is.
    pub(super) fn told(
        &mut self,
        host: HostAt,
        run: u64,
        op: usize,
        auth_revision: u64,
    ) -> Result<(), Failure> {
        if self.hosts[host].run != run || self.hosts[host].member.is_none() {
            self.break_off(op);
            return Ok(());
        }
        self.tell(host, op, auth_revision)
    }

    fn tell(&mut self, at: HostAt, op: usize, auth_revision: u64) -> Result<(), Failure> {
        let Some(operation) = self.end(op) else { return Ok(()) };
        let Operation { client, called, run, host, ask, .. } = operation;
        let Ask::Read { query, is_plain, is_linearizable } = ask else { return Ok(()) };
        let Some(Member { state, store, .. }) = &self.hosts[at].member else { return Ok(()) };
        let is_outdated = auth_revision > 0 && state.auth.revision() != auth_revision;
        if is_outdated && self.bug != Some(Bug::IgnoresAuthRevision) {
            return Ok(());
        }
        let user = self.clients[client].user;
        let newest = Identity { username: user.to_owned(), auth_revision: u64::MAX };
        let allowed = self.agreed.auth_at(state.applied()).check_read(&newest, &query.range);
        if auth_revision > 0 && allowed.is_err() {
            return Err(format!("m{} tells {user} of {:?}: {allowed:?}", at + 1, query.range));
        }
        let (revision, compacted) = (state.mvcc.revision().0, state.mvcc.compacted().0);
        let found = mvcc::range(&state.mvcc, store, &query).map_err(|error| error.to_string());
        let expected = self.agreed.model.range_at(&query, revision, compacted);
        if found != expected.map_err(|error| error.to_string()) {
            return Err(format!("m{}: {query:?} at revision {revision} is {found:?}", at + 1));
        }
        if let Ok(outcome) = found {
            let returned = Some(self.next_moment());
            let server = (!is_linearizable).then_some((host, run));
            let pairs = outcome.kvs.into_iter().map(|kv| kv.0).collect();
            let saw = is_plain.then(|| (watched(query.range), pairs));
            let what = What::Read { server, revision, saw };
            self.story.answered += 1;
            self.agreed.history.operations.push(Seen { called, returned, what });
        }
        Ok(())
    }

    /// A watcher ends and another begins, somewhere in the past or not far in the future.
    fn watch_anew(&mut self, at: usize) {
        let next = self.random.between(1, self.agreed.model.revision() + 3);
        let range = watched(self.workload.range());
        let seen = Watch { range, from: next, steps: Vec::new(), is_complete: false };
        let watcher = &mut self.watchers[at];
        watcher.next = next;
        let ended = std::mem::replace(&mut watcher.seen, seen);
        self.agreed.history.watches.push(ended);
    }

    /// A watcher looks for what is new, at the member that it is connected to.
    pub(super) fn watch(&mut self, at: usize) -> Result<(), Failure> {
        let delay = 2_000 + self.random.below(200_000);
        self.schedule(delay, Event::Watch(at));
        if self.random.chance(2) && !self.is_quiet {
            self.watch_anew(at);
        }
        let host = self.watchers[at].host;
        let is_frozen = self.hosts[host].frozen_until > self.now;
        if self.hosts[host].member.is_none() || is_frozen || self.random.chance(5) {
            let running = self.running();
            if !running.is_empty() {
                self.watchers[at].host = *self.random.pick(&running);
            }
            return Ok(());
        }
        let span = *self.random.pick(&[3, 1_000]);
        let is_silent = self.bug == Some(Bug::LosesEventAtCompaction);
        let Some(member) = &self.hosts[host].member else { return Ok(()) };
        if let Some(step) = look(member, &mut self.watchers[at], span)?
            && !(is_silent && matches!(step, WatchStep::Compacted(_)))
        {
            self.watchers[at].seen.steps.push(step);
        }
        Ok(())
    }
}

/// What a watcher finds at a member, `span` revisions at most.
fn look(member: &Member, watcher: &mut Watcher, span: i64) -> Result<Option<WatchStep>, Failure> {
    let (revision, compacted) = (member.state.mvcc.revision().0, member.state.mvcc.compacted().0);
    if watcher.next < compacted {
        watcher.next = compacted;
        return Ok(Some(WatchStep::Compacted(compacted)));
    }
    if watcher.next > revision {
        return Ok(None);
    }
    let through = revision.min(watcher.next + span - 1);
    let first = RecordRevision::first_of(Revision(watcher.next));
    let mut events = Vec::new();
    for record in member.store.scan(first, Revision(through)) {
        let record = record.map_err(|error| error.to_string())?;
        let KvView { key, .. } = record.kv.view().map_err(|error| error.to_string())?;
        if watcher.seen.range.contains(&key) {
            events.push((record.at.main.0, key, (!record.tombstone).then_some(record.kv.0)));
        }
    }
    watcher.next = through + 1;
    Ok(Some(WatchStep::Events { through, compacted, events }))
}

/// What a client learns from an answer.
fn answer_of(outcome: &Outcome) -> Answer {
    let at = |revision: &Revision, writes| Answer::At { revision: revision.0, writes };
    match outcome {
        Ok(Response::Put(put)) => at(&put.revision, true),
        Ok(Response::DeleteRange(delete)) => at(&delete.revision, delete.deleted > 0),
        Ok(Response::Txn(txn)) => at(&txn.revision, writes(txn)),
        Ok(Response::LeaseGrant { revision, .. } | Response::Authenticated { revision, .. }) => {
            at(revision, false)
        }
        Ok(Response::LeaseRevoke(revision)) => at(revision, false),
        Ok(Response::Compact(revision) | Response::Alarm(_, revision) | Response::Done(revision)) => {
            at(revision, false)
        }
        Err(_) => Answer::Refused,
    }
}

fn writes(txn: &TxnOutcome) -> bool {
    txn.responses.iter().any(|response| match response {
        OpOutcome::Put(_) => true,
        OpOutcome::DeleteRange(delete) => delete.deleted > 0,
        OpOutcome::Txn(txn) => writes(txn),
        OpOutcome::Range(_) => false,
    })
}

/// A range as the checkers know it.
pub(super) fn watched(range: KeyRange) -> Watched {
    let end = match range.end {
        RangeEnd::Single => WatchedEnd::Single,
        RangeEnd::Open => WatchedEnd::Open,
        RangeEnd::Before(end) => WatchedEnd::Before(end.0),
    };
    Watched { start: range.start.0, end }
}
