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
    /// Taken for futures that were dropped; at most one for each of them, and the first to be given out.
    kept: Mutex<VecDeque<KeyValue>>,
    /// Something is kept: whoever waits takes it.
    is_kept: Notify,
}

/// A value that was taken. If nobody gets it, it is kept.
struct Claim {
    claims: Arc<Claims>,
    pair: Option<KeyValue>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(pair) = self.pair.take() {
            self.claims.kept.lock().push_back(pair);
            self.claims.is_kept.notify_one();
        }
    }
}

impl Claims {
    pub(super) fn new(client: Client) -> Self {
        Claims { client, kept: Mutex::default(), is_kept: Notify::new() }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Takes what `first` finds; waits for it if there is nothing.
    pub(super) async fn take(self: &Arc<Self>, first: &Get, prefix: &Bytes) -> Result<Bytes> {
        let mut patience = Patience::without_end(&self.client);
        loop {
            if let Some(pair) = self.kept.lock().pop_front() {
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
                        () = self.is_kept.notified() => Ok(()),
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
        let kept = std::mem::take(self.kept.get_mut());
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
