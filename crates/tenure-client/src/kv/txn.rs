//! Transactions.

use super::{Compare, Op};
use crate::Result;
use tenure_api::etcdserverpb as pb;

/// A transaction: if all conditions hold, one list of operations is carried out, else the other; at once, and at one revision.
///
/// [`Client::txn`](crate::Client::txn) has the same methods and `commit`. As a value it can stand inside another transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Txn {
    pub(crate) conditions: Vec<Compare>,
    pub(crate) success: Vec<Op>,
    pub(crate) failure: Vec<Op>,
}

impl Txn {
    /// A transaction without conditions, which hold, and without operations.
    #[must_use]
    pub fn new() -> Self {
        Txn::default()
    }

    /// Adds conditions. Go's `If`.
    #[must_use]
    pub fn when(mut self, conditions: impl IntoIterator<Item = Compare>) -> Self {
        self.conditions.extend(conditions);
        self
    }

    /// Adds operations for the case that all conditions hold. Go's `Then`.
    #[must_use]
    pub fn and_then<O: Into<Op>>(mut self, ops: impl IntoIterator<Item = O>) -> Self {
        self.success.extend(ops.into_iter().map(Into::into));
        self
    }

    /// Adds operations for the case that some condition does not hold. Go's `Else`.
    #[must_use]
    pub fn or_else<O: Into<Op>>(mut self, ops: impl IntoIterator<Item = O>) -> Self {
        self.failure.extend(ops.into_iter().map(Into::into));
        self
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(Op::is_read_only)
    }

    pub(crate) fn request(self) -> Result<pb::TxnRequest> {
        let ops = |ops: Vec<Op>| ops.into_iter().map(Op::request_op).collect::<Result<Vec<_>>>();
        Ok(pb::TxnRequest {
            compare: self.conditions.into_iter().map(Compare::request).collect::<Result<_>>()?,
            success: ops(self.success)?,
            failure: ops(self.failure)?,
        })
    }
}
