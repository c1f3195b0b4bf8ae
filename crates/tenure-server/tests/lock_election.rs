//! The Lock and Election services over a member in memory.

use tenure_api::{
    etcdserverpb::{
        DeleteRangeRequest, LeaseGrantRequest, LeaseLeasesRequest, LeaseRevokeRequest,
        LeaseTimeToLiveRequest, RangeRequest, RangeResponse, kv_client::KvClient, lease_client::LeaseClient,
    },
    v3electionpb::{
        CampaignRequest, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ResignRequest,
        election_client::ElectionClient,
    },
    v3lockpb::{LockRequest, UnlockRequest, lock_client::LockClient},
};
use tenure_harness::PATIENCE;
use tenure_server::{Server, config::ServerConfig};
use tokio::task::JoinHandle;
use tonic::{Code, Status, Streaming, transport::Channel};

struct Fixture {
    server: Server,
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
    lock: LockClient<Channel>,
    election: ElectionClient<Channel>,
}

impl Fixture {
    async fn start() -> Self {
        let config = ServerConfig::in_memory().without_listeners();
        let server = Server::start(config).await.expect("a member in memory starts");
        let channel = server.channel();
        Fixture {
            kv: KvClient::new(channel.clone()),
            lease: LeaseClient::new(channel.clone()),
            lock: LockClient::new(channel.clone()),
            election: ElectionClient::new(channel),
            server,
        }
    }

    async fn grant(&self, id: i64) {
        let request = LeaseGrantRequest { ttl: 1000, id };
        self.lease.clone().lease_grant(request).await.expect("granted");
    }

    async fn keys(&self, prefix: &'static str) -> RangeResponse {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().expect("not empty") += 1;
        let request = RangeRequest { key: prefix.into(), range_end: end.into(), ..Default::default() };
        self.kv.clone().range(request).await.expect("read").into_inner()
    }

    /// Waits until so many keys have the prefix.
    async fn until_keys(&self, prefix: &'static str, count: usize) {
        let wait = async { while self.keys(prefix).await.kvs.len() != count {} };
        tokio::time::timeout(PATIENCE, wait).await.expect("the keys come and go");
    }

    /// Asks for a lock in a task of its own; answers its key.
    fn spawn_lock(&self, name: &'static str, lease: i64) -> JoinHandle<Result<String, Status>> {
        let mut lock = self.lock.clone();
        tokio::spawn(async move {
            let response = lock.lock(LockRequest { name: name.into(), lease }).await?;
            Ok(String::from_utf8_lossy(&response.into_inner().key).into_owned())
        })
    }

    async fn unlock(&self, key: &'static str) {
        self.lock.clone().unlock(UnlockRequest { key: key.into() }).await.expect("unlocked");
    }

    async fn stop(self) {
        self.server.shutdown().await.expect("stopped");
    }
}

async fn soon<T>(task: JoinHandle<T>) -> T {
    tokio::time::timeout(PATIENCE, task).await.expect("it is answered").expect("it does not panic")
}

/// The next value that an observer is told, and the revision.
async fn told(stream: &mut Streaming<LeaderResponse>) -> (String, i64) {
    let next = tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time");
    let told = next.expect("goes on").expect("goes on");
    let value = told.kv.expect("a leader has a key").value;
    (String::from_utf8_lossy(&value).into_owned(), told.header.expect("a header").revision)
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T, Status>) -> (Code, String) {
    let status = outcome.expect_err("refused");
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn a_lock_goes_from_one_to_the_next_in_the_order_of_asking() {
    let fixture = Fixture::start().await;
    for id in 1..=3 {
        fixture.grant(id).await;
    }
    assert_eq!(soon(fixture.spawn_lock("l", 1)).await.expect("free"), "l/1");
    // A higher lease id asks first.
    let third = fixture.spawn_lock("l", 3);
    fixture.until_keys("l/", 2).await;
    let second = fixture.spawn_lock("l", 2);
    fixture.until_keys("l/", 3).await;
    assert!(!second.is_finished() && !third.is_finished());

    fixture.unlock("l/1").await;
    assert_eq!(soon(third).await.expect("next in line"), "l/3");
    assert!(!second.is_finished());
    fixture.unlock("l/3").await;
    assert_eq!(soon(second).await.expect("last in line"), "l/2");
    fixture.stop().await;
}

#[tokio::test]
async fn who_waits_is_not_woken_by_a_name_that_only_begins_alike() {
    let fixture = Fixture::start().await;
    fixture.grant(1).await;
    fixture.grant(2).await;
    assert_eq!(soon(fixture.spawn_lock("l", 1)).await.expect("free"), "l/1");
    assert_eq!(soon(fixture.spawn_lock("l2", 1)).await.expect("another lock"), "l2/1");
    assert_eq!(soon(fixture.spawn_lock("l", 1)).await.expect("held already"), "l/1");
    let waiting = fixture.spawn_lock("l", 2);
    fixture.until_keys("l/", 2).await;
    fixture.unlock("l2/1").await;
    assert!(!waiting.is_finished());
    fixture.unlock("l/1").await;
    assert_eq!(soon(waiting).await.expect("free now"), "l/2");
    fixture.stop().await;
}

#[tokio::test]
async fn a_lock_is_free_when_its_lease_ends() {
    let fixture = Fixture::start().await;
    fixture.grant(1).await;
    fixture.grant(2).await;
    assert_eq!(soon(fixture.spawn_lock("l", 1)).await.expect("free"), "l/1");
    let waiting = fixture.spawn_lock("l", 2);
    fixture.until_keys("l/", 2).await;
    fixture.lease.clone().lease_revoke(LeaseRevokeRequest { id: 1 }).await.expect("revoked");
    assert_eq!(soon(waiting).await.expect("free now"), "l/2");
    fixture.stop().await;
}

#[tokio::test]
async fn who_loses_his_place_while_he_waits_does_not_get_the_lock() {
    let fixture = Fixture::start().await;
    fixture.grant(1).await;
    fixture.grant(2).await;
    assert_eq!(soon(fixture.spawn_lock("l", 1)).await.expect("free"), "l/1");
    let waiting = fixture.spawn_lock("l", 2);
    fixture.until_keys("l/", 2).await;
    fixture.lease.clone().lease_revoke(LeaseRevokeRequest { id: 2 }).await.expect("revoked");
    fixture.unlock("l/1").await;
    assert_eq!(refusal(soon(waiting).await), (Code::Unknown, "mutex: session is expired".to_owned()));
    fixture.stop().await;
}

#[tokio::test]
async fn who_goes_away_gives_his_place_up() {
    let fixture = Fixture::start().await;
    fixture.grant(1).await;
    fixture.grant(2).await;
    assert_eq!(soon(fixture.spawn_lock("l", 1)).await.expect("free"), "l/1");
    // One with a lease of his own, one with a lease that the server makes.
    for (lease, leases) in [(2, 2), (0, 3)] {
        let waiting = fixture.spawn_lock("l", lease);
        fixture.until_keys("l/", 2).await;
        let found = fixture.lease.clone().lease_leases(LeaseLeasesRequest {}).await.expect("listed");
        assert_eq!(found.into_inner().leases.len(), leases);
        waiting.abort();
        fixture.until_keys("l/", 1).await;
    }
    // The server's lease is gone with the place, the caller's is his.
    let found = fixture.lease.clone().lease_leases(LeaseLeasesRequest {}).await.expect("listed");
    assert_eq!(found.into_inner().leases.len(), 2);
    fixture.stop().await;
}

#[tokio::test]
async fn a_lock_without_a_lease_has_one_of_sixty_seconds() {
    let fixture = Fixture::start().await;
    let key = soon(fixture.spawn_lock("l", 0)).await.expect("free");
    let id =
        i64::from_str_radix(key.strip_prefix("l/").expect("the name"), 16).expect("a lease in hexadecimal");
    let request = LeaseTimeToLiveRequest { id, keys: true };
    let life = fixture.lease.clone().lease_time_to_live(request).await.expect("known").into_inner();
    assert_eq!((life.granted_ttl, life.keys), (60, vec![key.into()]));
    fixture.stop().await;
}

#[tokio::test]
async fn what_a_lock_refuses_it_refuses_in_the_words_of_a_client() {
    let fixture = Fixture::start().await;
    let unknown = |text: &str| (Code::Unknown, text.to_owned());
    let outcome = soon(fixture.spawn_lock("l", 99)).await;
    assert_eq!(refusal(outcome), unknown("etcdserver: requested lease not found"));
    let outcome = fixture.lock.clone().unlock(UnlockRequest::default()).await;
    assert_eq!(refusal(outcome), unknown("etcdserver: key is not provided"));
    fixture.unlock("l/1").await;
    fixture.stop().await;
}

#[tokio::test]
async fn an_election_has_one_leader_at_a_time() {
    let fixture = Fixture::start().await;
    fixture.grant(1).await;
    fixture.grant(2).await;
    let campaign = |lease: i64, value: &'static str| {
        let mut election = fixture.election.clone();
        tokio::spawn(async move {
            let request = CampaignRequest { name: "e".into(), lease, value: value.into() };
            election.campaign(request).await.map(|response| response.into_inner().leader)
        })
    };
    let first = soon(campaign(1, "one")).await.expect("elected").expect("a key");
    assert_eq!((&first.key[..], first.lease), (&b"e/1"[..], 1));
    let second = campaign(2, "two");
    fixture.until_keys("e/", 2).await;
    assert!(!second.is_finished());
    // Standing again changes the value, not the place.
    assert_eq!(soon(campaign(1, "uno")).await.expect("still elected").expect("a key").rev, first.rev);
    let leader =
        fixture.election.clone().leader(LeaderRequest { name: "e".into() }).await.expect("one leads");
    assert_eq!(&leader.into_inner().kv.expect("his key").value[..], b"uno");

    let resign = ResignRequest { leader: Some(first.clone()) };
    fixture.election.clone().resign(resign).await.expect("resigned");
    assert_eq!(&soon(second).await.expect("elected").expect("a key").key[..], b"e/2");
    // What was his is not any more.
    let proclaim = ProclaimRequest { leader: Some(first), value: "late".into() };
    let outcome = fixture.election.clone().proclaim(proclaim).await;
    assert_eq!(refusal(outcome), (Code::Unknown, "election: not leader".to_owned()));
    fixture.stop().await;
}

#[tokio::test]
async fn observers_see_every_leader_and_every_value() {
    let fixture = Fixture::start().await;
    fixture.grant(1).await;
    fixture.grant(2).await;
    let mut election = fixture.election.clone();
    let request = LeaderRequest { name: "e".into() };
    let mut stream = election.observe(request).await.expect("observes").into_inner();
    let request = CampaignRequest { name: "e".into(), lease: 1, value: "one".into() };
    election.campaign(request).await.expect("elected");
    // What is proclaimed before the observer looks for the first time is not told.
    let mut observed = vec![told(&mut stream).await];
    let leader = LeaderKey { name: "e".into(), key: "e/1".into(), rev: 2, lease: 1 };
    for value in ["two", "three"] {
        let proclaim = ProclaimRequest { leader: Some(leader.clone()), value: value.into() };
        election.proclaim(proclaim).await.expect("proclaimed");
    }
    fixture
        .kv
        .clone()
        .delete_range(DeleteRangeRequest { key: "e/1".into(), ..Default::default() })
        .await
        .expect("deleted");
    let request = CampaignRequest { name: "e".into(), lease: 2, value: "four".into() };
    election.campaign(request).await.expect("elected");
    while observed.last().is_none_or(|(value, _)| value != "four") {
        observed.push(told(&mut stream).await);
    }
    let values: Vec<&str> = observed.iter().map(|(value, _)| value.as_str()).collect();
    assert_eq!(values, ["one", "two", "three", "four"]);
    assert!(observed.is_sorted_by_key(|(_, revision)| *revision), "{observed:?}");
    fixture.stop().await;
}

#[tokio::test]
async fn what_an_election_refuses() {
    let fixture = Fixture::start().await;
    let unknown = |text: &str| (Code::Unknown, text.to_owned());
    let mut election = fixture.election.clone();
    let outcome = election.leader(LeaderRequest { name: "e".into() }).await;
    assert_eq!(refusal(outcome), unknown("election: no leader"));
    let missing = unknown("\"leader\" field must be provided");
    assert_eq!(refusal(election.proclaim(ProclaimRequest::default()).await), missing);
    assert_eq!(refusal(election.resign(ResignRequest::default()).await), missing);
    let request = CampaignRequest { name: "e".into(), lease: 99, value: "x".into() };
    let outcome = election.campaign(request).await;
    assert_eq!(refusal(outcome), unknown("etcdserver: requested lease not found"));
    fixture.stop().await;
}
