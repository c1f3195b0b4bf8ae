//! Members that crash and messages that get lost, from a seed.

use super::world::{World, put};
use crate::node::*;
use crate::types::*;
use std::collections::{BTreeMap, BTreeSet};

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

struct Simulation {
    seed: u64,
    random: Random,
    world: World,
    /// Those that are there.
    ids: Vec<u64>,
    /// Whether members come and go.
    is_changing: bool,
    /// Every entry that any member has applied: no other may ever apply another one there.
    history: BTreeMap<LogIndex, LogEntry>,
    /// What was applied somewhere, so may have been acknowledged, when a read began.
    reads: BTreeMap<u64, LogIndex>,
    reads_answered: usize,
    /// The revision at the end.
    written: i64,
}

impl Simulation {
    fn new(seed: u64, members: u64) -> Self {
        let ids: Vec<u64> = (1..=members).collect();
        let mut world = World::default();
        world.bootstrap(&ids);
        Self {
            seed,
            random: Random(seed),
            world,
            ids,
            is_changing: false,
            history: BTreeMap::new(),
            reads: BTreeMap::new(),
            reads_answered: 0,
            written: 0,
        }
    }

    /// What arrives waits for the next turn of its member, and is handed in together.
    fn together(mut self) -> Self {
        self.world.gathering = (1..=10).collect();
        self
    }

    /// Members are added and removed; those up to `highest` can be.
    fn changing(mut self, highest: u64) -> Self {
        self.is_changing = true;
        for id in self.ids.len() as u64 + 1..=highest {
            self.world.join(id);
            self.ids.push(id);
        }
        self
    }

    fn acknowledged(&self) -> LogIndex {
        self.history.last_key_value().map_or(LogIndex(0), |(index, _)| *index)
    }

    fn apply(&mut self, id: u64, count: usize) {
        let host = &self.world.hosts[&id];
        for entry in host.to_apply.iter().take(count) {
            let known = self.history.entry(entry.index).or_insert_with(|| entry.clone());
            assert_eq!(known, entry, "seed {}: members apply different entries", self.seed);
        }
        let members = |world: &World| -> BTreeSet<MemberId> {
            let conf_state = world.hosts[&id].state.membership.conf_state();
            conf_state.voters.iter().chain(&conf_state.learners).copied().collect()
        };
        let before = members(&self.world);
        self.world.apply(id, count);
        // Somebody can have been told, so he who is removed can go at once.
        let after = members(&self.world);
        for gone in before.difference(&after) {
            if self.ids.contains(&gone.0) && self.random.below(2) == 0 {
                self.ids.retain(|id| id != &gone.0);
                self.world.crash(gone.0);
            }
        }
    }

    fn change_members(&mut self, at: u64) {
        let about = self.ids[self.random.below(self.ids.len() as u64) as usize];
        let change = match self.random.below(5) {
            0 | 1 => self.world.conf_change(ConfChangeKind::AddLearner, about, false),
            2 => self.world.conf_change(ConfChangeKind::AddVoter, about, true),
            3 => self.world.conf_change(ConfChangeKind::AddVoter, about, false),
            _ => self.world.conf_change(ConfChangeKind::Remove, about, false),
        };
        self.world.input(at, Input::ProposeConfChange(change));
    }

    fn step(&mut self, number: u64) {
        let id = self.ids[self.random.below(self.ids.len() as u64) as usize];
        if !self.world.gathering.is_empty() && self.random.below(2) == 0 {
            let count = 1 + self.random.below(10) as usize;
            self.world.turn(id, count);
        }
        if self.is_changing && self.random.below(80) == 0 {
            return self.change_members(id);
        }
        match self.random.below(100) {
            // One member's clock is slow, so that it leads longer than the others wait for it.
            0..8 if id != 1 || self.random.below(4) == 0 => self.world.tick(&[id]),
            0..8 => {}
            8..18 => {
                let count = 1 + self.random.below(3);
                let puts = (0..count).map(|at| put(&format!("k{}", at % 2), &format!("{number}"), 0));
                self.world.propose(id, puts.collect());
            }
            18..40 => {
                let count = 1 + self.random.below(3) as usize;
                self.world.persist(id, count);
            }
            40..55 => {
                let count = 1 + self.random.below(4) as usize;
                self.apply(id, count);
            }
            55..90 => (0..=self.random.below(6)).for_each(|_| self.deliver()),
            90..97 => {
                self.reads.insert(number, self.acknowledged());
                self.world.input(id, Input::ReadIndex(ReadTicket(number)));
            }
            97 if self.random.below(3) == 0 => self.world.cut_off = [id].into(),
            97 if self.random.below(4) == 0 => self.world.cut_off.clear(),
            97 => self.world.input(id, Input::Campaign),
            98 => {
                let to = MemberId(self.ids[self.random.below(self.ids.len() as u64) as usize]);
                self.world.input(id, Input::TransferLeader(to));
            }
            _ => {
                // A prefix of what was under way reaches the disk, without anybody hearing of it.
                let host = self.world.hosts.get_mut(&id).expect("a member");
                let reached = self.random.below(1 + host.to_persist.len() as u64) as usize;
                let installs = host.to_persist.iter().position(|persist| persist.snapshot.is_some());
                let reached = reached.min(installs.unwrap_or(reached));
                for persist in host.to_persist.drain(..reached).collect::<Vec<_>>() {
                    host.persist(persist);
                }
                self.world.crash(id);
                self.world.start(id);
            }
        }
        self.check_reads();
    }

    /// Out of order, sometimes twice, sometimes never.
    fn deliver(&mut self) {
        let many = self.world.network.len() as u64;
        if many == 0 {
            return;
        }
        let at = self.random.below(many.min(4)) as usize;
        let message = self.world.network.remove(at).expect("is there");
        let fate = self.random.below(40);
        if fate == 1 {
            self.world.network.push_back(message.clone());
        }
        if fate > 0 {
            self.world.network.push_front(message);
            self.world.deliver();
        }
    }

    fn check_reads(&mut self) {
        for (tickets, index) in std::mem::take(&mut self.world.reads_ready) {
            for ticket in tickets {
                let began = self.reads[&ticket.0];
                assert!(index >= began, "seed {}: read {} misses entry {began}", self.seed, ticket.0);
                self.reads_answered += 1;
            }
        }
    }

    /// Those who are members as whoever is furthest knows it.
    fn members(&self) -> Vec<MemberId> {
        let furthest = self.world.hosts.values().max_by_key(|host| host.state.applied()).expect("a member");
        let conf_state = furthest.state.membership.conf_state();
        conf_state.voters.iter().chain(&conf_state.learners).copied().collect()
    }

    /// Everybody is up and everything arrives: all members end with the same.
    fn converge(&mut self) {
        self.world.cut_off.clear();
        for _ in 0..100 {
            self.world.tick(&self.ids.clone());
            for _ in 0..50 {
                for id in self.ids.clone() {
                    self.world.persist(id, usize::MAX);
                    self.apply(id, usize::MAX);
                    self.world.turn(id, usize::MAX);
                }
                while self.world.deliver() {}
            }
            self.check_reads();
        }
        let hosts: Vec<_> = self.members().iter().map(|id| &self.world.hosts[&id.0]).collect();
        let applied: Vec<LogIndex> = hosts.iter().map(|host| host.state.applied()).collect();
        assert!(applied.iter().all(|index| *index == applied[0]), "seed {}: {applied:?}", self.seed);
        let revisions: Vec<_> = hosts.iter().map(|host| host.state.mvcc.revision()).collect();
        assert!(revisions.iter().all(|at| *at == revisions[0]), "seed {}: {revisions:?}", self.seed);
        self.written = revisions[0].0;
    }

    fn run(mut self, steps: u64) -> Self {
        (0..steps).for_each(|number| self.step(number));
        self.converge();
        assert!(self.written > 5 || self.is_changing, "seed {}: hardly anything was written", self.seed);
        self
    }
}

#[test]
fn three_members_agree_whatever_is_lost() {
    let mut answered = 0;
    for seed in 0..60 {
        answered += Simulation::new(seed, 3).run(1_500).reads_answered;
    }
    assert!(answered > 500, "only {answered} reads were answered");
}

/// The same, with what has arrived handed in together.
#[test]
fn three_members_agree_whatever_arrives_together() {
    let mut answered = 0;
    for seed in 0..30 {
        answered += Simulation::new(seed, 3).together().run(2_500).reads_answered;
    }
    assert!(answered > 250, "only {answered} reads were answered");
}

#[test]
fn members_that_come_and_go_agree_whatever_arrives_together() {
    let mut written = 0;
    for seed in 0..60 {
        let members = 1 + seed % 3;
        let simulation = Simulation::new(seed, members).changing(4);
        let simulation = if seed % 4 == 0 { simulation } else { simulation.together() };
        written += simulation.run(1_500).written;
    }
    assert!(written > 1_000, "only {written} writes");
}

#[test]
fn a_member_that_is_alone_keeps_what_it_has_applied() {
    for seed in 0..60 {
        let answered = Simulation::new(seed, 1).run(500).reads_answered;
        assert!(answered > 0, "seed {seed}: no read was answered");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..10 {
        let simulation = || Simulation::new(seed, 3);
        let simulation = || if seed % 2 == 0 { simulation() } else { simulation().together() };
        let trace = || simulation().run(800).world.text;
        let (one, other) = (trace(), trace());
        assert_eq!(one, other, "seed {seed}");
    }
}
