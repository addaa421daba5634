//! `picloud console` and `picloud open`: the console in the place of this process.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::cli::CliError;
use crate::cli::ids::{self, List};
use crate::client::{Client, Place};

/// The console's program.
const PROGRAM: &str = "picloud-tui";

/// Opens it, at the thing with this id if there is one.
pub(super) async fn run(client: &Client, id: Option<&str>) -> Result<(), CliError> {
    let mut command = Command::new(program());
    match client.place() {
        Place::Socket(path) => command.arg("--socket").arg(path),
        place @ Place::Address(_) => command.arg("--url").arg(place.to_string()),
    };
    if let Some(token) = client.token() {
        // Among the arguments other users would see it.
        command.env("PICLOUD_TOKEN", token);
    }
    if let Some(id) = id {
        command.arg(ids::whole(client, id, List::ALL).await?);
    }
    Err(CliError::Console(command.exec()))
}

/// The one beside this program, which is of the same version, or else whichever there is.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(PROGRAM));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM))
}

/// What to do when it could not be started.
pub(super) fn hint(error: &io::Error) -> Option<&'static str> {
    (error.kind() == io::ErrorKind::NotFound).then_some("sudo apt install picloud-tui")
}
