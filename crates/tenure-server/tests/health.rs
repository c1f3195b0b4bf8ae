//! Health and reflection over a member in memory.

use tenure_api::health::{
    HealthCheckRequest, HealthListRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tenure_server::{Server, config::ServerConfig};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

async fn start() -> Server {
    let config = ServerConfig::in_memory().without_listeners();
    Server::start(config).await.expect("a member in memory starts")
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn a_member_is_fit_until_it_stops() {
    let server = start().await;
    let mut health = HealthClient::new(server.channel());
    let checked = health.check(of("")).await.expect("checked").into_inner();
    assert_eq!(checked.status(), ServingStatus::Serving);
    let listed = health.list(HealthListRequest {}).await.expect("listed").into_inner();
    assert_eq!(listed.statuses.get("").map(|response| response.status()), Some(ServingStatus::Serving));

    let mut watched = health.watch(of("")).await.expect("watched").into_inner();
    let first = watched.message().await.expect("goes on").expect("the status now");
    assert_eq!(first.status(), ServingStatus::Serving);
    let last = tokio::spawn(async move { watched.message().await });
    server.shutdown().await.expect("stopped");
    let last = last.await.expect("it does not panic").expect("ends well").expect("a last word");
    assert_eq!(last.status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn only_the_empty_service_name_is_known() {
    let server = start().await;
    let mut health = HealthClient::new(server.channel());
    let refused = health.check(of("etcdserverpb.KV")).await.expect_err("unknown");
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "unknown service"));
    let mut watched = health.watch(of("etcdserverpb.KV")).await.expect("watched").into_inner();
    let first = watched.message().await.expect("goes on").expect("a status");
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    drop(watched);
    server.shutdown().await.expect("stopped");
}

#[tokio::test]
async fn every_service_is_described() {
    let server = start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(server.channel());
    let answers = reflection.server_reflection_info(tokio_stream::once(request)).await.expect("answered");
    let answer = answers.into_inner().next().await.expect("an answer").expect("no error");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list: {answer:?}");
    };
    let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let expected = [
        "etcdserverpb.Auth",
        "etcdserverpb.Cluster",
        "etcdserverpb.KV",
        "etcdserverpb.Lease",
        "etcdserverpb.Maintenance",
        "etcdserverpb.Watch",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "v3electionpb.Election",
        "v3lockpb.Lock",
    ];
    assert_eq!(names, expected);
    server.shutdown().await.expect("stopped");
}
