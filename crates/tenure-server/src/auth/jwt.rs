//! Signed tokens (A5): user, auth revision and the end of their life, under a signature. Nothing is held for them; a token is good until it
//! expires or users change.

use super::keys::{KeyError, KeyFile, Keys, SignMethod};
use crate::config::JwtOptions;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tenure_core::command::Identity;

/// Makes and reads tokens.
pub struct Jwt {
    method: SignMethod,
    keys: Keys,
    ttl: Duration,
}

#[derive(Serialize)]
struct NewHeader {
    alg: &'static str,
    typ: &'static str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Serialize)]
struct NewClaims<'a> {
    exp: u64,
    revision: u64,
    username: &'a str,
}

/// Times are seconds, and may have a fraction.
#[derive(Deserialize)]
struct Claims {
    username: String,
    revision: f64,
    exp: Option<f64>,
    nbf: Option<f64>,
}

impl Jwt {
    /// As the configuration says.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new(options: &JwtOptions) -> Result<Self, KeyError> {
        let read = |path: &Option<_>| path.clone().map(KeyFile::read).transpose();
        let (private, public) = (read(&options.private_key)?, read(&options.public_key)?);
        let keys = Keys::new(options.sign_method, private.as_ref(), public.as_ref())?;
        Ok(Self { method: options.sign_method, keys, ttl: options.ttl })
    }

    /// Whether tokens can be made.
    pub fn can_sign(&self) -> bool {
        self.keys.can_sign()
    }

    /// A token for a user.
    pub fn token(&self, identity: &Identity, since_epoch: Duration) -> Option<String> {
        let header = NewHeader { alg: self.method.name(), typ: "JWT" };
        let exp = (since_epoch + self.ttl).as_secs();
        let claims = NewClaims { exp, revision: identity.auth_revision, username: &identity.username };
        let part = |json: serde_json::Result<Vec<u8>>| json.ok().map(|json| URL_SAFE_NO_PAD.encode(json));
        let message =
            format!("{}.{}", part(serde_json::to_vec(&header))?, part(serde_json::to_vec(&claims))?);
        let signed = self.keys.sign(message.as_bytes())?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signed)))
    }

    /// Who a token belongs to; nothing if it is not ours, not yet valid, or expired.
    pub fn identity_of(&self, token: &[u8], since_epoch: Duration) -> Option<Identity> {
        let token = std::str::from_utf8(token).ok()?;
        let (message, signed) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        // The token does not choose how it is verified.
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        if header.alg != self.method.name() || !self.keys.verify(message.as_bytes(), &decode(signed)?) {
            return None;
        }
        let claims: Claims = serde_json::from_slice(&decode(claims)?).ok()?;
        let now = since_epoch.as_secs_f64();
        let is_valid = claims.exp.is_none_or(|exp| now < exp) && claims.nbf.is_none_or(|nbf| nbf <= now);
        // A revision is a number of JSON, which a conversion brings into its bounds.
        is_valid.then_some(Identity { username: claims.username, auth_revision: claims.revision as u64 })
    }
}

#[cfg(test)]
mod tests;
