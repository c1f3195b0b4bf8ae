//! Clients that watch, over one member after the other.

use super::client::{Client, open_ended};
use super::leases;
use super::load::range_of;
use super::session;
use bytes::Bytes;
use prost::Message;
use std::time::Duration;
use tenure_api::etcdserverpb as pb;
use tenure_api::mvccpb;
use tenure_check::{Change, LeaseEvent, Watch, WatchStep};
use tokio::sync::{mpsc, watch};
use tonic::{Response, Status, Streaming};

/// A watcher that hears nothing for so long asks for the progress, and when that is not told either, another member.
const SILENCE: Duration = Duration::from_secs(1);
const ASKED_MAX: u32 = 2;

/// What a watcher wants.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub key: Bytes,
    pub range_end: Bytes,
    /// The first revision.
    pub from: i64,
}

/// A watcher of everything, whose events are the history that all else is compared with.
#[derive(Debug, Default)]
pub(super) struct History {
    pub changes: Vec<Change>,
}

/// Watches until it has seen everything up to the revision that `end` says. Writes down what it saw.
pub(super) async fn run(mut client: Client, wanted: Wanted, end: watch::Receiver<Option<i64>>) {
    let range = range_of(&wanted.key, &wanted.range_end);
    let mut seen = Watch { range, from: wanted.from, steps: Vec::new(), is_complete: false };
    let mut next = wanted.from;
    let mut on_events = |_: &[mvccpb::Event]| {};
    while !follow(&mut client, &wanted, &mut next, &mut seen.steps, &end, &mut on_events).await {}
    seen.is_complete = true;
    client.record.watch(seen);
}

/// Watches everything as [`run`] does: what was changed, and the ends of leases. `told` follows the last revision.
pub(super) async fn record_all(
    mut client: Client,
    end: watch::Receiver<Option<i64>>,
    told: watch::Sender<i64>,
) -> History {
    let wanted = Wanted { key: Bytes::from_static(b"\0"), range_end: Bytes::from_static(b"\0"), from: 1 };
    let (mut next, mut steps, mut history) = (wanted.from, Vec::new(), History::default());
    let record = client.record.clone();
    let mut on_events = |events: &[mvccpb::Event]| {
        for event in events {
            let Some(change) = change_of(event) else { continue };
            let lease =
                std::str::from_utf8(&change.key).ok().and_then(|key| key.strip_prefix(leases::PREFIX));
            if let (None, Some(Ok(id))) = (&change.pair, lease.map(str::parse)) {
                record.lease(id, LeaseEvent::Ended { at: record.time(), has_expired: true });
            }
            told.send_replace(change.revision);
            history.changes.push(change);
        }
    };
    while !follow(&mut client, &wanted, &mut next, &mut steps, &end, &mut on_events).await {
        steps.clear();
    }
    history
}

/// The change that an event tells of.
pub(super) fn change_of(event: &mvccpb::Event) -> Option<Change> {
    let is_put = event.r#type() == mvccpb::event::EventType::Put;
    let pair = event.kv.as_ref()?;
    let key = pair.key.clone();
    let (revision, pair) = (pair.mod_revision, is_put.then(|| pair.encode_to_vec().into()));
    Some(Change { revision, by: None, key, pair })
}

/// Watches at one member until it fails or falls silent (`false`), or everything has been seen (`true`).
async fn follow(
    client: &mut Client,
    wanted: &Wanted,
    next: &mut i64,
    steps: &mut Vec<WatchStep>,
    end: &watch::Receiver<Option<i64>>,
    on_events: &mut impl FnMut(&[mvccpb::Event]),
) -> bool {
    let Some((requests, mut answers)) = open(client, wanted, *next).await else { return false };
    let mut asked = 0;
    loop {
        if end.borrow().is_some_and(|end| *next > end) {
            return true;
        }
        let silence = if end.borrow().is_some() { SILENCE / 10 } else { SILENCE };
        let answer = match tokio::time::timeout(silence, answers.message()).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) | Ok(Err(_)) => break,
            Err(_) if asked == ASKED_MAX => break,
            Err(_) => {
                asked += 1;
                if requests.try_send(progress()).is_err() {
                    break;
                }
                continue;
            }
        };
        asked = 0;
        if answer.canceled {
            if answer.compact_revision > *next {
                *next = answer.compact_revision;
                steps.push(WatchStep::Compacted(answer.compact_revision));
            } else if !session::is_forgotten_as(&answer.cancel_reason) {
                client.record.wrong(format!("a watcher at {next} is cancelled: {answer:?}"));
            }
            break;
        }
        if let Some(step) = step_of(&answer, *next) {
            on_events(&answer.events);
            if let WatchStep::Events { through, .. } = &step {
                *next = (*next).max(through + 1);
            }
            steps.push(step);
        }
    }
    client.move_on();
    false
}

/// Asks for the progress.
pub(super) fn progress() -> pb::WatchRequest {
    let union = pb::watch_request::RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
    pb::WatchRequest { request_union: Some(union) }
}

/// What an answer says: events, or that there are none up to a revision.
fn step_of(answer: &pb::WatchResponse, next: i64) -> Option<WatchStep> {
    let events: Vec<_> = answer.events.iter().filter_map(change_of).collect();
    let through = match events.last() {
        Some(last) => last.revision,
        // Progress, if it was asked for: everything before has come.
        None if !answer.created => answer.header.as_ref().map(|header| header.revision)?,
        None => return None,
    };
    if events.is_empty() && through < next {
        return None;
    }
    let events = events.into_iter().map(|change| (change.revision, change.key, change.pair)).collect();
    Some(WatchStep::Events { through, compacted: -1, events })
}

type Requests = mpsc::Sender<pb::WatchRequest>;

async fn open(
    client: &mut Client,
    wanted: &Wanted,
    next: i64,
) -> Option<(Requests, Streaming<pb::WatchResponse>)> {
    let create = pb::WatchCreateRequest {
        key: wanted.key.clone(),
        range_end: wanted.range_end.clone(),
        start_revision: next,
        ..Default::default()
    };
    let union = pb::watch_request::RequestUnion::CreateRequest(create);
    let (requests, sent) = mpsc::channel(8);
    requests.try_send(pb::WatchRequest { request_union: Some(union) }).ok()?;
    let call = |channel| async move {
        let mut watch = pb::watch_client::WatchClient::new(channel).max_decoding_message_size(usize::MAX);
        let answers = watch.watch(open_ended(sent)).await?.into_inner();
        Ok::<_, Status>(Response::new(answers))
    };
    let (_, outcome) = client.call(call).await;
    outcome.ok().map(|answers| (requests, answers))
}
