//! What the owner does by hand with `picloud`: scripts, stored data and whole apps.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output};
use std::thread;

use picloud_tests::client::{Connection, Request};
use picloud_tests::daemon::{InlineApp, Site, program};
use picloud_tests::{store_file, wait};

/// What was printed, if the command ended like that.
#[track_caller]
fn printed(output: &Output, exit: i32) -> String {
    let (results, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{results}\n{errors}");
    format!("{results}{errors}")
}

fn garden(site: &Site) {
    site.deploy_app(&InlineApp {
        slug: "garden",
        scripts: &[("note", r#"docs::collection("notes").create(event.payload)"#), ("seen", "42")],
        routes: &[("POST /notes", "note", "")],
        manifest: "[[triggers]]\nkind = \"kv\"\nname = \"look\"\ncollection_glob = \"limits\"\nscript = \"seen\"\n",
    });
}

#[test]
fn a_script_is_edited_tried_run_and_taken_back() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    let source = "let a = event.payload;\nif a < 0 { throw \"too cold\" }\nkv::collection(\"limits\").set(\"dry\", a); a + 1\n";
    let put = site.picloud_given(&["scripts", "put", "garden/seen", "-"], source);
    assert_eq!(printed(&put, 0), "garden/seen: version 2, before 1\n");
    let late = ["scripts", "put", "garden/seen", "-", "--if-version", "1"];
    let late = printed(&site.picloud_given(&late, "1"), 5);
    assert!(late.contains("it is at 2, not at 1\nhint: look at it again"), "{late}");

    let event = r#"{"payload": 7}"#;
    let dry = site.picloud_given(&["scripts", "dry-run", "garden/seen", "-"], event);
    assert_eq!(
        printed(&dry, 0),
        "would set kv limits/dry 7\nwould fire look, which runs seen, for limits/dry\nresult 8\n\
         nothing was changed, this was a dry run\n"
    );
    printed(&site.picloud(&["kv", "get", "garden/limits", "dry"]), 3);
    let run = ["scripts", "run", "garden/seen", "--payload", "7"];
    assert_eq!(printed(&site.picloud(&run), 0), "8\n");
    assert_eq!(printed(&site.picloud(&["kv", "get", "garden/limits", "dry"]), 0), "7\n");

    let cold = site.picloud_given(&["scripts", "run", "garden/seen", "-"], r#"{"payload": -1}"#);
    let cold = printed(&cold, 7);
    assert!(
        cold.starts_with("picloud: garden/seen failed: too cold\nhint: picloud exec"),
        "{cold}"
    );
    let cold =
        site.picloud_given(&["scripts", "dry-run", "garden/seen", "-"], r#"{"payload": -1}"#);
    let cold = printed(&cold, 7);
    assert!(cold.contains("would fail: too cold\n2 | if a < 0"), "{cold}");

    printed(&site.picloud(&["scripts", "roll-back", "garden/seen", "1"]), 0);
    let versions = printed(&site.picloud(&["scripts", "versions", "garden/seen"]), 0);
    assert_eq!(versions.lines().count(), 4, "{versions}");
    let shown = printed(&site.picloud(&["scripts", "show", "garden/seen"]), 0);
    assert_eq!(shown, "script    garden/seen\nversion   3\ntriggers  look\n\n42\n");
    // What is edited and put back is what it was, to the byte.
    let odd = "// a\ttab\u{7}\n42\n\n";
    printed(&site.picloud_given(&["scripts", "put", "garden/seen", "-"], odd), 0);
    let source = site.picloud(&["scripts", "show", "garden/seen", "--source"]);
    assert_eq!(printed(&source, 0), odd);
    let old = ["scripts", "show", "garden/seen", "--source", "--version", "1"];
    assert_eq!(printed(&site.picloud(&old), 0), "42\n");
    let used = printed(&site.picloud(&["scripts", "delete", "garden/seen", "--yes"]), 5);
    assert!(used.contains("is used by trigger \"look\""), "{used}");
    daemon.works_everything_off();
    daemon.stop();
}

#[test]
fn what_is_stored_is_looked_at_changed_and_removed_after_a_yes() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    let dry = ["kv", "set", "garden/limits", "wet", "20", "--dry-run"];
    assert_eq!(
        printed(&site.picloud(&dry), 0),
        "would set kv limits/wet\nwould fire look, which runs seen\nnothing was changed, this was a dry run\n"
    );
    let set = printed(&site.picloud(&["kv", "set", "garden/limits", "a/b c", "20"]), 0);
    assert!(set.starts_with("set kv limits/a/b c, version "), "{set}");
    printed(&site.picloud_given(&["kv", "set", "garden/limits", "t", "-", "--text"], "hi"), 0);
    let no_json = printed(&site.picloud(&["kv", "set", "garden/limits", "t", "hi"]), 2);
    assert!(no_json.contains("takes --text"), "{no_json}");
    let list = printed(&site.picloud(&["kv", "list", "garden/limits"]), 0);
    assert!(list.contains("a/b c") && list.contains("\"hi\""), "{list}");
    assert_eq!(printed(&site.picloud(&["kv", "list", "garden"]), 0), "COLLECTION\ngarden/limits\n");
    let asked = printed(&site.picloud(&["kv", "delete", "garden/limits", "t"]), 2);
    assert!(asked.contains("say --yes"), "{asked}");
    let late = ["kv", "delete", "garden/limits", "t", "--yes", "--if-version", "1"];
    printed(&site.picloud(&late), 5);
    printed(&site.picloud(&["kv", "delete", "garden/limits", "t", "--yes"]), 0);
    printed(&site.picloud(&["docs", "set", "garden/notes", "n1", r#"{"a": 1}"#]), 0);
    assert_eq!(printed(&site.picloud(&["docs", "get", "garden/notes", "n1"]), 0), "{\"a\":1}\n");
    let routes = printed(&site.picloud(&["routes", "list", "--app", "garden"]), 0);
    assert!(routes.contains("POST") && routes.contains("/garden/notes"), "{routes}");
    daemon.works_everything_off();
    daemon.stop();
}

#[test]
fn p2_an_app_that_is_deleted_while_it_runs_leaves_nothing_and_the_run_is_on_record() {
    let site = Site::new();
    let daemon = site.start();
    // It runs until its app's data has gone, and then wants to write.
    let slow =
        r#"let c = kv::collection("c"); while c.keys("stay").len() > 0 {} c.set("late", 1); 1"#;
    site.deploy_app(&InlineApp {
        slug: "short",
        scripts: &[("slow", slow)],
        routes: &[("POST /", "slow", "")],
        manifest: "",
    });
    printed(&site.picloud(&["kv", "set", "short/c", "stay", "1"]), 0);
    let change = ["apps", "change", "short", "--host", "short.lan", "--expose-errors", "false"];
    let changed = printed(&site.picloud(&change), 0);
    assert!(
        changed.starts_with("app       short\nrevision  2\nhost      short.lan\n"),
        "{changed}"
    );
    printed(&site.picloud(&["apps", "change", "short", "--no-host", "--if-revision", "1"]), 5);
    let mut connection = Connection::tcp(daemon.address()).expect("it listens");
    let caller = thread::spawn(move || connection.send(&Request::post("/short/", "{}")));
    wait::until("it runs", || (!site.running().is_empty()).then_some(()));
    let asked = printed(&site.picloud(&["apps", "delete", "short"]), 2);
    assert!(asked.contains("delete app short with its 1 scripts"), "{asked}");
    let deleted = printed(&site.picloud(&["apps", "delete", "short", "--yes"]), 0);
    assert_eq!(deleted, "short: deleted\n");
    let answer = caller.join().expect("no caller panics").expect("it is answered");
    assert_eq!(answer.status, 500);
    assert_eq!(daemon.post("/short/", "{}").status, 404);
    printed(&site.picloud(&["apps", "show", "short"]), 3);
    daemon.works_everything_off();
    daemon.stop();
    let reasons = store_file::abandoned(&site.store);
    assert_eq!(reasons, [("slow".to_owned(), "app_deleted".to_owned())]);
}

#[test]
fn a_socket_that_is_forwarded_is_as_good_as_the_daemons_own() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    let forwarded = site.path().join("pi.sock");
    let listener = UnixListener::bind(&forwarded).expect("the folder is ours");
    let there = site.socket();
    thread::spawn(move || {
        for here in listener.incoming().map_while(Result::ok) {
            let there = UnixStream::connect(&there).expect("the daemon listens");
            let pass = |mut from: UnixStream, mut to: UnixStream| {
                thread::spawn(move || {
                    let _ended = io::copy(&mut from, &mut to);
                    let _ended = to.shutdown(Shutdown::Write);
                })
            };
            let again = |stream: &UnixStream| stream.try_clone().expect("there are descriptors");
            pass(again(&here), again(&there));
            pass(there, here);
        }
    });
    let mut command = Command::new(program("picloud"));
    command.env("PICLOUD_SOCKET", "/nowhere").arg("--socket").arg(&forwarded);
    let output = command.args(["apps", "list"]).output().expect("it is built with the tests");
    assert!(printed(&output, 0).contains("\ngarden "), "{output:?}");
    daemon.stop();
}

#[test]
fn routes_and_triggers_are_made_changed_and_deleted_without_a_deploy() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    let last = "garden/GET /last";
    let create = ["routes", "create", last, "--script", "seen", "--rate", "1000/s"];
    assert_eq!(printed(&site.picloud(&create), 0), "garden/GET /last: made\n");
    let get = || daemon.send(&Request::get("/garden/last"));
    assert_eq!(get().body, b"42");
    let again = printed(&site.picloud(&create), 5);
    assert!(again.contains("has a route \"GET /last\" already"), "{again}");
    let change = ["routes", "change", last, "--auth", "hmac", "--secret", "KEY"];
    let changed = printed(&site.picloud(&change), 0);
    assert!(
        changed.starts_with("garden/GET /last: changed\nwarning: route GET /last:"),
        "{changed}"
    );
    assert!(changed.contains("there is no secret \"KEY\" yet"), "{changed}");
    let change = ["routes", "change", last, "--auth", "token", "--if-revision", "1"];
    let late = printed(&site.picloud(&change), 5);
    assert!(late.contains("it is at 3, not at 1\nhint: look at it again"), "{late}");
    let change = ["routes", "change", last, "--auth", "token", "--mode", "async"];
    assert_eq!(printed(&site.picloud(&change), 0), "garden/GET /last: changed\n");
    assert_eq!(get().status, 401);
    let shown = printed(&site.picloud(&["routes", "show", last]), 0);
    for line in ["mode      async", "auth      token", "rate      1000/s", "revision  4"] {
        assert!(shown.contains(line), "{shown}");
    }

    // What it has accepted runs, also when nobody can resume it by its name any more.
    printed(&site.picloud(&["pause", last]), 0);
    printed(&site.picloud(&["routes", "change", last, "--auth", "app"]), 0);
    assert_eq!(get().status, 202);
    let asked = printed(&site.picloud(&["routes", "delete", last]), 2);
    assert!(asked.contains("delete route garden/GET /last; say --yes"), "{asked}");
    let deleted = printed(&site.picloud(&["routes", "delete", last, "--yes"]), 0);
    assert_eq!(deleted, "garden/GET /last deleted\n");
    assert_eq!(get().status, 404);
    daemon.works_everything_off();
    let runs = printed(&site.picloud(&["executions", "list", "--app", "garden"]), 0);
    assert_eq!(runs.matches("completed").count(), 1, "{runs}");

    let create = ["triggers", "create", "garden/daily", "schedule", "--script", "seen", "--cron"];
    let made = printed(&site.picloud(&[&create[..], &["0 6 * * *"]].concat()), 0);
    assert!(made.starts_with("garden/daily: made, due "), "{made}");
    let create = ["triggers", "create", "garden/wet", "kv", "--script", "seen", "--op", "delete"];
    let made = printed(&site.picloud(&[&create[..], &["--collection-glob", "l*"]].concat()), 0);
    assert_eq!(made, "garden/wet: made\n");
    printed(&site.picloud(&["triggers", "disable", "garden/wet", "--if-revision", "1"]), 5);
    printed(&site.picloud(&["triggers", "delete", "garden/wet", "--yes", "--if-revision", "8"]), 0);
    let guarded = ["apps", "change", "garden", "--auth", "token", "--rate", "10/s"];
    let guarded = printed(&site.picloud(&guarded), 0);
    assert!(guarded.contains("auth      token\nrate      10/s\n"), "{guarded}");
    assert_eq!(daemon.post("/garden/notes", "1").status, 401);
    daemon.works_everything_off();
    daemon.stop();
}
