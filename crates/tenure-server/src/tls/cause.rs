//! Why a handshake failed, in the words of Go, which are those that operators of etcd look for.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};
use std::io;

/// The text of a failed read, write or handshake.
pub(super) fn of_io(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => text(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => error.to_string(),
    }
}

/// The text of an error of rustls.
pub(super) fn text(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => format!("remote error: tls: {}", alert_text(*alert)),
        Error::NoCertificatesPresented => "tls: client didn't provide a certificate".to_owned(),
        Error::InvalidCertificate(reason) => {
            format!("tls: failed to verify certificate: x509: {}", certificate_text(reason))
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => NOT_TLS.to_owned(),
        Error::PeerIncompatible(reason) => match reason {
            PeerIncompatible::NoCipherSuitesInCommon => {
                "tls: no cipher suite supported by both client and server".to_owned()
            }
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic => {
                "tls: client offered only unsupported versions".to_owned()
            }
            // TLS 1.2 brought them.
            PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
                "tls: client offered only unsupported versions (no signature algorithms)".to_owned()
            }
            other => format!("tls: {other:?}"),
        },
        Error::NoApplicationProtocol => "tls: client requested unsupported application protocols".to_owned(),
        Error::InconsistentKeys(_) => "tls: private key does not match public key".to_owned(),
        other => format!("tls: {other}"),
    }
}

/// What is said of a client that does not speak TLS.
pub(super) const NOT_TLS: &str = "tls: first record does not look like a TLS handshake";

fn certificate_text(reason: &CertificateError) -> String {
    match reason {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            format!("certificate has expired or is not yet valid: {reason}")
        }
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::Revoked => "certificate revoked".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("certificate specifies an incompatible key usage: {reason}")
        }
        other => other.to_string(),
    }
}

fn alert_text(alert: AlertDescription) -> String {
    use AlertDescription as A;
    match alert {
        A::BadCertificate => "bad certificate",
        A::UnsupportedCertificate => "unsupported certificate",
        A::CertificateRevoked => "revoked certificate",
        A::CertificateExpired => "expired certificate",
        A::CertificateUnknown => "unknown certificate",
        A::UnknownCA => "unknown certificate authority",
        A::AccessDenied => "access denied",
        A::HandshakeFailure => "handshake failure",
        A::ProtocolVersion => "protocol version not supported",
        A::InternalError => "internal error",
        A::UserCanceled => "user canceled",
        A::NoApplicationProtocol => "no application protocol",
        A::CertificateRequired => "certificate required",
        A::DecryptError => "error decrypting message",
        A::DecodeError => "error decoding message",
        A::UnexpectedMessage => "unexpected message",
        A::BadRecordMac => "bad record MAC",
        A::InsufficientSecurity => "insufficient security level",
        A::UnrecognisedName => "unrecognized name",
        other => return format!("{other:?}"),
    }
    .to_owned()
}
