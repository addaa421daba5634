//! Requests through routes.

use std::time::Instant;

use anyhow::Result;
use picloud_tests::measure::figure::{Base, Round, Target, Unit};
use picloud_tests::measure::load::{Request, Until};

use super::{Case, Profiled, Rounds, line, ratio};
use crate::base::CONNECTIONS;
use crate::daemon::{Daemon, bench_app, body};
use crate::ground::Ground;
use crate::shim::Disk;

pub const SYNC_READ: Case = Case {
    name: "sync-read",
    title: "A sync route with a read-only script of one line.",
    bases: &[Base::AxumAnswers, Base::AxumCpu],
    lines: &[
        ratio("cpu", "processor time a request", Base::AxumCpu, Target::AtMost(3.0)),
        ratio("answers", "answers", Base::AxumAnswers, Target::AtLeast(0.60)),
        line("p50", "p50", Unit::Millis, Target::Open),
        line("p99", "p99", Unit::Millis, Target::Open),
    ],
    rounds: Rounds::AsAsked,
    profiled: Profiled::Yes,
    round: sync_read,
};

fn sync_read(ground: &Ground) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::AsItIs)?;
    daemon.deploy(&bench_app())?;
    let request = Request::get("/bench/hello");
    daemon.load(&request, Until::Sent(2_000), CONNECTIONS)?.all(200)?;
    let before = daemon.process().cpu()?;
    let answers = daemon.full_load(&request, 200)?;
    let spent = daemon.process().cpu()?.saturating_sub(before);
    daemon.stop()?;
    Ok(vec![
        ("cpu", spent.as_secs_f64() * 1e6 / answers.count() as f64),
        ("answers", answers.per_second()),
        ("p50", answers.times.median_ms()),
        ("p99", answers.times.p99_ms()),
    ])
}

pub const SYNC_WRITE: Case = Case {
    name: "sync-write",
    title: "A sync route whose script writes one key, which fires one trigger. All is durable before the answer; \
            the time ends when the last trigger's run is settled.",
    bases: &[Base::Fdatasync],
    lines: &[
        ratio("settled", "answers, triggers settled", Base::Fdatasync, Target::AtLeast(3.0)),
        line("answers", "answers alone", Unit::PerSecond, Target::Open),
        line("p50", "p50", Unit::Millis, Target::Open),
        line("p99", "p99", Unit::Millis, Target::Open),
    ],
    rounds: Rounds::AsAsked,
    profiled: Profiled::Yes,
    round: |ground| posted(ground, "/bench/write", 200),
};

pub const ASYNC: Case = Case {
    name: "async",
    title: "An async route whose script writes one key: 202 when the row is durable. 64 producers; the settled time \
            ends when the last run is settled, durable at both ends.",
    bases: &[Base::Fdatasync],
    lines: &[
        ratio("answers", "202s", Base::Fdatasync, Target::AtLeast(3.0)),
        ratio(
            "settled",
            "steady: accepted, run and settled",
            Base::Fdatasync,
            Target::AtLeast(4.0),
        ),
        line("p50", "p50 of the 202", Unit::Millis, Target::Open),
        line("p99", "p99 of the 202", Unit::Millis, Target::Open),
    ],
    rounds: Rounds::AsAsked,
    profiled: Profiled::Yes,
    round: |ground| posted(ground, "/bench/work", 202),
};

fn posted(ground: &Ground, path: &str, status: u16) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::AsItIs)?;
    daemon.deploy(&bench_app())?;
    let request = Request::post(path, &body());
    daemon.load(&request, Until::Sent(2_000), CONNECTIONS)?.all(status)?;
    daemon.wait_until_empty()?;
    let started = Instant::now();
    let answers = daemon.full_load(&request, status)?;
    daemon.wait_until_empty()?;
    let elapsed = started.elapsed();
    daemon.stop()?;
    Ok(vec![
        ("settled", answers.count() as f64 / elapsed.as_secs_f64()),
        ("answers", answers.per_second()),
        ("p50", answers.times.median_ms()),
        ("p99", answers.times.p99_ms()),
    ])
}
