//! What a deep outbox costs those who have to do with it.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use picloud_daemon::store::bench::claim_micros;
use picloud_tests::measure::figure::{Round, Target, Unit};
use picloud_tests::measure::histogram::Histogram;
use picloud_tests::measure::load::Request;

use super::{Case, Profiled, Rounds, line};
use crate::daemon::{Daemon, bench_app, other_app};
use crate::ground::{self, Ground};
use crate::shim::Disk;

const MILLION: i64 = 1_000_000;

/// Rows of one claim.
const CLAIM_ROWS: usize = 100;

pub const CLAIM_COST: Case = Case {
    name: "claim-cost",
    title: "A batch that claims 100 rows of a backlog, commit included, through the library (quick: of 20,000 and 50,000 \
            rows instead of 100,000 and 1,000,000).",
    bases: &[],
    lines: &[
        line("1k", "1,000 rows waiting", Unit::Micros, Target::Open),
        line("100k", "100,000 rows waiting", Unit::Micros, Target::Open),
        line("1m", "1,000,000 rows waiting", Unit::Micros, Target::Open),
        line("growth", "dearest by cheapest", Unit::Plain, Target::AtMost(1.2)),
    ],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::No,
    round: claim_cost,
};

fn claim_cost(ground: &Ground) -> Result<Round> {
    let mut round = Round::new();
    for (name, full, quick) in
        [("1k", 1_000, 1_000), ("100k", 100_000, 20_000), ("1m", MILLION, 50_000)]
    {
        let store = ground.copy_of(&ground.backlog(ground.options.size(full, quick), 0)?)?;
        round.push((name, ground::block_on(claim_micros(&store, CLAIM_ROWS))??));
    }
    let cost = |(_, micros): &(&str, f64)| *micros;
    let dearest = round.iter().map(cost).fold(f64::MIN, f64::max);
    let cheapest = round.iter().map(cost).fold(f64::MAX, f64::min);
    round.push(("growth", dearest / cheapest));
    Ok(round)
}

pub const LISTS: Case = Case {
    name: "lists",
    title: "Pages of 100 of the outbox and of the dead letters, one after the other from the newest on, each on a \
            connection of its own; 1,000,000 rows and 100,000 dead letters (quick: 20,000 and 2,000).",
    bases: &[],
    lines: &[
        line("outbox_p99", "outbox, p99", Unit::Millis, Target::AtMost(20.0)),
        line("letters_p99", "dead letters, p99", Unit::Millis, Target::AtMost(20.0)),
        line("outbox_p50", "outbox, p50", Unit::Millis, Target::Open),
        line("letters_p50", "dead letters, p50", Unit::Millis, Target::Open),
    ],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::No,
    round: lists,
};

fn lists(ground: &Ground) -> Result<Round> {
    let (rows, letters) =
        (ground.options.size(MILLION, 20_000), ground.options.size(100_000, 2_000));
    let store = ground.copy_of(&ground.backlog(rows, letters)?)?;
    let daemon = Daemon::start_on(ground, store, Disk::AsItIs)?;
    let pages = ground.options.size(500, 15);
    let outbox = walk(&daemon, "/outbox", pages)?;
    let letters = walk(&daemon, "/dead-letters", pages)?;
    daemon.stop()?;
    Ok(vec![
        ("outbox_p99", outbox.p99_ms()),
        ("letters_p99", letters.p99_ms()),
        ("outbox_p50", outbox.median_ms()),
        ("letters_p50", letters.median_ms()),
    ])
}

fn walk(daemon: &Daemon, list: &str, pages: i64) -> Result<Histogram> {
    let mut times = Histogram::default();
    let mut path = format!("{list}?limit=100");
    for page in 0..pages {
        let started = Instant::now();
        let answer = daemon.admin("GET", &path, None)?;
        times.record(started.elapsed());
        let items = answer["items"].as_array().context("a list has items")?.len();
        ensure!(items == 100, "page {page} of {list} has {items} items");
        let next = answer["next"].as_str().context("a list with more pages has a cursor")?;
        path = format!("{list}?limit=100&after={next}");
    }
    Ok(times)
}

pub const NEIGHBOUR: Case = Case {
    name: "neighbour",
    title: "p99 of one app's sync route at 64 connections, without and with another app's backlog of 1,000,000 rows \
            being worked off (quick: 50,000).",
    bases: &[],
    lines: &[
        line("growth", "p99 with the backlog by p99 without", Unit::Plain, Target::AtMost(2.0)),
        line("without", "p99 without", Unit::Millis, Target::Open),
        line("with", "p99 with", Unit::Millis, Target::Open),
        line("rows", "rows of the backlog settled meanwhile", Unit::PerSecond, Target::Open),
    ],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::Yes,
    round: neighbour,
};

fn neighbour(ground: &Ground) -> Result<Round> {
    let rows = ground.options.size(MILLION, 50_000);
    let request = Request::get("/other/hello");
    let daemon = Daemon::start(ground, Disk::AsItIs)?;
    daemon.deploy(&bench_app())?;
    daemon.deploy(&other_app())?;
    let without = daemon.full_load(&request, 200)?.times.p99_ms();
    daemon.stop()?;
    let store = ground.copy_of(&ground.backlog(rows, 0)?)?;
    let daemon = Daemon::start_on(ground, store, Disk::AsItIs)?;
    daemon.deploy(&other_app())?;
    let started = Instant::now();
    daemon.resume("bench")?;
    let with = daemon.full_load(&request, 200)?.times.p99_ms();
    let (left, elapsed) = (daemon.rows()?, started.elapsed());
    if left == 0 {
        ground.note(format!("The backlog was gone before the load ended, after {elapsed:.1?}."));
    }
    drop(daemon);
    Ok(vec![
        ("growth", with / without),
        ("without", without),
        ("with", with),
        ("rows", (rows - left) as f64 / elapsed.as_secs_f64()),
    ])
}
