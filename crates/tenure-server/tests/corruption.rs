//! Members whose data are not what they were: each of the checks that compare members finds them.
//!
//! The data are altered on disk while a member is stopped, records and checksums whole, so that nothing but the comparison can
//! tell.

use prost::Message as _;
use std::path::Path;
use std::sync::Arc;
use tenure_api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, HashKvRequest, PutRequest, RangeRequest,
    alarm_request::AlarmAction, kv_client::KvClient, maintenance_client::MaintenanceClient,
};
use tenure_api::mvccpb::KeyValue;
use tenure_core::types::{KvBytes, LogPosition, RecordRevision, Revision};
use tenure_harness::cluster::{Cluster, until};
use tenure_storage::disk::OsDisk;
use tenure_storage::store::{Store, StoreOptions};

fn tenured() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tenured"))
}

/// Gives `key` another value in the data of a member that is stopped: the store becomes another one, that is as whole as the
/// one before.
fn alter(data: &Path, key: &str, value: &str) {
    let disk = Arc::new(OsDisk::new(data));
    let open = |name: &str| {
        let path = Path::new("member").join(name);
        Store::open(disk.clone(), &path, StoreOptions::default()).expect("a store")
    };
    let (store, restored) = open("store");
    let (altered, _) = open("altered");
    let mut installation = altered.install_begin();
    let mut records = 0;
    for record in store.scan(RecordRevision::default(), Revision(i64::MAX)) {
        let mut record = record.expect("a record");
        let mut pair = KeyValue::decode(record.kv.0.clone()).expect("a pair");
        if pair.key == key && !record.tombstone {
            pair.value = value.to_owned().into();
            record.kv = KvBytes(pair.encode_to_vec().into());
            records += 1;
        }
        installation.push(&record).expect("a record is taken");
    }
    assert!(records > 0, "{key} is not in {}", data.display());
    let position = LogPosition { index: restored.applied, term: restored.term };
    installation.finish(position, restored.tables).expect("the store is altered");
    drop((store, altered));
    let member = data.join("member");
    std::fs::remove_dir_all(member.join("store")).expect("the old store goes");
    std::fs::rename(member.join("altered"), member.join("store")).expect("the altered one takes its place");
}

async fn try_put(cluster: &Cluster, at: usize, key: &str, value: &str) -> Result<i64, tonic::Status> {
    let put =
        PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() };
    let mut kv = KvClient::new(cluster.channel(at).await.expect("a connection"));
    kv.put(put).await.map(|answer| answer.into_inner().header.map_or(0, |header| header.revision))
}

async fn put(cluster: &Cluster, at: usize, key: &str, value: &str) -> i64 {
    until("a put is acknowledged", || async { Ok(try_put(cluster, at, key, value).await.ok()) })
        .await
        .expect("put")
}

/// What a member has itself, without asking the others.
async fn local_value(cluster: &Cluster, at: usize, key: &str) -> String {
    let range = RangeRequest { key: key.to_owned().into(), serializable: true, ..RangeRequest::default() };
    let mut kv = KvClient::new(cluster.channel(at).await.expect("a connection"));
    let kvs = kv.range(range).await.expect("a serializable read").into_inner().kvs;
    String::from_utf8_lossy(&kvs[0].value).into_owned()
}

async fn id_of(cluster: &Cluster, at: usize) -> u64 {
    cluster.status(at).await.expect("a status").header.expect("a header").member_id
}

async fn alarms(cluster: &Cluster, at: usize, action: AlarmAction, alarm: AlarmMember) -> Vec<AlarmMember> {
    let maintenance = MaintenanceClient::new(cluster.channel(at).await.expect("a connection"));
    let request = AlarmRequest { action: action.into(), member_id: alarm.member_id, alarm: alarm.alarm };
    // A leader may be lost meanwhile.
    let answer =
        until("an answer about alarms", || async { Ok(maintenance.clone().alarm(request).await.ok()) });
    answer.await.expect("alarms").into_inner().alarms
}

fn corrupt(member_id: u64) -> AlarmMember {
    AlarmMember { member_id, alarm: AlarmType::Corrupt.into() }
}

/// Waits for an alarm and says which it is.
async fn raised(cluster: &Cluster, at: usize) -> Vec<AlarmMember> {
    let raised = until("an alarm is raised", || async {
        let raised = alarms(cluster, at, AlarmAction::Get, AlarmMember::default()).await;
        Ok((!raised.is_empty()).then_some(raised))
    });
    raised.await.expect("alarms")
}

fn log_of(cluster: &Cluster, at: usize) -> String {
    String::from_utf8_lossy(&std::fs::read(cluster.members[at].log()).expect("a log")).into_owned()
}

/// How often a member has logged something.
fn logged(cluster: &Cluster, at: usize, text: &str) -> usize {
    log_of(cluster, at).matches(text).count()
}

async fn restart_altered(cluster: &mut Cluster, at: usize, key: &str, value: &str) {
    cluster.members[at].terminate().await.expect("it stops");
    alter(cluster.members[at].data(), key, value);
    cluster.members[at].launch().expect("it starts");
    cluster.ready(at).await.expect("it is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_periodic_check_raises_the_alarm_of_a_member_with_other_data() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--corrupt-check-time=300ms"];
    let mut cluster = Cluster::start(tenured(), directory.path(), 3, &flags).await.expect("a cluster");
    put(&cluster, 0, "a", "right").await;
    put(&cluster, 0, "b", "right").await;
    cluster.equal().await.expect("all are equal");
    let leader = cluster.leader().await.expect("a leader");
    let (victim, witness) = ((leader + 1) % 3, (leader + 2) % 3);
    let checks = logged(&cluster, leader, "finished peer corruption check");
    until("members that are equal are checked", || async {
        Ok((logged(&cluster, leader, "finished peer corruption check") > checks + 1).then_some(()))
    })
    .await
    .expect("checks");
    assert!(alarms(&cluster, leader, AlarmAction::Get, AlarmMember::default()).await.is_empty());

    restart_altered(&mut cluster, victim, "a", "wrong").await;
    assert_eq!(local_value(&cluster, victim, "a").await, "wrong", "that member would answer so");
    let victim_id = id_of(&cluster, victim).await;
    assert_eq!(raised(&cluster, witness).await, [corrupt(victim_id)]);

    // Nothing is written any more, through whichever member; reads, alarms and status go on.
    for at in 0..3 {
        until("the alarm arrives", || async { Ok((raised(&cluster, at).await.len() == 1).then_some(())) })
            .await
            .expect("the alarm");
        let refused = try_put(&cluster, at, "c", "never").await.expect_err("a put is refused");
        assert_eq!(
            (refused.code(), refused.message()),
            (tonic::Code::DataLoss, "etcdserver: corrupt cluster"),
            "through m{at}"
        );
        let address = cluster.members[at].address();
        let health = tenure_harness::http::request(&address, "GET", "/health").await.expect("an answer");
        assert_eq!(health.status, "503 Service Unavailable");
        assert_eq!(health.body, b"{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n");
        let errors = cluster.status(at).await.expect("a status").errors;
        assert_eq!(errors, [format!("memberID:{victim_id} alarm:CORRUPT")]);
    }
    assert_eq!(local_value(&cluster, witness, "b").await, "right");

    // Disarmed while nothing is mended: it comes again.
    let leader = cluster.leader().await.expect("a leader");
    alarms(&cluster, leader, AlarmAction::Deactivate, corrupt(victim_id)).await;
    assert_eq!(raised(&cluster, witness).await, [corrupt(victim_id)]);

    // Mended, then disarmed: it stays away.
    restart_altered(&mut cluster, victim, "a", "right").await;
    let leader = cluster.leader().await.expect("a leader");
    alarms(&cluster, leader, AlarmAction::Deactivate, corrupt(victim_id)).await;
    put(&cluster, victim, "c", "again").await;
    let checks = logged(&cluster, leader, "finished peer corruption check");
    until("all members are checked once more", || async {
        Ok((logged(&cluster, leader, "finished peer corruption check") > checks + 1).then_some(()))
    })
    .await
    .expect("checks");
    assert!(alarms(&cluster, leader, AlarmAction::Get, AlarmMember::default()).await.is_empty());
    cluster.equal().await.expect("all are equal");
}

async fn compact(cluster: &Cluster, at: usize, revision: i64) {
    let kv = KvClient::new(cluster.channel(at).await.expect("a connection"));
    let compacted = until("a compaction", || async {
        match kv.clone().compact(CompactionRequest { revision, physical: true }).await {
            // Of two that were asked for because nobody answered the first, the second comes too late.
            Err(status) if !status.message().ends_with("has been compacted") => {
                assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
                Ok(None)
            }
            _ => Ok(Some(())),
        }
    });
    compacted.await.expect("a compaction");
}

/// A member's hash at a revision.
async fn hash_at(cluster: &Cluster, at: usize, revision: i64) -> Result<(u32, i64), tonic::Status> {
    let mut maintenance = MaintenanceClient::new(cluster.channel(at).await.expect("a connection"));
    let answer = maintenance.hash_kv(HashKvRequest { revision }).await?.into_inner();
    assert!(revision == 0 || answer.hash_revision == revision, "{answer:?}");
    Ok((answer.hash, answer.compact_revision))
}

const COMPACT_HASH_CHECK: [&str; 2] =
    ["--feature-gates=CompactHashCheck=true", "--compact-hash-check-time=300ms"];

/// A cluster in which the values of `key` differ on the members of `victims`, and whose hashes of the last compaction show it.
/// Returns its leader.
async fn differing(cluster: &mut Cluster, victims: &[usize], key: &str) -> usize {
    put(cluster, 0, "a", "right").await;
    put(cluster, 0, "b", "right").await;
    cluster.equal().await.expect("all are equal");
    for victim in victims {
        restart_altered(cluster, *victim, key, "wrong").await;
    }
    let leader = cluster.leader().await.expect("a leader");
    let revision = put(cluster, leader, "c", "1").await;
    until("all members have applied the put", || async {
        for at in 0..cluster.members.len() {
            if hash_at(cluster, at, revision).await.is_err() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
    .expect("the put");
    compact(cluster, leader, revision).await;
    leader
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_at_compactions_believes_the_majority() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster =
        Cluster::start(tenured(), directory.path(), 3, &COMPACT_HASH_CHECK).await.expect("a cluster");
    let leader = differing(&mut cluster, &[0], "a").await;
    let victim_id = id_of(&cluster, 0).await;
    assert_eq!(raised(&cluster, leader).await, [corrupt(victim_id)]);
    let refused = try_put(&cluster, 1, "d", "never").await.expect_err("a put is refused");
    assert_eq!(refused.code(), tonic::Code::DataLoss);
    assert!(logged(&cluster, leader, "Detected compaction hash mismatch") > 0);
    // The other two are the majority whoever leads: the one with other data can be the leader itself.
    let leader_id = id_of(&cluster, leader).await;
    let named = format!("\"peer-ids\":\"{victim_id:x}\"");
    assert!(log_of(&cluster, leader).contains(&named), "led by {leader_id:x}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_at_compactions_names_nobody_without_a_majority() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster =
        Cluster::start(tenured(), directory.path(), 2, &COMPACT_HASH_CHECK).await.expect("a cluster");
    let leader = differing(&mut cluster, &[1], "b").await;
    assert_eq!(raised(&cluster, leader).await, [corrupt(0)]);
    assert!(logged(&cluster, leader, "cannot identify the corrupted members") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_compactions_have_the_same_hash_everywhere_and_long_after() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster =
        Cluster::start(tenured(), directory.path(), 3, &COMPACT_HASH_CHECK).await.expect("a cluster");
    let leader = cluster.leader().await.expect("a leader");
    let mut compactions = Vec::new();
    for round in 0..12 {
        put(&cluster, leader, "a", &round.to_string()).await;
        let revision = put(&cluster, leader, &format!("b-{round}"), "x").await;
        let before = hash_at(&cluster, leader, revision).await.expect("a hash");
        compact(&cluster, leader, revision).await;
        compactions.push((revision, before));
    }
    // The last ten are there, as HashKV told them before they were made, the compaction before each included.
    let (forgotten, kept) = compactions.split_at(2);
    for at in 0..3 {
        until("a member has made the last compaction", || async {
            // It may be behind, too.
            let refused = hash_at(&cluster, at, forgotten[1].0).await.err();
            Ok(refused.filter(|status| status.message().ends_with("has been compacted")))
        })
        .await
        .expect("the last compaction");
        for (revision, hash) in kept {
            assert_eq!(hash_at(&cluster, at, *revision).await.expect("a hash"), *hash, "m{at}: {revision}");
        }
        for (revision, _) in forgotten {
            let refused = hash_at(&cluster, at, *revision).await.expect_err("it is forgotten");
            assert_eq!(refused.message(), "etcdserver: mvcc: required revision has been compacted");
        }
    }
    until("the leader finds all equal", || async {
        Ok((logged(&cluster, leader, "successfully checked hash on whole cluster") > 0).then_some(()))
    })
    .await
    .expect("a check");
    assert!(alarms(&cluster, leader, AlarmAction::Get, AlarmMember::default()).await.is_empty());

    // A restart forgets them; the first compaction afterwards knows from where on it hashes.
    let (last, _) = compactions[11];
    cluster.members[leader].terminate().await.expect("it stops");
    cluster.members[leader].launch().expect("it starts");
    cluster.ready(leader).await.expect("it is back");
    let (_, compacted) = hash_at(&cluster, leader, last).await.expect("the revision itself can be hashed");
    assert_eq!(compacted, last, "but not as the compaction did");
    let revision = put(&cluster, leader, "a", "again").await;
    compact(&cluster, leader, revision).await;
    let hash = hash_at(&cluster, leader, revision).await.expect("a hash");
    assert_eq!(hash.1, last);
    for at in 0..3 {
        until("all have the hash of the next compaction", || async {
            Ok((hash_at(&cluster, at, revision).await.ok() == Some(hash)).then_some(()))
        })
        .await
        .expect("the same hash");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_at_revision_0_leaves_all_members_well() {
    let directory = tempfile::tempdir().expect("a directory");
    let checks = ["--corrupt-check-time=300ms", "--snapshot-count=20", "--snapshot-catchup-entries=5"];
    let flags = [&COMPACT_HASH_CHECK[..], &checks[..]].concat();
    let mut cluster = Cluster::start(tenured(), directory.path(), 3, &flags).await.expect("a cluster");
    let leader = cluster.leader().await.expect("a leader");
    compact(&cluster, leader, 0).await;
    // As etcd has it, revision 0 is what that compaction found, until ten others have come or the member starts again.
    let revision = put(&cluster, leader, "a", "1").await;
    assert_eq!(hash_at(&cluster, leader, 0).await.expect("a hash"), (1_084_519_789, -1));
    let newest = hash_at(&cluster, leader, revision).await.expect("a hash");
    assert_eq!(newest.1, 0);
    assert_ne!(newest.0, 1_084_519_789);

    // Who was away gets a snapshot that tells of the compaction.
    let away = (leader + 1) % 3;
    cluster.members[away].kill().expect("it ran");
    for number in 0..60 {
        put(&cluster, leader, "b", &number.to_string()).await;
    }
    cluster.members[away].launch().expect("it starts again");
    cluster.ready(away).await.expect("it is back");
    let last = put(&cluster, away, "c", "1").await;
    let is_installed = || async { Ok((logged(&cluster, away, "installed a snapshot") > 0).then_some(())) };
    until("a snapshot brought it back", is_installed).await.expect("a snapshot");
    let hash = hash_at(&cluster, away, last).await.expect("a hash");
    assert_eq!(hash.1, 0);

    let leader = cluster.leader().await.expect("a leader");
    for check in ["finished peer corruption check", "finished compaction hash check"] {
        let before = logged(&cluster, leader, check);
        until("the leader compares", || async {
            Ok((logged(&cluster, leader, check) > before + 1).then_some(()))
        })
        .await
        .expect(check);
    }
    assert!(alarms(&cluster, leader, AlarmAction::Get, AlarmMember::default()).await.is_empty());
    assert_eq!(logged(&cluster, leader, r#""number-of-hashes-checked":1"#), 0, "there is nothing to compare");
    for at in 0..3 {
        until("all hold the same", || async {
            Ok((hash_at(&cluster, at, last).await.ok() == Some(hash)).then_some(()))
        })
        .await
        .expect("the same");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_other_data_does_not_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--feature-gates=InitialCorruptCheck=true"];
    let mut cluster = Cluster::start(tenured(), directory.path(), 3, &flags).await.expect("a cluster");
    put(&cluster, 0, "a", "right").await;
    cluster.equal().await.expect("all are equal");

    // With what the others have it starts.
    restart_altered(&mut cluster, 2, "a", "right").await;
    assert_eq!(logged(&cluster, 2, "initial corruption checking passed; no corruption"), 1);

    cluster.members[2].terminate().await.expect("it stops");
    alter(cluster.members[2].data(), "a", "wrong");
    cluster.members[2].launch().expect("it starts");
    let status = cluster.members[2].wait_end().await.expect("it ends by itself");
    assert_eq!(status.code(), Some(1));
    let log = log_of(&cluster, 2);
    assert!(log.contains("found different hash values from remote peer"), "{log}");
    assert!(log.contains("found data inconsistency with peers"), "{log}");
    assert!(log.contains("'member remove'"), "it says what to do: {log}");
    put(&cluster, 0, "b", "the others go on").await;

    // Who is behind cannot be compared, and catches up.
    alter(cluster.members[2].data(), "a", "right");
    cluster.members[2].launch().expect("it starts");
    cluster.ready(2).await.expect("it is back");
    cluster.equal().await.expect("all are equal");
}
