//! What happens to clusters of processes: members that stand still, links that are cut and slow, disks that are full.
//! `cargo xtask faults` does all of it at random under load; here each is looked at by itself.

use futures::StreamExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tenure_api::etcdserverpb::{PutRequest, RangeRequest, kv_client::KvClient};
use tenure_harness::PATIENCE;
use tenure_harness::cluster::{Cluster, until};
use tenure_harness::disk::SmallDisk;
use tenure_harness::faults::{self, Fault, PeerTls, Plan, Report, Tokens, Victim};
use tenure_harness::links::Way;
use tonic::{Code, Status};

fn tenured() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tenured"))
}

/// Three members whose links go through the harness.
async fn linked(directory: &Path, flags: &[&str]) -> Cluster {
    let mut cluster = Cluster::with_links(tenured(), directory, 3, flags).expect("ports");
    cluster.launch().await.expect("a cluster");
    cluster
}

fn put_request(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() }
}

/// One attempt to write, for two seconds.
async fn try_put(cluster: &Cluster, at: usize, key: &str, value: &str) -> Option<i64> {
    let channel = cluster.channel(at).await.ok()?;
    let asked = tokio::time::timeout(Duration::from_secs(2), async {
        KvClient::new(channel).put(put_request(key, value)).await
    });
    asked.await.ok()?.ok()?.into_inner().header.map(|header| header.revision)
}

async fn put(cluster: &Cluster, at: usize, key: &str, value: &str) -> i64 {
    let put = until("a put is acknowledged", || async { Ok(try_put(cluster, at, key, value).await) });
    put.await.expect("put")
}

async fn range(
    cluster: &Cluster,
    at: usize,
    key: &str,
    serializable: bool,
) -> Result<Option<String>, Status> {
    let channel = cluster.channel(at).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let range = RangeRequest { key: key.to_owned().into(), serializable, ..RangeRequest::default() };
    let mut kv = KvClient::new(channel);
    // Who cannot know what is new says so sooner or later; what he has, he serves at once, if he is not held up.
    let patience = if serializable { PATIENCE } else { Duration::from_secs(2) };
    let asked = tokio::time::timeout(patience, kv.range(range)).await;
    let answer = asked.map_err(|_| Status::deadline_exceeded("no answer"))??.into_inner();
    Ok(answer.kvs.into_iter().next().map(|kv| String::from_utf8_lossy(&kv.value).into_owned()))
}

async fn read(cluster: &Cluster, at: usize, key: &str) -> Option<String> {
    let read =
        until("a linearizable read is answered", || async { Ok(range(cluster, at, key, false).await.ok()) });
    read.await.expect("read")
}

/// Waits until one of the two others leads, as it says itself.
async fn successor_of(cluster: &Cluster, at: usize) -> usize {
    let found = until("somebody else leads", || async {
        for other in [(at + 1) % 3, (at + 2) % 3] {
            let status = cluster.status(other).await?;
            if status.header.is_some_and(|header| header.member_id == status.leader) {
                return Ok(Some(other));
            }
        }
        Ok(None)
    });
    found.await.expect("a successor")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_majority_goes_on_without_a_member_that_is_cut_off() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = linked(directory.path(), &[]).await;
    put(&cluster, 0, "before", "x").await;
    cluster.equal().await.expect("all have it");
    let leader = cluster.leader().await.expect("a leader");
    for (round, way) in [Way::Reset, Way::Silent].into_iter().enumerate() {
        let (cut, other) = ((leader + 1 + round) % 3, (leader + 2 - round) % 3);
        cluster.links().expect("links").isolate(cut, way);
        put(&cluster, other, "during", &format!("{way:?}")).await;
        assert_eq!(
            range(&cluster, cut, "before", true).await.expect("what it has, it serves").as_deref(),
            Some("x")
        );
        let refused = range(&cluster, cut, "before", false).await.expect_err("it cannot know what is new");
        assert!(matches!(refused.code(), Code::Unavailable | Code::DeadlineExceeded), "{refused:?}");
        assert_eq!(try_put(&cluster, cut, "lost", "x").await, None, "nobody has acknowledged it");
        cluster.links().expect("links").restore();
        assert_eq!(read(&cluster, cut, "during").await, Some(format!("{way:?}")));
        assert_eq!(
            cluster.leader().await.expect("a leader"),
            leader,
            "a member that comes back disturbs nobody"
        );
    }
    cluster.equal().await.expect("all equal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_nobody_hears_is_replaced() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = linked(directory.path(), &[]).await;
    let muted = cluster.leader().await.expect("a leader");
    cluster.links().expect("links").mute(muted);
    let successor = successor_of(&cluster, muted).await;
    put(&cluster, successor, "key", "new").await;
    assert_eq!(try_put(&cluster, muted, "key", "old").await, None, "nobody hears of it");
    cluster.links().expect("links").restore();
    assert_ne!(read(&cluster, muted, "key").await, None);
    cluster.equal().await.expect("all equal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_who_speaks_tls_and_is_cut_off_is_replaced() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--peer-auto-tls"];
    let mut cluster = Cluster::with_tls_links(tenured(), directory.path(), 3, &flags).expect("ports");
    cluster.launch().await.expect("a cluster");
    for way in [Way::Reset, Way::Silent] {
        let cut = cluster.leader().await.expect("a leader");
        cluster.links().expect("links").isolate(cut, way);
        let successor = successor_of(&cluster, cut).await;
        put(&cluster, successor, "key", &format!("{way:?}")).await;
        assert_eq!(try_put(&cluster, cut, "lost", "x").await, None, "nobody hears of it");
        cluster.links().expect("links").restore();
        assert_eq!(read(&cluster, cut, "key").await, Some(format!("{way:?}")));
    }
    cluster.equal().await.expect("all equal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hears_nobody_steps_down() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = linked(directory.path(), &[]).await;
    let deaf = cluster.leader().await.expect("a leader");
    cluster.links().expect("links").deafen(deaf);
    let successor = successor_of(&cluster, deaf).await;
    put(&cluster, successor, "key", "new").await;
    assert_eq!(try_put(&cluster, deaf, "key", "old").await, None, "nobody acknowledges it to him");
    cluster.links().expect("links").restore();
    assert_ne!(read(&cluster, deaf, "key").await, None);
    cluster.equal().await.expect("all equal");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_links_keep_their_leader() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = linked(directory.path(), &[]).await;
    let leader = cluster.leader().await.expect("a leader");
    let term = cluster.status(leader).await.expect("a status").raft_term;
    let delay = Duration::from_millis(40);
    cluster.links().expect("links").delay(delay, Duration::from_millis(40));
    let begin = Instant::now();
    for number in 0..8 {
        put(&cluster, (leader + number) % 3, "key", &number.to_string()).await;
    }
    assert!(begin.elapsed() >= 8 * 2 * delay, "an acknowledgement takes a way there and one back");
    assert_eq!(read(&cluster, (leader + 1) % 3, "key").await.as_deref(), Some("7"));
    assert_eq!(cluster.status(leader).await.expect("a status").raft_term, term, "nobody was elected");
    cluster.links().expect("links").restore();
    cluster.equal().await.expect("all equal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stood_still_does_not_answer_from_the_past() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = Cluster::start(tenured(), directory.path(), 3, &[]).await.expect("a cluster");
    put(&cluster, 0, "key", "old").await;
    let frozen = cluster.leader().await.expect("a leader");
    cluster.members[frozen].freeze().expect("it stands still");
    put(&cluster, (frozen + 1) % 3, "key", "new").await;
    // It has the question before it hears that others have gone on.
    let mut kv = KvClient::new(cluster.channel(frozen).await.expect("the kernel takes the connection"));
    let asking = tokio::spawn(async move {
        let key = "key".into();
        kv.range(RangeRequest { key, ..RangeRequest::default() }).await
    });
    cluster.members[frozen].thaw().expect("it goes on");
    let answer = tokio::time::timeout(PATIENCE, asking).await.expect("an answer").expect("a task");
    if let Ok(answer) = answer {
        assert_eq!(answer.into_inner().kvs[0].value, "new");
    }
    assert_eq!(read(&cluster, frozen, "key").await.as_deref(), Some("new"));
    cluster.equal().await.expect("all equal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_disk_is_full_ends_and_the_others_go_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::new(tenured(), directory.path(), 3, &[]).expect("ports");
    let disk = match SmallDisk::mount(cluster.members[2].data(), 160 << 20) {
        Ok(disk) => disk,
        Err(error) => return eprintln!("skipped: {error:#}"),
    };
    cluster.launch().await.expect("a cluster");
    put(&cluster, 2, "before", "x").await;
    disk.fill().expect("it is full");
    let large = "v".repeat(1 << 20);
    let full = Instant::now();
    while !cluster.members[2].has_ended().expect("a process") {
        let (one, other) = (put(&cluster, 0, "large", &large), put(&cluster, 1, "larger", &large));
        tokio::join!(one, other);
        assert!(full.elapsed() < PATIENCE, "it goes on with a full disk");
    }
    let ended = cluster.members[2].wait_end().await.expect("it ends");
    let log = cluster.members[2].log_tail();
    assert_eq!(ended.code(), Some(1), "{log}");
    assert!(log.contains("No space left on device"), "{log}");
    put(&cluster, 1, "after", "x").await;
    disk.free().expect("there is room");
    cluster.members[2].launch().expect("it starts");
    cluster.ready(2).await.expect("it is back");
    assert_eq!(read(&cluster, 2, "after").await.as_deref(), Some("x"));
    cluster.equal().await.expect("all equal");
}

/// Puts as many keys, several at once, each until it is acknowledged.
async fn fill(cluster: &Cluster, at: usize, keys: usize) {
    let value = "v".repeat(2_000);
    let value = value.as_str();
    let puts = (0..keys).map(|key| async move {
        put(cluster, at, &format!("key-{key:05}"), value).await;
    });
    futures::stream::iter(puts).buffer_unordered(16).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_killed_while_it_takes_up_a_snapshot_takes_up_the_next_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--snapshot-count=50", "--snapshot-catchup-entries=20"];
    let mut cluster = Cluster::start(tenured(), directory.path(), 3, &flags).await.expect("a cluster");
    put(&cluster, 0, "first", "x").await;
    let leader = cluster.leader().await.expect("a leader");
    let away = (leader + 1) % 3;
    cluster.members[away].kill().expect("it ran");
    fill(&cluster, leader, 500).await;
    // Whoever leads by then sends it.
    let sent = |cluster: &Cluster| -> usize {
        let logs = cluster.members.iter().map(|member| std::fs::read_to_string(member.log()).expect("a log"));
        logs.map(|log| log.matches("sending database snapshot").count()).sum()
    };
    for millis in [0, 3, 10, 30] {
        let before = sent(&cluster);
        cluster.members[away].launch().expect("it starts");
        let begun = until("it is sent a snapshot, or needs none this time", || async {
            let is_sent = sent(&cluster) > before;
            let is_back = cluster.status(away).await.is_ok_and(|status| status.leader != 0);
            Ok((is_sent || is_back).then_some(()))
        });
        begun.await.expect("it gets going");
        tokio::time::sleep(Duration::from_millis(millis)).await;
        cluster.members[away].kill().expect("it ran");
        fill(&cluster, leader, 60).await;
    }
    assert!(sent(&cluster) > 0, "it was never sent a snapshot");
    cluster.members[away].launch().expect("it starts");
    cluster.ready(away).await.expect("it is back");
    assert_eq!(read(&cluster, away, "key-00499").await.map(|value| value.len()), Some(2_000));
    cluster.equal().await.expect("all equal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_that_lost_its_disk_is_not_let_in_as_if_nothing_had_happened() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(tenured(), directory.path(), 3, &[]).await.expect("a cluster");
    put(&cluster, 0, "key", "x").await;
    let lost = (cluster.leader().await.expect("a leader") + 1) % 3;
    cluster.members[lost].kill().expect("it ran");
    cluster.wipe(lost).expect("its data are gone");
    cluster.members[lost].set_flags(&[]);
    cluster.members[lost].launch().expect("the process starts");
    let ended = cluster.members[lost].wait_end().await.expect("it does not go on");
    let log = cluster.members[lost].log_tail();
    assert_eq!(ended.code(), Some(1), "{log}");
    assert!(log.contains("has already been bootstrapped"), "{log}");
    put(&cluster, (lost + 1) % 3, "after", "x").await;
}

/// A scene, under a load of some seconds, with snapshots that are frequent on some members and rare on others.
fn short_plan(faults: &[Fault]) -> Plan {
    Plan {
        program: tenured().to_owned(),
        flags: Vec::new(),
        members: 3,
        together_max: 2,
        seed: rand::random(),
        duration: Duration::from_millis(500),
        faults: faults.to_vec(),
        auth: None,
        peer_tls: None,
        is_varied: true,
        gap_max: Duration::from_secs(10),
        hand_over_gap_max: Duration::from_secs(5),
    }
}

async fn play(plan: Plan) -> Report {
    let directory = tempfile::tempdir().expect("a directory");
    let mut report = Report::default();
    let outcome = faults::run(&plan, directory.path(), &mut report).await;
    outcome.unwrap_or_else(|error| panic!("{plan:?}: {error:#}"));
    assert!(report.writes > 0 && report.events > 0, "{report:?}");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_log_in_lose_nothing_when_a_member_forgets_them() {
    let faults = [Fault::Kill(Victim::Follower), Fault::Kill(Victim::Leader)];
    let report = play(Plan { auth: Some(Tokens::Simple), ..short_plan(&faults) }).await;
    assert!(!report.gaps.is_empty(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_with_certificates_and_signed_tokens_lose_nothing() {
    let faults =
        [Fault::Terminate(Victim::Leader), Fault::Mute(Victim::Leader), Fault::Split(Victim::Leader)];
    let (auth, peer_tls) = (Some(Tokens::Jwt), Some(PeerTls::Certificates));
    let report = play(Plan { auth, peer_tls, ..short_plan(&faults) }).await;
    assert!(report.skipped.is_empty() && !report.gaps.is_empty(), "{report:?}");
}
