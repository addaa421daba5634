//! What a deep outbox costs those who have to do with it.

use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use picloud_daemon::store::bench::claim_micros;
use picloud_tests::measure::figure::{Round, Target, Unit};
use picloud_tests::measure::histogram::Histogram;
use picloud_tests::measure::load::Request;
use serde_json::json;

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
        line(
            "filtered_p99",
            "outbox, by a filter that few pass, p99",
            Unit::Millis,
            Target::AtMost(20.0),
        ),
        line("groups", "dead letters grouped by error, once", Unit::Millis, Target::Open),
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
    let outbox = walk(&daemon, "/outbox?limit=100", pages, Page::Full)?;
    let letters = walk(&daemon, "/dead-letters?limit=100", pages, Page::Full)?;
    let filtered = "/outbox?limit=100&filter=state:retry%20script:nothing";
    let filtered = walk(&daemon, filtered, pages, Page::Any)?;
    let started = Instant::now();
    daemon.admin("GET", "/dead-letters/groups", None)?;
    let groups = started.elapsed().as_secs_f64() * 1_000.0;
    daemon.stop()?;
    Ok(vec![
        ("outbox_p99", outbox.p99_ms()),
        ("letters_p99", letters.p99_ms()),
        ("filtered_p99", filtered.p99_ms()),
        ("groups", groups),
        ("outbox_p50", outbox.median_ms()),
        ("letters_p50", letters.median_ms()),
    ])
}

/// What a page has to hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Full,
    /// With a filter it ends when it has looked at enough.
    Any,
}

fn walk(daemon: &Daemon, list: &str, pages: i64, holds: Page) -> Result<Histogram> {
    let mut times = Histogram::default();
    let mut path = list.to_owned();
    for page in 0..pages {
        let started = Instant::now();
        let answer = daemon.admin("GET", &path, None)?;
        times.record(started.elapsed());
        let items = answer["items"].as_array().context("a list has items")?.len();
        ensure!(items == 100 || holds == Page::Any, "page {page} of {list} has {items} items");
        path = match answer["next"].as_str() {
            Some(next) => format!("{list}&after={next}"),
            None => list.to_owned(),
        };
    }
    Ok(times)
}

pub const BULK: Case = Case {
    name: "bulk",
    title: "p99 of another app's sync writes at 64 connections, without and while 100,000 dead letters are replayed in \
            bulk (quick: 2,000), held so that none of them runs.",
    bases: &[],
    lines: &[
        line("growth", "p99 with the bulk call by p99 without", Unit::Plain, Target::AtMost(2.0)),
        line("without", "p99 without", Unit::Millis, Target::Open),
        line("with", "p99 with", Unit::Millis, Target::Open),
        line("replayed", "dead letters replayed", Unit::PerSecond, Target::Open),
    ],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::No,
    round: bulk,
};

fn bulk(ground: &Ground) -> Result<Round> {
    let letters = ground.options.size(100_000, 2_000);
    let store = ground.copy_of(&ground.backlog(letters, letters)?)?;
    let daemon = Daemon::start_on(ground, store, Disk::AsItIs)?;
    daemon.deploy(&other_app())?;
    let request = Request::post("/other/note", "{}");
    let without = daemon.full_load(&request, 200)?.times.p99_ms();
    let preview = daemon.admin("GET", "/dead-letters/preview?app=bench", None)?;
    ensure!(preview["count"] == letters, "{} dead letters match", preview["count"]);
    let body = json!({ "filter": "", "app": "bench", "up_to": preview["up_to"], "expect": letters,
        "as_of": preview["as_of"], "hold_ms": 600_000 });
    let caller = daemon.caller();
    let replay = thread::spawn(move || {
        let started = Instant::now();
        let answer = caller.call("POST", "/dead-letters/replay", Some(&body))?;
        let done = answer["done"].as_array().context("a bulk call says what is done")?.len();
        ensure!(done as i64 == letters, "{done} of {letters} are replayed");
        Ok(letters as f64 / started.elapsed().as_secs_f64())
    });
    let with = daemon.full_load(&request, 200)?.times.p99_ms();
    let replayed = replay.join().expect("it does not panic")?;
    daemon.stop()?;
    Ok(vec![
        ("growth", with / without),
        ("without", without),
        ("with", with),
        ("replayed", replayed),
    ])
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
