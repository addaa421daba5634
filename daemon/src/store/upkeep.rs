//! What the writer does to the file besides batches: the log, the end, and what tests do to it.

use std::sync::atomic::Ordering;

use crate::store::batch::Batcher;
use crate::store::engine;
use crate::store::engine::trouble::{self, Stage, Trouble};
use crate::store::open::{self, StoreError, named};
use crate::store::{rows, sql};

/// Bytes of a page, SQLite's default.
const PAGE_BYTES: u64 = 4_096;

/// Copies nothing, only counts.
const LOG_LENGTH: &str = "-- log_length
    PRAGMA wal_checkpoint(NOOP)";
const CHECKPOINT: &str = "-- checkpoint
    PRAGMA wal_checkpoint(PASSIVE)";
const CHECKPOINT_AND_CUT: &str = "-- checkpoint_and_cut
    PRAGMA wal_checkpoint(TRUNCATE)";

impl Batcher {
    /// Ends in order: everything is in the database file afterwards, and the next start knows, unless the file has still to
    /// be looked through.
    pub async fn stop(mut self) -> Result<(), StoreError> {
        let path = self.config.path.clone();
        let fail = |source| named(&path, "stopping", source);
        if self.whole.load(Ordering::Relaxed) {
            engine::query(sql::META_STOP).execute(&mut self.conn).await.map_err(fail)?;
        }
        engine::query(CHECKPOINT_AND_CUT).fetch_one(&mut self.conn).await.map_err(fail)?;
        self.conn.close().await.map_err(fail)
    }

    /// Ends as a process that is killed does, as far as that can be had in one that goes on.
    #[cfg(feature = "faults")]
    pub async fn die(mut self) {
        // Nothing may be open; then there is nothing to undo.
        drop(self.conn.rollback().await);
        drop(self.conn.close_hard().await);
    }

    /// Copies the log into the database file as far as readers and the card let it.
    pub async fn checkpoint(&mut self) -> Result<(), StoreError> {
        let done = engine::query(CHECKPOINT).fetch_one(&mut self.conn).await;
        done.map(drop).or_else(|error| self.put_off_checkpoint(error))
    }

    /// The same, and cuts the log to nothing. `false` when somebody was reading from it, or the card would not have it.
    pub async fn checkpoint_and_cut(&mut self) -> Result<bool, StoreError> {
        let done = engine::query(CHECKPOINT_AND_CUT).fetch_one(&mut self.conn).await;
        match done.and_then(|row| rows::int(&row, 0)) {
            Ok(busy) => Ok(busy == 0),
            Err(error) => self.put_off_checkpoint(error).map(|()| false),
        }
    }

    /// Writes a little to see whether the store can be written again.
    pub async fn probe(&mut self) -> Result<bool, StoreError> {
        let ceiling = self.standing.ceiling + 1;
        let done = engine::query(sql::COUNTER_RAISE).bind(ceiling).execute(&mut self.conn).await;
        if let Err(error) = done {
            return self.put_off("writing to it", error).map(|()| false);
        }
        self.standing.ceiling = ceiling;
        Ok(true)
    }

    fn put_off_checkpoint(&self, error: sqlx::Error) -> Result<(), StoreError> {
        tracing::warn!(%error, "the log could not be copied into the store");
        // A checkpoint does not look at what it copies: this is how SQLite calls a read that failed.
        if trouble::is_corrupt(&error) {
            return Ok(());
        }
        self.put_off("a checkpoint", error)
    }

    /// What only lacks room, or a page that cannot be read, is tried again later: until then the log holds what the
    /// file lacks. An error is returned when the process has to end.
    fn put_off(&self, doing: &'static str, error: sqlx::Error) -> Result<(), StoreError> {
        let path = &self.config.path;
        match trouble::of(&error, Stage::Statement) {
            Trouble::Fatal if !open::goes_on_reading(path, &error) => {
                Err(named(path, doing, error))
            }
            Trouble::Full | Trouble::ReadOnly | Trouble::Fatal | Trouble::Statement => Ok(()),
        }
    }

    /// Bytes of the log that are not overwritten yet by a new round.
    pub(crate) async fn log_bytes(&mut self) -> Result<u64, StoreError> {
        let found = engine::query(LOG_LENGTH).fetch_one(&mut self.conn).await;
        let pages = found.and_then(|row| rows::int(&row, 1));
        let pages = pages.map_err(|source| named(&self.config.path, "reading the log", source))?;
        Ok(u64::try_from(pages).unwrap_or(0) * PAGE_BYTES)
    }
}
