//! Making one backup: copied under a name that is none, looked through, on the disk, and only then put in its place.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::faults::{CrashPoint, Faults};
use crate::store::backup::{self, Content, CopyError, Halt};
use crate::store::open::{StoreConfig, beside, free_bytes};
use crate::time::Timestamp;

/// How often the disk and the log are looked at while a copy is made. What is written meanwhile goes to the disk then, so
/// that no commit has to wait for all of it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A backup that is to be made.
pub struct Making {
    pub store: StoreConfig,
    /// Where it is until it is done.
    pub part: PathBuf,
    pub target: PathBuf,
    pub log_bytes_max: u64,
    pub free_bytes_min: u64,
    pub faults: Faults,
}

/// A backup that is in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    pub bytes: u64,
    pub content: Content,
}

/// Why there is no backup. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    #[error("the daemon was stopped")]
    Stopping,
    #[error("the log of the store grew to {0} bytes meanwhile: repeat it when less is written")]
    LogGrew(u64),
    #[error("the disk of {} filled up meanwhile: make room, then repeat it", .0.display())]
    DiskFull(PathBuf),
    #[error("{}: {doing} failed: {source}", .path.display())]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
    #[error(transparent)]
    Copy(CopyError),
}

/// Bytes that a backup needs on its disk, and those that are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub needed: u64,
    pub free: u64,
}

/// `None` when the disk does not say. On the disk of the store, `free_bytes_min` stays free.
pub fn room(store: &Path, folder: &Path, free_bytes_min: u64) -> Option<Room> {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let store_bytes = length(store) + length(&log_of(store));
    let needed = store_bytes + kept_free(store, there, free_bytes_min);
    Some(Room { needed, free: free_bytes(&there.join("file"))? })
}

fn kept_free(store: &Path, folder: &Path, free_bytes_min: u64) -> u64 {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    if device(store) == device(folder) { free_bytes_min } else { 0 }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

fn log_of(store: &Path) -> PathBuf {
    beside(store, "-wal")
}

impl Making {
    /// Makes it. `ended` is asked for the time that the file shall bear.
    pub async fn make(
        &self,
        stop: &CancellationToken,
        ended: impl Fn() -> Timestamp,
    ) -> Result<Made, NotMade> {
        let made = self.make_part(stop, ended).await;
        if made.is_err() {
            let rests = [self.part.clone(), journal_of(&self.part)];
            // It may not have come so far; what stays is removed by the next start.
            let removed = move || drop(rests.map(fs::remove_file));
            drop(tokio::task::spawn_blocking(removed).await);
        }
        made
    }

    async fn make_part(
        &self,
        stop: &CancellationToken,
        ended: impl Fn() -> Timestamp,
    ) -> Result<Made, NotMade> {
        let part = self.part.clone();
        self.blocking("making it", move || begin(&part)).await?;
        self.step();
        let halt = Halt::default();
        let copying = backup::copy(&self.store, &self.part, &halt);
        self.watched(copying, &halt, stop).await?;
        self.step();
        let content = self.watched(backup::verify(&self.part, &halt), &halt, stop).await?;
        let (part, target, ended) = (self.part.clone(), self.target.clone(), ended());
        let bytes = self.blocking("writing it", move || seal(&part, ended)).await?;
        self.step();
        let part = self.part.clone();
        self.blocking("putting it in its place", move || place(&part, &target)).await?;
        Ok(Made { bytes, content })
    }

    /// A test may let the process die here.
    fn step(&self) {
        self.faults.crashes(CrashPoint::InBackup);
    }

    /// Waits for what reads, and halts it when it must not go on.
    pub(crate) async fn watched<T>(
        &self,
        reading: impl Future<Output = Result<T, CopyError>>,
        halt: &Halt,
        stop: &CancellationToken,
    ) -> Result<T, NotMade> {
        tokio::pin!(reading);
        let log_bytes_max = self.log_bytes_max.max(length(&log_of(&self.store.path)));
        let mut why = None;
        let read = loop {
            tokio::select! {
                read = &mut reading => break read,
                () = stop.cancelled(), if why.is_none() => why = Some(NotMade::Stopping),
                () = tokio::time::sleep(LOOK_EVERY), if why.is_none() => {
                    why = self.look(log_bytes_max).await;
                }
            }
            if why.is_some() {
                halt.now();
            }
        };
        match (read, why) {
            (Ok(read), None) => Ok(read),
            (_, Some(why)) => Err(why),
            (Err(CopyError::Full), None) => Err(NotMade::DiskFull(self.part.clone())),
            (Err(error), None) => Err(NotMade::Copy(error)),
        }
    }

    /// What stands against going on, if something does.
    async fn look(&self, log_bytes_max: u64) -> Option<NotMade> {
        let (store, part) = (self.store.path.clone(), self.part.clone());
        let free_bytes_min = self.free_bytes_min;
        let looked = tokio::task::spawn_blocking(move || {
            // Only to spread the work; whether all is on the disk is found out at the end.
            drop(File::open(&part).and_then(|file| file.sync_data()));
            let folder = part.parent().unwrap_or(Path::new("."));
            let kept_free = kept_free(&store, folder, free_bytes_min);
            let log_bytes = length(&log_of(&store));
            (log_bytes, free_bytes(&part).is_some_and(|free| free < kept_free))
        });
        match looked.await {
            Ok((log_bytes, _)) if log_bytes > log_bytes_max => Some(NotMade::LogGrew(log_bytes)),
            Ok((_, true)) => Some(NotMade::DiskFull(self.part.clone())),
            Ok((_, false)) => None,
            Err(_) => Some(NotMade::Stopping),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, NotMade> {
        let done = tokio::task::spawn_blocking(work).await.map_err(|_| NotMade::Stopping)?;
        done.map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull => NotMade::DiskFull(self.part.clone()),
            _ => NotMade::Io { path: self.part.clone(), doing, source },
        })
    }
}

/// SQLite's own file beside one that it writes.
fn journal_of(part: &Path) -> PathBuf {
    beside(part, "-journal")
}

/// Makes the folder, if it is not there, and an empty file that nobody else may read.
fn begin(part: &Path) -> io::Result<()> {
    if let Some(folder) = part.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    File::options().write(true).create_new(true).mode(0o600).open(part).map(drop)
}

/// Gives the file its time, and brings all of it to the disk. Returns its length.
fn seal(part: &Path, ended: Timestamp) -> io::Result<u64> {
    let file = File::options().write(true).open(part)?;
    let since_1970 = Duration::from_millis(u64::try_from(ended.0).unwrap_or(0));
    file.set_modified(std::time::UNIX_EPOCH + since_1970)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Durable once it returns. It replaces nothing.
fn place(part: &Path, target: &Path) -> io::Result<()> {
    if fs::symlink_metadata(target).is_ok() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists));
    }
    fs::rename(part, target)?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    let synced = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
    if synced.is_err() {
        // What failed is not there.
        drop(fs::remove_file(target));
    }
    synced
}
