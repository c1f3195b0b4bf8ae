//! Answers from memory, as a server would give them.

use super::{Compare, Get, GetResponse, SortOrder, SortTarget};
use crate::{KeyValue, ResponseHeader};
use bytes::Bytes;
use std::cmp::Ordering;
use tenure_api::etcdserverpb::compare::{CompareResult, TargetUnion};

/// Answers a read from the pairs of its range, which come by key. Of the options of the read, range and revision are the caller's.
pub(crate) fn answer<'a>(
    get: &Get,
    header: ResponseHeader,
    pairs: impl IntoIterator<Item = &'a KeyValue>,
) -> GetResponse {
    let mut count = 0;
    let mut kvs: Vec<&KeyValue> = Vec::new();
    for pair in pairs {
        count += 1;
        if !get.is_count_only && passes(get, pair) {
            kvs.push(pair);
        }
    }
    let (target, order) = get.sort.unwrap_or_default();
    match (target, order) {
        (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => {}
        (_, SortOrder::Descend) => kvs.sort_by(|a, b| compare_by(target, b, a)),
        // Sorted by something, in no order: a server takes that for ascending.
        _ => kvs.sort_by(|a, b| compare_by(target, a, b)),
    }
    let limit = usize::try_from(get.limit).unwrap_or(usize::MAX);
    let more = limit > 0 && kvs.len() > limit;
    if more {
        kvs.truncate(limit);
    }
    let told = |pair: &KeyValue| match get.is_keys_only {
        true => KeyValue { value: Bytes::new(), ..pair.clone() },
        false => pair.clone(),
    };
    GetResponse { header, kvs: kvs.into_iter().map(told).collect(), more, count }
}

fn passes(get: &Get, pair: &KeyValue) -> bool {
    let is_between = |revision, min, max| revision >= min && (max == 0 || revision <= max);
    is_between(pair.mod_revision, get.mod_revision_min, get.mod_revision_max)
        && is_between(pair.create_revision, get.create_revision_min, get.create_revision_max)
}

fn compare_by(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::CreateRevision => a.create_revision.cmp(&b.create_revision),
        SortTarget::ModRevision => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}

/// Whether a condition on one key holds for its pair.
pub(crate) fn holds(condition: &Compare, pair: Option<&KeyValue>) -> bool {
    let absent = KeyValue::default();
    let of = pair.unwrap_or(&absent);
    let ordering = match &condition.target {
        TargetUnion::Version(version) => of.version.cmp(version),
        TargetUnion::CreateRevision(revision) => of.create_revision.cmp(revision),
        TargetUnion::ModRevision(revision) => of.mod_revision.cmp(revision),
        TargetUnion::Lease(lease) => of.lease.0.cmp(lease),
        // What does not exist has no value, not even an empty one.
        TargetUnion::Value(_) if pair.is_none() => return false,
        TargetUnion::Value(value) => of.value.cmp(value),
    };
    match condition.result {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::NotEqual => ordering.is_ne(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LeaseId, Op};

    fn pair(key: &'static str, value: &'static str, create: i64, modified: i64) -> KeyValue {
        KeyValue {
            key: key.into(),
            value: value.into(),
            create_revision: create,
            mod_revision: modified,
            version: 1,
            lease: LeaseId(0),
        }
    }

    fn told(get: Get) -> (String, bool, u64) {
        let pairs = [pair("a", "z", 1, 4), pair("b", "y", 2, 2), pair("c", "x", 3, 3)];
        let answer = answer(&get, ResponseHeader::default(), &pairs);
        let keys = answer.kvs.iter().map(|pair| pair.key_text().into_owned()).collect::<Vec<_>>().join(" ");
        (keys, answer.more, answer.count)
    }

    #[test]
    fn a_read_is_answered_as_by_a_server() {
        let get = || Op::get("").prefix();
        assert_eq!(told(get()), ("a b c".into(), false, 3));
        assert_eq!(told(get().limit(2)), ("a b".into(), true, 3));
        assert_eq!(told(get().limit(3)), ("a b c".into(), false, 3));
        assert_eq!(told(get().count_only().limit(1)), (String::new(), false, 3));
        assert_eq!(told(get().sort(SortTarget::Value, SortOrder::None)), ("c b a".into(), false, 3));
        assert_eq!(told(get().sort(SortTarget::Key, SortOrder::Descend).limit(1)), ("c".into(), true, 3));
        assert_eq!(told(get().last_modified()), ("a".into(), true, 3));
        assert_eq!(told(get().mod_revision_min(3)), ("a c".into(), false, 3));
        assert_eq!(told(get().mod_revision_max(3).create_revision_min(3)), ("c".into(), false, 3));
        assert_eq!(told(get().create_revision_max(1)), ("a".into(), false, 3));
        let keys_only = answer(&get().keys_only(), ResponseHeader::default(), &[pair("a", "z", 1, 4)]);
        assert_eq!((keys_only.kvs[0].value.len(), keys_only.kvs[0].mod_revision), (0, 4));
    }

    #[test]
    fn conditions_on_what_does_not_exist() {
        assert!(holds(&Compare::missing("a"), None));
        assert!(holds(&Compare::lease("a").equal(LeaseId(0)), None));
        assert!(!holds(&Compare::value("a").equal(""), None));
        assert!(!holds(&Compare::value("a").not_equal("x"), None));
        let there = pair("a", "z", 1, 4);
        assert!(holds(&Compare::value("a").greater("y"), Some(&there)));
        assert!(holds(&Compare::mod_revision("a").less(5), Some(&there)));
        assert!(!holds(&Compare::create_revision("a").not_equal(1), Some(&there)));
        assert!(holds(&Compare::exists("a"), Some(&there)));
    }
}
