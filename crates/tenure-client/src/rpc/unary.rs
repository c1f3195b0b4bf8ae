//! One request, one answer, without the machinery of streams.
//!
//! Most calls are of this kind, and most of what a call costs is not its message. So the request leaves as one frame that
//! was encoded once, and the answer is read where it stands.

use super::{Attempt, CLIENT_API_VERSION, CallOptions};
use crate::{
    Error,
    error::{Code, causes},
    transport::{Connection, TransportError},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost::Message;
use tenure_api::error::message_too_large;
use tonic::{
    Status,
    metadata::{Ascii, MetadataValue},
};

/// Whether a message is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// A message with its prefix.
pub(super) fn frame(message: &impl Message, message_bytes: usize) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message_bytes);
    frame.put_u8(0);
    // The limit of requests is checked before, and far below 4 GiB.
    frame.put_u32(u32::try_from(message_bytes).unwrap_or(u32::MAX));
    message.encode_raw(&mut frame);
    frame.freeze()
}

/// Sends `frame` and waits for the message that answers it.
///
/// * `answer_bytes_max`: a longer message is refused by its prefix, before it is received.
pub(super) async fn call(
    mut connection: Connection,
    path: &'static str,
    frame: Bytes,
    token: &Option<MetadataValue<Ascii>>,
    options: CallOptions,
    answer_bytes_max: usize,
) -> Result<Bytes, Attempt> {
    let answer = connection.send(path, headers(token, options), frame).await?;
    if answer.status() != StatusCode::OK {
        return Err(refused(unexpected(answer.status())));
    }
    // An answer without a message has its status in its headers.
    if let Some(status) = status(answer.headers()) {
        status.map_err(refused)?;
        return Err(refused(Status::internal("the server's answer holds no message")));
    }
    message(answer, answer_bytes_max).await
}

fn headers(token: &Option<MetadataValue<Ascii>>, options: CallOptions) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    let version = HeaderName::from_static("client-api-version");
    headers.insert(version, HeaderValue::from_static(CLIENT_API_VERSION));
    if let Some(token) = token
        && let Ok(mut value) = HeaderValue::from_bytes(token.as_bytes())
    {
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static("token"), value);
    }
    if options.requires_leader {
        headers.insert(HeaderName::from_static("hasleader"), HeaderValue::from_static("true"));
    }
    headers
}

/// The message of an answer, once its trailers have said that it is one.
async fn message(mut answer: Response<Incoming>, bytes_max: usize) -> Result<Bytes, Attempt> {
    let mut received = Received::default();
    let mut outcome = None;
    while let Some(frame) = answer.body_mut().frame().await {
        let frame = frame.map_err(|error| cut_short(causes(&error)))?;
        match frame.into_data() {
            Ok(data) => received.push(data, bytes_max).map_err(refused)?,
            Err(frame) => outcome = frame.trailers_ref().and_then(status),
        }
    }
    outcome.ok_or_else(|| cut_short("it ended without a status".to_owned()))?.map_err(refused)?;
    received.message().ok_or_else(|| refused(Status::internal("the server's answer holds no message")))
}

/// What has come of an answer. Most answers are one piece, which is not copied.
#[derive(Default)]
struct Received {
    first: Bytes,
    rest: BytesMut,
}

impl Received {
    fn push(&mut self, data: Bytes, bytes_max: usize) -> Result<(), Status> {
        if self.first.is_empty() {
            self.first = data;
        } else {
            if self.rest.is_empty() {
                let expected = self.expected().unwrap_or_default();
                self.rest.reserve(expected.min(PREALLOCATED_BYTES_MAX).max(self.first.len() + data.len()));
                self.rest.extend_from_slice(&self.first);
            }
            self.rest.extend_from_slice(&data);
        }
        match self.expected() {
            Some(bytes) if bytes > bytes_max => Err(message_too_large(bytes, bytes_max)),
            Some(bytes) if self.bytes().len() > PREFIX_BYTES + bytes => {
                Err(Status::internal("the server's answer holds more than one message"))
            }
            _ => Ok(()),
        }
    }

    fn bytes(&self) -> &[u8] {
        if self.rest.is_empty() { &self.first } else { &self.rest }
    }

    /// The length of the message, once its prefix is there.
    fn expected(&self) -> Option<usize> {
        let mut prefix = self.bytes().get(1..PREFIX_BYTES)?;
        usize::try_from(prefix.get_u32()).ok()
    }

    /// The message, if all of it is there and it is not compressed (which nobody was asked for).
    fn message(self) -> Option<Bytes> {
        let is_whole = self.expected()? + PREFIX_BYTES == self.bytes().len() && self.bytes()[0] == 0;
        let all = if self.rest.is_empty() { self.first } else { self.rest.freeze() };
        is_whole.then(|| all.slice(PREFIX_BYTES..))
    }
}

/// What a prefix may make us allocate before the message is there.
const PREALLOCATED_BYTES_MAX: usize = 1 << 20;

/// What headers or trailers say of the call; nothing if they do not.
fn status(headers: &HeaderMap) -> Option<Result<(), Status>> {
    let code = headers.get(Status::GRPC_STATUS)?;
    if code.as_bytes() == b"0" {
        return Some(Ok(()));
    }
    let text = headers.get(Status::GRPC_MESSAGE).map(|text| unescaped(text.as_bytes())).unwrap_or_default();
    Some(Err(Status::new(Code::from_bytes(code.as_bytes()), text)))
}

/// Percent-decoding as gRPC has it: what is not an escape stands for itself.
fn unescaped(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |at: usize| char::from(*tail.get(at)?).to_digit(16);
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn unexpected(status: StatusCode) -> Status {
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("unexpected HTTP status {status}: is this endpoint an etcd server?"))
}

fn refused(status: Status) -> Attempt {
    Attempt { error: status.into(), was_sent: true, is_transport: false }
}

fn cut_short(reason: String) -> Attempt {
    let reason = format!("the answer was cut short: {reason}");
    Attempt { error: Error::ConnectionLost { reason: reason.into() }, was_sent: true, is_transport: true }
}

impl From<TransportError> for Attempt {
    fn from(error: TransportError) -> Self {
        Attempt {
            was_sent: error.was_sent,
            is_transport: true,
            error: Error::ConnectionLost { reason: causes(&error).into() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_api::etcdserverpb::PutRequest;

    fn received(pieces: &[&[u8]]) -> Result<Option<Bytes>, Status> {
        let mut received = Received::default();
        for piece in pieces {
            received.push(Bytes::copy_from_slice(piece), 100)?;
        }
        Ok(received.message())
    }

    #[test]
    fn a_message_is_read_however_it_is_cut() {
        let request = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
        let whole = frame(&request, request.encoded_len());
        for cut in 0..=whole.len() {
            for second in cut..=whole.len() {
                let pieces = [&whole[..cut], &whole[cut..second], &whole[second..]];
                let message = received(&pieces).unwrap().unwrap();
                assert_eq!(PutRequest::decode(message).unwrap(), request, "cut at {cut} and {second}");
            }
        }
    }

    #[test]
    fn what_is_no_single_message_is_refused() {
        assert_eq!(received(&[]).unwrap(), None);
        assert_eq!(received(&[b"\0\0\0\0"]).unwrap(), None);
        assert_eq!(received(&[b"\0\0\0\0\x02x"]).unwrap(), None);
        assert_eq!(received(&[b"\x01\0\0\0\x01x"]).unwrap(), None, "compressed");
        assert!(received(&[b"\0\0\0\0\x01xy"]).is_err());
        let error = received(&[b"\0\xff\xff\xff\xff"]).unwrap_err();
        assert_eq!(error.message(), "grpc: received message larger than max (4294967295 vs. 100)");
    }

    #[test]
    fn a_status_is_read_from_headers() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for &(name, value) in pairs {
                headers.insert(name, HeaderValue::from_static(value));
            }
            headers
        };
        assert!(status(&headers(&[])).is_none());
        assert!(status(&headers(&[("grpc-status", "0")])).unwrap().is_ok());
        let error =
            status(&headers(&[("grpc-status", "5"), ("grpc-message", "a%20b%zz%2")])).unwrap().unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::NotFound, "a b%zz%2"));
        let odd = status(&headers(&[("grpc-status", "x"), ("grpc-status-details-bin", "%%")]));
        assert_eq!(odd.unwrap().unwrap_err().code(), Code::Unknown);
    }
}
