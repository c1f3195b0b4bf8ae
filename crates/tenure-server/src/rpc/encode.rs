//! From the core's answers to the wire's.

use super::header::Headers;
use tenure_api::etcdserverpb::ResponseHeader;
use tenure_api::wire;
use tenure_core::state::{DeleteOutcome, OpOutcome, PutOutcome, RangeOutcome, TxnOutcome};
use tenure_core::types::{KvBytes, Revision};

/// The answer to a range.
pub fn range(headers: &Headers, outcome: RangeOutcome) -> wire::RangeResponse {
    range_with(headers.at(outcome.revision), outcome)
}

/// The answer to a put.
pub fn put(headers: &Headers, outcome: PutOutcome) -> wire::PutResponse {
    put_with(headers.at(outcome.revision), outcome)
}

/// The answer to a delete.
pub fn delete_range(headers: &Headers, outcome: DeleteOutcome) -> wire::DeleteRangeResponse {
    delete_with(headers.at(outcome.revision), outcome)
}

/// The answer to a transaction.
pub fn txn(headers: &Headers, outcome: TxnOutcome) -> wire::TxnResponse {
    txn_with(headers.at(outcome.revision), outcome)
}

fn range_with(header: ResponseHeader, outcome: RangeOutcome) -> wire::RangeResponse {
    wire::RangeResponse {
        header: Some(header),
        kvs: outcome.kvs.into_iter().map(|KvBytes(bytes)| bytes).collect(),
        more: outcome.more,
        count: outcome.count,
    }
}

fn put_with(header: ResponseHeader, outcome: PutOutcome) -> wire::PutResponse {
    wire::PutResponse { header: Some(header), prev_kv: outcome.prev.map(|KvBytes(bytes)| bytes) }
}

fn delete_with(header: ResponseHeader, outcome: DeleteOutcome) -> wire::DeleteRangeResponse {
    wire::DeleteRangeResponse {
        header: Some(header),
        deleted: outcome.deleted,
        prev_kvs: outcome.prev.into_iter().map(|KvBytes(bytes)| bytes).collect(),
    }
}

fn txn_with(header: ResponseHeader, outcome: TxnOutcome) -> wire::TxnResponse {
    wire::TxnResponse {
        header: Some(header),
        succeeded: outcome.succeeded,
        responses: outcome.responses.into_iter().map(op).collect(),
    }
}

/// Inner headers carry the revision only, and that of a nested transaction nothing at all (T8).
fn op(outcome: OpOutcome) -> wire::ResponseOp {
    match outcome {
        OpOutcome::Range(range) => wire::ResponseOp::Range(range_with(inner(range.revision), range)),
        OpOutcome::Put(put) => wire::ResponseOp::Put(put_with(inner(put.revision), put)),
        OpOutcome::DeleteRange(delete) => {
            wire::ResponseOp::DeleteRange(delete_with(inner(delete.revision), delete))
        }
        OpOutcome::Txn(txn) => wire::ResponseOp::Txn(txn_with(ResponseHeader::default(), txn)),
    }
}

fn inner(revision: Revision) -> ResponseHeader {
    ResponseHeader { revision: revision.0, ..ResponseHeader::default() }
}
