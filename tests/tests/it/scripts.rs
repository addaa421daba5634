//! Scripts that ask for too much, or for what cannot be: each is stopped, answered, and leaves nothing.

use picloud_tests::client::Request;
use picloud_tests::daemon::{InlineApp, Site};

/// Name, text, status and code. Each writes something first, which must not stay.
const BAD: &[(&str, &str, u16, &str)] = &[
    ("loops", "loop {}", 507, "budget_spent"),
    ("doubles-a-text", r#"let s = "x"; loop { s += s; }"#, 507, "budget_spent"),
    ("grows-an-array", "let a = [1]; loop { a += a; }", 507, "budget_spent"),
    (
        "grows-a-map",
        "let m = #{}; let n = 0; loop { m[`k${n}`] = n; n += 1; }",
        507,
        "budget_spent",
    ),
    (
        "keeps-texts",
        r#"let a = []; loop { let s = "x"; s.pad(500_000, "y"); a.push(s); }"#,
        507,
        "budget_spent",
    ),
    (
        "chains-closures",
        "let f = |x| x; loop { let g = f; f = |x| g.call(x); }",
        507,
        "budget_spent",
    ),
    ("calls-itself", "fn f(n) { f(n + 1) } f(0)", 507, "budget_spent"),
    ("nests-arrays", "let a = []; loop { a = [a]; }", 507, "budget_spent"),
    ("pads-at-once", r#"let s = "x"; s.pad(1_000_000_000, "y"); s"#, 507, "budget_spent"),
    (
        "writes-too-often",
        r#"for n in 0..1_001 { kv::collection("c").set(`k${n}`, n); }"#,
        507,
        "budget_spent",
    ),
    (
        "writes-too-much",
        r#"let s = "x"; s.pad(300_000, "y"); kv::collection("c").set("k", s);"#,
        507,
        "budget_spent",
    ),
    ("answers-too-much", r#"let s = "x"; s.pad(900_000, "y"); [s, s]"#, 507, "budget_spent"),
    ("lasts-too-long", "loop {}", 504, "timed_out"),
    ("returns-a-function", "|x| x", 422, "not_a_response"),
    ("returns-no-number", "0.0 / 0.0", 422, "not_a_response"),
    ("returns-infinity", "1.0e308 * 10.0", 422, "not_a_response"),
    ("returns-a-status-of-its-own", "#{ status: 100 }", 422, "not_a_response"),
    (
        "splits-a-header",
        r#"#{ headers: #{ "x-a": "b\r\nset-cookie: c" }, body: 1 }"#,
        422,
        "not_a_response",
    ),
    ("stores-no-number", r#"kv::collection("c").set("k", 0.0 / 0.0)"#, 502, "script_failed"),
    ("throws", r#"throw "as it says""#, 502, "script_failed"),
    ("divides-by-zero", "1 / 0", 502, "script_failed"),
    ("overflows", "9223372036854775807 + 1", 502, "script_failed"),
    ("enqueues-what-is-not", r#"outbox::enqueue("nothing", 1)"#, 502, "script_failed"),
];

#[test]
fn p6_a_script_that_asks_for_too_much_is_stopped_answered_and_leaves_nothing() {
    let texts: Vec<(String, String)> = BAD
        .iter()
        .map(|(name, text, _, _)| {
            // The write comes first, so that it would be there if anything were.
            let text = format!(r#"kv::collection("left").set("{name}", 1); {text}"#);
            ((*name).to_owned(), text)
        })
        .collect();
    let mut scripts: Vec<(&str, &str)> =
        texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    scripts.push(("left", r#"kv::collection("left").keys("").len()"#));
    let paths: Vec<String> = scripts.iter().map(|(name, _)| format!("POST /{name}")).collect();
    let routes: Vec<(&str, &str, &str)> =
        paths.iter().zip(&scripts).map(|(path, (name, _))| (path.as_str(), *name, "")).collect();
    let site = Site::new();
    let folder = InlineApp { slug: "bad", scripts: &scripts, routes: &routes, manifest: "" }
        .write_below(site.path());
    let manifest = folder.join("picloud.toml");
    let text = std::fs::read_to_string(&manifest).expect("it was written");
    let lasting = "file = \"lasts-too-long.rhai\"\n";
    let shorter = format!("{lasting}timeout = \"20ms\"\n");
    std::fs::write(&manifest, text.replace(lasting, &shorter)).expect("the folder is ours");
    let daemon = site.start();
    site.deploy(&folder);

    let mut wrong = Vec::new();
    for (name, _, status, code) in BAD {
        let answer = daemon.post(&format!("/bad/{name}"), "{}");
        let is_right = answer.problem() == (*status, (*code).to_owned())
            && answer.json()["outcome"] == "nothing_changed";
        if !is_right {
            wrong.push(format!("{name}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let left = daemon.post("/bad/left", "{}");
    assert_eq!((left.status, left.json()), (200, 0.into()), "{left:?}");
    assert!(!site.log().contains("panicked"), "{}", site.log());
}

#[test]
fn p7_lines_beyond_the_limit_of_a_log_are_cut_and_the_run_goes_on() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&InlineApp {
        slug: "talks",
        scripts: &[(
            "talks",
            r#"let s = "x"; s.pad(100_000, "y"); for n in 0..1_000 { print(s); } "done""#,
        )],
        routes: &[("GET /", "talks", "")],
        manifest: "",
    });
    let answer = daemon.send(&Request::get("/talks/"));
    assert_eq!((answer.status, answer.json()), (200, "done".into()), "{answer:?}");
    assert!(site.log().len() < 2_000_000, "{} bytes of log", site.log().len());
}

#[test]
fn a_script_that_nests_too_deep_or_does_not_compile_is_not_deployed() {
    let site = Site::new();
    let daemon = site.start();
    let nested = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let chained = format!("1{}", " + 1".repeat(10_000));
    for (text, words) in [
        (nested.as_str(), "script \"first\""),
        (&chained, "script \"first\""),
        ("let x = ;", "line 1"),
        ("1 + no_such_thing", "there is no variable no_such_thing"),
        ("fn f() { 1 }\nf(", "line 2"),
    ] {
        let app = InlineApp {
            slug: "nested",
            scripts: &[("first", text)],
            routes: &[("GET /", "first", "")],
            manifest: "",
        };
        let output = site.picloud(&["deploy", &app.write_below(site.path()).display().to_string()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "no {words:?} in: {said}");
    }
    assert_eq!(daemon.send(&Request::get("/nested/")).problem(), (404, "no_such_app".to_owned()));
}

#[test]
fn keys_are_kept_byte_for_byte_or_refused() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&InlineApp {
        slug: "keys",
        scripts: &[(
            "keep",
            r#"
            let c = kv::collection("c");
            for key in event.body { c.set(key, key); }
            let kept = [];
            for key in event.body { kept.push(c.get(key) == key); }
            #{ status: 200, body: #{ kept: kept, keys: c.keys("") } }
            "#,
        )],
        routes: &[("POST /", "keep", "")],
        manifest: "",
    });
    // Composed and decomposed, a path, what turns the direction of a line, nothing but space.
    let strange = ["\u{e9}", "e\u{301}", "../../etc/passwd", "\u{202e}x", "%00", " "];
    let body = serde_json::to_string(&strange).expect("texts are JSON");
    let answer = daemon.post("/keys/", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["kept"], serde_json::json!(vec![true; 6]));
    let mut sorted: Vec<&str> = strange.to_vec();
    sorted.sort_unstable();
    assert_eq!(answer["keys"], serde_json::json!(sorted));
    for key in ["", "a\0b", "\u{1b}[31m", &"k".repeat(10 << 10)] {
        let body = serde_json::to_string(&[key]).expect("texts are JSON");
        let answer = daemon.post("/keys/", &body);
        assert_eq!(answer.problem(), (502, "script_failed".to_owned()), "{answer:?}");
    }
}
