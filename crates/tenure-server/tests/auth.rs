//! Authentication over a whole member: what every method asks for, tokens and their ends, and what the log says.

use std::{collections::BTreeSet, path::Path, time::Duration};
use tenure_api::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
    AuthUserGrantRoleRequest, AuthenticateRequest, auth_client::AuthClient,
};
use tenure_api::{FILE_DESCRIPTOR_SET, authpb::Permission};
use tenure_harness::{
    process::Server as Process,
    rpc::{self, Method, PATIENCE, Received, Stream},
};
use tenure_server::{
    Server,
    auth::{Caller, Credentials, SignMethod},
    config::{AuthToken, JwtOptions, ServerConfig, Storage},
};
use tonic::{Code, Request, Status, metadata::MetadataMap, transport::Channel};

fn config() -> ServerConfig {
    ServerConfig { bcrypt_cost: 4, ..ServerConfig::in_memory().without_listeners() }
}

async fn start(config: ServerConfig) -> Server {
    Server::start(config).await.expect("a member starts")
}

fn with_token(token: &str) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    if !token.is_empty() {
        metadata.insert("token", token.parse().expect("ASCII"));
    }
    metadata
}

async fn log_in(channel: &Channel, name: &str, password: &str) -> Result<String, Status> {
    let request = AuthenticateRequest { name: name.into(), password: password.into() };
    Ok(AuthClient::new(channel.clone()).authenticate(request).await?.into_inner().token)
}

/// Root, and alice who may read and write `a`; authentication is on.
async fn make_users(channel: &Channel) {
    let mut auth = AuthClient::new(channel.clone());
    for (name, role) in [("root", "root"), ("alice", "some")] {
        let (name, password) = (name.to_owned(), format!("{name}'s password"));
        let user = AuthUserAddRequest { name: name.clone(), password, ..Default::default() };
        auth.user_add(user).await.expect("a user");
        auth.role_add(AuthRoleAddRequest { name: role.into() }).await.expect("a role");
        let grant = AuthUserGrantRoleRequest { user: name, role: role.into() };
        auth.user_grant_role(grant).await.expect("granted");
    }
    let perm = Some(Permission { perm_type: 2, key: "a".into(), ..Default::default() });
    let permit = AuthRoleGrantPermissionRequest { name: "some".into(), perm };
    auth.role_grant_permission(permit).await.expect("permitted");
    auth.auth_enable(AuthEnableRequest {}).await.expect("enabled");
}

/// As [`make_users`]. The tokens of both.
async fn guard(channel: &Channel) -> (String, String) {
    make_users(channel).await;
    let root = log_in(channel, "root", "root's password").await.expect("root logs in");
    let alice = log_in(channel, "alice", "alice's password").await.expect("alice logs in");
    (root, alice)
}

/// How a call ends; of a stream, its first message or end. A refused watch is a message.
async fn ask(channel: &Channel, token: &str, method: &str, request: &str) -> Result<String, Status> {
    let method = Method::find(method).expect(method);
    let message = method.encode(request).expect(request);
    if method.is_server_streaming() {
        let stream = Stream::open(channel.clone(), method, with_token(token), Some(message)).await;
        return match stream.expect("opened").receive(PATIENCE).await.expect("an answer") {
            Received::Message(message) => Ok(message.to_string()),
            Received::End(status) if status.code() == Code::Ok => Ok(String::new()),
            Received::End(status) => Err(status),
        };
    }
    let mut request = Request::new(message);
    *request.metadata_mut() = with_token(token);
    let answer = rpc::unary(channel.clone(), method.path(), request, PATIENCE).await.expect("an answer");
    answer.map(|bytes| method.decode(bytes).expect("an answer of its type").to_string())
}

async fn text(channel: &Channel, token: &str, method: &str, request: &str) -> String {
    match ask(channel, token, method, request).await {
        Ok(answer) if answer.contains("cancel_reason") => answer,
        Ok(_) => "ok".to_owned(),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    }
}

const EMPTY: &str = "InvalidArgument: etcdserver: user name is empty";
const DENIED: &str = "PermissionDenied: etcdserver: permission denied";
/// Lock and Election are clients of their own server, whose errors lose their code on the way.
const EMPTY_TOLD: &str = "Unknown: etcdserver: user name is empty";
const DENIED_TOLD: &str = "Unknown: etcdserver: permission denied";
const OK: &str = "ok";

/// Method, request, how it ends for nobody and for alice, who may only touch `a`.
const GUARDED: &[(&str, &str, &str, &str)] = &[
    ("KV/Range", r#"key: "z""#, EMPTY, DENIED),
    ("KV/Range", r#"key: "a" range_end: "\0""#, EMPTY, DENIED),
    ("KV/Range", r#"key: "a""#, EMPTY, OK),
    ("KV/RangeStream", r#"key: "z""#, EMPTY, DENIED),
    ("KV/Put", r#"key: "z""#, EMPTY, DENIED),
    ("KV/DeleteRange", r#"key: "z""#, EMPTY, DENIED),
    ("KV/Txn", r#"success { request_put { key: "z" } }"#, EMPTY, DENIED),
    ("KV/Txn", r#"success { request_range { key: "z" } }"#, EMPTY, DENIED),
    ("KV/Txn", r#"success { request_txn { failure { request_put { key: "a" lease: 8 } } } }"#, EMPTY, DENIED),
    ("KV/Txn", "", EMPTY, OK),
    ("KV/Compact", "revision: 2", EMPTY, DENIED),
    ("Lease/LeaseGrant", "TTL: 60", EMPTY, OK),
    ("Lease/LeaseRevoke", "ID: 8", EMPTY, DENIED),
    ("Lease/LeaseKeepAlive", "ID: 8", EMPTY, DENIED),
    ("Lease/LeaseKeepAlive", "ID: 7", EMPTY, OK),
    ("Lease/LeaseTimeToLive", "ID: 8", EMPTY, OK),
    ("Lease/LeaseTimeToLive", "ID: 8 keys: true", EMPTY, DENIED),
    ("Lease/LeaseLeases", "", EMPTY, DENIED),
    ("Cluster/MemberAdd", r#"peerURLs: "http://127.0.0.1:1""#, EMPTY, DENIED),
    ("Cluster/MemberRemove", "ID: 1", EMPTY, DENIED),
    ("Cluster/MemberUpdate", "ID: 1", EMPTY, DENIED),
    ("Cluster/MemberPromote", "ID: 1", EMPTY, DENIED),
    ("Cluster/MemberList", "", EMPTY, OK),
    ("Cluster/MemberList", "linearizable: true", EMPTY, OK),
    ("Maintenance/Alarm", "action: GET", EMPTY, OK),
    ("Maintenance/Alarm", "action: ACTIVATE alarm: NOSPACE", EMPTY, DENIED),
    ("Maintenance/Alarm", "action: DEACTIVATE alarm: NOSPACE", EMPTY, DENIED),
    ("Maintenance/Status", "", EMPTY, OK),
    ("Maintenance/Defragment", "", EMPTY, DENIED),
    ("Maintenance/Hash", "", EMPTY, DENIED),
    ("Maintenance/HashKV", "", EMPTY, DENIED),
    ("Maintenance/Snapshot", "", EMPTY, DENIED),
    ("Maintenance/MoveLeader", "targetID: 1", EMPTY, DENIED),
    ("Maintenance/Downgrade", "", EMPTY, DENIED),
    ("Auth/AuthEnable", "", EMPTY, DENIED),
    ("Auth/AuthDisable", "", EMPTY, DENIED),
    ("Auth/AuthStatus", "", OK, OK),
    ("Auth/Authenticate", r#"name: "alice" password: "alice's password""#, OK, OK),
    ("Auth/UserAdd", r#"name: "x" password: "x""#, EMPTY, DENIED),
    ("Auth/UserAdd", r#"name: "x" options { no_password: true }"#, EMPTY, DENIED),
    ("Auth/UserGet", r#"name: "root""#, EMPTY, DENIED),
    ("Auth/UserGet", r#"name: "alice""#, EMPTY, OK),
    ("Auth/UserGet", r#"name: """#, EMPTY, DENIED),
    ("Auth/UserList", "", EMPTY, DENIED),
    ("Auth/UserDelete", r#"name: "alice""#, EMPTY, DENIED),
    ("Auth/UserChangePassword", r#"name: "alice" password: "x""#, EMPTY, DENIED),
    ("Auth/UserChangePassword", r#"name: "root" hashedPassword: "JDJh""#, EMPTY, DENIED),
    ("Auth/UserChangePassword", r#"name: "root" hashedPassword: "!""#, EMPTY, DENIED),
    ("Auth/UserGrantRole", r#"user: "alice" role: "root""#, EMPTY, DENIED),
    ("Auth/UserRevokeRole", r#"name: "alice" role: "some""#, EMPTY, DENIED),
    ("Auth/RoleAdd", r#"name: "x""#, EMPTY, DENIED),
    ("Auth/RoleGet", r#"role: "root""#, EMPTY, DENIED),
    ("Auth/RoleGet", r#"role: "some""#, EMPTY, OK),
    ("Auth/RoleList", "", EMPTY, DENIED),
    ("Auth/RoleDelete", r#"role: "some""#, EMPTY, DENIED),
    ("Auth/RoleGrantPermission", r#"name: "some" perm { key: "z" }"#, EMPTY, DENIED),
    ("Auth/RoleRevokePermission", r#"role: "some" key: "a""#, EMPTY, DENIED),
    ("Lock/Lock", r#"name: "z""#, EMPTY_TOLD, DENIED_TOLD),
    ("Lock/Unlock", r#"key: "z""#, EMPTY_TOLD, DENIED_TOLD),
    ("Election/Campaign", r#"name: "z""#, EMPTY_TOLD, DENIED_TOLD),
    ("Election/Proclaim", r#"leader { name: "z" key: "z" }"#, EMPTY_TOLD, DENIED_TOLD),
    ("Election/Leader", r#"name: "z""#, EMPTY_TOLD, DENIED_TOLD),
    ("Election/Observe", r#"name: "z""#, EMPTY_TOLD, DENIED_TOLD),
    ("Election/Resign", r#"leader { name: "z" key: "z" }"#, EMPTY_TOLD, DENIED_TOLD),
    ("Health/Check", "", OK, OK),
    ("Health/Watch", "", OK, OK),
    ("Health/List", "", OK, OK),
];

/// Every method that a client can call, but `Watch`, which refuses in its own way.
fn methods() -> BTreeSet<String> {
    let pool = prost_reflect::DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("descriptors");
    let methods = pool.services().flat_map(|service| {
        let name = service.name().to_owned();
        service.methods().map(move |method| format!("{name}/{}", method.name())).collect::<Vec<_>>()
    });
    methods.filter(|name| name != "Watch/Watch").collect()
}

#[tokio::test]
async fn a13_a15_cve_2026_33413_every_method_is_guarded() {
    let known: BTreeSet<String> = GUARDED.iter().map(|(method, ..)| (*method).to_owned()).collect();
    assert_eq!(methods(), known, "each method has a row");
    let server = start(config()).await;
    let channel = server.channel();
    let (root, alice) = guard(&channel).await;
    for (id, key) in [("7", "a"), ("8", "z")] {
        let grant = format!("ID: {id} TTL: 1000");
        assert_eq!(text(&channel, &root, "Lease/LeaseGrant", &grant).await, OK);
        let put = format!(r#"key: "{key}" lease: {id}"#);
        assert_eq!(text(&channel, &root, "KV/Put", &put).await, OK);
    }
    let before = text_of_state(&channel, &root).await;
    for (method, request, nobody, user) in GUARDED {
        assert_eq!(text(&channel, "", method, request).await, *nobody, "nobody: {method} {request}");
        let invalid = text(&channel, "abcdefghijklmnop.1", method, request).await;
        let is_open = *nobody == OK;
        assert_eq!(invalid.ends_with("etcdserver: invalid auth token"), !is_open, "{method}: {invalid}");
        assert_eq!(text(&channel, &alice, method, request).await, *user, "alice: {method} {request}");
    }
    assert_eq!(text_of_state(&channel, &root).await, before, "nothing was changed");
    server.shutdown().await.expect("stopped");
}

/// Keys, users and roles. (Leases that alice and her locks made are hers to make.)
async fn text_of_state(channel: &Channel, root: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for (method, request) in [
        ("KV/Range", r#"key: "\0" range_end: "\0""#),
        ("Auth/UserList", ""),
        ("Auth/RoleList", ""),
        ("Auth/RoleGet", r#"role: "some""#),
        ("Auth/UserGet", r#"name: "alice""#),
        ("Auth/AuthStatus", ""),
        ("Maintenance/Alarm", ""),
    ] {
        texts.push(ask(channel, root, method, request).await.expect(method));
    }
    texts
}

#[tokio::test]
async fn w6_a15_ghsa_xg4h_6gfc_h4m8_watches_are_guarded_to_the_end_of_their_range() {
    let server = start(config()).await;
    let channel = server.channel();
    let (root, alice) = guard(&channel).await;
    let refused = [
        ("", r#"key: "a""#, "InvalidArgument desc = etcdserver: user name is empty"),
        ("nonsense", r#"key: "a""#, "Unauthenticated desc = etcdserver: invalid auth token"),
        (&alice, r#"key: "a" range_end: "\0""#, "PermissionDenied desc = etcdserver: permission denied"),
        (&alice, r#"key: "a" range_end: "c""#, "PermissionDenied desc = etcdserver: permission denied"),
        (&alice, r#"range_end: "\0""#, "PermissionDenied desc = etcdserver: permission denied"),
        (&alice, "", "PermissionDenied desc = etcdserver: permission denied"),
    ];
    for (token, create, reason) in refused {
        let request = format!("create_request {{ {create} }}");
        let answer = text(&channel, token, "Watch/Watch", &request).await;
        assert!(answer.contains("watch_id:-1") && answer.contains("created:true"), "{create}: {answer}");
        assert!(answer.contains(&format!("rpc error: code = {reason}")), "{create}: {answer}");
    }
    for (token, create) in [(&alice, r#"key: "a""#), (&root, r#"range_end: "\0""#)] {
        let request = format!("create_request {{ {create} }}");
        assert_eq!(text(&channel, token, "Watch/Watch", &request).await, OK);
    }
    server.shutdown().await.expect("stopped");
}

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
    let invalid = "Unauthenticated: etcdserver: invalid auth token";
    assert_eq!(text(&channel, &alice, "KV/Put", r#"key: "a""#).await, invalid);
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
    let invalid = "Unauthenticated: etcdserver: invalid auth token";
    let far = format!("abcdefghijklmnop.{}", u64::MAX);
    assert_eq!(text(&channel, &far, "KV/Range", r#"key: "a""#).await, invalid);
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

#[tokio::test]
async fn a7_many_who_log_in_at_once_are_soon_in() {
    let server = start(ServerConfig { bcrypt_cost: 10, ..config() }).await;
    let channel = server.channel();
    guard(&channel).await;
    let begun = std::time::Instant::now();
    let logging_in: Vec<_> = (0..1_000)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { log_in(&channel, "alice", "alice's password").await })
        })
        .collect();
    let mut tokens = BTreeSet::new();
    for one in logging_in {
        tokens.insert(one.await.expect("a task").expect("logged in"));
    }
    assert_eq!(tokens.len(), 1_000, "each has a token of his own");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    server.shutdown().await.expect("stopped");
}

#[tokio::test]
async fn a8_a15_cve_2021_28235_no_log_at_any_level_shows_a_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let program = Path::new(env!("CARGO_BIN_EXE_tenured"));
    let outputs = format!("--log-outputs={}", log.display());
    let flags = ["--log-level=debug", &outputs, "--bcrypt-cost=4"].map(str::to_owned);
    let server = Process::start(program, &directory.path().join("data"), &flags).await.expect("tenured");
    let channel = server.channel().await.expect("a channel");
    let (root, alice) = guard(&channel).await;
    let hash = "JDJhJDEwJFpEcFoud2EwN3RoZ0xaa2VzM2RuUGVGeU45RU5JRVVVSDlnMVJHcHROUlJNd0dOSkwyMXpx";
    for (method, request) in [
        ("Auth/UserAdd", r#"name: "bob" password: "plainpassword1""#.to_owned()),
        ("Auth/UserChangePassword", r#"name: "bob" password: "plainpassword2""#.to_owned()),
        ("Auth/UserChangePassword", format!(r#"name: "bob" hashedPassword: "{hash}""#)),
        ("Auth/UserChangePassword", r#"name: "nobody" password: "plainpassword3""#.to_owned()),
        ("Auth/Authenticate", r#"name: "bob" password: "plainpassword4""#.to_owned()),
        ("Auth/Authenticate", r#"name: "bob" password: "root""#.to_owned()),
        ("KV/Range", r#"key: "a""#.to_owned()),
    ] {
        for token in [&root, &alice, "secrettoken.1"] {
            let told = text(&channel, token, method, &request).await;
            for secret in ["plainpassword", hash, "secrettoken", "$2a$", &root, &alice] {
                assert!(!told.contains(secret), "{method}: {told}");
            }
        }
    }
    drop(server);
    let log = std::fs::read_to_string(log).expect("a log");
    assert!(
        log.contains("authenticated a user") && log.contains("invalid auth token"),
        "it is at debug level"
    );
    for secret in ["plainpassword", "s password", hash, "secrettoken", "$2a$", &root, &alice] {
        assert!(!log.contains(secret), "{secret} in the log");
    }
}
