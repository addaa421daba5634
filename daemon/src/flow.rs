//! Flows: what is atomic. One file is one command; its `needs` names the facts it depends on, its `plan` turns
//! facts into writes. Pure: only the store reads the facts and turns writes into SQL.
//!
//! The writer takes what is waiting as a batch, reads the facts of all of it, plans command by command in order
//! (each sees what those before it write), applies one bulk statement a table, and commits once.

pub mod accept;
pub mod claim;
pub mod configure;
pub mod facts;
pub mod fire;
pub mod layer;
pub mod manage;
pub mod mutate;
pub mod settle;
#[cfg(test)]
mod tests;
pub mod writes;

use crate::flow::facts::{Facts, Keys};
use crate::flow::writes::Writes;
use crate::ids::Id;

/// What the writer can be asked to do.
#[derive(Clone, Debug)]
pub enum Command {
    Accept(accept::Accept),
    Settle(settle::Settle),
    Mutate(mutate::Mutate),
    Fire(fire::Fire),
    Manage(manage::Manage),
}

/// Commands of a lower lane wait while there are commands of a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    Settle,
    Accept,
    Bulk,
}

impl Command {
    /// Names what has to be read before [`Command::plan`]. Of the facts, only what is standing is there yet.
    pub fn needs(&self, facts: &Facts, keys: &mut Keys) {
        match self {
            Self::Accept(accept) => accept::needs(accept, keys),
            Self::Settle(settle) => settle::needs(settle, facts, keys),
            Self::Mutate(mutate) => mutate::needs(mutate, facts, keys),
            // Nobody else knows the rows that it makes, and it reads nothing.
            Self::Fire(_) => {}
            Self::Manage(manage) => manage::needs(manage, keys),
        }
    }

    /// What the command writes, or why it writes nothing. `Facts::absorb` makes it visible to the next command.
    pub fn plan(&self, facts: &Facts) -> Result<Writes, Refusal> {
        match self {
            Self::Accept(accept) => accept::plan(accept, facts),
            Self::Settle(settle) => settle::plan(settle, facts),
            Self::Mutate(mutate) => mutate::plan(mutate, facts),
            Self::Fire(fire) => fire::plan(fire, facts),
            Self::Manage(manage) => manage::plan(manage, facts),
        }
    }

    pub fn lane(&self) -> Lane {
        match self {
            Self::Settle(_) => Lane::Settle,
            // A sync row is written behind its run; its settle must not overtake it.
            Self::Accept(accept) if accept.row.is_sync() => Lane::Settle,
            Self::Accept(_) | Self::Fire(_) => Lane::Accept,
            Self::Mutate(_) | Self::Manage(_) => Lane::Bulk,
        }
    }
}

/// Why a command wrote nothing. Other commands of its batch are not concerned, but for `StoreFailed`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("a value that the run read has changed since")]
    Conflict,
    #[error("the lease on the row is gone; its result was dropped")]
    LeaseLost,
    #[error("the app's outbox is full: {rows} rows and {bytes} bytes are waiting")]
    AppFull { rows: i64, bytes: i64 },
    #[error(
        "the run would add {rows} rows of {bytes} bytes to the outbox, at most {rows_max} of {bytes_max} bytes are allowed"
    )]
    FanOut { rows: usize, bytes: i64, rows_max: usize, bytes_max: i64 },
    #[error("{max} tasks of the app are delayed already, which is the most that may be")]
    TooManyDelayed { max: i64 },
    #[error("{collection}/{key} {reason}")]
    NotApplicable { collection: String, key: String, reason: String },
    #[error("app has no script \"{0}\"")]
    NoSuchScript(String),
    #[error("dead letter {id}: {reason}")]
    Letter { id: String, reason: String },
    /// The first request with this key has committed; this is its answer (JSON text), or `None` if it was too large to keep.
    #[error("a request with this idempotency key was answered before")]
    Answered(Option<Kept>),
    #[error("this idempotency key was used with another body")]
    KeyReused,
    /// Nothing of it is accepted any more, and what still runs leaves nothing.
    #[error("the app was deleted")]
    AppDeleted,
    /// What a person wished does not fit what is there.
    #[error(transparent)]
    Declined(#[from] manage::Declined),
    #[error("the disk is nearly full")]
    StorageLow,
    /// The store cannot be written now: anything else would have failed too.
    #[error("the store failed: {0}")]
    StoreFailed(String),
    /// This command alone cannot be written: a page that it needs cannot be read, or the tables do not take it.
    #[error("the store could not do this: {0}")]
    CommandFailed(String),
}

/// The answer of a request that is kept for whoever sends it again.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    /// A sync run's result as JSON text.
    Result(std::sync::Arc<str>),
    /// An async request's execution and when it was accepted.
    Accepted { execution: Id, at: crate::time::Timestamp },
}
