//! Answers about changes of the cluster.

use super::{Text, json};
use crate::go::quote::quote;
use prost::Message;
use tenure_client::raw::etcdserverpb as pb;

/// What is printed of a change of the cluster. In fields and tables there is none of it.
#[derive(Clone, Debug, PartialEq)]
pub enum ClusterAnswer {
    /// A member of this name is to join.
    Added(String, pb::MemberAddResponse),
    /// The member of this id was removed, updated or promoted, in a word; and all members after it. The messages are alike.
    Changed(u64, &'static str, pb::MemberListResponse),
    /// The leadership went from one member to another.
    LeaderMoved(u64, u64, pb::MoveLeaderResponse),
    /// What was asked about a downgrade, in a word.
    Downgrade(&'static str, pb::DowngradeResponse),
}

pub(super) fn simple(answer: &ClusterAnswer, text: &mut Text) {
    let cluster = |header: &Option<pb::ResponseHeader>| super::header_of(header).cluster_id;
    match answer {
        ClusterAnswer::Added(name, response) => {
            let member = response.member.clone().unwrap_or_default();
            let how = if member.is_learner { "as learner to" } else { "to" };
            let (id, cluster) = (member.id, cluster(&response.header));
            text.line(format!("Member {id:16x} added {how} cluster {cluster:16x}"));
            text.line("");
            environment(name, &member, &response.members, text);
        }
        ClusterAnswer::Changed(id, word, response) => {
            let (preposition, cluster) = (preposition(word), cluster(&response.header));
            text.line(format!("Member {id:16x} {word} {preposition} cluster {cluster:16x}"));
        }
        ClusterAnswer::LeaderMoved(from, to, _) => {
            text.line(format!("Leadership transferred from {from:x} to {to:x}"));
        }
        ClusterAnswer::Downgrade(word, response) => {
            text.line(format!("Downgrade {word} success, cluster version {}", response.version));
        }
    }
}

fn preposition(word: &str) -> &'static str {
    if word == "removed" { "from" } else { "in" }
}

/// The variables with which the new member is started.
fn environment(name: &str, added: &pb::Member, members: &[pb::Member], text: &mut Text) {
    let pairs = members.iter().flat_map(|member| {
        let name = if member.id == added.id { name } else { member.name.as_str() };
        member.peer_ur_ls.iter().map(move |url| format!("{name}={url}"))
    });
    let cluster = pairs.collect::<Vec<_>>().join(",");
    let quoted = |text: &str| quote(text.as_bytes());
    text.line(format!("ETCD_NAME={}", quoted(name)));
    text.line(format!("ETCD_INITIAL_CLUSTER={}", quoted(&cluster)));
    text.line(format!("ETCD_INITIAL_ADVERTISE_PEER_URLS={}", quoted(&added.peer_ur_ls.join(","))));
    text.line("ETCD_INITIAL_CLUSTER_STATE=\"existing\"");
}

pub(super) fn protobuf(answer: &ClusterAnswer) -> Vec<u8> {
    match answer {
        ClusterAnswer::Added(_, response) => response.encode_to_vec(),
        ClusterAnswer::Changed(_, _, response) => response.encode_to_vec(),
        ClusterAnswer::LeaderMoved(_, _, response) => response.encode_to_vec(),
        ClusterAnswer::Downgrade(_, response) => response.encode_to_vec(),
    }
}

pub(super) fn json(answer: &ClusterAnswer) -> Vec<u8> {
    match answer {
        ClusterAnswer::Added(_, response) => json::member_added(response),
        ClusterAnswer::Changed(_, _, response) => json::members(response),
        ClusterAnswer::LeaderMoved(_, _, response) => json::only_header(&response.header),
        ClusterAnswer::Downgrade(_, response) => json::downgrade(response),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Answer, Format, Printer};

    fn printed(answer: ClusterAnswer, format: Format) -> Result<String, String> {
        let text = Printer::new(format, false).render(&Answer::Cluster(answer));
        text.map(|text| String::from_utf8(text.out).unwrap()).map_err(|failure| failure.message().to_owned())
    }

    fn header() -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader { cluster_id: 0xc1, member_id: 7, revision: 0, raft_term: 2 })
    }

    fn added(is_learner: bool) -> ClusterAnswer {
        let member = |id, name: &str, urls: &[&str], is_learner| pb::Member {
            id,
            name: name.to_owned(),
            peer_ur_ls: urls.iter().map(|&url| url.to_owned()).collect(),
            client_ur_ls: Vec::new(),
            is_learner,
        };
        let new = member(0xa, "", &["http://b:1", "http://b:2"], is_learner);
        let members = vec![member(7, "m0", &["http://a:1"], false), new.clone()];
        let response = pb::MemberAddResponse { header: header(), member: Some(new), members };
        ClusterAnswer::Added("m1".to_owned(), response)
    }

    #[test]
    fn a_member_that_is_added_is_told_how_it_is_started() {
        let expected = "\
Member                a added to cluster               c1

ETCD_NAME=\"m1\"
ETCD_INITIAL_CLUSTER=\"m0=http://a:1,m1=http://b:1,m1=http://b:2\"
ETCD_INITIAL_ADVERTISE_PEER_URLS=\"http://b:1,http://b:2\"
ETCD_INITIAL_CLUSTER_STATE=\"existing\"
";
        assert_eq!(printed(added(false), Format::Simple).as_deref(), Ok(expected));
        assert!(printed(added(true), Format::Simple).unwrap().contains("a added as learner to cluster"));
        let new = r#"{"ID":10,"peerURLs":["http://b:1","http://b:2"],"isLearner":true}"#;
        let old = r#"{"ID":7,"name":"m0","peerURLs":["http://a:1"]}"#;
        let header = r#""header":{"cluster_id":193,"member_id":7,"raft_term":2}"#;
        let json = format!("{{{header},\"member\":{new},\"members\":[{old},{new}]}}\n");
        assert_eq!(printed(added(true), Format::Json), Ok(json));
        assert_eq!(printed(added(true), Format::Table).unwrap_err(), "table not supported as output format");
    }

    #[test]
    fn what_is_asked_of_a_downgrade_is_told_in_a_line() {
        let answer = |word| {
            let response = pb::DowngradeResponse { header: header(), version: "3.6.0".to_owned() };
            ClusterAnswer::Downgrade(word, response)
        };
        for word in ["validate", "enable", "cancel"] {
            let line = format!("Downgrade {word} success, cluster version 3.6.0\n");
            assert_eq!(printed(answer(word), Format::Simple), Ok(line));
        }
        let json = r#"{"header":{"cluster_id":193,"member_id":7,"raft_term":2},"version":"3.6.0"}"#;
        assert_eq!(printed(answer("enable"), Format::Json), Ok(format!("{json}\n")));
        assert_eq!(
            printed(answer("enable"), Format::Fields).unwrap_err(),
            "fields not supported as output format"
        );
    }
}
