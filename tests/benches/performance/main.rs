//! Measures every figure of speed and of the board, each against base lines of the same run, and writes
//! `docs/performance.md`.
//!
//! `cargo bench -p picloud-tests --bench performance -- --help` names the options and the cases.
#![allow(clippy::disallowed_methods, reason = "a benchmark is about real time and real processes")]
#![allow(
    unreachable_pub,
    reason = "a program has no interface; `pub` here means other modules of it"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to who started it")]

mod base;
mod cases;
mod daemon;
mod ground;
mod options;
mod profile;
mod shim;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use picloud_daemon::store::bench::sqlite_version;
use picloud_tests::measure::figure::{Base, BaseSample, Measured, Round, Verdict, summarise};
use picloud_tests::measure::machine;
use picloud_tests::measure::report::{CaseReport, Report, markdown, taken_again};

use crate::cases::Case;
use crate::ground::Ground;
use crate::options::Extent;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some(base::SERVE) => base::serve_constant().map(|()| ExitCode::SUCCESS),
        Some(base::SYNC_LOOP) => base::sync_loop(&arguments[1..]).map(|()| ExitCode::SUCCESS),
        Some(base::SQLITE_LOOP) => base::sqlite_loop(&arguments[1..]).map(|()| ExitCode::SUCCESS),
        _ => measure(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("performance: {error:#}");
        ExitCode::FAILURE
    })
}

fn measure(arguments: &[String]) -> Result<ExitCode> {
    // Cargo starts a benchmark in its package; paths that people name are seen from the workspace.
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
    let options = options::parse(arguments)?;
    if options.lists_only {
        print!("{}", options::help(&cases::ALL));
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = options.choose(&cases::ALL)?;
    let ground = Ground::prepare(options)?;
    let machine = describe(&ground)?;
    let mut bases = Vec::new();
    let mut reports = Vec::new();
    for case in chosen {
        eprintln!("{} …", case.name);
        let mut report = run_case(&ground, case, &mut bases);
        show(&report);
        for _ in 0..QUICK_REPEATS {
            if ground.options.extent == Extent::Full || !is_bad(&report) {
                break;
            }
            report = run_case(&ground, case, &mut bases);
            show(&report);
        }
        reports.push(report);
    }
    let report = Report {
        date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        machine,
        how: ground.options.how(),
        bases,
        cases: reports,
    };
    publish(&ground, &report)?;
    let fails = ground.options.extent == Extent::Quick && report.cases.iter().any(is_bad);
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How often a quick run takes a bad case again: what is bad once may be the machine's noise.
const QUICK_REPEATS: u32 = 2;

/// Syncs a second up to which what is counted in them says something about us: the targets were set on disks of 2,600 to 2,800.
/// On a faster one the processor is what limits, and a figure by the disk is small however good it is.
const SYNCS_JUDGED_MAX: f64 = 3_000.0;

/// Not measured to its end, or worse than half a target. What is counted by several base lines is so only by each of them.
fn is_bad(report: &CaseReport) -> bool {
    let is_far = |one: &Measured| one.verdict() == Verdict::FarMissed;
    let is_near_by_another = |one: &Measured| {
        let others = report.measured.iter().filter(|other| other.line.value == one.line.value);
        others
            .map(Measured::verdict)
            .any(|verdict| matches!(verdict, Verdict::Met | Verdict::Missed))
    };
    let is_bad =
        |one: &Measured| is_far(one) && !is_near_by_another(one) && !is_by_a_fast_disk(one);
    report.failure.is_some() || report.measured.iter().any(is_bad)
}

fn is_by_a_fast_disk(one: &Measured) -> bool {
    let syncs =
        summarise(&one.values).zip(one.judged()).map(|(value, by)| value.median / by.median);
    one.line.per == Some(Base::Fdatasync) && syncs.is_some_and(|syncs| syncs > SYNCS_JUDGED_MAX)
}

fn describe(ground: &Ground) -> Result<machine::Description> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut lines = machine::describe(&ground.folder);
    lines.push(("SQLite", runtime.block_on(sqlite_version())?));
    Ok(lines)
}

/// Runs a case's rounds. What goes wrong in one ends the case, not the run.
fn run_case(ground: &Ground, case: &Case, bases: &mut Vec<BaseSample>) -> CaseReport {
    let mut measured: Vec<Measured> = case.lines.iter().copied().map(Measured::new).collect();
    let failure = run_rounds(ground, case, bases, &mut measured).err();
    let profile = match &failure {
        None if case.profiled == cases::Profiled::Yes => ground.profile_of(case),
        None | Some(_) => Vec::new(),
    };
    CaseReport {
        name: case.name,
        title: case.title,
        measured,
        failure: failure.map(|error| format!("{error:#}")),
        notes: ground.take_notes(),
        profile,
    }
}

fn run_rounds(
    ground: &Ground,
    case: &Case,
    bases: &mut Vec<BaseSample>,
    measured: &mut [Measured],
) -> Result<()> {
    let mut before = ground.base_lines(case.bases)?;
    bases.push(before.clone());
    for _ in 0..ground.options.rounds_of(case) {
        let round: Round = (case.round)(ground)?;
        let after = ground.base_lines(case.bases)?;
        bases.push(after.clone());
        for one in &mut *measured {
            one.take(&round, &before, &after);
        }
        before = after;
    }
    Ok(())
}

/// What is known so far, for who watches.
fn show(report: &CaseReport) {
    for one in &report.measured {
        let Some(value) = summarise(&one.values) else { continue };
        let base = one.line.per.map(|base| format!(" {}", base.symbol())).unwrap_or_default();
        let ratio = match (one.line.per, one.judged()) {
            (Some(_), Some(ratio)) => format!(" = {:.3}{base}", ratio.median),
            (Some(_), None) | (None, _) => String::new(),
        };
        let value = one.line.unit.show(value.median);
        eprintln!("  {}: {value}{ratio} ({:?})", one.line.title, one.verdict());
    }
    for note in &report.notes {
        eprintln!("  {note}");
    }
    if let Some(failure) = &report.failure {
        eprintln!("  not measured to its end: {failure}");
    }
}

/// A whole run writes the documentation, a part or a quick run prints its page.
fn publish(ground: &Ground, report: &Report) -> Result<()> {
    let Some(file) = ground.options.page() else {
        let page = markdown(report);
        print!("{page}");
        return Ok(());
    };
    let page = if ground.options.again {
        let known = fs::read_to_string(&file);
        taken_again(&known.with_context(|| format!("cannot read {}", file.display()))?, report)?
    } else {
        markdown(report)
    };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("wrote {}", shown(&file));
    Ok(())
}

fn shown(file: &Path) -> String {
    file.canonicalize().unwrap_or_else(|_| file.to_owned()).display().to_string()
}
