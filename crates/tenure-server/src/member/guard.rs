//! What stands before every request: who asks, and whether he may.

use super::Member;
use crate::auth::{self, Caller, Credentials};
use crate::limits;
use std::sync::atomic::Ordering;
use tenure_api::error::EtcdError;
use tenure_core::command::{AuthCommand, Command, Identity};
use tenure_core::state::{Access, StateMachine};
use tenure_core::types::Secret;
use tokio::time::Instant;

/// Leave to read, given at an auth revision. What was read under it may be told only if users have not changed meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Permit {
    /// 0 for whom no change concerns.
    auth_revision: u64,
}

impl Member {
    /// Whether authentication is on. It is before whoever switched it on is told.
    fn asks_who(&self) -> bool {
        self.shared.auth_enabled.load(Ordering::Acquire)
    }

    /// In whose name somebody asks; in nobody's while authentication is off.
    ///
    /// # Errors
    /// `InvalidAuthToken` for a token that is unknown, has expired or is signed by somebody else.
    pub async fn identify(&self, caller: &Caller) -> Result<Identity, EtcdError> {
        let credentials = match caller {
            Caller::Member => return Ok(Identity::of_cluster()),
            Caller::Client(credentials) => credentials,
        };
        if !self.asks_who() {
            return Ok(Identity::default());
        }
        let auth_revision = self.shared.state.read().auth.revision();
        match credentials {
            Credentials { token: Some(token), .. } => self.identify_by_token(token, auth_revision).await,
            Credentials { common_name: Some(name), .. } => {
                Ok(Identity { username: name.clone(), auth_revision })
            }
            Credentials { .. } => Ok(Identity::default()),
        }
    }

    /// A token may come from another member and be made by an entry that this one has yet to apply (A4).
    async fn identify_by_token(&self, token: &Secret, auth_revision: u64) -> Result<Identity, EtcdError> {
        let authenticator = &self.shared.authenticator;
        if let Some(identity) = authenticator.identify(token, auth_revision) {
            return Ok(identity);
        }
        let deadline = Instant::now() + self.shared.config.request_timeout();
        if let Some(made_by) = authenticator.made_by(token) {
            let ahead = made_by.0.saturating_sub(self.shared.applied.load().0);
            while ahead <= limits::UNAPPLIED_ENTRIES_MAX
                && self.shared.applied.load() < made_by
                && Instant::now() < deadline
                && !self.shared.is_stopping()
            {
                tokio::time::sleep(limits::TOKEN_WAIT_STEP).await;
            }
            if ahead > 0 {
                let auth_revision = self.shared.state.read().auth.revision();
                if let Some(identity) = authenticator.identify(token, auth_revision) {
                    return Ok(identity);
                }
            }
        }
        tracing::warn!("token-fingerprint" = auth::fingerprint(token), "invalid auth token");
        Err(EtcdError::InvalidAuthToken)
    }

    /// Whether somebody may do something now.
    ///
    /// # Errors
    /// Those of [`Member::identify`] and [`StateMachine::authorize`].
    pub async fn authorize(&self, caller: &Caller, access: Access<'_>) -> Result<Permit, EtcdError> {
        if !self.asks_who() {
            return Ok(Permit { auth_revision: 0 });
        }
        let identity = self.identify(caller).await?;
        self.shared.state.read().authorize(&identity, access)?;
        Ok(match caller {
            Caller::Member => Permit { auth_revision: 0 },
            Caller::Client(_) => Permit { auth_revision: identity.auth_revision },
        })
    }

    /// As [`Member::authorize`], and what is done with the state is done before users can change.
    ///
    /// # Errors
    /// As [`Member::authorize`].
    pub(super) async fn authorized<T>(
        &self,
        caller: &Caller,
        access: &[Access<'_>],
        then: impl FnOnce(&StateMachine) -> T,
    ) -> Result<T, EtcdError> {
        let identity = self.identify(caller).await?;
        let state = self.shared.state.read();
        access.iter().try_for_each(|access| state.authorize(&identity, *access))?;
        Ok(then(&state))
    }

    /// Whether what was read under a permit may still be told.
    ///
    /// # Errors
    /// `AuthOldRevision`: users have changed, and perhaps he may not any more. He may ask again.
    pub fn still_permitted(&self, permit: Permit) -> Result<(), EtcdError> {
        if permit.auth_revision == 0 {
            return Ok(());
        }
        match self.shared.state.read().auth.revision() {
            now if now == permit.auth_revision => Ok(()),
            _ => Err(EtcdError::AuthOldRevision),
        }
    }

    /// In whose name a command is proposed. What every member checks when it applies the command is not checked here, but nobody gets
    /// into the log without a name, and what only the edge checks is checked (A13).
    ///
    /// # Errors
    /// As [`Member::authorize`].
    pub(super) async fn identify_for(
        &self,
        caller: &Caller,
        command: &Command,
    ) -> Result<Identity, EtcdError> {
        if matches!(command, Command::Auth(AuthCommand::Authenticate(_))) {
            return Ok(Identity::default());
        }
        let identity = self.identify(caller).await?;
        let access = match command {
            Command::Compact(_) | Command::Alarm(_) | Command::Auth(_) => Access::Admin,
            _ => Access::User,
        };
        if self.asks_who() && !matches!(caller, Caller::Member) {
            self.shared.state.read().authorize(&identity, access)?;
        }
        Ok(identity)
    }
}
