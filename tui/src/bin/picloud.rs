//! `picloud`, the command line.

use std::process::ExitCode;

use picloud_tui::cli::main_with;
use picloud_tui::cli::surroundings::Surroundings;

fn main() -> ExitCode {
    main_with(&Surroundings::of_this_process())
}
