//! The task that connects a [`Machine`] to servers.

use super::{
    machine::{Key, Machine, Next, Settings},
    progress::AnswerOrder,
    queue::Queue,
};
use crate::{
    Code, Endpoint, Error, Result,
    rpc::{Answers, CallOptions, Rpc, method},
};
use futures::{Stream, task::AtomicWaker};
use parking_lot::Mutex;
use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tenure_api::etcdserverpb as pb;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

/// A stream that lived as long as this was a good one: after it the pauses start with the shortest.
const GOOD_STREAM_MIN: Duration = Duration::from_secs(2);

/// The pause before a question about progress is repeated doubles from the first to the second.
const PROGRESS_PAUSE_MIN: Duration = Duration::from_millis(100);
const PROGRESS_PAUSE_MAX: Duration = Duration::from_secs(5);

/// All watches of a client: those that need a leader on one stream, the others on another.
pub(crate) struct Watches {
    rpc: Arc<Rpc>,
    hubs: [Arc<Hub>; 2],
}

impl Watches {
    pub(crate) fn new(rpc: Arc<Rpc>) -> Self {
        let settings =
            Settings { can_renew_token: rpc.can_renew_token(), revision_bytes_max: rpc.response_bytes_max() };
        let hub = |requires_leader| Arc::new(Hub::new(settings, CallOptions { requires_leader }));
        Watches { hubs: [hub(false), hub(true)], rpc }
    }

    /// Starts a watch. It must be awaited ([`Handle::confirmed`]) in a runtime, where its stream runs from then on.
    pub(super) fn watch(
        &self,
        create: pb::WatchCreateRequest,
        is_created_wanted: bool,
        requires_leader: bool,
    ) -> Result<Handle> {
        self.rpc.check_size(&create)?;
        let hub = &self.hubs[usize::from(requires_leader)];
        let mut state = hub.state.lock();
        let (key, queue) = state.machine.watch(create, is_created_wanted);
        if !std::mem::replace(&mut state.is_running, true) {
            tokio::spawn(run(hub.clone(), self.rpc.clone()));
        }
        drop(state);
        hub.wake();
        Ok(Handle { hub: hub.clone(), key, queue })
    }

    pub(super) fn request_progress(&self) {
        for hub in &self.hubs {
            hub.tell(Machine::ask_progress_of_all);
        }
    }

    /// Ends all watches.
    pub(super) fn close(&self) {
        for hub in &self.hubs {
            hub.tell(|machine| machine.end_all(&Error::Closed));
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.close();
    }
}

/// A watch, as its user holds it. Dropping it cancels the watch.
pub(super) struct Handle {
    hub: Arc<Hub>,
    key: Key,
    queue: Arc<Queue>,
}

impl Handle {
    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(super) fn drained(&self) {
        self.hub.tell(|machine| machine.drained(self.key));
    }

    pub(super) fn close(&self) {
        self.hub.tell(|machine| machine.close(self.key));
    }

    pub(super) fn ask_progress(&self) {
        self.hub.tell(|machine| machine.ask_progress(self.key));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.hub.tell(|machine| machine.dropped(self.key));
    }
}

/// A machine that users and a task share.
struct Hub {
    state: Mutex<State>,
    options: CallOptions,
    /// Who sends requests.
    sender: AtomicWaker,
    /// The task is to look what has changed.
    changed: Notify,
}

struct State {
    machine: Machine,
    /// There is a task. It ends when it finds the machine empty.
    is_running: bool,
}

impl Hub {
    fn new(settings: Settings, options: CallOptions) -> Self {
        let state = State { machine: Machine::new(settings), is_running: false };
        Hub { state: Mutex::new(state), options, sender: AtomicWaker::new(), changed: Notify::new() }
    }

    fn tell<T>(&self, input: impl FnOnce(&mut Machine) -> T) -> T {
        let output = input(&mut self.state.lock().machine);
        self.wake();
        output
    }

    fn wake(&self) {
        self.sender.wake();
        self.changed.notify_one();
    }

    /// The number of the next stream; nothing if nobody watches, and the task is to end.
    fn opening(&self) -> Option<u64> {
        let mut state = self.state.lock();
        state.is_running = !state.machine.is_empty();
        state.is_running.then(|| state.machine.opening())
    }

    /// Ends once nobody watches.
    async fn deserted(&self) {
        while !self.state.lock().machine.is_empty() {
            self.changed.notified().await;
        }
    }
}

/// Serves the watches of a hub until there is none.
async fn run(hub: Arc<Hub>, rpc: Arc<Rpc>) {
    let mut pauses = rpc.backoff();
    while let Some(attempt) = hub.opening() {
        let started = Instant::now();
        let served = tokio::select! {
            served = serve(&hub, &rpc, attempt) => served,
            // Streams outlive their connection's place in the pool.
            () = rpc.pool().closed() => Err(Error::Closed),
        };
        let Err(mut error) = served else {
            hub.tell(Machine::left);
            continue;
        };
        tracing::debug!(%error, "the watch stream is lost");
        if started.elapsed() >= GOOD_STREAM_MIN {
            pauses = rpc.backoff();
        }
        if let Next::RenewToken(refused) = hub.tell(|machine| machine.lost(&error)) {
            match rpc.renew_after(&refused).await {
                Ok(_) => continue,
                Err(failed) => error = failed,
            }
            hub.tell(|machine| machine.token_not_renewed(&error));
        }
        sleep(pauses.next().unwrap_or(GOOD_STREAM_MIN)).await;
    }
}

/// Opens a stream and reads it. Ends without an error when nobody watches any more.
async fn serve(hub: &Arc<Hub>, rpc: &Arc<Rpc>, attempt: u64) -> Result<()> {
    let requests = Requests { hub: hub.clone(), attempt };
    let answers = tokio::select! {
        opened = rpc.bidi_stream(&method::WATCH, requests, hub.options) => opened?,
        () = hub.deserted() => return Ok(()),
    };
    read(hub, rpc, attempt, answers).await
}

async fn read(
    hub: &Arc<Hub>,
    rpc: &Arc<Rpc>,
    attempt: u64,
    mut answers: Answers<pb::WatchResponse>,
) -> Result<()> {
    let mut finding_out: Option<AbortOnDropHandle<()>> = None;
    let mut progress_pause = PROGRESS_PAUSE_MIN;
    let mut progress_repeat = pin!(sleep(progress_pause));
    loop {
        let (is_progress_awaited, wants_answer_order, is_empty) = {
            let machine = &hub.state.lock().machine;
            (machine.is_progress_awaited(), machine.wants_answer_order(), machine.is_empty())
        };
        if is_empty {
            return Ok(());
        }
        if !is_progress_awaited {
            progress_pause = PROGRESS_PAUSE_MIN;
            progress_repeat.as_mut().reset(Instant::now() + progress_pause);
        }
        if wants_answer_order && finding_out.is_none() {
            let task =
                find_out_answer_order(hub.clone(), rpc.clone(), attempt, answers.endpoint().to_owned());
            finding_out = Some(AbortOnDropHandle::new(tokio::spawn(task)));
        }
        tokio::select! {
            answer = answers.next() => {
                let response = answer?.ok_or_else(|| Error::ConnectionLost { reason: "the server ended the stream".into() })?;
                let mut state = hub.state.lock();
                state.machine.response(response)?;
                if state.machine.has_request() {
                    drop(state);
                    hub.sender.wake();
                }
            }
            () = hub.changed.notified() => {}
            () = &mut progress_repeat, if is_progress_awaited => {
                hub.tell(Machine::repeat_progress);
                progress_pause = (progress_pause * 2).min(PROGRESS_PAUSE_MAX);
                progress_repeat.as_mut().reset(Instant::now() + progress_pause);
            }
        }
    }
}

/// Asks the server at the other end of a stream for its version, which says what its answers about progress mean.
async fn find_out_answer_order(hub: Arc<Hub>, rpc: Arc<Rpc>, attempt: u64, endpoint: String) {
    let version = async || -> Result<String> {
        let endpoint: Endpoint = endpoint.parse()?;
        let status: pb::StatusResponse =
            rpc.unary_to(&endpoint, &method::STATUS, &pb::StatusRequest::default()).await?;
        Ok(status.version)
    };
    let mut pauses = rpc.backoff();
    let order = loop {
        match version().await {
            Ok(version) => break AnswerOrder::of_version(&version),
            Err(error) if error.code() == Code::Unavailable => {
                sleep(pauses.next().unwrap_or(PROGRESS_PAUSE_MAX)).await;
            }
            // Who does not say is not trusted.
            Err(error) => {
                tracing::debug!(%error, endpoint, "the server's version is not known");
                break AnswerOrder::OutOfOrder;
            }
        }
    };
    hub.tell(|machine| machine.answers_come(attempt, order));
}

/// What is sent on one stream. Ends when the stream is not in use any more.
struct Requests {
    hub: Arc<Hub>,
    attempt: u64,
}

impl Stream for Requests {
    type Item = pb::WatchRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<pb::WatchRequest>> {
        let mut state = self.hub.state.lock();
        match state.machine.next_request(self.attempt) {
            Some(request) => Poll::Ready(Some(request)),
            None if state.machine.is_current(self.attempt) => {
                // Whoever changes something takes the lock before, and wakes after.
                self.hub.sender.register(cx.waker());
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }
}
