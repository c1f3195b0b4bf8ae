//! What can go wrong, in one type.

use crate::Revision;
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tenure_api::error::{UnlistedError, status_text};
use tonic::Status;

pub use tenure_api::error::EtcdError;
#[doc(inline)]
pub use tonic::Code;

/// What every call of this crate answers with.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Client, Result};
///
/// async fn mode(client: &Client) -> Result<String> {
///     Ok(client.get("mode").await?.first().map(|pair| pair.value_text().into_owned()).unwrap_or_default())
/// }
/// # mode(&client).await?;
/// # Ok(())
/// # }
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
///
/// What a server answered keeps its code and its text: [`Error::code`], [`Error::message`]. Compare an answer by its name:
///
/// ```
/// use tenure_client::{Error, EtcdError};
///
/// fn is_gone(error: &Error) -> bool {
///     error.etcd() == Some(EtcdError::LeaseNotFound)
/// }
/// # assert!(!is_gone(&Error::Closed));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused, with one of the errors that etcd names. `code` is the one that travelled.
    #[error("{error}")]
    Etcd {
        /// Which one. Its `Display` is etcd's text.
        error: EtcdError,
        /// The gRPC code of the answer.
        code: Code,
    },
    /// The server answered with a status that has no name in etcd.
    #[error("{}", status_text(*.code, .message))]
    Rpc {
        /// The gRPC code of the answer.
        code: Code,
        /// The text of the answer.
        message: String,
    },
    /// The revision that was asked for, or that a watch has to go on from, is compacted away.
    #[error(
        "etcdserver: mvcc: required revision has been compacted: go on from revision {compact_revision} or later"
    )]
    Compacted {
        /// The oldest revision that can still be read.
        compact_revision: Revision,
    },
    /// No endpoint could be connected to within the dial timeout. Nothing was sent.
    #[error(
        "no endpoint answered within {waited:.1?}: {reason}; check endpoints and TLS options, and that a server runs there"
    )]
    Unreachable {
        /// How long was waited.
        waited: Duration,
        /// The last failure of each endpoint.
        reason: String,
    },
    /// The connection failed after the request had been sent: whether it took effect is not known. Reads are repeated, so this
    /// is told of writes only, and of reads once all retries are used up.
    #[error("the connection was lost before the answer came, the request may have taken effect: {reason}")]
    ConnectionLost {
        /// What the transport said.
        reason: Arc<str>,
    },
    /// The answer did not come within the request timeout. A write may have taken effect.
    #[error("no answer within {waited:.1?}; a write may have taken effect")]
    Timeout {
        /// How long was waited.
        waited: Duration,
    },
    /// The request is larger than the configured limit. Nothing was sent.
    #[error(
        "the request has {request_bytes} bytes, more than {request_bytes_max}: split it, or raise the limit of client and server"
    )]
    RequestTooLarge {
        /// Size of the encoded request.
        request_bytes: usize,
        /// The limit of this client.
        request_bytes_max: usize,
    },
    /// The configuration, or an argument, cannot be used. Nothing was sent.
    #[error("{0}")]
    Invalid(String),
    /// A server's version is too old for this client, which was told to reject such.
    #[error("etcdclient: old cluster version: {endpoint} runs {version}, at least {version_min} is needed")]
    OldCluster {
        /// The server.
        endpoint: String,
        /// What it runs.
        version: String,
        /// What it should run at least.
        version_min: String,
    },
    /// The client, or the part of it that was used, has been closed.
    #[error("the client is closed")]
    Closed,
    /// The lock is held by another session.
    #[error("mutex: Locked by another session")]
    Locked,
    /// A lease could not be renewed before its end: it is not to be relied on any more, though it may still be there for a moment.
    #[error("the lease could not be renewed before its end, it runs out with its keys: {reason}")]
    LeaseExpired {
        /// What went wrong last.
        reason: Arc<str>,
    },
    /// The session's lease is gone: what it held is lost.
    #[error("the session's lease is gone: locks and leaderships that it held are lost")]
    SessionExpired,
    /// The key of a lock or a leadership is gone: somebody has deleted it, or its lease has ended on the server, and nothing more is
    /// known here.
    #[error("key {} is gone: somebody has deleted it, or its lease has ended", .key.escape_ascii())]
    KeyGone {
        /// The key.
        key: Bytes,
    },
    /// This candidate does not lead.
    #[error("election: not leader")]
    NotLeader,
    /// Nobody leads.
    #[error("election: no leader")]
    NoLeader,
    /// A transaction of [`Stm`](crate::concurrency::Stm) was given up: others changed its keys while each of its attempts ran.
    #[error("the keys were changed by others in each of {attempts} attempts; nothing was written")]
    Conflict {
        /// How often it was tried.
        attempts: u32,
    },
    /// The barrier is held already.
    #[error("key already exists")]
    KeyExists,
    /// More want to enter a double barrier than it is for.
    #[error("too many clients")]
    TooManyClients,
    /// No member has the revision that this client has already seen.
    #[error("no endpoint has a revision at least as new as one already read")]
    NoGreaterRevision,
    /// A cache did not catch up in time with what the server has.
    #[error("cache: timed out waiting for revision {revision} after {waited:?}: {reason}")]
    CacheBehind {
        /// What was waited for; 0 for the first copy.
        revision: Revision,
        /// How long was waited.
        waited: Duration,
        /// What the cache was doing.
        reason: Arc<str>,
    },
    /// The answer has not the form that it must have.
    #[error("the server's answer makes no sense: {0}")]
    Protocol(&'static str),
    /// A file could not be read or written.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        error: Arc<std::io::Error>,
    },
}

impl Error {
    /// The error of etcd that this is, if it is one.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{EtcdError, Ttl};
    ///
    /// let Err(error) = client.lease().grant(Ttl::seconds(i64::MAX)).await else { return Ok(()) };
    /// match error.etcd() {
    ///     Some(EtcdError::LeaseTTLTooLarge) => println!("nothing lives that long"),
    ///     Some(other) => println!("refused: {other}"),
    ///     None => println!("no answer: {error}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn etcd(&self) -> Option<EtcdError> {
        match self {
            Error::Etcd { error, .. } => Some(*error),
            Error::Compacted { .. } => Some(EtcdError::Compacted),
            _ => None,
        }
    }

    /// Whether this is the given error of etcd.
    ///
    /// ```
    /// use tenure_client::{Error, EtcdError};
    ///
    /// let error = Error::Compacted { compact_revision: 7 };
    /// assert!(error.is(EtcdError::Compacted));
    /// assert!(!error.is(EtcdError::FutureRev));
    /// ```
    #[must_use]
    pub fn is(&self, error: EtcdError) -> bool {
        self.etcd() == Some(error)
    }

    /// The gRPC code: that of the server's answer, or the one that fits best what happened here.
    ///
    /// ```
    /// use tenure_client::{Code, Error};
    ///
    /// assert_eq!(Error::Closed.code(), Code::Cancelled);
    /// assert_eq!("no port:".parse::<tenure_client::Endpoint>().unwrap_err().code(), Code::InvalidArgument);
    /// ```
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Error::Etcd { code, .. } | Error::Rpc { code, .. } => *code,
            Error::Compacted { .. } => Code::OutOfRange,
            Error::Unreachable { .. } | Error::ConnectionLost { .. } => Code::Unavailable,
            Error::Timeout { .. } | Error::LeaseExpired { .. } | Error::CacheBehind { .. } => {
                Code::DeadlineExceeded
            }
            Error::RequestTooLarge { .. } => Code::ResourceExhausted,
            Error::Invalid(_) => Code::InvalidArgument,
            Error::Closed => Code::Cancelled,
            Error::OldCluster { .. } | Error::Locked | Error::NotLeader | Error::NoLeader => {
                Code::FailedPrecondition
            }
            Error::SessionExpired | Error::KeyGone { .. } => Code::NotFound,
            Error::Conflict { .. } => Code::Aborted,
            Error::KeyExists => Code::AlreadyExists,
            Error::TooManyClients => Code::ResourceExhausted,
            Error::NoGreaterRevision => Code::Unavailable,
            Error::Protocol(_) | Error::Io { .. } => Code::Internal,
        }
    }

    /// The text: that of the server's answer, as it came, or the description of what happened here.
    ///
    /// ```
    /// use tenure_client::{Code, Error, EtcdError};
    ///
    /// let error = Error::Etcd { error: EtcdError::LeaseNotFound, code: Code::NotFound };
    /// assert_eq!(error.message(), "etcdserver: requested lease not found");
    /// ```
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Error::Etcd { error, .. } => error.text().to_owned(),
            Error::Rpc { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }

    /// Whether a write that failed with this may have taken effect all the same.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// match client.put("order/7", "paid").await {
    ///     Ok(_) => println!("written"),
    ///     Err(error) if error.may_have_taken_effect() => {
    ///         // Look before trying again.
    ///         let is_written = client.get("order/7").await?.first().is_some_and(|pair| pair.value == "paid");
    ///         println!("{}", if is_written { "written after all" } else { "not written so far" });
    ///     }
    ///     Err(error) => println!("surely not written: {error}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn may_have_taken_effect(&self) -> bool {
        use EtcdError as E;
        match self {
            Error::ConnectionLost { .. } | Error::Timeout { .. } | Error::Protocol(_) => true,
            Error::Etcd { error, .. } => matches!(
                error,
                E::Stopped
                    | E::Timeout
                    | E::TimeoutDueToLeaderFail
                    | E::TimeoutDueToConnectionLost
                    | E::TimeoutWaitAppliedIndex
                    | E::LeaderChanged
                    | E::Canceled
                    | E::DeadlineExceeded
            ),
            Error::Rpc { code, message } => {
                *message != UnlistedError::ProposalDropped.text()
                    && matches!(
                        code,
                        Code::Unavailable
                            | Code::DeadlineExceeded
                            | Code::Cancelled
                            | Code::Unknown
                            | Code::Internal
                            | Code::Aborted
                    )
            }
            _ => false,
        }
    }

    /// What happened, for texts that say themselves what it means.
    pub(crate) fn cause(&self) -> String {
        match self {
            Error::ConnectionLost { reason } => reason.to_string(),
            Error::Unreachable { reason, .. } => reason.clone(),
            other => causes(other),
        }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Error::Invalid(text.into())
    }

    pub(crate) fn io(what: impl Into<String>, error: std::io::Error) -> Self {
        Error::Io { what: what.into(), error: Arc::new(error) }
    }
}

/// What a server answered. Failures of the transport are told apart before.
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        match EtcdError::from_status(&status) {
            Some(error) => Error::Etcd { error, code: status.code() },
            None => Error::Rpc { code: status.code(), message: status.message().to_owned() },
        }
    }
}

/// An error and everything that caused it.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_code_and_text() {
        let named = Error::from(Status::unknown("etcdserver: too many requests"));
        assert_eq!(named.etcd(), Some(EtcdError::RequestTooManyRequests));
        assert_eq!(
            (named.code(), named.message().as_str()),
            (Code::Unknown, "etcdserver: too many requests")
        );
        let other = Error::from(Status::internal("boom"));
        assert_eq!(other.etcd(), None);
        assert_eq!((other.code(), other.message().as_str()), (Code::Internal, "boom"));
        assert_eq!(other.to_string(), "rpc error: code = Internal desc = boom");
    }

    #[test]
    fn every_error_of_etcd_has_its_name() {
        for &error in EtcdError::ALL {
            let parsed = Error::from(Status::new(error.code(), error.text()));
            assert!(parsed.is(error), "{error:?}");
            assert_eq!(parsed.code(), error.code());
            assert_eq!(parsed.message(), error.text());
        }
    }

    #[test]
    fn a_refusal_had_no_effect() {
        assert!(!Error::from(Status::from(EtcdError::LeaseNotFound)).may_have_taken_effect());
        assert!(Error::from(Status::from(EtcdError::Timeout)).may_have_taken_effect());
        assert!(Error::ConnectionLost { reason: "eof".into() }.may_have_taken_effect());
        assert!(
            !Error::Unreachable { waited: Duration::ZERO, reason: String::new() }.may_have_taken_effect()
        );
    }
}
