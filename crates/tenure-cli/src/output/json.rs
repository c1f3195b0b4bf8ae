//! `--write-out=json`: what Go's `encoding/json` makes of the structures of etcd's client library. Messages have the
//! names of their fields in the protocol and leave out what is zero; bytes are base64, enums are numbers. Answers about
//! leases and watches are structures of the library's own, with names of their own.

use super::{Answer, EndpointHealth, Text, auth as auth_answer, cluster};
use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use std::io;
use tenure_client::raw::{authpb, etcdserverpb as pb, mvccpb};

pub(super) fn render(answer: &Answer, hex: bool) -> Text {
    let out = match answer {
        Answer::Range(response) => line(&Range::from(response)),
        Answer::Put(response) => line(&Put::from(response)),
        Answer::DeleteRange(response) => line(&DeleteRange::from(response)),
        Answer::Txn(response) => line(&Txn::from(response)),
        Answer::Watch(response) => line(&Watch::from(response)),
        Answer::LeaseGrant(response) => line(&LeaseGrant {
            header: Header::of(&response.header),
            id: response.id,
            ttl: response.ttl,
            error: &response.error,
        }),
        Answer::LeaseRevoke(_, response) => only_header(&response.header),
        Answer::LeaseKeepAlive(response) => {
            line(&LeaseKeepAlive { header: Header::of(&response.header), id: response.id, ttl: response.ttl })
        }
        Answer::LeaseTimeToLive(response, _) => line(&LeaseTimeToLive::from(response)),
        Answer::LeaseLeases(response) => line(&LeaseLeases {
            header: Header::of(&response.header),
            leases: response.leases.iter().map(|lease| LeaseId { id: lease.id }).collect(),
        }),
        Answer::Members(response) if hex => line(&HexMembers::from(response)),
        Answer::Members(response) => members(response),
        Answer::Alarms(response) => line(&Alarms::from(response)),
        Answer::Health(endpoints) => line(&list(endpoints.iter().map(Health::from))),
        Answer::Status(endpoints) => line(&list(
            endpoints.iter().map(|(endpoint, status)| EndpointStatus { endpoint, status: status.into() }),
        )),
        Answer::Auth(answer) => auth_answer::json(answer),
        Answer::Cluster(answer) => cluster::json(answer),
        Answer::HashKv(endpoints) => {
            line(&list(endpoints.iter().map(|(endpoint, hash)| EndpointHash { endpoint, hash: hash.into() })))
        }
    };
    Text { out, err: Vec::new() }
}

pub(super) fn only_header(header: &Option<pb::ResponseHeader>) -> Vec<u8> {
    line(&OnlyHeader { header: Header::of(header) })
}

pub(super) fn members(response: &pb::MemberListResponse) -> Vec<u8> {
    line(&Members::from(response))
}

pub(super) fn member_added(response: &pb::MemberAddResponse) -> Vec<u8> {
    line(&MemberAdded {
        header: Header::of(&response.header),
        member: response.member.as_ref().map(Member::from),
        members: response.members.iter().map(Member::from).collect(),
    })
}

pub(super) fn downgrade(response: &pb::DowngradeResponse) -> Vec<u8> {
    line(&DowngradeAnswer { header: Header::of(&response.header), version: &response.version })
}

/// A text as JSON, in quotes.
#[must_use]
pub fn string(text: &str) -> String {
    String::from_utf8_lossy(&to_vec(&text)).into_owned()
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = to_vec(value);
    line.push(b'\n');
    line
}

fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Go);
    value.serialize(&mut serializer).expect("a vector takes everything, and keys are strings");
    out
}

/// A list without elements is `null`: Go never made one.
fn list<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then_some(items)
}

/// Go makes texts safe to be put into HTML and JavaScript.
struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        let mut written = 0;
        for (at, c) in text.char_indices() {
            if matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
                out.write_all(&text.as_bytes()[written..at])?;
                write!(out, "\\u{:04x}", u32::from(c))?;
                written = at + c.len_utf8();
            }
        }
        out.write_all(&text.as_bytes()[written..])
    }
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Clone, Copy, Serialize)]
struct Header {
    #[serde(skip_serializing_if = "is_default")]
    cluster_id: u64,
    #[serde(skip_serializing_if = "is_default")]
    member_id: u64,
    #[serde(skip_serializing_if = "is_default")]
    revision: i64,
    #[serde(skip_serializing_if = "is_default")]
    raft_term: u64,
}

impl Header {
    fn of(header: &Option<pb::ResponseHeader>) -> Option<Self> {
        header.map(Header::from)
    }
}

impl From<pb::ResponseHeader> for Header {
    fn from(header: pb::ResponseHeader) -> Self {
        Header {
            cluster_id: header.cluster_id,
            member_id: header.member_id,
            revision: header.revision,
            raft_term: header.raft_term,
        }
    }
}

/// What an answer about users and roles has besides its header.
pub(super) enum Auth<'a> {
    /// Whether it is on, and the auth revision.
    Status(bool, u64),
    /// Names of roles; none also stands for an answer that has only its header.
    Roles(&'a [String]),
    /// Names of users.
    Users(&'a [String]),
    /// What a role may do.
    Permissions(&'a [authpb::Permission]),
}

pub(super) fn auth(header: &Option<pb::ResponseHeader>, body: Auth<'_>) -> Vec<u8> {
    let mut json = AuthBody { header: Header::of(header), ..AuthBody::default() };
    match body {
        Auth::Status(enabled, auth_revision) => {
            (json.enabled, json.auth_revision) = (enabled, auth_revision);
        }
        Auth::Roles(roles) => json.roles = roles,
        Auth::Users(users) => json.users = users,
        Auth::Permissions(permissions) => json.perm = permissions.iter().map(Permission::from).collect(),
    }
    line(&json)
}

#[derive(Default, Serialize)]
struct AuthBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(skip_serializing_if = "is_default")]
    enabled: bool,
    #[serde(rename = "authRevision", skip_serializing_if = "is_default")]
    auth_revision: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    roles: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    users: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    perm: Vec<Permission<'a>>,
}

#[derive(Serialize)]
struct Permission<'a> {
    #[serde(rename = "permType", skip_serializing_if = "is_default")]
    perm_type: i32,
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    key: Bytes<'a>,
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    range_end: Bytes<'a>,
}

impl<'a> From<&'a authpb::Permission> for Permission<'a> {
    fn from(permission: &'a authpb::Permission) -> Self {
        let authpb::Permission { perm_type, key, range_end } = permission;
        Permission { perm_type: *perm_type, key: Bytes(key), range_end: Bytes(range_end) }
    }
}

#[derive(Serialize)]
struct OnlyHeader {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
}

#[derive(Serialize)]
struct KeyValue<'a> {
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    key: Bytes<'a>,
    #[serde(skip_serializing_if = "is_default")]
    create_revision: i64,
    #[serde(skip_serializing_if = "is_default")]
    mod_revision: i64,
    #[serde(skip_serializing_if = "is_default")]
    version: i64,
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    value: Bytes<'a>,
    #[serde(skip_serializing_if = "is_default")]
    lease: i64,
}

impl<'a> From<&'a mvccpb::KeyValue> for KeyValue<'a> {
    fn from(pair: &'a mvccpb::KeyValue) -> Self {
        KeyValue {
            key: Bytes(&pair.key),
            create_revision: pair.create_revision,
            mod_revision: pair.mod_revision,
            version: pair.version,
            value: Bytes(&pair.value),
            lease: pair.lease,
        }
    }
}

fn pairs(pairs: &[mvccpb::KeyValue]) -> Vec<KeyValue<'_>> {
    pairs.iter().map(KeyValue::from).collect()
}

#[derive(Serialize)]
struct Range<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kvs: Vec<KeyValue<'a>>,
    #[serde(skip_serializing_if = "is_default")]
    more: bool,
    #[serde(skip_serializing_if = "is_default")]
    count: i64,
}

impl<'a> From<&'a pb::RangeResponse> for Range<'a> {
    fn from(response: &'a pb::RangeResponse) -> Self {
        let (header, kvs) = (Header::of(&response.header), pairs(&response.kvs));
        Range { header, kvs, more: response.more, count: response.count }
    }
}

#[derive(Serialize)]
struct Put<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_kv: Option<KeyValue<'a>>,
}

impl<'a> From<&'a pb::PutResponse> for Put<'a> {
    fn from(response: &'a pb::PutResponse) -> Self {
        let prev_kv = response.prev_kv.as_ref().map(KeyValue::from);
        Put { header: Header::of(&response.header), prev_kv }
    }
}

#[derive(Serialize)]
struct DeleteRange<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(skip_serializing_if = "is_default")]
    deleted: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prev_kvs: Vec<KeyValue<'a>>,
}

impl<'a> From<&'a pb::DeleteRangeResponse> for DeleteRange<'a> {
    fn from(response: &'a pb::DeleteRangeResponse) -> Self {
        let (header, prev_kvs) = (Header::of(&response.header), pairs(&response.prev_kvs));
        DeleteRange { header, deleted: response.deleted, prev_kvs }
    }
}

#[derive(Serialize)]
struct Txn<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(skip_serializing_if = "is_default")]
    succeeded: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    responses: Vec<ResponseOp<'a>>,
}

#[derive(Serialize)]
struct ResponseOp<'a> {
    #[serde(rename = "Response")]
    response: OneResponse<'a>,
}

#[derive(Default, Serialize)]
struct OneResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    response_range: Option<Range<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_put: Option<Put<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_delete_range: Option<DeleteRange<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_txn: Option<Txn<'a>>,
}

impl<'a> From<&'a pb::TxnResponse> for Txn<'a> {
    fn from(response: &'a pb::TxnResponse) -> Self {
        use pb::response_op::Response;
        let responses = response.responses.iter().map(|op| {
            let mut one = OneResponse::default();
            match &op.response {
                Some(Response::ResponseRange(response)) => one.response_range = Some(response.into()),
                Some(Response::ResponsePut(response)) => one.response_put = Some(response.into()),
                Some(Response::ResponseDeleteRange(response)) => {
                    one.response_delete_range = Some(response.into());
                }
                Some(Response::ResponseTxn(response)) => one.response_txn = Some(response.into()),
                None => {}
            }
            ResponseOp { response: one }
        });
        Txn {
            header: Header::of(&response.header),
            succeeded: response.succeeded,
            responses: responses.collect(),
        }
    }
}

#[derive(Serialize)]
struct Event<'a> {
    #[serde(skip_serializing_if = "is_default")]
    r#type: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    kv: Option<KeyValue<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_kv: Option<KeyValue<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Watch<'a> {
    header: Header,
    events: Option<Vec<Event<'a>>>,
    compact_revision: i64,
    canceled: bool,
    created: bool,
    cancel_reason: &'a str,
}

impl<'a> From<&'a pb::WatchResponse> for Watch<'a> {
    fn from(response: &'a pb::WatchResponse) -> Self {
        let event = |event: &'a mvccpb::Event| Event {
            r#type: event.r#type,
            kv: event.kv.as_ref().map(KeyValue::from),
            prev_kv: event.prev_kv.as_ref().map(KeyValue::from),
        };
        Watch {
            header: super::header_of(&response.header).into(),
            events: list(response.events.iter().map(event)),
            compact_revision: response.compact_revision,
            canceled: response.canceled,
            created: response.created,
            cancel_reason: &response.cancel_reason,
        }
    }
}

#[derive(Serialize)]
struct LeaseGrant<'a> {
    #[serde(flatten)]
    header: Option<Header>,
    #[serde(rename = "ID")]
    id: i64,
    #[serde(rename = "TTL")]
    ttl: i64,
    #[serde(rename = "Error")]
    error: &'a str,
}

#[derive(Serialize)]
struct LeaseKeepAlive {
    #[serde(flatten)]
    header: Option<Header>,
    #[serde(rename = "ID")]
    id: i64,
    #[serde(rename = "TTL")]
    ttl: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct LeaseTimeToLive<'a> {
    #[serde(flatten)]
    header: Option<Header>,
    id: i64,
    ttl: i64,
    granted_ttl: i64,
    keys: Option<Vec<Bytes<'a>>>,
}

impl<'a> From<&'a pb::LeaseTimeToLiveResponse> for LeaseTimeToLive<'a> {
    fn from(response: &'a pb::LeaseTimeToLiveResponse) -> Self {
        LeaseTimeToLive {
            header: Header::of(&response.header),
            id: response.id,
            ttl: response.ttl,
            granted_ttl: response.granted_ttl,
            keys: list(response.keys.iter().map(|key| Bytes(key))),
        }
    }
}

#[derive(Serialize)]
struct LeaseLeases {
    #[serde(flatten)]
    header: Option<Header>,
    leases: Vec<LeaseId>,
}

#[derive(Serialize)]
struct LeaseId {
    id: i64,
}

#[derive(Serialize)]
struct Members<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<Member<'a>>,
}

#[derive(Serialize)]
struct Member<'a> {
    #[serde(rename = "ID", skip_serializing_if = "is_default")]
    id: u64,
    #[serde(flatten)]
    facts: MemberFacts<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberFacts<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(rename = "peerURLs", skip_serializing_if = "<[_]>::is_empty")]
    peer_urls: &'a [String],
    #[serde(rename = "clientURLs", skip_serializing_if = "<[_]>::is_empty")]
    client_urls: &'a [String],
    #[serde(skip_serializing_if = "is_default")]
    is_learner: bool,
}

impl<'a> From<&'a pb::Member> for MemberFacts<'a> {
    fn from(member: &'a pb::Member) -> Self {
        MemberFacts {
            name: &member.name,
            peer_urls: &member.peer_ur_ls,
            client_urls: &member.client_ur_ls,
            is_learner: member.is_learner,
        }
    }
}

impl<'a> From<&'a pb::MemberListResponse> for Members<'a> {
    fn from(response: &'a pb::MemberListResponse) -> Self {
        Members {
            header: Header::of(&response.header),
            members: response.members.iter().map(Member::from).collect(),
        }
    }
}

impl<'a> From<&'a pb::Member> for Member<'a> {
    fn from(member: &'a pb::Member) -> Self {
        Member { id: member.id, facts: member.into() }
    }
}

#[derive(Serialize)]
struct MemberAdded<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<Member<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<Member<'a>>,
}

#[derive(Serialize)]
struct DowngradeAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
}

/// Members with `--hex`, which nothing else heeds: ids are texts.
#[derive(Serialize)]
struct HexMembers<'a> {
    header: HexHeader,
    members: Vec<HexMember<'a>>,
}

#[derive(Serialize)]
struct HexHeader {
    cluster_id: String,
    member_id: String,
    #[serde(skip_serializing_if = "is_default")]
    revision: i64,
    #[serde(skip_serializing_if = "is_default")]
    raft_term: u64,
}

#[derive(Serialize)]
struct HexMember<'a> {
    #[serde(rename = "ID")]
    id: String,
    #[serde(flatten)]
    facts: MemberFacts<'a>,
}

impl<'a> From<&'a pb::MemberListResponse> for HexMembers<'a> {
    fn from(response: &'a pb::MemberListResponse) -> Self {
        let header = super::header_of(&response.header);
        let member =
            |member: &'a pb::Member| HexMember { id: format!("{:x}", member.id), facts: member.into() };
        HexMembers {
            header: HexHeader {
                cluster_id: format!("{:x}", header.cluster_id),
                member_id: format!("{:x}", header.member_id),
                revision: header.revision,
                raft_term: header.raft_term,
            },
            members: response.members.iter().map(member).collect(),
        }
    }
}

#[derive(Serialize)]
struct Alarms {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alarms: Vec<Alarm>,
}

#[derive(Serialize)]
struct Alarm {
    #[serde(rename = "memberID", skip_serializing_if = "is_default")]
    member_id: u64,
    #[serde(skip_serializing_if = "is_default")]
    alarm: i32,
}

impl From<&pb::AlarmResponse> for Alarms {
    fn from(response: &pb::AlarmResponse) -> Self {
        let alarms =
            response.alarms.iter().map(|alarm| Alarm { member_id: alarm.member_id, alarm: alarm.alarm });
        Alarms { header: Header::of(&response.header), alarms: alarms.collect() }
    }
}

#[derive(Serialize)]
struct Health<'a> {
    endpoint: &'a str,
    health: bool,
    took: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> From<&'a EndpointHealth> for Health<'a> {
    fn from(endpoint: &'a EndpointHealth) -> Self {
        Health {
            endpoint: &endpoint.endpoint,
            health: endpoint.error.is_none(),
            took: endpoint.took_text(),
            error: endpoint.error.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct EndpointStatus<'a> {
    #[serde(rename = "Endpoint")]
    endpoint: &'a str,
    #[serde(rename = "Status")]
    status: Status<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    db_size: i64,
    #[serde(skip_serializing_if = "is_default")]
    leader: u64,
    #[serde(skip_serializing_if = "is_default")]
    raft_index: u64,
    #[serde(skip_serializing_if = "is_default")]
    raft_term: u64,
    #[serde(skip_serializing_if = "is_default")]
    raft_applied_index: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [String],
    #[serde(skip_serializing_if = "is_default")]
    db_size_in_use: i64,
    #[serde(skip_serializing_if = "is_default")]
    is_learner: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    storage_version: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    db_size_quota: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    downgrade_info: Option<Downgrade<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Downgrade<'a> {
    #[serde(skip_serializing_if = "is_default")]
    enabled: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    target_version: &'a str,
}

impl<'a> From<&'a pb::StatusResponse> for Status<'a> {
    fn from(status: &'a pb::StatusResponse) -> Self {
        let downgrade = |info: &'a pb::DowngradeInfo| Downgrade {
            enabled: info.enabled,
            target_version: &info.target_version,
        };
        Status {
            header: Header::of(&status.header),
            version: &status.version,
            db_size: status.db_size,
            leader: status.leader,
            raft_index: status.raft_index,
            raft_term: status.raft_term,
            raft_applied_index: status.raft_applied_index,
            errors: &status.errors,
            db_size_in_use: status.db_size_in_use,
            is_learner: status.is_learner,
            storage_version: &status.storage_version,
            db_size_quota: status.db_size_quota,
            downgrade_info: status.downgrade_info.as_ref().map(downgrade),
        }
    }
}

#[derive(Serialize)]
struct EndpointHash<'a> {
    #[serde(rename = "Endpoint")]
    endpoint: &'a str,
    #[serde(rename = "HashKV")]
    hash: HashKv,
}

#[derive(Serialize)]
struct HashKv {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(skip_serializing_if = "is_default")]
    hash: u32,
    #[serde(skip_serializing_if = "is_default")]
    compact_revision: i64,
    #[serde(skip_serializing_if = "is_default")]
    hash_revision: i64,
}

impl From<&pb::HashKvResponse> for HashKv {
    fn from(hash: &pb::HashKvResponse) -> Self {
        HashKv {
            header: Header::of(&hash.header),
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.hash_revision,
        }
    }
}
