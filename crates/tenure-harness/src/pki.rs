//! A certificate authority for tests: certificates, good and bad ones, as PEM files.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const KEY_USAGES_OF_AUTHORITY: [KeyUsagePurpose; 3] =
    [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];

/// Somebody who vouches for others.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: PathBuf,
    directory: PathBuf,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    serial: SerialNumber,
}

/// Whom a certificate is for.
#[derive(Clone, Debug)]
pub struct Owner {
    common_name: String,
    names: Vec<String>,
    has_expired: bool,
    is_authority: bool,
    purposes: Vec<ExtendedKeyUsagePurpose>,
}

impl Owner {
    /// Somebody with a common name; an empty one is left out.
    #[must_use]
    pub fn named(common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            names: Vec::new(),
            has_expired: false,
            is_authority: false,
            purposes: Vec::new(),
        }
    }

    /// A server on this machine: `localhost` and `127.0.0.1`.
    #[must_use]
    pub fn local_server() -> Self {
        Self::named("server").at(&["localhost", "127.0.0.1"])
    }

    /// Adds alternative names, which are host names or addresses.
    #[must_use]
    pub fn at(mut self, names: &[&str]) -> Self {
        self.names.extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// The certificate was good until yesterday.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.has_expired = true;
        self
    }

    /// The certificate is for servers alone.
    #[must_use]
    pub fn for_servers_only(mut self) -> Self {
        self.purposes = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self
    }

    /// The certificate is for clients alone.
    #[must_use]
    pub fn for_clients_only(mut self) -> Self {
        self.purposes = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self
    }

    /// The certificate says that its owner may issue others, as those do that `openssl req -x509` makes.
    #[must_use]
    pub fn with_the_right_to_issue(mut self) -> Self {
        self.is_authority = true;
        self
    }

    fn params(&self) -> Result<CertificateParams> {
        let mut params = CertificateParams::new(self.names.clone())?;
        params.distinguished_name = distinguished(&self.common_name);
        let until = SystemTime::now() - DAY;
        params.not_before = (until - 10 * DAY).into();
        params.not_after = if self.has_expired { until } else { until + 100 * DAY }.into();
        params.extended_key_usages.clone_from(&self.purposes);
        params.is_ca = IsCa::ExplicitNoCa;
        if self.is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = KEY_USAGES_OF_AUTHORITY.to_vec();
        }
        params.serial_number = Some(SerialNumber::from(rand::random::<[u8; 12]>().to_vec()));
        Ok(params)
    }
}

fn distinguished(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if !common_name.is_empty() {
        name.push(DnType::CommonName, common_name);
    }
    name
}

impl Authority {
    /// An authority whose certificate is `NAME.crt` in `directory`; what it issues is beside it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(directory: &Path, name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = KEY_USAGES_OF_AUTHORITY.to_vec();
        let certificate = directory.join(format!("{name}.crt"));
        fs::write(&certificate, params.self_signed(&key)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), certificate, directory: directory.to_owned() })
    }

    /// Somebody who issues certificates with his own, which he shows as well: that and its key are `NAME.crt` and `NAME.key`. Whether he
    /// may is said by the owner.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn of(directory: &Path, name: &str, owner: &Owner) -> Result<(Self, Identity)> {
        let key = KeyPair::generate()?;
        let params = owner.params()?;
        let certificate = params.self_signed(&key)?;
        let identity = Identity::write(directory, name, &params, &certificate.pem(), &key)?;
        let (certificate, directory) = (identity.certificate.clone(), directory.to_owned());
        Ok((Self { issuer: Issuer::new(params, key), certificate, directory }, identity))
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Issues a certificate, as `FILE.crt` and `FILE.key`; those that are there are replaced.
    ///
    /// # Errors
    /// A name is none, or a file cannot be written.
    pub fn issue(&self, file: &str, owner: &Owner) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let params = owner.params()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Identity::write(&self.directory, file, &params, &certificate.pem(), &key)
    }

    /// Writes a list of revoked certificates, in PEM.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn revoke(&self, list: &Path, revoked: &[&Identity]) -> Result<()> {
        let now = SystemTime::now();
        let revoked_certs = revoked.iter().map(|identity| RevokedCertParams {
            serial_number: identity.serial.clone(),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + DAY).into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(fs::write(list, params.signed_by(&self.issuer)?.pem()?)?)
    }
}

impl Identity {
    /// A certificate for which nobody but itself vouches.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn self_signed(directory: &Path, file: &str, owner: &Owner) -> Result<Self> {
        let key = KeyPair::generate()?;
        let params = owner.params()?;
        let certificate = params.self_signed(&key)?;
        Self::write(directory, file, &params, &certificate.pem(), &key)
    }

    fn write(
        directory: &Path,
        file: &str,
        params: &CertificateParams,
        certificate: &str,
        key: &KeyPair,
    ) -> Result<Self> {
        let identity = Self {
            certificate: directory.join(format!("{file}.crt")),
            key: directory.join(format!("{file}.key")),
            serial: params.serial_number.clone().context("it has a serial number")?,
        };
        fs::write(&identity.key, key.serialize_pem())?;
        fs::write(&identity.certificate, certificate)?;
        Ok(identity)
    }
}
