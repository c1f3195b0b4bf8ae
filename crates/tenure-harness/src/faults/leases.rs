//! Clients that hold leases: each keeps one alive for a while, then lets it end or ends it.

use super::client::{Client, is_refusal, open_ended};
use super::load;
use rand::RngExt;
use std::time::Duration;
use tenure_api::etcdserverpb as pb;
use tenure_check::LeaseEvent;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Response;

/// The keys that hang on leases, each named after its own.
pub(super) const PREFIX: &str = "lease/";
/// Seconds that a lease lives.
const TTL_SECONDS_MIN: i64 = 5;
const TTL_SECONDS_MAX: i64 = 9;
/// The longest life as time.
pub(super) const TTL_MAX: Duration = Duration::from_secs(TTL_SECONDS_MAX as u64);

/// One lease after the other until it is told to stop.
pub(super) async fn run(mut client: Client, number: u32, stop: CancellationToken) {
    let mut count: i64 = 0;
    while !stop.is_cancelled() {
        count += 1;
        let id = (i64::from(number) + 1) << 32 | count;
        let ttl = client.random.random_range(TTL_SECONDS_MIN..=TTL_SECONDS_MAX);
        if grant(&mut client, id, ttl).await && attach(&mut client, id).await {
            let renewals = client.random.random_range(0..12);
            keep_alive(&mut client, id, renewals, &stop).await;
        }
        let pause = client.random.random_range(0..1_000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Whether the lease is there for sure.
async fn grant(client: &mut Client, id: i64, ttl: i64) -> bool {
    let called = client.record.time();
    let request = pb::LeaseGrantRequest { ttl, id };
    let call =
        |channel| async move { pb::lease_client::LeaseClient::new(channel).lease_grant(request).await };
    let (_, outcome) = client.call(call).await;
    let Ok(answer) = outcome else { return false };
    renewed(client, id, called, answer.ttl);
    true
}

fn renewed(client: &Client, id: i64, called: Duration, ttl: i64) {
    let (returned, ttl) = (client.record.time(), Duration::from_secs(ttl.unsigned_abs()));
    client.record.lease(id, LeaseEvent::Renewed { called, returned, ttl });
}

/// A lease that lives is not there, says a member.
fn missing(client: &Client, id: i64) {
    client.record.lease(id, LeaseEvent::Ended { at: client.record.time(), has_expired: true });
}

/// Puts the key whose deletion says that the lease has ended.
async fn attach(client: &mut Client, id: i64) -> bool {
    let (called, request) = (client.record.moment(), client.record.id());
    let value = load::value(client, request);
    let put = pb::PutRequest { key: format!("{PREFIX}{id}").into(), value, lease: id, ..Default::default() };
    let call = |channel| async move { pb::kv_client::KvClient::new(channel).put(put).await };
    let (_, outcome) = client.call(call).await;
    if outcome.as_ref().is_err_and(is_refusal) {
        missing(client, id);
    }
    load::note_write(client, called, request, &outcome.map(|answer| answer.header)).is_some()
}

async fn keep_alive(client: &mut Client, id: i64, renewals: u32, stop: &CancellationToken) {
    for _ in 0..renewals {
        let pause = client.random.random_range(500..2_500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if stop.is_cancelled() {
            return;
        }
        let called = client.record.time();
        let call = |channel| async move {
            let (requests, sent) = mpsc::channel(1);
            // There is room for one.
            requests.try_send(pb::LeaseKeepAliveRequest { id }).ok();
            let mut client = pb::lease_client::LeaseClient::new(channel);
            let mut answers = client.lease_keep_alive(open_ended(sent)).await?.into_inner();
            let answer = answers.message().await?;
            answer.map(Response::new).ok_or_else(|| tonic::Status::unavailable("the stream ended"))
        };
        match client.call(call).await.1 {
            Ok(answer) if answer.ttl > 0 => renewed(client, id, called, answer.ttl),
            Ok(_) => return missing(client, id),
            Err(_) => {}
        }
    }
    if client.random.random_range(0..3) == 0 {
        // From now on it may end at any time.
        client.record.lease(id, LeaseEvent::Ended { at: client.record.time(), has_expired: false });
        let request = pb::LeaseRevokeRequest { id };
        let call =
            |channel| async move { pb::lease_client::LeaseClient::new(channel).lease_revoke(request).await };
        // It ends by itself if this is not heard.
        client.call(call).await.1.ok();
    }
}
