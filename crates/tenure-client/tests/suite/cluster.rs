//! Members, and clients of several of them.

mod faults;

use crate::support::{PATIENCE, Progress, TestCluster, TestServer, config, eventually, soon};
use std::{collections::HashSet, time::Duration};
use tenure_client::{Client, ClientConfig, Error, EtcdError, MemberId};

#[tokio::test]
async fn members_are_listed() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let answer = client.cluster().member_list().await.unwrap();
    assert_eq!(answer.members.len(), 1);
    let member = &answer.members[0];
    assert_eq!((member.id, member.name.as_str()), (answer.header.member_id, "default"));
    assert!(member.is_started() && !member.is_learner);
    assert_eq!(member.client_urls, [format!("http://{}", server.endpoint())]);
    assert_eq!(client.cluster().member_list().serializable().await.unwrap().members, answer.members);
}

#[tokio::test]
async fn a_peer_url_that_cannot_be_one_is_not_sent() {
    let server = TestServer::start().await;
    let cluster = server.client().await.cluster();
    let error = cluster.member_add(["127.0.0.1:2380"]).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid(text) if text.contains("scheme")), "{error}");
    let error = cluster.member_update(MemberId(1), ["http://a:1/x"]).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    assert_eq!(cluster.member_list().await.unwrap().members.len(), 1);
}

/// A change of members that follows another before a write is dropped by etcd up to 3.5.
async fn settle(client: &Client) {
    client.put("settled", "yes").await.expect("it is written");
}

#[tokio::test]
async fn a_learner_is_added_updated_and_removed() {
    let Some(server) = TestServer::real_etcd(&[]).await else { return };
    // A change that etcd drops is never answered.
    let client = Client::connect(config(server.endpoint()).request_timeout(PATIENCE)).await.unwrap();
    let cluster = client.cluster();
    let added = cluster.member_add_as_learner(["http://127.0.0.1:1"]).await.unwrap();
    assert!(added.member.is_learner && !added.member.is_started());
    assert_eq!(added.members.len(), 2);
    let id = added.member.id;
    settle(&client).await;

    // The id of a member is made of its URLs and the second: this one gets another id.
    let again = cluster.member_add(["http://127.0.0.1:1", "http://127.0.0.1:3"]).await.unwrap_err();
    assert!(again.is(EtcdError::PeerURLExist), "{again}");
    let early = cluster.member_promote(id).await.unwrap_err();
    assert!(early.is(EtcdError::LearnerNotReady), "{early}");
    settle(&client).await;

    let updated = cluster.member_update(id, ["http://127.0.0.1:2"]).await.unwrap();
    let member = updated.members.iter().find(|member| member.id == id).unwrap();
    assert_eq!(member.peer_urls, ["http://127.0.0.1:2"]);
    settle(&client).await;

    let removed = cluster.member_remove(id).await.unwrap();
    assert_eq!(removed.members.len(), 1);
    settle(&client).await;
    let gone = cluster.member_remove(id).await.unwrap_err();
    assert!(gone.is(EtcdError::MemberNotFound), "{gone}");
    settle(&client).await;
    let unknown = cluster.member_promote(MemberId(7)).await.unwrap_err();
    assert!(unknown.is(EtcdError::MemberNotFound), "{unknown}");
}

#[tokio::test]
async fn endpoints_follow_the_members() {
    let server = TestServer::start().await;
    let by_hand =
        Client::connect(ClientConfig::new([server.endpoint(), "127.0.0.1:1".to_owned()])).await.unwrap();
    let by_interval = Client::connect(
        ClientConfig::new([server.endpoint(), "127.0.0.1:1".to_owned()])
            .auto_sync_interval(Duration::from_millis(20)),
    )
    .await
    .unwrap();
    let expected = [format!("http://{}", server.endpoint())];
    by_hand.sync().await.unwrap();
    assert_eq!(by_hand.endpoints(), expected);
    eventually("the endpoints", async || (by_interval.endpoints() == expected).then_some(())).await;
    for client in [by_hand, by_interval] {
        client.put("k", "v").await.unwrap();
    }
}

#[tokio::test]
async fn members_share_the_work_and_one_becomes_the_leader_when_told_so() {
    let Some(cluster) = TestCluster::start(3).await else { return };
    let client = cluster.client().await;
    let mut members = HashSet::new();
    eventually("answers of all members", async || {
        client.put("k", "v").await.unwrap();
        members.insert(client.get("k").await.ok()?.header.member_id);
        (members.len() == 3).then_some(())
    })
    .await;
    assert_eq!(client.cluster().member_list().await.unwrap().members.len(), 3);

    let leader = cluster.leader().await;
    let (follower, third) = ((leader + 1) % 3, (leader + 2) % 3);
    let maintenance = client.maintenance();
    let id = cluster.id(follower).await;
    let refused = cluster.client_of(third).await.maintenance().move_leader(id).await.unwrap_err();
    assert!(refused.is(EtcdError::NotLeader), "{refused}");
    let unknown = maintenance.move_leader(MemberId(7)).await.unwrap_err();
    assert!(unknown.is(EtcdError::BadLeaderTransferee), "{unknown}");
    maintenance.move_leader(id).await.unwrap();
    assert_eq!(cluster.leader().await, follower);

    let revision = client.get("k").await.unwrap().header.revision;
    let mut hashes = HashSet::new();
    for endpoint in cluster.endpoints() {
        // A linearizable read through the member: then it has the revision.
        let one = Client::connect(config(&endpoint)).await.unwrap();
        one.get("k").await.unwrap();
        hashes.insert(maintenance.hash_kv(&endpoint, revision).await.unwrap().hash);
    }
    assert_eq!(hashes.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_when_the_leader_is_killed() {
    let Some(mut cluster) = TestCluster::start(3).await else { return };
    let client = cluster.client().await;
    let leader = cluster.leader().await;
    let progress = Progress::default();
    let writer = tokio::spawn(write_numbers(client.clone(), progress.clone()));
    cluster.member(leader).kill().unwrap();
    let (acknowledged, unknown) = progress.of(&client, writer).await.unwrap();
    // What was acknowledged is there; what was not was written once or never.
    let got = client.get("n/").prefix().await.unwrap();
    let mut found = 0;
    for pair in &got.kvs {
        assert_eq!(pair.version, 1, "{} was written twice", pair.key_text());
        found += usize::from(acknowledged.contains(&*pair.key_text()));
    }
    assert_eq!(found, acknowledged.len(), "an acknowledged write is missing");
    assert!(got.count <= (acknowledged.len() + unknown) as u64);
    cluster.member(leader).start_again().await.unwrap();
}

/// Writes 100 keys, each once. Returns those that were acknowledged, and how many ended in an error of which it is not known.
async fn write_numbers(client: Client, progress: Progress) -> (HashSet<String>, usize) {
    let (mut acknowledged, mut unknown) = (HashSet::new(), 0);
    let mut number = 0;
    while acknowledged.len() < 100 {
        let key = format!("n/{number}");
        number += 1;
        match client.put(&key, "v").await {
            Ok(_) => {
                acknowledged.insert(key);
                progress.step();
            }
            Err(error) if error.may_have_taken_effect() => unknown += 1,
            Err(_) => {}
        }
    }
    (acknowledged, unknown)
}

#[tokio::test]
async fn a_frozen_member_is_left_and_found_again() {
    let Some(mut cluster) = TestCluster::start(3).await else { return };
    let client = cluster.client().await;
    let frozen = (cluster.leader().await + 1) % 3;
    let frozen_id = cluster.id(frozen).await;
    cluster.member(frozen).freeze().unwrap();
    for _ in 0..4 {
        soon(client.get("k")).await.unwrap();
    }
    cluster.member(frozen).thaw().unwrap();
    eventually("an answer of the member", async || {
        (client.get("k").await.ok()?.header.member_id == frozen_id).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_learner_is_passed_over_until_it_is_promoted() {
    let Some(mut cluster) = TestCluster::start(1).await else { return };
    cluster.client().await.put("k", "v").await.unwrap();
    let learner = cluster.add_learner().await;
    let alone = cluster.client_of(learner).await;
    // There is nobody else to ask.
    let error = soon(alone.get("k")).await.unwrap_err();
    assert!(error.is(EtcdError::NotSupportedForLearner), "{error}");
    eventually("the learner", async || {
        let got = alone.get("k").serializable().await.unwrap();
        (got.count == 1).then_some(())
    })
    .await;
    let client = cluster.client().await;
    for _ in 0..6 {
        client.put("k", "w").await.unwrap();
        assert_eq!(client.get("k").await.unwrap().kvs[0].value, "w");
    }
    let status = client.maintenance().status(cluster.endpoint(learner)).await.unwrap();
    assert!(status.is_learner);
    client.sync().await.unwrap();
    assert_eq!(client.endpoints(), [format!("http://{}", cluster.endpoint(0))]);
    let promoted = eventually("the promotion", async || {
        client.cluster().member_promote(status.header.member_id).await.ok()
    })
    .await;
    assert!(promoted.members.iter().all(|member| !member.is_learner));
    eventually("a read through it", async || alone.get("k").await.ok()).await;
    client.sync().await.unwrap();
    assert_eq!(client.endpoints().len(), 2);
}

#[tokio::test]
async fn without_a_majority_who_requires_a_leader_is_told_soon() {
    let Some(mut cluster) = TestCluster::start(3).await else { return };
    let client = cluster.client_of(0).await;
    client.put("k", "v").await.unwrap();
    cluster.member(1).kill().unwrap();
    cluster.member(2).kill().unwrap();
    let demanding = client.with_require_leader();
    // A grant is repeated until there is a leader, or as often as the configuration says.
    let once =
        Client::connect(config(cluster.endpoint(0)).retries_max(0)).await.unwrap().with_require_leader();
    let error = eventually("the loss of the leader", async || {
        let error = soon(demanding.put("k", "w")).await.err()?;
        error.is(EtcdError::NoLeader).then_some(error)
    })
    .await;
    assert!(!error.may_have_taken_effect());
    let refused = soon(once.lease().grant(Duration::from_secs(10))).await.unwrap_err();
    assert!(refused.is(EtcdError::NoLeader), "{refused}");
    assert_eq!(client.get("k").serializable().await.unwrap().count, 1);
    assert_eq!(client.cluster().member_list().serializable().await.unwrap().members.len(), 3);
    let status = client.maintenance().status(cluster.endpoint(0)).await.unwrap();
    assert_eq!(status.leader, MemberId(0));
    assert!(status.errors.iter().any(|error| error == "etcdserver: no leader"), "{:?}", status.errors);
}
