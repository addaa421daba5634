//! The one clock.

use std::time::Duration;

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Beyond every real time: half of what fits, so that a moment can be moved there and back.
    const HELD: i64 = 1 << 62;

    /// The moment of something that must not happen before something else has: no clock reaches it, and
    /// [`Timestamp::let_go`] brings the moment back.
    #[must_use]
    pub fn held(self) -> Timestamp {
        Timestamp(self.0.clamp(0, Self::HELD - 1) + Self::HELD)
    }

    pub fn is_held(self) -> bool {
        self.0 >= Self::HELD
    }

    /// The moment that was held; one that was not stays as it is.
    #[must_use]
    pub fn let_go(self) -> Timestamp {
        if self.is_held() { Timestamp(self.0 - Self::HELD) } else { self }
    }

    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; negative when `self` is the earlier one.
    pub fn ms_since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where the time comes from. Logic takes values; only the edges hold a clock.
pub trait Clock: Send + Sync {
    /// Wall-clock time. It may jump.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment of this process. It never jumps.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
pub struct SystemClock {
    started: std::time::Instant,
}

impl SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        let since_1970 = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Timestamp(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
