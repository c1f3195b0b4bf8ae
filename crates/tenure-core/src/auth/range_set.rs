//! Sets of keys as ranges.

use crate::types::{KeyRange, RangeEnd};
use bytes::Bytes;

/// The keys of many ranges, as ranges that neither meet nor touch, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet(Vec<Span>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    start: Bytes,
    /// The first key outside; `None` if there is none.
    end: Option<Bytes>,
}

impl RangeSet {
    /// The union of ranges. Those without a key add nothing; nor does one that starts at the empty key, which is no key and which
    /// only an old etcd can have stored.
    #[must_use]
    pub fn of<'a>(ranges: impl IntoIterator<Item = &'a KeyRange>) -> Self {
        let mut spans: Vec<Span> = ranges
            .into_iter()
            .filter(|range| !range.is_empty() && !range.start.0.is_empty())
            .map(|range| Span { start: range.start.0.clone(), end: end_of(range) })
            .collect();
        spans.sort_by(|a, b| a.start.cmp(&b.start));
        let mut union: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            match union.last_mut() {
                Some(last) if last.end.as_ref().is_none_or(|end| *end >= span.start) => {
                    if last.end.is_some() && (span.end.is_none() || span.end > last.end) {
                        last.end = span.end;
                    }
                }
                _ => union.push(span),
            }
        }
        Self(union)
    }

    /// Whether every key of `range` is in the set. Of a range without keys its start must be, as etcd has it.
    #[must_use]
    pub fn contains(&self, range: &KeyRange) -> bool {
        let Some(span) = self.span_at(range.start.as_slice()) else { return false };
        let is_inside = |end: &Bytes| range.start.0 < *end;
        match &range.end {
            RangeEnd::Single => span.end.as_ref().is_none_or(is_inside),
            RangeEnd::Open => span.end.is_none(),
            RangeEnd::Before(to) => span.end.as_ref().is_none_or(|end| is_inside(end) && to.0 <= *end),
        }
    }

    /// Whether `key` is in the set.
    #[must_use]
    pub fn contains_key(&self, key: &[u8]) -> bool {
        self.span_at(key).is_some_and(|span| span.end.as_ref().is_none_or(|end| key < &end[..]))
    }

    /// The last span that starts at `key` or before it.
    fn span_at(&self, key: &[u8]) -> Option<&Span> {
        let after = self.0.partition_point(|span| span.start[..] <= *key);
        after.checked_sub(1).and_then(|at| self.0.get(at))
    }
}

fn end_of(range: &KeyRange) -> Option<Bytes> {
    match &range.end {
        // The next key there can be.
        RangeEnd::Single => Some([range.start.as_slice(), &[0]].concat().into()),
        RangeEnd::Open => None,
        RangeEnd::Before(end) => Some(end.0.clone()),
    }
}
