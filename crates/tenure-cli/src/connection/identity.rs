//! In whose name requests are sent.

use super::{Connection, with_metadata};
use crate::{
    exit::{Exit, Failure},
    settings::Credentials,
};
use tenure_api::{
    error::EtcdError,
    etcdserverpb::{AuthenticateRequest, auth_client::AuthClient},
};
use tokio::sync::Mutex;
use tonic::{
    Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

/// A token as requests carry it.
pub(super) type Token = MetadataValue<Ascii>;

/// What a user is known by, and the token that he got for it.
pub(super) struct Identity {
    credentials: Option<Credentials>,
    token: Mutex<Held>,
}

enum Held {
    /// Not asked for yet, or not good any more.
    Nothing,
    /// Nothing inside: the servers ask for no users.
    Answer(Option<Token>),
}

impl Identity {
    pub(super) fn new(credentials: Option<Credentials>) -> Self {
        Identity { credentials, token: Mutex::new(Held::Nothing) }
    }

    /// The token for a request, got over `channel` if there is none yet.
    pub(super) async fn token(&self, channel: &Channel) -> Result<Option<Token>, Status> {
        let Some(credentials) = &self.credentials else { return Ok(None) };
        let mut held = self.token.lock().await;
        if let Held::Answer(token) = &*held {
            return Ok(token.clone());
        }
        let text = match credentials {
            Credentials::Token(token) => Some(token.clone()),
            Credentials::Password { password, .. } if password.is_empty() => None,
            Credentials::Password { user, password } => log_in(channel, user, password).await?,
        };
        let invalid = |_| Status::invalid_argument("the token has characters that no header can have");
        let token = text.map(|text| text.parse().map_err(invalid)).transpose()?;
        *held = Held::Answer(token.clone());
        Ok(token)
    }

    /// Whether a refusal says that the token is not good any more and another can be had. Forgets it then.
    pub(super) async fn is_outdated(&self, status: &Status) -> bool {
        use EtcdError::{AuthOldRevision, InvalidAuthToken, UserEmpty};
        let names_it =
            matches!(EtcdError::from_status(status), Some(AuthOldRevision | InvalidAuthToken | UserEmpty));
        let can_log_in = matches!(self.credentials, Some(Credentials::Password { .. }));
        if names_it && can_log_in {
            *self.token.lock().await = Held::Nothing;
        }
        names_it && can_log_in
    }
}

async fn log_in(channel: &Channel, user: &str, password: &str) -> Result<Option<String>, Status> {
    let request = AuthenticateRequest { name: user.to_owned(), password: password.to_owned() };
    match AuthClient::new(channel.clone()).authenticate(with_metadata(request, false, None)).await {
        Ok(answer) => Ok(Some(answer.into_inner().token)),
        Err(status) if EtcdError::from_status(&status) == Some(EtcdError::AuthNotEnabled) => Ok(None),
        Err(status) => Err(status),
    }
}

impl Connection {
    /// Logs in, if there is somebody to log in.
    ///
    /// # Errors
    /// The user or the password is wrong, or nobody answers in time.
    pub async fn log_in(&self) -> Result<(), Failure> {
        if self.identity.credentials.is_none() {
            return Ok(());
        }
        let attempts = async {
            loop {
                let (channel, number) = self.channel().await;
                match self.identity.token(&channel).await {
                    Ok(_) => return Ok(()),
                    Err(status) if self.may_repeat(super::Sends::Repeatable, &status, number) => {}
                    Err(status) => return Err(Failure::from(status).with_exit(Exit::BadConnection)),
                }
                tokio::time::sleep(super::BACKOFF_MIN).await;
            }
        };
        self.in_time("/etcdserverpb.Auth/Authenticate", attempts).await
    }
}
