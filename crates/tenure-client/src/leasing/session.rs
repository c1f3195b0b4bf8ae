//! The session whose lease the ownership keys have.

use super::{Live, Shared};
use crate::{Result, concurrency::Session};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Keeps a session until the layer is closed: when one is lost everything is forgotten, and another one is opened.
pub(super) async fn keep(shared: Arc<Shared>, mut live: Arc<Live>) {
    let mut number = live.number;
    loop {
        tokio::select! {
            _ = live.session.expired() => {}
            () = shared.closed.cancelled() => return,
        }
        tracing::debug!("the leasing session is lost: all keys are read from the server");
        drop(shared.end_session());
        number += 1;
        live = tokio::select! {
            live = open(&shared, number) => live,
            () = shared.closed.cancelled() => return,
        };
    }
}

async fn open(shared: &Arc<Shared>, number: u64) -> Arc<Live> {
    let mut pauses = shared.client.rpc().backoff();
    loop {
        match shared.open_session(number).await {
            Ok(live) => return live,
            Err(error) => tracing::debug!(%error, "no leasing session"),
        }
        if let Some(pause) = pauses.next() {
            tokio::time::sleep(pause).await;
        }
    }
}

impl Shared {
    /// Opens a session. From then on keys can be acquired.
    pub(super) async fn open_session(&self, number: u64) -> Result<Arc<Live>> {
        let session = Session::builder(&self.client).ttl(self.ttl).open().await?;
        let live = Arc::new(Live { number, session, over: CancellationToken::new() });
        self.book.lock().start(number);
        self.live.store(Some(live.clone()));
        if self.closed.is_cancelled() {
            drop(self.end_session());
        }
        Ok(live)
    }

    /// Forgets everything. Ownership keys stay until the lease is gone.
    pub(super) fn end_session(&self) -> Option<Arc<Live>> {
        let live = self.live.swap(None);
        if let Some(live) = &live {
            live.over.cancel();
        }
        self.book.lock().start(0);
        live
    }
}
