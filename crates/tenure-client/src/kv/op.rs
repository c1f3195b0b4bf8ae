//! Operations as values.

use super::{DeleteResponse, GetResponse, KeyRange, OpResponse, PutResponse, Txn};
use crate::{Error, IntoBytes, LeaseId, Result, Revision};
use bytes::Bytes;
use tenure_api::etcdserverpb as pb;

/// What an answer is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// How often it was written.
    Version,
    /// When it was made.
    CreateRevision,
    /// When it was last written.
    ModRevision,
    /// The value.
    Value,
}

/// In which direction an answer is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// Not at all, which is by key, ascending.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
}

/// An operation whose answer has a type of its own.
pub trait Operation: Into<Op> + Send {
    /// The answer.
    type Response: Send;

    /// The answer, if it is of this operation's kind.
    fn response(response: OpResponse) -> Option<Self::Response>;
}

/// Any operation: what [`Client::execute`](crate::Client::execute) carries out and transactions are made of.
///
/// ```
/// use tenure_client::{Op, Put, Get};
///
/// let ops: Vec<Op> = vec![Op::put("a", "1").prev_kv().into(), Op::get("b").prefix().limit(10).into()];
/// # assert_eq!(ops.len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Reads.
    Get(Get),
    /// Writes a key.
    Put(Put),
    /// Deletes.
    Delete(Delete),
    /// A transaction.
    Txn(Txn),
}

impl Op {
    /// Reads `key`. As Go's `OpGet`.
    #[must_use]
    pub fn get(key: impl IntoBytes) -> Get {
        Get::new(key)
    }

    /// Writes `key`. As Go's `OpPut`.
    #[must_use]
    pub fn put(key: impl IntoBytes, value: impl IntoBytes) -> Put {
        Put::new(key, value)
    }

    /// Deletes `key`. As Go's `OpDelete`.
    #[must_use]
    pub fn delete(key: impl IntoBytes) -> Delete {
        Delete::new(key)
    }

    /// A transaction. As Go's `OpTxn`.
    #[must_use]
    pub fn txn() -> Txn {
        Txn::new()
    }

    pub(crate) fn request_op(self) -> Result<pb::RequestOp> {
        use pb::request_op::Request;
        let request = match self {
            Op::Get(get) => Request::RequestRange(get.request()?),
            Op::Put(put) => Request::RequestPut(put.request()?),
            Op::Delete(delete) => Request::RequestDeleteRange(delete.request()?),
            Op::Txn(txn) => Request::RequestTxn(txn.request()?),
        };
        Ok(pb::RequestOp { request: Some(request) })
    }

    /// Whether carrying it out changes nothing, so that it may be repeated.
    pub(crate) fn is_read_only(&self) -> bool {
        match self {
            Op::Get(_) => true,
            Op::Put(_) | Op::Delete(_) => false,
            Op::Txn(txn) => txn.is_read_only(),
        }
    }
}

macro_rules! operation {
    ($name:ident, $response:ident) => {
        impl From<$name> for Op {
            fn from(op: $name) -> Self {
                Op::$name(op)
            }
        }

        impl Operation for $name {
            type Response = $response;

            fn response(response: OpResponse) -> Option<$response> {
                match response {
                    OpResponse::$name(response) => Some(response),
                    _ => None,
                }
            }
        }
    };
}

operation!(Get, GetResponse);
operation!(Put, PutResponse);
operation!(Delete, DeleteResponse);

use super::TxnResponse;
operation!(Txn, TxnResponse);

/// Defines the options of an operation twice: on the value, and on the call that carries it.
macro_rules! options {
    ($name:ident { $($(#[$doc:meta])* $option:ident($($argument:ident: $type:ty),*) |$op:ident| $change:block)* }) => {
        impl $name {
            $($(#[$doc])*
            #[must_use]
            pub fn $option(mut self $(, $argument: $type)*) -> Self {
                let $op = &mut self;
                $change
                self
            })*
        }

        impl<K: ?Sized> super::Call<'_, K, $name> {
            $($(#[$doc])*
            pub fn $option(mut self $(, $argument: $type)*) -> Self {
                self.op = self.op.$option($($argument),*);
                self
            })*
        }
    };
}

/// Reads one key or a range of keys. Its options can also be given to [`Client::get`](crate::Client::get).
#[derive(Clone, Debug, PartialEq)]
pub struct Get {
    pub(crate) range: KeyRange,
    pub(crate) limit: u32,
    pub(crate) revision: Revision,
    pub(crate) sort: Option<(SortTarget, SortOrder)>,
    pub(crate) is_serializable: bool,
    pub(crate) is_keys_only: bool,
    pub(crate) is_count_only: bool,
    pub(crate) mod_revision_min: Revision,
    pub(crate) mod_revision_max: Revision,
    pub(crate) create_revision_min: Revision,
    pub(crate) create_revision_max: Revision,
}

impl Get {
    /// Reads one key.
    #[must_use]
    pub fn new(key: impl IntoBytes) -> Self {
        Get::of(KeyRange::key(key))
    }

    /// Reads a range.
    #[must_use]
    pub fn of(range: KeyRange) -> Self {
        Get {
            range,
            limit: 0,
            revision: 0,
            sort: None,
            is_serializable: false,
            is_keys_only: false,
            is_count_only: false,
            mod_revision_min: 0,
            mod_revision_max: 0,
            create_revision_min: 0,
            create_revision_max: 0,
        }
    }

    fn first_by(&mut self, target: SortTarget, order: SortOrder) {
        self.range = KeyRange::prefix(self.range.key.clone());
        self.sort = Some((target, order));
        self.limit = 1;
    }

    pub(crate) fn request(self) -> Result<pb::RangeRequest> {
        if self.range.key.is_empty() {
            return Err(empty_key("get"));
        }
        let (target, order) = self.sort.unwrap_or_default();
        // Ascending by key is how ranges come anyway; a server that is told so would sort once more.
        let order = match (target, order) {
            (SortTarget::Key, SortOrder::Ascend) => SortOrder::None,
            (_, order) => order,
        };
        Ok(pb::RangeRequest {
            key: self.range.key,
            range_end: self.range.end,
            limit: i64::from(self.limit),
            revision: self.revision,
            sort_order: match order {
                SortOrder::None => pb::range_request::SortOrder::None,
                SortOrder::Ascend => pb::range_request::SortOrder::Ascend,
                SortOrder::Descend => pb::range_request::SortOrder::Descend,
            }
            .into(),
            sort_target: match target {
                SortTarget::Key => pb::range_request::SortTarget::Key,
                SortTarget::Version => pb::range_request::SortTarget::Version,
                SortTarget::CreateRevision => pb::range_request::SortTarget::Create,
                SortTarget::ModRevision => pb::range_request::SortTarget::Mod,
                SortTarget::Value => pb::range_request::SortTarget::Value,
            }
            .into(),
            serializable: self.is_serializable,
            keys_only: self.is_keys_only,
            count_only: self.is_count_only,
            min_mod_revision: self.mod_revision_min,
            max_mod_revision: self.mod_revision_max,
            min_create_revision: self.create_revision_min,
            max_create_revision: self.create_revision_max,
        })
    }
}

fn empty_key(what: &str) -> Error {
    Error::invalid(format!(
        "{what} without a key: name one, or say which keys are meant with prefix() or from_key()"
    ))
}

options! { Get {
    /// All keys that begin with the key; all keys if it is empty.
    prefix() |get| { get.range = KeyRange::prefix(get.range.key.clone()); }
    /// The key and all keys after it.
    from_key() |get| { get.range = KeyRange::from_key(get.range.key.clone()); }
    /// From the key to `end`, which is not part of it.
    range_end(end: impl IntoBytes) |get| { get.range.end = end.into_bytes(); }
    /// At most so many keys; 0 for all. Whether there are more is told.
    limit(keys_max: u32) |get| { get.limit = keys_max; }
    /// As it was at this revision; 0 for now.
    revision(revision: Revision) |get| { get.revision = revision; }
    /// Sorted. With a limit, the first ones of all are told.
    sort(target: SortTarget, order: SortOrder) |get| { get.sort = Some((target, order)); }
    /// From the member that is asked, without asking the others: faster, and perhaps not the newest.
    serializable() |get| { get.is_serializable = true; }
    /// Without values.
    keys_only() |get| { get.is_keys_only = true; }
    /// Only how many there are.
    count_only() |get| { get.is_count_only = true; }
    /// Only keys last changed at this revision or later.
    mod_revision_min(revision: Revision) |get| { get.mod_revision_min = revision; }
    /// Only keys last changed at this revision or earlier.
    mod_revision_max(revision: Revision) |get| { get.mod_revision_max = revision; }
    /// Only keys made at this revision or later.
    create_revision_min(revision: Revision) |get| { get.create_revision_min = revision; }
    /// Only keys made at this revision or earlier.
    create_revision_max(revision: Revision) |get| { get.create_revision_max = revision; }
    /// Of the keys that begin with the key, the one that was made first.
    first_created() |get| { get.first_by(SortTarget::CreateRevision, SortOrder::Ascend); }
    /// Of the keys that begin with the key, the one that was made last.
    last_created() |get| { get.first_by(SortTarget::CreateRevision, SortOrder::Descend); }
    /// Of the keys that begin with the key, the smallest.
    first_key() |get| { get.first_by(SortTarget::Key, SortOrder::Ascend); }
    /// Of the keys that begin with the key, the largest.
    last_key() |get| { get.first_by(SortTarget::Key, SortOrder::Descend); }
    /// Of the keys that begin with the key, the one that was changed first.
    first_modified() |get| { get.first_by(SortTarget::ModRevision, SortOrder::Ascend); }
    /// Of the keys that begin with the key, the one that was changed last.
    last_modified() |get| { get.first_by(SortTarget::ModRevision, SortOrder::Descend); }
} }

/// Writes a key. Its options can also be given to [`Client::put`](crate::Client::put).
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) lease: LeaseId,
    pub(crate) is_prev_kv_wanted: bool,
    pub(crate) is_value_ignored: bool,
    pub(crate) is_lease_ignored: bool,
}

impl Put {
    /// Writes `value` to `key`.
    #[must_use]
    pub fn new(key: impl IntoBytes, value: impl IntoBytes) -> Self {
        Put {
            key: key.into_bytes(),
            value: value.into_bytes(),
            lease: LeaseId(0),
            is_prev_kv_wanted: false,
            is_value_ignored: false,
            is_lease_ignored: false,
        }
    }

    pub(crate) fn request(self) -> Result<pb::PutRequest> {
        if self.key.is_empty() {
            return Err(Error::invalid("put without a key: name one"));
        }
        Ok(pb::PutRequest {
            key: self.key,
            value: self.value,
            lease: self.lease.0,
            prev_kv: self.is_prev_kv_wanted,
            ignore_value: self.is_value_ignored,
            ignore_lease: self.is_lease_ignored,
        })
    }
}

options! { Put {
    /// The key goes away with this lease.
    lease(lease: LeaseId) |put| { put.lease = lease; }
    /// The answer holds the pair as it was before.
    prev_kv() |put| { put.is_prev_kv_wanted = true; }
    /// The value stays as it is; the key must exist, and no value may be given.
    ignore_value() |put| { put.is_value_ignored = true; }
    /// The lease stays as it is; the key must exist, and no lease may be given.
    ignore_lease() |put| { put.is_lease_ignored = true; }
} }

/// Deletes one key or a range of keys. Its options can also be given to [`Client::delete`](crate::Client::delete).
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    pub(crate) range: KeyRange,
    pub(crate) is_prev_kv_wanted: bool,
}

impl Delete {
    /// Deletes one key.
    #[must_use]
    pub fn new(key: impl IntoBytes) -> Self {
        Delete::of(KeyRange::key(key))
    }

    /// Deletes a range.
    #[must_use]
    pub fn of(range: KeyRange) -> Self {
        Delete { range, is_prev_kv_wanted: false }
    }

    pub(crate) fn request(self) -> Result<pb::DeleteRangeRequest> {
        if self.range.key.is_empty() {
            return Err(empty_key("delete"));
        }
        Ok(pb::DeleteRangeRequest {
            key: self.range.key,
            range_end: self.range.end,
            prev_kv: self.is_prev_kv_wanted,
        })
    }
}

options! { Delete {
    /// All keys that begin with the key; all keys if it is empty.
    prefix() |delete| { delete.range = KeyRange::prefix(delete.range.key.clone()); }
    /// The key and all keys after it.
    from_key() |delete| { delete.range = KeyRange::from_key(delete.range.key.clone()); }
    /// From the key to `end`, which is not part of it.
    range_end(end: impl IntoBytes) |delete| { delete.range.end = end.into_bytes(); }
    /// The answer holds the pairs as they were before.
    prev_kv() |delete| { delete.is_prev_kv_wanted = true; }
} }
