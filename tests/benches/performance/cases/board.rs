//! What the daemon costs the board that it runs on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use picloud_tests::measure::figure::{Round, Target, Unit, summarise};
use picloud_tests::measure::load::{Request, Until};

use super::{Case, Profiled, Rounds, line, queue};
use crate::base::CONNECTIONS;
use crate::daemon::{App, Daemon, bench_app, body};
use crate::ground::Ground;
use crate::options::Extent;
use crate::shim::Disk;

const MB: f64 = 1e6;
/// After this without a commit the writer has checkpointed and is silent.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(8);

pub const MEMORY: Case = Case {
    name: "memory",
    title: "Memory (PSS) of the daemon: idle with the demo app deployed, right after sync reads, sync writes, 202s and \
            a drain, and half a minute later.",
    bases: &[],
    lines: &[
        line("idle", "idle", Unit::Bytes, Target::AtMost(12.0 * MB)),
        line("loaded", "right after the load", Unit::Bytes, Target::AtMost(40.0 * MB)),
        line("fallen", "half a minute later", Unit::Bytes, Target::AtMost(40.0 * MB)),
        line("fall", "half a minute later by right after", Unit::Plain, Target::AtMost(1.0)),
    ],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::No,
    round: memory,
};

fn memory(ground: &Ground) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::AsItIs)?;
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/demo");
    daemon.deploy(&App::from_folder(&demo)?)?;
    sleep(SILENT_AFTER);
    let idle = daemon.process().pss_bytes()? as f64;
    daemon.deploy(&bench_app())?;
    daemon.full_load(&Request::get("/bench/hello"), 200)?;
    daemon.full_load(&Request::post("/bench/write", &body()), 200)?;
    daemon.full_load(&Request::post("/bench/work", &body()), 202)?;
    daemon.wait_until_empty()?;
    queue::fill_and_drain(ground, &daemon)?;
    let loaded = daemon.process().pss_bytes()? as f64;
    sleep(Duration::from_secs(match ground.options.extent {
        Extent::Full => 30,
        Extent::Quick => 3,
    }));
    let fallen = daemon.process().pss_bytes()? as f64;
    daemon.stop()?;
    Ok(vec![("idle", idle), ("loaded", loaded), ("fallen", fallen), ("fall", fallen / loaded)])
}

pub const IDLE: Case = Case {
    name: "idle",
    title: "An idle daemon that has worked before: what it writes and how often a thread of it wakes up.",
    bases: &[],
    lines: &[
        line("bytes", "bytes written", Unit::Bytes, Target::AtMost(0.0)),
        line("wakes", "wake-ups", Unit::PerSecond, Target::AtMost(2.0)),
        line("cpu", "processor time a second", Unit::Millis, Target::Open),
        line("window", "length of the window in seconds", Unit::Plain, Target::Open),
    ],
    rounds: Rounds::One,
    profiled: Profiled::No,
    round: idle,
};

fn idle(ground: &Ground) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::AsItIs)?;
    daemon.deploy(&bench_app())?;
    daemon.load(&Request::post("/bench/write", &body()), Until::Sent(1_000), 8)?.all(200)?;
    daemon.wait_until_empty()?;
    sleep(SILENT_AFTER);
    let process = daemon.process();
    let (bytes, wakes, cpu) = (process.write_bytes()?, process.switches()?, process.cpu()?);
    let window = ground.options.idle;
    sleep(window);
    let seconds = window.as_secs_f64();
    let round = vec![
        ("bytes", (process.write_bytes()? - bytes) as f64),
        ("wakes", process.switches()?.saturating_sub(wakes) as f64 / seconds),
        ("cpu", (process.cpu()? - cpu).as_secs_f64() * 1e3 / seconds),
        ("window", seconds),
    ];
    daemon.stop()?;
    Ok(round)
}

pub const READS: Case = Case {
    name: "reads",
    title: "Bytes written by 10,000 read-only sync requests, also within the seconds after them.",
    bases: &[],
    lines: &[line("bytes", "bytes written", Unit::Bytes, Target::AtMost(0.0))],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::No,
    round: |ground| {
        let daemon = Daemon::start(ground, Disk::AsItIs)?;
        daemon.deploy(&bench_app())?;
        let request = Request::get("/bench/hello");
        let bytes = written(&daemon, &request, 10_000, CONNECTIONS)?;
        daemon.stop()?;
        Ok(vec![("bytes", bytes * 10_000.0)])
    },
};

pub const BYTES: Case = Case {
    name: "bytes",
    title: "Bytes written to the device by a sync write of 100 bytes with one trigger, checkpoints included.",
    bases: &[],
    lines: &[
        line("many", "a write, 64 connections", Unit::Bytes, Target::AtMost(3_000.0)),
        line("one", "a write, 1 connection", Unit::Bytes, Target::Open),
    ],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::No,
    round: |ground| {
        let daemon = Daemon::start(ground, Disk::AsItIs)?;
        daemon.deploy(&bench_app())?;
        let request = Request::post("/bench/write", &body());
        let many = written(&daemon, &request, ground.options.size(20_000, 5_000), CONNECTIONS)?;
        let one = written(&daemon, &request, ground.options.size(2_000, 500), 1)?;
        daemon.stop()?;
        Ok(vec![("many", many), ("one", one)])
    },
};

/// Bytes written to the device by each of some requests, until all is silent again.
fn written(daemon: &Daemon, request: &Request, count: i64, connections: u32) -> Result<f64> {
    daemon.load(request, Until::Sent(100), connections)?.all(200)?;
    daemon.wait_until_empty()?;
    sleep(SILENT_AFTER);
    let before = daemon.process().write_bytes()?;
    daemon.load(request, Until::Sent(count.unsigned_abs()), connections)?.all(200)?;
    daemon.wait_until_empty()?;
    sleep(SILENT_AFTER);
    Ok((daemon.process().write_bytes()? - before) as f64 / count as f64)
}

pub const SIZES: Case = Case {
    name: "sizes",
    title: "The release binaries, stripped.",
    bases: &[],
    lines: &[
        line("picloudd", "picloudd", Unit::Bytes, Target::AtMost(12.0 * MB)),
        line("picloud", "picloud", Unit::Bytes, Target::AtMost(4.0 * MB)),
        line("picloud-tui", "picloud-tui", Unit::Bytes, Target::AtMost(4.0 * MB)),
    ],
    rounds: Rounds::One,
    profiled: Profiled::No,
    round: |ground| {
        let mut round = Round::new();
        for name in ["picloudd", "picloud", "picloud-tui"] {
            let (built, stripped) = (ground.binaries()?.join(name), ground.folder.join("stripped"));
            let strip = Command::new("strip").arg("-o").args([&stripped, &built]).status();
            let stripped = strip.is_ok_and(|status| status.success()).then_some(stripped);
            if stripped.is_none() {
                ground
                    .note("There is no `strip` here: the sizes are those of the build.".to_owned());
            }
            round.push((name, fs::metadata(stripped.unwrap_or(built))?.len() as f64));
        }
        Ok(round)
    },
};

pub const START: Case = Case {
    name: "start",
    title: "From exec to the first answer on the public listener, asked every half millisecond; the median of five \
            starts a round. The waiting rows are of a paused app.",
    bases: &[],
    lines: &[
        line("empty", "empty store", Unit::Millis, Target::AtMost(50.0)),
        line("existing", "existing store", Unit::Millis, Target::AtMost(50.0)),
        line("waiting", "100,000 rows waiting", Unit::Millis, Target::AtMost(200.0)),
    ],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::No,
    round: start,
};

fn start(ground: &Ground) -> Result<Round> {
    let mut times: [Vec<f64>; 3] = Default::default();
    let [few, many] = [ground.backlog(1, 0)?, ground.backlog(100_000, 0)?];
    for _ in 0..5 {
        for (place, store) in [None, Some(&few), Some(&many)].into_iter().enumerate() {
            let daemon = match store {
                None => Daemon::start(ground, Disk::AsItIs)?,
                Some(store) => Daemon::start_on(ground, ground.copy_of(store)?, Disk::AsItIs)?,
            };
            times[place].push(daemon.ready_after.as_secs_f64() * 1e3);
            daemon.stop()?;
        }
    }
    let names = ["empty", "existing", "waiting"].into_iter();
    let medians = times.iter().filter_map(|times| Some(summarise(times)?.median));
    Ok(names.zip(medians).collect())
}
