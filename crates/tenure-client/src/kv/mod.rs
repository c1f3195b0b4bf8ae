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
pub(crate) use stream::get_stream;
pub use txn::Txn;

use crate::{IntoBytes, Result};
use std::future::Future;

/// What carries out operations on keys: a [`Client`](crate::Client), or a layer that changes how.
///
/// A layer implements [`Kv::execute`]; everything else follows from it.
pub trait Kv: Send + Sync {
    /// Carries out one operation.
    ///
    /// # Errors
    /// The operation is malformed, the server refuses it, or it cannot be reached.
    fn execute(&self, op: Op) -> impl Future<Output = Result<OpResponse>> + Send;

    /// Writes a key. See [`Client::put`](crate::Client::put).
    fn put(&self, key: impl IntoBytes, value: impl IntoBytes) -> Call<'_, Self, Put>
    where
        Self: Sized,
    {
        Call::new(self, Put::new(key, value))
    }

    /// Reads a key or a range. See [`Client::get`](crate::Client::get).
    fn get(&self, key: impl IntoBytes) -> Call<'_, Self, Get>
    where
        Self: Sized,
    {
        Call::new(self, Get::new(key))
    }

    /// Deletes a key or a range. See [`Client::delete`](crate::Client::delete).
    fn delete(&self, key: impl IntoBytes) -> Call<'_, Self, Delete>
    where
        Self: Sized,
    {
        Call::new(self, Delete::new(key))
    }

    /// A transaction. See [`Client::txn`](crate::Client::txn).
    fn txn(&self) -> TxnCall<'_, Self>
    where
        Self: Sized,
    {
        TxnCall::new(self)
    }
}
