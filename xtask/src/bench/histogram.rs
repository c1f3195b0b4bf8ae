//! Latencies in buckets of constant relative width.

use std::time::Duration;

/// Buckets of every power of two.
const STEPS: u64 = 64;

/// Counts of latencies from one microsecond up, each within 1.6 % of its true value.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; (STEPS * 40) as usize], total: 0 }
    }
}

impl Histogram {
    /// Adds one latency.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let last = self.counts.len() - 1;
        self.counts[bucket(micros).min(last)] += 1;
        self.total += 1;
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
    }

    /// The latency that `share` (0 to 1) of all did not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper(index));
            }
        }
        Duration::ZERO
    }
}

/// Values below `2 * STEPS` have a bucket each; above, every power of two has `STEPS` of them.
fn bucket(micros: u64) -> usize {
    if micros < 2 * STEPS {
        return micros as usize;
    }
    let shift = u64::from(63 - micros.leading_zeros()) - u64::from(STEPS.trailing_zeros());
    (shift * STEPS + (micros >> shift)) as usize
}

fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    ((index - shift * STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_hold_their_values() {
        let mut last = 0;
        for micros in (0..5_000).chain((5_000..5_000_000).step_by(997)) {
            let index = bucket(micros);
            assert!(index == last || index == last + 1 || micros >= 5_000, "{micros}");
            assert!(upper(index) >= micros, "{micros} in a bucket up to {}", upper(index));
            assert!(
                upper(index) as f64 <= micros as f64 * 1.02 + 1.0,
                "{micros} in a bucket up to {}",
                upper(index)
            );
            last = index;
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        let at = |share| histogram.quantile(share).as_micros();
        assert!((500..=508).contains(&at(0.5)), "{}", at(0.5));
        assert!((990..=1006).contains(&at(0.99)), "{}", at(0.99));
        assert_eq!(histogram.total, 1000);
    }
}
