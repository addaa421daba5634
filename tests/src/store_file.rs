//! A look into the store's file, for what no daemon would do to it; mostly while none has it open.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

/// Executes statements on the file at `path`.
#[track_caller]
pub fn execute(path: &Path, statements: &str) {
    with(path, async |mut connection| {
        connection.execute(AssertSqlSafe(statements.to_owned())).await?;
        connection.close().await
    });
}

/// Makes it what a daemon of schema 7 leaves behind.
#[track_caller]
pub fn back_to_schema_7(path: &Path) {
    let since = "ALTER TABLE meta DROP COLUMN migrated_at; ALTER TABLE meta DROP COLUMN migrated_from; \
        UPDATE meta SET schema_version = 7";
    execute(path, since);
}

/// Of each abandoned execution its script and the reason.
#[track_caller]
pub fn abandoned(path: &Path) -> Vec<(String, String)> {
    let query = "SELECT script, reason FROM abandoned_executions ORDER BY id";
    with(path, async |mut connection| {
        let rows = sqlx::query_as(query).fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(rows)
    })
}

/// Whether the last daemon stopped in order.
#[track_caller]
pub fn is_clean(path: &Path) -> bool {
    with(path, async |mut connection| {
        let clean = sqlx::query_scalar("SELECT clean FROM meta").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(clean)
    })
}

/// What SQLite finds when it looks through the whole file: `ok`, or what is wrong. A daemon may have it open.
#[track_caller]
pub fn integrity(path: &Path) -> String {
    with(path, async |mut connection| {
        let found = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await;
        connection.close().await?;
        Ok(found.unwrap_or_else(|error| error.to_string()))
    })
}

#[track_caller]
fn with<T>(path: &Path, work: impl AsyncFnOnce(SqliteConnection) -> Result<T, sqlx::Error>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.expect("a runtime of one thread").block_on(async {
        work(SqliteConnectOptions::new().filename(path).connect().await?).await
    });
    done.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
