//! One attempt: from a run that has its permit to an outcome.

use std::sync::Arc;
use std::time::Duration;

use picloud_scripts_runtime::effect::{Effect, Read};
use picloud_scripts_runtime::exec::{ExecErrorKind, ExecReport};
use picloud_scripts_runtime::host::LogLine;

use crate::catalog::{Catalog, Script};
use crate::failure::{Failure, FailureKind};
use crate::inbox::InboxFailureKind;
use crate::outbox::decide::Outcome;

use super::Dispatcher;
use super::executor::Job;
use super::inbox::Caller;
use super::ready::{Run, Start};

/// What came of an attempt, before it is settled.
#[derive(Debug)]
pub struct Attempt {
    pub outcome: Verdict,
    pub effects: Vec<Effect>,
    /// How many there were once they are on their way to the store.
    pub effects_count: usize,
    pub reads: Vec<Read>,
    pub script_version: i64,
    pub took: Duration,
    pub log: Vec<LogLine>,
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

    fn of(outcome: Verdict) -> Attempt {
        Attempt {
            outcome,
            effects: Vec::new(),
            effects_count: 0,
            reads: Vec::new(),
            script_version: 0,
            took: Duration::ZERO,
            log: Vec::new(),
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
            Some(Caller::Gone) => return Attempt::of(Verdict::CallerGone),
            Some(Caller::Expired) => {
                return Attempt::ended(Outcome::NotStarted(InboxFailureKind::Busy));
            }
        }
        let catalog = self.parts.catalog.load_full();
        let Some(script) = catalog.script(row.app, &row.script) else {
            let message = format!("the app has no script \"{}\"", row.script);
            return fail(FailureKind::ScriptGone, &message);
        };
        self.execute_script(run, slot, script, &catalog)
    }

    fn execute_script(
        &self,
        run: &mut Run,
        slot: usize,
        script: &Arc<Script>,
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
            script,
            principal,
            now: start.now,
            deadline: start.deadline,
            cancelled: &self.cancelled,
        };
        // Without the note a crash would charge nobody; that is no reason not to run.
        let noted = self.parts.slots.occupy(slot, row.id);
        let executed = self.parts.executor.execute(&job);
        let freed = self.parts.slots.free(slot);
        if let Err(error) = noted.and(freed) {
            tracing::warn!(%error, "the file that notes what runs cannot be written");
        }
        Attempt {
            outcome: self.verdict(run, &executed.report),
            effects: executed.report.effects,
            effects_count: 0,
            reads: executed.report.reads,
            script_version: script.version,
            took: self.parts.clock.monotonic().saturating_sub(began),
            log: executed.log,
        }
    }

    fn verdict(&self, run: &Run, report: &ExecReport) -> Verdict {
        let error = match &report.result {
            Ok(result) => return Verdict::Ended(Outcome::Succeeded(Arc::clone(result))),
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
            | ExecErrorKind::Panicked => Verdict::Ended(Outcome::Failed(Failure::from_exec(error))),
        }
    }
}

fn fail(kind: FailureKind, message: &str) -> Attempt {
    Attempt::ended(Outcome::Failed(Failure::new(kind, message)))
}
