//! Authentication, row by row: what its commands do, and what they keep others from doing.

use super::*;
use crate::command::{
    AuthCommand, Authenticate, Compact, Compare, CompareResult, CompareTarget, DeleteRange, Identity,
    LeaseGrant, LeaseRevoke, Op, Permission, PermissionKind, Put, RangeQuery, RequestHeader,
    RoleGrantPermission, RoleRevokePermission, Txn, UserAdd, UserChangePassword, UserRole,
};
use crate::types::{Key, KeyRange, RequestId, Revision, Secret, SourceError};
use bytes::Bytes;
use std::collections::BTreeMap;
use tenure_api::error::EtcdError;

#[derive(Default)]
struct Records(BTreeMap<RecordRevision, KvBytes>);

impl RecordSource for Records {
    fn record(&self, at: RecordRevision) -> Result<KvBytes, SourceError> {
        self.0.get(&at).cloned().ok_or(SourceError::Gone(at))
    }
}

#[derive(Default)]
struct Machine {
    state: StateMachine,
    records: Records,
}

type Refused = Result<(), EtcdError>;

impl Machine {
    fn apply_as(&mut self, identity: Identity, command: Command) -> Outcome {
        let request = Request { header: RequestHeader { id: RequestId(1), identity }, command };
        let index = self.state.applied().next();
        let effects = self.state.apply(&self.records, index, Term(1), &request).expect("no halt");
        assert!(
            effects.outcome.is_ok() || effects.batch.tables.is_empty() && effects.batch.records.is_empty()
        );
        for record in &effects.batch.records {
            self.records.0.insert(record.at(), record.kv.clone());
        }
        self.state.install(&effects.batch);
        effects.outcome
    }

    /// The user as a simple token says it: at the auth revision of now.
    fn who(&self, name: &str) -> Identity {
        if name.is_empty() {
            return Identity::default();
        }
        Identity { username: name.into(), auth_revision: self.state.auth.revision() }
    }

    fn run(&mut self, user: &str, command: Command) -> Refused {
        self.apply_as(self.who(user), command).map(drop)
    }

    fn root(&mut self, command: AuthCommand) -> Refused {
        self.run("root", Command::Auth(command))
    }

    fn may(&self, user: &str, access: Access<'_>) -> Refused {
        self.state.authorize(&self.who(user), access)
    }

    fn revision(&self) -> u64 {
        self.state.auth.revision()
    }

    fn user(&mut self, name: &str, role: &str) {
        assert_eq!(self.root(add(name)), Ok(()));
        assert_eq!(self.root(grant_role(name, role)), Ok(()));
    }

    fn role(&mut self, name: &str, permissions: &[(PermissionKind, &str, &str)]) {
        assert_eq!(self.root(AuthCommand::RoleAdd(name.into())), Ok(()));
        for (kind, key, end) in permissions {
            assert_eq!(self.root(permit(name, *kind, key, end)), Ok(()));
        }
    }

    /// Authentication is on; `alice` reads and writes `a` to `c`, writes `w`, reads `r`; `bob` may do nothing.
    fn guarded() -> Self {
        let mut machine = Self::default();
        machine.role("root", &[]);
        machine.user("root", "root");
        machine.role(
            "some",
            &[
                (PermissionKind::ReadWrite, "a", "c"),
                (PermissionKind::Write, "w", ""),
                (PermissionKind::Read, "r", ""),
            ],
        );
        machine.user("alice", "some");
        assert_eq!(machine.root(add("bob")), Ok(()));
        assert_eq!(machine.root(AuthCommand::Enable), Ok(()));
        machine
    }
}

fn add(name: &str) -> AuthCommand {
    let hashed_password = Secret::from("JDJhJA==".to_owned());
    AuthCommand::UserAdd(UserAdd { name: name.into(), hashed_password, no_password: false })
}

fn grant_role(user: &str, role: &str) -> AuthCommand {
    AuthCommand::UserGrantRole(UserRole { user: user.into(), role: role.into() })
}

fn revoke_role(user: &str, role: &str) -> AuthCommand {
    AuthCommand::UserRevokeRole(UserRole { user: user.into(), role: role.into() })
}

fn range(key: &str, end: &str) -> KeyRange {
    KeyRange::from_wire(Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(end.as_bytes()))
}

fn permit(role: &str, kind: PermissionKind, key: &str, end: &str) -> AuthCommand {
    let permission = Some(Permission { kind, range: range(key, end) });
    AuthCommand::RoleGrantPermission(RoleGrantPermission { role: role.into(), permission })
}

fn revoke(role: &str, key: &str, end: &str) -> AuthCommand {
    AuthCommand::RoleRevokePermission(RoleRevokePermission { role: role.into(), range: range(key, end) })
}

fn authenticate(name: &str) -> AuthCommand {
    AuthCommand::Authenticate(Authenticate { name: name.into(), simple_token: Secret::default() })
}

fn put_op(key: &str) -> Put {
    Put { key: Bytes::copy_from_slice(key.as_bytes()), ..Put::default() }
}

fn put(key: &str) -> Command {
    Command::Put(put_op(key))
}

fn leased(key: &str, lease: i64) -> Put {
    Put { lease, ..put_op(key) }
}

fn txn(op: Op) -> Command {
    Command::Txn(Txn { success: vec![op], ..Txn::default() })
}

/// The operation in the branch that does not run, two levels down.
fn buried(op: Op) -> Command {
    let inner = Txn { failure: vec![op], ..Txn::default() };
    txn(Op::Txn(Txn { success: vec![Op::Txn(inner)], ..Txn::default() }))
}

const DENIED: Refused = Err(EtcdError::PermissionDenied);

#[test]
fn a1_enabling_needs_root_with_his_role() {
    let mut machine = Machine::default();
    assert_eq!(machine.root(AuthCommand::Enable), Err(EtcdError::RootUserNotExist));
    assert_eq!(machine.root(add("root")), Ok(()));
    assert_eq!(machine.root(AuthCommand::Enable), Err(EtcdError::RootRoleNotExist));
    assert_eq!(machine.root(grant_role("root", "root")), Ok(()), "though no role of that name exists");
    let before = machine.revision();
    assert_eq!(machine.root(AuthCommand::Disable), Ok(()), "it is off");
    assert_eq!(machine.root(AuthCommand::Enable), Ok(()));
    assert_eq!(machine.root(AuthCommand::Enable), Ok(()), "it is on");
    assert_eq!(machine.revision(), before);
    assert!(machine.state.auth.is_enabled());
    for command in [AuthCommand::Enable, AuthCommand::Disable] {
        assert_eq!(machine.run("", Command::Auth(command)), Err(EtcdError::UserEmpty));
    }
    assert_eq!(machine.root(AuthCommand::Disable), Ok(()));
    assert_eq!(machine.revision(), before + 1);
    assert_eq!(machine.run("", put("x")), Ok(()));
}

#[test]
fn a2_every_change_adds_one_and_refusals_none_and_an_old_revision_is_refused() {
    let mut machine = Machine::guarded();
    let changes = [
        add("carol"),
        grant_role("carol", "some"),
        AuthCommand::UserChangePassword(UserChangePassword {
            name: "carol".into(),
            hashed_password: Secret::default(),
        }),
        revoke_role("carol", "some"),
        AuthCommand::UserDelete("carol".into()),
        AuthCommand::RoleAdd("extra".into()),
        permit("extra", PermissionKind::Read, "k", ""),
        revoke("extra", "k", ""),
        AuthCommand::RoleDelete("extra".into()),
    ];
    for change in changes {
        let (before, old) = (machine.revision(), machine.who("alice"));
        assert_eq!(machine.root(change.clone()), Ok(()), "{change:?}");
        assert_eq!(machine.revision(), before + 1, "{change:?}");
        assert_eq!(machine.apply_as(old.clone(), put("a")).map(drop), Err(EtcdError::AuthOldRevision));
        assert_eq!(
            machine.state.authorize(&old, Access::Read(&range("a", ""))),
            Err(EtcdError::AuthOldRevision)
        );
    }
    let before = machine.revision();
    assert_eq!(machine.root(add("bob")), Err(EtcdError::UserAlreadyExist));
    assert_eq!(machine.root(grant_role("alice", "some")), Ok(()), "he has it already");
    assert_eq!(machine.revision(), before);
    assert_eq!(machine.run("alice", put("a")), Ok(()));
    assert_eq!(machine.run("", put("a")), Err(EtcdError::UserEmpty));
    let store_revision = machine.state.mvcc.revision();
    assert_eq!(machine.root(add("dave")), Ok(()));
    assert_eq!(machine.state.mvcc.revision(), store_revision);
}

#[test]
fn a3_nobody_may_do_nothing_once_it_is_on() {
    let mut machine = Machine::guarded();
    let everything = KeyRange::everything();
    let nothing = Txn::default();
    let (none, user) = (Err(EtcdError::UserEmpty), Access::User);
    for access in
        [user, Access::Admin, Access::Read(&everything), Access::ReadTxn(&nothing), Access::UserGet("")]
    {
        assert_eq!(machine.may("", access), none, "{access:?}");
    }
    assert_eq!(machine.run("", Command::DeleteRange(DeleteRange::single(Key::from("a")))), none);
    assert_eq!(machine.run("", txn(Op::Put(put_op("a")))), none);
    assert_eq!(machine.may("gone", user), DENIED);
    assert_eq!(machine.may("gone", Access::Admin), Err(EtcdError::UserNotFound));
    assert_eq!(machine.run("gone", put("a")), DENIED);
}

#[test]
fn a7_a_log_in_is_for_users_with_a_password_while_it_is_on() {
    let mut machine = Machine::default();
    assert_eq!(machine.run("", Command::Auth(authenticate("root"))), Err(EtcdError::AuthNotEnabled));
    let mut machine = Machine::guarded();
    let only_a_certificate =
        UserAdd { name: "cn".into(), hashed_password: Secret::default(), no_password: true };
    assert_eq!(machine.root(AuthCommand::UserAdd(only_a_certificate)), Ok(()));
    let auth_revision = machine.revision();
    let index = machine.state.applied().next();
    assert_eq!(
        machine.apply_as(Identity::default(), Command::Auth(authenticate("bob"))),
        Ok(Response::Authenticated { index, auth_revision, revision: Revision(1) })
    );
    for name in ["cn", "nobody", ""] {
        assert_eq!(machine.run("", Command::Auth(authenticate(name))), Err(EtcdError::AuthFailed), "{name}");
    }
}

#[test]
fn a8_users_and_their_passwords() {
    let mut machine = Machine::guarded();
    let hash = |machine: &Machine, name: &str| machine.state.auth.user(name).unwrap().password_hash.0.clone();
    assert_eq!(machine.root(add("")), Err(EtcdError::UserEmpty));
    assert_eq!(machine.root(add("bob")), Err(EtcdError::UserAlreadyExist));
    assert_eq!(hash(&machine, "bob"), "$2a$");
    let change = |name: &str, text: &str| {
        let hashed_password = Secret::from(text.to_owned());
        AuthCommand::UserChangePassword(UserChangePassword { name: name.into(), hashed_password })
    };
    assert_eq!(machine.root(change("bob", "JDJiJA==")), Ok(()));
    assert_eq!(hash(&machine, "bob"), "$2b$");
    assert_eq!(machine.root(change("bob", "no base64!")), Err(EtcdError::AuthFailed));
    assert_eq!(hash(&machine, "bob"), "$2b$");
    assert_eq!(machine.root(change("nobody", "")), Err(EtcdError::UserNotFound));
    let cn = UserAdd {
        name: "cn".into(),
        hashed_password: Secret::from("JDJhJA==".to_owned()),
        no_password: true,
    };
    assert_eq!(machine.root(AuthCommand::UserAdd(cn)), Ok(()));
    assert_eq!(machine.root(change("cn", "JDJiJA==")), Ok(()));
    assert_eq!(hash(&machine, "cn"), "", "without a password before and after");
    let shown = format!("{:?} {:?}", change("bob", "JDJiJA=="), machine.state.auth);
    assert!(!shown.contains("JDJ") && !shown.contains("$2b$"), "CVE-2021-28235: {shown}");
}

#[test]
fn a9_root_stays_while_it_is_on_and_roles_go_with_their_grants() {
    let mut machine = Machine::guarded();
    let guarded = [
        AuthCommand::UserDelete("root".into()),
        revoke_role("root", "root"),
        AuthCommand::RoleDelete("root".into()),
    ];
    for command in guarded.clone() {
        assert_eq!(machine.root(command.clone()), Err(EtcdError::InvalidAuthMgmt), "{command:?}");
    }
    assert_eq!(machine.root(AuthCommand::RoleDelete("some".into())), Ok(()));
    assert_eq!(machine.state.auth.user("alice").unwrap().roles, [""; 0]);
    assert_eq!(machine.run("alice", put("a")), DENIED);
    machine.role("some", &[(PermissionKind::Write, "a", "")]);
    assert_eq!(machine.run("alice", put("a")), DENIED, "a new role of that name is another");
    for (command, error) in [
        (AuthCommand::UserDelete("x".into()), EtcdError::UserNotFound),
        (grant_role("x", "some"), EtcdError::UserNotFound),
        (grant_role("bob", "x"), EtcdError::RoleNotFound),
        (revoke_role("x", "some"), EtcdError::UserNotFound),
        (revoke_role("bob", "some"), EtcdError::RoleNotGranted),
        (AuthCommand::RoleAdd(String::new()), EtcdError::RoleEmpty),
        (AuthCommand::RoleAdd("some".into()), EtcdError::RoleAlreadyExist),
        (AuthCommand::RoleDelete("x".into()), EtcdError::RoleNotFound),
    ] {
        assert_eq!(machine.root(command.clone()), Err(error), "{command:?}");
    }
    assert_eq!(machine.root(AuthCommand::Disable), Ok(()));
    for command in guarded.into_iter().rev() {
        let expected = if matches!(command, AuthCommand::UserRevokeRole(_)) {
            Err(EtcdError::RoleNotGranted)
        } else {
            Ok(())
        };
        assert_eq!(machine.root(command.clone()), expected, "{command:?}");
    }
}

#[test]
fn a10_permissions_are_granted_changed_and_revoked() {
    use PermissionKind::{Read, ReadWrite, Write};
    let mut machine = Machine::guarded();
    let nothing = RoleGrantPermission { role: "some".into(), permission: None };
    assert_eq!(machine.root(AuthCommand::RoleGrantPermission(nothing)), Err(EtcdError::PermissionNotGiven));
    for (key, end) in [("", ""), ("", "\0"), ("b", "a"), ("b", "b")] {
        assert_eq!(
            machine.root(permit("some", Read, key, end)),
            Err(EtcdError::InvalidAuthMgmt),
            "{key:?} {end:?}"
        );
    }
    assert_eq!(machine.root(permit("x", Read, "k", "")), Err(EtcdError::RoleNotFound));
    assert_eq!(machine.root(AuthCommand::RoleAdd("r".into())), Ok(()));
    for (kind, key, end) in
        [(Read, "m", ""), (Read, "b", "z"), (Write, "m", "n"), (ReadWrite, "b", "z"), (Read, "\0", "\0")]
    {
        assert_eq!(machine.root(permit("r", kind, key, end)), Ok(()));
    }
    let permissions = |machine: &Machine| -> Vec<(PermissionKind, KeyRange)> {
        let role = machine.state.auth.role("r").unwrap();
        role.permissions.iter().map(|permission| (permission.kind, permission.range.clone())).collect()
    };
    let expected = [
        (Read, range("\0", "\0")),
        (ReadWrite, range("b", "z")),
        (Read, range("m", "")),
        (Write, range("m", "n")),
    ];
    assert_eq!(permissions(&machine), expected);
    // etcd compares the first permission of a key only.
    assert_eq!(machine.root(permit("r", ReadWrite, "m", "n")), Ok(()));
    assert_eq!(permissions(&machine)[3..], [(Write, range("m", "n")), (ReadWrite, range("m", "n"))]);
    assert_eq!(machine.root(revoke("r", "m", "n")), Ok(()), "both");
    assert_eq!(permissions(&machine), expected[..3]);
    assert_eq!(machine.root(revoke("r", "m", "n")), Err(EtcdError::PermissionNotGranted));
    assert_eq!(machine.root(revoke("x", "m", "n")), Err(EtcdError::RoleNotFound));
}

#[test]
fn a11_the_roles_of_a_user_are_united() {
    let mut machine = Machine::guarded();
    machine.role("more", &[(PermissionKind::Read, "c", "f"), (PermissionKind::Write, "x", "\0")]);
    assert_eq!(machine.may("alice", Access::Read(&range("a", "f"))), DENIED);
    assert_eq!(machine.root(grant_role("alice", "more")), Ok(()));
    assert_eq!(machine.may("alice", Access::Read(&range("a", "f"))), Ok(()));
    assert_eq!(machine.may("alice", Access::Read(&range("a", "f\0"))), DENIED);
    assert_eq!(machine.run("alice", put("d")), DENIED, "read only");
    assert_eq!(machine.run("alice", put("zzz")), Ok(()));
    assert_eq!(machine.root(permit("more", PermissionKind::ReadWrite, "c", "f")), Ok(()), "at once");
    assert_eq!(machine.run("alice", put("d")), Ok(()));
    assert_eq!(machine.root(revoke_role("alice", "more")), Ok(()));
    assert_eq!(machine.run("alice", put("d")), DENIED);
}

#[test]
fn a12_the_role_root_may_do_everything() {
    let mut machine = Machine::guarded();
    assert_eq!(machine.root(grant_role("bob", "root")), Ok(()));
    assert_eq!(machine.run("bob", put("anything")), Ok(()));
    assert_eq!(machine.may("bob", Access::Read(&KeyRange::everything())), Ok(()));
    assert_eq!(machine.run("bob", Command::Auth(add("by-bob"))), Ok(()));
}

#[test]
fn a13_what_takes_an_admin() {
    let mut machine = Machine::guarded();
    let commands = [
        AuthCommand::Enable,
        AuthCommand::Disable,
        add("x"),
        AuthCommand::UserDelete("bob".into()),
        AuthCommand::UserChangePassword(UserChangePassword {
            name: "alice".into(),
            hashed_password: Secret::default(),
        }),
        grant_role("alice", "root"),
        revoke_role("alice", "some"),
        AuthCommand::RoleAdd("x".into()),
        AuthCommand::RoleDelete("some".into()),
        permit("some", PermissionKind::ReadWrite, "\0", "\0"),
        revoke("some", "a", "c"),
    ];
    for command in commands {
        assert_eq!(machine.run("alice", Command::Auth(command.clone())), DENIED, "{command:?}");
        assert_eq!(machine.run("", Command::Auth(command.clone())), Err(EtcdError::UserEmpty), "{command:?}");
    }
    assert_eq!(machine.may("alice", Access::Admin), DENIED);
    assert_eq!(machine.may("alice", Access::User), Ok(()));
    assert_eq!(machine.may("alice", Access::UserGet("alice")), Ok(()));
    assert_eq!(machine.may("alice", Access::UserGet("bob")), DENIED);
    assert_eq!(machine.may("alice", Access::RoleGet("some")), Ok(()));
    assert_eq!(machine.may("bob", Access::RoleGet("some")), DENIED);
    assert_eq!(machine.may("root", Access::UserGet("nobody")), Ok(()));
}

#[test]
fn a14_attaching_a_key_takes_a_say_in_all_that_is_attached() {
    let mut machine = Machine::guarded();
    for id in [7, 8] {
        let grant = LeaseGrant { id: LeaseId(id), ttl_seconds: 60 };
        assert_eq!(machine.run("alice", Command::LeaseGrant(grant)), Ok(()));
    }
    assert_eq!(machine.run("root", Command::Put(leased("secret", 7))), Ok(()));
    assert_eq!(machine.run("root", Command::Put(leased("b", 8))), Ok(()));
    assert_eq!(machine.run("alice", Command::Put(leased("a", 7))), DENIED);
    assert_eq!(machine.run("alice", txn(Op::Put(leased("a", 7)))), DENIED);
    assert_eq!(machine.run("alice", buried(Op::Put(leased("a", 7)))), DENIED, "CVE-2026-44283");
    assert_eq!(machine.run("alice", Command::Put(leased("a", 8))), Ok(()));
}

#[test]
fn a15_cve_2023_32082_l12_l9_leases_belong_to_those_who_may_write_their_keys() {
    let mut machine = Machine::guarded();
    for id in [7, 8, 9] {
        let grant = LeaseGrant { id: LeaseId(id), ttl_seconds: 60 };
        assert_eq!(machine.run("root", Command::LeaseGrant(grant)), Ok(()));
    }
    for (key, lease) in [("a", 7), ("w", 7), ("a2", 8), ("r", 8), ("b", 8)] {
        assert_eq!(machine.run("root", Command::Put(leased(key, lease))), Ok(()));
    }
    let revoke = |id| Command::LeaseRevoke(LeaseRevoke { id: LeaseId(id) });
    assert_eq!(machine.may("alice", Access::WriteAttached(LeaseId(7))), Ok(()));
    assert_eq!(machine.may("alice", Access::ReadAttached(LeaseId(7))), DENIED, "CVE-2023-32082");
    assert_eq!(machine.may("alice", Access::WriteAttached(LeaseId(8))), DENIED);
    assert_eq!(machine.may("alice", Access::ReadAttached(LeaseId(8))), Ok(()));
    assert_eq!(machine.run("alice", revoke(8)), DENIED);
    assert_eq!(machine.run("bob", revoke(7)), DENIED);
    assert_eq!(machine.run("", revoke(7)), Err(EtcdError::UserEmpty));
    assert_eq!(machine.run("bob", revoke(9)), Ok(()), "nothing is attached");
    assert_eq!(machine.run("alice", revoke(7)), Ok(()));
    // The cluster itself, when the lease has expired, however often users have changed.
    assert_eq!(machine.apply_as(Identity::of_cluster(), revoke(8)).map(drop), Ok(()));
}

#[test]
fn a15_cve_2026_33343_44283_every_operation_of_every_branch_is_looked_at() {
    let mut machine = Machine::guarded();
    let prev = |key: &str| Put { prev_kv: true, ..put_op(key) };
    let delete = |key: &str, end: &str, prev_kv| DeleteRange { range: range(key, end), prev_kv };
    let forbidden = [
        Op::Put(put_op("c")),
        Op::Put(prev("w")),
        Op::Put(put_op("r")),
        Op::DeleteRange(delete("a", "d", false)),
        Op::DeleteRange(delete("w", "", true)),
        Op::Range(RangeQuery::of(range("w", ""))),
        Op::Range(RangeQuery::of(range("a", "\0"))),
    ];
    for op in forbidden {
        assert_eq!(machine.run("alice", txn(op.clone())), DENIED, "{op:?}");
        assert_eq!(machine.run("alice", buried(op.clone())), DENIED, "{op:?}");
        assert_eq!(machine.run("root", buried(op.clone())), Ok(()), "{op:?}");
    }
    let permitted = [
        Op::Put(prev("a")),
        Op::Put(put_op("w")),
        Op::DeleteRange(delete("a", "c", true)),
        Op::DeleteRange(delete("w", "", false)),
        Op::Range(RangeQuery::of(range("r", ""))),
    ];
    for op in permitted {
        assert_eq!(machine.run("alice", txn(op.clone())), Ok(()), "{op:?}");
        assert_eq!(machine.run("alice", buried(op.clone())), Ok(()), "{op:?}");
    }
    let compare = |key: &str, end: &str| Txn {
        compare: vec![Compare {
            range: range(key, end),
            target: CompareTarget::Version(0),
            result: Some(CompareResult::Equal),
        }],
        ..Txn::default()
    };
    assert_eq!(machine.run("alice", Command::Txn(compare("w", ""))), DENIED);
    assert_eq!(machine.run("alice", txn(Op::Txn(compare("a", "d")))), DENIED);
    assert_eq!(machine.run("alice", txn(Op::Txn(compare("a", "c")))), Ok(()));
    assert_eq!(machine.may("alice", Access::ReadTxn(&compare("w", ""))), DENIED);
    // Not looked at by members when it is applied, as in etcd: their edge has (A13).
    assert_eq!(
        machine.run("root", Command::Compact(Compact { revision: Revision(2), physical: false })),
        Ok(())
    );
}

#[test]
fn a11_thousands_of_users_have_each_what_is_his() {
    const USERS: usize = 3_000;
    let mut machine = Machine::guarded();
    for number in 0..USERS {
        let (user, role, key) = (format!("u{number}"), format!("r{number}"), format!("k{number}"));
        for command in [
            add(&user),
            AuthCommand::RoleAdd(role.clone()),
            permit(&role, PermissionKind::Read, &key, ""),
            grant_role(&user, &role),
            grant_role(&user, "some"),
        ] {
            assert_eq!(machine.root(command), Ok(()));
        }
    }
    // A role of all of them changes for all at once.
    assert_eq!(machine.root(permit("some", PermissionKind::Read, "for-all", "")), Ok(()));
    for number in 0..USERS {
        let user = format!("u{number}");
        let read = |key: String| machine.may(&user, Access::Read(&range(&key, "")));
        assert_eq!(read(format!("k{number}")), Ok(()));
        assert_eq!(read(format!("k{}", number + 1)), DENIED);
        assert_eq!(read("for-all".to_owned()), Ok(()));
    }
}

#[test]
fn users_roles_and_the_switch_come_back_from_the_tables() {
    let machine = Machine::guarded();
    let rows = machine.state.tables();
    let mut again = StateMachine::default();
    rows.iter().rev().for_each(|row| again.load_table(row));
    assert_eq!(again.tables(), rows);
    assert!(again.auth.is_enabled() && again.auth.revision() == machine.revision());
    let who = machine.who("alice");
    assert_eq!(again.authorize(&who, Access::Read(&range("a", "c"))), Ok(()));
    assert_eq!(again.authorize(&who, Access::Read(&range("a", "d"))), DENIED);
    assert_eq!(StateMachine::default().tables(), [], "untouched: as a store of an older version");
}
