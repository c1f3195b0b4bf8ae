//! What is looked at before any service: whether the caller insists on a leader, and what a learner serves.

use crate::edge::RequestBody;
use crate::member::Member;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tenure_api::error::EtcdError;
use tonic::{Status, body::Body};
use tower::Service;

/// Where a client says that it wants no answer from a member without a leader.
const HAS_LEADER: &str = "hasleader";

/// What a learner serves. Of ranges only serializable ones, which their service sees.
const SERVED_BY_LEARNERS: [&str; 3] =
    ["/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Snapshot", "/etcdserverpb.KV/Range"];

/// The services of a member behind their gate.
#[derive(Clone)]
pub struct Gate<S> {
    member: Member,
    services: S,
}

impl<S> Gate<S> {
    /// The gate of a member.
    #[must_use]
    pub fn new(member: Member, services: S) -> Self {
        Self { member, services }
    }

    fn admit(&self, path: &str, wants_leader: bool) -> Result<(), EtcdError> {
        let is_etcds = !path.starts_with("/grpc.reflection");
        if self.member.is_learner() && is_etcds && !SERVED_BY_LEARNERS.contains(&path) {
            return Err(EtcdError::NotSupportedForLearner);
        }
        if wants_leader && !self.member.has_leader() {
            return Err(EtcdError::NoLeader);
        }
        Ok(())
    }
}

fn wants_leader(headers: &HeaderMap) -> bool {
    headers.get(HAS_LEADER).is_some_and(|value| value == "true")
}

fn is_stream(path: &str) -> bool {
    matches!(path, "/etcdserverpb.Watch/Watch" | "/etcdserverpb.Lease/LeaseKeepAlive")
        || path == "/v3electionpb.Election/Observe"
}

impl<S> Service<Request<RequestBody>> for Gate<S>
where
    S: Service<
            Request<RequestBody>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<'static, Result<Response<Body>, Infallible>>,
        >,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.services.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let wants_leader = wants_leader(request.headers());
        let path = request.uri().path();
        if let Err(error) = self.admit(path, wants_leader) {
            let refusal = Status::from(error).into_http();
            return Box::pin(std::future::ready(Ok(refusal)));
        }
        let watched = (wants_leader && is_stream(path)).then(|| self.member.clone());
        let answering = self.services.call(request);
        let Some(member) = watched else { return answering };
        Box::pin(async move {
            let response = answering.await?;
            Ok(response.map(|body| Body::new(WithLeader::new(body, member))))
        })
    }
}

/// A stream that ends when there has been no leader for long.
struct WithLeader {
    body: Body,
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
    has_ended: bool,
}

impl WithLeader {
    fn new(body: Body, member: Member) -> Self {
        let lost = Box::pin(async move { member.leader_is_lost().await });
        Self { body, lost, has_ended: false }
    }
}

impl HttpBody for WithLeader {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(self.lost.as_mut().poll(cx));
        self.has_ended = true;
        let mut trailers = HeaderMap::new();
        match Status::from(EtcdError::NoLeader).add_header(&mut trailers) {
            Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(status) => Poll::Ready(Some(Err(status))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
