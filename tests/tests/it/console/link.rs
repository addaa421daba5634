//! The daemon goes, comes, is not there yet, or lets nobody in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use picloud_tests::daemon::{Site, program};
use picloud_tests::terminal::Console;

use crate::console::{SIZE, garden, letters, live, open, quits, shows, water};

#[test]
fn a_daemon_that_dies_and_comes_back_is_seen_to_and_nothing_is_lost_meanwhile() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    letters(&daemon, 2);
    let mut console = live(&site);
    console.keys("3");
    shows(&mut console, &["2 open, 1 group"]);
    console.keys("\r");
    shows(&mut console, &["sensor 11 is silent", "sensor 10 is silent", "\"method\": \"POST\""]);
    daemon.kill();
    shows(&mut console, &["no daemon answers at", "as of ", "R now", "✗ not connected"]);
    shows(&mut console, &["sensor 11 is silent", "sensor 10 is silent", "\"method\": \"POST\""]);
    console.keys("d");
    shows(&mut console, &["not connected: nothing is changed, and nothing is kept for later"]);
    let daemon = site.start();
    shows(
        &mut console,
        &["● live", "restarted ", "after the daemon's death", "sensor 11 is silent"],
    );
    assert!(!console.screen().contains("as of "), "{}", console.screen());
    assert_eq!(daemon.list("dead-letters").len(), 2);
    console.keys("\x1b");
    shows(&mut console, &["2 open, 1 group"]);
    water(&daemon, [12]);
    shows(&mut console, &["3 Dead 3!", "3 open, 1 group"]);
    quits(console);
    daemon.stop();
}

#[test]
fn a_daemon_that_is_not_there_yet_is_waited_for() {
    let site = Site::new();
    let mut console = open(&site, &[], &[]);
    shows(&mut console, &["no daemon answers at", "sudo systemctl start picloud"]);
    for key in ["2", "3", "6", "0", "1", "j", "r", "R"] {
        console.keys(key);
    }
    let daemon = site.start();
    shows(&mut console, &["● live", "no apps yet"]);
    // It is no restart if nobody was known before.
    assert!(!console.screen().contains("restarted"), "{}", console.screen());
    quits(console);
    daemon.stop();
}

#[test]
fn a_daemon_that_is_away_for_long_does_not_keep_the_user_from_leaving() {
    let site = Site::new();
    let daemon = site.start();
    let mut console = live(&site);
    daemon.kill();
    shows(&mut console, &["✗ not connected"]);
    quits(console);
}

/// A console of somebody whom the socket is closed to.
fn locked_out(site: &Site) -> Console {
    let mode = |path: PathBuf, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    mode(site.socket(), 0o600);
    let mut words: Vec<String> = Vec::new();
    let mut console = program("picloud-tui");
    if rustix::process::geteuid().is_root() {
        // Root may open everything: nobody may not.
        mode(site.path().to_owned(), 0o755);
        let copy = site.path().join("console");
        fs::copy(&console, &copy).expect("the folder is ours");
        let drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        words.extend(drop.map(str::to_owned));
        console = copy;
    } else {
        mode(site.socket(), 0);
    }
    words.push(console.display().to_string());
    words.extend(["--socket".to_owned(), site.socket().display().to_string()]);
    let script = "exec \"$@\"".to_owned();
    let arguments: Vec<&str> =
        ["-c", &script, "sh"].into_iter().chain(words.iter().map(String::as_str)).collect();
    Console::open("/bin/sh".as_ref(), &arguments, &[("USER", "pi".into())], SIZE)
}

#[test]
fn whoever_may_not_open_the_socket_is_told_the_group_and_the_command() {
    let site = Site::new();
    let daemon = site.start();
    let mut console = locked_out(&site);
    shows(
        &mut console,
        &[
            "you may not open",
            "pi is in neither picloud nor picloud-admin: `sudo adduser pi picloud-admin`, log in again",
            "✗ not connected",
        ],
    );
    quits(console);
    daemon.stop();
}

#[test]
fn whoever_may_only_read_sees_everything_and_is_told_why_nothing_is_done() {
    let mut site = Site::new();
    site.admin_listen = "127.0.0.1:0".to_owned();
    let daemon = site.start();
    garden(&site);
    letters(&daemon, 1);
    let made = site.picloud(&["tokens", "create", "reader", "--read"]);
    let secret = String::from_utf8(made.stdout).expect("it is text").trim().to_owned();
    let url = format!("http://{}", daemon.admin_address.expect("it was asked for"));
    let mut console = open(&site, &["--url", &url], &[("PICLOUD_TOKEN", &secret)]);
    shows(&mut console, &["read only", "● live", "1 dead letter waits for you"]);
    console.keys("3");
    shows(&mut console, &["1 open, 1 group"]);
    for (key, says) in [
        ("r", "you may not replay: it asks for DeadLettersResolve"),
        ("d", "you may not discard: it asks for DeadLettersResolve"),
    ] {
        console.keys(key);
        shows(&mut console, &[says]);
    }
    console.keys("\r");
    shows(&mut console, &["sensor 10 is silent", "\"method\": \"POST\""]);
    assert_eq!(daemon.list("dead-letters").len(), 1);
    assert!(!String::from_utf8_lossy(console.raw()).contains(&secret));
    quits(console);
    daemon.stop();
}
