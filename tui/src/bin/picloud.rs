//! `picloud`, the command line.

use std::process::ExitCode;

use picloud_tui::cli::{Surroundings, main_with};

fn main() -> ExitCode {
    main_with(&Surroundings::of_this_process())
}
