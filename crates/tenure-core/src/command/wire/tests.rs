use super::*;
use crate::command::{
    Authenticate, Permission, PermissionKind, RoleGrantPermission, RoleRevokePermission, UserAdd,
    UserChangePassword, UserRole,
};
use crate::types::{Key, Secret};
use proptest::collection::vec;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn request(id: u64, command: Command) -> Request {
    Request { header: RequestHeader { id: RequestId(id), ..RequestHeader::default() }, command }
}

fn put(key: &'static str, value: &'static str) -> Put {
    Put { key: Bytes::from_static(key.as_bytes()), value: value.into(), ..Put::default() }
}

/// Each row was written down by hand from the field numbers of `raft_internal.proto`.
#[test]
fn requests_are_the_bytes_of_internal_raft_request() {
    let from_a = KeyRange::from_wire("a".into(), Bytes::from_static(&[0]));
    let lease = LeaseRemaining { id: LeaseId(7), remaining_ttl_seconds: 60 };
    let txn = Txn {
        compare: vec![Compare {
            range: KeyRange::single("a".into()),
            target: CompareTarget::Mod(0),
            result: Some(CompareResult::Greater),
        }],
        success: vec![Op::Range(RangeQuery::of(KeyRange::single("a".into())))],
        failure: vec![],
    };
    let attributes = MemberAttributesSet {
        member: MemberId(3),
        name: "n".into(),
        client_urls: vec!["u".into(), "v".into()],
    };
    let rows = [
        (Command::Put(put("foo", "bar")), "220a0a03666f6f1203626172a2060308b424"),
        (
            Command::DeleteRange(DeleteRange { range: from_a, prev_kv: true }),
            "2a080a01611201001801a2060308b424",
        ),
        (Command::Txn(txn), "32120a09080110021a0161300012050a030a0161a2060308b424"),
        (Command::Compact(Compact { revision: Revision(5), physical: true }), "3a0408051001a2060308b424"),
        (
            Command::LeaseGrant(LeaseGrant { id: LeaseId(-1), ttl_seconds: 10 }),
            "420d080a10ffffffffffffffffff01a2060308b424",
        ),
        (Command::LeaseRevoke(LeaseRevoke { id: LeaseId(7) }), "4a020807a2060308b424"),
        (Command::LeaseCheckpoint(vec![lease]), "5a060a040807103ca2060308b424"),
        (
            Command::Alarm(AlarmCommand {
                action: AlarmAction::Activate,
                member: MemberId(9),
                alarm: Some(AlarmType::NoSpace),
            }),
            "5206080110091801a2060308b424",
        ),
        (
            Command::ClusterVersionSet(ClusterVersionSet { version: "3.7.0".into() }),
            "a2060308b424a251070a05332e372e30",
        ),
        (Command::MemberAttributesSet(attributes), "a2060308b424aa510d080312090a016e120175120176"),
        (
            Command::DowngradeInfoSet(DowngradeInfoSet { enabled: true, version: "3.6.0".into() }),
            "a2060308b424b2510908011205332e362e30",
        ),
        (Command::Nothing, "a2060308b424"),
    ];
    for (command, expected) in rows {
        let request = request(0x1234, command);
        assert_eq!(hex(&request.encode()), expected, "{request:?}");
        assert_eq!(request.encoded_len() * 2, expected.len());
        assert_eq!(Request::decode(request.encode()), Ok(request));
    }
}

/// So were these.
#[test]
fn commands_of_authentication_are_the_bytes_of_internal_raft_request() {
    let secret = |text: &str| Secret::from(text.to_owned());
    let names = || UserRole { user: "u".into(), role: "r".into() };
    let user = |no_password| UserAdd { name: "u".into(), hashed_password: secret("h"), no_password };
    let from_k = || KeyRange::from_wire("k".into(), Bytes::from_static(&[0]));
    let permission = Permission { kind: PermissionKind::ReadWrite, range: from_k() };
    let rows = [
        (AuthCommand::Enable, "c23e00"),
        (AuthCommand::Disable, "9a3f00"),
        (
            AuthCommand::Authenticate(Authenticate { name: "u".into(), simple_token: secret("t") }),
            "a23f060a01751a0174",
        ),
        (AuthCommand::UserAdd(user(false)), "e244080a01751a00220168"),
        (AuthCommand::UserAdd(user(true)), "e2440a0a01751a020801220168"),
        (AuthCommand::UserDelete("u".into()), "ea44030a0175"),
        (
            AuthCommand::UserChangePassword(UserChangePassword {
                name: "u".into(),
                hashed_password: secret("h"),
            }),
            "fa44060a01751a0168",
        ),
        (AuthCommand::UserGrantRole(names()), "8245060a0175120172"),
        (AuthCommand::UserRevokeRole(names()), "8a45060a0175120172"),
        (AuthCommand::RoleAdd("r".into()), "824b030a0172"),
        (AuthCommand::RoleDelete("r".into()), "8a4b030a0172"),
        (
            AuthCommand::RoleGrantPermission(RoleGrantPermission {
                role: "r".into(),
                permission: Some(permission),
            }),
            "9a4b0d0a01721208080212016b1a0100",
        ),
        (
            AuthCommand::RoleRevokePermission(RoleRevokePermission { role: "r".into(), range: from_k() }),
            "a24b090a017212016b1a0100",
        ),
    ];
    for (command, expected) in rows {
        let request = request(0x1234, Command::Auth(command));
        assert_eq!(hex(&request.encode()), format!("a2060308b424{expected}"), "{request:?}");
        assert_eq!(Request::decode(request.encode()), Ok(request));
    }
}

#[test]
fn a8_cve_2021_28235_a_password_in_plain_text_is_not_taken_up() {
    // An `AuthUserAddRequest{name: "u", password: "secret"}`, as etcd before 3.5 logged it.
    let bytes = Bytes::from_static(b"\xe2\x44\x0b\x0a\x01u\x12\x06secret");
    let request = Request::decode(bytes).expect("decodes");
    assert!(!format!("{request:?}").contains("secret"), "{request:?}");
    assert!(!request.encode().windows(6).any(|bytes| bytes == b"secret"));
}

#[test]
fn the_header_says_who_asked() {
    let identity = Identity { username: "root".into(), auth_revision: 7 };
    let header = RequestHeader { id: RequestId(1), identity };
    let request = Request { header, command: Command::Nothing };
    assert_eq!(hex(&request.encode()), "a2060a08011204726f6f741807");
    assert_eq!(Request::decode(request.encode()), Ok(request));
}

#[test]
fn an_id_outside_the_header_counts() {
    let bytes = Bytes::from_static(b"\x08\x05\xa2\x06\x02\x08\x01");
    assert_eq!(Request::decode(bytes).map(|request| request.header.id), Ok(RequestId(5)));
}

#[test]
fn unknown_and_read_only_fields_are_nothing() {
    let range = b"\x1a\x03\x0a\x01a";
    let auth_status = b"\xaa\x3f\x00";
    let version_test = b"\xe2\xea\x04\x00";
    let not_yet_invented = b"\x82\x7d\x02\x08\x01";
    for bytes in [&range[..], auth_status, version_test, not_yet_invented, b""] {
        let request = Request::decode(Bytes::copy_from_slice(bytes)).expect("decodes");
        assert_eq!(request.command, Command::Nothing, "{}", hex(bytes));
    }
}

#[test]
fn what_is_no_message_is_malformed() {
    for bytes in [&b"\x22\x05\x0a"[..], b"\x22", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let decoded = Request::decode(Bytes::copy_from_slice(bytes));
        assert!(matches!(decoded, Err(DecodeError::Malformed(_))), "{decoded:?}");
    }
}

#[test]
fn keys_and_values_share_the_buffer_of_the_entry() {
    let bytes = request(1, Command::Put(put("a key", "a value"))).encode();
    let inside = bytes.as_ptr_range();
    let Ok(Request { command: Command::Put(put), .. }) = Request::decode(bytes.clone()) else {
        panic!("a put");
    };
    assert!(inside.contains(&put.key.as_ptr()) && inside.contains(&put.value.as_ptr()));
}

/// Q7: with a 3-byte key the largest value under `--max-request-bytes` 1,572,864 has 1,572,838 bytes.
#[test]
fn q7_encoded_len_is_what_etcd_measures() {
    let of = |value_bytes: usize| {
        let id = 0x1234_0123_4567_8901;
        let put = Put { key: "foo".into(), value: vec![b'x'; value_bytes].into(), ..Put::default() };
        request(id, Command::Put(put)).encoded_len()
    };
    assert!(of(1_572_838) <= 1_572_864, "{}", of(1_572_838));
    assert!(of(1_572_839) > 1_572_864, "{}", of(1_572_839));
}

#[test]
fn r7_unknown_sort_is_refused_at_the_edge_and_the_default_in_the_log() {
    let by = |sort_order, sort_target| pb::RangeRequest {
        key: "a".into(),
        sort_order,
        sort_target,
        ..pb::RangeRequest::default()
    };
    for wire in [by(3, 0), by(-1, 0), by(0, 5)] {
        assert_eq!(RangeQuery::from_wire(wire.clone()), Err(EtcdError::InvalidSortOption));
        let op = pb::RequestOp { request: Some(request_op::Request::RequestRange(wire.clone())) };
        let txn = pb::TxnRequest { success: vec![op], ..pb::TxnRequest::default() };
        assert_eq!(Txn::from_wire(txn.clone()), Err(EtcdError::InvalidSortOption));
        let logged = pb::InternalRaftRequest { txn: Some(txn), ..pb::InternalRaftRequest::default() };
        let plain = Op::Range(RangeQuery::of(KeyRange::single("a".into())));
        let decoded = Request::decode(logged.encode_to_vec().into()).expect("decodes");
        assert_eq!(decoded.command, Command::Txn(Txn { success: vec![plain], ..Txn::default() }));
    }
    assert!(RangeQuery::from_wire(by(2, 4)).is_ok());
}

#[test]
fn t2_an_unset_operation_is_key_not_found() {
    let unset = pb::RequestOp { request: None };
    let outer = |op| pb::TxnRequest { failure: vec![op], ..pb::TxnRequest::default() };
    assert_eq!(Txn::from_wire(outer(unset.clone())), Err(EtcdError::KeyNotFound));
    let nested = pb::RequestOp { request: Some(request_op::Request::RequestTxn(outer(unset))) };
    assert_eq!(Txn::from_wire(outer(nested.clone())), Err(EtcdError::KeyNotFound));
    let logged = pb::InternalRaftRequest { txn: Some(outer(nested)), ..pb::InternalRaftRequest::default() };
    let decoded = Request::decode(logged.encode_to_vec().into());
    assert_eq!(decoded, Err(DecodeError::Invalid(EtcdError::KeyNotFound)));
}

#[test]
fn t5_a_wrong_operand_counts_as_unset_and_unknown_numbers_stay_unknown() {
    use compare::TargetUnion;
    let of = |target, target_union, result| {
        Compare::from_wire(pb::Compare {
            result,
            target,
            key: "a".into(),
            range_end: Bytes::new(),
            target_union,
        })
    };
    assert_eq!(of(0, Some(TargetUnion::ModRevision(4)), 0).target, CompareTarget::Version(0));
    assert_eq!(of(1, None, 0).target, CompareTarget::Create(0));
    assert_eq!(of(2, Some(TargetUnion::Lease(4)), 0).target, CompareTarget::Mod(0));
    assert_eq!(of(3, Some(TargetUnion::Version(4)), 0).target, CompareTarget::Value(Bytes::new()));
    assert_eq!(of(4, Some(TargetUnion::Value("x".into())), 0).target, CompareTarget::Lease(0));
    let unknown = of(5, Some(TargetUnion::Version(4)), 4);
    assert_eq!((&unknown.target, unknown.result), (&CompareTarget::Unknown, None));
    assert_eq!(Compare::from_wire(unknown.to_wire()), unknown);
}

#[test]
fn q6_an_unknown_alarm_action_is_refused() {
    assert_eq!(AlarmCommand::from_wire(pb::AlarmRequest { action: 3, member_id: 1, alarm: 1 }), None);
    assert_eq!(AlarmCommand::from_wire(pb::AlarmRequest { action: 1, member_id: 1, alarm: 3 }), None);
    let get = pb::AlarmRequest { action: 0, member_id: 1, alarm: 0 };
    let all = AlarmCommand { action: AlarmAction::Get, member: MemberId(1), alarm: None };
    assert_eq!(AlarmCommand::from_wire(get), Some(all));
}

fn some_bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..6).prop_map(Bytes::from)
}

fn some_range() -> impl Strategy<Value = KeyRange> {
    (some_bytes(), some_bytes()).prop_map(|(key, end)| KeyRange::from_wire(key, end))
}

fn some_query() -> impl Strategy<Value = RangeQuery> {
    use SortOrder::{Ascend, Descend};
    use SortTarget::{Create, Mod, Value, Version};
    let order = prop::sample::select(vec![SortOrder::None, Ascend, Descend]);
    let target = prop::sample::select(vec![SortTarget::Key, Version, Create, Mod, Value]);
    (some_range(), order, target, any::<[bool; 3]>(), any::<[i64; 6]>()).prop_map(
        |(range, sort_order, sort_target, flags, numbers)| RangeQuery {
            range,
            limit: numbers[0],
            revision: numbers[1],
            sort_order,
            sort_target,
            serializable: flags[0],
            keys_only: flags[1],
            count_only: flags[2],
            min_mod_revision: numbers[2],
            max_mod_revision: numbers[3],
            min_create_revision: numbers[4],
            max_create_revision: numbers[5],
        },
    )
}

fn some_put() -> impl Strategy<Value = Put> {
    (some_bytes(), some_bytes(), any::<i64>(), any::<[bool; 3]>()).prop_map(|(key, value, lease, flags)| {
        Put { key, value, lease, prev_kv: flags[0], ignore_value: flags[1], ignore_lease: flags[2] }
    })
}

fn some_delete() -> impl Strategy<Value = DeleteRange> {
    (some_range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRange { range, prev_kv })
}

fn some_compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        any::<i64>().prop_map(CompareTarget::Version),
        any::<i64>().prop_map(CompareTarget::Create),
        any::<i64>().prop_map(CompareTarget::Mod),
        some_bytes().prop_map(CompareTarget::Value),
        any::<i64>().prop_map(CompareTarget::Lease),
        Just(CompareTarget::Unknown),
    ];
    let result = prop::sample::select(vec![
        Some(CompareResult::Equal),
        Some(CompareResult::Greater),
        Some(CompareResult::Less),
        Some(CompareResult::NotEqual),
        None,
    ]);
    (some_range(), target, result).prop_map(|(range, target, result)| Compare { range, target, result })
}

fn some_txn() -> impl Strategy<Value = Txn> {
    let leaf = prop_oneof![
        some_query().prop_map(Op::Range),
        some_put().prop_map(Op::Put),
        some_delete().prop_map(Op::DeleteRange),
    ];
    let op = leaf.prop_recursive(3, 16, 4, |op| txn_of(op).prop_map(Op::Txn));
    txn_of(op)
}

fn txn_of(op: impl Strategy<Value = Op> + Clone) -> impl Strategy<Value = Txn> {
    (vec(some_compare(), 0..3), vec(op.clone(), 0..3), vec(op, 0..3))
        .prop_map(|(compare, success, failure)| Txn { compare, success, failure })
}

fn some_command() -> impl Strategy<Value = Command> {
    let remaining = (any::<i64>(), any::<i64>())
        .prop_map(|(id, seconds)| LeaseRemaining { id: LeaseId(id), remaining_ttl_seconds: seconds });
    let action = prop::sample::select(vec![AlarmAction::Get, AlarmAction::Activate, AlarmAction::Deactivate]);
    let alarm = prop::sample::select(vec![None, Some(AlarmType::NoSpace), Some(AlarmType::Corrupt)]);
    prop_oneof![
        some_put().prop_map(Command::Put),
        some_delete().prop_map(Command::DeleteRange),
        some_txn().prop_map(Command::Txn),
        (any::<i64>(), any::<bool>())
            .prop_map(|(at, physical)| Command::Compact(Compact { revision: Revision(at), physical })),
        (any::<i64>(), any::<i64>())
            .prop_map(|(id, ttl_seconds)| Command::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl_seconds })),
        any::<i64>().prop_map(|id| Command::LeaseRevoke(LeaseRevoke { id: LeaseId(id) })),
        vec(remaining, 0..4).prop_map(Command::LeaseCheckpoint),
        (action, any::<u64>(), alarm).prop_map(|(action, member, alarm)| {
            Command::Alarm(AlarmCommand { action, member: MemberId(member), alarm })
        }),
        "[0-9.]{0,6}".prop_map(|version| Command::ClusterVersionSet(ClusterVersionSet { version })),
        (any::<u64>(), "[a-z]{0,3}", vec("[a-z]{0,3}", 0..3)).prop_map(|(member, name, client_urls)| {
            Command::MemberAttributesSet(MemberAttributesSet { member: MemberId(member), name, client_urls })
        }),
        (any::<bool>(), "[0-9.]{0,6}").prop_map(|(enabled, version)| {
            Command::DowngradeInfoSet(DowngradeInfoSet { enabled, version })
        }),
        some_auth_command().prop_map(Command::Auth),
        Just(Command::Nothing),
    ]
}

fn some_auth_command() -> impl Strategy<Value = AuthCommand> {
    let name = || "[a-z]{0,3}";
    let secret = || "[a-z]{0,3}".prop_map(Secret::from);
    let names = || (name(), name()).prop_map(|(user, role)| UserRole { user, role });
    let kind = prop_oneof![
        Just(PermissionKind::Read),
        Just(PermissionKind::Write),
        Just(PermissionKind::ReadWrite),
        (3..9).prop_map(PermissionKind::Unknown),
    ];
    let permission = (kind, some_range()).prop_map(|(kind, range)| Permission { kind, range });
    prop_oneof![
        Just(AuthCommand::Enable),
        Just(AuthCommand::Disable),
        (name(), secret())
            .prop_map(|(name, simple_token)| AuthCommand::Authenticate(Authenticate { name, simple_token })),
        (name(), secret(), any::<bool>()).prop_map(|(name, hashed_password, no_password)| {
            AuthCommand::UserAdd(UserAdd { name, hashed_password, no_password })
        }),
        name().prop_map(AuthCommand::UserDelete),
        (name(), secret()).prop_map(|(name, hashed_password)| {
            AuthCommand::UserChangePassword(UserChangePassword { name, hashed_password })
        }),
        names().prop_map(AuthCommand::UserGrantRole),
        names().prop_map(AuthCommand::UserRevokeRole),
        name().prop_map(AuthCommand::RoleAdd),
        name().prop_map(AuthCommand::RoleDelete),
        (name(), proptest::option::of(permission)).prop_map(|(role, permission)| {
            AuthCommand::RoleGrantPermission(RoleGrantPermission { role, permission })
        }),
        (name(), some_range()).prop_map(|(role, range)| {
            AuthCommand::RoleRevokePermission(RoleRevokePermission { role, range })
        }),
    ]
}

proptest! {
    #[test]
    fn every_request_comes_back_from_its_bytes(
        command in some_command(),
        id in any::<u64>(),
        username in "[a-z]{0,5}",
        auth_revision in any::<u64>(),
    ) {
        let identity = Identity { username, auth_revision };
        let header = RequestHeader { id: RequestId(id), identity };
        let request = Request { header, command };
        let bytes = request.encode();
        prop_assert_eq!(bytes.len(), request.encoded_len());
        prop_assert_eq!(Request::decode(bytes).expect("decodes"), request);
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in vec(any::<u8>(), 0..64)) {
        if let Ok(request) = Request::decode(bytes.into()) {
            prop_assert_eq!(Request::decode(request.encode()).expect("decodes"), request);
        }
    }

    #[test]
    fn a_query_comes_back_from_its_message(query in some_query()) {
        prop_assert_eq!(RangeQuery::from_wire(query.to_wire()).expect("valid"), query);
    }
}

#[test]
fn a_range_of_one_zero_byte_is_everything() {
    let wire = RangeQuery::of(KeyRange::everything()).to_wire();
    assert_eq!((&wire.key[..], &wire.range_end[..]), (&b"\0"[..], &b"\0"[..]));
    assert_eq!(KeyRange::single(Key::from("a")).wire_end(), Bytes::new());
}
