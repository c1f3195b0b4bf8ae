//! A slice of what `tenure-sim` runs: some seeds, one of them twice.

/// `TENURE_SIM_SEEDS` and `TENURE_SIM_FIRST` choose others.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn seeds_come_right() {
    let first = number("TENURE_SIM_FIRST", 0);
    for seed in first..first + number("TENURE_SIM_SEEDS", 100) {
        if let Err(report) = tenure_sim::run(seed, false) {
            panic!(
                "{report}\nrun `cargo run -p tenure-sim -- --first {seed} --seeds 1 --verbose` for all of it"
            );
        }
    }
}

#[test]
fn a_seed_is_always_the_same_story() {
    for seed in [3, 17, 123_456_789] {
        let traces: Vec<u64> =
            (0..3).map(|_| tenure_sim::run(seed, false).expect("it comes right")).collect();
        assert!(traces.iter().all(|trace| *trace == traces[0]), "seed {seed}: {traces:x?}");
    }
    assert_ne!(
        tenure_sim::run(3, false).expect("it comes right"),
        tenure_sim::run(17, false).expect("it comes right")
    );
}
