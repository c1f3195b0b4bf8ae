//! Transactions.

use super::{Compare, Op};
use crate::Result;
use tenure_api::etcdserverpb as pb;

/// A transaction: if all conditions hold, one list of operations is carried out, else the other; at once, and at one revision.
///
/// [`Client::txn`](crate::Client::txn) has the same methods and `commit`. As a value it can stand inside another transaction.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Compare, Op, Txn};
///
/// let transfer = Txn::new()
///     .when([Compare::value("a").equal("10"), Compare::value("b").equal("0")])
///     .and_then([Op::put("a", "0"), Op::put("b", "10")]);
/// let answer = client.execute(transfer).await?;
/// println!("{}", answer.succeeded);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Txn {
    pub(crate) conditions: Vec<Compare>,
    pub(crate) success: Vec<Op>,
    pub(crate) failure: Vec<Op>,
}

impl Txn {
    /// A transaction without conditions, which hold, and without operations.
    ///
    /// ```
    /// use tenure_client::{Op, Txn};
    ///
    /// assert_eq!(Txn::new(), Op::txn());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Txn::default()
    }

    /// Adds conditions. Go's `If`.
    ///
    /// ```
    /// use tenure_client::{Compare, Txn};
    ///
    /// // Conditions add up: all of them must hold.
    /// let both = Txn::new().when([Compare::exists("a")]).when([Compare::missing("b")]);
    /// assert_eq!(both, Txn::new().when([Compare::exists("a"), Compare::missing("b")]));
    /// ```
    #[must_use]
    pub fn when(mut self, conditions: impl IntoIterator<Item = Compare>) -> Self {
        self.conditions.extend(conditions);
        self
    }

    /// Adds operations for the case that all conditions hold. Go's `Then`.
    ///
    /// ```
    /// use tenure_client::{Op, Txn};
    ///
    /// // Operations of one kind as they are; of several kinds one after the other, or as `Op`s.
    /// let two = Txn::new().and_then([Op::put("a", "1")]).and_then([Op::delete("b")]);
    /// let mixed: [Op; 2] = [Op::put("a", "1").into(), Op::delete("b").into()];
    /// assert_eq!(two, Txn::new().and_then(mixed));
    /// ```
    #[must_use]
    pub fn and_then<O: Into<Op>>(mut self, ops: impl IntoIterator<Item = O>) -> Self {
        self.success.extend(ops.into_iter().map(Into::into));
        self
    }

    /// Adds operations for the case that some condition does not hold. Go's `Else`.
    ///
    /// ```
    /// use tenure_client::{Compare, Op, Txn};
    ///
    /// let make_or_read =
    ///     Txn::new().when([Compare::missing("a")]).and_then([Op::put("a", "1")]).or_else([Op::get("a")]);
    /// # assert_ne!(make_or_read, Txn::new());
    /// ```
    #[must_use]
    pub fn or_else<O: Into<Op>>(mut self, ops: impl IntoIterator<Item = O>) -> Self {
        self.failure.extend(ops.into_iter().map(Into::into));
        self
    }

    /// The conditions. For layers that have to know, as Go's `Op.Txn` tells them.
    ///
    /// ```
    /// use tenure_client::{Compare, KeyRange, Op};
    ///
    /// let txn = Op::txn().when([Compare::exists("a")]);
    /// assert_eq!(*txn.conditions()[0].keys(), KeyRange::key("a"));
    /// ```
    #[must_use]
    pub fn conditions(&self) -> &[Compare] {
        &self.conditions
    }

    /// What is carried out if all conditions hold.
    ///
    /// ```
    /// use tenure_client::Op;
    ///
    /// let txn = Op::txn().and_then([Op::put("a", "1")]);
    /// assert_eq!(txn.then_ops(), [Op::put("a", "1").into()]);
    /// ```
    #[must_use]
    pub fn then_ops(&self) -> &[Op] {
        &self.success
    }

    /// What is carried out if some condition does not hold.
    ///
    /// ```
    /// use tenure_client::Op;
    ///
    /// let txn = Op::txn().or_else([Op::get("a")]);
    /// assert_eq!(txn.else_ops(), [Op::get("a").into()]);
    /// ```
    #[must_use]
    pub fn else_ops(&self) -> &[Op] {
        &self.failure
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
