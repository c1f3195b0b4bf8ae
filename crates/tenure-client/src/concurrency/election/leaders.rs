//! Who leads, from what is told of a line's keys.

use crate::{Event, EventKind, KeyValue, Revision};
use bytes::Bytes;
use std::collections::BTreeMap;

/// The candidates of an election, and which of them has been told as the leader.
#[derive(Debug, Default)]
pub(super) struct Leaders {
    candidates: BTreeMap<Bytes, KeyValue>,
    /// When the leader that was told last took his place, and when he proclaimed what was told of him.
    told: Option<(Revision, Revision)>,
}

/// Somebody leads.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Led {
    pub revision: Revision,
    pub leader: KeyValue,
}

impl Leaders {
    /// All candidates, as they are at a revision. Answers the leader if he has not been told.
    pub(super) fn known(&mut self, revision: Revision, candidates: Vec<KeyValue>) -> Option<Led> {
        self.candidates = candidates.into_iter().map(|pair| (pair.key.clone(), pair)).collect();
        self.led(revision)
    }

    /// What has happened to candidates, in its order. Answers who led in turn.
    pub(super) fn changed(&mut self, events: Vec<Event>) -> Vec<Led> {
        let mut led = Vec::new();
        // What happens at one revision happens at once.
        for events in events.chunk_by(|one, other| one.kv.mod_revision == other.kv.mod_revision) {
            for Event { kind, kv, .. } in events {
                match kind {
                    EventKind::Put => self.candidates.insert(kv.key.clone(), kv.clone()),
                    EventKind::Delete => self.candidates.remove(&kv.key),
                };
            }
            led.extend(events.first().and_then(|event| self.led(event.kv.mod_revision)));
        }
        led
    }

    fn led(&mut self, revision: Revision) -> Option<Led> {
        let leader = self.candidates.values().min_by_key(|pair| pair.create_revision)?;
        let leads = Some((leader.create_revision, leader.mod_revision));
        if self.told == leads {
            return None;
        }
        self.told = leads;
        Some(Led { revision, leader: leader.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(key: &str, create_revision: Revision, mod_revision: Revision) -> KeyValue {
        let key = Bytes::copy_from_slice(key.as_bytes());
        KeyValue { key, create_revision, mod_revision, ..KeyValue::default() }
    }

    fn put(key: &str, create_revision: Revision, mod_revision: Revision) -> Event {
        Event { kind: EventKind::Put, kv: pair(key, create_revision, mod_revision), prev_kv: None }
    }

    fn delete(key: &str, revision: Revision) -> Event {
        Event { kind: EventKind::Delete, kv: pair(key, 0, revision), prev_kv: None }
    }

    fn told(led: &[Led]) -> Vec<(Revision, String)> {
        led.iter().map(|led| (led.revision, led.leader.key_text().into_owned())).collect()
    }

    #[test]
    fn each_leader_is_told_once_and_in_order() {
        let mut leaders = Leaders::default();
        assert_eq!(leaders.known(4, vec![]), None);
        let led = leaders.changed(vec![put("a", 5, 5), put("b", 6, 6), put("a", 5, 7)]);
        assert_eq!(told(&led), [(5, "a".into()), (7, "a".into())]);
        // What others proclaim does not matter. The one in the middle goes before it is his turn.
        let led = leaders.changed(vec![put("b", 6, 8), put("c", 9, 9), delete("b", 10), delete("a", 11)]);
        assert_eq!(told(&led), [(11, "c".into())]);
        assert_eq!(told(&leaders.changed(vec![delete("c", 12)])), []);
        assert_eq!(told(&leaders.changed(vec![put("a", 13, 13)])), [(13, "a".into())]);
    }

    #[test]
    fn a_leader_who_led_for_one_revision_is_told() {
        let mut leaders = Leaders::default();
        let led = leaders.changed(vec![
            put("a", 5, 5),
            put("b", 6, 6),
            delete("a", 7),
            put("c", 8, 8),
            delete("b", 9),
        ]);
        assert_eq!(told(&led), [(5, "a".into()), (7, "b".into()), (9, "c".into())]);
    }

    #[test]
    fn what_happens_at_one_revision_happens_at_once() {
        let mut leaders = Leaders::default();
        let led = leaders.changed(vec![
            put("a", 5, 5),
            put("b", 6, 6),
            delete("a", 7),
            delete("b", 7),
            put("c", 7, 7),
        ]);
        assert_eq!(told(&led), [(5, "a".into()), (7, "c".into())]);
    }

    #[test]
    fn a_new_reading_tells_only_what_is_new() {
        let mut leaders = Leaders::default();
        assert!(leaders.known(6, vec![pair("a", 5, 5), pair("b", 6, 6)]).is_some());
        assert_eq!(leaders.known(9, vec![pair("a", 5, 5)]), None);
        let led = leaders.known(12, vec![pair("a", 10, 10), pair("b", 11, 11)]).unwrap();
        assert_eq!((led.revision, led.leader.create_revision), (12, 10));
    }

    proptest! {
        /// However the history is cut into responses, and wherever the reading is made anew, the leaders are those of the
        /// history, in its order.
        #[test]
        fn history_is_told_as_it_was(
            steps in prop::collection::vec((0..4_u8, any::<bool>()), 1..40),
            cuts in prop::collection::vec(any::<bool>(), 40),
        ) {
            let mut now: BTreeMap<String, KeyValue> = BTreeMap::new();
            let mut expected: Vec<(Revision, Revision)> = Vec::new();
            let mut leaders = Leaders::default();
            let mut events = Vec::new();
            let mut seen = Vec::new();
            for (number, (name, is_put)) in steps.into_iter().enumerate() {
                let revision = number as Revision + 2;
                let name = name.to_string();
                if is_put {
                    let created = now.get(&name).map_or(revision, |pair| pair.create_revision);
                    now.insert(name.clone(), pair(&name, created, revision));
                    events.push(put(&name, created, revision));
                } else if now.remove(&name).is_some() {
                    events.push(delete(&name, revision));
                }
                let leader = now.values().min_by_key(|pair| pair.create_revision);
                let leader = leader.map(|pair| (pair.create_revision, pair.mod_revision));
                if leader.is_some() && expected.last() != leader.as_ref() {
                    expected.extend(leader);
                }
                if cuts[number] {
                    seen.extend(leaders.changed(std::mem::take(&mut events)));
                    prop_assert_eq!(leaders.known(revision, now.values().cloned().collect()), None);
                }
            }
            seen.extend(leaders.changed(events));
            let seen: Vec<_> =
                seen.iter().map(|led| (led.leader.create_revision, led.leader.mod_revision)).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
