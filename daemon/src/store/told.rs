//! What a batch does to rows that no run of this daemon has ended: told to those who look on, once it is committed. And
//! in the log, of queues that it has paused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::catalog::Catalog;
use crate::flow::facts::Facts;
use crate::flow::writes::{RowWrite, Writes};
use crate::ids::Id;
use crate::log::{field, message};
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

/// Says in the log which queues are full of dead letters from now on. `before` is what was configured until then.
pub(crate) fn paused(writes: &Writes, before: &Catalog) {
    for (queue, why) in &writes.pauses {
        if before.pauses.contains_key(&queue.0) {
            continue;
        }
        let row = writes.letters.iter().map(|letter| &letter.row).find(|row| row.queue == *queue);
        let app = row.and_then(|row| before.apps.get(&row.app));
        tracing::error!(
            { field::MESSAGE_ID } = message::QUEUE_PAUSED.0,
            { field::APP } = app.map(|app| &*app.slug),
            { field::SCRIPT } = row.map(|row| &*row.script),
            { field::TRIGGER } = row.and_then(|row| row.source.trigger(row.origin)),
            { field::QUEUE } = %queue,
            { field::ERROR } = why.as_str(),
            "what waits there is paused: too many dead letters"
        );
    }
}
