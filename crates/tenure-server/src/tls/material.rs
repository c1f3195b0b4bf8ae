//! Certificates, keys and lists of revoked certificates in files, and whether the files have changed.

use super::certificate::without_zeros;
use super::{CertificateFiles, CipherSuite, TlsConfig, TlsError, cause};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenure_trust::Trusted;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

/// What tells one state of a file from another. The change time is part of it because it moves whatever is done to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The state of several files at one moment; symbolic links are followed, so another target is another state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<Stamp>>);

impl Stamps {
    pub fn of(files: &[PathBuf]) -> Self {
        let stamp = |path: &PathBuf| {
            let found = std::fs::metadata(path).ok()?;
            Some(Stamp {
                inode: (found.dev(), found.ino()),
                bytes: found.size(),
                modified: (found.mtime(), found.mtime_nsec()),
                changed: (found.ctime(), found.ctime_nsec()),
            })
        };
        Self(files.iter().map(stamp).collect())
    }
}

/// The algorithms of a configuration.
pub(super) fn provider(config: Option<&TlsConfig>) -> Arc<CryptoProvider> {
    let suites = config.map_or(&[][..], |config| &config.cipher_suites);
    Arc::new(CryptoProvider { cipher_suites: CipherSuite::select(suites), ..aws_lc_rs::default_provider() })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TlsError::content("certificate", path, "it holds no certificate in PEM")),
        Err(error) => Err(TlsError::content("certificate", path, error.to_string())),
    }
}

/// A certificate with its chain and key.
pub(super) fn certified_key(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&files.certificate)?;
    let text = read(&files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| TlsError::content("private key", &files.key, error.to_string()))?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| TlsError::content("private key", &files.key, cause::text(&error)))
}

/// Those who are trusted, and vouch for others if they are authorities.
pub(super) fn roots(path: &Path) -> Result<Trusted, TlsError> {
    let mut trusted = Trusted::default();
    for certificate in certificates(path)? {
        trusted
            .add(&certificate)
            .map_err(|error| TlsError::content("trusted CA certificate", path, cause::text(&error)))?;
    }
    Ok(trusted)
}

/// The serial numbers of revoked certificates. As with etcd the number alone counts: neither who issued the list nor until when it is
/// valid, since the file is the operator's own.
pub(super) fn revoked(path: &Path) -> Result<BTreeSet<Vec<u8>>, TlsError> {
    let wrong = |reason: String| TlsError::content("certificate revocation list", path, reason);
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    let mut lists = found.map_err(|error| wrong(error.to_string()))?;
    if lists.is_empty() {
        lists.push(CertificateRevocationListDer::from(bytes));
    }
    let mut serials = BTreeSet::new();
    for list in &lists {
        let (_, list) = CertificateRevocationList::from_der(list)
            .map_err(|_| wrong("it holds no list in PEM, and is none in DER".to_owned()))?;
        serials.extend(list.iter_revoked_certificates().map(|one| without_zeros(one.raw_serial())));
    }
    Ok(serials)
}
