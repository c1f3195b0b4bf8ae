//! Who talks to whom: the headers of every request and answer on the peer port.

use crate::config::help::ETCD_VERSION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tenure_core::types::{ClusterId, MemberId};

/// Who sends.
pub const SERVER_FROM: HeaderName = HeaderName::from_static("x-server-from");
/// The sender's version.
pub const SERVER_VERSION: HeaderName = HeaderName::from_static("x-server-version");
/// The oldest version that the sender talks to.
pub const MIN_CLUSTER_VERSION: HeaderName = HeaderName::from_static("x-min-cluster-version");
/// The cluster, in requests and answers.
pub const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
/// For whom a stream is asked for.
pub const RAFT_TO: HeaderName = HeaderName::from_static("x-raft-to");
/// Where the sender can be found.
pub const PEER_URLS: HeaderName = HeaderName::from_static("x-peerurls");

/// The oldest server that this one talks to.
const OLDEST_VERSION: &str = "3.0.0";
/// What a sender is that does not say its version.
const UNTOLD_VERSION: &str = "2.0.0";

/// Bodies of the answers with status 412, by which the asker knows the reason.
pub const CLUSTER_ID_MISMATCH: &str = "cluster ID mismatch";
/// See [`CLUSTER_ID_MISMATCH`].
pub const INCOMPATIBLE_VERSION: &str = "incompatible version";

/// What a member says of itself to the others.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The member.
    pub member: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Where the others find it.
    pub peer_urls: Vec<String>,
}

/// Why a request of another member is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub text: &'static str,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub const fn new(status: StatusCode, text: &'static str) -> Self {
        Self { status, text }
    }
}

impl Identity {
    /// Puts what every request carries into its headers.
    pub fn mark_request(&self, headers: &mut HeaderMap) {
        headers.insert(SERVER_FROM, hex(self.member.0));
        headers.insert(SERVER_VERSION, HeaderValue::from_static(ETCD_VERSION));
        headers.insert(MIN_CLUSTER_VERSION, HeaderValue::from_static(OLDEST_VERSION));
        headers.insert(CLUSTER_ID, hex(self.cluster.0));
        if let Ok(urls) = HeaderValue::try_from(self.peer_urls.join(",")) {
            headers.insert(PEER_URLS, urls);
        }
    }

    /// Puts what every answer carries into its headers.
    pub fn mark_answer(&self, headers: &mut HeaderMap) {
        headers.insert(CLUSTER_ID, hex(self.cluster.0));
        headers.insert(SERVER_VERSION, HeaderValue::from_static(ETCD_VERSION));
    }

    /// Whether the sender is of this cluster and of a version that fits.
    ///
    /// # Errors
    /// The refusal, 412.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let theirs = text(headers, &SERVER_VERSION).unwrap_or(UNTOLD_VERSION);
        let their_oldest = text(headers, &MIN_CLUSTER_VERSION).unwrap_or(UNTOLD_VERSION);
        if minor(theirs) < minor(OLDEST_VERSION) || minor(ETCD_VERSION) < minor(their_oldest) {
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, INCOMPATIBLE_VERSION));
        }
        self.check_cluster(headers)
    }

    /// Whether the sender is of this cluster.
    ///
    /// # Errors
    /// The refusal, 412.
    pub fn check_cluster(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if headers.get(CLUSTER_ID) == Some(&hex(self.cluster.0)) {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::PRECONDITION_FAILED, CLUSTER_ID_MISMATCH))
    }
}

/// An id as it is written everywhere: hexadecimal, without leading zeros.
#[must_use]
pub fn hex(id: u64) -> HeaderValue {
    HeaderValue::try_from(format!("{id:x}")).unwrap_or(HeaderValue::from_static("0"))
}

/// A header as text.
#[must_use]
pub fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

/// An id in hexadecimal.
#[must_use]
pub fn parse_id(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// Who sent a request, and where the sender says it can be found.
#[must_use]
pub fn sender(headers: &HeaderMap) -> Option<(MemberId, Vec<String>)> {
    let from = text(headers, &SERVER_FROM).and_then(parse_id)?;
    let urls = text(headers, &PEER_URLS)?.split(',').map(str::to_owned).collect();
    Some((MemberId(from), urls))
}

/// Major and minor number, zeros where there are none.
fn minor(version: &str) -> (u64, u64) {
    let mut numbers = version.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            member: MemberId(0x8e9e_05c5_2164_694d),
            cluster: ClusterId(0xcdf8_181e),
            peer_urls: vec!["http://127.0.0.1:1".into(), "http://127.0.0.1:2".into()],
        }
    }

    #[test]
    fn a_member_says_who_it_is_and_is_taken_at_its_word() {
        let mut headers = HeaderMap::new();
        identity().mark_request(&mut headers);
        let texts: Vec<_> =
            ["X-Server-From", "X-Server-Version", "X-Min-Cluster-Version", "X-Etcd-Cluster-ID"]
                .map(|name| headers[name].to_str().unwrap().to_owned())
                .to_vec();
        assert_eq!(texts, ["8e9e05c52164694d", "3.7.1", "3.0.0", "cdf8181e"]);
        assert_eq!(identity().check(&headers), Ok(()));
        let (from, urls) = sender(&headers).unwrap();
        assert_eq!((from, urls.len()), (identity().member, 2));
    }

    #[test]
    fn another_cluster_and_another_age_are_refused() {
        let mut headers = HeaderMap::new();
        identity().mark_request(&mut headers);
        headers.insert(CLUSTER_ID, hex(1));
        assert_eq!(identity().check(&headers).map_err(|refusal| refusal.text), Err(CLUSTER_ID_MISMATCH));
        headers.insert(CLUSTER_ID, hex(identity().cluster.0));
        headers.insert(MIN_CLUSTER_VERSION, HeaderValue::from_static("3.8.0"));
        assert_eq!(identity().check(&headers).map_err(|refusal| refusal.text), Err(INCOMPATIBLE_VERSION));
        headers.remove(MIN_CLUSTER_VERSION);
        headers.remove(SERVER_VERSION);
        let refusal = identity().check(&headers).unwrap_err();
        assert_eq!(refusal, Refusal::new(StatusCode::PRECONDITION_FAILED, INCOMPATIBLE_VERSION));
    }
}
