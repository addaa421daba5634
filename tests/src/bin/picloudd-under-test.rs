//! `picloudd` with its fault points.

use std::process::ExitCode;

use picloud_daemon::args::{Surroundings, main_with};

fn main() -> ExitCode {
    main_with(&Surroundings::of_this_process())
}
