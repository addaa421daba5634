//! Bringing an older store up to date: a copy that is kept, in its place before anything is changed, then one migration
//! after the other.
//!
//! Killed anywhere, the file has the schema of before or of after a migration, and the next start goes on from there.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::faults::CrashPoint;
use crate::log::{field, message};
use crate::store::engine::Connection;
use crate::store::look;
use crate::store::making::{Making, room};
use crate::store::migrate::{self, Found, SCHEMA_VERSION};
use crate::store::naming::{self, Kind, Named};
use crate::store::open::{self, StoreConfig, StoreError, named};
use crate::time::Timestamp;

/// Copies of before an upgrade that are kept.
pub const KEPT_MAX: usize = 2;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    pub from: i64,
    /// The store as it was before.
    pub backup: PathBuf,
}

/// When the store was upgraded last, and from which schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgraded {
    pub from: i64,
    pub at: Timestamp,
}

/// Brings the store up to date without a daemon. `None`: nothing was to be done.
pub async fn offline(config: &StoreConfig, now: Timestamp) -> Result<Option<Upgrade>, StoreError> {
    if !config.path.exists() {
        return Err(StoreError::NoStore(config.path.clone()));
    }
    let prepared = open::prepare(config, now).await?;
    let closing = |source| named(&config.path, "closing it", source);
    prepared.conn.close().await.map_err(closing)?;
    Ok(prepared.upgrade)
}

/// The schema of the file, 0 if it is empty. Refuses files of others and of newer daemons; changes nothing.
pub(super) async fn version_of(config: &StoreConfig) -> Result<i64, StoreError> {
    let path = config.path.clone();
    match look::schema(&path).await? {
        Found::Empty => Ok(0),
        Found::Foreign => Err(StoreError::Foreign(path)),
        Found::Schema { version, oldest_daemon } if oldest_daemon > SCHEMA_VERSION => {
            let folder = config.backups.clone();
            let backup = look::newest_before_upgrade(&folder).await;
            Err(StoreError::Newer { path, version, backup, folder })
        }
        Found::Schema { version, .. } => Ok(version),
    }
}

/// Copies a store of an older schema to the backups. `None`: it is not older, or empty.
pub(super) async fn back_up(
    config: &StoreConfig,
    version: i64,
    now: Timestamp,
) -> Result<Option<Upgrade>, StoreError> {
    if !(1..SCHEMA_VERSION).contains(&version) {
        return Ok(None);
    }
    let (path, folder) = (config.path.clone(), config.backups.clone());
    // Of a start that was killed; they may be all the room there is.
    for (rest, error) in naming::remove_rests(&folder) {
        let error = error.to_string();
        tracing::warn!({ field::BACKUP } = rest, { field::ERROR } = error, "a rest stays");
    }
    if let Some(room) = room(&path, &folder, config.free_bytes_min).filter(|it| it.free < it.needed)
    {
        return Err(StoreError::NoRoom {
            path,
            version,
            folder,
            needed: room.needed,
            free: room.free,
        });
    }
    let given = |source| StoreError::Io { path: folder.clone(), doing: "making it", source };
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.and_then(|()| open::give_to_owner_of_folder(&folder)).map_err(given)?;
    let wanted = Named { begun_at: now, kind: Kind::BeforeSchema(SCHEMA_VERSION) };
    let (name, _) = naming::free_name(wanted, |name| folder.join(name).exists());
    let making = Making {
        store: config.clone(),
        part: folder.join(naming::part_of(&name)),
        target: folder.join(&name),
        // Nobody writes to it meanwhile.
        log_bytes_max: u64::MAX,
        free_bytes_min: config.free_bytes_min,
        faults: config.faults.clone(),
    };
    let made = making.make(&CancellationToken::new(), || now).await;
    let made = made.map_err(|source| {
        let (path, source) = (path.clone(), Box::new(source));
        StoreError::NotCopied { path, version, source }
    })?;
    open::give_to_owner_of_folder(&making.target).map_err(given)?;
    let bytes = made.bytes;
    tracing::info!(
        { field::MESSAGE_ID } = message::MIGRATION_BEGUN.0,
        { field::BACKUP } = name,
        { field::BYTES } = bytes,
        "the store is copied before its upgrade"
    );
    let_go_of_the_oldest(&folder);
    config.faults.crashes(CrashPoint::InUpgrade);
    Ok(Some(Upgrade { from: version, backup: making.target }))
}

fn let_go_of_the_oldest(folder: &Path) {
    let mut names = naming::names_in(folder);
    names.retain(|name| {
        naming::named(name).is_some_and(|named| matches!(named.kind, Kind::BeforeSchema(_)))
    });
    names.sort_unstable();
    let surplus = names.len().saturating_sub(KEPT_MAX);
    for old in &names[..surplus] {
        if let Err(error) = fs::remove_file(folder.join(old)) {
            let error = error.to_string();
            tracing::warn!({ field::BACKUP } = old, { field::ERROR } = error, "an old one stays");
        }
    }
}

/// Makes an empty file a store, or an older store one of this schema.
pub(super) async fn migrate(
    conn: &mut Connection,
    config: &StoreConfig,
    version: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let failed = |source| named(&config.path, "bringing its schema up to date", source);
    migrate::run(conn, version, now, &config.faults).await.map_err(failed)?;
    if (1..SCHEMA_VERSION).contains(&version) {
        tracing::info!(
            { field::MESSAGE_ID } = message::MIGRATION_DONE.0,
            { field::SCHEMA } = SCHEMA_VERSION,
            "the store is upgraded"
        );
    }
    Ok(())
}
