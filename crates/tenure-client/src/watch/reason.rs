//! Why a watch was refused or cancelled.

use crate::{Code, Error, EtcdError};
use tenure_api::{
    error::{WatchCancelReason, code_name},
    etcdserverpb as pb,
};
use tonic::Status;

/// How a status starts when Go prints it.
const STATUS_PREFIX: &str = "rpc error: code = ";

/// What the server says of a watch that it refuses or ends.
pub(super) fn error_of(response: &pb::WatchResponse) -> Error {
    if response.compact_revision > 0 {
        return Error::Compacted { compact_revision: response.compact_revision };
    }
    match response.cancel_reason.as_str() {
        "" => Status::from(EtcdError::WatchCanceled).into(),
        reason => error_of_text(reason),
    }
}

fn error_of_text(reason: &str) -> Error {
    if let Some(status) = printed_status(reason) {
        return status.into();
    }
    if let Some(error) = EtcdError::ALL.iter().find(|error| error.text() == reason) {
        return Status::from(*error).into();
    }
    let arguments = [WatchCancelReason::EmptyRange, WatchCancelReason::DuplicateId];
    let is_argument = arguments.iter().any(|argument| argument.to_string() == reason);
    let code = if is_argument { Code::InvalidArgument } else { Code::FailedPrecondition };
    Error::Rpc { code, message: reason.to_owned() }
}

/// `rpc error: code = PermissionDenied desc = etcdserver: permission denied`
fn printed_status(text: &str) -> Option<Status> {
    let (code, message) = text.strip_prefix(STATUS_PREFIX)?.split_once(" desc = ")?;
    let code = (0..=16).map(Code::from_i32).find(|known| code_name(*known) == code)?;
    Some(Status::new(code, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(reason: &str) -> Error {
        error_of(&pb::WatchResponse { cancel_reason: reason.to_owned(), ..Default::default() })
    }

    #[test]
    fn every_reason_has_its_error() {
        let compacted = pb::WatchResponse { compact_revision: 7, ..Default::default() };
        assert!(matches!(error_of(&compacted), Error::Compacted { compact_revision: 7 }));
        for refused in [
            EtcdError::PermissionDenied,
            EtcdError::InvalidAuthToken,
            EtcdError::AuthOldRevision,
            EtcdError::UserEmpty,
        ] {
            let told = error(&WatchCancelReason::Refused(refused).to_string());
            assert!(told.is(refused), "{told}");
            assert_eq!(told.code(), refused.code());
        }
        assert!(error(&WatchCancelReason::Compacted.to_string()).is(EtcdError::Compacted));
        assert!(error("").is(EtcdError::WatchCanceled));
        let range = error(&WatchCancelReason::EmptyRange.to_string());
        assert_eq!(
            (range.code(), range.message().as_str()),
            (Code::InvalidArgument, "mvcc: watcher range is empty")
        );
        let unknown = error("rpc error: code = Strange desc = x");
        assert_eq!(
            (unknown.code(), unknown.message().as_str()),
            (Code::FailedPrecondition, "rpc error: code = Strange desc = x")
        );
    }
}
