//! One attempt: from a run that has its permit to an outcome.

use std::sync::Arc;
use std::time::Duration;

use picloud_scripts_runtime::effect::{Effect, Read};
use picloud_scripts_runtime::exec::{ExecErrorKind, ExecReport};
use picloud_scripts_runtime::host::LogLine;
use picloud_scripts_runtime::mask::Mask;

use crate::catalog::{App, Catalog, Script};
use crate::failure::{Failure, FailureKind};
use crate::gate::Work;
use crate::inbox::InboxFailureKind;
use crate::outbox::decide::Outcome;
use crate::route::answer;

use super::Dispatcher;
use super::ends::Ends;
use super::executor::{Job, Mode};
use super::history::Wrote;
use super::inbox::Caller;
use super::live::{Move, Moved};
use super::ready::{Run, Start};

/// What came of an attempt, before it is settled.
#[derive(Debug)]
pub struct Attempt {
    pub verdict: Verdict,
    pub effects: Vec<Effect>,
    /// How many there were once they are on their way to the store.
    pub effects_count: usize,
    /// Why nothing came of what the script did.
    pub refused: Option<Failure>,
    /// The first of them, for the history.
    pub wrote: Vec<Wrote>,
    pub reads: Vec<Read>,
    pub script_version: i64,
    pub took: Duration,
    pub log: Vec<LogLine>,
    /// What is told of the row's end beside the end itself.
    pub ends: Ends,
    /// The secrets that the run read: what else is told of it goes through it.
    pub mask: Mask,
}

/// An outcome, or a reason to do something else with the run first.
#[derive(Debug)]
pub enum Verdict {
    Ended(Outcome),
    /// Nobody waits for this sync row any more, and it was not started.
    CallerGone,
    /// All runs together held too much memory: try it while nothing else runs.
    RunAlone,
}

impl Attempt {
    pub fn ended(outcome: Outcome) -> Attempt {
        Attempt::of(Verdict::Ended(outcome))
    }

    /// The same attempt, whose effects did not come about.
    pub fn refused(self, why: &str) -> Attempt {
        let failure = Failure::new(FailureKind::Internal, why);
        Attempt { effects_count: 0, refused: Some(failure), ..self }
    }

    fn of(verdict: Verdict) -> Attempt {
        Attempt {
            verdict,
            effects: Vec::new(),
            effects_count: 0,
            refused: None,
            wrote: Vec::new(),
            reads: Vec::new(),
            script_version: 0,
            took: Duration::ZERO,
            log: Vec::new(),
            ends: Ends::default(),
            mask: Mask::default(),
        }
    }
}

impl Dispatcher {
    /// Runs the row on this thread, gives the permit back, and sees to what came of it.
    pub(super) fn run(self: &Arc<Self>, mut run: Run, slot: usize) {
        let attempt = self.attempt(&mut run, slot);
        self.returned(&run);
        self.conclude(run, attempt);
    }

    fn attempt(&self, run: &mut Run, slot: usize) -> Attempt {
        let row = &run.claim.row;
        if row.depth > self.parts.limits.trigger_depth_max {
            return Attempt::ended(Outcome::TooDeep);
        }
        match run.waiter.as_ref().map(|waiter| waiter.begin()) {
            None | Some(Caller::Waits) => {}
            // Only a re-run goes on without a caller: what has begun is brought to its end.
            Some(Caller::Gone) if run.start.is_some() => {}
            Some(Caller::Gone) => return Attempt::of(Verdict::CallerGone),
            Some(Caller::Expired) => {
                return Attempt::ended(Outcome::NotStarted(InboxFailureKind::Busy));
            }
        }
        let catalog = self.parts.catalog.load_full();
        if catalog.pause(row.app, row.queue).is_some() {
            return Attempt::ended(match run.work() {
                Work::Sync => Outcome::NotStarted(InboxFailureKind::Paused),
                Work::Async => Outcome::Deferred { until: row.available_at },
            });
        }
        let app = catalog.apps.get(&row.app);
        let Some((app, script)) = app.and_then(|app| Some((app, app.scripts.get(&row.script)?)))
        else {
            let message = format!("the app has no script \"{}\"", row.script);
            return fail(FailureKind::ScriptGone, &message);
        };
        self.execute_script(run, slot, (app, script), &catalog)
    }

    fn execute_script(
        &self,
        run: &mut Run,
        slot: usize,
        (app, script): (&Arc<App>, &Arc<Script>),
        catalog: &Catalog,
    ) -> Attempt {
        let row = Arc::clone(&run.claim.row);
        let Some(principal) = catalog.principals.get(&row.principal) else {
            let message = format!("principal {} is gone: deploy the app again", row.principal);
            return fail(FailureKind::NotAllowed, &message);
        };
        let began = self.parts.clock.monotonic();
        let start = *run.start.get_or_insert_with(|| Start {
            now: self.parts.clock.now(),
            at: began,
            deadline: match row.is_sync() {
                true => run.handed_at + Duration::from_millis(script.limits.timeout_ms),
                false => began + Duration::from_millis(script.limits.timeout_ms),
            },
        });
        let job = Job {
            row: &row,
            app,
            script,
            principal,
            now: start.now,
            deadline: start.deadline,
            cancelled: &self.cancelled,
            mode: Mode::ForReal,
        };
        if self.live.is_watched() {
            let moved = Moved { attempt: row.attempt + 1, ..Moved::of(&row, Move::Run) };
            self.live.moved(moved);
        }
        // Without the note a crash would charge nobody; that is no reason not to run.
        let noted = self.parts.slots.occupy(slot, row.id);
        self.deadlines.begin(slot, start.deadline);
        let executed = self.parts.executor.execute(&job);
        self.deadlines.end(slot);
        let freed = self.parts.slots.free(slot);
        if let Err(error) = noted.and(freed) {
            tracing::warn!(%error, "the file that notes what runs cannot be written");
        }
        Attempt {
            verdict: self.verdict(run, &executed.report),
            effects: executed.report.effects,
            effects_count: 0,
            refused: None,
            wrote: Vec::new(),
            reads: executed.report.reads,
            script_version: script.version,
            took: self.parts.clock.monotonic().saturating_sub(began),
            log: executed.log,
            ends: Ends::default(),
            mask: executed.report.mask,
        }
    }

    fn verdict(&self, run: &Run, report: &ExecReport) -> Verdict {
        let error = match &report.result {
            Ok(result) => return Verdict::Ended(succeeded(run, result)),
            Err(error) => error,
        };
        match error.kind {
            ExecErrorKind::MemoryOfAll if run.claim.row.is_sync() => {
                Verdict::Ended(Outcome::NotStarted(InboxFailureKind::Busy))
            }
            ExecErrorKind::MemoryOfAll if !run.alone => Verdict::RunAlone,
            ExecErrorKind::Cancelled if run.claim.row.is_sync() => {
                Verdict::Ended(Outcome::NotStarted(InboxFailureKind::Stopping))
            }
            ExecErrorKind::Cancelled => {
                Verdict::Ended(Outcome::Deferred { until: self.parts.clock.now() })
            }
            ExecErrorKind::MemoryOfAll
            | ExecErrorKind::Compile
            | ExecErrorKind::Thrown
            | ExecErrorKind::BadResult
            | ExecErrorKind::Budget
            | ExecErrorKind::Timeout
            | ExecErrorKind::NotAllowed
            | ExecErrorKind::HostFailed
            | ExecErrorKind::Panicked
            | ExecErrorKind::Unknown => Verdict::Ended(Outcome::Failed(Failure::from_exec(error))),
        }
    }
}

/// A result that a waiting caller cannot be given is a failure of the run, found before anything is committed.
fn succeeded(run: &Run, result: &Arc<str>) -> Outcome {
    match answer::read(result) {
        Err(error) if run.work() == Work::Sync => {
            Outcome::Failed(Failure::new(FailureKind::BadResult, error.to_string()))
        }
        Ok(_) | Err(_) => Outcome::Succeeded(Arc::clone(result)),
    }
}

fn fail(kind: FailureKind, message: &str) -> Attempt {
    Attempt::ended(Outcome::Failed(Failure::new(kind, message)))
}
