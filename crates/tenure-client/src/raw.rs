//! Calls in the messages of the protocol, for programs that pass them on or print them whole: proxies, tools, tests of servers.
//!
//! They go the way of all calls: the same connections, tokens, limits and retries. What the rest of this crate adds above them is
//! left out: a namespace is not applied, and nothing is checked before it is sent.
//!
//! ```no_run
//! # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
//! use tenure_client::raw::etcdserverpb::RangeRequest;
//!
//! let answer = client.raw().call(&RangeRequest { key: "a".into(), ..Default::default() }).await?;
//! println!("{answer:?}");
//! # Ok(())
//! # }
//! ```

use crate::{
    Client, Endpoint, Result,
    rpc::method::{self, Method},
};
use futures::Stream;
use prost::Message;
use tenure_api::etcdserverpb as pb;

/// The messages, as their `.proto` files name them.
pub use tenure_api::{authpb, etcdserverpb, mvccpb};

/// What is known of a request in this crate.
pub(crate) trait Call {
    /// The method that answers it, by its effect: some requests can be repeated, others of the same kind not.
    fn method(&self) -> &'static Method;
}

/// A request of a method with one answer. All of etcd's are; streams have their own parts of this crate.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Client, Result, raw::Request};
///
/// /// Passes a request on.
/// async fn forward<Q: Request>(client: &Client, request: &Q) -> Result<Q::Response> {
///     client.raw().call(request).await
/// }
/// # Ok(())
/// # }
/// ```
#[expect(private_bounds, reason = "which requests there are is known")]
pub trait Request: Message + Call {
    /// What is answered.
    type Response: Message + Default + 'static;
}

macro_rules! requests {
    ($($request:ident -> $response:ident: |$this:pat_param| $method:expr,)*) => {
        $(
            impl Request for pb::$request {
                type Response = pb::$response;
            }
            impl Call for pb::$request {
                fn method(&self) -> &'static Method {
                    let $this = self;
                    &$method
                }
            }
        )*
    };
}

requests! {
    RangeRequest -> RangeResponse: |_| method::RANGE,
    PutRequest -> PutResponse: |_| method::PUT,
    DeleteRangeRequest -> DeleteRangeResponse: |_| method::DELETE_RANGE,
    TxnRequest -> TxnResponse: |txn| *of_txn(txn),
    CompactionRequest -> CompactionResponse: |_| method::COMPACT,
    LeaseGrantRequest -> LeaseGrantResponse: |grant| *of_grant(grant),
    LeaseRevokeRequest -> LeaseRevokeResponse: |_| method::LEASE_REVOKE,
    // One request and one answer on a stream are a unary call on the wire.
    LeaseKeepAliveRequest -> LeaseKeepAliveResponse: |_| method::LEASE_KEEP_ALIVE,
    LeaseTimeToLiveRequest -> LeaseTimeToLiveResponse: |_| method::LEASE_TIME_TO_LIVE,
    LeaseLeasesRequest -> LeaseLeasesResponse: |_| method::LEASE_LEASES,
    MemberAddRequest -> MemberAddResponse: |_| method::MEMBER_ADD,
    MemberRemoveRequest -> MemberRemoveResponse: |_| method::MEMBER_REMOVE,
    MemberUpdateRequest -> MemberUpdateResponse: |_| method::MEMBER_UPDATE,
    MemberListRequest -> MemberListResponse: |_| method::MEMBER_LIST,
    MemberPromoteRequest -> MemberPromoteResponse: |_| method::MEMBER_PROMOTE,
    AlarmRequest -> AlarmResponse: |_| method::ALARM,
    StatusRequest -> StatusResponse: |_| method::STATUS,
    DefragmentRequest -> DefragmentResponse: |_| method::DEFRAGMENT,
    HashRequest -> HashResponse: |_| method::HASH,
    HashKvRequest -> HashKvResponse: |_| method::HASH_KV,
    MoveLeaderRequest -> MoveLeaderResponse: |_| method::MOVE_LEADER,
    DowngradeRequest -> DowngradeResponse: |_| method::DOWNGRADE,
    AuthEnableRequest -> AuthEnableResponse: |_| method::AUTH_ENABLE,
    AuthDisableRequest -> AuthDisableResponse: |_| method::AUTH_DISABLE,
    AuthStatusRequest -> AuthStatusResponse: |_| method::AUTH_STATUS,
    AuthenticateRequest -> AuthenticateResponse: |_| method::AUTHENTICATE,
    AuthUserAddRequest -> AuthUserAddResponse: |_| method::USER_ADD,
    AuthUserGetRequest -> AuthUserGetResponse: |_| method::USER_GET,
    AuthUserDeleteRequest -> AuthUserDeleteResponse: |_| method::USER_DELETE,
    AuthUserListRequest -> AuthUserListResponse: |_| method::USER_LIST,
    AuthUserChangePasswordRequest -> AuthUserChangePasswordResponse: |_| method::USER_CHANGE_PASSWORD,
    AuthUserGrantRoleRequest -> AuthUserGrantRoleResponse: |_| method::USER_GRANT_ROLE,
    AuthUserRevokeRoleRequest -> AuthUserRevokeRoleResponse: |_| method::USER_REVOKE_ROLE,
    AuthRoleAddRequest -> AuthRoleAddResponse: |_| method::ROLE_ADD,
    AuthRoleGetRequest -> AuthRoleGetResponse: |_| method::ROLE_GET,
    AuthRoleDeleteRequest -> AuthRoleDeleteResponse: |_| method::ROLE_DELETE,
    AuthRoleListRequest -> AuthRoleListResponse: |_| method::ROLE_LIST,
    AuthRoleGrantPermissionRequest -> AuthRoleGrantPermissionResponse: |_| method::ROLE_GRANT_PERMISSION,
    AuthRoleRevokePermissionRequest -> AuthRoleRevokePermissionResponse: |_| method::ROLE_REVOKE_PERMISSION,
}

fn of_txn(txn: &pb::TxnRequest) -> &'static Method {
    let mut ops = txn.success.iter().chain(&txn.failure).filter_map(|op| op.request.as_ref());
    match ops.all(|op| matches!(op, pb::request_op::Request::RequestRange(_))) {
        true => &method::READ_ONLY_TXN,
        false => &method::TXN,
    }
}

/// Who chose the id cannot tell a lease that the lost request made from somebody else's.
fn of_grant(grant: &pb::LeaseGrantRequest) -> &'static Method {
    if grant.id == 0 { &method::LEASE_GRANT } else { &method::LEASE_GRANT_CHOSEN }
}

/// Calls in the messages of the protocol, from [`Client::raw`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::raw::{Raw, etcdserverpb::PutRequest};
///
/// let raw: Raw = client.raw();
/// raw.call(&PutRequest { key: "a".into(), value: "1".into(), ..Default::default() }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Raw {
    client: Client,
}

impl Client {
    /// Calls in the messages of the protocol.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::raw::etcdserverpb::MemberListRequest;
    ///
    /// let answer = client.raw().call(&MemberListRequest { linearizable: true }).await?;
    /// println!("{} members", answer.members.len());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn raw(&self) -> Raw {
        Raw { client: self.clone() }
    }
}

impl Raw {
    /// Sends a request to the next endpoint, and again as its effect allows.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::raw::etcdserverpb::DeleteRangeRequest;
    ///
    /// let request = DeleteRangeRequest { key: "a".into(), prev_kv: true, ..Default::default() };
    /// println!("{} deleted", client.raw().call(&request).await?.deleted);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the server answers, or why it did not: see [`Error`](crate::Error).
    pub async fn call<Q: Request>(&self, request: &Q) -> Result<Q::Response> {
        self.client.unary(request.method(), request).await
    }

    /// Reads a range in parts, by `RangeStream`: the first parts hold pairs only, the last one header and count. Servers before 3.7
    /// answer that they do not know it; [`Client::get_stream`] copes with that.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use futures::StreamExt;
    /// use tenure_client::raw::etcdserverpb::RangeRequest;
    ///
    /// let request = RangeRequest { key: "a".into(), range_end: "b".into(), ..Default::default() };
    /// let mut parts = client.raw().range_stream(&request).await?;
    /// while let Some(part) = parts.next().await {
    ///     println!("{:?}", part?.range_response);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Raw::call`]; the stream ends with the error that breaks it.
    pub async fn range_stream(
        &self,
        request: &pb::RangeRequest,
    ) -> Result<impl Stream<Item = Result<pb::RangeStreamResponse>> + Send + Unpin + use<>> {
        self.client.rpc().server_stream::<_, pb::RangeStreamResponse>(&method::RANGE_STREAM, request).await
    }

    /// Sends a request to this endpoint and no other, which need not be one of the client's. It is sent again only with a new token,
    /// and once if it surely never left.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::raw::etcdserverpb::StatusRequest;
    ///
    /// for endpoint in client.endpoints() {
    ///     let status = client.raw().call_endpoint(&endpoint, &StatusRequest {}).await?;
    ///     println!("{endpoint}: {status:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Raw::call`]; [`Invalid`](crate::Error::Invalid) if it is no endpoint.
    pub async fn call_endpoint<Q: Request>(
        &self,
        endpoint: impl AsRef<str>,
        request: &Q,
    ) -> Result<Q::Response> {
        let endpoint: Endpoint = endpoint.as_ref().parse()?;
        self.client.rpc().unary_to(&endpoint, request.method(), request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::method::Repeat;

    #[test]
    fn a_transaction_and_a_grant_are_repeated_by_their_effect() {
        let read = pb::request_op::Request::RequestRange(pb::RangeRequest::default());
        let write = pb::request_op::Request::RequestPut(pb::PutRequest::default());
        let of = |success: pb::request_op::Request| pb::TxnRequest {
            success: vec![pb::RequestOp { request: Some(success) }],
            ..Default::default()
        };
        assert_eq!(of(read).method().repeat, Repeat::Always);
        assert_eq!(of(write).method().repeat, Repeat::IfWithoutEffect);
        let grant = |id| pb::LeaseGrantRequest { id, ttl: 1 };
        assert_eq!(grant(0).method().repeat, Repeat::Always);
        assert_eq!(grant(7).method().repeat, Repeat::IfWithoutEffect);
    }
}
