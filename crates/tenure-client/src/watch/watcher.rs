//! What concerns all watches of a client.

use super::Watch;
use crate::{Client, KeyRange};

/// The watches of a client, from [`Client::watcher`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let mut changes = client.watcher().watch("key").await?;
/// client.watcher().request_progress().await;
/// while let Some(response) = changes.next().await {
///     let response = response?;
///     if response.is_progress_notify() {
///         println!("nothing up to revision {}", response.header.revision);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Watcher {
    client: Client,
}

impl Client {
    /// The watches of this client.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let watches = client.watcher();
    /// let changes = watches.watch("app/").prefix().await?;
    /// watches.close();
    /// # drop(changes);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn watcher(&self) -> Watcher {
        Watcher { client: self.clone() }
    }

    /// Watches a key, or a range: `client.watch("app/").prefix().await?`. See
    /// [`WatchStream`](crate::WatchStream) for what is told, and what happens when connections break.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let mut changes = client.watch("app/").prefix().await?;
    /// while let Some(response) = changes.next().await {
    ///     for event in response?.events {
    ///         println!("{:?} {} {}", event.kind, event.kv.key_text(), event.kv.value_text());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Unreachable`](crate::Error::Unreachable) if no endpoint can be connected to within the dial timeout, and the server's
    /// refusal: among others [`PermissionDenied`](crate::EtcdError::PermissionDenied), and code `InvalidArgument` for a range
    /// that ends before it begins.
    pub fn watch(&self, keys: impl Into<KeyRange>) -> Watch<'_> {
        Watch::new(self, keys)
    }
}

impl Watcher {
    /// As [`Client::watch`].
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let watcher = client.watcher();
    /// let (a, b) = (watcher.watch("a").await?, watcher.watch("b").await?);
    /// # drop((a, b));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::watch`].
    pub fn watch(&self, keys: impl Into<KeyRange>) -> Watch<'_> {
        self.client.watch(keys)
    }

    /// Asks how far each watch of this client has come: see [`WatchStream::request_progress`](crate::WatchStream::request_progress).
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let mut changes = client.watch("app/").prefix().await?;
    /// client.watcher().request_progress().await;
    /// if let Some(response) = changes.next().await {
    ///     println!("told up to revision {}", response?.header.revision);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[expect(clippy::unused_async, reason = "so that it may wait some day")]
    pub async fn request_progress(&self) {
        self.client.shared().watches.request_progress();
    }

    /// Ends all watches of this client, its clones included, with [`Error::Closed`](crate::Error::Closed). New ones can be
    /// started.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::Error;
    ///
    /// let mut changes = client.watch("app/").prefix().await?;
    /// client.watcher().close();
    /// while let Some(response) = changes.next().await {
    ///     if let Err(error) = response {
    ///         assert!(matches!(error, Error::Closed));
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) {
        self.client.shared().watches.close();
    }
}
