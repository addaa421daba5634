//! Reading for people: what filters look at, in steps of bounded size, and single things with everything.

use std::sync::Arc;

use serde::Deserialize;

use crate::failure::Failure;
use crate::ids::{AppId, Id, QueueId};
use crate::outbox::source::OutboxSourceKind;
use crate::store::bulk::Bulk;
use crate::store::engine::{self, Row};
use crate::store::open::StoreError;
use crate::store::read::{Cursor, LAST_ID, LetterRow, Listed, Reader, StoredRow};
use crate::store::rows::{self, RetryCache};
use crate::store::sql;
use crate::time::Timestamp;

/// Rows of one step.
pub const STEP_ROWS: usize = 500;

/// Of a row of the outbox what a filter looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct BriefRow {
    pub id: Id,
    pub app: AppId,
    pub queue: QueueId,
    pub source: OutboxSourceKind,
    pub origin: Option<i64>,
    pub script: Box<str>,
    pub key: Option<Box<str>>,
    pub available_at: Timestamp,
    pub attempt: u32,
    pub root: Id,
    pub cause: Option<Id>,
    pub replay_of: Option<Id>,
    pub claimed: bool,
    /// Why its last attempt failed.
    pub failure: Option<Failure>,
    pub depth: u32,
    pub max_attempts: u32,
}

/// Of a dead letter what a filter looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct BriefLetter {
    pub id: Id,
    pub app: AppId,
    pub source: OutboxSourceKind,
    pub origin: Option<i64>,
    pub script: Box<str>,
    pub key: Option<Box<str>>,
    pub script_version: i64,
    pub error: Box<str>,
    pub kind: Box<str>,
    pub attempts: u32,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub root: Id,
    pub resolution: Option<Box<str>>,
    pub resolved_by: Option<Id>,
    /// Of its event.
    pub bytes: usize,
}

/// A dead letter, and the row that replays it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplayedLetter {
    pub id: Id,
    pub app: AppId,
    pub by: Option<Id>,
    /// Of its event.
    pub bytes: usize,
}

/// An abandoned execution without its event.
#[derive(Clone, Debug, PartialEq)]
pub struct AbandonedRow {
    pub id: Id,
    pub app: AppId,
    pub source: OutboxSourceKind,
    pub origin: Option<i64>,
    pub script: Arc<str>,
    pub depth: u32,
    pub root: Id,
    pub cause: Option<Id>,
    pub reason: Arc<str>,
    pub at: Timestamp,
}

/// Where in the outbox a scan looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The newest first.
    All,
    /// Those that are claimed, the newest first.
    Running,
}

/// Which dead letters a scan looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letters {
    Open,
    Resolved,
    Any,
}

type Packed = (
    String,
    i64,
    i64,
    String,
    Option<i64>,
    Box<str>,
    Option<Box<str>>,
    i64,
    u32,
    Option<String>,
    Option<String>,
    Option<String>,
    i64,
    Option<Box<str>>,
    u32,
    u32,
);

#[derive(Deserialize)]
struct PackedLetter(
    String,
    i64,
    String,
    Option<i64>,
    Box<str>,
    Option<Box<str>>,
    i64,
    Box<str>,
    Box<str>,
    u32,
    i64,
    i64,
    String,
    Option<Box<str>>,
    Option<String>,
    usize,
);

fn id_of(text: &str) -> Result<Id, sqlx::Error> {
    text.parse().map_err(|_| rows::odd("id", &text))
}

fn opt_id_of(text: Option<&String>) -> Result<Option<Id>, sqlx::Error> {
    text.map(|text| id_of(text)).transpose()
}

fn source_of(text: &str) -> Result<OutboxSourceKind, sqlx::Error> {
    rows::source_of(text).ok_or_else(|| rows::odd("source", &text))
}

fn failure_of(text: &str) -> Result<Failure, sqlx::Error> {
    serde_json::from_str(text).map_err(|_| rows::odd("failure", &text))
}

impl BriefRow {
    /// What a filter would see of a row.
    pub fn of(stored: &StoredRow) -> BriefRow {
        let row = &stored.row;
        BriefRow {
            id: row.id,
            app: row.app,
            queue: row.queue,
            source: row.source,
            origin: row.origin,
            script: (&*row.script).into(),
            key: row.order.as_ref().map(|order| (&*order.key).into()),
            available_at: row.available_at,
            attempt: row.attempt,
            root: row.root,
            cause: row.cause,
            replay_of: row.replay_of,
            claimed: stored.lease.is_some(),
            failure: stored.failure.clone(),
            depth: row.depth,
            max_attempts: row.retry.max_attempts,
        }
    }
}

fn brief_row(packed: Packed) -> Result<BriefRow, sqlx::Error> {
    let id = id_of(&packed.0)?;
    Ok(BriefRow {
        id,
        app: AppId(packed.1),
        queue: QueueId(packed.2),
        source: source_of(&packed.3)?,
        origin: packed.4,
        script: packed.5,
        key: packed.6,
        available_at: Timestamp(packed.7),
        attempt: packed.8,
        root: opt_id_of(packed.9.as_ref())?.unwrap_or(id),
        cause: opt_id_of(packed.10.as_ref())?,
        replay_of: opt_id_of(packed.11.as_ref())?,
        claimed: packed.12 != 0,
        failure: packed.13.map(|text| failure_of(&text)).transpose()?,
        depth: packed.14,
        max_attempts: packed.15,
    })
}

fn brief_letter(packed: PackedLetter) -> Result<BriefLetter, sqlx::Error> {
    Ok(BriefLetter {
        id: id_of(&packed.0)?,
        app: AppId(packed.1),
        source: source_of(&packed.2)?,
        origin: packed.3,
        script: packed.4,
        key: packed.5,
        script_version: packed.6,
        error: packed.7,
        kind: packed.8,
        attempts: packed.9,
        first_at: Timestamp(packed.10),
        last_at: Timestamp(packed.11),
        root: id_of(&packed.12)?,
        resolution: packed.13,
        resolved_by: opt_id_of(packed.14.as_ref())?,
        bytes: packed.15,
    })
}

fn abandoned_row(row: &Row) -> Result<AbandonedRow, sqlx::Error> {
    Ok(AbandonedRow {
        id: rows::id(row, 0)?,
        app: AppId(rows::int(row, 1)?),
        source: source_of(&rows::text(row, 2)?)?,
        origin: rows::opt_int(row, 3)?,
        script: rows::text(row, 4)?,
        depth: rows::count(row, 5)?,
        root: rows::id(row, 6)?,
        cause: rows::opt_id(row, 7)?,
        reason: rows::text(row, 8)?,
        at: Timestamp(rows::int(row, 9)?),
    })
}

fn list_of(ids: &[Id]) -> String {
    let mut bulk = Bulk::new();
    for id in ids {
        bulk.id_alone(*id);
    }
    bulk.finish()
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Reader {
    /// The next rows of the outbox before `before`; fewer than `limit` are the last.
    pub async fn scan_outbox(
        &self,
        which: Rows,
        before: Option<Id>,
        limit: usize,
    ) -> Result<Vec<BriefRow>, StoreError> {
        let statement = match which {
            Rows::All => sql::OUTBOX_SCAN,
            Rows::Running => sql::OUTBOX_SCAN_RUNNING,
        };
        let packed = self.step(statement, None, Cursor { before, limit }).await?;
        self.unpack_rows(&packed)
    }

    /// Rows of the outbox from an id on, the oldest first.
    pub async fn outbox_after(&self, from: Id, limit: usize) -> Result<Vec<BriefRow>, StoreError> {
        let query =
            engine::query(sql::OUTBOX_SCAN_AFTER).bind(from.to_string()).bind(number(limit));
        let packed = query.fetch_one(&self.pool).await.map_err(self.failed())?;
        self.unpack_rows(&packed)
    }

    fn unpack_rows(&self, packed: &Row) -> Result<Vec<BriefRow>, StoreError> {
        let rows = packed.text(0).and_then(rows::unpack::<Packed>).map_err(self.failed())?;
        rows.into_iter().map(brief_row).collect::<Result<_, _>>().map_err(self.failed())
    }

    /// The next dead letters before `before`; fewer than `limit` are the last. Of any letters an app's are not sought.
    pub async fn scan_letters(
        &self,
        which: Letters,
        app: Option<AppId>,
        before: Option<Id>,
        limit: usize,
    ) -> Result<Vec<BriefLetter>, StoreError> {
        let (statement, app) = match (which, app) {
            (Letters::Open, None) => (sql::LETTERS_SCAN_OPEN, None),
            (Letters::Open, Some(app)) => (sql::LETTERS_SCAN_OPEN_APP, Some(app)),
            (Letters::Resolved, None) => (sql::LETTERS_SCAN_RESOLVED, None),
            (Letters::Resolved, Some(app)) => (sql::LETTERS_SCAN_RESOLVED_APP, Some(app)),
            (Letters::Any, _) => (sql::LETTERS_SCAN_ANY, None),
        };
        let packed = self.step(statement, app, Cursor { before, limit }).await?;
        let found = packed.text(0).and_then(rows::unpack::<PackedLetter>).map_err(self.failed())?;
        found.into_iter().map(brief_letter).collect::<Result<_, _>>().map_err(self.failed())
    }

    async fn step(
        &self,
        statement: &'static str,
        app: Option<AppId>,
        cursor: Cursor,
    ) -> Result<Row, StoreError> {
        let before = cursor.before.map_or_else(|| LAST_ID.to_owned(), |id| id.to_string());
        let mut query = engine::query(statement).bind(before).bind(number(cursor.limit));
        if let Some(app) = app {
            query = query.bind(app.0);
        }
        query.fetch_one(&self.pool).await.map_err(self.failed())
    }

    /// Dead letters by their ids, without their events, the newest first.
    pub async fn letters_by_id(&self, ids: &[Id]) -> Result<Vec<LetterRow>, StoreError> {
        let query = engine::query(sql::LETTERS_MANY).bind(list_of(ids));
        self.read_letters(query.fetch_all(&self.pool).await)
    }

    /// Of dead letters by their ids what taking a replay back has to know.
    pub async fn replays(&self, letters: &[Id]) -> Result<Vec<ReplayedLetter>, StoreError> {
        let query = engine::query(sql::LETTERS_REPLAYED).bind(list_of(letters));
        let found = query.fetch_all(&self.pool).await.map_err(self.failed())?;
        let read = |row: &Row| {
            Ok(ReplayedLetter {
                id: rows::id(row, 0)?,
                app: AppId(rows::int(row, 1)?),
                by: rows::opt_id(row, 2)?,
                bytes: usize::try_from(rows::int(row, 3)?).unwrap_or(0),
            })
        };
        found.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(self.failed())
    }

    /// Dead letters of one chain, without their events, the oldest first.
    pub async fn letters_of_root(
        &self,
        root: Id,
        limit: usize,
    ) -> Result<Vec<LetterRow>, StoreError> {
        let query = engine::query(sql::LETTERS_OF_ROOT).bind(root.to_string()).bind(number(limit));
        self.read_letters(query.fetch_all(&self.pool).await)
    }

    pub async fn letter(&self, id: Id) -> Result<Option<LetterRow>, StoreError> {
        let query = engine::query(sql::LETTER_ONE).bind(id.to_string());
        Ok(self.read_letters(query.fetch_all(&self.pool).await)?.pop())
    }

    /// The letter that a row became.
    pub async fn letter_of_row(&self, row: Id) -> Result<Option<LetterRow>, StoreError> {
        let query = engine::query(sql::LETTER_OF_ROW).bind(row.to_string());
        Ok(self.read_letters(query.fetch_all(&self.pool).await)?.pop())
    }

    fn read_letters(
        &self,
        found: Result<Vec<Row>, sqlx::Error>,
    ) -> Result<Vec<LetterRow>, StoreError> {
        let found = found.map_err(self.failed())?;
        let mut cache = RetryCache::default();
        let read = |row| rows::letter_row(row, &mut cache);
        found.iter().map(read).collect::<Result<_, _>>().map_err(self.failed())
    }

    /// Abandoned executions, of one app or of all.
    pub async fn abandoned(
        &self,
        app: Option<AppId>,
        cursor: Cursor,
    ) -> Result<Listed<AbandonedRow>, StoreError> {
        let statement = match app {
            None => sql::ABANDONED_PAGE,
            Some(_) => sql::ABANDONED_PAGE_APP,
        };
        let found = self.page(statement, app, cursor).await?;
        let rows: Result<Vec<_>, _> = found.iter().map(abandoned_row).collect();
        let rows = rows.map_err(self.failed())?;
        let next = rows.last().filter(|_| rows.len() == cursor.limit).map(|last| last.id);
        Ok(Listed { rows, next })
    }

    /// With its event, unless that was too large to keep.
    pub async fn abandoned_one(
        &self,
        id: Id,
    ) -> Result<Option<(AbandonedRow, Option<Arc<str>>)>, StoreError> {
        let query = engine::query(sql::ABANDONED_ONE).bind(id.to_string());
        let found = query.fetch_optional(&self.pool).await.map_err(self.failed())?;
        let read = |row: Row| Ok((abandoned_row(&row)?, rows::opt_text(&row, 10)?));
        found.map(read).transpose().map_err(self.failed())
    }

    /// Abandoned executions of one chain, the oldest first.
    pub async fn abandoned_of_root(
        &self,
        root: Id,
        limit: usize,
    ) -> Result<Vec<AbandonedRow>, StoreError> {
        let query =
            engine::query(sql::ABANDONED_OF_ROOT).bind(root.to_string()).bind(number(limit));
        let found = query.fetch_all(&self.pool).await.map_err(self.failed())?;
        found.iter().map(abandoned_row).collect::<Result<_, _>>().map_err(self.failed())
    }
}
