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
/// ];
/// # assert_eq!(conditions.len(), 3);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    pub(crate) range: KeyRange,
    pub(crate) result: CompareResult,
    pub(crate) target: TargetUnion,
}

/// The left side of a condition: what is compared. One of its methods makes the condition.
#[derive(Clone, Debug)]
#[must_use]
pub struct Comparison<T> {
    range: KeyRange,
    target: fn(T) -> TargetUnion,
    of: PhantomData<T>,
}

impl Compare {
    /// The value of `key`.
    pub fn value(key: impl IntoBytes) -> Comparison<Bytes> {
        Comparison::new(key, TargetUnion::Value)
    }

    /// How often `key` was written since it was made; 0 if it does not exist.
    pub fn version(key: impl IntoBytes) -> Comparison<i64> {
        Comparison::new(key, TargetUnion::Version)
    }

    /// The revision at which `key` was made; 0 if it does not exist.
    pub fn create_revision(key: impl IntoBytes) -> Comparison<Revision> {
        Comparison::new(key, TargetUnion::CreateRevision)
    }

    /// The revision at which `key` was last changed; 0 if it does not exist.
    pub fn mod_revision(key: impl IntoBytes) -> Comparison<Revision> {
        Comparison::new(key, TargetUnion::ModRevision)
    }

    /// The lease of `key`; 0 if it has none.
    pub fn lease(key: impl IntoBytes) -> Comparison<LeaseId> {
        Comparison::new(key, |lease| TargetUnion::Lease(lease.0))
    }

    /// `key` exists. As Go's `clientv3util.KeyExists`.
    #[must_use]
    pub fn exists(key: impl IntoBytes) -> Self {
        Compare::version(key).greater(0)
    }

    /// `key` does not exist. As Go's `clientv3util.KeyMissing`.
    #[must_use]
    pub fn missing(key: impl IntoBytes) -> Self {
        Compare::version(key).equal(0)
    }

    /// For every key that begins with the key.
    #[must_use]
    pub fn prefix(mut self) -> Self {
        self.range = KeyRange::prefix(self.range.key);
        self
    }

    /// For every key from the key to `end`, which is not part of it.
    #[must_use]
    pub fn range_end(mut self, end: impl IntoBytes) -> Self {
        self.range.end = end.into_bytes();
        self
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
    fn new(key: impl IntoBytes, target: fn(T) -> TargetUnion) -> Self {
        Comparison { range: KeyRange::key(key), target, of: PhantomData }
    }

    /// For every key that begins with the key.
    pub fn prefix(mut self) -> Self {
        self.range = KeyRange::prefix(self.range.key);
        self
    }

    /// For every key from the key to `end`, which is not part of it.
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
            #[must_use]
            pub fn equal(self, $value: $argument) -> Compare {
                self.with(CompareResult::Equal, $convert)
            }

            /// It differs from this.
            #[must_use]
            pub fn not_equal(self, $value: $argument) -> Compare {
                self.with(CompareResult::NotEqual, $convert)
            }

            /// It is greater than this.
            #[must_use]
            pub fn greater(self, $value: $argument) -> Compare {
                self.with(CompareResult::Greater, $convert)
            }

            /// It is less than this.
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
