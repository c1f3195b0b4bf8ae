//! A second, simple opinion on what every command must do: reference 06 written down with plain maps.
//!
//! It keeps every version of every key for ever and shares no code with the core but the vocabulary of commands and answers.

mod auth;
mod members;
mod read;
mod txn;

pub use auth::Auth;
pub use members::Members;

use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use tenure_api::error::EtcdError;
use tenure_api::mvccpb;
use tenure_core::command::{
    AlarmAction, AlarmCommand, AlarmType, Command, Compact, DeleteRange, Identity, LeaseGrant, Op, Put, Txn,
};
use tenure_core::state::{AlarmEntry, DeleteOutcome, LeaseEntry, Outcome, PutOutcome, Response};
use tenure_core::types::{KeyRange, KvBytes, LeaseId, LogIndex, RangeEnd, Revision};

/// What must be true of a store after some commands.
#[derive(Clone, Debug)]
pub struct Model {
    /// Every version of every key, oldest first.
    keys: BTreeMap<Bytes, Vec<Version>>,
    revision: i64,
    compacted: i64,
    leases: BTreeMap<i64, Lease>,
    alarms: BTreeSet<AlarmEntry>,
    auth: Auth,
    /// Changes that the command that is being carried out has made.
    subs: u32,
}

#[derive(Clone, Debug)]
struct Version {
    main: i64,
    sub: u32,
    /// `None` for a deletion.
    pair: Option<mvccpb::KeyValue>,
}

#[derive(Clone, Debug)]
struct Lease {
    ttl_seconds: i64,
    remaining_ttl_seconds: i64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            keys: BTreeMap::new(),
            revision: 1,
            compacted: -1,
            leases: BTreeMap::new(),
            alarms: BTreeSet::new(),
            auth: Auth::default(),
            subs: 0,
        }
    }
}

fn contains(range: &KeyRange, key: &[u8]) -> bool {
    let start = range.start.as_slice();
    match &range.end {
        RangeEnd::Single => key == start,
        RangeEnd::Open => key >= start,
        RangeEnd::Before(end) => start <= key && key < end.as_slice(),
    }
}

/// Whether a transaction sets a key in either branch.
fn puts(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        Op::Put(_) => true,
        Op::Txn(txn) => puts(txn),
        Op::Range(_) | Op::DeleteRange(_) => false,
    })
}

fn encode(pair: &mvccpb::KeyValue) -> KvBytes {
    KvBytes(pair.encode_to_vec().into())
}

impl Model {
    /// The current revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision of the last compaction, -1 if there was none.
    #[must_use]
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// The leases, by id.
    pub fn leases(&self) -> impl Iterator<Item = LeaseEntry> + '_ {
        self.leases.iter().map(|(id, lease)| LeaseEntry {
            id: LeaseId(*id),
            ttl_seconds: lease.ttl_seconds,
            remaining_ttl_seconds: lease.remaining_ttl_seconds,
        })
    }

    /// The keys that are attached to a lease, ascending.
    #[must_use]
    pub fn keys_of(&self, lease: i64) -> Vec<Bytes> {
        let live =
            self.keys.iter().filter_map(|(key, versions)| Some((key, versions.last()?.pair.as_ref()?)));
        live.filter(|(_, pair)| lease != 0 && pair.lease == lease).map(|(key, _)| key.clone()).collect()
    }

    /// Users and roles.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Whether anything is wrong with anybody.
    #[must_use]
    pub fn has_alarm(&self) -> bool {
        !self.alarms.is_empty()
    }

    /// What is wrong, and with whom.
    pub fn alarms(&self) -> impl Iterator<Item = AlarmEntry> + '_ {
        self.alarms.iter().copied()
    }

    /// Carries out a command in somebody's name, which is the entry at `index`, and says what the answer must be.
    pub fn execute_as(&mut self, who: &Identity, index: LogIndex, command: &Command) -> Outcome {
        self.check_alarms(command)?;
        self.check_allowed(who, command)?;
        match command {
            Command::Auth(auth) => self.auth.execute(auth, index, Revision(self.revision)),
            Command::Alarm(alarm) => Ok(Response::Alarm(self.alarm(*alarm), Revision(self.revision))),
            _ => self.execute(command),
        }
    }

    /// Q3, Q5.
    fn check_alarms(&self, command: &Command) -> Result<(), EtcdError> {
        let is_raised = |kind| self.alarms.iter().any(|entry| entry.alarm == kind);
        let touches_data = matches!(
            command,
            Command::Put(_)
                | Command::DeleteRange(_)
                | Command::Txn(_)
                | Command::Compact(_)
                | Command::LeaseGrant(_)
                | Command::LeaseRevoke(_)
        );
        if touches_data && is_raised(AlarmType::Corrupt) {
            return Err(EtcdError::Corrupt);
        }
        let grows = match command {
            Command::Put(_) | Command::LeaseGrant(_) => true,
            Command::Txn(txn) => puts(txn),
            _ => false,
        };
        if grows && is_raised(AlarmType::NoSpace) { Err(EtcdError::NoSpace) } else { Ok(()) }
    }

    /// Q6.
    fn alarm(&mut self, command: AlarmCommand) -> Vec<AlarmEntry> {
        let named = command.alarm.map(|alarm| AlarmEntry { member: command.member, alarm });
        let is_done = match (command.action, named) {
            (AlarmAction::Get, _) => {
                let wanted = |entry: &&AlarmEntry| command.alarm.is_none_or(|alarm| alarm == entry.alarm);
                return self.alarms.iter().filter(wanted).copied().collect();
            }
            (AlarmAction::Activate, Some(entry)) => {
                self.alarms.insert(entry);
                true
            }
            (AlarmAction::Deactivate, Some(entry)) => self.alarms.remove(&entry),
            (_, None) => false,
        };
        named.into_iter().filter(|_| is_done).collect()
    }

    /// Carries out a command, and says what the answer must be. A refused one changes nothing.
    pub fn execute(&mut self, command: &Command) -> Outcome {
        self.subs = 0;
        let outcome = match command {
            Command::Put(put) => self.check_put(put).map(|()| Response::Put(self.put(put))),
            Command::DeleteRange(delete) => Ok(Response::DeleteRange(self.delete_range(delete))),
            Command::Txn(txn) => self.txn(txn).map(Response::Txn),
            Command::Compact(compact) => self.compact(*compact),
            Command::LeaseGrant(grant) => self.grant(*grant),
            Command::LeaseRevoke(revoke) => self.revoke(revoke.id.0),
            Command::LeaseCheckpoint(leases) => {
                for checkpoint in leases {
                    if let Some(lease) = self.leases.get_mut(&checkpoint.id.0) {
                        lease.remaining_ttl_seconds = checkpoint.remaining_ttl_seconds;
                    }
                }
                Ok(Response::Done(Revision(self.revision)))
            }
            // The rest is about members and changes nothing that is looked at here.
            _ => Ok(Response::Done(Revision(self.revision))),
        };
        self.revision = self.now();
        self.subs = 0;
        outcome
    }

    /// The revision that a header says: the next one once the command has changed something.
    fn now(&self) -> i64 {
        self.revision + i64::from(self.subs > 0)
    }

    fn write(&mut self, key: &Bytes, pair: Option<mvccpb::KeyValue>) {
        let version = Version { main: self.revision + 1, sub: self.subs, pair };
        self.keys.entry(key.clone()).or_default().push(version);
        self.subs += 1;
    }

    fn newest(&self, key: &[u8]) -> Option<&mvccpb::KeyValue> {
        self.keys.get(key)?.last()?.pair.as_ref()
    }

    /// P2, P3.
    fn check_put(&self, put: &Put) -> Result<(), EtcdError> {
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            return Err(EtcdError::LeaseNotFound);
        }
        if (put.ignore_value || put.ignore_lease) && self.newest(&put.key).is_none() {
            return Err(EtcdError::KeyNotFound);
        }
        Ok(())
    }

    fn put(&mut self, put: &Put) -> PutOutcome {
        let before = self.newest(&put.key).cloned();
        let mut pair = mvccpb::KeyValue {
            key: put.key.clone(),
            create_revision: self.revision + 1,
            mod_revision: self.revision + 1,
            version: 1,
            value: put.value.clone(),
            lease: put.lease,
        };
        if let Some(before) = &before {
            pair.create_revision = before.create_revision;
            pair.version = before.version + 1;
            if put.ignore_value {
                pair.value = before.value.clone();
            }
            if put.ignore_lease {
                pair.lease = before.lease;
            }
        }
        self.write(&put.key, Some(pair));
        let prev = before.filter(|_| put.prev_kv).map(|pair| encode(&pair));
        PutOutcome { revision: Revision(self.now()), prev }
    }

    fn delete_range(&mut self, delete: &DeleteRange) -> DeleteOutcome {
        let gone: Vec<mvccpb::KeyValue> = self
            .keys
            .iter()
            .filter(|(key, _)| contains(&delete.range, key))
            .filter_map(|(_, versions)| versions.last()?.pair.clone())
            .collect();
        for pair in &gone {
            self.write(&pair.key, None);
        }
        DeleteOutcome {
            revision: Revision(self.now()),
            deleted: gone.len() as i64,
            prev: gone.iter().filter(|_| delete.prev_kv).map(encode).collect(),
        }
    }

    /// C1.
    fn compact(&mut self, compact: Compact) -> Outcome {
        if compact.revision.0 <= self.compacted {
            return Err(EtcdError::Compacted);
        }
        if compact.revision.0 > self.revision {
            return Err(EtcdError::FutureRev);
        }
        self.compacted = compact.revision.0;
        Ok(Response::Compact(Revision(self.revision)))
    }

    /// L1.
    fn grant(&mut self, grant: LeaseGrant) -> Outcome {
        if self.leases.contains_key(&grant.id.0) {
            return Err(EtcdError::LeaseExist);
        }
        let lease = Lease { ttl_seconds: grant.ttl_seconds, remaining_ttl_seconds: 0 };
        self.leases.insert(grant.id.0, lease);
        let lease = LeaseEntry { id: grant.id, ttl_seconds: grant.ttl_seconds, remaining_ttl_seconds: 0 };
        Ok(Response::LeaseGrant { lease, revision: Revision(self.revision) })
    }

    /// L6.
    fn revoke(&mut self, id: i64) -> Outcome {
        if !self.leases.contains_key(&id) {
            return Err(EtcdError::LeaseNotFound);
        }
        for key in self.keys_of(id) {
            self.write(&key, None);
        }
        self.leases.remove(&id);
        Ok(Response::LeaseRevoke(Revision(self.now())))
    }

    /// HashKV at the current revision (reference N3): every version in the order of revisions, but of those at or before the
    /// compaction only the newest of each key that is there now, unless no key is.
    #[must_use]
    pub fn hash(&self) -> u32 {
        let kept: BTreeSet<(i64, u32)> = self
            .keys
            .values()
            .filter_map(|versions| versions.last().filter(|version| version.pair.is_some()))
            .map(|version| (version.main, version.sub))
            .collect();
        let mut all: Vec<(&Bytes, &Version)> = Vec::new();
        for (key, versions) in &self.keys {
            all.extend(self.left_by_compaction(versions).into_iter().map(|version| (key, version)));
        }
        all.sort_unstable_by_key(|(_, version)| (version.main, version.sub));
        let mut hash = crc32c::crc32c(b"key");
        for (key, Version { main, sub, pair }) in all {
            let is_old = *main <= self.compacted;
            if is_old && !kept.is_empty() && !kept.contains(&(*main, *sub))
                || *main == self.compacted && pair.is_none()
            {
                continue;
            }
            let mut at = [&main.to_be_bytes()[..], b"_", &u64::from(*sub).to_be_bytes()].concat();
            let tombstone = mvccpb::KeyValue { key: key.clone(), ..Default::default() };
            if pair.is_none() {
                at.push(b't');
            }
            hash = crc32c::crc32c_append(hash, &at);
            hash = crc32c::crc32c_append(hash, &encode(pair.as_ref().unwrap_or(&tombstone)).0);
        }
        hash
    }

    /// C3: of the versions at or before the compacted revision only the newest, and that only if it is no deletion or one
    /// of exactly this revision; all later ones.
    fn left_by_compaction<'a>(&self, versions: &'a [Version]) -> Vec<&'a Version> {
        let later =
            versions.iter().position(|version| version.main > self.compacted).unwrap_or(versions.len());
        let newest_old = versions[..later].last();
        let newest_old = newest_old.filter(|old| old.pair.is_some() || old.main == self.compacted);
        newest_old.into_iter().chain(&versions[later..]).collect()
    }
}
