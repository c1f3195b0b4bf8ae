//! Bodies of requests and answers.

use bytes::Bytes;
use http::{HeaderMap, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::Status;

/// Details of a status, which nobody here reads. tonic panics on malformed ones.
const STATUS_DETAILS: &str = "grpc-status-details-bin";

/// What goes out: one message that is there already, or a stream of them.
pub(crate) enum RequestBody {
    Whole(Option<Bytes>),
    Stream(tonic::body::Body),
}

impl RequestBody {
    pub(super) fn whole(frame: Bytes) -> Self {
        RequestBody::Whole(Some(frame))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            RequestBody::Whole(frame) => Poll::Ready(frame.take().map(|frame| Ok(Frame::data(frame)))),
            RequestBody::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Whole(frame) => frame.is_none(),
            RequestBody::Stream(body) => body.is_end_stream(),
        }
    }
}

/// What comes in on a stream, without what tonic cannot bear.
pub(crate) struct AnswerBody(Incoming);

impl AnswerBody {
    pub(super) fn of(mut answer: Response<Incoming>) -> Response<Self> {
        without_details(answer.headers_mut());
        answer.map(AnswerBody)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            without_details(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn without_details(headers: &mut HeaderMap) {
    headers.remove(STATUS_DETAILS);
}
