//! Newtypes: what a number means is part of its type.

mod ids;
mod key;
mod raft;
mod record;

pub use ids::{ClusterId, LeaseId, LogIndex, MemberId, RecordRevision, RequestId, Revision, Term};
pub use key::{Key, KeyRange, RangeEnd};
pub use raft::{ConfState, EntryKind, HardState, LogEntry};
pub use record::{Change, KvBytes, KvView, MalformedKv, Record, RecordSource, SourceError, Version};
