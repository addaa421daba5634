//! The gate: who may run now.
//!
//! One gate for all runs. Sync work may take every permit, async work leaves a reserve for people who wait, and no app
//! takes more than its share. Saturation postpones, it never drops.

use std::collections::HashMap;

use crate::ids::{AppId, QueueId};
use crate::limits::GateLimits;

/// How many runs there may be at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Permits {
    /// Runs in all, one thread each.
    pub all: usize,
    /// Of these, runs for which nobody waits.
    pub async_max: usize,
    /// Of these, runs of one app.
    pub app_max: usize,
}

impl Permits {
    /// What the limits come to on a machine of so many cores: four permits a core unless they name a number.
    pub fn of(limits: &GateLimits, cores: usize) -> Permits {
        let all = if limits.permits == 0 { cores.max(1) * 4 } else { limits.permits };
        let share = |percent: u32| (all * percent as usize).div_ceil(100).clamp(1, all);
        Permits {
            all,
            async_max: share(limits.async_share_percent),
            app_max: share(limits.app_share_percent),
        }
    }
}

/// Whether somebody waits for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Sync,
    Async,
}

/// The permits in use.
#[derive(Debug)]
pub struct ExecutionGate {
    limits: Permits,
    in_use: usize,
    in_use_async: usize,
    by_app: HashMap<AppId, usize>,
    by_queue: HashMap<QueueId, usize>,
}

impl ExecutionGate {
    pub fn new(limits: Permits) -> ExecutionGate {
        ExecutionGate {
            limits,
            in_use: 0,
            in_use_async: 0,
            by_app: HashMap::new(),
            by_queue: HashMap::new(),
        }
    }

    pub fn in_use(&self) -> usize {
        self.in_use
    }

    pub fn in_use_async(&self) -> usize {
        self.in_use_async
    }

    /// Whether any work of this sort can start, whichever app it belongs to.
    pub fn is_open(&self, work: Work) -> bool {
        self.in_use < self.limits.all
            && (work == Work::Sync || self.in_use_async < self.limits.async_max)
    }

    /// Whether this app may start one more.
    pub fn has_share(&self, app: AppId) -> bool {
        self.by_app.get(&app).copied().unwrap_or(0) < self.limits.app_max
    }

    /// Takes a permit, if there is one for this work. `queue_max` is the trigger's own limit.
    pub fn admit(
        &mut self,
        work: Work,
        app: AppId,
        queue: QueueId,
        queue_max: Option<u32>,
    ) -> bool {
        let in_queue = self.by_queue.get(&queue).copied().unwrap_or(0);
        let queue_is_full = queue_max.is_some_and(|max| in_queue >= max as usize);
        if !self.is_open(work) || !self.has_share(app) || queue_is_full {
            return false;
        }
        self.in_use += 1;
        self.in_use_async += usize::from(work == Work::Async);
        *self.by_app.entry(app).or_default() += 1;
        *self.by_queue.entry(queue).or_default() += 1;
        true
    }

    /// Gives a permit back, once the run's thread has really returned.
    pub fn release(&mut self, work: Work, app: AppId, queue: QueueId) {
        self.in_use -= 1;
        self.in_use_async -= usize::from(work == Work::Async);
        decrease(&mut self.by_app, app);
        decrease(&mut self.by_queue, queue);
    }
}

/// Takes one away, and forgets who has none left, so that the map is bounded by the permits.
fn decrease<K: std::hash::Hash + Eq + Copy>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: AppId = AppId(1);
    const B: AppId = AppId(2);
    const C: AppId = AppId(3);

    fn gate() -> ExecutionGate {
        ExecutionGate::new(Permits::of(&GateLimits::default(), 2))
    }

    fn admitted(gate: &mut ExecutionGate, work: Work, app: AppId, tries: usize) -> usize {
        (0..tries).filter(|_| gate.admit(work, app, QueueId(app.0), None)).count()
    }

    #[test]
    fn one_app_gets_half_of_the_permits() {
        assert_eq!(admitted(&mut gate(), Work::Sync, A, 20), 4);
    }

    #[test]
    fn a_backlog_leaves_a_quarter_for_those_who_wait() {
        let mut gate = gate();
        assert_eq!(admitted(&mut gate, Work::Async, A, 20), 4);
        assert_eq!(admitted(&mut gate, Work::Async, B, 20), 2);
        assert!(!gate.is_open(Work::Async));
        assert_eq!(admitted(&mut gate, Work::Sync, C, 20), 2);
        assert!(!gate.is_open(Work::Sync));
    }

    #[test]
    fn a_triggers_own_limit_holds_beside_the_others() {
        let mut gate = gate();
        let started = (0..5).filter(|_| gate.admit(Work::Async, A, QueueId(7), Some(1))).count();
        assert_eq!(started, 1);
        assert!(gate.admit(Work::Async, A, QueueId(8), Some(1)));
    }

    #[test]
    fn a_permit_given_back_can_be_taken_again_and_nothing_is_left_behind() {
        let mut gate = gate();
        assert_eq!(admitted(&mut gate, Work::Async, A, 4), 4);
        for _ in 0..4 {
            gate.release(Work::Async, A, QueueId(A.0));
        }
        assert_eq!((gate.in_use(), gate.by_app.len(), gate.by_queue.len()), (0, 0, 0));
        assert_eq!(admitted(&mut gate, Work::Async, A, 4), 4);
    }

    #[test]
    fn a_permit_given_back_leaves_the_others_of_its_app_and_queue_in_use() {
        let (mut gate, queue) = (gate(), QueueId(A.0));
        assert_eq!(admitted(&mut gate, Work::Async, A, 4), 4);
        gate.release(Work::Async, A, queue);
        assert_eq!((gate.in_use(), gate.by_app[&A], gate.by_queue[&queue]), (3, 3, 3));
        assert_eq!(admitted(&mut gate, Work::Async, A, 4), 1);
    }

    #[test]
    fn one_core_has_room_for_every_kind_of_work() {
        let limits = Permits::of(&GateLimits::default(), 1);
        assert_eq!(limits, Permits { all: 4, async_max: 3, app_max: 2 });
    }
}
