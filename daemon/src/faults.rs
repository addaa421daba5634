//! Crash points, planted bugs and a fast clock, for tests. Without the `faults` feature every question is answered "no" by a
//! constant.

use std::sync::Arc;

use crate::time::{Clock, SystemClock};

/// A moment at which a test may end the process, or pretend that it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrashPoint {
    /// A batch is planned; nothing is in the transaction yet.
    BeforeApply,
    /// Everything is in the transaction.
    BeforeCommit,
    /// Durable, nobody was told.
    AfterCommit,
    /// Whoever waited was told.
    AfterAck,
    /// Some rows of a dead owner are taken over, others are not.
    InTakeover,
    /// Some changes of a deploy are in the transaction, others are not.
    InDeploy,
    /// A step of a backup is done: begun, copied, found to be whole, put in its place.
    InBackup,
    /// A step of an upgrade of the store is done: copied, each migration executed, each committed.
    InUpgrade,
}

impl CrashPoint {
    pub const ALL: [CrashPoint; 8] = [
        Self::BeforeApply,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::AfterAck,
        Self::InTakeover,
        Self::InDeploy,
        Self::InBackup,
        Self::InUpgrade,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeApply => "before_apply",
            Self::BeforeCommit => "before_commit",
            Self::AfterCommit => "after_commit",
            Self::AfterAck => "after_ack",
            Self::InTakeover => "in_takeover",
            Self::InDeploy => "in_deploy",
            Self::InBackup => "in_backup",
            Self::InUpgrade => "in_upgrade",
        }
    }
}

/// A mistake that can be planted, so that a test can show that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A settle does not check its lease.
    NoFencing,
    /// Entries are committed before the end of the row that wrote them.
    EffectsOutsideTransaction,
    /// A retry does not raise the attempt.
    AttemptNotCounted,
    /// A run commits although what it read has changed.
    ReadsNotValidated,
    /// Callers are told before the commit.
    AckBeforeCommit,
    /// A sync row that is taken out unwritten takes its effects along.
    ElideRowWithEffects,
    /// An event carries the values that the script saw, not those of the commit.
    StaleEventValues,
    /// A task is enqueued although one of the same dedupe value waits.
    DedupeIgnored,
    /// Rows of one key do not wait for each other.
    OrderIgnored,
    /// A row that cannot be done is deleted without a dead letter.
    LetterLost,
    /// A row deeper than allowed still runs.
    DepthIgnored,
    /// What a plan learns is not seen by the commands after it.
    BatchNotAbsorbed,
}

impl Bug {
    pub const ALL: [Bug; 12] = [
        Self::NoFencing,
        Self::EffectsOutsideTransaction,
        Self::AttemptNotCounted,
        Self::ReadsNotValidated,
        Self::AckBeforeCommit,
        Self::ElideRowWithEffects,
        Self::StaleEventValues,
        Self::DedupeIgnored,
        Self::OrderIgnored,
        Self::LetterLost,
        Self::DepthIgnored,
        Self::BatchNotAbsorbed,
    ];
}

/// Asked at each crash point; `true` stops there as if the process had died.
#[cfg(feature = "faults")]
pub type CrashHook = Arc<dyn Fn(CrashPoint) -> bool + Send + Sync>;

/// The faults of one daemon; none unless a test plants some.
#[derive(Clone, Default)]
pub struct Faults {
    #[cfg(feature = "faults")]
    bugs: Vec<Bug>,
    #[cfg(feature = "faults")]
    hook: Option<CrashHook>,
    #[cfg(feature = "faults")]
    synchronous: Option<&'static str>,
    #[cfg(feature = "faults")]
    fast: Option<Fast>,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let planted = Bug::ALL.into_iter().filter(|bug| self.has(*bug));
        f.debug_set().entries(planted).finish()
    }
}

#[cfg(not(feature = "faults"))]
impl Faults {
    pub const fn has(&self, _bug: Bug) -> bool {
        false
    }

    /// Whether to stop here as if the process had died.
    pub const fn crashes(&self, _point: CrashPoint) -> bool {
        false
    }

    /// SQLite's `synchronous`: what is acknowledged has been flushed.
    pub const fn synchronous(&self) -> &'static str {
        "FULL"
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock::start())
    }
}

#[cfg(feature = "faults")]
impl Faults {
    #[must_use]
    pub fn with_bug(mut self, bug: Bug) -> Faults {
        self.bugs.push(bug);
        self
    }

    #[must_use]
    pub fn with_hook(mut self, hook: CrashHook) -> Faults {
        self.hook = Some(hook);
        self
    }

    /// From a list such as `before_commit:3,synchronous:off`. `point:count` aborts the process when it comes to that point
    /// for the `count`-th time, `synchronous:off` or `synchronous:normal` acknowledges before a flush, and `clock:60:ms`
    /// has time run 60 times faster since that moment, in milliseconds since 1970.
    pub fn planted(list: &str) -> Option<Faults> {
        let mut faults = Faults::default();
        for (name, value) in
            list.split(',').map(|one| one.split_once(':')).collect::<Option<Vec<_>>>()?
        {
            match name {
                "synchronous" => {
                    let known = ["OFF", "NORMAL"].into_iter();
                    faults.synchronous =
                        Some(known.into_iter().find(|known| known.eq_ignore_ascii_case(value))?);
                }
                "clock" => faults.fast = Some(Fast::parse(value)?),
                point => faults.hook = Some(aborting(point, value)?),
            }
        }
        Some(faults)
    }

    pub fn synchronous(&self) -> &'static str {
        self.synchronous.unwrap_or("FULL")
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        let clock = SystemClock::start();
        match self.fast {
            Some(fast) => Arc::new(FastClock { clock, fast }),
            None => Arc::new(clock),
        }
    }

    pub fn has(&self, bug: Bug) -> bool {
        self.bugs.contains(&bug)
    }

    /// Whether to stop here as if the process had died.
    pub fn crashes(&self, point: CrashPoint) -> bool {
        self.hook.as_ref().is_some_and(|hook| hook(point))
    }
}

#[cfg(feature = "faults")]
fn aborting(point: &str, count: &str) -> Option<CrashHook> {
    use std::sync::atomic::{AtomicU64, Ordering};

    let point = *CrashPoint::ALL.iter().find(|known| known.as_str() == point)?;
    let count: u64 = count.parse().ok()?;
    let seen = AtomicU64::new(0);
    Some(Arc::new(move |here| {
        if here == point && seen.fetch_add(1, Ordering::SeqCst) + 1 == count {
            std::process::abort();
        }
        false
    }))
}

#[cfg(feature = "faults")]
use fast::{Fast, FastClock};

/// A day in minutes, for what shows only after a day.
#[cfg(feature = "faults")]
mod fast {
    use std::time::Duration;

    use crate::time::{Clock, Standing, SystemClock, Timestamp};

    /// How much faster, and since when: the same for all starts of a daemon, so that no start sets the clock back.
    #[derive(Clone, Copy)]
    pub(super) struct Fast {
        times: u32,
        since: Timestamp,
    }

    impl Fast {
        pub(super) fn parse(text: &str) -> Option<Fast> {
            let (times, since) = text.split_once(':')?;
            let times = times.parse().ok().filter(|times| *times > 0)?;
            Some(Fast { times, since: Timestamp(since.parse().ok()?) })
        }
    }

    pub(super) struct FastClock {
        pub(super) clock: SystemClock,
        pub(super) fast: Fast,
    }

    impl Clock for FastClock {
        fn now(&self) -> Timestamp {
            let passed = self.clock.now().ms_since(self.fast.since);
            self.fast.since.plus_ms(passed * i64::from(self.fast.times))
        }

        fn monotonic(&self) -> Duration {
            self.clock.monotonic() * self.fast.times
        }

        fn standing(&self) -> Standing {
            self.clock.standing()
        }

        fn sleep_for(&self, time: Duration) -> Duration {
            time / self.fast.times
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_fast_clock_goes_on_where_another_that_began_at_the_same_moment_is() {
            let clock = SystemClock::start();
            let since = clock.now().plus_ms(-1_000);
            let fast = FastClock { clock, fast: Fast::parse(&format!("60:{}", since.0)).unwrap() };
            let passed = fast.now().ms_since(since);
            assert!((60_000..120_000).contains(&passed), "{passed} ms");
            assert_eq!(fast.sleep_for(Duration::from_secs(60)), Duration::from_secs(1));
            assert!(Fast::parse("0:0").is_none());
        }
    }
}
