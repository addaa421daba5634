//! What reaches the disk, and what a slow one costs.

use anyhow::Result;
use picloud_tests::measure::figure::{Base, Round, Target, Unit};
use picloud_tests::measure::load::{Request, Until};

use super::{Case, Profiled, Rounds, line, queue, ratio};
use crate::base::CONNECTIONS;
use crate::daemon::{Daemon, bench_app, body};
use crate::ground::Ground;
use crate::shim::Disk;

pub const FSYNCS: Case = Case {
    name: "fsyncs",
    title: "Calls of fsync and fdatasync a job on an async route, accept and settle together, counted in the \
            daemon's process.",
    bases: &[],
    lines: &[
        line("many", "fsyncs a job, 64 connections", Unit::Plain, Target::AtMost(0.2)),
        line("one", "fsyncs a job, 1 connection", Unit::Plain, Target::AtMost(2.0)),
    ],
    rounds: Rounds::AsAsked,
    profiled: Profiled::No,
    round: fsyncs,
};

fn fsyncs(ground: &Ground) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::Counted)?;
    daemon.deploy(&bench_app())?;
    let a_job = |connections: u32, jobs: i64| -> Result<f64> {
        let before = ground.shim.count()?;
        let until = Until::Sent(jobs.unsigned_abs());
        let request = Request::post("/bench/work", &body());
        let answers = daemon.load(&request, until, connections)?.all(202)?;
        daemon.wait_until_empty()?;
        Ok((ground.shim.count()? - before) as f64 / answers.count() as f64)
    };
    let many = a_job(CONNECTIONS, ground.options.size(20_000, 5_000))?;
    let one = a_job(1, ground.options.size(2_000, 500))?;
    daemon.stop()?;
    Ok(vec![("many", many), ("one", one)])
}

pub const SLOW_FSYNC: Case = Case {
    name: "slow-fsync",
    title: "Each fsync 10 ms slower, as on a card.",
    bases: &[Base::SlowFdatasync],
    lines: &[
        ratio("202s", "202s, settled behind", Base::SlowFdatasync, Target::AtLeast(45.0)),
        line("202s_p50", "p50 of the 202", Unit::Millis, Target::AtMost(16.0)),
        ratio("writes", "sync writes", Base::SlowFdatasync, Target::AtLeast(45.0)),
        line("writes_p50", "p50 of the sync write", Unit::Millis, Target::AtMost(16.0)),
        ratio("rows", "drain", Base::SlowFdatasync, Target::AtLeast(200.0)),
    ],
    rounds: Rounds::AsAsked,
    profiled: Profiled::No,
    round: slow_fsync,
};

fn slow_fsync(ground: &Ground) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::Slow)?;
    daemon.deploy(&bench_app())?;
    let load = |path: &str, status: u16| {
        let answers = daemon.full_load(&Request::post(path, &body()), status)?;
        daemon.wait_until_empty()?;
        anyhow::Ok((answers.per_second(), answers.times.median_ms()))
    };
    let (accepted, accepted_p50) = load("/bench/work", 202)?;
    let (writes, writes_p50) = load("/bench/write", 200)?;
    daemon.stop()?;
    let mut round = queue::drain(ground, Disk::Slow)?;
    round.extend([
        ("202s", accepted),
        ("202s_p50", accepted_p50),
        ("writes", writes),
        ("writes_p50", writes_p50),
    ]);
    Ok(round)
}
