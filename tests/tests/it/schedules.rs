//! Schedules with the real daemon and the real clock.

use picloud_tests::client::Request;
use picloud_tests::daemon::{Daemon, InlineApp, Site};
use picloud_tests::wait;
use serde_json::Value;

/// An app that counts for each due time how often it ran.
const SECONDS: InlineApp<'_> = InlineApp {
    slug: "clock",
    scripts: &[
        ("tick", r#"kv::collection("ticks").incr(event.scheduled_at.to_string(), 1)"#),
        ("look", r#"kv::collection("ticks").list("", 10000)"#),
    ],
    routes: &[("GET /", "look", "")],
    manifest: "[[triggers]]\nkind = \"schedule\"\nname = \"every-second\"\ncron = \"* * * * * *\"\n\
               time_zone = \"UTC\"\ncatch_up = \"all\"\nscript = \"tick\"\n",
};

/// The due times that ran so far, in order, each with how often.
fn ticks(daemon: &Daemon) -> Vec<(i64, i64)> {
    let answer = daemon.send(&Request::get("/clock/"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let entry = |one: &Value| {
        let key = one["key"].as_str().and_then(|key| key.parse().ok());
        (key.expect("the key is a time"), one["value"].as_i64().expect("the value is a count"))
    };
    answer.json().as_array().expect("a list").iter().map(entry).collect()
}

#[track_caller]
fn ticks_on(daemon: &Daemon, more: usize) -> Vec<(i64, i64)> {
    let before = ticks(daemon).len();
    wait::until("the clock ticks", || {
        let now = ticks(daemon);
        (now.len() >= before + more).then_some(now)
    })
}

#[test]
fn p3_every_due_time_runs_once_also_when_the_daemon_is_killed_in_between() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&SECONDS);
    ticks_on(&daemon, 2);
    daemon.kill();
    let daemon = site.start();
    let ticks = ticks_on(&daemon, 3);
    for pair in ticks.windows(2) {
        assert_eq!(pair[1].0 - pair[0].0, 1_000, "{ticks:?}");
    }
    assert!(ticks.iter().all(|(_, times)| *times == 1), "{ticks:?}");
    daemon.stop();
}

#[test]
fn a_trigger_is_looked_at_switched_and_set_off_from_the_command_line() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&InlineApp {
        slug: "garden",
        scripts: &[
            ("water", r#"kv::collection("c").set("last", event.bed ?? event.scheduled_at)"#),
            ("look", r#"kv::collection("c").get("last")"#),
        ],
        routes: &[("GET /", "look", "")],
        manifest: "[[triggers]]\nkind = \"schedule\"\nname = \"water\"\ncron = \"0 0 29 2 *\"\n\
                   time_zone = \"UTC\"\nscript = \"water\"\n",
    });
    let picloud = |arguments: &[&str]| {
        let output = site.picloud(arguments);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, listed, _) = picloud(&["triggers", "list"]);
    assert_eq!(code, Some(0));
    assert!(listed.contains("garden/water") && listed.contains("0 0 29 2 * (UTC)"), "{listed}");
    let (_, shown, _) = picloud(&["triggers", "show", "garden/water"]);
    assert!(shown.contains("-02-29 00:00:00 UTC"), "{shown}");
    let (_, off, _) = picloud(&["triggers", "disable", "garden/water"]);
    assert_eq!(off, "garden/water is disabled\n");
    let (_, again, _) = picloud(&["triggers", "disable", "garden/water"]);
    assert_eq!(again, "garden/water is disabled already\n");

    let event = site.path().join("event.json");
    std::fs::write(&event, r#"{"bed": 3}"#).expect("the folder is ours");
    let event = event.display().to_string();
    let (code, fired, said) = picloud(&["triggers", "fire", "garden/water", &event]);
    assert_eq!(code, Some(0), "{said}");
    assert!(fired.starts_with("garden/water fired: "), "{fired}");
    daemon.works_everything_off();
    assert_eq!(daemon.send(&Request::get("/garden/")).json(), 3);

    let (code, _, said) = picloud(&["triggers", "delete", "garden/water"]);
    assert_eq!((code, said.contains("--yes")), (Some(2), true), "{said}");
    let (code, _, _) = picloud(&["triggers", "delete", "garden/water", "--yes"]);
    assert_eq!(code, Some(0));
    let (code, _, said) = picloud(&["triggers", "show", "garden/water"]);
    assert_eq!(code, Some(3), "{said}");
    daemon.stop();
}
