//! The five jobs that the console is for, each with as many keys as are promised.

use std::fs;

use picloud_tests::daemon::Site;
use picloud_tests::terminal::Console;
use picloud_tests::wait;
use serde_json::json;

use crate::console::{ENTER, ESCAPE, garden, get, letters, live, open, quits, shows, water};

/// Somebody who waits for what a key shows before the next one is pressed.
struct Person {
    console: Console,
    presses: usize,
}

impl Person {
    /// At a console with an editor that runs this line of sed.
    fn with_editor(site: &Site, sed: &str) -> Person {
        let script = site.path().join("editor");
        fs::write(&script, format!("sed -i '{sed}' \"$1\"\n")).expect("the folder is ours");
        let editor = format!("/bin/sh {}", script.display());
        let mut console = open(site, &[], &[("EDITOR", &editor)]);
        shows(&mut console, &["● live"]);
        Person { console, presses: 0 }
    }

    #[track_caller]
    fn presses(&mut self, key: &str, sees: &[&str]) {
        self.presses += 1;
        self.types(key, sees);
    }

    /// Typing is not counted.
    #[track_caller]
    fn types(&mut self, text: &str, sees: &[&str]) {
        self.console.keys(text);
        shows(&mut self.console, sees);
    }
}

#[test]
fn the_overview_says_without_a_key_what_waits_after_the_daemon_died() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    letters(&daemon, 2);
    daemon.kill();
    let daemon = site.start();
    let mut console = live(&site);
    shows(&mut console, &["▲ 2 dead letters wait for you", "✓ store", "since the daemon's death"]);
    let stats = get(&daemon, "/stats");
    assert_eq!(stats["instance"]["why"], "daemon_died", "{stats}");
    assert_eq!(stats["all"]["dead_letters"], 2, "{stats}");
    quits(console);
    daemon.stop();
}

#[test]
fn the_payload_of_a_failed_run_is_mended_and_replayed_with_five_keys() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    letters(&daemon, 1);
    let mut person = Person::with_editor(&site, r#"s/"n": 10/"n": 3/"#);
    person.presses("3", &["1 open, 1 group", "sensor # is silent"]);
    person.presses(ENTER, &["sensor 10 is silent", "\"method\": \"POST\""]);
    person.presses(ENTER, &["\"method\": \"POST\""]);
    person.presses("e", &["event, edited: 1 change", "-", "\"n\": 10", "+", "\"n\": 3"]);
    person.presses("r", &["u take the replay back"]);
    assert_eq!(person.presses, 5);

    let waiting = daemon.list("outbox?filter=state:later");
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    let id = waiting[0]["id"].as_str().expect("a row has an id");
    daemon.order(&format!("/outbox/{id}/run-now"));
    daemon.executions("script", "note", 1);
    assert_eq!(get(&daemon, "/apps/garden/kv/beds/b1")["value"], 3);
    assert!(daemon.list("dead-letters").is_empty());
    quits(person.console);
    daemon.stop();
}

#[test]
fn the_dead_letters_of_one_outage_are_replayed_with_three_keys_and_taken_back_with_one() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    letters(&daemon, 38);
    let mut person = Person::with_editor(&site, "");
    person.presses("3", &["38 open, 1 group"]);
    person.presses("r", &["Replay 38 dead letters?", "in 38 garden", "v1 failed, v1 will run"]);
    person.presses("y", &["replay: 38 done"]);
    assert_eq!(person.presses, 3);
    assert_eq!(daemon.list("outbox?filter=state:later").len(), 38);
    assert!(daemon.list("dead-letters").is_empty());

    person.presses("u", &["38 back", "38 open, 1 group"]);
    assert!(daemon.list("outbox").is_empty());
    assert_eq!(daemon.list("dead-letters").len(), 38);
    quits(person.console);
    daemon.stop();
}

#[test]
fn what_a_request_sets_off_is_followed_live_with_five_keys() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    let mut person = Person::with_editor(&site, "");
    person.presses("2", &["Nothing waits and nothing runs"]);
    person.presses("/", &["take"]);
    person.types("script:water", &["/script:water"]);
    person.presses(ENTER, &["Outbox", "/script:water", "Nothing that fits"]);
    water(&daemon, [3]);
    shows(&mut person.console, &["garden/water", "done"]);
    person.presses(" ", &["paused", "space goes on"]);
    person.presses("c", &["garden/note", "kv after"]);
    assert_eq!(person.presses, 5);
    assert_eq!(daemon.executions("script", "note", 1).len(), 1);
    assert_eq!(get(&daemon, "/apps/garden/kv/notes/n")["value"], 1);
    quits(person.console);
    daemon.stop();
}

#[test]
fn a_script_is_changed_tried_on_the_last_event_and_put_live_with_six_keys() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    water(&daemon, [4]);
    daemon.executions("script", "water", 1);
    let mut person = Person::with_editor(&site, r"s/> 9/> 99/");
    person.presses("6", &["garden/note", "garden/water"]);
    person.presses("/", &["take"]);
    person.types("water", &["/water"]);
    person.presses(ENTER, &["garden/water", "> 9 {"]);
    person.presses("e", &["script, edited: 1 change", "> 99 {"]);
    person.presses("t", &["your edit, on the event of", "beds"]);
    person.presses("y", &["garden/water v2 is live", "u back to v1"]);
    assert_eq!(person.presses, 6);
    let script = get(&daemon, "/apps/garden/scripts/water");
    assert_eq!(script["version"], 2, "{script}");
    assert!(script["source"].as_str().is_some_and(|text| text.contains("> 99 {")), "{script}");
    // What was tried has written nothing more.
    assert_eq!(daemon.list("executions?filter=script:water").len(), 1);

    person.presses("u", &["done: back to v1"]);
    let script = get(&daemon, "/apps/garden/scripts/water");
    assert!(script["source"].as_str().is_some_and(|text| text.contains("> 9 {")), "{script}");
    quits(person.console);
    daemon.stop();
}

#[test]
fn a_letter_is_discarded_when_asked_twice_and_reopened_by_undo() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    let id = letters(&daemon, 1)[0]["id"].as_str().expect("a letter has an id").to_owned();
    let state = |is: &str| daemon.list(&format!("dead-letters?filter=is:{is}")).len();
    let mut person = Person::with_editor(&site, "");
    person.presses("3", &["1 open"]);
    person.presses(ENTER, &["sensor 10 is silent"]);
    person.presses("d", &["Discard", "y does it; anything else does not"]);
    person.presses("n", &["not done: discard"]);
    assert_eq!((state("open"), state("discarded")), (1, 0));
    person.presses("d", &["y does it; anything else does not"]);
    person.presses("y", &[&format!("u reopen {id}")]);
    assert_eq!((state("open"), state("discarded")), (0, 1));
    person.presses("u", &["done: reopen", "sensor 10 is silent"]);
    assert_eq!(daemon.list("dead-letters")[0]["id"], json!(id));
    person.presses(ESCAPE, &["1 open, 1 group"]);
    quits(person.console);
    daemon.stop();
}

#[test]
fn an_editor_that_fails_or_leaves_no_json_changes_nothing() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    letters(&daemon, 1);
    for (sed, sees) in [("s/", "the editor"), ("s/^{/[/", "no JSON, line")] {
        let mut person = Person::with_editor(&site, sed);
        person.presses("3", &["1 open"]);
        person.presses(ENTER, &["sensor 10 is silent", "\"method\": \"POST\""]);
        person.presses("e", &[sees]);
        person.console.keys("\x03");
        assert_eq!(person.console.ended(), 0);
        assert_eq!(person.console.left_behind(), [""; 0]);
        let left = fs::read_dir(site.path()).expect("it is there").filter_map(Result::ok);
        let names = left.map(|entry| entry.file_name().to_string_lossy().into_owned());
        assert!(!names.into_iter().any(|name| name.starts_with("picloud-")), "a file was left");
    }
    assert_eq!(daemon.list("dead-letters").len(), 1);
    wait::until("nothing waits", || daemon.list("outbox").is_empty().then_some(()));
    daemon.stop();
}
