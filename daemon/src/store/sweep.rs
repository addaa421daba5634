//! Sweeping: what is kept only for a while goes, the oldest first, in small steps that ride on batches which commit
//! anyway. An idle daemon sweeps nothing.

use crate::ids::AppId;
use crate::limits::OutboxLimits;
use crate::store::engine::{self, Connection};
use crate::store::sql;
use crate::time::Timestamp;

/// Milliseconds between two steps.
const STEP_MS: i64 = 30_000;
/// Rows that one statement of a step removes.
const STEP_ROWS_MAX: i64 = 200;

/// When the last step was, and whose turn it was.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    stepped_at: Option<Timestamp>,
    last_app: Option<AppId>,
}

impl Sweep {
    /// A step, if the last one is long enough ago or left something over: what expired anywhere, and one app's surplus.
    pub(crate) async fn ride<'a>(
        &mut self,
        conn: &mut Connection,
        apps: impl Iterator<Item = &'a AppId>,
        limits: &OutboxLimits,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let due = self.stepped_at.is_none_or(|at| now.ms_since(at).abs() >= STEP_MS);
        if !due {
            return Ok(());
        }
        let mut swept_most = 0;
        for statement in [sql::SWEEP_ENTRIES, sql::SWEEP_REQUESTS] {
            let query = engine::query(statement).bind(now.0).bind(STEP_ROWS_MAX);
            swept_most = query.execute(&mut *conn).await?.max(swept_most);
        }
        let old = now.plus_ms(-limits.kept_letters_ms);
        let query = engine::query(sql::SWEEP_DELETED_ABANDONED).bind(old.0).bind(STEP_ROWS_MAX);
        swept_most = query.execute(&mut *conn).await?.max(swept_most);
        engine::query(sql::SWEEP_DELETED_APPS).bind(old.0).execute(&mut *conn).await?;
        if let Some(app) = self.next_app(apps) {
            swept_most = sweep_app(conn, app, limits, now).await?.max(swept_most);
        }
        let is_done = swept_most < STEP_ROWS_MAX.unsigned_abs();
        self.stepped_at = is_done.then_some(now);
        Ok(())
    }

    fn next_app<'a>(&mut self, apps: impl Iterator<Item = &'a AppId>) -> Option<AppId> {
        let mut apps: Vec<AppId> = apps.copied().collect();
        apps.sort_unstable();
        let later = apps.iter().find(|app| Some(**app) > self.last_app);
        self.last_app = later.or(apps.first()).copied();
        self.last_app
    }
}

/// The most rows that one statement removed.
async fn sweep_app(
    conn: &mut Connection,
    app: AppId,
    limits: &OutboxLimits,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let mut swept_most = 0;
    let old = now.plus_ms(-limits.kept_letters_ms);
    for (statement, bound) in [
        (sql::SWEEP_LETTERS_OLD, old.0),
        (sql::SWEEP_LETTERS_MANY, limits.kept_letters_max),
        (sql::SWEEP_ABANDONED, limits.kept_abandoned_max),
    ] {
        let query = engine::query(statement).bind(app.0).bind(bound).bind(STEP_ROWS_MAX);
        swept_most = query.execute(&mut *conn).await?.max(swept_most);
    }
    let kept = engine::query(sql::SWEEP_REQUESTS_BYTES).bind(app.0).fetch_one(&mut *conn).await?;
    if kept.int(0)? > limits.kept_answers_app_bytes_max {
        let query = engine::query(sql::SWEEP_REQUESTS_APP).bind(app.0).bind(STEP_ROWS_MAX);
        swept_most = query.execute(conn).await?.max(swept_most);
    }
    Ok(swept_most)
}
