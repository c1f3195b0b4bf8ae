//! Watchers against a model: whatever the pace of the reader, it sees every event of its range once and in order.

use super::catch_up::{self, Found, Straggler};
use super::event::{Event, EventSource, Filters, HistoryBounds, HistoryPart, RevisionEvents};
use super::hub::{Hub, Standing, Subscription};
use super::index::Slot;
use super::mailbox::{Contents, Delivery, Mailbox};
use crate::limits;
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::sync::Arc;
use tenure_api::mvccpb;
use tenure_core::state::Halt;
use tenure_core::types::{KeyRange, KvBytes, RecordRevision, Revision, Version};

const BOUNDS: HistoryBounds = HistoryBounds { revisions_max: 7, bytes_max: 1 << 20 };

/// History as a vector: each revision with its changes (key, whether it is a deletion).
#[derive(Default)]
struct Past {
    revisions: Mutex<Vec<Vec<(Bytes, bool)>>>,
    compacted: Mutex<Option<Revision>>,
    /// Where what is in memory begins, if anything is.
    recent_from: Option<Revision>,
}

impl Past {
    fn write(&self, changes: Vec<(Bytes, bool)>) {
        self.revisions.lock().push(changes);
    }

    fn events(&self, revision: Revision) -> RevisionEvents {
        let revisions = self.revisions.lock();
        let changes = &revisions[(revision.0 - 2) as usize];
        let events = (0u32..).zip(changes).map(|(sub, (key, delete))| {
            let at = RecordRevision { main: revision, sub };
            let kv = if *delete {
                KvBytes::encode_tombstone(key)
            } else {
                KvBytes::encode(key, &Version { at, created: revision, version: 1 }, b"v", None)
            };
            Event::of_stored(at, *delete, kv).expect("just encoded")
        });
        RevisionEvents::new(revision, events.collect())
    }
}

impl EventSource for Past {
    fn revision(&self) -> Revision {
        Revision(self.revisions.lock().len() as i64 + 1)
    }

    fn compacted(&self) -> Option<Revision> {
        *self.compacted.lock()
    }

    fn recent(&self, from: Revision, to: Revision, bounds: HistoryBounds) -> Option<HistoryPart> {
        self.recent_from.filter(|first| from >= *first)?;
        self.history(from, to, bounds).ok()
    }

    fn history(&self, from: Revision, to: Revision, bounds: HistoryBounds) -> Result<HistoryPart, Halt> {
        let through = Revision(to.0.min(from.0 + bounds.revisions_max as i64 - 1));
        let revisions = (from.0..=through.0).map(|main| Arc::new(self.events(Revision(main)))).collect();
        Ok(HistoryPart { revisions, through })
    }

    fn previous(&self, _key: &[u8], _at: Revision) -> Result<Option<KvBytes>, Halt> {
        Ok(None)
    }
}

/// A stream with one watcher, driven by hand.
struct Reader {
    mailbox: Arc<Mailbox>,
    slot: Slot,
    subscription: Subscription,
    behind: Option<Revision>,
    seen: Vec<(i64, Bytes, bool)>,
    first: Revision,
}

impl Reader {
    fn new(hub: &Hub, range: KeyRange, filters: Filters, first: Revision, visible: Revision) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let subscription = Subscription { watch_id: 0, range, filters };
        let (slot, standing) = hub.subscribe(&mailbox, subscription.clone(), first, visible);
        let behind = (standing == Standing::Behind).then_some(first);
        Self { mailbox, slot, subscription, behind, seen: Vec::new(), first }
    }

    fn see(&mut self, event: &Bytes) {
        let event = mvccpb::Event::decode(event.clone()).expect("an event");
        let delete = event.r#type == 1;
        let kv = event.kv.expect("a pair");
        self.seen.push((kv.mod_revision, kv.key, delete));
    }

    fn turn(&mut self, hub: &Hub, source: &Past) {
        let Contents { deliveries, behind, .. } = self.mailbox.take();
        for delivery in deliveries {
            if let Delivery::Events { revision, picked, .. } = delivery {
                for at in picked {
                    self.see(&revision.events[at as usize].wire());
                }
            }
        }
        if let Some((_, from)) = behind.last() {
            self.behind = Some(*from);
        }
        let Some(next) = self.behind else { return };
        let straggler = Straggler {
            watch_id: 0,
            serial: 1,
            range: self.subscription.range.clone(),
            filters: self.subscription.filters,
            prev_kv: false,
            next,
        };
        let step = catch_up::step(source, &[straggler], BOUNDS).expect("history");
        for catch in step.catches {
            let Found::Events { events, next } = catch.found else { panic!("nothing was compacted") };
            events.iter().for_each(|(_, event)| self.see(event));
            self.behind = (hub.rejoin(self.slot, next) == Standing::Behind).then_some(next);
        }
    }

    fn expected(&self, source: &Past) -> Vec<(i64, Bytes, bool)> {
        let revisions = source.revisions.lock();
        let all = (2i64..).zip(revisions.iter()).filter(|(main, _)| *main >= self.first.0);
        let wanted = all.flat_map(|(main, changes)| changes.iter().map(move |change| (main, change)));
        let Subscription { range, filters, .. } = &self.subscription;
        wanted
            .filter(|(_, (key, _))| range.contains(key))
            .filter(|(_, (_, delete))| if *delete { !filters.no_delete } else { !filters.no_put })
            .map(|(main, (key, delete))| (main, key.clone(), *delete))
            .collect()
    }
}

fn key(rng: &mut StdRng) -> Bytes {
    vec![rng.random_range(b'a'..=b'h')].into()
}

fn changes(rng: &mut StdRng) -> Vec<(Bytes, bool)> {
    let mut keys: Vec<Bytes> = (0..rng.random_range(1..4)).map(|_| key(rng)).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().map(|key| (key, rng.random_bool(0.3))).collect()
}

fn range(rng: &mut StdRng) -> KeyRange {
    let end = match rng.random_range(0..3) {
        0 => Bytes::new(),
        1 => Bytes::from_static(&[0]),
        _ => Bytes::from_static(b"i"),
    };
    KeyRange::from_wire(key(rng), end)
}

#[test]
fn w7_w9_w14_every_event_once_and_in_order_at_any_pace() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let source = Past::default();
        let hub = Hub::new(Revision(1));
        let mut readers: Vec<Reader> = Vec::new();
        for _ in 0..300 {
            match rng.random_range(0..10) {
                0 if readers.len() < 12 => {
                    let first = Revision(rng.random_range(1..=source.revision().0 + 5));
                    let filters = Filters { no_put: rng.random_bool(0.2), no_delete: rng.random_bool(0.2) };
                    let visible = source.revision();
                    readers.push(Reader::new(
                        &hub,
                        range(&mut rng),
                        filters,
                        first.max(Revision(2)),
                        visible,
                    ));
                }
                1..=4 => source.write(changes(&mut rng)),
                5..=6 => hub.follow(&source, BOUNDS).expect("history"),
                _ if !readers.is_empty() => {
                    let at = rng.random_range(0..readers.len());
                    readers[at].turn(&hub, &source);
                }
                _ => {}
            }
        }
        let revisions = source.revisions.lock().len();
        for _ in 0..=revisions {
            hub.follow(&source, BOUNDS).expect("history");
            readers.iter_mut().for_each(|reader| reader.turn(&hub, &source));
        }
        for reader in &readers {
            assert_eq!(reader.seen, reader.expected(&source), "seed {seed}, {:?}", reader.subscription);
        }
    }
}

#[test]
fn w14_a_full_mailbox_falls_behind_and_loses_nothing() {
    let source = Past::default();
    let hub = Hub::new(Revision(1));
    let mut reader =
        Reader::new(&hub, KeyRange::everything(), Filters::default(), Revision(2), source.revision());
    for _ in 0..limits::MAILBOX_DELIVERIES_MAX + 50 {
        source.write(vec![(Bytes::from_static(b"a"), false)]);
    }
    hub.follow(&source, BOUNDS).expect("history");
    assert_eq!(hub.census(), (1, 1), "one watcher, and it is behind");
    while hub.census() != (1, 0) {
        reader.turn(&hub, &source);
    }
    assert_eq!(reader.seen, reader.expected(&source));
}

#[test]
fn w5_a_compaction_is_told_to_who_needs_what_it_took() {
    let source = Past::default();
    for _ in 0..9 {
        source.write(vec![(Bytes::from_static(b"a"), false)]);
    }
    *source.compacted.lock() = Some(Revision(6));
    let straggler = |next| Straggler {
        watch_id: next,
        serial: next as u64,
        range: KeyRange::everything(),
        filters: Filters::default(),
        prev_kv: false,
        next: Revision(next),
    };
    let step = catch_up::step(&source, &[straggler(5), straggler(6)], BOUNDS).expect("history");
    assert_eq!(step.catches[0].found, Found::Compacted(Revision(6)));
    let Found::Events { events, .. } = &step.catches[1].found else { panic!("revision 6 can be read") };
    assert_eq!(events.first().map(|(revision, _)| *revision), Some(Revision(6)));
}

/// Writes and a compaction that takes them are applied together, before the hub has come to them. etcd's watchers have the events by then.
#[test]
fn w5_who_is_up_to_date_loses_nothing_to_a_compaction() {
    for (in_memory, census) in [(true, (2, 1)), (false, (2, 2))] {
        let recent_from = in_memory.then_some(Revision(2));
        let source = Past { recent_from, ..Past::default() };
        let hub = Hub::new(Revision(1));
        let all = KeyRange::everything;
        let reader = Reader::new(&hub, all(), Filters::default(), Revision(2), source.revision());
        for _ in 0..9 {
            source.write(vec![(Bytes::from_static(b"a"), false)]);
        }
        *source.compacted.lock() = Some(Revision(6));
        // Who asks for what is compacted is not spared by what is in memory.
        let late = Reader::new(&hub, all(), Filters::default(), Revision(3), source.revision());
        assert_eq!(late.behind, Some(Revision(3)));
        hub.follow(&source, BOUNDS).expect("history");
        assert_eq!(hub.census(), census, "watchers, and how many are behind");
        let delivered = reader.mailbox.take().deliveries.len();
        assert_eq!(delivered, if in_memory { 9 } else { 0 });
    }
}

/// Nothing is written yet, and somebody watches whatever will be.
fn watching_everything() -> (Past, Hub, Reader) {
    let source = Past::default();
    let hub = Hub::new(Revision(1));
    let everything = KeyRange::everything();
    let reader = Reader::new(&hub, everything, Filters::default(), Revision(2), source.revision());
    (source, hub, reader)
}

#[test]
fn w12_progress_is_answered_behind_what_it_vouches_for() {
    let (source, hub, reader) = watching_everything();
    source.write(vec![(Bytes::from_static(b"a"), false)]);
    hub.progress(&reader.mailbox, -1, Revision(2));
    assert!(reader.mailbox.take().deliveries.is_empty(), "revision 2 is not delivered yet");
    // More is written before the hub comes to what was asked for: it is handed out with it.
    source.write(vec![(Bytes::from_static(b"a"), false)]);
    hub.follow(&source, BOUNDS).expect("history");
    assert_eq!(told(&reader), ["events of 2", "events of 3", "progress 3"]);
}

#[test]
fn w12_no_progress_comes_before_events_that_did_not_fit() {
    let (source, hub, reader) = watching_everything();
    let big = Bytes::from(vec![b'a'; limits::MAILBOX_BYTES_MAX * 2 / 3]);
    source.write(vec![(big.clone(), false)]);
    source.write(vec![(big, false)]);
    hub.progress(&reader.mailbox, -1, Revision(3));
    hub.follow(&source, BOUNDS).expect("history");
    assert_eq!(told(&reader), ["events of 2", "behind from 3"]);
}

/// What waits in a reader's mailbox.
fn told(reader: &Reader) -> Vec<String> {
    let Contents { deliveries, behind, .. } = reader.mailbox.take();
    let deliveries = deliveries.iter().map(|delivery| match delivery {
        Delivery::Events { revision, .. } => format!("events of {}", revision.revision.0),
        Delivery::Progress { revision, .. } => format!("progress {}", revision.0),
    });
    deliveries.chain(behind.iter().map(|(_, from)| format!("behind from {}", from.0))).collect()
}
