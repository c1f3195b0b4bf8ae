//! Clients of other makes.

use crate::support::{Member, World, curl, etcdctl, failure, foreign, s_client, success};
use tenure_harness::{
    pki::{Identity, Owner},
    process::Target,
};

fn etcdctl_works(target: Target) {
    let world = World::new();
    let member = Member::start(&world, &world.strict_flags());
    let ctl = || etcdctl(target, &world, &member, Some(&world.alice));
    let Some(mut put) = ctl() else { return };
    assert_eq!(success(put.args(["put", "a", "1"])), "OK\n");
    assert_eq!(success(ctl().unwrap().args(["get", "a"])), "a\n1\n");
    let status = success(ctl().unwrap().args(["endpoint", "health"]));
    assert!(status.is_empty() || status.contains("is healthy"), "{status}");
    // A stream, which ends only when its client does.
    let watch = ctl().unwrap().args(["watch", "a", "--rev=1"]).stdout(std::process::Stdio::piped()).spawn();
    let mut watch = watch.unwrap();
    let mut seen = [0; 8];
    std::io::Read::read_exact(watch.stdout.as_mut().unwrap(), &mut seen).unwrap();
    assert_eq!(&seen, b"PUT\na\n1\n");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn etcdctl_3_5_puts_gets_and_watches() {
    etcdctl_works(Target::Etcd35);
}

#[test]
fn etcdctl_3_4_puts_gets_and_watches() {
    etcdctl_works(Target::Etcd34);
}

#[test]
fn a6_the_common_name_of_a_certificate_is_the_user() {
    let world = World::new();
    let member = Member::start(&world, &world.strict_flags());
    let mallory = world.authority.issue("mallory", &Owner::named("mallory")).unwrap();
    let ctl = |identity: &Identity, words: &str| {
        let mut ctl = etcdctl(Target::Etcd35, &world, &member, Some(identity))?;
        ctl.args(words.split(' '));
        Some(ctl)
    };
    if ctl(&world.alice, "version").is_none() {
        return;
    }
    for words in [
        "user add root --new-user-password=secret",
        "user grant-role root root",
        "role add writer",
        "role grant-permission writer readwrite a",
        "user add alice --no-password",
        "user grant-role alice writer",
        "auth enable",
    ] {
        success(&mut ctl(&world.alice, words).unwrap());
    }
    assert_eq!(success(&mut ctl(&world.alice, "put a 1").unwrap()), "OK\n");
    assert!(failure(&mut ctl(&world.alice, "put b 1").unwrap()).contains("permission denied"));
    assert!(failure(&mut ctl(&mallory, "get a").unwrap()).contains("permission denied"));
    // Who logs in is that user, whatever the certificate says.
    assert_eq!(success(&mut ctl(&mallory, "--user=root:secret put b 1").unwrap()), "OK\n");
}

#[test]
fn curl_speaks_both_versions_of_http() {
    let world = World::new();
    let mut flags = world.strict_flags();
    flags.push("--listen-metrics-urls=https://127.0.0.1:0".to_owned());
    flags.push("--host-whitelist=nobody.invalid".to_owned());
    let member = Member::start(&world, &flags);
    let ask = |url: &str, more: &[&str]| {
        let mut curl = curl(&world, Some(&world.alice))?;
        Some(success(curl.args(more).args(["--write-out", " %{http_version}", url])))
    };
    // Over TLS any host may be named, whatever the whitelist says.
    let health = member.url() + "/health";
    let Some(answer) = ask(&health, &["--http2"]) else { return };
    assert_eq!(answer, r#"{"health":"true","reason":""} 2"#);
    assert_eq!(ask(&health, &["--http1.1"]).unwrap(), r#"{"health":"true","reason":""} 1.1"#);
    let metrics = member.line(|line| line["msg"] == "serving metrics")["address"].clone();
    let metrics = format!("https://{}/metrics", metrics.as_str().unwrap());
    assert!(ask(&metrics, &[]).unwrap().contains("etcd_server_has_leader 1"));
    assert!(curl(&world, None).unwrap().arg(&metrics).output().unwrap().status.code() != Some(0));
}

#[test]
fn openssl_finds_both_protocols_and_versions() {
    let world = World::new();
    let member = Member::start(&world, &world.server_flags());
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        for protocol in ["h2", "http/1.1"] {
            let ca = world.authority.certificate().to_str().unwrap().to_owned();
            let Some(said) = s_client(&member, &[version, "-alpn", protocol, "-CAfile", &ca]) else { return };
            assert!(said.contains(&format!("ALPN protocol: {protocol}")), "{said}");
            assert!(said.contains("Verify return code: 0 (ok)") && said.contains(name), "{said}");
        }
    }
    let said = s_client(&member, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]).unwrap();
    assert!(said.contains("alert handshake failure"), "{said}");
    member.rejection("tls: client offered only unsupported versions");
    let said = s_client(&member, &["-alpn", "spdy/1"]).unwrap();
    assert!(said.contains("no application protocol"), "{said}");
}

#[test]
fn a_unix_socket_has_tls_too() {
    let world = World::new();
    let path = world.path("clients.sock");
    let member = Member::listening(&world, &format!("unixs://{}", path.display()), &world.strict_flags());
    assert_eq!(member.address, path.display().to_string());
    let Some(mut curl) = curl(&world, Some(&world.alice)) else { return };
    let answer = success(curl.arg("--unix-socket").arg(&path).arg("https://localhost/livez"));
    assert_eq!(answer, "ok\n");
    let Some(mut openssl) = foreign("openssl") else { return };
    let said =
        openssl.args(["s_client", "-unix"]).arg(&path).stdin(std::process::Stdio::null()).output().unwrap();
    member.rejection("tls: client didn't provide a certificate");
    drop(said);
}
