//! What the client library tells in its own words, as messages of the protocol, in which answers are printed.

use tenure_client::{
    KeyValue, LeaseKeepAliveResponse, Member, MembersResponse, ResponseHeader, WatchResponse,
    raw::{etcdserverpb as pb, mvccpb},
};

/// A header.
#[must_use]
pub fn header(header: &ResponseHeader) -> pb::ResponseHeader {
    pb::ResponseHeader {
        cluster_id: header.cluster_id,
        member_id: header.member_id.0,
        revision: header.revision,
        raft_term: header.raft_term,
    }
}

/// A pair.
#[must_use]
pub fn pair(pair: &KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: pair.key.clone(),
        create_revision: pair.create_revision,
        mod_revision: pair.mod_revision,
        version: pair.version,
        value: pair.value.clone(),
        lease: pair.lease.0,
    }
}

/// What a watch tells.
#[must_use]
pub fn watch(response: &WatchResponse) -> pb::WatchResponse {
    use mvccpb::event::EventType;
    use tenure_client::EventKind;
    let events = response.events.iter().map(|event| mvccpb::Event {
        r#type: match event.kind {
            EventKind::Put => EventType::Put.into(),
            EventKind::Delete => EventType::Delete.into(),
        },
        kv: Some(pair(&event.kv)),
        prev_kv: event.prev_kv.as_ref().map(pair),
    });
    pb::WatchResponse {
        header: Some(header(&response.header)),
        events: events.collect(),
        ..Default::default()
    }
}

/// The renewal of a lease.
#[must_use]
pub fn renewal(renewed: &LeaseKeepAliveResponse) -> pb::LeaseKeepAliveResponse {
    pb::LeaseKeepAliveResponse {
        header: Some(header(&renewed.header)),
        id: renewed.id.0,
        ttl: renewed.ttl_seconds,
    }
}

/// A member.
#[must_use]
pub fn member(member: &Member) -> pb::Member {
    pb::Member {
        id: member.id.0,
        name: member.name.clone(),
        peer_ur_ls: member.peer_urls.clone(),
        client_ur_ls: member.client_urls.clone(),
        is_learner: member.is_learner,
    }
}

/// All members, after a change of one.
#[must_use]
pub fn members(response: &MembersResponse) -> pb::MemberListResponse {
    pb::MemberListResponse {
        header: Some(header(&response.header)),
        members: response.members.iter().map(member).collect(),
    }
}
