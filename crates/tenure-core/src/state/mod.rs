//! The one `apply`: from a command at a position of the log to its [`Effects`].
//!
//! `apply` only reads; everything that the command changes is in the [`WriteBatch`] of its effects, and
//! [`StateMachine::install`] is the only way in which a batch changes the state. So a refused command changes
//! nothing by construction, and what the disk holds and what memory holds come from the same value.

mod alarm;
mod auth;
mod authorize;
mod cluster;
mod compact;
mod kv;
mod lease;
mod load;
mod quota;
mod txn;

#[cfg(test)]
mod auth_model_test;
#[cfg(test)]
mod auth_test;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod script_test;
#[cfg(test)]
mod tables_test;

pub use crate::effects::{
    AlarmEntry, AuthRole, AuthUser, DeleteOutcome, Effects, Halt, LeaseEntry, LeaseEvent, OpOutcome, Outcome,
    PutOutcome, RangeOutcome, Response, TableChange, TxnOutcome, WriteBatch,
};
pub use authorize::Access;
pub use load::{LoadRun, SortedRun};
pub use quota::cost;
pub use txn::{ReadTxn, read_txn, txn_is_read_only, txn_is_serializable};

use crate::alarm::Alarms;
use crate::auth::Auth;
use crate::command::{Command, Request};
use crate::lease::Leases;
use crate::membership::Membership;
use crate::mvcc::Mvcc;
use crate::types::{
    Change, KvBytes, LeaseId, LogEntry, LogIndex, MalformedKv, Record, RecordRevision, RecordSource, Term,
    Version,
};

/// Everything that the log decides: the same on every member that has applied the same entries.
#[derive(Debug, Default)]
pub struct StateMachine {
    /// Keys, their versions, the revision.
    pub mvcc: Mvcc,
    /// Leases and what is attached to them.
    pub leases: Leases,
    /// Raised alarms.
    pub alarms: Alarms,
    /// Members, cluster version, Raft configuration.
    pub membership: Membership,
    /// Users, roles, and whether they count.
    pub auth: Auth,
    applied: LogIndex,
    term: Term,
}

impl StateMachine {
    /// An empty one of a cluster with at most `learners_max` learners (`--max-learners`).
    #[must_use]
    pub fn new(learners_max: u32) -> Self {
        let mut state = Self::default();
        state.membership.bound_learners(learners_max);
        state
    }

    /// The index of the last entry whose batch was installed.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// The term of that entry.
    #[must_use]
    pub fn applied_term(&self) -> Term {
        self.term
    }

    /// What `request`, the entry at `index` and `term`, does. Changes nothing: see [`StateMachine::install`].
    ///
    /// `records` must be able to read every record that the installed batches made.
    ///
    /// # Errors
    /// [`Halt`] if the member cannot go on: a record cannot be read or the entry does not follow the last one.
    pub fn apply(
        &self,
        records: &dyn RecordSource,
        index: LogIndex,
        term: Term,
        request: &Request,
    ) -> Result<Effects, Halt> {
        self.expect_next(index)?;
        let mut batch = WriteBatch::new(index, term);
        let refusal = alarm::refusal(self, &request.command)
            .or_else(|| self.authorize(&request.header.identity, Access::Apply(&request.command)).err());
        let outcome = match refusal {
            Some(error) => Err(error),
            None => self.dispatch(records, &mut batch, &request.command)?,
        };
        if outcome.is_err() {
            batch = WriteBatch::new(index, term);
        }
        Ok(Effects { batch, outcome })
    }

    /// What an entry without a command does: it moves the applied index.
    ///
    /// # Errors
    /// [`Halt`] if the entry does not follow the last one.
    pub fn apply_empty(&self, index: LogIndex, term: Term) -> Result<Effects, Halt> {
        self.expect_next(index)?;
        let outcome = Ok(Response::Done(self.mvcc.revision()));
        Ok(Effects { batch: WriteBatch::new(index, term), outcome })
    }

    /// What a change of the membership does: the members and the Raft configuration that follow from it. A change
    /// that every member refuses alike is an outcome, and then Raft's configuration stays as it is too.
    ///
    /// # Errors
    /// [`Halt`] if the entry does not follow the last one or holds no change of one member.
    pub fn apply_conf_change(&self, entry: &LogEntry) -> Result<Effects, Halt> {
        self.expect_next(entry.index)?;
        cluster::conf_change(self, entry)
    }

    fn expect_next(&self, index: LogIndex) -> Result<(), Halt> {
        if index == self.applied.next() {
            return Ok(());
        }
        Err(Halt(format!("log entry {index} offered for applying, but the last applied is {}", self.applied)))
    }

    fn dispatch(
        &self,
        records: &dyn RecordSource,
        batch: &mut WriteBatch,
        command: &Command,
    ) -> Result<Outcome, Halt> {
        match command {
            Command::Put(put) => kv::put(self, records, batch, put),
            Command::DeleteRange(delete) => kv::delete_range(self, records, batch, delete),
            Command::Txn(txn) => txn::txn(self, records, batch, txn),
            Command::Compact(compact) => compact::compact(self, batch, *compact),
            Command::LeaseGrant(grant) => lease::grant(self, batch, *grant),
            Command::LeaseRevoke(revoke) => lease::revoke(self, records, batch, *revoke),
            Command::LeaseCheckpoint(remaining) => lease::checkpoint(self, batch, remaining),
            Command::Alarm(alarm) => alarm::alarm(self, batch, *alarm),
            Command::ClusterVersionSet(set) => cluster::version_set(self, batch, set),
            Command::MemberAttributesSet(set) => cluster::attributes_set(self, batch, set),
            Command::DowngradeInfoSet(set) => cluster::downgrade_set(self, batch, set),
            Command::Auth(command) => auth::auth(self, batch, command),
            Command::Nothing => Ok(Ok(Response::Done(self.mvcc.revision()))),
        }
    }

    /// Makes the changes of a batch. Batches come in the order of their index, each once.
    pub fn install(&mut self, batch: &WriteBatch) {
        batch.records.iter().for_each(|record| self.install_record(record));
        batch.tables.iter().for_each(|change| self.install_table(change));
        self.applied = batch.applied();
        self.term = batch.term();
    }

    fn install_record(&mut self, record: &Record) {
        self.leases.install_record(record);
        self.mvcc.install_record(record);
    }

    fn install_table(&mut self, change: &TableChange) {
        self.mvcc.install_table(change);
        self.leases.install_table(change);
        self.alarms.install_table(change);
        self.membership.install_table(change);
        self.auth.install_table(change);
    }

    /// The rows of the tables, as the changes that make them out of nothing: what [`StateMachine::load_table`] takes up.
    #[must_use]
    pub fn tables(&self) -> Vec<TableChange> {
        let mut rows: Vec<TableChange> = self.leases.iter().map(TableChange::LeasePut).collect();
        rows.extend(self.alarms.iter(None).map(TableChange::AlarmPut));
        if self.mvcc.compacted() != Mvcc::NEVER_COMPACTED {
            rows.push(TableChange::CompactRevision(self.mvcc.compacted()));
        }
        rows.extend(self.membership.tables());
        rows.extend(self.auth.tables());
        rows
    }

    /// Takes up a row of the tables that the store holds. A recovery is: every row, in any order; every record, with
    /// [`StateMachine::load_record`]; [`StateMachine::restored`]; the entries of the WAL through `apply` and `install`; and
    /// [`Mvcc::compact_step`] from the beginning, in the background.
    pub fn load_table(&mut self, row: &TableChange) {
        self.install_table(row);
    }

    /// Takes up a record that the store holds, in ascending order of `at`. Of many, [`StateMachine::load_run`] is faster.
    ///
    /// # Errors
    /// [`MalformedKv`] if the bytes are not a pair: the store is damaged.
    pub fn load_record(
        &mut self,
        at: RecordRevision,
        tombstone: bool,
        kv: &KvBytes,
    ) -> Result<(), MalformedKv> {
        let record = Record::from_stored(at, tombstone, kv)?;
        let lease = match record.change {
            Change::Put { lease } => lease,
            Change::Delete => None,
        };
        self.load(record.key.as_slice(), record.version, lease);
        Ok(())
    }

    fn load(&mut self, key: &[u8], version: Version, lease: Option<LeaseId>) {
        self.leases.take_up(key, lease);
        self.mvcc.load_record(key, version);
    }

    /// Ends the taking up of what the store holds, with the position that its checkpoint was made at.
    pub fn restored(&mut self, applied: LogIndex, term: Term) {
        self.applied = applied;
        self.term = term;
    }
}
