//! `picloudd` with its fault points.

use std::process::ExitCode;

use picloud_daemon::args::{Surroundings, main_with};

/// As in the real one: without it no script could hold too much.
#[global_allocator]
static ALLOCATOR: picloud_scripts_runtime::memory::CountingAllocator =
    picloud_scripts_runtime::memory::CountingAllocator;

fn main() -> ExitCode {
    main_with(Surroundings::of_this_process())
}
