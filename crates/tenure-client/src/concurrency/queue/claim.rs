//! Taking a value so that nobody else has it.

use crate::{Client, Compare, Error, KeyValue, Op, Result, Revision, concurrency::line::Patience, kv::Get};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::Notify;

/// What one queue has taken from the store.
#[derive(Debug)]
pub(super) struct Claims {
    client: Client,
    kept: Kept,
}

/// What was taken for futures that were dropped; at most one for each of them, and the first to be given out.
#[derive(Debug, Default)]
struct Kept {
    pairs: Mutex<VecDeque<KeyValue>>,
    /// Something is there: whoever waits takes it.
    arrived: Notify,
}

impl Kept {
    fn keep(&self, pair: KeyValue) {
        self.pairs.lock().push_back(pair);
        self.arrived.notify_one();
    }

    fn take(&self) -> Option<KeyValue> {
        let mut pairs = self.pairs.lock();
        let pair = pairs.pop_front()?;
        let is_more_there = !pairs.is_empty();
        drop(pairs);
        // While nobody waits, several notifications are one.
        if is_more_there {
            self.arrived.notify_one();
        }
        Some(pair)
    }

    /// Waits until something is there, or was a while ago.
    async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

/// A value that was taken. If nobody gets it, it is kept.
struct Claim {
    claims: Arc<Claims>,
    pair: Option<KeyValue>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(pair) = self.pair.take() {
            self.claims.kept.keep(pair);
        }
    }
}

impl Claims {
    pub(super) fn new(client: Client) -> Self {
        Claims { client, kept: Kept::default() }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Takes what `first` finds; waits for it if there is nothing.
    pub(super) async fn take(self: &Arc<Self>, first: &Get, prefix: &Bytes) -> Result<Bytes> {
        let mut patience = Patience::without_end(&self.client);
        loop {
            if let Some(pair) = self.kept.take() {
                return Ok(pair.value);
            }
            let waited = match self.client.execute(first.clone()).await {
                Ok(found) => match found.kvs.into_iter().next() {
                    Some(pair) => match self.claim(pair).await? {
                        Some(value) => return Ok(value),
                        None => continue,
                    },
                    None => tokio::select! {
                        put = self.put(prefix, found.header.revision + 1) => put,
                        () = self.kept.arrived() => Ok(()),
                    },
                },
                Err(error) => Err(error),
            };
            if let Err(error) = waited {
                patience.after(error).await?;
            }
        }
    }

    /// Waits until something is put at `from` or later. May come back early, after a compaction.
    async fn put(&self, prefix: &Bytes, from: Revision) -> Result<()> {
        let mut changes = self.client.watch(prefix).prefix().start_revision(from).filter_delete().await?;
        while let Some(response) = changes.next().await {
            match response {
                Ok(response) if !response.events.is_empty() => return Ok(()),
                Ok(_) => {}
                Err(Error::Compacted { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(Error::Closed)
    }

    /// Takes a value unless somebody else does. Goes on by itself if the future is dropped, and keeps the value then.
    async fn claim(self: &Arc<Self>, pair: KeyValue) -> Result<Option<Bytes>> {
        let claims = self.clone();
        let claiming = tokio::spawn(async move {
            let is_ours = claims.delete(&pair).await?;
            Ok(is_ours.then(|| Claim { claims, pair: Some(pair) }))
        });
        let claim = claiming.await.unwrap_or(Err(Error::Closed))?;
        Ok(claim.and_then(|mut claim| claim.pair.take()).map(|pair| pair.value))
    }

    /// Deletes a pair. False if it was gone already.
    async fn delete(&self, pair: &KeyValue) -> Result<bool> {
        let mut patience = Patience::bounded(&self.client);
        let mut doubt = None;
        loop {
            let txn = Op::txn()
                .when([Compare::mod_revision(&pair.key).equal(pair.mod_revision)])
                .and_then([Op::delete(&pair.key)]);
            match (self.client.execute(txn).await, doubt.take()) {
                (Ok(response), _) if response.succeeded => return Ok(true),
                (Ok(_), None) => return Ok(false),
                // It is gone, with us or with somebody else.
                (Ok(_), Some(error)) => return Err(error),
                (Err(error), before) => {
                    doubt = error.may_have_taken_effect().then(|| error.clone()).or(before);
                    patience.after(error).await?;
                }
            }
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        let kept = std::mem::take(self.kept.pairs.get_mut());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !kept.is_empty() {
            runtime.spawn(put_back(self.client.clone(), kept));
        }
    }
}

/// Gives values back to their queue.
async fn put_back(client: Client, kept: VecDeque<KeyValue>) {
    for pair in kept {
        let mut patience = Patience::bounded(&client);
        loop {
            let txn =
                Op::txn()
                    .when([Compare::missing(&pair.key)])
                    .and_then([Op::put(&pair.key, &pair.value).lease(pair.lease)]);
            let Err(error) = client.execute(txn).await else { break };
            if error.may_have_taken_effect() || patience.after(error).await.is_err() {
                tracing::warn!(key = %pair.key.escape_ascii(), "a value that was taken from a queue was perhaps not put back");
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, poll};
    use std::{pin::pin, task::Poll};

    fn pair(key: &str) -> KeyValue {
        KeyValue { key: Bytes::copy_from_slice(key.as_bytes()), ..KeyValue::default() }
    }

    #[tokio::test]
    async fn of_two_who_wait_each_is_told_of_what_was_kept_before() {
        let kept = Kept::default();
        kept.keep(pair("a"));
        kept.keep(pair("b"));
        // Both have looked before, and found nothing.
        let (mut one, mut other) = (pin!(kept.arrived()), pin!(kept.arrived()));
        assert_eq!((poll!(&mut one), poll!(&mut other)), (Poll::Ready(()), Poll::Pending));
        assert_eq!(kept.take().unwrap().key, "a");
        assert_eq!(poll!(&mut other), Poll::Ready(()));
        assert_eq!(kept.take().unwrap().key, "b");
        assert!(kept.take().is_none() && kept.arrived().now_or_never().is_none());
    }

    #[tokio::test]
    async fn who_is_told_and_gives_up_leaves_it_to_the_next() {
        let kept = Kept::default();
        let mut other = pin!(kept.arrived());
        {
            let mut one = pin!(kept.arrived());
            assert!(poll!(&mut one).is_pending() && poll!(&mut other).is_pending());
            kept.keep(pair("a"));
        }
        assert_eq!(poll!(&mut other), Poll::Ready(()));
    }
}
