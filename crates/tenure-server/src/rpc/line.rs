//! Those who stand in line under a name: what locks and elections have in common.
//!
//! Whoever wants a lock or to be elected puts the key `name/` and his lease in hexadecimal. The oldest key is first in
//! line. Everybody else waits for the key just before his own to go, so a change wakes one, not all.

use super::watch;
use crate::auth::Caller;
use crate::limits;
use crate::member::Member;
use bytes::Bytes;
use prost::Message;
use std::convert::Infallible;
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_api::etcdserverpb::{
    WatchCreateRequest, WatchRequest, watch_create_request::FilterType, watch_request::RequestUnion,
};
use tenure_api::mvccpb::KeyValue;
use tenure_api::wire::WatchResponse;
use tenure_core::command::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, LeaseGrant, LeaseRevoke, Op, Put,
    RangeQuery, SortOrder, SortTarget, Txn,
};
use tenure_core::mvcc::check;
use tenure_core::state::{self, DeleteOutcome, OpOutcome, RangeOutcome, TxnOutcome};
use tenure_core::types::{Key, KeyRange, KvBytes, LeaseId, Revision};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

/// The life of a lease that is made for a caller who brought none.
const SESSION_TTL_SECONDS: i64 = 60;

/// How often such a lease is renewed while its owner waits.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(SESSION_TTL_SECONDS as u64 / 3);

/// An error as these services tell it. In etcd they are clients of their own server, whose errors lose their code on the way.
pub(super) fn told(error: EtcdError) -> Status {
    if error.known_to_clients() { Status::unknown(error.text()) } else { error.into() }
}

/// The operations of a member that standing in line needs.
#[derive(Clone)]
pub(super) struct Line {
    member: Member,
    /// Who stands in it: whatever is done is done in his name.
    caller: Caller,
}

/// The lease that somebody stands in line with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// The lease.
    pub lease: LeaseId,
    /// Whether it was made for this call.
    is_ours: bool,
}

/// A place in line.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The key.
    pub key: Bytes,
    /// The revision that created it.
    pub created: Revision,
    /// The revision when the place was taken or found.
    pub revision: Revision,
    /// Whether it was the first then.
    pub is_first: bool,
    /// The pair that was found; nothing if the place was taken just now.
    pub found: Option<KeyValue>,
    prefix: Bytes,
}

impl Line {
    pub(super) fn new<T>(member: &Member, request: &Request<T>) -> Self {
        Self { member: member.clone(), caller: Caller::of(request) }
    }

    pub(super) fn member(&self) -> &Member {
        &self.member
    }

    /// The lease that the caller brought, or one that is made for him.
    pub(super) async fn session(&self, lease: i64) -> Result<Session, Status> {
        if lease != 0 {
            return Ok(Session { lease: LeaseId(lease), is_ours: false });
        }
        let id = self.member.choose_lease_id();
        let ttl_seconds = SESSION_TTL_SECONDS.max(self.member.lease_ttl_seconds_min());
        let grant = Command::LeaseGrant(LeaseGrant { id, ttl_seconds });
        match self.member.propose(&self.caller, grant).await.map_err(told)? {
            state::Response::LeaseGrant { lease, .. } => Ok(Session { lease: lease.id, is_ours: true }),
            other => Err(super::unexpected(&other)),
        }
    }

    /// Takes a place in line, or finds the one that the session has already.
    pub(super) async fn line_up(&self, name: &[u8], session: Session, value: Bytes) -> Result<Place, Status> {
        let prefix = prefix(name);
        let key = Bytes::from([&prefix[..], format!("{:x}", session.lease.0).as_bytes()].concat());
        let only = KeyRange::single(Key(key.clone()));
        let put = Put { key: key.clone(), value, lease: session.lease.0, ..Put::default() };
        let txn = Txn {
            compare: vec![Compare {
                range: only.clone(),
                target: CompareTarget::Create(0),
                result: Some(CompareResult::Equal),
            }],
            success: vec![Op::Put(put), Op::Range(self.by_creation(&prefix, SortOrder::Ascend))],
            failure: vec![
                Op::Range(RangeQuery::of(only)),
                Op::Range(self.by_creation(&prefix, SortOrder::Ascend)),
            ],
        };
        let outcome = self.txn(txn).await?;
        let revision = outcome.revision;
        let mut pairs = outcome.responses.into_iter().map(|response| match response {
            OpOutcome::Range(range) => first_pair(range),
            _ => Ok(None),
        });
        let found = pairs.next().transpose()?.flatten();
        let first = pairs.next().transpose()?.flatten();
        let created = found.as_ref().map_or(revision, |pair| Revision(pair.create_revision));
        let is_first = first.is_some_and(|pair| pair.create_revision == created.0);
        Ok(Place { key, created, revision, is_first, found, prefix })
    }

    /// Waits until everybody who lined up before is gone. Keeps the lease alive meanwhile if it was made for this call.
    /// If the caller goes away the place is given up.
    pub(super) async fn wait_first(&self, place: &Place, session: Session) -> Result<(), Status> {
        if place.is_first {
            return Ok(());
        }
        let mut leave = Leave { line: self.clone(), command: self.give_up(place, session) };
        let outcome = tokio::select! {
            outcome = self.wait_all_before(place) => outcome,
            never = self.renew(session) => match never {},
        };
        leave.command = None;
        outcome
    }

    async fn wait_all_before(&self, place: &Place) -> Result<(), Status> {
        loop {
            let mut query = self.by_creation(&place.prefix, SortOrder::Descend);
            query.max_create_revision = place.created.0 - 1;
            let before = self.range(query).await?;
            let revision = before.revision;
            let Some(pair) = first_pair(before)? else { return Ok(()) };
            self.wait_deleted(pair.key, revision.next()).await?;
        }
    }

    /// Waits until a key is deleted at `from` or later. May come back early, after a compaction.
    async fn wait_deleted(&self, key: Bytes, from: Revision) -> Result<(), Status> {
        let create = WatchCreateRequest {
            key,
            start_revision: from.0,
            filters: vec![FilterType::Noput.into()],
            ..Default::default()
        };
        let mut watch = self.watch(create);
        loop {
            let response = watch.next().await.unwrap_or_else(|| Err(told(EtcdError::Stopped)))?;
            if response.canceled || !response.events.is_empty() {
                return Ok(());
            }
        }
    }

    /// Watches as a client would.
    pub(super) fn watch(&self, create: WatchCreateRequest) -> ReceiverStream<Result<WatchResponse, Status>> {
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        watch::open(&self.member, self.caller.clone(), tokio_stream::once(Ok(request)))
    }

    /// What takes the caller out of the line.
    fn give_up(&self, place: &Place, session: Session) -> Option<Command> {
        if session.is_ours {
            return Some(Command::LeaseRevoke(LeaseRevoke { id: session.lease }));
        }
        // A place that was found belongs to whoever took it.
        place.found.is_none().then(|| Command::Txn(delete_if_created(place.key.clone(), place.created)))
    }

    async fn renew(&self, session: Session) -> Infallible {
        if !session.is_ours {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(RENEWAL_INTERVAL).await;
            // A renewal that fails is tried again in time; a lease that is gone shows when the wait is over.
            if let Ok(None) = self.member.lease_renew(&self.caller, session.lease).await {
                return std::future::pending().await;
            }
        }
    }

    /// Who is first in line.
    pub(super) async fn first(&self, name: &[u8]) -> Result<(Revision, Option<KeyValue>), Status> {
        let outcome = self.range(self.by_creation(&prefix(name), SortOrder::Ascend)).await?;
        Ok((outcome.revision, first_pair(outcome)?))
    }

    /// The newest pair of a key.
    pub(super) async fn pair(&self, key: Bytes) -> Result<(Revision, Option<KeyValue>), Status> {
        let outcome = self.range(RangeQuery::of(KeyRange::single(Key(key)))).await?;
        Ok((outcome.revision, first_pair(outcome)?))
    }

    fn by_creation(&self, prefix: &Bytes, sort_order: SortOrder) -> RangeQuery {
        let range = KeyRange::from_wire(prefix.clone(), prefix_end(prefix));
        RangeQuery { limit: 1, sort_order, sort_target: SortTarget::Create, ..RangeQuery::of(range) }
    }

    async fn range(&self, query: RangeQuery) -> Result<RangeOutcome, Status> {
        self.member.range(&self.caller, query).await.map_err(told)
    }

    /// A transaction that writes.
    pub(super) async fn txn(&self, txn: Txn) -> Result<TxnOutcome, Status> {
        check::txn(&txn, limits::TXN_OPS_MAX_DEFAULT as usize).map_err(told)?;
        match self.member.propose(&self.caller, Command::Txn(txn)).await.map_err(told)? {
            state::Response::Txn(outcome) => Ok(outcome),
            other => Err(super::unexpected(&other)),
        }
    }

    /// Deletes a key.
    pub(super) async fn delete(&self, key: Bytes) -> Result<DeleteOutcome, Status> {
        let delete = DeleteRange::single(Key(key));
        check::delete_range(&delete).map_err(told)?;
        match self.member.propose(&self.caller, Command::DeleteRange(delete)).await.map_err(told)? {
            state::Response::DeleteRange(outcome) => Ok(outcome),
            other => Err(super::unexpected(&other)),
        }
    }
}

/// Gives a place up when the caller goes away while he waits.
struct Leave {
    line: Line,
    command: Option<Command>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let Some(command) = self.command.take() else { return };
        if tokio::runtime::Handle::try_current().is_ok() {
            let Line { member, caller } = self.line.clone();
            // If it fails the place lasts as long as its lease.
            self.line.member.tasks().spawn(async move { drop(member.propose(&caller, command).await) });
        }
    }
}

/// Deletes a key if it still is the one that was created at a revision.
pub(super) fn delete_if_created(key: Bytes, created: Revision) -> Txn {
    Txn {
        compare: vec![created_at(key.clone(), created)],
        success: vec![Op::DeleteRange(DeleteRange::single(Key(key)))],
        failure: Vec::new(),
    }
}

/// Holds for a key that was created at a revision.
pub(super) fn created_at(key: Bytes, created: Revision) -> Compare {
    Compare {
        range: KeyRange::single(Key(key)),
        target: CompareTarget::Create(created.0),
        result: Some(CompareResult::Equal),
    }
}

/// What the keys of a line begin with.
pub(super) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// The first key after all keys of a line. A line's prefix ends with a slash, so there is one.
pub(super) fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

fn first_pair(outcome: RangeOutcome) -> Result<Option<KeyValue>, Status> {
    outcome.kvs.into_iter().next().map(|KvBytes(bytes)| decode(bytes)).transpose()
}

/// A stored pair or event, decoded.
pub(super) fn decode<T: Message + Default>(bytes: Bytes) -> Result<T, Status> {
    T::decode(bytes).map_err(|error| Status::internal(format!("what is stored is malformed: {error}")))
}
