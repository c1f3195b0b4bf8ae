//! Conditions of transactions.

use super::KeyRange;
use crate::{IntoBytes, LeaseId, Result, Revision};
use bytes::Bytes;
use std::marker::PhantomData;
use tenure_api::etcdserverpb::{
    self as pb,
    compare::{CompareResult, CompareTarget, TargetUnion},
};

/// A condition on one key, or on every key of a range.
///
/// A key that does not exist has version, revisions and lease 0; a condition on its value does not hold.
///
/// ```
/// use tenure_client::Compare;
///
/// let conditions = [
///     Compare::value("mode").equal("on"),
///     Compare::version("lock").equal(0),
///     Compare::mod_revision("jobs/").prefix().less(100),
///     Compare::missing("slot/0".."slot/5"),
/// ];
/// # assert_eq!(conditions.len(), 4);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    pub(crate) range: KeyRange,
    pub(crate) result: CompareResult,
    pub(crate) target: TargetUnion,
}

/// The left side of a condition: what is compared. One of its methods makes the condition.
///
/// ```
/// use tenure_client::{Compare, LeaseId};
///
/// let version = Compare::version("lock");
/// assert_eq!(version.equal(0), Compare::missing("lock"));
/// // What it is compared with has the type of what is compared.
/// let mine = Compare::lease("services/").prefix().equal(LeaseId(0x1234));
/// # drop(mine);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Comparison<T> {
    range: KeyRange,
    target: fn(T) -> TargetUnion,
    of: PhantomData<T>,
}

impl Compare {
    /// The value of `key`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Compare, Op};
    ///
    /// let release = Op::delete("lock");
    /// client.txn().when([Compare::value("lock").equal("me")]).and_then([release]).commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn value(keys: impl Into<KeyRange>) -> Comparison<Bytes> {
        Comparison::new(keys, TargetUnion::Value)
    }

    /// How often `key` was written since it was made; 0 if it does not exist.
    ///
    /// ```
    /// use tenure_client::Compare;
    ///
    /// let written_once = Compare::version("mode").equal(1);
    /// let never_written = Compare::version("mode").equal(0);
    /// assert_eq!(never_written, Compare::missing("mode"));
    /// # assert_ne!(written_once, never_written);
    /// ```
    pub fn version(keys: impl Into<KeyRange>) -> Comparison<i64> {
        Comparison::new(keys, TargetUnion::Version)
    }

    /// The revision at which `key` was made; 0 if it does not exist.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Compare, Op};
    ///
    /// // A lock's key is its holder's as long as it is the one that he made.
    /// let made = client.put("lock", "me").await?.header.revision;
    /// let is_mine = Compare::create_revision("lock").equal(made);
    /// client.txn().when([is_mine]).and_then([Op::put("protected", "1")]).commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_revision(keys: impl Into<KeyRange>) -> Comparison<Revision> {
        Comparison::new(keys, TargetUnion::CreateRevision)
    }

    /// The revision at which `key` was last changed; 0 if it does not exist.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Compare, Op};
    ///
    /// // Read, change, and write if nobody was faster.
    /// let read = client.get("counter").await?;
    /// let (count, revision) = match read.first() {
    ///     Some(pair) => (pair.value_text().parse().unwrap_or(0), pair.mod_revision),
    ///     None => (0, 0),
    /// };
    /// let unchanged = Compare::mod_revision("counter").equal(revision);
    /// let write = Op::put("counter", (count + 1_u64).to_string());
    /// let answer = client.txn().when([unchanged]).and_then([write]).commit().await?;
    /// println!("{}", if answer.succeeded { "counted" } else { "again" });
    /// # Ok(())
    /// # }
    /// ```
    pub fn mod_revision(keys: impl Into<KeyRange>) -> Comparison<Revision> {
        Comparison::new(keys, TargetUnion::ModRevision)
    }

    /// The lease of `key`; 0 if it has none.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::{Compare, Op};
    ///
    /// let lease = client.lease().grant(Duration::from_secs(10)).await?.id;
    /// client.put("services/me", "up").lease(lease).await?;
    /// let still_mine = Compare::lease("services/me").equal(lease);
    /// client.txn().when([still_mine]).and_then([Op::put("services/me", "busy").lease(lease)]).commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lease(keys: impl Into<KeyRange>) -> Comparison<LeaseId> {
        Comparison::new(keys, |lease| TargetUnion::Lease(lease.0))
    }

    /// `key` exists. As Go's `clientv3util.KeyExists`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Compare, Op};
    ///
    /// // Changes a key, but does not make it.
    /// client.txn().when([Compare::exists("user/7")]).and_then([Op::put("user/7", "active")]).commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn exists(keys: impl Into<KeyRange>) -> Self {
        Compare::version(keys).greater(0)
    }

    /// `key` does not exist. As Go's `clientv3util.KeyMissing`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Compare, Op};
    ///
    /// // Makes a key, but does not change it.
    /// client.txn().when([Compare::missing("user/7")]).and_then([Op::put("user/7", "new")]).commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn missing(keys: impl Into<KeyRange>) -> Self {
        Compare::version(keys).equal(0)
    }

    /// For every key that begins with the key.
    ///
    /// ```
    /// use tenure_client::Compare;
    ///
    /// // No key below "jobs/" has been changed after revision 100. Holds if there is none at all.
    /// let unchanged = Compare::mod_revision("jobs/").less(101).prefix();
    /// assert_eq!(unchanged, Compare::mod_revision("jobs/").prefix().less(101));
    /// ```
    #[must_use]
    pub fn prefix(mut self) -> Self {
        self.range = KeyRange::prefix(self.range.key);
        self
    }

    /// For every key from the key to `end`, which is not part of it.
    ///
    /// ```
    /// use tenure_client::Compare;
    ///
    /// let unused = Compare::version("slot/0").equal(0).range_end("slot/5");
    /// assert_eq!(unused, Compare::missing("slot/0").range_end("slot/5"));
    /// ```
    #[must_use]
    pub fn range_end(mut self, end: impl IntoBytes) -> Self {
        self.range.end = end.into_bytes();
        self
    }

    /// The keys that it is about. For layers that have to know.
    ///
    /// ```
    /// use tenure_client::{Compare, KeyRange};
    ///
    /// assert_eq!(*Compare::missing("slot/").prefix().keys(), KeyRange::prefix("slot/"));
    /// ```
    #[must_use]
    pub fn keys(&self) -> &KeyRange {
        &self.range
    }

    pub(crate) fn request(self) -> Result<pb::Compare> {
        let target = match &self.target {
            TargetUnion::Version(_) => CompareTarget::Version,
            TargetUnion::CreateRevision(_) => CompareTarget::Create,
            TargetUnion::ModRevision(_) => CompareTarget::Mod,
            TargetUnion::Value(_) => CompareTarget::Value,
            TargetUnion::Lease(_) => CompareTarget::Lease,
        };
        if self.range.key.is_empty() {
            return Err(crate::Error::invalid("a condition without a key: name one"));
        }
        Ok(pb::Compare {
            result: self.result.into(),
            target: target.into(),
            key: self.range.key,
            range_end: self.range.end,
            target_union: Some(self.target),
        })
    }
}

impl<T> Comparison<T> {
    fn new(keys: impl Into<KeyRange>, target: fn(T) -> TargetUnion) -> Self {
        Comparison { range: keys.into(), target, of: PhantomData }
    }

    /// For every key that begins with the key.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Compare, Op};
    ///
    /// let all_ready = Compare::value("node/").prefix().equal("ready");
    /// client.txn().when([all_ready]).and_then([Op::put("phase", "2")]).commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn prefix(mut self) -> Self {
        self.range = KeyRange::prefix(self.range.key);
        self
    }

    /// For every key from the key to `end`, which is not part of it.
    ///
    /// ```
    /// use tenure_client::Compare;
    ///
    /// let unleased = Compare::lease("a").range_end("c").equal(0.into());
    /// assert_eq!(unleased, Compare::lease("a").equal(0.into()).range_end("c"));
    /// ```
    pub fn range_end(mut self, end: impl IntoBytes) -> Self {
        self.range.end = end.into_bytes();
        self
    }

    fn with(self, result: CompareResult, operand: T) -> Compare {
        Compare { range: self.range, result, target: (self.target)(operand) }
    }
}

macro_rules! results {
    ($operand:ty, |$value:ident: $argument:ty| $convert:expr) => {
        impl Comparison<$operand> {
            /// It equals this.
            ///
            /// ```
            /// use tenure_client::{Compare, LeaseId};
            ///
            /// let conditions = [
            ///     Compare::value("mode").equal("on"),
            ///     Compare::version("mode").equal(1),
            ///     Compare::lease("mode").equal(LeaseId(0)),
            /// ];
            /// # assert_eq!(conditions.len(), 3);
            /// ```
            #[must_use]
            pub fn equal(self, $value: $argument) -> Compare {
                self.with(CompareResult::Equal, $convert)
            }

            /// It differs from this.
            ///
            /// ```no_run
            /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
            /// use tenure_client::{Compare, Op};
            ///
            /// // Answers whether it changed anything, and makes no revision if it did not.
            /// let differs = Compare::value("mode").not_equal("on");
            /// client.txn().when([differs]).and_then([Op::put("mode", "on")]).commit().await?;
            /// # Ok(())
            /// # }
            /// ```
            #[must_use]
            pub fn not_equal(self, $value: $argument) -> Compare {
                self.with(CompareResult::NotEqual, $convert)
            }

            /// It is greater than this.
            ///
            /// ```no_run
            /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
            /// use tenure_client::{Compare, Op};
            ///
            /// let written_again = Compare::version("config").greater(1);
            /// client.txn().when([written_again]).and_then([Op::put("audit", "config was changed")]).commit().await?;
            /// # Ok(())
            /// # }
            /// ```
            #[must_use]
            pub fn greater(self, $value: $argument) -> Compare {
                self.with(CompareResult::Greater, $convert)
            }

            /// It is less than this.
            ///
            /// ```no_run
            /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
            /// use tenure_client::{Compare, Op};
            ///
            /// // The key is no newer than what was read at revision 100.
            /// let not_newer = Compare::mod_revision("config").less(101);
            /// client.txn().when([not_newer]).and_then([Op::put("config", "v2")]).commit().await?;
            /// # Ok(())
            /// # }
            /// ```
            #[must_use]
            pub fn less(self, $value: $argument) -> Compare {
                self.with(CompareResult::Less, $convert)
            }
        }
    };
}

results!(Bytes, |value: impl IntoBytes| value.into_bytes());
results!(i64, |value: i64| value);
results!(LeaseId, |value: LeaseId| value);
