//! All services as one.

use super::{auth, cluster, election, health, kv, lease, lock, maintenance, watch};
use crate::edge::RequestBody;
use crate::limits;
use crate::member::Member;
use futures::future::BoxFuture;
use http::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tenure_api::FILE_DESCRIPTOR_SET;
use tenure_api::server::etcdserverpb::auth_server::AuthServer;
use tenure_api::server::etcdserverpb::cluster_server::ClusterServer;
use tenure_api::server::etcdserverpb::kv_server::KvServer;
use tenure_api::server::etcdserverpb::lease_server::LeaseServer;
use tenure_api::server::etcdserverpb::maintenance_server::MaintenanceServer;
use tenure_api::server::etcdserverpb::watch_server::WatchServer;
use tenure_api::server::health::health_server::HealthServer;
use tenure_api::server::v3electionpb::election_server::ElectionServer;
use tenure_api::server::v3lockpb::lock_server::LockServer;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

/// Every gRPC service of a member. A clone shares them.
#[derive(Clone)]
pub struct Dispatch {
    services: Arc<Services>,
}

/// The service that is called most is found by hand. A router costs a request more than the rest of its way: it takes the path
/// apart, notes in the request what it found, and boxes the body.
struct Services {
    kv: KvServer<kv::KvService>,
    others: Routes,
}

impl Service<Request<RequestBody>> for Dispatch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        match request.uri().path().starts_with("/etcdserverpb.KV/") {
            true => self.services.kv.clone().call(request),
            false => Box::pin(self.services.others.clone().call(request)),
        }
    }
}

/// The services of a member.
///
/// # Errors
/// If the service descriptors for reflection cannot be read, which a build cannot bring about.
pub fn routes(member: &Member) -> Result<Dispatch, tonic_reflection::server::Error> {
    let recv_bytes_max = limits::decoded_bytes_max(member.request_bytes_max());
    macro_rules! sized {
        ($service:expr) => {
            $service
                .max_decoding_message_size(recv_bytes_max)
                .max_encoding_message_size(limits::ANSWER_BYTES_MAX)
        };
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let reflection_alpha = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1alpha()?;
    let kv = sized!(KvServer::new(kv::KvService::new(member.clone())));
    let mut others = Routes::builder();
    others
        .add_service(sized!(WatchServer::new(watch::WatchService::new(member.clone()))))
        .add_service(sized!(LeaseServer::new(lease::LeaseService::new(member.clone()))))
        .add_service(sized!(ClusterServer::new(cluster::ClusterService::new(member.clone()))))
        .add_service(sized!(MaintenanceServer::new(maintenance::MaintenanceService::new(member.clone()))))
        .add_service(sized!(AuthServer::new(auth::AuthService::new(member.clone()))))
        .add_service(sized!(LockServer::new(lock::LockService::new(member.clone()))))
        .add_service(sized!(ElectionServer::new(election::ElectionService::new(member.clone()))))
        .add_service(sized!(HealthServer::new(health::HealthService::new(member.clone()))))
        .add_service(reflection)
        .add_service(reflection_alpha);
    Ok(Dispatch { services: Arc::new(Services { kv, others: others.routes().prepare() }) })
}
