//! What becomes of a claimed outbox row once its outcome is known.
//!
//! Nothing here reads a clock, a database or a random source, so the whole retry contract of PiCloud is the one
//! `match` below and the table that tests it.

use std::sync::Arc;

use crate::failure::Failure;
use crate::inbox::{InboxFailure, InboxResult};
use crate::outbox::row::AbandonReason;
use crate::time::Timestamp;

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The script returned this (JSON text).
    Succeeded(Arc<str>),
    /// The run failed. What the failure says decides whether another attempt may cure it.
    Failed(Failure),
    /// A sync row's run failed in a way that the status table knows.
    Refused(InboxFailure),
    /// The gate held the row back, or the daemon is stopping. The script is not to blame.
    Deferred { until: Timestamp },
    /// The daemon died while this row, and no other, was running.
    OwnerDied,
    /// The row is deeper in its chain than rows may be; it was not run.
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
    /// Back to pending, nothing charged.
    Release {
        available_at: Timestamp,
    },
}
