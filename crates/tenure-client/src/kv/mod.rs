//! Reading and writing keys.
//!
//! * [`Get`], [`Put`], [`Delete`], [`Txn`]: operations as values, with all their options; [`Op`] is any of them.
//! * [`Call`]: an operation on its way: the same options, and `.await` carries it out.
//! * [`Kv`]: what carries out operations: a [`Client`](crate::Client), or a layer over one.

mod call;
mod compare;
mod local;
mod op;
mod range;
mod response;
mod stream;
mod txn;

pub use call::{Call, Compact, CompactResponse, TxnCall};
pub use compare::{Compare, Comparison};
pub(crate) use local::{answer, holds};
pub use op::{Delete, Get, Op, Operation, Put, SortOrder, SortTarget};
pub(crate) use range::ZERO;
pub use range::{KeyRange, prefix_end};
pub use response::{DeleteResponse, GetResponse, OpResponse, PutResponse, TxnResponse};
pub use stream::GetStream;
pub use txn::Txn;

use crate::{Error, IntoBytes, Result};
use std::{future::Future, sync::Arc};

/// What carries out operations on keys: a [`Client`](crate::Client), or a layer that changes how.
///
/// A layer implements [`Kv::execute_op`]; everything else follows from it.
///
/// ```
/// use parking_lot::Mutex;
/// use tenure_client::{Kv, Op, OpResponse, PutResponse, Result};
///
/// /// A layer that remembers what was asked for; here it answers by itself, so that no server is needed.
/// #[derive(Default)]
/// struct Recorder(Mutex<Vec<Op>>);
///
/// impl Kv for Recorder {
///     async fn execute_op(&self, op: Op) -> Result<OpResponse> {
///         self.0.lock().push(op);
///         Ok(OpResponse::Put(PutResponse::default()))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let recorder = Recorder::default();
/// recorder.put("a", "1").prev_kv().await?;
/// assert_eq!(*recorder.0.lock(), [Op::from(Op::put("a", "1").prev_kv())]);
/// # Ok(())
/// # }
/// ```
pub trait Kv: Send + Sync {
    /// Carries out one operation, of any kind: what a layer implements. The answer must be of the kind of the operation.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Kv, Op};
    ///
    /// let answer = client.execute_op(Op::get("greeting").into()).await?;
    /// println!("{:?}", answer.as_get());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if the operation is malformed, [`Error::Etcd`] if the server
    /// refuses it, [`Error::ConnectionLost`] if nobody knows whether it was carried out; and those of
    /// the layer.
    fn execute_op(&self, op: Op) -> impl Future<Output = Result<OpResponse>> + Send;

    /// Carries out one operation; its answer has the type of its kind. See [`Client::execute`](crate::Client::execute).
    ///
    /// ```no_run
    /// use tenure_client::{Get, Kv, Result};
    ///
    /// async fn count(kv: &impl Kv, get: Get) -> Result<u64> {
    ///     Ok(kv.execute(get.count_only()).await?.count)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Kv::execute_op`]; [`Error::Protocol`] if a layer answers with another kind than it was asked for.
    fn execute<O: Operation>(&self, op: O) -> impl Future<Output = Result<O::Response>> + Send {
        let op = op.into();
        async {
            let response = self.execute_op(op).await?;
            O::response(response).ok_or(Error::Protocol("an answer of another kind than its request"))
        }
    }

    /// Writes a key. See [`Client::put`](crate::Client::put).
    ///
    /// ```no_run
    /// use tenure_client::{Kv, Result};
    ///
    /// /// Works over a client, and over every layer.
    /// async fn greet(kv: &impl Kv) -> Result<()> {
    ///     kv.put("greeting", "hello").await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Client::put`](crate::Client::put), and those of the layer.
    fn put(&self, key: impl IntoBytes, value: impl IntoBytes) -> Call<'_, Self, Put>
    where
        Self: Sized,
    {
        Call::new(self, Put::new(key, value))
    }

    /// Reads a key or a range. See [`Client::get`](crate::Client::get).
    ///
    /// ```no_run
    /// use tenure_client::{Kv, Result};
    ///
    /// async fn mode(kv: &impl Kv) -> Result<Option<String>> {
    ///     Ok(kv.get("mode").await?.first().map(|pair| pair.value_text().into_owned()))
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`](crate::Client::get), and those of the layer.
    fn get(&self, keys: impl Into<KeyRange>) -> Call<'_, Self, Get>
    where
        Self: Sized,
    {
        Call::new(self, Get::new(keys))
    }

    /// Deletes a key or a range. See [`Client::delete`](crate::Client::delete).
    ///
    /// ```no_run
    /// use tenure_client::{Kv, Result};
    ///
    /// async fn clear(kv: &impl Kv) -> Result<u64> {
    ///     Ok(kv.delete("sessions/").prefix().await?.deleted)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Client::delete`](crate::Client::delete), and those of the layer.
    fn delete(&self, keys: impl Into<KeyRange>) -> Call<'_, Self, Delete>
    where
        Self: Sized,
    {
        Call::new(self, Delete::new(keys))
    }

    /// A transaction. See [`Client::txn`](crate::Client::txn).
    ///
    /// ```no_run
    /// use tenure_client::{Compare, Kv, Op, Result};
    ///
    /// /// Whether this is the first to take the name.
    /// async fn take(kv: &impl Kv, name: &str) -> Result<bool> {
    ///     let taken = kv.txn().when([Compare::missing(name)]).and_then([Op::put(name, "")]).commit().await?;
    ///     Ok(taken.succeeded)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`TxnCall::commit`], and those of the layer.
    fn txn(&self) -> TxnCall<'_, Self>
    where
        Self: Sized,
    {
        TxnCall::new(self)
    }
}

/// A layer may borrow what it is over.
impl<K: Kv> Kv for &K {
    async fn execute_op(&self, op: Op) -> Result<OpResponse> {
        (**self).execute_op(op).await
    }
}

/// A layer may be shared, and put under another one.
impl<K: Kv> Kv for Arc<K> {
    async fn execute_op(&self, op: Op) -> Result<OpResponse> {
        (**self).execute_op(op).await
    }
}
