//! Options of a cache.

use super::Cache;
use crate::{Client, Error, KeyRange, Result};
use std::time::Duration;

/// What [`CacheBuilder`] sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub history_revisions_max: usize,
    pub watch_responses_max: usize,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    pub page_timeout: Duration,
    pub wait_timeout: Duration,
    pub progress_request_interval: Duration,
    pub progress_notify_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            history_revisions_max: 2048,
            watch_responses_max: 10,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            page_timeout: Duration::from_secs(5),
            wait_timeout: Duration::from_secs(3),
            progress_request_interval: Duration::from_millis(100),
            progress_notify_interval: Duration::from_secs(10 * 60),
        }
    }
}

/// How a cache is to be, from [`Cache::builder`].
///
/// Two options of Go's cache are missing: watchers read the history at their own pace, so nothing has to be resynced at an
/// interval, and the copy's tree has no degree.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
/// use tenure_client::cache::Cache;
///
/// let cache = Cache::builder(&client, "app/")
///     .history_revisions_max(10_000)
///     .wait_timeout(Duration::from_secs(1))
///     .open()?;
/// cache.wait_ready().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is opened"]
pub struct CacheBuilder {
    client: Client,
    range: KeyRange,
    config: Config,
}

impl CacheBuilder {
    pub(super) fn new(client: &Client, range: KeyRange) -> Self {
        CacheBuilder { client: client.clone(), range, config: Config::default() }
    }

    /// The changes of so many revisions are remembered: how far back reads and watches can begin. Default: 2048.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::cache::Cache;
    ///
    /// // Watches may fall behind by so many changes before they end.
    /// let cache = Cache::builder(&client, "app/").history_revisions_max(10_000).open()?;
    /// # drop(cache);
    /// # Ok(())
    /// # }
    /// ```
    pub fn history_revisions_max(mut self, revisions: usize) -> Self {
        self.config.history_revisions_max = revisions;
        self
    }

    /// A watch takes at most so many responses at once from the history, and keeps them however long they wait. Default: 10.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::cache::Cache;
    ///
    /// let cache = Cache::builder(&client, "app/").watch_responses_max(100).open()?;
    /// # drop(cache);
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch_responses_max(mut self, responses: usize) -> Self {
        self.config.watch_responses_max = responses;
        self
    }

    /// The pause after a failure to copy or to watch doubles from the first to the second. Default: 50 ms and 2 s.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::cache::Cache;
    ///
    /// let cache = Cache::builder(&client, "app/").backoff(Duration::from_millis(100), Duration::from_secs(10)).open()?;
    /// # drop(cache);
    /// # Ok(())
    /// # }
    /// ```
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        (self.config.backoff_min, self.config.backoff_max) = (min, max);
        self
    }

    /// How long the server may take for a page of the copy, 1000 keys. Default: 5 s.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::cache::Cache;
    ///
    /// // Values are large, and the line is slow.
    /// let cache = Cache::builder(&client, "blobs/").page_timeout(Duration::from_secs(60)).open()?;
    /// # drop(cache);
    /// # Ok(())
    /// # }
    /// ```
    pub fn page_timeout(mut self, timeout: Duration) -> Self {
        self.config.page_timeout = timeout;
        self
    }

    /// How long a read waits for the copy at most. Default: 3 s.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::{Error, cache::Cache};
    ///
    /// let cache = Cache::builder(&client, "app/").wait_timeout(Duration::from_millis(500)).open()?;
    /// if let Err(Error::CacheBehind { revision, .. }) = cache.get("app/mode").await {
    ///     println!("revision {revision} is not here yet: make do with an older one, or ask later");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.config.wait_timeout = timeout;
        self
    }

    /// While reads wait, the server is asked again how far the watch is if it has not answered for so long. Default: 100 ms.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::cache::Cache;
    ///
    /// let cache = Cache::builder(&client, "app/").progress_request_interval(Duration::from_millis(20)).open()?;
    /// # drop(cache);
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress_request_interval(mut self, interval: Duration) -> Self {
        self.config.progress_request_interval = interval;
        self
    }

    /// A watch that wants progress notifications gets one when nothing else came for so long. Default: 10 min.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::cache::Cache;
    ///
    /// let cache = Cache::builder(&client, "app/").progress_notify_interval(Duration::from_secs(60)).open()?;
    /// # drop(cache);
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress_notify_interval(mut self, interval: Duration) -> Self {
        self.config.progress_notify_interval = interval;
        self
    }

    /// Starts to copy. Must be called within a Tokio runtime. It does not wait for the copy: see [`Cache::wait_ready`].
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Error, cache::Cache};
    ///
    /// let useless = Cache::builder(&client, "app/").history_revisions_max(0).open();
    /// assert!(matches!(useless, Err(Error::Invalid(_))));
    /// let cache = Cache::builder(&client, "app/").open()?;
    /// # drop(cache);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if an option makes no sense.
    pub fn open(self) -> Result<Cache> {
        let config = self.config;
        if config.history_revisions_max == 0 || config.watch_responses_max == 0 {
            return Err(Error::invalid(
                "cache: a history or a watch buffer of nothing: allow for 1 revision and 1 response at least",
            ));
        }
        let durations = [
            config.backoff_min,
            config.page_timeout,
            config.progress_request_interval,
            config.progress_notify_interval,
        ];
        if durations.iter().any(Duration::is_zero) || config.backoff_max < config.backoff_min {
            return Err(Error::invalid(
                "cache: an interval of nothing, or a backoff whose end is less than its beginning: make it longer",
            ));
        }
        Ok(Cache::start(&self.client, self.range, config))
    }
}
