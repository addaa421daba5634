//! Work that nobody waits for: in order, in turn, held, given up, and found again.

use std::collections::BTreeSet;

use picloud_tests::client::Request;
use picloud_tests::daemon::{Daemon, InlineApp, Site};
use picloud_tests::{store_file, wait};
use serde_json::{Value, json};

const SOON: &str =
    "retry = { max_attempts = 3, backoff = \"constant\", base = \"10ms\", jitter = 0.0 }";

#[track_caller]
fn get(daemon: &Daemon, target: &str) -> Value {
    let answer = daemon.send(&Request::get(target));
    assert_eq!(answer.status, 200, "{target}: {answer:?}");
    answer.json()
}

#[track_caller]
fn accepted(daemon: &Daemon, target: &str, body: &str) {
    let answer = daemon.post(target, body);
    assert_eq!(answer.status, 202, "{target}: {answer:?}");
}

#[test]
fn p4_a_cycle_of_triggers_ends_at_the_depth_limit_and_is_found_afterwards() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&InlineApp {
        slug: "cycle",
        scripts: &[
            ("turn", r#"kv::collection("turns").incr("n", 1)"#),
            ("look", r#"kv::collection("turns").get("n")"#),
        ],
        routes: &[("POST /", "turn", ""), ("GET /", "look", "")],
        manifest: "[[triggers]]\nkind = \"kv\"\nname = \"again\"\ncollection_glob = \"turns\"\nscript = \"turn\"\n",
    });
    assert_eq!(daemon.post("/cycle/", "{}").status, 200);
    daemon.works_everything_off();
    // The request itself, and sixteen rows below it.
    assert_eq!(get(&daemon, "/cycle/"), 17);
    let abandoned = daemon.executions("outcome", "abandoned", 1);
    assert_eq!(abandoned.len(), 1, "{abandoned:?}");
    assert!(daemon.list("dead-letters").is_empty());
    daemon.stop();
    let reasons = store_file::abandoned(&site.store);
    assert_eq!(reasons, [("turn".to_owned(), "depth_limit".to_owned())]);
}

/// An app with so many triggers on one collection, each of which counts once.
fn fan(site: &Site, triggers: usize, writes: usize) {
    let write =
        format!(r#"for n in 0..{writes} {{ kv::collection("c").set(`k${{n}}`, n); }} "done""#);
    let mut manifest = String::new();
    for number in 0..triggers {
        manifest.push_str(&format!(
            "[[triggers]]\nkind = \"kv\"\nname = \"t{number}\"\ncollection_glob = \"c\"\nscript = \"count\"\n"
        ));
    }
    site.deploy_app(&InlineApp {
        slug: "fan",
        scripts: &[
            ("write", &write),
            ("count", r#"kv::collection("counts").incr("n", 1)"#),
            (
                "look",
                r#"let n = kv::collection("counts").get("n"); [if n == () { 0 } else { n }, kv::collection("c").keys("").len()]"#,
            ),
        ],
        routes: &[("POST /", "write", ""), ("GET /", "look", "")],
        manifest: &manifest,
    });
}

#[test]
fn p1_a_write_that_a_thousand_triggers_match_runs_each_of_them_once() {
    let site = Site::new();
    let daemon = site.start();
    fan(&site, 1_000, 1);
    assert_eq!(daemon.post("/fan/", "{}").status, 200);
    daemon.works_everything_off();
    assert_eq!(get(&daemon, "/fan/"), json!([1_000, 1]));
}

#[test]
fn p7_a_run_that_would_make_too_many_rows_fails_whole() {
    let site = Site::new();
    let daemon = site.start();
    fan(&site, 1_000, 11);
    let answer = daemon.post("/fan/", "{}");
    assert_eq!(answer.problem(), (507, "budget_spent".to_owned()), "{answer:?}");
    assert!(daemon.list("outbox").is_empty());
    assert_eq!(get(&daemon, "/fan/"), json!([0, 0]));
}

#[test]
fn p3_rows_of_one_key_run_in_the_order_of_its_versions_also_when_one_has_to_be_repeated() {
    const KEYS: usize = 5;
    const VALUES: usize = 12;
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&InlineApp {
        slug: "line",
        scripts: &[
            (
                "set",
                r#"for v in 0..3 { kv::collection("in").set(event.params.key, event.body + v); }"#,
            ),
            (
                "follow",
                r#"
                if event.value % 4 == 1 && event.attempt == 1 { throw "not yet"; }
                if event.value % 7 == 5 { throw "never"; }
                let out = kv::collection("out");
                let seen = out.get(event.key);
                seen = if seen == () { [] } else { seen };
                seen.push(event.value);
                out.set(event.key, seen);
                "#,
            ),
            ("look", r#"kv::collection("out").get(event.params.key)"#),
        ],
        routes: &[("POST /{key}", "set", ""), ("GET /{key}", "look", "")],
        manifest: &format!(
            "[[triggers]]\nkind = \"kv\"\nname = \"follow\"\ncollection_glob = \"in\"\nscript = \"follow\"\nordering = \"by_key\"\n{SOON}\n"
        ),
    });
    for value in (0..VALUES).step_by(3) {
        for key in 0..KEYS {
            assert_eq!(daemon.post(&format!("/line/k{key}"), &value.to_string()).status, 200);
        }
    }
    daemon.works_everything_off();
    // What died is stepped over.
    let expected: Vec<usize> = (0..VALUES).filter(|value| value % 7 != 5).collect();
    for key in 0..KEYS {
        assert_eq!(get(&daemon, &format!("/line/k{key}")), json!(expected), "key {key}");
    }
    assert_eq!(daemon.list("dead-letters").len(), KEYS);
}

const HELD: InlineApp<'_> = InlineApp {
    slug: "held",
    scripts: &[
        ("count", r#"kv::collection("c").incr("n", 1)"#),
        ("follow", r#"kv::collection("followed").incr("n", 1)"#),
        (
            "look",
            r#"
            let n = |c| { let n = kv::collection(c).get("n"); if n == () { 0 } else { n } };
            [n.call("c"), n.call("followed")]
            "#,
        ),
    ],
    routes: &[
        ("POST /later", "count", "dispatch_mode = \"async\""),
        ("POST /now", "count", ""),
        ("GET /", "look", ""),
    ],
    manifest: "[[triggers]]\nkind = \"kv\"\nname = \"follow\"\ncollection_glob = \"c\"\nscript = \"follow\"\n",
};

#[test]
fn what_is_paused_is_accepted_and_kept_until_it_is_resumed() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&HELD);
    daemon.order("/apps/held/triggers/follow/pause");
    assert_eq!(daemon.post("/held/now", "{}").status, 200);
    assert_eq!(get(&daemon, "/held/"), json!([1, 0]));
    let waiting = daemon.list("outbox");
    assert_eq!((waiting.len(), &waiting[0]["state"]), (1, &json!("paused")), "{waiting:?}");

    for (pause, resume) in [("/apps/held/pause", "/apps/held/resume"), ("/pause", "/resume")] {
        daemon.order(pause);
        accepted(&daemon, "/held/later", "{}");
        let refused = daemon.post("/held/now", "{}");
        assert_eq!(refused.problem(), (503, "paused".to_owned()), "{refused:?}");
        assert_eq!(refused.header("retry-after"), Some("60"));
        daemon.order(resume);
        wait::until("what was accepted has run", || {
            daemon.list("outbox").iter().all(|row| row["script"] == "follow").then_some(())
        });
        // The trigger is paused still: what its rows are waiting for comes now.
        daemon.order("/apps/held/triggers/follow/resume");
        daemon.works_everything_off();
        daemon.order("/apps/held/triggers/follow/pause");
        assert_eq!(daemon.post("/held/now", "{}").status, 200);
    }
    daemon.order("/apps/held/triggers/follow/resume");
    daemon.works_everything_off();
    assert_eq!(get(&daemon, "/held/"), json!([5, 5]));
}

#[test]
fn p1_a_pause_and_what_it_holds_outlast_the_daemon() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&HELD);
    daemon.order("/apps/held/pause");
    accepted(&daemon, "/held/later", "{}");
    daemon.kill();
    let daemon = site.start();
    assert_eq!(daemon.post("/held/now", "{}").problem(), (503, "paused".to_owned()));
    assert_eq!(daemon.list("outbox").len(), 1);
    daemon.order("/apps/held/resume");
    daemon.works_everything_off();
    assert_eq!(get(&daemon, "/held/"), json!([1, 1]));
}

#[test]
fn a_backlog_of_one_app_does_not_hold_up_another() {
    let site = Site::new();
    let daemon = site.start();
    for slug in ["busy", "quiet"] {
        site.deploy_app(&InlineApp {
            slug,
            scripts: &[("work", "let n = 0; while n < 100_000 { n += 1; }"), ("look", "1")],
            routes: &[("POST /", "work", "dispatch_mode = \"async\""), ("GET /", "look", "")],
            manifest: "",
        });
    }
    // All of it is there before any of it runs.
    daemon.order("/pause");
    for _ in 0..200 {
        accepted(&daemon, "/busy/", "{}");
    }
    accepted(&daemon, "/quiet/", "{}");
    daemon.order("/resume");
    assert_eq!(get(&daemon, "/quiet/"), 1);
    wait::until("the quiet app's row has run", || {
        daemon.list("outbox?app=quiet").is_empty().then_some(())
    });
    let left = daemon.list("outbox?app=busy").len();
    assert!(left > 20, "only {left} rows of the busy app were left");
    daemon.works_everything_off();
}

#[test]
fn a_trigger_with_a_limit_of_its_own_works_off_whatever_piles_up_behind_it() {
    const WRITES: i64 = 60;
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&InlineApp {
        slug: "narrow",
        scripts: &[
            ("write", r#"kv::collection("c").set(event.params.key, event.body)"#),
            // Were two of them running at a time, one would start again and count the attempt.
            ("follow", r#"let c = kv::collection("out"); let n = c.get("n"); c.set("n", if n == () { 1 } else { n + 1 })"#),
            ("look", r#"kv::collection("out").get("n")"#),
        ],
        routes: &[("POST /{key}", "write", ""), ("GET /", "look", "")],
        manifest: "[[triggers]]\nkind = \"kv\"\nname = \"follow\"\ncollection_glob = \"c\"\nscript = \"follow\"\nconcurrency = 1\n",
    });
    for number in 0..WRITES {
        assert_eq!(daemon.post(&format!("/narrow/k{number}"), "1").status, 200);
    }
    daemon.works_everything_off();
    assert_eq!(get(&daemon, "/narrow/"), WRITES);
}

/// An app whose work always fails, and a handler for what becomes of it.
fn failing(site: &Site, handler: &str) {
    site.deploy_app(&InlineApp {
        slug: "failing",
        scripts: &[
            ("fail", r#"throw "never " + event.attempt"#),
            ("handle", handler),
            ("look", r#"#{ body: docs::collection("seen").find(#{}) }"#),
        ],
        routes: &[
            ("POST /", "fail", &format!("dispatch_mode = \"async\"\n{SOON}")),
            ("GET /", "look", ""),
        ],
        manifest: "[[triggers]]\nkind = \"dead_letter\"\nname = \"handle\"\nscript = \"handle\"\n",
    });
}

const NOTE: &str = r#"docs::collection("seen").put(event.id, #{ id: event.id, error: event.error, attempts: event.attempts, source: event.source, body: event.event.body });"#;

#[test]
fn p4_a_dead_letter_is_shown_to_its_handler_and_stays_open() {
    let site = Site::new();
    let daemon = site.start();
    failing(&site, NOTE);
    accepted(&daemon, "/failing/", "{\"n\": 7}");
    daemon.works_everything_off();
    let letters = daemon.list("dead-letters");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!((&letters[0]["attempts"], &letters[0]["resolution"]), (&json!(3), &Value::Null));
    let seen = get(&daemon, "/failing/");
    let text = seen.to_string();
    assert!(text.contains("never 3") && text.contains("\"n\":7"), "{text}");
    assert!(text.contains(letters[0]["id"].as_str().expect("a letter has an id")), "{text}");
}

#[test]
fn p4_a_handler_that_fails_is_noted_on_the_letter_and_neither_retried_nor_a_letter_itself() {
    let site = Site::new();
    let daemon = site.start();
    failing(&site, &format!("{NOTE} throw \"handler\""));
    accepted(&daemon, "/failing/", "{}");
    daemon.works_everything_off();
    let letters = daemon.list("dead-letters");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["resolution"], "handler_failed");
    // Nothing of a failed run stays, also of a handler's.
    assert_eq!(get(&daemon, "/failing/"), json!([]));
    let handled = daemon.executions("script", "handle", 1);
    assert_eq!(handled.len(), 1, "{handled:?}");
}

#[test]
fn p7_a_handler_that_replays_for_ever_is_stopped_after_three_times() {
    let site = Site::new();
    let daemon = site.start();
    failing(&site, "dead_letters::replay(event.id)");
    accepted(&daemon, "/failing/", "{}");
    daemon.works_everything_off();
    let died = daemon.executions("outcome", "dead_lettered", 4);
    assert_eq!(died.len(), 4, "the first and three replays: {died:?}");
    // Those that were replayed are resolved; the last one is open, since its replay was refused.
    let letters = daemon.list("dead-letters");
    let open: BTreeSet<String> = letters.iter().map(|one| one["resolution"].to_string()).collect();
    assert_eq!((letters.len(), open.contains("\"handler_failed\"")), (1, true), "{letters:?}");
}
