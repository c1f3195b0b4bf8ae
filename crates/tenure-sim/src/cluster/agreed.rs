//! What members agree on: the log as whoever came first has applied it, and what it must have done.

use crate::check::{Change, History, Lease, LeaseEvent};
use crate::member::Failure;
use crate::model::{Auth, Members, Model};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tenure_core::command::{Command, Request};
use tenure_core::state::{Outcome, Response, TableChange, WriteBatch};
use tenure_core::types::{
    ConfChange, ConfChangeKind, EntryKind, KvBytes, LogEntry, LogIndex, MemberId, RecordRevision, RequestId,
};

/// An entry that somebody has applied: nobody may ever apply another there, nor make something else of it.
#[derive(Debug)]
struct Done {
    entry: LogEntry,
    outcome: Outcome,
    records: Vec<(RecordRevision, bool, KvBytes)>,
    tables: Vec<TableChange>,
}

/// What followed from an entry that nobody had applied before.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing to be done about.
    Nothing,
    /// A member is to be started.
    Added(MemberId),
    /// A member has to go.
    Removed(MemberId),
}

/// The agreed log.
#[derive(Debug, Default)]
pub struct Agreed {
    /// Entry n is at place n-1.
    done: Vec<Done>,
    pub model: Model,
    members: Members,
    /// Users and roles from each entry on that has changed them.
    auths: BTreeMap<LogIndex, Auth>,
    /// What clients asked for, and what is not applied of it.
    issued: BTreeMap<RequestId, Command>,
    refused: BTreeSet<RequestId>,
    /// The hash of the keys and the tables, where somebody has looked.
    states: BTreeMap<LogIndex, (u32, Vec<TableChange>)>,
    pub history: History,
    /// Places of leases in the history.
    leases: BTreeMap<i64, usize>,
}

impl Agreed {
    pub fn last(&self) -> LogIndex {
        LogIndex(self.done.len() as u64)
    }

    pub fn issue(&mut self, id: RequestId, command: Command) {
        self.issued.insert(id, command);
    }

    /// Notes that a request was refused, and so must not be applied. Others than those of clients do not matter.
    pub fn refuse(&mut self, id: RequestId) -> Result<(), Failure> {
        if self.issued.remove(&id).is_some() {
            self.refused.insert(id);
            return Ok(());
        }
        let is_applied = self.history.changes.iter().any(|change| change.by == Some(id.0));
        if is_applied { Err(format!("{id:x?} is refused and was applied")) } else { Ok(()) }
    }

    /// An entry of somebody's log that is committed, as far as he knows.
    pub fn check_logged(&self, entry: &LogEntry) -> Result<(), Failure> {
        match self.done.get(entry.index.0 as usize - 1) {
            Some(done) if done.entry != *entry => {
                Err(format!("entry {} was {:?} and is {entry:?}", entry.index, done.entry))
            }
            _ => Ok(()),
        }
    }

    /// A member has applied an entry at `now`.
    pub fn applied(
        &mut self,
        now: Duration,
        entry: LogEntry,
        request: Option<Request>,
        outcome: Outcome,
        batch: &WriteBatch,
    ) -> Result<News, Failure> {
        let place = entry.index.0 as usize - 1;
        let records = batch.records.iter();
        let records: Vec<_> =
            records.map(|record| (record.at(), record.version.is_tombstone(), record.kv.clone())).collect();
        let tables = batch.tables.clone();
        let done = Done { entry, outcome, records, tables };
        if let Some(known) = self.done.get(place) {
            return known.must_be(&done).map(|()| News::Nothing);
        }
        if place != self.done.len() {
            return Err(format!("entry {} is applied after {} others", done.entry.index, self.done.len()));
        }
        let by = request.as_ref().map(|request| request.header.id);
        let by = by.filter(|id| self.issued.contains_key(id));
        if done.entry.kind == EntryKind::ConfChange {
            self.check_conf_change(&done)?;
        }
        if let Some(Request { header, command }) = request {
            self.check_asked(header.id, &command)?;
            let expected = self.model.execute_as(&header.identity, done.entry.index, &command);
            if matches!(command, Command::Auth(_)) {
                self.auths.insert(done.entry.index, self.model.auth().clone());
            }
            if done.outcome != expected {
                let who = header.identity;
                return Err(format!(
                    "{command:?} of {who:?} must be {expected:?}, but is {:?}",
                    done.outcome
                ));
            }
            self.note_lease(now, &command, &done.outcome, by.is_some());
        }
        for record in &batch.records {
            let by = by.map(|id| id.0);
            let pair = (!record.version.is_tombstone()).then(|| record.kv.0.clone());
            let key = Bytes::copy_from_slice(record.key.as_slice());
            self.history.changes.push(Change { revision: record.at().main.0, by, key, pair });
        }
        let news = done.news();
        self.done.push(done);
        Ok(news)
    }

    fn check_conf_change(&mut self, done: &Done) -> Result<(), Failure> {
        let change = ConfChange::decode(done.entry.data.clone()).map_err(|error| error.to_string())?;
        let expected = self.members.change(&change);
        let found = done.outcome.as_ref().map(|_| ()).map_err(|error| *error);
        if found == expected {
            Ok(())
        } else {
            Err(format!("{change:?} must be {expected:?}, but is {found:?}"))
        }
    }

    /// Users and roles as a member has them that has applied everything up to `index`.
    pub fn auth_at(&self, index: LogIndex) -> Auth {
        self.auths.range(..=index).next_back().map(|(_, auth)| auth.clone()).unwrap_or_default()
    }

    /// An entry is what a client asked for, once, or what a leader does by itself.
    fn check_asked(&mut self, id: RequestId, command: &Command) -> Result<(), Failure> {
        if self.refused.contains(&id) {
            return Err(format!("{command:?} was refused and is applied"));
        }
        match (self.issued.remove(&id), command) {
            (Some(issued), _) if issued == *command => Ok(()),
            (Some(issued), _) => Err(format!("{issued:?} became {command:?}")),
            (None, Command::LeaseRevoke(_) | Command::LeaseCheckpoint(_) | Command::ClusterVersionSet(_)) => {
                Ok(())
            }
            (None, _) => Err(format!("nobody asked for {command:?}, or it is applied twice")),
        }
    }

    fn note_lease(&mut self, now: Duration, command: &Command, outcome: &Outcome, by_client: bool) {
        match (command, outcome) {
            (Command::LeaseGrant(grant), Ok(Response::LeaseGrant { .. })) => {
                let ttl = Duration::from_secs(grant.ttl_seconds as u64);
                let events = vec![LeaseEvent::Granted { at: now, ttl }];
                self.leases.insert(grant.id.0, self.history.leases.len());
                self.history.leases.push(Lease { id: grant.id.0, events });
            }
            (Command::LeaseRevoke(revoke), Ok(_)) => {
                self.lease_event(revoke.id.0, LeaseEvent::Ended { at: now, has_expired: !by_client });
            }
            _ => {}
        }
    }

    /// Notes what became of a lease that exists, or did.
    pub fn lease_event(&mut self, id: i64, event: LeaseEvent) {
        if let Some(place) = self.leases.get(&id) {
            self.history.leases[*place].events.push(event);
        }
    }

    /// Somebody who has applied everything up to `index` has this: so must everybody have who has.
    pub fn check_state(
        &mut self,
        index: LogIndex,
        hash: u32,
        tables: Vec<TableChange>,
    ) -> Result<(), Failure> {
        if index > self.last() {
            return Err(format!("a state holds entry {index}, and only {} are applied", self.last()));
        }
        if index == self.last() && hash != self.model.hash() {
            return Err(format!(
                "the hash at entry {index} is {hash:08x}, and must be {:08x}",
                self.model.hash()
            ));
        }
        let found = (hash, tables);
        let known = self.states.entry(index).or_insert_with(|| found.clone());
        if *known == found {
            return Ok(());
        }
        Err(format!("at entry {index} one member has {known:x?}, another {found:x?}"))
    }
}

impl Done {
    fn must_be(&self, other: &Done) -> Result<(), Failure> {
        let is_same = self.entry == other.entry
            && self.outcome == other.outcome
            && self.records == other.records
            && self.tables == other.tables;
        if is_same { Ok(()) } else { Err(format!("one member has applied {self:?}, another {other:?}")) }
    }

    fn news(&self) -> News {
        if self.entry.kind != EntryKind::ConfChange || self.outcome.is_err() {
            return News::Nothing;
        }
        match ConfChange::decode(self.entry.data.clone()) {
            Ok(change) => match change.kind {
                ConfChangeKind::Remove => News::Removed(change.member),
                ConfChangeKind::AddVoter | ConfChangeKind::AddLearner => News::Added(change.member),
                ConfChangeKind::Update => News::Nothing,
            },
            Err(_) => News::Nothing,
        }
    }
}
