//! Dead letters, the outbox and executions with `picloud` alone, against a daemon that runs.

use std::process::Output;

use picloud_tests::daemon::{Daemon, InlineApp, Site};
use picloud_tests::wait;
use serde_json::Value;

const ONCE: &str = "dispatch_mode = \"async\"\nretry = { max_attempts = 1, backoff = \"constant\", base = \"10ms\", jitter = 0.0 }";

fn app(site: &Site) {
    site.deploy_app(&InlineApp {
        slug: "garden",
        scripts: &[
            (
                "water",
                r#"
                log::warn("looks at the sensor", #{n: event.body.n});
                if event.body.n > 9 { throw `sensor ${event.body.n} is silent`; }
                kv::collection("beds").set("b1", event.body.n);
                "#,
            ),
            ("note", r#"kv::collection("notes").incr("n", 1)"#),
        ],
        routes: &[("POST /", "water", ONCE)],
        manifest: "[[triggers]]\nkind = \"kv\"\nname = \"after\"\ncollection_glob = \"beds\"\nscript = \"note\"\n",
    });
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("what is printed is text")
}

#[track_caller]
fn done(site: &Site, arguments: &[&str]) -> String {
    let output = site.picloud(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn refused(site: &Site, arguments: &[&str], exit: i32) -> String {
    let Output { status, stderr, .. } = site.picloud(arguments);
    assert_eq!(status.code(), Some(exit), "{arguments:?}: {}", text(&stderr));
    text(&stderr)
}

/// So many requests that fail for good, and the letters that they become.
fn letters(site: &Site, daemon: &Daemon, count: usize) -> Vec<String> {
    for n in 0..count {
        let accepted = daemon.post("/garden/", &format!("{{\"n\": {}}}", n + 10));
        assert_eq!(accepted.status, 202, "{accepted:?}");
    }
    wait::until("all are dead letters", || {
        let listed = done(site, &["--json", "dead-letters", "list"]);
        let ids = listed.lines().map(|line| {
            let letter: Value = serde_json::from_str(line).expect("a line is JSON");
            letter["id"].as_str().expect("a letter has an id").to_owned()
        });
        let ids: Vec<String> = ids.collect();
        (ids.len() == count).then_some(ids)
    })
}

#[test]
fn a_letter_is_looked_at_mended_and_replayed_with_picloud_alone() {
    let site = Site::new();
    let daemon = site.start();
    app(&site);
    let letter = letters(&site, &daemon, 1).remove(0);
    let shown = done(&site, &["dead-letters", "show", &letter]);
    for part in ["garden/water v1 failed, now v1", "sensor 10 is silent", "| ", "\"n\": 10"] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let shown = done(&site, &["--json", "dead-letters", "show", &letter]);
    let mut shown: Value = serde_json::from_str(&shown).expect("it is JSON");
    let run = shown["row_id"].as_str().expect("a letter has a row").to_owned();
    let run = done(&site, &["executions", "show", &run]);
    for part in ["dead_lettered", "looks at the sensor", "line 3: sensor 10 is silent"] {
        assert!(run.contains(part), "{part}\n{run}");
    }

    shown["event"]["body"]["n"] = 3.into();
    let file = site.path().join("event.json");
    std::fs::write(&file, shown["event"].to_string()).expect("the folder is ours");
    let file = file.to_str().expect("the path is text");
    let replayed = done(&site, &["dead-letters", "replay", &letter, "--payload", file]);
    assert!(replayed.contains("is replayed by row "), "{replayed}");
    daemon.executions("script", "note", 1);
    let second = refused(&site, &["dead-letters", "replay", &letter], 5);
    assert!(second.contains("was replayed already") && second.contains("hint: "), "{second}");

    let chain = done(&site, &["executions", "show", &letter, "--chain"]);
    let lines: Vec<&str> = chain.lines().collect();
    assert_eq!(lines.len(), 3, "{chain}");
    assert!(lines[0].starts_with("> garden/water") && lines[0].contains("dead letter: replayed"));
    assert!(lines[1].starts_with("    garden/water") && lines[1].contains("replay"), "{chain}");
    assert!(lines[2].starts_with("      garden/note  kv after  completed"), "{chain}");
}

#[test]
fn many_letters_are_resolved_by_a_filter_when_their_number_is_as_expected() {
    let site = Site::new();
    let daemon = site.start();
    app(&site);
    letters(&site, &daemon, 4);
    let groups = done(&site, &["dead-letters", "list", "--group", "error"]);
    assert!(groups.contains("threw: sensor # is silent"), "{groups}");
    assert_eq!(groups.lines().count(), 2, "{groups}");

    let filter = ["dead-letters", "discard", "--filter", "error:\"sensor 11\""];
    let asked = refused(&site, &filter, 2);
    assert!(asked.contains("1 match: 1 of garden") && asked.contains("--expect N or --yes"));
    let other = refused(&site, &[&filter[..], &["--expect", "4"]].concat(), 5);
    assert!(other.contains("1 match, not 4") && other.contains("nothing was done"), "{other}");
    let discarded = done(&site, &[&filter[..], &["--expect", "1"]].concat());
    assert_eq!(discarded, "1 discarded, 0 skipped, 0 failed\n");
    let all = ["dead-letters", "replay", "--filter", "app:garden", "--hold", "500", "--yes"];
    let replayed = done(&site, &[&["--json"], &all[..]].concat());
    let replayed: Value = serde_json::from_str(&replayed).expect("it is JSON");
    let ids: Vec<&str> =
        replayed["done"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(daemon.list("outbox?filter=state:later").len(), 3);
    let back = done(&site, &[&["dead-letters", "take-back"], &ids[..]].concat());
    assert_eq!(back, "3 taken back, 0 skipped, 0 failed\n");
    assert_eq!(daemon.list("dead-letters").len(), 3);
    assert!(daemon.list("outbox").is_empty());
}

#[test]
fn what_waits_is_run_now_or_taken_out() {
    let site = Site::new();
    let daemon = site.start();
    app(&site);
    let letter = letters(&site, &daemon, 1).remove(0);
    let hold = ["--json", "dead-letters", "replay", &letter, "--hold", "500"];
    let row = |printed: String| {
        let done: Value = serde_json::from_str(&printed).expect("it is JSON");
        done["row_id"].as_str().expect("a row replays it").to_owned()
    };
    let first = row(done(&site, &hold));
    assert_eq!(done(&site, &["outbox", "run-now", &first]), format!("{first} is due now\n"));
    wait::until("it has failed again", || (daemon.list("dead-letters").len() == 1).then_some(()));
    let again = ["--json", "dead-letters", "replay", &letter, "--hold", "500", "--again"];
    let second = row(done(&site, &again));
    let shown = done(&site, &["outbox", "show", &second]);
    assert!(shown.contains("later, in ") && shown.contains("\"n\": 10"), "{shown}");
    let cancelled = done(&site, &["outbox", "cancel", &second, "--reason", "sensor is gone"]);
    assert!(cancelled.contains("will not run: it is dead letter "), "{cancelled}");
    assert_eq!(daemon.list("dead-letters?filter=kind:cancelled").len(), 1);
    assert!(daemon.list("outbox").is_empty());
    refused(&site, &["outbox", "show", &second], 3);
}
