//! What a request brings along that says who asks.

use bytes::Bytes;
use tenure_core::types::Secret;

/// Where clients of gRPC put their token.
const TOKEN: &str = "token";
/// Where everybody else puts it; looked at if there is no `token`.
const AUTHORIZATION: &str = "authorization";
/// What may stand before a token.
const BEARER: &[u8] = b"Bearer ";
/// Set by the JSON gateway, whose own certificate says nothing about its clients.
const GATEWAY: &str = "grpcgateway-accept";

/// The common name of the certificate that a client has shown and that was verified. A listener with TLS puts it into the
/// extensions of every request of the connection; it counts for requests that bring no token (A6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateName(pub String);

/// Who asks.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The member itself, of its own accord.
    Member,
    /// A client, with what he brings.
    Client(Credentials),
}

/// What a client brings. It is looked at only while authentication is on.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The token as it came, without `Bearer `.
    pub token: Option<Secret>,
    /// The name in his certificate.
    pub common_name: Option<String>,
}

impl Caller {
    /// Who sent a request.
    #[must_use]
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        let metadata = request.metadata();
        let token = metadata.get(TOKEN).or_else(|| metadata.get(AUTHORIZATION)).map(|value| {
            let bytes = value.as_encoded_bytes();
            Secret(Bytes::copy_from_slice(bytes.strip_prefix(BEARER).unwrap_or(bytes)))
        });
        let certificate = request.extensions().get::<CertificateName>();
        let common_name =
            certificate.filter(|_| !metadata.contains_key(GATEWAY)).map(|CertificateName(name)| name.clone());
        Caller::Client(Credentials { token, common_name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(metadata: &[(&'static str, &str)], name: Option<&str>) -> (Option<Bytes>, Option<String>) {
        let mut request = tonic::Request::new(());
        for (key, value) in metadata {
            request.metadata_mut().append(*key, value.parse().expect("ASCII"));
        }
        if let Some(name) = name {
            request.extensions_mut().insert(CertificateName(name.into()));
        }
        match Caller::of(&request) {
            Caller::Client(credentials) => (credentials.token.map(|token| token.0), credentials.common_name),
            Caller::Member => panic!("nobody can claim to be the member"),
        }
    }

    #[test]
    fn a3_tokens_are_found_under_both_names() {
        let token = |metadata: &[(&'static str, &str)]| credentials(metadata, None).0;
        assert_eq!(token(&[]), None);
        assert_eq!(token(&[("token", "a.1")]).as_deref(), Some(&b"a.1"[..]));
        assert_eq!(token(&[("authorization", "a.1")]).as_deref(), Some(&b"a.1"[..]));
        assert_eq!(token(&[("authorization", "Bearer a.1")]).as_deref(), Some(&b"a.1"[..]));
        assert_eq!(token(&[("token", "Bearer a.1")]).as_deref(), Some(&b"a.1"[..]));
        assert_eq!(token(&[("token", "bearer a.1")]).as_deref(), Some(&b"bearer a.1"[..]));
        assert_eq!(token(&[("authorization", "b"), ("token", "a")]).as_deref(), Some(&b"a"[..]));
        assert_eq!(token(&[("token", "")]).as_deref(), Some(&b""[..]), "a token, though an invalid one");
    }

    #[test]
    fn a6_the_name_in_a_certificate_counts_except_for_the_gateway() {
        assert_eq!(credentials(&[], Some("alice")).1.as_deref(), Some("alice"));
        assert_eq!(credentials(&[("grpcgateway-accept", "*/*")], Some("alice")).1, None);
        assert_eq!(credentials(&[], None).1, None);
    }

    #[test]
    fn a15_credentials_do_not_show_their_token() {
        let mut request = tonic::Request::new(());
        request.metadata_mut().insert("token", "verysecret.7".parse().expect("ASCII"));
        assert!(!format!("{:?}", Caller::of(&request)).contains("verysecret"));
    }
}
