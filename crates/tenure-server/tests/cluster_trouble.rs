//! What clients are told, and what is counted, when a cluster has lost its leader, its majority or a member. The errors are
//! compared with those of a real etcd.

use futures::StreamExt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tenure_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, MemberAddRequest, MemberListRequest,
    MemberPromoteRequest, MoveLeaderRequest, PutRequest, RangeRequest, WatchCreateRequest, WatchRequest,
    WatchResponse, cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, watch_client::WatchClient, watch_request,
};
use tenure_harness::cluster::{Cluster, until};
use tenure_harness::http;
use tenure_harness::process::Target;
use tonic::{Code, Status};

fn programs() -> Vec<(Target, PathBuf)> {
    let tenured = (Target::Tenured, PathBuf::from(env!("CARGO_BIN_EXE_tenured")));
    let etcd = Target::Etcd35.directory().map(|directory| (Target::Etcd35, directory.join("etcd")));
    [Some(tenured), etcd].into_iter().flatten().collect()
}

fn put_request(key: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: vec![b'v'; 100].into(), ..PutRequest::default() }
}

async fn kv(cluster: &Cluster, at: usize) -> KvClient<tonic::transport::Channel> {
    KvClient::new(cluster.channel(at).await.expect("a connection"))
}

/// Puts as many keys, several at once, each until it is acknowledged. How often one was refused.
async fn fill(cluster: &Cluster, at: usize, prefix: &str, keys: usize) -> u32 {
    let (kv, refused) = (kv(cluster, at).await, AtomicU32::new(0));
    let (kv, refused) = (&kv, &refused);
    let puts = (0..keys).map(|key| async move {
        let put = put_request(&format!("{prefix}-{key:05}"));
        let put = until("put", || async {
            let answer = kv.clone().put(put.clone()).await;
            if answer.is_err() {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer.ok())
        });
        put.await.expect("put");
    });
    futures::stream::iter(puts).buffer_unordered(16).collect::<()>().await;
    refused.load(Ordering::Relaxed)
}

/// The lines of a member's log that hold all of these.
fn lines(cluster: &Cluster, at: usize, words: &[&str]) -> Vec<String> {
    let log = std::fs::read_to_string(cluster.members[at].log()).expect("a log");
    let is_meant = |line: &&str| words.iter().all(|word| line.contains(word));
    log.lines().filter(is_meant).map(str::to_owned).collect()
}

/// Who has led, as a member's log has it: ids, and `0` where nobody did.
fn leaders(cluster: &Cluster, at: usize) -> Vec<String> {
    let lines = lines(cluster, at, &["\"msg\":\"leader changed\""]).into_iter();
    let lines = lines.map(|line| serde_json::from_str::<serde_json::Value>(&line).expect("JSON"));
    lines.map(|line| line["leader"].as_str().expect("an id").to_owned()).collect()
}

/// All samples of a member, by name and labels.
async fn samples(cluster: &Cluster, at: usize) -> BTreeMap<String, f64> {
    let answer = http::request(&cluster.members[at].address(), "GET", "/metrics").await.expect("metrics");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

/// What a query sums up: all samples of a name whose labels hold `label`.
fn sum(samples: &BTreeMap<String, f64>, name: &str, label: &str) -> f64 {
    let is_meant = |key: &str| key.split('{').next() == Some(name) && key.contains(label);
    samples.iter().filter(|(key, _)| is_meant(key)).map(|(_, value)| value).sum()
}

async fn until_counted(
    cluster: &Cluster,
    at: usize,
    what: &str,
    is_so: impl Fn(&BTreeMap<String, f64>) -> bool,
) {
    let counted = until(what, || async { Ok(is_so(&samples(cluster, at).await).then_some(())) });
    if let Err(error) = counted.await {
        let all = samples(cluster, at).await;
        let network: Vec<_> = all.iter().filter(|(name, _)| name.contains("network")).collect();
        panic!("{error}: {network:#?}");
    }
}

async fn ids(cluster: &Cluster) -> Vec<String> {
    let mut ids = Vec::new();
    for at in 0..cluster.members.len() {
        let status = cluster.status(at).await.expect("a status");
        ids.push(format!("{:x}", status.header.expect("a header").member_id));
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_counts_what_its_members_say() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--snapshot-count=50", "--snapshot-catchup-entries=20"];
    let program = Path::new(env!("CARGO_BIN_EXE_tenured"));
    let mut cluster = Cluster::start(program, directory.path(), 3, &flags).await.expect("a cluster");
    let refused = fill(&cluster, 0, "early", 50).await;
    let read = RangeRequest { key: "early-00000".into(), ..RangeRequest::default() };
    kv(&cluster, 0).await.range(read).await.expect("a read");
    let found = samples(&cluster, 0).await;
    for (kind, at_least) in [("Put", 50.0), ("Range", 1.0), ("ClusterMemberAttrSet", 1.0)] {
        let answered = sum(&found, "etcd_server_request_duration_seconds_count", &format!("type=\"{kind}\""));
        assert!(answered >= at_least, "{answered} answers to {kind}");
    }
    assert!(sum(&found, "etcd_server_range_duration_seconds_count", "success=\"true\"") >= 1.0);
    let ids = ids(&cluster).await;
    for at in 0..3 {
        until_counted(&cluster, at, "every member reaches every other", |found| {
            (0..3).filter(|other| *other != at).all(|other| {
                let (own, id) = (&ids[at], &ids[other]);
                let pair = format!("Local=\"{own}\",Remote=\"{id}\"");
                let losses = lines(&cluster, at, &["peer became inactive", id]).len();
                let probes = sum(found, "etcd_network_peer_round_trip_time_seconds_count", id);
                sum(found, "etcd_network_active_peers", &pair) == 1.0
                    && sum(found, "etcd_network_disconnected_peers_total", &pair) == losses as f64
                    && sum(found, "etcd_network_peer_sent_bytes_total", &format!("To=\"{id}\"")) > 0.0
                    && sum(found, "etcd_network_peer_received_bytes_total", &format!("From=\"{id}\"")) > 0.0
                    && probes >= 1.0
                    // None takes longer than a connection may be silent.
                    && sum(found, "etcd_network_peer_round_trip_time_seconds_sum", id) < 5.0 * probes
            })
        })
        .await;
        until_counted(&cluster, at, "what is counted is what the log tells", |found| {
            let leaders = leaders(&cluster, at);
            let is_new = |pair: &[String]| pair[1] != "0" && pair[0] != pair[1];
            let seen =
                [&["0".to_owned()], &leaders[..]].concat().windows(2).filter(|pair| is_new(pair)).count();
            let last = leaders.last().expect("somebody has led");
            let unpublished = lines(&cluster, at, &["still publishing"]).len() as f64;
            let failed = unpublished + if at == 0 { f64::from(refused) } else { 0.0 };
            sum(found, "etcd_server_has_leader", "") == f64::from(u8::from(last != "0"))
                && sum(found, "etcd_server_is_leader", "") == f64::from(u8::from(last == &ids[at]))
                && sum(found, "etcd_server_leader_changes_seen_total", "") == seen as f64
                && sum(found, "etcd_server_proposals_committed_total", "") >= 50.0
                && sum(found, "etcd_server_proposals_applied_total", "") >= 50.0
                && sum(found, "etcd_server_proposals_pending", "") == 0.0
                && sum(found, "etcd_server_proposals_failed_total", "") == failed
        })
        .await;
        let found = samples(&cluster, at).await;
        for id in &ids {
            assert_eq!(sum(&found, "etcd_network_known_peers", &format!("Remote=\"{id}\"")), 1.0);
        }
    }

    // One goes, is missed, and comes back by a snapshot.
    let leader = cluster.leader().await.expect("a leader");
    let (away, others) = ((leader + 1) % 3, [leader, (leader + 2) % 3]);
    cluster.members[away].kill().expect("it ran");
    fill(&cluster, leader, "meanwhile", 300).await;
    until_counted(&cluster, leader, "the other one is missed", |found| {
        let pair = format!("Local=\"{}\",Remote=\"{}\"", ids[leader], ids[away]);
        sum(found, "etcd_network_active_peers", &pair) == 0.0
            && sum(found, "etcd_network_disconnected_peers_total", &pair) >= 1.0
            && sum(found, "etcd_network_peer_sent_failures_total", &ids[away]) >= 1.0
    })
    .await;
    cluster.members[away].launch().expect("it starts again");
    cluster.ready(away).await.expect("it is back");
    cluster.equal().await.expect("all equal");
    let sent = until("a snapshot was sent and received", || async {
        let (received, mut sent) = (samples(&cluster, away).await, BTreeMap::new());
        for at in others {
            // Whoever led sent it.
            let of_one = samples(&cluster, at).await.into_iter();
            sent.extend(of_one.map(|(name, value)| (format!("{name} of m{at}"), value)));
        }
        let sent = |name: &str| sum(&sent, &format!("etcd_network_snapshot_send_{name}"), &ids[away]);
        let received = |name: &str| {
            let from =
                |at: &usize| sum(&received, &format!("etcd_network_snapshot_receive_{name}"), &ids[*at]);
            others.iter().map(from).sum::<f64>()
        };
        let is_sent = sent("success") >= 1.0
            && sent("total_duration_seconds_count") == sent("success")
            && sent("inflights_total") == 0.0;
        let is_received = received("success") >= sent("success")
            && received("total_duration_seconds_count") == received("success")
            && received("failures") <= sent("failures");
        Ok((is_sent && is_received).then_some(()))
    });
    sent.await.expect("a snapshot");
    until_counted(&cluster, away, "no snapshot is taken up any more", |found| {
        sum(found, "etcd_server_snapshot_apply_in_progress_total", "") == 0.0
    })
    .await;

    let mut members = ClusterClient::new(cluster.channel(leader).await.expect("a connection"));
    let refused = members.member_promote(MemberPromoteRequest { id: 1234 }).await.expect_err("nobody");
    assert_eq!(refused.message(), "etcdserver: member not found");
    // Whoever led counted it.
    let mut failures = 0.0;
    for at in 0..3 {
        failures +=
            sum(&samples(&cluster, at).await, "etcd_server_learner_promote_failures", "member not found");
    }
    assert!(failures >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_to_a_leader_that_hangs_is_answered_when_another_leads() {
    for (target, program) in programs() {
        let directory = tempfile::tempdir().expect("a directory");
        let cluster = Cluster::start(&program, directory.path(), 3, &[]).await.expect("a cluster");
        let leader = cluster.leader().await.expect("a leader");
        let follower = (leader + 1) % 3;
        let mut kv = kv(&cluster, follower).await;
        kv.put(put_request("before")).await.expect("put");
        let failed = async |cluster: &Cluster| {
            sum(&samples(cluster, follower).await, "etcd_server_proposals_failed_total", "")
        };
        let failed_before = failed(&cluster).await;
        let old = cluster.status(leader).await.expect("a status").header.expect("a header").member_id;
        cluster.members[leader].freeze().expect("it stands still");
        let asked = Instant::now();
        let mut reader = kv.clone();
        let lost = async {
            let lost = kv.put(put_request("lost")).await.expect_err("it went to the leader that hangs");
            (lost, asked.elapsed())
        };
        let range = RangeRequest { key: "before".into(), ..RangeRequest::default() };
        let elected = async {
            let elected = until("another leads", || async {
                let leader = cluster.status(follower).await?.leader;
                Ok((leader != 0 && leader != old).then(|| asked.elapsed()))
            });
            elected.await.expect("an election")
        };
        let ((lost, took), read, elected) = tokio::join!(lost, reader.range(range), elected);
        if elected > Duration::from_secs(5) {
            println!("skipped: an election took {elected:?}, and all that is asked ends after 7 s");
            cluster.members[leader].thaw().expect("it goes on");
            continue;
        }
        match read {
            Ok(read) => assert_eq!(read.into_inner().count, 1, "{target}"),
            // A member of Tenure asks the next leader by itself.
            Err(status) => assert!(
                target != Target::Tenured && status.message() == "etcdserver: leader changed",
                "{target}: {status:?}"
            ),
        }
        let late = "etcdserver: request timed out";
        assert!(lost.code() == Code::Unavailable && lost.message().starts_with(late), "{target}: {lost:?}");
        if target == Target::Tenured {
            assert_eq!(lost.message(), format!("{late}, possibly due to previous leader failure"));
            assert!(took < Duration::from_millis(6_500), "{took:?}: etcd waits for 7 s");
            assert_eq!(failed(&cluster).await, failed_before + 1.0);
        }
        kv.put(put_request("after")).await.expect("another one leads");
        cluster.members[leader].thaw().expect("it goes on");
    }
}

async fn watch_that_wants_a_leader(cluster: &Cluster, at: usize) -> tonic::Streaming<WatchResponse> {
    let create = WatchCreateRequest { key: "a".into(), ..WatchCreateRequest::default() };
    let create = WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(create)) };
    let mut request = tonic::Request::new(tokio_stream::iter([create]).chain(tokio_stream::pending()));
    request.metadata_mut().insert("hasleader", "true".parse().expect("a value"));
    let mut watch = WatchClient::new(cluster.channel(at).await.expect("a connection"));
    let mut events = watch.watch(request).await.expect("a stream").into_inner();
    assert!(events.message().await.expect("an answer").expect("a message").created);
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_a_majority_says_so() {
    let mut told: BTreeMap<String, Vec<(Code, String)>> = BTreeMap::new();
    for (target, program) in programs() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut cluster = Cluster::start(&program, directory.path(), 3, &[]).await.expect("a cluster");
        let left = cluster.leader().await.expect("a leader");
        let mut events = watch_that_wants_a_leader(&cluster, left).await;
        for at in (0..3).filter(|at| *at != left) {
            cluster.members[at].kill().expect("it ran");
        }
        let leaderless = until("it knows no leader", || async {
            let found = cluster.status(left).await?;
            Ok((found.leader == 0).then_some(()))
        });
        leaderless.await.expect("it steps down");
        let range = RangeRequest { key: "a".into(), ..RangeRequest::default() };
        let mut with_leader = tonic::Request::new(range.clone());
        with_leader.metadata_mut().insert("hasleader", "true".parse().expect("a value"));
        let (mut first, mut second, mut third) =
            (kv(&cluster, left).await, kv(&cluster, left).await, kv(&cluster, left).await);
        let channel = cluster.channel(left).await.expect("a connection");
        let (mut lease, mut renewing) = (LeaseClient::new(channel.clone()), LeaseClient::new(channel));
        let renewals = async {
            let requests = tokio_stream::iter([LeaseKeepAliveRequest { id: 7 }]);
            let mut answers = renewing.lease_keep_alive(requests).await?.into_inner();
            answers.message().await
        };
        let life = lease.lease_time_to_live(LeaseTimeToLiveRequest { id: 7, keys: false });
        let (watched, read, put, refused, renewal, life) = tokio::join!(
            events.message(),
            first.range(range),
            second.put(put_request("a")),
            third.range(with_leader),
            renewals,
            life
        );
        let statuses: [Status; 6] = [
            watched.expect_err("a watch that wants a leader"),
            read.expect_err("a read"),
            put.expect_err("a put"),
            refused.expect_err("a read that wants a leader"),
            renewal.expect_err("a renewal"),
            life.expect_err("a life"),
        ];
        let texts = statuses.iter().map(|status| (status.code(), status.message().to_owned())).collect();
        told.insert(target.to_string(), texts);
        if target == Target::Tenured {
            assert_eq!(sum(&samples(&cluster, left).await, "etcd_server_has_leader", ""), 0.0);
            // Who waits and the node look at their own clocks, so the node may count the read a tick later.
            until_counted(&cluster, left, "what was given up is counted", |found| {
                sum(found, "etcd_server_slow_read_indexes_total", "") >= 1.0
                    && sum(found, "etcd_server_proposals_failed_total", "") >= 1.0
            })
            .await;
        }
    }
    let unavailable = |text: &str| (Code::Unavailable, format!("etcdserver: {text}"));
    let (timed_out, no_leader) = (unavailable("request timed out"), unavailable("no leader"));
    for (target, texts) in told {
        // etcd answers a put with its own deadline, which looks like the client's.
        let put = if target == "tenured" {
            timed_out.clone()
        } else {
            (Code::Unknown, "context deadline exceeded".to_owned())
        };
        let expected = [
            no_leader.clone(),
            timed_out.clone(),
            put,
            no_leader.clone(),
            no_leader.clone(),
            no_leader.clone(),
        ];
        assert_eq!(texts, expected, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_go_on_while_the_leadership_moves() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = Path::new(env!("CARGO_BIN_EXE_tenured"));
    let cluster = Cluster::start(program, directory.path(), 3, &[]).await.expect("a cluster");
    let mut lease = LeaseClient::new(cluster.channel(0).await.expect("a connection"));
    lease.lease_grant(LeaseGrantRequest { ttl: 600, id: 7 }).await.expect("granted");
    let stop = tokio_util::sync::CancellationToken::new();
    let mut renewing = Vec::new();
    for at in 0..3 {
        let mut lease = LeaseClient::new(cluster.channel(at).await.expect("a connection"));
        let stop = stop.clone();
        renewing.push(tokio::spawn(async move {
            let requests =
                tokio_stream::iter(std::iter::repeat_n(LeaseKeepAliveRequest { id: 7 }, 1_000_000));
            let mut answers = lease.lease_keep_alive(requests).await.expect("a stream").into_inner();
            let mut renewed = 0;
            while let Some(answer) = stop.run_until_cancelled(answers.message()).await {
                let answer = answer.unwrap_or_else(|status| panic!("m{at}, after {renewed}: {status}"));
                assert_eq!(answer.map(|answer| answer.ttl), Some(600), "m{at}, after {renewed}");
                let life = LeaseTimeToLiveRequest { id: 7, keys: false };
                let life = lease.lease_time_to_live(life).await;
                let life = life.unwrap_or_else(|status| panic!("m{at}, after {renewed}: {status}"));
                assert_eq!(life.into_inner().granted_ttl, 600);
                renewed += 1;
            }
            renewed
        }));
    }
    for _ in 0..10 {
        // An heir with a slow disk may take longer to catch up than he is given.
        let moved = until("the leadership moves", || async {
            let leader = cluster.leader().await?;
            let heir = cluster.status((leader + 1) % 3).await?.header.expect("a header");
            let mut maintenance = MaintenanceClient::new(cluster.channel(leader).await?);
            let request = MoveLeaderRequest { target_id: heir.member_id };
            Ok(maintenance.move_leader(request).await.ok())
        });
        moved.await.expect("moved");
        assert!(renewing.iter().all(|task| !task.is_finished()), "a stream has ended");
    }
    stop.cancel();
    for task in renewing {
        assert!(task.await.expect("no stream ended") > 0);
    }
}

/// Kills a member, and waits until another one knows it.
async fn kill(cluster: &mut Cluster, at: usize, ids: &[String], observer: usize) {
    cluster.members[at].kill().expect("it ran");
    let pair = format!("Local=\"{}\",Remote=\"{}\"", ids[observer], ids[at]);
    until_counted(cluster, observer, "a loss is noticed", |found| {
        sum(found, "etcd_network_active_peers", &pair) == 0.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_a_cluster_that_lacks_one_of_five_may_grow_and_one_that_lacks_two_may_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = Path::new(env!("CARGO_BIN_EXE_tenured"));
    let mut cluster = Cluster::start(program, directory.path(), 5, &[]).await.expect("a cluster");
    let ids = ids(&cluster).await;
    let mut members = ClusterClient::new(cluster.channel(0).await.expect("a connection"));
    let learner = |port: u16| MemberAddRequest {
        peer_ur_ls: vec![format!("http://127.0.0.1:{port}")],
        is_learner: true,
    };

    kill(&mut cluster, 4, &ids, 0).await;
    // Who was killed may have led, and an answer may be lost: what counts is what the members say then.
    let grown = until("the others have been connected for long enough", || async {
        match members.clone().member_add(learner(9)).await {
            Err(refused)
                if refused.code() != Code::Unavailable
                    && refused.message() != "etcdserver: Peer URLs already exists" =>
            {
                return Err(refused.into());
            }
            _ => {}
        }
        let list = members.clone().member_list(MemberListRequest { linearizable: true }).await;
        Ok(list.ok().map(tonic::Response::into_inner).filter(|list| list.members.len() == 6))
    });
    let grown = grown.await.expect("a learner").members;
    assert_eq!(grown.iter().filter(|member| member.is_learner).count(), 1);

    kill(&mut cluster, 3, &ids, 0).await;
    for is_learner in [true, false] {
        let refused = members.member_add(MemberAddRequest { is_learner, ..learner(19) }).await;
        let refused = refused.expect_err("three of five are no quorum of six");
        assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "etcdserver: unhealthy cluster"));
    }
}
