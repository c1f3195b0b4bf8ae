mod alike;
mod alone;
mod elections;
mod overtaken;
mod removal;
mod simulation;
mod together;
mod world;

use super::*;
use crate::types::LogPosition;
use world::World;

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                let path = concat!("src/node/testscripts/", stringify!($name));
                goldenscript::run(&mut World::default(), path).expect("goldenscript");
            }
        )*
    };
}

scripts! {
    one_member,
    downgrade,
    downgrade_behind,
    reads,
    restart,
    lease_expiry,
    lease_restart,
    lease_checkpoint,
    lease_lost,
    no_leader,
    three_members,
    leader_lost,
    membership,
    transfer,
    together_commit,
    together_answers,
    together_lost,
    together_removal,
    together_transfer,
}

fn alone(seed: u64) -> (Node, Vec<Output>) {
    alone_with(seed, |_| {})
}

fn alone_with(seed: u64, change: impl FnOnce(&mut NodeConfig)) -> (Node, Vec<Output>) {
    let member = Member { id: MemberId(1), name: "one".into(), ..Member::default() };
    let (hard_state, entries) = bootstrap(&[member]);
    let (ids, _) = RequestIds::pair(MemberId(1), 0);
    let restart = Restart { hard_state, entries, ..Restart::default() };
    let mut config = NodeConfig::new(MemberId(1), ids, seed);
    change(&mut config);
    Node::new(Moment::ORIGIN, config, restart).expect("starts")
}

/// Carries out everything but what `keep` picks, and returns that.
fn settle(node: &mut Node, out: Vec<Output>, keep: fn(&Output) -> bool) -> Vec<Output> {
    let mut todo: VecDeque<Output> = out.into();
    let mut kept = Vec::new();
    while let Some(output) = todo.pop_front() {
        let input = match output {
            output if keep(&output) => {
                kept.push(output);
                continue;
            }
            Output::Persist(persist) => Input::Persisted(persist.token),
            Output::Apply(entries) => Input::Applied(applied(&entries)),
            _ => continue,
        };
        todo.extend(node.handle(Moment::ORIGIN, input));
    }
    kept
}

/// As if a state machine had accepted the first member and done nothing for all else.
fn applied(entries: &[LogEntry]) -> Applied {
    let last = entries.last().expect("an entry");
    let alone = crate::types::ConfState { voters: vec![MemberId(1)], ..Default::default() };
    let conf_states = match last.kind {
        EntryKind::ConfChange => vec![(last.index, Ok(alone))],
        _ => Vec::new(),
    };
    Applied { index: last.index, conf_states, ..Applied::default() }
}

fn proposals(ids: std::ops::Range<u64>, bytes: usize) -> Input {
    let data = bytes::Bytes::from(vec![7; bytes]);
    Input::Propose(ids.map(|id| Proposal { id: RequestId(id), data: data.clone() }).collect())
}

fn dropped(out: &[Output]) -> Vec<(u64, DropReason)> {
    let reason = |output: &Output| match output {
        Output::Dropped { id, reason } => Some((id.0, *reason)),
        _ => None,
    };
    out.iter().filter_map(reason).collect()
}

#[test]
fn q8_what_is_not_applied_does_not_grow_without_end() {
    let (mut node, out) = alone(0);
    settle(&mut node, out, |_| false);
    // Everything reaches the disk, nothing is applied.
    let mut accepted = 0;
    let refused = loop {
        let out = node.handle(Moment::ORIGIN, proposals(accepted..accepted + 100, 10));
        if !dropped(&out).is_empty() {
            break out;
        }
        accepted += 100;
        assert!(accepted < 10_000, "nothing is ever refused");
        let out = settle(&mut node, out, |output| matches!(output, Output::Apply(_)));
        assert!(!out.is_empty(), "it is committed");
    };
    assert_eq!(accepted, 5_100, "more than 5,000 may not be unapplied when a proposal comes");
    let expected: Vec<_> = (accepted..accepted + 100).map(|id| (id, DropReason::TooManyRequests)).collect();
    assert_eq!(dropped(&refused), expected);
}

#[test]
fn what_is_not_committed_does_not_grow_without_end() {
    let (mut node, out) = alone_with(0, |config| {
        config.uncommitted_bytes_max = 1_000;
        config.message_bytes_max = 1_000;
    });
    settle(&mut node, out, |_| false);
    let first = node.handle(Moment::ORIGIN, proposals(1..3, 400));
    assert_eq!(dropped(&first), []);
    let second = node.handle(Moment::ORIGIN, proposals(3..4, 400));
    assert_eq!(dropped(&second), [(3, DropReason::TooManyRequests)]);
    settle(&mut node, first, |_| false);
    assert_eq!(dropped(&node.handle(Moment::ORIGIN, proposals(4..5, 400))), []);
}

#[test]
fn what_waits_for_a_leader_does_not_grow_without_end() {
    let (mut node, _) = alone_with(0, |config| config.waiting_max = 2);
    assert_eq!(dropped(&node.handle(Moment::ORIGIN, proposals(1..4, 1))), [(3, DropReason::TooManyRequests)]);
    for ticket in 1..3 {
        assert_eq!(node.handle(Moment::ORIGIN, Input::ReadIndex(ReadTicket(ticket))), []);
    }
    let out = node.handle(Moment::ORIGIN, Input::ReadIndex(ReadTicket(3)));
    assert_eq!(out, [Output::ReadDropped(vec![ReadTicket(3)])]);
}

/// Whoever asked has given up long ago.
#[test]
fn a_change_of_members_does_not_wait_for_a_leader_for_ever() {
    let members: Vec<Member> =
        (1..=2).map(|id| Member { id: MemberId(id), name: "m".into(), ..Member::default() }).collect();
    let (hard_state, entries) = bootstrap(&members);
    let (ids, _) = RequestIds::pair(MemberId(1), 0);
    let restart = Restart { hard_state, entries, ..Restart::default() };
    let config = NodeConfig::new(MemberId(1), ids, 0);
    let patience = config.request_timeout;
    let (mut node, _) = Node::new(Moment::ORIGIN, config, restart).expect("starts");
    let change = ConfChange {
        id: RequestId(9),
        kind: ConfChangeKind::Remove,
        member: MemberId(2),
        context: "".into(),
    };
    assert_eq!(dropped(&node.handle(Moment::ORIGIN, Input::ProposeConfChange(change))), []);
    assert_eq!(dropped(&node.handle(Moment::ORIGIN + patience, Input::Tick)), []);
    let late = Moment::ORIGIN + patience + std::time::Duration::from_millis(1);
    assert_eq!(dropped(&node.handle(late, Input::Tick)), [(9, DropReason::NoLeader)]);
}

#[test]
fn a_driver_that_breaks_the_protocol_is_stopped() {
    let (mut node, out) = alone(0);
    settle(&mut node, out, |_| false);
    let too_far = Applied { index: LogIndex(99), ..Applied::default() };
    let out = node.handle(Moment::ORIGIN, Input::Applied(too_far));
    assert!(matches!(&out[..], [Output::Halt(_)]), "{out:?}");
    assert_eq!(node.handle(Moment::ORIGIN, Input::Tick), [], "a node that has halted does nothing");
    let (mut node, _) = alone(0);
    let out = node.handle(Moment::ORIGIN, Input::Persisted(PersistToken(7)));
    assert!(matches!(&out[..], [Output::Halt(_)]), "{out:?}");
}

#[test]
fn a_state_machine_that_disagrees_about_the_members_is_stopped() {
    let (mut node, out) = alone(0);
    let Output::Apply(entries) = &out[0] else { panic!("{out:?}") };
    let other = crate::types::ConfState { voters: vec![MemberId(2)], ..Default::default() };
    let applied = Applied { conf_states: vec![(LogIndex(1), Ok(other))], ..applied(entries) };
    let out = node.handle(Moment::ORIGIN, Input::Applied(applied));
    assert!(matches!(&out[..], [Output::Halt(_)]), "{out:?}");
}

#[test]
fn tokens_of_one_sync_may_come_back_as_the_last() {
    let (mut node, out) = alone(0);
    settle(&mut node, out, |_| false);
    let mut persists = Vec::new();
    for id in 1..4 {
        persists.extend(node.handle(Moment::ORIGIN, proposals(id..id + 1, 1)));
    }
    let Some(Output::Persist(last)) = persists.pop() else { panic!("{persists:?}") };
    let last_index = last.entries[0].index;
    let out = node.handle(Moment::ORIGIN, Input::Persisted(last.token));
    let Output::Apply(entries) = &out[0] else { panic!("{out:?}") };
    assert_eq!((entries.len(), entries[2].index), (3, last_index));
    for persist in persists {
        let Output::Persist(persist) = persist else { panic!("{persist:?}") };
        assert_eq!(node.handle(Moment::ORIGIN, Input::Persisted(persist.token)), []);
    }
}

#[test]
fn log_and_state_machine_must_belong_together() {
    let entry = |index, term| LogEntry {
        index: LogIndex(index),
        term: Term(term),
        kind: EntryKind::Normal,
        data: bytes::Bytes::new(),
    };
    let start = |restart: Restart| {
        let (ids, _) = RequestIds::pair(MemberId(1), 0);
        Node::new(Moment::ORIGIN, NodeConfig::new(MemberId(1), ids, 0), restart)
            .map(|(node, _)| node.status())
    };
    let at = |index, term| LogPosition { index: LogIndex(index), term: Term(term) };
    let commit = |commit| HardState { term: Term(2), vote: None, commit: LogIndex(commit) };
    let two = vec![entry(6, 1), entry(7, 2)];
    let good = Restart {
        hard_state: commit(6),
        start: at(5, 1),
        entries: two.clone(),
        applied: LogIndex(7),
        ..Restart::default()
    };
    let status = start(good.clone()).expect("starts");
    assert_eq!((status.commit, status.last), (LogIndex(7), LogIndex(7)), "what is applied is committed");
    let gap = Restart { entries: vec![entry(6, 1), entry(8, 2)], ..good.clone() };
    assert_eq!(start(gap), Err(StartError::Gap { after: LogIndex(6), found: LogIndex(8) }));
    for applied in [4, 8] {
        let apart = Restart { applied: LogIndex(applied), ..good.clone() };
        let (first, last, applied) = (LogIndex(6), LogIndex(7), LogIndex(applied));
        assert_eq!(start(apart), Err(StartError::Apart { first, last, applied }));
    }
    let lost = Restart { hard_state: commit(8), ..good.clone() };
    assert_eq!(start(lost), Err(StartError::Lost { last: LogIndex(7), commit: LogIndex(8) }));
    let torn = Restart { hard_state: HardState { term: Term(1), ..commit(6) }, ..good };
    assert_eq!(start(torn).expect("starts").term, Term(2), "an entry tells its term");
}

#[test]
fn the_cluster_version_rises_one_minor_at_a_time() {
    let next = |cluster, oldest| version::next(cluster, oldest, None);
    assert_eq!(next(None, "3.7.1"), Some("3.7.0".into()));
    assert_eq!(next(Some("3.5.0"), "3.7.1"), Some("3.6.0".into()));
    assert_eq!(next(Some("3.6.0"), "3.7.0-alpha"), Some("3.7.0".into()));
    assert_eq!(next(Some("3.7.0"), "3.7.1"), None);
    assert_eq!(next(Some("3.7.0"), "3.6.4"), None, "that would be a downgrade");
    assert_eq!(next(Some("3.7.0"), "4.0.0"), None);
    assert_eq!(next(None, "not a version"), None);
}

#[test]
fn the_cluster_version_falls_to_the_target_of_a_downgrade() {
    let next = |cluster, oldest, target| version::next(Some(cluster), oldest, Some(target));
    assert_eq!(next("3.7.0", "3.7.1", "3.6.0"), Some("3.6.0".into()));
    assert_eq!(next("3.6.0", "3.7.1", "3.6.0"), None, "it is there, and is not raised again");
    assert_eq!(next("3.6.0", "3.6.9", "3.6.0"), None);
    assert_eq!(next("3.7.0", "3.7.1", "3.5.0"), None, "one minor at a time");
    assert_eq!(next("3.7.0", "3.6.9", "3.6.0"), None, "a member is older than the cluster");
    assert_eq!(next("3.7.0", "3.7.1", "3.8.0"), None);
    assert_eq!(next("3.7.0", "3.7.1", "not a version"), None);
}

#[test]
fn messages_that_no_member_sends_are_ignored() {
    let (mut node, out) = alone(0);
    settle(&mut node, out, |_| false);
    let before = node.status();
    let from = |kind| Message { term: Term(9), ..Message::new(kind, MemberId(2), MemberId(1)) };
    let entry = |index| LogEntry {
        index: LogIndex(index),
        term: Term(9),
        kind: EntryKind::Normal,
        data: bytes::Bytes::new(),
    };
    let bad = [
        from(MessageKind::Propose),
        from(MessageKind::ReadIndex),
        from(MessageKind::ReadIndexResponse),
        from(MessageKind::InstallSnapshot),
        Message { entries: vec![entry(2)], ..from(MessageKind::Append) },
        Message { term: Term(0), ..from(MessageKind::Heartbeat) },
        Message { to: MemberId(3), ..from(MessageKind::Heartbeat) },
        Message { from: MemberId(1), ..from(MessageKind::Heartbeat) },
    ];
    for message in bad {
        let out = node.handle(Moment::ORIGIN, Input::Receive(Box::new(message)));
        assert_eq!((out, node.status()), (vec![], before.clone()));
    }
}
