//! Whether a leader still hears a majority.
//!
//! The engine asks once in an election timeout whether anything has come since it asked last, so it goes on leading for up to two
//! timeouts when nothing comes any more. All that time nothing is committed; and if the others still hear the leader, whom they do not
//! reach, his heartbeats keep them from electing another. Here a leader gives up as soon as he has not heard a majority for one
//! timeout, as a follower may who has not heard him, and has somebody elected by those who may still hear him.

use super::{MemberId, Node, engine};
use std::collections::BTreeMap;

/// When others were last heard, in ticks of a leader.
#[derive(Default)]
pub(super) struct Hearing {
    ticks: u64,
    heard: BTreeMap<MemberId, u64>,
}

impl Hearing {
    /// Another leads, or begins to: what was heard before does not count.
    pub(super) fn forget(&mut self) {
        self.heard.clear();
    }

    /// A member said something.
    pub(super) fn note(&mut self, from: MemberId) {
        if let Some(heard) = self.heard.get_mut(&from) {
            *heard = self.ticks;
        }
    }

    /// A tick passes. Who votes since the last one counts as heard.
    fn tick<'a>(&mut self, voters: impl Iterator<Item = &'a MemberId>) {
        self.ticks += 1;
        let before = std::mem::take(&mut self.heard);
        self.heard = voters.map(|id| (*id, before.get(id).copied().unwrap_or(self.ticks))).collect();
    }

    /// Whether a majority of `voters`, this member among them, was heard less than `ticks` ago.
    fn is_majority(&self, voters: &[MemberId], own: MemberId, ticks: u64) -> bool {
        let is_recent = |id: &&MemberId| {
            **id == own || self.heard.get(id).is_some_and(|heard| self.ticks - heard < ticks)
        };
        voters.is_empty() || voters.iter().filter(is_recent).count() > voters.len() / 2
    }
}

impl Node {
    /// Steps down if no majority was heard for an election timeout: those who may still hear this leader need not wait until they
    /// miss him.
    pub(super) fn step_down_if_deaf(&mut self) {
        if !self.is_leader() {
            return;
        }
        let conf = engine::conf_state_from(&self.raw.raft.prs().conf().to_conf_state());
        self.hearing.tick(conf.voters.iter().chain(&conf.voters_outgoing));
        let ticks = self.limits.election_ticks;
        let hears = |voters: &[MemberId]| self.hearing.is_majority(voters, self.member, ticks);
        if !hears(&conf.voters) || !hears(&conf.voters_outgoing) {
            self.step_down();
        }
    }
}
