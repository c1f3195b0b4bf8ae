//! Log-ins, and passwords on their way into the log.

use super::Member;
use crate::auth::{self, Caller, NoToken, PASSWORD_BYTES_MAX, Verified};
use crate::{limits, log};
use tenure_api::error::{EtcdError, UnlistedError};
use tenure_core::auth::Auth;
use tenure_core::command::{AuthCommand, Authenticate, Command};
use tenure_core::state::{Access, Response};
use tenure_core::types::Secret;
use thiserror::Error;

/// Why nobody is logged in, or a password cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogInError {
    /// An error that clients know.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// One that they do not.
    #[error(transparent)]
    Unlisted(#[from] UnlistedError),
    /// The password is longer than what bcrypt looks at.
    #[error("bcrypt: password length exceeds {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// The system gave no randomness.
    #[error("the password could not be hashed")]
    NotHashed,
}

impl From<NoToken> for LogInError {
    fn from(reason: NoToken) -> Self {
        match reason {
            NoToken::VerifyOnly => UnlistedError::VerifyOnly.into(),
            // etcd's answer.
            NoToken::NotConfigured => EtcdError::AuthFailed.into(),
        }
    }
}

impl Member {
    /// Logs a user in: his token.
    ///
    /// # Errors
    /// `AuthNotEnabled`; `AuthFailed` for a wrong name or password; `NoPasswordUser`; `VerifyOnly`; those of [`Member::propose`].
    pub async fn log_in(&self, name: &str, password: Secret) -> Result<String, LogInError> {
        let password = auth::shortened(password);
        self.linearize().await?;
        for _ in 0..limits::LOG_IN_ATTEMPTS_MAX {
            let checked = self.check_password(name, &password).await?;
            let simple_token = self.shared.authenticator.before_log_in()?;
            let log_in = Authenticate { name: name.to_owned(), simple_token: simple_token.clone() };
            let command = Command::Auth(AuthCommand::Authenticate(log_in));
            match self.propose(&Caller::Member, command).await? {
                // Or users have changed since the password was checked, and it may be another's now.
                Response::Authenticated { index, auth_revision, .. } if auth_revision == checked => {
                    return Ok(self.shared.authenticator.token(name, &simple_token, index, auth_revision)?);
                }
                _ => tracing::info!("revision when password checked became stale; retrying"),
            }
        }
        Err(EtcdError::AuthOldRevision.into())
    }

    /// Whether the password is that of the user: the auth revision at which it is.
    async fn check_password(&self, name: &str, password: &Secret) -> Result<u64, LogInError> {
        let (hash, auth_revision) = password_of(&self.shared.state.read().auth, name)
            .inspect_err(|error| warn_refused(name, error))?;
        let passwords = &self.shared.authenticator.passwords;
        let is_right = match passwords.verify(name, &hash, password.clone(), auth_revision)? {
            Verified::Known => true,
            Verified::Asked(answer) => self.within_deadline(answer).await?,
        };
        if is_right {
            return Ok(auth_revision);
        }
        let error = EtcdError::AuthFailed.into();
        warn_refused(name, &error);
        Err(error)
    }

    /// The hash of a new password, as it is logged. Only for those who may set one: a hash is costly.
    ///
    /// # Errors
    /// `TooLong`; those of [`Member::authorize`]; `TooManyRequests`.
    pub async fn hash_password(&self, caller: &Caller, password: Secret) -> Result<Secret, LogInError> {
        self.linearize().await?;
        self.authorize(caller, Access::Admin).await?;
        if password.0.len() > PASSWORD_BYTES_MAX {
            return Err(LogInError::TooLong);
        }
        let answer = self.shared.authenticator.passwords.hash(password)?;
        self.within_deadline(answer).await?.ok_or(LogInError::NotHashed)
    }
}

fn password_of(auth: &Auth, name: &str) -> Result<(Secret, u64), LogInError> {
    if !auth.is_enabled() {
        return Err(EtcdError::AuthNotEnabled.into());
    }
    let user = auth.user(name).ok_or(EtcdError::AuthFailed)?;
    if user.no_password {
        return Err(UnlistedError::NoPasswordUser.into());
    }
    Ok((user.password_hash.clone(), auth.revision()))
}

fn warn_refused(name: &str, error: &LogInError) {
    if *error != LogInError::Etcd(EtcdError::AuthNotEnabled) {
        let user = log::shortened(name);
        tracing::warn!(user, %error, "invalid authentication was requested");
    }
}
