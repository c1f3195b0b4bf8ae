//! Who asks: tokens, passwords, certificates. What somebody may do is decided in `tenure_core`.
//!
//! * `caller`: what a request brings along.
//! * `simple_tokens`: random tokens, held in memory.
//! * `jwt`: signed tokens, with nothing to hold; `keys` has their keys.
//! * `passwords`: bcrypt, on threads of its own.

mod caller;
mod jwt;
mod keys;
mod passwords;
mod simple_tokens;

pub use caller::{Caller, CertificateName, Credentials};
pub use keys::{KeyError, SignMethod};
pub use passwords::PASSWORD_BYTES_MAX;
pub(crate) use passwords::{Verified, shortened};

use crate::config::{AuthToken, ServerConfig};
use crate::limits;
use jwt::Jwt;
use passwords::Passwords;
use sha2::{Digest, Sha256};
use simple_tokens::SimpleTokens;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tenure_core::command::{AuthCommand, Authenticate, Identity};
use tenure_core::types::{LogIndex, Secret};

/// Tells who somebody is.
pub(crate) struct Authenticator {
    tokens: Tokens,
    /// Hashes of passwords.
    pub passwords: Passwords,
}

enum Tokens {
    Simple(SimpleTokens),
    Jwt(Jwt),
    None,
}

/// Why somebody who has proved who he is gets no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoToken {
    /// This member has only the key to verify tokens.
    VerifyOnly,
    /// There are none.
    NotConfigured,
}

impl Authenticator {
    /// As the configuration says.
    ///
    /// # Errors
    /// [`KeyError`] if a key cannot be used.
    pub fn new(config: &ServerConfig) -> Result<Self, KeyError> {
        let tokens = match &config.auth_token {
            AuthToken::Simple => {
                Tokens::Simple(SimpleTokens::new(config.auth_token_ttl, limits::SIMPLE_TOKENS_MAX))
            }
            AuthToken::Jwt(options) => Tokens::Jwt(Jwt::new(options)?),
            AuthToken::None => Tokens::None,
        };
        Ok(Self { tokens, passwords: Passwords::start(config.bcrypt_cost).map_err(KeyError::Thread)? })
    }

    /// The same after a restart.
    ///
    /// * `log_end`: the last entry that an earlier run of the member has logged.
    pub fn resuming_behind(mut self, log_end: LogIndex) -> Self {
        if let Tokens::Simple(tokens) = &mut self.tokens {
            tokens.resume_behind(log_end);
        }
        self
    }

    /// Who a token belongs to; nothing if it is not valid.
    ///
    /// * `auth_revision`: that of now. A simple token is as good as a log-in of now; a signed one brings its own.
    pub fn identify(&self, token: &Secret, auth_revision: u64) -> Option<Identity> {
        let identity = match &self.tokens {
            Tokens::Simple(tokens) => {
                tokens.user_of(&token.0, Instant::now()).map(|username| Identity { username, auth_revision })
            }
            Tokens::Jwt(jwt) => jwt.identity_of(&token.0, since_epoch()),
            Tokens::None => None,
        };
        identity.filter(|identity| !identity.username.is_empty())
    }

    /// The entry that must be applied before a token can be called invalid, if it says one.
    pub fn made_by(&self, token: &Secret) -> Option<LogIndex> {
        match &self.tokens {
            Tokens::Simple(_) => simple_tokens::made_by(&token.0),
            Tokens::Jwt(_) | Tokens::None => None,
        }
    }

    /// What the command of a log-in says of the token to be.
    ///
    /// # Errors
    /// [`NoToken`].
    pub fn before_log_in(&self) -> Result<Secret, NoToken> {
        match &self.tokens {
            Tokens::Simple(_) => Ok(simple_tokens::random_part()),
            Tokens::Jwt(jwt) if jwt.can_sign() => Ok(Secret::default()),
            Tokens::Jwt(_) => Err(NoToken::VerifyOnly),
            Tokens::None => Err(NoToken::NotConfigured),
        }
    }

    /// The token of a log-in that was applied at `index`, in its text form.
    ///
    /// # Errors
    /// [`NoToken`], as before.
    pub fn token(
        &self,
        name: &str,
        random_part: &Secret,
        index: LogIndex,
        auth_revision: u64,
    ) -> Result<String, NoToken> {
        match &self.tokens {
            Tokens::Simple(_) => {
                let token = simple_tokens::token(random_part, index);
                Ok(String::from_utf8_lossy(&token).into_owned())
            }
            Tokens::Jwt(jwt) => {
                let identity = Identity { username: name.to_owned(), auth_revision };
                jwt.token(&identity, since_epoch()).ok_or(NoToken::VerifyOnly)
            }
            Tokens::None => Err(NoToken::NotConfigured),
        }
    }

    /// A command was applied with success: tokens come and go with it. Every member sees this.
    pub fn applied(&self, index: LogIndex, command: &AuthCommand) {
        let Tokens::Simple(tokens) = &self.tokens else { return };
        match command {
            AuthCommand::Authenticate(Authenticate { name, simple_token }) => {
                tokens.assign(index, simple_token, name, Instant::now());
            }
            AuthCommand::UserDelete(name) => tokens.forget_user(name),
            AuthCommand::UserChangePassword(change) => tokens.forget_user(&change.name),
            AuthCommand::Disable => tokens.forget_all(),
            _ => {}
        }
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Tells tokens apart in the log without showing them.
pub(crate) fn fingerprint(secret: &Secret) -> String {
    Sha256::digest(&secret.0).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
