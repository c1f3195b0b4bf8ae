//! Clients that keep to one member each, whatever becomes of it, and write down every answer of one stream of watches after the other.

use super::client::{Client, open_ended};
use super::load::range_of;
use super::session;
use super::watches::{change_of, progress};
use prost::Message;
use rand::RngExt;
use std::collections::BTreeMap;
use std::time::Duration;
use tenure_api::etcdserverpb as pb;
use tenure_api::mvccpb;
use tenure_check::{Event, Kind, Stream, Tidings, Told, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::{Response, Status, Streaming};

/// How often members tell progresses to who wants them.
pub(super) const NOTIFY_FLAG: &str = "--watch-progress-notify-interval=100ms";
/// How long a stream goes on.
const LIFE_MILLIS: std::ops::Range<u64> = 500..8_000;
/// The pause between two requests on a stream: short at first, since a member that has just begun to take streams may be catching up.
const PAUSE_MILLIS: std::ops::Range<u64> = 2..100;
const EARLY_PAUSE_MILLIS: std::ops::Range<u64> = 1..8;
const EARLY: Duration = Duration::from_secs(1);
/// The pause before a member is asked again that takes no streams.
const AGAIN: Duration = Duration::from_millis(30);
/// How far before or behind the newest revision a watcher starts, and how far one starts that may want what is compacted.
const NEAR: i64 = 100;
const FAR: i64 = 4_000;
/// A key that nobody writes.
const QUIET: &str = "quiet";
/// The most watchers of a stream.
const WATCHERS_MAX: i64 = 4;

/// Somebody who watches through the member at one place.
pub(super) struct Observer {
    pub client: Client,
    pub at: usize,
    /// Follows the newest revision.
    pub told: watch::Receiver<i64>,
    /// The last revision, once it is known.
    pub end: watch::Receiver<Option<i64>>,
}

/// A stream that is open.
struct Open {
    seen: Stream,
    requests: mpsc::Sender<pb::WatchRequest>,
    answers: Streaming<pb::WatchResponse>,
}

/// Observes one stream after the other, and at the end one that is told the last revision by its progresses.
pub(super) async fn run(mut observer: Observer) {
    let mut is_complete = false;
    while !is_complete {
        let last = *observer.end.borrow();
        let Some(mut open) = observer.open(last).await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        match last {
            Some(last) => observer.conclude(&mut open, last).await,
            None => observer.follow(&mut open).await,
        }
        is_complete = open.seen.is_complete;
        observer.client.record.stream(open.seen);
    }
}

impl Observer {
    /// A new stream with its first watchers, if the member takes one.
    async fn open(&mut self, last: Option<i64>) -> Option<Open> {
        let connection = self.client.connection_to(self.at).await?;
        let (requests, sent) = mpsc::channel(16);
        let mut seen = Stream { at: self.at, ..Stream::default() };
        let watchers = match last {
            Some(last) => last_watchers(last),
            None => (0..self.client.random.random_range(1..WATCHERS_MAX)).map(|_| self.watcher()).collect(),
        };
        watchers.into_iter().for_each(|watcher| create(&mut seen, &requests, watcher));
        let call = |wire| async move {
            let mut watch = pb::watch_client::WatchClient::new(wire).max_decoding_message_size(usize::MAX);
            Ok::<_, Status>(Response::new(watch.watch(open_ended(sent)).await?.into_inner()))
        };
        let answers = self.client.call_over(&connection, call).await.ok()?;
        Some(Open { seen, requests, answers })
    }

    /// A watcher of something, from the past or the future.
    fn watcher(&mut self) -> pb::WatchCreateRequest {
        let newest = *self.told.borrow();
        let random = &mut self.client.random;
        let ranges =
            [("\0", "\0"), ("c0", "c1"), ("c01/", "c04"), ("mark/03", ""), ("lease/", "n"), (QUIET, "")];
        let (key, range_end) = ranges[random.random_range(0..ranges.len())];
        let start = match random.random_range(0..20) {
            0 => newest - FAR,
            1..6 => 0,
            _ => newest + random.random_range(-NEAR..=NEAR),
        };
        let filter = random.random_range(0..6);
        pb::WatchCreateRequest {
            key: key.into(),
            range_end: range_end.into(),
            start_revision: start.max(0),
            progress_notify: random.random(),
            // One of the kinds, or none of them.
            filters: (filter < 2).then_some(filter).into_iter().collect(),
            prev_kv: random.random(),
            fragment: random.random(),
            ..Default::default()
        }
    }

    /// Reads what comes for some time, and asks for one thing or another meanwhile.
    async fn follow(&mut self, open: &mut Open) {
        let begin = Instant::now();
        let life = Duration::from_millis(self.client.random.random_range(LIFE_MILLIS));
        let asks = self.client.random.random();
        while begin.elapsed() < life && self.end.borrow().is_none() {
            let is_early = asks && begin.elapsed() < EARLY;
            let pause = if is_early { EARLY_PAUSE_MILLIS } else { PAUSE_MILLIS };
            let pause = Duration::from_millis(self.client.random.random_range(pause));
            if !self.read(open, Instant::now() + pause).await {
                return;
            }
            if asks {
                self.ask(open);
            }
        }
    }

    /// Asks for a progress, and now and then for a watcher more or less.
    fn ask(&mut self, open: &mut Open) {
        let newest = open.seen.watchers.keys().next_back().copied().unwrap_or_default();
        match self.client.random.random_range(0..40) {
            0 if newest < WATCHERS_MAX => {
                let watcher = self.watcher();
                create(&mut open.seen, &open.requests, watcher);
            }
            1 => {
                let cancel = pb::WatchCancelRequest { watch_id: self.client.random.random_range(1..=newest) };
                send(&open.requests, pb::watch_request::RequestUnion::CancelRequest(cancel));
            }
            // There is room, or the member does not listen just now.
            _ => drop(open.requests.try_send(progress())),
        }
    }

    /// Asks until everything up to the last revision has been told in every way. A stream that breaks is not complete.
    async fn conclude(&mut self, open: &mut Open, last: i64) {
        while self.read(open, Instant::now() + Duration::from_millis(PAUSE_MILLIS.end)).await {
            if open.seen.has_progress(last) {
                open.seen.is_complete = true;
                return;
            }
            open.requests.try_send(progress()).ok();
        }
    }

    /// Writes down what comes until then. `false` if the stream is over.
    async fn read(&mut self, open: &mut Open, until: Instant) -> bool {
        while let Ok(message) = tokio::time::timeout_at(until, open.answers.message()).await {
            let told = match message {
                Ok(Some(answer)) => told_of(&answer),
                Ok(None) | Err(_) => Err(None),
            };
            match told {
                Ok(told) => open.seen.told.push(told),
                Err(reason) => {
                    if let Some(reason) = reason.filter(|reason| !session::is_forgotten_as(reason)) {
                        self.client.record.wrong(format!("m{} ends a watcher: {reason}", self.at));
                    }
                    self.client.move_on();
                    return false;
                }
            }
        }
        true
    }
}

/// What is watched at the end: everything for a while back, and what nobody writes.
fn last_watchers(last: i64) -> Vec<pb::WatchCreateRequest> {
    let watcher = |key: &'static str, range_end: &'static str, start_revision| pb::WatchCreateRequest {
        key: key.into(),
        range_end: range_end.into(),
        start_revision,
        progress_notify: true,
        prev_kv: true,
        ..Default::default()
    };
    vec![watcher("\0", "\0", (last - NEAR).max(1)), watcher(QUIET, "", 0)]
}

/// Asks for a watcher under the next id.
fn create(seen: &mut Stream, requests: &mpsc::Sender<pb::WatchRequest>, mut wanted: pb::WatchCreateRequest) {
    wanted.watch_id = seen.watchers.keys().next_back().map_or(1, |id| id + 1);
    let (id, watcher) = (wanted.watch_id, watcher_of(&wanted));
    if send(requests, pb::watch_request::RequestUnion::CreateRequest(wanted)) {
        seen.watchers.insert(id, watcher);
    }
}

/// Whether there was room for it.
fn send(requests: &mpsc::Sender<pb::WatchRequest>, union: pb::watch_request::RequestUnion) -> bool {
    requests.try_send(pb::WatchRequest { request_union: Some(union) }).is_ok()
}

fn watcher_of(wanted: &pb::WatchCreateRequest) -> Watcher {
    use pb::watch_create_request::FilterType;
    let kind = |filter| if filter == FilterType::Noput { Kind::Put } else { Kind::Delete };
    Watcher {
        range: range_of(&wanted.key, &wanted.range_end),
        start: wanted.start_revision,
        without: wanted.filters().next().map(kind),
        prev_kv: wanted.prev_kv,
        progress_notify: wanted.progress_notify,
    }
}

/// What an answer says, or why there is no watcher any more: neither was its end asked for, nor is what it wants compacted.
fn told_of(answer: &pb::WatchResponse) -> Result<Told, Option<String>> {
    let what = if answer.canceled {
        let compacted = (answer.compact_revision > 0).then_some(answer.compact_revision);
        if compacted.is_none() && !answer.cancel_reason.is_empty() {
            return Err(Some(answer.cancel_reason.clone()));
        }
        Tidings::Cancelled { compacted }
    } else if answer.created {
        Tidings::Created
    } else if answer.events.is_empty() && !answer.fragment {
        Tidings::Progress
    } else {
        let events = answer.events.iter().filter_map(event_of).collect();
        Tidings::Events { events, goes_on: answer.fragment }
    };
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    Ok(Told { watch_id: answer.watch_id, revision, what })
}

fn event_of(event: &mvccpb::Event) -> Option<Event> {
    let change = change_of(event)?;
    let previous = event.prev_kv.as_ref().map(|pair| pair.encode_to_vec().into());
    Some(Event { revision: change.revision, key: change.key, pair: change.pair, previous })
}

/// Streams by member, how many of them, and the progresses they told to single watchers and to all.
pub(super) type Tally = BTreeMap<usize, (usize, usize, usize)>;

/// What each member told. That it told no progress at all is an error: nothing has been judged then.
pub(super) fn tally(streams: &[Stream], members: usize) -> Result<Tally, String> {
    let mut tally: Tally = (0..members).map(|at| (at, (0, 0, 0))).collect();
    for stream in streams {
        let (count, single, to_all) = tally.entry(stream.at).or_default();
        let told = stream.progresses();
        (*count, *single, *to_all) = (*count + 1, *single + told.0, *to_all + told.1);
    }
    for (at, (count, single, to_all)) in &tally {
        let is_complete = streams.iter().any(|stream| stream.at == *at && stream.is_complete);
        if !is_complete || *single == 0 || *to_all == 0 {
            return Err(format!(
                "m{at} told {single} progresses to single watchers and {to_all} to all over {count} streams, \
                 and was asked to the end: {is_complete}"
            ));
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(canceled: bool, compact_revision: i64, cancel_reason: &str) -> pb::WatchResponse {
        let cancel_reason = cancel_reason.to_owned();
        pb::WatchResponse { canceled, compact_revision, cancel_reason, ..Default::default() }
    }

    #[test]
    fn an_end_is_asked_for_or_a_compaction_or_a_refusal() {
        let what = |answer| told_of(&answer).map(|told| format!("{:?}", told.what));
        assert_eq!(what(answer(true, 0, "")), Ok("Cancelled { compacted: None }".to_owned()));
        assert_eq!(what(answer(true, 7, "compacted")), Ok("Cancelled { compacted: Some(7) }".to_owned()));
        assert_eq!(what(answer(true, 0, "no")), Err(Some("no".to_owned())));
        assert_eq!(what(answer(false, 0, "")), Ok("Progress".to_owned()));
        let created = pb::WatchResponse { created: true, ..Default::default() };
        assert_eq!(what(created), Ok("Created".to_owned()));
    }

    #[test]
    fn a_member_that_told_no_progress_is_found() {
        let told = |watch_id| Told { watch_id, revision: 1, what: Tidings::Progress };
        let stream = |at, ids: &[i64], is_complete| Stream {
            at,
            told: ids.iter().map(|id| told(*id)).collect(),
            is_complete,
            ..Stream::default()
        };
        let all = [stream(0, &[1, -1], true), stream(1, &[1], false), stream(1, &[-1, -1], true)];
        assert_eq!(tally(&all, 2), Ok(Tally::from([(0, (1, 1, 1)), (1, (2, 1, 2))])));
        assert!(tally(&all, 3).unwrap_err().starts_with("m2 told 0 progresses"));
        assert!(tally(&all[..2], 2).unwrap_err().contains("0 to all"));
        assert!(tally(&[stream(0, &[-1], true)], 1).unwrap_err().starts_with("m0 told 0 progresses"));
        assert!(tally(&[stream(0, &[1, -1], false)], 1).unwrap_err().ends_with("to the end: false"));
    }
}
