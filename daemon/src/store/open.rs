//! Opening the file: the checks that come before everything else, and what is set on each connection.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use picloud_scripts_runtime::limits::RunLimits;
use rustix::fs::{FlockOperation, StatVfsMountFlags};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, SqliteConnection};

use crate::faults::Faults;
use crate::ids::Id;
use crate::limits::StoreLimits;
use crate::store::engine::{self, Connection, Pool, Row, trouble};
use crate::store::making::NotMade;
use crate::store::migrate::SCHEMA_VERSION;
use crate::store::upgrade::{self, Upgrade, Upgraded};
use crate::store::{rows, sql};
use crate::time::Timestamp;

/// KiB of pages that the writer keeps in memory.
const CACHE_KIB_MAX: u32 = 4 << 10;
/// Connections that read at the same time. They are opened when they are needed first.
const READERS_MAX: u32 = 3;
/// KiB of pages that one of them keeps in memory.
const READER_CACHE_KIB_MAX: u32 = 1 << 10;
/// Rows, each as large as a value may be, that SQLite's thread reads before they are asked for.
const ROWS_AHEAD_MAX: usize = 8;
/// For how long a read waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The database file; beside it lie `-wal`, `-shm` and `.lock`.
    pub path: PathBuf,
    /// Bytes to which the log is cut after a checkpoint, and from which on one is made.
    pub wal_bytes_max: u64,
    /// The most that a script may use, whatever the instance allowed when it was deployed.
    pub run: RunLimits,
    /// Where a copy goes before the store is brought to a newer schema.
    pub backups: PathBuf,
    /// Bytes that such a copy leaves free on the disk of the store.
    pub free_bytes_min: u64,
    pub faults: Faults,
}

impl StoreConfig {
    pub fn at(path: impl Into<PathBuf>) -> StoreConfig {
        let path = path.into();
        StoreConfig {
            backups: folder_of(&path).join("backups"),
            path,
            wal_bytes_max: 4 << 20,
            run: RunLimits::default(),
            free_bytes_min: StoreLimits::default().free_bytes_min,
            faults: Faults::default(),
        }
    }
}

/// Why the store could not be opened, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is no store {}: correct [store] url, or name the configuration with --config", .0.display())]
    NoStore(PathBuf),
    #[error("folder {} of the store does not exist: create it, or correct [store] url", .0.display())]
    NoFolder(PathBuf),
    #[error("{} is no file: [store] url has to name the database file itself", .0.display())]
    NotAFile(PathBuf),
    #[error("store {} may not be read and written by this user: give it and its folder to the daemon's user", .0.display())]
    NotAllowed(PathBuf),
    #[error("store {} is on a read-only file system: remount it writable", .0.display())]
    ReadOnly(PathBuf),
    #[error("store {} is in use by another daemon: stop that one first", .0.display())]
    InUse(PathBuf),
    #[error("{} is not a database: move it away, or restore a backup", .0.display())]
    NotADatabase(PathBuf),
    #[error("{} is a database of another program: [store] url has to name PiCloud's own file", .0.display())]
    Foreign(PathBuf),
    #[error(
        "store {} has schema {version}, this daemon knows schemas up to {SCHEMA_VERSION}: install a newer picloud, or {}",
        .path.display(), way_back(.backup.as_deref(), .folder)
    )]
    Newer { path: PathBuf, version: i64, backup: Option<PathBuf>, folder: PathBuf },
    #[error(
        "store {} has schema {version} and was left as it is: a copy of it is kept before it is brought to schema {SCHEMA_VERSION}, which needs {needed} bytes in {}, where {free} are free: make room there, or name a folder of another disk in [backups] directory, then start again",
        .path.display(), .folder.display()
    )]
    NoRoom { path: PathBuf, version: i64, folder: PathBuf, needed: u64, free: u64 },
    #[error(
        "store {} has schema {version} and was left as it is: the copy that is kept before it is brought to schema {SCHEMA_VERSION} could not be made",
        .path.display()
    )]
    NotCopied { path: PathBuf, version: i64, source: Box<NotMade> },
    #[error("store {} is damaged ({found}): it was left as it is, restore a backup", .path.display())]
    Damaged { path: PathBuf, found: String },
    #[error(
        "SQLite {found} can damage the store, at least {SQLITE_OLDEST} is needed: build picloud with the bundled SQLite"
    )]
    OldSqlite { found: String },
    #[error("store {}: {doing} failed", .path.display())]
    Sql { path: PathBuf, doing: &'static str, source: sqlx::Error },
    #[error("store {}: {doing} failed", .path.display())]
    Io { path: PathBuf, doing: &'static str, source: std::io::Error },
}

/// What is left to somebody whose picloud is too old for the store.
fn way_back(backup: Option<&Path>, folder: &Path) -> String {
    match backup {
        Some(backup) => format!("restore {}, which was taken before the upgrade", backup.display()),
        None => format!("restore a backup from before the upgrade ({} has none)", folder.display()),
    }
}

/// SQLite from 3.7.0 to 3.51.2 can damage a file in WAL mode when two connections use it.
pub const SQLITE_OLDEST: &str = "3.51.3";

/// The file, open for writing and locked against a second daemon.
pub struct Store {
    pub(crate) conn: Connection,
    pub(crate) config: StoreConfig,
    pub(crate) owner: Id,
    pub(crate) counter_ceiling: i64,
    pub(crate) lock: Lock,
    /// Whether the last daemon stopped in order and knew the file to be whole; otherwise the edge runs
    /// `Reader::quick_check` after it is ready.
    pub was_clean: bool,
    /// The newest time that is stored, or 0: it is not earlier now.
    pub newest: Timestamp,
    /// When it was brought to a newer schema last, if it ever was.
    pub upgraded: Option<Upgraded>,
}

/// The file, open, locked and of the schema of this daemon. Nobody is told yet that it is in use.
pub(super) struct Prepared {
    pub(super) conn: Connection,
    pub(super) lock: Lock,
    pub(super) upgrade: Option<Upgrade>,
}

impl Store {
    /// Whether nothing has ever been configured in it.
    pub fn is_new(&self) -> bool {
        self.counter_ceiling == 1
    }

    /// Opens, checks and migrates the file, or creates it. `owner` is the random id of this start of the daemon, and has
    /// its time.
    pub async fn open(config: StoreConfig, owner: Id) -> Result<Store, StoreError> {
        let path = config.path.clone();
        let fail = |doing| move |source: sqlx::Error| named(&path, doing, source);
        let Prepared { mut conn, lock, .. } = prepare(&config, owner.time()).await?;
        let meta = engine::query(sql::META).fetch_one(&mut conn).await;
        let meta = meta.map_err(fail.clone()("reading its schema"))?;
        let (counter_ceiling, was_clean, upgraded) =
            read_meta(&meta).map_err(fail.clone()("reading its schema"))?;
        let newest = newest(&mut conn).await.map_err(fail.clone()("reading its times"))?;
        let started = engine::query(sql::META_START).execute(&mut conn).await;
        started.map_err(fail("writing to it"))?;
        Ok(Store { conn, config, owner, counter_ceiling, lock, was_clean, newest, upgraded })
    }

    /// Closes it as if a daemon had died: whoever opened it only to look has put nothing in order.
    pub async fn let_go(self) {
        // A failure to close what nobody needs any more changes nothing.
        drop(self.conn.close().await);
    }
}

fn read_meta(meta: &Row) -> Result<(i64, bool, Option<Upgraded>), sqlx::Error> {
    let (from, at) = (meta.opt_int(2)?, meta.opt_int(3)?);
    let upgraded = from.zip(at).map(|(from, at)| Upgraded { from, at: Timestamp(at) });
    Ok((meta.int(0)?, meta.int(1)? == 1, upgraded))
}

/// Locks the file, refuses what it must before anything is changed, and brings it up to date.
pub(super) async fn prepare(config: &StoreConfig, now: Timestamp) -> Result<Prepared, StoreError> {
    let path = &config.path;
    check_place(path)?;
    let lock = lock(path)?;
    let fail = |doing| move |source: sqlx::Error| named(path, doing, source);
    let version = upgrade::version_of(config).await?;
    let upgrade = upgrade::back_up(config, version, now).await?;
    let options = connect_options(config).create_if_missing(true);
    let mut conn = options.connect().await.map_err(fail("opening it"))?;
    let sqlite = sqlx::query_scalar::<_, String>("-- sqlite_version\nSELECT sqlite_version()");
    let sqlite = sqlite.fetch_one(&mut conn).await;
    check_version(sqlite.map_err(fail("asking SQLite's version"))?)?;
    set_up(&mut conn, config).await.map_err(fail("setting it up"))?;
    let mut conn = Connection::from(conn);
    upgrade::migrate(&mut conn, config, version, now).await?;
    Ok(Prepared { conn, lock, upgrade })
}

/// The newest time of what was made, fired, changed or given up. Each is the end of an index.
async fn newest(conn: &mut Connection) -> Result<Timestamp, sqlx::Error> {
    let row = engine::query(sql::NEWEST).fetch_one(conn).await?;
    let ids = [rows::opt_id(&row, 0)?, rows::opt_id(&row, 1)?, rows::opt_id(&row, 2)?];
    let times = [rows::opt_time(&row, 3)?, rows::opt_time(&row, 4)?];
    let all = ids.into_iter().flatten().map(Id::time).chain(times.into_iter().flatten());
    Ok(all.max().unwrap_or_default())
}

/// The options that all connections share.
pub(crate) fn connect_options(config: &StoreConfig) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(&config.path)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging()
}

/// Connections that read. Opens none yet, and must be called within a runtime.
pub(crate) fn readers(config: &StoreConfig) -> Pool {
    let options = connect_options(config)
        .read_only(true)
        .pragma("cache_size", format!("-{READER_CACHE_KIB_MAX}"))
        .pragma("mmap_size", "0")
        .row_buffer_size(ROWS_AHEAD_MAX);
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .min_connections(0)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options);
    Pool::from(pool)
}

/// Bytes left for the store on its file system.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder_of(path)).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether the store can go on for those who read, although this error is fatal otherwise: its file system has turned
/// read-only under way, and nothing is lost that had been promised.
pub(crate) fn goes_on_reading(path: &Path, error: &sqlx::Error) -> bool {
    !trouble::is_failed_flush(error) && is_read_only(path)
}

/// Whether the file system of the store is mounted read-only now, or refuses writes as if it were: where the kernel has found an
/// error it may not say so in the mount's flags.
fn is_read_only(path: &Path) -> bool {
    let is_mounted_so = rustix::fs::statvfs(folder_of(path))
        .is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    let refuses = || {
        let opened = File::options().write(true).open(beside(path, ".lock"));
        opened.is_err_and(|error| error.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
    };
    is_mounted_so || refuses()
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

/// A file beside the store's, named after it.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Root may have made what the daemon's user has to write.
pub(crate) fn give_to_owner_of_folder(path: &Path) -> std::io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (folder, own) = (std::fs::metadata(folder_of(path))?, std::fs::metadata(path)?);
    if (folder.uid(), folder.gid()) == (own.uid(), own.gid()) {
        return Ok(());
    }
    chown(path, Some(folder.uid()), Some(folder.gid()))
}

fn check_place(path: &Path) -> Result<(), StoreError> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(StoreError::NoFolder(folder.to_owned()));
    }
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(StoreError::NotAFile(path.to_owned())),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(named_io(path, "looking at it", error)),
    }
}

/// The lock of a store.
#[derive(Debug)]
pub(crate) struct Lock(File);

/// Closing the file is not enough: a process that is just being started has it, too, until it becomes another program.
impl Drop for Lock {
    fn drop(&mut self) {
        // Without it the lock is free a little later.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Held until it is dropped. A file of its own, since closing any handle of the database file would release
/// SQLite's locks on it.
pub(crate) fn lock(path: &Path) -> Result<Lock, StoreError> {
    let name = beside(path, ".lock");
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).open(&name);
    let file = file.map_err(|error| named_io(&name, "opening its lock file", error))?;
    give_to_owner_of_folder(&name)
        .map_err(|error| named_io(&name, "giving its lock file to its owner", error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse(path.to_owned())),
        Err(error) => Err(named_io(&name, "locking it", error.into())),
    }
}

fn check_version(found: String) -> Result<(), StoreError> {
    if is_new_enough(&found, SQLITE_OLDEST) { Ok(()) } else { Err(StoreError::OldSqlite { found }) }
}

/// Compares versions number by number; what is no number counts as 0.
fn is_new_enough(found: &str, oldest: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        text.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    numbers(found) >= numbers(oldest)
}

async fn set_up(conn: &mut SqliteConnection, config: &StoreConfig) -> Result<(), sqlx::Error> {
    // The first takes effect only before the first table and before the log is turned on.
    let pragmas = format!(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = {}; \
         PRAGMA journal_size_limit = {}; PRAGMA mmap_size = 0; PRAGMA cache_size = -{CACHE_KIB_MAX}; \
         PRAGMA wal_autocheckpoint = 0; PRAGMA busy_timeout = 250; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF",
        config.faults.synchronous(),
        config.wal_bytes_max,
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(pragmas)).execute(conn).await.map(drop)
}

/// Gives an error of SQLite the words that say what to do.
pub(crate) fn named(path: &Path, doing: &'static str, source: sqlx::Error) -> StoreError {
    let path = path.to_owned();
    if trouble::is_not_a_database(&source) {
        return StoreError::NotADatabase(path);
    }
    if trouble::is_corrupt(&source) {
        return StoreError::Damaged { path, found: source.to_string() };
    }
    if is_read_only(&path) {
        return StoreError::ReadOnly(path);
    }
    match trouble::of(&source, trouble::Stage::Statement) {
        trouble::Trouble::ReadOnly => StoreError::NotAllowed(path),
        trouble::Trouble::Full | trouble::Trouble::Fatal | trouble::Trouble::Statement => {
            StoreError::Sql { path, doing, source }
        }
    }
}

fn named_io(path: &Path, doing: &'static str, source: std::io::Error) -> StoreError {
    let path = path.to_owned();
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => StoreError::NotAllowed(path),
        std::io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(path),
        _ => StoreError::Io { path, doing, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_let_go_is_free_although_a_process_being_started_has_its_file() {
        let folder = tempfile::tempdir().expect("makes a folder");
        let path = folder.path().join("store.db");
        let held = lock(&path).expect("is free");
        let _of_the_other = held.0.try_clone().expect("is duplicated");
        assert!(matches!(lock(&path), Err(StoreError::InUse(_))));
        drop(held);
        lock(&path).expect("is free again");
    }
}
