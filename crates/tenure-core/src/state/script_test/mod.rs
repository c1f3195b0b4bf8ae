//! Golden scripts over the state machine and a map of records: `mvcc/testscripts/`.
//!
//! Every line is a literal command (`> put a 1`); [`parse`] has the language.

mod parse;

use super::*;
use crate::command::{Compact, LeaseGrant, LeaseRevoke, Op, RequestHeader};
use crate::mvcc::{HashScan, RangeScan, RangeStream, ReadError, StreamPage, check};
use crate::types::{Key, LeaseId, Revision, SourceError};
use parse::Tokens;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

macro_rules! scripts {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let path = concat!("src/mvcc/testscripts/", stringify!($name));
            goldenscript::run(&mut Script::default(), path).unwrap();
        }
    )*};
}

scripts! {
    range_revisions range_limit_and_sort range_filters_and_count range_keys_only range_steps range_stream
    put delete lease txn_check txn_compare txn_execute compact hash compaction_hash restart
}

type Output = Result<String, Box<dyn Error>>;

/// What the store would hold.
#[derive(Default)]
struct Store {
    records: BTreeMap<RecordRevision, (bool, KvBytes)>,
    rows: Vec<TableChange>,
}

impl RecordSource for Store {
    fn record(&self, at: RecordRevision) -> Result<KvBytes, SourceError> {
        self.records.get(&at).map(|(_, kv)| kv.clone()).ok_or(SourceError::Gone(at))
    }
}

/// A read under way.
enum Scan {
    Range(Box<RangeScan>),
    Txn(ReadTxn),
}

struct Script {
    state: StateMachine,
    store: Store,
    scans: BTreeMap<String, Scan>,
    resume: Option<Key>,
    ops_max: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            state: StateMachine::default(),
            store: Store::default(),
            scans: BTreeMap::new(),
            resume: None,
            ops_max: 128,
        }
    }
}

impl goldenscript::Runner for Script {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &goldenscript::Context) -> Output {
        let mut tokens = Tokens::of(&command.name);
        if matches!(tokens.peek(), Some("put" | "del" | "get" | "txn")) {
            return self.op(tokens.op()?);
        }
        match tokens.word()?.as_str() {
            "compact" => self.compact(tokens.number()?),
            "grant" => {
                self.apply(Command::LeaseGrant(LeaseGrant { id: LeaseId(tokens.number()?), ttl_seconds: 60 }))
            }
            "revoke" => self.apply(Command::LeaseRevoke(LeaseRevoke { id: LeaseId(tokens.number()?) })),
            "prune" => self.prune(tokens.number().ok()),
            "hash" => self.hash(tokens.number().unwrap_or(0)),
            "compaction_hash" => self.compaction_hash(tokens.number()?, tokens.number()?),
            "prune_to" => self.prune_to(tokens.number()?),
            "restart" => self.restart(),
            "records" => Ok(self.records()),
            "ops_max" => {
                self.ops_max = usize::try_from(tokens.number()?)?;
                Ok(String::new())
            }
            "cost" => Ok(cost_of(tokens.op()?)),
            "stream" => self.stream(&mut tokens),
            "scan" => self.scan(&mut tokens),
            "step" => self.step(&mut tokens),
            "finish" => self.finish(&mut tokens),
            other => Err(format!("no such command: {other}").into()),
        }
    }
}

impl Script {
    /// As the edge does it: checked, then read where that is enough, or else proposed.
    fn op(&mut self, op: Op) -> Output {
        let checked = match &op {
            Op::Range(query) => check::range(query),
            Op::Put(put) => check::put(put),
            Op::DeleteRange(delete) => check::delete_range(delete),
            Op::Txn(txn) => check::txn(txn, self.ops_max),
        };
        if let Err(error) = checked {
            return Ok(format!("refused before the proposal: {error}"));
        }
        match op {
            Op::Range(query) => {
                let outcome = crate::mvcc::range(&self.state.mvcc, &self.store, &query);
                Ok(show_read(outcome.map(|outcome| show_range(&outcome))))
            }
            Op::Txn(txn) if txn_is_read_only(&txn) => {
                let outcome = read_txn(&self.state.mvcc, &self.state.leases, &self.store, &txn);
                Ok(show_read(outcome.map(|outcome| format!("read only, {}", show_txn(&outcome, true)))))
            }
            Op::Put(put) => self.apply(Command::Put(put)),
            Op::DeleteRange(delete) => self.apply(Command::DeleteRange(delete)),
            Op::Txn(txn) => self.apply(Command::Txn(txn)),
        }
    }

    fn compact(&mut self, revision: i64) -> Output {
        self.apply(Command::Compact(Compact { revision: Revision(revision), physical: false }))
    }

    fn apply(&mut self, command: Command) -> Output {
        let request = Request { header: RequestHeader::default(), command };
        let revision = self.state.mvcc.revision();
        let effects = self.state.apply(&self.store, self.state.applied().next(), Term(1), &request)?;
        for (sub, record) in (0..).zip(&effects.batch.records) {
            assert_eq!(record.at(), RecordRevision { main: revision.next(), sub });
            self.store.records.insert(record.at(), (record.version.is_tombstone(), record.kv.clone()));
        }
        self.store.rows.extend(effects.batch.tables.iter().cloned());
        self.state.install(&effects.batch);
        Ok(match &effects.outcome {
            Ok(response) => show_response(response),
            Err(error) => {
                assert!(effects.batch.records.is_empty() && effects.batch.tables.is_empty());
                format!("refused: {error}")
            }
        })
    }

    /// One step of the compaction, or all of it.
    fn prune(&mut self, keys_max: Option<i64>) -> Output {
        let mut output = String::new();
        loop {
            let keys = usize::try_from(keys_max.unwrap_or(2))?;
            let step = self.state.mvcc.compact_step(self.resume.as_ref(), keys);
            for at in &step.removed {
                self.store.records.remove(at).ok_or("a record removed twice")?;
                write!(output, "{at} ")?;
            }
            self.resume = step.resume;
            if self.resume.is_none() || keys_max.is_some() {
                let more = if self.resume.is_some() { "there is more" } else { "end" };
                return Ok(format!("removed {output}- {more}"));
            }
        }
    }

    fn hash(&self, revision: i64) -> Output {
        match HashScan::new(&self.state.mvcc, revision) {
            Ok(scan) => self.hash_by(scan),
            Err(error) => Ok(format!("refused: {error}")),
        }
    }

    /// What the compaction at `revision` hashes, after the one at `previous`.
    fn compaction_hash(&self, previous: i64, revision: i64) -> Output {
        self.hash_by(HashScan::of_compaction(Revision(previous), Revision(revision)))
    }

    /// All of the compaction at `revision`, which later ones have followed.
    fn prune_to(&mut self, revision: i64) -> Output {
        let step = self.state.mvcc.compact_step_to(Revision(revision), None, usize::MAX);
        for at in &step.removed {
            self.store.records.remove(at).ok_or("a record removed twice")?;
        }
        let removed: Vec<String> = step.removed.iter().map(ToString::to_string).collect();
        Ok(format!("removed {}", removed.join(" ")))
    }

    fn hash_by(&self, mut scan: HashScan) -> Output {
        while !scan.step(&self.state.mvcc, 2)? {}
        let mut hasher = scan.finish();
        for (at, (tombstone, kv)) in &self.store.records {
            hasher.add(*at, *tombstone, kv);
        }
        let hash = hasher.finish();
        Ok(format!("{} compacted {} up to {}", hash.hash, hash.compacted, hash.revision))
    }

    /// Forgets everything but what the store holds.
    fn restart(&mut self) -> Output {
        let mut state = StateMachine::default();
        self.store.rows.iter().for_each(|row| state.load_table(row));
        for (at, (tombstone, kv)) in &self.store.records {
            state.load_record(*at, *tombstone, kv)?;
        }
        state.restored(self.state.applied(), Term(1));
        assert_eq!(state.mvcc.revision(), self.state.mvcc.revision());
        assert_eq!(state.mvcc.compacted(), self.state.mvcc.compacted());
        assert_eq!(state.leases, self.state.leases);
        self.state = state;
        self.resume = None;
        Ok(format!("revision {} compacted {}", self.state.mvcc.revision(), self.state.mvcc.compacted()))
    }

    fn records(&self) -> String {
        let show = |(at, (tombstone, kv)): (&RecordRevision, &(bool, KvBytes))| {
            format!("{at} {}\n", if *tombstone { format!("{} gone", key_of(kv)) } else { show_pair(kv) })
        };
        self.store.records.iter().map(show).collect()
    }

    fn stream(&self, tokens: &mut Tokens) -> Output {
        let page_bytes = usize::try_from(tokens.number()?)?;
        let Op::Range(query) = tokens.op()? else { return Err("only ranges stream".into()) };
        if !RangeStream::allows_order_of(&query) || !RangeStream::allows_filters_of(&query) {
            return Ok("refused by the edge".into());
        }
        let mut stream = RangeStream::new(query, page_bytes);
        let mut output = String::new();
        loop {
            let page = crate::mvcc::range(&self.state.mvcc, &self.store, &stream.next_page())?;
            for page in stream.take(page)? {
                match page {
                    StreamPage::Part(kvs) => writeln!(output, "part of {}: {}", kvs.len(), keys_of(&kvs))?,
                    StreamPage::Last(last) => {
                        writeln!(output, "last of {}: {}", last.kvs.len(), keys_of(&last.kvs))?;
                        return Ok(output + &show_range(&RangeOutcome { kvs: Vec::new(), ..last }));
                    }
                }
            }
        }
    }

    /// Begins a read in steps, with other commands in between.
    fn scan(&mut self, tokens: &mut Tokens) -> Output {
        let name = tokens.word()?;
        let scan = match tokens.op()? {
            Op::Range(query) => Scan::Range(Box::new(RangeScan::new(&self.state.mvcc, &query)?)),
            Op::Txn(txn) => Scan::Txn(ReadTxn::new(&self.state.mvcc, &self.state.leases, &self.store, &txn)?),
            _ => return Err("only reads scan".into()),
        };
        self.scans.insert(name, scan);
        Ok(String::new())
    }

    fn step(&mut self, tokens: &mut Tokens) -> Output {
        let (name, keys) = (tokens.word()?, usize::try_from(tokens.number()?)?);
        let progress = match self.scans.get_mut(&name).ok_or("no such scan")? {
            Scan::Range(scan) => scan.step(&self.state.mvcc, keys).map_err(ReadError::Refused),
            Scan::Txn(txn) => txn.step(&self.state.mvcc, keys),
        };
        Ok(show_read(progress.map(|progress| format!("{progress:?}"))))
    }

    fn finish(&mut self, tokens: &mut Tokens) -> Output {
        let scan = self.scans.remove(&tokens.word()?).ok_or("no such scan")?;
        Ok(show_read(match scan {
            Scan::Range(scan) => scan.finish(&self.store).map(|outcome| show_range(&outcome)),
            Scan::Txn(txn) => txn.finish(&self.store).map(|outcome| show_txn(&outcome, true)),
        }))
    }
}

fn cost_of(op: Op) -> String {
    let command = match op {
        Op::Put(put) => Command::Put(put),
        Op::Txn(txn) => Command::Txn(txn),
        Op::DeleteRange(delete) => Command::DeleteRange(delete),
        Op::Range(_) => Command::Nothing,
    };
    cost(&command).to_string()
}

fn show_read(outcome: Result<String, ReadError>) -> String {
    match outcome {
        Ok(shown) => shown,
        Err(ReadError::Refused(error)) => format!("refused: {error}"),
        Err(other) => format!("failed: {other}"),
    }
}

fn show_response(response: &Response) -> String {
    match response {
        Response::Put(outcome) => show_put(outcome),
        Response::DeleteRange(outcome) => show_delete(outcome),
        Response::Txn(outcome) => show_txn(outcome, true),
        Response::Compact(revision) => format!("rev {revision}"),
        Response::LeaseGrant { revision, .. } | Response::LeaseRevoke(revision) => format!("rev {revision}"),
        other => format!("{other:?}"),
    }
}

fn show_put(outcome: &PutOutcome) -> String {
    let prev = outcome.prev.as_ref().map(|kv| format!("\n  before: {}", show_pair(kv)));
    format!("put: rev {}{}", outcome.revision, prev.unwrap_or_default())
}

fn show_delete(outcome: &DeleteOutcome) -> String {
    let prev: String = outcome.prev.iter().map(|kv| format!("\n  before: {}", show_pair(kv))).collect();
    format!("del: rev {} deleted {}{prev}", outcome.revision, outcome.deleted)
}

fn show_range(outcome: &RangeOutcome) -> String {
    let kvs: String = outcome.kvs.iter().map(|kv| format!("\n  {}", show_pair(kv))).collect();
    let more = if outcome.more { " more" } else { "" };
    format!("get: rev {} count {}{more}{kvs}", outcome.revision, outcome.count)
}

fn show_txn(outcome: &TxnOutcome, outermost: bool) -> String {
    let responses = outcome
        .responses
        .iter()
        .map(|op| {
            let shown = match op {
                OpOutcome::Range(outcome) => show_range(outcome),
                OpOutcome::Put(outcome) => show_put(outcome),
                OpOutcome::DeleteRange(outcome) => show_delete(outcome),
                OpOutcome::Txn(outcome) => show_txn(outcome, false),
            };
            format!("\n  {}", shown.replace('\n', "\n  "))
        })
        .collect::<String>();
    let revision = if outermost { format!(" rev {}", outcome.revision) } else { String::new() };
    format!("txn:{revision} {}{responses}", if outcome.succeeded { "then" } else { "else" })
}

fn key_of(kv: &KvBytes) -> String {
    kv.view().unwrap().key.escape_ascii().to_string()
}

fn keys_of(kvs: &[KvBytes]) -> String {
    kvs.iter().map(key_of).collect::<Vec<_>>().join(" ")
}

fn show_pair(kv: &KvBytes) -> String {
    let view = kv.view().unwrap();
    let lease = if view.lease == 0 { String::new() } else { format!(" lease {}", view.lease) };
    format!(
        "{}={} create {} mod {} version {}{lease}",
        view.key.escape_ascii(),
        view.value.escape_ascii(),
        view.create_revision,
        view.mod_revision,
        view.version
    )
}
