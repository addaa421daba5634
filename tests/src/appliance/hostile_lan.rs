//! Strangers on the LAN who do their worst, while others call as they always did and the owner looks on.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::appliance::attack::Attack;
use crate::appliance::limits::Limits;
use crate::appliance::record::say;
use crate::appliance::slow_card::admin_answers;
use crate::appliance::stage;
use crate::chance::Chance;
use crate::client::{Connection, Request};
use crate::daemon::{Daemon, InlineApp, Launch, Site};
use crate::history::contradictions;
use crate::ledger::{self, Ledger};
use crate::measure::load::{self, Address, Answers, Load, Pace, Until};
use crate::measure::process::Process;
use crate::wait::{self, Since};

/// How long callers are measured before an attack, and how long it lasts.
const BEFORE: Duration = Duration::from_secs(3);
const ATTACK: Duration = Duration::from_secs(6);
/// How often each is tried.
const ROUNDS: usize = 3;
/// From here on an attack is under way.
const HEAD_START: Duration = Duration::from_millis(300);
/// Requests a second of the well-behaved: reads, and writes.
const READS: u32 = 100;
const WRITES: u32 = 40;
/// An answer within this time is quick enough whatever it was before: one look away of the scheduler is longer.
const QUICK: Duration = Duration::from_millis(20);
/// The admin socket answers within this time, whatever happens on the LAN.
const ADMIN_MAX: Duration = Duration::from_secs(1);

const APP: InlineApp<'_> = InlineApp {
    slug: "lan",
    scripts: &[
        ("read", r#"kv::collection("c").get("k")"#),
        ("write", r#"kv::collection("c").set("k", event.body); 1"#),
        ("big", r#"let text = "x"; while text.len() < 500_000 { text += text; } text"#),
    ],
    routes: &[("GET /", "read", ""), ("POST /", "write", ""), ("GET /big", "big", "")],
    manifest: "",
};

#[derive(Debug)]
pub struct Plan {
    /// A control group whose memory is limited, if there is one.
    pub group: Option<PathBuf>,
    pub seed: u64,
}

/// Times of the well-behaved.
struct Served {
    reads: Answers,
    writes: Answers,
}

impl Served {
    fn p99(&self) -> Duration {
        self.reads.times.at_permille(990).max(self.writes.times.at_permille(990))
    }
}

pub fn run(plan: &Plan) -> Result<Vec<(&'static str, String)>> {
    let mut figures = Vec::new();
    let limits = plan.group.clone().map(|group| Limits::of(&[group]));
    let mut failed = Vec::new();
    let mut note = |name: &'static str, played: Result<String>| match played {
        Ok(figure) => {
            say(&format!("{name}: {figure}"));
            figures.push((name, figure));
        }
        Err(error) => {
            say(&format!("{name}: FAILED: {error:#}"));
            failed.push(name);
        }
    };
    let mut site = Site::new();
    site.settings = "[log]\nlevel = \"error\"".to_owned();
    let through = limits.as_ref().map_or_else(Vec::new, Limits::enter);
    let (daemon, _) = stage::start(&site, Launch { through: &through, ..Launch::default() })?;
    site.deploy_app(&APP);
    ensure!(daemon.post("/lan/", "1").status == 200, "the app does not work");
    for attack in Attack::ALL {
        note(attack.name(), stage::played(|| survive(&daemon, attack, limits.as_ref())));
    }
    daemon.stop();
    let starved = match &limits {
        Some(limits) => stage::played(|| out_of_memory(plan, limits)),
        None => Ok("not tested: no control group".to_owned()),
    };
    note("killed for its memory", starved);
    ensure!(failed.is_empty(), "not survived: {}", failed.join(", "));
    Ok(figures)
}

/// What the well-behaved get for so long, while `meanwhile` runs.
fn serve<T>(daemon: &Daemon, time: Duration, meanwhile: impl FnOnce() -> T) -> Result<(Served, T)> {
    let address = daemon.address();
    let load = move |connections, rate| Load {
        address: Address::Tcp(address),
        connections,
        pace: Pace::PerSecond(rate),
        until: Until::Passed(time),
        first_number: 1,
    };
    let body = format!("{{\"n\":{}}}", load::NUMBER_HERE);
    let (read, write) = (load::Request::get("/lan/"), load::Request::post("/lan/", &body));
    std::thread::scope(|scope| {
        let reads = scope.spawn(|| load::run(&load(8, READS), &read)?.all(200));
        let writes = scope.spawn(|| load::run(&load(4, WRITES), &write)?.all(200));
        let done = meanwhile();
        let joined = |thread: std::thread::ScopedJoinHandle<'_, Result<Answers>>| {
            thread.join().expect("the load does not panic").context("the well-behaved")
        };
        Ok((Served { reads: joined(reads)?, writes: joined(writes)? }, done))
    })
}

/// An attack, a few times, judged by the quietest: what strangers do to others they do each time, another program on this
/// machine only now and then.
fn survive(daemon: &Daemon, attack: Attack, limits: Option<&Limits>) -> Result<String> {
    let killed = limits.map_or(0, Limits::kills);
    let mut rounds = Vec::new();
    let mut seen = Seen::default();
    for _ in 0..ROUNDS {
        rounds.push(round(daemon, attack, &mut seen)?);
    }
    ensure!(limits.map_or(0, Limits::kills) == killed, "the kernel killed somebody for memory");
    let ratio =
        |(was, is): &(Duration, Duration)| is.as_secs_f64() / (*was).max(QUICK / 2).as_secs_f64();
    rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let (was, is) = rounds[0];
    let figure = format!(
        "p99 {:.1} → {:.1} ms, new callers {} of {}, admin within {} ms, PSS up to {:.1} MB, {}",
        was.as_secs_f64() * 1e3,
        is.as_secs_f64() * 1e3,
        seen.let_in,
        seen.came,
        seen.admin.as_millis(),
        seen.pss as f64 / 1e6,
        seen.met,
    );
    ensure!(is <= (was * 2).max(QUICK), "others were served badly: {figure}");
    ensure!(seen.admin <= ADMIN_MAX, "the owner had to wait: {figure}");
    ensure!(!attack.leaves_room() || seen.let_in == seen.came, "callers were refused: {figure}");
    Ok(figure)
}

/// The 99th percentile of the well-behaved before an attack and during one.
fn round(daemon: &Daemon, attack: Attack, seen: &mut Seen) -> Result<(Duration, Duration)> {
    let (before, ()) = serve(daemon, BEFORE, || ())?;
    let (during, looked) = serve(daemon, ATTACK + HEAD_START, || {
        wait::pass(HEAD_START);
        let target = daemon.address();
        std::thread::scope(|scope| {
            let begin = Since::now();
            let fight = scope.spawn(move || attack.run(target, ATTACK));
            while begin.elapsed() < ATTACK - HEAD_START {
                seen.look(daemon, attack)?;
                wait::pass(Duration::from_millis(200));
            }
            seen.met = fight.join().expect("an attack does not panic")?;
            anyhow::Ok(())
        })
    })?;
    looked?;
    Ok((before.p99(), during.p99()))
}

/// What was seen while an attack went on.
#[derive(Default)]
struct Seen {
    admin: Duration,
    pss: u64,
    /// Well-behaved callers who came new, and those of them who were served.
    came: u32,
    let_in: u32,
    /// What the attackers met.
    met: String,
}

impl Seen {
    fn look(&mut self, daemon: &Daemon, attack: Attack) -> Result<()> {
        self.admin = self.admin.max(admin_answers(daemon)?);
        self.pss = self.pss.max(Process(daemon.process()).pss_bytes()?);
        self.came += 1;
        let answer = Connection::tcp(daemon.address())
            .and_then(|mut connection| connection.send(&Request::get("/lan/")));
        match answer {
            Ok(answer) if answer.status == 200 => self.let_in += 1,
            Ok(_) | Err(_) if !attack.leaves_room() => {}
            Ok(answer) => bail!("a new caller got {answer:?}"),
            Err(error) => bail!("a new caller got {error}"),
        }
        Ok(())
    }
}

/// Half a gigabyte, in pieces that are allowed.
const EAT: &str = r#"fn piece() { let text = "x"; while text.len() < 33_000_000 { text += text; } text }
    let a = piece(); let b = piece(); let c = piece(); let d = piece(); let e = piece();
    let f = piece(); let g = piece(); let h = piece(); let i = piece(); let j = piece();
    let k = piece(); let l = piece(); let m = piece(); let n = piece(); let o = piece();
    a.len()"#;

const HUNGRY: InlineApp<'_> = InlineApp {
    slug: "hungry",
    scripts: &[("eat", EAT)],
    routes: &[(
        "POST /",
        "eat",
        "dispatch_mode = \"async\"\n\
         retry = { max_attempts = 3, backoff = \"constant\", base = \"10ms\", jitter = 0.0 }",
    )],
    manifest: "",
};

/// More than the group may have: the daemon's own limits, which would stop the script, are out of the way.
const GREEDY: &str = "[log]\nlevel = \"error\"\n[limits.run]\noperations_max = 1_000_000_000\n\
                      memory_bytes_max = 4_000_000_000\ntimeout_ms = 60_000\n\
                      string_bytes_max = 67_108_864\n\
                      [limits.gate]\nmemory_bytes_max = 4_000_000_000";

/// A script that needs more memory than there is has the kernel kill the daemon, again and again.
fn out_of_memory(plan: &Plan, limits: &Limits) -> Result<String> {
    let mut site = Site::new();
    GREEDY.clone_into(&mut site.settings);
    let through = limits.enter();
    let launch = Launch { through: &through, ..Launch::default() };
    let (daemon, _) = stage::start(&site, launch)?;
    site.deploy(&ledger::app());
    site.deploy_app(&HUNGRY);
    let killed = limits.kills();
    let accepted = daemon.post("/hungry/", "{}");
    ensure!(accepted.status == 202, "{accepted:?}");
    let ledger = Ledger::default();
    let mut chance = Chance::new(plan.seed, 22);
    let (mut daemon, mut deaths, mut slowest) = (daemon, 0, Duration::ZERO);
    loop {
        let life = (Chance::new(chance.number(), 0), deaths + 1);
        let ended = stage::under_load(&ledger, daemon, life, |mut daemon| {
            let over = wait::within(wait::PATIENCE, || {
                if let Some(ended) = daemon.ends_within(Duration::ZERO) {
                    return Some(Some(ended));
                }
                // Once it is dead, the daemon lives on.
                let listed = daemon.admin(&Request::get("/dead-letters?limit=1000")).ok()?;
                let text = String::from_utf8_lossy(&listed.body).into_owned();
                text.contains("\"eat\"").then_some(None)
            });
            (over, daemon)
        });
        let (over, lived) = ended;
        match over.context("it neither dies nor gives the script up")? {
            None => {
                daemon = lived;
                break;
            }
            Some(ended) => {
                ensure!(ended.signal() == Some(9), "it ended with {ended}:\n{}", site.log());
                deaths += 1;
                ensure!(deaths < 20, "it is killed over and over again");
                let (next, took) = stage::start(&site, launch)?;
                slowest = slowest.max(took);
                daemon = next;
            }
        }
    }
    ensure!(slowest <= stage::READY_MAX, "ready only after {slowest:.1?}");
    let letters = daemon.list("dead-letters");
    let eat = letters.iter().find(|letter| letter["script"] == "eat");
    ensure!(deaths > 0 && limits.kills() > killed, "the kernel has killed nobody: {eat:?}");
    let mut found = ledger.found(&daemon);
    let before = found.letters.len();
    found.letters.retain(|(script, _)| script != "eat");
    ensure!(before - found.letters.len() == 1, "one dead letter was expected of the script alone");
    let wrong = contradictions(&ledger.history(), &found);
    ensure!(wrong.is_empty(), "{}", wrong[..wrong.len().min(5)].join("\n"));
    daemon.stop();
    Ok(format!(
        "killed {deaths} times, then the script given up alone; {} answers meanwhile, all there once; ready after {} ms at most",
        ledger.answered(),
        slowest.as_millis()
    ))
}

/// The group that a script has made, as it is named on the command line.
pub fn group(path: Option<&Path>) -> Option<PathBuf> {
    path.filter(|path| path.is_dir()).map(Path::to_owned)
}
