//! Where a server is.

use crate::{Error, Result};
use http::{Uri, uri::Authority};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The port of an endpoint that names none.
const PORT_DEFAULT: u16 = 2379;

/// Whether an endpoint speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Security {
    /// `http://`, `unix:`: never.
    Plain,
    /// `https://`, `unixs:`: always.
    Tls,
    /// A bare `host:port`: if the client is configured for TLS.
    AsConfigured,
}

/// The socket behind an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// A host to be resolved, and a port.
    Tcp { host: String, port: u16 },
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Where a server is: `host:port`, `http://host:port`, `https://host:port`, `unix:path`, `unix://path`, `unixs:path` or
/// `unixs://path`, as in the configuration of etcd's client. A host without a port has port 2379.
///
/// ```
/// use tenure_client::{ClientConfig, Endpoint};
///
/// // Checked where it is read, as on a command line.
/// let endpoint: Endpoint = "https://db.example:2379".parse()?;
/// assert_eq!(endpoint.to_string(), "https://db.example:2379");
/// assert!("ftp://db.example".parse::<Endpoint>().is_err());
/// let config = ClientConfig::new([endpoint]);
/// # drop(config);
/// # Ok::<(), tenure_client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    name: String,
    pub(crate) address: Address,
    pub(crate) security: Security,
}

impl Endpoint {
    /// As it was written.
    ///
    /// ```
    /// use tenure_client::Endpoint;
    ///
    /// let endpoint: Endpoint = "unix:///run/etcd.sock".parse()?;
    /// assert_eq!(endpoint.as_str(), "unix:///run/etcd.sock");
    /// # Ok::<(), tenure_client::Error>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The name that the server's certificate must have, and that `:authority` carries.
    pub(crate) fn host(&self) -> &str {
        match &self.address {
            Address::Tcp { host, .. } => host.trim_start_matches('[').trim_end_matches(']'),
            Address::Unix(_) => "localhost",
        }
    }

    pub(crate) fn is_tls(&self, is_tls_configured: bool) -> bool {
        match self.security {
            Security::Plain => false,
            Security::Tls => true,
            Security::AsConfigured => is_tls_configured,
        }
    }

    /// Scheme and authority of requests.
    pub(crate) fn origin(&self, is_tls: bool) -> Result<Uri> {
        let authority = match &self.address {
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(_) => "localhost".to_owned(),
        };
        let scheme = if is_tls { "https" } else { "http" };
        Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query("/")
            .build()
            .map_err(|error| self.refused(&error.to_string()))
    }

    fn refused(&self, reason: &str) -> Error {
        refused(&self.name, reason)
    }
}

fn refused(name: &str, reason: &str) -> Error {
    Error::invalid(format!(
        "endpoint {name:?}: {reason}; write host:port, http://host:port, https://host:port, unix:path or unixs:path"
    ))
}

/// `host`, `host:port`, `[v6]:port`.
fn tcp(name: &str, authority: &str) -> Result<Address> {
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let parsed: Authority = authority.parse().map_err(|_| refused(name, "not a host and a port"))?;
    if parsed.host().is_empty() || parsed.as_str().contains('@') {
        return Err(refused(name, "not a host and a port"));
    }
    let port = match parsed.as_str()[parsed.host().len()..].strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| refused(name, "not a port"))?,
        None => PORT_DEFAULT,
    };
    Ok(Address::Tcp { host: parsed.host().to_owned(), port })
}

fn unix(name: &str, path: &str) -> Result<Address> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() {
        return Err(refused(name, "no path"));
    }
    Ok(Address::Unix(Path::new(path).to_path_buf()))
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let name = name.trim();
        let (address, security) = if let Some(path) = name.strip_prefix("unix:") {
            (unix(name, path)?, Security::Plain)
        } else if let Some(path) = name.strip_prefix("unixs:") {
            (unix(name, path)?, Security::Tls)
        } else if let Some(rest) = name.strip_prefix("http://") {
            (tcp(name, rest)?, Security::Plain)
        } else if let Some(rest) = name.strip_prefix("https://") {
            (tcp(name, rest)?, Security::Tls)
        } else if name.contains("://") {
            return Err(refused(name, "unknown scheme"));
        } else {
            (tcp(name, name)?, Security::AsConfigured)
        };
        Ok(Endpoint { name: name.to_owned(), address, security })
    }
}

impl AsRef<str> for Endpoint {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

/// So that what was parsed can be given to [`ClientConfig::new`](crate::ClientConfig::new).
impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.name
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> (Address, Security) {
        let endpoint: Endpoint = name.parse().unwrap();
        (endpoint.address, endpoint.security)
    }

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(parse("127.0.0.1:23790"), (tcp("127.0.0.1", 23790), Security::AsConfigured));
        assert_eq!(parse("localhost"), (tcp("localhost", 2379), Security::AsConfigured));
        assert_eq!(parse("http://a:1/"), (tcp("a", 1), Security::Plain));
        assert_eq!(parse("https://a:1"), (tcp("a", 1), Security::Tls));
        assert_eq!(parse("https://[::1]:1"), (tcp("[::1]", 1), Security::Tls));
        for name in ["unix:/run/x.sock", "unix:///run/x.sock"] {
            assert_eq!(parse(name), (Address::Unix("/run/x.sock".into()), Security::Plain));
        }
        assert_eq!(parse("unixs:x.sock"), (Address::Unix("x.sock".into()), Security::Tls));
        assert_eq!(parse("unix://localhost:2379").0, Address::Unix("localhost:2379".into()));
    }

    #[test]
    fn what_cannot_be_an_endpoint_is_refused_with_the_forms() {
        for name in ["", "ftp://a:1", "a:b", "a:", "http://", "unix:", "a b:1", "u@h:1", "h:65536"] {
            let error = name.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("host:port"), "{name}: {error}");
        }
    }

    #[test]
    fn an_origin_has_scheme_and_authority() {
        let origin = |name: &str, tls| name.parse::<Endpoint>().unwrap().origin(tls).unwrap().to_string();
        assert_eq!(origin("a:1", false), "http://a:1/");
        assert_eq!(origin("https://[::1]:1", true), "https://[::1]:1/");
        assert_eq!(origin("unix:/x", false), "http://localhost/");
        assert_eq!("https://[::1]:1".parse::<Endpoint>().unwrap().host(), "::1");
    }
}
