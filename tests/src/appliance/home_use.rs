//! A day in a home, in minutes: sensors post, schedules fire, dashboards read, messages fail now and then. What the daemon holds
//! in memory and on the card must not grow with the hours.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::appliance::card::Card;
use crate::appliance::limits::Limits;
use crate::appliance::record::say;
use crate::appliance::slow_card::{BYTES_PER_SECOND, FLUSH, MIB, NO_LATCH};
use crate::appliance::stage;
use crate::chance::Chance;
use crate::client::{Connection, Request};
use crate::daemon::{Daemon, InlineApp, Launch, Site};
use crate::measure::process::Process;
use crate::store_file;
use crate::wait::{self, Since};

/// What is kept is a ring of so many readings of each sensor.
const APP: InlineApp<'_> = InlineApp {
    slug: "home",
    scripts: &[
        (
            "record",
            r#"let sensor = event.params.sensor;
               let count = kv::collection("counts").get(sensor);
               if count == () { count = 0; }
               let reading = #{ sensor: sensor, moisture: event.body.moisture, at: time::now() };
               docs::collection("readings").put(`${sensor}-${count % 60}`, reading);
               docs::collection("sensors").put(sensor, reading);
               kv::collection("counts").set(sensor, count + 1);
               #{ status: 201, body: #{ count: count } }"#,
        ),
        (
            "watch",
            r#"let alarm = docs::collection("alarms").get(event.id);
               let is_open = alarm != () && alarm.state == "open";
               if event.data.moisture < 20 && !is_open {
                   docs::collection("alarms").put(event.id, #{ state: "open", since: time::now() });
               } else if event.data.moisture >= 20 && is_open {
                   docs::collection("alarms").put(event.id, #{ state: "closed", since: time::now() });
               }"#,
        ),
        (
            "notify",
            r#"if random::int(1, 3) == 1 { throw "the messenger did not answer"; }
               kv::collection("counts").incr("messages", 1);"#,
        ),
        ("tick", r#"kv::collection("counts").incr("ticks", 1);"#),
        (
            "report",
            r#"let sum = 0; let count = 0;
               for found in docs::collection("readings").find(#{}) { sum += found.data.moisture; count += 1; }
               let reports = kv::collection("counts").get("reports");
               if reports == () { reports = 0; }
               docs::collection("reports").put(`${reports % 12}`, #{ readings: count, sum: sum });
               kv::collection("counts").set("reports", reports + 1);"#,
        ),
        (
            "overview",
            r#"let sensors = #{};
               for found in docs::collection("sensors").find(#{}) { sensors[found.id] = found.data.moisture; }
               let counts = kv::collection("counts");
               #{ sensors: sensors, ticks: counts.get("ticks"), reports: counts.get("reports"),
                  messages: counts.get("messages") }"#,
        ),
    ],
    routes: &[("POST /readings/{sensor}", "record", ""), ("GET /", "overview", "")],
    manifest: r#"
[[triggers]]
kind = "docs"
name = "watch-sensors"
collection_glob = "sensors"
ops = ["create", "update"]
script = "watch"
ordering = "by_key"
[[triggers]]
kind = "docs"
name = "notify-owner"
collection_glob = "alarms"
ops = ["create", "update"]
script = "notify"
retry = { max_attempts = 3, backoff = "exponential", base = "1s", jitter = 0.2 }
[[triggers]]
kind = "schedule"
name = "every-five-minutes"
cron = "*/5 * * * *"
script = "tick"
[[triggers]]
kind = "schedule"
name = "every-hour"
cron = "0 * * * *"
script = "report"
"#,
};

/// Deadlines are the fast clock's too: runs get an hour of it.
const SETTINGS: &str = "[limits.run]\ntimeout_ms = 3_600_000";
const SENSORS: u64 = 6;
/// Dashboards that look each minute.
const DASHBOARDS: u32 = 3;
/// The hour after which memory and file are compared with what they are at the end.
const WARM: u64 = 2;
/// By so much in a hundred they may have grown at the end.
const GROWTH_PERCENT_MAX: u64 = 5;

#[derive(Debug)]
pub struct Plan {
    pub card: PathBuf,
    pub card_script: PathBuf,
    pub group: Option<PathBuf>,
    pub hours: u64,
    /// How many times faster its clock runs.
    pub speed: u32,
    pub seed: u64,
}

/// What the daemon holds after so many hours.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Shared pages counted by their share, so that others who run the same program make it less.
    pss: u64,
    /// What is nobody else's, and no file's.
    own: u64,
    file: u64,
}

/// The home, and its clock.
struct Home {
    site: Site,
    card: Card,
    begin: Since,
    speed: u32,
    chance: Chance,
    answers: u64,
}

pub fn run(plan: &Plan) -> Result<Vec<(&'static str, String)>> {
    ensure!(plan.hours > WARM, "at least {} hours show something", WARM + 1);
    let card = Card::make(&plan.card, &plan.card_script, MIB)?;
    card.plug()?;
    card.slow(FLUSH, BYTES_PER_SECOND)?;
    let site = stage::site_on(&card, &format!("{NO_LATCH}\n{SETTINGS}"))?;
    let through = Limits::of(plan.group.as_slice()).enter();
    let fault = format!("clock:{}:{}", plan.speed, now_ms()?);
    let launch = Launch { through: &through, fault: Some(&fault), ..Launch::default() };
    let (daemon, _) = stage::start(&site, launch)?;
    site.deploy_app(&APP);
    let chance = Chance::new(plan.seed, 23);
    let begin = Since::now();
    let mut home = Home { site, card, begin, speed: plan.speed, chance, answers: 0 };
    // Within the first hour the power fails once.
    home.live_until(&daemon, 30)?;
    daemon.kill();
    let (daemon, _) = stage::start(&home.site, launch)?;
    let mut warm = None;
    for hour in 1..=plan.hours {
        home.live_until(&daemon, hour * 60)?;
        if hour == WARM || hour == plan.hours || hour % 6 == 0 {
            let held = home.held(&daemon)?;
            say(&format!("hour {hour}: {} answers, {held:?}", home.answers));
            if hour == WARM {
                warm = Some(held);
            }
            if hour == plan.hours {
                let warm = warm.context("hour 2 was left out")?;
                return home.judged(daemon, warm, held);
            }
        }
    }
    anyhow::bail!("the hours are over without a last look")
}

impl Home {
    /// Minutes of the fast clock so far.
    fn minutes(&self) -> u64 {
        (self.begin.elapsed() * self.speed).as_secs() / 60
    }

    /// Lives on, minute by minute of the fast clock. A card that is too slow for a minute has the next one left out.
    fn live_until(&mut self, daemon: &Daemon, minute: u64) -> Result<()> {
        let mut connection = Connection::tcp(daemon.address())?;
        while self.minutes() < minute {
            let due = Duration::from_secs(60) * u32::try_from(self.minutes() + 1)? / self.speed;
            wait::pass(due.saturating_sub(self.begin.elapsed()));
            self.sensors_post(daemon)?;
            for _ in 0..DASHBOARDS {
                let answer = connection.send(&Request::get("/home/"))?;
                ensure!(answer.status == 200, "minute {}: {answer:?}", self.minutes());
                self.answers += 1;
            }
        }
        Ok(())
    }

    /// All at once, as the minute begins.
    fn sensors_post(&mut self, daemon: &Daemon) -> Result<()> {
        let (minute, address) = (self.minutes(), daemon.address());
        let posts: Vec<Request> = (0..SENSORS)
            .map(|sensor| {
                // Dry for a quarter of an hour every two hours, each sensor at another time.
                let dry = (minute + sensor * 20) % 120 < 15;
                let moisture = if dry { 10 } else { 30 } + self.chance.below(10);
                let body = format!("{{\"moisture\": {moisture}}}");
                Request::post(format!("/home/readings/bed-{sensor}"), body)
            })
            .collect();
        let answers: Vec<_> = std::thread::scope(|scope| {
            let send = |post| scope.spawn(move || Connection::tcp(address)?.send(post));
            let sent: Vec<_> = posts.iter().map(send).collect();
            sent.into_iter().map(|one| one.join().expect("a sensor does not panic")).collect()
        });
        for answer in answers {
            let answer = answer?;
            ensure!(answer.status == 201, "minute {minute}: {answer:?}\n{}", self.site.log());
            self.answers += 1;
        }
        Ok(())
    }

    /// Memory and file once nothing is left to do and the log is cut.
    fn held(&self, daemon: &Daemon) -> Result<Held> {
        let mut log = self.site.store.clone().into_os_string();
        log.push("-wal");
        let is_cut = || std::fs::metadata(&log).is_ok_and(|log| log.len() == 0).then_some(());
        wait::within(wait::PATIENCE, is_cut).context("the log is not cut")?;
        // What a load leaves behind is given back right after.
        wait::pass(Duration::from_millis(200));
        let process = Process(daemon.process());
        let (pss, own) = (process.pss_bytes()?, process.own_bytes()?);
        Ok(Held { pss, own, file: std::fs::metadata(&self.site.store)?.len() })
    }

    fn judged(self, daemon: Daemon, warm: Held, late: Held) -> Result<Vec<(&'static str, String)>> {
        let minutes = self.minutes();
        let seen = daemon.send(&Request::get("/home/")).json();
        let count = |name: &str| seen[name].as_u64().unwrap_or_default();
        let letters = daemon.list("dead-letters").len();
        let written = self.card.counters()?;
        daemon.stop();
        let found = store_file::integrity(&self.site.store);
        let figures = vec![
            ("requests", self.answers.to_string()),
            ("runs of schedules", format!("{} and {}", count("ticks"), count("reports"))),
            ("messages sent and lost", format!("{} and {letters}", count("messages"))),
            ("PSS", format!("{:.2} → {:.2} MB", warm.pss as f64 / 1e6, late.pss as f64 / 1e6)),
            (
                "without pages of files",
                format!("{:.2} → {:.2} MB", warm.own as f64 / 1e6, late.own as f64 / 1e6),
            ),
            ("store", format!("{} → {} kB", warm.file / 1_000, late.file / 1_000)),
            ("written to the card", format!("{:.1} MB", written.bytes as f64 / 1e6)),
        ];
        let all = format!("{figures:?}");
        ensure!(found == "ok", "the store is damaged: {found}");
        // The first and the last may lie on the edge.
        ensure!(count("reports").abs_diff(minutes / 60) <= 1, "of {minutes} minutes: {all}");
        ensure!(count("ticks").abs_diff(minutes / 5) <= 2, "of {minutes} minutes: {all}");
        for (what, was, is) in [("memory", warm.pss, late.pss), ("file", warm.file, late.file)] {
            ensure!(is * 100 <= was * (100 + GROWTH_PERCENT_MAX), "its {what} grows: {all}");
        }
        Ok(figures)
    }
}

#[allow(clippy::disallowed_methods, reason = "the fast clock begins now")]
fn now_ms() -> Result<u128> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis())
}
