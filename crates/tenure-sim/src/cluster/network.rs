//! What is between the members: messages that get lost, come late, twice, or in another order, and cuts.

use crate::member::Body;
use crate::random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;
use tenure_core::node::{LeaseRefusal, LeaseTicket, Message, MessageKind};
use tenure_core::types::LeaseId;

/// Places of hosts.
pub type HostAt = usize;

/// Something on its way from one host to another.
#[derive(Clone, Debug)]
pub struct Packet {
    pub from: HostAt,
    /// Which run of the sender.
    pub from_run: u64,
    pub to: HostAt,
    pub cargo: Cargo,
}

/// What is on its way.
#[derive(Clone, Debug)]
pub enum Cargo {
    Raft(Message),
    /// With the state that the message stands for.
    Snapshot(Message, Arc<Body>),
    /// A lease to be renewed by the leader.
    Renew {
        ticket: LeaseTicket,
        lease: LeaseId,
    },
    /// What became of it, for this run of the member that asked.
    Renewed {
        run: u64,
        ticket: LeaseTicket,
        ttl_seconds: Result<i64, LeaseRefusal>,
    },
}

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    pub lost_percent: u64,
    pub repeated_percent: u64,
    /// Those that come late overtake nobody, and are overtaken.
    pub late_percent: u64,
    pub late_micros_max: u64,
    pub micros_max: u64,
}

impl Quality {
    /// Nothing is lost and everything comes soon.
    pub const GOOD: Quality = Quality {
        lost_percent: 0,
        repeated_percent: 0,
        late_percent: 0,
        late_micros_max: 0,
        micros_max: 2_000,
    };

    pub fn bad(random: &mut Random) -> Self {
        Self {
            lost_percent: *random.pick(&[0, 0, 1, 5, 20]),
            repeated_percent: *random.pick(&[0, 2, 10]),
            late_percent: *random.pick(&[0, 2, 10, 30]),
            late_micros_max: *random.pick(&[20_000, 200_000, 1_500_000]),
            micros_max: *random.pick(&[500, 3_000, 20_000]),
        }
    }
}

/// The network.
#[derive(Debug)]
pub struct Network {
    random: Random,
    pub quality: Quality,
    /// Cut links, each way for itself, with the cut that they belong to.
    cuts: BTreeMap<u64, Vec<(HostAt, HostAt)>>,
    next_cut: u64,
}

impl Network {
    pub fn new(random: Random) -> Self {
        Self { random, quality: Quality::GOOD, cuts: BTreeMap::new(), next_cut: 0 }
    }

    /// Cuts links, each from the first to the second, and names the cut.
    pub fn cut(&mut self, links: Vec<(HostAt, HostAt)>) -> u64 {
        self.next_cut += 1;
        self.cuts.insert(self.next_cut, links);
        self.next_cut
    }

    pub fn heal(&mut self, cut: u64) {
        self.cuts.remove(&cut);
    }

    pub fn heal_all(&mut self) {
        self.cuts.clear();
        self.quality = Quality::GOOD;
    }

    pub fn is_cut(&self, from: HostAt, to: HostAt) -> bool {
        self.cuts.values().flatten().any(|link| *link == (from, to))
    }

    /// When copies of a packet arrive, in microseconds from now. None: it is lost. What is passed on to be proposed comes once at most,
    /// as on a connection; Raft itself does not mind what is repeated.
    pub fn arrivals(&mut self, packet: &Packet) -> Vec<u64> {
        let Quality { lost_percent, repeated_percent, .. } = self.quality;
        if self.is_cut(packet.from, packet.to) || self.random.chance(lost_percent) {
            return Vec::new();
        }
        let may_repeat = match &packet.cargo {
            Cargo::Raft(message) => message.kind != MessageKind::Propose,
            _ => false,
        };
        let copies = 1 + usize::from(may_repeat && self.random.chance(repeated_percent));
        (0..copies).map(|_| self.delay()).collect()
    }

    fn delay(&mut self) -> u64 {
        let Quality { late_percent, late_micros_max, micros_max, .. } = self.quality;
        let late = if self.random.chance(late_percent) { self.random.below(late_micros_max) } else { 0 };
        50 + late + self.random.below(micros_max)
    }
}
