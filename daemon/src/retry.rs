//! When a failed row is tried again.

use serde::{Deserialize, Serialize};

use crate::ids::Id;

/// How often, and how far apart. Stored as JSON with each row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included; at least 1.
    pub max_attempts: u32,
    pub backoff: Backoff,
    pub base_ms: i64,
    pub max_delay_ms: i64,
    /// Fraction of the delay by which it may be shorter or longer, 0 to 1.
    pub jitter: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// base × 2^(n−1)
    Exponential,
    /// base × n
    Linear,
    /// base
    Constant,
}

impl Backoff {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exponential => "exponential",
            Self::Linear => "linear",
            Self::Constant => "constant",
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            backoff: Backoff::Exponential,
            base_ms: 1_000,
            max_delay_ms: 15 * 60_000,
            jitter: 0.2,
        }
    }
}

impl RetryPolicy {
    /// Milliseconds to wait after attempt number `attempt` (from 1) of row `id` has failed.
    ///
    /// The jitter is a hash of id and attempt: it spreads the rows, and a test can say what it will be.
    pub fn delay_ms(&self, attempt: u32, id: Id) -> i64 {
        let attempt = attempt.max(1);
        let steady = match self.backoff {
            Backoff::Exponential if attempt > 62 => i64::MAX,
            Backoff::Exponential => self.base_ms.saturating_mul(1_i64 << (attempt - 1)),
            Backoff::Linear => self.base_ms.saturating_mul(i64::from(attempt)),
            Backoff::Constant => self.base_ms,
        };
        let steady = steady.clamp(0, self.max_delay_ms.max(0));
        let shift = steady as f64 * self.jitter.clamp(0.0, 1.0) * spread(id, attempt);
        #[allow(clippy::cast_possible_truncation, reason = "at most twice max_delay_ms")]
        let shift = shift.round() as i64;
        steady.saturating_add(shift).max(0)
    }
}

/// A number from -1 to 1 that depends on nothing but the row and the attempt (the finaliser of SplitMix64).
fn spread(id: Id, attempt: u32) -> f64 {
    #[allow(clippy::cast_possible_truncation, reason = "the halves of the id are mixed")]
    let folded = (id.0 >> 64) as u64 ^ id.0 as u64;
    let mut mixed = folded.wrapping_add(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(u64::from(attempt)));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(backoff: Backoff, jitter: f64) -> RetryPolicy {
        RetryPolicy { max_attempts: 5, backoff, base_ms: 1_000, max_delay_ms: 60_000, jitter }
    }

    #[test]
    fn each_backoff_grows_as_its_name_says_up_to_the_longest_delay() {
        for (backoff, expected) in [
            (Backoff::Exponential, [1_000, 2_000, 4_000, 8_000, 60_000, 60_000]),
            (Backoff::Linear, [1_000, 2_000, 3_000, 4_000, 40_000, 60_000]),
            (Backoff::Constant, [1_000; 6]),
        ] {
            let policy = policy(backoff, 0.0);
            let delays = [1, 2, 3, 4, 40, 400].map(|attempt| policy.delay_ms(attempt, Id(7)));
            assert_eq!(delays, expected, "{backoff:?}");
        }
    }

    #[test]
    fn jitter_stays_within_its_fraction_and_spreads_the_rows() {
        let policy = policy(Backoff::Constant, 0.2);
        let delays: Vec<i64> =
            (0..1_000_u128).map(|id| policy.delay_ms(1, Id(id << 70 | id))).collect();
        assert!(delays.iter().all(|delay| (800..=1_200).contains(delay)));
        assert!(
            delays.iter().any(|delay| *delay < 850) && delays.iter().any(|delay| *delay > 1_150)
        );
        let mean = delays.iter().sum::<i64>() / 1_000;
        assert!((980..=1_020).contains(&mean), "mean {mean}");
    }

    #[test]
    fn the_jitter_of_a_row_is_the_same_on_every_machine() {
        let policy = RetryPolicy {
            base_ms: 1_000_000,
            max_delay_ms: i64::MAX,
            ..policy(Backoff::Constant, 0.2)
        };
        let ids = [1, 0xFFFF << 64, 0x0123_4567_89AB_CDEF_0011_2233_4455_6677_u128];
        let delays = ids.map(|id| [1, 2, 5].map(|attempt| policy.delay_ms(attempt, Id(id))));
        let expected = [
            [1_026_625, 1_098_313, 977_706],
            [1_123_531, 1_095_944, 961_921],
            [891_097, 930_621, 1_156_944],
        ];
        assert_eq!(delays, expected);
    }

    #[test]
    fn the_longest_backoff_does_not_overflow() {
        let policy = RetryPolicy { max_delay_ms: i64::MAX, ..policy(Backoff::Exponential, 0.0) };
        let delays = [54, 62, 63, 64].map(|attempt| policy.delay_ms(attempt, Id(7)));
        assert_eq!(delays, [1_000 << 53, i64::MAX, i64::MAX, i64::MAX]);
        let small = RetryPolicy { base_ms: 1, ..policy };
        let delays = [62, 63].map(|attempt| small.delay_ms(attempt, Id(7)));
        assert_eq!(delays, [1 << 61, i64::MAX]);
    }
}
