//! Tokens of one member, from the log-in to their end.

use crate::support::{DENIED, EMPTY, INVALID, OK, config, guard, log_in, make_users, start, text};
use std::path::Path;
use std::time::{Duration, Instant};
use tenure_server::{
    auth::{Caller, Credentials, SignMethod},
    config::{AuthToken, JwtOptions, ServerConfig, Storage},
};
use tonic::Code;

#[tokio::test]
async fn a4_users_survive_a_restart_and_tokens_do_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = || ServerConfig { storage: Storage::Directory(directory.path().join("data")), ..config() };
    let server = start(config()).await;
    let (_, alice) = guard(&server.channel()).await;
    assert_eq!(text(&server.channel(), &alice, "KV/Put", r#"key: "a""#).await, OK);
    server.shutdown().await.expect("stopped");
    let server = start(config()).await;
    let channel = server.channel();
    assert_eq!(text(&channel, &alice, "KV/Put", r#"key: "a""#).await, INVALID);
    assert_eq!(text(&channel, "", "KV/Put", r#"key: "a""#).await, EMPTY);
    let wrong = log_in(&channel, "alice", "root's password").await.expect_err("it is not hers");
    assert_eq!(wrong.message(), "etcdserver: authentication failed, invalid user ID or password");
    let alice = log_in(&channel, "alice", "alice's password").await.expect("alice logs in");
    assert_eq!(text(&channel, &alice, "KV/Put", r#"key: "a""#).await, OK);
    assert_eq!(text(&channel, &alice, "KV/Put", r#"key: "z""#).await, DENIED);
    server.shutdown().await.expect("stopped");
}

#[tokio::test]
async fn a4_a_token_that_names_an_entry_to_come_does_not_hold_a_call_for_ever() {
    let server = start(config()).await;
    let channel = server.channel();
    guard(&channel).await;
    let far = format!("abcdefghijklmnop.{}", u64::MAX);
    assert_eq!(text(&channel, &far, "KV/Range", r#"key: "a""#).await, INVALID);
    server.shutdown().await.expect("stopped");
}

fn signed(private: Option<&str>, public: Option<&str>) -> ServerConfig {
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth/testdata").join(name);
    let auth_token = AuthToken::Jwt(JwtOptions {
        sign_method: SignMethod::ES512,
        public_key: public.map(file),
        private_key: private.map(file),
        ttl: Duration::from_secs(60),
    });
    ServerConfig { auth_token, ..config() }
}

#[tokio::test]
async fn a2_a5_a_signed_token_is_good_until_users_change() {
    let server = start(signed(Some("es512.key"), None)).await;
    let channel = server.channel();
    let (root, alice) = guard(&channel).await;
    assert_eq!(alice.split('.').count(), 3);
    assert_eq!(text(&channel, &alice, "KV/Put", r#"key: "a""#).await, OK);
    assert_eq!(text(&channel, &root, "Auth/RoleAdd", r#"name: "more""#).await, OK);
    let old = "InvalidArgument: etcdserver: revision of auth store is old";
    for (method, request) in [
        ("KV/Put", r#"key: "a""#),
        ("KV/Range", r#"key: "a""#),
        ("KV/RangeStream", r#"key: "a""#),
        ("KV/Txn", r#"success { request_range { key: "a" } }"#),
    ] {
        assert_eq!(text(&channel, &alice, method, request).await, old, "{method}");
    }
    let alice = log_in(&channel, "alice", "alice's password").await.expect("alice logs in");
    assert_eq!(text(&channel, &alice, "KV/Put", r#"key: "a""#).await, OK);
    assert_eq!(
        text(&channel, &root, "Auth/RoleAdd", r#"name: "again""#).await,
        OK,
        "no revision is asked for"
    );
    server.shutdown().await.expect("stopped");
}

#[tokio::test]
async fn a5_a_member_with_the_public_key_alone_verifies() {
    let signer = start(signed(Some("es512.key"), None)).await;
    let (root, alice) = guard(&signer.channel()).await;
    let server = start(signed(None, Some("es512.pub"))).await;
    let channel = server.channel();
    // The same users, made in the same order, so at the same auth revision.
    make_users(&channel).await;
    let refused = log_in(&channel, "alice", "alice's password").await.expect_err("it cannot sign");
    let expected = (Code::Unknown, "auth: token signing attempted with verify-only key");
    assert_eq!((refused.code(), refused.message()), expected);
    assert_eq!(text(&channel, &alice, "KV/Put", r#"key: "a""#).await, OK);
    assert_eq!(text(&channel, &root, "KV/Put", r#"key: "z""#).await, OK);
    for server in [server, signer] {
        server.shutdown().await.expect("stopped");
    }
}

#[tokio::test]
async fn a6_a_certificate_says_who_its_owner_is() {
    use tenure_core::{command::RangeQuery, types::KeyRange};
    let server = start(config()).await;
    guard(&server.channel()).await;
    let read = async |token: Option<&str>, name: Option<&str>, key: &'static str| {
        let token = token.map(|token| token.to_owned().into());
        let caller = Caller::Client(Credentials { token, common_name: name.map(str::to_owned) });
        let read = server.member().range(&caller, RangeQuery::of(KeyRange::single(key.into()))).await;
        read.map_or_else(|error| error.to_string(), |_| OK.to_owned())
    };
    assert_eq!(read(None, Some("alice"), "a").await, OK);
    assert_eq!(read(None, Some("alice"), "z").await, "etcdserver: permission denied");
    assert_eq!(read(None, Some("root"), "z").await, OK);
    assert_eq!(read(None, Some("nobody"), "a").await, "etcdserver: permission denied");
    assert_eq!(read(None, Some(""), "a").await, "etcdserver: permission denied");
    assert_eq!(
        read(Some("wrong"), Some("root"), "a").await,
        "etcdserver: invalid auth token",
        "a token comes first"
    );
    server.shutdown().await.expect("stopped");
}

/// What alice is told when she puts, with a token that is used from time to time, until that is no more.
#[tokio::test]
async fn a4_a_token_lives_from_use_to_use_and_no_longer() {
    const TTL: Duration = Duration::from_millis(800);
    let server = start(ServerConfig { auth_token_ttl: TTL, ..config() }).await;
    let channel = server.channel();
    guard(&channel).await;
    // Longer than it lives without being used; whoever is held up between two uses for so long begins again.
    let used = async |token: &str| {
        let (begun, mut last) = (Instant::now(), Instant::now());
        while begun.elapsed() < 2 * TTL {
            let asked = Instant::now();
            let told = text(&channel, token, "KV/Range", r#"key: "a""#).await;
            if told != OK {
                assert_eq!(told, INVALID);
                assert!(last.elapsed() >= TTL, "it was used {:?} ago", last.elapsed());
                return false;
            }
            last = asked;
            tokio::time::sleep(TTL / 20).await;
        }
        true
    };
    let mut attempts = 0;
    let token = loop {
        let token = log_in(&channel, "alice", "alice's password").await.expect("alice logs in");
        if used(&token).await {
            break token;
        }
        attempts += 1;
        assert!(attempts < 20, "this machine stands still all the time");
    };
    tokio::time::sleep(TTL).await;
    assert_eq!(text(&channel, &token, "KV/Range", r#"key: "a""#).await, INVALID);
    assert_eq!(text(&channel, &token, "KV/Range", r#"key: "a""#).await, INVALID, "not even later");
    server.shutdown().await.expect("stopped");
}

#[tokio::test]
async fn a5_a_signed_token_ends_though_it_is_used() {
    let mut config = signed(Some("es512.key"), None);
    if let AuthToken::Jwt(options) = &mut config.auth_token {
        options.ttl = Duration::from_secs(2);
    }
    let server = start(config).await;
    let channel = server.channel();
    let (_, alice) = guard(&channel).await;
    let begun = Instant::now();
    let told = loop {
        match text(&channel, &alice, "KV/Range", r#"key: "a""#).await {
            told if told != OK => break told,
            _ => assert!(begun.elapsed() < Duration::from_secs(20), "it does not end"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(told, INVALID);
    server.shutdown().await.expect("stopped");
}

/// Of the ends of a token in the errata: a password that is changed, a user who is deleted, authentication switched off.
#[tokio::test]
async fn a3_a_token_ends_with_its_password_its_user_and_authentication() {
    let server = start(config()).await;
    let channel = server.channel();
    let (root, alice) = guard(&channel).await;
    let read = r#"key: "a""#;
    let run = async |token: &str, method: &str, request: &str| {
        assert_eq!(text(&channel, token, method, request).await, OK, "{method}");
    };
    // What does not end it: other users' passwords, and what alice may.
    run(&root, "Auth/UserAdd", r#"name: "bob" password: "b""#).await;
    run(&root, "Auth/UserChangePassword", r#"name: "bob" password: "c""#).await;
    run(&root, "Auth/UserRevokeRole", r#"name: "alice" role: "some""#).await;
    assert_eq!(text(&channel, &alice, "KV/Range", read).await, DENIED);
    run(&root, "Auth/UserGrantRole", r#"user: "alice" role: "some""#).await;
    run(&alice, "KV/Range", read).await;

    run(&root, "Auth/UserChangePassword", r#"name: "alice" password: "new""#).await;
    assert_eq!(text(&channel, &alice, "KV/Range", read).await, INVALID);
    assert!(log_in(&channel, "alice", "alice's password").await.is_err());
    let alice = log_in(&channel, "alice", "new").await.expect("alice logs in");
    run(&root, "Auth/UserDelete", r#"name: "alice""#).await;
    assert_eq!(text(&channel, &alice, "KV/Range", read).await, INVALID);
    run(&root, "Auth/UserAdd", r#"name: "alice" password: "new""#).await;
    assert_eq!(text(&channel, &alice, "KV/Range", read).await, INVALID, "another alice");

    run(&root, "Auth/AuthDisable", "").await;
    run("nonsense", "KV/Range", read).await;
    run("", "Auth/AuthEnable", "").await;
    assert_eq!(text(&channel, &root, "KV/Range", read).await, INVALID);
    let root = log_in(&channel, "root", "root's password").await.expect("root logs in");
    run(&root, "KV/Range", read).await;
    server.shutdown().await.expect("stopped");
}

#[tokio::test]
async fn a4_without_tokens_nobody_logs_in_and_certificates_count() {
    let server = start(ServerConfig { auth_token: AuthToken::None, ..config() }).await;
    let channel = server.channel();
    make_users(&channel).await;
    for password in ["root's password", "wrong"] {
        let refused = log_in(&channel, "root", password).await.expect_err("there are no tokens");
        let told = (refused.code(), refused.message());
        let as_etcd = "etcdserver: authentication failed, invalid user ID or password";
        assert_eq!(told, (Code::InvalidArgument, as_etcd), "{password}");
    }
    assert_eq!(text(&channel, "abcdefghijklmnop.1", "KV/Range", r#"key: "a""#).await, INVALID);
    assert_eq!(text(&channel, "", "KV/Range", r#"key: "a""#).await, EMPTY);
    let alice = Credentials { token: None, common_name: Some("alice".to_owned()) };
    let key = tenure_core::types::KeyRange::single("a".into());
    let query = tenure_core::command::RangeQuery::of(key);
    assert!(server.member().range(&Caller::Client(alice), query).await.is_ok());
    server.shutdown().await.expect("stopped");
}

#[tokio::test]
async fn a5_keys_that_cannot_be_used_are_told_before_anything_is_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    for (private, public, told) in [
        (None, None, "auth: missing key data"),
        (None, Some("es256.pub"), "es256.pub holds no public key in PEM for the sign-method"),
        (Some("nothing.key"), None, "nothing.key: No such file or directory"),
        (Some("es512.key"), Some("es256.crt"), "es256.crt holds no public key"),
    ] {
        let config = ServerConfig { storage: Storage::Directory(data.clone()), ..signed(private, public) };
        let error = tenure_server::Server::start(config).await.err().expect(told).to_string();
        assert!(error.contains(told), "{error}");
        assert!(!data.exists(), "{told}");
    }
}
