//! What an outcome leads to: a settle, an answer, another run.

use std::sync::Arc;

use picloud_scripts_runtime::effect::{Effect, Key, Read};

use crate::entry::EntryKey;
use crate::failure::{Failure, FailureKind};
use crate::flow::settle::{Settle, Stored};
use crate::flow::{Command, Kept, Refusal};
use crate::gate::Work;
use crate::inbox::{Changed, InboxFailure, InboxFailureKind, InboxResult};
use crate::outbox::decide::{Action, Outcome, decide};
use crate::outbox::row::{AbandonReason, Claim};

use super::Dispatcher;
use super::attempt::{Attempt, Verdict};
use super::history::{End, Execution, execution_of};
use super::inbox::Caller;
use super::ready::Run;

/// A settle on its way to the store, as far as the dispatcher has to know it afterwards.
struct Pending {
    run: Run,
    action: Action,
    attempt: Attempt,
    stored: Stored,
}

impl Dispatcher {
    pub(super) fn conclude(self: &Arc<Self>, run: Run, mut attempt: Attempt) {
        let outcome = match &attempt.outcome {
            Verdict::Ended(outcome) => outcome.clone(),
            Verdict::RunAlone => return self.enter([Run { alone: true, ..run }]),
            Verdict::CallerGone => {
                let action = Action::Abandon { reason: AbandonReason::CallerGone };
                return self.settle(run, action, attempt);
            }
        };
        if !matches!(outcome, Outcome::Succeeded(_)) {
            attempt.effects.clear();
        }
        if attempt.effects.is_empty() && attempt.reads.len() > 1 && !self.unchanged(&run, &attempt)
        {
            return self.again(run, &attempt);
        }
        let action = decide(&run.claim.row, outcome, self.parts.clock.now());
        match run.work() {
            Work::Sync => self.settle_sync(run, action, attempt),
            Work::Async => self.settle(run, action, attempt),
        }
    }

    /// Whether what a run read, that writes nothing, was one state of the store.
    fn unchanged(&self, run: &Run, attempt: &Attempt) -> bool {
        let (app, now) = (run.claim.row.app, self.parts.clock.now());
        let keys: Vec<EntryKey> =
            attempt.reads.iter().map(|read| EntryKey { app, key: read.key.clone() }).collect();
        let versions = self.parts.tokio.block_on(self.parts.reader.versions(&keys, now));
        // A store that does not answer cannot say that something has changed.
        versions.map_or(true, |versions| {
            attempt.reads.iter().map(|read| read.version).eq(versions.iter().copied())
        })
    }

    /// The answer leaves when what the run did is durable; a run that did nothing need not wait.
    fn settle_sync(self: &Arc<Self>, run: Run, action: Action, mut attempt: Attempt) {
        let keeps = run.claim.row.idempotency.is_some()
            && matches!(action, Action::Answer(InboxResult::Answered(_)));
        if attempt.effects.is_empty() && !keeps {
            return self.answer_at_once(run, action, attempt);
        }
        match run.waiter.as_ref().map_or(Caller::Gone, |waiter| waiter.commit()) {
            Caller::Waits => self.settle(run, action, attempt),
            Caller::Gone => {
                let action = Action::Abandon { reason: AbandonReason::CallerGone };
                self.settle(run, action, attempt);
            }
            Caller::Expired => {
                attempt.effects.clear();
                let failure =
                    Failure::new(FailureKind::TimedOut, "the script ran past its deadline");
                let outcome = Outcome::Failed(failure);
                let action = decide(&run.claim.row, outcome, self.parts.clock.now());
                self.answer_at_once(run, action, attempt);
            }
        }
    }

    /// Nothing of the run has to be written, but for its row, if that has been.
    fn answer_at_once(self: &Arc<Self>, run: Run, action: Action, attempt: Attempt) {
        let stored = self.writer().elide(run.id());
        let end = match &action {
            Action::Answer(result) if self.deliver(&run, result.clone()) => End::Answered,
            Action::Answer(_) => End::Abandoned,
            other => end_of(other),
        };
        match stored {
            Stored::Yes => self.submit(run, action, attempt, Stored::Yes),
            Stored::No => self.ended(&run, end, None, attempt),
        }
    }

    fn deliver(&self, run: &Run, result: InboxResult) -> bool {
        run.waiter.as_ref().is_some_and(|waiter| waiter.deliver(result))
    }

    fn settle(self: &Arc<Self>, run: Run, action: Action, attempt: Attempt) {
        let stored = match run.work() {
            Work::Sync => self.writer().elide(run.id()),
            Work::Async => Stored::Yes,
        };
        let is_nothing = attempt.effects.is_empty() && matches!(action, Action::Abandon { .. });
        if stored == Stored::No && is_nothing {
            return self.ended(&run, End::Abandoned, None, attempt);
        }
        self.submit(run, action, attempt, stored);
    }

    fn submit(self: &Arc<Self>, run: Run, action: Action, mut attempt: Attempt, stored: Stored) {
        let result = match &action {
            Action::Answer(InboxResult::Answered(result)) => Some(Arc::clone(result)),
            _ => None,
        };
        attempt.effects_count = attempt.effects.len();
        let writes = !attempt.effects.is_empty() || result.is_some();
        let settle = Settle {
            claim: run.claim.clone(),
            stored,
            action: action.clone(),
            reads: if writes { attempt.reads.clone() } else { Vec::new() },
            effects: std::mem::take(&mut attempt.effects),
            result,
            script_version: attempt.script_version,
            fresh: self.parts.ids.next(self.parts.clock.now()),
        };
        let mut run = run;
        run.keys = touched(&settle);
        let pending = Pending { run, action, attempt, stored };
        let dispatcher = Arc::clone(self);
        let done = Box::new(move |result| dispatcher.settled(pending, result));
        let taken = self.writer().submit(Command::Settle(settle), done);
        debug_assert!(taken.is_ok(), "settles are always taken");
    }

    /// The store has said what became of a settle. Called on the writer's thread.
    fn settled(self: &Arc<Self>, pending: Pending, result: Result<(), Refusal>) {
        let Pending { run, action, attempt, stored } = pending;
        match result {
            Ok(()) => self.committed(run, &action, attempt),
            Err(Refusal::Conflict) => self.again(run, &attempt),
            Err(Refusal::LeaseLost) => {
                tracing::warn!(execution = %run.id(), "the lease is gone, the result was dropped");
                self.deliver(
                    &run,
                    internal("another owner has taken the row over", Changed::Unknown),
                );
                self.ended(&run, End::LeaseLost, None, attempt);
            }
            Err(Refusal::StorageLow) => {
                self.not_written(run, attempt, InboxFailureKind::StorageLow)
            }
            Err(Refusal::StoreFailed(error)) => {
                tracing::error!(error, execution = %run.id(), "a settle could not be written");
                self.not_written(run, attempt, InboxFailureKind::StorageLow);
            }
            Err(Refusal::Answered(kept)) => self.lost_to_the_first(run, attempt, kept, stored),
            Err(refusal) => self.refused(run, attempt, &refusal),
        }
    }

    fn committed(self: &Arc<Self>, run: Run, action: &Action, attempt: Attempt) {
        let failure = match action {
            Action::Retry { failure, .. }
            | Action::DeadLetter { failure }
            | Action::FailHandler { failure } => Some(failure.clone()),
            Action::Answer(_)
            | Action::Complete
            | Action::Abandon { .. }
            | Action::Release { .. } => None,
        };
        let mut end = end_of(action);
        if let Action::Answer(result) = action
            && run.waiter.is_some()
            && !self.deliver(&run, result.clone())
            && attempt.took.as_nanos() > 0
        {
            end = End::Abandoned;
        }
        self.ended(&run, end, failure, attempt);
    }

    /// Somebody was faster: the script runs again from nothing, keeping the claim, until its deadline.
    fn again(self: &Arc<Self>, mut run: Run, attempt: &Attempt) {
        let deadline = run.start.map(|start| start.deadline);
        if deadline.is_some_and(|deadline| self.parts.clock.monotonic() >= deadline) {
            let message = "others kept changing what the script reads until its time was over";
            let failure = Failure::new(FailureKind::TimedOut, message);
            if let Some(waiter) = &run.waiter {
                waiter.take_back();
            }
            let ended = Attempt {
                script_version: attempt.script_version,
                took: attempt.took,
                ..Attempt::ended(Outcome::Failed(failure))
            };
            return self.conclude(run, ended);
        }
        if let Some(waiter) = &run.waiter {
            waiter.take_back();
        }
        run.conflicts += 1;
        if run.keys.is_empty() {
            let app = run.claim.row.app;
            let key = |read: &Read| EntryKey { app, key: read.key.clone() };
            run.keys = attempt.reads.iter().map(key).collect();
        }
        let id = run.id();
        self.enter([run]);
        let mut state = self.lock();
        state.ready.turn_over(id);
        self.call_thread(&mut state);
    }

    /// The effects could not be applied, by the script's own doing.
    fn refused(self: &Arc<Self>, run: Run, attempt: Attempt, refusal: &Refusal) {
        let kind = match refusal {
            Refusal::AppFull { .. } | Refusal::FanOut { .. } | Refusal::TooManyDelayed { .. } => {
                FailureKind::BudgetSpent
            }
            Refusal::NotApplicable { .. } | Refusal::NoSuchScript(_) | Refusal::Letter { .. } => {
                FailureKind::Threw
            }
            Refusal::Conflict
            | Refusal::LeaseLost
            | Refusal::Answered(_)
            | Refusal::KeyReused
            | Refusal::StorageLow
            | Refusal::StoreFailed(_) => FailureKind::Internal,
        };
        if let Some(waiter) = &run.waiter {
            waiter.take_back();
        }
        let failure = Failure::new(kind, refusal.to_string());
        let ended = Attempt {
            script_version: attempt.script_version,
            took: attempt.took,
            log: attempt.log,
            ..Attempt::ended(Outcome::Failed(failure))
        };
        self.conclude(run, ended);
    }

    /// The disk is full. A caller is told; other work stays here until the store writes again.
    fn not_written(self: &Arc<Self>, run: Run, attempt: Attempt, kind: InboxFailureKind) {
        if run.work() == Work::Sync {
            let message = "the disk is nearly full, nothing was changed".to_owned();
            let failure = InboxFailure { kind, message, changed: Changed::Nothing };
            self.deliver(&run, InboxResult::Failed(failure));
            self.ended(&run, End::Answered, None, attempt);
            return;
        }
        self.lock().stuck.push(run.claim);
    }

    /// Another request with the same key committed first: this one's effects are dropped, the first answer is given.
    fn lost_to_the_first(
        self: &Arc<Self>,
        run: Run,
        attempt: Attempt,
        kept: Option<Kept>,
        stored: Stored,
    ) {
        let result = match kept {
            Some(Kept::Result(result)) => InboxResult::Answered(result),
            Some(Kept::Accepted { .. }) | None => InboxResult::Failed(InboxFailure {
                kind: InboxFailureKind::AnswerNotKept,
                message: "the first answer was too large to keep".to_owned(),
                changed: Changed::Nothing,
            }),
        };
        self.deliver(&run, result);
        match stored {
            Stored::No => self.ended(&run, End::Answered, None, attempt),
            Stored::Yes => self.submit(run, Action::Complete, attempt, stored),
        }
    }

    /// Gives a claim back that was not started.
    pub(super) fn give_back(self: &Arc<Self>, run: Run) {
        let outcome = match run.work() {
            Work::Sync => Outcome::NotStarted(InboxFailureKind::Stopping),
            Work::Async => Outcome::Deferred { until: run.claim.row.available_at },
        };
        self.conclude(run, Attempt::ended(outcome));
    }

    /// Gives a claim back whose settle could not be written: uncharged, nothing of it happened.
    pub(super) fn release_stuck(self: &Arc<Self>, claim: Claim) {
        let run = Run::new(claim, self.parts.clock.monotonic());
        let until = self.parts.clock.now();
        self.conclude(run, Attempt::ended(Outcome::Deferred { until }));
    }

    /// The one place where the end of an attempt is recorded and told.
    fn ended(&self, run: &Run, end: End, failure: Option<Failure>, attempt: Attempt) {
        let row = &run.claim.row;
        let queued =
            run.start.map_or(run.handed_at, |start| start.at).saturating_sub(run.handed_at);
        let started_at = run.start.map_or_else(|| self.parts.clock.now(), |start| start.now);
        let execution = Execution {
            effects: attempt.effects_count,
            script_version: attempt.script_version,
            failure,
            queued_us: u64::try_from(queued.as_micros()).unwrap_or(u64::MAX),
            took_us: u64::try_from(attempt.took.as_micros()).unwrap_or(u64::MAX),
            log: attempt.log,
            ..execution_of(row, end, started_at)
        };
        tell(&execution);
        self.history.record(execution);
        self.let_go(&run.claim);
    }
}

/// One event for each settled claim, with everything on it. What succeeded is at `debug`: a line in the journal for
/// each request would wear the card more than the request itself.
fn tell(execution: &Execution) {
    let Execution { id, app, script, attempt, end, took_us, queued_us, .. } = execution;
    let error = execution.failure.as_ref().map(|failure| failure.message.as_str());
    let end = end.as_str();
    macro_rules! settled {
        ($level:ident) => {
            tracing::$level!(execution = %id, app = app.0, script = &**script, attempt, end, took_us, queued_us, error, "settled")
        };
    }
    match execution.end {
        End::Completed | End::Answered | End::Released => settled!(debug),
        End::Retried | End::Abandoned => settled!(info),
        End::DeadLettered | End::HandlerFailed | End::LeaseLost => settled!(warn),
    }
}

fn end_of(action: &Action) -> End {
    match action {
        Action::Complete => End::Completed,
        Action::Answer(_) => End::Answered,
        Action::Retry { .. } => End::Retried,
        Action::DeadLetter { .. } => End::DeadLettered,
        Action::FailHandler { .. } => End::HandlerFailed,
        Action::Abandon { .. } => End::Abandoned,
        Action::Release { .. } => End::Released,
    }
}

fn internal(message: &str, changed: Changed) -> InboxResult {
    let kind = InboxFailureKind::Internal;
    InboxResult::Failed(InboxFailure { kind, message: message.to_owned(), changed })
}

/// The entries for which this settle competes with others.
fn touched(settle: &Settle) -> Vec<EntryKey> {
    let app = settle.claim.row.app;
    let read = settle.reads.iter().map(|read| &read.key);
    let written = settle.effects.iter().filter_map(|effect| match effect {
        Effect::Put { key, .. } | Effect::Patch { key, .. } | Effect::Delete { key } => Some(key),
        Effect::Increment { .. }
        | Effect::Enqueue { .. }
        | Effect::ReplayDeadLetter { .. }
        | Effect::DiscardDeadLetter { .. } => None,
    });
    let own = |key: &Key| EntryKey { app, key: key.clone() };
    read.chain(written).map(own).collect()
}
