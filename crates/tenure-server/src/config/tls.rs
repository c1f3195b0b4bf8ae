//! The TLS flags: the checks, with etcd's messages, and the step to [`TlsConfig`].

use super::{ConfigError, EndpointUrl, Notice, Settings};
use crate::tls::{self, CertificateFiles, CipherSuite, TlsConfig, TlsVersion};
use std::path::{Path, PathBuf};

/// The longest life of a generated certificate: X.509 has no years beyond 9999.
const VALIDITY_YEARS_MAX: u64 = 1_000;

/// The flags of one side.
struct Side<'a> {
    /// `--` and what stands before the names of all its flags.
    prefix: &'static str,
    /// Where its generated certificate is.
    folder: &'static str,
    certificate: &'a str,
    key: &'a str,
    dial_certificate: &'a str,
    dial_key: &'a str,
    client_cert_auth: bool,
    trusted_ca: &'a str,
    crl: &'a str,
    common_names: &'a [String],
    hostnames: &'a [String],
    auto: bool,
}

impl Settings {
    fn client_side(&self) -> Side<'_> {
        Side {
            prefix: "--",
            folder: "client",
            certificate: &self.cert_file,
            key: &self.key_file,
            dial_certificate: &self.client_cert_file,
            dial_key: &self.client_key_file,
            client_cert_auth: self.client_cert_auth,
            trusted_ca: &self.trusted_ca_file,
            crl: &self.client_crl_file,
            common_names: &self.client_allowed_common_names,
            hostnames: &self.client_cert_allowed_hostname.0,
            auto: self.auto_tls,
        }
    }

    fn peer_side(&self) -> Side<'_> {
        Side {
            prefix: "--peer-",
            folder: "peer",
            certificate: &self.peer_cert_file,
            key: &self.peer_key_file,
            dial_certificate: &self.peer_client_cert_file,
            dial_key: &self.peer_client_key_file,
            client_cert_auth: self.peer_client_cert_auth,
            trusted_ca: &self.peer_trusted_ca_file,
            crl: &self.peer_crl_file,
            common_names: &self.peer_cert_allowed_cn.0,
            hostnames: &self.peer_cert_allowed_hostname.0,
            auto: self.peer_auto_tls,
        }
    }
}

fn invalid<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::invalid(text.into()))
}

fn path(text: &str) -> Option<PathBuf> {
    Some(text).filter(|text| !text.is_empty()).map(PathBuf::from)
}

/// The certificates of both sides and the versions and suites that they have in common.
pub(super) struct Tls {
    pub client: Option<TlsConfig>,
    pub peer: Option<TlsConfig>,
    pub validity_years: u32,
}

/// Reads the TLS flags; files are not looked at.
///
/// * `data`: the data directory, for generated certificates.
///
/// # Errors
/// What cannot be used, with etcd's text where etcd has one.
pub(super) fn resolve(
    settings: &Settings,
    data: &Path,
    notices: &mut Vec<Notice>,
) -> Result<Tls, ConfigError> {
    let validity_years = match settings.self_signed_cert_validity {
        0 if settings.auto_tls || settings.peer_auto_tls => {
            return invalid("selfSignedCertValidity is invalid,it should be greater than 0");
        }
        years @ 0..=VALIDITY_YEARS_MAX => u32::try_from(years).unwrap_or(1),
        years => {
            return invalid(format!(
                "--self-signed-cert-validity must be at most {VALIDITY_YEARS_MAX} years (set to {years})"
            ));
        }
    };
    let suites = settings.cipher_suites.0.iter().map(|name| name.parse::<CipherSuite>());
    let suites: Vec<CipherSuite> = suites.collect::<Result<_, _>>().map_err(ConfigError::invalid)?;
    let version = |text: &str, default| match text {
        "" => Ok(default),
        text => text.parse::<TlsVersion>().map_err(ConfigError::invalid),
    };
    let version_min = version(&settings.tls_min_version, TlsVersion::V1_2)?;
    let version_max = version(&settings.tls_max_version, TlsVersion::V1_3)?;
    if CipherSuite::only_tls_1_3(&suites) && version_max == TlsVersion::V1_2 {
        return invalid("--cipher-suites names suites of TLS1.3 alone, and --tls-max-version is TLS1.2");
    }
    let common =
        |tls: TlsConfig| TlsConfig { cipher_suites: suites.clone(), version_min, version_max, ..tls };
    let client = side(&settings.client_side(), data, notices)?.map(common);
    let peer = side(&settings.peer_side(), data, notices)?.map(common);
    let peer =
        peer.map(|peer| TlsConfig { checks_address: !settings.peer_skip_client_san_verification, ..peer });
    check_client_urls(settings, client.is_some(), notices)?;
    check_peer_urls(settings, peer.is_some(), notices)?;
    Ok(Tls { client, peer, validity_years })
}

fn side(side: &Side<'_>, data: &Path, notices: &mut Vec<Notice>) -> Result<Option<TlsConfig>, ConfigError> {
    let (certificate, key) = (side.certificate, side.key);
    let is_given = !certificate.is_empty() || !key.is_empty();
    if is_given && side.auto {
        notices.push(Notice::warn(&format!("ignoring {} auto TLS since certs given", side.folder)));
    }
    let identity = match (is_given, side.auto) {
        (true, _) if certificate.is_empty() || key.is_empty() => {
            return invalid(format!(
                "KeyFile and CertFile must both be present[key: {key}, cert: {certificate}]"
            ));
        }
        (true, _) => CertificateFiles::new(certificate, key),
        (false, true) => tls::generated_files(data, side.folder),
        (false, false) => return Ok(None),
    };
    check_dial_identity(side)?;
    check_needs(side, !is_given)?;
    Ok(Some(TlsConfig {
        dial_identity: path(side.dial_certificate)
            .zip(path(side.dial_key))
            .map(|(certificate, key)| CertificateFiles { certificate, key }),
        is_generated: !is_given,
        trusted_ca: path(side.trusted_ca),
        client_cert_auth: side.client_cert_auth,
        crl: path(side.crl),
        allowed_common_names: side.common_names.to_vec(),
        allowed_hostnames: side.hostnames.to_vec(),
        ..TlsConfig::new(identity)
    }))
}

fn check_dial_identity(side: &Side<'_>) -> Result<(), ConfigError> {
    let (certificate, key) = (side.dial_certificate, side.dial_key);
    if certificate.is_empty() == key.is_empty() {
        return Ok(());
    }
    invalid(format!(
        "ClientKeyFile and ClientCertFile must both be present or both absent: key: {key}, cert: {certificate}]"
    ))
}

/// Whoever asks for a check gets it or no start.
fn check_needs(side: &Side<'_>, is_generated: bool) -> Result<(), ConfigError> {
    let prefix = side.prefix;
    let hostname = if side.folder == "client" {
        "--client-cert-allowed-hostname"
    } else {
        "--peer-cert-allowed-hostname"
    };
    let crl = if side.folder == "client" { "--client-crl-file" } else { "--peer-crl-file" };
    let checks = [
        (side.client_cert_auth, format!("{prefix}client-cert-auth")),
        (!side.crl.is_empty(), crl.to_owned()),
        (!side.common_names.is_empty(), "allowed common names (--peer-cert-allowed-cn)".to_owned()),
        (!side.hostnames.is_empty(), hostname.to_owned()),
    ];
    let asked = checks.iter().find(|(is_asked, _)| *is_asked).map(|(_, name)| name);
    if let (true, Some(_)) = (is_generated, path(side.trusted_ca)) {
        return invalid(format!(
            "{prefix}trusted-ca-file cannot be used with {prefix}auto-tls: nobody vouches for generated certificates"
        ));
    }
    if let (true, Some(name)) = (side.trusted_ca.is_empty(), asked) {
        return invalid(format!(
            "{name} needs {prefix}trusted-ca-file: without it certificates cannot be verified"
        ));
    }
    if !side.common_names.is_empty() && !side.hostnames.is_empty() {
        return invalid(format!(
            "AllowedCN and AllowedHostname are mutually exclusive (cn={:?}, hostname={:?})",
            side.common_names, side.hostnames
        ));
    }
    Ok(())
}

fn check_client_urls(
    settings: &Settings,
    has_tls: bool,
    notices: &mut Vec<Notice>,
) -> Result<(), ConfigError> {
    for url in &settings.listen_metrics_urls {
        if url.scheme().is_secure() && !has_tls {
            return invalid(
                "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
            );
        }
    }
    let mut warn = |text: &str, url: &EndpointUrl| {
        notices.push(Notice::warn(text).with("client-url", url.to_string()));
    };
    for url in settings.listen_client_urls.iter().chain(&settings.listen_client_http_urls) {
        if url.scheme().is_secure() {
            if !has_tls {
                return invalid(format!(
                    "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme"
                ));
            }
            continue;
        }
        if has_tls {
            warn(
                "scheme is http or unix while key and cert files are present; ignoring key and cert files",
                url,
            );
        }
        if settings.client_cert_auth {
            warn(
                "scheme is http or unix while --client-cert-auth is enabled; ignoring client cert auth for this URL",
                url,
            );
        }
    }
    Ok(())
}

fn check_peer_urls(settings: &Settings, has_tls: bool, notices: &mut Vec<Notice>) -> Result<(), ConfigError> {
    let mut warn = |text: &str, url: &EndpointUrl| {
        notices.push(Notice::warn(text).with("peer-url", url.to_string()));
    };
    for url in &settings.listen_peer_urls {
        if url.scheme().is_secure() {
            if !has_tls {
                return invalid(format!(
                    "cannot listen on TLS for {url}: KeyFile and CertFile are not presented"
                ));
            }
            continue;
        }
        if has_tls {
            warn("scheme is HTTP while key and cert files are present; ignoring key and cert files", url);
        }
        if settings.peer_client_cert_auth {
            let text = "scheme is HTTP while --peer-client-cert-auth is enabled; ignoring client cert auth for this URL";
            warn(text, url);
        }
    }
    Ok(())
}
