//! A server that behaves like etcd as far as watches go, users that read slowly or not at all, streams that break at any moment.
//! Whatever happens, each user is told each event of its range once and in order.

use super::*;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::collections::BTreeMap;

const KEYS: usize = 4;
const LARGE_BYTES: usize = 2 << 20;

/// A change: of which key, at which revision, the how manieth one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Change {
    revision: i64,
    key: usize,
    number: i64,
    is_large: bool,
}

impl Change {
    fn wire(self) -> mvccpb::Event {
        let mut event = event(self.revision, if self.is_large { LARGE_BYTES } else { 0 });
        if let Some(pair) = &mut event.kv {
            pair.key = vec![b'a' + self.key as u8].into();
            pair.version = self.number;
        }
        event
    }
}

/// A watch as the server has it.
#[derive(Clone, Copy)]
struct Watched {
    /// Nothing for all keys.
    key: Option<usize>,
    next: i64,
    is_fragmented: bool,
}

/// One stream, with what is on its way.
struct Wire {
    attempt: u64,
    requests: VecDeque<pb::WatchRequest>,
    responses: VecDeque<pb::WatchResponse>,
    watched: BTreeMap<i64, Watched>,
    next_id: i64,
    /// It goes by the client's ids.
    takes_ids: bool,
    order: AnswerOrder,
}

impl Wire {
    /// Answers to requests may overtake events, but not each other.
    fn overtake(&mut self, response: pb::WatchResponse, random: &mut SmallRng) {
        let is_answer =
            |sent: &pb::WatchResponse| sent.created || (sent.canceled && sent.compact_revision == 0);
        let behind = self.responses.iter().rposition(is_answer).map_or(0, |at| at + 1);
        self.responses.insert(random.random_range(behind..=self.responses.len()), response);
    }
}

struct Reader {
    user: User,
    key: Option<usize>,
    /// What it asked for; 0 until it was told when "now" was.
    from: i64,
    told: Vec<(i64, usize, i64)>,
    is_ended: bool,
}

struct World {
    random: SmallRng,
    /// In some worlds watches catch up, in others they hardly do.
    writes_in_15: u32,
    machine: Machine,
    history: Vec<Change>,
    revision: i64,
    compacted: i64,
    wire: Option<Wire>,
    readers: Vec<Reader>,
    /// How often something rare happened, so that tests can see that it did.
    compactions_told: usize,
    cancels_of_full: usize,
    events_told: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        World {
            writes_in_15: random.random_range(1..=15),
            random,
            machine: Machine::new(SETTINGS),
            history: Vec::new(),
            revision: 1,
            compacted: 0,
            wire: None,
            readers: Vec::new(),
            compactions_told: 0,
            cancels_of_full: 0,
            events_told: 0,
        }
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.random.random_ratio(1, one_in)
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..15 if self.random.random_ratio(self.writes_in_15, 15) => self.write(),
            15..16 => self.compact(),
            16..20 => self.start_reader(),
            20..22 => self.drop_reader(),
            22..28 => self.ask_progress(),
            28..42 => self.read_some(),
            42..45 => self.break_wire(),
            _ => self.wire_step(),
        }
    }

    fn write(&mut self) {
        self.revision += 1;
        for number in 0..self.random.random_range(1..4) {
            let key = self.random.random_range(0..KEYS);
            let is_large = self.chance(4);
            self.history.push(Change { revision: self.revision, key, number, is_large });
        }
    }

    fn compact(&mut self) {
        if !self.chance(10) {
            return;
        }
        self.compacted = self.random.random_range(self.compacted..=self.revision);
    }

    fn start_reader(&mut self) {
        if self.readers.iter().filter(|reader| !reader.is_ended).count() > 6 {
            return;
        }
        let key = self.chance(2).then(|| self.random.random_range(0..KEYS));
        let from = match self.random.random_range(0..3) {
            0 => 0,
            1 => self.random.random_range(1..=self.revision),
            _ => self.revision + self.random.random_range(1..6),
        };
        let create = pb::WatchCreateRequest {
            key: key.map_or_else(Bytes::new, |key| vec![key as u8].into()),
            start_revision: from,
            fragment: self.chance(2),
            ..Default::default()
        };
        let (watch, queue) = self.machine.watch(create, from == 0);
        let user = User { key: watch, queue };
        self.readers.push(Reader { user, key, from, told: Vec::new(), is_ended: false });
    }

    fn drop_reader(&mut self) {
        if !self.readers.is_empty() {
            let at = self.random.random_range(0..self.readers.len());
            let reader = self.readers.swap_remove(at);
            self.machine.dropped(reader.user.key);
        }
    }

    fn ask_progress(&mut self) {
        if self.chance(3) {
            self.machine.ask_progress_of_all();
        } else if !self.readers.is_empty() {
            let at = self.random.random_range(0..self.readers.len());
            self.machine.ask_progress(self.readers[at].user.key);
        }
        self.machine.repeat_progress();
    }

    fn break_wire(&mut self) {
        // The server may have got and sent more than has arrived: that is lost.
        if self.wire.take().is_some() {
            self.machine.lost(&broken());
        }
    }

    fn wire_step(&mut self) {
        let Some(wire) = &mut self.wire else {
            let order =
                if self.random.random_ratio(1, 3) { AnswerOrder::OutOfOrder } else { AnswerOrder::InOrder };
            self.wire = Some(Wire {
                attempt: self.machine.opening(),
                requests: VecDeque::new(),
                responses: VecDeque::new(),
                watched: BTreeMap::new(),
                next_id: 0,
                takes_ids: self.random.random_ratio(3, 4),
                order,
            });
            return;
        };
        if self.machine.wants_answer_order() {
            self.machine.answers_come(wire.attempt, wire.order);
        }
        match self.random.random_range(0..5) {
            0 => wire.requests.extend(self.machine.next_request(wire.attempt)),
            1 => self.serve_request(),
            2 | 3 => self.serve_events(),
            _ => self.take_response(),
        }
    }

    fn serve_request(&mut self) {
        let revision = self.revision;
        let Some(wire) = &mut self.wire else { return };
        let Some(request) = wire.requests.pop_front() else { return };
        match request.request_union.unwrap() {
            RequestUnion::CreateRequest(create) => {
                let mut id = create.watch_id;
                if id == 0 || !wire.takes_ids {
                    id = wire.next_id;
                    wire.next_id += 1;
                }
                let next = if create.start_revision == 0 { revision + 1 } else { create.start_revision };
                let key = create.key.first().map(|key| usize::from(*key));
                wire.watched.insert(id, Watched { key, next, is_fragmented: create.fragment });
                wire.overtake(created(id, revision), &mut self.random);
            }
            RequestUnion::CancelRequest(cancel) => {
                if wire.watched.remove(&cancel.watch_id).is_some() {
                    let response = pb::WatchResponse { canceled: true, ..answer(cancel.watch_id, revision) };
                    wire.overtake(response, &mut self.random);
                }
            }
            RequestUnion::ProgressRequest(_) => match wire.order {
                AnswerOrder::OutOfOrder => wire.overtake(answer(NO_WATCH, revision), &mut self.random),
                _ if !wire.watched.is_empty()
                    && wire.watched.values().all(|watched| watched.next == revision + 1) =>
                {
                    wire.responses.push_back(answer(NO_WATCH, revision));
                }
                _ => {}
            },
        }
    }

    fn serve_events(&mut self) {
        let revisions_max = self.random.random_range(1..20);
        let Some(wire) = &mut self.wire else { return };
        if wire.watched.is_empty() {
            return;
        }
        let at = self.random.random_range(0..wire.watched.len());
        let (id, watched) = wire.watched.iter_mut().nth(at).unwrap();
        let id = *id;
        if watched.next > self.revision {
            if watched.next == self.revision + 1 && self.random.random_ratio(1, 4) {
                wire.responses.push_back(answer(id, self.revision));
            }
            return;
        }
        if watched.next < self.compacted {
            wire.watched.remove(&id);
            let compacted =
                pb::WatchResponse { canceled: true, compact_revision: self.compacted, ..answer(id, 0) };
            wire.responses.push_back(compacted);
            return;
        }
        let end = self.revision.min(watched.next + revisions_max);
        let is_meant = |change: &&Change| {
            (watched.next..=end).contains(&change.revision) && watched.key.is_none_or(|key| key == change.key)
        };
        let changes: Vec<Change> = self.history.iter().filter(is_meant).copied().collect();
        watched.next = end + 1;
        let mut rest = &changes[..];
        while !rest.is_empty() {
            let length =
                if watched.is_fragmented { self.random.random_range(1..=rest.len()) } else { rest.len() };
            let (part, after) = rest.split_at(length);
            rest = after;
            let events = part.iter().map(|change| change.wire()).collect();
            let fragment = !rest.is_empty();
            wire.responses.push_back(pb::WatchResponse { events, fragment, ..answer(id, self.revision) });
        }
    }

    fn take_response(&mut self) {
        let Some(wire) = &mut self.wire else { return };
        let Some(response) = wire.responses.pop_front() else { return };
        let full =
            |machine: &Machine| machine.watches.values().filter(|watch| watch.stage == Stage::Full).count();
        let before = full(&self.machine);
        if let Err(error) = self.machine.response(response) {
            panic!("the server makes sense: {error}");
        }
        self.cancels_of_full += usize::from(full(&self.machine) > before);
    }

    fn read_some(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let at = self.random.random_range(0..self.readers.len());
        for _ in 0..self.random.random_range(1..5) {
            self.read(at);
        }
    }

    /// Reads once, and checks all that can be checked.
    fn read(&mut self, at: usize) {
        let reader = &mut self.readers[at];
        let Some(read) = reader.user.read() else { return };
        if read.is_drained {
            self.machine.drained(reader.user.key);
        }
        match read.response {
            None => assert!(reader.is_ended, "no end without a reason"),
            Some(Err(Error::Compacted { compact_revision })) => {
                let next = reader.missing(&self.history).map_or(self.revision + 1, |change| change.revision);
                assert!(compact_revision <= self.compacted);
                assert!(next <= self.compacted || reader.from < compact_revision, "nothing is missing");
                reader.is_ended = true;
                self.compactions_told += 1;
            }
            Some(Err(error)) => panic!("{error}"),
            Some(Ok(response)) if response.created => {
                assert_eq!((reader.from, reader.told.len()), (0, 0), "told once, and first");
                reader.from = response.header.revision + 1;
            }
            Some(Ok(response)) if response.is_progress_notify() => {
                let missing = reader.missing(&self.history);
                assert!(
                    missing.is_none_or(|missing| missing.revision > response.header.revision),
                    "{missing:?}"
                );
            }
            Some(Ok(response)) => {
                for event in response.events {
                    let key = usize::from(event.kv.key[0] - b'a');
                    let told = (event.kv.mod_revision, key, event.kv.version);
                    let expected = reader.missing(&self.history).expect("something is missing");
                    assert_eq!(told, (expected.revision, expected.key, expected.number));
                    reader.told.push(told);
                    self.events_told += 1;
                }
                // A revision is never split.
                let last = reader.told.last().map(|told| told.0);
                assert_ne!(reader.missing(&self.history).map(|change| change.revision), last);
            }
        }
    }

    /// No more breaks and writes: everything that is missing has to come.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            self.wire_step();
            for at in 0..self.readers.len() {
                self.read(at);
            }
            let is_done = |reader: &Reader| {
                reader.is_ended || (reader.from > 0 && reader.missing(&self.history).is_none())
            };
            if self.readers.iter().all(is_done) {
                return;
            }
        }
        panic!("something did not come");
    }
}

impl Reader {
    /// The first change that it was not told.
    fn missing(&self, history: &[Change]) -> Option<Change> {
        let is_meant = |change: &&Change| {
            self.from > 0 && change.revision >= self.from && self.key.is_none_or(|key| key == change.key)
        };
        history.iter().filter(is_meant).nth(self.told.len()).copied()
    }
}

#[test]
fn every_event_is_told_once_and_in_order() {
    let seed: u64 =
        std::env::var("TENURE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let (mut compactions, mut full, mut told) = (0, 0, 0);
    for run in 0..150 {
        println!("TENURE_SEED={}", seed.wrapping_add(run));
        let mut world = World::new(seed.wrapping_add(run));
        for _ in 0..3_000 {
            world.step();
        }
        world.settle();
        compactions += world.compactions_told;
        full += world.cancels_of_full;
        told += world.events_told;
    }
    println!("{told} events, {full} watches that were too slow, {compactions} that came too late");
    assert!(compactions > 0 && full > 0 && told > 10_000);
}
