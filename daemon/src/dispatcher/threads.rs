//! Which executor threads are awake.
//!
//! Waking a thread costs more than a short script. So one thread for each core is called at once, and only if these do not
//! get through the work, because their runs are long or wait for something, more are called, one at a time.

use std::time::Duration;

/// How often the lookout sees whether its help is wanted.
pub const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Runs that a thread takes within that time if they are short.
const SHORT_RUNS: usize = 4;

/// The executor threads of a dispatcher.
#[derive(Debug, Default)]
pub struct Threads {
    pub all: usize,
    /// Those that wait to be called.
    pub idle: usize,
    /// Whether one of these has been called to work and has not come yet.
    called: bool,
    /// Whether there is a lookout, and whether it has not come yet.
    pub lookout: bool,
    lookout_called: bool,
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
    /// There is work: whether an idle thread has to be woken for it.
    pub fn call(&mut self, awake_max: usize) -> bool {
        let on_their_way = usize::from(self.called) + usize::from(self.lookout_called);
        if self.idle <= on_their_way {
            return false;
        }
        if self.awake() < awake_max {
            return !std::mem::replace(&mut self.called, true);
        }
        let is_there = std::mem::replace(&mut self.lookout, true);
        self.lookout_called |= !is_there;
        !is_there
    }

    /// A thread has woken up.
    pub fn answer(&mut self) -> Calling {
        let works = std::mem::take(&mut self.called);
        if !works && std::mem::take(&mut self.lookout_called) {
            Calling::Lookout
        } else {
            Calling::Worker
        }
    }

    /// Whether those who are awake get through so many runs that another thread would only take turns with them.
    pub fn goes_well(&self, awake_max: usize) -> bool {
        self.taken >= awake_max * SHORT_RUNS
    }

    /// Those that run something or are about to.
    fn awake(&self) -> usize {
        let watching = usize::from(self.lookout && !self.lookout_called);
        self.all.saturating_sub(self.idle + watching)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes(threads: &mut Threads) -> Calling {
        threads.idle -= 1;
        threads.answer()
    }

    #[test]
    fn a_thread_for_each_core_is_called_to_work_and_then_one_that_looks_on() {
        let mut threads = Threads { all: 4, idle: 4, ..Threads::default() };
        for expected in [Calling::Worker, Calling::Worker, Calling::Lookout] {
            assert!(threads.call(2));
            assert!(!threads.call(2), "the one who was called has not come yet");
            assert_eq!(comes(&mut threads), expected);
        }
        assert!(!threads.call(2), "there is a lookout");
    }

    #[test]
    fn a_lookout_that_comes_to_help_is_replaced() {
        let mut threads =
            Threads { all: 4, idle: 1, lookout: true, taken: 7, ..Threads::default() };
        assert!(!threads.goes_well(2));
        threads.lookout = false;
        assert!(threads.call(2));
        assert_eq!(comes(&mut threads), Calling::Lookout);
        assert!(!threads.call(2), "nobody is left");
    }

    #[test]
    fn nobody_is_called_twice_for_one_place() {
        let mut threads = Threads { all: 2, idle: 1, ..Threads::default() };
        assert!(threads.call(1));
        threads.lookout = false;
        assert!(!threads.call(2), "the only idle one is on its way");
        assert_eq!(comes(&mut threads), Calling::Lookout);
    }
}
