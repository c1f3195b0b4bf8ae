//! Users, roles, permissions; tokens that end.

use crate::support::{AUTH_TOKEN_TTL, Proxy, TestServer, calls_handled, config, eventually, real_etcd, soon};
use std::time::Duration;
use tenure_client::{
    Client, ClientConfig, Code, Compare, Error, EtcdError, KeyRange, Op, Permission, Result,
};

/// A server with authentication on, a user `root` and a user `alice` who may do everything with `app/`.
struct Guarded {
    server: TestServer,
    root: Client,
}

impl Guarded {
    async fn start(auth_token_ttl: Duration) -> Option<Self> {
        Some(Self::on(TestServer::with_auth(auth_token_ttl).await?).await)
    }

    async fn on(server: TestServer) -> Self {
        let auth = server.client().await.auth();
        auth.user_add("root", "root-password").await.expect("root may");
        auth.user_grant_role("root", "root").await.expect("root may");
        auth.role_add("app").await.expect("root may");
        let app = Permission::read_write(KeyRange::prefix("app/"));
        auth.role_grant_permission("app", app).await.expect("root may");
        auth.user_add("alice", "alice-password").await.expect("root may");
        auth.user_grant_role("alice", "app").await.expect("root may");
        auth.enable().await.expect("root may");
        let root = connect(&server, "root").await.expect("root may");
        Guarded { server, root }
    }

    async fn alice(&self) -> Client {
        connect(&self.server, "alice").await.expect("alice may")
    }

    /// Ends all tokens.
    async fn end_tokens(&self) {
        self.root.auth().disable().await.expect("root may");
        // Root's token has ended as well, but nobody needs one now.
        let nobody = self.server.client().await;
        nobody.auth().enable().await.expect("root may");
    }

    async fn log_ins(&self) -> u64 {
        calls_handled(&self.server.endpoint(), "Authenticate").await
    }
}

fn as_user(server: &TestServer, user: &str) -> ClientConfig {
    config(server.endpoint()).user(user, format!("{user}-password"))
}

async fn connect(server: &TestServer, user: &str) -> Result<Client> {
    Client::connect(as_user(server, user)).await
}

#[track_caller]
fn assert_error<T: std::fmt::Debug>(outcome: Result<T>, expected: EtcdError) {
    let error = outcome.expect_err("it is refused");
    assert!(error.is(expected), "{error:?} instead of {expected:?}");
}

#[tokio::test]
async fn roles_and_their_permissions() {
    let Some(server) = TestServer::with_auth(AUTH_TOKEN_TTL).await else { return };
    let auth = server.client().await.auth();
    assert_ne!(auth.role_add("app").await.unwrap().header.cluster_id, 0);
    assert_error(auth.role_add("app").await, EtcdError::RoleAlreadyExist);
    assert_error(auth.role_add("").await, EtcdError::RoleEmpty);
    assert_error(auth.role_get("other").await, EtcdError::RoleNotFound);
    auth.role_add("other").await.unwrap();
    assert_eq!(auth.role_list().await.unwrap().roles, ["app", "other"]);

    let permissions = [
        Permission::read(KeyRange::key("a")),
        Permission::write(KeyRange::prefix("b/")),
        Permission::read_write(KeyRange::from_key("c")),
    ];
    for permission in &permissions {
        auth.role_grant_permission("app", permission.clone()).await.unwrap();
    }
    assert_eq!(auth.role_get("app").await.unwrap().permissions, permissions);
    auth.role_grant_permission("app", Permission::read_write(KeyRange::key("a"))).await.unwrap();
    let granted = auth.role_get("app").await.unwrap().permissions;
    assert_eq!(granted[0], Permission::read_write(KeyRange::key("a")));

    auth.role_revoke_permission("app", KeyRange::prefix("b/")).await.unwrap();
    let again = auth.role_revoke_permission("app", KeyRange::prefix("b/")).await;
    assert_error(again, EtcdError::PermissionNotGranted);
    assert_eq!(auth.role_get("app").await.unwrap().permissions.len(), 2);

    auth.role_delete("app").await.unwrap();
    assert_error(auth.role_delete("app").await, EtcdError::RoleNotFound);
    assert_eq!(auth.role_list().await.unwrap().roles, ["other"]);
}

#[tokio::test]
async fn users_and_their_roles() {
    let Some(server) = TestServer::with_auth(AUTH_TOKEN_TTL).await else { return };
    let auth = server.client().await.auth();
    auth.role_add("app").await.unwrap();
    auth.user_add("alice", "secret").await.unwrap();
    assert_error(auth.user_add("alice", "secret").await, EtcdError::UserAlreadyExist);
    assert_error(auth.user_add("", "secret").await, EtcdError::UserEmpty);
    auth.user_add("bob", "dropped").no_password().hashed_password("").await.unwrap();
    assert_eq!(auth.user_list().await.unwrap().users, ["alice", "bob"]);

    auth.user_grant_role("alice", "app").await.unwrap();
    assert_error(auth.user_grant_role("alice", "other").await, EtcdError::RoleNotFound);
    assert_error(auth.user_grant_role("carol", "app").await, EtcdError::UserNotFound);
    assert_eq!(auth.user_get("alice").await.unwrap().roles, ["app"]);
    auth.user_revoke_role("alice", "app").await.unwrap();
    assert_error(auth.user_revoke_role("alice", "app").await, EtcdError::RoleNotGranted);
    assert!(auth.user_get("alice").await.unwrap().roles.is_empty());

    auth.user_change_password("alice", "other").await.unwrap();
    assert_error(auth.user_change_password("carol", "x").await, EtcdError::UserNotFound);
    auth.user_delete("alice").await.unwrap();
    assert_error(auth.user_delete("alice").await, EtcdError::UserNotFound);
    assert_error(auth.user_get("alice").await, EtcdError::UserNotFound);
    assert_eq!(auth.user_list().await.unwrap().users, ["bob"]);
}

#[tokio::test]
async fn authentication_on_and_off() {
    let Some(server) = TestServer::with_auth(AUTH_TOKEN_TTL).await else { return };
    let auth = server.client().await.auth();
    assert_error(auth.enable().await, EtcdError::RootUserNotExist);
    auth.user_add("root", "root-password").await.unwrap();
    assert_error(auth.enable().await, EtcdError::RootRoleNotExist);
    assert_error(auth.authenticate("root", "root-password").await, EtcdError::AuthNotEnabled);
    auth.user_grant_role("root", "root").await.unwrap();
    let before = auth.status().await;
    auth.enable().await.unwrap();

    let root = connect(&server, "root").await.unwrap();
    match before {
        Err(error) if error.code() == Code::Unimplemented => eprintln!("skipped: this server has no status"),
        before => {
            let (before, after) = (before.unwrap(), root.auth().status().await.unwrap());
            assert!(!before.is_enabled && after.is_enabled);
            assert!(after.auth_revision >= before.auth_revision);
        }
    }
    let answer = auth.authenticate("root", "root-password").await.unwrap();
    assert!(!answer.token.is_empty());
    assert!(!format!("{answer:?}").contains(&answer.token));
    assert_error(root.auth().user_delete("root").await, EtcdError::InvalidAuthMgmt);
    root.auth().disable().await.unwrap();
    server.client().await.put("k", "v").await.unwrap();
}

#[tokio::test]
async fn permissions_are_enforced() {
    let Some(guarded) = Guarded::start(AUTH_TOKEN_TTL).await else { return };
    let alice = guarded.alice().await;
    let app = alice.with_namespace("app/");
    app.put("k", "v").await.unwrap();
    assert_eq!(alice.get("app/").prefix().await.unwrap().count, 1);
    assert_error(alice.get("other").await, EtcdError::PermissionDenied);
    assert_error(alice.get("app/").from_key().await, EtcdError::PermissionDenied);
    assert_error(alice.put("other", "v").await, EtcdError::PermissionDenied);
    assert_error(alice.delete("").prefix().await, EtcdError::PermissionDenied);
    let txn = alice
        .txn()
        .when([Compare::missing("app/k")])
        .and_then([Op::put("app/k", "w")])
        .or_else([Op::get("other")])
        .commit();
    assert_error(txn.await, EtcdError::PermissionDenied);
    assert_error(alice.auth().user_list().await, EtcdError::PermissionDenied);
    assert_error(alice.auth().role_add("x").await, EtcdError::PermissionDenied);
    assert_eq!(alice.auth().user_get("alice").await.unwrap().roles, ["app"]);
    // What is granted and taken holds from the next request on.
    let auth = guarded.root.auth();
    auth.role_grant_permission("app", Permission::read(KeyRange::key("other"))).await.unwrap();
    assert_eq!(alice.get("other").await.unwrap().count, 0);
    assert_error(alice.put("other", "v").await, EtcdError::PermissionDenied);
    auth.role_revoke_permission("app", KeyRange::key("other")).await.unwrap();
    assert_error(alice.get("other").await, EtcdError::PermissionDenied);
}

#[tokio::test]
async fn who_has_no_right_password_gets_no_client() {
    let Some(guarded) = Guarded::start(AUTH_TOKEN_TTL).await else { return };
    let endpoint = guarded.server.endpoint();
    for (user, password) in [("alice", "wrong"), ("nobody", "alice-password"), ("alice", "")] {
        let refused = soon(Client::connect(config(&endpoint).user(user, password))).await;
        assert_error(refused, EtcdError::AuthFailed);
    }
    guarded.root.auth().user_add("certificate", "").no_password().await.unwrap();
    let error = Client::connect(config(&endpoint).user("certificate", "")).await.unwrap_err();
    assert!(error.message().contains("no password user"), "{error}");
}

#[tokio::test]
async fn a_password_is_of_no_use_and_no_harm_while_authentication_is_off() {
    let server = TestServer::start().await;
    let client = soon(connect(&server, "alice")).await.unwrap();
    client.put("k", "v").await.unwrap();
}

#[tokio::test]
async fn authentication_is_turned_on_under_running_clients() {
    let Some(server) = TestServer::with_auth(AUTH_TOKEN_TTL).await else { return };
    let (nobody, alice) = (server.client().await, connect(&server, "alice").await.unwrap());
    for client in [&nobody, &alice] {
        client.put("app/k", "v").await.unwrap();
    }
    let guarded = Guarded::on(server).await;
    alice.put("app/k", "v").await.unwrap();
    assert_error(alice.put("other", "v").await, EtcdError::PermissionDenied);
    assert_error(nobody.put("app/k", "v").await, EtcdError::UserEmpty);
    assert_error(nobody.get("app/k").await, EtcdError::UserEmpty);
    guarded.root.auth().disable().await.unwrap();
    for client in [&nobody, &alice] {
        client.put("app/k", "v").await.unwrap();
    }
}

#[tokio::test]
async fn a_token_that_is_too_old_is_renewed() {
    let ttl = Duration::from_secs(1);
    let Some(guarded) = Guarded::start(ttl).await else { return };
    let alice = guarded.alice().await;
    for round in 0..2 {
        alice.put("app/k", format!("{round}")).await.unwrap();
        let before = guarded.log_ins().await;
        eventually("another token", async || {
            // Use lengthens the token's life; servers look for old ones once a second, if they come to it.
            tokio::time::sleep(ttl * 3).await;
            match round {
                0 => drop(alice.put("app/k", "w").await.unwrap()),
                _ => assert_eq!(alice.get("app/k").await.unwrap().kvs[0].value, "1"),
            }
            (guarded.log_ins().await > before).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn tokens_that_are_lost_in_a_restart_are_renewed() {
    let Some(mut guarded) = Guarded::start(AUTH_TOKEN_TTL).await else { return };
    let alice = guarded.alice().await;
    alice.put("app/k", "v").await.unwrap();
    guarded.server.stop().await;
    guarded.server.start_again().await;
    eventually("a put", async || alice.put("app/k", "w").await.ok()).await;
    assert_eq!(alice.get("app/k").await.unwrap().kvs[0].value, "w");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_meet_an_old_token_log_in_once() {
    let Some(guarded) = Guarded::start(AUTH_TOKEN_TTL).await else { return };
    let alice = guarded.alice().await;
    alice.put("app/k", "v").await.unwrap();
    guarded.end_tokens().await;
    let before = guarded.log_ins().await;
    let puts = (0..50).map(|number| {
        let alice = alice.clone();
        tokio::spawn(async move { alice.put(format!("app/{number}"), "v").await })
    });
    for put in puts.collect::<Vec<_>>() {
        soon(put).await.unwrap().unwrap();
    }
    assert_eq!(guarded.log_ins().await - before, 1);
    assert_eq!(alice.get("app/").prefix().count_only().await.unwrap().count, 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_whose_password_is_no_longer_right_learn_it_from_few_attempts() {
    let Some(guarded) = Guarded::start(AUTH_TOKEN_TTL).await else { return };
    let alice = guarded.alice().await;
    alice.put("app/k", "v").await.unwrap();
    guarded.root.auth().user_change_password("alice", "other").await.unwrap();
    let before = guarded.log_ins().await;
    let puts = (0..50).map(|number| {
        let alice = alice.clone();
        tokio::spawn(async move { alice.put(format!("app/{number}"), "v").await })
    });
    for put in puts.collect::<Vec<_>>() {
        assert_error(soon(put).await.unwrap(), EtcdError::AuthFailed);
    }
    let attempts = guarded.log_ins().await - before;
    assert!((1..=10).contains(&attempts), "{attempts}");
}

#[tokio::test]
async fn a_token_that_was_given_is_used_and_never_renewed() {
    let Some(guarded) = Guarded::start(AUTH_TOKEN_TTL).await else { return };
    let endpoint = guarded.server.endpoint();
    let token = guarded.root.auth().authenticate("alice", "alice-password").await.unwrap().token;
    let alice = Client::connect(config(&endpoint).token(token)).await.unwrap();
    alice.put("app/k", "v").await.unwrap();
    assert_error(alice.put("other", "v").await, EtcdError::PermissionDenied);
    guarded.end_tokens().await;
    let before = guarded.log_ins().await;
    assert_error(soon(alice.put("app/k", "v")).await, EtcdError::InvalidAuthToken);
    assert_error(soon(alice.get("app/k")).await, EtcdError::InvalidAuthToken);
    assert_eq!(guarded.log_ins().await, before);
    let unusable = Client::connect(config(&endpoint).token("a\nb")).await.unwrap_err();
    assert!(matches!(unusable, Error::Invalid(_)), "{unusable}");
}

#[tokio::test]
async fn a_json_web_token_of_an_old_revision_is_renewed() {
    if real_etcd().is_none() {
        return;
    }
    let directory = tempfile::TempDir::new().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, "a key that nobody guesses").unwrap();
    let method = format!("jwt,priv-key={},sign-method=HS256,ttl=5m", key.display());
    let Some(server) = TestServer::real_etcd(&["--bcrypt-cost", "4", "--auth-token", &method]).await else {
        return;
    };
    let guarded = Guarded::on(server).await;
    let alice = guarded.alice().await;
    let token = guarded.root.auth().authenticate("alice", "alice-password").await.unwrap().token;
    let with_token = Client::connect(config(guarded.server.endpoint()).token(token)).await.unwrap();
    for client in [&alice, &with_token] {
        client.put("app/k", "v").await.unwrap();
    }
    // The revision of the users changes; the tokens carry the one before.
    guarded.root.auth().role_add("another").await.unwrap();
    alice.put("app/k", "w").await.unwrap();
    let error = with_token.put("app/k", "x").await.unwrap_err();
    // etcd up to 3.5 does not translate it.
    assert!(
        error.is(EtcdError::AuthOldRevision) || error.message() == "auth: revision in header is old",
        "{error}"
    );
}

#[tokio::test]
async fn watches_and_lease_renewals_outlive_their_token() {
    let Some(guarded) = Guarded::start(AUTH_TOKEN_TTL).await else { return };
    let proxy = Proxy::to(guarded.server.endpoint()).await;
    let alice = Client::connect(config(proxy.endpoint()).user("alice", "alice-password")).await.unwrap();
    let mut watch = alice.watch("app/").prefix().await.unwrap();
    let lease = alice.lease().grant(Duration::from_secs(12)).await.unwrap().id;
    let mut keeper = alice.lease().keep_alive(lease).await.unwrap();
    soon(keeper.next()).await.unwrap();

    guarded.end_tokens().await;
    let before = guarded.log_ins().await;
    // Both come back with a token that is not valid.
    proxy.cut();
    guarded.root.put("app/k", "v").await.unwrap();
    let response = soon(watch.next()).await.unwrap().unwrap();
    assert_eq!(response.events[0].kv.value, "v");
    for _ in 0..2 {
        let renewed = soon(keeper.next()).await.unwrap();
        assert_eq!(renewed.ttl_seconds, 12);
    }
    let log_ins = guarded.log_ins().await - before;
    assert!((2..=4).contains(&log_ins), "{log_ins}: root, and alice for the watch and the lease");
    drop(alice.watch("app/other").await.unwrap());
    let denied = soon(alice.watch("other")).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied}");
}
