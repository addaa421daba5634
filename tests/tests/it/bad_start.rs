//! A daemon that cannot start says why, in one message, with exit code 1, and leaves everything as it was.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use picloud_tests::client::Request;
use picloud_tests::daemon::{Launch, Nobody, Site};
use picloud_tests::mount::{Mount, skipped};
use picloud_tests::store_file;
use rustix::process::Signal;

/// Nobody has to know Rust, SQLite's numbers or a stack trace to read a message.
#[track_caller]
fn assert_says(site: &Site, launch: Launch<'_>, words: &[&str]) {
    let (code, said) = site.refuses_to_start(launch);
    assert_eq!(code, 1, "{said}");
    for word in words {
        assert!(said.contains(word), "no word of {word:?} in: {said}");
    }
    for jargon in ["panicked", "Os {", "Error(", "code: ", "Some(", "stack backtrace"] {
        assert!(!said.contains(jargon), "{jargon:?} in: {said}");
    }
}

fn path(of: &std::path::Path) -> String {
    of.display().to_string()
}

#[test]
fn a_store_that_is_no_database_is_refused_and_kept() {
    let site = Site::new();
    let garbage = b"this is no database, but somebody's only copy of something".repeat(100);
    fs::write(&site.store, &garbage).expect("the folder is ours");
    assert_says(&site, Launch::default(), &[&path(&site.store), "not a database"]);
    assert_eq!(fs::read(&site.store).expect("it is still there"), garbage);
}

#[test]
fn a_store_of_a_newer_daemon_is_refused_and_kept() {
    let site = Site::new();
    let daemon = site.start();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().code(), Some(0));
    store_file::execute(
        &site.store,
        "UPDATE meta SET schema_version = schema_version + 900, oldest_daemon = oldest_daemon + 900",
    );
    assert_says(&site, Launch::default(), &[&path(&site.store), "newer", "schema 90"]);
    store_file::execute(
        &site.store,
        "UPDATE meta SET schema_version = schema_version - 900, oldest_daemon = oldest_daemon - 900",
    );
    site.start();
}

#[test]
fn a_second_daemon_on_the_same_store_is_refused_and_the_first_goes_on() {
    let site = Site::new();
    let first = site.start();
    let mut other = Site::new();
    other.store.clone_from(&site.store);
    assert_says(&other, Launch::default(), &[&path(&site.store), "another"]);
    assert_eq!(first.send(&Request::get("/nowhere")).status, 404);
}

#[test]
fn a_store_that_may_not_be_written_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return skipped("a store without permission", "only root can start a process as nobody");
    }
    let site = Site::new();
    let launch = Launch { as_nobody: Some(Nobody), ..Launch::default() };
    assert_says(&site, launch, &[&path(&site.store), "may not be read and written by this user"]);
}

#[test]
fn a_store_in_a_folder_that_is_missing_is_refused() {
    let mut site = Site::new();
    let folder = site.path().join("nowhere");
    site.store = folder.join("picloud.db");
    assert_says(&site, Launch::default(), &[&path(&folder), "does not exist", "[store] url"]);
}

#[test]
fn a_store_on_a_read_only_file_system_is_refused() {
    let mount = match Mount::tmpfs(8) {
        Ok(mount) => mount,
        Err(reason) => return skipped("a store on a read-only file system", &reason),
    };
    let mut site = Site::new();
    site.store = mount.path().join("picloud.db");
    mount.run(&["mount", "-o", "remount,ro", &path(mount.path())]);
    let launch = Launch { within: Some(&mount), ..Launch::default() };
    assert_says(&site, launch, &[&path(&site.store), "read-only"]);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let mut site = Site::new();
    site.listen = taken.local_addr().expect("it is bound").to_string();
    assert_says(&site, Launch::default(), &[&site.listen, "in use"]);
}

#[test]
fn a_socket_in_use_is_named_and_left_to_its_owner() {
    let site = Site::new();
    let _owner = UnixListener::bind(site.socket()).expect("the folder is ours");
    assert_says(&site, Launch::default(), &[&path(&site.socket()), "in use"]);
    assert!(site.socket().exists());
}

#[test]
fn a_file_in_the_place_of_the_socket_is_refused_and_kept() {
    let site = Site::new();
    fs::write(site.socket(), "precious").expect("the folder is ours");
    assert_says(&site, Launch::default(), &[&path(&site.socket())]);
    assert_eq!(fs::read(site.socket()).expect("it is still there"), b"precious");
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_one_that_was_meant() {
    let mut site = Site::new();
    site.settings = "[log]\nlevle = \"debug\"".to_owned();
    assert_says(&site, Launch::default(), &["picloud.toml", "levle", "level"]);
}

#[test]
fn a_value_that_is_none_is_named_with_its_key() {
    let mut site = Site::new();
    site.listen = "everywhere".to_owned();
    assert_says(&site, Launch::default(), &["listen", "everywhere"]);
}

#[test]
fn a_configuration_that_is_missing_is_named() {
    let site = Site::new();
    let missing = path(&site.path().join("nowhere.toml"));
    let output = std::process::Command::new(picloud_tests::daemon::program("picloudd"))
        .args(["run", "--config", &missing])
        .output()
        .expect("the daemon is built with the tests");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&missing), "{output:?}");
}
