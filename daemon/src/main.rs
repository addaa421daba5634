//! `picloudd`.

use std::process::ExitCode;

use picloud_daemon::args::{Surroundings, main_with};

/// Counts what scripts hold, so that one that wants too much can be stopped.
#[global_allocator]
static ALLOCATOR: picloud_scripts_runtime::memory::CountingAllocator =
    picloud_scripts_runtime::memory::CountingAllocator;

fn main() -> ExitCode {
    main_with(Surroundings::of_this_process())
}
