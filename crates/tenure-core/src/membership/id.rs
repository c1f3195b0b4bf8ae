//! How ids follow from URLs.

use crate::types::{ClusterId, MemberId};
use sha1::{Digest, Sha1};

/// The id of a member: a hash of its sorted peer URLs, the cluster token and, for one that is added later, the second
/// of its addition. An added member has an empty token.
#[must_use]
pub fn member_id(peer_urls: &[String], token: &str, added_unix_seconds: Option<i64>) -> MemberId {
    let mut urls: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    let mut text = urls.concat();
    text.push_str(token);
    if let Some(seconds) = added_unix_seconds {
        text.push_str(&seconds.to_string());
    }
    MemberId(first_eight(text.as_bytes()))
}

/// The id of a cluster: a hash of the ids of its first members.
#[must_use]
pub fn cluster_id(members: impl IntoIterator<Item = MemberId>) -> ClusterId {
    let mut members: Vec<MemberId> = members.into_iter().collect();
    members.sort_unstable();
    let bytes: Vec<u8> = members.iter().flat_map(|member| member.0.to_be_bytes()).collect();
    ClusterId(first_eight(&bytes))
}

fn first_eight(bytes: &[u8]) -> u64 {
    let digest = Sha1::digest(bytes);
    digest[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
