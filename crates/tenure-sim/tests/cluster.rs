//! A slice of the seeds of clusters, and the bugs that are planted to see whether they are found.

use tenure_sim::bug::Bug;
use tenure_sim::promises::Turns;
use tenure_sim::{Story, run_cluster};

/// Clusters of three and of five, in turn, as `--members 3,5` has them.
fn members(seed: u64) -> usize {
    if seed.is_multiple_of(2) { 3 } else { 5 }
}

/// `TENURE_SIM_SEEDS` and `TENURE_SIM_FIRST` choose others.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn seeds_come_right() {
    let first = number("TENURE_SIM_FIRST", 0);
    let mut all = Story::default();
    for seed in first..first + number("TENURE_SIM_SEEDS", 24) {
        match run_cluster(seed, members(seed), None, false) {
            Ok(story) => all.add(&story),
            Err(report) => panic!(
                "{report}\nrun `cargo run -p tenure-sim -- --members {} --first {seed} --seeds 1 --verbose` for all of it",
                members(seed)
            ),
        }
    }
    // What does not happen proves nothing.
    assert!(all.entries > 2_000 && all.elections > 40 && all.changes > 40 && all.installed > 20, "{all:?}");
    assert!(all.forbidden > 20 && all.alarmed > 20, "{all:?}");
    let Turns { lost_with_answers, left_with_renewals, led_before_durable, learnt_with_entries } = all.turns;
    assert!(lost_with_answers > 0 && left_with_renewals > 0, "{all:?}");
    assert!(led_before_durable > 10 && learnt_with_entries > 5, "{all:?}");
}

#[test]
fn a_seed_is_always_the_same_story() {
    for seed in [4, 9] {
        let story = || run_cluster(seed, members(seed), None, false).expect("it comes right");
        assert_eq!(story(), story(), "seed {seed}");
    }
}

/// The first of `seeds_max` seeds that finds a bug, and what it says.
fn find(bug: Bug, seeds_max: u64) -> (u64, String) {
    let mut found = (0..seeds_max).filter_map(|seed| {
        run_cluster(seed, members(seed), Some(bug), false).err().map(|report| (seed, report.failure))
    });
    found.next().unwrap_or_else(|| panic!("{bug:?} is not found by {seeds_max} seeds"))
}

#[test]
fn a_skipped_fsync_is_found() {
    find(Bug::SkipsFsync, 8);
}

#[test]
fn an_acknowledgement_before_the_quorum_is_found() {
    // What is noticed first differs: another entry at the same place, a lost write, a log that contradicts itself.
    let (_, failure) = find(Bug::AcknowledgesBeforeQuorum, 16);
    assert!(!failure.contains("does not come right"), "{failure}");
}

#[test]
fn a_read_without_read_index_is_found() {
    let (_, failure) = find(Bug::ReadsWithoutReadIndex, 16);
    assert!(failure.contains("was told before it began"), "{failure}");
}

#[test]
fn an_entry_that_is_applied_twice_is_found() {
    let (_, failure) = find(Bug::AppliesTwiceAfterRestart, 8);
    assert!(failure.contains("one member has applied"), "{failure}");
}

#[test]
fn an_event_that_is_lost_at_a_compaction_is_found() {
    let (_, failure) = find(Bug::LosesEventAtCompaction, 40);
    assert!(failure.contains("must see"), "{failure}");
}

#[test]
fn a_revocation_by_an_old_leader_is_found() {
    let (_, failure) = find(Bug::OldLeaderRevokes, 40);
    assert!(failure.contains("but lives until"), "{failure}");
}

#[test]
fn a_read_that_is_answered_at_another_auth_revision_is_found() {
    let (_, failure) = find(Bug::IgnoresAuthRevision, 200);
    assert!(failure.contains("tells"), "{failure}");
}

#[test]
fn a_command_in_the_name_of_an_outdated_identity_is_found() {
    let (_, failure) = find(Bug::AppliesOutdatedIdentity, 40);
    assert!(failure.contains("must be Err(AuthOldRevision)"), "{failure}");
}

#[test]
fn a_snapshot_that_is_installed_without_its_leases_is_found() {
    let (_, failure) = find(Bug::InstallsWithoutLeases, 8);
    assert!(failure.contains("one member has"), "{failure}");
}
