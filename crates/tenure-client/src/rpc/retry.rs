//! What to do about a failed attempt.
//!
//! The one rule that matters: a write is sent again only if it surely did not take effect. That is so if the request never
//! left, if the server said that it did not look at it, or if it was refused for a reason that is found before anything is
//! changed (the token, a learner). Everything else is told to the caller, who alone knows whether twice does harm.

use super::{
    Attempt,
    method::{Method, Repeat},
};
use crate::{
    Error, EtcdError,
    config::RetryConfig,
    error::{Code, causes},
    transport::TransportError,
};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::time::Duration;
use tonic::Status;

/// What tonic says of an answer that ended before its trailers.
const TRUNCATED: &str = "protocol error: missing grpc-status trailer";

/// How often one call renews the token.
const RENEWALS_MAX: usize = 4;

/// What etcd up to 3.5 says of a token whose revision is old, because nothing translates it.
const OLD_REVISION_UNTRANSLATED: &str = "auth: revision in header is old";

/// What comes after a failed attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The failure is the answer.
    Fail,
    /// Another attempt, after a pause.
    Again(Duration),
}

/// The attempts of one call.
pub(super) struct Retries {
    left: u32,
    /// Attempts in this round of endpoints. Within a round there is no pause: the next endpoint may well be fine.
    in_round: usize,
    round: usize,
    backoff: Option<Box<dyn Iterator<Item = Duration> + Send>>,
    config: RetryConfig,
    /// Calls that may not be repeated and met a member without a leader: each endpoint is asked once.
    leaderless: usize,
    endpoints: usize,
}

impl Retries {
    /// For a call over this many endpoints. A round is a majority of them, as in etcd's client.
    pub(super) fn new(config: &RetryConfig, endpoints: usize) -> Self {
        Retries {
            left: config.retries_max,
            in_round: 0,
            round: endpoints / 2 + 1,
            backoff: None,
            config: *config,
            leaderless: 0,
            endpoints,
        }
    }

    pub(super) fn next(&mut self, method: &Method, failed: &Attempt) -> Next {
        if self.left == 0 {
            return Next::Fail;
        }
        self.left -= 1;
        if !may_repeat(method, failed, self.endpoints) {
            if !failed.error.is(EtcdError::NoLeader) {
                return Next::Fail;
            }
            self.leaderless += 1;
            return if self.leaderless < self.endpoints { Next::Again(Duration::ZERO) } else { Next::Fail };
        }
        self.in_round += 1;
        if self.in_round < self.round {
            return Next::Again(Duration::ZERO);
        }
        self.in_round = 0;
        Next::Again(self.pause())
    }

    fn pause(&mut self) -> Duration {
        let config = self.config;
        let backoff = self.backoff.get_or_insert_with(|| Box::new(backoff(&config)));
        backoff.next().unwrap_or(config.backoff_max)
    }
}

/// The pauses before each renewal of the token that one call makes. A new one can be too old as well when users change meanwhile,
/// but not again and again.
pub(super) fn renewals(config: &RetryConfig) -> impl Iterator<Item = Duration> + Send + use<> {
    std::iter::once(Duration::ZERO).chain(backoff(config)).take(RENEWALS_MAX)
}

/// Pauses without end.
pub(super) fn backoff(config: &RetryConfig) -> impl Iterator<Item = Duration> + Send + use<> {
    ExponentialBuilder::default()
        .with_min_delay(config.backoff_min)
        .with_max_delay(config.backoff_max)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

fn may_repeat(method: &Method, failed: &Attempt, endpoints: usize) -> bool {
    if failed.is_transport && !failed.was_sent {
        return true;
    }
    if failed.error.is(EtcdError::NotSupportedForLearner) {
        // Another endpoint may not be a learner.
        return endpoints > 1;
    }
    match method.repeat {
        Repeat::Always => failed.is_transport || failed.error.code() == Code::Unavailable,
        Repeat::IfWithoutEffect => false,
    }
}

/// Whether a new token may help.
pub(super) fn is_token_refused(error: &Error) -> bool {
    match error {
        Error::Etcd { error, .. } => {
            matches!(error, EtcdError::InvalidAuthToken | EtcdError::AuthOldRevision | EtcdError::UserEmpty)
        }
        Error::Rpc { message, .. } => message == OLD_REVISION_UNTRANSLATED,
        _ => false,
    }
}

/// What the transport says of a call that no answer came to.
pub(super) struct Failure {
    pub was_sent: bool,
    pub reason: String,
}

/// The failure behind a status that did not come from the server.
pub(super) fn transport_failure(status: &Status) -> Option<Failure> {
    let Some(source) = std::error::Error::source(status) else {
        let is_truncated = status.code() == Code::Unknown && status.message().starts_with(TRUNCATED);
        return is_truncated
            .then(|| Failure { was_sent: true, reason: "the answer was cut short".to_owned() });
    };
    let mut cause = Some(source);
    let mut was_sent = true;
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<TransportError>() {
            was_sent = error.was_sent;
        }
        cause = error.source();
    }
    Some(Failure { was_sent, reason: causes(source) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::method;

    const CONFIG: RetryConfig = RetryConfig {
        retries_max: 5,
        backoff_min: Duration::from_millis(10),
        backoff_max: Duration::from_millis(40),
    };

    fn lost(was_sent: bool) -> Attempt {
        Attempt { error: Error::ConnectionLost { reason: "eof".into() }, was_sent, is_transport: true }
    }

    fn answered(error: EtcdError) -> Attempt {
        Attempt { error: Status::from(error).into(), was_sent: true, is_transport: false }
    }

    fn is_repeated(method: &Method, failed: &Attempt) -> bool {
        may_repeat(method, failed, 2)
    }

    #[test]
    fn a_write_that_may_have_taken_effect_is_not_repeated() {
        assert!(is_repeated(&method::PUT, &lost(false)));
        assert!(!is_repeated(&method::PUT, &lost(true)));
        assert!(!is_repeated(&method::TXN, &answered(EtcdError::Timeout)));
        assert!(!is_repeated(&method::PUT, &answered(EtcdError::NoSpace)));
        let learner = answered(EtcdError::NotSupportedForLearner);
        assert!(is_repeated(&method::PUT, &learner));
        assert!(!may_repeat(&method::RANGE, &learner, 1), "there is nobody else to ask");
    }

    #[test]
    fn a_read_is_repeated_when_the_server_is_not_available() {
        assert!(is_repeated(&method::RANGE, &lost(true)));
        assert!(is_repeated(&method::RANGE, &answered(EtcdError::LeaderChanged)));
        assert!(!is_repeated(&method::RANGE, &answered(EtcdError::Compacted)));
    }

    #[test]
    fn there_is_a_pause_after_a_majority_of_endpoints_and_an_end() {
        let mut retries = Retries::new(&CONFIG, 3);
        let pauses: Vec<Next> = (0..6).map(|_| retries.next(&method::RANGE, &lost(true))).collect();
        let millis = |next: &Next| match next {
            Next::Again(pause) => i64::try_from(pause.as_millis()).unwrap(),
            Next::Fail => -1,
        };
        let pauses: Vec<i64> = pauses.iter().map(millis).collect();
        assert_eq!((pauses[0], pauses[2], pauses[4], pauses[5]), (0, 0, 0, -1), "{pauses:?}");
        assert!((10..=20).contains(&pauses[1]), "{pauses:?}");
        assert!((20..=40).contains(&pauses[3]), "{pauses:?}");
    }

    #[test]
    fn a_token_is_renewed_a_few_times_with_pauses() {
        let pauses: Vec<Duration> = renewals(&CONFIG).collect();
        assert_eq!((pauses[0], pauses.len()), (Duration::ZERO, RENEWALS_MAX));
        assert!(pauses[1..].iter().all(|pause| *pause > Duration::ZERO), "{pauses:?}");
        let refused = answered(EtcdError::InvalidAuthToken);
        assert_eq!(Retries::new(&CONFIG, 1).next(&method::RANGE, &refused), Next::Fail);
    }

    #[test]
    fn an_old_revision_is_known_by_both_of_its_texts() {
        for status in [EtcdError::AuthOldRevision.into(), Status::unknown(OLD_REVISION_UNTRANSLATED)] {
            assert!(is_token_refused(&status.into()));
        }
        assert!(!is_token_refused(&Status::from(EtcdError::PermissionDenied).into()));
    }

    #[test]
    fn a_write_to_a_member_without_a_leader_is_tried_with_each_endpoint_once() {
        let mut retries = Retries::new(&CONFIG, 3);
        let leaderless = answered(EtcdError::NoLeader);
        let nexts = [(); 3].map(|()| retries.next(&method::PUT, &leaderless));
        assert_eq!(nexts, [Next::Again(Duration::ZERO), Next::Again(Duration::ZERO), Next::Fail]);
    }
}
