//! What the user of a watch reads.

use super::{WatchResponse, hub::Handle};
use crate::{Result, namespace::Namespace};
use futures::Stream;
use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// The changes that a watch tells, each once and in order, whatever happens to connections and servers meanwhile.
///
/// When the connection breaks, the server restarts or loses its leader, or the token expires, the watch goes on by itself from
/// the first revision that was not told, on another endpoint if there is one. It ends by itself only
///
/// * with [`Error::Compacted`](crate::Error::Compacted), if that revision is compacted away meanwhile: read the keys anew, and
///   watch from the revision after the one that was read;
/// * with the server's refusal to go on, for instance [`PermissionDenied`](crate::EtcdError::PermissionDenied);
/// * with [`Error::Closed`](crate::Error::Closed), when the client is closed or dropped, or its watches are closed.
///
/// The error is the last item.
///
/// A store that was put back to an earlier state, by a backup or an empty data directory, has not reached that revision yet: the
/// watch waits for it, and tells nothing meanwhile. `etcdutl snapshot restore` with `--bump-revision` and
/// `--mark-compacted` avoids that: the watch then ends with `Compacted`.
///
/// Changes that are not read wait, up to 8192 responses or 8 MiB. Then the watch is cancelled on the server, and resumed once
/// half of them are read: who reads slowly loses nothing and holds up nobody, but may find that what comes next has been
/// compacted away.
///
/// Dropping it cancels the watch.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::Error;
///
/// let mut next_revision = 1;
/// loop {
///     let mut changes = client.watch("app/").prefix().start_revision(next_revision).await?;
///     while let Some(response) = changes.next().await {
///         match response {
///             Ok(response) => {
///                 for event in response.events {
///                     next_revision = event.kv.mod_revision + 1;
///                     println!("{event:?}");
///                 }
///             }
///             Err(Error::Compacted { .. }) => {
///                 // Some changes are gone for good: begin anew with what there is.
///                 let now = client.get("app/").prefix().await?;
///                 next_revision = now.header.revision + 1;
///             }
///             Err(error) => return Err(error),
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it cancels the watch"]
pub struct WatchStream {
    handle: Handle,
    namespace: Option<Arc<Namespace>>,
}

impl std::fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchStream").finish_non_exhaustive()
    }
}

impl WatchStream {
    /// Waits until the server has taken the watch.
    pub(super) async fn confirmed(handle: Handle, namespace: Option<Arc<Namespace>>) -> Result<Self> {
        poll_fn(|cx| handle.queue().poll_confirmed(cx)).await?;
        Ok(WatchStream { handle, namespace })
    }

    /// The next response; nothing after the end. Dropping the future loses nothing.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let mut changes = client.watch("mode").await?;
    /// tokio::select! {
    ///     response = changes.next() => println!("{response:?}"),
    ///     // The watch goes on: what comes later is still told.
    ///     () = tokio::time::sleep(std::time::Duration::from_secs(5)) => println!("nothing for 5 s"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Why the watch has ended: see [`WatchStream`].
    pub async fn next(&mut self) -> Option<Result<WatchResponse>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Asks how far the watch has come. The answer is a response without events
    /// ([`is_progress_notify`](WatchResponse::is_progress_notify)) with the revision up to which everything has been told. It
    /// comes once the server has sent all earlier events to all watches that share the stream; until then the question is
    /// repeated.
    ///
    /// etcd before 3.4.25 and 3.5.8 lets such answers overtake events, so they prove nothing. With those the revision is the last
    /// one that is known to be told: that of the last event, or the one at which the watch was created.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let mut changes = client.watch("seldom").await?;
    /// changes.request_progress().await;
    /// while let Some(response) = changes.next().await {
    ///     let response = response?;
    ///     if response.is_progress_notify() {
    ///         println!("nothing is missing up to revision {}", response.header.revision);
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[expect(clippy::unused_async, reason = "so that it may wait some day")]
    pub async fn request_progress(&self) {
        self.handle.ask_progress();
    }

    /// Cancels the watch, and waits until the server has done so, or the stream to it has broken. Dropping the watch cancels it
    /// as well, without waiting.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let changes = client.watch("app/").prefix().await?;
    /// changes.close().await;
    /// println!("the server does nothing for it any more");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(self) {
        self.handle.close();
        poll_fn(|cx| self.handle.queue().poll_end(cx)).await;
    }
}

impl Stream for WatchStream {
    type Item = Result<WatchResponse>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Poll::Ready(read) = self.handle.queue().poll_next(cx) else { return Poll::Pending };
        if read.is_drained {
            self.handle.drained();
        }
        Poll::Ready(read.response.map(|response| Ok(response?.stripped(self.namespace.as_deref()))))
    }
}
