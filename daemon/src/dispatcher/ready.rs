//! Runs that wait for a permit, and which of them is next. Pure.
//!
//! Sync before async, apps in turn, first come first served within an app. Two sorts of runs stand apart: those that
//! have to run alone because they may bring the daemon down, and those that keep losing a race for the same keys and
//! therefore take turns.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::entry::EntryKey;
use crate::flow::settle::Stored;
use crate::gate::{ExecutionGate, Permits, Work};
use crate::ids::{AppId, Id};
use crate::outbox::decide::SUSPECT_AFTER;
use crate::outbox::row::Claim;
use crate::time::Timestamp;

use super::inbox::Waiter;

/// A claimed row on its way through a run.
#[derive(Debug)]
pub struct Run {
    pub claim: Claim,
    /// Who waits for a sync row's answer.
    pub waiter: Option<Arc<Waiter>>,
    /// When it was handed over, by the monotonic clock.
    pub handed_at: Duration,
    /// Its first start, kept over re-runs after a conflict: what the script sees as now, and its deadline.
    pub start: Option<Start>,
    /// How often its commit met a value that had changed.
    pub conflicts: u32,
    /// The trigger's own limit.
    pub queue_max: Option<u32>,
    /// Runs only while nothing else runs.
    pub alone: bool,
    /// The keys it touched when it last lost a race.
    pub keys: Vec<EntryKey>,
    /// Whether a sync row is in the store, once that is settled: when its first attempt to commit begins.
    pub stored: Option<Stored>,
}

/// When an attempt began.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub now: Timestamp,
    /// By the monotonic clock.
    pub at: Duration,
    pub deadline: Duration,
}

/// From this many conflicts on, runs that touch the same keys take turns.
pub const TURNS_AFTER: u32 = 3;

impl Run {
    pub fn new(claim: Claim, handed_at: Duration) -> Run {
        let alone = claim.row.orphaned >= SUSPECT_AFTER;
        Run {
            claim,
            waiter: None,
            handed_at,
            start: None,
            conflicts: 0,
            queue_max: None,
            alone,
            keys: Vec::new(),
            stored: None,
        }
    }

    /// The run as if it had not started, to be started while nothing else runs: its time begins then.
    #[must_use]
    pub fn set_apart(self) -> Run {
        Run { alone: true, start: None, ..self }
    }

    pub fn id(&self) -> Id {
        self.claim.row.id
    }

    pub fn work(&self) -> Work {
        if self.claim.row.is_sync() { Work::Sync } else { Work::Async }
    }
}

/// The waiting runs and the gate that they wait at.
#[derive(Debug)]
pub struct Ready {
    gate: ExecutionGate,
    apps: HashMap<AppId, Waiting>,
    /// Apps with something waiting, the next one first.
    rotation: VecDeque<AppId>,
    alone: VecDeque<Run>,
    /// A run that runs alone is under way.
    alone_runs: bool,
    /// Keys of the runs whose turn it is, until their commit is known.
    turns: HashMap<Id, Vec<EntryKey>>,
    behind_turns: VecDeque<Run>,
    sync_waiting: usize,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    sync: VecDeque<Run>,
    deferred: VecDeque<Run>,
}

impl Ready {
    pub fn new(limits: Permits) -> Ready {
        Ready {
            gate: ExecutionGate::new(limits),
            apps: HashMap::new(),
            rotation: VecDeque::new(),
            alone: VecDeque::new(),
            alone_runs: false,
            turns: HashMap::new(),
            behind_turns: VecDeque::new(),
            sync_waiting: 0,
            waiting: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Sync runs that wait, all and of one app.
    pub fn sync_waiting(&self, app: AppId) -> (usize, usize) {
        (self.sync_waiting, self.apps.get(&app).map_or(0, |waiting| waiting.sync.len()))
    }

    pub fn in_use(&self) -> usize {
        self.gate.in_use()
    }

    /// Permits in use, and those of them for which nobody waits.
    pub fn in_use_of(&self) -> (usize, usize) {
        (self.gate.in_use(), self.gate.in_use_async())
    }

    pub fn len(&self) -> usize {
        self.waiting
    }

    pub fn push(&mut self, run: Run) {
        self.waiting += 1;
        if run.alone {
            self.alone.push_back(run);
            return;
        }
        let app = run.claim.row.app;
        let waiting = self.apps.entry(app).or_default();
        if waiting.sync.is_empty() && waiting.deferred.is_empty() {
            self.rotation.push_back(app);
        }
        match run.work() {
            Work::Sync => {
                self.sync_waiting += 1;
                waiting.sync.push_back(run);
            }
            Work::Async => waiting.deferred.push_back(run),
        }
    }

    /// The run that may start now, with its permit taken.
    pub fn admit_next(&mut self) -> Option<Run> {
        if self.alone_runs {
            return None;
        }
        if !self.alone.is_empty() {
            return self.next_alone();
        }
        loop {
            let run = self.next_of(Work::Sync).or_else(|| self.next_of(Work::Async))?;
            if let Some(run) = self.take_turn(run) {
                return Some(run);
            }
        }
    }

    /// While one waits to run alone, nothing else starts.
    fn next_alone(&mut self) -> Option<Run> {
        if self.gate.in_use() > 0 {
            return None;
        }
        let run = self.alone.pop_front()?;
        self.waiting -= 1;
        self.alone_runs = true;
        let row = &run.claim.row;
        let admitted = self.gate.admit(run.work(), row.app, row.queue, None);
        debug_assert!(admitted, "nothing else holds a permit");
        Some(run)
    }

    fn next_of(&mut self, work: Work) -> Option<Run> {
        if !self.gate.is_open(work) {
            return None;
        }
        for _ in 0..self.rotation.len() {
            let app = self.rotation.pop_front()?;
            let waiting = self.apps.get_mut(&app).expect("apps in the rotation have runs waiting");
            let runs = match work {
                Work::Sync => &mut waiting.sync,
                Work::Async => &mut waiting.deferred,
            };
            let admitted = runs.front().is_some_and(|run| {
                let row = &run.claim.row;
                self.gate.admit(work, row.app, row.queue, run.queue_max)
            });
            let run = if admitted { runs.pop_front() } else { None };
            if waiting.sync.is_empty() && waiting.deferred.is_empty() {
                self.apps.remove(&app);
            } else {
                self.rotation.push_back(app);
            }
            if let Some(run) = run {
                self.waiting -= 1;
                self.sync_waiting -= usize::from(work == Work::Sync);
                return Some(run);
            }
        }
        None
    }

    /// Lets a run go on unless it has to wait for the turn of another.
    fn take_turn(&mut self, run: Run) -> Option<Run> {
        if run.conflicts < TURNS_AFTER {
            return Some(run);
        }
        let taken = |key| self.turns.values().any(|keys| keys.contains(key));
        if run.keys.iter().any(taken) {
            let row = &run.claim.row;
            self.gate.release(run.work(), row.app, row.queue);
            self.waiting += 1;
            self.behind_turns.push_back(run);
            return None;
        }
        self.turns.insert(run.id(), run.keys.clone());
        Some(run)
    }

    /// The run's thread has returned.
    pub fn returned(&mut self, run: &Run) {
        let row = &run.claim.row;
        self.gate.release(run.work(), row.app, row.queue);
        if run.alone {
            self.alone_runs = false;
        }
    }

    /// The run's commit is known: whoever waits for its turn may try.
    pub fn turn_over(&mut self, id: Id) {
        if self.turns.remove(&id).is_some() {
            for run in std::mem::take(&mut self.behind_turns) {
                self.waiting -= 1;
                self.push(run);
            }
        }
    }

    /// Takes out all that has not started, when the daemon stops.
    pub fn drain(&mut self) -> Vec<Run> {
        let mut runs: Vec<Run> = self.alone.drain(..).chain(self.behind_turns.drain(..)).collect();
        for (_, waiting) in self.apps.drain() {
            runs.extend(waiting.sync);
            runs.extend(waiting.deferred);
        }
        self.rotation.clear();
        self.sync_waiting = 0;
        self.waiting = 0;
        runs
    }
}

#[cfg(test)]
mod tests {
    use picloud_scripts_runtime::effect::{Key, Space};

    use super::*;
    use crate::ids::QueueId;
    use crate::outbox::row::tests::row;
    use crate::outbox::row::{Lease, OutboxRow};

    fn run(id: u128, app: i64, work: Work) -> Run {
        let row = OutboxRow {
            id: Id(id),
            app: AppId(app),
            queue: QueueId(app),
            reply_by: (work == Work::Sync).then_some(Timestamp(1)),
            ..row()
        };
        let lease = Lease { owner: Id(0), token: 1 };
        Run::new(Claim { row: Arc::new(row), lease }, Duration::ZERO)
    }

    fn ready(permits: usize) -> Ready {
        Ready::new(Permits { all: permits, async_max: permits, app_max: permits })
    }

    fn order(ready: &mut Ready) -> Vec<u128> {
        std::iter::from_fn(|| ready.admit_next()).map(|run| run.id().0).collect()
    }

    #[test]
    fn those_who_wait_go_first_and_apps_take_turns() {
        let mut ready = ready(10);
        for (id, app, work) in [
            (1, 1, Work::Async),
            (2, 1, Work::Async),
            (3, 1, Work::Async),
            (4, 2, Work::Async),
            (5, 2, Work::Sync),
        ] {
            ready.push(run(id, app, work));
        }
        assert_eq!(order(&mut ready), [5, 1, 4, 2, 3]);
    }

    #[test]
    fn an_app_at_its_limit_is_stepped_over() {
        let limits = Permits { all: 10, async_max: 10, app_max: 1 };
        let mut ready = Ready::new(limits);
        for (id, app) in [(1, 1), (2, 1), (3, 2)] {
            ready.push(run(id, app, Work::Async));
        }
        let first = ready.admit_next().expect("a permit is free");
        assert_eq!((first.id(), order(&mut ready)), (Id(1), vec![3]));
        ready.returned(&first);
        assert_eq!(order(&mut ready), [2]);
    }

    #[test]
    fn p6_a_suspect_runs_while_nothing_else_runs() {
        let mut ready = ready(10);
        ready.push(run(1, 1, Work::Async));
        let first = ready.admit_next().expect("a permit is free");
        let start = Start { now: Timestamp(0), at: Duration::ZERO, deadline: Duration::ZERO };
        let suspect = Run { start: Some(start), ..run(2, 1, Work::Async) };
        ready.push(suspect.set_apart());
        ready.push(run(3, 1, Work::Sync));
        assert_eq!(order(&mut ready), [0; 0]);
        ready.returned(&first);
        let suspect = ready.admit_next().expect("nothing else runs");
        assert_eq!((suspect.id(), order(&mut ready)), (Id(2), vec![]));
        assert!(suspect.start.is_none(), "its time begins when it starts");
        ready.returned(&suspect);
        assert_eq!(order(&mut ready), [3]);
    }

    #[test]
    fn runs_that_lost_three_races_for_a_key_take_turns() {
        let key = |name: &str| EntryKey {
            app: AppId(1),
            key: Key { space: Space::Kv, collection: "c".into(), key: name.into() },
        };
        let mut ready = ready(10);
        for (id, name) in [(1, "a"), (2, "a"), (3, "b")] {
            let loser = run(id, 1, Work::Async);
            ready.push(Run { conflicts: TURNS_AFTER, keys: vec![key(name)], ..loser });
        }
        assert_eq!(order(&mut ready), [1, 3]);
        assert_eq!(ready.in_use(), 2, "who waits for a turn holds no permit");
        ready.turn_over(Id(1));
        assert_eq!(order(&mut ready), [2]);
    }

    #[test]
    fn all_that_waits_is_counted_once() {
        let mut ready = ready(1);
        ready.push(run(1, 1, Work::Sync));
        ready.push(run(2, 1, Work::Sync));
        ready.push(run(3, 2, Work::Async));
        assert_eq!((ready.waiting, ready.sync_waiting(AppId(1))), (3, (2, 2)));
        assert!(ready.admit_next().is_some());
        assert_eq!((ready.waiting, ready.sync_waiting(AppId(1))), (2, (1, 1)));
        assert_eq!(ready.drain().len(), 2);
        assert!(ready.is_empty());
    }
}
