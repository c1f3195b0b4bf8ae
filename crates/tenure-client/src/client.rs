//! The client: a handle that is cheap to clone.

use crate::{
    ClientConfig, Error, IntoBytes, Result, Revision,
    cluster::keep_synced,
    kv::{
        Call, Compact, Delete, Get, GetStream, KeyRange, Kv, Op, OpResponse, Operation, Put, TxnCall,
        TxnResponse,
    },
    lease::Renewals,
    namespace::Namespace,
    rpc::{CallOptions, Rpc, method},
    watch::Watches,
};
use std::sync::Arc;
use tenure_api::etcdserverpb as pb;
use tokio_util::task::AbortOnDropHandle;

/// A connection to a cluster: all services, over all endpoints. Cheap to clone; clones share the connections.
///
/// Connections are looked after as long as a clone lives: those that break are made anew, requests go to those that are open
/// in turn. A call is given up by dropping its future.
///
/// ```no_run
/// # async fn example() -> tenure_client::Result<()> {
/// use tenure_client::Client;
///
/// let client = Client::connect(["127.0.0.1:2379"]).await?;
/// client.put("greeting", "hello").await?;
/// let answer = client.get("greeting").await?;
/// assert_eq!(answer.kvs[0].value, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    namespace: Option<Arc<Namespace>>,
    options: CallOptions,
}

/// What all clones of a client share.
pub(crate) struct Shared {
    pub(crate) rpc: Arc<Rpc>,
    pub(crate) watches: Watches,
    pub(crate) renewals: Renewals,
    /// Keeps the endpoints those of the members, if the configuration says so.
    _syncing: Option<AbortOnDropHandle<()>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects with a [`ClientConfig`], or with the endpoints alone and the default of everything else.
    ///
    /// Comes back when one endpoint has answered, and, with a user and a password, when the token is there.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use tenure_client::{Client, ClientConfig};
    ///
    /// # async fn example() -> tenure_client::Result<()> {
    /// // With the defaults:
    /// let client = Client::connect("127.0.0.1:2379").await?;
    /// // Several endpoints in one text, as on a command line:
    /// let client = Client::connect("10.0.0.1:2379,10.0.0.2:2379").await?;
    /// // With options:
    /// let config = ClientConfig::new(["10.0.0.1:2379", "10.0.0.2:2379"]).dial_timeout(Duration::from_secs(2));
    /// let client = Client::connect(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Invalid`](crate::Error::Invalid) if the configuration cannot be used, [`Unreachable`](crate::Error::Unreachable) if no
    /// endpoint answers within the dial timeout, [`OldCluster`](crate::Error::OldCluster) if such are rejected, and whatever the
    /// server says to user and password.
    pub async fn connect(config: impl Into<ClientConfig>) -> Result<Self> {
        let config = config.into();
        let client = Client::start(&config)?;
        client.rpc().pool().connection().await?;
        client.log_in().await?;
        if config.is_old_cluster_rejected {
            client.maintenance().reject_old_servers().await?;
        }
        Ok(client)
    }

    /// A client that begins to connect and does not wait: whether a server answers, its first call finds out, and waits as calls do
    /// ([`ClientConfig::connection_wait`]). A user and a password are sent when a server asks for them, or by [`Client::log_in`].
    ///
    /// Go's `New`, which has not waited for a connection since 3.7. Must be called in a runtime.
    ///
    /// ```no_run
    /// # async fn example() -> tenure_client::Result<()> {
    /// use tenure_client::Client;
    ///
    /// // A program that starts before its store does.
    /// let client = Client::connect_lazy("127.0.0.1:2379")?;
    /// client.put("started", "yes").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Invalid`](crate::Error::Invalid) or [`Io`](crate::Error::Io) if the configuration cannot be used; it cannot either if it
    /// rejects old clusters, which only a server can tell.
    pub fn connect_lazy(config: impl Into<ClientConfig>) -> Result<Self> {
        let config = config.into();
        if config.is_old_cluster_rejected {
            return Err(Error::invalid(
                "old clusters are found out by asking: use Client::connect to reject them",
            ));
        }
        Client::start(&config)
    }

    fn start(config: &ClientConfig) -> Result<Self> {
        let rpc = Arc::new(Rpc::new(config)?);
        let (watches, renewals) = (Watches::new(rpc.clone()), Renewals::new(rpc.clone()));
        let syncing = config.auto_sync_interval.map(|interval| keep_synced(rpc.clone(), interval));
        let shared = Arc::new(Shared { rpc, watches, renewals, _syncing: syncing });
        Ok(Client { shared, namespace: None, options: CallOptions::default() })
    }

    /// Gets a token for the user and password of the configuration, if it has them, and so finds out whether they are right.
    /// [`Client::connect`] has done so; afterwards, tokens are renewed when it is needed.
    ///
    /// ```no_run
    /// # async fn example() -> tenure_client::Result<()> {
    /// use tenure_client::{Client, ClientConfig};
    ///
    /// let client = Client::connect_lazy(ClientConfig::new(["127.0.0.1:2379"]).user("root", "secret"))?;
    /// client.log_in().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AuthFailed`](crate::EtcdError::AuthFailed) if user or password is wrong;
    /// [`Unreachable`](crate::Error::Unreachable) if nobody answers within the dial timeout. No error if servers ask for no users.
    pub async fn log_in(&self) -> Result<()> {
        self.rpc().log_in().await
    }

    /// Closes the connections. Calls under way on this client and its clones fail, later ones with [`Error::Closed`](crate::Error::Closed).
    /// Dropping the last clone does the same.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::Error;
    ///
    /// let clone = client.clone();
    /// client.close();
    /// assert!(matches!(clone.get("a").await, Err(Error::Closed)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) {
        self.rpc().pool().close();
    }

    /// The endpoints in use, as they were given.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// for endpoint in client.endpoints() {
    ///     println!("{endpoint}: {}", client.maintenance().status(&endpoint).await?.version);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.rpc().pool().endpoints()
    }

    /// Uses these endpoints from now on. Connections to those that stay are kept, also if they are written in another way, such as with
    /// `http://` before them. On others, requests under way have ten seconds to be answered, and streams end: watches and
    /// lease renewals go on elsewhere.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// client.set_endpoints(["10.0.0.1:2379", "10.0.0.4:2379"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if there is none, or one is malformed; then nothing is changed.
    pub fn set_endpoints<E: Into<String>>(&self, endpoints: impl IntoIterator<Item = E>) -> Result<()> {
        let names: Vec<String> = endpoints.into_iter().map(Into::into).collect();
        self.rpc().set_endpoints(&names)
    }

    /// A handle to the same connections that puts `prefix` before every key, and takes it from every key that comes back: in
    /// requests, leases' keys, watches, and everything that is built on them, such as locks. Namespaces can be nested.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let app = client.with_namespace("app/");
    /// app.put("mode", "on").await?;
    /// assert_eq!(client.get("app/mode").await?.count, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_namespace(&self, prefix: impl IntoBytes) -> Self {
        let prefix = prefix.into_bytes();
        let prefix = match &self.namespace {
            Some(namespace) => namespace.prefix_key(&prefix),
            None => prefix,
        };
        let namespace = (!prefix.is_empty()).then(|| Arc::new(Namespace::new(prefix)));
        Client { namespace, ..self.clone() }
    }

    /// A handle to the same connections whose requests fail with [`NoLeader`](crate::EtcdError::NoLeader) at once when the member that
    /// gets them has no leader, instead of waiting for one. Another endpoint is asked first, if there is one. Go's `WithRequireLeader`;
    /// watches have an option of their own, which is on by default.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// client.with_require_leader().put("k", "v").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_require_leader(&self) -> Self {
        Client { options: CallOptions { requires_leader: true }, ..self.clone() }
    }

    /// A call with one request and one answer, with the options of this handle.
    pub(crate) async fn unary<Q, R>(&self, method: &'static method::Method, request: &Q) -> Result<R>
    where
        Q: prost::Message,
        R: prost::Message + Default + 'static,
    {
        self.rpc().unary_with(method, request, self.options).await
    }

    pub(crate) fn rpc(&self) -> &Arc<Rpc> {
        &self.shared.rpc
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The namespace, if there is one.
    pub(crate) fn namespace_of_keys(&self) -> Option<&Arc<Namespace>> {
        self.namespace.as_ref()
    }
}

/// Keys.
impl Client {
    /// Writes `value` to `key`: `client.put("k", "v").await?`. Options come in between:
    /// `client.put("k", "v").lease(id).prev_kv().await?`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// client.put("greeting", "hello").await?;
    /// let answer = client.put("greeting", "hello again").prev_kv().await?;
    /// assert_eq!(answer.prev_kv.unwrap().value, "hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Among others [`LeaseNotFound`](crate::EtcdError::LeaseNotFound), [`NoSpace`](crate::EtcdError::NoSpace),
    /// [`RequestTooLarge`](crate::EtcdError::RequestTooLarge).
    pub fn put(&self, key: impl IntoBytes, value: impl IntoBytes) -> Call<'_, Client, Put> {
        Kv::put(self, key, value)
    }

    /// Reads a key, or a range: `client.get("app/").prefix().limit(100).await?`, `client.get("a".."c").await?`. That a key does not
    /// exist is no error: the answer has no pairs.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// if let Some(pair) = client.get("greeting").await?.first() {
    ///     println!("{} at revision {}", pair.value_text(), pair.mod_revision);
    /// }
    /// let page = client.get("app/").prefix().limit(100).await?;
    /// println!("{} of {} keys", page.kvs.len(), page.count);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Among others [`Compacted`](crate::EtcdError::Compacted) and [`FutureRev`](crate::EtcdError::FutureRev).
    pub fn get(&self, keys: impl Into<KeyRange>) -> Call<'_, Client, Get> {
        Kv::get(self, keys)
    }

    /// Reads a large range in parts, all of one revision: each item is an answer with some of the pairs. With etcd 3.7 and Tenure the
    /// server sends one part after the other; older servers are asked for pages of 1000 keys, unless the range is to be sorted.
    ///
    /// Only the last part has `header`, `count` and `more`, as [`Client::get`] would answer them; in all others they are 0 and false.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::Op;
    ///
    /// let mut revision = 0;
    /// let mut parts = client.get_stream(Op::get("logs/").prefix());
    /// while let Some(part) = parts.next().await {
    ///     let part = part?;
    ///     revision = part.header.revision;
    ///     for pair in part.kvs {
    ///         println!("{}", pair.key_text());
    ///     }
    /// }
    /// // Every change since.
    /// let changes = client.watch("logs/").prefix().start_revision(revision + 1).await?;
    /// # drop(changes);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`]; the stream ends with the error. What was told before stays true.
    pub fn get_stream(&self, get: Get) -> GetStream {
        GetStream::new(self.clone(), get)
    }

    /// Deletes a key, or a range: `client.delete("app/").prefix().await?`. That there is nothing to delete is no error.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// assert_eq!(client.delete("no such key").await?.deleted, 0);
    /// let gone = client.delete("app/").prefix().await?.deleted;
    /// println!("{gone} keys deleted");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Among others [`PermissionDenied`](crate::EtcdError::PermissionDenied) if the user may not write the whole range; and
    /// [`Invalid`](crate::Error::Invalid) without a key.
    pub fn delete(&self, keys: impl Into<KeyRange>) -> Call<'_, Client, Delete> {
        Kv::delete(self, keys)
    }

    /// A transaction:
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Compare, Op};
    ///
    /// let answer = client
    ///     .txn()
    ///     .when([Compare::missing("leader")])
    ///     .and_then([Op::put("leader", "me")])
    ///     .or_else([Op::get("leader")])
    ///     .commit()
    ///     .await?;
    /// println!("{}", if answer.succeeded { "I lead" } else { "somebody else leads" });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`TxnCall::commit`].
    pub fn txn(&self) -> TxnCall<'_, Client> {
        Kv::txn(self)
    }

    /// Carries out an operation that was made before: its answer is what its kind answers. Go's `Do`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::Op;
    ///
    /// let page = Op::get("app/").prefix().limit(10);
    /// println!("{} keys", client.execute(page).await?.count);
    ///
    /// // What to do may be decided elsewhere, as data.
    /// let steps: [Op; 2] = [Op::put("a", "1").into(), Op::get("a").into()];
    /// for step in steps {
    ///     println!("{:?}", client.execute(step).await?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As those of the operation.
    pub async fn execute<O: Operation>(&self, op: O) -> Result<O::Response> {
        Kv::execute(self, op).await
    }

    /// Gives up the history before `revision`, which must not be in the future: `client.compact(100).physical().await?`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::EtcdError;
    ///
    /// match client.compact(100).await {
    ///     Err(error) if error.is(EtcdError::Compacted) => println!("somebody did so before"),
    ///     answer => println!("done at revision {}", answer?.header.revision),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Among others [`Compacted`](crate::EtcdError::Compacted) if it is given up already, and
    /// [`FutureRev`](crate::EtcdError::FutureRev).
    pub fn compact(&self, revision: Revision) -> Compact<'_> {
        Compact::new(self, revision)
    }
}

impl Kv for Client {
    async fn execute_op(&self, op: Op) -> Result<OpResponse> {
        let Some(namespace) = &self.namespace else { return carry_out(self, op).await };
        let mut response = carry_out(self, namespace.prefix_op(op)).await?;
        namespace.strip_response(&mut response);
        Ok(response)
    }
}

async fn carry_out(client: &Client, op: Op) -> Result<OpResponse> {
    let is_read_only = op.is_read_only();
    Ok(match op {
        Op::Get(get) => {
            let response: pb::RangeResponse = client.unary(&method::RANGE, &get.request()?).await?;
            OpResponse::Get(response.into())
        }
        Op::Put(put) => {
            let response: pb::PutResponse = client.unary(&method::PUT, &put.request()?).await?;
            OpResponse::Put(response.into())
        }
        Op::Delete(delete) => {
            let response: pb::DeleteRangeResponse =
                client.unary(&method::DELETE_RANGE, &delete.request()?).await?;
            OpResponse::Delete(response.into())
        }
        Op::Txn(txn) => {
            let method = if is_read_only { &method::READ_ONLY_TXN } else { &method::TXN };
            let response: pb::TxnResponse = client.unary(method, &txn.request()?).await?;
            OpResponse::Txn(TxnResponse::try_from(response)?)
        }
    })
}

impl<E: Into<String>, const N: usize> From<[E; N]> for ClientConfig {
    fn from(endpoints: [E; N]) -> Self {
        ClientConfig::new(endpoints)
    }
}

impl<E: Into<String>> From<Vec<E>> for ClientConfig {
    fn from(endpoints: Vec<E>) -> Self {
        ClientConfig::new(endpoints)
    }
}

impl<E: Into<String> + Clone> From<&[E]> for ClientConfig {
    fn from(endpoints: &[E]) -> Self {
        ClientConfig::new(endpoints.iter().cloned())
    }
}

impl<E: Into<String> + Clone> From<&Vec<E>> for ClientConfig {
    fn from(endpoints: &Vec<E>) -> Self {
        ClientConfig::new(endpoints.iter().cloned())
    }
}

/// One endpoint, or several with commas between them, as `etcdctl --endpoints` takes them.
impl From<&str> for ClientConfig {
    fn from(endpoints: &str) -> Self {
        ClientConfig::new(endpoints.split(',').map(str::trim))
    }
}

/// As of a `&str`.
impl From<String> for ClientConfig {
    fn from(endpoints: String) -> Self {
        endpoints.as_str().into()
    }
}

/// As of a `&str`.
impl From<&String> for ClientConfig {
    fn from(endpoints: &String) -> Self {
        endpoints.as_str().into()
    }
}

/// So that several clients can be made of one configuration.
impl From<&ClientConfig> for ClientConfig {
    fn from(config: &ClientConfig) -> Self {
        config.clone()
    }
}
