//! The composition: store, dispatcher and listeners put together, and taken apart again when the process is told to stop.

use std::path::Path;

use crate::config::Config;
use crate::log::Look;

/// How to start.
pub struct Start {
    pub config: Config,
    pub pausing: Pausing,
    pub look: Look,
}

/// Whether the instance starts paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pausing {
    AsStored,
    FromTheStart,
}

pub fn run(_start: Start) -> anyhow::Result<()> {
    anyhow::bail!("being written")
}

pub fn demo(_config: Config, _port: u16, _dir: Option<&Path>, _look: Look) -> anyhow::Result<()> {
    anyhow::bail!("being written")
}
