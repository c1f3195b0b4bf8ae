//! Watches of the copy: each reads the history at its own pace.

use super::{
    Cache, Shared,
    progress::Subscription,
    replica::{Position, Wanted},
};
use crate::{
    Error, IntoBytes, KeyRange, Result, Revision, WatchResponse,
    steps::{self, Steps, told},
};
use futures::{future::BoxFuture, stream::BoxStream};
use std::{collections::VecDeque, future::IntoFuture, sync::Arc};
use tokio::time::{Instant, sleep_until};

/// A watch on its way, from [`Cache::watch`]. `.await` opens it, once there is a copy.
///
/// ```no_run
/// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
/// let changes = cache.watch("app/").prefix().filter_delete().prev_kv().await?;
/// # drop(changes);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct CacheWatch<'a> {
    cache: &'a Cache,
    wanted: Wanted,
    start_revision: Revision,
    is_progress_notified: bool,
}

impl<'a> CacheWatch<'a> {
    pub(super) fn new(cache: &'a Cache, keys: impl Into<KeyRange>) -> Self {
        let wanted = Wanted { range: keys.into(), puts: true, deletes: true, prev_kv: false };
        CacheWatch { cache, wanted, start_revision: 0, is_progress_notified: false }
    }

    /// All keys that begin with the key; all keys if it is empty.
    ///
    /// ```no_run
    /// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// let changes = cache.watch("app/").prefix().await?;
    /// # drop(changes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn prefix(mut self) -> Self {
        self.wanted.range = KeyRange::prefix(self.wanted.range.key);
        self
    }

    /// The key and all keys after it.
    ///
    /// ```no_run
    /// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// // Only a cache of all keys has all of these.
    /// let changes = cache.watch("m").from_key().await?;
    /// # drop(changes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_key(mut self) -> Self {
        self.wanted.range = KeyRange::from_key(self.wanted.range.key);
        self
    }

    /// From the key to `end`, which is not part of it.
    ///
    /// ```no_run
    /// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// let changes = cache.watch("app/a").range_end("app/n").await?;
    /// # drop(changes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn range_end(mut self, end: impl IntoBytes) -> Self {
        self.wanted.range.end = end.into_bytes();
        self
    }

    /// Changes from this revision on, which may be in the past as far as the history window reaches; 0 for what comes after
    /// now.
    ///
    /// ```no_run
    /// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// // What there is, and every change after it: nothing is missed, nothing told twice.
    /// let now = cache.get("app/").prefix().serializable().await?;
    /// let changes = cache.watch("app/").prefix().start_revision(now.header.revision + 1).await?;
    /// # drop(changes);
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
    /// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// let mut changes = cache.watch("app/mode").prev_kv().await?;
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
        self.wanted.prev_kv = true;
        self
    }

    /// Without what was written.
    ///
    /// ```no_run
    /// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// // Only who leaves.
    /// let gone = cache.watch("services/").prefix().filter_put().await?;
    /// # drop(gone);
    /// # Ok(())
    /// # }
    /// ```
    pub fn filter_put(mut self) -> Self {
        self.wanted.puts = false;
        self
    }

    /// Without what was deleted.
    ///
    /// ```no_run
    /// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// // Only who comes, and what they say.
    /// let written = cache.watch("services/").prefix().filter_delete().await?;
    /// # drop(written);
    /// # Ok(())
    /// # }
    /// ```
    pub fn filter_delete(mut self) -> Self {
        self.wanted.deletes = false;
        self
    }

    /// A response without events tells how far the watch is when nothing else has come for the interval of the cache, and when
    /// [`Cache::request_progress`] asks for it.
    ///
    /// ```no_run
    /// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// let mut changes = cache.watch("app/").prefix().progress_notify().await?;
    /// while let Some(response) = changes.next().await {
    ///     let response = response?;
    ///     if response.is_progress_notify() {
    ///         println!("nothing new up to revision {}", response.header.revision);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress_notify(mut self) -> Self {
        self.is_progress_notified = true;
        self
    }

    async fn open(self) -> Result<CacheWatchStream> {
        let shared = self.cache.shared();
        shared.check(&self.wanted.range)?;
        if self.start_revision < 0 {
            return Err(Error::invalid("cache: a negative start revision: name one that was, or 0 for now"));
        }
        shared.progress.loaded().await?;
        let mut states = shared.progress.subscribe();
        let announced = states.seen().announcements;
        let position = shared.replica.read().position(self.start_revision);
        let reader = Reader {
            shared: shared.clone(),
            wanted: self.wanted,
            position,
            taken: VecDeque::new(),
            states,
            announced,
            is_progress_notified: self.is_progress_notified,
            told: Instant::now(),
        };
        Ok(CacheWatchStream { items: steps::stream(reader) })
    }
}

impl<'a> IntoFuture for CacheWatch<'a> {
    type Output = Result<CacheWatchStream>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

/// Changes, from [`Cache::watch`]. Dropping it ends it.
///
/// All changes of one revision are in one response, whose `header.revision` is theirs. A watch holds few responses of its own; the
/// others wait in the history window. If it has not taken them when they leave the window, or if the copy had to be made anew,
/// it ends with [`Error::Compacted`], whose revision is the first one that a new watch can start from.
///
/// ```no_run
/// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
/// use tenure_client::Error;
///
/// let mut changes = cache.watch("app/").prefix().await?;
/// while let Some(response) = changes.next().await {
///     match response {
///         Ok(response) => println!("{} changes", response.events.len()),
///         Err(Error::Compacted { compact_revision }) => {
///             println!("too slow: read, and watch anew from {compact_revision} or later");
///         }
///         Err(error) => return Err(error),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it ends the watch"]
pub struct CacheWatchStream {
    items: BoxStream<'static, Result<WatchResponse>>,
}

struct Reader {
    shared: Arc<Shared>,
    wanted: Wanted,
    position: Position,
    /// Taken from the history and still to be told.
    taken: VecDeque<WatchResponse>,
    states: Subscription,
    announced: u64,
    is_progress_notified: bool,
    /// When something was told last.
    told: Instant,
}

told! { CacheWatchStream: WatchResponse,
    /// The next response; nothing after an error, and when the cache is closed and everything is told. Dropping the future loses
    /// nothing.
    ///
    /// ```no_run
    /// # async fn example(mut changes: tenure_client::cache::CacheWatchStream) {
    /// tokio::select! {
    ///     response = changes.next() => println!("{response:?}"),
    ///     () = tokio::time::sleep(std::time::Duration::from_secs(5)) => println!("nothing for 5 s"),
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Compacted`]: see above.
}

impl Steps for Reader {
    type Item = WatchResponse;

    async fn step(&mut self) -> Option<Result<WatchResponse>> {
        loop {
            if let Some(response) = self.taken.pop_front() {
                self.told = Instant::now();
                return Some(Ok(response));
            }
            let seen = self.states.seen();
            if let Err(error) = self.take() {
                return Some(Err(error));
            }
            if !self.taken.is_empty() {
                continue;
            }
            if seen.is_closed {
                return None;
            }
            let due = self.told + self.shared.config.progress_notify_interval;
            if self.is_progress_notified && (seen.announcements != self.announced || Instant::now() >= due) {
                self.announced = seen.announcements;
                self.told = Instant::now();
                if let Some(response) = self.shared.replica.read().progress(&self.position) {
                    return Some(Ok(response));
                }
                continue;
            }
            tokio::select! {
                () = self.states.changed() => {}
                () = sleep_until(due), if self.is_progress_notified => {}
            }
        }
    }
}

impl Reader {
    fn take(&mut self) -> Result<()> {
        let responses_max = self.shared.config.watch_responses_max;
        self.taken.extend(self.shared.replica.read().next(
            &mut self.position,
            &self.wanted,
            responses_max,
        )?);
        Ok(())
    }
}
