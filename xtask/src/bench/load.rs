//! Clients that send prepared requests as fast as they are answered.

use super::histogram::Histogram;
use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::try_join_all;
use prost::Message;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};
use tenure_api::etcdserverpb as pb;
use tenure_harness::rpc::BytesCodec;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Puts over the whole keyspace.
    Put,
    /// Linearizable gets of one key.
    Get,
    /// Serializable gets of one key.
    GetSerializable,
    /// Ranges over all keys with a limit of 500.
    Range,
    /// A compare and a put.
    Txn,
    /// Grant and revoke, two operations.
    Lease,
    /// Keepalives, one stream a client.
    Keepalive,
    /// Watchers of one key; an operation is an event delivered.
    Watch,
    /// Nine gets to one put.
    Mixed,
}

const NAMES: [(Work, &str); 9] = [
    (Work::Put, "put"),
    (Work::Get, "get"),
    (Work::GetSerializable, "get-serializable"),
    (Work::Range, "range"),
    (Work::Txn, "txn"),
    (Work::Lease, "lease"),
    (Work::Keepalive, "keepalive"),
    (Work::Watch, "watch"),
    (Work::Mixed, "mixed"),
];

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(work, _)| work == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for Work {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(work, _)| *work).with_context(|| format!("{name}: no such work"))
    }
}

/// How much of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Clients, each with one request under way.
    pub clients: usize,
    /// Connections that they share.
    pub connections: usize,
    /// Bytes of every value.
    pub value_bytes: usize,
    /// Time that is measured, after a second that is not.
    pub window: Duration,
    /// Keys that gets and puts spread over.
    pub keys: u64,
    /// Watchers, on one stream a connection.
    pub watchers: usize,
    /// The token of a user, if the server asks who asks.
    pub token: Option<String>,
}

/// What was done in the window.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Operations answered.
    pub operations: u64,
    /// Their latencies.
    pub latencies: Histogram,
}

/// 0 is the time before.
const MEASURE: u8 = 1;
const STOP: u8 = 2;

/// Phases that all clients see.
#[derive(Clone, Debug, Default)]
pub struct Phase(Arc<AtomicU8>);

impl Phase {
    fn is(&self, phase: u8) -> bool {
        self.0.load(Ordering::Relaxed) == phase
    }

    /// The window begins.
    pub fn measure(&self) {
        self.0.store(MEASURE, Ordering::Relaxed);
    }

    /// The window ends.
    pub fn stop(&self) {
        self.0.store(STOP, Ordering::Relaxed);
    }
}

/// Opens the connections, spread over the members.
///
/// # Errors
/// Nobody listens.
pub async fn connect(urls: &[String], connections: usize) -> Result<Vec<Channel>> {
    // As many to each as to the next.
    let connections = connections.next_multiple_of(urls.len());
    try_join_all((0..connections).map(|number| async move {
        let endpoint = Endpoint::from_shared(urls[number % urls.len()].clone())?
            .tcp_nodelay(true)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20);
        Ok(endpoint.connect().await?)
    }))
    .await
}

/// Runs all clients until [`Phase::stop`].
///
/// # Errors
/// A request is refused.
pub async fn run(work: Work, channels: Vec<Channel>, plan: Plan, phase: Phase) -> Result<Done> {
    if work == Work::Watch {
        return watch(channels, &plan, &phase).await;
    }
    let clients = (0..plan.clients).map(|number| {
        let client = Client {
            grpc: Grpc::new(channels[number % channels.len()].clone()).max_decoding_message_size(usize::MAX),
            random: SmallRng::seed_from_u64(number as u64),
            plan: plan.clone(),
            phase: phase.clone(),
            done: Done::default(),
        };
        tokio::spawn(client.run(work))
    });
    let mut all = Done::default();
    for result in try_join_all(clients).await? {
        let done = result?;
        all.operations += done.operations;
        all.latencies.merge(&done.latencies);
    }
    Ok(all)
}

/// The key of a number: constant length, in order.
#[must_use]
pub fn key(number: u64) -> Bytes {
    format!("bench/{number:010}").into()
}

fn put(number: u64, value_bytes: usize) -> pb::PutRequest {
    pb::PutRequest { key: key(number), value: vec![b'v'; value_bytes].into(), ..Default::default() }
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn path(path: &'static str) -> http::uri::PathAndQuery {
    http::uri::PathAndQuery::from_static(path)
}

/// A request as the user of a token.
pub fn request<T>(message: T, token: Option<&str>) -> Result<Request<T>> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("token", token.parse()?);
    }
    Ok(request)
}

struct Client {
    grpc: Grpc<Channel>,
    random: SmallRng,
    plan: Plan,
    phase: Phase,
    done: Done,
}

impl Client {
    async fn run(mut self, work: Work) -> Result<Done> {
        if work == Work::Keepalive {
            return self.keepalive().await;
        }
        while !self.phase.is(STOP) {
            let number = self.random.random_range(0..self.plan.keys);
            match work {
                Work::Put => self.put(number).await?,
                Work::Get => self.get(number, false).await?,
                Work::GetSerializable => self.get(number, true).await?,
                Work::Range => self.range().await?,
                Work::Txn => self.txn(number).await?,
                Work::Lease => self.lease().await?,
                Work::Mixed if self.random.random_range(0..10) == 0 => self.put(number).await?,
                Work::Mixed => self.get(number, false).await?,
                Work::Keepalive | Work::Watch => {}
            }
        }
        Ok(self.done)
    }

    async fn call(&mut self, to: &'static str, request: Bytes) -> Result<Bytes> {
        let started = Instant::now();
        self.grpc.ready().await?;
        let request = self::request(request, self.plan.token.as_deref())?;
        let answer = self.grpc.unary(request, path(to), BytesCodec).await?;
        self.count(started);
        Ok(answer.into_inner())
    }

    fn count(&mut self, started: Instant) {
        if self.phase.is(MEASURE) {
            self.done.operations += 1;
            self.done.latencies.record(started.elapsed());
        }
    }

    async fn put(&mut self, number: u64) -> Result<()> {
        let request = encoded(&put(number, self.plan.value_bytes));
        self.call("/etcdserverpb.KV/Put", request).await.map(drop)
    }

    async fn get(&mut self, number: u64, serializable: bool) -> Result<()> {
        let request = pb::RangeRequest { key: key(number), serializable, ..Default::default() };
        self.call("/etcdserverpb.KV/Range", encoded(&request)).await.map(drop)
    }

    async fn range(&mut self) -> Result<()> {
        let request = pb::RangeRequest {
            key: "bench/".into(),
            range_end: "bench0".into(),
            limit: 500,
            ..Default::default()
        };
        self.call("/etcdserverpb.KV/Range", encoded(&request)).await.map(drop)
    }

    async fn txn(&mut self, number: u64) -> Result<()> {
        let compare = pb::Compare {
            result: pb::compare::CompareResult::Greater.into(),
            target: pb::compare::CompareTarget::Mod.into(),
            key: key(number),
            target_union: Some(pb::compare::TargetUnion::ModRevision(0)),
            ..Default::default()
        };
        let put = put(number, self.plan.value_bytes);
        let operation = pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) };
        let request = pb::TxnRequest {
            compare: vec![compare],
            success: vec![operation.clone()],
            failure: vec![operation],
        };
        self.call("/etcdserverpb.KV/Txn", encoded(&request)).await.map(drop)
    }

    async fn lease(&mut self) -> Result<()> {
        let grant = pb::LeaseGrantRequest { ttl: 600, id: 0 };
        let answer = self.call("/etcdserverpb.Lease/LeaseGrant", encoded(&grant)).await?;
        let id = pb::LeaseGrantResponse::decode(answer)?.id;
        self.call("/etcdserverpb.Lease/LeaseRevoke", encoded(&pb::LeaseRevokeRequest { id })).await.map(drop)
    }

    async fn keepalive(mut self) -> Result<Done> {
        let grant = pb::LeaseGrantRequest { ttl: 600, id: 0 };
        let answer = self.call("/etcdserverpb.Lease/LeaseGrant", encoded(&grant)).await?;
        let id = pb::LeaseGrantResponse::decode(answer)?.id;
        let request = encoded(&pb::LeaseKeepAliveRequest { id });
        let (sender, receiver) = mpsc::channel(1);
        sender.send(request.clone()).await?;
        let requests = Request::new(ReceiverStream::new(receiver));
        let to = path("/etcdserverpb.Lease/LeaseKeepAlive");
        self.grpc.ready().await?;
        let mut answers = self.grpc.streaming(requests, to, BytesCodec).await?.into_inner();
        let mut started = Instant::now();
        while answers.message().await?.is_some() && !self.phase.is(STOP) {
            self.count(started);
            started = Instant::now();
            sender.send(request.clone()).await?;
        }
        Ok(self.done)
    }
}

/// One stream of a connection and the watchers on it.
struct Watchers {
    /// Kept so that the stream stays open.
    _requests: mpsc::Sender<Bytes>,
    answers: Streaming<Bytes>,
    count: usize,
}

impl Watchers {
    async fn open(channel: Channel, count: usize) -> Result<Self> {
        let (requests, receiver) = mpsc::channel(count + 1);
        let create = pb::WatchCreateRequest { key: "watched".into(), ..Default::default() };
        let union = pb::watch_request::RequestUnion::CreateRequest(create);
        let create = encoded(&pb::WatchRequest { request_union: Some(union) });
        for _ in 0..count {
            requests.send(create.clone()).await?;
        }
        let mut grpc = Grpc::new(channel).max_decoding_message_size(usize::MAX);
        grpc.ready().await?;
        let to = path("/etcdserverpb.Watch/Watch");
        let mut answers =
            grpc.streaming(Request::new(ReceiverStream::new(receiver)), to, BytesCodec).await?.into_inner();
        for _ in 0..count {
            answers.message().await?.context("a watcher is created")?;
        }
        Ok(Self { _requests: requests, answers, count })
    }

    /// Waits for one event of every watcher.
    async fn event(&mut self) -> Result<()> {
        for _ in 0..self.count {
            self.answers.message().await?.context("the stream goes on")?;
        }
        Ok(())
    }
}

/// Puts one key and waits for all watchers, again and again.
async fn watch(channels: Vec<Channel>, plan: &Plan, phase: &Phase) -> Result<Done> {
    let share = plan.watchers.div_ceil(channels.len());
    let mut streams =
        try_join_all(channels.iter().map(|channel| Watchers::open(channel.clone(), share))).await?;
    let watchers: usize = streams.iter().map(|stream| stream.count).sum();
    let mut grpc = Grpc::new(channels[0].clone());
    let request = pb::PutRequest {
        key: "watched".into(),
        value: vec![b'v'; plan.value_bytes].into(),
        ..Default::default()
    };
    let request = encoded(&request);
    let mut done = Done::default();
    while !phase.is(STOP) {
        let started = Instant::now();
        grpc.ready().await?;
        let put = self::request(request.clone(), plan.token.as_deref())?;
        grpc.unary(put, path("/etcdserverpb.KV/Put"), BytesCodec).await?;
        try_join_all(streams.iter_mut().map(Watchers::event)).await?;
        if phase.is(MEASURE) {
            done.operations += watchers as u64;
            done.latencies.record(started.elapsed());
        }
    }
    Ok(done)
}

/// Puts keys `0..count`, a hundred in a transaction.
///
/// # Errors
/// A request is refused.
pub async fn fill(urls: &[String], count: u64, value_bytes: usize, token: Option<&str>) -> Result<()> {
    const BATCH: u64 = 100;
    let channels = connect(urls, 4).await?;
    let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let clients = (0..32).map(|number| {
        let (channel, next) = (channels[number % channels.len()].clone(), Arc::clone(&next));
        let token = token.map(str::to_owned);
        tokio::spawn(async move {
            let mut grpc = Grpc::new(channel);
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if first >= count {
                    return Ok::<(), anyhow::Error>(());
                }
                let success = (first..count.min(first + BATCH))
                    .map(|number| pb::request_op::Request::RequestPut(put(number, value_bytes)))
                    .map(|request| pb::RequestOp { request: Some(request) })
                    .collect();
                let txn = encoded(&pb::TxnRequest { success, ..Default::default() });
                grpc.ready().await?;
                grpc.unary(request(txn, token.as_deref())?, path("/etcdserverpb.KV/Txn"), BytesCodec).await?;
            }
        })
    });
    for result in try_join_all(clients).await? {
        result?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_work_has_a_name_that_is_read_again() {
        for (work, name) in NAMES {
            assert_eq!(work.to_string(), name);
            assert_eq!(name.parse::<Work>().unwrap(), work);
        }
        assert!("nothing".parse::<Work>().is_err());
    }

    #[test]
    fn phases_follow_each_other() {
        let phase = Phase::default();
        assert!(!phase.is(MEASURE) && !phase.is(STOP));
        phase.measure();
        assert!(phase.is(MEASURE));
        phase.stop();
        assert!(phase.is(STOP));
    }
}
