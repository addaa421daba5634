//! Reading: a few connections that hold a snapshot for one query and no longer.

mod collections;
mod rehearse;
pub mod versions;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use picloud_scripts_runtime::host::Page;

use crate::entry::{Entry, EntryKey};
use crate::failure::Failure;
use crate::flow::configure::Audit;
use crate::flow::facts::{KeptRequest, RequestKey};
use crate::flow::writes::DeadLetter;
use crate::ids::{AppId, Id, PrincipalId, TriggerId};
use crate::outbox::row::{Lease, OutboxRow};
use crate::schedule::Mark;
use crate::store::bulk::{self, Bulk};
use crate::store::engine::{self, Pool, Row};
use crate::store::open::{self, StoreConfig, StoreError, named};
use crate::store::rows::{self, RetryCache};
use crate::store::{details, look, sql};
use crate::time::Timestamp;

/// Rows that are looked through for one page of a list with a filter which no index answers.
pub const LIST_SCAN_ROWS_MAX: usize = 2_000;

/// A row of the outbox as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRow {
    pub row: OutboxRow,
    /// Why the last attempt failed.
    pub failure: Option<Failure>,
    /// Absent while it is pending.
    pub lease: Option<Lease>,
}

/// A dead letter and what became of it.
#[derive(Clone, Debug)]
pub struct LetterRow {
    pub letter: DeadLetter,
    /// `handler_failed`, `replayed` or `discarded`.
    pub resolution: Option<Arc<str>>,
    /// Absent while the letter is open.
    pub resolved_at: Option<Timestamp>,
    /// The row that replays it.
    pub resolved_by: Option<Id>,
    /// Why it was discarded.
    pub reason: Option<Arc<str>>,
    pub handler_failure: Option<Failure>,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// Later entries have greater numbers.
    pub id: i64,
    pub audit: Audit,
    /// The name that the principal had then. Absent when it was none that is known.
    pub name: Option<Arc<str>>,
}

/// Which rows of a list: the newest first, only those before `before`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    pub before: Option<Id>,
    pub limit: usize,
}

/// A page of a list, and where the next one begins; `None` at the end.
#[derive(Debug)]
pub struct Listed<T> {
    pub rows: Vec<T>,
    pub next: Option<Id>,
}

/// The read side. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(crate) pool: Pool,
    path: PathBuf,
}

/// Later than every id.
pub(crate) const LAST_ID: &str = "8";

impl Reader {
    /// Opens nothing yet. Must be called within a runtime.
    pub fn new(config: &StoreConfig) -> Reader {
        let pool = open::readers(config);
        Reader { pool, path: config.path.clone() }
    }

    /// The entry under a key; expired ones are absent.
    pub async fn entry(&self, key: &EntryKey, now: Timestamp) -> Result<Option<Entry>, StoreError> {
        let query = engine::query(sql::ENTRY)
            .bind(key.app.0)
            .bind(bulk::space_text(key.key.space))
            .bind(&*key.key.collection)
            .bind(&*key.key.key);
        let found = query.fetch_optional(&self.pool).await.map_err(self.failed())?;
        let entry = found.map(|row| rows::entry(&row, 0)).transpose().map_err(self.failed())?;
        Ok(entry.filter(|entry| entry.is_live(now)))
    }

    /// A page of a collection in ascending order of the keys' bytes; expired entries are absent.
    pub async fn entries(
        &self,
        app: AppId,
        page: &Page,
        now: Timestamp,
    ) -> Result<Vec<(Arc<str>, Entry)>, StoreError> {
        let prefix = &*page.prefix;
        let after = page.after.as_deref().filter(|after| *after >= prefix);
        let extra = usize::from(after.is_some());
        let limit = i64::try_from(page.limit.saturating_add(extra)).unwrap_or(i64::MAX);
        let query = engine::query(sql::ENTRIES_PAGE)
            .bind(app.0)
            .bind(bulk::space_text(page.space))
            .bind(&*page.collection)
            .bind(after.unwrap_or(prefix))
            .bind(now.0)
            .bind(limit);
        let mut entries = Vec::new();
        let mut bytes = 0;
        let take = |row: &Row| {
            let key = rows::text(row, 0)?;
            if page.is_full(entries.len(), bytes) || !key.starts_with(prefix) {
                return Ok(ControlFlow::Break(()));
            }
            if after != Some(&*key) {
                let entry = rows::entry(row, 1)?;
                bytes += key.len() + entry.value.len();
                entries.push((key, entry));
            }
            Ok(ControlFlow::Continue(()))
        };
        query.fetch_until(&self.pool, take).await.map_err(self.failed())?;
        Ok(entries)
    }

    /// The versions of keys in one query, in their order; 0 is absent or expired.
    pub async fn versions(
        &self,
        keys: &[EntryKey],
        now: Timestamp,
    ) -> Result<Vec<i64>, StoreError> {
        let mut bulk = Bulk::new();
        for key in keys {
            bulk::put_entry_key(&mut bulk, key);
        }
        let query = engine::query(sql::VERSIONS).bind(bulk.finish());
        let found = query.fetch_all(&self.pool).await.map_err(self.failed())?;
        let mut versions = vec![0; keys.len()];
        for row in &found {
            let expires_at = rows::opt_time(row, 2).map_err(self.failed())?;
            if expires_at.is_none_or(|at| now < at) {
                let place = rows::place(row).map_err(self.failed())?;
                versions[place] = rows::int(row, 1).map_err(self.failed())?;
            }
        }
        Ok(versions)
    }

    /// The answer that is kept for a request.
    pub async fn request(
        &self,
        key: &RequestKey,
        now: Timestamp,
    ) -> Result<Option<KeptRequest>, StoreError> {
        let query = engine::query(sql::REQUEST)
            .bind(key.app.0)
            .bind(key.route)
            .bind(key.principal.0)
            .bind(&*key.key)
            .bind(now.0);
        let kept = |row: Row| {
            Ok(KeptRequest { body_hash: rows::text(&row, 0)?, answer: rows::kept(&row, 1)? })
        };
        let found = query.fetch_optional(&self.pool).await.map_err(self.failed())?;
        found.map(kept).transpose().map_err(self.failed())
    }

    /// A secret as it is stored: sealed.
    pub async fn secret(&self, app: AppId, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let query = engine::query(sql::SECRET).bind(app.0).bind(name);
        let found = query.fetch_optional(&self.pool).await.map_err(self.failed())?;
        found.map(|row| row.bytes(0)).transpose().map_err(self.failed())
    }

    /// All secrets of an app by their names, sealed.
    pub async fn secrets_sealed(&self, app: AppId) -> Result<Vec<(Arc<str>, Vec<u8>)>, StoreError> {
        let query = engine::query(sql::SECRETS_SEALED).bind(app.0);
        let found = query.fetch_all(&self.pool).await.map_err(self.failed())?;
        let secret = |row: &Row| Ok((rows::text(row, 0)?, row.bytes(1)?));
        found.iter().map(secret).collect::<Result<_, sqlx::Error>>().map_err(self.failed())
    }

    pub async fn outbox_row(&self, id: Id) -> Result<Option<StoredRow>, StoreError> {
        let query = engine::query(sql::OUTBOX_ONE).bind(id.to_string());
        let found = query.fetch_optional(&self.pool).await.map_err(self.failed())?;
        let row = |row| rows::stored_row(&row, &mut RetryCache::default());
        found.map(row).transpose().map_err(self.failed())
    }

    /// The newest entries of the audit log, before number `before`.
    pub async fn audit(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let query = engine::query(sql::AUDIT_PAGE)
            .bind(before.unwrap_or(i64::MAX))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let found = query.fetch_all(&self.pool).await.map_err(self.failed())?;
        let read = |row: &Row| {
            Ok(AuditRow {
                id: rows::int(row, 0)?,
                audit: Audit {
                    at: Timestamp(rows::int(row, 1)?),
                    principal: PrincipalId(rows::int(row, 2)?),
                    action: rows::text(row, 4)?.to_string(),
                    object: rows::text(row, 5)?.to_string(),
                    detail: rows::text(row, 6)?.to_string(),
                },
                name: rows::opt_text(row, 3)?,
            })
        };
        found.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(self.failed())
    }

    /// Rows that another owner held when it ended, in the order of their leases.
    pub async fn orphans(
        &self,
        owner: Id,
        limit: usize,
    ) -> Result<Vec<(OutboxRow, Lease)>, StoreError> {
        let query = engine::query(sql::ORPHANS)
            .bind(owner.to_string())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let found = query.fetch_all(&self.pool).await.map_err(self.failed())?;
        let mut cache = RetryCache::default();
        let read = |row: &Row| {
            let stored = rows::stored_row(row, &mut cache)?;
            let lease = stored.lease.ok_or_else(|| rows::odd("lease_owner", &"nothing"))?;
            Ok((stored.row, lease))
        };
        found.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(self.failed())
    }

    /// What schedules have fired for.
    pub async fn schedule_marks(&self) -> Result<Vec<(TriggerId, Mark)>, StoreError> {
        let mut conn = self.pool.acquire().await.map_err(self.failed())?;
        details::marks(&mut conn).await.map_err(self.failed())
    }

    /// Looks through the whole file for damage. Slow: in the background, after a stop out of order.
    pub async fn quick_check(&self) -> Result<(), StoreError> {
        let query = engine::query(look::QUICK_CHECK);
        let row = query.fetch_one(&self.pool).await.map_err(self.failed())?;
        match row.text(0).map_err(self.failed())? {
            "ok" => Ok(()),
            found => Err(StoreError::Damaged { path: self.path.clone(), found: found.to_owned() }),
        }
    }

    /// Closes the connections, so that the writer's last checkpoint can cut the log.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) async fn page(
        &self,
        statement: &'static str,
        app: Option<AppId>,
        cursor: Cursor,
    ) -> Result<Vec<Row>, StoreError> {
        let before = cursor.before.map_or_else(|| LAST_ID.to_owned(), |id| id.to_string());
        let limit = i64::try_from(cursor.limit).unwrap_or(i64::MAX);
        let mut query = engine::query(statement).bind(before).bind(limit);
        if let Some(app) = app {
            query = query.bind(app.0);
        }
        query.fetch_all(&self.pool).await.map_err(self.failed())
    }

    pub(crate) fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError + '_ {
        |source| named(&self.path, "reading", source)
    }
}
