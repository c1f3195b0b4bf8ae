//! The URLs that a member listens on and advertises.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

/// How to reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS over TCP.
    Https,
    /// A Unix socket.
    Unix,
    /// TLS over a Unix socket.
    Unixs,
}

impl Scheme {
    /// The word before `://`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Unixs => "unixs",
        }
    }

    /// Whether TLS is asked for.
    #[must_use]
    pub fn is_secure(self) -> bool {
        matches!(self, Scheme::Https | Scheme::Unixs)
    }

    /// Whether the address is a socket in the file system.
    #[must_use]
    pub fn is_unix(self) -> bool {
        matches!(self, Scheme::Unix | Scheme::Unixs)
    }
}

/// `http://host:port`, `https://host:port`, `unix://path` or `unixs://path`, and nothing else. Host names are kept as
/// given: only what is listened on has to be an IP address, and that is checked with the whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    scheme: Scheme,
    /// `host:port` of a TCP address, the path of a socket.
    address: String,
}

impl EndpointUrl {
    /// `http://host:port`, for programs that build their configuration in code.
    ///
    /// * `host`: a name or an IP address, IPv6 without brackets.
    /// * `port`: 0 lets the system choose when the URL is listened on.
    #[must_use]
    pub fn http(host: &str, port: u16) -> Self {
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Self { scheme: Scheme::Http, address }
    }

    /// The same URL with the port that the system has chosen; a Unix socket has none.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        match self.host_port() {
            Some((host, _)) => Self { scheme: self.scheme, ..Self::http(host, port) },
            None => self.clone(),
        }
    }

    /// `unix://path`.
    #[must_use]
    pub fn unix(path: &str) -> Self {
        Self { scheme: Scheme::Unix, address: path.to_owned() }
    }

    /// How to reach it.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// `host:port`, or the path of a socket.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Host, without the brackets of IPv6, and port of a TCP address.
    #[must_use]
    pub fn host_port(&self) -> Option<(&str, &str)> {
        if self.scheme.is_unix() { None } else { split_host_port(&self.address).ok() }
    }

    /// The path of a socket.
    #[must_use]
    pub fn socket_path(&self) -> Option<PathBuf> {
        self.scheme.is_unix().then(|| PathBuf::from(&self.address))
    }

    /// Refuses what cannot be bound: a name other than `localhost`.
    ///
    /// # Errors
    /// etcd's text for such a URL.
    pub fn check_bindable(&self) -> Result<(), UrlError> {
        if self.scheme.is_unix() {
            return Ok(());
        }
        let (host, _) = split_host_port(&self.address)?;
        if host == "localhost" || host.split('%').next().is_some_and(|ip| ip.parse::<IpAddr>().is_ok()) {
            return Ok(());
        }
        Err(UrlError(format!("expected IP in URL for binding ({self})")))
    }

    /// Refuses what a client cannot dial: an empty host.
    ///
    /// # Errors
    /// etcd's text for such a URL.
    pub fn check_advertisable(&self) -> Result<(), UrlError> {
        if self.scheme.is_unix() {
            return Ok(());
        }
        match split_host_port(&self.address)? {
            ("", _) => Err(UrlError(format!("unexpected empty host ({self})"))),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.address)
    }
}

/// Why a text is no URL of a member; the text is etcd's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

impl FromStr for EndpointUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let wrong_scheme = || UrlError(format!("URL scheme must be http, https, unix, or unixs: {text}"));
        let (scheme, rest) = split_scheme(text)?.ok_or_else(wrong_scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(wrong_scheme()),
        };
        let rest = rest.strip_prefix("//");
        if scheme.is_unix() {
            return Ok(Self { scheme, address: rest.unwrap_or_default().to_owned() });
        }
        let rest = rest.unwrap_or_default();
        let address = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        check_port(text, address)?;
        if split_host_port(address).is_err() {
            return Err(UrlError(format!("URL address does not have the form \"host:port\": {text}")));
        }
        if rest[address.len()..].starts_with('/') {
            return Err(UrlError(format!("URL must not contain a path: {text}")));
        }
        Ok(Self { scheme, address: address.to_owned() })
    }
}

/// The scheme, if there is one, and what follows its colon. Go's parser takes a leading digit for a path, in whose
/// first segment a colon is forbidden: the message that everybody meets who forgets `http://`.
fn split_scheme(text: &str) -> Result<Option<(&str, &str)>, UrlError> {
    let is_scheme = |s: &str| {
        s.starts_with(|c: char| c.is_ascii_alphabetic())
            && s.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    match text.split_once(':') {
        Some(("", _)) => Err(UrlError(format!("parse {text:?}: missing protocol scheme"))),
        Some((scheme, rest)) if is_scheme(scheme) => Ok(Some((scheme, rest))),
        Some((segment, _)) if !segment.contains('/') => {
            Err(UrlError(format!("parse {text:?}: first path segment in URL cannot contain colon")))
        }
        _ => Ok(None),
    }
}

fn check_port(text: &str, address: &str) -> Result<(), UrlError> {
    let host = address.rfind(']').map_or(0, |at| at + 1);
    if let Some(at) = address[host..].rfind(':') {
        let port = &address[host + at..];
        if !port[1..].bytes().all(|b| b.is_ascii_digit()) {
            return Err(UrlError(format!("parse {text:?}: invalid port {port:?} after host")));
        }
    }
    Ok(())
}

/// Splits as Go's `net.SplitHostPort` does, with its messages.
fn split_host_port(address: &str) -> Result<(&str, &str), UrlError> {
    let refuse = |why: &str| Err(UrlError(format!("address {address}: {why}")));
    if let Some(rest) = address.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) => Ok((host, port)),
                None => refuse("missing port in address"),
            },
            None => refuse("missing ']' in address"),
        };
    }
    match address.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => refuse("too many colons in address"),
        Some(parts) => Ok(parts),
        None => refuse("missing port in address"),
    }
}

/// A comma-separated list, sorted and without repetition as etcd keeps it.
///
/// # Errors
/// The first text that is no URL.
pub fn parse_list(text: &str) -> Result<Vec<EndpointUrl>, UrlError> {
    let mut urls = text.split(',').map(str::parse).collect::<Result<Vec<EndpointUrl>, _>>()?;
    urls.sort_by_cached_key(ToString::to_string);
    urls.dedup();
    Ok(urls)
}

/// The list as one text.
#[must_use]
pub fn join(urls: &[EndpointUrl]) -> String {
    urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<EndpointUrl>().unwrap_err().to_string()
    }

    #[test]
    fn urls_print_as_they_were_given() {
        for text in [
            "http://127.0.0.1:2379",
            "https://example.com:443",
            "http://[::1]:2379",
            "unix:///run/tenure.sock",
            "unixs://localhost:17",
        ] {
            assert_eq!(text.parse::<EndpointUrl>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_urls_get_the_texts_of_etcd() {
        assert_eq!(
            error("127.0.0.1:2379"),
            r#"parse "127.0.0.1:2379": first path segment in URL cannot contain colon"#
        );
        assert_eq!(error("localhost:2379"), "URL scheme must be http, https, unix, or unixs: localhost:2379");
        assert_eq!(error(""), "URL scheme must be http, https, unix, or unixs: ");
        assert_eq!(
            error("http://127.0.0.1"),
            r#"URL address does not have the form "host:port": http://127.0.0.1"#
        );
        assert_eq!(error("http://127.0.0.1:2379/"), "URL must not contain a path: http://127.0.0.1:2379/");
        assert_eq!(error("http://a:b"), r#"parse "http://a:b": invalid port ":b" after host"#);
    }

    #[test]
    fn only_addresses_and_localhost_can_be_bound() {
        let check =
            |text: &str| text.parse::<EndpointUrl>().unwrap().check_bindable().map_err(|e| e.to_string());
        assert_eq!(check("http://localhost:2379"), Ok(()));
        assert_eq!(check("http://[::]:2379"), Ok(()));
        assert_eq!(check("unix:///x"), Ok(()));
        assert_eq!(
            check("http://example.com:2379"),
            Err("expected IP in URL for binding (http://example.com:2379)".to_owned())
        );
    }

    #[test]
    fn a_list_is_sorted_and_unique() {
        let urls = parse_list("http://b:2,http://a:1, http://b:2").unwrap();
        assert_eq!(join(&urls), "http://a:1,http://b:2");
    }
}
