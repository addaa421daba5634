//! `picloud-tui`, the console.

use std::process::ExitCode;

fn main() -> ExitCode {
    picloud_tui::console::main()
}
