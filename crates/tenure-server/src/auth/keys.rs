//! Keys of signed tokens: thirteen methods, one way in and one way out.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, ParsedPublicKey, RsaKeyPair};
use aws_lc_rs::{hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why tokens cannot be signed or verified as the configuration says.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A file of a key cannot be read.
    #[error("--auth-token: cannot read the key file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no key for the method.
    #[error("--auth-token: {} holds no {what} in PEM for the sign-method", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The method needs a key that is not given.
    #[error("auth: missing key data")]
    Missing,
    /// The public key is not that of the private key.
    #[error("auth: public and private keys don't match")]
    Mismatch,
    /// A thread could not be started.
    #[error("starting a thread for passwords: {0}")]
    Thread(io::Error),
}

/// How tokens are signed; the names are those of JWT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are names of a standard")]
pub enum SignMethod {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

use SignMethod::{ES256, ES384, ES512, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};

impl SignMethod {
    /// All of them.
    pub const ALL: [SignMethod; 13] =
        [HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA];

    /// The name, as `--auth-token` and tokens have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            HS256 => "HS256",
            HS384 => "HS384",
            HS512 => "HS512",
            RS256 => "RS256",
            RS384 => "RS384",
            RS512 => "RS512",
            PS256 => "PS256",
            PS384 => "PS384",
            PS512 => "PS512",
            ES256 => "ES256",
            ES384 => "ES384",
            ES512 => "ES512",
            EdDSA => "EdDSA",
        }
    }

    fn hmac(self) -> Option<hmac::Algorithm> {
        match self {
            HS256 => Some(hmac::HMAC_SHA256),
            HS384 => Some(hmac::HMAC_SHA384),
            HS512 => Some(hmac::HMAC_SHA512),
            _ => None,
        }
    }

    fn rsa(self) -> Option<&'static dyn signature::RsaEncoding> {
        match self {
            RS256 => Some(&signature::RSA_PKCS1_SHA256),
            RS384 => Some(&signature::RSA_PKCS1_SHA384),
            RS512 => Some(&signature::RSA_PKCS1_SHA512),
            PS256 => Some(&signature::RSA_PSS_SHA256),
            PS384 => Some(&signature::RSA_PSS_SHA384),
            PS512 => Some(&signature::RSA_PSS_SHA512),
            _ => None,
        }
    }

    fn ecdsa(self) -> Option<&'static signature::EcdsaSigningAlgorithm> {
        match self {
            ES256 => Some(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            ES384 => Some(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            ES512 => Some(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            _ => None,
        }
    }

    fn verification(self) -> Option<&'static dyn signature::VerificationAlgorithm> {
        Some(match self {
            HS256 | HS384 | HS512 => return None,
            RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            PS256 => &signature::RSA_PSS_2048_8192_SHA256,
            PS384 => &signature::RSA_PSS_2048_8192_SHA384,
            PS512 => &signature::RSA_PSS_2048_8192_SHA512,
            ES256 => &signature::ECDSA_P256_SHA256_FIXED,
            ES384 => &signature::ECDSA_P384_SHA384_FIXED,
            ES512 => &signature::ECDSA_P521_SHA512_FIXED,
            EdDSA => &signature::ED25519,
        })
    }
}

impl FromStr for SignMethod {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|method| method.name() == text).ok_or(())
    }
}

/// What signs.
enum Signing {
    Hmac(Box<hmac::Key>),
    Rsa(RsaKeyPair, &'static dyn signature::RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// What verifies.
enum Verifying {
    Hmac(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// The keys of one method.
pub struct Keys {
    signing: Option<Signing>,
    verifying: Verifying,
}

/// The bytes of a key file, and its name for who must mend it.
pub struct KeyFile {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl KeyFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`KeyError::Unreadable`].
    pub fn read(path: PathBuf) -> Result<Self, KeyError> {
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self { path, bytes }),
            Err(source) => Err(KeyError::Unreadable { path, source }),
        }
    }

    fn no_key(&self, what: &'static str) -> KeyError {
        KeyError::NoKey { path: self.path.clone(), what }
    }

    /// The first block of the file whose label is one of a key.
    fn private_key(&self) -> Option<Vec<u8>> {
        self.blocks().find_map(|(label, der)| label.contains("KEY").then_some(der))
    }

    /// The first block of the file that holds a public key: by itself, or in a certificate.
    fn public_key(&self) -> Option<Vec<u8>> {
        self.blocks().find_map(|(label, der)| match label {
            "CERTIFICATE" => {
                let (_, certificate) = X509Certificate::from_der(&der).ok()?;
                Some(certificate.public_key().raw.to_vec())
            }
            label => label.contains("PUBLIC KEY").then_some(der),
        })
    }

    /// The blocks of PEM: what they are called, and their bytes.
    fn blocks(&self) -> impl Iterator<Item = (&str, Vec<u8>)> {
        let text = std::str::from_utf8(&self.bytes).unwrap_or_default();
        text.split("-----BEGIN ").skip(1).filter_map(|block| {
            let (label, rest) = block.split_once("-----")?;
            let (body, _) = rest.split_once("-----END ")?;
            let body: String = body.split_whitespace().collect();
            Some((label, STANDARD.decode(body).ok()?))
        })
    }
}

impl Keys {
    /// The keys of `method` out of files. Without a private key tokens are only verified; with HMAC, where both are the same, there
    /// must be one.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new(
        method: SignMethod,
        private: Option<&KeyFile>,
        public: Option<&KeyFile>,
    ) -> Result<Self, KeyError> {
        if let Some(algorithm) = method.hmac() {
            let file = private.filter(|file| !file.bytes.is_empty()).ok_or(KeyError::Missing)?;
            let key = Box::new(hmac::Key::new(algorithm, &file.bytes));
            return Ok(Self { signing: Some(Signing::Hmac(key.clone())), verifying: Verifying::Hmac(key) });
        }
        let signing = private
            .map(|file| signing_key(method, file).ok_or_else(|| file.no_key("private key")))
            .transpose()?;
        let verification = method.verification().ok_or(KeyError::Missing)?;
        let given =
            public.map(|file| file.public_key().ok_or_else(|| file.no_key("public key"))).transpose()?;
        let bytes = match (&signing, given) {
            (_, Some(given)) => given,
            (Some(signing), None) => signing.public().ok_or(KeyError::Missing)?,
            (None, None) => return Err(KeyError::Missing),
        };
        let key = ParsedPublicKey::new(verification, bytes)
            .map_err(|_| public.map_or(KeyError::Missing, |file| file.no_key("public key")))?;
        let keys = Self { signing, verifying: Verifying::Public(key) };
        const PROBE: &[u8] = b"what is signed must verify";
        match keys.sign(PROBE) {
            Some(signed) if !keys.verify(PROBE, &signed) => Err(KeyError::Mismatch),
            _ => Ok(keys),
        }
    }

    /// Whether there is a key to sign with.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        self.signing.is_some()
    }

    /// The signature of a message; nothing without a key to sign with.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self.signing.as_ref()? {
            Signing::Hmac(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Signing::Rsa(pair, encoding) => {
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signed).ok()?;
                Some(signed)
            }
            Signing::Ecdsa(pair) => pair.sign(&random, message).ok().map(|signed| signed.as_ref().to_vec()),
            Signing::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// Whether a signature is that of a message.
    #[must_use]
    pub fn verify(&self, message: &[u8], signed: &[u8]) -> bool {
        match &self.verifying {
            Verifying::Hmac(key) => hmac::verify(key, message, signed).is_ok(),
            Verifying::Public(key) => key.verify_sig(message, signed).is_ok(),
        }
    }
}

impl Signing {
    fn public(&self) -> Option<Vec<u8>> {
        match self {
            Signing::Hmac(_) => None,
            Signing::Rsa(pair, _) => Some(pair.public_key().as_ref().to_vec()),
            Signing::Ecdsa(pair) => Some(pair.public_key().as_ref().to_vec()),
            Signing::Ed25519(pair) => Some(pair.public_key().as_ref().to_vec()),
        }
    }
}

/// PKCS#8, or the older form of its kind: PKCS#1 for RSA, SEC1 for elliptic curves.
fn signing_key(method: SignMethod, file: &KeyFile) -> Option<Signing> {
    let der = file.private_key()?;
    if let Some(encoding) = method.rsa() {
        let pair = rsa::KeyPair::from_pkcs8(&der).or_else(|_| rsa::KeyPair::from_der(&der));
        return pair.ok().map(|pair| Signing::Rsa(pair, encoding));
    }
    if let Some(algorithm) = method.ecdsa() {
        return EcdsaKeyPair::from_private_key_der(algorithm, &der).ok().map(Signing::Ecdsa);
    }
    Ed25519KeyPair::from_pkcs8(&der).ok().map(Signing::Ed25519)
}
