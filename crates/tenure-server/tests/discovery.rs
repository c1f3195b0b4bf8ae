//! Members that find each other through the registry that another cluster keeps.

use std::path::{Path, PathBuf};
use tenure_api::etcdserverpb::{
    AuthEnableRequest, AuthUserAddRequest, AuthUserGrantRoleRequest, PutRequest, RangeRequest,
    auth_client::AuthClient, kv_client::KvClient,
};
use tenure_client::{Client, ClientConfig, Pem, TlsConfig};
use tenure_harness::cluster::{Cluster, until};
use tenure_harness::pki::{Authority, Owner};
use tenure_harness::process::{Server, Target};

fn tenured() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tenured"))
}

fn program(target: Target) -> Option<PathBuf> {
    match target {
        Target::Tenured => Some(tenured().to_path_buf()),
        etcd => etcd.directory().map(|directory| directory.join("etcd")),
    }
}

fn log_of(server: &Server) -> String {
    String::from_utf8_lossy(&std::fs::read(server.log()).expect("a log")).into_owned()
}

async fn until_logged(server: &Server, text: &str) {
    let logged = until(text, || async { Ok(log_of(server).contains(text).then_some(())) });
    logged.await.unwrap_or_else(|error| panic!("{error}\n{}", server.log_tail()));
}

/// The end of a member that does not start: its exit code and its log.
async fn refused(server: &mut Server) -> String {
    server.launch().expect("it starts");
    let ended = server.wait_end().await.expect("it ends");
    assert_eq!(ended.code(), Some(1), "{}", server.log_tail());
    assert!(!server.data().join("member").exists(), "it left data behind");
    log_of(server)
}

async fn write(server: &Server, key: &str, value: &str) {
    let put =
        PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() };
    let kv = KvClient::new(server.channel().await.expect("a connection"));
    let written = until("a put is acknowledged", || async { Ok(kv.clone().put(put.clone()).await.ok()) });
    written.await.expect("put");
}

async fn registered(registry: &Server) -> Vec<String> {
    let range = RangeRequest {
        key: "/_etcd/registry/tok/members/".into(),
        range_end: "/_etcd/registry/tok/members0".into(),
        ..RangeRequest::default()
    };
    let mut kv = KvClient::new(registry.channel().await.expect("a connection"));
    let kvs = kv.range(range).await.expect("read").into_inner().kvs;
    let mut values: Vec<String> =
        kvs.iter().map(|kv| String::from_utf8_lossy(&kv.value).into_owned()).collect();
    values.sort_unstable();
    values
}

/// A registry with a size, and the flags that lead to it.
async fn registry(program: &Path, directory: &Path, size: &str) -> (Server, Vec<String>) {
    let registry = Server::start(program, &directory.join("registry"), &[]).await.expect("a registry");
    write(&registry, "/_etcd/registry/tok/_config/size", size).await;
    let flags = vec![format!("--discovery-endpoints={}", registry.url()), "--discovery-token=tok".to_owned()];
    (registry, flags)
}

fn words(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

async fn members_find_each_other_through(target: Target) {
    let Some(program) = program(target) else {
        eprintln!("skipped: no {target} on this machine");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let (registry, flags) = registry(&program, directory.path(), "3").await;
    let mut cluster =
        Cluster::discovering(tenured(), directory.path(), 3, &words(&flags)).expect("free ports");
    for at in 0..2 {
        cluster.members[at].launch().expect("it starts");
    }
    until_logged(&cluster.members[0], "waiting for peers from discovery service").await;
    until_logged(&cluster.members[1], "waiting for peers from discovery service").await;
    cluster.members[2].launch().expect("it starts");
    for at in 0..3 {
        cluster.ready(at).await.expect("a member");
    }
    write(&cluster.members[0], "a", "1").await;
    cluster.equal().await.expect("one cluster");
    let urls: Vec<String> =
        (0..3).map(|at| format!("m{at}=http://{}", cluster.members[at].peer_address())).collect();
    assert_eq!(registered(&registry).await, urls);

    // A fourth comes too late.
    let mut fourth = Server::new(tenured(), &directory.path().join("fourth"), &flags).expect("a port");
    fourth.discover("m3");
    let log = refused(&mut fourth).await;
    assert!(log.contains("failed to join discovery cluster (discovery: cluster is full)"), "{log}");
    assert!(log.contains("failed to bootstrap; discovery token was already used"), "{log}");
    assert_eq!(registered(&registry).await, urls);

    // Who has been a member needs no registry any more; who has lost its data must not be born again.
    drop(registry);
    cluster.members[0].kill().expect("it ran");
    cluster.members[0].launch().expect("it starts");
    cluster.ready(0).await.expect("it is back");
    let log = log_of(&cluster.members[0]);
    assert!(log.contains("discovery token is ignored since cluster already initialized"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_find_each_other_through_a_real_etcd() {
    members_find_each_other_through(Target::Etcd35).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_find_each_other_through_a_tenured() {
    members_find_each_other_through(Target::Tenured).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_data_is_not_born_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_registry, flags) = registry(tenured(), directory.path(), "2").await;
    let mut cluster =
        Cluster::discovering(tenured(), directory.path(), 2, &words(&flags)).expect("free ports");
    for member in &mut cluster.members {
        member.launch().expect("it starts");
    }
    for at in 0..2 {
        cluster.ready(at).await.expect("a member");
    }
    cluster.members[1].kill().expect("it ran");
    std::fs::remove_dir_all(cluster.members[1].data()).expect("its data are gone");
    let log = refused(&mut cluster.members[1]).await;
    assert!(log.contains("has already been bootstrapped"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_says_no_size_refuses_and_one_name_is_for_one_member() {
    let directory = tempfile::tempdir().expect("a directory");
    let (registry, flags) = registry(tenured(), directory.path(), "two").await;
    let mut cluster =
        Cluster::discovering(tenured(), directory.path(), 2, &words(&flags)).expect("free ports");
    let log = refused(&mut cluster.members[0]).await;
    assert!(log.contains("failed to join discovery cluster (discovery: size key is bad)"), "{log}");
    let mut other = Server::new(tenured(), &directory.path().join("other"), &flags).expect("a port");
    other.discover("m0");
    other.add_flags(["--discovery-token=another"]);
    let log = refused(&mut other).await;
    assert!(log.contains("failed to join discovery cluster (discovery: size key not found)"), "{log}");

    write(&registry, "/_etcd/registry/tok/_config/size", "2").await;
    cluster.members[0].launch().expect("it starts");
    until_logged(&cluster.members[0], "waiting for peers from discovery service").await;
    other.set_flags(&flags);
    let log = refused(&mut other).await;
    assert!(log.contains("another member is named"), "{log}");
    other.add_flags(["--initial-cluster-state=existing"]);
    let log = refused(&mut other).await;
    assert!(log.contains("discovery URL should not be set when joining existing initial cluster"), "{log}");
    // They took nobody's place.
    cluster.members[1].launch().expect("it starts");
    for at in 0..2 {
        cluster.ready(at).await.expect("a member");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_is_waited_for_and_a_member_that_waits_can_be_stopped() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut registry, flags) = registry(tenured(), directory.path(), "1").await;
    registry.kill().expect("it ran");
    let flags = [flags, vec!["--discovery-dial-timeout=100ms".to_owned()]].concat();
    let mut cluster =
        Cluster::discovering(tenured(), directory.path(), 2, &words(&flags)).expect("free ports");
    for member in &mut cluster.members {
        member.launch().expect("it starts");
        until_logged(member, "retry connecting to discovery service").await;
    }
    cluster.members[1].terminate().await.expect("it stops");
    registry.start_again().await.expect("it is back");
    cluster.ready(0).await.expect("a member");
    assert_eq!(registered(&registry).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_a_password_gets_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (registry, flags) = registry(tenured(), directory.path(), "1").await;
    let mut auth = AuthClient::new(registry.channel().await.expect("a connection"));
    let user = AuthUserAddRequest {
        name: "root".to_owned(),
        password: "sesame".to_owned(),
        ..AuthUserAddRequest::default()
    };
    auth.user_add(user).await.expect("added");
    let role = AuthUserGrantRoleRequest { user: "root".to_owned(), role: "root".to_owned() };
    auth.user_grant_role(role).await.expect("granted");
    auth.auth_enable(AuthEnableRequest {}).await.expect("enabled");
    let mut cluster =
        Cluster::discovering(tenured(), directory.path(), 1, &words(&flags)).expect("free ports");
    let log = refused(&mut cluster.members[0]).await;
    assert!(log.contains("user name is empty"), "{log}");
    cluster.members[0].add_flags(["--discovery-user=root:wrong"]);
    let log = refused(&mut cluster.members[0]).await;
    assert!(log.contains("authentication failed, invalid user ID or password"), "{log}");
    cluster.members[0].add_flags(["--discovery-user=root", "--discovery-password=sesame"]);
    cluster.members[0].launch().expect("it starts");
    cluster.ready(0).await.expect("a member");
    assert!(!log_of(&cluster.members[0]).contains("sesame"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_behind_tls_sees_a_certificate() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(directory.path(), "authority").expect("an authority");
    let server = authority.issue("server", &Owner::local_server()).expect("a certificate");
    let alice = authority.issue("alice", &Owner::named("alice")).expect("a certificate");
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let mut registry = Server::new(tenured(), &directory.path().join("registry"), &[]).expect("a port");
    let url = registry.url().replace("http:", "https:");
    registry.set_flags(&[
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        flag("cert-file", &server.certificate),
        flag("key-file", &server.key),
        flag("trusted-ca-file", authority.certificate()),
        "--client-cert-auth".to_owned(),
    ]);
    registry.launch().expect("it starts");
    until_logged(&registry, "ready to serve client requests").await;
    let tls = TlsConfig::default()
        .trust(Pem::file(authority.certificate()))
        .identity(Pem::file(&alice.certificate), Pem::file(&alice.key));
    let client = Client::connect(ClientConfig::new([url.clone()]).tls(tls)).await.expect("a connection");
    client.put("/_etcd/registry/tok/_config/size", "1").await.expect("put");

    let flags = [
        format!("--discovery-endpoints={url}"),
        "--discovery-token=tok".to_owned(),
        "--discovery-insecure-transport=false".to_owned(),
        flag("discovery-cacert", authority.certificate()),
    ];
    let mut cluster =
        Cluster::discovering(tenured(), directory.path(), 1, &words(&flags)).expect("free ports");
    cluster.members[0].launch().expect("it starts");
    until_logged(&cluster.members[0], "retry connecting to discovery service").await;
    cluster.members[0].terminate().await.expect("it stops");
    cluster.members[0]
        .add_flags([flag("discovery-cert", &alice.certificate), flag("discovery-key", &alice.key)]);
    cluster.members[0].launch().expect("it starts");
    cluster.ready(0).await.expect("a member");
}
