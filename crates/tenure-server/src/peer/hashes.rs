//! What the data of another member are: the hash that it has at a revision, over `/members/hashkv`.

use super::Peers;
use super::identity::CLUSTER_ID_MISMATCH;
use crate::member::HashKvAnswer;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_core::types::{MemberId, Revision};

/// Where a member tells its hash.
pub const PATH: &str = "/members/hashkv";

/// Why another member tells no hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// It has not come to that revision yet.
    #[error("{}", EtcdError::FutureRev.text())]
    Behind,
    /// It has compacted that revision.
    #[error("{}", EtcdError::Compacted.text())]
    Compacted,
    /// It is of another cluster.
    #[error("cluster ID mismatch")]
    OtherCluster,
    /// It does not answer, or not with a hash.
    #[error("{0}")]
    NoAnswer(String),
}

/// What another member answered.
pub type PeerHash = (MemberId, Result<HashKvAnswer, HashError>);

/// etcd leaves out what is zero.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WireAnswer {
    header: Option<WireHeader>,
    hash: u32,
    compact_revision: i64,
    hash_revision: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireHeader {
    revision: i64,
}

impl Peers {
    /// Asks members, all at once, for their hash at a revision. The answers are in the order of `members`.
    ///
    /// * `within`: how long each may take.
    pub(crate) async fn hashes(
        &self,
        members: impl Iterator<Item = MemberId>,
        revision: Revision,
        within: Duration,
    ) -> Vec<PeerHash> {
        let asking = members.map(|id| async move {
            let answer = self.hash_of(id, revision, within).await;
            if let Err(error) = &answer {
                tracing::warn!(
                    "local-member-id" = format!("{:x}", self.identity().member.0),
                    "requested-revision" = revision.0,
                    "remote-peer-id" = format!("{:x}", id.0),
                    %error,
                    "failed hash kv request"
                );
            }
            (id, answer)
        });
        futures::future::join_all(asking).await
    }

    async fn hash_of(
        &self,
        id: MemberId,
        revision: Revision,
        within: Duration,
    ) -> Result<HashKvAnswer, HashError> {
        let question = serde_json::json!({ "revision": revision.0 }).to_string();
        let asked = self.ask(id, Method::GET, PATH, Bytes::from(question), within).await;
        let answer = asked.map_err(|error| HashError::NoAnswer(error.to_string()))?;
        read(answer.status, &answer.body)
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<HashKvAnswer, HashError> {
    let text = String::from_utf8_lossy(body);
    match status {
        StatusCode::OK => {
            let wire: WireAnswer =
                serde_json::from_slice(body).map_err(|error| HashError::NoAnswer(error.to_string()))?;
            Ok(HashKvAnswer {
                hash: wire.hash,
                compact_revision: Revision(wire.compact_revision),
                hash_revision: Revision(wire.hash_revision),
                revision: Revision(wire.header.unwrap_or_default().revision),
            })
        }
        StatusCode::BAD_REQUEST if text.contains(refusal(EtcdError::Compacted)) => Err(HashError::Compacted),
        StatusCode::BAD_REQUEST if text.contains(refusal(EtcdError::FutureRev)) => Err(HashError::Behind),
        StatusCode::PRECONDITION_FAILED if text.contains(CLUSTER_ID_MISMATCH) => Err(HashError::OtherCluster),
        status => Err(HashError::NoAnswer(format!("{status}: {}", text.trim()))),
    }
}

/// A refusal as members tell it to each other: the words of the store alone.
#[must_use]
pub fn refusal(error: EtcdError) -> &'static str {
    error.text().trim_start_matches("etcdserver: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_etcds() {
        let answer =
            br#"{"header":{"revision":9},"hash":4077844574,"compact_revision":-1,"hash_revision":9}"#;
        let read_ok = |body: &[u8]| read(StatusCode::OK, body);
        let expected = HashKvAnswer {
            hash: 4_077_844_574,
            compact_revision: Revision(-1),
            hash_revision: Revision(9),
            revision: Revision(9),
        };
        assert_eq!(read_ok(answer), Ok(expected));
        let nothing = HashKvAnswer {
            hash: 0,
            compact_revision: Revision(0),
            hash_revision: Revision(0),
            revision: Revision(0),
        };
        assert_eq!(read_ok(b"{}"), Ok(nothing), "what is zero is left out");
        assert!(matches!(read_ok(b"no json"), Err(HashError::NoAnswer(_))));
        for (status, body, error) in [
            (400, "mvcc: required revision has been compacted\n", HashError::Compacted),
            (400, "mvcc: required revision is a future revision\n", HashError::Behind),
            (412, "cluster ID mismatch\n", HashError::OtherCluster),
            (400, "bad path\n", HashError::NoAnswer("400 Bad Request: bad path".into())),
            (404, "404 page not found\n", HashError::NoAnswer("404 Not Found: 404 page not found".into())),
        ] {
            assert_eq!(read(StatusCode::from_u16(status).unwrap(), body.as_bytes()), Err(error));
        }
    }
}
