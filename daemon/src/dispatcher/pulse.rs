//! Whether the dispatcher lives: asked, and answered by the task that keeps its time, with its lock in hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::Dispatcher;

/// A run is stuck when it should have ended so long ago and its thread has not come back. Longer than a card may stall:
/// a read that waits for it comes back.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// A sign of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Of the question that it answers.
    pub number: u64,
    /// Runs that there may be at a time.
    pub permits: usize,
    /// Runs that will not come back.
    pub stuck: usize,
}

/// Who asked, and what the last answer was.
#[derive(Debug)]
pub(super) struct Asking {
    asked: watch::Sender<u64>,
    answered: watch::Sender<Pulse>,
}

impl Default for Asking {
    fn default() -> Self {
        Asking { asked: watch::Sender::new(0), answered: watch::Sender::new(Pulse::default()) }
    }
}

impl Asking {
    /// Tells who answers that there is a question, also one from before.
    pub(super) fn questions(&self) -> watch::Receiver<u64> {
        let mut questions = self.asked.subscribe();
        questions.mark_changed();
        questions
    }
}

/// When the run of each executor thread has to be over.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// Milliseconds of the monotonic clock; `IDLE` where nothing runs.
    by_slot: Box<[AtomicU64]>,
}

const IDLE: u64 = u64::MAX;

impl Deadlines {
    pub(super) fn of(slots: usize) -> Deadlines {
        Deadlines { by_slot: (0..slots).map(|_| AtomicU64::new(IDLE)).collect() }
    }

    pub(super) fn begin(&self, slot: usize, deadline: Duration) {
        if let Some(one) = self.by_slot.get(slot) {
            one.store(u64::try_from(deadline.as_millis()).unwrap_or(IDLE), Ordering::Relaxed);
        }
    }

    pub(super) fn end(&self, slot: usize) {
        self.begin(slot, Duration::MAX);
    }

    /// Runs that should have come back long ago.
    fn stuck(&self, now: Duration) -> usize {
        let latest = now.saturating_sub(STUCK_AFTER).as_millis();
        self.by_slot.iter().filter(|one| u128::from(one.load(Ordering::Relaxed)) < latest).count()
    }
}

impl Dispatcher {
    /// Asks for a sign of life, and waits for it: for ever, if there is none.
    pub async fn pulse(&self) -> Pulse {
        let mut answers = self.asking.answered.subscribe();
        let mut number = 0;
        self.asking.asked.send_modify(|asked| {
            *asked += 1;
            number = *asked;
        });
        let answer = answers.wait_for(|pulse| pulse.number >= number).await.map(|pulse| *pulse);
        match answer {
            Ok(pulse) => pulse,
            Err(_gone) => std::future::pending().await,
        }
    }

    /// Answers the question of this number.
    pub(super) fn show_life(&self, number: u64) {
        // Nobody can run anything while this lock is not to be had.
        let state = self.lock();
        let stuck = self.deadlines.stuck(self.parts.clock.monotonic());
        drop(state);
        let pulse = Pulse { number, permits: self.parts.permits.all, stuck };
        self.asking.answered.send_replace(pulse);
    }

    /// Takes the dispatcher's lock, as a thread would that never gives it back.
    #[cfg(test)]
    pub(crate) fn seize(&self) -> impl Drop + '_ {
        self.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_stuck_a_minute_after_its_time_and_not_while_a_card_stalls() {
        let deadlines = Deadlines::of(2);
        let second = Duration::from_secs(1);
        assert_eq!(deadlines.stuck(1_000 * second), 0, "nothing runs");
        deadlines.begin(0, 10 * second);
        deadlines.begin(1, 50 * second);
        for (at, stuck) in [(9, 0), (45, 0), (70, 0), (71, 1), (110, 1), (111, 2)] {
            assert_eq!(deadlines.stuck(at * second), stuck, "after {at} s");
        }
        deadlines.end(0);
        assert_eq!(deadlines.stuck(111 * second), 1, "one has come back");
    }
}
