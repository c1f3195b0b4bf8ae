//! A few members in one process: real nodes and state machines, a disk and a network that do what a script says.

use crate::command::{
    AlarmAction, AlarmCommand, AlarmType, Command, DowngradeInfoSet, LeaseGrant, LeaseRevoke, Put, Request,
    RequestHeader,
};
use crate::membership::{Member, conf_state_to_json};
use crate::node::*;
use crate::state::{Effects, StateMachine};
use crate::types::*;
use bytes::Bytes;
use goldenscript::{ArgumentConsumer, Context, Runner};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

pub const TICK: Duration = Duration::from_millis(100);

/// What the records of one member's store would hold.
#[derive(Default)]
pub struct Records(BTreeMap<RecordRevision, KvBytes>);

impl RecordSource for Records {
    fn record(&self, at: RecordRevision) -> Result<KvBytes, SourceError> {
        self.0.get(&at).cloned().ok_or(SourceError::Gone(at))
    }
}

/// One member: what survives a crash, and what does not.
pub struct Host {
    pub node: Option<Node>,
    pub hard_state: HardState,
    pub log: Vec<LogEntry>,
    /// The state machine is checkpointed after every entry.
    pub state: StateMachine,
    pub records: Records,
    pub to_persist: VecDeque<Persist>,
    pub to_apply: VecDeque<LogEntry>,
    /// What has arrived and waits for the next turn.
    pub inbox: VecDeque<Input>,
    starts: u64,
}

impl Host {
    fn new(members: &[Member]) -> Self {
        let (hard_state, log) =
            if members.is_empty() { (HardState::default(), Vec::new()) } else { bootstrap(members) };
        Self {
            node: None,
            hard_state,
            log,
            state: StateMachine::default(),
            records: Records::default(),
            to_persist: VecDeque::new(),
            to_apply: VecDeque::new(),
            inbox: VecDeque::new(),
            starts: 0,
        }
    }

    pub fn persist(&mut self, persist: Persist) -> PersistToken {
        if let Some(first) = persist.entries.first() {
            assert!(first.index > self.state.applied(), "what is applied is replaced");
            self.log.retain(|entry| entry.index < first.index);
            self.log.extend(persist.entries);
        }
        self.hard_state = persist.hard_state.unwrap_or(self.hard_state);
        persist.token
    }

    /// What applying an entry does, already installed.
    fn apply(&mut self, entry: &LogEntry) -> Effects {
        assert!(self.log.contains(entry), "entry {} is applied before it is on disk", entry.index);
        let effects = match entry.kind {
            EntryKind::Normal if entry.data.is_empty() => self.state.apply_empty(entry.index, entry.term),
            EntryKind::Normal => {
                let request = Request::decode(entry.data.clone()).expect("a request");
                self.state.apply(&self.records, entry.index, entry.term, &request)
            }
            _ => self.state.apply_conf_change(entry),
        };
        let effects = effects.expect("no halt");
        for record in &effects.batch.records {
            self.records.0.insert(record.at(), record.kv.clone());
        }
        self.state.install(&effects.batch);
        effects
    }

    fn restart(&self) -> Restart {
        Restart {
            hard_state: self.hard_state,
            start: LogPosition::default(),
            entries: self.log.clone(),
            applied: self.state.applied(),
            conf_state: self.state.membership.conf_state().clone(),
            leases: self.state.leases.iter().collect(),
            cluster_version: self.state.membership.cluster_version().map(String::from),
            downgrade_target: self.state.membership.downgrade_target().map(String::from),
        }
    }
}

/// All members and what is between them.
#[derive(Default)]
pub struct World {
    pub now: Moment,
    pub hosts: BTreeMap<u64, Host>,
    pub network: VecDeque<Message>,
    pub cut_off: BTreeSet<u64>,
    /// Members that hear nobody; the others hear them.
    pub deaf: BTreeSet<u64>,
    /// Members that do not tell what they know to be committed, like those of etcd.
    pub silent: BTreeSet<u64>,
    /// Members to whom nothing is handed in before their next turn.
    pub gathering: BTreeSet<u64>,
    /// Messages and writes that members have asked for.
    pub sent: usize,
    pub written: usize,
    /// Applied entries that members which start from now on keep for others.
    pub catchup_entries_max: Option<usize>,
    requests: u64,
    tickets: u64,
    pub text: String,
    pub reads_ready: Vec<(Vec<ReadTicket>, LogIndex)>,
    pub renewals: Vec<(LeaseTicket, Result<i64, LeaseRefusal>)>,
}

pub fn member(id: u64) -> Member {
    let peer_urls = vec![format!("http://m{id}:2380")];
    Member { id: MemberId(id), name: format!("m{id}"), peer_urls, ..Member::default() }
}

impl World {
    pub fn bootstrap(&mut self, members: &[u64]) {
        let all: Vec<Member> = members.iter().copied().map(member).collect();
        for id in members {
            self.hosts.insert(*id, Host::new(&all));
            self.start(*id);
        }
    }

    pub fn start(&mut self, id: u64) {
        let host = self.hosts.get_mut(&id).expect("a member");
        host.starts += 1;
        let (_, ids) = RequestIds::pair(MemberId(id), host.starts * 1_000);
        let mut config = NodeConfig::new(MemberId(id), ids, id);
        config.server_version = "3.7.1";
        config.catchup_entries_max = self.catchup_entries_max.unwrap_or(config.catchup_entries_max);
        let (node, out) = Node::new(self.now, config, host.restart()).expect("starts");
        host.node = Some(node);
        self.carry_out(id, out);
    }

    /// Starts a member that was added.
    pub fn join(&mut self, id: u64) {
        self.hosts.insert(id, Host::new(&[]));
        self.start(id);
    }

    pub fn crash(&mut self, id: u64) {
        let host = self.hosts.get_mut(&id).expect("a member");
        host.node = None;
        host.to_persist.clear();
        host.to_apply.clear();
        host.inbox.clear();
    }

    pub fn input(&mut self, id: u64, input: Input) {
        let now = self.now;
        let host = self.hosts.get_mut(&id).expect("a member");
        match &mut host.node {
            Some(_) if self.gathering.contains(&id) => host.inbox.push_back(input),
            Some(node) => {
                let out = node.handle(now, input);
                self.carry_out(id, out);
            }
            None => {}
        }
    }

    /// Hands in the first `count` of what has been gathered, together. Whether there was anything.
    pub fn turn(&mut self, id: u64, count: usize) -> bool {
        let host = self.hosts.get_mut(&id).expect("a member");
        let count = count.min(host.inbox.len());
        let inputs: Vec<Input> = host.inbox.drain(..count).collect();
        let Some(node) = host.node.as_mut().filter(|_| count > 0) else { return false };
        let out = node.handle_all(self.now, inputs);
        self.carry_out(id, out);
        true
    }

    /// What leaves must be true even if the member loses everything that is not on its disk. What was said in a term that is over on the
    /// disk, too, is believed by nobody who goes on in that term.
    fn check_durable(&self, id: u64, message: &Message) {
        let Host { hard_state, log, .. } = &self.hosts[&id];
        if message.kind.is_of_no_term() || message.term < hard_state.term {
            return;
        }
        let last = log.last().map_or(LogIndex(0), |entry| entry.index);
        let is_durable = message.term == hard_state.term
            && match message.kind {
                MessageKind::AppendResponse => message.is_reject || message.index <= last,
                MessageKind::Vote => hard_state.vote == Some(message.from) && message.index <= last,
                MessageKind::VoteResponse => message.is_reject || hard_state.vote == Some(message.to),
                _ => true,
            };
        assert!(
            is_durable,
            "m{id} {} leaves, but on its disk are {} and a log up to {last}",
            show_message(message),
            show_hard_state(hard_state)
        );
    }

    fn carry_out(&mut self, id: u64, out: Vec<Output>) {
        for output in out {
            self.say(&format!("m{id} {}", show(&output)));
            let host = self.hosts.get_mut(&id).expect("a member");
            match output {
                Output::Persist(persist) => {
                    host.to_persist.push_back(persist);
                    self.written += 1;
                }
                Output::Apply(entries) => host.to_apply.extend(entries),
                Output::Send(message) => {
                    self.check_durable(id, &message);
                    self.network.push_back(message);
                    self.sent += 1;
                }
                Output::ReadReady { tickets, index } => self.reads_ready.push((tickets, index)),
                Output::LeaseRenewed { ticket, ttl_seconds } => self.renewals.push((ticket, ttl_seconds)),
                Output::Halt(halt) => panic!("m{id} halts: {halt}"),
                _ => {}
            }
        }
    }

    fn say(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub fn tick(&mut self, ids: &[u64]) {
        self.now += TICK;
        ids.iter().for_each(|id| self.input(*id, Input::Tick));
    }

    /// Puts the oldest `count` outputs on disk with one sync. Whether there were any.
    pub fn persist(&mut self, id: u64, count: usize) -> bool {
        let host = self.hosts.get_mut(&id).expect("a member");
        let count = count.min(host.to_persist.len());
        let persists: Vec<Persist> = host.to_persist.drain(..count).collect();
        let mut last = None;
        let mut is_replaced = false;
        for persist in persists {
            if let Some(snapshot) = &persist.snapshot {
                self.install(id, snapshot.position);
                is_replaced = true;
            }
            last = Some(self.hosts.get_mut(&id).expect("a member").persist(persist));
        }
        let Some(token) = last else { return false };
        self.input(id, Input::Persisted(token));
        if is_replaced {
            let applied = Applied::snapshot(&self.hosts[&id].state);
            self.input(id, Input::Applied(applied));
        }
        true
    }

    /// Gives a member the state machine that any other one would have at `position`.
    fn install(&mut self, id: u64, position: LogPosition) {
        let holds = |host: &&Host| host.state.applied() >= position.index;
        let log = self.hosts.values().find(holds).expect("somebody has sent it").log.clone();
        let host = self.hosts.get_mut(&id).expect("a member");
        let inbox = std::mem::take(&mut host.inbox);
        *host = Host { node: host.node.take(), starts: host.starts, inbox, ..Host::new(&[]) };
        host.log = log.into_iter().filter(|entry| entry.index <= position.index).collect();
        for entry in host.log.clone() {
            host.apply(&entry);
        }
        assert_eq!(host.state.applied_term(), position.term);
    }

    /// Applies the next `count` entries. Whether there were any.
    pub fn apply(&mut self, id: u64, count: usize) -> bool {
        let host = self.hosts.get_mut(&id).expect("a member");
        let count = count.min(host.to_apply.len());
        let entries: Vec<LogEntry> = host.to_apply.drain(..count).collect();
        let mut applied = Applied::default();
        let mut lines = Vec::new();
        for entry in &entries {
            let effects = host.apply(entry);
            applied.note(&effects.batch);
            lines.push(format!("m{id} applied {}: {}", entry.index, show_effects(entry, &effects)));
        }
        lines.iter().for_each(|line| self.say(line));
        if !entries.is_empty() {
            self.input(id, Input::Applied(applied));
        }
        !entries.is_empty()
    }

    /// Delivers the oldest message. Whether there was one.
    pub fn deliver(&mut self) -> bool {
        let Some(message) = self.network.pop_front() else { return false };
        let is_cut = self.cut_off.contains(&message.from.0)
            || self.cut_off.contains(&message.to.0)
            || self.deaf.contains(&message.to.0);
        if !is_cut && self.hosts.contains_key(&message.to.0) {
            let mut wire = Message::from_wire(message.to_wire()).expect("comes back from the wire");
            assert_eq!(wire, message);
            if matches!(wire.kind, MessageKind::AppendResponse | MessageKind::HeartbeatResponse)
                && self.silent.contains(&wire.from.0)
            {
                wire.commit = LogIndex(0);
            }
            self.input(message.to.0, Input::Receive(Box::new(wire)));
        }
        true
    }

    /// Lets disks, state machines and the network do all they have to do.
    pub fn settle(&mut self) {
        let ids: Vec<u64> = self.hosts.keys().copied().collect();
        loop {
            let mut is_busy = self.deliver();
            for id in &ids {
                is_busy |= self.persist(*id, usize::MAX);
                is_busy |= self.apply(*id, usize::MAX);
            }
            if !is_busy {
                break;
            }
        }
    }

    pub fn propose(&mut self, id: u64, commands: Vec<Command>) {
        let proposals = commands.into_iter().map(|command| {
            self.requests += 1;
            let id = RequestId(self.requests);
            let header = RequestHeader { id, ..RequestHeader::default() };
            Proposal { id, data: Request { header, command }.encode() }
        });
        let proposals = proposals.collect();
        self.input(id, Input::Propose(proposals));
    }

    fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    pub fn conf_change(&mut self, kind: ConfChangeKind, id: u64, is_promote: bool) -> ConfChange {
        self.requests += 1;
        let context = match kind {
            ConfChangeKind::Remove => Bytes::new(),
            _ => member(id).to_change_context(is_promote).into(),
        };
        ConfChange { id: RequestId(self.requests), kind, member: MemberId(id), context }
    }
}

/// A member that believes that it leads.
pub fn leader(world: &World) -> Option<u64> {
    let leads =
        |id: &u64| world.hosts[id].node.as_ref().is_some_and(|node| node.status().role == Role::Leader);
    world.hosts.keys().copied().find(leads)
}

/// A member other than `old`, of whom everybody may have lost sight, that believes that it leads.
pub fn other_leader(world: &World, old: u64) -> Option<u64> {
    let leads = |id: &u64| {
        *id != old && world.hosts[id].node.as_ref().is_some_and(|node| node.status().role == Role::Leader)
    };
    world.hosts.keys().copied().find(leads)
}

/// A cluster of these members in which one leads, and who.
pub fn cluster(members: &[u64]) -> (World, u64) {
    let mut world = World::default();
    world.bootstrap(members);
    live(&mut world, 30);
    let leader = leader(&world).expect("somebody leads");
    (world, leader)
}

/// Lets everybody live for so many ticks.
pub fn live(world: &mut World, ticks: usize) {
    let ids: Vec<u64> = world.hosts.keys().copied().collect();
    live_without(world, &ids, ticks);
}

/// Lets these live; the others only hear.
pub fn live_without(world: &mut World, ids: &[u64], ticks: usize) {
    for _ in 0..ticks {
        world.tick(ids);
        world.settle();
    }
}

pub fn put(key: &str, value: &str, lease: i64) -> Command {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    Command::Put(Put { key, value, lease, ..Put::default() })
}

fn range(entries: &[LogEntry]) -> String {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return "nothing".into() };
    format!("{}..{} of term {}", first.index, last.index, last.term)
}

fn show_hard_state(state: &HardState) -> String {
    let vote = state.vote.map_or("nobody".into(), |member| format!("m{member}"));
    format!("term {}, vote {vote}, commit {}", state.term, state.commit)
}

fn show(output: &Output) -> String {
    match output {
        Output::Persist(persist) => {
            let state = persist.hard_state.as_ref().map(|state| format!(" ({})", show_hard_state(state)));
            let sync = if persist.must_sync { "sync" } else { "write" };
            format!("{sync} {}{}", range(&persist.entries), state.unwrap_or_default())
        }
        Output::Apply(entries) => format!("apply {}", range(entries)),
        Output::Send(message) => show_message(message),
        Output::ReadReady { tickets, index } => {
            format!("reads {:?} ready at {index}", tickets.iter().map(|ticket| ticket.0).collect::<Vec<_>>())
        }
        Output::ReadDropped(tickets) => {
            format!("reads {:?} dropped", tickets.iter().map(|ticket| ticket.0).collect::<Vec<_>>())
        }
        Output::Dropped { id, reason } => format!("dropped {id}: {reason:?}"),
        Output::LeaseRenewed { ticket, ttl_seconds } => format!("renewal {}: {ttl_seconds:?}", ticket.0),
        Output::LeaseLife { ticket, life } => format!("life {}: {life:?}", ticket.0),
        Output::LeaseList { ticket, leases } => {
            format!("leases {}: {:?}", ticket.0, leases.iter().map(|id| id.0).collect::<Vec<_>>())
        }
        Output::LeaderChanged { leader, term, .. } => {
            let leader = leader.map_or("nobody".into(), |member| format!("m{member}"));
            format!("led by {leader} in term {term}")
        }
        Output::StopReady => "may stop".into(),
        Output::Halt(halt) => format!("HALT {halt}"),
    }
}

fn show_message(message: &Message) -> String {
    let mut text = format!("-> m{} {:?} term {}", message.to, message.kind, message.term);
    let mut add = |what: &str, is_there: bool, value: u64| {
        if is_there {
            write!(text, " {what} {value}").expect("writes");
        }
    };
    add("index", message.index.0 > 0, message.index.0);
    add("after term", message.log_term.0 > 0, message.log_term.0);
    add("entries", !message.entries.is_empty(), message.entries.len() as u64);
    add("commit", message.commit.0 > 0, message.commit.0);
    add("hint", message.is_reject, message.reject_hint.0);
    text
}

fn show_effects(entry: &LogEntry, effects: &Effects) -> String {
    let name = match entry.kind {
        EntryKind::Normal if entry.data.is_empty() => "nothing".to_owned(),
        EntryKind::Normal => {
            let command = Request::decode(entry.data.clone()).expect("a request").command;
            let text = format!("{command:?}");
            match command {
                Command::Put(_) => {
                    format!("put at revision {}", effects.batch.revision().map_or(0, |at| at.0))
                }
                _ => text.split('(').next().unwrap_or_default().to_owned() + &detail(&command),
            }
        }
        _ => {
            let change = ConfChange::decode(entry.data.clone()).expect("a change");
            format!("{:?} m{}", change.kind, change.member)
        }
    };
    match &effects.outcome {
        Ok(_) => name,
        Err(error) => format!("{name} refused: {error:?}"),
    }
}

fn detail(command: &Command) -> String {
    match command {
        Command::LeaseGrant(grant) => format!(" {} for {} s", grant.id, grant.ttl_seconds),
        Command::LeaseRevoke(revoke) => format!(" {}", revoke.id),
        Command::LeaseCheckpoint(remaining) => {
            let leases =
                remaining.iter().map(|lease| format!(" {}={}", lease.id, lease.remaining_ttl_seconds));
            leases.collect()
        }
        Command::ClusterVersionSet(set) => format!(" {}", set.version),
        Command::DowngradeInfoSet(set) if set.enabled => format!(" {}", set.version),
        _ => String::new(),
    }
}

fn id_of(args: &mut ArgumentConsumer<'_>) -> Result<u64, Box<dyn Error>> {
    let text = args.next_pos().ok_or("no member")?;
    Ok(text.strip_prefix('m').ok_or("members are m1, m2, ...")?.parse()?)
}

fn number<T: std::str::FromStr<Err: Error + 'static>>(
    args: &mut ArgumentConsumer<'_>,
    key: &str,
    default: T,
) -> Result<T, Box<dyn Error>> {
    Ok(args.take_key(key).map(str::parse).transpose()?.unwrap_or(default))
}

impl Runner for World {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _context: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        match command.name.as_str() {
            "bootstrap" => {
                let mut ids = Vec::new();
                while let Some(text) = args.next_pos() {
                    ids.push(text.trim_start_matches('m').parse()?);
                }
                self.bootstrap(&ids);
            }
            "tick" => {
                let count = number(&mut args, "n", 1)?;
                let ids = match args.next_pos() {
                    Some(text) => vec![text.trim_start_matches('m').parse()?],
                    None => self.hosts.keys().copied().collect(),
                };
                (0..count).for_each(|_| self.tick(&ids));
            }
            "live" => {
                for _ in 0..number(&mut args, "n", 1)? {
                    let ids: Vec<u64> = self.hosts.keys().copied().collect();
                    self.tick(&ids);
                    self.settle();
                }
            }
            "wait" => self.now += Duration::from_millis(number(&mut args, "ms", 0)?),
            "settle" => self.settle(),
            "deliver" => {
                for _ in 0..number(&mut args, "n", usize::MAX)? {
                    if !self.deliver() {
                        break;
                    }
                }
            }
            "gather" => drop(self.gathering.insert(id_of(&mut args)?)),
            "cut" => drop(self.cut_off.insert(id_of(&mut args)?)),
            "heal" => self.cut_off.clear(),
            _ => self.run_on(command.name.as_str(), &mut args)?,
        }
        args.reject_next()?;
        Ok(std::mem::take(&mut self.text))
    }
}

impl World {
    fn run_on(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
        let id = id_of(args)?;
        match name {
            "start" => self.start(id),
            "join" => self.join(id),
            "crash" => self.crash(id),
            "turn" => {
                self.gathering.remove(&id);
                self.turn(id, usize::MAX);
            }
            "persist" => drop(self.persist(id, number(args, "n", usize::MAX)?)),
            "apply" => drop(self.apply(id, number(args, "n", usize::MAX)?)),
            "put" => {
                let lease = number(args, "lease", 0)?;
                let mut puts = Vec::new();
                while let Some((key, value)) = args.next_key() {
                    puts.push(put(key, value, lease));
                }
                self.propose(id, puts);
            }
            "grant" => {
                let (lease, ttl_seconds) = (number(args, "lease", 0)?, number(args, "ttl", 0)?);
                let grant = LeaseGrant { id: LeaseId(lease), ttl_seconds };
                self.propose(id, vec![Command::LeaseGrant(grant)]);
            }
            "revoke" => {
                let lease = LeaseId(number(args, "lease", 0)?);
                self.propose(id, vec![Command::LeaseRevoke(LeaseRevoke { id: lease })]);
            }
            "alarm" => {
                let action = match args.next_pos() {
                    Some("raise") => AlarmAction::Activate,
                    _ => AlarmAction::Deactivate,
                };
                let alarm = match args.next_pos() {
                    Some("corrupt") => Some(AlarmType::Corrupt),
                    _ => Some(AlarmType::NoSpace),
                };
                let command = AlarmCommand { action, member: MemberId(id), alarm };
                self.propose(id, vec![Command::Alarm(command)]);
            }
            "downgrade" => {
                let target = args.next_pos().filter(|target| *target != "off").map(str::to_owned);
                let set = DowngradeInfoSet { enabled: target.is_some(), version: target.unwrap_or_default() };
                self.propose(id, vec![Command::DowngradeInfoSet(set)]);
            }
            "oldest" => {
                let version = args.next_pos().ok_or("a version is missing")?.to_owned();
                self.input(id, Input::ServerVersionMin(version));
            }
            "read" => {
                let ticket = ReadTicket(self.next_ticket());
                self.input(id, Input::ReadIndex(ticket));
            }
            "renew" => {
                let (lease, ticket) = (LeaseId(number(args, "lease", 0)?), LeaseTicket(self.next_ticket()));
                self.input(id, Input::RenewLease { lease, ticket });
            }
            "life" => {
                let (lease, ticket) = (LeaseId(number(args, "lease", 0)?), LeaseTicket(self.next_ticket()));
                self.input(id, Input::LeaseLife { lease, ticket });
            }
            "leases" => {
                let ticket = LeaseTicket(self.next_ticket());
                self.input(id, Input::ListLeases(ticket));
            }
            "campaign" => self.input(id, Input::Campaign),
            "stop" => self.input(id, Input::Stop),
            "transfer" => {
                let to = MemberId(id_of(args)?);
                self.input(id, Input::TransferLeader(to));
            }
            "add" | "learner" | "promote" | "remove" | "update" => {
                let about = id_of(args)?;
                let change = match name {
                    "add" => self.conf_change(ConfChangeKind::AddVoter, about, false),
                    "learner" => self.conf_change(ConfChangeKind::AddLearner, about, false),
                    "promote" => self.conf_change(ConfChangeKind::AddVoter, about, true),
                    "update" => self.conf_change(ConfChangeKind::Update, about, false),
                    _ => self.conf_change(ConfChangeKind::Remove, about, false),
                };
                self.input(id, Input::ProposeConfChange(change));
            }
            "status" => {
                let host = &self.hosts[&id];
                let status = host.node.as_ref().ok_or("is down")?.status();
                let conf_state = conf_state_to_json(host.state.membership.conf_state());
                let leader = status.leader.map_or("nobody".into(), |member| format!("m{member}"));
                let line = format!(
                    "m{id} {:?}, leader {leader}, term {}, last {}, commit {}, applied {}, {conf_state}",
                    status.role, status.term, status.last, status.commit, status.applied
                );
                self.say(&line);
                for progress in status.progress {
                    self.say(&format!("   m{} matches {}", progress.member, progress.matched));
                }
            }
            "keys" => {
                let host = &self.hosts[&id];
                let line = format!(
                    "m{id} revision {}, version {:?}, leases {:?}",
                    host.state.mvcc.revision(),
                    host.state.membership.cluster_version().unwrap_or("none"),
                    host.state
                        .leases
                        .iter()
                        .map(|lease| (lease.id.0, lease.remaining_ttl_seconds))
                        .collect::<Vec<_>>()
                );
                self.say(&line);
            }
            other => return Err(format!("no verb {other}").into()),
        }
        Ok(())
    }
}
