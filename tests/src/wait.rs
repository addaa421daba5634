//! Waiting. Another process tells nobody when its state changes, so tests ask again and again: here, and nowhere else.

use std::time::{Duration, Instant};

/// After this long a condition counts as one that never comes true. Far longer than anything takes, so that a busy
/// machine does not fail a test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(2);

/// A moment from which time is counted.
#[derive(Clone, Copy, Debug)]
pub struct Since(Instant);

impl Since {
    #[allow(clippy::disallowed_methods, reason = "the clock of the tests")]
    pub fn now() -> Since {
        Since(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// What `condition` returns as soon as it returns something. Panics, naming `what`, when it never does.
#[track_caller]
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, condition).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
}

/// What `condition` returns as soon as it returns something; `None` when it has not by the end of `limit`.
pub fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Since::now();
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if begin.elapsed() > limit {
            return None;
        }
        pass(INTERVAL);
    }
}

/// Lets time pass for a task: for those who are slow on purpose.
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Lets time pass: for moments at which a test kills a process, which are no conditions.
#[allow(clippy::disallowed_methods, reason = "the one file in which tests sleep")]
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}
