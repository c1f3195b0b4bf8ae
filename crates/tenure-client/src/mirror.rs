//! A copy of a prefix that follows its changes.
//!
//! First everything that there is, in pages of one revision, then every change after it.

use crate::{
    Client, Error, GetResponse, IntoBytes, Result, Revision, WatchStream,
    kv::{Call, Get, KeyRange, ZERO},
};
use futures::{Stream, stream};
use std::{
    future::IntoFuture,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// Keys of a page.
const PAGE_KEYS: u32 = 1000;

/// Reads a prefix and follows it. Go's `mirror.Syncer`.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use futures::StreamExt;
/// use tenure_client::mirror::Syncer;
///
/// let syncer = Syncer::new(&client, "app/");
/// let mut base = syncer.sync_base();
/// while let Some(page) = base.next().await {
///     for pair in page?.kvs {
///         println!("{} is {}", pair.key_text(), pair.value_text());
///     }
/// }
/// let mut updates = syncer.sync_updates().await?;
/// while let Some(response) = updates.next().await {
///     for event in response?.events {
///         println!("{event:?}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Syncer {
    client: Client,
    range: KeyRange,
    /// 0 until the first page is there.
    revision: Arc<AtomicI64>,
}

impl Syncer {
    /// A syncer of all keys that begin with `prefix`; of all keys if it is empty. Clones share the revision.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::mirror::Syncer;
    ///
    /// let app = Syncer::new(&client, "app/");
    /// let everything = Syncer::new(&client, "");
    /// # drop((app, everything));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(client: &Client, prefix: impl IntoBytes) -> Self {
        Syncer::at_revision(client, prefix, 0)
    }

    /// A syncer whose base is the state at this revision; 0 for the newest one. With a revision, the updates after it can be
    /// had without the base.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::mirror::Syncer;
    ///
    /// // Goes on where an earlier run has stopped: there is no base to be read.
    /// let mut updates = Syncer::at_revision(&client, "app/", 4711).sync_updates().await?;
    /// # drop(updates.next().await);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn at_revision(client: &Client, prefix: impl IntoBytes, revision: Revision) -> Self {
        Syncer {
            revision: Arc::new(AtomicI64::new(revision)),
            ..Syncer::of(client, KeyRange::prefix(prefix))
        }
    }

    pub(crate) fn of(client: &Client, range: KeyRange) -> Self {
        Syncer { client: client.clone(), range, revision: Arc::default() }
    }

    /// The revision of the base; 0 as long as it is not known, that is before the first page.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use futures::TryStreamExt;
    /// use tenure_client::mirror::Syncer;
    ///
    /// let syncer = Syncer::new(&client, "app/");
    /// let pages: Vec<_> = syncer.sync_base().try_collect().await?;
    /// println!("{} pages, all of revision {}", pages.len(), syncer.revision());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    /// Everything that there is: pages of 1000 keys, all of one revision, by key. At least one page comes, if only an empty one.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use futures::TryStreamExt;
    /// use tenure_client::mirror::Syncer;
    ///
    /// let mut base = Syncer::new(&client, "app/").sync_base();
    /// while let Some(page) = base.try_next().await? {
    ///     println!("{} of {} keys", page.kvs.len(), page.count);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`]; the stream ends with the error. If a compaction overtakes the reading it is
    /// [`Compacted`](crate::EtcdError::Compacted): begin again with a new syncer.
    pub fn sync_base(&self) -> impl Stream<Item = Result<GetResponse>> + Send + Unpin + use<> {
        let syncer = self.clone();
        let pages = stream::unfold((syncer, Some(self.range.clone())), |(syncer, rest)| async move {
            match syncer.page(rest?).await {
                Ok((page, rest)) => Some((Ok(page), (syncer, rest))),
                Err(error) => Some((Err(error), (syncer, None))),
            }
        });
        Box::pin(pages)
    }

    async fn page(&self, range: KeyRange) -> Result<(GetResponse, Option<KeyRange>)> {
        let read = |revision| {
            Call::new(&self.client, Get::new(range.clone()).limit(PAGE_KEYS).revision(revision)).into_future()
        };
        let revision = self.revision();
        let mut page = read(revision).await?;
        if revision == 0 {
            let newest = page.header.revision;
            let found = self.revision.compare_exchange(0, newest, Ordering::AcqRel, Ordering::Acquire);
            // Another reader of the same base was faster: his revision is the base's.
            if let Err(agreed) = found
                && agreed != newest
            {
                page = read(agreed).await?;
            }
        }
        let last = page.kvs.last().filter(|_| page.more);
        let rest = last
            .map(|pair| KeyRange { key: [&pair.key[..], &ZERO[..]].concat().into(), end: range.end.clone() });
        Ok((page, rest))
    }

    /// Every change after the base.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use futures::TryStreamExt;
    /// use tenure_client::mirror::Syncer;
    ///
    /// let syncer = Syncer::new(&client, "app/");
    /// syncer.sync_base().try_for_each(|page| async move { Ok(println!("{page:?}")) }).await?;
    /// let mut updates = syncer.sync_updates().await?;
    /// while let Some(response) = updates.next().await {
    ///     println!("{:?}", response?.events);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if the base was not begun, so that its revision is not known; and as [`Client::watch`].
    pub async fn sync_updates(&self) -> Result<WatchStream> {
        let revision = self.revision();
        if revision == 0 {
            return Err(Error::invalid(
                "updates of a base that was not read: read sync_base() first, or name its revision",
            ));
        }
        let KeyRange { key, end } = self.range.clone();
        self.client.watch(key).range_end(end).start_revision(revision + 1).await
    }
}
