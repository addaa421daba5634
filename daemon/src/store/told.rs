//! What a batch does to rows that no run of this daemon has ended: told to those who look on, once it is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::flow::facts::Facts;
use crate::flow::writes::{RowWrite, Writes};
use crate::ids::Id;
use crate::outbox::row::OutboxRow;
use crate::time::Timestamp;

/// A row that came into the outbox, or that people moved in it or took out.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub row: Arc<OutboxRow>,
    pub became: Became,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// May run from then on.
    Pending(Timestamp),
    /// Somebody took it out; it is a dead letter.
    DeadLetter,
    /// It was a replay, and somebody took it back.
    Nothing,
}

/// Whether anybody looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    Yes,
    No,
}

impl Watched {
    pub(crate) fn of(flag: &AtomicBool) -> Watched {
        if flag.load(Ordering::Relaxed) { Watched::Yes } else { Watched::No }
    }
}

/// What one command does, before the facts learn of it. In the order of the rows' ids. Of what happens to rows that have run their dispatcher tells.
pub(crate) fn of(writes: &Writes, facts: &Facts) -> Vec<Told> {
    let mut told: Vec<Told> =
        writes.rows.iter().filter_map(|(id, write)| one(*id, write, writes, facts)).collect();
    told.sort_unstable_by_key(|one| one.row.id);
    told
}

fn one(id: Id, write: &RowWrite, writes: &Writes, facts: &Facts) -> Option<Told> {
    let waiting = || facts.waiting.get(&id).map(|waiting| &waiting.row);
    let (row, became) = match write {
        // A sync row is written once its run lasts: it has begun long before.
        RowWrite::Insert(row, Some(_)) if row.is_sync() => return None,
        RowWrite::Insert(row, _) => (row, Became::Pending(row.available_at)),
        RowWrite::Update(update) if update.lease.is_none() => {
            (waiting()?, Became::Pending(update.available_at))
        }
        RowWrite::Update(_) => return None,
        RowWrite::Delete => {
            let row = waiting()?;
            let dies = writes.letters.iter().any(|letter| letter.row.id == id);
            (row, if dies { Became::DeadLetter } else { Became::Nothing })
        }
    };
    Some(Told { row: Arc::clone(row), became })
}
