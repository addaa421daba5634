//! The library that counts a program's fsyncs and makes them slower.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use picloud_tests::preload;

/// What `slow` cases add to each fsync.
pub const DELAY_US: u32 = 10_000;

#[derive(Clone, Debug)]
pub struct Shim {
    library: PathBuf,
    counter: PathBuf,
}

/// What a program's fsyncs cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    AsItIs,
    /// Each fsync takes [`DELAY_US`] longer.
    Slow,
    /// As it is, and the calls are counted.
    Counted,
}

impl Shim {
    /// Compiles it with the C compiler that linked this program.
    pub fn build(folder: &Path) -> Result<Shim> {
        let library = preload::build(folder, "sync_shim", include_str!("sync_shim.c"))
            .context("cannot build the library that counts fsyncs")?;
        Ok(Shim { library, counter: folder.join("syncs") })
    }

    pub fn apply(&self, disk: Disk, command: &mut Command) -> Result<()> {
        match disk {
            Disk::AsItIs => return Ok(()),
            Disk::Slow => command.env("PICLOUD_SYNC_DELAY_US", DELAY_US.to_string()),
            Disk::Counted => {
                fs::write(&self.counter, [0; 8])?;
                command.env("PICLOUD_SYNC_COUNT", &self.counter)
            }
        };
        command.env("LD_PRELOAD", &self.library);
        Ok(())
    }

    /// Calls so far of the program that was started last with [`Disk::Counted`].
    pub fn count(&self) -> Result<u64> {
        let bytes = fs::read(&self.counter)?;
        Ok(u64::from_ne_bytes(bytes.try_into().ok().context("the counter has 8 bytes")?))
    }
}
