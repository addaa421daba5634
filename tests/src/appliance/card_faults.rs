//! The cases in which the card fails: an error of a read, a write or a flush, no room, read-only, a stall.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::appliance::card::Fault;
use crate::appliance::slow_card::{BYTES_PER_SECOND, NO_LATCH, Plan, Stage, admin_answers, ask};
use crate::appliance::stage;
use crate::client::{Request, Response};
use crate::daemon::{Daemon, InlineApp, Launch, Site};
use crate::ledger::{self, Ledger};
use crate::store_file;
use crate::systemd::Systemd;
use crate::wait::{self, Since};

/// Answers before the card fails.
const ANSWERS_BEFORE: u64 = 100;
/// A daemon whose card fails a flush ends within this time.
const END_MAX: Duration = Duration::from_secs(5);
const MB: u64 = 1_000_000;

/// Writes 1.2 MB under keys of its own.
const STUFF: InlineApp<'_> = InlineApp {
    slug: "stuff",
    scripts: &[
        (
            "fill",
            "let text = \"x\"; while text.len() < 60_000 { text += text; } \
             for n in 0..20 { kv::collection(\"stuff\").set(`${event.query.at}-${n}`, text); } 1",
        ),
        ("look", "kv::collection(\"stuff\").get(event.query.key).len()"),
    ],
    routes: &[("POST /fill", "fill", ""), ("GET /", "look", "")],
    manifest: "",
};

fn now(daemon: &Daemon, id: &str) -> Option<Response> {
    ask(daemon, &Request::post(format!("/ledger/now/{id}"), "{}"))
}

fn later(daemon: &Daemon, id: &str) -> Option<Response> {
    ask(daemon, &Request::post(format!("/ledger/later/{id}"), "{}"))
}

/// How often it was counted; `None` without an answer.
fn read(daemon: &Daemon, id: &str) -> Option<i64> {
    let answer = ask(daemon, &Request::post("/ledger/counts", format!("[\"{id}\"]")))?;
    (answer.status == 200).then(|| answer.json()["counts"][id]["applied"].as_i64())?
}

fn status(answer: Option<&Response>) -> u16 {
    answer.map_or(0, |answer| answer.status)
}

fn outcome(answer: &Response) -> String {
    answer.json()["outcome"].as_str().unwrap_or_default().to_owned()
}

pub fn flush_fails(plan: &Plan) -> Result<String> {
    ends_at(plan, Fault::FlushesFail)
}

/// Linux says so at the next flush.
pub fn write_fails(plan: &Plan) -> Result<String> {
    ends_at(plan, Fault::WritesFail)
}

/// The file system believes that there is room; like an error of a write, that comes out at the next flush.
pub fn card_without_room(plan: &Plan) -> Result<String> {
    ends_at(plan, Fault::Full)
}

/// After a flush that failed nobody knows what is on the card: the daemon has to end, so that it is started anew.
fn ends_at(plan: &Plan, fault: Fault) -> Result<String> {
    let (stage, daemon) = Stage::with_ledger(plan, NO_LATCH)?;
    let ledger = Ledger::default();
    let before = stage.site.log().len();
    let life = (stage.chance.clone(), 1);
    let (ended, took) = stage::under_load(&ledger, daemon, life, |mut daemon| {
        let enough = || (ledger.answered() >= ANSWERS_BEFORE).then_some(());
        wait::within(wait::PATIENCE, enough).context("clients get no answers")?;
        stage.card.fail(fault)?;
        let begin = Since::now();
        let ended = daemon.ends_within(END_MAX);
        anyhow::Ok((ended, begin.elapsed()))
    })?;
    let said = stage.site.log()[before..].to_owned();
    let code = ended.with_context(|| format!("it goes on:\n{said}"))?.code();
    ensure!(code == Some(1), "it ended with {code:?}:\n{said}");
    ensure!(!said.contains("panicked"), "{said}");
    stage.replug_and_check(&ledger)?;
    Ok(format!(
        "the daemon ended after {} ms, {} answers before; all there once after the restart",
        took.as_millis(),
        ledger.answered()
    ))
}

/// A request whose data cannot be read fails, and others do not.
pub fn read_fails(plan: &Plan) -> Result<String> {
    let stage = Stage::new(plan, NO_LATCH)?;
    let daemon = stage.start()?;
    stage.site.deploy_app(&STUFF);
    for at in 0..20 {
        let answer = daemon.post(&format!("/stuff/fill?at={at}"), "{}");
        ensure!(answer.status == 200, "{answer:?}");
    }
    daemon.stop();
    stage.card.replug()?;
    let daemon = stage.start()?;
    let look = |key: &str| ask(&daemon, &Request::get(format!("/stuff/?key={key}")));
    ensure!(status(look("0-0").as_ref()) == 200, "it cannot be read while the card is well");
    stage.card.fail(Fault::ReadsFail)?;
    let failed = look("13-7").context("no answer")?;
    ensure!(failed.status >= 500, "{failed:?}");
    ensure!(status(look("0-0").as_ref()) == 200, "what is in memory is read on");
    let admin = admin_answers(&daemon)?;
    stage.card.fail(Fault::None)?;
    let well = wait::within(Duration::from_secs(10), || {
        (status(look("13-7").as_ref()) == 200).then_some(())
    });
    well.context("it does not recover")?;
    let written = daemon.post("/stuff/fill?at=20", "{}");
    ensure!(written.status == 200, "{written:?}");
    daemon.stop();
    Ok(format!(
        "its request got {}, what was in memory was read on, admin after {} ms, well again without a restart",
        failed.status,
        admin.as_millis()
    ))
}

/// What takes the room of a card.
struct Ballast(PathBuf);

impl Ballast {
    /// Leaves at most so many bytes free.
    fn leaving(stage: &Stage, left: u64) -> Result<Ballast> {
        let path = stage.card.mount().join("ballast");
        let file = fs::File::create(&path)?;
        let mut length = 0;
        let full = wait::within(Duration::from_secs(20), || {
            let space = statvfs(stage.card.mount()).ok()?;
            let free = space.f_bavail * space.f_frsize;
            if free <= left {
                return Some(());
            }
            // Large pieces first; at the end there are only small ones.
            let more = (free - left).min(MB * 8);
            let pieces = [more, more.min(65_536), more.min(4_096)];
            let fits =
                |piece: &u64| fallocate(&file, FallocateFlags::empty(), length, *piece).is_ok();
            length += pieces.iter().find(|piece| fits(piece)).copied().unwrap_or_default();
            None
        });
        full.context("the card does not become full")?;
        Ok(Ballast(path))
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

pub fn file_system_full(plan: &Plan) -> Result<String> {
    let refused = nearly_full(plan)?;
    let answered = quite_full(plan)?;
    Ok(format!(
        "nearly full: {refused}; full under load, three times: {answered} answers, none a lie, no restart"
    ))
}

/// Below its limit the daemon takes nothing new, reads on and settles what it has.
fn nearly_full(plan: &Plan) -> Result<String> {
    let (stage, daemon) = Stage::with_ledger(plan, "[limits.store]\nfree_bytes_min = 16_000_000")?;
    ensure!(status(now(&daemon, "before").as_ref()) == 200, "it takes nothing at all");
    let running: Vec<String> = (0..8).map(|number| format!("running-{number}")).collect();
    for id in &running {
        let accepted = ask(&daemon, &Request::post(format!("/ledger/slowly/{id}"), "{}"));
        ensure!(status(accepted.as_ref()) == 202, "{accepted:?}");
    }
    let ballast = Ballast::leaving(&stage, 8 * MB)?;
    let mut number = 0;
    let refused = wait::within(Duration::from_secs(20), || {
        number += 1;
        later(&daemon, &format!("late-{number}")).filter(|answer| answer.status != 202)
    });
    let refused = refused.context("it takes everything although there is little room")?;
    ensure!((refused.status, &*outcome(&refused)) == (503, "nothing_changed"), "{refused:?}");
    let sync = now(&daemon, "full").context("no answer")?;
    ensure!((sync.status, &*outcome(&sync)) == (507, "nothing_changed"), "{sync:?}");
    // Settles pass, and so do reads.
    daemon.works_everything_off();
    for id in &running {
        ensure!(read(&daemon, id) == Some(1), "{id} was not settled");
    }
    ensure!(read(&daemon, "before") == Some(1), "it does not read on");
    drop(ballast);
    let begin = Since::now();
    let again = || (status(now(&daemon, "after").as_ref()) == 200).then_some(());
    wait::within(Duration::from_secs(30), again).context("it does not take work again")?;
    let took = begin.elapsed();
    daemon.stop();
    Ok(format!(
        "async 503, sync 507, reads and settles went on, work again {} ms after there was room",
        took.as_millis()
    ))
}

/// Without a limit of its own the commits themselves fail.
fn quite_full(plan: &Plan) -> Result<u64> {
    let (stage, daemon) = Stage::with_ledger(plan, NO_LATCH)?;
    let ledger = Ledger::default();
    let life = (stage.chance.clone(), 1);
    let daemon = stage::under_load(&ledger, daemon, life, |daemon| {
        let answers = |more: u64| {
            let enough = ledger.answered() + more;
            wait::within(wait::PATIENCE, || (ledger.answered() >= enough).then_some(()))
        };
        for round in 0..3 {
            answers(100).with_context(|| format!("no answers before it is full, {round}"))?;
            let ballast = Ballast::leaving(&stage, 0)?;
            answers(100).with_context(|| format!("no answers while it is full, {round}"))?;
            drop(ballast);
        }
        anyhow::Ok(daemon)
    })?;
    stage::check(&stage.site, &ledger, &daemon)?;
    daemon.stop();
    Ok(ledger.answered())
}

/// A file system on which the kernel found an error turns read-only under open files.
pub fn read_only(plan: &Plan) -> Result<String> {
    let (stage, mut daemon) = Stage::with_ledger(plan, NO_LATCH)?;
    ensure!(status(now(&daemon, "before").as_ref()) == 200, "it takes nothing at all");
    stage.at_rest()?;
    let mount = stage.card.mount();
    let aborted = Command::new("timeout")
        .args(["-k", "5", "20", "mount", "-o", "remount,abort"])
        .arg(&mount)
        .output()?;
    ensure!(aborted.status.success(), "{}", String::from_utf8_lossy(&aborted.stderr));
    ensure!(read(&daemon, "before") == Some(1), "it does not read on:\n{}", stage.site.log());
    let refused = now(&daemon, "broken");
    ensure!(status(refused.as_ref()) == 0 || status(refused.as_ref()) >= 500, "{refused:?}");
    let after = match daemon.ends_within(Duration::from_secs(3)) {
        None => {
            for _ in 0..20 {
                ensure!(read(&daemon, "before") == Some(1), "it does not read on");
            }
            let admin = admin_answers(&daemon)?;
            daemon.kill();
            format!("reads went on, admin after {} ms", admin.as_millis())
        }
        Some(ended) => {
            bail!("a write ended it ({ended}), and with it the reads:\n{}", stage.site.log())
        }
    };
    stage.card.replug()?;
    let daemon = stage.start()?;
    ensure!(read(&daemon, "before") == Some(1), "what was acknowledged is lost");
    ensure!(read(&daemon, "broken") == Some(0), "what was refused is there");
    daemon.stop();
    Ok(format!("a write got {}, {after}", status(refused.as_ref())))
}

/// Half a minute in which no flush ends: callers wait or are told that nobody knows, nothing runs twice, and a watchdog that
/// wants a sign of life in much less gets each in time.
pub fn stall(plan: &Plan) -> Result<String> {
    const STALL: Duration = Duration::from_secs(30);
    const WATCHDOG: Duration = Duration::from_secs(4);
    let stage = Stage::new(plan, NO_LATCH)?;
    let mut systemd = Systemd::new();
    systemd.watchdog = Some(WATCHDOG);
    let launch = Launch { by: Some(&systemd), ..Launch::default() };
    let (daemon, _) = stage::start(&stage.site, launch)?;
    stage.site.deploy(&ledger::app());
    // It does not count for the total, which is of the load alone.
    let before = ask(&daemon, &Request::post("/ledger/handed-on/before", "{}"));
    ensure!(status(before.as_ref()) == 200, "it takes nothing at all");
    let ledger = Ledger::default();
    let life = (stage.chance.clone(), 1);
    let mut signs = Signs::of(&systemd);
    let (daemon, slowest) = stage::under_load(&ledger, daemon, life, |mut daemon| {
        wait::within(wait::PATIENCE, || (ledger.answered() >= ANSWERS_BEFORE).then_some(()))
            .context("clients get no answers")?;
        // A flush that has begun ends when the card is fast again.
        stage.card.slow(STALL * 4, 0)?;
        let begin = Since::now();
        let mut slowest = Duration::ZERO;
        while begin.elapsed() < STALL {
            let asked = Since::now();
            let found = read(&daemon, "before");
            ensure!(found == Some(1), "reads do not go on: {found:?}\n{}", stage.site.log());
            slowest = slowest.max(asked.elapsed()).max(admin_answers(&daemon)?);
            ensure!(
                daemon.ends_within(Duration::ZERO).is_none(),
                "it ended:\n{}",
                stage.site.log()
            );
            signs.look(Duration::from_millis(200));
            let longest = signs.longest;
            ensure!(longest < WATCHDOG, "no sign of life in {longest:.1?}:\n{}", stage.site.log());
        }
        stage.card.slow(Duration::ZERO, 0)?;
        wait::pass(Duration::from_secs(2));
        anyhow::Ok((daemon, slowest))
    })?;
    stage::check(&stage.site, &ledger, &daemon)?;
    daemon.stop();
    Ok(format!(
        "{} s: reads and admin answered within {} ms, {} signs of life, at most {:.1} s apart, for a watchdog of {} s; all there once",
        STALL.as_secs(),
        slowest.as_millis(),
        signs.count,
        signs.longest.as_secs_f64(),
        WATCHDOG.as_secs()
    ))
}

/// Signs of life that systemd's watchdog has got.
struct Signs<'a> {
    systemd: &'a Systemd,
    last: Since,
    count: u32,
    /// The longest time without one.
    longest: Duration,
}

impl Signs<'_> {
    fn of(systemd: &Systemd) -> Signs<'_> {
        Signs { systemd, last: Since::now(), count: 0, longest: Duration::ZERO }
    }

    /// Hears what comes in this time.
    fn look(&mut self, time: Duration) {
        let begin = Since::now();
        loop {
            let left = time.saturating_sub(begin.elapsed());
            let Some(message) = self.systemd.hears_within(left) else { break };
            if message.contains("WATCHDOG=1") {
                self.longest = self.longest.max(self.last.elapsed());
                (self.last, self.count) = (Since::now(), self.count + 1);
            }
        }
        self.longest = self.longest.max(self.last.elapsed());
    }
}

/// Files among the backups of a site.
pub fn backups_of(site: &Site) -> Result<Vec<PathBuf>> {
    let folder = site.store.with_file_name("backups");
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Backups while which the disk fills.
const BACKUPS: u32 = 12;

/// Whatever the moment at which there is no room any more: a backup is whole, or there is none.
pub fn backup_while_it_fills(plan: &Plan) -> Result<String> {
    let mut stage = Stage::new(plan, NO_LATCH)?;
    let daemon = stage.start()?;
    stage.site.deploy_app(&STUFF);
    for at in 0..15 {
        let answer = daemon.post(&format!("/stuff/fill?at={at}"), "{}");
        ensure!(answer.status == 200, "{answer:?}");
    }
    stage.card.slow(Duration::from_millis(5), BYTES_PER_SECOND * 4)?;
    let (mut whole, mut absent) = (0, 0);
    for _ in 0..BACKUPS {
        let before = backups_of(&stage.site)?;
        let started = daemon.admin(&Request::post("/backups", "{}"))?;
        ensure!(started.status == 202, "{started:?}");
        wait::pass(Duration::from_millis(stage.chance.below(200)));
        let left = stage.chance.below(3 * MB);
        let ballast = Ballast::leaving(&stage, left)?;
        let ended = wait::within(wait::PATIENCE, || {
            let newest = daemon.list("backups").into_iter().next()?;
            (newest["state"] != "running").then_some(newest)
        });
        let ended = ended.context("the backup does not end")?;
        let mut made = backups_of(&stage.site)?;
        made.retain(|path| !before.contains(path));
        match (&*made, ended["state"].as_str()) {
            ([file], Some("done")) => {
                let found = store_file::integrity(file);
                ensure!(found == "ok", "{}: {found}", file.display());
                whole += 1;
                fs::remove_file(file)?;
            }
            ([], Some("failed")) => absent += 1,
            (files, state) => bail!("{state:?}, and there is {files:?}: {ended}"),
        }
        drop(ballast);
    }
    let (daemon, _) = {
        daemon.stop();
        stage::start(&stage.site, Launch::default())?
    };
    let look = daemon.send(&Request::get("/stuff/?key=14-19"));
    ensure!(look.status == 200, "{look:?}");
    daemon.stop();
    ensure!(absent > 0, "no disk was full in time: this has shown nothing");
    Ok(format!("of {BACKUPS} backups {whole} whole, {absent} absent, none in between"))
}
