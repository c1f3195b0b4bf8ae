//! The authorisation walk against a model that knows nothing of unions: a range is covered if no key of it is left out, and the
//! first key that is left out is the start of the range or the end of a permission.

use super::*;
use crate::command::{
    AuthCommand, Compare, CompareResult, CompareTarget, DeleteRange, Identity, LeaseGrant, LeaseRevoke, Op,
    Permission, PermissionKind, Put, RangeQuery, RequestHeader, RoleGrantPermission, RoleRevokePermission,
    Txn, UserAdd, UserRole,
};
use crate::types::{Key, KeyRange, RangeEnd, RequestId, Secret, SourceError};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tenure_api::error::EtcdError;

const WORLDS: u64 = 250;
const ROUNDS: usize = 400;
const KEYS: [&str; 9] = ["\0", "a", "a\0", "ab", "b", "c", "ca", "d", "e"];
const NAMES: [&str; 4] = ["root", "u", "v", "w"];
const ROLES: [&str; 4] = ["root", "x", "y", "z"];
const LEASES: [i64; 3] = [0, 1, 2];

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn key(&mut self) -> Bytes {
        Bytes::from_static(self.of(&KEYS).as_bytes())
    }

    /// Few are upside down, or nearly every one would be refused.
    fn range(&mut self) -> KeyRange {
        let (one, other) = (self.key(), self.key());
        match self.below(8) {
            0..3 => KeyRange::single(Key(one)),
            3 => KeyRange { start: Key(one), end: RangeEnd::Open },
            4 => KeyRange { start: Key(one), end: RangeEnd::Before(Key(other)) },
            _ => {
                let (start, end) = if one < other { (one, other) } else { (other, one) };
                KeyRange { start: Key(start), end: RangeEnd::Before(Key(end)) }
            }
        }
    }

    fn put(&mut self) -> Put {
        Put { key: self.key(), lease: self.of(&LEASES), prev_kv: self.chance(3), ..Put::default() }
    }

    fn delete(&mut self) -> DeleteRange {
        DeleteRange { range: self.range(), prev_kv: self.chance(3) }
    }

    fn txn(&mut self, depth: usize) -> Txn {
        let mut txn = Txn::default();
        for _ in 0..self.below(2) {
            let (target, result) = (CompareTarget::Version(0), Some(CompareResult::Equal));
            txn.compare.push(Compare { range: self.range(), target, result });
        }
        for _ in 0..self.below(3) {
            let op = match self.below(if depth == 0 { 3 } else { 4 }) {
                0 => Op::Range(RangeQuery::of(self.range())),
                1 => Op::Put(self.put()),
                2 => Op::DeleteRange(self.delete()),
                _ => Op::Txn(self.txn(depth - 1)),
            };
            if self.chance(2) { txn.success.push(op) } else { txn.failure.push(op) }
        }
        txn
    }
}

#[derive(Default)]
struct Model {
    enabled: bool,
    revision: u64,
    users: BTreeMap<&'static str, BTreeSet<&'static str>>,
    roles: BTreeMap<&'static str, Vec<(PermissionKind, KeyRange)>>,
    attached: BTreeMap<Bytes, i64>,
    refused: usize,
    allowed: usize,
}

type Refused = Result<(), EtcdError>;

fn has(range: &KeyRange, key: &[u8]) -> bool {
    let starts = *range.start.0 <= *key;
    match &range.end {
        RangeEnd::Single => *range.start.0 == *key,
        RangeEnd::Open => starts,
        RangeEnd::Before(end) => starts && *key < *end.0,
    }
}

/// Where a range ends: the first key behind it.
fn behind(range: &KeyRange) -> Option<Vec<u8>> {
    match &range.end {
        RangeEnd::Single => Some([&range.start.0[..], b"\0"].concat()),
        RangeEnd::Open => None,
        RangeEnd::Before(end) => Some(end.0.to_vec()),
    }
}

impl Model {
    fn covered(&self, user: &str, writes: bool, range: &KeyRange) -> bool {
        let roles = self.users[user].iter().filter_map(|role| self.roles.get(role));
        let granted: Vec<&KeyRange> = roles
            .flatten()
            .filter(|(kind, _)| {
                *kind == PermissionKind::ReadWrite || (*kind == PermissionKind::Write) == writes
            })
            .map(|(_, range)| range)
            .collect();
        let one_has = |key: &[u8]| granted.iter().any(|range| has(range, key));
        let first = range.start.0.to_vec();
        let last = match &range.end {
            // Nothing is touched; its start counts.
            RangeEnd::Before(end) if end <= &range.start => behind(&KeyRange::single(range.start.clone())),
            _ => behind(range),
        };
        let ends = granted.iter().filter_map(|range| behind(range));
        let mut candidates = ends
            .filter(|key| *key >= first && last.as_ref().is_none_or(|last| key < last))
            .chain([first.clone()]);
        candidates.all(|key| one_has(&key))
    }

    fn touch(&self, who: &Identity, writes: bool, range: &KeyRange) -> Refused {
        if !self.enabled {
            return Ok(());
        }
        if who.auth_revision == 0 {
            return Err(EtcdError::UserEmpty);
        }
        if who.auth_revision < self.revision {
            return Err(EtcdError::AuthOldRevision);
        }
        let roles = self.users.get(&who.username[..]).ok_or(EtcdError::PermissionDenied)?;
        if roles.contains("root") || self.covered(&who.username, writes, range) {
            return Ok(());
        }
        Err(EtcdError::PermissionDenied)
    }

    fn admin(&self, who: &Identity) -> Refused {
        if !self.enabled {
            return Ok(());
        }
        if who.username.is_empty() {
            return Err(EtcdError::UserEmpty);
        }
        let roles = self.users.get(&who.username[..]).ok_or(EtcdError::UserNotFound)?;
        if roles.contains("root") { Ok(()) } else { Err(EtcdError::PermissionDenied) }
    }

    fn user(&self, who: &Identity) -> Refused {
        match (self.enabled, &who.username[..]) {
            (false, _) => Ok(()),
            (true, "") => Err(EtcdError::UserEmpty),
            (true, name) if self.users.contains_key(name) => Ok(()),
            (true, _) => Err(EtcdError::PermissionDenied),
        }
    }

    fn has_role(&self, who: &Identity, role: &str) -> bool {
        self.users.get(&who.username[..]).is_some_and(|roles| roles.contains(role))
    }

    fn attached(&self, who: &Identity, lease: i64, writes: bool) -> Refused {
        let is_admin = self.admin(who).is_ok();
        for (key, _) in self.attached.iter().filter(|(_, of)| **of == lease && !is_admin) {
            self.touch(who, writes, &KeyRange::single(Key(key.clone())))?;
        }
        Ok(())
    }

    fn lease(&self, who: &Identity, lease: i64) -> Refused {
        self.attached(who, lease, true)
    }

    fn put(&self, who: &Identity, put: &Put) -> Refused {
        let key = KeyRange::single(Key(put.key.clone()));
        self.touch(who, true, &key)?;
        if put.lease != 0 {
            self.lease(who, put.lease)?;
        }
        if put.prev_kv { self.touch(who, false, &key) } else { Ok(()) }
    }

    fn txn(&self, who: &Identity, txn: &Txn) -> Refused {
        for compare in &txn.compare {
            self.touch(who, false, &compare.range)?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Range(query) => self.touch(who, false, &query.range)?,
                Op::Put(put) => self.put(who, put)?,
                Op::DeleteRange(delete) => self.delete(who, delete)?,
                Op::Txn(txn) => self.txn(who, txn)?,
            }
        }
        Ok(())
    }

    fn delete(&self, who: &Identity, delete: &DeleteRange) -> Refused {
        self.touch(who, true, &delete.range)?;
        if delete.prev_kv { self.touch(who, false, &delete.range) } else { Ok(()) }
    }

    fn command(&self, who: &Identity, command: &Command) -> Refused {
        match command {
            Command::Put(put) => self.put(who, put),
            Command::DeleteRange(delete) => self.delete(who, delete),
            Command::Txn(txn) => self.txn(who, txn),
            Command::LeaseRevoke(revoke) => self.lease(who, revoke.id.0),
            _ => self.admin(who),
        }
    }
}

#[derive(Default)]
struct Records(BTreeMap<RecordRevision, KvBytes>);

impl RecordSource for Records {
    fn record(&self, at: RecordRevision) -> Result<KvBytes, SourceError> {
        self.0.get(&at).cloned().ok_or(SourceError::Gone(at))
    }
}

struct World {
    state: StateMachine,
    records: Records,
    model: Model,
    random: Random,
}

impl World {
    fn new(seed: u64) -> Self {
        let model = Model { revision: 1, ..Model::default() };
        let mut world =
            Self { state: StateMachine::default(), records: Records::default(), model, random: Random(seed) };
        for id in [1, 2] {
            world.apply(Command::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl_seconds: 60 })).unwrap();
        }
        for name in NAMES {
            let user = UserAdd { name: name.into(), hashed_password: Secret::default(), no_password: false };
            world.apply(Command::Auth(AuthCommand::UserAdd(user))).unwrap();
            world.model.users.insert(name, BTreeSet::new());
        }
        for role in ROLES {
            world.apply(Command::Auth(AuthCommand::RoleAdd(role.into()))).unwrap();
            world.model.roles.insert(role, Vec::new());
        }
        world.model.revision += (NAMES.len() + ROLES.len()) as u64;
        world.change_role("root", "root", true);
        world.apply(Command::Auth(AuthCommand::Enable)).unwrap();
        world.model.enabled = true;
        world
    }

    /// Carries a command out in the name of the cluster, so that only what it asks for can be refused.
    fn apply(&mut self, command: Command) -> Refused {
        let header = RequestHeader { id: RequestId(1), identity: Identity::of_cluster() };
        let index = self.state.applied().next();
        let effects =
            self.state.apply(&self.records, index, Term(1), &Request { header, command }).expect("no halt");
        for record in &effects.batch.records {
            self.records.0.insert(record.at(), record.kv.clone());
        }
        self.state.install(&effects.batch);
        effects.outcome.map(drop)
    }

    fn change_role(&mut self, user: &'static str, role: &'static str, grant: bool) {
        let names = UserRole { user: user.into(), role: role.into() };
        let command =
            if grant { AuthCommand::UserGrantRole(names) } else { AuthCommand::UserRevokeRole(names) };
        let outcome = self.apply(Command::Auth(command));
        let roles = self.model.users.get_mut(user).unwrap();
        let expected = match (grant, user == "root" && role == "root" && self.model.enabled) {
            (true, _) => {
                self.model.revision += u64::from(roles.insert(role));
                Ok(())
            }
            (false, true) => Err(EtcdError::InvalidAuthMgmt),
            (false, false) if roles.remove(role) => {
                self.model.revision += 1;
                Ok(())
            }
            (false, false) => Err(EtcdError::RoleNotGranted),
        };
        assert_eq!(outcome, expected);
    }

    fn change_permission(&mut self) {
        let role = self.random.of(&ROLES[1..]);
        let range = self.random.range();
        if self.random.chance(3) {
            let revoke = RoleRevokePermission { role: role.into(), range: range.clone() };
            let outcome = self.apply(Command::Auth(AuthCommand::RoleRevokePermission(revoke)));
            let permissions = self.model.roles.get_mut(role).unwrap();
            let before = permissions.len();
            permissions.retain(|(_, other)| *other != range);
            let was_there = permissions.len() < before;
            self.model.revision += u64::from(was_there);
            return assert_eq!(
                outcome,
                if was_there { Ok(()) } else { Err(EtcdError::PermissionNotGranted) }
            );
        }
        let kind = self.random.of(&[PermissionKind::Read, PermissionKind::Write, PermissionKind::ReadWrite]);
        let permission = Some(Permission { kind, range: range.clone() });
        let permissions = self.model.roles.get_mut(role).unwrap();
        // See A10: only the first of several permissions of a key is compared. The model has one a key and role.
        if permissions.iter().any(|(_, other)| other.start == range.start && *other != range) {
            return;
        }
        let is_invalid = matches!(&range.end, RangeEnd::Before(end) if *end <= range.start);
        if !is_invalid {
            permissions.retain(|(_, other)| *other != range);
            permissions.push((kind, range));
            self.model.revision += 1;
        }
        let grant = RoleGrantPermission { role: role.into(), permission };
        let outcome = self.apply(Command::Auth(AuthCommand::RoleGrantPermission(grant)));
        assert_eq!(outcome, if is_invalid { Err(EtcdError::InvalidAuthMgmt) } else { Ok(()) });
    }

    fn change_key(&mut self) {
        let put = Put { key: self.random.key(), lease: self.random.of(&LEASES), ..Put::default() };
        match put.lease {
            0 => drop(self.model.attached.remove(&put.key)),
            lease => drop(self.model.attached.insert(put.key.clone(), lease)),
        }
        self.apply(Command::Put(put)).unwrap();
    }

    fn change(&mut self) {
        match self.random.below(10) {
            0..2 => self.change_key(),
            2..5 => {
                let (user, role) = (self.random.of(&NAMES), self.random.of(&ROLES));
                // Root is rare, or nobody would be refused.
                let grant = self.random.chance(if role == "root" { 6 } else { 2 });
                self.change_role(user, role, grant);
            }
            5..10 => self.change_permission(),
            _ => {}
        }
        assert_eq!(self.state.auth.revision(), self.model.revision);
    }

    fn who(&mut self) -> Identity {
        match self.random.below(20) {
            0 => Identity::default(),
            1 => Identity { username: "gone".into(), auth_revision: self.model.revision },
            2 => Identity { username: "u".into(), auth_revision: self.model.revision - 1 },
            _ => Identity {
                username: self.random.of(&NAMES).into(),
                auth_revision: self.model.revision + self.random.below(2) as u64,
            },
        }
    }

    fn ask(&mut self) {
        let who = self.who();
        let (asked, expected, given) = match self.random.below(14) {
            // A read, or a watch, which asks for the same.
            0..2 => {
                let range = self.random.range();
                let given = self.state.authorize(&who, Access::Read(&range));
                (format!("read {range:?}"), self.model.touch(&who, false, &range), given)
            }
            10 => {
                let txn = self.random.txn(3);
                let given = self.state.authorize(&who, Access::ReadTxn(&txn));
                let expected = self.model.user(&who).and_then(|()| self.model.txn(&who, &txn));
                (format!("read {txn:?}"), expected, given)
            }
            11 => {
                let (lease, writes) = (self.random.of(&LEASES), self.random.chance(2));
                let id = LeaseId(lease);
                let access = if writes { Access::WriteAttached(id) } else { Access::ReadAttached(id) };
                let expected = self.model.attached(&who, lease, writes);
                (format!("{access:?}"), expected, self.state.authorize(&who, access))
            }
            // What concerns the member: root's, or every user's.
            12 => {
                let (access, expected) = match self.random.chance(2) {
                    true => (Access::Admin, self.model.admin(&who)),
                    false => (Access::User, self.model.user(&who)),
                };
                (format!("{access:?}"), expected, self.state.authorize(&who, access))
            }
            13 => {
                let (name, role) = (self.random.of(&NAMES), self.random.of(&ROLES));
                let (access, is_own) = match self.random.chance(2) {
                    true => (Access::UserGet(name), who.username == name),
                    false => (Access::RoleGet(role), self.model.has_role(&who, role)),
                };
                let expected = if is_own { Ok(()) } else { self.model.admin(&who) };
                (format!("{access:?}"), expected, self.state.authorize(&who, access))
            }
            kind => {
                let command = match kind {
                    2 => Command::Put(self.random.put()),
                    3 => Command::DeleteRange(self.random.delete()),
                    4 => Command::LeaseRevoke(LeaseRevoke { id: LeaseId(self.random.of(&LEASES)) }),
                    5 if self.random.chance(3) => Command::Auth(AuthCommand::Enable),
                    _ => Command::Txn(self.random.txn(3)),
                };
                let given = self.state.authorize(&who, Access::Apply(&command));
                (format!("{command:?}"), self.model.command(&who, &command), given)
            }
        };
        let of = |user: &&str| format!("{user}: {:?}", self.model.users[*user]);
        assert_eq!(
            given,
            expected,
            "{who:?} asks {asked}; {:?}; {:?}; attached {:?}",
            NAMES.iter().map(of).collect::<Vec<_>>(),
            self.model.roles,
            self.model.attached
        );
        if given.is_ok() { self.model.allowed += 1 } else { self.model.refused += 1 }
    }
}

#[test]
fn a11_a14_t11_the_walk_agrees_with_a_naive_model() {
    let (mut allowed, mut refused) = (0, 0);
    // Other cases each time; a failure names the seed of its world, and `TENURE_SEED` is where to begin.
    let first = match std::env::var("TENURE_SEED") {
        Ok(seed) => seed.parse().expect("TENURE_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64),
    };
    println!("TENURE_SEED={first}");
    for seed in (0..WORLDS).map(|number| first.wrapping_add(number)) {
        let mut world = World::new(seed);
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..ROUNDS {
                if world.random.chance(3) {
                    world.change();
                }
                world.ask();
            }
        }));
        if let Err(panic) = told {
            println!("TENURE_SEED={seed} begins with the world that failed");
            std::panic::resume_unwind(panic);
        }
        (allowed, refused) = (allowed + world.model.allowed, refused + world.model.refused);
    }
    assert_eq!(allowed + refused, WORLDS as usize * ROUNDS);
    assert!(allowed > 20_000 && refused > 20_000, "{allowed} allowed and {refused} refused test little");
}
