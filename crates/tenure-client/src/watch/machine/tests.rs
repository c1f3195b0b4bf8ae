//! One rule a test; the model has them all at once.

mod model;

use super::*;
use crate::watch::{MERGED_BYTES_MAX, QUEUED_BYTES_MAX, queue::Read};
use bytes::Bytes;
use futures::task::noop_waker_ref;
use std::task::{Context, Poll};
use tenure_api::mvccpb;

const SETTINGS: Settings = Settings { can_renew_token: true, revision_bytes_max: 64 << 20 };

/// A machine and the stream that it is on.
struct Test {
    machine: Machine,
    attempt: u64,
}

struct User {
    key: Key,
    queue: Arc<Queue>,
}

/// What to send, as far as tests look at it.
#[derive(Debug, PartialEq)]
enum Sent {
    Create { id: i64, from: i64 },
    Cancel(i64),
    Progress,
}

impl Test {
    /// On a stream that is being opened.
    fn new() -> Self {
        Self::with(SETTINGS)
    }

    fn with(settings: Settings) -> Self {
        let mut machine = Machine::new(settings);
        let attempt = machine.opening();
        Test { machine, attempt }
    }

    fn watch_from(&mut self, start_revision: i64) -> User {
        let create = pb::WatchCreateRequest { start_revision, ..Default::default() };
        let (key, queue) = self.machine.watch(create, false);
        User { key, queue }
    }

    /// A watch that the server has taken at revision 10.
    fn live(&mut self) -> (User, i64) {
        let user = self.watch_from(0);
        let [Sent::Create { id, .. }] = self.sent()[..] else { panic!("one request") };
        self.take(created(id, 10));
        (user, id)
    }

    fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            let has_request = self.machine.has_request();
            let Some(request) = self.machine.next_request(self.attempt) else {
                assert!(!has_request);
                return sent;
            };
            assert!(has_request);
            sent.push(match request.request_union.unwrap() {
                RequestUnion::CreateRequest(create) => {
                    Sent::Create { id: create.watch_id, from: create.start_revision }
                }
                RequestUnion::CancelRequest(cancel) => Sent::Cancel(cancel.watch_id),
                RequestUnion::ProgressRequest(_) => Sent::Progress,
            });
        }
    }

    fn take(&mut self, response: pb::WatchResponse) {
        self.machine.response(response).unwrap();
    }

    /// The stream breaks, and another one is opened.
    fn reopen(&mut self) {
        assert!(matches!(self.machine.lost(&broken()), Next::Pause));
        self.attempt = self.machine.opening();
    }
}

impl User {
    fn read(&self) -> Option<Read> {
        match self.queue.poll_next(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Ready(read) => Some(read),
            Poll::Pending => None,
        }
    }

    /// The revisions of all events that are there.
    fn revisions(&self) -> Vec<i64> {
        let mut revisions = Vec::new();
        while let Some(read) = self.read() {
            let events = read.response.unwrap().unwrap().events;
            revisions.extend(events.iter().map(|event| event.kv.mod_revision));
        }
        revisions
    }

    /// The revision of the progress that was told last.
    fn progress(&self) -> Option<i64> {
        let mut progress = None;
        while let Some(read) = self.read() {
            let response = read.response.unwrap().unwrap();
            assert!(response.is_progress_notify());
            progress = Some(response.header.revision);
        }
        progress
    }

    fn error(&self) -> Error {
        self.read().unwrap().response.unwrap().unwrap_err()
    }

    /// What `.await` comes back with.
    fn confirmed(&self) -> Option<Result<()>> {
        match self.queue.poll_confirmed(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }
}

fn broken() -> Error {
    Error::ConnectionLost { reason: "eof".into() }
}

fn answer(watch_id: i64, revision: i64) -> pb::WatchResponse {
    let header = pb::ResponseHeader { revision, ..Default::default() };
    pb::WatchResponse { watch_id, header: Some(header), ..Default::default() }
}

fn created(watch_id: i64, revision: i64) -> pb::WatchResponse {
    pb::WatchResponse { created: true, ..answer(watch_id, revision) }
}

fn refused(watch_id: i64, reason: &str) -> pb::WatchResponse {
    pb::WatchResponse { canceled: true, cancel_reason: reason.to_owned(), ..created(watch_id, 10) }
}

fn event(mod_revision: i64, value_bytes: usize) -> mvccpb::Event {
    static VALUE: [u8; 2 << 20] = [0; 2 << 20];
    let value = Bytes::from_static(&VALUE[..value_bytes]);
    let pair = mvccpb::KeyValue { key: "k".into(), value, mod_revision, ..Default::default() };
    mvccpb::Event { kv: Some(pair), ..Default::default() }
}

fn news(watch_id: i64, revisions: &[i64]) -> pb::WatchResponse {
    let events = revisions.iter().map(|revision| event(*revision, 0)).collect();
    pb::WatchResponse { events, ..answer(watch_id, *revisions.last().unwrap()) }
}

fn large_news(watch_id: i64, revisions: &[i64]) -> pb::WatchResponse {
    let events = revisions.iter().map(|revision| event(*revision, 2 << 20)).collect();
    pb::WatchResponse { events, ..answer(watch_id, *revisions.last().unwrap()) }
}

fn fragment(response: pb::WatchResponse) -> pb::WatchResponse {
    pb::WatchResponse { fragment: true, ..response }
}

// --- creation

#[test]
fn requests_are_sent_side_by_side_once_the_server_goes_by_their_ids() {
    let mut test = Test::new();
    let users: Vec<User> = (0..4).map(|start| test.watch_from(start * 100)).collect();
    assert_eq!(test.sent(), [Sent::Create { id: 1, from: 0 }]);
    test.take(created(1, 10));
    let rest = [(2, 100), (3, 200), (4, 300)].map(|(id, from)| Sent::Create { id, from });
    assert_eq!(test.sent(), rest);
    // The order of the answers does not matter.
    test.take(created(4, 10));
    test.take(news(4, &[400]));
    assert_eq!(users[3].revisions(), [400]);
    assert!(users[1].confirmed().is_none());
}

#[test]
fn a_server_that_chooses_ids_gets_one_request_at_a_time() {
    let mut test = Test::new();
    let users: Vec<User> = (0..3).map(|_| test.watch_from(0)).collect();
    assert_eq!(test.sent(), [Sent::Create { id: 1, from: 0 }]);
    for (id, user) in users.iter().enumerate() {
        let id = id as i64;
        test.take(created(id, 10));
        assert!(user.confirmed().unwrap().is_ok());
        let more = if id < 2 { vec![Sent::Create { id: 0, from: 0 }] } else { vec![] };
        assert_eq!(test.sent(), more);
    }
    test.take(news(1, &[11]));
    assert_eq!(users.iter().map(User::revisions).collect::<Vec<_>>(), [vec![], vec![11], vec![]]);
}

#[test]
fn that_it_was_created_is_told_once() {
    let mut test = Test::new();
    let (_, queue) = test.machine.watch(pb::WatchCreateRequest::default(), true);
    let user = User { key: Key(1), queue };
    test.sent();
    test.take(created(1, 10));
    let told = user.read().unwrap().response.unwrap().unwrap();
    assert!(told.created && !told.is_progress_notify() && told.header.revision == 10);
    test.reopen();
    test.sent();
    test.take(created(1, 20));
    assert!(user.read().is_none());
}

#[test]
fn many_requests_wait_for_answers() {
    let mut test = Test::new();
    let _users: Vec<User> = (0..CREATES_IN_FLIGHT_MAX + 10).map(|_| test.watch_from(0)).collect();
    test.sent();
    test.take(created(1, 10));
    assert_eq!(test.sent().len(), CREATES_IN_FLIGHT_MAX);
    test.take(created(2, 10));
    assert_eq!(test.sent().len(), 1);
}

// --- resumption

#[test]
fn a_watch_goes_on_after_what_it_was_told() {
    let mut test = Test::new();
    let (user, id) = test.live();
    test.reopen();
    assert_eq!(test.sent(), [Sent::Create { id: 1, from: 11 }]);
    test.take(created(1, 30));
    test.take(news(id, &[15, 15, 17]));
    test.reopen();
    assert_eq!(test.sent(), [Sent::Create { id: 1, from: 18 }]);
    assert_eq!(user.revisions(), [15, 15, 17]);
}

#[test]
fn a_watch_that_nobody_confirmed_still_starts_at_now() {
    let mut test = Test::new();
    let user = test.watch_from(0);
    test.sent();
    test.reopen();
    assert_eq!(test.sent(), [Sent::Create { id: 1, from: 0 }]);
    assert!(user.confirmed().is_none());
}

#[test]
fn a_watch_of_the_future_waits_for_it() {
    let mut test = Test::new();
    let user = test.watch_from(100);
    test.sent();
    test.take(created(1, 10));
    // Some servers tell events, and progress, from before.
    test.take(news(1, &[11]));
    test.take(answer(1, 12));
    test.reopen();
    assert_eq!(test.sent(), [Sent::Create { id: 1, from: 100 }]);
    assert!(user.read().is_none());
}

#[test]
fn what_was_told_is_not_repeated_and_nothing_goes_back() {
    let mut test = Test::new();
    let (user, id) = test.live();
    test.take(news(id, &[11, 12]));
    test.take(news(id, &[12, 11, 13, 12, 14]));
    test.take(news(id, &[9]));
    assert_eq!(user.revisions(), [11, 12, 13, 14]);
}

#[test]
fn an_old_stream_sends_nothing_more() {
    let mut test = Test::new();
    let _user = test.watch_from(0);
    let old = test.attempt;
    test.reopen();
    assert!(test.machine.next_request(old).is_none());
    assert!(!test.machine.is_current(old) && test.machine.is_current(test.attempt));
}

#[test]
fn who_comes_while_a_stream_is_left_is_asked_for_on_the_next() {
    let mut test = Test::new();
    let (user, _) = test.live();
    test.machine.dropped(user.key);
    assert!(test.machine.is_empty());
    let _next = test.watch_from(0);
    test.sent();
    test.machine.left();
    assert!(!test.machine.is_current(test.attempt));
    test.attempt = test.machine.opening();
    assert_eq!(test.sent(), [Sent::Create { id: 1, from: 0 }]);
}

// --- the end

#[test]
fn who_goes_is_cancelled_on_the_server() {
    let mut test = Test::new();
    let (user, id) = test.live();
    test.machine.dropped(user.key);
    assert!(test.machine.is_empty());
    assert_eq!(test.sent(), [Sent::Cancel(id)]);
    // What comes late meets nobody.
    test.take(news(id, &[11]));
    test.take(pb::WatchResponse { canceled: true, ..answer(id, 11) });
    let next = test.watch_from(0);
    assert_eq!(test.sent(), [Sent::Create { id: id + 1, from: 0 }]);
    test.take(created(id + 1, 12));
    test.take(news(id, &[13]));
    assert!(next.read().is_none());
}

#[test]
fn who_goes_before_the_answer_is_cancelled_after_it() {
    let mut test = Test::new();
    let user = test.watch_from(0);
    test.sent();
    test.machine.dropped(user.key);
    assert_eq!(test.sent(), []);
    test.take(created(1, 10));
    assert_eq!(test.sent(), [Sent::Cancel(1)]);
    let user = test.watch_from(0);
    test.machine.dropped(user.key);
    assert_eq!(test.sent(), []);
}

#[test]
fn who_closes_waits_until_the_server_has_cancelled() {
    let mut test = Test::new();
    let (user, id) = test.live();
    test.machine.close(user.key);
    assert_eq!(test.sent(), [Sent::Cancel(id)]);
    test.take(news(id, &[11]));
    assert!(user.read().is_none());
    test.take(pb::WatchResponse { canceled: true, ..answer(id, 11) });
    assert!(user.read().unwrap().response.is_none());
    let (user, _) = test.live();
    test.machine.close(user.key);
    test.machine.lost(&broken());
    assert!(user.read().unwrap().response.is_none());
    assert!(test.machine.is_empty());
}

#[test]
fn compaction_ends_a_watch_with_the_revision_to_go_on_from() {
    let mut test = Test::new();
    let (user, id) = test.live();
    test.take(news(id, &[11]));
    test.take(pb::WatchResponse { canceled: true, compact_revision: 50, ..answer(id, 0) });
    assert_eq!(user.read().unwrap().response.unwrap().unwrap().events.len(), 1);
    assert!(matches!(user.error(), Error::Compacted { compact_revision: 50 }));
    assert!(user.read().unwrap().response.is_none());
    assert!(test.machine.is_empty());
    assert_eq!(test.sent(), [], "the server knows");
}

#[test]
fn a_refusal_is_of_the_oldest_request() {
    let mut test = Test::new();
    let (_live, _) = test.live();
    let first = test.watch_from(0);
    let second = test.watch_from(0);
    test.sent();
    test.take(refused(NO_WATCH, "mvcc: watcher range is empty"));
    let error = first.confirmed().unwrap().unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    test.take(created(3, 10));
    assert!(second.confirmed().unwrap().is_ok());
}

#[test]
fn a_watch_that_the_server_ends_without_a_reason_ends() {
    let mut test = Test::new();
    let (user, id) = test.live();
    test.take(pb::WatchResponse { canceled: true, ..answer(id, 11) });
    assert!(user.error().is(EtcdError::WatchCanceled));
}

#[test]
fn closing_ends_all() {
    let mut test = Test::new();
    let (live, _) = test.live();
    let waiting = test.watch_from(0);
    test.machine.end_all(&Error::Closed);
    assert!(matches!(live.error(), Error::Closed));
    assert!(matches!(waiting.confirmed().unwrap(), Err(Error::Closed)));
    assert!(test.machine.is_empty());
}

// --- tokens and refusals of streams

const TOKEN_REASON: &str = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
const PERMISSION_REASON: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

/// The watch is refused; the stream is to be opened with a new token.
fn refuse_token(test: &mut Test, response: pb::WatchResponse) {
    let error = test.machine.response(response).unwrap_err();
    assert!(
        matches!(test.machine.lost(&error), Next::RenewToken(error) if error.is(EtcdError::InvalidAuthToken))
    );
    test.attempt = test.machine.opening();
}

#[test]
fn an_old_token_is_renewed_and_the_watch_goes_on() {
    let mut test = Test::new();
    let (user, _) = test.live();
    for _ in 0..3 {
        test.reopen();
        test.sent();
        refuse_token(&mut test, refused(NO_WATCH, TOKEN_REASON));
        assert_eq!(test.sent(), [Sent::Create { id: 1, from: 11 }]);
        test.take(created(1, 30));
    }
    test.take(news(1, &[31]));
    assert_eq!(user.revisions(), [31]);
}

#[test]
fn a_token_that_cannot_be_renewed_now_is_renewed_later() {
    let mut test = Test::new();
    let (user, _) = test.live();
    for _ in 0..3 {
        test.reopen();
        test.sent();
        let error = test.machine.response(refused(NO_WATCH, TOKEN_REASON)).unwrap_err();
        assert!(matches!(test.machine.lost(&error), Next::RenewToken(_)));
        test.machine.token_not_renewed(&broken());
        test.attempt = test.machine.opening();
        test.sent();
        refuse_token(&mut test, refused(NO_WATCH, TOKEN_REASON));
        test.sent();
        test.take(created(1, 30));
    }
    let error = Status::from(EtcdError::InvalidAuthToken).into();
    assert!(matches!(test.machine.lost(&error), Next::RenewToken(_)));
    test.machine.token_not_renewed(&Status::from(EtcdError::AuthFailed).into());
    assert!(user.error().is(EtcdError::AuthFailed));
}

#[test]
fn a_new_token_that_is_refused_as_well_is_a_refusal() {
    let mut test = Test::new();
    let user = test.watch_from(0);
    test.sent();
    refuse_token(&mut test, refused(NO_WATCH, TOKEN_REASON));
    test.sent();
    test.take(refused(NO_WATCH, TOKEN_REASON));
    assert!(user.confirmed().unwrap().unwrap_err().is(EtcdError::InvalidAuthToken));
}

#[test]
fn who_has_no_password_is_told_at_once() {
    let mut test = Test::with(Settings { can_renew_token: false, ..SETTINGS });
    let user = test.watch_from(0);
    test.sent();
    test.take(refused(NO_WATCH, TOKEN_REASON));
    assert!(user.confirmed().unwrap().unwrap_err().is(EtcdError::InvalidAuthToken));
}

#[test]
fn permission_denied_may_mean_the_token_on_servers_that_name_the_watch() {
    let mut test = Test::new();
    let user = test.watch_from(0);
    test.sent();
    test.take(refused(NO_WATCH, PERMISSION_REASON));
    assert!(user.confirmed().unwrap().unwrap_err().is(EtcdError::PermissionDenied));
    let user = test.watch_from(0);
    test.sent();
    refuse_token(&mut test, refused(2, PERMISSION_REASON));
    test.sent();
    test.take(refused(1, PERMISSION_REASON));
    assert!(user.confirmed().unwrap().unwrap_err().is(EtcdError::PermissionDenied));
}

#[test]
fn a_stream_that_is_refused_a_token_gets_one_new_one() {
    let mut test = Test::new();
    let user = test.watch_from(0);
    let error = Error::from(Status::from(EtcdError::InvalidAuthToken));
    assert!(matches!(test.machine.lost(&error), Next::RenewToken(_)));
    test.machine.opening();
    assert!(matches!(test.machine.lost(&error), Next::Pause));
    assert!(user.confirmed().unwrap().unwrap_err().is(EtcdError::InvalidAuthToken));
}

#[test]
fn who_waited_as_long_as_an_attempt_is_told_that_nobody_answers() {
    let unreachable = Error::Unreachable { waited: std::time::Duration::ZERO, reason: String::new() };
    let mut test = Test::new();
    let (live, _) = test.live();
    test.machine.lost(&broken());
    let early = test.watch_from(0);
    test.attempt = test.machine.opening();
    let late = test.watch_from(0);
    test.machine.lost(&unreachable);
    assert!(matches!(early.confirmed().unwrap(), Err(Error::Unreachable { .. })));
    assert!(late.confirmed().is_none());
    test.attempt = test.machine.opening();
    test.machine.lost(&unreachable);
    assert!(matches!(late.confirmed().unwrap(), Err(Error::Unreachable { .. })));
    assert!(live.read().is_none(), "a watch that was confirmed waits as long as it takes");
}

#[test]
fn what_is_not_available_comes_back() {
    let mut test = Test::new();
    let (user, _) = test.live();
    let new = test.watch_from(0);
    test.sent();
    for error in [EtcdError::NoLeader, EtcdError::Stopped, EtcdError::NotSupportedForLearner] {
        assert!(matches!(test.machine.lost(&Status::from(error).into()), Next::Pause));
        test.machine.opening();
    }
    assert!(user.read().is_none() && new.confirmed().is_none());
}

#[test]
fn a_request_that_breaks_streams_is_told_so_and_not_repeated() {
    let mut test = Test::new();
    let (live, _) = test.live();
    let poison = test.watch_from(0);
    test.sent();
    let other = test.watch_from(0);
    test.machine.lost(&Status::resource_exhausted("too large").into());
    assert_eq!(poison.confirmed().unwrap().unwrap_err().code(), Code::ResourceExhausted);
    assert!(live.read().is_none() && other.confirmed().is_none());
}

#[test]
fn a_stream_that_is_refused_for_good_ends_all() {
    for error in [Status::unimplemented("no such service").into(), Error::Closed] {
        let mut test = Test::new();
        let (user, _) = test.live();
        test.machine.lost(&error);
        assert_eq!(user.error().code(), error.code());
        assert!(test.machine.is_empty());
    }
}

// --- fragments

#[test]
fn fragments_are_told_together() {
    let mut test = Test::new();
    let (user, id) = test.live();
    test.take(fragment(news(id, &[11, 12])));
    test.take(fragment(news(id, &[12, 12])));
    assert!(user.read().is_none());
    test.take(news(id, &[12, 13]));
    let told = user.read().unwrap().response.unwrap().unwrap();
    assert_eq!(
        told.events.iter().map(|event| event.kv.mod_revision).collect::<Vec<_>>(),
        [11, 12, 12, 12, 12, 13]
    );
}

#[test]
fn fragments_without_their_rest_are_forgotten() {
    let mut test = Test::new();
    let (user, id) = test.live();
    test.take(fragment(news(id, &[11, 12])));
    test.reopen();
    assert_eq!(test.sent(), [Sent::Create { id: 1, from: 11 }]);
    test.take(created(1, 20));
    test.take(news(1, &[11, 12, 12]));
    assert_eq!(user.revisions(), [11, 12, 12]);
}

#[test]
fn of_a_long_series_whole_revisions_are_told_early() {
    let mut test = Test::new();
    let (user, id) = test.live();
    let event_bytes = 2 << 20;
    let fit = MERGED_BYTES_MAX / event_bytes;
    for revision in 0..fit as i64 {
        test.take(fragment(large_news(id, &[11 + revision / 4])));
    }
    let told = user.revisions();
    assert_eq!(told, [11, 11, 11, 11], "the second revision may go on");
    test.take(large_news(id, &[12]));
    assert_eq!(user.revisions(), [12; 5]);
    test.reopen();
    assert_eq!(test.sent(), [Sent::Create { id: 1, from: 13 }]);
}

#[test]
fn one_revision_is_never_split_and_has_a_limit() {
    let mut test = Test::with(Settings { revision_bytes_max: 30 << 20, ..SETTINGS });
    let (user, id) = test.live();
    for _ in 0..14 {
        test.take(fragment(large_news(id, &[11])));
    }
    assert!(user.read().is_none());
    test.take(fragment(large_news(id, &[11])));
    assert_eq!(user.error().code(), Code::ResourceExhausted);
    assert_eq!(test.sent(), [Sent::Cancel(id)]);
}

// --- slow users

#[test]
fn who_does_not_read_is_cancelled_and_resumed_when_there_is_room() {
    let mut test = Test::new();
    let (slow, id) = test.live();
    let (quick, other) = test.live();
    let fit = QUEUED_BYTES_MAX / (2 << 20);
    for revision in 0..20 {
        test.take(large_news(id, &[11 + revision]));
        test.take(news(other, &[11 + revision]));
    }
    assert_eq!(test.sent(), [Sent::Cancel(id)]);
    assert_eq!(quick.revisions().len(), 20, "others are not held up");
    let mut told = 0;
    let is_drained = (0..fit).any(|_| {
        told += 1;
        slow.read().is_some_and(|read| read.is_drained)
    });
    assert!(is_drained);
    test.machine.drained(slow.key);
    assert_eq!(test.sent(), [Sent::Create { id: 3, from: 11 + fit as i64 - 1 }]);
    test.take(created(3, 40));
    told += slow.revisions().len() as i64;
    test.take(news(3, &[10 + told + 1]));
    assert_eq!(slow.revisions(), [10 + told + 1]);
}

#[test]
fn who_does_not_read_is_not_resumed_by_a_new_stream() {
    let mut test = Test::new();
    let (slow, id) = test.live();
    for revision in 0..20 {
        test.take(large_news(id, &[11 + revision]));
    }
    test.reopen();
    assert_eq!(test.sent(), []);
    while slow.read().is_some_and(|read| !read.is_drained) {}
    test.machine.drained(slow.key);
    assert_eq!(test.sent().len(), 1);
    test.machine.drained(slow.key);
    assert_eq!(test.sent().len(), 0, "once");
}

// --- progress

impl Test {
    fn ask(&mut self, user: &User, order: AnswerOrder) {
        self.machine.ask_progress(user.key);
        if self.machine.wants_answer_order() {
            assert_eq!(self.sent(), [], "not before it is known what the answer means");
            self.machine.answers_come(self.attempt, order);
        }
        assert_eq!(self.sent(), [Sent::Progress]);
    }
}

#[test]
fn progress_of_a_watch_moves_it() {
    let mut test = Test::new();
    let (user, id) = test.live();
    test.take(answer(id, 20));
    assert_eq!(user.progress(), Some(20));
    test.take(answer(id, 19));
    assert_eq!(user.progress(), None, "never back");
    test.reopen();
    assert_eq!(test.sent(), [Sent::Create { id: 1, from: 21 }]);
}

#[test]
fn progress_of_all_moves_all_and_is_told_to_who_asked() {
    let mut test = Test::new();
    let (asking, _) = test.live();
    let (other, _) = test.live();
    test.ask(&asking, AnswerOrder::InOrder);
    test.take(answer(NO_WATCH, 20));
    assert_eq!((asking.progress(), other.progress()), (Some(20), None));
    assert!(!test.machine.is_progress_awaited());
    test.take(answer(NO_WATCH, 30));
    test.reopen();
    assert_eq!(test.sent()[0], Sent::Create { id: 1, from: 21 }, "30 is an answer to nothing");
    test.take(created(1, 40));
    assert_eq!(test.sent(), [Sent::Create { id: 2, from: 21 }]);
}

#[test]
fn progress_asked_of_all_is_told_to_all() {
    let mut test = Test::new();
    let (first, _) = test.live();
    let (second, _) = test.live();
    test.machine.ask_progress_of_all();
    test.machine.answers_come(test.attempt, AnswerOrder::InOrder);
    assert_eq!(test.sent(), [Sent::Progress]);
    test.take(answer(NO_WATCH, 20));
    assert_eq!((first.progress(), second.progress()), (Some(20), Some(20)));
}

#[test]
fn progress_from_before_a_watch_says_nothing_of_it() {
    let mut test = Test::new();
    let (asking, _) = test.live();
    test.ask(&asking, AnswerOrder::InOrder);
    let past = test.watch_from(5);
    assert_eq!(test.sent(), [Sent::Create { id: 2, from: 5 }]);
    test.take(created(2, 10));
    // The server answered the question, then created the watch, which still lacks revisions 5 to 10.
    test.take(answer(NO_WATCH, 10));
    test.take(news(2, &[6, 7]));
    assert_eq!(past.revisions(), [6, 7]);
    // Another question is of a time after it.
    test.ask(&past, AnswerOrder::InOrder);
    test.take(answer(NO_WATCH, 10));
    assert_eq!(past.progress(), Some(10));
}

#[test]
fn progress_of_a_later_revision_is_of_a_later_time() {
    let mut test = Test::new();
    let (asking, _) = test.live();
    test.ask(&asking, AnswerOrder::InOrder);
    let past = test.watch_from(5);
    test.sent();
    test.take(created(2, 10));
    // The first question was not answered.
    test.machine.ask_progress(past.key);
    assert_eq!(test.sent(), [Sent::Progress]);
    test.take(answer(NO_WATCH, 11));
    assert_eq!(past.progress(), Some(11));
}

#[test]
fn answers_out_of_order_move_nothing() {
    let mut test = Test::new();
    let (asking, id) = test.live();
    test.ask(&asking, AnswerOrder::OutOfOrder);
    test.take(answer(NO_WATCH, 20));
    assert_eq!(asking.progress(), Some(10), "what is known to be told");
    test.take(news(id, &[15, 20]));
    assert_eq!(asking.revisions(), [15, 20]);
    // It may be overtaken as well.
    for revision in [30, 12] {
        test.ask(&asking, AnswerOrder::OutOfOrder);
        test.take(answer(NO_WATCH, revision));
        assert_eq!(asking.progress(), Some(20));
    }
}

#[test]
fn progress_says_nothing_of_watches_that_are_not_on_the_stream() {
    let mut test = Test::new();
    let (slow, id) = test.live();
    let (asking, _) = test.live();
    for revision in 0..20 {
        test.take(large_news(id, &[11 + revision]));
    }
    assert_eq!(test.sent(), [Sent::Cancel(id)]);
    test.ask(&asking, AnswerOrder::InOrder);
    test.take(answer(NO_WATCH, 100));
    let read = slow.revisions().len() as i64;
    test.machine.drained(slow.key);
    assert_eq!(test.sent(), [Sent::Create { id: 3, from: 11 + read }]);
}

#[test]
fn a_question_without_an_answer_is_asked_again() {
    let mut test = Test::new();
    let (user, _) = test.live();
    test.ask(&user, AnswerOrder::InOrder);
    assert_eq!(test.sent(), []);
    test.machine.repeat_progress();
    assert_eq!(test.sent(), [Sent::Progress]);
    test.reopen();
    assert!(test.machine.is_progress_awaited() && test.machine.wants_answer_order());
    assert_eq!(test.sent(), [Sent::Create { id: 1, from: 11 }]);
    test.take(created(1, 20));
    test.machine.answers_come(test.attempt - 1, AnswerOrder::InOrder);
    assert_eq!(test.sent(), [], "that was another server");
    test.machine.answers_come(test.attempt, AnswerOrder::InOrder);
    assert_eq!(test.sent(), [Sent::Progress]);
    test.take(answer(NO_WATCH, 25));
    assert_eq!(user.progress(), Some(25));
    test.machine.repeat_progress();
    assert_eq!(test.sent(), []);
}

// --- nonsense

#[test]
fn nonsense_is_no_reason_to_panic() {
    let odd = [i64::MIN, -2, -1, 0, 1, 2, 3, i64::MAX];
    for id in odd {
        for revision in odd {
            for kind in 0..7 {
                let mut test = Test::new();
                let (user, _) = test.live();
                let _waiting = test.watch_from(0);
                let response = match kind {
                    0 => created(id, revision),
                    1 => refused(id, "?"),
                    2 => pb::WatchResponse { canceled: true, compact_revision: revision, ..answer(id, 0) },
                    3 => answer(id, revision),
                    4 => news(id, &[revision, 12, revision]),
                    5 => fragment(news(id, &[revision])),
                    _ => pb::WatchResponse { events: vec![mvccpb::Event::default()], ..answer(id, revision) },
                };
                for _ in 0..3 {
                    if let Err(error) = test.machine.response(response.clone()) {
                        test.machine.lost(&error);
                        test.attempt = test.machine.opening();
                    }
                    test.sent();
                }
                while user.read().is_some_and(|read| read.response.is_some()) {}
            }
        }
    }
}

#[test]
fn events_that_make_no_sense_end_the_watch() {
    for broken in [mvccpb::Event::default(), mvccpb::Event { r#type: 7, ..event(11, 0) }] {
        let mut test = Test::new();
        let (user, id) = test.live();
        test.take(pb::WatchResponse { events: vec![broken], ..answer(id, 11) });
        assert!(matches!(user.error(), Error::Protocol(_)));
    }
}

#[test]
fn answers_that_fit_no_request_break_the_stream() {
    let mut test = Test::new();
    let (_user, id) = test.live();
    let _waiting = test.watch_from(0);
    test.sent();
    assert!(test.machine.response(created(99, 10)).is_err());
    test.reopen();
    test.sent();
    test.take(created(1, 10));
    test.sent();
    assert!(test.machine.response(created(id, 10)).is_err());
}
