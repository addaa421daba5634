//! The writer's desk: what its thread does, round after round.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::faults::CrashPoint;
use crate::flow::{Command, Lane, Refusal};
use crate::log::{field, message};
use crate::store::batch::{BATCH_ROWS_MAX, BatchError, BatchReport, Batcher};
use crate::store::clock::Between;
use crate::store::open::{StoreError, free_bytes};
use crate::store::purge::Purged;
use crate::store::writer::{Done, Handover, Job, Lanes, Shared, Waiting, WriterError};
use crate::time::{Standing, Timestamp, step};

/// Rows that a command touches at least.
fn rows(command: &Command) -> usize {
    match command {
        Command::Accept(_) | Command::Fire(_) => 1,
        Command::Settle(settle) => 1 + settle.effects.len(),
        Command::Mutate(mutate) => mutate.effects.len(),
        // The row, its letter, and the next of its line.
        Command::Manage(_) => 3,
    }
}

/// A commit that took longer than this opens the window before the next batch.
const SLOW_COMMIT: Duration = Duration::from_millis(3);
/// The window closes when nothing has come for so long, and at the latest after half of what the last commit took.
const WINDOW_QUIET: Duration = Duration::from_millis(1);
/// How often the free space is looked at while batches come.
const FREE_SPACE_EVERY: Duration = Duration::from_secs(1);
/// How often a store that cannot be written is tried again.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// After so long without a commit the log is copied into the file and cut.
const QUIET: Duration = Duration::from_secs(5);
/// Commits between two looks at the length of the log.
const COMMITS_A_LOOK: u32 = 8;
/// How often the clock is looked at while nobody knows whether it is right, which is for two minutes at most.
const DOUBT_EVERY_MS: i64 = 1_000;
/// Rows of bulk work that one batch may have while callers wait, or have just done so: one for each 200 µs of the last commit,
/// but a few in any case. That commit had such rows itself, so a row's own time counts again and again: at 60 µs each, which
/// is much, commits take half as long again as without, at 100 µs for each they would take two and a half times as long.
fn bulk_rows_beside_callers(last_commit_took: Duration) -> usize {
    usize::try_from(last_commit_took.as_micros() / 200).unwrap_or(BATCH_ROWS_MAX).max(8)
}

/// How long after a caller's command others are expected.
const CALLERS_AGAIN: Duration = Duration::from_millis(100);
/// Bytes of commands in one batch, unless one command alone has more.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// What the thread works with.
pub(crate) struct Desk {
    batcher: Batcher,
    pub(crate) shared: Arc<Shared>,
    handover: Arc<dyn Handover>,
    last_commit_took: Duration,
    /// Commands of that commit.
    last_batch: usize,
    looked_at_space: Option<Duration>,
    commits_since_look: u32,
    /// When the log is to be cut, in monotonic time.
    cut_at: Option<Duration>,
    flush_at: Option<Duration>,
    /// When to try again a store that could not be written.
    probe_at: Option<Duration>,
    /// Both clocks as they were last, and what was thought of the first.
    looked_at_clock: Option<(Timestamp, Duration, Standing)>,
    /// When the next step of emptying deleted apps may be made.
    purge_at: Option<Duration>,
    /// Until when bulk work makes way for callers.
    callers_until: Duration,
}

impl Desk {
    pub(crate) fn new(batcher: Batcher, shared: Arc<Shared>, handover: Arc<dyn Handover>) -> Desk {
        // What the last daemon left in the log is cut like anything else.
        let cut_at = Some(shared.clock.monotonic() + QUIET);
        Desk {
            batcher,
            shared,
            handover,
            last_commit_took: Duration::ZERO,
            last_batch: 0,
            looked_at_space: None,
            commits_since_look: 0,
            cut_at,
            flush_at: None,
            probe_at: None,
            looked_at_clock: None,
            purge_at: None,
            callers_until: Duration::ZERO,
        }
    }

    pub(crate) async fn work(mut self) -> Result<(), WriterError> {
        // The first pass takes up what was left by the last daemon.
        let mut woken = true;
        loop {
            self.flush_behind();
            if self.last_commit_took > SLOW_COMMIT && self.waiting() > 0 {
                self.gather().await;
            }
            let (batch, jobs, stopping) = self.take(&mut woken);
            for job in jobs {
                job(&mut self.batcher, self.shared.clock.now()).await?;
                self.cut_at = Some(self.shared.clock.monotonic() + QUIET);
                woken = true;
            }
            if !batch.is_empty() || woken {
                woken = self.run(batch).await?;
                self.purge().await?;
                continue;
            }
            if stopping {
                return Ok(self.batcher.stop().await?);
            }
            if self.purge().await? {
                continue;
            }
            self.tend().await?;
            self.wait().await;
        }
    }

    /// Empties deleted apps a little, and then leaves the store to others for as long as that took. Whether anything was done.
    async fn purge(&mut self) -> Result<bool, WriterError> {
        let before = self.shared.clock.monotonic();
        if !self.batcher.has_to_purge() {
            self.purge_at = None;
            return Ok(false);
        }
        if self.purge_at.is_some_and(|at| before < at) {
            return Ok(false);
        }
        let purged = self.batcher.purge_step(self.shared.clock.now()).await?;
        let after = self.shared.clock.monotonic();
        self.purge_at = Some(match purged {
            Purged::NotNow => after + PROBE_EVERY,
            Purged::More | Purged::All => after + after.saturating_sub(before),
        });
        self.cut_at = Some(after + QUIET);
        self.commits_since_look += 1;
        self.look_at_log().await?;
        Ok(purged != Purged::NotNow)
    }

    fn waiting(&self) -> usize {
        let lanes = self.shared.lanes.lock().expect("no panic while held");
        lanes.settle.len() + lanes.accept.len() + lanes.bulk.len()
    }

    /// Waits for those whom the last commit answered and who ask again. Taken at once, the first of them would have the
    /// others wait for a commit of their own: two groups in turn, each waiting for the other's fsync.
    async fn gather(&self) {
        let until = self.shared.clock.monotonic() + self.last_commit_took / 2;
        while self.waiting() < self.last_batch {
            let left = until.saturating_sub(self.shared.clock.monotonic()).min(WINDOW_QUIET);
            if left.is_zero() {
                return;
            }
            let left = self.shared.clock.sleep_for(left);
            if tokio::time::timeout(left, self.shared.something.notified()).await.is_err() {
                return;
            }
        }
    }

    /// Puts sync rows in line whose runs last long.
    fn flush_behind(&mut self) {
        let monotonic = self.shared.clock.monotonic();
        let (flushed, again) = self.shared.behind.flush(monotonic);
        self.flush_at = again.map(|after| monotonic + after);
        if flushed.is_empty() {
            return;
        }
        let mut lanes = self.shared.lanes.lock().expect("no panic while held");
        for accept in flushed {
            let (shared, row, lease) =
                (Arc::clone(&self.shared), Arc::clone(&accept.row), accept.lease);
            let done: Done = Box::new(move |outcome| {
                if let (Err(_), Some(lease)) = (outcome, lease) {
                    shared.behind.put_back(row, lease);
                }
            });
            lanes.settle.push_back(Waiting { command: Command::Accept(accept), bytes: 0, done });
        }
    }

    /// Takes a batch in the order of the lanes, and all changes of configuration.
    fn take(&mut self, woken: &mut bool) -> (Vec<Waiting>, VecDeque<Job>, bool) {
        let monotonic = self.shared.clock.monotonic();
        let mut lanes = self.shared.lanes.lock().expect("no panic while held");
        let (mut batch, mut held, mut bytes) = (Vec::new(), 0, 0);
        let Lanes { settle, accept, bulk, .. } = &mut *lanes;
        if !settle.is_empty() || !accept.is_empty() {
            self.callers_until = monotonic + CALLERS_AGAIN;
        }
        let has_callers = monotonic < self.callers_until;
        let beside = bulk_rows_beside_callers(self.last_commit_took);
        for (lane, is_bulk) in [(settle, false), (accept, false), (bulk, true)] {
            let rows_max = match is_bulk && has_callers {
                true => (held + beside).min(BATCH_ROWS_MAX),
                false => BATCH_ROWS_MAX,
            };
            while let Some(next) = lane.front() {
                held += rows(&next.command);
                bytes += next.bytes;
                let fits = held <= rows_max && bytes <= BATCH_BYTES_MAX;
                if !fits && !batch.is_empty() {
                    break;
                }
                batch.extend(lane.pop_front());
            }
        }
        let queued = batch.iter().filter(|one| one.command.lane() != Lane::Settle);
        lanes.bytes -= queued.map(|one| one.bytes).sum::<usize>();
        *woken |= std::mem::take(&mut lanes.woken);
        (batch, std::mem::take(&mut lanes.jobs), lanes.stopping)
    }

    /// Commits a batch and tells everybody. Returns whether to look for due rows again at once.
    async fn run(&mut self, batch: Vec<Waiting>) -> Result<bool, WriterError> {
        let before = self.shared.clock.monotonic();
        self.look_at_space(before);
        let (mut commands, dones): (Vec<Command>, Vec<Done>) =
            batch.into_iter().map(|one| (one.command, one.done)).unzip();
        let asked = commands.len();
        let now = self.shared.clock.now();
        let standing = self.look_at_clock(now, before).await;
        if standing != Standing::Doubted {
            commands.extend(self.batcher.due_schedules(&self.shared.ids, now));
        }
        let room = self.handover.room();
        let report = self.batcher.run(&commands, now, room).await?;
        let after = self.shared.clock.monotonic();
        let BatchReport { outcomes, claims, next_due, left, more, committed, told } = report;
        let has_failed = |outcome: &Result<(), Refusal>| {
            matches!(outcome, Err(Refusal::StoreFailed(_) | Refusal::CommandFailed(_)))
        };
        let failed = outcomes.iter().any(has_failed);
        if !told.is_empty() {
            self.handover.told(told);
        }
        if !claims.is_empty() {
            self.handover.take(claims);
        }
        // Before ends are told: each of them makes room, and is worth a wake only if something waits for it.
        for (command, outcome) in commands.iter().zip(&outcomes).skip(asked) {
            if let Err(refusal) = outcome {
                warn!({ field::ERROR } = %refusal, "a schedule could not fire; it is tried again");
                self.batcher.schedule_refused(command, now);
            }
        }
        let schedule = self.batcher.next_schedule().map(|at| match standing {
            Standing::Doubted => now.plus_ms(DOUBT_EVERY_MS),
            Standing::Assumed | Standing::Believed => at,
        });
        self.handover.next_due(next_due.into_iter().chain(schedule).min(), left);
        for (outcome, done) in outcomes.into_iter().zip(dones) {
            done(outcome);
        }
        if committed {
            self.last_commit_took = after.saturating_sub(before);
            self.batcher.seen().commits.note(now, self.last_commit_took);
            self.last_batch = commands.len();
            self.cut_at = Some(after + QUIET);
            self.commits_since_look += 1 + u32::try_from(commands.len() / 256).unwrap_or(0);
            self.batcher
                .crash_at(CrashPoint::AfterAck)
                .map_err(|_| WriterError::Batch(BatchError::Crashed(CrashPoint::AfterAck)))?;
            self.look_at_log().await?;
        }
        match (failed, committed) {
            (true, _) => self.probe_at = Some(after + PROBE_EVERY),
            (false, true) if self.probe_at.take().is_some() => self.handover.writable(),
            (false, _) => {}
        }
        Ok(more)
    }

    /// Finds out whether the clock was set since the last look, and puts right what depends on it.
    async fn look_at_clock(&mut self, now: Timestamp, monotonic: Duration) -> Standing {
        let standing = self.shared.clock.standing();
        let before = self.looked_at_clock.replace((now, monotonic, standing));
        let done = match before {
            None | Some((.., Standing::Doubted)) if standing != Standing::Doubted => {
                self.batcher.clock_is_believed(now).await
            }
            _ => Ok(()),
        };
        let set = before.and_then(|(wall, steady, was)| {
            step((wall, steady), (now, monotonic)).map(|step| (step, was))
        });
        let done = match (done, set) {
            (Ok(()), Some((step, was))) => {
                warn!(
                    { field::MESSAGE_ID } = message::CLOCK_STEPPED.0,
                    { field::STEP_MS } = step.ms(),
                    "the clock was set"
                );
                let between = match was {
                    Standing::Believed => Between::NeverWas,
                    Standing::Assumed | Standing::Doubted => Between::Missed,
                };
                self.batcher.clock_was_set(step, between).await
            }
            (done, _) => done,
        };
        if let Err(error) = done {
            warn!({ field::ERROR } = %error, "what waits for a time could not be put right");
        }
        standing
    }

    fn look_at_space(&mut self, monotonic: Duration) {
        let due = self.looked_at_space.is_none_or(|at| monotonic >= at + FREE_SPACE_EVERY);
        if !due {
            return;
        }
        self.looked_at_space = Some(monotonic);
        if let Some(free) = free_bytes(self.batcher.path()) {
            self.batcher.note_free_bytes(free, self.shared.limits.free_bytes_min);
        }
    }

    /// Copies the log into the file when it has grown to its limit.
    async fn look_at_log(&mut self) -> Result<(), StoreError> {
        if self.commits_since_look < COMMITS_A_LOOK {
            return Ok(());
        }
        self.commits_since_look = 0;
        if self.batcher.log_bytes().await? >= self.batcher.config.wal_bytes_max {
            self.batcher.checkpoint().await?;
        }
        Ok(())
    }

    /// What is due without commands: cutting the log, trying a store that could not be written.
    async fn tend(&mut self) -> Result<(), StoreError> {
        let monotonic = self.shared.clock.monotonic();
        if self.cut_at.is_some_and(|at| monotonic >= at) {
            self.commits_since_look = 0;
            let is_cut = self.batcher.checkpoint_and_cut().await?;
            self.cut_at = (!is_cut).then(|| monotonic + QUIET);
            // It is quiet: what a load has left behind is of no use to anybody here.
            picloud_scripts_runtime::memory::give_back();
        }
        if self.probe_at.is_some_and(|at| monotonic >= at) {
            self.looked_at_space = None;
            self.look_at_space(monotonic);
            if self.batcher.probe().await? {
                self.probe_at = None;
                self.handover.writable();
            } else {
                self.probe_at = Some(monotonic + PROBE_EVERY);
            }
        }
        Ok(())
    }

    /// Sleeps until there is something to do. Without timers that is for ever.
    async fn wait(&self) {
        let timers = [self.cut_at, self.flush_at, self.probe_at, self.purge_at];
        let Some(next) = timers.into_iter().flatten().min() else {
            return self.shared.something.notified().await;
        };
        let left = next.saturating_sub(self.shared.clock.monotonic());
        tokio::select! {
            () = self.shared.something.notified() => {}
            () = tokio::time::sleep(self.shared.clock.sleep_for(left)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_work_beside_callers_is_a_share_of_the_commits_that_it_rides_on() {
        for (took_ms, rows) in [(0, 8), (1, 8), (3, 15), (20, 100), (200, 1_000)] {
            assert_eq!(bulk_rows_beside_callers(Duration::from_millis(took_ms)), rows);
        }
    }
}
