//! The console on a pseudo-terminal: how soon it is there, what it costs, and whether it holds the daemon up.

use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};
use picloud_tests::measure::figure::{Round, Target, Unit, summarise};
use picloud_tests::measure::histogram::Histogram;
use picloud_tests::measure::load::{self, Answers, Load, Pace, Request, Until};
use picloud_tests::measure::process::Process;
use picloud_tests::terminal::Console;

use super::board::SILENT_AFTER;
use super::{Case, Profiled, Rounds, line};
use crate::daemon::{Daemon, bench_app, body};
use crate::ground::Ground;
use crate::options::Extent;
use crate::shim::Disk;

/// Columns and rows.
const SIZE: (u16, u16) = (100, 30);
/// Longer than anything that is waited for here takes.
const SHOWN_MAX: Duration = Duration::from_secs(20);
/// Rows a second; each comes, runs and is done: three transitions.
const RATE_1000: u32 = 334;
const RATE_5000: u32 = 1_667;
/// From then on a list has as many rows as it holds, and the screen as much to write as ever.
const WARM_UP: Duration = Duration::from_secs(4);

/// On the screen as soon as there is a frame, and when the daemon's answers are on it.
fn has_frame(screen: &str) -> bool {
    screen.contains("1 Overview")
}

fn has_data(screen: &str) -> bool {
    screen.contains("● live") && screen.contains("bench")
}

fn has_outbox(screen: &str) -> bool {
    screen.contains("newest first") && screen.contains("bench/work")
}

/// A console before the daemon, not waited for.
fn open(ground: &Ground, daemon: &Daemon<'_>) -> Result<Console> {
    let (program, socket) = (ground.binaries()?.join("picloud-tui"), daemon.admin_socket()?);
    let socket = socket.to_str().context("the socket's path is text")?;
    Ok(Console::open(&program, &["--socket", socket], &[], SIZE))
}

fn wait(console: &mut Console, is_shown: impl Fn(&str) -> bool, what: &str) -> Result<Duration> {
    let shown = console.comes_to_show(is_shown, SHOWN_MAX);
    shown.map_err(|why| anyhow!("{why}: {what}\n{}", console.screen()))
}

fn process(console: &Console) -> Process {
    Process(console.id().as_raw_nonzero().get().unsigned_abs())
}

pub const START: Case = Case {
    name: "console-start",
    title: "From exec of the console to the first frame, and to the frame with the daemon's data; the median of seven \
            starts a round.",
    bases: &[],
    lines: &[
        line("frame", "first frame", Unit::Millis, Target::AtMost(100.0)),
        line("data", "with data", Unit::Millis, Target::AtMost(400.0)),
    ],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::No,
    round: start,
};

fn start(ground: &Ground) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::AsItIs)?;
    daemon.deploy(&bench_app())?;
    let (mut frames, mut data) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        let mut console = open(ground, &daemon)?;
        wait(&mut console, has_frame, "the first frame")?;
        frames.push(console.age().as_secs_f64() * 1e3);
        wait(&mut console, has_data, "the daemon's data")?;
        data.push(console.age().as_secs_f64() * 1e3);
    }
    daemon.stop()?;
    let median = |times: &[f64]| summarise(times).map_or(0.0, |times| times.median);
    Ok(vec![("frame", median(&frames)), ("data", median(&data))])
}

pub const IDLE: Case = Case {
    name: "console-idle",
    title: "A console before an idle daemon for 20 seconds (quick: 5) in which the clock's minute does not change: first \
            on the Overview, then on the Outbox.",
    bases: &[],
    lines: &[
        line("overview_bytes", "bytes to the terminal, Overview", Unit::Bytes, Target::AtMost(0.0)),
        line("outbox_bytes", "bytes to the terminal, Outbox", Unit::Bytes, Target::AtMost(0.0)),
        line(
            "overview_cpu",
            "processor time a second, Overview",
            Unit::Millis,
            Target::AtMost(2.0),
        ),
        line("outbox_cpu", "processor time a second, Outbox", Unit::Millis, Target::AtMost(2.0)),
        line("wakes", "wake-ups, Overview", Unit::PerSecond, Target::Open),
        line("memory", "memory (PSS)", Unit::Bytes, Target::Open),
    ],
    rounds: Rounds::One,
    profiled: Profiled::No,
    round: idle,
};

fn idle(ground: &Ground) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::AsItIs)?;
    daemon.deploy(&bench_app())?;
    let mut console = open(ground, &daemon)?;
    wait(&mut console, has_data, "the daemon's data")?;
    sleep(SILENT_AFTER);
    let window = Duration::from_secs(match ground.options.extent {
        Extent::Full => 20,
        Extent::Quick => 5,
    });
    let overview = look_on_quietly(&mut console, window)?;
    console.keys("2");
    wait(&mut console, |screen| screen.contains("Nothing waits"), "the empty outbox")?;
    let outbox = look_on_quietly(&mut console, window)?;
    let memory = process(&console).pss_bytes()? as f64;
    drop(console);
    daemon.stop()?;
    Ok(vec![
        ("overview_bytes", overview.bytes),
        ("outbox_bytes", outbox.bytes),
        ("overview_cpu", overview.cpu_ms),
        ("outbox_cpu", outbox.cpu_ms),
        ("wakes", overview.wakes),
        ("memory", memory),
    ])
}

/// What a console did while somebody looked on.
struct Spent {
    /// In all.
    bytes: f64,
    /// A second.
    cpu_ms: f64,
    wakes: f64,
}

/// In a window without a change of the clock's minute, after a while of rest.
fn look_on_quietly(console: &mut Console, window: Duration) -> Result<Spent> {
    const REST: Duration = Duration::from_secs(2);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let left = Duration::from_secs(60 - since.as_secs() % 60);
    let needed = REST + window + Duration::from_secs(1);
    sleep(if left < needed { left + REST } else { REST });
    look_on(console, window)
}

fn look_on(console: &mut Console, window: Duration) -> Result<Spent> {
    let process = process(console);
    let _earlier = console.raw_bytes();
    let (cpu, wakes, began) = (process.cpu()?, process.switches()?, Instant::now());
    let bytes = console.bytes_within(window);
    let seconds = began.elapsed().as_secs_f64();
    Ok(Spent {
        bytes: bytes as f64,
        cpu_ms: process.cpu()?.saturating_sub(cpu).as_secs_f64() * 1e3 / seconds,
        wakes: process.switches()?.saturating_sub(wakes) as f64 / seconds,
    })
}

pub const LOAD: Case = Case {
    name: "console-load",
    title: "A console while 1,000 transitions a second come in: first on the Overview, then on the Outbox, 10 seconds each \
            (quick: 3). Then 120 keys there (quick: 40), one after the other at uneven intervals, each from its press to \
            its effect on the screen: z, / and ?, and the same or esc again.",
    bases: &[],
    lines: &[
        line("key_p50", "key to frame, p50", Unit::Millis, Target::Open),
        line("key_p99", "key to frame, p99", Unit::Millis, Target::AtMost(30.0)),
        line("overview_bytes", "bytes a second, Overview", Unit::Bytes, Target::AtMost(1_500.0)),
        line("outbox_bytes", "bytes a second, Outbox", Unit::Bytes, Target::AtMost(4_000.0)),
        line(
            "overview_cpu",
            "processor time a second, Overview",
            Unit::Millis,
            Target::AtMost(50.0),
        ),
        line("outbox_cpu", "processor time a second, Outbox", Unit::Millis, Target::AtMost(50.0)),
        line("overview_wakes", "wake-ups, Overview", Unit::PerSecond, Target::Open),
        line("outbox_wakes", "wake-ups, Outbox", Unit::PerSecond, Target::Open),
        line("memory", "memory (PSS) afterwards", Unit::Bytes, Target::AtMost(16e6)),
    ],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::No,
    round: under_load,
};

fn under_load(ground: &Ground) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::AsItIs)?;
    daemon.deploy(&bench_app())?;
    let (window, keys) = match ground.options.extent {
        Extent::Full => (Duration::from_secs(10), 120),
        Extent::Quick => (Duration::from_secs(3), 40),
    };
    let key_time = (KEY_INTERVAL_MAX + Duration::from_millis(30)) * keys;
    let time = (WARM_UP + window) * 2 + key_time;
    let mut console = open(ground, &daemon)?;
    let load = load_of(ground, &daemon, RATE_1000, time);
    let (looked, _answers) = while_it_runs(load, || {
        wait(&mut console, has_data, "the daemon's data")?;
        sleep(WARM_UP);
        let overview = look_on(&mut console, window)?;
        console.keys("2");
        wait(&mut console, has_outbox, "the outbox")?;
        sleep(WARM_UP);
        let outbox = look_on(&mut console, window)?;
        let keys = time_keys(&mut console, keys)?;
        Ok((overview, outbox, keys, process(&console).pss_bytes()? as f64))
    })?;
    let (overview, outbox, keys, memory) = looked;
    drop(console);
    daemon.stop()?;
    let seconds = window.as_secs_f64();
    Ok(vec![
        ("key_p50", keys.median_ms()),
        ("key_p99", keys.p99_ms()),
        ("overview_bytes", overview.bytes / seconds),
        ("outbox_bytes", outbox.bytes / seconds),
        ("overview_cpu", overview.cpu_ms),
        ("outbox_cpu", outbox.cpu_ms),
        ("overview_wakes", overview.wakes),
        ("outbox_wakes", outbox.wakes),
        ("memory", memory),
    ])
}

/// The longest between two keys, and the shortest: as somebody types, and in step with nothing.
const KEY_INTERVAL_MAX: Duration = Duration::from_millis(139);
const KEY_INTERVAL_MIN: Duration = Duration::from_millis(70);

/// Before the key of this number. Uneven: the golden ratio's multiples fall everywhere.
fn key_interval(n: u32) -> Duration {
    let spread = KEY_INTERVAL_MAX - KEY_INTERVAL_MIN;
    KEY_INTERVAL_MIN + spread.mul_f64((f64::from(n) * 0.618_034).fract())
}

type IsShown = fn(&str) -> bool;

/// Keys on the Outbox, and what is on the screen when they have had their effect.
const KEYS: [(&str, IsShown); 6] = [
    ("z", |screen| !screen.contains("Chain Script Facts")),
    ("z", |screen| screen.contains("Chain Script Facts")),
    ("/", |screen| screen.contains("⏎ take")),
    ("\x1b", |screen| !screen.contains("⏎ take")),
    ("?", |screen| screen.contains("Help  Outbox")),
    ("\x1b", |screen| screen.contains("newest first")),
];

fn time_keys(console: &mut Console, count: u32) -> Result<Histogram> {
    let mut times = Histogram::default();
    for (n, (key, is_shown)) in (0..count).zip(KEYS.iter().cycle()) {
        sleep(key_interval(n));
        let _earlier = console.raw_bytes();
        console.keys(key);
        times.record(wait(console, is_shown, &format!("what {key:?} does"))?);
    }
    Ok(times)
}

pub const RATE: Case = Case {
    name: "console-rate",
    title: "5,000 transitions a second for 30 seconds (quick: 4), without a console and with one on the Outbox, where 120 \
            keys are pressed meanwhile (quick: 10).",
    bases: &[],
    lines: &[
        line("rate", "rows a second with it by those without", Unit::Plain, Target::AtLeast(0.95)),
        line("key_p99", "key to frame, p99", Unit::Millis, Target::AtMost(30.0)),
        line("p99", "p99 of the 202 with it", Unit::Millis, Target::Open),
        line("p99_alone", "p99 of the 202 without", Unit::Millis, Target::Open),
        line("bytes", "bytes a second to its terminal", Unit::Bytes, Target::Open),
        line("cpu", "its processor time a second", Unit::Millis, Target::Open),
        line("memory", "its memory (PSS) afterwards", Unit::Bytes, Target::AtMost(16e6)),
    ],
    rounds: Rounds::One,
    profiled: Profiled::No,
    round: rate,
};

fn rate(ground: &Ground) -> Result<Round> {
    let daemon = Daemon::start(ground, Disk::AsItIs)?;
    daemon.deploy(&bench_app())?;
    let (time, window, keys) = match ground.options.extent {
        Extent::Full => (Duration::from_secs(30), Duration::from_secs(8), 120),
        Extent::Quick => (Duration::from_secs(4), Duration::from_secs(1), 10),
    };
    let load = || load_of(ground, &daemon, RATE_5000, time);
    let ((), alone) = while_it_runs(load(), || Ok(()))?;
    daemon.wait_until_empty()?;
    let mut console = open(ground, &daemon)?;
    wait(&mut console, has_data, "the daemon's data")?;
    console.keys("2");
    let ((spent, times), watched) = while_it_runs(load(), || {
        wait(&mut console, has_outbox, "the outbox")?;
        let spent = look_on(&mut console, window)?;
        Ok((spent, time_keys(&mut console, keys)?))
    })?;
    let memory = process(&console).pss_bytes()? as f64;
    drop(console);
    daemon.stop()?;
    Ok(vec![
        ("rate", watched.per_second() / alone.per_second()),
        ("key_p99", times.p99_ms()),
        ("p99", watched.times.p99_ms()),
        ("p99_alone", alone.times.p99_ms()),
        ("bytes", spent.bytes / window.as_secs_f64()),
        ("cpu", spent.cpu_ms),
        ("memory", memory),
    ])
}

pub const DEEP: Case = Case {
    name: "console-deep",
    title: "A console before a store with 1,000,000 outbox rows and 100,000 dead letters (quick: 20,000 and 2,000): from \
            exec to the daemon's data, from the key to the first rows of the Outbox, and 60 pages down from there (quick: \
            20), as somebody presses, each from its press to the page.",
    bases: &[],
    lines: &[
        line("data", "with data", Unit::Millis, Target::AtMost(400.0)),
        line("rows", "the first rows", Unit::Millis, Target::Open),
        line("key_p50", "key to frame, p50", Unit::Millis, Target::Open),
        line("key_p99", "key to frame, p99", Unit::Millis, Target::AtMost(30.0)),
        line("memory", "memory (PSS) afterwards", Unit::Bytes, Target::AtMost(16e6)),
    ],
    rounds: Rounds::OneIfQuick,
    profiled: Profiled::No,
    round: deep,
};

fn deep(ground: &Ground) -> Result<Round> {
    let (rows, letters) =
        (ground.options.size(1_000_000, 20_000), ground.options.size(100_000, 2_000));
    let store = ground.copy_of(&ground.backlog(rows, letters)?)?;
    let daemon = Daemon::start_on(ground, store, Disk::AsItIs)?;
    let mut console = open(ground, &daemon)?;
    wait(&mut console, has_data, "the daemon's data")?;
    let data = console.age().as_secs_f64() * 1e3;
    sleep(KEY_INTERVAL_MAX);
    console.keys("2");
    let has_rows = |screen: &str| screen.contains("newest first") && heading(screen).is_some();
    let first = wait(&mut console, has_rows, "the outbox")?.as_secs_f64() * 1e3;
    let pages = match ground.options.extent {
        Extent::Full => 60,
        Extent::Quick => 20,
    };
    let mut times = Histogram::default();
    for n in 0..pages {
        sleep(key_interval(n));
        let before = heading(&console.screen());
        console.keys(PAGE_DOWN);
        let is_elsewhere = |screen: &str| heading(screen) != before;
        times.record(wait(&mut console, is_elsewhere, "the next page")?);
    }
    let memory = process(&console).pss_bytes()? as f64;
    drop(console);
    daemon.stop()?;
    Ok(vec![
        ("data", data),
        ("rows", first),
        ("key_p50", times.median_ms()),
        ("key_p99", times.p99_ms()),
        ("memory", memory),
    ])
}

const PAGE_DOWN: &str = "\x1b[6~";

/// The line above the detail: which row of how many it is of.
fn heading(screen: &str) -> Option<String> {
    screen.lines().find(|line| line.contains("Event Chain Script Facts")).map(str::to_owned)
}

/// A load of async requests for so long.
fn load_of(ground: &Ground, daemon: &Daemon<'_>, rate: u32, time: Duration) -> Load {
    Load {
        address: daemon.public.clone(),
        connections: 16,
        pace: Pace::PerSecond(rate),
        until: Until::Passed(time),
        first_number: ground.number() * 100_000_000,
    }
}

/// Does something while a load comes in, and waits for the end of both.
fn while_it_runs<T>(load: Load, does: impl FnOnce() -> Result<T>) -> Result<(T, Answers)> {
    let loading =
        thread::spawn(move || load::run(&load, &Request::post("/bench/work", &body()))?.all(202));
    let done = does();
    let answers = loading.join().map_err(|_| anyhow!("the load panicked"))??;
    Ok((done?, answers))
}
