//! What a member is started with: versions, suites, certificates of its own, and what is refused.

use crate::support::{Member, World, curl, flag, refusal, s_client, success};
use std::{fs, os::unix::fs::PermissionsExt};

fn flags(world: &World, more: &[&str]) -> Vec<String> {
    let mut flags = world.server_flags();
    flags.extend(more.iter().map(|&flag| flag.to_owned()));
    flags
}

/// Which version and suite OpenSSL agrees on with the member; nothing if none.
fn agreed(member: &Member, arguments: &[&str]) -> Option<Option<String>> {
    let said = s_client(member, arguments)?;
    let line = said.lines().find(|line| line.starts_with("New, ")).unwrap_or_default();
    Some(line.strip_prefix("New, ").filter(|found| !found.contains("NONE")).map(str::to_owned))
}

#[test]
fn versions_are_bounded() {
    let world = World::new();
    let newest = Member::start(&world, &flags(&world, &["--tls-min-version=TLS1.3"]));
    let Some(none) = agreed(&newest, &["-tls1_2"]) else { return };
    assert_eq!(none, None);
    assert!(agreed(&newest, &["-tls1_3"]).unwrap().unwrap().starts_with("TLSv1.3"));
    newest.rejection("tls: client offered only unsupported versions");
    drop(newest);
    let older = Member::start(&world, &flags(&world, &["--tls-max-version=TLS1.2"]));
    assert_eq!(agreed(&older, &["-tls1_3"]).unwrap(), None);
    assert!(agreed(&older, &[]).unwrap().unwrap().starts_with("TLSv1.2"));
}

#[test]
fn suites_are_those_that_were_named() {
    let world = World::new();
    let named = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305";
    let member = Member::start(&world, &flags(&world, &[&format!("--cipher-suites={named}")]));
    let with = |suite: &str| agreed(&member, &["-tls1_2", "-cipher", suite]);
    let Some(agreement) = with("ECDHE-ECDSA-AES256-GCM-SHA384") else { return };
    assert_eq!(agreement.unwrap(), "TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384");
    assert_eq!(with("ECDHE-ECDSA-AES128-GCM-SHA256").unwrap(), None);
    member.rejection("tls: no cipher suite supported by both client and server");
    assert!(agreed(&member, &["-tls1_3"]).unwrap().is_some(), "TLS 1.3 stays");
    let line = member.line(|line| line["msg"] == "starting with client TLS");
    assert_eq!(line["cipher-suites"][0], "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
}

#[test]
fn what_cannot_be_honoured_is_refused_at_the_start() {
    let world = World::new();
    let refused = |more: &[&str]| refusal(&world, "https://127.0.0.1:0", &flags(&world, more));
    let suite = refused(&["--cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA"]);
    assert!(suite.contains("not supported by Tenure") && suite.contains("TLS_AES_128_GCM_SHA256"), "{suite}");
    assert!(refused(&["--client-cert-auth"]).contains("--trusted-ca-file"));
    let missing = refused(&["--trusted-ca-file=/nonexistent/ca.crt"]);
    assert_eq!(missing, "open /nonexistent/ca.crt: No such file or directory (os error 2)");
    let key = flag("key-file", &world.alice.key);
    let wrong = refused(&[&key]);
    assert!(wrong.contains("private key does not match public key"), "{wrong}");
    let empty = world.path("empty.crt");
    fs::write(&empty, "").unwrap();
    assert!(refused(&[&flag("cert-file", &empty)]).contains("holds no certificate in PEM"));
    assert!(!world.path("data").exists(), "nothing was made");
}

#[test]
fn a_member_makes_its_own_certificate() {
    let world = World::new();
    let more = ["--auto-tls".to_owned(), "--self-signed-cert-validity=2".to_owned()];
    let member = Member::start(&world, &more);
    let folder = world.path("data/fixtures/client");
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let made = fs::read(&certificate).unwrap();
    member.line(|line| line["msg"] == "automatically generate certificates" && line["validity-years"] == 2);
    let ask = |member: &Member| {
        let mut curl = curl(&world, None)?;
        Some(success(curl.args(["--cacert".as_ref(), certificate.as_os_str()]).arg(member.url() + "/livez")))
    };
    let Some(answer) = ask(&member) else { return };
    assert_eq!(answer, "ok\n", "the certificate has the address that is listened on");
    let said = s_client(&member, &["-tls1_2"]).unwrap();
    assert!(said.contains("Server public key is 521 bit") && said.contains("O = etcd"), "{said}");
    drop(member);
    let member = Member::start(&world, &more);
    assert_eq!(fs::read(&certificate).unwrap(), made, "the same after a restart");
    ask(&member).unwrap();
}
