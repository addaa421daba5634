//! The inbox: answers find their way back to the callers that wait for them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::flow::facts::RequestKey;
use crate::inbox::InboxResult;

/// One waiting caller, shared by the request and its run.
///
/// Whether the caller still waits and whether the commit has begun are one state, changed by compare-and-set, so an
/// answer never says "nothing was changed" of a run whose commit went on.
#[derive(Debug)]
pub struct Waiter {
    state: AtomicU8,
    answer: Mutex<Option<oneshot::Sender<InboxResult>>>,
}

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const COMMITTING: u8 = 2;
const EXPIRED: u8 = 3;
const GONE: u8 = 4;

/// How far a run had come when its caller's time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    NotStarted,
    /// It will not commit any more.
    Running,
    /// Its commit has begun: the answer follows shortly, or is unknown.
    Committing,
    /// The answer is on its way.
    Ended,
}

/// Whether a run may begin to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    Waits,
    /// Its deadline has passed and it was told that nothing has changed.
    Expired,
    /// It has hung up; the work goes on.
    Gone,
}

impl Waiter {
    pub fn new() -> (Arc<Waiter>, oneshot::Receiver<InboxResult>) {
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter { state: AtomicU8::new(QUEUED), answer: Mutex::new(Some(sender)) };
        (Arc::new(waiter), receiver)
    }

    /// The run begins, unless nobody waits any more. A re-run begins again.
    pub fn begin(&self) -> Caller {
        self.step(&[QUEUED, RUNNING], RUNNING)
    }

    /// The commit begins. An expired caller's run must not commit.
    pub fn commit(&self) -> Caller {
        self.step(&[QUEUED, RUNNING, COMMITTING], COMMITTING)
    }

    /// The commit did not come about; the run goes on.
    pub fn take_back(&self) {
        self.step(&[COMMITTING], RUNNING);
    }

    /// The caller's time is over.
    pub fn expire(&self) -> Progress {
        match self.leave(EXPIRED) {
            QUEUED => Progress::NotStarted,
            RUNNING => Progress::Running,
            COMMITTING => Progress::Committing,
            _ => Progress::Ended,
        }
    }

    /// The caller has hung up.
    pub fn hang_up(&self) {
        self.leave(GONE);
    }

    /// Whether the caller was told already that its time was over.
    pub fn is_expired(&self) -> bool {
        self.state.load(Ordering::Acquire) == EXPIRED
    }

    /// Hands the answer over. False when nobody takes it.
    pub fn deliver(&self, result: InboxResult) -> bool {
        let sender = self.answer.lock().expect("no panic while held").take();
        sender.is_some_and(|sender| sender.send(result).is_ok())
    }

    fn step(&self, from: &[u8], to: u8) -> Caller {
        let advance = |state| from.contains(&state).then_some(to);
        match self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, advance) {
            Ok(_) => Caller::Waits,
            Err(EXPIRED) => Caller::Expired,
            Err(_) => Caller::Gone,
        }
    }

    /// Leaves, unless the commit has begun; says what the state was.
    fn leave(&self, to: u8) -> u8 {
        let advance = |state| (state == QUEUED || state == RUNNING).then_some(to);
        match self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, advance) {
            Ok(before) | Err(before) => before,
        }
    }
}

/// The requests with an idempotency key that are under way in this process.
#[derive(Debug, Default)]
pub struct InFlight {
    keys: Mutex<HashSet<RequestKey>>,
}

impl InFlight {
    /// False when a request of this key is under way.
    pub fn enter(&self, key: RequestKey) -> bool {
        self.keys.lock().expect("no panic while held").insert(key)
    }

    pub fn leave(&self, key: &RequestKey) {
        self.keys.lock().expect("no panic while held").remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_an_expired_caller_was_told_that_nothing_changed_so_its_run_does_not_commit() {
        let (waiter, _receiver) = Waiter::new();
        assert_eq!(waiter.begin(), Caller::Waits);
        assert_eq!(waiter.expire(), Progress::Running);
        assert_eq!(waiter.commit(), Caller::Expired);
    }

    #[test]
    fn p5_a_commit_that_has_begun_is_waited_for() {
        let (waiter, receiver) = Waiter::new();
        assert_eq!(waiter.begin(), Caller::Waits);
        assert_eq!(waiter.commit(), Caller::Waits);
        assert_eq!(waiter.expire(), Progress::Committing);
        assert!(waiter.deliver(InboxResult::Answered("1".into())));
        drop(receiver);
    }

    #[test]
    fn a_caller_that_hangs_up_before_the_start_is_not_run_for() {
        let (waiter, receiver) = Waiter::new();
        waiter.hang_up();
        drop(receiver);
        assert_eq!(waiter.begin(), Caller::Gone);
        assert!(!waiter.deliver(InboxResult::Answered("1".into())));
    }

    #[test]
    fn a_run_that_lost_a_race_begins_again() {
        let (waiter, _receiver) = Waiter::new();
        assert_eq!(waiter.begin(), Caller::Waits);
        assert_eq!(waiter.commit(), Caller::Waits);
        waiter.take_back();
        assert_eq!(waiter.begin(), Caller::Waits);
        assert_eq!(waiter.expire(), Progress::Running);
    }

    #[test]
    fn p5_only_the_first_answer_is_delivered() {
        let (waiter, mut receiver) = Waiter::new();
        assert!(waiter.deliver(InboxResult::Answered("1".into())));
        assert!(!waiter.deliver(InboxResult::Answered("2".into())));
        assert_eq!(receiver.try_recv(), Ok(InboxResult::Answered("1".into())));
    }
}
