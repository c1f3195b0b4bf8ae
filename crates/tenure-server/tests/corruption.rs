//! Members whose data are not what they were: each of the checks that compare members finds them.
//!
//! The data are altered on disk while a member is stopped, records and checksums whole, so that nothing but the comparison can
//! tell.

use prost::Message as _;
use std::path::Path;
use std::sync::Arc;
use tenure_api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, PutRequest, RangeRequest, alarm_request::AlarmAction,
    kv_client::KvClient, maintenance_client::MaintenanceClient,
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
    let mut maintenance = MaintenanceClient::new(cluster.channel(at).await.expect("a connection"));
    let request = AlarmRequest { action: action.into(), member_id: alarm.member_id, alarm: alarm.alarm };
    maintenance.alarm(request).await.expect("an answer about alarms").into_inner().alarms
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
