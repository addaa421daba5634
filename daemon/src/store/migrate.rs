//! Forward-only migrations, each a transaction of its own: killed anywhere, the file has the old schema or the new.

use crate::faults::{CrashPoint, Faults};
use crate::store::engine::{self, Connection};
use crate::time::Timestamp;

/// The schema that this daemon was built for.
pub const SCHEMA_VERSION: i64 = 8;
/// The first schema that says from which one it was migrated.
const SAYS_WHEN: i64 = 8;

/// The migrations by their names, which both engines have, each with SQL of its own.
macro_rules! migrations {
    ($($name:literal),* $(,)?) => {
        /// The first makes `meta`; each later one ends by setting `schema_version` there.
        pub(crate) const MIGRATIONS: &[&str] =
            &[$(include_str!(concat!("../../../migrations/sqlite/", $name, ".sql"))),*];

        #[cfg(test)]
        pub(crate) const ON_POSTGRES: &[&str] =
            &[$(include_str!(concat!("../../../migrations/postgres/", $name, ".sql"))),*];
    };
}

migrations![
    "0001_engine",
    "0002_schedules",
    "0003_secrets",
    "0004_letters",
    "0005_deleted_apps",
    "0006_tokens",
    "0007_access",
    "0008_upgrades",
];

const _: () = assert!(MIGRATIONS.len() as i64 == SCHEMA_VERSION);

const MIGRATED: &str = "-- migrated
    UPDATE meta SET migrated_from = $1, migrated_at = $2";

/// What kind of file this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing in it yet.
    Empty,
    /// Tables, but not ours.
    Foreign,
    Schema {
        version: i64,
        oldest_daemon: i64,
    },
}

pub(crate) async fn find(conn: &mut Connection) -> Result<Found, sqlx::Error> {
    let query = "-- schema_tables\nSELECT count(*), count(*) FILTER (WHERE name = 'meta') FROM sqlite_schema";
    let row = engine::query(query).fetch_one(&mut *conn).await?;
    let (tables, ours) = (row.int(0)?, row.int(1)?);
    if tables == 0 {
        return Ok(Found::Empty);
    }
    if ours == 0 {
        return Ok(Found::Foreign);
    }
    let query = "-- schema_version\nSELECT schema_version, oldest_daemon FROM meta";
    match engine::query(query).fetch_optional(conn).await {
        Ok(Some(row)) => Ok(Found::Schema { version: row.int(0)?, oldest_daemon: row.int(1)? }),
        Ok(None) => Ok(Found::Foreign),
        Err(error) if super::engine::trouble::is_corrupt(&error) => Err(error),
        Err(_) => Ok(Found::Foreign),
    }
}

/// Brings the file from `version` (0: empty) to [`SCHEMA_VERSION`].
pub(crate) async fn run(
    conn: &mut Connection,
    version: i64,
    now: Timestamp,
    faults: &Faults,
) -> Result<(), sqlx::Error> {
    let done = usize::try_from(version).unwrap_or(0);
    let step = || if version > 0 { faults.crashes(CrashPoint::InUpgrade) } else { false };
    for (reached, migration) in (1..).zip(MIGRATIONS.iter().copied()).skip(done) {
        conn.begin().await?;
        conn.script(migration).await?;
        if version > 0 && reached >= SAYS_WHEN {
            engine::query(MIGRATED).bind(version).bind(now.0).execute(&mut *conn).await?;
        }
        step();
        conn.commit().await?;
        step();
    }
    Ok(())
}
