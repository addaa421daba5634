//! `packaging-files DIR` writes the man pages and completions that packages carry.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

fn main() -> anyhow::Result<ExitCode> {
    let folder = std::env::args_os().nth(1).context("name the folder to write into")?;
    picloud_tests::manuals::write(&PathBuf::from(folder))?;
    Ok(ExitCode::SUCCESS)
}
