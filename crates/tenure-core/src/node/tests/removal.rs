//! Members that are removed, and what those who stay must know.

use super::world::{World, cluster, leader, live, live_without, put};
use crate::node::*;
use crate::types::*;

fn remove(world: &mut World, at: u64, member: u64) {
    let change = world.conf_change(ConfChangeKind::Remove, member, false);
    world.input(at, Input::ProposeConfChange(change));
}

fn voters(world: &World, id: u64) -> Vec<u64> {
    world.hosts[&id].state.membership.conf_state().voters.iter().map(|member| member.0).collect()
}

fn role(world: &World, id: u64) -> Role {
    world.hosts[&id].node.as_ref().expect("it runs").status().role
}

/// Starts a member again whose state machine was never checkpointed.
fn lose_state(world: &mut World, id: u64) {
    world.crash(id);
    let host = world.hosts.get_mut(&id).expect("is there");
    host.state = crate::state::StateMachine::default();
    host.records = Default::default();
    world.start(id);
}

/// Of two members the one who stays has to know for ever that he needs nobody else, as soon as anybody can have heard of it: the engine
/// would let him ask the one who is gone.
#[test]
fn the_last_member_does_not_forget_that_the_other_was_removed() {
    let (mut world, stays) = cluster(&[1, 2]);
    let goes = 3 - stays;
    remove(&mut world, stays, goes);
    world.settle();
    assert_eq!(voters(&world, stays), [stays], "the removal is applied");
    world.crash(goes);
    lose_state(&mut world, stays);
    live_without(&mut world, &[stays], 40);
    assert_eq!(leader(&world), Some(stays));
}

/// Who is removed leaves when he has heard that it is committed.
#[test]
fn nobody_hears_that_a_member_is_removed_before_it_is_durable() {
    let (mut world, stays) = cluster(&[1, 2]);
    let goes = 3 - stays;
    remove(&mut world, stays, goes);
    // Everything goes on but for the disk of who stays, once the removal itself is on it.
    world.persist(stays, 1);
    for _ in 0..3 {
        world.tick(&[stays]);
        while world.deliver() || world.persist(goes, usize::MAX) || world.apply(goes, usize::MAX) {}
    }
    assert_eq!(voters(&world, goes), [1, 2], "he has not heard of it");
    world.crash(stays);
    world.start(stays);
    live(&mut world, 60);
    assert_eq!(voters(&world, stays), [stays]);
    assert_eq!(leader(&world), Some(stays));
}

/// A leader of two whose removal is committed, and whom nothing reaches any more. The other does not know of it.
fn leader_of_two_who_is_removed_and_cut_off() -> (World, u64, u64) {
    let (mut world, goes) = cluster(&[1, 2]);
    let stays = 3 - goes;
    remove(&mut world, goes, goes);
    world.persist(goes, usize::MAX);
    while world.deliver() {}
    world.persist(stays, usize::MAX);
    assert!(world.deliver() && world.network.iter().any(|message| message.from.0 == goes), "he tells of it");
    world.cut_off = [goes].into();
    while world.deliver() {}
    // His log goes on behind the removal.
    world.propose(goes, vec![put("k", "v", 0)]);
    world.settle();
    (world, goes, stays)
}

#[test]
fn a_leader_of_two_who_removes_himself_goes_only_when_the_other_knows() {
    let (mut world, goes, stays) = leader_of_two_who_is_removed_and_cut_off();
    assert_eq!(voters(&world, goes), [1, 2], "nobody else knows, so nobody is told");
    live(&mut world, 60);
    assert_eq!((voters(&world, goes), voters(&world, stays)), (vec![1, 2], vec![1, 2]));
    assert_eq!(role(&world, goes), Role::PreCandidate, "he is still needed, and can be elected");
    world.cut_off.clear();
    live(&mut world, 60);
    assert_eq!(voters(&world, stays), [stays]);
    world.crash(goes);
    world.propose(stays, vec![put("k", "w", 0)]);
    live_without(&mut world, &[stays], 40);
    assert_eq!(leader(&world), Some(stays));
    assert!(world.hosts[&stays].state.mvcc.revision() >= Revision(2), "writes go on");
}

/// What only he knows he has not noted either.
#[test]
fn a_leader_of_two_who_removes_himself_is_a_member_still_after_a_restart() {
    let (mut world, goes, stays) = leader_of_two_who_is_removed_and_cut_off();
    lose_state(&mut world, goes);
    world.cut_off.clear();
    live(&mut world, 60);
    assert_eq!(voters(&world, stays), [stays]);
    assert_eq!(leader(&world), Some(stays));
}

/// Members of etcd do not say how far they know the log to be committed.
#[test]
fn a_leader_who_removes_himself_goes_though_the_others_do_not_say_what_they_know() {
    // The other of two would lead by himself as soon as he has applied it; one of etcd takes a second.
    fn settle(world: &mut World, goes: u64) {
        let ids: Vec<u64> = world.hosts.keys().copied().collect();
        while ids.iter().any(|id| world.persist(*id, usize::MAX)) || world.deliver() {}
        world.apply(goes, usize::MAX);
    }
    for members in [&[1, 2][..], &[1, 2, 3], &[1, 2, 3, 4, 5]] {
        let (mut world, goes) = cluster(members);
        let others: Vec<u64> = members.iter().copied().filter(|id| *id != goes).collect();
        world.silent = others.iter().copied().collect();
        remove(&mut world, goes, goes);
        settle(&mut world, goes);
        assert_eq!(voters(&world, goes), members, "it is not known what they know");
        world.tick(&[goes]);
        settle(&mut world, goes);
        settle(&mut world, goes);
        assert_eq!(voters(&world, goes), others, "they have what was logged behind it");
        world.crash(goes);
        live(&mut world, 60);
        assert!(leader(&world).is_some_and(|leader| others.contains(&leader)), "of {members:?}");
    }
}

/// Nobody has to notice that there is no leader.
#[test]
fn a_leader_who_removes_himself_asks_another_to_lead() {
    for members in [&[1, 2][..], &[1, 2, 3], &[1, 2, 3, 4, 5]] {
        let (mut world, goes) = cluster(members);
        remove(&mut world, goes, goes);
        world.settle();
        world.settle();
        assert!(leader(&world).is_some_and(|leader| leader != goes), "of {members:?}, without a tick");
    }
}

/// Without the others nothing is committed, and with them everything: whoever is dead, nobody waits for him for ever.
#[test]
fn a_removal_waits_for_no_member_that_is_dead() {
    for about_leader in [true, false] {
        let (mut world, leads) = cluster(&[1, 2, 3]);
        let dead = leads % 3 + 1;
        let goes = if about_leader { leads } else { dead };
        world.crash(dead);
        remove(&mut world, leads, goes);
        live(&mut world, 3);
        let left: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != goes).collect();
        let third = 6 - leads - dead;
        assert_eq!((voters(&world, leads), voters(&world, third)), (left.clone(), left));
    }
}
