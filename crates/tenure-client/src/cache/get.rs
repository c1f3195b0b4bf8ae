//! Reads on their way.

use super::Cache;
use crate::{GetResponse, IntoBytes, Result, Revision, SortOrder, SortTarget, kv::Get};
use futures::future::BoxFuture;
use std::future::IntoFuture;

/// A read on its way, from [`Cache::get`]. `.await` carries it out.
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
        prefix();
        /// The key and all keys after it.
        from_key();
        /// From the key to `end`, which is not part of it.
        range_end(end: impl IntoBytes);
        /// At most so many keys; 0 for all. Whether there are more is told.
        limit(keys_max: u32);
        /// As it was at this revision, which must be within the history window; 0 for now.
        revision(revision: Revision);
        /// Sorted. With a limit, the first ones of all are told.
        sort(target: SortTarget, order: SortOrder);
        /// At once, from what the copy has.
        serializable();
        /// Without values.
        keys_only();
        /// Only how many there are.
        count_only();
        /// Only keys last changed at this revision or later.
        mod_revision_min(revision: Revision);
        /// Only keys last changed at this revision or earlier.
        mod_revision_max(revision: Revision);
        /// Only keys made at this revision or later.
        create_revision_min(revision: Revision);
        /// Only keys made at this revision or earlier.
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
