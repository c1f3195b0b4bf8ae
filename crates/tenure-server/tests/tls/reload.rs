//! Files that change while the member runs.

use crate::support::{Member, World, curl, failure, flag, s_client, success};
use std::fs;
use tenure_harness::pki::Owner;

/// The common name that the server shows.
fn shown(member: &Member) -> Option<String> {
    let said = s_client(member, &[])?;
    let line = said.lines().find(|line| line.starts_with("subject="));
    Some(line.unwrap_or_else(|| panic!("{said}")).replace(' ', ""))
}

#[test]
fn a_certificate_that_is_replaced_is_shown_without_a_restart() {
    let world = World::new();
    let member = Member::start(&world, &world.server_flags());
    let Some(subject) = shown(&member) else { return };
    assert_eq!(subject, "subject=CN=server");
    world.authority.issue("server", &Owner::named("renewed").at(&["localhost", "127.0.0.1"])).unwrap();
    assert_eq!(shown(&member).unwrap(), "subject=CN=renewed");
    member.line(|line| line["msg"].as_str().unwrap().starts_with("TLS files have changed"));

    // What is half replaced or nonsense is not used, and not the end.
    fs::write(&world.server.certificate, "nonsense").unwrap();
    assert_eq!(shown(&member).unwrap(), "subject=CN=renewed");
    member.line(|line| line["msg"].as_str().unwrap().starts_with("failed to read changed TLS files"));
    let other = world.authority.issue("other", &Owner::local_server()).unwrap();
    fs::copy(&other.certificate, &world.server.certificate).unwrap();
    assert_eq!(shown(&member).unwrap(), "subject=CN=renewed", "the key is not that of the certificate");
    member
        .line(|line| line["error"].as_str().is_some_and(|error| error.contains("does not match public key")));
    fs::copy(&other.key, &world.server.key).unwrap();
    assert_eq!(shown(&member).unwrap(), "subject=CN=server");
}

#[test]
fn an_authority_and_a_list_that_are_replaced_count_at_once() {
    let world = World::new();
    let list = world.path("revoked.crl");
    world.authority.revoke(&list, &[]).unwrap();
    let mut flags = world.strict_flags();
    flags.push(flag("client-crl-file", &list));
    let member = Member::start(&world, &flags);
    let health = member.url() + "/health";
    let alice = || {
        curl(&world, Some(&world.alice)).map(|mut curl| {
            curl.arg(&health);
            curl
        })
    };
    let Some(mut ask) = alice() else { return };
    success(&mut ask);
    world.authority.revoke(&list, &[&world.alice]).unwrap();
    failure(&mut ask);
    member.rejection("revoked");

    // Who cannot be told from a revoked one is not served.
    fs::write(&list, "nonsense").unwrap();
    failure(&mut ask);
    member.rejection("certificate revocation list");
    fs::remove_file(&list).unwrap();
    failure(&mut ask);
    member.rejection("revoked.crl: No such file");
    world.authority.revoke(&list, &[]).unwrap();
    success(&mut ask);

    let other = tenure_harness::pki::Authority::new(world.directory.path(), "other").unwrap();
    fs::copy(other.certificate(), world.authority.certificate()).unwrap();
    let mut bob = curl(&world, Some(&other.issue("bob", &Owner::named("bob")).unwrap())).unwrap();
    success(bob.args(["--insecure", &health]));
    let mut alice = alice().unwrap();
    failure(alice.arg("--insecure"));
    member.rejection("unknown authority");
}
