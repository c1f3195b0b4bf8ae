//! Leases: granted, renewed, revoked.
//!
//! * `call`: requests and their answers.
//! * `keeper`: what those who keep a lease alive are told.
//! * `renewals`: the task that renews all leases of a client on one stream.
//! * `schedule`: when each lease is renewed and when it is lost, as a state machine.

mod call;
mod keeper;
mod renewals;
mod schedule;

pub use call::{
    LeaseGrant, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse,
    LeaseTimeToLive, LeaseTimeToLiveResponse,
};
pub use keeper::LeaseKeeper;
pub(crate) use renewals::Renewals;

use crate::{Client, Error, EtcdError, LeaseId, Result, Ttl, rpc::method, types::header};
use schedule::Life;
use tenure_api::etcdserverpb as pb;
use tokio::time::Instant;

impl Client {
    /// Leases: keys that are attached to one go away with it, when it is revoked or not renewed in time.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    ///
    /// let granted = client.lease().grant(Duration::from_secs(10)).await?;
    /// client.put("services/me", "10.0.0.1:80").lease(granted.id).await?;
    /// let keeper = client.lease().keep_alive(granted.id).await?;
    /// // The key stays while the keeper lives.
    /// drop(keeper);
    /// client.lease().revoke(granted.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn lease(&self) -> Lease {
        Lease { client: self.clone() }
    }
}

/// What can be done with leases; from [`Client::lease`]. Cheap to clone.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
///
/// let leases = client.lease();
/// let lease = leases.grant(Duration::from_secs(30)).await?;
/// client.put("session/7", "alice").lease(lease.id).await?;
/// // After 30 s without a renewal the key is gone. Or earlier:
/// leases.revoke(lease.id).await?;
/// assert_eq!(client.get("session/7").await?.count, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Lease {
    client: Client,
}

impl Lease {
    /// Makes a lease that lives so long without being renewed, rounded up to whole seconds:
    /// `client.lease().grant(Duration::from_secs(10)).await?`. The server lengthens what is too short for it (2 s by default);
    /// [`LeaseGrantResponse::ttl_seconds`] is what counts.
    ///
    /// The server picks the id, unless [`LeaseGrant::id`] does. The request is repeated when its answer was lost; then there may
    /// be another lease that nobody knows of, which runs out by itself.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    ///
    /// let lease = client.lease().grant(Duration::from_secs(10)).await?;
    /// println!("lease {} lives {} s", lease.id, lease.ttl_seconds);
    /// client.put("services/me", "10.0.0.1:80").lease(lease.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Among others [`LeaseTTLTooLarge`](EtcdError::LeaseTTLTooLarge) beyond 9,000,000,000 s, [`LeaseExist`](EtcdError::LeaseExist) for
    /// an id in use, [`NoSpace`](EtcdError::NoSpace).
    pub fn grant(&self, ttl: impl Into<Ttl>) -> LeaseGrant {
        LeaseGrant::new(self.client.clone(), ttl.into())
    }

    /// Ends a lease and deletes its keys, all in one revision. Keepers of this client are told at once, others with their next
    /// renewal.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::EtcdError;
    ///
    /// let lease = client.lease().grant(Duration::from_secs(10)).await?;
    /// match client.lease().revoke(lease.id).await {
    ///     Err(error) if !error.is(EtcdError::LeaseNotFound) => return Err(error),
    ///     _ => println!("the lease and its keys are gone"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LeaseNotFound`](EtcdError::LeaseNotFound) if there is no such lease. The request is repeated when its answer was lost; so
    /// this may be told of a lease that this very call revoked. Either way the lease is gone and so are its keys: who wants no
    /// more than that takes it for a success. [`PermissionDenied`](EtcdError::PermissionDenied) if the user may not write all of
    /// its keys.
    pub async fn revoke(&self, id: LeaseId) -> Result<LeaseRevokeResponse> {
        let renewals = &self.client.shared().renewals;
        let number = renewals.number(id);
        let request = pb::LeaseRevokeRequest { id: id.0 };
        let answer: Result<pb::LeaseRevokeResponse> =
            self.client.unary(&method::LEASE_REVOKE, &request).await;
        let is_gone = match &answer {
            Ok(_) => true,
            Err(error) => error.is(EtcdError::LeaseNotFound),
        };
        if let Some(number) = number.filter(|_| is_gone) {
            renewals.revoked(id, number);
        }
        Ok(LeaseRevokeResponse { header: header(answer?.header) })
    }

    /// What is left of a lease: `client.lease().time_to_live(id).keys().await?`. That there is no such lease is no error: see
    /// [`LeaseTimeToLiveResponse::ttl_seconds`].
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// for id in client.lease().leases().await?.leases {
    ///     let life = client.lease().time_to_live(id).keys().await?;
    ///     println!("{id}: {} keys go in {} s", life.keys.len(), life.ttl_seconds);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PermissionDenied`](EtcdError::PermissionDenied) if the user may not read all keys that are asked for; or no member can be
    /// reached.
    pub fn time_to_live(&self, id: LeaseId) -> LeaseTimeToLive {
        LeaseTimeToLive::new(self.client.clone(), id)
    }

    /// All leases of the cluster, those that end first at the front.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// for id in client.lease().leases().await?.leases {
    ///     println!("{id}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PermissionDenied`](EtcdError::PermissionDenied) if the user may not read the keys of all leases (etcd 3.5.28 and later);
    /// or no member can be reached.
    pub async fn leases(&self) -> Result<LeaseLeasesResponse> {
        let request = pb::LeaseLeasesRequest {};
        let answer: pb::LeaseLeasesResponse = self.client.unary(&method::LEASE_LEASES, &request).await?;
        Ok(answer.into())
    }

    /// Renews a lease until the [`LeaseKeeper`] is dropped. Comes back when the server has renewed it the first time, or at once
    /// if this client renews it already. Dropping the future stops it.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    ///
    /// let lease = client.lease().grant(Duration::from_secs(10)).await?;
    /// let keeper = client.lease().keep_alive(lease.id).await?;
    /// client.put("services/me", "10.0.0.1:80").lease(lease.id).await?;
    /// tokio::select! {
    ///     why = keeper.lost() => println!("not registered any more: {why}"),
    ///     _ = std::future::pending::<()>() => {} // what the service does
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LeaseNotFound`](EtcdError::LeaseNotFound) if there is no such lease, [`PermissionDenied`](EtcdError::PermissionDenied) if the
    /// user may not write all of its keys. If no answer comes within the dial timeout and a second: why not, for instance
    /// [`Error::Unreachable`].
    pub async fn keep_alive(&self, id: LeaseId) -> Result<LeaseKeeper> {
        let keeper = self.client.shared().renewals.keep(id, None)?;
        keeper.confirmed().await?;
        Ok(keeper)
    }

    /// Keeps a lease alive that was granted after `since`.
    pub(crate) async fn keep_alive_granted(
        &self,
        granted: &LeaseGrantResponse,
        since: Instant,
    ) -> Result<LeaseKeeper> {
        let life = Life::new(since, granted.ttl_seconds);
        // If the answer took long, the lease may be older or younger than it seems: the server knows.
        if since.elapsed() > life.ttl / 3 {
            return self.keep_alive(granted.id).await;
        }
        self.client.shared().renewals.keep(granted.id, Some(life))
    }

    /// Renews a lease once.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{EtcdError, LeaseId};
    ///
    /// // For a lease whose id comes from elsewhere, and that is renewed when there is reason to.
    /// match client.lease().keep_alive_once(LeaseId(0x1234)).await {
    ///     Ok(renewed) => println!("{} s more", renewed.ttl_seconds),
    ///     Err(error) if error.is(EtcdError::LeaseNotFound) => println!("too late"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LeaseNotFound`](EtcdError::LeaseNotFound) if there is no such lease, [`PermissionDenied`](EtcdError::PermissionDenied) if the
    /// user may not write all of its keys; or no member can be reached.
    pub async fn keep_alive_once(&self, id: LeaseId) -> Result<LeaseKeepAliveResponse> {
        // On the wire, one request and one answer on a stream are a unary call.
        let request = pb::LeaseKeepAliveRequest { id: id.0 };
        let answer: pb::LeaseKeepAliveResponse =
            self.client.unary(&method::LEASE_KEEP_ALIVE, &request).await?;
        if answer.ttl <= 0 {
            return Err(not_found());
        }
        Ok(answer.into())
    }

    /// Stops all renewals of this client and its clones: [`LeaseKeeper::lost`] says [`Error::Closed`]. The leases run out by
    /// themselves. [`Lease::keep_alive`] can be called again.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::Error;
    ///
    /// let lease = client.lease().grant(Duration::from_secs(10)).await?;
    /// let keeper = client.lease().keep_alive(lease.id).await?;
    /// client.lease().close();
    /// assert!(matches!(keeper.lost().await, Error::Closed));
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) {
        self.client.shared().renewals.close();
    }
}

fn not_found() -> Error {
    let error = EtcdError::LeaseNotFound;
    Error::Etcd { error, code: error.code() }
}
