//! `picloud-tui`, beside the daemon that it is tested with.

use std::process::ExitCode;

fn main() -> ExitCode {
    picloud_tui::console::main()
}
