//! Commands as wire messages: etcd's `InternalRaftRequest` on the log, and the request messages at the edge.
//!
//! Two readers with two tempers. The *edge* ([`RangeQuery::from_wire`], [`Txn::from_wire`], ...) refuses what etcd
//! refuses. The *log* ([`Request::decode`]) holds what some member's edge has let through, perhaps one of another
//! version, so it takes numbers that it does not know as etcd's apply takes them. A command field that it does
//! not know is [`Command::Nothing`].
//!
//! Keys and values are never copied on the way in: they share the buffer of the message.

use super::{
    AlarmAction, AlarmCommand, AlarmType, AuthCommand, ClusterVersionSet, Command, Compact, Compare,
    CompareResult, CompareTarget, DeleteRange, DowngradeInfoSet, Identity, LeaseGrant, LeaseRemaining,
    LeaseRevoke, MemberAttributesSet, Op, Put, RangeQuery, Request, RequestHeader, SortOrder, SortTarget,
    Txn,
};
use crate::types::{KeyRange, LeaseId, MemberId, RequestId, Revision};
use bytes::Bytes;
use prost::Message;
use tenure_api::error::EtcdError;
use tenure_api::etcdserverpb::{self as pb, compare, range_request, request_op};
use tenure_api::membershippb;
use thiserror::Error;

mod auth;

#[cfg(test)]
mod tests;

/// The number that an unknown enumerator is written as: unknown to every version, so every member takes it the same way.
const UNKNOWN: i32 = i32::MAX;

/// An entry of the log is not a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes are no protobuf message of this shape.
    #[error("malformed request in the log: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The message holds what no edge lets through.
    #[error("invalid request in the log: {0}")]
    Invalid(EtcdError),
}

impl Request {
    /// The bytes that go into the log: an `InternalRaftRequest` with the header in field 100.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.to_wire().encode_to_vec().into()
    }

    /// How many bytes [`Request::encode`] makes, which is what `--max-request-bytes` limits (Q7).
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.to_wire().encoded_len()
    }

    /// The request that an entry of the log holds.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not a request that a member can have proposed.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut wire = pb::InternalRaftRequest::decode(bytes)?;
        let header = wire.header.take().unwrap_or_default();
        let id = if wire.id != 0 { wire.id } else { header.id };
        let header = RequestHeader {
            id: RequestId(id),
            identity: Identity { username: header.username, auth_revision: header.auth_revision },
        };
        let command = Command::from_wire(wire).map_err(DecodeError::Invalid)?;
        Ok(Self { header, command })
    }

    fn to_wire(&self) -> pb::InternalRaftRequest {
        let header = pb::RequestHeader {
            id: self.header.id.0,
            username: self.header.identity.username.clone(),
            auth_revision: self.header.identity.auth_revision,
        };
        let mut wire = self.command.to_wire();
        wire.header = Some(header);
        wire
    }
}

impl Command {
    /// The command of a message. Of several fields the first in etcd's order of dispatch counts.
    fn from_wire(mut wire: pb::InternalRaftRequest) -> Result<Self, EtcdError> {
        let command = if let Some(set) = wire.cluster_version_set {
            Command::ClusterVersionSet(ClusterVersionSet { version: set.ver })
        } else if let Some(set) = wire.cluster_member_attr_set {
            Command::MemberAttributesSet(MemberAttributesSet::from_wire(set))
        } else if let Some(set) = wire.downgrade_info_set {
            Command::DowngradeInfoSet(DowngradeInfoSet { enabled: set.enabled, version: set.ver })
        } else if wire.range.is_some() {
            Command::Nothing
        } else if let Some(put) = wire.put {
            Command::Put(Put::from_wire(put))
        } else if let Some(delete) = wire.delete_range {
            Command::DeleteRange(DeleteRange::from_wire(delete))
        } else if let Some(txn) = wire.txn {
            Command::Txn(Txn::read(txn, Reader::Log)?)
        } else if let Some(compact) = wire.compaction {
            Command::Compact(Compact::from_wire(compact))
        } else if let Some(grant) = wire.lease_grant {
            Command::LeaseGrant(LeaseGrant { id: LeaseId(grant.id), ttl_seconds: grant.ttl })
        } else if let Some(revoke) = wire.lease_revoke {
            Command::LeaseRevoke(LeaseRevoke { id: LeaseId(revoke.id) })
        } else if let Some(checkpoint) = wire.lease_checkpoint {
            Command::LeaseCheckpoint(checkpoint.checkpoints.iter().map(LeaseRemaining::from_wire).collect())
        } else if let Some(alarm) = wire.alarm {
            AlarmCommand::from_wire(alarm).map_or(Command::Nothing, Command::Alarm)
        } else if let Some(auth) = AuthCommand::from_wire(&mut wire) {
            Command::Auth(auth)
        } else {
            Command::Nothing
        };
        Ok(command)
    }

    fn to_wire(&self) -> pb::InternalRaftRequest {
        let mut wire = pb::InternalRaftRequest::default();
        match self {
            Command::Put(put) => wire.put = Some(put.to_wire()),
            Command::DeleteRange(delete) => wire.delete_range = Some(delete.to_wire()),
            Command::Txn(txn) => wire.txn = Some(txn.to_wire()),
            Command::Compact(compact) => wire.compaction = Some(compact.to_wire()),
            Command::LeaseGrant(grant) => {
                wire.lease_grant = Some(pb::LeaseGrantRequest { ttl: grant.ttl_seconds, id: grant.id.0 });
            }
            Command::LeaseRevoke(revoke) => {
                wire.lease_revoke = Some(pb::LeaseRevokeRequest { id: revoke.id.0 });
            }
            Command::LeaseCheckpoint(remaining) => {
                let checkpoints = remaining.iter().copied().map(LeaseRemaining::to_wire).collect();
                wire.lease_checkpoint = Some(pb::LeaseCheckpointRequest { checkpoints });
            }
            Command::Alarm(alarm) => wire.alarm = Some(alarm.to_wire()),
            Command::ClusterVersionSet(set) => {
                let ver = set.version.clone();
                wire.cluster_version_set = Some(membershippb::ClusterVersionSetRequest { ver });
            }
            Command::MemberAttributesSet(set) => wire.cluster_member_attr_set = Some(set.to_wire()),
            Command::DowngradeInfoSet(set) => {
                let ver = set.version.clone();
                wire.downgrade_info_set =
                    Some(membershippb::DowngradeInfoSetRequest { enabled: set.enabled, ver });
            }
            Command::Auth(auth) => auth.to_wire(&mut wire),
            Command::Nothing => {}
        }
        wire
    }
}

/// Who reads a message, which decides what an unknown number means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// The edge: refuses it.
    Edge,
    /// The log: some edge has let it through, so it means the default.
    Log,
}

impl RangeQuery {
    /// The query that a client asks for. An empty key is not looked at.
    ///
    /// # Errors
    /// [`EtcdError::InvalidSortOption`] for a sort order or target that does not exist (R7).
    pub fn from_wire(wire: pb::RangeRequest) -> Result<Self, EtcdError> {
        Self::read(wire, Reader::Edge)
    }

    fn read(wire: pb::RangeRequest, reader: Reader) -> Result<Self, EtcdError> {
        let order = match range_request::SortOrder::try_from(wire.sort_order) {
            Ok(range_request::SortOrder::None) => SortOrder::None,
            Ok(range_request::SortOrder::Ascend) => SortOrder::Ascend,
            Ok(range_request::SortOrder::Descend) => SortOrder::Descend,
            Err(_) if reader == Reader::Log => SortOrder::None,
            Err(_) => return Err(EtcdError::InvalidSortOption),
        };
        let target = match range_request::SortTarget::try_from(wire.sort_target) {
            Ok(range_request::SortTarget::Key) => SortTarget::Key,
            Ok(range_request::SortTarget::Version) => SortTarget::Version,
            Ok(range_request::SortTarget::Create) => SortTarget::Create,
            Ok(range_request::SortTarget::Mod) => SortTarget::Mod,
            Ok(range_request::SortTarget::Value) => SortTarget::Value,
            Err(_) if reader == Reader::Log => SortTarget::Key,
            Err(_) => return Err(EtcdError::InvalidSortOption),
        };
        Ok(Self {
            range: KeyRange::from_wire(wire.key, wire.range_end),
            limit: wire.limit,
            revision: wire.revision,
            sort_order: order,
            sort_target: target,
            serializable: wire.serializable,
            keys_only: wire.keys_only,
            count_only: wire.count_only,
            min_mod_revision: wire.min_mod_revision,
            max_mod_revision: wire.max_mod_revision,
            min_create_revision: wire.min_create_revision,
            max_create_revision: wire.max_create_revision,
        })
    }

    /// The message that asks for this query.
    #[must_use]
    pub fn to_wire(&self) -> pb::RangeRequest {
        let order = match self.sort_order {
            SortOrder::None => range_request::SortOrder::None,
            SortOrder::Ascend => range_request::SortOrder::Ascend,
            SortOrder::Descend => range_request::SortOrder::Descend,
        };
        let target = match self.sort_target {
            SortTarget::Key => range_request::SortTarget::Key,
            SortTarget::Version => range_request::SortTarget::Version,
            SortTarget::Create => range_request::SortTarget::Create,
            SortTarget::Mod => range_request::SortTarget::Mod,
            SortTarget::Value => range_request::SortTarget::Value,
        };
        pb::RangeRequest {
            key: self.range.start.0.clone(),
            range_end: self.range.wire_end(),
            limit: self.limit,
            revision: self.revision,
            sort_order: order.into(),
            sort_target: target.into(),
            serializable: self.serializable,
            keys_only: self.keys_only,
            count_only: self.count_only,
            min_mod_revision: self.min_mod_revision,
            max_mod_revision: self.max_mod_revision,
            min_create_revision: self.min_create_revision,
            max_create_revision: self.max_create_revision,
        }
    }
}

impl Put {
    /// The put that a client asks for. What P1 refuses is not looked at.
    #[must_use]
    pub fn from_wire(wire: pb::PutRequest) -> Self {
        Self {
            key: wire.key,
            value: wire.value,
            lease: wire.lease,
            prev_kv: wire.prev_kv,
            ignore_value: wire.ignore_value,
            ignore_lease: wire.ignore_lease,
        }
    }

    /// The message that asks for this put.
    #[must_use]
    pub fn to_wire(&self) -> pb::PutRequest {
        pb::PutRequest {
            key: self.key.clone(),
            value: self.value.clone(),
            lease: self.lease,
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        }
    }
}

impl DeleteRange {
    /// The deletion that a client asks for. An empty key is not looked at.
    #[must_use]
    pub fn from_wire(wire: pb::DeleteRangeRequest) -> Self {
        Self { range: KeyRange::from_wire(wire.key, wire.range_end), prev_kv: wire.prev_kv }
    }

    /// The message that asks for this deletion.
    #[must_use]
    pub fn to_wire(&self) -> pb::DeleteRangeRequest {
        pb::DeleteRangeRequest {
            key: self.range.start.0.clone(),
            range_end: self.range.wire_end(),
            prev_kv: self.prev_kv,
        }
    }
}

impl Txn {
    /// The transaction that a client asks for. Its size and the keys in it are not looked at (T1 to T3 are the edge's
    /// to check, in etcd's order: before this).
    ///
    /// # Errors
    /// * [`EtcdError::KeyNotFound`] for an operation without a request (T2);
    /// * [`EtcdError::InvalidSortOption`] for a range with a sort order or target that does not exist.
    pub fn from_wire(wire: pb::TxnRequest) -> Result<Self, EtcdError> {
        Self::read(wire, Reader::Edge)
    }

    fn read(wire: pb::TxnRequest, reader: Reader) -> Result<Self, EtcdError> {
        let branch = |ops: Vec<pb::RequestOp>| {
            ops.into_iter().map(|op| Op::read(op, reader)).collect::<Result<_, _>>()
        };
        Ok(Self {
            compare: wire.compare.into_iter().map(Compare::from_wire).collect(),
            success: branch(wire.success)?,
            failure: branch(wire.failure)?,
        })
    }

    /// The message that asks for this transaction.
    #[must_use]
    pub fn to_wire(&self) -> pb::TxnRequest {
        pb::TxnRequest {
            compare: self.compare.iter().map(Compare::to_wire).collect(),
            success: self.success.iter().map(Op::to_wire).collect(),
            failure: self.failure.iter().map(Op::to_wire).collect(),
        }
    }
}

impl Op {
    fn read(wire: pb::RequestOp, reader: Reader) -> Result<Self, EtcdError> {
        match wire.request {
            Some(request_op::Request::RequestRange(range)) => Ok(Op::Range(RangeQuery::read(range, reader)?)),
            Some(request_op::Request::RequestPut(put)) => Ok(Op::Put(Put::from_wire(put))),
            Some(request_op::Request::RequestDeleteRange(delete)) => {
                Ok(Op::DeleteRange(DeleteRange::from_wire(delete)))
            }
            Some(request_op::Request::RequestTxn(txn)) => Ok(Op::Txn(Txn::read(txn, reader)?)),
            None => Err(EtcdError::KeyNotFound),
        }
    }

    fn to_wire(&self) -> pb::RequestOp {
        let request = match self {
            Op::Range(range) => request_op::Request::RequestRange(range.to_wire()),
            Op::Put(put) => request_op::Request::RequestPut(put.to_wire()),
            Op::DeleteRange(delete) => request_op::Request::RequestDeleteRange(delete.to_wire()),
            Op::Txn(txn) => request_op::Request::RequestTxn(txn.to_wire()),
        };
        pb::RequestOp { request: Some(request) }
    }
}

impl Compare {
    /// The compare that a client asks for. An operand of another kind than the target counts as unset: 0, or empty
    /// (T5).
    #[must_use]
    pub fn from_wire(wire: pb::Compare) -> Self {
        use compare::{CompareTarget as Target, TargetUnion};
        let operand = wire.target_union;
        let target = match Target::try_from(wire.target) {
            Ok(Target::Version) => CompareTarget::Version(match operand {
                Some(TargetUnion::Version(version)) => version,
                _ => 0,
            }),
            Ok(Target::Create) => CompareTarget::Create(match operand {
                Some(TargetUnion::CreateRevision(revision)) => revision,
                _ => 0,
            }),
            Ok(Target::Mod) => CompareTarget::Mod(match operand {
                Some(TargetUnion::ModRevision(revision)) => revision,
                _ => 0,
            }),
            Ok(Target::Value) => CompareTarget::Value(match operand {
                Some(TargetUnion::Value(value)) => value,
                _ => Bytes::new(),
            }),
            Ok(Target::Lease) => CompareTarget::Lease(match operand {
                Some(TargetUnion::Lease(lease)) => lease,
                _ => 0,
            }),
            Err(_) => CompareTarget::Unknown,
        };
        let result = match compare::CompareResult::try_from(wire.result) {
            Ok(compare::CompareResult::Equal) => Some(CompareResult::Equal),
            Ok(compare::CompareResult::Greater) => Some(CompareResult::Greater),
            Ok(compare::CompareResult::Less) => Some(CompareResult::Less),
            Ok(compare::CompareResult::NotEqual) => Some(CompareResult::NotEqual),
            Err(_) => None,
        };
        Self { range: KeyRange::from_wire(wire.key, wire.range_end), target, result }
    }

    /// The message that asks for this compare.
    #[must_use]
    pub fn to_wire(&self) -> pb::Compare {
        use compare::{CompareTarget as Target, TargetUnion};
        let (target, target_union) = match &self.target {
            CompareTarget::Version(version) => (Target::Version.into(), Some(TargetUnion::Version(*version))),
            CompareTarget::Create(revision) => {
                (Target::Create.into(), Some(TargetUnion::CreateRevision(*revision)))
            }
            CompareTarget::Mod(revision) => (Target::Mod.into(), Some(TargetUnion::ModRevision(*revision))),
            CompareTarget::Value(value) => (Target::Value.into(), Some(TargetUnion::Value(value.clone()))),
            CompareTarget::Lease(lease) => (Target::Lease.into(), Some(TargetUnion::Lease(*lease))),
            CompareTarget::Unknown => (UNKNOWN, None),
        };
        let result = match self.result {
            Some(CompareResult::Equal) => compare::CompareResult::Equal.into(),
            Some(CompareResult::Greater) => compare::CompareResult::Greater.into(),
            Some(CompareResult::Less) => compare::CompareResult::Less.into(),
            Some(CompareResult::NotEqual) => compare::CompareResult::NotEqual.into(),
            None => UNKNOWN,
        };
        pb::Compare {
            result,
            target,
            key: self.range.start.0.clone(),
            range_end: self.range.wire_end(),
            target_union,
        }
    }
}

impl Compact {
    /// The compaction that a client asks for.
    #[must_use]
    pub fn from_wire(wire: pb::CompactionRequest) -> Self {
        Self { revision: Revision(wire.revision), physical: wire.physical }
    }

    /// The message that asks for this compaction.
    #[must_use]
    pub fn to_wire(self) -> pb::CompactionRequest {
        pb::CompactionRequest { revision: self.revision.0, physical: self.physical }
    }
}

impl LeaseRemaining {
    fn from_wire(wire: &pb::LeaseCheckpoint) -> Self {
        Self { id: LeaseId(wire.id), remaining_ttl_seconds: wire.remaining_ttl }
    }

    fn to_wire(self) -> pb::LeaseCheckpoint {
        pb::LeaseCheckpoint { id: self.id.0, remaining_ttl: self.remaining_ttl_seconds }
    }
}

impl AlarmType {
    /// The number of this alarm on the wire; 0 is "none" or "every kind".
    #[must_use]
    pub fn to_wire(self) -> pb::AlarmType {
        match self {
            AlarmType::NoSpace => pb::AlarmType::Nospace,
            AlarmType::Corrupt => pb::AlarmType::Corrupt,
        }
    }
}

impl AlarmCommand {
    /// The alarm command that a client asks for; `None` for an action or an alarm that does not exist. etcd crashes on
    /// an unknown action (reference 11, Q6), which is not copied.
    #[must_use]
    pub fn from_wire(wire: pb::AlarmRequest) -> Option<Self> {
        use pb::alarm_request::AlarmAction as Action;
        let action = match Action::try_from(wire.action).ok()? {
            Action::Get => AlarmAction::Get,
            Action::Activate => AlarmAction::Activate,
            Action::Deactivate => AlarmAction::Deactivate,
        };
        let alarm = match pb::AlarmType::try_from(wire.alarm).ok()? {
            pb::AlarmType::None => None,
            pb::AlarmType::Nospace => Some(AlarmType::NoSpace),
            pb::AlarmType::Corrupt => Some(AlarmType::Corrupt),
        };
        Some(Self { action, member: MemberId(wire.member_id), alarm })
    }

    /// The message that asks for this.
    #[must_use]
    pub fn to_wire(self) -> pb::AlarmRequest {
        use pb::alarm_request::AlarmAction as Action;
        let action = match self.action {
            AlarmAction::Get => Action::Get,
            AlarmAction::Activate => Action::Activate,
            AlarmAction::Deactivate => Action::Deactivate,
        };
        let alarm = self.alarm.map_or(pb::AlarmType::None, AlarmType::to_wire);
        pb::AlarmRequest { action: action.into(), member_id: self.member.0, alarm: alarm.into() }
    }
}

impl MemberAttributesSet {
    fn from_wire(wire: membershippb::ClusterMemberAttrSetRequest) -> Self {
        let attributes = wire.member_attributes.unwrap_or_default();
        Self { member: MemberId(wire.member_id), name: attributes.name, client_urls: attributes.client_urls }
    }

    fn to_wire(&self) -> membershippb::ClusterMemberAttrSetRequest {
        let attributes =
            membershippb::Attributes { name: self.name.clone(), client_urls: self.client_urls.clone() };
        membershippb::ClusterMemberAttrSetRequest {
            member_id: self.member.0,
            member_attributes: Some(attributes),
        }
    }
}
