//! The simulation: real flows, decisions and store, a scripted executor and a clock of its own.
//!
//! A seed makes a list of operations; after each batch and each start what the store's file says is compared with an
//! independent history. No threads of its own and nothing of chance but the seed, so a seed that fails fails again.

pub mod apps;
pub mod ledger;
pub mod operations;
pub mod reference;
pub mod script;
pub mod snapshot;
pub mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use picloud_daemon::faults::Bug;

use ledger::Violation;
use operations::Operation;
use world::{Hits, World};

/// A seed that breaks a promise, with the operations that led there.
#[derive(Debug)]
pub struct Broken {
    pub seed: u64,
    pub violation: Violation,
    /// How many operations had been done, and the last of them.
    pub step: usize,
    pub tail: Vec<Operation>,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "seed {} breaks after {} operations: {}",
            self.seed, self.step, self.violation
        )?;
        for operation in &self.tail {
            writeln!(f, "    {operation:?}")?;
        }
        Ok(())
    }
}

/// Where simulations run: in memory where there is a file system in memory, since they sync at every commit.
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(place).expect("a folder for temporary files is writable")
}

/// What a seed met on its way.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How often each crash point was hit, in the order of `CrashPoint::ALL`.
    pub hits: Hits,
    pub seen: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        for (sum, hits) in self.hits.iter_mut().zip(other.hits) {
            *sum += hits;
        }
        for (what, times) in &other.seen {
            *self.seen.entry(what).or_default() += times;
        }
    }
}

/// One thread's simulations: a runtime, a folder and the image of a store.
pub struct Stage {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    image: Vec<u8>,
}

impl Stage {
    pub fn set() -> Stage {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be built");
        let folder = folder();
        let image = runtime.block_on(apps::store_image(folder.path()));
        Stage { runtime, folder, image }
    }

    /// Plays one seed to its end.
    pub fn play(&self, seed: u64, bug: Option<Bug>) -> Result<Tally, Box<Broken>> {
        let base: PathBuf = self.folder.path().join(format!("seed-{seed}"));
        std::fs::create_dir(&base).expect("the folder is ours");
        let result = self.runtime.block_on(play(seed, &self.image, &base, bug));
        std::fs::remove_dir_all(&base).expect("the folder is ours");
        result
    }
}

async fn play(
    seed: u64,
    image: &[u8],
    base: &Path,
    bug: Option<Bug>,
) -> Result<Tally, Box<Broken>> {
    let list = operations::list(seed);
    let mut world = World::begin(seed, image, base, bug).await;
    let broken = |step: usize, violation| {
        let tail = list[step.saturating_sub(20)..step.min(list.len())].to_vec();
        Box::new(Broken { seed, violation, step, tail })
    };
    for (place, operation) in list.iter().enumerate() {
        let done = world.step(*operation).await;
        done.map_err(|violation| broken(place + 1, violation))?;
    }
    world.drain().await.map_err(|violation| broken(list.len(), violation))?;
    Ok(Tally { hits: world.hits(), seen: world.seen().clone() })
}
