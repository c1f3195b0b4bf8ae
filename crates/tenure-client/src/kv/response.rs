//! Answers.

use crate::{
    Error, KeyValue, ResponseHeader, Result,
    types::{header, pairs},
};
use tenure_api::etcdserverpb as pb;

/// What was read.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.get("app/").prefix().limit(10).await?;
/// for pair in &answer.kvs {
///     println!("{} = {}", pair.key_text(), pair.value_text());
/// }
/// println!("{} keys, more to come: {}, revision {}", answer.count, answer.more, answer.header.revision);
/// # Ok(())
/// # }
/// ```
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
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// match client.get("mode").await?.first() {
    ///     Some(pair) => println!("mode is {}", pair.value_text()),
    ///     None => println!("there is no mode"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.put("mode", "on").prev_kv().await?;
/// println!("written at revision {}, before: {:?}", answer.header.revision, answer.prev_kv);
/// # Ok(())
/// # }
/// ```
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
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.delete("jobs/").prefix().prev_kv().await?;
/// println!("{} jobs gone", answer.deleted);
/// for job in &answer.prev_kvs {
///     println!("{}", job.key_text());
/// }
/// # Ok(())
/// # }
/// ```
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
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Compare, Op};
///
/// let answer = client
///     .txn()
///     .when([Compare::missing("a")])
///     .and_then([Op::put("a", "1")])
///     .or_else([Op::get("a")])
///     .commit()
///     .await?;
/// match (answer.succeeded, &answer.responses[..]) {
///     (true, _) => println!("made at revision {}", answer.header.revision),
///     (false, [read]) => println!("there is one already: {:?}", read.as_get().and_then(|get| get.first())),
///     (false, _) => unreachable!("there is an answer for each operation"),
/// }
/// # Ok(())
/// # }
/// ```
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
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Op, OpResponse};
///
/// let op: Op = Op::delete("a").into();
/// match client.execute(op).await? {
///     OpResponse::Delete(answer) => println!("{} deleted", answer.deleted),
///     other => println!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
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
    ///
    /// ```
    /// use tenure_client::{OpResponse, PutResponse, ResponseHeader};
    ///
    /// let header = ResponseHeader { revision: 7, ..ResponseHeader::default() };
    /// let answer = OpResponse::Put(PutResponse { header, prev_kv: None });
    /// assert_eq!(answer.header().revision, 7);
    /// ```
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
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::Op;
    ///
    /// let answer = client.txn().and_then([Op::get("a")]).commit().await?;
    /// if let Some(get) = answer.responses[0].as_get() {
    ///     println!("{:?}", get.first());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn as_get(&self) -> Option<&GetResponse> {
        if let OpResponse::Get(response) = self { Some(response) } else { None }
    }

    /// The answer of a put, if it is one.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::Op;
    ///
    /// let answer = client.txn().and_then([Op::put("a", "1").prev_kv()]).commit().await?;
    /// println!("before: {:?}", answer.responses[0].as_put().and_then(|put| put.prev_kv.as_ref()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn as_put(&self) -> Option<&PutResponse> {
        if let OpResponse::Put(response) = self { Some(response) } else { None }
    }

    /// The answer of a delete, if it is one.
    ///
    /// ```
    /// use tenure_client::{DeleteResponse, OpResponse};
    ///
    /// let answer = OpResponse::Delete(DeleteResponse { deleted: 2, ..DeleteResponse::default() });
    /// assert_eq!(answer.as_delete().map(|delete| delete.deleted), Some(2));
    /// assert_eq!(answer.as_put(), None);
    /// ```
    #[must_use]
    pub fn as_delete(&self) -> Option<&DeleteResponse> {
        if let OpResponse::Delete(response) = self { Some(response) } else { None }
    }

    /// The answer of a transaction, if it is one.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Compare, Op};
    ///
    /// let nested = Op::txn().when([Compare::missing("a")]).and_then([Op::put("a", "1")]);
    /// let answer = client.txn().and_then([nested]).commit().await?;
    /// println!("made: {:?}", answer.responses[0].as_txn().map(|txn| txn.succeeded));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn as_txn(&self) -> Option<&TxnResponse> {
        if let OpResponse::Txn(response) = self { Some(response) } else { None }
    }

    /// The answer of a get itself, if it is one.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{KeyValue, Op, OpResponse};
    ///
    /// let answer = client.txn().and_then([Op::get("a"), Op::get("b")]).commit().await?;
    /// let gets = answer.responses.into_iter().filter_map(OpResponse::into_get);
    /// let pairs: Vec<KeyValue> = gets.flat_map(|get| get.kvs).collect();
    /// # drop(pairs);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn into_get(self) -> Option<GetResponse> {
        match self {
            OpResponse::Get(response) => Some(response),
            _ => None,
        }
    }

    /// The answer of a put itself, if it is one.
    ///
    /// ```
    /// use tenure_client::{OpResponse, PutResponse};
    ///
    /// let answer = OpResponse::Put(PutResponse::default());
    /// assert_eq!(answer.into_put(), Some(PutResponse::default()));
    /// ```
    #[must_use]
    pub fn into_put(self) -> Option<PutResponse> {
        match self {
            OpResponse::Put(response) => Some(response),
            _ => None,
        }
    }

    /// The answer of a delete itself, if it is one.
    ///
    /// ```
    /// use tenure_client::{DeleteResponse, OpResponse};
    ///
    /// let answer = OpResponse::Delete(DeleteResponse { deleted: 2, ..DeleteResponse::default() });
    /// assert_eq!(answer.into_delete().map(|delete| delete.prev_kvs), Some(Vec::new()));
    /// ```
    #[must_use]
    pub fn into_delete(self) -> Option<DeleteResponse> {
        match self {
            OpResponse::Delete(response) => Some(response),
            _ => None,
        }
    }

    /// The answer of a transaction itself, if it is one.
    ///
    /// ```
    /// use tenure_client::{OpResponse, TxnResponse};
    ///
    /// assert_eq!(OpResponse::Txn(TxnResponse::default()).into_txn(), Some(TxnResponse::default()));
    /// ```
    #[must_use]
    pub fn into_txn(self) -> Option<TxnResponse> {
        match self {
            OpResponse::Txn(response) => Some(response),
            _ => None,
        }
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
