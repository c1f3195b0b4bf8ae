//! Who is turned away, and what the log says then.

use crate::support::{
    Member, World, both, curl, etcdctl, failure, flag, foreign, hurried, s_client, success, text,
};
use std::{fs, process::Stdio};
use tenure_harness::{
    pki::{Authority, Identity, Owner},
    port::free_port,
    process::Target,
};

/// Somebody, what the log says of him, and what he is told, in OpenSSL's words.
struct Stranger {
    identity: Option<Identity>,
    reason: &'static str,
    alert: &'static str,
}

fn strangers(world: &World) -> Vec<Stranger> {
    let other = Authority::new(world.directory.path(), "other").unwrap();
    let directory = world.directory.path();
    let issue = |name: &str, owner: &Owner| Some(world.authority.issue(name, owner).unwrap());
    let unknown = "x509: certificate signed by unknown authority";
    vec![
        Stranger {
            identity: None,
            reason: "tls: client didn't provide a certificate",
            alert: "alert certificate required",
        },
        Stranger {
            identity: issue("late", &Owner::named("late").expired()),
            reason: "x509: certificate has expired or is not yet valid",
            alert: "alert certificate expired",
        },
        Stranger {
            identity: Some(Identity::self_signed(directory, "self", &Owner::named("self")).unwrap()),
            reason: unknown,
            alert: "alert unknown ca",
        },
        Stranger {
            identity: Some(other.issue("foreign", &Owner::named("foreign")).unwrap()),
            reason: unknown,
            alert: "alert unknown ca",
        },
        Stranger {
            identity: issue("serving", &Owner::named("serving").for_servers_only()),
            reason: "x509: certificate specifies an incompatible key usage",
            alert: "alert unsupported certificate",
        },
    ]
}

#[test]
fn strangers_are_turned_away_with_the_reason_in_the_log() {
    let world = World::new();
    let member = Member::start(&world, &world.strict_flags());
    let strangers = strangers(&world);
    // At once: an etcdctl that is refused tries until its patience is over.
    std::thread::scope(|scope| {
        for stranger in &strangers {
            scope.spawn(|| is_turned_away(&world, &member, stranger));
        }
    });
    let Some(mut curl) = curl(&world, Some(&world.alice)) else { return };
    assert_eq!(success(curl.arg(member.url() + "/livez")), "ok\n", "others are served");
}

fn is_turned_away(world: &World, member: &Member, stranger: &Stranger) {
    let mut said = Vec::new();
    if let Some(mut curl) = curl(world, stranger.identity.as_ref()) {
        said.push(failure(curl.arg(member.url() + "/health")));
    }
    for target in [Target::Etcd34, Target::Etcd35] {
        if let Some(mut ctl) = etcdctl(target, world, member, stranger.identity.as_ref()) {
            said.push(failure(hurried(&mut ctl).args(["get", "a"])));
        }
    }
    if let Some(told) = shake(member, stranger.identity.as_ref()) {
        assert!(told.contains(stranger.alert), "{}: {told}", stranger.reason);
        said.push(told);
    }
    if said.is_empty() {
        return;
    }
    let name = stranger.identity.as_ref().map(|identity| identity.certificate.file_stem().unwrap());
    let line = member.line(|line| {
        text(line, "error").contains(stranger.reason)
            && name.is_none_or(|name| name.to_str() == line["common-name"].as_str())
    });
    assert_eq!(line["msg"], "rejected connection on client endpoint");
    assert!(text(&line, "remote-addr").starts_with("127.0.0.1:"), "{line}");
}

/// What OpenSSL says of a handshake after which it reads.
fn shake(member: &Member, identity: Option<&Identity>) -> Option<String> {
    let mut openssl = foreign("openssl")?;
    openssl.args(["s_client", "-connect", &member.address, "-alpn", "h2", "-ign_eof"]).stdin(Stdio::null());
    if let Some(identity) = identity {
        openssl.arg("-cert").arg(&identity.certificate).arg("-key").arg(&identity.key);
    }
    Some(both(&openssl.output().unwrap()))
}

/// Servers that their clients leave, each with what curl and OpenSSL call the reason, and with the alert that the server logs.
#[test]
fn a_server_that_cannot_be_trusted_is_left_and_hears_why() {
    let mut world = World::new();
    let local = Owner::local_server;
    let other = Authority::new(world.directory.path(), "other").unwrap();
    let servers = [
        (world.authority.issue("late", &local().expired()).unwrap(), "expired", "expired certificate"),
        (
            Identity::self_signed(world.directory.path(), "self", &local()).unwrap(),
            "self",
            "unknown certificate authority",
        ),
        (
            other.issue("foreign", &local()).unwrap(),
            "unable to get local issuer",
            "unknown certificate authority",
        ),
    ];
    for (identity, reason, alert) in servers {
        world.server = identity;
        let member = Member::start(&world, &world.server_flags());
        let Some(mut curl) = curl(&world, None) else { return };
        let said = failure(curl.arg(member.url() + "/health"));
        assert!(said.contains(reason), "{reason}: {said}");
        member.rejection(&format!("remote error: tls: {alert}"));
        let ca = world.authority.certificate().to_str().unwrap().to_owned();
        let said = s_client(&member, &["-CAfile", &ca, "-verify_return_error"]).unwrap();
        assert!(said.contains(reason), "{reason}: {said}");
        if let Some(mut ctl) = etcdctl(Target::Etcd35, &world, &member, None) {
            failure(hurried(&mut ctl).args(["get", "a"]));
            // Go says the same of every certificate.
            member.rejection("remote error: tls: bad certificate");
        }
    }
}

#[test]
fn a_server_by_another_name_is_left_by_its_clients_and_the_log_says_so() {
    let mut world = World::new();
    world.server = world.authority.issue("elsewhere", &Owner::named("x").at(&["elsewhere.invalid"])).unwrap();
    let member = Member::start(&world, &world.server_flags());
    let Some(mut ctl) = etcdctl(Target::Etcd35, &world, &member, None) else { return };
    let said = failure(hurried(&mut ctl).args(["get", "a"]));
    assert!(said.contains("deadline exceeded") || said.contains("x509"), "{said}");
    member.rejection("remote error: tls: bad certificate");
    let Some(mut curl) = curl(&world, None) else { return };
    assert!(failure(curl.arg(member.url() + "/health")).contains("SSL"));
}

/// A15: GHSA-3wh4-j44w-pg92, where a listener of its own for HTTP took the list of revoked certificates away from gRPC's.
#[test]
fn a15_revoked_certificates_are_refused_on_every_listener() {
    let world = World::new();
    let list = world.path("revoked.crl");
    let mallory = world.authority.issue("mallory", &Owner::named("mallory")).unwrap();
    world.authority.revoke(&list, &[&mallory]).unwrap();
    let mut flags = world.strict_flags();
    flags.push(flag("client-crl-file", &list));
    flags.push(format!("--listen-client-http-urls=https://127.0.0.1:{}", free_port().unwrap()));
    let member = Member::start(&world, &flags);
    let http = member.line(|line| line["traffic"] == "http")["address"].as_str().unwrap().to_owned();
    assert_eq!(member.line(|line| line["traffic"] == "grpc")["address"], member.address.as_str());
    for target in [Target::Etcd34, Target::Etcd35] {
        let Some(mut ctl) = etcdctl(target, &world, &member, Some(&mallory)) else { continue };
        failure(hurried(&mut ctl).args(["put", "a", "stolen"]));
        let line = member.rejection("transport: certificate serial ");
        assert!(text(&line, "error").ends_with(" revoked"), "{line}");
        let mut ctl = etcdctl(target, &world, &member, Some(&world.alice)).unwrap();
        assert_eq!(success(ctl.args(["get", "a"])), "");
    }
    if let Some(told) = shake(&member, Some(&mallory)) {
        assert!(told.contains("alert certificate revoked"), "{told}");
    }
    let health = format!("https://{http}/health");
    let Some(mut revoked) = curl(&world, Some(&mallory)) else { return };
    assert!(failure(revoked.arg(&health)).contains("revoked"));
    success(curl(&world, Some(&world.alice)).unwrap().arg(&health));
}

#[test]
fn only_allowed_names_are_served() {
    let world = World::new();
    let named = world.authority.issue("named", &Owner::named("named").at(&["client.example"])).unwrap();
    let mut flags = world.strict_flags();
    flags.push("--client-cert-allowed-hostname=other.example,client.example".to_owned());
    let member = Member::start(&world, &flags);
    let Some(mut good) = curl(&world, Some(&named)) else { return };
    success(good.arg(member.url() + "/health"));
    failure(curl(&world, Some(&world.alice)).unwrap().arg(member.url() + "/health"));
    let line = member.rejection("client certificate authentication failed");
    assert_eq!(line["common-name"], "alice");
    drop(member);

    // Common names stand in the file alone.
    let path = |path: &std::path::Path| path.display().to_string();
    let file = world.path("tenure.yaml");
    let yaml = format!(
        "name: m1\ndata-dir: {data}\nlisten-client-urls: https://127.0.0.1:0\nadvertise-client-urls: https://127.0.0.1:1\n\
         listen-peer-urls: {peer}\ninitial-advertise-peer-urls: {peer}\ninitial-cluster: m1={peer}\n\
         client-transport-security:\n  cert-file: {cert}\n  key-file: {key}\n  trusted-ca-file: {ca}\n  \
         client-cert-auth: true\n  allowed-cn: [bob, alice]\n",
        data = path(&world.path("data")),
        peer = format_args!("http://127.0.0.1:{}", free_port().unwrap()),
        cert = path(&world.server.certificate),
        key = path(&world.server.key),
        ca = path(world.authority.certificate()),
    );
    fs::write(&file, yaml).unwrap();
    let member = Member::listening(&world, "https://127.0.0.1:0", &[flag("config-file", &file)]);
    success(curl(&world, Some(&world.alice)).unwrap().arg(member.url() + "/health"));
    failure(curl(&world, Some(&named)).unwrap().arg(member.url() + "/health"));
    member.rejection("client certificate authentication failed");
}
