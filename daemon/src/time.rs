//! The one clock.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Beyond every real time: half of what fits, so that a moment can be moved there and back.
    pub const HELD: i64 = 1 << 62;

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

/// The clock was set: it shows `to` at a moment at which it would have shown `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Step {
    /// Negative when the clock was set back.
    pub fn ms(self) -> i64 {
        self.to.ms_since(self.from)
    }
}

/// What is less than this is the clock being kept right, not being set.
pub const STEP_MS: i64 = 10_000;

/// Whether the wall clock was set between two looks at it and at the monotonic clock.
pub fn step(before: (Timestamp, Duration), after: (Timestamp, Duration)) -> Option<Step> {
    let passed = after.1.saturating_sub(before.1).as_millis();
    let from = before.0.plus_ms(i64::try_from(passed).unwrap_or(i64::MAX));
    let step = Step { from, to: after.0 };
    (step.ms().saturating_abs() > STEP_MS).then_some(step)
}

/// Whether the system says that its clock follows a time server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronised {
    Yes,
    /// It tries to.
    NotYet,
    /// Nothing here says so, or says not.
    Unknown,
}

/// What is thought of the wall clock. A Raspberry Pi has no clock of its own: after a start it shows some time of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may be set at any moment: schedules wait, and no time is before the newest that is stored.
    Doubted,
    /// No time server answers. Schedules run; still no time is before the newest that is stored.
    Assumed,
    Believed,
}

/// How long after the start of the machine schedules wait for a time server: a network may have none.
pub const DOUBT_MAX: Duration = Duration::from_secs(120);

/// What to think of the clock of a machine that has been up for so long.
pub fn standing(synchronised: Synchronised, up: Duration) -> Standing {
    match synchronised {
        Synchronised::Yes => Standing::Believed,
        Synchronised::NotYet | Synchronised::Unknown if up < DOUBT_MAX => Standing::Doubted,
        Synchronised::NotYet => Standing::Assumed,
        Synchronised::Unknown => Standing::Believed,
    }
}

/// Where the time comes from. Logic takes values; only the edges hold a clock.
pub trait Clock: Send + Sync {
    /// Wall-clock time. It may jump.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment of this process. It never jumps.
    fn monotonic(&self) -> Duration;

    /// What is thought of the wall clock.
    fn standing(&self) -> Standing {
        Standing::Believed
    }

    /// Says that it is not earlier than this, as long as the wall clock is not believed.
    fn not_before(&self, floor: Timestamp) {
        let _believed = floor;
    }

    /// How long to sleep until so much of its time has passed. Timers know nothing of a clock that runs faster.
    fn sleep_for(&self, time: Duration) -> Duration {
        time
    }
}

/// Where the system's time service says whether it has reached a server.
const TIME_SERVICE: &str = "/run/systemd/timesync";
/// How often it is asked.
const ASK_EVERY_MS: u64 = 500;

/// The machine's clock.
pub struct SystemClock {
    started: std::time::Instant,
    time_service: PathBuf,
    /// Latched once it is.
    believed: AtomicBool,
    /// When the time service was asked last, in milliseconds of the monotonic clock, and from 1 on.
    asked_at: AtomicU64,
    /// A time that was not in the future at a moment of the monotonic clock.
    floor: Mutex<Option<(Timestamp, Duration)>>,
}

impl SystemClock {
    pub fn start() -> Self {
        Self::with_time_service(Path::new(TIME_SERVICE))
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn with_time_service(folder: &Path) -> Self {
        Self {
            started: std::time::Instant::now(),
            time_service: folder.to_owned(),
            believed: AtomicBool::new(false),
            asked_at: AtomicU64::new(0),
            floor: Mutex::new(None),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn wall(&self) -> Timestamp {
        let since_1970 = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Timestamp(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
    }

    fn synchronised(&self) -> Synchronised {
        if self.time_service.join("synchronized").exists() {
            Synchronised::Yes
        } else if self.time_service.exists() {
            Synchronised::NotYet
        } else {
            Synchronised::Unknown
        }
    }

    /// Asks again only after a while.
    fn is_believed(&self) -> bool {
        if self.believed.load(Ordering::Relaxed) {
            return true;
        }
        let now = u64::try_from(self.monotonic().as_millis()).unwrap_or(u64::MAX) + 1;
        let asked_at = self.asked_at.load(Ordering::Relaxed);
        if asked_at > 0 && now < asked_at + ASK_EVERY_MS {
            return false;
        }
        self.asked_at.store(now, Ordering::Relaxed);
        self.standing() == Standing::Believed
    }
}

/// How long the machine has been running.
fn up() -> Duration {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::from_secs(u64::try_from(up.tv_sec).unwrap_or(0))
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let wall = self.wall();
        if self.is_believed() {
            return wall;
        }
        let floor = *self.floor.lock().expect("no panic while held");
        let Some((floor, since)) = floor else { return wall };
        let passed = self.monotonic().saturating_sub(since).as_millis();
        wall.max(floor.plus_ms(i64::try_from(passed).unwrap_or(i64::MAX)))
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn standing(&self) -> Standing {
        if self.believed.load(Ordering::Relaxed) {
            return Standing::Believed;
        }
        let standing = standing(self.synchronised(), up());
        if standing == Standing::Believed {
            self.believed.store(true, Ordering::Relaxed);
        }
        standing
    }

    fn not_before(&self, floor: Timestamp) {
        let since = self.monotonic();
        *self.floor.lock().expect("no panic while held") = Some((floor, since));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_clock_is_set_when_it_moves_otherwise_than_time_does() {
        let before = (Timestamp(1_000_000), 5 * SECOND);
        let after = |now, passed: u32| (Timestamp(now), 5 * SECOND + passed * SECOND);
        assert_eq!(step(before, after(1_060_000, 60)), None);
        assert_eq!(step(before, after(1_070_000, 60)), None, "ten seconds are let pass");
        let forward = step(before, after(1_070_001, 60)).expect("it was set");
        assert_eq!((forward.from, forward.ms()), (Timestamp(1_060_000), 10_001));
        let back = step(before, after(40_000, 60)).expect("it was set");
        assert_eq!(back.ms(), -1_020_000);
    }

    #[test]
    fn schedules_wait_for_a_time_server_two_minutes_at_most() {
        use Standing::{Assumed, Believed, Doubted};
        use Synchronised::{NotYet, Unknown, Yes};
        for (synchronised, up_s, expected) in [
            (Yes, 0, Believed),
            (Yes, 1_000, Believed),
            (NotYet, 0, Doubted),
            (NotYet, 119, Doubted),
            (NotYet, 120, Assumed),
            (Unknown, 119, Doubted),
            (Unknown, 120, Believed),
        ] {
            let found = standing(synchronised, Duration::from_secs(up_s));
            assert_eq!(found, expected, "{synchronised:?} after {up_s} s");
        }
    }

    #[test]
    fn a_clock_that_no_server_has_set_never_shows_a_time_before_the_newest_that_is_stored() {
        let service = tempfile::tempdir().expect("a temporary folder can be made");
        let clock = SystemClock::with_time_service(service.path());
        assert_ne!(clock.standing(), Standing::Believed);
        let floor = clock.wall().plus_ms(3_600_000);
        clock.not_before(floor);
        assert!(clock.now() >= floor);
        std::fs::write(service.path().join("synchronized"), "").expect("the folder is ours");
        assert_eq!(clock.standing(), Standing::Believed);
        assert!(clock.now() < floor);
    }
}
