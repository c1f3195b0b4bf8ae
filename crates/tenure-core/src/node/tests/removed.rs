//! A leader that removes itself.

use super::world::{World, put};
use crate::node::*;
use crate::types::*;

fn leader(world: &World) -> Option<u64> {
    let leads =
        |id: &u64| world.hosts[id].node.as_ref().is_some_and(|node| node.status().role == Role::Leader);
    world.hosts.keys().copied().find(leads)
}

fn live(world: &mut World, ticks: usize) {
    let ids: Vec<u64> = world.hosts.keys().copied().collect();
    for _ in 0..ticks {
        world.tick(&ids);
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
    world.propose(old, vec![put("k", "v", 0)]);
    world.persist(old, 1);
    while world.deliver() {}
    for id in &others {
        world.persist(*id, usize::MAX);
    }
    while world.deliver() {}
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
