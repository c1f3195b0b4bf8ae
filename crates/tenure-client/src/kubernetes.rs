//! The calls that Kubernetes makes: one request each, optimistic by the revision of the last change.
//!
//! They work over a [`Client`], and over every layer that is a [`Kv`].

use crate::{
    Client, Compare, Error, IntoBytes, KeyRange, KeyValue, LeaseId, Result, Revision, TxnResponse,
    kv::{Call, Delete, Get, Kv, Op, OpResponse, Put, Txn, ZERO},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::future::IntoFuture;

/// Reads and writes in the manner of Kubernetes' storage. As Go's `clientv3/kubernetes`.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let store = client.kubernetes();
/// let made = store.optimistic_put("/registry/pods/a", "{}", 0).await?;
/// assert!(made.succeeded);
/// let late = store.optimistic_put("/registry/pods/a", "{}", 0).read_on_failure().await?;
/// assert!(!late.succeeded);
/// assert_eq!(late.kv.unwrap().mod_revision, made.revision);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Kubernetes<K> {
    kv: K,
}

/// One key was read.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.kubernetes().get("/registry/pods/a").await?;
/// match answer.kv {
///     Some(pair) => println!("resource version {}", pair.mod_revision),
///     None => println!("none at revision {}", answer.revision),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetResponse {
    /// The pair, if the key exists.
    pub kv: Option<KeyValue>,
    /// The revision of the store.
    pub revision: Revision,
}

/// A part of a prefix was read.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let page = client.kubernetes().list("/registry/pods/").limit(500).await?;
/// println!("{} of {} pods at revision {}", page.kvs.len(), page.count, page.revision);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListResponse {
    /// The pairs, by key.
    pub kvs: Vec<KeyValue>,
    /// How many there are from the start of the list on, whatever the limit.
    pub count: u64,
    /// The revision that was read. To read on, ask for the same one: [`List::revision`].
    pub revision: Revision,
}

impl ListResponse {
    /// Where the list goes on, for [`List::continue_from`]; nothing if this was the end.
    ///
    /// ```
    /// use tenure_client::{KeyValue, kubernetes::ListResponse};
    ///
    /// let kvs = vec![KeyValue { key: "pods/a".into(), ..KeyValue::default() }];
    /// let page = ListResponse { kvs, count: 2, revision: 7 };
    /// // The first key after the last one.
    /// assert_eq!(page.continue_from().unwrap(), "pods/a\0");
    /// assert_eq!(ListResponse { count: 1, ..page }.continue_from(), None);
    /// ```
    #[must_use]
    pub fn continue_from(&self) -> Option<Bytes> {
        let last = self.kvs.last().filter(|_| self.count > self.kvs.len() as u64)?;
        Some([&last.key[..], &ZERO[..]].concat().into())
    }
}

/// A write that depends on a revision was carried out, or not.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.kubernetes().optimistic_put("/registry/pods/a", "{}", 7).read_on_failure().await?;
/// match (answer.succeeded, answer.kv) {
///     (true, _) => println!("written at revision {}", answer.revision),
///     (false, Some(pair)) => println!("changed by others at revision {}", pair.mod_revision),
///     (false, None) => println!("deleted by others"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimisticResponse {
    /// The key was as expected, and the write was carried out.
    pub succeeded: bool,
    /// The pair that stood in the way, if it exists and was asked for.
    pub kv: Option<KeyValue>,
    /// The revision of the store: if the write was carried out, the one of this change.
    pub revision: Revision,
}

impl Client {
    /// The calls that Kubernetes makes.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let pods = client.kubernetes().count("/registry/pods/").await?;
    /// println!("{pods} pods");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn kubernetes(&self) -> Kubernetes<Client> {
        Kubernetes::new(self.clone())
    }
}

impl<K: Kv> Kubernetes<K> {
    /// The calls over this client or layer.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{kubernetes::Kubernetes, ordering::{OrderedKv, next_endpoint}};
    ///
    /// // Over a layer: reads that never go back in time.
    /// let store = Kubernetes::new(OrderedKv::new(client.clone(), next_endpoint(&client)));
    /// println!("{:?}", store.get("/registry/pods/a").await?.kv);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(kv: K) -> Self {
        Kubernetes { kv }
    }

    /// Reads one key: `store.get("/registry/pods/a").revision(7).await?`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let now = client.kubernetes().get("/registry/pods/a").await?;
    /// let before = client.kubernetes().get("/registry/pods/a").revision(now.revision - 1).await?;
    /// println!("{:?}, before {:?}", now.kv, before.kv);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Among others [`Compacted`](crate::EtcdError::Compacted) and [`FutureRev`](crate::EtcdError::FutureRev).
    pub fn get(&self, key: impl IntoBytes) -> GetOne<'_, K> {
        GetOne { kv: &self.kv, get: Get::new(key).limit(1) }
    }

    /// Reads all keys that begin with `prefix`, in order, or a part of them:
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let store = client.kubernetes();
    /// let mut page = store.list("/registry/pods/").limit(500).await?;
    /// while let Some(next) = page.continue_from() {
    ///     page = store.list("/registry/pods/").limit(500).revision(page.revision).continue_from(next).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Among others [`Compacted`](crate::EtcdError::Compacted) and [`FutureRev`](crate::EtcdError::FutureRev), and
    /// [`Invalid`](crate::Error::Invalid) if it is to go on from a key outside the prefix.
    pub fn list(&self, prefix: impl IntoBytes) -> List<'_, K> {
        List { kv: &self.kv, get: Get::new(KeyRange::prefix(prefix)), from: None, revision_pinned: None }
    }

    /// How many keys begin with `prefix`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// println!("{} nodes", client.kubernetes().count("/registry/minions/").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn count(&self, prefix: impl IntoBytes) -> Result<u64> {
        Ok(Call::new(&self.kv, Get::new(KeyRange::prefix(prefix)).count_only()).await?.count)
    }

    /// Writes a key if its last change is of `expected_revision`; 0 if it must not exist.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let store = client.kubernetes();
    /// // Made only if it is not there; replaced only if it is as it was read.
    /// let made = store.optimistic_put("/registry/pods/a", "v1", 0).await?;
    /// let replaced = store.optimistic_put("/registry/pods/a", "v2", made.revision).await?;
    /// println!("{}", if replaced.succeeded { "replaced" } else { "somebody was faster" });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::put`]. That the key is not as expected is no error.
    pub fn optimistic_put(
        &self,
        key: impl IntoBytes,
        value: impl IntoBytes,
        expected_revision: Revision,
    ) -> OptimisticPut<'_, K> {
        let put = Put::new(key, value);
        OptimisticPut { kv: &self.kv, put, expected_revision, is_read_on_failure: false }
    }

    /// Deletes a key if its last change is of `expected_revision`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let store = client.kubernetes();
    /// if let Some(pod) = store.get("/registry/pods/a").await?.kv {
    ///     let deleted = store.optimistic_delete("/registry/pods/a", pod.mod_revision).await?;
    ///     println!("{}", if deleted.succeeded { "deleted" } else { "it has changed meanwhile" });
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::delete`]. That the key is not as expected is no error.
    pub fn optimistic_delete(
        &self,
        key: impl IntoBytes,
        expected_revision: Revision,
    ) -> OptimisticDelete<'_, K> {
        let delete = Delete::new(key);
        OptimisticDelete { kv: &self.kv, delete, expected_revision, is_read_on_failure: false }
    }
}

/// A read of one key on its way, from [`Kubernetes::get`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let pod = client.kubernetes().get("/registry/pods/a").await?;
/// println!("{:?}", pod.kv);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct GetOne<'a, K> {
    kv: &'a K,
    get: Get,
}

impl<K> GetOne<'_, K> {
    /// As it was at this revision; 0 for now.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::EtcdError;
    ///
    /// match client.kubernetes().get("/registry/pods/a").revision(7).await {
    ///     Err(error) if error.is(EtcdError::Compacted) => println!("that is too long ago"),
    ///     answer => println!("{:?}", answer?.kv),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn revision(mut self, revision: Revision) -> Self {
        self.get = self.get.revision(revision);
        self
    }
}

impl<'a, K: Kv> IntoFuture for GetOne<'a, K> {
    type Output = Result<GetResponse>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut response = Call::new(self.kv, self.get).await?;
            Ok(GetResponse { kv: response.kvs.pop(), revision: response.header.revision })
        })
    }
}

/// A read of a prefix on its way, from [`Kubernetes::list`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let all = client.kubernetes().list("/registry/pods/").await?;
/// for pod in all.kvs {
///     println!("{}", pod.key_text());
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct List<'a, K> {
    kv: &'a K,
    get: Get,
    from: Option<Bytes>,
    revision_pinned: Option<Revision>,
}

impl<K> List<'_, K> {
    /// As it was at this revision; 0 for now.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let store = client.kubernetes();
    /// let first = store.list("/registry/pods/").limit(500).await?;
    /// // The same revision again, whatever has happened since.
    /// let again = store.list("/registry/pods/").limit(500).revision(first.revision).await?;
    /// assert_eq!(again, first);
    /// # Ok(())
    /// # }
    /// ```
    pub fn revision(mut self, revision: Revision) -> Self {
        self.get = self.get.revision(revision);
        self.revision_pinned = (revision > 0).then_some(revision);
        self
    }

    /// At most so many keys; 0 for all.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let page = client.kubernetes().list("/registry/pods/").limit(500).await?;
    /// assert!(page.kvs.len() <= 500);
    /// # Ok(())
    /// # }
    /// ```
    pub fn limit(mut self, keys_max: u32) -> Self {
        self.get = self.get.limit(keys_max);
        self
    }

    /// Only keys from this one on: what [`ListResponse::continue_from`] said.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let store = client.kubernetes();
    /// let first = store.list("/registry/pods/").limit(500).await?;
    /// if let Some(next) = first.continue_from() {
    ///     let second = store.list("/registry/pods/").limit(500).revision(first.revision).continue_from(next).await?;
    ///     println!("{} more", second.kvs.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn continue_from(mut self, key: impl IntoBytes) -> Self {
        self.from = Some(key.into_bytes()).filter(|key| !key.is_empty());
        self
    }
}

impl<'a, K: Kv> IntoFuture for List<'a, K> {
    type Output = Result<ListResponse>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut get = self.get;
            if let Some(from) = self.from {
                if !get.range.contains(&from) {
                    return Err(Error::invalid(
                        "a list goes on from a key that has not its prefix: use continue_from()",
                    ));
                }
                get.range.key = from;
            }
            let response = Call::new(self.kv, get).await?;
            // All pages are of one revision: the next one is asked for as this one was.
            let revision = self.revision_pinned.unwrap_or(response.header.revision);
            Ok(ListResponse { kvs: response.kvs, count: response.count, revision })
        })
    }
}

/// A put on its way, from [`Kubernetes::optimistic_put`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.kubernetes().optimistic_put("/registry/events/e", "{}", 0).await?;
/// println!("{}", if answer.succeeded { "made" } else { "it is there already" });
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct OptimisticPut<'a, K> {
    kv: &'a K,
    put: Put,
    expected_revision: Revision,
    is_read_on_failure: bool,
}

impl<K> OptimisticPut<'_, K> {
    /// The key goes away with this lease.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    ///
    /// // Events go away by themselves.
    /// let lease = client.lease().grant(Duration::from_secs(3600)).await?.id;
    /// client.kubernetes().optimistic_put("/registry/events/e", "{}", 0).lease(lease).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lease(mut self, lease: LeaseId) -> Self {
        self.put = self.put.lease(lease);
        self
    }

    /// If the key is not as expected, the answer holds the pair. Go's `GetOnFailure`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let store = client.kubernetes();
    /// let mut expected = 0;
    /// loop {
    ///     let answer = store.optimistic_put("/registry/pods/a", "{}", expected).read_on_failure().await?;
    ///     if answer.succeeded {
    ///         break;
    ///     }
    ///     expected = answer.kv.map_or(0, |pair| pair.mod_revision);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_on_failure(mut self) -> Self {
        self.is_read_on_failure = true;
        self
    }
}

impl<'a, K: Kv> IntoFuture for OptimisticPut<'a, K> {
    type Output = Result<OptimisticResponse>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let key = self.put.key.clone();
        let op = self.put.into();
        Box::pin(optimistic(self.kv, key, self.expected_revision, op, self.is_read_on_failure))
    }
}

/// A delete on its way, from [`Kubernetes::optimistic_delete`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.kubernetes().optimistic_delete("/registry/pods/a", 7).await?;
/// println!("{}", if answer.succeeded { "deleted" } else { "it is not that of revision 7" });
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct OptimisticDelete<'a, K> {
    kv: &'a K,
    delete: Delete,
    expected_revision: Revision,
    is_read_on_failure: bool,
}

impl<K> OptimisticDelete<'_, K> {
    /// If the key is not as expected, the answer holds the pair. Go's `GetOnFailure`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let store = client.kubernetes();
    /// let answer = store.optimistic_delete("/registry/pods/a", 7).read_on_failure().await?;
    /// if !answer.succeeded {
    ///     println!("left alone: {:?}", answer.kv);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_on_failure(mut self) -> Self {
        self.is_read_on_failure = true;
        self
    }
}

impl<'a, K: Kv> IntoFuture for OptimisticDelete<'a, K> {
    type Output = Result<OptimisticResponse>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let key = self.delete.range.key.clone();
        let op = self.delete.into();
        Box::pin(optimistic(self.kv, key, self.expected_revision, op, self.is_read_on_failure))
    }
}

async fn optimistic<K: Kv>(
    kv: &K,
    key: Bytes,
    expected_revision: Revision,
    op: Op,
    is_read_on_failure: bool,
) -> Result<OptimisticResponse> {
    let mut txn = Txn::new().when([Compare::mod_revision(&key).equal(expected_revision)]).and_then([op]);
    if is_read_on_failure {
        txn = txn.or_else([Get::new(key)]);
    }
    let TxnResponse { header, succeeded, responses } = Call::new(kv, txn).await?;
    let read = responses.into_iter().next().filter(|_| !succeeded && is_read_on_failure);
    let kv = match read {
        Some(OpResponse::Get(mut read)) => read.kvs.pop(),
        _ if !succeeded && is_read_on_failure => {
            return Err(Error::Protocol("a transaction without the read that it asked for"));
        }
        _ => None,
    };
    Ok(OptimisticResponse { succeeded, kv, revision: header.revision })
}
