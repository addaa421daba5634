//! Backups: whole copies of the store in a folder, the newest few of them.
//!
//! A file of the folder that has the name of a backup is one, looked through and on the disk. What is still being made, or
//! was when the daemon died, has another name. What runs and what failed is known to memory alone.

pub mod offline;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::faults::{CrashPoint, Faults};
use crate::limits::StoreLimits;
use crate::log::{field, message};
use crate::store::making::{Making, NotMade, room};
use crate::store::naming::{self, Kind, Named, names_in, part_of};
use crate::store::open::StoreConfig;
use crate::time::{Clock, Timestamp};

/// Backups that failed and are still shown.
const FAILED_MAX: usize = 10;

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    pub name: String,
    pub begun_at: Timestamp,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Running { bytes: u64 },
    Done { bytes: u64, took_ms: i64 },
    Failed { error: String, took_ms: i64 },
}

/// Why no backup is begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    #[error("backup {0} is running")]
    Running(String),
    #[error("a backup needs {needed} bytes in {}, which has {free} free", .folder.display())]
    NoRoom { folder: PathBuf, needed: u64, free: u64 },
    #[error("the daemon is stopping")]
    Stopping,
}

/// All backups of this daemon.
pub struct Backups {
    store: StoreConfig,
    folder: PathBuf,
    limits: StoreLimits,
    clock: Arc<dyn Clock>,
    faults: Faults,
    known: Mutex<Known>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

/// What no file tells.
#[derive(Default)]
struct Known {
    running: Option<Begun>,
    /// The newest last.
    failed: VecDeque<Backup>,
}

#[derive(Clone, Debug)]
struct Begun {
    name: String,
    at: Timestamp,
    monotonic: Duration,
}

/// The one backup that may run. Dropping it makes way for the next.
pub struct Turn {
    backups: Arc<Backups>,
    begun: Begun,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.backups.known().running = None;
    }
}

impl Turn {
    pub fn name(&self) -> &str {
        &self.begun.name
    }

    pub fn begun_at(&self) -> Timestamp {
        self.begun.at
    }
}

impl Backups {
    /// Removes what is left of one that was broken off.
    pub fn open(
        store: StoreConfig,
        folder: PathBuf,
        limits: StoreLimits,
        clock: Arc<dyn Clock>,
        faults: Faults,
    ) -> Arc<Backups> {
        for (rest, error) in naming::remove_rests(&folder) {
            let error = error.to_string();
            tracing::warn!({ field::BACKUP } = rest, { field::ERROR } = error, "a rest stays");
        }
        let (known, stop, tracker) =
            (Mutex::default(), CancellationToken::new(), TaskTracker::new());
        Arc::new(Backups { store, folder, limits, clock, faults, known, stop, tracker })
    }

    pub fn path_of(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::path::absolute(&path).unwrap_or(path)
    }

    /// All backups, the newest first. Looks at the folder, which may take its time.
    pub fn list(&self) -> Vec<Backup> {
        let (running, failed) = {
            let known = self.known();
            (known.running.clone(), known.failed.clone())
        };
        let is_running = |name: &str| running.as_ref().is_some_and(|begun| begun.name == *name);
        let mut all: Vec<Backup> =
            done_in(&self.folder).into_iter().filter(|one| !is_running(&one.name)).collect();
        all.extend(failed);
        if let Some(Begun { name, at, .. }) = running {
            let part = fs::metadata(self.folder.join(part_of(&name)));
            let bytes = part.map_or(0, |found| found.len());
            all.push(Backup { name, begun_at: at, state: State::Running { bytes } });
        }
        all.sort_by(|a, b| b.name.cmp(&a.name));
        all
    }

    /// Takes the turn, if there is nobody before and room for one more. Looks at the disk, which may take its time.
    pub fn take_turn(self: &Arc<Self>) -> Result<Turn, NotBegun> {
        if self.stop.is_cancelled() {
            return Err(NotBegun::Stopping);
        }
        let room = room(&self.store.path, &self.folder, self.limits.free_bytes_min);
        if let Some(room) = room.filter(|room| room.free < room.needed) {
            let folder = self.folder.clone();
            return Err(NotBegun::NoRoom { folder, needed: room.needed, free: room.free });
        }
        let taken: Vec<String> = names_in(&self.folder);
        let mut known = self.known();
        if let Some(begun) = &known.running {
            return Err(NotBegun::Running(begun.name.clone()));
        }
        let is_taken = |name: &str| {
            let failed = || known.failed.iter().map(|failed| &failed.name);
            taken.iter().chain(failed()).any(|taken| taken == name)
        };
        let wanted = Named { begun_at: self.clock.now(), kind: Kind::Ordinary };
        let (name, at) = naming::free_name(wanted, is_taken);
        let begun = Begun { name, at, monotonic: self.clock.monotonic() };
        known.running = Some(begun.clone());
        drop(known);
        Ok(Turn { backups: Arc::clone(self), begun })
    }

    /// Makes the backup in the background.
    pub fn begin(self: &Arc<Self>, turn: Turn) {
        self.tracker.spawn(Arc::clone(self).make(turn));
    }

    async fn make(self: Arc<Self>, turn: Turn) {
        let (name, part) = (turn.name().to_owned(), part_of(turn.name()));
        let making = Making {
            store: self.store.clone(),
            part: self.folder.join(part),
            target: self.folder.join(&name),
            log_bytes_max: self.limits.backup_log_bytes_max,
            free_bytes_min: self.limits.free_bytes_min,
            faults: self.faults.clone(),
        };
        let begun = turn.begun.clone();
        let took = || {
            let took = self.clock.monotonic().saturating_sub(begun.monotonic);
            i64::try_from(took.as_millis()).unwrap_or(i64::MAX)
        };
        let made = making.make(&self.stop, || begun.at.plus_ms(took())).await;
        match made {
            Ok(made) => {
                tracing::info!(
                    { field::MESSAGE_ID } = message::BACKUP_DONE.0,
                    { field::BACKUP } = name,
                    { field::BYTES } = made.bytes,
                    { field::TOOK_MS } = took(),
                    { field::ROWS } = made.content.rows,
                    { field::ENTRIES } = made.content.entries,
                    "a backup is done"
                );
                // Nobody hears of it before the kernel is through: the oldest go first.
                self.let_go_of_the_oldest().await;
            }
            Err(NotMade::Stopping) => {
                tracing::info!({ field::BACKUP } = name, "a backup is given up: the daemon stops");
            }
            Err(error) => {
                let error = error.to_string();
                tracing::error!(
                    { field::MESSAGE_ID } = message::BACKUP_FAILED.0,
                    { field::BACKUP } = name,
                    { field::ERROR } = error,
                    "a backup failed"
                );
                let state = State::Failed { error, took_ms: took() };
                let mut known = self.known();
                known.failed.push_back(Backup { name, begun_at: begun.at, state });
                if known.failed.len() > FAILED_MAX {
                    known.failed.pop_front();
                }
            }
        }
        drop(turn);
    }

    async fn let_go_of_the_oldest(&self) {
        let (folder, kept_max) = (self.folder.clone(), self.limits.kept_backups_max);
        let (faults, warn) = (self.faults.clone(), |name: &str, error: io::Error| {
            let error = error.to_string();
            tracing::warn!({ field::BACKUP } = name, { field::ERROR } = error, "an old one stays");
        });
        let removed = tokio::task::spawn_blocking(move || {
            faults.crashes(CrashPoint::InBackup);
            for old in surplus(&done_in(&folder), kept_max) {
                if let Err(error) = fs::remove_file(folder.join(&old.name)) {
                    warn(&old.name, error);
                }
            }
        });
        // It only fails when the runtime is going; then the next backup makes up for it.
        drop(removed.await);
    }

    /// Gives up what runs, and begins nothing any more.
    pub fn give_up(&self) {
        self.stop.cancel();
        self.tracker.close();
    }

    /// Waits until what was given up has let go of the store.
    pub async fn ended(&self) {
        self.tracker.wait().await;
    }

    /// Nothing panics while holding it.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The backups that are done, the oldest first.
pub(crate) fn done_in(folder: &Path) -> Vec<Backup> {
    let done = |name: String| {
        let begun_at = naming::named(&name)?.begun_at;
        let found = fs::symlink_metadata(folder.join(&name)).ok().filter(fs::Metadata::is_file)?;
        let ended = found.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        let ended = Timestamp(i64::try_from(ended.as_millis()).unwrap_or(i64::MAX));
        let took_ms = ended.ms_since(begun_at).max(0);
        Some(Backup { name, begun_at, state: State::Done { bytes: found.len(), took_ms } })
    };
    let mut all: Vec<Backup> = names_in(folder).into_iter().filter_map(done).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Those that go, of all that are done, the oldest first. What was copied before an upgrade is not among them.
fn surplus(done: &[Backup], kept_max: usize) -> Vec<&Backup> {
    let is_ordinary =
        |one: &&Backup| naming::named(&one.name).is_some_and(|named| named.kind == Kind::Ordinary);
    let ordinary: Vec<&Backup> = done.iter().filter(is_ordinary).collect();
    let kept = ordinary.len().min(kept_max);
    ordinary[..ordinary.len() - kept].to_vec()
}

#[cfg(test)]
mod tests;
