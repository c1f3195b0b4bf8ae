//! Connections that say who asks, once authentication is on.

use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_api::{authpb, etcdserverpb as pb};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// The role of those who write, and what it may: everything but administer.
const ROLE: &str = "load";

/// A connection to a member.
pub(super) type Wire = InterceptedService<Channel, Token>;

/// What a request brings along; nothing if nobody asks for it.
#[derive(Clone, Debug, Default)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}

/// Somebody who logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    name: &'static str,
    password: &'static str,
}

/// Who administers the cluster.
pub(super) const ROOT: User = User { name: "root", password: "root's password" };
/// Who reads and writes.
pub(super) const LOAD: User = User { name: "load", password: "load's password" };

/// A connection to a member, or why there is none.
///
/// * `patience`: how long it may take.
pub(super) async fn connect(url: &str, patience: Duration) -> Result<Channel, Status> {
    let endpoint = Endpoint::from_shared(url.to_owned()).expect("a member's URL is one");
    let endpoint = endpoint.tcp_nodelay(true).connect_timeout(patience);
    match tokio::time::timeout(patience, endpoint.connect()).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(Status::unavailable(error.to_string())),
        Err(_) => Err(Status::deadline_exceeded("no connection")),
    }
}

/// What a user is known by.
pub(super) async fn log_in(channel: Channel, user: User) -> Result<Token, Status> {
    let request = pb::AuthenticateRequest { name: user.name.into(), password: user.password.into() };
    let answer = pb::auth_client::AuthClient::new(channel).authenticate(request).await?.into_inner();
    let token = answer.token.parse().map_err(|_| Status::internal("a token that is no text"))?;
    Ok(Token(Some(token)))
}

/// Whether whoever asks should log in again: a member that started anew has forgotten him, or rights were changed.
pub(super) fn is_forgotten(status: &Status) -> bool {
    matches!(
        EtcdError::from_status(status),
        Some(EtcdError::InvalidAuthToken | EtcdError::AuthOldRevision | EtcdError::UserEmpty)
    )
}

/// As [`is_forgotten`], of the reason for which a watch is cancelled: a status as text.
pub(super) fn is_forgotten_as(reason: &str) -> bool {
    let message = reason.split_once(" desc = ").map_or(reason, |(_, message)| message);
    is_forgotten(&Status::unknown(message))
}

/// Makes both users, and turns authentication on.
pub(super) async fn enable(channel: Channel) -> Result<(), Status> {
    let mut auth = pb::auth_client::AuthClient::new(channel);
    for (user, role) in [(ROOT, "root"), (LOAD, ROLE)] {
        let (name, password) = (user.name.to_owned(), user.password.to_owned());
        let add = pb::AuthUserAddRequest { name: name.clone(), password, ..Default::default() };
        auth.user_add(add).await?;
        auth.role_add(pb::AuthRoleAddRequest { name: role.into() }).await?;
        auth.user_grant_role(pb::AuthUserGrantRoleRequest { user: name, role: role.into() }).await?;
    }
    let everything = authpb::Permission {
        perm_type: authpb::permission::Type::Readwrite.into(),
        key: "\0".into(),
        range_end: "\0".into(),
    };
    let grant = pb::AuthRoleGrantPermissionRequest { name: ROLE.into(), perm: Some(everything) };
    auth.role_grant_permission(grant).await?;
    auth.auth_enable(pb::AuthEnableRequest {}).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_forgotten_is_told_as_a_status_or_as_its_text() {
        let status = Status::unauthenticated("etcdserver: invalid auth token");
        assert!(is_forgotten(&status) && is_forgotten_as(status.message()));
        assert!(is_forgotten_as("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"));
        assert!(!is_forgotten_as("rpc error: code = PermissionDenied desc = etcdserver: permission denied"));
        assert!(!is_forgotten_as(""));
    }
}
