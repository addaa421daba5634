//! What a batch writes: the final state of each row it touches, ready for one bulk statement a table.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::entry::{Entry, EntryKey};
use crate::failure::Failure;
use crate::flow::Kept;
use crate::flow::configure::Audit;
use crate::flow::facts::{LineKey, RequestKey, Usage};
use crate::ids::{AppId, Id, QueueId, TriggerId};
use crate::outbox::row::{AbandonReason, Lease, OutboxRow};
use crate::time::Timestamp;

/// Writes of one command, and, merged, of a batch.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    pub entries: HashMap<EntryKey, EntryWrite>,
    pub rows: HashMap<Id, RowWrite>,
    /// New dead letters.
    pub letters: Vec<DeadLetter>,
    /// Resolved dead letters that are open again, before any mark of this value.
    pub letters_reopened: HashSet<Id>,
    /// Ends of older dead letters.
    pub letter_marks: HashMap<Id, LetterWrite>,
    pub abandoned: Vec<Abandoned>,
    pub requests: HashMap<RequestKey, (Arc<str>, Option<Kept>)>,
    /// What people did.
    pub audits: Vec<Audit>,
    /// Queues that the daemon pauses because they are full of dead letters.
    pub pauses: HashMap<QueueId, String>,
    /// Schedules, and the due time that each has fired for last.
    pub fired: HashMap<TriggerId, Timestamp>,
    pub usage: HashMap<AppId, Usage>,
    /// Who joined and who left the lines of rows that run one at a time; follows from `rows`, nothing to store.
    pub lines: Vec<(LineKey, LineWrite)>,
    /// The counter after this command.
    pub next: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum EntryWrite {
    Put(Entry),
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LineWrite {
    /// And when the row may run, as stored.
    Joined(Id, Timestamp),
    Left(Id),
}

/// The end state of an outbox row.
#[derive(Clone, Debug)]
pub enum RowWrite {
    /// A new row, pending, or claimed by this daemon.
    Insert(Arc<OutboxRow>, Option<Lease>),
    /// An old row: pending again, or claimed. Exactly one row must have this id.
    Update(RowUpdate),
    /// Exactly one row must have this id.
    Delete,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RowUpdate {
    pub available_at: Timestamp,
    pub attempt: u32,
    pub orphaned: u32,
    pub lease: Option<Lease>,
    /// The last failure, shown with a retrying row.
    pub failure: Option<Failure>,
}

/// A row that could not be done. It stays until somebody replays or discards it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its own id, not the row's.
    pub id: Id,
    /// The row as it died.
    pub row: Arc<OutboxRow>,
    pub failure: Failure,
    /// Attempts charged, the last one included.
    pub attempts: u32,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// Version of the script that failed; 0 when there was none.
    pub script_version: i64,
}

/// How a dead letter was resolved. The texts are stored.
#[derive(Clone, Debug, PartialEq)]
pub enum LetterWrite {
    Replayed {
        by: Id,
        at: Timestamp,
    },
    Discarded {
        reason: String,
        at: Timestamp,
    },
    /// Stays open.
    HandlerFailed {
        failure: Failure,
    },
}

impl LetterWrite {
    /// Whether the letter is open no more.
    pub fn resolves(&self) -> bool {
        match self {
            Self::Replayed { .. } | Self::Discarded { .. } => true,
            Self::HandlerFailed { .. } => false,
        }
    }
}

/// A row that ended without success and without a dead letter.
#[derive(Clone, Debug)]
pub struct Abandoned {
    pub row: Arc<OutboxRow>,
    pub reason: AbandonReason,
    pub at: Timestamp,
}

impl Writes {
    /// Adds the writes of the next command. A row that is inserted and deleted in one batch leaves no trace.
    pub fn merge(&mut self, later: Writes) {
        self.entries.extend(later.entries);
        for (id, write) in later.rows {
            self.merge_row(id, write);
        }
        self.letters.extend(later.letters);
        for id in later.letters_reopened {
            // What an earlier command of the batch resolved was open in the store.
            let was_open = self.letter_marks.remove(&id).is_some_and(|mark| mark.resolves());
            if !was_open || self.letters_reopened.contains(&id) {
                self.letters_reopened.insert(id);
            }
        }
        for (id, mark) in later.letter_marks {
            // Another handler of a letter that is resolved may still fail.
            if self.letter_marks.get(&id).is_none_or(|known| !known.resolves()) {
                self.letter_marks.insert(id, mark);
            }
        }
        self.abandoned.extend(later.abandoned);
        self.requests.extend(later.requests);
        self.audits.extend(later.audits);
        self.pauses.extend(later.pauses);
        self.fired.extend(later.fired);
        for (app, change) in later.usage {
            self.usage.entry(app).or_default().add(&change);
        }
        self.lines.extend(later.lines);
        self.next = self.next.max(later.next);
    }

    /// Records what happens to a row, on top of what this value does to it already.
    pub fn merge_row(&mut self, id: Id, write: RowWrite) {
        let merged = match (self.rows.remove(&id), write) {
            (Some(RowWrite::Insert(..)), RowWrite::Delete) => return,
            (Some(RowWrite::Insert(row, _)), RowWrite::Update(update)) => {
                let mut row = OutboxRow::clone(&row);
                row.available_at = update.available_at;
                row.attempt = update.attempt;
                row.orphaned = update.orphaned;
                RowWrite::Insert(Arc::new(row), update.lease)
            }
            (_, write) => write,
        };
        self.rows.insert(id, merged);
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.rows.is_empty()
            && self.letters.is_empty()
            && self.letters_reopened.is_empty()
            && self.letter_marks.is_empty()
            && self.abandoned.is_empty()
            && self.requests.is_empty()
            && self.audits.is_empty()
            && self.pauses.is_empty()
            && self.fired.is_empty()
    }
}
