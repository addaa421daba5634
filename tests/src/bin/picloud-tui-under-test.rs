//! `picloud-tui` as the tests run it.

use std::process::ExitCode;

fn main() -> ExitCode {
    picloud_tui::console::main()
}
