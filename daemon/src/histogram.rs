//! How long things take: counts within fixed bounds, so that they need the same memory whatever happens.

/// Upper bounds in microseconds; what is above the last is counted too.
pub const BOUNDS_US: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// Times by how long they were.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Histogram {
    counts: [u64; BOUNDS_US.len() + 1],
    pub sum_us: u64,
}

impl Histogram {
    pub fn record(&mut self, us: u64) {
        self.counts[BOUNDS_US.partition_point(|bound| *bound < us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each bound with how many were no longer than that.
    pub fn cumulated(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut up_to = 0;
        BOUNDS_US.iter().zip(&self.counts).map(move |(bound, count)| {
            up_to += count;
            (*bound, up_to)
        })
    }

    /// The time that so many of a hundred do not exceed, as far as the bounds tell; `None` when nothing was counted.
    /// What is above the last bound counts as that.
    pub fn percentile_us(&self, percent: u64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = (count * percent).div_ceil(100).max(1);
        let (mut below, mut from) = (0, 0);
        for (bound, count) in BOUNDS_US.iter().zip(&self.counts) {
            if below + count >= wanted {
                // As if those between two bounds were spread evenly.
                return Some(from + (bound - from) * (wanted - below) / count);
            }
            (below, from) = (below + count, *bound);
        }
        BOUNDS_US.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_up_to_the_bound_that_they_do_not_exceed() {
        let mut histogram = Histogram::default();
        for us in [0, 100, 101, 30_000_000, 30_000_001, u64::MAX] {
            histogram.record(us);
        }
        let cumulated: Vec<(u64, u64)> = histogram.cumulated().collect();
        assert_eq!((cumulated[0], cumulated[1]), ((100, 2), (250, 3)));
        assert_eq!(cumulated.last(), Some(&(30_000_000, 4)));
        assert_eq!((histogram.count(), histogram.sum_us), (6, u64::MAX));
    }

    #[test]
    fn percentiles_lie_between_the_bounds_of_those_that_they_fall_among() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile_us(50), None);
        for _ in 0..99 {
            histogram.record(700);
        }
        histogram.record(40_000_000);
        assert_eq!(histogram.percentile_us(50), Some(500 + 500 * 50 / 99));
        assert_eq!(histogram.percentile_us(99), Some(1_000));
        assert_eq!(histogram.percentile_us(100), Some(30_000_000));
    }
}
