//! A histogram of times, exact to three in a hundred, of fixed size.

use std::time::Duration;

/// Buckets within a power of two.
const STEPS: u64 = 32;
const BUCKETS: usize = 64 * 32;

#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    pub fn record(&mut self, time: Duration) {
        self.counts[bucket(nanos(time))] += 1;
        self.total += 1;
        self.max = self.max.max(time);
    }

    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.total
    }

    pub fn max(&self) -> Duration {
        self.max
    }

    /// The time that `permille` of 1,000 stay at or under; zero when nothing was recorded.
    pub fn at_permille(&self, permille: u64) -> Duration {
        let wanted = (self.total * permille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper_end(index)).min(self.max);
            }
        }
        self.max
    }

    pub fn median_ms(&self) -> f64 {
        self.at_permille(500).as_secs_f64() * 1e3
    }

    pub fn p99_ms(&self) -> f64 {
        self.at_permille(990).as_secs_f64() * 1e3
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return usize::try_from(nanos).expect("less than STEPS");
    }
    let power = u64::from(nanos.ilog2());
    let step = (nanos >> (power - 5)) - STEPS;
    usize::try_from((power - 4) * STEPS + step).expect("fewer than BUCKETS")
}

fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let (power, step) = (bucket / STEPS + 4, bucket % STEPS);
    ((STEPS + step + 1) << (power - 5)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_three_in_a_hundred() {
        let mut histogram = Histogram::default();
        for micros in 1..=10_000 {
            histogram.record(Duration::from_micros(micros));
        }
        for (permille, micros) in [(500, 5_000.0), (990, 9_900.0), (1_000, 10_000.0)] {
            let found = histogram.at_permille(permille).as_secs_f64() * 1e6;
            assert!((found / micros - 1.0).abs() < 0.032, "{permille}: {found}");
        }
        assert_eq!(histogram.max(), Duration::from_millis(10));
        assert_eq!(histogram.count(), 10_000);
    }

    #[test]
    fn every_time_falls_into_the_bucket_whose_ends_hold_it() {
        for nanos in (0..64).chain([1_000, 4_095, 4_096, 1 << 40, u64::MAX / 4]) {
            let index = bucket(nanos);
            assert!(upper_end(index) >= nanos, "{nanos}");
            assert!(index == 0 || upper_end(index - 1) < nanos, "{nanos}");
        }
    }

    #[test]
    fn an_empty_histogram_says_zero() {
        assert_eq!(Histogram::default().at_permille(990), Duration::ZERO);
    }
}
