//! What arrives together is handled together.

use super::world::{World, leader, live, put};
use crate::command::{Request, RequestHeader};
use crate::node::*;
use crate::types::*;

fn cluster(members: &[u64]) -> (World, u64) {
    let mut world = World::default();
    world.bootstrap(members);
    live(&mut world, 30);
    let leader = leader(&world).expect("somebody leads");
    (world, leader)
}

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
