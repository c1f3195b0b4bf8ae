//! Addresses of services, kept in the store.
//!
//! Each instance of a service is a key `TARGET/NAME` whose value is JSON: `{"Op":0,"Addr":"10.0.0.1:80","Metadata":null}`,
//! byte for byte as Go's `naming/endpoints` writes it. With a lease, an instance that dies goes away by itself.

mod json;
mod watch;

pub use watch::EndpointWatch;

use crate::{
    Client, Error, IntoBytes, LeaseId, Result,
    kv::{Call, Get, KeyRange, Op, Put},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, future::IntoFuture};

/// Where an instance of a service is.
///
/// ```
/// use tenure_client::naming::Endpoint;
///
/// let endpoint = Endpoint::new("10.0.0.1:80");
/// assert_eq!(endpoint.addr, "10.0.0.1:80");
/// assert!(endpoint.metadata.is_null());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoint {
    /// Its address.
    pub addr: String,
    /// Whatever else is to be said of it; `null` if nothing is.
    pub metadata: Value,
}

impl Endpoint {
    /// An address with nothing else to say of it.
    ///
    /// ```
    /// use tenure_client::naming::Endpoint;
    ///
    /// assert_eq!(Endpoint::new("10.0.0.1:80"), Endpoint { addr: "10.0.0.1:80".into(), ..Endpoint::default() });
    /// ```
    #[must_use]
    pub fn new(addr: impl Into<String>) -> Self {
        Endpoint { addr: addr.into(), metadata: Value::Null }
    }

    /// Adds what is to be said of it.
    ///
    /// ```
    /// use serde_json::json;
    /// use tenure_client::naming::Endpoint;
    ///
    /// let endpoint = Endpoint::new("10.0.0.1:80").metadata(json!({"zone": "a"}));
    /// assert_eq!(endpoint.metadata["zone"], "a");
    /// ```
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<Value>) -> Self {
        self.metadata = metadata.into();
        self
    }

    fn encode(&self) -> Result<Bytes> {
        let stored = Stored { op: 0, addr: self.addr.clone(), metadata: self.metadata.clone() };
        let encoded = json::to_vec(&stored);
        Ok(encoded
            .map_err(|error| Error::invalid(format!("the endpoint cannot be written as JSON: {error}")))?
            .into())
    }

    /// Nothing if the value is not that of an endpoint; Go's client passes over such keys as well.
    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        match serde_json::from_slice::<Stored>(value) {
            Ok(stored) => Some(Endpoint { addr: stored.addr, metadata: stored.metadata }),
            Err(error) => {
                tracing::warn!(key = %String::from_utf8_lossy(key), %error, "not an endpoint");
                None
            }
        }
    }
}

/// The value of a key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stored {
    #[serde(default)]
    op: u8,
    #[serde(default)]
    addr: String,
    #[serde(default)]
    metadata: Value,
}

/// A change of a service's endpoints: what is asked for with [`Endpoints::update`], and what [`Endpoints::watch`] tells.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::naming::{Endpoint, Endpoints, Update};
///
/// let service = Endpoints::new(&client, "services/search")?;
/// // Nobody ever sees both, or none.
/// let moved = [
///     Update::delete("services/search/a"),
///     Update::add("services/search/b", Endpoint::new("10.0.0.2:80")),
/// ];
/// service.update(moved).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The endpoint of this key is this one now.
    Add {
        /// `TARGET/NAME`.
        key: Bytes,
        /// Where it is.
        endpoint: Endpoint,
        /// It goes away with this lease; 0 if it stays.
        lease: LeaseId,
    },
    /// The endpoint of this key is gone.
    Delete {
        /// `TARGET/NAME`.
        key: Bytes,
    },
}

impl Update {
    /// Adds an endpoint that stays.
    ///
    /// ```
    /// use tenure_client::naming::{Endpoint, Update};
    ///
    /// let update = Update::add("services/search/a", Endpoint::new("10.0.0.1:80"));
    /// assert!(matches!(update, Update::Add { endpoint, .. } if endpoint.addr == "10.0.0.1:80"));
    /// ```
    #[must_use]
    pub fn add(key: impl IntoBytes, endpoint: Endpoint) -> Self {
        Update::Add { key: key.into_bytes(), endpoint, lease: LeaseId(0) }
    }

    /// Adds an endpoint that goes away with a lease.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::naming::{Endpoint, Endpoints, Update};
    ///
    /// let lease = client.lease().grant(Duration::from_secs(10)).await?.id;
    /// let service = Endpoints::new(&client, "services/search")?;
    /// let ports = [80, 443].map(|port| {
    ///     let key = format!("services/search/a-{port}");
    ///     Update::add_with_lease(key, Endpoint::new(format!("10.0.0.1:{port}")), lease)
    /// });
    /// service.update(ports).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn add_with_lease(key: impl IntoBytes, endpoint: Endpoint, lease: LeaseId) -> Self {
        Update::Add { key: key.into_bytes(), endpoint, lease }
    }

    /// Deletes an endpoint.
    ///
    /// ```
    /// use tenure_client::naming::Update;
    ///
    /// assert_eq!(Update::delete("services/search/a").key(), "services/search/a");
    /// ```
    #[must_use]
    pub fn delete(key: impl IntoBytes) -> Self {
        Update::Delete { key: key.into_bytes() }
    }

    /// The key that is changed.
    ///
    /// ```no_run
    /// # async fn example(mut changes: tenure_client::naming::EndpointWatch) -> tenure_client::Result<()> {
    /// while let Some(updates) = changes.next().await {
    ///     for update in updates? {
    ///         println!("{:?} has changed", update.key());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Update::Add { key, .. } | Update::Delete { key } => key,
        }
    }

    fn op(self) -> Result<Op> {
        Ok(match self {
            Update::Add { key, endpoint, lease } => Put::new(key, endpoint.encode()?).lease(lease).into(),
            Update::Delete { key } => Op::delete(key).into(),
        })
    }
}

/// The endpoints of one service. Go's `endpoints.Manager`.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::naming::{Endpoint, Endpoints};
///
/// let service = Endpoints::new(&client, "services/search")?;
/// service.add_endpoint("services/search/a", Endpoint::new("10.0.0.1:80")).await?;
/// for (key, endpoint) in service.list().await? {
///     println!("{key:?}: {}", endpoint.addr);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Endpoints {
    client: Client,
    /// The target and a slash.
    prefix: Bytes,
}

impl Endpoints {
    /// The endpoints of `target`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::naming::Endpoints;
    ///
    /// // Its keys are "services/search/...".
    /// let service = Endpoints::new(&client, "services/search")?;
    /// # drop(service);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if the target is empty.
    pub fn new(client: &Client, target: impl IntoBytes) -> Result<Self> {
        let target = target.into_bytes();
        if target.is_empty() {
            return Err(Error::invalid("endpoints without a target: name the service"));
        }
        Ok(Endpoints { client: client.clone(), prefix: [&target[..], b"/"].concat().into() })
    }

    /// Adds and deletes endpoints, all at once.
    ///
    /// ```no_run
    /// # async fn example(service: tenure_client::naming::Endpoints) -> tenure_client::Result<()> {
    /// use tenure_client::naming::{Endpoint, Update};
    ///
    /// let instances = ["a", "b", "c"].map(|name| {
    ///     Update::add(format!("services/search/{name}"), Endpoint::new(format!("{name}.example:80")))
    /// });
    /// service.update(instances).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if a key does not begin with the target and a slash, and whatever the server says to the transaction. Then
    /// nothing is changed, unless the connection was lost.
    pub async fn update(&self, updates: impl IntoIterator<Item = Update>) -> Result<()> {
        let ops = updates.into_iter().map(|update| {
            self.check(update.key())?;
            update.op()
        });
        let ops = ops.collect::<Result<Vec<Op>>>()?;
        self.client.txn().and_then(ops).commit().await.map(drop)
    }

    /// Adds an endpoint, or changes it: `add_endpoint("service/a", endpoint).lease(id).await?`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::naming::{Endpoint, Endpoints};
    ///
    /// let lease = client.lease().grant(Duration::from_secs(10)).await?;
    /// let keeper = client.lease().keep_alive(lease.id).await?;
    /// let service = Endpoints::new(&client, "services/search")?;
    /// service.add_endpoint("services/search/me", Endpoint::new("10.0.0.1:80")).lease(lease.id).await?;
    /// // It is listed as long as this program keeps its lease.
    /// # drop(keeper);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Endpoints::update`].
    pub fn add_endpoint(&self, key: impl IntoBytes, endpoint: Endpoint) -> AddEndpoint<'_> {
        AddEndpoint { endpoints: self, key: key.into_bytes(), endpoint, lease: LeaseId(0) }
    }

    /// Deletes an endpoint. That it is not there is no error.
    ///
    /// ```no_run
    /// # async fn example(service: tenure_client::naming::Endpoints) -> tenure_client::Result<()> {
    /// service.delete_endpoint("services/search/a").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Endpoints::update`].
    pub async fn delete_endpoint(&self, key: impl IntoBytes) -> Result<()> {
        self.update([Update::delete(key)]).await
    }

    /// The endpoints, by key, as one member has them. Keys with other content are passed over.
    ///
    /// ```no_run
    /// # async fn example(service: tenure_client::naming::Endpoints) -> tenure_client::Result<()> {
    /// for endpoint in service.list().await?.values() {
    ///     println!("{} {}", endpoint.addr, endpoint.metadata);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn list(&self) -> Result<BTreeMap<Bytes, Endpoint>> {
        let pairs = self.read().await?.kvs;
        Ok(pairs
            .into_iter()
            .filter_map(|pair| Some((pair.key.clone(), Endpoint::decode(&pair.key, &pair.value)?)))
            .collect())
    }

    /// Tells the endpoints that there are, and from then on every change. Go's `NewWatchChannel`.
    ///
    /// ```no_run
    /// # async fn example(service: tenure_client::naming::Endpoints) -> tenure_client::Result<()> {
    /// let mut changes = service.watch().await?;
    /// while let Some(updates) = changes.next().await {
    ///     for update in updates? {
    ///         println!("{update:?}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`] and [`Client::watch`].
    pub async fn watch(&self) -> Result<EndpointWatch> {
        EndpointWatch::open(self.clone()).await
    }

    /// A service has to be found even where no quorum is left: one member's word is enough.
    async fn read(&self) -> Result<crate::GetResponse> {
        Call::new(&self.client, Get::new(KeyRange::prefix(&self.prefix)).serializable()).await
    }

    fn check(&self, key: &[u8]) -> Result<()> {
        if key.starts_with(&self.prefix) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "endpoints: endpoint key should be prefixed with '{}' got: '{}'",
            String::from_utf8_lossy(&self.prefix),
            String::from_utf8_lossy(key)
        )))
    }
}

/// An endpoint on its way, from [`Endpoints::add_endpoint`].
///
/// ```no_run
/// # async fn example(service: tenure_client::naming::Endpoints) -> tenure_client::Result<()> {
/// use tenure_client::naming::Endpoint;
///
/// // One that stays until it is deleted.
/// service.add_endpoint("services/search/a", Endpoint::new("10.0.0.1:80")).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct AddEndpoint<'a> {
    endpoints: &'a Endpoints,
    key: Bytes,
    endpoint: Endpoint,
    lease: LeaseId,
}

impl AddEndpoint<'_> {
    /// The endpoint goes away with this lease.
    ///
    /// ```no_run
    /// # use tenure_client::{Result, concurrency::Session, naming::Endpoints};
    /// # async fn example(service: Endpoints, session: Session) -> Result<()> {
    /// use tenure_client::naming::Endpoint;
    ///
    /// service.add_endpoint("services/search/me", Endpoint::new("10.0.0.1:80")).lease(session.lease()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lease(mut self, lease: LeaseId) -> Self {
        self.lease = lease;
        self
    }
}

impl<'a> IntoFuture for AddEndpoint<'a> {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'a, Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.endpoints.update([Update::Add {
            key: self.key,
            endpoint: self.endpoint,
            lease: self.lease,
        }]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_value_is_go_s() {
        let value = |endpoint: Endpoint| String::from_utf8(endpoint.encode().unwrap().to_vec()).unwrap();
        assert_eq!(value(Endpoint::new("10.0.0.1:80")), r#"{"Op":0,"Addr":"10.0.0.1:80","Metadata":null}"#);
        assert_eq!(
            value(Endpoint::new("a&b").metadata(json!({"weight": 1.0, "tags": ["x"]}))),
            r#"{"Op":0,"Addr":"a\u0026b","Metadata":{"tags":["x"],"weight":1}}"#
        );
    }

    #[test]
    fn what_is_no_endpoint_is_passed_over() {
        let full = br#"{"Op":0,"Addr":"a","Metadata":{"x":1},"More":2}"#;
        assert_eq!(Endpoint::decode(b"k", full), Some(Endpoint::new("a").metadata(json!({"x": 1}))));
        assert_eq!(Endpoint::decode(b"k", br#"{"Addr":"a"}"#), Some(Endpoint::new("a")));
        assert_eq!(Endpoint::decode(b"k", b"10.0.0.1"), None);
    }
}
