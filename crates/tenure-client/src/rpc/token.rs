//! The token that says who the client is.

use super::retry::is_token_refused;
use crate::{
    Error, EtcdError, Result,
    config::{Credentials, Secret},
};
use arc_swap::ArcSwapOption;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tenure_api::etcdserverpb::{AuthenticateRequest, AuthenticateResponse};
use tokio::sync::Mutex;
use tonic::metadata::{Ascii, MetadataValue};

/// The token in use, and how to get another one.
pub(super) struct Token {
    user: Option<(String, Secret)>,
    current: ArcSwapOption<MetadataValue<Ascii>>,
    /// One fetches; those who come meanwhile take what it got, be it a failure. It holds the failure of the last one.
    fetching: Mutex<Option<Error>>,
    /// How many fetches have ended.
    fetches: AtomicU64,
}

impl Token {
    pub(super) fn new(credentials: Option<Credentials>) -> Result<Self> {
        let (user, token) = match credentials {
            None => (None, None),
            Some(Credentials::Password { user, password }) => (Some((user, password)), None),
            Some(Credentials::Token(token)) => (None, Some(value(&token.0)?)),
        };
        let current = ArcSwapOption::from(token.map(Arc::new));
        Ok(Token { user, current, fetching: Mutex::default(), fetches: AtomicU64::new(0) })
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

    /// Replaces a token that was refused, unless somebody else has already done so, or tried while this call waited.
    pub(super) async fn renew<F>(
        &self,
        refused: &Option<MetadataValue<Ascii>>,
        authenticate: impl FnOnce(AuthenticateRequest) -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<AuthenticateResponse>>,
    {
        let Some((name, password)) = &self.user else { return Ok(()) };
        let fetches_before = self.fetches.load(Ordering::Acquire);
        let mut failure = self.fetching.lock().await;
        if self.current() != *refused {
            return Ok(());
        }
        if self.fetches.load(Ordering::Acquire) != fetches_before {
            return failure.clone().map_or(Ok(()), Err);
        }
        let request = AuthenticateRequest { name: name.clone(), password: password.0.clone() };
        let fetched = match authenticate(request).await {
            Ok(answer) => value(&answer.token).map(|token| self.current.store(Some(Arc::new(token)))),
            Err(error) if error.is(EtcdError::AuthNotEnabled) => {
                // Nobody needs a token; when authentication is turned on, the next call is told so.
                self.current.store(None);
                Ok(())
            }
            Err(error) => Err(error),
        };
        *failure = fetched.clone().err();
        self.fetches.fetch_add(1, Ordering::Release);
        fetched
    }
}

fn value(token: &str) -> Result<MetadataValue<Ascii>> {
    let mut value: MetadataValue<Ascii> =
        token.parse().map_err(|_| Error::invalid("the token holds characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tonic::Status;

    fn of_user() -> Token {
        let password = Secret("p".to_owned());
        Token::new(Some(Credentials::Password { user: "u".to_owned(), password })).unwrap()
    }

    /// Has ten renew the same token, with this outcome, and tells how often it was fetched.
    async fn renew_ten_times(outcome: Result<AuthenticateResponse>, succeeds: bool) -> u64 {
        let token = of_user();
        let refused = token.current();
        let renewals = (0..10).map(|_| {
            token.renew(&refused, |_| async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                outcome.clone()
            })
        });
        for renewed in futures::future::join_all(renewals).await {
            assert_eq!(renewed.is_ok(), succeeds, "{renewed:?}");
        }
        token.fetches.load(Ordering::Acquire)
    }

    #[tokio::test]
    async fn those_who_come_meanwhile_take_what_one_got() {
        let answer = AuthenticateResponse { token: "t".to_owned(), ..Default::default() };
        assert_eq!(renew_ten_times(Ok(answer), true).await, 1);
        let refusal = |error: EtcdError| Err(Status::from(error).into());
        assert_eq!(renew_ten_times(refusal(EtcdError::AuthNotEnabled), true).await, 1);
        assert_eq!(renew_ten_times(refusal(EtcdError::AuthFailed), false).await, 1);
    }

    #[tokio::test]
    async fn who_comes_after_a_failure_tries_again() {
        let token = of_user();
        let failing = token.renew(&None, |_| async { Err(Error::Closed) });
        assert!(failing.await.is_err());
        let answer = AuthenticateResponse { token: "t".to_owned(), ..Default::default() };
        token.renew(&None, |_| async { Ok(answer) }).await.unwrap();
        assert_eq!(token.current().unwrap(), "t");
    }

    #[tokio::test]
    async fn a_fetch_that_is_given_up_does_not_keep_others_from_theirs() {
        let token = of_user();
        let endless = token.renew(&None, |_| std::future::pending());
        assert!(tokio::time::timeout(Duration::from_millis(1), endless).await.is_err());
        let answer = AuthenticateResponse { token: "t".to_owned(), ..Default::default() };
        token.renew(&None, |_| async { Ok(answer) }).await.unwrap();
        assert_eq!(token.current().unwrap(), "t");
    }
}
