//! `picloudd doctor` beside a daemon and without one.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use picloud_tests::client::Request;
use picloud_tests::daemon::{InlineApp, Launch, Site};
use picloud_tests::mount::{Mount, skipped};
use picloud_tests::wait;
use rustix::fs::{FallocateFlags, fallocate};
use serde_json::Value;

/// What the machine is that the tests run on, and not the store of this test.
const OF_THE_MACHINE: [&str; 6] = ["disk", "clock", "mount", "card", "memory", "service"];

const KEEP: InlineApp<'_> = InlineApp {
    slug: "keep",
    scripts: &[("it", "kv::collection(\"n\").set(event.query.n, event.query.n); 1")],
    routes: &[("POST /it", "it", "")],
    manifest: "",
};

fn checks(output: &Output) -> Vec<Value> {
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let checks: Vec<Value> = lines.lines().map(line).collect();
    assert!(!checks.is_empty(), "{output:?}");
    let bad = |check: &Value| check["state"] == "bad";
    let worst = if checks.iter().any(bad) {
        1
    } else if checks.iter().any(|check| check["state"] == "warn") {
        8
    } else {
        0
    };
    assert_eq!(output.status.code(), Some(worst), "{output:?}");
    checks
}

#[track_caller]
fn called<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} among {checks:?}"))
}

/// That one is bad, says why and what to do, and nothing else of this store is.
#[track_caller]
fn assert_bad(output: &Output, name: &str, part: &str) {
    let checks = checks(output);
    let one = called(&checks, name);
    assert_eq!(one["state"], "bad", "{checks:?}");
    assert!(one["text"].as_str().is_some_and(|text| text.contains(part)), "{one}");
    assert!(one["remedy"].is_string(), "{one}");
}

#[track_caller]
fn assert_well(checks: &[Value]) {
    for check in checks {
        let is_ours = !OF_THE_MACHINE.iter().any(|name| check["name"] == *name);
        assert!(!is_ours || check["state"] == "ok", "{check}");
    }
}

/// A site with data, whose daemon was stopped.
fn stopped() -> Site {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&KEEP);
    for n in 0..20 {
        assert_eq!(daemon.post(&format!("/keep/it?n={n}"), "{}").status, 200);
    }
    daemon.stop();
    site
}

#[test]
fn a_store_is_found_well_beside_its_daemon_and_without_one() {
    let site = stopped();
    let without = checks(&site.picloudd(&["doctor", "--json"]));
    assert_well(&without);
    for name in ["config", "schema", "file", "port", "owner", "key", "daemon", "rehearsal"] {
        called(&without, name);
    }
    let rehearsed = called(&without, "rehearsal")["text"].as_str().expect("a text");
    assert!(rehearsed.contains("20 entries and documents"), "{rehearsed}");

    let daemon = site.start();
    assert_eq!(daemon.admin(&Request::post("/backups", "{}")).expect("it answers").status, 202);
    let backup = wait::until("the backup is done", || {
        let newest = daemon.list("backups").into_iter().next()?;
        (newest["state"] == "done").then_some(newest)
    });
    let beside = checks(&site.picloudd(&["doctor", "--json"]));
    assert_well(&beside);
    // Some only the daemon knows, some only who looks from outside.
    for name in ["store", "start", "memory", "written", "config", "mount", "card"] {
        called(&beside, name);
    }
    let rehearsed = called(&beside, "rehearsal")["text"].as_str().expect("a text").to_owned();
    assert!(rehearsed.contains(backup["name"].as_str().expect("a text")), "{rehearsed}");
    // Nobody noticed, and nothing is left.
    assert_eq!(daemon.post("/keep/it?n=21", "{}").status, 200);
    let left = fs::read_dir(site.store.with_file_name("")).expect("it is there");
    let mut left = left.map(|entry| entry.expect("it can be read").file_name());
    assert!(!left.any(|name| name.to_string_lossy().contains("rehearsal")));

    let output = site.picloudd(&["doctor", "--no-rehearsal"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("✓ daemon       runs, and answers\n"), "{text}");
    assert!(!text.contains("rehearsal"), "{text}");
}

#[test]
fn a_command_that_cannot_be_understood_is_no_illness() {
    let output = Site::new().picloudd(&["doctor", "--thoroughly"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_flipped_page_wrong_permissions_and_a_taken_port_are_found() {
    let mut site = stopped();
    let doctor = |site: &Site| site.picloudd(&["doctor", "--json", "--no-rehearsal"]);
    let key = site.store.with_file_name("secrets.key");
    fs::write(&key, [0; 32]).expect("the folder is ours");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    assert_bad(&doctor(&site), "key", "can be read by others");
    fs::remove_file(&key).expect("it is ours");

    let taken = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    site.listen = taken.local_addr().expect("it is bound").to_string();
    assert_bad(&doctor(&site), "port", "taken by another program");
    drop(taken);

    let content = fs::read(&site.store).expect("it is there");
    let mut damaged = content.clone();
    // Not where it says what it is: that is told without reading on.
    for page in damaged.chunks_mut(4_096).skip(30).take(20) {
        page[..100].fill(0xA5);
    }
    fs::write(&site.store, &damaged).expect("it is ours");
    assert_bad(&doctor(&site), "file", "damaged");
    assert!(fs::read(&site.store).expect("it is there") == damaged, "it is only read");
    fs::write(&site.store, content).expect("it is ours");
    assert_well(&checks(&doctor(&site)));

    site.settings = "[log]\nlevle = \"debug\"".to_owned();
    assert_bad(&doctor(&site), "config", "levle");
}

#[test]
fn a_full_disk_is_found_and_the_rehearsal_left_out() {
    let mount = match Mount::tmpfs(16) {
        Ok(mount) => mount,
        Err(reason) => return skipped("the doctor on a full disk", &reason),
    };
    let mut site = stopped();
    fs::copy(&site.store, mount.seen().join("picloud.db")).expect("there is room");
    site.store = mount.path().join("picloud.db");
    site.settings = "[limits.store]\nfree_bytes_min = 4194304".to_owned();
    let mut daemon = site.launch(Launch { within: Some(&mount), ..Launch::default() });
    assert!(daemon.comes_up(), "{}", site.log());
    let space = rustix::fs::statvfs(mount.seen()).expect("it is mounted");
    let free = space.f_bavail * space.f_frsize;
    let file = fs::File::create(mount.seen().join("ballast")).expect("there is room");
    fallocate(&file, FallocateFlags::empty(), 0, free - (1 << 20)).expect("there is room");
    let words = mount.enter();
    let output = std::process::Command::new(&words[0])
        .args(&words[1..])
        .arg(picloud_tests::daemon::program("picloudd"))
        .args(["doctor", "--json", "--config"])
        .arg(site.write_config())
        .output()
        .expect("the daemon is built with the tests");
    assert_bad(&output, "disk", "at least 4 MiB are needed");
    let rehearsal = checks(&output);
    assert_eq!(called(&rehearsal, "rehearsal")["state"], "warn", "{rehearsal:?}");
    assert_eq!(called(&rehearsal, "mount")["state"], "warn", "it lies in memory: {rehearsal:?}");
}
