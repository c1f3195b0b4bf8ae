//! Operations on their way.

use super::{Compare, Kv, Op, Operation, Txn, TxnResponse};
use crate::{Client, Error, ResponseHeader, Result, Revision, rpc::method, types::header};
use futures::future::BoxFuture;
use std::future::IntoFuture;
use tenure_api::etcdserverpb as pb;

/// An operation and what carries it out. `.await` does so; nothing happens before.
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
        Box::pin(async move {
            let response = self.kv.execute(self.op.into()).await?;
            O::response(response).ok_or(Error::Protocol("an answer of another kind than its request"))
        })
    }
}

/// A transaction and what carries it out. [`TxnCall::commit`] does so; nothing happens before.
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
    pub fn when(mut self, conditions: impl IntoIterator<Item = Compare>) -> Self {
        self.txn = self.txn.when(conditions);
        self
    }

    /// Adds operations for the case that all conditions hold. Go's `Then`.
    pub fn and_then<O: Into<Op>>(mut self, ops: impl IntoIterator<Item = O>) -> Self {
        self.txn = self.txn.and_then(ops);
        self
    }

    /// Adds operations for the case that some condition does not hold. Go's `Else`.
    pub fn or_else<O: Into<Op>>(mut self, ops: impl IntoIterator<Item = O>) -> Self {
        self.txn = self.txn.or_else(ops);
        self
    }

    /// Carries it out.
    ///
    /// # Errors
    /// The server refuses the transaction as a whole, or cannot be reached. That a condition does not hold is no error: see
    /// [`TxnResponse::succeeded`].
    pub async fn commit(self) -> Result<TxnResponse> {
        Call::new(self.kv, self.txn).await
    }
}

/// A compaction on its way, from [`Client::compact`].
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompactResponse {
    /// Server and store.
    pub header: ResponseHeader,
}
