//! The table of errors against the rows of etcd's `rpctypes`, written down in `errors.txt`: name, declared code, text, and
//! whether clients know the error.

use tenure_api::error::{self, EtcdError, UnlistedError, WatchCancelReason};
use tonic::{Code, Status};

const ROWS: &str = include_str!("errors.txt");

/// Declared with a code, sent without one.
const SENT_AS_UNKNOWN: [EtcdError; 2] =
    [EtcdError::MemberNotEnoughStarted, EtcdError::RequestTooManyRequests];

#[test]
fn every_row_is_in_the_table_with_its_code_and_text() {
    let rows: Vec<[&str; 4]> = ROWS
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>().try_into().expect("four columns"))
        .collect();
    assert_eq!(rows.len(), EtcdError::ALL.len());
    for ([name, code, text, known], error) in rows.into_iter().zip(EtcdError::ALL) {
        assert_eq!(format!("{error:?}"), name);
        assert_eq!(error.text(), text);
        let sent = if SENT_AS_UNKNOWN.contains(error) { "Unknown" } else { code };
        assert_eq!(error::code_name(error.code()), sent, "{name}");
        assert_eq!(error.known_to_clients(), known == "yes", "{name}");
    }
}

#[test]
fn texts_are_unique_so_a_status_names_its_error() {
    for error in EtcdError::ALL {
        let status = Status::from(*error);
        assert_eq!((status.code(), status.message()), (error.code(), error.text()));
        assert_eq!(EtcdError::from_status(&status), Some(*error));
        assert_eq!(UnlistedError::from_status(&status), None);
    }
    for error in UnlistedError::ALL {
        let status = Status::from(*error);
        assert_eq!(UnlistedError::from_status(&status), Some(*error));
        assert_eq!(EtcdError::from_status(&status), None);
    }
}

#[test]
fn watch_cancel_reasons_w3_w4_w6() {
    let texts = [
        (WatchCancelReason::Compacted, "etcdserver: mvcc: required revision has been compacted"),
        (WatchCancelReason::DuplicateId, "mvcc: duplicate watch ID provided on the WatchStream"),
        (WatchCancelReason::EmptyRange, "mvcc: watcher range is empty"),
        (
            WatchCancelReason::Refused(EtcdError::PermissionDenied),
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
        ),
        (
            WatchCancelReason::Refused(EtcdError::InvalidAuthToken),
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
        ),
        (
            WatchCancelReason::Refused(EtcdError::AuthOldRevision),
            "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old",
        ),
    ];
    for (reason, text) in texts {
        assert_eq!(reason.to_string(), text);
    }
}

#[test]
fn texts_of_grpc_itself() {
    let status = error::message_too_large(2_097_162, 2_097_152);
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "grpc: received message larger than max (2097162 vs. 2097152)");
    let status = error::unknown_method("etcdserverpb.KV", "Nonsense");
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.message(), "unknown method Nonsense for service etcdserverpb.KV");
    let status = error::unknown_service("no.such.Service");
    assert_eq!(status.message(), "unknown service no.such.Service");
}

#[test]
fn a_status_reads_as_in_go() {
    let text = error::status_text(Code::Cancelled, "context canceled");
    assert_eq!(text, "rpc error: code = Canceled desc = context canceled");
}
