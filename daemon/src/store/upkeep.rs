//! What the writer does to the file besides batches: the log, the end, and what tests do to it.

use sqlx::Connection;

#[cfg(feature = "faults")]
use crate::ids::Id;
#[cfg(feature = "faults")]
use crate::outbox::row::Lease;
use crate::store::batch::Batcher;
use crate::store::open::{StoreError, named};
use crate::store::{rows, sql};

/// Bytes of a page, SQLite's default.
const PAGE_BYTES: u64 = 4_096;

impl Batcher {
    /// Ends in order: everything is in the database file afterwards, and the next start knows.
    pub async fn stop(mut self) -> Result<(), StoreError> {
        let path = self.config.path.clone();
        let fail = |source| named(&path, "stopping", source);
        sqlx::query(sql::META_STOP).execute(&mut self.conn).await.map_err(fail)?;
        sqlx::query(sql::CHECKPOINT_AND_CUT).fetch_one(&mut self.conn).await.map_err(fail)?;
        self.conn.close().await.map_err(fail)
    }

    /// Ends as a process that is killed does, as far as that can be had in one that goes on.
    #[cfg(feature = "faults")]
    pub async fn die(mut self) {
        // Nothing may be open; then there is nothing to undo.
        drop(sqlx::query("ROLLBACK").execute(&mut self.conn).await);
        drop(self.conn.close_hard().await);
    }

    /// Gives a claimed row to another owner, as a second node would after this one's lease had ended.
    #[cfg(feature = "faults")]
    pub async fn steal_lease(&mut self, id: Id, thief: Lease) -> Result<bool, StoreError> {
        let query = sqlx::query(sql::LEASE_STEAL).bind(id.to_string());
        let query = query.bind(thief.owner.to_string()).bind(thief.token);
        let stolen = query.execute(&mut self.conn).await;
        let stolen =
            stolen.map_err(|source| named(&self.config.path, "stealing a lease", source))?;
        Ok(stolen.rows_affected() == 1)
    }

    /// Copies the log into the database file as far as readers let it.
    pub async fn checkpoint(&mut self) -> Result<(), StoreError> {
        let done = sqlx::query(sql::CHECKPOINT).fetch_one(&mut self.conn).await;
        done.map(drop).map_err(|source| named(&self.config.path, "a checkpoint", source))
    }

    /// The same, and cuts the log to nothing. `false` when somebody was reading from it.
    pub async fn checkpoint_and_cut(&mut self) -> Result<bool, StoreError> {
        let done = sqlx::query(sql::CHECKPOINT_AND_CUT).fetch_one(&mut self.conn).await;
        let busy = done.and_then(|row| rows::int(&row, 0));
        Ok(busy.map_err(|source| named(&self.config.path, "a checkpoint", source))? == 0)
    }

    /// Writes a little to see whether the store can be written again.
    pub async fn probe(&mut self) -> Result<(), StoreError> {
        let ceiling = self.standing.ceiling + 1;
        let done = sqlx::query(sql::COUNTER_RAISE).bind(ceiling).execute(&mut self.conn).await;
        done.map_err(|source| named(&self.config.path, "writing to it", source))?;
        self.standing.ceiling = ceiling;
        Ok(())
    }

    /// Bytes of the log that are not overwritten yet by a new round.
    pub(crate) async fn log_bytes(&mut self) -> Result<u64, StoreError> {
        let found = sqlx::query(sql::LOG_LENGTH).fetch_one(&mut self.conn).await;
        let pages = found.and_then(|row| rows::int(&row, 1));
        let pages = pages.map_err(|source| named(&self.config.path, "reading the log", source))?;
        Ok(u64::try_from(pages).unwrap_or(0) * PAGE_BYTES)
    }
}
