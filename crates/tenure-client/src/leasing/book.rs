//! Which keys are owned, what they hold, and which writes to them are under way. Nothing here waits or sends.

use crate::{
    GetResponse, KeyRange, KeyValue, OpResponse, ResponseHeader, Revision, TxnResponse,
    kv::{Compare, Get, Op, Txn, answer, holds},
};
use bytes::Bytes;
use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};

/// Resting keys that are kept before those that have rested are forgotten.
const RESTING_KEYS: usize = 1024;

/// What the client knows of a key of its own.
struct Entry {
    /// Tells this entry from earlier ones of the same key.
    id: u64,
    stage: Stage,
    /// Tells the keeper of the key to let go of it.
    release: Arc<Notify>,
}

enum Stage {
    /// It was asked for.
    Acquiring,
    Owned(Owned),
    /// It is being let go. Nothing is answered, and nobody else may have it yet.
    Releasing,
}

struct Owned {
    /// The revision at which the ownership key was made.
    epoch: Revision,
    /// The pair, as it is since `revision`.
    pair: Option<KeyValue>,
    revision: Revision,
    flights: Vec<Approaching>,
}

/// A write on its way, as its keys see it.
struct Approaching {
    number: u64,
    landed: watch::Receiver<()>,
}

/// Writes on their way.
pub(super) struct Waiting(Vec<watch::Receiver<()>>);

impl Waiting {
    /// Ends when none of them is on its way any more.
    pub(super) async fn landed(self) {
        for mut landed in self.0 {
            // Nothing is ever sent: the end of the write is the end of the channel.
            drop(landed.changed().await);
        }
    }
}

/// What the book has to say to a read.
pub(super) enum Found {
    /// This is what the key holds.
    Answer(ResponseHeader, Option<KeyValue>),
    /// Only once these writes have come down.
    Wait(Waiting),
    /// The key may be acquired.
    MayAcquire,
    /// The server has to be asked.
    Unknown,
}

/// What the book has to say to a transaction.
pub(super) enum Evaluated {
    Answer(TxnResponse),
    Wait(Waiting),
    Unknown,
}

/// A write on its way.
pub(super) struct Flight {
    number: u64,
    _landed: watch::Sender<()>,
    /// Owned keys that it writes, with their epochs.
    keys: Vec<(Bytes, Revision)>,
}

impl Flight {
    /// The epoch of a key that it writes; nothing if the key is not owned.
    pub(super) fn epoch(&self, key: &[u8]) -> Option<Revision> {
        self.keys.iter().find(|(owned, _)| owned == key).map(|(_, epoch)| *epoch)
    }

    /// The owned keys that it writes.
    pub(super) fn owned(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.iter().map(|(key, _)| key)
    }
}

/// How a write ended.
pub(super) enum Landing {
    /// It surely changed nothing.
    NoEffect,
    /// It was carried out. Of these keys it is known what they are now; other owned keys that it wrote are let go.
    Done(ResponseHeader, Vec<(Bytes, Option<KeyValue>)>),
    /// It was, or will be, or will not be carried out.
    Unknown,
}

pub(super) struct Book {
    /// The session whose keys these are.
    session: u64,
    entries: HashMap<Bytes, Entry>,
    keys_max: usize,
    /// How long a key is not acquired after it was let go, or found to belong to somebody else: who wants to write it gets a turn.
    rest: Duration,
    /// Since when keys are not to be acquired.
    resting: HashMap<Bytes, Instant>,
    /// The newest one that was seen.
    header: ResponseHeader,
    flights: u64,
    ids: u64,
}

impl Book {
    pub(super) fn new(keys_max: usize, rest: Duration) -> Self {
        Book {
            session: 0,
            entries: HashMap::new(),
            keys_max,
            rest,
            resting: HashMap::new(),
            header: ResponseHeader::default(),
            flights: 0,
            ids: 0,
        }
    }

    /// Everything that was owned belongs to a session that is over; from now on keys are of this one.
    pub(super) fn start(&mut self, session: u64) {
        self.session = session;
        self.entries.clear();
    }

    pub(super) fn keys_owned(&self) -> usize {
        self.entries.values().filter(|entry| matches!(entry.stage, Stage::Owned(_))).count()
    }

    /// Takes note of an answer of the server.
    pub(super) fn see(&mut self, header: ResponseHeader) {
        if header.revision > self.header.revision {
            self.header = header;
        }
    }

    /// Writes that start from now on have this number or a greater one.
    pub(super) fn flights(&self) -> u64 {
        self.flights
    }

    /// Reads a key. Only writes before the given number have to be waited for: others began after the read.
    pub(super) fn read(&self, session: u64, key: &[u8], before: u64, now: Instant) -> Found {
        if session != self.session {
            return Found::Unknown;
        }
        let Some(entry) = self.entries.get(key) else {
            let is_resting = self.resting.get(key).is_some_and(|since| now < *since + self.rest);
            let may_acquire = !is_resting && self.entries.len() < self.keys_max;
            return if may_acquire { Found::MayAcquire } else { Found::Unknown };
        };
        let Stage::Owned(owned) = &entry.stage else { return Found::Unknown };
        let waiting = owned.approaching(before);
        if waiting.is_empty() {
            Found::Answer(self.header_of(owned), owned.pair.clone())
        } else {
            Found::Wait(Waiting(waiting))
        }
    }

    /// The header of an answer from memory. A write on its way may have changed the key before the newest revision that is known.
    fn header_of(&self, owned: &Owned) -> ResponseHeader {
        let revision = if owned.flights.is_empty() { self.header.revision } else { owned.revision };
        ResponseHeader { revision: revision.max(owned.revision), ..self.header }
    }

    /// A key is asked for: its entry's number, and what tells its keeper to let go of it. Nothing if that is not to be.
    pub(super) fn acquiring(&mut self, session: u64, key: &Bytes) -> Option<(u64, Arc<Notify>)> {
        if session != self.session || self.entries.len() >= self.keys_max {
            return None;
        }
        let hash_map::Entry::Vacant(vacant) = self.entries.entry(key.clone()) else { return None };
        self.ids += 1;
        let release = Arc::new(Notify::new());
        vacant.insert(Entry { id: self.ids, stage: Stage::Acquiring, release: release.clone() });
        Some((self.ids, release))
    }

    /// A key that was asked for is owned since the header's revision, and holds this.
    pub(super) fn acquired(&mut self, key: &[u8], id: u64, header: ResponseHeader, pair: Option<KeyValue>) {
        self.see(header);
        if let Some(entry) = self.entry(key, id) {
            let (epoch, revision) = (header.revision, header.revision);
            entry.stage = Stage::Owned(Owned { epoch, pair, revision, flights: Vec::new() });
        }
    }

    /// A key is to be let go: nothing is answered from memory any more. Its keeper does the rest.
    pub(super) fn evict(&mut self, key: &[u8], id: u64, now: Instant) {
        if let Some(entry) = self.entry(key, id) {
            entry.stage = Stage::Releasing;
            self.rest(key, now);
        }
    }

    /// [`Book::evict`] by epoch; tells the keeper.
    pub(super) fn evict_epoch(&mut self, key: &[u8], epoch: Revision, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if matches!(&entry.stage, Stage::Owned(owned) if owned.epoch == epoch) {
            entry.stage = Stage::Releasing;
            entry.release.notify_one();
            self.rest(key, now);
        }
    }

    /// A key is not this client's any more, or was never.
    pub(super) fn gone(&mut self, key: &[u8], id: u64) {
        if self.entry(key, id).is_some() {
            self.entries.remove(key);
        }
    }

    /// A key is not to be acquired for a while.
    pub(super) fn rest(&mut self, key: &[u8], now: Instant) {
        if self.resting.len() >= RESTING_KEYS {
            let rest = self.rest;
            self.resting.retain(|_, since| now < *since + rest);
        }
        self.resting.insert(Bytes::copy_from_slice(key), now);
    }

    fn entry(&mut self, key: &[u8], id: u64) -> Option<&mut Entry> {
        self.entries.get_mut(key).filter(|entry| entry.id == id)
    }

    /// The epoch of a key that is owned.
    pub(super) fn epoch(&self, key: &[u8]) -> Option<Revision> {
        match &self.entries.get(key)?.stage {
            Stage::Owned(owned) => Some(owned.epoch),
            _ => None,
        }
    }

    /// A write of these keys and ranges starts. Until it has landed, owned keys among them are not read.
    pub(super) fn depart<'a>(
        &mut self,
        keys: impl IntoIterator<Item = &'a Bytes>,
        ranges: &[KeyRange],
    ) -> Flight {
        let (sender, landed) = watch::channel(());
        let mut flight = Flight { number: self.flights, _landed: sender, keys: Vec::new() };
        self.flights += 1;
        let mut board = |key: &Bytes, entry: &mut Entry| {
            if let Stage::Owned(owned) = &mut entry.stage
                && owned.flights.last().is_none_or(|last| last.number != flight.number)
            {
                owned.flights.push(Approaching { number: flight.number, landed: landed.clone() });
                flight.keys.push((key.clone(), owned.epoch));
            }
        };
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                board(key, entry);
            }
        }
        if !ranges.is_empty() {
            for (key, entry) in &mut self.entries {
                if ranges.iter().any(|range| range.contains(key)) {
                    board(key, entry);
                }
            }
        }
        flight
    }

    /// A write has ended.
    pub(super) fn land(&mut self, flight: Flight, landing: Landing, now: Instant) {
        if let Landing::Done(header, _) = &landing {
            self.see(*header);
        }
        for (key, epoch) in &flight.keys {
            let Some(Entry { stage: Stage::Owned(owned), .. }) = self.entries.get_mut(key) else { continue };
            if owned.epoch != *epoch {
                continue;
            }
            owned.flights.retain(|approaching| approaching.number != flight.number);
            let is_known = match &landing {
                Landing::NoEffect => true,
                Landing::Unknown => false,
                Landing::Done(header, pairs) => match pairs.iter().find(|(told, _)| told == key) {
                    Some((_, pair)) => owned.change(header.revision, pair.as_ref()),
                    None => false,
                },
            };
            if !is_known {
                self.evict_epoch(key, *epoch, now);
            }
        }
    }

    /// Answers a transaction that reads only, if all keys that matter are owned. No write to one of them may be on its way: all are
    /// read at one moment.
    pub(super) fn evaluate(&self, session: u64, txn: &Txn) -> Evaluated {
        if session != self.session {
            return Evaluated::Unknown;
        }
        let mut waiting = Vec::new();
        let response = self.evaluated(txn, &mut waiting);
        match response {
            None => Evaluated::Unknown,
            Some(_) if !waiting.is_empty() => Evaluated::Wait(Waiting(waiting)),
            Some(response) => Evaluated::Answer(TxnResponse { header: self.header, ..response }),
        }
    }

    fn evaluated(&self, txn: &Txn, waiting: &mut Vec<watch::Receiver<()>>) -> Option<TxnResponse> {
        let mut succeeded = true;
        for condition in &txn.conditions {
            succeeded &= self.holds(condition, waiting)?;
        }
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let responses = ops.iter().map(|op| match op {
            Op::Get(get) => {
                let header = ResponseHeader { revision: self.header.revision, ..ResponseHeader::default() };
                let pair = self.owned_pair(get, waiting)?;
                Some(OpResponse::Get(answer(get, header, pair)))
            }
            // A server tells nothing in the header of a transaction inside another one.
            Op::Txn(txn) => self.evaluated(txn, waiting).map(OpResponse::Txn),
            Op::Put(_) | Op::Delete(_) => None,
        });
        let responses = responses.collect::<Option<Vec<OpResponse>>>()?;
        Some(TxnResponse { header: ResponseHeader::default(), succeeded, responses })
    }

    fn holds(&self, condition: &Compare, waiting: &mut Vec<watch::Receiver<()>>) -> Option<bool> {
        let owned = self.owned(&condition.range, waiting)?;
        Some(holds(condition, owned.pair.as_ref()))
    }

    fn owned_pair(&self, get: &Get, waiting: &mut Vec<watch::Receiver<()>>) -> Option<Option<&KeyValue>> {
        if get.revision != 0 {
            return None;
        }
        Some(self.owned(&get.range, waiting)?.pair.as_ref())
    }

    fn owned(&self, range: &KeyRange, waiting: &mut Vec<watch::Receiver<()>>) -> Option<&Owned> {
        let entry = self.entries.get(&range.key).filter(|_| range.is_single())?;
        let Stage::Owned(owned) = &entry.stage else { return None };
        waiting.extend(owned.approaching(u64::MAX));
        Some(owned)
    }
}

impl Owned {
    fn approaching(&self, before: u64) -> Vec<watch::Receiver<()>> {
        let flights = self.flights.iter().filter(|approaching| approaching.number < before);
        flights.map(|approaching| approaching.landed.clone()).collect()
    }

    /// The key was written. Answers may come in another order than the writes were carried out. Whether what the key holds is
    /// still known: a key with a lease can go away by itself.
    fn change(&mut self, revision: Revision, pair: Option<&KeyValue>) -> bool {
        if revision > self.revision {
            self.revision = revision;
            self.pair = pair.cloned();
        }
        self.pair.as_ref().is_none_or(|pair| pair.lease.0 == 0)
    }
}

/// Answers a read of one key.
pub(super) fn answered(get: &Get, header: ResponseHeader, pair: Option<&KeyValue>) -> GetResponse {
    answer(get, header, pair)
}

#[cfg(test)]
#[path = "book_test.rs"]
mod tests;
