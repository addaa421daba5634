//! What is known of the commits since the start: how many, how long they took, when the last was.

use std::sync::Mutex;
use std::time::Duration;

use crate::histogram::Histogram;
use crate::time::Timestamp;

#[derive(Debug, Default)]
pub struct Commits {
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    pub last_at: Option<Timestamp>,
    /// With what they write.
    pub took: Histogram,
}

impl Commits {
    pub fn now(&self) -> Known {
        *self.known.lock().expect("no panic while held")
    }

    pub(crate) fn note(&self, at: Timestamp, took: Duration) {
        let mut known = self.known.lock().expect("no panic while held");
        known.last_at = Some(at);
        known.took.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}
