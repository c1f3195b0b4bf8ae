//! What a certificate says of its owner.

use super::reverse;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The parts of a certificate that are looked at or logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CertificateFacts {
    /// The common name of the subject; the last if there are several, as Go has it. Nothing if there is none that is text.
    pub common_name: Option<String>,
    pub dns_names: Vec<String>,
    pub ip_addresses: Vec<IpAddr>,
    /// Big endian, without leading zeros.
    pub serial: Vec<u8>,
}

impl CertificateFacts {
    /// Reads a certificate; nothing if it is none.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let common_name = parsed.subject().iter_common_name().last();
        let mut facts = Self {
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            serial: without_zeros(parsed.raw_serial()),
            ..Self::default()
        };
        let names = parsed.subject_alternative_name().ok().flatten();
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => facts.dns_names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => facts.ip_addresses.extend(address(bytes)),
                _ => {}
            }
        }
        Some(facts)
    }

    /// The serial number as etcd writes it.
    pub fn serial_hex(&self) -> String {
        self.serial.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A serial number to compare.
pub(super) fn without_zeros(serial: &[u8]) -> Vec<u8> {
    let first = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
    serial[first..].to_vec()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
}

/// Whether one of the alternative names is this name or address.
pub(super) fn is_valid_for(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let (Ok(parsed), Ok(name)) = (ParsedCertificate::try_from(certificate), ServerName::try_from(name))
    else {
        return false;
    };
    rustls::client::verify_server_name(&parsed, &name).is_ok()
}

/// Whether whoever shows a certificate may connect from an address: the certificate has it, or a name that leads to it or to
/// which it leads; or it has neither names nor addresses.
///
/// # Errors
/// etcd's text.
pub(super) async fn check_address(certificate: &CertificateDer<'_>, address: IpAddr) -> Result<(), String> {
    let facts = CertificateFacts::of(certificate).ok_or("the certificate cannot be read")?;
    let address = address.to_canonical();
    if facts.ip_addresses.iter().any(|ip| ip.to_canonical() == address) {
        return Ok(());
    }
    if facts.dns_names.is_empty() {
        if facts.ip_addresses.is_empty() {
            return Ok(());
        }
        let valid: Vec<String> = facts.ip_addresses.iter().map(ToString::to_string).collect();
        return Err(format!("x509: certificate is valid for {}, not {address}", valid.join(", ")));
    }
    let (wildcards, names): (Vec<&str>, Vec<&str>) =
        facts.dns_names.iter().map(String::as_str).partition(|name| name.starts_with("*."));
    let mut failure = String::new();
    if !wildcards.is_empty() {
        match reverse::names_of(address).await {
            Ok(found) => {
                if found.iter().any(|name| wildcards.iter().any(|wildcard| is_below(name, wildcard))) {
                    return Ok(());
                }
            }
            Err(error) => failure = format!(" (lookup {address}: {error})"),
        }
    }
    for name in names {
        match tokio::net::lookup_host((name, 0)).await {
            Ok(mut found) => {
                if found.any(|found| found.ip().to_canonical() == address) {
                    return Ok(());
                }
            }
            Err(error) => failure = format!(" (lookup {name}: {error})"),
        }
    }
    Err(format!(
        "tls: {:?} does not match any of DNSNames {:?}{failure}",
        address.to_string(),
        facts.dns_names
    ))
}

/// Whether a name is one of a wildcard's, whose star stands for any number of labels here, as with etcd.
fn is_below(name: &str, wildcard: &str) -> bool {
    wildcard.strip_prefix('*').is_some_and(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn a_star_stands_for_labels() {
        assert!(is_below("m1.etcd.example", "*.etcd.example"));
        assert!(is_below("m1.a.etcd.example", "*.etcd.example"));
        for name in ["etcd.example", ".etcd.example", "m1etcd.example", "m1.etcd.example.org"] {
            assert!(!is_below(name, "*.etcd.example"), "{name}");
        }
    }
}
