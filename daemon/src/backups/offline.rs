//! `picloudd backup` and `picloudd restore`: the same copies, without a daemon that is asked for them.
//!
//! A backup is taken as one more reader of the store, whether a daemon runs or not. A restore needs the place of the store
//! to itself, and replaces nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::faults::Faults;
use crate::limits::StoreLimits;
use crate::store::making::{Made, Making, NotMade, room};
use crate::store::naming::{Kind, Named, name_of, part_of};
use crate::store::open::{self, StoreConfig, StoreError, beside, folder_of};
use crate::time::Timestamp;

/// Why nothing was copied. What was there before is there still.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    #[error("there is no store {}: correct [store] url, or name the configuration with --config", .0.display())]
    NoStore(PathBuf),
    #[error("there is no file {}", .0.display())]
    NoFile(PathBuf),
    #[error("{} is there already: name another file", .0.display())]
    FileTaken(PathBuf),
    #[error(
        "store {} is there already, and is not replaced: stop the daemon, move the store away with its -wal and -shm, then repeat it",
        .0.display()
    )]
    StoreTaken(PathBuf),
    #[error("{} has {free} bytes free, {needed} are needed: make room, then repeat it", .target.display())]
    NoRoom { target: PathBuf, needed: u64, free: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NotMade(#[from] NotMade),
    #[error("{} cannot be given to the owner of its folder: {source}", .path.display())]
    Owner { path: PathBuf, source: io::Error },
}

/// Copies the store into a new file; given a folder, into one of it that is named after the time. Says which it was.
pub async fn back_up(
    store: &Path,
    to: &Path,
    limits: &StoreLimits,
    now: Timestamp,
) -> Result<(PathBuf, Made), NotDone> {
    let target = if to.is_dir() { to.join(named(now)) } else { to.to_owned() };
    if !store.is_file() {
        return Err(NotDone::NoStore(store.to_owned()));
    }
    if fs::symlink_metadata(&target).is_ok() {
        return Err(NotDone::FileTaken(target));
    }
    let made = copied(store, &target, limits, now).await?;
    Ok((target, made))
}

/// Makes the store what a backup of it has. It must not be there, and is given to the owner of its folder.
pub async fn restore(
    store: &Path,
    from: &Path,
    limits: &StoreLimits,
    now: Timestamp,
) -> Result<Made, NotDone> {
    if !from.is_file() {
        return Err(NotDone::NoFile(from.to_owned()));
    }
    let _until_the_end = open::lock(store)?;
    let is_there = |path: &PathBuf| fs::symlink_metadata(path).is_ok();
    if [store.to_owned(), beside(store, "-wal"), beside(store, "-journal")].iter().any(is_there) {
        return Err(NotDone::StoreTaken(store.to_owned()));
    }
    let made = copied(from, store, limits, now).await?;
    let owned = open::give_to_owner_of_folder(store);
    owned.map_err(|source| NotDone::Owner { path: store.to_owned(), source })?;
    Ok(made)
}

async fn copied(
    from: &Path,
    target: &Path,
    limits: &StoreLimits,
    now: Timestamp,
) -> Result<Made, NotDone> {
    let room = room(from, folder_of(target), limits.free_bytes_min);
    if let Some(room) = room.filter(|room| room.free < room.needed) {
        let target = target.to_owned();
        return Err(NotDone::NoRoom { target, needed: room.needed, free: room.free });
    }
    let making = Making {
        store: StoreConfig::at(from),
        part: PathBuf::from(part_of(&target.display().to_string())),
        target: target.to_owned(),
        log_bytes_max: limits.backup_log_bytes_max,
        free_bytes_min: limits.free_bytes_min,
        faults: Faults::default(),
    };
    // Of one that was broken off.
    drop(fs::remove_file(&making.part));
    Ok(making.make(&CancellationToken::new(), || now).await?)
}

fn named(now: Timestamp) -> String {
    name_of(Named { begun_at: now, kind: Kind::Ordinary })
}
