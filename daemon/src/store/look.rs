//! A look into a store's file that changes nothing in it and locks nobody out, whether a daemon has it open or not.

use std::path::{Path, PathBuf};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use crate::store::engine::{self, Connection};
use crate::store::migrate::{self, Found, SCHEMA_VERSION};
use crate::store::naming::{self, Kind};
use crate::store::open::{StoreConfig, StoreError, beside, connect_options, named};

/// Backups that are asked for their schema when one is looked for.
const ASKED_MAX: usize = 20;

/// Says `ok`, or what is wrong first.
pub(crate) const QUICK_CHECK: &str = "-- quick_check
    PRAGMA quick_check(1)";

/// What the file at `path` is. One that is not there is empty.
pub async fn schema(path: &Path) -> Result<Found, StoreError> {
    // SQLite would make its own files beside an empty one.
    if std::fs::metadata(path).map_or(0, |found| found.len()) == 0 {
        return Ok(Found::Empty);
    }
    let failed = |source| named(path, "reading its schema", source);
    let mut conn = Connection::from(options(path).connect().await.map_err(failed)?);
    let found = migrate::find(&mut conn).await;
    // A failure to let go of what was only read changes nothing.
    drop(conn.close().await);
    found.map_err(failed)
}

/// Whether the file is whole. Reads all of it, which may last until a daemon starts: so it locks as a reader does.
pub async fn quick_check(path: &Path) -> Result<(), StoreError> {
    let failed = |source| named(path, "looking through it", source);
    let options = connect_options(&StoreConfig::at(path)).read_only(true);
    let mut conn = Connection::from(options.connect().await.map_err(failed)?);
    let found = engine::query(QUICK_CHECK).fetch_one(&mut conn).await;
    drop(conn.close().await);
    match found.and_then(|row| row.text(0).map(str::to_owned)).map_err(failed)? {
        found if found == "ok" => Ok(()),
        found => Err(StoreError::Damaged { path: path.to_owned(), found }),
    }
}

/// How to open a file for a moment. Without a log nobody has it open, and nothing need be made beside it.
fn options(path: &Path) -> SqliteConnectOptions {
    let is_open = [beside(path, "-wal"), beside(path, "-shm")].iter().any(|path| path.exists());
    connect_options(&StoreConfig::at(path)).read_only(true).immutable(!is_open)
}

/// The newest backup of before an upgrade that this daemon can use.
pub async fn newest_before_upgrade(folder: &Path) -> Option<PathBuf> {
    let mut names = naming::names_in(folder);
    names.retain(|name| {
        naming::named(name).is_some_and(|named| matches!(named.kind, Kind::BeforeSchema(_)))
    });
    names.sort_unstable_by(|a, b| b.cmp(a));
    for name in names.into_iter().take(ASKED_MAX) {
        let path = folder.join(name);
        if let Ok(Found::Schema { oldest_daemon, .. }) = schema(&path).await
            && oldest_daemon <= SCHEMA_VERSION
        {
            return Some(path);
        }
    }
    None
}
