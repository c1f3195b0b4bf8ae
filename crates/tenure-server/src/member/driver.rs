//! The driver loop: the one thread that owns the [`Node`]. It hands in what arrived and carries out what comes back.

use super::inbox::{Arrived, ReadReply};
use super::lead::Lead;
use super::reads;
use super::snapshots::Received;
use super::wal_thread::WalJob;
use super::{Shared, halting};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use tenure_api::error::EtcdError;
use tenure_core::node::{
    Applied, DropReason, Input, LeaseLife, LeaseRefusal, LeaseTicket, Message, MessageKind, Node, Output,
    PersistToken, ReadTicket,
};
use tenure_core::state::Halt;
use tenure_core::types::{ConfChange, LeaseId, LogEntry, MemberId, Moment, RequestId};
use tokio::sync::oneshot;

/// What reaches the driver besides proposals and reads.
pub enum Event {
    /// The WAL thread has made something durable.
    Persisted(PersistToken),
    /// The apply thread has applied entries.
    Applied(Applied),
    /// Somebody asks something of a lease.
    Lease(LeaseQuestion),
    /// Another member says something.
    Receive(Box<Message>),
    /// The last message to a member was lost.
    Unreachable(MemberId),
    /// Another member's state has been taken up.
    Snapshot(Box<Message>, Box<Received>),
    /// A snapshot was sent to a member, or not.
    SnapshotSent {
        /// Whom it was for.
        to: MemberId,
        /// Whether it arrived.
        arrived: bool,
    },
    /// A member is to be added, removed or changed.
    ConfChange(ConfChange),
    /// The leadership is to be handed over.
    TransferLeader(MemberId),
    /// The oldest version among the members.
    ServerVersionMin(String),
    /// Note how much life leases have left, then stop.
    Stop,
}

/// A question that the lease clock answers.
pub enum LeaseQuestion {
    /// Renew it: its life in seconds from now on.
    Renew(LeaseId, oneshot::Sender<Result<i64, LeaseRefusal>>),
    /// How much is left of it.
    Life(LeaseId, oneshot::Sender<Result<LeaseLife, LeaseRefusal>>),
    /// All leases, the next to end first.
    List(oneshot::Sender<Vec<LeaseId>>),
}

/// Who waits for the answer to a question.
enum LeaseReply {
    Renew(oneshot::Sender<Result<i64, LeaseRefusal>>),
    Life(oneshot::Sender<Result<LeaseLife, LeaseRefusal>>),
    List(oneshot::Sender<Vec<LeaseId>>),
}

/// The loop's own state.
pub struct Driver {
    shared: Arc<Shared>,
    node: Node,
    /// What the node asked for when it was made.
    first: Vec<Output>,
    origin: Instant,
    tick: Duration,
    next_tick: Instant,
    wal: SyncSender<WalJob>,
    committed: SyncSender<Vec<LogEntry>>,
    next_ticket: u64,
    reads: BTreeMap<ReadTicket, Vec<ReadReply>>,
    leases: BTreeMap<LeaseTicket, LeaseReply>,
    /// When each member was sent the last heartbeat of this leadership.
    heartbeats: BTreeMap<MemberId, Instant>,
    stop_ready: bool,
    /// The snapshot that the message at hand is about.
    received: Option<Box<Received>>,
}

impl Driver {
    /// A loop that drives a node that was just made, with what it asked for then. Its clock begins now.
    pub fn new(
        shared: Arc<Shared>,
        (node, first): (Node, Vec<Output>),
        wal: SyncSender<WalJob>,
        committed: SyncSender<Vec<LogEntry>>,
    ) -> Self {
        let tick = shared.config.heartbeat_interval;
        Self {
            shared,
            node,
            first,
            origin: Instant::now(),
            tick,
            next_tick: Instant::now() + tick,
            wal,
            committed,
            next_ticket: 0,
            reads: BTreeMap::new(),
            leases: BTreeMap::new(),
            heartbeats: BTreeMap::new(),
            stop_ready: false,
            received: None,
        }
    }

    /// Runs until the member stops.
    pub fn run(mut self) {
        let shared = self.shared.clone();
        halting(&shared, "the driver loop", || {
            self.begin()?;
            while !self.is_done() {
                self.turn()?;
            }
            Ok(())
        });
        shared.stop_waiting();
    }

    /// Carries out what the node asked for when it was made.
    pub(super) fn begin(&mut self) -> Result<(), Halt> {
        for output in std::mem::take(&mut self.first) {
            self.carry_out(output)?;
        }
        self.advance_election()
    }

    pub(super) fn is_done(&self) -> bool {
        self.stop_ready || self.shared.is_stopping()
    }

    /// The first election after a start comes early: whoever leads has been heard of within two ticks.
    fn advance_election(&mut self) -> Result<(), Halt> {
        let config = &self.shared.config;
        let ticks = config.election_ticks().saturating_sub(2);
        if !config.initial_election_tick_advance || self.node.leads_alone() {
            return Ok(());
        }
        (0..ticks).try_for_each(|_| self.hand_in(vec![Input::Tick]))
    }

    /// One look at the inbox, and a tick when it is time.
    fn turn(&mut self) -> Result<(), Halt> {
        let arrived = self.shared.inbox.take(self.next_tick);
        self.take_in(arrived)?;
        let now = Instant::now();
        if now >= self.next_tick {
            // A loop that was held up does not make up for lost ticks: they would only start elections.
            self.next_tick = now + self.tick;
            self.take_tick()?;
        }
        self.show_status();
        Ok(())
    }

    pub(super) fn show_status(&self) {
        *self.shared.node_status.lock() = self.node.status();
    }

    /// What arrived together is handed in together: a commit index travels with the entries proposed meanwhile, and one write has them
    /// all.
    pub(super) fn take_in(&mut self, arrived: Arrived<Event>) -> Result<(), Halt> {
        let mut inputs = Vec::with_capacity(arrived.events.len() + 3);
        // Events first: what is applied must be known before anybody asks about it.
        for event in arrived.events {
            self.take_event(event, &mut inputs)?;
        }
        if !arrived.proposals.is_empty() {
            inputs.push(Input::Propose(arrived.proposals));
        }
        if !arrived.reads.is_empty() {
            let ticket = ReadTicket(self.ticket());
            self.reads.insert(ticket, arrived.reads);
            inputs.push(Input::ReadIndex(ticket));
        }
        self.hand_in(inputs)
    }

    pub(super) fn take_tick(&mut self) -> Result<(), Halt> {
        self.hand_in(vec![Input::Tick])?;
        self.shared.pending.tick();
        Ok(())
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn take_event(&mut self, event: Event, inputs: &mut Vec<Input>) -> Result<(), Halt> {
        inputs.push(match event {
            Event::Persisted(token) => Input::Persisted(token),
            Event::Applied(applied) => Input::Applied(applied),
            Event::Lease(question) => self.ask(question),
            Event::Receive(message) => Input::Receive(message),
            Event::Unreachable(member) => Input::PeerUnreachable(member),
            Event::SnapshotSent { to, arrived } => Input::SnapshotSent { to, arrived },
            Event::ConfChange(change) => Input::ProposeConfChange(change),
            Event::TransferLeader(member) => Input::TransferLeader(member),
            Event::ServerVersionMin(version) => Input::ServerVersionMin(version),
            Event::Stop => Input::Stop,
            Event::Snapshot(message, received) => {
                // By itself: what was received belongs to this message and to no other.
                self.hand_in(std::mem::take(inputs))?;
                self.received = Some(received);
                let handed_in = self.hand_in(vec![Input::Receive(message)]);
                // Not wanted: it is older than what is here.
                self.received = None;
                return handed_in;
            }
        });
        Ok(())
    }

    fn ask(&mut self, question: LeaseQuestion) -> Input {
        let ticket = LeaseTicket(self.ticket());
        let (reply, input) = match question {
            LeaseQuestion::Renew(lease, reply) => {
                (LeaseReply::Renew(reply), Input::RenewLease { lease, ticket })
            }
            LeaseQuestion::Life(lease, reply) => {
                (LeaseReply::Life(reply), Input::LeaseLife { lease, ticket })
            }
            LeaseQuestion::List(reply) => (LeaseReply::List(reply), Input::ListLeases(ticket)),
        };
        self.leases.insert(ticket, reply);
        input
    }

    fn hand_in(&mut self, inputs: Vec<Input>) -> Result<(), Halt> {
        let now = Moment(self.origin.elapsed());
        let proposed: Vec<RequestId> = inputs.iter().flat_map(proposed).collect();
        let outputs = self.node.handle_all(now, inputs);
        // Before any output leaves: what follows may end it.
        self.shared.leads_alone.store(self.node.leads_alone(), Ordering::Release);
        for output in outputs {
            self.carry_out(output)?;
        }
        // A leader who was lost by one of the inputs has not been given what is proposed by others.
        self.shared.pending.handed_in(&proposed);
        Ok(())
    }

    fn carry_out(&mut self, output: Output) -> Result<(), Halt> {
        match output {
            // The queues are longer than what admission lets in, so sending does not wait; it fails once a thread has stopped the member.
            Output::Persist(persist) => {
                let job = match (&persist.snapshot, self.received.take()) {
                    (None, received) => {
                        self.received = received;
                        WalJob::Persist(persist)
                    }
                    (Some(_), Some(received)) => WalJob::Install(persist, received),
                    (Some(snapshot), None) => {
                        return Err(Halt(format!("no snapshot at {:?} was received", snapshot.position)));
                    }
                };
                self.wal.send(job).map_err(|_| gone("write-ahead log"))?;
            }
            Output::Apply(entries) => self.committed.send(entries).map_err(|_| gone("apply"))?,
            Output::ReadReady { tickets, index } => {
                let replies = self.take_reads(tickets);
                self.shared.applied.when(index, replies);
            }
            Output::ReadDropped(tickets) => {
                self.shared.metrics.handles.slow_read_indexes.inc();
                reads::answer(self.take_reads(tickets), Err(EtcdError::Timeout));
            }
            Output::Dropped { id, reason } => {
                self.shared.pending.answer(vec![(id, Err(drop_error(reason)))]);
            }
            Output::LeaseRenewed { ticket, ttl_seconds } => {
                if let Some(LeaseReply::Renew(reply)) = self.leases.remove(&ticket) {
                    // Whoever asked may be gone; so below.
                    reply.send(ttl_seconds).ok();
                }
            }
            Output::LeaseLife { ticket, life } => {
                if let Some(LeaseReply::Life(reply)) = self.leases.remove(&ticket) {
                    reply.send(life).ok();
                }
            }
            Output::LeaseList { ticket, leases } => {
                if let Some(LeaseReply::List(reply)) = self.leases.remove(&ticket) {
                    reply.send(leases).ok();
                }
            }
            Output::LeaderChanged { leader, term, unsent } => {
                self.shared.headers.enter(term);
                let metrics = &self.shared.metrics.handles;
                metrics.has_leader.set(i64::from(leader.is_some()));
                metrics.is_leader.set(i64::from(leader == Some(self.shared.id)));
                if leader.is_some() && leader != self.shared.leader() {
                    metrics.leader_changes_seen.inc();
                }
                self.heartbeats.clear();
                tracing::info!(
                    term = term.0,
                    leader = format!("{:x}", leader.map_or(0, |id| id.0)),
                    "leader changed"
                );
                let before = self.shared.lead.send_replace(Lead::new(leader, term));
                self.shared.pending.leader_lost(before.term, &unsent);
                self.shared.changes.send_replace(());
            }
            Output::StopReady => self.stop_ready = true,
            Output::Halt(halt) => return Err(halt),
            Output::Send(message) => self.send(message),
        }
        Ok(())
    }

    /// What cannot be sent is lost, and the node told so in a later turn.
    fn send(&mut self, message: Message) {
        if message.kind == MessageKind::InstallSnapshot {
            return self.shared.send_snapshot(message);
        }
        let to = message.to;
        if message.kind == MessageKind::Heartbeat {
            self.note_heartbeat(to);
        }
        if self.shared.peers.send(message).is_err() {
            self.shared.inbox.send(Event::Unreachable(to));
        }
    }

    /// A leader that lets two heartbeats pass is too busy, or waits for its disk.
    fn note_heartbeat(&mut self, to: MemberId) {
        let now = Instant::now();
        let Some(last) = self.heartbeats.insert(to, now) else { return };
        let (gap, expected) = (now - last, 2 * self.tick);
        if gap > expected {
            tracing::warn!(
                to = format!("{:x}", to.0),
                "heartbeat-interval" = ?self.tick,
                "expected-duration" = ?expected,
                "exceeded-duration" = ?(gap - expected),
                "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk"
            );
            self.shared.metrics.handles.heartbeat_send_failures.inc();
        }
    }

    /// Lets the node's clock go on.
    #[cfg(test)]
    pub(super) fn advance_clock(&mut self, by: Duration) {
        self.origin = self.origin.checked_sub(by).expect("the machine has run for longer");
    }

    fn take_reads(&mut self, tickets: Vec<ReadTicket>) -> Vec<ReadReply> {
        tickets.iter().filter_map(|ticket| self.reads.remove(ticket)).flatten().collect()
    }
}

/// The ids of what an input proposes.
fn proposed(input: &Input) -> Vec<RequestId> {
    match input {
        Input::Propose(proposals) => proposals.iter().map(|proposal| proposal.id).collect(),
        Input::ProposeConfChange(change) => vec![change.id],
        _ => Vec::new(),
    }
}

fn drop_error(reason: DropReason) -> EtcdError {
    match reason {
        DropReason::NoLeader => EtcdError::Timeout,
        DropReason::TooManyRequests => EtcdError::RequestTooManyRequests,
        DropReason::Refused => EtcdError::LeaderChanged,
    }
}

fn gone(what: &str) -> Halt {
    Halt(format!("the {what} thread is gone"))
}
