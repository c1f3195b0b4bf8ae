//! Requests about leases, and their answers.

use crate::{Client, Code, EtcdError, LeaseId, ResponseHeader, Result, Ttl, rpc::method, types::header};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::future::IntoFuture;
use tenure_api::etcdserverpb as pb;

/// A lease on its way, from [`Lease::grant`](super::Lease::grant).
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
///
/// // With the server's choice of an id, or one's own.
/// let lease = client.lease().grant(Duration::from_secs(10)).await?;
/// let named = client.lease().grant(Duration::from_secs(10)).id(0x1234.into()).await?;
/// println!("{} {}", lease.id, named.id);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct LeaseGrant {
    client: Client,
    ttl: Ttl,
    id: LeaseId,
}

impl LeaseGrant {
    pub(super) fn new(client: Client, ttl: Ttl) -> Self {
        LeaseGrant { client, ttl, id: LeaseId(0) }
    }

    /// Gives the lease this id; 0 leaves it to the server.
    ///
    /// With an id of one's own, a request whose answer was lost is repeated as well: there will be one lease at most. If the
    /// repetition says [`LeaseExist`](EtcdError::LeaseExist), nobody knows whether the lease is that of the first request or somebody
    /// else's; then the error is what happened to the first request, such as [`ConnectionLost`](crate::Error::ConnectionLost).
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::{EtcdError, LeaseId};
    ///
    /// match client.lease().grant(Duration::from_secs(60)).id(LeaseId(0x1234)).await {
    ///     Ok(lease) => println!("it lives {} s", lease.ttl_seconds),
    ///     Err(error) if error.is(EtcdError::LeaseExist) => println!("somebody has made it before"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(mut self, id: LeaseId) -> Self {
        self.id = id;
        self
    }
}

impl IntoFuture for LeaseGrant {
    type Output = Result<LeaseGrantResponse>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = pb::LeaseGrantRequest { ttl: self.ttl.as_seconds(), id: self.id.0 };
            let client = &self.client;
            let answer = match self.id {
                LeaseId(0) => client.unary(&method::LEASE_GRANT, &request).await?,
                _ => client.rpc().in_time(grant_chosen(client, &request)).await?,
            };
            Ok(answer.into())
        })
    }
}

/// Grants a lease with the caller's id.
async fn grant_chosen(client: &Client, request: &pb::LeaseGrantRequest) -> Result<pb::LeaseGrantResponse> {
    let first = match client.unary(&method::LEASE_GRANT_CHOSEN, request).await {
        Err(error) if error.code() == Code::Unavailable && error.may_have_taken_effect() => error,
        answer => return answer,
    };
    match client.unary(&method::LEASE_GRANT, request).await {
        Err(error) if error.is(EtcdError::LeaseExist) => Err(first),
        answer => answer,
    }
}

/// A question about a lease on its way, from [`Lease::time_to_live`](super::Lease::time_to_live).
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::LeaseId;
///
/// let life = client.lease().time_to_live(LeaseId(0x1234)).await?;
/// println!("{} of {} s are left", life.ttl_seconds, life.granted_ttl_seconds);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct LeaseTimeToLive {
    client: Client,
    id: LeaseId,
    with_keys: bool,
}

impl LeaseTimeToLive {
    pub(super) fn new(client: Client, id: LeaseId) -> Self {
        LeaseTimeToLive { client, id, with_keys: false }
    }

    /// Asks for the keys of the lease as well. A client with a namespace sees those of the namespace alone.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::LeaseId;
    ///
    /// for key in client.lease().time_to_live(LeaseId(0x1234)).keys().await?.keys {
    ///     println!("{}", String::from_utf8_lossy(&key));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn keys(mut self) -> Self {
        self.with_keys = true;
        self
    }
}

impl IntoFuture for LeaseTimeToLive {
    type Output = Result<LeaseTimeToLiveResponse>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = pb::LeaseTimeToLiveRequest { id: self.id.0, keys: self.with_keys };
            let answer: pb::LeaseTimeToLiveResponse =
                self.client.unary(&method::LEASE_TIME_TO_LIVE, &request).await?;
            let keys = match self.client.namespace_of_keys() {
                None => answer.keys,
                Some(namespace) => {
                    let mine = answer.keys.iter().filter(|key| key.starts_with(namespace.prefix()));
                    mine.map(|key| namespace.strip_key(key)).collect()
                }
            };
            Ok(LeaseTimeToLiveResponse {
                header: header(answer.header),
                id: LeaseId(answer.id),
                ttl_seconds: answer.ttl,
                granted_ttl_seconds: answer.granted_ttl,
                keys,
            })
        })
    }
}

/// A lease is made.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
///
/// // The server may lengthen a life that is too short for it.
/// let lease = client.lease().grant(Duration::from_secs(1)).await?;
/// println!("lease {}, {} s", lease.id, lease.ttl_seconds);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseGrantResponse {
    /// Server and store. The revision is the current one: a lease makes none.
    pub header: ResponseHeader,
    /// The lease.
    pub id: LeaseId,
    /// How long it lives without being renewed, in seconds: as asked for, or the least that the server grants.
    pub ttl_seconds: i64,
}

impl From<pb::LeaseGrantResponse> for LeaseGrantResponse {
    fn from(answer: pb::LeaseGrantResponse) -> Self {
        LeaseGrantResponse { header: header(answer.header), id: LeaseId(answer.id), ttl_seconds: answer.ttl }
    }
}

/// A lease is ended.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
///
/// let lease = client.lease().grant(Duration::from_secs(10)).await?;
/// let revision = client.lease().revoke(lease.id).await?.header.revision;
/// println!("its keys are gone since revision {revision}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseRevokeResponse {
    /// Server and store. The revision is that at which the keys were deleted; a lease without keys makes none.
    pub header: ResponseHeader,
}

/// What is left of a lease.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
///
/// let lease = client.lease().grant(Duration::from_secs(10)).await?;
/// let life = client.lease().time_to_live(lease.id).keys().await?;
/// if life.ttl_seconds < 0 {
///     println!("{} is gone", life.id);
/// } else {
///     println!("{} keys, {} s left", life.keys.len(), life.ttl_seconds);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseTimeToLiveResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// The lease that was asked about.
    pub id: LeaseId,
    /// Seconds that it lives without being renewed; -1 if there is no such lease.
    pub ttl_seconds: i64,
    /// Seconds that it was granted, and is given again with each renewal; 0 if there is no such lease.
    pub granted_ttl_seconds: i64,
    /// Its keys, if they were asked for.
    pub keys: Vec<Bytes>,
}

/// A lease is renewed.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
///
/// let lease = client.lease().grant(Duration::from_secs(10)).await?;
/// let renewed = client.lease().keep_alive_once(lease.id).await?;
/// println!("{} lives {} s from now on", renewed.id, renewed.ttl_seconds);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseKeepAliveResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// The lease.
    pub id: LeaseId,
    /// Seconds that it lives from now on.
    pub ttl_seconds: i64,
}

impl From<pb::LeaseKeepAliveResponse> for LeaseKeepAliveResponse {
    fn from(answer: pb::LeaseKeepAliveResponse) -> Self {
        LeaseKeepAliveResponse {
            header: header(answer.header),
            id: LeaseId(answer.id),
            ttl_seconds: answer.ttl,
        }
    }
}

/// All leases.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.lease().leases().await?;
/// println!("{} leases at revision {}", answer.leases.len(), answer.header.revision);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseLeasesResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// Those that end first at the front.
    pub leases: Vec<LeaseId>,
}

impl From<pb::LeaseLeasesResponse> for LeaseLeasesResponse {
    fn from(answer: pb::LeaseLeasesResponse) -> Self {
        LeaseLeasesResponse {
            header: header(answer.header),
            leases: answer.leases.into_iter().map(|lease| LeaseId(lease.id)).collect(),
        }
    }
}
