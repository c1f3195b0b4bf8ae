//! Downgrades, and the versions that a cluster speaks and stores.

use std::path::Path;
use std::time::Duration;
use tenure_api::etcdserverpb::{
    DowngradeRequest, DowngradeResponse, PutRequest, SnapshotRequest, downgrade_request::DowngradeAction,
    kv_client::KvClient, maintenance_client::MaintenanceClient,
};
use tenure_core::command::{ClusterVersionSet, Command, DowngradeInfoSet};
use tenure_harness::cluster::{Cluster, until};
use tenure_server::Server;
use tenure_server::auth::Caller;
use tenure_server::config::ServerConfig;
use tonic::{Code, Status};

fn tenured() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tenured"))
}

async fn downgrade(
    cluster: &Cluster,
    at: usize,
    action: i32,
    version: &str,
) -> Result<DowngradeResponse, Status> {
    let mut maintenance = MaintenanceClient::new(cluster.channel(at).await.expect("a connection"));
    let request = DowngradeRequest { action, version: version.to_owned() };
    maintenance.downgrade(request).await.map(tonic::Response::into_inner)
}

async fn refused(cluster: &Cluster, at: usize, action: DowngradeAction, version: &str) -> (Code, String) {
    let refused = downgrade(cluster, at, action.into(), version).await.expect_err("it is refused");
    (refused.code(), refused.message().to_owned())
}

async fn body(address: &str, path: &str) -> String {
    let answer = tenure_harness::http::request(address, "GET", path).await.expect("an answer");
    assert_eq!(answer.status, "200 OK", "{path}");
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Waits until all members say in all places that the cluster speaks and stores `version`, and what they say of a downgrade.
async fn speaks(cluster: &Cluster, version: &str, target: &str) {
    let what = format!("the cluster speaks {version}");
    let speaks = until(&what, || async {
        for at in 0..cluster.members.len() {
            let status = cluster.status(at).await?;
            let info = status.downgrade_info.expect("it says whether there is a downgrade");
            let said = (status.storage_version.as_str(), info.enabled, info.target_version.as_str());
            if said != (version, !target.is_empty(), target) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    });
    speaks.await.expect("the version");
    let short = version.trim_end_matches(".0");
    let versions = format!(r#"{{"etcdserver":"3.7.1","etcdcluster":"{version}","storage":"{version}"}}"#);
    let sample = format!("etcd_cluster_version{{cluster_version=\"{short}\"}} 1");
    for member in &cluster.members {
        // What is applied is told in one place after the other.
        until(&what, || async {
            let pages =
                [body(&member.address(), "/version").await, body(&member.peer_address(), "/version").await];
            let metrics = body(&member.address(), "/metrics").await;
            let is_spoken = |line: &&str| line.starts_with("etcd_cluster_version{") && line.ends_with(" 1");
            let spoken: Vec<&str> = metrics.lines().filter(is_spoken).collect();
            Ok((pages == [&versions[..]; 2] && spoken == [&sample[..]]).then_some(()))
        })
        .await
        .expect("everywhere");
    }
}

async fn put(cluster: &Cluster, at: usize, key: &str) {
    let put = PutRequest { key: key.to_owned().into(), value: "x".into(), ..PutRequest::default() };
    until("a put is acknowledged", || async {
        let Ok(channel) = cluster.channel(at).await else { return Ok(None) };
        Ok(KvClient::new(channel).put(put.clone()).await.ok())
    })
    .await
    .expect("put");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downgrade_is_checked_begun_survives_restarts_and_is_taken_back() {
    use DowngradeAction::{Cancel, Enable, Validate};
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--downgrade-check-time=100ms"];
    let mut cluster = Cluster::start(tenured(), directory.path(), 3, &flags).await.expect("a cluster");
    speaks(&cluster, "3.7.0", "").await;
    put(&cluster, 0, "before").await;
    for version in ["3.6", "3.6.0", "3.6.9"] {
        let valid = downgrade(&cluster, 0, Validate.into(), version).await.expect("it could begin");
        assert_eq!(valid.version, "3.7");
        assert!(valid.header.is_some_and(|header| header.revision == 2 && header.member_id != 0));
    }
    for action in [Validate, Enable] {
        for version in ["", "x", "3", "3.x", "v3.6"] {
            let format = (Code::InvalidArgument, "etcdserver: wrong downgrade target version format".into());
            assert_eq!(refused(&cluster, 1, action, version).await, format, "{version:?}");
        }
        for version in ["3.5", "3.7", "3.8", "2.6"] {
            let target = (Code::InvalidArgument, "etcdserver: invalid downgrade target version".into());
            assert_eq!(refused(&cluster, 1, action, version).await, target, "{version:?}");
        }
    }
    let unknown = downgrade(&cluster, 0, 7, "3.6").await.expect_err("no such action");
    assert_eq!((unknown.code(), unknown.message()), (Code::Unknown, "etcdserver: unknown method"));
    speaks(&cluster, "3.7.0", "").await;

    // Through a member that may well not lead.
    let begun = until("it begins", || async {
        match downgrade(&cluster, 2, Enable.into(), "3.6").await {
            // Nobody answered, or nobody answered the attempt that began it.
            Err(status) if status.code() == Code::Unavailable => Ok(None),
            Err(status) if status.message().contains("in progress") => Ok(Some(())),
            begun => {
                begun.expect("it begins");
                Ok(Some(()))
            }
        }
    });
    begun.await.expect("it begins");
    speaks(&cluster, "3.6.0", "3.6.0").await;
    for action in [Validate, Enable] {
        let under_way =
            (Code::FailedPrecondition, "etcdserver: cluster has a downgrade job in progress".into());
        assert_eq!(refused(&cluster, 0, action, "3.6").await, under_way);
    }
    // The members are newer than that, so it goes on.
    until("whoever leads has looked whether it is done", || async {
        let logs = cluster.members.iter().map(|member| std::fs::read(member.log()).expect("a log"));
        let has_looked = |log: Vec<u8>| {
            String::from_utf8_lossy(&log).contains("remotes server has mismatching etcd version")
        };
        Ok(logs.into_iter().any(has_looked).then_some(()))
    })
    .await
    .expect("a look");
    // etcd 3.6 members that ask may join now.
    assert_eq!(body(&cluster.members[0].peer_address(), "/downgrade/enabled").await, "false");
    put(&cluster, 1, "during").await;
    let mut maintenance = MaintenanceClient::new(cluster.channel(1).await.expect("a connection"));
    let mut snapshot = maintenance.snapshot(SnapshotRequest {}).await.expect("a backup").into_inner();
    let first = snapshot.message().await.expect("a piece").expect("of a backup");
    assert_eq!(first.version, "3.6.0");
    drop(snapshot);

    for at in 0..3 {
        cluster.members[at].kill().expect("it ran");
    }
    for at in 0..3 {
        cluster.members[at].launch().expect("it starts");
    }
    for at in 0..3 {
        cluster.ready(at).await.expect("it is back");
    }
    speaks(&cluster, "3.6.0", "3.6.0").await;
    put(&cluster, 2, "after").await;

    downgrade(&cluster, 1, Cancel.into(), "").await.expect("it ends");
    speaks(&cluster, "3.7.0", "").await;
    let again = downgrade(&cluster, 1, Cancel.into(), "").await.expect("as etcd 3.7: no fault");
    assert_eq!(again.version, "3.7");
    cluster.equal().await.expect("all are equal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downgrade_ends_by_itself_once_all_members_have_its_version() {
    let directory = tempfile::tempdir().expect("a directory");
    let start = async |downgrade_check_time| {
        let config = ServerConfig::in_directory(directory.path()).without_listeners();
        Server::start(ServerConfig { downgrade_check_time, ..config }).await.expect("a member starts")
    };
    // Nobody looks.
    let server = start(Duration::ZERO).await;
    // As a cluster of a newer version leaves it to its last member, which is of this one.
    let set = DowngradeInfoSet { enabled: true, version: "3.7.0".to_owned() };
    server.member().propose(&Caller::Member, Command::DowngradeInfoSet(set)).await.expect("it is applied");
    assert_eq!(server.member().downgrade_target().as_deref(), Some("3.7.0"));
    server.shutdown().await.expect("it stops");
    let server = start(Duration::from_millis(50)).await;
    until("the downgrade ends", || async { Ok(server.member().downgrade_target().is_none().then_some(())) })
        .await
        .expect("its end");
    assert_eq!(server.member().cluster_version().as_deref(), Some("3.7.0"));
    server.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_stops_when_its_cluster_speaks_a_newer_version() {
    let directory = tempfile::tempdir().expect("a directory");
    let start = || Server::start(ServerConfig::in_directory(directory.path()).without_listeners());
    let server = start().await.expect("a member starts");
    let set = Command::ClusterVersionSet(ClusterVersionSet { version: "3.8.0".to_owned() });
    server.member().propose(&Caller::Member, set).await.expect_err("it cannot be applied");
    let halted = server.halted().await.to_string();
    assert!(halted.contains("server version is lower than determined cluster version"), "{halted}");
    server.shutdown().await.expect_err("it had to stop by itself");
    let Err(refused) = start().await else { panic!("it does not start again") };
    assert!(refused.to_string().contains("the cluster speaks 3.8.0"), "{refused}");
}
