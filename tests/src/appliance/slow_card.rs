//! A card that is slow, fails, is full or is left alone, one case after the other, each on a card of its own.

use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use picloud_daemon::faults::CrashPoint;
use rustix::process::Signal;

use crate::appliance::card::{Card, Counters, Cut};
use crate::appliance::card_faults;
use crate::appliance::record::say;
use crate::appliance::stage;
use crate::chance::Chance;
use crate::client::{Connection, Request};
use crate::daemon::{Daemon, InlineApp, Launch, NOBODY, Nobody, Site};
use crate::ledger::{self, Ledger};
use crate::measure::load::{self, Address, Load, Pace, Until};
use crate::wait::{self, Since};
use crate::{source, store_file};

/// What a cheap card takes for a flush, and what it writes a second.
pub const FLUSH: Duration = Duration::from_millis(15);
pub const BYTES_PER_SECOND: u64 = 10_000_000;
/// The card's size.
pub const MIB: u32 = 96;
/// Leaves the daemon's own limit out of the way.
pub const NO_LATCH: &str = "[limits.store]\nfree_bytes_min = 0";

/// What the cases share.
#[derive(Debug)]
pub struct Plan {
    pub card: PathBuf,
    pub card_script: PathBuf,
    pub seed: u64,
    pub idle: Duration,
}

/// A card with a daemon's site on it.
pub struct Stage {
    pub card: Card,
    pub site: Site,
    pub chance: Chance,
}

impl Stage {
    pub fn new(plan: &Plan, settings: &str) -> Result<Stage> {
        let card = Card::make(&plan.card, &plan.card_script, MIB)?;
        card.plug()?;
        let site = stage::site_on(&card, settings)?;
        Ok(Stage { card, site, chance: Chance::new(plan.seed, 21) })
    }

    pub fn start(&self) -> Result<Daemon> {
        Ok(stage::start(&self.site, Launch::default())?.0)
    }

    /// With the app `ledger` deployed.
    pub fn with_ledger(plan: &Plan, settings: &str) -> Result<(Stage, Daemon)> {
        let stage = Stage::new(plan, settings)?;
        let daemon = stage.start()?;
        stage.site.deploy(&ledger::app());
        Ok((stage, daemon))
    }

    /// Makes the store that of who has no privilege, as it is where the daemon is a service.
    pub fn leave_to_nobody(&self) -> Result<()> {
        let folder = self.site.store.parent().context("a store is in a folder")?;
        Ok(chown(folder, Some(NOBODY), Some(NOBODY))?)
    }

    /// Starts a daemon anew on a card that is well again, and holds what clients were told against what is there.
    pub fn replug_and_check(&self, ledger: &Ledger) -> Result<()> {
        self.card.replug()?;
        let daemon = self.start()?;
        stage::check(&self.site, ledger, &daemon)?;
        daemon.stop();
        Ok(())
    }

    /// What the card has done, once it does nothing any more.
    pub fn at_rest(&self) -> Result<Counters> {
        let mut seen = self.card.counters()?;
        let mut quiet = Since::now();
        wait::within(Duration::from_secs(120), || {
            let now = self.card.counters().ok()?;
            if now != seen {
                (seen, quiet) = (now, Since::now());
            }
            // The file system's journal follows after five seconds.
            (quiet.elapsed() > Duration::from_secs(8)).then_some(())
        })
        .context("the card does not come to rest")?;
        // What the kernel would write back within the next half minute.
        let synced = Command::new("timeout")
            .args(["-k", "5", "60", "sync", "-f"])
            .arg(self.card.mount())
            .status()?;
        ensure!(synced.success(), "sync: {synced}");
        self.card.counters()
    }
}

type Case = fn(&Plan) -> Result<String>;

const CASES: [(&str, Case); 13] = [
    ("slow", slow),
    ("flush fails", card_faults::flush_fails),
    ("write fails", card_faults::write_fails),
    ("read fails", card_faults::read_fails),
    ("file system full", card_faults::file_system_full),
    ("card without room", card_faults::card_without_room),
    ("read-only", card_faults::read_only),
    ("stall", card_faults::stall),
    ("backup while the disk fills", card_faults::backup_while_it_fills),
    ("stop within a long run", stop_within_a_long_run),
    ("dies in backup and checkpoint", dies_in_upkeep),
    ("bytes a 1,000 requests", bytes_written),
    ("idle", idle),
];

/// Plays the cases, or one; the figures of each. Every case is played, also behind one that fails.
pub fn run(plan: &Plan, only: Option<&str>) -> Result<Vec<(&'static str, String)>> {
    let (mut figures, mut failed) = (Vec::new(), Vec::new());
    for (name, case) in CASES.into_iter().filter(|(name, _)| only.is_none_or(|only| only == *name))
    {
        let begin = Since::now();
        say(&format!("{name}: begins"));
        let done = stage::played(|| case(plan));
        let took = begin.elapsed().as_secs();
        let unplug = Card::at(&plan.card, &plan.card_script).unplug();
        match done.and_then(|figure| unplug.map(|()| figure)) {
            Ok(figure) => {
                say(&format!("{name}: {figure} ({took} s)"));
                figures.push((name, figure));
            }
            Err(error) => {
                say(&format!("{name}: FAILED after {took} s: {error:#}"));
                failed.push(name);
            }
        }
    }
    ensure!(failed.is_empty(), "{} of the cases failed: {}", failed.len(), failed.join(", "));
    Ok(figures)
}

fn slow(plan: &Plan) -> Result<String> {
    const LOAD: Duration = Duration::from_secs(10);
    let (stage, daemon) = Stage::with_ledger(plan, NO_LATCH)?;
    stage.card.slow(FLUSH, BYTES_PER_SECOND)?;
    let ledger = Ledger::default();
    let life = (stage.chance.clone(), 1);
    let daemon = stage::under_load(&ledger, daemon, life, |daemon| {
        wait::pass(LOAD);
        daemon
    });
    stage::check(&stage.site, &ledger, &daemon)?;
    daemon.kill();
    let (daemon, took) = stage::start(&stage.site, Launch::default())?;
    ensure!(took <= stage::READY_MAX, "ready only after {took:.1?}");
    daemon.stop();
    let rate = ledger.answered() / LOAD.as_secs();
    Ok(format!(
        "{rate} answers a second from {} clients at {} ms a flush; after a kill ready in {} ms",
        stage::CLIENTS,
        FLUSH.as_millis(),
        took.as_millis()
    ))
}

fn stop_within_a_long_run(plan: &Plan) -> Result<String> {
    const RUN: &str = r#"let left = event.body; while left > 0 { left -= 1; }
                         kv::collection("done").incr(event.params.id, 1);"#;
    const TRIAL: u64 = 500_000;
    // Half of that for those who run, then what still runs is let go of.
    let settings = "[limits.run]\noperations_max = 1_000_000_000_000\ntimeout_ms = 60_000\n\
                    [limits.http]\nstop_ms = 6_000\n[limits.store]\nfree_bytes_min = 0";
    let stage = Stage::new(plan, settings)?;
    let daemon = stage.start()?;
    stage.site.deploy_app(&InlineApp {
        slug: "long",
        scripts: &[("long", RUN), ("done", r#"kv::collection("done").get("a")"#)],
        routes: &[
            ("POST /now/{id}", "long", ""),
            ("POST /later/{id}", "long", "dispatch_mode = \"async\""),
            ("GET /done", "done", ""),
        ],
        manifest: "",
    });
    stage.card.slow(FLUSH, BYTES_PER_SECOND)?;
    let begin = Since::now();
    let tried = daemon.post("/long/now/b", &TRIAL.to_string());
    ensure!(tried.status == 200, "{tried:?}");
    let turns = TRIAL * 10_000 / u64::try_from(begin.elapsed().as_millis())?.max(1);
    let accepted = daemon.post("/long/later/a", &turns.to_string());
    ensure!(accepted.status == 202, "{accepted:?}");
    wait::within(wait::PATIENCE, || (!stage.site.running().is_empty()).then_some(()))
        .context("the run does not begin")?;
    let begin = Since::now();
    daemon.signal(Signal::TERM);
    let mut daemon = daemon;
    let ended = daemon.ends_within(Duration::from_secs(15)).context("it does not stop")?;
    let took = begin.elapsed();
    ensure!(ended.code() == Some(0), "it ended with {ended}:\n{}", stage.site.log());
    let daemon = stage.start()?;
    daemon.works_everything_off();
    let done = daemon.send(&Request::get("/long/done"));
    ensure!(done.body == b"1", "the run was to be done once: {done:?}");
    daemon.stop();
    Ok(format!(
        "SIGTERM: ended in order after {:.1} s, the run done once after the start",
        took.as_secs_f64()
    ))
}

/// Aborts at each step of a backup, and power cuts while a checkpoint copies the log.
fn dies_in_upkeep(plan: &Plan) -> Result<String> {
    let (mut stage, daemon) = Stage::with_ledger(plan, NO_LATCH)?;
    daemon.kill();
    for step in 1..=3 {
        let fault = format!("{}:{step}", CrashPoint::InBackup.as_str());
        let launch = Launch { fault: Some(&fault), ..Launch::default() };
        let (daemon, _) = stage::start(&stage.site, launch)?;
        // It may die before it answers.
        drop(daemon.admin(&Request::post("/backups", "{}")));
        let mut daemon = daemon;
        daemon.ends_within(wait::PATIENCE).context("it does not die in the backup")?;
        let daemon = stage.start()?;
        let left = card_faults::backups_of(&stage.site)?;
        ensure!(left.is_empty(), "an abort at step {step} of a backup left {left:?}");
        daemon.kill();
    }
    let ledger = Ledger::default();
    let mut met = 0;
    for number in 0..6 {
        let daemon = stage.start()?;
        let life = (Chance::new(stage.chance.number(), 0), number + 1);
        let daemon = stage::under_load(&ledger, daemon, life, |daemon| {
            wait::pass(Duration::from_millis(500));
            daemon
        });
        daemon.works_everything_off();
        stage.card.slow(FLUSH, 500_000)?;
        let before = stage.card.counters()?;
        // Nobody asks for anything now: what writes is the log being copied into the file.
        let copies = || (stage.card.counters().ok()?.writes > before.writes).then_some(());
        let begins = wait::within(Duration::from_secs(20), copies);
        begins.context("no checkpoint begins")?;
        let loss = stage.card.cut(Cut::Random, stage.chance.below(4), stage.chance.number())?;
        met += u64::from(loss.writes > 0);
        daemon.kill();
        stage.replug_and_check(&ledger)?;
    }
    Ok(format!(
        "3 aborts in a backup left none; 6 cuts in a checkpoint, {met} with un-flushed writes, lost nothing"
    ))
}

/// The kernel writes back by itself what has been dirty for half a minute.
const WRITTEN_BACK: Duration = Duration::from_secs(40);

/// What 1,000 requests write onto the card, checkpoints and the file system's journal included.
fn bytes_written(plan: &Plan) -> Result<String> {
    let stage = Stage::new(plan, NO_LATCH)?;
    stage.leave_to_nobody()?;
    // As root, SQLite makes the log the store owner's with each connection that it opens, and that is a write.
    let launch = Launch { as_nobody: Some(Nobody), ..Launch::default() };
    let (daemon, _) = stage::start(&stage.site, launch)?;
    stage.site.deploy_app(&InlineApp {
        slug: "bytes",
        scripts: &[
            ("write", r#"kv::collection("c").set(event.params.id, event.body); 1"#),
            ("read", r#"kv::collection("c").get("k")"#),
            ("look", "1"),
        ],
        routes: &[
            ("POST /now/{id}", "write", ""),
            ("POST /later/{id}", "write", "dispatch_mode = \"async\""),
            ("GET /", "read", ""),
        ],
        manifest: "[[triggers]]\nkind = \"kv\"\nname = \"look\"\ncollection_glob = \"c\"\nscript = \"look\"\n",
    });
    let mut figures = vec![reads_write_nothing(&stage, &daemon)?];
    let body = format!(r#"{{"n":{},"text":"{}"}}"#, load::NUMBER_HERE, "x".repeat(74));
    for (what, path, status) in
        [("sync writes with a trigger", "now", 200), ("202s that do the same", "later", 202)]
    {
        let request = load::Request::post(&format!("/bytes/{path}/k"), &body);
        for (connections, requests) in [(64, 10_000), (1, 1_000)] {
            let before = stage.at_rest()?;
            load::run(&load_of(&daemon, connections, requests), &request)?.all(status)?;
            daemon.works_everything_off();
            let after = stage.at_rest()?;
            let kilobytes = (after.bytes - before.bytes) / requests;
            let flushes = (after.flushes - before.flushes) * 1_000 / requests;
            figures.push(format!(
                "{what}, {connections} at a time, {kilobytes} kB and {flushes} flushes"
            ));
        }
    }
    daemon.stop();
    Ok(figures.join("; "))
}

fn reads_write_nothing(stage: &Stage, daemon: &Daemon) -> Result<String> {
    const READS: u64 = 10_000;
    stage.at_rest()?;
    // What the file system still owes itself, its superblock for one, comes within that time after the flush.
    wait::pass(WRITTEN_BACK);
    let before = stage.card.counters()?;
    load::run(&load_of(daemon, 64, READS), &load::Request::get("/bytes/"))?.all(200)?;
    wait::pass(WRITTEN_BACK);
    let after = stage.card.counters()?;
    ensure!(before == after, "{READS} reads wrote: {before:?}, {after:?}");
    Ok(format!("{READS} reads 0 B"))
}

fn load_of(daemon: &Daemon, connections: u32, requests: u64) -> Load {
    Load {
        address: Address::Tcp(daemon.address()),
        connections,
        pace: Pace::Unpaced,
        until: Until::Sent(requests),
        first_number: 1,
    }
}

/// The demo's app, and nobody who asks it for anything.
fn idle(plan: &Plan) -> Result<String> {
    let stage = Stage::new(plan, NO_LATCH)?;
    let daemon = stage.start()?;
    stage.site.deploy(&source::root().join("daemon/demo"));
    for moisture in 10..30 {
        let body = format!(r#"{{"moisture": {moisture}}}"#);
        let kept = daemon.post("/greenhouse/readings/bed-1", &body);
        ensure!(kept.status == 201, "{kept:?}");
    }
    // A message that was lost may be tried again.
    daemon.works_everything_off();
    let before = stage.at_rest()?;
    let begin = Since::now();
    let wrote = wait::within(plan.idle, || {
        stage.card.counters().map_or(Some(()), |now| (now != before).then_some(()))
    });
    let after = stage.card.counters()?;
    ensure!(
        wrote.is_none(),
        "after {} s of rest the card was written to: {before:?}, {after:?}",
        begin.elapsed().as_secs()
    );
    daemon.stop();
    let found = store_file::integrity(&stage.site.store);
    ensure!(found == "ok", "{found}");
    Ok(format!("0 writes, 0 flushes in {} s", plan.idle.as_secs()))
}

/// Whether the daemon answers on its admin socket, and how long that takes.
pub fn admin_answers(daemon: &Daemon) -> Result<Duration> {
    let begin = Since::now();
    let answer = daemon.admin(&Request::get("/outbox?limit=1"))?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(begin.elapsed())
}

/// One request, of which nothing may come: a daemon that ends does not answer.
pub fn ask(daemon: &Daemon, request: &Request) -> Option<crate::client::Response> {
    Connection::tcp(daemon.address()).ok()?.send(request).ok()
}
