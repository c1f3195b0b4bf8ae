//! How soon somebody leads again, in ticks of the members who are left.

use super::simulation::Random;
use super::world::{World, cluster, leader, live, other_leader, put};

/// Every one of them asks at least once by then, and whoever has the newest log goes on to ask until he is answered.
const TICKS_MAX: u64 = 17;

/// A leader is lost: who has heard him last, who has what he logged last, and whose clock is ahead of whose is left to chance. Returns who
/// it was, and for how many ticks he was missed.
fn lose_leader(world: &mut World, random: &mut Random, members: u64) -> (u64, u64) {
    let old = leader(world).expect("somebody leads");
    let mut others: Vec<u64> = (1..=members).filter(|id| *id != old).collect();
    let at = random.below(others.len() as u64) as usize;
    others.rotate_left(at);
    for id in &others {
        (0..random.below(10)).for_each(|_| world.tick(&[*id]));
    }
    for _ in 0..2 {
        // A majority hears him and has what he logs.
        world.cut_off = others[..random.below(members / 2 + 1) as usize].iter().copied().collect();
        world.propose(old, vec![put("k", "v", 0)]);
        world.tick(&[old]);
        world.settle();
        let at = random.below(others.len() as u64) as usize;
        others.rotate_left(at);
    }
    world.cut_off = [old].into();
    for ticks in 1..=3 * TICKS_MAX {
        for id in &others {
            world.tick(&[*id]);
            world.settle();
        }
        if other_leader(world, old).is_some() {
            return (old, ticks);
        }
    }
    panic!("nobody leads: {}", world.text);
}

#[test]
fn a_leader_who_is_lost_is_replaced_before_any_member_waits_twice() {
    for members in [3, 5, 7] {
        let (mut world, _) = cluster(&Vec::from_iter(1..=members));
        let seed = members;
        let mut random = Random(seed);
        let mut longest = 0;
        for round in 0..100 {
            world.text.clear();
            let (old, ticks) = lose_leader(&mut world, &mut random, members);
            assert!(
                ticks <= TICKS_MAX,
                "seed {seed}, round {round}: {ticks} ticks without m{old}\n{}",
                world.text
            );
            longest = longest.max(ticks);
            world.cut_off.clear();
            live(&mut world, 40);
        }
        assert!(longest > 10, "{members} members: nobody stands within the leader's lease");
    }
}
