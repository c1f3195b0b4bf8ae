//! What a member asks others before it starts: who is in the cluster, and whether it was there before.

use super::dial::{DialError, Dialer, request};
use super::identity::{CLUSTER_ID, parse_id, text};
use crate::config::EndpointUrl;
use axum::body::Body;
use http::{Method, StatusCode};
use std::collections::BTreeMap;
use std::time::Duration;
use tenure_core::membership::Member;
use tenure_core::types::ClusterId;

/// A cluster as one of its members describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningCluster {
    /// Its id.
    pub id: ClusterId,
    /// Its members.
    pub members: Vec<Member>,
}

/// Why a cluster cannot be joined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Nobody answers.
    #[error("cannot fetch cluster info from peer urls: {0}")]
    NobodyAnswers(String),
    /// The cluster has other members than the configuration says.
    #[error(
        "error validating peerURLs {running}: {what}; --initial-cluster must name the members of the running cluster, \
         this one included, after it was added with 'member add'"
    )]
    Mismatch {
        /// The members of the cluster.
        running: String,
        /// What does not fit.
        what: &'static str,
    },
    /// A member of this id has run: its data are needed.
    #[error("member {0:x} has already been bootstrapped")]
    AlreadyBootstrapped(u64),
}

/// Asks for the members of a cluster, one URL after the other.
///
/// # Errors
/// [`JoinError::NobodyAnswers`] with what the last one said.
pub async fn fetch(
    dialer: &Dialer,
    urls: &[EndpointUrl],
    within: Duration,
) -> Result<RunningCluster, JoinError> {
    let mut last = "could not retrieve cluster information from the given URLs".to_owned();
    for url in urls {
        match fetch_from(dialer, url, within).await {
            Ok(cluster) => return Ok(cluster),
            Err(error) => {
                tracing::debug!(%url, error, "cannot fetch the members of the cluster");
                last = error;
            }
        }
    }
    Err(JoinError::NobodyAnswers(last))
}

async fn fetch_from(dialer: &Dialer, url: &EndpointUrl, within: Duration) -> Result<RunningCluster, String> {
    let said = |error: DialError| error.to_string();
    let request = request(Method::GET, "/members", None, Body::empty()).map_err(said)?;
    let answer = dialer.ask(url, request, within).await.map_err(said)?;
    if answer.status != StatusCode::OK {
        return Err(format!("{url} answers {}: {}", answer.status, answer.text()));
    }
    let id = text(&answer.headers, &CLUSTER_ID).and_then(parse_id).map(ClusterId);
    let rows: Vec<serde_json::Value> =
        serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    let members = rows.iter().map(|row| Member::from_json(row.to_string().as_bytes()));
    let members: Vec<Member> = members.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    match id {
        Some(id) if !members.is_empty() => Ok(RunningCluster { id, members }),
        _ => Err(format!("{url} does not say which cluster it is of")),
    }
}

impl RunningCluster {
    /// The member of this cluster that a configuration is for: the one with the URLs that it has for `name`. All its members
    /// must be there with their URLs.
    ///
    /// # Errors
    /// [`JoinError::Mismatch`].
    pub fn own_member(
        &self,
        name: &str,
        configured: &BTreeMap<String, Vec<EndpointUrl>>,
    ) -> Result<Member, JoinError> {
        let mismatch = |what| {
            let urls = self.members.iter().map(|member| member.peer_urls.join(","));
            JoinError::Mismatch { running: urls.collect::<Vec<_>>().join(","), what }
        };
        if self.members.len() != configured.len() {
            return Err(mismatch("member count is unequal"));
        }
        let mut own = None;
        for (configured_name, urls) in configured {
            let wanted = sorted(urls.iter().map(ToString::to_string));
            let found = self.members.iter().find(|member| sorted(member.peer_urls.iter().cloned()) == wanted);
            let found = found.ok_or_else(|| mismatch("unmatched member while checking PeerURLs"))?;
            if configured_name == name {
                own = Some(found.clone());
            }
        }
        own.ok_or_else(|| mismatch("this member is not among them"))
    }
}

fn sorted(urls: impl Iterator<Item = String>) -> Vec<String> {
    let mut urls: Vec<String> = urls.collect();
    urls.sort_unstable();
    urls
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_core::types::MemberId;

    #[test]
    fn a_configuration_names_the_members_of_the_cluster() {
        let member =
            |id, url: &str| Member { id: MemberId(id), peer_urls: vec![url.to_owned()], ..Member::default() };
        let members = vec![member(1, "http://127.0.0.1:1"), member(2, "http://127.0.0.1:2")];
        let cluster = RunningCluster { id: ClusterId(9), members };
        let urls = |text: &str| vec![text.parse().unwrap()];
        let configured = BTreeMap::from([
            ("a".to_owned(), urls("http://127.0.0.1:1")),
            ("b".to_owned(), urls("http://127.0.0.1:2")),
        ]);
        assert_eq!(cluster.own_member("b", &configured).map(|member| member.id), Ok(MemberId(2)));
        let other = BTreeMap::from([
            ("a".to_owned(), urls("http://127.0.0.1:1")),
            ("b".to_owned(), urls("http://127.0.0.1:3")),
        ]);
        let what = |result: Result<Member, JoinError>| match result {
            Err(JoinError::Mismatch { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(what(cluster.own_member("b", &other)), "unmatched member while checking PeerURLs");
        let one = BTreeMap::from([("a".to_owned(), urls("http://127.0.0.1:1"))]);
        assert_eq!(what(cluster.own_member("a", &one)), "member count is unequal");
    }
}
