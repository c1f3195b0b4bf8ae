//! What a member asks others before it starts: who is in the cluster, and whether it was there before.

use super::dial::{DialError, Dialer, request};
use super::identity::{CLUSTER_ID, parse_id, text};
use crate::config::EndpointUrl;
use crate::config::help::ETCD_VERSION;
use axum::body::Body;
use http::{Method, StatusCode};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tenure_core::membership::Member;
use tenure_core::types::{ClusterId, MinorVersion};

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
    /// The cluster speaks a version that this server cannot join.
    #[error("incompatible with current running cluster: {0}")]
    Incompatible(String),
    /// A member of this id has run: its data are needed.
    #[error("member {0:x} has already been bootstrapped")]
    AlreadyBootstrapped(u64),
}

/// Asks for the members of a cluster, one URL after the other, until what somebody says is usable. Who is cut off from the others tells the
/// members of the past, so one answer that is not usable proves nothing.
///
/// * `within`: how long each may take to answer.
/// * `usable`: what is wanted of a cluster, or why it is not usable.
///
/// # Errors
/// The first reason why not; [`JoinError::NobodyAnswers`] with what the last one said if nobody answers.
pub async fn fetch<T>(
    dialer: &Dialer,
    urls: &[EndpointUrl],
    within: Duration,
    usable: impl Fn(RunningCluster) -> Result<T, JoinError>,
) -> Result<T, JoinError> {
    let mut last = "could not retrieve cluster information from the given URLs".to_owned();
    let mut unusable = None;
    for url in urls {
        match fetch_from(dialer, url, within).await.map(&usable) {
            Ok(Ok(wanted)) => return Ok(wanted),
            Ok(Err(reason)) => {
                tracing::warn!(%url, %reason, "cannot join the cluster of which this member tells");
                unusable.get_or_insert(reason);
            }
            Err(error) => {
                tracing::debug!(%url, error, "cannot fetch the members of the cluster");
                last = error;
            }
        }
    }
    Err(unusable.unwrap_or(JoinError::NobodyAnswers(last)))
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

/// Where a member tells its versions.
pub const VERSION_PATH: &str = "/version";

/// Where a member tells of a downgrade.
pub const DOWNGRADE_PATH: &str = "/downgrade/enabled";

/// What a member tells of versions.
#[derive(Debug, Deserialize)]
pub struct PeerVersions {
    /// Its own.
    pub etcdserver: String,
    /// The cluster's, or `not_decided`.
    #[serde(default)]
    pub etcdcluster: String,
}

/// Whether this server may join a cluster of these members: one of them at least must tell a version that it speaks, and none
/// another. While the cluster is on its way to an older version, only servers of that version join.
///
/// * `within`: how long each may take to answer.
///
/// # Errors
/// [`JoinError::Incompatible`].
pub async fn check_versions(dialer: &Dialer, others: &[&Member], within: Duration) -> Result<(), JoinError> {
    let asking = others.iter().map(|member| ask(dialer, member, VERSION_PATH, within));
    let answers = futures::future::join_all(asking).await;
    let versions = answers.iter().flatten().filter_map(|answer| {
        let versions: PeerVersions = serde_json::from_slice(answer).ok()?;
        versions.etcdcluster.parse().ok()
    });
    let versions: Vec<MinorVersion> = versions.collect();
    let mut is_downgrading = false;
    for member in others {
        let Some(answer) = ask(dialer, member, DOWNGRADE_PATH, within).await else { continue };
        if let Ok(answer) = str::from_utf8(&answer).unwrap_or_default().trim().parse() {
            is_downgrading = answer;
            break;
        }
    }
    let own = ETCD_VERSION.parse().map_err(|_| JoinError::Incompatible(ETCD_VERSION.to_owned()))?;
    may_join(own, &versions, is_downgrading)
}

async fn ask(dialer: &Dialer, member: &Member, path: &str, within: Duration) -> Option<bytes::Bytes> {
    for url in member.peer_urls.iter().filter_map(|url| url.parse().ok()) {
        let request = request(Method::GET, path, None, Body::empty()).ok()?;
        match dialer.ask(&url, request, within).await {
            Ok(answer) if answer.status == StatusCode::OK => return Some(answer.body),
            Ok(answer) => tracing::debug!(%url, path, status = %answer.status, "no answer"),
            Err(error) => tracing::debug!(%url, path, %error, "no answer"),
        }
    }
    None
}

fn may_join(own: MinorVersion, versions: &[MinorVersion], is_downgrading: bool) -> Result<(), JoinError> {
    let (first, last) = match is_downgrading {
        true => {
            let next = MinorVersion { minor: own.minor + 1, ..own };
            (next, next)
        }
        false => (MinorVersion::OLDEST, own),
    };
    if versions.is_empty() {
        return Err(JoinError::Incompatible("no member tells which version it speaks".to_owned()));
    }
    match versions.iter().find(|version| **version < first || **version > last) {
        None => Ok(()),
        Some(version) => Err(JoinError::Incompatible(format!(
            "it speaks version {}{}, and a server of version {} can join one that speaks {} to {}",
            version.short(),
            if is_downgrading { " on its way to an older one" } else { "" },
            own.short(),
            first.short(),
            last.short()
        ))),
    }
}

impl RunningCluster {
    /// The place in this cluster that a configuration is for; see [`RunningCluster::own_member`]. Nobody may have it.
    ///
    /// # Errors
    /// [`JoinError::Mismatch`], [`JoinError::AlreadyBootstrapped`].
    pub fn place_of(
        &self,
        name: &str,
        configured: &BTreeMap<String, Vec<EndpointUrl>>,
    ) -> Result<Member, JoinError> {
        let own = self.own_member(name, configured)?;
        if own.client_urls.is_empty() { Ok(own) } else { Err(JoinError::AlreadyBootstrapped(own.id.0)) }
    }

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
    use crate::config::ServerConfig;
    use tenure_core::types::MemberId;

    /// A member that tells of `members` (id, port, client URL), and its URL.
    async fn member_that_tells(members: &[(u64, u16, &str)]) -> EndpointUrl {
        let rows = members.iter().map(|(id, port, client)| Member {
            id: MemberId(*id),
            peer_urls: vec![format!("http://127.0.0.1:{port}")],
            client_urls: Some((*client).to_owned()).filter(|url| !url.is_empty()).into_iter().collect(),
            ..Member::default()
        });
        let rows: Vec<String> = rows.map(|row| row.to_json()).collect();
        let answer = ([(CLUSTER_ID.clone(), "9")], format!("[{}]", rows.join(",")));
        let router = axum::Router::new().route("/members", axum::routing::get(|| async { answer }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = EndpointUrl::http("127.0.0.1", listener.local_addr().unwrap().port());
        tokio::spawn(async { axum::serve(listener, router).await });
        url
    }

    /// The first knows only of the member that was removed, or not yet of the new one.
    #[tokio::test]
    async fn who_is_told_the_past_asks_the_next() {
        let config = ServerConfig::in_memory();
        let dialer = Dialer::new(&config, crate::tls::PeerTls::new(&config).unwrap().connector);
        let removed =
            member_that_tells(&[(1, 1, "http://127.0.0.1:11"), (2, 2, "http://127.0.0.1:12")]).await;
        let before = member_that_tells(&[(1, 1, "http://127.0.0.1:11")]).await;
        let present = member_that_tells(&[(1, 1, "http://127.0.0.1:11"), (3, 2, "")]).await;
        let nobody = EndpointUrl::http("127.0.0.1", 1);
        let urls = |text: &str| vec![text.parse().unwrap()];
        let configured = BTreeMap::from([
            ("a".to_owned(), urls("http://127.0.0.1:1")),
            ("b".to_owned(), urls("http://127.0.0.1:2")),
        ]);
        let join = async |asked: &[&EndpointUrl]| {
            let asked: Vec<EndpointUrl> = asked.iter().map(|url| (*url).clone()).collect();
            let usable = |cluster: RunningCluster| cluster.place_of("b", &configured).map(|own| own.id.0);
            fetch(&dialer, &asked, Duration::from_secs(10), usable).await
        };
        assert_eq!(join(&[&removed, &nobody, &present]).await, Ok(3));
        assert_eq!(join(&[&before, &present, &removed]).await, Ok(3));
        assert_eq!(
            join(&[&removed, &before, &nobody]).await,
            Err(JoinError::AlreadyBootstrapped(2)),
            "the first reason"
        );
        assert!(matches!(join(&[&before, &removed]).await, Err(JoinError::Mismatch { .. })));
        assert!(matches!(join(&[&nobody]).await, Err(JoinError::NobodyAnswers(_))));
    }

    #[test]
    fn a_server_joins_what_it_can_speak() {
        let version = |text: &str| MinorVersion::from_user(text).unwrap();
        let join = |versions: &[&str], is_downgrading| {
            let versions: Vec<_> = versions.iter().map(|text| version(text)).collect();
            may_join(version("3.7"), &versions, is_downgrading)
        };
        assert_eq!(join(&["3.7", "3.7"], false), Ok(()));
        assert_eq!(join(&["3.0", "3.6"], false), Ok(()), "as the oldest member");
        assert!(join(&[], false).is_err(), "nobody tells");
        assert!(join(&["3.7", "3.8"], false).is_err());
        assert_eq!(join(&["3.8"], true), Ok(()), "the cluster comes to this version");
        let refused = join(&["3.7"], true).unwrap_err().to_string();
        assert_eq!(
            refused,
            "incompatible with current running cluster: it speaks version 3.7 on its way to an older one, and a server of version 3.7 \
             can join one that speaks 3.8 to 3.8"
        );
    }

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
