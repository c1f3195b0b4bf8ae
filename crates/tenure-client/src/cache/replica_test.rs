//! The copy against a store that remembers everything.

use super::*;
use crate::{LeaseId, Op};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Every state that there ever was.
#[derive(Default)]
struct Model {
    states: BTreeMap<Revision, BTreeMap<Bytes, KeyValue>>,
    events: Vec<Event>,
    revision: Revision,
}

impl Model {
    fn state(&self, at: Revision) -> BTreeMap<Bytes, KeyValue> {
        self.states.range(..=at).next_back().map(|(_, state)| state.clone()).unwrap_or_default()
    }

    /// A revision with some changes.
    fn step(&mut self, random: &mut StdRng) -> Vec<Event> {
        self.revision += random.random_range(1..4);
        let (revision, before) = (self.revision, self.state(self.revision));
        let mut state = before.clone();
        let mut events = Vec::new();
        for _ in 0..random.random_range(1..4) {
            let key: Bytes = format!("p/{}", random.random_range(0..6)).into();
            if events.iter().any(|event: &Event| event.kv.key == key) {
                continue;
            }
            let prev_kv = before.get(&key).cloned();
            if prev_kv.is_some() && random.random_bool(0.4) {
                state.remove(&key);
                let kv = KeyValue { key, mod_revision: revision, ..KeyValue::default() };
                events.push(Event { kind: EventKind::Delete, kv, prev_kv });
            } else {
                let kv = KeyValue {
                    value: format!("{revision}").into(),
                    create_revision: prev_kv.as_ref().map_or(revision, |pair| pair.create_revision),
                    mod_revision: revision,
                    version: prev_kv.as_ref().map_or(1, |pair| pair.version + 1),
                    lease: LeaseId(0),
                    key: key.clone(),
                };
                state.insert(key, kv.clone());
                events.push(Event { kind: EventKind::Put, kv, prev_kv });
            }
        }
        self.states.insert(revision, state);
        self.events.extend(events.clone());
        events
    }
}

fn header(revision: Revision) -> ResponseHeader {
    ResponseHeader { revision, ..ResponseHeader::default() }
}

fn response(revision: Revision, events: Vec<Event>) -> WatchResponse {
    WatchResponse { header: header(revision), events, created: false }
}

fn without_prev(events: &[Event]) -> Vec<Event> {
    events.iter().map(|event| Event { prev_kv: None, ..event.clone() }).collect()
}

fn range(random: &mut StdRng) -> KeyRange {
    let key = |random: &mut StdRng| format!("p/{}", random.random_range(0..7));
    match random.random_range(0..3) {
        0 => KeyRange::prefix("p/"),
        1 => KeyRange::key(key(random)),
        _ => {
            let (a, b) = (key(random), key(random));
            if a < b { KeyRange::between(a, b) } else { KeyRange::key(a) }
        }
    }
}

struct Watching {
    wanted: Wanted,
    position: Position,
    started: Revision,
    told: Vec<Event>,
    is_ended: bool,
}

const HISTORY: usize = 8;

/// Reads at every revision are those of the model, or compacted exactly as the window says.
fn check_reads(replica: &Replica, model: &Model, random: &mut StdRng) {
    for at in 1..=model.revision + 1 {
        let range = range(random);
        let read = replica.read(&Get::new(range.clone()).revision(at));
        if at > replica.revision() {
            assert!(read.unwrap_err().is(crate::EtcdError::FutureRev));
        } else if at < replica.oldest {
            assert!(
                matches!(read, Err(Error::Compacted { compact_revision }) if compact_revision == replica.oldest)
            );
        } else {
            let expected: Vec<KeyValue> =
                model.state(at).into_values().filter(|pair| range.contains(&pair.key)).collect();
            assert_eq!(read.unwrap().kvs, expected, "{range:?} at {at}");
        }
    }
}

fn check_watch(watching: &mut Watching, replica: &Replica, model: &Model, random: &mut StdRng) {
    let was_known = watching.position.next > replica.oldest;
    match replica.next(&mut watching.position, &watching.wanted, random.random_range(1..4)) {
        Ok(responses) => {
            assert!(was_known);
            for response in responses {
                assert!(
                    response.events.iter().all(|event| event.kv.mod_revision == response.header.revision)
                );
                watching.told.extend(response.events);
            }
        }
        Err(error) => {
            assert!(!was_known, "{error}");
            watching.is_ended = true;
        }
    }
    let upto = watching.position.next;
    let expected =
        model.events.iter().filter(|event| (watching.started..upto).contains(&event.kv.mod_revision));
    let expected: Vec<Event> = expected.filter_map(|event| watching.wanted.told(event)).collect();
    assert_eq!(watching.told, expected, "from {} to {upto}", watching.started);
}

fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut replica, mut model) = (Replica::new(HISTORY), Model::default());
    let mut watches: Vec<Watching> = Vec::new();
    model.step(&mut random);
    replica.restore(model.state(model.revision).into_values().collect(), header(model.revision));
    let mut unseen = Vec::new();
    for _ in 0..80 {
        unseen.extend(without_prev(&model.step(&mut random)));
        match random.random_range(0..10) {
            0 => {
                unseen.clear();
                replica.restore(model.state(model.revision).into_values().collect(), header(model.revision));
            }
            1..4 => {}
            _ => {
                replica.apply(response(model.revision + 5, std::mem::take(&mut unseen))).unwrap();
                assert_eq!(replica.revision(), model.revision);
                if random.random_bool(0.3) {
                    model.revision += 2;
                    replica.apply(response(model.revision, Vec::new())).unwrap();
                    assert_eq!(replica.revision(), model.revision);
                }
            }
        }
        check_reads(&replica, &model, &mut random);
        if watches.len() < 5 {
            let start = random.random_range(0..=model.revision + 3);
            let position = replica.position(start);
            let wanted = Wanted {
                range: range(&mut random),
                puts: random.random_bool(0.8),
                deletes: random.random_bool(0.8),
                prev_kv: random.random_bool(0.5),
            };
            let started = position.next;
            watches.push(Watching { wanted, position, started, told: Vec::new(), is_ended: false });
        }
        for watching in &mut watches {
            if random.random_bool(0.5) {
                check_watch(watching, &replica, &model, &mut random);
            }
        }
        watches.retain(|watching| !watching.is_ended);
    }
}

#[test]
fn reads_and_watches_are_those_of_the_whole_history() {
    let first: u64 = rand::random();
    for seed in (0..60).map(|number| first.wrapping_add(number)) {
        println!("seed {seed}");
        run(seed);
    }
}

fn put(key: &'static str, revision: Revision) -> Event {
    let kv = KeyValue { key: key.into(), mod_revision: revision, ..KeyValue::default() };
    Event { kind: EventKind::Put, kv, prev_kv: None }
}

#[test]
fn what_comes_out_of_order_is_refused() {
    let mut replica = Replica::new(4);
    replica.restore(Vec::new(), header(5));
    replica.apply(response(7, Vec::new())).unwrap();
    assert_eq!(replica.apply(response(8, vec![put("a", 6)])), Err(OutOfOrder { revision: 6, at: 7 }));
    // Late answers to the question how far the watch is say nothing new.
    replica.apply(response(6, Vec::new())).unwrap();
    assert_eq!(replica.revision(), 7);
}

#[test]
fn when_revisions_go_back_no_watch_goes_on() {
    let mut replica = Replica::new(4);
    replica.restore(Vec::new(), header(50));
    let wanted = Wanted { range: KeyRange::all(), puts: true, deletes: true, prev_kv: false };
    let mut position = replica.position(0);
    assert_eq!(replica.next(&mut position, &wanted, 10).unwrap(), []);
    replica.restore(Vec::new(), header(20));
    let ended = replica.next(&mut position, &wanted, 10).unwrap_err();
    assert!(matches!(ended, Error::Compacted { compact_revision: 21 }), "{ended}");
    assert!(replica.read(&Op::get("k").revision(30)).unwrap_err().is(crate::EtcdError::FutureRev));
}

#[test]
fn two_changes_of_a_key_in_one_revision() {
    let mut replica = Replica::new(4);
    replica.restore(Vec::new(), header(1));
    let delete = Event { kind: EventKind::Delete, ..put("a", 2) };
    replica.apply(response(2, vec![put("a", 2), delete])).unwrap();
    assert_eq!(replica.read(&Op::get("a")).unwrap().count, 0);
    assert_eq!(replica.read(&Op::get("a").revision(1)).unwrap().count, 0);
}
