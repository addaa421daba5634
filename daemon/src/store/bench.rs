//! What the benchmark needs of SQLite and cannot ask of the store: a bare loop to compare with, and a backlog made
//! of one row. Not in a build that ships.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use crate::faults::Faults;
use crate::flow::facts::Room;
use crate::ids::Ids;
use crate::limits::OutboxLimits;
use crate::store::batch::Batcher;
use crate::store::open::{Store, StoreConfig};
use crate::time::{Clock, SystemClock};

/// Rows of one commit of [`bare_rows_per_second`].
const BATCH: i64 = 1_000;

/// Batches of [`claim_micros`]; a backlog has to have so many times its rows.
const CLAIMS: usize = 9;

const SCHEMA: &str = "CREATE TABLE outbox (
    id TEXT PRIMARY KEY, app_id INTEGER NOT NULL, queue_id INTEGER NOT NULL, script TEXT NOT NULL,
    event TEXT NOT NULL, state TEXT NOT NULL, available_at INTEGER NOT NULL, attempt INTEGER NOT NULL,
    lease_token INTEGER, created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (queue_id, state, available_at)";

const INSERT: &str = "WITH RECURSIVE numbers (n) AS
    (SELECT $1 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < $1 + $2)
INSERT INTO outbox SELECT printf('01J%023d', n), 1, 2, 'record', '{\"n\":' || n || '}', 'pending', n, 0, NULL, n
FROM numbers";

const CLAIM: &str = "UPDATE outbox SET state = 'claimed', lease_token = $1 WHERE id IN
    (SELECT id FROM outbox WHERE queue_id = 2 AND state = 'pending' AND available_at <= $2
     ORDER BY available_at LIMIT $3)
RETURNING id, event";

const DELETE: &str =
    "DELETE FROM outbox WHERE lease_token = $2 AND id IN (SELECT value FROM json_each($1))";

/// How many rows a second go through SQLite alone, each inserted, claimed by update and deleted, in batches of
/// 1,000 and with one commit a batch (WAL, synchronous=FULL). Uses a file of its own in `folder`.
#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub async fn bare_rows_per_second(folder: &Path, time: Duration) -> Result<f64, sqlx::Error> {
    let file = folder.join("bare.sqlite");
    remove(&file);
    let mut connection = open(&file, SqliteSynchronous::Full).await?;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
    let (mut rows, mut turn, mut held) = (0_u64, 0_i64, String::from("[]"));
    let started = Instant::now();
    while started.elapsed() < time {
        let mut batch = connection.begin_with("BEGIN IMMEDIATE").await?;
        let deleted = sqlx::query(DELETE).bind(&held).bind(turn).execute(&mut *batch).await?;
        rows += deleted.rows_affected();
        sqlx::query(INSERT).bind(turn * BATCH).bind(BATCH).execute(&mut *batch).await?;
        turn += 1;
        let claim = sqlx::query(CLAIM).bind(turn).bind(i64::MAX).bind(BATCH);
        let claimed = claim.fetch_all(&mut *batch).await?;
        let ids: Result<Vec<&str>, sqlx::Error> =
            claimed.iter().map(|row| row.try_get(0)).collect();
        held = serde_json::json!(ids?).to_string();
        batch.commit().await?;
    }
    let rate = rows as f64 / started.elapsed().as_secs_f64();
    connection.close().await?;
    remove(&file);
    Ok(rate)
}

/// SQLite's own version.
pub async fn sqlite_version() -> Result<String, sqlx::Error> {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
    sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await
}

/// Copies one row of a table of a store that no daemon has open until there are `rows` of it. Each copy has an id
/// of its own, also where the row names itself, and is a millisecond older than the next.
pub async fn multiply(file: &Path, table: &str, rows: i64) -> Result<(), sqlx::Error> {
    let mut connection = open(file, SqliteSynchronous::Off).await?;
    let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
        .bind(table)
        .fetch_all(&mut connection)
        .await?;
    let values: Vec<String> = columns.iter().map(|column| copied(column)).collect();
    let (columns, values) = (columns.join(", "), values.join(", "));
    let copy = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < $1)
         INSERT INTO {table} ({columns}) SELECT {values}
         FROM (SELECT * FROM {table} ORDER BY id LIMIT 1), numbers"
    );
    sqlx::query(AssertSqlSafe(copy)).bind(rows).execute(&mut connection).await?;
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    connection.close().await
}

/// The value of a column in copy number `n`. The last ten characters of an id are random, digits are as good.
fn copied(column: &str) -> String {
    const ID: &str = "substr(id, 1, 16) || printf('%010d', n)";
    match column {
        "id" => ID.to_owned(),
        "available_at" | "created_at" | "first_at" | "last_at" => format!("{column} - n"),
        _ => format!("CASE WHEN {column} IS id THEN {ID} ELSE {column} END"),
    }
}

/// Microseconds of a batch that claims `rows` rows of a backlog that no daemon has open, its commit included: the
/// median of a few. Pauses are lifted.
#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub async fn claim_micros(file: &Path, rows: usize) -> anyhow::Result<f64> {
    let mut connection = open(file, SqliteSynchronous::Off).await?;
    sqlx::raw_sql("DELETE FROM pauses").execute(&mut connection).await?;
    connection.close().await?;
    let now = SystemClock::start().now();
    let store = Store::open(StoreConfig::at(file), Ids::random().next(now)).await?;
    let limits = Arc::new(OutboxLimits::default());
    let mut batcher = Batcher::start(store, limits, Faults::default()).await?;
    let mut times = Vec::new();
    for _ in 0..CLAIMS {
        let room = Room { rows, bytes: i64::MAX, app_rows_max: rows, ..Room::default() };
        let started = Instant::now();
        let report = batcher.run(&[], now, room).await?;
        times.push(started.elapsed());
        anyhow::ensure!(report.claims.len() == rows, "{} rows were claimed", report.claims.len());
    }
    times.sort_unstable();
    Ok(times[CLAIMS / 2].as_secs_f64() * 1e6)
}

async fn open(
    file: &Path,
    synchronous: SqliteSynchronous,
) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous);
    SqliteConnection::connect_with(&options).await
}

fn remove(file: &Path) {
    for end in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        // What is not there need not go.
        let _ = std::fs::remove_file(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_row_is_multiplied_with_ids_of_their_own() {
        let folder = std::env::temp_dir().join(format!("picloud-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("store.sqlite");
        remove(&file);
        let mut connection = open(&file, SqliteSynchronous::Off).await.unwrap();
        let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        sqlx::raw_sql("CREATE TABLE rows (id TEXT PRIMARY KEY, root_id TEXT, cause_id TEXT, created_at INTEGER) STRICT")
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::query("INSERT INTO rows VALUES ($1, $1, NULL, 50)")
            .bind(id)
            .execute(&mut connection)
            .await
            .unwrap();
        multiply(&file, "rows", 10).await.unwrap();
        let facts: (i64, i64, i64, i64) = sqlx::query_as(
            "SELECT count(*), count(DISTINCT root_id), sum(root_id = id AND length(id) = 26), min(created_at) FROM rows",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(facts, (10, 10, 10, 41));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn the_bare_loop_moves_rows() {
        let folder = std::env::temp_dir().join(format!("picloud-bare-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let rate = bare_rows_per_second(&folder, Duration::from_millis(100)).await.unwrap();
        assert!(rate > 100.0, "{rate}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
