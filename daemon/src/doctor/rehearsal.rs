//! A backup is worth what its restore is: the newest one is restored into a folder of its own beside the store, opened, looked
//! through and counted, and removed again.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use picloud_api::health::Check;

use crate::backups::offline::{self, NotDone};
use crate::backups::{self, Backup};
use crate::config::Config;
use crate::doctor::{AS_ROOT, State, check};
use crate::ids::Ids;
use crate::store::backup::{self, Content, CopyError, Halt};
use crate::store::making::room;
use crate::store::open::{Store, StoreConfig, StoreError, folder_of};
use crate::time::Clock;

/// How long all of it may take.
const REHEARSAL_MAX: Duration = Duration::from_secs(3_600);
/// What the folder's name begins with; behind it is the number of the process.
const FOLDER: &str = ".picloud-rehearsal-";

/// The folder, which goes with this value.
struct Stage(PathBuf);

impl Stage {
    /// Removes those of processes that are no more.
    fn beside(store: &Path) -> io::Result<Stage> {
        let place = folder_of(store);
        for entry in fs::read_dir(place)?.filter_map(Result::ok) {
            let name = entry.file_name();
            let process = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
            if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let stage = place.join(format!("{FOLDER}{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&stage)?;
        Ok(Stage(stage))
    }

    fn store(&self) -> PathBuf {
        self.0.join("picloud.db")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What stays is removed by the next one.
        let _rest = fs::remove_dir_all(&self.0);
    }
}

/// Why it did not come to an end.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    NotRestored(#[from] NotDone),
    #[error(transparent)]
    NotRead(#[from] CopyError),
    #[error(transparent)]
    NotOpened(#[from] StoreError),
    #[error("of {} entries and documents and {} rows that wait, {} and {} are left", .0.entries, .0.rows, .1.entries, .1.rows)]
    Differs(Content, Content),
}

/// Only of a store that is one.
pub(super) async fn play(config: &Config, clock: &dyn Clock) -> Check {
    let newest = newest(config);
    let source = match &newest {
        Some(backup) => config.backup_folder().join(&backup.name),
        None => config.store.path.clone(),
    };
    let shown = newest.map_or_else(|| "a fresh copy of the store".to_owned(), |one| one.name);
    let free_bytes_min = config.limits.store.free_bytes_min;
    if let Some(room) = room(&source, folder_of(&config.store.path), free_bytes_min)
        && room.free < room.needed
    {
        let text = format!(
            "{shown} cannot be restored to try it: that takes {} bytes, {} are free",
            room.needed, room.free
        );
        return check("rehearsal", State::Warn, text, Some("make room, or add --no-rehearsal"));
    }
    let stage = match Stage::beside(&config.store.path) {
        Ok(stage) => stage,
        Err(error) => {
            let text = format!("{shown} cannot be restored to try it: {error}");
            return check("rehearsal", State::Warn, text, Some(AS_ROOT));
        }
    };
    let begun = clock.monotonic();
    let played =
        tokio::time::timeout(REHEARSAL_MAX, restored(config, &source, &stage, clock)).await;
    let took = clock.monotonic().saturating_sub(begun).as_secs_f64();
    match played {
        Ok(Ok(Content { rows, entries, .. })) => {
            let text = format!(
                "{shown} was restored beside the store in {took:.1} s and is whole: {entries} entries and documents, {rows} rows that wait"
            );
            check("rehearsal", State::Ok, text, None)
        }
        Ok(Err(failed)) => {
            let text = format!("{shown} cannot be restored: {failed}");
            let remedy = "take a new backup, and keep the older ones: picloud backups start";
            check("rehearsal", State::Bad, text, Some(remedy))
        }
        Err(_) => {
            let text = format!("{shown} was not restored within {} s", REHEARSAL_MAX.as_secs());
            check("rehearsal", State::Warn, text, Some("repeat it when the card has less to do"))
        }
    }
}

fn newest(config: &Config) -> Option<Backup> {
    backups::done_in(&config.backup_folder()).pop()
}

async fn restored(
    config: &Config,
    source: &Path,
    stage: &Stage,
    clock: &dyn Clock,
) -> Result<Content, Failed> {
    let now = clock.now();
    let copied = offline::restore(&stage.store(), source, &config.limits.store, now).await?;
    if *source != config.store.path {
        same(backup::verify(source, &Halt::default()).await?, copied.content)?;
    }
    // As the next start would, also where that brings it up to date first.
    let opening = StoreConfig { free_bytes_min: 0, ..StoreConfig::at(stage.store()) };
    Store::open(opening, Ids::random().next(now)).await?.let_go().await;
    let opened = backup::verify(&stage.store(), &Halt::default()).await?;
    same(copied.content, opened)?;
    Ok(opened)
}

fn same(before: Content, after: Content) -> Result<(), Failed> {
    if (before.rows, before.entries) == (after.rows, after.entries) {
        return Ok(());
    }
    Err(Failed::Differs(before, after))
}
