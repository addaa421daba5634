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

/// Lines such as `    12.34%  [.] sqlite3VdbeExec`. All of the kernel, `[k]`, becomes one.
fn parse(report: &str) -> Vec<(f64, String)> {
    let mut kernel = 0.0;
    let mut functions = Vec::new();
    for (share, place, name) in report.lines().filter_map(parse_line) {
        if place == "[k" {
            kernel += share;
        } else {
            functions.push((share, name));
        }
    }
    functions.truncate(FUNCTIONS);
    if kernel > 0.0 {
        functions.push((kernel, "the kernel".to_owned()));
    }
    functions.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    functions
}

fn parse_line(line: &str) -> Option<(f64, &str, String)> {
    let (share, rest) = line.trim().split_once('%')?;
    let (place, name) = rest.trim().split_once("] ")?;
    // Some versions of perf append empty columns.
    let name = name.split("  ").next().unwrap_or(name).trim();
    Some((share.parse().ok()?, place, name.chars().take(NAME_MAX).collect()))
}
