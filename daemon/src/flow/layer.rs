//! One command's view while it plans: the facts, and over them what the command itself writes.

use std::sync::Arc;

use crate::entry::{Entry, EntryKey};
use crate::faults::Bug;
use crate::flow::Refusal;
use crate::flow::facts::{Facts, LineKey, Usage};
use crate::flow::writes::{DeadLetter, EntryWrite, LineWrite, RowUpdate, RowWrite, Writes};
use crate::ids::Id;
use crate::outbox::row::{Lease, OutboxRow};
use crate::time::Timestamp;

/// Collects the writes of one command. Dropped when a check fails, so a refused command leaves nothing.
pub struct Layer<'a> {
    pub facts: &'a Facts,
    pub writes: Writes,
    /// Where the ids of new rows and letters are derived from.
    fresh: Id,
    derived: usize,
    rows_made: usize,
    bytes_made: i64,
}

impl<'a> Layer<'a> {
    pub fn over(facts: &'a Facts, fresh: Id) -> Layer<'a> {
        let writes = Writes { next: facts.next, ..Writes::default() };
        Layer { facts, writes, fresh, derived: 0, rows_made: 0, bytes_made: 0 }
    }

    /// The next number of the store's counter.
    pub fn next_number(&mut self) -> i64 {
        self.writes.next += 1;
        self.writes.next - 1
    }

    pub fn next_id(&mut self) -> Id {
        self.derived += 1;
        self.fresh.derived(self.derived)
    }

    pub fn entry(&self, key: &EntryKey) -> Option<&Entry> {
        match self.writes.entries.get(key) {
            Some(EntryWrite::Put(entry)) => Some(entry),
            Some(EntryWrite::Delete) => None,
            None => self.facts.entry(key),
        }
    }

    /// Adds a row that something within this command caused; the limits of one settle apply.
    pub fn insert_caused(&mut self, row: OutboxRow) -> Result<(), Refusal> {
        self.rows_made += 1;
        self.bytes_made += row.bytes();
        let limits = &self.facts.limits;
        if self.rows_made > limits.settle_rows_max || self.bytes_made > limits.settle_bytes_max {
            return Err(Refusal::FanOut {
                rows: self.rows_made,
                bytes: self.bytes_made,
                rows_max: limits.settle_rows_max,
                bytes_max: limits.settle_bytes_max,
            });
        }
        self.insert(row)
    }

    /// Adds a row, within what its app may have waiting.
    pub fn insert(&mut self, row: OutboxRow) -> Result<(), Refusal> {
        let used = self.facts.usage.get(&row.app).copied().unwrap_or_default();
        let mut added = self.writes.usage.get(&row.app).copied().unwrap_or_default();
        added.add(&weight(&row));
        let limits = &self.facts.limits;
        let (rows, bytes) = (used.rows + added.rows, used.bytes + added.bytes);
        if rows > limits.app_rows_max || bytes > limits.app_bytes_max {
            return Err(Refusal::AppFull { rows: used.rows, bytes: used.bytes });
        }
        if is_delayed(&row) && used.delayed + added.delayed > limits.app_delayed_max {
            return Err(Refusal::TooManyDelayed { max: limits.app_delayed_max });
        }
        self.insert_owed(row);
        Ok(())
    }

    /// Adds a row that no limit keeps out, since what it comes of has to end: to the end of its line if it has one.
    pub fn insert_owed(&mut self, mut row: OutboxRow) {
        self.writes.usage.entry(row.app).or_default().add(&weight(&row));
        if let Some(line) = line_of(&row) {
            if self.front(&line).is_some() && !self.facts.faults.has(Bug::OrderIgnored) {
                row.available_at = row.available_at.held();
            }
            self.writes.lines.push((line, LineWrite::Joined(row.id, row.available_at)));
        }
        self.writes.rows.insert(row.id, RowWrite::Insert(Arc::new(row), None));
    }

    /// Adds a row that runs already: no limit can stop it any more.
    pub fn insert_running(&mut self, row: &Arc<OutboxRow>, lease: Option<Lease>) {
        self.writes.usage.entry(row.app).or_default().add(&weight(row));
        self.writes.rows.insert(row.id, RowWrite::Insert(Arc::clone(row), lease));
    }

    /// Takes a row out for good. If it was the first of its line, the next one becomes due, unless it
    /// was put off for longer.
    pub fn delete(&mut self, row: &OutboxRow) {
        let gone = weight(row);
        let used = self.writes.usage.entry(row.app).or_default();
        used.add(&Usage { rows: -gone.rows, bytes: -gone.bytes, delayed: -gone.delayed });
        self.writes.rows.insert(row.id, RowWrite::Delete);
        let Some(line) = line_of(row) else { return };
        let was_first = self.front(&line).is_some_and(|(first, _)| first == row.id);
        self.writes.lines.push((line.clone(), LineWrite::Left(row.id)));
        if let Some((next, held_until)) = self.front(&line).filter(|_| was_first) {
            let update = RowUpdate {
                available_at: held_until.let_go().max(self.facts.now),
                attempt: 0,
                orphaned: 0,
                lease: None,
                failure: None,
            };
            self.writes.merge_row(next, RowWrite::Update(update));
        }
    }

    /// Keeps a dead letter. A queue that is full of them is paused.
    pub fn bury(&mut self, letter: DeadLetter) {
        let queue = letter.row.queue;
        let open = self.facts.letters_open.get(&queue).copied().unwrap_or(0) + 1;
        if open >= self.facts.limits.open_letters_max {
            let reason = format!("{open} dead letters are open: resolve them, then resume");
            self.writes.pauses.insert(queue, reason);
        }
        self.writes.letters.push(letter);
    }

    /// The row of a line that is to run next, as far as this command knows, and when it may.
    pub fn front(&self, line: &LineKey) -> Option<(Id, Timestamp)> {
        let mut ids = self.facts.lines.get(line).cloned().unwrap_or_default();
        for (key, write) in &self.writes.lines {
            match write {
                LineWrite::Joined(id, at) if key == line => ids.push_back((*id, *at)),
                LineWrite::Left(id) if key == line => ids.retain(|(known, _)| known != id),
                LineWrite::Joined(..) | LineWrite::Left(_) => {}
            }
        }
        ids.front().copied()
    }
}

/// The line that a row stands in.
pub fn line_of(row: &OutboxRow) -> Option<LineKey> {
    row.order.as_ref().map(|order| LineKey { queue: row.queue, key: Arc::clone(&order.key) })
}

fn weight(row: &OutboxRow) -> Usage {
    Usage { rows: 1, bytes: row.bytes(), delayed: i64::from(is_delayed(row)) }
}

/// Tasks that a script put off by a second or more: they begin a chain of their own, so their depth cannot bound
/// them, and they are counted instead.
fn is_delayed(row: &OutboxRow) -> bool {
    row.cause.is_some() && row.depth == 0
}
