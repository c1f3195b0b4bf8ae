//! What a watch tells.

use crate::{KeyValue, ResponseHeader, namespace::Namespace};
use tenure_api::mvccpb;

/// What a change did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It was written.
    Put,
    /// It was deleted, or its lease has ended.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The pair as it is now. Of a deleted key there is the key, and in `mod_revision` when it was deleted.
    pub kv: KeyValue,
    /// The pair as it was before this revision, if it existed, was asked for, and is not compacted.
    pub prev_kv: Option<KeyValue>,
}

impl Event {
    /// Whether the key did not exist before.
    #[must_use]
    pub fn is_create(&self) -> bool {
        self.kind == EventKind::Put && self.kv.create_revision == self.kv.mod_revision
    }

    /// Whether a key that existed was written again.
    #[must_use]
    pub fn is_modify(&self) -> bool {
        self.kind == EventKind::Put && self.kv.create_revision != self.kv.mod_revision
    }

    /// Nothing if the event makes no sense: it has no pair, or a kind that nobody knows.
    pub(super) fn from_wire(event: mvccpb::Event) -> Option<Self> {
        let kind = match mvccpb::event::EventType::try_from(event.r#type) {
            Ok(mvccpb::event::EventType::Put) => EventKind::Put,
            Ok(mvccpb::event::EventType::Delete) => EventKind::Delete,
            Err(_) => return None,
        };
        Some(Event { kind, kv: event.kv?.into(), prev_kv: event.prev_kv.map(KeyValue::from) })
    }

    /// Roughly what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let prev_bytes = self.prev_kv.as_ref().map_or(0, |pair| pair.key.len() + pair.value.len());
        size_of::<Event>() + self.kv.key.len() + self.kv.value.len() + prev_bytes
    }
}

/// Something that a watch tells: changes, in the order in which they happened, or how far it has come.
///
/// All changes of one revision are in one response. `header.revision` is what the store of the member was at when it sent them,
/// which is later than the last change while a watch catches up; what comes next has a later revision than the last event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// The changes. None if this tells that the watch was created, or how far it has come.
    pub events: Vec<Event>,
    /// The watch was created. Told once, first, and only if [`created_notify`](crate::Watch::created_notify) asked for it.
    pub created: bool,
}

impl WatchResponse {
    /// Whether this tells how far the watch has come: everything up to `header.revision` has been told.
    #[must_use]
    pub fn is_progress_notify(&self) -> bool {
        self.events.is_empty() && !self.created
    }

    /// The same, with keys as the user has them.
    pub(super) fn stripped(mut self, namespace: Option<&Namespace>) -> Self {
        if let Some(namespace) = namespace {
            for event in &mut self.events {
                namespace.strip_pairs(std::slice::from_mut(&mut event.kv));
                namespace.strip_pairs(event.prev_kv.as_mut_slice());
            }
        }
        self
    }
}
