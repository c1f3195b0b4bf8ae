//! Pages over HTTP/1.1, for what members tell besides gRPC: etcd serves them without TLS on no HTTP/2 connection.

use super::Dialer;
use crate::{Endpoint, Error, Result, error::causes};
use bytes::Bytes;
use http::{HeaderValue, Request, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use tokio::time::timeout;

/// Bytes of a page that are read at most.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// ALPN's name of HTTP/1.1.
pub(super) const PROTOCOL: &[u8] = b"http/1.1";

/// The page of an endpoint at `path`, on a connection of its own. No credentials are sent: pages ask for none.
///
/// # Errors
/// The endpoint cannot be connected to within the dial timeout, or answers otherwise than with such a page.
pub(crate) async fn page(dialer: &Dialer, endpoint: &Endpoint, path: &'static str) -> Result<Bytes> {
    dialer.check(endpoint)?;
    let waited = dialer.dial_timeout();
    let unreachable = |reason: String| Error::Unreachable { waited, reason: format!("{endpoint}: {reason}") };
    let unreadable =
        |reason: String| Error::io(format!("read {path} of {endpoint}"), io::Error::other(reason));
    let socket = match timeout(waited, dialer.socket(endpoint, PROTOCOL)).await {
        Ok(socket) => socket.map_err(|error| unreachable(causes(&error)))?,
        Err(_) => return Err(unreachable(format!("no answer within {waited:?}"))),
    };
    let lost = |error: hyper::Error| Error::ConnectionLost { reason: causes(&error).into() };
    let (mut requests, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(lost)?;
    let asked = async {
        let origin = dialer.origin(endpoint)?;
        let host = origin.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let host = HeaderValue::from_str(host).map_err(|error| Error::invalid(causes(&error)))?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = PathAndQuery::from_static(path).into();
        request.headers_mut().insert(header::HOST, host);
        let answer = requests.send_request(request).await.map_err(lost)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(unreadable(format!("the answer is {status}")));
        }
        let whole = Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect().await;
        let whole = whole.map_err(|error| unreadable(causes(&*error)))?;
        Ok(whole.to_bytes())
    };
    tokio::pin!(asked, connection);
    tokio::select! {
        biased;
        page = &mut asked => page,
        // A server that closes the connection behind its answer has answered.
        _ = &mut connection => asked.await,
    }
}
