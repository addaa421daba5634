//! Calls of scripts to the outside, and the secrets that they need for them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use picloud_tests::client::{Connection, Request};
use picloud_tests::daemon::{Daemon, InlineApp, Site, program};
use picloud_tests::outside::Outside;
use picloud_tests::wait;

const VALUE: &str = "hunter2-\"quoted\"-hunter2";

/// Deploys an app whose scripts may call `hosts`.
#[track_caller]
fn deploy_with(site: &Site, app: &InlineApp<'_>, hosts: &[String]) {
    let folder = app.write_below(site.path());
    let manifest = folder.join("picloud.toml");
    let text = fs::read_to_string(&manifest).expect("it was written");
    let open = "expose_errors = true\n";
    let text = text.replace(open, &format!("{open}allow_hosts = {hosts:?}\n"));
    fs::write(&manifest, text).expect("the folder is ours");
    site.deploy(&folder);
}

fn picloud_with(site: &Site, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program("picloud"));
    command.arg("--socket").arg(site.socket()).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command line is built with the tests");
    let mut stdin = child.stdin.take().expect("it was asked for");
    // It may end before it has read all.
    let _ended = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn set_secret(site: &Site, secret: &str, value: &str) {
    let output = picloud_with(site, &["secrets", "set", secret, "-"], value);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn said(site: &Site, arguments: &[&str]) -> String {
    let output = site.picloud(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("what is printed is text")
}

#[track_caller]
fn accepted(daemon: &Daemon, target: &str) {
    let answer = daemon.post(target, "{}");
    assert_eq!(answer.status, 202, "{answer:?}");
}

#[test]
fn p3_the_call_of_a_run_that_fails_and_whose_daemon_dies_carries_the_same_key_again() {
    let (site, outside) = (Site::new(), Outside::new());
    let daemon = site.start();
    let call = format!(
        r#"http::post("{}", #{{n: 1}}); http::get("{}"); if event.attempt == 1 {{ throw "again" }}"#,
        outside.url("/first"),
        outside.url("/second"),
    );
    let retry = "dispatch_mode = \"async\"\nretry = { base = \"10ms\", jitter = 0.0 }";
    let app = InlineApp {
        slug: "calls",
        scripts: &[("call", &call)],
        routes: &[("POST /", "call", retry)],
        manifest: "",
    };
    deploy_with(&site, &app, &[outside.address.to_string()]);
    accepted(&daemon, "/calls/");
    let mut keys = Vec::new();
    let mut asked = |answers: &str| {
        let asked = outside.asked();
        assert!(asked.line.contains(answers), "{}", asked.line);
        keys.push(asked.header("idempotency-key").expect("each call has one").to_owned());
        asked
    };
    asked("/first").answer("1");
    asked("/second").answer("2");
    // The second attempt dies with the daemon while it waits.
    let unanswered = asked("/first");
    daemon.kill();
    drop(unanswered);
    let daemon = site.start();
    asked("/first").answer("1");
    asked("/second").answer("2");
    daemon.works_everything_off();
    let [first, second, again, after_the_crash, second_again] = keys.as_slice() else {
        panic!("{keys:?}")
    };
    assert_eq!([first, second], [again, second_again]);
    assert_eq!(first, after_the_crash);
    assert_ne!(first, second);
    assert!(outside.is_quiet());
}

#[test]
fn p3_a_replay_as_it_was_calls_with_the_same_key_and_an_edited_one_with_another() {
    let (site, outside) = (Site::new(), Outside::new());
    let daemon = site.start();
    let call = format!(r#"http::get("{}"); throw "always""#, outside.url("/"));
    let handle = r#"
        let c = kv::collection("c");
        let n = c.get("n");
        if n == () { n = 0; }
        c.set("n", n + 1);
        if n < 2 { dead_letters::replay(event.id) }
        if n == 2 { dead_letters::replay(event.id, #{ edited: true }) }
    "#;
    let app = InlineApp {
        slug: "replays",
        scripts: &[("call", &call), ("handle", handle)],
        routes: &[("POST /", "call", "dispatch_mode = \"async\"\nretry = { max_attempts = 1 }")],
        manifest: "[[triggers]]\nkind = \"dead_letter\"\nname = \"handle\"\nscript = \"handle\"\n",
    };
    deploy_with(&site, &app, &[outside.address.to_string()]);
    accepted(&daemon, "/replays/");
    let keys: Vec<String> = (0..4)
        .map(|_| {
            let asked = outside.asked();
            let key = asked.header("idempotency-key").expect("each call has one").to_owned();
            asked.answer("");
            key
        })
        .collect();
    daemon.works_everything_off();
    assert_eq!([&keys[0], &keys[0]], [&keys[1], &keys[2]], "{keys:?}");
    assert_ne!(keys[0], keys[3], "{keys:?}");
}

#[test]
fn p8_a_script_that_calls_its_own_route_is_refused_and_nobody_waits_for_it() {
    let site = Site::new();
    let daemon = site.start();
    let address = daemon.address().to_string();
    let own = format!(r#"http::get("http://{address}/loops/")"#);
    let app = InlineApp {
        slug: "loops",
        scripts: &[("own", &own)],
        routes: &[("GET /", "own", "")],
        manifest: "",
    };
    deploy_with(&site, &app, &[address]);
    let answer = daemon.send(&Request::get("/loops/"));
    assert_eq!(answer.problem(), (502, "script_failed".to_owned()));
    assert!(answer.json().to_string().contains("is this daemon itself"), "{answer:?}");
}

#[test]
fn p5_a_call_that_lasts_longer_than_its_run_may_is_a_timeout() {
    let (site, outside) = (Site::new(), Outside::new());
    let daemon = site.start();
    let call = format!(r#"try {{ http::get("{}") }} catch {{}} "caught""#, outside.url("/"));
    let app = InlineApp {
        slug: "slow",
        scripts: &[("call", &call)],
        routes: &[("GET /", "call", "")],
        manifest: "",
    };
    let folder = app.write_below(site.path());
    let manifest = folder.join("picloud.toml");
    let text = fs::read_to_string(&manifest).expect("it was written");
    let hosts = format!("expose_errors = true\nallow_hosts = [\"{}\"]\n", outside.address);
    let text = text.replace("expose_errors = true\n", &hosts);
    let text = text.replace("file = \"call.rhai\"\n", "file = \"call.rhai\"\ntimeout = \"50ms\"\n");
    fs::write(&manifest, text).expect("the folder is ours");
    site.deploy(&folder);
    let answer = daemon.send(&Request::get("/slow/"));
    assert_eq!(answer.problem(), (504, "timed_out".to_owned()), "{answer:?}");
    drop(outside.asked());
}

#[test]
fn a_secret_is_set_from_standard_input_read_by_scripts_and_seen_nowhere_else() {
    let (site, outside) = (Site::new(), Outside::new());
    let daemon = site.start();
    let send = format!(
        r#"http::request(#{{url: "{}", headers: #{{"x-key": secrets::get("API_KEY")}}}}).status"#,
        outside.url("/")
    );
    let leak = r#"
        let key = secrets::get("API_KEY");
        log::warn("log " + key, #{ key: key });
        print([key]);
        if event.attempt == 1 { kv::collection("c").set(key, "text"); kv::collection("c").incr(key, 1); }
        throw #{ key: key };
    "#;
    let retry = "dispatch_mode = \"async\"\nretry = { max_attempts = 2, base = \"10ms\" }";
    let app = InlineApp {
        slug: "keeps",
        scripts: &[("send", &send), ("leak", leak)],
        routes: &[("GET /", "send", ""), ("POST /", "leak", retry)],
        manifest: "",
    };
    deploy_with(&site, &app, &[outside.address.to_string()]);
    set_secret(&site, "keeps/API_KEY", &format!("{VALUE}\n"));

    let address = daemon.address();
    let caller = std::thread::scope(|scope| {
        let call = move || Connection::tcp(address)?.send(&Request::get("/keeps/"));
        let caller = scope.spawn(call);
        let asked = outside.asked();
        assert_eq!(asked.header("x-key"), Some(VALUE), "without the newline of the input");
        asked.answer("");
        caller.join().expect("no panic").expect("it is answered")
    });
    assert_eq!((caller.status, caller.json()), (200, 200.into()), "{caller:?}");
    accepted(&daemon, "/keeps/");
    daemon.works_everything_off();

    let mut shown = said(&site, &["secrets", "list", "--app", "keeps"]);
    assert!(shown.contains("API_KEY") && shown.contains("root"), "{shown}");
    for list in ["dead-letters", "executions", "outbox"] {
        shown.push_str(&serde_json::Value::from(daemon.list(list)).to_string());
    }
    assert!(shown.contains("***"), "{shown}");
    let copy = site.path().join("copy");
    said(&site, &["export", "keeps", &copy.display().to_string()]);
    shown.push_str(&fs::read_to_string(copy.join("picloud.toml")).expect("it was exported"));
    wait::until("both attempts are logged", || {
        (site.log().matches("log ***").count() >= 2).then_some(())
    });
    shown.push_str(&site.log());
    assert!(!shown.contains("hunter2"), "{shown}");
    daemon.stop();
    for file in ["picloud.db", "picloud.db-wal"] {
        let bytes = fs::read(site.store.with_file_name(file)).unwrap_or_default();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{file}");
    }
    let key = fs::metadata(site.store.with_file_name("secrets.key")).expect("it was made");
    assert_eq!((key.permissions().mode() & 0o777, key.len()), (0o600, 32));
}

#[test]
fn a_lost_key_is_told_and_everything_else_works() {
    let site = Site::new();
    let daemon = site.start();
    let app = InlineApp {
        slug: "lost",
        scripts: &[("read", r#"secrets::get("API_KEY").len"#), ("other", "1")],
        routes: &[("GET /", "read", ""), ("GET /other", "other", "")],
        manifest: "",
    };
    site.deploy_app(&app);
    let key = site.store.with_file_name("secrets.key");
    assert!(!key.exists(), "who has no secret has no key");
    set_secret(&site, "lost/API_KEY", VALUE);
    assert_eq!(daemon.send(&Request::get("/lost/")).status, 200);
    daemon.stop();
    fs::remove_file(&key).expect("it was made");

    let daemon = site.start();
    let log = site.log();
    assert!(
        log.contains("secrets have to be set again, scripts that read them fail: API_KEY"),
        "{log}"
    );
    assert_eq!(daemon.send(&Request::get("/lost/other")).status, 200);
    let answer = daemon.send(&Request::get("/lost/"));
    assert_eq!(answer.status, 502, "{answer:?}");
    let told = answer.json().to_string();
    assert!(told.contains("set it again: picloud secrets set lost/API_KEY -"), "{told}");
    let list = said(&site, &["secrets", "list", "--app", "lost"]);
    assert!(list.contains("set it again"), "{list}");
    set_secret(&site, "lost/API_KEY", VALUE);
    assert_eq!(daemon.send(&Request::get("/lost/")).status, 200);
    assert!(!said(&site, &["secrets", "list", "--app", "lost"]).contains("set it again"));
}

#[test]
fn a_secret_that_cannot_be_one_is_refused_and_the_refusal_does_not_repeat_it() {
    let site = Site::new();
    let daemon = site.start();
    let app = InlineApp { slug: "a", scripts: &[("s", "1")], routes: &[], manifest: "" };
    site.deploy_app(&app);
    for (arguments, input, exit, expected) in [
        (&["secrets", "set", "a/KEY", "-"][..], "abc\n", 1, "fewer than 4 characters"),
        (&["secrets", "set", "a/KEY"], &"x".repeat(8_193), 1, "8193 bytes, at most 8192"),
        (&["secrets", "set", "a/b/c", "-"], "hunter2", 1, "may have only letters"),
        (&["secrets", "set", "b/KEY", "-"], "hunter2", 3, "there is no app \"b\""),
        (&["secrets", "set", "a/KEY", "hunter2"], "", 2, "a value is no argument"),
        (&["secrets", "delete", "a/KEY", "--yes"], "", 3, "has no secret \"KEY\""),
        (&["secrets", "delete", "a/KEY"], "", 2, "say --yes"),
    ] {
        let output = picloud_with(&site, arguments, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
        assert!(said.contains(expected) && !said.contains("hunter2"), "{arguments:?}: {said}");
    }
    let wrong = Request {
        method: "PUT",
        ..Request::post("/apps/a/secrets/KEY", r#"{"valeu": "hunter2"}"#)
    };
    let answer = daemon.admin(&wrong).expect("the admin socket answers");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(!answer.json().to_string().contains("hunter2"), "{answer:?}");
    set_secret(&site, "a/KEY", "hunter2");
    let output = site.picloud(&["secrets", "delete", "a/KEY", "--yes"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(daemon.list("apps/a/secrets").is_empty());
}

#[test]
fn p8_a_dry_run_sends_nothing_shows_no_secret_and_says_what_it_cannot_know() {
    let (site, outside) = (Site::new(), Outside::new());
    let daemon = site.start();
    let try_out = format!(
        "let key = secrets::get(\"KEY\");\nlet kept = kv::collection(\"kept\");\nkept.set(key, #{{key: key}});\n\
         http::post(\"{}?key=\" + key, #{{key: key}});\nkept.set(\"after\", 1)",
        outside.url("/notify"),
    );
    let app = InlineApp {
        slug: "a",
        scripts: &[
            ("try", &try_out),
            ("tell", r#"log::info(secrets::get("KEY")); secrets::get("KEY")"#),
        ],
        routes: &[],
        manifest: "",
    };
    deploy_with(&site, &app, &[outside.address.to_string()]);
    set_secret(&site, "a/KEY", "hunter2");

    assert_eq!(
        said(&site, &["scripts", "dry-run", "a/try"]),
        format!(
            "would set kv kept/*** {{\"key\":\"***\"}}\nwould call POST {}\n\
             unknown after the call on line 4, which was not sent\nnothing was changed, this was a dry run\n",
            outside.url("/notify")
        )
    );
    assert_eq!(
        said(&site, &["scripts", "dry-run", "a/tell"]),
        "info  ***\nresult \"***\"\nnothing was changed, this was a dry run\n"
    );
    for form in
        [&["scripts", "dry-run", "a/try", "--json"], &["scripts", "dry-run", "a/tell", "--json"]]
    {
        let answer = said(&site, form);
        assert!(answer.contains("***") && !answer.contains("hunter2"), "{answer}");
    }
    drop(daemon);
    assert!(outside.is_quiet());
}
