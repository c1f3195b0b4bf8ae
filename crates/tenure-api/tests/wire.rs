//! The answers of `wire` against the generated messages of the same names: the same bytes, and the length said
//! beforehand.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use prost::Message;
use tenure_api::{etcdserverpb as pb, mvccpb, wire};

fn int() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(1), Just(-1), Just(i64::MAX), Just(i64::MIN), any::<i64>()]
}

fn blob() -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..4), vec(any::<u8>(), 120..140)].prop_map(Bytes::from)
}

fn header() -> impl Strategy<Value = Option<pb::ResponseHeader>> {
    option::of((any::<u64>(), any::<u64>(), int(), 0..3u64).prop_map(
        |(cluster_id, member_id, revision, raft_term)| pb::ResponseHeader {
            cluster_id,
            member_id,
            revision,
            raft_term,
        },
    ))
}

fn pair() -> impl Strategy<Value = mvccpb::KeyValue> {
    (blob(), int(), int(), int(), blob(), int()).prop_map(
        |(key, create_revision, mod_revision, version, value, lease)| mvccpb::KeyValue {
            key,
            create_revision,
            mod_revision,
            version,
            value,
            lease,
        },
    )
}

fn range() -> impl Strategy<Value = pb::RangeResponse> {
    (header(), vec(pair(), 0..4), any::<bool>(), int())
        .prop_map(|(header, kvs, more, count)| pb::RangeResponse { header, kvs, more, count })
}

fn put() -> impl Strategy<Value = pb::PutResponse> {
    (header(), option::of(pair())).prop_map(|(header, prev_kv)| pb::PutResponse { header, prev_kv })
}

fn delete_range() -> impl Strategy<Value = pb::DeleteRangeResponse> {
    (header(), int(), vec(pair(), 0..4)).prop_map(|(header, deleted, prev_kvs)| pb::DeleteRangeResponse {
        header,
        deleted,
        prev_kvs,
    })
}

fn txn_of(op: impl Strategy<Value = pb::response_op::Response>) -> impl Strategy<Value = pb::TxnResponse> {
    (header(), any::<bool>(), vec(op, 0..4)).prop_map(|(header, succeeded, ops)| pb::TxnResponse {
        header,
        succeeded,
        responses: ops.into_iter().map(|op| pb::ResponseOp { response: Some(op) }).collect(),
    })
}

fn txn() -> impl Strategy<Value = pb::TxnResponse> {
    use pb::response_op::Response;
    let leaf = prop_oneof![
        range().prop_map(Response::ResponseRange),
        put().prop_map(Response::ResponsePut),
        delete_range().prop_map(Response::ResponseDeleteRange),
    ];
    txn_of(leaf.prop_recursive(3, 12, 3, |op| txn_of(op).prop_map(Response::ResponseTxn)))
}

fn event() -> impl Strategy<Value = mvccpb::Event> {
    (0..2i32, option::of(pair()), option::of(pair())).prop_map(|(r#type, kv, prev_kv)| mvccpb::Event {
        r#type,
        kv,
        prev_kv,
    })
}

fn watch() -> impl Strategy<Value = pb::WatchResponse> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (header(), int(), flags, int(), ".{0,8}", vec(event(), 0..4)).prop_map(
        |(header, watch_id, (created, canceled, fragment), compact_revision, cancel_reason, events)| {
            pb::WatchResponse {
                header,
                watch_id,
                created,
                canceled,
                compact_revision,
                cancel_reason,
                fragment,
                events,
            }
        },
    )
}

fn encoded(messages: &[impl Message]) -> Vec<Bytes> {
    messages.iter().map(|message| Bytes::from(message.encode_to_vec())).collect()
}

fn wire_range(from: &pb::RangeResponse) -> wire::RangeResponse {
    wire::RangeResponse { header: from.header, kvs: encoded(&from.kvs), more: from.more, count: from.count }
}

fn wire_put(from: &pb::PutResponse) -> wire::PutResponse {
    wire::PutResponse {
        header: from.header,
        prev_kv: from.prev_kv.as_ref().map(|kv| Bytes::from(kv.encode_to_vec())),
    }
}

fn wire_delete_range(from: &pb::DeleteRangeResponse) -> wire::DeleteRangeResponse {
    wire::DeleteRangeResponse {
        header: from.header,
        deleted: from.deleted,
        prev_kvs: encoded(&from.prev_kvs),
    }
}

fn wire_txn(from: &pb::TxnResponse) -> wire::TxnResponse {
    use pb::response_op::Response;
    let responses = from.responses.iter().filter_map(|op| op.response.as_ref()).map(|op| match op {
        Response::ResponseRange(response) => wire::ResponseOp::Range(wire_range(response)),
        Response::ResponsePut(response) => wire::ResponseOp::Put(wire_put(response)),
        Response::ResponseDeleteRange(response) => wire::ResponseOp::DeleteRange(wire_delete_range(response)),
        Response::ResponseTxn(response) => wire::ResponseOp::Txn(wire_txn(response)),
    });
    wire::TxnResponse { header: from.header, succeeded: from.succeeded, responses: responses.collect() }
}

fn wire_watch(from: &pb::WatchResponse) -> wire::WatchResponse {
    wire::WatchResponse {
        header: from.header,
        watch_id: from.watch_id,
        created: from.created,
        canceled: from.canceled,
        compact_revision: from.compact_revision,
        cancel_reason: from.cancel_reason.clone(),
        fragment: from.fragment,
        events: encoded(&from.events),
    }
}

fn same(wire: &impl Message, generated: &impl Message) -> Result<(), TestCaseError> {
    prop_assert_eq!(wire.encoded_len(), generated.encoded_len());
    prop_assert_eq!(wire.encode_to_vec(), generated.encode_to_vec());
    Ok(())
}

proptest! {
    #[test]
    fn range_response(generated in range()) {
        same(&wire_range(&generated), &generated)?;
    }

    #[test]
    fn range_stream_response(generated in option::of(range())) {
        let wire = wire::RangeStreamResponse { range_response: generated.as_ref().map(wire_range) };
        same(&wire, &pb::RangeStreamResponse { range_response: generated })?;
    }

    #[test]
    fn put_response(generated in put()) {
        same(&wire_put(&generated), &generated)?;
    }

    #[test]
    fn delete_range_response(generated in delete_range()) {
        same(&wire_delete_range(&generated), &generated)?;
    }

    #[test]
    fn txn_response(generated in txn()) {
        same(&wire_txn(&generated), &generated)?;
    }

    #[test]
    fn watch_response(generated in watch()) {
        same(&wire_watch(&generated), &generated)?;
    }
}
