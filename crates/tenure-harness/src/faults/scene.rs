//! What happens at the same time, drawn from a seed.

use super::fault::{Fault, minority};
use rand::{Rng, RngExt};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long a fault lasts.
const LAST_MILLIS: std::ops::Range<u64> = 1_500..6_000;
/// How long after the first one the others begin.
const LATER_MILLIS: std::ops::Range<u64> = 50..3_000;

/// So often is drawn for something that fits what was drawn before; there may be nothing.
const DRAWS_MAX: u32 = 8;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Act {
    pub fault: Fault,
    /// When it begins, counted from the begin of the scene.
    pub after: Duration,
    /// How long it lasts, if it is not over at once.
    pub lasts: Duration,
    /// Of whatever else is drawn: who, how often, how long.
    pub seed: u64,
}

/// Things that happen in the time of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scene(pub Vec<Act>);

/// The kinds of what happens together, in their order: what the gaps of a run are listed by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Together(Vec<Fault>);

/// What scenes are drawn from.
#[derive(Clone, Debug)]
pub(super) struct Repertoire {
    /// What may happen; at least one thing.
    pub faults: Vec<Fault>,
    /// Members of the cluster.
    pub members: usize,
    /// The most things that happen together, at least 1. All together they hurt no more than a minority.
    pub together_max: usize,
    drawn: BTreeMap<Fault, u32>,
}

impl Repertoire {
    /// Scenes of these faults; at least one.
    pub fn new(faults: Vec<Fault>, members: usize, together_max: usize) -> Self {
        Self { faults, members, together_max, drawn: BTreeMap::new() }
    }

    /// The next scene.
    pub fn draw(&mut self, random: &mut impl Rng) -> Scene {
        let count = random.random_range(1..=self.together_max);
        let mut drawn = vec![self.rarest(random)];
        for _ in 0..DRAWS_MAX {
            let other = self.one(random);
            if drawn.len() < count && self.fits(&drawn, other) {
                drawn.push(other);
            }
        }
        for fault in &drawn {
            *self.drawn.entry(*fault).or_default() += 1;
        }
        // It happens to one certain member, whom nobody else may have taken.
        drawn.sort_by_key(|fault| *fault != Fault::FillDisk);
        let acts = drawn.into_iter().enumerate().map(|(place, fault)| {
            let later = Duration::from_millis(random.random_range(LATER_MILLIS));
            Act {
                fault,
                after: if place == 0 { Duration::ZERO } else { later },
                lasts: Duration::from_millis(random.random_range(LAST_MILLIS)),
                seed: random.random(),
            }
        });
        Scene(acts.collect())
    }

    /// One of those that were drawn least often, so that a run of some minutes has all of them.
    fn rarest(&self, random: &mut impl Rng) -> Fault {
        let times = |fault: &Fault| self.drawn.get(fault).copied().unwrap_or_default();
        let least = self.faults.iter().map(times).min().unwrap_or_default();
        let rarest: Vec<_> = self.faults.iter().filter(|fault| times(fault) == least).collect();
        *rarest[random.random_range(0..rarest.len())]
    }

    fn one(&self, random: &mut impl Rng) -> Fault {
        self.faults[random.random_range(0..self.faults.len())]
    }

    fn fits(&self, drawn: &[Fault], other: Fault) -> bool {
        let hurt: usize = drawn.iter().map(|fault| fault.hurts(self.members)).sum();
        let is_again = drawn.contains(&other) && (other.hurts(self.members) == 0 || other == Fault::FillDisk);
        !is_again && hurt + other.hurts(self.members) <= minority(self.members)
    }
}

impl Scene {
    /// The kinds of it.
    pub fn together(&self) -> Together {
        let mut kinds: Vec<_> = self.0.iter().map(|act| act.fault).collect();
        kinds.sort_unstable();
        Together(kinds)
    }
}

impl Together {
    /// The kinds.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.0
    }
}

impl fmt::Display for Together {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(Fault::to_string).collect();
        f.write_str(&names.join(" + "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Victim::{Follower, Leader};
    use rand::{SeedableRng, rngs::SmallRng};
    use std::collections::BTreeSet;

    fn scenes(members: usize, together_max: usize) -> Vec<Scene> {
        let mut all = Repertoire::new(Fault::ALL.to_vec(), members, together_max);
        let mut random = SmallRng::seed_from_u64(7);
        (0..5_000).map(|_| all.draw(&mut random)).collect()
    }

    #[test]
    fn all_together_hurt_a_minority_or_one_thing_happens_alone() {
        for members in [1, 3, 4, 5, 7] {
            for scene in scenes(members, 3) {
                let hurt: usize = scene.0.iter().map(|act| act.fault.hurts(members)).sum();
                assert!(hurt <= minority(members) || scene.0.len() == 1, "{members}: {scene:?}");
            }
        }
    }

    #[test]
    fn what_is_worst_together_comes_to_be() {
        let drawn: BTreeSet<String> = scenes(5, 3).iter().map(|scene| scene.together().to_string()).collect();
        for kinds in [
            vec![Fault::Kill(Leader), Fault::Freeze(Follower)],
            vec![Fault::Kill(Leader), Fault::Kill(Leader)],
            vec![Fault::Kill(Leader), Fault::Wipe],
            vec![Fault::Kill(Leader), Fault::Mute(Follower)],
            vec![Fault::Kill(Follower), Fault::Replace(Follower)],
            vec![Fault::Delay, Fault::Wipe],
            vec![Fault::Terminate(Follower), Fault::FillDisk],
            vec![Fault::Split(Leader), Fault::MoveLeader],
            vec![Fault::SplitTwice],
        ] {
            let together = Together(kinds).to_string();
            assert!(drawn.contains(&together), "{together}");
        }
        assert!(scenes(3, 1).iter().all(|scene| scene.0.len() == 1));
    }

    #[test]
    fn nothing_comes_twice_before_everything_has_come_once() {
        let drawn = scenes(3, 1).into_iter().take(2 * Fault::ALL.len());
        let mut times: BTreeMap<Fault, u32> = BTreeMap::new();
        drawn.for_each(|scene| *times.entry(scene.0[0].fault).or_default() += 1);
        assert_eq!(times, Fault::ALL.map(|fault| (fault, 2)).into());
        let in_company: BTreeSet<_> = scenes(5, 3)
            .into_iter()
            .take(Fault::ALL.len())
            .flat_map(|scene| scene.0)
            .map(|act| act.fault)
            .collect();
        assert_eq!(in_company, BTreeSet::from(Fault::ALL));
    }

    #[test]
    fn a_seed_decides_all_of_it() {
        assert_eq!(scenes(5, 3), scenes(5, 3));
    }

    #[test]
    fn a_disk_fills_before_its_member_can_be_taken() {
        let full =
            scenes(5, 3).into_iter().filter(|scene| scene.together().faults().contains(&Fault::FillDisk));
        let mut seen = 0;
        for scene in full {
            assert_eq!((scene.0[0].fault, scene.0[0].after), (Fault::FillDisk, Duration::ZERO));
            seen += 1;
        }
        assert!(seen > 0);
    }
}
