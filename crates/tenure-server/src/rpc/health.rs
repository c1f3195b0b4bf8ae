//! gRPC's health service. A member is fit to serve from its start to its end, so this says only that somebody is there.

use crate::limits;
use crate::member::Member;
use std::collections::HashMap;
use tenure_api::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus,
};
use tenure_api::server::health::health_server::Health;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// The service name that stands for the whole server: the only one there is.
const SERVER: &str = "";

/// The service.
#[derive(Clone)]
pub struct HealthService {
    member: Member,
}

impl HealthService {
    /// The service of a member.
    #[must_use]
    pub fn new(member: Member) -> Self {
        Self { member }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match request.into_inner().service.as_str() {
            SERVER => Ok(Response::new(response(ServingStatus::Serving))),
            _ => Err(Status::not_found("unknown service")),
        }
    }

    async fn list(
        &self,
        _request: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let statuses = HashMap::from([(SERVER.to_owned(), response(ServingStatus::Serving))]);
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let status = match request.into_inner().service.as_str() {
            SERVER => ServingStatus::Serving,
            _ => ServingStatus::ServiceUnknown,
        };
        let (out, responses) = mpsc::channel(limits::HEALTH_RESPONSES_QUEUED_MAX);
        let member = self.member.clone();
        self.member.tasks().spawn(async move {
            if out.send(Ok(response(status))).await.is_err() {
                return;
            }
            tokio::select! {
                () = out.closed() => return,
                () = member.stopped() => {}
            }
            if status == ServingStatus::Serving {
                // Who does not listen any more need not know.
                out.send(Ok(response(ServingStatus::NotServing))).await.ok();
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}
