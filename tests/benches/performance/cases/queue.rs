//! The outbox: working off a backlog, and how soon a row starts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use picloud_tests::measure::figure::{Base, Round, Target, Unit};
use picloud_tests::measure::histogram::Histogram;
use picloud_tests::measure::load::{Pace, Request, Until};

use super::{Case, Profiled, Rounds, line, ratio};
use crate::base::CONNECTIONS;
use crate::daemon::{Daemon, bench_app, body};
use crate::ground::Ground;
use crate::shim::Disk;

pub const DRAIN: Case = Case {
    name: "drain",
    title: "50,000 rows that were accepted while the app was paused (quick: 5,000); from resume to an empty outbox. \
            Each run writes one key.",
    bases: &[Base::Fdatasync, Base::Sqlite],
    lines: &[
        ratio("rows", "rows settled", Base::Fdatasync, Target::AtLeast(10.0)),
        ratio("rows", "rows settled, to SQLite alone", Base::Sqlite, Target::AtLeast(0.3)),
        line("accepted", "202s while paused", Unit::PerSecond, Target::Open),
    ],
    rounds: Rounds::AsAsked,
    profiled: Profiled::Yes,
    round: |ground| drain(ground, Disk::AsItIs),
};

pub fn drain(ground: &Ground, disk: Disk) -> Result<Round> {
    let daemon = Daemon::start(ground, disk)?;
    daemon.deploy(&bench_app())?;
    let round = fill_and_drain(ground, &daemon)?;
    daemon.stop()?;
    Ok(round)
}

/// Fills the paused app with rows and measures from resume to empty.
pub fn fill_and_drain(ground: &Ground, daemon: &Daemon) -> Result<Round> {
    let rows = ground.options.size(50_000, 5_000);
    daemon.pause("bench")?;
    let (request, until) =
        (Request::post("/bench/work", &body()), Until::Sent(rows.unsigned_abs()));
    let accepted = daemon.load(&request, until, CONNECTIONS)?.all(202)?;
    let waiting = daemon.rows()?;
    ensure!(waiting == rows, "{rows} rows were accepted, {waiting} wait");
    let started = Instant::now();
    daemon.resume("bench")?;
    daemon.wait_until_empty()?;
    let elapsed = started.elapsed();
    Ok(vec![("rows", rows as f64 / elapsed.as_secs_f64()), ("accepted", accepted.per_second())])
}

/// Rows a second while the start is timed.
const RATE: u32 = 200;

pub const START_LATENCY: Case = Case {
    name: "start-latency",
    title: "From the hand-over of a committed row to the start of its run, 200 rows a second, as the daemon's own \
            executions say (`queued_us`, from its monotonic clock).",
    bases: &[],
    lines: &[
        line("p50", "p50", Unit::Millis, Target::AtMost(0.2)),
        line("p99", "p99", Unit::Millis, Target::AtMost(5.0)),
        line("answer_p50", "p50 of the 202, as the client sees it", Unit::Millis, Target::Open),
    ],
    rounds: Rounds::AsAsked,
    profiled: Profiled::No,
    round: start_latency,
};

fn start_latency(ground: &Ground) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::AsItIs)?;
    daemon.deploy(&bench_app())?;
    let request = Request::post("/bench/work", &body());
    // No longer than the daemon's memory of executions.
    let until = Until::Passed(ground.options.time.min(Duration::from_secs(5)));
    let answers = daemon.paced_load(&request, until, 8, Pace::PerSecond(RATE))?.all(202)?;
    daemon.wait_until_empty()?;
    let page = daemon.admin("GET", "/executions?app=bench&limit=1000", None)?;
    let items = page["items"].as_array().context("GET /executions has no items")?;
    let mut times = Histogram::default();
    for item in items {
        let micros = item["queued_us"].as_u64().context("an execution has no queued_us")?;
        times.record(Duration::from_micros(micros));
    }
    let seen = times.count();
    ensure!(
        seen * 10 >= answers.count().min(1_000) * 9,
        "{} rows ran, the daemon remembers {seen}",
        answers.count()
    );
    daemon.stop()?;
    Ok(vec![
        ("p50", times.median_ms()),
        ("p99", times.p99_ms()),
        ("answer_p50", answers.times.median_ms()),
    ])
}
