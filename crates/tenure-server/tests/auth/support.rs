//! Users, and calls in their name.

use tenure_api::authpb::Permission;
use tenure_api::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
    AuthUserGrantRoleRequest, AuthenticateRequest, auth_client::AuthClient,
};
use tenure_harness::{
    PATIENCE,
    rpc::{self, Method, Received, Stream},
};
use tenure_server::{Server, config::ServerConfig};
use tonic::{Code, Request, Status, metadata::MetadataMap, transport::Channel};

pub fn config() -> ServerConfig {
    ServerConfig { bcrypt_cost: 4, ..ServerConfig::in_memory().without_listeners() }
}

pub async fn start(config: ServerConfig) -> Server {
    Server::start(config).await.expect("a member starts")
}

pub fn with_token(token: &str) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    if !token.is_empty() {
        metadata.insert("token", token.parse().expect("ASCII"));
    }
    metadata
}

pub async fn log_in(channel: &Channel, name: &str, password: &str) -> Result<String, Status> {
    let request = AuthenticateRequest { name: name.into(), password: password.into() };
    Ok(AuthClient::new(channel.clone()).authenticate(request).await?.into_inner().token)
}

/// Root, and alice who may read and write `a`; authentication is on.
pub async fn make_users(channel: &Channel) {
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
pub async fn guard(channel: &Channel) -> (String, String) {
    make_users(channel).await;
    let root = log_in(channel, "root", "root's password").await.expect("root logs in");
    let alice = log_in(channel, "alice", "alice's password").await.expect("alice logs in");
    (root, alice)
}

/// How a call ends; of a stream, its first message or end. A refused watch is a message.
pub async fn ask(channel: &Channel, token: &str, method: &str, request: &str) -> Result<String, Status> {
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

pub async fn text(channel: &Channel, token: &str, method: &str, request: &str) -> String {
    match ask(channel, token, method, request).await {
        Ok(answer) if answer.contains("cancel_reason") => answer,
        Ok(_) => "ok".to_owned(),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    }
}

pub const EMPTY: &str = "InvalidArgument: etcdserver: user name is empty";
pub const DENIED: &str = "PermissionDenied: etcdserver: permission denied";
/// Lock and Election are clients of their own server, whose errors lose their code on the way.
pub const EMPTY_TOLD: &str = "Unknown: etcdserver: user name is empty";
pub const DENIED_TOLD: &str = "Unknown: etcdserver: permission denied";
pub const OK: &str = "ok";
pub const INVALID: &str = "Unauthenticated: etcdserver: invalid auth token";
