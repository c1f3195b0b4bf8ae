//! One other member: where it is, and the queues of what it is to be told.

use super::counts::PeerCounts;
use super::frames::{FrameEncoder, StreamKind};
use crate::config::EndpointUrl;
use crate::limits;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame};
use parking_lot::{Mutex, RwLock};
use prometheus::IntCounter;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tenure_core::node::{Message, MessageKind};
use tenure_core::types::MemberId;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Another member.
#[derive(Debug)]
pub struct Peer {
    /// Which.
    pub id: MemberId,
    /// Cancelled when it is gone or this member stops.
    pub stop: CancellationToken,
    /// What is counted of it.
    pub counts: PeerCounts,
    /// The time between signs of life on a stream that has nothing else to say.
    heartbeat_interval: Duration,
    urls: RwLock<Urls>,
    messages: Slot,
    appends: Slot,
    /// Posts while there is no stream: what must not wait, and appends.
    posts: mpsc::Sender<Message>,
    append_posts: mpsc::Sender<Message>,
    activity: Mutex<Activity>,
}

#[derive(Debug, Default)]
struct Urls {
    all: Vec<EndpointUrl>,
    picked: usize,
}

/// Since when the member has been heard of.
#[derive(Debug, Default)]
struct Activity {
    since: Option<Instant>,
}

/// The queues that the posting tasks of a peer empty.
#[derive(Debug)]
pub struct PostQueues {
    /// Everything but appends.
    pub posts: mpsc::Receiver<Message>,
    /// Appends.
    pub appends: mpsc::Receiver<Message>,
}

/// The message was not queued: too much waits, or nobody takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotQueued;

impl Peer {
    /// A member at these URLs. Nothing is dialed yet.
    #[must_use]
    pub fn new(
        id: MemberId,
        urls: Vec<EndpointUrl>,
        stop: CancellationToken,
        counts: PeerCounts,
        heartbeat_interval: Duration,
    ) -> (Arc<Self>, PostQueues) {
        let (posts, posted) = mpsc::channel(limits::PEER_POSTS_MAX);
        let (append_posts, appends_posted) = mpsc::channel(limits::PEER_POSTS_MAX);
        let peer = Self {
            id,
            stop,
            counts,
            heartbeat_interval,
            urls: RwLock::new(Urls { all: urls, picked: 0 }),
            messages: Slot::default(),
            appends: Slot::default(),
            posts,
            append_posts,
            activity: Mutex::default(),
        };
        (Arc::new(peer), PostQueues { posts: posted, appends: appends_posted })
    }

    /// The URL that worked last, or the next to try.
    #[must_use]
    pub fn url(&self) -> Option<EndpointUrl> {
        let urls = self.urls.read();
        urls.all.get(urls.picked % urls.all.len().max(1)).cloned()
    }

    /// All its URLs.
    #[must_use]
    pub fn urls(&self) -> Vec<EndpointUrl> {
        self.urls.read().all.clone()
    }

    /// `failed` did not work: the next one, unless somebody has moved on already.
    pub fn pass_over(&self, failed: &EndpointUrl) {
        let mut urls = self.urls.write();
        let count = urls.all.len().max(1);
        if urls.all.get(urls.picked % count) == Some(failed) {
            urls.picked = (urls.picked + 1) % count;
        }
    }

    /// The member is found elsewhere from now on.
    pub fn moved(&self, urls: Vec<EndpointUrl>) {
        let mut known = self.urls.write();
        if known.all != urls {
            *known = Urls { all: urls, picked: 0 };
        }
    }

    /// Queues a message on the stream of its kind, or to be posted while there is none.
    ///
    /// # Errors
    /// [`NotQueued`]: it is dropped.
    pub fn send(&self, message: Message) -> Result<(), NotQueued> {
        self.queue(message).inspect_err(|_| self.counts.sent_failures.inc())
    }

    fn queue(&self, message: Message) -> Result<(), NotQueued> {
        let is_append = message.kind == MessageKind::Append;
        let slot = if is_append { &self.appends } else { &self.messages };
        match slot.send(message) {
            Ok(()) => Ok(()),
            Err(Unsent::Full) => Err(NotQueued),
            Err(Unsent::NoStream(message)) => {
                let posts = if is_append { &self.append_posts } else { &self.posts };
                posts.try_send(*message).map_err(|_| NotQueued)
            }
        }
    }

    /// The member has asked for a stream: its body. It replaces the one before.
    #[must_use]
    pub fn attach(&self, kind: StreamKind) -> StreamBody {
        let slot = if kind == StreamKind::Append { &self.appends } else { &self.messages };
        slot.attach(kind, self.heartbeat_interval, self.counts.sent_bytes.clone())
    }

    /// The member was heard of.
    pub fn is_heard(&self) {
        let mut activity = self.activity.lock();
        if activity.since.is_none() {
            activity.since = Some(Instant::now());
            self.counts.active.set(1);
            tracing::info!("peer-id" = format!("{:x}", self.id.0), "peer became active");
        }
    }

    /// The member cannot be reached.
    pub fn is_lost(&self, error: &dyn std::fmt::Display) {
        if self.activity.lock().since.take().is_some() {
            self.counts.active.set(0);
            self.counts.disconnected.inc();
            tracing::warn!("peer-id" = format!("{:x}", self.id.0), %error, "peer became inactive (message send to peer failed)");
        } else {
            tracing::debug!("peer-id" = format!("{:x}", self.id.0), %error, "peer is still inactive");
        }
    }

    /// Since when the member has been reached without a break.
    #[must_use]
    pub fn active_since(&self) -> Option<Instant> {
        self.activity.lock().since
    }
}

/// Where a stream is, while there is one.
#[derive(Debug, Default)]
struct Slot(Mutex<Option<Attached>>);

#[derive(Debug)]
struct Attached {
    queue: mpsc::Sender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
}

enum Unsent {
    Full,
    NoStream(Box<Message>),
}

impl Slot {
    fn attach(&self, kind: StreamKind, heartbeat_interval: Duration, sent_bytes: IntCounter) -> StreamBody {
        let (queue, messages) = mpsc::channel(limits::PEER_STREAM_MESSAGES_MAX);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        *self.0.lock() = Some(Attached { queue, waiting_bytes: waiting_bytes.clone() });
        let mut heartbeat = interval(heartbeat_interval);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let encoder = FrameEncoder::new(kind);
        StreamBody { messages, waiting_bytes, encoder, heartbeat, sent_bytes, batch: Vec::new() }
    }

    fn send(&self, message: Message) -> Result<(), Unsent> {
        let mut slot = self.0.lock();
        let Some(attached) = slot.as_ref() else { return Err(Unsent::NoStream(Box::new(message))) };
        let bytes = entry_bytes(&message);
        if attached.waiting_bytes.load(Ordering::Relaxed) + bytes > limits::PEER_STREAM_BYTES_MAX {
            return Err(Unsent::Full);
        }
        attached.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        match attached.queue.try_send(message) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                attached.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                Err(Unsent::Full)
            }
            Err(mpsc::error::TrySendError::Closed(message)) => {
                *slot = None;
                Err(Unsent::NoStream(Box::new(message)))
            }
        }
    }
}

fn entry_bytes(message: &Message) -> usize {
    message.entries.iter().map(|entry| entry.data.len()).sum()
}

/// The endless body of a stream's answer: whatever is queued, and a sign of life when nothing is.
#[derive(Debug)]
pub struct StreamBody {
    messages: mpsc::Receiver<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    encoder: FrameEncoder,
    heartbeat: Interval,
    sent_bytes: IntCounter,
    batch: Vec<Message>,
}

#[cfg(test)]
impl StreamBody {
    /// The next message that waits, for a test that is the other member.
    pub fn overhear(&mut self) -> Option<Message> {
        let message = self.messages.try_recv().ok()?;
        self.waiting_bytes.fetch_sub(entry_bytes(&message), Ordering::Relaxed);
        Some(message)
    }
}

/// Messages that are encoded at once at most.
const BATCH_MESSAGES_MAX: usize = 64;

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let mut out = BytesMut::new();
        loop {
            match this.messages.poll_recv_many(cx, &mut this.batch, BATCH_MESSAGES_MAX) {
                // Another stream has taken this one's place, or the member stops.
                Poll::Ready(0) if out.is_empty() => return Poll::Ready(None),
                Poll::Ready(0) | Poll::Pending => break,
                Poll::Ready(_) => {}
            }
            for message in this.batch.drain(..) {
                this.waiting_bytes.fetch_sub(entry_bytes(&message), Ordering::Relaxed);
                this.encoder.message(&message, &mut out);
            }
            if out.len() >= limits::PEER_WRITE_BYTES {
                break;
            }
        }
        if out.is_empty() {
            if this.heartbeat.poll_tick(cx).is_pending() {
                return Poll::Pending;
            }
            this.encoder.link_heartbeat(&mut out);
        } else {
            this.heartbeat.reset();
        }
        this.sent_bytes.inc_by(out.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(out.freeze()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MetricsDetail;
    use crate::metrics::Metrics;
    use http_body_util::BodyExt;
    use tenure_core::types::{EntryKind, LogEntry, LogIndex, Term};

    fn peer() -> (Arc<Peer>, PostQueues) {
        let urls = vec!["http://127.0.0.1:1".parse().unwrap(), "http://127.0.0.1:2".parse().unwrap()];
        let metrics = Metrics::new(MetricsDetail::Basic).unwrap();
        let counts = PeerCounts::new(&metrics.handles, MemberId(1), MemberId(2));
        Peer::new(MemberId(2), urls, CancellationToken::new(), counts, Duration::from_secs(1))
    }

    fn message(kind: MessageKind, data_bytes: usize) -> Message {
        let mut message = Message::new(kind, MemberId(1), MemberId(2));
        message.term = Term(3);
        let data = Bytes::from(vec![0; data_bytes]);
        message.entries = vec![LogEntry { index: LogIndex(1), term: Term(3), kind: EntryKind::Normal, data }];
        message
    }

    #[tokio::test]
    async fn appends_have_a_stream_of_their_own_and_posts_help_out() {
        let (peer, mut queues) = peer();
        assert_eq!(peer.send(message(MessageKind::Append, 1)), Ok(()));
        assert_eq!(peer.send(message(MessageKind::Heartbeat, 0)), Ok(()));
        assert_eq!(queues.appends.recv().await.map(|message| message.kind), Some(MessageKind::Append));
        assert_eq!(queues.posts.recv().await.map(|message| message.kind), Some(MessageKind::Heartbeat));
        let mut appends = peer.attach(StreamKind::Append);
        assert_eq!(peer.send(message(MessageKind::Append, 10)), Ok(()));
        let frame = appends.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame[0], 2, "a whole append");
        assert_eq!(peer.counts.sent_bytes.get(), frame.len() as u64);
        assert!(queues.appends.try_recv().is_err());
        drop(appends);
        assert_eq!(peer.send(message(MessageKind::Append, 10)), Ok(()), "posted: the stream is gone");
        assert!(queues.appends.try_recv().is_ok());
    }

    #[tokio::test]
    async fn a_stream_that_nobody_reads_is_bounded() {
        let (peer, _queues) = peer();
        let _appends = peer.attach(StreamKind::Append);
        let big = message(MessageKind::Append, limits::PEER_STREAM_BYTES_MAX / 2);
        assert_eq!((peer.send(big.clone()), peer.send(big.clone())), (Ok(()), Ok(())));
        assert_eq!(peer.send(message(MessageKind::Append, 1)), Err(NotQueued));
        assert_eq!(peer.counts.sent_failures.get(), 1);
        let _messages = peer.attach(StreamKind::Message);
        let sent = (0..).take_while(|_| peer.send(message(MessageKind::Heartbeat, 0)).is_ok()).count();
        assert_eq!(sent, limits::PEER_STREAM_MESSAGES_MAX);
    }

    #[test]
    fn a_member_that_comes_and_goes_is_counted() {
        let (peer, _queues) = peer();
        let counted = || (peer.counts.active.get(), peer.counts.disconnected.get());
        peer.is_lost(&"never there");
        assert_eq!(counted(), (0, 0));
        peer.is_heard();
        peer.is_heard();
        assert_eq!(counted(), (1, 0));
        peer.is_lost(&"gone");
        peer.is_lost(&"still gone");
        assert_eq!(counted(), (0, 1));
    }

    #[test]
    fn a_url_that_fails_is_passed_over_once() {
        let (peer, _queues) = peer();
        let first = peer.url().unwrap();
        peer.pass_over(&first);
        peer.pass_over(&first);
        assert_ne!(peer.url(), Some(first.clone()));
        peer.pass_over(&peer.url().unwrap());
        assert_eq!(peer.url(), Some(first));
    }
}
