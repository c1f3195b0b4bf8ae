//! Following the endpoints of a service.

use super::{Endpoint, Endpoints, Update};
use crate::{
    Error, Event, EventKind, KeyValue, LeaseId, Result, WatchStream,
    kv::KeyRange,
    steps::{self, Steps, told},
};
use bytes::Bytes;
use futures::stream::BoxStream;
use std::collections::BTreeMap;

/// The endpoints of a service as they change, from [`Endpoints::watch`].
///
/// It survives lost connections, and a compaction while it was away: then the endpoints are read again, and what differs is told.
/// Dropping it ends it.
///
/// ```no_run
/// # async fn example(service: tenure_client::naming::Endpoints) -> tenure_client::Result<()> {
/// use std::collections::BTreeMap;
/// use tenure_client::naming::Update;
///
/// // Those to choose from, always up to date.
/// let mut endpoints = BTreeMap::new();
/// let mut changes = service.watch().await?;
/// while let Some(updates) = changes.next().await {
///     for update in updates? {
///         match update {
///             Update::Add { key, endpoint, .. } => endpoints.insert(key, endpoint),
///             Update::Delete { key } => endpoints.remove(&key),
///         };
///     }
///     println!("{} endpoints", endpoints.len());
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it ends it"]
pub struct EndpointWatch {
    items: BoxStream<'static, Result<Vec<Update>>>,
}

struct Follower {
    endpoints: Endpoints,
    known: Known,
    /// Updates that are still to be told.
    pending: Vec<Update>,
    changes: Changes,
}

/// Where changes come from.
enum Changes {
    Watched(WatchStream),
    /// The history in between is compacted: everything has to be read again.
    Lost,
    Ended,
}

impl EndpointWatch {
    pub(super) async fn open(endpoints: Endpoints) -> Result<Self> {
        let mut known = Known::default();
        let (pending, changes) = read_and_watch(&endpoints, &mut known).await?;
        let changes = Changes::Watched(changes);
        Ok(EndpointWatch { items: steps::stream(Follower { endpoints, known, pending, changes }) })
    }
}

told! { EndpointWatch: Vec<Update>,
    /// The next changes: first the endpoints that there are, if there are any, then what one moment has changed, never nothing.
    /// After an error nothing comes any more. Dropping the future loses nothing.
    ///
    /// ```no_run
    /// # async fn example(mut changes: tenure_client::naming::EndpointWatch) -> tenure_client::Result<()> {
    /// while let Some(updates) = changes.next().await {
    ///     println!("{:?}", updates?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Endpoints::watch`].
}

impl Steps for Follower {
    type Item = Vec<Update>;

    async fn step(&mut self) -> Option<Result<Vec<Update>>> {
        while self.pending.is_empty() {
            if let Err(error) = self.follow().await {
                return Some(Err(error));
            }
            if matches!(self.changes, Changes::Ended) {
                return None;
            }
        }
        Some(Ok(std::mem::take(&mut self.pending)))
    }
}

impl Follower {
    /// One step forward.
    async fn follow(&mut self) -> Result<()> {
        match &mut self.changes {
            Changes::Watched(changes) => match changes.next().await {
                Some(Ok(response)) => {
                    let updates = response.events.into_iter().filter_map(|event| self.known.change(event));
                    self.pending = updates.collect();
                }
                Some(Err(Error::Compacted { .. })) => self.changes = Changes::Lost,
                Some(Err(error)) => return Err(error),
                None => self.changes = Changes::Ended,
            },
            Changes::Lost => {
                let (pending, changes) = read_and_watch(&self.endpoints, &mut self.known).await?;
                (self.pending, self.changes) = (pending, Changes::Watched(changes));
            }
            Changes::Ended => {}
        }
        Ok(())
    }
}

/// Reads what is there, and watches what comes after it.
async fn read_and_watch(endpoints: &Endpoints, known: &mut Known) -> Result<(Vec<Update>, WatchStream)> {
    let read = endpoints.read().await?;
    let changes = endpoints
        .client
        .watch(KeyRange::prefix(&endpoints.prefix))
        .start_revision(read.header.revision + 1)
        .await?;
    Ok((known.replace(&read.kvs), changes))
}

/// The endpoints that were told.
#[derive(Debug, Default)]
struct Known(BTreeMap<Bytes, (Endpoint, LeaseId)>);

impl Known {
    /// What has to be told so that exactly these are known.
    fn replace(&mut self, pairs: &[KeyValue]) -> Vec<Update> {
        let endpoint = |pair: &KeyValue| {
            Some((pair.key.clone(), (Endpoint::decode(&pair.key, &pair.value)?, pair.lease)))
        };
        let now: BTreeMap<Bytes, (Endpoint, LeaseId)> = pairs.iter().filter_map(endpoint).collect();
        let gone = self.0.keys().filter(|key| !now.contains_key(*key)).map(Update::delete);
        let new = now.iter().filter(|(key, endpoint)| self.0.get(*key) != Some(endpoint));
        let new = new.map(|(key, (endpoint, lease))| Update::add_with_lease(key, endpoint.clone(), *lease));
        let updates = gone.chain(new).collect();
        self.0 = now;
        updates
    }

    fn change(&mut self, event: Event) -> Option<Update> {
        let KeyValue { key, value, lease, .. } = event.kv;
        match event.kind {
            EventKind::Put => {
                let endpoint = Endpoint::decode(&key, &value)?;
                self.0.insert(key.clone(), (endpoint.clone(), lease));
                Some(Update::add_with_lease(key, endpoint, lease))
            }
            EventKind::Delete => {
                self.0.remove(&key);
                Some(Update::delete(key))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &'static str, addr: &str) -> KeyValue {
        KeyValue { key: key.into(), value: Endpoint::new(addr).encode().unwrap(), ..KeyValue::default() }
    }

    #[test]
    fn only_what_differs_is_told_again() {
        let mut known = Known::default();
        let told = known.replace(&[pair("s/a", "1"), pair("s/b", "2")]);
        assert_eq!(told, [Update::add("s/a", Endpoint::new("1")), Update::add("s/b", Endpoint::new("2"))]);
        let event = Event { kind: EventKind::Put, kv: pair("s/c", "3"), prev_kv: None };
        assert_eq!(known.change(event), Some(Update::add("s/c", Endpoint::new("3"))));
        let told = known.replace(&[pair("s/a", "1"), pair("s/c", "4")]);
        assert_eq!(told, [Update::delete("s/b"), Update::add("s/c", Endpoint::new("4"))]);
        assert_eq!(known.replace(&[pair("s/a", "1"), pair("s/c", "4")]), []);
    }
}
