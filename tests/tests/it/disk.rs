//! A disk that is full, or that turned read-only: clear errors, nothing accepted is lost, and it goes on by itself.

use std::fs;

use picloud_tests::client::{Request, Response};
use picloud_tests::daemon::{Daemon, Launch, Site};
use picloud_tests::history::contradictions;
use picloud_tests::ledger;
use picloud_tests::mount::{Mount, skipped};
use picloud_tests::wait;
use rustix::fs::{FallocateFlags, fallocate};

const MIB: u64 = 1 << 20;

/// A daemon whose store lies on a file system of its own, with the app deployed.
fn daemon_on(mount: &Mount, settings: &str) -> (Site, Daemon) {
    let mut site = Site::new();
    site.store = mount.path().join("picloud.db");
    site.settings = settings.to_owned();
    let daemon = start(&site, mount);
    site.deploy(&ledger::app());
    (site, daemon)
}

#[track_caller]
fn start(site: &Site, mount: &Mount) -> Daemon {
    let mut daemon = site.launch(Launch { within: Some(mount), ..Launch::default() });
    assert!(daemon.comes_up(), "{}", site.log());
    daemon
}

/// Leaves at most `left` bytes free, also while the daemon writes.
fn fill(mount: &Mount, left: u64) {
    let ballast = fs::File::create(mount.seen().join("ballast")).expect("there is room");
    let mut length = 0;
    wait::until("the disk is full", || {
        let space = rustix::fs::statvfs(mount.seen()).expect("it is mounted");
        let free = space.f_bavail * space.f_frsize;
        if free <= left {
            return Some(());
        }
        let more = free - left;
        // Fails when the daemon was faster; then there is less to fill.
        if fallocate(&ballast, FallocateFlags::empty(), length, more).is_ok() {
            length += more;
        }
        None
    });
}

fn make_room(mount: &Mount) {
    fs::remove_file(mount.seen().join("ballast")).expect("it is full of ballast");
}

fn now(daemon: &Daemon, id: &str) -> Response {
    daemon.send(&Request::post(format!("/ledger/now/{id}"), "{}"))
}

fn later(daemon: &Daemon, id: &str) -> Response {
    daemon.send(&Request::post(format!("/ledger/later/{id}"), "{}"))
}

/// Asks for work until it is refused: the ids that were accepted, and the refusal.
#[track_caller]
fn later_until_refused(daemon: &Daemon) -> (Vec<String>, Response) {
    let mut accepted = Vec::new();
    for number in 0..100_000 {
        let id = format!("later-{number}");
        let answer = later(daemon, &id);
        if answer.status != 202 {
            return (accepted, answer);
        }
        accepted.push(id);
    }
    panic!("a full disk took everything");
}

fn applied(daemon: &Daemon, ids: &[&str]) -> Vec<i64> {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let (counts, _) = ledger::counts(daemon, &ids);
    ids.iter().map(|id| counts[id].applied).collect()
}

fn outcome(response: &Response) -> String {
    response.json()["outcome"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn p7_a_disk_that_is_nearly_full_takes_nothing_new_and_reads_on() {
    let mount = match Mount::tmpfs(96) {
        Ok(mount) => mount,
        Err(reason) => return skipped("a disk that is nearly full", &reason),
    };
    let (site, daemon) = daemon_on(&mount, "");
    assert_eq!(now(&daemon, "before").status, 200);
    fill(&mount, 32 * MIB);

    let refused = wait::until("the daemon notices that little is free", || {
        let answer = later(&daemon, "while-full");
        (answer.status != 202).then_some(answer)
    });
    assert_eq!((refused.status, &*outcome(&refused)), (503, "nothing_changed"), "{refused:?}");
    let refused = now(&daemon, "full");
    assert_eq!((refused.status, &*outcome(&refused)), (507, "nothing_changed"), "{refused:?}");
    assert_eq!(applied(&daemon, &["before", "full"]), [1, 0]);

    make_room(&mount);
    wait::until("the daemon takes work again", || {
        (now(&daemon, "after").status == 200).then_some(())
    });
    daemon.works_everything_off();
    assert_eq!(applied(&daemon, &["before", "full", "after"]), [1, 0, 1]);
    assert_eq!(site.log().matches("the disk is nearly full: ").count(), 1, "{}", site.log());
}

#[test]
fn p4_a_request_that_a_nearly_full_disk_refuses_leaves_no_row_behind() {
    let mut site = Site::new();
    let daemon = site.start();
    site.deploy(&ledger::app());
    daemon.stop();
    // However much is free, it is too little; and each request is on record before it runs.
    site.settings = format!(
        "[outbox]\nsync_durability = \"before_run\"\n[limits.store]\nfree_bytes_min = {}",
        1_u64 << 40
    );
    let daemon = site.start();
    let refused = now(&daemon, "full");
    assert_eq!(refused.problem(), (507, "storage_low".to_owned()), "{refused:?}");
    daemon.works_everything_off();
    assert_eq!(applied(&daemon, &["full"]), [0]);
}

#[test]
fn p1_a_disk_that_is_full_loses_nothing_that_was_accepted() {
    let mount = match Mount::tmpfs(16) {
        Ok(mount) => mount,
        Err(reason) => return skipped("a full disk", &reason),
    };
    // The latch for low space stays out of the way: here the commits themselves fail.
    let (site, daemon) = daemon_on(&mount, "[limits.store]\nfree_bytes_min = 0");
    fill(&mount, 200 * 1_024);
    let (accepted, refused) = later_until_refused(&daemon);
    assert_eq!((refused.status, &*outcome(&refused)), (503, "nothing_changed"), "{refused:?}");
    let refused = now(&daemon, "full");
    assert!(matches!(refused.status, 503 | 507), "{refused:?}");

    // Accepted rows wait for room, over a kill too.
    daemon.kill();
    make_room(&mount);
    let daemon = start(&site, &mount);
    daemon.works_everything_off();
    let (counts, _) = ledger::counts(&daemon, &accepted);
    let lost = accepted.iter().filter(|id| counts[*id].applied != 1).count();
    assert_eq!(lost, 0, "of {} accepted", accepted.len());
    assert_eq!(applied(&daemon, &["full"]), [0]);
}

#[test]
fn p1_settles_that_found_the_disk_full_are_made_up_for_once_there_is_room() {
    let mount = match Mount::tmpfs(16) {
        Ok(mount) => mount,
        Err(reason) => return skipped("settles on a full disk", &reason),
    };
    let (_site, daemon) = daemon_on(&mount, "[limits.store]\nfree_bytes_min = 0");
    for number in 0..20 {
        let accepted = daemon.send(&Request::post(format!("/ledger/slowly/{number}"), "{}"));
        assert_eq!(accepted.status, 202, "{accepted:?}");
    }
    fill(&mount, 0);
    // It fills up while they run; whether they wait now or are done, each must count once.
    let (mut ids, _) = later_until_refused(&daemon);
    make_room(&mount);
    daemon.works_everything_off();
    ids.extend((0..20).map(|number| number.to_string()));
    let (counts, _) = ledger::counts(&daemon, &ids);
    assert!(counts.values().all(|counts| counts.applied == 1), "{counts:?}");
    assert!(daemon.list("dead-letters").is_empty());
}

#[test]
fn p1_a_file_system_that_turns_read_only_loses_nothing_that_was_acknowledged() {
    let mount = match Mount::ext4(32) {
        Ok(mount) => mount,
        Err(reason) => return skipped("a file system that turns read-only", &reason),
    };
    let (site, mut daemon) = daemon_on(&mount, "[limits.store]\nfree_bytes_min = 0");
    assert_eq!(now(&daemon, "before").status, 200);
    mount.break_down();

    // It may go on for reads, or end so that its supervisor starts it anew; it may not say that a write is done.
    let address = daemon.address();
    let answer = picloud_tests::client::Connection::tcp(address)
        .and_then(|mut client| client.send(&Request::post("/ledger/now/broken", "{}")));
    assert!(answer.as_ref().map_or(true, |answer| answer.status >= 500), "{answer:?}");
    let read = picloud_tests::client::Connection::tcp(address)
        .and_then(|mut client| client.send(&Request::post("/ledger/counts", "[\"before\"]")));
    match read {
        Ok(answer) if answer.status == 200 => {
            assert_eq!(answer.json()["counts"]["before"]["applied"], 1, "{answer:?}");
        }
        Ok(_) | Err(_) => assert!(daemon.ends_within(wait::PATIENCE).is_some(), "{}", site.log()),
    }
    drop(daemon);
    assert!(!site.log().contains("panicked"), "{}", site.log());
}

#[test]
fn p1_a_full_disk_under_load_tells_no_client_a_lie() {
    let mount = match Mount::tmpfs(16) {
        Ok(mount) => mount,
        Err(reason) => return skipped("a full disk under load", &reason),
    };
    let (_site, daemon) = daemon_on(&mount, "[limits.store]\nfree_bytes_min = 0");
    let ledger = ledger::Ledger::default();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let life = ledger::Life {
        address: daemon.address(),
        chance: picloud_tests::chance::Chance::new(picloud_tests::chance::seed(), 4),
        number: 1,
        stop: &stop,
    };
    std::thread::scope(|scope| {
        for client in 0..ledger::CLIENTS {
            let (ledger, life) = (&ledger, &life);
            scope.spawn(move || ledger.run_client(life, client));
        }
        for _ in 0..5 {
            let enough = ledger.answered() + 100;
            wait::until("answers", || (ledger.answered() >= enough).then_some(()));
            fill(&mount, 100 * 1_024);
            let enough = ledger.answered() + 100;
            wait::until("answers while full", || (ledger.answered() >= enough).then_some(()));
            make_room(&mount);
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    let wrong = contradictions(&ledger.history(), &ledger.found(&daemon));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
