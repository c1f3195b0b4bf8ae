//! The task that renews the leases of a client, on one stream.

use super::{
    LeaseKeepAliveResponse, LeaseKeeper,
    keeper::Mailbox,
    not_found,
    schedule::{Blame, Heard, IN_FLIGHT_MAX, Life, Schedule, Step},
};
use crate::{
    Code, Error, EtcdError, LeaseId, Result,
    rpc::{Answers, CallOptions, Rpc, method},
};
use futures::poll;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tenure_api::etcdserverpb as pb;
use tokio::{
    sync::{Notify, mpsc},
    task::unconstrained,
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;

/// The first answer for a lease may take this much longer than connecting may.
const FIRST_ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// The longest pause before a stream is opened again, as in etcd's client.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A stream that breaks earlier than this is no good one, even if something was heard on it.
const GOOD_STREAM_MIN: Duration = Duration::from_secs(1);

/// The leases that a client renews.
pub(crate) struct Renewals {
    rpc: Arc<Rpc>,
    book: Arc<Book>,
}

impl Renewals {
    pub(crate) fn new(rpc: Arc<Rpc>) -> Self {
        Renewals { rpc, book: Arc::default() }
    }

    /// Keeps a lease alive, from now on if nothing is known of its life. Starts the task if it does not run.
    pub(super) fn keep(&self, id: LeaseId, life: Option<Life>) -> Result<LeaseKeeper> {
        if self.rpc.pool().is_closed() {
            return Err(Error::Closed);
        }
        let answer_within = self.rpc.pool().dialer().dial_timeout() + FIRST_ANSWER_MARGIN;
        let mut state = self.book.state.lock();
        let mailbox = state.join(id, life, answer_within);
        if !state.is_running {
            state.is_running = true;
            tokio::spawn(run(self.book.clone(), self.rpc.clone()));
        }
        drop(state);
        self.book.changed.notify_one();
        Ok(LeaseKeeper::new(id, mailbox, self.book.clone()))
    }

    /// Which keeping of this lease it is, for [`Renewals::revoked`].
    pub(super) fn number(&self, id: LeaseId) -> Option<u64> {
        self.book.state.lock().schedule.number(id)
    }

    /// Tells keepers that the lease is revoked, unless they came after that.
    pub(super) fn revoked(&self, id: LeaseId, number: u64) {
        let mut state = self.book.state.lock();
        if state.schedule.number(id) == Some(number) {
            state.schedule.remove(id);
            state.lose(id, &not_found());
            drop(state);
            self.book.changed.notify_one();
        }
    }

    /// Stops all renewals.
    pub(super) fn close(&self) {
        self.book.close();
    }
}

impl Drop for Renewals {
    fn drop(&mut self) {
        self.book.close();
    }
}

/// Which leases are renewed, and for whom.
#[derive(Default)]
pub(super) struct Book {
    state: Mutex<State>,
    /// The task has something to look at.
    changed: Notify,
}

#[derive(Default)]
struct State {
    schedule: Schedule,
    keepers: HashMap<LeaseId, Keepers>,
    is_running: bool,
    /// Why the last stream broke, if nothing was heard since.
    failure: Option<Error>,
}

/// The keepers of one lease. There is one at least.
struct Keepers {
    mailboxes: Vec<Arc<Mailbox>>,
    last: Option<LeaseKeepAliveResponse>,
}

impl State {
    fn join(&mut self, id: LeaseId, life: Option<Life>, answer_within: Duration) -> Arc<Mailbox> {
        let now = Instant::now();
        match self.keepers.entry(id) {
            Entry::Occupied(mut keepers) => {
                let mailbox = Arc::new(Mailbox::new(self.schedule.life(id), keepers.get().last));
                keepers.get_mut().mailboxes.push(mailbox.clone());
                mailbox
            }
            Entry::Vacant(vacant) => {
                match life {
                    Some(life) => self.schedule.add_alive(id, life),
                    None => self.schedule.add(now, id, answer_within),
                }
                let mailbox = Arc::new(Mailbox::new(life, None));
                vacant.insert(Keepers { mailboxes: vec![mailbox.clone()], last: None });
                mailbox
            }
        }
    }

    /// Tells all keepers of a lease that it is over.
    fn lose(&mut self, id: LeaseId, error: &Error) {
        let Some(keepers) = self.keepers.remove(&id) else { return };
        tracing::debug!(lease = %id, %error, "not kept alive any more");
        for mailbox in keepers.mailboxes {
            mailbox.lost(error.clone());
        }
    }

    /// Why a lease is lost of which nothing was heard in time.
    fn silence(&self, was_alive: bool) -> Error {
        match &self.failure {
            Some(failure) if !was_alive => failure.clone(),
            Some(failure) => Error::LeaseExpired { reason: failure.cause().into() },
            None => Error::LeaseExpired { reason: "no answer came".into() },
        }
    }
}

/// What is to be done later.
enum Ticked {
    /// There are leases to be renewed.
    Busy,
    /// Nothing is heard on the stream.
    Hung,
    /// No lease is left.
    Idle,
}

/// How a wait ended.
enum Waited<T> {
    Done(T),
    /// Nothing is heard on the stream.
    Hung,
    /// No lease is left.
    Idle,
}

impl Book {
    /// A keeper is dropped.
    pub(super) fn leave(&self, id: LeaseId, mailbox: &Arc<Mailbox>) {
        let mut state = self.state.lock();
        let Entry::Occupied(mut keepers) = state.keepers.entry(id) else { return };
        let mailboxes = &mut keepers.get_mut().mailboxes;
        let Some(place) = mailboxes.iter().position(|other| Arc::ptr_eq(other, mailbox)) else { return };
        mailboxes.swap_remove(place);
        if mailboxes.is_empty() {
            keepers.remove();
            state.schedule.remove(id);
            drop(state);
            self.changed.notify_one();
        }
    }

    fn close(&self) {
        let mut state = self.state.lock();
        state.schedule.clear();
        let ids: Vec<LeaseId> = state.keepers.keys().copied().collect();
        for id in ids {
            state.lose(id, &Error::Closed);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Does what is to be done now.
    fn tick(&self, requests: Option<&mpsc::Sender<pb::LeaseKeepAliveRequest>>) -> Ticked {
        let mut state = self.state.lock();
        let steps = state.schedule.tick(Instant::now());
        for step in steps {
            match step {
                Step::Lost { id, was_alive } => {
                    let error = state.silence(was_alive);
                    state.lose(id, &error);
                }
                Step::Send(id) => {
                    let request = pb::LeaseKeepAliveRequest { id: id.0 };
                    // There is room for all that are in flight; if the stream is broken, its answers say so.
                    let is_sent = requests.is_some_and(|requests| requests.try_send(request).is_ok());
                    tracing::trace!(lease = %id, is_sent, "renewal");
                }
                Step::Leave => return Ticked::Hung,
            }
        }
        if state.schedule.is_empty() { Ticked::Idle } else { Ticked::Busy }
    }

    /// Waits for something while renewals are sent and leases are told that their time is over.
    async fn meanwhile<T>(
        &self,
        requests: Option<&mpsc::Sender<pb::LeaseKeepAliveRequest>>,
        what: impl Future<Output = T>,
    ) -> Waited<T> {
        let mut what = pin!(unconstrained(what));
        loop {
            // What has come counts before the clock does.
            if let Poll::Ready(done) = poll!(&mut what) {
                return Waited::Done(done);
            }
            match self.tick(requests) {
                Ticked::Busy => {}
                Ticked::Hung => return Waited::Hung,
                Ticked::Idle => return Waited::Idle,
            }
            let next = self.state.lock().schedule.next_tick();
            tokio::select! {
                biased;
                done = &mut what => return Waited::Done(done),
                () = self.changed.notified() => {}
                () = until(next) => {}
            }
        }
    }

    /// Waits until a lease is to be renewed. Returns false when none is left: then the task is to end.
    async fn is_due(&self) -> bool {
        loop {
            self.tick(None);
            let due = {
                let mut state = self.state.lock();
                if state.schedule.is_empty() {
                    state.is_running = false;
                    return false;
                }
                state.schedule.first_due()
            };
            if due.is_some_and(|due| due <= Instant::now()) {
                return true;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = until(due) => {}
            }
        }
    }

    fn opened(&self) {
        self.state.lock().schedule.opened(Instant::now());
    }

    /// Tells keepers of an answer. Returns whether it was expected.
    fn answered(&self, answer: pb::LeaseKeepAliveResponse) -> bool {
        let response = LeaseKeepAliveResponse::from(answer);
        let mut state = self.state.lock();
        match state.schedule.answered(Instant::now(), response.id, response.ttl_seconds) {
            Heard::Nothing => false,
            Heard::Alive(id, life) => {
                state.failure = None;
                if let Some(keepers) = state.keepers.get_mut(&id) {
                    keepers.last = Some(response);
                    for mailbox in &keepers.mailboxes {
                        mailbox.renewed(response, life);
                    }
                }
                true
            }
            Heard::Gone(id) => {
                state.failure = None;
                state.lose(id, &not_found());
                true
            }
        }
    }

    /// The stream is closed because no lease was left.
    fn closed(&self) {
        self.state.lock().schedule.broken(Instant::now(), Blame::Nobody);
    }

    fn broken(&self, error: Error, blame: Blame) {
        tracing::debug!(%error, ?blame, "the stream of renewals broke");
        let mut state = self.state.lock();
        for id in state.schedule.broken(Instant::now(), blame) {
            state.lose(id, &error);
        }
        state.failure = Some(error);
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Renews until no lease is left or the client is closed.
async fn run(book: Arc<Book>, rpc: Arc<Rpc>) {
    tokio::select! {
        () = rpc.pool().closed() => {
            book.close();
            book.state.lock().is_running = false;
        }
        () = Renewing::new(&book, &rpc).run() => {}
    }
}

struct Renewing<'a> {
    book: &'a Book,
    rpc: &'a Rpc,
    pauses: Box<dyn Iterator<Item = Duration> + Send>,
    /// Endpoints on which the stream broke since something was last heard, except the one that it is the turn of again.
    failed: Vec<Arc<str>>,
    failures: usize,
    /// There is no reason to hope that the next endpoint is better: all have failed, or nothing lasts.
    is_pause_due: bool,
}

/// Why a stream ended.
struct Ended {
    error: Error,
    /// The answers had begun: nobody has looked at the token yet.
    was_open: bool,
}

impl<'a> Renewing<'a> {
    fn new(book: &'a Book, rpc: &'a Rpc) -> Self {
        let pauses = Box::new(rpc.backoff());
        Renewing { book, rpc, pauses, failed: Vec::new(), failures: 0, is_pause_due: false }
    }

    async fn run(mut self) {
        while self.book.is_due().await {
            let Some(Ended { error, was_open }) = self.stream().await else {
                self.book.closed();
                continue;
            };
            let can_renew_token = self.rpc.is_token_refused(&error);
            self.book.broken(error.clone(), blame(&error, can_renew_token));
            if was_open && can_renew_token {
                let renewing = self.rpc.renew_after(&error);
                if let Waited::Done(Err(error)) = self.book.meanwhile(None, renewing).await {
                    let blame = blame(&error, false);
                    self.book.broken(error, blame);
                }
            }
            if self.is_pause_due {
                let pause = self.pauses.next().unwrap_or(PAUSE_MAX).min(PAUSE_MAX);
                self.book.meanwhile(None, sleep(pause)).await;
            }
        }
    }

    /// Opens a stream and renews on it until it breaks. Nothing when no lease is left.
    async fn stream(&mut self) -> Option<Ended> {
        self.is_pause_due = true;
        let connecting = self.rpc.pool().connection_beside(&self.failed);
        let connection = match self.book.meanwhile(None, connecting).await {
            Waited::Done(Ok(connection)) => connection,
            Waited::Done(Err(error)) => return Some(Ended { error, was_open: false }),
            Waited::Hung | Waited::Idle => return None,
        };
        let endpoint = connection.endpoint().clone();
        let (requests, waiting) = mpsc::channel(IN_FLIGHT_MAX);
        let started = Instant::now();
        let mut was_heard = false;
        self.book.opened();
        // A member without a leader cannot renew: another one may.
        let options = CallOptions { requires_leader: true };
        let waiting = ReceiverStream::new(waiting);
        let opening = self.rpc.bidi_stream_on(connection, &method::LEASE_KEEP_ALIVE, waiting, options);
        let ended = match self.book.meanwhile(Some(&requests), opening).await {
            Waited::Done(Ok(answers)) => self.read(answers, &requests, &mut was_heard).await,
            Waited::Done(Err(error)) => Some(Ended { error, was_open: false }),
            Waited::Hung => Some(hung(&endpoint)),
            Waited::Idle => None,
        };
        if ended.is_some() {
            self.is_pause_due = was_heard && started.elapsed() < GOOD_STREAM_MIN;
            self.failed_on(endpoint);
        }
        ended
    }

    fn failed_on(&mut self, endpoint: Arc<str>) {
        let endpoints = self.rpc.pool().len().max(1);
        self.failed.retain(|failed| *failed != endpoint);
        self.failed.push(endpoint);
        // When all have failed, the one that failed first is the next.
        self.failed.drain(..self.failed.len().saturating_sub(endpoints - 1));
        self.failures += 1;
        self.is_pause_due |= self.failures.is_multiple_of(endpoints);
    }

    async fn read(
        &mut self,
        mut answers: Answers<pb::LeaseKeepAliveResponse>,
        requests: &mpsc::Sender<pb::LeaseKeepAliveRequest>,
        was_heard: &mut bool,
    ) -> Option<Ended> {
        loop {
            match self.book.meanwhile(Some(requests), answers.next()).await {
                Waited::Done(Ok(Some(answer))) => {
                    if self.book.answered(answer) && !*was_heard {
                        *was_heard = true;
                        self.failed.clear();
                        self.failures = 0;
                        self.pauses = Box::new(self.rpc.backoff());
                    }
                }
                Waited::Done(Ok(None)) => {
                    let reason = "the server ended the stream of renewals".into();
                    return Some(Ended { error: Error::ConnectionLost { reason }, was_open: true });
                }
                Waited::Done(Err(error)) => return Some(Ended { error, was_open: true }),
                Waited::Hung => return Some(hung(answers.endpoint())),
                Waited::Idle => return None,
            }
        }
    }
}

fn hung(endpoint: &str) -> Ended {
    let reason = format!("{endpoint} does not answer renewals").into();
    Ended { error: Error::ConnectionLost { reason }, was_open: true }
}

fn blame(error: &Error, can_renew_token: bool) -> Blame {
    use EtcdError as E;
    match error.etcd() {
        _ if can_renew_token => Blame::Nobody,
        // Renewals are carried out one after the other: it is the first that was not answered.
        Some(E::PermissionDenied | E::LeaseNotFound) => Blame::First,
        Some(E::InvalidAuthToken | E::AuthOldRevision | E::UserEmpty | E::AuthFailed) => Blame::Client,
        _ if error.code() == Code::Unimplemented => Blame::Client,
        _ => Blame::Nobody,
    }
}
