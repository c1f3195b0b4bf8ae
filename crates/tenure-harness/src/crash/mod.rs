//! Kills a server under load at random moments, and looks after every restart for what was promised and is not there.
//!
//! Several clients write to keys of their own, each with one request under way. What was acknowledged has a revision and
//! must be in the history at exactly that revision; what was under way when the server died may be there or not, once; anything
//! else in the history was invented. State, versions, leases and compactions must follow from that history.

mod client;
mod model;

use crate::{PATIENCE, process::Server};
use anyhow::{Context, Result, ensure};
use client::Client;
use model::{Change, Model};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{collections::BTreeMap, path::Path, time::Duration};
use tenure_api::etcdserverpb as pb;
use tonic::transport::Channel;

/// What a run of rounds is made with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seed of the requests and of the moments of death.
    pub seed: u64,
    /// How often the server is killed.
    pub rounds: u32,
    /// Clients that write at the same time.
    pub clients: u32,
    /// The longest time under load before a kill.
    pub load_max: Duration,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Writes, leases and compactions that were acknowledged, all of them found again.
    pub acknowledged: u64,
    /// Requests that were under way at a kill.
    pub under_way: u64,
    /// How many of those had been carried out.
    pub under_way_done: u64,
    /// The revision at the end.
    pub revision: i64,
}

/// What one request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Puts and deletes in one revision. A change of no key makes no revision.
    Write(Vec<Change>),
    Compact(i64),
    Grant(i64),
    /// With the changes that it makes: the deletion of the keys attached.
    Revoke(i64, Vec<Change>),
}

/// An answered request, and the revision of the answer's header.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub operation: Operation,
    pub revision: i64,
}

/// Starts `program` on a data directory below `directory` and kills it `plan.rounds` times.
///
/// # Errors
/// The server does not start again, or something acknowledged is missing, twice there, or changed. The message names seed and
/// round.
pub async fn run(program: &Path, directory: &Path, flags: &[String], plan: &Plan) -> Result<Report> {
    let mut random = SmallRng::seed_from_u64(plan.seed);
    let mut server = Server::start(program, &directory.join("data"), flags).await?;
    let mut model = Model::default();
    let mut report = Report::default();
    for round in 0..plan.rounds {
        let in_round = || format!("seed {}, round {round}", plan.seed);
        let load = Duration::from_micros(random.random_range(0..=plan.load_max.as_micros() as u64));
        let (done, open) =
            load_and_kill(&mut server, &model, plan, random.random(), load).await.with_context(in_round)?;
        server.start_again().await.with_context(in_round)?;
        report.acknowledged += done.len() as u64;
        report.under_way += open.len() as u64;
        let channel = server.channel().await?;
        report.under_way_done +=
            absorb(&mut model, channel.clone(), done, open).await.with_context(in_round)?;
        check(&model, channel, &mut random).await.with_context(in_round)?;
    }
    report.revision = model.revision();
    Ok(report)
}

async fn load_and_kill(
    server: &mut Server,
    model: &Model,
    plan: &Plan,
    seed: u64,
    load: Duration,
) -> Result<(Vec<Acknowledged>, Vec<Operation>)> {
    let mut tasks = Vec::new();
    for number in 0..plan.clients {
        let channel = server.channel().await?;
        let client =
            Client::new(number, model.clone(), channel, SmallRng::seed_from_u64(seed ^ u64::from(number)));
        tasks.push(tokio::spawn(client.run()));
    }
    tokio::time::sleep(load).await;
    server.kill()?;
    let (mut done, mut open) = (Vec::new(), Vec::new());
    for task in tasks {
        let (acknowledged, under_way) = task.await??;
        done.extend(acknowledged);
        open.extend(under_way);
    }
    Ok((done, open))
}

/// Takes what the history says happened into the model; returns how many of the requests under way had been carried out.
async fn absorb(
    model: &mut Model,
    channel: Channel,
    done: Vec<Acknowledged>,
    mut open: Vec<Operation>,
) -> Result<u64> {
    // A compaction that was asked for may have removed what is before it; all of them are behind the known history.
    let asked = done.iter().map(|acknowledged| &acknowledged.operation).chain(&open);
    let compactions = asked.filter_map(|operation| match operation {
        Operation::Compact(revision) => Some(*revision),
        Operation::Write(_) | Operation::Grant(_) | Operation::Revoke(..) => None,
    });
    let from = compactions.max().unwrap_or_default().max(model.compacted()) + 1;
    let history = history(channel.clone(), from).await?;
    model.same_past(from, &history)?;
    let mut promised = promised(model, &done)?;
    let mut carried_out = Vec::new();
    for (&revision, changes) in history.range(model.revision() + 1..) {
        ensure!(revision == model.revision() + 1, "revision {} has no event", model.revision() + 1);
        match promised.remove(&revision) {
            Some(expected) => ensure!(
                &expected == changes,
                "revision {revision} was acknowledged for {expected:?} and holds {changes:?}"
            ),
            None => {
                let place = open.iter().position(|operation| operation.changes() == Some(changes));
                let place =
                    place.with_context(|| format!("revision {revision} was never asked for: {changes:?}"))?;
                carried_out.push(open.swap_remove(place));
            }
        }
        model.append(revision, changes.clone());
    }
    ensure!(promised.is_empty(), "acknowledged and not there: {promised:?}");
    for acknowledged in done {
        match acknowledged.operation {
            Operation::Grant(lease) => model.add_lease(lease),
            Operation::Revoke(lease, _) => model.forget_lease(lease),
            Operation::Compact(revision) => model.compact(revision),
            Operation::Write(_) => {}
        }
    }
    // After what was acknowledged: a lease that was granted in this round may have been under way to its end.
    for operation in &carried_out {
        if let Operation::Revoke(lease, _) = operation {
            model.forget_lease(*lease);
        }
    }
    Ok(carried_out.len() as u64 + absorb_open(model, channel, open).await?)
}

/// Which revision must hold what. No two acknowledgements may name the same revision.
fn promised(model: &Model, done: &[Acknowledged]) -> Result<BTreeMap<i64, Vec<Change>>> {
    let mut promised = BTreeMap::new();
    for acknowledged in done {
        let Some(changes) = acknowledged.operation.changes() else { continue };
        let revision = acknowledged.revision;
        ensure!(revision > model.revision(), "revision {revision} was given out again, for {changes:?}");
        let before = promised.insert(revision, changes.clone());
        ensure!(before.is_none(), "revision {revision} was acknowledged twice: {before:?} and {changes:?}");
    }
    Ok(promised)
}

/// Requests under way that make no revision: the server tells whether they were carried out.
async fn absorb_open(model: &mut Model, channel: Channel, open: Vec<Operation>) -> Result<u64> {
    let leases = leases(channel.clone()).await?;
    let mut found = 0;
    for operation in open {
        match operation {
            Operation::Grant(lease) if leases.contains(&lease) => {
                model.add_lease(lease);
                found += 1;
            }
            // Without keys it makes no revision.
            Operation::Revoke(lease, changes) if changes.is_empty() && !leases.contains(&lease) => {
                model.forget_lease(lease);
                found += 1;
            }
            Operation::Compact(revision)
                if revision > model.compacted() && is_compacted(&channel, revision - 1).await? =>
            {
                model.compact(revision);
                found += 1;
            }
            Operation::Grant(_) | Operation::Revoke(..) | Operation::Compact(_) | Operation::Write(_) => {}
        }
    }
    Ok(found)
}

/// State, past states, leases and compaction must be those of the model.
async fn check(model: &Model, channel: Channel, random: &mut SmallRng) -> Result<()> {
    let middle = random.random_range(model.compacted().max(1)..=model.revision());
    for revision in [model.revision(), middle, model.compacted().max(1)] {
        let state = state(&channel, revision).await.with_context(|| format!("the state at {revision}"))?;
        model.same_state(revision, &state)?;
    }
    if model.compacted() > 1 {
        ensure!(
            is_compacted(&channel, model.compacted() - 1).await?,
            "the compaction at {} was acknowledged and is forgotten",
            model.compacted()
        );
    }
    let leases = leases(channel.clone()).await?;
    ensure!(leases == model.leases(), "leases are {leases:?}, should be {:?}", model.leases());
    let mut client = pb::lease_client::LeaseClient::new(channel);
    for lease in leases {
        let request = pb::LeaseTimeToLiveRequest { id: lease, keys: true };
        let mut answer = client.lease_time_to_live(request).await?.into_inner();
        answer.keys.sort();
        ensure!(answer.granted_ttl == client::TTL && answer.ttl > 0, "lease {lease} has {answer:?}");
        let keys = model.attached(lease);
        ensure!(answer.keys == keys, "lease {lease} has {:?}, should have {keys:?}", answer.keys);
    }
    Ok(())
}

async fn leases(channel: Channel) -> Result<Vec<i64>> {
    let mut client = pb::lease_client::LeaseClient::new(channel);
    let answer = client.lease_leases(pb::LeaseLeasesRequest {}).await?.into_inner();
    let mut leases: Vec<i64> = answer.leases.iter().map(|lease| lease.id).collect();
    leases.sort_unstable();
    Ok(leases)
}

async fn is_compacted(channel: &Channel, revision: i64) -> Result<bool> {
    let mut kv = pb::kv_client::KvClient::new(channel.clone());
    match kv.range(pb::RangeRequest { key: "x".into(), revision, ..Default::default() }).await {
        Ok(_) => Ok(false),
        Err(status) => {
            ensure!(status.code() == tonic::Code::OutOfRange, "a range at {revision}: {status}");
            Ok(true)
        }
    }
}

async fn state(channel: &Channel, revision: i64) -> Result<Vec<tenure_api::mvccpb::KeyValue>> {
    let mut kv = pb::kv_client::KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
    let request =
        pb::RangeRequest { key: "\0".into(), range_end: "\0".into(), revision, ..Default::default() };
    Ok(kv.range(request).await?.into_inner().kvs)
}

/// Everything from a revision on, by revision.
async fn history(channel: Channel, from: i64) -> Result<BTreeMap<i64, Vec<Change>>> {
    let mut kv = pb::kv_client::KvClient::new(channel.clone());
    let range = pb::RangeRequest { key: "\0".into(), ..Default::default() };
    let current = kv.range(range).await?.into_inner().header.context("a header")?.revision;
    let mut history: BTreeMap<i64, Vec<Change>> = BTreeMap::new();
    if current < from {
        return Ok(history);
    }
    let create = pb::WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        start_revision: from,
        ..Default::default()
    };
    let union = pb::watch_request::RequestUnion::CreateRequest(create);
    let requests = tokio_stream::iter([pb::WatchRequest { request_union: Some(union) }]);
    let mut watch = pb::watch_client::WatchClient::new(channel).max_decoding_message_size(usize::MAX);
    let requests = futures::StreamExt::chain(requests, tokio_stream::pending());
    let mut answers = watch.watch(requests).await?.into_inner();
    while history.last_key_value().is_none_or(|(&revision, _)| revision < current) {
        let answer = tokio::time::timeout(PATIENCE, answers.message()).await;
        let answer = answer.context("the history stops")??.context("the history ends")?;
        ensure!(!answer.canceled, "the history from {from} is refused: {answer:?}");
        for event in answer.events {
            let is_put = event.r#type() == tenure_api::mvccpb::event::EventType::Put;
            let pair = event.kv.context("an event has a pair")?;
            let last = history.last_key_value().map_or(0, |(&revision, _)| revision);
            ensure!(pair.mod_revision >= last, "revision {} comes after {last}", pair.mod_revision);
            let value = is_put.then_some(pair.value);
            history.entry(pair.mod_revision).or_default().push(Change {
                key: pair.key,
                value,
                lease: pair.lease,
            });
        }
    }
    Ok(history)
}

impl Operation {
    /// The changes of a request that makes a revision.
    fn changes(&self) -> Option<&Vec<Change>> {
        match self {
            Operation::Write(changes) | Operation::Revoke(_, changes) if !changes.is_empty() => Some(changes),
            Operation::Write(_) | Operation::Revoke(..) | Operation::Compact(_) | Operation::Grant(_) => None,
        }
    }
}
