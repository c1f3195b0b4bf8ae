//! Handed in one by one or together, the same comes to the same.

use super::simulation::Random;
use super::world::{World, leader, live, put};
use crate::command::{Command, LeaseGrant};
use crate::node::*;
use crate::types::*;
use std::collections::BTreeMap;

const MEMBERS: [u64; 3] = [1, 2, 3];

/// What members and clients have in the end.
#[derive(Debug, PartialEq)]
struct Told {
    logs: Vec<Vec<LogEntry>>,
    revisions: Vec<Revision>,
    reads: Vec<ReadTicket>,
    renewals: BTreeMap<LeaseTicket, Result<i64, LeaseRefusal>>,
}

/// And what it took.
struct Cost {
    sent: usize,
    written: usize,
}

/// Disks, state machines, the network and the members do what they have to do, in any order, until there is nothing more.
fn settle_somehow(world: &mut World, random: &mut Random) {
    let mut idle = 0;
    while idle < 60 {
        let id = MEMBERS[random.below(3) as usize];
        let count = 1 + random.below(6) as usize;
        let is_busy = match random.below(6) {
            0 => world.persist(id, count),
            1 => world.apply(id, count),
            2 => world.turn(id, count),
            _ => world.deliver(),
        };
        idle = if is_busy { 0 } else { idle + 1 };
    }
    loop {
        let mut is_busy = world.deliver();
        for id in MEMBERS {
            is_busy |=
                world.persist(id, usize::MAX) | world.apply(id, usize::MAX) | world.turn(id, usize::MAX);
        }
        if !is_busy {
            break;
        }
    }
}

/// Clients ask one member after the other for one to eight things at once.
fn run(seed: u64, is_together: bool) -> (Told, Cost) {
    let (mut asks, mut order) = (Random(seed), Random(!seed));
    let mut world = World::default();
    world.bootstrap(&MEMBERS);
    live(&mut world, 30);
    let leads = leader(&world).expect("somebody leads");
    world.propose(leads, vec![Command::LeaseGrant(LeaseGrant { id: LeaseId(7), ttl_seconds: 100 })]);
    live(&mut world, 1);
    if is_together {
        world.gathering = MEMBERS.into();
    }
    (world.sent, world.written) = (0, 0);
    let (mut reads, mut ticket) = (Vec::new(), 0);
    for _ in 0..40 {
        let at = MEMBERS[asks.below(3) as usize];
        let acknowledged = world.hosts.values().map(|host| host.state.applied()).max().expect("members");
        for _ in 0..=asks.below(8) {
            ticket += 1;
            match asks.below(6) {
                0 => world.input(at, Input::ReadIndex(ReadTicket(ticket))),
                1 => world.input(at, Input::RenewLease { lease: LeaseId(7), ticket: LeaseTicket(ticket) }),
                2 => world.input(at, Input::Tick),
                _ => {
                    let puts = (0..=asks.below(3)).map(|part| put("k", &format!("{ticket}.{part}"), 0));
                    world.propose(at, puts.collect());
                }
            }
        }
        if is_together {
            settle_somehow(&mut world, &mut order)
        } else {
            world.settle()
        }
        for (tickets, index) in std::mem::take(&mut world.reads_ready) {
            assert!(index >= acknowledged, "seed {seed}: {tickets:?} miss entry {acknowledged}");
            reads.extend(tickets);
        }
        if asks.below(4) == 0 {
            world.tick(&MEMBERS);
            if is_together { settle_somehow(&mut world, &mut order) } else { world.settle() }
        }
    }
    reads.sort_unstable();
    let hosts = || world.hosts.values();
    let told = Told {
        logs: hosts().map(|host| host.log.clone()).collect(),
        revisions: hosts().map(|host| host.state.mvcc.revision()).collect(),
        reads,
        renewals: world.renewals.iter().copied().collect(),
    };
    (told, Cost { sent: world.sent, written: world.written })
}

/// That nothing leaves before it is on the disk of its sender, the world looks after.
#[test]
fn one_by_one_or_together_logs_and_answers_are_the_same() {
    let (mut sent, mut written) = ([0, 0], [0, 0]);
    for seed in 0..20 {
        let (one_by_one, cost) = run(seed, false);
        let (together, less) = run(seed, true);
        assert!(one_by_one.logs.iter().all(|log| log.len() > 100), "hardly anything was written");
        assert!(one_by_one.reads.len() > 5 && one_by_one.renewals.len() > 5, "hardly anything was asked");
        assert_eq!(one_by_one, together, "seed {seed}");
        sent = [sent[0] + cost.sent, sent[1] + less.sent];
        written = [written[0] + cost.written, written[1] + less.written];
    }
    assert!(sent[1] * 10 < sent[0] * 8, "{sent:?} messages");
    assert!(written[1] * 10 < written[0] * 8, "{written:?} writes");
}
