//! What a certificate says about when, and what for, it is good.

use crate::Purpose;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::{CertificateError, Error, ExtendedKeyPurpose};
use std::time::Duration;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate, X509Version};

/// A certificate that was read.
pub(crate) struct Facts<'a>(X509Certificate<'a>);

impl<'a> Facts<'a> {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`CertificateError::BadEncoding`].
    pub fn of(certificate: &'a CertificateDer<'_>) -> Result<Self, Error> {
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| unreadable())?;
        let is_readable = rest.is_empty() && parsed.basic_constraints().is_ok() && parsed.key_usage().is_ok();
        is_readable.then_some(Self(parsed)).ok_or_else(unreadable)
    }

    /// Whether it says that it is an authority's.
    pub fn is_authority(&self) -> bool {
        self.0.is_ca()
    }

    /// Whether its owner may issue certificates. Those of X.509 version 1 cannot say that they may not.
    pub fn may_issue(&self) -> bool {
        let usage = self.0.key_usage().ok().flatten();
        let may_sign = usage.is_none_or(|usage| usage.value.key_cert_sign());
        may_sign && (self.is_authority() || self.0.version() != X509Version::V3)
    }

    /// Whether it says that this is who issued it.
    pub fn names_issuer(&self, anchor: &TrustAnchor<'_>) -> bool {
        // An anchor has what is inside of the name's outermost sequence.
        rustls::DistinguishedName::in_sequence(&anchor.subject).as_ref() == self.0.issuer().as_raw()
    }

    /// What was signed, and the signature.
    pub fn signed(&self) -> (&[u8], &[u8]) {
        (self.0.tbs_certificate.as_ref(), &self.0.signature_value.data)
    }

    /// Whether it is good now and for this, as Go has it.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, purpose: Purpose, now: UnixTime) -> Result<(), Error> {
        if self.0.extensions().iter().any(|one| one.critical && one.parsed_extension().unsupported()) {
            return Err(unreadable());
        }
        let (not_before, not_after) = (time(self.0.validity().not_before), time(self.0.validity().not_after));
        if now < not_before {
            return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
        }
        if now > not_after {
            return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
        }
        let Some(usage) = self.0.extended_key_usage().map_err(|_| unreadable())? else { return Ok(()) };
        let (required, is_named) = match purpose {
            Purpose::Client => (ExtendedKeyPurpose::ClientAuth, usage.value.client_auth),
            Purpose::Server => (ExtendedKeyPurpose::ServerAuth, usage.value.server_auth),
        };
        if is_named || usage.value.any {
            return Ok(());
        }
        let others = [
            (usage.value.client_auth, ExtendedKeyPurpose::ClientAuth),
            (usage.value.server_auth, ExtendedKeyPurpose::ServerAuth),
        ];
        let presented =
            others.into_iter().filter(|(is_named, _)| *is_named).map(|(_, other)| other).collect();
        Err(CertificateError::InvalidPurposeContext { required, presented }.into())
    }
}

/// Times before 1970 are 1970: nobody's clock is there.
fn time(time: ASN1Time) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default()))
}

fn unreadable() -> Error {
    Error::InvalidCertificate(CertificateError::BadEncoding)
}
