//! Certificates that are trusted themselves, and authorities' that are shown as their owners' own: what `openssl req -x509` makes is
//! both in most small installations.

use crate::support::{Member, World, curl, etcdctl, failure, flag, soon, success, text};
use serde_json::Value;
use std::fs;
use tenure_harness::{
    pki::{Authority, Identity, Owner},
    process::Target,
};

/// Everybody shows the same certificate, and trusts it.
fn world_of_one(root: &Owner) -> World {
    let directory = tempfile::tempdir().unwrap();
    let (authority, root) = Authority::of(directory.path(), "root", root).unwrap();
    World { directory, authority, server: root.clone(), alice: root }
}

fn root() -> Owner {
    Owner::named("root").at(&["localhost", "127.0.0.1"]).with_the_right_to_issue()
}

#[track_caller]
fn taken(world: &World, member: &Member, identity: &Identity) {
    if let Some(mut curl) = curl(world, Some(identity)) {
        success(curl.arg(member.url() + "/health"));
    }
    for target in [Target::Etcd34, Target::Etcd35] {
        if let Some(mut ctl) = etcdctl(target, world, member, Some(identity)) {
            success(ctl.args(["get", "a"]));
        }
    }
}

/// Nobody is served who shows this, and the log says why. (etcdctl would try again until its time is over.)
#[track_caller]
fn turned_away(world: &World, member: &Member, identity: &Identity, reason: &str) {
    let Some(mut curl) = curl(world, Some(identity)) else { return };
    let rejections = || {
        let lines = member.lines();
        let is_rejection = |line: &&Value| line["msg"] == "rejected connection on client endpoint";
        lines.iter().filter(is_rejection).map(|line| text(line, "error").to_owned()).collect::<Vec<_>>()
    };
    let before = rejections().len();
    failure(curl.arg(member.url() + "/health"));
    assert!(soon(|| rejections().len() > before), "nothing in the log: {:#?}", member.lines());
    assert!(rejections()[before].contains(reason), "{:?}", rejections());
}

#[test]
fn a_server_a_client_and_an_authority_may_be_one_and_the_same() {
    let world = world_of_one(&root());
    let member = Member::start(&world, &world.strict_flags());
    taken(&world, &member, &world.alice);
    let issue = |name: &str, owner: Owner| world.authority.issue(name, &owner).unwrap();
    taken(&world, &member, &issue("bob", Owner::named("bob")));
    taken(&world, &member, &issue("below", Owner::named("below").with_the_right_to_issue()));
    let late = issue("late", Owner::named("late").with_the_right_to_issue().expired());
    turned_away(&world, &member, &late, "x509: certificate has expired or is not yet valid");
    let serving = issue("serving", Owner::named("serving").with_the_right_to_issue().for_servers_only());
    turned_away(&world, &member, &serving, "x509: certificate specifies an incompatible key usage");
}

#[test]
fn another_authority_of_the_same_name_is_unknown() {
    let world = world_of_one(&root());
    let member = Member::start(&world, &world.strict_flags());
    let elsewhere = tempfile::tempdir().unwrap();
    let (impostor, itself) = Authority::of(elsewhere.path(), "root", &root()).unwrap();
    let unknown = "x509: certificate signed by unknown authority";
    turned_away(&world, &member, &itself, unknown);
    let below = impostor.issue("below", &Owner::named("alice").with_the_right_to_issue()).unwrap();
    turned_away(&world, &member, &below, unknown);
}

#[test]
fn a6_the_name_in_a_certificate_that_is_trusted_itself_is_the_user() {
    let world = world_of_one(&root());
    let member = Member::start(&world, &world.strict_flags());
    let bob = world.authority.issue("bob", &Owner::named("bob").with_the_right_to_issue()).unwrap();
    let ctl = |identity: &Identity, words: &str| {
        let mut ctl = etcdctl(Target::Etcd35, &world, &member, Some(identity))?;
        ctl.args(words.split(' '));
        Some(ctl)
    };
    for words in ["user add root --no-password", "user grant-role root root", "user add bob --no-password"] {
        let Some(mut ctl) = ctl(&world.alice, words) else { return };
        success(&mut ctl);
    }
    success(&mut ctl(&world.alice, "auth enable").unwrap());
    assert_eq!(success(&mut ctl(&world.alice, "put a 1").unwrap()), "OK\n");
    assert!(failure(&mut ctl(&bob, "put a 1").unwrap()).contains("permission denied"));
}

#[test]
fn a_certificate_that_is_trusted_itself_can_be_revoked_or_have_the_wrong_name() {
    let world = world_of_one(&root());
    let list = world.path("revoked.crl");
    world.authority.revoke(&list, &[]).unwrap();
    let mut flags = world.strict_flags();
    flags.extend([
        flag("client-crl-file", &list),
        "--client-cert-allowed-hostname=localhost,bob.example".to_owned(),
    ]);
    let member = Member::start(&world, &flags);
    let bob = Owner::named("bob").at(&["bob.example"]).with_the_right_to_issue();
    let bob = world.authority.issue("bob", &bob).unwrap();
    taken(&world, &member, &world.alice);
    taken(&world, &member, &bob);
    let eve = world.authority.issue("eve", &Owner::named("eve").with_the_right_to_issue()).unwrap();
    turned_away(&world, &member, &eve, "client certificate authentication failed");
    world.authority.revoke(&list, &[&bob]).unwrap();
    turned_away(&world, &member, &bob, "revoked");
    taken(&world, &member, &world.alice);
    world.authority.revoke(&list, &[&world.alice]).unwrap();
    turned_away(&world, &member, &world.alice, "revoked");
}

#[test]
fn a_certificate_that_is_trusted_itself_has_its_time_and_its_purposes() {
    let world = World::new();
    let directory = world.directory.path().to_owned();
    let own = |name: &str, owner: Owner| Identity::self_signed(&directory, name, &owner).unwrap();
    let good = own("good", Owner::named("good"));
    let late = own("late", Owner::named("late").with_the_right_to_issue().expired());
    let serving = own("serving", Owner::named("serving").with_the_right_to_issue().for_servers_only());
    let trusted = world.path("trusted.crt");
    let read = |path: &std::path::Path| fs::read_to_string(path).unwrap();
    let all = [&good, &late, &serving].map(|one| read(&one.certificate)).concat();
    fs::write(&trusted, all + &read(world.authority.certificate())).unwrap();
    let mut flags = world.server_flags();
    flags.extend([flag("trusted-ca-file", &trusted), "--client-cert-auth".to_owned()]);
    let member = Member::start(&world, &flags);
    taken(&world, &member, &good);
    taken(&world, &member, &world.alice);
    turned_away(&world, &member, &late, "x509: certificate has expired or is not yet valid");
    turned_away(&world, &member, &serving, "x509: certificate specifies an incompatible key usage");
}

/// Who is trusted as a client is not trusted to name others: he would be whoever he likes.
#[test]
fn a6_who_is_trusted_without_being_an_authority_vouches_for_nobody() {
    let world = World::new();
    let mallory = Owner::named("mallory").at(&["localhost", "127.0.0.1"]);
    let (mallory, himself) = Authority::of(world.directory.path(), "mallory", &mallory).unwrap();
    let (old, _) = Authority::of(world.directory.path(), "old", &root().expired()).unwrap();
    let trusted = world.path("trusted.crt");
    let all = [world.authority.certificate(), mallory.certificate(), old.certificate()]
        .map(|path| fs::read_to_string(path).unwrap())
        .concat();
    fs::write(&trusted, all).unwrap();
    let mut flags = world.server_flags();
    flags.extend([flag("trusted-ca-file", &trusted), "--client-cert-auth".to_owned()]);
    let member = Member::start(&world, &flags);
    taken(&world, &member, &himself);
    let root = mallory.issue("forged", &Owner::named("root")).unwrap();
    turned_away(&world, &member, &root, "x509: certificate signed by unknown authority");
    let late = old.issue("late", &Owner::named("late")).unwrap();
    turned_away(&world, &member, &late, "x509: certificate has expired or is not yet valid");
}
