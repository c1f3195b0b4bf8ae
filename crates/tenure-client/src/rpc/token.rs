//! The token that says who the client is.

use super::{Answers, Attempt, CallOptions, Method, Rpc, retry::is_token_refused, with_metadata};
use crate::{Error, EtcdError, Result, config::Credentials, transport::Connection};
use arc_swap::ArcSwapOption;
use prost::Message;
use std::{future::Future, sync::Arc};
use tenure_api::etcdserverpb::{AuthenticateRequest, AuthenticateResponse};
use tokio::sync::Mutex;
use tokio_stream::Stream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic_prost::ProstCodec;

/// The token in use, and how to get another one.
pub(super) struct Token {
    user: Option<(String, String)>,
    current: ArcSwapOption<MetadataValue<Ascii>>,
    /// One fetches; those who come meanwhile take what it got.
    fetching: Mutex<()>,
}

impl Token {
    pub(super) fn new(credentials: Option<Credentials>) -> Result<Self> {
        let (user, token) = match credentials {
            None => (None, None),
            Some(Credentials::Password { user, password }) => (Some((user, password)), None),
            Some(Credentials::Token(token)) => (None, Some(value(&token)?)),
        };
        Ok(Token { user, current: ArcSwapOption::from(token.map(Arc::new)), fetching: Mutex::new(()) })
    }

    pub(super) fn current(&self) -> Option<MetadataValue<Ascii>> {
        self.current.load().as_ref().map(|token| (**token).clone())
    }

    /// There is a password to get another token with.
    pub(super) fn can_be_renewed(&self) -> bool {
        self.user.is_some()
    }

    pub(super) fn is_refused(&self, error: &Error) -> bool {
        self.can_be_renewed() && is_token_refused(error)
    }

    /// Replaces a token that was refused, unless somebody else has already done so.
    pub(super) async fn renew<F>(
        &self,
        refused: &Option<MetadataValue<Ascii>>,
        authenticate: impl FnOnce(AuthenticateRequest) -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<AuthenticateResponse>>,
    {
        let Some((name, password)) = &self.user else { return Ok(()) };
        let _fetching = self.fetching.lock().await;
        if self.current() != *refused {
            return Ok(());
        }
        let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
        match authenticate(request).await {
            Ok(answer) => self.current.store(Some(Arc::new(value(&answer.token)?))),
            // Without authentication nobody needs a token; when it is turned on, the next call is told so.
            Err(error) if error.is(EtcdError::AuthNotEnabled) => self.current.store(None),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Rpc {
    /// Whether a token that is refused can be replaced.
    pub(crate) fn can_renew_token(&self) -> bool {
        self.token.can_be_renewed()
    }

    /// Whether the error is about the token, and another one can be fetched.
    pub(crate) fn is_token_refused(&self, error: &Error) -> bool {
        self.token.is_refused(error)
    }

    /// [`Rpc::bidi_stream`] on this connection.
    pub(crate) async fn bidi_stream_on<Q, R>(
        &self,
        connection: Connection,
        method: &'static Method,
        requests: impl Stream<Item = Q> + Send + 'static,
        options: CallOptions,
    ) -> Result<Answers<R>>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let token = self.token.current();
        let endpoint = connection.endpoint().clone();
        let message = with_metadata(requests, &token, options);
        let opened = self.grpc(connection).streaming(message, method.path(), ProstCodec::default()).await;
        match opened {
            Ok(answers) => Ok(Answers { stream: answers.into_inner(), taken: None, endpoint }),
            Err(status) => {
                let failed = Attempt::from(status);
                if self.token.is_refused(&failed.error) {
                    self.renew_token(&token).await?;
                }
                Err(failed.error)
            }
        }
    }
}

fn value(token: &str) -> Result<MetadataValue<Ascii>> {
    let mut value: MetadataValue<Ascii> =
        token.parse().map_err(|_| Error::invalid("the token holds characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}
