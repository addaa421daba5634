//! A newer picloud on an older store, an older one on a newer store, and what becomes of the data in between.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use picloud_tests::chance::{self, Chance};
use picloud_tests::client::Request;
use picloud_tests::daemon::{Daemon, InlineApp, Launch, Site};
use picloud_tests::history::contradictions;
use picloud_tests::ledger::{self, CLIENTS, Ledger, Life};
use picloud_tests::mount::{Mount, skipped};
use picloud_tests::{store_file, wait};
use rustix::fs::{FallocateFlags, fallocate};

/// Counts how often it was asked.
const COUNT: InlineApp<'_> = InlineApp {
    slug: "count",
    scripts: &[(
        "up",
        "let n = kv::collection(\"n\"); let now = (n.get(\"n\") ?? 0) + 1; n.set(\"n\", now); now",
    )],
    routes: &[("POST /up", "up", "")],
    manifest: "",
};

/// A site whose store an older daemon has left, with `ledger` in it.
fn older(ledger: &Ledger, stream: u64) -> Site {
    let site = Site::new();
    let daemon = site.start();
    site.deploy(&ledger::app());
    let stop = AtomicBool::new(false);
    let chance = Chance::new(chance::seed(), stream);
    let life = Life { address: daemon.address(), chance, number: 1, stop: &stop };
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let life = &life;
            scope.spawn(move || ledger.run_client(life, client));
        }
        wait::until("clients get answers", || (ledger.answered() >= 100).then_some(()));
        stop.store(true, Ordering::SeqCst);
    });
    daemon.works_everything_off();
    daemon.stop();
    store_file::back_to_schema_7(&site.store);
    site
}

#[track_caller]
fn assert_has_all(ledger: &Ledger, daemon: &Daemon) {
    let wrong = contradictions(&ledger.history(), &ledger.found(daemon));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// The backups of a site, those of before an upgrade among them.
fn backups(site: &Site) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(site.store.with_file_name("backups")) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    paths
}

#[track_caller]
fn the_only_backup(site: &Site) -> String {
    match &backups(site)[..] {
        [one] => one.display().to_string(),
        others => panic!("{others:?}"),
    }
}

#[track_caller]
fn schema_of(site: &Site) -> String {
    let output = site.picloudd(&["schema", "--store"]);
    assert!(output.status.success(), "{}", said(&output));
    said(&output).trim().to_owned()
}

/// The schema that this build knows.
#[track_caller]
fn known(site: &Site) -> String {
    said(&site.picloudd(&["schema"])).trim().to_owned()
}

#[test]
fn p1_an_upgrade_that_is_killed_anywhere_is_finished_by_the_next_start_and_loses_nothing() {
    let ledger = Ledger::default();
    let site = older(&ledger, 41);
    let new = known(&site);
    // Of the copy: begun, copied, looked through. Of the upgrade: the copy is in its place, migrated, committed.
    let steps = [
        ("in_backup:1", "7", 0),
        ("in_backup:2", "7", 0),
        ("in_backup:3", "7", 0),
        ("in_upgrade:1", "7", 1),
        ("in_upgrade:2", "7", 1),
        ("in_upgrade:3", &new, 1),
    ];
    for (fault, schema, whole) in steps {
        drop(fs::remove_dir_all(site.store.with_file_name("backups")));
        let mut daemon = site.launch(Launch { fault: Some(fault), ..Launch::default() });
        assert!(!daemon.comes_up(), "{fault} was not reached\n{}", site.log());
        let status = daemon.ended();
        assert_eq!(status.signal(), Some(6), "{fault}: {status:?}\n{}", site.log());
        assert_eq!(schema_of(&site), schema, "{fault}");
        let is_whole = |path: &&PathBuf| path.extension().is_some_and(|end| end == "db");
        assert_eq!(backups(&site).iter().filter(is_whole).count(), whole, "{fault}");

        let daemon = site.start();
        assert_has_all(&ledger, &daemon);
        let instance = daemon.admin(&Request::get("/instance")).expect("it answers").json();
        assert_eq!(instance["migrated_from"], 7, "{instance}");
        assert_eq!(instance["schema"].to_string(), new, "{instance}");
        daemon.stop();
        assert!(backups(&site).iter().all(|path| is_whole(&path)), "{:?}", backups(&site));
        store_file::back_to_schema_7(&site.store);
    }
    // Without a daemon it is the same.
    for fault in ["in_backup:2", "in_upgrade:1", "in_upgrade:2"] {
        let output = site.picloudd_with(&["migrate"], Some(fault));
        assert_eq!(output.status.signal(), Some(6), "{fault}: {}", said(&output));
        assert_eq!(schema_of(&site), "7", "{fault}");
    }
    let output = site.picloudd(&["migrate"]);
    assert!(said(&output).starts_with(&format!("schema 7 -> {new}, backup at ")), "{output:?}");
    assert_has_all(&ledger, &site.start());
}

#[test]
fn what_was_kept_before_an_upgrade_is_listed_and_can_be_restored() {
    let ledger = Ledger::default();
    let site = older(&ledger, 42);
    let daemon = site.start();
    let backup = the_only_backup(&site);
    let listed = daemon.list("backups");
    assert_eq!((listed.len(), listed[0]["path"].as_str()), (1, Some(&*backup)), "{listed:?}");
    assert!(backup.ends_with(&format!("-before-schema-{}.db", known(&site))), "{backup}");
    assert!(site.log().contains("the store is upgraded"), "{}", site.log());
    daemon.stop();

    let other = Site::new();
    let output = other.picloudd(&["restore", &backup]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(schema_of(&other), "7");
    assert_has_all(&ledger, &other.start());
    assert_eq!(schema_of(&other), known(&other));
}

#[test]
fn without_a_daemon_the_store_is_upgraded_once_and_not_under_one_that_runs() {
    let site = Site::new();
    let output = site.picloudd(&["migrate"]);
    assert!(output.status.code() == Some(1), "{output:?}");
    assert!(said(&output).contains("there is no store"), "{output:?}");
    assert_eq!(schema_of(&site), "0");
    let daemon = site.start();
    site.deploy_app(&COUNT);
    let output = site.picloudd(&["migrate"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("stop that one first"), "{output:?}");
    // Another reader is no hindrance.
    assert_eq!(schema_of(&site), known(&site));
    assert_eq!(daemon.post("/count/up", "{}").status, 200);
    daemon.stop();
    assert_eq!(said(&site.picloudd(&["migrate"])), "nothing to do\n");

    store_file::back_to_schema_7(&site.store);
    let output = site.picloudd(&["migrate"]);
    let path = the_only_backup(&site);
    assert_eq!(said(&output), format!("schema 7 -> {}, backup at {path}\n", known(&site)));
    assert_eq!(said(&site.picloudd(&["migrate"])), "nothing to do\n");
    let daemon = site.start();
    assert_eq!(daemon.post("/count/up", "{}").body, b"2");
}

#[test]
fn p7_a_disk_without_room_for_the_copy_leaves_an_older_store_as_it_is_until_there_is_some() {
    let mount = match Mount::tmpfs(48) {
        Ok(mount) => mount,
        Err(reason) => return skipped("an upgrade on a full disk", &reason),
    };
    let mut site = Site::new();
    let daemon = site.start();
    site.deploy_app(&COUNT);
    assert_eq!(daemon.post("/count/up", "{}").status, 200);
    daemon.stop();
    store_file::back_to_schema_7(&site.store);
    let seen = mount.seen().join("picloud.db");
    fs::copy(&site.store, &seen).expect("there is room");
    site.store = mount.path().join("picloud.db");
    site.settings = "[limits.store]\nfree_bytes_min = 1048576".to_owned();
    let within = Launch { within: Some(&mount), ..Launch::default() };

    let before = fs::read(&seen).expect("it is there");
    let space = rustix::fs::statvfs(mount.seen()).expect("it is mounted");
    let free = space.f_bavail * space.f_frsize;
    let ballast = mount.seen().join("ballast");
    let file = fs::File::create(&ballast).expect("there is room");
    fallocate(&file, FallocateFlags::empty(), 0, free - (1 << 20)).expect("there is room");
    let (code, said) = site.refuses_to_start(within);
    assert_eq!(code, 1, "{said}");
    for part in ["has schema 7 and was left as it is", "make room there", "[backups] directory"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(fs::read(&seen).expect("it is there"), before);

    drop(file);
    fs::remove_file(&ballast).expect("it is there");
    let mut daemon = site.launch(within);
    assert!(daemon.comes_up(), "{}", site.log());
    assert_eq!(daemon.post("/count/up", "{}").body, b"2");
}

/// Makes the store one of a newer picloud.
fn make_newer(site: &Site) {
    store_file::execute(&site.store, "UPDATE meta SET schema_version = 907, oldest_daemon = 907");
}

#[test]
fn an_older_picloud_leaves_a_newer_store_as_it_is_and_names_the_backup_that_leads_back() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&COUNT);
    assert_eq!(daemon.post("/count/up", "{}").status, 200);
    daemon.stop();
    store_file::back_to_schema_7(&site.store);
    site.start().stop();
    let backup = the_only_backup(&site);
    make_newer(&site);
    let before = fs::read(&site.store).expect("it is there");

    let (code, refused) = site.refuses_to_start(Launch::default());
    assert_eq!(code, 1, "{refused}");
    for part in ["has schema 907", "install a newer picloud", &format!("restore {backup}")] {
        assert!(refused.contains(part), "{part} in {refused}");
    }
    let output = site.picloudd(&["migrate"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains(&backup), "{output:?}");
    assert_eq!(schema_of(&site), "907");
    assert_eq!(fs::read(&site.store).expect("it is there"), before);
    assert!(!site.store.with_extension("db-wal").exists());

    // What it says leads back.
    fs::rename(&site.store, site.path().join("newer.db")).expect("it is ours");
    let output = site.picloudd(&["restore", &backup]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(site.start().post("/count/up", "{}").body, b"2");
}

#[test]
fn a_newer_a_damaged_and_a_foreign_file_are_not_restored() {
    let site = Site::new();
    site.start().stop();
    let of = |name: &str| site.path().join(name);
    fs::copy(&site.store, of("damaged.db")).expect("it is there");
    let mut content = fs::read(of("damaged.db")).expect("it is there");
    for page in content.chunks_mut(4_096).skip(2) {
        page[..100].fill(0xA5);
    }
    fs::write(of("damaged.db"), content).expect("it is ours");
    fs::write(of("foreign.db"), "x".repeat(10_000)).expect("it is ours");
    make_newer(&site);
    fs::rename(&site.store, of("newer.db")).expect("it is ours");
    for (name, part) in [
        ("newer.db", "has schema 907"),
        ("damaged.db", "damaged"),
        ("foreign.db", "is not a database"),
        ("missing.db", "there is no file"),
    ] {
        let output = site.picloudd(&["restore", &of(name).display().to_string()]);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        assert!(said(&output).contains(part), "{name}: {}", said(&output));
        assert!(!site.store.exists(), "{name}");
    }
}
