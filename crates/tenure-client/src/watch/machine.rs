//! All watches of one gRPC stream, as a state machine.
//!
//! It knows nothing of time, tasks and connections. The hub tells it what happens (a user asks, drops, has read on; a stream
//! is opened, answers, breaks) and carries out what it wants: [`Machine::next_request`] is what to send, what users are told
//! goes to their queues, and [`Next`] is what to do after a stream is lost.
//!
//! A watch is created anew on every stream, from the first revision that its user was not told. Nothing else is needed to lose
//! and repeat nothing, as long as answers are never taken for those of another watch:
//!
//! * Answers count only while the stream that they came on is the current one.
//! * The client chooses ids, each once per stream: what comes late for a cancelled watch meets no other. A server that does not
//!   go by them (a proxy) gets one request at a time, whose answer can be of no other.
//! * A refusal names no id. AnswerOrder answer in the order of requests, so it is of the oldest.

use super::{
    CREATES_IN_FLIGHT_MAX,
    cursor::{Cursor, after},
    progress::{AnswerOrder, Progress},
    queue::Queue,
    reason::error_of,
};
use crate::{Code, Error, EtcdError, ResponseHeader, Result, types::header, watch::WatchResponse};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};
use tenure_api::etcdserverpb::{self as pb, watch_request::RequestUnion};
use tonic::Status;

/// The id of answers that are of no watch, or of all.
pub(super) const NO_WATCH: i64 = -1;

/// A watch of this client. Later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(u64);

/// What does not change while the machine runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// The client has a user and a password: a token that is refused can be replaced.
    pub can_renew_token: bool,
    /// The most that one revision may have, in bytes.
    pub revision_bytes_max: usize,
}

/// What to do after a stream was lost.
#[derive(Debug)]
pub(super) enum Next {
    /// Open another one after a pause.
    Pause,
    /// Get a new token instead of the one that this error refuses, then open another one.
    RenewToken(Error),
}

/// Where a watch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// To be asked for on this stream or the next one.
    Waiting,
    /// Asked for.
    Asked,
    /// The server has taken it under this id.
    Live(i64),
    /// Its user does not read: cancelled until there is room.
    Full,
    /// Its user waits until the server has cancelled it.
    Closing(i64),
}

struct Watch {
    create: pb::WatchCreateRequest,
    is_created_wanted: bool,
    is_confirmed: bool,
    is_progress_asked: bool,
    /// A token was renewed because this watch was refused.
    is_token_renewed: bool,
    /// The first stream that was tried from its beginning on behalf of this watch.
    since_attempt: u64,
    stage: Stage,
    cursor: Cursor,
    /// What tells whether an answer about progress is of a time after this watch was taken.
    progress: super::progress::Mark,
    queue: Arc<Queue>,
}

/// Who chooses ids on this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ids {
    /// Not known before the first answer.
    Unknown,
    Client,
    Server,
}

/// A request for a watch that is not answered.
struct Asked {
    id: i64,
    key: Key,
}

pub(super) struct Machine {
    settings: Settings,
    watches: HashMap<Key, Watch>,
    keys: u64,
    /// Counts streams that were tried.
    attempt: u64,
    is_open: bool,
    is_token_renewed: bool,
    // What follows is of the current stream.
    ids: Ids,
    last_id: i64,
    waiting: BTreeSet<Key>,
    asked: VecDeque<Asked>,
    live: HashMap<i64, Key>,
    to_cancel: VecDeque<i64>,
    progress: Progress,
}

/// For the inputs of users.
impl Machine {
    pub(super) fn new(settings: Settings) -> Self {
        Machine {
            settings,
            watches: HashMap::new(),
            keys: 0,
            attempt: 0,
            is_open: false,
            is_token_renewed: false,
            ids: Ids::Unknown,
            last_id: 0,
            waiting: BTreeSet::new(),
            asked: VecDeque::new(),
            live: HashMap::new(),
            to_cancel: VecDeque::new(),
            progress: Progress::default(),
        }
    }

    /// Somebody wants to watch.
    pub(super) fn watch(
        &mut self,
        create: pb::WatchCreateRequest,
        is_created_wanted: bool,
    ) -> (Key, Arc<Queue>) {
        self.keys += 1;
        let key = Key(self.keys);
        let queue = Arc::new(Queue::default());
        let watch = Watch {
            is_created_wanted,
            is_confirmed: false,
            is_progress_asked: false,
            is_token_renewed: false,
            since_attempt: self.attempt + 1,
            stage: Stage::Waiting,
            cursor: Cursor::starting_at(create.start_revision),
            progress: Default::default(),
            queue: queue.clone(),
            create,
        };
        self.watches.insert(key, watch);
        self.waiting.insert(key);
        (key, queue)
    }

    /// The user has gone.
    pub(super) fn dropped(&mut self, key: Key) {
        let Some(watch) = self.watches.remove(&key) else { return };
        self.waiting.remove(&key);
        match watch.stage {
            Stage::Live(id) => self.cancel(id),
            Stage::Closing(id) => drop(self.live.remove(&id)),
            Stage::Waiting | Stage::Asked | Stage::Full => {}
        }
    }

    /// The user wants no more, and waits for the end of the queue.
    pub(super) fn close(&mut self, key: Key) {
        let Some(watch) = self.watches.get_mut(&key) else { return };
        match watch.stage {
            Stage::Live(id) => {
                watch.stage = Stage::Closing(id);
                self.to_cancel.push_back(id);
            }
            Stage::Closing(_) => {}
            Stage::Waiting | Stage::Asked | Stage::Full => self.end(key, None),
        }
    }

    /// There is room in the queue again.
    pub(super) fn drained(&mut self, key: Key) {
        let Some(watch) = self.watches.get_mut(&key) else { return };
        if watch.stage == Stage::Full {
            watch.stage = Stage::Waiting;
            self.waiting.insert(key);
        }
    }

    /// The user wants to know how far the watch has come.
    pub(super) fn ask_progress(&mut self, key: Key) {
        if let Some(watch) = self.watches.get_mut(&key) {
            watch.is_progress_asked = true;
            self.progress.ask();
        }
    }

    /// How far all watches have come.
    pub(super) fn ask_progress_of_all(&mut self) {
        for watch in self.watches.values_mut() {
            watch.is_progress_asked = true;
            self.progress.ask();
        }
    }

    /// Ends all watches.
    pub(super) fn end_all(&mut self, error: &Error) {
        for key in self.watches.keys().copied().collect::<Vec<_>>() {
            self.end(key, Some(error.clone()));
        }
    }

    /// Nobody watches.
    pub(super) fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    fn end(&mut self, key: Key, error: Option<Error>) {
        if let Some(watch) = self.watches.get(&key) {
            watch.queue.end(error);
            self.dropped(key);
        }
    }

    fn cancel(&mut self, id: i64) {
        self.live.remove(&id);
        self.to_cancel.push_back(id);
    }
}

/// For the inputs of streams.
impl Machine {
    /// A stream is about to be opened. Returns its number.
    pub(super) fn opening(&mut self) -> u64 {
        self.attempt += 1;
        self.is_open = true;
        self.attempt
    }

    /// What to send next on this stream. It ends with the stream.
    pub(super) fn next_request(&mut self, attempt: u64) -> Option<pb::WatchRequest> {
        if !self.is_current(attempt) {
            return None;
        }
        let union = if let Some(watch_id) = self.to_cancel.pop_front() {
            RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id })
        } else if let Some(create) = self.next_create() {
            RequestUnion::CreateRequest(create)
        } else if self.waiting.is_empty() && self.progress.take_request() {
            RequestUnion::ProgressRequest(pb::WatchProgressRequest {})
        } else {
            return None;
        };
        Some(pb::WatchRequest { request_union: Some(union) })
    }

    /// Whether this is the stream in use.
    pub(super) fn is_current(&self, attempt: u64) -> bool {
        self.is_open && self.attempt == attempt
    }

    /// Whether there is something to send.
    pub(super) fn has_request(&self) -> bool {
        let has_create = self.may_create() && !self.waiting.is_empty();
        let has_question = self.waiting.is_empty() && self.progress.has_request();
        self.is_open && (!self.to_cancel.is_empty() || has_create || has_question)
    }

    fn may_create(&self) -> bool {
        self.asked.len() < if self.ids == Ids::Client { CREATES_IN_FLIGHT_MAX } else { 1 }
    }

    fn next_create(&mut self) -> Option<pb::WatchCreateRequest> {
        if !self.may_create() {
            return None;
        }
        let key = self.waiting.pop_first()?;
        let watch = self.watches.get_mut(&key)?;
        watch.stage = Stage::Asked;
        watch.progress = self.progress.mark();
        let mut create = watch.create.clone();
        create.start_revision = watch.cursor.start_revision();
        self.last_id += 1;
        create.watch_id = if self.ids == Ids::Server { 0 } else { self.last_id };
        self.asked.push_back(Asked { id: create.watch_id, key });
        Some(create)
    }

    /// The server said something on the current stream.
    ///
    /// # Errors
    /// The stream cannot be gone on with; [`Machine::lost`] is to be told why.
    pub(super) fn response(&mut self, response: pb::WatchResponse) -> Result<()> {
        if response.created {
            return self.answered(response);
        }
        if response.canceled {
            return match self.live.remove(&response.watch_id) {
                Some(key) => self.cancelled(key, &response),
                None => Ok(()),
            };
        }
        if response.watch_id == NO_WATCH && response.events.is_empty() {
            self.progress_of_all(header(response.header));
            return Ok(());
        }
        if let Some(key) = self.live.get(&response.watch_id).copied() {
            self.news(key, response);
        }
        Ok(())
    }

    /// The answer to a request for a watch.
    fn answered(&mut self, response: pb::WatchResponse) -> Result<()> {
        let id = response.watch_id;
        let by_id = self.asked.iter().position(|asked| asked.id == id && id != 0);
        let at = match (by_id, self.ids) {
            (Some(at), _) => at,
            (None, Ids::Client) if !response.canceled => {
                return Err(Error::Protocol("a watch was created that nobody asked for"));
            }
            (None, _) => 0,
        };
        let Some(Asked { key, .. }) = self.asked.remove(at) else { return Ok(()) };
        if response.canceled {
            return self.refused(key, &response);
        }
        if self.ids == Ids::Unknown {
            self.ids = if by_id.is_some() { Ids::Client } else { Ids::Server };
        }
        if self.live.contains_key(&id) {
            return Err(Error::Protocol("two watches were created with one id"));
        }
        let Some(watch) = self.watches.get_mut(&key) else {
            // Its user has gone meanwhile.
            self.to_cancel.push_back(id);
            return Ok(());
        };
        let header = header(response.header);
        self.live.insert(id, key);
        watch.stage = Stage::Live(id);
        watch.cursor.created_at(header.revision);
        watch.progress.created_at(header.revision);
        watch.is_token_renewed = false;
        self.is_token_renewed = false;
        if !watch.is_confirmed {
            watch.is_confirmed = true;
            if watch.is_created_wanted {
                let told = WatchResponse { header, events: Vec::new(), created: true };
                watch.queue.offer_progress(told, size_of::<WatchResponse>());
            }
            watch.queue.confirm();
        }
        Ok(())
    }

    /// The server does not take a watch, or ends it.
    fn refused(&mut self, key: Key, response: &pb::WatchResponse) -> Result<()> {
        let error = error_of(response);
        let Some(watch) = self.watches.get_mut(&key) else { return Ok(()) };
        // Before 3.5.6, and 3.4.22, etcd says "permission denied" of an old token too. These are the versions that name the
        // watch that they refuse.
        let may_be_token = is_token_refused(&error)
            || (error.is(EtcdError::PermissionDenied) && response.created && response.watch_id != NO_WATCH);
        if may_be_token && self.settings.can_renew_token && !watch.is_token_renewed {
            watch.is_token_renewed = true;
            self.is_token_renewed = false;
            return Err(Status::from(EtcdError::InvalidAuthToken).into());
        }
        self.end(key, Some(error));
        Ok(())
    }

    /// The server has cancelled a watch: it was asked to, or does so by itself.
    fn cancelled(&mut self, key: Key, response: &pb::WatchResponse) -> Result<()> {
        let Some(watch) = self.watches.get_mut(&key) else { return Ok(()) };
        match std::mem::replace(&mut watch.stage, Stage::Waiting) {
            Stage::Closing(_) => {
                self.end(key, None);
                Ok(())
            }
            _ => self.refused(key, response),
        }
    }

    fn news(&mut self, key: Key, response: pb::WatchResponse) {
        let Some(watch) = self.watches.get_mut(&key) else { return };
        if !matches!(watch.stage, Stage::Live(_)) {
            return;
        }
        if response.events.is_empty() && !response.fragment && !watch.cursor.is_in_series() {
            watch.tell_progress(header(response.header));
            return;
        }
        match watch.cursor.take(response, self.settings.revision_bytes_max) {
            Ok(None) => {}
            Ok(Some(told)) => {
                if watch.queue.offer(told.response, told.bytes) {
                    watch.cursor.advance(told.next);
                } else {
                    watch.cursor.interrupt();
                    if let Stage::Live(id) = std::mem::replace(&mut watch.stage, Stage::Full) {
                        self.cancel(id);
                    }
                }
            }
            Err(error) => self.end(key, Some(error)),
        }
    }

    /// The answer to a question about progress. It is of all watches that the server had when it looked.
    fn progress_of_all(&mut self, header: ResponseHeader) {
        let Some(answer) = self.progress.answered(header.revision) else { return };
        let mut is_somebody_left = false;
        for watch in self.watches.values_mut() {
            let is_meant = matches!(watch.stage, Stage::Live(_)) && !watch.cursor.is_in_series();
            if is_meant && answer.is_of(&watch.progress) {
                if answer.order == AnswerOrder::InOrder {
                    watch.told_up_to(header);
                } else if watch.is_progress_asked {
                    // How far the member was says nothing of this watch. How far the watch is, is known here.
                    let revision = watch.cursor.told();
                    watch.tell(ResponseHeader { revision, ..header });
                }
            }
            is_somebody_left |= watch.is_progress_asked;
        }
        if !is_somebody_left {
            self.progress.is_answered();
        }
    }

    /// The stream is over, or could not be opened.
    pub(super) fn lost(&mut self, error: &Error) -> Next {
        let was_asked: Vec<Key> = self.asked.iter().map(|asked| asked.key).collect();
        self.start_over();
        if is_token_refused(error) && self.settings.can_renew_token && !self.is_token_renewed {
            self.is_token_renewed = true;
            return Next::RenewToken(error.clone());
        }
        if is_final(error) {
            self.end_all(error);
            return Next::Pause;
        }
        let is_unreachable = matches!(error, Error::Unreachable { .. });
        let is_refusal = is_answer(error);
        for key in self.watches.keys().copied().collect::<Vec<_>>() {
            let Some(watch) = self.watches.get(&key) else { continue };
            let is_blamed = (is_unreachable && watch.since_attempt <= self.attempt)
                || (is_refusal && was_asked.contains(&key));
            if !watch.is_confirmed && is_blamed {
                self.end(key, Some(error.clone()));
            }
        }
        Next::Pause
    }

    /// The token that was refused could not be replaced. If that was no refusal, the next stream tries again.
    pub(super) fn token_not_renewed(&mut self, error: &Error) {
        self.lost(error);
        self.is_token_renewed = false;
        for watch in self.watches.values_mut() {
            watch.is_token_renewed = false;
        }
    }

    /// Nobody watched any more, so the stream was left. Who came since then is to be served by the next one.
    pub(super) fn left(&mut self) {
        self.start_over();
    }

    /// Forgets the stream. All watches are to be created on the next one, but those that nobody reads.
    fn start_over(&mut self) {
        self.is_open = false;
        self.ids = Ids::Unknown;
        self.last_id = 0;
        self.asked.clear();
        self.live.clear();
        self.to_cancel.clear();
        self.progress.start_over();
        let mut closed = Vec::new();
        for (key, watch) in &mut self.watches {
            watch.cursor.interrupt();
            match watch.stage {
                Stage::Waiting | Stage::Asked | Stage::Live(_) => {
                    watch.stage = Stage::Waiting;
                    self.waiting.insert(*key);
                }
                Stage::Full => {}
                Stage::Closing(_) => closed.push(*key),
            }
        }
        for key in closed {
            self.end(key, None);
        }
    }

    /// Whether somebody waits for an answer about progress.
    pub(super) fn is_progress_awaited(&self) -> bool {
        self.progress.is_awaited()
    }

    /// Asks about progress once more: servers do not answer as long as one of the watches of a stream lags behind.
    pub(super) fn repeat_progress(&mut self) {
        self.progress.repeat();
    }

    /// Whether it has to be found out what the server's answers about progress mean.
    pub(super) fn wants_answer_order(&self) -> bool {
        self.progress.wants_answer_order()
    }

    /// What the answers of this stream's server mean.
    pub(super) fn answers_come(&mut self, attempt: u64, order: AnswerOrder) {
        if self.is_current(attempt) {
            self.progress.answers_come(order);
        }
    }
}

impl Watch {
    /// The server says that everything up to its revision was sent.
    fn told_up_to(&mut self, header: ResponseHeader) {
        if self.is_progress_asked {
            self.tell_progress(header);
        } else {
            self.cursor.advance(after(header.revision));
        }
    }

    /// The same, and the user wants to know. Of a watch that starts in the future nothing is told before.
    fn tell_progress(&mut self, header: ResponseHeader) {
        if header.revision >= self.cursor.told() {
            self.cursor.advance(after(header.revision));
            self.tell(header);
        }
    }

    fn tell(&mut self, header: ResponseHeader) {
        self.is_progress_asked = false;
        let told = WatchResponse { header, events: Vec::new(), created: false };
        self.queue.offer_progress(told, size_of::<WatchResponse>());
    }
}

/// Whether a new token may help.
fn is_token_refused(error: &Error) -> bool {
    matches!(
        error.etcd(),
        Some(EtcdError::InvalidAuthToken | EtcdError::AuthOldRevision | EtcdError::UserEmpty)
    )
}

/// The server looked at the request and answered, and not that it is not available.
fn is_answer(error: &Error) -> bool {
    let is_status = matches!(error, Error::Etcd { .. } | Error::Rpc { .. });
    let is_available =
        !matches!(error.code(), Code::Unavailable | Code::Cancelled | Code::Internal | Code::Unknown);
    is_status && is_available && !error.is(EtcdError::NotSupportedForLearner)
}

/// Another stream would not help.
fn is_final(error: &Error) -> bool {
    let codes = [
        Code::InvalidArgument,
        Code::PermissionDenied,
        Code::Unauthenticated,
        Code::Unimplemented,
        Code::OutOfRange,
    ];
    matches!(error, Error::Closed) || (is_answer(error) && codes.contains(&error.code()))
}

#[cfg(test)]
mod tests;
