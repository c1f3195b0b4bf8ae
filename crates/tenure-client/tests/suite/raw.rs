//! Calls in the messages of the protocol.

use crate::support::{TestServer, config, soon};
use futures::StreamExt;
use tenure_client::{
    Client, Code, Error, EtcdError,
    raw::etcdserverpb::{
        DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest, MemberListRequest, PutRequest,
        RangeRequest, RequestOp, StatusRequest, TxnRequest, request_op::Request, response_op::Response,
    },
};

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() }
}

#[tokio::test]
async fn messages_go_out_and_come_back_whole() {
    let server = TestServer::start().await;
    let client = server.client().await;
    // What is raw knows no namespace.
    let raw = client.with_namespace("app/").raw();
    raw.call(&put("a", "1")).await.unwrap();
    let answer = raw.call(&PutRequest { prev_kv: true, ..put("a", "2") }).await.unwrap();
    assert_eq!(answer.prev_kv.unwrap().value, "1");
    let read = RangeRequest { key: "a".into(), ..Default::default() };
    let success = [Request::RequestRange(read.clone()), Request::RequestPut(put("b", "3"))];
    let success = success.map(|request| RequestOp { request: Some(request) }).to_vec();
    let answer = raw.call(&TxnRequest { success, ..Default::default() }).await.unwrap();
    let Some(Response::ResponseRange(range)) = &answer.responses[0].response else { panic!("{answer:?}") };
    assert_eq!((range.kvs[0].value.as_ref(), range.kvs[0].version), (b"2".as_slice(), 2));
    let request = DeleteRangeRequest { key: "a".into(), range_end: "c".into(), ..Default::default() };
    assert_eq!(raw.call(&request).await.unwrap().deleted, 2);
    let lease = raw.call(&LeaseGrantRequest { ttl: 60, id: 0 }).await.unwrap();
    assert_eq!(raw.call(&LeaseKeepAliveRequest { id: lease.id }).await.unwrap().ttl, 60);
    // As it came, where `Lease::keep_alive_once` makes an error of it.
    assert_eq!(raw.call(&LeaseKeepAliveRequest { id: 12_345 }).await.unwrap().ttl, 0);
    assert_eq!(raw.call(&MemberListRequest { linearizable: true }).await.unwrap().members.len(), 1);
    let error = raw.call(&PutRequest { key: Default::default(), ..put("", "") }).await.unwrap_err();
    assert!(error.is(EtcdError::EmptyKey), "{error}");
}

#[tokio::test]
async fn one_endpoint_is_asked_and_no_other() {
    let server = TestServer::start().await;
    let client = Client::connect_lazy(config("127.0.0.1:1")).unwrap();
    let status = soon(client.raw().call_endpoint(server.endpoint(), &StatusRequest {})).await.unwrap();
    assert_eq!(status.header.unwrap().member_id, status.leader);
    let error = client.raw().call_endpoint("ftp://x", &StatusRequest {}).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

#[tokio::test]
async fn a_range_comes_in_parts_where_there_is_the_method() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.put("k1", "v").await.unwrap();
    client.put("k2", "v").await.unwrap();
    let request = RangeRequest { key: "k".into(), range_end: "l".into(), ..Default::default() };
    let parts = match client.raw().range_stream(&request).await {
        Ok(parts) => parts.collect::<Vec<_>>().await,
        Err(error) => vec![Err(error)],
    };
    match parts.last().unwrap() {
        Ok(last) => assert_eq!(last.range_response.as_ref().unwrap().count, 2),
        Err(error) => assert_eq!(error.code(), Code::Unimplemented, "{error}"),
    }
}
