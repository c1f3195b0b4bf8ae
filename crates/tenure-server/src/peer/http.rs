//! What the peer port answers.

use super::Peers;
use super::counts::SnapshotCount;
use super::frames::{StreamKind, decode_single};
use super::identity::{CLUSTER_ID, RAFT_TO, Refusal, hex, parse_id, sender};
use super::{hashes, join};
use crate::http::{HealthSource, version_json};
use crate::limits;
use crate::member::{LeaseError, Member};
use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use prost::Message as _;
use serde::Deserialize;
use tenure_api::error::EtcdError;
use tenure_api::etcdserverpb as pb;
use tenure_api::leasepb;
use tenure_core::membership;
use tenure_core::node::{Message, MessageKind};
use tenure_core::types::{LeaseId, MemberId};
use tokio::sync::mpsc;

/// What a member that was removed is told when it posts something.
pub const REMOVED_SENDER: &str = "cannot process message from removed member";

#[derive(Clone)]
struct Served {
    member: Member,
    peers: Peers,
}

/// All paths of the peer port.
pub fn router(member: Member, peers: Peers) -> Router {
    let served = Served { member, peers };
    let small = DefaultBodyLimit::max(limits::PEER_REQUEST_BYTES_MAX);
    Router::new()
        .route("/raft", post(message).layer(DefaultBodyLimit::max(limits::PEER_POST_BYTES_MAX)))
        .route("/raft/snapshot", post(snapshot))
        .route("/raft/stream/{kind}/{from}", get(stream))
        .route("/raft/probing", get(probing))
        .route("/members", get(members))
        .route(hashes::PATH, get(hash_kv).layer(small))
        .route("/members/promote/{id}", post(promote))
        .route("/leases", post(lease_renew).layer(small))
        .route("/leases/internal", post(lease_facts).layer(small))
        .route(join::DOWNGRADE_PATH, get(downgrade_enabled))
        .route(join::VERSION_PATH, get(version))
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "404 page not found") })
        .layer(from_fn_with_state(served.clone(), identify))
        .with_state(served)
}

/// Every answer says which cluster it is of.
async fn identify(State(served): State<Served>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    served.peers.identity().mark_answer(response.headers_mut());
    response
}

/// An error as Go's `http.Error` writes it.
fn plain(status: StatusCode, text: &str) -> Response {
    let mut response = (status, format!("{text}\n")).into_response();
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        plain(self.status, self.text)
    }
}

fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn protobuf(message: &impl prost::Message) -> Response {
    ([(header::CONTENT_TYPE, "application/protobuf")], message.encode_to_vec()).into_response()
}

/// One posted message.
async fn message(State(served): State<Served>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(refusal) = served.peers.identity().check(&headers) {
        tracing::warn!(reason = refusal.text, "refused a message of another member");
        return refusal.into_response();
    }
    let bytes = body.len() as u64;
    let Ok(message) = decode_single(body) else {
        if let Some(counts) = sender(&headers).and_then(|(from, _)| served.peers.counts(from)) {
            counts.received_failures.inc();
        }
        return plain(StatusCode::BAD_REQUEST, "error unmarshalling raft message");
    };
    if served.peers.is_removed(message.from) {
        return forbidden(REMOVED_SENDER);
    }
    if message.to != served.member.id() {
        return forbidden("cannot process message to mismatch member");
    }
    if let Some((from, urls)) = sender(&headers) {
        served.peers.add_stranger(from, &urls);
    }
    let counts = served.peers.counts(message.from);
    if let Some(counts) = &counts {
        counts.received_bytes.inc_by(bytes);
    }
    if served.peers.inbound().is_some_and(|inbound| !inbound.receive(message))
        && let Some(counts) = counts
    {
        counts.received_failures.inc();
    }
    StatusCode::NO_CONTENT.into_response()
}

/// A snapshot: its message, then the database.
async fn snapshot(State(served): State<Served>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(refusal) = served.peers.identity().check(&parts.headers) {
        return refusal.into_response();
    }
    let mut body = body.into_data_stream();
    let (message, first) = match snapshot_message(&mut body).await {
        Ok(head) => head,
        Err(error) => {
            return plain(StatusCode::BAD_REQUEST, &format!("failed to decode raft message ({error})"));
        }
    };
    if message.kind != MessageKind::InstallSnapshot {
        return plain(StatusCode::BAD_REQUEST, "wrong raft message type");
    }
    if served.peers.is_removed(message.from) {
        return forbidden(REMOVED_SENDER);
    }
    if message.to != served.member.id() {
        return forbidden("cannot process message to mismatch member");
    }
    if let Some((from, urls)) = sender(&parts.headers) {
        served.peers.add_stranger(from, &urls);
    }
    let count = SnapshotCount::received(&served.member.metrics().handles, message.from);
    let counts = served.peers.counts(message.from);
    let (pieces, received) = mpsc::channel(limits::PEER_SNAPSHOT_PIECES_MAX);
    let reading = async move {
        let mut piece = Ok(first);
        loop {
            let has_failed = piece.is_err();
            if let (Ok(bytes), Some(counts)) = (&piece, &counts) {
                counts.received_bytes.inc_by(bytes.len() as u64);
            }
            if pieces.send(piece).await.is_err() || has_failed {
                return;
            }
            match body.next().await {
                Some(next) => piece = next.map_err(|error| error.to_string()),
                None => return,
            }
        }
    };
    let (outcome, ()) = futures::join!(served.member.receive_snapshot(message, received), reading);
    match outcome {
        Ok(()) => {
            count.arrived();
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => {
            tracing::warn!(%error, "failed to save a snapshot of another member");
            let text = format!("failed to save KV snapshot ({error})");
            plain(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
    }
}

/// The message at the beginning of a snapshot, and what came with it of the database.
async fn snapshot_message(body: &mut BodyDataStream) -> Result<(Message, Bytes), String> {
    let mut bytes = BytesMut::new();
    loop {
        if let Some(length) = bytes.first_chunk::<8>().map(|length| u64::from_be_bytes(*length)) {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > limits::PEER_POST_BYTES_MAX {
                return Err(format!("a message of {length} bytes"));
            }
            if bytes.len() >= 8 + length {
                let mut message = bytes.split_to(8 + length);
                message.advance(8);
                let message = decode_single(message.freeze()).map_err(|error| error.to_string())?;
                return Ok((message, bytes.freeze()));
            }
        }
        let next = body.next().await.ok_or("it broke off")?;
        bytes.extend_from_slice(&next.map_err(|error| error.to_string())?);
    }
}

fn forbidden(text: &str) -> Response {
    let body = serde_json::json!({ "message": text }).to_string();
    (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A stream for the member that asks.
async fn stream(
    State(served): State<Served>,
    Path((kind, from)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let identity = served.peers.identity();
    let attached = || {
        identity.check(&headers)?;
        let not_found = |text| Refusal::new(StatusCode::NOT_FOUND, text);
        let kind = StreamKind::of_path_word(&kind).ok_or(not_found("invalid path"))?;
        let from = parse_id(&from).map(MemberId).ok_or(not_found("invalid from"))?;
        if served.peers.is_removed(from) {
            return Err(Refusal::new(StatusCode::GONE, "removed member"));
        }
        if headers.get(RAFT_TO) != Some(&hex(identity.member.0)) {
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "to field mismatch"));
        }
        served.peers.attach(from, kind).ok_or_else(|| {
            // It may be a member that this one has not heard of yet: next time it is known.
            if let Some((from, urls)) = sender(&headers) {
                served.peers.add_stranger(from, &urls);
            }
            not_found("error sender not found")
        })
    };
    match attached() {
        Ok(stream) => Body::new(stream).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn probing() -> Response {
    let body = serde_json::json!({ "OK": true, "Now": jiff::Zoned::now().timestamp().to_string() });
    json(format!("{body}\n"))
}

fn members_json(members: &[membership::Member]) -> String {
    let rows: Vec<String> = members.iter().map(membership::Member::to_json).collect();
    format!("[{}]\n", rows.join(","))
}

async fn members(State(served): State<Served>) -> Response {
    json(members_json(&served.member.members()))
}

async fn promote(State(served): State<Served>, Path(id): Path<String>) -> Response {
    let Ok(number) = id.parse() else {
        return plain(StatusCode::NOT_FOUND, &format!("member {id} not found in cluster"));
    };
    match served.member.promote_here(MemberId(number)).await {
        Ok(members) => json(members_json(&members)),
        Err(EtcdError::MemberNotFound) => plain(StatusCode::NOT_FOUND, "membership: ID not found"),
        Err(EtcdError::MemberNotLearner) => {
            plain(StatusCode::PRECONDITION_FAILED, "membership: can only promote a learner member")
        }
        Err(error @ EtcdError::LearnerNotReady) => plain(StatusCode::PRECONDITION_FAILED, error.text()),
        Err(EtcdError::Timeout) => plain(StatusCode::REQUEST_TIMEOUT, EtcdError::Timeout.text()),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.text()),
    }
}

async fn lease_renew(State(served): State<Served>, body: Bytes) -> Response {
    let Ok(request) = pb::LeaseKeepAliveRequest::decode(body) else {
        return plain(StatusCode::BAD_REQUEST, "error unmarshalling request");
    };
    match served.member.lease_renew_here(LeaseId(request.id)).await {
        Ok(Some(ttl)) => protobuf(&pb::LeaseKeepAliveResponse { header: None, id: request.id, ttl }),
        Ok(None) => plain(StatusCode::NOT_FOUND, "lease not found"),
        Err(error) => lease_error(error),
    }
}

async fn lease_facts(State(served): State<Served>, body: Bytes) -> Response {
    let request = leasepb::LeaseInternalRequest::decode(body).ok();
    let Some(request) = request.and_then(|request| request.lease_time_to_live_request) else {
        return plain(StatusCode::BAD_REQUEST, "error unmarshalling request");
    };
    match served.member.lease_facts_here(LeaseId(request.id), request.keys).await {
        Ok(Some(facts)) => {
            let answer = pb::LeaseTimeToLiveResponse {
                header: Some(pb::ResponseHeader::default()),
                id: request.id,
                ttl: facts.remaining_seconds,
                granted_ttl: facts.granted_seconds,
                keys: facts.keys.into_iter().map(|key| key.0).collect(),
            };
            protobuf(&leasepb::LeaseInternalResponse { lease_time_to_live_response: Some(answer) })
        }
        Ok(None) => plain(StatusCode::NOT_FOUND, "lease not found"),
        Err(error) => lease_error(error),
    }
}

fn lease_error(error: LeaseError) -> Response {
    match error {
        LeaseError::Etcd(error) => plain(StatusCode::REQUEST_TIMEOUT, error.text()),
        LeaseError::NotPrimary => plain(StatusCode::BAD_REQUEST, "not a primary lessor"),
    }
}

#[derive(Default, Deserialize)]
struct HashKvQuestion {
    #[serde(default)]
    revision: i64,
}

async fn hash_kv(State(served): State<Served>, headers: HeaderMap, body: Bytes) -> Response {
    // Who does not say of which cluster it is gets an answer: so it is with etcd, whose older members do not say it.
    let is_of_member = headers.contains_key(CLUSTER_ID);
    if is_of_member && let Err(refusal) = served.peers.identity().check_cluster(&headers) {
        return refusal.into_response();
    }
    let Ok(question) = serde_json::from_slice::<HashKvQuestion>(&body) else {
        return plain(StatusCode::BAD_REQUEST, "error unmarshalling request");
    };
    let answer = match question.revision {
        // A leader that has the hash of a compaction at revision 0 compares that with ours, whether we still have it, or have come so
        // far: another answer has it raise the CORRUPT alarm. No other member asks for revision 0.
        0 if is_of_member => Ok(served.member.hash_of_nothing()),
        revision => served.member.hash_kv(revision).await,
    };
    match answer {
        Ok(answer) => {
            let header = served.member.headers().at(answer.revision);
            let body = serde_json::json!({
                "header": {
                    "cluster_id": header.cluster_id,
                    "member_id": header.member_id,
                    "revision": header.revision,
                    "raft_term": header.raft_term,
                },
                "hash": answer.hash,
                "compact_revision": answer.compact_revision.0,
                "hash_revision": answer.hash_revision.0,
            });
            json(format!("{body}\n"))
        }
        Err(error) => plain(StatusCode::BAD_REQUEST, hashes::refusal(error)),
    }
}

async fn downgrade_enabled(State(served): State<Served>) -> Response {
    match served.member.linearize().await {
        Ok(()) => {
            let is_ahead = served.member.is_downgrade_ahead().to_string();
            ([(header::CONTENT_TYPE, "text/plain")], is_ahead).into_response()
        }
        Err(error) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("failed linearized read: {}", error.text()))
        }
    }
}

async fn version(State(served): State<Served>) -> Response {
    json(version_json(&served.member.versions()))
}
