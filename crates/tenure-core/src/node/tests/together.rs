//! What arrives together is handled together.

use super::world::{World, cluster, leader, live, put};
use crate::command::{Command, LeaseGrant, Request, RequestHeader};
use crate::node::*;
use crate::types::*;

fn status(world: &World, id: u64) -> Status {
    world.hosts[&id].node.as_ref().expect("it runs").status()
}

/// A message of the leader `from`.
fn message(world: &World, kind: MessageKind, from: u64, to: u64) -> Message {
    Message { term: status(world, from).term, ..Message::new(kind, MemberId(from), MemberId(to)) }
}

/// What the leader `from` sends of `count` puts behind the log of `to`, with a commit index.
fn append(world: &World, from: u64, to: u64, count: u64, commit: LogIndex) -> Message {
    let message = message(world, MessageKind::Append, from, to);
    let (term, index) = (message.term, status(world, to).last);
    let entries = (1..=count).map(|at| {
        let header = RequestHeader { id: RequestId(900 + at), ..RequestHeader::default() };
        let data = Request { header, command: put("k", "v", 0) }.encode();
        LogEntry { index: LogIndex(index.0 + at), term, kind: EntryKind::Normal, data }
    });
    Message { index, log_term: term, entries: entries.collect(), commit, ..message }
}

fn receive(world: &mut World, message: Message) {
    world.input(message.to.0, Input::Receive(Box::new(message)));
}

/// The engine panicked: who is alone wins at once, and what he had just been sent was not on his disk.
#[test]
fn who_is_left_alone_leads_only_with_what_is_on_his_disk() {
    let ways: [fn(&mut World, u64, u64); 3] = [
        |world, goes, stays| receive(world, message(world, MessageKind::TimeoutNow, goes, stays)),
        |world, _, stays| world.input(stays, Input::Campaign),
        |world, _, stays| (0..30).for_each(|_| world.tick(&[stays])),
    ];
    for begin_election in ways {
        let (mut world, goes) = cluster(&[1, 2]);
        let stays = 3 - goes;
        let change = world.conf_change(ConfChangeKind::Remove, goes, false);
        world.input(goes, Input::ProposeConfChange(change));
        while world.deliver() || world.persist(goes, usize::MAX) || world.persist(stays, usize::MAX) {}
        world.gathering = [stays].into();
        assert!(world.apply(stays, usize::MAX), "he can apply that he is alone");
        let commit = status(&world, stays).commit;
        let more = append(&world, goes, stays, 1, commit);
        receive(&mut world, more);
        begin_election(&mut world, goes, stays);
        world.turn(stays, usize::MAX);
        world.crash(goes);
        world.gathering.clear();
        live(&mut world, 3);
        assert_eq!(leader(&world), Some(stays));
    }
}

/// Started again he leads in the same term, and would give learners other entries in the places of those that they have.
#[test]
fn a_leader_who_votes_alone_tells_learners_nothing_of_a_term_that_he_could_forget() {
    let (mut world, leads) = cluster(&[1]);
    let change = world.conf_change(ConfChangeKind::AddLearner, 2, false);
    world.input(leads, Input::ProposeConfChange(change));
    world.join(2);
    live(&mut world, 5);
    assert_eq!(status(&world, 2).last, status(&world, 1).last, "the learner has everything");

    world.crash(1);
    world.start(1);
    world.propose(1, vec![put("k", "lost", 0)]);
    let term = status(&world, 1).term;
    while world.deliver() {}
    // The power fails before anything is on his disk.
    world.crash(1);
    world.start(1);
    assert_eq!(status(&world, 1).term, term, "he knows of no other term");
    world.propose(1, vec![put("k", "kept", 0)]);
    live(&mut world, 5);
    assert_eq!(world.hosts[&1].log, world.hosts[&2].log);
}

/// A log whose commit index is ahead of its entries does not start any more.
#[test]
fn a_commit_index_goes_to_the_disk_behind_its_entries() {
    let (mut world, leads) = cluster(&[1, 2, 3]);
    let to = leads % 3 + 1;
    let before = status(&world, to).commit;
    world.propose(leads, vec![put("k", "v", 0)]);
    world.settle();
    assert!(status(&world, to).commit > before, "he has a commit index to save");
    world.gathering = [to].into();
    let commit = LogIndex(status(&world, to).last.0 + 2);
    let more = append(&world, leads, to, 2, commit);
    receive(&mut world, more);
    world.tick(&[to]);
    world.turn(to, usize::MAX);
    let host = world.hosts.get_mut(&to).expect("is there");
    let mut reached = 0;
    while let Some(persist) = host.to_persist.pop_front() {
        reached += host.persist(persist).0;
        let last = host.log.last().expect("entries").index;
        assert!(host.hard_state.commit <= last, "{:?} and a log up to {last}", host.hard_state);
    }
    assert!(reached > 0 && host.hard_state.commit == commit, "he has written it");
}

/// He was asked for a renewal while he led, and what lets it be answered is what ends that: he answered it without having asked whether
/// he led.
#[test]
fn a_leader_renews_no_lease_in_the_turn_in_which_he_removes_himself() {
    let (mut world, goes) = cluster(&[1, 2, 3]);
    world.propose(goes, vec![Command::LeaseGrant(LeaseGrant { id: LeaseId(7), ttl_seconds: 10 })]);
    let change = world.conf_change(ConfChangeKind::Remove, goes, false);
    world.input(goes, Input::ProposeConfChange(change));
    let carry_on = |world: &mut World| {
        while world.deliver() || (1..=3).any(|id| world.persist(id, usize::MAX)) {}
    };
    carry_on(&mut world);
    world.input(goes, Input::RenewLease { lease: LeaseId(7), ticket: LeaseTicket(1) });
    carry_on(&mut world);
    assert_eq!(world.renewals, [], "the lease is not known yet");
    assert!(world.apply(goes, usize::MAX));
    assert_eq!(status(&world, goes).role, Role::Follower);
    assert_eq!(world.renewals, [(LeaseTicket(1), Err(LeaseRefusal::NotPrimary))]);
}

/// The engine draws another timeout whenever it enters a term or role, at random; ours comes from the seed.
#[test]
fn when_an_election_begins_in_the_middle_of_a_turn_is_not_left_to_chance() {
    let ticks_until_election = || {
        let mut world = World::default();
        world.bootstrap(&[1, 2, 3]);
        world.settle();
        world.gathering = [1].into();
        let heartbeat = Message::new(MessageKind::Heartbeat, MemberId(2), MemberId(1));
        receive(&mut world, Message { term: Term(7), ..heartbeat });
        (0..20).for_each(|_| world.tick(&[1]));
        world.turn(1, usize::MAX);
        // What is left of it is how long ago he began.
        world.gathering.clear();
        world.persist(1, usize::MAX);
        (1..60).find(|_| {
            world.text.clear();
            world.tick(&[1]);
            world.text.contains("PreVote")
        })
    };
    let first = ticks_until_election();
    assert!(first.is_some(), "he asks again");
    (0..10).for_each(|_| assert_eq!(ticks_until_election(), first));
}

#[test]
fn after_a_halt_nothing_that_arrived_with_it_is_done() {
    let (mut world, leads) = cluster(&[1, 2, 3]);
    let node = world.hosts.get_mut(&leads).expect("is there").node.as_mut().expect("it runs");
    let proposal = Proposal { id: RequestId(5), data: "x".into() };
    let applied = Applied { index: LogIndex(99), ..Applied::default() };
    let inputs = [
        Input::Applied(applied),
        Input::Propose(vec![proposal]),
        Input::ListLeases(LeaseTicket(1)),
        Input::Tick,
        Input::Stop,
    ];
    let out = node.handle_all(world.now, inputs);
    assert!(matches!(&out[..], [Output::Halt(_)]), "{out:?}");
}

/// Whoever stops has noted how much life his leases have left, if he leads; if he does not lead any more, there is nothing to wait for.
#[test]
fn a_stop_is_answered_though_the_leadership_goes_in_the_same_turn() {
    for is_lost in [true, false] {
        let (mut world, leads) = cluster(&[1, 2, 3]);
        world.propose(leads, vec![Command::LeaseGrant(LeaseGrant { id: LeaseId(7), ttl_seconds: 600 })]);
        live(&mut world, 20);
        let vote = message(&world, MessageKind::Vote, leads % 3 + 1, leads);
        let (term, last) = (Term(vote.term.0 + 1), status(&world, leads).last);
        let context = bytes::Bytes::from_static(b"CampaignTransfer");
        let vote = Message { term, index: last, log_term: vote.term, context, ..vote };
        world.gathering = [leads].into();
        world.input(leads, Input::Stop);
        if is_lost {
            receive(&mut world, vote);
        }
        world.propose(leads, vec![put("k", "v", 0)]);
        world.text.clear();
        world.turn(leads, usize::MAX);
        let line = format!("m{leads} may stop\n");
        assert_eq!(world.text.matches(&line).count(), usize::from(is_lost), "{}", world.text);
        world.gathering.clear();
        world.settle();
        assert_eq!(world.text.matches(&line).count(), 1, "{}", world.text);
    }
}

/// Whatever comes first: that a state has arrived, or the answer of who has taken it up.
#[test]
fn who_has_taken_up_a_state_is_sent_what_follows_whatever_is_heard_of_it_first() {
    for (is_report_first, arrived) in [(true, true), (false, true), (true, false), (false, false)] {
        let mut world = World::default();
        world.catchup_entries_max = Some(0);
        world.bootstrap(&[1, 2, 3]);
        live(&mut world, 30);
        let leads = leader(&world).expect("somebody leads");
        let behind = leads % 3 + 1;
        world.crash(behind);
        (0..5).for_each(|_| {
            world.propose(leads, vec![put("k", "v", 0)]);
            world.settle();
        });
        world.start(behind);
        while !world.text.contains(&format!("m{leads} -> m{behind} InstallSnapshot")) {
            live(&mut world, 1);
        }
        // The state is in its place, and the leader goes on.
        world.text.clear();
        world.gathering = [leads].into();
        world.propose(leads, vec![put("k", "w", 0)]);
        let report = Input::SnapshotSent { to: MemberId(behind), arrived };
        if is_report_first {
            world.input(leads, report);
            world.settle();
        } else {
            world.settle();
            world.input(leads, report);
        }
        world.turn(leads, usize::MAX);
        world.gathering.clear();
        live(&mut world, 3);
        assert_eq!(status(&world, behind).applied, status(&world, leads).last, "{}", world.text);
    }
}
