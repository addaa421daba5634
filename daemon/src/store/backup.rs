//! What of a backup is SQL: copying the store as it is at one moment, and looking through a copy.
//!
//! Both read on a connection of their own, so that the writer and the readers go on meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use crate::store::engine::{self, Connection, trouble};
use crate::store::migrate::{self, Found, SCHEMA_VERSION};
use crate::store::open::{StoreConfig, StoreError, connect_options, named};

/// KiB of pages that a copy keeps in memory.
const CACHE_KIB_MAX: u32 = 1 << 10;
/// SQLite's steps between two looks at whether to go on.
const STEPS_A_LOOK: i32 = 1_000;

// They read the whole file, which no statement of `sql` may.
const COPY_INTO: &str = "-- copy_into
    VACUUM INTO $1";
const INTEGRITY: &str = "-- integrity
    PRAGMA integrity_check(1)";
const CONTENT: &str = "-- content
    SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM entries)";

/// What is in a store, as far as it is worth a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub schema: i64,
    /// Rows of the outbox.
    pub rows: i64,
    /// KV entries and documents.
    pub entries: i64,
}

/// Says to whatever reads that it is to stop.
#[derive(Clone, Debug, Default)]
pub struct Halt(Arc<AtomicBool>);

impl Halt {
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why there is no copy, or none that is of any use.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("it was told to stop")]
    Halted,
    #[error("the disk is full")]
    Full,
    #[error("{} is no store of PiCloud", .0.display())]
    NotAStore(PathBuf),
    #[error("{} is damaged: {found}", .path.display())]
    Damaged { path: PathBuf, found: String },
    #[error(
        "{} has schema {version}, this daemon knows schemas up to {SCHEMA_VERSION}: install a newer picloud",
        .path.display()
    )]
    Newer { path: PathBuf, version: i64 },
    #[error("{} cannot be written: {source}", .path.display())]
    Unwritable { path: PathBuf, source: sqlx::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes the store as it is now into an empty file. Nothing of the copy is durable yet.
pub async fn copy(config: &StoreConfig, into: &Path, halt: &Halt) -> Result<(), CopyError> {
    let failed = |source| CopyError::Store(named(&config.path, "reading it", source));
    let mut conn = connect(connect_options(config), halt).await.map_err(failed)?;
    let Some(target) = into.to_str() else {
        let source = sqlx::Error::InvalidArgument("its name is no Unicode".to_owned());
        return Err(CopyError::Unwritable { path: into.to_owned(), source });
    };
    let copied = engine::query(COPY_INTO).bind(target).execute(&mut conn).await;
    // A failure to let go of what was only read changes nothing about the copy.
    drop(conn.close().await);
    match copied {
        Ok(_) => Ok(()),
        Err(_) if halt.is_said() => Err(CopyError::Halted),
        Err(source) => Err(match trouble::of(&source, trouble::Stage::Statement) {
            trouble::Trouble::Full => CopyError::Full,
            trouble::Trouble::ReadOnly | trouble::Trouble::Fatal => {
                CopyError::Unwritable { path: into.to_owned(), source }
            }
            trouble::Trouble::Statement => failed(source),
        }),
    }
}

/// Opens a copy, looks through all of it, and counts what is in it.
pub async fn verify(path: &Path, halt: &Halt) -> Result<Content, CopyError> {
    let failed = |source: sqlx::Error| {
        if halt.is_said() {
            CopyError::Halted
        } else if trouble::is_not_a_database(&source) {
            CopyError::NotAStore(path.to_owned())
        } else {
            CopyError::Store(named(path, "reading it", source))
        }
    };
    let options = connect_options(&StoreConfig::at(path));
    let mut conn = connect(options, halt).await.map_err(failed)?;
    let looked = look_through(&mut conn, path).await;
    drop(conn.close().await);
    looked.map_err(failed)?
}

/// What is wrong with a copy is found by reading it; that it cannot be read is another matter.
async fn look_through(
    conn: &mut Connection,
    path: &Path,
) -> Result<Result<Content, CopyError>, sqlx::Error> {
    let path = || path.to_owned();
    let schema = match migrate::find(conn).await? {
        Found::Empty | Found::Foreign => return Ok(Err(CopyError::NotAStore(path()))),
        Found::Schema { version, oldest_daemon } if oldest_daemon > SCHEMA_VERSION => {
            return Ok(Err(CopyError::Newer { path: path(), version }));
        }
        Found::Schema { version, .. } => version,
    };
    let found = engine::query(INTEGRITY).fetch_one(&mut *conn).await?.text(0)?.to_owned();
    if found != "ok" {
        return Ok(Err(CopyError::Damaged { path: path(), found }));
    }
    let content = engine::query(CONTENT).fetch_one(conn).await?;
    Ok(Ok(Content { schema, rows: content.int(0)?, entries: content.int(1)? }))
}

async fn connect(options: SqliteConnectOptions, halt: &Halt) -> Result<Connection, sqlx::Error> {
    let options = options
        .read_only(true)
        .pragma("cache_size", format!("-{CACHE_KIB_MAX}"))
        .pragma("mmap_size", "0");
    let mut conn = options.connect().await?;
    let halt = halt.clone();
    let mut handle = conn.lock_handle().await?;
    handle.set_progress_handler(STEPS_A_LOOK, move || !halt.is_said());
    drop(handle);
    Ok(Connection::from(conn))
}
