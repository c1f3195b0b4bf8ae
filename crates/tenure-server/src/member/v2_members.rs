//! The members as etcd up to 3.6 expects them beside the database of a snapshot: in the format of its v2 store. Without it such a
//! member stops.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tenure_core::membership::Member;
use tenure_core::state::TableChange;
use tenure_core::types::MemberId;

/// Where the store keeps what is about the cluster, and where it kept the keys of the v2 API, of which there are none.
const CLUSTER: &str = "/0";
const KEYS: &str = "/1";

/// What the tables say of the members and the version of their cluster.
pub fn encode(tables: &[TableChange]) -> Bytes {
    let mut members = BTreeMap::new();
    let mut removed = BTreeSet::new();
    let mut version = None;
    for row in tables {
        match row {
            TableChange::MemberPut(id, json) => {
                members.extend(Member::from_json(json).ok().map(|member| (*id, member)));
            }
            TableChange::MemberRemove(id) => {
                members.remove(id);
                removed.insert(*id);
            }
            TableChange::ClusterVersion(spoken) => version = Some(spoken.as_str()),
            _ => {}
        }
    }
    let members_path = format!("{CLUSTER}/members");
    let members = members.iter().map(|(id, member)| (hex(*id), one(&members_path, *id, member)));
    let removed_path = format!("{CLUSTER}/removed_members");
    let removed = removed.iter().map(|id| (hex(*id), leaf(&format!("{removed_path}/{}", hex(*id)), "")));
    let mut cluster = vec![
        ("members".to_owned(), directory(&members_path, members)),
        ("removed_members".to_owned(), directory(&removed_path, removed)),
    ];
    cluster
        .extend(version.map(|version| ("version".to_owned(), leaf(&format!("{CLUSTER}/version"), version))));
    let root = [("0".to_owned(), directory(CLUSTER, cluster)), ("1".to_owned(), directory(KEYS, []))];
    Bytes::from(json!({ "Root": directory("/", root), "CurrentIndex": 0, "CurrentVersion": 2 }).to_string())
}

fn one(parent: &str, id: MemberId, member: &Member) -> Value {
    let path = format!("{parent}/{}", hex(id));
    let mut raft = json!({ "peerURLs": member.peer_urls });
    if member.is_learner {
        raft["isLearner"] = true.into();
    }
    let attributes = json!({ "name": member.name, "clientURLs": member.client_urls });
    let leaves = [("attributes", attributes), ("raftAttributes", raft)]
        .map(|(name, value)| (name.to_owned(), leaf(&format!("{path}/{name}"), &value.to_string())));
    directory(&path, leaves)
}

fn hex(id: MemberId) -> String {
    format!("{:x}", id.0)
}

fn node(path: &str, value: &str, children: Value) -> Value {
    json!({
        "Path": path,
        "CreatedIndex": 0,
        "ModifiedIndex": 0,
        "ExpireTime": "0001-01-01T00:00:00Z",
        "Value": value,
        "Children": children,
    })
}

fn leaf(path: &str, value: &str) -> Value {
    node(path, value, Value::Null)
}

fn directory(path: &str, children: impl IntoIterator<Item = (String, Value)>) -> Value {
    node(path, "", Value::Object(Map::from_iter(children)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_where_etcd_looks_for_them() {
        let member = Member {
            id: MemberId(0xa1),
            name: "m0".into(),
            peer_urls: vec!["http://127.0.0.1:1".into()],
            client_urls: vec!["http://127.0.0.1:2".into()],
            is_learner: true,
        };
        let put = |id| TableChange::MemberPut(MemberId(id), member.to_json().into());
        let rows = [
            put(0xa1),
            put(0xb2),
            TableChange::MemberRemove(MemberId(0xb2)),
            TableChange::ClusterVersion("3.6.0".into()),
        ];
        let store: Value = serde_json::from_slice(&encode(&rows)).unwrap();
        let cluster = &store["Root"]["Children"]["0"]["Children"];
        assert_eq!(cluster["version"]["Value"], "3.6.0");
        let members = &cluster["members"];
        assert_eq!(members["Path"], "/0/members");
        assert_eq!(members["Children"].as_object().unwrap().keys().collect::<Vec<_>>(), ["a1"]);
        let one = &members["Children"]["a1"]["Children"];
        assert_eq!(one["raftAttributes"]["Path"], "/0/members/a1/raftAttributes");
        assert_eq!(one["raftAttributes"]["Value"], r#"{"isLearner":true,"peerURLs":["http://127.0.0.1:1"]}"#);
        assert_eq!(one["attributes"]["Value"], r#"{"clientURLs":["http://127.0.0.1:2"],"name":"m0"}"#);
        assert!(one["attributes"]["Children"].is_null(), "a value and no directory");
        assert_eq!(cluster["removed_members"]["Children"]["b2"]["Value"], "");
        assert_eq!(store["Root"]["Children"]["1"]["Children"], json!({}), "a directory without anything");
    }
}
