//! Clusters of processes: they form, lose members, and stay one store.

use futures::StreamExt;
use std::path::Path;
use std::time::Duration;
use tenure_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, MemberAddRequest, MemberListRequest,
    MemberRemoveRequest, PutRequest, RangeRequest, StatusResponse, WatchCreateRequest, WatchRequest,
    cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient, watch_client::WatchClient,
    watch_request,
};
use tenure_harness::cluster::{Cluster, until};
use tenure_harness::links::Way;
use tenure_harness::process::Target;

fn tenured() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tenured"))
}

async fn put(cluster: &Cluster, at: usize, key: &str, value: &str) -> i64 {
    let put =
        PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() };
    let revision = until("a put is acknowledged", || async {
        let Ok(channel) = cluster.channel(at).await else { return Ok(None) };
        let answer = KvClient::new(channel).put(put.clone()).await;
        Ok(answer.ok().and_then(|answer| answer.into_inner().header).map(|header| header.revision))
    });
    revision.await.expect("put")
}

async fn read(cluster: &Cluster, at: usize, key: &str) -> Option<String> {
    let range = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    let answer = until("a linearizable read is answered", || async {
        let Ok(channel) = cluster.channel(at).await else { return Ok(None) };
        Ok(KvClient::new(channel).range(range.clone()).await.ok())
    });
    let kvs = answer.await.expect("read").into_inner().kvs;
    kvs.into_iter().next().map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_form_a_cluster_and_outlive_the_death_of_their_leader() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(tenured(), directory.path(), 3, &[]).await.expect("a cluster");
    for at in 0..3 {
        put(&cluster, at, &format!("through-{at}"), "x").await;
        for reader in 0..3 {
            assert_eq!(read(&cluster, reader, &format!("through-{at}")).await.as_deref(), Some("x"));
        }
    }
    let dead = cluster.leader().await.expect("a leader");
    cluster.members[dead].kill().expect("it ran");
    let survivor = (dead + 1) % 3;
    put(&cluster, survivor, "after", "the death").await;
    assert_eq!(read(&cluster, (dead + 2) % 3, "after").await.as_deref(), Some("the death"));
    cluster.members[dead].launch().expect("it starts again");
    cluster.ready(dead).await.expect("it is back");
    assert_eq!(read(&cluster, dead, "after").await.as_deref(), Some("the death"));
    cluster.equal().await.expect("all equal");
    assert_eq!(count(&cluster, dead).await, 4, "all that was written is there");
}

/// Puts as many keys, several at once, each until it is acknowledged.
async fn fill(cluster: &Cluster, at: usize, prefix: &str, keys: usize) {
    let value = "v".repeat(100);
    let value = value.as_str();
    let puts = (0..keys).map(|key| async move {
        put(cluster, at, &format!("{prefix}-{key:05}"), value).await;
    });
    futures::stream::iter(puts).buffer_unordered(16).collect::<()>().await;
}

/// How many keys there are, and at which revision.
async fn counted(cluster: &Cluster, at: usize) -> (i64, i64) {
    let range = RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        count_only: true,
        ..RangeRequest::default()
    };
    let answer = until("a linearizable read is answered", || async {
        let Ok(channel) = cluster.channel(at).await else { return Ok(None) };
        Ok(KvClient::new(channel).range(range.clone()).await.ok())
    });
    let answer = answer.await.expect("read").into_inner();
    (answer.count, answer.header.expect("a header").revision)
}

async fn count(cluster: &Cluster, at: usize) -> i64 {
    counted(cluster, at).await.0
}

fn log_of(cluster: &Cluster, at: usize) -> String {
    String::from_utf8_lossy(&std::fs::read(cluster.members[at].log()).expect("a log")).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_longer_than_the_log_is_brought_back_by_a_snapshot() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--snapshot-count=50", "--snapshot-catchup-entries=20"];
    let mut cluster = Cluster::start(tenured(), directory.path(), 3, &flags).await.expect("a cluster");
    fill(&cluster, 0, "before", 20).await;
    let away = (cluster.leader().await.expect("a leader") + 1) % 3;
    let witness = (away + 1) % 3;
    cluster.members[away].kill().expect("it ran");
    fill(&cluster, witness, "meanwhile", 300).await;
    cluster.members[away].launch().expect("it starts again");
    cluster.ready(away).await.expect("it is back");
    assert_eq!(read(&cluster, away, "meanwhile-00299").await.map(|value| value.len()), Some(100));
    fill(&cluster, away, "after", 20).await;
    cluster.equal().await.expect("all equal");
    assert_eq!(count(&cluster, away).await, 340, "all that was written is there");
    assert!(
        log_of(&cluster, away).contains("installed a snapshot"),
        "it was no snapshot that brought it back"
    );

    // What was installed is what a restart finds.
    cluster.members[away].kill().expect("it ran");
    cluster.members[away].launch().expect("it starts again");
    cluster.ready(away).await.expect("it is back");
    cluster.equal().await.expect("all equal");
    assert_eq!(count(&cluster, away).await, 340, "all that was written is there");
}

/// One of etcd's own command lines.
struct Etcdctl {
    program: std::path::PathBuf,
    endpoint: String,
}

impl Etcdctl {
    fn run(&self, words: &[&str]) -> (bool, String) {
        let output = std::process::Command::new(&self.program)
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint, "--command-timeout=60s", "--dial-timeout=60s"])
            .args(words)
            .output()
            .expect("etcdctl runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn json(&self, words: &[&str]) -> serde_json::Value {
        let (done, text) = self.run(&[words, &["-w", "json"]].concat());
        assert!(done, "{words:?}: {text}");
        serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{words:?}: {error}: {text}"))
    }

    /// Runs a change again and again until the cluster has been healthy for long enough, the learner is ready, and a leader has answered.
    async fn change(&self, words: &[&str]) -> String {
        const NOT_YET: [&str; 5] = [
            "unhealthy cluster",
            "in sync with leader",
            "leader changed",
            "request timed out",
            "deadline exceeded",
        ];
        let what = words.join(" ");
        let done = until(&what, || async {
            let (done, text) = self.run(words);
            assert!(done || NOT_YET.iter().any(|why| text.contains(why)), "{words:?}: {text}");
            Ok(done.then_some(text))
        });
        done.await.expect("the change is made")
    }

    /// The id of a member by its peer URL, as etcdctl wants it, and the member.
    fn member(&self, peer_url: &str) -> (String, serde_json::Value) {
        let list = self.json(&["member", "list"]);
        let members = list["members"].as_array().expect("members").clone();
        let member = members.into_iter().find(|member| member["peerURLs"][0] == peer_url);
        let member = member.unwrap_or_else(|| panic!("no member at {peer_url}: {list}"));
        (format!("{:x}", member["ID"].as_u64().expect("an id")), member)
    }
}

async fn members_come_and_go(target: Target) {
    let Some(programs) = target.directory() else {
        eprintln!("skipped: no {target} on this machine");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(tenured(), directory.path(), 1, &[]).await.expect("a member");
    fill(&cluster, 0, "early", 50).await;
    let etcdctl = |cluster: &Cluster, at: usize| Etcdctl {
        program: programs.join("etcdctl"),
        endpoint: cluster.members[at].address(),
    };
    let url = |cluster: &Cluster, at: usize| format!("http://{}", cluster.members[at].peer_address());

    // A learner joins, follows, serves little, and becomes a voter.
    let learner = cluster.make_joiner().expect("a port");
    let learner_url = url(&cluster, learner);
    let text =
        etcdctl(&cluster, 0).change(&["member", "add", "m1", "--learner", "--peer-urls", &learner_url]).await;
    assert!(text.contains("ETCD_INITIAL_CLUSTER_STATE=\"existing\""), "{text}");
    let (second, text) =
        etcdctl(&cluster, 0).run(&["member", "add", "m9", "--learner", "--peer-urls=http://127.0.0.1:9"]);
    assert!(!second && text.contains("too many learner members in cluster"), "{text}");
    cluster.members[learner].launch().expect("it starts");
    cluster.ready(learner).await.expect("the learner follows");
    let (refused, text) = etcdctl(&cluster, learner).run(&["get", "early-00000"]);
    assert!(!refused && text.contains("rpc not supported for learner"), "{text}");
    let (served, text) = etcdctl(&cluster, learner).run(&["get", "early-00000", "--consistency=s"]);
    assert!(served && text.starts_with("early-00000\n"), "{text}");
    let (learner_id, member) = etcdctl(&cluster, 0).member(&learner_url);
    assert_eq!(member["isLearner"], true);
    etcdctl(&cluster, 0).change(&["member", "promote", &learner_id]).await;
    // Who was asked for the change has made it, the others make it when they hear of it.
    let voter = until("it knows that it has a vote", || async {
        let (listed, text) = etcdctl(&cluster, learner).run(&["member", "list"]);
        assert!(listed || text.contains("rpc not supported for learner"), "{text}");
        Ok(listed.then_some(()))
    });
    voter.await.expect("a voter");
    assert!(etcdctl(&cluster, learner).member(&learner_url).1["isLearner"].is_null());
    let (again, text) = etcdctl(&cluster, learner).run(&["member", "promote", &learner_id]);
    assert!(!again && text.contains("can only promote a learner member"), "{text}");

    // A voter joins at once.
    let third = cluster.make_joiner().expect("a port");
    let third_url = url(&cluster, third);
    etcdctl(&cluster, learner).change(&["member", "add", "m2", "--peer-urls", &third_url]).await;
    let (taken, text) = etcdctl(&cluster, 0).run(&["member", "add", "m9", "--peer-urls", &third_url]);
    assert!(!taken, "a member is not started yet: {text}");
    cluster.members[third].launch().expect("it starts");
    cluster.ready(third).await.expect("it follows");
    assert_eq!(read(&cluster, third, "early-00049").await.map(|value| value.len()), Some(100));
    let status = if target == Target::Etcd34 {
        // It asks the URLs of the list with a header that HTTP/2 here refuses (docs/bugs.md): addresses instead.
        let all: Vec<String> = (0..3).map(|at| cluster.members[at].address()).collect();
        let all = Etcdctl { endpoint: all.join(","), ..etcdctl(&cluster, third) };
        all.json(&["endpoint", "status"])
    } else {
        etcdctl(&cluster, third).json(&["endpoint", "status", "--cluster"])
    };
    assert_eq!(status.as_array().map(Vec::len), Some(3), "{status}");
    let twice = until("the cluster is healthy", || async {
        let (done, text) = etcdctl(&cluster, 0).run(&["member", "add", "m9", "--peer-urls", &third_url]);
        assert!(!done);
        Ok((!text.contains("unhealthy cluster")).then_some(text))
    });
    assert!(twice.await.expect("an answer").contains("Peer URLs already exists"));

    // The leadership moves, members change their URLs and leave.
    let heir = until("the leadership moves", || async {
        let leader = cluster.leader().await?;
        let heir = (leader + 1) % 3;
        let (heir_id, _) = etcdctl(&cluster, leader).member(&url(&cluster, heir));
        let (not_leader, text) = etcdctl(&cluster, heir).run(&["move-leader", &heir_id]);
        assert!(
            not_leader || text.contains("no leader endpoint given") || text.contains("not leader"),
            "{text}"
        );
        // An heir with a slow disk may take longer to catch up than he is given.
        let (moved, text) = etcdctl(&cluster, leader).run(&["move-leader", &heir_id]);
        let may_fail = ["leader transfer took too long", "no leader endpoint given", "not leader"];
        assert!(moved || may_fail.iter().any(|why| text.contains(why)), "{text}");
        Ok((moved && cluster.leader().await? == heir).then_some(heir))
    });
    let heir = heir.await.expect("another leader");
    let (third_id, _) = etcdctl(&cluster, heir).member(&third_url);
    let elsewhere = third_url.replace("127.0.0.1", "localhost");
    etcdctl(&cluster, heir).change(&["member", "update", &third_id, "--peer-urls", &elsewhere]).await;
    assert_eq!(etcdctl(&cluster, heir).member(&elsewhere).0, third_id);
    let (unknown, text) = etcdctl(&cluster, heir).run(&["member", "remove", "1234"]);
    assert!(!unknown && text.contains("member not found"), "{text}");
    let leaving = (0..3).find(|at| *at != heir && *at != third).expect("one of three");
    let (leaving_id, _) = etcdctl(&cluster, heir).member(&url(&cluster, leaving));
    etcdctl(&cluster, heir).change(&["member", "remove", &leaving_id]).await;
    let ended = cluster.members[leaving].wait_end().await.expect("it stops by itself");
    assert_eq!(ended.code(), Some(0), "{}", cluster.members[leaving].log_tail());
    put(&cluster, heir, "late", "x").await;
    assert_eq!(read(&cluster, third, "late").await.as_deref(), Some("x"));
    cluster.equal().await.expect("all equal");
    cluster.members[leaving].launch().expect("the process starts");
    let ended = cluster.members[leaving].wait_end().await.expect("its data are of no use any more");
    assert!(log_of(&cluster, leaving).contains("permanently removed"), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go_by_etcdctl_3_5() {
    members_come_and_go(Target::Etcd35).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go_by_etcdctl_3_4() {
    members_come_and_go(Target::Etcd34).await;
}

/// What a learner serves, and that it does not lead.
fn a_learner_serves_little(voter: &Etcdctl, learner: &Etcdctl, learner_id: &str, directory: &Path) {
    let backup = directory.join("backup.db").display().to_string();
    for (words, expected) in [
        (&["get", "early-00000", "--consistency=s"][..], "early-00000"),
        (&["endpoint", "status", "-w", "json"], "\"isLearner\":true"),
        (&["snapshot", "save", &backup], "Snapshot saved at"),
    ] {
        let (served, text) = learner.run(words);
        assert!(served && text.contains(expected), "{words:?}: {text}");
    }
    for words in [
        &["get", "early-00000"][..],
        &["put", "a", "1"],
        &["del", "a"],
        &["lease", "grant", "60"],
        &["lease", "list"],
        &["member", "list"],
        &["member", "promote", learner_id],
        &["alarm", "list"],
        &["endpoint", "hashkv"],
        &["compaction", "1"],
        &["defrag"],
        &["user", "list"],
    ] {
        let (served, text) = learner.run(words);
        assert!(!served && text.contains("rpc not supported for learner"), "{words:?}: {text}");
    }
    let (moved, text) = voter.run(&["move-leader", learner_id]);
    assert!(!moved && text.contains("bad leader transferee"), "{text}");
}

/// Changes that would cost the majority are refused, and those that mend it are not.
async fn changes_are_refused(server: Target, client: Target) {
    let (Some(programs), Some(program)) = (client.directory(), program_of(server)) else {
        eprintln!("skipped: no {server} or no {client} on this machine");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(&program, directory.path(), 1, &[]).await.expect("a member");
    fill(&cluster, 0, "early", 5).await;
    let etcdctl = |cluster: &Cluster, at: usize| Etcdctl {
        program: programs.join("etcdctl"),
        endpoint: cluster.members[at].address(),
    };
    let url = |cluster: &Cluster, at: usize| format!("http://{}", cluster.members[at].peer_address());
    let first = etcdctl(&cluster, 0);
    let refused = |words: &[&str], why: &str| {
        let (done, text) = first.run(words);
        assert!(!done && text.contains(why), "{words:?}: {text}");
    };

    let learner = cluster.make_joiner().expect("a port");
    let learner_url = url(&cluster, learner);
    first.change(&["member", "add", "m1", "--learner", "--peer-urls", &learner_url]).await;
    let (learner_id, _) = first.member(&learner_url);
    refused(
        &["member", "promote", &learner_id],
        "can only promote a learner member which is in sync with leader",
    );
    cluster.members[learner].launch().expect("it starts");
    cluster.ready(learner).await.expect("it follows");
    a_learner_serves_little(&first, &etcdctl(&cluster, learner), &learner_id, directory.path());
    first.change(&["member", "promote", &learner_id]).await;

    // A voter that has not started counts for the majority.
    let third = cluster.make_joiner().expect("a port");
    let third_url = url(&cluster, third);
    first.change(&["member", "add", "m2", "--peer-urls", &third_url]).await;
    let not_started = "re-configuration failed due to not enough started members";
    refused(&["member", "add", "m9", "--peer-urls=http://127.0.0.1:9"], not_started);
    refused(&["member", "remove", &learner_id], not_started);
    cluster.members[third].launch().expect("it starts");
    cluster.ready(third).await.expect("it follows");
    let (third_id, _) = first.member(&third_url);
    let named = until("its name is known", || async {
        Ok((first.member(&third_url).1["name"] == "m2").then_some(()))
    });
    named.await.expect("a name");

    // One that is down can go; as long as it has not, nobody else may come or go.
    cluster.members[third].kill().expect("it ran");
    let words = ["member", "remove", &learner_id];
    let unhealthy = until("the loss is noticed", || async {
        let (done, text) = first.run(&["member", "add", "m9", "--peer-urls=http://127.0.0.1:9"]);
        assert!(!done, "{text}");
        Ok(text.contains("unhealthy cluster").then_some(()))
    });
    unhealthy.await.expect("refused");
    refused(&words, "unhealthy cluster");
    first.change(&["member", "remove", &third_id]).await;
    let list = first.json(&["member", "list"]);
    assert_eq!(list["members"].as_array().map(Vec::len), Some(2), "{list}");
    put(&cluster, learner, "late", "x").await;
}

fn program_of(target: Target) -> Option<std::path::PathBuf> {
    match target {
        Target::Tenured => Some(tenured().to_path_buf()),
        etcd => etcd.directory().map(|directory| directory.join("etcd")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_m2_m3_changes_are_refused_to_etcdctl_3_5() {
    changes_are_refused(Target::Tenured, Target::Etcd35).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_m2_m3_changes_are_refused_to_etcdctl_3_4() {
    changes_are_refused(Target::Tenured, Target::Etcd34).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_m2_m3_changes_are_refused_by_a_real_etcd() {
    changes_are_refused(Target::Etcd35, Target::Etcd35).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_disk_is_removed_and_added_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--snapshot-count=50", "--snapshot-catchup-entries=20"];
    let mut cluster = Cluster::start(tenured(), directory.path(), 3, &flags).await.expect("a cluster");
    fill(&cluster, 0, "key", 200).await;
    let lost = (cluster.leader().await.expect("a leader") + 1) % 3;
    cluster.members[lost].kill().expect("it ran");
    cluster.wipe(lost).expect("its data are gone");
    let other = (lost + 1) % 3;
    let mut members = ClusterClient::new(cluster.channel(other).await.expect("a connection"));
    let url = format!("http://{}", cluster.members[lost].peer_address());
    let list =
        members.member_list(MemberListRequest { linearizable: true }).await.expect("listed").into_inner();
    let id = list.members.iter().find(|member| member.peer_ur_ls == [url.clone()]).expect("it is there").id;
    // Who has not been noticed to be down is part of a cluster that has not been healthy for long.
    let removed = until("who is down can go", || async {
        Ok(members.clone().member_remove(MemberRemoveRequest { id }).await.ok())
    });
    removed.await.expect("removed");
    let added = until("the cluster is healthy", || async {
        let request = MemberAddRequest { peer_ur_ls: vec![url.clone()], is_learner: false };
        Ok(members.clone().member_add(request).await.ok())
    });
    let added = added.await.expect("added").into_inner().member.expect("a member").id;
    assert_ne!(added, id);
    cluster.members[lost].launch().expect("it joins");
    cluster.ready(lost).await.expect("it is a member");
    assert_eq!(read(&cluster, lost, "key-00199").await.map(|value| value.len()), Some(100));
    cluster.equal().await.expect("all equal");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_member_of_a_cluster_goes_on_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(tenured(), directory.path(), 3, &[]).await.expect("a cluster");
    put(&cluster, 0, "kept", "x").await;
    assert_eq!(read(&cluster, 2, "kept").await.as_deref(), Some("x"));
    for member in &mut cluster.members {
        member.kill().expect("it ran");
    }
    cluster.members[2].set_flags(&["--force-new-cluster".to_owned()]);
    cluster.members[2].launch().expect("it starts");
    cluster.ready(2).await.expect("it leads");
    assert_eq!(read(&cluster, 2, "kept").await.as_deref(), Some("x"));
    put(&cluster, 2, "more", "y").await;
    let mut members = ClusterClient::new(cluster.channel(2).await.expect("a connection"));
    let list = members.member_list(MemberListRequest { linearizable: true }).await.expect("listed");
    let list = list.into_inner().members;
    assert_eq!(list.len(), 1, "{list:?} {}", log_of(&cluster, 2));
    cluster.members[2].kill().expect("it ran");
    cluster.members[2].set_flags(&[]);
    cluster.members[2].launch().expect("it starts without the flag");
    cluster.ready(2).await.expect("it is alone");
    assert_eq!(read(&cluster, 2, "more").await.as_deref(), Some("y"));
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_live_and_end_through_whichever_member() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = Cluster::start(tenured(), directory.path(), 3, &[]).await.expect("a cluster");
    let follower = (cluster.leader().await.expect("a leader") + 1) % 3;
    let mut lease = LeaseClient::new(cluster.channel(follower).await.expect("a connection"));
    let grant = |ttl, id| LeaseGrantRequest { ttl, id };
    let mut kv = KvClient::new(cluster.channel(follower).await.expect("a connection"));
    let put = |key: &'static str, lease| {
        let (key, value) = (key.into(), "x".into());
        PutRequest { key, value, lease, ..PutRequest::default() }
    };
    lease.lease_grant(grant(600, 7)).await.expect("granted");
    kv.put(put("kept", 7)).await.expect("put");
    let requests = tokio_stream::iter([7, 1234].map(|id| LeaseKeepAliveRequest { id }));
    let mut answers = lease.lease_keep_alive(requests).await.expect("a stream").into_inner();
    let ttls = [answers.message().await, answers.message().await]
        .map(|answer| answer.expect("an answer").expect("a message"))
        .map(|answer| (answer.id, answer.ttl));
    assert_eq!(ttls, [(7, 600), (1234, 0)]);
    let life = lease
        .lease_time_to_live(LeaseTimeToLiveRequest { id: 7, keys: true })
        .await
        .expect("a life")
        .into_inner();
    assert_eq!((life.granted_ttl, life.keys), (600, vec!["kept".into()]));
    let unknown =
        lease.lease_time_to_live(LeaseTimeToLiveRequest { id: 99, keys: false }).await.expect("an answer");
    assert_eq!(unknown.into_inner().ttl, -1);
    // Its life may be over before anything can hang on it.
    for id in 8.. {
        lease.lease_grant(grant(2, id)).await.expect("granted");
        match kv.put(put("mortal", id)).await {
            Ok(_) => break,
            Err(status) => assert_eq!(status.message(), "etcdserver: requested lease not found"),
        }
        assert!(id < 100, "no lease lives long enough");
    }
    let gone = until("the lease ends", || async {
        Ok(read(&cluster, follower, "mortal").await.is_none().then_some(()))
    });
    gone.await.expect("the leader revokes it");
    assert_eq!(read(&cluster, follower, "kept").await.as_deref(), Some("x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_asked_to_stop_hands_over_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(tenured(), directory.path(), 3, &[]).await.expect("a cluster");
    put(&cluster, 0, "before", "x").await;
    // Who has not written everything yet cannot take over.
    cluster.equal().await.expect("all equal");
    let leader = cluster.leader().await.expect("a leader");
    let term = cluster.status(leader).await.expect("a status").raft_term;
    cluster.members[leader].terminate().await.expect("it ends");
    assert!(log_of(&cluster, leader).contains("leadership transfer finished"));
    let successor = cluster.leader().await.expect("a leader");
    assert!(cluster.status(successor).await.expect("a status").raft_term > term);
    put(&cluster, successor, "after", "x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_leader_is_refused_when_there_is_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(tenured(), directory.path(), 3, &[]).await.expect("a cluster");
    let left = cluster.leader().await.expect("a leader");
    for at in (0..3).filter(|at| *at != left) {
        cluster.members[at].kill().expect("it ran");
    }
    let mut kv = KvClient::new(cluster.channel(left).await.expect("a connection"));
    let range = RangeRequest { key: "a".into(), ..RangeRequest::default() };
    let refused = until("the member knows that it is alone", || async {
        let mut request = tonic::Request::new(range.clone());
        request.metadata_mut().insert("hasleader", "true".parse()?);
        request.set_timeout(Duration::from_secs(2));
        let answer = kv.clone().range(request).await;
        let refusal = answer.err().map(|status| status.message().to_owned());
        Ok(refusal.filter(|text| text == "etcdserver: no leader"))
    });
    refused.await.expect("no leader");
    kv.range(RangeRequest { serializable: true, ..range })
        .await
        .expect("a serializable read needs no leader");
    let status = cluster.status(left).await.expect("a status");
    assert_eq!((status.leader, &status.errors[..]), (0, &["etcdserver: no leader".to_owned()][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_while_more_is_written_than_the_log_keeps() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--snapshot-count=20", "--snapshot-catchup-entries=5"];
    let mut cluster = Cluster::start(tenured(), directory.path(), 1, &flags).await.expect("a member");
    fill(&cluster, 0, "early", 100).await;
    let at = cluster.make_joiner().expect("a port");
    let peer_ur_ls = vec![format!("http://{}", cluster.members[at].peer_address())];
    let mut members = ClusterClient::new(cluster.channel(0).await.expect("a connection"));
    members.member_add(MemberAddRequest { peer_ur_ls, is_learner: true }).await.expect("added");
    let stop = tokio_util::sync::CancellationToken::new();
    let mut kv = KvClient::new(cluster.channel(0).await.expect("a connection"));
    let writing = tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        for key in 0.. {
            let put = PutRequest {
                key: format!("busy-{}", key % 50).into(),
                value: "x".into(),
                ..PutRequest::default()
            };
            kv.put(put).await.expect("put");
        }
    }));
    cluster.members[at].launch().expect("it starts");
    cluster.ready(at).await.expect("it follows");
    let caught_up = until("the learner is near its leader", || async {
        let (leader, learner) = (cluster.status(0).await?, cluster.status(at).await?);
        Ok((learner.raft_applied_index + 50 > leader.raft_applied_index).then_some(()))
    });
    caught_up.await.expect("it catches up while writes go on");
    stop.cancel();
    writing.await.expect("every put was acknowledged");
    let equal = until("both have applied the same", || async {
        let (leader, learner) = (cluster.status(0).await?, cluster.status(at).await?);
        let revision = |status: &StatusResponse| status.header.as_ref().map(|header| header.revision);
        Ok((revision(&leader) == revision(&learner)).then_some(()))
    });
    equal.await.expect("equal");
    assert!(
        log_of(&cluster, at).matches("installed a snapshot").count() <= 3,
        "it was sent one snapshot after the other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn w16_a_watch_goes_on_through_a_snapshot() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--snapshot-count=50", "--snapshot-catchup-entries=20"];
    let mut cluster = Cluster::with_links(tenured(), directory.path(), 3, &flags).expect("ports");
    cluster.launch().await.expect("a cluster");
    let held = (cluster.leader().await.expect("a leader") + 1) % 3;
    let create =
        WatchCreateRequest { key: "\0".into(), range_end: "\0".into(), ..WatchCreateRequest::default() };
    let create = WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(create)) };
    let requests = tokio_stream::iter([create]).chain(tokio_stream::pending());
    let mut watch = WatchClient::new(cluster.channel(held).await.expect("a connection"));
    let mut events = watch.watch(requests).await.expect("a stream").into_inner();
    assert!(events.message().await.expect("an answer").expect("a message").created);
    cluster.links().expect("links").isolate(held, Way::Reset);
    fill(&cluster, (held + 1) % 3, "key", 300).await;
    let (keys, last) = counted(&cluster, (held + 1) % 3).await;
    assert_eq!(keys, 300);
    cluster.links().expect("links").restore();
    let seeing = async {
        let mut seen: Vec<i64> = Vec::new();
        while seen.last().is_none_or(|seen| *seen < last) {
            let answer = events.message().await.expect("an answer").expect("a message");
            assert!(!answer.canceled, "{answer:?}");
            seen.extend(answer.events.iter().filter_map(|event| event.kv.as_ref()).map(|kv| kv.mod_revision));
        }
        seen
    };
    let seen = tokio::time::timeout(tenure_harness::PATIENCE, seeing).await.expect("all events come");
    let end = *seen.last().expect("events");
    assert_eq!(seen, (2..=end).collect::<Vec<i64>>(), "every event once, in order");
    assert!(
        log_of(&cluster, held).contains("installed a snapshot"),
        "it was no snapshot that brought it back"
    );
    cluster.equal().await.expect("all equal");
}
