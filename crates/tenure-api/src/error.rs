//! The one table of errors: name, gRPC code, exact text. Nothing else in the workspace spells an error text of
//! etcd's.
//!
//! * [`EtcdError`]: what etcd's `rpctypes` names; clients turn these back into errors of their own.
//! * [`UnlistedError`]: what leaves an etcd server too, but under no name that a client knows.
//! * [`WatchCancelReason`]: texts that travel inside a watch answer.

#[cfg(feature = "grpc")]
use tonic::{Code, Status};

macro_rules! errors {
    (
        $(#[$doc:meta])*
        pub enum $enum:ident { $($(#[$reason:meta])* ($name:ident, $code:ident, $text:literal),)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum {
            $(
                #[doc = concat!("`", $text, "`")]
                $(#[$reason])*
                $name,
            )*
        }

        impl $enum {
            /// All of them, in the order of the table.
            pub const ALL: &[$enum] = &[$($enum::$name,)*];

            /// The text on the wire.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $($enum::$name => $text,)*
                }
            }

            /// The code on the wire.
            #[cfg(feature = "grpc")]
            #[must_use]
            pub fn code(self) -> Code {
                match self {
                    $($enum::$name => Code::$code,)*
                }
            }

            #[cfg(feature = "grpc")]
            /// The error that a status carries, if it is one of these. The text decides: it is unique, and the
            /// code that clients expect is not always the one that travels.
            #[must_use]
            pub fn from_status(status: &Status) -> Option<Self> {
                Self::ALL.iter().copied().find(|error| error.text() == status.message())
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.text())
            }
        }

        impl std::error::Error for $enum {}

        #[cfg(feature = "grpc")]
        impl From<$enum> for Status {
            fn from(error: $enum) -> Self {
                Status::new(error.code(), error.text())
            }
        }
    };
}

errors! {
    /// Every error that etcd's `rpctypes` names. Code and text are what clients match on, so they are etcd's to
    /// the letter.
    pub enum EtcdError {
        (EmptyKey, InvalidArgument, "etcdserver: key is not provided"),
        (KeyNotFound, InvalidArgument, "etcdserver: key not found"),
        (ValueProvided, InvalidArgument, "etcdserver: value is provided"),
        (LeaseProvided, InvalidArgument, "etcdserver: lease is provided"),
        (TooManyOps, InvalidArgument, "etcdserver: too many operations in txn request"),
        (DuplicateKey, InvalidArgument, "etcdserver: duplicate key given in txn request"),
        (InvalidClientAPIVersion, InvalidArgument, "etcdserver: invalid client api version"),
        (InvalidSortOption, InvalidArgument, "etcdserver: invalid sort option"),
        (Compacted, OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
        (FutureRev, OutOfRange, "etcdserver: mvcc: required revision is a future revision"),
        (NoSpace, ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        (LeaseNotFound, NotFound, "etcdserver: requested lease not found"),
        (LeaseExist, FailedPrecondition, "etcdserver: lease already exists"),
        (LeaseTTLTooLarge, OutOfRange, "etcdserver: too large lease TTL"),
        (WatchCanceled, Cancelled, "etcdserver: watch canceled"),
        (MemberExist, FailedPrecondition, "etcdserver: member ID already exist"),
        (PeerURLExist, FailedPrecondition, "etcdserver: Peer URLs already exists"),
        ///
        /// etcd declares it with code `FailedPrecondition`, but its server answers with the client's form of the error, which
        /// carries no code: `Unknown` is what clients see.
        (MemberNotEnoughStarted, Unknown, "etcdserver: re-configuration failed due to not enough started members"),
        (MemberBadURLs, InvalidArgument, "etcdserver: given member URLs are invalid"),
        (MemberNotFound, NotFound, "etcdserver: member not found"),
        (MemberNotLearner, FailedPrecondition, "etcdserver: can only promote a learner member"),
        (LearnerNotReady, FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader"),
        (TooManyLearners, FailedPrecondition, "etcdserver: too many learner members in cluster"),
        (ClusterIDMismatch, FailedPrecondition, "etcdserver: cluster ID mismatch"),
        (RequestTooLarge, InvalidArgument, "etcdserver: request is too large"),
        ///
        /// etcd declares it with code `ResourceExhausted`, but its server answers with the client's form of the error, which
        /// carries no code: `Unknown` is what clients see.
        (RequestTooManyRequests, Unknown, "etcdserver: too many requests"),
        (RootUserNotExist, FailedPrecondition, "etcdserver: root user does not exist"),
        (RootRoleNotExist, FailedPrecondition, "etcdserver: root user does not have root role"),
        (UserAlreadyExist, FailedPrecondition, "etcdserver: user name already exists"),
        (UserEmpty, InvalidArgument, "etcdserver: user name is empty"),
        (UserNotFound, FailedPrecondition, "etcdserver: user name not found"),
        (RoleAlreadyExist, FailedPrecondition, "etcdserver: role name already exists"),
        (RoleNotFound, FailedPrecondition, "etcdserver: role name not found"),
        (RoleEmpty, InvalidArgument, "etcdserver: role name is empty"),
        (AuthFailed, InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"),
        (PermissionNotGiven, InvalidArgument, "etcdserver: permission not given"),
        (PermissionDenied, PermissionDenied, "etcdserver: permission denied"),
        (RoleNotGranted, FailedPrecondition, "etcdserver: role is not granted to the user"),
        (PermissionNotGranted, FailedPrecondition, "etcdserver: permission is not granted to the role"),
        (AuthNotEnabled, FailedPrecondition, "etcdserver: authentication is not enabled"),
        (InvalidAuthToken, Unauthenticated, "etcdserver: invalid auth token"),
        (InvalidAuthMgmt, InvalidArgument, "etcdserver: invalid auth management"),
        (AuthOldRevision, InvalidArgument, "etcdserver: revision of auth store is old"),
        (NoLeader, Unavailable, "etcdserver: no leader"),
        (NotLeader, FailedPrecondition, "etcdserver: not leader"),
        (LeaderChanged, Unavailable, "etcdserver: leader changed"),
        (NotCapable, FailedPrecondition, "etcdserver: not capable"),
        (Stopped, Unavailable, "etcdserver: server stopped"),
        (Timeout, Unavailable, "etcdserver: request timed out"),
        (TimeoutDueToLeaderFail, Unavailable, "etcdserver: request timed out, possibly due to previous leader failure"),
        (TimeoutDueToConnectionLost, Unavailable, "etcdserver: request timed out, possibly due to connection lost"),
        (TimeoutWaitAppliedIndex, Unavailable, "etcdserver: request timed out, waiting for the applied index took too long"),
        (Unhealthy, Unavailable, "etcdserver: unhealthy cluster"),
        (Corrupt, DataLoss, "etcdserver: corrupt cluster"),
        (NotSupportedForLearner, FailedPrecondition, "etcdserver: rpc not supported for learner"),
        (BadLeaderTransferee, FailedPrecondition, "etcdserver: bad leader transferee"),
        (WrongDowngradeVersionFormat, InvalidArgument, "etcdserver: wrong downgrade target version format"),
        (InvalidDowngradeTargetVersion, InvalidArgument, "etcdserver: invalid downgrade target version"),
        (ClusterVersionUnavailable, FailedPrecondition, "etcdserver: cluster version not found during downgrade"),
        (DowngradeInProcess, FailedPrecondition, "etcdserver: cluster has a downgrade job in progress"),
        (NoInflightDowngrade, FailedPrecondition, "etcdserver: no inflight downgrade job"),
        (Canceled, Cancelled, "etcdserver: request canceled"),
        (DeadlineExceeded, DeadlineExceeded, "etcdserver: context deadline exceeded"),
    }
}

impl EtcdError {
    /// Whether etcd's client library turns the status back into this error, of which it then prints the bare text. It does not
    /// know those that its servers never send to it.
    #[must_use]
    pub fn known_to_clients(self) -> bool {
        use EtcdError::*;
        !matches!(
            self,
            InvalidClientAPIVersion
                | WatchCanceled
                | PermissionNotGiven
                | TimeoutWaitAppliedIndex
                | Canceled
                | DeadlineExceeded
        )
    }
}

errors! {
    /// Errors that an etcd server answers with although its `rpctypes` does not list them: internal errors that
    /// nothing translates (code `Unknown`, the raw text), and texts of single methods.
    pub enum UnlistedError {
        (TimeoutLeaderTransfer, Unknown, "etcdserver: request timed out, leader transfer took too long"),
        (NoPasswordUser, Unknown, "auth: authentication failed, password was given for no password user"),
        (VerifyOnly, Unknown, "auth: token signing attempted with verify-only key"),
        (NotPrimaryLessor, Unknown, "not a primary lessor"),
        (UnknownMethod, Unknown, "etcdserver: unknown method"),
        (ProposalDropped, Unknown, "raft proposal dropped"),
        /// The client went away; the request may have been carried out.
        (ContextCanceled, Cancelled, "context canceled"),
        /// The client's deadline passed; the request may have been carried out.
        (ContextDeadlineExceeded, DeadlineExceeded, "context deadline exceeded"),
        (RangeStreamSort, Unimplemented, "RangeStream does not support custom sort orders"),
        (RangeStreamRevisionFilter, Unimplemented, "RangeStream does not support revision filters"),
        (MutexSessionExpired, Unknown, "mutex: session is expired"),
        (ElectionMissingLeaderKey, Unknown, "\"leader\" field must be provided"),
        (ElectionNotLeader, Unknown, "election: not leader"),
        (ElectionNoLeader, Unknown, "election: no leader"),
    }
}

/// Why a watcher is refused or cancelled, in the words of `WatchResponse.cancel_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchCancelReason {
    /// The start revision is negative, or compacted.
    Compacted,
    /// The stream has a watcher of this id.
    DuplicateId,
    /// The range ends at or before its first key.
    EmptyRange,
    /// The caller may not read the range, or is nobody: permission denied, invalid auth token, revision of auth
    /// store is old, user name is empty.
    Refused(EtcdError),
}

#[cfg(feature = "grpc")]
impl std::fmt::Display for WatchCancelReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WatchCancelReason::Compacted => f.write_str(EtcdError::Compacted.text()),
            WatchCancelReason::DuplicateId => {
                f.write_str("mvcc: duplicate watch ID provided on the WatchStream")
            }
            WatchCancelReason::EmptyRange => f.write_str("mvcc: watcher range is empty"),
            WatchCancelReason::Refused(error) => f.write_str(&status_text(error.code(), error.text())),
        }
    }
}

/// A status as a Go client prints it: `rpc error: code = NotFound desc = etcdserver: ...`.
#[must_use]
#[cfg(feature = "grpc")]
pub fn status_text(code: Code, message: &str) -> String {
    format!("rpc error: code = {} desc = {message}", code_name(code))
}

/// The name of a code as Go prints it, and as etcd's metrics label it.
#[must_use]
#[cfg(feature = "grpc")]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// A message of `len_bytes` arrived where at most `len_bytes_max` are received.
#[must_use]
#[cfg(feature = "grpc")]
pub fn message_too_large(len_bytes: usize, len_bytes_max: usize) -> Status {
    let text = format!("grpc: received message larger than max ({len_bytes} vs. {len_bytes_max})");
    Status::new(Code::ResourceExhausted, text)
}

/// The service exists, the method does not. `service` is the full name, e.g. `etcdserverpb.KV`.
#[must_use]
#[cfg(feature = "grpc")]
pub fn unknown_method(service: &str, method: &str) -> Status {
    Status::new(Code::Unimplemented, format!("unknown method {method} for service {service}"))
}

/// There is no such service. `service` is the full name as it was asked for.
#[must_use]
#[cfg(feature = "grpc")]
pub fn unknown_service(service: &str) -> Status {
    Status::new(Code::Unimplemented, format!("unknown service {service}"))
}
