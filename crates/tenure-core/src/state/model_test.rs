//! The state machine against a model that keeps a whole map for every revision and does everything the naive way.

use super::*;
use crate::command::{
    Compact, Compare, CompareResult, CompareTarget, DeleteRange, LeaseGrant, LeaseRevoke, Op, Put,
    RangeQuery, RequestHeader, SortOrder, SortTarget, Txn,
};
use crate::mvcc::{RangeScan, ReadError, ScanProgress, check, range};
use crate::types::{Key, KeyRange, LeaseId, Revision, SourceError, Version};
use bytes::Bytes;
use proptest::prelude::*;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use tenure_api::error::EtcdError;

const KEYS: &[&str] = &["a", "aa", "ab", "b", "b\0", "c", "ca", "d", "e", "f"];

type Pairs = BTreeMap<Bytes, (Version, Bytes, i64)>;

/// Every revision as a map.
struct Model {
    revisions: Vec<Pairs>,
    compacted: i64,
    leases: BTreeSet<i64>,
}

/// A command on its way through the model.
struct Working<'a> {
    model: &'a Model,
    pairs: Pairs,
    wrote: u32,
}

impl Model {
    fn revision(&self) -> i64 {
        self.revisions.len() as i64 - 1
    }

    fn now(&self) -> &Pairs {
        self.revisions.last().unwrap()
    }

    fn begin(&self) -> Working<'_> {
        Working { model: self, pairs: self.now().clone(), wrote: 0 }
    }

    fn check_revision(&self, revision: i64) -> Result<i64, EtcdError> {
        match revision {
            named if named > self.revision() => Err(EtcdError::FutureRev),
            named if named > 0 && named < self.compacted => Err(EtcdError::Compacted),
            named if named > 0 => Ok(named),
            _ => Ok(self.revision()),
        }
    }

    fn range(&self, query: &RangeQuery) -> Result<RangeOutcome, EtcdError> {
        let at = self.check_revision(query.revision)?;
        Ok(range_of(&self.revisions[at as usize], query, self.revision()))
    }

    fn holds(&self, compare: &Compare) -> bool {
        let found: Vec<_> = self.now().iter().filter(|(key, _)| compare.range.contains(key)).collect();
        let missing =
            (Version { at: RecordRevision::default(), created: Revision(0), version: 0 }, Bytes::new(), 0);
        let one = |(version, value, lease): &(Version, Bytes, i64)| {
            let ordering = match &compare.target {
                CompareTarget::Version(operand) => version.version.cmp(operand),
                CompareTarget::Create(operand) => version.created.0.cmp(operand),
                CompareTarget::Mod(operand) => version.at.main.0.cmp(operand),
                CompareTarget::Lease(operand) => lease.cmp(operand),
                CompareTarget::Value(operand) => value.cmp(operand),
                CompareTarget::Unknown => Ordering::Equal,
            };
            match compare.result {
                Some(CompareResult::Equal) => ordering == Ordering::Equal,
                Some(CompareResult::NotEqual) => ordering != Ordering::Equal,
                Some(CompareResult::Greater) => ordering == Ordering::Greater,
                Some(CompareResult::Less) => ordering == Ordering::Less,
                None => true,
            }
        };
        if found.is_empty() {
            return !matches!(compare.target, CompareTarget::Value(_)) && one(&missing);
        }
        found.iter().all(|(_, pair)| one(pair))
    }

    /// Replaces every transaction by the operations of the branch that runs.
    fn flatten(&self, txn: &Txn) -> Flat {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let ops = ops.iter().map(|op| match op {
            Op::Txn(inner) => FlatOp::Txn(self.flatten(inner)),
            other => FlatOp::Op(other.clone()),
        });
        Flat { succeeded, ops: ops.collect() }
    }

    fn check(&self, flat: &Flat) -> Result<(), EtcdError> {
        for op in &flat.ops {
            match op {
                FlatOp::Txn(inner) => self.check(inner)?,
                FlatOp::Op(Op::Range(query)) if query.revision > self.revision() => {
                    return Err(EtcdError::FutureRev);
                }
                FlatOp::Op(Op::Range(query)) if query.revision != 0 && query.revision < self.compacted => {
                    return Err(EtcdError::Compacted);
                }
                FlatOp::Op(Op::Put(put)) => self.begin().check_put(put)?,
                FlatOp::Op(_) => {}
            }
        }
        Ok(())
    }
}

struct Flat {
    succeeded: bool,
    ops: Vec<FlatOp>,
}

enum FlatOp {
    Op(Op),
    Txn(Flat),
}

impl Working<'_> {
    fn revision(&self) -> Revision {
        Revision(self.model.revision() + i64::from(self.wrote > 0))
    }

    fn check_put(&self, put: &Put) -> Result<(), EtcdError> {
        if put.lease != 0 && !self.model.leases.contains(&put.lease) {
            return Err(EtcdError::LeaseNotFound);
        }
        if (put.ignore_lease || put.ignore_value) && !self.pairs.contains_key(&put.key) {
            return Err(EtcdError::KeyNotFound);
        }
        Ok(())
    }

    fn put(&mut self, put: &Put) -> Result<PutOutcome, EtcdError> {
        self.check_put(put)?;
        let at = RecordRevision { main: Revision(self.model.revision() + 1), sub: self.wrote };
        self.wrote += 1;
        let before = self.pairs.get(&put.key).cloned();
        let version = match &before {
            Some((before, ..)) => Version { at, created: before.created, version: before.version + 1 },
            None => Version { at, created: at.main, version: 1 },
        };
        let value = if put.ignore_value { before.clone().unwrap().1 } else { put.value.clone() };
        let lease = if put.ignore_lease { before.clone().unwrap().2 } else { put.lease };
        self.pairs.insert(put.key.clone(), (version, value, lease));
        let prev = before.filter(|_| put.prev_kv).map(|pair| encode(&put.key, &pair));
        Ok(PutOutcome { revision: self.revision(), prev })
    }

    fn delete(&mut self, delete: &DeleteRange) -> DeleteOutcome {
        let gone: Vec<_> = self.pairs.extract_if(.., |key, _| delete.range.contains(key)).collect();
        self.wrote += gone.len() as u32;
        let prev = gone.iter().filter(|_| delete.prev_kv).map(|(key, pair)| encode(key, pair)).collect();
        DeleteOutcome { revision: self.revision(), deleted: gone.len() as i64, prev }
    }

    fn range(&self, query: &RangeQuery) -> Result<RangeOutcome, EtcdError> {
        let at = self.model.check_revision(query.revision)?;
        let pairs = if query.revision > 0 { &self.model.revisions[at as usize] } else { &self.pairs };
        Ok(range_of(pairs, query, self.revision().0))
    }

    fn run(&mut self, flat: &Flat) -> Result<TxnOutcome, EtcdError> {
        let mut responses = Vec::new();
        for op in &flat.ops {
            responses.push(match op {
                FlatOp::Txn(inner) => OpOutcome::Txn(self.run(inner)?),
                FlatOp::Op(Op::Put(put)) => OpOutcome::Put(self.put(put)?),
                FlatOp::Op(Op::DeleteRange(delete)) => OpOutcome::DeleteRange(self.delete(delete)),
                FlatOp::Op(Op::Range(query)) => OpOutcome::Range(self.range(query)?),
                FlatOp::Op(Op::Txn(_)) => unreachable!("flattened"),
            });
        }
        Ok(TxnOutcome { revision: self.revision(), succeeded: flat.succeeded, responses })
    }
}

fn encode(key: &[u8], (version, value, lease): &(Version, Bytes, i64)) -> KvBytes {
    KvBytes::encode(key, version, value, (*lease != 0).then_some(LeaseId(*lease)))
}

/// R4-R10 as the reference words them.
fn range_of(pairs: &Pairs, query: &RangeQuery, revision: i64) -> RangeOutcome {
    let mut found: Vec<_> = pairs.iter().filter(|(key, _)| query.range.contains(key)).collect();
    let count = found.len() as i64;
    if query.count_only {
        return RangeOutcome { revision: Revision(revision), count, ..RangeOutcome::default() };
    }
    let limit = if query.limit > 0 { query.limit as usize } else { usize::MAX };
    let bounds = [
        query.max_mod_revision,
        query.min_mod_revision,
        query.max_create_revision,
        query.min_create_revision,
    ];
    let default_order = query.sort_order == SortOrder::None
        || (query.sort_target, query.sort_order) == (SortTarget::Key, SortOrder::Ascend);
    if default_order && bounds == [0; 4] {
        found.truncate(limit.saturating_add(1));
    }
    found.retain(|(_, (version, ..))| {
        let (modified, created) = (version.at.main.0, version.created.0);
        (bounds[0] == 0 || modified <= bounds[0])
            && (bounds[1] == 0 || modified >= bounds[1])
            && (bounds[2] == 0 || created <= bounds[2])
            && (bounds[3] == 0 || created >= bounds[3])
    });
    found.sort_by(|(a_key, a), (b_key, b)| {
        let ordering = match query.sort_target {
            SortTarget::Key => a_key.cmp(b_key),
            SortTarget::Version => a.0.version.cmp(&b.0.version),
            SortTarget::Create => a.0.created.cmp(&b.0.created),
            SortTarget::Mod => a.0.at.main.cmp(&b.0.at.main),
            SortTarget::Value => a.1.cmp(&b.1),
        };
        if query.sort_order == SortOrder::Descend { ordering.reverse() } else { ordering }
    });
    let more = found.len() > limit;
    found.truncate(limit);
    let shown = found.iter().map(|(key, (version, value, lease))| {
        let lease = if query.keys_only && query.sort_target != SortTarget::Value { 0 } else { *lease };
        let value = if query.keys_only { Bytes::new() } else { value.clone() };
        encode(key, &(*version, value, lease))
    });
    RangeOutcome { revision: Revision(revision), kvs: shown.collect(), more, count }
}

#[derive(Default)]
struct Store(BTreeMap<RecordRevision, (bool, KvBytes)>);

impl RecordSource for Store {
    fn record(&self, at: RecordRevision) -> Result<KvBytes, SourceError> {
        self.0.get(&at).map(|(_, kv)| kv.clone()).ok_or(SourceError::Gone(at))
    }
}

/// The real thing beside the model.
struct Pair {
    state: StateMachine,
    store: Store,
    rows: Vec<TableChange>,
    resume: Option<Key>,
    model: Model,
    scan: Option<(RangeScan, RangeQuery)>,
}

#[derive(Clone, Debug)]
enum Step {
    Op(Op),
    Compact(i64),
    Prune(usize),
    Grant(i64),
    Revoke(i64),
    Restart,
    Scan(RangeQuery),
    ScanOn(usize),
}

impl Pair {
    fn new() -> Self {
        let model = Model { revisions: vec![Pairs::new(); 2], compacted: -1, leases: BTreeSet::new() };
        Self {
            state: StateMachine::default(),
            store: Store::default(),
            rows: Vec::new(),
            resume: None,
            model,
            scan: None,
        }
    }

    fn apply(&mut self, command: Command) -> Outcome {
        let request = Request { header: RequestHeader::default(), command };
        let effects = self.state.apply(&self.store, self.state.applied().next(), Term(1), &request).unwrap();
        let records = effects.batch.records.iter();
        self.store
            .0
            .extend(records.map(|record| (record.at(), (record.version.is_tombstone(), record.kv.clone()))));
        self.rows.extend(effects.batch.tables.iter().cloned());
        self.state.install(&effects.batch);
        effects.outcome
    }

    fn write(&mut self, op: Op, expected: Result<(Response, Pairs, u32), EtcdError>) {
        let outcome = self.apply(match op {
            Op::Put(put) => Command::Put(put),
            Op::DeleteRange(delete) => Command::DeleteRange(delete),
            Op::Txn(txn) => Command::Txn(txn),
            Op::Range(_) => unreachable!("a read"),
        });
        assert_eq!(outcome, expected.as_ref().map(|(response, ..)| response.clone()).map_err(|error| *error));
        if let Ok((_, pairs, wrote)) = expected
            && wrote > 0
        {
            self.model.revisions.push(pairs);
        }
    }

    fn op(&mut self, op: Op) {
        let mut working = self.model.begin();
        match &op {
            Op::Range(query) => {
                let outcome = range(&self.state.mvcc, &self.store, query);
                assert_eq!(read_outcome(outcome), self.model.range(query));
            }
            Op::Put(put) => {
                let outcome = working.put(put).map(Response::Put);
                let expected = outcome.map(|outcome| (outcome, working.pairs, working.wrote));
                self.write(op, expected);
            }
            Op::DeleteRange(delete) => {
                let expected = Response::DeleteRange(working.delete(delete));
                let expected = Ok((expected, working.pairs, working.wrote));
                self.write(op, expected);
            }
            Op::Txn(txn) if check::txn(txn, 128).is_err() => {}
            Op::Txn(txn) => {
                let flat = self.model.flatten(txn);
                let outcome = self.model.check(&flat).and_then(|()| working.run(&flat));
                if txn_is_read_only(txn) {
                    let read = read_txn(&self.state.mvcc, &self.state.leases, &self.store, txn);
                    assert_eq!(read_outcome(read), outcome);
                    return;
                }
                let outcome = outcome.map(Response::Txn);
                let expected = outcome.map(|outcome| (outcome, working.pairs, working.wrote));
                self.write(op, expected);
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Op(op) => self.op(op),
            Step::Compact(revision) => {
                let outcome =
                    self.apply(Command::Compact(Compact { revision: Revision(revision), physical: false }));
                let expected = match revision {
                    _ if revision <= self.model.compacted => Err(EtcdError::Compacted),
                    _ if revision > self.model.revision() => Err(EtcdError::FutureRev),
                    _ => Ok(Response::Compact(Revision(self.model.revision()))),
                };
                if outcome.is_ok() {
                    self.model.compacted = revision;
                }
                assert_eq!(outcome, expected);
            }
            Step::Prune(keys) => {
                let pruned = self.state.mvcc.compact_step(self.resume.as_ref(), keys);
                for at in pruned.removed {
                    assert!(self.store.0.remove(&at).is_some());
                }
                self.resume = pruned.resume;
            }
            Step::Grant(id) => {
                let granted = self.apply(Command::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl_seconds: 9 }));
                assert_eq!(granted.is_ok(), self.model.leases.insert(id));
            }
            Step::Revoke(id) => self.revoke(id),
            Step::Restart => self.restart(),
            Step::Scan(query) => {
                if let Ok(scan) = RangeScan::new(&self.state.mvcc, &query) {
                    self.scan = Some((scan, query));
                }
            }
            Step::ScanOn(keys) => self.scan_step(keys),
        }
    }

    fn revoke(&mut self, id: i64) {
        let outcome = self.apply(Command::LeaseRevoke(LeaseRevoke { id: LeaseId(id) }));
        if !self.model.leases.remove(&id) {
            assert_eq!(outcome, Err(EtcdError::LeaseNotFound));
            return;
        }
        let mut pairs = self.model.now().clone();
        pairs.retain(|_, (.., lease)| *lease != id);
        if pairs.len() < self.model.now().len() {
            self.model.revisions.push(pairs);
        }
        assert_eq!(outcome, Ok(Response::LeaseRevoke(Revision(self.model.revision()))));
    }

    fn restart(&mut self) {
        let mut state = StateMachine::default();
        self.rows.iter().for_each(|row| state.load_table(row));
        for (at, (tombstone, kv)) in &self.store.0 {
            state.load_record(*at, *tombstone, kv).unwrap();
        }
        state.restored(self.state.applied(), Term(1));
        assert_eq!(state.leases, self.state.leases);
        assert_eq!(state.mvcc.revision(), self.state.mvcc.revision());
        self.state = state;
        self.resume = None;
        self.scan = None;
    }

    /// One step of the read under way; at its end it must have read its revision, however old that is by now.
    fn scan_step(&mut self, keys: usize) {
        let Some((mut scan, query)) = self.scan.take() else { return };
        match scan.step(&self.state.mvcc, keys) {
            Err(error) => {
                assert_eq!(error, EtcdError::Compacted);
                assert!(query.revision > 0 && query.revision < self.model.compacted);
            }
            Ok(ScanProgress::More) => self.scan = Some((scan, query)),
            Ok(ScanProgress::Done) => {
                let at = scan.revision();
                let expected = range_of(&self.model.revisions[at.0 as usize], &query, 0);
                match scan.finish(&self.store) {
                    Ok(outcome) => assert_eq!(RangeOutcome { revision: Revision(0), ..outcome }, expected),
                    // Its records can only be gone if a compaction went past it.
                    Err(_) => assert!(at.0 < self.model.compacted),
                }
            }
        }
    }
}

fn read_outcome<T>(outcome: Result<T, ReadError>) -> Result<T, EtcdError> {
    outcome.map_err(|error| match error {
        ReadError::Refused(error) => error,
        other => panic!("{other}"),
    })
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(KEYS).prop_map(|key| Bytes::from_static(key.as_bytes()))
}

fn key_range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        4 => key().prop_map(|key| KeyRange::single(Key(key))),
        4 => (key(), key()).prop_map(|(a, b)| KeyRange::from_wire(a, b)),
        1 => key().prop_map(|key| KeyRange::from_wire(key, Bytes::from_static(&[0]))),
        1 => Just(KeyRange::everything()),
    ]
}

fn put() -> impl Strategy<Value = Put> {
    (key(), "[xyz]{0,2}", -2..12i64, any::<bool>(), 0..12u8).prop_map(
        |(key, value, lease, prev_kv, ignore)| {
            let ignore_value = ignore == 0;
            let ignore_lease = ignore < 2;
            Put {
                key,
                value: if ignore_value { Bytes::new() } else { value.into() },
                lease: if ignore_lease || lease > 3 { 0 } else { lease },
                prev_kv,
                ignore_value,
                ignore_lease,
            }
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRange> {
    (key_range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRange { range, prev_kv })
}

fn query() -> impl Strategy<Value = RangeQuery> {
    let bound = || prop_oneof![5 => Just(0i64), 1 => 1..120i64];
    let order = prop_oneof![Just(SortOrder::None), Just(SortOrder::Ascend), Just(SortOrder::Descend)];
    let target = prop_oneof![
        4 => Just(SortTarget::Key),
        1 => Just(SortTarget::Version),
        1 => Just(SortTarget::Create),
        1 => Just(SortTarget::Mod),
        1 => Just(SortTarget::Value),
    ];
    let revision = prop_oneof![3 => Just(0i64), 3 => -2..150i64];
    let shape = (key_range(), 0..5i64, revision, any::<bool>(), 0..8u8);
    (shape, order, target, (bound(), bound(), bound(), bound())).prop_map(|(shape, order, target, bounds)| {
        RangeQuery {
            limit: shape.1,
            revision: shape.2,
            sort_order: order,
            sort_target: target,
            keys_only: shape.3,
            count_only: shape.4 == 0,
            min_mod_revision: bounds.0,
            max_mod_revision: bounds.1,
            min_create_revision: bounds.2,
            max_create_revision: bounds.3,
            ..RangeQuery::of(shape.0)
        }
    })
}

fn compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        (0..4i64).prop_map(CompareTarget::Version),
        (0..60i64).prop_map(CompareTarget::Create),
        (0..60i64).prop_map(CompareTarget::Mod),
        (-2..4i64).prop_map(CompareTarget::Lease),
        "[xyz]{0,2}".prop_map(|value| CompareTarget::Value(value.into())),
        Just(CompareTarget::Unknown),
    ];
    let result = prop_oneof![
        Just(Some(CompareResult::Equal)),
        Just(Some(CompareResult::NotEqual)),
        Just(Some(CompareResult::Greater)),
        Just(Some(CompareResult::Less)),
        Just(None),
    ];
    (key_range(), target, result).prop_map(|(range, target, result)| Compare { range, target, result })
}

fn txn() -> impl Strategy<Value = Op> {
    let op = prop_oneof![
        3 => put().prop_map(Op::Put),
        1 => delete().prop_map(Op::DeleteRange),
        2 => query().prop_map(Op::Range),
    ];
    let of = |op: BoxedStrategy<Op>| {
        let compares = prop::collection::vec(compare(), 0..2);
        let branch = || prop::collection::vec(op.clone(), 0..4);
        (compares, branch(), branch())
            .prop_map(|(compare, success, failure)| Op::Txn(Txn { compare, success, failure }))
    };
    let inner = of(op.clone().boxed());
    of(prop_oneof![2 => op, 1 => inner].boxed())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => put().prop_map(|put| Step::Op(Op::Put(put))),
        5 => delete().prop_map(|delete| Step::Op(Op::DeleteRange(delete))),
        20 => query().prop_map(|query| Step::Op(Op::Range(query))),
        15 => txn().prop_map(Step::Op),
        1 => (-2..120i64).prop_map(Step::Compact),
        4 => (1..4usize).prop_map(Step::Prune),
        2 => (-2..4i64).prop_filter("0 is no lease", |id| *id != 0).prop_map(Step::Grant),
        1 => (-2..4i64).prop_filter("0 is no lease", |id| *id != 0).prop_map(Step::Revoke),
        1 => Just(Step::Restart),
        4 => query().prop_map(Step::Scan),
        12 => (1..5usize).prop_map(Step::ScanOn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    // A failure prints the steps that lead to it, shrunk to the fewest.
    #[test]
    fn does_what_a_map_for_every_revision_does(steps in prop::collection::vec(step(), 1..200)) {
        let mut pair = Pair::new();
        for step in steps {
            pair.step(step);
        }
    }
}
