//! TLS as the flags ask for it.
//!
//! An endpoint `https://` or `unixs:` is connected to with TLS always, `http://` never; one without a scheme with TLS if a
//! certificate, a key or a bundle of CA certificates is given, or `--insecure-transport=false`.

use crate::exit::Failure;
use tenure_client::{Pem, TlsConfig};

/// What the flags say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secure {
    /// File with the certificate of this client.
    pub cert: String,
    /// File with its private key.
    pub key: String,
    /// File with the certificates of the authorities that are trusted.
    pub cacert: String,
    /// Endpoints without a scheme are connected to without TLS, if nothing else is given.
    pub insecure_transport: bool,
    /// Any certificate of a server will do.
    pub skip_verify: bool,
}

impl Secure {
    /// Whether endpoints without a scheme are connected to with TLS.
    fn is_on(&self) -> bool {
        !self.insecure_transport || [&self.cert, &self.key, &self.cacert].iter().any(|file| !file.is_empty())
    }

    /// An endpoint as the client library is to understand it.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> String {
        let has_scheme = name.contains("://") || name.starts_with("unix:") || name.starts_with("unixs:");
        if has_scheme || self.is_on() { name.to_owned() } else { format!("http://{name}") }
    }

    /// How connections are secured, if they are.
    ///
    /// # Errors
    /// There is a certificate without its key, or the reverse.
    pub fn config(&self) -> Result<TlsConfig, Failure> {
        let (key, cert) = (&self.key, &self.cert);
        if cert.is_empty() != key.is_empty() {
            return Err(Failure::bad_args(format!(
                "KeyFile and CertFile must both be present[key: {key}, cert: {cert}]: a certificate goes with its key"
            )));
        }
        let mut tls = TlsConfig::default();
        if !self.cacert.is_empty() {
            tls = tls.trust(Pem::file(&self.cacert));
        }
        if !cert.is_empty() {
            tls = tls.identity(Pem::file(cert), Pem::file(key));
        }
        Ok(if self.skip_verify { tls.danger_skip_verification() } else { tls })
    }
}

/// What to do about a failure to connect, if that is known.
#[must_use]
pub fn advice(reason: &str) -> Option<&'static str> {
    let advices = [
        ("UnknownIssuer", "give the certificate of the authority that issued the server's with --cacert"),
        ("NotValidForName", "use a name of the endpoint that the server's certificate holds"),
        ("certificate not valid for name", "use a name of the endpoint that the server's certificate holds"),
        ("Expired", "renew the server's certificate, or correct the clock"),
        ("expired", "renew the server's certificate, or correct the clock"),
        ("CertificateRequired", "the server asks for a certificate: give one with --cert and --key"),
        ("UnknownCA", "the server does not trust the authority that issued the certificate of --cert"),
        ("the server closed the connection", "if the server speaks TLS, write https:// or give --cacert"),
        ("Connection refused", "check the endpoint, and that a server runs there"),
    ];
    advices.iter().find(|(sign, _)| reason.contains(sign)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secure(cacert: &str, insecure_transport: bool) -> Secure {
        Secure { cacert: cacert.to_owned(), insecure_transport, ..Secure::default() }
    }

    #[test]
    fn an_endpoint_without_a_scheme_is_as_the_flags_say() {
        let plain = secure("", true);
        assert_eq!(plain.endpoint("a:1"), "http://a:1");
        for name in ["https://a:1", "http://a:1", "unix:a", "unixs://a"] {
            assert_eq!(plain.endpoint(name), name);
        }
        assert_eq!(secure("ca", true).endpoint("a:1"), "a:1");
        assert_eq!(secure("", false).endpoint("a:1"), "a:1");
        // Who would trust anybody has not asked for TLS yet.
        assert_eq!(Secure { skip_verify: true, ..secure("", true) }.endpoint("a:1"), "http://a:1");
    }

    #[test]
    fn a_certificate_goes_with_its_key() {
        let alone = Secure { cert: "c".to_owned(), ..Secure::default() };
        assert!(alone.config().unwrap_err().message().contains("[key: , cert: c]"));
    }
}
