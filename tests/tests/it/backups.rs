//! Backups by the real daemon: while it works, on a disk that is full, and when it dies in the middle of one.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use picloud_daemon::faults::CrashPoint;
use picloud_tests::chance::{self, Chance};
use picloud_tests::client::{Request, Response};
use picloud_tests::daemon::{Daemon, InlineApp, Launch, Site, program};
use picloud_tests::history::{Answer, contradictions};
use picloud_tests::ledger::{self, CLIENTS, Ledger, Life};
use picloud_tests::mount::{Mount, skipped};
use picloud_tests::wait;
use rustix::fs::{FallocateFlags, fallocate};
use serde_json::Value;

/// Writes as many bytes as its caller says under a key.
const STUFF: InlineApp<'_> = InlineApp {
    slug: "stuff",
    scripts: &[(
        "fill",
        "let text = \"x\"; while text.len() < 60_000 { text += text; } \
         for n in 0..20 { kv::collection(\"stuff\").set(`${event.query.at}-${n}`, text); } 1",
    )],
    routes: &[("POST /fill", "fill", "")],
    manifest: "",
};

/// Makes the store some megabytes large.
fn stuff(site: &Site, daemon: &Daemon) {
    site.deploy(&STUFF.write_below(site.path()));
    for at in 0..10 {
        let answer = daemon.post(&format!("/stuff/fill?at={at}"), "{}");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

fn start(daemon: &Daemon) -> Response {
    daemon.admin(&Request::post("/backups", "{}")).expect("the admin socket answers")
}

/// The newest backup, once it has ended.
#[track_caller]
fn ended(daemon: &Daemon) -> Value {
    wait::until("the backup has ended", || {
        let newest = daemon.list("backups").into_iter().next()?;
        (newest["state"] != "running").then_some(newest)
    })
}

fn picloudd(arguments: &[&str]) -> Output {
    let output = Command::new(program("picloudd")).args(arguments).output();
    output.expect("the daemon is built with the tests")
}

/// A site whose store is what a backup has.
#[track_caller]
fn restored(backup: &str) -> Site {
    let site = Site::new();
    let config = site.write_config().display().to_string();
    let output = picloudd(&["restore", backup, "--config", &config]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    site
}

fn text(value: &Value) -> &str {
    value.as_str().expect("it is a text")
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("names are text");
    entries.map(|entry| name(entry.expect("it can be read"))).collect()
}

#[test]
fn p1_a_backup_taken_under_load_holds_what_was_acknowledged_before_it_and_holds_up_nobody() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy(&ledger::app());
    stuff(&site, &daemon);
    let ledger = Ledger::default();
    let stop = AtomicBool::new(false);
    let chance = Chance::new(chance::seed(), 5);
    let life = Life { address: daemon.address(), chance, number: 1, stop: &stop };
    let (before, backup) = std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (ledger, life) = (&ledger, &life);
            scope.spawn(move || ledger.run_client(life, client));
        }
        wait::until("clients get answers", || (ledger.answered() >= 50).then_some(()));
        let before = ledger.history();
        assert_eq!(start(&daemon).status, 202);
        // Each is acknowledged while it runs, or it has ended.
        let enough = ledger.answered() + 50;
        wait::until("clients get answers", || (ledger.answered() >= enough).then_some(()));
        let backup = ended(&daemon);
        stop.store(true, Ordering::SeqCst);
        (before, backup)
    });
    assert_eq!(backup["state"], "done", "{backup}\n{}", site.log());
    let wrong = contradictions(&ledger.history(), &ledger.found(&daemon));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // What was told before is in the copy. The rest is in it whole or not at all.
    let told: HashMap<String, Answer> =
        before.into_iter().map(|one| (one.id, one.answer)).collect();
    let mut history = ledger.history();
    for one in &mut history {
        one.answer = told.get(&one.id).cloned().unwrap_or(Answer::Unknown);
    }
    let done = history.iter().filter(|one| one.answer == Answer::Done).count();
    assert!(done > 10, "hardly anything was told before: {done}");
    let copy = restored(text(&backup["path"]));
    let daemon = copy.start();
    let wrong = contradictions(&history, &ledger.found(&daemon));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_daemon_that_dies_in_the_middle_of_a_backup_leaves_none_or_a_whole_one() {
    let site = Site::new();
    let daemon = site.start();
    stuff(&site, &daemon);
    drop(daemon);
    let folder = site.store.with_file_name("backups");
    // Begun, copied, looked through; with the fourth step it is in its place.
    for (step, listed) in [(1, 0), (2, 0), (3, 0), (4, 1)] {
        let fault = format!("{}:{step}", CrashPoint::InBackup.as_str());
        let mut daemon = site.launch(Launch { fault: Some(&fault), ..Launch::default() });
        assert!(daemon.comes_up(), "{}", site.log());
        // It may die before it answers.
        drop(daemon.admin(&Request::post("/backups", "{}")));
        let status = daemon.ended();
        assert_eq!(status.signal(), Some(6), "{fault}: {status:?}\n{}", site.log());
        let left = names_in(&folder);
        assert_eq!(left.len(), 1, "{fault} {left:?}");
        let daemon = site.start();
        let backups = daemon.list("backups");
        assert_eq!((backups.len(), names_in(&folder).len()), (listed, listed), "{fault} {left:?}");
    }
    let daemon = site.start();
    assert_eq!(start(&daemon).status, 202);
    assert_eq!(ended(&daemon)["verified"], true);
}

#[test]
fn p7_a_disk_without_room_for_a_backup_takes_none_and_what_it_kept_stays() {
    let mount = match Mount::tmpfs(48) {
        Ok(mount) => mount,
        Err(reason) => return skipped("a backup on a full disk", &reason),
    };
    let mut site = Site::new();
    site.store = mount.path().join("picloud.db");
    site.settings = "[limits.store]\nfree_bytes_min = 0".to_owned();
    let mut daemon = site.launch(Launch { within: Some(&mount), ..Launch::default() });
    assert!(daemon.comes_up(), "{}", site.log());
    stuff(&site, &daemon);
    assert_eq!(start(&daemon).status, 202);
    assert_eq!(ended(&daemon)["state"], "done", "{}", site.log());

    let space = rustix::fs::statvfs(mount.seen()).expect("it is mounted");
    let free = space.f_bavail * space.f_frsize;
    let ballast = fs::File::create(mount.seen().join("ballast")).expect("there is room");
    fallocate(&ballast, FallocateFlags::empty(), 0, free - (2 << 20)).expect("there is room");
    let refused = start(&daemon);
    assert_eq!(refused.problem(), (503, "storage_low".to_owned()), "{refused:?}");
    assert!(text(&refused.json()["hint"]).contains("make room"), "{refused:?}");
    let started = site.picloud(&["backups", "start"]);
    assert_eq!(started.status.code(), Some(1), "{started:?}");
    assert_eq!(names_in(&mount.seen().join("backups")).len(), 1);
    // Whoever works notices nothing.
    assert_eq!(daemon.list("backups").len(), 1);
}

#[test]
fn a_stop_does_not_wait_for_a_backup_and_leaves_nothing_of_it() {
    let site = Site::new();
    let daemon = site.start();
    stuff(&site, &daemon);
    assert_eq!(start(&daemon).status, 202);
    daemon.stop();
    let left = names_in(&site.store.with_file_name("backups"));
    assert!(left.iter().all(|name| name.ends_with(".db")), "{left:?}");
    let daemon = site.start();
    assert!(daemon.list("backups").iter().all(|one| one["verified"] == true));
}

#[test]
fn an_owner_takes_a_backup_and_gets_everything_back_on_another_machine() {
    let site = Site::new();
    let daemon = site.start();
    stuff(&site, &daemon);
    let started = site.picloud(&["backups", "start"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let path = String::from_utf8(started.stdout).expect("a path is text");
    assert!(Path::new(path.trim()).is_file(), "{path}");
    let listed = site.picloud(&["backups", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("one line of JSON");
    assert_eq!((text(&listed["path"]), &listed["state"]), (path.trim(), &Value::from("done")));
    let nodes = site.picloud(&["nodes", "list", "--json"]);
    let node: Value = serde_json::from_slice(&nodes.stdout).expect("one line of JSON");
    assert_eq!(text(&node["address"]), daemon.address().to_string());

    let copy = restored(path.trim());
    let config = copy.write_config().display().to_string();
    let again = picloudd(&["restore", path.trim(), "--config", &config]);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.code() == Some(1) && said.contains("is not replaced"), "{said}");
    let other = copy.start();
    assert_eq!(other.list("apps")[0]["slug"], "stuff");
    assert_eq!(other.post("/stuff/fill?at=1", "{}").status, 200);

    // By hand, while the daemon runs, and with the daemon's own folder left alone.
    let by_hand = copy.path().join("by-hand.db").display().to_string();
    let taken = picloudd(&["backup", &by_hand, "--config", &config]);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    assert!(String::from_utf8_lossy(&taken.stdout).contains("secrets.key"));
    drop(restored(&by_hand));
    assert_eq!(other.post("/stuff/fill?at=2", "{}").status, 200);
}
