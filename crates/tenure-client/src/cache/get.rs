//! Reads on their way.

use super::Cache;
use crate::{GetResponse, IntoBytes, Result, Revision, SortOrder, SortTarget, kv::Get};
use futures::future::BoxFuture;
use std::future::IntoFuture;

/// A read on its way, from [`Cache::get`]. `.await` carries it out.
///
/// ```no_run
/// # async fn example(cache: &tenure_client::cache::Cache) -> tenure_client::Result<()> {
/// let page = cache.get("app/").prefix().limit(10).await?;
/// println!("{} of {} keys", page.kvs.len(), page.count);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct CacheGet<'a> {
    cache: &'a Cache,
    get: Get,
}

macro_rules! options {
    ($($(#[$doc:meta])* $option:ident($($argument:ident: $type:ty),*);)*) => {
        $($(#[$doc])*
        pub fn $option(mut self $(, $argument: $type)*) -> Self {
            self.get = self.get.$option($($argument),*);
            self
        })*
    };
}

impl<'a> CacheGet<'a> {
    pub(super) fn new(cache: &'a Cache, get: Get) -> Self {
        CacheGet { cache, get }
    }

    options! {
        /// All keys that begin with the key; all keys if it is empty.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// let all = cache.get("app/").prefix().await?;
        /// println!("{} keys", all.count);
        /// # Ok(())
        /// # }
        /// ```
        prefix();

        /// The key and all keys after it.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// // Only a cache of all keys has all of these.
        /// let page = cache.get("m").from_key().limit(100).await?;
        /// println!("{} of {}", page.kvs.len(), page.count);
        /// # Ok(())
        /// # }
        /// ```
        from_key();

        /// From the key to `end`, which is not part of it.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// let first_half = cache.get("app/a").range_end("app/n").await?;
        /// println!("{} keys", first_half.count);
        /// # Ok(())
        /// # }
        /// ```
        range_end(end: impl IntoBytes);

        /// At most so many keys; 0 for all. Whether there are more is told.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// let page = cache.get("app/").prefix().limit(10).await?;
        /// println!("{} of {} keys", page.kvs.len(), page.count);
        /// # Ok(())
        /// # }
        /// ```
        limit(keys_max: u32);

        /// As it was at this revision, which must be within the history window; 0 for now.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// let now = cache.get("app/mode").await?;
        /// let before = cache.get("app/mode").revision(now.header.revision - 1).await?;
        /// println!("{:?}, before {:?}", now.first(), before.first());
        /// # Ok(())
        /// # }
        /// ```
        revision(revision: Revision);

        /// Sorted. With a limit, the first ones of all are told.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// use tenure_client::{SortOrder, SortTarget};
        ///
        /// let latest = cache.get("app/").prefix().sort(SortTarget::ModRevision, SortOrder::Descend).limit(10).await?;
        /// println!("{:?}", latest.kvs);
        /// # Ok(())
        /// # }
        /// ```
        sort(target: SortTarget, order: SortOrder);

        /// At once, from what the copy has.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// // No request is made.
        /// let mode = cache.get("app/mode").serializable().await?;
        /// println!("{:?} as of revision {}", mode.first(), mode.header.revision);
        /// # Ok(())
        /// # }
        /// ```
        serializable();

        /// Without values.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// for pair in cache.get("app/").prefix().keys_only().await?.kvs {
        ///     println!("{}", pair.key_text());
        /// }
        /// # Ok(())
        /// # }
        /// ```
        keys_only();

        /// Only how many there are.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// println!("{} keys", cache.get("app/").prefix().count_only().await?.count);
        /// # Ok(())
        /// # }
        /// ```
        count_only();

        /// Only keys last changed at this revision or later.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// let seen = cache.get("app/").prefix().await?.header.revision;
        /// // Later: what was changed since.
        /// let changed = cache.get("app/").prefix().mod_revision_min(seen + 1).await?;
        /// println!("{} changed", changed.kvs.len());
        /// # Ok(())
        /// # }
        /// ```
        mod_revision_min(revision: Revision);

        /// Only keys last changed at this revision or earlier.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// let untouched = cache.get("app/").prefix().mod_revision_max(cache.revision() - 10_000).await?;
        /// println!("{} keys that nobody wrote lately", untouched.kvs.len());
        /// # Ok(())
        /// # }
        /// ```
        mod_revision_max(revision: Revision);

        /// Only keys made at this revision or later.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// let start = cache.revision();
        /// // Later: what was made since.
        /// let new = cache.get("app/").prefix().create_revision_min(start + 1).await?;
        /// println!("{} new keys", new.kvs.len());
        /// # Ok(())
        /// # }
        /// ```
        create_revision_min(revision: Revision);

        /// Only keys made at this revision or earlier.
        ///
        /// ```no_run
        /// # async fn example(cache: tenure_client::cache::Cache) -> tenure_client::Result<()> {
        /// let old = cache.get("app/").prefix().create_revision_max(cache.revision() - 10_000).await?;
        /// println!("{} old keys", old.kvs.len());
        /// # Ok(())
        /// # }
        /// ```
        create_revision_max(revision: Revision);
    }
}

impl<'a> IntoFuture for CacheGet<'a> {
    type Output = Result<GetResponse>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.cache.read(self.get))
    }
}
