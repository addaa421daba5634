//! The ends of runs as they are counted, and shown to those who look on.

use std::sync::Arc;

use crate::flow::settle::Settle;
use crate::ids::Id;
use crate::outbox::decide::{Action, Outcome};
use crate::outbox::row::AbandonReason;
use crate::time::Timestamp;

use super::Dispatcher;
use super::attempt::Verdict;
use super::history::{End, Execution};
use super::live::{Move, Moved};
use super::ready::Run;
use super::tally::{Ended, Started};

/// What belongs to an end: when the row may run again, why it was given up, or where it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    pub again_at: Option<Timestamp>,
    pub reason: Option<AbandonReason>,
    /// The dead letter that was made of it.
    pub letter: Option<Id>,
}

impl Ends {
    pub fn of(settle: &Settle) -> Ends {
        let none = Ends::default();
        match &settle.action {
            Action::Retry { available_at, .. } | Action::Release { available_at, .. } => {
                Ends { again_at: Some(*available_at), ..none }
            }
            Action::Abandon { reason } => Ends { reason: Some(*reason), ..none },
            Action::DeadLetter { .. } => Ends { letter: Some(settle.first_made()), ..none },
            Action::Complete | Action::Answer(_) | Action::FailHandler { .. } => none,
        }
    }
}

impl Dispatcher {
    pub(super) fn count_and_show(
        &self,
        run: &Run,
        execution: &Arc<Execution>,
        verdict: &Verdict,
        ends: Ends,
    ) {
        // What was not committed has no action; a sync row without one was given up because nobody waited.
        let gone = || ends.reason.unwrap_or(AbandonReason::CallerGone);
        let ended = Ended {
            execution,
            started: if run.start.is_some() { Started::Yes } else { Started::No },
            failure: match verdict {
                Verdict::Ended(Outcome::Failed(failure)) => Some(failure),
                Verdict::Ended(_) | Verdict::CallerGone | Verdict::RunAlone => {
                    execution.failure.as_ref()
                }
            },
            reason: (execution.end == End::Abandoned).then(gone),
        };
        self.tally.ended(&ended, self.parts.clock.monotonic());
        if !self.live.is_watched() {
            return;
        }
        let now = self.parts.clock.now();
        let to = match execution.end {
            End::Completed | End::Answered | End::HandlerFailed => Move::Done,
            End::Retried => Move::Retry,
            End::DeadLettered => Move::Dead,
            End::Abandoned => Move::Abandoned(gone()),
            End::Released => Move::pending(ends.again_at.unwrap_or(now), 0, now),
            End::LeaseLost => Move::Lost,
        };
        let row = &run.claim.row;
        let ran = Some(Arc::clone(execution));
        let attempt = row.attempt + 1;
        let moved = Moved { attempt, available_at: ends.again_at, ran, ..Moved::of(row, to) };
        self.live.ended(moved, execution);
    }
}
