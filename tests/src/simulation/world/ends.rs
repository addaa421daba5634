//! What comes of a run: an answer, a settle, another run.

use std::sync::Arc;

use picloud_daemon::dispatcher::inbox::Caller;
use picloud_daemon::dispatcher::ready::Run;
use picloud_daemon::entry::EntryKey;
use picloud_daemon::failure::{Failure, FailureKind};
use picloud_daemon::flow::Command;
use picloud_daemon::flow::settle::{Settle, Stored};
use picloud_daemon::gate::Work;
use picloud_daemon::ids::Id;
use picloud_daemon::inbox::{Changed, InboxFailure, InboxResult};
use picloud_daemon::outbox::decide::{Action, Outcome, decide};
use picloud_daemon::outbox::row::{AbandonReason, OutboxRow};
use picloud_scripts_runtime::effect::{Effect, Read};

use crate::simulation::ledger::{self, Checked, End, Means, Noted, broken, ensure};

use super::{Done, Pending, World, end_of, id_app};

impl World {
    pub(super) async fn conclude(
        &mut self,
        run: Run,
        outcome: Outcome,
        mut effects: Vec<Effect>,
        reads: Vec<Read>,
    ) -> Checked {
        let row = Arc::clone(&run.claim.row);
        if effects.is_empty() && reads.len() > 1 && !self.is_unchanged(&row, &reads).await {
            self.again(run);
            return Ok(());
        }
        let action = decide(&row, outcome.clone(), self.time());
        let end = end_of(&row, &outcome, self.now);
        if !row.is_sync() {
            self.settle(run, (action, end), Done { effects, reads });
            return Ok(());
        }
        let keeps =
            row.idempotency.is_some() && matches!(action, Action::Answer(InboxResult::Answered(_)));
        if effects.is_empty() && !keeps {
            return self.answer_at_once(run, action, end);
        }
        let waits = match run.waiter.as_ref().map_or(Caller::Gone, |waiter| waiter.commit()) {
            Caller::Waits if self.now > row.reply_by.map_or(0, |at| at.0) => Caller::Expired,
            caller => caller,
        };
        match waits {
            Caller::Waits => self.settle(run, (action, end), Done { effects, reads }),
            Caller::Gone => {
                let action = Action::Abandon { reason: AbandonReason::CallerGone };
                self.settle(run, (action, End::Abandoned("caller_gone")), Done { effects, reads });
            }
            Caller::Expired => {
                effects.clear();
                let failure = Failure::new(FailureKind::TimedOut, "too late");
                let action = decide(&row, Outcome::Failed(failure), self.time());
                return self.answer_at_once(run, action, End::Gone);
            }
        }
        Ok(())
    }

    pub(super) async fn is_unchanged(&mut self, row: &OutboxRow, reads: &[Read]) -> bool {
        let keys: Vec<EntryKey> =
            reads.iter().map(|read| EntryKey { app: row.app, key: read.key.clone() }).collect();
        let versions = self.reader.versions(&keys, self.time()).await;
        let versions = versions.expect("the store can be read");
        reads.iter().map(|read| read.version).eq(versions)
    }

    pub(super) fn again(&mut self, mut run: Run) {
        if let Some(waiter) = &run.waiter {
            waiter.take_back();
        }
        if let Some(ask) = self.asks.get_mut(&run.id()) {
            ask.conflicts += 1;
        }
        run.conflicts += 1;
        let id = run.id();
        self.ready.push(run);
        self.ready.turn_over(id);
    }

    pub(super) fn answer_at_once(&mut self, run: Run, action: Action, end: End) -> Checked {
        let stored = self.behind.elide(run.id());
        if let Action::Answer(result) = &action {
            self.answer(run.id(), result.clone())?;
        }
        match stored {
            Stored::Yes => self.submit(run, (action, end), Done::default(), stored),
            Stored::No => self.ready.turn_over(run.id()),
        }
        Ok(())
    }

    pub(super) fn settle(&mut self, run: Run, ends: (Action, End), done: Done) {
        let stored = match run.work() {
            Work::Sync => self.behind.elide(run.id()),
            Work::Async => Stored::Yes,
        };
        let is_nothing = done.effects.is_empty() && matches!(ends.0, Action::Abandon { .. });
        if stored == Stored::No && is_nothing {
            self.ready.turn_over(run.id());
            return;
        }
        self.submit(run, ends, done, stored);
    }

    pub(super) fn submit(
        &mut self,
        run: Run,
        (action, end): (Action, End),
        done: Done,
        stored: Stored,
    ) {
        let Done { effects, reads } = done;
        let result = match &action {
            Action::Answer(InboxResult::Answered(result)) => Some(Arc::clone(result)),
            _ => None,
        };
        let writes = !effects.is_empty() || result.is_some();
        let settle = Settle {
            claim: run.claim.clone(),
            stored,
            action,
            reads: if writes { reads } else { Vec::new() },
            effects,
            result,
            script_version: 1,
            fresh: self.id(),
        };
        let noted = Noted { command: Command::Settle(settle), means: Means::End(end) };
        self.pending.push(Pending { noted, run: Some(run) });
    }

    /// An answer leaves. It must be the only one, and what it says must be true.
    pub(super) fn answer(&mut self, id: Id, result: InboxResult) -> Checked {
        let Some(ask) = self.asks.get_mut(&id) else {
            return Err(broken("P5", format!("an answer to {id}, which nobody asked")));
        };
        ensure!(ask.answers.is_empty(), "P5", "request {id} is answered twice");
        let app = id_app(&self.ledger, id);
        let mark = app
            .iter()
            .any(|app| self.ledger.entries.contains_key(&ledger::mark_of(*app, &id.to_string())));
        if let InboxResult::Failed(InboxFailure { changed: Changed::Nothing, .. }) = &result {
            ensure!(!mark, "P5", "request {id} was told that nothing changed");
        }
        ask.answers.push(result);
        Ok(())
    }
}
