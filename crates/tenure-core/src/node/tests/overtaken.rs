//! A leader whose time is over: he removed himself, or others went on without him.

use super::world::{World, cluster, leader, live, live_without, other_leader, put};
use crate::command::{Command, LeaseGrant};
use crate::node::*;
use crate::types::*;

/// The engine panicked when the disk of a leader told that an entry behind his removal is durable.
#[test]
fn a_leader_that_is_removed_steps_down_though_more_is_on_its_way_to_his_disk() {
    let (mut world, old) = cluster(&[1, 2, 3]);
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != old).collect();

    let change = world.conf_change(ConfChangeKind::Remove, old, false);
    world.input(old, Input::ProposeConfChange(change));
    world.persist(old, 1);
    while world.deliver() {}
    for id in &others {
        world.persist(*id, usize::MAX);
    }
    while world.deliver() {}
    for id in &others {
        world.persist(*id, usize::MAX);
    }
    while world.deliver() {}
    world.propose(old, vec![put("k", "v", 0)]);
    world.persist(old, 1);
    world.apply(old, usize::MAX);
    let status = world.hosts[&old].node.as_ref().expect("it runs").status();
    assert_eq!(status.role, Role::Follower, "who is no member does not lead");
    world.persist(old, usize::MAX);

    live(&mut world, 40);
    let new = leader(&world).expect("the others elect somebody");
    assert_ne!(new, old);
    world.propose(new, vec![put("k", "w", 0)]);
    live(&mut world, 5);
    let revisions: Vec<Revision> = others.iter().map(|id| world.hosts[id].state.mvcc.revision()).collect();
    assert!(revisions[0] > Revision(1) && revisions[0] == revisions[1], "{revisions:?}");
}

/// The engine lets him lead for up to two election timeouts, and the others, who hear his heartbeats, wait for two more.
#[test]
fn a_leader_who_hears_nobody_for_an_election_timeout_is_replaced_at_once() {
    let (mut world, old) = cluster(&[1, 2, 3]);
    world.deaf = [old].into();
    let ticks = (1..).find(|_| {
        live(&mut world, 1);
        other_leader(&world, old).is_some()
    });
    assert_eq!(ticks, Some(10), "an election timeout has ten ticks");
    world.deaf.clear();
    live(&mut world, 30);
    assert_ne!(leader(&world), Some(old), "who has been deaf follows");
}

/// Each was told that it could win, voted for itself, and waited for another election timeout.
#[test]
fn two_who_miss_their_leader_at_once_do_not_split_the_votes() {
    let (mut world, old) = cluster(&[1, 2, 3]);
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != old).collect();
    world.cut_off = [old].into();
    world.tick(&others);
    others.iter().for_each(|id| world.input(*id, Input::Campaign));
    world.settle();
    assert_eq!(other_leader(&world, old), others.iter().max().copied(), "one of them gives way");
}

/// He waited for another election timeout before he asked again, and whoever had not answered could not win with a shorter log.
#[test]
fn who_was_not_answered_for_a_leader_heard_too_lately_asks_again_soon() {
    let (mut world, old) = cluster(&[1, 2, 3]);
    let (first, second) = (old % 3 + 1, (old + 1) % 3 + 1);
    world.cut_off = [second].into();
    world.propose(old, vec![put("k", "v", 0)]);
    world.settle();
    world.cut_off = [old].into();
    (0..9).for_each(|_| world.tick(&[second]));
    world.text.clear();
    let asks = (1..30).any(|_| {
        live_without(&mut world, &[first], 1);
        world.text.contains("PreVote")
    });
    let is_answered = world.text.contains("PreVoteResponse");
    assert!(asks && !is_answered, "the leader was heard too lately: {}", world.text);
    let ticks = (1..30).find(|_| {
        live_without(&mut world, &[first, second], 1);
        other_leader(&world, old).is_some()
    });
    assert_eq!((other_leader(&world, old), ticks), (Some(first), Some(3)), "{}", world.text);
}

#[test]
fn a_leader_who_hears_a_majority_goes_on() {
    let (mut world, old) = cluster(&[1, 2, 3]);
    let silent = [1, 2, 3].into_iter().find(|id| *id != old).expect("another one");
    world.cut_off = [silent].into();
    live(&mut world, 100);
    assert_eq!(leader(&world), Some(old));
}

fn renew(world: &mut World, at: u64) -> Vec<(LeaseTicket, Result<i64, LeaseRefusal>)> {
    world.renewals.clear();
    world.input(at, Input::RenewLease { lease: LeaseId(7), ticket: LeaseTicket(1) });
    world.renewals.clone()
}

/// A process that is held up finds its calls before it finds out what time it is, and believes that it leads: whoever it tells that
/// his lease lives would lose it, since the new leader knows nothing of it.
#[test]
fn a_leader_that_was_held_up_renews_no_lease() {
    let (mut world, old) = cluster(&[1, 2, 3]);
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != old).collect();
    world.propose(old, vec![Command::LeaseGrant(LeaseGrant { id: LeaseId(7), ttl_seconds: 10 })]);
    live(&mut world, 2);

    assert_eq!(renew(&mut world, old), [], "the others are asked first");
    world.settle();
    assert_eq!(world.renewals, [(LeaseTicket(1), Ok(10))]);
    assert_eq!(renew(&mut world, old), [(LeaseTicket(1), Ok(10))], "for a while that is known");

    world.cut_off = [old].into();
    live_without(&mut world, &others, 40);
    assert!(other_leader(&world, old).is_some(), "the others elect somebody");
    assert_eq!(renew(&mut world, old), [], "he cannot know");
    world.cut_off.clear();
    live(&mut world, 5);
    assert_eq!(world.renewals, [(LeaseTicket(1), Err(LeaseRefusal::NotPrimary))]);
}

/// As in etcd: a read that comes to a leader before he has committed anything waits there, and need not be asked for again.
#[test]
fn a_read_that_asks_a_new_leader_too_early_is_answered_as_soon_as_he_knows() {
    let (mut world, old) = cluster(&[1, 2, 3]);
    let (new, third) = (old % 3 + 1, (old + 1) % 3 + 1);
    world.cut_off = [old].into();
    live_without(&mut world, &[new, third], 20);
    // The new leader is told to lead again in another term, and what he logs then stays on its way.
    let leads = other_leader(&world, old).expect("somebody leads");
    let asks = if leads == new { third } else { new };
    world.input(leads, Input::TransferLeader(MemberId(asks)));
    while leader_in(&world, asks).is_none() {
        assert!(world.deliver() || world.persist(leads, usize::MAX) || world.persist(asks, usize::MAX));
    }
    world.input(leads, Input::ReadIndex(ReadTicket(5)));
    let mut held = Vec::new();
    loop {
        let (answers, others): (Vec<_>, Vec<_>) =
            world.network.drain(..).partition(|message| message.kind == MessageKind::AppendResponse);
        held.extend(answers);
        world.network.extend(others);
        let is_busy = world.deliver() | world.persist(leads, usize::MAX) | world.persist(asks, usize::MAX);
        if !is_busy {
            break;
        }
    }
    assert!(world.text.contains(&format!("m{leads} -> m{asks} ReadIndex ")), "he was asked");
    assert_eq!(world.reads_ready, [], "he does not know yet what is committed");
    world.network.extend(held);
    world.settle();
    assert_eq!(world.reads_ready.len(), 1, "without a tick");
}

fn leader_in(world: &World, id: u64) -> Option<()> {
    let node = world.hosts[&id].node.as_ref()?;
    (node.status().role == Role::Leader).then_some(())
}

/// The engine panicked: it looks through the log behind what is applied, and there was none.
#[test]
fn who_takes_up_a_snapshot_stands_for_no_election() {
    let mut world = World::default();
    world.bootstrap(&[1, 2, 3]);
    live(&mut world, 30);
    let from = leader(&world).expect("somebody leads");
    let to = if from == 1 { 2 } else { 1 };
    let Status { term, last, .. } = world.hosts[&from].node.as_ref().expect("it runs").status();
    let message = |kind| Message { term, ..Message::new(kind, MemberId(from), MemberId(to)) };
    let conf_state = ConfState { voters: [1, 2, 3].map(MemberId).into(), ..ConfState::default() };
    let position = LogPosition { index: LogIndex(last.0 + 50), term };
    let snapshot = Message {
        snapshot: Some(Snapshot { position, conf_state }),
        ..message(MessageKind::InstallSnapshot)
    };
    world.input(to, Input::Receive(Box::new(snapshot)));
    assert!(!world.hosts[&to].to_persist.is_empty(), "it is on its way to its place");
    world.input(to, Input::Receive(Box::new(message(MessageKind::TimeoutNow))));
    world.input(to, Input::Campaign);
    (0..40).for_each(|_| world.tick(&[to]));
    assert_eq!(world.hosts[&to].node.as_ref().expect("it runs").status().role, Role::Follower);
}
