//! Live events: what it costs the engine to be looked at, and not to be.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use picloud_api::BASE;
use picloud_daemon::dispatcher::history::{End, Execution};
use picloud_daemon::dispatcher::live::Live;
use picloud_daemon::dispatcher::tally::{Ended, Replied, Started, Tally};
use picloud_daemon::ids::{AppId, Id};
use picloud_daemon::limits::AdminLimits;
use picloud_daemon::outbox::source::OutboxSourceKind;
use picloud_daemon::time::{SystemClock, Timestamp};
use picloud_tests::measure::figure::{Round, Target, Unit};
use picloud_tests::measure::load::{Pace, Request, Until};

use super::{Case, Profiled, Rounds, line, queue};
use crate::daemon::{Daemon, bench_app, body};
use crate::ground::Ground;
use crate::shim::Disk;

/// Who looks on at a time.
const READERS: usize = 50;
/// Rows a second; each comes, runs and is done: three transitions.
const RATE: u32 = 350;

pub const EVENTS: Case = Case {
    name: "events",
    title: "50 readers of all events at 1,050 transitions a second, and while a backlog is worked off as fast as it goes; \
            each with and without the readers.",
    bases: &[],
    lines: &[
        line(
            "paced",
            "rows a second with readers by those without",
            Unit::Plain,
            Target::AtLeast(0.95),
        ),
        line("p99", "p99 of the 202 with readers", Unit::Millis, Target::Open),
        line("p99_alone", "p99 of the 202 without", Unit::Millis, Target::Open),
        line("cpu", "processor time a second with readers", Unit::Millis, Target::Open),
        line("cpu_alone", "processor time a second without", Unit::Millis, Target::Open),
        line("drain", "backlog worked off with readers by without", Unit::Plain, Target::Open),
        line("read", "bytes that each reader got a second", Unit::Bytes, Target::Open),
    ],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::No,
    round: events,
};

/// What a paced load came to.
struct Paced {
    rate: f64,
    p99_ms: f64,
    cpu_ms: f64,
}

fn events(ground: &Ground) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::AsItIs)?;
    daemon.deploy(&bench_app())?;
    let alone = paced(ground, &daemon)?;
    let drained_alone = rows_drained(&queue::fill_and_drain(ground, &daemon)?)?;
    let readers = Readers::open(&daemon.admin_socket()?)?;
    let began = Instant::now();
    let watched = paced(ground, &daemon)?;
    let read = readers.bytes() as f64 / READERS as f64 / began.elapsed().as_secs_f64();
    let drained = rows_drained(&queue::fill_and_drain(ground, &daemon)?)?;
    ensure!(readers.bytes() > 0, "the readers got nothing");
    readers.close()?;
    daemon.stop()?;
    Ok(vec![
        ("paced", watched.rate / alone.rate),
        ("p99", watched.p99_ms),
        ("p99_alone", alone.p99_ms),
        ("cpu", watched.cpu_ms),
        ("cpu_alone", alone.cpu_ms),
        ("drain", drained / drained_alone),
        ("read", read),
    ])
}

fn paced(ground: &Ground, daemon: &Daemon<'_>) -> Result<Paced> {
    let request = Request::post("/bench/work", &body());
    let until = Until::Passed(ground.options.time);
    let (cpu, began) = (daemon.process().cpu()?, Instant::now());
    let answers = daemon.paced_load(&request, until, 8, Pace::PerSecond(RATE))?.all(202)?;
    daemon.wait_until_empty()?;
    let cpu = daemon.process().cpu()?.saturating_sub(cpu);
    Ok(Paced {
        rate: answers.per_second(),
        p99_ms: answers.times.p99_ms(),
        cpu_ms: cpu.as_secs_f64() * 1e3 / began.elapsed().as_secs_f64(),
    })
}

fn rows_drained(round: &Round) -> Result<f64> {
    let rows = round.iter().find(|(name, _)| *name == "rows").map(|(_, value)| *value);
    rows.context("a drain has its rows")
}

/// Connections that take whatever comes.
struct Readers {
    streams: Vec<UnixStream>,
    threads: Vec<JoinHandle<()>>,
    bytes: Arc<AtomicU64>,
}

impl Readers {
    fn open(socket: &Path) -> Result<Readers> {
        let mut readers =
            Readers { streams: Vec::new(), threads: Vec::new(), bytes: Arc::default() };
        for _ in 0..READERS {
            let mut stream = UnixStream::connect(socket)?;
            let head = format!("GET {BASE}/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            let mut status = [0; 12];
            stream.read_exact(&mut status)?;
            ensure!(status.ends_with(b"200"), "a reader was refused");
            readers.streams.push(stream.try_clone()?);
            let bytes = Arc::clone(&readers.bytes);
            readers.threads.push(std::thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    bytes.fetch_add(count as u64, Ordering::Relaxed);
                }
            }));
        }
        Ok(readers)
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn close(self) -> Result<()> {
        for stream in &self.streams {
            stream.shutdown(std::net::Shutdown::Both)?;
        }
        for thread in self.threads {
            thread.join().ok().context("a reader panicked")?;
        }
        Ok(())
    }
}

pub const UNWATCHED: Case = Case {
    name: "unwatched",
    title: "What a settled row pays for events that nobody looks at: the flag is looked at three times (once for each \
            batch, at the start and at the end of the run). Time instead of instructions, since counting those needs \
            rights that a machine may not give; both are taken on the same processor.",
    bases: &[],
    lines: &[
        line("share", "of a row's processor time", Unit::Plain, Target::AtMost(0.01)),
        line("look", "nanoseconds for three looks", Unit::Plain, Target::Open),
        line(
            "count",
            "nanoseconds for counting a request and its run, which is done always",
            Unit::Plain,
            Target::Open,
        ),
        line("row", "processor time of a row, accepted and settled", Unit::Micros, Target::Open),
    ],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::No,
    round: unwatched,
};

fn unwatched(ground: &Ground) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::AsItIs)?;
    daemon.deploy(&bench_app())?;
    let cpu = daemon.process().cpu()?;
    let until = Until::Passed(ground.options.time);
    let rows = daemon.load(&Request::post("/bench/work", &body()), until, 64)?.all(202)?;
    daemon.wait_until_empty()?;
    let cpu = daemon.process().cpu()?.saturating_sub(cpu);
    daemon.stop()?;
    let row = cpu.as_secs_f64() / rows.count() as f64;
    let look = 3.0 * seconds_a_look();
    Ok(vec![
        ("share", look / row),
        ("look", look * 1e9),
        ("count", seconds_a_count() * 1e9),
        ("row", row * 1e6),
    ])
}

fn seconds_a_look() -> f64 {
    const LOOKS: u32 = 20_000_000;
    let clock = Arc::new(SystemClock::start());
    let live = Live::new(&AdminLimits::default(), Arc::default(), clock);
    let began = Instant::now();
    for _ in 0..LOOKS {
        std::hint::black_box(std::hint::black_box(&live).is_watched());
    }
    let took: Duration = began.elapsed();
    took.as_secs_f64() / f64::from(LOOKS)
}

fn seconds_a_count() -> f64 {
    const COUNTS: u32 = 1_000_000;
    let (tally, app) = (Tally::default(), AppId(1));
    let execution = Execution {
        id: Id(1),
        app,
        script: "work".into(),
        script_version: 1,
        source: OutboxSourceKind::Http,
        origin: None,
        attempt: 1,
        end: End::Completed,
        failure: None,
        started_at: Timestamp(0),
        queued_us: 30,
        took_us: 200,
        effects: 1,
        wrote: Vec::new(),
        root: Id(1),
        cause: None,
        replay_of: None,
        log: Vec::new(),
        event: None,
    };
    let ended = Ended { execution: &execution, started: Started::Yes, failure: None, reason: None };
    let began = Instant::now();
    for n in 0..COUNTS {
        let at = Duration::from_micros(u64::from(n));
        tally.requested(app, at);
        tally.replied(app, Replied::Accepted, Duration::from_micros(500));
        tally.ended(&ended, at);
    }
    began.elapsed().as_secs_f64() / f64::from(COUNTS)
}
