//! Answers.

use crate::{
    Error, KeyValue, ResponseHeader, Result,
    types::{header, pairs},
};
use tenure_api::etcdserverpb as pb;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// The pairs, in the order that was asked for. None if only the count was.
    pub kvs: Vec<KeyValue>,
    /// There are more than the limit let through.
    pub more: bool,
    /// How many keys the range has, whatever the limit.
    pub count: u64,
}

impl GetResponse {
    /// The first pair.
    #[must_use]
    pub fn first(&self) -> Option<&KeyValue> {
        self.kvs.first()
    }
}

impl From<pb::RangeResponse> for GetResponse {
    fn from(response: pb::RangeResponse) -> Self {
        GetResponse {
            header: header(response.header),
            kvs: pairs(response.kvs),
            more: response.more,
            count: u64::try_from(response.count).unwrap_or_default(),
        }
    }
}

/// A key was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PutResponse {
    /// Server and store. Its revision is the one of this change.
    pub header: ResponseHeader,
    /// The pair as it was before, if it existed and was asked for.
    pub prev_kv: Option<KeyValue>,
}

impl From<pb::PutResponse> for PutResponse {
    fn from(response: pb::PutResponse) -> Self {
        PutResponse { header: header(response.header), prev_kv: response.prev_kv.map(Into::into) }
    }
}

/// Keys were deleted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteResponse {
    /// Server and store. Its revision is the one of this change, if something was deleted.
    pub header: ResponseHeader,
    /// How many.
    pub deleted: u64,
    /// The pairs as they were before, if they were asked for.
    pub prev_kvs: Vec<KeyValue>,
}

impl From<pb::DeleteRangeResponse> for DeleteResponse {
    fn from(response: pb::DeleteRangeResponse) -> Self {
        DeleteResponse {
            header: header(response.header),
            deleted: u64::try_from(response.deleted).unwrap_or_default(),
            prev_kvs: pairs(response.prev_kvs),
        }
    }
}

/// What a transaction did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TxnResponse {
    /// Server and store. Its revision is the one of this change, if something was changed.
    pub header: ResponseHeader,
    /// All conditions held.
    pub succeeded: bool,
    /// The answers of the operations that were carried out, in their order.
    pub responses: Vec<OpResponse>,
}

impl TryFrom<pb::TxnResponse> for TxnResponse {
    type Error = Error;

    fn try_from(response: pb::TxnResponse) -> Result<Self> {
        let responses = response.responses.into_iter().map(OpResponse::try_from).collect::<Result<_>>()?;
        Ok(TxnResponse { header: header(response.header), succeeded: response.succeeded, responses })
    }
}

/// The answer of any operation.
#[derive(Clone, Debug, PartialEq)]
pub enum OpResponse {
    /// Of a get.
    Get(GetResponse),
    /// Of a put.
    Put(PutResponse),
    /// Of a delete.
    Delete(DeleteResponse),
    /// Of a transaction.
    Txn(TxnResponse),
}

impl OpResponse {
    /// Server and store. Inside a transaction only the revision is told.
    #[must_use]
    pub fn header(&self) -> &ResponseHeader {
        match self {
            OpResponse::Get(response) => &response.header,
            OpResponse::Put(response) => &response.header,
            OpResponse::Delete(response) => &response.header,
            OpResponse::Txn(response) => &response.header,
        }
    }

    /// The answer of a get, if it is one.
    #[must_use]
    pub fn as_get(&self) -> Option<&GetResponse> {
        if let OpResponse::Get(response) = self { Some(response) } else { None }
    }

    /// The answer of a put, if it is one.
    #[must_use]
    pub fn as_put(&self) -> Option<&PutResponse> {
        if let OpResponse::Put(response) = self { Some(response) } else { None }
    }

    /// The answer of a delete, if it is one.
    #[must_use]
    pub fn as_delete(&self) -> Option<&DeleteResponse> {
        if let OpResponse::Delete(response) = self { Some(response) } else { None }
    }

    /// The answer of a transaction, if it is one.
    #[must_use]
    pub fn as_txn(&self) -> Option<&TxnResponse> {
        if let OpResponse::Txn(response) = self { Some(response) } else { None }
    }
}

impl TryFrom<pb::ResponseOp> for OpResponse {
    type Error = Error;

    fn try_from(response: pb::ResponseOp) -> Result<Self> {
        use pb::response_op::Response;
        Ok(match response.response {
            Some(Response::ResponseRange(response)) => OpResponse::Get(response.into()),
            Some(Response::ResponsePut(response)) => OpResponse::Put(response.into()),
            Some(Response::ResponseDeleteRange(response)) => OpResponse::Delete(response.into()),
            Some(Response::ResponseTxn(response)) => OpResponse::Txn(response.try_into()?),
            None => return Err(Error::Protocol("an operation of a transaction without an answer")),
        })
    }
}
