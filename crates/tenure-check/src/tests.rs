//! The checkers find what is wrong, each in a history that is right but for one thing.

use super::*;
use std::time::Duration;

fn pair(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn change(revision: i64, by: u64, key: &'static str, value: Option<&'static str>) -> Change {
    let by = Some(by).filter(|id| *id > 0);
    Change { revision, by, key: Bytes::from_static(key.as_bytes()), pair: value.map(pair) }
}

fn write(called: u64, returned: u64, id: u64, revision: i64) -> Operation {
    let what = What::Write { id, answer: Answer::At { revision, writes: true } };
    Operation { called, returned: Some(returned), what }
}

fn everything() -> KeyRange {
    KeyRange::everything()
}

fn read(called: u64, returned: u64, revision: i64, saw: &[&'static str]) -> Operation {
    let saw = Some((everything(), saw.iter().map(|text| pair(text)).collect()));
    Operation { called, returned: Some(returned), what: What::Read { server: None, revision, saw } }
}

fn by_server(mut operation: Operation, server: (usize, u64)) -> Operation {
    if let What::Read { server: by, .. } = &mut operation.what {
        *by = Some(server);
    }
    operation
}

fn event(change: &Change) -> (i64, Bytes, Option<Bytes>) {
    (change.revision, change.key.clone(), change.pair.clone())
}

/// Three writes, a deletion that nobody asked for, reads among them, a watcher.
fn right() -> History {
    let changes = vec![
        change(2, 1, "a", Some("a1")),
        change(3, 2, "a", Some("a2")),
        change(3, 2, "b", Some("b1")),
        change(4, 0, "a", None),
        change(5, 3, "c", Some("c1")),
    ];
    let operations = vec![
        write(10, 20, 1, 2),
        read(21, 30, 2, &["a1"]),
        write(25, 50, 2, 3),
        read(28, 40, 3, &["a2", "b1"]),
        by_server(read(60, 61, 2, &["a1"]), (1, 0)),
        by_server(read(62, 63, 4, &["b1"]), (1, 0)),
        read(64, 80, 5, &["b1", "c1"]),
        Operation { called: 65, returned: None, what: What::Write { id: 3, answer: Answer::Unknown } },
        Operation { called: 66, returned: Some(67), what: What::Write { id: 9, answer: Answer::Refused } },
    ];
    let steps = vec![
        WatchStep::Events { through: 3, compacted: -1, events: changes[1..3].iter().map(event).collect() },
        WatchStep::Events { through: 5, compacted: -1, events: changes[3..].iter().map(event).collect() },
    ];
    let watches = vec![Watch { range: everything(), from: 3, steps, is_complete: true }];
    History { changes, operations, watches, leases: vec![lease(20_000)], ..History::default() }
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Granted at 1 s for 5 s, renewed at 4 s (told at 6 s), expired when it says.
fn lease(expired: u64) -> Lease {
    let events = vec![
        LeaseEvent::Granted { at: millis(1_000), ttl: millis(5_000) },
        LeaseEvent::Renewed { called: millis(4_000), returned: millis(6_000), ttl: millis(5_000) },
        LeaseEvent::Ended { at: millis(expired), has_expired: true },
    ];
    Lease { id: 7, events }
}

const BOUNDS: Bounds = Bounds { early: Duration::from_millis(100), late: Duration::from_secs(3) };

/// What is said about `right()` with one thing changed.
fn found(damage: impl FnOnce(&mut History)) -> String {
    found_or_not(damage).expect_err("a violation")
}

fn found_or_not(damage: impl FnOnce(&mut History)) -> Result<(), Violation> {
    let mut history = right();
    damage(&mut history);
    all(&history, BOUNDS)
}

fn steps(history: &mut History) -> &mut Vec<WatchStep> {
    &mut history.watches[0].steps
}

fn events(history: &mut History, step: usize) -> &mut Vec<(i64, Bytes, Option<Bytes>)> {
    match &mut steps(history)[step] {
        WatchStep::Events { events, .. } => events,
        WatchStep::Compacted(_) => panic!("no events"),
    }
}

#[test]
fn a_right_history_is_right() {
    assert_eq!(all(&right(), BOUNDS), Ok(()));
    assert_eq!(all(&History::default(), BOUNDS), Ok(()));
}

#[test]
fn lost_doubled_and_misplaced_writes_are_found() {
    assert!(found(|history| history.operations[0] = write(10, 20, 77, 2)).contains("is lost"));
    assert!(found(|history| history.operations[2] = write(25, 50, 2, 4)).contains("but made revision 3"));
    assert!(found(|history| drop(history.changes.remove(4))).contains("last"));
    assert!(found(|history| history.changes[4].revision = 6).contains("follows 4"));
    assert!(found(|history| history.changes[4].by = Some(1)).contains("again 5"));
    assert!(found(|history| history.changes[4].by = Some(9)).contains("was refused"));
    // Two requests that make one revision.
    assert!(found(|history| history.changes[2].by = Some(8)).contains("follows 3"));
}

#[test]
fn what_was_told_before_is_before() {
    // A write that is put before one that had been answered when it was called.
    let swapped = [write(10, 20, 1, 3), write(21, 30, 2, 2)];
    assert!(order(&swapped).unwrap_err().contains("3 was told"));
    let at_once = [write(10, 30, 1, 3), write(20, 40, 2, 2)];
    assert_eq!(order(&at_once), Ok(()), "which of two at once comes first is free");
    // A stale read: after a write, after another read, and a write under a revision that a read has shown.
    assert!(found(|history| history.operations[6] = read(64, 80, 2, &["a1"])).contains("4 was told"));
    assert!(order(&[read(1, 2, 5, &[]), read(3, 4, 4, &[])]).is_err());
    assert!(order(&[read(1, 2, 5, &[]), write(3, 4, 1, 5)]).is_err());
    assert_eq!(order(&[read(1, 3, 5, &[]), read(2, 4, 4, &[])]), Ok(()), "reads at once see what they like");
    // A write that changed nothing counts as a read.
    let nothing = What::Write { id: 1, answer: Answer::At { revision: 4, writes: false } };
    let nothing = |called, returned| Operation { called, returned: Some(returned), what: nothing.clone() };
    assert!(order(&[read(1, 2, 5, &[]), nothing(3, 4)]).is_err());
    assert_eq!(order(&[read(1, 2, 4, &[]), nothing(3, 4)]), Ok(()));
}

#[test]
fn serializable_reads_may_be_old_and_do_not_go_back() {
    let old = by_server(read(3, 4, 2, &[]), (0, 0));
    assert_eq!(order(&[read(1, 2, 5, &[]), old.clone()]), Ok(()));
    let newer = |server| by_server(read(1, 2, 5, &[]), server);
    assert!(order(&[newer((0, 0)), old.clone()]).is_err());
    assert_eq!(order(&[newer((0, 1)), old.clone()]), Ok(()), "another run of the member");
    assert_eq!(order(&[newer((1, 0)), old]), Ok(()), "another member");
    assert!(order(&[newer((1, 0)), read(3, 4, 4, &[])]).is_err(), "what it has shown, all others must see");
}

#[test]
fn reads_see_their_revision() {
    for saw in [&["a1"] as &[_], &["a2"], &["b1", "a2"], &["a2", "b1", "c1"], &[]] {
        let said = found(|history| history.operations[3] = read(28, 40, 3, saw));
        assert!(said.contains("a read of"), "{said}");
    }
    assert!(found(|history| history.operations[6] = read(64, 80, 6, &[])).contains("5 is the last"));
    let past = |revision, saw: &[&'static str]| {
        let saw = saw.iter().map(|text| pair(text)).collect();
        let what = What::Past { revision, range: everything(), saw };
        found_or_not(|history| history.operations[5].what = what)
    };
    assert_eq!(past(3, &["a2", "b1"]), Ok(()));
    assert!(past(3, &["b1"]).unwrap_err().contains("a read of"));
    assert!(past(6, &["b1", "c1"]).unwrap_err().contains("5 is the last"));
}

#[test]
fn watchers_that_miss_repeat_or_mix_up_events_are_found() {
    assert!(found(|history| drop(events(history, 0).remove(1))).contains("must see"));
    assert!(found(|history| events(history, 0).swap(0, 1)).contains("must see"));
    assert!(
        found(|history| {
            let first = events(history, 0)[1].clone();
            events(history, 1).insert(0, first);
        })
        .contains("must see")
    );
    assert!(found(|history| events(history, 1)[1].2 = Some(pair("other"))).contains("must see"));
    assert!(found(|history| drop(steps(history).pop())).contains("has nothing from 4"));
    assert!(found(|history| drop(steps(history).remove(0))).contains("must see"));
    assert!(found(|history| history.watches[0].from = 2).contains("must see"));
    assert!(
        found(|history| steps(history).push(WatchStep::Events { through: 9, compacted: -1, events: vec![] }))
            .contains("5 is the last")
    );
}

#[test]
fn a_watcher_that_is_told_of_a_compaction_goes_on_behind_it() {
    let mut history = right();
    history.watches[0].from = 1;
    history.watches[0].steps.insert(0, WatchStep::Compacted(3));
    assert_eq!(watches(&history), Ok(()));
    history.watches[0].from = 3;
    assert!(watches(&history).unwrap_err().contains("was told that 3 is compacted"));
}

#[test]
fn a_compaction_leaves_the_last_of_what_its_revision_did_to_a_key() {
    let changes = vec![change(2, 1, "a", Some("a1")), change(2, 1, "a", None), change(3, 2, "a", Some("a2"))];
    let see = |compacted, seen: &[Change]| {
        let events = seen.iter().map(event).collect();
        let steps = vec![WatchStep::Events { through: 3, compacted, events }];
        let watches = vec![Watch { range: everything(), from: 2, steps, is_complete: true }];
        watches_of(History { changes: changes.clone(), watches, ..History::default() })
    };
    assert!(see(-1, &changes) && see(2, &changes) && see(2, &changes[1..]));
    assert!(!see(-1, &changes[1..]) && !see(3, &changes[1..]) && !see(2, &changes[2..]));
    assert!(!see(2, &[changes[0].clone(), changes[2].clone()]));
}

fn watches_of(history: History) -> bool {
    watches(&history).is_ok()
}

#[test]
fn a_watcher_of_a_range_sees_only_that() {
    let mut history = right();
    history.watches[0].range = KeyRange::single(Bytes::from_static(b"a"));
    assert!(watches(&history).is_err());
    for step in 0..2 {
        events(&mut history, step).retain(|(_, key, _)| key == "a");
    }
    assert_eq!(watches(&history), Ok(()));
}

#[test]
fn leases_that_end_early_or_late_are_found() {
    let check = |lease: Lease| leases(&[lease], BOUNDS);
    assert_eq!(check(lease(9_000)), Ok(()));
    assert_eq!(check(lease(8_950)), Ok(()), "within the bound");
    assert!(check(lease(8_800)).unwrap_err().contains("lives until"));
    let mut revoked = lease(3_000);
    revoked.events[2] = LeaseEvent::Ended { at: millis(3_000), has_expired: false };
    assert_eq!(check(revoked), Ok(()));
    let alive = |at, since| {
        let mut alive = lease(0);
        alive.events[2] = LeaseEvent::Alive { at: millis(at), since: millis(since) };
        check(alive)
    };
    assert_eq!(alive(14_000, 0), Ok(()));
    assert!(alive(14_001, 0).unwrap_err().contains("is still there"));
    assert_eq!(alive(18_000, 10_000), Ok(()), "the cluster was not well before");
    assert!(alive(18_001, 10_000).is_err());
}
