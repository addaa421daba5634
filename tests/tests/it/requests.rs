//! Requests that are wrong, sent twice, or given up: each gets one clear answer, and nothing is done by halves.

use picloud_tests::client::{Connection, Request, Response};
use picloud_tests::daemon::{Daemon, InlineApp, Site};
use picloud_tests::{ledger, store_file, wait};

const ECHO: InlineApp<'_> = InlineApp {
    slug: "echo",
    scripts: &[("echo", "event.body")],
    routes: &[("POST /", "echo", ""), ("PUT /only", "echo", "")],
    manifest: "",
};

#[test]
fn a_request_that_is_wrong_is_told_what_is_wrong() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&ECHO);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let large = vec![b'x'; 2 << 20];
    for (request, status, code, word) in [
        (Request::get("/nothing/here"), 404, "no_such_app", "nothing"),
        (Request::get("/echo/nothing"), 404, "no_such_route", "/nothing"),
        (Request::get("/echo/only"), 405, "method_not_allowed", "PUT"),
        (Request::post("/echo/", large), 413, "body_too_large", "1048576"),
        (Request::post("/echo/", "{\"a\": "), 415, "bad_body", "JSON"),
        (
            Request::post("/echo/", "1")
                .header("Content-Encoding", "identity")
                .header("Content-Encoding", "gzip"),
            415,
            "bad_body",
            "Content-Encoding",
        ),
        (Request::post("/echo/", deep), 400, "json_too_big", "64"),
    ] {
        let shown: String = String::from_utf8_lossy(&request.body).chars().take(20).collect();
        let answer = daemon.send(&request);
        assert_eq!(answer.problem(), (status, code.to_owned()), "{shown}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let said = answer.json();
        assert_eq!(said["outcome"], "nothing_changed");
        let all = format!("{} {}", said["detail"], said["hint"]);
        assert!(all.contains(word), "{shown}: no {word:?} in {answer:?}");
    }
    let answer = daemon.send(&Request::get("/echo/only"));
    assert_eq!(answer.header("allow").map(|allow| allow.contains("PUT")), Some(true));
    for body in ["9223372036854775807", "-9223372036854775808", "null", "[[[1.5]]]"] {
        let answer = daemon.post("/echo/", body);
        assert_eq!((answer.status, answer.body.as_slice()), (200, body.as_bytes()));
    }
}

const KEYED: InlineApp<'_> = InlineApp {
    slug: "keyed",
    scripts: &[
        (
            "count",
            r#"
            kv::collection("c").incr("done", 1);
            let n = kv::collection("c").get("number");
            kv::collection("c").set("number", if n == () { 1 } else { n + 1 });
            #{ status: 201, body: kv::collection("c").get("number") }
            "#,
        ),
        (
            "turn",
            r#"while kv::collection("gate").keys("").len() == 0 {} kv::collection("c").incr("done", 1);"#,
        ),
        ("open", r#"kv::collection("gate").set("open", true)"#),
        ("fail", r#"kv::collection("c").incr("done", 1); throw "no""#),
        ("done", r#"let n = kv::collection("c").get("done"); if n == () { 0 } else { n }"#),
    ],
    routes: &[
        ("POST /now", "count", ""),
        ("POST /later", "count", "dispatch_mode = \"async\""),
        ("POST /turn", "turn", ""),
        ("POST /open", "open", ""),
        ("POST /fail", "fail", ""),
        ("GET /done", "done", ""),
    ],
    manifest: "",
};

/// So much that a script may turn until somebody opens its gate.
const PATIENT: &str = "[limits.run]\noperations_max = 1_000_000_000\ntimeout_ms = 60_000\n\
    [limits.http]\nhalf_close_ms = 1";

fn keyed(target: &str, key: &str, body: &str) -> Request {
    Request::post(target, body).header("Idempotency-Key", key)
}

#[track_caller]
fn done(daemon: &Daemon) -> i64 {
    let answer = daemon.send(&Request::get("/keyed/done"));
    answer.json().as_i64().unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn p3_a_request_that_is_sent_again_is_done_once_and_gets_the_first_answer() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&KEYED);
    let first = daemon.send(&keyed("/keyed/now", "a", "{}"));
    assert_eq!((first.status, first.json()), (201, 1.into()));
    for _ in 0..3 {
        let again = daemon.send(&keyed("/keyed/now", "a", "{}"));
        assert_eq!((again.status, &again.body), (first.status, &first.body));
    }
    let other_key = daemon.send(&keyed("/keyed/now", "b", "{}"));
    assert_eq!((other_key.status, other_key.json()), (201, 2.into()));
    let other_body = daemon.send(&keyed("/keyed/now", "a", "{\"x\": 1}"));
    assert_eq!(other_body.problem(), (422, "idempotency_key_reused".to_owned()), "{other_body:?}");

    let accepted = daemon.send(&keyed("/keyed/later", "a", "{}"));
    let again = daemon.send(&keyed("/keyed/later", "a", "{}"));
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!((again.status, again.json()), (202, accepted.json()));
    daemon.works_everything_off();
    assert_eq!(done(&daemon), 3);

    // What failed was not done, so it is tried again.
    for _ in 0..2 {
        let failed = daemon.send(&keyed("/keyed/fail", "a", "{}"));
        assert_eq!(failed.problem(), (502, "script_failed".to_owned()), "{failed:?}");
    }
    // Kept over a kill.
    daemon.kill();
    let daemon = site.start();
    let again = daemon.send(&keyed("/keyed/now", "a", "{}"));
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(done(&daemon), 3);
}

#[test]
fn p3_a_request_that_is_sent_again_while_it_runs_is_told_so() {
    let mut site = Site::new();
    site.settings = PATIENT.to_owned();
    let daemon = site.start();
    site.deploy_app(&KEYED);
    let mut waiting = Connection::tcp(daemon.address()).expect("it listens");
    let request = keyed("/keyed/turn", "a", "{}");
    let sent = std::thread::spawn(move || waiting.send(&request));
    wait::until("it runs", || (!site.running().is_empty()).then_some(()));
    let again = daemon.send(&keyed("/keyed/turn", "a", "{}"));
    assert_eq!(daemon.post("/keyed/open", "{}").status, 200);
    let first = sent.join().expect("the client does not panic").expect("it is answered");
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(again.problem(), (409, "in_flight".to_owned()), "{again:?}");
    assert_eq!(done(&daemon), 1);
}

#[test]
fn p4_a_caller_that_goes_while_its_script_runs_leaves_a_trace_and_the_work_is_done() {
    let mut site = Site::new();
    site.settings = PATIENT.to_owned();
    let daemon = site.start();
    site.deploy_app(&KEYED);
    let mut going = Connection::tcp(daemon.address()).expect("it listens");
    let head = "POST /keyed/turn HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    going.write(head.as_bytes()).expect("it reads");
    wait::until("it runs", || (!site.running().is_empty()).then_some(()));
    drop(going);
    // Meanwhile the daemon asks whether the caller is still there, and finds that it is not.
    for _ in 0..100 {
        assert_eq!(done(&daemon), 0);
    }
    assert_eq!(daemon.post("/keyed/open", "{}").status, 200);
    wait::until("the effects are there", || (done(&daemon) == 1).then_some(()));
    let turn = daemon.executions("script", "turn", 1);
    assert_eq!((turn.len(), &turn[0]["outcome"]), (1, &"abandoned".into()), "{turn:?}");
    daemon.stop();
    let reasons = store_file::abandoned(&site.store);
    assert_eq!(reasons, [("turn".to_owned(), "caller_gone".to_owned())]);
}

#[test]
fn p2_sixty_four_clients_that_change_one_key_lose_no_update() {
    const CLIENTS: i64 = 64;
    const EACH: usize = 5;
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&InlineApp {
        slug: "storm",
        scripts: &[(
            "add",
            r#"
            let c = kv::collection("c");
            let n = c.get("n");
            n = if n == () { 0 } else { n };
            c.set("n", n + 1);
            n + 1
            "#,
        )],
        routes: &[("POST /", "add", "")],
        manifest: "",
    });
    let address = daemon.address();
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(move || {
                    let mut connection = Connection::tcp(address).expect("it listens");
                    let one = || connection.send(&Request::post("/storm/", "{}"));
                    std::iter::repeat_with(one)
                        .take(EACH)
                        .map(|answer| answer.expect("an answer"))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|one| one.join().expect("no client panics")).collect()
    });
    let mut numbers: Vec<i64> = answers
        .iter()
        .map(|answer| {
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.json().as_i64().expect("a number")
        })
        .collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=CLIENTS * EACH as i64), "{numbers:?}");
}

#[test]
fn p5_a_script_that_runs_at_its_deadline_is_stopped_and_its_caller_knows_that_nothing_changed() {
    let site = Site::new();
    let daemon = site.start();
    let app = InlineApp {
        slug: "late",
        scripts: &[
            ("late", r#"kv::collection("c").set("k", 1); loop {}"#),
            ("look", r#"kv::collection("c").has("k")"#),
        ],
        routes: &[("POST /", "late", ""), ("GET /", "look", "")],
        manifest: "",
    };
    let folder = app.write_below(site.path());
    let path = folder.join("picloud.toml");
    let manifest = std::fs::read_to_string(&path).expect("it was written");
    let late = "file = \"late.rhai\"\n";
    std::fs::write(&path, manifest.replace(late, &format!("{late}timeout = \"50ms\"\n")))
        .expect("the folder is ours");
    site.deploy(&folder);
    let begin = wait::Since::now();
    let answer = daemon.post("/late/", "{}");
    assert_eq!(answer.problem(), (504, "timed_out".to_owned()), "{answer:?}");
    assert_eq!(answer.json()["outcome"], "nothing_changed");
    assert!(begin.elapsed() < std::time::Duration::from_secs(5));
    assert_eq!(daemon.send(&Request::get("/late/")).json(), false);
}

#[test]
fn p8_apps_do_not_see_each_others_data_and_scripts() {
    let site = Site::new();
    let daemon = site.start();
    for slug in ["one", "two"] {
        site.deploy_app(&InlineApp {
            slug,
            scripts: &[
                ("put", r#"kv::collection("c").set("k", event.body); docs::collection("d").put("i", #{ v: event.body });"#),
                ("get", r#"[kv::collection("c").get("k"), kv::collection("c").keys(""), docs::collection("d").get("i"), docs::collection("d").count(#{})]"#),
            ],
            routes: &[("POST /", "put", ""), ("GET /", "get", "")],
            manifest: "",
        });
    }
    assert_eq!(daemon.post("/one/", "1").status, 200);
    let seen = daemon.send(&Request::get("/two/"));
    assert_eq!(seen.json(), serde_json::json!([null, [], null, 0]), "{seen:?}");
}

#[test]
fn p1_a_sync_request_on_record_before_its_run_is_found_after_a_kill() {
    let mut site = Site::new();
    site.settings = format!("[outbox]\nsync_durability = \"before_run\"\n{PATIENT}");
    let daemon = site.start();
    site.deploy(&ledger::app());
    let address = daemon.address();
    let caller = std::thread::spawn(move || {
        Connection::tcp(address).and_then(|mut one| one.send(&Request::post("/ledger/stuck", "{}")))
    });
    wait::until("it runs", || (!site.running().is_empty()).then_some(()));
    daemon.kill();
    let answer = caller.join().expect("the caller does not panic");
    assert!(answer.is_err(), "{answer:?}");
    site.start().stop();
    let reasons = store_file::abandoned(&site.store);
    assert_eq!(reasons, [("turn".to_owned(), "owner_died".to_owned())]);
}
