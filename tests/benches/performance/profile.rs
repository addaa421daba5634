//! Where the processor's time goes, by perf.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Functions shown.
const FUNCTIONS: usize = 15;
/// Characters of a function's name.
const NAME_MAX: usize = 110;

/// Samples a process until [`end`].
pub fn begin(process: u32, file: &Path) -> Result<Child> {
    Command::new("perf")
        .args(["record", "-q", "-F", "499", "-p", &process.to_string(), "-o"])
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("perf is not installed")
}

pub fn end(mut perf: Child) -> Result<()> {
    if let Some(pid) = Pid::from_raw(perf.id().cast_signed()) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::INT);
    }
    perf.wait()?;
    Ok(())
}

/// The functions that took most of the samples, in percent.
pub fn hottest(file: &Path) -> Result<Vec<(f64, String)>> {
    let output = Command::new("perf")
        .args(["report", "--stdio", "--no-children", "-g", "none", "--sort", "symbol", "-i"])
        .arg(file)
        .stderr(Stdio::null())
        .output()
        .context("perf is not installed")?;
    let lines = parse(&String::from_utf8_lossy(&output.stdout));
    if lines.is_empty() {
        bail!("perf saw nothing");
    }
    Ok(lines)
}

/// Lines such as `    12.34%  [.] sqlite3VdbeExec`, `[k]` for the kernel.
fn parse(report: &str) -> Vec<(f64, String)> {
    let line = |line: &str| {
        let (share, rest) = line.trim().split_once('%')?;
        let (kind, name) = rest.trim().split_once(']')?;
        let kernel = if kind.ends_with('k') { "kernel: " } else { "" };
        let name: String = name.trim().chars().take(NAME_MAX).collect();
        Some((share.parse().ok()?, format!("{kernel}{name}")))
    };
    report.lines().filter_map(line).take(FUNCTIONS).collect()
}
