//! Reading: R1 to R10.

use super::{Model, contains, encode};
use bytes::Bytes;
use std::cmp::Ordering;
use tenure_api::error::EtcdError;
use tenure_api::mvccpb;
use tenure_core::command::{RangeQuery, SortOrder, SortTarget};
use tenure_core::state::RangeOutcome;
use tenure_core::types::Revision;

impl Model {
    /// What a range must answer.
    ///
    /// # Errors
    /// R2.
    pub fn range(&self, query: &RangeQuery) -> Result<RangeOutcome, EtcdError> {
        if query.revision > self.revision {
            return Err(EtcdError::FutureRev);
        }
        if query.revision > 0 && query.revision < self.compacted {
            return Err(EtcdError::Compacted);
        }
        Ok(self.read(query))
    }

    /// What a member must answer that is at `revision` and has compacted `compacted`, whatever the model knows beyond it.
    ///
    /// # Errors
    /// R2.
    pub fn range_at(
        &self,
        query: &RangeQuery,
        revision: i64,
        compacted: i64,
    ) -> Result<RangeOutcome, EtcdError> {
        if query.revision > revision {
            return Err(EtcdError::FutureRev);
        }
        if query.revision > 0 && query.revision < compacted {
            return Err(EtcdError::Compacted);
        }
        let at = if query.revision > 0 { query.revision } else { revision };
        let outcome = self.read(&RangeQuery { revision: at, ..query.clone() });
        Ok(RangeOutcome { revision: Revision(revision), ..outcome })
    }

    pub(super) fn read(&self, query: &RangeQuery) -> RangeOutcome {
        let at = if query.revision > 0 { query.revision } else { i64::MAX };
        let mut pairs: Vec<mvccpb::KeyValue> = self
            .keys
            .iter()
            .filter(|(key, _)| contains(&query.range, key))
            .filter_map(|(_, versions)| {
                versions.iter().rev().find(|version| version.main <= at)?.pair.clone()
            })
            .collect();
        let count = pairs.len() as i64;
        let mut more = false;
        if query.count_only {
            pairs.clear();
        } else {
            more = trim(&mut pairs, query);
        }
        let kvs = pairs.iter().map(encode).collect();
        RangeOutcome { revision: Revision(self.now()), kvs, more, count }
    }
}

fn has_filters(query: &RangeQuery) -> bool {
    [query.min_mod_revision, query.max_mod_revision, query.min_create_revision, query.max_create_revision]
        != [0; 4]
}

/// Limits, filters, sorts and empties the pairs of a range; says whether the limit cut something.
fn trim(pairs: &mut Vec<mvccpb::KeyValue>, query: &RangeQuery) -> bool {
    let by_key_ascending = query.sort_target == SortTarget::Key && query.sort_order == SortOrder::Ascend;
    let limit = usize::try_from(query.limit).unwrap_or(0);
    // R5, R6.
    let limits_first = (query.sort_order == SortOrder::None || by_key_ascending) && !has_filters(query);
    if limit > 0 && limits_first {
        pairs.truncate(limit + 1);
    }
    // R8.
    pairs.retain(|pair| {
        let inside =
            |min: i64, max: i64, value: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
        inside(query.min_mod_revision, query.max_mod_revision, pair.mod_revision)
            && inside(query.min_create_revision, query.max_create_revision, pair.create_revision)
    });
    // R7: what compares equal may come in any order; here and in the core it stays in that of the keys.
    pairs.sort_by(|a, b| {
        let ordering = compare(query.sort_target, a, b);
        if query.sort_order == SortOrder::Descend { ordering.reverse() } else { ordering }
    });
    let more = limit > 0 && pairs.len() > limit;
    if more {
        pairs.truncate(limit);
    }
    if query.keys_only {
        for pair in pairs {
            pair.value = Bytes::new();
            // R10.
            if query.sort_target != SortTarget::Value {
                pair.lease = 0;
            }
        }
    }
    more
}

fn compare(target: SortTarget, a: &mvccpb::KeyValue, b: &mvccpb::KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}
