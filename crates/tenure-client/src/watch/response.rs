//! What a watch tells.

use crate::{KeyValue, ResponseHeader, namespace::Namespace};
use tenure_api::mvccpb;

/// What a change did to its key.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::EventKind;
///
/// let mut changes = client.watch("app/").prefix().await?;
/// while let Some(response) = changes.next().await {
///     for event in response?.events {
///         match event.kind {
///             EventKind::Put => println!("{} = {}", event.kv.key_text(), event.kv.value_text()),
///             EventKind::Delete => println!("{} is gone", event.kv.key_text()),
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It was written.
    Put,
    /// It was deleted, or its lease has ended.
    Delete,
}

/// One change of one key.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::collections::BTreeMap;
/// use tenure_client::EventKind;
///
/// // A copy that follows.
/// let mut copy = BTreeMap::new();
/// let mut changes = client.watch("app/").prefix().await?;
/// while let Some(response) = changes.next().await {
///     for event in response?.events {
///         match event.kind {
///             EventKind::Put => copy.insert(event.kv.key, event.kv.value),
///             EventKind::Delete => copy.remove(&event.kv.key),
///         };
///     }
/// }
/// # Ok(())
/// # }
/// ```
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
    ///
    /// ```
    /// use tenure_client::{Event, EventKind, KeyValue};
    ///
    /// let event = |kind, create_revision, mod_revision| Event {
    ///     kind,
    ///     kv: KeyValue { create_revision, mod_revision, ..KeyValue::default() },
    ///     prev_kv: None,
    /// };
    /// assert!(event(EventKind::Put, 7, 7).is_create());
    /// assert!(!event(EventKind::Put, 7, 9).is_create());
    /// ```
    #[must_use]
    pub fn is_create(&self) -> bool {
        self.kind == EventKind::Put && self.kv.create_revision == self.kv.mod_revision
    }

    /// Whether a key that existed was written again.
    ///
    /// ```
    /// use tenure_client::{Event, EventKind, KeyValue};
    ///
    /// let event = |kind, create_revision, mod_revision| Event {
    ///     kind,
    ///     kv: KeyValue { create_revision, mod_revision, ..KeyValue::default() },
    ///     prev_kv: None,
    /// };
    /// assert!(event(EventKind::Put, 7, 9).is_modify());
    /// assert!(!event(EventKind::Delete, 0, 9).is_modify());
    /// ```
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
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let mut changes = client.watch("app/").prefix().await?;
/// while let Some(response) = changes.next().await {
///     let response = response?;
///     // All changes of a revision come together, so the last event tells how far this is.
///     if let Some(last) = response.events.last() {
///         println!("{} changes up to revision {}", response.events.len(), last.kv.mod_revision);
///     }
/// }
/// # Ok(())
/// # }
/// ```
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
    ///
    /// ```
    /// use tenure_client::{ResponseHeader, WatchResponse};
    ///
    /// let header = ResponseHeader { revision: 9, ..ResponseHeader::default() };
    /// let response = WatchResponse { header, events: Vec::new(), created: false };
    /// assert!(response.is_progress_notify());
    /// assert!(!WatchResponse { created: true, ..response }.is_progress_notify());
    /// ```
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
