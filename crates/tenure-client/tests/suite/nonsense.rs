//! Servers that answer nonsense: an error each, and no panic.

use crate::support::{config, soon};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{convert::Infallible, time::Duration};
use tenure_client::{Client, Code, Error, KeyRange, LeaseId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::task::AbortOnDropHandle;

/// An answer as it goes over the wire.
#[derive(Clone, Default)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    data: Vec<Bytes>,
    trailers: Vec<(&'static str, &'static str)>,
}

fn answer(data: &[&'static [u8]], trailers: &[(&'static str, &'static str)]) -> Answer {
    Answer {
        status: 200,
        data: data.iter().map(|&data| Bytes::from_static(data)).collect(),
        trailers: trailers.to_vec(),
        headers: vec![("content-type", "application/grpc")],
    }
}

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|&(name, value)| (name.parse().expect("it works"), value.parse().expect("it works")))
        .collect()
}

/// A server that gives every request the same answer.
async fn serve(answer: Answer) -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("it works");
    let address = listener.local_addr().expect("it works").to_string();
    let task = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |_: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let data = answer.data.into_iter().map(Frame::data);
                    let trailers =
                        (!answer.trailers.is_empty()).then(|| Frame::trailers(map(&answer.trailers)));
                    let frames = data.chain(trailers).map(Ok::<_, Infallible>);
                    let body = StreamBody::new(futures::stream::iter(frames.collect::<Vec<_>>())).boxed();
                    let mut response = Response::new(body);
                    *response.status_mut() = answer.status.try_into().expect("it works");
                    *response.headers_mut() = map(&answer.headers);
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service),
            );
        }
    });
    (address, AbortOnDropHandle::new(task))
}

fn answers() -> Vec<(&'static str, Answer)> {
    let ok: &[(&str, &str)] = &[("grpc-status", "0")];
    vec![
        (
            "a web page",
            Answer { status: 404, data: vec![Bytes::from_static(b"<html>")], ..Answer::default() },
        ),
        ("nothing", answer(&[], &[])),
        ("no status", answer(&[b"\0\0\0\0\0"], &[])),
        ("no message", answer(&[], ok)),
        ("half a message", answer(&[b"\0\0\0\0\x09xx"], ok)),
        ("two messages", answer(&[b"\0\0\0\0\0", b"\0\0\0\0\0"], ok)),
        ("a huge length", answer(&[b"\0\xff\xff\xff\xff"], ok)),
        ("a compressed message", answer(&[b"\x01\0\0\0\x01x"], ok)),
        ("no protobuf", answer(&[b"\0\0\0\0\x03\xff\xff\xff"], ok)),
        ("a field of another type", answer(&[b"\0\0\0\0\x02\x08\x01"], ok)),
        ("an odd status", answer(&[], &[("grpc-status", "nonsense"), ("grpc-message", "%%%")])),
        ("malformed details", answer(&[], &[("grpc-status", "5"), ("grpc-status-details-bin", "?!")])),
    ]
}

async fn client(address: String) -> Client {
    let config = config(address).retries_max(2).backoff(Duration::from_millis(1), Duration::from_millis(2));
    Client::connect(config).await.expect("it works")
}

#[tokio::test]
async fn every_kind_of_call_survives_every_kind_of_nonsense() {
    for (name, answer) in answers() {
        let (address, _server) = serve(answer).await;
        let client = client(address).await;
        let got = soon(client.get("k")).await;
        let empty = matches!(name, "two messages" | "a field of another type");
        assert!(got.is_err() || empty, "{name}: {got:?}");
        soon(client.put("k", "v")).await.ok();
        soon(client.delete("k")).await.ok();
        soon(client.txn().and_then([tenure_client::Op::get("k")]).commit()).await.ok();
        let parts = client.get_stream(tenure_client::Get::new(KeyRange::all()));
        futures::pin_mut!(parts);
        soon(futures::StreamExt::next(&mut parts)).await;
        soon(client.lease().grant(Duration::from_secs(10))).await.ok();
        tokio::time::timeout(Duration::from_millis(100), client.lease().keep_alive_once(LeaseId(1)))
            .await
            .ok();
        tokio::time::timeout(Duration::from_millis(100), async {
            let mut keeper = client.lease().keep_alive(LeaseId(1)).await?;
            keeper.next().await;
            Ok::<_, Error>(())
        })
        .await
        .ok();
        tokio::time::timeout(Duration::from_millis(100), async {
            let mut watch = client.watch("k").await?;
            watch.next().await;
            Ok::<_, Error>(())
        })
        .await
        .ok();
    }
}

#[tokio::test]
async fn what_is_no_etcd_is_told_by_name() {
    let (address, _server) = serve(answers()[0].1.clone()).await;
    let error = soon(client(address).await.get("k")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
    assert!(error.to_string().contains("is this endpoint an etcd server?"), "{error}");
}

#[tokio::test]
async fn an_answer_without_its_end_is_a_lost_connection() {
    let (address, _server) = serve(answer(&[b"\0\0\0\0\0"], &[])).await;
    let client = client(address).await;
    let error = soon(client.put("k", "v")).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    assert!(error.may_have_taken_effect());
}

#[tokio::test]
async fn bytes_that_are_no_http_are_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let _server = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.ok();
            socket.read_to_end(&mut Vec::new()).await.ok();
        }
    }));
    let impatient = config(address).dial_timeout(Duration::from_millis(500)).retries_max(2);
    let outcome = match Client::connect(impatient).await {
        Err(error) => error,
        Ok(client) => soon(client.get("k")).await.unwrap_err(),
    };
    assert!(matches!(outcome, Error::Unreachable { .. } | Error::ConnectionLost { .. }), "{outcome}");
}
