//! The Watch service: many watchers on one stream.

use super::header::Headers;
use crate::auth::Caller;
use crate::limits;
use crate::member::Member;
use crate::watch::catch_up::{self, Catch, Found, Step, Straggler};
use crate::watch::event::{EventSource, Filters, HistoryBounds, RevisionEvents};
use crate::watch::hub::{Hub, Standing, Subscription};
use crate::watch::index::Slot;
use crate::watch::mailbox::{Contents, Delivery, Mailbox};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tenure_api::error::{EtcdError, WatchCancelReason};
use tenure_api::etcdserverpb::{
    WatchCreateRequest, WatchRequest, watch_create_request::FilterType, watch_request::RequestUnion,
};
use tenure_api::server::etcdserverpb::watch_server::Watch;
use tenure_api::wire::WatchResponse;
use tenure_core::state::{Access, Halt};
use tenure_core::types::{KeyRange, RangeEnd, Revision};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// The id that stands for "no watcher" and for the whole stream.
const NO_WATCHER: i64 = -1;

/// The service.
#[derive(Clone)]
pub struct WatchService {
    member: Member,
}

impl WatchService {
    /// The service of a member.
    #[must_use]
    pub fn new(member: Member) -> Self {
        Self { member }
    }
}

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(&request);
        Ok(Response::new(open(&self.member, caller, request.into_inner())))
    }
}

/// Opens a watch stream, for a client or for a service of this member. Dropping the answer closes it.
pub(super) fn open(
    member: &Member,
    caller: Caller,
    requests: impl Stream<Item = Result<WatchRequest, Status>> + Send + Unpin + 'static,
) -> ReceiverStream<Result<WatchResponse, Status>> {
    let (out, responses) = mpsc::channel(limits::WATCH_RESPONSES_QUEUED_MAX);
    member.tasks().spawn(Session::new(member, caller, out).run(requests));
    ReceiverStream::new(responses)
}

/// One stream.
struct Session {
    member: Member,
    caller: Caller,
    hub: Arc<Hub>,
    source: Arc<dyn EventSource>,
    headers: Headers,
    mailbox: Arc<Mailbox>,
    watchers: BTreeMap<i64, Watcher>,
    /// Automatic ids only go forward (reference 11, W3).
    next_id: i64,
    next_serial: u64,
    out: mpsc::Sender<Result<WatchResponse, Status>>,
    reading: Option<JoinHandle<Result<Step, Halt>>>,
    progress_interval: Duration,
    response_bytes_max: usize,
}

struct Watcher {
    /// Unlike the id never given again, so that an answer for a cancelled watcher finds nobody.
    serial: u64,
    slot: Slot,
    range: KeyRange,
    filters: Filters,
    prev_kv: bool,
    fragment: bool,
    progress_notify: bool,
    /// Set once it is behind: what it needs next.
    behind: Option<Revision>,
    /// It answers to no progress request before this revision is reached (W4, W12).
    start: Revision,
    /// What it was sent goes up to here, which may be ahead of the hub: it has read history by itself.
    told: Revision,
    /// Whether it was sent something since the last progress tick.
    busy: bool,
}

/// The stream is over; the reason has been sent, if there is one.
struct Over;

impl Drop for Session {
    fn drop(&mut self) {
        self.member.metrics().handles.mvcc_watch_streams.dec();
        for watcher in self.watchers.values() {
            self.hub.unsubscribe(watcher.slot);
        }
    }
}

impl Session {
    fn new(member: &Member, caller: Caller, out: mpsc::Sender<Result<WatchResponse, Status>>) -> Self {
        member.metrics().handles.mvcc_watch_streams.inc();
        Self {
            member: member.clone(),
            caller,
            hub: member.hub(),
            source: member.event_source(),
            headers: member.headers().clone(),
            mailbox: Arc::default(),
            watchers: BTreeMap::new(),
            next_id: 0,
            next_serial: 0,
            out,
            reading: None,
            progress_interval: member.watch_progress_interval(),
            response_bytes_max: member.request_bytes_max() + limits::GRPC_OVERHEAD_BYTES,
        }
    }

    async fn run(mut self, mut requests: impl Stream<Item = Result<WatchRequest, Status>> + Unpin) {
        let mut half_closed = false;
        let mut tick =
            tokio::time::interval_at(Instant::now() + self.progress_interval, self.progress_interval);
        loop {
            let step = tokio::select! {
                biased;
                () = self.out.closed() => return,
                request = requests.next(), if !half_closed => match request {
                    Some(Ok(request)) => self.take_request(request).await,
                    // Events keep coming until the client cancels (reference 11, W13).
                    None => { half_closed = true; Ok(()) }
                    Some(Err(_)) => return,
                },
                () = self.mailbox.arrived() => self.deliver().await,
                read = finished(&mut self.reading) => { self.reading = None; self.take_history(read).await }
                _ = tick.tick() => { self.tick(); Ok(()) }
            };
            if step.is_err() {
                return;
            }
            self.read_on();
        }
    }

    async fn take_request(&mut self, request: WatchRequest) -> Result<(), Over> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create).await,
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id).await,
            Some(RequestUnion::ProgressRequest(_)) => {
                self.request_progress();
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn create(&mut self, create: WatchCreateRequest) -> Result<(), Over> {
        let key = if create.key.is_empty() { Bytes::from_static(&[0]) } else { create.key };
        let range = KeyRange::from_wire(key, create.range_end);
        let visible = self.member.revision();
        if let Some(reason) = self.refusal(&range, create.start_revision, create.watch_id).await {
            return self.refuse(visible, reason).await;
        }
        let watch_id = self.choose_id(create.watch_id);
        let start = if create.start_revision == 0 { visible.next() } else { Revision(create.start_revision) };
        let filters = filters(&create.filters);
        let subscription = Subscription { watch_id, range: range.clone(), filters };
        // What the hub delivers from now on waits in the mailbox until `created` is sent below (W2).
        let (slot, standing) = self.hub.subscribe(&self.mailbox, subscription, start, visible);
        self.member.wake_hub();
        self.next_serial += 1;
        let watcher = Watcher {
            serial: self.next_serial,
            slot,
            range,
            filters,
            prev_kv: create.prev_kv,
            fragment: create.fragment,
            progress_notify: create.progress_notify,
            behind: (standing == Standing::Behind).then_some(start),
            start: Revision(create.start_revision),
            told: Revision(0),
            busy: false,
        };
        self.watchers.insert(watch_id, watcher);
        self.send(WatchResponse { watch_id, created: true, ..self.empty(visible) }).await
    }

    async fn refusal(
        &self,
        range: &KeyRange,
        start_revision: i64,
        watch_id: i64,
    ) -> Option<WatchCancelReason> {
        if start_revision < 0 {
            return Some(WatchCancelReason::Compacted);
        }
        // Looked at when the watcher is made and never again (W6).
        if let Err(error) = self.member.authorize(&self.caller, Access::Read(range)).await {
            return Some(WatchCancelReason::Refused(match error {
                EtcdError::InvalidAuthToken | EtcdError::AuthOldRevision | EtcdError::UserEmpty => error,
                _ => EtcdError::PermissionDenied,
            }));
        }
        if matches!(range.end, RangeEnd::Before(_)) && range.is_empty() {
            return Some(WatchCancelReason::EmptyRange);
        }
        if watch_id != 0 && self.watchers.contains_key(&watch_id) {
            return Some(WatchCancelReason::DuplicateId);
        }
        None
    }

    fn choose_id(&mut self, asked: i64) -> i64 {
        if asked != 0 {
            return asked;
        }
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    async fn refuse(&mut self, visible: Revision, reason: WatchCancelReason) -> Result<(), Over> {
        let response = WatchResponse {
            watch_id: NO_WATCHER,
            created: true,
            canceled: true,
            cancel_reason: reason.to_string(),
            ..self.empty(visible)
        };
        self.send(response).await
    }

    async fn cancel(&mut self, watch_id: i64) -> Result<(), Over> {
        let Some(watcher) = self.watchers.get(&watch_id) else { return Ok(()) };
        self.hub.unsubscribe(watcher.slot);
        // What was delivered before the cancel is sent before its answer; after it the id may be given again.
        self.deliver().await?;
        self.watchers.remove(&watch_id);
        let response = WatchResponse { watch_id, canceled: true, ..self.empty(self.member.revision()) };
        self.send(response).await
    }

    fn request_progress(&mut self) {
        let visible = self.member.revision();
        let up_to_date = |watcher: &Watcher| watcher.behind.is_none() && watcher.start <= visible;
        if !self.watchers.is_empty() && self.watchers.values().all(up_to_date) {
            self.hub.progress(&self.mailbox, NO_WATCHER, visible);
            self.member.wake_hub();
        }
    }

    fn tick(&mut self) {
        let visible = self.member.revision();
        for (watch_id, watcher) in &mut self.watchers {
            let quiet = !std::mem::take(&mut watcher.busy);
            let reached = watcher.behind.is_none() && watcher.start <= visible;
            if watcher.progress_notify && quiet && reached {
                self.hub.progress(&self.mailbox, *watch_id, visible);
                self.member.wake_hub();
            }
        }
    }

    async fn deliver(&mut self) -> Result<(), Over> {
        let Contents { deliveries, behind, closed } = self.mailbox.take();
        for delivery in deliveries {
            match delivery {
                Delivery::Events { watch_id, revision, picked } => {
                    self.send_delivery(watch_id, &revision, &picked).await?;
                }
                Delivery::Progress { watch_id, revision } => self.send_progress(watch_id, revision).await?,
            }
        }
        for (watch_id, from) in behind {
            if let Some(watcher) = self.watchers.get_mut(&watch_id) {
                watcher.behind = Some(from);
            }
        }
        if closed {
            return Err(self.end(EtcdError::Stopped.into()).await);
        }
        Ok(())
    }

    async fn send_delivery(
        &mut self,
        watch_id: i64,
        revision: &RevisionEvents,
        picked: &[u32],
    ) -> Result<(), Over> {
        let Some(watcher) = self.watchers.get_mut(&watch_id) else { return Ok(()) };
        watcher.busy = true;
        watcher.told = revision.revision;
        let prev_kv = watcher.prev_kv;
        let events = picked
            .iter()
            .filter_map(|at| revision.events.get(*at as usize))
            .map(|event| if prev_kv { event.wire_with_prev(&*self.source) } else { Ok(event.wire()) });
        match events.collect() {
            Ok(events) => self.send_events(watch_id, revision.revision, events).await,
            Err(halt) => Err(self.halt(&halt).await),
        }
    }

    async fn send_progress(&mut self, watch_id: i64, revision: Revision) -> Result<(), Over> {
        match vouch(&self.watchers, watch_id, revision) {
            Vouch::True => self.send(WatchResponse { watch_id, ..self.empty(revision) }).await,
            Vouch::Late(told) => {
                self.hub.progress(&self.mailbox, watch_id, told);
                self.member.wake_hub();
                Ok(())
            }
            // The client asks again (W12).
            Vouch::Untrue => Ok(()),
        }
    }

    /// Sends events of one watcher, split by size if the watcher asked for it (W10).
    async fn send_events(
        &mut self,
        watch_id: i64,
        revision: Revision,
        events: Vec<Bytes>,
    ) -> Result<(), Over> {
        let fragment = self.watchers.get(&watch_id).is_some_and(|watcher| watcher.fragment);
        if !fragment {
            return self.send(WatchResponse { watch_id, events, ..self.empty(revision) }).await;
        }
        let mut parts: Vec<Vec<Bytes>> = vec![Vec::new()];
        let mut part_bytes = 0;
        for event in events {
            let full = part_bytes + event.len() >= self.response_bytes_max;
            if full && parts.last().is_some_and(|part| !part.is_empty()) {
                parts.push(Vec::new());
                part_bytes = 0;
            }
            part_bytes += event.len();
            if let Some(part) = parts.last_mut() {
                part.push(event);
            }
        }
        let last = parts.len() - 1;
        for (at, events) in parts.into_iter().enumerate() {
            let fragment = at != last;
            self.send(WatchResponse { watch_id, events, fragment, ..self.empty(revision) }).await?;
        }
        Ok(())
    }

    /// Starts reading history for the watchers that are behind, one reader a stream at a time.
    fn read_on(&mut self) {
        if self.reading.is_some() {
            return;
        }
        let stragglers: Vec<Straggler> = self
            .watchers
            .iter()
            .filter_map(|(watch_id, watcher)| {
                let next = watcher.behind?;
                let (range, filters) = (watcher.range.clone(), watcher.filters);
                let (serial, prev_kv) = (watcher.serial, watcher.prev_kv);
                Some(Straggler { watch_id: *watch_id, serial, range, filters, prev_kv, next })
            })
            .collect();
        if stragglers.is_empty() {
            return;
        }
        let source = self.source.clone();
        let bounds = HistoryBounds {
            revisions_max: limits::CATCH_UP_REVISIONS_MAX,
            bytes_max: limits::CATCH_UP_BYTES_MAX,
        };
        self.reading =
            Some(tokio::task::spawn_blocking(move || catch_up::step(&*source, &stragglers, bounds)));
    }

    async fn take_history(&mut self, read: Result<Step, Halt>) -> Result<(), Over> {
        let Step { catches, visible } = match read {
            Ok(step) => step,
            Err(halt) => return Err(self.halt(&halt).await),
        };
        for Catch { watch_id, serial, found } in catches {
            let Some(watcher) = self.watchers.get_mut(&watch_id) else { continue };
            if watcher.serial != serial {
                continue;
            }
            match found {
                Found::Compacted(compacted) => self.cancel_compacted(watch_id, compacted).await?,
                Found::Events { events, next } => {
                    // Revisions that the hub has not handed out yet come after these in the mailbox.
                    watcher.behind = Some(next);
                    watcher.told = Revision(next.0 - 1);
                    if self.hub.rejoin(watcher.slot, next) == Standing::Live {
                        watcher.behind = None;
                    }
                    if !events.is_empty() {
                        watcher.busy = true;
                        let events = events.into_iter().map(|(_, bytes)| bytes).collect();
                        self.send_events(watch_id, visible, events).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// W5: its own response, with a header revision of 0 (reference 11).
    async fn cancel_compacted(&mut self, watch_id: i64, compacted: Revision) -> Result<(), Over> {
        if let Some(watcher) = self.watchers.remove(&watch_id) {
            self.hub.unsubscribe(watcher.slot);
        }
        let response = WatchResponse {
            watch_id,
            canceled: true,
            compact_revision: compacted.0,
            ..self.empty(Revision(0))
        };
        self.send(response).await
    }

    fn empty(&self, revision: Revision) -> WatchResponse {
        WatchResponse { header: Some(self.headers.at(revision)), ..WatchResponse::default() }
    }

    async fn send(&mut self, response: WatchResponse) -> Result<(), Over> {
        self.out.send(Ok(response)).await.map_err(|_| Over)
    }

    async fn halt(&mut self, halt: &Halt) -> Over {
        self.end(Status::internal(halt.to_string())).await
    }

    async fn end(&mut self, status: Status) -> Over {
        // The receiver may be gone already: then nobody is left to be told.
        self.out.send(Err(status)).await.ok();
        Over
    }
}

/// Whether a progress still holds when it is to be sent.
#[derive(Debug, PartialEq, Eq)]
enum Vouch {
    /// All that it speaks of has been sent, and nothing else.
    True,
    /// More has been sent, up to here: the hub will come to that, too.
    Late(Revision),
    /// Something has not been sent.
    Untrue,
}

fn vouch(watchers: &BTreeMap<i64, Watcher>, watch_id: i64, revision: Revision) -> Vouch {
    let concerned = || watchers.iter().filter(|(id, _)| watch_id == NO_WATCHER || **id == watch_id);
    let Some(told) = concerned().map(|(_, watcher)| watcher.told).max() else { return Vouch::Untrue };
    if concerned().any(|(_, watcher)| watcher.behind.is_some()) {
        return Vouch::Untrue;
    }
    if told > revision { Vouch::Late(told) } else { Vouch::True }
}

async fn finished(reading: &mut Option<JoinHandle<Result<Step, Halt>>>) -> Result<Step, Halt> {
    match reading {
        Some(handle) => match handle.await {
            Ok(step) => step,
            Err(error) => Err(Halt(format!("reading watch history: {error}"))),
        },
        None => std::future::pending().await,
    }
}

fn filters(wire: &[i32]) -> Filters {
    let has = |filter: FilterType| wire.contains(&(filter as i32));
    Filters { no_put: has(FilterType::Noput), no_delete: has(FilterType::Nodelete) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher(told: i64, behind: Option<i64>) -> Watcher {
        Watcher {
            serial: 0,
            slot: 0,
            range: KeyRange::everything(),
            filters: Filters::default(),
            prev_kv: false,
            fragment: false,
            progress_notify: false,
            behind: behind.map(Revision),
            start: Revision(0),
            told: Revision(told),
            busy: false,
        }
    }

    #[test]
    fn w12_no_progress_is_told_to_who_has_seen_more_or_less() {
        let mut watchers = BTreeMap::from([(1, watcher(5, None)), (2, watcher(9, None))]);
        assert_eq!(vouch(&watchers, NO_WATCHER, Revision(9)), Vouch::True);
        assert_eq!(vouch(&watchers, NO_WATCHER, Revision(7)), Vouch::Late(Revision(9)), "2 has seen 9");
        assert_eq!(vouch(&watchers, 1, Revision(7)), Vouch::True);
        assert_eq!(vouch(&watchers, 3, Revision(9)), Vouch::Untrue, "it was cancelled");
        watchers.insert(2, watcher(9, Some(10)));
        assert_eq!(vouch(&watchers, NO_WATCHER, Revision(12)), Vouch::Untrue, "2 has not seen 10");
        assert_eq!(vouch(&watchers, 1, Revision(12)), Vouch::True);
        assert_eq!(vouch(&BTreeMap::new(), NO_WATCHER, Revision(12)), Vouch::Untrue);
    }
}
