//! What of a range a query wants, and in which order (reference R4-R8, R10).

use super::range::ReadError;
use crate::command::{RangeQuery, SortOrder, SortTarget};
use crate::types::{KvBytes, KvView, LeaseId, RecordRevision, RecordSource, Revision, Version};
use std::cmp::Ordering;

/// Records that are asked for with one call.
const RECORDS_AT_ONCE: usize = 4096;

/// The order of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// As the keys lie.
    Keys,
    /// As the keys lie, from the end.
    KeysReversed,
    /// By something else; what compares equal stays as the keys lie.
    By(SortTarget, Direction),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Ascending,
    Descending,
}

impl Direction {
    fn apply(self, ordering: Ordering) -> Ordering {
        match self {
            Direction::Ascending => ordering,
            Direction::Descending => ordering.reverse(),
        }
    }
}

/// A pair that is wanted.
#[derive(Debug)]
struct Found {
    version: Version,
    /// Only if the answer is made of keys alone.
    key: Option<Box<[u8]>>,
}

/// Collects what a query wants from the keys of its range, which are offered in ascending order.
#[derive(Debug)]
pub(super) struct Selection {
    order: Order,
    /// Pairs of the answer at most.
    limit: Option<usize>,
    /// As soon as so many are found, none of the keys to come can be in the answer.
    enough: Option<usize>,
    mod_revisions: (i64, i64),
    create_revisions: (i64, i64),
    keys_only: bool,
    found: Vec<Found>,
}

impl Selection {
    pub(super) fn new(query: &RangeQuery) -> Self {
        let order = match (query.sort_target, query.sort_order) {
            (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => Order::Keys,
            (SortTarget::Key, SortOrder::Descend) => Order::KeysReversed,
            (target, SortOrder::None | SortOrder::Ascend) => Order::By(target, Direction::Ascending),
            (target, SortOrder::Descend) => Order::By(target, Direction::Descending),
        };
        let limit = usize::try_from(query.limit).ok().filter(|limit| *limit > 0);
        // R6: with a target but no order, etcd takes the first limit + 1 keys and only then sorts them.
        let takes_first_keys =
            order == Order::Keys || query.sort_order == SortOrder::None && !has_filters(query);
        let enough = limit.filter(|_| takes_first_keys).map(|limit| limit.saturating_add(1));
        Self {
            order,
            limit,
            enough,
            mod_revisions: (query.min_mod_revision, query.max_mod_revision),
            create_revisions: (query.min_create_revision, query.max_create_revision),
            keys_only: query.keys_only,
            found: Vec::new(),
        }
    }

    /// If the answer is made of the last keys of the range only: how many of them can matter.
    pub(super) fn last_keys(&self, query: &RangeQuery) -> Option<usize> {
        self.limit
            .filter(|_| self.order == Order::KeysReversed && !has_filters(query))
            .map(|limit| limit.saturating_add(1))
    }

    /// Offers the next key, with the version that the reader sees.
    pub(super) fn offer(&mut self, key: &[u8], version: Version) {
        let inside =
            |(min, max): (i64, i64), value: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
        if !inside(self.mod_revisions, version.at.main.0) || !inside(self.create_revisions, version.created.0)
        {
            return;
        }
        // R10: an answer of keys alone needs no record, unless it is sorted by value.
        let from_index = self.keys_only && !matches!(self.order, Order::By(SortTarget::Value, _));
        let key = from_index.then(|| key.into());
        self.found.push(Found { version, key });
    }

    /// Whether no further key can matter.
    pub(super) fn is_full(&self) -> bool {
        self.enough.is_some_and(|enough| self.found.len() >= enough)
    }

    /// The pairs of the answer, and whether the limit cut it.
    pub(super) fn finish(mut self, records: &dyn RecordSource) -> Result<(Vec<KvBytes>, bool), ReadError> {
        let more = self.limit.is_some_and(|limit| self.found.len() > limit);
        let limit = self.limit.unwrap_or(usize::MAX);
        if let Order::By(SortTarget::Value, direction) = self.order {
            return Ok((self.finish_by_value(records, direction, limit)?, more));
        }
        self.sort();
        self.found.truncate(limit);
        Ok((self.pairs(records)?, more))
    }

    /// The pairs that were found, a run of records with one call: a source that knows where they lie reads neighbours at once.
    fn pairs(&self, records: &dyn RecordSource) -> Result<Vec<KvBytes>, ReadError> {
        if let [Found { version, key: None }] = &self.found[..] {
            return Ok(vec![records.record(version.at)?]);
        }
        let mut kvs = Vec::with_capacity(self.found.len());
        for run in self.found.chunks(RECORDS_AT_ONCE) {
            let from_index = run.iter().filter_map(|found| Some((found.key.as_ref()?, &found.version)));
            kvs.extend(from_index.map(|(key, version)| KvBytes::encode(key, version, &[], None)));
            let read = run.iter().filter(|found| found.key.is_none()).map(|found| found.version.at);
            let at: Vec<RecordRevision> = read.collect();
            if !at.is_empty() {
                kvs.extend(records.records(&at)?);
            }
        }
        Ok(kvs)
    }

    fn sort(&mut self) {
        match self.order {
            Order::Keys => {}
            Order::KeysReversed => self.found.reverse(),
            Order::By(target, direction) => self.found.sort_by(|a, b| {
                let by = |version: &Version| match target {
                    SortTarget::Version => version.version,
                    SortTarget::Create => version.created.0,
                    SortTarget::Mod => version.at.main.0,
                    SortTarget::Key | SortTarget::Value => 0,
                };
                direction.apply(by(&a.version).cmp(&by(&b.version)))
            }),
        }
    }

    fn finish_by_value(
        self,
        records: &dyn RecordSource,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<KvBytes>, ReadError> {
        let mut pairs = Vec::with_capacity(self.found.len());
        for kv in self.pairs(records)? {
            let view = kv.view().map_err(|malformed| ReadError::Damaged(malformed.to_string()))?;
            pairs.push((kv, view));
        }
        pairs.sort_by(|(_, a), (_, b)| direction.apply(a.value.cmp(&b.value)));
        pairs.truncate(limit);
        Ok(pairs
            .into_iter()
            .map(|(kv, view)| if self.keys_only { without_value(&view) } else { kv })
            .collect())
    }
}

/// The pair without its value, its lease included.
fn without_value(view: &KvView) -> KvBytes {
    let version = Version {
        at: RecordRevision::first_of(Revision(view.mod_revision)),
        created: Revision(view.create_revision),
        version: view.version,
    };
    KvBytes::encode(&view.key, &version, &[], (view.lease != 0).then_some(LeaseId(view.lease)))
}

fn has_filters(query: &RangeQuery) -> bool {
    query.min_mod_revision != 0
        || query.max_mod_revision != 0
        || query.min_create_revision != 0
        || query.max_create_revision != 0
}
