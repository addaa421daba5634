//! The daemon dies, again and again, under load. Whatever clients were told stays true.

use std::fs;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use std::os::unix::process::ExitStatusExt;

use picloud_daemon::faults::CrashPoint;
use picloud_tests::chance::{self, Chance};
use picloud_tests::client::Request;
use picloud_tests::daemon::{Daemon, Launch, Site};
use picloud_tests::history::contradictions;
use picloud_tests::ledger::{self, CLIENTS, Ledger, Life};
use picloud_tests::wait;

/// Answers after which a life is over at the latest.
const ANSWERS_A_LIFE: u64 = 60;

/// Longer than answers take, so that kills also hit what happens behind them.
const AFTERWARDS: u64 = 4_000;

/// So much that a script which never ends by itself is still running when its daemon is killed.
const PATIENT: &str = "[limits.run]\noperations_max = 1_000_000_000\ntimeout_ms = 60_000";

/// A daemon with the app, and its clients' memory.
struct Scene {
    site: Site,
    ledger: Ledger,
    chance: Chance,
    lives: u64,
}

impl Scene {
    fn new(stream: u64) -> Scene {
        let scene = Scene {
            site: Site::new(),
            ledger: Ledger::default(),
            chance: Chance::new(chance::seed(), stream),
            lives: 0,
        };
        let daemon = scene.site.start();
        scene.site.deploy(&ledger::app());
        drop(daemon);
        scene
    }

    /// Lets clients work against a daemon until `end` returns, which ends the daemon or not.
    fn live<T>(&mut self, mut daemon: Daemon, end: impl FnOnce(Daemon, &Ledger) -> T) -> Option<T> {
        if !daemon.comes_up() {
            return None;
        }
        self.lives += 1;
        let stop = AtomicBool::new(false);
        let life = Life {
            address: daemon.address(),
            chance: Chance::new(self.chance.number(), 0),
            number: self.lives,
            stop: &stop,
        };
        let ledger = &self.ledger;
        Some(thread::scope(|scope| {
            for client in 0..CLIENTS {
                let life = &life;
                scope.spawn(move || ledger.run_client(life, client));
            }
            let ended = end(daemon, ledger);
            stop.store(true, Ordering::SeqCst);
            ended
        }))
    }

    /// One life that ends with SIGKILL at a moment that chance gives.
    fn live_and_be_killed(&mut self) {
        let daemon = self.site.launch(Launch::default());
        let moment = Duration::from_micros(self.chance.below(AFTERWARDS));
        // Now and then it dies while it starts, with the rows of the life before half taken over.
        if self.chance.below(8) == 0 {
            wait::pass(moment * 10);
            return daemon.kill();
        }
        let answers = self.chance.below(ANSWERS_A_LIFE);
        let log = self.site.path().join("log");
        let lived = self.live(daemon, |daemon, ledger| {
            let enough = ledger.answered() + answers;
            wait::until("clients get answers", || (ledger.answered() >= enough).then_some(()));
            wait::pass(moment);
            daemon.kill();
        });
        assert!(lived.is_some(), "the daemon did not come up again, see {}", log.display());
    }

    /// A last life, in which everything is worked off; then the history must be true.
    #[track_caller]
    fn assert_nothing_was_lost_or_repeated(&self) {
        let daemon = self.site.start();
        let history = self.ledger.history();
        let wrong = contradictions(&history, &self.ledger.found(&daemon));
        assert!(
            wrong.is_empty(),
            "seed {}, {} requests in {} lives, {} contradictions:\n{}",
            chance::seed(),
            history.len(),
            self.lives,
            wrong.len(),
            wrong[..wrong.len().min(10)].join("\n"),
        );
    }
}

#[test]
fn p1_whatever_was_acknowledged_survives_two_hundred_kills() {
    let mut scene = Scene::new(1);
    for _ in 0..chance::kills() {
        scene.live_and_be_killed();
    }
    scene.assert_nothing_was_lost_or_repeated();
    assert!(scene.ledger.answered() > chance::kills(), "hardly anything was asked for");
}

#[test]
fn p3_an_abort_just_before_or_after_a_commit_neither_loses_nor_repeats() {
    let mut scene = Scene::new(2);
    let under_load = CrashPoint::ALL.into_iter().filter(|point| match point {
        CrashPoint::BeforeApply
        | CrashPoint::BeforeCommit
        | CrashPoint::AfterCommit
        | CrashPoint::AfterAck => true,
        // These have tests of their own.
        CrashPoint::InTakeover
        | CrashPoint::InDeploy
        | CrashPoint::InBackup
        | CrashPoint::InUpgrade => false,
    });
    for point in under_load {
        for count in [1, 2, 5, 20, 60] {
            let fault = format!("{}:{count}", point.as_str());
            let daemon = scene.site.launch(Launch { fault: Some(&fault), ..Launch::default() });
            let status = scene.live(daemon, |daemon, _| daemon.ended());
            // With a count of 1 it may die before it listens.
            assert!(status.is_none_or(is_abort), "{fault}: {status:?}\n{}", scene.site.log());
        }
    }
    scene.assert_nothing_was_lost_or_repeated();
}

#[test]
fn p1_an_abort_while_rows_of_a_dead_owner_are_taken_over_loses_none() {
    let mut scene = Scene::new(3);
    for count in [1, 1, 2, 3] {
        scene.live_and_be_killed();
        let fault = format!("{}:{count}", CrashPoint::InTakeover.as_str());
        let mut daemon = scene.site.launch(Launch { fault: Some(&fault), ..Launch::default() });
        // Nothing may have been left to take over; then it comes up.
        if daemon.comes_up() {
            daemon.kill();
        } else {
            let status = daemon.ended();
            assert!(is_abort(status), "{fault}: {status:?}\n{}", scene.site.log());
        }
    }
    scene.assert_nothing_was_lost_or_repeated();
}

fn is_abort(status: ExitStatus) -> bool {
    status.signal() == Some(6)
}

#[test]
fn p2_an_abort_during_a_deploy_leaves_the_app_as_it_was_or_as_it_should_be() {
    let site = Site::new();
    // The first start makes the owner known, which is a change of configuration too.
    drop(site.start());
    let mut answers = Vec::new();
    for count in 1..=6 {
        let fault = format!("{}:{count}", CrashPoint::InDeploy.as_str());
        let mut daemon = site.launch(Launch { fault: Some(&fault), ..Launch::default() });
        assert!(daemon.comes_up(), "{}", site.log());
        let deployed = site.picloud(&["deploy", &twin(&site, count)]).status.success();
        if deployed {
            daemon.kill();
        } else {
            assert!(is_abort(daemon.ended()), "{}", site.log());
        }
        let daemon = site.start();
        let [first, second] =
            ["first", "second"].map(|route| daemon.send(&Request::get(format!("/twin/{route}"))));
        assert_eq!((first.status, &first.body), (second.status, &second.body), "deploy {count}");
        answers.push((count, deployed, first));
    }
    for (count, deployed, answer) in &answers {
        let is_new = answer.status == 200 && answer.json() == *count;
        assert!(is_new || !deployed, "deploy {count} was acknowledged: {answers:?}");
    }
    assert!(answers.iter().any(|(_, deployed, _)| !deployed), "no deploy was cut: {answers:?}");
}

/// The folder of an app whose two routes return the same number.
fn twin(site: &Site, number: u32) -> String {
    let folder = site.path().join("twin");
    fs::create_dir_all(&folder).expect("the folder is ours");
    let mut manifest = "[app]\nslug = \"twin\"\n".to_owned();
    for name in ["first", "second"] {
        manifest.push_str(&format!(
            "[[scripts]]\nname = \"{name}\"\nfile = \"{name}.rhai\"\n\
             [[routes]]\nmethod = \"GET\"\npath = \"/{name}\"\nscript = \"{name}\"\n"
        ));
        let script = folder.join(format!("{name}.rhai"));
        fs::write(script, number.to_string()).expect("the folder is ours");
    }
    fs::write(folder.join("picloud.toml"), manifest).expect("the folder is ours");
    folder.display().to_string()
}

#[test]
fn p6_a_script_that_takes_the_daemon_down_is_dead_lettered_alone() {
    const NEIGHBOURS: usize = 10;
    let mut site = Site::new();
    site.settings = PATIENT.to_owned();
    let daemon = site.start();
    site.deploy(&ledger::app());
    let neighbours: Vec<String> = (0..NEIGHBOURS).map(|number| format!("n{number}")).collect();
    for neighbour in &neighbours {
        let accepted = daemon.send(&Request::post(format!("/ledger/slowly/{neighbour}"), "{}"));
        assert_eq!(accepted.status, 202, "{accepted:?}");
    }
    let accepted = daemon.send(&Request::post("/ledger/turning/t", "{}"));
    assert_eq!(accepted.status, 202, "{accepted:?}");

    // Whenever the script runs, the daemon dies of it; whoever supervises the daemon starts it again.
    let mut daemon = daemon;
    let mut deaths = 0;
    while turns_or_is_dead(&site, &daemon) == Turning::Runs {
        daemon.kill();
        deaths += 1;
        assert!(deaths < 20, "it is started over and over again\n{}", site.log());
        daemon = site.start();
    }
    daemon.works_everything_off();
    let letters = daemon.list("dead-letters");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["script"], "turn");
    assert_eq!(letters[0]["error"]["kind"], "owner_died");
    assert_eq!(letters[0]["attempts"], 3);
    let (counts, _) = ledger::counts(&daemon, &neighbours);
    for neighbour in &neighbours {
        let counts = counts[neighbour];
        assert_eq!((counts.applied, counts.attempt), (1, 1), "{neighbour} was charged or lost");
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Turning {
    Runs,
    IsDead,
}

/// Waits until the script that never ends by itself has begun, or has become a dead letter.
fn turns_or_is_dead(site: &Site, daemon: &Daemon) -> Turning {
    wait::until("the script runs or is dead", || {
        let rows = daemon.list("outbox");
        let Some(row) = rows.iter().find(|row| row["script"] == "turn") else {
            return (!daemon.list("dead-letters").is_empty()).then_some(Turning::IsDead);
        };
        // A row is listed as running from its claim on; what has begun stands in the note of what runs.
        let begun = fs::read_to_string(site.path().join("run/running")).unwrap_or_default();
        let id = row["id"].as_str().expect("a row has an id");
        begun.contains(id).then_some(Turning::Runs)
    })
}
