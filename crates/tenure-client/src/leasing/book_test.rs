//! The book against a server whose answers come in any order, late or never.

use super::*;
use crate::LeaseId;
use rand::{RngExt, SeedableRng, rngs::StdRng};

const SESSION: u64 = 1;
const REST: Duration = Duration::from_secs(2);

fn header(revision: Revision) -> ResponseHeader {
    ResponseHeader { revision, ..ResponseHeader::default() }
}

fn key(number: usize) -> Bytes {
    format!("k{number}").into()
}

fn pair(number: usize, revision: Revision) -> KeyValue {
    KeyValue { key: key(number), mod_revision: revision, version: 1, ..KeyValue::default() }
}

/// What travels to the server, and back with what it did there.
enum Message {
    Acquire { key: usize, id: u64 },
    Acquired { key: usize, id: u64, header: ResponseHeader, pair: Option<KeyValue> },
    Write { key: usize, epoch: Option<Revision>, is_delete: bool, flight: Option<Flight> },
    Written { key: usize, flight: Flight, landing: Landing, is_done: bool },
    Release { key: usize, id: u64, epoch: Revision },
    Released { key: usize, id: u64 },
}

struct Reading {
    key: usize,
    before: u64,
    floor: Revision,
}

const KEYS: usize = 3;

/// One client, its server, and somebody else who reads and writes there.
struct World {
    random: StdRng,
    book: Book,
    now: Instant,
    revision: Revision,
    /// When each key was last changed, and what it is.
    data: [(Revision, Option<KeyValue>); KEYS],
    /// The epochs of ownership keys.
    owners: [Option<Revision>; KEYS],
    /// Somebody else waits for the key.
    is_marked: [bool; KEYS],
    /// What the client's keepers know.
    kept: [Option<(u64, Revision)>; KEYS],
    is_releasing: [bool; KEYS],
    /// The newest change of each key that anybody has seen.
    seen: [Revision; KEYS],
    wire: Vec<Message>,
    readings: Vec<Reading>,
    answers: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut book = Book::new(KEYS, REST);
        book.start(SESSION);
        World {
            random: StdRng::seed_from_u64(seed),
            book,
            now: Instant::now(),
            revision: 1,
            data: [const { (1, None) }; KEYS],
            owners: [None; KEYS],
            is_marked: [false; KEYS],
            kept: [None; KEYS],
            is_releasing: [false; KEYS],
            seen: [0; KEYS],
            wire: Vec::new(),
            readings: Vec::new(),
            answers: 0,
        }
    }

    fn change(&mut self, number: usize, is_delete: bool) -> Option<KeyValue> {
        self.revision += 1;
        let pair = (!is_delete).then(|| pair(number, self.revision));
        self.data[number] = (self.revision, pair.clone());
        pair
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.random.random_range(0..300));
        let number = self.random.random_range(0..KEYS);
        match self.random.random_range(0..12) {
            0 => self.seen[number] = self.seen[number].max(self.data[number].0),
            1 if self.owners[number].is_none() => {
                self.change(number, false);
                self.seen[number] = self.data[number].0;
            }
            1 => self.is_marked[number] = true,
            2 | 3 => {
                let is_delete = self.random.random_bool(0.3);
                let flight = self.book.depart(&[key(number)], &[]);
                let epoch = flight.epoch(&key(number));
                self.wire.push(Message::Write { key: number, epoch, is_delete, flight: Some(flight) });
            }
            4 => self.give_up(),
            5..8 => {
                let (before, floor) = (self.book.flights(), self.seen[number]);
                self.readings.push(Reading { key: number, before, floor });
            }
            _ if !self.wire.is_empty() => {
                let message = self.wire.swap_remove(self.random.random_range(0..self.wire.len()));
                self.deliver(message);
            }
            _ => {}
        }
        self.keep(number);
        let readings = std::mem::take(&mut self.readings);
        self.readings = readings.into_iter().filter_map(|reading| self.read(reading)).collect();
    }

    /// The client gives up waiting for a write that may still be on its way to the server.
    fn give_up(&mut self) {
        for message in &mut self.wire {
            if let Message::Write { flight, .. } = message
                && let Some(flight) = flight.take()
            {
                return self.book.land(flight, Landing::Unknown, self.now);
            }
        }
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Acquire { key, id } => {
                let epoch = self.owners[key].is_none().then_some(self.revision + 1);
                let answer = match epoch {
                    Some(epoch) => {
                        (self.revision, self.owners[key]) = (epoch, Some(epoch));
                        Message::Acquired { key, id, header: header(epoch), pair: self.data[key].1.clone() }
                    }
                    None => Message::Released { key, id },
                };
                self.wire.push(answer);
            }
            Message::Write { key: number, epoch, is_delete, flight } => {
                let is_done = self.owners[number] == epoch;
                let landing = match is_done {
                    true => {
                        let pair = self.change(number, is_delete);
                        Landing::Done(header(self.revision), vec![(key(number), pair)])
                    }
                    false => Landing::NoEffect,
                };
                if let Some(flight) = flight {
                    self.wire.push(Message::Written { key: number, flight, landing, is_done });
                }
            }
            Message::Release { key, id, epoch } => {
                if self.owners[key] == Some(epoch) {
                    (self.owners[key], self.is_marked[key]) = (None, false);
                }
                self.wire.push(Message::Released { key, id });
            }
            Message::Acquired { key: number, id, header, pair } => {
                self.kept[number] = Some((id, header.revision));
                self.book.acquired(&key(number), id, header, pair);
            }
            Message::Written { key: number, flight, landing, is_done } => {
                if let (true, Landing::Done(header, _)) = (is_done, &landing) {
                    self.seen[number] = self.seen[number].max(header.revision);
                }
                self.book.land(flight, landing, self.now);
            }
            Message::Released { key: number, id } => {
                (self.kept[number], self.is_releasing[number]) = (None, false);
                self.book.gone(&key(number), id);
            }
        }
    }

    /// What the keeper of a key does: it sees the mark at some time, and lets go of what was evicted.
    fn keep(&mut self, number: usize) {
        let Some((id, epoch)) = self.kept[number] else { return };
        if self.is_marked[number] && self.random.random_bool(0.3) {
            self.book.evict(&key(number), id, self.now);
        }
        if self.book.epoch(&key(number)).is_none() && !self.is_releasing[number] {
            self.is_releasing[number] = true;
            self.wire.push(Message::Release { key: number, id, epoch });
        }
    }

    /// A read that is still waiting comes back.
    fn read(&mut self, reading: Reading) -> Option<Reading> {
        let name = key(reading.key);
        match self.book.read(SESSION, &name, reading.before, self.now) {
            Found::Answer(header, pair) => {
                self.answers += 1;
                let truth = &self.data[reading.key];
                let told = pair.as_ref().map_or(0, |pair| pair.mod_revision);
                let is_new_enough =
                    told >= reading.floor || (pair.is_none() && self.absent_since(&name) >= reading.floor);
                assert!(is_new_enough, "{told} after {} was seen; now {truth:?}", reading.floor);
                assert!(header.revision >= told && header.revision <= self.revision);
                self.seen[reading.key] = self.seen[reading.key].max(told);
                None
            }
            Found::Wait(_) => Some(reading),
            Found::MayAcquire => {
                if let Some((id, _)) = self.book.acquiring(SESSION, &name) {
                    self.wire.push(Message::Acquire { key: reading.key, id });
                }
                None
            }
            Found::Unknown => None,
        }
    }

    /// Since when it is known that an owned key does not exist.
    fn absent_since(&self, key: &Bytes) -> Revision {
        match self.book.entries.get(key).map(|entry| &entry.stage) {
            Some(Stage::Owned(owned)) => owned.revision,
            _ => 0,
        }
    }
}

#[test]
fn no_read_is_older_than_what_anybody_has_seen() {
    let first: u64 = rand::random();
    let mut answers = 0;
    for seed in (0..200).map(|number| first.wrapping_add(number)) {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.step();
        }
        answers += world.answers;
    }
    assert!(answers > 1000, "hardly anything is answered from memory: {answers}");
}

fn owning(keys: &[usize]) -> Book {
    let mut book = Book::new(10, REST);
    book.start(SESSION);
    for &number in keys {
        let (id, _) = book.acquiring(SESSION, &key(number)).unwrap();
        book.acquired(&key(number), id, header(10 + i64::try_from(number).unwrap()), Some(pair(number, 5)));
    }
    book
}

fn is_answer(book: &Book, number: usize) -> bool {
    matches!(book.read(SESSION, &key(number), u64::MAX, Instant::now()), Found::Answer(..))
}

#[test]
fn a_transaction_is_answered_if_all_its_keys_are_owned_and_still() {
    let mut book = owning(&[0, 1]);
    let txn = Txn::new()
        .when([Compare::version(key(0)).equal(1), Compare::mod_revision(key(1)).less(6)])
        .and_then([Op::from(Get::new(key(1))), Txn::new().or_else([Get::new(key(9))]).into()])
        .or_else([Get::new(key(9))]);
    let Evaluated::Answer(response) = book.evaluate(SESSION, &txn) else { panic!("it can be answered") };
    assert_eq!((response.succeeded, response.header.revision), (true, 11));
    assert_eq!(response.responses[0].as_get().unwrap().kvs, [pair(1, 5)]);
    assert_eq!(response.responses[1].as_txn().unwrap().header, ResponseHeader::default());
    // The branch that is not taken does not matter; the one that is does.
    let other = Txn::new().when([Compare::missing(key(0))]).or_else([Get::new(key(9))]);
    assert!(matches!(book.evaluate(SESSION, &other), Evaluated::Unknown));
    let range = Txn::new().when([Compare::exists(key(0)).prefix()]);
    assert!(matches!(book.evaluate(SESSION, &range), Evaluated::Unknown));
    let old = Txn::new().and_then([Get::new(key(0)).revision(5)]);
    assert!(matches!(book.evaluate(SESSION, &old), Evaluated::Unknown));
    let flight = book.depart(&[], &[KeyRange::prefix("k")]);
    assert_eq!(flight.owned().count(), 2);
    assert!(matches!(book.evaluate(SESSION, &txn), Evaluated::Wait(_)));
    book.land(flight, Landing::NoEffect, Instant::now());
    assert!(matches!(book.evaluate(SESSION, &txn), Evaluated::Answer(_)));
    assert!(matches!(book.evaluate(SESSION + 1, &txn), Evaluated::Unknown));
}

#[test]
fn a_key_with_a_lease_is_let_go() {
    let mut book = owning(&[0]);
    let flight = book.depart(&[key(0)], &[]);
    let leased = KeyValue { lease: LeaseId(7), ..pair(0, 20) };
    book.land(flight, Landing::Done(header(20), vec![(key(0), Some(leased))]), Instant::now());
    assert!(!is_answer(&book, 0) && book.keys_owned() == 0);
}

#[test]
fn what_a_write_has_made_of_a_key_must_be_known() {
    let mut book = owning(&[0, 1]);
    let flight = book.depart(&[key(0), key(1)], &[]);
    book.land(flight, Landing::Done(header(20), vec![(key(0), None)]), Instant::now());
    assert!(is_answer(&book, 0) && !is_answer(&book, 1));
}

#[test]
fn keys_are_as_many_as_allowed_and_rest_after_they_were_let_go() {
    let mut book = Book::new(1, REST);
    book.start(SESSION);
    let (id, _) = book.acquiring(SESSION, &key(0)).unwrap();
    assert!(book.acquiring(SESSION, &key(0)).is_none());
    assert!(book.acquiring(SESSION, &key(1)).is_none());
    let now = Instant::now();
    assert!(matches!(book.read(SESSION, &key(1), 0, now), Found::Unknown));
    book.acquired(&key(0), id, header(3), None);
    book.evict(&key(0), id, now);
    book.gone(&key(0), id);
    assert!(matches!(book.read(SESSION, &key(0), 0, now), Found::Unknown));
    assert!(matches!(book.read(SESSION, &key(1), 0, now), Found::MayAcquire));
    assert!(matches!(book.read(SESSION, &key(0), 0, now + REST), Found::MayAcquire));
    book.start(SESSION + 1);
    assert!(matches!(book.read(SESSION, &key(1), 0, now), Found::Unknown));
    assert!(book.acquiring(SESSION, &key(1)).is_none());
}
