//! What a waiting caller gets.

use std::sync::Arc;

use crate::failure::FailureKind;

/// The one answer to a sync request.
#[derive(Clone, Debug, PartialEq)]
pub enum InboxResult {
    /// The script's own result as JSON text; `http/` makes a response of it.
    Answered(Arc<str>),
    Failed(InboxFailure),
}

/// Why there is no answer of the script's. `kind` fixes the status.
#[derive(Clone, Debug, PartialEq)]
pub struct InboxFailure {
    pub kind: InboxFailureKind,
    /// For the log and, if the app exposes errors, for the caller.
    pub message: String,
    pub changed: Changed,
}

/// One row each of the status table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InboxFailureKind {
    /// 422: the script does not compile, or its value cannot be a response.
    NotAResponse,
    /// 502: the script threw or failed at run time.
    ScriptFailed,
    /// 503: gate or queue full, or not started before the deadline.
    Busy,
    /// 503: instance, app or trigger is paused.
    Paused,
    /// 503: the daemon is stopping.
    Stopping,
    /// 504: running at its deadline.
    TimedOut,
    /// 507: a budget was used up.
    BudgetSpent,
    /// 507: the disk is nearly full, and the run has something to write.
    StorageLow,
    /// 503: the disk is nearly full, and the request would have to be kept.
    DiskFull,
    /// 409: a request with this key is running.
    InFlight,
    /// 409: this key had an answer that was too large to keep.
    AnswerNotKept,
    /// 422: this key came with another body.
    KeyReused,
    /// 500.
    Internal,
}

/// Whether the request changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Nothing,
    /// Only when the commit itself was late.
    Unknown,
}

impl InboxFailureKind {
    pub const ALL: [InboxFailureKind; 13] = [
        Self::NotAResponse,
        Self::ScriptFailed,
        Self::Busy,
        Self::Paused,
        Self::Stopping,
        Self::TimedOut,
        Self::BudgetSpent,
        Self::StorageLow,
        Self::DiskFull,
        Self::InFlight,
        Self::AnswerNotKept,
        Self::KeyReused,
        Self::Internal,
    ];

    /// The line of the status table for a run that failed.
    pub fn of(kind: FailureKind) -> InboxFailureKind {
        match kind {
            FailureKind::DoesNotCompile | FailureKind::BadResult => Self::NotAResponse,
            FailureKind::Threw | FailureKind::NotAllowed => Self::ScriptFailed,
            FailureKind::BudgetSpent => Self::BudgetSpent,
            FailureKind::TimedOut => Self::TimedOut,
            FailureKind::ScriptGone
            | FailureKind::OwnerDied
            | FailureKind::Cancelled
            | FailureKind::Internal => Self::Internal,
        }
    }

    /// The status table of the HTTP edge: status and the problem's code.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Self::NotAResponse => (422, "not_a_response"),
            Self::ScriptFailed => (502, "script_failed"),
            Self::Busy => (503, "busy"),
            Self::Paused => (503, "paused"),
            Self::Stopping => (503, "stopping"),
            Self::TimedOut => (504, "timed_out"),
            Self::BudgetSpent => (507, "budget_spent"),
            Self::StorageLow => (507, "storage_low"),
            Self::DiskFull => (503, "storage_low"),
            Self::InFlight => (409, "in_flight"),
            Self::AnswerNotKept => (409, "answer_not_kept"),
            Self::KeyReused => (422, "idempotency_key_reused"),
            Self::Internal => (500, "internal"),
        }
    }
}
