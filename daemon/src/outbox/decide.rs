//! What becomes of a claimed outbox row once its outcome is known.
//!
//! Nothing here reads a clock, a database or a random source, so the whole retry contract of PiCloud is the one
//! `match` below and the table that tests it.

use std::sync::Arc;

use crate::failure::Failure;
use crate::ids::Id;
use crate::inbox::{Changed, InboxFailure, InboxFailureKind, InboxResult};
use crate::outbox::row::{AbandonReason, OutboxRow};
use crate::outbox::source::OutboxSourceKind;
use crate::time::Timestamp;

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The script returned this (JSON text).
    Succeeded(Arc<str>),
    /// The run failed; its failure says whether another attempt may cure it.
    Failed(Failure),
    /// The gate held the row back, or the daemon is stopping. The script is not to blame.
    Deferred { until: Timestamp },
    /// The caller of a sync row left before the run began, or its time ran out before that.
    NotStarted(InboxFailureKind),
    /// The daemon died while this row, and no other, was running.
    OwnerDied,
    /// The row is deeper in its chain of causes than rows may be; it was not run.
    TooDeep,
}

/// How a claim ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// An async row is done.
    Complete,
    /// A sync row is done: its caller gets this.
    Answer(InboxResult),
    Retry {
        available_at: Timestamp,
        failure: Failure,
    },
    DeadLetter {
        failure: Failure,
    },
    /// The handler of a dead letter is done; the letter is marked `handler_failed`.
    FailHandler {
        failure: Failure,
    },
    Abandon {
        reason: AbandonReason,
    },
    /// Back to pending, nothing charged. `orphaned` is what the row counts from then on.
    Release {
        available_at: Timestamp,
        orphaned: u32,
    },
}

/// Decides how a claim ends. Only a failure, or the death of the daemon by the row's doing, spends an attempt.
pub fn decide(row: &OutboxRow, outcome: Outcome, now: Timestamp) -> Action {
    match kind(row) {
        Kind::Sync => decide_sync(row, outcome),
        Kind::Handler => decide_handler(row, outcome, now),
        Kind::Async => decide_async(row, outcome, now),
    }
}

/// The three sorts of rows that the decision table tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sync,
    Handler,
    Async,
}

fn kind(row: &OutboxRow) -> Kind {
    if row.is_sync() {
        Kind::Sync
    } else if row.source == OutboxSourceKind::DeadLetter {
        Kind::Handler
    } else {
        Kind::Async
    }
}

fn decide_sync(row: &OutboxRow, outcome: Outcome) -> Action {
    match outcome {
        Outcome::TooDeep => Action::Abandon { reason: AbandonReason::DepthLimit },
        Outcome::Deferred { until } => release(row, until),
        Outcome::OwnerDied => Action::Abandon { reason: AbandonReason::OwnerDied },
        Outcome::Succeeded(result) => Action::Answer(InboxResult::Answered(result)),
        Outcome::Failed(failure) => Action::Answer(InboxResult::Failed(InboxFailure {
            kind: InboxFailureKind::of(failure.kind),
            message: failure.message,
            changed: Changed::Nothing,
        })),
        Outcome::NotStarted(kind) => Action::Answer(InboxResult::Failed(InboxFailure {
            kind,
            message: "the script was not started".to_owned(),
            changed: Changed::Nothing,
        })),
    }
}

fn decide_handler(row: &OutboxRow, outcome: Outcome, now: Timestamp) -> Action {
    match outcome {
        Outcome::TooDeep => Action::Abandon { reason: AbandonReason::DepthLimit },
        Outcome::Deferred { until } => release(row, until),
        Outcome::NotStarted(_) => release(row, now),
        Outcome::Succeeded(_) => Action::Complete,
        Outcome::Failed(failure) => Action::FailHandler { failure },
        Outcome::OwnerDied => Action::FailHandler { failure: Failure::owner_died() },
    }
}

fn release(row: &OutboxRow, available_at: Timestamp) -> Action {
    Action::Release { available_at, orphaned: row.orphaned }
}

fn decide_async(row: &OutboxRow, outcome: Outcome, now: Timestamp) -> Action {
    let failure = match outcome {
        Outcome::TooDeep => return Action::Abandon { reason: AbandonReason::DepthLimit },
        Outcome::Deferred { until } => return release(row, until),
        Outcome::NotStarted(_) => return release(row, now),
        Outcome::Succeeded(_) => return Action::Complete,
        Outcome::Failed(failure) => failure,
        Outcome::OwnerDied => Failure::owner_died(),
    };
    let attempt = row.attempt + 1;
    if failure.is_final() || attempt >= row.retry.max_attempts {
        return Action::DeadLetter { failure };
    }
    Action::Retry { available_at: now.plus_ms(row.retry.delay_ms(attempt, row.id)), failure }
}

/// From this many unexplained deaths of its owner on, a row is run while nothing else runs.
pub const SUSPECT_AFTER: u32 = 4;

/// Decides what becomes of a row that was found in the hands of an owner that died.
///
/// `running` are the rows that were running at that moment, as far as there is evidence. Who ran alone is to blame. If
/// several ran, nobody is charged, and each of them runs alone the next time. Without evidence (not started, power cut,
/// rebooted) a row goes free, until that has happened so often that it has to run alone too; a row that has run alone and
/// is found again is charged, unless another one is known to have been running.
pub fn decide_orphan(row: &OutboxRow, running: &[Id], now: Timestamp) -> Action {
    let was_running = running.contains(&row.id);
    let is_to_blame = match running {
        [] => row.orphaned >= SUSPECT_AFTER,
        [alone] => *alone == row.id,
        [_, _, ..] => false,
    };
    if row.is_sync() || is_to_blame {
        return decide(row, Outcome::OwnerDied, now);
    }
    let orphaned = if was_running { SUSPECT_AFTER } else { SUSPECT_AFTER.min(row.orphaned + 1) };
    Action::Release { available_at: now, orphaned }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;
    use crate::outbox::row::tests::row;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn threw() -> Failure {
        Failure::new(FailureKind::Threw, "no")
    }

    fn gone() -> Failure {
        Failure::new(FailureKind::ScriptGone, "no script \"x\"")
    }

    fn sync() -> OutboxRow {
        OutboxRow { reply_by: Some(NOW.plus_ms(10_000)), ..row() }
    }

    fn handler() -> OutboxRow {
        OutboxRow { source: OutboxSourceKind::DeadLetter, ..row() }
    }

    fn tried(attempt: u32) -> OutboxRow {
        let mut row = OutboxRow { attempt, ..row() };
        row.retry.jitter = 0.0;
        row
    }

    fn failed(kind: InboxFailureKind, message: &str) -> Action {
        Action::Answer(InboxResult::Failed(InboxFailure {
            kind,
            message: message.to_owned(),
            changed: Changed::Nothing,
        }))
    }

    #[test]
    fn every_row_of_the_decision_table_is_as_written() {
        let done = || Outcome::Succeeded("1".into());
        let depth = || Action::Abandon { reason: AbandonReason::DepthLimit };
        let died = || Action::Abandon { reason: AbandonReason::OwnerDied };
        let later = NOW.plus_ms(5);
        let deferred = || Outcome::Deferred { until: later };
        let released = || Action::Release { available_at: later, orphaned: 0 };
        let not_started = || Outcome::NotStarted(InboxFailureKind::Busy);
        let retry_in = |ms, failure| Action::Retry { available_at: NOW.plus_ms(ms), failure };
        let table = [
            (sync(), Outcome::TooDeep, depth()),
            (handler(), Outcome::TooDeep, depth()),
            (tried(0), Outcome::TooDeep, depth()),
            (sync(), deferred(), released()),
            (handler(), deferred(), released()),
            (tried(0), deferred(), released()),
            (sync(), Outcome::OwnerDied, died()),
            (sync(), done(), Action::Answer(InboxResult::Answered("1".into()))),
            (sync(), Outcome::Failed(threw()), failed(InboxFailureKind::ScriptFailed, "no")),
            (sync(), not_started(), failed(InboxFailureKind::Busy, "the script was not started")),
            (handler(), done(), Action::Complete),
            (handler(), Outcome::Failed(threw()), Action::FailHandler { failure: threw() }),
            (handler(), Outcome::Failed(gone()), Action::FailHandler { failure: gone() }),
            (handler(), Outcome::OwnerDied, Action::FailHandler { failure: Failure::owner_died() }),
            (handler(), not_started(), Action::Release { available_at: NOW, orphaned: 0 }),
            (tried(0), done(), Action::Complete),
            (tried(0), not_started(), Action::Release { available_at: NOW, orphaned: 0 }),
            (tried(0), Outcome::Failed(gone()), Action::DeadLetter { failure: gone() }),
            (tried(0), Outcome::Failed(threw()), retry_in(1_000, threw())),
            (tried(3), Outcome::Failed(threw()), retry_in(8_000, threw())),
            (tried(0), Outcome::OwnerDied, retry_in(1_000, Failure::owner_died())),
            (tried(4), Outcome::Failed(threw()), Action::DeadLetter { failure: threw() }),
            (tried(4), Outcome::OwnerDied, Action::DeadLetter { failure: Failure::owner_died() }),
            (tried(5), Outcome::Failed(threw()), Action::DeadLetter { failure: threw() }),
        ];
        for (row, outcome, expected) in table {
            let title = format!("{:?} attempt {} {outcome:?}", kind(&row), row.attempt);
            assert_eq!(decide(&row, outcome, NOW), expected, "{title}");
        }
    }

    #[test]
    fn p5_each_failure_of_a_sync_run_has_its_line_in_the_status_table() {
        for (kind, status) in [
            (FailureKind::DoesNotCompile, 422),
            (FailureKind::BadResult, 422),
            (FailureKind::Threw, 502),
            (FailureKind::NotAllowed, 502),
            (FailureKind::TimedOut, 504),
            (FailureKind::BudgetSpent, 507),
            (FailureKind::ScriptGone, 500),
            (FailureKind::Internal, 500),
            (FailureKind::OwnerDied, 500),
        ] {
            assert_eq!(InboxFailureKind::of(kind).status().0, status, "{kind:?}");
        }
    }

    #[test]
    fn p6_who_ran_alone_when_the_daemon_died_is_charged() {
        let row = tried(0);
        let retry =
            Action::Retry { available_at: NOW.plus_ms(1_000), failure: Failure::owner_died() };
        assert_eq!(decide_orphan(&row, &[row.id], NOW), retry);
    }

    #[test]
    fn p6_nobody_is_charged_when_several_ran_and_each_runs_alone_next() {
        let row = tried(0);
        let freed = Action::Release { available_at: NOW, orphaned: SUSPECT_AFTER };
        assert_eq!(decide_orphan(&row, &[row.id, Id(5)], NOW), freed);
    }

    #[test]
    fn p6_a_power_cut_costs_no_attempt_until_it_looks_like_the_rows_doing() {
        let mut row = tried(0);
        for orphaned in 1..=SUSPECT_AFTER {
            let freed = Action::Release { available_at: NOW, orphaned };
            assert_eq!(decide_orphan(&row, &[], NOW), freed);
            row.orphaned = orphaned;
        }
        let retry =
            Action::Retry { available_at: NOW.plus_ms(1_000), failure: Failure::owner_died() };
        assert_eq!(decide_orphan(&row, &[], NOW), retry);
    }

    #[test]
    fn p6_a_suspect_that_waited_for_its_turn_is_not_charged_for_who_ran() {
        let suspect = OutboxRow { orphaned: SUSPECT_AFTER, ..tried(0) };
        let freed = Action::Release { available_at: NOW, orphaned: SUSPECT_AFTER };
        assert_eq!(decide_orphan(&suspect, &[Id(5)], NOW), freed);
    }

    #[test]
    fn a_sync_row_whose_owner_died_is_abandoned() {
        let died = Action::Abandon { reason: AbandonReason::OwnerDied };
        assert_eq!(decide_orphan(&sync(), &[], NOW), died);
    }
}
