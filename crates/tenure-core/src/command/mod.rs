//! The replicated command: everything that can change the state of a member, as a closed enum.
//!
//! On the log and on the wire between members a command is etcd's `InternalRaftRequest`;
//! [`Request::encode`] and [`Request::decode`] are the only places that know it.

mod auth;
mod wire;

pub use auth::{
    AuthCommand, Authenticate, Identity, Permission, PermissionKind, RoleGrantPermission,
    RoleRevokePermission, UserAdd, UserChangePassword, UserRole,
};
pub use wire::DecodeError;

use crate::types::{Key, KeyRange, LeaseId, MemberId, RequestId, Revision};
use bytes::Bytes;

/// One entry of the log: who asked, and for what.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Who asked.
    pub header: RequestHeader,
    /// What for.
    pub command: Command,
}

/// Who proposed a command, and in whose name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// The proposal.
    pub id: RequestId,
    /// In whose name.
    pub identity: Identity,
}

/// Everything that can change the state.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Set a key.
    Put(Put),
    /// Delete a range of keys.
    DeleteRange(DeleteRange),
    /// Compare, then run one of two branches.
    Txn(Txn),
    /// Forget versions that were replaced before a revision.
    Compact(Compact),
    /// Make a lease.
    LeaseGrant(LeaseGrant),
    /// End a lease and delete the keys attached to it.
    LeaseRevoke(LeaseRevoke),
    /// Note how much life leases have left.
    LeaseCheckpoint(Vec<LeaseRemaining>),
    /// Read, raise or clear alarms.
    Alarm(AlarmCommand),
    /// Set the version that the cluster as a whole speaks.
    ClusterVersionSet(ClusterVersionSet),
    /// A member publishes its name and client URLs.
    MemberAttributesSet(MemberAttributesSet),
    /// Start or end a downgrade.
    DowngradeInfoSet(DowngradeInfoSet),
    /// Change users, roles, or authentication as a whole.
    Auth(AuthCommand),
    /// A field that this version does not know or that changes nothing (`range`,
    /// `downgrade_version_test`): applied as nothing, on every member alike.
    Nothing,
}

/// Set a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: Bytes,
    /// Its value; empty with `ignore_value`.
    pub value: Bytes,
    /// The lease to attach it to, 0 for none.
    pub lease: i64,
    /// Answer with the pair that was there before.
    pub prev_kv: bool,
    /// Keep the value, change only the lease.
    pub ignore_value: bool,
    /// Keep the lease, change only the value.
    pub ignore_lease: bool,
}

/// Delete a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRange {
    /// Which keys.
    pub range: KeyRange,
    /// Answer with the pairs that were there before.
    pub prev_kv: bool,
}

/// What to read. Reads are not replicated by themselves, but a transaction can hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeQuery {
    /// Which keys.
    pub range: KeyRange,
    /// At most this many pairs; 0 or less for all.
    pub limit: i64,
    /// At this revision; 0 or less for the newest (but see reference T6).
    pub revision: i64,
    /// In which order. `None` (wire `NONE`) is not the same as ascending: reference R5 and R6.
    pub sort_order: SortOrder,
    /// By what.
    pub sort_target: SortTarget,
    /// Without asking the cluster whether this member is up to date.
    pub serializable: bool,
    /// Leave out the values.
    pub keys_only: bool,
    /// Leave out the pairs.
    pub count_only: bool,
    /// Bounds of `mod_revision`, inclusive, 0 for none.
    pub min_mod_revision: i64,
    /// See `min_mod_revision`.
    pub max_mod_revision: i64,
    /// Bounds of `create_revision`, inclusive, 0 for none.
    pub min_create_revision: i64,
    /// See `min_create_revision`.
    pub max_create_revision: i64,
}

impl RangeQuery {
    /// A plain read of `range`: everything, newest, linearizable.
    #[must_use]
    pub fn of(range: KeyRange) -> Self {
        Self {
            range,
            limit: 0,
            revision: 0,
            sort_order: SortOrder::None,
            sort_target: SortTarget::Key,
            serializable: false,
            keys_only: false,
            count_only: false,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
        }
    }
}

/// Order of a range's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// As the keys lie.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Greatest first.
    Descend,
}

/// What a range's answer is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// The version of the key.
    Version,
    /// The revision it was created at.
    Create,
    /// The revision it was last changed at.
    Mod,
    /// The value.
    Value,
}

/// Compare, then run one of two branches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Txn {
    /// All must hold for `success` to run.
    pub compare: Vec<Compare>,
    /// Runs if all compares hold.
    pub success: Vec<Op>,
    /// Runs if one does not.
    pub failure: Vec<Op>,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Read.
    Range(RangeQuery),
    /// Set a key.
    Put(Put),
    /// Delete a range.
    DeleteRange(DeleteRange),
    /// A transaction within.
    Txn(Txn),
}

/// One condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Which keys; all of them must satisfy it.
    pub range: KeyRange,
    /// What of the key, and against what.
    pub target: CompareTarget,
    /// How. `None` is a number that this version does not know, which etcd takes as "true" (T5).
    pub result: Option<CompareResult>,
}

/// What a compare looks at, with the operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    /// The version of the key.
    Version(i64),
    /// The revision it was created at.
    Create(i64),
    /// The revision it was last changed at.
    Mod(i64),
    /// The value.
    Value(Bytes),
    /// The lease it is attached to.
    Lease(i64),
    /// A number that this version does not know: compares as equal (reference 11, T5).
    Unknown,
}

/// How a compare compares: key's side first, operand second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareResult {
    /// Equal.
    Equal,
    /// Greater.
    Greater,
    /// Less.
    Less,
    /// Not equal.
    NotEqual,
}

/// Forget versions that were replaced before a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compact {
    /// The oldest revision that can be read afterwards.
    pub revision: Revision,
    /// Answer only when the versions are gone from the disk. The state is the same either way; the rim
    /// waits.
    pub physical: bool,
}

/// Make a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Its id, chosen before the proposal.
    pub id: LeaseId,
    /// Its life in seconds, already raised to the minimum.
    pub ttl_seconds: i64,
}

/// End a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRevoke {
    /// Which.
    pub id: LeaseId,
}

/// How much life a lease has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRemaining {
    /// Which lease.
    pub id: LeaseId,
    /// Seconds left; 0 means "all of it": a renewal clears the checkpoint.
    pub remaining_ttl_seconds: i64,
}

/// What is wrong with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmType {
    /// The quota is used up.
    NoSpace,
    /// Its data differs from the other members'.
    Corrupt,
}

/// Read, raise or clear alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmCommand {
    /// What to do.
    pub action: AlarmAction,
    /// Whose alarm; not looked at by `Get`.
    pub member: MemberId,
    /// Which alarm, `None` for every kind.
    pub alarm: Option<AlarmType>,
}

/// What to do with an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmAction {
    /// List them.
    Get,
    /// Raise one.
    Activate,
    /// Clear one.
    Deactivate,
}

/// Set the cluster version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterVersionSet {
    /// `X.Y.0`.
    pub version: String,
}

/// A member publishes its name and client URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAttributesSet {
    /// Which member.
    pub member: MemberId,
    /// Its name.
    pub name: String,
    /// Where its clients find it.
    pub client_urls: Vec<String>,
}

/// Start or end a downgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DowngradeInfoSet {
    /// Whether a downgrade is under way.
    pub enabled: bool,
    /// Its target version, `X.Y.0`.
    pub version: String,
}

impl DeleteRange {
    /// Delete one key.
    #[must_use]
    pub fn single(key: Key) -> Self {
        Self { range: KeyRange::single(key), prev_kv: false }
    }
}
