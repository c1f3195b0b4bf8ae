//! Certificates that the member makes itself: `--auto-tls`, `--peer-auto-tls`.

use super::{CertificateFiles, TlsError};
use crate::config::EndpointUrl;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P521_SHA512, SanType,
};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tenure_storage::snapshot::foreign_data_dir;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Where the generated certificate of one side is, as with etcd: `<data-dir>/fixtures/client` or `.../peer`.
#[must_use]
pub fn generated_files(data: &Path, side: &str) -> CertificateFiles {
    let directory = data.join("fixtures").join(side);
    CertificateFiles::new(directory.join("cert.pem"), directory.join("key.pem"))
}

/// Makes a certificate for the hosts of some URLs unless there is one already.
///
/// * `data`: the data directory; left alone if it is a real etcd's.
/// * `side`: `client` or `peer`; the latter's certificate is also good for connecting.
/// * `validity_years`: years of 365 days. An expired certificate is not replaced: remove it, and start again.
///
/// # Errors
/// [`TlsError::Generate`], [`TlsError::Write`].
pub fn generate(data: &Path, side: &str, urls: &[EndpointUrl], validity_years: u32) -> Result<(), TlsError> {
    let files = generated_files(data, side);
    if files.certificate.exists() && files.key.exists() {
        return Ok(());
    }
    if foreign_data_dir(data).is_some() {
        let text = format!("{} belongs to etcd and is left alone", data.display());
        return Err(TlsError::Generate(text));
    }
    let failed = |error: rcgen::Error| TlsError::Generate(error.to_string());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).map_err(failed)?;
    let params = params(side, urls, validity_years)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let folder = files.certificate.parent().unwrap_or(data);
    let cannot_write = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Write { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(cannot_write(folder))?;
    // The key last: both are there, or they are made again.
    write(&files.certificate, &certificate.pem(), 0o644).map_err(cannot_write(&files.certificate))?;
    write(&files.key, &key.serialize_pem(), 0o600).map_err(cannot_write(&files.key))?;
    let path = files.certificate.display().to_string();
    tracing::warn!(path, "validity-years" = validity_years, "automatically generate certificates");
    Ok(())
}

fn params(side: &str, urls: &[EndpointUrl], validity_years: u32) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "etcd");
    let now = SystemTime::now();
    params.not_before = now.into();
    params.not_after = (now + YEAR * validity_years).into();
    params.key_usages = vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if side == "peer" {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    for (host, _) in urls.iter().filter_map(EndpointUrl::host_port) {
        let name = match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => {
                let name = host.try_into();
                SanType::DnsName(name.map_err(|error: rcgen::Error| TlsError::Generate(error.to_string()))?)
            }
        };
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    Ok(params)
}

/// Writes a whole file or none.
fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let draft = path.with_extension("tmp");
    std::fs::remove_file(&draft).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(draft, path)
}
