//! Election timeouts from a seed. The engine draws its own from a global random source; these replace them.

use super::interface::Role;
use crate::types::Term;

/// How long a node waits for a leader, in ticks: drawn anew for every term and role, between the configured number and
/// seven tenths more (`docs/decisions/0011-election-spread.md`).
pub(super) struct ElectionTimeout {
    random: u64,
    ticks_min: usize,
    drawn_for: Option<(Term, Role)>,
    ticks: usize,
}

impl ElectionTimeout {
    pub(super) fn new(seed: u64, ticks_min: usize) -> Self {
        Self { random: seed, ticks_min, drawn_for: None, ticks: ticks_min }
    }

    /// The timeout in this term and role.
    pub(super) fn ticks(&mut self, term: Term, role: Role) -> usize {
        if self.drawn_for != Some((term, role)) {
            self.drawn_for = Some((term, role));
            let spread = (self.ticks_min * 7 / 10).max(2);
            let drawn = self.next() % spread as u64;
            self.ticks = self.ticks_min + usize::try_from(drawn).unwrap_or(0);
        }
        self.ticks
    }

    /// SplitMix64: every seed, 0 too, gives a good sequence.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
