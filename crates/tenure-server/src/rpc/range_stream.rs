//! RangeStream: a range in chunks, all of one revision (R13).

use super::encode;
use crate::auth::Caller;
use crate::limits;
use crate::member::Member;
use tenure_api::error::UnlistedError;
use tenure_api::wire;
use tenure_core::command::RangeQuery;
use tenure_core::mvcc::{RangeStream, StreamPage};
use tenure_core::state::Access;
use tenure_core::types::KvBytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// The chunks.
pub type Chunks = ReceiverStream<Result<wire::RangeStreamResponse, Status>>;

/// Checks the query and starts streaming.
///
/// # Errors
/// `Unimplemented` for orders and filters that cannot be streamed.
pub fn start(member: &Member, caller: Caller, query: RangeQuery) -> Result<Chunks, Status> {
    if !RangeStream::allows_order_of(&query) {
        return Err(UnlistedError::RangeStreamSort.into());
    }
    if !RangeStream::allows_filters_of(&query) {
        return Err(UnlistedError::RangeStreamRevisionFilter.into());
    }
    let (out, chunks) = mpsc::channel(limits::RANGE_CHUNKS_QUEUED_MAX);
    let member = member.clone();
    member.tasks().clone().spawn(async move {
        if let Err(status) = stream(&member, &caller, query, &out).await {
            // The client may be gone: then nobody is left to be told.
            out.send(Err(status)).await.ok();
        }
    });
    Ok(ReceiverStream::new(chunks))
}

async fn stream(
    member: &Member,
    caller: &Caller,
    query: RangeQuery,
    out: &mpsc::Sender<Result<wire::RangeStreamResponse, Status>>,
) -> Result<(), Status> {
    if !query.serializable {
        member.linearize().await?;
    }
    let permit = member.authorize(caller, Access::Read(&query.range)).await?;
    let mut stream = RangeStream::new(query, member.request_bytes_max());
    loop {
        let outcome = member.read_range(&stream.next_page()).await?;
        member.still_permitted(permit)?;
        for page in stream.take(outcome).map_err(|error| Status::internal(error.to_string()))? {
            let (response, last) = match page {
                StreamPage::Part(kvs) => {
                    let kvs = kvs.into_iter().map(|KvBytes(bytes)| bytes).collect();
                    (wire::RangeResponse { kvs, ..wire::RangeResponse::default() }, false)
                }
                StreamPage::Last(outcome) => (encode::range(member.headers(), outcome), true),
            };
            let chunk = wire::RangeStreamResponse { range_response: Some(response) };
            if out.send(Ok(chunk)).await.is_err() || last {
                return Ok(());
            }
        }
    }
}
