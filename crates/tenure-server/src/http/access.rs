//! Who may call: CORS for browsers, and the host names that a request may use.

use super::{Answer, error};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use std::collections::BTreeSet;

/// `--cors` and `--host-whitelist`.
#[derive(Clone, Debug)]
pub struct AccessPolicy {
    origins: BTreeSet<String>,
    hosts: BTreeSet<String>,
}

/// A request that may be answered.
#[derive(Debug)]
pub struct Admitted {
    /// The origin that the answer is open to.
    origin: Option<HeaderValue>,
}

impl Admitted {
    /// Says so in the answer.
    pub fn mark(self, headers: &mut HeaderMap) {
        let Some(origin) = self.origin else { return };
        let fixed = HeaderValue::from_static;
        headers.append(header::ACCESS_CONTROL_ALLOW_METHODS, fixed("POST, GET, OPTIONS, PUT, DELETE"));
        headers.append(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(header::ACCESS_CONTROL_ALLOW_HEADERS, fixed("accept, content-type, authorization"));
    }
}

impl AccessPolicy {
    /// A policy. An empty set, and one with `*`, allows all.
    #[must_use]
    pub fn new(origins: BTreeSet<String>, hosts: BTreeSet<String>) -> Self {
        Self { origins, hosts }
    }

    /// Lets a request pass, or answers it: a page of another site must not reach the member under a name that the site
    /// made point here (CVE-2018-5702).
    ///
    /// * `is_secure`: it came over TLS; then the name was checked by the client.
    pub fn admit(&self, request: &Parts, is_secure: bool) -> Result<Admitted, Box<Answer>> {
        let host = host_of(request);
        if !is_secure && !allows(&self.hosts, host) {
            tracing::warn!(host, "rejecting HTTP request to prevent DNS rebinding attacks");
            return Err(Box::new(error(StatusCode::MISDIRECTED_REQUEST, &rebinding(host))));
        }
        let origin = if allows(&self.origins, "*") {
            Some(HeaderValue::from_static("*"))
        } else {
            let origin = request.headers.get(header::ORIGIN).cloned();
            origin.filter(|origin| origin.to_str().is_ok_and(|origin| allows(&self.origins, origin)))
        };
        Ok(Admitted { origin })
    }
}

fn allows(set: &BTreeSet<String>, name: &str) -> bool {
    set.is_empty() || set.contains("*") || set.contains(name)
}

/// The host that the request names, without its port: the header of HTTP/1.1, the authority of HTTP/2.
fn host_of(request: &Parts) -> &str {
    let header = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = header.or(request.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => match host.rsplit_once(':') {
            Some((name, _)) if !name.contains(':') => name,
            _ => host,
        },
    }
}

fn rebinding(host: &str) -> String {
    format!(
        "\nThe request was received, but its Host header is not known here.\n\nTo mend this, do one of:\n\
         - Enable TLS: then any HTTPS request is allowed.\n\
         - Add the name you want to use to the whitelist.\n  - e.g. --host-whitelist {host:?}\n\n\
         This guards against \"DNS Rebinding\" attacks (CVE-2018-5702).\n"
    )
}
