//! The pages of a streamed read (reference R13).

use crate::command::{RangeQuery, SortOrder, SortTarget};
use crate::effects::RangeOutcome;
use crate::types::{Key, KvBytes, MalformedKv, Revision};
use bytes::{BufMut, BytesMut};

/// Pairs of the first page at most.
const FIRST_PAGE_PAIRS: i64 = 10;

/// A streamed read: which page to read next, and what to send of it.
///
/// Read [`RangeStream::next_page`], give the outcome to [`RangeStream::take`], send what it says, until it was
/// [`StreamPage::Last`].
///
/// In the order of keys it reads as much as it sends. In any other order the first pair may be anywhere: then it reads the range at once,
/// as a Range does and with the memory of one, and cuts the answer into pages.
#[derive(Debug)]
pub struct RangeStream {
    query: RangeQuery,
    /// `max-request-bytes`: what a page should weigh, within a factor of two.
    page_bytes: usize,
    page_pairs: i64,
    /// The revision in the header of the first page, which is the header of the whole answer.
    revision: Option<Revision>,
    sent: i64,
}

/// What to send of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamPage {
    /// Pairs, without header, `more` or `count`; another page follows.
    Part(Vec<KvBytes>),
    /// The last message: with header, `more`, and the count of the whole range.
    Last(RangeOutcome),
}

impl RangeStream {
    /// Whether a stream may have the query's order: that of the keys, or a target for which it names no order, which is ascending.
    /// (Otherwise etcd answers `Unimplemented`, `RangeStream does not support custom sort orders`.)
    #[must_use]
    pub fn allows_order_of(query: &RangeQuery) -> bool {
        match query.sort_order {
            SortOrder::None => true,
            SortOrder::Ascend => query.sort_target == SortTarget::Key,
            SortOrder::Descend => false,
        }
    }

    /// Whether a stream may have the query's filters: none. (Otherwise etcd answers `Unimplemented`,
    /// `RangeStream does not support revision filters`.)
    #[must_use]
    pub fn allows_filters_of(query: &RangeQuery) -> bool {
        query.min_mod_revision == 0
            && query.max_mod_revision == 0
            && query.min_create_revision == 0
            && query.max_create_revision == 0
    }

    /// Begins. `page_bytes` is `--max-request-bytes`.
    #[must_use]
    pub fn new(query: RangeQuery, page_bytes: usize) -> Self {
        Self { query, page_bytes, page_pairs: FIRST_PAGE_PAIRS, revision: None, sent: 0 }
    }

    /// What to read next. From the second page on the revision is pinned to that of the first, so a compaction in
    /// between refuses it ([`Compacted`](tenure_api::error::EtcdError::Compacted)).
    #[must_use]
    pub fn next_page(&self) -> RangeQuery {
        if !self.is_in_key_order() {
            return self.query.clone();
        }
        let limit = match self.pairs_left() {
            Some(left) => left.min(self.page_pairs),
            None => self.page_pairs,
        };
        RangeQuery { limit, ..self.query.clone() }
    }

    fn is_in_key_order(&self) -> bool {
        self.query.sort_target == SortTarget::Key
    }

    fn pairs_left(&self) -> Option<i64> {
        (self.query.limit > 0).then(|| self.query.limit - self.sent)
    }

    /// Takes the outcome of [`RangeStream::next_page`]: what to send of it, one after the other; at least one page.
    ///
    /// # Errors
    /// [`MalformedKv`] if a pair is none: the member must stop.
    pub fn take(&mut self, outcome: RangeOutcome) -> Result<Vec<StreamPage>, MalformedKv> {
        if self.is_in_key_order() { Ok(vec![self.take_page(outcome)?]) } else { Ok(self.cut(outcome)) }
    }

    /// The pages of a whole answer.
    fn cut(&mut self, outcome: RangeOutcome) -> Vec<StreamPage> {
        let mut pages = Vec::new();
        let mut kvs = outcome.kvs.into_iter();
        while kvs.len() as i64 > self.page_pairs {
            let page: Vec<_> = kvs.by_ref().take(self.page_pairs as usize).collect();
            self.adapt(bytes_of(&page));
            pages.push(StreamPage::Part(page));
        }
        pages.push(StreamPage::Last(RangeOutcome { kvs: kvs.collect(), ..outcome }));
        pages
    }

    fn take_page(&mut self, outcome: RangeOutcome) -> Result<StreamPage, MalformedKv> {
        let revision = *self.revision.get_or_insert(outcome.revision);
        if self.query.revision <= 0 {
            self.query.revision = revision.0;
        }
        let before = self.sent;
        self.sent += outcome.kvs.len() as i64;
        let is_full = self.pairs_left().is_some_and(|left| left <= 0);
        let last_pair = match outcome.kvs.last() {
            Some(last_pair) if outcome.more && !is_full && !self.query.count_only => last_pair,
            _ => {
                return Ok(StreamPage::Last(RangeOutcome {
                    revision,
                    count: before + outcome.count,
                    ..outcome
                }));
            }
        };
        self.query.range.start = key_after(&last_pair.view()?.key);
        self.adapt(bytes_of(&outcome.kvs));
        Ok(StreamPage::Part(outcome.kvs))
    }

    /// Lets the next page come nearer to the weight that is wanted.
    fn adapt(&mut self, bytes: usize) {
        if bytes < self.page_bytes / 2 {
            self.page_pairs = self.page_pairs.saturating_mul(2);
        } else if bytes > self.page_bytes.saturating_mul(2) {
            self.page_pairs = (self.page_pairs / 2).max(1);
        }
    }
}

fn bytes_of(kvs: &[KvBytes]) -> usize {
    kvs.iter().map(|kv| kv.0.len()).sum()
}

/// The smallest key above `key`.
fn key_after(key: &[u8]) -> Key {
    let mut after = BytesMut::with_capacity(key.len() + 1);
    after.put_slice(key);
    after.put_u8(0);
    Key(after.freeze())
}
