//! What to watch, and how.

use super::{WatchStream, hub::Watches};
use crate::{Client, Error, IntoBytes, KeyRange, Result, Revision, kv::ZERO, namespace::Namespace};
use futures::future::BoxFuture;
use std::{future::IntoFuture, sync::Arc};
use tenure_api::etcdserverpb::{self as pb, watch_create_request::FilterType};

/// A watch on its way, from [`Client::watch`]. `.await` starts it, and comes back once the server has taken it.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let since = client.get("app/").prefix().await?.header.revision + 1;
/// let mut changes = client.watch("app/").prefix().start_revision(since).prev_kv().await?;
/// while let Some(response) = changes.next().await {
///     for event in response?.events {
///         println!("{:?} {}", event.kind, event.kv.key_text());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct Watch<'a> {
    watches: &'a Watches,
    namespace: Option<&'a Arc<Namespace>>,
    range: KeyRange,
    start_revision: Revision,
    is_prev_kv_wanted: bool,
    is_progress_wanted: bool,
    is_created_wanted: bool,
    is_put_left_out: bool,
    is_delete_left_out: bool,
    is_fragmented: bool,
    requires_leader: bool,
}

impl<'a> Watch<'a> {
    pub(super) fn new(client: &'a Client, keys: impl Into<KeyRange>) -> Self {
        Watch {
            watches: &client.shared().watches,
            namespace: client.namespace_of_keys(),
            range: keys.into(),
            start_revision: 0,
            is_prev_kv_wanted: false,
            is_progress_wanted: false,
            is_created_wanted: false,
            is_put_left_out: false,
            is_delete_left_out: false,
            is_fragmented: false,
            requires_leader: true,
        }
    }

    /// All keys that begin with the key; all keys if it is empty.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let changes = client.watch("app/").prefix().await?;
    /// # drop(changes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn prefix(mut self) -> Self {
        self.range = KeyRange::prefix(self.range.key);
        self
    }

    /// The key and all keys after it.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // The empty key: all keys.
    /// let everything = client.watch("").from_key().await?;
    /// # drop(everything);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_key(mut self) -> Self {
        self.range = KeyRange::from_key(self.range.key);
        self
    }

    /// From the key to `end`, which is not part of it.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let one_year = client.watch("logs/2024").range_end("logs/2025").await?;
    /// # drop(one_year);
    /// # Ok(())
    /// # }
    /// ```
    pub fn range_end(mut self, end: impl IntoBytes) -> Self {
        self.range.end = end.into_bytes();
        self
    }

    /// Starts with the changes of this revision, in the past or in the future. Default: with the first one after the watch was
    /// created, as the member sees it that takes the watch. A member that is behind the others may therefore tell of changes that
    /// are older than the call, even of the caller's own; who wants none of them names the revision.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // What there is, and every change after it: nothing is missed, nothing told twice.
    /// let now = client.get("app/").prefix().await?;
    /// let mut changes = client.watch("app/").prefix().start_revision(now.header.revision + 1).await?;
    /// # drop(changes.next().await);
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_revision(mut self, revision: Revision) -> Self {
        self.start_revision = revision;
        self
    }

    /// Events hold the pair as it was before.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let mut changes = client.watch("mode").prev_kv().await?;
    /// while let Some(response) = changes.next().await {
    ///     for event in response?.events {
    ///         let before = event.prev_kv.map(|pair| pair.value);
    ///         println!("from {before:?} to {:?}", event.kv.value);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn prev_kv(mut self) -> Self {
        self.is_prev_kv_wanted = true;
        self
    }

    /// The server tells now and then how far the watch has come while there are no events: each time that its interval passes,
    /// 10 minutes unless it was told otherwise.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // Keep the revision: a watch that starts there later has less to catch up on, and finds it not yet compacted.
    /// let mut seen = 0;
    /// let mut changes = client.watch("seldom/").prefix().progress_notify().await?;
    /// while let Some(response) = changes.next().await {
    ///     let response = response?;
    ///     if response.is_progress_notify() {
    ///         seen = response.header.revision;
    ///     }
    /// }
    /// println!("go on from {}", seen + 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress_notify(mut self) -> Self {
        self.is_progress_wanted = true;
        self
    }

    /// The first response tells that the watch was created. It comes once, however often the watch has to be resumed.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let mut changes = client.watch("app/").prefix().created_notify().await?;
    /// if let Some(first) = changes.next().await {
    ///     let first = first?;
    ///     assert!(first.created);
    ///     println!("watching since revision {}", first.header.revision);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn created_notify(mut self) -> Self {
        self.is_created_wanted = true;
        self
    }

    /// Leaves out writes.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // Only who leaves.
    /// let mut gone = client.watch("services/").prefix().filter_put().await?;
    /// while let Some(response) = gone.next().await {
    ///     for event in response?.events {
    ///         println!("{} is gone", event.kv.key_text());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn filter_put(mut self) -> Self {
        self.is_put_left_out = true;
        self
    }

    /// Leaves out deletes.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // Only who comes, and what they say.
    /// let written = client.watch("services/").prefix().filter_delete().await?;
    /// # drop(written);
    /// # Ok(())
    /// # }
    /// ```
    pub fn filter_delete(mut self) -> Self {
        self.is_delete_left_out = true;
        self
    }

    /// Lets the server send large responses in parts, so that others are not held up and no limit on message sizes is met.
    /// They are put together again; of very long series, whole revisions are told before the end has come.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // Transactions that write many large values make responses of many MiB.
    /// let changes = client.watch("blobs/").prefix().fragment().await?;
    /// # drop(changes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn fragment(mut self) -> Self {
        self.is_fragmented = true;
        self
    }

    /// Whether a member that has lost its leader is left for another one. Default: yes. Such a member may be cut off, and would
    /// tell nothing as long as it is.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // The only member of a cluster that is being repaired: nobody else could be asked.
    /// let changes = client.watch("app/").prefix().require_leader(false).await?;
    /// # drop(changes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn require_leader(mut self, required: bool) -> Self {
        self.requires_leader = required;
        self
    }

    fn request(&self) -> Result<pb::WatchCreateRequest> {
        if self.start_revision < 0 {
            return Err(Error::invalid(format!("a watch cannot start at revision {}", self.start_revision)));
        }
        let range = match self.namespace {
            Some(namespace) => namespace.prefix_range(&self.range),
            None => self.range.clone(),
        };
        // As etcd does: the empty key stands for the smallest one.
        let key = if range.key.is_empty() { ZERO } else { range.key };
        let filters =
            [(self.is_put_left_out, FilterType::Noput), (self.is_delete_left_out, FilterType::Nodelete)];
        Ok(pb::WatchCreateRequest {
            key,
            range_end: range.end,
            start_revision: self.start_revision,
            progress_notify: self.is_progress_wanted,
            filters: filters
                .into_iter()
                .filter(|(is_set, _)| *is_set)
                .map(|(_, filter)| filter.into())
                .collect(),
            prev_kv: self.is_prev_kv_wanted,
            watch_id: 0,
            fragment: self.is_fragmented,
        })
    }
}

impl<'a> IntoFuture for Watch<'a> {
    type Output = Result<WatchStream>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let handle = self.watches.watch(self.request()?, self.is_created_wanted, self.requires_leader)?;
            WatchStream::confirmed(handle, self.namespace.cloned()).await
        })
    }
}
