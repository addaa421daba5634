//! Why a run did not succeed: what is stored with retries and dead letters and shown to people.

use picloud_scripts_runtime::exec::{ExecError, ExecErrorKind};
use serde::{Deserialize, Serialize};

/// Stored as JSON with the row, so its names are part of the schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// One sentence, at most [`MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
    /// Place in the script, from 1; absent when the script is not to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
}

/// A script may throw a text of any length; this much of it is kept.
pub const MESSAGE_BYTES_MAX: usize = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The script does not compile.
    DoesNotCompile,
    /// The app has no script of that name any more.
    ScriptGone,
    /// The principal is gone, or may not do what the run does.
    NotAllowed,
    /// The script threw, or an operation in it failed.
    Threw,
    /// The result is no JSON or no response.
    BadResult,
    /// A limit of the run was reached.
    BudgetSpent,
    /// It was running at its deadline.
    TimedOut,
    /// The daemon died while this row, and no other, was running.
    OwnerDied,
    /// The daemon could not do its part.
    Internal,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX - '…'.len_utf8()));
            message.push('…');
        }
        Failure { kind, message, line: None, column: None, source_line: None }
    }

    pub fn owner_died() -> Failure {
        Failure::new(
            FailureKind::OwnerDied,
            "the daemon died while this script, and no other, was running",
        )
    }

    pub fn from_exec(error: &ExecError) -> Failure {
        let kind = match error.kind {
            ExecErrorKind::Compile => FailureKind::DoesNotCompile,
            ExecErrorKind::Thrown | ExecErrorKind::Panicked => FailureKind::Threw,
            ExecErrorKind::BadResult => FailureKind::BadResult,
            ExecErrorKind::Budget | ExecErrorKind::MemoryOfAll => FailureKind::BudgetSpent,
            ExecErrorKind::Timeout => FailureKind::TimedOut,
            ExecErrorKind::NotAllowed => FailureKind::NotAllowed,
            ExecErrorKind::Cancelled | ExecErrorKind::HostFailed | ExecErrorKind::Unknown => {
                FailureKind::Internal
            }
        };
        let mut failure = Failure::new(kind, error.message.clone());
        if let Some(position) = &error.position {
            failure.line = Some(position.line);
            failure.column = (position.column > 0).then_some(position.column);
            failure.source_line = Some(position.source_line.clone());
        }
        failure
    }

    /// Whether no further attempt can succeed.
    pub fn is_final(&self) -> bool {
        match self.kind {
            FailureKind::DoesNotCompile | FailureKind::ScriptGone | FailureKind::NotAllowed => true,
            FailureKind::Threw
            | FailureKind::BadResult
            | FailureKind::BudgetSpent
            | FailureKind::TimedOut
            | FailureKind::OwnerDied
            | FailureKind::Internal => false,
        }
    }
}
