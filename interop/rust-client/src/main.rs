//! Functional suite of the crate `etcd-client` against one endpoint.
//!
//! `ENDPOINT` names it (host:port). Prints a line a check and `N passed, N failed` at the end. What a server older than
//! 3.7 does not have is not counted.

use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Client, CompactionOptions, Compare, CompareOp, DeleteOptions,
    Error, EventType, GetOptions, LeaseTimeToLiveOptions, LockOptions, ProclaimOptions, PutOptions,
    ResignOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, WatchFilterType, WatchOptions,
};
use std::{env, error, fmt::Debug, future::Future, process::ExitCode, time::Duration};

type Result<T = ()> = std::result::Result<T, Box<dyn error::Error>>;

/// How long a check may take: the machine can be slow.
const PATIENCE: Duration = Duration::from_secs(120);

fn equal<T: PartialEq<U> + Debug, U: Debug>(what: &str, got: T, want: U) -> Result {
    if got == want { Ok(()) } else { Err(format!("{what}: got {got:?}, want {want:?}").into()) }
}

fn some<T>(what: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| format!("{what}: none").into())
}

fn refused<T>(what: &str, result: std::result::Result<T, Error>, text: &str) -> Result {
    match result {
        Err(Error::GRpcStatus(status)) => equal(what, status.message(), text),
        Err(other) => Err(format!("{what}: {other}").into()),
        Ok(_) => Err(format!("{what}: accepted").into()),
    }
}

async fn put_get(mut client: Client) -> Result {
    client.put("rust/put/a", "1", None).await?;
    let again = client.put("rust/put/a", "2", Some(PutOptions::new().with_prev_key())).await?;
    equal("previous", some("prev", again.prev_key())?.value(), b"1")?;
    client.put("rust/put/b", "3", None).await?;
    let get = client.get("rust/put/", Some(GetOptions::new().with_prefix().with_limit(1))).await?;
    equal("count", get.count(), 2)?;
    equal("more", get.more(), true)?;
    equal("version", get.kvs()[0].version(), 2)?;
    let sort = GetOptions::new().with_prefix().with_sort(SortTarget::Key, SortOrder::Descend);
    equal("last", client.get("rust/put/", Some(sort)).await?.kvs()[0].value(), b"3")?;
    let count = client.get("rust/put/", Some(GetOptions::new().with_prefix().with_count_only())).await?;
    equal("pairs", count.kvs().len(), 0)?;
    let keys = client.get("rust/put/", Some(GetOptions::new().with_prefix().with_keys_only())).await?;
    equal("value", keys.kvs()[1].value(), b"")?;
    let del = client.delete("rust/put/", Some(DeleteOptions::new().with_prefix().with_prev_key())).await?;
    equal("deleted", del.deleted(), 2)?;
    equal("previous", del.prev_kvs()[1].value(), b"3")?;
    equal("count", client.get("rust/put/a", None).await?.count(), 0)
}

async fn errors(mut client: Client) -> Result {
    refused("empty key", client.put("", "1", None).await, "etcdserver: key is not provided")?;
    let lease = PutOptions::new().with_lease(4711);
    refused("lease", client.put("rust/e", "1", Some(lease)).await, "etcdserver: requested lease not found")?;
    let future = GetOptions::new().with_revision(1 << 40);
    let text = "etcdserver: mvcc: required revision is a future revision";
    refused("future", client.get("rust/e", Some(future)).await, text)?;
    let large = vec![b'v'; 1_600_000];
    refused("large", client.put("rust/e", large, None).await, "etcdserver: request is too large")?;
    let twice = Txn::new().and_then([TxnOp::put("rust/e", "1", None), TxnOp::put("rust/e", "2", None)]);
    refused("twice", client.txn(twice).await, "etcdserver: duplicate key given in txn request")
}

async fn txn(mut client: Client) -> Result {
    client.put("rust/txn/a", "1", None).await?;
    let txn = Txn::new()
        .when([
            Compare::value("rust/txn/a", CompareOp::Equal, "1"),
            Compare::version("rust/txn/a", CompareOp::Greater, 0),
            Compare::mod_revision("rust/txn/none", CompareOp::Equal, 0),
        ])
        .and_then([
            TxnOp::put("rust/txn/a", "2", Some(PutOptions::new().with_prev_key())),
            TxnOp::get("rust/txn/a", None),
            TxnOp::txn(Txn::new().and_then([TxnOp::put("rust/txn/b", "3", None)])),
        ])
        .or_else([TxnOp::get("rust/txn/a", None)]);
    let answer = client.txn(txn.clone()).await?;
    equal("succeeded", answer.succeeded(), true)?;
    match &answer.op_responses()[..] {
        [TxnOpResponse::Put(put), TxnOpResponse::Get(get), TxnOpResponse::Txn(nested)] => {
            equal("previous", some("prev", put.prev_key())?.value(), b"1")?;
            equal("sees the put", get.kvs()[0].value(), b"2")?;
            equal("nested", nested.succeeded(), true)?;
        }
        other => return Err(format!("answers: {other:?}").into()),
    }
    let answer = client.txn(txn).await?;
    equal("again", answer.succeeded(), false)
}

async fn compact(mut client: Client) -> Result {
    client.put("rust/compact", "1", None).await?;
    let revision = some("header", client.put("rust/compact", "2", None).await?.header())?.revision();
    client.compact(revision, Some(CompactionOptions::new().with_physical())).await?;
    let old = GetOptions::new().with_revision(revision - 1);
    let text = "etcdserver: mvcc: required revision has been compacted";
    refused("old", client.get("rust/compact", Some(old)).await, text)?;
    refused("again", client.compact(revision, None).await, text)
}

async fn watch(mut client: Client) -> Result {
    let options = WatchOptions::new().with_prefix().with_prev_key();
    let mut stream = client.watch("rust/watch/", Some(options)).await?;
    let created = some("created", stream.message().await?)?;
    equal("created", created.created(), true)?;
    let put = client.put("rust/watch/a", "1", None).await?;
    client.delete("rust/watch/a", None).await?;
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        let answer = some("events", stream.message().await?)?;
        kinds.extend(answer.events().iter().map(|event| (event.event_type(), event.prev_kv().is_some())));
    }
    equal("events", kinds, vec![(EventType::Put, false), (EventType::Delete, true)])?;
    stream.request_progress().await?;
    let progress = some("progress", stream.message().await?)?;
    equal("no events", progress.events().len(), 0)?;
    stream.cancel(created.watch_id()).await?;
    equal("canceled", some("cancel", stream.message().await?)?.canceled(), true)?;

    let revision = some("header", put.header())?.revision();
    let options = WatchOptions::new().with_prefix().with_start_revision(revision);
    let options = options.with_filters([WatchFilterType::NoPut]);
    let mut past = client.watch("rust/watch/", Some(options)).await?;
    past.message().await?;
    let answer = some("history", past.message().await?)?;
    equal("filtered", answer.events().len(), 1)?;
    equal("deleted", answer.events()[0].event_type(), EventType::Delete)
}

async fn lease(mut client: Client) -> Result {
    let grant = client.lease_grant(60, None).await?;
    let id = grant.id();
    client.put("rust/lease", "1", Some(PutOptions::new().with_lease(id))).await?;
    let (mut keeper, mut stream) = client.lease_keep_alive(id).await?;
    keeper.keep_alive().await?;
    equal("ttl", some("keepalive", stream.message().await?)?.ttl(), 60)?;
    let left = client.lease_time_to_live(id, Some(LeaseTimeToLiveOptions::new().with_keys())).await?;
    equal("keys", left.keys(), [b"rust/lease".to_vec()])?;
    let listed = client.leases().await?.leases().iter().any(|lease| lease.id() == id);
    equal("listed", listed, true)?;
    client.lease_revoke(id).await?;
    equal("count", client.get("rust/lease", None).await?.count(), 0)?;
    equal("refused", client.lease_keep_alive(id).await.is_err(), true)
}

async fn lock_and_election(mut client: Client) -> Result {
    let lease = client.lease_grant(60, None).await?.id();
    let lock = client.lock("rust/lock", Some(LockOptions::new().with_lease(lease))).await?;
    equal("key", lock.key(), format!("rust/lock/{lease:x}").as_bytes())?;
    client.unlock(lock.key()).await?;
    let campaign = client.campaign("rust/election", "one", lease).await?;
    let leader = some("leader", campaign.leader())?.clone();
    client.proclaim("two", Some(ProclaimOptions::new().with_leader(leader.clone()))).await?;
    let mut observed = client.observe("rust/election").await?;
    let seen = some("observed", observed.message().await?)?;
    equal("value", some("kv", seen.kv())?.value(), b"two")?;
    equal("leader", some("kv", client.leader("rust/election").await?.kv())?.value(), b"two")?;
    client.resign(Some(ResignOptions::new().with_leader(leader))).await?;
    refused("no leader", client.leader("rust/election").await, "election: no leader")
}

async fn maintenance(mut client: Client) -> Result {
    let status = client.status().await?;
    equal("is leader", status.leader(), some("header", status.header())?.member_id())?;
    let member = status.leader();
    let mut alarm = AlarmOptions::new();
    alarm.with_member(member);
    client.alarm(AlarmAction::Activate, AlarmType::Nospace, Some(alarm.clone())).await?;
    let text = "etcdserver: mvcc: database space exceeded";
    refused("alarm", client.put("rust/alarm", "1", None).await, text)?;
    equal("alarms", client.alarm(AlarmAction::Get, AlarmType::Nospace, None).await?.alarms().len(), 1)?;
    client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(alarm)).await?;
    client.put("rust/alarm", "1", None).await?;
    client.defragment().await?;
    equal("hash", client.hash_kv(0).await?.hash() == 0, false)?;
    client.hash().await?;
    let mut snapshot = client.snapshot().await?;
    let (mut bytes, mut left) = (0_u64, u64::MAX);
    while let Some(part) = snapshot.message().await? {
        bytes += part.blob().len() as u64;
        left = part.remaining_bytes();
    }
    equal("left", left, 0)?;
    equal("checksum at the end", bytes % 512, 32)
}

async fn members(mut client: Client) -> Result {
    let list = client.member_list().await?;
    equal("members", list.members().len(), 1)?;
    equal("named", list.members()[0].name(), "default")?;
    refused("leader", client.move_leader(4711).await, "etcdserver: bad leader transferee")
}

/// RangeStream, from etcd 3.7 on.
async fn range_stream(client: Client) -> Result {
    let mut kv = client.kv_client();
    for number in 0..100 {
        kv.put(format!("rust/stream/{number:03}"), "v", None).await?;
    }
    let mut stream = match kv.get_stream("rust/stream/", Some(GetOptions::new().with_prefix())).await {
        Err(Error::GRpcStatus(status)) if status.message().contains("unknown method") => return Ok(()),
        other => other?,
    };
    let (mut pairs, mut count) = (0, 0);
    loop {
        match stream.message().await {
            Ok(Some(part)) => {
                pairs += part.kvs().len();
                count = part.count();
            }
            Ok(None) => break,
            Err(Error::GRpcStatus(status)) if status.message().contains("unknown method") => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    equal("pairs", pairs, 100)?;
    equal("count", count, 100)
}

struct Tally {
    endpoint: String,
    passed: u32,
    failed: u32,
}

impl Tally {
    async fn run<F: Future<Output = Result>>(&mut self, name: &str, check: impl FnOnce(Client) -> F) {
        let all = async { check(Client::connect([&self.endpoint], None).await?).await };
        let result = match tokio::time::timeout(PATIENCE, all).await {
            Ok(result) => result,
            Err(_) => Err(format!("it is not over within {PATIENCE:?}").into()),
        };
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("passed  {name}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {name}: {error}");
            }
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Ok(endpoint) = env::var("ENDPOINT") else {
        println!("ENDPOINT=host:port is missing");
        return ExitCode::from(2);
    };
    let mut tally = Tally { endpoint, passed: 0, failed: 0 };
    tally.run("put-get", put_get).await;
    tally.run("errors", errors).await;
    tally.run("txn", txn).await;
    tally.run("compact", compact).await;
    tally.run("watch", watch).await;
    tally.run("lease", lease).await;
    tally.run("lock-and-election", lock_and_election).await;
    tally.run("maintenance", maintenance).await;
    tally.run("members", members).await;
    tally.run("range-stream", range_stream).await;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
