//! Secrets and calls to the outside, as scripts see them.

use std::sync::Arc;

use picloud_scripts_runtime::effect::Effect;
use picloud_scripts_runtime::exec::ExecErrorKind;
use picloud_scripts_runtime::host::Need;
use picloud_scripts_runtime::outside::{ListedCall, Outgoing};

use crate::harness::{MemoryHost, error, run_on, run_with, value, value_on};

#[test]
fn a_request_is_sent_as_the_script_says_and_its_answer_comes_back() {
    let host = Arc::new(MemoryHost::default());
    let answer = value_on(
        &host,
        r#"
        http::get("https://api.example.org/a?b=c");
        http::post("https://api.example.org/", #{n: 1});
        http::post("https://api.example.org/", "text");
        http::post("https://api.example.org/", base64::decode("AP8="));
        http::request(#{method: "put", url: "https://api.example.org/x", headers: #{"X-Key": "k", "Content-Type": "a/b"},
            body: [1], timeout: "2s"})
        "#,
    );
    assert_eq!(
        answer,
        r#"{"body":"{\"temperature\":21.5}","headers":{"content-type":"application/json","x-a":"1, 2"},"status":200,"url":"https://api.example.org/x"}"#
    );
    let calls = host.outside.lock().unwrap();
    let sent = calls
        .iter()
        .map(|call| (call.number, call.method.as_str(), call.body.as_deref(), call.timeout_ms))
        .collect::<Vec<_>>();
    assert_eq!(
        sent,
        [
            (1, "GET", None, None),
            (2, "POST", Some(&b"{\"n\":1}"[..]), None),
            (3, "POST", Some(b"text"), None),
            (4, "POST", Some(b"\x00\xFF"), None),
            (5, "PUT", Some(b"[1]"), Some(2_000)),
        ]
    );
    let media: Vec<&str> = calls[1..].iter().map(|call| call.headers[0].1.as_str()).collect();
    assert_eq!(
        media,
        ["application/json", "text/plain; charset=utf-8", "application/octet-stream", "a/b"]
    );
}

#[test]
fn an_answer_that_is_no_text_is_a_blob() {
    assert_eq!(
        value(r#"http::get("https://api.example.org/binary").body"#),
        r#"{"$base64":"/wA="}"#
    );
}

#[test]
fn a_call_that_fails_can_be_caught_and_its_query_is_not_told() {
    let caught = value(
        r#"let e = ""; try { http::get("https://u:p@down.example/x?key=abc") } catch (c) { e = c; } e"#,
    );
    assert_eq!(caught, r#""http::get https://down.example/x: nobody answers""#);
}

#[test]
fn options_that_are_wrong_are_refused() {
    for (options, expected) in [
        ("#{}", "http::request: url is missing"),
        ("#{url: 1}", "url takes a string, not an int"),
        (r#"#{url: "x", verb: "GET"}"#, "no option \"verb\""),
        (r#"#{url: "x", headers: 1}"#, "headers takes a map"),
        (r#"#{url: "x", headers: #{a: 1}}"#, "the header a takes a string, not an int"),
        (r#"#{url: "x", timeout: "soon"}"#, "timeout: \"soon\" is not a duration"),
        (r#"#{url: "x", timeout: "0s"}"#, "timeout is 0"),
        (r#"#{url: "x", body: |x| x}"#, "body is a function, which cannot be JSON"),
    ] {
        let error = error(&format!("http::request({options})"));
        assert!(error.message.contains(expected), "{options}: {}", error.message);
    }
}

#[test]
fn p7_a_run_calls_the_outside_only_so_many_times() {
    let host = Arc::new(MemoryHost::default());
    let source = r#"loop { try { http::get("https://down.example/") } catch {} }"#;
    let failed = run_on(&host, source).result.unwrap_err();
    assert_eq!(failed.kind, ExecErrorKind::Budget);
    assert_eq!(host.outside.lock().unwrap().len(), 20);
}

#[test]
fn a_dry_run_lists_its_first_call_and_is_unknown_from_there_on() {
    let host = Arc::new(MemoryHost::default());
    let report = run_with(
        &host,
        r#"
        kv::collection("c").set("before", 1);
        let key = secrets::get("API_KEY");
        try {
            http::request(#{method: "POST", url: `https://api.example.org/${key}?q=${key}`, headers: #{"x-key": key}, body: key})
        } catch {}
        kv::collection("c").set("after", 2);
        "#,
        |request| request.outgoing = Outgoing::Listed,
    );
    assert_eq!(host.outside.lock().unwrap().len(), 0, "nothing leaves");
    let error = report.result.unwrap_err();
    assert_eq!(error.kind, ExecErrorKind::Unknown);
    assert_eq!(
        error.message,
        "http::request https://api.example.org/*** is not sent in a dry run; what follows is unknown"
    );
    assert!(matches!(report.effects.as_slice(), [Effect::Put { .. }]), "{:?}", report.effects);
    assert_eq!(
        report.listed,
        [ListedCall {
            method: "POST".to_owned(),
            url: "https://api.example.org/***".to_owned(),
            headers: vec!["x-key".to_owned(), "content-type".to_owned()],
            body_bytes: 15,
        }]
    );
}

#[test]
fn a_dry_run_without_calls_is_a_run_like_any_other() {
    let host = Arc::default();
    let report = run_with(&host, "1 + 1", |request| request.outgoing = Outgoing::Listed);
    assert_eq!((report.result.as_deref(), report.listed.len()), (Ok("2"), 0));
}

#[test]
fn secrets_are_read_by_who_may_and_what_is_missing_can_be_caught() {
    assert_eq!(value(r#"secrets::get("API_KEY").len"#), "15");
    let caught = value(r#"let e = ""; try { secrets::get("NONE") } catch (c) { e = c; } e"#);
    assert_eq!(caught, r#""there is no secret \"NONE\"""#);
    let host = Arc::new(MemoryHost { refused: Some(Need::Secrets), ..MemoryHost::default() });
    let failed = run_on(&host, r#"try { secrets::get("API_KEY") } catch {}"#).result.unwrap_err();
    assert_eq!(failed.kind, ExecErrorKind::NotAllowed);
    assert!(failed.message.contains("AppSecrets"), "{}", failed.message);
    let host = Arc::new(MemoryHost { broken: true, ..MemoryHost::default() });
    let failed = run_on(&host, r#"try { secrets::get("API_KEY") } catch {}"#).result.unwrap_err();
    assert_eq!(failed.kind, ExecErrorKind::HostFailed);
}

#[test]
fn a_secret_that_was_read_is_hidden_in_log_lines() {
    let host = Arc::new(MemoryHost::default());
    let report = run_on(
        &host,
        r#"
        let key = secrets::get("API_KEY");
        let pin = secrets::get("PIN");
        let quoted = secrets::get("QUOTED");
        log::info("key " + key, #{key: key, list: [key, 1], pin: 1234, other: 7});
        log::warn(#{quoted: quoted});
        log::error("x", #{quoted: quoted});
        print(key);
        debug(key);
        debug([quoted]);
        let m = #{}; m[key] = 1;
        log::info("m", m);
        let long = "x"; long.pad(4090, "x");
        print(long + key + "tail");
        "#,
    );
    assert_eq!(report.result.as_deref(), Ok("null"));
    let lines = host.log.lock().unwrap();
    let shown: Vec<(&str, Option<&str>)> =
        lines.iter().map(|line| (line.message.as_str(), line.fields.as_deref())).collect();
    assert_eq!(
        &shown[..7],
        [
            ("key ***", Some(r#"{"key":"***","list":["***",1],"other":7,"pin":"***"}"#)),
            (r#"{"quoted":"***"}"#, None),
            ("x", Some(r#"{"quoted":"***"}"#)),
            ("***", None),
            ("\"***\"", None),
            ("[\"***\"]", None),
            ("m", Some(r#"{"***":1}"#)),
        ]
    );
    assert!(shown[7].0.contains("x***") && !shown[7].0.contains("hunter"), "{}", shown[7].0);
}

#[test]
fn a_secret_that_was_read_is_hidden_in_the_error_and_its_source_line() {
    for source in [
        r#"throw secrets::get("API_KEY");"#,
        r#"throw "key " + secrets::get("API_KEY");"#,
        r#"throw #{key: secrets::get("API_KEY")};"#,
        r#"let s = "x"; s.pad(1015, "x"); throw s + secrets::get("API_KEY");"#,
        r#"secrets::get("API_KEY"); throw "hunter2-hunter2";"#,
        r#"time::parse(secrets::get("API_KEY"))"#,
        r#"let m = #{}; m[secrets::get("API_KEY")] = |x| x; m"#,
        r#"kv::collection("c").incr(secrets::get("API_KEY"), 1); kv::collection("c").set(secrets::get("API_KEY"), |x| x)"#,
        r#"outbox::enqueue(secrets::get("API_KEY") + "\n", 1)"#,
    ] {
        let error = error(source);
        let told = format!("{error:?}");
        assert!(!told.contains("hunter"), "{source}: {told}");
    }
    assert_eq!(error(r#"throw "key " + secrets::get("API_KEY");"#).message, "key ***");
}

#[test]
fn a_report_carries_what_has_to_be_hidden_and_does_not_show_it() {
    let report = run_on(&Arc::default(), r#"secrets::get("API_KEY"); 1"#);
    assert_eq!(report.mask.hide("a hunter2-hunter2 b"), "a *** b");
    assert!(!format!("{report:?}").contains("hunter"));
}
