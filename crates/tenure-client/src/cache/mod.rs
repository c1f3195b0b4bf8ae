//! A local copy of a prefix that answers reads and watches.
//!
//! One watch keeps the copy up to date, however many read and watch it here. A [`Cache`] is what a program wants that reads the
//! same keys all the time, or that serves watches to many others.
//!
//! * [`Cache::get`] is as good as a read from the server: it asks the server for its revision only, which is cheap, and waits until
//!   the copy has come that far. With [`serializable`](CacheGet::serializable) it answers at once, from what the copy has.
//! * Revisions within the history window can be read, and watched from.
//! * A watcher that does not keep up ends with [`Error::Compacted`] once what it lacks has left the window, as it
//!   does when the copy had to be made anew because a compaction overtook it. To go on: read, and watch from there.

mod config;
mod get;
mod progress;
mod replica;
mod upstream;
mod watch;

pub use config::CacheBuilder;
pub use get::CacheGet;
pub use watch::{CacheWatch, CacheWatchStream};

use crate::{Client, Error, IntoBytes, KeyRange, Result, Revision, kv::Get};
use config::Config;
use parking_lot::RwLock;
use progress::{Progress, Wait};
use replica::Replica;
use std::{fmt, sync::Arc};
use tokio_util::task::AbortOnDropHandle;

/// A copy of all keys with a prefix, which follows the server. Go's `cache.Cache`. Cheap to clone; it ends when the last clone
/// is dropped, or with [`Cache::close`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::cache::Cache;
///
/// let cache = Cache::new(&client, "app/");
/// cache.wait_ready().await?;
/// // From memory, and yet as new as what the server has.
/// let mode = cache.get("app/mode").await?;
/// // From memory at once.
/// let all = cache.get("app/").prefix().serializable().await?;
/// let mut changes = cache.watch("app/").prefix().start_revision(all.header.revision + 1).await?;
/// while let Some(response) = changes.next().await {
///     println!("{:?}", response?.events);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cache {
    running: Arc<Running>,
}

/// What the clones share, and what goes on behind them.
struct Running {
    shared: Arc<Shared>,
    _follower: AbortOnDropHandle<()>,
}

/// What watches of the cache need as well.
struct Shared {
    client: Client,
    range: KeyRange,
    config: Config,
    replica: RwLock<Replica>,
    progress: Progress,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("prefix", &self.shared().range.key)
            .field("revision", &self.revision())
            .field("is_ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// Starts to copy all keys that begin with `prefix`; all keys if it is empty. Must be called within a Tokio runtime.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::cache::Cache;
    ///
    /// let cache = Cache::new(&client, "app/");
    /// // Waits for the copy, if need be.
    /// println!("{} keys", cache.get("app/").prefix().count_only().await?.count);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(client: &Client, prefix: impl IntoBytes) -> Self {
        Cache::start(client, KeyRange::prefix(prefix), Config::default())
    }

    /// A cache with options: `Cache::builder(&client, "app/").history_revisions_max(10_000).open()?`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::cache::Cache;
    ///
    /// let cache = Cache::builder(&client, "app/").history_revisions_max(10_000).open()?;
    /// # drop(cache);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(client: &Client, prefix: impl IntoBytes) -> CacheBuilder {
        CacheBuilder::new(client, KeyRange::prefix(prefix))
    }

    fn start(client: &Client, range: KeyRange, config: Config) -> Self {
        let replica = RwLock::new(Replica::new(config.history_revisions_max));
        let shared = Shared { client: client.clone(), range, config, replica, progress: Progress::default() };
        let shared = Arc::new(shared);
        let follower = AbortOnDropHandle::new(tokio::spawn(upstream::follow(shared.clone())));
        Cache { running: Arc::new(Running { shared, _follower: follower }) }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.running.shared
    }

    /// Reads a key, or with an option a range: `cache.get("app/").prefix().await?`. All options of [`Client::get`] are there.
    ///
    /// The answer is linearizable, as that of a server: the cache asks the server for its revision, and waits until the copy has
    /// come that far. Where it cannot know that it has (etcd before 3.4.25 and 3.5.8 cannot be asked how far a watch is, and a
    /// member may be behind), the read goes to the server. With [`serializable`](CacheGet::serializable) it is
    /// answered at once from the copy.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client, cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// client.put("app/mode", "on").await?;
    /// // As new as a read from the server.
    /// assert_eq!(cache.get("app/mode").await?.kvs[0].value, "on");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if the range is not within the prefix; [`Error::CacheBehind`] if the copy does not get so far within the
    /// wait timeout; [`Error::Compacted`] if the revision is older than the history window, and
    /// [`FutureRev`](crate::EtcdError::FutureRev) if it is not there yet; [`Error::Closed`]; and whatever keeps the server from telling its
    /// revision.
    pub fn get(&self, keys: impl Into<KeyRange>) -> CacheGet<'_> {
        CacheGet::new(self, Get::new(keys))
    }

    /// Watches a key, or a range: `cache.watch("app/").prefix().await?`. However many watches there are, the server
    /// sees one.
    ///
    /// ```no_run
    /// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// let mut changes = cache.watch("app/").prefix().await?;
    /// while let Some(response) = changes.next().await {
    ///     for event in response?.events {
    ///         println!("{:?} {}", event.kind, event.kv.key_text());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if the range is not within the prefix or the revision is negative; [`Error::Closed`].
    pub fn watch(&self, keys: impl Into<KeyRange>) -> CacheWatch<'_> {
        CacheWatch::new(self, keys)
    }

    /// The revision up to which the copy has come; 0 if there is none yet.
    ///
    /// ```no_run
    /// # async fn example(cache: &tenure_client::cache::Cache) {
    /// println!("the copy is that of revision {}", cache.revision());
    /// # }
    /// ```
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.shared().replica.read().revision()
    }

    /// Whether there is a copy and it follows the server. After a failure it is not ready until it follows again; what it has can be
    /// read meanwhile.
    ///
    /// ```no_run
    /// # async fn example(cache: &tenure_client::cache::Cache) {
    /// println!("{}", if cache.is_ready() { "200 OK" } else { "503 Service Unavailable" });
    /// # }
    /// ```
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared().progress.is_ready()
    }

    /// Waits until the cache is ready, for as long as that takes.
    ///
    /// ```no_run
    /// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    ///
    /// match tokio::time::timeout(Duration::from_secs(10), cache.wait_ready()).await {
    ///     Ok(ready) => ready?,
    ///     Err(_) => println!("no copy after 10 s: serve what there is, or nothing"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn wait_ready(&self) -> Result<()> {
        self.shared().progress.ready().await
    }

    /// Waits until the copy has come to `revision`, for as long as that takes. It asks the server how far the watch is, so that
    /// changes elsewhere count as well; etcd before 3.4.25 and 3.5.8 cannot be asked, and there the next change of the prefix
    /// has to be waited for, or the server's own progress notification.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client, cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// let written = client.put("app/mode", "on").await?.header.revision;
    /// cache.wait_for_revision(written).await?;
    /// // At once, and yet not older than what was written.
    /// assert_eq!(cache.get("app/mode").serializable().await?.kvs[0].value, "on");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn wait_for_revision(&self, revision: Revision) -> Result<()> {
        loop {
            if self.shared().progress.reach(revision).await? == Wait::Reached {
                return Ok(());
            }
            // The member that is watched is behind, or cannot tell: let it get somewhere.
            tokio::time::sleep(self.shared().config.progress_request_interval).await;
        }
    }

    /// Tells every watch of this cache that asks for progress notifications how far it is, at once.
    ///
    /// ```no_run
    /// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// let mut changes = cache.watch("app/").prefix().progress_notify().await?;
    /// cache.request_progress();
    /// if let Some(response) = changes.next().await {
    ///     println!("told up to revision {}", response?.header.revision);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_progress(&self) {
        self.shared().progress.announce();
    }

    /// Ends the cache, for all clones. Its watches tell what they have and end; reads fail with [`Error::Closed`].
    ///
    /// ```no_run
    /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
    /// use tenure_client::Error;
    ///
    /// cache.close();
    /// assert!(matches!(cache.get("app/mode").await, Err(Error::Closed)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) {
        self.shared().progress.close();
    }

    /// Answers a read.
    async fn read(&self, get: Get) -> Result<crate::GetResponse> {
        let shared = self.shared();
        shared.check(&get.range)?;
        if get.revision < 0 {
            return Err(Error::invalid("cache: a negative revision: name one that was, or 0 for now"));
        }
        if get.is_serializable {
            shared.loaded().await?;
            return shared.replica.read().read(&get);
        }
        let revision = shared.server_revision().await?;
        if get.revision > revision {
            return Err(tonic::Status::from(crate::EtcdError::FutureRev).into());
        }
        match shared.within_wait_timeout(revision, shared.progress.reach(revision)).await? {
            Wait::Reached => shared.replica.read().read(&get),
            Wait::Unknown => crate::kv::Call::new(&shared.client, get).await,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.progress.close();
    }
}

impl Shared {
    /// Refuses what is not within the prefix.
    fn check(&self, range: &KeyRange) -> Result<()> {
        if is_within(&self.range, range) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "cache: invalid or out-of-range key range: it must begin before its end, within the prefix '{}'",
            String::from_utf8_lossy(&self.range.key)
        )))
    }

    /// Waits for the first copy.
    async fn loaded(&self) -> Result<()> {
        if self.progress.revision() > 0 && !self.progress.is_closed() {
            return Ok(());
        }
        self.within_wait_timeout(0, self.progress.loaded()).await
    }

    async fn within_wait_timeout<T>(
        &self,
        revision: Revision,
        wait: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let waited = self.config.wait_timeout;
        match tokio::time::timeout(waited, wait).await {
            Ok(result) => result,
            Err(_) => Err(Error::CacheBehind { revision, waited, reason: self.progress.reason() }),
        }
    }

    /// What the server's revision is: a read of one key, whose pair is not sent.
    async fn server_revision(&self) -> Result<Revision> {
        let get = Get::new(&self.range.key).limit(1).count_only();
        if self.progress.is_closed() {
            return Err(Error::Closed);
        }
        Ok(crate::kv::Call::new(&self.client, get).await?.header.revision)
    }
}

/// Whether a range has a beginning before its end, and is part of another one.
fn is_within(whole: &KeyRange, part: &KeyRange) -> bool {
    let is_open = whole.end[..] == *b"\0";
    if part.key.is_empty() {
        return false;
    }
    match &part.end[..] {
        b"" => whole.contains(&part.key),
        b"\0" => is_open && part.key >= whole.key,
        end => end > &part.key[..] && part.key >= whole.key && (is_open || end <= &whole.end[..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_ranges_a_cache_answers() {
        let app = KeyRange::prefix("app/");
        for part in [
            KeyRange::key("app/"),
            KeyRange::key("app/x"),
            KeyRange::prefix("app/"),
            KeyRange::prefix("app/x"),
            KeyRange::between("app/a", "app0"),
        ] {
            assert!(is_within(&app, &part), "{part:?}");
        }
        for part in [
            KeyRange::key(""),
            KeyRange::key("app"),
            KeyRange::key("app0"),
            KeyRange::prefix("app"),
            KeyRange::all(),
            KeyRange::from_key("app/x"),
            KeyRange::between("app/b", "app/a"),
            KeyRange::between("app/b", "app/b"),
            KeyRange::between("app/b", "app1"),
        ] {
            assert!(!is_within(&app, &part), "{part:?}");
        }
        let all = KeyRange::all();
        assert!(is_within(&all, &KeyRange::from_key("x")) && is_within(&all, &KeyRange::all()));
        assert!(is_within(&all, &KeyRange::key("x")) && !is_within(&all, &KeyRange::between("x", "a")));
        let last = KeyRange::prefix(b"\xff");
        assert!(
            is_within(&last, &KeyRange::from_key(b"\xff\x01")) && !is_within(&last, &KeyRange::from_key("x"))
        );
    }
}
