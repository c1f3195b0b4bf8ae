//! What every method asks for.

use crate::support::{DENIED, DENIED_TOLD, EMPTY, EMPTY_TOLD, OK, ask, config, guard, start, text};
use std::collections::BTreeSet;
use tenure_api::FILE_DESCRIPTOR_SET;
use tonic::transport::Channel;

/// Method, request, how it ends for nobody and for alice, who may only touch `a`.
const GUARDED: &[(&str, &str, &str, &str)] = &[
    ("KV/Range", r#"key: "z""#, EMPTY, DENIED),
    ("KV/Range", r#"key: "a" range_end: "\0""#, EMPTY, DENIED),
    ("KV/Range", r#"key: "a""#, EMPTY, OK),
    ("KV/RangeStream", r#"key: "z""#, EMPTY, DENIED),
    ("KV/Put", r#"key: "z""#, EMPTY, DENIED),
    ("KV/DeleteRange", r#"key: "z""#, EMPTY, DENIED),
    ("KV/Txn", r#"success { request_put { key: "z" } }"#, EMPTY, DENIED),
    ("KV/Txn", r#"success { request_range { key: "z" } }"#, EMPTY, DENIED),
    ("KV/Txn", r#"success { request_txn { failure { request_put { key: "a" lease: 8 } } } }"#, EMPTY, DENIED),
    ("KV/Txn", "", EMPTY, OK),
    ("KV/Compact", "revision: 2", EMPTY, DENIED),
    ("Lease/LeaseGrant", "TTL: 60", EMPTY, OK),
    ("Lease/LeaseRevoke", "ID: 8", EMPTY, DENIED),
    ("Lease/LeaseKeepAlive", "ID: 8", EMPTY, DENIED),
    ("Lease/LeaseKeepAlive", "ID: 7", EMPTY, OK),
    ("Lease/LeaseTimeToLive", "ID: 8", EMPTY, OK),
    ("Lease/LeaseTimeToLive", "ID: 8 keys: true", EMPTY, DENIED),
    ("Lease/LeaseLeases", "", EMPTY, DENIED),
    ("Cluster/MemberAdd", r#"peerURLs: "http://127.0.0.1:1""#, EMPTY, DENIED),
    ("Cluster/MemberRemove", "ID: 1", EMPTY, DENIED),
    ("Cluster/MemberUpdate", "ID: 1", EMPTY, DENIED),
    ("Cluster/MemberPromote", "ID: 1", EMPTY, DENIED),
    ("Cluster/MemberList", "", EMPTY, OK),
    ("Cluster/MemberList", "linearizable: true", EMPTY, OK),
    ("Maintenance/Alarm", "action: GET", EMPTY, OK),
    ("Maintenance/Alarm", "action: ACTIVATE alarm: NOSPACE", EMPTY, DENIED),
    ("Maintenance/Alarm", "action: DEACTIVATE alarm: NOSPACE", EMPTY, DENIED),
    ("Maintenance/Status", "", EMPTY, OK),
    ("Maintenance/Defragment", "", EMPTY, DENIED),
    ("Maintenance/Hash", "", EMPTY, DENIED),
    ("Maintenance/HashKV", "", EMPTY, DENIED),
    ("Maintenance/Snapshot", "", EMPTY, DENIED),
    ("Maintenance/MoveLeader", "targetID: 1", EMPTY, DENIED),
    ("Maintenance/Downgrade", "", EMPTY, DENIED),
    ("Auth/AuthEnable", "", EMPTY, DENIED),
    ("Auth/AuthDisable", "", EMPTY, DENIED),
    ("Auth/AuthStatus", "", OK, OK),
    ("Auth/Authenticate", r#"name: "alice" password: "alice's password""#, OK, OK),
    ("Auth/UserAdd", r#"name: "x" password: "x""#, EMPTY, DENIED),
    ("Auth/UserAdd", r#"name: "x" options { no_password: true }"#, EMPTY, DENIED),
    ("Auth/UserGet", r#"name: "root""#, EMPTY, DENIED),
    ("Auth/UserGet", r#"name: "alice""#, EMPTY, OK),
    ("Auth/UserGet", r#"name: """#, EMPTY, DENIED),
    ("Auth/UserList", "", EMPTY, DENIED),
    ("Auth/UserDelete", r#"name: "alice""#, EMPTY, DENIED),
    ("Auth/UserChangePassword", r#"name: "alice" password: "x""#, EMPTY, DENIED),
    ("Auth/UserChangePassword", r#"name: "root" hashedPassword: "JDJh""#, EMPTY, DENIED),
    ("Auth/UserChangePassword", r#"name: "root" hashedPassword: "!""#, EMPTY, DENIED),
    ("Auth/UserGrantRole", r#"user: "alice" role: "root""#, EMPTY, DENIED),
    ("Auth/UserRevokeRole", r#"name: "alice" role: "some""#, EMPTY, DENIED),
    ("Auth/RoleAdd", r#"name: "x""#, EMPTY, DENIED),
    ("Auth/RoleGet", r#"role: "root""#, EMPTY, DENIED),
    ("Auth/RoleGet", r#"role: "some""#, EMPTY, OK),
    ("Auth/RoleList", "", EMPTY, DENIED),
    ("Auth/RoleDelete", r#"role: "some""#, EMPTY, DENIED),
    ("Auth/RoleGrantPermission", r#"name: "some" perm { key: "z" }"#, EMPTY, DENIED),
    ("Auth/RoleRevokePermission", r#"role: "some" key: "a""#, EMPTY, DENIED),
    ("Lock/Lock", r#"name: "z""#, EMPTY_TOLD, DENIED_TOLD),
    ("Lock/Unlock", r#"key: "z""#, EMPTY_TOLD, DENIED_TOLD),
    ("Election/Campaign", r#"name: "z""#, EMPTY_TOLD, DENIED_TOLD),
    ("Election/Proclaim", r#"leader { name: "z" key: "z" }"#, EMPTY_TOLD, DENIED_TOLD),
    ("Election/Leader", r#"name: "z""#, EMPTY_TOLD, DENIED_TOLD),
    ("Election/Observe", r#"name: "z""#, EMPTY_TOLD, DENIED_TOLD),
    ("Election/Resign", r#"leader { name: "z" key: "z" }"#, EMPTY_TOLD, DENIED_TOLD),
    ("Health/Check", "", OK, OK),
    ("Health/Watch", "", OK, OK),
    ("Health/List", "", OK, OK),
];

/// Every method that a client can call, but `Watch`, which refuses in its own way.
fn methods() -> BTreeSet<String> {
    let pool = prost_reflect::DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("descriptors");
    let methods = pool.services().flat_map(|service| {
        let name = service.name().to_owned();
        service.methods().map(move |method| format!("{name}/{}", method.name())).collect::<Vec<_>>()
    });
    methods.filter(|name| name != "Watch/Watch").collect()
}

#[tokio::test]
async fn a13_a15_cve_2026_33413_every_method_is_guarded() {
    let known: BTreeSet<String> = GUARDED.iter().map(|(method, ..)| (*method).to_owned()).collect();
    assert_eq!(methods(), known, "each method has a row");
    let server = start(config()).await;
    let channel = server.channel();
    let (root, alice) = guard(&channel).await;
    for (id, key) in [("7", "a"), ("8", "z")] {
        let grant = format!("ID: {id} TTL: 1000");
        assert_eq!(text(&channel, &root, "Lease/LeaseGrant", &grant).await, OK);
        let put = format!(r#"key: "{key}" lease: {id}"#);
        assert_eq!(text(&channel, &root, "KV/Put", &put).await, OK);
    }
    let before = text_of_state(&channel, &root).await;
    for (method, request, nobody, user) in GUARDED {
        assert_eq!(text(&channel, "", method, request).await, *nobody, "nobody: {method} {request}");
        let invalid = text(&channel, "abcdefghijklmnop.1", method, request).await;
        let is_open = *nobody == OK;
        assert_eq!(invalid.ends_with("etcdserver: invalid auth token"), !is_open, "{method}: {invalid}");
        assert_eq!(text(&channel, &alice, method, request).await, *user, "alice: {method} {request}");
    }
    assert_eq!(text_of_state(&channel, &root).await, before, "nothing was changed");
    server.shutdown().await.expect("stopped");
}

/// Keys, users and roles. (Leases that alice and her locks made are hers to make.)
async fn text_of_state(channel: &Channel, root: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for (method, request) in [
        ("KV/Range", r#"key: "\0" range_end: "\0""#),
        ("Auth/UserList", ""),
        ("Auth/RoleList", ""),
        ("Auth/RoleGet", r#"role: "some""#),
        ("Auth/UserGet", r#"name: "alice""#),
        ("Auth/AuthStatus", ""),
        ("Maintenance/Alarm", ""),
    ] {
        texts.push(ask(channel, root, method, request).await.expect(method));
    }
    texts
}

#[tokio::test]
async fn w6_a15_ghsa_xg4h_6gfc_h4m8_watches_are_guarded_to_the_end_of_their_range() {
    let server = start(config()).await;
    let channel = server.channel();
    let (root, alice) = guard(&channel).await;
    let refused = [
        ("", r#"key: "a""#, "InvalidArgument desc = etcdserver: user name is empty"),
        ("nonsense", r#"key: "a""#, "Unauthenticated desc = etcdserver: invalid auth token"),
        (&alice, r#"key: "a" range_end: "\0""#, "PermissionDenied desc = etcdserver: permission denied"),
        (&alice, r#"key: "a" range_end: "c""#, "PermissionDenied desc = etcdserver: permission denied"),
        (&alice, r#"range_end: "\0""#, "PermissionDenied desc = etcdserver: permission denied"),
        (&alice, "", "PermissionDenied desc = etcdserver: permission denied"),
    ];
    for (token, create, reason) in refused {
        let request = format!("create_request {{ {create} }}");
        let answer = text(&channel, token, "Watch/Watch", &request).await;
        assert!(answer.contains("watch_id:-1") && answer.contains("created:true"), "{create}: {answer}");
        assert!(answer.contains(&format!("rpc error: code = {reason}")), "{create}: {answer}");
    }
    for (token, create) in [(&alice, r#"key: "a""#), (&root, r#"range_end: "\0""#)] {
        let request = format!("create_request {{ {create} }}");
        assert_eq!(text(&channel, token, "Watch/Watch", &request).await, OK);
    }
    server.shutdown().await.expect("stopped");
}
