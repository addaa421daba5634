//! The doctor from outside, on a store without a daemon and a machine that is made up.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::store::naming;
use crate::store::tests::{NOW, scratch_with_app};
use crate::time::Timestamp;

struct At;

impl Clock for At {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A store that was stopped in order, and a machine that says nothing but that it has a good disk.
async fn scene() -> (tempfile::TempDir, Visit) {
    let (folder, batcher) = scratch_with_app().await.into_parts();
    batcher.stop().await.expect("stops");
    let mut config = Config::default();
    config.store.path = folder.path().join("store.db");
    config.http.listen = "127.0.0.1:0".parse().expect("an address");
    config.admin.socket = folder.path().join("admin.sock");
    config.limits.store.free_bytes_min = 0;
    let proc = folder.path().join("proc");
    fs::create_dir_all(proc.join("self")).expect("is made");
    fs::write(proc.join("locks"), "").expect("is ours");
    let mounts = "1 1 179:2 / / rw,noatime - ext4 /dev/root rw\n";
    fs::write(proc.join("self/mountinfo"), mounts).expect("is ours");
    let nowhere = folder.path().join("nowhere");
    let machine =
        Machine { proc, sys: nowhere.clone(), systemd: nowhere.clone(), systemctl: nowhere };
    let visit = Visit {
        config: Ok(config),
        config_file: folder.path().join("picloud.toml"),
        is_of_service: true,
        machine,
        clock: Arc::new(At),
        rehearsal: Rehearsal::Yes,
    };
    (folder, visit)
}

fn config(visit: &mut Visit) -> &mut Config {
    visit.config.as_mut().expect("it holds")
}

fn called<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    let found = checks.iter().find(|check| check.name == name);
    found.unwrap_or_else(|| panic!("no {name} among {checks:?}"))
}

#[track_caller]
fn assert_only(checks: &[Check], name: &str, state: &str, part: &str) {
    let one = called(checks, name);
    assert!(one.state == state && one.text.contains(part), "{one:?}");
    assert!(one.remedy.is_some(), "{one:?}");
    let others: Vec<_> = checks.iter().filter(|it| it.name != name && it.state != "ok").collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(checks[0].name, name, "the worst comes first");
}

#[tokio::test]
async fn a_store_that_is_well_is_found_well_and_left_as_it_is() {
    let (folder, scene) = scene().await;
    // SQLite makes its own two beside a store that it reads for long.
    let others = || {
        let names = naming::names_in(folder.path()).into_iter();
        let own = |name: &String| !name.ends_with("-wal") && !name.ends_with("-shm");
        names.filter(own).collect::<BTreeSet<String>>()
    };
    let content = || fs::read(folder.path().join("store.db")).expect("is read");
    let (before, names) = (content(), others());
    let checks = visit(scene).await;
    assert!(checks.iter().all(|check| check.state == "ok"), "{checks:?}");
    let expected = [
        "service",
        "config",
        "daemon",
        "disk",
        "clock",
        "mount",
        "card",
        "folder",
        "key",
        "owner",
        "schema",
        "backups",
        "port",
        "file",
        "rehearsal",
    ];
    let found: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(found, expected);
    assert!(called(&checks, "rehearsal").text.contains("a fresh copy"), "{checks:?}");
    assert_eq!(others(), names);
    assert!(content() == before, "it is only read");
}

#[tokio::test]
async fn before_the_first_start_nothing_is_wrong() {
    let (folder, mut scene) = scene().await;
    config(&mut scene).store.path = folder.path().join("new.db");
    let checks = visit(scene).await;
    assert!(checks.iter().all(|check| check.state == "ok"), "{checks:?}");
    assert!(called(&checks, "schema").text.contains("first start"), "{checks:?}");
}

#[tokio::test]
async fn a_page_that_was_flipped_is_found() {
    let (folder, mut scene) = scene().await;
    let path = folder.path().join("store.db");
    let mut content = fs::read(&path).expect("is read");
    for page in content.chunks_mut(4_096).skip(2).step_by(2) {
        page[..100].fill(0xA5);
    }
    fs::write(&path, &content).expect("is ours");
    scene.rehearsal = Rehearsal::No;
    let checks = visit(scene).await;
    let bad: Vec<_> = checks.iter().filter(|check| check.state == "bad").collect();
    assert!(bad.iter().any(|check| check.text.contains("damaged")), "{checks:?}");
    assert!(bad.iter().all(|check| check.remedy.is_some()), "{bad:?}");
    assert_eq!(fs::read(&path).expect("is read"), content);
}

#[tokio::test]
async fn a_backup_that_is_damaged_is_found_by_its_rehearsal() {
    let (folder, scene) = scene().await;
    let backups = folder.path().join("backups");
    fs::create_dir(&backups).expect("is new");
    let name = "picloud-20231114T221320.000Z.db";
    fs::copy(folder.path().join("store.db"), backups.join(name)).expect("is copied");
    let (config, file) = (scene.config.clone(), backups.join(name));
    let well = rehearsal::play(&config.expect("it holds"), &At).await;
    assert!(well.state == "ok" && well.text.contains(name), "{well:?}");
    let mut content = fs::read(&file).expect("is read");
    for page in content.chunks_mut(4_096).skip(2) {
        page[..100].fill(0xA5);
    }
    fs::write(&file, content).expect("is ours");
    assert_only(&visit(scene).await, "rehearsal", "bad", "cannot be restored");
    let rests = fs::read_dir(folder.path()).expect("is read").filter_map(Result::ok);
    let mut rests = rests.map(|entry| entry.file_name().to_string_lossy().into_owned());
    assert!(!rests.any(|name| name.starts_with(".picloud-rehearsal")), "it is removed");
}

#[tokio::test]
async fn what_a_rehearsal_that_was_killed_left_is_removed_by_the_next() {
    let (folder, scene) = scene().await;
    // No process has such a number.
    let rest = folder.path().join(".picloud-rehearsal-4194305");
    fs::create_dir(&rest).expect("is new");
    fs::write(rest.join("picloud.db"), "x").expect("is ours");
    visit(scene).await;
    assert!(!rest.exists());
}

#[tokio::test]
async fn a_full_disk_is_bad_and_a_rehearsal_without_room_is_not_played() {
    let (folder, mut scene) = scene().await;
    config(&mut scene).limits.store.free_bytes_min = 1 << 60;
    let checks = visit(scene).await;
    assert_eq!((checks[0].name.as_str(), checks[0].state.as_str()), ("disk", "bad"));
    assert_eq!(called(&checks, "rehearsal").state, "warn");
    assert!(folder.path().join("store.db").exists());
}

#[tokio::test]
async fn wrong_permissions_and_a_port_that_is_taken_are_found() {
    let (folder, mut visited) = scene().await;
    let mode = |name: &str, mode| {
        let may = fs::Permissions::from_mode(mode);
        fs::set_permissions(folder.path().join(name), may).expect("is ours");
    };
    fs::write(folder.path().join("secrets.key"), [0; 32]).expect("is ours");
    mode("secrets.key", 0o644);
    visited.rehearsal = Rehearsal::No;
    assert_only(&visit(visited).await, "key", "bad", "can be read by others");

    let (folder, visited) = scene().await;
    let may = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(), may).expect("is ours");
    assert_only(&visit(visited).await, "folder", "bad", "by everybody");

    let (folder, visited) = scene().await;
    fs::write(&visited.config_file, "").expect("is ours");
    let may = fs::Permissions::from_mode(0o666);
    fs::set_permissions(&visited.config_file, may).expect("is ours");
    assert_only(&visit(visited).await, "config", "bad", "by everybody");
    drop(folder);

    let (_folder, mut visited) = scene().await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    config(&mut visited).http.listen = taken.local_addr().expect("it has one");
    assert_only(&visit(visited).await, "port", "bad", "taken by another program");
}

#[tokio::test]
async fn a_configuration_that_does_not_hold_is_told_with_its_error() {
    let (_folder, mut visited) = scene().await;
    visited.config = Err("picloud.toml:3: unknown key \"levle\"".to_owned());
    let checks = visit(visited).await;
    assert_only(&checks, "config", "bad", "levle");
    assert_eq!(checks.len(), 2, "{checks:?}");
}

#[tokio::test]
async fn a_daemon_that_has_the_store_and_does_not_answer_is_bad() {
    let (folder, mut visited) = scene().await;
    let _lock = crate::store::open::lock(&folder.path().join("store.db")).expect("is free");
    fs::copy("/proc/locks", visited.machine.proc.join("locks")).expect("the kernel says it");
    let socket = config(&mut visited).admin.socket.clone();
    let listener = tokio::net::UnixListener::bind(&socket).expect("the folder is ours");
    let closing = async {
        loop {
            // Whoever comes is sent away.
            drop(listener.accept().await);
        }
    };
    let checks = tokio::select! {
        checks = visit(visited) => checks,
        () = closing => Vec::new(),
    };
    assert_only(&checks, "daemon", "bad", "does not answer");
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    assert!(
        !names.contains(&"port") && !names.contains(&"file"),
        "they are the daemon's: {names:?}"
    );
}

#[test]
fn of_two_checks_of_the_same_the_worse_counts() {
    let one = |name: &str, state, text: &str| check(name, state, text, None);
    let answered = vec![one("disk", State::Ok, "its"), one("clock", State::Bad, "its")];
    let own = vec![
        one("disk", State::Warn, "ours"),
        one("clock", State::Warn, "ours"),
        one("card", State::Ok, "ours"),
    ];
    let merged = merged(answered, own);
    let told: Vec<_> = merged.iter().map(|it| (it.name.as_str(), it.text.as_str())).collect();
    assert_eq!(told, [("disk", "ours"), ("clock", "its"), ("card", "ours")]);
}
