//! A state machine on a store, restarted.

use super::*;
use crate::store::restore;
use tenure_core::command::{
    AuthCommand, Command, Compact, DeleteRange, Identity, LeaseGrant, Permission, PermissionKind, Put,
    RangeQuery, Request, RequestHeader, RoleGrantPermission, UserAdd, UserRole,
};
use tenure_core::mvcc::range;
use tenure_core::state::{RangeOutcome, StateMachine};
use tenure_core::types::{Key, KeyRange, LeaseId, Secret};

/// What a member does with its store: apply, append, install.
struct Member {
    store: Store,
    state: StateMachine,
}

impl Member {
    fn start(disk: &MemoryDisk) -> Self {
        let (store, restored) = open(disk, small());
        let mut state = StateMachine::default();
        restore(&store, &restored, &mut state).expect("it restores");
        Self { store, state }
    }

    fn apply(&mut self, command: Command) {
        let header = RequestHeader { identity: Identity::of_cluster(), ..RequestHeader::default() };
        let request = Request { header, command };
        let index = self.state.applied().next();
        let effects = self.state.apply(&self.store, index, Term(2), &request).expect("it applies");
        effects.outcome.expect("it is not refused");
        self.store.append(&effects.batch).expect("it is appended");
        self.state.install(&effects.batch);
    }

    fn put(&mut self, key: &str, value: &str, lease: i64) {
        let (key, value) = (bytes::Bytes::copy_from_slice(key.as_bytes()), value.to_string().into());
        let (prev_kv, ignore_value, ignore_lease) = (false, false, false);
        self.apply(Command::Put(Put { key, value, lease, prev_kv, ignore_value, ignore_lease }));
    }

    /// What a client that reads everything at a revision (0 for now) sees.
    fn read(&self, revision: i64) -> RangeOutcome {
        let query = RangeQuery { revision, ..RangeQuery::of(KeyRange::everything()) };
        range(&self.state.mvcc, &self.store, &query).expect("it reads")
    }
}

fn keys_of(member: &Member, lease: i64) -> Vec<Vec<u8>> {
    member.state.leases.keys_of(LeaseId(lease)).map(<[u8]>::to_vec).collect()
}

#[test]
fn a_restart_brings_users_roles_and_the_auth_revision_back() {
    let disk = MemoryDisk::new();
    let mut member = Member::start(&disk);
    let names = || UserRole { user: "root".into(), role: "root".into() };
    let user = |name: &str| {
        let hashed_password = Secret::from("JDJhJA==".to_owned());
        AuthCommand::UserAdd(UserAdd { name: name.into(), hashed_password, no_password: false })
    };
    let permission = Permission { kind: PermissionKind::Write, range: KeyRange::everything() };
    let permit = RoleGrantPermission { role: "writer".into(), permission: Some(permission) };
    for command in [
        user("root"),
        AuthCommand::UserGrantRole(names()),
        user("gone"),
        AuthCommand::RoleAdd("writer".into()),
        AuthCommand::RoleAdd("gone".into()),
        AuthCommand::RoleGrantPermission(permit),
        AuthCommand::Enable,
    ] {
        member.apply(Command::Auth(command));
    }
    checkpoint(&member.store);
    let rows = member.state.tables();
    drop(member);
    let mut member = Member::start(&disk);
    assert_eq!(member.state.tables(), rows);
    assert!(member.state.auth.is_enabled());
    member.apply(Command::Auth(AuthCommand::UserDelete("gone".into())));
    member.apply(Command::Auth(AuthCommand::RoleDelete("gone".into())));
    checkpoint(&member.store);
    let rows = member.state.tables();
    drop(member);
    assert_eq!(Member::start(&disk).state.tables(), rows);
}

#[test]
fn p4_c3_c4_n8_a_restart_brings_keys_history_leases_and_revision_back() {
    let disk = MemoryDisk::new();
    let mut member = Member::start(&disk);
    assert_eq!(member.state.mvcc.revision(), Revision::FIRST);
    member.apply(Command::LeaseGrant(LeaseGrant { id: LeaseId(-7), ttl_seconds: 30 }));
    for round in 0..5 {
        for key in 0..20 {
            member.put(&format!("key{key}"), &format!("value{round}"), if key % 5 == 0 { -7 } else { 0 });
        }
    }
    let range = KeyRange::single(Key::from("key5"));
    member.apply(Command::DeleteRange(DeleteRange { range, prev_kv: false }));
    checkpoint(&member.store);
    let (now, before, then) = (member.read(0), member.read(101), member.read(50));
    assert_eq!((now.count, before.count, then.revision.0), (19, 20, 102));
    let applied = member.state.applied();
    drop(member);

    let mut member = Member::start(&disk);
    assert_eq!((member.state.applied(), member.state.applied_term()), (applied, Term(2)));
    assert_eq!((member.read(0), member.read(101), member.read(50)), (now.clone(), before, then));
    assert_eq!(keys_of(&member, -7), [b"key0".to_vec(), b"key10".to_vec(), b"key15".to_vec()]);
    member.put("after", "the restart", 0);
    assert_eq!(member.state.mvcc.revision(), Revision(103));

    let revision = Revision(102);
    member.apply(Command::Compact(Compact { revision, physical: true }));
    let compacted = member.read(102);
    assert_eq!(compacted.kvs, now.kvs);
    let mut resume = None;
    loop {
        let step = member.state.mvcc.compact_step(resume.as_ref(), 3);
        member.store.mark_dead(&step.removed);
        resume = step.resume;
        if resume.is_none() {
            break;
        }
    }
    checkpoint(&member.store);
    let mut given_back = 0;
    while let ReclaimProgress::Reclaimed { bytes } = member.store.reclaim_step().unwrap() {
        given_back += bytes;
    }
    // Of 101 records of about 40 bytes, and their rows, 80 are dead.
    assert!(given_back > 80 * 40, "{given_back}");
    assert_eq!(member.read(102), compacted);
    drop(member);

    let member = Member::start(&disk);
    assert_eq!(member.read(102), compacted);
    assert_eq!(member.state.mvcc.compacted(), Revision(102));
    // 19 keys, the tombstone at the compacted revision (C3) and what came after it.
    assert_eq!(everything(&member.store).len(), 21);
}
