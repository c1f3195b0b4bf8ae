//! Newtypes: what a number means is part of its type.

mod ids;
mod key;
mod raft;
mod record;
mod secret;
mod time;
mod version;

pub use ids::{
    ClusterId, LeaseId, LogIndex, MemberId, RecordRevision, RequestId, RequestIds, Revision, Term,
};
pub use key::{Key, KeyRange, RangeEnd};
pub use raft::{
    ConfChange, ConfChangeKind, ConfState, EntryKind, HardState, LogEntry, LogPosition, MalformedConfChange,
};
pub use record::{Change, KvBytes, KvView, MalformedKv, Record, RecordSource, SourceError, Version};
pub use secret::Secret;
pub use time::Moment;
pub use version::{MalformedVersion, MinorVersion};
