//! TLS between members.

use crate::support::{World, flag};
use std::path::Path;
use tenure_api::etcdserverpb::{PutRequest, RangeRequest, kv_client::KvClient};
use tenure_harness::{
    cluster::{Cluster, until},
    pki::{Authority, Identity, Owner},
};

const MEMBERS: usize = 3;

/// Members that trust each other's certificates for servers, and their certificates for clients if they have any.
fn members(world: &World, dials_with: Option<&Owner>) -> Cluster {
    cluster(world, |at| {
        let serves = Owner::local_server().for_servers_only();
        let serves = world.authority.issue(&format!("m{at}"), &serves).unwrap();
        let mut flags = shows(&serves);
        if let Some(owner) = dials_with {
            let dials = world.authority.issue(&format!("m{at}-dials"), owner).unwrap();
            flags.extend([
                flag("peer-client-cert-file", &dials.certificate),
                flag("peer-client-key-file", &dials.key),
            ]);
        }
        flags
    })
}

fn shows(identity: &Identity) -> Vec<String> {
    vec![flag("peer-cert-file", &identity.certificate), flag("peer-key-file", &identity.key)]
}

/// Members that trust an authority; each has flags of its own besides.
fn cluster(world: &World, flags: impl Fn(usize) -> Vec<String>) -> Cluster {
    let tenured = Path::new(env!("CARGO_BIN_EXE_tenured"));
    let mut cluster = Cluster::new(tenured, &world.path("members"), MEMBERS, &[]).unwrap();
    std::fs::create_dir_all(world.path("members")).unwrap();
    let text = cluster.text().replace("http://", "https://");
    for at in 0..MEMBERS {
        let member = &mut cluster.members[at];
        member.join(&format!("m{at}"), &text);
        let url = format!("https://{}", member.peer_address());
        member.add_flags([
            format!("--listen-peer-urls={url}"),
            format!("--initial-advertise-peer-urls={url}"),
            flag("peer-trusted-ca-file", world.authority.certificate()),
            "--peer-client-cert-auth".to_owned(),
        ]);
        member.add_flags(flags(at));
        member.launch().unwrap();
    }
    cluster
}

/// Writes at one member and reads at all.
async fn work(cluster: &mut Cluster) {
    for at in 0..MEMBERS {
        cluster.ready(at).await.unwrap();
    }
    let put = PutRequest { key: "a".into(), value: "1".into(), ..PutRequest::default() };
    KvClient::new(cluster.channel(0).await.unwrap()).put(put).await.unwrap();
    for at in 0..MEMBERS {
        let range = RangeRequest { key: "a".into(), ..RangeRequest::default() };
        let read = KvClient::new(cluster.channel(at).await.unwrap()).range(range).await.unwrap();
        assert_eq!(read.into_inner().count, 1, "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_dial_with_the_certificate_that_is_for_it() {
    let world = World::new();
    let mut cluster = members(&world, Some(&Owner::named("member").for_clients_only()));
    work(&mut cluster).await;
}

/// As `openssl req -x509` makes it: an authority's, and all have the same one.
#[tokio::test(flavor = "multi_thread")]
async fn members_take_each_other_with_a_certificate_that_is_trusted_itself() {
    let mut world = World::new();
    let owner = Owner::local_server().with_the_right_to_issue();
    let (authority, itself) = Authority::of(world.directory.path(), "all", &owner).unwrap();
    world.authority = authority;
    work(&mut cluster(&world, |_| shows(&itself))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_take_each_other_with_authorities_certificates_that_a_trusted_one_issued() {
    let world = World::new();
    let owner = Owner::local_server().with_the_right_to_issue();
    let issued = |at| shows(&world.authority.issue(&format!("m{at}"), &owner).unwrap());
    work(&mut cluster(&world, issued)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_without_it_dial_with_what_they_serve_with_and_are_refused_if_it_is_for_servers() {
    let world = World::new();
    let cluster = members(&world, None);
    for at in 0..MEMBERS {
        let refused = until("a member is turned away", || async {
            let log = std::fs::read_to_string(cluster.members[at].log())?;
            let is_refusal = |line: &&str| {
                line.contains("rejected connection on peer endpoint")
                    && line.contains("certificate specifies an incompatible key usage")
            };
            Ok(log.lines().find(is_refusal).map(str::to_owned))
        });
        let line = refused.await.unwrap();
        assert!(line.contains("\"common-name\":\"server\"") && line.contains("127.0.0.1"), "{line}");
        let log = std::fs::read_to_string(cluster.members[at].log()).unwrap();
        assert!(!log.contains("ready to serve client requests"), "{at} found a leader");
    }
}

/// Waits until one of these members has a line in its log that holds all of these words.
async fn one_logs(cluster: &Cluster, places: &[usize], words: &[&str]) {
    let what = format!("one of {places:?} logs {words:?}");
    let found = until(&what, || async {
        for at in places {
            let log = std::fs::read_to_string(cluster.members[*at].log())?;
            if log.lines().any(|line| words.iter().all(|word| line.contains(word))) {
                return Ok(Some(()));
            }
        }
        Ok(None)
    });
    found.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_name_is_not_allowed_hears_so_and_the_others_say_so() {
    let world = World::new();
    let named = |name: &str| Owner::named(name).at(&["localhost", "127.0.0.1"]);
    let names = ["insider", "insider", "outsider"];
    let mut cluster = cluster(&world, |at| {
        let mut flags = shows(&world.authority.issue(&format!("m{at}"), &named(names[at])).unwrap());
        flags.push("--peer-cert-allowed-cn=insider".to_owned());
        flags
    });
    for at in 0..2 {
        cluster.ready(at).await.unwrap();
    }
    // Who is dialed and refused hears why; who dials and is refused is known by name.
    let rejected = "rejected connection on peer endpoint";
    one_logs(&cluster, &[2], &[rejected, "\"error\":\"remote error: tls: bad certificate\""]).await;
    let refused = "client certificate authentication failed";
    one_logs(&cluster, &[0], &[rejected, "\"common-name\":\"outsider\"", refused]).await;
    // Whichever of the two leads.
    one_logs(&cluster, &[0, 1], &["failed to get version", refused]).await;
}
