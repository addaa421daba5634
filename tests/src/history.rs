//! What clients were told, what the store holds afterwards, and whether the two go together.
//!
//! Pure, so that the checker of the crash test is itself tested on histories that break a promise.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// What a request asked the app `ledger` for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A count, while the caller waits.
    Now,
    /// The same, after a 202.
    Later,
    /// A count and a task that counts again.
    HandedOn,
    /// Writes and then throws, while the caller waits.
    Failing,
    /// The same after a 202: two attempts and a dead letter.
    FailingLater,
}

impl Work {
    pub const ALL: [Work; 5] =
        [Self::Now, Self::Later, Self::HandedOn, Self::Failing, Self::FailingLater];

    pub fn path(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Later => "later",
            Self::HandedOn => "handed-on",
            Self::Failing => "failing",
            Self::FailingLater => "failing-later",
        }
    }

    /// The status by which the daemon says that it has done, or will do, what it was asked for.
    pub fn success(self) -> u16 {
        match self {
            Self::Now | Self::HandedOn => 200,
            Self::Later | Self::FailingLater => 202,
            Self::Failing => 502,
        }
    }

    /// Whether it counts, once it is done.
    fn counts(self) -> bool {
        match self {
            Self::Now | Self::Later | Self::HandedOn => true,
            Self::Failing | Self::FailingLater => false,
        }
    }

    /// Whether it changes the total.
    fn totals(self) -> bool {
        matches!(self, Self::Now | Self::Later)
    }
}

/// What the client was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Done,
    /// An error that says that nothing was changed.
    NothingChanged,
    /// An error that says that it does not know, or no answer at all.
    Unknown,
    /// An answer that the daemon should not give.
    Strange(String),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Operation {
    pub id: String,
    pub work: Work,
    /// Sent with an `Idempotency-Key`, so that it may be sent again.
    pub keyed: bool,
    pub answer: Answer,
}

/// What the store holds under the id of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Counts {
    pub applied: i64,
    /// By a KV trigger.
    pub mirrored: i64,
    /// By a document trigger.
    pub noted: i64,
    /// By a task.
    pub finished: i64,
    /// By runs that failed.
    pub failed: i64,
    /// Number of the attempt that succeeded.
    pub attempt: i64,
}

/// What was found after everything had been worked off.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub counts: BTreeMap<String, Counts>,
    /// Kept by reading and writing, not by a blind count.
    pub total: i64,
    /// Script and message of each dead letter.
    pub letters: Vec<(String, String)>,
}

/// Where the history and what was found contradict each other, each with the promise that it breaks.
pub fn contradictions(history: &[Operation], found: &Found) -> Vec<String> {
    let mut complaints = Vec::new();
    for operation in history {
        let counts = found.counts.get(&operation.id).copied().unwrap_or_default();
        let wrong = wrong_answer(operation).or_else(|| wrong_counts(operation, counts));
        let wrong = wrong.or_else(|| wrong_letters(operation, found));
        complaints.extend(wrong.map(|why| format!("{why}: {operation:?}, found {counts:?}")));
    }
    let totalled = history.iter().filter(|operation| operation.work.totals());
    let applied = totalled.filter_map(|operation| found.counts.get(&operation.id));
    let applied: i64 = applied.map(|counts| counts.applied).sum();
    if applied != found.total {
        complaints.push(format!(
            "P2: {applied} were applied, and the total that each of them raised is {}",
            found.total
        ));
    }
    complaints.extend(strange_letters(history, found));
    complaints
}

fn wrong_answer(operation: &Operation) -> Option<String> {
    match &operation.answer {
        Answer::Strange(answer) => Some(format!("P5: an answer that should not be: {answer}")),
        Answer::Done | Answer::NothingChanged | Answer::Unknown => None,
    }
}

fn wrong_counts(operation: &Operation, counts: Counts) -> Option<String> {
    let handed_on = if operation.work == Work::HandedOn { counts.applied } else { 0 };
    let rules = [
        (counts.failed != 0, "P2: a run that failed has written"),
        (counts.applied > 1, "P3: applied more than once"),
        (counts.applied > 0 && !operation.work.counts(), "P2: a run that failed has counted"),
        (counts.mirrored != counts.applied, "P1: the KV trigger did not run once for the write"),
        (counts.noted != counts.applied, "P1: the document trigger did not run once for the write"),
        (
            counts.finished != handed_on,
            "P1: the task did not run once for the run that enqueued it",
        ),
        (
            operation.answer == Answer::Done && operation.work.counts() && counts.applied == 0,
            "P1: acknowledged and lost",
        ),
        (
            operation.answer == Answer::NothingChanged && counts.applied != 0,
            "P5: the caller was told that nothing was changed",
        ),
    ];
    rules.into_iter().find_map(|(broken, why)| broken.then(|| why.to_owned()))
}

fn wrong_letters(operation: &Operation, found: &Found) -> Option<String> {
    let letters = found.letters.iter().filter(|(_, message)| names(message, &operation.id)).count();
    let expected = match (operation.work, &operation.answer) {
        (Work::FailingLater, Answer::Done) => 1..=1,
        (Work::FailingLater, Answer::Unknown) => 0..=1,
        _ => 0..=0,
    };
    let wrong = !expected.contains(&letters);
    wrong.then(|| format!("P4: {letters} dead letters, expected {expected:?}"))
}

/// Dead letters of work that should have succeeded in the end, or that nobody asked for.
fn strange_letters(history: &[Operation], found: &Found) -> Vec<String> {
    let ids: BTreeSet<&str> = history.iter().map(|operation| &*operation.id).collect();
    let strange = found
        .letters
        .iter()
        .filter(|(script, message)| script != "fail" || !ids.iter().any(|id| names(message, id)));
    strange.map(|(script, message)| format!("P4: dead letter of {script}: {message}")).collect()
}

/// Whether the message of the script `fail` is about this id.
fn names(message: &str, id: &str) -> bool {
    message.split_whitespace().any(|word| word == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Counts =
        Counts { applied: 1, mirrored: 1, noted: 1, finished: 0, failed: 0, attempt: 1 };

    fn operation(work: Work, answer: Answer) -> Operation {
        Operation { id: "a1".to_owned(), work, keyed: false, answer }
    }

    fn complaints(work: Work, answer: Answer, counts: Counts, letters: &[(&str, &str)]) -> String {
        let total = if work.totals() { counts.applied } else { 0 };
        let letters = letters.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let found = Found { counts: BTreeMap::from([("a1".to_owned(), counts)]), total, letters };
        contradictions(&[operation(work, answer)], &found).join("\n")
    }

    #[test]
    fn what_was_told_and_what_is_there_may_go_together() {
        let letter = [("fail", "refuses a1")];
        for (work, answer, counts, letters) in [
            (Work::Now, Answer::Done, FINE, &[][..]),
            (Work::Now, Answer::Unknown, FINE, &[]),
            (Work::Later, Answer::Unknown, Counts::default(), &[]),
            (Work::Later, Answer::NothingChanged, Counts::default(), &[]),
            (Work::HandedOn, Answer::Done, Counts { finished: 1, ..FINE }, &[]),
            (Work::Failing, Answer::Done, Counts::default(), &[]),
            (Work::FailingLater, Answer::Done, Counts::default(), &letter),
            (Work::FailingLater, Answer::Unknown, Counts::default(), &letter),
            (Work::FailingLater, Answer::Unknown, Counts::default(), &[]),
        ] {
            assert_eq!(
                complaints(work, answer.clone(), counts, letters),
                "",
                "{work:?} {answer:?}"
            );
        }
    }

    #[test]
    fn every_broken_promise_is_found() {
        let none = Counts::default();
        let strange = Answer::Strange("500".to_owned());
        for (expected, work, answer, counts) in [
            ("P1: acknowledged and lost", Work::Now, Answer::Done, none),
            ("P1: acknowledged and lost", Work::Later, Answer::Done, none),
            ("P3: applied more than once", Work::Now, Answer::Done, Counts { applied: 2, ..FINE }),
            ("P3: applied more", Work::Later, Answer::Unknown, Counts { applied: 2, ..FINE }),
            ("P1: the KV trigger", Work::Now, Answer::Done, Counts { mirrored: 0, ..FINE }),
            ("P1: the KV trigger", Work::Now, Answer::Unknown, Counts { mirrored: 2, ..FINE }),
            ("P1: the document trigger", Work::Now, Answer::Done, Counts { noted: 0, ..FINE }),
            ("P1: the task", Work::HandedOn, Answer::Done, FINE),
            ("P1: the task", Work::Now, Answer::Done, Counts { finished: 1, ..FINE }),
            (
                "P2: a run that failed has written",
                Work::Failing,
                Answer::Done,
                Counts { failed: 1, ..none },
            ),
            ("P2: a run that failed has counted", Work::Failing, Answer::Done, FINE),
            ("P5: the caller was told", Work::Now, Answer::NothingChanged, FINE),
            ("P5: an answer that should not be", Work::Now, strange, FINE),
            ("P4: 0 dead letters", Work::FailingLater, Answer::Done, none),
        ] {
            let found = complaints(work, answer, counts, &[]);
            assert!(found.starts_with(expected), "{expected}: {found}");
        }
    }

    #[test]
    fn dead_letters_that_should_not_be_are_found() {
        let twice = [("fail", "refuses a1"), ("fail", "refuses a1")];
        let found = complaints(Work::FailingLater, Answer::Done, Counts::default(), &twice);
        assert!(found.starts_with("P4: 2 dead letters"), "{found}");
        for letter in [("apply", "the daemon died"), ("fail", "refuses a11")] {
            let found = complaints(Work::Now, Answer::Done, FINE, &[letter]);
            assert!(found.starts_with("P4: dead letter of"), "{found}");
        }
    }

    #[test]
    fn a_total_that_is_not_the_sum_is_found() {
        let counts = BTreeMap::from([("a1".to_owned(), FINE)]);
        let found = Found { counts, total: 2, letters: Vec::new() };
        let complaints = contradictions(&[operation(Work::Now, Answer::Done)], &found);
        assert!(complaints[0].starts_with("P2: 1 were applied"), "{complaints:?}");
    }
}
