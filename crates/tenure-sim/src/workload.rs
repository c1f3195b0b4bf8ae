//! What clients ask for: random, but on few keys, so that everything meets everything.

use crate::random::Random;
use bytes::Bytes;
use std::collections::VecDeque;
use tenure_core::command::{
    AlarmAction, AlarmCommand, AlarmType, AuthCommand, Authenticate, Command, Compact, Compare,
    CompareResult, CompareTarget, DeleteRange, LeaseGrant, LeaseRevoke, Op, Permission, PermissionKind, Put,
    RangeQuery, RoleGrantPermission, RoleRevokePermission, SortOrder, SortTarget, Txn, UserAdd,
    UserChangePassword, UserRole,
};
use tenure_core::types::{Key, KeyRange, LeaseId, MemberId, RangeEnd, Revision, Secret};

/// Leases that a client may name.
pub const LEASES: i64 = 5;
/// The longest life that a client asks for, in seconds.
pub const TTL_SECONDS_MAX: i64 = 12;
const KEYS: u64 = 14;
const VALUE_BYTES_MAX: u64 = 2_000;

/// Makes requests. What is current steers them towards what is there.
#[derive(Debug)]
pub struct Workload {
    random: Random,
    serial: u64,
    leases: Vec<LeaseId>,
    /// Whether a lease that is granted never had its id before.
    grants_new_ids: bool,
    /// What switches authentication on, as far as that is still to be asked for.
    setup: VecDeque<AuthCommand>,
}

/// Users that clients are.
pub const USERS: [&str; 4] = ["root", "ann", "bob", "cid"];
const ROLES: [&str; 3] = ["root", "reader", "writer"];

/// What a request can refer to.
#[derive(Clone, Copy, Debug)]
pub struct Current {
    /// The current revision.
    pub revision: i64,
    /// The compacted one.
    pub compacted: i64,
}

impl Workload {
    /// The requests of a seed.
    #[must_use]
    pub fn new(random: Random) -> Self {
        let leases = (1..=LEASES).map(LeaseId).collect();
        Self { random, serial: 0, leases, grants_new_ids: false, setup: VecDeque::new() }
    }

    /// From now on each lease that is granted has another id, so that whatever is said of a lease is said of this one.
    pub fn grant_new_ids(&mut self) {
        self.grants_new_ids = true;
    }

    fn new_lease(&mut self) -> LeaseId {
        if !self.grants_new_ids {
            return self.lease();
        }
        let id = self.leases.last().map_or(LeaseId(1), |last| LeaseId(last.0 + 1));
        self.leases.remove(0);
        self.leases.push(id);
        id
    }

    /// A command to replicate.
    pub fn command(&mut self, current: Current) -> Command {
        match self.random.below(100) {
            0..45 => Command::Put(self.put()),
            45..57 => Command::DeleteRange(self.delete()),
            57..77 => Command::Txn(self.txn(current, 2)),
            77..88 => Command::LeaseGrant(LeaseGrant {
                id: self.new_lease(),
                ttl_seconds: self.random.between(2, TTL_SECONDS_MAX),
            }),
            88..93 => Command::LeaseRevoke(LeaseRevoke { id: self.lease() }),
            _ => {
                let revision = self.random.between(current.compacted.max(0) - 1, current.revision + 1);
                Command::Compact(Compact { revision: Revision(revision), physical: self.random.chance(20) })
            }
        }
    }

    /// From now on whoever administers first makes users and roles and switches authentication on.
    pub fn use_auth(&mut self) {
        self.setup.extend(USERS.iter().take(3).map(|user| user_add(user)));
        self.setup.extend(ROLES.iter().skip(1).map(|role| AuthCommand::RoleAdd((*role).into())));
        let everything = KeyRange::everything();
        for (role, kind, range) in [
            ("reader", PermissionKind::Read, everything.clone()),
            ("writer", PermissionKind::ReadWrite, everything),
        ] {
            let permission = Some(Permission { kind, range });
            self.setup.push_back(AuthCommand::RoleGrantPermission(RoleGrantPermission {
                role: role.into(),
                permission,
            }));
        }
        for (user, role) in [("root", "root"), ("ann", "writer"), ("bob", "reader")] {
            self.setup.push_back(AuthCommand::UserGrantRole(user_role(user, role)));
        }
        self.setup.push_back(AuthCommand::Enable);
    }

    /// Whether authentication is still to be switched on.
    #[must_use]
    pub fn is_setting_up(&self) -> bool {
        !self.setup.is_empty()
    }

    /// A command has been applied.
    pub fn note_applied(&mut self, command: &AuthCommand) {
        self.setup.pop_front_if(|next| next == command);
    }

    /// What somebody asks who may do everything.
    pub fn administer(&mut self, with_auth: bool, members: &[MemberId]) -> Command {
        if let Some(command) = self.setup.front() {
            return Command::Auth(command.clone());
        }
        if !with_auth || self.random.chance(10) {
            return Command::Alarm(self.alarm(members));
        }
        Command::Auth(self.auth_command())
    }

    /// More is cleared than raised: nothing happens meanwhile.
    fn alarm(&mut self, members: &[MemberId]) -> AlarmCommand {
        let (get, raise, clear) = (AlarmAction::Get, AlarmAction::Activate, AlarmAction::Deactivate);
        let (nospace, corrupt) = (Some(AlarmType::NoSpace), Some(AlarmType::Corrupt));
        AlarmCommand {
            action: *self.random.pick(&[get, get, raise, clear, clear, clear, clear, clear]),
            member: *self.random.pick(members),
            alarm: *self.random.pick(&[nospace, nospace, nospace, corrupt, None]),
        }
    }

    fn auth_command(&mut self) -> AuthCommand {
        let user: String = (*self.random.pick(&USERS)).into();
        let role: String = (*self.random.pick(&ROLES)).into();
        match self.random.below(100) {
            0..8 => user_add(&user),
            8..12 => AuthCommand::UserDelete(user),
            12..17 => {
                let hashed_password = Secret("aGFzaA==".into());
                AuthCommand::UserChangePassword(UserChangePassword { name: user, hashed_password })
            }
            17..35 => AuthCommand::UserGrantRole(UserRole { user, role }),
            35..43 => AuthCommand::UserRevokeRole(UserRole { user, role }),
            43..48 => AuthCommand::RoleAdd(role),
            48..50 => AuthCommand::RoleDelete(role),
            50..70 => {
                let kind = *self.random.pick(&[
                    PermissionKind::Read,
                    PermissionKind::Write,
                    PermissionKind::ReadWrite,
                    PermissionKind::ReadWrite,
                ]);
                let range = self.range();
                let permission = self.random.chance(95).then_some(Permission { kind, range });
                AuthCommand::RoleGrantPermission(RoleGrantPermission { role, permission })
            }
            70..80 => {
                let range = if self.random.chance(50) { KeyRange::everything() } else { self.range() };
                AuthCommand::RoleRevokePermission(RoleRevokePermission { role, range })
            }
            80..88 => {
                AuthCommand::Authenticate(Authenticate { name: user, simple_token: Secret("token".into()) })
            }
            88..90 => AuthCommand::Disable,
            _ => AuthCommand::Enable,
        }
    }

    /// A lease that may exist.
    pub fn lease(&mut self) -> LeaseId {
        *self.random.pick(&self.leases)
    }

    fn key(&mut self) -> Key {
        Key(format!("k{:02}", self.random.below(KEYS)).into())
    }

    fn value(&mut self) -> Bytes {
        self.serial += 1;
        let len = match self.random.below(10) {
            0 => 0,
            1 | 2 => self.random.below(VALUE_BYTES_MAX),
            _ => self.random.below(60),
        };
        let mut value = format!("{}/", self.serial).into_bytes();
        let filler = self.random.next_u64() as u8;
        value.resize(len as usize, filler);
        value.into()
    }

    /// Some keys.
    pub fn range(&mut self) -> KeyRange {
        let start = self.key();
        match self.random.below(10) {
            0..4 => KeyRange::single(start),
            4 => KeyRange { start, end: RangeEnd::Open },
            5 => KeyRange::everything(),
            _ => KeyRange { start, end: RangeEnd::Before(self.key()) },
        }
    }

    fn put(&mut self) -> Put {
        let ignore_value = self.random.chance(5);
        let ignore_lease = self.random.chance(5);
        Put {
            key: self.key().0,
            value: if ignore_value { Bytes::new() } else { self.value() },
            lease: if ignore_lease || self.random.chance(70) { 0 } else { self.lease().0 },
            prev_kv: self.random.chance(40),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> DeleteRange {
        let range = if self.random.chance(60) { KeyRange::single(self.key()) } else { self.range() };
        DeleteRange { range, prev_kv: self.random.chance(40) }
    }

    /// A read.
    pub fn query(&mut self, current: Current) -> RangeQuery {
        let mut query = RangeQuery::of(self.range());
        let random = &mut self.random;
        if random.chance(40) {
            query.revision = random.between(current.compacted - 1, current.revision + 1);
        }
        if random.chance(40) {
            query.limit = random.between(-1, 6);
        }
        if random.chance(40) {
            query.sort_order = *random.pick(&[SortOrder::None, SortOrder::Ascend, SortOrder::Descend]);
            query.sort_target = *random.pick(&[
                SortTarget::Key,
                SortTarget::Version,
                SortTarget::Create,
                SortTarget::Mod,
                SortTarget::Value,
            ]);
        }
        query.keys_only = random.chance(15);
        query.count_only = random.chance(15);
        let mut bound = || if random.chance(10) { random.between(0, current.revision) } else { 0 };
        query.min_mod_revision = bound();
        query.max_mod_revision = bound();
        query.min_create_revision = bound();
        query.max_create_revision = bound();
        query
    }

    fn compare(&mut self, current: Current) -> Compare {
        let range = if self.random.chance(70) { KeyRange::single(self.key()) } else { self.range() };
        let target = match self.random.below(6) {
            0 => CompareTarget::Version(self.random.between(0, 3)),
            1 => CompareTarget::Create(self.random.between(0, current.revision)),
            2 => CompareTarget::Mod(self.random.between(0, current.revision)),
            3 => CompareTarget::Value(self.value()),
            4 => CompareTarget::Lease(self.random.between(0, LEASES)),
            _ => CompareTarget::Version(0),
        };
        let results =
            [CompareResult::Equal, CompareResult::Greater, CompareResult::Less, CompareResult::NotEqual];
        Compare { range, target, result: Some(*self.random.pick(&results)) }
    }

    /// A transaction with transactions within, `depth` deep at most. It may be refused as malformed.
    pub fn txn(&mut self, current: Current, depth: u64) -> Txn {
        let compare = (0..self.random.below(3)).map(|_| self.compare(current)).collect();
        let mut branch = |max| (0..self.random.below(max)).map(|_| self.op(current, depth)).collect();
        Txn { compare, success: branch(4), failure: branch(3) }
    }

    /// A transaction that only reads.
    pub fn read_txn(&mut self, current: Current) -> Txn {
        let mut txn = self.txn(current, 0);
        txn.success.retain(|op| matches!(op, Op::Range(_)));
        txn.failure.retain(|op| matches!(op, Op::Range(_)));
        txn
    }

    fn op(&mut self, current: Current, depth: u64) -> Op {
        match self.random.below(10) {
            0..3 => Op::Range(self.query(current)),
            3..7 => Op::Put(self.put()),
            7..9 => Op::DeleteRange(self.delete()),
            _ if depth > 0 => Op::Txn(self.txn(current, depth - 1)),
            _ => Op::Range(self.query(current)),
        }
    }
}

fn user_add(name: &str) -> AuthCommand {
    let no_password = name == "cid";
    AuthCommand::UserAdd(UserAdd {
        name: name.into(),
        hashed_password: Secret("aGFzaA==".into()),
        no_password,
    })
}

fn user_role(user: &str, role: &str) -> UserRole {
    UserRole { user: user.into(), role: role.into() }
}
