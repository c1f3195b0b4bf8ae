//! A leader whose time is over: he removed himself, or others went on without him.

use super::world::{World, put};
use crate::command::{Command, LeaseGrant};
use crate::node::*;
use crate::types::*;

fn leader(world: &World) -> Option<u64> {
    let leads =
        |id: &u64| world.hosts[id].node.as_ref().is_some_and(|node| node.status().role == Role::Leader);
    world.hosts.keys().copied().find(leads)
}

fn live(world: &mut World, ticks: usize) {
    let ids: Vec<u64> = world.hosts.keys().copied().collect();
    live_without(world, &ids, ticks);
}

fn live_without(world: &mut World, ids: &[u64], ticks: usize) {
    for _ in 0..ticks {
        world.tick(ids);
        world.settle();
    }
}

/// The engine panicked when the disk of a leader told that an entry behind his removal is durable.
#[test]
fn a_leader_that_is_removed_steps_down_though_more_is_on_its_way_to_his_disk() {
    let mut world = World::default();
    world.bootstrap(&[1, 2, 3]);
    live(&mut world, 30);
    let old = leader(&world).expect("somebody leads");
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != old).collect();

    let change = world.conf_change(ConfChangeKind::Remove, old, false);
    world.input(old, Input::ProposeConfChange(change));
    world.persist(old, 1);
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

fn renew(world: &mut World, at: u64) -> Vec<(LeaseTicket, Result<i64, LeaseRefusal>)> {
    world.renewals.clear();
    world.input(at, Input::RenewLease { lease: LeaseId(7), ticket: LeaseTicket(1) });
    world.renewals.clone()
}

/// A process that is held up finds its calls before it finds out what time it is, and believes that it leads: whoever it tells that
/// his lease lives would lose it, since the new leader knows nothing of it.
#[test]
fn a_leader_that_was_held_up_renews_no_lease() {
    let mut world = World::default();
    world.bootstrap(&[1, 2, 3]);
    live(&mut world, 30);
    let old = leader(&world).expect("somebody leads");
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

fn other_leader(world: &World, old: u64) -> Option<u64> {
    let leads = |id: &u64| {
        *id != old && world.hosts[id].node.as_ref().is_some_and(|node| node.status().role == Role::Leader)
    };
    world.hosts.keys().copied().find(leads)
}

/// Of two members the one who stays has to know for ever that he needs nobody else, as soon as anybody can have heard of it: the engine
/// would let him ask the one who is gone.
#[test]
fn the_last_member_does_not_forget_that_the_other_was_removed() {
    let mut world = World::default();
    world.bootstrap(&[1, 2]);
    live(&mut world, 30);
    let stays = leader(&world).expect("somebody leads");
    let goes = 3 - stays;
    let change = world.conf_change(ConfChangeKind::Remove, goes, false);
    world.input(stays, Input::ProposeConfChange(change));
    world.settle();
    let conf_state = world.hosts[&stays].state.membership.conf_state().clone();
    assert_eq!(conf_state.voters, [MemberId(stays)], "the removal is applied");

    // The state machine of a test is durable at once; a real one is only at its next checkpoint.
    let host = world.hosts.get_mut(&stays).expect("is there");
    host.state = crate::state::StateMachine::default();
    host.records = Default::default();
    world.crash(goes);
    world.crash(stays);
    world.start(stays);
    live_without(&mut world, &[stays], 40);
    assert_eq!(leader(&world), Some(stays));
}
