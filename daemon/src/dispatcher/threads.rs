//! Which executor threads are awake.
//!
//! Waking a thread costs more than a short script. So one thread for each core is called at once, and only if these do not
//! get through the work, because their runs are long or wait for something, more are called, one at a time.
//!
//! It is always the first of those who rest that is called. So where little is to do a few threads do all of it, and what a
//! thread holds of memory once it has run something, its stack and what the allocator keeps for it, few of them hold.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// How often the lookout sees whether its help is wanted.
pub const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Runs that a thread takes within that time if they are short.
const SHORT_RUNS: usize = 4;

/// The executor threads of a dispatcher, by their slots.
#[derive(Debug, Default)]
pub struct Threads {
    pub all: usize,
    /// Those that wait to be called.
    resting: BinaryHeap<Reverse<usize>>,
    /// The one that has been called to work and has not come yet.
    called: Option<usize>,
    /// Whether there is a lookout, and the slot of one that has not come yet.
    lookout: bool,
    lookout_called: Option<usize>,
    /// Runs taken since the lookout looked.
    pub taken: usize,
}

/// What a thread was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calling {
    Worker,
    Lookout,
}

impl Threads {
    /// A thread has nothing to do.
    pub fn rest(&mut self, slot: usize) {
        self.resting.push(Reverse(slot));
    }

    /// There is work: the thread that has to be woken for it, if any.
    pub fn call(&mut self, awake_max: usize) -> Option<usize> {
        let for_work = self.awake() < awake_max;
        let is_called = if for_work { self.called.is_some() } else { self.lookout };
        if is_called {
            return None;
        }
        let Reverse(slot) = self.resting.pop()?;
        if for_work {
            self.called = Some(slot);
        } else {
            self.lookout = true;
            self.lookout_called = Some(slot);
        }
        Some(slot)
    }

    /// A thread has woken up: what for, if it was called at all.
    pub fn answer(&mut self, slot: usize) -> Option<Calling> {
        if self.called == Some(slot) {
            self.called = None;
            Some(Calling::Worker)
        } else if self.lookout_called == Some(slot) {
            self.lookout_called = None;
            Some(Calling::Lookout)
        } else {
            None
        }
    }

    /// The lookout does something else from now on.
    pub fn looks_away(&mut self) {
        self.lookout = false;
    }

    /// Whether those who are awake get through so many runs that another thread would only take turns with them.
    pub fn goes_well(&self, awake_max: usize) -> bool {
        self.taken >= awake_max * SHORT_RUNS
    }

    /// Those that run something or are about to.
    fn awake(&self) -> usize {
        let others =
            self.resting.len() + usize::from(self.called.is_some()) + usize::from(self.lookout);
        self.all.saturating_sub(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_rest(all: usize) -> Threads {
        let mut threads = Threads { all, ..Threads::default() };
        (0..all).for_each(|slot| threads.rest(slot));
        threads
    }

    #[test]
    fn a_thread_for_each_core_is_called_to_work_and_then_one_that_looks_on() {
        let mut threads = all_rest(4);
        for (slot, expected) in [(0, Calling::Worker), (1, Calling::Worker), (2, Calling::Lookout)]
        {
            assert_eq!(threads.call(2), Some(slot));
            assert_eq!(threads.call(2), None, "the one who was called has not come yet");
            assert_eq!(threads.answer(slot), Some(expected));
        }
        assert_eq!(threads.call(2), None, "there is a lookout");
    }

    #[test]
    fn the_same_thread_is_called_again_and_again_while_it_is_enough() {
        let mut threads = all_rest(4);
        for _ in 0..3 {
            assert_eq!(threads.call(2), Some(0));
            assert_eq!(threads.answer(0), Some(Calling::Worker));
            threads.rest(0);
        }
    }

    #[test]
    fn a_lookout_that_comes_to_help_is_replaced() {
        let mut threads = all_rest(4);
        for slot in 0..3 {
            assert_eq!(threads.call(2), Some(slot));
            threads.answer(slot);
        }
        threads.taken = 7;
        assert!(!threads.goes_well(2));
        threads.looks_away();
        assert_eq!(threads.call(2), Some(3));
        assert_eq!(threads.answer(3), Some(Calling::Lookout));
        assert_eq!(threads.call(2), None, "nobody is left");
    }

    #[test]
    fn nobody_is_called_twice_for_one_place() {
        let mut threads = Threads { all: 2, ..Threads::default() };
        threads.rest(1);
        assert_eq!(threads.call(1), Some(1));
        threads.looks_away();
        assert_eq!(threads.call(2), None, "the only one that rested is on its way");
        assert_eq!(threads.answer(0), None, "this one woke by itself");
        assert_eq!(threads.answer(1), Some(Calling::Lookout));
    }
}
