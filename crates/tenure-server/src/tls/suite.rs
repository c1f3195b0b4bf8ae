//! Versions and cipher suites, by Go's names.

use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls::version::{TLS12, TLS13};
use std::fmt;
use std::str::FromStr;

/// A version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLS1.2`
    V1_2,
    /// `TLS1.3`
    V1_3,
}

impl FromStr for TlsVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "TLS1.2" => Ok(Self::V1_2),
            "TLS1.3" => Ok(Self::V1_3),
            _ => Err(format!("unexpected TLS version {text:?} (must be one of: TLS1.2, TLS1.3)")),
        }
    }
}

impl TlsVersion {
    /// The versions from one to another.
    pub(super) fn between(min: Self, max: Self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [(Self::V1_2, &TLS12), (Self::V1_3, &TLS13)];
        all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, found)| found).collect()
    }
}

/// A cipher suite that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CipherSuite(rustls::CipherSuite);

/// Go's names and rustls' suites: those of TLS 1.3, then those of TLS 1.2. The last two are older names of Go.
const SUITES: [(&str, rustls::CipherSuite); 11] = {
    use rustls::CipherSuite as S;
    [
        ("TLS_AES_128_GCM_SHA256", S::TLS13_AES_128_GCM_SHA256),
        ("TLS_AES_256_GCM_SHA384", S::TLS13_AES_256_GCM_SHA384),
        ("TLS_CHACHA20_POLY1305_SHA256", S::TLS13_CHACHA20_POLY1305_SHA256),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
        ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ]
};
/// How many of them are names of their own.
const DISTINCT: usize = 9;
/// How many of them are of TLS 1.3.
const OF_TLS_1_3: usize = 3;

/// What Go has beyond, and rustls for good reasons not: RSA key exchange, CBC, RC4 and 3DES.
const OF_GO_ALONE: [&str; 13] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_FALLBACK_SCSV",
];
const WITH_CBC_OF_GO: [&str; 4] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];

impl CipherSuite {
    /// Go's name.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        SUITES.iter().find(|(_, suite)| *suite == self.0).map_or("unknown", |(name, _)| name)
    }

    fn is_of_tls_1_3(self) -> bool {
        SUITES[..OF_TLS_1_3].iter().any(|(_, suite)| *suite == self.0)
    }

    /// The suites of a configuration as rustls has them.
    pub(super) fn select(wanted: &[CipherSuite]) -> Vec<rustls::SupportedCipherSuite> {
        let names_tls_1_3 = wanted.iter().any(|suite| suite.is_of_tls_1_3());
        let is_wanted = |suite: rustls::CipherSuite| {
            let suite = CipherSuite(suite);
            wanted.is_empty() || wanted.contains(&suite) || (suite.is_of_tls_1_3() && !names_tls_1_3)
        };
        ALL_CIPHER_SUITES.iter().copied().filter(|suite| is_wanted(suite.suite())).collect()
    }

    /// Whether none of the wanted suites is of TLS 1.2, so that only TLS 1.3 is left.
    pub(crate) fn only_tls_1_3(wanted: &[CipherSuite]) -> bool {
        !wanted.is_empty() && wanted.iter().all(|suite| suite.is_of_tls_1_3())
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CipherSuite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, suite)) = SUITES.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*suite));
        }
        let names: Vec<&str> = SUITES[..DISTINCT].iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        if OF_GO_ALONE.contains(&text) || WITH_CBC_OF_GO.contains(&text) {
            return Err(format!(
                "TLS cipher suite {text:?} is not supported by Tenure, which has no RSA key exchange, CBC, 3DES and \
                 RC4 (must be one of: {names})"
            ));
        }
        Err(format!("unexpected TLS cipher suite {text:?} (must be one of: {names})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_of_rustls_has_a_name_and_the_other_way_round() {
        for suite in ALL_CIPHER_SUITES {
            let name = CipherSuite(suite.suite()).as_str();
            assert_eq!(name.parse::<CipherSuite>().unwrap().0, suite.suite(), "{name}");
        }
        assert_eq!(ALL_CIPHER_SUITES.len(), DISTINCT);
    }

    #[test]
    fn suites_that_are_not_there_are_refused_with_those_that_are() {
        let refused = |name: &str| name.parse::<CipherSuite>().unwrap_err();
        for name in ["TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"] {
            let text = refused(name);
            assert!(text.contains("not supported by Tenure") && text.contains(name), "{text}");
            assert!(text.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), "{text}");
        }
        assert!(
            refused("ECDHE").starts_with(r#"unexpected TLS cipher suite "ECDHE" (must be one of: TLS_AES_"#)
        );
    }

    #[test]
    fn suites_of_tls_1_3_stay_unless_some_are_named() {
        let select = |names: &[&str]| {
            let suites: Vec<CipherSuite> = names.iter().map(|name| name.parse().unwrap()).collect();
            CipherSuite::select(&suites).len()
        };
        assert_eq!(select(&[]), 9);
        assert_eq!(select(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]), 4);
        assert_eq!(select(&["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_AES_128_GCM_SHA256"]), 2);
        assert_eq!(select(&["TLS_AES_128_GCM_SHA256"]), 1);
    }

    #[test]
    fn versions_from_one_to_another() {
        use TlsVersion::{V1_2, V1_3};
        assert_eq!(TlsVersion::between(V1_2, V1_3), [&TLS12, &TLS13]);
        assert_eq!(TlsVersion::between(V1_2, V1_2), [&TLS12]);
        assert_eq!(TlsVersion::between(V1_3, V1_3), [&TLS13]);
    }
}
