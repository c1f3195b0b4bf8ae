//! A member whose threads do what a test tells them, one go at a time, and other members that say what a test has them say. No time
//! passes but what a test lets pass.

use crate::auth::{Authenticator, Caller};
use crate::config::{EndpointUrl, MetricsDetail, ServerConfig};
use crate::member::boot::{self, Prepared, WAL};
use crate::member::driver::{Driver, Event};
use crate::member::wal_thread::{self, WalJob};
use crate::member::{Member, Shared, apply};
use crate::metrics::Metrics;
use crate::peer::{Dialer, Network};
use crate::tls::PeerTls;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;
use tenure_api::error::EtcdError;
use tenure_core::command::{Command, Put};
use tenure_core::node::{Message, MessageKind};
use tenure_core::state::{Halt, Response};
use tenure_core::types::{EntryKind, LogEntry, LogIndex, LogPosition, MemberId, RequestIds, Revision, Term};
use tenure_storage::disk::{Disk, DiskFile, DiskLock, MemoryDisk};
use tenure_storage::wal::Wal;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A disk in memory that fails when it is told to.
#[derive(Clone, Debug, Default)]
pub struct FailingDisk {
    disk: MemoryDisk,
    fails: Arc<AtomicBool>,
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn DiskFile>,
    fails: Arc<AtomicBool>,
}

impl FailingDisk {
    /// From now on nothing can be written.
    pub fn fail(&self) {
        self.fails.store(true, Ordering::Release);
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FailingFile { file, fails: self.fails.clone() })
    }
}

impl FailingFile {
    fn check(&self) -> io::Result<()> {
        match self.fails.load(Ordering::Acquire) {
            true => Err(io::Error::other("the disk has failed")),
            false => Ok(()),
        }
    }
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }
}

impl DiskFile for FailingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check()?;
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.check()?;
        self.file.allocate(bytes)
    }
}

/// What was to be seen when somebody was told something.
pub struct Witness {
    shared: Arc<Shared>,
    saw: Mutex<Option<(Revision, LogIndex)>>,
}

impl Wake for Witness {
    fn wake(self: Arc<Self>) {
        let saw = (self.shared.state.read().mvcc.revision(), self.shared.applied.load());
        self.saw.lock().get_or_insert(saw);
    }
}

/// Something that a client has asked and waits for.
pub struct Asked<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    witness: Arc<Witness>,
    told: Option<T>,
}

impl<T> Asked<T> {
    /// Revision and applied index at the moment at which the client was told.
    pub fn saw(&self) -> Option<(Revision, LogIndex)> {
        *self.witness.saw.lock()
    }
}

/// Another member.
struct Other {
    id: MemberId,
    hear: Box<dyn FnMut() -> Vec<Message>>,
}

/// The member.
pub struct Bench {
    runtime: Runtime,
    pub shared: Arc<Shared>,
    pub member: Member,
    pub disk: FailingDisk,
    pub driver: Driver,
    pub wal: Wal,
    pub jobs: Receiver<WalJob>,
    pub committed: Receiver<Vec<LogEntry>>,
    others: Vec<Other>,
    /// The end of the log as it was written.
    pub log_end: LogPosition,
}

fn url(at: usize) -> EndpointUrl {
    // Nobody is there: what members say is overheard.
    format!("http://127.0.0.1:{at}").parse().expect("a URL")
}

impl Bench {
    /// A member that has just started, of a new cluster of so many.
    pub fn new(members: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut config = ServerConfig::in_memory().with_name("m1");
        let cluster: BTreeMap<_, _> = (1..=members).map(|at| (format!("m{at}"), vec![url(at)])).collect();
        config.initial_advertise_peer_urls = vec![url(1)];
        config.initial_cluster = cluster;
        let config = Arc::new(config);
        let metrics = Metrics::new(MetricsDetail::Basic).expect("metrics");
        let dialer = Dialer::new(&config, PeerTls::new(&config).expect("no TLS").connector);
        let network =
            Network { runtime: runtime.handle().clone(), dialer, given_up: CancellationToken::new() };
        let authenticator = Authenticator::new(&config).expect("no keys");
        let disk = FailingDisk::default();
        let disks = (Arc::new(disk.clone()) as Arc<dyn Disk>, Arc::new(disk.clone()) as Arc<dyn Disk>);
        let disks = (disks.0, disks.1, PathBuf::from(WAL));
        let prepared = boot::prepare(config, metrics, &network, authenticator, disks).expect("it starts");
        let Prepared { shared, node, wal, request_ids } = prepared;
        let (wal_sender, jobs) = sync_channel(100);
        let (committed_sender, committed) = sync_channel(100);
        let driver = Driver::new(shared.clone(), node, wal_sender, committed_sender);
        let member = Self::handle(&shared, request_ids);
        let log_end = LogPosition { index: LogIndex(members as u64), term: Term(1) };
        let mut bench =
            Self { runtime, shared, member, disk, driver, wal, jobs, committed, others: Vec::new(), log_end };
        bench.driver.begin().expect("it begins");
        bench.settle();
        bench.meet_others();
        bench
    }

    fn handle(shared: &Arc<Shared>, request_ids: RequestIds) -> Member {
        let request_ids = Arc::new(Mutex::new(request_ids));
        Member { shared: shared.clone(), tasks: TaskTracker::new(), request_ids }
    }

    fn meet_others(&mut self) {
        let _runtime = self.runtime.enter();
        let (own, peers) = (self.shared.id, &self.shared.peers);
        let ids = self.member.members().into_iter().map(|member| member.id).filter(|id| *id != own);
        self.others = ids.map(|id| Other { id, hear: peers.overhear(id) }).collect();
    }

    /// A member of three that leads.
    pub fn leader_of_three() -> Self {
        let mut bench = Self::new(3);
        for _ in 0..40 {
            bench.tick();
            bench.settle_with_others();
            if bench.member.is_leader() {
                return bench;
            }
        }
        panic!("it is not elected: {:?}", bench.shared.node_status.lock());
    }

    /// The ids of the others.
    pub fn others(&self) -> Vec<MemberId> {
        self.others.iter().map(|other| other.id).collect()
    }

    /// The driver takes what has arrived. Whether there was anything.
    pub fn turn(&mut self) -> bool {
        let arrived = self.shared.inbox.take(Instant::now());
        let is_busy = !arrived.is_empty();
        if is_busy {
            self.driver.take_in(arrived).expect("no halt");
            self.driver.show_status();
        }
        is_busy
    }

    /// A tick of the driver's clock.
    pub fn tick(&mut self) {
        self.driver.take_tick().expect("no halt");
        self.driver.show_status();
    }

    /// The WAL thread writes what waits. Whether there was anything.
    pub fn write(&mut self) -> bool {
        let jobs: Vec<WalJob> = self.jobs.try_iter().collect();
        let is_busy = !jobs.is_empty();
        let mut entries = jobs.iter().filter_map(|job| match job {
            WalJob::Persist(persist) => persist.entries.last(),
            _ => None,
        });
        if let Some(last) = entries.next_back() {
            self.log_end = LogPosition { index: last.index, term: last.term };
        }
        wal_thread::turn(&self.shared, &mut self.wal, jobs.into_iter()).expect("it is written");
        is_busy
    }

    /// The apply thread applies what is committed. Whether there was anything.
    pub fn apply(&mut self) -> bool {
        let entries: Vec<LogEntry> = self.committed.try_iter().flatten().collect();
        let is_busy = !entries.is_empty();
        apply::apply_group(&self.shared, entries).expect("it is applied");
        is_busy
    }

    /// The threads do all they can, and the others say nothing.
    pub fn settle(&mut self) {
        while self.turn() | self.write() | self.apply() {}
    }

    /// The same, and the others agree to everything.
    pub fn settle_with_others(&mut self) {
        loop {
            self.settle();
            if !self.agree() {
                break;
            }
        }
    }

    /// The others agree to what they have heard. Whether they had heard anything.
    pub fn agree(&mut self) -> bool {
        let heard: Vec<Message> = self.others.iter_mut().flat_map(|other| (other.hear)()).collect();
        heard.iter().filter_map(agreement).for_each(|answer| self.receive(answer));
        !heard.is_empty()
    }

    /// What another member was told since it was asked last.
    pub fn heard_by(&mut self, id: MemberId) -> Vec<Message> {
        let other = self.others.iter_mut().find(|other| other.id == id).expect("another member");
        (other.hear)()
    }

    /// Another member says something; it waits for the next turn.
    pub fn receive(&self, message: Message) {
        self.shared.inbox.send(Event::Receive(Box::new(message)));
    }

    /// Another member leads in `term`, and says that its log goes on behind `after` with these entries, all of them committed.
    pub fn append_as(&self, leader: MemberId, term: Term, after: LogPosition, entries: &[LogEntry]) {
        let indexes = (after.index.0 + 1..).map(LogIndex);
        let entries: Vec<LogEntry> =
            indexes.zip(entries).map(|(index, entry)| LogEntry { index, term, ..entry.clone() }).collect();
        let commit = LogIndex(after.index.0 + entries.len() as u64);
        let message = Message::new(MessageKind::Append, leader, self.shared.id);
        let (index, log_term) = (after.index, after.term);
        self.receive(Message { term, index, log_term, entries, commit, ..message });
    }

    /// The term as the member knows it.
    pub fn term(&self) -> Term {
        self.shared.node_status.lock().term
    }

    /// A client asks something, which waits for the next turn.
    pub fn ask<T: 'static>(&self, asking: impl Future<Output = T> + 'static) -> Asked<T> {
        let witness = Arc::new(Witness { shared: self.shared.clone(), saw: Mutex::default() });
        let mut asked = Asked { future: Box::pin(asking), witness, told: None };
        self.look(&mut asked);
        asked
    }

    /// A client puts a key.
    pub fn put(&self, key: &str) -> Asked<Result<Response, EtcdError>> {
        self.propose(put(key))
    }

    /// A client asks for something to be replicated.
    pub fn propose(&self, command: Command) -> Asked<Result<Response, EtcdError>> {
        let member = self.member.clone();
        self.ask(async move { member.propose(&Caller::Member, command).await })
    }

    /// A client asks for a linearizable read.
    pub fn read(&self) -> Asked<Result<(), EtcdError>> {
        let member = self.member.clone();
        self.ask(async move { member.linearize().await })
    }

    fn look<T>(&self, asked: &mut Asked<T>) {
        let _runtime = self.runtime.enter();
        let waker = Waker::from(asked.witness.clone());
        if asked.told.is_none()
            && let Poll::Ready(told) = asked.future.as_mut().poll(&mut Context::from_waker(&waker))
        {
            asked.told = Some(told);
        }
    }

    /// What a client has been told by now.
    pub fn told<'a, T>(&self, asked: &'a mut Asked<T>) -> Option<&'a T> {
        self.look(asked);
        asked.told.as_ref()
    }

    /// Why the member has stopped.
    pub fn halted(&self) -> Option<Halt> {
        self.shared.halted.borrow().clone()
    }
}

/// A put as a command.
pub fn put(key: &str) -> Command {
    let key = bytes::Bytes::copy_from_slice(key.as_bytes());
    Command::Put(Put { key, ..Put::default() })
}

/// An entry of a leader who has just been elected.
pub fn empty_entry() -> LogEntry {
    LogEntry { index: LogIndex(0), term: Term(0), kind: EntryKind::Normal, data: bytes::Bytes::new() }
}

fn agreement(message: &Message) -> Option<Message> {
    let kind = match message.kind {
        MessageKind::PreVote => MessageKind::PreVoteResponse,
        MessageKind::Vote => MessageKind::VoteResponse,
        MessageKind::Append => MessageKind::AppendResponse,
        MessageKind::Heartbeat => MessageKind::HeartbeatResponse,
        _ => return None,
    };
    let index = LogIndex(match message.kind {
        MessageKind::Append => message.index.0 + message.entries.len() as u64,
        _ => 0,
    });
    let (term, context) = (message.term, message.context.clone());
    let context = if message.kind == MessageKind::Heartbeat { context } else { bytes::Bytes::new() };
    Some(Message { term, index, context, ..Message::new(kind, message.to, message.from) })
}
