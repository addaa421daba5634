//! What an outcome leads to: a settle, an answer, another run.

use std::sync::Arc;

use picloud_scripts_runtime::effect::{Effect, Key, Read};

use crate::catalog::Catalog;
use crate::entry::EntryKey;
use crate::failure::{Failure, FailureKind};
use crate::flow::settle::{Settle, Stored};
use crate::flow::{Command, Kept, Refusal};
use crate::gate::Work;
use crate::ids::Id;
use crate::inbox::{Changed, InboxFailure, InboxFailureKind, InboxResult};
use crate::log::{field, message};
use crate::outbox::decide::{Action, Outcome, decide};
use crate::outbox::row::{AbandonReason, Claim};

use super::Dispatcher;
use super::attempt::{Attempt, Verdict};
use super::ends::Ends;
use super::history::{End, Execution, execution_of, wrote};
use super::inbox::Caller;
use super::ready::Run;

/// A settle on its way to the store, as far as the dispatcher has to know it afterwards.
struct Pending {
    run: Run,
    attempt: Attempt,
    stored: Stored,
    end: End,
    failure: Option<Failure>,
    /// Whom to tell what, once it is durable.
    answer: Option<InboxResult>,
}

impl Pending {
    /// Whether there is more to write than the end of the row.
    fn has_to_commit(&self) -> bool {
        self.attempt.effects_count > 0 || self.answer.is_some()
    }
}

impl Dispatcher {
    pub(super) fn conclude(self: &Arc<Self>, run: Run, mut attempt: Attempt) {
        let outcome = match &attempt.verdict {
            Verdict::Ended(outcome) => outcome.clone(),
            Verdict::RunAlone => return self.enter(run.set_apart()),
            Verdict::CallerGone => return self.caller_gone(run, attempt),
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
            Work::Async => self.submit(run, action, attempt, (Stored::Yes, None)),
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
    fn settle_sync(self: &Arc<Self>, mut run: Run, action: Action, mut attempt: Attempt) {
        let Action::Answer(answer) = action else {
            // Nothing but an answer can come of a sync row, unless it is too deep or given back.
            let stored = self.stored(&mut run);
            return self.submit(run, action, attempt, (stored, None));
        };
        let is_kept =
            run.claim.row.idempotency.is_some() && matches!(answer, InboxResult::Answered(_));
        if attempt.effects.is_empty() && !is_kept {
            return self.answer_at_once(run, answer, attempt);
        }
        let stored = self.stored(&mut run);
        match run.waiter.as_ref().map_or(Caller::Gone, |waiter| waiter.commit()) {
            Caller::Waits => {
                self.submit(run, Action::Complete, attempt, (stored, Some(answer)));
            }
            Caller::Gone => {
                // The work goes on; who sends the request again with its key gets this answer.
                let action = Action::Abandon { reason: AbandonReason::CallerGone };
                self.submit(run, action, attempt, (stored, Some(answer)));
            }
            Caller::Expired => {
                attempt.effects.clear();
                self.end_row(run, End::Answered, stored, attempt);
            }
        }
    }

    /// Nothing of the run has to be written, but for the end of its row, if that has been.
    fn answer_at_once(self: &Arc<Self>, mut run: Run, answer: InboxResult, attempt: Attempt) {
        let stored = self.stored(&mut run);
        let is_expired = run.waiter.as_ref().is_some_and(|waiter| waiter.is_expired());
        if self.deliver(&run, answer) || is_expired {
            self.end_row(run, End::Answered, stored, attempt);
        } else {
            self.end_row(run, End::Abandoned, stored, attempt);
        }
    }

    /// Nobody waits for this sync row, and it was not started.
    fn caller_gone(self: &Arc<Self>, mut run: Run, attempt: Attempt) {
        let stored = self.stored(&mut run);
        self.end_row(run, End::Abandoned, stored, attempt);
    }

    /// Ends a sync row that leaves nothing behind: in the store, if it has reached that.
    fn end_row(self: &Arc<Self>, run: Run, end: End, stored: Stored, attempt: Attempt) {
        let action = match end {
            End::Abandoned => Action::Abandon { reason: AbandonReason::CallerGone },
            _ => Action::Complete,
        };
        match stored {
            Stored::Yes => self.submit(run, action, attempt, (stored, None)),
            Stored::No => self.ended(&run, end, None, attempt),
        }
    }

    /// Whether the row is in the store, or on its way there. A sync row that is not will not be written any more, also
    /// when its settle is refused and the script runs again.
    fn stored(&self, run: &mut Run) -> Stored {
        let id = run.id();
        *run.stored.get_or_insert_with(|| self.writer().elide(id))
    }

    pub(super) fn deliver(&self, run: &Run, result: InboxResult) -> bool {
        run.waiter.as_ref().is_some_and(|waiter| waiter.deliver(result))
    }

    /// Sends the end of a run to the writer. `answer` is told once it is durable, and kept under the request's key.
    fn submit(
        self: &Arc<Self>,
        mut run: Run,
        action: Action,
        mut attempt: Attempt,
        (stored, answer): (Stored, Option<InboxResult>),
    ) {
        let result = match &answer {
            Some(InboxResult::Answered(result)) => Some(Arc::clone(result)),
            Some(InboxResult::Failed(_)) | None => None,
        };
        attempt.effects_count = attempt.effects.len();
        attempt.wrote = wrote(&attempt.effects, &attempt.mask);
        let commits = !attempt.effects.is_empty() || result.is_some();
        let (end, failure) = told(&action, answer.is_some());
        let settle = Settle {
            claim: run.claim.clone(),
            stored,
            action,
            reads: if commits { attempt.reads.clone() } else { Vec::new() },
            effects: std::mem::take(&mut attempt.effects),
            result,
            script_version: attempt.script_version,
            fresh: self.parts.ids.next(self.parts.clock.now()),
        };
        attempt.ends = Ends::of(&settle);
        run.keys = touched(&settle);
        let pending = Pending { run, attempt, stored, end, failure, answer };
        let dispatcher = Arc::clone(self);
        let done = Box::new(move |result| dispatcher.settled(pending, result));
        // A settle is refused only by a writer that has ended out of order. The process is about to end too, and nobody can
        // know what its last batch left in the file: whoever waits is told no more than by a settle that was in line.
        let _ = self.writer().submit(Command::Settle(settle), done);
    }

    /// The store has said what became of a settle. Called on the writer's thread.
    fn settled(self: &Arc<Self>, pending: Pending, result: Result<(), Refusal>) {
        match result {
            Ok(()) => self.committed(pending),
            Err(Refusal::Conflict) => self.again(pending.run, &pending.attempt),
            // Its insert was refused, after the settle had been put in line: it is not stored after all.
            Err(Refusal::LeaseLost)
                if pending.run.work() == Work::Sync
                    && self.writer().elide(pending.run.id()) == Stored::No =>
            {
                let run = Run { stored: Some(Stored::No), ..pending.run };
                self.again(run, &pending.attempt);
            }
            Err(Refusal::LeaseLost) => {
                let Pending { run, attempt, .. } = pending;
                tracing::warn!({ field::EXECUTION } = %run.id(), "the lease is gone, the result was dropped");
                let told = internal("another owner has taken the row over");
                self.deliver(&run, InboxResult::Failed(told));
                self.ended(&run, End::LeaseLost, None, attempt);
            }
            Err(Refusal::AppDeleted) => self.app_deleted(pending),
            Err(Refusal::StorageLow) => self.storage_low(pending),
            Err(Refusal::StoreFailed(error)) => {
                could_not_be_written(&pending, &error);
                self.not_written(pending, storage_is_low());
            }
            Err(refusal @ Refusal::CommandFailed(_)) => {
                could_not_be_written(&pending, &refusal.to_string());
                if pending.has_to_commit() {
                    // Another run would fail on the same again: it is an attempt like any other that came to nothing.
                    self.refused(pending.run, pending.attempt, &refusal);
                } else {
                    self.not_written(pending, internal(&refusal.to_string()));
                }
            }
            Err(Refusal::Answered(kept)) => self.lost_to_the_first(pending, kept),
            Err(refusal) => self.refused(pending.run, pending.attempt, &refusal),
        }
    }

    fn committed(self: &Arc<Self>, pending: Pending) {
        let Pending { run, attempt, end, failure, answer, .. } = pending;
        let delivered = match answer {
            Some(answer) if end != End::Abandoned => self.deliver(&run, answer),
            Some(_) | None => true,
        };
        if delivered {
            self.ended(&run, end, failure, attempt);
        } else {
            // It did its work and nobody took the answer: that is on record too.
            let action = Action::Abandon { reason: AbandonReason::CallerGone };
            self.submit(run, action, attempt, (Stored::No, None));
        }
    }

    /// Somebody was faster: the script runs again from nothing, keeping the claim, until its deadline.
    fn again(self: &Arc<Self>, mut run: Run, attempt: &Attempt) {
        if let Some(waiter) = &run.waiter {
            waiter.take_back();
        }
        let deadline = run.start.map(|start| start.deadline);
        if deadline.is_some_and(|deadline| self.parts.clock.monotonic() >= deadline) {
            let message = "others kept changing what the script reads until its time was over";
            let failure = Failure::new(FailureKind::TimedOut, message);
            let ended = Attempt {
                script_version: attempt.script_version,
                took: attempt.took,
                ..Attempt::ended(Outcome::Failed(failure))
            };
            return self.conclude(run, ended);
        }
        run.conflicts += 1;
        if run.keys.is_empty() {
            let app = run.claim.row.app;
            let key = |read: &Read| EntryKey { app, key: read.key.clone() };
            run.keys = attempt.reads.iter().map(key).collect();
        }
        self.enter(run);
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
            | Refusal::AppDeleted
            | Refusal::Answered(_)
            | Refusal::KeyReused
            | Refusal::Declined(_)
            | Refusal::StorageLow
            | Refusal::StoreFailed(_)
            | Refusal::CommandFailed(_) => FailureKind::Internal,
        };
        if let Some(waiter) = &run.waiter {
            waiter.take_back();
        }
        let failure = Failure::new(kind, attempt.mask.hide(&refusal.to_string()));
        let ended = Attempt {
            script_version: attempt.script_version,
            took: attempt.took,
            log: attempt.log,
            mask: attempt.mask,
            ..Attempt::ended(Outcome::Failed(failure))
        };
        self.conclude(run, ended);
    }

    /// What the run did is dropped, and its row ends on record.
    fn app_deleted(self: &Arc<Self>, pending: Pending) {
        let Pending { run, attempt, stored, .. } = pending;
        let told = internal("the app was deleted while the script ran");
        self.deliver(&run, InboxResult::Failed(told));
        let action = Action::Abandon { reason: AbandonReason::AppDeleted };
        self.submit(run, action, attempt, (stored, None));
    }

    /// The disk is nearly full, and a sync run has something to write: it does not come about, but its row still ends.
    fn storage_low(self: &Arc<Self>, pending: Pending) {
        let Pending { run, attempt, stored, .. } = pending;
        let told = storage_is_low();
        let attempt = attempt.refused(&told.message);
        self.deliver(&run, InboxResult::Failed(told));
        self.end_row(run, End::Answered, stored, attempt);
    }

    /// The end of a run cannot be written. A caller is told; other work stays here until the store writes again.
    fn not_written(self: &Arc<Self>, pending: Pending, told: InboxFailure) {
        let Pending { run, attempt, stored, .. } = pending;
        if run.work() == Work::Sync {
            let attempt = attempt.refused(&told.message);
            self.deliver(&run, InboxResult::Failed(told));
            // Where its insert was refused too, there is nothing to end.
            if stored == Stored::No || self.writer().elide(run.id()) == Stored::No {
                return self.ended(&run, End::Answered, None, attempt);
            }
        }
        self.lock().stuck.push(run.claim);
    }

    /// Another request with the same key committed first: this one's effects are dropped, the first answer is given.
    fn lost_to_the_first(self: &Arc<Self>, pending: Pending, kept: Option<Kept>) {
        let Pending { run, attempt, stored, .. } = pending;
        let result = match kept {
            Some(Kept::Result(result)) => InboxResult::Answered(result),
            Some(Kept::Accepted { .. }) | None => InboxResult::Failed(InboxFailure {
                kind: InboxFailureKind::AnswerNotKept,
                message: "the first answer was too large to keep".to_owned(),
                changed: Changed::Nothing,
            }),
        };
        self.deliver(&run, result);
        self.end_row(run, End::Answered, stored, Attempt { effects_count: 0, ..attempt });
    }

    /// Gives a claim back that was not started.
    pub(super) fn give_back(self: &Arc<Self>, run: Run) {
        let outcome = match run.work() {
            Work::Sync => Outcome::NotStarted(InboxFailureKind::Stopping),
            Work::Async => Outcome::Deferred { until: run.claim.row.available_at },
        };
        self.conclude(run, Attempt::ended(outcome));
    }

    /// Ends a claim whose settle could not be written. Nothing of it happened: an async row goes back uncharged; a sync
    /// row's caller was told, so its row only goes.
    pub(super) fn release_stuck(self: &Arc<Self>, claim: Claim) {
        let run = Run::new(claim, self.parts.clock.monotonic());
        let until = self.parts.clock.now();
        let attempt = Attempt::ended(Outcome::Deferred { until });
        match run.work() {
            Work::Sync => {
                let attempt = attempt.refused("the end of the run could not be written before");
                self.end_row(run, End::Answered, Stored::Yes, attempt);
            }
            Work::Async => self.conclude(run, attempt),
        }
    }

    /// The one place where the end of an attempt is recorded and told.
    fn ended(&self, run: &Run, end: End, failure: Option<Failure>, attempt: Attempt) {
        let row = &run.claim.row;
        let queued =
            run.start.map_or(run.handed_at, |start| start.at).saturating_sub(run.handed_at);
        let started_at = run.start.map_or_else(|| self.parts.clock.now(), |start| start.now);
        let execution = Arc::new(Execution {
            effects: attempt.effects_count,
            wrote: attempt.wrote,
            script_version: attempt.script_version,
            failure: failure.or(attempt.refused),
            queued_us: u64::try_from(queued.as_micros()).unwrap_or(u64::MAX),
            took_us: u64::try_from(attempt.took.as_micros()).unwrap_or(u64::MAX),
            log: attempt.log,
            ..execution_of(row, end, started_at)
        });
        tell(&execution, attempt.ends.letter, &self.parts.catalog.load());
        self.count_and_show(run, &execution, &attempt.verdict, attempt.ends);
        self.history.record(execution);
        self.let_go(&run.claim);
    }
}

/// One event for each settled claim, with everything on it. What succeeded is at `debug`: a line in the journal for
/// each request would wear the card more than the request itself.
fn tell(execution: &Execution, letter: Option<Id>, catalog: &Catalog) {
    let app = catalog.apps.get(&execution.app).map(|app| &*app.slug);
    let error = execution.failure.as_ref().map(|failure| failure.message.as_str());
    let letter = letter.filter(|_| execution.end == End::DeadLettered).map(tracing::field::display);
    let id = letter.as_ref().map(|_| message::DEAD_LETTER.0);
    macro_rules! settled {
        ($level:ident) => {
            tracing::$level!(
                { field::MESSAGE_ID } = id,
                { field::APP } = app,
                { field::SCRIPT } = &*execution.script,
                { field::EXECUTION } = %execution.id,
                { field::OUTBOX } = %execution.id,
                { field::LETTER } = letter,
                { field::TRIGGER } = execution.source.trigger(execution.origin),
                { field::SOURCE } = execution.source.as_str(),
                { field::ATTEMPT } = execution.attempt,
                { field::OUTCOME } = execution.end.as_str(),
                { field::EFFECTS } = execution.effects,
                { field::QUEUED_US } = execution.queued_us,
                { field::TOOK_US } = execution.took_us,
                { field::ERROR } = error,
                "settled"
            )
        };
    }
    match execution.end {
        End::Completed | End::Answered | End::Released => settled!(debug),
        End::Retried | End::Abandoned => settled!(info),
        End::DeadLettered | End::HandlerFailed | End::LeaseLost => settled!(warn),
    }
}

/// Told once for each run: the end of what is stuck is tried every second.
fn could_not_be_written(pending: &Pending, error: &str) {
    if pending.run.start.is_some() {
        let id = pending.run.id();
        tracing::error!({ field::ERROR } = error, { field::EXECUTION } = %id, "a settle could not be written");
    }
}

/// How a committed action is told.
fn told(action: &Action, answers: bool) -> (End, Option<Failure>) {
    match action {
        Action::Complete if answers => (End::Answered, None),
        Action::Complete => (End::Completed, None),
        Action::Answer(_) => (End::Answered, None),
        Action::Retry { failure, .. } => (End::Retried, Some(failure.clone())),
        Action::DeadLetter { failure } => (End::DeadLettered, Some(failure.clone())),
        Action::FailHandler { failure } => (End::HandlerFailed, Some(failure.clone())),
        Action::Abandon { .. } => (End::Abandoned, None),
        Action::Release { .. } => (End::Released, None),
    }
}

fn storage_is_low() -> InboxFailure {
    InboxFailure {
        kind: InboxFailureKind::StorageLow,
        message: "the disk is nearly full, nothing was changed".to_owned(),
        changed: Changed::Nothing,
    }
}

fn internal(message: &str) -> InboxFailure {
    InboxFailure {
        kind: InboxFailureKind::Internal,
        message: message.to_owned(),
        changed: Changed::Nothing,
    }
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

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use picloud_scripts_runtime::limits::RunLimits;
    use picloud_scripts_runtime::runtime::Runtime;
    use tempfile::TempDir;

    use super::*;
    use crate::config::SyncDurability;
    use crate::dispatcher::Parts;
    use crate::dispatcher::executor::{Programs, ScriptExecutor};
    use crate::dispatcher::inbox::Waiter;
    use crate::dispatcher::slots::Slots;
    use crate::gate::Permits;
    use crate::ids::Ids;
    use crate::limits::Limits;
    use crate::outbox::row::OutboxRow;
    use crate::outgoing::Outgoing;
    use crate::store::tests::{NOW, Scratch, accept, room, scratch_with_app, task};
    use crate::store::writer::{Ended, Writer};
    use crate::time::{Clock, SystemClock};
    use crate::vault::Vault;

    pub(crate) async fn start(
        durability: SyncDurability,
    ) -> (TempDir, Arc<Dispatcher>, Writer, Ended) {
        start_on(scratch_with_app().await, durability).await
    }

    async fn start_on(
        scratch: Scratch,
        durability: SyncDurability,
    ) -> (TempDir, Arc<Dispatcher>, Writer, Ended) {
        let reader = scratch.reader();
        let (folder, batcher) = scratch.into_parts();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let (limits, tokio) = (Limits::default(), tokio::runtime::Handle::current());
        let dispatcher = Dispatcher::new(Parts {
            owner: batcher.owner(),
            executor: ScriptExecutor {
                runtime: Arc::new(Runtime::new(&RunLimits::default(), 64 << 20)),
                reader: reader.clone(),
                vault: Arc::new(Vault::at(folder.path().join("secrets.key"))),
                outgoing: Arc::new(Outgoing::new(
                    limits.outgoing.clone(),
                    Vec::new(),
                    Arc::clone(&clock),
                )),
                clock: Arc::clone(&clock),
                groups: Arc::new(crate::groups::Groups::none()),
                programs: Programs::default(),
                tokio: tokio.clone(),
            },
            reader,
            catalog: batcher.catalog(),
            clock: Arc::clone(&clock),
            ids: Arc::new(Ids::random()),
            slots: Slots::create(&folder.path().join("running"), 4).expect("the folder is ours"),
            permits: Permits::of(&limits.gate, 1),
            awake_max: 1,
            sync_waiting_max: 1,
            admin_limits: Limits::default().admin,
            watched: batcher.watched(),
            limits: Arc::new(limits.outbox),
            durability,
            tokio,
        });
        let handover = Arc::new(Arc::clone(&dispatcher));
        let ids = Arc::new(Ids::random());
        let started = Writer::start(batcher, handover, clock, ids, limits.store);
        let (writer, ended) = started.expect("the writer starts");
        dispatcher.start(writer.clone()).expect("threads start");
        (folder, dispatcher, writer, ended)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn p5_a_run_that_was_refused_together_with_its_insert_is_not_repeated_later() {
        let (_folder, dispatcher, writer, ended) = start(SyncDurability::WithEffects).await;
        let row = Arc::new(OutboxRow { reply_by: Some(NOW), ..task(1) });
        // It was to be written behind its run, which a full disk did not let be, and is kept again.
        let lease = writer.behind(Arc::clone(&row));
        let (waiter, mut answer) = Waiter::new();
        let run = Run::new(Claim { row: Arc::clone(&row), lease }, Duration::ZERO);
        let mut attempt = Attempt::ended(Outcome::Succeeded("1".into()));
        attempt.effects_count = 1;
        let pending = Pending {
            run: Run { waiter: Some(waiter), stored: Some(Stored::Yes), ..run },
            attempt,
            stored: Stored::Yes,
            end: End::Answered,
            failure: None,
            answer: Some(InboxResult::Answered("1".into())),
        };
        dispatcher.settled(pending, Err(Refusal::StoreFailed("full".to_owned())));
        assert_eq!(answer.try_recv(), Ok(InboxResult::Failed(storage_is_low())));
        assert!(dispatcher.lock().stuck.is_empty());
        let execution = dispatcher.history.last_of(row.id).expect("it ended");
        assert_eq!((execution.end, execution.effects), (End::Answered, 0));
        assert_eq!(
            execution.failure.as_ref().map(|failure| failure.message.clone()),
            Some(storage_is_low().message)
        );
        dispatcher.stop(Duration::ZERO).await;
        writer.stop();
        ended.await.expect("tells").expect("ends in order");
    }

    /// An async row that has run, and one effect of it was on its way to the store.
    fn ran(claim: &Claim) -> Pending {
        let mut attempt = Attempt::ended(Outcome::Succeeded("1".into()));
        attempt.effects_count = 1;
        Pending {
            run: Run::new(claim.clone(), Duration::ZERO),
            attempt,
            stored: Stored::Yes,
            end: End::Completed,
            failure: None,
            answer: None,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn p4_a_run_whose_effects_the_store_can_never_write_spends_an_attempt() {
        let mut scratch = scratch_with_app().await;
        let claim = scratch.run(&[accept(task(1))], room(1)).await.claims.remove(0);
        let (_folder, dispatcher, writer, ended) =
            start_on(scratch, SyncDurability::WithEffects).await;
        let unreadable = Refusal::CommandFailed("a page cannot be read".to_owned());
        let mut nothing_but_its_end = ran(&claim);
        nothing_but_its_end.attempt.effects_count = 0;
        dispatcher.settled(nothing_but_its_end, Err(unreadable.clone()));
        assert_eq!(std::mem::take(&mut dispatcher.lock().stuck).len(), 1);
        dispatcher.settled(ran(&claim), Err(unreadable.clone()));
        assert!(dispatcher.lock().stuck.is_empty());
        // The writer takes settles in the order in which they came.
        dispatcher.stop(Duration::ZERO).await;
        writer.stop();
        ended.await.expect("tells").expect("ends in order");
        let execution = dispatcher.history.last_of(claim.row.id).expect("it ended");
        assert_eq!((execution.end, execution.effects), (End::Retried, 0));
        let stored = dispatcher.parts.reader.outbox_row(claim.row.id).await.expect("reads");
        let stored = stored.expect("it waits for its next attempt");
        assert_eq!((stored.row.attempt, stored.lease), (1, None));
        assert_eq!(
            stored.failure,
            Some(Failure::new(FailureKind::Internal, unreadable.to_string()))
        );
    }
}
