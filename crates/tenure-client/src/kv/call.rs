//! Operations on their way.

use super::{Compare, Kv, Op, Operation, Txn, TxnResponse};
use crate::{Client, ResponseHeader, Result, Revision, rpc::method, types::header};
use futures::future::BoxFuture;
use std::future::IntoFuture;
use tenure_api::etcdserverpb as pb;

/// An operation and what carries it out. `.await` does so; nothing happens before.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let call = client.get("app/").prefix().limit(10);
/// // Nothing has been sent yet.
/// let answer = call.await?;
/// println!("{} keys", answer.count);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct Call<'a, K: ?Sized, O> {
    kv: &'a K,
    pub(super) op: O,
}

impl<'a, K: ?Sized, O> Call<'a, K, O> {
    pub(crate) fn new(kv: &'a K, op: O) -> Self {
        Call { kv, op }
    }
}

impl<'a, K: Kv, O: Operation + 'a> IntoFuture for Call<'a, K, O> {
    type Output = Result<O::Response>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.kv.execute(self.op))
    }
}

/// A transaction and what carries it out. [`TxnCall::commit`] does so; nothing happens before.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Compare, Op};
///
/// let answer = client
///     .txn()
///     .when([Compare::value("mode").equal("off")])
///     .and_then([Op::put("mode", "on")])
///     .commit()
///     .await?;
/// println!("{}", if answer.succeeded { "switched on" } else { "it was not off" });
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is committed"]
pub struct TxnCall<'a, K: ?Sized> {
    kv: &'a K,
    txn: Txn,
}

impl<'a, K: Kv> TxnCall<'a, K> {
    pub(crate) fn new(kv: &'a K) -> Self {
        TxnCall { kv, txn: Txn::new() }
    }

    /// Adds conditions. Go's `If`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Compare, Op};
    ///
    /// let seen = client.get("config").await?;
    /// let revision = seen.first().map_or(0, |pair| pair.mod_revision);
    /// // Only if nobody has written it since; 0 is that of a key that does not exist.
    /// let write = Op::put("config", "v2");
    /// client.txn().when([Compare::mod_revision("config").equal(revision)]).and_then([write]).commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn when(mut self, conditions: impl IntoIterator<Item = Compare>) -> Self {
        self.txn = self.txn.when(conditions);
        self
    }

    /// Adds operations for the case that all conditions hold. Go's `Then`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::Op;
    ///
    /// // Without conditions: both or none, at one revision.
    /// client.txn().and_then([Op::put("a", "1"), Op::put("b", "2")]).commit().await?;
    /// // Operations of several kinds come one after the other.
    /// client.txn().and_then([Op::put("a", "1")]).and_then([Op::delete("b")]).commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn and_then<O: Into<Op>>(mut self, ops: impl IntoIterator<Item = O>) -> Self {
        self.txn = self.txn.and_then(ops);
        self
    }

    /// Adds operations for the case that some condition does not hold. Go's `Else`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Compare, Op, OpResponse};
    ///
    /// let answer = client
    ///     .txn()
    ///     .when([Compare::missing("leader")])
    ///     .and_then([Op::put("leader", "me")])
    ///     .or_else([Op::get("leader")])
    ///     .commit()
    ///     .await?;
    /// if let [OpResponse::Get(leader)] = &answer.responses[..] {
    ///     println!("somebody else leads: {:?}", leader.first());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn or_else<O: Into<Op>>(mut self, ops: impl IntoIterator<Item = O>) -> Self {
        self.txn = self.txn.or_else(ops);
        self
    }

    /// Carries it out.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::Op;
    ///
    /// let answer = client.txn().and_then([Op::get("a"), Op::get("b")]).commit().await?;
    /// for response in &answer.responses {
    ///     println!("{:?}", response.as_get().and_then(|get| get.first()));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of its operations, which then all have no effect, such as [`LeaseNotFound`](crate::EtcdError::LeaseNotFound) and
    /// [`NoSpace`](crate::EtcdError::NoSpace); [`DuplicateKey`](crate::EtcdError::DuplicateKey) if one list writes a key twice,
    /// [`TooManyOps`](crate::EtcdError::TooManyOps). That a condition does not hold is no error: see [`TxnResponse::succeeded`].
    pub async fn commit(self) -> Result<TxnResponse> {
        self.kv.execute(self.txn).await
    }
}

/// A compaction on its way, from [`Client::compact`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let revision = client.get("app/").prefix().await?.header.revision;
/// client.compact(revision).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct Compact<'a> {
    client: &'a Client,
    revision: Revision,
    is_physical: bool,
}

impl<'a> Compact<'a> {
    pub(crate) fn new(client: &'a Client, revision: Revision) -> Self {
        Compact { client, revision, is_physical: false }
    }

    /// Waits until the old versions are really gone from the member's store.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // For a test of how large the store is, or before a defragmentation.
    /// let revision = client.get("a").await?.header.revision;
    /// client.compact(revision).physical().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn physical(mut self) -> Self {
        self.is_physical = true;
        self
    }
}

impl<'a> IntoFuture for Compact<'a> {
    type Output = Result<CompactResponse>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = pb::CompactionRequest { revision: self.revision, physical: self.is_physical };
            let response: pb::CompactionResponse = self.client.unary(&method::COMPACT, &request).await?;
            Ok(CompactResponse { header: header(response.header) })
        })
    }
}

/// The history before a revision is given up.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.compact(100).await?;
/// println!("compacted to 100; the store is at revision {}", answer.header.revision);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompactResponse {
    /// Server and store.
    pub header: ResponseHeader,
}
