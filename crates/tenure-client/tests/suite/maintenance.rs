//! Upkeep: alarms, status, hashes, backups.

use crate::support::{Proxy, TestServer, config, eventually, impatient, real_etcd, soon};
use futures::StreamExt;
use std::path::Path;
use tenure_client::{AlarmKind, AlarmMember, Client, Code, DowngradeAction, Error, EtcdError, MemberId};

#[tokio::test]
async fn the_status_of_a_member() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.put("k", "v").await.unwrap();
    let elsewhere = TestServer::start().await;
    // Any endpoint can be asked, not only those of the client.
    for maintenance in [client.maintenance(), elsewhere.client().await.maintenance()] {
        let status = maintenance.status(server.endpoint()).await.unwrap();
        assert!(status.version.starts_with("3."), "{status:?}");
        assert_eq!(status.leader, status.header.member_id);
        assert_eq!(status.header.revision, 2);
        assert!(status.db_size_bytes > 0 && status.raft_term > 0 && status.raft_index > 0);
        assert!(status.errors.is_empty() && !status.is_learner);
        assert_eq!(status.downgrade_target, None);
    }
    let error = client.maintenance().status("ftp://x").await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    let quick = impatient(config(server.endpoint()).dial_timeout(std::time::Duration::from_secs(2))).await;
    let error = quick.maintenance().status("127.0.0.1:1").await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { reason, .. } if reason.contains("127.0.0.1:1")), "{error}");
}

#[tokio::test]
async fn the_metrics_of_a_member() {
    let server = TestServer::start().await;
    let elsewhere = TestServer::start().await;
    for maintenance in [server.client().await.maintenance(), elsewhere.client().await.maintenance()] {
        eventually("the figure of a leader", async || {
            let metrics = maintenance.metrics(server.endpoint()).await.unwrap();
            metrics.lines().any(|line| line == "etcd_server_has_leader 1").then_some(())
        })
        .await;
    }
    let quick = impatient(config(server.endpoint()).dial_timeout(std::time::Duration::from_secs(2))).await;
    let error = quick.maintenance().metrics("127.0.0.1:1").await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { reason, .. } if reason.contains("127.0.0.1:1")), "{error}");
}

#[tokio::test]
async fn hashes_tell_histories_apart() {
    let (one, other) = (TestServer::start().await, TestServer::start().await);
    let maintenance = one.client().await.maintenance();
    for server in [&one, &other] {
        server.client().await.put("k", "v").await.unwrap();
    }
    let hash = async |endpoint: String, revision| maintenance.hash_kv(endpoint, revision).await;
    let (ours, theirs) = (hash(one.endpoint(), 2).await.unwrap(), hash(other.endpoint(), 2).await.unwrap());
    assert_eq!(ours.hash, theirs.hash);
    one.client().await.put("k", "w").await.unwrap();
    assert_ne!(hash(one.endpoint(), 0).await.unwrap().hash, theirs.hash);
    assert_eq!(hash(one.endpoint(), 2).await.unwrap().hash, theirs.hash);
    let future = hash(one.endpoint(), 100).await.unwrap_err();
    assert!(future.is(EtcdError::FutureRev), "{future}");
    assert_ne!(maintenance.hash(one.endpoint()).await.unwrap().hash, 0);
}

#[tokio::test]
async fn a_member_is_defragmented() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.put("k", "v").await.unwrap();
    client.maintenance().defragment(server.endpoint()).await.unwrap();
    assert_eq!(client.get("k").await.unwrap().count, 1);
}

#[tokio::test]
async fn alarms_are_listed_and_disarmed() {
    // A quota that a few writes fill.
    let flags = ["--quota-backend-bytes", "100000"];
    let Some(server) = TestServer::process_of_suite(&flags).await else { return };
    let client = server.client().await;
    let maintenance = client.maintenance();
    assert!(maintenance.alarm_list().await.unwrap().alarms.is_empty());
    assert!(maintenance.alarm_disarm_all().await.unwrap().alarms.is_empty());
    eventually("the alarm", async || {
        let error = client.put("k", vec![b'x'; 20_000]).await.err()?;
        assert!(error.is(EtcdError::NoSpace), "{error}");
        Some(())
    })
    .await;
    let alarms = maintenance.alarm_list().await.unwrap();
    // etcd 3.4 fills no header here.
    let member_id = client.get("k").await.unwrap().header.member_id;
    assert_eq!(alarms.alarms, [AlarmMember { member_id, alarm: AlarmKind::NoSpace }]);
    let status = maintenance.status(server.endpoint()).await.unwrap();
    assert!(status.errors.iter().any(|error| error.contains("NOSPACE")), "{:?}", status.errors);

    let other = maintenance.alarm_disarm(member_id, AlarmKind::Corrupt).await.unwrap();
    assert!(other.alarms.is_empty(), "{other:?}");
    let disarmed = maintenance.alarm_disarm(member_id, AlarmKind::NoSpace).await.unwrap();
    assert_eq!(disarmed.alarms, alarms.alarms);
    assert!(maintenance.alarm_list().await.unwrap().alarms.is_empty());
    // It comes back with the next write, and goes with all others.
    eventually("the alarm", async || client.put("k", vec![b'x'; 20_000]).await.err()).await;
    let disarmed = maintenance.alarm_disarm_all().await.unwrap();
    assert_eq!(disarmed.alarms, alarms.alarms);
    assert!(maintenance.alarm_list().await.unwrap().alarms.is_empty());
}

#[tokio::test]
async fn the_leadership_of_one_stays_where_it_is() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let id = client.get("k").await.unwrap().header.member_id;
    client.maintenance().move_leader(id).await.unwrap();
    let error = client.maintenance().move_leader(MemberId(7)).await.unwrap_err();
    assert!(error.is(EtcdError::BadLeaderTransferee), "{error}");
}

#[tokio::test]
async fn a_downgrade_is_checked() {
    let server = TestServer::start().await;
    let client = server.client().await;
    // The cluster's version is decided soon after its start.
    let outcome = eventually("the version of the cluster", async || {
        let outcome = client.maintenance().downgrade(DowngradeAction::Validate, "1.0").await;
        let undecided = matches!(&outcome, Err(error) if error.is(EtcdError::ClusterVersionUnavailable));
        (!undecided).then_some(outcome)
    })
    .await;
    let error = outcome.unwrap_err();
    if error.code() == Code::Unimplemented {
        eprintln!("skipped: this server knows no downgrade");
        return;
    }
    assert!(error.is(EtcdError::InvalidDowngradeTargetVersion), "{error}");
    let error = client.maintenance().downgrade(DowngradeAction::Validate, "x").await.unwrap_err();
    assert!(error.is(EtcdError::WrongDowngradeVersionFormat), "{error}");
    let version = client.maintenance().status(server.endpoint()).await.unwrap().version;
    let minor: u64 = version.split('.').nth(1).unwrap().parse().unwrap();
    let target = format!("3.{}", minor - 1);
    client.maintenance().downgrade(DowngradeAction::Validate, &target).await.unwrap();
    match client.maintenance().downgrade(DowngradeAction::Enable, &target).await {
        Err(error) if error.is(EtcdError::Timeout) => {
            eprintln!("skipped: this server (etcd 3.5.1) begins no downgrade");
            return;
        }
        begun => drop(begun.unwrap()),
    }
    let again = client.maintenance().downgrade(DowngradeAction::Enable, &target).await.unwrap_err();
    assert!(again.is(EtcdError::DowngradeInProcess), "{again}");
    client.maintenance().downgrade(DowngradeAction::Cancel, "").await.unwrap();
}

/// Names of the files in a directory.
fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("it can be done");
    entries
        .map(|entry| entry.expect("it can be done").file_name().into_string().expect("it can be done"))
        .collect()
}

/// What `etcdutl` or `etcdctl` of a real etcd says of a backup; nothing if none is on this machine.
fn snapshot_status(path: &Path) -> Option<String> {
    let directory = real_etcd()?.directory()?;
    let tool =
        ["etcdutl", "etcdctl"].map(|tool| directory.join(tool)).into_iter().find(|tool| tool.exists())?;
    let output = std::process::Command::new(tool)
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "status", "--write-out", "json"])
        .arg(path)
        .output()
        .expect("it can be done");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("it can be done"))
}

#[tokio::test]
async fn a_backup_is_saved() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for number in 0..20 {
        client.put(format!("k{number}"), vec![b'x'; 50_000]).await.unwrap();
    }
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("backup.db");
    std::fs::write(&path, "an older backup").unwrap();
    let saved = soon(client.maintenance().snapshot_to_file(&path)).await.unwrap();
    assert_eq!(files(directory.path()), ["backup.db"]);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), saved.file_bytes);
    assert!(saved.file_bytes > 1_000_000 && saved.file_bytes % 512 == 32);
    if let Some(status) = snapshot_status(&path) {
        assert!(status.contains("\"revision\":21"), "{status}");
    }
}

#[tokio::test]
async fn a_backup_is_a_stream_of_a_certain_member() {
    let (server, elsewhere) = (TestServer::start().await, TestServer::start().await);
    server.client().await.put("k", "a-value-that-is-found").await.unwrap();
    let maintenance = elsewhere.client().await.maintenance();
    let mut snapshot = maintenance.snapshot().endpoint(server.endpoint()).await.unwrap();
    let announced = snapshot.database_bytes();
    let mut bytes = Vec::new();
    while let Some(part) = snapshot.next().await {
        bytes.extend_from_slice(&part.unwrap());
    }
    assert_eq!(bytes.len() as u64, announced + 32);
    let wanted = b"a-value-that-is-found";
    assert!(bytes.windows(wanted.len()).any(|part| part == wanted));
    assert!(snapshot.next().await.is_none());
    // Those of 3.6 and later tell the version: etcd's once it has settled its storage's, which is up to four seconds after its start.
    let version = maintenance.status(server.endpoint()).await.unwrap().version;
    let tells = version.split('.').nth(1).unwrap().parse::<u64>().unwrap() >= 6;
    eventually("a backup with a version, or without", async || {
        let mut snapshot = maintenance.snapshot().endpoint(server.endpoint()).await.unwrap();
        while let Some(part) = snapshot.next().await {
            part.unwrap();
        }
        (snapshot.version().is_some() == tells).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_backup_that_is_cut_leaves_no_file() {
    let server = TestServer::start().await;
    server.client().await.put("k", vec![b'x'; 1_000_000]).await.unwrap();
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    client.get("k").keys_only().await.unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("backup.db");
    proxy.cut_after(600_000);
    let error = soon(client.maintenance().snapshot_to_file(&path)).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    assert!(files(directory.path()).is_empty());
    proxy.resume();

    // One that is given up leaves none either.
    proxy.silence();
    let patience = std::time::Duration::from_millis(300);
    let given_up = tokio::time::timeout(patience, client.maintenance().snapshot_to_file(&path)).await;
    assert!(given_up.is_err());
    assert!(files(directory.path()).is_empty());
    proxy.resume();
    let nowhere = directory.path().join("no/such/backup.db");
    let error = soon(client.maintenance().snapshot_to_file(&nowhere)).await.unwrap_err();
    assert!(matches!(&error, Error::Io { .. }) && error.to_string().contains("no/such"), "{error}");
    soon(client.maintenance().snapshot_to_file(&path)).await.unwrap();
}

#[tokio::test]
async fn a_backup_may_be_read_slowly() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for number in 0..30 {
        client.put(format!("k{number}"), vec![b'x'; 1_000_000]).await.unwrap();
    }
    let mut snapshot = client.maintenance().snapshot().await.unwrap();
    let mut parts = 0;
    while let Some(part) = StreamExt::next(&mut snapshot).await {
        part.unwrap();
        parts += 1;
        // Other calls on the connection go on while nobody takes the backup.
        if parts % 200 == 1 {
            soon(client.get("k1").count_only()).await.unwrap();
        }
    }
    assert!(parts > 30, "{parts}");
}

#[tokio::test]
async fn old_servers_are_refused_if_told_so() {
    let server = TestServer::start().await;
    let version = server.client().await.maintenance().status(server.endpoint()).await.unwrap().version;
    let is_old = version.split('.').nth(1).unwrap().parse::<u64>().unwrap() < 6;
    match soon(Client::connect(config(server.endpoint()).reject_old_cluster())).await {
        Ok(_) => assert!(!is_old, "{version}"),
        Err(error) => {
            assert!(is_old && matches!(error, Error::OldCluster { .. }), "{error}");
            assert!(error.to_string().contains(&version), "{error}");
        }
    }
}
