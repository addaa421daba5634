//! What is counted of requests and runs: totals since the start, the last minutes second by second, apps and scripts.
//!
//! Counted where it happens, so that reading costs the store nothing and an idle daemon does nothing. All of it has a
//! fixed size or a limit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::ids::AppId;
use crate::inbox::InboxFailureKind;
use crate::outbox::row::AbandonReason;
use crate::time::Timestamp;

use super::history::{End, Execution};

/// Seconds that are remembered one by one.
pub const SERIES_SECONDS: usize = 300;
/// Apps and scripts that are counted one by one; what is beyond is counted together.
pub const APPS_MAX: usize = 200;
pub const SCRIPTS_MAX: usize = 500;
/// Characters of an app's last trouble.
const TROUBLE_CHARACTERS_MAX: usize = 200;

/// The counts. One lock, held for as long as it takes to count one thing.
#[derive(Debug, Default)]
pub struct Tally {
    counted: Mutex<Counted>,
}

/// Everything that is counted.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Of requests that found their route; by how they were replied to.
    replies: [u64; Replied::ALL.len()],
    pub answer: Histogram,
    pub total: Counts,
    /// Of all attempts, also of those that did not start.
    ends: [u64; End::ALL.len()],
    abandoned: [u64; AbandonReason::ALL.len()],
    pub queued: Histogram,
    pub run: Histogram,
    pub series: Series,
    pub apps: BTreeMap<AppId, OfApp>,
    pub other_apps: OfApp,
    pub other_scripts: OfScript,
    /// Scripts that are counted one by one.
    scripts: usize,
}

/// How a request was replied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replied {
    Accepted,
    Answered,
    Failed(InboxFailureKind),
}

impl Replied {
    /// In the order of their places.
    pub const ALL: [Replied; 2 + InboxFailureKind::ALL.len()] = {
        let mut all = [Replied::Accepted; 2 + InboxFailureKind::ALL.len()];
        all[1] = Replied::Answered;
        let mut at = 0;
        while at < InboxFailureKind::ALL.len() {
            all[2 + at] = Replied::Failed(InboxFailureKind::ALL[at]);
            at += 1;
        }
        all
    };

    fn place(self) -> usize {
        match self {
            Self::Accepted => 0,
            Self::Answered => 1,
            Self::Failed(kind) => 2 + kind as usize,
        }
    }

    /// A word of a small number of them.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Answered => "answered",
            Self::Failed(kind) => kind.status().1,
        }
    }
}

/// What is counted by the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: u64,
    pub runs: u64,
    /// Runs that failed.
    pub failures: u64,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.requests += other.requests;
        self.runs += other.runs;
        self.failures += other.failures;
    }
}

#[derive(Clone, Debug, Default)]
pub struct OfApp {
    pub total: Counts,
    pub minute: Minute,
    pub answer: Histogram,
    pub trouble: Option<Trouble>,
    pub scripts: BTreeMap<Arc<str>, OfScript>,
}

/// What went wrong last.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    pub at: Timestamp,
    pub script: Arc<str>,
    pub message: String,
}

#[derive(Clone, Debug, Default)]
pub struct OfScript {
    pub total: Counts,
    pub minute: Minute,
    pub run: Histogram,
}

/// A ring of seconds; those in which nothing happened cost nothing until the next look.
#[derive(Clone, Debug)]
pub struct Series {
    /// The second that was counted in last, by the monotonic clock.
    newest: u64,
    seconds: Box<[Counts; SERIES_SECONDS]>,
}

impl Default for Series {
    fn default() -> Series {
        Series { newest: 0, seconds: Box::new([Counts::default(); SERIES_SECONDS]) }
    }
}

/// Parts of a minute that are counted one by one.
const PARTS: usize = 12;
const PART_SECONDS: u64 = 60 / PARTS as u64;

/// About the last minute, in parts of five seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Minute {
    newest: u64,
    parts: [Counts; PARTS],
}

/// Moves a ring on to `now` and empties what has come round again.
fn advance<const N: usize>(ring: &mut [Counts; N], newest: &mut u64, now: u64) {
    let passed = usize::try_from(now.saturating_sub(*newest)).unwrap_or(N).min(N);
    for step in 1..=passed {
        ring[place::<N>(*newest + step as u64)] = Counts::default();
    }
    // Longer ago than all of the ring: everything was emptied, wherever it began.
    *newest = now.max(*newest);
}

#[allow(clippy::cast_possible_truncation, reason = "less than the ring's length")]
fn place<const N: usize>(at: u64) -> usize {
    (at % N as u64) as usize
}

impl Series {
    fn count(&mut self, counts: Counts, second: u64) {
        advance(&mut self.seconds, &mut self.newest, second);
        self.seconds[place::<SERIES_SECONDS>(second)].add(counts);
    }

    /// The seconds that are over, the oldest first, as seen in `second`.
    pub fn until(&self, second: u64) -> Vec<Counts> {
        let mut copy = self.clone();
        advance(&mut copy.seconds, &mut copy.newest, second);
        let oldest = second + 1;
        let order = oldest..second + SERIES_SECONDS as u64;
        order.map(|at| copy.seconds[place::<SERIES_SECONDS>(at)]).collect()
    }
}

impl Minute {
    fn count(&mut self, counts: Counts, second: u64) {
        let part = second / PART_SECONDS;
        advance(&mut self.parts, &mut self.newest, part);
        self.parts[place::<PARTS>(part)].add(counts);
    }

    /// What was counted in the minute up to `second`, give or take five seconds.
    pub fn until(&self, second: u64) -> Counts {
        let mut copy = *self;
        advance(&mut copy.parts, &mut copy.newest, second / PART_SECONDS);
        copy.parts.iter().fold(Counts::default(), |mut sum, part| {
            sum.add(*part);
            sum
        })
    }
}

/// What an attempt came to, beside what the history keeps of it.
pub struct Ended<'a> {
    pub execution: &'a Execution,
    pub started: Started,
    pub failure: Option<&'a Failure>,
    pub reason: Option<AbandonReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    Yes,
    /// It was given back, or nobody waited for it any more.
    No,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().expect("no panic while held")
    }

    pub fn now(&self) -> Counted {
        self.lock().clone()
    }

    /// A request has found its route.
    pub fn requested(&self, app: AppId, at: Duration) {
        let counts = Counts { requests: 1, ..Counts::default() };
        let mut counted = self.lock();
        counted.total.add(counts);
        counted.series.count(counts, at.as_secs());
        let app = counted.app(app);
        app.total.add(counts);
        app.minute.count(counts, at.as_secs());
    }

    /// It has its reply.
    pub fn replied(&self, app: AppId, replied: Replied, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut counted = self.lock();
        counted.replies[replied.place()] += 1;
        counted.answer.record(us);
        counted.app(app).answer.record(us);
    }

    /// An attempt has ended.
    pub fn ended(&self, ended: &Ended<'_>, at: Duration) {
        let execution = ended.execution;
        let mut counted = self.lock();
        counted.ends[execution.end as usize] += 1;
        if let Some(reason) = ended.reason {
            counted.abandoned[reason as usize] += 1;
        }
        if ended.started == Started::Yes {
            counted.ran(execution, ended.failure, at.as_secs());
        }
    }
}

impl Counted {
    pub fn replies(&self) -> impl Iterator<Item = (Replied, u64)> + '_ {
        Replied::ALL.into_iter().zip(self.replies)
    }

    pub fn ends(&self) -> impl Iterator<Item = (End, u64)> + '_ {
        End::ALL.into_iter().zip(self.ends)
    }

    pub fn abandoned(&self) -> impl Iterator<Item = (AbandonReason, u64)> + '_ {
        AbandonReason::ALL.into_iter().zip(self.abandoned)
    }

    fn ran(&mut self, execution: &Execution, failure: Option<&Failure>, second: u64) {
        let counts = Counts { requests: 0, runs: 1, failures: u64::from(failure.is_some()) };
        self.total.add(counts);
        self.series.count(counts, second);
        self.queued.record(execution.queued_us);
        self.run.record(execution.took_us);
        let may_have_more = self.scripts < SCRIPTS_MAX;
        let app = self.app(execution.app);
        app.total.add(counts);
        app.minute.count(counts, second);
        if let Some(failure) = failure {
            app.trouble = Some(Trouble {
                at: execution.started_at,
                script: Arc::clone(&execution.script),
                message: failure.message.chars().take(TROUBLE_CHARACTERS_MAX).collect(),
            });
        }
        let (script, is_new) = match app.scripts.get_mut(&*execution.script) {
            Some(script) => (script, false),
            None if may_have_more => {
                (app.scripts.entry(Arc::clone(&execution.script)).or_default(), true)
            }
            None => (&mut self.other_scripts, false),
        };
        script.total.add(counts);
        script.minute.count(counts, second);
        script.run.record(execution.took_us);
        self.scripts += usize::from(is_new);
    }

    /// An app, or all others together once there are too many.
    fn app(&mut self, app: AppId) -> &mut OfApp {
        let is_one = self.apps.len() < APPS_MAX || self.apps.contains_key(&app);
        if is_one { self.apps.entry(app).or_default() } else { &mut self.other_apps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatcher::history::execution_of;
    use crate::failure::FailureKind;
    use crate::outbox::row::OutboxRow;
    use crate::outbox::row::tests::row;

    fn run(tally: &Tally, script: &str, failure: Option<&Failure>, second: u64) {
        let row = OutboxRow { script: script.into(), ..row() };
        let execution = execution_of(&row, End::Completed, Timestamp(7));
        let ended = Ended { execution: &execution, started: Started::Yes, failure, reason: None };
        tally.ended(&ended, Duration::from_secs(second));
    }

    #[test]
    fn seconds_are_remembered_until_the_ring_comes_round() {
        let tally = Tally::default();
        tally.requested(AppId(1), Duration::from_secs(10));
        run(&tally, "work", None, 12);
        let at = |second: u64, back: usize| {
            let until = tally.now().series.until(second);
            assert_eq!(until.len(), SERIES_SECONDS - 1);
            until[until.len() - back]
        };
        assert_eq!(at(13, 3).requests, 1);
        assert_eq!((at(13, 1).runs, at(13, 2).runs), (1, 0));
        assert_eq!(at(309, 299).requests, 1);
        assert_eq!(tally.now().series.until(310).iter().map(|one| one.requests).sum::<u64>(), 0);
        run(&tally, "work", None, 100_000);
        let until = tally.now().series.until(100_001);
        assert_eq!(until.iter().map(|one| one.runs).sum::<u64>(), 1);
    }

    #[test]
    fn a_minute_forgets_what_is_older() {
        let tally = Tally::default();
        for second in [0, 30, 59] {
            run(&tally, "work", None, second);
        }
        let of = |second| tally.now().apps[&row().app].minute.until(second).runs;
        assert_eq!((of(59), of(60), of(89), of(114), of(120)), (3, 2, 2, 1, 0));
        assert_eq!(tally.now().apps[&row().app].total.runs, 3);
    }

    #[test]
    fn p7_more_scripts_than_there_is_room_for_are_counted_together() {
        let tally = Tally::default();
        for script in 0..SCRIPTS_MAX + 5 {
            run(&tally, &format!("s{script}"), None, 1);
        }
        run(&tally, "s0", None, 1);
        let counted = tally.now();
        let scripts = &counted.apps[&row().app].scripts;
        assert_eq!((scripts.len(), counted.other_scripts.total.runs), (SCRIPTS_MAX, 5));
        assert_eq!(scripts["s0"].total.runs, 2);
    }

    #[test]
    fn every_kind_is_counted_in_its_own_place() {
        let tally = Tally::default();
        for (times, replied) in (1_u64..).zip(Replied::ALL) {
            (0..times).for_each(|_| tally.replied(AppId(1), replied, Duration::ZERO));
        }
        for (times, end) in (1_u64..).zip(End::ALL) {
            let execution = execution_of(&row(), end, Timestamp(7));
            let reason = (end == End::Abandoned).then_some(AbandonReason::DepthLimit);
            let ended =
                Ended { execution: &execution, started: Started::No, failure: None, reason };
            (0..times).for_each(|_| tally.ended(&ended, Duration::ZERO));
        }
        let counted = tally.now();
        assert!(counted.replies().zip(1..).all(|((_, count), times)| count == times));
        assert!(counted.ends().zip(1..).all(|((_, count), times)| count == times));
        let abandoned: Vec<(AbandonReason, u64)> =
            counted.abandoned().filter(|(_, count)| *count > 0).collect();
        assert_eq!(abandoned, [(AbandonReason::DepthLimit, 6)]);
        assert_eq!(counted.total.runs, 0, "none has started");
    }

    #[test]
    fn the_last_trouble_of_an_app_is_kept_and_cut() {
        let tally = Tally::default();
        let failure = Failure::new(FailureKind::Threw, "ä".repeat(500));
        run(&tally, "warn", Some(&failure), 1);
        run(&tally, "warn", None, 2);
        let trouble = tally.now().apps[&row().app].trouble.clone().expect("one failed");
        assert_eq!((&*trouble.script, trouble.message.chars().count()), ("warn", 200));
        assert_eq!(tally.now().total, Counts { requests: 0, runs: 2, failures: 1 });
    }
}
