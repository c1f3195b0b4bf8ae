//! All services as one router.

use super::{auth, cluster, election, health, kv, lease, lock, maintenance, watch};
use crate::limits;
use crate::member::Member;
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
use tonic::service::Routes;

/// Every gRPC service of a member.
///
/// # Errors
/// If the service descriptors for reflection cannot be read, which a build cannot bring about.
pub fn routes(member: &Member) -> Result<Routes, tonic_reflection::server::Error> {
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
    let mut routes = Routes::builder();
    routes
        .add_service(sized!(KvServer::new(kv::KvService::new(member.clone()))))
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
    Ok(routes.routes())
}
