//! Emptying deleted apps: what waits is abandoned, what is stored goes, in steps that leave room for others.
//!
//! The app itself went in one transaction, and since then nothing of it is accepted. What is left is bounded by what it had.

use crate::flow::configure::Audit;
use crate::ids::{AppId, PrincipalId, QueueId};
use crate::outbox::row::AbandonReason;
use crate::store::batch::{BatchError, Batcher, Undone};
use crate::store::bulk::ABANDONED_EVENT_BYTES_MAX;
use crate::store::engine::{self, Connection};
use crate::store::rows::{int, json, parsed, text, unpack};
use crate::store::{configure, sql};
use crate::time::Timestamp;

/// Rows of one table that one step removes.
const STEP_ROWS_MAX: i64 = 500;

/// A deleted app, and what went of it so far.
#[derive(Clone, Debug)]
pub(crate) struct DeletedApp {
    id: AppId,
    slug: String,
    by: PrincipalId,
    /// In which rows may still wait.
    queues: Vec<i64>,
    rows_abandoned: i64,
    rows_kept: i64,
    entries: i64,
    letters: i64,
}

/// What a step changes of what outlives a batch.
#[derive(Default)]
struct Gone {
    rows: i64,
    bytes: i64,
    open_letters: Vec<QueueId>,
    is_empty: bool,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purged {
    More,
    All,
    /// The store could not be written: later again.
    NotNow,
}

/// The apps that are not empty yet, the one that was deleted first in front.
pub(crate) async fn load(conn: &mut Connection) -> Result<Vec<DeletedApp>, sqlx::Error> {
    let mut apps = Vec::new();
    for row in &engine::query(sql::DELETED_APPS).fetch_all(conn).await? {
        apps.push(DeletedApp {
            id: AppId(int(row, 0)?),
            slug: text(row, 1)?.to_string(),
            by: PrincipalId(int(row, 2)?),
            queues: parsed(row, 3)?,
            rows_abandoned: int(row, 4)?,
            rows_kept: int(row, 5)?,
            entries: int(row, 6)?,
            letters: int(row, 7)?,
        });
    }
    Ok(apps)
}

impl Batcher {
    /// Whether a deleted app has anything left.
    pub fn has_to_purge(&self) -> bool {
        !self.purging.is_empty()
    }

    /// Removes a little of what deleted apps have left, in a transaction of its own.
    pub async fn purge_step(&mut self, now: Timestamp) -> Result<Purged, BatchError> {
        let Some(mut app) = self.purging.first().cloned() else { return Ok(Purged::All) };
        match self.purge(&mut app, now).await {
            Ok(gone) => {
                self.learn_purged(app, &gone);
                Ok(if self.purging.is_empty() { Purged::All } else { Purged::More })
            }
            Err(undone) => self.undo(undone).await.map(|_| Purged::NotNow),
        }
    }

    async fn purge(&mut self, app: &mut DeletedApp, now: Timestamp) -> Result<Gone, Undone> {
        let kept_max = self.limits.kept_abandoned_max;
        self.conn.begin().await?;
        let gone = match app.queues.last().copied() {
            Some(queue) => purge_rows(&mut self.conn, app, queue, kept_max, now).await?,
            None => purge_stored(&mut self.conn, app).await?,
        };
        let query = engine::query(sql::DELETED_APP_STEP)
            .bind(app.id.0)
            .bind(json(&app.queues))
            .bind(app.rows_abandoned)
            .bind(app.rows_kept)
            .bind(app.entries)
            .bind(app.letters)
            .bind(gone.is_empty.then_some(now.0));
        query.execute(&mut self.conn).await?;
        if gone.is_empty {
            let audit = audit(app, now);
            configure::put_audit(&mut self.conn, &audit, &self.limits).await?;
        }
        self.conn.commit().await.map_err(Undone::Commit)?;
        Ok(gone)
    }

    /// Takes over what a committed step changed of what outlives it.
    fn learn_purged(&mut self, app: DeletedApp, gone: &Gone) {
        self.standing.forget(app.id, gone.rows, gone.bytes, &gone.open_letters);
        self.see_standing();
        if gone.is_empty {
            tracing::info!(
                app = app.slug,
                rows = app.rows_abandoned,
                entries = app.entries,
                letters = app.letters,
                "a deleted app is gone"
            );
            self.standing.backlog.forget(app.id);
            self.purging.remove(0);
        } else {
            self.purging[0] = app;
        }
    }
}

/// Abandons rows that wait in one queue. As many of them stay on record as of any app.
async fn purge_rows(
    conn: &mut Connection,
    app: &mut DeletedApp,
    queue: i64,
    kept_max: i64,
    now: Timestamp,
) -> Result<Gone, sqlx::Error> {
    let query = engine::query(sql::PURGE_PICK).bind(queue).bind(STEP_ROWS_MAX);
    let picked = query.fetch_one(&mut *conn).await?;
    let (ids, bytes) = (text(&picked, 0)?, int(&picked, 1)?);
    let rows = i64::try_from(unpack::<&str>(&ids)?.len()).unwrap_or(i64::MAX);
    if rows == 0 {
        app.queues.pop();
        return Ok(Gone::default());
    }
    let query = engine::query(sql::PURGE_ABANDON)
        .bind(&*ids)
        .bind(AbandonReason::AppDeleted.as_str())
        .bind(now.0)
        .bind(i64::try_from(ABANDONED_EVENT_BYTES_MAX).unwrap_or(i64::MAX))
        .bind((kept_max - app.rows_kept).max(0));
    let kept = query.execute(&mut *conn).await?;
    engine::query(sql::OUTBOX_DELETE).bind(&*ids).execute(conn).await?;
    app.rows_kept += i64::try_from(kept).unwrap_or(i64::MAX);
    app.rows_abandoned += rows;
    Ok(Gone { rows, bytes, ..Gone::default() })
}

/// Removes some of what is stored: first entries, then dead letters, then kept answers.
async fn purge_stored(conn: &mut Connection, app: &mut DeletedApp) -> Result<Gone, sqlx::Error> {
    let removed = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
    let step = |statement| engine::query(statement).bind(app.id.0).bind(STEP_ROWS_MAX);
    let entries = removed(step(sql::PURGE_ENTRIES).execute(&mut *conn).await?);
    if entries > 0 {
        app.entries += entries;
        return Ok(Gone::default());
    }
    let open = step(sql::PURGE_LETTERS_OPEN).fetch_all(&mut *conn).await?;
    if !open.is_empty() {
        let queues = open.iter().map(|row| Ok(QueueId(int(row, 0)?)));
        let open_letters = queues.collect::<Result<Vec<_>, sqlx::Error>>()?;
        app.letters += i64::try_from(open.len()).unwrap_or(i64::MAX);
        return Ok(Gone { open_letters, ..Gone::default() });
    }
    let letters = removed(step(sql::PURGE_LETTERS).execute(&mut *conn).await?);
    if letters > 0 {
        app.letters += letters;
        return Ok(Gone::default());
    }
    let requests = removed(step(sql::SWEEP_REQUESTS_APP).execute(conn).await?);
    Ok(Gone { is_empty: requests == 0, ..Gone::default() })
}

fn audit(app: &DeletedApp, at: Timestamp) -> Audit {
    let detail = serde_json::json!({
        "rows_abandoned": app.rows_abandoned, "entries": app.entries, "dead_letters": app.letters,
    });
    Audit {
        at,
        principal: app.by,
        action: "app_emptied".to_owned(),
        object: app.slug.clone(),
        detail: detail.to_string(),
    }
}
