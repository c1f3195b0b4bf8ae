//! Operations as values.

use super::{DeleteResponse, GetResponse, KeyRange, OpResponse, PutResponse, Txn};
use crate::{Error, IntoBytes, LeaseId, Result, Revision};
use bytes::Bytes;
use tenure_api::etcdserverpb as pb;

/// What an answer is sorted by.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{SortOrder, SortTarget};
///
/// // The ten keys that were changed last.
/// let answer = client.get("jobs/").prefix().sort(SortTarget::ModRevision, SortOrder::Descend).limit(10).await?;
/// for pair in answer.kvs {
///     println!("{} at revision {}", pair.key_text(), pair.mod_revision);
/// }
/// # Ok(())
/// # }
/// ```
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
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{SortOrder, SortTarget};
///
/// let largest = client.get("scores/").prefix().sort(SortTarget::Value, SortOrder::Descend).limit(1).await?;
/// println!("{:?}", largest.first());
/// # Ok(())
/// # }
/// ```
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

/// An operation, and the type of its answer. That of an [`Op`], which may be any, is [`OpResponse`].
///
/// ```no_run
/// use tenure_client::{Kv, Result, kv::Operation};
///
/// /// Carries out one operation and tells how long it took, whatever its kind is.
/// async fn timed<O: Operation>(kv: &impl Kv, op: O) -> Result<O::Response> {
///     let started = std::time::Instant::now();
///     let response = kv.execute(op).await?;
///     println!("{:?}", started.elapsed());
///     Ok(response)
/// }
/// ```
pub trait Operation: Into<Op> + Send {
    /// The answer.
    type Response: Send;

    /// The answer, if it is of this operation's kind.
    ///
    /// ```
    /// use tenure_client::{Get, GetResponse, OpResponse, Put, kv::Operation};
    ///
    /// let answer = OpResponse::Get(GetResponse { count: 3, ..GetResponse::default() });
    /// assert_eq!(Put::response(answer.clone()), None);
    /// assert_eq!(Get::response(answer).map(|get| get.count), Some(3));
    /// ```
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
    /// Reads a key, or a range. As Go's `OpGet`.
    ///
    /// ```
    /// use tenure_client::{KeyRange, Op};
    ///
    /// assert_eq!(Op::get("app/").prefix(), Op::get(KeyRange::prefix("app/")));
    /// ```
    #[must_use]
    pub fn get(keys: impl Into<KeyRange>) -> Get {
        Get::new(keys)
    }

    /// Writes `key`. As Go's `OpPut`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::Op;
    ///
    /// let write = Op::put("mode", "on").prev_kv();
    /// let answer = client.execute(write).await?;
    /// println!("before: {:?}", answer.prev_kv);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn put(key: impl IntoBytes, value: impl IntoBytes) -> Put {
        Put::new(key, value)
    }

    /// Deletes a key, or a range. As Go's `OpDelete`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::Op;
    ///
    /// // A key and what is below it, at once.
    /// client.txn().and_then([Op::delete("job/7"), Op::delete("job/7/").prefix()]).commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn delete(keys: impl Into<KeyRange>) -> Delete {
        Delete::new(keys)
    }

    /// A transaction. As Go's `OpTxn`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Compare, Op};
    ///
    /// // A transaction within another one: it is an operation like any other.
    /// let first_start = Op::txn().when([Compare::missing("init")]).and_then([Op::put("init", "done")]);
    /// let start: [Op; 2] = [Op::put("node/1", "up").into(), first_start.into()];
    /// client.txn().when([Compare::value("mode").equal("on")]).and_then(start).commit().await?;
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// ```
    /// use tenure_client::{Compare, Op};
    ///
    /// let read = Op::txn().when([Compare::exists("a")]).and_then([Op::get("a")]);
    /// assert!(Op::from(read).is_read_only());
    /// assert!(!Op::from(Op::put("a", "1")).is_read_only());
    /// ```
    #[must_use]
    pub fn is_read_only(&self) -> bool {
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

impl Operation for Op {
    type Response = OpResponse;

    fn response(response: OpResponse) -> Option<OpResponse> {
        Some(response)
    }
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
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::Get;
///
/// let newest = Get::new("logs/").last_created();
/// let answer = client.execute(newest.clone()).await?;
/// println!("{:?}", answer.first());
/// // The same, made and carried out at once.
/// let answer = client.get("logs/").last_created().await?;
/// println!("{:?}", answer.first());
/// # Ok(())
/// # }
/// ```
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
    /// Reads one key, or a range.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::Get;
    ///
    /// let one = Get::new("greeting").serializable();
    /// let shard = Get::new("user/a".."user/n").count_only();
    /// println!("{:?}", client.execute(one).await?.first());
    /// println!("{} users", client.execute(shard).await?.count);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(keys: impl Into<KeyRange>) -> Self {
        Get {
            range: keys.into(),
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

    /// What is read. For layers that have to know: Go's `Op.KeyBytes` and `RangeBytes`.
    ///
    /// ```
    /// use tenure_client::{KeyRange, Op};
    ///
    /// assert_eq!(*Op::get("app/").prefix().limit(10).keys(), KeyRange::prefix("app/"));
    /// ```
    #[must_use]
    pub fn keys(&self) -> &KeyRange {
        &self.range
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
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let answer = client.get("app/").prefix().await?;
    /// for pair in answer.kvs {
    ///     println!("{} = {}", pair.key_text(), pair.value_text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    prefix() |get| { get.range = KeyRange::prefix(get.range.key.clone()); }

    /// The key and all keys after it.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // The next 100 keys, whatever they begin with.
    /// let page = client.get("m").from_key().limit(100).await?;
    /// println!("{} of {}", page.kvs.len(), page.count);
    /// # Ok(())
    /// # }
    /// ```
    from_key() |get| { get.range = KeyRange::from_key(get.range.key.clone()); }

    /// From the key to `end`, which is not part of it.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // "logs/2024" is in, "logs/2025" is not.
    /// let year = client.get("logs/2024").range_end("logs/2025").await?;
    /// println!("{} entries", year.count);
    /// # Ok(())
    /// # }
    /// ```
    range_end(end: impl IntoBytes) |get| { get.range.end = end.into_bytes(); }

    /// At most so many keys; 0 for all. Whether there are more is told.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let page = client.get("app/").prefix().limit(10).await?;
    /// if page.more {
    ///     println!("{} of {} keys", page.kvs.len(), page.count);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    limit(keys_max: u32) |get| { get.limit = keys_max; }

    /// As it was at this revision; 0 for now.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let written = client.put("mode", "on").await?;
    /// client.put("mode", "off").await?;
    /// let before = client.get("mode").revision(written.header.revision).await?;
    /// assert_eq!(before.kvs[0].value, "on");
    /// # Ok(())
    /// # }
    /// ```
    revision(revision: Revision) |get| { get.revision = revision; }

    /// Sorted. With a limit, the first ones of all are told.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{SortOrder, SortTarget};
    ///
    /// let oldest_first = client.get("queue/").prefix().sort(SortTarget::CreateRevision, SortOrder::Ascend).await?;
    /// println!("next: {:?}", oldest_first.first());
    /// # Ok(())
    /// # }
    /// ```
    sort(target: SortTarget, order: SortOrder) |get| { get.sort = Some((target, order)); }

    /// From the member that is asked, without asking the others: faster, and perhaps not the newest.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // Good enough for a dashboard, and answered even where no majority is left.
    /// let answer = client.get("status/").prefix().serializable().await?;
    /// println!("as of revision {}", answer.header.revision);
    /// # Ok(())
    /// # }
    /// ```
    serializable() |get| { get.is_serializable = true; }

    /// Without values.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let answer = client.get("blobs/").prefix().keys_only().await?;
    /// for pair in answer.kvs {
    ///     println!("{} was written {} times", pair.key_text(), pair.version);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    keys_only() |get| { get.is_keys_only = true; }

    /// Only how many there are.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let users = client.get("user/").prefix().count_only().await?.count;
    /// println!("{users} users");
    /// # Ok(())
    /// # }
    /// ```
    count_only() |get| { get.is_count_only = true; }

    /// Only keys last changed at this revision or later.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let seen = client.get("app/").prefix().await?.header.revision;
    /// // Later: only what was changed since. What was deleted is not told: that takes a watch.
    /// let changed = client.get("app/").prefix().mod_revision_min(seen + 1).await?;
    /// println!("{} changed", changed.kvs.len());
    /// # Ok(())
    /// # }
    /// ```
    mod_revision_min(revision: Revision) |get| { get.mod_revision_min = revision; }

    /// Only keys last changed at this revision or earlier.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let now = client.get("app/").prefix().count_only().await?.header.revision;
    /// let untouched = client.get("app/").prefix().mod_revision_max(now - 10_000).await?;
    /// println!("{} keys that nobody wrote lately", untouched.kvs.len());
    /// # Ok(())
    /// # }
    /// ```
    mod_revision_max(revision: Revision) |get| { get.mod_revision_max = revision; }

    /// Only keys made at this revision or later.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let start = client.get("jobs/").prefix().count_only().await?.header.revision;
    /// let new = client.get("jobs/").prefix().create_revision_min(start + 1).await?;
    /// println!("{} jobs since", new.kvs.len());
    /// # Ok(())
    /// # }
    /// ```
    create_revision_min(revision: Revision) |get| { get.create_revision_min = revision; }

    /// Only keys made at this revision or earlier.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // Who waits before me: those with a key that is older than mine.
    /// let mine = client.put("line/me", "").await?.header.revision;
    /// let before_me = client.get("line/").prefix().create_revision_max(mine - 1).await?;
    /// println!("{} before me", before_me.kvs.len());
    /// # Ok(())
    /// # }
    /// ```
    create_revision_max(revision: Revision) |get| { get.create_revision_max = revision; }

    /// Of the keys that begin with the key, the one that was made first.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let head = client.get("queue/").first_created().await?;
    /// println!("whose turn it is: {:?}", head.first());
    /// # Ok(())
    /// # }
    /// ```
    first_created() |get| { get.first_by(SortTarget::CreateRevision, SortOrder::Ascend); }

    /// Of the keys that begin with the key, the one that was made last.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let newest = client.get("releases/").last_created().await?;
    /// println!("the newest: {:?}", newest.first());
    /// # Ok(())
    /// # }
    /// ```
    last_created() |get| { get.first_by(SortTarget::CreateRevision, SortOrder::Descend); }

    /// Of the keys that begin with the key, the smallest.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let next = client.get("by-deadline/").first_key().await?;
    /// println!("due first: {:?}", next.first());
    /// # Ok(())
    /// # }
    /// ```
    first_key() |get| { get.first_by(SortTarget::Key, SortOrder::Ascend); }

    /// Of the keys that begin with the key, the largest.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let last = client.get("sequence/").last_key().await?;
    /// println!("the highest number: {:?}", last.first());
    /// # Ok(())
    /// # }
    /// ```
    last_key() |get| { get.first_by(SortTarget::Key, SortOrder::Descend); }

    /// Of the keys that begin with the key, the one that was changed first.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let stalest = client.get("heartbeat/").first_modified().await?;
    /// println!("silent for longest: {:?}", stalest.first());
    /// # Ok(())
    /// # }
    /// ```
    first_modified() |get| { get.first_by(SortTarget::ModRevision, SortOrder::Ascend); }

    /// Of the keys that begin with the key, the one that was changed last.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let latest = client.get("config/").last_modified().await?;
    /// println!("touched last: {:?}", latest.first());
    /// # Ok(())
    /// # }
    /// ```
    last_modified() |get| { get.first_by(SortTarget::ModRevision, SortOrder::Descend); }
} }

/// Writes a key. Its options can also be given to [`Client::put`](crate::Client::put).
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::Put;
///
/// let put = Put::new("greeting", "hello").prev_kv();
/// client.execute(put).await?;
/// // The same, made and carried out at once.
/// client.put("greeting", "hello").prev_kv().await?;
/// # Ok(())
/// # }
/// ```
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
    ///
    /// ```
    /// use tenure_client::{Op, Put};
    ///
    /// let ops: Vec<Op> = ["a", "b"].map(|key| Put::new(key, "1").into()).into();
    /// assert_eq!(ops[1], Op::from(Op::put("b", "1")));
    /// ```
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

    /// The key that is written. For layers that have to know.
    ///
    /// ```
    /// use tenure_client::Op;
    ///
    /// assert_eq!(Op::put("mode", "on").key(), "mode");
    /// ```
    #[must_use]
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// What is written to it. Go's `Op.ValueBytes`.
    ///
    /// ```
    /// use tenure_client::Op;
    ///
    /// assert_eq!(Op::put("mode", "on").value(), "on");
    /// ```
    #[must_use]
    pub fn value(&self) -> &Bytes {
        &self.value
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
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    ///
    /// let lease = client.lease().grant(Duration::from_secs(10)).await?;
    /// client.put("services/me", "10.0.0.1:80").lease(lease.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    lease(lease: LeaseId) |put| { put.lease = lease; }

    /// The answer holds the pair as it was before.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let answer = client.put("mode", "off").prev_kv().await?;
    /// match answer.prev_kv {
    ///     Some(before) => println!("was {}", before.value_text()),
    ///     None => println!("was not there"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    prev_kv() |put| { put.is_prev_kv_wanted = true; }

    /// The value stays as it is; the key must exist, and no value may be given.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    ///
    /// // The key is to live as long as another lease from now on; what it says is left alone.
    /// let lease = client.lease().grant(Duration::from_secs(60)).await?;
    /// client.put("services/me", "").ignore_value().lease(lease.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    ignore_value() |put| { put.is_value_ignored = true; }

    /// The lease stays as it is; the key must exist, and no lease may be given.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // A new value; the key still goes away with the lease that it had.
    /// client.put("services/me", "10.0.0.1:81").ignore_lease().await?;
    /// # Ok(())
    /// # }
    /// ```
    ignore_lease() |put| { put.is_lease_ignored = true; }
} }

/// Deletes one key or a range of keys. Its options can also be given to [`Client::delete`](crate::Client::delete).
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::Delete;
///
/// let delete = Delete::new("jobs/").prefix();
/// client.execute(delete).await?;
/// // The same, made and carried out at once.
/// let answer = client.delete("jobs/").prefix().await?;
/// println!("{} deleted", answer.deleted);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    pub(crate) range: KeyRange,
    pub(crate) is_prev_kv_wanted: bool,
}

impl Delete {
    /// Deletes one key, or a range.
    ///
    /// ```
    /// use tenure_client::{Delete, KeyRange, Op};
    ///
    /// let ops: [Op; 2] = [Delete::new("a").into(), Delete::new(KeyRange::prefix("logs/2023")).into()];
    /// assert!(matches!(ops[0], Op::Delete(_)));
    /// ```
    #[must_use]
    pub fn new(keys: impl Into<KeyRange>) -> Self {
        Delete { range: keys.into(), is_prev_kv_wanted: false }
    }

    /// What is deleted. For layers that have to know.
    ///
    /// ```
    /// use tenure_client::{KeyRange, Op};
    ///
    /// assert_eq!(*Op::delete("tmp").keys(), KeyRange::key("tmp"));
    /// ```
    #[must_use]
    pub fn keys(&self) -> &KeyRange {
        &self.range
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
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let gone = client.delete("sessions/").prefix().await?.deleted;
    /// println!("{gone} sessions");
    /// # Ok(())
    /// # }
    /// ```
    prefix() |delete| { delete.range = KeyRange::prefix(delete.range.key.clone()); }

    /// The key and all keys after it.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// client.delete("tmp/5").from_key().await?;
    /// # Ok(())
    /// # }
    /// ```
    from_key() |delete| { delete.range = KeyRange::from_key(delete.range.key.clone()); }

    /// From the key to `end`, which is not part of it.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // "logs/2023" and what follows, up to and without "logs/2024".
    /// client.delete("logs/2023").range_end("logs/2024").await?;
    /// # Ok(())
    /// # }
    /// ```
    range_end(end: impl IntoBytes) |delete| { delete.range.end = end.into_bytes(); }

    /// The answer holds the pairs as they were before.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// for pair in client.delete("queue/1").prev_kv().await?.prev_kvs {
    ///     println!("took {}", pair.value_text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    prev_kv() |delete| { delete.is_prev_kv_wanted = true; }
} }
