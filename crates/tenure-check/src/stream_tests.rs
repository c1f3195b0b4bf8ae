//! The checker of streams finds what is wrong, each in a stream that is right but for one thing.

use super::*;
use std::collections::BTreeMap;

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn change(revision: i64, key: &'static str, value: Option<&'static str>) -> Change {
    Change { revision, by: None, key: text(key), pair: value.map(text) }
}

fn changes() -> Vec<Change> {
    vec![
        change(2, "a", Some("a1")),
        change(3, "a", Some("a2")),
        change(3, "b", Some("b1")),
        change(4, "a", None),
        change(5, "c", Some("c1")),
        change(6, "a", Some("a3")),
    ]
}

/// The event of `changes()` at a place, and what was there before.
fn event(place: usize, previous: Option<&'static str>) -> Event {
    let Change { revision, key, pair, .. } = changes()[place].clone();
    Event { revision, key, pair, previous: previous.map(text) }
}

fn told(watch_id: i64, revision: i64, what: Tidings) -> Told {
    Told { watch_id, revision, what }
}

fn events(watch_id: i64, revision: i64, events: &[Event]) -> Told {
    told(watch_id, revision, Tidings::Events { events: events.to_vec(), goes_on: false })
}

fn progress(watch_id: i64, revision: i64) -> Told {
    told(watch_id, revision, Tidings::Progress)
}

fn cancelled(watch_id: i64, compacted: Option<i64>) -> Told {
    told(watch_id, 6, Tidings::Cancelled { compacted })
}

fn watcher(range: KeyRange, start: i64) -> Watcher {
    Watcher { range, start, without: None, prev_kv: false, progress_notify: false }
}

/// 1 sees everything from 3 on and is told progresses; 2 the deletions of `a`, with what was there, from its creation on.
fn right() -> Stream {
    let everything = Watcher { progress_notify: true, ..watcher(KeyRange::everything(), 3) };
    let deletions = watcher(KeyRange::single(text("a")), 0);
    let deletions = Watcher { prev_kv: true, without: Some(Kind::Put), ..deletions };
    let told = vec![
        told(1, 3, Tidings::Created),
        told(2, 3, Tidings::Created),
        events(1, 3, &[event(1, None), event(2, None)]),
        progress(1, 3),
        progress(ALL_WATCHERS, 3),
        events(1, 5, &[event(3, None), event(4, None)]),
        events(2, 5, &[event(3, Some("a2"))]),
        progress(ALL_WATCHERS, 5),
        events(1, 6, &[event(5, None)]),
        progress(ALL_WATCHERS, 6),
        progress(1, 6),
    ];
    Stream { at: 0, watchers: BTreeMap::from([(1, everything), (2, deletions)]), told, is_complete: true }
}

fn judged(stream: Stream, compacted: i64) -> Result<(), Violation> {
    streams(&History { changes: changes(), streams: vec![stream], compacted, ..History::default() })
}

/// What is said about `right()` with one thing changed.
fn found(damage: impl FnOnce(&mut Stream)) -> String {
    let mut stream = right();
    damage(&mut stream);
    let whole = judged(stream, 0).expect_err("a violation");
    whole.split(';').next().expect("a first part").to_owned()
}

fn put(stream: &mut Stream, place: usize, told: Told) {
    stream.told.insert(place, told);
}

#[test]
fn a_right_stream_is_right() {
    assert_eq!(judged(right(), 0), Ok(()));
    assert_eq!(judged(Stream::default(), 0), Ok(()));
    assert_eq!(right().progresses(), (2, 3));
}

#[test]
fn a_progress_that_goes_back_or_vouches_for_too_much_is_found() {
    let said = found(|stream| stream.told[7].revision = 4);
    assert!(said.contains("1 is told a progress of 4 behind an event of 5"), "{said}");
    let said = found(|stream| put(stream, 8, progress(1, 4)));
    assert!(said.contains("1 is told a progress of 4 behind an event of 5"), "{said}");
    // 2 has seen nothing but progresses of all.
    let said = found(|stream| {
        stream.watchers.retain(|id, _| *id == 2);
        stream.told =
            vec![told(2, 4, Tidings::Created), progress(ALL_WATCHERS, 5), progress(ALL_WATCHERS, 4)];
    });
    assert!(said.contains("2 is told a progress of 4 behind one of 5"), "{said}");
    let said = found(|stream| put(stream, 5, events(1, 3, &[event(2, None)])));
    assert!(said.contains("1 is told an event of 3 behind a progress of 3"), "{said}");
    let said = found(|stream| stream.told[3].revision = 4);
    assert!(said.contains("a progress of 4, and nothing of"), "{said}");
    // It speaks for 2 as well, which is told of revision 4 later.
    let said = found(|stream| stream.told.swap(6, 7));
    assert!(said.contains("2 is told a progress of 5, and nothing of"), "{said}");
    let said = found(|stream| stream.told[10].revision = 7);
    assert!(said.contains("7, and 6 is the last"), "{said}");
    let said = found(|stream| put(stream, 8, progress(2, 5)));
    assert!(said.contains("2 does not want"), "{said}");
}

#[test]
fn a_stream_without_progresses_is_found() {
    assert!(found(|stream| stream.told.truncate(10)).contains("its last progress is not of revision 6"));
    assert!(found(|stream| drop(stream.told.remove(9))).contains("its last progress is not of revision 6"));
    let mut broken = right();
    broken.told.truncate(4);
    broken.is_complete = false;
    assert_eq!(judged(broken, 0), Ok(()), "one that broke need not tell any");
}

#[test]
fn events_that_are_missing_repeated_split_or_in_no_order_are_found() {
    let must = |damage: fn(&mut Stream)| {
        let said = found(damage);
        assert!(said.contains("1 must be told"), "{said}");
    };
    must(|stream| stream.told[2] = events(1, 3, &[event(1, None)]));
    must(|stream| stream.told[2] = events(1, 3, &[event(2, None), event(1, None)]));
    must(|stream| stream.told[5] = events(1, 5, &[event(4, None)]));
    must(|stream| stream.told[5] = events(1, 5, &[event(4, None), event(3, None)]));
    must(|stream| put(stream, 6, events(1, 5, &[event(4, None)])));
    // A revision in two answers.
    must(|stream| {
        stream.told[2] = events(1, 3, &[event(1, None)]);
        put(stream, 3, events(1, 3, &[event(2, None)]));
    });
    // It begins where it was not asked to.
    must(|stream| stream.watchers.get_mut(&1).unwrap().start = 2);
    must(|stream| put(stream, 2, events(1, 3, &[event(0, None)])));
    assert!(found(|stream| stream.told[2].revision = 2).contains("an event of 3 at revision 2"));
    assert!(found(|stream| put(stream, 2, events(1, 3, &[]))).contains("there are none"));
}

#[test]
fn parts_are_one_answer_and_nothing_comes_in_between() {
    let mut stream = right();
    let part = |place, goes_on| told(1, 3, Tidings::Events { events: vec![event(place, None)], goes_on });
    stream.told.splice(2..3, [part(1, true), part(2, false)]);
    assert_eq!(judged(stream.clone(), 0), Ok(()));
    put(&mut stream, 3, progress(ALL_WATCHERS, 3));
    assert!(judged(stream, 0).unwrap_err().contains("in between"));
}

#[test]
fn events_that_nobody_asked_for_are_found() {
    let of_2 = |damage: &dyn Fn(&mut Stream)| {
        let said = found(damage);
        assert!(said.contains("2 must be told"), "{said}");
    };
    of_2(&|stream| put(stream, 8, events(2, 6, &[event(5, None)])));
    of_2(&|stream| stream.told[6] = events(2, 5, &[event(3, Some("a2")), event(4, None)]));
    // 0 is the revision after the one that the creation told.
    of_2(&|stream| stream.told[1].revision = 4);
    assert!(found(|stream| put(stream, 8, events(7, 6, &[event(5, None)]))).contains("7 is not there"));
    assert!(found(|stream| put(stream, 2, told(2, 3, Tidings::Created))).contains("created twice"));
    assert!(found(|stream| put(stream, 2, told(7, 3, Tidings::Created))).contains("nobody asked for 7"));
}

#[test]
fn what_keys_held_and_hold_is_compared() {
    for previous in [None, Some("a1"), Some("b1")] {
        let said = found(|stream| stream.told[6] = events(2, 5, &[event(3, previous)]));
        assert!(said.contains("and before that there was"), "{said}");
    }
    let said = found(|stream| stream.told[8] = events(1, 6, &[event(5, Some("a2"))]));
    assert!(said.contains("and before that there was None"), "{said}");
    let mut other = event(5, None);
    other.pair = Some(text("a4"));
    assert!(found(|stream| stream.told[8] = events(1, 6, &[other])).contains("1 must be told"));
    // What a compaction took need not be told; anything else must not be.
    let mut compacted = right();
    compacted.told[6] = events(2, 5, &[event(3, None)]);
    assert!(judged(compacted.clone(), 3).is_err());
    assert_eq!(judged(compacted.clone(), 4), Ok(()));
    compacted.told[6] = events(2, 5, &[event(3, Some("a1"))]);
    assert!(judged(compacted, 4).is_err());
}

#[test]
fn a_watcher_that_is_cancelled_hears_nothing_more() {
    let mut stream = right();
    stream.told.insert(8, cancelled(2, None));
    assert_eq!(judged(stream.clone(), 0), Ok(()));
    stream.told.push(events(2, 6, &[]));
    assert!(judged(stream, 0).unwrap_err().contains("2 is not there"));
}

#[test]
fn a_compaction_is_told_to_who_wants_what_it_took() {
    let told_of = |compacted, known| {
        let mut stream = right();
        stream.is_complete = false;
        stream.told.truncate(3);
        stream.told.push(cancelled(1, Some(compacted)));
        judged(stream, known)
    };
    assert_eq!(told_of(5, 5), Ok(()), "it wants 4");
    assert!(told_of(4, 5).unwrap_err().contains("4 is compacted, and 5 is"));
    assert!(told_of(6, 5).unwrap_err().contains("6 is compacted, and 5 is"));
}
