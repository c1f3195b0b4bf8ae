//! A place that is first in line, watched.

use super::{Patience, Place};
use crate::{Error, EventKind, Result, Revision, concurrency::Session};
use bytes::Bytes;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// A place that is the first, and notices when it no longer is. Dropping it gives it up in the background.
#[derive(Debug)]
pub(in crate::concurrency) struct Hold {
    place: Place,
    /// The key is gone.
    lost: CancellationToken,
    watching: AbortOnDropHandle<()>,
}

impl Hold {
    pub(in crate::concurrency) fn new(place: Place) -> Self {
        let lost = CancellationToken::new();
        let watching = watch(
            place.session().clone(),
            place.key().clone(),
            place.created(),
            place.seen() + 1,
            lost.clone(),
        );
        Hold { place, lost, watching: AbortOnDropHandle::new(tokio::spawn(watching)) }
    }

    pub(in crate::concurrency) fn place(&self) -> &Place {
        &self.place
    }

    /// Ends when the session expires, or the key is gone.
    pub(in crate::concurrency) async fn lost(&self) {
        tokio::select! {
            () = self.lost.cancelled() => {}
            () = self.place.session().expired() => {}
        }
    }

    pub(in crate::concurrency) fn is_lost(&self) -> bool {
        self.lost.is_cancelled() || self.place.session().is_expired()
    }

    /// The place alone, unwatched.
    pub(in crate::concurrency) fn into_place(self) -> Place {
        self.watching.abort();
        self.place
    }
}

/// Watches the key until it is gone.
async fn watch(session: Session, key: Bytes, created: Revision, mut from: Revision, lost: CancellationToken) {
    let mut patience = Patience::of(&session);
    loop {
        let error = match gone(&session, &key, created, from).await {
            Ok(()) => return lost.cancel(),
            Err(error) => error,
        };
        if !matches!(error, Error::Compacted { .. })
            && let Err(error) = patience.after(error).await
        {
            // The session's end is noticed without this.
            tracing::debug!(%error, key = %key.escape_ascii(), "a key that is held cannot be watched");
            return;
        }
        match session.client().get(&key).keys_only().await {
            Ok(now) if now.first().is_none_or(|pair| pair.create_revision != created) => {
                return lost.cancel();
            }
            Ok(now) => from = now.header.revision + 1,
            Err(_) => {}
        }
    }
}

/// Ends when the key is deleted, or is another one of the same name.
async fn gone(session: &Session, key: &Bytes, created: Revision, from: Revision) -> Result<()> {
    let mut changes = session.client().watch(key).start_revision(from).await?;
    while let Some(response) = changes.next().await {
        let is_gone = response?
            .events
            .iter()
            .any(|event| event.kind == EventKind::Delete || event.kv.create_revision != created);
        if is_gone {
            return Ok(());
        }
    }
    Err(Error::Closed)
}
