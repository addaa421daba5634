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
    /// Somebody took it out of the outbox.
    Cancelled,
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
            ExecErrorKind::Cancelled | ExecErrorKind::HostFailed => FailureKind::Internal,
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
            | FailureKind::Cancelled
            | FailureKind::Internal => false,
        }
    }
}

/// A message without its numbers and ids, so that failures of one kind read the same: each is `#`.
pub fn folded(message: &str) -> String {
    let mut folded = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = after_uuid(rest) {
            folded.push('#');
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        if end == 0 {
            folded.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        fold_word(&rest[..end], &mut folded);
        rest = &rest[end..];
    }
    // Parts of a longer number, address or id are one.
    for joined in ["#-#", "#.#", "#:#"] {
        while folded.contains(joined) {
            folded = folded.replace(joined, "#");
        }
    }
    folded
}

/// What stands behind a UUID that a text begins with.
fn after_uuid(text: &str) -> Option<&str> {
    let (uuid, after) = text.split_at_checked(36)?;
    let fits = uuid.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    fits.then_some(after)
}

/// Letters of a word that has digits, from this many on, are part of an id.
const ID_CHARACTERS_MIN: usize = 8;

fn fold_word(word: &str, folded: &mut String) {
    let has_digits = word.contains(|c: char| c.is_ascii_digit());
    if has_digits && word.chars().count() >= ID_CHARACTERS_MIN {
        folded.push('#');
        return;
    }
    for c in word.chars() {
        if !c.is_ascii_digit() {
            folded.push(c);
        } else if !folded.ends_with('#') {
            folded.push('#');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_differ_in_numbers_and_ids_fold_to_one_text() {
        for (message, expected) in [
            ("connection refused", "connection refused"),
            ("ran past 10 s", "ran past # s"),
            ("sensor a3 is at 17.5", "sensor a# is at #"),
            ("no row 01J9ZKQ3M8ABCDEFGHJKMNPQRS", "no row #"),
            ("id 0b6f3c1e-1b2c-4d3e-8f90-a1b2c3d4e5f6 is gone", "id # is gone"),
            ("127.0.0.1:8080 is unreachable", "# is unreachable"),
            ("größer als 5 °C", "größer als # °C"),
            ("", ""),
        ] {
            assert_eq!(folded(message), expected);
        }
    }
}
